/*
 * write.c
 *		Inserts, updates and deletes rows, by the executor's own row functions.
 *
 * An operation on n rows does what one statement would do to them: it fires statement triggers and BEFORE
 * and AFTER ROW triggers, fills transition tables, generated columns and all indexes, checks constraints,
 * and may report a conflict instead of raising it. The apply worker of logical replication works in the
 * same way (PostgreSQL's execReplication.c). Our own trigger that refuses direct writes is left out.
 * Whatever a user has put on a table works as it does on any other table.
 *
 * Locking: the caller holds the lock of the order that a row belongs to. Somebody may hold the row all the
 * same: an update or a deletion waits then. READ COMMITTED goes on with the row's newest version, and the
 * stricter levels raise 40001.
 */
#include "postgres.h"

#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/nodeModifyTable.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "base/text.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "store/writing.h"

/* The fields of a row before a user's trigger sees them. */
typedef struct Meant
{
	Datum values[MAX_FIELDS];
	bool nulls[MAX_FIELDS];
} Meant;

static void write_one(const Table *table, const RowWrite *write, const void *row);
static void write_rows(const Table *table, const RowWrite *write, const void *const *rows,
					   int n, bool *written);
static void new_row(Writing *writing, const void *row);
static bool fill_fields(Writing *writing, const void *row, FieldSet fields);
static Datum next_number(const Field *field);
static void fill_defaults(Writing *writing);
static bool insert_row(Writing *writing);
static bool insert_if_new(Writing *writing);
static void check_visible(Writing *writing, ItemPointer tid);
static void complete_row(Writing *writing);
static Meant remember(const Writing *writing);
static void check_unchanged(Writing *writing, const Meant *meant);
static void changed_by_trigger(const Table *table, const char *column)
	pg_attribute_noreturn();
static bool update_row(Writing *writing, const void *row);
static void fire_before_update(Writing *writing, ItemPointer tid);
static bool delete_row(Writing *writing, const void *row);
static bool find_old(Writing *writing, const void *row);
static bool lock_old(Writing *writing, const void *row, LockTupleMode mode);
static bool find_newer(Writing *writing, const void *row, TM_Result result,
					   ItemPointer tid, LockTupleMode mode,
					   const TM_FailureData *failure);
static bool is_row_meant(const Writing *writing, const void *row);
static void changed_row(Writing *writing, const void *row);

/*
 * payguard_store_insert adds a row. A row that exists already is error 23505.
 */
void
payguard_store_insert(const Table *table, const void *row)
{
	RowWrite write = {.operation = CMD_INSERT};

	write_one(table, &write, row);
}

/*
 * payguard_store_insert_new adds a row unless one with the same key exists, and tells whether
 * it did. It waits for a transaction that is about to add such a row; raises 40001 where the
 * other row is not visible in REPEATABLE READ or SERIALIZABLE.
 */
bool
payguard_store_insert_new(const Table *table, int key, const void *row)
{
	bool inserted;

	payguard_store_insert_new_all(table, key, &row, 1, &inserted);
	return inserted;
}

/*
 * payguard_store_update writes the changed fields of a row, found by its primary key. The
 * caller holds the row's lock.
 */
void
payguard_store_update(const Table *table, FieldSet changed, const void *row)
{
	RowWrite write = {.operation = CMD_UPDATE, .changed = changed};

	write_one(table, &write, row);
}

/*
 * payguard_store_delete removes a row, found by its primary key. The caller holds the row's
 * lock.
 */
void
payguard_store_delete(const Table *table, const void *row)
{
	RowWrite write = {.operation = CMD_DELETE};

	write_one(table, &write, row);
}

/*
 * payguard_store_insert_all adds n rows.
 */
void
payguard_store_insert_all(const Table *table, const void *const *rows, int n)
{
	RowWrite write = {.operation = CMD_INSERT};

	write_rows(table, &write, rows, n, NULL);
}

/*
 * payguard_store_insert_new_all is payguard_store_insert_new for n rows.
 */
void
payguard_store_insert_new_all(const Table *table, int key, const void *const *rows, int n,
							  bool *inserted)
{
	RowWrite write = {.operation = CMD_INSERT, .if_new = true, .key = key};

	write_rows(table, &write, rows, n, inserted);
}

/*
 * payguard_store_update_all is payguard_store_update for n rows.
 */
void
payguard_store_update_all(const Table *table, FieldSet changed, const void *const *rows,
						  int n)
{
	RowWrite write = {.operation = CMD_UPDATE, .changed = changed};

	write_rows(table, &write, rows, n, NULL);
}

/*
 * payguard_store_delete_all is payguard_store_delete for n rows.
 */
void
payguard_store_delete_all(const Table *table, const void *const *rows, int n)
{
	RowWrite write = {.operation = CMD_DELETE};

	write_rows(table, &write, rows, n, NULL);
}

static void
write_one(const Table *table, const RowWrite *write, const void *row)
{
	write_rows(table, write, &row, 1, NULL);
}

/*
 * write_rows writes n rows. written: which of them were; of the others there is one with their key
 * already. NULL: all must be.
 */
static void
write_rows(const Table *table, const RowWrite *write, const void *const *rows, int n,
		   bool *written)
{
	Writing writing;

	Assert((written != NULL) == write->if_new);
	if (n == 0)
		return;
	payguard_writing_begin(&writing, table, write);
	for (int i = 0; i < n; i++)
	{
		bool done = false;

		CHECK_FOR_INTERRUPTS();
		ResetPerTupleExprContext(writing.estate);
		switch (write->operation)
		{
			case CMD_INSERT:
				new_row(&writing, rows[i]);
				done = write->if_new ? insert_if_new(&writing) : insert_row(&writing);
				break;
			case CMD_UPDATE:
				done = update_row(&writing, rows[i]);
				break;
			case CMD_DELETE:
				done = delete_row(&writing, rows[i]);
				break;
			default:
				elog(ERROR, "payguard: unknown operation %d", (int) write->operation);
		}
		if (written)
			written[i] = done;
		else if (!done)
			payguard_store_suppressed(table);
	}
	payguard_writing_end(&writing);
}

/*
 * new_row makes the row that an insertion writes.
 */
static void
new_row(Writing *writing, const void *row)
{
	TupleTableSlot *slot = writing->new;
	int natts = slot->tts_tupleDescriptor->natts;

	ExecClearTuple(slot);
	memset(slot->tts_values, 0, sizeof(Datum) * natts);
	memset(slot->tts_isnull, true, sizeof(bool) * natts);
	if (!fill_fields(writing, row, ~UINT64CONST(0)))
		fill_defaults(writing);
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(writing->open.relation);
}

/*
 * fill_fields puts a set of fields into the new row, whose values live until the next one; false: the
 * table has other columns, too.
 */
static bool
fill_fields(Writing *writing, const void *row, FieldSet fields)
{
	TupleTableSlot *slot = writing->new;
	const Table *table = writing->open.table;
	MemoryContext caller =
		MemoryContextSwitchTo(GetPerTupleMemoryContext(writing->estate));
	int filled = 0;

	for (int f = 0; f < table->nfields; f++)
	{
		const Field *field = &table->fields[f];
		int column = writing->open.columns[f] - 1;

		if (column < 0)
			continue;
		filled++;
		if (!(fields & FIELD(f)))
			continue;
		if (field->sequence && writing->write->operation == CMD_INSERT)
		{
			slot->tts_values[column] = next_number(field);
			slot->tts_isnull[column] = false;
		}
		else
			slot->tts_isnull[column] =
				!payguard_field_get(field, row, &slot->tts_values[column]);
	}
	MemoryContextSwitchTo(caller);
	return filled == slot->tts_tupleDescriptor->natts;
}

/*
 * next_number returns what numbers a new row.
 */
static Datum
next_number(const Field *field)
{
	Oid namespace = get_namespace_oid(PAYGUARD_SCHEMA, false);
	Oid sequence = get_relname_relid(field->sequence, namespace);

	if (!OidIsValid(sequence))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("sequence \"%s.%s\" does not exist", PAYGUARD_SCHEMA,
							   field->sequence)));
	return Int64GetDatum(nextval_internal(sequence, true));
}

/*
 * fill_defaults gives the columns that are no fields, which somebody has added, their defaults.
 */
static void
fill_defaults(Writing *writing)
{
	TupleTableSlot *slot = writing->new;
	TupleDesc desc = slot->tts_tupleDescriptor;
	ExprContext *context = GetPerTupleExprContext(writing->estate);

	for (int column = 0; column < desc->natts; column++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, column);
		bool known = attribute->attisdropped || attribute->attgenerated;
		Node *expression;

		for (int f = 0; f < writing->open.table->nfields && !known; f++)
			known = writing->open.columns[f] == column + 1;
		if (known)
			continue;
		expression = build_column_default(writing->open.relation, column + 1);
		if (expression)
			slot->tts_values[column] = ExecEvalExprSwitchContext(
				ExecPrepareExpr((Expr *) expression, writing->estate), context,
				&slot->tts_isnull[column]);
	}
}

/*
 * insert_row inserts the new row; false: a user's trigger suppresses it.
 */
static bool
insert_row(Writing *writing)
{
	EState *estate = writing->estate;
	List *recheck;

	complete_row(writing);
	table_tuple_insert(writing->open.relation, writing->new, estate->es_output_cid, 0,
					   NULL);
	recheck = payguard_insert_index_tuples(writing->result, writing->new, estate, false,
										   NULL, NIL);
	ExecARInsertTriggers(estate, writing->result, writing->new, recheck,
						 writing->transition);
	return true;
}

/*
 * insert_if_new inserts the new row unless an arbiter index has one with its key, as ExecInsert()
 * does it; false: there is one. Its caller has mostly just looked for it by that key.
 */
static bool
insert_if_new(Writing *writing)
{
	Relation relation = writing->open.relation;
	EState *estate = writing->estate;
	TupleTableSlot *slot = writing->new;
	TransactionId xid = GetCurrentTransactionId();
	bool conflict = false;
	List *recheck;

	complete_row(writing);
	do
	{
		ItemPointerData tid;
		uint32 token;

		CHECK_FOR_INTERRUPTS();
		ItemPointerSetInvalid(&tid);
		if ((writing->look || conflict) &&
			!payguard_check_index_constraints(writing->result, slot, estate, &tid,
											  writing->arbiters))
		{
			check_visible(writing, &tid);
			return false;
		}
		conflict = false;
		token = SpeculativeInsertionLockAcquire(xid);
		table_tuple_insert_speculative(relation, slot, estate->es_output_cid, 0, NULL,
									   token);
		recheck = payguard_insert_index_tuples(writing->result, slot, estate, false,
											   &conflict, writing->arbiters);
		table_tuple_complete_speculative(relation, slot, token, !conflict);
		SpeculativeInsertionLockRelease(xid);
	} while (conflict);
	ExecARInsertTriggers(estate, writing->result, slot, recheck, writing->transition);
	return true;
}

/*
 * check_visible raises 40001 where the row that is in the way cannot be seen, in REPEATABLE READ
 * and SERIALIZABLE.
 */
static void
check_visible(Writing *writing, ItemPointer tid)
{
	TupleTableSlot *slot;
	bool isnull;

	if (!IsolationUsesXactSnapshot())
		return;
	slot = table_slot_create(writing->open.relation, &writing->estate->es_tupleTable);
	if (!table_tuple_fetch_row_version(writing->open.relation, tid, SnapshotAny, slot))
		elog(ERROR, "payguard: the row in the way cannot be read");
	if (!table_tuple_satisfies_snapshot(writing->open.relation, slot,
										writing->estate->es_snapshot) &&
		!TransactionIdIsCurrentTransactionId(DatumGetTransactionId(
			slot_getsysattr(slot, MinTransactionIdAttributeNumber, &isnull))))
		payguard_raise_concurrent("update");
	ExecClearTuple(slot);
}

/*
 * complete_row has the triggers look at the new row of an insertion, fills in what is generated, and
 * checks the constraints.
 */
static void
complete_row(Writing *writing)
{
	ResultRelInfo *result = writing->result;
	TupleTableSlot *slot = writing->new;
	TupleConstr *constraints = RelationGetDescr(writing->open.relation)->constr;

	if (result->ri_TrigDesc && result->ri_TrigDesc->trig_insert_before_row)
	{
		Meant meant = remember(writing);

		if (!ExecBRInsertTriggers(writing->estate, result, slot))
			payguard_store_suppressed(writing->open.table);
		check_unchanged(writing, &meant);
	}
	if (constraints && constraints->has_generated_stored)
		ExecComputeStoredGenerated(result, writing->estate, slot, CMD_INSERT);
	if (constraints)
		ExecConstraints(result, slot, writing->estate);
}

/*
 * remember returns the fields of the new row as they are now.
 */
static Meant
remember(const Writing *writing)
{
	const TupleTableSlot *slot = writing->new;
	Meant meant;

	for (int f = 0; f < writing->open.table->nfields; f++)
	{
		int column = writing->open.columns[f] - 1;

		meant.nulls[f] = column < 0 || slot->tts_isnull[column];
		meant.values[f] = meant.nulls[f] ? (Datum) 0 : slot->tts_values[column];
	}
	return meant;
}

/*
 * check_unchanged raises an error where a user's BEFORE ROW trigger has changed a field on its way.
 * Columns that a user has added are the user's.
 */
static void
check_unchanged(Writing *writing, const Meant *meant)
{
	const Table *table = writing->open.table;
	TupleTableSlot *slot = writing->new;

	slot_getallattrs(slot);
	for (int f = 0; f < table->nfields; f++)
	{
		int column = writing->open.columns[f] - 1;
		Form_pg_attribute attribute;

		if (column < 0)
			continue;
		attribute = TupleDescAttr(slot->tts_tupleDescriptor, column);
		if (slot->tts_isnull[column] != meant->nulls[f] ||
			(!meant->nulls[f] &&
			 !datum_image_eq(slot->tts_values[column], meant->values[f],
							 attribute->attbyval, attribute->attlen)))
			changed_by_trigger(table, table->fields[f].column);
	}
}

static void
changed_by_trigger(const Table *table, const char *column)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
		 errmsg("a trigger changed what is written to table \"%s\"", table->name),
		 errdetail("Column \"%s\" got another value. Nothing has been written.", column),
		 errhint("A BEFORE ROW trigger on payguard's tables may look and raise errors, "
				 "but must return NEW unchanged."),
		 err_generic_string(PG_DIAG_SCHEMA_NAME, PAYGUARD_SCHEMA),
		 err_generic_string(PG_DIAG_TABLE_NAME, table->name),
		 err_generic_string(PG_DIAG_COLUMN_NAME, column)));
}

/*
 * update_row writes the changed fields of a row, found by its primary key, as ExecUpdate() does
 * it; false: there is none, or it is not the one that is meant.
 */
static bool
update_row(Writing *writing, const void *row)
{
	ResultRelInfo *result = writing->result;
	EState *estate = writing->estate;
	TupleConstr *constraints = RelationGetDescr(writing->open.relation)->constr;
	bool triggers = result->ri_TrigDesc && result->ri_TrigDesc->trig_update_before_row;
	List *recheck = NIL;
	bool found = find_old(writing, row);

	/* the triggers look at the newest version, and it stays that */
	if (found && triggers)
		found = lock_old(writing, row, ExecUpdateLockMode(estate, result));
	while (found)
	{
		ItemPointerData tid = writing->old->tts_tid;
		TM_FailureData failure;
		LockTupleMode mode;
		PayguardUpdateIndexes indexes;
		TM_Result outcome;

		CHECK_FOR_INTERRUPTS();
		if (!is_row_meant(writing, row))
			return false;
		changed_row(writing, row);
		if (triggers)
			fire_before_update(writing, &tid);
		if (constraints && constraints->has_generated_stored)
			ExecComputeStoredGenerated(result, estate, writing->new, CMD_UPDATE);
		if (constraints)
			ExecConstraints(result, writing->new, estate);
		outcome = payguard_tuple_update(writing->open.relation, &tid, writing->new,
										estate->es_output_cid, estate->es_snapshot,
										&failure, &mode, &indexes);
		if (outcome == TM_Ok)
		{
			if (payguard_any_index(indexes))
			{
				payguard_writing_open_indexes(writing);
				recheck = payguard_insert_index_tuples(result, writing->new, estate, true,
													   NULL, NIL);
			}
			ExecARUpdateTriggers(estate, result, NULL, NULL, &tid, NULL, writing->new,
								 recheck, writing->transition, false);
			return true;
		}
		found = find_newer(writing, row, outcome, &tid, mode, &failure);
	}
	return false;
}

static void
fire_before_update(Writing *writing, ItemPointer tid)
{
	Meant meant = remember(writing);

	if (!payguard_before_row_update(writing->estate, &writing->epq, writing->result, tid,
									writing->new))
		payguard_store_suppressed(writing->open.table);
	check_unchanged(writing, &meant);
}

/*
 * delete_row deletes a row, found by its primary key, as ExecDelete() does it; false: there is
 * none.
 */
static bool
delete_row(Writing *writing, const void *row)
{
	ResultRelInfo *result = writing->result;
	EState *estate = writing->estate;
	bool triggers = result->ri_TrigDesc && result->ri_TrigDesc->trig_delete_before_row;
	bool found = find_old(writing, row);

	if (found && triggers)
		found = lock_old(writing, row, LockTupleExclusive);
	while (found)
	{
		ItemPointerData tid = writing->old->tts_tid;
		TM_FailureData failure;
		TM_Result outcome;

		CHECK_FOR_INTERRUPTS();
		if (triggers && !payguard_before_row_delete(estate, &writing->epq, result, &tid))
			payguard_store_suppressed(writing->open.table);
		outcome =
			payguard_tuple_delete(writing->open.relation, &tid, estate->es_output_cid,
								  estate->es_snapshot, &failure);
		if (outcome == TM_Ok)
		{
			ExecARDeleteTriggers(estate, result, &tid, NULL, writing->transition, false);
			return true;
		}
		found = find_newer(writing, row, outcome, &tid, LockTupleExclusive, &failure);
	}
	return false;
}

/*
 * find_old finds the row that is to be updated or deleted: where it was found or locked before, or by its key if that
 * version is not the visible one any more.
 */
static bool
find_old(Writing *writing, const void *row)
{
	ItemPointerData tid = ((const RowHeader *) row)->tid;

	if (ItemPointerIsValid(&tid) &&
		table_tuple_fetch_row_version(writing->open.relation, &tid,
									  writing->estate->es_snapshot, writing->old) &&
		payguard_rows_has_key(&writing->open, row, writing->old))
		return true;
	return payguard_rows_find(&writing->open, 0, row, writing->old);
}

/*
 * lock_old locks the row that is to be written, and reads its newest version; false: it is gone.
 */
static bool
lock_old(Writing *writing, const void *row, LockTupleMode mode)
{
	ItemPointerData tid = writing->old->tts_tid;
	TM_FailureData failure;
	TM_Result result = table_tuple_lock(
		writing->open.relation, &tid, writing->estate->es_snapshot, writing->old,
		writing->estate->es_output_cid, mode, LockWaitBlock,
		IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure);

	if (result == TM_Ok)
		return payguard_rows_has_key(&writing->open, row, writing->old);
	return find_newer(writing, row, result, &tid, mode, &failure);
}

/*
 * find_newer locks and reads the newest version of a row that somebody else has changed; false: there is none any more.
 * The stricter levels raise 40001.
 */
static bool
find_newer(Writing *writing, const void *row, TM_Result result, ItemPointer tid,
		   LockTupleMode mode, const TM_FailureData *failure)
{
	TM_FailureData again;

	if (IsolationUsesXactSnapshot() && (result == TM_Updated || result == TM_Deleted))
		payguard_raise_concurrent(result == TM_Updated ? "update" : "delete");
	if (result == TM_SelfModified && failure->cmax != writing->estate->es_output_cid)
		ereport(
			ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("a trigger changed the row of table \"%s\" that is being written",
					writing->open.table->name),
			 errdetail("Nothing has been written."),
			 errhint("A BEFORE trigger on payguard's tables may look and raise errors. "
					 "Consider an AFTER trigger for changes.")));
	if (result == TM_Updated)
		result =
			table_tuple_lock(writing->open.relation, tid, writing->estate->es_snapshot,
							 writing->old, writing->estate->es_output_cid, mode,
							 LockWaitBlock, TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &again);
	if (result == TM_Deleted)
		return false;
	if (result != TM_Ok)
		elog(ERROR, "payguard: unexpected result %d of a write", (int) result);
	return payguard_rows_has_key(&writing->open, row, writing->old);
}

/*
 * is_row_meant tells whether a row that has a version is still one version behind what is written: what a user's
 * trigger has done to it meanwhile must not be undone.
 */
static bool
is_row_meant(const Writing *writing, const void *row)
{
	const Table *table = writing->open.table;
	Datum version;
	bool isnull;

	if (table->version < 0 || !(writing->write->changed & FIELD(table->version)))
		return true;
	return payguard_field_get(&table->fields[table->version], row, &version) &&
		   DatumGetInt64(slot_getattr(writing->old, writing->open.columns[table->version],
									  &isnull)) == DatumGetInt64(version) - 1;
}

/*
 * changed_row makes the row that an update writes.
 */
static void
changed_row(Writing *writing, const void *row)
{
	TupleTableSlot *old = writing->old;
	TupleTableSlot *slot = writing->new;
	int natts = slot->tts_tupleDescriptor->natts;

	ExecClearTuple(slot);
	slot_getallattrs(old);
	memcpy(slot->tts_values, old->tts_values, sizeof(Datum) * natts);
	memcpy(slot->tts_isnull, old->tts_isnull, sizeof(bool) * natts);
	fill_fields(writing, row, writing->write->changed);
	ExecStoreVirtualTuple(slot);
	slot->tts_tableOid = RelationGetRelid(writing->open.relation);
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
