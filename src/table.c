/*
 * table.c
 *		Which column of a table is which field of its struct.
 */
#include "postgres.h"

#include "payguard.h"

#define COLUMN(struct, field, type) {#field, type, offsetof(struct, field), NULL, false}
#define DEFAULTED(struct, field, type) {#field, type, offsetof(struct, field), NULL, true}
#define STATUS(struct, field, machine)                                                   \
	{#field, FIELD_STATUS, offsetof(struct, field), &machine, false}
#define TABLE(name, struct, fields, keys)                                                \
	{                                                                                    \
		name, sizeof(struct), fields, lengthof(fields), keys, lengthof(keys)             \
	}

static const Field order_fields[N_ORDER_FIELDS] = {
	[ORDER_F_ORDER_ID] = COLUMN(Order, order_id, FIELD_TEXT),
	[ORDER_F_CUSTOMER_ID] = COLUMN(Order, customer_id, FIELD_TEXT),
	[ORDER_F_AMOUNT] = COLUMN(Order, amount, FIELD_AMOUNT),
	[ORDER_F_CURRENCY] = COLUMN(Order, currency, FIELD_TEXT),
	[ORDER_F_STATUS] = STATUS(Order, status, payguard_order_machine),
	[ORDER_F_CLOSING_AS] = STATUS(Order, closing_as, payguard_order_machine),
	[ORDER_F_VERSION] = COLUMN(Order, version, FIELD_ID),
	[ORDER_F_PAYMENT_ID] = COLUMN(Order, payment_id, FIELD_UUID),
	[ORDER_F_REFUNDED_AMOUNT] = COLUMN(Order, refunded_amount, FIELD_AMOUNT),
	[ORDER_F_CREATED_AT] = COLUMN(Order, created_at, FIELD_TIME),
	[ORDER_F_UPDATED_AT] = COLUMN(Order, updated_at, FIELD_TIME),
	[ORDER_F_EXPIRES_AT] = COLUMN(Order, expires_at, FIELD_TIME),
};

static const Key order_keys[] = {
	[ORDER_BY_ID] = {{ORDER_F_ORDER_ID, -1}, NULL},
};

static const Field payment_fields[N_PAYMENT_FIELDS] = {
	[PAYMENT_F_PAYMENT_ID] = COLUMN(Payment, payment_id, FIELD_UUID),
	[PAYMENT_F_ORDER_ID] = COLUMN(Payment, order_id, FIELD_TEXT),
	[PAYMENT_F_IDEMPOTENCY_KEY] = COLUMN(Payment, idempotency_key, FIELD_TEXT),
	[PAYMENT_F_CHANNEL] = COLUMN(Payment, channel, FIELD_TEXT),
	[PAYMENT_F_AMOUNT] = COLUMN(Payment, amount, FIELD_AMOUNT),
	[PAYMENT_F_CURRENCY] = COLUMN(Payment, currency, FIELD_TEXT),
	[PAYMENT_F_RECEIVED_AMOUNT] = COLUMN(Payment, received_amount, FIELD_AMOUNT),
	[PAYMENT_F_RECEIVED_CURRENCY] = COLUMN(Payment, received_currency, FIELD_TEXT),
	[PAYMENT_F_AMOUNT_VERIFIED] = COLUMN(Payment, amount_verified, FIELD_BOOL),
	[PAYMENT_F_STATUS] = STATUS(Payment, status, payguard_payment_machine),
	[PAYMENT_F_CHANNEL_TXN_ID] = COLUMN(Payment, channel_txn_id, FIELD_TEXT),
	[PAYMENT_F_CHANNEL_TIME] = COLUMN(Payment, channel_time, FIELD_TIME),
	[PAYMENT_F_FAILURE_CODE] = COLUMN(Payment, failure_code, FIELD_TEXT),
	[PAYMENT_F_FAILURE_MESSAGE] = COLUMN(Payment, failure_message, FIELD_TEXT),
	[PAYMENT_F_ORDER_VERSION] = COLUMN(Payment, order_version, FIELD_ID),
	[PAYMENT_F_REQUEST_KIND] = COLUMN(Payment, request_kind, FIELD_TEXT),
	[PAYMENT_F_DETAILS] = COLUMN(Payment, details, FIELD_JSONB),
	[PAYMENT_F_CREATED_AT] = COLUMN(Payment, created_at, FIELD_TIME),
	[PAYMENT_F_EXPIRES_AT] = COLUMN(Payment, expires_at, FIELD_TIME),
	[PAYMENT_F_COMPLETED_AT] = COLUMN(Payment, completed_at, FIELD_TIME),
};

static const Key payment_keys[] = {
	[PAYMENT_BY_ID] = {{PAYMENT_F_PAYMENT_ID, -1}, NULL},
	[PAYMENT_BY_KEY] = {{PAYMENT_F_IDEMPOTENCY_KEY, -1}, NULL},
	[PAYMENT_BY_CHANNEL_TXN] = {{PAYMENT_F_CHANNEL, PAYMENT_F_CHANNEL_TXN_ID, -1}, NULL},
	[PAYMENT_THAT_COUNTS] = {{PAYMENT_F_ORDER_ID, -1},
							 "status OPERATOR(pg_catalog.<>) ALL ("
							 "'{failed,superseded,surplus}'::pg_catalog.text[])"},
};

static const Field event_fields[] = {
	DEFAULTED(Event, event_id, FIELD_ID),
	COLUMN(Event, order_id, FIELD_TEXT),
	COLUMN(Event, payment_id, FIELD_UUID),
	COLUMN(Event, refund_id, FIELD_UUID),
	COLUMN(Event, kind, FIELD_TEXT),
	COLUMN(Event, from_status, FIELD_TEXT),
	COLUMN(Event, to_status, FIELD_TEXT),
	COLUMN(Event, version, FIELD_ID),
	COLUMN(Event, actor, FIELD_TEXT),
	COLUMN(Event, at, FIELD_TIME),
	COLUMN(Event, details, FIELD_JSONB),
};

static const Key event_keys[] = {
	[EVENT_BY_ID] = {{0, -1}, NULL},
	[EVENT_OF_CREATION] = {{1, -1}, "kind OPERATOR(pg_catalog.=) 'order.created'"},
};

static const Field channel_fields[N_CHANNEL_FIELDS] = {
	[CHANNEL_F_NAME] = COLUMN(Channel, name, FIELD_TEXT),
	[CHANNEL_F_INTERNAL] = COLUMN(Channel, internal, FIELD_BOOL),
	[CHANNEL_F_DRIVER] = COLUMN(Channel, driver, FIELD_TEXT),
	[CHANNEL_F_FIRST_QUERY_AFTER] = COLUMN(Channel, first_query_after, FIELD_INTERVAL),
	[CHANNEL_F_MAX_QUERY_INTERVAL] = COLUMN(Channel, max_query_interval, FIELD_INTERVAL),
	[CHANNEL_F_ALERT_AFTER] = COLUMN(Channel, alert_after, FIELD_INTERVAL),
	[CHANNEL_F_NOT_FOUND_IS_FINAL_AFTER] =
		COLUMN(Channel, not_found_is_final_after, FIELD_INTERVAL),
	[CHANNEL_F_LATE_SUCCESS] = COLUMN(Channel, late_success, FIELD_TEXT),
	[CHANNEL_F_IDEMPOTENT_CHARGE] = COLUMN(Channel, idempotent_charge, FIELD_BOOL),
	[CHANNEL_F_CREATED_AT] = COLUMN(Channel, created_at, FIELD_TIME),
	[CHANNEL_F_UPDATED_AT] = COLUMN(Channel, updated_at, FIELD_TIME),
};

static const Key channel_keys[] = {
	[CHANNEL_BY_NAME] = {{CHANNEL_F_NAME, -1}, NULL},
};

const Table payguard_orders = TABLE("orders", Order, order_fields, order_keys);
const Table payguard_payments = TABLE("payments", Payment, payment_fields, payment_keys);
const Table payguard_events = TABLE("events", Event, event_fields, event_keys);
const Table payguard_channels = TABLE("channels", Channel, channel_fields, channel_keys);
