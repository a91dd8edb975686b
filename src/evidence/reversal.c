/*
 * reversal.c
 *		record_reversal(): money that a channel gave back on its own.
 *
 * It becomes a refund that nobody asked for, and that has succeeded. As long as no money of its transaction is known,
 * the reversal is kept as a message. If it takes back all of the money that paid an order, and the channel's setting
 * reopen_on says so, the order is to be paid again.
 *
 * Locking: the row lock of the order whose payment it takes back.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/argument.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/rows.h"
#include "store/table.h"
#include "records/assert.h"
#include "records/balance.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/notification.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"
#include "records/result.h"
#include "money/refunding.h"
#include "money/surplus.h"
#include "evidence/received.h"
#include "evidence/reinstatement.h"
#include "evidence/returned.h"
#include "evidence/reversal.h"
#include "evidence/unreadable.h"

static const Given record_reversal_given[] = {
	{"channel", 't'}, {"reversal_id", 't'}, {"channel_txn_id", 't'}, {"kind", 't'},
	{"amount", 'i'},  {"currency", 't'},	{"channel_time", 'd'},
};

static text *read_kind(Unreadable *bad, Datum value, bool isnull);
static Datum keep_unreadable(FunctionCallInfo fcinfo, const Unreadable *bad,
							 const Report *report, text *channel);

/* What a reversal does beside being counted. */
typedef enum Effect
{
	REVERSAL_ALERTS, /* a person looks at it, unless the shop itself gave the money back */
	REVERSAL_REOPENS, /* its order is to be paid again */
	REVERSAL_SETTLES /* money that the order did not need is all back: nobody has to do anything */
} Effect;

static bool insert(Order *order, Payment *payment, const Report *report, Refund *refund);
static bool takes_all(const Payment *payment, const Report *report);
static Effect effect_of(const Order *order, const Payment *payment, const Report *report);
static void follow(Order *order, Payment *payment, const Report *report,
				   const Refund *refund, Effect effect);
static bool has_failed_before(const Payment *payment);
static bool find_failure(const Payment *payment, Refund *refund);
static bool name_failure(const Payment *payment, const Report *report, Refund *refund,
						 Applied *applied);
static bool name_refund(Order *order, const Payment *payment, const Report *report,
						Refund *refund, Applied *applied);
static void reverse_again(Order *order, Payment *payment, const Report *report,
						  Refund *refund, Applied *applied);
static bool may_be_old(const Payment *payment, const Report *report, const Refund *refund,
					   Applied *applied);
static void note_later(const Report *report, Refund *refund, Applied *applied);
static void reinstate_waiting(Order *order, Payment *payment, Refund *refund);

PG_FUNCTION_INFO_V1(payguard_record_reversal);

/*
 * record_reversal(channel, reversal_id, channel_txn_id, kind, amount, currency, channel_time)
 *	→ refund_result
 *
 * kind: refund, chargeback or bank_return. The scripts before 1.2.0 have no channel_time. Errors: 22004 without a
 * channel, reversal_id or channel_txn_id. What cannot be read is stored and alerted. A reversal of a transaction that
 * is not known to have brought money is stored, alerted and returned as "recorded"; it is applied when the money is
 * known.
 */
Datum
payguard_record_reversal(PG_FUNCTION_ARGS)
{
	Unreadable bad = {0};
	text *channel = payguard_read_id(&bad, ARG(0), "channel");
	text *reversal_id = payguard_read_id(&bad, ARG(1), "reversal_id");
	text *txn_id = payguard_read_id(&bad, ARG(2), "channel_txn_id");
	Report report = payguard_report_of(CHANNEL_SUCCEEDED);
	Payment payment;
	Order order = {0};
	Refund refund = {.completed_at = NO_TIME};
	Applied applied;

	report.txn_id = reversal_id;
	report.reversal_of = txn_id;
	report.reversal_kind = read_kind(&bad, ARG(3));
	report.amount = payguard_read_amount(&bad, ARG(4), "amount");
	report.currency = payguard_read_currency(&bad, ARG(5), "currency");
	if (PG_NARGS() > 6)
		report.channel_time = payguard_read_time_or_null(&bad, ARG(6), "channel_time");
	payguard_evidence_begin("record_reversal()");
	if (bad.name)
		return keep_unreadable(fcinfo, &bad, &report, channel);
	if (payguard_refund_find_reversed(channel, txn_id, &payment))
		payguard_payment_lock(payment.payment_id, &order, &payment);
	/* once more: meanwhile the transaction may have become another order's, or a second name of another charge */
	if (order.order_id && payguard_refund_find_reversed(channel, txn_id, &payment) &&
		payguard_text_equal(payment.order_id, order.order_id))
	{
		payguard_refund_reverse(&order, &payment, &report, &refund, &applied);
		payguard_call_end();
		return payguard_refund_result(fcinfo, &refund,
									  !applied.changed && !applied.contradicts,
									  applied.contradicts);
	}
	refund.amount = report.amount;
	refund.currency = report.currency;
	payguard_notification_keep(channel, NULL, NULL, NULL, &report, "unmatched");
	payguard_call_end();
	return payguard_refund_result(fcinfo, &refund, false,
								  "No payment with this transaction is known. The "
								  "reversal is kept until there is one.");
}

/*
 * read_kind reads what kind of reversal it is.
 */
static text *
read_kind(Unreadable *bad, Datum value, bool isnull)
{
	text *kind;

	if (isnull)
	{
		payguard_read_missing(bad, "kind");
		return NULL;
	}
	kind = payguard_read_id(bad, value, isnull, "kind");
	if (kind && !payguard_text_is(kind, "refund") &&
		!payguard_text_is(kind, "chargeback") && !payguard_text_is(kind, "bank_return"))
		payguard_read_bad(bad, "kind", "It is not known.",
						  "Use refund, chargeback or bank_return.");
	return kind;
}

/*
 * keep_unreadable keeps a record_reversal() that cannot be read.
 */
static Datum
keep_unreadable(FunctionCallInfo fcinfo, const Unreadable *bad, const Report *report,
				text *channel)
{
	Payment payment = {0};
	Refund refund = {
		.amount = report->amount,
		.currency = report->amount == NO_AMOUNT ? NULL : report->currency,
		.completed_at = NO_TIME,
	};
	const char *message;

	if (channel && report->reversal_of)
		payguard_refund_find_reversed(channel, report->reversal_of, &payment);
	message = payguard_unreadable_keep(
		bad, "record_reversal",
		payguard_unreadable_json("record_reversal", record_reversal_given,
								 Min(PG_NARGS(), (int) lengthof(record_reversal_given)),
								 fcinfo->args),
		channel, (About){.order_id = payment.order_id, .payment_id = payment.payment_id});
	payguard_call_end();
	return payguard_refund_result(fcinfo, &refund, false, message);
}

/*
 * payguard_refund_find_reversed finds the payment that a reversal of a channel's transaction
 * takes back; false: none is known to have brought money. A second name of a charge leads to
 * the charge.
 */
bool
payguard_refund_find_reversed(text *channel, text *txn_id, Payment *payment)
{
	Payment like = {.channel = channel, .channel_txn_id = txn_id};
	pg_uuid_t *same_as;

	if (!payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, &like, payment))
		return false;
	while ((same_as = payguard_payment_same_charge(payment)) != NULL)
		payguard_payment_must_exist(same_as, payment);
	return payguard_payment_was_received(payment);
}

typedef struct Insertion
{
	Order *order;
	const Payment *payment;
	Refund *refund;
	Effect effect;
} Insertion;

static void
run_insert_refund(void *argument)
{
	Insertion *i = argument;

	if (i->effect != REVERSAL_ALERTS)
		payguard_refund_settle(i->payment);
	payguard_refund_insert(i->order, i->payment, i->refund);
}

/*
 * payguard_refund_reverse records what a channel gave back on its own: the report's transaction
 * is the reversal's id. The caller holds the order's lock.
 */
void
payguard_refund_reverse(Order *order, Payment *payment, const Report *report,
						Refund *refund, Applied *applied)
{
	Refund like = {.channel = payment->channel, .channel_refund_id = report->txn_id};

	Assert(payguard_order_is_locked(order->order_id));
	Assert(payguard_text_equal(payment->order_id, order->order_id));
	Assert(report->reversal_kind != NULL && report->txn_id != NULL);
	*applied = (Applied){0};
	if (payguard_store_find(&payguard_refunds, REFUND_BY_CHANNEL_REFUND, &like, refund))
	{
		if (!payguard_uuid_equal(refund->payment_id, payment->payment_id))
		{
			payguard_returned_contradict(
				refund, report, "refund_mismatch",
				"The channel's refund belongs to another payment.", applied);
			return;
		}
		payguard_refund_must_be_there(refund->refund_id, refund);
		if (refund->status == REFUND_REINSTATED)
			reverse_again(order, payment, report, refund, applied);
		else if (!may_be_old(payment, report, refund, applied))
		{
			payguard_refund_report(order, report, refund, applied);
			note_later(report, refund, applied);
		}
		return;
	}
	if (name_failure(payment, report, refund, applied))
	{
		reinstate_waiting(order, payment, refund);
		return;
	}
	if (name_refund(order, payment, report, refund, applied))
		return;
	if (!insert(order, payment, report, refund))
	{
		/* taken in this very moment, for another payment */
		payguard_store_refresh();
		payguard_refund_reverse(order, payment, report, refund, applied);
		return;
	}
	applied->changed = true;
	reinstate_waiting(order, payment, refund);
}

/*
 * insert records a reversal that is new, and what follows; false: its id is taken.
 */
static bool
insert(Order *order, Payment *payment, const Report *report, Refund *refund)
{
	Order order_before = *order;
	Effect effect = effect_of(order, payment, report);
	Insertion i = {order, payment, refund, effect};

	*refund = (Refund){
		.amount = report->amount,
		.currency = report->currency,
		.status = REFUND_SUCCEEDED,
		.origin = payguard_text("channel"),
		.reversal_kind = report->reversal_kind,
		.channel_refund_id = report->txn_id,
		.channel_time = report->channel_time,
	};
	if (report->txn_id == NULL)
		run_insert_refund(&i);
	else if (!payguard_store_try(run_insert_refund, &i))
	{
		*order = order_before;
		return false;
	}
	follow(order, payment, report, refund, effect);
	return true;
}

/*
 * effect_of tells what a reversal does beside being counted.
 */
static Effect
effect_of(const Order *order, const Payment *payment, const Report *report)
{
	Channel channel;

	if (payguard_refund_takes_rest(payment, report->amount, report->currency))
		return REVERSAL_SETTLES;
	if (!takes_all(payment, report))
		return REVERSAL_ALERTS;
	payguard_channel_of(payment, &channel);
	return order->status == ORDER_PAID &&
				   payguard_uuid_equal(order->payment_id, payment->payment_id) &&
				   payguard_channel_reopens(&channel, payguard_str(report->reversal_kind))
			   ? REVERSAL_REOPENS
			   : REVERSAL_ALERTS;
}

/*
 * follow opens the order again, where that is the effect, and opens the alerts about a reversal that is counted.
 */
static void
follow(Order *order, Payment *payment, const Report *report, const Refund *refund,
	   Effect effect)
{
	Jsonb *details = payguard_refund_report_details(report);

	if (effect == REVERSAL_REOPENS)
		payguard_received_return(order, payment, details);
	if (!payguard_text_is(report->reversal_kind, "refund") && effect != REVERSAL_SETTLES)
		payguard_alert_refund(payguard_refund_reversal_alert(refund),
							  effect == REVERSAL_REOPENS ? "warning" : "critical", refund,
							  details);
	if (!payguard_text_equal(report->currency, payment->received_currency))
		payguard_alert_refund("refund_mismatch", "critical", refund, details);
}

/*
 * takes_all tells whether a reversal takes back all that a payment brought, of which nothing has gone back before,
 * and nothing may be on its way.
 */
static bool
takes_all(const Payment *payment, const Report *report)
{
	RefundBalance balance;
	Refund *refunds;
	int n = payguard_refund_list_of(payment, &refunds);

	for (int i = 0; i < n; i++)
		if (payguard_refund_has_begun(&refunds[i]))
			return false;
	payguard_balance_lock(payment, &balance);
	return balance.refunded == 0 && balance.excess == 0 &&
		   report->amount >= payment->received_amount &&
		   payguard_text_equal(report->currency, payment->received_currency);
}

/*
 * payguard_reversal_of_failed records a reversal because the channel says that a payment has failed after its success.
 * Such a reversal has no id of its own.
 */
void
payguard_reversal_of_failed(Order *order, Payment *payment, const Report *report,
							Applied *applied)
{
	Report reversal = {
		.status = CHANNEL_SUCCEEDED,
		.amount = payment->received_amount,
		.currency = payment->received_currency,
		.code = report->code,
		.message = report->message,
		.note = report->note,
		.reversal_kind = payguard_text("failed"),
		.channel_time = report->channel_time,
	};
	Refund refund;

	Assert(payguard_order_is_locked(order->order_id));
	*applied = (Applied){0};
	if (has_failed_before(payment))
		return;
	if (!insert(order, payment, &reversal, &refund))
		elog(ERROR, "payguard: a reversal without an id is taken");
	applied->changed = true;
}

/*
 * has_failed_before tells whether a payment's failure after its success counts already: it has been said before, or
 * the bank's return of all the money was reported, which is the same.
 */
static bool
has_failed_before(const Payment *payment)
{
	Refund *refunds;
	int n = payguard_refund_list_of(payment, &refunds);

	for (int i = 0; i < n; i++)
	{
		if (refunds[i].status != REFUND_SUCCEEDED)
			continue;
		if (payguard_text_is(refunds[i].reversal_kind, "failed") ||
			(payguard_text_is(refunds[i].reversal_kind, "bank_return") &&
			 refunds[i].returned_amount >= payment->received_amount))
		{
			/* under an older snapshot it may have been undone since */
			payguard_refund_must_be_there(refunds[i].refund_id, &refunds[i]);
			return true;
		}
	}
	return false;
}

/*
 * find_failure reads the reversal that was recorded since a payment failed after its success, and that has no id
 * yet; false: there is none.
 */
static bool
find_failure(const Payment *payment, Refund *refund)
{
	Refund *refunds;
	int n = payguard_refund_list_of(payment, &refunds);

	for (int i = 0; i < n; i++)
		if (payguard_text_is(refunds[i].reversal_kind, "failed") &&
			refunds[i].channel_refund_id == NULL && refunds[i].status == REFUND_SUCCEEDED)
		{
			payguard_refund_must_be_there(refunds[i].refund_id, &refunds[i]);
			*refund = refunds[i];
			return true;
		}
	return false;
}

/*
 * name_failure gives the id of a bank's return to the reversal of a payment that has failed after its success: both are
 * one. false: there is no such reversal without an id.
 */
static bool
name_failure(const Payment *payment, const Report *report, Refund *refund,
			 Applied *applied)
{
	if (!payguard_text_is(report->reversal_kind, "bank_return") ||
		!find_failure(payment, refund) || report->amount != refund->returned_amount)
		return false;
	refund->channel_refund_id = report->txn_id;
	refund->channel_time = report->channel_time;
	payguard_refund_change(refund, refund->status,
						   FIELD(REFUND_F_CHANNEL_REFUND_ID) |
							   FIELD(REFUND_F_CHANNEL_TIME),
						   payguard_refund_report_details(report));
	applied->changed = true;
	return true;
}

/*
 * name_refund finds the refund of ours that a reversal is about: it has the same amount and has succeeded without a
 * name. If there are several nothing is guessed, and the reversal is kept. false: there is none.
 */
static bool
name_refund(Order *order, const Payment *payment, const Report *report, Refund *refund,
			Applied *applied)
{
	Refund *refunds;
	Refund *ours = NULL;
	Channel channel;
	int fitting = 0;
	int n;

	payguard_channel_of(payment, &channel);
	if (!payguard_text_is(report->reversal_kind, "refund") ||
		!payguard_channel_knows_returns(&channel))
		return false;
	n = payguard_refund_list_of(payment, &refunds);
	for (int i = 0; i < n; i++)
		if (refunds[i].status == REFUND_SUCCEEDED && refunds[i].reversal_kind == NULL &&
			refunds[i].channel_refund_id == NULL &&
			refunds[i].returned_amount == report->amount &&
			payguard_text_equal(refunds[i].channel, payment->channel))
		{
			ours = &refunds[i];
			fitting++;
		}
	if (fitting == 0)
		return false;
	payguard_refund_must_be_there(ours->refund_id, ours);
	*refund = *ours;
	if (fitting == 1)
		payguard_refund_report(order, report, refund, applied);
	else
		payguard_returned_contradict(
			refund, report, "refund_mismatch",
			"Several refunds of this amount were made here, and none of them has a name.",
			applied);
	return true;
}

/*
 * reverse_again applies the report of a reversal that was undone before. Only its time tells whether the message is
 * old.
 */
static void
reverse_again(Order *order, Payment *payment, const Report *report, Refund *refund,
			  Applied *applied)
{
	RefundBalance balance;
	Effect effect;

	if (report->channel_time != NO_TIME &&
		(report->channel_time == refund->channel_time ||
		 (refund->reinstated_time != NO_TIME &&
		  report->channel_time <= refund->reinstated_time)))
		return;
	if (report->channel_time == NO_TIME || refund->reinstated_time == NO_TIME)
	{
		payguard_returned_contradict(
			refund, report, "refund_mismatch",
			"The channel has undone it before, and nobody can tell whether this is old.",
			applied);
		return;
	}
	effect = effect_of(order, payment, report);
	if (effect != REVERSAL_ALERTS)
		payguard_refund_settle(payment);
	refund->channel_time = report->channel_time;
	refund->completed_at = GetCurrentTimestamp();
	refund->returned_amount = report->amount;
	refund->amount_verified = true;
	payguard_refund_change(refund, REFUND_SUCCEEDED,
						   FIELD(REFUND_F_CHANNEL_TIME) | FIELD(REFUND_F_COMPLETED_AT) |
							   FIELD(REFUND_F_RETURNED_AMOUNT) |
							   FIELD(REFUND_F_AMOUNT_VERIFIED),
						   payguard_refund_report_details(report));
	payguard_balance_lock(payment, &balance);
	payguard_refund_count_returned(order, payment, refund, &balance,
								   refund->returned_amount);
	follow(order, payment, report, refund, effect);
	applied->changed = true;
}

/*
 * may_be_old tells whether a report of a reversal that has failed may be older than the failure. If nobody can know, it
 * keeps the report. For a refund that the shop has made itself, and with the scripts before 1.2.0, the report counts as
 * the newest word.
 */
static bool
may_be_old(const Payment *payment, const Report *report, const Refund *refund,
		   Applied *applied)
{
	Channel channel;

	payguard_channel_of(payment, &channel);
	if (refund->status != REFUND_FAILED || refund->reversal_kind == NULL ||
		payguard_text_is(refund->reversal_kind, "refund") ||
		!payguard_channel_knows_returns(&channel))
		return false;
	if (report->channel_time != NO_TIME && refund->channel_time != NO_TIME)
		return report->channel_time <= refund->channel_time;
	payguard_returned_contradict(
		refund, report, "refund_mismatch",
		"It has failed since, and nobody can tell whether this is old.", applied);
	return true;
}

/*
 * note_later notes the later time of a reversal that counts. The money was lost again, and the message that the
 * reversal had been undone in between comes later, if at all. By this time it is known to be old.
 */
static void
note_later(const Report *report, Refund *refund, Applied *applied)
{
	if (applied->contradicts || refund->reversal_kind == NULL ||
		refund->status != REFUND_SUCCEEDED || report->channel_time == NO_TIME ||
		(refund->channel_time != NO_TIME && report->channel_time <= refund->channel_time))
		return;
	refund->channel_time = report->channel_time;
	payguard_refund_change(refund, refund->status, FIELD(REFUND_F_CHANNEL_TIME),
						   payguard_refund_report_details(report));
	applied->changed = true;
}

/*
 * reinstate_waiting applies the reinstatement of a reversal that came before it.
 */
static void
reinstate_waiting(Order *order, Payment *payment, Refund *refund)
{
	Notification *waiting;
	int n;

	payguard_store_refresh(); /* it may have come while we waited for whoever had the same id */
	n = payguard_notification_list_unmatched(refund->channel, refund->channel_refund_id,
											 &waiting);
	for (int i = 0; i < n; i++)
	{
		Report report;
		Applied applied = {0};

		if (!payguard_text_is(waiting[i].reversal_kind, REINSTATEMENT) ||
			!payguard_store_lock(&payguard_notifications, NOTIFICATION_BY_EVENT,
								 &waiting[i], &waiting[i]) ||
			!payguard_text_is(waiting[i].result, "unmatched"))
			continue;
		payguard_notification_report(&waiting[i], &report);
		payguard_reinstate(order, payment, &report, refund, &applied);
		waiting[i].order_id = order->order_id;
		waiting[i].payment_id = payment->payment_id;
		payguard_notification_set_result(&waiting[i], &applied);
		payguard_notification_resolve_unmatched(&waiting[i]);
	}
}
