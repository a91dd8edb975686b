/*
 * sync_rows.c
 *		The rows of guarded tables follow what happens to their orders.
 *
 * A guard with `follow` is a reader of events (watch/consumer.c) with a position of its own. Its name stands in the
 * guard's settings, so that it stays with the table, whatever the table is called. What an event says is not what a row
 * gets: the order is read anew, with a snapshot that is younger than the window, and the row follows what it is now.
 *
 * Orders with a row that waits or fails are noted in the position (`waiting`) and tried again, so that they hold up
 * nobody. An order that fails has an alert, which ends when its rows are in step.
 *
 * Locking: positions and alerts that nobody holds; of the application, the rows that are moved. No order is locked, and a
 * table that somebody has locked waits.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "rules/machine.h"
#include "base/argument.h"
#include "base/element.h"
#include "base/json.h"
#include "base/text.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "records/about.h"
#include "records/actor.h"
#include "records/alert.h"
#include "records/call.h"
#include "records/order.h"
#include "watch/consumer.h"
#include "guard/order_index.h"
#include "guard/settings.h"
#include "guard/sync_row.h"
#include "guard/trigger.h"

#define MAX_WAITING 10000 /* orders of a guard; more than that, and new events wait */
#define MAX_WINDOWS 200	  /* that one call reads of one guard's events */

/* One call. */
typedef struct Sync
{
	int64 changed;		/* rows */
	MemoryContext each; /* of one order */
	List *tried;		/* text *: orders that waited before */
	List *waiting;		/* text *: orders that wait now */
	text *held_up;		/* the order whose row a trigger has held up; NULL: none */
} Sync;

/* An alert that is opened. */
typedef struct Opening
{
	text *cause;
	text *order_id;
	Jsonb *details;
} Opening;

/* $1 consumer, $2 how many: the orders that wait, and those that have failed without an event */
static const Statement waiting_orders = {
	"SELECT w.order_id, w.n FROM payguard.consumers c,"
	" pg_catalog.unnest(c.waiting) WITH ORDINALITY w (order_id, n)"
	" WHERE c.consumer " OP_EQ " $1"
	" UNION ALL SELECT a.order_id, " CppAsString2(
		MAX_WAITING) "000"
					 " FROM payguard.alerts a WHERE a.kind " OP_EQ " 'out_of_step'"
					 " AND a.resolved_at IS NULL AND a.cause " OP_GT
					 " pg_catalog.concat($1, ' ') AND a.cause " OP_LT
					 " pg_catalog.concat($1, '!') AND NOT EXISTS (SELECT FROM "
					 "payguard.consumers c"
					 "  WHERE c.consumer " OP_EQ " $1 AND a.order_id " OP_EQ
					 " ANY (c.waiting))"
					 " ORDER BY 2 LIMIT $2",
	{TEXTOID, INT8OID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

/* $1 consumer, $2 orders that were tried, $3 those of them, and new ones, that wait now */
static const Statement keep_waiting = {
	"UPDATE ONLY payguard.consumers c SET waiting = NULLIF(pg_catalog.array_cat("
	" ARRAY(SELECT w.order_id FROM pg_catalog.unnest(c.waiting)"
	"  WITH ORDINALITY w (order_id, n) WHERE w.order_id " OP_NE " ALL ($2)"
	"  ORDER BY w.n), $3), '{}') WHERE c.consumer " OP_EQ " $1",
	{TEXTOID, TEXTARRAYOID, TEXTARRAYOID, InvalidOid},
	"consumers",
	CMD_UPDATE};

/* $1 events, $2 statuses: the orders that got one of them. What is made or imported has not changed. */
static const Statement changed_orders = {
	"SELECT e.order_id FROM payguard.events e WHERE e.event_id " OP_EQ " ANY ($1)"
	" AND e.version IS NOT NULL AND e.from_status " OP_NE " e.to_status"
	" AND e.to_status " OP_EQ " ANY ($2)"
	" GROUP BY e.order_id ORDER BY pg_catalog.min(e.event_id)",
	{INT8ARRAYOID, TEXTARRAYOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement known_positions = {
	"SELECT c.consumer FROM payguard.consumers c"
	" WHERE pg_catalog.starts_with(c.consumer, '" GUARD_CONSUMER "')",
	{InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement forget_positions = {
	"DELETE FROM ONLY payguard.consumers WHERE consumer " OP_EQ " ANY (ARRAY("
	" SELECT c.consumer FROM payguard.consumers c WHERE c.consumer " OP_EQ " ANY ($1)"
	" FOR UPDATE SKIP LOCKED))",
	{TEXTARRAYOID, InvalidOid},
	"consumers",
	CMD_DELETE};

/* $1: the consumers of all guards that follow */
static const Statement close_alerts = {
	"UPDATE ONLY payguard.alerts SET resolved_at = pg_catalog.clock_timestamp(),"
	" resolved_by = 'maintain', note = 'The table does not follow any more.'"
	" WHERE alert_id " OP_EQ " ANY (ARRAY(SELECT a.alert_id FROM payguard.alerts a"
	"  WHERE a.kind " OP_EQ " 'out_of_step' AND a.resolved_at IS NULL"
	"  AND pg_catalog.split_part(a.cause, ' ', 1) " OP_NE " ALL ($1)"
	"  FOR UPDATE SKIP LOCKED))",
	{TEXTARRAYOID, InvalidOid},
	"alerts",
	CMD_UPDATE};

/* A call is running. */
static bool syncing = false;

static int64 sync_tables(const text *order_id, int max);
static void sync_one(Sync *sync, const GuardTrigger *trigger, const text *order_id,
					 int max);
static bool is_below_another(const GuardTrigger *trigger, const List *triggers);
static const Guard *read_guard(Followed *followed, Relation relation);
static const char *column_name(Relation relation, AttrNumber column);
static void sync_events(Sync *sync, const Followed *followed, int max);
static int list_orders(Sync *sync, int n, List **orders);
static Datum statuses_of(const Guard *guard);
static void sync_order(Sync *sync, const Followed *followed, const text *order_id);
static SyncResult sync_known(Sync *sync, const Followed *followed, const text *order_id,
							 text *cause, SyncProblem *problem);
static void alert(const Followed *followed, const Order *order, text *cause,
				  const SyncProblem *problem);
static void open_alert(void *argument);
static void end_alert(text *cause);
static void forget_gone(void);
static bool has_text(const List *texts, const text *text);
static Datum text_array(const List *texts);

PG_FUNCTION_INFO_V1(payguard_sync_rows);

/*
 * sync_rows(order_id := NULL, max := 1000) → bigint
 *
 * Brings rows of guarded tables with `follow` in step with what has happened to their orders since, or with one order, and
 * returns how many were moved. max: how many orders of each table, of those that have changed and of those that waited.
 * Errors: 22004, 22023; PY401 for an order that does not exist.
 */
Datum
payguard_sync_rows(PG_FUNCTION_ARGS)
{
	text *order_id = payguard_arg_id_or_null(ARG(0), "order_id");
	int max = payguard_arg_max_rows(ARG(1), "max");
	int64 changed = 0;

	/* a trigger on a row that is being moved: the call that moves it goes on */
	if (syncing)
		PG_RETURN_INT64(0);
	syncing = true;
	PG_TRY();
	{
		changed = sync_tables(order_id, max);
	}
	PG_FINALLY();
	{
		syncing = false;
	}
	PG_END_TRY();
	PG_RETURN_INT64(changed);
}

static int64
sync_tables(const text *order_id, int max)
{
	Sync sync = {0};
	List *triggers;
	ListCell *cell;

	payguard_request_begin("sync_rows()");
	if (order_id)
	{
		Order order;

		payguard_order_must_exist(order_id, &order);
	}
	sync.each = payguard_element_memory();
	triggers = payguard_guard_triggers();
	foreach (cell, triggers)
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_below_another(lfirst(cell), triggers))
			sync_one(&sync, lfirst(cell), order_id, max);
	}
	if (order_id == NULL)
		forget_gone();
	MemoryContextDelete(sync.each);
	payguard_call_end();
	return sync.changed;
}

/*
 * sync_one deals with one guarded table. One that somebody has locked waits for the next call.
 */
static void
sync_one(Sync *sync, const GuardTrigger *trigger, const text *order_id, int max)
{
	Followed followed = {.relation = trigger->relation};
	Relation relation;

	if (strstr(trigger->settings, "\"" GUARD_CONSUMER) == NULL ||
		!ConditionalLockRelationOid(trigger->relation, RowExclusiveLock))
		return;
	relation = try_table_open(trigger->relation, NoLock);
	if (relation == NULL)
	{
		UnlockRelationOid(trigger->relation, RowExclusiveLock);
		return;
	}
	followed.guard = read_guard(&followed, relation);
	sync->tried = sync->waiting = NIL;
	sync->held_up = NULL;
	if (followed.guard && order_id)
		sync_order(sync, &followed, order_id);
	else if (followed.guard &&
			 payguard_consumer_is_free(payguard_text(followed.guard->consumer)))
		sync_events(sync, &followed, max);
	table_close(relation, RowExclusiveLock);
}

/*
 * is_below_another tells whether a table's rows are those of another one with the same guard.
 */
static bool
is_below_another(const GuardTrigger *trigger, const List *triggers)
{
	ListCell *cell;

	if (OidIsValid(trigger->parent))
		return true;
	foreach (cell, triggers)
	{
		const GuardTrigger *other = lfirst(cell);

		if (other->relation != trigger->relation && !OidIsValid(other->parent) &&
			strcmp(other->settings, trigger->settings) == 0 &&
			list_member_oid(find_all_inheritors(other->relation, NoLock, NULL),
							trigger->relation))
			return true;
	}
	return false;
}

/*
 * read_guard reads a guard once its table is locked; NULL: it does not follow, or is broken, of which verify() tells.
 */
static const Guard *
read_guard(Followed *followed, Relation relation)
{
	GuardTrigger *trigger = payguard_guard_trigger_of(followed->relation, false);
	const char *problem;
	const Guard *guard = trigger
							 ? payguard_guard_parse(trigger->settings,
													RelationGetDescr(relation), &problem)
							 : NULL;

	if (guard == NULL || !guard->follows)
		return NULL;
	followed->is_equal = payguard_order_index_equality(RelationGetDescr(relation), guard);
	if (followed->is_equal == NULL)
		return NULL;
	followed->owner = relation->rd_rel->relowner;
	followed->consumer = payguard_text(guard->consumer);
	followed->table = payguard_guard_qualified(followed->relation);
	followed->order = column_name(relation, guard->order_id);
	followed->status = column_name(relation, guard->status);
	if (AttributeNumberIsValid(guard->version))
		followed->version = column_name(relation, guard->version);
	followed->order_type = getBaseType(
		TupleDescAttr(RelationGetDescr(relation), guard->order_id - 1)->atttypid);
	return guard;
}

static const char *
column_name(Relation relation, AttrNumber column)
{
	return quote_identifier(
		NameStr(TupleDescAttr(RelationGetDescr(relation), column - 1)->attname));
}

/*
 * sync_events tries again what waited, and then reads events. It ends when max orders have been looked at, or what there
 * was has been read.
 */
static void
sync_events(Sync *sync, const Followed *followed, int max)
{
	Datum values[3] = {PointerGetDatum(followed->consumer), Int64GetDatum(max)};
	Datum statuses = statuses_of(followed->guard);
	List *orders = NIL;
	ListCell *cell;
	int done = 0;

	list_orders(sync, payguard_store_execute(&waiting_orders, values, NULL),
				&sync->tried);
	foreach (cell, sync->tried)
		sync_order(sync, followed, lfirst(cell));
	for (int i = 0; i < MAX_WINDOWS && done < max && sync->held_up == NULL; i++)
	{
		Datum *ids;
		Datum read[2] = {0, statuses};
		int n;

		if (list_length(sync->waiting) >= MAX_WAITING)
			break;
		n = payguard_consumer_read(followed->consumer, max - done, &ids);
		if (n == 0)
			break;
		payguard_store_refresh(); /* orders as they are at the end of the window, or later */
		read[0] = PointerGetDatum(construct_array(ids, n, INT8OID, sizeof(int64),
												  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
		done += list_orders(sync, payguard_store_execute(&changed_orders, read, NULL),
							&orders);
		foreach (cell, orders)
			sync_order(sync, followed, lfirst(cell));
		payguard_consumer_move(followed->consumer, DatumGetInt64(ids[n - 1]));
		pfree(ids);
	}
	if (sync->held_up)
		sync->waiting = lappend(sync->waiting, sync->held_up);
	if (sync->tried == NIL && sync->waiting == NIL)
		return;
	values[1] = text_array(list_concat_copy(sync->tried, sync->waiting));
	values[2] = text_array(sync->waiting);
	payguard_store_execute(&keep_waiting, values, NULL);
}

/*
 * list_orders copies the n results of the last statement, and returns n.
 */
static int
list_orders(Sync *sync, int n, List **orders)
{
	*orders = NIL;
	for (int i = 0; i < n; i++)
	{
		bool isnull;

		*orders =
			lappend(*orders, DatumGetTextPCopy(payguard_store_result(i, 0, &isnull)));
	}
	return n;
}

/*
 * statuses_of names the statuses of orders that rows follow.
 */
static Datum
statuses_of(const Guard *guard)
{
	List *names = NIL;

	for (int status = ORDER_NONE + 1; status < N_ORDER_STATUS; status++)
		if (guard->follow[status] >= 0)
			names = lappend(names, payguard_text(payguard_machine_name(
									   &payguard_order_machine, status)));
	return text_array(names);
}

/*
 * sync_order brings the rows of one order in step, and notes the order where that has to be tried again. Once a trigger
 * has waited for a lock in vain, nothing more is moved: whoever holds that lock may wait for a row that this call has
 * moved. What held it up is the last to be tried again.
 */
static void
sync_order(Sync *sync, const Followed *followed, const text *order_id)
{
	MemoryContext caller = payguard_element_begin(sync->each);
	text *cause = payguard_text(
		psprintf("%s %s", followed->guard->consumer, payguard_str(order_id)));
	SyncProblem problem = {0};
	SyncResult result = SYNC_WAITS;

	if (sync->held_up == NULL)
		result = sync_known(sync, followed, order_id, cause, &problem);
	if (result == SYNC_IN_STEP)
		end_alert(cause);
	payguard_element_end(sync->each, caller);
	if (problem.held_up)
	{
		sync->held_up = unconstify(text *, order_id);
	}
	else if (result != SYNC_IN_STEP && !has_text(sync->waiting, order_id))
		sync->waiting = lappend(sync->waiting, unconstify(text *, order_id));
}

/*
 * sync_known is sync_order with what the order is now. Where it has changed while a row failed, that may be why.
 */
static SyncResult
sync_known(Sync *sync, const Followed *followed, const text *order_id, text *cause,
		   SyncProblem *problem)
{
	Order order;
	Order now;
	SyncResult result;

	if (!payguard_order_find(order_id, &order) ||
		followed->guard->follow[order.status] < 0)
		return SYNC_IN_STEP;
	result =
		payguard_sync_rows_of(followed, order_id, order.status, &sync->changed, problem);
	payguard_store_refresh();
	if (result == SYNC_FAILED &&
		(!payguard_order_find(order_id, &now) || now.version != order.version))
		return SYNC_WAITS;
	if (result == SYNC_FAILED)
		alert(followed, &order, cause, problem);
	return result;
}

/*
 * alert opens an alert, unless one is open; where another call is opening it, that does.
 */
static void
alert(const Followed *followed, const Order *order, text *cause,
	  const SyncProblem *problem)
{
	const Guard *guard = followed->guard;
	Opening opening = {
		.cause = cause,
		.order_id = order->order_id,
		.details =
			payguard_json("table", 's', followed->table, "order_status", 's',
						  payguard_machine_name(&payguard_order_machine, order->status),
						  "status", 's', problem->status, "wanted", 's',
						  guard->states[guard->follow[order->status]].name, "problem",
						  't', problem->message, NULL),
	};
	ErrorData *error = payguard_store_attempt(open_alert, &opening);

	if (error && error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		ReThrowError(error);
	payguard_store_refresh();
}

static void
open_alert(void *argument)
{
	const Opening *opening = argument;
	int level = payguard_sync_patience();

	payguard_alert_open("out_of_step", "warning", opening->cause,
						(About){.order_id = opening->order_id}, opening->details);
	AtEOXact_GUC(false, level);
}

/*
 * end_alert resolves the alert of an order whose rows are in step, unless somebody holds it.
 */
static void
end_alert(text *cause)
{
	Alert like = {.kind = payguard_text("out_of_step"), .cause = cause};
	Alert open;

	if (payguard_store_lock_free(&payguard_alerts, ALERT_OPEN, &like, &open))
		payguard_alert_end(&open, payguard_actor(),
						   payguard_text("The rows are in step with their order."));
}

/*
 * forget_gone removes the positions of guards that are gone, and ends their alerts. The positions are read first: a guard
 * that is put on meanwhile is among those that are read after them.
 */
static void
forget_gone(void)
{
	int n = payguard_store_execute(&known_positions, NULL, NULL);
	List *known = NIL;
	List *used = NIL;
	List *gone = NIL;
	ListCell *cell;
	Datum names;

	for (int i = 0; i < n; i++)
	{
		bool isnull;

		known = lappend(known, DatumGetTextPCopy(payguard_store_result(i, 0, &isnull)));
	}
	foreach (cell, payguard_guard_triggers())
	{
		text *consumer = payguard_json_text(
			DatumGetJsonbP(DirectFunctionCall1(
				jsonb_in, CStringGetDatum(((GuardTrigger *) lfirst(cell))->settings))),
			"consumer");

		if (consumer)
			used = lappend(used, consumer);
	}
	foreach (cell, known)
		if (!has_text(used, lfirst(cell)))
			gone = lappend(gone, lfirst(cell));
	names = text_array(gone);
	if (gone)
		payguard_store_execute(&forget_positions, &names, NULL);
	names = text_array(used);
	payguard_store_execute(&close_alerts, &names, NULL);
}

static bool
has_text(const List *texts, const text *text)
{
	ListCell *cell;

	foreach (cell, texts)
		if (payguard_text_equal(lfirst(cell), text))
			return true;
	return false;
}

static Datum
text_array(const List *texts)
{
	Datum *values = palloc(sizeof(Datum) * (list_length(texts) + 1));
	ListCell *cell;
	int n = 0;

	foreach (cell, texts)
		values[n++] = PointerGetDatum(lfirst(cell));
	return PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT));
}
