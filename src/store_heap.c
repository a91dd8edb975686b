/*
 * store_heap.c
 *		The table layer without SPI, for the tables that every payment or task writes to: the same
 *		rows, locks, WAL and errors, without a statement around them.
 *
 * It does by itself what executor nodes do: index scans with a snapshot, row locks, updates and
 * deletions, insertions that report a conflict instead of raising it; indexes, constraints and
 * AFTER ROW triggers (foreign keys that reference our tables are such) included.
 * Where somebody has put anything on a table that it does not do (statement triggers, transition
 * tables, BEFORE ROW triggers, row security, CHECKs, indexes on expressions ...) it declines, and
 * the caller goes to SPI. Each operation declines on its own, and both may serve one call: they leave
 * the same behind.
 *
 * Locking: that of store_spi.c. A row lock is FOR NO KEY UPDATE, which READ COMMITTED takes on the
 * newest version of the row, while the stricter levels raise 40001 where that is not the visible
 * one.
 *
 * What is known of a table is kept until anything about it is invalidated. It is looked up anew at
 * the beginning of an operation, when the table's lock is held, and never used after triggers have
 * run, which may have had it replaced.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/nbtree.h"
#include "access/relation.h"
#include "access/skey.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/xid8.h"

#include "compat.h"
#include "payguard.h"

#define MAX_FIELDS 32
#define MAX_KEYS 8
#define MAX_INDEXES 16

/* How a column that is no parameter gets its value. */
typedef enum Filler
{
	FILL_FIELD,	   /* it is a field of the row */
	FILL_NULL,	   /* it has no default */
	FILL_SEQUENCE, /* nextval() */
	FILL_XID	   /* pg_current_xact_id() */
} Filler;

/* What is known of a table. */
typedef struct HeapTable
{
	const Table *table;
	uint64 seen; /* `changes` when this was looked up; written last */
	MemoryContext context;
	Oid oid;
	bool readable;	 /* rows can be found and locked */
	bool insertable; /* and inserted */
	bool updatable;	 /* and updated */
	bool deletable;	 /* and deleted */
	bool after_insert; /* AFTER ROW triggers, other than which this file does not fire */
	bool after_update;
	bool after_delete;
	AttrNumber column_of[MAX_FIELDS]; /* of each field */
	int natts;
	Filler filler[MAX_FIELDS]; /* of each column */
	Oid sequence;			   /* of FILL_SEQUENCE */
	Oid key_index[MAX_KEYS];   /* the unique index of each key; InvalidOid: none that can be used */
	AttrNumber null_column[MAX_KEYS]; /* of a key with a condition: the column that it tests */
	bool is_null[MAX_KEYS];			  /* and whether that is NULL or is not */
	Oid walk_index;					  /* of Table.walk, InvalidOid: none that can be used */
	List *arbiters[MAX_KEYS];  /* the unique indexes that an insertion looks for a conflict in */
	int nindexes;
	Oid index[MAX_INDEXES];
	IndexInfo *index_info[MAX_INDEXES];
} HeapTable;

/* An operation on a table that is being done. */
typedef struct Access
{
	HeapTable *known;
	Relation relation;
	EState *estate;
	ResultRelInfo *result;
	MemoryContext caller;
	bool fires; /* AFTER ROW triggers may fire */
	TupleTableSlot *old; /* the row as it was: of an update or deletion */
	TupleTableSlot *new; /* the row as it is to be: of an insertion or update */
} Access;

/* A search for rows by the first fields of a key. */
typedef struct KeyScan
{
	HeapTable *known;
	int key;
	int n; /* fields */
	Relation index;
	IndexScanDesc scan;
	ScanKeyData keys[MAX_KEY_FIELDS];
} KeyScan;

int payguard_store_setting = STORE_AUTO;

static HeapTable known_tables[] = {
	{.table = &payguard_orders}, {.table = &payguard_payments},
	{.table = &payguard_events}, {.table = &payguard_tasks},
	{.table = &payguard_leases}, {.table = &payguard_finished_tasks},
	{.table = &payguard_archived_orders}, {.table = &payguard_archived_payments},
};
/* How often anything has been invalidated that a HeapTable knows. */
static uint64 changes = 1;

static bool serves(const Table *table);
static HeapTable *open_table(const Table *table, LOCKMODE mode, Relation *relation);
static HeapTable *entry_of(const Table *table);
static void forget_relation(Datum argument, Oid relation);
static void forget_names(Datum argument, int cache, uint32 hash);
static void describe(HeapTable *known, Relation relation);
static bool has_known_columns(HeapTable *known, Relation relation);
static bool find_filler(HeapTable *known, Relation relation, int attribute);
static bool has_known_indexes(HeapTable *known, Relation relation);
static bool is_foreign(Oid function, void *context);
static bool has_foreign_function(Node *node, void *context);
static bool is_plain_index(Relation index);
static void note_index_of_key(HeapTable *known, Relation index, int key);
static bool has_key_columns(const HeapTable *known, Relation index, const Key *key);
static bool has_condition(HeapTable *known, Relation index, int key);
static bool is_index_of_walk(const HeapTable *known, Relation index);
static void check_triggers(HeapTable *known, Relation relation);
static Oid guard_function(void);
static RegProcedure equality(const Field *field);
static void begin_scan(KeyScan *scan, HeapTable *known, Relation relation, int key, int n,
					   Snapshot snapshot);
static bool next_row(KeyScan *scan, const Datum *values, bool first, TupleTableSlot *slot);
static void end_scan(KeyScan *scan);
static bool find_row(HeapTable *known, Relation relation, int key, const void *like,
					 Snapshot snapshot, TupleTableSlot *slot);
static int sort_values(const Field *field, Datum *values, int n);
static int compare_values(const void *a, const void *b, void *field);
static void set_walk_keys(const HeapTable *known, Relation index, const Datum *values,
						  ScanKey keys, ScanKey members);
static bool is_among(const HeapTable *known, const WalkQuery *query, Datum **among,
					 const int *namong, TupleTableSlot *slot);
static bool is_known_place(const void *row);
static bool lock_row(Relation relation, LockWaitPolicy wait, TupleTableSlot *slot,
					 bool *traversed);
static bool has_key(const HeapTable *known, int key, const void *like,
					TupleTableSlot *slot);
static bool has_values(const HeapTable *known, int key, int n, const Datum *values,
					   TupleTableSlot *slot);
static int key_values(const HeapTable *known, int key, const void *like, Datum *values);
static bool is_same(const Field *field, Datum a, Datum b);
static void read_slot(const HeapTable *known, TupleTableSlot *slot, void *row);
static bool begin_write(Access *access, const Table *table, const RowWrite *write);
static bool may_write(const HeapTable *known, const RowWrite *write);
static bool has_after_triggers(const HeapTable *known, CmdType operation);
static Bitmapset *changed_columns(const HeapTable *known, FieldSet fields);
static void open_indexes(Access *access);
static void end_write(Access *access);
static void new_row(Access *access, const void *row);
static void insert_row(Access *access);
static bool insert_speculatively(Access *access, const RowWrite *write);
static void check_visible(Access *access, ItemPointer tid);
static bool update_row(Access *access, FieldSet changed, const void *row);
static bool delete_row(Access *access, const void *row);
static bool find_old(Access *access, const void *row);
static bool find_newer(Access *access, const void *row, TM_Result result, ItemPointer tid,
					   LockTupleMode mode);
static bool find_again(Access *access, const void *row, TupleTableSlot *slot);
static bool is_row_meant(const HeapTable *known, const void *row, FieldSet changed,
						 TupleTableSlot *old);
static void changed_row(Access *access, FieldSet changed, const void *row);
static void raise_concurrent(const char *what) pg_attribute_noreturn();

/*
 * payguard_heap_find is payguard_store_find(); false: it declines.
 */
bool
payguard_heap_find(const Table *table, int key, const void *like, void *row, bool *found)
{
	Relation relation;
	HeapTable *known;
	TupleTableSlot *slot;

	if (!serves(table))
		return false;
	CHECK_FOR_INTERRUPTS();
	known = open_table(table, AccessShareLock, &relation);
	if (known == NULL)
		return false;
	if (!known->readable || !OidIsValid(known->key_index[key]))
	{
		relation_close(relation, NoLock);
		return false;
	}
	slot = table_slot_create(relation, NULL);
	*found = find_row(known, relation, key, like, GetActiveSnapshot(), slot);
	if (*found)
		read_slot(known, slot, row);
	ExecDropSingleTupleTableSlot(slot);
	relation_close(relation, NoLock);
	return true;
}

/*
 * payguard_heap_lock is payguard_store_lock(); false: it declines.
 */
bool
payguard_heap_lock(const Table *table, int key, const void *like, void *row, bool *found)
{
	Relation relation;
	HeapTable *known;
	TupleTableSlot *slot;
	bool traversed;

	*found = true;
	if (!serves(table) || XactReadOnly || IsInParallelMode())
		return false;
	known = open_table(table, RowShareLock, &relation);
	if (known == NULL)
		return false;
	if (!known->readable || !OidIsValid(known->key_index[key]))
	{
		relation_close(relation, NoLock);
		return false;
	}
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	slot = table_slot_create(relation, NULL);
	if (is_known_place(like))
		slot->tts_tid = ((const RowHeader *) like)->tid;
	else
		*found = find_row(known, relation, key, like, GetActiveSnapshot(), slot);
	if (*found)
		*found = lock_row(relation, LockWaitBlock, slot, &traversed) &&
				 (!traversed || has_key(known, key, like, slot));
	if (*found)
		read_slot(known, slot, row);
	ExecDropSingleTupleTableSlot(slot);
	PopActiveSnapshot();
	CommandCounterIncrement();
	relation_close(relation, NoLock);
	return true;
}

/*
 * payguard_heap_list_by_key is payguard_store_list_by_key(); false: it declines.
 */
bool
payguard_heap_list_by_key(const Table *table, int key, int nfields, RowLock lock,
						  const Datum *values, int n, void **rows, int *found)
{
	const Field *field = &table->fields[table->keys[key].fields[nfields - 1]];
	bool writes = lock != ROW_READ;
	int capacity = Max(n, 1);
	Datum wanted[MAX_KEY_FIELDS];
	Datum *last;
	Relation relation;
	HeapTable *known;
	TupleTableSlot *slot;
	KeyScan scan;

	if (!serves(table) || (writes && (XactReadOnly || IsInParallelMode())))
		return false;
	CHECK_FOR_INTERRUPTS();
	known = open_table(table, writes ? RowShareLock : AccessShareLock, &relation);
	if (known == NULL)
		return false;
	if (!known->readable || !OidIsValid(known->key_index[key]))
	{
		relation_close(relation, NoLock);
		return false;
	}
	if (writes)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	memcpy(wanted, values, sizeof(Datum) * (nfields - 1));
	last = palloc(sizeof(Datum) * Max(n, 1));
	memcpy(last, values + nfields - 1, sizeof(Datum) * n);
	n = sort_values(field, last, n);
	*rows = palloc(table->row_size * capacity);
	*found = 0;
	slot = table_slot_create(relation, NULL);
	begin_scan(&scan, known, relation, key, nfields, GetActiveSnapshot());
	for (int i = 0; i < n; i++)
	{
		bool traversed = false;

		wanted[nfields - 1] = last[i];
		for (bool first = true; next_row(&scan, wanted, first, slot); first = false)
		{
			if (writes &&
				(!lock_row(relation, lock == ROW_LOCK ? LockWaitBlock : LockWaitSkip, slot,
						   &traversed) ||
				 (traversed && !has_values(known, key, nfields, wanted, slot))))
				continue;
			if (*found == capacity)
				*rows = repalloc(*rows, table->row_size * (capacity *= 2));
			read_slot(known, slot, (char *) *rows + table->row_size * (*found)++);
		}
	}
	end_scan(&scan);
	ExecDropSingleTupleTableSlot(slot);
	if (writes)
	{
		PopActiveSnapshot();
		CommandCounterIncrement();
	}
	relation_close(relation, NoLock);
	return true;
}

/*
 * payguard_heap_walk is payguard_store_walk(); false: it declines.
 */
bool
payguard_heap_walk(const Table *table, const WalkQuery *query, Datum *values,
				   const char *nulls, void **rows, int *found)
{
	int nwalk = table->nwalk;
	int64 limit = DatumGetInt64(values[nwalk + 1]);
	int capacity = (int) Min(limit, 100);
	Datum *among[MAX_AMONG];
	int namong[MAX_AMONG];
	ScanKeyData keys[2];
	ScanKeyData members[MAX_WALK_FIELDS];
	Relation relation;
	Relation index;
	HeapTable *known;
	TupleTableSlot *slot;
	IndexScanDesc scan;

	if (!serves(table))
		return false;
	CHECK_FOR_INTERRUPTS();
	known = open_table(table, AccessShareLock, &relation);
	if (known == NULL)
		return false;
	if (!known->readable || !OidIsValid(known->walk_index))
	{
		relation_close(relation, NoLock);
		return false;
	}
	for (int i = 0; i < query->namong; i++)
	{
		bool *isnull;

		namong[i] = -1;
		if (nulls == NULL || nulls[nwalk + 2 + i] != 'n')
			deconstruct_array(DatumGetArrayTypeP(values[nwalk + 2 + i]), TEXTOID, -1, false,
							  TYPALIGN_INT, &among[i], &isnull, &namong[i]);
	}
	*rows = palloc(table->row_size * Max(capacity, 1));
	*found = 0;
	slot = table_slot_create(relation, NULL);
	index = index_open(known->walk_index, AccessShareLock);
	set_walk_keys(known, index, values, keys, members);
	scan = payguard_index_beginscan(relation, index, GetActiveSnapshot(), 2);
	index_rescan(scan, keys, 2, NULL, 0);
	while (*found < limit && index_getnext_slot(scan, ForwardScanDirection, slot))
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_among(known, query, among, namong, slot))
			continue;
		if (*found == capacity)
			*rows = repalloc(*rows, table->row_size * (capacity *= 2));
		read_slot(known, slot, (char *) *rows + table->row_size * (*found)++);
	}
	index_endscan(scan);
	index_close(index, NoLock);
	ExecDropSingleTupleTableSlot(slot);
	relation_close(relation, NoLock);
	return true;
}

/*
 * payguard_heap_check is payguard_store_check(); false: it declines.
 */
bool
payguard_heap_check(const Table *table, const void *const *rows, int n, bool *stands)
{
	Relation relation;
	HeapTable *known;
	TupleTableSlot *slot;

	/* in SERIALIZABLE they are read anew */
	if (!serves(table) || IsolationIsSerializable())
		return false;
	for (int i = 0; i < n; i++)
		if (!ItemPointerIsValid(&((const RowHeader *) rows[i])->tid))
			return false;
	known = open_table(table, AccessShareLock, &relation);
	if (known == NULL)
		return false;
	if (!known->readable)
	{
		relation_close(relation, NoLock);
		return false;
	}
	slot = table_slot_create(relation, NULL);
	for (int i = 0; i < n; i++)
	{
		const RowHeader *header = rows[i];
		ItemPointerData tid = header->tid;
		bool isnull;

		stands[i] =
			table_tuple_fetch_row_version(relation, &tid, GetActiveSnapshot(), slot) &&
			DatumGetTransactionId(slot_getsysattr(slot, MinTransactionIdAttributeNumber,
												  &isnull)) == header->xmin &&
			has_key(known, 0, header, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
	relation_close(relation, NoLock);
	return true;
}

/*
 * payguard_heap_write writes rows; false: it declines. written: which of them were; of the others
 * there is none to be changed, or one already.
 */
bool
payguard_heap_write(const Table *table, const RowWrite *write, const void *const *rows, int n,
					bool *written)
{
	Access access;

	if (!begin_write(&access, table, write))
		return false;
	for (int i = 0; i < n; i++)
	{
		ResetPerTupleExprContext(access.estate);
		written[i] = true;
		switch (write->operation)
		{
			case CMD_INSERT:
				new_row(&access, rows[i]);
				if (write->if_new)
					written[i] = insert_speculatively(&access, write);
				else
					insert_row(&access);
				break;
			case CMD_UPDATE:
				written[i] = update_row(&access, write->changed, rows[i]);
				break;
			default:
				written[i] = delete_row(&access, rows[i]);
				break;
		}
	}
	end_write(&access);
	return true;
}

/*
 * serves tells whether a table may be written by this file at all. A superuser, as the
 * extension's owner is, needs no privileges on it.
 */
static bool
serves(const Table *table)
{
	bool known = false;

	for (int i = 0; i < (int) lengthof(known_tables); i++)
		known |= known_tables[i].table == table;
	return known && payguard_store_setting != STORE_SPI && superuser();
}

/*
 * open_table locks and opens a table and returns what is known of it; NULL: there is none.
 */
static HeapTable *
open_table(const Table *table, LOCKMODE mode, Relation *relation)
{
	HeapTable *known = entry_of(table);

	for (;;)
	{
		uint64 seen = changes;

		if (known->seen != changes)
		{
			known->seen = 0;
			known->oid = get_relname_relid(table->name,
										   get_namespace_oid(PAYGUARD_SCHEMA, true));
			if (!OidIsValid(known->oid))
				return NULL;
		}
		*relation = try_relation_open(known->oid, mode);
		if (*relation != NULL && known->seen == changes)
			return known;

		/*
		 * Whatever was waited for may have renamed or replaced the table: it is as we see it if
		 * nothing has been invalidated since its name was looked up.
		 */
		if (*relation != NULL && seen == changes)
		{
			describe(known, *relation);
			if (seen == changes)
			{
				known->seen = seen;
				return known;
			}
		}
		if (*relation != NULL)
			relation_close(*relation, NoLock);
		else
			changes++;
	}
}

static HeapTable *
entry_of(const Table *table)
{
	static bool registered = false;
	HeapTable *known = known_tables;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_relation, (Datum) 0);
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_names, (Datum) 0);
		registered = true;
	}
	while (known->table != table)
		known++;
	return known;
}

static void
forget_relation(Datum argument, Oid relation)
{
	for (int i = 0; i < (int) lengthof(known_tables); i++)
	{
		const HeapTable *known = &known_tables[i];
		bool concerned = !OidIsValid(relation) || relation == known->oid;

		for (int j = 0; j < known->nindexes; j++)
			concerned |= relation == known->index[j];
		if (concerned)
			changes++;
	}
}

static void
forget_names(Datum argument, int cache, uint32 hash)
{
	changes++;
}

/*
 * describe looks at all that a table has, and decides what can be done to it here.
 */
static void
describe(HeapTable *known, Relation relation)
{
	Form_pg_class class = relation->rd_rel;
	MemoryContext caller;

	known->readable = known->insertable = known->updatable = known->deletable = false;
	known->nindexes = 0;
	if (known->context == NULL)
		known->context = AllocSetContextCreate(TopMemoryContext, "payguard table",
											   ALLOCSET_SMALL_SIZES);
	MemoryContextReset(known->context);
	caller = MemoryContextSwitchTo(known->context);

	if (class->relkind == RELKIND_RELATION && class->relam == HEAP_TABLE_AM_OID &&
		class->relpersistence != RELPERSISTENCE_TEMP && !class->relispartition &&
		!class->relhassubclass && !class->relhasrules && !class->relrowsecurity &&
		!class->relforcerowsecurity && has_known_columns(known, relation) &&
		has_known_indexes(known, relation))
	{
		known->readable = known->insertable = known->updatable = known->deletable = true;
		check_triggers(known, relation);
	}
	MemoryContextSwitchTo(caller);
}

/*
 * has_known_columns finds each field's column, and what fills the others.
 */
static bool
has_known_columns(HeapTable *known, Relation relation)
{
	TupleDesc desc = RelationGetDescr(relation);
	const Table *table = known->table;

	if (desc->natts > MAX_FIELDS || table->nfields > MAX_FIELDS ||
		(desc->constr &&
		 (desc->constr->has_generated_stored || desc->constr->num_check > 0)))
		return false;
	known->natts = desc->natts;
	memset(known->column_of, 0, sizeof(known->column_of));
	for (int a = 0; a < desc->natts; a++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, a);
		int field = 0;

		known->filler[a] = FILL_NULL;
		if (attribute->attisdropped)
			return false;
		while (field < table->nfields &&
			   strcmp(table->fields[field].column, NameStr(attribute->attname)) != 0)
			field++;
		if (field < table->nfields)
		{
			if (attribute->atttypid != payguard_field_type(&table->fields[field]) ||
				attribute->atttypmod != -1)
				return false;
			known->column_of[field] = a + 1;
			known->filler[a] = FILL_FIELD;
		}
		if ((field == table->nfields || table->fields[field].generated) &&
			!find_filler(known, relation, a))
			return false;
	}
	for (int f = 0; f < table->nfields; f++)
		if (known->column_of[f] == 0)
			return false;
	return true;
}

/*
 * find_filler finds out how a column that an insertion leaves out gets its value.
 */
static bool
find_filler(HeapTable *known, Relation relation, int attribute)
{
	Form_pg_attribute column = TupleDescAttr(RelationGetDescr(relation), attribute);
	Node *expression;

	known->filler[attribute] = FILL_NULL;
	if (column->attidentity || column->attgenerated)
		return false;
	if (!column->atthasdef)
		return get_typtype(column->atttypid) != TYPTYPE_DOMAIN;
	expression = build_column_default(relation, attribute + 1);
	if (expression == NULL || !IsA(expression, FuncExpr))
		return false;
	if (((FuncExpr *) expression)->funcid == F_PG_CURRENT_XACT_ID)
	{
		known->filler[attribute] = FILL_XID;
		return true;
	}
	if (((FuncExpr *) expression)->funcid == F_NEXTVAL)
	{
		Node *sequence = linitial(((FuncExpr *) expression)->args);

		if (!IsA(sequence, Const) || ((Const *) sequence)->constisnull)
			return false;
		known->sequence = DatumGetObjectId(((Const *) sequence)->constvalue);
		known->filler[attribute] = FILL_SEQUENCE;
		return true;
	}
	return false;
}

/*
 * has_known_indexes prepares every index for insertions, and finds those of the keys.
 */
static bool
has_known_indexes(HeapTable *known, Relation relation)
{
	List *indexes = RelationGetIndexList(relation);
	const Table *table = known->table;
	bool good = list_length(indexes) <= MAX_INDEXES && table->nkeys <= MAX_KEYS;
	ListCell *cell;

	memset(known->key_index, 0, sizeof(known->key_index));
	memset(known->arbiters, 0, sizeof(known->arbiters));
	memset(known->null_column, 0, sizeof(known->null_column));
	known->walk_index = InvalidOid;
	foreach (cell, indexes)
	{
		Relation index;
		IndexInfo *info;

		if (!good)
			break;
		index = index_open(lfirst_oid(cell), AccessShareLock);
		good = is_plain_index(index);
		if (good)
		{
			info = BuildIndexInfo(index);
			if (info->ii_Unique)
				BuildSpeculativeIndexInfo(index, info);
			if (info->ii_Predicate != NIL)
			{
				info->ii_Predicate =
					(List *) expression_planner((Expr *) info->ii_Predicate);
				info->ii_PredicateState = ExecInitQual(info->ii_Predicate, NULL);
			}
			known->index[known->nindexes] = RelationGetRelid(index);
			known->index_info[known->nindexes++] = info;
		}
		for (int key = 0; good && key < table->nkeys; key++)
			note_index_of_key(known, index, key);
		if (good && is_index_of_walk(known, index))
			known->walk_index = RelationGetRelid(index);
		index_close(index, NoLock);
	}

	/* rows are found by the keys that have no condition; the first is the primary key */
	for (int key = 0; good && key < table->nkeys; key++)
		if (table->keys[key].condition == NULL)
			good = known->arbiters[key] != NIL;
	return good && OidIsValid(known->key_index[0]);
}

static bool
is_foreign(Oid function, void *context)
{
	return function >= FirstUnpinnedObjectId;
}

/*
 * has_foreign_function tells whether an expression calls anything that is not the server's own.
 */
static bool
has_foreign_function(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return check_functions_in_node(node, is_foreign, NULL) ||
		   expression_tree_walker(node, has_foreign_function, context);
}

/*
 * is_plain_index tells whether an index needs nothing but what BuildIndexInfo() knows of it, for
 * as long as the table stays as it is.
 */
static bool
is_plain_index(Relation index)
{
	Form_pg_index form = index->rd_index;

	return index->rd_rel->relam == BTREE_AM_OID && form->indimmediate &&
		   !form->indisexclusion && RelationGetIndexExpressions(index) == NIL &&
		   !has_foreign_function((Node *) RelationGetIndexPredicate(index), NULL);
}

/*
 * note_index_of_key notes an index that holds exactly the columns of a key: to find rows by, where
 * it has the key's condition, and as an arbiter, where it has that or none, as ON CONFLICT would
 * choose it.
 */
static void
note_index_of_key(HeapTable *known, Relation index, int key)
{
	bool same;

	if (!has_key_columns(known, index, &known->table->keys[key]))
		return;
	same = has_condition(known, index, key);
	if (same || RelationGetIndexPredicate(index) == NIL)
		known->arbiters[key] = lappend_oid(known->arbiters[key], RelationGetRelid(index));
	if (same && !index->rd_index->indcheckxmin)
		known->key_index[key] = RelationGetRelid(index);
}

static bool
has_key_columns(const HeapTable *known, Relation index, const Key *key)
{
	Form_pg_index form = index->rd_index;
	int n = 0;

	if (!form->indisunique || !form->indisvalid || !form->indislive)
		return false;
	for (; n < MAX_KEY_FIELDS && key->fields[n] >= 0; n++)
	{
		const Field *field = &known->table->fields[key->fields[n]];
		Oid type = payguard_field_type(field);

		if (n >= form->indnkeyatts ||
			form->indkey.values[n] != known->column_of[key->fields[n]] ||
			index->rd_opcintype[n] != type ||
			get_opcode(get_opfamily_member(index->rd_opfamily[n], type, type,
										   BTEqualStrategyNumber)) != equality(field) ||
			(type == TEXTOID && index->rd_indcollation[n] != C_COLLATION_OID))
			return false;
	}
	return n == form->indnkeyatts;
}

/*
 * has_condition tells whether an index has the condition of a key: none, or a test for NULL. Keys
 * with other conditions are left to SPI.
 */
static bool
has_condition(HeapTable *known, Relation index, int key)
{
	const char *condition = known->table->keys[key].condition;
	List *predicate = RelationGetIndexPredicate(index);
	NullTest *test;
	Var *column;

	if (condition == NULL)
		return predicate == NIL;
	if (list_length(predicate) != 1 || !IsA(linitial(predicate), NullTest))
		return false;
	test = linitial(predicate);
	column = (Var *) test->arg;
	if (test->argisrow || !IsA(column, Var) || column->varattno <= 0 ||
		strcmp(condition,
			   psprintf("%s IS %sNULL",
						get_attname(known->oid, column->varattno, false),
						test->nulltesttype == IS_NULL ? "" : "NOT ")) != 0)
		return false;
	known->null_column[key] = column->varattno;
	known->is_null[key] = test->nulltesttype == IS_NULL;
	return true;
}

/*
 * is_index_of_walk tells whether an index begins with the table's walk, all rows in it, in
 * ascending order.
 */
static bool
is_index_of_walk(const HeapTable *known, Relation index)
{
	Form_pg_index form = index->rd_index;
	const Table *table = known->table;

	if (table->nwalk == 0 || !form->indisvalid || !form->indislive || form->indcheckxmin ||
		RelationGetIndexPredicate(index) != NIL || form->indnkeyatts != table->nwalk)
		return false;
	for (int n = 0; n < table->nwalk; n++)
	{
		const Field *field = &table->fields[table->walk[n]];
		Oid type = payguard_field_type(field);

		if (form->indkey.values[n] != known->column_of[table->walk[n]] ||
			index->rd_opcintype[n] != type || index->rd_indoption[n] != 0 ||
			get_opcode(get_opfamily_member(index->rd_opfamily[n], type, type,
										   BTEqualStrategyNumber)) != equality(field))
			return false;
	}
	return true;
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
		case FIELD_ID:
			return F_INT8EQ;
		case FIELD_TIME:
			return F_TIMESTAMPTZ_EQ;
		default:
			elog(ERROR, "payguard: column \"%s\" is no key", field->column);
	}
}

/*
 * check_triggers takes back what a trigger forbids. Our own statement trigger refuses what is
 * not ours (protect.c), so that there is nothing to ask it.
 */
static void
check_triggers(HeapTable *known, Relation relation)
{
	const TriggerDesc *triggers = relation->trigdesc;
	Oid guard = guard_function();

	known->after_insert = known->after_update = known->after_delete = false;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];
		bool insert = TRIGGER_FOR_INSERT(trigger->tgtype);
		bool update = TRIGGER_FOR_UPDATE(trigger->tgtype);
		bool delete = TRIGGER_FOR_DELETE(trigger->tgtype);

		if (trigger->tgfoid == guard && strcmp(trigger->tgname, "payguard_protect") == 0)
			continue;
		if (TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_AFTER(trigger->tgtype) &&
			trigger->tgoldtable == NULL && trigger->tgnewtable == NULL)
		{
			known->after_insert |= insert;
			known->after_update |= update;
			known->after_delete |= delete;
			continue;
		}
		known->insertable &= !insert;
		known->updatable &= !update;
		known->deletable &= !delete;
	}
}

static Oid
guard_function(void)
{
	List *name = list_make2(makeString(pstrdup(PAYGUARD_SCHEMA)),
							makeString(pstrdup("deny_direct_write")));

	return LookupFuncName(name, 0, NULL, true);
}

/*
 * begin_scan opens the index of a key, to look rows up by its first n fields.
 */
static void
begin_scan(KeyScan *scan, HeapTable *known, Relation relation, int key, int n,
		   Snapshot snapshot)
{
	*scan = (KeyScan){.known = known, .key = key, .n = n};
	scan->index = index_open(known->key_index[key], AccessShareLock);
	for (int i = 0; i < n; i++)
	{
		const Key *of = &known->table->keys[key];

		ScanKeyInit(&scan->keys[i], i + 1, BTEqualStrategyNumber,
					equality(&known->table->fields[of->fields[i]]), (Datum) 0);
		scan->keys[i].sk_collation = scan->index->rd_indcollation[i];
	}
	scan->scan = payguard_index_beginscan(relation, scan->index, snapshot, n);
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
 * find_row looks a row up by a key; false: the snapshot shows none.
 */
static bool
find_row(HeapTable *known, Relation relation, int key, const void *like,
		 Snapshot snapshot, TupleTableSlot *slot)
{
	Datum values[MAX_KEY_FIELDS];
	int n = key_values(known, key, like, values);
	KeyScan scan;
	bool found;

	if (n == 0)
		return false;
	begin_scan(&scan, known, relation, key, n, snapshot);
	found = next_row(&scan, values, true, slot);
	end_scan(&scan);
	return found;
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
		if (kept == 0 || !is_same(field, values[kept - 1], values[i]))
			values[kept++] = values[i];
	return kept;
}

static int
compare_values(const void *a, const void *b, void *field)
{
	Datum left = *(const Datum *) a;
	Datum right = *(const Datum *) b;

	switch (((const Field *) field)->type)
	{
		case FIELD_TEXT:
			return payguard_text_compare(DatumGetTextPP(left), DatumGetTextPP(right));
		case FIELD_UUID:
			return memcmp(DatumGetUUIDP(left), DatumGetUUIDP(right), UUID_LEN);
		default:
			return DatumGetInt64(left) < DatumGetInt64(right)
					   ? -1
					   : DatumGetInt64(left) > DatumGetInt64(right);
	}
}

/*
 * set_walk_keys makes the scan keys of a walk: behind the first values, and up to the one after
 * them.
 */
static void
set_walk_keys(const HeapTable *known, Relation index, const Datum *values, ScanKey keys,
			  ScanKey members)
{
	int nwalk = known->table->nwalk;

	ScanKeyInit(&keys[1], 1, BTLessEqualStrategyNumber, F_TIMESTAMPTZ_LE, values[nwalk]);
	if (nwalk == 1)
	{
		ScanKeyInit(&keys[0], 1, BTGreaterStrategyNumber, F_TIMESTAMPTZ_GT, values[0]);
		return;
	}
	for (int i = 0; i < nwalk; i++)
		ScanKeyEntryInitialize(&members[i],
							   SK_ROW_MEMBER | (i == nwalk - 1 ? SK_ROW_END : 0), i + 1,
							   BTGreaterStrategyNumber, InvalidOid, InvalidOid,
							   index_getprocid(index, i + 1, BTORDER_PROC), values[i]);
	memset(&keys[0], 0, sizeof(ScanKeyData));
	keys[0].sk_flags = SK_ROW_HEADER;
	keys[0].sk_attno = 1;
	keys[0].sk_strategy = BTGreaterStrategyNumber;
	keys[0].sk_argument = PointerGetDatum(members);
}

/*
 * is_among tells whether a row on the way is one that a walk is for. namong -1: anything is.
 */
static bool
is_among(const HeapTable *known, const WalkQuery *query, Datum **among, const int *namong,
		 TupleTableSlot *slot)
{
	bool isnull;

	if (query->absent >= 0 && !slot_attisnull(slot, known->column_of[query->absent]))
		return false;
	for (int i = 0; i < query->namong; i++)
	{
		Datum value = slot_getattr(slot, known->column_of[query->among[i]], &isnull);
		bool is = namong[i] < 0;

		for (int j = 0; j < namong[i] && !is; j++)
			is = !isnull &&
				 payguard_text_equal(DatumGetTextPP(value), DatumGetTextPP(among[i][j]));
		if (!is)
			return false;
	}
	return true;
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
				raise_concurrent("update");
			break;
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				raise_concurrent("update");
			return false;
		default:
			break;
	}
	elog(ERROR, "payguard: unexpected result %d of a row lock", (int) result);
}

/*
 * has_key tells whether a row has the key that it was looked up by.
 */
static bool
has_key(const HeapTable *known, int key, const void *like, TupleTableSlot *slot)
{
	Datum values[MAX_KEY_FIELDS];
	int n = key_values(known, key, like, values);

	return n > 0 && has_values(known, key, n, values, slot);
}

/*
 * has_values tells whether a row has these values in the first fields of a key, and fulfils the
 * key's condition.
 */
static bool
has_values(const HeapTable *known, int key, int n, const Datum *values,
		   TupleTableSlot *slot)
{
	const Key *of = &known->table->keys[key];

	for (int i = 0; i < n; i++)
	{
		bool isnull;
		Datum value = slot_getattr(slot, known->column_of[of->fields[i]], &isnull);

		if (isnull || !is_same(&known->table->fields[of->fields[i]], value, values[i]))
			return false;
	}
	return known->null_column[key] == 0 ||
		   slot_attisnull(slot, known->null_column[key]) == known->is_null[key];
}

/*
 * key_values reads the values of a key and returns how many they are; 0: one is NULL, which equals
 * nothing.
 */
static int
key_values(const HeapTable *known, int key, const void *like, Datum *values)
{
	const Key *of = &known->table->keys[key];
	int n = 0;

	for (; n < MAX_KEY_FIELDS && of->fields[n] >= 0; n++)
		if (!payguard_field_get(&known->table->fields[of->fields[n]], like, &values[n]))
			return 0;
	return n;
}

/*
 * is_same compares two values of a field of a key.
 */
static bool
is_same(const Field *field, Datum a, Datum b)
{
	switch (field->type)
	{
		case FIELD_TEXT:
			return payguard_text_equal(DatumGetTextPP(a), DatumGetTextPP(b));
		case FIELD_UUID:
			return memcmp(DatumGetUUIDP(a), DatumGetUUIDP(b), UUID_LEN) == 0;
		case FIELD_ID:
			return DatumGetInt64(a) == DatumGetInt64(b);
		default:
			elog(ERROR, "payguard: column \"%s\" is no key", field->column);
	}
}

/*
 * read_slot copies a row into its struct.
 */
static void
read_slot(const HeapTable *known, TupleTableSlot *slot, void *row)
{
	RowHeader *header = row;
	bool isnull;

	slot_getallattrs(slot);
	memset(row, 0, known->table->row_size);
	for (int f = 0; f < known->table->nfields; f++)
	{
		int column = known->column_of[f] - 1;

		payguard_field_set(&known->table->fields[f], row, slot->tts_values[column],
						   slot->tts_isnull[column]);
	}
	header->xmin = DatumGetTransactionId(
		slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull));
	header->tid = slot->tts_tid;
	header->snapshot = payguard_store_snapshot;
}

/*
 * begin_write opens a table for what is to be done to its rows; false: it cannot be done here.
 */
static bool
begin_write(Access *access, const Table *table, const RowWrite *write)
{
	HeapTable *known;
	RangeTblEntry *range;
	EState *estate;

	if (!serves(table) || XactReadOnly || IsInParallelMode())
		return false;
	CHECK_FOR_INTERRUPTS();
	known = open_table(table, RowExclusiveLock, &access->relation);
	if (known == NULL)
		return false;
	if (!may_write(known, write))
	{
		relation_close(access->relation, NoLock);
		return false;
	}
	access->known = known;
	access->fires = has_after_triggers(known, write->operation);
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	access->estate = estate = CreateExecutorState();
	access->caller = MemoryContextSwitchTo(estate->es_query_cxt);
	estate->es_snapshot = GetActiveSnapshot();
	estate->es_output_cid = GetCurrentCommandId(true);

	range = makeNode(RangeTblEntry);
	range->rtekind = RTE_RELATION;
	range->relid = known->oid;
	range->relkind = RELKIND_RELATION;
	range->rellockmode = RowExclusiveLock;
	payguard_init_range_table(estate, range, changed_columns(known, write->changed));
	access->result = makeNode(ResultRelInfo);
	InitResultRelInfo(access->result, access->relation, 1, NULL, 0);
	/* triggers find it here, instead of opening the table once more */
	estate->es_opened_result_relations = list_make1(access->result);
	access->new = ExecInitExtraTupleSlot(estate, RelationGetDescr(access->relation),
										 &TTSOpsVirtual);
	if (write->operation == CMD_INSERT)
		open_indexes(access);
	else
	{
		access->old = table_slot_create(access->relation, &estate->es_tupleTable);
		CheckCmdReplicaIdentity(access->relation, write->operation);
	}
	if (access->fires)
		AfterTriggerBeginQuery();
	return true;
}

static bool
may_write(const HeapTable *known, const RowWrite *write)
{
	switch (write->operation)
	{
		case CMD_INSERT:
			return known->insertable && (!write->if_new || OidIsValid(known->key_index[write->key]));
		case CMD_UPDATE:
			return known->updatable;
		case CMD_DELETE:
			return known->deletable;
		default:
			elog(ERROR, "payguard: unknown operation %d", (int) write->operation);
	}
}

static bool
has_after_triggers(const HeapTable *known, CmdType operation)
{
	return operation == CMD_INSERT	 ? known->after_insert
		   : operation == CMD_UPDATE ? known->after_update
									 : known->after_delete;
}

/*
 * changed_columns returns the columns of a set of fields, as triggers on UPDATE OF see them.
 */
static Bitmapset *
changed_columns(const HeapTable *known, FieldSet fields)
{
	Bitmapset *columns = NULL;

	for (int f = 0; f < known->table->nfields; f++)
		if (fields & FIELD(f))
			columns = bms_add_member(columns, known->column_of[f] -
												  FirstLowInvalidHeapAttributeNumber);
	return columns;
}

/*
 * open_indexes opens the indexes for new entries, with what is known of them.
 */
static void
open_indexes(Access *access)
{
	HeapTable *known = access->known;
	ResultRelInfo *result = access->result;

	result->ri_NumIndices = known->nindexes;
	result->ri_IndexRelationDescs = palloc(sizeof(Relation) * known->nindexes);
	result->ri_IndexRelationInfo = palloc(sizeof(IndexInfo *) * known->nindexes);
	for (int i = 0; i < known->nindexes; i++)
	{
		result->ri_IndexRelationDescs[i] = index_open(known->index[i], RowExclusiveLock);
		result->ri_IndexRelationInfo[i] = known->index_info[i];
		/* it depends on what is updated */
		known->index_info[i]->ii_CheckedUnchanged = false;
	}
}

/*
 * end_write fires the AFTER triggers that are not deferred, and closes the table.
 */
static void
end_write(Access *access)
{
	if (access->fires)
		AfterTriggerEndQuery(access->estate);
	MemoryContextSwitchTo(access->caller);
	PopActiveSnapshot();
	ExecCloseResultRelations(access->estate);
	ExecResetTupleTable(access->estate->es_tupleTable, false);
	FreeExecutorState(access->estate);
	relation_close(access->relation, NoLock);
	CommandCounterIncrement();
}

/*
 * new_row makes the row that an insertion writes.
 */
static void
new_row(Access *access, const void *row)
{
	HeapTable *known = access->known;
	TupleTableSlot *slot = access->new;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, known->natts);
	for (int f = 0; f < known->table->nfields; f++)
	{
		int column = known->column_of[f] - 1;

		if (known->filler[column] == FILL_FIELD)
			slot->tts_isnull[column] = !payguard_field_get(
				&known->table->fields[f], row, &slot->tts_values[column]);
	}
	for (int column = 0; column < known->natts; column++)
	{
		if (known->filler[column] == FILL_SEQUENCE)
			slot->tts_values[column] =
				Int64GetDatum(nextval_internal(known->sequence, true));
		else if (known->filler[column] == FILL_XID)
			slot->tts_values[column] =
				FullTransactionIdGetDatum(GetTopFullTransactionId());
		else
			continue;
		slot->tts_isnull[column] = false;
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(access->relation);
	if (RelationGetDescr(access->relation)->constr)
		ExecConstraints(access->result, slot, access->estate);
}

static void
insert_row(Access *access)
{
	EState *estate = access->estate;
	List *recheck;

	table_tuple_insert(access->relation, access->new, estate->es_output_cid, 0, NULL);
	recheck = payguard_insert_index_tuples(access->result, access->new, estate, false, NULL,
										   NIL);
	if (access->fires)
		ExecARInsertTriggers(estate, access->result, access->new, recheck, NULL);
}

/*
 * insert_speculatively inserts a row unless an arbiter index has one with its key, as ExecInsert()
 * does it; false: there is one. Of a key without a condition the caller has looked for it before, so
 * that the row goes in first, and whether it may stay is asked afterwards; in SERIALIZABLE the
 * attempt itself could fail, for another reason.
 */
static bool
insert_speculatively(Access *access, const RowWrite *write)
{
	Relation relation = access->relation;
	EState *estate = access->estate;
	TupleTableSlot *slot = access->new;
	List *arbiters = access->known->arbiters[write->key];
	TransactionId xid = GetCurrentTransactionId();
	bool conflict =
		IsolationIsSerializable() || access->known->table->keys[write->key].condition != NULL;
	List *recheck;

	do
	{
		uint32 token;

		if (conflict)
		{
			ItemPointerData tid;

			ItemPointerSetInvalid(&tid);
			conflict = false;
			if (!payguard_check_index_constraints(access->result, slot, estate, &tid,
												  arbiters))
			{
				check_visible(access, &tid);
				return false;
			}
		}
		token = SpeculativeInsertionLockAcquire(xid);
		table_tuple_insert_speculative(relation, slot, estate->es_output_cid, 0, NULL,
									   token);
		recheck = payguard_insert_index_tuples(access->result, slot, estate, false,
											   &conflict, arbiters);
		table_tuple_complete_speculative(relation, slot, token, !conflict);
		SpeculativeInsertionLockRelease(xid);
	} while (conflict);
	if (access->fires)
		ExecARInsertTriggers(estate, access->result, slot, recheck, NULL);
	return true;
}

/*
 * check_visible raises 40001 where the row that is in the way cannot be seen, in REPEATABLE READ
 * and SERIALIZABLE.
 */
static void
check_visible(Access *access, ItemPointer tid)
{
	TupleTableSlot *slot;
	bool isnull;

	if (!IsolationUsesXactSnapshot())
		return;
	slot = table_slot_create(access->relation, &access->estate->es_tupleTable);
	if (!table_tuple_fetch_row_version(access->relation, tid, SnapshotAny, slot))
		elog(ERROR, "payguard: the row in the way cannot be read");
	if (!table_tuple_satisfies_snapshot(access->relation, slot,
										access->estate->es_snapshot) &&
		!TransactionIdIsCurrentTransactionId(DatumGetTransactionId(
			slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull))))
		raise_concurrent("update");
}

/*
 * update_row writes the changed fields of a row, found by its primary key, as ExecUpdate() does
 * it; false: there is none, or it is not the one that is meant.
 */
static bool
update_row(Access *access, FieldSet changed, const void *row)
{
	HeapTable *known = access->known;
	Relation relation = access->relation;
	EState *estate = access->estate;
	List *recheck = NIL;

	for (bool found = find_old(access, row); found;)
	{
		ItemPointerData tid = access->old->tts_tid;
		TM_FailureData failure;
		LockTupleMode mode;
		PayguardUpdateIndexes indexes;
		TM_Result result;

		if (!is_row_meant(known, row, changed, access->old))
			return false;
		changed_row(access, changed, row);
		result =
			payguard_tuple_update(relation, &tid, access->new, estate->es_output_cid,
								  estate->es_snapshot, &failure, &mode, &indexes);
		if (result == TM_Ok)
		{
			if (payguard_any_index(indexes))
			{
				if (access->result->ri_IndexRelationDescs == NULL)
					open_indexes(access);
				recheck = payguard_insert_index_tuples(access->result, access->new, estate,
													   true, NULL, NIL);
			}
			if (access->fires)
				ExecARUpdateTriggers(estate, access->result, NULL, NULL, &tid, NULL,
									 access->new, recheck, NULL, false);
			return true;
		}
		found = find_newer(access, row, result, &tid, mode);
	}
	return false;
}

/*
 * delete_row deletes a row, found by its primary key, as ExecDelete() does it; false: there is
 * none.
 */
static bool
delete_row(Access *access, const void *row)
{
	EState *estate = access->estate;

	for (bool found = find_old(access, row); found;)
	{
		ItemPointerData tid = access->old->tts_tid;
		TM_FailureData failure;
		TM_Result result =
			payguard_tuple_delete(access->relation, &tid, estate->es_output_cid,
								  estate->es_snapshot, &failure);

		if (result == TM_Ok)
		{
			if (access->fires)
				ExecARDeleteTriggers(estate, access->result, &tid, NULL, NULL, false);
			return true;
		}
		found = find_newer(access, row, result, &tid, LockTupleExclusive);
	}
	return false;
}

/*
 * find_old finds the row that is to be updated or deleted.
 */
static bool
find_old(Access *access, const void *row)
{
	return find_again(access, row, access->old) ||
		   find_row(access->known, access->relation, 0, row, access->estate->es_snapshot,
					access->old);
}

/*
 * find_newer: somebody was faster. It locks and reads the row's newest version; false: there is
 * none any more.
 */
static bool
find_newer(Access *access, const void *row, TM_Result result, ItemPointer tid,
		   LockTupleMode mode)
{
	TM_FailureData failure;

	if (IsolationUsesXactSnapshot() && (result == TM_Updated || result == TM_Deleted))
		raise_concurrent(result == TM_Updated ? "update" : "delete");
	if (result == TM_Updated)
		result = table_tuple_lock(access->relation, tid, access->estate->es_snapshot,
								  access->old, access->estate->es_output_cid, mode,
								  LockWaitBlock, TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);
	if (result == TM_Deleted)
		return false;
	if (result != TM_Ok)
		elog(ERROR, "payguard: unexpected result %d of a write", (int) result);
	return has_key(access->known, 0, row, access->old);
}

/*
 * find_again reads a row where it was found or locked before; false: that version of it is not
 * the one to be seen any more.
 */
static bool
find_again(Access *access, const void *row, TupleTableSlot *slot)
{
	ItemPointerData tid = ((const RowHeader *) row)->tid;

	return ItemPointerIsValid(&tid) &&
		   table_tuple_fetch_row_version(access->relation, &tid,
										 access->estate->es_snapshot, slot) &&
		   has_key(access->known, 0, row, slot);
}

/*
 * is_row_meant tells whether an order has still the version before the one that is written: what
 * a user's trigger has done to it meanwhile must not be undone.
 */
static bool
is_row_meant(const HeapTable *known, const void *row, FieldSet changed,
			 TupleTableSlot *old)
{
	bool isnull;

	if (known->table != &payguard_orders || !(changed & FIELD(ORDER_F_VERSION)))
		return true;
	return DatumGetInt64(slot_getattr(old, known->column_of[ORDER_F_VERSION], &isnull)) ==
		   ((const Order *) row)->version - 1;
}

/*
 * changed_row makes the row that an update writes.
 */
static void
changed_row(Access *access, FieldSet changed, const void *row)
{
	HeapTable *known = access->known;
	TupleTableSlot *old = access->old;
	TupleTableSlot *slot = access->new;

	ExecClearTuple(slot);
	slot_getallattrs(old);
	memcpy(slot->tts_values, old->tts_values, sizeof(Datum) * known->natts);
	memcpy(slot->tts_isnull, old->tts_isnull, sizeof(bool) * known->natts);
	for (int f = 0; f < known->table->nfields; f++)
	{
		int column = known->column_of[f] - 1;

		if (changed & FIELD(f))
			slot->tts_isnull[column] = !payguard_field_get(
				&known->table->fields[f], row, &slot->tts_values[column]);
	}
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(access->relation);
	if (RelationGetDescr(access->relation)->constr)
		ExecConstraints(access->result, slot, access->estate);
}

static void
raise_concurrent(const char *what)
{
	ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					errmsg("could not serialize access due to concurrent %s", what)));
}
