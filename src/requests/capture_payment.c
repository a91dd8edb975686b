/*
 * capture_payment.c
 *		capture_payment(): money that a channel has reserved is to be taken.
 *
 * A worker asks the channel for it, by a task. What the order asks for is taken, which may be less than was reserved.
 *
 * Locking: the order's row lock.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/argument.h"
#include "base/id.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/durable.h"
#include "store/open.h"
#include "records/call.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/result.h"
#include "records/task.h"
#include "requests/judge.h"

static void capture(Order *order, Payment *payment);

PG_FUNCTION_INFO_V1(payguard_capture_payment);

/*
 * capture_payment(payment_id) → payment_result
 *
 * authorized → capturing; what is being captured already, or has been, is returned, replayed. Errors: 22004; PY402; PY105
 * where nothing is reserved; PY503 where less is than the order asks for.
 */
Datum
payguard_capture_payment(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	Order order;
	Payment payment;
	bool replayed = true;
	Refusal refusal;
	PaymentResult result;

	payguard_request_begin("capture_payment()");
	payguard_payment_must_exist(payment_id, &payment);
	payguard_order_must_exist(payment.order_id, &order);
	if (!payguard_judge_capture(&order, &payment, &refusal))
	{
		payguard_store_make_durable(&payment);
		payguard_store_make_durable(&order);
		payguard_raise(&refusal);
	}
	payguard_payment_lock(payment_id, &order, &payment);
	if (!payguard_judge_capture(&order, &payment, &refusal))
		payguard_raise(&refusal);
	if (payment.status == PAYMENT_AUTHORIZED)
	{
		capture(&order, &payment);
		replayed = false;
	}
	payguard_call_end();
	payguard_result_of(&payment, &order, replayed, &result);
	result.version = order.version;
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}

/*
 * payguard_judge_capture tells whether the money of an attempt may be captured, or has been: it is reserved, and the
 * order asks for no more than that.
 */
bool
payguard_judge_capture(const Order *order, const Payment *payment, Refusal *refusal)
{
	const char *id = payguard_uuid_str(payment->payment_id);

	if (payment->status == PAYMENT_CAPTURING ||
		(payguard_payment_was_received(payment) && payment->capture_id))
		return true;
	if (payment->status != PAYMENT_AUTHORIZED)
		return payguard_refuse(
			refusal, ERR_ILLEGAL_TRANSITION,
			psprintf("payment \"%s\" has no reserved money", id),
			psprintf("It is %s.",
					 payguard_machine_name(&payguard_payment_machine, payment->status)),
			"Capture it when the channel has said authorized.");
	if (order->amount <= payment->authorized_amount)
		return true;
	return payguard_refuse(
		refusal, ERR_AMOUNT_EXCEEDS_AUTHORIZATION,
		psprintf("order \"%s\" asks for more than is reserved",
				 payguard_str(order->order_id)),
		psprintf("The order asks for %s; payment \"%s\" has %s reserved.",
				 payguard_money(order->amount, order->currency), id,
				 payguard_money(payment->authorized_amount, payment->currency)),
		"Lower the order with payguard.update_order(), or give the reserved money up "
		"with "
		"payguard.close_payment().");
}

/*
 * capture has a worker ask the channel for what the order asks for now. Until that has ended nobody asks about it.
 */
static void
capture(Order *order, Payment *payment)
{
	About about = payguard_payment_about(payment);

	payment->capture_amount = order->amount;
	payment->capture_id = payguard_uuid_v7(payguard_slot_of(order->order_id));
	payguard_payment_change(order, payment, PAYMENT_CAPTURING,
							FIELD(PAYMENT_F_CAPTURE_AMOUNT) | FIELD(PAYMENT_F_CAPTURE_ID),
							payguard_json("amount", 'i', payment->capture_amount,
										  "currency", 't', payment->currency, NULL));
	payguard_task_remove("query", about);
	payguard_task_schedule("capture", about, payment->channel, GetCurrentTimestamp());
}
