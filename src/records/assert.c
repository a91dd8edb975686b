/*
 * assert.c
 *		What assertions ask: not a line of it is compiled where they are not.
 *
 * They look at the rows themselves, past the store and past every snapshot, so that they do not believe
 * what the code under test believes.
 */
#include "postgres.h"

#ifdef USE_ASSERT_CHECKING

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/text.h"
#include "records/assert.h"

static bool is_ours(HeapTupleHeader row);
static bool member_is_ours(MultiXactId multi);

/*
 * payguard_order_is_locked tells whether this transaction has an order's row lock, or has written the
 * row. Without its key, which only a DBA can have dropped, there is nothing to look it up by: then it is
 * taken to be.
 */
bool
payguard_order_is_locked(const text *order_id)
{
	Oid schema = get_namespace_oid(PAYGUARD_SCHEMA, false);
	Oid index = get_relname_relid("orders_pkey", schema);
	Relation orders;
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple row;
	bool ours;

	if (!OidIsValid(index))
		return true;
	orders = table_open(get_relname_relid("orders", schema), AccessShareLock);
	ScanKeyEntryInitialize(&key, 0, get_attnum(RelationGetRelid(orders), "order_id"),
						   BTEqualStrategyNumber, TEXTOID, C_COLLATION_OID, F_TEXTEQ,
						   PointerGetDatum(order_id));
	scan = systable_beginscan(orders, index, true, SnapshotSelf, 1, &key);
	row = systable_getnext(scan);
	ours = HeapTupleIsValid(row) && is_ours(row->t_data);
	systable_endscan(scan);
	table_close(orders, AccessShareLock);
	return ours;
}

/*
 * is_ours tells whether a row was written by this transaction, or is locked by it against others that
 * want to change it.
 */
static bool
is_ours(HeapTupleHeader row)
{
	if (TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(row)))
		return true;
	if (row->t_infomask & HEAP_XMAX_INVALID)
		return false;
	if (row->t_infomask & HEAP_XMAX_IS_MULTI)
		return member_is_ours(HeapTupleHeaderGetRawXmax(row));
	return TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetRawXmax(row)) &&
		   HEAP_XMAX_IS_EXCL_LOCKED(row->t_infomask);
}

static bool
member_is_ours(MultiXactId multi)
{
	MultiXactMember *members;
	int n = GetMultiXactIdMembers(multi, &members, false, true);

	for (int i = 0; i < n; i++)
		if (members[i].status >= MultiXactStatusForNoKeyUpdate &&
			TransactionIdIsCurrentTransactionId(members[i].xid))
			return true;
	return false;
}

/*
 * payguard_is_sorted tells whether n rows are in an order that bsearch() can rely on.
 */
bool
payguard_is_sorted(const void *rows, int n, size_t size,
				   int (*compare)(const void *, const void *))
{
	const char *row = rows;

	for (int i = 1; i < n; i++)
		if (compare(row + (i - 1) * size, row + i * size) > 0)
			return false;
	return true;
}

#endif
