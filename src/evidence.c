/*
 * evidence.c
 *		What channels report: report_payment(), record_payment(), settle_payment(), and the
 *		operators' accept_surplus() and dismiss_surplus().
 *
 * Evidence is never refused. What follows from it is decided by decide.c; this file reads the
 * facts, and writes what was decided.
 *
 * Locking: the order's row lock covers all its payments. In READ COMMITTED a report that changes
 * nothing is answered without it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/uuid.h"

#include "payguard.h"

/* Which order's it is, and by which payment, is nobody's business who knows the transaction. */
#define OF_ANOTHER_ORDER                                                                 \
	"The channel's transaction belongs to a payment of another order."

/* Spelled so that the index of the payments that do not count is used. */
static const RowQuery unverified_surplus = {
	"order_id " OP("=") " $1 AND status " OP("=") " 'surplus' "
												  "AND NOT amount_verified",
	{TEXTOID, InvalidOid}};

static bool changes_nothing(const Payment *payment, const Report *report);
static void follow_once(Order *order, Payment *payment, const Channel *channel,
						const Report *report, const Decision *decision,
						const Known *known, Applied *applied);
static Decision decide_or_hold(const Order *order, const Report *report, Facts *facts);
static RefundStatus refund_status(const Decision *decision, const Report *report);
static bool is_no_answer(const Report *report);
static bool has_open_amount(const Payment *payment);
static bool txn_is_another_payment(Order *order, Payment *payment, const Report *report,
								   Applied *applied);
static bool is_dismissed_as(const Payment *other, const Payment *payment);
static bool is_other_name_of(const Payment *other, const Payment *payment);
static bool is_recorded_before(const Payment *other, const Payment *payment,
							   const Report *report);
static void merge_into(Order *order, Payment *payment, const Payment *other,
					   Applied *applied);
static void apply_to_dismissed(Order *order, const Payment *payment, const Report *report,
							   Applied *applied);
static void read_facts(const Order *order, const Payment *payment, const Channel *channel,
					   const Report *report, Facts *facts);
static bool money_fits(const Order *order, const Payment *payment, const Report *report);
static bool not_found_is_final(const Payment *payment, const Channel *channel);
static void close_again(const Payment *payment, const Channel *channel);
static bool severe(const char *alert);
static void contradict(const Payment *payment, const Report *report, const char *alert,
					   const char *why, Applied *applied);
static void supersede_other(Order *order);
static void follow(Order *order, Payment *payment, const Channel *channel,
				   const Report *report, const Decision *decision, const Known *known,
				   Applied *applied);
static FieldSet take_money(Payment *payment, const Report *report);
static FieldSet note_failure(Payment *payment, const Report *report);
static FieldSet note_txn(Payment *payment, const Report *report);
static void fill_in(Order *order, Payment *payment, const Report *report,
					Applied *applied);
static void record_second_charge(Order *order, Payment *payment, const Report *report,
								 Applied *applied);
static bool insert_recorded(const Order *order, const text *channel, const Report *report,
							PaymentStatus status, Jsonb *details, Payment *payment);
static void become(Order *order, const Payment *payment, OrderStatus to);
static Jsonb *report_details(const Report *report);
static Datum result_of_evidence(FunctionCallInfo fcinfo, const Order *order,
								const Payment *payment, const Applied *applied);
static Datum result_recorded(FunctionCallInfo fcinfo, text *order_id,
							 pg_uuid_t *payment_id, const char *message);
static void resolve_surplus(const pg_uuid_t *payment_id, text *note);
static void lock_for_operator(const pg_uuid_t *payment_id, Order *order,
							  Payment *payment);

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
 * payguard_evidence_answer is payguard_evidence_apply for a worker's answer about a live
 * payment, where the caller has looked up before what is looked up here otherwise. A transaction
 * that is taken in this very moment is error 23505 then, for the caller to catch.
 */
void
payguard_evidence_answer(Order *order, Payment *payment, const Report *reported,
						 const Known *known, Applied *applied)
{
	Report report = *reported;
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
	if (payguard_evidence_same_charge(payment) != NULL)
	{
		apply_to_dismissed(order, payment, &report, applied);
		return;
	}
	if (known)
		channel = *known->channel;
	else
		payguard_channel_of(payment, &channel);
	if (report.status == CHANNEL_NOT_FOUND && not_found_is_final(payment, &channel))
	{
		report.status = CHANNEL_CLOSED;
		if (report.code == NULL)
			report.code = payguard_text("not_found");
	}
	if ((known && known->new_txn) ||
		!txn_is_another_payment(order, payment, &report, applied))
	{
		read_facts(order, payment, &channel, &report, &facts);
		decision = decide_or_hold(order, &report, &facts);
		if (decision.second_charge)
			record_second_charge(order, payment, &report, applied);
		else if (decision.alert && strcmp(decision.alert, "contradiction") == 0)
			contradict(payment, &report, "contradiction",
					   "The channel has reported before that it took the money.",
					   applied);
		else
			follow_once(order, payment, &channel, &report, &decision, known, applied);
	}
	if (decision.query ||
		((is_no_answer(&report) || applied->contradicts) && has_open_amount(payment)))
		payguard_task_query(payguard_payment_about(payment), &channel);
	Assert(applied->now_known == NULL || report.txn_id != NULL ||
		   report.status == CHANNEL_SUCCEEDED);
}

/*
 * decide_or_hold decides. Late money does not pay an order by itself that needs an approval, or
 * that an operator wants to give back; a live attempt was allowed when it was started.
 */
static Decision
decide_or_hold(const Order *order, const Report *report, Facts *facts)
{
	Decision decision = payguard_decide(facts);

	if (decision.payment != PAYMENT_SUCCEEDED ||
		(facts->payment != PAYMENT_NONE && facts->payment != PAYMENT_FAILED) ||
		!(report->give_back || payguard_policy_holds(order, true)))
		return decision;
	facts->late_success = LATE_HOLD;
	return payguard_decide(facts);
}

/*
 * refund_status returns the state in which surplus money's refund begins.
 */
static RefundStatus
refund_status(const Decision *decision, const Report *report)
{
	return decision->hold && !report->give_back ? REFUND_AWAITING_APPROVAL
												: REFUND_PENDING;
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
		fill_in(f->order, f->payment, f->report, f->applied);
	else
		follow(f->order, f->payment, f->channel, f->report, f->decision, f->known,
			   f->applied);
}

/*
 * follow_once is follow() or fill_in() for a report whose transaction may be taken by a payment of
 * another order in this very moment: then it is a contradiction, like one that came a moment later.
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
 * is_no_answer tells whether a report leaves open what the channel was asked.
 */
static bool
is_no_answer(const Report *report)
{
	return report->status == CHANNEL_PENDING || report->status == CHANNEL_UNKNOWN ||
		   report->status == CHANNEL_NOT_FOUND;
}

/*
 * has_open_amount tells whether an attempt of ours, or a second charge of it, brought money
 * whose amount the channel has not named: then it has to be asked on.
 */
static bool
has_open_amount(const Payment *payment)
{
	Datum order_id = PointerGetDatum(payment->order_id);
	Payment *open;
	int n;

	if (payment->idempotency_key == NULL ||
		(payment->status != PAYMENT_SUCCEEDED && payment->status != PAYMENT_SURPLUS))
		return false;
	if (!payment->amount_verified)
		return true;
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
 * run_supersede_and_record: the other attempt makes room for the money before it goes in, which
 * must not stay so where the transaction is taken by another order's payment in this very moment.
 */
static void
run_supersede_and_record(void *argument)
{
	Recording *r = argument;

	supersede_other(r->order);
	if (!insert_recorded(r->order, r->channel->name, r->report, PAYMENT_SUCCEEDED, NULL,
						 r->payment))
		ereport(ERROR, (errcode(ERRCODE_UNIQUE_VIOLATION),
						errmsg("the channel's transaction is taken")));
}

/*
 * payguard_record_apply records money that came without an attempt of ours, and fills in the
 * payment that it made or was known by.
 */
void
payguard_record_apply(Order *order, const Channel *channel, const Report *report,
					  Payment *payment, Applied *applied)
{
	Payment like = {.channel = channel->name, .channel_txn_id = report->txn_id};
	Payment asked = {.amount = order->amount, .currency = order->currency};
	Facts facts = {
		.order = order->status,
		.closing_as = order->closing_as,
		.payment = PAYMENT_NONE,
		.report = CHANNEL_SUCCEEDED,
		.late_success = LATE_ACCEPT,
		.money_fits = money_fits(order, &asked, report),
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
	decision = decide_or_hold(order, report, &facts);
	if (decision.supersede ? !payguard_store_try(run_supersede_and_record, &r)
						   : !insert_recorded(order, channel->name, report,
											  decision.payment, NULL, payment))
	{
		payguard_store_refresh();
		payguard_record_apply(order, channel, report, payment, applied);
		return;
	}
	applied->changed = true;
	if (decision.order != order->status)
		become(order, payment, decision.order);
	if (decision.refund)
		payguard_refund_surplus(order, payment, refund_status(&decision, report));
	if (decision.alert)
		payguard_alert_payment(decision.alert,
							   severe(decision.alert) ? "critical" : "warning", payment,
							   NULL);
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
	bool was_open = payguard_payment_is_live(payment->status) ||
					payment->status == PAYMENT_SUPERSEDED;
	FieldSet also = was_open ? note_txn(payment, report) : 0;

	if (decision->supersede)
		supersede_other(order);
	switch (decision->payment)
	{
		case PAYMENT_SUCCEEDED:
		case PAYMENT_SURPLUS:
			if (moves)
				also |= take_money(payment, report);
			break;
		case PAYMENT_FAILED:
			if (moves)
				also |= note_failure(payment, report);
			break;
		case PAYMENT_PENDING:
		case PAYMENT_UNKNOWN:
		case PAYMENT_CLOSING:
		case PAYMENT_SUPERSEDED:
			break;
		case PAYMENT_NONE:
		case N_PAYMENT_STATUS:
			elog(ERROR, "payguard: %d is no status of a payment", decision->payment);
	}
	if (moves || also != 0)
	{
		payguard_payment_change(order, payment, decision->payment, also,
								report_details(report));
		applied->changed = true;
	}
	if (decision->order != order->status)
		become(order, payment, decision->order);

	if (moves && !payguard_payment_is_live(decision->payment) &&
		!(known && known->only_task))
		payguard_payment_end_tasks(payment);
	if (moves && payment->received_amount != NO_AMOUNT && !payment->amount_verified)
		payguard_task_query(payguard_payment_about(payment), channel);
	if (decision->close)
		close_again(payment, channel);
	if (decision->refund)
		payguard_refund_surplus(order, payment, refund_status(decision, report));
	if (decision->alert)
		payguard_alert_payment(decision->alert,
							   severe(decision->alert) ? "critical" : "warning", payment,
							   report_details(report));
	if (also & FIELD(PAYMENT_F_CHANNEL_TXN_ID))
		applied->now_known = payment->payment_id;
}

/*
 * close_again has the channel asked again to close an attempt; a request that waits already is
 * not put off.
 */
static void
close_again(const Payment *payment, const Channel *channel)
{
	Task waiting;

	if (payguard_task_find("close", payguard_payment_about(payment), &waiting) &&
		waiting.dead_at == NO_TIME)
		return;
	payguard_task_schedule(
		"close", payguard_payment_about(payment), payment->channel,
		payguard_time_plus(GetCurrentTimestamp(), channel->first_query_after));
}

static bool
severe(const char *alert)
{
	return strcmp(alert, "amount_mismatch") == 0;
}

/*
 * supersede_other: first money wins, and the order's live attempt is closed.
 */
static void
supersede_other(Order *order)
{
	Payment other;

	if (!payguard_payment_that_counts(order->order_id, &other) ||
		!payguard_payment_is_live(other.status))
		elog(ERROR, "payguard: order \"%s\" is paying without a live payment",
			 payguard_str(order->order_id));
	if (payguard_payment_withdraw_charge(&other))
	{
		other.failure_code = payguard_text("not_sent");
		other.completed_at = GetCurrentTimestamp();
		payguard_payment_change(
			order, &other, PAYMENT_FAILED,
			FIELD(PAYMENT_F_FAILURE_CODE) | FIELD(PAYMENT_F_COMPLETED_AT), NULL);
		payguard_payment_end_tasks(&other);
		return;
	}
	payguard_payment_change(order, &other, PAYMENT_SUPERSEDED, 0, NULL);
	payguard_task_schedule("close", payguard_payment_about(&other), other.channel,
						   GetCurrentTimestamp());
}

/*
 * become changes the order for its payment's sake.
 */
static void
become(Order *order, const Payment *payment, OrderStatus to)
{
	FieldSet also = FIELD(ORDER_F_CLOSING_AS);

	Assert(to != order->status);
	order->closing_as = ORDER_NONE;
	if (to == ORDER_PAID)
	{
		order->payment_id = payment->payment_id;
		also |= FIELD(ORDER_F_PAYMENT_ID);
	}
	payguard_order_change(
		order, to, also,
		psprintf("order.%s", payguard_machine_name(&payguard_order_machine, to)),
		payment->payment_id, NULL);
}

static void
read_facts(const Order *order, const Payment *payment, const Channel *channel,
		   const Report *report, Facts *facts)
{
	*facts = (Facts){
		.order = order->status,
		.closing_as = order->closing_as,
		.payment = payment->status,
		.report = report->status,
		.late_success = payguard_late_success(payguard_str(channel->late_success)),
		.money_fits = money_fits(order, payment, report),
		.other_txn = report->txn_id && payment->channel_txn_id &&
					 !payguard_text_equal(report->txn_id, payment->channel_txn_id),
	};
}

/*
 * money_fits tells whether what was reported is what the attempt asked for, and what the order
 * asks for now. What is not reported counts as asked.
 */
static bool
money_fits(const Order *order, const Payment *payment, const Report *report)
{
	int64 amount = report->amount != NO_AMOUNT ? report->amount : payment->amount;
	const text *currency = report->currency ? report->currency : payment->currency;

	return amount == payment->amount && amount == order->amount &&
		   payguard_text_equal(currency, payment->currency) &&
		   payguard_text_equal(currency, order->currency);
}

/*
 * not_found_is_final: some channels create the trade only when the customer opens it, so that
 * only a long silence after the attempt's end means that it will never be charged.
 */
static bool
not_found_is_final(const Payment *payment, const Channel *channel)
{
	TimestampTz from =
		payment->expires_at != NO_TIME ? payment->expires_at : payment->created_at;

	return payguard_time_plus(from, channel->not_found_is_final_after) <=
		   GetCurrentTimestamp();
}

/*
 * txn_is_another_payment looks whether the channel's transaction is known as another payment.
 * A report of a second charge, made about the first, is about the second; one that gives the
 * first its second name is about the first.
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

static bool
is_dismissed_as(const Payment *other, const Payment *payment)
{
	pg_uuid_t *same_as = payguard_evidence_same_charge(other);

	return same_as && memcmp(same_as, payment->payment_id, UUID_LEN) == 0;
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
		   (payguard_payment_is_live(payment->status) ||
			payment->status == PAYMENT_SUPERSEDED) &&
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
		become(order, payment,
			   order->closing_as != ORDER_NONE ? order->closing_as : ORDER_UNPAID);
	applied->changed = true;
}

/*
 * apply_to_dismissed: this payment is a second name of another charge. Its own transaction
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
	payguard_payment_must_be_there(payguard_evidence_same_charge(payment), &same);
	payguard_evidence_apply(order, &same, report, applied);
}

/*
 * payguard_evidence_same_charge returns the payment that a dismissed one is a second name of;
 * NULL: it was not dismissed.
 */
pg_uuid_t *
payguard_evidence_same_charge(const Payment *payment)
{
	text *same_as;

	if (payment->status != PAYMENT_FAILED ||
		!payguard_text_is(payment->failure_code, "same_charge") || !payment->details)
		return NULL;
	same_as = payguard_json_text(payment->details, "second_charge_of");
	return same_as ? DatumGetUUIDP(DirectFunctionCall1(
						 uuid_in, CStringGetDatum(payguard_str(same_as))))
				   : NULL;
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
	payguard_alert_payment(alert, "critical", payment, report_details(report));
	applied->contradicts = why;
}

/*
 * take_money fills in what was received.
 */
static FieldSet
take_money(Payment *payment, const Report *report)
{
	payment->received_amount =
		report->amount != NO_AMOUNT ? report->amount : payment->amount;
	payment->received_currency = report->currency ? report->currency : payment->currency;
	payment->amount_verified = report->amount != NO_AMOUNT;
	payment->channel_txn_id = report->txn_id ? report->txn_id : payment->channel_txn_id;
	payment->channel_time = report->channel_time;
	payment->failure_code = NULL;
	payment->failure_message = NULL;
	payment->completed_at = GetCurrentTimestamp();
	return FIELD(PAYMENT_F_RECEIVED_AMOUNT) | FIELD(PAYMENT_F_RECEIVED_CURRENCY) |
		   FIELD(PAYMENT_F_AMOUNT_VERIFIED) | FIELD(PAYMENT_F_CHANNEL_TXN_ID) |
		   FIELD(PAYMENT_F_CHANNEL_TIME) | FIELD(PAYMENT_F_FAILURE_CODE) |
		   FIELD(PAYMENT_F_FAILURE_MESSAGE) | FIELD(PAYMENT_F_COMPLETED_AT);
}

/*
 * note_failure fills in why an attempt brought no money.
 */
static FieldSet
note_failure(Payment *payment, const Report *report)
{
	payment->failure_code =
		report->code ? report->code
					 : payguard_text(payguard_channel_status_name(report->status));
	payment->failure_message = report->message;
	payment->completed_at = GetCurrentTimestamp();
	return FIELD(PAYMENT_F_FAILURE_CODE) | FIELD(PAYMENT_F_FAILURE_MESSAGE) |
		   FIELD(PAYMENT_F_COMPLETED_AT);
}

/*
 * note_txn notes the channel's transaction of an open attempt.
 */
static FieldSet
note_txn(Payment *payment, const Report *report)
{
	if (report->txn_id == NULL ||
		payguard_text_equal(report->txn_id, payment->channel_txn_id))
		return 0;
	payment->channel_txn_id = report->txn_id;
	return FIELD(PAYMENT_F_CHANNEL_TXN_ID);
}

/*
 * fill_in adds what was missing of money that is here: a transaction id, a time, an amount.
 * Another amount than was taken for granted is corrected; another than was reported before is
 * a contradiction.
 */
static void
fill_in(Order *order, Payment *payment, const Report *report, Applied *applied)
{
	bool other_amount =
		report->amount != NO_AMOUNT && report->amount != payment->received_amount;
	bool other_currency =
		report->currency &&
		!payguard_text_equal(report->currency, payment->received_currency);
	bool corrected = other_amount || other_currency;
	FieldSet also = note_txn(payment, report);

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
							report_details(report));
	applied->changed = true;
	if (corrected)
	{
		payguard_refund_correct_received(order, payment);
		payguard_alert_payment("amount_mismatch", "critical", payment,
							   report_details(report));
	}
	if (also & FIELD(PAYMENT_F_CHANNEL_TXN_ID))
		applied->now_known = payment->payment_id;
}

/*
 * record_second_charge: a success under another transaction is a second charge, or a second
 * name of the first. It is recorded as surplus; an operator decides about its refund.
 */
static void
record_second_charge(Order *order, Payment *payment, const Report *report,
					 Applied *applied)
{
	Payment second;

	if (!insert_recorded(
			order, payment->channel, report, PAYMENT_SURPLUS,
			payguard_json("second_charge_of", 'u', payment->payment_id, NULL), &second))
	{
		txn_is_another_payment(order, payment, report, applied);
		return;
	}
	payguard_refund_surplus(
		order, &second, report->give_back ? REFUND_PENDING : REFUND_AWAITING_APPROVAL);
	payguard_alert_payment("second_charge", "critical", &second, report_details(report));
	applied->changed = true;
}

/*
 * insert_recorded makes a payment of money that we did not ask for; false: the channel's
 * transaction is known by now.
 */
static bool
insert_recorded(const Order *order, const text *channel, const Report *report,
				PaymentStatus status, Jsonb *details, Payment *payment)
{
	TimestampTz now = GetCurrentTimestamp();

	*payment = (Payment){
		.payment_id = payguard_uuid_v7(payguard_slot_of(order->order_id)),
		.order_id = order->order_id,
		.channel = unconstify(text *, channel),
		.amount = order->amount,
		.currency = order->currency,
		.status = payguard_machine_move(&payguard_payment_machine, PAYMENT_NONE, status),
		.order_version = order->version,
		.request_kind = payguard_text("record"),
		.details = details,
		.created_at = now,
		.expires_at = NO_TIME,
	};
	take_money(payment, report);
	for (bool again = false;
		 !payguard_store_insert_new(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, payment);
		 again = true)
	{
		Payment known;

		payguard_store_refresh();
		if (payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, payment,
								&known))
			return false;
		/* whose it was has let go of it in this moment, or a user's trigger swallows our row */
		if (again)
			payguard_store_suppressed(&payguard_payments);
	}
	payguard_event_write(
		psprintf("payment.%s", payguard_machine_name(&payguard_payment_machine, status)),
		payguard_payment_about(payment), NULL,
		payguard_machine_name(&payguard_payment_machine, status), NO_ID,
		report_details(report));
	return true;
}

/*
 * report_details tells in an event what a report said.
 */
static Jsonb *
report_details(const Report *report)
{
	return payguard_json(
		"channel_status", 's', payguard_channel_status_name(report->status),
		"channel_txn_id", 't', report->txn_id, "amount", 'i', report->amount, "currency",
		't', report->currency, "code", 't', report->code, "message", 't', report->message,
		"channel_time", 'd', report->channel_time, "note", 't', report->note, NULL);
}

PG_FUNCTION_INFO_V1(payguard_report_payment);

/*
 * report_payment(payment_id, channel_status, channel_txn_id, amount, currency, code, message,
 *				  channel_time) → payment_result
 *
 * amount: minor units, as the channel says. Errors: 22004, 22023 for malformed arguments only.
 * An unknown payment, a reused transaction and a contradiction are stored, alerted and
 * returned with the outcome "recorded".
 */
Datum
payguard_report_payment(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	Report report = {
		.status = payguard_arg_channel_status(ARG(1), "channel_status"),
		.txn_id = payguard_arg_id_or_null(ARG(2), "channel_txn_id"),
		.amount = payguard_arg_amount_or_null(ARG(3), "amount"),
		.currency = payguard_arg_currency_or_null(ARG(4), "currency"),
		.code = payguard_arg_id_or_null(ARG(5), "code"),
		.message = payguard_arg_note_or_null(ARG(6), "message"),
		.channel_time = payguard_arg_time_or_null(ARG(7), "channel_time"),
	};
	Order order;
	Payment payment;
	Applied applied = {0};

	payguard_evidence_begin("report_payment()");
	if (!payguard_payment_find(payment_id, &payment))
	{
		payguard_notification_keep(NULL, NULL, payment_id, NULL, &report, "unmatched");
		payguard_call_end();
		return result_recorded(fcinfo, NULL, payment_id,
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
	return result_of_evidence(fcinfo, &order, &payment, &applied);
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
			return report->status != CHANNEL_SUCCEEDED;
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
 * Errors: 22004, 22023 for malformed arguments only. An unknown order or channel is stored,
 * alerted and returned with the outcome "recorded".
 */
Datum
payguard_record_payment(PG_FUNCTION_ARGS)
{
	text *order_id = payguard_arg_id(ARG(0), "order_id");
	text *channel_name = payguard_arg_id(ARG(1), "channel");
	Report report = {
		.status = CHANNEL_SUCCEEDED,
		.txn_id = payguard_arg_id(ARG(2), "channel_txn_id"),
		.amount = payguard_arg_amount(ARG(3), "amount"),
		.currency = payguard_arg_currency(ARG(4), "currency"),
		.channel_time = payguard_arg_time_or_null(ARG(5), "channel_time"),
	};
	Channel channel;
	Order order;
	Payment payment;
	Applied applied = {0};

	payguard_evidence_begin("record_payment()");
	if (!payguard_channel_find(channel_name, &channel) ||
		!payguard_order_find(order_id, &order))
	{
		payguard_notification_keep(channel_name, order_id, NULL, NULL, &report,
								   "unmatched");
		payguard_call_end();
		return result_recorded(fcinfo, order_id, NULL,
							   "The order or the channel is not known; the report is "
							   "kept for a person to look at.");
	}
	payguard_order_lock(order_id, &order);
	payguard_store_refresh();
	payguard_record_apply(&order, &channel, &report, &payment, &applied);
	payguard_notification_match(&order, &payment, &applied);
	payguard_call_end();
	/* whose transaction it is, is not this caller's business */
	if (!payguard_text_equal(payment.order_id, order_id))
		return result_recorded(fcinfo, order_id, NULL, applied.contradicts);
	return result_of_evidence(fcinfo, &order, &payment, &applied);
}

PG_FUNCTION_INFO_V1(payguard_settle_payment);

/*
 * settle_payment(payment_id, channel_status, note, channel_txn_id, amount, currency)
 *	→ payment_result
 *
 * An operator's word, by the rules of report_payment(). Errors: 22004, 22023; PY402.
 */
Datum
payguard_settle_payment(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	Report report = {
		.status = payguard_arg_channel_status(ARG(1), "channel_status"),
		.note = payguard_arg_note(ARG(2), "note"),
		.txn_id = payguard_arg_id_or_null(ARG(3), "channel_txn_id"),
		.amount = payguard_arg_amount_or_null(ARG(4), "amount"),
		.currency = payguard_arg_currency_or_null(ARG(5), "currency"),
		.channel_time = NO_TIME,
	};
	Order order;
	Payment payment;
	Applied applied;

	payguard_request_begin("settle_payment()");
	payguard_payment_must_exist(payment_id, &payment);
	payguard_payment_lock(payment_id, &order, &payment);
	payguard_evidence_apply(&order, &payment, &report, &applied);
	payguard_notification_match(&order, &payment, &applied);
	payguard_call_end();
	return result_of_evidence(fcinfo, &order, &payment, &applied);
}

PG_FUNCTION_INFO_V1(payguard_accept_surplus);

/*
 * accept_surplus(payment_id, note) → payment_result
 *
 * Surplus money pays its order after all. Errors: 22004, 22023; PY402; PY105 where it is not
 * surplus, its amount is not verified, or its refund has begun; PY101, PY103; PY501, PY502.
 */
Datum
payguard_accept_surplus(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	text *note = payguard_arg_note(ARG(1), "note");
	Order order;
	Payment payment;
	Refusal refusal;
	Applied applied = {.changed = true};

	payguard_request_begin("accept_surplus()");
	lock_for_operator(payment_id, &order, &payment);
	if ((order.status == ORDER_PAID || order.status == ORDER_REFUNDED ||
		 order.status == ORDER_PAYING) &&
		!payguard_refuse_unpayable(&order, GetCurrentTimestamp(), &refusal))
		payguard_raise(&refusal);
	if (!payment.amount_verified)
		payguard_refuse(&refusal, ERR_ILLEGAL_TRANSITION,
						psprintf("the amount of payment \"%s\" is not verified",
								 payguard_uuid_str(payment_id)),
						"The channel has reported the money and not its amount.",
						"Wait for the channel's answer, or name the amount with "
						"payguard.settle_payment().");
	else if (!payguard_text_equal(payment.received_currency, order.currency))
		payguard_refuse(
			&refusal, ERR_CURRENCY_MISMATCH,
			psprintf("order \"%s\" is in another currency", payguard_str(order.order_id)),
			psprintf("The order asks for %s, the payment is in %s.",
					 payguard_money(order.amount, order.currency),
					 payguard_str(payment.received_currency)),
			"Refund the payment.");
	else if (payment.received_amount != order.amount)
		payguard_refuse(
			&refusal, ERR_AMOUNT_MISMATCH,
			psprintf("order \"%s\" asks for another amount",
					 payguard_str(order.order_id)),
			psprintf("The order asks for %s, the payment brought %s.",
					 payguard_money(order.amount, order.currency),
					 payguard_money(payment.received_amount, payment.received_currency)),
			"Refund the payment, or change the order first.");
	else if (!payguard_policy_judge(&order, order.version, true, NULL, &refusal))
		;
	else if (!payguard_refund_waive_unbegun(&payment, note))
		payguard_refuse(&refusal, ERR_ILLEGAL_TRANSITION,
						psprintf("the refund of payment \"%s\" has begun",
								 payguard_uuid_str(payment_id)),
						"Its money may be on its way back.",
						"Wait for the refund's outcome.");
	else
	{
		payguard_payment_change(&order, &payment, PAYMENT_SUCCEEDED, 0,
								payguard_json("note", 't', note, NULL));
		become(&order, &payment, ORDER_PAID);
		resolve_surplus(payment_id, note);
		payguard_call_end();
		return result_of_evidence(fcinfo, &order, &payment, &applied);
	}
	payguard_raise(&refusal);
}

PG_FUNCTION_INFO_V1(payguard_dismiss_surplus);

/*
 * dismiss_surplus(payment_id, same_as, note) → payment_result
 *
 * Surplus money was a second name of the charge same_as: it was never received twice. Errors:
 * 22004, 22023; PY402; PY105 where it is not surplus or its refund has begun.
 */
Datum
payguard_dismiss_surplus(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	pg_uuid_t *same_as = payguard_arg_uuid(ARG(1), "same_as");
	text *note = payguard_arg_note(ARG(2), "note");
	Order order;
	Payment payment;
	Payment same;
	Refusal refusal;
	Applied applied = {.changed = true};
	Applied filled_in = {0};
	Report named = {
		.status = CHANNEL_SUCCEEDED, .amount = NO_AMOUNT, .channel_time = NO_TIME};

	payguard_request_begin("dismiss_surplus()");
	payguard_payment_must_exist(same_as, &same);
	lock_for_operator(payment_id, &order, &payment);
	/* it may have been dismissed itself, as a second name of this one */
	if (memcmp(payment_id, same_as, UUID_LEN) == 0 ||
		!payguard_payment_reread(same_as, &same) ||
		!payguard_text_equal(same.order_id, payment.order_id) ||
		!payguard_text_equal(same.channel, payment.channel) ||
		(same.status != PAYMENT_SUCCEEDED && same.status != PAYMENT_SURPLUS))
		payguard_arg_bad(
			"same_as",
			"It is no other payment of this order and channel that brought "
			"money.",
			"Give the payment_id of the charge that this is a second name of.");
	if (!payguard_refund_waive_unbegun(&payment, note))
	{
		payguard_refuse(&refusal, ERR_ILLEGAL_TRANSITION,
						psprintf("the refund of payment \"%s\" has begun",
								 payguard_uuid_str(payment_id)),
						"Its money may be on its way back.",
						"Wait for the refund's outcome.");
		payguard_raise(&refusal);
	}
	if (payment.amount_verified)
	{
		named.amount = payment.received_amount;
		named.currency = payment.received_currency;
	}
	payment.received_amount = 0;
	payment.failure_code = payguard_text("same_charge");
	payment.details = payguard_json("second_charge_of", 'u', same_as, NULL);
	payguard_payment_change(
		&order, &payment, PAYMENT_FAILED,
		FIELD(PAYMENT_F_RECEIVED_AMOUNT) | FIELD(PAYMENT_F_FAILURE_CODE) |
			FIELD(PAYMENT_F_DETAILS),
		payguard_json("same_as", 'u', same_as, "note", 't', note, NULL));
	payguard_refund_correct_received(&order, &payment);
	/* what the channel named under one name holds for the other */
	if (!same.amount_verified)
		fill_in(&order, &same, &named, &filled_in);
	Assert(filled_in.now_known == NULL);
	resolve_surplus(payment_id, note);
	payguard_call_end();
	return result_of_evidence(fcinfo, &order, &payment, &applied);
}

/*
 * lock_for_operator locks the order of a surplus payment. Errors: PY402, PY105.
 */
static void
lock_for_operator(const pg_uuid_t *payment_id, Order *order, Payment *payment)
{
	Refusal refusal;

	payguard_payment_must_exist(payment_id, payment);
	payguard_payment_lock(payment_id, order, payment);
	if (payment->status == PAYMENT_SURPLUS)
		return;
	payguard_refuse(
		&refusal, ERR_ILLEGAL_TRANSITION,
		psprintf("payment \"%s\" is not surplus", payguard_uuid_str(payment_id)),
		psprintf("It is %s.",
				 payguard_machine_name(&payguard_payment_machine, payment->status)),
		"Only surplus money can be accepted or dismissed.");
	payguard_raise(&refusal);
}

/*
 * resolve_surplus closes the alerts of surplus money that an operator has decided about.
 */
static void
resolve_surplus(const pg_uuid_t *payment_id, text *note)
{
	text *cause = payguard_text(payguard_uuid_str(payment_id));

	payguard_alert_resolve("surplus_payment", cause, note);
	payguard_alert_resolve("second_charge", cause, note);
	payguard_alert_resolve("amount_mismatch", cause, note);
}

static Datum
result_of_evidence(FunctionCallInfo fcinfo, const Order *order, const Payment *payment,
				   const Applied *applied)
{
	PaymentResult result;

	payguard_result_of(payment, order, !applied->changed && !applied->contradicts,
					   &result);
	result.version = order->version;
	if (applied->contradicts)
	{
		result.outcome = "recorded";
		result.message = applied->contradicts;
	}
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}

static Datum
result_recorded(FunctionCallInfo fcinfo, text *order_id, pg_uuid_t *payment_id,
				const char *message)
{
	PaymentResult result = {
		.outcome = "recorded",
		.order_id = order_id,
		.payment_id = payment_id,
		.completed_at = NO_TIME,
		.message = message,
	};

	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}
