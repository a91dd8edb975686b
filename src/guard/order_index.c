/*
 * order_index.c
 *		The index by which sync_rows() finds the rows of an order: without one, each order would cost the reading of the
 *		whole table.
 *
 * The table is not locked.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_operator.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "guard/order_index.h"
#include "guard/settings.h"
#include "guard/trigger.h"

static bool is_order_index(HeapTuple index, TupleDesc pg_index,
						   const FormData_pg_attribute *column, Oid operator);
static bool finds_equal(Oid opclass, Oid operator);
static Oid equality(TupleDesc desc, const Guard *guard);

/*
 * payguard_order_index_check raises 55000 where one of the tables has no such index, the guarded one being the first.
 * The index of a partitioned table is that of its partitions.
 */
void
payguard_order_index_check(List *tables, const char *settings)
{
	bool partitioned = get_rel_relkind(linitial_oid(tables)) == RELKIND_PARTITIONED_TABLE;
	ListCell *cell;

	foreach (cell, tables)
	{
		Oid table = lfirst_oid(cell);
		TupleDesc desc = payguard_guard_desc(table, NULL);
		const char *problem;
		const Guard *guard = payguard_guard_parse(settings, desc, &problem);
		const char *column;

		CHECK_FOR_INTERRUPTS();
		if ((partitioned && cell != list_head(tables)) || guard == NULL ||
			payguard_order_index_is_there(table, desc, guard, NULL, InvalidOid))
			continue;
		column = NameStr(TupleDescAttr(desc, guard->order_id - 1)->attname);
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("relation \"%s\" has no index that begins with column \"%s\"",
						get_rel_name(table), column),
				 errdetail("By it, follow finds the rows of an order. Nothing has been "
						   "changed."),
				 errhint("Make one: CREATE INDEX ON %s (%s)",
						 payguard_guard_qualified(table), quote_identifier(column))));
	}
}

/*
 * payguard_order_index_is_there looks for an index that finds the rows of an order. desc: the relation's columns; at:
 * the moment, NULL for now; but: an index that does not count.
 */
bool
payguard_order_index_is_there(Oid relation, TupleDesc desc, const Guard *guard,
							  Snapshot at, Oid but)
{
	const FormData_pg_attribute *column = TupleDescAttr(desc, guard->order_id - 1);
	Oid operator= equality(desc, guard);
	CatalogScan scan = payguard_catalog_scan_begin(IndexRelationId, IndexIndrelidIndexId,
												   Anum_pg_index_indrelid, relation, at);
	HeapTuple tuple;
	bool found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan.scan)))
		found = ((Form_pg_index) GETSTRUCT(tuple))->indexrelid != but &&
				is_order_index(tuple, RelationGetDescr(scan.catalog), column, operator);
	payguard_catalog_scan_end(&scan);
	return found;
}

static bool
is_order_index(HeapTuple index, TupleDesc pg_index, const FormData_pg_attribute *column,
			   Oid operator)
{
	Form_pg_index form = (Form_pg_index) GETSTRUCT(index);
	bool isnull;
	Oid opclass;
	Oid collation;

	(void) heap_getattr(index, Anum_pg_index_indpred, pg_index, &isnull);
	if (!isnull || !form->indisvalid || !form->indisready || !form->indislive ||
		form->indkey.values[0] != column->attnum)
		return false;
	opclass = ((oidvector *) DatumGetPointer(
				   heap_getattr(index, Anum_pg_index_indclass, pg_index, &isnull)))
				  ->values[0];
	collation = ((oidvector *) DatumGetPointer(
					 heap_getattr(index, Anum_pg_index_indcollation, pg_index, &isnull)))
					->values[0];
	return collation == column->attcollation && finds_equal(opclass, operator);
}

static bool
finds_equal(Oid opclass, Oid operator)
{
	HeapTuple tuple = SearchSysCache1(CLAOID, ObjectIdGetDatum(opclass));
	Form_pg_opclass form;
	bool finds;

	if (!HeapTupleIsValid(tuple))
		return false;
	form = (Form_pg_opclass) GETSTRUCT(tuple);
	finds = (form->opcmethod == BTREE_AM_OID || form->opcmethod == HASH_AM_OID) &&
			op_in_opfamily(operator, form->opcfamily);
	ReleaseSysCache(tuple);
	return finds;
}

/*
 * payguard_order_index_equality writes the operator by which such an index finds an id, for a statement; NULL: the
 * column's type has none.
 */
char *
payguard_order_index_equality(TupleDesc desc, const Guard *guard)
{
	HeapTuple tuple = SearchSysCache1(OPEROID, ObjectIdGetDatum(equality(desc, guard)));
	char *text;

	if (!HeapTupleIsValid(tuple))
		return NULL;
	text = psprintf("OPERATOR(%s.%s)",
					quote_identifier(get_namespace_name(
						((Form_pg_operator) GETSTRUCT(tuple))->oprnamespace)),
					NameStr(((Form_pg_operator) GETSTRUCT(tuple))->oprname));
	ReleaseSysCache(tuple);
	return text;
}

static Oid
equality(TupleDesc desc, const Guard *guard)
{
	Oid type = getBaseType(TupleDescAttr(desc, guard->order_id - 1)->atttypid);

	return lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
}
