/*
 * accept_surplus.c
 *		accept_surplus() and dismiss_surplus(): how an operator decides about surplus money.
 *
 * It pays its order after all, or it was a second name of a charge that is known. Both need that its refund
 * has not begun.
 *
 * Locking: the order's row lock.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/argument.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/table.h"
#include "records/alert.h"
#include "records/balance.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"
#include "records/result.h"
#include "records/task.h"
#include "money/payable.h"
#include "money/policy.h"
#include "money/surplus.h"
#include "evidence/apply.h"
#include "evidence/received.h"
#include "requests/create_order.h"
#include "requests/judge.h"

static void return_paying(Order *order, text *note);
static bool is_all_back(const Order *order, Payment *paying);
static bool is_less(const Order *order, const Payment *payment);
static bool judge_whole_price(const Order *order, const Payment *payment,
							  Refusal *refusal);
static bool judge_accept(const Order *order, const Payment *payment, Refusal *refusal);
static bool is_charge_of(const Payment *same, const Payment *payment);
static bool judge_surplus(const Payment *payment, Refusal *refusal);
static bool refuse_begun(const Payment *payment, Refusal *refusal);
static void resolve_surplus(const pg_uuid_t *payment_id, text *note);

PG_FUNCTION_INFO_V1(payguard_accept_surplus);

/*
 * accept_surplus(payment_id, note, as_whole_price) → payment_result
 *
 * Surplus money pays its order after all; what is more than the order asks for goes back. as_whole_price: where it is less,
 * the order asks for that from now on; the scripts before 1.2.0 have no such argument. Errors: 22004, 22023; PY402; PY105 where it
 * is not surplus, its amount is not verified, or its refund has begun; PY101-PY104; PY501, PY502; PY601.
 */
Datum
payguard_accept_surplus(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	text *note = payguard_arg_note(ARG(1), "note");
	bool as_whole_price = PG_NARGS() > 2 && !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	Order order;
	Payment payment;
	Refusal refusal;
	Applied applied = {.changed = true};

	payguard_request_begin("accept_surplus()");
	payguard_payment_must_exist(payment_id, &payment);
	payguard_payment_lock(payment_id, &order, &payment);
	if (!payguard_judge_accept_surplus(&order, &payment, as_whole_price, &refusal))
		payguard_raise(&refusal);
	if (as_whole_price && is_less(&order, &payment))
		payguard_order_lower(&order, payment.received_amount, note);
	return_paying(&order, note);
	if (!payguard_refund_keep_excess(&order, &payment, note))
		elog(ERROR, "payguard: a refund has begun under the order's lock");
	payguard_payment_change(&order, &payment, PAYMENT_SUCCEEDED, 0,
							payguard_json("note", 't', note, NULL));
	payguard_received_become(&order, &payment, ORDER_PAID);
	payguard_task_outdate(payguard_payment_about(&payment));
	if (payguard_refund_excess(&order, &payment) > 0)
		payguard_alert_payment("overpaid", "warning", &payment, NULL);
	resolve_surplus(payment_id, note);
	payguard_call_end();
	return payguard_result_of_evidence(fcinfo, &order, &payment, &applied);
}

/*
 * return_paying makes room for other money where all money that has paid an order is back.
 */
static void
return_paying(Order *order, text *note)
{
	Payment payment;

	if (!is_all_back(order, &payment))
		return;
	payguard_refund_waive_rest(&payment, note);
	payguard_received_return(order, &payment, payguard_json("note", 't', note, NULL));
}

/*
 * is_all_back tells whether all money is back of the payment that has paid an order, and reads it.
 */
static bool
is_all_back(const Order *order, Payment *paying)
{
	Channel channel;
	RefundBalance balance;

	if ((order->status != ORDER_PAID && order->status != ORDER_REFUNDED) ||
		!payguard_payment_reread(order->payment_id, paying))
		return false;
	payguard_channel_of(paying, &channel);
	payguard_balance_lock(paying, &balance);
	return payguard_channel_knows_returns(&channel) && paying->received_amount > 0 &&
		   balance.refunded + balance.excess >= paying->received_amount;
}

/*
 * is_less tells whether a payment brought some of what its order asks for.
 */
static bool
is_less(const Order *order, const Payment *payment)
{
	return payment->amount_verified && payment->received_amount > 0 &&
		   payment->received_amount < order->amount &&
		   payguard_text_equal(payment->received_currency, order->currency);
}

/*
 * judge_whole_price tells whether an order may ask for what came. A policy that holds for the price as it is holds on:
 * nobody gets around a second person by a lower price.
 */
static bool
judge_whole_price(const Order *order, const Payment *payment, Refusal *refusal)
{
	return payguard_judge_update(order, order->version, NULL, refusal) &&
		   payguard_policy_judge(order, order->version, true, NULL, refusal);
}

/*
 * payguard_judge_accept_surplus tells whether accept_surplus() may let a payment pay its order.
 */
bool
payguard_judge_accept_surplus(const Order *order, const Payment *payment,
							  bool as_whole_price, Refusal *refusal)
{
	Order payable = *order;
	Payment paying;

	if (!judge_surplus(payment, refusal))
		return false;
	if (as_whole_price && is_less(order, payment))
	{
		if (!judge_whole_price(order, payment, refusal))
			return false;
		payable.amount = payment->received_amount;
	}
	if (is_all_back(order, &paying))
		payable.status = ORDER_UNPAID;
	if (!judge_accept(&payable, payment, refusal))
		return false;
	return payguard_refund_may_keep_excess(&payable, payment) ||
		   refuse_begun(payment, refusal);
}

/*
 * judge_accept tells whether surplus money may pay its order; why not says the refusal.
 */
static bool
judge_accept(const Order *order, const Payment *payment, Refusal *refusal)
{
	if ((order->status == ORDER_PAID || order->status == ORDER_REFUNDED ||
		 order->status == ORDER_PAYING) &&
		!payguard_judge_payable_to(PAYABLE_TO_ACCEPT, order, GetCurrentTimestamp(),
								   refusal))
		return false;
	if (!payment->amount_verified)
		return payguard_refuse(refusal, ERR_ILLEGAL_TRANSITION,
							   psprintf("the amount of payment \"%s\" is not verified",
										payguard_uuid_str(payment->payment_id)),
							   "The channel has reported the money and not its amount.",
							   "Wait for the channel's answer, or name the amount with "
							   "payguard.settle_payment().");
	if (!payguard_text_equal(payment->received_currency, order->currency))
		return payguard_refuse(refusal, ERR_CURRENCY_MISMATCH,
							   psprintf("order \"%s\" is in another currency",
										payguard_str(order->order_id)),
							   psprintf("The order asks for %s, the payment is in %s.",
										payguard_money(order->amount, order->currency),
										payguard_str(payment->received_currency)),
							   "Refund the payment.");
	if (payment->received_amount < order->amount)
		return payguard_refuse(
			refusal, ERR_AMOUNT_MISMATCH,
			psprintf("order \"%s\" asks for more", payguard_str(order->order_id)),
			psprintf(
				"The order asks for %s, the payment brought %s.",
				payguard_money(order->amount, order->currency),
				payguard_money(payment->received_amount, payment->received_currency)),
			"Lower the order's amount with payguard.update_order() first, or "
			"refund the payment.");
	return payguard_policy_judge(order, order->version, true, NULL, refusal);
}

PG_FUNCTION_INFO_V1(payguard_dismiss_surplus);

/*
 * dismiss_surplus(payment_id, same_as, note) → payment_result
 *
 * Surplus money was a second name of the charge same_as: it was never received twice. Errors:
 * 22004, 22023; PY402; PY105 where it is not surplus or its refund has begun.
 */
Datum
payguard_dismiss_surplus(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	pg_uuid_t *same_as = payguard_arg_uuid(ARG(1), "same_as");
	text *note = payguard_arg_note(ARG(2), "note");
	Order order;
	Payment payment;
	Payment same;
	Applied applied = {.changed = true};
	Applied filled_in = {0};
	Report named = payguard_report_of(CHANNEL_SUCCEEDED);
	Refusal refusal;

	payguard_request_begin("dismiss_surplus()");
	payguard_payment_must_exist(same_as, &same);
	payguard_payment_must_exist(payment_id, &payment);
	payguard_payment_lock(payment_id, &order, &payment);
	if (!judge_surplus(&payment, &refusal))
		payguard_raise(&refusal);
	/* it may have been dismissed itself, as a second name of this one */
	if (!payguard_payment_reread(same_as, &same) || !is_charge_of(&same, &payment))
		payguard_arg_bad(
			"same_as",
			"It is not another payment of this order and channel that brought money.",
			"Give the payment_id of the charge that this is a second name of.");
	if (!payguard_refund_waive_unbegun(&payment, note))
	{
		refuse_begun(&payment, &refusal);
		payguard_raise(&refusal);
	}
	if (payment.amount_verified)
	{
		named.amount = payment.received_amount;
		named.currency = payment.received_currency;
	}
	payment.received_amount = 0;
	payment.failure_code = payguard_text("same_charge");
	payment.details = payguard_json("second_charge_of", 'u', same_as, NULL);
	payguard_payment_change(
		&order, &payment, PAYMENT_FAILED,
		FIELD(PAYMENT_F_RECEIVED_AMOUNT) | FIELD(PAYMENT_F_FAILURE_CODE) |
			FIELD(PAYMENT_F_DETAILS),
		payguard_json("same_as", 'u', same_as, "note", 't', note, NULL));
	payguard_refund_correct_received(&order, &payment);
	/* what the channel named under one name holds for the other */
	if (!same.amount_verified)
		payguard_evidence_fill_in(&order, &same, &named, &filled_in);
	Assert(filled_in.now_known == NULL);
	resolve_surplus(payment_id, note);
	payguard_call_end();
	return payguard_result_of_evidence(fcinfo, &order, &payment, &applied);
}

/*
 * is_charge_of tells whether a payment may be the charge that another is a second name of.
 */
static bool
is_charge_of(const Payment *same, const Payment *payment)
{
	return !payguard_uuid_equal(same->payment_id, payment->payment_id) &&
		   payguard_text_equal(same->order_id, payment->order_id) &&
		   payguard_text_equal(same->channel, payment->channel) &&
		   payguard_payment_brought_money(same);
}

/*
 * payguard_judge_dismiss_surplus tells whether dismiss_surplus() may take a payment for a second name of `same`.
 */
bool
payguard_judge_dismiss_surplus(const Payment *payment, const Payment *same,
							   Refusal *refusal)
{
	if (!judge_surplus(payment, refusal))
		return false;
	if (!is_charge_of(same, payment))
		return payguard_refuse(refusal, ERR_ILLEGAL_TRANSITION,
							   "it is no charge that this is a second name of", NULL,
							   NULL);
	return !payguard_refund_one_has_begun(payment) || refuse_begun(payment, refusal);
}

/*
 * judge_surplus refuses with PY105 what is not surplus.
 */
static bool
judge_surplus(const Payment *payment, Refusal *refusal)
{
	return payment->status == PAYMENT_SURPLUS ||
		   payguard_refuse(
			   refusal, ERR_ILLEGAL_TRANSITION,
			   psprintf("payment \"%s\" is not surplus",
						payguard_uuid_str(payment->payment_id)),
			   psprintf("It is %s.", payguard_machine_name(&payguard_payment_machine,
														   payment->status)),
			   "Only surplus money can be accepted or dismissed.");
}

/*
 * refuse_begun refuses with PY105: surplus money is on its way back.
 */
static bool
refuse_begun(const Payment *payment, Refusal *refusal)
{
	return payguard_refuse(refusal, ERR_ILLEGAL_TRANSITION,
						   psprintf("the refund of payment \"%s\" has begun",
									payguard_uuid_str(payment->payment_id)),
						   "Its money may be on its way back.",
						   "Wait for the refund's outcome.");
}

/*
 * resolve_surplus closes the alerts of surplus money that an operator has decided about.
 */
static void
resolve_surplus(const pg_uuid_t *payment_id, text *note)
{
	text *cause = payguard_text(payguard_uuid_str(payment_id));

	payguard_alert_resolve("surplus_payment", cause, note);
	payguard_alert_resolve("second_charge", cause, note);
	payguard_alert_resolve("amount_mismatch", cause, note);
}
