/*
 * received.c
 *		What a report about a payment changes, once it is decided (facts.c).
 *
 * These functions write what was decided and judge nothing themselves. The first money wins: if it came without the
 * order's live attempt, that attempt is superseded.
 *
 * Locking: the caller holds the order's row lock.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/id.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/alert.h"
#include "records/channel.h"
#include "records/event.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/report.h"
#include "records/task.h"
#include "money/surplus.h"
#include "evidence/received.h"

static RefundStatus refund_status(const Channel *channel, const Report *report,
								  bool hold);
static bool severe(const char *alert);

/*
 * payguard_received_close_again has the channel asked again to close an attempt; a request that waits
 * already is not put off.
 */
void
payguard_received_close_again(const Payment *payment, const Channel *channel)
{
	Task waiting;

	if (payguard_task_find("close", payguard_payment_about(payment), &waiting) &&
		waiting.dead_at == NO_TIME)
		return;
	payguard_task_schedule(
		"close", payguard_payment_about(payment), payment->channel,
		payguard_time_plus(GetCurrentTimestamp(), channel->first_query_after));
}

/*
 * payguard_received_supersede_other closes the order's live attempt, since other money came first.
 */
void
payguard_received_supersede_other(Order *order)
{
	Payment other;

	if (!payguard_payment_that_counts(order->order_id, &other) ||
		!payguard_payment_is_live(other.status))
		elog(ERROR, "payguard: order \"%s\" is paying without a live payment",
			 payguard_str(order->order_id));
	if (payguard_payment_withdraw_charge(&other))
	{
		other.failure_code = payguard_text("not_sent");
		other.completed_at = GetCurrentTimestamp();
		payguard_payment_change(
			order, &other, PAYMENT_FAILED,
			FIELD(PAYMENT_F_FAILURE_CODE) | FIELD(PAYMENT_F_COMPLETED_AT), NULL);
		payguard_payment_end_tasks(&other);
		return;
	}
	if (other.status == PAYMENT_CAPTURING)
		payguard_payment_withdraw_capture(&other);
	payguard_payment_change(order, &other, PAYMENT_SUPERSEDED, 0, NULL);
	payguard_task_schedule("close", payguard_payment_about(&other), other.channel,
						   GetCurrentTimestamp());
}

/*
 * payguard_received_become changes the order for its payment's sake.
 */
void
payguard_received_become(Order *order, const Payment *payment, OrderStatus to)
{
	FieldSet also = FIELD(ORDER_F_CLOSING_AS);
	Jsonb *details = NULL;

	Assert(to != order->status);
	order->closing_as = ORDER_NONE;
	if (to == ORDER_PAID)
	{
		order->payment_id = payment->payment_id;
		also |= FIELD(ORDER_F_PAYMENT_ID);
		details = payguard_order_replaces(order);
	}
	payguard_order_change(
		order, to, also,
		psprintf("order.%s", payguard_machine_name(&payguard_order_machine, to)),
		payment->payment_id, details);
}

/*
 * payguard_received_take fills in what was received.
 */
FieldSet
payguard_received_take(Payment *payment, const Report *report)
{
	payment->received_amount =
		report->amount != NO_AMOUNT ? report->amount : payguard_payment_asked(payment);
	payment->received_currency = report->currency ? report->currency : payment->currency;
	payment->amount_verified = report->amount != NO_AMOUNT && !report->assumed;
	payment->channel_txn_id = report->txn_id ? report->txn_id : payment->channel_txn_id;
	payment->channel_time = report->channel_time;
	payment->failure_code = NULL;
	payment->failure_message = NULL;
	payment->completed_at = GetCurrentTimestamp();
	return FIELD(PAYMENT_F_RECEIVED_AMOUNT) | FIELD(PAYMENT_F_RECEIVED_CURRENCY) |
		   FIELD(PAYMENT_F_AMOUNT_VERIFIED) | FIELD(PAYMENT_F_CHANNEL_TXN_ID) |
		   FIELD(PAYMENT_F_CHANNEL_TIME) | FIELD(PAYMENT_F_FAILURE_CODE) |
		   FIELD(PAYMENT_F_FAILURE_MESSAGE) | FIELD(PAYMENT_F_COMPLETED_AT);
}

/*
 * payguard_received_note_failure fills in why an attempt brought no money.
 */
FieldSet
payguard_received_note_failure(Payment *payment, const Report *report)
{
	payment->failure_code =
		report->code ? report->code
					 : payguard_text(payguard_channel_status_name(report->status));
	payment->failure_message = report->message;
	payment->completed_at = GetCurrentTimestamp();
	return FIELD(PAYMENT_F_FAILURE_CODE) | FIELD(PAYMENT_F_FAILURE_MESSAGE) |
		   FIELD(PAYMENT_F_COMPLETED_AT);
}

/*
 * payguard_received_revive makes a failed attempt live again, which its channel goes on with. Its success will be
 * a late one.
 */
FieldSet
payguard_received_revive(Payment *payment)
{
	payment->failure_code = payguard_text(REVIVED);
	payment->failure_message = NULL;
	payment->completed_at = NO_TIME;
	return FIELD(PAYMENT_F_FAILURE_CODE) | FIELD(PAYMENT_F_FAILURE_MESSAGE) |
		   FIELD(PAYMENT_F_COMPLETED_AT);
}

/*
 * payguard_received_authorize fills in what the channel has reserved, and until when. As long as the payment stays
 * authorized, the amount that was named first counts. Another amount is believed only if the channel was asked since
 * (report->fresh), or if it is less: nobody may capture what is not there. A later capture_before is believed, since
 * channels prolong. A capture that was asked for has not been made: its amount and its id are cleared.
 */
FieldSet
payguard_received_authorize(Payment *payment, const Report *report)
{
	bool other_currency =
		report->currency && !payguard_text_equal(report->currency, payment->currency);
	int64 amount = other_currency				 ? 0
				   : report->amount != NO_AMOUNT ? report->amount
												 : payment->authorized_amount;
	bool believed = report->fresh || payment->status != PAYMENT_AUTHORIZED;
	FieldSet also = 0;

	if (amount == NO_AMOUNT)
		amount = payment->amount;
	if (amount != payment->authorized_amount &&
		(believed || payment->authorized_amount == NO_AMOUNT ||
		 amount < payment->authorized_amount))
	{
		payment->authorized_amount = amount;
		also |= FIELD(PAYMENT_F_AUTHORIZED_AMOUNT);
	}
	if (report->capture_before != NO_TIME &&
		payment->capture_before != report->capture_before &&
		(believed || payment->capture_before == NO_TIME ||
		 payment->capture_before < report->capture_before))
	{
		payment->capture_before = report->capture_before;
		also |= FIELD(PAYMENT_F_CAPTURE_BEFORE);
	}
	if (payment->capture_amount != NO_AMOUNT)
	{
		payment->capture_amount = NO_AMOUNT;
		payment->capture_id = NULL;
		also |= FIELD(PAYMENT_F_CAPTURE_AMOUNT) | FIELD(PAYMENT_F_CAPTURE_ID);
	}
	return also;
}

/*
 * payguard_received_follow_capture brings the tasks and alerts of reserved money in step with what became of it. If the
 * capture is sent again, the order's row is touched: a transaction whose snapshot is older cannot see the new task, and
 * would give the money up without withdrawing the task.
 */
void
payguard_received_follow_capture(Order *order, const Payment *payment, PaymentStatus was,
								 const Decision *decision, FieldSet changed)
{
	About about = payguard_payment_about(payment);
	text *id = payguard_text(payguard_uuid_str(payment->payment_id));

	if (decision->capture)
	{
		payguard_order_touch(order);
		payguard_task_repeat("capture", about, payment->channel);
	}
	if (was == PAYMENT_CAPTURING && payguard_payment_is_live(payment->status) &&
		payment->status != was)
		payguard_task_remove("capture", about);
	if (changed & FIELD(PAYMENT_F_AUTHORIZED_AMOUNT))
	{
		if (payment->authorized_amount < order->amount)
			payguard_alert_payment(
				"authorized_less", "warning", payment,
				payguard_json("channel", 't', payment->channel, "authorized_amount", 'i',
							  payment->authorized_amount, "amount", 'i', order->amount,
							  "currency", 't', order->currency, NULL));
		else if (was == PAYMENT_AUTHORIZED)
			payguard_alert_resolve("authorized_less", id, NULL);
	}
	if (was == payment->status || payguard_payment_holds_order(payment->status))
		return;
	payguard_alert_resolve("authorized_less", id, NULL);
	payguard_alert_resolve("authorization_expiring", id, NULL);
	if (payguard_payment_was_received(payment) || was == PAYMENT_CLOSING ||
		was == PAYMENT_SUPERSEDED)
		payguard_alert_resolve("capture_failed", id, NULL);
}

/*
 * payguard_received_note_txn notes the channel's transaction of an open attempt.
 */
FieldSet
payguard_received_note_txn(Payment *payment, const Report *report)
{
	if (report->txn_id == NULL ||
		payguard_text_equal(report->txn_id, payment->channel_txn_id))
		return 0;
	payment->channel_txn_id = report->txn_id;
	return FIELD(PAYMENT_F_CHANNEL_TXN_ID);
}

/*
 * payguard_received_insert makes a payment of money that we did not ask for; false: the channel's
 * transaction is known by now.
 */
bool
payguard_received_insert(const Order *order, const text *channel, const Report *report,
						 PaymentStatus status, Jsonb *details, Payment *payment)
{
	TimestampTz now = GetCurrentTimestamp();

	*payment = (Payment){
		.payment_id = payguard_uuid_v7(payguard_slot_of(order->order_id)),
		.order_id = order->order_id,
		.channel = unconstify(text *, channel),
		.amount = order->amount,
		.currency = order->currency,
		.status = payguard_machine_move(&payguard_payment_machine, PAYMENT_NONE, status),
		.order_version = order->version,
		.request_kind = payguard_text("record"),
		.details = details,
		.created_at = now,
		.expires_at = NO_TIME,
		.authorized_amount = NO_AMOUNT,
		.capture_amount = NO_AMOUNT,
		.capture_before = NO_TIME,
	};
	payguard_received_take(payment, report);
	for (bool again = false;
		 !payguard_store_insert_new(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, payment);
		 again = true)
	{
		Payment known;

		payguard_store_refresh();
		if (payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, payment,
								&known))
			return false;
		/* whose it was has let go of it in this moment, or a user's trigger swallows our row */
		if (again)
			payguard_store_suppressed(&payguard_payments);
	}
	payguard_event_write(
		psprintf("payment.%s", payguard_machine_name(&payguard_payment_machine, status)),
		payguard_payment_about(payment), NULL,
		payguard_machine_name(&payguard_payment_machine, status), NO_ID,
		payguard_report_details(report));
	return true;
}

/*
 * payguard_received_return notes that the channel has taken back all money of the payment that paid an order. The order
 * is to be paid again. details: for the events, or NULL.
 */
void
payguard_received_return(Order *order, Payment *payment, Jsonb *details)
{
	payguard_payment_change(order, payment, PAYMENT_RETURNED, 0, details);
	payguard_payment_end_tasks(payment);
	payguard_order_return(order, payment->payment_id, details);
}

/*
 * payguard_received_give_back opens the refund that was decided, of all money or of what is too much, and alerts.
 */
void
payguard_received_give_back(Order *order, const Payment *payment, const Channel *channel,
							const Report *report, const Decision *decision)
{
	if (decision->refund)
		payguard_refund_surplus(order, payment,
								refund_status(channel, report, decision->hold));
	if (decision->excess && payguard_refund_excess(order, payment) > 0)
	{
		/* who brings more than twice what was asked for may have mixed up units */
		bool hold = payguard_refund_excess(order, payment) > order->amount;

		payguard_refund_surplus(order, payment, refund_status(channel, report, hold));
		payguard_alert_payment("overpaid", hold ? "critical" : "warning", payment,
							   payguard_report_details(report));
	}
	payguard_received_alert(payment, decision->alert, payguard_report_details(report));
}

/*
 * payguard_received_alert opens the alert that was decided about a payment; NULL: none.
 */
void
payguard_received_alert(const Payment *payment, const char *alert, Jsonb *details)
{
	if (alert)
		payguard_alert_payment(alert, severe(alert) ? "critical" : "warning", payment,
							   details);
}

/*
 * refund_status returns the state in which a refund begins that nobody asked for. hold: a person decides
 * about it, whatever the channel's setting. Money of an internal channel waits too: nobody has handed it
 * back yet.
 */
static RefundStatus
refund_status(const Channel *channel, const Report *report, bool hold)
{
	if (report->give_back)
		return REFUND_PENDING;
	return hold || channel->internal || payguard_text_is(channel->surplus, "review")
			   ? REFUND_AWAITING_APPROVAL
			   : REFUND_PENDING;
}

static bool
severe(const char *alert)
{
	return strcmp(alert, "amount_mismatch") == 0 || strcmp(alert, "capture_failed") == 0;
}
