/*
 * policy.c
 *		Policies: which orders and refunds need a second person, an expected version, or a look for
 *		duplicates.
 *
 * Several policies of a currency may be in force. All of those that begin at or below an amount hold for it. A policy
 * holds for the calls that begin after it has been committed.
 *
 * Locking: a policy is read without a lock. A customer's row is locked after the order's, and only
 * where a policy looks for duplicates; a batch locks its customers in the order of their ids.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "rules/machine.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/approval.h"
#include "records/channel.h"
#include "records/order.h"
#include "money/policy.h"

const char *const payguard_on_duplicate_names[N_ON_DUPLICATE] = {
	[DUPLICATE_REFUSE] = "refuse",
	[DUPLICATE_HOLD] = "hold",
	[DUPLICATE_FLAG] = "flag",
};

static const RowQuery policies_in_force = {
	"currency " OP_EQ " $1 AND min_amount " OP_LE " $2", {TEXTOID, INT8OID, InvalidOid}};

/* What was given back is no reason to suspect a new order. */
static const RowQuery orders_alike = {
	"customer_id " OP_EQ " $1 AND currency " OP_EQ " $2 "
	"AND amount " OP_EQ " $3 AND order_id " OP_NE " $4 "
	"AND status " OP_EQ " ANY ('{paying,paid}'::pg_catalog.text[]) "
	"AND EXISTS (SELECT FROM payguard.payments p"
	" WHERE p.order_id " OP_EQ " orders.order_id"
	" AND p.status " OP_NE " ALL ("
	"'{failed,superseded,surplus}'::pg_catalog.text[])"
	" AND coalesce(p.completed_at, p.created_at) " OP_GE " $5) LIMIT 1",
	{TEXTOID, TEXTOID, INT8OID, TEXTOID, TIMESTAMPTZOID, InvalidOid}};

static const Field policy_fields[] = {POLICY_COLUMNS(COLUMN_FIELD)};

static const Key policy_keys[] = {
	[POLICY_OF_AMOUNT] = {.fields = {POLICY_F_CURRENCY, POLICY_F_MIN_AMOUNT, -1},
						  .index = "pkey"},
};

static const Field customer_fields[] = {CUSTOMER_COLUMNS(COLUMN_FIELD)};

static const Key customer_keys[] = {
	[CUSTOMER_BY_ID] = {.fields = {CUSTOMER_F_CUSTOMER_ID, -1}, .index = "pkey"},
};
const Table payguard_policies = TABLE("policies", Policy, policy_fields, policy_keys);
const Table payguard_customers =
	TABLE("customers", Customer, customer_fields, customer_keys);

static bool is_approved(const Order *order, bool locked, Approval *approval, bool *known);
static bool refuse_unapproved(const Order *order, const Approval *approval, bool known,
							  const char *why, Refusal *refusal);
static bool find_duplicate(const Order *order, TimestampTz since, Order *duplicate);

/*
 * payguard_policy_asks tells what is asked for an amount; false: nothing.
 */
bool
payguard_policy_asks(const text *currency, int64 amount, Asked *asked)
{
	Datum values[2] = {PointerGetDatum(currency), Int64GetDatum(amount)};
	TimestampTz now = GetCurrentTimestamp();
	Policy *policies;
	int n;

	*asked = (Asked){.since = {NO_TIME, NO_TIME, NO_TIME}};
	if (payguard_store_is_empty(&payguard_policies))
		return false;
	n = payguard_store_list(&payguard_policies, &policies_in_force, values,
							(void **) &policies);
	for (int i = 0; i < n; i++)
	{
		const Policy *policy = &policies[i];

		asked->approve_payment |= policy->approve_payment;
		asked->approve_refund |= policy->approve_refund;
		asked->require_version |= policy->require_version;
		if (policy->duplicate_window)
		{
			TimestampTz *since =
				&asked->since[payguard_policy_on_duplicate(policy->on_duplicate)];
			TimestampTz from = DatumGetTimestampTz(
				DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(now),
									IntervalPGetDatum(policy->duplicate_window)));

			if (*since == NO_TIME || from < *since)
				*since = from;
		}
	}
	return n > 0;
}

/*
 * payguard_policy_looks_for_duplicates tells whether an order is to be compared with its
 * customer's others.
 */
bool
payguard_policy_looks_for_duplicates(const Order *order)
{
	Asked asked;

	if (order->customer_id == NULL ||
		!payguard_policy_asks(order->currency, order->amount, &asked))
		return false;
	for (int i = 0; i < N_ON_DUPLICATE; i++)
		if (asked.since[i] != NO_TIME)
			return true;
	return false;
}

/*
 * payguard_policy_judge applies the policies to a request to pay an order: PY201 where a version
 * is missing, PY601, PY104. locked: the order is, and its approval is locked too.
 *
 * duplicate: the id of the order that this one seems to repeat, where that is only to be flagged; it is
 * NULL otherwise. NULL: nobody wants to know.
 */
bool
payguard_policy_judge(const Order *order, int64 expected_version, bool locked,
					  text **duplicate, Refusal *refusal)
{
	const char *id = payguard_str(order->order_id);
	Approval approval;
	Order other;
	Asked asked;
	bool known;
	bool approved;

	if (duplicate)
		*duplicate = NULL;
	if (!payguard_policy_asks(order->currency, order->amount, &asked))
		return true;
	if (asked.require_version && expected_version == NO_ID)
		return payguard_refuse(
			refusal, ERR_VERSION_CONFLICT,
			psprintf("a payment of order \"%s\" needs expected_version", id),
			psprintf("A policy asks for it, since the order is about %s.",
					 payguard_money(order->amount, order->currency)),
			"Give the version of the order that the customer has seen.");
	approved = is_approved(order, locked, &approval, &known);
	if ((asked.approve_payment && !approved) ||
		(known && payguard_text_is(approval.status, "rejected")))
		return refuse_unapproved(
			order, &approval, known,
			psprintf("It is about %s", payguard_money(order->amount, order->currency)),
			refusal);
	if (order->customer_id == NULL)
		return true;
	if (find_duplicate(order, asked.since[DUPLICATE_REFUSE], &other))
		return payguard_refuse(
			refusal, ERR_SUSPECTED_DUPLICATE,
			psprintf("order \"%s\" seems to be a duplicate", id),
			psprintf(
				"The customer has just paid or begun to pay order \"%s\" over the same "
				"amount.",
				payguard_str(other.order_id)),
			"If the customer wants both, pay this one later.");
	if (!approved && find_duplicate(order, asked.since[DUPLICATE_HOLD], &other))
		return refuse_unapproved(order, &approval, known,
								 psprintf("It seems to be a duplicate of order \"%s\"",
										  payguard_str(other.order_id)),
								 refusal);
	if (duplicate && find_duplicate(order, asked.since[DUPLICATE_FLAG], &other))
		*duplicate = other.order_id;
	return true;
}

/*
 * payguard_policy_wants_approval tells whether a second person has to approve an order, where nobody was asked.
 * duplicate_of: the order that it seems to repeat, where that is why; else NULL.
 */
bool
payguard_policy_wants_approval(const Order *order, text **duplicate_of)
{
	Asked asked;
	Order other;

	*duplicate_of = NULL;
	if (!payguard_policy_asks(order->currency, order->amount, &asked))
		return false;
	if (asked.approve_payment)
		return true;
	if (order->customer_id == NULL ||
		!find_duplicate(order, asked.since[DUPLICATE_HOLD], &other))
		return false;
	*duplicate_of = other.order_id;
	return true;
}

/*
 * payguard_policy_holds tells whether money that came for an order must not pay it by itself. locked:
 * as in payguard_policy_judge().
 */
bool
payguard_policy_holds(const Order *order, bool locked)
{
	Refusal refusal;

	/* a version is for requests: the channel does not know of it */
	return !payguard_policy_judge(order, order->version, locked, NULL, &refusal);
}

/*
 * is_approved tells whether a second person has approved this amount, or more of which the order was lowered while
 * the money was reserved; known: somebody has been asked.
 */
static bool
is_approved(const Order *order, bool locked, Approval *approval, bool *known)
{
	*known = payguard_approval_of_order(order->order_id, locked, approval);
	return *known && payguard_text_is(approval->status, "approved") &&
		   approval->amount >= order->amount &&
		   payguard_text_equal(approval->currency, order->currency);
}

static bool
refuse_unapproved(const Order *order, const Approval *approval, bool known,
				  const char *why, Refusal *refusal)
{
	bool rejected = known && payguard_text_is(approval->status, "rejected");
	const char *hint =
		known || !payguard_channel_scripts_are_new()
			? "An operator who has not asked for it decides: payguard.approve_order() or "
			  "payguard.reject_order()."
			: "Ask for it with payguard.request_approval(); an operator decides.";

	if (rejected)
		hint = "Change the order, or cancel it.";
	if (order->status == ORDER_CANCELLED || order->status == ORDER_EXPIRED)
		hint = "It is closed, and is not approved any more. Refund the payment.";
	return payguard_refuse(
		refusal, ERR_APPROVAL_REQUIRED,
		psprintf("order \"%s\" needs an approval", payguard_str(order->order_id)),
		rejected ? psprintf("%s, and was rejected at %s.", why,
							payguard_time_str(approval->decided_at))
				 : psprintf("%s, and nobody has approved it yet.", why),
		hint);
}

/*
 * find_duplicate looks for another order of the customer over the same amount that was paid, or begun to be paid, since
 * then. NO_TIME: duplicates do not matter.
 */
static bool
find_duplicate(const Order *order, TimestampTz since, Order *duplicate)
{
	Datum values[5] = {PointerGetDatum(order->customer_id),
					   PointerGetDatum(order->currency), Int64GetDatum(order->amount),
					   PointerGetDatum(order->order_id), TimestampTzGetDatum(since)};
	Order *others;

	if (since == NO_TIME || payguard_store_list(&payguard_orders, &orders_alike, values,
												(void **) &others) == 0)
		return false;
	*duplicate = others[0];
	return true;
}

/*
 * payguard_policy_lock_customer has the payments of one customer wait for each other. order_id:
 * one that is about to be paid.
 */
void
payguard_policy_lock_customer(text *customer_id, const text *order_id)
{
	Customer customer = {
		.customer_id = customer_id,
		.order_id = unconstify(text *, order_id),
		.paid_at = GetCurrentTimestamp(),
	};

	if (!payguard_store_insert_new(&payguard_customers, CUSTOMER_BY_ID, &customer) &&
		!payguard_store_lock(&payguard_customers, CUSTOMER_BY_ID, &customer, &customer))
		payguard_store_suppressed(&payguard_customers);
}

/*
 * payguard_policy_note_customer notes that an order is paid or begun: a transaction with an older
 * snapshot, which does not see it, fails (40001) when it locks the customer.
 */
void
payguard_policy_note_customer(const Order *order)
{
	Customer customer = {
		.customer_id = order->customer_id,
		.order_id = order->order_id,
		.paid_at = GetCurrentTimestamp(),
	};

	payguard_store_update(&payguard_customers,
						  FIELD(CUSTOMER_F_ORDER_ID) | FIELD(CUSTOMER_F_PAID_AT),
						  &customer);
}

/*
 * payguard_policy_on_duplicate returns the setting with a name, which was checked when it was stored.
 */
OnDuplicate
payguard_policy_on_duplicate(const text *name)
{
	for (int i = 0; i < N_ON_DUPLICATE; i++)
		if (payguard_text_is(name, payguard_on_duplicate_names[i]))
			return i;
	elog(ERROR, "payguard: \"%s\" is no setting of on_duplicate", payguard_str(name));
}
