/*
 * losing.c
 *		What a guard does not let go: a table or partition with rows, or the index that holds its `once`.
 *
 * Locking: what is about to go is locked as DROP locks it, and its rows are looked at behind that lock.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "base/compat.h"
#include "guard/command.h"
#include "guard/losing.h"
#include "guard/once.h"
#include "guard/order_index.h"
#include "guard/own.h"
#include "guard/settings.h"
#include "guard/trigger.h"

static bool stays_guarded_above(Oid relation, const List *dropped);

/*
 * payguard_guard_refuse_drop raises PY902 where the command is about to drop a guarded table
 * that has rows, but for a partition with rows that may all be deleted. dropped: the guarded
 * tables that go. It waits for those who are writing to the table, unless the command will
 * fail anyway because its user may not drop it.
 */
void
payguard_guard_refuse_drop(Oid relation, const List *dropped)
{
	char *name = get_rel_name(relation);
	GuardTrigger *guard;

	if (name == NULL || (!payguard_owns_relation(relation, GetUserId()) &&
						 !payguard_owns_schema(get_rel_namespace(relation), GetUserId())))
		return;
	/* as DROP TABLE does: whoever reads the partitioned table locks it first */
	if (get_rel_relispartition(relation))
		LockRelationOid(get_partition_parent(relation, true), AccessExclusiveLock);
	LockRelationOid(relation, AccessExclusiveLock);
	guard = payguard_guard_trigger_of(relation, false);
	if (guard &&
		!payguard_guard_may_all_go(
			relation, stays_guarded_above(relation, dropped) ? guard->settings : NULL))
		payguard_guard_refuse(psprintf("The guarded table \"%s\" has rows.", name));
	payguard_command_drops(relation);
}

/*
 * stays_guarded_above tells whether a relation is a partition of a guarded table that is not
 * dropped itself.
 */
static bool
stays_guarded_above(Oid relation, const List *dropped)
{
	ListCell *cell;

	if (!get_rel_relispartition(relation))
		return false;
	foreach (cell, get_partition_ancestors(relation))
		if (payguard_guard_is_guarded(lfirst_oid(cell)) &&
			!list_member_oid(dropped, lfirst_oid(cell)))
			return true;
	return false;
}

/*
 * payguard_guard_refuse_drop_index raises PY902 where a guard's once is held by this index alone, or the rows of an order
 * are found by it alone.
 * The caller holds a lock that keeps the table's indexes as they are.
 */
void
payguard_guard_refuse_drop_index(Oid relation, Oid index)
{
	GuardTrigger *trigger = payguard_guard_trigger_of(relation, false);
	TupleDesc desc = trigger ? payguard_guard_desc(relation, NULL) : NULL;
	const char *problem;
	Guard *guard = desc ? payguard_guard_parse(trigger->settings, desc, &problem) : NULL;

	if (guard && guard->once.n > 0 && !OidIsValid(trigger->parent) &&
		payguard_once_is_held(relation, desc, guard, NULL, InvalidOid) &&
		!payguard_once_is_held(relation, desc, guard, NULL, index))
		payguard_guard_refuse_broken(trigger, GUARD_LACKS_INDEX);
	if (guard && guard->follows && !OidIsValid(trigger->parent) &&
		payguard_order_index_is_there(relation, desc, guard, NULL, InvalidOid) &&
		!payguard_order_index_is_there(relation, desc, guard, NULL, index))
		payguard_guard_refuse_broken(trigger, GUARD_LACKS_ORDER_INDEX);
}

/*
 * payguard_guard_may_all_go tells whether no row of a relation's own, as of now, is held by a guard:
 * there is none, or each may be deleted. The caller holds a lock that keeps writers away. settings: the
 * guard's; NULL: any row is held.
 */
bool
payguard_guard_may_all_go(Oid oid, const char *settings)
{
	Relation relation;
	TableScanDesc scan;
	Snapshot snapshot;
	TupleTableSlot *row;
	Guard *guard = NULL;
	const char *problem;
	bool may = true;

	if (get_rel_relkind(oid) != RELKIND_RELATION)
		return true;
	relation = table_open(oid, AccessShareLock);
	if (settings)
		guard = payguard_guard_parse(settings, RelationGetDescr(relation), &problem);
	snapshot = RegisterSnapshot(GetLatestSnapshot());
	row = table_slot_create(relation, NULL);
	scan = payguard_table_beginscan(relation, snapshot);
	while (may && table_scan_getnextslot(scan, ForwardScanDirection, row))
	{
		bool isnull;
		int state = -1;

		CHECK_FOR_INTERRUPTS();
		if (guard)
		{
			Datum status = slot_getattr(row, guard->status, &isnull);

			state = payguard_guard_state(guard, status, isnull);
		}
		may = state >= 0 && guard->states[state].deletable;
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(row);
	UnregisterSnapshot(snapshot);
	table_close(relation, NoLock);
	return may;
}

/*
 * payguard_guard_refuse_broken raises PY902 for what a command would break about a guard. problem: the
 * rest of the sentence that begins with the table.
 */
void
payguard_guard_refuse_broken(const GuardTrigger *guard, const char *problem)
{
	payguard_refuse_broken(psprintf(
		"table %s %s", quote_qualified_identifier(guard->schema, guard->table), problem));
}

/*
 * payguard_guard_refuse raises PY902 for what a guard does not let go; its owner may take it off. detail:
 * a sentence.
 */
void
payguard_guard_refuse(const char *detail)
{
	payguard_refuse_ddl(detail, "The table's owner can take the guard off first: "
								"SELECT payguard.unguard_table(...).");
}
