/*
 * lease.c
 *		Leases: a worker's hold on a task, and so on its order.
 *
 * The lease's row says which worker holds which task, and until when.
 *
 * Locking: the order's row lock, then the lease's row.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "base/argument.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/each.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/assert.h"
#include "records/call.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"
#include "records/task.h"
#include "evidence/apply.h"
#include "evidence/returned.h"
#include "queue/answer_batch.h"
#include "queue/lease.h"

#define LONGEST_LEASE                                                                    \
	USECS_PER_DAY /* payguard_arg_lease() takes no more, also of a delay */

/* Up to when this backend has looked for expired leases. */
static struct
{
	TimestampTz until;
	TimestampTz look_again_at; /* when to look from the beginning again */
} leases_seen = {DT_NOBEGIN, DT_NOBEGIN};

static const RowQuery expired_leases = {
	"leased_until " OP_GT " $1 AND leased_until " OP_LE " $2"
	" ORDER BY leased_until LIMIT $3",
	{TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, InvalidOid}};

/* Held for longer than a lease can last: the clock was ahead when they were taken. */
static const RowQuery leases_of_future = {"leased_until " OP_GT
										  " $1 ORDER BY leased_until DESC LIMIT $2",
										  {TIMESTAMPTZOID, INT8OID, InvalidOid}};

/*
 * The same of tasks. $1: as far as a delay can reach; beyond it, a channel's intervals and the
 * quarter that payguard_task_back_off() adds.
 */
static const RowQuery tasks_of_future = {
	"run_at " OP_GT " $1 AND dead_at IS NULL"
	" AND (run_at " OP_MINUS " $1) " OP_GT " (1.25::pg_catalog.float8 " OP_TIMES
	" (SELECT pg_catalog.max(GREATEST(c.first_query_after, c.max_query_interval))"
	" FROM ONLY payguard.channels c))"
	" AND NOT EXISTS (SELECT FROM ONLY payguard.leases l WHERE l.order_id " OP_EQ
	" tasks.order_id) ORDER BY run_at DESC LIMIT $2",
	{TIMESTAMPTZOID, INT8OID, InvalidOid}};

static int end_leases(Lease *leases, int n);
static void end_lease(EachItem *item);
static int end_future(TimestampTz now, int max);
static bool bring_forward(const Task *like, TimestampTz now);
static void lose(Order *order, const Task *task);

PG_FUNCTION_INFO_V1(payguard_expire_leases);

/*
 * expire_leases(max) → int: ends leases whose time is over, and returns how many. Each claim does
 * that first; this is for when no worker comes. It also makes tasks due, and ends leases, whose
 * time only a wrong clock can have set. Errors: 22004, 22023.
 */
Datum
payguard_expire_leases(PG_FUNCTION_ARGS)
{
	int max = payguard_arg_max_rows(ARG(0), "max");
	TimestampTz now = GetCurrentTimestamp();
	int expired;

	payguard_request_begin("expire_leases()");
	expired = payguard_lease_expire(now, max);
	expired += end_future(now, max);
	payguard_call_end();
	PG_RETURN_INT32(expired);
}

/*
 * payguard_lease_expire ends leases whose time is over, of orders that nobody is working on. Leases that
 * were given back leave many dead rows. So it looks, as claims do, only at leases that have expired since
 * its last look. It looks at all of them so seldom that this takes at most a twentieth of the time.
 */
int
payguard_lease_expire(TimestampTz now, int max)
{
	bool all = now >= leases_seen.look_again_at || leases_seen.until > now ||
			   leases_seen.look_again_at - now > 5 * USECS_PER_SEC;
	Datum values[] = {TimestampTzGetDatum(all ? DT_NOBEGIN : leases_seen.until),
					  TimestampTzGetDatum(now), Int64GetDatum(max)};
	Lease *expired;
	int n = payguard_store_list(&payguard_leases, &expired_leases, values,
								(void **) &expired);

	if (all)
		leases_seen.look_again_at =
			now + Min(20 * (GetCurrentTimestamp() - now), 5 * USECS_PER_SEC);
	leases_seen.until = n < max ? now : expired[n - 1].leased_until;

	return end_leases(expired, n);
}

static int
end_leases(Lease *leases, int n)
{
	EachItem *items = palloc(sizeof(EachItem) * Max(n, 1));
	int done;

	for (int i = 0; i < n; i++)
		items[i] = (EachItem){.id = leases[i].order_id, .row = &leases[i]};
	done = payguard_each("order", items, n, end_lease);
	if (n > 0)
		payguard_store_refresh();
	return done;
}

/*
 * end_lease takes one lease away, unless somebody is working on its order, or has dealt with it.
 */
static void
end_lease(EachItem *item)
{
	const Lease *like = item->row;
	TimestampTz now = GetCurrentTimestamp();
	Order order_like = {.order_id = like->order_id};
	Task task_like = {.task_id = like->task_id};
	Order order;
	Lease lease;
	Task task;

	if (!payguard_store_lock_free(&payguard_orders, ORDER_BY_ID, &order_like, &order))
		return;
	payguard_store_refresh();
	if (!payguard_store_lock(&payguard_leases, LEASE_OF_ORDER, like, &lease) ||
		(lease.leased_until > now && lease.leased_until - now <= LONGEST_LEASE))
		return;
	if (payguard_store_lock(&payguard_tasks, TASK_BY_ID, &task_like, &task))
		lose(&order, &task);
	payguard_store_delete(&payguard_leases, &lease);
	item->done = true;
}

/*
 * end_future undoes, after the clock was set back, what was put off while it was ahead: leases end
 * as if their time were over, and tasks are due.
 */
static int
end_future(TimestampTz now, int max)
{
	Datum values[2] = {TimestampTzGetDatum(now + LONGEST_LEASE), Int64GetDatum(max)};
	Lease *leases;
	Task *tasks;
	int done;
	int n = payguard_store_list(&payguard_leases, &leases_of_future, values,
								(void **) &leases);

	done = end_leases(leases, n);
	n = payguard_store_list(&payguard_tasks, &tasks_of_future, values, (void **) &tasks);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		done += bring_forward(&tasks[i], now);
	}
	return done;
}

/*
 * bring_forward makes one task due; false: somebody is working on its order, or has dealt with it.
 */
static bool
bring_forward(const Task *like, TimestampTz now)
{
	Order order_like = {.order_id = like->order_id};
	Lease lease_like = {.order_id = like->order_id};
	Order order;
	Lease lease;
	Task task;

	if (!payguard_store_lock_free(&payguard_orders, ORDER_BY_ID, &order_like, &order))
		return false;
	if (payguard_store_lock(&payguard_leases, LEASE_OF_ORDER, &lease_like, &lease) ||
		!payguard_store_lock(&payguard_tasks, TASK_BY_ID, like, &task) ||
		task.run_at != like->run_at)
		return false;
	task.run_at = now;
	payguard_store_update(&payguard_tasks, FIELD(TASK_F_RUN_AT), &task);
	return true;
}

/*
 * lose ends the lease of a worker that has not answered. A charge, a capture or a refund may have been made. So it is
 * not done again blindly: it is unknown, and the channel is asked.
 */
static void
lose(Order *order, const Task *task)
{
	Refund refund_like = {.refund_id = task->refund_id};
	Payment payment;
	Refund refund;
	Report unknown = payguard_report_of(CHANNEL_UNKNOWN);
	Applied applied;

	Assert(payguard_order_is_locked(order->order_id));
	if (payguard_text_is(task->kind, "charge"))
	{
		payguard_payment_must_exist(task->payment_id, &payment);
		payguard_task_finish(task, NULL, NULL);
		payguard_evidence_apply(order, &payment, &unknown, &applied);
		payguard_task_schedule("query", payguard_payment_about(&payment), payment.channel,
							   GetCurrentTimestamp());
	}
	else if (payguard_text_is(task->kind, "capture"))
	{
		payguard_payment_must_exist(task->payment_id, &payment);
		payguard_task_finish(task, NULL, NULL);
		payguard_task_schedule("query", payguard_payment_about(&payment), payment.channel,
							   GetCurrentTimestamp());
	}
	else if (payguard_text_is(task->kind, "refund") &&
			 payguard_store_find(&payguard_refunds, REFUND_BY_ID, &refund_like, &refund))
	{
		payguard_task_finish(task, NULL, NULL);
		payguard_refund_report(order, &unknown, &refund, &applied);
		payguard_task_schedule("query_refund", payguard_refund_about(&refund),
							   refund.channel, GetCurrentTimestamp());
	}
}

/*
 * payguard_lease_find_subject reads a task, or what is kept of one that is gone, as a task; false: neither.
 */
bool
payguard_lease_find_subject(int64 task_id, Task *task, FinishedTask *finished)
{
	Task like = {.task_id = task_id};
	FinishedTask finished_like = {.task_id = task_id};

	finished->task_id = NO_ID;
	if (payguard_store_find(&payguard_tasks, TASK_BY_ID, &like, task))
		return true;
	if (!payguard_store_find(&payguard_finished_tasks, FINISHED_BY_ID, &finished_like,
							 finished))
		return false;
	*task = (Task){
		.kind = finished->kind,
		.order_id = finished->order_id,
		.payment_id = finished->payment_id,
		.refund_id = finished->refund_id,
	};
	return true;
}

/*
 * payguard_lease_holds tells whether a worker still holds the task that it answers, and reads its lease.
 */
bool
payguard_lease_holds(const Answer *answer, Lease *lease)
{
	return payguard_store_lock(&payguard_leases, LEASE_OF_ORDER, lease, lease) &&
		   lease->task_id == answer->task_id &&
		   payguard_uuid_equal(lease->lease_token, answer->token) &&
		   lease->leased_until > GetCurrentTimestamp();
}

PG_FUNCTION_INFO_V1(payguard_extend_lease);

/*
 * extend_lease(task_id, lease_token, lease) → timestamptz: until when it is held now, counted
 * from now. Errors: 22004, 22023; PY404; PY701.
 */
Datum
payguard_extend_lease(PG_FUNCTION_ARGS)
{
	Interval *by = payguard_arg_lease(ARG(2), "lease");
	Order order;
	Task task;
	Lease lease;

	payguard_lease_lock_order(fcinfo, "extend_lease()", &order, &task, &lease);
	lease.leased_until = payguard_time_plus(GetCurrentTimestamp(), by);
	payguard_store_update(&payguard_leases, FIELD(LEASE_F_LEASED_UNTIL), &lease);
	payguard_call_end();
	PG_RETURN_TIMESTAMPTZ(lease.leased_until);
}

/*
 * payguard_lease_lock_order reads the task and the lease that the first two arguments name, with the order
 * locked. Errors: PY404, PY701.
 */
void
payguard_lease_lock_order(FunctionCallInfo fcinfo, const char *function, Order *order,
						  Task *task, Lease *lease)
{
	Answer answer;
	Task like;
	FinishedTask finished;
	Refusal refusal;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("task_id");
	answer.task_id = PG_GETARG_INT64(0);
	answer.token = payguard_arg_uuid(ARG(1), "lease_token");
	like = (Task){.task_id = answer.task_id};
	payguard_request_begin(function);
	if (!payguard_lease_find_subject(answer.task_id, task, &finished))
		payguard_task_must_exist(answer.task_id, task);
	payguard_order_lock(task->order_id, order);
	payguard_store_refresh();
	*lease = (Lease){.order_id = task->order_id};
	if (payguard_lease_holds(&answer, lease) &&
		payguard_store_lock(&payguard_tasks, TASK_BY_ID, &like, task))
		return;
	payguard_refuse(
		&refusal, ERR_LEASE_LOST,
		psprintf("the lease on task " INT64_FORMAT " is over", answer.task_id),
		"The lease has expired, another worker has the task, or the task has ended.",
		"Report what the channel says with payguard.complete_task(); it counts "
		"without a lease.");
	payguard_raise(&refusal);
}

/*
 * payguard_task_must_exist reads a task. Errors: PY404.
 */
void
payguard_task_must_exist(int64 task_id, Task *task)
{
	Task like = {.task_id = task_id};
	Refusal refusal;

	if (payguard_store_find(&payguard_tasks, TASK_BY_ID, &like, task))
		return;
	payguard_refuse(&refusal, ERR_TASK_NOT_FOUND,
					psprintf("task " INT64_FORMAT " does not exist", task_id),
					"It has ended, or it never existed.",
					"There is nothing left to do for it.");
	payguard_raise(&refusal);
}
