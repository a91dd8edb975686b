/*
 * pay_round.c
 *		Paying: what pay_order(), try_pay_order(), pay_orders(), start_payment() and
 *		request_payment() do.
 *
 * All of them are one algorithm over a batch, of one call for pay_order():
 *
 *	1. probe: every key and order is read with one snapshot, without a lock; a replay or a
 *	   refusal is answered from there, and writes nothing;
 *	2. lock: the orders that may be paid are locked, in the order of their ids, and then, where
 *	   a policy looks for duplicates, their customers;
 *	3. settle, in rounds: each call is judged again on the locked row; the payments go in first,
 *	   in the order of their keys, by an insertion that reports a key's conflict instead of
 *	   raising it; then the orders change.
 *
 * A call waits in step 3 for earlier calls of the batch that share its order or key, so that
 * the answers are those of single calls in that order.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "rules/machine.h"
#include "base/element.h"
#include "base/id.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/table.h"
#include "store/write.h"
#include "records/channel.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/task.h"
#include "money/policy.h"
#include "requests/pay_judge.h"
#include "requests/pay_round.h"

/* What pays in one go, by key. */
typedef struct Round
{
	PayCall **calls;
	int n;
	bool
		repeats; /* nothing goes in where one loses its key, and the next round is another */
	PayCall *lost; /* the first that did */
} Round;

static void probe(PayCall *calls, int n);
static void lock_orders(PayCall *calls, int n);
static void lock_customers(PayCall *calls, int n);
static int settle_round(PayCall *calls, int n, bool first_round);
static void judge_now(PayCall *call, bool first_round);
static bool holds_up(const PayCall *calls, int n);
static void insert_payments(void *argument);
static void lose_key(PayCall *call);
static bool is_next(PayCall *call);
static void settle(PayCall *call);
static void complete(PayCall *call);
static void change_order(PayCall *call);
static int by_order(const void *a, const void *b);
static int by_key(const void *a, const void *b);
static int by_customer(const void *a, const void *b);
static int then_as_asked(int order, const PayCall *left, const PayCall *right);

/*
 * pay answers every call of a batch.
 */
void
payguard_pay(PayCall *calls, int n)
{
	int open = n;

	payguard_pay_link(calls, n);
	probe(calls, n);
	lock_orders(calls, n);
	lock_customers(calls, n);
	for (bool first_round = true; open > 0; first_round = false)
	{
		int settled = settle_round(calls, n, first_round);

		if (settled == 0)
			elog(ERROR, "payguard: a batch does not get on");
		open -= settled;
	}
}

/*
 * payguard_pay_link gives the calls of one order a common entry, and each call its predecessors.
 */
void
payguard_pay_link(PayCall *calls, int n)
{
	PayCall **sorted = palloc(sizeof(PayCall *) * Max(n, 1));

	for (int i = 0; i < n; i++)
		sorted[i] = &calls[i];
	qsort(sorted, n, sizeof(PayCall *), by_order);
	for (int i = 0; i < n; i++)
	{
		if (i > 0 && payguard_text_equal(sorted[i]->order_id, sorted[i - 1]->order_id))
		{
			sorted[i]->before_order = sorted[i - 1];
			sorted[i]->entry = sorted[i - 1]->entry;
		}
		else
		{
			sorted[i]->entry = palloc0(sizeof(OrderEntry));
			sorted[i]->entry->order_id = sorted[i]->order_id;
		}
	}
	qsort(sorted, n, sizeof(PayCall *), by_key);
	for (int i = 1; i < n; i++)
		if (payguard_text_equal(sorted[i]->key, sorted[i - 1]->key))
			sorted[i]->before_key = sorted[i - 1];
	pfree(sorted);
}

/*
 * probe judges every call on one snapshot.
 */
static void
probe(PayCall *calls, int n)
{
	for (int i = 0; i < n; i++)
	{
		PayCall *call = &calls[i];

		CHECK_FOR_INTERRUPTS();
		payguard_pay_find_key(call);
		if (call->before_order == NULL)
			call->entry->found = payguard_order_find(call->order_id, &call->entry->order);
	}
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		payguard_pay_judge(&calls[i]);
		if (calls[i].verdict == VERDICT_OPEN)
			calls[i].entry->may_pay = true;
	}
}

/*
 * lock_orders locks, in the order of their ids, the orders that some call may pay.
 */
static void
lock_orders(PayCall *calls, int n)
{
	PayCall **sorted = palloc(sizeof(PayCall *) * Max(n, 1));
	bool locked = false;

	for (int i = 0; i < n; i++)
		sorted[i] = &calls[i];
	qsort(sorted, n, sizeof(PayCall *), by_order);
	for (int i = 0; i < n; i++)
	{
		OrderEntry *entry = sorted[i]->entry;

		if (!entry->may_pay || (i > 0 && sorted[i - 1]->entry == entry))
			continue;
		CHECK_FOR_INTERRUPTS();
		/* the calls of one order share its entry: no order is locked twice, nor out of turn */
		Assert(i == 0 ||
			   payguard_text_compare(sorted[i - 1]->order_id, entry->order_id) < 0);
		entry->found = payguard_order_lock_found(&entry->order);
		entry->locked = true;
		locked = true;
	}
	if (locked)
		payguard_store_refresh();
	pfree(sorted);
}

/*
 * lock_customers locks, in the order of their ids, the customers whose orders a policy compares,
 * and has their calls wait for each other: the second of two that look alike must see the first.
 */
static void
lock_customers(PayCall *calls, int n)
{
	PayCall **watched = NULL;
	int nwatched = 0;

	for (int i = 0; i < n; i++)
	{
		OrderEntry *entry = calls[i].entry;
		MemoryContext caller;

		CHECK_FOR_INTERRUPTS();
		if (calls[i].before_order != NULL)
			continue;
		caller = payguard_element_begin(calls[i].memory);
		entry->watched = entry->locked && entry->found &&
						 payguard_policy_looks_for_duplicates(&entry->order);
		payguard_element_end(calls[i].memory, caller);
	}
	for (int i = 0; i < n; i++)
	{
		if (!calls[i].entry->watched)
			continue;
		if (watched == NULL)
			watched = palloc(sizeof(PayCall *) * n);
		watched[nwatched++] = &calls[i];
	}
	if (nwatched == 0)
		return;
	qsort(watched, nwatched, sizeof(PayCall *), by_customer);
	for (int i = 0; i < nwatched; i++)
	{
		const Order *order = &watched[i]->entry->order;

		CHECK_FOR_INTERRUPTS();
		if (i > 0 && payguard_text_equal(order->customer_id,
										 watched[i - 1]->entry->order.customer_id))
			watched[i]->before_customer = watched[i - 1];
		else
			payguard_policy_lock_customer(order->customer_id, order->order_id);
	}
	payguard_store_refresh();
	pfree(watched);
}

/*
 * settle_round answers the calls that no earlier call holds up, and returns their number. What
 * is refused or replayed is answered first, so that all payments that can go in do so in one
 * round: only then are keys taken in their order, whatever the batch looks like. Left to a later
 * round are the next order of a customer where a policy looks for duplicates, and a key whose
 * first call in the batch waited for its order.
 */
static int
settle_round(PayCall *calls, int n, bool first_round)
{
	Round round = {.calls = palloc(sizeof(PayCall *) * n)};
	int nsettled = 0;
	bool written;

	/* A call stands behind those that can hold it up: one pass sees all that follows. */
	for (int i = 0; i < n; i++)
	{
		PayCall *call = &calls[i];

		CHECK_FOR_INTERRUPTS();
		if (!is_next(call))
			continue;

		judge_now(call, first_round);
		if (call->verdict == VERDICT_OPEN)
		{
			call->paying = true;
			call->entry->payer = call;
			round.calls[round.n++] = call;
			continue;
		}
		payguard_pay_make_durable(call);
		settle(call);
		nsettled++;
	}

	qsort(round.calls, round.n, sizeof(PayCall *), by_key);
	round.repeats = holds_up(calls, n);
	written = round.repeats && payguard_store_try(insert_payments, &round);
	if (round.lost)
	{
		/* another call of its order comes forward: all keys in their order again */
		for (int i = 0; i < n; i++)
		{
			calls[i].paying = calls[i].passed = false;
			calls[i].entry->payer = NULL;
		}
		lose_key(round.lost);
		settle(round.lost);
		return nsettled + 1;
	}
	if (!written)
	{
		/* where it was a unique index of the user's own: once more, for its error */
		round.repeats = false;
		insert_payments(&round);
	}

	qsort(round.calls, round.n, sizeof(PayCall *), by_order);
	for (int i = 0; i < round.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (round.calls[i]->verdict == VERDICT_OPEN)
			complete(round.calls[i]);
		settle(round.calls[i]);
	}
	if (round.n > 0)
		payguard_store_refresh();
	pfree(round.calls);
	return nsettled + round.n;
}

/*
 * judge_now judges a call whose turn it is. What the probe has found may be old by now: a payment
 * has changed while we waited for its order, or a key has been spent, by a call of this batch or by
 * others, who need not have changed the order for that.
 */
static void
judge_now(PayCall *call, bool first_round)
{
	bool looked_up = !first_round || (call->key_known && call->entry->locked);

	if (looked_up)
		payguard_pay_find_key(call);

	/*
	 * The refusal of an order that is not locked stands: a newer snapshot may show a channel
	 * that was missing, but the order was read before.
	 */
	if (!call->key_known && !call->entry->may_pay)
		return;
	payguard_pay_judge(call);

	/* who pays hears of others' keys when his own goes in; who is refused has to look */
	if (call->verdict != VERDICT_REFUSE || call->key_known || looked_up)
		return;
	payguard_pay_find_key(call);
	if (call->key_known)
		payguard_pay_judge(call);
}

/*
 * holds_up tells whether a call may pay if an earlier one of its order, which is about to, loses
 * its key to another transaction.
 */
static bool
holds_up(const PayCall *calls, int n)
{
	for (int i = 0; i < n; i++)
	{
		const PayCall *call = &calls[i];
		const PayCall *payer = call->entry->payer;

		if (call->settled || call->paying || call->passed || call->key_known)
			continue;
		Assert(payer == NULL || (payer->paying && !payer->settled));
		if (payer && payer < call && !payguard_text_equal(payer->key, call->key))
			return true;
	}
	return false;
}

/*
 * insert_payments writes a round's payments. Where another transaction has taken a key: the call
 * is judged again; or, in a round that repeats, 23505 for payguard_store_try().
 */
static void
insert_payments(void *argument)
{
	Round *round = argument;

	for (int i = 0; i < round->n; i++)
	{
		PayCall *call = round->calls[i];

		CHECK_FOR_INTERRUPTS();
		/* two batches that take keys in another order could wait for each other */
		Assert(i == 0 || payguard_text_compare(round->calls[i - 1]->key, call->key) < 0);
		Assert(call->verdict == VERDICT_OPEN && call->paying && call->entry->locked);
		payguard_pay_fill(call);
		if (payguard_store_insert_new(&payguard_payments, PAYMENT_BY_KEY, &call->payment))
			continue;
		if (round->repeats)
		{
			round->lost = call;
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION), errmsg("the key is taken")));
		}
		lose_key(call);
	}
}

/*
 * lose_key judges a call whose key another transaction has taken.
 */
static void
lose_key(PayCall *call)
{
	payguard_store_refresh();
	payguard_pay_find_key(call);
	if (!call->key_known)
		payguard_store_suppressed(&payguard_payments);
	payguard_pay_judge(call);
	payguard_pay_make_durable(call);
}

/*
 * is_next tells whether a call can be judged: the earlier calls of its order and of its key
 * are settled. A call whose key is going in does not hold up its order: whatever comes of
 * that, the key is known then, and this call does not pay. Whatever stands before a call that was settled or
 * passed was so, too, when that was done.
 */
static bool
is_next(PayCall *call)
{
	if (call->settled)
		return false;
	if (call->entry->payer || (call->before_order && !call->before_order->settled &&
							   !call->before_order->passed))
		return false;
	if (call->before_customer && !call->before_customer->settled)
		return false;
	if (call->before_key == NULL || call->before_key->settled)
		return true;
	if (call->before_key->paying)
	{
		call->passed = true;
		call->order = call->entry->order;
	}
	return false;
}

/*
 * settle makes a call's verdict final: later calls of the batch do not change its answer.
 */
static void
settle(PayCall *call)
{
	Assert(call->verdict != VERDICT_OPEN && !call->settled);
	if (!call->passed)
		call->order = call->entry->order;
	if (call->entry->payer == call)
		call->entry->payer = NULL;
	call->settled = true;
}

/*
 * payguard_pay_fill makes the payment of a call that may pay: the money itself, or an attempt.
 */
void
payguard_pay_fill(PayCall *call)
{
	const Order *order = &call->entry->order;
	TimestampTz now = GetCurrentTimestamp();
	bool attempt = payguard_pay_is_attempt(call);

	call->payment = (Payment){
		.payment_id = payguard_uuid_v7(payguard_slot_of(order->order_id)),
		.order_id = order->order_id,
		.idempotency_key = call->key,
		.channel = call->channel,
		.amount = order->amount,
		.currency = order->currency,
		.received_amount = attempt ? NO_AMOUNT : order->amount,
		.received_currency = attempt ? NULL : order->currency,
		.amount_verified = !attempt,
		.status = payguard_machine_move(&payguard_payment_machine, PAYMENT_NONE,
										attempt ? PAYMENT_PENDING : PAYMENT_SUCCEEDED),
		.channel_time = NO_TIME,
		.order_version = order->version + 1,
		.request_kind = payguard_text(call->kind),
		.details = call->details,
		.created_at = now,
		.expires_at = attempt ? call->expires_at : NO_TIME,
		.completed_at = attempt ? NO_TIME : now,
		.capture = call->capture,
		.authorized_amount = NO_AMOUNT,
		.capture_amount = NO_AMOUNT,
		.capture_before = NO_TIME,
	};
}

/*
 * complete turns the order of a call whose payment is in to paid, or to paying.
 */
static void
complete(PayCall *call)
{
	MemoryContext caller = payguard_element_begin(call->memory);

	change_order(call);
	payguard_element_end(call->memory, caller);
}

static void
change_order(PayCall *call)
{
	Order *order = &call->entry->order;
	Channel channel;

	Assert(call->entry->locked && order->status == ORDER_UNPAID);
	Assert(call->payment.order_version == order->version + 1);
	call->verdict = VERDICT_DONE;
	if (call->entry->watched)
		payguard_policy_note_customer(order);
	if (call->duplicate)
		payguard_alert_payment("suspected_duplicate", "warning", &call->payment,
							   payguard_json("duplicate_of", 't', call->duplicate, NULL));
	if (payguard_pay_is_attempt(call))
	{
		payguard_order_change(order, ORDER_PAYING, 0, "order.paying",
							  call->payment.payment_id,
							  payguard_json("channel", 't', call->channel,
											"idempotency_key", 't', call->key, NULL));
		if (strcmp(call->kind, "request") == 0)
		{
			payguard_task_schedule("charge", payguard_payment_about(&call->payment),
								   call->payment.channel, GetCurrentTimestamp());
			return;
		}
		payguard_channel_of(&call->payment, &channel);
		payguard_task_schedule(
			"query", payguard_payment_about(&call->payment), channel.name,
			payguard_task_next_query(&channel, 0, GetCurrentTimestamp()));
		return;
	}
	order->payment_id = call->payment.payment_id;
	payguard_order_change(order, ORDER_PAID, FIELD(ORDER_F_PAYMENT_ID), "order.paid",
						  call->payment.payment_id, payguard_order_replaces(order));
}

/*
 * by_order sorts calls by order id, then as they were asked.
 */
static int
by_order(const void *a, const void *b)
{
	const PayCall *left = *(PayCall *const *) a;
	const PayCall *right = *(PayCall *const *) b;

	return then_as_asked(payguard_text_compare(left->order_id, right->order_id), left,
						 right);
}

/*
 * by_key sorts calls by idempotency key, then as they were asked.
 */
static int
by_key(const void *a, const void *b)
{
	const PayCall *left = *(PayCall *const *) a;
	const PayCall *right = *(PayCall *const *) b;

	return then_as_asked(payguard_text_compare(left->key, right->key), left, right);
}

/*
 * by_customer sorts calls by their order's customer, then as they were asked.
 */
static int
by_customer(const void *a, const void *b)
{
	const PayCall *left = *(PayCall *const *) a;
	const PayCall *right = *(PayCall *const *) b;

	return then_as_asked(payguard_text_compare(left->entry->order.customer_id,
											   right->entry->order.customer_id),
						 left, right);
}

/*
 * then_as_asked orders two calls that are compared as order says; equal ones stay as they were asked.
 */
static int
then_as_asked(int order, const PayCall *left, const PayCall *right)
{
	if (order != 0)
		return order;
	return left < right ? -1 : left > right;
}
