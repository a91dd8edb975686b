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
#define LOOK_AT_MOST 1000	/* tasks that a claim looks at together */
#define EXPIRED_AT_ONCE 100 /* leases dealt with by one claim, at most */
#define LONGEST_LEASE                                                                    \
	USECS_PER_DAY /* payguard_arg_lease() takes no more, also of a delay */

/* Where this backend's claims go on. */
typedef struct Position
{
	char *filter; /* the kinds and channels that it is about */
	TimestampTz run_at;
	int64 task_id;
	TimestampTz look_again_at; /* when to look from the beginning again */
	TimestampTz used_at;
} Position;

static Position positions[8];

/* A call of claim_tasks(). */
typedef struct Claim
{
	text *worker;
	TimestampTz now;
	TimestampTz until; /* of its leases */
	int max;
	Datum among[2]; /* the kinds and channels */
	bool any[2];
	Position *position;
} Claim;

/* A task that a claim takes, with what the worker is told. */
typedef struct Due
{
	Task *task;
	Lease lease;
	Payment *payment;
	bool taken;
} Due;

/* Up to when this backend has looked for expired leases. */
static struct
{
	TimestampTz until;
	TimestampTz look_again_at; /* when to look from the beginning again */
} leases_seen = {DT_NOBEGIN, DT_NOBEGIN};

static const RowQuery expired_leases = {
	"leased_until " OP(">") " $1 AND leased_until " OP(
		"<=") " $2"
			  " ORDER BY leased_until LIMIT $3",
	{TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID, InvalidOid}};

static const RowQuery due_tasks = {
	"ROW(run_at, task_id) " OP(
		">") " ROW($1, $2)"
			 " AND run_at " OP(
				 "<=") " $3 AND dead_at IS NULL"
					   " AND ($5 IS NULL OR kind " OP("=") " ANY ($5)) AND ($6 IS NULL "
														   "OR channel " OP(
															   "=") " ANY ($6))"
																	" ORDER BY run_at, "
																	"task_id LIMIT $4",
	{TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, INT8OID, TEXTARRAYOID, TEXTARRAYOID,
	 InvalidOid}};

/* Held for longer than a lease can last: the clock was ahead when they were taken. */
static const RowQuery leases_of_future = {
	"leased_until " OP(">") " $1 ORDER BY leased_until DESC LIMIT $2",
	{TIMESTAMPTZOID, INT8OID, InvalidOid}};

/*
 * The same of tasks. $1: as far as a delay can reach; beyond it, a channel's intervals and the
 * quarter that back_off() adds.
 */
static const RowQuery tasks_of_future = {
	"run_at " OP(
		">") " $1 AND dead_at IS NULL"
			 " AND (run_at " OP("-") " $1) " OP(">") " (1.25::pg_catalog.float8 " OP(
				 "*") " (SELECT pg_catalog.max(GREATEST(c.first_query_after, "
					  "c.max_query_interval))"
					  " FROM ONLY payguard.channels c))"
					  " AND NOT EXISTS (SELECT FROM ONLY payguard.leases l WHERE "
					  "l.order_id " OP(
						  "=") " tasks.order_id) ORDER BY run_at DESC LIMIT $2",
	{TIMESTAMPTZOID, INT8OID, InvalidOid}};

static int expire_leases(TimestampTz now, int max);
static int end_leases(Lease *leases, int n);
static void end_lease(EachItem *item);
static int end_future(TimestampTz now, int max);
static bool bring_forward(const Task *like, TimestampTz now);
static void lose(Order *order, const Task *task);
static int lease_some(const Claim *claim, TimestampTz *run_at, int64 *task_id, Due **due);
static int find_due(const Claim *claim, TimestampTz run_at, int64 task_id, Due **due);
static int take_free(Task *tasks, int ntasks, int max, Due *due, int *seen);
static int keep_standing(Due *due, int n);
static void find_payments(Due *due, int n);
static bool is_late(const Task *task, const Payment *payment, TimestampTz now);
static int take(const Claim *claim, Due *due, int n);
static void put_task(ReturnSetInfo *rsinfo, const Due *due);
static void drop_late(const Claim *claim, Due *due, int n);
static void drop_one(EachItem *item);
static Position *look_from(const char *filter, TimestampTz now, bool *again);
#ifdef USE_ASSERT_CHECKING
static int due_by_time(const void *a, const void *b);
#endif
static int lease_by_order(const void *a, const void *b);
static int order_by_id(const void *a, const void *b);
static int payment_by_id(const void *a, const void *b);
static char *filter_of(FunctionCallInfo fcinfo);
static void check_filters(FunctionCallInfo fcinfo);
static void check_kind(const text *kind);
static void read_answer(Datum *values, bool *nulls, Answer *answer);
static void answer_all(Answer *answers, int n, ReturnSetInfo *rsinfo);
static void answer_one(Answer *answer);
static void answer_payment(Answer *answer, const Task *task, Order *order,
						   Applied *applied);
static void answer_refund(Answer *answer, const Task *task, Order *order,
						  Applied *applied);
static void acknowledge(const Answer *answer, const Lease *lease, const char *outcome);
static void charge_again(Order *order, const Payment *payment);
static bool may_charge(const Order *order, const Payment *payment);
static bool goes_on(const Task *task);
static void keep_asking(const Task *task);
static void answer_unknown(Answer *answer);
static bool find_subject(int64 task_id, Task *task, FinishedTask *finished);
static bool find_order(const Task *task, const FinishedTask *finished, Order *order);
static bool holds(const Answer *answer, Lease *lease);
static void lock_leased(FunctionCallInfo fcinfo, const char *function, Order *order,
						Task *task, Lease *lease);
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
	int max = payguard_arg_max_rows(ARG(1), "max_tasks");
	Interval *lease = payguard_arg_lease(ARG(2), "lease");
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz now = GetCurrentTimestamp();
	Claim claim = {worker, now, payguard_time_plus(now, lease), max, {0}, {false}, NULL};
	bool again;
	TimestampTz run_at;
	int64 task_id;
	Due *due;
	int n;

	for (int i = 0; i < 2; i++)
	{
		claim.any[i] = PG_ARGISNULL(3 + i);
		claim.among[i] = claim.any[i] ? (Datum) 0 : PG_GETARG_DATUM(3 + i);
	}
	check_filters(fcinfo);
	claim.position = look_from(filter_of(fcinfo), now, &again);
	InitMaterializedSRF(fcinfo, 0);
	payguard_request_begin("claim_tasks()");
	expire_leases(now, EXPIRED_AT_ONCE);
	run_at = claim.position->run_at;
	task_id = claim.position->task_id;
	/* where all that was due came too late, or its order was taken, there may be more behind it */
	while ((n = lease_some(&claim, &run_at, &task_id, &due)) == 0)
		CHECK_FOR_INTERRUPTS();
	if (again)
	{
		/* what dead rows cost must not grow with how often we look */
		TimestampTz took = GetCurrentTimestamp() - now;

		claim.position->look_again_at =
			now + Min(Max(250 * INT64CONST(1000), 20 * took), 5 * USECS_PER_SEC);
	}
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		put_task(rsinfo, &due[i]);
	}
	payguard_call_end();
	return (Datum) 0;
}

/*
 * lease_some leases due tasks behind a point, which it moves on, and returns how many; -1: nothing
 * is due any more. Charges that are due too late are dropped.
 */
static int
lease_some(const Claim *claim, TimestampTz *run_at, int64 *task_id, Due **due)
{
	int n;
	int taken;

	n = find_due(claim, *run_at, *task_id, due);
	if (n == 0)
		return -1;
	Assert(payguard_is_sorted(*due, n, sizeof(Due), due_by_time));
	claim->position->run_at = *run_at = (*due)[n - 1].task->run_at;
	claim->position->task_id = *task_id = (*due)[n - 1].task->task_id;

	/* others may have had the orders' locks meanwhile */
	payguard_store_refresh();
	n = keep_standing(*due, n);
	find_payments(*due, n);
	taken = take(claim, *due, n);
	drop_late(claim, *due, n);
	n = 0;
	for (int i = 0; n < taken; i++)
		if ((*due)[i].taken)
			(*due)[n++] = (*due)[i];
	return taken;
}

/*
 * find_due finds due tasks of orders that nobody works on, and locks the orders; it returns how
 * many.
 */
static int
find_due(const Claim *claim, TimestampTz run_at, int64 task_id, Due **due)
{
	char nulls[] = {
		' ', ' ', ' ', ' ', claim->any[0] ? 'n' : ' ', claim->any[1] ? 'n' : ' '};
	int64 look_at = Min(claim->max, LOOK_AT_MOST);
	int n = 0;

	*due = palloc(sizeof(Due));
	for (;;)
	{
		Datum values[] = {TimestampTzGetDatum(run_at),
						  Int64GetDatum(task_id),
						  TimestampTzGetDatum(claim->now),
						  Int64GetDatum(look_at),
						  claim->among[0],
						  claim->among[1]};
		Task *tasks;
		int seen;
		int ntasks = payguard_store_list_nulls(&payguard_tasks, &due_tasks, values, nulls,
											   (void **) &tasks);

		CHECK_FOR_INTERRUPTS();
		if (ntasks == 0)
			return n;
		*due = repalloc(*due, sizeof(Due) * (n + ntasks));
		n += take_free(tasks, ntasks, claim->max - n, *due + n, &seen);
		Assert(seen > 0 && seen <= ntasks && n <= claim->max);
		if (n == claim->max || (seen == ntasks && ntasks < look_at))
			return n;
		run_at = tasks[seen - 1].run_at;
		task_id = tasks[seen - 1].task_id;
		/* many are held: the first ones of the next look may be so, too */
		look_at = Min(2 * look_at, LOOK_AT_MOST);
	}
}

/*
 * take_free takes tasks, at most `max`, whose orders have no lease, and can be locked at once.
 *
 * seen: how many tasks it has looked at for that
 */
static int
take_free(Task *tasks, int ntasks, int max, Due *due, int *seen)
{
	Datum *ids = palloc(sizeof(Datum) * ntasks);
	Task **unleased = palloc(sizeof(Task *) * ntasks);
	Lease *leases;
	Order *orders;
	int nleases;
	int norders;
	int nunleased = 0;
	int n = 0;

	for (int i = 0; i < ntasks; i++)
		ids[i] = PointerGetDatum(tasks[i].order_id);
	nleases = payguard_store_list_by_key(&payguard_leases, LEASE_OF_ORDER, 1, ROW_READ,
										 ids, ntasks, (void **) &leases);
	Assert(payguard_is_sorted(leases, nleases, sizeof(Lease), lease_by_order));
	for (*seen = 0; *seen < ntasks && nunleased < max; (*seen)++)
	{
		Lease like = {.order_id = tasks[*seen].order_id};

		if (nleases > 0 &&
			bsearch(&like, leases, nleases, sizeof(Lease), lease_by_order) != NULL)
			continue;
		ids[nunleased] = PointerGetDatum(tasks[*seen].order_id);
		unleased[nunleased++] = &tasks[*seen];
	}
	norders = payguard_store_list_by_key(&payguard_orders, ORDER_BY_ID, 1, ROW_LOCK_FREE,
										 ids, nunleased, (void **) &orders);
	Assert(payguard_is_sorted(orders, norders, sizeof(Order), order_by_id));
	for (int i = 0; i < nunleased; i++)
	{
		Order like = {.order_id = unleased[i]->order_id};

		if (bsearch(&like, orders, norders, sizeof(Order), order_by_id) != NULL)
			due[n++] = (Due){.task = unleased[i]};
	}
	return n;
}

/*
 * keep_standing leaves out the tasks that have changed since they were found, before their orders
 * were locked; where they are due still they are found later. It returns how many are left.
 */
static int
keep_standing(Due *due, int n)
{
	const void **rows = palloc(sizeof(void *) * n);
	bool *stands = palloc(sizeof(bool) * n);
	int kept = 0;

	for (int i = 0; i < n; i++)
		rows[i] = due[i].task;
	payguard_store_check(&payguard_tasks, rows, n, stands);
	for (int i = 0; i < n; i++)
		if (stands[i])
			due[kept++] = due[i];
	return kept;
}

static void
find_payments(Due *due, int n)
{
	Datum *ids = palloc(sizeof(Datum) * Max(n, 1));
	Payment *payments;
	int npayments;

	for (int i = 0; i < n; i++)
		ids[i] = UUIDPGetDatum(due[i].task->payment_id);
	npayments = payguard_store_list_by_key(&payguard_payments, PAYMENT_BY_ID, 1, ROW_READ,
										   ids, n, (void **) &payments);
	Assert(payguard_is_sorted(payments, npayments, sizeof(Payment), payment_by_id));
	for (int i = 0; i < n; i++)
	{
		Payment like = {.payment_id = due[i].task->payment_id};

		due[i].payment =
			bsearch(&like, payments, npayments, sizeof(Payment), payment_by_id);
	}
}

/*
 * is_late: an attempt that has expired is not charged any more.
 */
static bool
is_late(const Task *task, const Payment *payment, TimestampTz now)
{
	return payguard_text_is(task->kind, "charge") && payment->expires_at != NO_TIME &&
		   payment->expires_at <= now;
}

/*
 * take gives the worker a lease for each order's first task, and returns for how many.
 */
static int
take(const Claim *claim, Due *due, int n)
{
	const void **rows = palloc(sizeof(void *) * Max(n, 1));
	Due **wanted = palloc(sizeof(Due *) * Max(n, 1));
	bool *leased = palloc(sizeof(bool) * Max(n, 1));
	int nwanted = 0;
	int ntaken = 0;

	for (int i = 0; i < n; i++)
	{
		Task *task = due[i].task;

		if (due[i].payment == NULL || is_late(task, due[i].payment, claim->now))
			continue;
		Assert(payguard_order_is_locked(task->order_id));
		due[i].lease = (Lease){
			.order_id = task->order_id,
			.task_id = task->task_id,
			.lease_token = payguard_uuid_v4(),
			.leased_until = claim->until,
			.worker = claim->worker,
			.run_at = task->run_at,
		};
		rows[nwanted] = &due[i].lease;
		wanted[nwanted++] = &due[i];
	}
	payguard_store_insert_new_all(&payguard_leases, LEASE_OF_ORDER, rows, nwanted,
								  leased);
	for (int i = 0; i < nwanted; i++)
	{
		if (!leased[i])
			continue;
		wanted[i]->taken = true;
		wanted[i]->task->tries++;
		wanted[i]->task->sent = true;
		rows[ntaken++] = wanted[i]->task;
	}
	payguard_store_update_all(&payguard_tasks, FIELD(TASK_F_TRIES) | FIELD(TASK_F_SENT),
							  rows, ntaken);
	return ntaken;
}

/*
 * put_task adds a task to a function's result. A refund's amount may have been corrected while its
 * task and its order have not changed.
 */
static void
put_task(ReturnSetInfo *rsinfo, const Due *due)
{
	const Task *task = due->task;
	const Payment *payment = due->payment;
	Refund refund;
	bool has_refund = task->refund_id && payguard_refund_reread(task->refund_id, &refund);
	const Jsonb *details =
		has_refund && refund.details ? refund.details : payment->details;
	text *refund_name = has_refund ? refund.channel_refund_id : NULL;
	Datum values[] = {
		Int64GetDatum(task->task_id),
		UUIDPGetDatum(due->lease.lease_token),
		TimestampTzGetDatum(due->lease.leased_until),
		PointerGetDatum(task->kind),
		Int64GetDatum(task->tries),
		PointerGetDatum(task->order_id),
		UUIDPGetDatum(task->payment_id),
		UUIDPGetDatum(task->refund_id),
		PointerGetDatum(task->channel),
		Int64GetDatum(has_refund ? refund.amount : payment->amount),
		PointerGetDatum(has_refund ? refund.currency : payment->currency),
		PointerGetDatum(payment->channel_txn_id),
		PointerGetDatum(refund_name),
		TimestampTzGetDatum(payment->expires_at),
		PointerGetDatum(details),
	};
	bool nulls[lengthof(values)] = {
		[7] = task->refund_id == NULL, [11] = payment->channel_txn_id == NULL,
		[12] = refund_name == NULL,	   [13] = payment->expires_at == NO_TIME,
		[14] = details == NULL,
	};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

#ifdef USE_ASSERT_CHECKING
static int
due_by_time(const void *a, const void *b)
{
	const Task *left = ((const Due *) a)->task;
	const Task *right = ((const Due *) b)->task;

	if (left->run_at != right->run_at)
		return left->run_at < right->run_at ? -1 : 1;
	return left->task_id < right->task_id ? -1 : left->task_id > right->task_id;
}
#endif

static int
lease_by_order(const void *a, const void *b)
{
	return payguard_text_compare(((const Lease *) a)->order_id,
								 ((const Lease *) b)->order_id);
}

static int
order_by_id(const void *a, const void *b)
{
	return payguard_text_compare(((const Order *) a)->order_id,
								 ((const Order *) b)->order_id);
}

static int
payment_by_id(const void *a, const void *b)
{
	return memcmp(((const Payment *) a)->payment_id, ((const Payment *) b)->payment_id,
				  UUID_LEN);
}

/*
 * look_from tells behind which task a claim begins: where this backend's last one for the same
 * kinds and channels ended, or, now and then, at the beginning (again). Tasks behind that point
 * that were not taken (their order was leased, their enqueuer committed late, they were retried)
 * are found then.
 */
static Position *
look_from(const char *filter, TimestampTz now, bool *again)
{
	Position *position = &positions[0];

	for (int i = 0; i < (int) lengthof(positions); i++)
	{
		if (positions[i].filter && strcmp(positions[i].filter, filter) == 0)
		{
			position = &positions[i];
			break;
		}
		if (positions[i].used_at < position->used_at)
			position = &positions[i];
	}
	if (position->filter == NULL || strcmp(position->filter, filter) != 0)
	{
		char *copy = MemoryContextStrdup(TopMemoryContext, filter);

		if (position->filter)
			pfree(position->filter);
		position->filter = copy;
		position->look_again_at = DT_NOBEGIN;
	}
	position->used_at = now;
	*again = now >= position->look_again_at || position->run_at > now ||
			 position->look_again_at - now > 5 * USECS_PER_SEC;
	if (*again)
	{
		position->run_at = DT_NOBEGIN;
		position->task_id = 0;
	}
	return position;
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
		payguard_arg_check_length(PG_GETARG_ARRAYTYPE_P(i),
								  i == 3 ? "kinds" : "channels");
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(i), TEXTOID, -1, false, TYPALIGN_INT,
						  &elements, &isnull, &n);
		for (int j = 0; j < n; j++)
		{
			text *name =
				payguard_arg_id(elements[j], isnull[j], i == 3 ? "kinds" : "channels");

			CHECK_FOR_INTERRUPTS();
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
 * leases whose time is over, and returns how many. With them goes what waits for a time that only
 * a wrong clock can have meant. Errors: 22004, 22023.
 */
Datum
payguard_expire_leases(PG_FUNCTION_ARGS)
{
	int max = payguard_arg_max_rows(ARG(0), "max");
	TimestampTz now = GetCurrentTimestamp();
	int expired;

	payguard_request_begin("expire_leases()");
	expired = expire_leases(now, max);
	expired += end_future(now, max);
	payguard_call_end();
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
 * end_future undoes what was put off while the clock was ahead, after it was set back: leases end
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
	payguard_store_refresh();
	if (payguard_store_find(&payguard_leases, LEASE_OF_ORDER, &lease_like, &lease) ||
		!payguard_store_lock(&payguard_tasks, TASK_BY_ID, like, &task) ||
		task.run_at != like->run_at)
		return false;
	task.run_at = now;
	payguard_store_update(&payguard_tasks, FIELD(TASK_F_RUN_AT), &task);
	return true;
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

	Assert(payguard_order_is_locked(order->order_id));
	if (payguard_text_is(task->kind, "charge"))
	{
		payguard_payment_must_exist(task->payment_id, &payment);
		payguard_task_finish(task, NULL, NULL);
		payguard_evidence_apply(order, &payment, &unknown, &applied);
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
 * drop_late ends charges that come too late for their attempts: nobody sends them any more. The claim
 * has locked their orders.
 */
static void
drop_late(const Claim *claim, Due *due, int n)
{
	EachItem *late = palloc(sizeof(EachItem) * Max(n, 1));
	int nlate = 0;

	for (int i = 0; i < n; i++)
		if (due[i].payment && is_late(due[i].task, due[i].payment, claim->now))
			late[nlate++] = (EachItem){.id = due[i].task->order_id, .row = due[i].task};
	payguard_each("order", late, nlate, drop_one);
}

static void
drop_one(EachItem *item)
{
	const Task *late = item->row;
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
		payguard_task_remove("charge", payguard_payment_about(&payment));
		payguard_task_schedule("query", payguard_payment_about(&payment), payment.channel,
							   GetCurrentTimestamp());
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
		Datum values[8];
		bool nulls[8];

		CHECK_FOR_INTERRUPTS();
		payguard_arg_row(elements[i], lengthof(values), values, nulls);
		read_answer(values, nulls, &answers[i]);
	}
	InitMaterializedSRF(fcinfo, 0);
	payguard_evidence_begin("complete_tasks()");
	answer_all(answers, n, rsinfo);
	payguard_call_end();
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

	if (!find_subject(answer->task_id, &task, &finished) ||
		!find_order(&task, &finished, &order))
	{
		answer_unknown(answer);
		return;
	}
	lease = (Lease){.order_id = task.order_id};
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
	answer->result.replayed =
		repeated || (!applied.changed && !applied.contradicts && !held);
	if (repeated)
		answer->result.outcome = payguard_str(finished.outcome);
	else if (!held && !applied.contradicts)
	{
		answer->result.outcome = "lease_lost";
		answer->result.message = "The lease is over; the answer counts, the task is not "
								 "this worker's any more.";
	}
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
 * charge_again: the channel does not know a payment that a worker was to charge. Where it
 * honours payment_id, asking it again cannot charge twice. A transaction whose snapshot is older cannot
 * see the new task, and would close the attempt without withdrawing it: the order's row stops it.
 */
static void
charge_again(Order *order, const Payment *payment)
{
	Channel channel;

	payguard_channel_of(payment, &channel);
	if (!channel.idempotent_charge || !may_charge(order, payment) ||
		!payguard_text_is(payment->request_kind, "request") ||
		(payment->expires_at != NO_TIME && payment->expires_at <= GetCurrentTimestamp()))
		return;
	payguard_order_touch(order);
	payguard_task_repeat("charge", payguard_payment_about(payment), payment->channel);
}

/*
 * may_charge tells whether the order still wants an attempt's money: nobody has it closed.
 */
static bool
may_charge(const Order *order, const Payment *payment)
{
	return order->closing_as == ORDER_NONE &&
		   (payment->status == PAYMENT_PENDING || payment->status == PAYMENT_UNKNOWN);
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
			payguard_store_update(
				&payguard_finished_tasks,
				FIELD(FINISHED_F_LEASE_TOKEN) | FIELD(FINISHED_F_OUTCOME), &finished);
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
	else if ((payguard_payment_is_live(payment.status) ||
			  payment.status == PAYMENT_SUPERSEDED) &&
			 !payguard_task_find("charge", about, &due) &&
			 !payguard_task_find("close", about, &due) &&
			 !payguard_task_find("query", about, &due))
		payguard_task_query(about, &channel);
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

	lock_leased(fcinfo, "retry_task()", &order, &task, &lease);
	payguard_store_delete(&payguard_leases, &lease);
	task.sent = false;
	task.last_error = error;
	task.run_at =
		delay ? payguard_time_plus(GetCurrentTimestamp(), delay) : back_off(&task);
	if (!payguard_text_is(task.kind, "charge") || !give_up_charge(&order, &task))
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

	payguard_payment_must_be_there(task->payment_id, &payment);
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

	lock_leased(fcinfo, "extend_lease()", &order, &task, &lease);
	lease.leased_until = payguard_time_plus(GetCurrentTimestamp(), by);
	payguard_store_update(&payguard_leases, FIELD(LEASE_F_LEASED_UNTIL), &lease);
	payguard_call_end();
	PG_RETURN_TIMESTAMPTZ(lease.leased_until);
}

/*
 * lock_leased reads the task and the lease that the first two arguments name, with the order
 * locked. Errors: PY404, PY701.
 */
static void
lock_leased(FunctionCallInfo fcinfo, const char *function, Order *order, Task *task,
			Lease *lease)
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
	if (!find_subject(answer.task_id, task, &finished))
		task_must_exist(answer.task_id, task);
	payguard_order_lock(task->order_id, order);
	payguard_store_refresh();
	*lease = (Lease){.order_id = task->order_id};
	if (holds(&answer, lease) &&
		payguard_store_lock(&payguard_tasks, TASK_BY_ID, &like, task))
		return;
	payguard_refuse(
		&refusal, ERR_LEASE_LOST,
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
	ask = payguard_payment_is_live(payment.status) ||
		  payment.status == PAYMENT_SUPERSEDED ||
		  (payment.status == PAYMENT_SUCCEEDED && !payment.amount_verified);
	if (ask)
		payguard_task_schedule("query", payguard_payment_about(&payment), payment.channel,
							   GetCurrentTimestamp());
	payguard_call_end();
	payguard_result_of(&payment, &order, !ask, &result);
	result.version = order.version;
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}
