/*
 * reversal.c
 *		record_reversal(): money that a channel gave back on its own.
 *
 * It becomes a refund that nobody asked for, and has succeeded. Where no money of its transaction is known
 * it is kept as a message until it is.
 *
 * Locking: the row lock of the order whose payment it takes back.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/argument.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/rows.h"
#include "records/assert.h"
#include "records/call.h"
#include "records/notification.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"
#include "records/result.h"
#include "money/refunding.h"
#include "evidence/returned.h"
#include "evidence/reversal.h"
#include "evidence/unreadable.h"

static const Given record_reversal_given[] = {
	{"channel", 't'}, {"reversal_id", 't'}, {"channel_txn_id", 't'},
	{"kind", 't'},	  {"amount", 'i'},		{"currency", 't'},
};

static text *read_kind(Unreadable *bad, Datum value, bool isnull);
static Datum keep_unreadable(FunctionCallInfo fcinfo, const Unreadable *bad,
							 const Report *report, text *channel);

PG_FUNCTION_INFO_V1(payguard_record_reversal);

/*
 * record_reversal(channel, reversal_id, channel_txn_id, kind, amount, currency)
 *	→ payguard_refund_result
 *
 * kind: refund, chargeback or bank_return. Errors: 22004 without a channel, reversal_id or channel_txn_id.
 * What cannot be read is stored and alerted. A reversal of a transaction that is not known to have brought money
 * is stored, alerted and returned as "recorded"; it is applied when the money is known.
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
	payguard_evidence_begin("record_reversal()");
	if (bad.name)
		return keep_unreadable(fcinfo, &bad, &report, channel);
	if (payguard_refund_find_reversed(channel, txn_id, &payment))
		payguard_payment_lock(payment.payment_id, &order, &payment);
	/* once more: while we waited, it may have become a second name of another, or another order's */
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
	return payguard_refund_result(
		fcinfo, &refund, false,
		"No money of the transaction is known; the reversal is kept until "
		"it is.");
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
								 lengthof(record_reversal_given), fcinfo->args),
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
	return payguard_payment_brought_money(payment);
}

typedef struct Insertion
{
	Order *order;
	const Payment *payment;
	Refund *refund;
} Insertion;

static void
run_insert_refund(void *argument)
{
	Insertion *i = argument;

	payguard_refund_insert(i->order, i->payment, i->refund);
}

/*
 * payguard_refund_reverse records what a channel gave back on its own: the report's transaction
 * is the reversal's id. The caller holds the order's lock.
 */
void
payguard_refund_reverse(Order *order, const Payment *payment, const Report *report,
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
			payguard_returned_contradict(
				refund, report, "refund_mismatch",
				"The channel's refund belongs to another payment.", applied);
		else
		{
			payguard_refund_must_be_there(refund->refund_id, refund);
			payguard_refund_report(order, report, refund, applied);
		}
		return;
	}
	*refund = (Refund){
		.amount = report->amount,
		.currency = report->currency,
		.status = REFUND_SUCCEEDED,
		.origin = payguard_text("channel"),
		.reversal_kind = report->reversal_kind,
		.channel_refund_id = report->txn_id,
	};
	if (!payguard_store_try(run_insert_refund, &(Insertion){order, payment, refund}))
	{
		/* taken in this very moment, for another payment */
		payguard_store_refresh();
		payguard_refund_reverse(order, payment, report, refund, applied);
		return;
	}
	applied->changed = true;
	if (!payguard_text_is(report->reversal_kind, "refund"))
		payguard_alert_refund(payguard_str(report->reversal_kind), "critical", refund,
							  payguard_refund_report_details(report));
	if (!payguard_text_equal(report->currency, payment->received_currency))
		payguard_alert_refund("refund_mismatch", "critical", refund,
							  payguard_refund_report_details(report));
}
