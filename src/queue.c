/*
 * queue.c
 *		The queue of outside work: workers claim tasks, call channels, and answer.
 *
 * A claim is a lease on the order, fenced by a token: the tasks of one order run one at a time.
 * A stale token fences the acknowledgement, never the evidence: what a worker says that the
 * channel said is applied in any case.
 *
 * Locking: orders before tasks and leases. Answers lock their orders in the order of their
 * ids; claims skip what is locked. Nobody touches a lease without the order's lock, so a claim
 * waits for nothing.
 *
 * Two things make database queues slow: dead rows at the head of the index, and an old
 * snapshot that keeps them there. A backend that has claimed up to some point goes on from
 * there (see Position), and looks at everything only now and then.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"

#include "payguard.h"

#define MAX_TRIES 10		/* of what certainly did not reach the channel */
#define EXPIRED_AT_ONCE 100 /* leases dealt with by one claim, at most */
#define EQ "OPERATOR(pg_catalog.=)"
#define LE "OPERATOR(pg_catalog.<=)"

/* Where this backend's claims go on. */
static struct
{
	char *filter; /* the kinds and channels that it is about */
	TimestampTz run_at;
	int64 task_id;
	TimestampTz look_again_at; /* when to look from the beginning again */
} position = {NULL, DT_NOBEGIN, 0, DT_NOBEGIN};

/* Up to when this backend has looked for expired leases. */
static struct
{
	TimestampTz until;
	TimestampTz look_again_at; /* when to look from the beginning again */
} leases_seen = {DT_NOBEGIN, DT_NOBEGIN};

static const RowQuery expired_leases = {
	"leased_until " LE " $1 AND leased_until OPERATOR(pg_catalog.>) $3 "
	"ORDER BY leased_until LIMIT $2",
	{TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, InvalidOid}};

/*
 * OFFSET 0, here and below, keeps a look-up one by the whole key, whatever the planner thinks of
 * a table that is empty most of the time.
 */

/*
 * The leased tasks; the last one that was due, with its time; and, with their orders, charges
 * that come too late for their attempts. All their orders are locked.
 *
 * $1, $2 where to go on, $3 now, $4 how many, $5 lease, $6 worker, $7 kinds, $8 channels
 */
static const Statement lease_due = {
	"WITH due AS MATERIALIZED ("
	" SELECT t.task_id, t.order_id, t.run_at,"
	" CASE WHEN t.kind " EQ " 'charge' THEN (SELECT p.expires_at " LE " $3"
	" FROM ONLY payguard.payments p WHERE p.payment_id " EQ " t.payment_id OFFSET 0)"
	" END AS is_late"
	" FROM ONLY payguard.tasks t JOIN ONLY payguard.orders o ON o.order_id " EQ " t.order_id"
	" WHERE ROW(t.run_at, t.task_id) OPERATOR(pg_catalog.>) ROW($1, $2)"
	" AND t.run_at " LE " $3 AND t.dead_at IS NULL"
	" AND ($7 IS NULL OR t.kind " EQ " ANY ($7))"
	" AND ($8 IS NULL OR t.channel " EQ " ANY ($8))"
	" AND NOT EXISTS (SELECT FROM ONLY payguard.leases l WHERE l.order_id " EQ " t.order_id"
	" OFFSET 0)"
	" ORDER BY t.run_at, t.task_id LIMIT $4"
	" FOR NO KEY UPDATE OF o SKIP LOCKED FOR UPDATE OF t SKIP LOCKED),"
	" leased AS ("
	" INSERT INTO payguard.leases (order_id, task_id, lease_token, leased_until, worker, run_at)"
	" SELECT due.order_id, due.task_id, pg_catalog.gen_random_uuid(),"
	" $3 OPERATOR(pg_catalog.+) $5, $6, due.run_at FROM due WHERE due.is_late IS NOT TRUE"
	" ORDER BY due.run_at, due.task_id"
	" ON CONFLICT (order_id) DO NOTHING RETURNING task_id) "
	"SELECT task_id, NULL::pg_catalog.timestamptz, NULL::pg_catalog.text FROM leased "
	"UNION ALL SELECT task_id, NULL, order_id FROM due WHERE is_late "
	"UNION ALL (SELECT task_id, run_at, NULL FROM due"
	" ORDER BY run_at DESC, task_id DESC LIMIT 1)",
	{TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, INT8OID, INTERVALOID, TEXTOID, TEXTARRAYOID,
	 TEXTARRAYOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement take_leased = {
	"WITH taken AS ("
	" UPDATE ONLY payguard.tasks t SET tries = t.tries OPERATOR(pg_catalog.+) 1, sent = true"
	" WHERE t.task_id " EQ " ANY ($1) RETURNING t.*) "
	"SELECT t.task_id, l.lease_token, l.leased_until, t.kind, t.tries, t.order_id,"
	" t.payment_id, t.refund_id, t.channel, COALESCE(r.amount, p.amount),"
	" COALESCE(r.currency, p.currency), p.channel_txn_id, r.channel_refund_id, p.expires_at,"
	" COALESCE(r.details, p.details)"
	" FROM taken t"
	" CROSS JOIN LATERAL (SELECT lease_token, leased_until FROM ONLY payguard.leases"
	" WHERE order_id " EQ " t.order_id OFFSET 0) l"
	" CROSS JOIN LATERAL (SELECT amount, currency, channel_txn_id, expires_at, details"
	" FROM ONLY payguard.payments WHERE payment_id " EQ " t.payment_id OFFSET 0) p"
	" LEFT JOIN LATERAL (SELECT amount, currency, channel_refund_id, details"
	" FROM ONLY payguard.refunds WHERE refund_id " EQ " t.refund_id OFFSET 0) r ON true"
	" ORDER BY t.run_at, t.task_id",
	{INT8ARRAYOID, InvalidOid},
	"tasks",
	CMD_UPDATE};

static int expire_leases(TimestampTz now, int max);
static void lose(Order *order, const Task *task);
static int lease_some(Datum *values, const char *nulls, Datum **leased);
static void drop_late(const Task *late);
static TimestampTz look_from(const char *filter, TimestampTz now, int64 *task_id);
static char *filter_of(FunctionCallInfo fcinfo);
static void check_filters(FunctionCallInfo fcinfo);
static void check_kind(const text *kind);
static void read_answer(Datum *values, bool *nulls, Answer *answer);
static void answer_all(Answer *answers, int n);
static void answer_one(Answer *answer);
static void answer_payment(Answer *answer, const Task *task, Order *order,
						   Applied *applied);
static void answer_refund(Answer *answer, const Task *task, Order *order,
						  Applied *applied);
static void acknowledge(const Answer *answer, const Lease *lease, const char *outcome);
static void charge_again(const Order *order, const Payment *payment);
static bool may_charge(const Order *order, const Payment *payment);
static bool goes_on(const Task *task);
static void keep_asking(const Task *task);
static void answer_unknown(Answer *answer);
static bool find_subject(int64 task_id, Task *task, FinishedTask *finished);
static bool holds(const Answer *answer, Lease *lease);
static void lock_leased(FunctionCallInfo fcinfo, Order *order, Task *task, Lease *lease);
static bool give_up_charge(Order *order, const Task *task);
static void task_must_exist(int64 task_id, Task *task);
static void update_retried(const Task *task);
static void die(Task *task);
static TimestampTz back_off(const Task *task);

PG_FUNCTION_INFO_V1(payguard_claim_tasks);

/*
 * claim_tasks(worker, max_tasks := 10, lease := '30 s', kinds := NULL, channels := NULL)
 *	→ SETOF task
 *
 * Due tasks, the longest due first, one of each order. NULL kinds or channels: all of them.
 * Errors: 22004, 22023.
 */
Datum
payguard_claim_tasks(PG_FUNCTION_ARGS)
{
	text *worker = payguard_arg_id(ARG(0), "worker");
	int max = payguard_arg_max(ARG(1), "max_tasks");
	Interval *lease = payguard_arg_lease(ARG(2), "lease");
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now = GetCurrentTimestamp();
	int64 after;
	TimestampTz from = look_from(filter_of(fcinfo), now, &after);
	Datum values[8] = {TimestampTzGetDatum(from),
					   Int64GetDatum(after),
					   TimestampTzGetDatum(now),
					   Int64GetDatum(max),
					   IntervalPGetDatum(lease),
					   PointerGetDatum(worker),
					   PG_ARGISNULL(3) ? (Datum) 0 : PG_GETARG_DATUM(3),
					   PG_ARGISNULL(4) ? (Datum) 0 : PG_GETARG_DATUM(4)};
	const char nulls[] = {' ', ' ', ' ', ' ', ' ', ' ',
						  PG_ARGISNULL(3) ? 'n' : ' ',
						  PG_ARGISNULL(4) ? 'n' : ' '};
	Datum *leased;
	int nleased;

	check_filters(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	payguard_request_begin("claim_tasks()");
	expire_leases(now, EXPIRED_AT_ONCE);
	/* where all that was due came too late, or its order was taken, there may be more behind it */
	while ((nleased = lease_some(values, nulls, &leased)) == 0)
	{
		values[0] = TimestampTzGetDatum(position.run_at);
		values[1] = Int64GetDatum(position.task_id);
	}
	if (from == DT_NOBEGIN)
	{
		/* what dead rows cost must not grow with how often we look */
		TimestampTz took = GetCurrentTimestamp() - now;

		position.look_again_at =
			now + Min(Max(250 * INT64CONST(1000), 20 * took), 5 * USECS_PER_SEC);
	}
	if (nleased > 0)
	{
		Datum ids = PointerGetDatum(construct_array(leased, nleased, INT8OID, sizeof(int64),
													FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));

		payguard_store_execute(&take_leased, &ids, NULL);
		payguard_store_put_results(rsinfo->setResult, rsinfo->setDesc);
	}
	payguard_store_end(STORE_WRITE);
	return (Datum) 0;
}

/*
 * lease_some leases due tasks and returns how many; -1: nothing is due any more. Charges that are
 * due too late are dropped.
 */
static int
lease_some(Datum *values, const char *nulls, Datum **leased)
{
	int n = payguard_store_execute(&lease_due, values, nulls);
	Task *late = palloc(sizeof(Task) * Max(n, 1));
	int nlate = 0;
	int nleased = 0;

	*leased = palloc(sizeof(Datum) * Max(n, 1));
	for (int i = 0; i < n; i++)
	{
		bool isnull[3];
		int64 task_id = DatumGetInt64(payguard_store_result(i, 0, &isnull[0]));
		Datum run_at = payguard_store_result(i, 1, &isnull[1]);
		Datum order_id = payguard_store_result(i, 2, &isnull[2]);

		if (!isnull[2])
			late[nlate++] =
				(Task){.task_id = task_id, .order_id = DatumGetTextPCopy(order_id)};
		else if (isnull[1])
			(*leased)[nleased++] = Int64GetDatum(task_id);
		else
		{
			position.task_id = task_id;
			position.run_at = DatumGetTimestampTz(run_at);
		}
	}
	for (int i = 0; i < nlate; i++)
		drop_late(&late[i]);
	return n == 0 ? -1 : nleased;
}

/*
 * look_from tells behind which task a claim begins: where this backend's last one ended, or,
 * now and then, at the beginning. Tasks behind that point that were not taken (their order was
 * leased, their enqueuer committed late, they were retried) are found then.
 */
static TimestampTz
look_from(const char *filter, TimestampTz now, int64 *task_id)
{
	if (position.filter == NULL || strcmp(position.filter, filter) != 0)
	{
		if (position.filter)
			pfree(position.filter);
		position.filter = MemoryContextStrdup(TopMemoryContext, filter);
		position.look_again_at = DT_NOBEGIN;
	}
	if (now < position.look_again_at && position.run_at <= now &&
		position.look_again_at - now <= 5 * USECS_PER_SEC)
	{
		*task_id = position.task_id;
		return position.run_at;
	}
	position.run_at = DT_NOBEGIN;
	position.task_id = 0;
	*task_id = 0;
	return DT_NOBEGIN;
}

static char *
filter_of(FunctionCallInfo fcinfo)
{
	StringInfoData filter;

	initStringInfo(&filter);
	for (int i = 3; i <= 4; i++)
		if (!PG_ARGISNULL(i))
			appendStringInfo(&filter, "%d%s", i,
							 OidOutputFunctionCall(F_ARRAY_OUT, PG_GETARG_DATUM(i)));
	return filter.data;
}

/*
 * check_filters: a kind that does not exist would never be claimed, and nobody would notice.
 */
static void
check_filters(FunctionCallInfo fcinfo)
{
	for (int i = 3; i <= 4; i++)
	{
		Datum *elements;
		bool *isnull;
		int n;

		if (PG_ARGISNULL(i))
			continue;
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(i), TEXTOID, -1, false, TYPALIGN_INT,
						  &elements, &isnull, &n);
		for (int j = 0; j < n; j++)
		{
			text *name = payguard_arg_id(elements[j], isnull[j],
										 i == 3 ? "kinds" : "channels");

			if (i == 3)
				check_kind(name);
		}
	}
}

static void
check_kind(const text *kind)
{
	static const char *const kinds[] = {"charge", "query", "close", "refund",
										"query_refund"};

	for (size_t i = 0; i < lengthof(kinds); i++)
		if (payguard_text_is(kind, kinds[i]))
			return;
	payguard_arg_bad("kinds", "There is no such kind.",
					 "Use charge, query, close, refund or query_refund.");
}

PG_FUNCTION_INFO_V1(payguard_expire_leases);

/*
 * expire_leases(max) → int: does what a claim does first, for when no worker comes: takes away
 * leases whose time is over, and returns how many. Errors: 22004, 22023.
 */
Datum
payguard_expire_leases(PG_FUNCTION_ARGS)
{
	int max = payguard_arg_max(ARG(0), "max");
	int expired;

	payguard_request_begin("expire_leases()");
	expired = expire_leases(GetCurrentTimestamp(), max);
	payguard_store_end(STORE_WRITE);
	PG_RETURN_INT32(expired);
}

/*
 * expire_leases takes leases away whose time is over, of orders that nobody is working on. What
 * is left of leases that were given up can be many dead rows: so it looks, as claims do, at what
 * has expired since the last time, and at all at most a twentieth of the time.
 */
static int
expire_leases(TimestampTz now, int max)
{
	bool all = now >= leases_seen.look_again_at || leases_seen.until > now ||
			   leases_seen.look_again_at - now > 5 * USECS_PER_SEC;
	Datum values[3] = {TimestampTzGetDatum(now), Int64GetDatum(max),
					   TimestampTzGetDatum(all ? DT_NOBEGIN : leases_seen.until)};
	Lease *expired;
	int done = 0;
	int n = payguard_store_list(&payguard_leases, &expired_leases, values,
								(void **) &expired);

	if (all)
		leases_seen.look_again_at =
			now + Min(20 * (GetCurrentTimestamp() - now), 5 * USECS_PER_SEC);
	leases_seen.until = n < max ? now : expired[n - 1].leased_until;

	for (int i = 0; i < n; i++)
	{
		Order like = {.order_id = expired[i].order_id};
		Task task_like = {.task_id = expired[i].task_id};
		Order order;
		Lease lease;
		Task task;

		if (!payguard_store_lock_free(&payguard_orders, ORDER_BY_ID, &like, &order))
			continue;
		payguard_store_refresh();
		if (!payguard_store_lock(&payguard_leases, LEASE_OF_ORDER, &expired[i], &lease) ||
			lease.leased_until > now)
			continue;
		if (payguard_store_lock(&payguard_tasks, TASK_BY_ID, &task_like, &task))
			lose(&order, &task);
		payguard_store_delete(&payguard_leases, &lease);
		done++;
	}
	if (n > 0)
		payguard_store_refresh();
	return done;
}

/*
 * lose: a worker has not answered. A charge or a refund may have been made, so it is not done
 * again blindly: it is unknown, and the channel is asked.
 */
static void
lose(Order *order, const Task *task)
{
	Refund refund_like = {.refund_id = task->refund_id};
	Payment payment;
	Refund refund;
	Report unknown = {
		.status = CHANNEL_UNKNOWN, .amount = NO_AMOUNT, .channel_time = NO_TIME};
	Applied applied;

	if (payguard_text_is(task->kind, "charge"))
	{
		payguard_payment_must_exist(task->payment_id, &payment);
		payguard_task_finish(task, NULL, NULL);
		payguard_evidence_apply(order, &payment, &unknown, &applied);
		payguard_task_schedule("query", &payment, NULL, GetCurrentTimestamp());
	}
	else if (payguard_text_is(task->kind, "refund") &&
			 payguard_store_find(&payguard_refunds, REFUND_BY_ID, &refund_like, &refund))
	{
		payguard_task_finish(task, NULL, NULL);
		payguard_refund_report(order, &unknown, &refund, &applied);
		payguard_task_schedule("query_refund", NULL, &refund, GetCurrentTimestamp());
	}
}

/*
 * drop_late ends a charge that comes too late for its attempt: nobody sends it any more. The
 * claim has locked its order.
 */
static void
drop_late(const Task *late)
{
	Order order;
	Lease lease = {.order_id = late->order_id};
	Task task;
	Payment payment;
	Report not_sent = {
		.status = CHANNEL_FAILED,
		.code = payguard_text("not_sent"),
		.message = payguard_text("The attempt had expired before a worker took it."),
		.amount = NO_AMOUNT,
		.channel_time = NO_TIME,
	};
	Applied applied;

	payguard_store_refresh();
	if (!payguard_order_lock(late->order_id, &order) ||
		!payguard_store_lock(&payguard_tasks, TASK_BY_ID, late, &task) ||
		(payguard_store_find(&payguard_leases, LEASE_OF_ORDER, &lease, &lease) &&
		 lease.task_id == task.task_id))
		return;
	payguard_payment_must_exist(task.payment_id, &payment);
	if (payguard_payment_withdraw_charge(&payment))
		payguard_evidence_apply(&order, &payment, &not_sent, &applied);
	else
	{
		payguard_task_remove("charge", &payment, NULL);
		payguard_task_schedule("query", &payment, NULL, GetCurrentTimestamp());
	}
}

PG_FUNCTION_INFO_V1(payguard_complete_task);

/*
 * complete_task(task_id, lease_token, channel_status, channel_txn_id, amount, currency, code,
 *				 message) → payment_result
 *
 * Applies the channel's answer as evidence and removes the task, in one. With a stale token
 * the answer counts all the same, the task is left, outcome "lease_lost". Errors: 22004, 22023
 * for malformed arguments only.
 */
Datum
payguard_complete_task(PG_FUNCTION_ARGS)
{
	Datum values[8];
	bool nulls[8];
	Answer answer;

	for (int i = 0; i < 8; i++)
	{
		nulls[i] = PG_ARGISNULL(i);
		values[i] = PG_GETARG_DATUM(i);
	}
	read_answer(values, nulls, &answer);
	payguard_evidence_begin("complete_task()");
	answer_all(&answer, 1);
	payguard_store_end(STORE_WRITE);
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
		Datum values[8];
		bool nulls[8];

		payguard_arg_row(elements[i], lengthof(values), values, nulls);
		read_answer(values, nulls, &answers[i]);
	}
	InitMaterializedSRF(fcinfo, 0);
	payguard_evidence_begin("complete_tasks()");
	answer_all(answers, n);
	payguard_store_end(STORE_WRITE);
	for (int i = 0; i < n; i++)
		payguard_result_put(rsinfo, &answers[i].result);
	return (Datum) 0;
}

static void
read_answer(Datum *values, bool *nulls, Answer *answer)
{
	if (nulls[0])
		payguard_arg_missing("task_id");
	*answer = (Answer){
		.task_id = DatumGetInt64(values[0]),
		.token = payguard_arg_uuid(values[1], nulls[1], "lease_token"),
		.report = {
			.status = payguard_arg_channel_status(values[2], nulls[2], "channel_status"),
			.txn_id = payguard_arg_id_or_null(values[3], nulls[3], "channel_txn_id"),
			.amount = payguard_arg_amount_or_null(values[4], nulls[4], "amount"),
			.currency = payguard_arg_currency_or_null(values[5], nulls[5], "currency"),
			.code = payguard_arg_id_or_null(values[6], nulls[6], "code"),
			.message = payguard_arg_note_or_null(values[7], nulls[7], "message"),
			.channel_time = NO_TIME,
		}};
}

/*
 * answer_all locks the orders of all answers, in the order of their ids, and deals with what
 * can be dealt with together; then with the others one by one, in the order asked.
 */
static void
answer_all(Answer *answers, int n)
{
	bool *answered = palloc0(sizeof(bool) * Max(n, 1));

	payguard_batch_answer(answers, n, answered);
	for (int i = 0; i < n; i++)
	{
		if (answered[i])
			continue;
		payguard_store_refresh();
		answer_one(&answers[i]);
	}
	pfree(answered);
}

/*
 * find_subject reads a task, or what is kept of one that is gone, as a task; false: neither.
 */
static bool
find_subject(int64 task_id, Task *task, FinishedTask *finished)
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

	/* of a finished task the order may have been archived, and is not locked then */
	if (!find_subject(answer->task_id, &task, &finished) ||
		!(finished.task_id != NO_ID ? payguard_order_lock
									: payguard_order_find)(task.order_id, &order))
	{
		answer_unknown(answer);
		return;
	}
	lease.order_id = task.order_id;
	held = holds(answer, &lease);
	repeated = finished.task_id != NO_ID && finished.lease_token &&
			   memcmp(finished.lease_token, answer->token, UUID_LEN) == 0;

	if (task.refund_id)
		answer_refund(answer, &task, &order, &applied);
	else
		answer_payment(answer, &task, &order, &applied);
	if (held)
	{
		payguard_store_delete(&payguard_leases, &lease);
		acknowledge(answer, &lease, answer->result.outcome);
		keep_asking(&task);
	}
	answer->result.replayed = repeated || (!applied.changed && !applied.contradicts && !held);
	if (repeated)
		answer->result.outcome = payguard_str(finished.outcome);
	else if (!held && !applied.contradicts)
	{
		answer->result.outcome = "lease_lost";
		answer->result.message =
			"The lease is over; the answer counts, the task is not this worker's any more.";
	}
}

static void
answer_payment(Answer *answer, const Task *task, Order *order, Applied *applied)
{
	Payment payment;

	payguard_payment_must_exist(task->payment_id, &payment);
	payguard_evidence_apply(order, &payment, &answer->report, applied);
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
 * charge_again: the channel does not know a payment that a worker was to charge. Where it
 * honours payment_id, asking it again cannot charge twice.
 */
static void
charge_again(const Order *order, const Payment *payment)
{
	Channel channel;

	payguard_channel_of(payment, &channel);
	if (!channel.idempotent_charge || !may_charge(order, payment) ||
		!payguard_text_is(payment->request_kind, "request") ||
		(payment->expires_at != NO_TIME && payment->expires_at <= GetCurrentTimestamp()))
		return;
	payguard_task_repeat("charge", payment, NULL);
}

/*
 * may_charge tells whether the order still wants an attempt's money: nobody has it closed.
 */
static bool
may_charge(const Order *order, const Payment *payment)
{
	return order->closing_as == ORDER_NONE && (payment->status == PAYMENT_PENDING ||
											   payment->status == PAYMENT_UNKNOWN);
}

static void
answer_refund(Answer *answer, const Task *task, Order *order, Applied *applied)
{
	Refund like = {.refund_id = task->refund_id};
	Refund refund;
	Payment payment;
	Channel channel;

	if (!payguard_store_find(&payguard_refunds, REFUND_BY_ID, &like, &refund))
		elog(ERROR, "payguard: refund \"%s\" has vanished",
			 payguard_uuid_str(task->refund_id));
	payguard_refund_report(order, &answer->report, &refund, applied);
	payguard_payment_must_exist(task->payment_id, &payment);
	payguard_channel_of(&payment, &channel);
	if (payguard_text_is(task->kind, "query_refund") &&
		answer->report.status == CHANNEL_NOT_FOUND && channel.idempotent_charge &&
		(refund.status == REFUND_PENDING || refund.status == REFUND_UNKNOWN))
		payguard_task_repeat("refund", NULL, &refund);
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
		.message =
			applied->contradicts ? applied->contradicts : "The refund's answer is applied.",
	};
}

/*
 * acknowledge ends a task that was answered. One that has become due again since it was claimed
 * goes on, with the waiting time that was set then: a query that was answered "pending", or one
 * that something else asks for which came while the worker waited for the channel.
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
			payguard_store_update(&payguard_finished_tasks,
								  FIELD(FINISHED_F_LEASE_TOKEN) |
									  FIELD(FINISHED_F_OUTCOME),
								  &finished);
		}
		return;
	}
	if (now.run_at != lease->run_at)
		return;
	if (goes_on(&now))
	{
		now.run_at = back_off(&now);
		payguard_store_update(&payguard_tasks, FIELD(TASK_F_RUN_AT), &now);
		return;
	}
	payguard_task_finish(&now, answer->token, outcome);
}

/*
 * keep_asking: an answer that could not be applied leaves its attempt or refund open, and then
 * something has to be due for it.
 */
static void
keep_asking(const Task *task)
{
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
			!payguard_task_find("refund", NULL, &refund, &due) &&
			!payguard_task_find("query_refund", NULL, &refund, &due))
			payguard_task_schedule(
				"query_refund", NULL, &refund,
				payguard_time_plus(GetCurrentTimestamp(), channel.first_query_after));
	}
	else if ((payguard_payment_is_live(payment.status) ||
			  payment.status == PAYMENT_SUPERSEDED) &&
			 !payguard_task_find("charge", &payment, NULL, &due) &&
			 !payguard_task_find("close", &payment, NULL, &due) &&
			 !payguard_task_find("query", &payment, NULL, &due))
		payguard_task_query(&payment, &channel);
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
	return payguard_payment_is_live(payment.status) ||
		   payment.status == PAYMENT_SUPERSEDED;
}

/*
 * answer_unknown keeps an answer to a task that nobody knows any more.
 */
static void
answer_unknown(Answer *answer)
{
	answer->report.note =
		payguard_text(psprintf("answer to task " INT64_FORMAT, answer->task_id));
	payguard_notification_keep(NULL, NULL, NULL, NULL, &answer->report, "unmatched");
	answer->result = (PaymentResult){
		.outcome = "recorded",
		.completed_at = NO_TIME,
		.message = "The task is not known; the answer is kept for a person to look at.",
	};
}

/*
 * holds tells whether a worker still holds the task that it answers, and reads its lease.
 */
static bool
holds(const Answer *answer, Lease *lease)
{
	return payguard_store_lock(&payguard_leases, LEASE_OF_ORDER, lease, lease) &&
		   lease->task_id == answer->task_id &&
		   memcmp(lease->lease_token, answer->token, UUID_LEN) == 0 &&
		   lease->leased_until > GetCurrentTimestamp();
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

	lock_leased(fcinfo, &order, &task, &lease);
	payguard_store_delete(&payguard_leases, &lease);
	task.sent = false;
	task.last_error = error;
	task.run_at = delay ? payguard_time_plus(GetCurrentTimestamp(), delay) : back_off(&task);
	if (!payguard_text_is(task.kind, "charge") || !give_up_charge(&order, &task))
	{
		if (task.tries >= MAX_TRIES && !payguard_text_is(task.kind, "query") &&
			!payguard_text_is(task.kind, "query_refund"))
			die(&task);
		update_retried(&task);
	}
	payguard_store_end(STORE_WRITE);
	PG_RETURN_INT64(task.task_id);
}

/*
 * give_up_charge ends a charge that is out of tries, or that nobody wants any more. Where no
 * earlier one was sent either, the attempt has failed. false: it is to be tried again, or waits
 * for a person.
 */
static bool
give_up_charge(Order *order, const Task *task)
{
	Payment payment;
	Applied applied;
	Report not_sent = {
		.status = CHANNEL_FAILED,
		.code = payguard_text("not_sent"),
		.message = task->last_error,
		.amount = NO_AMOUNT,
		.channel_time = NO_TIME,
	};

	payguard_payment_must_exist(task->payment_id, &payment);
	if (may_charge(order, &payment) && (task->again || task->tries < MAX_TRIES))
		return false;
	if (task->again)
		payguard_task_finish(task, NULL, NULL);
	else
		payguard_evidence_apply(order, &payment, &not_sent, &applied);
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
 * die leaves a task to a person. What a dead request to close was about is asked about.
 */
static void
die(Task *task)
{
	task->dead_at = GetCurrentTimestamp();
	payguard_alert_task("dead_task", "critical", task,
						payguard_json("kind", 't', task->kind, "error", 't',
									  task->last_error, NULL));
	if (payguard_text_is(task->kind, "close"))
	{
		Payment payment;
		Channel channel;

		payguard_payment_must_exist(task->payment_id, &payment);
		payguard_channel_of(&payment, &channel);
		payguard_task_query(&payment, &channel);
	}
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

	lock_leased(fcinfo, &order, &task, &lease);
	lease.leased_until = payguard_time_plus(GetCurrentTimestamp(), by);
	payguard_store_update(&payguard_leases, FIELD(LEASE_F_LEASED_UNTIL), &lease);
	payguard_store_end(STORE_WRITE);
	PG_RETURN_TIMESTAMPTZ(lease.leased_until);
}

/*
 * lock_leased reads the task and the lease that the first two arguments name, with the order
 * locked. Errors: PY404, PY701.
 */
static void
lock_leased(FunctionCallInfo fcinfo, Order *order, Task *task, Lease *lease)
{
	Answer answer;
	Task like;
	FinishedTask finished;
	Refusal refusal;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("task_id");
	answer.task_id = PG_GETARG_INT64(0);
	answer.token = payguard_arg_uuid(ARG(1), "lease_token");
	like.task_id = answer.task_id;
	payguard_request_begin("retry_task(), extend_lease()");
	if (!find_subject(answer.task_id, task, &finished))
		task_must_exist(answer.task_id, task);
	payguard_order_lock(task->order_id, order);
	payguard_store_refresh();
	lease->order_id = task->order_id;
	if (holds(&answer, lease) &&
		payguard_store_lock(&payguard_tasks, TASK_BY_ID, &like, task))
		return;
	payguard_refuse(&refusal, ERR_LEASE_LOST,
					psprintf("the lease on task " INT64_FORMAT " is over", answer.task_id),
					"It has expired, another worker has the task, or it has ended.",
					"Report what the channel says with payguard.complete_task(); it counts "
					"without a lease.");
	payguard_raise(&refusal);
}

static void
task_must_exist(int64 task_id, Task *task)
{
	Task like = {.task_id = task_id};
	Refusal refusal;

	if (payguard_store_find(&payguard_tasks, TASK_BY_ID, &like, task))
		return;
	payguard_refuse(&refusal, ERR_TASK_NOT_FOUND,
					psprintf("task " INT64_FORMAT " does not exist", task_id),
					"It has ended, or never was.", "There is nothing left to do for it.");
	payguard_raise(&refusal);
}

/*
 * back_off returns when to try a task again: the channel's first_query_after, twice as long
 * after each try up to max_query_interval, and up to a quarter more, so that tasks that failed
 * together do not come back together.
 */
static TimestampTz
back_off(const Task *task)
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
	task_must_exist(PG_GETARG_INT64(0), &task);
	payguard_order_lock(task.order_id, &order);
	payguard_store_refresh();
	task_must_exist(PG_GETARG_INT64(0), &task);
	task.run_at = GetCurrentTimestamp();
	task.dead_at = NO_TIME;
	task.tries = Min(task.tries, 1);
	payguard_store_update(&payguard_tasks,
						  FIELD(TASK_F_RUN_AT) | FIELD(TASK_F_DEAD_AT) |
							  FIELD(TASK_F_TRIES),
						  &task);
	payguard_alert_resolve("dead_task",
						   payguard_text(psprintf(INT64_FORMAT, task.task_id)), NULL);
	payguard_store_end(STORE_WRITE);
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
	ask = payguard_payment_is_live(payment.status) ||
		  payment.status == PAYMENT_SUPERSEDED ||
		  (payment.status == PAYMENT_SUCCEEDED && !payment.amount_verified);
	if (ask)
		payguard_task_schedule("query", &payment, NULL, GetCurrentTimestamp());
	payguard_store_end(STORE_WRITE);
	payguard_result_of(&payment, &order, !ask, &result);
	result.version = order.version;
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}
