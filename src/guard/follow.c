/*
 * follow.c
 *		DDL on guarded tables: refused where it would lose a guard, followed where it
 * renames what a guard names.
 *
 * protect.c's event triggers call in at the start and at the end of each command. At the end
 * the guards of the tables that the command has touched are read twice: as they are, and as
 * they were when it began (command.c). Each that was there must be there, with the same
 * settings on the same columns, and nothing may be wrong with it that was not wrong before.
 *
 * First all is judged, then followed, then told: an event can run a user's trigger, and with
 * it other DDL.
 *
 * Nothing here locks a guarded table that the command itself does not lock.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "parser/parse_func.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/json.h"
#include "base/text.h"
#include "guard/command.h"
#include "guard/follow.h"
#include "guard/guard_table.h"
#include "guard/losing.h"
#include "guard/own.h"
#include "guard/problem.h"
#include "guard/settings.h"
#include "guard/trigger.h"

/* A guarded table that the command has touched. */
typedef struct Touched
{
	Oid relation;
	List *was;	 /* of GuardTrigger: its guards when the command began */
	List *is;	 /* now */
	List *kept;	 /* of Kept */
	List *lost;	 /* of GuardTrigger */
	bool put_on; /* guard_table() has guarded it meanwhile */
	bool added;	 /* it has become a partition of a guarded table */
} Touched;

/* A guard that was there and is. */
typedef struct Kept
{
	const GuardTrigger *was;
	const GuardTrigger *is;
	List *from; /* columns that it names and that have another name now: the one */
	List *to;	/* and the other */
} Kept;

static List *made_triggers(Node *statement);
static void check_create_trigger(const CreateTrigStmt *statement);
static void check_made(const CreateTrigStmt *statement);
static void check_detach(const AlterTableStmt *statement);
static void check_alter(const AlterTableStmt *statement);
static List *touched_relations(const Command *command, Snapshot then);
static void judge(Touched *touched, const Command *command, Snapshot then);
static void check_lost(const GuardTrigger *was, const Command *command);
static Kept *check_kept(const GuardTrigger *was, const GuardTrigger *is, Snapshot then);
static bool keeps_values(Form_pg_attribute was, Oid type, int32 typmod);
static bool is_added(const GuardTrigger *is, Snapshot then);
static List *ancestors(Oid relation, Snapshot at);
static void check_added(const GuardTrigger *is);
static void follow(const Touched *touched);
static void uncover_truncate(Oid relation);
static void rename_columns(const GuardTrigger *now, List *from, List *to);
static char *rename_in(const char *settings, List *from, List *to);
static void check_problems(const Touched *touched, Snapshot then);
static void tell(const Touched *touched);
static void tell_renamed(const char *schema, const char *table, const GuardTrigger *is,
						 const char *from, const char *to);
static void tell_schema_renamed(const RenameStmt *statement);
static void check_label(const AlterEnumStmt *statement);

/*
 * payguard_guard_ddl_start refuses what could not be judged at its end.
 */
void
payguard_guard_ddl_start(Node *statement)
{
	ListCell *cell;

	if (IsA(statement, AlterTableStmt))
	{
		check_detach((AlterTableStmt *) statement);
		check_alter((AlterTableStmt *) statement);
	}
	foreach (cell, made_triggers(statement))
		check_create_trigger(lfirst(cell));
}

/*
 * made_triggers lists the CREATE TRIGGER that a command is, or those in a CREATE SCHEMA, for which
 * no event trigger fires.
 */
static List *
made_triggers(Node *statement)
{
	List *triggers = NIL;
	ListCell *cell;

	if (IsA(statement, CreateTrigStmt))
		return list_make1(statement);
	if (IsA(statement, CreateSchemaStmt))
		foreach (cell, ((CreateSchemaStmt *) statement)->schemaElts)
			if (IsA(lfirst(cell), CreateTrigStmt))
				triggers = lappend(triggers, lfirst(cell));
	return triggers;
}

/*
 * check_create_trigger leaves the making of guards to guard_table(), and to a superuser who
 * restores a dump. PUBLIC may execute the trigger functions, since whoever adds a partition to
 * a guarded table must be able to.
 */
static void
check_create_trigger(const CreateTrigStmt *statement)
{
	Oid function = LookupFuncName(statement->funcname, 0, NULL, true);

	if (OidIsValid(function) && !superuser() &&
		(function == payguard_guard_function(false) ||
		 function == payguard_guard_function(true)))
		payguard_refuse_ddl("This trigger is a guard's.",
							"Put a guard on a table by payguard.guard_table().");
}

/*
 * payguard_guard_check_made raises 22023 or 22P02 where the guard that CREATE TRIGGER has made
 * does not fit its table: what comes after may rely on its settings.
 */
void
payguard_guard_check_made(Node *statement)
{
	ListCell *cell;

	foreach (cell, made_triggers(statement))
		check_made(lfirst(cell));
}

static void
check_made(const CreateTrigStmt *statement)
{
	Oid oid = RangeVarGetRelid(statement->relation, NoLock, true);
	GuardTrigger *guard = OidIsValid(oid) ? payguard_guard_trigger_of(oid, false) : NULL;
	Relation relation;
	const char *problem;

	if (guard == NULL)
		return;
	relation = table_open(oid, AccessShareLock);
	if (payguard_guard_parse(guard->settings, RelationGetDescr(relation), &problem) ==
		NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the guard does not fit relation \"%s\"", guard->table),
						errdetail("%s", problem)));
	table_close(relation, NoLock);
}

/*
 * check_detach refuses DETACH PARTITION ... CONCURRENTLY, at the start alone: the command commits in its middle, and a
 * refusal after that would leave the partition half detached.
 */
static void
check_detach(const AlterTableStmt *statement)
{
	Oid relation = RangeVarGetRelid(statement->relation, NoLock, true);
	ListCell *cell;

	foreach (cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_DetachPartition &&
			((PartitionCmd *) command->def)->concurrent && OidIsValid(relation) &&
			payguard_guard_is_guarded(relation))
			payguard_guard_refuse(
				"A partition of a guarded table cannot be detached concurrently.");
	}
}

/*
 * check_alter is called at the start, so that no table is rewritten for nothing, and at the end: somebody for whom the
 * command waited may have put a guard on.
 */
static void
check_alter(const AlterTableStmt *statement)
{
	Oid relation = RangeVarGetRelid(statement->relation, NoLock, true);
	ListCell *cell;
	ListCell *heir;

	if (!OidIsValid(relation))
		return;
	foreach (cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype != AT_AlterColumnType ||
			((ColumnDef *) command->def)->raw_default == NULL)
			continue;
		foreach (heir, find_all_inheritors(relation, NoLock, NULL))
		{
			GuardTrigger *trigger = payguard_guard_trigger_of(lfirst_oid(heir), false);
			TupleDesc desc = trigger ? payguard_guard_desc(lfirst_oid(heir), NULL) : NULL;
			const char *problem;
			Guard *guard =
				desc ? payguard_guard_parse(trigger->settings, desc, &problem) : NULL;

			for (int i = 0; guard && i < guard->columns.n; i++)
				if (strcmp(
						NameStr(
							TupleDescAttr(desc, guard->columns.columns[i] - 1)->attname),
						command->name) == 0)
					payguard_guard_refuse(psprintf("USING would write new values into "
												   "column \"%s\" of the guarded table "
												   "\"%s\".",
												   command->name, trigger->table));
		}
	}
}

/*
 * payguard_guard_ddl_end refuses a command that has lost a guard or broken one, and follows one
 * that has renamed a guarded table or a column that a guard names. What other sessions have done
 * is theirs: whatever changes a guard, but for the name of its schema and the labels of an enum,
 * locks its table.
 */
void
payguard_guard_ddl_end(const Command *command)
{
	Node *statement = command->statement;
	List *list = NIL;
	ListCell *cell;
	Snapshot then;

	if (IsA(statement, AlterTableStmt))
		check_alter((AlterTableStmt *) statement);
	if (IsA(statement, AlterEnumStmt))
		check_label((AlterEnumStmt *) statement);
	then = payguard_command_look_back(command);
	foreach (cell, touched_relations(command, then))
	{
		Touched touched = {.relation = lfirst_oid(cell)};

		touched.was = payguard_guard_triggers_of(touched.relation, false, then);
		touched.is = payguard_guard_triggers_of(touched.relation, false, NULL);
		if (touched.was == NIL && touched.is == NIL &&
			payguard_command_settled(command, touched.relation) == NULL)
			continue;
		judge(&touched, command, then);
		list = lappend(list, memcpy(palloc(sizeof(Touched)), &touched, sizeof(Touched)));
	}
	foreach (cell, list)
		follow(lfirst(cell));
	foreach (cell, list)
		check_problems(lfirst(cell), then);
	UnregisterSnapshot(then);
	foreach (cell, list)
		tell(lfirst(cell));
	if (IsA(statement, RenameStmt) &&
		((RenameStmt *) statement)->renameType == OBJECT_SCHEMA)
		tell_schema_renamed((RenameStmt *) statement);
}

/*
 * touched_relations lists the relations that the command itself may have changed: those that
 * have been touched and are locked by us. Where that is not known, all that have or had guards.
 */
static List *
touched_relations(const Command *command, Snapshot then)
{
	List *all = NIL;
	List *ours = NIL;
	ListCell *cell;

	for (int i = 0; i < command->ntouched; i++)
		all = lappend_oid(all, command->touched[i]);
	if (command->any)
	{
		foreach (cell, payguard_guard_triggers_at(then))
			all = lappend_oid(all, ((GuardTrigger *) lfirst(cell))->relation);
		foreach (cell, payguard_guard_triggers())
			all = lappend_oid(all, ((GuardTrigger *) lfirst(cell))->relation);
	}
	list_sort(all, list_oid_cmp);
	list_deduplicate_oid(all);
	foreach (cell, all)
		if (payguard_command_holds(lfirst_oid(cell), ShareUpdateExclusiveLock))
			ours = lappend_oid(ours, lfirst_oid(cell));
	return ours;
}

/*
 * judge looks at what the command has done to one table's guards.
 */
static void
judge(Touched *touched, const Command *command, Snapshot then)
{
	const Settled *settled = payguard_command_settled(command, touched->relation);
	ListCell *cell;
	ListCell *other;

	if (!payguard_command_holds(touched->relation, ShareRowExclusiveLock))
		return;
	touched->put_on = settled && settled->guarded;
	if (touched->put_on && touched->is == NIL)
		payguard_guard_refuse(
			"A table would lose the guard that was put on it meanwhile.");
	foreach (cell, touched->was)
	{
		const GuardTrigger *was = lfirst(cell);
		const GuardTrigger *is = NULL;

		foreach (other, touched->is)
			if (((GuardTrigger *) lfirst(other))->trigger == was->trigger)
				is = lfirst(other);
		if (is)
			touched->kept = lappend(touched->kept, check_kept(was, is, then));
		else if (settled == NULL)
		{
			check_lost(was, command);
			touched->lost = lappend(touched->lost, unconstify(GuardTrigger *, was));
		}
	}
	if (touched->was == NIL && touched->is && !touched->put_on &&
		is_added(linitial(touched->is), then))
	{
		check_added(linitial(touched->is));
		touched->added = true;
	}
}

static void
check_lost(const GuardTrigger *was, const Command *command)
{
	if (get_rel_name(was->relation) == NULL)
	{
		if (!list_member_oid(command->dropped, was->relation))
			payguard_guard_refuse(
				psprintf("The guarded table \"%s\" would be dropped.", was->table));
	}
	/* a partition that was detached: its rows would leave the guard */
	else if (!OidIsValid(was->parent) ||
			 !payguard_guard_may_all_go(was->relation, was->settings))
		payguard_guard_refuse(psprintf("Table \"%s\" would lose its guard.", was->table));
}

static Kept *
check_kept(const GuardTrigger *was, const GuardTrigger *is, Snapshot then)
{
	Kept *kept = palloc0(sizeof(Kept));
	TupleDesc desc = payguard_guard_desc(was->relation, then);
	const char *problem;
	Guard *guard = payguard_guard_parse(was->settings, desc, &problem);

	kept->was = was;
	kept->is = is;
	for (int i = 0; guard && i < guard->columns.n; i++)
	{
		Form_pg_attribute then_column =
			TupleDescAttr(desc, guard->columns.columns[i] - 1);
		HeapTuple tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(is->relation),
										  Int16GetDatum(then_column->attnum));
		Form_pg_attribute column;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "payguard: column %d of relation %u is missing",
				 then_column->attnum, is->relation);
		column = (Form_pg_attribute) GETSTRUCT(tuple);
		if (column->attisdropped)
			payguard_guard_refuse(psprintf("The guard on \"%s\" needs column \"%s\".",
										   is->table, NameStr(then_column->attname)));
		if (!keeps_values(then_column, column->atttypid, column->atttypmod))
			payguard_guard_refuse(
				psprintf("The guard on \"%s\" does not let column \"%s\" "
						 "change its type like this.",
						 is->table, NameStr(then_column->attname)));
		if (strcmp(NameStr(column->attname), NameStr(then_column->attname)) != 0)
		{
			kept->from = lappend(kept->from, pstrdup(NameStr(then_column->attname)));
			kept->to = lappend(kept->to, pstrdup(NameStr(column->attname)));
		}
		ReleaseSysCache(tuple);
	}
	if (strcmp(was->settings, is->settings) != 0)
	{
		/* a command inside of this one may have renamed, and been followed */
		if (kept->from == NIL ||
			strcmp(rename_in(was->settings, kept->from, kept->to), is->settings) != 0)
			payguard_guard_refuse(
				psprintf("Table \"%s\" would have another guard.", was->table));
		kept->from = kept->to = NIL;
	}
	return kept;
}

/*
 * keeps_values tells whether a change of type without USING leaves the values as they
 * were.
 */
static bool
keeps_values(Form_pg_attribute was, Oid type, int32 typmod)
{
	Oid a = getBaseType(was->atttypid);
	Oid b = getBaseType(type);

	if (was->atttypid == type && was->atttypmod == typmod)
		return true;
	return ((a == TEXTOID || a == VARCHAROID) && (b == TEXTOID || b == VARCHAROID)) ||
		   ((a == INT2OID || a == INT4OID || a == INT8OID) &&
			(b == INT2OID || b == INT4OID || b == INT8OID));
}

/*
 * is_added tells whether a table that has got a guard has become a partition, or one of another
 * table: its rows get into a guarded table.
 */
static bool
is_added(const GuardTrigger *is, Snapshot then)
{
	return OidIsValid(is->parent) &&
		   !equal(ancestors(is->relation, then), ancestors(is->relation, NULL));
}

/*
 * ancestors lists the tables above a partition, from below.
 */
static List *
ancestors(Oid relation, Snapshot at)
{
	List *list = NIL;

	while (OidIsValid(relation = payguard_guard_parent(relation, at)))
		list = lappend_oid(list, relation);
	return list;
}

/*
 * check_added looks at the guard of a partition that has just been made or attached.
 */
static void
check_added(const GuardTrigger *is)
{
	if (get_rel_relkind(is->relation) == RELKIND_FOREIGN_TABLE)
		payguard_guard_refuse(
			psprintf("\"%s\" is a foreign table, which others may write to elsewhere.",
					 is->table));
	if (!payguard_guard_may_all_go(is->relation, NULL))
		payguard_guard_refuse(
			psprintf("The rows of \"%s\" would get into a guarded table "
					 "unseen.",
					 is->table));
}

/*
 * follow makes the guards fit what the command has done.
 */
static void
follow(const Touched *touched)
{
	ListCell *cell;

	foreach (cell, touched->kept)
	{
		const Kept *kept = lfirst(cell);

		if (kept->from)
			rename_columns(kept->is, kept->from, kept->to);
	}
	if (touched->added && payguard_guard_trigger_of(touched->relation, true) == NULL)
		payguard_guard_cover_truncate(touched->relation);
	if (touched->lost && touched->is == NIL)
		uncover_truncate(touched->relation);
	CommandCounterIncrement();
}

/*
 * uncover_truncate takes the trigger for TRUNCATE off a partition that was detached: it is guarded no more, and
 * PostgreSQL has taken off the trigger for rows alone.
 */
static void
uncover_truncate(Oid relation)
{
	ListCell *cell;

	foreach (cell, payguard_guard_triggers_of(relation, true, NULL))
	{
		ObjectAddress address;

		ObjectAddressSet(address, TriggerRelationId,
						 ((GuardTrigger *) lfirst(cell))->trigger);
		performDeletion(&address, DROP_RESTRICT, 0);
	}
}

/*
 * rename_columns makes the trigger anew, with the columns' new names in its argument. Those of
 * partitions go with it.
 */
static void
rename_columns(const GuardTrigger *now, List *from, List *to)
{
	if (!OidIsValid(now->parent))
		payguard_guard_remake(now->relation, now->name,
							  rename_in(now->settings, from, to));
}

/*
 * rename_in writes new names of columns into a guard's settings.
 */
static char *
rename_in(const char *settings, List *from, List *to)
{
	Jsonb *json =
		DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(settings)));
	JsonbIterator *iterator = JsonbIteratorInit(&json->root);
	JsonBuilder builder = {0};
	JsonbIteratorToken token;
	JsonbValue value;
	bool of_columns = false;
	int depth = 0;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
	{
		ListCell *old;
		ListCell *new;

		if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY)
			depth++;
		else if (token == WJB_END_OBJECT || token == WJB_END_ARRAY)
			depth--;
		else if (token == WJB_KEY && depth == 1)
		{
			char *key = pnstrdup(value.val.string.val, value.val.string.len);

			of_columns =
				strcmp(key, "status_column") == 0 || strcmp(key, "version_column") == 0 ||
				strcmp(key, "order_id_column") == 0 ||
				strcmp(key, "amount_column") == 0 ||
				strcmp(key, "currency_column") == 0 ||
				strcmp(key, "immutable_columns") == 0 || strcmp(key, "once") == 0;
		}
		else if (of_columns && value.type == jbvString)
			forboth(old, from, new, to)
			{
				if (strlen(lfirst(old)) != (size_t) value.val.string.len ||
					memcmp(lfirst(old), value.val.string.val, value.val.string.len) != 0)
					continue;
				value.val.string.val = lfirst(new);
				value.val.string.len = strlen(lfirst(new));
				break;
			}
		payguard_push_json(
			&builder, token,
			token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM ? &value : NULL);
	}
	json = JsonbValueToJsonb(builder.result);
	return JsonbToCString(NULL, &json->root, VARSIZE(json));
}

/*
 * check_problems refuses a command after which something is wrong with a guard that was not
 * wrong before. What a dump makes first of a guard was no guard before.
 */
static void
check_problems(const Touched *touched, Snapshot then)
{
	/* guard_table() leaves the index to its caller where it is told so */
	List *known = touched->put_on ? list_make1(GUARD_LACKS_INDEX) : NIL;
	ListCell *cell;
	ListCell *problem;

	if (touched->was == NIL && !touched->put_on && !touched->added)
		return;
	foreach (cell, payguard_guard_triggers_of(touched->relation, false, NULL))
	{
		List *problems = payguard_guard_find_problems(lfirst(cell), NULL);
		ListCell *was;

		if (problems == NIL)
			continue;
		foreach (was, touched->was)
			known = list_concat(known, payguard_guard_find_problems(lfirst(was), then));
		foreach (problem, problems)
			if (!payguard_list_has(known, lfirst(problem)))
				payguard_guard_refuse_broken(lfirst(cell), lfirst(problem));
	}
}

/*
 * tell writes what has become of the guards. From here on a user's code may run.
 */
static void
tell(const Touched *touched)
{
	ListCell *cell;

	foreach (cell, touched->kept)
	{
		const Kept *kept = lfirst(cell);

		if (!OidIsValid(kept->is->parent) &&
			(kept->from || strcmp(kept->was->table, kept->is->table) != 0 ||
			 strcmp(kept->was->schema, kept->is->schema) != 0))
			tell_renamed(kept->was->schema, kept->was->table, kept->is,
						 kept->from ? linitial(kept->from) : NULL,
						 kept->to ? linitial(kept->to) : NULL);
	}
	foreach (cell, touched->lost)
	{
		const GuardTrigger *was = lfirst(cell);

		if (OidIsValid(was->parent))
			continue;
		payguard_command_settles(was->relation, false);
		payguard_guard_event("guard.removed", was->schema, was->table, NULL);
	}
}

/*
 * tell_renamed writes an event where a guarded table or a column of its guard (or NULL) has got
 * another name.
 */
static void
tell_renamed(const char *schema, const char *table, const GuardTrigger *is,
			 const char *from, const char *to)
{
	payguard_guard_event("guard.renamed", is->schema, is->table,
						 payguard_json("was_schema", 's', schema, "was_table", 's', table,
									   "was_column", 's', from, "column", 's', to, NULL));
}

/*
 * tell_schema_renamed writes an event for each guarded table of a schema, of which no table is
 * locked.
 */
static void
tell_schema_renamed(const RenameStmt *statement)
{
	ListCell *cell;

	foreach (cell, payguard_guard_triggers())
	{
		const GuardTrigger *guard = lfirst(cell);

		if (!OidIsValid(guard->parent) && strcmp(guard->schema, statement->newname) == 0)
			tell_renamed(statement->subname, guard->table, guard, NULL, NULL);
	}
}

/*
 * check_label refuses another name for an enum's label that a guard names, on whichever table:
 * no table is locked.
 */
static void
check_label(const AlterEnumStmt *statement)
{
	Oid type;
	StringInfoData label;
	ListCell *cell;

	if (statement->oldVal == NULL)
		return;
	type = LookupTypeNameOid(NULL, makeTypeNameFromNameList(statement->typeName), true);
	initStringInfo(&label);
	escape_json(&label, statement->oldVal);
	foreach (cell, payguard_guard_triggers())
	{
		const GuardTrigger *guard = lfirst(cell);
		TupleDesc desc = payguard_guard_desc(guard->relation, NULL);
		const char *problem;

		if (desc == NULL || strstr(guard->settings, label.data) == NULL ||
			payguard_guard_parse(guard->settings, desc, &problem))
			continue;
		for (int i = 0; i < desc->natts; i++)
			if (!TupleDescAttr(desc, i)->attisdropped &&
				getBaseType(TupleDescAttr(desc, i)->atttypid) == type)
				payguard_guard_refuse_broken(
					guard, psprintf("has a guard that does not fit it: %s", problem));
	}
}
