/*
 * drop.h
 *		What a DROP takes with it.
 */
#ifndef PAYGUARD_GUARD_DROP_H
#define PAYGUARD_GUARD_DROP_H

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

extern List *payguard_drop_named(const DropStmt *statement);
extern List *payguard_drop_owned(const DropOwnedStmt *statement);
extern bool payguard_drop_reaches(List *objects, List **guarded);

#endif
