/*
 * answer.c
 *		complete_task() and complete_tasks(): what a worker answers.
 *
 * The answer is evidence, and counts even if the worker does not hold the task any more. Only the worker that holds the
 * task ends it. What can be dealt with together goes through answer_batch.c first; the rest is answered here, one by
 * one.
 *
 * Locking: the orders of all answers, in the order of their ids.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/argument.h"
#include "base/element.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/notification.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"
#include "records/result.h"
#include "records/task.h"
#include "evidence/apply.h"
#include "evidence/message.h"
#include "evidence/returned.h"
#include "evidence/unreadable.h"
#include "queue/answer_batch.h"
#include "queue/lease.h"
#include "queue/retry.h"

#define N_ANSWER_ARGS                                                                    \
	8 /* of complete_task(), and columns of task_answer; one more is of the former alone */

static const Given given_names[N_ANSWER_ARGS + 1] = {
	{"task_id", 'i'},		 {"lease_token", 'u'}, {"channel_status", 't'},
	{"channel_txn_id", 't'}, {"amount", 'i'},	   {"currency", 't'},
	{"code", 't'},			 {"message", 't'},	   {"capture_before", 'd'},
};

static void read_answer(const NullableDatum *args, int n, Answer *answer);
static void answer_all(Answer *answers, int n, ReturnSetInfo *rsinfo);
static bool find_order(const Task *task, const FinishedTask *finished, Order *order);
static void answer_one(Answer *answer);
static void keep_unreadable(Answer *answer, const Task *task, Applied *applied);
static bool is_fresh(const Task *task, const FinishedTask *finished, const Lease *lease);
static void answer_payment(Answer *answer, const Task *task, Order *order,
						   Applied *applied);
static void charge_again(Order *order, const Payment *payment);
static void answer_refund(Answer *answer, const Task *task, Order *order,
						  Applied *applied);
static void acknowledge(const Answer *answer, const Lease *lease, const char *outcome);
static void keep_asking(const Task *task);
static bool takes_money(const Task *task);
static bool goes_on(const Task *task);
static void answer_unknown(Answer *answer);

PG_FUNCTION_INFO_V1(payguard_complete_task);

/*
 * complete_task(task_id, lease_token, channel_status, channel_txn_id, amount, currency, code,
 *				 message, capture_before) → payment_result
 *
 * The scripts before 1.2.0 have no capture_before.
 * Applies the channel's answer as evidence and removes the task, in one. With a stale token
 * the answer counts all the same, the task is left, outcome "lease_lost". What cannot be read is kept, alerted,
 * and counts as "unknown". Errors: 22004 without a task_id or lease_token.
 */
Datum
payguard_complete_task(PG_FUNCTION_ARGS)
{
	Answer answer;

	read_answer(fcinfo->args, PG_NARGS(), &answer);
	payguard_evidence_begin("complete_task()");
	answer_all(&answer, 1, NULL);
	payguard_call_end();
	return payguard_result_datum(&answer.result, payguard_result_desc(fcinfo));
}

PG_FUNCTION_INFO_V1(payguard_complete_tasks);

/*
 * complete_tasks(task_answer[]) → SETOF payment_result
 *
 * A batch of answers, in one transaction, each as by complete_task(), in the order asked.
 */
Datum
payguard_complete_tasks(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Answer *answers;
	Datum *elements;
	int n;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("answers");
	elements = payguard_arg_rows(PG_GETARG_ARRAYTYPE_P(0), "answers", &n);
	answers = palloc0(sizeof(Answer) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		Datum values[N_ANSWER_ARGS];
		bool nulls[N_ANSWER_ARGS];
		NullableDatum args[N_ANSWER_ARGS];

		CHECK_FOR_INTERRUPTS();
		payguard_arg_row(elements[i], N_ANSWER_ARGS, values, nulls);
		for (int j = 0; j < N_ANSWER_ARGS; j++)
			args[j] = (NullableDatum){.value = values[j], .isnull = nulls[j]};
		read_answer(args, N_ANSWER_ARGS, &answers[i]);
	}
	InitMaterializedSRF(fcinfo, 0);
	payguard_evidence_begin("complete_tasks()");
	answer_all(answers, n, rsinfo);
	payguard_call_end();
	return (Datum) 0;
}

/*
 * read_answer reads an answer from n arguments of complete_task(). One that cannot be read says "unknown".
 */
static void
read_answer(const NullableDatum *args, int n, Answer *answer)
{
	if (args[0].isnull)
		payguard_arg_missing("task_id");
	*answer = (Answer){
		.task_id = DatumGetInt64(args[0].value),
		.token = payguard_arg_uuid(args[1].value, args[1].isnull, "lease_token"),
	};
	answer->report = payguard_report_read(&answer->bad, &args[2], "channel_txn_id");
	if (n > N_ANSWER_ARGS)
		answer->report.capture_before =
			payguard_read_time_or_null(&answer->bad, args[N_ANSWER_ARGS].value,
									   args[N_ANSWER_ARGS].isnull, "capture_before");
	if (answer->bad.name == NULL)
		return;
	answer->unreadable = payguard_unreadable_json("complete_task", given_names, n, args);
	answer->report = payguard_report_of(CHANNEL_UNKNOWN);
	answer->report.code = payguard_text("unreadable");
	answer->report.message =
		payguard_text(psprintf("%s: %s", answer->bad.name, answer->bad.problem));
}

/*
 * answer_all locks the orders of all answers, in the order of their ids, and deals with what
 * can be dealt with together; then with the others one by one, in the order asked.
 *
 * rsinfo: where the results are put; NULL: nowhere, and the one answer has its own
 */
static void
answer_all(Answer *answers, int n, ReturnSetInfo *rsinfo)
{
	bool *answered = palloc0(sizeof(bool) * Max(n, 1));
	MemoryContext memory = rsinfo ? payguard_element_memory() : NULL;

	Assert(rsinfo || n == 1);
	payguard_batch_answer(answers, n, answered);
	for (int i = 0; i < n; i++)
	{
		MemoryContext caller = payguard_element_begin(memory);

		CHECK_FOR_INTERRUPTS();
		if (!answered[i])
		{
			payguard_store_refresh();
			answer_one(&answers[i]);
		}
		if (rsinfo)
			payguard_result_put(rsinfo, &answers[i].result);
		payguard_element_end(memory, caller);
	}
	pfree(answered);
}

/*
 * find_order reads the order of an answered task; false: none. Of a finished task it may have been
 * archived, and was not locked then.
 */
static bool
find_order(const Task *task, const FinishedTask *finished, Order *order)
{
	if (finished->task_id != NO_ID)
		return payguard_order_lock(task->order_id, order);
	return payguard_order_find(task->order_id, order);
}

/*
 * answer_one applies one answer, whose order is locked, and acknowledges it where the worker
 * still holds the task.
 */
static void
answer_one(Answer *answer)
{
	Task task;
	FinishedTask finished;
	Order order;
	Lease lease;
	Applied applied;
	bool held;
	bool repeated;

	if (!payguard_lease_find_subject(answer->task_id, &task, &finished) ||
		!find_order(&task, &finished, &order))
	{
		answer_unknown(answer);
		return;
	}
	lease = (Lease){.order_id = task.order_id};
	held = payguard_lease_holds(answer, &lease);
	answer->report.fresh = held && is_fresh(&task, &finished, &lease);
	answer->report.queried = payguard_text_is(task.kind, "query");
	repeated = finished.task_id != NO_ID && finished.lease_token &&
			   payguard_uuid_equal(finished.lease_token, answer->token);

	if (task.refund_id)
		answer_refund(answer, &task, &order, &applied);
	else
		answer_payment(answer, &task, &order, &applied);
	if (answer->bad.name)
		keep_unreadable(answer, &task, &applied);
	if (held)
	{
		payguard_store_delete(&payguard_leases, &lease);
		acknowledge(answer, &lease, answer->result.outcome);
		keep_asking(&task);
	}
	answer->result.replayed =
		repeated || (!applied.changed && !applied.contradicts && !held);
	if (repeated)
		answer->result.outcome = payguard_str(finished.outcome);
	else if (!held && !applied.contradicts)
	{
		answer->result.outcome = "lease_lost";
		answer->result.message = "The lease is over. The answer counts all the same; the "
								 "task is no longer this worker's.";
	}
}

/*
 * keep_unreadable keeps an answer that cannot be read, and was applied as "unknown".
 */
static void
keep_unreadable(Answer *answer, const Task *task, Applied *applied)
{
	Payment payment;
	Refund refund;

	/* a finished task has forgotten its channel */
	payguard_payment_must_be_there(task->payment_id, &payment);
	if (task->refund_id)
		payguard_refund_must_be_there(task->refund_id, &refund);
	payguard_unreadable_keep(&answer->bad, "complete_task", answer->unreadable,
							 task->refund_id ? refund.channel : payment.channel,
							 payguard_task_about(task));
	applied->contradicts = payguard_unreadable_message(
		&answer->bad, "The answer is kept for a person to look at, and counts as "
					  "unknown.");
	answer->result.outcome = "recorded";
	answer->result.message = applied->contradicts;
}

/*
 * is_fresh tells whether a task was claimed after the last change of what it asks about: a change ends the task, or
 * makes it due again.
 */
static bool
is_fresh(const Task *task, const FinishedTask *finished, const Lease *lease)
{
	return finished->task_id == NO_ID && task->run_at == lease->run_at &&
		   (payguard_text_is(task->kind, "query") ||
			payguard_text_is(task->kind, "close") ||
			payguard_text_is(task->kind, "capture"));
}

static void
answer_payment(Answer *answer, const Task *task, Order *order, Applied *applied)
{
	Payment payment;

	payguard_payment_must_be_there(task->payment_id, &payment);
	payguard_evidence_apply(order, &payment, &answer->report, applied);
	payguard_notification_match(order, &payment, applied);
	if (payguard_text_is(task->kind, "query") &&
		answer->report.status == CHANNEL_NOT_FOUND)
		charge_again(order, &payment);
	payguard_result_of(&payment, order, false, &answer->result);
	answer->result.version = order->version;
	if (applied->contradicts)
	{
		answer->result.outcome = "recorded";
		answer->result.message = applied->contradicts;
	}
}

/*
 * charge_again sends a charge again that the channel does not know. If the channel honours payment_id, that cannot
 * charge twice. The order's row is touched, since a transaction whose snapshot is older cannot see the new task, and
 * would close the attempt without withdrawing the task.
 */
static void
charge_again(Order *order, const Payment *payment)
{
	Channel channel;

	payguard_channel_of(payment, &channel);
	if (!channel.idempotent_charge || !payguard_task_may_charge(order, payment) ||
		!payguard_text_is(payment->request_kind, "request") ||
		(payment->expires_at != NO_TIME && payment->expires_at <= GetCurrentTimestamp()))
		return;
	payguard_order_touch(order);
	payguard_task_repeat("charge", payguard_payment_about(payment), payment->channel);
}

static void
answer_refund(Answer *answer, const Task *task, Order *order, Applied *applied)
{
	Refund refund;
	Payment payment;
	Channel channel;

	payguard_refund_must_be_there(task->refund_id, &refund);
	payguard_refund_report(order, &answer->report, &refund, applied);
	payguard_payment_must_exist(task->payment_id, &payment);
	payguard_channel_of(&payment, &channel);
	if (payguard_text_is(task->kind, "query_refund") &&
		answer->report.status == CHANNEL_NOT_FOUND && channel.idempotent_charge &&
		(refund.status == REFUND_PENDING || refund.status == REFUND_UNKNOWN))
		payguard_task_repeat("refund", payguard_refund_about(&refund), refund.channel);
	answer->result = (PaymentResult){
		.outcome = applied->contradicts
					   ? "recorded"
					   : payguard_machine_name(&payguard_refund_machine, refund.status),
		.order_id = order->order_id,
		.payment_id = payment.payment_id,
		.order_status = order->status,
		.payment_status = payment.status,
		.version = order->version,
		.amount = refund.amount,
		.currency = refund.currency,
		.completed_at = refund.completed_at,
		.message = applied->contradicts ? applied->contradicts
										: "The refund's answer is applied.",
	};
}

/*
 * acknowledge ends a task that was answered. A task that was made due again since it was claimed
 * goes on, with the time that was set then: a query that was answered "pending", or one that
 * something else asked for while the worker waited for the channel. A charge or a capture does not
 * go on.
 */
static void
acknowledge(const Answer *answer, const Lease *lease, const char *outcome)
{
	Task like = {.task_id = answer->task_id};
	Task now;

	if (!payguard_store_lock(&payguard_tasks, TASK_BY_ID, &like, &now))
	{
		FinishedTask finished_like = {.task_id = answer->task_id};
		FinishedTask finished;

		/* the answer itself has ended the task: note whose it was */
		if (payguard_store_lock(&payguard_finished_tasks, FINISHED_BY_ID, &finished_like,
								&finished))
		{
			finished.lease_token = answer->token;
			finished.outcome = payguard_text(outcome);
			payguard_store_update(
				&payguard_finished_tasks,
				FIELD(FINISHED_F_LEASE_TOKEN) | FIELD(FINISHED_F_OUTCOME), &finished);
		}
		return;
	}
	if (now.run_at != lease->run_at && !takes_money(&now))
		return;
	if (goes_on(&now))
	{
		now.run_at = payguard_task_back_off(&now);
		payguard_store_update(&payguard_tasks, FIELD(TASK_F_RUN_AT), &now);
		return;
	}
	payguard_task_finish(&now, answer->token, outcome);
}

/*
 * keep_asking sees to it that something is due for an attempt or refund that is still open because its answer could not
 * be applied.
 */
static void
keep_asking(const Task *task)
{
	About about = payguard_task_about(task);
	Payment payment;
	Refund refund_like = {.refund_id = task->refund_id};
	Refund refund;
	Channel channel;
	Task due;

	payguard_store_refresh();
	payguard_payment_must_exist(task->payment_id, &payment);
	payguard_channel_of(&payment, &channel);
	if (task->refund_id)
	{
		if (payguard_store_find(&payguard_refunds, REFUND_BY_ID, &refund_like, &refund) &&
			(refund.status == REFUND_PENDING || refund.status == REFUND_UNKNOWN) &&
			!payguard_task_find("refund", about, &due) &&
			!payguard_task_find("query_refund", about, &due))
			payguard_task_schedule(
				"query_refund", about, refund.channel,
				payguard_time_plus(GetCurrentTimestamp(), channel.first_query_after));
	}
	else if (payguard_payment_is_open(payment.status) &&
			 !payguard_task_find("charge", about, &due) &&
			 !payguard_task_find("close", about, &due) &&
			 !payguard_task_find("capture", about, &due) &&
			 !payguard_task_find("query", about, &due))
		payguard_task_query(about, &channel);
}

/*
 * takes_money tells whether a task has the channel take money. Once such a task was sent, it is not sent again because
 * somebody has made it due meanwhile. If its answer leaves open what became of it, the channel is asked.
 */
static bool
takes_money(const Task *task)
{
	return payguard_text_is(task->kind, "charge") ||
		   payguard_text_is(task->kind, "capture");
}

/*
 * goes_on tells whether a task that was answered has to be done once more: the request to close
 * an attempt may have been lost, or refused while the customer paid.
 */
static bool
goes_on(const Task *task)
{
	Payment payment;

	if (!payguard_text_is(task->kind, "close"))
		return false;
	payguard_payment_must_exist(task->payment_id, &payment);
	return payguard_payment_is_open(payment.status);
}

/*
 * answer_unknown keeps an answer to a task that nobody knows any more.
 */
static void
answer_unknown(Answer *answer)
{
	answer->result = (PaymentResult){
		.outcome = "recorded",
		.completed_at = NO_TIME,
		.message = "The task is not known; the answer is kept for a person to look at.",
	};
	if (answer->bad.name)
	{
		answer->result.message = payguard_unreadable_keep(
			&answer->bad, "complete_task", answer->unreadable, NULL, ABOUT_NOTHING);
		return;
	}
	answer->report.note =
		payguard_text(psprintf("answer to task " INT64_FORMAT, answer->task_id));
	payguard_notification_keep(NULL, NULL, NULL, NULL, &answer->report, "unmatched");
}
