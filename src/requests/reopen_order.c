/*
 * reopen_order.c
 *		reopen_order(): an operator lets an order be paid again whose money a channel has taken back.
 *
 * By itself that happens only where one reversal, of a kind that the channel's settings name, has taken all of it. What
 * is left of the money is surplus then, and a person decides about it.
 *
 * Locking: the order's row lock.
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
#include "records/balance.h"
#include "records/call.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/result.h"
#include "records/task.h"
#include "money/refunding.h"
#include "money/surplus.h"
#include "evidence/received.h"
#include "requests/judge.h"

static void resolve_reversals(const Payment *payment, text *note);

PG_FUNCTION_INFO_V1(payguard_reopen_order);

/*
 * reopen_order(order_id, note) → orders
 *
 * An order that is unpaid already is returned. Errors: 22004, 22023; PY401; PY105 where its money, or a part of it,
 * was not taken back.
 */
Datum
payguard_reopen_order(PG_FUNCTION_ARGS)
{
	text *order_id = payguard_arg_id(ARG(0), "order_id");
	text *note = payguard_arg_note(ARG(1), "note");
	Jsonb *details = payguard_json("note", 't', note, NULL);
	Order order;
	Payment payment;
	RefundBalance balance;
	Refusal refusal;

	payguard_request_begin("reopen_order()");
	if (!payguard_order_lock(order_id, &order))
		payguard_order_raise_not_found(order_id);
	payguard_store_refresh();
	if (order.status == ORDER_UNPAID && order.returned_payment_id)
	{
		payguard_call_end();
		return payguard_row_result(fcinfo, &payguard_orders, &order);
	}
	if (!payguard_judge_reopen(&order, &payment, &refusal))
		payguard_raise(&refusal);
	payguard_balance_lock(&payment, &balance);
	if (balance.refunded + balance.excess >= payment.received_amount)
	{
		payguard_refund_waive_rest(&payment, note);
		payguard_received_return(&order, &payment, details);
	}
	else
	{
		payguard_payment_change(&order, &payment, PAYMENT_SURPLUS, 0, details);
		payguard_task_outdate(payguard_payment_about(&payment));
		payguard_order_return(&order, payment.payment_id, details);
		payguard_refund_hold_unbegun(&payment);
		payguard_refund_what_is_here(&order, &payment);
	}
	resolve_reversals(&payment, note);
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_orders, &order);
}

/*
 * payguard_judge_reopen tells whether an order may be paid again: the channel has taken something back of what paid it.
 * It reads the payment.
 */
bool
payguard_judge_reopen(const Order *order, Payment *payment, Refusal *refusal)
{
	Refund *refunds;
	int n = 0;

	if ((order->status == ORDER_PAID || order->status == ORDER_REFUNDED) &&
		payguard_payment_reread(order->payment_id, payment))
		n = payguard_refund_list_of(payment, &refunds);
	for (int i = 0; i < n; i++)
		if (refunds[i].status == REFUND_SUCCEEDED &&
			payguard_text_is(refunds[i].origin, "channel") &&
			!payguard_text_is(refunds[i].reversal_kind, "refund"))
			return true;
	return payguard_refuse(
		refusal, ERR_ILLEGAL_TRANSITION,
		psprintf("order \"%s\" cannot be paid again", payguard_str(order->order_id)),
		psprintf("It is %s, and no channel has taken its money back.",
				 payguard_machine_name(&payguard_order_machine, order->status)),
		"Give the money of a paid order back with payguard.refund_order(). For a closed "
		"one create a new order.");
}

/*
 * resolve_reversals closes the alerts of what the channel has taken back: somebody has decided about it.
 */
static void
resolve_reversals(const Payment *payment, text *note)
{
	Refund *refunds;
	int n;

	n = payguard_refund_list_of(payment, &refunds);
	for (int i = 0; i < n; i++)
		payguard_alert_resolve(payguard_refund_reversal_alert(&refunds[i]),
							   payguard_text(payguard_uuid_str(refunds[i].refund_id)),
							   note);
}
