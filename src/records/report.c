/*
 * report.c
 *		What a channel says of a payment or a refund: read from arguments, made for what we know ourselves, and
 *		told in events.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "rules/decide.h"
#include "base/argument.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "records/report.h"

/*
 * payguard_arg_channel_status reads what a channel says.
 */
ChannelStatus
payguard_arg_channel_status(Datum value, bool isnull, const char *name)
{
	ChannelStatus status =
		payguard_channel_status(payguard_str(payguard_arg_id(value, isnull, name)));

	if (status == CHANNEL_NONE)
		payguard_arg_bad(name, "It is not known.",
						 "Use succeeded, failed, closed, pending, unknown or not_found.");
	return status;
}

/*
 * payguard_report_of makes a report that says a status and nothing else.
 */
Report
payguard_report_of(ChannelStatus status)
{
	return (Report){.status = status, .amount = NO_AMOUNT, .channel_time = NO_TIME};
}

/*
 * payguard_report_not_sent makes the report of an attempt that ends before anything was sent to its
 * channel. why: for people, or NULL.
 */
Report
payguard_report_not_sent(text *why)
{
	Report report = payguard_report_of(CHANNEL_FAILED);

	report.code = payguard_text("not_sent");
	report.message = why;
	return report;
}

/*
 * payguard_report_read reads a report from the arguments channel_status, the channel's transaction,
 * amount, currency, code and message. txn_name: what the transaction's argument is called.
 */
Report
payguard_report_read(const NullableDatum *args, const char *txn_name)
{
#define OF(n) args[n].value, args[n].isnull
	return (Report){
		.status = payguard_arg_channel_status(OF(0), "channel_status"),
		.txn_id = payguard_arg_id_or_null(OF(1), txn_name),
		.amount = payguard_arg_amount_or_null(OF(2), "amount"),
		.currency = payguard_arg_currency_or_null(OF(3), "currency"),
		.code = payguard_arg_id_or_null(OF(4), "code"),
		.message = payguard_arg_note_or_null(OF(5), "message"),
		.channel_time = NO_TIME,
	};
#undef OF
}

/*
 * payguard_report_details tells in an event what a report said.
 */
Jsonb *
payguard_report_details(const Report *report)
{
	return payguard_json(
		"channel_status", 's', payguard_channel_status_name(report->status),
		"channel_txn_id", 't', report->txn_id, "amount", 'i', report->amount, "currency",
		't', report->currency, "code", 't', report->code, "message", 't', report->message,
		"channel_time", 'd', report->channel_time, "note", 't', report->note, "because",
		's', report->because, NULL);
}

/*
 * payguard_refund_report_details tells in an event what a report of a refund said.
 */
Jsonb *
payguard_refund_report_details(const Report *report)
{
	return payguard_json("channel_status", 's',
						 payguard_channel_status_name(report->status),
						 "channel_refund_id", 't', report->txn_id, "amount", 'i',
						 report->amount, "currency", 't', report->currency, "code", 't',
						 report->code, "message", 't', report->message, "note", 't',
						 report->note, "reversal_kind", 't', report->reversal_kind, NULL);
}
