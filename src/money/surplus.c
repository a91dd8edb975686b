/*
 * surplus.c
 *		Money that is too much: its refund is opened, corrected or waived.
 *
 * A refund that a worker may have begun is never changed: its money may be on its way back.
 *
 * Locking: the order's row lock first, then the payment's row in refund_balances.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "records/approval.h"
#include "records/balance.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "money/refunding.h"
#include "money/surplus.h"

static bool correct_unbegun(const Payment *payment);
static void correct_order_status(Order *order, const Payment *payment);

/*
 * payguard_refund_surplus opens the refund of surplus money: all that was received and has no
 * refund yet. The caller holds the order's lock.
 */
void
payguard_refund_surplus(Order *order, const Payment *payment, RefundStatus status)
{
	RefundBalance balance;
	Refund *others;
	int64 rest = payment->received_amount;
	int n;

	Assert(payment->status == PAYMENT_SURPLUS);
	Assert(status == REFUND_AWAITING_APPROVAL || status == REFUND_PENDING);
	payguard_balance_lock(payment, &balance);
	payguard_store_refresh(); /* to see what this call has written */
	n = payguard_refund_list_of(payment, &others);
	for (int i = 0; i < n && rest > 0; i++)
		rest -= others[i].status == REFUND_SUCCEEDED ? others[i].returned_amount
													 : others[i].amount;
	if (rest > 0)
	{
		Refund refund = {
			.amount = rest,
			.status = status,
			.origin = payguard_text("surplus"),
			.reason = payguard_text("money that the order did not need"),
		};

		payguard_refund_insert(order, payment, &refund);
	}
}

/*
 * payguard_refund_correct_received follows a correction of what a payment brought: its balance,
 * and a refund for surplus money that nobody knew of, for an operator to approve. Where more
 * would go back than came, refunds that nobody has begun wait for a person.
 */
void
payguard_refund_correct_received(Order *order, const Payment *payment)
{
	RefundBalance like = {.payment_id = payment->payment_id};
	RefundBalance balance;
	bool too_much = false;

	if (payguard_store_lock(&payguard_refund_balances, BALANCE_BY_PAYMENT, &like,
							&balance))
	{
		payguard_balance_store(payment, &balance);
		too_much = balance.received > payment->received_amount;
	}
	else if (IsolationUsesXactSnapshot())
		payguard_balance_must_not_exist(&like);
	if (payment->status == PAYMENT_SURPLUS)
	{
		too_much = !correct_unbegun(payment) && too_much;
		payguard_refund_surplus(order, payment, REFUND_AWAITING_APPROVAL);
	}
	else if (payguard_uuid_equal(order->payment_id, payment->payment_id))
		correct_order_status(order, payment);
	if (too_much)
		payguard_refund_hold_unbegun(payment);
}

/*
 * correct_unbegun gives the refund of surplus money that nobody has begun the amount and the
 * currency that were received; false: there is no such refund.
 */
static bool
correct_unbegun(const Payment *payment)
{
	RefundBalance balance;
	Refund *refunds;
	int n = payguard_refund_list_of(payment, &refunds);
	Refund *refund = n == 1 ? &refunds[0] : NULL;
	RefundStatus to;
	Approval approval;

	if (refund == NULL || !payguard_text_is(refund->origin, "surplus") ||
		!payguard_refund_is_reserved(refund->status) ||
		payguard_refund_has_begun(refund) || payment->received_amount == 0)
		return false;
	payguard_balance_lock(payment, &balance);
	balance.refunding += payment->received_amount - refund->amount;
	payguard_balance_store(payment, &balance);
	refund->amount = payment->received_amount;
	refund->currency = payment->received_currency;
	/* whoever approved it has approved another amount */
	to = refund->status;
	if (to == REFUND_PENDING &&
		(payguard_approval_of_refund(refund->refund_id, &approval) ||
		 payguard_refund_policy_asks(
			 refund, payguard_balance_add(balance.refunding, balance.refunded))))
	{
		to = REFUND_AWAITING_APPROVAL;
		payguard_refund_end_tasks(refund);
	}
	payguard_refund_change(refund, to, FIELD(REFUND_F_AMOUNT) | FIELD(REFUND_F_CURRENCY),
						   payguard_json("amount", 'i', refund->amount, "currency", 't',
										 refund->currency, NULL));
	return true;
}

/*
 * correct_order_status: all that was received may be back by now, or not any more.
 */
static void
correct_order_status(Order *order, const Payment *payment)
{
	OrderStatus to =
		order->refunded_amount > 0 && order->refunded_amount >= payment->received_amount
			? ORDER_REFUNDED
			: ORDER_PAID;

	if (to != order->status)
		payguard_order_change(order, to, 0,
							  to == ORDER_REFUNDED ? "order.refunded"
												   : "order.partly_refunded",
							  payment->payment_id, NULL);
}

/*
 * payguard_refund_waive_unbegun waives the refunds of a payment, if none has begun: then its
 * money is here and stays here. false: one may be on its way.
 */
bool
payguard_refund_waive_unbegun(const Payment *payment, const text *note)
{
	RefundBalance balance;
	Refund *refunds;
	int n = payguard_refund_list_of(payment, &refunds);

	for (int i = 0; i < n; i++)
		if (refunds[i].status != REFUND_WAIVED && payguard_refund_has_begun(&refunds[i]))
			return false;
	if (n > 0)
		payguard_balance_lock(payment, &balance);
	for (int i = 0; i < n; i++)
		if (payguard_refund_is_reserved(refunds[i].status))
		{
			balance.refunding -= refunds[i].amount;
			payguard_balance_store(payment, &balance);
			refunds[i].completed_at = GetCurrentTimestamp();
			payguard_refund_change(&refunds[i], REFUND_WAIVED,
								   FIELD(REFUND_F_COMPLETED_AT),
								   payguard_json("note", 't', note, NULL));
			payguard_refund_end_tasks(&refunds[i]);
		}
	return true;
}

/*
 * payguard_refund_rest refunds what is left of a payment, if anything is. The caller holds the
 * order's lock.
 */
void
payguard_refund_rest(Order *order, const Payment *payment, text *key, text *reason)
{
	RefundBalance balance;
	Refund refund = {
		.idempotency_key = key,
		.status = REFUND_PENDING,
		.origin = payguard_text("request"),
		.reason = reason,
	};

	payguard_balance_lock(payment, &balance);
	refund.amount = balance.received - balance.refunding - balance.refunded;
	if (refund.amount > 0)
		payguard_refund_insert(order, payment, &refund);
}
