/*
 * guard_table.h
 *		A guard put on and taken off.
 */
#ifndef PAYGUARD_GUARD_GUARD_TABLE_H
#define PAYGUARD_GUARD_GUARD_TABLE_H

#include "utils/jsonb.h"

extern void payguard_guard_cover_truncate(Oid relation);
extern void payguard_guard_remake(Oid relation, const char *name, const char *settings);
extern void payguard_guard_event(const char *kind, const char *schema, const char *table,
								 Jsonb *details);

#endif
