/*
 * row.c
 *		The guard on an application's own table: every change of a row, by whomever,
 * follows the table's graph of states.
 *
 *	CREATE TRIGGER payguard_guard AFTER INSERT OR UPDATE OR DELETE ON orders
 *	FOR EACH ROW EXECUTE FUNCTION payguard.guard('{"status_column": "status", ...}');
 *	ALTER TABLE orders ENABLE ALWAYS TRIGGER payguard_guard;
 *
 * AFTER ROW, so that it sees the row as it is, whatever other triggers did to it. It
 * raises or lets pass; it never makes a row vanish. It takes no lock. In replica role (a
 * subscriber that applies changes) only what the row itself shows is checked: an INSERT
 * may bring any state, since the first copy does, and the order need not be there yet.
 *
 * Settings are parsed once per session and trigger, into a memory context each. The
 * relcache callback only marks them as old.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "guard/row_order.h"
#include "guard/settings.h"

typedef struct CacheEntry
{
	Oid trigger;
	Oid relation;
	Guard *guard; /* NULL: not parsed yet */
	MemoryContext context;
	bool old; /* to be parsed again; the mark of an invalidation */
} CacheEntry;

static HTAB *cache = NULL;
static CacheEntry *latest = NULL; /* the next row is most often one of the same table */

static void check_call(FunctionCallInfo fcinfo, bool truncate);
static const Guard *find_guard(const TriggerData *trigger);
static void make_cache(void);
static void forget_relation(Datum argument, Oid relation);
static void forget_all(Datum argument, int cache_id, uint32 hash);
static void check_insert(const Guard *guard, Relation relation, TupleTableSlot *row);
static void check_update(const Guard *guard, Relation relation, TupleTableSlot *was,
						 TupleTableSlot *is);
static void check_delete(const Guard *guard, Relation relation, TupleTableSlot *row);
static int64 version_of(const Guard *guard, TupleTableSlot *row, bool *isnull);
static void check_version(const Guard *guard, Relation relation, TupleTableSlot *was,
						  TupleTableSlot *is);
static void check_columns(const GuardColumns *columns, const char *why, Relation relation,
						  TupleTableSlot *was, TupleTableSlot *is);
static void check_order(const Guard *guard, Relation relation, const GuardState *from,
						const GuardState *to, TupleTableSlot *row);
static bool same_value(TupleTableSlot *was, TupleTableSlot *is, AttrNumber column);
static const char *moves_from(const Guard *guard, int from);
static const char *names_of(const Guard *guard, size_t flag);
static void violation(Relation relation, AttrNumber column, const char *constraint,
					  const char *detail, const char *hint) pg_attribute_noreturn();

PG_FUNCTION_INFO_V1(payguard_guard);

/*
 * guard() is the row trigger. Errors: 23514 with CONSTRAINT payguard_transition,
 * payguard_initial, payguard_immutable, payguard_delete, payguard_unpaid, payguard_amount or
 * payguard_open; 40001 with payguard_version.
 */
Datum
payguard_guard(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const Guard *guard;

	check_call(fcinfo, false);
	guard = find_guard(trigger);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		check_update(guard, trigger->tg_relation, trigger->tg_trigslot,
					 trigger->tg_newslot);
	else if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		check_insert(guard, trigger->tg_relation, trigger->tg_trigslot);
	else
		check_delete(guard, trigger->tg_relation, trigger->tg_trigslot);
	return PointerGetDatum(NULL);
}

PG_FUNCTION_INFO_V1(payguard_guard_truncate);

/*
 * guard_truncate() is the trigger of
 *
 *	CREATE TRIGGER payguard_guard_truncate BEFORE TRUNCATE ON orders
 *	FOR EACH STATEMENT EXECUTE FUNCTION payguard.guard_truncate();
 *	ALTER TABLE orders ENABLE ALWAYS TRIGGER payguard_guard_truncate;
 *
 * Error: 23514 with CONSTRAINT payguard_truncate.
 */
Datum
payguard_guard_truncate(PG_FUNCTION_ARGS)
{
	Relation relation;

	check_call(fcinfo, true);
	relation = ((TriggerData *) fcinfo->context)->tg_relation;
	ereport(ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("truncating relation \"%s\" violates check constraint \"%s\"",
					RelationGetRelationName(relation), "payguard_truncate"),
			 errdetail(
				 "The table is guarded: rows are deleted one by one, in the states that "
				 "the guard names."),
			 errhint("The table's owner can take the guard off: "
					 "SELECT payguard.unguard_table(...)."),
			 errtableconstraint(relation, "payguard_truncate")));
}

static void
check_call(FunctionCallInfo fcinfo, bool truncate)
{
	const char *name = truncate ? "guard_truncate()" : "guard()";
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s was not called as a trigger", name)));
	if (truncate ? !TRIGGER_FIRED_BEFORE(trigger->tg_event)
				 : !TRIGGER_FIRED_AFTER(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s must be fired %s the change", name,
							   truncate ? "before" : "after")));
	if (truncate ? !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event)
				 : !TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s must be fired for %s", name,
							   truncate ? "TRUNCATE" : "each row")));
	if (trigger->tg_trigger->tgnargs != (truncate ? 0 : 1))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("%s has another number of arguments", name)));
}

/*
 * find_guard returns the settings of the trigger that is firing.
 */
static const Guard *
find_guard(const TriggerData *trigger)
{
	Oid oid = trigger->tg_trigger->tgoid;
	CacheEntry *entry;
	MemoryContext caller;
	const char *problem;
	bool found;

	if (likely(latest && latest->trigger == oid && latest->guard && !latest->old))
		return latest->guard;
	if (cache == NULL)
		make_cache();
	entry = latest = hash_search(cache, &oid, HASH_ENTER, &found);
	if (found && entry->guard != NULL && !entry->old)
		return entry->guard;
	if (!found)
		entry->context = NULL;
	entry->guard = NULL;
	entry->relation = RelationGetRelid(trigger->tg_relation);
	if (entry->context)
		MemoryContextReset(entry->context);
	else
		entry->context = AllocSetContextCreate(CacheMemoryContext, "payguard guard",
											   ALLOCSET_SMALL_SIZES);
	/* an invalidation while we parse marks it again */
	entry->old = false;
	caller = MemoryContextSwitchTo(entry->context);
	entry->guard = payguard_guard_parse(trigger->tg_trigger->tgargs[0],
										RelationGetDescr(trigger->tg_relation), &problem);
	MemoryContextSwitchTo(caller);
	if (entry->guard == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("the guard on relation \"%s\" is broken",
						RelationGetRelationName(trigger->tg_relation)),
				 errdetail("%s", problem),
				 errhint("Take it off and put it on again: payguard.unguard_table(), "
						 "payguard.guard_table().")));
	return entry->guard;
}

static void
make_cache(void)
{
	HASHCTL control = {
		.keysize = sizeof(Oid),
		.entrysize = sizeof(CacheEntry),
		.hcxt = AllocSetContextCreate(CacheMemoryContext, "payguard guards",
									  ALLOCSET_SMALL_SIZES),
	};

	cache = hash_create("payguard guards", 16, &control,
						HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(forget_relation, (Datum) 0);
	CacheRegisterSyscacheCallback(ENUMOID, forget_all, (Datum) 0);
}

static void
forget_relation(Datum argument, Oid relation)
{
	HASH_SEQ_STATUS scan;
	CacheEntry *entry;

	hash_seq_init(&scan, cache);
	while ((entry = hash_seq_search(&scan)) != NULL)
		if (!OidIsValid(relation) || entry->relation == relation)
			entry->old = true;
}

static void
forget_all(Datum argument, int cache_id, uint32 hash)
{
	forget_relation(argument, InvalidOid);
}

static void
check_insert(const Guard *guard, Relation relation, TupleTableSlot *row)
{
	bool isnull;
	Datum value = slot_getattr(row, guard->status, &isnull);
	int state = payguard_guard_state(guard, value, isnull);
	bool replica = SessionReplicationRole == SESSION_REPLICATION_ROLE_REPLICA;

	if (state < 0 || (!replica && !guard->states[state].initial))
		violation(relation, guard->status, "payguard_initial",
				  psprintf("A new row has the status %s; it may have: %s.",
						   payguard_guard_status_of(guard, row),
						   names_of(guard, offsetof(GuardState, initial))),
				  "Insert the row in its first state, and update it from there.");
	if (!replica)
		check_order(guard, relation, NULL, &guard->states[state], row);
}

static void
check_update(const Guard *guard, Relation relation, TupleTableSlot *was,
			 TupleTableSlot *is)
{
	bool was_null;
	bool is_null;
	Datum was_value = slot_getattr(was, guard->status, &was_null);
	Datum is_value = slot_getattr(is, guard->status, &is_null);
	int from = payguard_guard_state(guard, was_value, was_null);
	int to = payguard_guard_state(guard, is_value, is_null);

	/* a row of a time before the guard may be in no state of the graph, and stay there */
	if (from != to ? (from < 0 || to < 0 || !guard->moves[MOVE(guard, from, to)])
				   : (from < 0 && !same_value(was, is, guard->status)))
		violation(relation, guard->status, "payguard_transition",
				  psprintf("The status goes from %s to %s; %s.",
						   payguard_guard_status_of(guard, was),
						   payguard_guard_status_of(guard, is), moves_from(guard, from)),
				  "Read the row again: another writer may have changed it.");
	if (AttributeNumberIsValid(guard->version))
		check_version(guard, relation, was, is);
	check_columns(&guard->frozen, "it never changes", relation, was, is);
	if (to < 0)
		return;
	if ((guard->states[from].paid || guard->states[from].success) &&
		(guard->states[to].paid || guard->states[to].success))
		check_columns(&guard->held, "it does not change while the row counts as paid",
					  relation, was, is);
	if (guard->states[from].closed && guard->states[to].closed)
		check_columns(&guard->order, "it does not change while the row counts as closed",
					  relation, was, is);
	if (from != to && SessionReplicationRole != SESSION_REPLICATION_ROLE_REPLICA)
		check_order(guard, relation, &guard->states[from], &guard->states[to], is);
}

static void
check_delete(const Guard *guard, Relation relation, TupleTableSlot *row)
{
	bool isnull;
	Datum value = slot_getattr(row, guard->status, &isnull);
	int state = payguard_guard_state(guard, value, isnull);

	if (state < 0 || !guard->states[state].deletable)
	{
		const char *names = names_of(guard, offsetof(GuardState, deletable));

		ereport(
			ERROR,
			(errcode(ERRCODE_CHECK_VIOLATION),
			 errmsg("delete on relation \"%s\" violates check constraint \"%s\"",
					RelationGetRelationName(relation), "payguard_delete"),
			 errdetail("The row has the status %s; rows may be deleted in: %s.",
					   payguard_guard_status_of(guard, row), names),
			 errhint("Move the row to a state in which it may be deleted, or keep it. "
					 "A change of a partition key is a delete too."),
			 errtablecol(relation, guard->status),
			 err_generic_string(PG_DIAG_CONSTRAINT_NAME, "payguard_delete")));
	}
}

static int64
version_of(const Guard *guard, TupleTableSlot *row, bool *isnull)
{
	Datum value = slot_getattr(row, guard->version, isnull);

	if (*isnull)
		return 0; /* for an ORM that leaves the first version NULL */
	switch (guard->version_type)
	{
		case INT2OID:
			return DatumGetInt16(value);
		case INT4OID:
			return DatumGetInt32(value);
		default:
			return DatumGetInt64(value);
	}
}

/*
 * check_version raises 40001 unless the version grows by 1. A new row may begin with any.
 */
static void
check_version(const Guard *guard, Relation relation, TupleTableSlot *was,
			  TupleTableSlot *is)
{
	bool was_null;
	bool is_null;
	int64 old = version_of(guard, was, &was_null);
	int64 new = version_of(guard, is, &is_null);

	if (!is_null && old < PG_INT64_MAX && new == old + 1)
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
		 errmsg("could not serialize access: the version of a row of relation \"%s\" is "
				"stale or was not raised",
				RelationGetRelationName(relation)),
		 errdetail(
			 "Column \"%s\" goes from " INT64_FORMAT " to %s; every update raises "
			 "it by 1.",
			 NameStr(
				 TupleDescAttr(RelationGetDescr(relation), guard->version - 1)->attname),
			 old, is_null ? "null" : psprintf(INT64_FORMAT, new)),
		 errhint("Read the row again and repeat the change on what it is now."),
		 errtablecol(relation, guard->version),
		 err_generic_string(PG_DIAG_CONSTRAINT_NAME, "payguard_version")));
}

/*
 * check_columns raises 23514 where one of the columns has changed. Their values are not
 * shown: who may write a column need not be one who may read it.
 */
static void
check_columns(const GuardColumns *columns, const char *why, Relation relation,
			  TupleTableSlot *was, TupleTableSlot *is)
{
	for (int i = 0; i < columns->n; i++)
	{
		AttrNumber column = columns->columns[i];

		if (!same_value(was, is, column))
			violation(
				relation, column, "payguard_immutable",
				psprintf(
					"Column \"%s\" is changed, but %s.",
					NameStr(
						TupleDescAttr(RelationGetDescr(relation), column - 1)->attname),
					why),
				"Leave the column as it is.");
	}
}

/*
 * check_order raises 23514 where a row gets into a state that its order does not allow. from: the
 * state that it leaves; NULL: it is new.
 */
static void
check_order(const Guard *guard, Relation relation, const GuardState *from,
			const GuardState *to, TupleTableSlot *row)
{
	RowOrder order;
	const char *status;

	if (to->paid && (from == NULL || !from->paid))
		order = payguard_row_order_is_paid(guard, row, false);
	else if (to->closed && (from == NULL || !from->closed))
		order = payguard_row_order_is_closed(guard, row, false);
	else
		return;
	if (order == ROW_ORDER_FITS)
		return;
	status = payguard_guard_status_of(guard, row);
	switch (order)
	{
		case ROW_ORDER_FITS:
			break;
		case ROW_ORDER_UNPAID:
			violation(
				relation, guard->order_id, "payguard_unpaid",
				psprintf("The status %s says that the order is paid, and payguard knows "
						 "no paid order of this id.",
						 status),
				"Pay it first, in this transaction or before: payguard.pay_order(), or "
				"the channel's report.");
		case ROW_ORDER_OPEN:
			violation(
				relation, guard->order_id, "payguard_open",
				psprintf("The status %s says that nobody will pay the order any more, "
						 "and payguard knows no order of this id that is cancelled, "
						 "expired or refunded.",
						 status),
				"Close it first, in this transaction or before: payguard.cancel_order(), "
				"or payguard.refund_order() where it is paid.");
		case ROW_ORDER_OTHER_CURRENCY:
			violation(
				relation, guard->currency, "payguard_amount",
				psprintf("The status %s says that the order is paid, and payguard's "
						 "order is in another currency than the row.",
						 status),
				"Row and order must have the same amount and currency: compare them with "
				"payguard.order_status().");
		case ROW_ORDER_OTHER_AMOUNT:
			violation(
				relation, guard->amount, "payguard_amount",
				psprintf("The status %s says that the order is paid, and payguard's "
						 "order is over another amount than the row.",
						 status),
				guard->amount_type == NUMERICOID
					? "Row and order must have the same amount. A numeric column has "
					  "major units, as payguard.major_units() makes them."
					: "Row and order must have the same amount. A column of whole "
					  "numbers has minor units, as payguard.minor_units() makes them.");
	}
}

/*
 * same_value compares bytes, so that no collation or operator of the user's makes two
 * values the same; for numeric the value, whose 1.0 is 1.00.
 */
static bool
same_value(TupleTableSlot *was, TupleTableSlot *is, AttrNumber column)
{
	Form_pg_attribute attribute = TupleDescAttr(is->tts_tupleDescriptor, column - 1);
	bool was_null;
	bool is_null;
	Datum a = slot_getattr(was, column, &was_null);
	Datum b = slot_getattr(is, column, &is_null);

	if (was_null || is_null)
		return was_null && is_null;
	if (datum_image_eq(a, b, attribute->attbyval, attribute->attlen))
		return true;
	return getBaseType(attribute->atttypid) == NUMERICOID &&
		   DatumGetBool(DirectFunctionCall2(numeric_eq, a, b));
}

static const char *
moves_from(const Guard *guard, int from)
{
	StringInfoData names;

	if (from < 0)
		return "that is no state of the guard, and a row stays in it";
	initStringInfo(&names);
	for (int to = 0; to < guard->nstates; to++)
		if (guard->moves[MOVE(guard, from, to)])
			appendStringInfo(&names, ", \"%s\"", guard->states[to].name);
	if (names.len == 0)
		return "from there it may not change";
	return psprintf("from there it may go to: %s", names.data + 2);
}

/*
 * names_of lists the states that have a flag, a bool's offset in GuardState.
 */
static const char *
names_of(const Guard *guard, size_t flag)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int i = 0; i < guard->nstates; i++)
		if (*((bool *) ((char *) &guard->states[i] + flag)))
			appendStringInfo(&names, ", \"%s\"", guard->states[i].name);
	return names.len == 0 ? "none" : names.data + 2;
}

static void
violation(Relation relation, AttrNumber column, const char *constraint,
		  const char *detail, const char *hint)
{
	ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION),
					/* core's words: some clients find the constraint's name by them */
					errmsg("new row for relation \"%s\" violates check constraint \"%s\"",
						   RelationGetRelationName(relation), constraint),
					errdetail_internal("%s", detail), errhint("%s", hint),
					errtablecol(relation, column),
					err_generic_string(PG_DIAG_CONSTRAINT_NAME, constraint)));
}
