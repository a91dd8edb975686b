/*
 * rows.c
 *		Finds rows by a key and locks them.
 *
 * Each key has a unique index, which is found by its name. DDL protection keeps the name and the
 * definition together; what could break the promise of a key is looked at here all the same.
 *
 * Locking: a row lock is FOR NO KEY UPDATE, never FOR UPDATE, which would block the key-share locks of
 * foreign keys that reference our tables. READ COMMITTED takes it on the newest version of the row, while
 * the stricter levels raise 40001 where that is not the visible one.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/skey.h"
#include "access/stratnum.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "store/open.h"
#include "store/rows.h"
#include "store/table.h"

/* A search for rows by the first fields of a key. */
typedef struct KeyScan
{
	int n; /* fields */
	Relation index;
	IndexScanDesc scan;
	ScanKeyData keys[MAX_KEY_FIELDS];
} KeyScan;

static bool find_row(const Table *table, int key, const void *like, void *row);
static bool lock_by_key(const Table *table, int key, const void *like,
						LockWaitPolicy wait, void *row);
static bool is_known_place(const void *row);
static bool lock_row(Relation relation, LockWaitPolicy wait, TupleTableSlot *slot,
					 bool *traversed);
static bool still_matches(const OpenTable *open, int key, int n, const Datum *values,
						  TupleTableSlot *slot);
static bool fulfils_condition(Relation index, TupleTableSlot *slot);
static void read_slot(const OpenTable *open, TupleTableSlot *slot, void *row);
static void begin_scan(KeyScan *scan, OpenTable *open, int key, int n);
static bool begin_usable_scan(KeyScan *scan, OpenTable *open, int key, int n);
static void begin_index_scan(KeyScan *scan, OpenTable *open, int key, int n,
							 Relation index);
static Relation open_index(const OpenTable *open, int key);
static Oid oid_of_index(const OpenTable *open, int key, NameData *name);
static void check_usable(const OpenTable *open, int key, Relation index);
static bool is_usable(const OpenTable *open, int key, Relation index);
static bool is_too_new(Relation index);
static bool next_row(KeyScan *scan, const Datum *values, bool first,
					 TupleTableSlot *slot);
static void end_scan(KeyScan *scan);
static RegProcedure equality(const Field *field);
static int sort_values(const Field *field, Datum *values, int n);
static int compare_values(const void *a, const void *b, void *field);

/*
 * payguard_store_find reads the row whose key (an index into table->keys) is the one in
 * `like`, without a lock; false where there is none. An id, key or transaction that the table
 * does not have may be in its archive: one snapshot sees it in one of the two.
 */
bool
payguard_store_find(const Table *table, int key, const void *like, void *row)
{
	if (find_row(table, key, like, row))
		return true;
	if (table->archive == NULL || !table->keys[key].archived ||
		payguard_store_is_empty(table->archive) ||
		!find_row(table->archive, key, like, row))
		return false;
	/* it stands in another table than its lock is looked for in */
	ItemPointerSetInvalid(&((RowHeader *) row)->tid);
	return true;
}

static bool
find_row(const Table *table, int key, const void *like, void *row)
{
	OpenTable open;
	TupleTableSlot *slot;
	bool found;

	CHECK_FOR_INTERRUPTS();
	payguard_must_open_table(&open, table, AccessShareLock);
	slot = table_slot_create(open.relation, NULL);
	found = payguard_rows_find(&open, key, like, slot);
	if (found)
		read_slot(&open, slot, row);
	ExecDropSingleTupleTableSlot(slot);
	payguard_close_table(&open);
	return found;
}

/*
 * payguard_store_may_have tells whether there may be rows with the key in `like`: the active snapshot shows one, or the
 * key's index cannot tell. It is for rows that are rare, before a query asks for them.
 */
bool
payguard_store_may_have(const Table *table, int key, const void *like)
{
	Datum values[MAX_KEY_FIELDS];
	int n = payguard_key_values(table, key, like, values);
	bool may = true;
	TupleTableSlot *slot;
	OpenTable open;
	KeyScan scan;

	payguard_must_open_table(&open, table, AccessShareLock);
	if (n > 0 && begin_usable_scan(&scan, &open, key, n))
	{
		slot = table_slot_create(open.relation, NULL);
		may = next_row(&scan, values, true, slot);
		end_scan(&scan);
		ExecDropSingleTupleTableSlot(slot);
	}
	payguard_close_table(&open);
	return may;
}

/*
 * payguard_rows_find finds the row with the key that is in `like`, with the active snapshot; false:
 * there is none.
 */
bool
payguard_rows_find(OpenTable *open, int key, const void *like, TupleTableSlot *slot)
{
	Datum values[MAX_KEY_FIELDS];
	int n = payguard_key_values(open->table, key, like, values);
	KeyScan scan;
	bool found;

	if (n == 0)
		return false;
	begin_scan(&scan, open, key, n);
	found = next_row(&scan, values, true, slot);
	end_scan(&scan);
	return found;
}

/*
 * payguard_store_check tells of rows that were found, with another snapshot, which of them are
 * still the same: nobody else has changed them.
 */
void
payguard_store_check(const Table *table, const void *const *rows, int n, bool *stands)
{
	char *row = palloc(table->row_size);

	for (int i = 0; i < n; i++)
		stands[i] = find_row(table, 0, rows[i], row) &&
					((RowHeader *) row)->xmin == ((const RowHeader *) rows[i])->xmin;
	pfree(row);
}

/*
 * payguard_store_lock reads and locks the newest version of a row, waiting for other
 * transactions as long as lock_timeout allows; false where there is none. In REPEATABLE READ
 * and SERIALIZABLE it raises 40001 where the newest version is not the visible one.
 *
 * like: where it is a row that was found, the store may know where it stands.
 */
bool
payguard_store_lock(const Table *table, int key, const void *like, void *row)
{
	return lock_by_key(table, key, like, LockWaitBlock, row);
}

/*
 * payguard_store_lock_free is payguard_store_lock for a row that nobody holds; false: there is
 * none, or somebody holds it.
 */
bool
payguard_store_lock_free(const Table *table, int key, const void *like, void *row)
{
	return lock_by_key(table, key, like, LockWaitSkip, row);
}

static bool
lock_by_key(const Table *table, int key, const void *like, LockWaitPolicy wait, void *row)
{
	Datum values[MAX_KEY_FIELDS];
	int n = payguard_key_values(table, key, like, values);
	TupleTableSlot *slot;
	bool found = true;
	bool traversed;
	OpenTable open;

	if (n == 0)
		return false;
	if (payguard_store_only_looks())
		return find_row(table, key, like, row);
	PreventCommandIfReadOnly("SELECT FOR NO KEY UPDATE");
	PreventCommandIfParallelMode("SELECT FOR NO KEY UPDATE");
	payguard_must_open_table(&open, table, RowShareLock);
	PushActiveSnapshot(GetTransactionSnapshot());
	slot = table_slot_create(open.relation, NULL);
	if (is_known_place(like))
		slot->tts_tid = ((const RowHeader *) like)->tid;
	else
		found = payguard_rows_find(&open, key, like, slot);
	if (found)
		found = lock_row(open.relation, wait, slot, &traversed) &&
				(!traversed || still_matches(&open, key, n, values, slot));
	if (found)
		read_slot(&open, slot, row);
	ExecDropSingleTupleTableSlot(slot);
	PopActiveSnapshot();
	payguard_close_table(&open);
	return found;
}

/*
 * payguard_store_list_by_key reads, and perhaps locks, the rows whose first nfields fields of a
 * key (and its condition) are those in `values`: the fields but the last one, then n values for
 * the last one, no NULLs. The rows are read and locked in the order of that last field.
 */
int
payguard_store_list_by_key(const Table *table, int key, int nfields, RowLock lock,
						   const Datum *values, int n, void **rows)
{
	const Field *field = &table->fields[table->keys[key].fields[nfields - 1]];
	LockWaitPolicy wait = lock == ROW_LOCK ? LockWaitBlock : LockWaitSkip;
	bool writes = lock != ROW_READ && !payguard_store_only_looks();
	int capacity = Max(n, 1);
	int found = 0;
	Datum wanted[MAX_KEY_FIELDS];
	Datum *last = palloc(mul_size(sizeof(Datum), capacity));
	TupleTableSlot *slot;
	OpenTable open;
	KeyScan scan;

	if (writes)
	{
		PreventCommandIfReadOnly("SELECT FOR NO KEY UPDATE");
		PreventCommandIfParallelMode("SELECT FOR NO KEY UPDATE");
	}
	payguard_must_open_table(&open, table, writes ? RowShareLock : AccessShareLock);
	if (writes)
		PushActiveSnapshot(GetTransactionSnapshot());
	memcpy(wanted, values, sizeof(Datum) * (nfields - 1));
	memcpy(last, values + nfields - 1, sizeof(Datum) * n);
	n = sort_values(field, last, n);
	*rows =
		MemoryContextAllocHuge(CurrentMemoryContext, mul_size(table->row_size, capacity));
	slot = table_slot_create(open.relation, NULL);
	begin_scan(&scan, &open, key, nfields);
	for (int i = 0; i < n; i++)
	{
		bool traversed = false;

		wanted[nfields - 1] = last[i];
		for (bool first = true; next_row(&scan, wanted, first, slot); first = false)
		{
			if (writes &&
				(!lock_row(open.relation, wait, slot, &traversed) ||
				 (traversed && !still_matches(&open, key, nfields, wanted, slot))))
				continue;
			if (found == capacity)
				*rows = repalloc_huge(*rows, mul_size(table->row_size, capacity *= 2));
			read_slot(&open, slot, (char *) *rows + table->row_size * found++);
		}
	}
	end_scan(&scan);
	ExecDropSingleTupleTableSlot(slot);
	if (writes)
		PopActiveSnapshot();
	payguard_close_table(&open);
	pfree(last);
	return found;
}

/*
 * is_known_place tells whether a row that was found still stands where it did: that version of
 * it, or what has become of it. (In SERIALIZABLE it is read again, since reading is what may
 * fail there.)
 */
static bool
is_known_place(const void *row)
{
	const RowHeader *header = row;

	return ItemPointerIsValid(&header->tid) &&
		   header->snapshot == payguard_store_snapshot && !IsolationIsSerializable();
}

/*
 * lock_row locks the newest version of the row whose tid is in the slot, and reads it; false:
 * the row is gone, or somebody holds it and it is not waited for. As nodeLockRows.c does it.
 *
 * traversed: it is another version, which may have another key
 */
static bool
lock_row(Relation relation, LockWaitPolicy wait, TupleTableSlot *slot, bool *traversed)
{
	ItemPointerData tid = slot->tts_tid;
	uint8 flags = TUPLE_LOCK_FLAG_LOCK_UPDATE_IN_PROGRESS;
	TM_FailureData failure;
	TM_Result result;

	if (!IsolationUsesXactSnapshot())
		flags |= TUPLE_LOCK_FLAG_FIND_LAST_VERSION;
	result = table_tuple_lock(relation, &tid, GetActiveSnapshot(), slot,
							  GetCurrentCommandId(true), LockTupleNoKeyExclusive, wait,
							  flags, &failure);
	*traversed = failure.traversed;
	switch (result)
	{
		case TM_Ok:
			return true;
		case TM_SelfModified:
		case TM_WouldBlock:
			return false;
		case TM_Updated:
			if (IsolationUsesXactSnapshot())
				payguard_raise_concurrent("update");
			break;
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				payguard_raise_concurrent("update");
			return false;
		default:
			break;
	}
	elog(ERROR, "payguard: unexpected result %d of a row lock", (int) result);
}

/*
 * still_matches tells whether another version of a row, which was locked, has still these values in the
 * first n fields of the key.
 */
static bool
still_matches(const OpenTable *open, int key, int n, const Datum *values,
			  TupleTableSlot *slot)
{
	const Table *table = open->table;
	Relation index;
	bool fulfils;

	for (int i = 0; i < n; i++)
	{
		int field = table->keys[key].fields[i];
		bool isnull;
		Datum value = slot_getattr(slot, open->columns[field], &isnull);

		if (isnull ||
			payguard_field_compare(&table->fields[field], value, values[i]) != 0)
			return false;
	}
	if (!table->keys[key].partial)
		return true;
	index = open_index(open, key);
	fulfils = fulfils_condition(index, slot);
	index_close(index, NoLock);
	return fulfils;
}

/*
 * fulfils_condition tells whether a row belongs into a partial index.
 */
static bool
fulfils_condition(Relation index, TupleTableSlot *slot)
{
	EState *estate = CreateExecutorState();
	ExprContext *context = GetPerTupleExprContext(estate);
	bool fulfils;

	context->ecxt_scantuple = slot;
	fulfils =
		ExecQual(ExecPrepareQual(RelationGetIndexPredicate(index), estate), context);
	FreeExecutorState(estate);
	return fulfils;
}

/*
 * payguard_rows_has_key tells whether a row has the primary key that it was looked up by.
 */
bool
payguard_rows_has_key(const OpenTable *open, const void *like, TupleTableSlot *slot)
{
	Datum values[MAX_KEY_FIELDS];
	int n = payguard_key_values(open->table, 0, like, values);

	for (int i = 0; i < n; i++)
	{
		int field = open->table->keys[0].fields[i];
		bool isnull;
		Datum value = slot_getattr(slot, open->columns[field], &isnull);

		if (isnull ||
			payguard_field_compare(&open->table->fields[field], value, values[i]) != 0)
			return false;
	}
	return n > 0;
}

/*
 * read_slot copies a row into its struct.
 */
static void
read_slot(const OpenTable *open, TupleTableSlot *slot, void *row)
{
	RowHeader *header = row;
	bool isnull;

	slot_getallattrs(slot);
	payguard_table_read(open->table, open->columns, slot->tts_values, slot->tts_isnull,
						row);
	header->xmin = DatumGetTransactionId(
		slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull));
	header->tid = slot->tts_tid;
	header->snapshot = payguard_store_snapshot;
}

/*
 * begin_scan opens the index of a key, to look rows up by its first n fields with the active snapshot.
 */
static void
begin_scan(KeyScan *scan, OpenTable *open, int key, int n)
{
	begin_index_scan(scan, open, key, n, open_index(open, key));
}

/*
 * begin_usable_scan is begin_scan for whoever has another way; false: the index is not there, or would not find
 * every row.
 */
static bool
begin_usable_scan(KeyScan *scan, OpenTable *open, int key, int n)
{
	NameData name;
	Oid oid = oid_of_index(open, key, &name);
	Relation index;

	if (!OidIsValid(oid))
		return false;
	index = index_open(oid, AccessShareLock);
	if (!is_usable(open, key, index) || is_too_new(index))
	{
		index_close(index, NoLock);
		return false;
	}
	begin_index_scan(scan, open, key, n, index);
	return true;
}

static void
begin_index_scan(KeyScan *scan, OpenTable *open, int key, int n, Relation index)
{
	const Key *of = &open->table->keys[key];

	Assert(n >= 1 && n <= MAX_KEY_FIELDS);
	*scan = (KeyScan){.n = n, .index = index};
	for (int i = 0; i < n; i++)
	{
		ScanKeyInit(&scan->keys[i], i + 1, BTEqualStrategyNumber,
					equality(&open->table->fields[of->fields[i]]), (Datum) 0);
		scan->keys[i].sk_collation = scan->index->rd_indcollation[i];
	}
	scan->scan =
		payguard_index_beginscan(open->relation, scan->index, GetActiveSnapshot(), n);
}

/*
 * open_index opens the index of a key for reading.
 */
static Relation
open_index(const OpenTable *open, int key)
{
	NameData name;
	Oid oid = oid_of_index(open, key, &name);
	Relation index;

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("index \"%s\" of table \"%s\" does not exist", NameStr(name),
						open->table->name),
				 errhint("SELECT * FROM payguard.verify() tells how to make it again.")));
	index = index_open(oid, AccessShareLock);
	check_usable(open, key, index);
	return index;
}

/*
 * oid_of_index looks the index of a key up by its name; InvalidOid: there is none.
 */
static Oid
oid_of_index(const OpenTable *open, int key, NameData *name)
{
	payguard_index_of_key(open->table, key, name);
	return get_relname_relid(NameStr(*name), RelationGetNamespace(open->relation));
}

/*
 * payguard_index_of_key tells the name of the index of a key.
 */
void
payguard_index_of_key(const Table *table, int key, NameData *name)
{
	strlcpy(NameStr(*name), table->name, NAMEDATALEN);
	strlcat(NameStr(*name), "_", NAMEDATALEN);
	strlcat(NameStr(*name), table->keys[key].index, NAMEDATALEN);
}

/*
 * payguard_is_index_of_key tells whether an index is over the columns of a key, and unique if the key is. Whether it is
 * valid, and which condition it has, is not asked.
 */
bool
payguard_is_index_of_key(const OpenTable *open, int key, Relation index)
{
	Form_pg_index form = index->rd_index;
	const Key *of = &open->table->keys[key];
	int n = 0;

	if (form->indrelid != RelationGetRelid(open->relation) ||
		(!of->shared && (!form->indisunique || !form->indimmediate)))
		return false;
	for (; n < MAX_KEY_FIELDS && of->fields[n] >= 0; n++)
		if (n >= form->indnkeyatts ||
			form->indkey.values[n] != open->columns[of->fields[n]])
			return false;
	return n == form->indnkeyatts;
}

/*
 * check_usable raises an error where the index of a key would not find every row of it.
 */
static void
check_usable(const OpenTable *open, int key, Relation index)
{
	if (!is_usable(open, key, index))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("index \"%s\" is not as payguard made it",
							   RelationGetRelationName(index)),
						errhint("SELECT * FROM payguard.verify() tells what was changed; "
								"REINDEX makes an invalid index valid.")));
	if (is_too_new(index))
		payguard_raise_concurrent("update");
}

/*
 * is_usable tells whether a valid index is that of a key.
 */
static bool
is_usable(const OpenTable *open, int key, Relation index)
{
	bool partial = !heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL);

	return payguard_is_index_of_key(open, key, index) && index->rd_index->indisvalid &&
		   partial == open->table->keys[key].partial;
}

/*
 * is_too_new tells whether an index lacks versions of rows that only snapshots from before it can see, as the
 * active one.
 */
static bool
is_too_new(Relation index)
{
	TransactionId xmin;

	if (!index->rd_index->indcheckxmin)
		return false;
	xmin = HeapTupleHeaderGetXmin(index->rd_indextuple->t_data);
	return !TransactionIdIsCurrentTransactionId(xmin) &&
		   XidInMVCCSnapshot(xmin, GetActiveSnapshot());
}

/*
 * next_row finds the first or next row with these values; false: the snapshot shows none.
 */
static bool
next_row(KeyScan *scan, const Datum *values, bool first, TupleTableSlot *slot)
{
	if (first)
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < scan->n; i++)
			scan->keys[i].sk_argument = values[i];
		index_rescan(scan->scan, scan->keys, scan->n, NULL, 0);
	}
	return index_getnext_slot(scan->scan, ForwardScanDirection, slot);
}

static void
end_scan(KeyScan *scan)
{
	index_endscan(scan->scan);
	index_close(scan->index, NoLock);
}

/*
 * equality returns the function that compares a field of a key.
 */
static RegProcedure
equality(const Field *field)
{
	switch (field->type)
	{
		case FIELD_TEXT:
			return F_TEXTEQ;
		case FIELD_UUID:
			return F_UUID_EQ;
		case FIELD_AMOUNT:
		case FIELD_ID:
			return F_INT8EQ;
		default:
			elog(ERROR, "payguard: column \"%s\" is no key", field->column);
	}
}

/*
 * sort_values sorts values of a field, each of them once, and returns how many are left.
 */
static int
sort_values(const Field *field, Datum *values, int n)
{
	int kept = 0;

	qsort_arg(values, n, sizeof(Datum), compare_values, unconstify(Field *, field));
	for (int i = 0; i < n; i++)
		if (kept == 0 || payguard_field_compare(field, values[kept - 1], values[i]) != 0)
			values[kept++] = values[i];
	return kept;
}

static int
compare_values(const void *a, const void *b, void *field)
{
	return payguard_field_compare(field, *(const Datum *) a, *(const Datum *) b);
}

/*
 * payguard_raise_concurrent raises 40001: another transaction was faster than the snapshot.
 */
void
payguard_raise_concurrent(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("could not serialize access due to concurrent %s", what)));
}
