/*
 * payment.c
 *		Paying: pay_order(), try_pay_order(), pay_orders(), revoke_key().
 *
 * All of them are one algorithm over a batch, of one call for pay_order():
 *
 *	1. probe: every key and order is read with one snapshot, without a lock; a replay or a
 *	   refusal is answered from there, and writes nothing;
 *	2. lock: the orders that may be paid are locked, in the order of their ids, and then, where
 *	   a policy looks for duplicates, their customers;
 *	3. settle, in rounds: each call is judged again on the locked row; the payments go in first,
 *	   in the order of their keys, by an insertion that reports a key's conflict instead of
 *	   raising it; then the orders change.
 *
 * A call waits in step 3 for earlier calls of the batch that share its order or key, so that
 * the answers are those of single calls in that order.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"

#include "payguard.h"

/* An order of the batch, shared by the calls that name it. */
typedef struct OrderEntry
{
	text *order_id;
	Order order;
	bool found;
	bool may_pay; /* some call may pay it: it has to be locked */
	bool locked;
	bool watched; /* a policy looks for duplicates of it: its customer is locked, too */
	struct PayCall *payer; /* the one call whose payment is going in; NULL: none */
} OrderEntry;

typedef enum Verdict
{
	VERDICT_OPEN,	/* not yet judged, or it may pay */
	VERDICT_DONE,	/* paid by this call */
	VERDICT_REPLAY, /* paid by an earlier call with this key */
	VERDICT_REFUSE
} Verdict;

typedef struct PayCall
{
	/* the request */
	text *order_id;
	text *key;
	int64 amount;
	text *currency;
	int64 expected_version;
	text *channel;
	const char *kind;		/* payments.request_kind: pay, start, request, revoke */
	TimestampTz expires_at; /* of an attempt, at its channel */
	Jsonb *details;
	bool brief;			  /* a refusal is returned: nobody sees its detail */
	MemoryContext memory; /* of one element of the batch; NULL: of a single call */

	/* the batch: who must be settled before, by order and by key */
	struct PayCall *before_order;
	struct PayCall *before_key;
	struct PayCall
		*before_customer; /* of watched orders: what it does makes duplicates */

	/* the answer */
	OrderEntry *entry;
	Order order; /* as it was when this call was settled */
	bool key_known;
	Payment payment; /* the one with this key, where there is one */
	Verdict verdict;
	bool paying;  /* its payment goes in, unless the key is taken */
	bool passed;  /* it only waits for its key, which another call takes */
	bool settled; /* the verdict is final */
	Refusal refusal;
	text *
		duplicate; /* the order that this one seems to repeat, to be flagged; NULL: none */
} PayCall;

/* What pays in one go, by key. */
typedef struct Round
{
	PayCall **calls;
	int n;
	bool
		repeats; /* nothing goes in where one loses its key, and the next round is another */
	PayCall *lost; /* the first that did */
} Round;

static void read_pay_arguments(FunctionCallInfo fcinfo, PayCall *call);
static void read_pay_requests(ArrayType *array, MemoryContext memory, PayCall **calls,
							  int *n);
static Datum open_attempt(FunctionCallInfo fcinfo, const char *kind,
						  const char *function);
static void pay(PayCall *calls, int n);
static void link_calls(PayCall *calls, int n);
static void probe(PayCall *calls, int n);
static void lock_orders(PayCall *calls, int n);
static void lock_customers(PayCall *calls, int n);
static int settle_round(PayCall *calls, int n, bool first_round);
static bool holds_up(const PayCall *calls, int n);
static void insert_payments(void *argument);
static void lose_key(PayCall *call);
static bool is_next(PayCall *call);
static void settle(PayCall *call);
static void judge_now(PayCall *call, bool first_round);
static void find_key(PayCall *call);
static void judge(PayCall *call);
static void apply_checks(PayCall *call);
static bool judge_known(const PayCall *call, Refusal *refusal);
static bool judge_key_reuse(const PayCall *call, Refusal *refusal);
static bool judge_channel(const PayCall *call, Refusal *refusal);
static bool is_attempt(const PayCall *call);
static bool judge_money(const PayCall *call, const Order *order, Refusal *refusal);
static void make_answer_durable(const PayCall *call);
static void fill_payment(PayCall *call);
static void complete(PayCall *call);
static void change_order(PayCall *call);
static int by_order(const void *a, const void *b);
static int by_key(const void *a, const void *b);
static int by_customer(const void *a, const void *b);
static void set_result(const PayCall *call, PaymentResult *result);

/*
 * payguard_payment_find reads a payment; false: there is none.
 */
bool
payguard_payment_find(const pg_uuid_t *payment_id, Payment *payment)
{
	Payment like = {.payment_id = unconstify(pg_uuid_t *, payment_id)};

	return payguard_store_find(&payguard_payments, PAYMENT_BY_ID, &like, payment);
}

/*
 * payguard_payment_that_counts reads an order's live or successful payment: there is one at
 * most.
 */
bool
payguard_payment_that_counts(const text *order_id, Payment *payment)
{
	Payment like = {.order_id = unconstify(text *, order_id)};

	return payguard_store_find(&payguard_payments, PAYMENT_THAT_COUNTS, &like, payment);
}

/*
 * payguard_payment_outcome names what has become of a payment; message: for people.
 */
const char *
payguard_payment_outcome(const Payment *payment, const char **message)
{
	switch (payment->status)
	{
		case PAYMENT_PENDING:
			*message = "The payment is waiting for the channel.";
			return "pending";
		case PAYMENT_UNKNOWN:
			*message = "The channel has not said whether it charged.";
			return "pending";
		case PAYMENT_CLOSING:
			*message = "The payment is being closed.";
			return "closing";
		case PAYMENT_SUPERSEDED:
			*message = "Another payment paid the order; this one is being closed.";
			return "superseded";
		case PAYMENT_FAILED:
			if (payguard_text_is(payment->failure_code, "revoked"))
			{
				*message = "The key is revoked.";
				return "key_revoked";
			}
			*message = "The payment failed.";
			return "failed";
		case PAYMENT_SUCCEEDED:
			*message = "The order is paid.";
			return "paid";
		case PAYMENT_SURPLUS:
			*message = "The money was not needed and goes back.";
			return "surplus";
		case PAYMENT_NONE:
		case N_PAYMENT_STATUS:
			break;
	}
	elog(ERROR, "payguard: %d is no status of a payment", (int) payment->status);
}

/*
 * payguard_result_of fills in a result from a payment and its order as they are now.
 */
void
payguard_result_of(const Payment *payment, const Order *order, bool replayed,
				   PaymentResult *result)
{
	memset(result, 0, sizeof(*result));
	result->outcome = payguard_payment_outcome(payment, &result->message);
	result->order_id = payment->order_id;
	result->payment_id = payment->payment_id;
	result->order_status = order->status;
	result->payment_status = payment->status;
	result->version = payment->order_version;
	result->amount = payment->amount;
	result->currency = payment->currency;
	result->completed_at = payment->completed_at;
	result->replayed = replayed;
}

/*
 * payguard_result_datum makes a payment_result of a result.
 */
Datum
payguard_result_datum(const PaymentResult *result, TupleDesc desc)
{
	Datum values[N_RESULT_COLUMNS] = {0};
	bool nulls[N_RESULT_COLUMNS] = {false};
	int i = 0;

	if (result->replayed)
		payguard_count_replay();
	values[i++] = CStringGetTextDatum(result->outcome);
	nulls[i] = result->order_id == NULL;
	values[i++] = PointerGetDatum(result->order_id);
	nulls[i] = result->payment_id == NULL;
	values[i++] = UUIDPGetDatum(result->payment_id);
	nulls[i] = result->order_status == ORDER_NONE;
	if (!nulls[i])
		values[i] = CStringGetTextDatum(
			payguard_machine_name(&payguard_order_machine, result->order_status));
	i++;
	nulls[i] = result->payment_status == PAYMENT_NONE;
	if (!nulls[i])
		values[i] = CStringGetTextDatum(
			payguard_machine_name(&payguard_payment_machine, result->payment_status));
	i++;
	nulls[i] = result->version == NO_ID;
	values[i++] = Int64GetDatum(result->version);
	nulls[i] = result->currency == NULL;
	values[i++] = Int64GetDatum(result->amount);
	nulls[i] = result->currency == NULL;
	values[i++] = PointerGetDatum(result->currency);
	nulls[i] = result->completed_at == NO_TIME;
	values[i++] = TimestampTzGetDatum(result->completed_at);
	values[i++] = BoolGetDatum(result->replayed);
	values[i++] = CStringGetTextDatum(result->message);
	Assert(i == N_RESULT_COLUMNS && desc->natts == N_RESULT_COLUMNS);
	return HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
}

/*
 * payguard_result_put adds a result to those of a function that returns several.
 */
void
payguard_result_put(ReturnSetInfo *rsinfo, const PaymentResult *result)
{
	HeapTupleHeader header =
		DatumGetHeapTupleHeader(payguard_result_datum(result, rsinfo->setDesc));
	HeapTupleData tuple = {
		.t_len = HeapTupleHeaderGetDatumLength(header),
		.t_tableOid = InvalidOid,
		.t_data = header,
	};

	tuplestore_puttuple(rsinfo->setResult, &tuple);
}

PG_FUNCTION_INFO_V1(payguard_pay_order);

/*
 * pay_order(order_id, idempotency_key, amount := NULL, currency := NULL,
 *			 expected_version := NULL, channel := 'internal') → payment_result
 *
 * Pays an order with money that is in the shop's own hands: unpaid → paid in one step. The
 * same call again returns its payment, replayed. amount: minor units; NULL: the order's.
 * Errors: 22004, 22023; PY101-PY104, PY201, PY301-PY303, PY401, PY405, PY406, PY501, PY502,
 * PY601.
 */
Datum
payguard_pay_order(PG_FUNCTION_ARGS)
{
	PayCall call = {.kind = "pay"};
	PaymentResult result;

	read_pay_arguments(fcinfo, &call);
	payguard_request_begin("pay_order()");
	pay(&call, 1);
	if (call.verdict == VERDICT_REFUSE)
		payguard_raise(&call.refusal);
	payguard_call_end();
	set_result(&call, &result);
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}

PG_FUNCTION_INFO_V1(payguard_start_payment);

/*
 * start_payment(order_id, idempotency_key, channel, amount := NULL, currency := NULL,
 *				 expected_version := NULL, expires_at := NULL, details := NULL)
 *	→ payment_result
 *
 * Opens an attempt: the order is paying, and the caller calls the channel next, with
 * payment_id as its idempotency key. expires_at: until when the channel may charge. Errors:
 * those of pay_order(); 22023 where the channel is internal.
 */
Datum
payguard_start_payment(PG_FUNCTION_ARGS)
{
	return open_attempt(fcinfo, "start", "start_payment()");
}

PG_FUNCTION_INFO_V1(payguard_request_payment);

/*
 * request_payment(the arguments of start_payment) → payment_result
 *
 * The same, and a charge task: a worker will call the channel.
 */
Datum
payguard_request_payment(PG_FUNCTION_ARGS)
{
	return open_attempt(fcinfo, "request", "request_payment()");
}

static Datum
open_attempt(FunctionCallInfo fcinfo, const char *kind, const char *function)
{
	PayCall call = {
		.kind = kind,
		.order_id = payguard_arg_id(ARG(0), "order_id"),
		.key = payguard_arg_id(ARG(1), "idempotency_key"),
		.channel = payguard_arg_id(ARG(2), "channel"),
		.amount = payguard_arg_amount_or_null(ARG(3), "amount"),
		.currency = payguard_arg_currency_or_null(ARG(4), "currency"),
		.expected_version = payguard_arg_version_or_null(ARG(5), "expected_version"),
		.expires_at = payguard_arg_deadline_or_null(ARG(6), "expires_at"),
		.details = payguard_arg_json_or_null(ARG(7), "details"),
	};
	PaymentResult result;

	payguard_request_begin(function);
	pay(&call, 1);
	if (call.verdict == VERDICT_REFUSE)
		payguard_raise(&call.refusal);
	payguard_call_end();
	set_result(&call, &result);
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}

PG_FUNCTION_INFO_V1(payguard_try_pay_order);

/*
 * try_pay_order(the arguments of pay_order) → payment_result
 *
 * The same, but a business error is returned as the outcome: its constraint name.
 * Errors: 22004, 22023.
 */
Datum
payguard_try_pay_order(PG_FUNCTION_ARGS)
{
	PayCall call = {.kind = "pay", .brief = true};
	PaymentResult result;

	read_pay_arguments(fcinfo, &call);
	payguard_request_begin("try_pay_order()");
	pay(&call, 1);
	payguard_call_end();
	set_result(&call, &result);
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}

PG_FUNCTION_INFO_V1(payguard_pay_orders);

/*
 * pay_orders(pay_request[]) → SETOF payment_result
 *
 * A batch in one transaction, answered element by element, in the order asked, as single calls
 * of try_pay_order() in that order would be. Errors: 22004, 22023 for any element, before
 * anything is written.
 */
Datum
payguard_pay_orders(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext memory = payguard_element_memory();
	PayCall *calls;
	int n;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("requests");
	read_pay_requests(PG_GETARG_ARRAYTYPE_P(0), memory, &calls, &n);
	InitMaterializedSRF(fcinfo, 0);

	payguard_request_begin("pay_orders()");
	pay(calls, n);
	payguard_call_end();

	for (int i = 0; i < n; i++)
	{
		MemoryContext caller = payguard_element_begin(memory);
		PaymentResult result;

		CHECK_FOR_INTERRUPTS();
		set_result(&calls[i], &result);
		payguard_result_put(rsinfo, &result);
		payguard_element_end(memory, caller);
	}
	return (Datum) 0;
}

static void
read_pay_arguments(FunctionCallInfo fcinfo, PayCall *call)
{
	call->order_id = payguard_arg_id(ARG(0), "order_id");
	call->key = payguard_arg_id(ARG(1), "idempotency_key");
	call->amount = payguard_arg_amount_or_null(ARG(2), "amount");
	call->currency = payguard_arg_currency_or_null(ARG(3), "currency");
	call->expected_version = payguard_arg_version_or_null(ARG(4), "expected_version");
	call->channel = payguard_arg_id(ARG(5), "channel");
}

/*
 * read_pay_requests reads an array of pay_request: the arguments of pay_order() in the same
 * order, where a NULL channel is the internal one.
 */
static void
read_pay_requests(ArrayType *array, MemoryContext memory, PayCall **calls, int *n)
{
	Datum *elements = payguard_arg_rows(array, "requests", n);
	text *internal = payguard_text(INTERNAL_CHANNEL);

	*calls = palloc0(sizeof(PayCall) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		PayCall *call = &(*calls)[i];
		Datum values[6];
		bool nulls[6];

		CHECK_FOR_INTERRUPTS();
		payguard_arg_row(elements[i], lengthof(values), values, nulls);
		call->kind = "pay";
		call->brief = true;
		call->memory = memory;
		call->order_id = payguard_arg_id(values[0], nulls[0], "order_id");
		call->key = payguard_arg_id(values[1], nulls[1], "idempotency_key");
		call->amount = payguard_arg_amount_or_null(values[2], nulls[2], "amount");
		call->currency = payguard_arg_currency_or_null(values[3], nulls[3], "currency");
		call->expected_version =
			payguard_arg_version_or_null(values[4], nulls[4], "expected_version");
		call->channel =
			nulls[5] ? internal : payguard_arg_id(values[5], nulls[5], "channel");
	}
	pfree(elements);
}

/*
 * pay answers every call of a batch.
 */
static void
pay(PayCall *calls, int n)
{
	int open = n;

	link_calls(calls, n);
	probe(calls, n);
	lock_orders(calls, n);
	lock_customers(calls, n);
	for (bool first_round = true; open > 0; first_round = false)
	{
		int settled = settle_round(calls, n, first_round);

		if (settled == 0)
			elog(ERROR, "payguard: a batch does not get on");
		open -= settled;
	}
}

/*
 * link_calls gives the calls of one order a common entry, and each call its predecessors.
 */
static void
link_calls(PayCall *calls, int n)
{
	PayCall **sorted = palloc(sizeof(PayCall *) * Max(n, 1));

	for (int i = 0; i < n; i++)
		sorted[i] = &calls[i];
	qsort(sorted, n, sizeof(PayCall *), by_order);
	for (int i = 0; i < n; i++)
	{
		if (i > 0 && payguard_text_equal(sorted[i]->order_id, sorted[i - 1]->order_id))
		{
			sorted[i]->before_order = sorted[i - 1];
			sorted[i]->entry = sorted[i - 1]->entry;
		}
		else
		{
			sorted[i]->entry = palloc0(sizeof(OrderEntry));
			sorted[i]->entry->order_id = sorted[i]->order_id;
		}
	}
	qsort(sorted, n, sizeof(PayCall *), by_key);
	for (int i = 1; i < n; i++)
		if (payguard_text_equal(sorted[i]->key, sorted[i - 1]->key))
			sorted[i]->before_key = sorted[i - 1];
	pfree(sorted);
}

/*
 * probe judges every call on one snapshot.
 */
static void
probe(PayCall *calls, int n)
{
	for (int i = 0; i < n; i++)
	{
		PayCall *call = &calls[i];

		CHECK_FOR_INTERRUPTS();
		find_key(call);
		if (call->before_order == NULL)
			call->entry->found = payguard_order_find(call->order_id, &call->entry->order);
	}
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		judge(&calls[i]);
		if (calls[i].verdict == VERDICT_OPEN)
			calls[i].entry->may_pay = true;
	}
}

/*
 * lock_orders locks, in the order of their ids, the orders that some call may pay.
 */
static void
lock_orders(PayCall *calls, int n)
{
	PayCall **sorted = palloc(sizeof(PayCall *) * Max(n, 1));
	bool locked = false;

	for (int i = 0; i < n; i++)
		sorted[i] = &calls[i];
	qsort(sorted, n, sizeof(PayCall *), by_order);
	for (int i = 0; i < n; i++)
	{
		OrderEntry *entry = sorted[i]->entry;

		if (!entry->may_pay || (i > 0 && sorted[i - 1]->entry == entry))
			continue;
		CHECK_FOR_INTERRUPTS();
		/* the calls of one order share its entry: no order is locked twice, nor out of turn */
		Assert(i == 0 ||
			   payguard_text_compare(sorted[i - 1]->order_id, entry->order_id) < 0);
		entry->found = payguard_order_lock_found(&entry->order);
		entry->locked = true;
		locked = true;
	}
	if (locked)
		payguard_store_refresh();
	pfree(sorted);
}

/*
 * lock_customers locks, in the order of their ids, the customers whose orders a policy compares,
 * and has their calls wait for each other: the second of two that look alike must see the first.
 */
static void
lock_customers(PayCall *calls, int n)
{
	PayCall **watched = NULL;
	int nwatched = 0;

	for (int i = 0; i < n; i++)
	{
		OrderEntry *entry = calls[i].entry;
		MemoryContext caller;

		CHECK_FOR_INTERRUPTS();
		if (calls[i].before_order != NULL)
			continue;
		caller = payguard_element_begin(calls[i].memory);
		entry->watched = entry->locked && entry->found &&
						 payguard_policy_looks_for_duplicates(&entry->order);
		payguard_element_end(calls[i].memory, caller);
	}
	for (int i = 0; i < n; i++)
	{
		if (!calls[i].entry->watched)
			continue;
		if (watched == NULL)
			watched = palloc(sizeof(PayCall *) * n);
		watched[nwatched++] = &calls[i];
	}
	if (nwatched == 0)
		return;
	qsort(watched, nwatched, sizeof(PayCall *), by_customer);
	for (int i = 0; i < nwatched; i++)
	{
		const Order *order = &watched[i]->entry->order;

		CHECK_FOR_INTERRUPTS();
		if (i > 0 && payguard_text_equal(order->customer_id,
										 watched[i - 1]->entry->order.customer_id))
			watched[i]->before_customer = watched[i - 1];
		else
			payguard_policy_lock_customer(order->customer_id, order->order_id);
	}
	payguard_store_refresh();
	pfree(watched);
}

/*
 * settle_round answers the calls that no earlier call holds up, and returns their number. What
 * is refused or replayed is answered first, so that all payments that can go in do so in one
 * round: only then are keys taken in their order, whatever the batch looks like. Left to a later
 * round are the next order of a customer where a policy looks for duplicates, and a key whose
 * first call in the batch waited for its order.
 */
static int
settle_round(PayCall *calls, int n, bool first_round)
{
	Round round = {.calls = palloc(sizeof(PayCall *) * n)};
	int nsettled = 0;
	bool written;

	/* A call stands behind those that can hold it up: one pass sees all that follows. */
	for (int i = 0; i < n; i++)
	{
		PayCall *call = &calls[i];

		CHECK_FOR_INTERRUPTS();
		if (!is_next(call))
			continue;

		judge_now(call, first_round);
		if (call->verdict == VERDICT_OPEN)
		{
			call->paying = true;
			call->entry->payer = call;
			round.calls[round.n++] = call;
			continue;
		}
		make_answer_durable(call);
		settle(call);
		nsettled++;
	}

	qsort(round.calls, round.n, sizeof(PayCall *), by_key);
	round.repeats = holds_up(calls, n);
	written = round.repeats && payguard_store_try(insert_payments, &round);
	if (round.lost)
	{
		/* another call of its order comes forward: all keys in their order again */
		for (int i = 0; i < n; i++)
		{
			calls[i].paying = calls[i].passed = false;
			calls[i].entry->payer = NULL;
		}
		lose_key(round.lost);
		settle(round.lost);
		return nsettled + 1;
	}
	if (!written)
	{
		/* where it was a unique index of the user's own: once more, for its error */
		round.repeats = false;
		insert_payments(&round);
	}

	qsort(round.calls, round.n, sizeof(PayCall *), by_order);
	for (int i = 0; i < round.n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (round.calls[i]->verdict == VERDICT_OPEN)
			complete(round.calls[i]);
		settle(round.calls[i]);
	}
	if (round.n > 0)
		payguard_store_refresh();
	pfree(round.calls);
	return nsettled + round.n;
}

/*
 * judge_now judges a call whose turn it is. What the probe has found may be old by now: a payment
 * has changed while we waited for its order, or a key has been spent, by a call of this batch or by
 * others, who need not have changed the order for that.
 */
static void
judge_now(PayCall *call, bool first_round)
{
	bool looked_up = !first_round || (call->key_known && call->entry->locked);

	if (looked_up)
		find_key(call);

	/*
	 * The refusal of an order that is not locked stands: a newer snapshot may show a channel
	 * that was missing, but the order was read before.
	 */
	if (!call->key_known && !call->entry->may_pay)
		return;
	judge(call);

	/* who pays hears of others' keys when his own goes in; who is refused has to look */
	if (call->verdict != VERDICT_REFUSE || call->key_known || looked_up)
		return;
	find_key(call);
	if (call->key_known)
		judge(call);
}

/*
 * holds_up tells whether a call may pay if an earlier one of its order, which is about to, loses
 * its key to another transaction.
 */
static bool
holds_up(const PayCall *calls, int n)
{
	for (int i = 0; i < n; i++)
	{
		const PayCall *call = &calls[i];
		const PayCall *payer = call->entry->payer;

		if (call->settled || call->paying || call->passed || call->key_known)
			continue;
		Assert(payer == NULL || (payer->paying && !payer->settled));
		if (payer && payer < call && !payguard_text_equal(payer->key, call->key))
			return true;
	}
	return false;
}

/*
 * insert_payments writes a round's payments. Where another transaction has taken a key: the call
 * is judged again; or, in a round that repeats, 23505 for payguard_store_try().
 */
static void
insert_payments(void *argument)
{
	Round *round = argument;

	for (int i = 0; i < round->n; i++)
	{
		PayCall *call = round->calls[i];

		CHECK_FOR_INTERRUPTS();
		/* two batches that take keys in another order could wait for each other */
		Assert(i == 0 || payguard_text_compare(round->calls[i - 1]->key, call->key) < 0);
		Assert(call->verdict == VERDICT_OPEN && call->paying && call->entry->locked);
		fill_payment(call);
		if (payguard_store_insert_new(&payguard_payments, PAYMENT_BY_KEY, &call->payment))
			continue;
		if (round->repeats)
		{
			round->lost = call;
			ereport(ERROR,
					(errcode(ERRCODE_UNIQUE_VIOLATION), errmsg("the key is taken")));
		}
		lose_key(call);
	}
}

/*
 * lose_key judges a call whose key another transaction has taken.
 */
static void
lose_key(PayCall *call)
{
	payguard_store_refresh();
	find_key(call);
	if (!call->key_known)
		payguard_store_suppressed(&payguard_payments);
	judge(call);
	make_answer_durable(call);
}

/*
 * is_next tells whether a call can be judged: the earlier calls of its order and of its key
 * are settled. A call whose key is going in does not hold up its order: whatever comes of
 * that, the key is known then, and this call does not pay. Whatever stands before a call that was settled or
 * passed was so, too, when that was done.
 */
static bool
is_next(PayCall *call)
{
	if (call->settled)
		return false;
	if (call->entry->payer || (call->before_order && !call->before_order->settled &&
							   !call->before_order->passed))
		return false;
	if (call->before_customer && !call->before_customer->settled)
		return false;
	if (call->before_key == NULL || call->before_key->settled)
		return true;
	if (call->before_key->paying)
	{
		call->passed = true;
		call->order = call->entry->order;
	}
	return false;
}

/*
 * settle makes a call's verdict final: later calls of the batch do not change its answer.
 */
static void
settle(PayCall *call)
{
	Assert(call->verdict != VERDICT_OPEN && !call->settled);
	if (!call->passed)
		call->order = call->entry->order;
	if (call->entry->payer == call)
		call->entry->payer = NULL;
	call->settled = true;
}

static void
find_key(PayCall *call)
{
	Payment like = {.idempotency_key = call->key};

	call->key_known =
		payguard_store_find(&payguard_payments, PAYMENT_BY_KEY, &like, &call->payment);
}

/*
 * judge makes a call's verdict. Of a batch what it says is kept alone: nobody sees more of a refusal.
 */
static void
judge(PayCall *call)
{
	MemoryContext caller = payguard_element_begin(call->memory);
	Refusal *refusal = &call->refusal;

	apply_checks(call);
	if (call->memory)
	{
		MemoryContextSwitchTo(caller);
		if (call->verdict == VERDICT_REFUSE)
			*refusal = (Refusal){.id = refusal->id, .message = pstrdup(refusal->message)};
		if (call->verdict == VERDICT_OPEN && call->duplicate)
			call->duplicate =
				DatumGetTextPP(datumCopy(PointerGetDatum(call->duplicate), false, -1));
	}
	payguard_element_end(call->memory, caller);
}

/*
 * apply_checks applies the checks in their documented order: the key, the channel, the order, its
 * state, its version, the money, the policies.
 */
static void
apply_checks(PayCall *call)
{
	const OrderEntry *entry = call->entry;
	Refusal *refusal = &call->refusal;
	bool good;

	if (call->key_known)
	{
		call->verdict = judge_known(call, refusal) ? VERDICT_REPLAY : VERDICT_REFUSE;
		return;
	}
	good = judge_channel(call, refusal) &&
		   (entry->found || payguard_refuse_not_found(call->order_id, refusal)) &&
		   (call->brief ? payguard_refuse_unpayable_briefly : payguard_refuse_unpayable)(
			   &entry->order, GetCurrentTimestamp(), refusal) &&
		   payguard_refuse_version(&entry->order, call->expected_version, refusal) &&
		   judge_money(call, &entry->order, refusal) &&
		   payguard_policy_judge(&entry->order, call->expected_version, entry->locked,
								 &call->duplicate, refusal);
	call->verdict = good ? VERDICT_OPEN : VERDICT_REFUSE;
}

/*
 * judge_known judges a call whose key is known: a replay, PY301, PY302 or PY303.
 */
static bool
judge_known(const PayCall *call, Refusal *refusal)
{
	const Payment *payment = &call->payment;
	const char *key = payguard_str(call->key);

	if (payguard_text_is(payment->failure_code, "revoked") &&
		payguard_text_equal(payment->order_id, call->order_id))
		return payguard_refuse(
			refusal, ERR_KEY_REVOKED, psprintf("idempotency key \"%s\" is revoked", key),
			psprintf("It was revoked at %s, unused.",
					 payguard_time_str(payment->completed_at)),
			"Whoever revoked it decided that this call must not pay. Ask "
			"for the order's status.");
	if (!judge_key_reuse(call, refusal))
		return false;
	if (payment->status == PAYMENT_FAILED)
		return payguard_refuse(
			refusal, ERR_PAYMENT_FAILED,
			psprintf("the payment with idempotency key \"%s\" failed", key),
			psprintf("Payment \"%s\" failed at %s%s%s.",
					 payguard_uuid_str(payment->payment_id),
					 payguard_time_str(payment->completed_at),
					 payment->failure_code ? ": " : "",
					 payguard_str(payment->failure_code)),
			"Use a new key for a new attempt.");
	return true;
}

/*
 * judge_key_reuse compares a request with the one that its key names. Values are shown only
 * where both are about the same order.
 */
static bool
judge_key_reuse(const PayCall *call, Refusal *refusal)
{
	const Payment *payment = &call->payment;
	StringInfoData differences;

	initStringInfo(&differences);
	if (!payguard_text_equal(payment->order_id, call->order_id))
		appendStringInfoString(&differences, ", order_id");
	else
	{
		if (call->amount != NO_AMOUNT && call->amount != payment->amount)
			appendStringInfo(&differences,
							 ", amount (" INT64_FORMAT ", not " INT64_FORMAT ")",
							 payment->amount, call->amount);
		if (call->currency && !payguard_text_equal(call->currency, payment->currency))
			appendStringInfo(&differences, ", currency (%s, not %s)",
							 payguard_str(payment->currency),
							 payguard_str(call->currency));
		if (!payguard_text_equal(call->channel, payment->channel))
			appendStringInfo(&differences, ", channel (\"%s\", not \"%s\")",
							 payguard_str(payment->channel), payguard_str(call->channel));
		if (!payguard_text_is(payment->request_kind, call->kind))
			appendStringInfo(&differences, ", kind of call (\"%s\", not \"%s\")",
							 payguard_str(payment->request_kind), call->kind);
	}
	if (differences.len == 0)
		return true;
	return payguard_refuse(
		refusal, ERR_KEY_REUSED,
		psprintf("idempotency key \"%s\" was used for another request",
				 payguard_str(call->key)),
		psprintf("The requests differ in: %s.", differences.data + 2),
		"A key names one request for ever: use a new key for a new request, and the same "
		"arguments for a retry.");
}

static bool
judge_channel(const PayCall *call, Refusal *refusal)
{
	const char *name = payguard_str(call->channel);
	Channel channel;

	if (payguard_text_is(call->channel, INTERNAL_CHANNEL) && !is_attempt(call))
		return true;
	if (!payguard_channel_find(call->channel, &channel))
		return payguard_refuse(
			refusal, ERR_CHANNEL_NOT_FOUND,
			psprintf("channel \"%s\" does not exist", name), "Nothing has been written.",
			"Register it with payguard.register_channel(), or correct its name.");
	if (is_attempt(call) && channel.internal)
		payguard_arg_bad("channel",
						 "It is internal: there is nothing outside to wait for.",
						 "Pay with payguard.pay_order().");
	if (!is_attempt(call) && !channel.internal)
		return payguard_refuse(
			refusal, ERR_CHANNEL_NOT_INTERNAL,
			psprintf("channel \"%s\" is not internal", name),
			"pay_order() is for money that is in the shop's own hands; what an outside "
			"channel took is evidence.",
			"Start a payment through the channel, and report what the channel answers.");
	return true;
}

/*
 * is_attempt tells whether a call asks for a payment that an outside channel will make.
 */
static bool
is_attempt(const PayCall *call)
{
	return strcmp(call->kind, "start") == 0 || strcmp(call->kind, "request") == 0;
}

static bool
judge_money(const PayCall *call, const Order *order, Refusal *refusal)
{
	const char *id = payguard_str(order->order_id);

	if (call->currency && !payguard_text_equal(call->currency, order->currency))
		return payguard_refuse(refusal, ERR_CURRENCY_MISMATCH,
							   psprintf("order \"%s\" is in another currency", id),
							   psprintf("The order asks for %s, the call is in %s.",
										payguard_money(order->amount, order->currency),
										payguard_str(call->currency)),
							   "Pay in the order's currency.");
	if (call->amount != NO_AMOUNT && call->amount != order->amount)
		return payguard_refuse(
			refusal, ERR_AMOUNT_MISMATCH,
			psprintf("order \"%s\" asks for another amount", id),
			psprintf("The order asks for %s, the call is about %s.",
					 payguard_money(order->amount, order->currency),
					 payguard_money(call->amount, order->currency)),
			"Show the customer the order's amount, in minor units, and ask again.");
	return true;
}

/*
 * make_answer_durable: an answer that rests on rows of others must not outlive them.
 */
static void
make_answer_durable(const PayCall *call)
{
	if (call->key_known)
		payguard_store_make_durable(&call->payment);
	if (call->entry->found)
		payguard_store_make_durable(&call->entry->order);
}

/*
 * fill_payment makes the payment of a call that may pay: the money itself, or an attempt.
 */
static void
fill_payment(PayCall *call)
{
	const Order *order = &call->entry->order;
	TimestampTz now = GetCurrentTimestamp();
	bool attempt = is_attempt(call);

	call->payment = (Payment){
		.payment_id = payguard_uuid_v7(payguard_slot_of(order->order_id)),
		.order_id = order->order_id,
		.idempotency_key = call->key,
		.channel = call->channel,
		.amount = order->amount,
		.currency = order->currency,
		.received_amount = attempt ? NO_AMOUNT : order->amount,
		.received_currency = attempt ? NULL : order->currency,
		.amount_verified = !attempt,
		.status = payguard_machine_move(&payguard_payment_machine, PAYMENT_NONE,
										attempt ? PAYMENT_PENDING : PAYMENT_SUCCEEDED),
		.channel_time = NO_TIME,
		.order_version = order->version + 1,
		.request_kind = payguard_text(call->kind),
		.details = call->details,
		.created_at = now,
		.expires_at = attempt ? call->expires_at : NO_TIME,
		.completed_at = attempt ? NO_TIME : now,
	};
}

/*
 * complete turns the order of a call whose payment is in to paid, or to paying.
 */
static void
complete(PayCall *call)
{
	MemoryContext caller = payguard_element_begin(call->memory);

	change_order(call);
	payguard_element_end(call->memory, caller);
}

static void
change_order(PayCall *call)
{
	Order *order = &call->entry->order;
	Channel channel;

	Assert(call->entry->locked && order->status == ORDER_UNPAID);
	Assert(call->payment.order_version == order->version + 1);
	call->verdict = VERDICT_DONE;
	if (call->entry->watched)
		payguard_policy_note_customer(order);
	if (call->duplicate)
		payguard_alert_payment("suspected_duplicate", "warning", &call->payment,
							   payguard_json("duplicate_of", 't', call->duplicate, NULL));
	if (is_attempt(call))
	{
		payguard_order_change(order, ORDER_PAYING, 0, "order.paying",
							  call->payment.payment_id,
							  payguard_json("channel", 't', call->channel,
											"idempotency_key", 't', call->key, NULL));
		if (strcmp(call->kind, "request") == 0)
		{
			payguard_task_schedule("charge", payguard_payment_about(&call->payment),
								   call->payment.channel, GetCurrentTimestamp());
			return;
		}
		payguard_channel_of(&call->payment, &channel);
		payguard_task_query(payguard_payment_about(&call->payment), &channel);
		return;
	}
	order->payment_id = call->payment.payment_id;
	payguard_order_change(order, ORDER_PAID, FIELD(ORDER_F_PAYMENT_ID), "order.paid",
						  call->payment.payment_id, NULL);
}

/*
 * by_order sorts calls by order id, then as they were asked.
 */
static int
by_order(const void *a, const void *b)
{
	const PayCall *left = *(PayCall *const *) a;
	const PayCall *right = *(PayCall *const *) b;
	int order = payguard_text_compare(left->order_id, right->order_id);

	if (order != 0)
		return order;
	return left < right ? -1 : left > right;
}

/*
 * by_key sorts calls by idempotency key, then as they were asked.
 */
static int
by_key(const void *a, const void *b)
{
	const PayCall *left = *(PayCall *const *) a;
	const PayCall *right = *(PayCall *const *) b;
	int order = payguard_text_compare(left->key, right->key);

	if (order != 0)
		return order;
	return left < right ? -1 : left > right;
}

/*
 * by_customer sorts calls by their order's customer, then as they were asked.
 */
static int
by_customer(const void *a, const void *b)
{
	const PayCall *left = *(PayCall *const *) a;
	const PayCall *right = *(PayCall *const *) b;
	int order = payguard_text_compare(left->entry->order.customer_id,
									  right->entry->order.customer_id);

	if (order != 0)
		return order;
	return left < right ? -1 : left > right;
}

/*
 * set_result makes the result of a settled call.
 */
static void
set_result(const PayCall *call, PaymentResult *result)
{
	const Order *order = &call->order;

	Assert(call->settled);
	if (call->verdict == VERDICT_DONE || call->verdict == VERDICT_REPLAY)
	{
		payguard_result_of(&call->payment, order, call->verdict == VERDICT_REPLAY,
						   result);
		return;
	}
	Assert(call->verdict == VERDICT_REFUSE);
	payguard_count_refusal(call->refusal.id);
	memset(result, 0, sizeof(*result));
	result->outcome = payguard_error_name(call->refusal.id);
	result->message = call->refusal.message;
	result->order_id = call->order_id;
	result->completed_at = NO_TIME;
	if (call->entry->found)
	{
		result->order_status = order->status;
		result->version = order->version;
		result->amount = order->amount;
		result->currency = order->currency;
		if (call->refusal.id == ERR_ORDER_ALREADY_PAID)
			result->payment_id = order->payment_id;
	}
	if (call->refusal.id == ERR_PAYMENT_FAILED || call->refusal.id == ERR_KEY_REVOKED)
	{
		result->payment_id = call->payment.payment_id;
		result->payment_status = call->payment.status;
	}
}

PG_FUNCTION_INFO_V1(payguard_revoke_key);

/*
 * revoke_key(order_id, idempotency_key) → payment_result
 *
 * Spends an unused key, so that a late call with it gets PY302; of a used key it returns the
 * payment, and revokes nothing. Errors: 22004, 22023; PY401; PY301 where the key belongs to
 * another order.
 */
Datum
payguard_revoke_key(PG_FUNCTION_ARGS)
{
	PayCall call = {
		.order_id = payguard_arg_id(ARG(0), "order_id"),
		.key = payguard_arg_id(ARG(1), "idempotency_key"),
		.amount = NO_AMOUNT,
		.channel = payguard_text(INTERNAL_CHANNEL),
		.kind = "revoke",
	};
	bool revoked = false;
	PaymentResult result;

	payguard_request_begin("revoke_key()");
	link_calls(&call, 1);
	find_key(&call);
	call.entry->found = payguard_order_find(call.order_id, &call.entry->order);
	if (!call.key_known && !call.entry->found)
	{
		payguard_refuse_not_found(call.order_id, &call.refusal);
		payguard_raise(&call.refusal);
	}
	if (!call.key_known)
	{
		call.entry->found = payguard_order_lock_found(&call.entry->order);
		fill_payment(&call);
		call.payment.status = payguard_machine_move(&payguard_payment_machine,
													PAYMENT_NONE, PAYMENT_FAILED);
		call.payment.received_amount = NO_AMOUNT;
		call.payment.received_currency = NULL;
		call.payment.amount_verified = false;
		call.payment.order_version = call.entry->order.version;
		call.payment.failure_code = payguard_text("revoked");
		revoked =
			payguard_store_insert_new(&payguard_payments, PAYMENT_BY_KEY, &call.payment);
		if (revoked)
			payguard_event_write("payment.revoked", payguard_payment_about(&call.payment),
								 NULL, "failed", NO_ID, NULL);
		else
		{
			payguard_store_refresh();
			find_key(&call);
			if (!call.key_known)
				payguard_store_suppressed(&payguard_payments);
			call.entry->found = payguard_order_find(call.order_id, &call.entry->order);
		}
	}
	if (!payguard_text_equal(call.payment.order_id, call.order_id))
	{
		judge_key_reuse(&call, &call.refusal);
		make_answer_durable(&call);
		payguard_raise(&call.refusal);
	}
	if (!revoked)
		make_answer_durable(&call);
	payguard_call_end();
	payguard_result_of(&call.payment, &call.entry->order, !revoked, &result);
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}
