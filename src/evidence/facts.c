/*
 * facts.c
 *		Reads the facts that a report about a payment meets, and has decide.c decide what follows.
 *
 * A step back is believed only of a report that was asked for after the payment's last change, or of a person:
 * messages are late, repeated and out of order.
 *
 * Locking: the caller holds the order's row lock.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/text.h"
#include "base/value.h"
#include "records/channel.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"
#include "records/task.h"
#include "money/policy.h"
#include "evidence/facts.h"

static bool was_asked_since(const Payment *payment, const Report *report,
							const Facts *facts);
static bool covers_capture(const Payment *payment, const Report *report);
static bool is_revivable(const Order *order, const Payment *payment,
						 const Channel *channel, const Report *report);
static bool still_fits(const Order *order, const Payment *payment, const Report *report);

/*
 * payguard_facts_read reads what a decision about a payment depends on.
 */
void
payguard_facts_read(const Order *order, const Payment *payment, const Channel *channel,
					const Report *report, Facts *facts)
{
	bool succeeded = report->status == CHANNEL_SUCCEEDED;
	bool failed = report->status == CHANNEL_FAILED || report->status == CHANNEL_CLOSED;

	*facts = (Facts){
		.order = order->status,
		.closing_as = order->closing_as,
		.payment = payment->status,
		.report = report->status,
		.late_success = payguard_late_success(payguard_str(channel->late_success)),
		.money = payguard_compare_money(order, payment, report),
		.other_txn = report->txn_id && payment->channel_txn_id &&
					 !payguard_text_equal(report->txn_id, payment->channel_txn_id),
	};
	if (payment->status == PAYMENT_FAILED)
		facts->in_time = succeeded && payguard_is_in_time(order, report);
	else if (payguard_payment_is_live(payment->status))
		facts->revived = succeeded && payguard_payment_is_revived(payment);
	else if (payguard_payment_brought_money(payment))
		facts->reverses = failed && payguard_channel_reopens(channel, "failed");
	facts->fresh = was_asked_since(payment, report, facts);
	facts->repeatable = facts->fresh && payment->status == PAYMENT_CAPTURING &&
						order->closing_as == ORDER_NONE && report->queried &&
						channel->idempotent_charge && covers_capture(payment, report);
	facts->revivable = facts->fresh && payment->status == PAYMENT_FAILED &&
					   is_revivable(order, payment, channel, report);
}

/*
 * was_asked_since tells whether a report is a step back that is believed. While a capture is still to be sent, or is
 * being sent, the answer to a query that the money is only reserved does not mean that the capture has failed.
 */
static bool
was_asked_since(const Payment *payment, const Report *report, const Facts *facts)
{
	Task capture;

	if (!report->fresh || !payguard_is_step_back(facts))
		return false;
	return payment->status != PAYMENT_CAPTURING || !report->queried ||
		   !payguard_task_find("capture", payguard_payment_about(payment), &capture);
}

/*
 * covers_capture tells whether what the channel has reserved, as it says now, is enough for what it was asked to take.
 */
static bool
covers_capture(const Payment *payment, const Report *report)
{
	return (report->amount == NO_AMOUNT || report->amount >= payment->capture_amount) &&
		   (report->currency == NULL ||
			payguard_text_equal(report->currency, payment->currency));
}

/*
 * is_revivable tells whether a failed attempt, which goes on at its channel, may be live again: its order may
 * still be paid, with what the attempt asked for.
 */
static bool
is_revivable(const Order *order, const Payment *payment, const Channel *channel,
			 const Report *report)
{
	return order->status == ORDER_UNPAID &&
		   !payguard_order_is_past_deadline(order, GetCurrentTimestamp()) &&
		   still_fits(order, payment, report) &&
		   !payguard_text_is(channel->late_success, "refund") &&
		   !payguard_text_is(payment->failure_code, "revoked") &&
		   !payguard_text_is(payment->failure_code, "same_charge") &&
		   !payguard_policy_holds(order, true);
}

/*
 * still_fits tells whether an attempt has asked for what its order asks for now. Of money that is reserved the order may ask
 * for a part.
 */
static bool
still_fits(const Order *order, const Payment *payment, const Report *report)
{
	Report as_asked = payguard_report_of(CHANNEL_SUCCEEDED);

	if (report->status == CHANNEL_AUTHORIZED && payment->authorized_amount != NO_AMOUNT)
		return order->amount <= payment->amount &&
			   payguard_text_equal(order->currency, payment->currency);
	return payguard_compare_money(order, payment, &as_asked) == MONEY_FITS;
}

/*
 * payguard_compare_money compares what was reported with what the attempt asked for, and what the order asks for now.
 * If the channel has named no amount, it is what the attempt asked for; if the order asks for another amount by now,
 * a person has to look. If the money was reserved, and we have not asked for its capture, the channel may have taken
 * less than was reserved, as long as it is enough for the order.
 */
Money
payguard_compare_money(const Order *order, const Payment *payment, const Report *report)
{
	int64 asked = payguard_payment_asked(payment);
	int64 amount = report->amount != NO_AMOUNT ? report->amount : asked;
	bool may_take_less =
		payment->authorized_amount != NO_AMOUNT && payment->capture_amount == NO_AMOUNT;
	const text *currency = report->currency ? report->currency : payment->currency;

	if (!payguard_text_equal(currency, payment->currency) ||
		!payguard_text_equal(currency, order->currency))
		return MONEY_OTHER;
	if ((amount < asked && !may_take_less) || amount < order->amount ||
		(report->amount == NO_AMOUNT && amount != order->amount))
		return MONEY_LESS;
	return amount > order->amount ? MONEY_MORE : MONEY_FITS;
}

/*
 * payguard_compare_with_order is the same for money that no attempt of ours has asked for.
 */
Money
payguard_compare_with_order(const Order *order, const Report *report)
{
	Payment asked = {
		.amount = order->amount,
		.currency = order->currency,
		.authorized_amount = NO_AMOUNT,
		.capture_amount = NO_AMOUNT,
	};

	return payguard_compare_money(order, &asked, report);
}

/*
 * payguard_is_in_time tells whether the channel took the money of an expired order before its deadline.
 */
bool
payguard_is_in_time(const Order *order, const Report *report)
{
	return order->status == ORDER_EXPIRED && report->channel_time != NO_TIME &&
		   order->expires_at != NO_TIME && report->channel_time <= order->expires_at;
}

/*
 * payguard_decide_or_hold decides. Money that is late, or came without an attempt, does not pay an order by itself if
 * the order needs an approval, or if an operator wants the money given back. The money of a live attempt does: it was
 * allowed when the attempt was started. Not so if the attempt was revived.
 */
Decision
payguard_decide_or_hold(const Order *order, const Report *report, Facts *facts)
{
	Decision decision = payguard_decide(facts);

	if (decision.payment != PAYMENT_SUCCEEDED ||
		(facts->payment != PAYMENT_NONE && facts->payment != PAYMENT_FAILED &&
		 !facts->revived) ||
		!(report->give_back || payguard_policy_holds(order, true)))
		return decision;
	facts->late_success = LATE_HOLD;
	return payguard_decide(facts);
}
