/*
 * report.h
 *		What a channel says of a payment or a refund.
 */
#ifndef PAYGUARD_RECORDS_REPORT_H
#define PAYGUARD_RECORDS_REPORT_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "base/argument.h"

/* What a channel says of a payment or a refund. */
typedef struct Report
{
	ChannelStatus status;
	text *txn_id;
	int64 amount;
	text *currency;
	text *code;
	text *message;
	TimestampTz channel_time;
	text *note;			 /* the operator's, where one gives his word for the channel */
	text *reversal_kind; /* money that the channel gave back on its own ... */
	text *reversal_of;	 /* ... of this transaction; txn_id is the reversal's */
	bool assumed;		 /* the channel has not named the amount: it is what was asked */
	bool fresh;			 /* who says it has asked since the payment's last change */
	bool queried;		 /* and was asked to do nothing else */
	TimestampTz capture_before; /* until when reserved money can be taken */
	bool corrects;		 /* an operator believes it more than what was reported before */
	bool give_back;		 /* an operator wants the money to go back: it pays no order */
	const char *because; /* decided: why its money is surplus; else NULL */
} Report;

/* What became of a piece of evidence. */
typedef struct Applied
{
	bool changed;			 /* something was written; otherwise it was a replay */
	const char *contradicts; /* why it could not be applied: it is stored and alerted */
	pg_uuid_t *
		now_known; /* the payment whose transaction, or its money, is known from now on */
} Applied;

extern ChannelStatus payguard_arg_channel_status(Datum value, bool isnull,
												 const char *name);
extern ChannelStatus payguard_read_channel_status(Unreadable *bad, Datum value,
												  bool isnull, const char *name);
extern Report payguard_report_of(ChannelStatus status);
extern Report payguard_report_not_sent(text *why);
extern Report payguard_report_read(Unreadable *bad, const NullableDatum *args,
								   const char *txn_name);
extern Jsonb *payguard_report_details(const Report *report);
extern Jsonb *payguard_refund_report_details(const Report *report);

#endif
