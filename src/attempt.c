/*
 * attempt.c
 *		Attempts through channels: how they change, and how they are closed. They are started in
 *		payment.c, where every request to pay is judged.
 *
 * Locking: the order's row lock covers its payments.
 */
#include "postgres.h"

#include "access/xact.h"

#include "payguard.h"

static bool judge_close(const Payment *payment, Refusal *refusal);

/*
 * payguard_payment_about names a payment for an event, an alert or a task.
 */
About
payguard_payment_about(const Payment *payment)
{
	return (About){.order_id = payment->order_id, .payment_id = payment->payment_id};
}

/*
 * payguard_alert_payment opens an alert whose cause is a payment.
 */
void
payguard_alert_payment(const char *kind, const char *severity, const Payment *payment,
					   Jsonb *details)
{
	payguard_alert_open(kind, severity,
						payguard_text(payguard_uuid_str(payment->payment_id)),
						payguard_payment_about(payment), details);
}

/*
 * payguard_payment_change is the one place where a payment changes: its state and its event
 * together. The caller holds the order's lock, and has set the fields named in `also`.
 */
void
payguard_payment_change(const Order *order, Payment *payment, PaymentStatus to,
						FieldSet also, Jsonb *details)
{
	PaymentStatus from = payment->status;
	const char *name = payguard_machine_name(&payguard_payment_machine, to);

	Assert(payguard_order_is_locked(order->order_id));
	Assert(payguard_text_equal(payment->order_id, order->order_id));
	Assert((also & (FIELD(PAYMENT_F_PAYMENT_ID) | FIELD(PAYMENT_F_ORDER_ID) |
					FIELD(PAYMENT_F_IDEMPOTENCY_KEY) | FIELD(PAYMENT_F_STATUS))) == 0);
	Assert(payguard_payment_is_live(to) || to == PAYMENT_SUPERSEDED ||
		   payment->completed_at != NO_TIME);
	Assert((to != PAYMENT_SUCCEEDED && to != PAYMENT_SURPLUS) ||
		   (payment->received_amount >= 0 && payment->received_currency != NULL));
	if (to != from)
		payment->status = payguard_machine_move(&payguard_payment_machine, from, to);
	payguard_store_update(&payguard_payments, FIELD(PAYMENT_F_STATUS) | also, payment);
	payguard_event_write(to != from ? psprintf("payment.%s", name) : "payment.updated",
						 payguard_payment_about(payment),
						 payguard_machine_name(&payguard_payment_machine, from), name,
						 NO_ID, details);
}

/*
 * payguard_payment_must_exist reads a payment. Errors: PY402.
 */
void
payguard_payment_must_exist(const pg_uuid_t *payment_id, Payment *payment)
{
	Refusal refusal;

	if (payguard_payment_find(payment_id, payment))
		return;
	payguard_refuse(
		&refusal, ERR_PAYMENT_NOT_FOUND,
		psprintf("payment \"%s\" does not exist", payguard_uuid_str(payment_id)),
		"Nothing has been written.", "Look the order's payments up in its timeline.");
	payguard_raise(&refusal);
}

/*
 * payguard_payment_lock locks the order of a payment that was found, and reads both anew.
 */
void
payguard_payment_lock(const pg_uuid_t *payment_id, Order *order, Payment *payment)
{
	if (!payguard_order_lock(payment->order_id, order))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("order \"%s\" of payment \"%s\" does not exist",
						payguard_str(payment->order_id), payguard_uuid_str(payment_id)),
				 errhint("Run payguard.verify().")));
	payguard_store_refresh();
	payguard_payment_must_be_there(payment_id, payment);
}

/*
 * payguard_payment_must_be_there is payguard_payment_reread for a payment that was found before.
 */
void
payguard_payment_must_be_there(const pg_uuid_t *payment_id, Payment *payment)
{
	if (!payguard_payment_reread(payment_id, payment))
		elog(ERROR, "payguard: payment \"%s\" has vanished",
			 payguard_uuid_str(payment_id));
}

/*
 * payguard_payment_reread reads a payment whose order is locked; false: there is none. A payment
 * may change while its order does not, so in REPEATABLE READ and SERIALIZABLE it is locked as
 * well: that raises 40001 where it is not what the snapshot shows.
 */
bool
payguard_payment_reread(const pg_uuid_t *payment_id, Payment *payment)
{
	Payment like = {.payment_id = unconstify(pg_uuid_t *, payment_id)};

	if (!IsolationUsesXactSnapshot())
		return payguard_payment_find(payment_id, payment);
	return payguard_store_lock(&payguard_payments, PAYMENT_BY_ID, &like, payment);
}

/*
 * payguard_payment_withdraw_charge takes back a charge that no worker has claimed, or only
 * ones that are certain not to have sent it. false: there is none, or an earlier charge may have
 * been sent; otherwise the channel knows nothing of it.
 */
bool
payguard_payment_withdraw_charge(const Payment *payment)
{
	Task charge;

	if (!payguard_task_find("charge", payguard_payment_about(payment), &charge) ||
		charge.sent)
		return false;
	payguard_task_finish(&charge, NULL, NULL);
	return !charge.again;
}

/*
 * payguard_payment_end_tasks removes the tasks of an attempt that has ended.
 */
void
payguard_payment_end_tasks(const Payment *payment)
{
	About about = payguard_payment_about(payment);

	payguard_task_remove("charge", about);
	payguard_task_remove("close", about);
	payguard_task_remove("query", about);
}

/*
 * payguard_payment_close has a live attempt closed: at once where nothing was ever sent,
 * otherwise by a task. order->closing_as says what the order becomes then.
 */
void
payguard_payment_close(Order *order, Payment *payment)
{
	Assert(payguard_payment_is_live(payment->status) ||
		   payment->status == PAYMENT_SUPERSEDED);
	if (payguard_payment_withdraw_charge(payment))
	{
		Report not_sent = {
			.status = CHANNEL_FAILED,
			.code = payguard_text("not_sent"),
			.amount = NO_AMOUNT,
			.channel_time = NO_TIME,
		};
		Applied applied;

		payguard_evidence_apply(order, payment, &not_sent, &applied);
		return;
	}
	if (payment->status != PAYMENT_CLOSING)
		payguard_payment_change(order, payment, PAYMENT_CLOSING, 0, NULL);
	payguard_task_schedule("close", payguard_payment_about(payment), payment->channel,
						   GetCurrentTimestamp());
}

PG_FUNCTION_INFO_V1(payguard_close_payment);

/*
 * close_payment(payment_id) → payment_result
 *
 * live → closing; what is being closed already is returned, replayed. Errors: 22004; PY402;
 * PY105 where the attempt has ended.
 */
Datum
payguard_close_payment(PG_FUNCTION_ARGS)
{
	pg_uuid_t *payment_id = payguard_arg_uuid(ARG(0), "payment_id");
	Order order;
	Payment payment;
	bool replayed = true;
	Refusal refusal;
	PaymentResult result;

	payguard_request_begin("close_payment()");
	payguard_payment_must_exist(payment_id, &payment);
	if (!judge_close(&payment, &refusal))
	{
		payguard_store_make_durable(&payment);
		payguard_raise(&refusal);
	}
	payguard_payment_lock(payment_id, &order, &payment);
	if (!judge_close(&payment, &refusal))
		payguard_raise(&refusal);
	if (payment.status != PAYMENT_CLOSING && payment.status != PAYMENT_SUPERSEDED)
	{
		payguard_payment_close(&order, &payment);
		replayed = false;
	}
	payguard_call_end();
	payguard_result_of(&payment, &order, replayed, &result);
	result.version = order.version;
	return payguard_result_datum(&result, payguard_result_desc(fcinfo));
}

static bool
judge_close(const Payment *payment, Refusal *refusal)
{
	if (payguard_payment_is_live(payment->status) ||
		payment->status == PAYMENT_SUPERSEDED)
		return true;
	return payguard_refuse(
		refusal, ERR_ILLEGAL_TRANSITION,
		psprintf("payment \"%s\" has ended", payguard_uuid_str(payment->payment_id)),
		psprintf("It is %s since %s.",
				 payguard_machine_name(&payguard_payment_machine, payment->status),
				 payguard_time_str(payment->completed_at)),
		"There is nothing to close.");
}
