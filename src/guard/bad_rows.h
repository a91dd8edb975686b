/*
 * bad_rows.h
 *		Rows that a guard would not let in.
 */
#ifndef PAYGUARD_GUARD_BAD_ROWS_H
#define PAYGUARD_GUARD_BAD_ROWS_H

#include "nodes/pg_list.h"
#include "utils/relcache.h"

extern void payguard_bad_rows_check(List *tables, const char *settings, bool once);
extern char *payguard_bad_rows_problem(Relation relation);

#endif
