/*
 * refund_order.c
 *		refund_order(), refund_payment(), retry_refund() and waive_refund(): what a caller asks for.
 *
 * No more goes back than came: the rest is looked at under the balance's lock, and the table's CHECK holds it.
 *
 * Locking: the order's row lock first, then the payment's row in refund_balances.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/argument.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/table.h"
#include "records/alert.h"
#include "records/approval.h"
#include "records/balance.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/result.h"
#include "money/refunding.h"
#include "requests/judge.h"

static void read_refund_call(FunctionCallInfo fcinfo, RefundCall *call);
static Datum request_refund(FunctionCallInfo fcinfo, const RefundCall *call, Order *order,
							Payment *payment);
static bool is_free(const Order *order, const Payment *payment, const Refund *refund);
static void check_channel(const RefundCall *call, const Payment *payment);
static bool judge_ceiling(const RefundBalance *balance, const Payment *payment,
						  int64 amount, Refusal *refusal);
static void check_second_person(const Payment *payment, const Refund *refund);

PG_FUNCTION_INFO_V1(payguard_refund_order);

/*
 * refund_order(order_id, idempotency_key, amount := NULL, reason, details, channel := NULL)
 *	→ refund_result
 *
 * amount: minor units; NULL: the rest. channel: an internal one, by which the money goes back at once; NULL: the
 * payment's own. The scripts before 1.2.0 have none. A free order is given back by a refund of nothing. Errors: 22004, 22023; PY301; PY401; PY402 where no
 * payment paid the order; PY504.
 */
Datum
payguard_refund_order(PG_FUNCTION_ARGS)
{
	text *order_id = payguard_arg_id(ARG(0), "order_id");
	RefundCall call;
	Order order;
	Payment payment;
	Refund refund;
	bool paid;
	Refusal refusal;

	read_refund_call(fcinfo, &call);
	payguard_request_begin("refund_order()");
	paid = payguard_order_find(order_id, &order) && order.payment_id &&
		   payguard_payment_find(order.payment_id, &payment);
	if (payguard_refund_replay(&call, paid ? &payment : NULL, order_id, &refund))
	{
		payguard_call_end();
		return payguard_refund_result(fcinfo, &refund, true, NULL);
	}
	if (!payguard_order_lock(order_id, &order))
		payguard_order_raise_not_found(order_id);
	payguard_store_refresh();
	if (order.payment_id == NULL || !payguard_payment_reread(order.payment_id, &payment))
	{
		payguard_refuse(
			&refusal, ERR_PAYMENT_NOT_FOUND,
			psprintf("order \"%s\" has not been paid", payguard_str(order_id)),
			psprintf("It is %s.",
					 payguard_machine_name(&payguard_order_machine, order.status)),
			"There is nothing to refund. Surplus money of an order is refunded "
			"with payguard.refund_payment().");
		payguard_raise(&refusal);
	}
	return request_refund(fcinfo, &call, &order, &payment);
}

PG_FUNCTION_INFO_V1(payguard_refund_payment);

/*
 * refund_payment(payment_id, idempotency_key, amount := NULL, reason, details, channel := NULL)
 *	→ refund_result
 *
 * Errors: 22004, 22023; PY301; PY402; PY504.
 */
Datum
payguard_refund_payment(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	RefundCall call;
	Order order;
	Payment payment;
	Refund refund;

	read_refund_call(fcinfo, &call);
	payguard_request_begin("refund_payment()");
	payguard_payment_must_exist(payment_id, &payment);
	if (payguard_refund_replay(&call, &payment, NULL, &refund))
	{
		payguard_call_end();
		return payguard_refund_result(fcinfo, &refund, true, NULL);
	}
	payguard_payment_lock(payment_id, &order, &payment);
	return request_refund(fcinfo, &call, &order, &payment);
}

static void
read_refund_call(FunctionCallInfo fcinfo, RefundCall *call)
{
	call->key = payguard_arg_id(ARG(1), "idempotency_key");
	call->amount = payguard_arg_amount_or_null(ARG(2), "amount");
	call->reason = payguard_arg_note(ARG(3), "reason");
	call->details = payguard_arg_json_or_null(ARG(4), "details");
	call->channel = PG_NARGS() > 5 ? payguard_arg_id_or_null(ARG(5), "channel") : NULL;
	if (call->amount == 0)
		payguard_arg_bad("amount", "It is 0.", "Refund 1 or more, or leave it out.");
}

/*
 * request_refund opens a refund of a payment whose order is locked.
 */
static Datum
request_refund(FunctionCallInfo fcinfo, const RefundCall *call, Order *order,
			   Payment *payment)
{
	RefundBalance balance;
	Refund refund;
	Refusal refusal;

	if (payguard_refund_replay(call, payment, NULL, &refund))
	{
		payguard_call_end();
		return payguard_refund_result(fcinfo, &refund, true, NULL);
	}
	check_channel(call, payment);
	payguard_balance_lock(payment, &balance);
	refund = (Refund){
		.idempotency_key = call->key,
		.amount = call->amount != NO_AMOUNT
					  ? call->amount
					  : balance.received - balance.refunding - balance.refunded,
		.status = REFUND_PENDING,
		.origin = payguard_text("request"),
		.reason = call->reason,
		.details = call->details,
		.channel = call->channel,
	};
	if (!is_free(order, payment, &refund) &&
		!judge_ceiling(&balance, payment, refund.amount, &refusal))
		payguard_raise(&refusal);
	payguard_refund_insert(order, payment, &refund);
	payguard_call_end();
	return payguard_refund_result(fcinfo, &refund, false, NULL);
}

/*
 * is_free tells whether a refund gives a free order back: nothing was paid for it, and it counts as paid still.
 */
static bool
is_free(const Order *order, const Payment *payment, const Refund *refund)
{
	return refund->amount == 0 && payment->received_amount == 0 &&
		   order->status == ORDER_PAID &&
		   payguard_uuid_equal(order->payment_id, payment->payment_id);
}

/*
 * check_channel refuses another channel than the payment's own, unless the money is in the shop's own hands there.
 * Errors: PY405, PY406.
 */
static void
check_channel(const RefundCall *call, const Payment *payment)
{
	Channel channel;
	Refusal refusal;

	if (call->channel == NULL || payguard_text_equal(call->channel, payment->channel))
		return;
	if (!payguard_channel_find(call->channel, &channel))
		payguard_channel_refuse_unknown(call->channel, &refusal);
	else if (!channel.internal)
		payguard_refuse(
			&refusal, ERR_CHANNEL_NOT_INTERNAL,
			psprintf("channel \"%s\" is not internal", payguard_str(call->channel)),
			psprintf("The money came through channel \"%s\".",
					 payguard_str(payment->channel)),
			"Leave the channel out, or name an internal one.");
	else
		return;
	payguard_raise(&refusal);
}

/*
 * judge_ceiling refuses with PY504 where more would go back than is left.
 */
static bool
judge_ceiling(const RefundBalance *balance, const Payment *payment, int64 amount,
			  Refusal *refusal)
{
	int64 rest = balance->received - balance->refunding - balance->refunded;

	if (amount > 0 && amount <= rest)
		return true;
	return payguard_refuse(refusal, ERR_REFUND_EXCEEDS_PAYMENT,
						   psprintf("payment \"%s\" has not that much left to refund",
									payguard_uuid_str(payment->payment_id)),
						   psprintf("Received " INT64_FORMAT ", refunded " INT64_FORMAT
									", being refunded " INT64_FORMAT
									", asked for " INT64_FORMAT ".",
									balance->received, balance->refunded,
									balance->refunding, Max(amount, 0)),
						   "Refund the rest at most.");
}

/*
 * payguard_judge_refund tells whether the rest of a payment may be refunded; a free order is given back.
 */
bool
payguard_judge_refund(const Order *order, const Payment *payment, Refusal *refusal)
{
	RefundBalance balance;
	Refund refund;

	payguard_balance_lock(payment, &balance);
	refund = (Refund){.amount = balance.received - balance.refunding - balance.refunded};
	return is_free(order, payment, &refund) ||
		   judge_ceiling(&balance, payment, refund.amount, refusal);
}

PG_FUNCTION_INFO_V1(payguard_retry_refund);

/*
 * retry_refund(refund_id, note) → refund_result
 *
 * failed → pending. Errors: 22004, 22023; PY403; PY105; PY504 where other refunds have taken
 * its place; PY602.
 */
Datum
payguard_retry_refund(PG_FUNCTION_ARGS)
{
	pg_uuid_t *refund_id = payguard_arg_uuid(ARG(0), "refund_id");
	text *note = payguard_arg_note(ARG(1), "note");
	Order order;
	Payment payment;
	Refund refund;
	RefundBalance balance;
	Refusal refusal;

	payguard_request_begin("retry_refund()");
	payguard_refund_must_exist(refund_id, &refund);
	payguard_refund_lock(refund_id, &order, &payment, &refund);
	if (!payguard_judge_retry(&payment, &refund, &refusal))
		payguard_raise(&refusal);
	check_second_person(&payment, &refund);
	payguard_balance_lock(&payment, &balance);
	balance.refunding += refund.amount;
	payguard_balance_store(&payment, &balance);
	refund.completed_at = NO_TIME;
	refund.failure_code = NULL;
	refund.failure_message = NULL;
	payguard_refund_change(&refund, REFUND_PENDING,
						   FIELD(REFUND_F_COMPLETED_AT) | FIELD(REFUND_F_FAILURE_CODE) |
							   FIELD(REFUND_F_FAILURE_MESSAGE),
						   payguard_json("note", 't', note, NULL));
	payguard_refund_schedule(&refund, "refund");
	payguard_alert_resolve("refund_failed", payguard_text(payguard_uuid_str(refund_id)),
						   note);
	payguard_call_end();
	return payguard_refund_result(fcinfo, &refund, false, NULL);
}

/*
 * payguard_judge_retry tells whether a refund may be made once more.
 */
bool
payguard_judge_retry(const Payment *payment, const Refund *refund, Refusal *refusal)
{
	RefundBalance balance;

	if (refund->status != REFUND_FAILED)
		return payguard_refund_refuse_move(
			refund, "retried", "Only a failed refund can be retried.", refusal);
	if (payguard_text_is(refund->origin, "channel"))
		return payguard_refund_refuse_move(
			refund, "retried",
			"The channel made it on its own. If the money is still owed, refund the "
			"payment with payguard.refund_payment().",
			refusal);
	payguard_balance_lock(payment, &balance);
	return judge_ceiling(&balance, payment, refund->amount, refusal);
}

/*
 * check_second_person refuses the person who asked for a refund that nobody has approved, since the policy came later:
 * somebody else has to make it again. Errors: PY602.
 */
static void
check_second_person(const Payment *payment, const Refund *refund)
{
	Approval approval;

	if (!payguard_refund_needs_approval(payment, refund) ||
		(payguard_approval_of_refund(refund->refund_id, &approval) &&
		 payguard_text_is(approval.status, "approved")))
		return;
	payguard_refund_check_not_asker(
		refund, "A policy asks for a second person, and nobody has approved it.",
		"Have somebody else retry it.");
}

PG_FUNCTION_INFO_V1(payguard_waive_refund);

/*
 * waive_refund(refund_id, note) → refund_result
 *
 * An operator decides that the money stays. A waived refund is returned. Errors: 22004, 22023;
 * PY403; PY105 where a worker has begun it, or it was made, or counts no more.
 */
Datum
payguard_waive_refund(PG_FUNCTION_ARGS)
{
	pg_uuid_t *refund_id = payguard_arg_uuid(ARG(0), "refund_id");
	text *note = payguard_arg_note(ARG(1), "note");
	Order order;
	Payment payment;
	Refund refund;
	Refusal refusal;

	payguard_request_begin("waive_refund()");
	payguard_refund_must_exist(refund_id, &refund);
	payguard_refund_lock(refund_id, &order, &payment, &refund);
	if (refund.status == REFUND_WAIVED)
	{
		payguard_call_end();
		return payguard_refund_result(fcinfo, &refund, true, NULL);
	}
	if (!payguard_judge_waive(&refund, &refusal))
		payguard_raise(&refusal);
	payguard_refund_waive(&payment, &refund, note);
	payguard_call_end();
	return payguard_refund_result(fcinfo, &refund, false, NULL);
}

/*
 * payguard_judge_waive tells whether the money of a refund may stay; one that is waived may not be waived again.
 */
bool
payguard_judge_waive(const Refund *refund, Refusal *refusal)
{
	if (refund->status == REFUND_MERGED || refund->status == REFUND_REINSTATED)
		return payguard_refund_refuse_move(
			refund, "waived",
			"It does not count any more. If money is still owed, refund the payment with "
			"payguard.refund_payment().",
			refusal);
	if (refund->status == REFUND_WAIVED ||
		(refund->status != REFUND_FAILED && payguard_refund_has_begun(refund)))
		return payguard_refund_refuse_move(
			refund, "waived",
			"Wait for its outcome; only a refund that has not begun, or has "
			"failed, can be waived.",
			refusal);
	return true;
}
