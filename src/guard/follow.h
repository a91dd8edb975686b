/*
 * follow.h
 *		DDL on guarded tables.
 */
#ifndef PAYGUARD_GUARD_FOLLOW_H
#define PAYGUARD_GUARD_FOLLOW_H

#include "nodes/nodes.h"

#include "guard/command.h"

extern void payguard_guard_ddl_start(Node *statement);
extern void payguard_guard_check_made(Node *statement);
extern void payguard_guard_ddl_end(const Command *command);

#endif
