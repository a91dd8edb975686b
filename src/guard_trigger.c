/*
 * guard_trigger.c
 *		The guards, as the catalogs have them: their triggers, the tables below theirs, and
 * what is wrong with them.
 *
 * Each question can be asked about now (no snapshot) or about the moment that a snapshot shows:
 * see command.c. Nothing here locks a guarded table: guards are found by their dependency on the
 * trigger function or by their table, and tables are read from the catalogs.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "guard.h"
#include "payguard.h"

/* What a scan of a catalog needs. */
typedef struct CatalogScan
{
	Relation catalog;
	SysScanDesc scan;
} CatalogScan;

static GuardTrigger *read_trigger(HeapTuple tuple, TupleDesc desc, Oid function,
								  bool truncate, Snapshot at);
static bool fires_always(Form_pg_trigger form, bool truncate, HeapTuple tuple,
						 TupleDesc desc);
static char *schema_name(Oid schema, Snapshot at);
static List *children(Oid relation, Snapshot at);
static bool has_rule(Oid relation, Snapshot at);
static void add_child_problems(List **problems, const GuardTrigger *trigger,
							   const Guard *guard, Snapshot at);
static CatalogScan begin_scan(Oid catalog, Oid index, AttrNumber column, Oid oid,
							  Snapshot at);
static void end_scan(CatalogScan *scan);

/*
 * payguard_guard_function looks a trigger function up without asking whether the user may: any
 * user's DDL gets here.
 */
Oid
payguard_guard_function(bool truncate)
{
	return GetSysCacheOid3(
		PROCNAMEARGSNSP, Anum_pg_proc_oid,
		CStringGetDatum(truncate ? GUARD_TRUNCATE_FUNCTION : GUARD_FUNCTION),
		PointerGetDatum(buildoidvector(NULL, 0)),
		ObjectIdGetDatum(get_namespace_oid(PAYGUARD_SCHEMA, true)));
}

/*
 * payguard_guard_triggers lists the guards' triggers, for rows or for TRUNCATE, of all
 * tables.
 */
List *
payguard_guard_triggers(bool truncate)
{
	return payguard_guard_triggers_at(truncate, NULL);
}

List *
payguard_guard_triggers_at(bool truncate, Snapshot at)
{
	Oid function = payguard_guard_function(truncate);
	Relation depend;
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple tuple;
	List *list = NIL;

	if (!OidIsValid(function))
		return NIL;
	depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ProcedureRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(function));
	scan = systable_beginscan(depend, DependReferenceIndexId, true, at, 2, keys);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);
		CatalogScan triggers;
		HeapTuple trigger;
		GuardTrigger *guard = NULL;

		if (form->classid != TriggerRelationId)
			continue;
		triggers = begin_scan(TriggerRelationId, TriggerOidIndexId, Anum_pg_trigger_oid,
							  form->objid, at);
		if (HeapTupleIsValid(trigger = systable_getnext(triggers.scan)))
			guard = read_trigger(trigger, RelationGetDescr(triggers.catalog), function,
								 truncate, at);
		end_scan(&triggers);
		if (guard)
			list = lappend(list, guard);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return list;
}

/*
 * payguard_guard_triggers_of lists a relation's guards, for rows or for TRUNCATE. There is one,
 * unless a superuser has made more.
 */
List *
payguard_guard_triggers_of(Oid relation, bool truncate, Snapshot at)
{
	Oid function = payguard_guard_function(truncate);
	CatalogScan triggers;
	HeapTuple tuple;
	List *list = NIL;

	triggers = begin_scan(TriggerRelationId, TriggerRelidNameIndexId,
						  Anum_pg_trigger_tgrelid, relation, at);
	while (HeapTupleIsValid(tuple = systable_getnext(triggers.scan)))
	{
		GuardTrigger *guard = read_trigger(tuple, RelationGetDescr(triggers.catalog),
										   function, truncate, at);

		if (guard)
			list = lappend(list, guard);
	}
	end_scan(&triggers);
	return list;
}

/*
 * payguard_guard_trigger_of returns a relation's guard, for rows or for TRUNCATE; NULL:
 * it has none.
 */
GuardTrigger *
payguard_guard_trigger_of(Oid relation, bool truncate)
{
	List *triggers = payguard_guard_triggers_of(relation, truncate, NULL);

	return triggers ? linitial(triggers) : NULL;
}

/*
 * payguard_guard_is_guarded tells whether a relation has a guard now.
 */
bool
payguard_guard_is_guarded(Oid relation)
{
	return OidIsValid(relation) && payguard_guard_trigger_of(relation, false) != NULL;
}

static GuardTrigger *
read_trigger(HeapTuple tuple, TupleDesc desc, Oid function, bool truncate, Snapshot at)
{
	Form_pg_trigger form = (Form_pg_trigger) GETSTRUCT(tuple);
	GuardTrigger *guard;
	bool isnull;

	if (!OidIsValid(function) || form->tgfoid != function ||
		form->tgnargs != (truncate ? 0 : 1))
		return NULL;
	guard = palloc0(sizeof(GuardTrigger));
	guard->trigger = form->oid;
	guard->relation = form->tgrelid;
	guard->parent = form->tgparentid;
	guard->always = fires_always(form, truncate, tuple, desc);
	guard->name = pstrdup(NameStr(form->tgname));
	if (!truncate)
	{
		bytea *arguments =
			DatumGetByteaPP(heap_getattr(tuple, Anum_pg_trigger_tgargs, desc, &isnull));

		guard->settings = pnstrdup(VARDATA_ANY(arguments), VARSIZE_ANY_EXHDR(arguments));
	}
	return payguard_guard_read_relation(guard, at) ? guard : NULL;
}

/*
 * payguard_guard_read_relation fills in what pg_class says of a guard's relation; false: there is
 * none.
 */
bool
payguard_guard_read_relation(GuardTrigger *guard, Snapshot at)
{
	CatalogScan scan = begin_scan(RelationRelationId, ClassOidIndexId, Anum_pg_class_oid,
								  guard->relation, at);
	HeapTuple tuple = systable_getnext(scan.scan);
	bool found = HeapTupleIsValid(tuple);

	if (found)
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		guard->table = pstrdup(NameStr(form->relname));
		guard->namespace = form->relnamespace;
		guard->logged = form->relpersistence == RELPERSISTENCE_PERMANENT;
	}
	end_scan(&scan);
	if (found)
		guard->schema = schema_name(guard->namespace, at);
	return found;
}

static char *
schema_name(Oid schema, Snapshot at)
{
	CatalogScan scan = begin_scan(NamespaceRelationId, NamespaceOidIndexId,
								  Anum_pg_namespace_oid, schema, at);
	HeapTuple tuple = systable_getnext(scan.scan);
	char *name = HeapTupleIsValid(tuple)
					 ? pstrdup(NameStr(((Form_pg_namespace) GETSTRUCT(tuple))->nspname))
					 : pstrdup("");

	end_scan(&scan);
	return name;
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
 * payguard_guard_desc describes the columns of a relation, for payguard_guard_parse(); NULL:
 * there is no such relation.
 */
TupleDesc
payguard_guard_desc(Oid relation, Snapshot at)
{
	CatalogScan scan = begin_scan(AttributeRelationId, AttributeRelidNumIndexId,
								  Anum_pg_attribute_attrelid, relation, at);
	HeapTuple tuple;
	List *attributes = NIL;
	ListCell *cell;
	TupleDesc desc;

	while (HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
		if (((Form_pg_attribute) GETSTRUCT(tuple))->attnum > 0)
			attributes = lappend(attributes, heap_copytuple(tuple));
	end_scan(&scan);
	if (attributes == NIL)
		return NULL;
	desc = CreateTemplateTupleDesc(list_length(attributes));
	foreach (cell, attributes)
	{
		Form_pg_attribute form = (Form_pg_attribute) GETSTRUCT((HeapTuple) lfirst(cell));

		if (form->attnum > desc->natts)
			elog(ERROR, "payguard: relation %u lacks a column", relation);
		memcpy(TupleDescAttr(desc, form->attnum - 1), form, ATTRIBUTE_FIXED_PART_SIZE);
	}
	payguard_finish_tuple_desc(desc);
	return desc;
}

/*
 * children lists the relations that inherit from one directly, partitions among them.
 */
static List *
children(Oid relation, Snapshot at)
{
	CatalogScan scan = begin_scan(InheritsRelationId, InheritsParentIndexId,
								  Anum_pg_inherits_inhparent, relation, at);
	HeapTuple tuple;
	List *list = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
	{
		Form_pg_inherits form = (Form_pg_inherits) GETSTRUCT(tuple);

		/* one that is being detached concurrently takes no rows */
		if (!form->inhdetachpending)
			list = lappend_oid(list, form->inhrelid);
	}
	end_scan(&scan);
	return list;
}

/*
 * payguard_guard_parent returns the table above a partition or heir, the first of several;
 * InvalidOid: there is none.
 */
Oid
payguard_guard_parent(Oid relation, Snapshot at)
{
	CatalogScan scan = begin_scan(InheritsRelationId, InheritsRelidSeqnoIndexId,
								  Anum_pg_inherits_inhrelid, relation, at);
	HeapTuple tuple = systable_getnext(scan.scan);
	Oid parent = HeapTupleIsValid(tuple)
					 ? ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent
					 : InvalidOid;

	end_scan(&scan);
	return parent;
}

static bool
has_rule(Oid relation, Snapshot at)
{
	CatalogScan scan = begin_scan(RewriteRelationId, RewriteRelRulenameIndexId,
								  Anum_pg_rewrite_ev_class, relation, at);
	bool found = HeapTupleIsValid(systable_getnext(scan.scan));

	end_scan(&scan);
	return found;
}

/*
 * payguard_guard_find_problems lists what is wrong with a guard itself, strings; its table's rows are
 * not read.
 */
List *
payguard_guard_find_problems(const GuardTrigger *trigger, Snapshot at)
{
	List *truncate = payguard_guard_triggers_of(trigger->relation, true, at);
	TupleDesc desc = payguard_guard_desc(trigger->relation, at);
	List *problems = NIL;
	const char *problem;
	Guard *guard;

	if (desc == NULL)
		return NIL;
	guard = payguard_guard_parse(trigger->settings, desc, &problem);
	if (!trigger->always)
		problems = lappend(problems, "has a guard that does not always fire");
	if (truncate == NIL || !((GuardTrigger *) linitial(truncate))->always)
		problems = lappend(problems, "has no guard against TRUNCATE that always fires");
	if (has_rule(trigger->relation, at))
		problems = lappend(problems, "has a rule");
	if (!trigger->logged)
		problems = lappend(problems, "is not logged: a crash would empty it");
	if (guard == NULL)
		problems =
			lappend(problems, psprintf("has a guard that does not fit it: %s", problem));
	else if (guard->once.n > 0 && !OidIsValid(trigger->parent) &&
			 !payguard_once_is_held(trigger->relation, desc, guard, at, InvalidOid))
		problems = lappend(problems, GUARD_LACKS_INDEX);
	add_child_problems(&problems, trigger, guard, at);
	return problems;
}

/*
 * add_child_problems: rows of a child are rows of the table, and must be guarded alike. guard:
 * NULL where the settings do not fit.
 */
static void
add_child_problems(List **problems, const GuardTrigger *trigger, const Guard *guard,
				   Snapshot at)
{
	ListCell *cell;

	foreach (cell, children(trigger->relation, at))
	{
		GuardTrigger child = {.relation = lfirst_oid(cell)};
		List *triggers = payguard_guard_triggers_of(child.relation, false, at);
		GuardTrigger *other = triggers ? linitial(triggers) : NULL;

		if (!payguard_guard_read_relation(&child, at))
			continue;
		if (other == NULL || strcmp(other->settings, trigger->settings) != 0)
			*problems = lappend(
				*problems, psprintf("has the child \"%s\", which has not the same guard",
									child.table));
		else if (guard && guard->once.n > 0 && !OidIsValid(other->parent))
			*problems = lappend(
				*problems,
				psprintf("has the child \"%s\", which its guard's once does not cover",
						 child.table));
	}
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
	ListCell *problem;

	InitMaterializedSRF(fcinfo, 0);
	foreach (cell, payguard_guard_triggers(false))
	{
		GuardTrigger *trigger = lfirst(cell);

		foreach (problem, payguard_guard_find_problems(trigger, NULL))
		{
			Datum values[2] = {CStringGetTextDatum(psprintf(
								   "table %s", quote_qualified_identifier(
												   trigger->schema, trigger->table))),
							   CStringGetTextDatum(lfirst(problem))};
			bool nulls[2] = {false, false};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

/*
 * begin_scan looks the rows of a catalog up whose column, the first of the index, is oid.
 */
static CatalogScan
begin_scan(Oid catalog, Oid index, AttrNumber column, Oid oid, Snapshot at)
{
	CatalogScan scan;
	ScanKeyData key;

	scan.catalog = table_open(catalog, AccessShareLock);
	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(oid));
	scan.scan = systable_beginscan(scan.catalog, index, true, at, 1, &key);
	return scan;
}

static void
end_scan(CatalogScan *scan)
{
	systable_endscan(scan->scan);
	table_close(scan->catalog, AccessShareLock);
}
