/*
 * result.c
 *		What calls answer: the rows of payguard.payment_result and payguard.refund_result.
 *
 * An answer that is a replay is counted here, since nothing else is left of it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/count.h"
#include "base/text.h"
#include "base/value.h"
#include "records/call.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"
#include "records/result.h"

#define N_REFUND_RESULT_COLUMNS 9

/*
 * payguard_result_of_evidence makes the payment_result of a call that gave evidence: as the payment is
 * now, or "recorded" where the evidence contradicts it and was only kept.
 */
Datum
payguard_result_of_evidence(FunctionCallInfo fcinfo, const Order *order,
							const Payment *payment, const Applied *applied)
{
	PaymentResult result;

	payguard_result_of(payment, order, !applied->changed && !applied->contradicts,
					   &result);
	result.version = order->version;
	if (applied->contradicts)
	{
		result.outcome = "recorded";
		result.message = applied->contradicts;
	}
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}

/*
 * payguard_result_recorded makes the payment_result of evidence that was only kept, since its payment is
 * not known.
 */
Datum
payguard_result_recorded(FunctionCallInfo fcinfo, text *order_id, pg_uuid_t *payment_id,
						 const char *message)
{
	PaymentResult result = {
		.outcome = "recorded",
		.order_id = order_id,
		.payment_id = payment_id,
		.completed_at = NO_TIME,
		.message = message,
	};

	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
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
		case PAYMENT_PROCESSING:
			*message = "The channel is processing the payment.";
			return "pending";
		case PAYMENT_AUTHORIZED:
			*message = "The channel has reserved the money.";
			return "authorized";
		case PAYMENT_CAPTURING:
			*message = "The channel is asked to take the money that it has reserved.";
			return "capturing";
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
		case PAYMENT_RETURNED:
			*message = "The channel has taken the money back.";
			return "returned";
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

/*
 * payguard_refund_result makes a payguard_refund_result; recorded: why the evidence is only kept, or NULL.
 */
Datum
payguard_refund_result(FunctionCallInfo fcinfo, const Refund *refund, bool replayed,
					   const char *recorded)
{
	static const char *const messages[N_REFUND_STATUS] = {
		[REFUND_AWAITING_APPROVAL] = "The refund waits for approval.",
		[REFUND_PENDING] = "The refund is on its way.",
		[REFUND_UNKNOWN] = "The channel has not said whether it made the refund.",
		[REFUND_SUCCEEDED] = "The money has gone back.",
		[REFUND_FAILED] = "The refund failed; the money is still owed.",
		[REFUND_WAIVED] = "The refund was waived.",
		[REFUND_REINSTATED] = "The channel has given the money back to the shop.",
		[REFUND_MERGED] = "It is another name of a refund that was asked for here.",
	};
	Datum values[N_REFUND_RESULT_COLUMNS] = {0};
	bool nulls[N_REFUND_RESULT_COLUMNS] = {false};
	bool known = refund->status != REFUND_NONE;
	const char *status =
		known ? payguard_machine_name(&payguard_refund_machine, refund->status) : NULL;
	int i = 0;

	if (replayed)
		payguard_count_replay();
	values[i++] = PointerGetDatum(payguard_text(recorded ? "recorded" : status));
	nulls[i] = refund->refund_id == NULL;
	values[i++] = UUIDPGetDatum(refund->refund_id);
	nulls[i] = refund->payment_id == NULL;
	values[i++] = UUIDPGetDatum(refund->payment_id);
	nulls[i] = refund->order_id == NULL;
	values[i++] = PointerGetDatum(refund->order_id);
	nulls[i] = !known;
	if (known)
		values[i] = PointerGetDatum(payguard_text(status));
	i++;
	nulls[i] = refund->currency == NULL;
	values[i++] = Int64GetDatum(refund->amount);
	nulls[i] = refund->currency == NULL;
	values[i++] = PointerGetDatum(refund->currency);
	values[i++] = BoolGetDatum(replayed);
	values[i++] =
		PointerGetDatum(payguard_text(recorded ? recorded : messages[refund->status]));
	Assert(i == N_REFUND_RESULT_COLUMNS);
	return HeapTupleGetDatum(
		heap_form_tuple(payguard_result_desc(fcinfo), values, nulls));
}
