/*
 * writing.c
 *		Opens and closes an operation on the rows of a table, with its indexes and statement triggers.
 *
 * Nothing is kept of a table but what its relcache entry keeps. Descriptions of indexes and triggers are
 * made for each operation.
 *
 * Locking: a table and its indexes are locked RowExclusiveLock until the transaction ends.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/sysattr.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "store/open.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/writing.h"

static const char *command_name(const RowWrite *write);
static void init_result(Writing *writing);
static void leave_out_own_trigger(ResultRelInfo *result);
static Bitmapset *changed_columns(const OpenTable *open, FieldSet fields);
static void fire_before_statement(Writing *writing);
static void fire_after_statement(Writing *writing);
static void close_indexes(ResultRelInfo *result);
static void find_arbiters(Writing *writing);
static int own_index_place(const Writing *writing);
static bool are_alike(Relation a, Relation b);

/*
 * payguard_writing_begin opens a table for what is to be done to its rows.
 */
void
payguard_writing_begin(Writing *writing, const Table *table, const RowWrite *write)
{
	EState *estate;

	PreventCommandIfReadOnly(command_name(write));
	PreventCommandIfParallelMode(command_name(write));
	*writing = (Writing){.write = write};
	payguard_must_open_table(&writing->open, table, RowExclusiveLock);
	PushActiveSnapshot(GetTransactionSnapshot());
	writing->estate = estate = CreateExecutorState();
	writing->caller = MemoryContextSwitchTo(estate->es_query_cxt);
	estate->es_snapshot = GetActiveSnapshot();
	estate->es_output_cid = GetCurrentCommandId(true);
	init_result(writing);
	writing->new = ExecInitExtraTupleSlot(
		estate, RelationGetDescr(writing->open.relation), &TTSOpsVirtual);
	if (write->operation == CMD_INSERT)
		payguard_writing_open_indexes(writing);
	else
	{
		writing->old = table_slot_create(writing->open.relation, &estate->es_tupleTable);
		CheckCmdReplicaIdentity(writing->open.relation, write->operation);
	}
	if (write->if_new)
		find_arbiters(writing);
	if (writing->result->ri_TrigDesc)
	{
		payguard_eval_plan_qual_init(&writing->epq, estate);
		AfterTriggerBeginQuery();
		writing->transition = MakeTransitionCaptureState(
			writing->result->ri_TrigDesc, RelationGetRelid(writing->open.relation),
			write->operation);
		fire_before_statement(writing);
	}
}

static const char *
command_name(const RowWrite *write)
{
	return write->operation == CMD_INSERT	? "INSERT"
		   : write->operation == CMD_UPDATE ? "UPDATE"
											: "DELETE";
}

/*
 * init_result tells the executor of the table, and which columns are updated.
 */
static void
init_result(Writing *writing)
{
	Relation relation = writing->open.relation;
	EState *estate = writing->estate;
	RangeTblEntry *range = makeNode(RangeTblEntry);

	range->rtekind = RTE_RELATION;
	range->relid = RelationGetRelid(relation);
	range->relkind = RELKIND_RELATION;
	range->rellockmode = RowExclusiveLock;
	payguard_init_range_table(estate, range,
							  changed_columns(&writing->open, writing->write->changed));
	writing->result = makeNode(ResultRelInfo);
	InitResultRelInfo(writing->result, relation, 1, NULL, 0);
	leave_out_own_trigger(writing->result);
	/* triggers find it here, instead of opening the table once more */
	estate->es_opened_result_relations = list_make1(writing->result);
}

/*
 * leave_out_own_trigger takes the trigger that refuses direct writes out of the operation's own copy of
 * the triggers. It is the only one that we make, before UPDATE, DELETE and TRUNCATE statements.
 */
static void
leave_out_own_trigger(ResultRelInfo *result)
{
	TriggerDesc *triggers = result->ri_TrigDesc;
	int kept = 0;

	if (triggers == NULL)
		return;
	triggers->trig_update_before_statement = triggers->trig_delete_before_statement =
		false;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		Trigger *trigger = &triggers->triggers[i];

		if (payguard_is_own_trigger(trigger))
			continue;
		if (TRIGGER_FOR_BEFORE(trigger->tgtype) && !TRIGGER_FOR_ROW(trigger->tgtype))
		{
			triggers->trig_update_before_statement |= TRIGGER_FOR_UPDATE(trigger->tgtype);
			triggers->trig_delete_before_statement |= TRIGGER_FOR_DELETE(trigger->tgtype);
		}
		triggers->triggers[kept++] = *trigger;
	}
	triggers->numtriggers = kept;
	if (kept == 0)
		result->ri_TrigDesc = NULL;
}

/*
 * changed_columns returns the columns of a set of fields, as triggers on UPDATE OF see them.
 */
static Bitmapset *
changed_columns(const OpenTable *open, FieldSet fields)
{
	Bitmapset *columns = NULL;

	for (int f = 0; f < open->table->nfields; f++)
		if ((fields & FIELD(f)) && open->columns[f] != 0)
			columns = bms_add_member(columns, open->columns[f] -
												  FirstLowInvalidHeapAttributeNumber);
	return columns;
}

static void
fire_before_statement(Writing *writing)
{
	switch (writing->write->operation)
	{
		case CMD_INSERT:
			ExecBSInsertTriggers(writing->estate, writing->result);
			break;
		case CMD_UPDATE:
			ExecBSUpdateTriggers(writing->estate, writing->result);
			break;
		default:
			ExecBSDeleteTriggers(writing->estate, writing->result);
			break;
	}
}

static void
fire_after_statement(Writing *writing)
{
	switch (writing->write->operation)
	{
		case CMD_INSERT:
			ExecASInsertTriggers(writing->estate, writing->result, writing->transition);
			break;
		case CMD_UPDATE:
			ExecASUpdateTriggers(writing->estate, writing->result, writing->transition);
			break;
		default:
			ExecASDeleteTriggers(writing->estate, writing->result, writing->transition);
			break;
	}
}

/*
 * payguard_writing_end fires the AFTER triggers that are not deferred, closes the table, and ends the command: what was
 * written is seen with each snapshot from now on.
 */
void
payguard_writing_end(Writing *writing)
{
	if (writing->result->ri_TrigDesc)
	{
		fire_after_statement(writing);
		AfterTriggerEndQuery(writing->estate);
		EvalPlanQualEnd(&writing->epq);
	}
	MemoryContextSwitchTo(writing->caller);
	PopActiveSnapshot();
	close_indexes(writing->result);
	ExecCloseResultRelations(writing->estate);
	ExecResetTupleTable(writing->estate->es_tupleTable, false);
	FreeExecutorState(writing->estate);
	payguard_close_table(&writing->open);
	CommandCounterIncrement();
}

/*
 * payguard_writing_open_indexes opens the indexes for new entries, once for an operation.
 */
void
payguard_writing_open_indexes(Writing *writing)
{
	if (writing->result->ri_IndexRelationDescs == NULL)
		ExecOpenIndices(writing->result, false);
}

/*
 * close_indexes closes the indexes and keeps their locks, as that of their table, until the transaction
 * ends: the next operation will want them again.
 */
static void
close_indexes(ResultRelInfo *result)
{
	for (int i = 0; i < result->ri_NumIndices; i++)
		index_close(result->ri_IndexRelationDescs[i], NoLock);
	result->ri_NumIndices = 0;
}

/*
 * find_arbiters finds the unique indexes in which an insertion looks for a row with its key: the key's
 * own index, and every other one that refuses just the same rows, such as the index that REINDEX
 * CONCURRENTLY is making. If a user's index refuses more than these (it has another collation, or lacks
 * the condition), that is error 23505: the row that is in the way does not have the key.
 *
 * If the key's own index is the only one to ask, the row goes in first, and the index says whether it may
 * stay. Otherwise (`look`) the arbiters are searched before the insertion. With a second arbiter, or
 * another unique index of a user's, the indexes would meet the same row one after the other. With a
 * partial index the caller need not have looked for the row before. In SERIALIZABLE the insertion itself
 * could fail for another reason.
 */
static void
find_arbiters(Writing *writing)
{
	const Table *table = writing->open.table;
	int key = writing->write->key;
	ResultRelInfo *result = writing->result;
	int own = own_index_place(writing);
	int nforeign = 0; /* unique indexes that are not ours */

	/* each key that is not shared has one unique index of ours */
	for (int i = 0; i < table->nkeys; i++)
		nforeign -= !table->keys[i].shared;
	for (int i = 0; i < result->ri_NumIndices; i++)
	{
		Relation index = result->ri_IndexRelationDescs[i];
		IndexInfo *info = result->ri_IndexRelationInfo[i];

		if (!info->ii_ReadyForInserts || !info->ii_Unique)
			continue;
		nforeign++;
		if (!payguard_is_index_of_key(&writing->open, key, index) ||
			!are_alike(index, result->ri_IndexRelationDescs[own]) ||
			!equal(info->ii_Predicate, result->ri_IndexRelationInfo[own]->ii_Predicate))
			continue;
		BuildSpeculativeIndexInfo(index, info);
		writing->arbiters = lappend_oid(writing->arbiters, RelationGetRelid(index));
	}
	writing->look = nforeign > 0 || list_length(writing->arbiters) > 1 ||
					table->keys[key].partial || IsolationIsSerializable();
}

/*
 * own_index_place returns the place of the key's own index among the table's.
 */
static int
own_index_place(const Writing *writing)
{
	const Table *table = writing->open.table;
	int key = writing->write->key;
	ResultRelInfo *result = writing->result;
	NameData name;

	payguard_index_of_key(table, key, &name);
	for (int i = 0; i < result->ri_NumIndices; i++)
		if (strcmp(RelationGetRelationName(result->ri_IndexRelationDescs[i]),
				   NameStr(name)) == 0 &&
			payguard_is_index_of_key(&writing->open, key,
									 result->ri_IndexRelationDescs[i]) &&
			(result->ri_IndexRelationInfo[i]->ii_Predicate != NIL) ==
				table->keys[key].partial)
			return i;
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("index \"%s\" of table \"%s\" is not as payguard made it",
						   NameStr(name), table->name),
					errhint("SELECT * FROM payguard.verify() tells what was changed.")));
}

/*
 * are_alike tells whether two indexes over the same columns take the same values to be equal.
 */
static bool
are_alike(Relation a, Relation b)
{
	Size n = IndexRelationGetNumberOfKeyAttributes(a);

	return a->rd_index->indnullsnotdistinct == b->rd_index->indnullsnotdistinct &&
		   memcmp(a->rd_indcollation, b->rd_indcollation, n * sizeof(Oid)) == 0 &&
		   memcmp(a->rd_opfamily, b->rd_opfamily, n * sizeof(Oid)) == 0;
}
