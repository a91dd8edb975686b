/*
 * row.h
 *		A guard is a row trigger on an application's table, whose one argument is a JSON object
 *		with its settings: they travel with the table through pg_dump.
 */
#ifndef PAYGUARD_GUARD_ROW_H
#define PAYGUARD_GUARD_ROW_H

#include "executor/tuptable.h"

#include "guard/settings.h"

extern bool payguard_guard_order_is_paid(const Guard *guard, TupleTableSlot *slot,
										 bool or_refunded);

#endif
