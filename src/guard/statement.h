/*
 * statement.h
 *		DDL on payguard's own objects.
 */
#ifndef PAYGUARD_GUARD_STATEMENT_H
#define PAYGUARD_GUARD_STATEMENT_H

#include "nodes/nodes.h"

extern void payguard_check_statement(Node *statement);

#endif
