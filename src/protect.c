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

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_func.h"
#include "parser/parse_type.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "payguard.h"

bool payguard_allow_unsafe_ddl = false;

/*
 * How many guards were broken when the client's running statement began. DDL can run inside
 * of DDL, by a column's default for example: the first one counts.
 */
static struct
{
	TimestampTz transaction;
	TimestampTz statement;
	int broken;
} before = {0, 0, 0};

static void check_statement(Node *statement);
static void check_alter_table(const AlterTableStmt *statement);
static bool alter_is_harmless(AlterTableType subtype);
static void check_rename(const RenameStmt *statement);
static void check_drop(const DropStmt *statement);
static void check_drop_owned(const DropOwnedStmt *statement);
static void refuse_drop_with_orders(void);
static bool may_break_a_guard(Node *statement);
static bool is_before_known(void);
static int count_broken_guards(char **first);
static bool is_own_relation(Oid relation);
static bool is_own_range(const RangeVar *range);
static bool is_own_object(Node *object, ObjectType type);
static void refuse_ddl(const char *detail) pg_attribute_noreturn();

PG_FUNCTION_INFO_V1(payguard_deny_direct_write);

/*
 * deny_direct_write() is the trigger function of
 *
 *	CREATE TRIGGER payguard_protect BEFORE UPDATE OR DELETE OR TRUNCATE ON payguard.orders
 *	FOR EACH STATEMENT EXECUTE FUNCTION payguard.deny_direct_write();
 *	ALTER TABLE payguard.orders ENABLE ALWAYS TRIGGER payguard_protect;
 */
Datum
payguard_deny_direct_write(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	CmdType operation = CMD_UNKNOWN; /* TRUNCATE: never the store's */
	const char *verb = "TRUNCATE";
	const char *relation;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("deny_direct_write() was not called as a trigger")));
	if (!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("deny_direct_write() must be fired before a statement")));
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
	{
		operation = CMD_UPDATE;
		verb = "UPDATE";
	}
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
	{
		operation = CMD_DELETE;
		verb = "DELETE";
	}
	else if (!TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("deny_direct_write() must not be fired by an insert")));

	relation = RelationGetRelationName(trigger->tg_relation);
	if (is_own_relation(RelationGetRelid(trigger->tg_relation)) &&
		payguard_store_expects(relation, operation))
		return PointerGetDatum(NULL);

	{
		Refusal refusal;

		payguard_refuse(&refusal, ERR_DIRECT_WRITE,
						psprintf("%s on table \"%s\" is forbidden", verb, relation),
						"payguard's tables are changed by payguard's functions alone. "
						"Nothing has been written.",
						"Use payguard's functions; doc/reference.md lists them.");
		payguard_raise(&refusal);
	}
}

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
	if (payguard_allow_unsafe_ddl || creating_extension)
		PG_RETURN_NULL();
	check_statement(trigger->parsetree);
	if (may_break_a_guard(trigger->parsetree) && !is_before_known())
	{
		before.broken = count_broken_guards(NULL);
		before.transaction = GetCurrentTransactionStartTimestamp();
		before.statement = GetCurrentStatementStartTimestamp();
	}
	PG_RETURN_NULL();
}

PG_FUNCTION_INFO_V1(payguard_check_ddl_end);

/*
 * check_ddl_end() is the event trigger function for ddl_command_end: whatever the command was,
 * no more guards may be broken than before. payguard.broken_guards() says what that means;
 * verify() uses it too.
 */
Datum
payguard_check_ddl_end(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger;
	char *first;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("check_ddl_end() was not called as an event trigger")));
	trigger = (EventTriggerData *) fcinfo->context;
	if (payguard_allow_unsafe_ddl || creating_extension ||
		!may_break_a_guard(trigger->parsetree))
		PG_RETURN_NULL();
	if (count_broken_guards(&first) > (is_before_known() ? before.broken : 0))
		refuse_ddl(psprintf("Broken: %s.", first));
	PG_RETURN_NULL();
}

/*
 * check_statement refuses what must not even begin.
 */
static void
check_statement(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_AlterTableStmt:
			check_alter_table((AlterTableStmt *) statement);
			break;
		case T_RenameStmt:
			check_rename((RenameStmt *) statement);
			break;
		case T_AlterObjectSchemaStmt:
		{
			AlterObjectSchemaStmt *alter = (AlterObjectSchemaStmt *) statement;

			if (is_own_range(alter->relation) ||
				is_own_object(alter->object, alter->objectType))
				refuse_ddl("Objects of payguard stay in its schema.");
			break;
		}
		case T_AlterOwnerStmt:
		{
			AlterOwnerStmt *alter = (AlterOwnerStmt *) statement;

			if (alter->objectType == OBJECT_SCHEMA
					? strcmp(strVal(alter->object), PAYGUARD_SCHEMA) == 0
					: is_own_range(alter->relation) ||
						  is_own_object(alter->object, alter->objectType))
				refuse_ddl("Objects of payguard keep their owner.");
			break;
		}
		case T_AlterSeqStmt:
			if (is_own_range(((AlterSeqStmt *) statement)->sequence))
				refuse_ddl("The ids of events must ascend.");
			break;
		case T_CreateFunctionStmt:
		{
			char *name;

			if (QualifiedNameGetCreationNamespace(
					((CreateFunctionStmt *) statement)->funcname, &name) ==
				get_namespace_oid(PAYGUARD_SCHEMA, true))
				refuse_ddl("Functions in schema \"payguard\" belong to payguard.");
			break;
		}
		case T_AlterFunctionStmt:
			if (is_own_object((Node *) ((AlterFunctionStmt *) statement)->func,
							  OBJECT_FUNCTION))
				refuse_ddl("payguard's functions must not be altered.");
			break;
		case T_AlterExtensionContentsStmt:
			if (strcmp(((AlterExtensionContentsStmt *) statement)->extname, "payguard") ==
				0)
				refuse_ddl("Objects must not leave or join the extension.");
			break;
		case T_DropStmt:
			check_drop((DropStmt *) statement);
			break;
		case T_DropOwnedStmt:
			check_drop_owned((DropOwnedStmt *) statement);
			break;
		default:
			break;
	}
}

static void
check_alter_table(const AlterTableStmt *statement)
{
	ListCell *cell;

	if (!is_own_range(statement->relation))
		return;
	foreach (cell, statement->cmds)
		if (!alter_is_harmless(lfirst_node(AlterTableCmd, cell)->subtype))
			refuse_ddl(psprintf("\"%s\" belongs to payguard; only its storage, statistics "
								"and autovacuum settings may be altered.",
								statement->relation->relname));
}

/*
 * alter_is_harmless lists what a DBA may do to an own table or index. (Triggers: whether the
 * guard's is still on is judged afterwards.)
 */
static bool
alter_is_harmless(AlterTableType subtype)
{
	switch (subtype)
	{
		case AT_SetStatistics:
		case AT_SetOptions:
		case AT_ResetOptions:
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_SetStorage:
		case AT_SetCompression:
		case AT_SetTableSpace:
		case AT_SetLogged:
		case AT_ClusterOn:
		case AT_DropCluster:
		case AT_ReplicaIdentity:
		case AT_EnableTrig:
		case AT_EnableAlwaysTrig:
		case AT_EnableReplicaTrig:
		case AT_DisableTrig:
		case AT_EnableTrigAll:
		case AT_DisableTrigAll:
		case AT_EnableTrigUser:
		case AT_DisableTrigUser:
		case AT_EnableRowSecurity:
		case AT_DisableRowSecurity:
		case AT_NoForceRowSecurity:
			return true;
		default:
			return false;
	}
}

static void
check_rename(const RenameStmt *statement)
{
	if (statement->renameType == OBJECT_SCHEMA)
	{
		if (strcmp(statement->subname, PAYGUARD_SCHEMA) == 0)
			refuse_ddl("The schema \"payguard\" keeps its name.");
	}
	else if (is_own_range(statement->relation))
		refuse_ddl(psprintf("\"%s\" belongs to payguard.", statement->relation->relname));
	else if (statement->object && is_own_object(statement->object, statement->renameType))
		refuse_ddl("payguard's functions and types keep their names.");
}

static void
check_drop(const DropStmt *statement)
{
	ListCell *cell;

	if (statement->removeType != OBJECT_EXTENSION)
		return;
	foreach (cell, statement->objects)
		if (strcmp(strVal(lfirst(cell)), "payguard") == 0)
			refuse_drop_with_orders();
}

/*
 * check_drop_owned: DROP OWNED BY the extension's owner would drop the extension.
 */
static void
check_drop_owned(const DropOwnedStmt *statement)
{
	Oid owner = InvalidOid;
	ListCell *cell;
	HeapTuple tuple = SearchSysCache1(
		NAMESPACEOID, ObjectIdGetDatum(get_namespace_oid(PAYGUARD_SCHEMA, false)));

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
		ReleaseSysCache(tuple);
	}
	foreach (cell, statement->roles)
		if (get_rolespec_oid(lfirst_node(RoleSpec, cell), true) == owner)
			refuse_drop_with_orders();
}

static void
refuse_drop_with_orders(void)
{
	bool any;

	SPI_connect();
	if (SPI_execute("SELECT FROM payguard.orders LIMIT 1", false, 1) != SPI_OK_SELECT)
		elog(ERROR, "payguard: cannot read orders");
	any = SPI_processed > 0;
	SPI_finish();
	if (any)
		refuse_ddl("There are orders, and with the extension they would be dropped.");
}

/*
 * may_break_a_guard leaves out the most frequent DDL that cannot.
 */
static bool
may_break_a_guard(Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_CreateStmt:
			return ((CreateStmt *) statement)->inhRelations != NIL;
		case T_CreateTrigStmt:
			return is_own_range(((CreateTrigStmt *) statement)->relation);
		case T_CreateFunctionStmt:
		case T_AlterFunctionStmt:
			return false;
		default:
			return true;
	}
}

static bool
is_before_known(void)
{
	return before.transaction == GetCurrentTransactionStartTimestamp() &&
		   before.statement == GetCurrentStatementStartTimestamp();
}

static int
count_broken_guards(char **first)
{
	MemoryContext caller = CurrentMemoryContext;
	int n;

	SPI_connect();
	if (SPI_execute("SELECT pg_catalog.concat(guard, ' ', problem) "
					"FROM payguard.broken_guards()",
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "payguard: cannot read broken_guards()");
	n = (int) SPI_processed;
	if (first && n > 0)
		*first = MemoryContextStrdup(
			caller, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	SPI_finish();
	return n;
}

static bool
is_own_relation(Oid relation)
{
	return OidIsValid(relation) &&
		   get_rel_namespace(relation) == get_namespace_oid(PAYGUARD_SCHEMA, true);
}

static bool
is_own_range(const RangeVar *range)
{
	return range != NULL && is_own_relation(RangeVarGetRelid(range, NoLock, true));
}

/*
 * is_own_object tells whether a function or type that is named in a statement is in
 * payguard's schema.
 */
static bool
is_own_object(Node *object, ObjectType type)
{
	Oid own = get_namespace_oid(PAYGUARD_SCHEMA, true);
	Oid oid;

	switch (type)
	{
		case OBJECT_FUNCTION:
		case OBJECT_PROCEDURE:
		case OBJECT_ROUTINE:
		case OBJECT_AGGREGATE:
			oid = LookupFuncWithArgs(type, castNode(ObjectWithArgs, object), true);
			return OidIsValid(oid) && get_func_namespace(oid) == own;
		case OBJECT_TYPE:
		case OBJECT_DOMAIN:
		{
			List *names =
				IsA(object, TypeName) ? castNode(TypeName, object)->names : (List *) object;
			Type tuple = LookupTypeName(NULL, makeTypeNameFromNameList(names), NULL, true);
			bool found = false;

			if (tuple)
			{
				found = ((Form_pg_type) GETSTRUCT(tuple))->typnamespace == own;
				ReleaseSysCache(tuple);
			}
			return found;
		}
		default:
			return false;
	}
}

/*
 * refuse_ddl raises PY902; detail: a sentence.
 */
static void
refuse_ddl(const char *detail)
{
	Refusal refusal;

	payguard_refuse(&refusal, ERR_UNSAFE_DDL,
					"this command would take away payguard's protection", detail,
					"A superuser who knows the consequences can set "
					"payguard.allow_unsafe_ddl = on in the session.");
	payguard_raise(&refusal);
}
