/*
 * problem.c
 *		What is wrong with the guards of a table: a trigger that does not fire always, settings that do not fit its
 *		columns, an index that is gone, a rule, a child that is guarded otherwise.
 *
 * Nothing is locked, and no row is read: rows are looked at in bad_rows.c.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_rewrite.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

#include "guard/once.h"
#include "guard/order_index.h"
#include "guard/problem.h"
#include "guard/settings.h"
#include "guard/trigger.h"

static List *children(Oid relation, Snapshot at);
static bool has_rule(Oid relation, Snapshot at);
static void add_child_problems(List **problems, const GuardTrigger *trigger,
							   const Guard *guard, Snapshot at);

/*
 * children lists the relations that inherit from one directly, partitions among them.
 */
static List *
children(Oid relation, Snapshot at)
{
	CatalogScan scan =
		payguard_catalog_scan_begin(InheritsRelationId, InheritsParentIndexId,
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
	payguard_catalog_scan_end(&scan);
	return list;
}

static bool
has_rule(Oid relation, Snapshot at)
{
	CatalogScan scan =
		payguard_catalog_scan_begin(RewriteRelationId, RewriteRelRulenameIndexId,
									Anum_pg_rewrite_ev_class, relation, at);
	bool found = HeapTupleIsValid(systable_getnext(scan.scan));

	payguard_catalog_scan_end(&scan);
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
	if (guard && guard->follows && !OidIsValid(trigger->parent) &&
		!payguard_order_index_is_there(trigger->relation, desc, guard, at, InvalidOid))
		problems = lappend(problems, GUARD_LACKS_ORDER_INDEX);
	add_child_problems(&problems, trigger, guard, at);
	return problems;
}

/*
 * add_child_problems lists children that are not guarded as the table is: their rows are rows of the table. guard: NULL
 * where the settings do not fit.
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
	foreach (cell, payguard_guard_triggers())
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
