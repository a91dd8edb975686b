/*
 * guard_ddl.c
 *		DDL on guarded tables: refused where it would lose a guard, followed where it
 * renames what a guard names.
 *
 * protect.c's event triggers call in at the start and at the end of each command. At the
 * start the guards are remembered; at the end each of them must still be there, with the
 * same settings on the same columns. What else can be wrong with a guard is a line of
 * guard_problems(), which no command may add to.
 *
 * Nothing here locks a guarded table that the command itself does not lock: guards are
 * found by their dependency on the trigger function, and tables are read from the caches.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "compat.h"
#include "guard.h"
#include "payguard.h"

/* A column that a guard names. */
typedef struct KnownColumn
{
	AttrNumber number;
	Oid type;
	int32 typmod;
	char *name;
} KnownColumn;

/* A guard as it was when the command began. */
typedef struct KnownGuard
{
	GuardTrigger trigger;
	int ncolumns; /* 0: the settings do not fit the table */
	KnownColumn *columns;
} KnownGuard;

/*
 * The guards when the client's running statement began, or when its last command ended
 * well. A client's statement can be several commands, one inside of another too.
 */
static struct
{
	TimestampTz transaction;
	TimestampTz statement;
	List *guards; /* of KnownGuard */
	List *empty;  /* relations that the running command may drop */
} known = {0, 0, NIL, NIL};

static MemoryContext known_context = NULL;

static Oid trigger_function(bool truncate);
static GuardTrigger *read_trigger(HeapTuple tuple, TupleDesc desc, bool truncate);
static bool fires_always(Form_pg_trigger form, bool truncate, HeapTuple tuple,
						 TupleDesc desc);
static void remember(bool all);
static KnownGuard *know(const GuardTrigger *trigger);
static KnownGuard *find_known(Oid relation);
static bool is_undone(const KnownGuard *guard);
static void check_alter(const AlterTableStmt *statement);
static void check_create_trigger(const CreateTrigStmt *statement);
static void check_lost(const KnownGuard *guard);
static void refuse(const char *detail) pg_attribute_noreturn();
static void check_kept(const KnownGuard *guard, const GuardTrigger *now);
static void tell_renamed(const KnownGuard *guard, const GuardTrigger *now, List *from,
						 List *to);
static void check_new(const GuardTrigger *now);
static bool is_ours(Oid relation, LOCKMODE lowest);
static bool keeps_values(const KnownColumn *was, Oid type, int32 typmod);
static void rename_columns(const GuardTrigger *now, List *from, List *to);
static char *rename_in(const char *settings, List *from, List *to);
static List *list_problems(void);
static void add_problem(List **problems, const char *table, const char *problem);
static bool is_once_index(Relation relation, HeapTuple index, const Guard *guard);
static bool is_once_condition(Relation relation, List *condition, const Guard *guard);
static bool runs_foreign_code(Node *node, void *context);
static bool is_foreign_function(Oid function, void *context);

/*
 * payguard_guard_triggers lists the guards' triggers, for rows or for TRUNCATE, of all
 * tables.
 */
List *
payguard_guard_triggers(bool truncate)
{
	Oid function = trigger_function(truncate);
	Relation depend;
	Relation triggers;
	SysScanDesc scan;
	ScanKeyData keys[2];
	HeapTuple tuple;
	List *list = NIL;

	if (!OidIsValid(function))
		return NIL;
	depend = table_open(DependRelationId, AccessShareLock);
	triggers = table_open(TriggerRelationId, AccessShareLock);
	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ProcedureRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(function));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, NULL, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);
		ScanKeyData key;
		SysScanDesc of_trigger;
		HeapTuple trigger;
		GuardTrigger *guard = NULL;

		if (form->classid != TriggerRelationId)
			continue;
		ScanKeyInit(&key, Anum_pg_trigger_oid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(form->objid));
		of_trigger = systable_beginscan(triggers, TriggerOidIndexId, true, NULL, 1, &key);
		if (HeapTupleIsValid(trigger = systable_getnext(of_trigger)))
			guard = read_trigger(trigger, RelationGetDescr(triggers), truncate);
		systable_endscan(of_trigger);
		if (guard)
			list = lappend(list, guard);
	}
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	table_close(depend, AccessShareLock);
	return list;
}

/*
 * payguard_guard_trigger_of returns a relation's guard, for rows or for TRUNCATE; NULL:
 * it has none.
 */
GuardTrigger *
payguard_guard_trigger_of(Oid relation, bool truncate)
{
	Relation triggers = table_open(TriggerRelationId, AccessShareLock);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;
	GuardTrigger *guard = NULL;

	ScanKeyInit(&key, Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(relation));
	scan = systable_beginscan(triggers, TriggerRelidNameIndexId, true, NULL, 1, &key);
	while (guard == NULL && HeapTupleIsValid(tuple = systable_getnext(scan)))
		guard = read_trigger(tuple, RelationGetDescr(triggers), truncate);
	systable_endscan(scan);
	table_close(triggers, AccessShareLock);
	return guard;
}

/*
 * trigger_function looks a trigger function up without asking whether the user may: any
 * user's DDL gets here.
 */
static Oid
trigger_function(bool truncate)
{
	return GetSysCacheOid3(
		PROCNAMEARGSNSP, Anum_pg_proc_oid,
		CStringGetDatum(truncate ? GUARD_TRUNCATE_FUNCTION : GUARD_FUNCTION),
		PointerGetDatum(buildoidvector(NULL, 0)),
		ObjectIdGetDatum(get_namespace_oid(PAYGUARD_SCHEMA, true)));
}

static GuardTrigger *
read_trigger(HeapTuple tuple, TupleDesc desc, bool truncate)
{
	Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);
	GuardTrigger *guard;
	bool isnull;

	if (form->tgfoid != trigger_function(truncate) || form->tgnargs != (truncate ? 0 : 1))
		return NULL;
	guard = palloc0(sizeof(GuardTrigger));
	guard->trigger = form->oid;
	guard->relation = form->tgrelid;
	guard->parent = form->tgparentid;
	guard->xmin = HeapTupleHeaderGetXmin(tuple->t_data);
	guard->always = fires_always(form, truncate, tuple, desc);
	guard->name = pstrdup(NameStr(form->tgname));
	if (!truncate)
	{
		bytea *arguments =
			DatumGetByteaPP(heap_getattr(tuple, Anum_pg_trigger_tgargs, desc, &isnull));

		guard->settings = pnstrdup(VARDATA_ANY(arguments), VARSIZE_ANY_EXHDR(arguments));
	}
	guard->table = get_rel_name(guard->relation);
	if (guard->table == NULL)
		return NULL;
	guard->schema = get_namespace_name(get_rel_namespace(guard->relation));
	return guard;
}

/*
 * fires_always tells whether a trigger is as guard_table() makes it.
 */
static bool
fires_always(Form_pg_trigger form, bool truncate, HeapTuple tuple, TupleDesc desc)
{
	int16 type = truncate ? TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_TRUNCATE
						  : TRIGGER_TYPE_ROW | TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE |
								TRIGGER_TYPE_DELETE;
	bool isnull;

	heap_getattr(tuple, Anum_pg_trigger_tgqual, desc, &isnull);
	return form->tgenabled == TRIGGER_FIRES_ALWAYS && form->tgtype == type && isnull &&
		   form->tgattr.dim1 == 0 && !form->tgdeferrable;
}

/*
 * payguard_guard_ddl_start remembers the guards, and refuses what could not be judged at
 * its end.
 */
void
payguard_guard_ddl_start(Node *statement)
{
	bool again = known.transaction == GetCurrentTransactionStartTimestamp() &&
				 known.statement == GetCurrentStatementStartTimestamp();

	known.empty = NIL;
	remember(!again);
	if (IsA(statement, AlterTableStmt))
		check_alter((AlterTableStmt *) statement);
	if (IsA(statement, CreateTrigStmt))
		check_create_trigger((CreateTrigStmt *) statement);
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
		(function == trigger_function(false) || function == trigger_function(true)))
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
	Oid oid;
	GuardTrigger *guard;
	Relation relation;
	const char *problem;

	if (!IsA(statement, CreateTrigStmt))
		return;
	oid = RangeVarGetRelid(((CreateTrigStmt *) statement)->relation, NoLock, true);
	guard = OidIsValid(oid) ? payguard_guard_trigger_of(oid, false) : NULL;
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
 * remember reads the guards of the catalogs. all: anew. Otherwise those that are known
 * stay as they are known, but for those that a rollback to a savepoint has undone.
 */
static void
remember(bool all)
{
	List *kept = NIL;
	ListCell *cell;
	MemoryContext caller;
	List *now = payguard_guard_triggers(false);

	if (known_context == NULL)
		known_context = AllocSetContextCreate(TopMemoryContext, "payguard known guards",
											  ALLOCSET_SMALL_SIZES);
	if (all)
	{
		known.guards = NIL;
		MemoryContextReset(known_context);
	}
	caller = MemoryContextSwitchTo(known_context);
	foreach (cell, known.guards)
		if (!is_undone(lfirst(cell)))
			kept = lappend(kept, lfirst(cell));
	known.guards = kept;
	foreach (cell, now)
	{
		GuardTrigger *trigger = lfirst(cell);
		ListCell *other;
		bool found = false;

		foreach (other, known.guards)
			found = found ||
					((KnownGuard *) lfirst(other))->trigger.trigger == trigger->trigger;
		if (!found)
			known.guards = lappend(known.guards, know(trigger));
	}
	MemoryContextSwitchTo(caller);
	known.transaction = GetCurrentTransactionStartTimestamp();
	known.statement = GetCurrentStatementStartTimestamp();
}

/*
 * know makes a KnownGuard of a trigger, in the current memory context.
 */
static KnownGuard *
know(const GuardTrigger *trigger)
{
	KnownGuard *guard = palloc0(sizeof(KnownGuard));
	Relation relation = RelationIdGetRelation(trigger->relation);
	const char *problem;
	Guard *settings;

	guard->trigger = *trigger;
	guard->trigger.name = pstrdup(trigger->name);
	guard->trigger.settings = pstrdup(trigger->settings);
	guard->trigger.schema = pstrdup(trigger->schema);
	guard->trigger.table = pstrdup(trigger->table);
	if (relation == NULL)
		return guard;
	settings =
		payguard_guard_parse(trigger->settings, RelationGetDescr(relation), &problem);
	if (settings)
	{
		guard->columns = palloc0(settings->columns.n * sizeof(KnownColumn));
		for (int i = 0; i < settings->columns.n; i++)
		{
			Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(relation),
														settings->columns.columns[i] - 1);
			KnownColumn *column = &guard->columns[guard->ncolumns++];

			column->number = attribute->attnum;
			column->type = attribute->atttypid;
			column->typmod = attribute->atttypmod;
			column->name = pstrdup(NameStr(attribute->attname));
		}
	}
	RelationClose(relation);
	return guard;
}

static KnownGuard *
find_known(Oid relation)
{
	ListCell *cell;

	foreach (cell, known.guards)
		if (((KnownGuard *) lfirst(cell))->trigger.relation == relation)
			return lfirst(cell);
	return NULL;
}

/*
 * is_undone tells whether the catalog row that we know a guard by was rolled back.
 */
static bool
is_undone(const KnownGuard *guard)
{
	TransactionId xmin = guard->trigger.xmin;

	return TransactionIdIsNormal(xmin) && !TransactionIdIsCurrentTransactionId(xmin) &&
		   TransactionIdPrecedesOrEquals(TransactionXmin, xmin) &&
		   !TransactionIdIsInProgress(xmin) && !TransactionIdDidCommit(xmin);
}

/*
 * payguard_guard_is_guarded tells whether a relation had a guard when the command began.
 */
bool
payguard_guard_is_guarded(Oid relation)
{
	return OidIsValid(relation) && find_known(relation) != NULL;
}

/*
 * payguard_guard_forget takes a relation whose guard was taken off out of what must be
 * there.
 */
void
payguard_guard_forget(Oid relation)
{
	KnownGuard *guard;

	while ((guard = find_known(relation)) != NULL)
		known.guards = list_delete_ptr(known.guards, guard);
}

static void
check_alter(const AlterTableStmt *statement)
{
	Oid relation = RangeVarGetRelid(statement->relation, NoLock, true);
	ListCell *cell;
	ListCell *heir;
	List *heirs;

	if (!OidIsValid(relation) || known.guards == NIL)
		return;
	heirs = find_all_inheritors(relation, NoLock, NULL);
	foreach (cell, statement->cmds)
	{
		AlterTableCmd *command = lfirst_node(AlterTableCmd, cell);

		if (command->subtype == AT_DetachPartition && find_known(relation) &&
			((PartitionCmd *) command->def)->concurrent)
			refuse("A partition of a guarded table is not detached concurrently.");
		if (command->subtype != AT_AlterColumnType ||
			((ColumnDef *) command->def)->raw_default == NULL)
			continue;
		foreach (heir, heirs)
		{
			KnownGuard *guard = find_known(lfirst_oid(heir));

			for (int i = 0; guard && i < guard->ncolumns; i++)
				if (strcmp(guard->columns[i].name, command->name) == 0)
					refuse(psprintf("USING would write new values into "
									"column \"%s\" of the guarded table "
									"\"%s\".",
									command->name, guard->trigger.table));
		}
	}
}

/*
 * payguard_guard_refuse_drop raises PY902 where the command is about to drop a guarded
 * table that has rows. It waits for those who are writing to it, unless the command will
 * fail anyway because its user may not drop the table.
 */
void
payguard_guard_refuse_drop(Oid relation)
{
	char *name = get_rel_name(relation);
	MemoryContext caller;

	if (name == NULL || (!payguard_owns_relation(relation, GetUserId()) &&
						 !payguard_owns_schema(get_rel_namespace(relation), GetUserId())))
		return;
	LockRelationOid(relation, AccessExclusiveLock);
	if (!payguard_guard_is_empty(relation))
		refuse(psprintf("The guarded table \"%s\" has rows.", name));
	caller = MemoryContextSwitchTo(known_context);
	known.empty = lappend_oid(known.empty, relation);
	MemoryContextSwitchTo(caller);
}

/*
 * payguard_guard_is_empty looks for a row of the relation's own, as of now. The caller
 * holds a lock that keeps writers away.
 */
bool
payguard_guard_is_empty(Oid oid)
{
	Relation relation;
	TableScanDesc scan;
	Snapshot snapshot;
	TupleTableSlot *row;
	bool empty;

	if (get_rel_relkind(oid) != RELKIND_RELATION)
		return true;
	relation = table_open(oid, AccessShareLock);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	row = table_slot_create(relation, NULL);
	scan = payguard_table_beginscan(relation, snapshot);
	empty = !table_scan_getnextslot(scan, ForwardScanDirection, row);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	UnregisterSnapshot(snapshot);
	table_close(relation, NoLock);
	return empty;
}

/*
 * payguard_guard_ddl_end refuses a command that has lost a guard, and follows one that has
 * renamed a guarded table or a column that a guard names. What other sessions have done
 * meanwhile is theirs: whatever changes a guard, but for the name of its schema, locks its
 * table.
 */
void
payguard_guard_ddl_end(Node *statement)
{
	bool attaches = IsA(statement, AlterTableStmt) || IsA(statement, CreateStmt);
	List *now = payguard_guard_triggers(false);
	ListCell *cell;
	ListCell *other;

	foreach (cell, known.guards)
	{
		KnownGuard *guard = lfirst(cell);
		GuardTrigger *found = NULL;

		foreach (other, now)
			if (((GuardTrigger *) lfirst(other))->trigger == guard->trigger.trigger)
				found = lfirst(other);
		if (!is_ours(guard->trigger.relation, ShareRowExclusiveLock))
		{
			if (found && IsA(statement, RenameStmt) &&
				((RenameStmt *) statement)->renameType == OBJECT_SCHEMA)
				tell_renamed(guard, found, NIL, NIL);
		}
		else if (found)
			check_kept(guard, found);
		else if (!is_undone(guard))
			check_lost(guard);
	}
	foreach (cell, now)
	{
		GuardTrigger *trigger = lfirst(cell);

		if (attaches && OidIsValid(trigger->parent) && !find_known(trigger->relation) &&
			is_ours(trigger->relation, ShareRowExclusiveLock))
			check_new(trigger);
	}
	CommandCounterIncrement();
	known.empty = NIL;
	remember(true);
}

/*
 * payguard_guard_is_anothers tells whether a line of broken_guards() is about a guard that our
 * command cannot have broken, because it does not hold the table: another session makes it, or
 * restores it from a dump.
 */
bool
payguard_guard_is_anothers(const char *line, Node *statement)
{
	ListCell *cell;

	if (IsA(statement, AlterEnumStmt)) /* locks no table */
		return false;
	foreach (cell, payguard_guard_triggers(false))
	{
		GuardTrigger *trigger = lfirst(cell);
		char *table = psprintf(
			"table %s ", quote_qualified_identifier(trigger->schema, trigger->table));

		if (strncmp(line, table, strlen(table)) == 0)
			return !is_ours(trigger->relation, ShareUpdateExclusiveLock);
	}
	return false;
}

/*
 * is_ours tells whether this transaction holds a lock on a relation, of this mode or a
 * stronger one. To change triggers takes ShareRowExclusiveLock; a parent gets a child under
 * ShareUpdateExclusiveLock.
 */
static bool
is_ours(Oid relation, LOCKMODE lowest)
{
	LOCKTAG tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	for (LOCKMODE mode = lowest; mode <= AccessExclusiveLock; mode++)
		if (payguard_lock_held(&tag, mode))
			return true;
	return false;
}

static void
check_lost(const KnownGuard *guard)
{
	Oid relation = guard->trigger.relation;

	if (get_rel_name(relation) == NULL)
	{
		if (!list_member_oid(known.empty, relation))
			refuse(psprintf("The guarded table \"%s\" would be dropped.",
							guard->trigger.table));
		if (!OidIsValid(guard->trigger.parent))
			payguard_guard_event("guard.removed", guard->trigger.schema,
								 guard->trigger.table, NULL);
	}
	/* a partition that was detached: its rows would leave the guard */
	else if (!OidIsValid(guard->trigger.parent) || !payguard_guard_is_empty(relation))
		refuse(psprintf("Table \"%s\" would lose its guard.", guard->trigger.table));
}

static void
check_kept(const KnownGuard *guard, const GuardTrigger *now)
{
	List *from = NIL;
	List *to = NIL;

	if (strcmp(guard->trigger.settings, now->settings) != 0)
		refuse(psprintf("Table \"%s\" would have another guard.", guard->trigger.table));
	for (int i = 0; i < guard->ncolumns; i++)
	{
		const KnownColumn *column = &guard->columns[i];
		HeapTuple tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(now->relation),
										  Int16GetDatum(column->number));
		Form_pg_attribute attribute;

		if (!HeapTupleIsValid(tuple))
			elog(ERROR, "payguard: column %d of relation %u is missing", column->number,
				 now->relation);
		attribute = (Form_pg_attribute) GETSTRUCT(tuple);
		if (attribute->attisdropped)
			refuse(psprintf("The guard on \"%s\" needs column \"%s\".", now->table,
							column->name));
		if (!keeps_values(column, attribute->atttypid, attribute->atttypmod))
			refuse(psprintf("The guard on \"%s\" does not let column \"%s\" "
							"change its type like this.",
							now->table, column->name));
		if (strcmp(NameStr(attribute->attname), column->name) != 0)
		{
			from = lappend(from, column->name);
			to = lappend(to, pstrdup(NameStr(attribute->attname)));
		}
		ReleaseSysCache(tuple);
	}
	if (from)
		rename_columns(now, from, to);
	tell_renamed(guard, now, from, to);
}

/*
 * tell_renamed writes an event where the table or a column of a guard has another name.
 */
static void
tell_renamed(const KnownGuard *guard, const GuardTrigger *now, List *from, List *to)
{
	if (OidIsValid(now->parent) ||
		(!from && strcmp(guard->trigger.table, now->table) == 0 &&
		 strcmp(guard->trigger.schema, now->schema) == 0))
		return;
	payguard_guard_event("guard.renamed", now->schema, now->table,
						 payguard_json("was_schema", 's', guard->trigger.schema,
									   "was_table", 's', guard->trigger.table,
									   "was_column", 's',
									   from ? (char *) linitial(from) : NULL, "column",
									   's', to ? (char *) linitial(to) : NULL, NULL));
}

/*
 * check_new looks at the guard of a partition that has just been made or attached.
 */
static void
check_new(const GuardTrigger *now)
{
	if (get_rel_relkind(now->relation) == RELKIND_FOREIGN_TABLE)
		refuse(psprintf("\"%s\" is a foreign table, which others may write to elsewhere.",
						now->table));
	if (!payguard_guard_is_empty(now->relation))
		refuse(psprintf("The rows of \"%s\" would get into a guarded table "
						"unseen.",
						now->table));
	if (payguard_guard_trigger_of(now->relation, true) == NULL)
		payguard_guard_cover_truncate(now->relation);
}

/*
 * keeps_values tells whether a change of type without USING leaves the values as they
 * were.
 */
static bool
keeps_values(const KnownColumn *was, Oid type, int32 typmod)
{
	Oid a = getBaseType(was->type);
	Oid b = getBaseType(type);

	if (was->type == type && was->typmod == typmod)
		return true;
	return ((a == TEXTOID || a == VARCHAROID) && (b == TEXTOID || b == VARCHAROID)) ||
		   ((a == INT2OID || a == INT4OID || a == INT8OID) &&
			(b == INT2OID || b == INT4OID || b == INT8OID));
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

static void
refuse(const char *detail)
{
	payguard_refuse_ddl(detail, "The table's owner can take the guard off first: "
								"SELECT payguard.unguard_table(...).");
}

PG_FUNCTION_INFO_V1(payguard_guard_problems);

/*
 * guard_problems() → (guard text, problem text): what is wrong with a guard itself; its
 * table's rows are not read.
 */
Datum
payguard_guard_problems(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach (cell, list_problems())
	{
		List *line = lfirst(cell);
		Datum values[2] = {CStringGetTextDatum(linitial(line)),
						   CStringGetTextDatum(lsecond(line))};
		bool nulls[2] = {false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}

static List *
list_problems(void)
{
	List *problems = NIL;
	ListCell *cell;
	ListCell *heir;

	foreach (cell, payguard_guard_triggers(false))
	{
		GuardTrigger *trigger = lfirst(cell);
		GuardTrigger *truncate = payguard_guard_trigger_of(trigger->relation, true);
		char *table = quote_qualified_identifier(trigger->schema, trigger->table);
		Relation relation = RelationIdGetRelation(trigger->relation);
		const char *problem;
		Guard *guard;

		if (relation == NULL)
			continue;
		guard =
			payguard_guard_parse(trigger->settings, RelationGetDescr(relation), &problem);
		if (!trigger->always)
			add_problem(&problems, table, "has a guard that does not always fire");
		if (truncate == NULL || !truncate->always)
			add_problem(&problems, table,
						"has no guard against TRUNCATE that always fires");
		if (relation->rd_rules != NULL)
			add_problem(&problems, table, "has a rule");
		if (relation->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
			add_problem(&problems, table, "is not logged: a crash would empty it");
		if (guard == NULL)
			add_problem(&problems, table,
						psprintf("has a guard that does not fit it: %s", problem));
		else if (guard->once.n > 0 && !OidIsValid(trigger->parent) &&
				 !payguard_guard_has_once_index(relation, guard))
			add_problem(&problems, table, "has no unique index for its guard's once");
		foreach (heir, find_inheritance_children(trigger->relation, NoLock))
		{
			GuardTrigger *other = payguard_guard_trigger_of(lfirst_oid(heir), false);

			if (other == NULL || strcmp(other->settings, trigger->settings) != 0)
				add_problem(&problems, table,
							psprintf("has the child \"%s\", which has not the same guard",
									 get_rel_name(lfirst_oid(heir))));
			else if (guard && guard->once.n > 0 && !OidIsValid(other->parent))
				add_problem(
					&problems, table,
					psprintf("has the child \"%s\", which its guard's once does not "
							 "cover",
							 get_rel_name(lfirst_oid(heir))));
		}
		RelationClose(relation);
	}
	return problems;
}

static void
add_problem(List **problems, const char *table, const char *problem)
{
	*problems = lappend(
		*problems, list_make2(psprintf("table %s", table), unconstify(char *, problem)));
}

/*
 * payguard_guard_has_once_index looks for a unique index that holds what a guard's `once`
 * says.
 */
bool
payguard_guard_has_once_index(Relation relation, const Guard *guard)
{
	ListCell *cell;
	bool found = false;

	foreach (cell, RelationGetIndexList(relation))
	{
		HeapTuple index = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));

		if (!HeapTupleIsValid(index))
			continue;
		found = found || is_once_index(relation, index, guard);
		ReleaseSysCache(index);
	}
	return found;
}

static bool
is_once_index(Relation relation, HeapTuple index, const Guard *guard)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(index);
	bool isnull;
	Datum condition;

	if (!form->indisunique || !form->indisvalid || !form->indisready ||
		!form->indislive || !form->indimmediate)
		return false;
	/* all its columns are once's; fewer is stricter */
	for (int i = 0; i < form->indnkeyatts; i++)
	{
		bool found = false;

		for (int j = 0; j < guard->once.n; j++)
			found = found || form->indkey.values[i] == guard->once.columns[j];
		if (!found)
			return false;
	}
	condition = SysCacheGetAttr(INDEXRELID, index, Anum_pg_index_indpred, &isnull);
	if (isnull)
		return true;
	return is_once_condition(
		relation, make_ands_implicit(stringToNode(TextDatumGetCString(condition))),
		guard);
}

/*
 * is_once_condition tries an index's condition with each state of the guard: it must hold
 * for the success states. What could run a user's code is not tried.
 */
static bool
is_once_condition(Relation relation, List *condition, const Guard *guard)
{
	TupleDesc desc = RelationGetDescr(relation);
	Bitmapset *columns = NULL;
	EState *estate;
	ExprContext *context;
	ExprState *qual;
	TupleTableSlot *row;
	bool fits = true;

	pull_varattnos((Node *) condition, 1, &columns);
	if (runs_foreign_code((Node *) condition, NULL) ||
		!bms_equal(columns, bms_make_singleton(guard->status -
											   FirstLowInvalidHeapAttributeNumber)))
		return false;
	estate = CreateExecutorState();
	context = GetPerTupleExprContext(estate);
	row = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	context->ecxt_scantuple = row;
	qual = ExecPrepareQual(condition, estate);
	for (int i = 0; i < guard->nstates; i++)
	{
		ExecClearTuple(row);
		memset(row->tts_isnull, true, desc->natts);
		row->tts_isnull[guard->status - 1] = false;
		row->tts_values[guard->status - 1] =
			guard->is_enum ? ObjectIdGetDatum(guard->states[i].label)
						   : CStringGetTextDatum(guard->states[i].name);
		ExecStoreVirtualTuple(row);
		if (guard->states[i].success && !ExecQual(qual, context))
			fits = false;
	}
	ExecDropSingleTupleTableSlot(row);
	FreeExecutorState(estate);
	return fits;
}

static bool
runs_foreign_code(Node *node, void *context)
{
	if (node == NULL)
		return false;
	/* a domain's constraints are the user's */
	if (IsA(node, CoerceToDomain) ||
		check_functions_in_node(node, is_foreign_function, context))
		return true;
	return expression_tree_walker(node, runs_foreign_code, context);
}

static bool
is_foreign_function(Oid function, void *context)
{
	return function >= FirstNormalObjectId;
}
