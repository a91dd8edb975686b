/*
 * order.c
 *		Orders on record: found, locked, changed.
 *
 * payguard_order_change() is the one place where an order changes. Orders are locked in the order of
 * their ids.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/argument.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/durable.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/alert.h"
#include "records/approval.h"
#include "records/assert.h"
#include "records/call.h"
#include "records/event.h"
#include "records/order.h"
#include "records/restore.h"

static const Field order_fields[] = {ORDER_COLUMNS(COLUMN_FIELD)};

static const Key order_keys[] = {
	[ORDER_BY_ID] = {.fields = {ORDER_F_ORDER_ID, -1}, .index = "pkey", .archived = true},
};

static const Field deadline_fields[] = {DEADLINE_COLUMNS(COLUMN_FIELD)};

static const Key deadline_keys[] = {
	[DEADLINE_BY_ORDER] = {.fields = {DEADLINE_F_ORDER_ID, -1}, .index = "pkey"},
};

/* What archive_orders() has moved. */
const Table payguard_archived_orders =
	TABLE("archived_orders", Order, order_fields, order_keys);

const Table payguard_orders = {TABLE_PARTS("orders", Order, order_fields, order_keys),
							   ORDER_F_VERSION, &payguard_archived_orders};
const Table payguard_deadlines =
	TABLE("deadlines", Deadline, deadline_fields, deadline_keys);

static bool lock_order(const Order *like, Order *order);
static bool bring_back(const text *order_id);
static void end_approval(const Order *order);

/*
 * payguard_order_compare orders orders by their ids, for bsearch().
 */
int
payguard_order_compare(const void *a, const void *b)
{
	return payguard_text_compare(((const Order *) a)->order_id,
								 ((const Order *) b)->order_id);
}

/*
 * payguard_order_find reads an order without a lock; false: there is none.
 */
bool
payguard_order_find(const text *order_id, Order *order)
{
	Order like = {.order_id = unconstify(text *, order_id)};

	return payguard_store_find(&payguard_orders, ORDER_BY_ID, &like, order);
}

/*
 * payguard_order_must_exist reads an order without a lock. Errors: PY401.
 */
void
payguard_order_must_exist(const text *order_id, Order *order)
{
	if (!payguard_order_find(order_id, order))
		payguard_order_raise_not_found(order_id);
}

/*
 * payguard_order_lock locks an order's row and reads its newest version. An archived order comes
 * back for that.
 */
bool
payguard_order_lock(const text *order_id, Order *order)
{
	Order like = {.order_id = unconstify(text *, order_id)};

	return lock_order(&like, order);
}

/*
 * payguard_order_lock_known is payguard_order_lock for an order that was found before: it may have gone to
 * the archive, and nowhere else.
 */
void
payguard_order_lock_known(const text *order_id, Order *order)
{
	if (!payguard_order_lock(order_id, order))
		elog(ERROR, "payguard: order \"%s\" has vanished", payguard_str(order_id));
}

/*
 * payguard_order_lock_found is payguard_order_lock for an order that was read before, which may
 * spare the search.
 */
bool
payguard_order_lock_found(Order *order)
{
	Order like = *order;

	return lock_order(&like, order);
}

/*
 * payguard_order_lock_free is payguard_order_lock for an order that nobody holds; false: there
 * is none, or somebody holds it.
 */
bool
payguard_order_lock_free(const text *order_id, Order *order)
{
	Order like = {.order_id = unconstify(text *, order_id)};

	return payguard_store_lock_free(&payguard_orders, ORDER_BY_ID, &like, order) ||
		   (bring_back(order_id) && payguard_order_lock(order_id, order));
}

/*
 * lock_order locks an order. One that is not to be found may have gone to the archive, and come back from there, since
 * it was looked for.
 */
static bool
lock_order(const Order *like, Order *order)
{
	for (int tries = 0; tries < 10; tries++)
	{
		if (payguard_store_lock(&payguard_orders, ORDER_BY_ID, like, order))
			return true;
		payguard_store_refresh();
		if (payguard_store_is_empty(&payguard_archived_orders))
			return false;
		if (!bring_back(like->order_id) && !payguard_order_find(like->order_id, order))
			return false;
	}
	payguard_store_suppressed(&payguard_archived_orders);
}

/*
 * bring_back brings an order back from the archive, with all that belongs to it, and tells whether it did. false: it is
 * not there, or somebody else was faster. If evidence has brought it back, an alert says so.
 */
static bool
bring_back(const text *order_id)
{
	Order order;

	if (payguard_store_is_empty(&payguard_archived_orders) || !payguard_restore(order_id))
		return false;
	payguard_store_refresh();
	if (!payguard_order_find(order_id, &order))
		payguard_store_suppressed(&payguard_orders);
	payguard_event_write("order.restored", (About){.order_id = order.order_id}, NULL,
						 NULL, NO_ID, NULL);
	if (payguard_call_is_evidence())
		payguard_alert_order("archived_evidence", "warning", &order, NULL);
	payguard_store_refresh();
	return true;
}

/*
 * payguard_order_change is the one place where an order changes: status, version and event
 * together. The caller holds the row's lock, and has set the fields named in `also`.
 *
 * payment_id: of the payment that the event names, or NULL; details: the event's, or NULL.
 */
void
payguard_order_change(Order *order, OrderStatus to, FieldSet also, const char *kind,
					  pg_uuid_t *payment_id, Jsonb *details)
{
	OrderStatus from = order->status;
	About about = {.order_id = order->order_id, .payment_id = payment_id};

	Assert(payguard_order_is_locked(order->order_id));
	Assert((also & (FIELD(ORDER_F_ORDER_ID) | FIELD(ORDER_F_STATUS) |
					FIELD(ORDER_F_VERSION) | FIELD(ORDER_F_CREATED_AT))) == 0);
	if (to != from)
		order->status = payguard_machine_move(&payguard_order_machine, from, to);
	/* evidence too: an order that was changed so often is no order of this world */
	if (order->version == PG_INT64_MAX)
		ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("order \"%s\" has had its last version",
							   payguard_str(order->order_id)),
						errdetail("Nothing has been written."),
						errhint("Run payguard.verify().")));
	Assert(order->closing_as == ORDER_NONE || order->status == ORDER_PAYING);
	Assert((order->status != ORDER_PAID && order->status != ORDER_REFUNDED) ||
		   order->payment_id != NULL);
	order->version++;
	order->updated_at = GetCurrentTimestamp();
	payguard_store_update(&payguard_orders,
						  FIELD(ORDER_F_STATUS) | FIELD(ORDER_F_VERSION) |
							  FIELD(ORDER_F_UPDATED_AT) | also,
						  order);
	payguard_event_write(
		kind, about, payguard_machine_name(&payguard_order_machine, from),
		payguard_machine_name(&payguard_order_machine, to), order->version, details);
	if (to != from)
		end_approval(order);
}

/*
 * payguard_order_touch stores an order that is locked as it is. Who waits for it, or comes later, with
 * a snapshot that is older than what was written beside it gets 40001 then, as for any change.
 */
void
payguard_order_touch(Order *order)
{
	Assert(payguard_order_is_locked(order->order_id));
	payguard_store_update(&payguard_orders, FIELD(ORDER_F_UPDATED_AT), order);
}

/*
 * payguard_order_replaces tells, in the event of an order that is paid, which payment's money was taken back
 * before: what it bought may have been delivered. NULL: none was.
 */
Jsonb *
payguard_order_replaces(const Order *order)
{
	if (order->returned_payment_id == NULL ||
		payguard_uuid_equal(order->returned_payment_id, order->payment_id))
		return NULL;
	return payguard_json("replaces_payment_id", 'u', order->returned_payment_id, NULL);
}

/*
 * payguard_order_return makes an order unpaid whose payment's money was taken back. It has no deadline any more:
 * its time is over, and nobody shall be too late to pay it now. details: the event's, or NULL.
 */
void
payguard_order_return(Order *order, pg_uuid_t *payment_id, Jsonb *details)
{
	Deadline like = {.order_id = order->order_id};
	Deadline deadline;

	Assert(payguard_uuid_equal(order->payment_id, payment_id));
	order->payment_id = NULL;
	order->returned_payment_id = payment_id;
	order->refunded_amount = 0;
	order->expires_at = NO_TIME;
	payguard_order_change(order, ORDER_UNPAID,
						  FIELD(ORDER_F_PAYMENT_ID) | FIELD(ORDER_F_RETURNED_PAYMENT_ID) |
							  FIELD(ORDER_F_REFUNDED_AMOUNT) | FIELD(ORDER_F_EXPIRES_AT),
						  "order.returned", payment_id, details);
	if (payguard_store_lock(&payguard_deadlines, DEADLINE_BY_ORDER, &like, &deadline))
		payguard_store_delete(&payguard_deadlines, &deadline);
}

/*
 * payguard_alert_order opens an alert whose cause is an order.
 */
void
payguard_alert_order(const char *kind, const char *severity, const Order *order,
					 Jsonb *details)
{
	payguard_alert_open(kind, severity, order->order_id,
						(About){.order_id = order->order_id}, details);
}

/*
 * end_approval ends what nobody has decided about an order that has ended. What was decided stays.
 */
static void
end_approval(const Order *order)
{
	Approval approval;

	if (order->status != ORDER_UNPAID && order->status != ORDER_PAYING &&
		payguard_approval_of_order(order->order_id, true, &approval) &&
		payguard_text_is(approval.status, "open"))
		payguard_approval_end(order->order_id, NULL, NO_ID);
}

/*
 * payguard_order_is_past_deadline tells whether an order can no longer be paid for its age.
 */
bool
payguard_order_is_past_deadline(const Order *order, TimestampTz now)
{
	return order->expires_at != NO_TIME && order->expires_at <= now;
}

/*
 * payguard_refuse_not_found refuses with PY401.
 */
bool
payguard_refuse_not_found(const text *order_id, Refusal *refusal)
{
	return payguard_refuse(
		refusal, ERR_ORDER_NOT_FOUND,
		psprintf("order \"%s\" does not exist", payguard_str(order_id)),
		"Nothing has been written.", "Create it with payguard.create_order().");
}

/*
 * payguard_order_raise_not_found raises PY401.
 */
void
payguard_order_raise_not_found(const text *order_id)
{
	Refusal refusal;

	payguard_refuse_not_found(order_id, &refusal);
	payguard_raise(&refusal);
}

/*
 * payguard_judge_version refuses with PY201 where an expected version is not the order's.
 */
bool
payguard_judge_version(const Order *order, int64 expected, Refusal *refusal)
{
	if (expected == NO_ID || expected == order->version)
		return true;
	return payguard_refuse(
		refusal, ERR_VERSION_CONFLICT,
		psprintf("order \"%s\" has changed", payguard_str(order->order_id)),
		psprintf("Expected version " INT64_FORMAT ", found version " INT64_FORMAT ".",
				 expected, order->version),
		"Read the order again and decide anew.");
}

/*
 * payguard_order_check_deadline refuses a deadline that has passed.
 */
void
payguard_order_check_deadline(TimestampTz expires_at)
{
	if (expires_at != NO_TIME && expires_at <= GetCurrentTimestamp())
		payguard_arg_bad("expires_at", "It has passed.", "Give a time in the future.");
}

/*
 * payguard_order_set_deadline notes when expire_orders() has to look at an order. The row goes when its time
 * has come, whatever has become of the order: so paying does not touch it.
 */
void
payguard_order_set_deadline(const Order *order)
{
	Deadline deadline = {.order_id = order->order_id, .expires_at = order->expires_at};

	if (order->expires_at == NO_TIME ||
		payguard_store_insert_new(&payguard_deadlines, DEADLINE_BY_ORDER, &deadline))
		return;
	payguard_store_update(&payguard_deadlines, FIELD(DEADLINE_F_EXPIRES_AT), &deadline);
}

/*
 * payguard_order_look_at_deadline_again has expire_orders() look at an order that it left alone, because the channel was
 * processing its attempt or had reserved its money.
 */
void
payguard_order_look_at_deadline_again(const Order *order)
{
	if ((order->status == ORDER_UNPAID || order->status == ORDER_PAYING) &&
		payguard_order_is_past_deadline(order, GetCurrentTimestamp()))
		payguard_order_set_deadline(order);
}

const RowQuery payguard_due_deadlines = {"expires_at " OP_LE
										 " $1 ORDER BY expires_at LIMIT $2",
										 {TIMESTAMPTZOID, INT8OID, InvalidOid}};

/*
 * payguard_order_refuse raises a refusal that rests on what was read of an order.
 */
void
payguard_order_refuse(const Order *order, const Refusal *refusal)
{
	payguard_store_make_durable(order);
	payguard_raise(refusal);
}
