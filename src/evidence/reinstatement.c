/*
 * reinstatement.c
 *		record_reinstatement(): a channel gave the shop money again that it had taken back.
 *
 * A dispute was won, for example. The reversal counts no more. A payment that was returned pays its order again
 * where that still waits for money; otherwise its money is surplus, and a person decides. Where the reversal is not
 * known yet the message is kept until it is.
 *
 * Locking: the row lock of the order whose payment was taken back.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/argument.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/rows.h"
#include "records/alert.h"
#include "records/assert.h"
#include "records/balance.h"
#include "records/call.h"
#include "records/notification.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"
#include "records/result.h"
#include "evidence/here.h"
#include "evidence/reinstatement.h"
#include "evidence/returned.h"
#include "evidence/unreadable.h"

static const Given record_reinstatement_given[] = {
	{"channel", 't'},
	{"reversal_id", 't'},
	{"channel_time", 'd'},
};

static Datum keep_unreadable(FunctionCallInfo fcinfo, const Unreadable *bad,
							 text *channel);
static bool is_old(const Refund *refund, const Report *report);
static void count_no_more(Order *order, const Payment *payment, const Report *report,
						  Refund *refund);

PG_FUNCTION_INFO_V1(payguard_record_reinstatement);

/*
 * record_reinstatement(channel, reversal_id, channel_time) → refund_result
 *
 * Errors: 22004 without a channel or reversal_id. What cannot be read is stored and alerted. What undoes a reversal
 * that is not known is stored, alerted and returned as "recorded"; it is applied with the reversal.
 */
Datum
payguard_record_reinstatement(PG_FUNCTION_ARGS)
{
	Unreadable bad = {0};
	text *channel = payguard_read_id(&bad, ARG(0), "channel");
	text *reversal_id = payguard_read_id(&bad, ARG(1), "reversal_id");
	Report report = payguard_report_of(CHANNEL_SUCCEEDED);
	Refund like = {.channel = channel, .channel_refund_id = reversal_id};
	Refund refund = {.created_at = NO_TIME, .completed_at = NO_TIME, .amount = NO_AMOUNT};
	Order order;
	Payment payment;
	Applied applied;

	report.txn_id = reversal_id;
	report.reversal_of = reversal_id;
	report.reversal_kind = payguard_text(REINSTATEMENT);
	report.channel_time = payguard_read_time_or_null(&bad, ARG(2), "channel_time");
	payguard_evidence_begin("record_reinstatement()");
	if (bad.name)
		return keep_unreadable(fcinfo, &bad, channel);
	if (!payguard_store_find(&payguard_refunds, REFUND_BY_CHANNEL_REFUND, &like, &refund))
	{
		refund =
			(Refund){.created_at = NO_TIME, .completed_at = NO_TIME, .amount = NO_AMOUNT};
		payguard_notification_keep(channel, NULL, NULL, NULL, &report, "unmatched");
		payguard_call_end();
		return payguard_refund_result(
			fcinfo, &refund, false,
			"The reversal is not known. The reinstatement is kept until it is.");
	}
	payguard_refund_lock(refund.refund_id, &order, &payment, &refund);
	payguard_reinstate(&order, &payment, &report, &refund, &applied);
	payguard_call_end();
	return payguard_refund_result(
		fcinfo, &refund, !applied.changed && !applied.contradicts, applied.contradicts);
}

/*
 * keep_unreadable keeps a record_reinstatement() that cannot be read.
 */
static Datum
keep_unreadable(FunctionCallInfo fcinfo, const Unreadable *bad, text *channel)
{
	Refund refund = {.created_at = NO_TIME, .completed_at = NO_TIME, .amount = NO_AMOUNT};
	const char *message = payguard_unreadable_keep(
		bad, "record_reinstatement",
		payguard_unreadable_json("record_reinstatement", record_reinstatement_given,
								 lengthof(record_reinstatement_given), fcinfo->args),
		channel, ABOUT_NOTHING);

	payguard_call_end();
	return payguard_refund_result(fcinfo, &refund, false, message);
}

/*
 * payguard_reinstate undoes a reversal. The caller holds the order's lock.
 */
void
payguard_reinstate(Order *order, Payment *payment, const Report *report, Refund *refund,
				   Applied *applied)
{
	Assert(payguard_order_is_locked(order->order_id));
	Assert(payguard_uuid_equal(refund->payment_id, payment->payment_id));
	*applied = (Applied){0};
	if (refund->reversal_kind == NULL)
	{
		payguard_returned_contradict(refund, report, "refund_mismatch",
									 "It is a refund that was asked for here.", applied);
		return;
	}
	if (refund->status == REFUND_REINSTATED && report->channel_time != NO_TIME &&
		(refund->reinstated_time == NO_TIME ||
		 report->channel_time > refund->reinstated_time))
	{
		/* what is older than this is known to be */
		refund->reinstated_time = report->channel_time;
		payguard_refund_change(refund, REFUND_REINSTATED, FIELD(REFUND_F_REINSTATED_TIME),
							   payguard_refund_report_details(report));
		applied->changed = true;
	}
	if (refund->status != REFUND_SUCCEEDED || is_old(refund, report))
		return;
	if (refund->reinstated_time != NO_TIME && report->channel_time == NO_TIME)
	{
		payguard_returned_contradict(refund, report, "refund_mismatch",
									 "It was undone and made again before, and nobody "
									 "can tell whether this is old.",
									 applied);
		return;
	}
	count_no_more(order, payment, report, refund);
	applied->changed = true;
	payguard_money_is_here(order, payment, report);
}

/*
 * is_old tells whether a reinstatement was before the reversal that is known: it undid an earlier one.
 */
static bool
is_old(const Refund *refund, const Report *report)
{
	return report->channel_time != NO_TIME && refund->channel_time != NO_TIME &&
		   report->channel_time < refund->channel_time;
}

/*
 * count_no_more takes a reversal back: its booking and its alert.
 */
static void
count_no_more(Order *order, const Payment *payment, const Report *report, Refund *refund)
{
	RefundBalance balance;
	text *cause = payguard_text(payguard_uuid_str(refund->refund_id));
	text *why = payguard_text("The channel has undone it.");

	payguard_balance_lock(payment, &balance);
	payguard_returned_uncount(order, payment, refund, &balance);
	refund->returned_amount = NO_AMOUNT;
	refund->reinstated_time = report->channel_time;
	refund->completed_at = GetCurrentTimestamp();
	payguard_refund_change(refund, REFUND_REINSTATED,
						   FIELD(REFUND_F_RETURNED_AMOUNT) |
							   FIELD(REFUND_F_REINSTATED_TIME) |
							   FIELD(REFUND_F_COMPLETED_AT),
						   payguard_refund_report_details(report));
	payguard_alert_resolve(payguard_refund_reversal_alert(refund), cause, why);
	payguard_alert_resolve("refund_exceeds_payment", cause, why);
}
