/*
 * once.h
 *		The unique index that holds a guard's `once`.
 */
#ifndef PAYGUARD_GUARD_ONCE_H
#define PAYGUARD_GUARD_ONCE_H

#include "access/tupdesc.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#include "guard/settings.h"

extern List *payguard_once_partition_columns(Relation relation);
extern List *payguard_once_statements(List *tables, const Guard *guard, Jsonb *settings,
									  bool concurrently);
extern bool payguard_once_is_held(Oid relation, TupleDesc desc, const Guard *guard,
								  Snapshot at, Oid but);

#endif
