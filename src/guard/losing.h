/*
 * losing.h
 *		What a guard does not let go.
 */
#ifndef PAYGUARD_GUARD_LOSING_H
#define PAYGUARD_GUARD_LOSING_H

#include "nodes/pg_list.h"

#include "base/compat.h"
#include "guard/trigger.h"

extern void payguard_guard_refuse_drop(Oid relation, const List *dropped);
extern void payguard_guard_refuse_drop_index(Oid relation, Oid index);
extern bool payguard_guard_may_all_go(Oid relation, const char *settings);
extern void payguard_guard_refuse_broken(const GuardTrigger *guard, const char *problem)
	pg_attribute_noreturn();
extern void payguard_guard_refuse(const char *detail) pg_attribute_noreturn();

#endif
