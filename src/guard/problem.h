/*
 * problem.h
 *		What is wrong with the guards of a table.
 */
#ifndef PAYGUARD_GUARD_PROBLEM_H
#define PAYGUARD_GUARD_PROBLEM_H

#include "nodes/pg_list.h"
#include "utils/snapshot.h"

#include "guard/trigger.h"

extern List *payguard_guard_find_problems(const GuardTrigger *trigger, Snapshot at);

#endif
