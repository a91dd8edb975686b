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
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/tuplestore.h"

#include "base/argument.h"
#include "base/compat.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "records/about.h"
#include "records/call.h"
#include "records/event.h"
#include "watch/consumer.h"
#include "guard/bad_rows.h"
#include "guard/command.h"
#include "guard/guard_table.h"
#include "guard/make_settings.h"
#include "guard/once.h"
#include "guard/order_index.h"
#include "guard/owner.h"
#include "guard/settings.h"
#include "guard/trigger.h"

static Relation open_table(Oid table, bool guarding);
static void check_owner(Oid table);
static void check_rights(List *tables);
static void check_table(Relation relation);
static void check_below_no_guard(Relation relation);
static void check_partitions(List *tables, const char *status);
static void put_on(List *tables, const char *settings);
static void make_trigger(Oid table, const char *name, const char *settings, bool again);
static void begin_to_follow(const Guard *guard);
static void take_off(List *tables);
static void run(const char *sql);
static void return_texts(FunctionCallInfo fcinfo, List *texts);

PG_FUNCTION_INFO_V1(payguard_guard_table);

/*
 * guard_table(table_name, status_column, transitions, version_column, initial,
 *			   immutable_columns, once, allow_delete, order_id_column, paid_states,
 *			   success_states, not_valid, amount_column, currency_column, closed_states,
 *			   follow) → SETOF text
 *
 * Returns the statements that are left to do: with not_valid, those that build the index
 * of `once` without blocking writers. Errors: 22004, 22023 (settings that do not fit the
 * table), 42P01, 42501 (not the owner), 42809 and 0A000 (such a table cannot be guarded),
 * 42710 (it is guarded), 23514 and 23505 (rows break the rules), 55000 (payguard's owner is
 * no superuser; follow needs an index).
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
	settings = payguard_guard_make_settings(fcinfo, relation);
	text = JsonbToCString(NULL, &settings->root, VARSIZE(settings));
	guard = payguard_guard_parse_for(text, relation);
	tables = find_all_inheritors(table, ShareRowExclusiveLock, NULL);
	check_rights(tables);
	check_partitions(
		tables,
		NameStr(TupleDescAttr(RelationGetDescr(relation), guard->status - 1)->attname));
	if (guard->once.n > 0 && !payguard_once_is_held(table, RelationGetDescr(relation),
													guard, NULL, InvalidOid))
		statements = payguard_once_statements(tables, guard, settings, not_valid);
	if (guard->follows)
		payguard_order_index_check(tables, text);
	table_close(relation, NoLock);

	payguard_request_begin("guard_table()");
	if (!not_valid)
	{
		ListCell *cell;

		/* an index that is to be built finds what is double itself */
		payguard_bad_rows_check(tables, text, statements == NIL);
		foreach (cell, statements)
			run(lfirst(cell));
		statements = NIL;
	}
	put_on(tables, text);
	if (guard->follows)
		begin_to_follow(guard);
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

	foreach (cell, payguard_guard_triggers())
	{
		GuardTrigger *trigger = lfirst(cell);

		if (trigger->trigger == PG_GETARG_OID(0))
			return DirectFunctionCall1(jsonb_in, CStringGetDatum(trigger->settings));
	}
	PG_RETURN_NULL();
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
	foreach (cell, payguard_guard_triggers())
	{
		GuardTrigger *trigger = lfirst(cell);
		Relation relation = try_relation_open(trigger->relation, AccessShareLock);
		char *problem;

		if (relation == NULL)
			continue;
		problem = payguard_bad_rows_problem(relation);
		if (problem)
		{
			Datum values[2] = {
				CStringGetTextDatum(psprintf(
					"table %s", payguard_guard_qualified(RelationGetRelid(relation)))),
				CStringGetTextDatum(psprintf("has %s", problem))};
			bool nulls[2] = {false, false};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
		relation_close(relation, AccessShareLock);
	}
	return (Datum) 0;
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
		payguard_guard_missing(table);
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
		payguard_guard_missing(table);
	if (!payguard_owns_relation(table, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(kind),
					   get_rel_name(table));
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
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("payguard's owner, role \"%s\", is no superuser",
								   GetUserNameFromId(owner, false)),
							errdetail("Guards are put on and taken off with this role's "
									  "rights. Nothing has been changed."),
							errhint("A superuser can make it a superuser again: ALTER "
									"ROLE %s SUPERUSER.",
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
		detail = "It has rules. They turn the statements that are sent into others.";
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

	foreach (cell, payguard_guard_triggers())
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

		if (payguard_list_has(payguard_once_partition_columns(relation), status))
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
 * begin_to_follow has sync_rows() look at what happens from now on, and at a little of what came before. Where the
 * table's guard followed already, and was taken off in this transaction, it goes on from where it was.
 */
static void
begin_to_follow(const Guard *guard)
{
	Identity identity = payguard_as_owner();

	payguard_store_begin(STORE_WRITE);
	payguard_consumer_begin(payguard_text(guard->consumer));
	payguard_store_end(STORE_WRITE);
	payguard_as_before(identity);
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
