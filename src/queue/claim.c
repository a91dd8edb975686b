/*
 * claim.c
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
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "base/argument.h"
#include "base/id.h"
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
#include "queue/lease.h"

#define LOOK_AT_MOST 1000	/* tasks that a claim looks at together */
#define EXPIRED_AT_ONCE 100 /* leases dealt with by one claim, at most */

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

static const RowQuery due_tasks = {"ROW(run_at, task_id) " OP_GT " ROW($1, $2)"
								   " AND run_at " OP_LE " $3 AND dead_at IS NULL"
								   " AND ($5 IS NULL OR kind " OP_EQ " ANY ($5))"
								   " AND ($6 IS NULL OR channel " OP_EQ " ANY ($6))"
								   " ORDER BY run_at, task_id LIMIT $4",
								   {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID, INT8OID,
									TEXTARRAYOID, TEXTARRAYOID, InvalidOid}};
#ifdef USE_ASSERT_CHECKING
static int due_by_time(const void *a, const void *b);
#endif

static int lease_some(const Claim *claim, TimestampTz *run_at, int64 *task_id, Due **due);
static int find_due(const Claim *claim, TimestampTz run_at, int64 task_id, Due **due);
static int take_free(Task *tasks, int ntasks, int max, Due *due, int *seen);
static int keep_standing(Due *due, int n);
static void find_payments(Due *due, int n);
static bool is_late(const Task *task, const Payment *payment, TimestampTz now);
static int take(const Claim *claim, Due *due, int n);
static void put_task(ReturnSetInfo *rsinfo, const Due *due);
static Position *look_from(const char *filter, TimestampTz now, bool *again);
static char *filter_of(FunctionCallInfo fcinfo);
static void check_filters(FunctionCallInfo fcinfo);
static void check_kind(const text *kind);
static void drop_late(const Claim *claim, Due *due, int n);
static void drop_one(EachItem *item);

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
	payguard_lease_expire(now, EXPIRED_AT_ONCE);
	run_at = claim.position->run_at;
	task_id = claim.position->task_id;
	/* all that was due may have come too late, or its orders were taken: there may be more after it */
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
		/* many orders are held: those of the next look may be held, too, so look at more tasks */
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
	Assert(payguard_is_sorted(leases, nleases, sizeof(Lease), payguard_lease_compare));
	for (*seen = 0; *seen < ntasks && nunleased < max; (*seen)++)
	{
		Lease like = {.order_id = tasks[*seen].order_id};

		if (nleases > 0 && bsearch(&like, leases, nleases, sizeof(Lease),
								   payguard_lease_compare) != NULL)
			continue;
		ids[nunleased] = PointerGetDatum(tasks[*seen].order_id);
		unleased[nunleased++] = &tasks[*seen];
	}
	norders = payguard_store_list_by_key(&payguard_orders, ORDER_BY_ID, 1, ROW_LOCK_FREE,
										 ids, nunleased, (void **) &orders);
	Assert(payguard_is_sorted(orders, norders, sizeof(Order), payguard_order_compare));
	for (int i = 0; i < nunleased; i++)
	{
		Order like = {.order_id = unleased[i]->order_id};

		if (bsearch(&like, orders, norders, sizeof(Order), payguard_order_compare) !=
			NULL)
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
	Assert(payguard_is_sorted(payments, npayments, sizeof(Payment),
							  payguard_payment_compare));
	for (int i = 0; i < n; i++)
	{
		Payment like = {.payment_id = due[i].task->payment_id};

		due[i].payment = bsearch(&like, payments, npayments, sizeof(Payment),
								 payguard_payment_compare);
	}
}

/*
 * is_late tells whether a charge comes too late: an attempt that has expired is not charged any more.
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
	bool captures = payguard_text_is(task->kind, "capture");
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
		Int64GetDatum(has_refund ? refund.amount
					  : captures ? payguard_payment_asked(payment)
								 : payment->amount),
		PointerGetDatum(has_refund ? refund.currency : payment->currency),
		PointerGetDatum(payment->channel_txn_id),
		PointerGetDatum(refund_name),
		TimestampTzGetDatum(payment->expires_at),
		PointerGetDatum(details),
		PointerGetDatum(payment->capture),
		UUIDPGetDatum(payment->capture_id),
	};
	bool nulls[lengthof(values)] = {
		[7] = task->refund_id == NULL,
		[11] = payment->channel_txn_id == NULL,
		[12] = refund_name == NULL,
		[13] = payment->expires_at == NO_TIME,
		[14] = details == NULL,
		[15] = payment->capture == NULL,
		[16] = payment->capture_id == NULL,
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

/*
 * look_from tells after which task a claim begins: where this backend's last claim for the same
 * kinds and channels ended, or, now and then, at the beginning (`again`). Tasks before that point
 * that were not taken (their order was leased, their enqueuer committed late, they were retried)
 * are found when it begins at the beginning.
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
 * check_filters refuses a kind that does not exist: it would never be claimed, and nobody would notice.
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
	static const char *const kinds[] = {"charge", "capture", "query",
										"close",  "refund",	 "query_refund"};

	for (size_t i = 0; i < lengthof(kinds); i++)
		if (payguard_text_is(kind, kinds[i]))
			return;
	payguard_arg_bad("kinds", "There is no such kind.",
					 "Use charge, capture, query, close, refund or query_refund.");
}

/*
 * drop_late ends charges that come too late for their attempts: no worker gets them any more. The claim
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
	Report not_sent = payguard_report_not_sent(
		payguard_text("The attempt had expired before a worker claimed its task."));
	Applied applied;

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
