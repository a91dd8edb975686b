/*
 * payment.c
 *		Payments on record: found, read anew, changed. An attempt through a channel is one of them.
 *
 * payguard_payment_change() is the one place where a payment changes.
 *
 * Locking: the order's row lock covers its payments.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "base/json.h"
#include "base/refusal.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/alert.h"
#include "records/assert.h"
#include "records/channel.h"
#include "records/event.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/task.h"

static const Field payment_fields[] = {PAYMENT_COLUMNS(COLUMN_FIELD)};

static const Key payment_keys[] = {
	[PAYMENT_BY_ID] = {.fields = {PAYMENT_F_PAYMENT_ID, -1},
					   .index = "pkey",
					   .archived = true},
	[PAYMENT_BY_KEY] = {.fields = {PAYMENT_F_IDEMPOTENCY_KEY, -1},
						.index = "idempotency_key",
						.archived = true},
	[PAYMENT_BY_CHANNEL_TXN] = {.fields = {PAYMENT_F_CHANNEL, PAYMENT_F_CHANNEL_TXN_ID,
										   -1},
								.index = "channel_txn",
								.partial = true,
								.archived = true},
	[PAYMENT_THAT_COUNTS] = {.fields = {PAYMENT_F_ORDER_ID, -1},
							 .index = "that_count",
							 .partial = true},
};
const Table payguard_archived_payments =
	TABLE("archived_payments", Payment, payment_fields, payment_keys);
const Table payguard_payments = ARCHIVED_TABLE("payments", Payment, payment_fields,
											   payment_keys, payguard_archived_payments);

/*
 * payguard_payment_compare orders payments by their ids, for bsearch().
 */
int
payguard_payment_compare(const void *a, const void *b)
{
	return payguard_uuid_compare(((const Payment *) a)->payment_id,
								 ((const Payment *) b)->payment_id);
}

/*
 * payguard_payment_brought_money tells whether the channel has said that it took the money.
 */
bool
payguard_payment_brought_money(const Payment *payment)
{
	return payment->status == PAYMENT_SUCCEEDED || payment->status == PAYMENT_SURPLUS;
}

/*
 * payguard_payment_was_received tells whether the channel has said that it took the money, wherever it is now.
 */
bool
payguard_payment_was_received(const Payment *payment)
{
	return payguard_payment_brought_money(payment) || payment->status == PAYMENT_RETURNED;
}

/*
 * payguard_payment_is_revived tells whether an open attempt had failed before, and its channel goes on with it.
 */
bool
payguard_payment_is_revived(const Payment *payment)
{
	return payguard_payment_is_open(payment->status) &&
		   payguard_text_is(payment->failure_code, REVIVED);
}

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
	Assert(payguard_payment_is_open(to) || payment->completed_at != NO_TIME);
	Assert((to != PAYMENT_SUCCEEDED && to != PAYMENT_SURPLUS && to != PAYMENT_RETURNED) ||
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
 * payguard_payment_withdraw_capture takes back a capture that no worker has claimed; false: one has, or had.
 */
bool
payguard_payment_withdraw_capture(const Payment *payment)
{
	Task capture;

	if (!payguard_task_find("capture", payguard_payment_about(payment), &capture) ||
		capture.sent)
		return false;
	payguard_task_finish(&capture, NULL, NULL);
	return true;
}

/*
 * payguard_payment_capture_is_sent tells whether the channel may have been asked for a capture. It locks nothing.
 */
bool
payguard_payment_capture_is_sent(const Payment *payment)
{
	Task like = {.kind = payguard_text("capture"), .payment_id = payment->payment_id};
	Task capture;

	return payment->status == PAYMENT_CAPTURING &&
		   (!payguard_store_find(&payguard_tasks, TASK_OF_PAYMENT, &like, &capture) ||
			capture.sent);
}

/*
 * payguard_payment_asked returns what the channel was asked to take, in minor units.
 */
int64
payguard_payment_asked(const Payment *payment)
{
	return payment->capture_amount != NO_AMOUNT ? payment->capture_amount
												: payment->amount;
}

/*
 * payguard_payment_next_query returns when to ask about money that is reserved until somebody captures it: once a day,
 * and when the channel lets go of it; NO_TIME: as about any other open payment.
 */
TimestampTz
payguard_payment_next_query(const Payment *payment, TimestampTz now)
{
	TimestampTz tomorrow = now + USECS_PER_DAY;

	if (payment->status != PAYMENT_AUTHORIZED ||
		!payguard_text_is(payment->capture, "manual") ||
		(payment->capture_before != NO_TIME && payment->capture_before <= now))
		return NO_TIME;
	return payment->capture_before == NO_TIME ? tomorrow
											  : Min(tomorrow, payment->capture_before);
}

/*
 * payguard_payment_end_tasks removes the tasks of an attempt that has ended.
 */
void
payguard_payment_end_tasks(const Payment *payment)
{
	payguard_task_remove_all(payguard_payment_about(payment));
}

/*
 * payguard_channel_of reads the channel of a payment, which is there: channels are not removed.
 */
void
payguard_channel_of(const Payment *payment, Channel *channel)
{
	if (!payguard_channel_find(payment->channel, channel))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("channel \"%s\" of payment \"%s\" does not exist",
							   payguard_str(payment->channel),
							   payguard_uuid_str(payment->payment_id)),
						errhint("Run payguard.verify().")));
}

/*
 * payguard_payment_same_charge returns the payment that a dismissed one is a second name of;
 * NULL: it was not dismissed.
 */
pg_uuid_t *
payguard_payment_same_charge(const Payment *payment)
{
	if (payment->status != PAYMENT_FAILED ||
		!payguard_text_is(payment->failure_code, "same_charge") || !payment->details)
		return NULL;
	return payguard_json_uuid(payment->details, "second_charge_of");
}

/*
 * payguard_payment_may_be_asked tells whether its channel has something to say about a payment.
 */
bool
payguard_payment_may_be_asked(const Payment *payment)
{
	return payguard_payment_is_open(payment->status) ||
		   (payment->status == PAYMENT_SUCCEEDED && !payment->amount_verified);
}

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
