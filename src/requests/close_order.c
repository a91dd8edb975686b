/*
 * close_order.c
 *		cancel_order(), expire_orders() and close_payment(): orders and attempts that end without money.
 *
 * While an attempt is open its channel may still take the money. So the order is closing, and becomes
 * cancelled or expired when the attempt has ended.
 *
 * Locking: the order's row lock. expire_orders() leaves out orders that somebody else holds.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/argument.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/durable.h"
#include "store/each.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/call.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"
#include "records/result.h"
#include "records/task.h"
#include "money/payable.h"
#include "evidence/apply.h"
#include "requests/close_order.h"
#include "requests/judge.h"

static bool judge_cancel(const Order *order, int64 expected_version, Refusal *refusal);
static bool is_closing(const Order *order);
static void close_order(Order *order, OrderStatus as, Jsonb *details);
static bool is_processed(const Order *order);
static void expire_one(EachItem *item);

/*
 * payguard_payment_close has a live attempt closed: at once where nothing was ever sent,
 * otherwise by a task. order->closing_as says what the order becomes then. A capture that a worker has claimed has to
 * end first.
 */
void
payguard_payment_close(Order *order, Payment *payment)
{
	bool held = payguard_payment_holds_order(payment->status);

	Assert(payguard_payment_is_open(payment->status));
	if (payguard_payment_withdraw_charge(payment))
	{
		Report not_sent = payguard_report_not_sent(NULL);
		Applied applied;

		payguard_evidence_apply(order, payment, &not_sent, &applied);
		return;
	}
	if (payment->status == PAYMENT_CAPTURING &&
		!payguard_payment_withdraw_capture(payment))
	{
		/* it may have ended for a transaction whose snapshot is older: 40001 */
		payguard_payment_must_be_there(payment->payment_id, payment);
		return;
	}
	if (payment->status != PAYMENT_CLOSING)
		payguard_payment_change(order, payment, PAYMENT_CLOSING, 0, NULL);
	if (held && order->closing_as == ORDER_NONE)
		payguard_order_look_at_deadline_again(order);
	payguard_task_schedule("close", payguard_payment_about(payment), payment->channel,
						   GetCurrentTimestamp());
}

PG_FUNCTION_INFO_V1(payguard_close_payment);

/*
 * close_payment(payment_id) → payment_result
 *
 * live → closing; what is being closed already is returned, replayed. Errors: 22004; PY402;
 * PY105 where the attempt has ended, or a worker has its capture.
 */
Datum
payguard_close_payment(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	Order order;
	Payment payment;
	bool replayed = true;
	Refusal refusal;
	PaymentResult result;

	payguard_request_begin("close_payment()");
	payguard_payment_must_exist(payment_id, &payment);
	if (!payguard_judge_close(&payment, &refusal))
	{
		payguard_store_make_durable(&payment);
		payguard_raise(&refusal);
	}
	payguard_payment_lock(payment_id, &order, &payment);
	if (!payguard_judge_close(&payment, &refusal))
		payguard_raise(&refusal);
	if (payment.status != PAYMENT_CLOSING && payment.status != PAYMENT_SUPERSEDED)
	{
		payguard_payment_close(&order, &payment);
		replayed = false;
	}
	payguard_call_end();
	payguard_result_of(&payment, &order, replayed, &result);
	result.version = order.version;
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}

/*
 * payguard_judge_close tells whether an attempt may be closed: it has not ended.
 */
bool
payguard_judge_close(const Payment *payment, Refusal *refusal)
{
	if (payguard_payment_capture_is_sent(payment))
		return payguard_refuse(
			refusal, ERR_ILLEGAL_TRANSITION,
			psprintf("the money of payment \"%s\" is being captured",
					 payguard_uuid_str(payment->payment_id)),
			"A worker may have asked the channel for it already.",
			"Wait for the outcome. Money that has come is given back with "
			"payguard.refund_order().");
	if (payguard_payment_is_open(payment->status))
		return true;
	return payguard_refuse(
		refusal, ERR_ILLEGAL_TRANSITION,
		psprintf("payment \"%s\" has ended", payguard_uuid_str(payment->payment_id)),
		psprintf("It is %s since %s.",
				 payguard_machine_name(&payguard_payment_machine, payment->status),
				 payguard_time_str(payment->completed_at)),
		"There is nothing to close.");
}

PG_FUNCTION_INFO_V1(payguard_cancel_order);

/*
 * cancel_order(order_id, expected_version := NULL, reason := NULL) → orders
 *
 * A paying order is cancelled when its attempt has ended: until then it is paying with
 * closing_as = cancelled, and money that comes is surplus. An order that is cancelled, or about to be, is
 * returned as it is; one that is about to expire is cancelled instead. Errors: 22004, 22023; PY401; PY101 where it is
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
	payguard_order_must_exist(order_id, &order);
	if (!judge_cancel(&order, expected_version, &refusal))
		payguard_order_refuse(&order, &refusal);
	if (!is_closing(&order))
	{
		payguard_order_lock_known(order_id, &order);
		payguard_store_refresh();
		if (!judge_cancel(&order, expected_version, &refusal))
			payguard_order_refuse(&order, &refusal);
	}
	if (is_closing(&order))
		payguard_store_make_durable(&order);
	else
		close_order(&order, ORDER_CANCELLED, payguard_json("reason", 't', reason, NULL));
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_orders, &order);
}

/*
 * judge_cancel tells whether an order may be cancelled. One that is cancelled may be cancelled again, whatever version
 * is expected: that is the retry of a call that succeeded.
 */
static bool
judge_cancel(const Order *order, int64 expected_version, Refusal *refusal)
{
	/* the deadline does not matter here: an order that is not yet expired may be cancelled */
	TimestampTz before_any_deadline = DT_NOBEGIN;

	if (is_closing(order))
		return true;
	return (order->status == ORDER_PAYING ||
			payguard_judge_payable_to(PAYABLE_TO_CANCEL, order, before_any_deadline,
									  refusal)) &&
		   payguard_judge_version(order, expected_version, refusal);
}

/*
 * is_closing tells whether an order is cancelled, or will be by its attempt's end.
 */
static bool
is_closing(const Order *order)
{
	return order->status == ORDER_CANCELLED || order->closing_as == ORDER_CANCELLED;
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
	n = payguard_store_list(&payguard_deadlines, &payguard_due_deadlines, values,
							(void **) &due);
	items = palloc(sizeof(EachItem) * Max(n, 1));
	for (int i = 0; i < n; i++)
		items[i] = (EachItem){.id = due[i].order_id, .row = &due[i]};
	done = payguard_each("order", items, n, expire_one);
	payguard_call_end();
	PG_RETURN_INT32(done);
}

/*
 * is_processed tells whether the customer has done all that he can do to pay an order.
 */
static bool
is_processed(const Order *order)
{
	Payment live;

	return payguard_payment_that_counts(order->order_id, &live) &&
		   payguard_payment_holds_order(live.status);
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
	/* what a channel is processing was paid in time: it is looked at again when that has ended */
	if (order.status == ORDER_UNPAID ||
		(order.status == ORDER_PAYING && order.closing_as == ORDER_NONE &&
		 !is_processed(&order)))
		close_order(&order, ORDER_EXPIRED, NULL);
	payguard_store_delete(&payguard_deadlines, &deadline);
	item->done = true;
}
