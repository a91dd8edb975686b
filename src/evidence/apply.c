/*
 * apply.c
 *		Applies a report to its payment: what a channel says, or an operator for the channel.
 *
 * Evidence is never refused. facts.c reads the facts, decide.c decides what follows, and received.c
 * writes it. This file leads a report through them, and deals with transactions that belong to
 * another payment.
 *
 * Locking: the caller holds the order's row lock, which covers all its payments.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "records/assert.h"
#include "records/channel.h"
#include "records/notification.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"
#include "records/task.h"
#include "money/surplus.h"
#include "evidence/apply.h"
#include "evidence/facts.h"
#include "evidence/received.h"
#include "evidence/reversal.h"

/* It does not name the order: a caller who knows a transaction need not learn whose it is. */
#define OF_ANOTHER_ORDER                                                                 \
	"The channel's transaction belongs to a payment of another order."

/* Spelled so that the index of the payments that do not count is used. */
static const RowQuery unverified_surplus = {"order_id " OP_EQ " $1"
											" AND status " OP_EQ
											" 'surplus' AND NOT amount_verified",
											{TEXTOID, InvalidOid}};

static void follow_once(Order *order, Payment *payment, const Channel *channel,
						const Report *report, const Decision *decision,
						const Known *known, Applied *applied);
static void ask(const Payment *payment, PaymentStatus was, const Channel *channel,
				const Report *report, bool changed);
static bool is_no_answer(const Report *report);
static bool has_open_amount(const Payment *payment);
static void follow(Order *order, Payment *payment, const Channel *channel,
				   const Report *report, const Decision *decision, const Known *known,
				   Applied *applied);
static FieldSet note(Payment *payment, const Report *report, const Decision *decision);
static bool not_found_is_final(const Payment *payment, const Channel *channel);
static bool txn_is_another_payment(Order *order, Payment *payment, const Report *report,
								   Applied *applied);
static bool is_other_name_of(const Payment *other, const Payment *payment);
static bool is_another_of(const Payment *other, const Payment *payment);
static bool is_dismissed_as(const Payment *other, const Payment *payment);
static bool is_recorded_before(const Payment *other, const Payment *payment,
							   const Report *report);
static void merge_into(Order *order, Payment *payment, const Payment *other,
					   Applied *applied);
static void apply_to_dismissed(Order *order, const Payment *payment, const Report *report,
							   Applied *applied);
static void contradict(const Payment *payment, const Report *report, const char *alert,
					   const char *why, Applied *applied);
static void record_second_charge(Order *order, Payment *payment, const Report *report,
								 Applied *applied);
static void record_another(Order *order, const Payment *payment, const Channel *channel,
						   const Report *report, Applied *applied);

/*
 * payguard_evidence_apply applies a report to a payment. The caller holds the order's lock and
 * has read both since. Where the report has a transaction, or may have brought money, what waited
 * for that comes next: payguard_notification_match().
 */
void
payguard_evidence_apply(Order *order, Payment *payment, const Report *reported,
						Applied *applied)
{
	payguard_evidence_answer(order, payment, reported, NULL, applied);
}

/*
 * payguard_evidence_answer is payguard_evidence_apply for a worker's answer about a live payment, if the caller has
 * looked everything up before. If somebody takes the transaction at this very moment the error is 23505, for the caller
 * to catch.
 */
void
payguard_evidence_answer(Order *order, Payment *payment, const Report *reported,
						 const Known *known, Applied *applied)
{
	Report report = *reported;
	PaymentStatus was = payment->status;
	Channel channel;
	Facts facts;
	Decision decision = {0};

	Assert(payguard_order_is_locked(order->order_id));
	Assert(payguard_text_equal(payment->order_id, order->order_id));
	Assert(report.status > CHANNEL_NONE && report.status < N_CHANNEL_STATUS);
	Assert(report.amount >= 0 || report.amount == NO_AMOUNT);
	Assert(known == NULL ||
		   (payguard_payment_is_live(payment->status) &&
			payguard_text_equal(known->channel->name, payment->channel)));
	*applied = (Applied){0};
	if (payguard_payment_same_charge(payment) != NULL)
	{
		apply_to_dismissed(order, payment, &report, applied);
		return;
	}
	if (known)
		channel = *known->channel;
	else
		payguard_channel_of(payment, &channel);
	if ((report.status == CHANNEL_PROCESSING || report.status == CHANNEL_AUTHORIZED) &&
		!payguard_channel_knows_returns(&channel))
		report.status = CHANNEL_PENDING; /* older scripts do not know it */
	if (report.status == CHANNEL_NOT_FOUND && not_found_is_final(payment, &channel))
	{
		report.status = CHANNEL_CLOSED;
		if (report.code == NULL)
			report.code = payguard_text("not_found");
	}
	if ((known && known->new_txn) ||
		!txn_is_another_payment(order, payment, &report, applied))
	{
		payguard_facts_read(order, payment, &channel, &report, &facts);
		decision = payguard_decide_or_hold(order, &report, &facts);
		report.because = decision.because;
		if (decision.second_charge)
			record_second_charge(order, payment, &report, applied);
		else if (decision.another)
			record_another(order, payment, &channel, &report, applied);
		else if (decision.reverse)
			payguard_reversal_of_failed(order, payment, &report, applied);
		else if (decision.alert && strcmp(decision.alert, "contradiction") == 0)
			contradict(payment, &report, "contradiction",
					   "The channel has reported before that it took the money.",
					   applied);
		else
			follow_once(order, payment, &channel, &report, &decision, known, applied);
	}
	if (decision.query ||
		((is_no_answer(&report) || applied->contradicts) && has_open_amount(payment)))
		ask(payment, was, &channel, &report, applied->changed);
	Assert(applied->now_known == NULL || report.txn_id != NULL ||
		   report.status == CHANNEL_SUCCEEDED);
}

typedef struct Following
{
	Order *order;
	Payment *payment;
	const Channel *channel;
	const Report *report;
	const Decision *decision;
	const Known *known;
	Applied *applied;
} Following;

static void
run_follow(void *argument)
{
	Following *f = argument;

	if (f->decision->fill_in)
		payguard_evidence_fill_in(f->order, f->payment, f->report, f->applied);
	else
		follow(f->order, f->payment, f->channel, f->report, f->decision, f->known,
			   f->applied);
}

/*
 * follow_once calls follow() or payguard_evidence_fill_in(). A payment of another order may take the report's
 * transaction at this very moment. Then the report is a contradiction, as it would be a moment later.
 */
static void
follow_once(Order *order, Payment *payment, const Channel *channel, const Report *report,
			const Decision *decision, const Known *known, Applied *applied)
{
	Order order_before = *order;
	Payment payment_before = *payment;
	Following f = {order, payment, channel, report, decision, known, applied};

	if (known || report->txn_id == NULL ||
		payguard_text_equal(report->txn_id, payment->channel_txn_id))
	{
		run_follow(&f);
		return;
	}
	if (payguard_store_try(run_follow, &f))
		return;
	*order = order_before;
	*payment = payment_before;
	*applied = (Applied){0};
	payguard_store_refresh();
	if (!txn_is_another_payment(order, payment, report, applied))
		elog(ERROR, "payguard: a transaction is taken and not to be found");
}

/*
 * ask makes the next query of a payment due. If the report says that the money is reserved, the next query may come late
 * (payguard_payment_next_query). It comes soon if a message names another amount than is known, or less than the attempt
 * asked for; so it does after any other report. A message that repeats what is known puts no query off that is due
 * earlier. If it changed something, a query that is due already is made due anew: a worker may be asking it, and its
 * answer must not count as newer than the message (is_fresh in queue/answer.c).
 */
static void
ask(const Payment *payment, PaymentStatus was, const Channel *channel,
	const Report *report, bool changed)
{
	About about = payguard_payment_about(payment);
	TimestampTz now = GetCurrentTimestamp();
	Task due;
	bool doubts = !report->fresh && report->amount != NO_AMOUNT &&
				  (report->amount != payment->authorized_amount ||
				   report->amount < payment->amount);
	TimestampTz at = report->status == CHANNEL_AUTHORIZED && !doubts
						 ? payguard_payment_next_query(payment, now)
						 : NO_TIME;

	if (at == NO_TIME)
		payguard_task_query(about, channel);
	else if (report->fresh || was != payment->status ||
			 !payguard_task_find("query", about, &due) || due.run_at > at)
		payguard_task_schedule("query", about, payment->channel, at);
	else if (changed && due.run_at <= now)
		payguard_task_schedule("query", about, payment->channel, now);
}

/*
 * is_no_answer tells whether a report leaves open what the channel was asked.
 */
static bool
is_no_answer(const Report *report)
{
	return report->status == CHANNEL_PENDING || report->status == CHANNEL_PROCESSING ||
		   report->status == CHANNEL_AUTHORIZED || report->status == CHANNEL_UNKNOWN ||
		   report->status == CHANNEL_NOT_FOUND;
}

/*
 * has_open_amount tells whether a payment, or a second charge of an attempt of ours, brought money whose amount the
 * channel has not named. Then the channel is asked again.
 */
static bool
has_open_amount(const Payment *payment)
{
	Datum order_id = PointerGetDatum(payment->order_id);
	Payment *open;
	int n;

	if (!payguard_payment_brought_money(payment))
		return false;
	if (!payment->amount_verified)
		return true;
	if (payment->idempotency_key == NULL)
		return false;
	n = payguard_store_list(&payguard_payments, &unverified_surplus, &order_id,
							(void **) &open);
	for (int i = 0; i < n; i++)
		if (is_other_name_of(&open[i], payment))
			return true;
	return false;
}

typedef struct Recording
{
	Order *order;
	const Channel *channel;
	const Report *report;
	Payment *payment;
} Recording;

/*
 * run_supersede_and_record supersedes the other attempt, and then stores the money. Both are undone if a payment of
 * another order takes the transaction at this very moment.
 */
static void
run_supersede_and_record(void *argument)
{
	Recording *r = argument;

	payguard_received_supersede_other(r->order);
	if (!payguard_received_insert(r->order, r->channel->name, r->report,
								  PAYMENT_SUCCEEDED, NULL, r->payment))
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("the channel's transaction is taken")));
}

/*
 * payguard_record_apply records money that came without an attempt of ours, and fills in the
 * payment that it made or was known by.
 */
void
payguard_record_apply(Order *order, const Channel *channel, const Report *reported,
					  Payment *payment, Applied *applied)
{
	Report decided = *reported;
	const Report *report = &decided;
	Payment like = {.channel = channel->name, .channel_txn_id = report->txn_id};
	Facts facts = {
		.order = order->status,
		.closing_as = order->closing_as,
		.payment = PAYMENT_NONE,
		.report = CHANNEL_SUCCEEDED,
		.late_success = payguard_late_success(payguard_str(channel->late_success)),
		.money = payguard_compare_with_order(order, report),
		.in_time = payguard_is_in_time(order, report),
	};
	Decision decision;
	Recording r = {order, channel, report, payment};

	Assert(payguard_order_is_locked(order->order_id));
	Assert(report->status == CHANNEL_SUCCEEDED && report->txn_id != NULL);
	Assert(report->amount >= 0 && report->currency != NULL);
	*applied = (Applied){0};
	if (payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, &like, payment))
	{
		if (!payguard_text_equal(payment->order_id, order->order_id))
			contradict(payment, report, "txn_reused", OF_ANOTHER_ORDER, applied);
		else
		{
			payguard_payment_must_be_there(payment->payment_id, payment);
			payguard_evidence_apply(order, payment, report, applied);
		}
		return;
	}
	decision = payguard_decide_or_hold(order, report, &facts);
	decided.because = decision.because;
	if (decision.supersede ? !payguard_store_try(run_supersede_and_record, &r)
						   : !payguard_received_insert(order, channel->name, report,
													   decision.payment, NULL, payment))
	{
		payguard_store_refresh();
		payguard_record_apply(order, channel, reported, payment, applied);
		return;
	}
	applied->changed = true;
	if (decision.order != order->status)
		payguard_received_become(order, payment, decision.order);
	payguard_received_give_back(order, payment, channel, report, &decision);
	applied->now_known = payment->payment_id;
}

/*
 * follow writes what was decided of an attempt: its state, the order's, and the follow-ups.
 */
static void
follow(Order *order, Payment *payment, const Channel *channel, const Report *report,
	   const Decision *decision, const Known *known, Applied *applied)
{
	bool moves = decision->payment != payment->status;
	PaymentStatus was = payment->status;
	bool is_open =
		payguard_payment_is_open(was) || payguard_payment_is_live(decision->payment);
	FieldSet also = is_open ? payguard_received_note_txn(payment, report) : 0;

	if (decision->supersede)
		payguard_received_supersede_other(order);
	also |= note(payment, report, decision);
	if (moves || also != 0)
	{
		payguard_payment_change(order, payment, decision->payment, also,
								payguard_report_details(report));
		applied->changed = true;
	}
	if (decision->order != order->status)
		payguard_received_become(order, payment, decision->order);
	if (moves && (decision->payment == PAYMENT_PROCESSING ||
				  decision->payment == PAYMENT_AUTHORIZED))
		/* the channel has it: only ask */
		payguard_task_remove("charge", payguard_payment_about(payment));
	if (was == PAYMENT_FAILED && payguard_payment_is_live(decision->payment))
		/* nobody wants it closed any more, and who was asked to has asked before */
		payguard_task_remove("close", payguard_payment_about(payment));
	if (moves && payguard_payment_holds_order(was) &&
		!payguard_payment_holds_order(decision->payment))
		payguard_order_look_at_deadline_again(order);
	if (payment->authorized_amount != NO_AMOUNT)
		payguard_received_follow_capture(order, payment, was, decision, also);

	if (moves && !payguard_payment_is_live(decision->payment) &&
		!(known && known->only_task))
		payguard_payment_end_tasks(payment);
	if (moves && payment->received_amount != NO_AMOUNT && !payment->amount_verified)
		payguard_task_query(payguard_payment_about(payment), channel);
	if (decision->close)
		payguard_received_close_again(payment, channel);
	payguard_received_give_back(order, payment, channel, report, decision);
	if (also & FIELD(PAYMENT_F_CHANNEL_TXN_ID))
		applied->now_known = payment->payment_id;
}

/*
 * note fills in what a report says of a payment that becomes, or stays, what was decided.
 */
static FieldSet
note(Payment *payment, const Report *report, const Decision *decision)
{
	bool moves = decision->payment != payment->status;
	FieldSet also = 0;

	switch (decision->payment)
	{
		case PAYMENT_SUCCEEDED:
		case PAYMENT_SURPLUS:
			if (moves)
				also = payguard_received_take(payment, report);
			break;
		case PAYMENT_FAILED:
			if (moves)
				also = payguard_received_note_failure(payment, report);
			break;
		case PAYMENT_AUTHORIZED:
			if (report->status == CHANNEL_AUTHORIZED)
				also = payguard_received_authorize(payment, report);
			/* fall through */
		case PAYMENT_PENDING:
		case PAYMENT_PROCESSING:
			if (payment->status == PAYMENT_FAILED)
				also |= payguard_received_revive(payment);
			break;
		case PAYMENT_CAPTURING:
		case PAYMENT_UNKNOWN:
		case PAYMENT_CLOSING:
		case PAYMENT_SUPERSEDED:
		case PAYMENT_RETURNED:
			break;
		case PAYMENT_NONE:
		case N_PAYMENT_STATUS:
			elog(ERROR, "payguard: %d is no status of a payment", decision->payment);
	}
	return also;
}

/*
 * not_found_is_final tells whether `not_found` ends an attempt. Some channels create the trade only when the customer
 * opens it. So only a long silence after the attempt's end means that it will never be charged. If the channel was
 * asked to close it after its end, nobody can open it any more. A payment that the channel was processing is known to
 * it.
 */
static bool
not_found_is_final(const Payment *payment, const Channel *channel)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz from =
		payment->expires_at != NO_TIME ? payment->expires_at : payment->created_at;
	Task close;

	if (payguard_payment_holds_order(payment->status))
		return false;
	if (payguard_time_plus(from, channel->not_found_is_final_after) <= now)
		return true;
	return (payment->status == PAYMENT_CLOSING ||
			payment->status == PAYMENT_SUPERSEDED) &&
		   payment->expires_at != NO_TIME && payment->expires_at <= now &&
		   payguard_task_find("close", payguard_payment_about(payment), &close) &&
		   close.sent;
}

/*
 * txn_is_another_payment looks whether the report's transaction is known as another payment's, and
 * then deals with the report. A report about the first charge that names the transaction of the
 * second charge is applied to the second. If that transaction is known as a second name of the
 * first charge, the report is applied to the first.
 */
static bool
txn_is_another_payment(Order *order, Payment *payment, const Report *report,
					   Applied *applied)
{
	Payment like = {.channel = payment->channel, .channel_txn_id = report->txn_id};
	Payment other;

	if (report->txn_id == NULL ||
		payguard_text_equal(report->txn_id, payment->channel_txn_id) ||
		!payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, &like, &other))
		return false;
	if (is_dismissed_as(&other, payment))
	{
		Report same = *report;

		same.txn_id = payment->channel_txn_id;
		payguard_evidence_apply(order, payment, &same, applied);
	}
	else if (is_other_name_of(&other, payment))
	{
		payguard_payment_must_be_there(other.payment_id, &other);
		payguard_evidence_apply(order, &other, report, applied);
	}
	else if (is_another_of(&other, payment))
	{
		payguard_payment_must_be_there(other.payment_id, &other);
		payguard_evidence_apply(order, &other, report, applied);
	}
	else if (is_recorded_before(&other, payment, report))
		merge_into(order, payment, &other, applied);
	else
		contradict(payment, report, "txn_reused",
				   payguard_text_equal(other.order_id, payment->order_id)
					   ? psprintf("The channel's transaction belongs to payment \"%s\".",
								  payguard_uuid_str(other.payment_id))
					   : OF_ANOTHER_ORDER,
				   applied);
	return true;
}

/*
 * is_other_name_of tells whether `other` was recorded as a second charge of `payment`: then a
 * report of its transaction is a replay.
 */
static bool
is_other_name_of(const Payment *other, const Payment *payment)
{
	return other->details &&
		   payguard_text_is(payguard_json_text(other->details, "second_charge_of"),
							payguard_uuid_str(payment->payment_id));
}

/*
 * is_another_of tells whether `other` was recorded as other money of `payment`, whose own was taken back: then a
 * report of its transaction, made about `payment`, is about `other`.
 */
static bool
is_another_of(const Payment *other, const Payment *payment)
{
	return payment->status == PAYMENT_RETURNED && other->idempotency_key == NULL &&
		   payguard_text_equal(other->order_id, payment->order_id);
}

static bool
is_dismissed_as(const Payment *other, const Payment *payment)
{
	pg_uuid_t *same_as = payguard_payment_same_charge(other);

	return payguard_uuid_equal(same_as, payment->payment_id);
}

/*
 * is_recorded_before tells whether an attempt's own money was recorded by record_payment()
 * before the attempt's answer came: a webhook that does not name the attempt is faster than
 * its worker.
 */
static bool
is_recorded_before(const Payment *other, const Payment *payment, const Report *report)
{
	return report->status == CHANNEL_SUCCEEDED && other->idempotency_key == NULL &&
		   other->details == NULL &&
		   payguard_text_equal(other->order_id, payment->order_id) &&
		   payguard_payment_is_open(payment->status) &&
		   (report->amount == NO_AMOUNT || report->amount == other->received_amount);
}

/*
 * merge_into ends an attempt whose money is known as another payment already.
 */
static void
merge_into(Order *order, Payment *payment, const Payment *other, Applied *applied)
{
	bool was_live = payguard_payment_is_live(payment->status);
	Jsonb *link = payguard_json("second_charge_of", 'u', other->payment_id, NULL);

	if (payment->details && !JB_ROOT_IS_OBJECT(payment->details))
		payment->details = payguard_json(
			"details", 's',
			JsonbToCString(NULL, &payment->details->root, VARSIZE(payment->details)),
			NULL);

	payment->failure_code = payguard_text("same_charge");
	payment->completed_at = GetCurrentTimestamp();
	payment->details =
		payment->details == NULL
			? link
			: DatumGetJsonbP(DirectFunctionCall2(
				  jsonb_concat, JsonbPGetDatum(payment->details), JsonbPGetDatum(link)));
	payguard_payment_change(order, payment, PAYMENT_FAILED,
							FIELD(PAYMENT_F_FAILURE_CODE) |
								FIELD(PAYMENT_F_COMPLETED_AT) | FIELD(PAYMENT_F_DETAILS),
							payguard_json("same_as", 'u', other->payment_id, NULL));
	payguard_payment_end_tasks(payment);
	if (was_live)
		payguard_received_become(order, payment,
								 order->closing_as != ORDER_NONE ? order->closing_as
																 : ORDER_UNPAID);
	applied->changed = true;
}

/*
 * apply_to_dismissed applies a report to a payment that is a second name of another charge. Its own transaction
 * repeated is a replay; a success under one more is a further charge of the other.
 */
static void
apply_to_dismissed(Order *order, const Payment *payment, const Report *report,
				   Applied *applied)
{
	Payment same;

	if (report->status != CHANNEL_SUCCEEDED || report->txn_id == NULL ||
		payguard_text_equal(report->txn_id, payment->channel_txn_id))
		return;
	payguard_payment_must_be_there(payguard_payment_same_charge(payment), &same);
	payguard_evidence_apply(order, &same, report, applied);
}

/*
 * contradict keeps a report that does not fit what is known, for a person to judge.
 */
static void
contradict(const Payment *payment, const Report *report, const char *alert,
		   const char *why, Applied *applied)
{
	payguard_notification_keep(payment->channel, payment->order_id, payment->payment_id,
							   NULL, report, "contradicting");
	payguard_alert_payment(alert, "critical", payment, payguard_report_details(report));
	applied->contradicts = why;
}

/*
 * payguard_evidence_fill_in adds what was missing of money that is here: a transaction id, a time, an
 * amount. Another amount than was taken for granted is corrected; another than was reported before is a
 * contradiction.
 */
void
payguard_evidence_fill_in(Order *order, Payment *payment, const Report *report,
						  Applied *applied)
{
	bool other_amount =
		report->amount != NO_AMOUNT && report->amount != payment->received_amount;
	bool other_currency =
		report->currency &&
		!payguard_text_equal(report->currency, payment->received_currency);
	bool corrected = other_amount || other_currency;
	FieldSet also = payguard_received_note_txn(payment, report);

	if (corrected && payment->amount_verified && !report->corrects)
	{
		contradict(payment, report, "contradiction",
				   "The channel has reported another amount before.", applied);
		return;
	}
	if (report->channel_time != NO_TIME && payment->channel_time == NO_TIME)
	{
		payment->channel_time = report->channel_time;
		also |= FIELD(PAYMENT_F_CHANNEL_TIME);
	}
	if (report->amount != NO_AMOUNT && (!payment->amount_verified || other_amount))
	{
		payment->amount_verified = true;
		payment->received_amount = report->amount;
		also |= FIELD(PAYMENT_F_AMOUNT_VERIFIED) | FIELD(PAYMENT_F_RECEIVED_AMOUNT);
		if (!has_open_amount(payment))
			payguard_task_remove("query", payguard_payment_about(payment));
	}
	if (other_currency)
	{
		payment->received_currency = report->currency;
		also |= FIELD(PAYMENT_F_RECEIVED_CURRENCY);
	}
	if (also == 0)
		return;
	payguard_payment_change(order, payment, payment->status, also,
							payguard_report_details(report));
	payguard_task_outdate(payguard_payment_about(payment));
	applied->changed = true;
	if (corrected)
	{
		payguard_refund_correct_received(order, payment);
		payguard_alert_payment("amount_mismatch", "critical", payment,
							   payguard_report_details(report));
	}
	if (also & FIELD(PAYMENT_F_CHANNEL_TXN_ID))
		applied->now_known = payment->payment_id;
}

/*
 * record_second_charge records a success under another transaction as surplus. It is a second charge, or a second name
 * of the first; an operator decides about its refund.
 */
static void
record_second_charge(Order *order, Payment *payment, const Report *report,
					 Applied *applied)
{
	Payment second;

	if (!payguard_received_insert(
			order, payment->channel, report, PAYMENT_SURPLUS,
			payguard_json("second_charge_of", 'u', payment->payment_id, NULL), &second))
	{
		txn_is_another_payment(order, payment, report, applied);
		return;
	}
	payguard_refund_surplus(
		order, &second, report->give_back ? REFUND_PENDING : REFUND_AWAITING_APPROVAL);
	payguard_alert_payment("second_charge", "critical", &second,
						   payguard_report_details(report));
	applied->changed = true;
}

/*
 * record_another records other money of a payment whose own was taken back, as if it had come without an attempt.
 */
static void
record_another(Order *order, const Payment *payment, const Channel *channel,
			   const Report *report, Applied *applied)
{
	Report money = *report;
	Payment another;

	if (money.currency == NULL)
		money.currency = payment->currency;
	money.assumed = money.amount == NO_AMOUNT;
	if (money.assumed)
		money.amount = payment->amount;
	payguard_record_apply(order, channel, &money, &another, applied);
	if (money.assumed && !another.amount_verified)
		payguard_task_query(payguard_payment_about(&another), channel);
}
