/*
 * make_settings.h
 *		A guard's settings made of guard_table()'s arguments.
 */
#ifndef PAYGUARD_GUARD_MAKE_SETTINGS_H
#define PAYGUARD_GUARD_MAKE_SETTINGS_H

#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"

#include "guard/settings.h"

extern Jsonb *payguard_guard_make_settings(FunctionCallInfo fcinfo, Relation relation);
extern const Guard *payguard_guard_parse_for(const char *settings, Relation relation);

#endif
