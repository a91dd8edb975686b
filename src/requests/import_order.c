/*
 * import_order.c
 *		import_order(): an order that was paid, given back or closed before payguard came.
 *
 * It comes with its own times, and its ids are those of that time. No policy is asked, no alert is opened, and
 * readers see one event, order.imported, which the totals leave out.
 *
 * Locking: none. Only new rows are written, and their unique indexes decide between two calls.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/jsonb.h"
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
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/actor.h"
#include "records/balance.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/event.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"

/* What a call says of an order. */
typedef struct Import
{
	Order order; /* refunded_amount: what went back */
	text *channel;
	text *channel_txn_id;
	text *channel_refund_id;
	TimestampTz paid_at;	 /* NO_TIME: it was closed unpaid */
	TimestampTz refunded_at; /* NO_TIME: nothing went back */
	TimestampTz closed_at;	 /* NO_TIME: it was paid */
} Import;

static void read_import(FunctionCallInfo fcinfo, Import *import);
static Jsonb *describe(const Import *import, const text *customer_id);
static OrderStatus read_status(text *name);
static void check_paid(FunctionCallInfo fcinfo, Import *import);
static void check_closed(FunctionCallInfo fcinfo, Import *import);
static void must_be_null(FunctionCallInfo fcinfo, int n, const char *name,
						 const char *problem);
static TimestampTz read_past(FunctionCallInfo fcinfo, int n, const char *name);
static void check_order_of(const char *name, TimestampTz time, const char *earlier_name,
						   TimestampTz earlier);
static void check_channel(const Import *import);
static bool find_same(const Import *import, Order *existing);
static pg_uuid_t *import_payment(const Import *import);
static pg_uuid_t *import_refund(const Import *import, pg_uuid_t *payment_id);
static void refuse_known_payment(const Payment *known) pg_attribute_noreturn();
static void refuse_known_refund(const Refund *known) pg_attribute_noreturn();

PG_FUNCTION_INFO_V1(payguard_import_order);

/*
 * import_order(order_id, amount, currency, status, customer_id := NULL, created_at := NULL, paid_at := NULL,
 *				channel := NULL, channel_txn_id := NULL, refunded_amount := NULL, refunded_at := NULL,
 *				channel_refund_id := NULL, closed_at := NULL) → orders
 *
 * status: paid, refunded, cancelled or expired. amount, refunded_amount: minor units of currency. The same call again
 * returns the order as it is now. Errors: 22004, 22023; PY304 where the id has been used for another order; PY305
 * where the transaction or the refund is known; PY405.
 */
Datum
payguard_import_order(PG_FUNCTION_ARGS)
{
	Import import;
	Order existing;
	About about;
	Jsonb *details;

	read_import(fcinfo, &import);
	details = describe(&import, import.order.customer_id);

	payguard_request_begin("import_order()");
	if (!find_same(&import, &existing))
	{
		check_channel(&import);
		about = (About){.order_id = import.order.order_id};
		if (import.paid_at != NO_TIME)
			about.payment_id = import.order.payment_id = payguard_uuid_v7_at(
				payguard_slot_of(import.order.order_id), import.paid_at);
		if (payguard_store_insert_new(&payguard_orders, ORDER_BY_ID, &import.order))
		{
			if (about.payment_id)
				import_payment(&import);
			if (import.refunded_at != NO_TIME)
				about.refund_id = import_refund(&import, about.payment_id);
			payguard_event_write(
				"order.imported", about, NULL,
				payguard_machine_name(&payguard_order_machine, import.order.status),
				import.order.version, details);
			payguard_call_end();
			return payguard_row_result(fcinfo, &payguard_orders, &import.order);
		}
		payguard_store_refresh();
		if (!find_same(&import, &existing))
			payguard_store_suppressed(&payguard_orders);
	}
	payguard_store_make_durable(&existing);
	payguard_call_end();
	return payguard_row_result(fcinfo, &payguard_orders, &existing);
}

static void
read_import(FunctionCallInfo fcinfo, Import *import)
{
	*import = (Import){
		.order =
			{
				.order_id = payguard_arg_id(ARG(0), "order_id"),
				.amount = payguard_arg_amount(ARG(1), "amount"),
				.currency = payguard_arg_currency(ARG(2), "currency"),
				.status = read_status(payguard_arg_id(ARG(3), "status")),
				.customer_id = payguard_arg_id_or_null(ARG(4), "customer_id"),
				.created_at = read_past(fcinfo, 5, "created_at"),
				.expires_at = NO_TIME,
				.version = 1,
			},
		.paid_at = read_past(fcinfo, 6, "paid_at"),
		.channel = payguard_arg_id_or_null(ARG(7), "channel"),
		.channel_txn_id = payguard_arg_id_or_null(ARG(8), "channel_txn_id"),
		.refunded_at = read_past(fcinfo, 10, "refunded_at"),
		.channel_refund_id = payguard_arg_id_or_null(ARG(11), "channel_refund_id"),
		.closed_at = read_past(fcinfo, 12, "closed_at"),
	};
	import->order.refunded_amount =
		payguard_arg_amount_or_null(ARG(9), "refunded_amount");
	if (import->order.status == ORDER_PAID || import->order.status == ORDER_REFUNDED)
		check_paid(fcinfo, import);
	else
		check_closed(fcinfo, import);
}

/*
 * describe tells what was said of an order. customer_id: NULL where he was erased since.
 */
static Jsonb *
describe(const Import *import, const text *customer_id)
{
	return payguard_json(
		"amount", 'i', import->order.amount, "currency", 't', import->order.currency,
		"customer_id", 't', customer_id, "created_at", 'd', import->order.created_at,
		"paid_at", 'd', import->paid_at, "channel", 't', import->channel,
		"channel_txn_id", 't', import->channel_txn_id, "refunded_amount", 'i',
		import->order.refunded_amount, "refunded_at", 'd', import->refunded_at,
		"channel_refund_id", 't', import->channel_refund_id, "closed_at", 'd',
		import->closed_at, NULL);
}

static OrderStatus
read_status(text *name)
{
	static const OrderStatus ends[] = {ORDER_PAID, ORDER_REFUNDED, ORDER_CANCELLED,
									   ORDER_EXPIRED};

	for (int i = 0; i < (int) lengthof(ends); i++)
		if (payguard_text_is(name,
							 payguard_machine_name(&payguard_order_machine, ends[i])))
			return ends[i];
	payguard_arg_bad("status", psprintf("It is \"%s\".", payguard_str(name)),
					 "Import orders that are paid, refunded, cancelled or expired. Make "
					 "an unpaid order with payguard.create_order().");
}

/*
 * check_paid completes and checks what is said of an order that was paid. What is left out of its times is the one
 * before it.
 */
static void
check_paid(FunctionCallInfo fcinfo, Import *import)
{
	Order *order = &import->order;

	if (import->paid_at == NO_TIME)
		payguard_arg_missing("paid_at");
	if (import->channel == NULL)
		payguard_arg_missing("channel");
	must_be_null(fcinfo, 12, "closed_at", "The order was paid, and not closed.");
	if (order->refunded_amount == NO_AMOUNT)
		order->refunded_amount = order->status == ORDER_REFUNDED ? order->amount : 0;
	if (order->refunded_amount > order->amount)
		payguard_arg_bad("refunded_amount", "It is more than was paid.",
						 "Give back at most the order's amount.");
	if (order->status == ORDER_REFUNDED && order->refunded_amount < order->amount)
		payguard_arg_bad("refunded_amount",
						 "All of a refunded order's money has gone back.",
						 "If a part of the money went back, import the order as paid.");
	if (order->status == ORDER_PAID && order->amount > 0 &&
		order->refunded_amount == order->amount)
		payguard_arg_bad("status", "All of the order's money went back.",
						 "Import it as refunded.");
	if (order->status == ORDER_PAID && order->refunded_amount == 0)
	{
		must_be_null(fcinfo, 10, "refunded_at", "Nothing went back.");
		must_be_null(fcinfo, 11, "channel_refund_id", "Nothing went back.");
	}
	else if (import->refunded_at == NO_TIME)
		import->refunded_at = import->paid_at;
	if (order->created_at == NO_TIME)
		order->created_at = import->paid_at;
	check_order_of("paid_at", import->paid_at, "created_at", order->created_at);
	if (import->refunded_at != NO_TIME)
		check_order_of("refunded_at", import->refunded_at, "paid_at", import->paid_at);
	order->updated_at =
		import->refunded_at != NO_TIME ? import->refunded_at : import->paid_at;
}

/*
 * check_closed is the same for an order that was closed unpaid.
 */
static void
check_closed(FunctionCallInfo fcinfo, Import *import)
{
	static const char *const problem = "The order was closed, and not paid.";
	Order *order = &import->order;

	if (import->closed_at == NO_TIME)
		payguard_arg_missing("closed_at");
	must_be_null(fcinfo, 6, "paid_at", problem);
	must_be_null(fcinfo, 7, "channel", problem);
	must_be_null(fcinfo, 8, "channel_txn_id", problem);
	must_be_null(fcinfo, 9, "refunded_amount", problem);
	must_be_null(fcinfo, 10, "refunded_at", problem);
	must_be_null(fcinfo, 11, "channel_refund_id", problem);
	order->refunded_amount = 0;
	if (order->created_at == NO_TIME)
		order->created_at = import->closed_at;
	check_order_of("closed_at", import->closed_at, "created_at", order->created_at);
	order->updated_at = import->closed_at;
}

static void
must_be_null(FunctionCallInfo fcinfo, int n, const char *name, const char *problem)
{
	if (!PG_ARGISNULL(n))
		payguard_arg_bad(name, problem, "Leave it out, or give another status.");
}

/*
 * read_past reads a time that is over, and that a version 7 uuid can hold.
 */
static TimestampTz
read_past(FunctionCallInfo fcinfo, int n, const char *name)
{
	TimestampTz time = payguard_arg_time_or_null(ARG(n), name);

	if (time != NO_TIME && time > GetCurrentTimestamp())
		payguard_arg_bad(name, "It is in the future.", "Give the time when it happened.");
	if (time != NO_TIME && !payguard_uuid_v7_holds(time))
		payguard_arg_bad(name, "It is before 1970.", "Give a later time.");
	return time;
}

static void
check_order_of(const char *name, TimestampTz time, const char *earlier_name,
			   TimestampTz earlier)
{
	if (time < earlier)
		payguard_arg_bad(name, psprintf("It is before %s.", earlier_name),
						 "Give the times in the order in which things happened.");
}

static void
check_channel(const Import *import)
{
	Channel channel;
	Refusal refusal;

	if (import->channel == NULL || payguard_channel_find(import->channel, &channel))
		return;
	payguard_channel_refuse_unknown(import->channel, &refusal);
	payguard_raise(&refusal);
}

/*
 * find_same reads the order that an earlier call has imported. Errors: PY304 where another order has its id. Values
 * are not shown: it may be another customer's.
 */
static bool
find_same(const Import *import, Order *existing)
{
	Event first;
	Jsonb *details;
	Refusal refusal;

	if (!payguard_order_find(import->order.order_id, existing))
		return false;
	payguard_event_first_of(existing->order_id, &first);
	details = describe(import, existing->customer_id ? import->order.customer_id : NULL);
	if (payguard_text_is(first.kind, "order.imported") &&
		payguard_text_is(first.to_status, payguard_machine_name(&payguard_order_machine,
																import->order.status)) &&
		first.details != NULL &&
		compareJsonbContainers(&first.details->root, &details->root) == 0)
		return true;
	payguard_refuse(
		&refusal, ERR_ORDER_ID_REUSED,
		psprintf("order id \"%s\" is already used", payguard_str(existing->order_id)),
		payguard_text_is(first.kind, "order.imported")
			? "Another order has been imported under it."
			: "The order was made here, and not imported.",
		"An order is imported once. Report what has happened to it since with the "
		"functions for evidence and refunds.");
	payguard_order_refuse(existing, &refusal);
}

/*
 * import_payment writes the payment that paid the order, and returns its id.
 */
static pg_uuid_t *
import_payment(const Import *import)
{
	Payment payment = {
		.payment_id = import->order.payment_id,
		.order_id = import->order.order_id,
		.channel = import->channel,
		.amount = import->order.amount,
		.currency = import->order.currency,
		.received_amount = import->order.amount,
		.received_currency = import->order.currency,
		.amount_verified = true,
		.status = PAYMENT_SUCCEEDED,
		.channel_txn_id = import->channel_txn_id,
		.channel_time = import->paid_at,
		.order_version = import->order.version,
		.request_kind = payguard_text("import"),
		.created_at = import->paid_at,
		.expires_at = NO_TIME,
		.completed_at = import->paid_at,
		.authorized_amount = NO_AMOUNT,
		.capture_amount = NO_AMOUNT,
		.capture_before = NO_TIME,
	};
	Payment known;

	if (import->channel_txn_id == NULL)
	{
		payguard_store_insert(&payguard_payments, &payment);
		return payment.payment_id;
	}
	/* the archive has no index that would stop it */
	if (payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, &payment, &known))
		refuse_known_payment(&known);
	if (!payguard_store_insert_new(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, &payment))
	{
		payguard_store_refresh();
		if (!payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, &payment,
								 &known))
			payguard_store_suppressed(&payguard_payments);
		refuse_known_payment(&known);
	}
	return payment.payment_id;
}

/*
 * import_refund writes the refund of what went back, and the payment's balance; it returns the refund's id.
 */
static pg_uuid_t *
import_refund(const Import *import, pg_uuid_t *payment_id)
{
	int64 amount = import->order.refunded_amount;
	Refund refund = {
		.refund_id = payguard_uuid_v7_at(payguard_slot_of(import->order.order_id),
										 import->refunded_at),
		.payment_id = payment_id,
		.order_id = import->order.order_id,
		.channel = import->channel,
		.amount = amount,
		.currency = import->order.currency,
		.returned_amount = amount,
		.amount_verified = true,
		.status = REFUND_SUCCEEDED,
		.origin = payguard_text("request"),
		.reason = payguard_text("imported"),
		.channel_refund_id = import->channel_refund_id,
		.requested_by = payguard_actor(),
		.created_at = import->refunded_at,
		.completed_at = import->refunded_at,
		.channel_time = NO_TIME,
		.reinstated_time = NO_TIME,
	};
	RefundBalance balance = {
		.payment_id = payment_id,
		.received = import->order.amount,
		.refunded = amount,
	};
	Refund known;

	if (import->channel_refund_id == NULL)
		payguard_store_insert(&payguard_refunds, &refund);
	else
	{
		if (payguard_store_find(&payguard_refunds, REFUND_BY_CHANNEL_REFUND, &refund,
								&known))
			refuse_known_refund(&known);
		if (!payguard_store_insert_new(&payguard_refunds, REFUND_BY_CHANNEL_REFUND,
									   &refund))
		{
			payguard_store_refresh();
			if (!payguard_store_find(&payguard_refunds, REFUND_BY_CHANNEL_REFUND, &refund,
									 &known))
				payguard_store_suppressed(&payguard_refunds);
			refuse_known_refund(&known);
		}
	}
	payguard_store_insert(&payguard_refund_balances, &balance);
	return refund.refund_id;
}

static void
refuse_known_payment(const Payment *known)
{
	Refusal refusal;

	payguard_refuse(
		&refusal, ERR_TRANSACTION_KNOWN,
		psprintf("transaction \"%s\" of channel \"%s\" is known",
				 payguard_str(known->channel_txn_id), payguard_str(known->channel)),
		psprintf("Payment \"%s\" of order \"%s\" has it. Nothing has been written.",
				 payguard_uuid_str(known->payment_id), payguard_str(known->order_id)),
		"One transaction pays one order. Find out which of the two it has paid.");
	payguard_store_make_durable(known);
	payguard_raise(&refusal);
}

static void
refuse_known_refund(const Refund *known)
{
	Refusal refusal;

	payguard_refuse(
		&refusal, ERR_TRANSACTION_KNOWN,
		psprintf("refund \"%s\" of channel \"%s\" is known",
				 payguard_str(known->channel_refund_id), payguard_str(known->channel)),
		psprintf("Refund \"%s\" of order \"%s\" has it. Nothing has been written.",
				 payguard_uuid_str(known->refund_id), payguard_str(known->order_id)),
		"One refund of a channel belongs to one order. Find out to which of the two.");
	payguard_store_make_durable(known);
	payguard_raise(&refusal);
}
