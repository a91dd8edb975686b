/*
 * returned.c
 *		report_refund(): money that went back, or did not.
 *
 * A report that contradicts what is known is kept and alerted, and changes nothing. What went back beyond
 * what came is counted as excess.
 *
 * Locking: the order's row lock, then the payment's row in refund_balances.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/argument.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "records/alert.h"
#include "records/approval.h"
#include "records/assert.h"
#include "records/balance.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/event.h"
#include "records/notification.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"
#include "records/result.h"
#include "records/task.h"
#include "money/refunding.h"
#include "money/surplus.h"
#include "evidence/here.h"
#include "evidence/returned.h"
#include "evidence/unreadable.h"

static const Given report_refund_given[] = {
	{"refund_id", 'u'}, {"channel_status", 't'}, {"channel_refund_id", 't'},
	{"amount", 'i'},	{"currency", 't'},		 {"code", 't'},
	{"message", 't'},
};

/* The event of a refund's last success, if that was a person's word. */
static const RowQuery settled_by_hand = {
	"order_id " OP_EQ " $1 AND event_id " OP_EQ
	" (SELECT pg_catalog.max(e.event_id) FROM "
	"payguard.events e WHERE e.order_id " OP_EQ " $1 AND e.refund_id " OP_EQ
	" $2 AND e.kind " OP_EQ " 'refund.succeeded') AND (details OPERATOR(pg_catalog.->>) "
	"'note') IS NOT NULL",
	{TEXTOID, UUIDOID, InvalidOid}};

static Datum keep_unreadable_report(FunctionCallInfo fcinfo, const Unreadable *bad,
									const Refund *refund);
static bool counts_no_more(const Refund *refund, const Report *report, Applied *applied);
static bool may_be_echo(const Payment *payment, const Refund *reversal);
static bool was_held_by(const Refund *refund, const Refund *echo);
static void note_here_again(Order *order, Payment *payment, const Refund *refund,
							const Report *report, const Applied *applied);
static void note_returned(Order *order, const Payment *payment, Refund *refund,
						  const Report *report, Applied *applied);
static void check_returned(Order *order, const Payment *payment, const Refund *refund,
						   const Report *report);
static void fill_in(Order *order, const Payment *payment, Refund *refund,
					const Report *report, Applied *applied);
static void alert_made_twice(const Refund *refund, const Report *report);
static void note_not_returned(Order *order, const Payment *payment, Refund *refund,
							  const Report *report, Applied *applied);
static void alert_taken_again(const Payment *payment, const Refund *refund,
							  const Report *report);
static void note_open(Refund *refund, const Report *report, Applied *applied);

/*
 * payguard_returned_uncount takes back what payguard_refund_count_returned counted, excess first. What is left is
 * added up anew: from a sum that has stopped at the largest number nothing can be subtracted.
 */
void
payguard_returned_uncount(Order *order, const Payment *payment, const Refund *refund,
						  RefundBalance *balance)
{
	int64 total = 0;
	int64 of_order = 0;
	Refund *refunds;
	int n;

	payguard_store_refresh(); /* to see what this call has written */
	n = payguard_refund_list_of(payment, &refunds);
	for (int i = 0; i < n; i++)
	{
		if (refunds[i].status != REFUND_SUCCEEDED ||
			payguard_uuid_equal(refunds[i].refund_id, refund->refund_id))
			continue;
		total = payguard_balance_add(total, refunds[i].returned_amount);
		if (payguard_refund_counts_for_order(order, payment, &refunds[i]))
			of_order = payguard_balance_add(of_order, refunds[i].returned_amount);
	}
	balance->refunded = Min(balance->refunded, total);
	balance->excess = total - balance->refunded;
	payguard_balance_store(payment, balance);
	if (payguard_refund_counts_for_order(order, payment, refund))
		payguard_refund_change_order(order, payment, of_order);
}

PG_FUNCTION_INFO_V1(payguard_report_refund);

/*
 * report_refund(refund_id, channel_status, channel_refund_id, amount, currency, code, message)
 *	→ refund_result
 *
 * Errors: 22004 without a refund_id. What cannot be read, an unknown refund and a contradiction are
 * stored, alerted and returned with the outcome "recorded".
 */
Datum
payguard_report_refund(PG_FUNCTION_ARGS)
{
	pg_uuid_t *refund_id = payguard_arg_uuid(ARG(0), "refund_id");
	Unreadable bad = {0};
	Report report = payguard_report_read(&bad, &fcinfo->args[1], "channel_refund_id");
	Refund like = {
		.refund_id = refund_id, .created_at = NO_TIME, .completed_at = NO_TIME};
	Refund refund;
	Payment payment;
	Order order;
	Applied applied;

	payguard_evidence_begin("report_refund()");
	if (!payguard_store_find(&payguard_refunds, REFUND_BY_ID, &like, &refund))
	{
		if (bad.name)
			return keep_unreadable_report(fcinfo, &bad, &like);
		payguard_notification_keep(NULL, NULL, NULL, refund_id, &report, "unmatched");
		payguard_call_end();
		return payguard_refund_result(
			fcinfo, &like, false,
			"The refund is not known; the report is kept for a person to "
			"look at.");
	}
	if (bad.name)
		return keep_unreadable_report(fcinfo, &bad, &refund);
	payguard_refund_lock(refund_id, &order, &payment, &refund);
	payguard_refund_report(&order, &report, &refund, &applied);
	payguard_call_end();
	return payguard_refund_result(
		fcinfo, &refund, !applied.changed && !applied.contradicts, applied.contradicts);
}

/*
 * keep_unreadable_report keeps a report_refund() that cannot be read. refund: as it is on record, or its id alone.
 */
static Datum
keep_unreadable_report(FunctionCallInfo fcinfo, const Unreadable *bad,
					   const Refund *refund)
{
	const char *message = payguard_unreadable_keep(
		bad, "report_refund",
		payguard_unreadable_json("report_refund", report_refund_given,
								 lengthof(report_refund_given), fcinfo->args),
		refund->channel,
		(About){.order_id = refund->order_id,
				.payment_id = refund->payment_id,
				.refund_id = refund->refund_id});

	payguard_call_end();
	return payguard_refund_result(fcinfo, refund, false, message);
}

typedef struct Reporting
{
	Order *order;
	const Payment *payment;
	const Report *report;
	Refund *refund;
	Applied *applied;
} Reporting;

static void
run_report(void *argument)
{
	Reporting *r = argument;

	switch (r->report->status)
	{
		case CHANNEL_SUCCEEDED:
			note_returned(r->order, r->payment, r->refund, r->report, r->applied);
			return;
		case CHANNEL_FAILED:
		case CHANNEL_CLOSED:
			note_not_returned(r->order, r->payment, r->refund, r->report, r->applied);
			return;
		case CHANNEL_PENDING:
		case CHANNEL_PROCESSING:
		case CHANNEL_AUTHORIZED:
		case CHANNEL_UNKNOWN:
		case CHANNEL_NOT_FOUND:
			note_open(r->refund, r->report, r->applied);
			return;
		case CHANNEL_NONE:
		case N_CHANNEL_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no channel status", (int) r->report->status);
}

/*
 * counts_no_more tells whether a refund counts no more, because it was merged or reinstated; then a report of it changes
 * nothing. A report that contradicts this is kept.
 */
static bool
counts_no_more(const Refund *refund, const Report *report, Applied *applied)
{
	bool returned = report->status == CHANNEL_SUCCEEDED;
	bool not_returned =
		report->status == CHANNEL_FAILED || report->status == CHANNEL_CLOSED;

	if (refund->status != REFUND_MERGED && refund->status != REFUND_REINSTATED)
		return false;
	if (refund->status == REFUND_MERGED && not_returned)
		payguard_returned_contradict(refund, report, "refund_mismatch",
									 "It is one with a refund that was asked for here.",
									 applied);
	if (refund->status == REFUND_REINSTATED && returned)
		payguard_returned_contradict(
			refund, report, "refund_mismatch",
			"The channel has undone it before, and nobody can tell whether this is old.",
			applied);
	return true;
}

/*
 * is_another_refund tells, and notes as a contradiction, whether the channel's refund that a
 * report names is another refund of ours.
 */
static bool
is_another_refund(const Payment *payment, const Refund *refund, const Report *report,
				  Refund *echo, Applied *applied)
{
	Refund like = {.channel = refund->channel, .channel_refund_id = report->txn_id};
	Refund other;

	if (report->txn_id == NULL ||
		!payguard_store_find(&payguard_refunds, REFUND_BY_CHANNEL_REFUND, &like,
							 &other) ||
		payguard_uuid_equal(other.refund_id, refund->refund_id))
		return false;
	if (refund->reversal_kind == NULL && may_be_echo(payment, &other))
	{
		*echo = other;
		return false;
	}
	payguard_returned_contradict(refund, report, "refund_mismatch",
								 "The channel's refund belongs to another refund.",
								 applied);
	return true;
}

/*
 * may_be_echo tells whether a refund is one that a channel has reported on its own, and may be one of ours: a message
 * that names no refund of ours is faster than the worker's answer.
 */
static bool
may_be_echo(const Payment *payment, const Refund *reversal)
{
	Channel channel;

	payguard_channel_of(payment, &channel);
	return payguard_uuid_equal(reversal->payment_id, payment->payment_id) &&
		   reversal->status == REFUND_SUCCEEDED &&
		   payguard_text_is(reversal->reversal_kind, "refund") &&
		   payguard_channel_knows_returns(&channel);
}

/*
 * find_echo looks for the channel's own report of a refund of ours, if the channel says that it has made that refund and
 * gives no id. It is a reversal of the same amount that came after the refund was asked for. false: there are several, and
 * nothing is guessed.
 */
static bool
find_echo(const Payment *payment, const Refund *refund, const Report *report,
		  Refund *echo)
{
	int64 amount = report->amount != NO_AMOUNT ? report->amount : refund->amount;
	Refund *refunds;
	int n;

	if (report->status != CHANNEL_SUCCEEDED || report->txn_id || refund->reversal_kind ||
		refund->channel_refund_id || refund->status == REFUND_SUCCEEDED)
		return true;
	n = payguard_refund_list_of(payment, &refunds);
	for (int i = 0; i < n; i++)
	{
		if (!may_be_echo(payment, &refunds[i]) || refunds[i].returned_amount != amount ||
			refunds[i].created_at < refund->created_at)
			continue;
		if (echo->refund_id != NULL)
			return false;
		*echo = refunds[i];
	}
	return true;
}

/*
 * merge makes a refund of ours and the channel's own report of it (echo) one. The booking and the alerts of the echo are
 * taken back. Ours has succeeded, with the id and the amount of the echo.
 */
static void
merge(Order *order, const Payment *payment, Refund *refund, Refund *echo,
	  Applied *applied)
{
	RefundBalance balance;
	text *cause = payguard_text(payguard_uuid_str(echo->refund_id));
	text *why = payguard_text("It is a refund that was asked for here.");
	Report told = payguard_report_of(CHANNEL_SUCCEEDED);

	payguard_refund_must_be_there(echo->refund_id, echo);
	told.txn_id = echo->channel_refund_id;
	told.amount = echo->returned_amount;
	told.currency = echo->currency;
	told.corrects = true; /* it has a name; what was told of ours before had none */
	payguard_balance_lock(payment, &balance);
	payguard_returned_uncount(order, payment, echo, &balance);
	echo->channel_refund_id = NULL;
	echo->returned_amount = NO_AMOUNT;
	payguard_refund_change(echo, REFUND_MERGED,
						   FIELD(REFUND_F_CHANNEL_REFUND_ID) |
							   FIELD(REFUND_F_RETURNED_AMOUNT),
						   payguard_json("same_as", 'u', refund->refund_id,
										 "channel_refund_id", 't', told.txn_id, NULL));
	payguard_alert_resolve("refund_exceeds_payment", cause, why);
	payguard_alert_resolve("refund_mismatch", cause, why);
	payguard_store_refresh(); /* to see it */
	if (was_held_by(refund, echo))
		payguard_refund_change(refund, REFUND_PENDING, 0, NULL);
	note_returned(order, payment, refund, &told, applied);
}

/*
 * was_held_by tells whether the channel's own report of a refund has made the refund wait for approval. While the two
 * counted as two refunds, too much seemed to go back.
 */
static bool
was_held_by(const Refund *refund, const Refund *echo)
{
	Approval approval;

	return refund->status == REFUND_AWAITING_APPROVAL &&
		   payguard_approval_of_refund(refund->refund_id, &approval) &&
		   approval.requested_at >= echo->created_at;
}

/*
 * is_under_another_id tells whether a report names another refund of the channel than the one that is known. For a refund
 * of ours that has not succeeded the channel may give a new id, because the refund was tried again.
 */
static bool
is_under_another_id(const Refund *refund, const Report *report)
{
	if (report->txn_id == NULL ||
		payguard_text_equal(report->txn_id, refund->channel_refund_id))
		return false;
	/* its id is all that tells a reversal repeated from a new one */
	return refund->reversal_kind ||
		   (refund->status == REFUND_SUCCEEDED && refund->channel_refund_id);
}

/*
 * payguard_refund_report applies a report to a refund whose order is locked. A refund of another
 * order may take the channel's id at this very moment. Then the report is a contradiction, as it
 * would be a moment later.
 */
void
payguard_refund_report(Order *order, const Report *report, Refund *refund,
					   Applied *applied)
{
	Order order_before = *order;
	Refund refund_before = *refund;
	Refund echo = {0};
	Payment payment;
	Reporting r = {order, &payment, report, refund, applied};

	Assert(payguard_order_is_locked(order->order_id));
	Assert(payguard_text_equal(refund->order_id, order->order_id));
	Assert(report->amount >= 0 || report->amount == NO_AMOUNT);
	*applied = (Applied){0};
	if (counts_no_more(refund, report, applied))
		return;
	payguard_payment_must_exist(refund->payment_id, &payment);
	if (is_another_refund(&payment, refund, report, &echo, applied))
		return;
	if (!find_echo(&payment, refund, report, &echo))
	{
		payguard_returned_contradict(refund, report, "refund_mismatch",
									 "The channel has made several refunds of this "
									 "amount, and names none of them.",
									 applied);
		return;
	}
	if (is_under_another_id(refund, report))
	{
		payguard_returned_contradict(refund, report, "refund_mismatch",
									 "The channel made it under another id.", applied);
		return;
	}
	if (echo.refund_id)
		merge(order, &payment, refund, &echo, applied);
	if (report->txn_id == NULL ||
		payguard_text_equal(report->txn_id, refund->channel_refund_id))
	{
		run_report(&r);
		note_here_again(order, &payment, refund, report, applied);
		return;
	}
	if (payguard_store_try(run_report, &r))
	{
		note_here_again(order, &payment, refund, report, applied);
		return;
	}
	*order = order_before;
	*refund = refund_before;
	*applied = (Applied){0};
	payguard_store_refresh();
	if (!is_another_refund(&payment, refund, report, &echo, applied))
		elog(ERROR, "payguard: a channel's refund is taken and not to be found");
}

/*
 * note_here_again notes that money that had gone back is here again. If its order waits for money meanwhile, the money
 * of a reversal that was undone pays it. Money of a refund that was asked for here is still owed.
 */
static void
note_here_again(Order *order, Payment *payment, const Refund *refund,
				const Report *report, const Applied *applied)
{
	if (!applied->changed)
		return;
	if (refund->reversal_kind)
	{
		if (refund->status == REFUND_FAILED || payment->status == PAYMENT_RETURNED)
			payguard_money_is_here(order, payment, report);
		return;
	}
	if (payment->status != PAYMENT_RETURNED || payguard_money_here(payment) == 0)
		return;
	payguard_payment_change(order, payment, PAYMENT_SURPLUS, 0,
							payguard_refund_report_details(report));
	payguard_task_outdate(payguard_payment_about(payment));
	payguard_refund_surplus(order, payment, REFUND_AWAITING_APPROVAL);
}

/*
 * note_returned notes that the channel has given the money back, whatever we thought of the refund.
 */
static void
note_returned(Order *order, const Payment *payment, Refund *refund, const Report *report,
			  Applied *applied)
{
	RefundStatus from = refund->status;
	int64 amount = report->amount != NO_AMOUNT ? report->amount : refund->amount;
	RefundBalance balance;
	bool settles = false;

	if (from == REFUND_SUCCEEDED)
	{
		fill_in(order, payment, refund, report, applied);
		return;
	}
	if (refund->reversal_kind)
		settles = payguard_refund_takes_rest(payment, amount, refund->currency);
	refund->returned_amount = amount;
	refund->amount_verified = report->amount != NO_AMOUNT;
	refund->completed_at = GetCurrentTimestamp();
	refund->failure_code = NULL;
	refund->failure_message = NULL;
	if (report->txn_id)
		refund->channel_refund_id = report->txn_id;
	payguard_refund_change(
		refund, REFUND_SUCCEEDED,
		FIELD(REFUND_F_RETURNED_AMOUNT) | FIELD(REFUND_F_AMOUNT_VERIFIED) |
			FIELD(REFUND_F_COMPLETED_AT) | FIELD(REFUND_F_CHANNEL_REFUND_ID) |
			FIELD(REFUND_F_FAILURE_CODE) | FIELD(REFUND_F_FAILURE_MESSAGE),
		payguard_refund_report_details(report));
	payguard_refund_end_tasks(refund);
	applied->changed = true;

	if (from == REFUND_FAILED)
		payguard_alert_resolve("refund_failed",
							   payguard_text(payguard_uuid_str(refund->refund_id)),
							   payguard_text("The channel has made it after all."));

	if (settles)
		payguard_refund_settle(payment);
	else if (from == REFUND_FAILED)
		alert_taken_again(payment, refund, report);

	payguard_balance_lock(payment, &balance);
	if (payguard_refund_is_reserved(from))
		balance.refunding -= refund->amount;
	payguard_refund_count_returned(order, payment, refund, &balance, amount);
	if (from == REFUND_AWAITING_APPROVAL || from == REFUND_WAIVED)
		payguard_alert_refund("refund_not_approved", "critical", refund,
							  payguard_refund_report_details(report));
	check_returned(order, payment, refund, report);
}

/*
 * alert_taken_again alerts of a reversal that had failed and has succeeded after all: the money is gone once more.
 */
static void
alert_taken_again(const Payment *payment, const Refund *refund, const Report *report)
{
	Channel channel;

	payguard_channel_of(payment, &channel);
	if (refund->reversal_kind && !payguard_text_is(refund->reversal_kind, "refund") &&
		payguard_channel_knows_returns(&channel))
		payguard_alert_refund(payguard_refund_reversal_alert(refund), "critical", refund,
							  payguard_refund_report_details(report));
}

/*
 * check_returned alerts an operator if other money went back than was asked for. The operator decides about the rest of
 * surplus money.
 */
static void
check_returned(Order *order, const Payment *payment, const Refund *refund,
			   const Report *report)
{
	if (refund->returned_amount != refund->amount ||
		(report->currency && !payguard_text_equal(report->currency, refund->currency)))
		payguard_alert_refund("refund_mismatch", "critical", refund,
							  payguard_refund_report_details(report));
	if (payguard_payment_brought_money(payment) &&
		refund->returned_amount < refund->amount)
		payguard_refund_surplus(order, payment, REFUND_AWAITING_APPROVAL);
}

/*
 * fill_in adds what was missing of money that is back: the channel's id, the amount. Another
 * amount than was taken for granted is corrected; another than was reported before is a
 * contradiction. Where a person has said that the money went back, and the channel says that it has
 * made our refund, it may have gone back twice.
 */
static void
fill_in(Order *order, const Payment *payment, Refund *refund, const Report *report,
		Applied *applied)
{
	bool corrected =
		report->amount != NO_AMOUNT && report->amount != refund->returned_amount;
	bool unnamed = refund->channel_refund_id == NULL && !refund->amount_verified;
	FieldSet also = 0;

	if (corrected && refund->amount_verified && !report->corrects)
	{
		payguard_returned_contradict(refund, report, "refund_mismatch",
									 "The channel has reported another amount before.",
									 applied);
		return;
	}
	if (report->txn_id && refund->channel_refund_id == NULL)
	{
		refund->channel_refund_id = report->txn_id;
		also |= FIELD(REFUND_F_CHANNEL_REFUND_ID);
	}
	if (report->amount != NO_AMOUNT && !refund->amount_verified)
	{
		refund->amount_verified = true;
		also |= FIELD(REFUND_F_AMOUNT_VERIFIED);
	}
	if (corrected)
	{
		RefundBalance balance;

		payguard_balance_lock(payment, &balance);
		payguard_returned_uncount(order, payment, refund, &balance);
		refund->returned_amount = report->amount;
		also |= FIELD(REFUND_F_RETURNED_AMOUNT);
		payguard_refund_count_returned(order, payment, refund, &balance,
									   refund->returned_amount);
	}
	if (also == 0)
		return;
	payguard_refund_change(refund, REFUND_SUCCEEDED, also,
						   payguard_refund_report_details(report));
	applied->changed = true;
	if (unnamed)
		alert_made_twice(refund, report);
	if (corrected)
		check_returned(order, payment, refund, report);
}

/*
 * alert_made_twice alerts of a refund that may have been made twice: a person has said that it was made, without the
 * channel's id, and now the channel says that it has made it, too. No alert if the channel reports a reversal that does
 * not name our refund: that is what this person has seen in the channel's console.
 */
static void
alert_made_twice(const Refund *refund, const Report *report)
{
	Datum values[] = {PointerGetDatum(refund->order_id),
					  UUIDPGetDatum(refund->refund_id)};
	Event *events;

	if (report->note || report->reversal_kind ||
		payguard_store_list(&payguard_events, &settled_by_hand, values,
							(void **) &events) == 0)
		return;
	payguard_alert_refund("refund_mismatch", "critical", refund,
						  payguard_json("settled_by", 't', events[0].actor,
										"channel_refund_id", 't', report->txn_id,
										"amount", 'i', report->amount, "currency", 't',
										report->currency, NULL));
}

/*
 * note_not_returned notes that the money did not go back, or came back. It is owed again until the refund is retried or
 * waived. If all money of the payment had gone back, the payment has some again.
 */
static void
note_not_returned(Order *order, const Payment *payment, Refund *refund,
				  const Report *report, Applied *applied)
{
	RefundStatus from = refund->status;
	RefundBalance balance;

	if (from == REFUND_FAILED || from == REFUND_WAIVED)
		return;
	if (from == REFUND_AWAITING_APPROVAL)
	{
		payguard_returned_contradict(
			refund, report, "refund_mismatch",
			"The refund waits for approval: nobody has asked the channel for it.",
			applied);
		return;
	}
	payguard_balance_lock(payment, &balance);
	if (from == REFUND_SUCCEEDED)
		payguard_returned_uncount(order, payment, refund, &balance);
	else
	{
		balance.refunding -= refund->amount;
		payguard_balance_store(payment, &balance);
	}
	refund->returned_amount = NO_AMOUNT;
	refund->amount_verified = false;
	refund->completed_at = GetCurrentTimestamp();
	refund->failure_code =
		report->code ? report->code
					 : payguard_text(payguard_channel_status_name(report->status));
	refund->failure_message = report->message;
	payguard_refund_change(
		refund, REFUND_FAILED,
		FIELD(REFUND_F_RETURNED_AMOUNT) | FIELD(REFUND_F_AMOUNT_VERIFIED) |
			FIELD(REFUND_F_COMPLETED_AT) | FIELD(REFUND_F_FAILURE_CODE) |
			FIELD(REFUND_F_FAILURE_MESSAGE),
		payguard_refund_report_details(report));
	payguard_refund_end_tasks(refund);
	applied->changed = true;
	if (refund->reversal_kind && !payguard_text_is(refund->reversal_kind, "refund"))
		/* what the customer or a bank took back is here again: nobody is owed it */
		payguard_alert_resolve(payguard_refund_reversal_alert(refund),
							   payguard_text(payguard_uuid_str(refund->refund_id)),
							   payguard_text("The channel has undone it."));
	else
		payguard_alert_refund("refund_failed", "critical", refund,
							  payguard_refund_report_details(report));
	/* it may have covered money that was named later than the refund was opened */
	if (payment->status == PAYMENT_SURPLUS && refund->reversal_kind == NULL)
		payguard_refund_surplus(order, payment, REFUND_AWAITING_APPROVAL);
}

/*
 * note_open notes that the channel does not know the outcome yet.
 */
static void
note_open(Refund *refund, const Report *report, Applied *applied)
{
	RefundStatus to = refund->status;
	FieldSet also = 0;

	if (refund->status != REFUND_PENDING && refund->status != REFUND_UNKNOWN)
		return;
	if (report->status == CHANNEL_PENDING || report->status == CHANNEL_PROCESSING)
		to = REFUND_PENDING;
	if (report->status == CHANNEL_UNKNOWN)
		to = REFUND_UNKNOWN;
	if (report->txn_id && refund->channel_refund_id == NULL)
	{
		refund->channel_refund_id = report->txn_id;
		also = FIELD(REFUND_F_CHANNEL_REFUND_ID);
	}
	if (report->status != CHANNEL_NOT_FOUND)
		/* the channel has it: only ask */
		payguard_task_remove("refund", payguard_refund_about(refund));
	if (to != refund->status || also != 0)
	{
		payguard_refund_change(refund, to, also, payguard_refund_report_details(report));
		applied->changed = true;
	}
	payguard_refund_schedule(refund, "query_refund");
}

/*
 * payguard_returned_contradict keeps a report that contradicts what is known of a refund, and alerts it.
 * why: what the caller is told.
 */
void
payguard_returned_contradict(const Refund *refund, const Report *report,
							 const char *alert, const char *why, Applied *applied)
{
	payguard_notification_keep(refund->channel, refund->order_id, refund->payment_id,
							   refund->refund_id, report, "contradicting");
	payguard_alert_refund(alert, "critical", refund,
						  payguard_refund_report_details(report));
	applied->contradicts = why;
}
