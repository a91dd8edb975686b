/*
 * open.c
 *		The store for one call: its snapshot, its tables, its subtransactions.
 *
 * A table is looked up by its name for each operation. Nothing is kept of it but what its relcache
 * entry keeps. So the next operation sees whatever a user's trigger has done to the table.
 *
 * Locking: reads take AccessShareLock on the table, row locks RowShareLock, writes RowExclusiveLock,
 * as statements do; all of them are held until the transaction ends.
 */
#include "postgres.h"

#include "access/relation.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/reltrigger.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/text.h"
#include "store/open.h"
#include "store/table.h"

/*
 * The number of the snapshot that rows are found with. As long as the number is the same, so is the
 * snapshot, and no version of a row that the snapshot shows can be taken away.
 */
uint64 payguard_store_snapshot = 0;

/* payguard_store_look() runs: nothing is locked, and nothing may be written. */
static bool only_looks = false;

/* InvalidOid: to be looked up */
static Oid schema = InvalidOid;

static Relation open_relation(const Table *table, LOCKMODE mode);
static Oid find_schema(void);
static void forget_schema(Datum argument, int cache, uint32 hash);
static void check_usable(Relation relation);

/*
 * payguard_store_begin opens the store for one call. Rows are found with the caller's snapshot
 * (STORE_READ), or with one that sees everything done so far (STORE_WRITE): without that, a
 * second call in one statement would not see the first.
 */
void
payguard_store_begin(StoreMode mode)
{
	MemoryContext caller = CurrentMemoryContext;

	payguard_store_snapshot++;
	if (mode == STORE_WRITE)
	{
		CommandCounterIncrement();
		PushActiveSnapshot(GetTransactionSnapshot());
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "payguard: SPI_connect failed");
	MemoryContextSwitchTo(caller);
}

/*
 * payguard_store_refresh takes a newer snapshot, after a wait for a lock or a unique key. In
 * REPEATABLE READ and SERIALIZABLE it sees what the transaction may see, as before. Whatever writes ends its command
 * itself, so that the next snapshot sees it.
 */
void
payguard_store_refresh(void)
{
	payguard_store_snapshot++;
	PopActiveSnapshot();
	PushActiveSnapshot(GetTransactionSnapshot());
}

/*
 * payguard_store_end closes the store.
 */
void
payguard_store_end(StoreMode mode)
{
	MemoryContext caller = CurrentMemoryContext;

	payguard_store_snapshot++;
	SPI_finish();
	if (mode == STORE_WRITE)
		PopActiveSnapshot();
	MemoryContextSwitchTo(caller);
}

/*
 * payguard_store_look runs a judge of whether a call would be refused, with the caller's snapshot. What the call would
 * lock is only read, so it works on a standby. The judge must not write or refresh.
 */
void
payguard_store_look(void (*judge)(void *), void *argument)
{
	bool before = only_looks;

	payguard_store_begin(STORE_READ);
	only_looks = true;
	PG_TRY();
	{
		judge(argument);
	}
	PG_FINALLY();
	{
		only_looks = before;
	}
	PG_END_TRY();
	payguard_store_end(STORE_READ);
}

/*
 * payguard_store_only_looks tells whether rows are only looked at: payguard_store_look().
 */
bool
payguard_store_only_looks(void)
{
	return only_looks;
}

/*
 * payguard_open_table locks and opens a table and finds its columns; false: there is none.
 */
bool
payguard_open_table(OpenTable *open, const Table *table, LOCKMODE mode)
{
	open->table = table;
	open->relation = open_relation(table, mode);
	if (open->relation == NULL)
		return false;
	check_usable(open->relation);
	payguard_table_columns(table, RelationGetDescr(open->relation), open->columns);
	return true;
}

/*
 * open_relation locks and opens the relation that has a table's name; NULL: there is none. Which one had it the last
 * time saves looking the name up, and is never trusted: what it opens must have the name. Whoever was waited for may
 * have renamed or dropped it: then it is looked for again.
 */
static Relation
open_relation(const Table *table, LOCKMODE mode)
{
	Oid namespace = find_schema();

	for (;;)
	{
		Relation relation = NULL;

		if (OidIsValid(*table->last))
			relation = try_relation_open(*table->last, mode);
		if (relation != NULL && RelationGetNamespace(relation) == namespace &&
			strcmp(RelationGetRelationName(relation), table->name) == 0)
			return relation;
		if (relation != NULL)
			relation_close(relation, mode);
		CHECK_FOR_INTERRUPTS();
		*table->last = get_relname_relid(table->name, namespace);
		if (!OidIsValid(*table->last))
			return NULL;
	}
}

/*
 * find_schema returns the OID of payguard's schema. It is remembered until any schema changes.
 */
static Oid
find_schema(void)
{
	static bool registered = false;

	if (!registered)
	{
		CacheRegisterSyscacheCallback(NAMESPACEOID, forget_schema, (Datum) 0);
		registered = true;
	}
	if (!OidIsValid(schema))
		schema = get_namespace_oid(PAYGUARD_SCHEMA, true);
	return schema;
}

static void
forget_schema(Datum argument, int cache, uint32 hash)
{
	schema = InvalidOid;
}

/*
 * payguard_must_open_table is payguard_open_table for a table that must be there.
 */
void
payguard_must_open_table(OpenTable *open, const Table *table, LOCKMODE mode)
{
	if (!payguard_open_table(open, table, mode))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist", PAYGUARD_SCHEMA, table->name),
				 errdetail("The extension's scripts are older than its library, or the "
						   "table was dropped."),
				 errhint("Run ALTER EXTENSION payguard UPDATE, then SELECT * FROM "
						 "payguard.verify().")));
}

/*
 * payguard_close_table closes a table; its lock stays.
 */
void
payguard_close_table(OpenTable *open)
{
	relation_close(open->relation, NoLock);
}

/*
 * check_usable raises an error where a table has what would keep rows from being read and written as they stand.
 * Protection refuses DDL that leads here, unless a superuser has allowed it.
 */
static void
check_usable(Relation relation)
{
	const char *problem = NULL;

	/* the executor's row functions ask for no privileges: superusers and owners need none */
	if (!superuser() && !payguard_owns_relation(RelationGetRelid(relation), GetUserId()))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, RelationGetRelationName(relation));
	if (relation->rd_rel->relkind != RELKIND_RELATION)
		problem = "It is no ordinary table.";
	else if (relation->rd_rules != NULL)
		problem = "It has a rule.";
	else if (relation->rd_rel->relforcerowsecurity && !superuser())
		problem = "It forces row security on its owner.";
	if (problem)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" is not as payguard made it",
					RelationGetRelationName(relation)),
			 errdetail("%s Nothing has been written.", problem),
			 errhint("SELECT * FROM payguard.verify() tells what else was changed.")));
}

/*
 * payguard_store_is_empty tells whether a table certainly has no rows: its file has no page. That
 * holds whatever snapshot one has, and costs next to nothing: it is for tables that most databases
 * do not use. In SERIALIZABLE it counts as reading the whole table, so that a row which is added
 * beside it conflicts.
 */
bool
payguard_store_is_empty(const Table *table)
{
	/* the lock keeps a VACUUM FULL from putting another file in its place */
	Relation relation = open_relation(table, AccessShareLock);
	bool empty;

	/* the scripts of an older version may not have made it */
	if (relation == NULL)
		return true;
	empty = RelationGetNumberOfBlocks(relation) == 0;
	if (empty && ActiveSnapshotSet())
		PredicateLockRelation(relation, GetActiveSnapshot());
	relation_close(relation, NoLock);
	return empty;
}

/*
 * payguard_store_has_user_triggers tells whether anybody but us has put a trigger on a table:
 * then what it sees must be what one call after another does.
 */
bool
payguard_store_has_user_triggers(const Table *table)
{
	OpenTable open;
	TriggerDesc *triggers;
	bool has = false;

	payguard_must_open_table(&open, table, AccessShareLock);
	triggers = open.relation->trigdesc;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		has |= !payguard_is_own_trigger(&triggers->triggers[i]);
	payguard_close_table(&open);
	return has;
}

/*
 * payguard_is_own_trigger recognizes the trigger that refuses direct writes (guard/own.c). Its name is
 * enough, since a table has one trigger of a name.
 */
bool
payguard_is_own_trigger(const Trigger *trigger)
{
	return strcmp(trigger->tgname, "payguard_protect") == 0;
}

/*
 * payguard_store_try writes in a subtransaction; false: a unique key was taken, and nothing has been written. Raises
 * 40001 if REPEATABLE READ or SERIALIZABLE cannot see the row that has the key.
 */
bool
payguard_store_try(void (*write)(void *), void *argument)
{
	ErrorData *error = payguard_store_attempt(write, argument);

	if (error == NULL)
		return true;
	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
		ReThrowError(error);
	/* the row that took it cannot be seen, so whoever looks for it would look for ever */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access due to concurrent update")));
	return false;
}

/*
 * payguard_store_attempt writes in a subtransaction and returns NULL; or the error that ended it, and
 * nothing of it has been written.
 */
ErrorData *
payguard_store_attempt(void (*write)(void *), void *argument)
{
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	/* the store pops and pushes it, which must be done at one level */
	PushActiveSnapshot(GetTransactionSnapshot());
	PG_TRY();
	{
		write(argument);
		PopActiveSnapshot();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	/* where a row was found in there may be nothing now */
	payguard_store_snapshot++;
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return error;
}
