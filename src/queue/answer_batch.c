/*
 * answer_batch.c
 *		Answers of workers, many at once: what is read and written together for all of them.
 *
 * Most answers are of one of two kinds. A query is answered by the state that is known already,
 * which changes nothing but the time of the next query. Or a live payment ends, and the worker
 * holds its only task. Both can be told from rows that are read together for all answers, and
 * their results are written together. Whatever is not certain from these rows is left to answer.c,
 * one by one.
 *
 * Locking: the orders of all answers, in the order of their ids. Under an order's lock its leases,
 * tasks and payments do not change.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/element.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/assert.h"
#include "records/channel.h"
#include "records/event.h"
#include "records/notification.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"
#include "records/result.h"
#include "records/task.h"
#include "evidence/apply.h"
#include "queue/answer_batch.h"

typedef enum Course
{
	COURSE_OTHER, /* one by one */
	COURSE_WAIT,  /* the query is put off */
	COURSE_END	  /* the payment ends, and its only task with it */
} Course;

/* What is known of one answer. */
typedef struct Case
{
	Answer *answer;
	Course course;
	Order *order;
	Lease *lease;
	Payment *payment;
	Task *task;
	Channel *channel;
	bool only_task;
	bool shared_txn; /* another answer names the same transaction */
	bool known_txn;	 /* a payment has it */
	bool awaited;	 /* a message waits for its transaction, or for its payment's */
} Case;

typedef struct Batch
{
	Case *cases;
	int n;
	TimestampTz now;
	List *channels; /* of Channel */
} Batch;

/* OFFSET 0 keeps each look-up one by the whole key, whatever the planner thinks of the table. */
static const Statement waiting_txns = {
	"SELECT a.txn FROM ROWS FROM (pg_catalog.unnest($2)) a (txn)"
	" WHERE EXISTS (SELECT FROM ONLY payguard.notifications m"
	" WHERE m.channel " OP_EQ " $1"
	" AND m.channel_txn_id " OP_EQ " a.txn AND m.result " OP_EQ " 'unmatched' OFFSET 0)",
	{TEXTOID, TEXTARRAYOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static void read_cases(Batch *batch, Answer *answers, int n);
static text *order_of_finished(int64 task_id);
static void lock_orders(Batch *batch, Order **orders, int *norders);
static bool has_user_triggers(void);
static void keep_single(Batch *batch);
static void read_leases(Batch *batch);
static void read_payments(Batch *batch);
static void read_tasks(Batch *batch);
static void read_txns(Batch *batch);
static void read_txns_of(Batch *batch, const Channel *channel);
static const text *txn_of(const Case *item);
static void note_known_txns(Batch *batch, const Table *payments, const Datum *txns,
							int n);
static bool has_txn(const text **sorted, int n, const text *txn);
static int txn_by_name(const void *a, const void *b);
static PaymentStatus said_by(ChannelStatus report);
static void set_course(Case *item, TimestampTz now);
static void end_payments(void *argument);
static void end_payment(Case *item);
static void write_waits(Batch *batch);
static void write_ends(Batch *batch);
static void give_up(Batch *batch);
static int choose(Batch *batch, Course course, Case **chosen);
static int case_by_order(const void *a, const void *b);
static int case_by_txn(const void *a, const void *b);
static int task_by_id(const void *a, const void *b);
static int task_by_payment(const void *a, const void *b);

/*
 * payguard_batch_answer locks the orders of all answers, in the order of their ids, and deals
 * with the answers that are certain: `answered` says which.
 */
void
payguard_batch_answer(Answer *answers, int n, bool *answered)
{
	Batch batch = {.cases = palloc0(sizeof(Case) * Max(n, 1))};
	Order *orders;
	Case *ends;
	int norders;

	read_cases(&batch, answers, n);
	lock_orders(&batch, &orders, &norders);
	Assert(payguard_is_sorted(orders, norders, sizeof(Order), payguard_order_compare));
	payguard_store_refresh();
	if (has_user_triggers())
		return;

	batch.now = GetCurrentTimestamp();
	keep_single(&batch);
	for (int i = 0; i < batch.n; i++)
		batch.cases[i].order =
			bsearch(&(Order){.order_id = batch.cases[i].answer->order_id}, orders,
					norders, sizeof(Order), payguard_order_compare);
	read_leases(&batch);
	read_payments(&batch);
	read_tasks(&batch);
	read_txns(&batch);
	for (int i = 0; i < batch.n; i++)
		set_course(&batch.cases[i], batch.now);

	/* where a transaction is taken by another order's payment meanwhile, none has ended */
	if (choose(&batch, COURSE_END, &ends) > 0 &&
		!payguard_store_try(end_payments, &batch))
	{
		payguard_store_refresh();
		for (int i = 0; i < batch.n; i++)
			if (batch.cases[i].course == COURSE_END)
				batch.cases[i].course = COURSE_OTHER;
	}
	for (int i = 0; i < batch.n; i++)
		if (batch.cases[i].course != COURSE_OTHER)
			answered[batch.cases[i].answer - answers] = true;
	write_waits(&batch);
	write_ends(&batch);
	give_up(&batch);
}

/*
 * read_cases finds out which order each answer is about. Finished tasks, and those that are
 * not known, have no item.
 */
static void
read_cases(Batch *batch, Answer *answers, int n)
{
	Datum *ids = palloc(sizeof(Datum) * Max(n, 1));
	Task *tasks;
	int ntasks;

	for (int i = 0; i < n; i++)
		ids[i] = Int64GetDatum(answers[i].task_id);
	ntasks = payguard_store_list_by_key(&payguard_tasks, TASK_BY_ID, 1, ROW_READ, ids, n,
										(void **) &tasks);
	Assert(payguard_is_sorted(tasks, ntasks, sizeof(Task), task_by_id));
	for (int i = 0; i < n; i++)
	{
		Task like = {.task_id = answers[i].task_id};
		Task *task = bsearch(&like, tasks, ntasks, sizeof(Task), task_by_id);

		CHECK_FOR_INTERRUPTS();
		if (task == NULL)
			answers[i].order_id = order_of_finished(answers[i].task_id);
		else
			answers[i].order_id = task->order_id;
		if (answers[i].order_id == NULL)
			continue;
		batch->cases[batch->n++] = (Case){.answer = &answers[i], .task = task};
	}
}

static text *
order_of_finished(int64 task_id)
{
	FinishedTask like = {.task_id = task_id};
	FinishedTask finished;

	return payguard_store_find(&payguard_finished_tasks, FINISHED_BY_ID, &like, &finished)
			   ? finished.order_id
			   : NULL;
}

static void
lock_orders(Batch *batch, Order **orders, int *norders)
{
	Datum *ids = palloc(sizeof(Datum) * Max(batch->n, 1));

	for (int i = 0; i < batch->n; i++)
		ids[i] = PointerGetDatum(batch->cases[i].answer->order_id);
	*norders = payguard_store_list_by_key(&payguard_orders, ORDER_BY_ID, 1, ROW_LOCK, ids,
										  batch->n, (void **) orders);
}

static bool
has_user_triggers(void)
{
	return payguard_store_has_user_triggers(&payguard_orders) ||
		   payguard_store_has_user_triggers(&payguard_payments) ||
		   payguard_store_has_user_triggers(&payguard_events) ||
		   payguard_store_has_user_triggers(&payguard_tasks) ||
		   payguard_store_has_user_triggers(&payguard_leases) ||
		   payguard_store_has_user_triggers(&payguard_finished_tasks);
}

/*
 * keep_single leaves out finished tasks, and orders with more than one answer, since the second
 * answer meets what the first one has made.
 */
static void
keep_single(Batch *batch)
{
	Case *cases = batch->cases;
	int kept = 0;

	qsort(cases, batch->n, sizeof(Case), case_by_txn);
	for (int i = 1; i < batch->n; i++)
		if (cases[i].answer->report.txn_id && cases[i - 1].answer->report.txn_id &&
			case_by_txn(&cases[i - 1], &cases[i]) == 0)
			cases[i - 1].shared_txn = cases[i].shared_txn = true;
	qsort(cases, batch->n, sizeof(Case), case_by_order);
	for (int i = 0; i < batch->n; i++)
		if (cases[i].task && (i == 0 || case_by_order(&cases[i - 1], &cases[i]) != 0) &&
			(i == batch->n - 1 || case_by_order(&cases[i], &cases[i + 1]) != 0))
			cases[kept++] = cases[i];
	batch->n = kept;
}

static void
read_leases(Batch *batch)
{
	Datum *ids = palloc(sizeof(Datum) * Max(batch->n, 1));
	Lease *leases;
	int n;

	for (int i = 0; i < batch->n; i++)
		ids[i] = PointerGetDatum(batch->cases[i].answer->order_id);
	n = payguard_store_list_by_key(&payguard_leases, LEASE_OF_ORDER, 1, ROW_READ, ids,
								   batch->n, (void **) &leases);
	Assert(payguard_is_sorted(leases, n, sizeof(Lease), payguard_lease_compare));
	for (int i = 0; i < batch->n; i++)
	{
		Lease like = {.order_id = batch->cases[i].answer->order_id};

		batch->cases[i].lease =
			bsearch(&like, leases, n, sizeof(Lease), payguard_lease_compare);
	}
}

/*
 * read_payments reads the payments, and each channel once.
 */
static void
read_payments(Batch *batch)
{
	Datum *ids = palloc(sizeof(Datum) * Max(batch->n, 1));
	Payment *payments;
	int n;

	for (int i = 0; i < batch->n; i++)
		ids[i] = UUIDPGetDatum(batch->cases[i].task->payment_id);
	n = payguard_store_list_by_key(&payguard_payments, PAYMENT_BY_ID, 1, ROW_READ, ids,
								   batch->n, (void **) &payments);
	Assert(payguard_is_sorted(payments, n, sizeof(Payment), payguard_payment_compare));
	for (int i = 0; i < batch->n; i++)
	{
		Case *item = &batch->cases[i];
		Payment like = {.payment_id = item->task->payment_id};
		ListCell *cell;

		CHECK_FOR_INTERRUPTS();
		item->payment =
			bsearch(&like, payments, n, sizeof(Payment), payguard_payment_compare);
		if (item->payment == NULL)
			continue;
		foreach (cell, batch->channels)
			if (payguard_text_equal(((Channel *) lfirst(cell))->name,
									item->payment->channel))
				item->channel = lfirst(cell);
		if (item->channel == NULL)
		{
			item->channel = palloc(sizeof(Channel));
			payguard_channel_of(item->payment, item->channel);
			batch->channels = lappend(batch->channels, item->channel);
		}
	}
}

/*
 * read_tasks reads the answered tasks anew, and what other tasks their payments have.
 */
static void
read_tasks(Batch *batch)
{
	Datum *ids = palloc(sizeof(Datum) * Max(batch->n, 1));
	Task *tasks;
	int n;

	for (int i = 0; i < batch->n; i++)
		ids[i] = UUIDPGetDatum(batch->cases[i].task->payment_id);
	n = payguard_store_list_by_key(&payguard_tasks, TASK_OF_PAYMENT, 1, ROW_READ, ids,
								   batch->n, (void **) &tasks);
	Assert(payguard_is_sorted(tasks, n, sizeof(Task), task_by_payment));
	for (int i = 0; i < batch->n; i++)
	{
		Case *item = &batch->cases[i];
		int64 task_id = item->task->task_id;
		Task *first = bsearch(item->task, tasks, n, sizeof(Task), task_by_payment);
		int found = 0;

		CHECK_FOR_INTERRUPTS();
		item->task = NULL;
		while (first && first > tasks && task_by_payment(first - 1, first) == 0)
			first--;
		for (Task *task = first;
			 task && task < tasks + n && task_by_payment(task, first) == 0; task++)
		{
			found++;
			if (task->task_id == task_id)
				item->task = task;
		}
		item->only_task = found == 1;
	}
}

/*
 * read_txns finds out which of the transactions that the answers name are known, and for which of
 * them messages wait.
 */
static void
read_txns(Batch *batch)
{
	ListCell *cell;

	foreach (cell, batch->channels)
		read_txns_of(batch, lfirst(cell));
}

static void
read_txns_of(Batch *batch, const Channel *channel)
{
	Datum *txns = palloc(sizeof(Datum) * (batch->n + 1));
	const text **waiting;
	int n = 0;
	int nwaiting;

	txns[0] = PointerGetDatum(channel->name);
	for (int i = 0; i < batch->n; i++)
		if (batch->cases[i].channel == channel && txn_of(&batch->cases[i]))
			txns[++n] = PointerGetDatum(txn_of(&batch->cases[i]));
	if (n == 0)
	{
		pfree(txns);
		return;
	}
	note_known_txns(batch, &payguard_payments, txns, n);
	if (!payguard_store_is_empty(&payguard_archived_payments))
		note_known_txns(batch, &payguard_archived_payments, txns, n);
	if (payguard_store_is_empty(&payguard_notifications))
	{
		pfree(txns);
		return;
	}
	nwaiting = payguard_store_execute(
		&waiting_txns,
		(Datum[]){txns[0], PointerGetDatum(construct_array(txns + 1, n, TEXTOID, -1,
														   false, TYPALIGN_INT))},
		NULL);
	waiting = palloc(sizeof(text *) * (nwaiting + 1));
	for (int k = 0; k < nwaiting; k++)
	{
		bool isnull;

		waiting[k] = DatumGetTextPP(payguard_store_result(k, 0, &isnull));
	}
	qsort(waiting, nwaiting, sizeof(text *), txn_by_name);
	for (int i = 0; i < batch->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (has_txn(waiting, nwaiting, txn_of(&batch->cases[i])))
			batch->cases[i].awaited = true;
	}
	pfree(waiting);
	pfree(txns);
}

/*
 * txn_of returns the transaction that a payment has once the answer to its task is applied; NULL:
 * it is not known.
 */
static const text *
txn_of(const Case *item)
{
	if (item->answer->report.txn_id)
		return item->answer->report.txn_id;
	return item->payment ? item->payment->channel_txn_id : NULL;
}

static void
note_known_txns(Batch *batch, const Table *payments, const Datum *txns, int n)
{
	Payment *found;
	int nfound = payguard_store_list_by_key(payments, PAYMENT_BY_CHANNEL_TXN, 2, ROW_READ,
											txns, n, (void **) &found);

	const text **known = palloc(sizeof(text *) * (nfound + 1));

	for (int k = 0; k < nfound; k++)
		known[k] = found[k].channel_txn_id;
	qsort(known, nfound, sizeof(text *), txn_by_name);
	for (int i = 0; i < batch->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (has_txn(known, nfound, batch->cases[i].answer->report.txn_id))
			batch->cases[i].known_txn = true;
	}
	pfree(known);
	pfree(found);
}

/*
 * has_txn tells whether a transaction, which may be NULL, is one of those that are sorted.
 */
static bool
has_txn(const text **sorted, int n, const text *txn)
{
	return txn && bsearch(&txn, sorted, n, sizeof(text *), txn_by_name) != NULL;
}

static int
txn_by_name(const void *a, const void *b)
{
	return payguard_text_compare(*(const text *const *) a, *(const text *const *) b);
}

/*
 * said_by returns the state of an open payment that a report says.
 */
static PaymentStatus
said_by(ChannelStatus report)
{
	return report == CHANNEL_PENDING	  ? PAYMENT_PENDING
		   : report == CHANNEL_PROCESSING ? PAYMENT_PROCESSING
										  : PAYMENT_UNKNOWN;
}

/*
 * set_course decides which answers are certain.
 */
static void
set_course(Case *item, TimestampTz now)
{
	const Answer *answer = item->answer;
	const Report *report = &answer->report;
	bool same_txn;
	bool held = item->order && item->lease && item->task && item->payment &&
				item->lease->task_id == answer->task_id &&
				payguard_uuid_equal(item->lease->lease_token, answer->token) &&
				item->lease->leased_until > now && item->task->dead_at == NO_TIME;

	item->course = COURSE_OTHER;
	if (!held || answer->bad.name || !payguard_payment_is_live(item->payment->status))
		return;
	same_txn = report->txn_id == NULL ||
			   payguard_text_equal(report->txn_id, item->payment->channel_txn_id);
	switch (report->status)
	{
		case CHANNEL_PENDING:
		case CHANNEL_PROCESSING:
		case CHANNEL_UNKNOWN:
			if (same_txn && payguard_text_is(item->task->kind, "query") &&
				item->payment->status == said_by(report->status) &&
				payguard_task_next_query(item->channel, item->task->tries, now) > now)
				item->course = COURSE_WAIT;
			break;
		case CHANNEL_SUCCEEDED:
		case CHANNEL_FAILED:
		case CHANNEL_CLOSED:
			/* without an amount a query would follow */
			if ((report->status != CHANNEL_SUCCEEDED || report->amount != NO_AMOUNT) &&
				(same_txn || (!item->shared_txn && !item->known_txn)) && !item->awaited &&
				item->only_task)
				item->course = COURSE_END;
			break;
		case CHANNEL_AUTHORIZED:
		case CHANNEL_NOT_FOUND:
		case CHANNEL_NONE:
		case N_CHANNEL_STATUS:
			break;
	}
	if (item->course == COURSE_WAIT)
	{
		payguard_result_of(item->payment, item->order, false, &item->answer->result);
		item->answer->result.version = item->order->version;
	}
}

static void
end_payments(void *argument)
{
	Batch *batch = argument;
	MemoryContext memory = payguard_element_memory();
	MemoryContext caller;

	for (int i = 0; i < batch->n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (batch->cases[i].course != COURSE_END)
			continue;
		caller = payguard_element_begin(memory);
		end_payment(&batch->cases[i]);
		payguard_element_end(memory, caller);
	}
	MemoryContextDelete(memory);
}

/*
 * end_payment applies an answer that ends a payment, whose transaction no message waits for. Its
 * task is ended with the others'.
 */
static void
end_payment(Case *item)
{
	Known known = {.channel = item->channel, .only_task = true, .new_txn = true};
	Applied applied;

	payguard_evidence_answer(item->order, item->payment, &item->answer->report, &known,
							 &applied);
	payguard_result_of(item->payment, item->order, false, &item->answer->result);
	item->answer->result.version = item->order->version;
	Assert(!applied.contradicts && !payguard_payment_is_live(item->payment->status));
}

static void
write_waits(Batch *batch)
{
	Case *chosen;
	int n = choose(batch, COURSE_WAIT, &chosen);
	const void **rows = palloc(sizeof(void *) * Max(n, 1));

	for (int i = 0; i < n; i++)
	{
		Task *task = chosen[i].task;

		task->run_at =
			payguard_task_next_query(chosen[i].channel, task->tries, batch->now);
		task->dead_at = NO_TIME;
		rows[i] = task;
	}
	payguard_store_update_all(&payguard_tasks,
							  FIELD(TASK_F_RUN_AT) | FIELD(TASK_F_DEAD_AT), rows, n);
}

static void
write_ends(Batch *batch)
{
	Case *chosen;
	int n = choose(batch, COURSE_END, &chosen);
	FinishedTask *finished = palloc0(sizeof(FinishedTask) * Max(n, 1));
	const void **rows = palloc(sizeof(void *) * Max(n, 1));

	for (int i = 0; i < n; i++)
		rows[i] = chosen[i].task;
	payguard_store_delete_all(&payguard_tasks, rows, n);
	for (int i = 0; i < n; i++)
	{
		const Answer *answer = chosen[i].answer;

		finished[i] = (FinishedTask){
			.task_id = answer->task_id,
			.kind = chosen[i].task->kind,
			.order_id = answer->order_id,
			.payment_id = chosen[i].payment->payment_id,
			.lease_token = answer->token,
			.outcome = payguard_text(answer->result.outcome),
			.finished_at = batch->now,
		};
		rows[i] = &finished[i];
	}
	payguard_store_insert_all(&payguard_finished_tasks, rows, n);
}

static void
give_up(Batch *batch)
{
	const void **rows = palloc(sizeof(void *) * Max(batch->n, 1));
	int n = 0;

	for (int i = 0; i < batch->n; i++)
		if (batch->cases[i].course != COURSE_OTHER)
			rows[n++] = batch->cases[i].lease;
	payguard_store_delete_all(&payguard_leases, rows, n);
}

static int
choose(Batch *batch, Course course, Case **chosen)
{
	int n = 0;

	*chosen = palloc(sizeof(Case) * Max(batch->n, 1));
	for (int i = 0; i < batch->n; i++)
		if (batch->cases[i].course == course)
			(*chosen)[n++] = batch->cases[i];
	return n;
}

static int
case_by_order(const void *a, const void *b)
{
	return payguard_text_compare(((const Case *) a)->answer->order_id,
								 ((const Case *) b)->answer->order_id);
}

static int
case_by_txn(const void *a, const void *b)
{
	const text *left = ((const Case *) a)->answer->report.txn_id;
	const text *right = ((const Case *) b)->answer->report.txn_id;

	if (left == NULL || right == NULL)
		return (left != NULL) - (right != NULL);
	return payguard_text_compare(left, right);
}

static int
task_by_id(const void *a, const void *b)
{
	int64 left = ((const Task *) a)->task_id;
	int64 right = ((const Task *) b)->task_id;

	return left < right ? -1 : left > right;
}

static int
task_by_payment(const void *a, const void *b)
{
	return payguard_uuid_compare(((const Task *) a)->payment_id,
								 ((const Task *) b)->payment_id);
}
