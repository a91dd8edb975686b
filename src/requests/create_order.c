/*
 * create_order.c
 *		create_order() and update_order().
 *
 * Locking: a request is first answered from a snapshot, without a lock; only one that may
 * write takes the order's row lock (FOR NO KEY UPDATE) and is judged again. One call locks one
 * order.
 */
#include "postgres.h"

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/timestamp.h"

#include "rules/machine.h"
#include "base/argument.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/durable.h"
#include "store/open.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/actor.h"
#include "records/alert.h"
#include "records/approval.h"
#include "records/assert.h"
#include "records/call.h"
#include "records/event.h"
#include "records/order.h"
#include "records/payment.h"
#include "money/payable.h"
#include "money/policy.h"
#include "requests/create_order.h"
#include "requests/judge.h"

/* What an order is to be changed to; what is NULL stays. */
typedef struct Change
{
	int64 expected_version;
	int64 amount;
	text *currency;
	TimestampTz expires_at;
	text *customer_id;
} Change;

static FieldSet apply_change(Order *order, const Change *to);
static Jsonb *describe_change(const Change *to, FieldSet changed);
static bool judge_change(const Order *order, const Change *to, Payment *reserved,
						 Refusal *refusal);
static bool judge_reserved(const Order *order, const Payment *reserved, const Change *to,
						   Refusal *refusal);
static bool judge_customer(const Order *order, const text *customer_id, Refusal *refusal);
static void renew_approval(const Order *order, FieldSet changed);
static bool judge_creation(const Order *asked, const Order *existing, Refusal *refusal);

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
		payguard_order_check_deadline(asked.expires_at);
		asked.created_at = asked.updated_at = GetCurrentTimestamp();
		if (payguard_store_insert_new(&payguard_orders, ORDER_BY_ID, &asked))
		{
			payguard_order_set_deadline(&asked);
			payguard_event_write("order.created", (About){.order_id = asked.order_id},
								 NULL, "unpaid", asked.version,
								 payguard_json("amount", 'i', asked.amount, "currency",
											   't', asked.currency, "customer_id", 't',
											   asked.customer_id, "expires_at", 'd',
											   asked.expires_at, NULL));
			renew_approval(&asked, 0);
			payguard_call_end();
			return payguard_row_result(fcinfo, &payguard_orders, &asked);
		}
		payguard_store_refresh();
		if (!payguard_order_find(asked.order_id, &existing))
			payguard_store_suppressed(&payguard_orders);
	}
	if (!judge_creation(&asked, &existing, &refusal))
		payguard_order_refuse(&existing, &refusal);
	payguard_store_make_durable(&existing);
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_orders, &existing);
}

/*
 * judge_creation compares with what the order was created with, which its first event tells, and with what it has
 * become by update_order() since: a retry brings the former, whoever reads his own row anew the latter. Values are not
 * shown: the order may be another customer's.
 */
static bool
judge_creation(const Order *asked, const Order *existing, Refusal *refusal)
{
	Event first;
	StringInfoData fields;
	bool others = false; /* it is another customer's */

	initStringInfo(&fields);
	payguard_event_first_of(existing->order_id, &first);
	if (payguard_json_int(first.details, "amount") != asked->amount &&
		existing->amount != asked->amount)
		appendStringInfoString(&fields, ", amount");
	if (!payguard_text_equal(payguard_json_text(first.details, "currency"),
							 asked->currency) &&
		!payguard_text_equal(existing->currency, asked->currency))
		appendStringInfoString(&fields, ", currency");
	if (!payguard_text_equal(payguard_json_text(first.details, "customer_id"),
							 asked->customer_id) &&
		!payguard_text_equal(existing->customer_id, asked->customer_id))
	{
		appendStringInfoString(&fields, ", customer_id");
		others = existing->customer_id != NULL;
	}
	if (fields.len == 0)
		return true;
	return payguard_refuse(
		refusal, ERR_ORDER_ID_REUSED,
		psprintf("order id \"%s\" is already used", payguard_str(asked->order_id)),
		psprintf("The order was created with another value of: %s.", fields.data + 2),
		(existing->status == ORDER_UNPAID || existing->status == ORDER_PAYING) && !others
			? "To change this order, call payguard.update_order(). If a payment of it is "
			  "open, call payguard.close_payment() first. Another order needs an id of "
			  "its own, for example from payguard.new_order_id()."
			: "Use a new order id, for example from payguard.new_order_id().");
}

PG_FUNCTION_INFO_V1(payguard_update_order);

/*
 * update_order(order_id, expected_version, amount, currency, expires_at, customer_id) → orders
 *
 * NULL leaves a value as it is; a call that changes nothing writes nothing. The arguments of 1.1.0 end with expires_at.
 * Of an order whose money is reserved the amount may become less. Errors: 22004, 22023; PY401; PY101, PY102, PY103 where
 * the order is not unpaid; PY201; PY105 where the order is another customer's; PY503 beyond what is reserved.
 */
Datum
payguard_update_order(PG_FUNCTION_ARGS)
{
	text *order_id = payguard_arg_id(ARG(0), "order_id");
	Change to = {
		.expected_version = payguard_arg_version(ARG(1), "expected_version"),
		.amount = payguard_arg_amount_or_null(ARG(2), "amount"),
		.currency = payguard_arg_currency_or_null(ARG(3), "currency"),
		.expires_at = payguard_arg_deadline_or_null(ARG(4), "expires_at"),
		.customer_id =
			PG_NARGS() > 5 ? payguard_arg_id_or_null(ARG(5), "customer_id") : NULL,
	};
	FieldSet changed;
	Order order;
	Payment reserved = {0};
	Refusal refusal;

	payguard_order_check_deadline(to.expires_at);
	payguard_request_begin("update_order()");
	payguard_order_must_exist(order_id, &order);
	if (!judge_change(&order, &to, &reserved, &refusal))
		payguard_order_refuse(&order, &refusal);
	payguard_order_lock_known(order_id, &order);
	payguard_store_refresh();
	if (!judge_change(&order, &to, &reserved, &refusal) ||
		/* it may have changed while the order did not */
		(reserved.status == PAYMENT_AUTHORIZED &&
		 (!payguard_payment_reread(reserved.payment_id, &reserved) ||
		  !judge_change(&order, &to, &reserved, &refusal))))
		payguard_order_refuse(&order, &refusal);

	changed = apply_change(&order, &to);
	if (changed != 0)
	{
		payguard_order_change(&order, order.status, changed, "order.updated", NULL,
							  describe_change(&to, changed));
		if (order.status == ORDER_UNPAID)
			renew_approval(&order, changed);
		else if (order.amount <= reserved.authorized_amount)
			payguard_alert_resolve("authorized_less",
								   payguard_text(payguard_uuid_str(reserved.payment_id)),
								   NULL);
	}
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_orders, &order);
}

/*
 * apply_change sets what an order is to become, and its deadline; it returns what is not as it was.
 */
static FieldSet
apply_change(Order *order, const Change *to)
{
	FieldSet changed = 0;

	if (to->amount != NO_AMOUNT && to->amount != order->amount)
	{
		order->amount = to->amount;
		changed |= FIELD(ORDER_F_AMOUNT);
	}
	if (to->currency != NULL && !payguard_text_equal(to->currency, order->currency))
	{
		order->currency = to->currency;
		changed |= FIELD(ORDER_F_CURRENCY);
	}
	if (to->expires_at != NO_TIME && to->expires_at != order->expires_at)
	{
		order->expires_at = to->expires_at;
		changed |= FIELD(ORDER_F_EXPIRES_AT);
		payguard_order_set_deadline(order);
	}
	if (to->customer_id != NULL && order->customer_id == NULL)
	{
		order->customer_id = to->customer_id;
		changed |= FIELD(ORDER_F_CUSTOMER_ID);
	}
	return changed;
}

/*
 * describe_change tells in an event what of an order was changed.
 */
static Jsonb *
describe_change(const Change *to, FieldSet changed)
{
	return payguard_json(
		"amount", 'i', changed & FIELD(ORDER_F_AMOUNT) ? to->amount : NO_AMOUNT,
		"currency", 't', changed & FIELD(ORDER_F_CURRENCY) ? to->currency : NULL,
		"expires_at", 'd', changed & FIELD(ORDER_F_EXPIRES_AT) ? to->expires_at : NO_TIME,
		"customer_id", 't', changed & FIELD(ORDER_F_CUSTOMER_ID) ? to->customer_id : NULL,
		NULL);
}

/*
 * judge_change tells whether an order may become what it is to be.
 *
 * reserved: becomes its payment where that has money reserved
 */
static bool
judge_change(const Order *order, const Change *to, Payment *reserved, Refusal *refusal)
{
	if (order->status != ORDER_PAYING ||
		!payguard_payment_that_counts(order->order_id, reserved) ||
		reserved->status != PAYMENT_AUTHORIZED)
		return payguard_judge_update(order, to->expected_version, to->customer_id,
									 refusal);
	return payguard_judge_version(order, to->expected_version, refusal) &&
		   judge_customer(order, to->customer_id, refusal) &&
		   judge_reserved(order, reserved, to, refusal);
}

/*
 * judge_reserved tells whether what an order is to ask for can be taken from the money that is reserved for it. More than
 * the customer has been asked for nobody has agreed to.
 */
static bool
judge_reserved(const Order *order, const Payment *reserved, const Change *to,
			   Refusal *refusal)
{
	const char *id = payguard_str(order->order_id);

	if (to->currency && !payguard_text_equal(to->currency, order->currency))
		return payguard_refuse(
			refusal, ERR_PAYMENT_IN_PROGRESS,
			psprintf("a payment of order \"%s\" is in progress", id),
			psprintf("Payment \"%s\" has money of another currency reserved.",
					 payguard_uuid_str(reserved->payment_id)),
			"Give it up with payguard.close_payment(), and change the order when that "
			"has "
			"ended.");
	if (to->amount == 0)
		return payguard_refuse(refusal, ERR_ILLEGAL_TRANSITION,
							   psprintf("money is reserved for order \"%s\"", id),
							   "A capture takes at least 1.",
							   "Give it up with payguard.close_payment(), and change the "
							   "order when that has "
							   "ended.");
	if (to->amount == NO_AMOUNT || to->amount <= order->amount ||
		to->amount <= Min(reserved->authorized_amount, reserved->amount))
		return true;
	return payguard_refuse(
		refusal, ERR_AMOUNT_EXCEEDS_AUTHORIZATION,
		psprintf("more than is reserved for order \"%s\"", id),
		psprintf(
			"The order is to ask for %s; payment \"%s\" was asked to reserve %s, and "
			"has %s.",
			payguard_money(to->amount, order->currency),
			payguard_uuid_str(reserved->payment_id),
			payguard_money(reserved->amount, reserved->currency),
			payguard_money(reserved->authorized_amount, reserved->currency)),
		"Ask for the rest with an order of its own.");
}

/*
 * payguard_judge_update tells whether an order may be changed. customer_id: whose it is to be; NULL: that stays as it
 * is.
 */
bool
payguard_judge_update(const Order *order, int64 expected_version, const text *customer_id,
					  Refusal *refusal)
{
	if (!payguard_judge_payable_to(PAYABLE_TO_CHANGE, order, GetCurrentTimestamp(),
								   refusal) ||
		!payguard_judge_version(order, expected_version, refusal))
		return false;
	return judge_customer(order, customer_id, refusal);
}

static bool
judge_customer(const Order *order, const text *customer_id, Refusal *refusal)
{
	if (customer_id == NULL || order->customer_id == NULL ||
		payguard_text_equal(order->customer_id, customer_id))
		return true;
	return payguard_refuse(
		refusal, ERR_ILLEGAL_TRANSITION,
		psprintf("order \"%s\" is another customer's", payguard_str(order->order_id)),
		"The customer of an order cannot be changed.",
		"Cancel it with payguard.cancel_order(), and create one for the other customer.");
}

/*
 * payguard_order_lower lets an unpaid order that is locked ask for less. note: why.
 */
void
payguard_order_lower(Order *order, int64 amount, text *note)
{
	Assert(amount > 0 && amount < order->amount);
	order->amount = amount;
	payguard_order_change(order, ORDER_UNPAID, FIELD(ORDER_F_AMOUNT), "order.updated",
						  NULL,
						  payguard_json("amount", 'i', amount, "note", 't', note, NULL));
	renew_approval(order, FIELD(ORDER_F_AMOUNT));
}

/*
 * renew_approval follows the creation or a change of an unpaid order. A decision holds on if it was no rejection, the
 * customer is the one whom the person who decided knew, and amount and currency are as they were, or as they were decided
 * about. Where a policy wants a second person, one is asked.
 */
static void
renew_approval(const Order *order, FieldSet changed)
{
	Approval known;
	text *duplicate_of;

	Assert(payguard_order_is_locked(order->order_id) && order->status == ORDER_UNPAID);
	if (payguard_approval_of_order(order->order_id, true, &known))
	{
		bool other_money =
			(changed & (FIELD(ORDER_F_AMOUNT) | FIELD(ORDER_F_CURRENCY))) &&
			(known.amount != order->amount ||
			 !payguard_text_equal(known.currency, order->currency));

		if (!other_money && !(changed & FIELD(ORDER_F_CUSTOMER_ID)) &&
			!payguard_text_is(known.status, "rejected"))
			return;
		payguard_approval_end(order->order_id, NULL, NO_ID);
	}
	if (payguard_policy_wants_approval(order, &duplicate_of))
		payguard_order_ask_approval(order, NULL, duplicate_of);
}

/*
 * payguard_order_ask_approval asks a second person whether an order may be paid, and tells by an alert that somebody
 * has to decide. note: of who asks, or NULL; duplicate_of: the order that it seems to repeat, or NULL.
 */
void
payguard_order_ask_approval(const Order *order, text *note, const text *duplicate_of)
{
	Approval asked = {
		.subject = payguard_text("order"),
		.order_id = order->order_id,
		.amount = order->amount,
		.currency = order->currency,
		.requested_by = payguard_actor(),
		.note = note,
	};

	Assert(payguard_order_is_locked(order->order_id));
	payguard_approval_ask(&asked);
	payguard_alert_order("approval_required", "warning", order,
						 payguard_json("amount", 'i', order->amount, "currency", 't',
									   order->currency, "requested_by", 't',
									   asked.requested_by, "duplicate_of", 't',
									   duplicate_of, "note", 't', note, NULL));
}
