/*
 * protect.c
 *		payguard's own tables are changed by payguard's functions alone.
 *
 * A BEFORE STATEMENT trigger, ENABLE ALWAYS, refuses every UPDATE, DELETE and TRUNCATE but the
 * one that the store announces; event triggers refuse DDL that would take the guard away. Both
 * hold for the owner and for superusers, who have a way out: payguard.allow_unsafe_ddl.
 * The statement-level trigger does not hinder logical replication's apply, which fires row
 * triggers only.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "base/text.h"
#include "store/plan.h"
#include "guard/command.h"
#include "guard/follow.h"
#include "guard/own.h"
#include "guard/owner.h"
#include "guard/protect.h"
#include "guard/statement.h"
#include "guard/trigger.h"

bool payguard_allow_unsafe_ddl = false;

static bool is_off(void);
static bool may_break_a_guard(Node *statement);
static void check_own(const Command *command);
static bool touches_own(const Command *command, Snapshot then);
static List *broken_objects(Snapshot at);

PG_FUNCTION_INFO_V1(payguard_check_ddl_start);

/*
 * check_ddl_start() is the event trigger function for ddl_command_start: it judges the
 * commands that it can refuse only before they run.
 */
Datum
payguard_check_ddl_start(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("check_ddl_start() was not called as an event trigger")));
	trigger = (EventTriggerData *) fcinfo->context;
	if (is_off())
		PG_RETURN_NULL();
	if (may_break_a_guard(trigger->parsetree))
		payguard_command_begin(trigger->parsetree);
	payguard_guard_ddl_start(trigger->parsetree);
	payguard_check_statement(trigger->parsetree);
	PG_RETURN_NULL();
}

PG_FUNCTION_INFO_V1(payguard_check_ddl_end);

/*
 * check_ddl_end() is the event trigger function for ddl_command_end: whatever the command was,
 * nothing that protects may be broken that was whole before. payguard.broken_objects() says what
 * that means of our own; verify() uses it too.
 */
Datum
payguard_check_ddl_end(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger;
	Command *command;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("check_ddl_end() was not called as an event trigger")));
	trigger = (EventTriggerData *) fcinfo->context;
	if (is_off())
		PG_RETURN_NULL();
	payguard_guard_check_made(trigger->parsetree);
	if (!may_break_a_guard(trigger->parsetree))
		PG_RETURN_NULL();
	command = payguard_command_end(trigger->parsetree);
	check_own(command);
	payguard_guard_ddl_end(command);
	PG_RETURN_NULL();
}

/*
 * is_off tells whether DDL is not judged: a superuser said so, the extension is being made, or
 * pg_upgrade puts it together piece by piece.
 */
static bool
is_off(void)
{
	return payguard_allow_unsafe_ddl || creating_extension || IsBinaryUpgrade;
}

/*
 * may_break_a_guard leaves out the most frequent DDL that cannot, what has no ddl_command_end, and
 * what commits in between, which is judged at its start.
 */
static bool
may_break_a_guard(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreateStmt:
		case T_CreateForeignTableStmt:
			return ((CreateStmt *) statement)->inhRelations != NIL;
		case T_CreateSchemaStmt:
			return ((CreateSchemaStmt *) statement)->schemaElts != NIL;
		case T_DropStmt:
			return !((DropStmt *) statement)->concurrent;
		case T_CreateFunctionStmt:
		case T_AlterFunctionStmt:
		case T_AlterSeqStmt:
		case T_CreateTableAsStmt:
		case T_ViewStmt:
		case T_DefineStmt:
			return false;
		default:
			return true;
	}
}

/*
 * check_own refuses a command after which something of ours is broken that was whole when it
 * began. What it has not touched it has not broken; the script of another extension may have
 * done anything.
 */
static void
check_own(const Command *command)
{
	Snapshot then = payguard_command_look_back(command);
	ListCell *cell;

	if (touches_own(command, then))
	{
		List *now = broken_objects(NULL);
		List *known = now ? broken_objects(then) : NIL;

		foreach (cell, now)
			if (!payguard_list_has(known, lfirst(cell)))
				payguard_refuse_broken(lfirst(cell));
	}
	UnregisterSnapshot(then);
}

static bool
touches_own(const Command *command, Snapshot then)
{
	if (command->any || IsA(command->statement, AlterExtensionStmt) ||
		IsA(command->statement, AlterExtensionContentsStmt))
		return true;
	for (int i = 0; i < command->ntouched; i++)
	{
		GuardTrigger touched = {.relation = command->touched[i]};

		if (!payguard_command_holds(touched.relation, ShareUpdateExclusiveLock))
			continue;
		if (payguard_own_is_relation(touched.relation))
			return true;
		if (get_rel_relkind(touched.relation) == '\0' &&
			payguard_guard_read_relation(&touched, then) &&
			touched.namespace == get_namespace_oid(PAYGUARD_SCHEMA, true))
			return true;
	}
	return false;
}

/*
 * broken_objects returns the lines of the SQL function of that name, as of a snapshot or of now.
 * It locks no table: the definitions of indexes are not compared. Scripts of older versions have
 * broken_guards() alone, which finds no definition of an index that is gone: what it says of
 * one that held then is not believed.
 */
static List *
broken_objects(Snapshot at)
{
	static const char *const older =
		"SELECT pg_catalog.concat(g.guard, ' ', g.problem)"
		" FROM payguard.broken_guards() g WHERE NOT EXISTS ("
		" SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_index i"
		" ON i.indexrelid " OP_EQ " c.oid"
		" WHERE c.relnamespace " OP_EQ " 'payguard'::pg_catalog.regnamespace"
		" AND g.guard " OP_EQ " pg_catalog.concat('index ', c.relname)"
		" AND i.indisvalid AND i.indisready AND i.indislive AND i.indisunique)";
	MemoryContext caller = CurrentMemoryContext;
	Identity identity = payguard_as_owner();
	const char *sql = "SELECT pg_catalog.concat(guard, ' ', problem) "
					  "FROM payguard.broken_objects()";
	List *lines = NIL;

	if (!payguard_own_has_function("broken_objects"))
		sql = at ? older
				 : "SELECT pg_catalog.concat(guard, ' ', problem) "
				   "FROM payguard.broken_guards()";
	PushActiveSnapshot(at ? at : GetLatestSnapshot());
	SPI_connect();
	if (SPI_execute(sql, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "payguard: cannot read broken_objects()");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char *line = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext spi = MemoryContextSwitchTo(caller);

		lines = lappend(lines, pstrdup(line));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	PopActiveSnapshot();
	payguard_as_before(identity);
	return lines;
}
