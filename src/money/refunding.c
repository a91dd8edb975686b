/*
 * refunding.c
 *		Money that goes back: a refund is made, counted and held back.
 *
 * Locking: the order's row lock first, then the payment's row in refund_balances, which every
 * refund of the payment locks. The ceiling (refunding + refunded <= received) is that row's
 * CHECK constraint; it is looked at before, for a better error.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/id.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/durable.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/actor.h"
#include "records/alert.h"
#include "records/assert.h"
#include "records/balance.h"
#include "records/channel.h"
#include "records/event.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"
#include "records/task.h"
#include "money/policy.h"
#include "money/refunding.h"

static void store_new(const Payment *payment, Refund *refund);

/*
 * payguard_refund_has_begun tells whether money may be on its way back: a worker has claimed the refund,
 * or it has an outcome.
 */
bool
payguard_refund_has_begun(const Refund *refund)
{
	Task task;

	if (payguard_refund_is_undone(refund))
		return false; /* nothing is on its way */
	switch (refund->status)
	{
		case REFUND_AWAITING_APPROVAL:
		case REFUND_WAIVED:
		case REFUND_REINSTATED:
		case REFUND_MERGED:
			return false;
		case REFUND_PENDING:
			return !payguard_task_find("refund", payguard_refund_about(refund), &task) ||
				   task.sent || task.again;
		case REFUND_UNKNOWN:
		case REFUND_SUCCEEDED:
		case REFUND_FAILED:
			return true;
		case REFUND_NONE:
		case N_REFUND_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no status of a refund", (int) refund->status);
}

/*
 * payguard_refund_replay looks the key up. Same request: its refund; another: PY301. false: it is new.
 * The request is about a payment, or about the payment of an order.
 */
bool
payguard_refund_replay(const RefundCall *call, const Payment *payment,
					   const text *order_id, Refund *refund)
{
	Refund like = {.idempotency_key = call->key};
	const char *difference = NULL;
	Refusal refusal;

	if (!payguard_store_find(&payguard_refunds, REFUND_BY_KEY, &like, refund))
		return false;
	if (order_id && !payguard_text_equal(order_id, refund->order_id))
		difference = "order_id";
	else if (payment && !payguard_uuid_equal(payment->payment_id, refund->payment_id))
		difference = "payment_id";
	else if (call->amount != NO_AMOUNT && call->amount != refund->amount)
		difference = psprintf("amount (" INT64_FORMAT ", not " INT64_FORMAT ")",
							  refund->amount, call->amount);
	else if (call->channel && !payguard_text_equal(call->channel, refund->channel))
		difference = "channel";
	payguard_store_make_durable(refund);
	if (difference == NULL)
		return true;
	payguard_refuse(&refusal, ERR_KEY_REUSED,
					psprintf("idempotency key \"%s\" was used for another refund",
							 payguard_str(call->key)),
					psprintf("The requests differ in: %s.", difference),
					"A key names one request for ever: use a new key for a new refund.");
	payguard_raise(&refusal);
}

/*
 * store_new stores a new refund under its key. Errors: PY301 where another request has taken the key just now.
 */
static void
store_new(const Payment *payment, Refund *refund)
{
	if (!refund->idempotency_key)
		payguard_store_insert(&payguard_refunds, refund);
	else if (!payguard_store_insert_new(&payguard_refunds, REFUND_BY_KEY, refund))
	{
		/* another order's refund took the key just now */
		RefundCall call = {.key = refund->idempotency_key, .amount = refund->amount};

		payguard_store_refresh();
		payguard_refund_replay(&call, payment, NULL, refund);
		payguard_store_suppressed(&payguard_refunds);
	}
}

/*
 * payguard_refund_insert completes and stores a new refund, counts it in the balance and schedules what
 * follows. Money of an internal channel is back at once.
 */
void
payguard_refund_insert(Order *order, const Payment *payment, Refund *refund)
{
	RefundBalance balance;
	Channel channel;
	TimestampTz now = GetCurrentTimestamp();
	bool at_once;
	bool by_policy = refund->status == REFUND_PENDING &&
					 payguard_refund_needs_approval(payment, refund);

	Assert(payguard_order_is_locked(order->order_id));
	Assert(payguard_text_equal(payment->order_id, order->order_id));
	Assert(refund->amount >= 0 && refund->origin != NULL);
	if (by_policy)
		refund->status = REFUND_AWAITING_APPROVAL;
	if (refund->channel == NULL)
		refund->channel = payment->channel;
	payguard_refund_channel(refund, &channel);
	/* nothing has to be sent anywhere where nothing goes back */
	at_once =
		(channel.internal || refund->amount == 0) && refund->status == REFUND_PENDING;
	refund->refund_id = payguard_uuid_v7(payguard_slot_of(payment->order_id));
	refund->payment_id = payment->payment_id;
	refund->order_id = payment->order_id;
	refund->currency = refund->currency				? refund->currency
					   : payment->received_currency ? payment->received_currency
													: payment->currency;
	refund->requested_by = payguard_actor();
	refund->created_at = now;
	refund->completed_at = NO_TIME;
	if (at_once)
		refund->status = REFUND_SUCCEEDED;
	if (refund->status == REFUND_SUCCEEDED)
	{
		refund->completed_at = now;
		refund->returned_amount = refund->amount;
	}
	else
		refund->returned_amount = NO_AMOUNT;
	refund->amount_verified = refund->status == REFUND_SUCCEEDED;
	if (refund->reversal_kind == NULL)
		refund->channel_time = NO_TIME;
	refund->reinstated_time = NO_TIME;
	payguard_machine_move(&payguard_refund_machine, REFUND_NONE, refund->status);
	store_new(payment, refund);
	payguard_event_write(
		psprintf("refund.%s",
				 payguard_machine_name(&payguard_refund_machine, refund->status)),
		payguard_refund_about(refund), NULL,
		payguard_machine_name(&payguard_refund_machine, refund->status), NO_ID,
		payguard_json("amount", 'i', refund->amount, "currency", 't', refund->currency,
					  "origin", 't', refund->origin, "reversal_kind", 't',
					  refund->reversal_kind, "reason", 't', refund->reason, NULL));

	payguard_balance_lock(payment, &balance);
	if (refund->status == REFUND_SUCCEEDED)
		payguard_refund_count_returned(order, payment, refund, &balance, refund->amount);
	else
	{
		balance.refunding += refund->amount;
		payguard_balance_store(payment, &balance);
	}
	if (refund->status == REFUND_PENDING)
		payguard_refund_schedule(refund, "refund");
	if (refund->status == REFUND_AWAITING_APPROVAL)
		payguard_refund_ask_approval(refund, by_policy);
}

/*
 * payguard_refund_needs_approval tells whether a policy asks for a second person before a refund that is not
 * counted in the balance. What else of the payment goes back is counted in: a large refund does
 * not get by in small parts.
 */
bool
payguard_refund_needs_approval(const Payment *payment, const Refund *refund)
{
	Refund asked = *refund;
	RefundBalance balance;

	if (payguard_store_is_empty(&payguard_policies))
		return false;
	if (asked.currency == NULL)
		asked.currency =
			payment->received_currency ? payment->received_currency : payment->currency;
	payguard_balance_lock(payment, &balance);
	return payguard_refund_policy_asks(
		&asked,
		payguard_balance_add(payguard_balance_add(balance.refunding, balance.refunded),
							 asked.amount));
}

/*
 * payguard_refund_policy_asks tells whether a policy asks for a second person, where so much goes back.
 */
bool
payguard_refund_policy_asks(const Refund *refund, int64 going_back)
{
	Asked asked;

	return payguard_policy_asks(refund->currency, going_back, &asked) &&
		   asked.approve_refund;
}

/*
 * payguard_refund_count_returned counts money that is back: up to the rest as refunded, beyond it as
 * excess. Then it has gone back in another way, and refunds that nobody has begun wait for a person.
 */
void
payguard_refund_count_returned(Order *order, const Payment *payment, const Refund *refund,
							   RefundBalance *balance, int64 amount)
{
	int64 known = balance->refunding + balance->refunded;
	int64 room = Max(payment->received_amount, known) - known;
	int64 counted = Min(amount, room);

	Assert(amount >= 0 && refund->status == REFUND_SUCCEEDED);
	balance->refunded += counted;
	balance->excess = payguard_balance_add(balance->excess, amount - counted);
	payguard_balance_store(payment, balance);
	if (amount > counted)
	{
		payguard_alert_refund("refund_exceeds_payment", "critical", refund,
							  payguard_json("excess", 'i', amount - counted, NULL));
		payguard_refund_hold_unbegun(payment);
	}
	if (payguard_refund_counts_for_order(order, payment, refund))
		payguard_refund_change_order(
			order, payment, payguard_balance_add(order->refunded_amount, amount));
}

/*
 * payguard_refund_hold_unbegun makes the refunds of a payment that nobody has begun wait for a second
 * person.
 */
void
payguard_refund_hold_unbegun(const Payment *payment)
{
	Refund *refunds;
	int n;

	n = payguard_refund_list_of(payment, &refunds);
	for (int i = 0; i < n; i++)
	{
		/* one that waits may have been approved since an older snapshot */
		payguard_refund_must_be_there(refunds[i].refund_id, &refunds[i]);
		if (refunds[i].status == REFUND_PENDING &&
			!payguard_refund_has_begun(&refunds[i]))
		{
			payguard_refund_end_tasks(&refunds[i]);
			payguard_refund_change(&refunds[i], REFUND_AWAITING_APPROVAL, 0, NULL);
		}
	}
}

/*
 * payguard_refund_counts_for_order tells whether a refund counts in orders.refunded_amount: refunds of the
 * payment that paid it do; chargebacks and bank returns do not, the order stays paid; nor does what was more
 * than it asked for.
 */
bool
payguard_refund_counts_for_order(const Order *order, const Payment *payment,
								 const Refund *refund)
{
	return payguard_uuid_equal(order->payment_id, payment->payment_id) &&
		   !payguard_text_is(refund->origin, "surplus") &&
		   (refund->reversal_kind == NULL ||
			payguard_text_is(refund->reversal_kind, "refund"));
}

/*
 * payguard_refund_paid_amount returns how much of the payment that paid an order the order has asked for.
 */
int64
payguard_refund_paid_amount(const Order *order, const Payment *payment)
{
	return payguard_text_equal(payment->received_currency, order->currency)
			   ? Min(payment->received_amount, order->amount)
			   : payment->received_amount;
}

/*
 * payguard_refund_change_order changes the order for what has gone back of the payment that paid it: paid
 * or refunded. refunded: the sum, which is less than before where money came back once more.
 */
void
payguard_refund_change_order(Order *order, const Payment *payment, int64 refunded)
{
	bool less = refunded < order->refunded_amount;
	OrderStatus to;
	const char *kind;

	order->refunded_amount = refunded;
	to = order->refunded_amount >= payguard_refund_paid_amount(order, payment)
			 ? ORDER_REFUNDED
			 : ORDER_PAID;
	if (less)
		kind = "order.refund_returned";
	else if (to == ORDER_REFUNDED)
		kind = "order.refunded";
	else
		kind = "order.partly_refunded";
	payguard_order_change(
		order, to, FIELD(ORDER_F_REFUNDED_AMOUNT), kind, payment->payment_id,
		payguard_json("refunded_amount", 'i', order->refunded_amount, NULL));
}

/*
 * payguard_refund_schedule makes a task of a refund due now: "refund" to make it, "query_refund" to ask.
 */
void
payguard_refund_schedule(const Refund *refund, const char *kind)
{
	TimestampTz run_at = GetCurrentTimestamp();
	Channel channel;

	if (strcmp(kind, "query_refund") == 0 &&
		payguard_channel_find(refund->channel, &channel))
		run_at = payguard_time_plus(run_at, channel.first_query_after);
	payguard_task_schedule(kind, payguard_refund_about(refund), refund->channel, run_at);
}

/*
 * payguard_refund_end_tasks takes away what workers had to do about a refund.
 */
void
payguard_refund_end_tasks(const Refund *refund)
{
	About about = payguard_refund_about(refund);

	payguard_task_remove_all(about);
}

/*
 * payguard_refund_waive ends a refund whose money stays.
 */
void
payguard_refund_waive(const Payment *payment, Refund *refund, text *note)
{
	RefundBalance balance;

	if (payguard_refund_is_reserved(refund->status))
	{
		payguard_balance_lock(payment, &balance);
		balance.refunding -= refund->amount;
		payguard_balance_store(payment, &balance);
	}
	refund->completed_at = GetCurrentTimestamp();
	payguard_refund_change(refund, REFUND_WAIVED, FIELD(REFUND_F_COMPLETED_AT),
						   payguard_json("note", 't', note, NULL));
	payguard_refund_end_tasks(refund);
	payguard_alert_resolve("refund_failed",
						   payguard_text(payguard_uuid_str(refund->refund_id)), note);
}
