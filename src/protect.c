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

#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
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
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "command.h"
#include "guard.h"
#include "payguard.h"

bool payguard_allow_unsafe_ddl = false;

#define NOT_HERE "Only payguard's objects are in schema \"payguard\"."

static bool is_off(void);
static void check_statement(Node *statement);
static void check_alter_table(const AlterTableStmt *statement);
static bool alter_is_harmless(AlterTableType subtype);
static void check_rename(const RenameStmt *statement);
static void check_drop(const DropStmt *statement);
static void check_drop_owned(const DropOwnedStmt *statement);
static void refuse_drop_of(List *objects);
static bool has_orders(void);
static bool sees_orders(void);
static bool has_rows(const char *table);
static void check_drop_concurrently(const RangeVar *range);
static bool holds_anything(Form_pg_index index);
static bool is_named_by_us(const char *index);
static bool has_function(const char *name);
static bool may_break_a_guard(Node *statement);
static void check_own(const Command *command);
static bool touches_own(const Command *command, Snapshot then);
static List *broken_objects(Snapshot at);
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
	if (may_break_a_guard(trigger->parsetree))
		payguard_command_begin(trigger->parsetree);
	payguard_guard_ddl_start(trigger->parsetree);
	check_statement(trigger->parsetree);
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
			refuse_ddl(
				psprintf("\"%s\" belongs to payguard; only its storage, statistics "
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

	if (statement->removeType == OBJECT_INDEX && statement->concurrent)
		foreach (cell, statement->objects)
			check_drop_concurrently(makeRangeVarFromNameList(lfirst_node(List, cell)));
	else
		refuse_drop_of(payguard_drop_named(statement));
}

static void
check_drop_owned(const DropOwnedStmt *statement)
{
	refuse_drop_of(payguard_drop_owned(statement));
}

/*
 * refuse_drop_of raises PY902 where the extension would go with these objects, and orders
 * with it, or a guarded table that has rows.
 */
static void
refuse_drop_of(List *objects)
{
	List *guarded;
	ListCell *cell;

	if (objects == NIL)
		return;
	if (payguard_drop_reaches(objects, &guarded) && has_orders())
		refuse_ddl("There are orders, and with the extension they would be dropped.");
	foreach (cell, guarded)
		payguard_guard_refuse_drop(lfirst_oid(cell), guarded);
}

/*
 * has_orders sees what is committed by now, in a transaction with an older snapshot too. Where
 * there is no order it waits for whoever is making the first one. Where there is one it locks
 * nothing: the command may be anybody's, who may not even drop what he names, and whoever pays
 * would wait behind it.
 */
static bool
has_orders(void)
{
	Identity identity = payguard_as_owner();
	bool found = sees_orders();

	if (!found)
	{
		LockRelationOid(
			get_relname_relid("orders", get_namespace_oid(PAYGUARD_SCHEMA, false)),
			ShareLock);
		found = sees_orders();
	}
	payguard_as_before(identity);
	return found;
}

/*
 * sees_orders looks for an order with one new snapshot: one that moves between the two tables
 * moves in one transaction, which changes both.
 */
static bool
sees_orders(void)
{
	bool found;

	PushActiveSnapshot(GetLatestSnapshot());
	found = has_rows("orders") || has_rows("archived_orders");
	PopActiveSnapshot();
	return found;
}

/*
 * has_rows looks for a row with the active snapshot. Scripts of older versions have not all
 * tables.
 */
static bool
has_rows(const char *table)
{
	bool found;

	if (!OidIsValid(get_relname_relid(table, get_namespace_oid(PAYGUARD_SCHEMA, false))))
		return false;
	SPI_connect();
	if (SPI_execute(psprintf("SELECT FROM payguard.%s LIMIT 1", table), true, 1) !=
		SPI_OK_SELECT)
		elog(ERROR, "payguard: cannot read %s", table);
	found = SPI_processed > 0;
	SPI_finish();
	return found;
}

/*
 * check_drop_concurrently judges DROP INDEX CONCURRENTLY, which commits in between, at its start.
 * The lock is the one that the command itself takes next and holds to its end, so that what is
 * looked at stays: of two indexes that stand in for one another only one goes.
 */
static void
check_drop_concurrently(const RangeVar *range)
{
	Oid index = RangeVarGetRelid(range, NoLock, true);
	Oid table = OidIsValid(index) ? IndexGetRelation(index, true) : InvalidOid;
	HeapTuple tuple;
	bool holds;

	if (!is_own_relation(table) && !payguard_guard_is_guarded(table))
		return;
	/* the command will fail */
	if (!payguard_owns_relation(index, GetUserId()) &&
		!payguard_owns_schema(get_rel_namespace(index), GetUserId()))
		return;
	LockRelationOid(table, ShareUpdateExclusiveLock);
	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	if (!HeapTupleIsValid(tuple))
		return;
	holds = holds_anything((Form_pg_index) GETSTRUCT(tuple));
	ReleaseSysCache(tuple);
	if (holds && is_own_relation(table) && is_named_by_us(range->relname))
		refuse_ddl(psprintf("Index \"%s\" belongs to payguard.", range->relname));
	if (holds)
		payguard_guard_refuse_drop_index(table, index);
}

static bool
holds_anything(Form_pg_index index)
{
	return index->indisunique && index->indisvalid && index->indisready &&
		   index->indislive;
}

/*
 * is_named_by_us tells whether an index of our tables is one of those that they were made with.
 * Scripts of older versions do not say; any may be.
 */
static bool
is_named_by_us(const char *index)
{
	Identity identity;
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(index)};
	bool found;

	if (!has_function("own_indexes"))
		return true;
	identity = payguard_as_owner();
	SPI_connect();
	if (SPI_execute_with_args("SELECT FROM payguard.own_indexes() i "
							  "WHERE i.name " OP("=") " $1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "payguard: cannot read own_indexes()");
	found = SPI_processed > 0;
	SPI_finish();
	payguard_as_before(identity);
	return found;
}

/*
 * has_function tells whether the script that is installed has a function without arguments.
 */
static bool
has_function(const char *name)
{
	return SearchSysCacheExists3(
		PROCNAMEARGSNSP, CStringGetDatum(name), PointerGetDatum(buildoidvector(NULL, 0)),
		ObjectIdGetDatum(get_namespace_oid(PAYGUARD_SCHEMA, true)));
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
		if (is_own_relation(touched.relation))
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
		"SELECT pg_catalog.concat(g.guard, ' ', g.problem) FROM payguard.broken_guards() "
		"g "
		"WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_index i "
		"ON i.indexrelid " OP("=") " c.oid WHERE c.relnamespace " OP(
			"=") " 'payguard'::pg_catalog.regnamespace AND g.guard " OP("=") " pg_"
																			 "catalog."
																			 "concat('"
																			 "index ', "
																			 "c.relname) "
																			 "AND "
																			 "i."
																			 "indisvalid "
																			 "AND "
																			 "i."
																			 "indisready "
																			 "AND "
																			 "i."
																			 "indislive "
																			 "AND "
																			 "i."
																			 "indisunique"
																			 ")";
	MemoryContext caller = CurrentMemoryContext;
	Identity identity = payguard_as_owner();
	const char *sql = "SELECT pg_catalog.concat(guard, ' ', problem) "
					  "FROM payguard.broken_objects()";
	List *lines = NIL;

	if (!has_function("broken_objects"))
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

/*
 * is_made_here tells whether a statement makes a relation in payguard's schema.
 */
static bool
is_made_here(const RangeVar *range)
{
	return range->relpersistence != RELPERSISTENCE_TEMP &&
		   RangeVarGetCreationNamespace(range) ==
			   get_namespace_oid(PAYGUARD_SCHEMA, true);
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
			List *names = IsA(object, TypeName) ? castNode(TypeName, object)->names
												: (List *) object;
			Type tuple =
				LookupTypeName(NULL, makeTypeNameFromNameList(names), NULL, true);
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

/*
 * payguard_refuse_broken raises PY902 for what a line says: a line of broken_guards().
 */
void
payguard_refuse_broken(const char *what)
{
	refuse_ddl(psprintf("Broken: %s.", what));
}
