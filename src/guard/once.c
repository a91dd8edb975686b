/*
 * once.c
 *		The unique index that holds a guard's `once`.
 *
 * Any index will do that is as strict as the guard says. It can be looked for now or at the
 * moment that a snapshot shows. The table is not locked.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/transam.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/executor.h"
#include "lib/stringinfo.h"
#include "nodes/bitmapset.h"
#include "nodes/execnodes.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pg_list.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"

#include "base/text.h"
#include "store/each.h"
#include "store/open.h"
#include "store/plan.h"
#include "guard/once.h"
#include "guard/settings.h"
#include "guard/trigger.h"

/* An index's condition that is tried. */
typedef struct Trial
{
	TupleDesc desc;
	List *condition;
	const Guard *guard;
	bool fits; /* it holds for the success states */
} Trial;

static bool is_once_index(HeapTuple index, TupleDesc pg_index, TupleDesc desc,
						  const Guard *guard);
static bool is_once_condition(TupleDesc desc, List *condition, const Guard *guard);
static void try_states(void *argument);
static bool runs_foreign_code(Node *node, void *context);
static bool is_foreign_function(Oid function, void *context);
static void check_coverable(Relation relation, List *tables, const List *once);
static char *attach_statement(Oid part, const char *name, Oid top, const char *index);
static char *once_columns(Relation relation, const Guard *guard);
static char *once_condition(Relation relation, const Guard *guard);

/*
 * payguard_once_is_held looks for a unique index that holds what a guard's `once` says. desc:
 * the relation's columns; at: the moment, NULL for now; but: an index that does not count.
 */
bool
payguard_once_is_held(Oid relation, TupleDesc desc, const Guard *guard, Snapshot at,
					  Oid but)
{
	CatalogScan scan = payguard_catalog_scan_begin(IndexRelationId, IndexIndrelidIndexId,
												   Anum_pg_index_indrelid, relation, at);
	HeapTuple tuple;
	bool found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
		found = ((Form_pg_index) GETSTRUCT(tuple))->indexrelid != but &&
				is_once_index(tuple, RelationGetDescr(scan.catalog), desc, guard);
	payguard_catalog_scan_end(&scan);
	return found;
}

static bool
is_once_index(HeapTuple index, TupleDesc pg_index, TupleDesc desc, const Guard *guard)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(index);
	bool isnull;
	Datum condition;

	if (!form->indisunique || !form->indisvalid || !form->indisready ||
		!form->indislive || !form->indimmediate)
		return false;
	/* all its columns are once's; fewer is stricter */
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		bool found = false;

		for (int j = 0; j < guard->once.n; j++)
			found = found || form->indkey.values[i] == guard->once.columns[j];
		if (!found)
			return false;
	}
	condition = heap_getattr(index, Anum_pg_index_indpred, pg_index, &isnull);
	if (isnull)
		return true;
	return is_once_condition(
		desc, make_ands_implicit(stringToNode(TextDatumGetCString(condition))), guard);
}

/*
 * is_once_condition tries an index's condition with each state of the guard: it must hold
 * for the success states. What could run a user's code is not tried. A condition that fails with
 * a state does not hold for it; it is tried in a subtransaction, since DDL and verify() of
 * others must not fail with it.
 */
static bool
is_once_condition(TupleDesc desc, List *condition, const Guard *guard)
{
	Trial trial = {.desc = desc, .condition = condition, .guard = guard};
	Bitmapset *columns = NULL;
	ErrorData *error;

	pull_varattnos((Node *) condition, 1, &columns);
	if (runs_foreign_code((Node *) condition, NULL) ||
		!bms_equal(columns, bms_make_singleton(guard->status -
											   FirstLowInvalidHeapAttributeNumber)))
		return false;
	error = payguard_store_attempt(try_states, &trial);
	if (error && !payguard_is_about_one(error))
		ReThrowError(error);
	return error == NULL && trial.fits;
}

static void
try_states(void *argument)
{
	Trial *trial = argument;
	TupleDesc desc = trial->desc;
	const Guard *guard = trial->guard;
	EState *estate = CreateExecutorState();
	ExprContext *context = GetPerTupleExprContext(estate);
	TupleTableSlot *row = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	ExprState *qual = ExecPrepareQual(trial->condition, estate);

	trial->fits = true;
	context->ecxt_scantuple = row;
	for (int i = 0; i < guard->nstates; i++)
	{
		ExecClearTuple(row);
		memset(row->tts_isnull, true, desc->natts);
		row->tts_isnull[guard->status - 1] = false;
		row->tts_values[guard->status - 1] =
			guard->is_enum ? ObjectIdGetDatum(guard->states[i].label)
						   : CStringGetTextDatum(guard->states[i].name);
		ExecStoreVirtualTuple(row);
		if (guard->states[i].success && !ExecQual(qual, context))
			trial->fits = false;
	}
	ExecDropSingleTupleTableSlot(row);
	FreeExecutorState(estate);
}

static bool
runs_foreign_code(Node *node, void *context)
{
	if (node == NULL)
		return false;
	/* a domain's constraints are the user's */
	if (IsA(node, CoerceToDomain) ||
		check_functions_in_node(node, is_foreign_function, context))
		return true;
	return expression_tree_walker(node, runs_foreign_code, context);
}

static bool
is_foreign_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}

/*
 * payguard_once_partition_columns names the columns of a partition key: a change of one arrives as
 * DELETE and INSERT.
 */
List *
payguard_once_partition_columns(Relation relation)
{
	PartitionKey key;
	Bitmapset *columns = NULL;
	List *names = NIL;
	int column = -1;

	if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return NIL;
	key = RelationGetPartitionKey(relation);
	for (int i = 0; i < key->partnatts; i++)
		if (AttributeNumberIsValid(key->partattrs[i]))
			columns = bms_add_member(columns, key->partattrs[i] -
												  FirstLowInvalidHeapAttributeNumber);
	pull_varattnos((Node *) key->partexprs, 1, &columns);
	while ((column = bms_next_member(columns, column)) >= 0)
	{
		int attribute = column + FirstLowInvalidHeapAttributeNumber;

		if (attribute > 0)
			names = lappend(
				names,
				NameStr(
					TupleDescAttr(RelationGetDescr(relation), attribute - 1)->attname));
	}
	return names;
}

/*
 * payguard_once_statements writes the statements that build the unique index: one, or those that
 * build it without blocking writers, on each partition.
 */
List *
payguard_once_statements(List *tables, const Guard *guard, Jsonb *settings,
						 bool concurrently)
{
	Relation relation = relation_open(linitial_oid(tables), NoLock);
	bool partitioned = relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
	char *index = makeObjectName(RelationGetRelationName(relation), "payguard", "once");
	const char *columns = once_columns(relation, guard);
	const char *condition = once_condition(relation, guard);
	List *once = payguard_guard_strings(settings, "once");
	List *statements = NIL;
	List *attach = NIL;
	ListCell *cell;
	int number = 0;

	check_coverable(relation, tables, once);
	if (!partitioned || !concurrently)
		statements = list_make1(psprintf(
			"CREATE UNIQUE INDEX %s%s ON %s (%s) WHERE %s",
			concurrently ? "CONCURRENTLY " : "", quote_identifier(index),
			payguard_guard_qualified(RelationGetRelid(relation)), columns, condition));
	else
		foreach (cell, tables)
		{
			Oid part = lfirst_oid(cell);
			bool leaf = get_rel_relkind(part) == RELKIND_RELATION;
			char *name = number == 0
							 ? index
							 : makeObjectName(get_rel_name(part), "payguard", "once");

			statements = lappend(
				statements, psprintf("CREATE UNIQUE INDEX %s%s ON %s%s (%s) WHERE %s",
									 leaf ? "CONCURRENTLY " : "", quote_identifier(name),
									 leaf ? "" : "ONLY ", payguard_guard_qualified(part),
									 columns, condition));
			if (number++ > 0)
				attach =
					lappend(attach, attach_statement(part, name,
													 RelationGetRelid(relation), index));
		}
	relation_close(relation, NoLock);
	return list_concat(statements, attach);
}

/*
 * check_coverable raises 0A000 where no unique index covers all the rows of a table.
 */
static void
check_coverable(Relation relation, List *tables, const List *once)
{
	ListCell *cell;

	if (relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE && list_length(tables) > 1)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("relation \"%s\" cannot be guarded with once",
					RelationGetRelationName(relation)),
			 errdetail("Other tables inherit from it, and no unique index covers them "
					   "all. Nothing has been changed.")));
	foreach (cell, tables)
	{
		Relation part = relation_open(lfirst_oid(cell), NoLock);
		ListCell *column;

		foreach (column, payguard_once_partition_columns(part))
			if (!payguard_list_has(once, lfirst(column)))
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("relation \"%s\" cannot be guarded with once",
								RelationGetRelationName(relation)),
						 errdetail(
							 "It is partitioned by column \"%s\", and a unique index of "
							 "all partitions must have that column. Nothing has been "
							 "changed.",
							 (char *) lfirst(column)),
						 errhint("Name it in once too, or leave out once.")));
		relation_close(part, NoLock);
	}
}

/*
 * attach_statement attaches the index of a partition to the one of its parent. top, index: the table that is
 * guarded, and its index.
 */
static char *
attach_statement(Oid part, const char *name, Oid top, const char *index)
{
	Oid parent = get_partition_parent(part, false);

	return psprintf(
		"ALTER INDEX %s ATTACH PARTITION %s",
		quote_qualified_identifier(
			get_namespace_name(get_rel_namespace(parent)),
			parent == top ? index
						  : makeObjectName(get_rel_name(parent), "payguard", "once")),
		quote_qualified_identifier(get_namespace_name(get_rel_namespace(part)), name));
}

static char *
once_columns(Relation relation, const Guard *guard)
{
	StringInfoData columns;

	initStringInfo(&columns);
	for (int i = 0; i < guard->once.n; i++)
		appendStringInfo(
			&columns, "%s%s", i ? ", " : "",
			quote_identifier(NameStr(
				TupleDescAttr(RelationGetDescr(relation), guard->once.columns[i] - 1)
					->attname)));
	return columns.data;
}

static char *
once_condition(Relation relation, const Guard *guard)
{
	Form_pg_attribute status =
		TupleDescAttr(RelationGetDescr(relation), guard->status - 1);
	const char *column = quote_identifier(NameStr(status->attname));
	const char *type =
		guard->is_enum ? format_type_be_qualified(guard->status_type) : "pg_catalog.text";
	StringInfoData condition;
	const char *comma = "";

	initStringInfo(&condition);
	/* a domain has no operators of its own */
	if (get_typtype(status->atttypid) == TYPTYPE_DOMAIN)
		column = psprintf("CAST(%s AS %s)", column, type);
	appendStringInfo(&condition, "%s " OP_EQ " ANY (ARRAY[", column);
	for (int i = 0; i < guard->nstates; i++)
		if (guard->states[i].success)
		{
			appendStringInfo(&condition, "%s%s::%s", comma,
							 quote_literal_cstr(guard->states[i].name), type);
			comma = ", ";
		}
	appendStringInfoString(&condition, "])");
	return condition.data;
}
