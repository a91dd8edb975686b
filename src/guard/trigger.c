/*
 * trigger.c
 *		The guards, as the catalogs have them: their triggers, and the tables that have them.
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
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/compat.h"
#include "base/text.h"
#include "guard/trigger.h"

static GuardTrigger *read_trigger(HeapTuple tuple, TupleDesc desc, Oid function,
								  bool truncate, Snapshot at);
static char *schema_name(Oid schema, Snapshot at);
static bool fires_always(Form_pg_trigger form, bool truncate, HeapTuple tuple,
						 TupleDesc desc);

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
 * payguard_guard_triggers lists the guards' triggers for rows, of all tables.
 */
List *
payguard_guard_triggers(void)
{
	return payguard_guard_triggers_at(NULL);
}

/*
 * payguard_guard_triggers_at is payguard_guard_triggers as of a snapshot; NULL: as of now.
 */
List *
payguard_guard_triggers_at(Snapshot at)
{
	Oid function = payguard_guard_function(false);
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
		triggers = payguard_catalog_scan_begin(TriggerRelationId, TriggerOidIndexId,
											   Anum_pg_trigger_oid, form->objid, at);
		if (HeapTupleIsValid(trigger = systable_getnext(triggers.scan)))
			guard = read_trigger(trigger, RelationGetDescr(triggers.catalog), function,
								 false, at);
		payguard_catalog_scan_end(&triggers);
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

	triggers = payguard_catalog_scan_begin(TriggerRelationId, TriggerRelidNameIndexId,
										   Anum_pg_trigger_tgrelid, relation, at);
	while (HeapTupleIsValid(tuple = systable_getnext(triggers.scan)))
	{
		GuardTrigger *guard = read_trigger(tuple, RelationGetDescr(triggers.catalog),
										   function, truncate, at);

		if (guard)
			list = lappend(list, guard);
	}
	payguard_catalog_scan_end(&triggers);
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
	CatalogScan scan = payguard_catalog_scan_begin(
		RelationRelationId, ClassOidIndexId, Anum_pg_class_oid, guard->relation, at);
	HeapTuple tuple = systable_getnext(scan.scan);
	bool found = HeapTupleIsValid(tuple);

	if (found)
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		guard->table = pstrdup(NameStr(form->relname));
		guard->namespace = form->relnamespace;
		guard->logged = form->relpersistence == RELPERSISTENCE_PERMANENT;
	}
	payguard_catalog_scan_end(&scan);
	if (found)
		guard->schema = schema_name(guard->namespace, at);
	return found;
}

static char *
schema_name(Oid schema, Snapshot at)
{
	CatalogScan scan = payguard_catalog_scan_begin(
		NamespaceRelationId, NamespaceOidIndexId, Anum_pg_namespace_oid, schema, at);
	HeapTuple tuple = systable_getnext(scan.scan);
	char *name = HeapTupleIsValid(tuple)
					 ? pstrdup(NameStr(((Form_pg_namespace) GETSTRUCT(tuple))->nspname))
					 : pstrdup("");

	payguard_catalog_scan_end(&scan);
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
	CatalogScan scan =
		payguard_catalog_scan_begin(AttributeRelationId, AttributeRelidNumIndexId,
									Anum_pg_attribute_attrelid, relation, at);
	HeapTuple tuple;
	List *attributes = NIL;
	ListCell *cell;
	TupleDesc desc;

	while (HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
		if (((Form_pg_attribute) GETSTRUCT(tuple))->attnum > 0)
			attributes = lappend(attributes, heap_copytuple(tuple));
	payguard_catalog_scan_end(&scan);
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
 * payguard_guard_parent returns the table above a partition or heir, the first of several;
 * InvalidOid: there is none.
 */
Oid
payguard_guard_parent(Oid relation, Snapshot at)
{
	CatalogScan scan =
		payguard_catalog_scan_begin(InheritsRelationId, InheritsRelidSeqnoIndexId,
									Anum_pg_inherits_inhrelid, relation, at);
	HeapTuple tuple = systable_getnext(scan.scan);
	Oid parent = HeapTupleIsValid(tuple)
					 ? ((Form_pg_inherits) GETSTRUCT(tuple))->inhparent
					 : InvalidOid;

	payguard_catalog_scan_end(&scan);
	return parent;
}

/*
 * payguard_catalog_scan_begin looks the rows of a catalog up whose column, the first of the index, is oid.
 */
CatalogScan
payguard_catalog_scan_begin(Oid catalog, Oid index, AttrNumber column, Oid oid,
							Snapshot at)
{
	CatalogScan scan;
	ScanKeyData key;

	scan.catalog = table_open(catalog, AccessShareLock);
	ScanKeyInit(&key, column, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(oid));
	scan.scan = systable_beginscan(scan.catalog, index, true, at, 1, &key);
	return scan;
}

/*
 * payguard_catalog_scan_end ends what payguard_catalog_scan_begin() began.
 */
void
payguard_catalog_scan_end(CatalogScan *scan)
{
	systable_endscan(scan->scan);
	table_close(scan->catalog, AccessShareLock);
}

/*
 * payguard_guard_qualified writes a relation's name with its schema, quoted for a statement.
 */
char *
payguard_guard_qualified(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
									  get_rel_name(relation));
}
