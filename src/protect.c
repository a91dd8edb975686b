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
#include "catalog/pg_extension.h"
#include "catalog/pg_index.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "commands/extension.h"
#include "commands/proclang.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parse_func.h"
#include "parser/parse_type.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "guard.h"
#include "payguard.h"

bool payguard_allow_unsafe_ddl = false;

#define NOT_HERE "Only payguard's objects are in schema \"payguard\"."

/*
 * The guards that were broken when the client's running statement began: their lines of
 * broken_guards(), in TopMemoryContext. DDL can run inside of DDL, by a column's default for
 * example, and a client can send several commands at once: a later command keeps only those
 * that are still broken, so that the list shrinks and never grows.
 */
static struct
{
	TimestampTz transaction;
	TimestampTz statement;
	List *broken;
} before = {0, 0, NIL};

static bool is_off(void);
static void check_statement(Node *statement);
static void check_alter_table(const AlterTableStmt *statement);
static bool alter_is_harmless(AlterTableType subtype);
static void check_rename(const RenameStmt *statement);
static void check_drop(const DropStmt *statement);
static void check_drop_owned(const DropOwnedStmt *statement);
static void refuse_drop_of(const char *objects);
static bool has_orders(void);
static bool may_break_a_guard(Node *statement);
static bool is_before_known(void);
static void remember_before(Node *statement);
static List *broken_guards(void);
static bool is_unique_index(const RangeVar *range);
static bool is_made_here(const RangeVar *range);
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
	if (is_off())
		PG_RETURN_NULL();
	/* the guards first: what follows asks for them */
	payguard_guard_ddl_start(trigger->parsetree);
	check_statement(trigger->parsetree);
	if (may_break_a_guard(trigger->parsetree))
		remember_before(trigger->parsetree);
	PG_RETURN_NULL();
}

PG_FUNCTION_INFO_V1(payguard_check_ddl_end);

/*
 * check_ddl_end() is the event trigger function for ddl_command_end: whatever the command was,
 * no other guards may be broken than before. payguard.broken_guards() says what that means;
 * verify() uses it too.
 */
Datum
payguard_check_ddl_end(PG_FUNCTION_ARGS)
{
	EventTriggerData *trigger;
	List *allowed;
	ListCell *cell;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("check_ddl_end() was not called as an event trigger")));
	trigger = (EventTriggerData *) fcinfo->context;
	if (is_off())
		PG_RETURN_NULL();
	payguard_guard_check_made(trigger->parsetree);
	if (!may_break_a_guard(trigger->parsetree))
		PG_RETURN_NULL();
	payguard_guard_ddl_end(trigger->parsetree);
	allowed = is_before_known() ? before.broken : NIL;
	foreach (cell, broken_guards())
		if (!payguard_list_has(allowed, lfirst(cell)) &&
			!payguard_guard_is_anothers(lfirst(cell), trigger->parsetree))
			refuse_ddl(psprintf("Broken: %s.", (char *) lfirst(cell)));
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
			if (alter->newschema && strcmp(alter->newschema, PAYGUARD_SCHEMA) == 0)
				refuse_ddl(NOT_HERE);
			break;
		}
		case T_AlterObjectDependsStmt:
		{
			AlterObjectDependsStmt *alter = (AlterObjectDependsStmt *) statement;

			if (!alter->remove && (is_own_range(alter->relation) ||
								   is_own_object(alter->object, alter->objectType)))
				refuse_ddl("Objects of payguard do not go with another extension.");
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
		case T_DefineStmt:
		{
			char *name;

			if (QualifiedNameGetCreationNamespace(((DefineStmt *) statement)->defnames,
												  &name) ==
				get_namespace_oid(PAYGUARD_SCHEMA, true))
				refuse_ddl(NOT_HERE);
			break;
		}
		case T_CreateStmt:
		case T_CreateForeignTableStmt:
			if (is_made_here(((CreateStmt *) statement)->relation))
				refuse_ddl(NOT_HERE);
			break;
		case T_ViewStmt:
			if (is_made_here(((ViewStmt *) statement)->view))
				refuse_ddl(NOT_HERE);
			break;
		case T_CreateTableAsStmt:
			if (is_made_here(((CreateTableAsStmt *) statement)->into->rel))
				refuse_ddl(NOT_HERE);
			break;
		case T_AlterFunctionStmt:
			if (is_own_object((Node *) ((AlterFunctionStmt *) statement)->func,
							  ((AlterFunctionStmt *) statement)->objtype))
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
	StringInfoData objects;
	ListCell *cell;

	/* this one commits in between: it cannot be judged at its end */
	if (statement->removeType == OBJECT_INDEX && statement->concurrent)
	{
		foreach (cell, statement->objects)
			if (is_unique_index(makeRangeVarFromNameList(lfirst_node(List, cell))))
				refuse_ddl("A unique index of payguard's tables and of guarded ones is "
					"not dropped concurrently.");
		return;
	}
	initStringInfo(&objects);
	foreach (cell, statement->objects)
	{
		Node *object = lfirst(cell);

		switch (statement->removeType)
		{
			case OBJECT_EXTENSION:
				appendStringInfo(&objects, ", (%u, %u)", ExtensionRelationId,
								 get_extension_oid(strVal(object), true));
				break;
			case OBJECT_LANGUAGE:
				appendStringInfo(&objects, ", (%u, %u)", LanguageRelationId,
								 get_language_oid(strVal(object), true));
				break;
			case OBJECT_SCHEMA:
				appendStringInfo(&objects, ", (%u, %u)", NamespaceRelationId,
								 get_namespace_oid(strVal(object), true));
				break;
			case OBJECT_TABLE:
				appendStringInfo(
					&objects, ", (%u, %u)", RelationRelationId,
					RangeVarGetRelid(makeRangeVarFromNameList(castNode(List, object)),
									 NoLock, true));
				break;
			case OBJECT_TYPE:
				appendStringInfo(
					&objects, ", (%u, %u)", TypeRelationId,
					LookupTypeNameOid(NULL, castNode(TypeName, object), true));
				break;
			default:
				return;
		}
	}
	if (objects.len > 0)
		refuse_drop_of(psprintf("VALUES %s", objects.data + 2));
}

static void
check_drop_owned(const DropOwnedStmt *statement)
{
	StringInfoData roles;
	ListCell *cell;

	initStringInfo(&roles);
	foreach (cell, statement->roles)
		appendStringInfo(&roles, ", %u",
						 get_rolespec_oid(lfirst_node(RoleSpec, cell), true));
	refuse_drop_of(psprintf("SELECT classid, objid FROM pg_catalog.pg_shdepend "
							"WHERE refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass AND "
							"deptype OPERATOR(pg_catalog.=) 'o' AND "
							"refobjid OPERATOR(pg_catalog.=) ANY (ARRAY[%s]::pg_catalog.oid[]) AND "
							"dbid OPERATOR(pg_catalog.=) %u::pg_catalog.oid "
							/* what the first superuser owns is not in pg_shdepend */
							"UNION ALL SELECT %u, oid FROM pg_catalog.pg_extension "
							"WHERE extowner OPERATOR(pg_catalog.=) ANY (ARRAY[%s]::pg_catalog.oid[])",
							roles.data + 2, MyDatabaseId, ExtensionRelationId,
							roles.data + 2));
}

/*
 * refuse_drop_of raises PY902 where the extension would go with these objects, and orders
 * with it, or a guarded table that has rows. objects: a query of their classes and ids.
 * What hangs on them is followed as DROP does, and from a member to its extension;
 * whether the command says CASCADE does not matter, because without it the command fails
 * where anything hangs on the objects.
 */
static void
refuse_drop_of(const char *objects)
{
	MemoryContext caller = CurrentMemoryContext;
	Identity identity = payguard_as_owner();
	bool extension = false;
	List *guarded = NIL;
	ListCell *cell;

	SPI_connect();
	if (SPI_execute(
			psprintf(
				"WITH RECURSIVE gone (class, id) AS ("
				"SELECT o.c::pg_catalog.oid, o.i::pg_catalog.oid FROM (%s) o (c, i) "
				"UNION "
				"SELECT n.class, n.id FROM gone g CROSS JOIN LATERAL ("
				"SELECT d.classid, d.objid FROM pg_catalog.pg_depend d "
				"WHERE d.refclassid OPERATOR(pg_catalog.=) g.class AND d.refobjid "
				"OPERATOR(pg_catalog.=) g.id "
				"UNION ALL SELECT d.refclassid, d.refobjid FROM pg_catalog.pg_depend d "
				"WHERE d.classid OPERATOR(pg_catalog.=) g.class AND d.objid "
				"OPERATOR(pg_catalog.=) g.id "
				"AND d.deptype OPERATOR(pg_catalog.=) ANY "
				"('{e,i}'::pg_catalog.\"char\"[])) n (class, id)) "
				"SELECT 0::pg_catalog.oid FROM gone WHERE class OPERATOR(pg_catalog.=) "
				"%u::pg_catalog.oid AND id OPERATOR(pg_catalog.=) %u::pg_catalog.oid "
				"UNION ALL SELECT t.tgrelid FROM gone JOIN pg_catalog.pg_trigger t ON "
				"t.oid OPERATOR(pg_catalog.=) gone.id "
				"JOIN pg_catalog.pg_proc p ON p.oid OPERATOR(pg_catalog.=) t.tgfoid "
				"WHERE class OPERATOR(pg_catalog.=) %u::pg_catalog.oid AND p.proname "
				"OPERATOR(pg_catalog.=) '%s'::pg_catalog.name "
				"AND p.pronamespace OPERATOR(pg_catalog.=) %u::pg_catalog.oid ORDER BY 1",
				objects, ExtensionRelationId, get_extension_oid("payguard", true),
				TriggerRelationId, GUARD_FUNCTION,
				get_namespace_oid(PAYGUARD_SCHEMA, true)),
			false, 0) != SPI_OK_SELECT)
		elog(ERROR, "payguard: cannot read pg_depend");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		Oid table = DatumGetObjectId(
			SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
		MemoryContext spi = MemoryContextSwitchTo(caller);

		if (OidIsValid(table))
			guarded = list_append_unique_oid(guarded, table);
		else
			extension = true;
		MemoryContextSwitchTo(spi);
	}
	extension = extension && has_orders();
	SPI_finish();
	payguard_as_before(identity);
	if (extension)
		refuse_ddl("There are orders, and with the extension they would be dropped.");
	foreach (cell, guarded)
		payguard_guard_refuse_drop(lfirst_oid(cell));
}

/*
 * has_orders waits for whoever is making one, and sees what is committed by then, in a
 * transaction with an older snapshot too.
 */
static bool
has_orders(void)
{
	LockRelationOid(get_relname_relid("orders", get_namespace_oid(PAYGUARD_SCHEMA, false)),
					ShareLock);
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute(payguard_store_is_empty(&payguard_archived_orders)
						? "SELECT FROM payguard.orders LIMIT 1"
						: "SELECT FROM payguard.every_order LIMIT 1",
					true, 1) != SPI_OK_SELECT)
		elog(ERROR, "payguard: cannot read orders");
	PopActiveSnapshot();
	return SPI_processed > 0;
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
		case T_CreateForeignTableStmt:
			return ((CreateStmt *) statement)->inhRelations != NIL;
		case T_CreateTrigStmt:
		{
			RangeVar *range = ((CreateTrigStmt *) statement)->relation;

			/* a guard's first trigger, in a dump for example, breaks no guard */
			return is_own_range(range) ||
				   payguard_guard_is_guarded(RangeVarGetRelid(range, NoLock, true));
		}
		case T_CreateSchemaStmt:
			return ((CreateSchemaStmt *) statement)->schemaElts != NIL;
		case T_CreateFunctionStmt:
		case T_AlterFunctionStmt:
		case T_CreateTableAsStmt:
		case T_ViewStmt:
		case T_DefineStmt:
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

static void
remember_before(Node *statement)
{
	bool known = is_before_known();
	List *was = before.broken;
	List *kept = NIL;
	List *now = broken_guards();
	ListCell *cell;

	foreach (cell, now)
		if (!known || payguard_list_has(was, lfirst(cell)) ||
			payguard_guard_is_anothers(lfirst(cell), statement))
		{
			MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);

			kept = lappend(kept, pstrdup(lfirst(cell)));
			MemoryContextSwitchTo(caller);
		}
	before.broken = kept;
	before.transaction = GetCurrentTransactionStartTimestamp();
	before.statement = GetCurrentStatementStartTimestamp();
	list_free_deep(was);
}

/*
 * broken_guards returns the lines of the SQL function of that name.
 */
static List *
broken_guards(void)
{
	MemoryContext caller = CurrentMemoryContext;
	Identity identity = payguard_as_owner();
	List *lines = NIL;

	SPI_connect();
	if (SPI_execute("SELECT pg_catalog.concat(guard, ' ', problem) "
					"FROM payguard.broken_guards()",
					false, 0) != SPI_OK_SELECT)
		elog(ERROR, "payguard: cannot read broken_guards()");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char *line = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext spi = MemoryContextSwitchTo(caller);

		lines = lappend(lines, pstrdup(line));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	payguard_as_before(identity);
	return lines;
}

/*
 * payguard_as_owner becomes the owner of payguard's schema, for queries of our own; names
 * in the user's statement are looked up as the user. An error ends it as well.
 */
Identity
payguard_as_owner(void)
{
	Identity identity;
	Oid owner = InvalidOid;
	HeapTuple tuple = SearchSysCache1(
		NAMESPACEOID, ObjectIdGetDatum(get_namespace_oid(PAYGUARD_SCHEMA, false)));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "payguard: cannot read the schema");
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	GetUserIdAndSecContext(&identity.user, &identity.context);
	SetUserIdAndSecContext(owner, identity.context | SECURITY_LOCAL_USERID_CHANGE);
	return identity;
}

void
payguard_as_before(Identity identity)
{
	SetUserIdAndSecContext(identity.user, identity.context);
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

static bool
is_unique_index(const RangeVar *range)
{
	HeapTuple tuple;
	bool unique = false;

	tuple = SearchSysCache1(INDEXRELID,
							ObjectIdGetDatum(RangeVarGetRelid(range, NoLock, true)));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_index index = (Form_pg_index) GETSTRUCT(tuple);

		unique = index->indisunique && (is_own_relation(index->indrelid) ||
										payguard_guard_is_guarded(index->indrelid));
		ReleaseSysCache(tuple);
	}
	return unique;
}

/*
 * is_made_here tells whether a statement makes a relation in payguard's schema.
 */
static bool
is_made_here(const RangeVar *range)
{
	return range->relpersistence != RELPERSISTENCE_TEMP &&
		   RangeVarGetCreationNamespace(range) == get_namespace_oid(PAYGUARD_SCHEMA, true);
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

static void
refuse_ddl(const char *detail)
{
	payguard_refuse_ddl(detail, "A superuser who knows the consequences can set "
								"payguard.allow_unsafe_ddl = on in the session.");
}

/*
 * payguard_refuse_ddl raises PY902; detail and hint: sentences.
 */
void
payguard_refuse_ddl(const char *detail, const char *hint)
{
	Refusal refusal;

	payguard_refuse(&refusal, ERR_UNSAFE_DDL,
					"this command would take away payguard's protection", detail, hint);
	payguard_raise(&refusal);
}
