/*
 * order_status.c
 *		order_status(): where an order stands, and what to tell the customer.
 *
 * It reads with the statement's snapshot, and locks nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/argument.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/plan.h"
#include "records/alert.h"
#include "records/approval.h"
#include "records/call.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "money/policy.h"

/* The columns of payguard.order_status_result. */
#define N_STATUS_COLUMNS 12

/* Why an unpaid order may not be paid now, but for its deadline. */
typedef enum Hold
{
	HOLD_NONE,
	HOLD_DUPLICATE, /* the customer has paid another one like it: later */
	HOLD_UNASKED,	/* a second person has to approve it, and nobody was asked */
	HOLD_UNDECIDED, /* somebody was asked */
	HOLD_REJECTED
} Hold;

/* What else is known of an order's money. */
typedef struct Found
{
	bool taken;	   /* it was taken back by the bank */
	bool returned; /* some that the order does not need is on its way back */
	bool support;  /* a person has to look at it */
} Found;

static Hold find_hold(const Order *order);
static bool is_taken_back(const Order *order);
static bool needs_support(const Order *order, const Payment *live, bool taken);
static bool is_shops_matter(const Alert *alert, const Payment *live);
static bool is_returned(const Order *order);
static void describe_status(const Order *order, const Payment *live, Hold hold,
							const Found *found, Datum *values, bool *nulls);

PG_FUNCTION_INFO_V1(payguard_order_status);

/*
 * order_status(order_id) → order_status_result: what the customer's page may say and offer.
 * Reads with the caller's snapshot, also on a standby. Errors: 22004, 22023; PY401.
 */
Datum
payguard_order_status(PG_FUNCTION_ARGS)
{
	text *order_id = payguard_arg_id(ARG(0), "order_id");
	Datum values[N_STATUS_COLUMNS] = {0};
	bool nulls[N_STATUS_COLUMNS] = {false};
	Order order;
	Payment live;
	bool is_live;
	Hold hold;
	Found found;

	payguard_store_begin(STORE_READ);
	payguard_order_must_exist(order_id, &order);
	is_live =
		order.status == ORDER_PAYING && payguard_payment_that_counts(order_id, &live);
	hold = order.status == ORDER_UNPAID ? find_hold(&order) : HOLD_NONE;
	found.taken = is_taken_back(&order);
	found.returned = is_returned(&order);
	found.support = needs_support(&order, is_live ? &live : NULL, found.taken);
	payguard_store_end(STORE_READ);

	describe_status(&order, is_live ? &live : NULL, hold, &found, values, nulls);
	return HeapTupleGetDatum(
		heap_form_tuple(payguard_result_desc(fcinfo), values, nulls));
}

/*
 * find_hold tells why a policy holds an order back.
 */
static Hold
find_hold(const Order *order)
{
	Refusal refusal;
	Approval approval;

	/* a version is for requests */
	if (payguard_policy_judge(order, order->version, false, NULL, &refusal))
		return HOLD_NONE;
	if (refusal.id == ERR_SUSPECTED_DUPLICATE)
		return HOLD_DUPLICATE;
	if (!payguard_approval_of_order(order->order_id, false, &approval))
		return payguard_channel_scripts_are_new() ? HOLD_UNASKED : HOLD_UNDECIDED;
	return payguard_text_is(approval.status, "rejected") ? HOLD_REJECTED : HOLD_UNDECIDED;
}

/*
 * is_taken_back tells whether the bank has taken back money of the payment that pays the order, or all of the one
 * that paid an order which has to be paid again. What the shop itself has sent back is none.
 */
static bool
is_taken_back(const Order *order)
{
	Payment payment = {.payment_id = order->payment_id};
	Refund *refunds;
	int n;

	if (order->status == ORDER_UNPAID)
		return order->returned_payment_id != NULL;
	if (order->status != ORDER_PAID)
		return false;
	n = payguard_refund_list_of(&payment, &refunds);
	for (int i = 0; i < n; i++)
		if (refunds[i].status == REFUND_SUCCEEDED && refunds[i].reversal_kind != NULL &&
			!payguard_text_is(refunds[i].reversal_kind, "refund"))
			return true;
	return false;
}

static const RowQuery critical_alerts = {"order_id " OP_EQ " $1 AND resolved_at IS NULL "
										 "AND severity " OP_EQ " 'critical'",
										 {TEXTOID, InvalidOid}};

/*
 * needs_support tells whether a person has to look at the order before its customer can know
 * more. Of a paid order that is so only where he may miss money, or may have to pay again.
 */
static bool
needs_support(const Order *order, const Payment *live, bool taken)
{
	Datum id = PointerGetDatum(order->order_id);
	Alert *alerts;
	int n =
		payguard_store_list(&payguard_alerts, &critical_alerts, &id, (void **) &alerts);

	for (int i = 0; i < n; i++)
		if (is_shops_matter(&alerts[i], live))
			continue;
		else if ((order->status != ORDER_PAID && order->status != ORDER_REFUNDED) ||
				 payguard_text_is(alerts[i].kind, "second_charge") ||
				 payguard_text_is(alerts[i].kind, "amount_mismatch") ||
				 payguard_text_is(alerts[i].kind, "refund_failed") ||
				 (taken && (payguard_text_is(alerts[i].kind, "chargeback") ||
							payguard_text_is(alerts[i].kind, "bank_return"))))
			return true;
	return false;
}

/*
 * is_shops_matter tells whether an alert is about taking money that the customer has reserved, who has done all that he can do.
 */
static bool
is_shops_matter(const Alert *alert, const Payment *live)
{
	if (payguard_text_is(alert->kind, "capture_failed") ||
		payguard_text_is(alert->kind, "authorization_expiring"))
		return true;
	return live && live->status == PAYMENT_CAPTURING && alert->payment_id &&
		   payguard_uuid_equal(alert->payment_id, live->payment_id) &&
		   (payguard_text_is(alert->kind, "payment_open_too_long") ||
			payguard_text_is(alert->kind, "dead_task"));
}

static const RowQuery open_surplus_refunds = {
	"payment_id " OP_EQ " ANY (ARRAY("
	"SELECT p.payment_id FROM payguard.payments p "
	"WHERE p.order_id " OP_EQ " $1 "
	"AND p.status " OP_EQ " 'surplus')) "
	"AND status " OP_EQ " ANY "
	"('{pending,unknown}'::pg_catalog.text[])",
	{TEXTOID, InvalidOid}};

/*
 * is_returned tells whether money that the order did not need is on its way back.
 */
static bool
is_returned(const Order *order)
{
	Datum id = PointerGetDatum(order->order_id);
	Refund *refunds;

	return payguard_store_list(&payguard_refunds, &open_surplus_refunds, &id,
							   (void **) &refunds) > 0;
}

typedef struct Advice
{
	const char *code; /* stable: pages switch on it */
	const char *message;
	bool can_pay;
	bool can_cancel;
} Advice;

/*
 * advise_unpaid tells what to do about an order that waits for payment.
 */
static Advice
advise_unpaid(Hold hold)
{
	switch (hold)
	{
		case HOLD_NONE:
			break;
		case HOLD_DUPLICATE:
			return (Advice){
				"duplicate",
				"An order over the same amount has just been paid. To pay this "
				"one, too, please try again later.",
				false, true};
		case HOLD_UNASKED:
			return (Advice){"request_approval",
							"This order has to be checked before it can be paid.", false,
							true};
		case HOLD_UNDECIDED:
			return (Advice){"wait", "This order is being checked before it can be paid.",
							false, true};
		case HOLD_REJECTED:
			return (Advice){"contact_support",
							"This order cannot be paid as it is. Please contact us.",
							false, true};
	}
	return (Advice){"pay", "This order is waiting for payment.", true, true};
}

static Advice
advise(const Order *order, const Payment *live, Hold hold)
{
	switch (order->status)
	{
		case ORDER_UNPAID:
			if (payguard_order_is_past_deadline(order, GetCurrentTimestamp()))
				return (Advice){"closed", "The time to pay this order is over.", false,
								true};
			return advise_unpaid(hold);
		case ORDER_PAYING:
			if (order->closing_as == ORDER_NONE && live &&
				live->status == PAYMENT_PENDING &&
				(live->expires_at == NO_TIME || live->expires_at > GetCurrentTimestamp()))
				return (Advice){"resume",
								"A payment has been started. Please complete it.", false,
								true};
			if (order->closing_as == ORDER_NONE && live &&
				live->status == PAYMENT_PROCESSING)
				return (Advice){"wait",
								"The bank is processing your payment. Do not pay again.",
								false, true};
			if (order->closing_as == ORDER_NONE && live &&
				payguard_payment_holds_order(live->status))
				return (Advice){"authorized",
								"Your payment is reserved. You have nothing more to do.",
								false, true};
			return (Advice){
				"wait",
				"We are waiting for the answer to a payment. Please do not pay "
				"again.",
				false, order->closing_as == ORDER_NONE};
		case ORDER_PAID:
			return (Advice){"paid", "This order is paid.", false, false};
		case ORDER_REFUNDED:
			return (Advice){"refunded", "This order was paid and has been refunded.",
							false, false};
		case ORDER_CANCELLED:
			return (Advice){"closed", "This order is cancelled.", false, false};
		case ORDER_EXPIRED:
			return (Advice){"closed", "The time to pay this order is over.", false,
							false};
		case ORDER_NONE:
		case N_ORDER_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no status of an order", (int) order->status);
}

#define TAKEN_BACK "The bank has taken money back that was paid for this order."

/*
 * message_of is what the customer is told: what he may do, and what has become of his money. Nobody says that an
 * order is paid while a person has to decide whether it is to be paid again.
 */
static const char *
message_of(const Order *order, const char *message, const Found *found)
{
	bool is_over = order->status == ORDER_PAID || order->status == ORDER_REFUNDED;

	if (found->taken && order->status == ORDER_PAID)
		message = found->support ? TAKEN_BACK
								 : TAKEN_BACK " The order counts as paid all the same.";
	else if (found->taken)
		message = psprintf("%s %s", TAKEN_BACK, message);
	if (found->returned && is_over)
		message = psprintf("%s A second payment is being returned.", message);
	else if (found->returned)
		message = psprintf("%s Money that was paid for it is being returned.", message);
	if (found->support)
		message = psprintf(
			"%s Something about its payment has to be looked at. Please contact us.",
			message);
	return message;
}

/*
 * describe_status fills in the columns of order_status_result.
 */
static void
describe_status(const Order *order, const Payment *live, Hold hold, const Found *found,
				Datum *values, bool *nulls)
{
	Advice advice = advise(order, live, hold);
	bool wait = strcmp(advice.code, "wait") == 0;
	bool resume = strcmp(advice.code, "resume") == 0;
	int i = 0;

	advice.message = message_of(order, advice.message, found);
	if (found->support)
	{
		advice.code = "contact_support";
		advice.can_pay = false; /* money may have come already */
	}

	values[i++] = PointerGetDatum(order->order_id);
	values[i++] = CStringGetTextDatum(
		payguard_machine_name(&payguard_order_machine, order->status));
	values[i++] = CStringGetTextDatum(advice.code);
	values[i++] = CStringGetTextDatum(advice.message);
	values[i++] = BoolGetDatum(advice.can_pay);
	values[i++] = BoolGetDatum(advice.can_cancel);
	nulls[i] = !wait;
	if (wait)
	{
		Interval *interval = palloc0(sizeof(Interval));

		interval->time = 5 * USECS_PER_SEC;
		values[i] = IntervalPGetDatum(interval);
	}
	i++;
	nulls[i] = !resume;
	if (resume)
		values[i] = UUIDPGetDatum(live->payment_id);
	i++;
	values[i++] = Int64GetDatum(order->amount);
	values[i++] = PointerGetDatum(order->currency);
	values[i++] = Int64GetDatum(order->refunded_amount);
	values[i++] = Int64GetDatum(order->version);
	Assert(i == N_STATUS_COLUMNS);
}
