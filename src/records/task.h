/*
 * task.h
 *		Tasks, leases and finished tasks on record.
 */
#ifndef PAYGUARD_RECORDS_TASK_H
#define PAYGUARD_RECORDS_TASK_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "store/table.h"
#include "records/about.h"
#include "records/channel.h"

/* One thing that a worker must do outside. */
typedef struct Task
{
	RowHeader header;
	int64 task_id;
	text *kind;
	text *order_id;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	text *channel;
	TimestampTz run_at;
	int64 tries; /* how often it was claimed */
	bool sent;	 /* a worker may have told the channel of it */
	bool again;	 /* an earlier task may have told the channel of the same */
	text *last_error;
	TimestampTz dead_at; /* out of tries: waits for a person */
	TimestampTz created_at;
} Task;

#define TASK_COLUMNS(X)                                                                  \
	X(TASK_F_TASK_ID, Task, task_id, FIELD_ID, .sequence = "tasks_task_id_seq")          \
	X(TASK_F_KIND, Task, kind, FIELD_TEXT)                                               \
	X(TASK_F_ORDER_ID, Task, order_id, FIELD_TEXT)                                       \
	X(TASK_F_PAYMENT_ID, Task, payment_id, FIELD_UUID)                                   \
	X(TASK_F_REFUND_ID, Task, refund_id, FIELD_UUID)                                     \
	X(TASK_F_CHANNEL, Task, channel, FIELD_TEXT)                                         \
	X(TASK_F_RUN_AT, Task, run_at, FIELD_TIME)                                           \
	X(TASK_F_TRIES, Task, tries, FIELD_AMOUNT)                                           \
	X(TASK_F_SENT, Task, sent, FIELD_BOOL)                                               \
	X(TASK_F_AGAIN, Task, again, FIELD_BOOL)                                             \
	X(TASK_F_LAST_ERROR, Task, last_error, FIELD_TEXT)                                   \
	X(TASK_F_DEAD_AT, Task, dead_at, FIELD_TIME)                                         \
	X(TASK_F_CREATED_AT, Task, created_at, FIELD_TIME)

enum
{
	TASK_COLUMNS(COLUMN_NUMBER) N_TASK_FIELDS
};

enum
{
	TASK_BY_ID,
	TASK_OF_PAYMENT,
	TASK_OF_REFUND
};

/* A worker's hold on a task, and so on the order: one task of an order runs at a time. */
typedef struct Lease
{
	RowHeader header;
	text *order_id;
	int64 task_id;
	pg_uuid_t *lease_token;
	TimestampTz leased_until;
	text *worker;
	TimestampTz run_at; /* of the task when it was claimed */
} Lease;

#define LEASE_COLUMNS(X)                                                                 \
	X(LEASE_F_ORDER_ID, Lease, order_id, FIELD_TEXT)                                     \
	X(LEASE_F_TASK_ID, Lease, task_id, FIELD_ID)                                         \
	X(LEASE_F_LEASE_TOKEN, Lease, lease_token, FIELD_UUID)                               \
	X(LEASE_F_LEASED_UNTIL, Lease, leased_until, FIELD_TIME)                             \
	X(LEASE_F_WORKER, Lease, worker, FIELD_TEXT)                                         \
	X(LEASE_F_RUN_AT, Lease, run_at, FIELD_TIME)

enum
{
	LEASE_COLUMNS(COLUMN_NUMBER) N_LEASE_FIELDS
};

enum
{
	LEASE_OF_ORDER
};

/* A task that was claimed and is gone: what a late or repeated answer is about. */
typedef struct FinishedTask
{
	RowHeader header;
	int64 task_id;
	text *kind;
	text *order_id;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	pg_uuid_t
		*lease_token; /* of the answer that finished it; NULL: it became pointless */
	text *outcome;
	TimestampTz finished_at;
} FinishedTask;

#define FINISHED_COLUMNS(X)                                                              \
	X(FINISHED_F_TASK_ID, FinishedTask, task_id, FIELD_ID)                               \
	X(FINISHED_F_KIND, FinishedTask, kind, FIELD_TEXT)                                   \
	X(FINISHED_F_ORDER_ID, FinishedTask, order_id, FIELD_TEXT)                           \
	X(FINISHED_F_PAYMENT_ID, FinishedTask, payment_id, FIELD_UUID)                       \
	X(FINISHED_F_REFUND_ID, FinishedTask, refund_id, FIELD_UUID)                         \
	X(FINISHED_F_LEASE_TOKEN, FinishedTask, lease_token, FIELD_UUID)                     \
	X(FINISHED_F_OUTCOME, FinishedTask, outcome, FIELD_TEXT)                             \
	X(FINISHED_F_FINISHED_AT, FinishedTask, finished_at, FIELD_TIME)

enum
{
	FINISHED_COLUMNS(COLUMN_NUMBER) N_FINISHED_FIELDS
};

enum
{
	FINISHED_BY_ID
};

extern const Table payguard_tasks;
extern const Table payguard_leases;
extern const Table payguard_finished_tasks;
extern bool payguard_notify_tasks;
extern int payguard_lease_compare(const void *a, const void *b);
extern void payguard_task_schedule(const char *kind, About about, text *channel,
								   TimestampTz run_at);
extern void payguard_task_repeat(const char *kind, About about, text *channel);
extern bool payguard_task_find(const char *kind, About about, Task *task);
extern void payguard_task_remove_all(About about);
extern bool payguard_task_remove(const char *kind, About about);
extern void payguard_task_finish(const Task *task, pg_uuid_t *lease_token,
								 const char *outcome);
extern void payguard_task_outdate(About about);
extern void payguard_task_query(About about, const Channel *channel);
extern TimestampTz payguard_task_next_query(const Channel *channel, int64 tries,
											TimestampTz now);
extern int64 payguard_task_wait(const Channel *channel, int64 tries, TimestampTz now);
extern About payguard_task_about(const Task *task);
extern void payguard_alert_task(const char *kind, const char *severity, const Task *task,
								Jsonb *details);

#endif
