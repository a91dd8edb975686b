/*
 * own.h
 *		What is payguard's own.
 */
#ifndef PAYGUARD_GUARD_OWN_H
#define PAYGUARD_GUARD_OWN_H

#include "nodes/nodes.h"
#include "nodes/parsenodes.h"

#include "base/compat.h"

extern bool payguard_own_names_function(const char *index);
extern bool payguard_own_has_function(const char *name);
extern bool payguard_own_is_relation(Oid relation);
extern bool payguard_own_is_range(const RangeVar *range);
extern bool payguard_own_is_made_here(const RangeVar *range);
extern bool payguard_own_is_object(Node *object, ObjectType type);
extern void payguard_own_refuse(const char *detail) pg_attribute_noreturn();
extern void payguard_refuse_ddl(const char *detail, const char *hint)
	pg_attribute_noreturn();
extern void payguard_refuse_broken(const char *what) pg_attribute_noreturn();

#endif
