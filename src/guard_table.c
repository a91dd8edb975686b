/*
 * guard_table.c
 *		Putting a guard on an application's table, and taking it off.
 *
 * Locking: SHARE ROW EXCLUSIVE on the table and those below it, which lets readers go on
 * and makes writers wait, until the end of the transaction. What takes time under it is
 * reading the rows that are there and building the index of `once`; not_valid leaves out
 * both.
 *
 * Only the table's owner may; the statements run as payguard's owner, who may use the
 * trigger functions. No code of the table's owner runs meanwhile: rows are read here in C,
 * with the output functions of types, and CREATE INDEX changes to the table's owner
 * itself.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "guard.h"
#include "payguard.h"

#define MAX_EXAMPLES 5

/* The relation whose triggers are being changed by us, for guard_ddl.c. */
static Oid changing = InvalidOid;

/* Rows that break a guard's rules. */
typedef struct BadRows
{
	int64 stateless; /* their status is none of the graph's */
	int64 unpaid;	 /* paid here, and not in payguard */
	List *statuses;	 /* examples, strings */
	List *orders;
} BadRows;

static Jsonb *make_settings(FunctionCallInfo fcinfo, Relation relation);
static void append_text(StringInfo settings, const char *key, text *value);
static void append_strings(StringInfo settings, const char *key, List *strings);
static List *strings_argument(FunctionCallInfo fcinfo, int n, const char *name);
static List *first_states(const Guard *guard);
static const Guard *parse(const char *settings, Relation relation);
static List *partition_columns(Relation relation);
static Relation open_table(Oid table, bool guarding);
static void check_table(Relation relation);
static void check_owner(Oid table);
static void check_below_no_guard(Relation relation);
static void check_partitions(List *tables, const char *status);
static void check_rows(List *tables, const char *settings);
static BadRows *read_rows(Oid table, const char *settings);
static void add_example(List **examples, const char *value);
static char *describe(const BadRows *bad);
static List *once_statements(List *tables, const Guard *guard, Jsonb *settings,
							 bool concurrently);
static char *once_columns(Relation relation, const Guard *guard);
static char *once_condition(Relation relation, const Guard *guard);
static void put_on(List *tables, const char *settings);
static void take_off(List *tables);
static void run(Oid relation, const char *sql);
static char *qualified(Oid relation);
static void return_texts(FunctionCallInfo fcinfo, List *texts);

PG_FUNCTION_INFO_V1(payguard_guard_table);

/*
 * guard_table(table_name, status_column, transitions, version_column, initial,
 *			   immutable_columns, once, allow_delete, order_id_column, paid_states,
 *			   success_states, not_valid) → SETOF text
 *
 * Returns the statements that are left to do: with not_valid, those that build the index
 * of `once` without blocking writers. Errors: 22004, 22023 (settings that do not fit the
 * table), 42501 (not the owner), 42809 and 0A000 (such a table cannot be guarded), 42710
 *(it is guarded), 23514 and 23505 (rows break the rules).
 */
Datum
payguard_guard_table(PG_FUNCTION_ARGS)
{
	bool not_valid = !PG_ARGISNULL(11) && PG_GETARG_BOOL(11);
	Relation relation;
	const Guard *guard;
	List *tables;
	Jsonb *settings;
	char *text;
	List *statements = NIL;
	Oid table;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("table_name");
	table = PG_GETARG_OID(0);
	PreventCommandIfReadOnly("guard_table()");
	PreventCommandIfParallelMode("guard_table()");
	relation = open_table(table, true);
	settings = make_settings(fcinfo, relation);
	text = JsonbToCString(NULL, &settings->root, VARSIZE(settings));
	guard = parse(text, relation);
	tables = find_all_inheritors(table, ShareRowExclusiveLock, NULL);
	check_partitions(
		tables,
		NameStr(TupleDescAttr(RelationGetDescr(relation), guard->status - 1)->attname));
	if (guard->once.n > 0 && !payguard_guard_has_once_index(relation, guard))
		statements = once_statements(tables, guard, settings, not_valid);
	table_close(relation, NoLock);

	payguard_request_begin("guard_table()");
	if (!not_valid)
	{
		ListCell *cell;

		check_rows(tables, text);
		foreach (cell, statements)
			run(InvalidOid, lfirst(cell));
		statements = NIL;
	}
	put_on(tables, text);
	payguard_guard_event("guard.added", get_namespace_name(get_rel_namespace(table)),
						 get_rel_name(table), settings);
	payguard_store_end(STORE_WRITE);
	return_texts(fcinfo, statements);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(payguard_unguard_table);

/*
 * unguard_table(table_name) → boolean: whether there was a guard. The index of `once`
 * stays. Errors: 22004, 42501 (not the owner), 42809 (the guard is the partitioned
 * table's).
 */
Datum
payguard_unguard_table(PG_FUNCTION_ARGS)
{
	Relation relation;
	List *tables;
	bool found;
	Oid table;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("table_name");
	table = PG_GETARG_OID(0);
	PreventCommandIfReadOnly("unguard_table()");
	PreventCommandIfParallelMode("unguard_table()");
	relation = open_table(table, false);
	check_below_no_guard(relation);
	found = payguard_guard_trigger_of(table, false) != NULL;
	tables = find_all_inheritors(table, ShareRowExclusiveLock, NULL);
	table_close(relation, NoLock);
	payguard_request_begin("unguard_table()");
	take_off(tables);
	payguard_store_end(STORE_WRITE);
	PG_RETURN_BOOL(found);
}

PG_FUNCTION_INFO_V1(payguard_guard_settings);

/*
 * guard_settings(trigger oid) → jsonb: the argument of a guard's trigger; NULL: it is
 * none.
 */
Datum
payguard_guard_settings(PG_FUNCTION_ARGS)
{
	ListCell *cell;

	foreach (cell, payguard_guard_triggers(false))
	{
		GuardTrigger *trigger = lfirst(cell);

		if (trigger->trigger == PG_GETARG_OID(0))
			return DirectFunctionCall1(jsonb_in, CStringGetDatum(trigger->settings));
	}
	PG_RETURN_NULL();
}

PG_FUNCTION_INFO_V1(payguard_guard_bad_rows);

/*
 * guard_bad_rows(table) → text: what is wrong with the rows of one guarded table
 * (partitions and heirs have their own guards), a sentence without its full stop; NULL:
 * nothing. Reads the table. Rows that were there when a guard was put on as NOT VALID are
 * told too.
 */
Datum
payguard_guard_bad_rows(PG_FUNCTION_ARGS)
{
	GuardTrigger *guard = payguard_guard_trigger_of(PG_GETARG_OID(0), false);
	BadRows *bad;

	if (guard == NULL)
		PG_RETURN_NULL();
	bad = read_rows(guard->relation, guard->settings);
	if (bad == NULL || (bad->stateless == 0 && bad->unpaid == 0))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(payguard_text(describe(bad)));
}

/*
 * payguard_guard_changing returns the relation whose triggers we are changing right now.
 */
Oid
payguard_guard_changing(void)
{
	return changing;
}

/*
 * make_settings makes the guard's argument of guard_table()'s arguments.
 */
static Jsonb *
make_settings(FunctionCallInfo fcinfo, Relation relation)
{
	StringInfoData settings;
	List *initial = strings_argument(fcinfo, 4, "initial");
	List *frozen = strings_argument(fcinfo, 5, "immutable_columns");
	List *once = strings_argument(fcinfo, 6, "once");
	List *paid = strings_argument(fcinfo, 9, "paid_states");
	List *success = strings_argument(fcinfo, 10, "success_states");
	text *version = payguard_arg_id_or_null(ARG(3), "version_column");
	text *order_id = payguard_arg_id_or_null(ARG(8), "order_id_column");
	ListCell *cell;

	if (PG_ARGISNULL(2))
		payguard_arg_missing("transitions");
	initStringInfo(&settings);
	appendStringInfo(
		&settings, "{\"transitions\": %s",
		JsonbToCString(NULL, &PG_GETARG_JSONB_P(2)->root, VARSIZE(PG_GETARG_JSONB_P(2))));
	append_text(&settings, "status_column", payguard_arg_id(ARG(1), "status_column"));
	append_text(&settings, "version_column", version);
	append_text(&settings, "order_id_column", order_id);
	foreach (cell, partition_columns(relation))
		if (!payguard_list_has(frozen, lfirst(cell)))
			frozen = lappend(frozen, lfirst(cell));
	append_strings(&settings, "immutable_columns", frozen);
	append_strings(&settings, "once", once);
	append_strings(&settings, "allow_delete",
				   strings_argument(fcinfo, 7, "allow_delete"));
	append_strings(&settings, "paid_states", paid);
	append_strings(&settings, "success_states", success ? success : once ? paid : NIL);
	appendStringInfo(&settings, ", \"valid\": %s",
					 !PG_ARGISNULL(11) && PG_GETARG_BOOL(11) ? "false" : "true");
	if ((order_id != NULL) != (paid != NIL) && !(order_id == NULL && once))
		payguard_arg_bad(order_id ? "paid_states" : "order_id_column", "It is missing.",
						 "Give both, or neither of them.");
	if (once && !success && !paid)
		payguard_arg_bad("success_states", "It is missing.",
						 "Say in which states a row counts for once.");
	if (initial == NIL)
		initial = first_states(parse(psprintf("%s}", settings.data), relation));
	append_strings(&settings, "initial", initial);
	appendStringInfoChar(&settings, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(settings.data)));
}

static void
append_text(StringInfo settings, const char *key, text *value)
{
	if (value == NULL)
		return;
	appendStringInfo(settings, ", \"%s\": ", key);
	escape_json(settings, payguard_str(value));
}

static void
append_strings(StringInfo settings, const char *key, List *strings)
{
	ListCell *cell;
	const char *comma = "";

	if (strings == NIL)
		return;
	appendStringInfo(settings, ", \"%s\": [", key);
	foreach (cell, strings)
	{
		appendStringInfoString(settings, comma);
		escape_json(settings, lfirst(cell));
		comma = ", ";
	}
	appendStringInfoChar(settings, ']');
}

static List *
strings_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	Datum *elements;
	bool *nulls;
	int count;
	List *strings = NIL;

	if (PG_ARGISNULL(n))
		return NIL;
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
		strings =
			lappend(strings, unconstify(char *, payguard_str(payguard_arg_id(
													elements[i], nulls[i],
													psprintf("%s[%d]", name, i + 1)))));
	return strings;
}

/*
 * first_states lists the states that no other leads to: where rows begin if nobody says.
 */
static List *
first_states(const Guard *guard)
{
	List *states = NIL;

	for (int to = 0; to < guard->nstates; to++)
	{
		bool first = true;

		for (int from = 0; from < guard->nstates; from++)
			if (from != to && guard->moves[from * guard->nstates + to])
				first = false;
		if (first)
			states = lappend(states, unconstify(char *, guard->states[to].name));
	}
	if (states == NIL)
		payguard_arg_bad("initial",
						 "It is missing, and each state has another that leads to it.",
						 "Say in which states a row may be inserted.");
	return states;
}

static const Guard *
parse(const char *settings, Relation relation)
{
	const char *problem;
	const Guard *guard =
		payguard_guard_parse(settings, RelationGetDescr(relation), &problem);

	if (guard == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("the guard does not fit relation \"%s\"",
					RelationGetRelationName(relation)),
			 errdetail("%s Nothing has been changed.", problem),
			 errhint("transitions is a JSON object: each state, and the array of states "
					 "that it may go to.")));
	return guard;
}

/*
 * partition_columns names the columns of a partition key: a change of one arrives as
 * DELETE and INSERT.
 */
static List *
partition_columns(Relation relation)
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
 * open_table opens and locks a table of the caller's that may be guarded.
 */
static Relation
open_table(Oid table, bool guarding)
{
	Relation relation;

	check_owner(table);
	relation = relation_open(table, ShareRowExclusiveLock);
	check_owner(table); /* it may have changed while we waited */
	if (guarding)
		check_table(relation);
	return relation;
}

static void
check_owner(Oid table)
{
	char kind = get_rel_relkind(table);

	if (kind == '\0')
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", table),
						errdetail("Nothing has been changed.")));
	if (!payguard_owns_relation(table, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(kind),
					   get_rel_name(table));
}

static void
check_table(Relation relation)
{
	const char *detail = NULL;
	Oid table = RelationGetRelid(relation);
	ListCell *cell;

	if (relation->rd_rel->relkind != RELKIND_RELATION &&
		relation->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		detail = "It is not a table.";
	else if (IsCatalogRelation(relation) ||
			 RelationGetNamespace(relation) == get_namespace_oid(PAYGUARD_SCHEMA, false))
		detail = "It belongs to the system or to payguard.";
	else if (relation->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		detail = "It is temporary or unlogged: its rows vanish without a DELETE.";
	else if (relation->rd_rules != NULL)
		detail = "It has rules, which make other statements of those that are sent.";
	if (detail)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("relation \"%s\" cannot be guarded",
							   RelationGetRelationName(relation)),
						errdetail("%s Nothing has been changed.", detail)));
	foreach (cell, find_all_inheritors(table, ShareRowExclusiveLock, NULL))
	{
		if (payguard_guard_trigger_of(lfirst_oid(cell), false) ||
			payguard_guard_trigger_of(lfirst_oid(cell), true))
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
							errmsg("relation \"%s\" is guarded already",
								   get_rel_name(lfirst_oid(cell))),
							errdetail("Nothing has been changed."),
							errhint("To change a guard call payguard.unguard_table() and "
									"payguard.guard_table() in one transaction.")));
		check_owner(lfirst_oid(cell));
	}
}

/*
 * check_below_no_guard refuses to take the guard off a table below another that is guarded.
 */
static void
check_below_no_guard(Relation relation)
{
	ListCell *cell;

	foreach (cell, payguard_guard_triggers(false))
	{
		GuardTrigger *guard = lfirst(cell);

		if (guard->relation != RelationGetRelid(relation) &&
			list_member_oid(find_all_inheritors(guard->relation, NoLock, NULL),
							RelationGetRelid(relation)))
			ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
							errmsg("the guard on \"%s\" belongs to \"%s\"",
								   RelationGetRelationName(relation), guard->table),
							errdetail("Nothing has been changed."),
							errhint("Take it off there.")));
	}
}

/*
 * check_partitions refuses a table that is partitioned by its status: each move would
 * arrive as DELETE and INSERT. And it refuses foreign tables below it, which can have
 * other writers.
 */
static void
check_partitions(List *tables, const char *status)
{
	ListCell *cell;

	foreach (cell, tables)
	{
		Relation relation = relation_open(lfirst_oid(cell), NoLock);
		const char *detail = NULL;

		if (payguard_list_has(partition_columns(relation), status))
			detail = "It is partitioned by its status, so that each change of it would "
					 "arrive as DELETE and INSERT.";
		if (relation->rd_rel->relkind == RELKIND_FOREIGN_TABLE)
			detail = "It is a foreign table, which others may write to elsewhere.";
		if (relation->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
			detail = "It is temporary or unlogged: its rows vanish without a DELETE.";
		if (detail)
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("relation \"%s\" cannot be guarded",
								   RelationGetRelationName(relation)),
							errdetail("%s Nothing has been changed.", detail)));
		relation_close(relation, NoLock);
	}
}

/*
 * check_rows raises 23514 where rows break the rules already.
 */
static void
check_rows(List *tables, const char *settings)
{
	BadRows all = {0};
	ListCell *cell;
	ListCell *example;

	foreach (cell, tables)
	{
		BadRows *bad = read_rows(lfirst_oid(cell), settings);

		if (bad == NULL)
			continue;
		all.stateless += bad->stateless;
		all.unpaid += bad->unpaid;
		foreach (example, bad->statuses)
			add_example(&all.statuses, lfirst(example));
		foreach (example, bad->orders)
			add_example(&all.orders, lfirst(example));
	}
	if (all.stateless == 0 && all.unpaid == 0)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_CHECK_VIOLATION),
		 errmsg("relation \"%s\" has rows that break the guard",
				get_rel_name(linitial_oid(tables))),
		 errdetail("It has %s. Nothing has been changed.", describe(&all)),
		 errhint("Correct them first, or guard the table with not_valid := true, which "
				 "leaves the rows that are there as they are."),
		 err_generic_string(PG_DIAG_CONSTRAINT_NAME, GUARD_TRIGGER)));
}

/*
 * read_rows looks at each row of one table; NULL: the table has none of its own, or the
 * guard does not fit it.
 */
static BadRows *
read_rows(Oid table, const char *settings)
{
	Relation relation = table_open(table, AccessShareLock);
	const char *problem;
	Guard *guard = payguard_guard_parse(settings, RelationGetDescr(relation), &problem);
	BadRows *bad = palloc0(sizeof(BadRows));
	TupleTableSlot *row;
	TableScanDesc scan;
	Snapshot snapshot;

	if (guard == NULL || relation->rd_rel->relkind != RELKIND_RELATION)
	{
		table_close(relation, NoLock);
		return NULL;
	}
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	row = table_slot_create(relation, NULL);
	scan = payguard_table_beginscan(relation, snapshot);
	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		bool isnull;
		Datum value = slot_getattr(row, guard->status, &isnull);
		int state = payguard_guard_state(guard, value, isnull);

		CHECK_FOR_INTERRUPTS();
		if (state < 0)
		{
			bad->stateless++;
			add_example(&bad->statuses,
						payguard_guard_value(RelationGetDescr(relation), guard->status,
											 value, isnull));
		}
		else if (guard->states[state].paid && AttributeNumberIsValid(guard->order_id) &&
				 !payguard_guard_order_is_paid(guard, row, true))
		{
			value = slot_getattr(row, guard->order_id, &isnull);
			bad->unpaid++;
			add_example(&bad->orders,
						payguard_guard_value(RelationGetDescr(relation), guard->order_id,
											 value, isnull));
		}
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	UnregisterSnapshot(snapshot);
	table_close(relation, NoLock);
	return bad;
}

static void
add_example(List **examples, const char *value)
{
	if (list_length(*examples) < MAX_EXAMPLES && !payguard_list_has(*examples, value))
		*examples = lappend(*examples, pstrdup(value));
}

static char *
describe(const BadRows *bad)
{
	StringInfoData text;
	ListCell *cell;
	const char *comma = "";

	initStringInfo(&text);
	if (bad->stateless > 0)
	{
		appendStringInfo(&text,
						 INT64_FORMAT " rows whose status is no state of the guard (",
						 bad->stateless);
		foreach (cell, bad->statuses)
		{
			appendStringInfo(&text, "%s%s", comma, (char *) lfirst(cell));
			comma = ", ";
		}
		appendStringInfoString(&text, bad->unpaid > 0 ? ") and " : ")");
	}
	if (bad->unpaid > 0)
	{
		comma = "";
		appendStringInfo(&text,
						 INT64_FORMAT " rows in a paid state whose order is not paid (",
						 bad->unpaid);
		foreach (cell, bad->orders)
		{
			appendStringInfo(&text, "%s%s", comma, (char *) lfirst(cell));
			comma = ", ";
		}
		appendStringInfoChar(&text, ')');
	}
	return text.data;
}

/*
 * once_statements writes the statements that build the unique index: one, or those that
 * build it without blocking writers, on each partition.
 */
static List *
once_statements(List *tables, const Guard *guard, Jsonb *settings, bool concurrently)
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

	if (!partitioned && list_length(tables) > 1)
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

		foreach (column, partition_columns(part))
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
	if (!partitioned || !concurrently)
		statements = list_make1(
			psprintf("CREATE UNIQUE INDEX %s%s ON %s (%s) WHERE %s",
					 concurrently ? "CONCURRENTLY " : "", quote_identifier(index),
					 qualified(RelationGetRelid(relation)), columns, condition));
	else
		foreach (cell, tables)
		{
			Oid part = lfirst_oid(cell);
			bool leaf = get_rel_relkind(part) == RELKIND_RELATION;
			char *name = number == 0
							 ? index
							 : makeObjectName(get_rel_name(part), "payguard", "once");

			statements = lappend(
				statements,
				psprintf("CREATE UNIQUE INDEX %s%s ON %s%s (%s) WHERE %s",
						 leaf ? "CONCURRENTLY " : "", quote_identifier(name),
						 leaf ? "" : "ONLY ", qualified(part), columns, condition));
			if (number++ > 0)
				attach = lappend(
					attach,
					psprintf("ALTER INDEX %s ATTACH PARTITION %s",
							 quote_qualified_identifier(
								 get_namespace_name(get_rel_namespace(
									 get_partition_parent(part, false))),
								 get_partition_parent(part, false) ==
										 RelationGetRelid(relation)
									 ? index
									 : makeObjectName(get_rel_name(get_partition_parent(
														  part, false)),
													  "payguard", "once")),
							 quote_qualified_identifier(
								 get_namespace_name(get_rel_namespace(part)), name)));
		}
	relation_close(relation, NoLock);
	return list_concat(statements, attach);
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
	Form_pg_attribute status = TupleDescAttr(RelationGetDescr(relation), guard->status - 1);
	const char *column = quote_identifier(NameStr(status->attname));
	const char *type =
		guard->is_enum ? format_type_be_qualified(guard->status_type) : "pg_catalog.text";
	StringInfoData condition;
	const char *comma = "";

	initStringInfo(&condition);
	/* a domain has no operators of its own */
	if (get_typtype(status->atttypid) == TYPTYPE_DOMAIN)
		column = psprintf("CAST(%s AS %s)", column, type);
	appendStringInfo(&condition, "%s OPERATOR(pg_catalog.=) ANY (ARRAY[", column);
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

/*
 * put_on makes the triggers. Those of partitions are cloned by PostgreSQL, but for
 * TRUNCATE's.
 */
static void
put_on(List *tables, const char *settings)
{
	bool partitioned = get_rel_relkind(linitial_oid(tables)) == RELKIND_PARTITIONED_TABLE;
	ListCell *cell;

	foreach (cell, tables)
	{
		Oid table = lfirst_oid(cell);

		if (cell == list_head(tables) || !partitioned)
		{
			run(table,
				psprintf("CREATE TRIGGER %s AFTER INSERT OR UPDATE OR DELETE ON %s "
						 "FOR EACH ROW EXECUTE FUNCTION %s.%s(%s)",
						 GUARD_TRIGGER, qualified(table), PAYGUARD_SCHEMA, GUARD_FUNCTION,
						 quote_literal_cstr(settings)));
			run(table, psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s",
								qualified(table), GUARD_TRIGGER));
		}
		payguard_guard_cover_truncate(table);
	}
}

/*
 * payguard_guard_cover_truncate refuses TRUNCATE on one table.
 */
void
payguard_guard_cover_truncate(Oid relation)
{
	run(relation, psprintf("CREATE TRIGGER %s BEFORE TRUNCATE ON %s "
						   "FOR EACH STATEMENT EXECUTE FUNCTION %s.%s()",
						   GUARD_TRUNCATE_TRIGGER, qualified(relation), PAYGUARD_SCHEMA,
						   GUARD_TRUNCATE_FUNCTION));
	run(relation, psprintf("ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %s",
						   qualified(relation), GUARD_TRUNCATE_TRIGGER));
}

/*
 * take_off drops our triggers on the tables, whatever they are called by now. The first table
 * leaves an event in any case: verify() no longer misses a guard that was lost before.
 */
static void
take_off(List *tables)
{
	ListCell *cell;

	foreach (cell, tables)
	{
		Oid table = lfirst_oid(cell);
		bool had_guard = cell == list_head(tables);

		for (int truncate = 0; truncate <= 1; truncate++)
		{
			GuardTrigger *trigger;

			while ((trigger = payguard_guard_trigger_of(table, truncate)) != NULL &&
				   !OidIsValid(trigger->parent))
			{
				run(table, psprintf("DROP TRIGGER %s ON %s",
									quote_identifier(trigger->name), qualified(table)));
				had_guard = had_guard || !truncate;
			}
		}
		payguard_guard_forget(table);
		if (had_guard)
			payguard_guard_event("guard.removed",
								 get_namespace_name(get_rel_namespace(table)),
								 get_rel_name(table), NULL);
	}
}

/*
 * run executes a statement as payguard's owner. relation: its triggers change, and the
 * event triggers let that pass; InvalidOid: none.
 */
static void
run(Oid relation, const char *sql)
{
	Oid before = changing;
	Identity identity = payguard_as_owner();
	int result;

	changing = relation;
	PG_TRY();
	{
		SPI_connect();
		result = SPI_execute(sql, false, 0);
		if (result != SPI_OK_UTILITY)
			elog(ERROR, "payguard: \"%s\": %s", sql, SPI_result_code_string(result));
		SPI_finish();
	}
	PG_FINALLY();
	{
		changing = before;
	}
	PG_END_TRY();
	payguard_as_before(identity);
	CommandCounterIncrement();
}

/*
 * payguard_guard_event writes what happened to a guard. details: more of it, or NULL.
 */
void
payguard_guard_event(const char *kind, const char *schema, const char *table,
					 Jsonb *details)
{
	Jsonb *names = payguard_json("schema", 's', schema, "table", 's', table, NULL);
	Identity identity = payguard_as_owner();

	if (details)
		names = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(names),
												   JsonbPGetDatum(details)));
	payguard_store_begin(STORE_WRITE);
	payguard_event_write(kind, NULL, NULL, NULL, NULL, false, names);
	payguard_store_end(STORE_WRITE);
	payguard_as_before(identity);
}

static char *
qualified(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
									  get_rel_name(relation));
}

static void
return_texts(FunctionCallInfo fcinfo, List *texts)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	foreach (cell, texts)
	{
		Datum value = CStringGetTextDatum(lfirst(cell));
		bool isnull = false;

		tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
	}
}
