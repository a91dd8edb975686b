/*
 * retry.c
 *		retry_task(), requeue_task() and query_payment(): tasks that are done again, and those that are given up.
 *
 * A worker retries what certainly did not reach the channel. A charge that is out of tries fails as not_sent, if no
 * earlier charge of its attempt was sent. Queries are tried for ever. Other tasks that are out of tries wait for a
 * person.
 *
 * Locking: the order's row lock.
 */
#include "postgres.h"

#include "common/pg_prng.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/argument.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/table.h"
#include "store/write.h"
#include "records/alert.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"
#include "records/result.h"
#include "records/task.h"
#include "evidence/apply.h"
#include "queue/lease.h"
#include "queue/retry.h"

#define MAX_TRIES 10 /* of what certainly did not reach the channel */

static bool give_up_charge(Order *order, const Task *task);
static bool give_up_capture(Order *order, const Task *task);
static void update_retried(const Task *task);
static void die(Task *task);

/*
 * payguard_task_may_charge tells whether the order still wants an attempt's money: nobody has it closed. One that
 * had failed is never charged again.
 */
bool
payguard_task_may_charge(const Order *order, const Payment *payment)
{
	return order->closing_as == ORDER_NONE &&
		   (payment->status == PAYMENT_PENDING || payment->status == PAYMENT_UNKNOWN) &&
		   !payguard_payment_is_revived(payment);
}

PG_FUNCTION_INFO_V1(payguard_retry_task);

/*
 * retry_task(task_id, lease_token, error, delay := NULL) → bigint (the task_id)
 *
 * For a worker that is certain that nothing reached the channel. delay NULL: longer with each
 * try. A charge that is out of tries, or whose attempt is being closed, fails as not_sent if it
 * was never sent before; other tasks but queries wait for a person when they are out of tries.
 * Errors: 22004, 22023; PY404; PY701.
 */
Datum
payguard_retry_task(PG_FUNCTION_ARGS)
{
	text *error = payguard_arg_note(ARG(2), "error");
	Interval *delay = PG_ARGISNULL(3) ? NULL : payguard_arg_lease(ARG(3), "delay");
	Order order;
	Task task;
	Lease lease;

	payguard_lease_lock_order(fcinfo, "retry_task()", &order, &task, &lease);
	payguard_store_delete(&payguard_leases, &lease);
	task.sent = false;
	task.last_error = error;
	task.run_at = delay ? payguard_time_plus(GetCurrentTimestamp(), delay)
						: payguard_task_back_off(&task);
	if (!(payguard_text_is(task.kind, "charge") && give_up_charge(&order, &task)) &&
		!(payguard_text_is(task.kind, "capture") && give_up_capture(&order, &task)))
	{
		if (task.tries >= MAX_TRIES && !payguard_text_is(task.kind, "query") &&
			!payguard_text_is(task.kind, "query_refund"))
			die(&task);
		update_retried(&task);
	}
	payguard_call_end();
	PG_RETURN_INT64(task.task_id);
}

/*
 * give_up_charge ends a charge that is out of tries, or that nobody wants any more. If no earlier
 * charge of the attempt was sent either, the attempt has failed. false: the charge is to be tried
 * again, or waits for a person.
 */
static bool
give_up_charge(Order *order, const Task *task)
{
	Payment payment;
	Applied applied;
	Report not_sent = payguard_report_not_sent(task->last_error);

	payguard_payment_must_be_there(task->payment_id, &payment);
	if (payguard_task_may_charge(order, &payment) &&
		(task->again || task->tries < MAX_TRIES))
		return false;
	if (task->again)
		payguard_task_finish(task, NULL, NULL);
	else
		payguard_evidence_apply(order, &payment, &not_sent, &applied);
	return true;
}

/*
 * give_up_capture ends a capture that nobody wants any more, and has the money that was reserved given up; false: it is to
 * be tried again.
 */
static bool
give_up_capture(Order *order, const Task *task)
{
	Payment payment;

	payguard_payment_must_be_there(task->payment_id, &payment);
	if (order->closing_as == ORDER_NONE && payment.status == PAYMENT_CAPTURING)
		return false;
	payguard_task_finish(task, NULL, NULL);
	if (payment.status == PAYMENT_CAPTURING)
		payguard_payment_change(order, &payment, PAYMENT_CLOSING, 0, NULL);
	payguard_task_schedule("close", payguard_payment_about(&payment), payment.channel,
						   GetCurrentTimestamp());
	return true;
}

static void
update_retried(const Task *task)
{
	payguard_store_update(&payguard_tasks,
						  FIELD(TASK_F_SENT) | FIELD(TASK_F_LAST_ERROR) |
							  FIELD(TASK_F_RUN_AT) | FIELD(TASK_F_DEAD_AT),
						  task);
}

/*
 * die leaves a task to a person. If it was to close an attempt, the channel is asked about the attempt.
 */
static void
die(Task *task)
{
	task->dead_at = GetCurrentTimestamp();
	payguard_alert_task(
		"dead_task", "critical", task,
		payguard_json("kind", 't', task->kind, "error", 't', task->last_error, NULL));
	if (payguard_text_is(task->kind, "close"))
	{
		Payment payment;
		Channel channel;

		payguard_payment_must_exist(task->payment_id, &payment);
		payguard_channel_of(&payment, &channel);
		payguard_task_query(payguard_payment_about(&payment), &channel);
	}
}

/*
 * payguard_task_back_off returns when to try a task again: the channel's first_query_after, twice as long
 * after each try up to max_query_interval, and up to a quarter more, so that tasks that failed
 * together do not come back together.
 */
TimestampTz
payguard_task_back_off(const Task *task)
{
	TimestampTz now = GetCurrentTimestamp();
	Channel channel;
	int64 wait;

	if (!payguard_channel_find(task->channel, &channel))
		return now;
	wait = payguard_task_wait(&channel, task->tries - 1, now);
	return now + wait + (int64) (0.25 * wait * pg_prng_double(&pg_global_prng_state));
}

PG_FUNCTION_INFO_V1(payguard_requeue_task);

/*
 * requeue_task(task_id) → bigint: an operator has a task tried again, now. Errors: 22004;
 * PY404.
 */
Datum
payguard_requeue_task(PG_FUNCTION_ARGS)
{
	Order order;
	Task task;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("task_id");
	payguard_request_begin("requeue_task()");
	payguard_task_must_exist(PG_GETARG_INT64(0), &task);
	payguard_order_lock_known(task.order_id, &order);
	payguard_store_refresh();
	payguard_task_must_exist(PG_GETARG_INT64(0), &task);
	task.run_at = GetCurrentTimestamp();
	task.dead_at = NO_TIME;
	task.tries = Min(task.tries, 1);
	payguard_store_update(
		&payguard_tasks,
		FIELD(TASK_F_RUN_AT) | FIELD(TASK_F_DEAD_AT) | FIELD(TASK_F_TRIES), &task);
	payguard_alert_resolve("dead_task",
						   payguard_text(psprintf(INT64_FORMAT, task.task_id)), NULL);
	payguard_call_end();
	PG_RETURN_INT64(task.task_id);
}

PG_FUNCTION_INFO_V1(payguard_query_payment);

/*
 * query_payment(payment_id) → payment_result: the channel is to be asked about a payment, now.
 * One that has ended is only returned. Errors: 22004; PY402.
 */
Datum
payguard_query_payment(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	Order order;
	Payment payment;
	PaymentResult result;
	bool ask;

	payguard_request_begin("query_payment()");
	payguard_payment_must_exist(payment_id, &payment);
	payguard_payment_lock(payment_id, &order, &payment);
	ask = payguard_payment_may_be_asked(&payment);
	if (ask)
		payguard_task_schedule("query", payguard_payment_about(&payment), payment.channel,
							   GetCurrentTimestamp());
	payguard_call_end();
	payguard_result_of(&payment, &order, !ask, &result);
	result.version = order.version;
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}
