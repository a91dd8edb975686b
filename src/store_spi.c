/*
 * store_spi.c
 *		The table layer by SPI: one saved plan for each table, operation and set of columns.
 *
 * Locking: payguard_store_lock() takes FOR NO KEY UPDATE, never FOR UPDATE, which would block
 * the key-share locks of foreign keys that reference our tables.
 *
 * Our tables refuse every UPDATE and DELETE (protect.c) but the one statement that this file
 * is about to run: it names the statement in `expected`, and the trigger takes the name away
 * before any user's row trigger runs.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "jit/jit.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "replication/syncrep.h"
#include "replication/walsender.h"
#include "replication/walsender_private.h"
#include "storage/bufmgr.h"
#include "storage/lwlock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "payguard.h"

#define MAX_FIELDS 32

typedef enum Operation
{
	OP_FIND,
	OP_LIST,
	OP_LIST_BY_KEY,
	OP_LOCK,
	OP_LOCK_FREE,
	OP_INSERT,
	OP_INSERT_NEW,
	OP_UPDATE,
	OP_DELETE,
	OP_INSERT_ALL,
	OP_UPDATE_ALL,
	OP_DELETE_ALL,
	OP_STATEMENT
} Operation;

/* Of an insert or update: what was really written is returned, to be compared. */
#define RETURNING 0x100

typedef struct PlanKey
{
	const Table *table;
	uint64 operation; /* an Operation, perhaps with RETURNING; wide, to leave no padding */
	/*
	 * Of an update: the fields; of OP_LIST: a RowQuery; OP_LIST_BY_KEY: by_key(); otherwise a key's
	 * index.
	 */
	uint64 variant;
} PlanKey;

typedef struct PlanEntry
{
	PlanKey key;
	SPIPlanPtr plan;
} PlanEntry;

static HTAB *plans = NULL;

/*
 * The number of the snapshot that rows are found with. As long as it is the same, so is the
 * snapshot, and no version of a row that it shows can be taken away.
 */
uint64 payguard_store_snapshot = 0;

/* The statement that protect.c must let through. */
static struct
{
	const char *relation; /* NULL: none */
	CmdType operation;
} expected = {NULL, CMD_UNKNOWN};

static void wait_for_standby(XLogRecPtr lsn);
static bool standby_has(XLogRecPtr lsn);
static bool find_row(const Table *table, int key, const void *like, void *row);
static int list_rows(const Table *table, Operation operation, uint64 variant,
					 Datum *values, const char *nulls, void **rows);
static uint64 by_key(int key, int nfields, RowLock lock);
static bool write_all(const Table *table, const RowWrite *write, const void *const *rows,
					  int n, bool *written);
static void write_each(const Table *table, Operation operation, FieldSet fields,
					   uint64 variant, const void *const *rows, int n);
static Datum array_of(Oid type, Datum *values, bool *nulls, int n);
static void must_be_written(const Table *table, const bool *written, int n);
static bool select_row(const Table *table, Operation operation, int key, const void *like,
					   void *row);
static void read_row(const Table *table, HeapTuple tuple, TupleDesc desc, void *row);
static uint64 write_row(const Table *table, Operation operation, uint64 variant,
						const void *row, Datum *values, const char *nulls);
static bool has_before_row_trigger(const Table *table, bool insert);
static void changed_by_trigger(const Table *table, const char *column)
	pg_attribute_noreturn();
static uint64 run(const Table *table, int operation, uint64 variant, Datum *values,
				  const char *nulls);
static bool is_read(Operation operation, uint64 variant);
static int run_plan(SPIPlanPtr plan, Datum *values, const char *nulls, bool read_only,
					bool many, const char *announced, CmdType operation);
static PlanEntry *get_entry(const Table *table, int operation, uint64 variant);
static SPIPlanPtr get_plan(const Table *table, int operation, uint64 variant);
static SPIPlanPtr make_plan(const Table *table, int operation, uint64 variant);
static int parameter_types(const Table *table, Operation operation, uint64 variant,
						   Oid *types);
static void append_select(StringInfo sql, const Table *table, Operation operation,
						  uint64 variant);
static void append_values_of_key(StringInfo sql, const Table *table, int key,
								 int nfields);
static void append_write_all(StringInfo sql, const Table *table, Operation operation,
							 FieldSet changed);
static void append_insert(StringInfo sql, const Table *table, Operation operation,
						  uint64 variant, int n);
static void append_update(StringInfo sql, const Table *table, FieldSet fields);
static void append_key(StringInfo sql, const Table *table, int key);
static void append_columns(StringInfo sql, const Table *table, FieldSet fields);
static FieldSet parameters(const Table *table, Operation operation, uint64 variant);
static FieldSet key_fields(const Table *table, int key);
static int collect(const Table *table, FieldSet fields, const void *row, Datum *values,
				   char *nulls);

/*
 * payguard_store_begin opens the store for one call. Rows are found with the caller's snapshot
 * (STORE_READ), or with one that sees everything done so far (STORE_WRITE): without that, a
 * second call in one statement would not see the first.
 */
void
payguard_store_begin(StoreMode mode)
{
	MemoryContext caller = CurrentMemoryContext;

	payguard_store_snapshot++;
	if (mode == STORE_WRITE)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "payguard: SPI_connect failed");
	MemoryContextSwitchTo(caller);
}

/*
 * payguard_store_refresh takes a newer snapshot, after a wait for a lock or a unique key. In
 * REPEATABLE READ and SERIALIZABLE it sees what the transaction may see, as before.
 */
void
payguard_store_refresh(void)
{
	payguard_store_snapshot++;
	CommandCounterIncrement();
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * payguard_store_end closes the store.
 */
void
payguard_store_end(StoreMode mode)
{
	MemoryContext caller = CurrentMemoryContext;

	payguard_store_snapshot++;
	SPI_finish();
	if (mode == STORE_WRITE)
		PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
}

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
		payguard_store_is_empty(table->archive) || !find_row(table->archive, key, like, row))
		return false;
	/* it stands in another table than its lock is looked for in */
	ItemPointerSetInvalid(&((RowHeader *) row)->tid);
	return true;
}

static bool
find_row(const Table *table, int key, const void *like, void *row)
{
	bool found;

	if (payguard_heap_find(table, key, like, row, &found))
		return found;
	return select_row(table, OP_FIND, key, like, row);
}

/*
 * payguard_store_is_empty tells whether a table certainly has no rows: its file has no page. That
 * holds whatever snapshot one has, and costs next to nothing: it is for tables that most databases
 * do not use. Within one snapshot an empty table is not looked at again.
 */
bool
payguard_store_is_empty(const Table *table)
{
	static struct
	{
		const Table *table;
		uint64 snapshot;
	} seen[4]; /* the tables that were empty, and at which snapshot */
	static int next = 0;
	bool empty = true;
	Oid oid;

	for (size_t i = 0; i < lengthof(seen); i++)
		if (seen[i].table == table && seen[i].snapshot == payguard_store_snapshot)
			return true;
	/* the scripts of an older version may not have made it */
	oid = get_relname_relid(table->name, get_namespace_oid(PAYGUARD_SCHEMA, false));
	if (OidIsValid(oid))
	{
		/* the lock keeps a VACUUM FULL from putting another file in its place */
		Relation relation = table_open(oid, AccessShareLock);

		empty = RelationGetNumberOfBlocks(relation) == 0;
		table_close(relation, NoLock);
	}
	if (empty)
	{
		seen[next].table = table;
		seen[next].snapshot = payguard_store_snapshot;
		next = (next + 1) % lengthof(seen);
	}
	return empty;
}

/*
 * payguard_store_list reads the rows that a query names, with the snapshot of
 * payguard_store_find(), and returns their number; rows: an array of the table's structs.
 */
int
payguard_store_list(const Table *table, const RowQuery *query, Datum *values, void **rows)
{
	return list_rows(table, OP_LIST, (uint64) (uintptr_t) query, values, NULL, rows);
}

/*
 * payguard_store_walk is payguard_store_list along a table's walk, in its order. nulls: as SPI
 * has them, or NULL.
 */
int
payguard_store_walk(const Table *table, const WalkQuery *query, Datum *values,
					const char *nulls, void **rows)
{
	int n;

	if (payguard_heap_walk(table, query, values, nulls, rows, &n))
		return n;
	return list_rows(table, OP_LIST, (uint64) (uintptr_t) &query->sql, values, nulls, rows);
}

/*
 * payguard_store_list_by_key reads, and perhaps locks, the rows whose first nfields fields of a
 * key (and its condition) are those in `values`: the fields but the last one, then n values for
 * the last one, no NULLs. Where nfields is 1 the rows are read and locked in the order of that
 * field.
 */
int
payguard_store_list_by_key(const Table *table, int key, int nfields, RowLock lock,
						   const Datum *values, int n, void **rows)
{
	const Field *last = &table->fields[table->keys[key].fields[nfields - 1]];
	Datum parameters[MAX_KEY_FIELDS];
	int found;

	if (payguard_heap_list_by_key(table, key, nfields, lock, values, n, rows, &found))
		return found;
	memcpy(parameters, values, sizeof(Datum) * (nfields - 1));
	parameters[nfields - 1] = array_of(payguard_field_type(last),
									   unconstify(Datum *, values) + nfields - 1, NULL, n);
	return list_rows(table, OP_LIST_BY_KEY, by_key(key, nfields, lock), parameters, NULL,
					 rows);
}

/*
 * payguard_store_check tells of rows that were found, with another snapshot, which of them are
 * still the same: nobody else has changed them.
 */
void
payguard_store_check(const Table *table, const void *const *rows, int n, bool *stands)
{
	char *row = palloc(table->row_size);

	if (n == 0 || payguard_heap_check(table, rows, n, stands))
		return;
	for (int i = 0; i < n; i++)
		stands[i] = payguard_store_find(table, 0, rows[i], row) &&
					((RowHeader *) row)->xmin == ((const RowHeader *) rows[i])->xmin;
}

static uint64
by_key(int key, int nfields, RowLock lock)
{
	return (uint64) key << 16 | (uint64) nfields << 8 | (uint64) lock;
}

static int
list_rows(const Table *table, Operation operation, uint64 variant, Datum *values,
		  const char *nulls, void **rows)
{
	int n = (int) run(table, operation, variant, values, nulls);
	char *row = palloc0(Max(n, 1) * table->row_size);

	*rows = row;
	for (int i = 0; i < n; i++, row += table->row_size)
		read_row(table, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, row);
	SPI_freetuptable(SPI_tuptable);
	return n;
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
	bool found;

	if (payguard_heap_lock(table, key, like, row, &found))
		return found;
	return select_row(table, OP_LOCK, key, like, row);
}

/*
 * payguard_store_lock_free is payguard_store_lock for a row that nobody holds; false: there is
 * none, or somebody holds it.
 */
bool
payguard_store_lock_free(const Table *table, int key, const void *like, void *row)
{
	return select_row(table, OP_LOCK_FREE, key, like, row);
}

/*
 * payguard_store_insert adds a row. A row that exists already is error 23505.
 */
void
payguard_store_insert(const Table *table, const void *row)
{
	RowWrite write = {.operation = CMD_INSERT};
	Datum values[MAX_FIELDS];
	char nulls[MAX_FIELDS];
	bool written;

	if (payguard_heap_write(table, &write, &row, 1, &written))
		return;
	collect(table, parameters(table, OP_INSERT, 0), row, values, nulls);
	if (write_row(table, OP_INSERT, 0, row, values, nulls) != 1)
		payguard_store_suppressed(table);
}

/*
 * payguard_store_insert_new adds a row unless one with the same key exists, and tells whether
 * it did. It waits for a transaction that is about to add such a row; raises 40001 where the
 * other row is not visible in REPEATABLE READ or SERIALIZABLE.
 */
bool
payguard_store_insert_new(const Table *table, int key, const void *row)
{
	RowWrite write = {.operation = CMD_INSERT, .if_new = true, .key = key};
	Datum values[MAX_FIELDS];
	char nulls[MAX_FIELDS];
	bool inserted;

	if (payguard_heap_write(table, &write, &row, 1, &inserted))
		return inserted;
	collect(table, parameters(table, OP_INSERT_NEW, key), row, values, nulls);
	return write_row(table, OP_INSERT_NEW, key, row, values, nulls) == 1;
}

/*
 * payguard_store_update writes the changed fields of a row, found by its primary key. The
 * caller holds the row's lock.
 */
void
payguard_store_update(const Table *table, FieldSet changed, const void *row)
{
	RowWrite write = {.operation = CMD_UPDATE, .changed = changed};
	Datum values[MAX_FIELDS];
	char nulls[MAX_FIELDS];
	bool updated;
	int n;

	if (payguard_heap_write(table, &write, &row, 1, &updated))
	{
		must_be_written(table, &updated, 1);
		return;
	}

	/* the key comes first, then the changed fields: see make_plan() */
	n = collect(table, key_fields(table, 0), row, values, nulls);
	collect(table, changed, row, values + n, nulls + n);
	if (write_row(table, OP_UPDATE, changed, row, values, nulls) != 1)
		payguard_store_suppressed(table);
}

/*
 * payguard_store_delete removes a row, found by its primary key. The caller holds the row's
 * lock.
 */
void
payguard_store_delete(const Table *table, const void *row)
{
	RowWrite write = {.operation = CMD_DELETE};
	Datum values[MAX_FIELDS];
	char nulls[MAX_FIELDS];
	bool deleted;

	if (payguard_heap_write(table, &write, &row, 1, &deleted))
	{
		must_be_written(table, &deleted, 1);
		return;
	}
	collect(table, key_fields(table, 0), row, values, nulls);
	if (run(table, OP_DELETE, 0, values, nulls) != 1)
		payguard_store_suppressed(table);
}

/*
 * payguard_store_insert_all adds n rows, by one statement where that is the same.
 */
void
payguard_store_insert_all(const Table *table, const void *const *rows, int n)
{
	RowWrite write = {.operation = CMD_INSERT};

	if (write_all(table, &write, rows, n, NULL))
		return;
	if (has_before_row_trigger(table, true))
		for (int i = 0; i < n; i++)
			payguard_store_insert(table, rows[i]);
	else
		write_each(table, OP_INSERT_ALL, parameters(table, OP_INSERT, 0), 0, rows, n);
}

/*
 * payguard_store_insert_new_all is payguard_store_insert_new for n rows.
 */
void
payguard_store_insert_new_all(const Table *table, int key, const void *const *rows, int n,
							  bool *inserted)
{
	RowWrite write = {.operation = CMD_INSERT, .if_new = true, .key = key};

	if (write_all(table, &write, rows, n, inserted))
		return;
	for (int i = 0; i < n; i++)
		inserted[i] = payguard_store_insert_new(table, key, rows[i]);
}

/*
 * payguard_store_update_all is payguard_store_update for n rows, by one statement where that is
 * the same. It is not for orders, whose version is looked at.
 */
void
payguard_store_update_all(const Table *table, FieldSet changed, const void *const *rows,
						  int n)
{
	RowWrite write = {.operation = CMD_UPDATE, .changed = changed};

	Assert(table != &payguard_orders);
	if (write_all(table, &write, rows, n, NULL))
		return;
	if (has_before_row_trigger(table, false))
		for (int i = 0; i < n; i++)
			payguard_store_update(table, changed, rows[i]);
	else
		write_each(table, OP_UPDATE_ALL, key_fields(table, 0) | changed, changed, rows, n);
}

/*
 * payguard_store_delete_all is payguard_store_delete for n rows, by one statement.
 */
void
payguard_store_delete_all(const Table *table, const void *const *rows, int n)
{
	RowWrite write = {.operation = CMD_DELETE};

	if (!write_all(table, &write, rows, n, NULL))
		write_each(table, OP_DELETE_ALL, key_fields(table, 0), 0, rows, n);
}

/*
 * write_all has store_heap.c write rows, if there are any; false: it declines. written: which were
 * written; NULL: all must be.
 */
static bool
write_all(const Table *table, const RowWrite *write, const void *const *rows, int n,
		  bool *written)
{
	bool *done = written ? written : palloc(sizeof(bool) * Max(n, 1));

	if (n == 0)
		return true;
	if (!payguard_heap_write(table, write, rows, n, done))
		return false;
	if (written == NULL)
		must_be_written(table, done, n);
	return true;
}

static void
must_be_written(const Table *table, const bool *written, int n)
{
	for (int i = 0; i < n; i++)
		if (!written[i])
			payguard_store_suppressed(table);
}

/*
 * write_each runs a statement whose parameters are arrays of some fields of all rows.
 */
static void
write_each(const Table *table, Operation operation, FieldSet fields, uint64 variant,
		   const void *const *rows, int n)
{
	Datum parameters[MAX_FIELDS];
	Datum *values = palloc(sizeof(Datum) * n);
	bool *nulls = palloc(sizeof(bool) * n);
	int nparameters = 0;

	for (int f = 0; f < table->nfields; f++)
	{
		if (!(fields & FIELD(f)))
			continue;
		for (int i = 0; i < n; i++)
			nulls[i] = !payguard_field_get(&table->fields[f], rows[i], &values[i]);
		parameters[nparameters++] =
			array_of(payguard_field_type(&table->fields[f]), values, nulls, n);
	}
	if (run(table, operation, variant, parameters, NULL) != (uint64) n)
		payguard_store_suppressed(table);
}

static Datum
array_of(Oid type, Datum *values, bool *nulls, int n)
{
	int lower = 1;
	int16 length;
	bool by_value;
	char align;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	return PointerGetDatum(n == 0 ? construct_empty_array(type)
								  : construct_md_array(values, nulls, 1, &n, &lower, type,
													   length, by_value, align));
}

/*
 * payguard_store_execute runs a statement on many rows and returns the number of its results,
 * which payguard_store_result() and payguard_store_put_results() read until the next call.
 */
int
payguard_store_execute(const Statement *statement, Datum *values, const char *nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	PlanEntry *entry = get_entry(NULL, OP_STATEMENT, (uint64) (uintptr_t) statement);
	int result;

	if (entry->plan == NULL)
	{
		Oid types[MAX_STATEMENT_PARAMETERS];
		int n = 0;

		for (; OidIsValid(statement->types[n]); n++)
			types[n] = statement->types[n];
		entry->plan = SPI_prepare_cursor(statement->sql, n, types, CURSOR_OPT_GENERIC_PLAN);
		if (entry->plan == NULL || SPI_keepplan(entry->plan) != 0)
			elog(ERROR, "payguard: cannot prepare \"%s\": %s", statement->sql,
				 SPI_result_code_string(SPI_result));
	}
	result = run_plan(entry->plan, values, nulls, false, true, statement->changes,
					  statement->operation);
	if (result < 0)
		elog(ERROR, "payguard: SPI_execute_plan failed: %s",
			 SPI_result_code_string(result));
	MemoryContextSwitchTo(caller);
	return (int) SPI_processed;
}

/*
 * payguard_store_try writes in a subtransaction; false: a unique key was taken, and nothing of
 * it has been written. Raises 40001 where that is by a row which REPEATABLE READ or SERIALIZABLE
 * cannot see.
 */
bool
payguard_store_try(void (*write)(void *), void *argument)
{
	ErrorData *error = payguard_store_attempt(write, argument);

	if (error == NULL)
		return true;
	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
		ReThrowError(error);
	/* the row that took it cannot be seen, so whoever looks for it would look for ever */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update")));
	return false;
}

/*
 * payguard_store_attempt writes in a subtransaction and returns NULL; or the error that ended it, and
 * nothing of it has been written.
 */
ErrorData *
payguard_store_attempt(void (*write)(void *), void *argument)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	/* the store pops and pushes it, which must be done at one level */
	PushActiveSnapshot(GetTransactionSnapshot());
	PG_TRY();
	{
		write(argument);
		PopActiveSnapshot();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	/* where a row was found in there may be nothing now */
	payguard_store_snapshot++;
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return error;
}

/*
 * payguard_store_result returns a value of the last statement's results: valid until the next
 * call of the store.
 */
Datum
payguard_store_result(int row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column + 1,
						 isnull);
}

/*
 * payguard_store_put_results puts the last statement's results into a function's result.
 */
void
payguard_store_put_results(Tuplestorestate *store, TupleDesc desc)
{
	if (SPI_tuptable->tupdesc->natts != desc->natts)
		elog(ERROR, "payguard: %d columns instead of %d", SPI_tuptable->tupdesc->natts,
			 desc->natts);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(store, SPI_tuptable->vals[i]);
}

/*
 * payguard_store_make_durable makes the commit that wrote a row as durable as this session's
 * own commits are, before an answer rests on it: the row may come from a transaction with
 * synchronous_commit = off, or one that stopped waiting for its standby. A commit does the
 * same in RecordTransactionCommit() (access/transam/xact.c).
 */
void
payguard_store_make_durable(const void *row)
{
	TransactionId xid = ((const RowHeader *) row)->xmin;
	XLogRecPtr commit = InvalidXLogRecPtr;

	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF || !TransactionIdIsNormal(xid) ||
		TransactionIdIsCurrentTransactionId(xid))
		return;

	/* A frozen row keeps its old xid, whose commit status may be gone. */
	LWLockAcquire(XactTruncationLock, LW_SHARED);
	if (!TransactionIdPrecedes(xid, payguard_oldest_clog_xid()) &&
		TransactionIdPrecedes(xid, ReadNextTransactionId()))
		commit = TransactionIdGetCommitLSN(xid);
	LWLockRelease(XactTruncationLock);
	if (!XLogRecPtrIsInvalid(commit))
		XLogFlush(commit);

	/*
	 * Where a synchronous commit stands in the WAL is not kept, so that all that is flushed
	 * here stands in for it; what the standby has confirmed costs nothing.
	 */
	if (synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH && SyncRepRequested())
		wait_for_standby(Max(commit, GetFlushRecPtr(NULL)));
}

/*
 * payguard_store_make_all_durable does the same for everything that was committed before this
 * transaction's last write.
 */
void
payguard_store_make_all_durable(void)
{
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF || XLogRecPtrIsInvalid(XactLastRecEnd))
		return;
	XLogFlush(XactLastRecEnd);
	if (synchronous_commit > SYNCHRONOUS_COMMIT_LOCAL_FLUSH && SyncRepRequested())
		wait_for_standby(XactLastRecEnd);
}

/*
 * wait_for_standby waits as a commit does, with one difference: whoever cancels the wait gets
 * an error. A commit is done by then; an answer can still be withheld.
 */
static void
wait_for_standby(XLogRecPtr lsn)
{
	HOLD_INTERRUPTS();
	SyncRepWaitForLSN(lsn, true);
	RESUME_INTERRUPTS();
	CHECK_FOR_INTERRUPTS();
	if (payguard_sync_standbys_defined() && !standby_has(lsn))
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED),
						errmsg("canceling statement while it waits for a synchronous standby"),
						errdetail("The answer rests on a commit that the standby may not have. "
								  "This call has written nothing."),
						errhint("Repeat the call.")));
}

/*
 * standby_has tells whether as many standbys as are asked for have confirmed the WAL up to
 * lsn, in the way that this session's synchronous_commit asks for.
 */
static bool
standby_has(XLogRecPtr lsn)
{
	int mode = synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_WRITE   ? SYNC_REP_WAIT_WRITE
			   : synchronous_commit == SYNCHRONOUS_COMMIT_REMOTE_APPLY ? SYNC_REP_WAIT_APPLY
																	   : SYNC_REP_WAIT_FLUSH;
	bool confirmed;

	LWLockAcquire(SyncRepLock, LW_SHARED);
	confirmed = lsn <= WalSndCtl->lsn[mode];
	LWLockRelease(SyncRepLock);
	return confirmed;
}

/*
 * payguard_store_expects tells whether this statement on one of our tables is the one that
 * the store is running, and uses that up: a second statement is refused.
 */
bool
payguard_store_expects(const char *relation, CmdType operation)
{
	bool mine = expected.relation != NULL && strcmp(expected.relation, relation) == 0 &&
				expected.operation == operation;

	expected.relation = NULL;
	return mine;
}

/*
 * payguard_store_has_user_triggers tells whether anybody but us has put a trigger on a table:
 * then what it sees must be what one call after another does.
 */
bool
payguard_store_has_user_triggers(const Table *table)
{
	Oid oid = get_relname_relid(table->name, get_namespace_oid(PAYGUARD_SCHEMA, false));
	Relation relation = RelationIdGetRelation(oid);
	bool has;

	if (!RelationIsValid(relation))
		elog(ERROR, "payguard: table \"%s\" does not exist", table->name);
	has = relation->trigdesc == NULL || relation->trigdesc->numtriggers > 1;
	RelationClose(relation);
	return has;
}

static bool
select_row(const Table *table, Operation operation, int key, const void *like, void *row)
{
	Datum values[MAX_FIELDS];
	char nulls[MAX_FIELDS];

	collect(table, key_fields(table, key), like, values, nulls);
	if (run(table, operation, key, values, nulls) == 0)
		return false;
	read_row(table, SPI_tuptable->vals[0], SPI_tuptable->tupdesc, row);
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/*
 * read_row copies a tuple of append_columns() and xmin into a row's struct.
 */
static void
read_row(const Table *table, HeapTuple tuple, TupleDesc desc, void *row)
{
	bool isnull;

	memset(row, 0, table->row_size);
	for (int f = 0; f < table->nfields; f++)
	{
		Datum value = SPI_getbinval(tuple, desc, f + 1, &isnull);

		payguard_field_set(&table->fields[f], row, value, isnull);
	}
	((RowHeader *) row)->xmin =
		DatumGetTransactionId(SPI_getbinval(tuple, desc, table->nfields + 1, &isnull));
}

/*
 * write_row runs an insert or update of a row, whose parameters are in values. Where a user's
 * BEFORE ROW trigger could have changed the row on its way, what was written must be it.
 */
static uint64
write_row(const Table *table, Operation operation, uint64 variant, const void *row,
		  Datum *values, const char *nulls)
{
	uint64 written;

	if (!has_before_row_trigger(table, operation != OP_UPDATE))
		return run(table, operation, variant, values, nulls);
	written = run(table, operation | RETURNING, variant, values, nulls);
	for (int f = 0; written == 1 && f < table->nfields; f++)
	{
		Form_pg_attribute column = TupleDescAttr(SPI_tuptable->tupdesc, f);
		Datum meant;
		bool has = payguard_field_get(&table->fields[f], row, &meant);
		bool isnull;
		Datum value =
			SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, f + 1, &isnull);

		if (table->fields[f].generated && operation != OP_UPDATE)
			continue;
		if (has == isnull ||
			(has && !datum_image_eq(value, meant, column->attbyval, column->attlen)))
			changed_by_trigger(table, table->fields[f].column);
	}
	SPI_freetuptable(SPI_tuptable);
	return written;
}

/*
 * has_before_row_trigger tells whether a user's trigger may change what we insert or update.
 */
static bool
has_before_row_trigger(const Table *table, bool insert)
{
	Oid oid = get_relname_relid(table->name, get_namespace_oid(PAYGUARD_SCHEMA, false));
	Relation relation = RelationIdGetRelation(oid);
	bool has = false;

	if (!RelationIsValid(relation))
		elog(ERROR, "payguard: table \"%s\" does not exist", table->name);
	if (relation->trigdesc)
		has = insert ? relation->trigdesc->trig_insert_before_row
					 : relation->trigdesc->trig_update_before_row;
	RelationClose(relation);
	return has;
}

static void
changed_by_trigger(const Table *table, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("a trigger changed what is written to table \"%s\"", table->name),
			 errdetail("Column \"%s\" got another value. Nothing has been written.",
					   column),
			 errhint("A BEFORE ROW trigger on payguard's tables may look and raise errors, "
					 "but must return NEW unchanged."),
			 err_generic_string(PG_DIAG_SCHEMA_NAME, PAYGUARD_SCHEMA),
			 err_generic_string(PG_DIAG_TABLE_NAME, table->name),
			 err_generic_string(PG_DIAG_COLUMN_NAME, column)));
}

/*
 * run executes one statement and returns how many rows it found or wrote. The caller's memory
 * context is current afterwards.
 */
static uint64
run(const Table *table, int operation, uint64 variant, Datum *values, const char *nulls)
{
	MemoryContext caller = CurrentMemoryContext;
	SPIPlanPtr plan = get_plan(table, operation, variant);
	int result;

	switch (operation & ~RETURNING)
	{
		case OP_UPDATE:
		case OP_UPDATE_ALL:
			result = run_plan(plan, values, nulls, false, operation == OP_UPDATE_ALL,
							  table->name, CMD_UPDATE);
			break;
		case OP_DELETE:
		case OP_DELETE_ALL:
			result = run_plan(plan, values, nulls, false, operation == OP_DELETE_ALL,
							  table->name, CMD_DELETE);
			break;
		default:
			result = run_plan(plan, values, nulls, is_read(operation, variant),
							  operation == OP_LIST || operation == OP_LIST_BY_KEY ||
								  operation == OP_INSERT_ALL,
							  NULL, CMD_UNKNOWN);
			break;
	}
	if (result < 0)
		elog(ERROR, "payguard: SPI_execute_plan on \"%s\" failed: %s", table->name,
			 SPI_result_code_string(result));
	MemoryContextSwitchTo(caller);
	return SPI_processed;
}

/*
 * is_read tells whether an operation reads with the snapshot that there is.
 */
static bool
is_read(Operation operation, uint64 variant)
{
	return operation == OP_FIND || operation == OP_LIST ||
		   (operation == OP_LIST_BY_KEY && (variant & 0xff) == ROW_READ);
}

/*
 * run_plan executes a plan, announced to protect.c where it updates or deletes.
 *
 * many: it may be about many rows. The settings hold for what users' triggers run, too, so that
 * a statement on one row, which needs only one of them, sets only that one.
 */
static int
run_plan(SPIPlanPtr plan, Datum *values, const char *nulls, bool read_only, bool many,
		 const char *announced, CmdType operation)
{
	const char *saved_relation = expected.relation;
	CmdType saved_operation = expected.operation;
	bool saved[] = {enable_seqscan, enable_hashjoin, enable_mergejoin,
					enable_material, enable_sort,	 jit_enabled};
	volatile int result = 0;

	if (announced)
	{
		expected.relation = announced;
		expected.operation = operation;
	}

	/*
	 * A plan made while a table is almost empty must still be good when it is full: rows are
	 * found by an index, in the index's order, whatever their number is.
	 */
	enable_seqscan = false;
	if (many)
		enable_hashjoin = enable_mergejoin = enable_material = enable_sort = jit_enabled =
			false;
	PG_TRY();
	{
		result = SPI_execute_plan(plan, values, nulls, read_only, 0);
	}
	PG_FINALLY();
	{
		enable_seqscan = saved[0];
		enable_hashjoin = saved[1];
		enable_mergejoin = saved[2];
		enable_material = saved[3];
		enable_sort = saved[4];
		jit_enabled = saved[5];
		expected.relation = saved_relation;
		expected.operation = saved_operation;
	}
	PG_END_TRY();
	return result;
}

static SPIPlanPtr
get_plan(const Table *table, int operation, uint64 variant)
{
	PlanEntry *entry = get_entry(table, operation, variant);

	if (entry->plan == NULL)
		entry->plan = make_plan(table, operation, variant);
	return entry->plan;
}

/*
 * get_entry finds where a saved plan is kept; it may have to be made.
 */
static PlanEntry *
get_entry(const Table *table, int operation, uint64 variant)
{
	PlanKey key = {table, operation, variant};
	PlanEntry *entry;
	bool found;

	if (plans == NULL)
	{
		HASHCTL ctl = {.keysize = sizeof(PlanKey),
					   .entrysize = sizeof(PlanEntry),
					   .hcxt = AllocSetContextCreate(TopMemoryContext, "payguard plans",
													 ALLOCSET_SMALL_SIZES)};

		plans = hash_create("payguard plans", 32, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	entry = hash_search(plans, &key, HASH_ENTER, &found);
	if (!found)
		entry->plan = NULL;
	return entry;
}

/*
 * make_plan builds and keeps the plan of one statement. Everything in it is qualified, the
 * operators too: the caller's search_path must not choose what runs with our rights.
 */
static SPIPlanPtr
make_plan(const Table *table, int operation_and_returning, uint64 variant)
{
	Operation operation = operation_and_returning & ~RETURNING;
	StringInfoData sql;
	Oid types[MAX_FIELDS];
	int n = parameter_types(table, operation, variant, types);
	MemoryContext caller = CurrentMemoryContext;
	SPIPlanPtr plan;

	Assert(table->nfields <= MAX_FIELDS);
	initStringInfo(&sql);
	switch (operation)
	{
		case OP_FIND:
		case OP_LOCK:
		case OP_LOCK_FREE:
		case OP_LIST:
		case OP_LIST_BY_KEY:
			append_select(&sql, table, operation, variant);
			break;
		case OP_INSERT:
		case OP_INSERT_NEW:
			append_insert(&sql, table, operation, variant, n);
			break;
		case OP_INSERT_ALL:
		case OP_UPDATE_ALL:
		case OP_DELETE_ALL:
			append_write_all(&sql, table, operation, (FieldSet) variant);
			break;
		case OP_UPDATE:
			append_update(&sql, table, (FieldSet) variant);
			break;
		case OP_DELETE:
			appendStringInfo(&sql, "DELETE FROM ONLY " PAYGUARD_SCHEMA ".%s",
							 table->name);
			append_key(&sql, table, 0);
			break;
		case OP_STATEMENT:
			elog(ERROR, "payguard: a statement is no operation on a row");
	}

	if (operation_and_returning & RETURNING)
	{
		appendStringInfoString(&sql, " RETURNING ");
		append_columns(&sql, table, ~UINT64CONST(0));
	}

	plan = SPI_prepare_cursor(sql.data, n, types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "payguard: cannot prepare \"%s\": %s", sql.data,
			 SPI_result_code_string(SPI_result));
	MemoryContextSwitchTo(caller);
	pfree(sql.data);
	return plan;
}

/*
 * parameter_types fills in the types of a statement's parameters and returns their number.
 */
static int
parameter_types(const Table *table, Operation operation, uint64 variant, Oid *types)
{
	FieldSet fields = parameters(table, operation, variant);
	bool arrays = operation == OP_INSERT_ALL || operation == OP_UPDATE_ALL ||
				  operation == OP_DELETE_ALL;
	int n = 0;

	if (operation == OP_LIST)
	{
		const RowQuery *query = (const RowQuery *) (uintptr_t) variant;

		for (; n < MAX_QUERY_PARAMETERS && OidIsValid(query->types[n]); n++)
			types[n] = query->types[n];
		return n;
	}
	if (operation == OP_LIST_BY_KEY)
	{
		for (; n < (int) (variant >> 8 & 0xff); n++)
			types[n] = payguard_field_type(
				&table->fields[table->keys[variant >> 16].fields[n]]);
		types[n - 1] = get_array_type(types[n - 1]);
		return n;
	}
	if (operation == OP_UPDATE)
		for (int f = 0; f < table->nfields; f++)
			if (key_fields(table, 0) & FIELD(f))
				types[n++] = payguard_field_type(&table->fields[f]);
	for (int f = 0; f < table->nfields; f++)
		if (fields & FIELD(f))
		{
			types[n] = payguard_field_type(&table->fields[f]);
			if (arrays)
				types[n] = get_array_type(types[n]);
			n++;
		}
	return n;
}

static void
append_select(StringInfo sql, const Table *table, Operation operation, uint64 variant)
{
	RowLock lock = ROW_READ;

	appendStringInfoString(sql, "SELECT ");
	append_columns(sql, table, ~UINT64CONST(0));
	appendStringInfo(sql, ", xmin FROM ONLY " PAYGUARD_SCHEMA ".%s", table->name);
	if (operation == OP_LIST)
		appendStringInfo(sql, " WHERE %s",
						 ((const RowQuery *) (uintptr_t) variant)->where);
	else if (operation == OP_LIST_BY_KEY)
	{
		append_values_of_key(sql, table, (int) (variant >> 16), (int) (variant >> 8 & 0xff));
		lock = (RowLock) (variant & 0xff);
	}
	else
		append_key(sql, table, (int) variant);
	if (operation == OP_LOCK || operation == OP_LOCK_FREE || lock != ROW_READ)
		appendStringInfoString(sql, " FOR NO KEY UPDATE");
	if (operation == OP_LOCK_FREE || lock == ROW_LOCK_FREE)
		appendStringInfoString(sql, " SKIP LOCKED");
}

/*
 * append_values_of_key appends the WHERE and ORDER BY of OP_LIST_BY_KEY.
 */
static void
append_values_of_key(StringInfo sql, const Table *table, int key, int nfields)
{
	const Key *of = &table->keys[key];
	const char *last = table->fields[of->fields[nfields - 1]].column;

	appendStringInfo(sql, " WHERE %s OPERATOR(pg_catalog.=) ANY ($%d)", last, nfields);
	for (int i = 0; i < nfields - 1; i++)
		appendStringInfo(sql, " AND %s OPERATOR(pg_catalog.=) $%d",
						 table->fields[of->fields[i]].column, i + 1);
	if (of->condition)
		appendStringInfo(sql, " AND %s", of->condition);
	/* the planner knows of an array's order in the first column alone */
	if (nfields == 1)
		appendStringInfo(sql, " ORDER BY %s", last);
}

/*
 * append_write_all: the parameters are arrays, of the fields in their order; those of an update
 * are the primary key's too.
 */
static void
append_write_all(StringInfo sql, const Table *table, Operation operation, FieldSet changed)
{
	FieldSet fields = parameters(table, operation, changed);
	FieldSet key = key_fields(table, 0);
	const char *separator = "";
	int n = 0;

	if (operation == OP_INSERT_ALL)
	{
		appendStringInfo(sql, "INSERT INTO " PAYGUARD_SCHEMA ".%s (", table->name);
		append_columns(sql, table, fields);
		appendStringInfoString(sql, ") SELECT a.*");
	}
	else if (operation == OP_UPDATE_ALL)
	{
		appendStringInfo(sql, "UPDATE ONLY " PAYGUARD_SCHEMA ".%s t SET ", table->name);
		for (int f = 0; f < table->nfields; f++)
			if (changed & FIELD(f))
			{
				appendStringInfo(sql, "%s%s = a.%s", separator, table->fields[f].column,
								 table->fields[f].column);
				separator = ", ";
			}
	}
	else
		appendStringInfo(sql, "DELETE FROM ONLY " PAYGUARD_SCHEMA ".%s t", table->name);

	appendStringInfoString(sql, operation == OP_DELETE_ALL ? " USING ROWS FROM ("
														   : " FROM ROWS FROM (");
	for (int f = 0; f < table->nfields; f++)
		if (fields & FIELD(f))
		{
			appendStringInfo(sql, "%spg_catalog.unnest($%d)", n > 0 ? ", " : "", n + 1);
			n++;
		}
	appendStringInfoString(sql, ") a (");
	append_columns(sql, table, fields);
	appendStringInfoChar(sql, ')');

	separator = " WHERE";
	for (int f = 0; f < table->nfields && operation != OP_INSERT_ALL; f++)
		if (key & FIELD(f))
		{
			appendStringInfo(sql, "%s t.%s OPERATOR(pg_catalog.=) a.%s", separator,
							 table->fields[f].column, table->fields[f].column);
			separator = " AND";
		}
}

static void
append_insert(StringInfo sql, const Table *table, Operation operation, uint64 variant,
			  int n)
{
	appendStringInfo(sql, "INSERT INTO " PAYGUARD_SCHEMA ".%s (", table->name);
	append_columns(sql, table, parameters(table, operation, variant));
	appendStringInfoString(sql, ") VALUES (");
	for (int i = 1; i <= n; i++)
		appendStringInfo(sql, "%s$%d", i > 1 ? ", " : "", i);
	appendStringInfoChar(sql, ')');
	if (operation == OP_INSERT_NEW)
	{
		const Key *key = &table->keys[variant];

		appendStringInfoString(sql, " ON CONFLICT (");
		append_columns(sql, table, key_fields(table, (int) variant));
		appendStringInfo(sql, ")%s%s DO NOTHING", key->condition ? " WHERE " : "",
						 key->condition ? key->condition : "");
	}
}

/*
 * append_update: the parameters of the primary key come first.
 */
static void
append_update(StringInfo sql, const Table *table, FieldSet fields)
{
	const char *separator = "";
	int version = 0;
	int n = 1;

	for (int f = 0; f < table->nfields; f++)
		if (key_fields(table, 0) & FIELD(f))
			n++;
	appendStringInfo(sql, "UPDATE ONLY " PAYGUARD_SCHEMA ".%s SET ", table->name);
	for (int f = 0; f < table->nfields; f++)
		if (fields & FIELD(f))
		{
			if (table == &payguard_orders && f == ORDER_F_VERSION)
				version = n;
			appendStringInfo(sql, "%s%s = $%d", separator, table->fields[f].column, n++);
			separator = ", ";
		}
	append_key(sql, table, 0);

	/* what a user's trigger has done to the order meanwhile must not be undone */
	if (version > 0)
		appendStringInfo(sql,
						 " AND version OPERATOR(pg_catalog.=) "
						 "($%d OPERATOR(pg_catalog.-) 1::pg_catalog.int8)",
						 version);
}

/*
 * append_key appends the WHERE of a key, whose fields are the first parameters.
 */
static void
append_key(StringInfo sql, const Table *table, int key)
{
	FieldSet fields = key_fields(table, key);
	int n = 1;

	for (int f = 0; f < table->nfields; f++)
		if (fields & FIELD(f))
		{
			appendStringInfo(sql, "%s%s OPERATOR(pg_catalog.=) $%d",
							 n == 1 ? " WHERE " : " AND ",
							 table->fields[f].column, n);
			n++;
		}
	if (table->keys[key].condition)
		appendStringInfo(sql, " AND %s", table->keys[key].condition);
}

static void
append_columns(StringInfo sql, const Table *table, FieldSet fields)
{
	const char *separator = "";

	for (int f = 0; f < table->nfields; f++)
		if (fields & FIELD(f))
		{
			appendStringInfo(sql, "%s%s", separator, table->fields[f].column);
			separator = ", ";
		}
}

/*
 * parameters returns the fields that a statement has as parameters (for an update, behind
 * those of the primary key).
 */
static FieldSet
parameters(const Table *table, Operation operation, uint64 variant)
{
	FieldSet fields = 0;

	switch (operation)
	{
		case OP_INSERT:
		case OP_INSERT_NEW:
		case OP_INSERT_ALL:
			for (int f = 0; f < table->nfields; f++)
				if (!table->fields[f].generated)
					fields |= FIELD(f);
			return fields;
		case OP_UPDATE:
			return (FieldSet) variant;
		case OP_UPDATE_ALL:
			return key_fields(table, 0) | (FieldSet) variant;
		case OP_FIND:
		case OP_LOCK:
		case OP_LOCK_FREE:
			return key_fields(table, (int) variant);
		case OP_DELETE:
		case OP_DELETE_ALL:
			return key_fields(table, 0);
		case OP_LIST:
		case OP_LIST_BY_KEY:
		case OP_STATEMENT:
			return 0;
	}
	elog(ERROR, "payguard: unknown store operation %d", (int) operation);
}

static FieldSet
key_fields(const Table *table, int key)
{
	FieldSet fields = 0;

	Assert(key >= 0 && key < table->nkeys);
	for (int i = 0; i < MAX_KEY_FIELDS && table->keys[key].fields[i] >= 0; i++)
		fields |= FIELD(table->keys[key].fields[i]);
	return fields;
}

/*
 * collect fills in the parameters for a set of fields and returns their number.
 */
static int
collect(const Table *table, FieldSet fields, const void *row, Datum *values, char *nulls)
{
	int n = 0;

	for (int f = 0; f < table->nfields; f++)
		if (fields & FIELD(f))
		{
			nulls[n] = payguard_field_get(&table->fields[f], row, &values[n]) ? ' ' : 'n';
			n++;
		}
	return n;
}

/*
 * payguard_field_get reads a field of a row as a Datum; false: it is NULL.
 */
bool
payguard_field_get(const Field *field, const void *row, Datum *value)
{
	const char *at = (const char *) row + field->offset;

	*value = (Datum) 0;
	switch (field->type)
	{
		case FIELD_TEXT:
		case FIELD_JSONB:
		case FIELD_BYTEA:
		case FIELD_UUID:
		case FIELD_INTERVAL:
			*value = PointerGetDatum(*(void *const *) at);
			return *(void *const *) at != NULL;
		case FIELD_AMOUNT:
			*value = Int64GetDatum(*(const int64 *) at);
			return *(const int64 *) at != NO_AMOUNT;
		case FIELD_ID:
			*value = Int64GetDatum(*(const int64 *) at);
			return *(const int64 *) at != NO_ID;
		case FIELD_TIME:
			*value = TimestampTzGetDatum(*(const TimestampTz *) at);
			return *(const TimestampTz *) at != NO_TIME;
		case FIELD_BOOL:
			*value = BoolGetDatum(*(const bool *) at);
			return true;
		case FIELD_STATUS:
			if (*(const int *) at == 0)
				return false;
			*value = PointerGetDatum(
				payguard_text(payguard_machine_name(field->machine, *(const int *) at)));
			return true;
	}
	elog(ERROR, "payguard: unknown field type %d", (int) field->type);
}

/*
 * payguard_field_set writes a Datum into a field of a row, copied into the current memory context.
 */
void
payguard_field_set(const Field *field, void *row, Datum value, bool isnull)
{
	char *at = (char *) row + field->offset;

	switch (field->type)
	{
		case FIELD_TEXT:
		case FIELD_JSONB:
		case FIELD_BYTEA:
			*(void **) at = isnull ? NULL : PG_DETOAST_DATUM_COPY(value);
			return;
		case FIELD_UUID:
		case FIELD_INTERVAL:
			*(void **) at =
				isnull ? NULL
					   : DatumGetPointer(datumCopy(value, false,
												   field->type == FIELD_UUID
													   ? UUID_LEN
													   : (int) sizeof(Interval)));
			return;
		case FIELD_AMOUNT:
			*(int64 *) at = isnull ? NO_AMOUNT : DatumGetInt64(value);
			return;
		case FIELD_ID:
			*(int64 *) at = isnull ? NO_ID : DatumGetInt64(value);
			return;
		case FIELD_TIME:
			*(TimestampTz *) at = isnull ? NO_TIME : DatumGetTimestampTz(value);
			return;
		case FIELD_BOOL:
			*(bool *) at = !isnull && DatumGetBool(value);
			return;
		case FIELD_STATUS:
			if (isnull)
				*(int *) at = 0;
			else
			{
				text *name = DatumGetTextPP(value);

				*(int *) at = payguard_machine_status(field->machine, VARDATA_ANY(name),
													  VARSIZE_ANY_EXHDR(name));
			}
			return;
	}
	elog(ERROR, "payguard: unknown field type %d", (int) field->type);
}

/*
 * payguard_field_type returns the type of a field's column.
 */
Oid
payguard_field_type(const Field *field)
{
	switch (field->type)
	{
		case FIELD_TEXT:
		case FIELD_STATUS:
			return TEXTOID;
		case FIELD_JSONB:
			return JSONBOID;
		case FIELD_BYTEA:
			return BYTEAOID;
		case FIELD_UUID:
			return UUIDOID;
		case FIELD_INTERVAL:
			return INTERVALOID;
		case FIELD_AMOUNT:
		case FIELD_ID:
			return INT8OID;
		case FIELD_TIME:
			return TIMESTAMPTZOID;
		case FIELD_BOOL:
			return BOOLOID;
	}
	elog(ERROR, "payguard: unknown field type %d", (int) field->type);
}

/*
 * payguard_store_row_datum makes a composite value of a row, for a function that returns it.
 */
Datum
payguard_store_row_datum(const Table *table, const void *row, TupleDesc desc)
{
	Datum values[MAX_FIELDS];
	bool nulls[MAX_FIELDS];

	if (desc->natts > MAX_FIELDS)
		elog(ERROR, "payguard: \"%s\" has too many columns", table->name);
	for (int i = 0; i < desc->natts; i++)
	{
		const char *column = NameStr(TupleDescAttr(desc, i)->attname);

		nulls[i] = true;
		for (int f = 0; f < table->nfields; f++)
			if (strcmp(table->fields[f].column, column) == 0)
				nulls[i] = !payguard_field_get(&table->fields[f], row, &values[i]);
	}
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/*
 * payguard_store_suppressed reports a user's BEFORE trigger that returned NULL: half of a payment must not
 * be written.
 */
void
payguard_store_suppressed(const Table *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("a write to table \"%s\" was suppressed", table->name),
			 errdetail("Nothing has been written."),
			 errhint("A BEFORE ROW trigger on payguard's tables must not return NULL."),
			 err_generic_string(PG_DIAG_SCHEMA_NAME, PAYGUARD_SCHEMA),
			 err_generic_string(PG_DIAG_TABLE_NAME, table->name)));
}
