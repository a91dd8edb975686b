/*
 * pay_order.c
 *		pay_order(), start_payment(), request_payment(), the same as try_…(), pay_orders(), request_payments() and
 *		revoke_key(): their arguments and their answers.
 *
 * What they do is one algorithm, in pay_round.c.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "utils/array.h"

#include "rules/machine.h"
#include "base/argument.h"
#include "base/element.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/write.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/event.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/result.h"
#include "requests/pay_judge.h"
#include "requests/pay_round.h"

/* The arguments of start_payment(), and the columns of payguard.payment_request. */
#define N_ATTEMPT_ARGUMENTS 9

/* Reads one element of a batch into a call. */
typedef void (*ReadElement)(Datum row, PayCall *call);

static Datum pay_one(FunctionCallInfo fcinfo, const char *function, PayCall *call);
static Datum open_attempt(FunctionCallInfo fcinfo, const char *kind, const char *function,
						  bool brief);
static void read_pay_arguments(FunctionCallInfo fcinfo, PayCall *call);
static Datum pay_batch(FunctionCallInfo fcinfo, const char *function, ReadElement read);
static void read_elements(ArrayType *array, MemoryContext memory, ReadElement read,
						  PayCall **calls, int *n);
static void read_pay_request(Datum row, PayCall *call);
static void read_payment_request(Datum row, PayCall *call);
static void read_attempt(const Datum *values, const bool *nulls, PayCall *call);
static void set_result(const PayCall *call, PaymentResult *result);

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

	read_pay_arguments(fcinfo, &call);
	return pay_one(fcinfo, "pay_order()", &call);
}

PG_FUNCTION_INFO_V1(payguard_start_payment);

/*
 * start_payment(order_id, idempotency_key, channel, amount := NULL, currency := NULL,
 *				 expected_version := NULL, expires_at := NULL, details := NULL, capture := NULL)
 *	→ payment_result
 *
 * capture: automatic, or manual where the channel is to reserve the money until capture_payment(); the scripts before
 * 1.2.0 have no such argument.
 * Opens an attempt: the order is paying, and the caller calls the channel next, with
 * payment_id as its idempotency key. expires_at: until when the channel may charge. Errors:
 * those of pay_order(); 22023 where the channel is internal.
 */
Datum
payguard_start_payment(PG_FUNCTION_ARGS)
{
	return open_attempt(fcinfo, "start", "start_payment()", false);
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
	return open_attempt(fcinfo, "request", "request_payment()", false);
}

PG_FUNCTION_INFO_V1(payguard_try_start_payment);

/*
 * try_start_payment(the arguments of start_payment) → payment_result
 *
 * The same, but a business error is returned as the outcome: its constraint name.
 * Errors: 22004, 22023.
 */
Datum
payguard_try_start_payment(PG_FUNCTION_ARGS)
{
	return open_attempt(fcinfo, "start", "try_start_payment()", true);
}

PG_FUNCTION_INFO_V1(payguard_try_request_payment);

/*
 * try_request_payment(the arguments of start_payment) → payment_result
 *
 * request_payment(), whose business error is returned as the outcome. Errors: 22004, 22023.
 */
Datum
payguard_try_request_payment(PG_FUNCTION_ARGS)
{
	return open_attempt(fcinfo, "request", "try_request_payment()", true);
}

static Datum
open_attempt(FunctionCallInfo fcinfo, const char *kind, const char *function, bool brief)
{
	PayCall call = {.kind = kind, .brief = brief};
	Datum values[N_ATTEMPT_ARGUMENTS];
	bool nulls[N_ATTEMPT_ARGUMENTS];

	for (int i = 0; i < N_ATTEMPT_ARGUMENTS; i++)
	{
		bool given = i < PG_NARGS();

		values[i] = given ? PG_GETARG_DATUM(i) : (Datum) 0;
		nulls[i] = !given || PG_ARGISNULL(i);
	}
	read_attempt(values, nulls, &call);
	return pay_one(fcinfo, function, &call);
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

	read_pay_arguments(fcinfo, &call);
	return pay_one(fcinfo, "try_pay_order()", &call);
}

/*
 * pay_one makes one call, and raises its refusal unless the call asks for it as an outcome.
 */
static Datum
pay_one(FunctionCallInfo fcinfo, const char *function, PayCall *call)
{
	PaymentResult result;

	payguard_request_begin(function);
	payguard_pay(call, 1);
	if (call->verdict == VERDICT_REFUSE && !call->brief)
		payguard_raise(&call->refusal);
	payguard_call_end();
	set_result(call, &result);
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
	return pay_batch(fcinfo, "pay_orders()", read_pay_request);
}

PG_FUNCTION_INFO_V1(payguard_request_payments);

/*
 * request_payments(payment_request[]) → SETOF payment_result
 *
 * A batch of attempts in one transaction, each with its charge task, answered element by element,
 * in the order asked, as single calls of try_request_payment() in that order would be. Errors:
 * 22004, 22023 for any element, before anything is written.
 */
Datum
payguard_request_payments(PG_FUNCTION_ARGS)
{
	return pay_batch(fcinfo, "request_payments()", read_payment_request);
}

/*
 * pay_batch answers every element of a batch, the function's one argument. Errors: 22004, 22023.
 */
static Datum
pay_batch(FunctionCallInfo fcinfo, const char *function, ReadElement read)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext memory = payguard_element_memory();
	PayCall *calls;
	int n;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("requests");
	read_elements(PG_GETARG_ARRAYTYPE_P(0), memory, read, &calls, &n);
	InitMaterializedSRF(fcinfo, 0);

	payguard_request_begin(function);
	payguard_pay(calls, n);
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
 * read_elements reads an array of rows into calls whose refusals are outcomes.
 */
static void
read_elements(ArrayType *array, MemoryContext memory, ReadElement read, PayCall **calls,
			  int *n)
{
	Datum *elements = payguard_arg_rows(array, "requests", n);

	*calls = palloc0(sizeof(PayCall) * Max(*n, 1));
	for (int i = 0; i < *n; i++)
	{
		PayCall *call = &(*calls)[i];

		CHECK_FOR_INTERRUPTS();
		call->brief = true;
		call->memory = memory;
		read(elements[i], call);
	}
	pfree(elements);
}

/*
 * read_pay_request reads a pay_request: the arguments of pay_order() in the same order, where a NULL
 * channel is the internal one.
 */
static void
read_pay_request(Datum row, PayCall *call)
{
	Datum values[6];
	bool nulls[6];

	payguard_arg_row(row, lengthof(values), values, nulls);
	call->kind = "pay";
	call->order_id = payguard_arg_id(values[0], nulls[0], "order_id");
	call->key = payguard_arg_id(values[1], nulls[1], "idempotency_key");
	call->amount = payguard_arg_amount_or_null(values[2], nulls[2], "amount");
	call->currency = payguard_arg_currency_or_null(values[3], nulls[3], "currency");
	call->expected_version =
		payguard_arg_version_or_null(values[4], nulls[4], "expected_version");
	call->channel = nulls[5] ? payguard_text(INTERNAL_CHANNEL)
							 : payguard_arg_id(values[5], nulls[5], "channel");
}

/*
 * read_payment_request reads a payment_request: the arguments of request_payment() in the same order.
 */
static void
read_payment_request(Datum row, PayCall *call)
{
	Datum values[N_ATTEMPT_ARGUMENTS];
	bool nulls[N_ATTEMPT_ARGUMENTS];

	payguard_arg_row(row, lengthof(values), values, nulls);
	call->kind = "request";
	read_attempt(values, nulls, call);
}

/*
 * read_attempt reads the arguments of start_payment() and request_payment(), in their order.
 */
static void
read_attempt(const Datum *values, const bool *nulls, PayCall *call)
{
	call->order_id = payguard_arg_id(values[0], nulls[0], "order_id");
	call->key = payguard_arg_id(values[1], nulls[1], "idempotency_key");
	call->channel = payguard_arg_id(values[2], nulls[2], "channel");
	call->amount = payguard_arg_amount_or_null(values[3], nulls[3], "amount");
	call->currency = payguard_arg_currency_or_null(values[4], nulls[4], "currency");
	call->expected_version =
		payguard_arg_version_or_null(values[5], nulls[5], "expected_version");
	call->expires_at = payguard_arg_deadline_or_null(values[6], nulls[6], "expires_at");
	call->details = payguard_arg_json_or_null(values[7], nulls[7], "details");
	if (call->details && payguard_json_has(call->details, "second_charge_of"))
		payguard_arg_bad(
			"details",
			"It has the key \"second_charge_of\", which payguard writes itself.",
			"Give the key another name.");
	call->capture = payguard_arg_id_or_null(values[8], nulls[8], "capture");
	if (call->capture && !payguard_text_is(call->capture, "automatic") &&
		!payguard_text_is(call->capture, "manual"))
		payguard_arg_bad("capture", "It is not known.", "Use automatic or manual.");
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
	payguard_pay_link(&call, 1);
	payguard_pay_find_key(&call);
	call.entry->found = payguard_order_find(call.order_id, &call.entry->order);
	if (!call.key_known && !call.entry->found)
		payguard_order_raise_not_found(call.order_id);
	if (!call.key_known)
	{
		call.entry->found = payguard_order_lock_found(&call.entry->order);
		payguard_pay_fill(&call);
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
			payguard_pay_find_key(&call);
			if (!call.key_known)
				payguard_store_suppressed(&payguard_payments);
			call.entry->found = payguard_order_find(call.order_id, &call.entry->order);
		}
	}
	if (!payguard_text_equal(call.payment.order_id, call.order_id))
	{
		payguard_pay_judge_key_reuse(&call, &call.refusal);
		payguard_pay_make_durable(&call);
		payguard_raise(&call.refusal);
	}
	if (!revoked)
		payguard_pay_make_durable(&call);
	payguard_call_end();
	payguard_result_of(&call.payment, &call.entry->order, !revoked, &result);
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}
