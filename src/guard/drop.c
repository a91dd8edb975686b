/*
 * drop.c
 *		What a DROP would take along: the extension, guarded tables.
 *
 * What depends on an object is followed as DROP follows it, and from a part to its whole: an
 * extension's member, what belongs to a table internally. Whether the command says CASCADE does
 * not matter, because without it the command fails where anything depends on the objects. A
 * column that would go counts as its table.
 *
 * The catalogs are read, and nothing is locked.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_language.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_shdepend.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/proclang.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "parser/parse_type.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"

#include "guard/drop.h"
#include "guard/trigger.h"

/* The objects that would go: each once, in the order in which they were found. */
typedef struct Gone
{
	HTAB *known;
	List *objects; /* of ObjectAddress, with the number of no column */
} Gone;

static bool name_object(Node *name, ObjectType type, ObjectAddress *object);
static void add_extensions_of(List **objects, const List *roles);
static List *add_object(List *objects, Oid class, Oid id);
static void add_gone(Gone *gone, Oid class, Oid id);
static void add_dependents(Gone *gone, Relation depend, const ObjectAddress *object);
static void add_wholes(Gone *gone, Relation depend, const ObjectAddress *object);
static SysScanDesc scan_depend(Relation depend, Oid index, AttrNumber class_column,
							   AttrNumber id_column, const ObjectAddress *object);
static Oid guarded_table(Oid trigger);

/*
 * payguard_drop_named lists the objects that a DROP names, if it is of a kind that can take along
 * anything of ours.
 */
List *
payguard_drop_named(const DropStmt *statement)
{
	List *objects = NIL;
	ListCell *cell;

	foreach (cell, statement->objects)
	{
		ObjectAddress object;

		if (name_object(lfirst(cell), statement->removeType, &object) &&
			OidIsValid(object.objectId))
			objects = add_object(objects, object.classId, object.objectId);
	}
	return objects;
}

static bool
name_object(Node *name, ObjectType type, ObjectAddress *object)
{
	switch (type)
	{
		case OBJECT_EXTENSION:
			ObjectAddressSet(*object, ExtensionRelationId,
							 get_extension_oid(strVal(name), true));
			return true;
		case OBJECT_LANGUAGE:
			ObjectAddressSet(*object, LanguageRelationId,
							 get_language_oid(strVal(name), true));
			return true;
		case OBJECT_SCHEMA:
			ObjectAddressSet(*object, NamespaceRelationId,
							 get_namespace_oid(strVal(name), true));
			return true;
		case OBJECT_TABLE:
			ObjectAddressSet(
				*object, RelationRelationId,
				RangeVarGetRelid(makeRangeVarFromNameList(castNode(List, name)), NoLock,
								 true));
			return true;
		case OBJECT_TYPE:
			ObjectAddressSet(*object, TypeRelationId,
							 LookupTypeNameOid(NULL, castNode(TypeName, name), true));
			return true;
		default:
			return false;
	}
}

/*
 * payguard_drop_owned lists the objects that DROP OWNED drops.
 */
List *
payguard_drop_owned(const DropOwnedStmt *statement)
{
	Relation depend = table_open(SharedDependRelationId, AccessShareLock);
	List *objects = NIL;
	List *roles = NIL;
	ListCell *cell;

	foreach (cell, statement->roles)
		roles = lappend_oid(roles, get_rolespec_oid(lfirst_node(RoleSpec, cell), true));
	foreach (cell, roles)
	{
		ScanKeyData keys[2];
		SysScanDesc scan;
		HeapTuple tuple;

		ScanKeyInit(&keys[0], Anum_pg_shdepend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(AuthIdRelationId));
		ScanKeyInit(&keys[1], Anum_pg_shdepend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
					ObjectIdGetDatum(lfirst_oid(cell)));
		scan =
			systable_beginscan(depend, SharedDependReferenceIndexId, true, NULL, 2, keys);
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			Form_pg_shdepend form = (Form_pg_shdepend) GETSTRUCT(tuple);

			if (form->deptype == SHARED_DEPENDENCY_OWNER && form->dbid == MyDatabaseId)
				objects = add_object(objects, form->classid, form->objid);
		}
		systable_endscan(scan);
	}
	table_close(depend, AccessShareLock);
	add_extensions_of(&objects, roles);
	return objects;
}

/*
 * add_extensions_of adds the extensions that a role owns: what the first superuser owns is not in pg_shdepend.
 */
static void
add_extensions_of(List **objects, const List *roles)
{
	Relation extensions = table_open(ExtensionRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(extensions, InvalidOid, false, NULL, 0, NULL);
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);

		if (list_member_oid(roles, form->extowner))
			*objects = add_object(*objects, ExtensionRelationId, form->oid);
	}
	systable_endscan(scan);
	table_close(extensions, AccessShareLock);
}

static List *
add_object(List *objects, Oid class, Oid id)
{
	ObjectAddress *object = palloc(sizeof(ObjectAddress));

	ObjectAddressSet(*object, class, id);
	return lappend(objects, object);
}

/*
 * payguard_drop_reaches tells whether the extension would go with these objects. guarded: gets the
 * tables that would lose their guards' triggers, in ascending order.
 */
bool
payguard_drop_reaches(List *objects, List **guarded)
{
	HASHCTL control = {.keysize = sizeof(ObjectAddress),
					   .entrysize = sizeof(ObjectAddress),
					   .hcxt = CurrentMemoryContext};
	Gone gone = {.known = hash_create("payguard objects", 64, &control,
									  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT)};
	Relation depend = table_open(DependRelationId, AccessShareLock);
	bool extension = false;
	ListCell *cell;

	*guarded = NIL;
	foreach (cell, objects)
		add_gone(&gone, ((ObjectAddress *) lfirst(cell))->classId,
				 ((ObjectAddress *) lfirst(cell))->objectId);
	/* the list grows meanwhile */
	for (int i = 0; i < list_length(gone.objects); i++)
	{
		const ObjectAddress *object = list_nth(gone.objects, i);
		Oid table = InvalidOid;

		CHECK_FOR_INTERRUPTS();
		if (object->classId == ExtensionRelationId &&
			object->objectId == get_extension_oid("payguard", true))
			extension = true;
		if (object->classId == TriggerRelationId)
			table = guarded_table(object->objectId);
		if (OidIsValid(table))
			*guarded = list_append_unique_oid(*guarded, table);
		add_dependents(&gone, depend, object);
		add_wholes(&gone, depend, object);
	}
	table_close(depend, AccessShareLock);
	hash_destroy(gone.known);
	list_sort(*guarded, list_oid_cmp);
	return extension;
}

static void
add_gone(Gone *gone, Oid class, Oid id)
{
	ObjectAddress key;
	bool found;

	memset(&key, 0, sizeof(key));
	ObjectAddressSet(key, class, id);
	hash_search(gone->known, &key, HASH_ENTER, &found);
	if (!found)
		gone->objects = add_object(gone->objects, class, id);
}

static void
add_dependents(Gone *gone, Relation depend, const ObjectAddress *object)
{
	SysScanDesc scan =
		scan_depend(depend, DependReferenceIndexId, Anum_pg_depend_refclassid,
					Anum_pg_depend_refobjid, object);
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		add_gone(gone, form->classid, form->objid);
	}
	systable_endscan(scan);
}

static void
add_wholes(Gone *gone, Relation depend, const ObjectAddress *object)
{
	SysScanDesc scan = scan_depend(depend, DependDependerIndexId, Anum_pg_depend_classid,
								   Anum_pg_depend_objid, object);
	HeapTuple tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_depend form = (Form_pg_depend) GETSTRUCT(tuple);

		if (form->deptype == DEPENDENCY_EXTENSION || form->deptype == DEPENDENCY_INTERNAL)
			add_gone(gone, form->refclassid, form->refobjid);
	}
	systable_endscan(scan);
}

static SysScanDesc
scan_depend(Relation depend, Oid index, AttrNumber class_column, AttrNumber id_column,
			const ObjectAddress *object)
{
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], class_column, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object->classId));
	ScanKeyInit(&keys[1], id_column, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object->objectId));
	return systable_beginscan(depend, index, true, NULL, 2, keys);
}

/*
 * guarded_table returns the table of a trigger that is a guard's; InvalidOid: it is none.
 */
static Oid
guarded_table(Oid trigger)
{
	CatalogScan scan = payguard_catalog_scan_begin(TriggerRelationId, TriggerOidIndexId,
												   Anum_pg_trigger_oid, trigger, NULL);
	HeapTuple tuple = systable_getnext(scan.scan);
	Oid table = InvalidOid;

	if (HeapTupleIsValid(tuple) &&
		((Form_pg_trigger) GETSTRUCT(tuple))->tgfoid == payguard_guard_function(false))
		table = ((Form_pg_trigger) GETSTRUCT(tuple))->tgrelid;
	payguard_catalog_scan_end(&scan);
	return table;
}
