/*
 * follow.h
 *		DDL on guarded tables.
 */
#ifndef PAYGUARD_GUARD_FOLLOW_H
#define PAYGUARD_GUARD_FOLLOW_H

#include "nodes/nodes.h"
#include "nodes/pg_list.h"

#include "guard/command.h"

extern void payguard_guard_ddl_start(Node *statement);
extern void payguard_guard_check_made(Node *statement);
extern void payguard_guard_refuse_drop(Oid relation, const List *dropped);
extern void payguard_guard_refuse_drop_index(Oid relation, Oid index);
extern void payguard_guard_ddl_end(const Command *command);

#endif
