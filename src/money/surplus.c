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
#include "records/alert.h"
#include "records/approval.h"
#include "records/balance.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "money/refunding.h"
#include "money/surplus.h"

static bool may_be_imported(const Order *order, const Payment *payment);
static int64 not_needed(const Order *order, const Payment *payment);
static bool is_of_surplus(const Payment *payment, const Refund *refund);
static int64 kept_for_order(const Order *order, const Payment *payment,
							const Refund *refunds, int n);
static bool correct_unbegun(const Order *order, const Payment *payment);
static bool one_has_begun(const Refund *refunds, int n);
static Refund *find_unbegun(const Payment *payment, Refund *refunds, int n);
static void change_amount(const Payment *payment, Refund *refund, int64 amount);
static void alert_too_much(const Order *order, const Payment *payment);
static void correct_order_status(Order *order, const Payment *payment);

/*
 * payguard_refund_excess returns what the payment that paid its order brought beyond what the order asks for.
 */
int64
payguard_refund_excess(const Order *order, const Payment *payment)
{
	return payguard_uuid_equal(order->payment_id, payment->payment_id)
			   ? payment->received_amount - payguard_refund_paid_amount(order, payment)
			   : 0;
}

/*
 * not_needed returns what of a payment its order does not need.
 */
static int64
not_needed(const Order *order, const Payment *payment)
{
	return payment->status == PAYMENT_SURPLUS ? payment->received_amount
											  : payguard_refund_excess(order, payment);
}

/*
 * is_of_surplus tells whether a refund gives back what the order does not need. Whatever goes back of a
 * payment that pays nothing does.
 */
static bool
is_of_surplus(const Payment *payment, const Refund *refund)
{
	return payment->status == PAYMENT_SURPLUS ||
		   payguard_text_is(refund->origin, "surplus");
}

/*
 * payguard_refund_surplus opens the refund of money that the order does not need: all of that which has no
 * refund yet. The caller holds the order's lock.
 */
void
payguard_refund_surplus(Order *order, const Payment *payment, RefundStatus status)
{
	RefundBalance balance;
	Refund *others;
	int64 rest = not_needed(order, payment);
	int n;

	Assert(payguard_payment_brought_money(payment));
	Assert(status == REFUND_AWAITING_APPROVAL || status == REFUND_PENDING);
	if (rest == 0)
		return;
	payguard_balance_lock(payment, &balance);
	payguard_store_refresh(); /* to see what this call has written */
	n = payguard_refund_list_of(payment, &others);
	for (int i = 0; i < n && rest > 0; i++)
		if (is_of_surplus(payment, &others[i]) && !payguard_refund_is_undone(&others[i]))
			rest -= others[i].status == REFUND_SUCCEEDED ? others[i].returned_amount
														 : others[i].amount;
	rest = Min(rest, balance.received - balance.refunding - balance.refunded);
	if (rest > 0)
	{
		Refund refund = {
			.amount = rest,
			.status = may_be_imported(order, payment) ? REFUND_AWAITING_APPROVAL : status,
			.origin = payguard_text("surplus"),
			.reason = payguard_text("money that the order did not need"),
		};

		payguard_refund_insert(order, payment, &refund);
	}
}

/*
 * may_be_imported tells whether money may be the payment with which an order was imported as paid. The import named no
 * transaction then, and a person has to look.
 */
static bool
may_be_imported(const Order *order, const Payment *payment)
{
	Payment paying;

	return order->payment_id &&
		   !payguard_uuid_equal(order->payment_id, payment->payment_id) &&
		   payguard_payment_reread(order->payment_id, &paying) &&
		   payguard_text_is(paying.request_kind, "import") &&
		   paying.channel_txn_id == NULL;
}

/*
 * kept_for_order returns how much of a payment's money stays here because it has paid its order: what the order asked
 * for, less what refunds of it give back. The rest may be less than the surplus, if the channel has taken a part of the
 * money back.
 */
static int64
kept_for_order(const Order *order, const Payment *payment, const Refund *refunds, int n)
{
	int64 kept;

	if (payment->status == PAYMENT_SURPLUS ||
		!payguard_uuid_equal(order->payment_id, payment->payment_id))
		return 0;
	kept = payguard_refund_paid_amount(order, payment);
	for (int i = 0; i < n && kept > 0; i++)
		if (payguard_refund_counts_for_order(order, payment, &refunds[i]))
		{
			if (refunds[i].status == REFUND_SUCCEEDED)
				kept -= refunds[i].returned_amount;
			else if (payguard_refund_is_reserved(refunds[i].status))
				kept -= refunds[i].amount;
		}
	return Max(kept, 0);
}

/*
 * payguard_refund_what_is_here opens a refund of a payment's money that is here, is not on its way back, and is not
 * what its order asks for. A person decides about it: earlier decisions do not count, since the money had gone after
 * them. Money that a refund has failed to give back is owed by that refund. The caller holds the order's lock.
 */
void
payguard_refund_what_is_here(Order *order, const Payment *payment)
{
	RefundBalance balance;
	Refund *others;
	int n;
	Refund refund = {
		.status = REFUND_AWAITING_APPROVAL,
		.origin = payguard_text("surplus"),
		.reason = payguard_text("money that the order did not need"),
	};

	payguard_balance_lock(payment, &balance);
	payguard_store_refresh(); /* to see what this call has written */
	n = payguard_refund_list_of(payment, &others);
	refund.amount = payment->received_amount - balance.refunding - balance.refunded -
					kept_for_order(order, payment, others, n);
	for (int i = 0; i < n; i++)
		if (others[i].status == REFUND_FAILED && is_of_surplus(payment, &others[i]) &&
			!payguard_refund_is_undone(&others[i]))
			refund.amount -= others[i].amount;
	if (refund.amount > 0)
		payguard_refund_insert(order, payment, &refund);
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
	if (payguard_payment_brought_money(payment))
	{
		if (correct_unbegun(order, payment) && too_much)
		{
			payguard_balance_lock(payment, &balance);
			too_much = balance.received > payment->received_amount;
		}
		payguard_refund_surplus(order, payment, REFUND_AWAITING_APPROVAL);
	}
	if (payguard_uuid_equal(order->payment_id, payment->payment_id))
	{
		correct_order_status(order, payment);
		alert_too_much(order, payment);
	}
	if (too_much)
		payguard_refund_hold_unbegun(payment);
}

/*
 * correct_unbegun gives the refund of money that the order does not need, which nobody has begun, the amount
 * and the currency that follow from what was received; false: there is no such refund.
 */
static bool
correct_unbegun(const Order *order, const Payment *payment)
{
	int64 amount = not_needed(order, payment);
	RefundBalance balance;
	Refund *refunds;
	int n = payguard_refund_list_of(payment, &refunds);
	Refund *refund = find_unbegun(payment, refunds, n);
	RefundStatus to;
	Approval approval;

	if (refund == NULL)
		return false;
	if (amount == 0)
	{
		if (payment->status == PAYMENT_SURPLUS)
			return false;
		payguard_refund_waive(payment, refund,
							  payguard_text("The channel has corrected what it took."));
		return true;
	}
	refund->currency = payment->received_currency;
	change_amount(payment, refund, amount);
	payguard_balance_lock(payment, &balance);
	/* whoever approved it has approved another amount */
	to = refund->status;
	if (to == REFUND_PENDING &&
		(payment->status != PAYMENT_SURPLUS ||
		 payguard_approval_of_refund(refund->refund_id, &approval) ||
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
 * find_unbegun returns the one refund of money that the order does not need, if nobody has begun it; NULL:
 * there is none, or another one has been opened.
 */
static Refund *
find_unbegun(const Payment *payment, Refund *refunds, int n)
{
	Refund *found = NULL;

	for (int i = 0; i < n; i++)
	{
		if (!is_of_surplus(payment, &refunds[i]) ||
			payguard_refund_is_undone(&refunds[i]))
			continue;
		if (found != NULL || !payguard_text_is(refunds[i].origin, "surplus") ||
			!payguard_refund_is_reserved(refunds[i].status) ||
			payguard_refund_has_begun(&refunds[i]))
			return NULL;
		found = &refunds[i];
	}
	return found;
}

/*
 * change_amount sets what an unbegun refund is to give back, in its balance too. The caller stores it.
 */
static void
change_amount(const Payment *payment, Refund *refund, int64 amount)
{
	RefundBalance balance;

	payguard_balance_lock(payment, &balance);
	balance.refunding += amount - refund->amount;
	payguard_balance_store(payment, &balance);
	refund->amount = amount;
}

/*
 * alert_too_much alerts if more of the excess is back, or on its way, than there is by now.
 */
static void
alert_too_much(const Order *order, const Payment *payment)
{
	int64 rest = payguard_refund_excess(order, payment);
	Refund *refunds;
	int n;

	payguard_store_refresh(); /* to see what this call has written */
	n = payguard_refund_list_of(payment, &refunds);
	for (int i = 0; i < n; i++)
	{
		if (!payguard_text_is(refunds[i].origin, "surplus") ||
			!payguard_refund_has_begun(&refunds[i]) || refunds[i].status == REFUND_FAILED)
			continue;
		rest -= refunds[i].status == REFUND_SUCCEEDED ? refunds[i].returned_amount
													  : refunds[i].amount;
		if (rest < 0)
			payguard_alert_refund("refund_exceeds_payment", "critical", &refunds[i],
								  payguard_json("excess", 'i', -rest, NULL));
	}
}

/*
 * correct_order_status makes the order paid or refunded: all that was received may be back by now, or not any more.
 */
static void
correct_order_status(Order *order, const Payment *payment)
{
	OrderStatus to =
		order->refunded_amount > 0 &&
				order->refunded_amount >= payguard_refund_paid_amount(order, payment)
			? ORDER_REFUNDED
			: ORDER_PAID;

	if (to != order->status)
		payguard_order_change(order, to, 0,
							  to == ORDER_REFUNDED ? "order.refunded"
												   : "order.partly_refunded",
							  payment->payment_id, NULL);
}

static bool
one_has_begun(const Refund *refunds, int n)
{
	for (int i = 0; i < n; i++)
		if (refunds[i].status != REFUND_WAIVED && payguard_refund_has_begun(&refunds[i]))
			return true;
	return false;
}

/*
 * payguard_refund_one_has_begun tells whether money of a payment may be on its way back, or has been.
 */
bool
payguard_refund_one_has_begun(const Payment *payment)
{
	Refund *refunds;
	int n = payguard_refund_list_of(payment, &refunds);

	return one_has_begun(refunds, n);
}

/*
 * payguard_refund_may_keep_excess tells whether payguard_refund_keep_excess() would find a refund that has begun.
 */
bool
payguard_refund_may_keep_excess(const Order *order, const Payment *payment)
{
	Refund *refunds;
	int n = payguard_refund_list_of(payment, &refunds);

	return (payment->received_amount > order->amount &&
			find_unbegun(payment, refunds, n) != NULL) ||
		   !one_has_begun(refunds, n);
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

	if (one_has_begun(refunds, n))
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
 * payguard_refund_waive_rest waives the refunds of a payment that nobody has begun: all of its money is back in another
 * way.
 */
void
payguard_refund_waive_rest(const Payment *payment, text *note)
{
	Refund *refunds;
	int n = payguard_refund_list_of(payment, &refunds);

	for (int i = 0; i < n; i++)
	{
		/* one that waits may have been approved since an older snapshot */
		payguard_refund_must_be_there(refunds[i].refund_id, &refunds[i]);
		if (payguard_refund_is_reserved(refunds[i].status) &&
			!payguard_refund_has_begun(&refunds[i]))
			payguard_refund_waive(payment, &refunds[i], note);
	}
}

/*
 * payguard_refund_takes_rest tells whether what the channel takes back of surplus money, together with what is back
 * already, is all of it. Then nothing is left that a refund could give back, in whatever order and parts it went.
 * false: a part stays, nothing was here any more, or a refund may be on its way.
 */
bool
payguard_refund_takes_rest(const Payment *payment, int64 amount, const text *currency)
{
	RefundBalance balance;
	Refund *refunds;
	int64 gone;
	int n = payguard_refund_list_of(payment, &refunds);

	if (payment->status != PAYMENT_SURPLUS ||
		!payguard_text_equal(currency, payment->received_currency))
		return false;
	for (int i = 0; i < n; i++)
		if (payguard_refund_has_begun(&refunds[i]) &&
			refunds[i].status != REFUND_SUCCEEDED)
			return false;
	payguard_balance_lock(payment, &balance);
	gone = payguard_balance_add(balance.refunded, balance.excess);
	return gone < payment->received_amount &&
		   payguard_balance_add(gone, amount) >= payment->received_amount;
}

/*
 * payguard_refund_settle waives the refunds of a payment that nobody has begun: the channel has taken all of its money
 * back. What of it went before was too much only as long as these were to be made, too.
 */
void
payguard_refund_settle(const Payment *payment)
{
	text *why = payguard_text("The channel has taken the money back.");
	Refund *refunds;
	int n;

	payguard_refund_waive_rest(payment, why);
	n = payguard_refund_list_of(payment, &refunds);
	for (int i = 0; i < n; i++)
		if (refunds[i].status == REFUND_SUCCEEDED)
			payguard_alert_resolve("refund_exceeds_payment",
								   payguard_text(payguard_uuid_str(refunds[i].refund_id)),
								   why);
}

/*
 * payguard_refund_keep_excess leaves of the refunds of surplus money, which pays its order from now on, the
 * refund of what is more than the order asks for. Where that is a new one, a person decides about it. false:
 * a refund has begun.
 */
bool
payguard_refund_keep_excess(Order *order, const Payment *payment, const text *note)
{
	int64 excess = payment->received_amount - order->amount;
	Refund *refunds;
	Refund *kept;
	Refund refund = {
		.amount = excess,
		.status = REFUND_AWAITING_APPROVAL,
		.origin = payguard_text("surplus"),
		.reason = payguard_text("money that the order did not need"),
	};
	int n = payguard_refund_list_of(payment, &refunds);

	Assert(payment->status == PAYMENT_SURPLUS && excess >= 0);
	kept = excess > 0 ? find_unbegun(payment, refunds, n) : NULL;
	if (kept)
	{
		change_amount(payment, kept, excess);
		payguard_refund_change(
			kept, kept->status, FIELD(REFUND_F_AMOUNT),
			payguard_json("amount", 'i', excess, "note", 't', note, NULL));
		return true;
	}
	if (!payguard_refund_waive_unbegun(payment, note))
		return false;
	if (excess > 0)
		payguard_refund_insert(order, payment, &refund);
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
