/*
 * payable.c
 *		Whether an order may be paid now: its state, its deadline, and the payment in its way.
 *
 * Every request to pay asks here, before and after the order is locked.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "rules/machine.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "records/order.h"
#include "records/payment.h"
#include "money/payable.h"

/* What to do instead, where an order is paid, is closed, or is being paid. */
typedef struct Hints
{
	const char *paid;
	const char *closed;
	const char *paying;
} Hints;

static const Hints hints[] = {
	[PAYABLE_TO_PAY] =
		{"Do not pay it again. A retry of a call that may have succeeded "
		 "repeats that call's idempotency key.",
		 "Create a new order.",
		 "Wait for its outcome, or close it with payguard.close_payment()."},
	[PAYABLE_TO_CHANGE] =
		{"Ask for more money with a new order, and give money back with "
		 "payguard.refund_order().",
		 "Create a new order.",
		 "Close it with payguard.close_payment(), and change the order when it has "
		 "ended."},
	[PAYABLE_TO_CANCEL] = {"Give its money back with payguard.refund_order().",
						   "There is nothing to cancel: it cannot be paid any more.",
						   "Wait for its outcome."},
	[PAYABLE_TO_ACCEPT] =
		{"Let the surplus go back. To give back the money that paid the order instead, "
		 "call payguard.refund_order() first.",
		 "Create a new order.",
		 "Close it with payguard.close_payment(), and accept the surplus "
		 "when it has ended."},
	[PAYABLE_TO_DECIDE] = {"There is nothing to decide any more.",
						   "There is nothing to decide any more.",
						   "Decide when it has ended; until then it needs no approval."},
};

static bool judge_payable(Purpose purpose, const Order *order, TimestampTz now,
						  bool brief, Refusal *refusal);

/*
 * payguard_judge_payable tells whether a new payment may be made for an order; PY101, PY102 or PY103
 * says why not.
 */
bool
payguard_judge_payable(const Order *order, TimestampTz now, Refusal *refusal)
{
	return judge_payable(PAYABLE_TO_PAY, order, now, false, refusal);
}

/*
 * payguard_judge_payable_to is the same for a call that does not pay: its refusals say what that caller can do instead.
 */
bool
payguard_judge_payable_to(Purpose purpose, const Order *order, TimestampTz now,
						  Refusal *refusal)
{
	return judge_payable(purpose, order, now, false, refusal);
}

/*
 * payguard_judge_payable_briefly is the same for an answer that shows no detail: the payment
 * that is in the way is not looked up.
 */
bool
payguard_judge_payable_briefly(const Order *order, TimestampTz now, Refusal *refusal)
{
	return judge_payable(PAYABLE_TO_PAY, order, now, true, refusal);
}

static bool
judge_payable(Purpose purpose, const Order *order, TimestampTz now, bool brief,
			  Refusal *refusal)
{
	const char *id = payguard_str(order->order_id);
	const char *detail = "Its payment is not to be found.";
	PaymentStatus status = PAYMENT_NONE;
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
			return payguard_refuse(refusal, ERR_ORDER_ALREADY_PAID,
								   psprintf("order \"%s\" is already paid", id), detail,
								   hints[purpose].paid);
		case ORDER_CANCELLED:
		case ORDER_EXPIRED:
			return payguard_refuse(
				refusal, ERR_ORDER_CLOSED, psprintf("order \"%s\" is closed", id),
				psprintf("It is %s since %s.",
						 payguard_machine_name(&payguard_order_machine, order->status),
						 payguard_time_str(order->updated_at)),
				hints[purpose].closed);
		case ORDER_PAYING:
			if (!brief && payguard_payment_that_counts(order->order_id, &payment))
			{
				status = payment.status;
				detail = psprintf(
					"Payment \"%s\" through channel \"%s\" is %s since %s.",
					payguard_uuid_str(payment.payment_id), payguard_str(payment.channel),
					payguard_machine_name(&payguard_payment_machine, payment.status),
					payguard_time_str(payment.created_at));
			}
			return payguard_refuse(
				refusal, ERR_PAYMENT_IN_PROGRESS,
				psprintf("a payment of order \"%s\" is in progress", id), detail,
				status == PAYMENT_CLOSING	  ? "Wait until it is closed."
				: status == PAYMENT_CAPTURING ? "Wait for its outcome."
				: status == PAYMENT_AUTHORIZED && purpose == PAYABLE_TO_PAY
					? "Its money is reserved: take it with payguard.capture_payment(), "
					  "or "
					  "give it up with payguard.close_payment()."
					: hints[purpose].paying);
		case ORDER_UNPAID:
			if (!payguard_order_is_past_deadline(order, now))
				return true;
			return payguard_refuse(
				refusal, ERR_ORDER_CLOSED, psprintf("order \"%s\" is closed", id),
				psprintf("It expired at %s.", payguard_time_str(order->expires_at)),
				hints[purpose].closed);
		case ORDER_NONE:
		case N_ORDER_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no status of an order", (int) order->status);
}
