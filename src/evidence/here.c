/*
 * here.c
 *		Decides about money that had gone back and is here again.
 *
 * A returned payment pays its order again if the order still waits for money. Otherwise its money is surplus, and a
 * person decides.
 *
 * Locking: the caller holds the order's row lock.
 */
#include "postgres.h"

#include "base/value.h"
#include "records/balance.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"
#include "records/task.h"
#include "money/surplus.h"
#include "evidence/facts.h"
#include "evidence/here.h"
#include "evidence/received.h"

static void pay_again(Order *order, Payment *payment, const Report *report);

/*
 * payguard_money_is_here decides about money of a payment that is here again, after a reversal of it was undone. Where
 * all of it has gone in another way too, nothing is here.
 */
void
payguard_money_is_here(Order *order, Payment *payment, const Report *report)
{
	if (payguard_money_here(payment) == 0)
		return;
	if (payment->status == PAYMENT_RETURNED)
		pay_again(order, payment, report);
	else if (payment->status == PAYMENT_SURPLUS)
		payguard_refund_what_is_here(order, payment);
}

/*
 * pay_again lets a returned payment whose money is here again pay its order. The first money wins: if the order does
 * not need it any more, a person decides.
 */
static void
pay_again(Order *order, Payment *payment, const Report *report)
{
	Report money = {
		.status = CHANNEL_SUCCEEDED,
		.amount = payguard_money_here(payment),
		.currency = payment->received_currency,
		.channel_time = NO_TIME,
	};
	Facts facts = {
		.order = order->status,
		.closing_as = order->closing_as,
		.payment = PAYMENT_NONE,
		.report = CHANNEL_SUCCEEDED,
		.late_success = LATE_ACCEPT,
		.money = payguard_compare_with_order(order, &money),
	};
	Decision decision = payguard_decide_or_hold(order, &money, &facts);

	money = *report;
	money.because = decision.because;
	if (decision.supersede)
		payguard_received_supersede_other(order);
	payguard_payment_change(order, payment, decision.payment, 0,
							payguard_report_details(&money));
	payguard_task_outdate(payguard_payment_about(payment));
	if (decision.payment != PAYMENT_SUCCEEDED)
		payguard_refund_what_is_here(order, payment);
	if (decision.order != order->status)
		payguard_received_become(order, payment, decision.order);
	if (decision.excess)
		payguard_refund_what_is_here(order, payment);
	if (decision.excess)
		payguard_received_alert(payment, "overpaid", NULL);
	payguard_received_alert(payment, decision.alert, NULL);
}

/*
 * payguard_money_here returns how much of a payment's money has not gone back.
 */
int64
payguard_money_here(const Payment *payment)
{
	RefundBalance balance;

	payguard_balance_lock(payment, &balance);
	return Max(payment->received_amount - balance.refunded - balance.excess, 0);
}
