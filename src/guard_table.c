/*
 * guard_table.c
 *		Putting a guard on an application's table, and taking it off.
 *
 * Locking: SHARE ROW EXCLUSIVE on the table and those below it, which lets readers go on
 * and makes writers wait, until the end of the transaction. What takes time under it is
 * reading the rows that are there and building the index of `once`; not_valid leaves out
 * both.
 *
 * Only the table's owner may; what is done to the table is done as payguard's owner, who may
 * use the trigger functions. No code of the table's owner runs meanwhile: rows are read here
 * in C, with the output and comparison functions of types, and CREATE INDEX changes to the
 * table's owner itself. Triggers are made and dropped without a statement, so that no event
 * trigger of a user, or of ours, runs between two of them.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/defrem.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/bitmapset.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplesort.h"
#include "utils/typcache.h"

#include "compat.h"
#include "guard.h"
#include "payguard.h"

#define MAX_EXAMPLES 5

/* Rows that break one rule of a guard. */
typedef struct Fault
{
	int64 rows;
	List *examples; /* strings */
} Fault;

/* Rows that break a guard's rules. */
typedef struct BadRows
{
	MemoryContext context; /* the examples' */
	Fault stateless;	   /* their status is none of the graph's */
	Fault unpaid;		   /* paid here, and not in payguard */
	Fault doubled;		   /* another row has the same values of once */
} BadRows;

/* Reading the rows of one table. */
typedef struct Reading
{
	const Guard *guard;
	TupleDesc desc;
	BadRows *bad;
	Tuplesortstate *sort; /* of what once is about; NULL: that is not looked at */
	TupleTableSlot *once; /* a row of it */
	TypeCacheEntry **types;
} Reading;

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
static void check_rows(List *tables, const char *settings, bool once);
static char *problem_of(Relation relation);
static void read_rows(Relation relation, const char *settings, Snapshot snapshot,
					  bool once, BadRows *bad);
static void look_at_row(const Reading *reading, TupleTableSlot *row);
static void begin_sort(Reading *reading);
static void sort_row(const Reading *reading, TupleTableSlot *row);
static void find_doubled(const Reading *reading, MemoryContext each);
static bool are_equal(const Reading *reading, TupleTableSlot *a, TupleTableSlot *b);
static const char *once_value(TupleTableSlot *row);
static void add_fault(BadRows *bad, Fault *fault, TupleTableSlot *row, AttrNumber column);
static void add_example(BadRows *bad, Fault *fault, const char *value);
static char *describe(const BadRows *bad);
static void describe_fault(StringInfo text, const Fault *fault, const char *what);
static List *once_statements(List *tables, const Guard *guard, Jsonb *settings,
							 bool concurrently);
static char *once_columns(Relation relation, const Guard *guard);
static char *once_condition(Relation relation, const Guard *guard);
static void put_on(List *tables, const char *settings);
static void take_off(List *tables);
static void make_trigger(Oid table, const char *name, const char *settings, bool again);
static void run(const char *sql);
static void missing(Oid table) pg_attribute_noreturn();
static void check_rights(List *tables);
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
 * table), 42P01, 42501 (not the owner), 42809 and 0A000 (such a table cannot be guarded),
 * 42710 (it is guarded), 23514 and 23505 (rows break the rules), 55000 (payguard's owner is
 * no superuser).
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
	check_rights(tables);
	check_partitions(
		tables,
		NameStr(TupleDescAttr(RelationGetDescr(relation), guard->status - 1)->attname));
	if (guard->once.n > 0 && !payguard_once_is_held(table, RelationGetDescr(relation),
													guard, NULL, InvalidOid))
		statements = once_statements(tables, guard, settings, not_valid);
	table_close(relation, NoLock);

	payguard_request_begin("guard_table()");
	if (!not_valid)
	{
		ListCell *cell;

		/* an index that is to be built finds what is double itself */
		check_rows(tables, text, statements == NIL);
		foreach (cell, statements)
			run(lfirst(cell));
		statements = NIL;
	}
	put_on(tables, text);
	payguard_guard_event("guard.added", get_namespace_name(get_rel_namespace(table)),
						 get_rel_name(table), settings);
	payguard_call_end();
	return_texts(fcinfo, statements);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(payguard_unguard_table);

/*
 * unguard_table(table_name) → boolean: whether there was a guard. The index of `once`
 * stays. Errors: 22004, 42P01, 42501 (not the owner), 42809 (the guard is the partitioned
 * table's), 55000 (payguard's owner is no superuser).
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
	check_rights(tables);
	table_close(relation, NoLock);
	payguard_request_begin("unguard_table()");
	take_off(tables);
	payguard_call_end();
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
 * told too. Error: 42P01.
 */
Datum
payguard_guard_bad_rows(PG_FUNCTION_ARGS)
{
	Oid table = PG_GETARG_OID(0);
	Relation relation = try_relation_open(table, AccessShareLock);
	char *problem;

	if (relation == NULL)
		missing(table);
	problem = problem_of(relation);
	relation_close(relation, AccessShareLock);
	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(payguard_text(problem));
}

PG_FUNCTION_INFO_V1(payguard_broken_rows);

/*
 * broken_rows() → (guard text, problem text): what guard_bad_rows() says of each guarded
 * table. One that is dropped meanwhile is left out.
 */
Datum
payguard_broken_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach (cell, payguard_guard_triggers(false))
	{
		GuardTrigger *trigger = lfirst(cell);
		Relation relation = try_relation_open(trigger->relation, AccessShareLock);
		char *problem;

		if (relation == NULL)
			continue;
		problem = problem_of(relation);
		if (problem)
		{
			Datum values[2] = {CStringGetTextDatum(psprintf(
								   "table %s", qualified(RelationGetRelid(relation)))),
							   CStringGetTextDatum(psprintf("has %s", problem))};
			bool nulls[2] = {false, false};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
		relation_close(relation, AccessShareLock);
	}
	return (Datum) 0;
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
	/* paid_states have two uses: without an order they say what once counts */
	bool only_once = order_id == NULL && once && !success;
	Jsonb *transitions = payguard_arg_json_or_null(ARG(2), "transitions");
	ListCell *cell;

	if (transitions == NULL)
		payguard_arg_missing("transitions");
	initStringInfo(&settings);
	appendStringInfo(&settings, "{\"transitions\": %s",
					 JsonbToCString(NULL, &transitions->root, VARSIZE(transitions)));
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
	append_strings(&settings, "paid_states", only_once ? NIL : paid);
	append_strings(&settings, "success_states", success ? success : once ? paid : NIL);
	appendStringInfo(&settings, ", \"valid\": %s",
					 !PG_ARGISNULL(11) && PG_GETARG_BOOL(11) ? "false" : "true");
	if ((order_id != NULL) != (paid != NIL) && !only_once)
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
	payguard_arg_check_length(PG_GETARG_ARRAYTYPE_P(n), name);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(n), TEXTOID, -1, false, TYPALIGN_INT,
					  &elements, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		strings =
			lappend(strings, unconstify(char *, payguard_str(payguard_arg_id(
													elements[i], nulls[i],
													psprintf("%s[%d]", name, i + 1)))));
	}
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
			if (from != to && guard->moves[MOVE(guard, from, to)])
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
	relation = try_relation_open(table, ShareRowExclusiveLock);
	if (relation == NULL)
		missing(table);
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
		missing(table);
	if (!payguard_owns_relation(table, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(kind),
					   get_rel_name(table));
}

static void
missing(Oid table)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
					errmsg("relation with OID %u does not exist", table),
					errdetail("Nothing has been changed.")));
}

/*
 * check_rights raises 55000 where payguard's owner has lost what he needs to work on others'
 * tables.
 */
static void
check_rights(List *tables)
{
	Identity identity = payguard_as_owner();
	Oid owner = GetUserId();
	ListCell *cell;

	payguard_as_before(identity);
	foreach (cell, tables)
		if (!payguard_owns_relation(lfirst_oid(cell), owner))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("payguard's owner, role \"%s\", is no superuser",
							GetUserNameFromId(owner, false)),
					 errdetail("Guards are put on and taken off with its rights. Nothing "
							   "has been changed."),
					 errhint("A superuser can give it back: ALTER ROLE %s SUPERUSER.",
							 quote_identifier(GetUserNameFromId(owner, false)))));
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
 * check_rows raises 23514 or 23505 where rows break the rules already. once: whether those that
 * share its values are looked for.
 */
static void
check_rows(List *tables, const char *settings, bool once)
{
	BadRows bad = {.context = CurrentMemoryContext};
	ListCell *cell;

	foreach (cell, tables)
	{
		Relation relation = table_open(lfirst_oid(cell), NoLock);

		read_rows(relation, settings, GetLatestSnapshot(), once, &bad);
		table_close(relation, NoLock);
	}
	if (bad.stateless.rows == 0 && bad.unpaid.rows == 0 && bad.doubled.rows == 0)
		return;
	ereport(
		ERROR,
		(errcode(bad.stateless.rows == 0 && bad.unpaid.rows == 0
					 ? ERRCODE_UNIQUE_VIOLATION
					 : ERRCODE_CHECK_VIOLATION),
		 errmsg("relation \"%s\" has rows that break the guard",
				get_rel_name(linitial_oid(tables))),
		 errdetail("It has %s. Nothing has been changed.", describe(&bad)),
		 errhint("Correct them first, or guard the table with not_valid := true, which "
				 "leaves the rows that are there as they are."),
		 err_generic_string(PG_DIAG_CONSTRAINT_NAME, GUARD_TRIGGER)));
}

/*
 * problem_of says what is wrong with the rows of a relation that is locked; NULL: nothing, or it
 * has no guard.
 */
static char *
problem_of(Relation relation)
{
	GuardTrigger *guard = payguard_guard_trigger_of(RelationGetRelid(relation), false);
	BadRows bad = {.context = CurrentMemoryContext};

	/* with a snapshot that is as old as the one with which orders are looked up */
	if (guard)
		read_rows(relation, guard->settings, GetTransactionSnapshot(), true, &bad);
	return describe(&bad);
}

/*
 * read_rows looks at each row of one table, which takes the memory of one row, and work_mem for
 * those that once is about. Nothing is read where the table has no rows of its own, or the guard
 * does not fit it.
 */
static void
read_rows(Relation relation, const char *settings, Snapshot snapshot, bool once,
		  BadRows *bad)
{
	const char *problem;
	Reading reading = {
		.guard = payguard_guard_parse(settings, RelationGetDescr(relation), &problem),
		.desc = RelationGetDescr(relation),
		.bad = bad};
	MemoryContext each;
	MemoryContext caller;
	TupleTableSlot *row;
	TableScanDesc scan;

	if (reading.guard == NULL || relation->rd_rel->relkind != RELKIND_RELATION)
		return;
	if (once)
		begin_sort(&reading);
	each = AllocSetContextCreate(CurrentMemoryContext, "payguard row of a guarded table",
								 ALLOCSET_DEFAULT_SIZES);
	snapshot = RegisterSnapshot(snapshot);
	row = table_slot_create(relation, NULL);
	scan = payguard_table_beginscan(relation, snapshot);
	while (table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		CHECK_FOR_INTERRUPTS();
		caller = MemoryContextSwitchTo(each);
		look_at_row(&reading, row);
		MemoryContextSwitchTo(caller);
		MemoryContextReset(each);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	if (reading.sort)
		find_doubled(&reading, each);
	UnregisterSnapshot(snapshot);
	MemoryContextDelete(each);
}

static void
look_at_row(const Reading *reading, TupleTableSlot *row)
{
	const Guard *guard = reading->guard;
	BadRows *bad = reading->bad;
	bool isnull;
	Datum value = slot_getattr(row, guard->status, &isnull);
	int state = payguard_guard_state(guard, value, isnull);

	if (state < 0)
	{
		add_fault(bad, &bad->stateless, row, guard->status);
		return;
	}
	if (guard->states[state].paid && !payguard_guard_order_is_paid(guard, row, true))
		add_fault(bad, &bad->unpaid, row, guard->order_id);
	if (guard->states[state].success && reading->sort)
		sort_row(reading, row);
}
/*
 * begin_sort prepares to sort what once is about, row by row: an index may have lost some. It is
 * left alone where a type has no order, which no index for once can be built on.
 */
static void
begin_sort(Reading *reading)
{
	const GuardColumns *once = &reading->guard->once;
	AttrNumber *numbers = palloc((once->n + 1) * sizeof(AttrNumber));
	Oid *operators = palloc((once->n + 1) * sizeof(Oid));
	Oid *collations = palloc((once->n + 1) * sizeof(Oid));
	bool *nulls_first = palloc0((once->n + 1) * sizeof(bool));
	List *lists[4] = {NIL, NIL, NIL, NIL};
	TupleDesc desc;

	if (once->n == 0)
		return;
	reading->types = palloc(once->n * sizeof(TypeCacheEntry *));
	for (int i = 0; i < once->n; i++)
	{
		Form_pg_attribute column = TupleDescAttr(reading->desc, once->columns[i] - 1);
		TypeCacheEntry *type = lookup_type_cache(
			column->atttypid, TYPECACHE_LT_OPR | TYPECACHE_EQ_OPR_FINFO);

		if (!OidIsValid(type->lt_opr) || !OidIsValid(type->eq_opr_finfo.fn_oid))
			return;
		reading->types[i] = type;
		numbers[i] = i + 1;
		operators[i] = type->lt_opr;
		collations[i] = column->attcollation;
		lists[0] = lappend(lists[0], makeString(pstrdup(NameStr(column->attname))));
		lists[1] = lappend_oid(lists[1], column->atttypid);
		lists[2] = lappend_int(lists[2], column->atttypmod);
		lists[3] = lappend_oid(lists[3], column->attcollation);
	}
	desc = BuildDescFromLists(lists[0], lists[1], lists[2], lists[3]);
	reading->once = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	reading->sort = tuplesort_begin_heap(desc, once->n, numbers, operators, collations,
										 nulls_first, work_mem, NULL, TUPLESORT_NONE);
}

/*
 * sort_row puts a row among those that are sorted. One with a NULL is like no other.
 */
static void
sort_row(const Reading *reading, TupleTableSlot *row)
{
	const GuardColumns *once = &reading->guard->once;

	ExecClearTuple(reading->once);
	for (int i = 0; i < once->n; i++)
	{
		reading->once->tts_values[i] =
			slot_getattr(row, once->columns[i], &reading->once->tts_isnull[i]);
		if (reading->once->tts_isnull[i])
			return;
	}
	ExecStoreVirtualTuple(reading->once);
	tuplesort_puttupleslot(reading->sort, reading->once);
}

/*
 * find_doubled counts the sorted rows that are like another.
 */
static void
find_doubled(const Reading *reading, MemoryContext each)
{
	Fault *doubled = &reading->bad->doubled;
	TupleDesc desc = reading->once->tts_tupleDescriptor;
	TupleTableSlot *last = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TupleTableSlot *row = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	bool is_counted = false; /* the last one is */

	tuplesort_performsort(reading->sort);
	while (tuplesort_gettupleslot(reading->sort, true, true, row, NULL))
	{
		MemoryContext caller = MemoryContextSwitchTo(each);
		bool is_like = !TTS_EMPTY(last) && are_equal(reading, last, row);
		TupleTableSlot *free = last;

		CHECK_FOR_INTERRUPTS();
		if (is_like)
			doubled->rows += is_counted ? 1 : 2;
		if (is_like && !is_counted)
			add_example(reading->bad, doubled, once_value(row));
		is_counted = is_like;
		last = row;
		row = free;
		MemoryContextSwitchTo(caller);
		MemoryContextReset(each);
	}
	ExecDropSingleTupleTableSlot(last);
	ExecDropSingleTupleTableSlot(row);
	ExecDropSingleTupleTableSlot(reading->once);
	tuplesort_end(reading->sort);
}

static bool
are_equal(const Reading *reading, TupleTableSlot *a, TupleTableSlot *b)
{
	TupleDesc desc = a->tts_tupleDescriptor;

	for (int i = 0; i < desc->natts; i++)
	{
		bool isnull;
		Datum of_a = slot_getattr(a, i + 1, &isnull);
		Datum of_b = slot_getattr(b, i + 1, &isnull);

		if (!DatumGetBool(FunctionCall2Coll(&reading->types[i]->eq_opr_finfo,
											TupleDescAttr(desc, i)->attcollation, of_a,
											of_b)))
			return false;
	}
	return true;
}

/*
 * once_value writes the values of one row of what once is about.
 */
static const char *
once_value(TupleTableSlot *row)
{
	TupleDesc desc = row->tts_tupleDescriptor;
	StringInfoData text;

	initStringInfo(&text);
	for (int i = 0; i < desc->natts; i++)
	{
		bool isnull;
		Datum value = slot_getattr(row, i + 1, &isnull);

		appendStringInfo(&text, "%s%s", i > 0 ? " " : "",
						 payguard_guard_value(desc, i + 1, value, isnull));
	}
	return text.data;
}

/*
 * add_fault counts a row that breaks a rule. column: whose value is an example.
 */
static void
add_fault(BadRows *bad, Fault *fault, TupleTableSlot *row, AttrNumber column)
{
	bool isnull;
	Datum value = slot_getattr(row, column, &isnull);

	fault->rows++;
	if (list_length(fault->examples) < MAX_EXAMPLES)
		add_example(
			bad, fault,
			payguard_guard_value(row->tts_tupleDescriptor, column, value, isnull));
}

/*
 * add_example keeps a value, the beginning of a long one, unless there are enough.
 */
static void
add_example(BadRows *bad, Fault *fault, const char *value)
{
	MemoryContext caller = MemoryContextSwitchTo(bad->context);
	char *example = pnstrdup(value, pg_mbcliplen(value, strlen(value), MAX_ID_LENGTH));

	if (list_length(fault->examples) < MAX_EXAMPLES &&
		!payguard_list_has(fault->examples, example))
		fault->examples = lappend(fault->examples, example);
	else
		pfree(example);
	MemoryContextSwitchTo(caller);
}

/*
 * describe says what is wrong; NULL: nothing.
 */
static char *
describe(const BadRows *bad)
{
	StringInfoData text;

	initStringInfo(&text);
	describe_fault(&text, &bad->stateless, "whose status is no state of the guard");
	describe_fault(&text, &bad->unpaid, "in a paid state whose order is not paid");
	describe_fault(&text, &bad->doubled,
				   "in success states that share their values of once");
	return text.len > 0 ? text.data : NULL;
}

static void
describe_fault(StringInfo text, const Fault *fault, const char *what)
{
	const char *comma = "";
	ListCell *cell;

	if (fault->rows == 0)
		return;
	appendStringInfo(text, "%s" INT64_FORMAT " rows %s (", text->len > 0 ? " and " : "",
					 fault->rows, what);
	foreach (cell, fault->examples)
	{
		appendStringInfo(text, "%s%s", comma, (char *) lfirst(cell));
		comma = ", ";
	}
	appendStringInfoChar(text, ')');
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
	appendStringInfo(&condition, "%s " OP("=") " ANY (ARRAY[", column);
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
		if (cell == list_head(tables) || !partitioned)
			make_trigger(lfirst_oid(cell), GUARD_TRIGGER, settings, false);
		payguard_guard_cover_truncate(lfirst_oid(cell));
		payguard_command_settles(lfirst_oid(cell), true);
	}
}

/*
 * payguard_guard_cover_truncate refuses TRUNCATE on one table.
 */
void
payguard_guard_cover_truncate(Oid relation)
{
	make_trigger(relation, GUARD_TRUNCATE_TRIGGER, NULL, false);
}

/*
 * payguard_guard_remake makes a guard's trigger anew, with other settings; those of partitions go
 * with it.
 */
void
payguard_guard_remake(Oid relation, const char *name, const char *settings)
{
	make_trigger(relation, name, settings, true);
}

/*
 * make_trigger makes a trigger that always fires, as
 *
 *	CREATE [OR REPLACE] TRIGGER ...; ALTER TABLE ... ENABLE ALWAYS TRIGGER ...
 *
 * would: a guard's, or where settings is NULL the one for TRUNCATE. again: in the place of the
 * trigger of that name.
 */
static void
make_trigger(Oid table, const char *name, const char *settings, bool again)
{
	CreateTrigStmt *trigger = makeNode(CreateTrigStmt);
	Identity identity = payguard_as_owner();

	trigger->replace = again;
	trigger->trigname = pstrdup(name);
	trigger->relation = makeRangeVar(get_namespace_name(get_rel_namespace(table)),
									 get_rel_name(table), -1);
	trigger->funcname = list_make2(
		makeString(pstrdup(PAYGUARD_SCHEMA)),
		makeString(pstrdup(settings ? GUARD_FUNCTION : GUARD_TRUNCATE_FUNCTION)));
	trigger->args = settings ? list_make1(makeString(pstrdup(settings))) : NIL;
	trigger->row = settings != NULL;
	trigger->timing = settings ? TRIGGER_TYPE_AFTER : TRIGGER_TYPE_BEFORE;
	trigger->events =
		settings ? TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE
				 : TRIGGER_TYPE_TRUNCATE;
	CreateTriggerFiringOn(trigger, "", table, InvalidOid, InvalidOid, InvalidOid,
						  InvalidOid, InvalidOid, NULL, false, false,
						  TRIGGER_FIRES_ALWAYS);
	payguard_as_before(identity);
	CommandCounterIncrement();
}

/*
 * take_off drops our triggers on the tables, whatever they are called by now. The first table
 * leaves an event in any case: verify() no longer misses a guard that was lost before. The
 * events come last: a user's trigger on them may run DDL, which looks for each guard that is
 * known.
 */
static void
take_off(List *tables)
{
	List *told = list_make1_oid(linitial_oid(tables));
	ListCell *cell;

	foreach (cell, tables)
		for (int truncate = 0; truncate <= 1; truncate++)
		{
			GuardTrigger *trigger;

			while ((trigger = payguard_guard_trigger_of(lfirst_oid(cell), truncate)) !=
					   NULL &&
				   !OidIsValid(trigger->parent))
			{
				ObjectAddress address;

				ObjectAddressSet(address, TriggerRelationId, trigger->trigger);
				performDeletion(&address, DROP_RESTRICT, 0);
				CommandCounterIncrement();
				if (!truncate)
					told = list_append_unique_oid(told, lfirst_oid(cell));
			}
		}
	foreach (cell, tables)
		payguard_command_settles(lfirst_oid(cell), false);
	foreach (cell, told)
		payguard_guard_event("guard.removed",
							 get_namespace_name(get_rel_namespace(lfirst_oid(cell))),
							 get_rel_name(lfirst_oid(cell)), NULL);
}

/*
 * run executes a statement as payguard's owner.
 */
static void
run(const char *sql)
{
	Identity identity = payguard_as_owner();
	int result;

	SPI_connect();
	result = SPI_execute(sql, false, 0);
	if (result != SPI_OK_UTILITY)
		elog(ERROR, "payguard: \"%s\": %s", sql, SPI_result_code_string(result));
	SPI_finish();
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
	payguard_event_write(kind, ABOUT_NOTHING, NULL, NULL, NO_ID, names);
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
