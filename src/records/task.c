/*
 * task.c
 *		Tasks: what a worker must do outside. One open task per subject and kind.
 *
 * Locking: the caller holds the order's row lock.
 */
#include "postgres.h"

#include "commands/async.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/text.h"
#include "base/value.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/alert.h"
#include "records/assert.h"
#include "records/channel.h"
#include "records/task.h"

bool payguard_notify_tasks = false;

static const Field task_fields[] = {TASK_COLUMNS(COLUMN_FIELD)};

static const Key task_keys[] = {
	[TASK_BY_ID] = {.fields = {TASK_F_TASK_ID, -1}, .index = "pkey"},
	[TASK_OF_PAYMENT] = {.fields = {TASK_F_PAYMENT_ID, TASK_F_KIND, -1},
						 .index = "of_payment",
						 .partial = true},
	[TASK_OF_REFUND] = {.fields = {TASK_F_REFUND_ID, TASK_F_KIND, -1},
						.index = "of_refund",
						.partial = true},
};

static const Field lease_fields[] = {LEASE_COLUMNS(COLUMN_FIELD)};

static const Key lease_keys[] = {
	[LEASE_OF_ORDER] = {.fields = {LEASE_F_ORDER_ID, -1}, .index = "pkey"},
};

static const Field finished_fields[] = {FINISHED_COLUMNS(COLUMN_FIELD)};

static const Key finished_keys[] = {
	[FINISHED_BY_ID] = {.fields = {FINISHED_F_TASK_ID, -1}, .index = "pkey"},
};
const Table payguard_tasks = TABLE("tasks", Task, task_fields, task_keys);
const Table payguard_leases = TABLE("leases", Lease, lease_fields, lease_keys);
const Table payguard_finished_tasks =
	TABLE("finished_tasks", FinishedTask, finished_fields, finished_keys);

static void schedule(Task *task, TimestampTz run_at);
static void notify(TimestampTz run_at);
static void resolve_dead(const Task *task);
static Task task_like(const char *kind, About about, text *channel);
static int key_of(const Task *task);

/*
 * payguard_lease_compare orders leases by their orders' ids, for bsearch().
 */
int
payguard_lease_compare(const void *a, const void *b)
{
	return payguard_text_compare(((const Lease *) a)->order_id,
								 ((const Lease *) b)->order_id);
}

/*
 * payguard_task_schedule makes the task of a payment or refund due at run_at, whether it
 * is there already or not. A task that a worker holds keeps its lease.
 */
void
payguard_task_schedule(const char *kind, About about, text *channel, TimestampTz run_at)
{
	Task task = task_like(kind, about, channel);

	schedule(&task, run_at);
}

/*
 * payguard_task_repeat makes a task due now that repeats what an earlier one may have done. Even if nobody ever claims
 * it, the channel may know of the request.
 */
void
payguard_task_repeat(const char *kind, About about, text *channel)
{
	Task task = task_like(kind, about, channel);

	task.again = true;
	schedule(&task, GetCurrentTimestamp());
}

static void
schedule(Task *task, TimestampTz run_at)
{
	int key = key_of(task);
	Task existing;

	Assert(payguard_order_is_locked(task->order_id));
	task->run_at = run_at;
	task->created_at = GetCurrentTimestamp();
	task->dead_at = NO_TIME;
	notify(run_at);
	if (payguard_store_insert_new(&payguard_tasks, key, task))
		return;
	if (!payguard_store_lock(&payguard_tasks, key, task, &existing))
		payguard_store_suppressed(&payguard_tasks);
	resolve_dead(&existing);
	existing.run_at = run_at;
	existing.dead_at = NO_TIME;
	payguard_store_update(&payguard_tasks, FIELD(TASK_F_RUN_AT) | FIELD(TASK_F_DEAD_AT),
						  &existing);
}

/*
 * notify tells listening workers, at commit, of a task that is due now. Of one that is due
 * later nobody tells: workers look from time to time.
 */
static void
notify(TimestampTz run_at)
{
	if (payguard_notify_tasks && run_at <= GetCurrentTimestamp())
		Async_Notify("payguard_tasks", NULL);
}

/*
 * payguard_task_find reads and locks the open task of a payment or refund; false: none.
 */
bool
payguard_task_find(const char *kind, About about, Task *task)
{
	Task like = task_like(kind, about, NULL);

	return payguard_store_lock(&payguard_tasks, key_of(&like), &like, task);
}

/*
 * payguard_task_remove_all takes away every open task of a payment, or every one of a refund.
 */
void
payguard_task_remove_all(About about)
{
	int key = about.refund_id ? TASK_OF_REFUND : TASK_OF_PAYMENT;
	Datum id = UUIDPGetDatum(about.refund_id ? about.refund_id : about.payment_id);
	Task *tasks;
	int n = payguard_store_list_by_key(&payguard_tasks, key, 1, ROW_LOCK, &id, 1,
									   (void **) &tasks);

	for (int i = 0; i < n; i++)
		payguard_task_finish(&tasks[i], NULL, NULL);
}

/*
 * payguard_task_remove takes away the open task of a payment or refund; false: none.
 */
bool
payguard_task_remove(const char *kind, About about)
{
	Task task;

	if (!payguard_task_find(kind, about, &task))
		return false;
	payguard_task_finish(&task, NULL, NULL);
	return true;
}

/*
 * payguard_task_finish removes a task. One that was claimed leaves a note, since the worker's
 * answer may still come, or come again.
 *
 * lease_token, outcome: of the answer that finished it; NULL where it became pointless.
 */
void
payguard_task_finish(const Task *task, pg_uuid_t *lease_token, const char *outcome)
{
	FinishedTask finished = {
		.task_id = task->task_id,
		.kind = task->kind,
		.order_id = task->order_id,
		.payment_id = task->payment_id,
		.refund_id = task->refund_id,
		.lease_token = lease_token,
		.outcome = outcome ? payguard_text(outcome) : NULL,
		.finished_at = GetCurrentTimestamp(),
	};

	Assert(payguard_order_is_locked(task->order_id));
	Assert((lease_token == NULL) == (outcome == NULL));
	resolve_dead(task);
	payguard_store_delete(&payguard_tasks, task);
	if (task->tries > 0)
		payguard_store_insert(&payguard_finished_tasks, &finished);
}

/*
 * payguard_task_query makes the next query of a payment due: after first_query_after, then
 * twice as long after each try, up to max_query_interval.
 */
void
payguard_task_query(About about, const Channel *channel)
{
	TimestampTz now = GetCurrentTimestamp();
	Task task;

	if (!payguard_task_find("query", about, &task))
	{
		payguard_task_schedule("query", about, channel->name,
							   payguard_task_next_query(channel, 0, now));
		return;
	}
	task.run_at = payguard_task_next_query(channel, task.tries, now);
	notify(task.run_at);
	resolve_dead(&task);
	task.dead_at = NO_TIME;
	payguard_store_update(&payguard_tasks, FIELD(TASK_F_RUN_AT) | FIELD(TASK_F_DEAD_AT),
						  &task);
}

/*
 * payguard_task_outdate makes the query of a payment due once more after a change: a query that is running now was
 * claimed before the change.
 */
void
payguard_task_outdate(About about)
{
	Task query;

	if (!payguard_task_find("query", about, &query))
		return;
	query.run_at = GetCurrentTimestamp();
	payguard_store_update(&payguard_tasks, FIELD(TASK_F_RUN_AT), &query);
}

/*
 * payguard_task_next_query returns when to ask a channel again after that many tries.
 */
TimestampTz
payguard_task_next_query(const Channel *channel, int64 tries, TimestampTz now)
{
	return now + payguard_task_wait(channel, tries, now);
}

/*
 * payguard_task_wait returns how long a channel is left alone, in microseconds, after that many
 * tries: first_query_after, twice as long after each try, up to max_query_interval. Where the
 * first query is at once the second waits for a second.
 */
int64
payguard_task_wait(const Channel *channel, int64 tries, TimestampTz now)
{
	int64 longest = payguard_time_plus(now, channel->max_query_interval) - now;
	int64 wait = payguard_time_plus(now, channel->first_query_after) - now;

	Assert(tries >= 0 && longest >= 0 && wait >= 0);
	if (wait <= 0 && tries > 0)
	{
		wait = USECS_PER_SEC;
		tries--;
	}
	for (; tries > 0 && wait < longest; tries--)
		wait *= 2;
	return Min(wait, longest);
}

/*
 * payguard_task_about names a task, and what it is for.
 */
About
payguard_task_about(const Task *task)
{
	return (About){
		.order_id = task->order_id,
		.payment_id = task->payment_id,
		.refund_id = task->refund_id,
		.task_id = task->task_id,
	};
}

/*
 * payguard_alert_task opens an alert whose cause is a task.
 */
void
payguard_alert_task(const char *kind, const char *severity, const Task *task,
					Jsonb *details)
{
	payguard_alert_open(kind, severity,
						payguard_text(psprintf(INT64_FORMAT, task->task_id)),
						payguard_task_about(task), details);
}

/*
 * resolve_dead resolves the alert of a task that was dead and is so no longer.
 */
static void
resolve_dead(const Task *task)
{
	if (task->dead_at != NO_TIME)
		payguard_alert_resolve(
			"dead_task", payguard_text(psprintf(INT64_FORMAT, task->task_id)), NULL);
}

static Task
task_like(const char *kind, About about, text *channel)
{
	Assert(about.order_id != NULL && about.payment_id != NULL);
	return (Task){
		.kind = payguard_text(kind),
		.order_id = about.order_id,
		.payment_id = about.payment_id,
		.refund_id = about.refund_id,
		.channel = channel,
	};
}

static int
key_of(const Task *task)
{
	return task->refund_id ? TASK_OF_REFUND : TASK_OF_PAYMENT;
}
