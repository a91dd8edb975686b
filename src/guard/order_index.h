/*
 * order_index.h
 *		The index by which sync_rows() finds the rows of an order.
 */
#ifndef PAYGUARD_GUARD_ORDER_INDEX_H
#define PAYGUARD_GUARD_ORDER_INDEX_H

#include "access/tupdesc.h"
#include "nodes/pg_list.h"
#include "utils/snapshot.h"

#include "guard/settings.h"

extern void payguard_order_index_check(List *tables, const char *settings);
extern bool payguard_order_index_is_there(Oid relation, TupleDesc desc,
										  const Guard *guard, Snapshot at, Oid but);
extern char *payguard_order_index_equality(TupleDesc desc, const Guard *guard);

#endif
