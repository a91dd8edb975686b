/*
 * resolve_finding.c
 *		What operators do about the differences that reconcile() found: resolve_finding(); and how
 *		a finding ends whose difference is gone: close_findings().
 *
 * A finding is an alert whose details hold the statement's line. To accept it is to apply the line
 * as evidence, by the same rules as any report. reconcile() itself is SQL.
 *
 * Locking: the order's row lock first, then the finding's.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "base/argument.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/actor.h"
#include "records/alert.h"
#include "records/approval.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/event.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"
#include "money/policy.h"
#include "money/surplus.h"
#include "evidence/apply.h"
#include "evidence/facts.h"
#include "evidence/message.h"
#include "evidence/returned.h"
#include "evidence/reversal.h"
#include "requests/judge.h"

#define FINDING_PREFIX "settlement_"
#define N_FINDING_RESULT_COLUMNS 7

/* The statement's line that a finding is about. */
typedef struct Line
{
	const char *finding;
	text *channel;
	bool of_refund; /* of money that went back */
	text *kind;
	text *txn_id;
	text *
		first_txn; /* of the payment whose duplicate this is, where we do not know it yet */
	pg_uuid_t *payment_id; /* as the line names them */
	text *order_id;
	pg_uuid_t *refund_id;
	Report report;
} Line;

/* What the line is applied to: one of them is found. */
typedef struct Target
{
	text *order_id;
	bool has_payment;
	bool has_refund;
	Payment payment;
	Refund refund;
	Channel channel;
} Target;

static int64 read_alert_id(Datum value, bool isnull);
static void must_be_finding(int64 alert_id, bool lock, Alert *alert);
static bool is_finding(const Alert *alert);
static bool refuse(Refusal *refusal, const char *message, const char *detail,
				   const char *hint);
static void read_line(const Alert *alert, Line *line);
static bool judge_action(const Line *line, const char *action, Refusal *refusal);
static void lock_target(const Line *line, Target *target, Order *order);
static bool find_target(const Line *line, Target *target, Refusal *refusal);
static bool find_refund(const Line *line, Target *target, Refusal *refusal);
static bool fits_payment(const Line *line, const Target *target);
static bool fits_refund(const Line *line, const Target *target);
static bool is_one_at_most(const Payment *payment);
static bool has_second_person(Alert *alert, const Line *line, text *note);
static void apply(const Line *line, Order *order, Target *target, Applied *applied);
static void name_first(const Line *line, Order *order, Payment *payment);
static void give_back(const Alert *alert, const Line *line, Order *order, text *note);
static void resolve(Alert *alert, const Line *line, const char *outcome, text *note);
static Datum finding_result(FunctionCallInfo fcinfo, const Alert *alert, const Line *line,
							const char *outcome, const char *message);

PG_FUNCTION_INFO_V1(payguard_resolve_finding);

/*
 * resolve_finding(alert_id, action, note) → finding_result
 *
 * action: accept (the line is evidence), refund (it is, and the money goes back), waive. Errors:
 * 22004; 22023 where there is no such finding; PY105 where it is resolved, or the line cannot be
 * applied; PY401-PY403 where the line names nothing that is known; PY602.
 */
Datum
payguard_resolve_finding(PG_FUNCTION_ARGS)
{
	int64 alert_id = read_alert_id(ARG(0));
	const char *action = payguard_str(payguard_arg_id(ARG(1), "action"));
	text *note = payguard_arg_note(ARG(2), "note");
	bool waive = strcmp(action, "waive") == 0;
	bool refund = strcmp(action, "refund") == 0;
	const char *outcome = waive ? "waived" : refund ? "refunded" : "accepted";
	Alert alert;
	Line line;
	Target target = {0};
	Order order;
	Applied applied;
	Refusal refusal;

	if (!waive && !refund && strcmp(action, "accept") != 0)
		payguard_arg_bad("action", psprintf("\"%s\" is not known.", action),
						 "Use accept, refund or waive.");
	payguard_request_begin("resolve_finding()");
	must_be_finding(alert_id, false, &alert);
	read_line(&alert, &line);
	if (!waive)
	{
		if (!judge_action(&line, action, &refusal))
			payguard_raise(&refusal);
		lock_target(&line, &target, &order);
	}
	must_be_finding(alert_id, true, &alert);
	if (waive || refund)
		payguard_approval_end(NULL, NULL, alert_id);
	if (!waive && !refund && !has_second_person(&alert, &line, note))
	{
		payguard_call_end();
		return finding_result(fcinfo, &alert, &line, "approval_required",
							  "Somebody else has to accept it, too.");
	}
	if (!waive)
	{
		line.report.note = note;
		line.report.corrects = true;
		line.report.give_back = refund;
		apply(&line, &order, &target, &applied);
		alert.order_id = target.order_id;
		if (target.payment.payment_id)
			alert.payment_id = target.payment.payment_id;
		if (applied.contradicts)
		{
			refuse(&refusal, "the statement's line cannot be applied",
				   applied.contradicts,
				   "Find out what is true. Record what is missing with the other "
				   "functions, and waive the finding.");
			payguard_raise(&refusal);
		}
		if (refund)
			give_back(&alert, &line, &order, note);
	}
	resolve(&alert, &line, outcome, note);
	payguard_call_end();
	return finding_result(fcinfo, &alert, &line, outcome,
						  waive	   ? "The difference stays as it is."
						  : refund ? "The line has been applied, and the money goes back."
								   : "The line has been applied.");
}

/*
 * lock_target finds what a line is about, and locks its order. Errors: 40001 where it has changed while the
 * order was waited for.
 */
static void
lock_target(const Line *line, Target *target, Order *order)
{
	text *order_id;
	Refusal refusal;

	if (!find_target(line, target, &refusal))
		payguard_raise(&refusal);
	order_id = target->order_id;
	if (!payguard_order_lock(order_id, order))
		elog(ERROR, "payguard: the order of a finding has vanished");
	payguard_store_refresh();
	if (!find_target(line, target, &refusal))
		payguard_raise(&refusal);
	if (!payguard_text_equal(order_id, target->order_id))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("what the finding is about has changed meanwhile"),
				 errdetail("Nothing has been written."), errhint("Repeat the call.")));
	/* locked where an older snapshot may not show what it is now */
	if (target->has_refund)
		payguard_refund_must_be_there(target->refund.refund_id, &target->refund);
	else if (target->has_payment)
		payguard_payment_must_be_there(target->payment.payment_id, &target->payment);
}

PG_FUNCTION_INFO_V1(payguard_close_findings);

/*
 * close_findings(alert_ids) → bigint: resolves findings whose difference is gone; returns how many. One that somebody
 * is just resolving is left alone. Errors: 22004.
 */
Datum
payguard_close_findings(PG_FUNCTION_ARGS)
{
	Datum *ids;
	int n;
	int64 closed = 0;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("alert_ids");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &ids, NULL, &n);
	payguard_request_begin("close_findings()");
	for (int i = 0; i < n; i++)
	{
		Alert like = {.alert_id = DatumGetInt64(ids[i])};
		Alert alert;

		CHECK_FOR_INTERRUPTS();
		if (!payguard_store_lock_free(&payguard_alerts, ALERT_BY_ID, &like, &alert) ||
			alert.resolved_at != NO_TIME)
			continue;
		payguard_approval_end(NULL, NULL, alert.alert_id);
		payguard_alert_end(&alert, payguard_text("reconcile"),
						   payguard_text("The difference is gone."));
		closed++;
	}
	payguard_call_end();
	PG_RETURN_INT64(closed);
}

static int64
read_alert_id(Datum value, bool isnull)
{
	if (isnull)
		payguard_arg_missing("alert_id");
	return DatumGetInt64(value);
}

/*
 * must_be_finding reads a finding that nobody has resolved. Errors: 22023; PY105.
 */
static void
must_be_finding(int64 alert_id, bool lock, Alert *alert)
{
	Alert like = {.alert_id = alert_id};
	bool found = lock ? payguard_store_lock(&payguard_alerts, ALERT_BY_ID, &like, alert)
					  : payguard_store_find(&payguard_alerts, ALERT_BY_ID, &like, alert);
	Refusal refusal;

	if (!found || !is_finding(alert))
		payguard_arg_bad("alert_id", "There is no such finding.",
						 "Give an alert_id that payguard.reconcile() returned.");
	if (alert->resolved_at == NO_TIME)
		return;
	refuse(&refusal, psprintf("finding " INT64_FORMAT " is resolved", alert_id),
		   psprintf("\"%s\" resolved it at %s: %s", payguard_str(alert->resolved_by),
					payguard_time_str(alert->resolved_at), payguard_str(alert->note)),
		   "There is nothing left to decide.");
	payguard_raise(&refusal);
}

static bool
is_finding(const Alert *alert)
{
	return strncmp(payguard_str(alert->kind), FINDING_PREFIX, strlen(FINDING_PREFIX)) ==
			   0 &&
		   alert->details != NULL;
}

static bool
refuse(Refusal *refusal, const char *message, const char *detail, const char *hint)
{
	return payguard_refuse(refusal, ERR_ILLEGAL_TRANSITION, message, detail, hint);
}

static void
read_line(const Alert *alert, Line *line)
{
	Jsonb *details = alert->details;
	text *status = payguard_json_text(details, "channel_status");
	text *time = payguard_json_text(details, "channel_time");

	*line = (Line){
		.finding = payguard_str(alert->kind) + strlen(FINDING_PREFIX),
		.channel = payguard_json_text(details, "channel"),
		.kind = payguard_json_text(details, "kind"),
		.txn_id = payguard_json_text(details, "channel_txn_id"),
		.first_txn = payguard_json_text(details, "first_txn"),
		.payment_id = payguard_json_uuid(details, "payment_id"),
		.order_id = payguard_json_text(details, "order_id"),
		.refund_id = payguard_json_uuid(details, "refund_id"),
		.report =
			{
				.status =
					status ? payguard_channel_status(payguard_str(status)) : CHANNEL_NONE,
				.amount = payguard_json_int(details, "amount"),
				.currency = payguard_json_text(details, "currency"),
				.channel_time = NO_TIME,
			},
	};
	line->of_refund = !payguard_text_is(line->kind, "payment");
	line->report.txn_id =
		line->of_refund ? payguard_json_text(details, "channel_refund_id") : line->txn_id;
	if (line->of_refund)
	{
		line->report.reversal_kind = line->kind;
		line->report.reversal_of = line->txn_id;
	}
	if (time)
		line->report.channel_time = DatumGetTimestampTz(
			DirectFunctionCall3(timestamptz_in, CStringGetDatum(payguard_str(time)),
								ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/*
 * judge_action refuses what a finding does not allow: a statement that lacks a line has nothing to
 * apply, and what did not come, or went back, is not refunded.
 */
static bool
judge_action(const Line *line, const char *action, Refusal *refusal)
{
	if (line->report.status == CHANNEL_NONE)
		return refuse(refusal,
					  psprintf("the finding \"%s\" cannot be resolved by %s",
							   line->finding, action),
					  "The statement has no line that could be applied.",
					  "Ask the channel, and waive the finding.");
	if (strcmp(action, "refund") == 0 &&
		(line->of_refund || line->report.status != CHANNEL_SUCCEEDED))
		return refuse(
			refusal,
			psprintf("the finding \"%s\" cannot be resolved by refund", line->finding),
			"The line is not about money that came.", "Accept or waive the finding.");
	return true;
}

/*
 * payguard_judge_finding tells whether a finding may be resolved by an action. What the line would contradict is
 * refused; so is what nobody can tell before it is done.
 */
bool
payguard_judge_finding(int64 alert_id, const char *action, Refusal *refusal)
{
	Alert like = {.alert_id = alert_id};
	Alert alert;
	Line line;
	Target target = {0};

	if (!payguard_store_find(&payguard_alerts, ALERT_BY_ID, &like, &alert) ||
		alert.resolved_at != NO_TIME || !is_finding(&alert))
		return refuse(refusal, "there is no such finding", NULL, NULL);
	if (strcmp(action, "waive") == 0)
		return true;
	read_line(&alert, &line);
	if (!judge_action(&line, action, refusal) || !find_target(&line, &target, refusal))
		return false;
	line.report.corrects = true;
	line.report.give_back = strcmp(action, "refund") == 0;
	return (line.of_refund ? fits_refund(&line, &target)
						   : fits_payment(&line, &target)) ||
		   refuse(refusal, "the statement's line cannot be applied", NULL, NULL);
}

/*
 * fits_payment tells whether a line about money that came does not contradict what is known.
 */
static bool
fits_payment(const Line *line, const Target *target)
{
	Payment like = {.channel = line->channel, .channel_txn_id = line->txn_id};
	Payment of_txn;
	Order order;
	Channel channel;
	Facts facts;
	Decision decision;

	if (payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, &like, &of_txn) &&
		!(target->has_payment &&
		  payguard_uuid_equal(of_txn.payment_id, target->payment.payment_id)))
		return false;
	if (!target->has_payment)
		return true;
	if (payguard_payment_same_charge(&target->payment) ||
		!payguard_order_find(target->order_id, &order))
		return false;
	payguard_channel_of(&target->payment, &channel);
	payguard_facts_read(&order, &target->payment, &channel, &line->report, &facts);
	decision = payguard_decide_or_hold(&order, &line->report, &facts);
	return !decision.alert || strcmp(decision.alert, "contradiction") != 0;
}

/*
 * fits_refund tells whether a line about money that went back does not contradict what is known.
 */
static bool
fits_refund(const Line *line, const Target *target)
{
	const Refund *refund = &target->refund;
	bool made = line->report.status == CHANNEL_SUCCEEDED;

	if (!target->has_refund)
		return made && is_one_at_most(&target->payment);
	if (refund->channel_refund_id &&
		!payguard_text_equal(refund->channel_refund_id, line->report.txn_id))
		return false;
	switch (refund->status)
	{
		case REFUND_PENDING:
		case REFUND_UNKNOWN:
			return true;
		case REFUND_AWAITING_APPROVAL:
		case REFUND_SUCCEEDED:
		case REFUND_FAILED:
			return made;
		default:
			return false;
	}
}

/*
 * is_one_at_most tells whether nobody can take what a channel gave back on its own for one of several refunds of ours.
 */
static bool
is_one_at_most(const Payment *payment)
{
	Refund *refunds;
	int n = payguard_refund_list_of(payment, &refunds);
	int ours = 0;

	for (int i = 0; i < n; i++)
		ours += refunds[i].reversal_kind == NULL;
	return ours <= 1;
}

/*
 * find_target looks for what a line is about; false: that is not known (PY401, PY402, PY403).
 */
static bool
find_target(const Line *line, Target *target, Refusal *refusal)
{
	Payment like = {.channel = line->channel, .channel_txn_id = line->txn_id};
	bool by_txn;
	bool named;
	Payment of_txn;
	Order order;

	*target = (Target){0};
	if (line->of_refund)
		return find_refund(line, target, refusal);
	by_txn =
		payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, &like, &of_txn);
	named = line->payment_id &&
			payguard_payment_find(line->payment_id, &target->payment) &&
			payguard_text_equal(target->payment.channel, line->channel);
	if (by_txn && (named ? payguard_text_equal(of_txn.order_id, target->payment.order_id)
						 : line->order_id == NULL ||
							   payguard_text_equal(of_txn.order_id, line->order_id)))
		target->payment = of_txn;
	else if (!named)
	{
		if (line->order_id && payguard_order_find(line->order_id, &order) &&
			payguard_channel_find(line->channel, &target->channel))
		{
			target->order_id = order.order_id;
			return true;
		}
		return payguard_refuse(
			refusal, line->order_id ? ERR_ORDER_NOT_FOUND : ERR_PAYMENT_NOT_FOUND,
			"the statement's line names nothing that is known",
			psprintf("Transaction \"%s\" belongs to no payment, and the line names "
					 "no payment or order of ours.",
					 payguard_str(line->txn_id)),
			"Find out whose money it is; record it with "
			"payguard.record_payment(), or waive the finding.");
	}
	target->has_payment = true;
	target->order_id = target->payment.order_id;
	return true;
}

static bool
find_refund(const Line *line, Target *target, Refusal *refusal)
{
	Refund by_channel = {.channel = line->channel,
						 .channel_refund_id = line->report.txn_id};
	Refund by_id = {.refund_id = line->refund_id};
	Payment of_line;

	target->has_refund =
		payguard_store_find(&payguard_refunds, REFUND_BY_CHANNEL_REFUND, &by_channel,
							&target->refund) ||
		(line->refund_id &&
		 payguard_store_find(&payguard_refunds, REFUND_BY_ID, &by_id, &target->refund) &&
		 payguard_text_equal(target->refund.channel, line->channel));
	target->has_payment =
		!target->has_refund && line->txn_id &&
		payguard_refund_find_reversed(line->channel, line->txn_id, &target->payment);
	if (!target->has_refund && !target->has_payment)
		return payguard_refuse(
			refusal, ERR_REFUND_NOT_FOUND,
			"the statement's line names nothing that is known",
			psprintf("Refund \"%s\" is not known, nor is money of the transaction "
					 "that it gives back.",
					 payguard_str(line->report.txn_id)),
			"Resolve the finding of the payment first, or waive this one.");
	if (target->has_refund && line->txn_id &&
		payguard_refund_find_reversed(line->channel, line->txn_id, &of_line) &&
		!payguard_uuid_equal(of_line.payment_id, target->refund.payment_id))
		return refuse(refusal, "the statement's line cannot be applied",
					  psprintf("It gives back money of payment \"%s\", but refund \"%s\" "
							   "belongs to another payment.",
							   payguard_uuid_str(of_line.payment_id),
							   payguard_uuid_str(target->refund.refund_id)),
					  "Ask the channel, and waive the finding.");
	target->order_id =
		target->has_refund ? target->refund.order_id : target->payment.order_id;
	return true;
}

/*
 * has_second_person tells whether the finding may be accepted now; otherwise an approval has been
 * asked for. Errors: PY602 where who asked accepts.
 */
static bool
has_second_person(Alert *alert, const Line *line, text *note)
{
	Approval approval = {
		.subject = payguard_text("finding"),
		.order_id = alert->order_id,
		.alert_id = alert->alert_id,
		.amount = line->report.amount,
		.currency = line->report.currency,
	};
	Asked asked;

	if (payguard_approval_of_finding(alert->alert_id, &approval))
	{
		payguard_approval_decide(&approval, true, note);
		return true;
	}
	if (!payguard_policy_asks(line->report.currency, line->report.amount, &asked) ||
		!(line->of_refund ? asked.approve_refund : asked.approve_payment))
		return true;
	approval.requested_by = payguard_actor();
	approval.note = note;
	/* whoever has an older snapshot would resolve the finding and leave this open: its row stops him */
	payguard_store_update(&payguard_alerts, FIELD(ALERT_F_SEVERITY), alert);
	payguard_approval_ask(&approval);
	return false;
}

static void
apply(const Line *line, Order *order, Target *target, Applied *applied)
{
	text *cause;

	if (target->has_refund)
	{
		payguard_refund_report(order, &line->report, &target->refund, applied);
		cause = payguard_text(payguard_uuid_str(target->refund.refund_id));
		payguard_alert_resolve("refund_mismatch", cause, line->report.note);
	}
	else if (line->of_refund)
		payguard_refund_reverse(order, &target->payment, &line->report, &target->refund,
								applied);
	else if (target->has_payment)
	{
		if (line->first_txn && target->payment.channel_txn_id == NULL)
			name_first(line, order, &target->payment);
		payguard_evidence_apply(order, &target->payment, &line->report, applied);
		payguard_notification_match(order, &target->payment, applied);
		cause = payguard_text(payguard_uuid_str(target->payment.payment_id));
		/* whoever accepts another amount has seen it */
		if (strcmp(line->finding, "amount_mismatch") == 0 ||
			strcmp(line->finding, "currency_mismatch") == 0)
			payguard_alert_resolve("amount_mismatch", cause, line->report.note);
	}
	else
	{
		payguard_record_apply(order, &target->channel, &line->report, &target->payment,
							  applied);
		payguard_notification_match(order, &target->payment, applied);
	}
}

/*
 * name_first tells a payment whose transaction we did not know which of the statement's it is, so
 * that the other one is a second charge.
 */
static void
name_first(const Line *line, Order *order, Payment *payment)
{
	Report first = {
		.status = CHANNEL_SUCCEEDED,
		.txn_id = line->first_txn,
		.amount = NO_AMOUNT,
		.channel_time = NO_TIME,
		.note = line->report.note,
	};
	Applied applied;

	payguard_evidence_apply(order, payment, &first, &applied);
	payguard_notification_match(order, payment, &applied);
}

/*
 * give_back refunds what came by the line's transaction and is not on its way back yet.
 */
static void
give_back(const Alert *alert, const Line *line, Order *order, text *note)
{
	Payment like = {.channel = line->channel, .channel_txn_id = line->txn_id};
	Payment payment;

	payguard_store_refresh(); /* to see what the line has become */
	if (!payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, &like, &payment))
		elog(ERROR, "payguard: the payment of a finding is not to be found");
	payguard_refund_rest(
		order, &payment,
		payguard_text(psprintf("finding " INT64_FORMAT, alert->alert_id)), note);
}

/*
 * resolve closes the finding and writes its event.
 */
static void
resolve(Alert *alert, const Line *line, const char *outcome, text *note)
{
	About about = {.order_id = alert->order_id, .payment_id = alert->payment_id};

	payguard_alert_end(alert, payguard_actor(), note);
	payguard_event_write(
		psprintf("finding.%s", outcome), about, NULL, NULL, NO_ID,
		payguard_json("alert_id", 'n', alert->alert_id, "finding", 's', line->finding,
					  "channel", 't', line->channel, "kind", 't', line->kind,
					  "channel_txn_id", 't', line->txn_id, "refund_id", 'u',
					  alert->refund_id, "amount", 'i', line->report.amount, "currency",
					  't', line->report.currency, "note", 't', note, NULL));
}

static Datum
finding_result(FunctionCallInfo fcinfo, const Alert *alert, const Line *line,
			   const char *outcome, const char *message)
{
	Datum values[N_FINDING_RESULT_COLUMNS] = {0};
	bool nulls[N_FINDING_RESULT_COLUMNS] = {false};
	int i = 0;

	values[i++] = CStringGetTextDatum(outcome);
	values[i++] = Int64GetDatum(alert->alert_id);
	values[i++] = CStringGetTextDatum(line->finding);
	nulls[i] = alert->order_id == NULL;
	values[i++] = PointerGetDatum(alert->order_id);
	nulls[i] = alert->payment_id == NULL;
	values[i++] = UUIDPGetDatum(alert->payment_id);
	nulls[i] = alert->refund_id == NULL;
	values[i++] = UUIDPGetDatum(alert->refund_id);
	values[i++] = CStringGetTextDatum(message);
	Assert(i == N_FINDING_RESULT_COLUMNS);
	return HeapTupleGetDatum(
		heap_form_tuple(payguard_result_desc(fcinfo), values, nulls));
}
