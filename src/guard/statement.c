/*
 * statement.c
 *		DDL on payguard's own objects, judged by the statement before it begins.
 *
 * What only its end can show is judged there, by what it has touched: protect.c.
 */
#include "postgres.h"

#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/text.h"
#include "guard/drop.h"
#include "guard/losing.h"
#include "guard/own.h"
#include "guard/owner.h"
#include "guard/statement.h"
#include "guard/trigger.h"

#define NOT_HERE "Only payguard's objects are in schema \"payguard\"."

static void check_alter_schema(Node *statement);
static void check_alter_depends(Node *statement);
static void check_alter_owner(Node *statement);
static void check_alter_sequence(Node *statement);
static void check_alter_function(Node *statement);
static void check_alter_extension(Node *statement);
static void check_create_function(Node *statement);
static void check_define(Node *statement);
static void check_create_table(Node *statement);
static void check_create_view(Node *statement);
static void check_create_table_as(Node *statement);
static bool is_name_of_ours(List *qualified);
static void check_alter_table(Node *node);
static bool alter_is_harmless(AlterTableType subtype);
static void check_rename(Node *node);
static void check_drop(Node *node);
static void check_drop_owned(Node *node);
static void refuse_drop_of(List *objects);
static bool has_orders(void);
static bool sees_orders(void);
static bool has_rows(const char *table);
static void check_drop_concurrently(const RangeVar *range);
static bool holds_anything(Form_pg_index index);

/* What is judged by its statement alone. */
static const struct
{
	NodeTag tag;
	void (*check)(Node *statement);
} checks[] = {
	{T_AlterTableStmt, check_alter_table},
	{T_RenameStmt, check_rename},
	{T_AlterObjectSchemaStmt, check_alter_schema},
	{T_AlterObjectDependsStmt, check_alter_depends},
	{T_AlterOwnerStmt, check_alter_owner},
	{T_AlterSeqStmt, check_alter_sequence},
	{T_CreateFunctionStmt, check_create_function},
	{T_DefineStmt, check_define},
	{T_CreateStmt, check_create_table},
	{T_CreateForeignTableStmt, check_create_table},
	{T_ViewStmt, check_create_view},
	{T_CreateTableAsStmt, check_create_table_as},
	{T_AlterFunctionStmt, check_alter_function},
	{T_AlterExtensionContentsStmt, check_alter_extension},
	{T_DropStmt, check_drop},
	{T_DropOwnedStmt, check_drop_owned},
};

/*
 * payguard_check_statement refuses what must not even begin.
 */
void
payguard_check_statement(Node *statement)
{
	for (int i = 0; i < (int) lengthof(checks); i++)
		if (nodeTag(statement) == checks[i].tag)
			checks[i].check(statement);
}

static void
check_alter_schema(Node *statement)
{
	AlterObjectSchemaStmt *alter = (AlterObjectSchemaStmt *) statement;

	if (payguard_own_is_range(alter->relation) ||
		payguard_own_is_object(alter->object, alter->objectType))
		payguard_own_refuse("Objects of payguard stay in its schema.");
	if (alter->newschema && strcmp(alter->newschema, PAYGUARD_SCHEMA) == 0)
		payguard_own_refuse(NOT_HERE);
}

static void
check_alter_depends(Node *statement)
{
	AlterObjectDependsStmt *alter = (AlterObjectDependsStmt *) statement;

	if (!alter->remove && (payguard_own_is_range(alter->relation) ||
						   payguard_own_is_object(alter->object, alter->objectType)))
		payguard_own_refuse("Objects of payguard cannot depend on another extension.");
}

static void
check_alter_owner(Node *statement)
{
	AlterOwnerStmt *alter = (AlterOwnerStmt *) statement;

	if (alter->objectType == OBJECT_SCHEMA
			? strcmp(strVal(alter->object), PAYGUARD_SCHEMA) == 0
			: payguard_own_is_range(alter->relation) ||
				  payguard_own_is_object(alter->object, alter->objectType))
		payguard_own_refuse("Objects of payguard keep their owner.");
}

static void
check_alter_sequence(Node *statement)
{
	if (payguard_own_is_range(((AlterSeqStmt *) statement)->sequence))
		payguard_own_refuse("The ids of events must ascend.");
}

static void
check_alter_function(Node *statement)
{
	AlterFunctionStmt *alter = (AlterFunctionStmt *) statement;

	if (payguard_own_is_object((Node *) alter->func, alter->objtype))
		payguard_own_refuse("payguard's functions must not be altered.");
}

static void
check_alter_extension(Node *statement)
{
	if (strcmp(((AlterExtensionContentsStmt *) statement)->extname, "payguard") == 0)
		payguard_own_refuse("Objects must not leave or join the extension.");
}

static void
check_create_function(Node *statement)
{
	if (is_name_of_ours(((CreateFunctionStmt *) statement)->funcname))
		payguard_own_refuse("Functions in schema \"payguard\" belong to payguard.");
}

static void
check_define(Node *statement)
{
	if (is_name_of_ours(((DefineStmt *) statement)->defnames))
		payguard_own_refuse(NOT_HERE);
}

/*
 * is_name_of_ours tells whether an object that is made by this name would lie in our schema.
 */
static bool
is_name_of_ours(List *qualified)
{
	char *name;

	return QualifiedNameGetCreationNamespace(qualified, &name) ==
		   get_namespace_oid(PAYGUARD_SCHEMA, true);
}

static void
check_create_table(Node *statement)
{
	if (payguard_own_is_made_here(((CreateStmt *) statement)->relation))
		payguard_own_refuse(NOT_HERE);
}

static void
check_create_view(Node *statement)
{
	if (payguard_own_is_made_here(((ViewStmt *) statement)->view))
		payguard_own_refuse(NOT_HERE);
}

static void
check_create_table_as(Node *statement)
{
	if (payguard_own_is_made_here(((CreateTableAsStmt *) statement)->into->rel))
		payguard_own_refuse(NOT_HERE);
}

static void
check_alter_table(Node *node)
{
	const AlterTableStmt *statement = (const AlterTableStmt *) node;
	ListCell *cell;

	if (!payguard_own_is_range(statement->relation))
		return;
	foreach (cell, statement->cmds)
		if (!alter_is_harmless(lfirst_node(AlterTableCmd, cell)->subtype))
			payguard_own_refuse(
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
check_rename(Node *node)
{
	const RenameStmt *statement = (const RenameStmt *) node;
	if (statement->renameType == OBJECT_SCHEMA)
	{
		if (strcmp(statement->subname, PAYGUARD_SCHEMA) == 0)
			payguard_own_refuse("The schema \"payguard\" keeps its name.");
	}
	else if (payguard_own_is_range(statement->relation))
		payguard_own_refuse(
			psprintf("\"%s\" belongs to payguard.", statement->relation->relname));
	else if (statement->object &&
			 payguard_own_is_object(statement->object, statement->renameType))
		payguard_own_refuse("payguard's functions and types keep their names.");
}

static void
check_drop(Node *node)
{
	const DropStmt *statement = (const DropStmt *) node;
	ListCell *cell;

	if (statement->removeType == OBJECT_INDEX && statement->concurrent)
		foreach (cell, statement->objects)
			check_drop_concurrently(makeRangeVarFromNameList(lfirst_node(List, cell)));
	else
		refuse_drop_of(payguard_drop_named(statement));
}

static void
check_drop_owned(Node *node)
{
	const DropOwnedStmt *statement = (const DropOwnedStmt *) node;
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
		payguard_own_refuse(
			"There are orders, and with the extension they would be dropped.");
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
	bool unique;

	if (!payguard_own_is_relation(table) && !payguard_guard_is_guarded(table))
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
	unique = ((Form_pg_index) GETSTRUCT(tuple))->indisunique;
	ReleaseSysCache(tuple);
	if (holds && unique && payguard_own_is_relation(table) &&
		payguard_own_names_function(range->relname))
		payguard_own_refuse(
			psprintf("Index \"%s\" belongs to payguard.", range->relname));
	if (holds)
		payguard_guard_refuse_drop_index(table, index);
}

static bool
holds_anything(Form_pg_index index)
{
	return index->indisvalid && index->indisready && index->indislive;
}
