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
	return payguard_read_channel_status(NULL, value, isnull, name);
}

/*
 * payguard_read_channel_status is payguard_arg_channel_status for evidence.
 */
ChannelStatus
payguard_read_channel_status(Unreadable *bad, Datum value, bool isnull, const char *name)
{
	text *given;
	ChannelStatus status;

	if (isnull)
	{
		payguard_read_missing(bad, name);
		return CHANNEL_NONE;
	}
	given = payguard_read_id(bad, value, isnull, name);
	if (given == NULL)
		return CHANNEL_NONE;
	status = payguard_channel_status(payguard_str(given));
	if (status == CHANNEL_NONE)
		payguard_read_bad(bad, name, "It is not known.",
						  "Use succeeded, failed, closed, pending, processing, "
						  "authorized, unknown or not_found.");
	return status;
}

/*
 * payguard_report_of makes a report that says a status and nothing else.
 */
Report
payguard_report_of(ChannelStatus status)
{
	return (Report){.status = status,
					.amount = NO_AMOUNT,
					.channel_time = NO_TIME,
					.capture_before = NO_TIME};
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
payguard_report_read(Unreadable *bad, const NullableDatum *args, const char *txn_name)
{
#define OF(n) args[n].value, args[n].isnull
	Report report = {.channel_time = NO_TIME, .capture_before = NO_TIME};

	/* one after the other: the first that cannot be read is told */
	report.status = payguard_read_channel_status(bad, OF(0), "channel_status");
	report.txn_id = payguard_read_id_or_null(bad, OF(1), txn_name);
	report.amount = payguard_read_amount_or_null(bad, OF(2), "amount");
	report.currency = payguard_read_currency_or_null(bad, OF(3), "currency");
	report.code = payguard_read_id_or_null(bad, OF(4), "code");
	report.message = payguard_read_note_or_null(bad, OF(5), "message");
	return report;
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
		"channel_time", 'd', report->channel_time, "capture_before", 'd',
		report->status == CHANNEL_AUTHORIZED ? report->capture_before : NO_TIME, "note",
		't', report->note, "because", 's', report->because, NULL);
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
