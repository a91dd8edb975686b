/*
 * report.c
 *		What a channel says of a payment or a refund, read and told.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#include "rules/decide.h"
#include "base/argument.h"
#include "base/json.h"
#include "base/text.h"
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
 * payguard_report_details tells in an event what a report said.
 */
Jsonb *
payguard_report_details(const Report *report)
{
	return payguard_json(
		"channel_status", 's', payguard_channel_status_name(report->status),
		"channel_txn_id", 't', report->txn_id, "amount", 'i', report->amount, "currency",
		't', report->currency, "code", 't', report->code, "message", 't', report->message,
		"channel_time", 'd', report->channel_time, "note", 't', report->note, NULL);
}
