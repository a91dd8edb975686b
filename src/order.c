/*
 * order.c
 *		Orders: made, changed, cancelled, and what the customer's page says of them.
 *
 * Locking: a request is first answered from a snapshot, without a lock; only one that may
 * write takes the order's row lock (FOR NO KEY UPDATE) and is judged again. One call locks one
 * order.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "payguard.h"

static bool lock_order(const Order *like, Order *order);
static bool bring_back(const text *order_id);
static bool judge_creation(const Order *asked, const Order *existing, Refusal *refusal);
static bool judge_update(const Order *order, int64 expected_version, Refusal *refusal);
static bool judge_cancel(const Order *order, int64 expected_version, Refusal *refusal);
static void check_deadline(TimestampTz expires_at);
static void set_deadline(const Order *order);
static bool is_closing(const Order *order);
static void expire_one(EachItem *item);
static void close_order(Order *order, OrderStatus as, Jsonb *details);
static bool refuse_unpayable(const Order *order, TimestampTz now, bool brief,
							 Refusal *refusal);
static void refuse_request(const Order *order, const Refusal *refusal)
	pg_attribute_noreturn();
static void end_approval(const Order *order);
static bool needs_support(const Order *order);
static bool is_returned(const Order *order);
static void describe_status(const Order *order, const Payment *live, bool held,
							bool support, bool returned, Datum *values, bool *nulls);

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
 * lock_order: an order that is not to be found may have gone to the archive, and come back from
 * there, since it was looked for.
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
 * bring_back brings an order back from the archive, with everything of its, and tells whether it did.
 * false: it is not there, or somebody else was faster. It then belongs to this transaction. That evidence
 * came for it is alerted.
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
 * end_approval: nobody needs to decide about an order that has ended any more. What was decided
 * stays.
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
 * payguard_refuse_version refuses with PY201 where an expected version is not the order's.
 */
bool
payguard_refuse_version(const Order *order, int64 expected, Refusal *refusal)
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
 * payguard_refuse_unpayable refuses an order that no new payment may be made for: PY101, PY102
 * or PY103.
 */
bool
payguard_refuse_unpayable(const Order *order, TimestampTz now, Refusal *refusal)
{
	return refuse_unpayable(order, now, false, refusal);
}

/*
 * payguard_refuse_unpayable_briefly is the same for an answer that shows no detail: the payment
 * that is in the way is not looked up.
 */
bool
payguard_refuse_unpayable_briefly(const Order *order, TimestampTz now, Refusal *refusal)
{
	return refuse_unpayable(order, now, true, refusal);
}

static bool
refuse_unpayable(const Order *order, TimestampTz now, bool brief, Refusal *refusal)
{
	const char *id = payguard_str(order->order_id);
	const char *detail = "Its payment is not to be found.";
	Payment payment;

	switch (order->status)
	{
		case ORDER_PAID:
		case ORDER_REFUNDED:
			if (!brief && order->payment_id &&
				payguard_payment_find(order->payment_id, &payment))
				detail = psprintf(
					"Payment \"%s\" through channel \"%s\" paid it at %s%s.",
					payguard_uuid_str(payment.payment_id), payguard_str(payment.channel),
					payguard_time_str(payment.completed_at),
					order->status == ORDER_REFUNDED ? ", and it has been refunded" : "");
			return payguard_refuse(
				refusal, ERR_ORDER_ALREADY_PAID,
				psprintf("order \"%s\" is already paid", id), detail,
				"Do not pay it again. A retry of a call that may have succeeded "
				"repeats that call's idempotency key.");
		case ORDER_CANCELLED:
		case ORDER_EXPIRED:
			return payguard_refuse(
				refusal, ERR_ORDER_CLOSED, psprintf("order \"%s\" is closed", id),
				psprintf("It is %s since %s.",
						 payguard_machine_name(&payguard_order_machine, order->status),
						 payguard_time_str(order->updated_at)),
				"Create a new order.");
		case ORDER_PAYING:
			if (!brief && payguard_payment_that_counts(order->order_id, &payment))
				detail = psprintf(
					"Payment \"%s\" through channel \"%s\" is %s since %s.",
					payguard_uuid_str(payment.payment_id), payguard_str(payment.channel),
					payguard_machine_name(&payguard_payment_machine, payment.status),
					payguard_time_str(payment.created_at));
			return payguard_refuse(
				refusal, ERR_PAYMENT_IN_PROGRESS,
				psprintf("a payment of order \"%s\" is in progress", id), detail,
				"Wait for its outcome, or close it with payguard.close_payment().");
		case ORDER_UNPAID:
			if (!payguard_order_is_past_deadline(order, now))
				return true;
			return payguard_refuse(
				refusal, ERR_ORDER_CLOSED, psprintf("order \"%s\" is closed", id),
				psprintf("It expired at %s.", payguard_time_str(order->expires_at)),
				"Create a new order.");
		case ORDER_NONE:
		case N_ORDER_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no status of an order", (int) order->status);
}

/*
 * payguard_row_result makes a row of one of our tables the result of a function.
 */
Datum
payguard_row_result(FunctionCallInfo fcinfo, const Table *table, const void *row)
{
	return payguard_store_row_datum(table, row, payguard_result_desc(fcinfo));
}

/*
 * payguard_result_desc returns the row type that a function was declared to return, kept
 * between the calls of one statement.
 */
TupleDesc
payguard_result_desc(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		TupleDesc desc;

		if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
			elog(ERROR, "payguard: the function must return a row");
		fcinfo->flinfo->fn_extra = BlessTupleDesc(CreateTupleDescCopy(desc));
		MemoryContextSwitchTo(old);
	}
	return (TupleDesc) fcinfo->flinfo->fn_extra;
}

PG_FUNCTION_INFO_V1(payguard_create_order);

/*
 * create_order(order_id, amount, currency, customer_id := NULL, expires_at := NULL) → orders
 *
 * amount: minor units of currency. The same call again returns the order as it is now.
 * Errors: 22004, 22023; PY304 where the id has been used for another order.
 */
Datum
payguard_create_order(PG_FUNCTION_ARGS)
{
	Order asked = {
		.order_id = payguard_arg_id(ARG(0), "order_id"),
		.amount = payguard_arg_amount(ARG(1), "amount"),
		.currency = payguard_arg_currency(ARG(2), "currency"),
		.customer_id = payguard_arg_id_or_null(ARG(3), "customer_id"),
		.expires_at = payguard_arg_deadline_or_null(ARG(4), "expires_at"),
		.status = ORDER_UNPAID,
		.version = 1,
	};
	Order existing;
	Refusal refusal;

	payguard_request_begin("create_order()");
	if (!payguard_order_find(asked.order_id, &existing))
	{
		check_deadline(asked.expires_at);
		asked.created_at = asked.updated_at = GetCurrentTimestamp();
		if (payguard_store_insert_new(&payguard_orders, ORDER_BY_ID, &asked))
		{
			set_deadline(&asked);
			payguard_event_write("order.created", (About){.order_id = asked.order_id},
								 NULL, "unpaid", asked.version,
								 payguard_json("amount", 'i', asked.amount, "currency",
											   't', asked.currency, "customer_id", 't',
											   asked.customer_id, "expires_at", 'd',
											   asked.expires_at, NULL));
			payguard_approval_renew(&asked);
			payguard_call_end();
			return payguard_row_result(fcinfo, &payguard_orders, &asked);
		}
		payguard_store_refresh();
		if (!payguard_order_find(asked.order_id, &existing))
			payguard_store_suppressed(&payguard_orders);
	}
	if (!judge_creation(&asked, &existing, &refusal))
		refuse_request(&existing, &refusal);
	payguard_store_make_durable(&existing);
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_orders, &existing);
}

/*
 * judge_creation compares with what the order was created with, which its first event tells:
 * the order itself may have been changed since. Values are not shown: the order may be another
 * customer's.
 */
static const RowQuery creation = {
	"order_id " OP("=") " $1 AND kind " OP("=") " 'order.created'",
	{TEXTOID, InvalidOid}};

static bool
judge_creation(const Order *asked, const Order *existing, Refusal *refusal)
{
	Datum id = PointerGetDatum(existing->order_id);
	Event *created;
	StringInfoData fields;

	initStringInfo(&fields);
	if ((payguard_store_list(&payguard_events, &creation, &id, (void **) &created) == 0 &&
		 (payguard_store_is_empty(payguard_events.archive) ||
		  payguard_store_list(payguard_events.archive, &creation, &id,
							  (void **) &created) == 0)) ||
		created->details == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("order \"%s\" has no first event",
							   payguard_str(existing->order_id)),
						errhint("Run payguard.verify().")));
	if (payguard_json_int(created->details, "amount") != asked->amount)
		appendStringInfoString(&fields, ", amount");
	if (!payguard_text_equal(payguard_json_text(created->details, "currency"),
							 asked->currency))
		appendStringInfoString(&fields, ", currency");
	if (!payguard_text_equal(payguard_json_text(created->details, "customer_id"),
							 asked->customer_id))
		appendStringInfoString(&fields, ", customer_id");
	if (fields.len == 0)
		return true;
	return payguard_refuse(
		refusal, ERR_ORDER_ID_REUSED,
		psprintf("order id \"%s\" is already used", payguard_str(asked->order_id)),
		psprintf("The order was created with another value of: %s.", fields.data + 2),
		"Use a new order id, from payguard.new_order_id() for example.");
}

/*
 * check_deadline refuses a deadline that has passed.
 */
static void
check_deadline(TimestampTz expires_at)
{
	if (expires_at != NO_TIME && expires_at <= GetCurrentTimestamp())
		payguard_arg_bad("expires_at", "It has passed.", "Give a time in the future.");
}

/*
 * set_deadline notes when expire_orders() has to look at an order. The row goes when its time
 * has come, whatever has become of the order: so paying does not touch it.
 */
static void
set_deadline(const Order *order)
{
	Deadline deadline = {.order_id = order->order_id, .expires_at = order->expires_at};

	if (order->expires_at == NO_TIME ||
		payguard_store_insert_new(&payguard_deadlines, DEADLINE_BY_ORDER, &deadline))
		return;
	payguard_store_update(&payguard_deadlines, FIELD(DEADLINE_F_EXPIRES_AT), &deadline);
}

PG_FUNCTION_INFO_V1(payguard_update_order);

/*
 * update_order(order_id, expected_version, amount, currency, expires_at) → orders
 *
 * NULL leaves a value as it is; a call that changes nothing writes nothing.
 * Errors: 22004, 22023; PY401; PY101, PY102, PY103 where the order is not unpaid; PY201.
 */
Datum
payguard_update_order(PG_FUNCTION_ARGS)
{
	text *order_id = payguard_arg_id(ARG(0), "order_id");
	int64 expected_version = payguard_arg_version(ARG(1), "expected_version");
	int64 amount = payguard_arg_amount_or_null(ARG(2), "amount");
	text *currency = payguard_arg_currency_or_null(ARG(3), "currency");
	TimestampTz expires_at = payguard_arg_deadline_or_null(ARG(4), "expires_at");
	FieldSet changed = 0;
	Order order;
	Refusal refusal;

	check_deadline(expires_at);
	payguard_request_begin("update_order()");
	if (!payguard_order_find(order_id, &order))
	{
		payguard_refuse_not_found(order_id, &refusal);
		payguard_raise(&refusal);
	}
	if (!judge_update(&order, expected_version, &refusal))
		refuse_request(&order, &refusal);
	if (!payguard_order_lock(order_id, &order))
		elog(ERROR, "payguard: order \"%s\" has vanished", payguard_str(order_id));
	payguard_store_refresh();
	if (!judge_update(&order, expected_version, &refusal))
		refuse_request(&order, &refusal);

	if (amount != NO_AMOUNT && amount != order.amount)
	{
		order.amount = amount;
		changed |= FIELD(ORDER_F_AMOUNT);
	}
	if (currency != NULL && !payguard_text_equal(currency, order.currency))
	{
		order.currency = currency;
		changed |= FIELD(ORDER_F_CURRENCY);
	}
	if (expires_at != NO_TIME && expires_at != order.expires_at)
	{
		order.expires_at = expires_at;
		changed |= FIELD(ORDER_F_EXPIRES_AT);
	}
	if (changed & FIELD(ORDER_F_EXPIRES_AT))
		set_deadline(&order);
	if (changed != 0)
	{
		payguard_order_change(
			&order, ORDER_UNPAID, changed, "order.updated", NULL,
			payguard_json(
				"amount", 'i', changed & FIELD(ORDER_F_AMOUNT) ? amount : NO_AMOUNT,
				"currency", 't', changed & FIELD(ORDER_F_CURRENCY) ? currency : NULL,
				"expires_at", 'd',
				changed & FIELD(ORDER_F_EXPIRES_AT) ? expires_at : NO_TIME, NULL));
		payguard_approval_renew(&order);
	}
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_orders, &order);
}

static bool
judge_update(const Order *order, int64 expected_version, Refusal *refusal)
{
	return payguard_refuse_unpayable(order, GetCurrentTimestamp(), refusal) &&
		   payguard_refuse_version(order, expected_version, refusal);
}

PG_FUNCTION_INFO_V1(payguard_cancel_order);

/*
 * cancel_order(order_id, expected_version := NULL, reason := NULL) → orders
 *
 * A paying order is cancelled when its attempt has ended without money: until then it is
 * paying with closing_as = cancelled, and a success still pays it. An order that is cancelled,
 * or about to be closed, is returned as it is. Errors: 22004, 22023; PY401; PY101 where it is
 * paid; PY102 where it has expired; PY201.
 */
Datum
payguard_cancel_order(PG_FUNCTION_ARGS)
{
	text *order_id = payguard_arg_id(ARG(0), "order_id");
	int64 expected_version = payguard_arg_version_or_null(ARG(1), "expected_version");
	text *reason = payguard_arg_note_or_null(ARG(2), "reason");
	Order order;
	Refusal refusal;

	payguard_request_begin("cancel_order()");
	if (!payguard_order_find(order_id, &order))
	{
		payguard_refuse_not_found(order_id, &refusal);
		payguard_raise(&refusal);
	}
	if (!judge_cancel(&order, expected_version, &refusal))
		refuse_request(&order, &refusal);
	if (!is_closing(&order))
	{
		if (!payguard_order_lock(order_id, &order))
			elog(ERROR, "payguard: order \"%s\" has vanished", payguard_str(order_id));
		payguard_store_refresh();
		if (!judge_cancel(&order, expected_version, &refusal))
			refuse_request(&order, &refusal);
	}
	if (is_closing(&order))
		payguard_store_make_durable(&order);
	else
		close_order(&order, ORDER_CANCELLED, payguard_json("reason", 't', reason, NULL));
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_orders, &order);
}

/*
 * judge_cancel: what is cancelled may be cancelled again, whatever version is expected: that
 * is the retry of a call that succeeded.
 */
static bool
judge_cancel(const Order *order, int64 expected_version, Refusal *refusal)
{
	/* the deadline does not matter here: an order that is not yet expired may be cancelled */
	TimestampTz before_any_deadline = DT_NOBEGIN;

	if (is_closing(order))
		return true;
	return (order->status == ORDER_PAYING ||
			payguard_refuse_unpayable(order, before_any_deadline, refusal)) &&
		   payguard_refuse_version(order, expected_version, refusal);
}

/*
 * is_closing tells whether an order is cancelled, or will be closed by its attempt's end.
 */
static bool
is_closing(const Order *order)
{
	return order->status == ORDER_CANCELLED || order->closing_as != ORDER_NONE;
}

/*
 * close_order ends an unpaid order as cancelled or expired, or has its attempt closed first.
 * The caller holds its lock.
 */
static void
close_order(Order *order, OrderStatus as, Jsonb *details)
{
	Payment live;

	Assert(as == ORDER_CANCELLED || as == ORDER_EXPIRED);
	if (order->status == ORDER_UNPAID)
	{
		payguard_order_change(order, as, 0,
							  as == ORDER_CANCELLED ? "order.cancelled" : "order.expired",
							  NULL, details);
		return;
	}
	if (!payguard_payment_that_counts(order->order_id, &live))
		elog(ERROR, "payguard: order \"%s\" is paying without a live payment",
			 payguard_str(order->order_id));
	order->closing_as = as;
	payguard_order_change(order, ORDER_PAYING, FIELD(ORDER_F_CLOSING_AS), "order.closing",
						  live.payment_id, details);
	payguard_payment_close(order, &live);
}

static const RowQuery due_deadlines = {
	"expires_at " OP("<=") " $1 ORDER BY expires_at LIMIT $2",
	{TIMESTAMPTZOID, INT8OID, InvalidOid}};

PG_FUNCTION_INFO_V1(payguard_expire_orders);

/*
 * expire_orders(max) → int: deals with that many deadlines that have passed, the oldest first,
 * and returns how many. Orders that somebody is working on are left for the next call. Errors:
 * 22004, 22023.
 */
Datum
payguard_expire_orders(PG_FUNCTION_ARGS)
{
	int max = payguard_arg_max_rows(ARG(0), "max");
	Datum values[2] = {TimestampTzGetDatum(GetCurrentTimestamp()), Int64GetDatum(max)};
	Deadline *due;
	EachItem *items;
	int done;
	int n;

	payguard_request_begin("expire_orders()");
	n = payguard_store_list(&payguard_deadlines, &due_deadlines, values, (void **) &due);
	items = palloc(sizeof(EachItem) * Max(n, 1));
	for (int i = 0; i < n; i++)
		items[i] = (EachItem){.id = due[i].order_id, .row = &due[i]};
	done = payguard_each("order", items, n, expire_one);
	payguard_call_end();
	PG_RETURN_INT32(done);
}

/*
 * expire_one expires the order of a deadline that was due when it was listed, unless somebody works
 * on it.
 */
static void
expire_one(EachItem *item)
{
	Order like = {.order_id = item->id};
	Order order;
	Deadline deadline;

	if (!payguard_store_lock_free(&payguard_orders, ORDER_BY_ID, &like, &order))
		return;
	payguard_store_refresh();
	if (!payguard_store_find(&payguard_deadlines, DEADLINE_BY_ORDER, item->row,
							 &deadline) ||
		!payguard_order_is_past_deadline(&order, GetCurrentTimestamp()))
		return;
	if (order.status == ORDER_UNPAID ||
		(order.status == ORDER_PAYING && order.closing_as == ORDER_NONE))
		close_order(&order, ORDER_EXPIRED, NULL);
	payguard_store_delete(&payguard_deadlines, &deadline);
	item->done = true;
}

/*
 * refuse_request raises a refusal that rests on what was read of an order.
 */
static void
refuse_request(const Order *order, const Refusal *refusal)
{
	payguard_store_make_durable(order);
	payguard_raise(refusal);
}

PG_FUNCTION_INFO_V1(payguard_order_status);

/*
 * order_status(order_id) → order_status_result: what the customer's page may say and offer.
 * Reads with the caller's snapshot, also on a standby. Errors: 22004, 22023; PY401.
 */
Datum
payguard_order_status(PG_FUNCTION_ARGS)
{
	text *order_id = payguard_arg_id(ARG(0), "order_id");
	Datum values[N_STATUS_COLUMNS] = {0};
	bool nulls[N_STATUS_COLUMNS] = {false};
	Order order;
	Payment live;
	bool is_live;
	bool held;
	bool support;
	bool returned;
	Refusal refusal;

	payguard_store_begin(STORE_READ);
	if (!payguard_order_find(order_id, &order))
	{
		payguard_refuse_not_found(order_id, &refusal);
		payguard_raise(&refusal);
	}
	is_live =
		order.status == ORDER_PAYING && payguard_payment_that_counts(order_id, &live);
	held = order.status == ORDER_UNPAID && payguard_policy_holds(&order, false);
	support = needs_support(&order);
	returned = is_returned(&order);
	payguard_store_end(STORE_READ);

	describe_status(&order, is_live ? &live : NULL, held, support, returned, values,
					nulls);
	return HeapTupleGetDatum(
		heap_form_tuple(payguard_result_desc(fcinfo), values, nulls));
}

static const RowQuery critical_alerts = {
	"order_id " OP("=") " $1 AND resolved_at IS NULL "
						"AND severity " OP("=") " 'critical'",
	{TEXTOID, InvalidOid}};

/*
 * needs_support tells whether a person has to look at the order before its customer can know
 * more. Of a paid order that is so only where he may miss money.
 */
static bool
needs_support(const Order *order)
{
	Datum id = PointerGetDatum(order->order_id);
	Alert *alerts;
	int n =
		payguard_store_list(&payguard_alerts, &critical_alerts, &id, (void **) &alerts);

	for (int i = 0; i < n; i++)
		if ((order->status != ORDER_PAID && order->status != ORDER_REFUNDED) ||
			payguard_text_is(alerts[i].kind, "second_charge") ||
			payguard_text_is(alerts[i].kind, "amount_mismatch") ||
			payguard_text_is(alerts[i].kind, "refund_failed"))
			return true;
	return false;
}

static const RowQuery open_surplus_refunds = {
	"payment_id " OP(
		"=") " ANY (ARRAY("
			 "SELECT p.payment_id FROM payguard.payments p "
			 "WHERE p.order_id " OP(
				 "=") " $1 "
					  "AND p.status " OP(
						  "=") " 'surplus')) "
							   "AND status " OP(
								   "=") " ANY "
										"('{pending,unknown}'::pg_catalog.text[])",
	{TEXTOID, InvalidOid}};

/*
 * is_returned tells whether money that the order did not need is on its way back.
 */
static bool
is_returned(const Order *order)
{
	Datum id = PointerGetDatum(order->order_id);
	Refund *refunds;

	return payguard_store_list(&payguard_refunds, &open_surplus_refunds, &id,
							   (void **) &refunds) > 0;
}

typedef struct Advice
{
	const char *code; /* stable: pages switch on it */
	const char *message;
	bool can_pay;
	bool can_cancel;
} Advice;

static Advice
advise(const Order *order, const Payment *live, bool held)
{
	switch (order->status)
	{
		case ORDER_UNPAID:
			if (payguard_order_is_past_deadline(order, GetCurrentTimestamp()))
				return (Advice){"closed", "The time to pay this order is over.", false,
								true};
			if (held)
				return (Advice){"wait",
								"This order is being checked before it can be paid.",
								false, true};
			return (Advice){"pay", "This order is waiting for payment.", true, true};
		case ORDER_PAYING:
			if (order->closing_as == ORDER_NONE && live &&
				live->status == PAYMENT_PENDING)
				return (Advice){"resume",
								"A payment has been started. Please complete it.", false,
								true};
			return (Advice){
				"wait",
				"We are waiting for the answer to a payment. Please do not pay "
				"again.",
				false, order->closing_as == ORDER_NONE};
		case ORDER_PAID:
			return (Advice){"paid", "This order is paid.", false, false};
		case ORDER_REFUNDED:
			return (Advice){"refunded", "This order was paid and has been refunded.",
							false, false};
		case ORDER_CANCELLED:
			return (Advice){"closed", "This order is cancelled.", false, false};
		case ORDER_EXPIRED:
			return (Advice){"closed", "The time to pay this order is over.", false,
							false};
		case ORDER_NONE:
		case N_ORDER_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no status of an order", (int) order->status);
}

/*
 * describe_status fills in the columns of order_status_result.
 */
static void
describe_status(const Order *order, const Payment *live, bool held, bool support,
				bool returned, Datum *values, bool *nulls)
{
	Advice advice = advise(order, live, held);
	bool wait = strcmp(advice.code, "wait") == 0;
	bool resume = strcmp(advice.code, "resume") == 0;
	int i = 0;

	if (returned && (order->status == ORDER_PAID || order->status == ORDER_REFUNDED))
		advice.message =
			psprintf("%s A second payment is being returned.", advice.message);
	else if (returned)
		advice.message =
			psprintf("%s Money that was paid for it is being returned.", advice.message);
	if (support)
	{
		advice.code = "contact_support";
		advice.can_pay = false; /* money may have come already */
		advice.message = psprintf(
			"%s Something about its payment has to be looked at. Please contact us.",
			advice.message);
	}

	values[i++] = PointerGetDatum(order->order_id);
	values[i++] = CStringGetTextDatum(
		payguard_machine_name(&payguard_order_machine, order->status));
	values[i++] = CStringGetTextDatum(advice.code);
	values[i++] = CStringGetTextDatum(advice.message);
	values[i++] = BoolGetDatum(advice.can_pay);
	values[i++] = BoolGetDatum(advice.can_cancel);
	nulls[i] = !wait;
	if (wait)
	{
		Interval *interval = palloc0(sizeof(Interval));

		interval->time = 5 * USECS_PER_SEC;
		values[i] = IntervalPGetDatum(interval);
	}
	i++;
	nulls[i] = !resume;
	if (resume)
		values[i] = UUIDPGetDatum(live->payment_id);
	i++;
	values[i++] = Int64GetDatum(order->amount);
	values[i++] = PointerGetDatum(order->currency);
	values[i++] = Int64GetDatum(order->refunded_amount);
	values[i++] = Int64GetDatum(order->version);
	Assert(i == N_STATUS_COLUMNS);
}
