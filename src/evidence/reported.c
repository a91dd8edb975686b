/*
 * reported.c
 *		report_payment() and record_payment(): what a channel says of a payment.
 *
 * The first is about an attempt of ours, the second about money that came without one. A report about a
 * payment or an order that is not known is kept as a message, and applied when it is.
 *
 * Locking: the order's row lock. In READ COMMITTED a report that changes nothing is answered without it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/argument.h"
#include "base/text.h"
#include "base/value.h"
#include "store/durable.h"
#include "store/open.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/notification.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"
#include "records/result.h"
#include "evidence/apply.h"
#include "evidence/message.h"
#include "evidence/unreadable.h"

static const Given report_payment_given[] = {
	{"payment_id", 'u'}, {"channel_status", 't'}, {"channel_txn_id", 't'},
	{"amount", 'i'},	 {"currency", 't'},		  {"code", 't'},
	{"message", 't'},	 {"channel_time", 'd'},	  {"capture_before", 'd'},
};
static const Given record_payment_given[] = {
	{"order_id", 't'}, {"channel", 't'},  {"channel_txn_id", 't'},
	{"amount", 'i'},   {"currency", 't'}, {"channel_time", 'd'},
};

static Datum keep_unreadable_report(FunctionCallInfo fcinfo, const Unreadable *bad,
									pg_uuid_t *payment_id);
static Datum keep_unreadable_payment(FunctionCallInfo fcinfo, const Unreadable *bad,
									 text *order_id, const text *channel);
static bool changes_nothing(const Payment *payment, const Report *report);

PG_FUNCTION_INFO_V1(payguard_report_payment);

/*
 * report_payment(payment_id, channel_status, channel_txn_id, amount, currency, code, message,
 *				  channel_time, capture_before) → payment_result
 *
 * capture_before: until when money that is reserved can be taken; the scripts before 1.2.0 have no such argument.
 * amount: minor units, as the channel says. Errors: 22004 without a payment_id. What cannot be read is kept and
 * alerted. An unknown payment, a reused transaction and a contradiction are stored, alerted and
 * returned with the outcome "recorded".
 */
Datum
payguard_report_payment(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	Unreadable bad = {0};
	Report report = payguard_report_read(&bad, &fcinfo->args[1], "channel_txn_id");
	Order order;
	Payment payment;
	Applied applied = {0};

	report.channel_time = payguard_read_time_or_null(&bad, ARG(7), "channel_time");
	if (PG_NARGS() > 8)
		report.capture_before =
			payguard_read_time_or_null(&bad, ARG(8), "capture_before");
	payguard_evidence_begin("report_payment()");
	if (bad.name)
		return keep_unreadable_report(fcinfo, &bad, payment_id);
	if (!payguard_payment_find(payment_id, &payment))
	{
		payguard_notification_keep(NULL, NULL, payment_id, NULL, &report, "unmatched");
		payguard_call_end();
		return payguard_result_recorded(
			fcinfo, NULL, payment_id,
			"The payment is not known; the report is kept for a "
			"person to look at.");
	}
	/* an older snapshot does not show whether it does */
	if (!IsolationUsesXactSnapshot() && changes_nothing(&payment, &report) &&
		payguard_order_find(payment.order_id, &order))
	{
		payguard_store_make_durable(&payment);
		payguard_store_make_durable(&order);
	}
	else
	{
		payguard_payment_lock(payment_id, &order, &payment);
		payguard_evidence_apply(&order, &payment, &report, &applied);
		payguard_notification_match(&order, &payment, &applied);
	}
	payguard_call_end();
	return payguard_result_of_evidence(fcinfo, &order, &payment, &applied);
}

/*
 * keep_unreadable_report keeps a report_payment() that cannot be read.
 */
static Datum
keep_unreadable_report(FunctionCallInfo fcinfo, const Unreadable *bad,
					   pg_uuid_t *payment_id)
{
	Payment payment;
	bool known = payguard_payment_find(payment_id, &payment);
	text *order_id = known ? payment.order_id : NULL;
	const char *message = payguard_unreadable_keep(
		bad, "report_payment",
		payguard_unreadable_json("report_payment", report_payment_given,
								 Min(PG_NARGS(), (int) lengthof(report_payment_given)),
								 fcinfo->args),
		known ? payment.channel : NULL,
		(About){.order_id = order_id, .payment_id = payment_id});

	payguard_call_end();
	return payguard_result_recorded(fcinfo, order_id, payment_id, message);
}

/*
 * changes_nothing tells whether a report certainly repeats what is known.
 */
static bool
changes_nothing(const Payment *payment, const Report *report)
{
	if (report->txn_id && !payguard_text_equal(report->txn_id, payment->channel_txn_id))
		return false;
	switch (payment->status)
	{
		case PAYMENT_FAILED:
			/* where the channel goes on with it, it is asked */
			return report->status != CHANNEL_SUCCEEDED &&
				   report->status != CHANNEL_PENDING &&
				   report->status != CHANNEL_PROCESSING &&
				   report->status != CHANNEL_AUTHORIZED;
		case PAYMENT_SUCCEEDED:
		case PAYMENT_SURPLUS:
			return report->status == CHANNEL_SUCCEEDED &&
				   (report->amount == NO_AMOUNT ||
					(payment->amount_verified &&
					 report->amount == payment->received_amount)) &&
				   (report->currency == NULL ||
					payguard_text_equal(report->currency, payment->received_currency)) &&
				   (report->channel_time == NO_TIME || payment->channel_time != NO_TIME);
		default:
			return false;
	}
}

PG_FUNCTION_INFO_V1(payguard_record_payment);

/*
 * record_payment(order_id, channel, channel_txn_id, amount, currency, channel_time)
 *	→ payment_result
 *
 * Errors: 22004 without an order_id, channel or channel_txn_id. What cannot be read, and an unknown order or
 * channel, is stored, alerted and returned with the outcome "recorded".
 */
Datum
payguard_record_payment(PG_FUNCTION_ARGS)
{
	Unreadable bad = {0};
	text *order_id = payguard_read_id(&bad, ARG(0), "order_id");
	text *channel_name = payguard_read_id(&bad, ARG(1), "channel");
	Report report = payguard_report_of(CHANNEL_SUCCEEDED);
	Channel channel;
	Order order;
	Payment payment;
	Applied applied = {0};

	report.txn_id = payguard_read_id(&bad, ARG(2), "channel_txn_id");
	report.amount = payguard_read_amount(&bad, ARG(3), "amount");
	report.currency = payguard_read_currency(&bad, ARG(4), "currency");
	report.channel_time = payguard_read_time_or_null(&bad, ARG(5), "channel_time");
	payguard_evidence_begin("record_payment()");
	if (bad.name)
		return keep_unreadable_payment(fcinfo, &bad, order_id, channel_name);
	if (!payguard_channel_find(channel_name, &channel) ||
		!payguard_order_find(order_id, &order))
	{
		payguard_notification_keep(channel_name, order_id, NULL, NULL, &report,
								   "unmatched");
		payguard_call_end();
		return payguard_result_recorded(
			fcinfo, order_id, NULL,
			"The order or the channel is not known; the report is "
			"kept for a person to look at.");
	}
	payguard_order_lock_known(order_id, &order);
	payguard_store_refresh();
	payguard_record_apply(&order, &channel, &report, &payment, &applied);
	payguard_notification_match(&order, &payment, &applied);
	payguard_call_end();
	/* whose transaction it is, is not this caller's business */
	if (!payguard_text_equal(payment.order_id, order_id))
		return payguard_result_recorded(fcinfo, order_id, NULL, applied.contradicts);
	return payguard_result_of_evidence(fcinfo, &order, &payment, &applied);
}

/*
 * keep_unreadable_payment keeps a record_payment() that cannot be read.
 */
static Datum
keep_unreadable_payment(FunctionCallInfo fcinfo, const Unreadable *bad, text *order_id,
						const text *channel)
{
	Order order;
	bool known = order_id && payguard_order_find(order_id, &order);
	const char *message = payguard_unreadable_keep(
		bad, "record_payment",
		payguard_unreadable_json("record_payment", record_payment_given,
								 lengthof(record_payment_given), fcinfo->args),
		channel, (About){.order_id = known ? order_id : NULL});

	payguard_call_end();
	return payguard_result_recorded(fcinfo, order_id, NULL, message);
}
