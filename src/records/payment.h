/*
 * payment.h
 *		Payments on record.
 */
#ifndef PAYGUARD_RECORDS_PAYMENT_H
#define PAYGUARD_RECORDS_PAYMENT_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "rules/machine.h"
#include "store/table.h"
#include "records/about.h"
#include "records/channel.h"
#include "records/order.h"

/* One movement of money from the customer, attempted or real. */
typedef struct Payment
{
	RowHeader header;
	pg_uuid_t *payment_id;
	text *order_id;
	text *idempotency_key; /* NULL where the channel began it */
	text *channel;
	int64 amount; /* as asked */
	text *currency;
	int64 received_amount; /* as the channel reported */
	text *received_currency;
	bool amount_verified; /* the channel named the amount */
	PaymentStatus status;
	text *channel_txn_id;
	TimestampTz channel_time;
	text *failure_code;
	text *failure_message;
	int64 order_version; /* the order's, when this payment was made or started */
	text *request_kind;	 /* pay, start, request, revoke, record */
	Jsonb *details;
	TimestampTz created_at;
	TimestampTz expires_at;
	TimestampTz completed_at;
	text *capture;			 /* as asked: automatic, manual; NULL: the channel decides */
	int64 authorized_amount; /* what the channel has reserved */
	int64 capture_amount;	 /* what it was asked to take of that */
	pg_uuid_t *capture_id;	 /* the idempotency key of that request */
	TimestampTz capture_before; /* until when it holds the money, as it says */
} Payment;

#define REVIVED "revived" /* the failure_code of an open attempt that had failed before */

#define PAYMENT_COLUMNS(X)                                                               \
	X(PAYMENT_F_PAYMENT_ID, Payment, payment_id, FIELD_UUID)                             \
	X(PAYMENT_F_ORDER_ID, Payment, order_id, FIELD_TEXT)                                 \
	X(PAYMENT_F_IDEMPOTENCY_KEY, Payment, idempotency_key, FIELD_TEXT)                   \
	X(PAYMENT_F_CHANNEL, Payment, channel, FIELD_TEXT)                                   \
	X(PAYMENT_F_AMOUNT, Payment, amount, FIELD_AMOUNT)                                   \
	X(PAYMENT_F_CURRENCY, Payment, currency, FIELD_TEXT)                                 \
	X(PAYMENT_F_RECEIVED_AMOUNT, Payment, received_amount, FIELD_AMOUNT)                 \
	X(PAYMENT_F_RECEIVED_CURRENCY, Payment, received_currency, FIELD_TEXT)               \
	X(PAYMENT_F_AMOUNT_VERIFIED, Payment, amount_verified, FIELD_BOOL)                   \
	X(PAYMENT_F_STATUS, Payment, status, FIELD_STATUS,                                   \
	  .machine = &payguard_payment_machine)                                              \
	X(PAYMENT_F_CHANNEL_TXN_ID, Payment, channel_txn_id, FIELD_TEXT)                     \
	X(PAYMENT_F_CHANNEL_TIME, Payment, channel_time, FIELD_TIME)                         \
	X(PAYMENT_F_FAILURE_CODE, Payment, failure_code, FIELD_TEXT)                         \
	X(PAYMENT_F_FAILURE_MESSAGE, Payment, failure_message, FIELD_TEXT)                   \
	X(PAYMENT_F_ORDER_VERSION, Payment, order_version, FIELD_ID)                         \
	X(PAYMENT_F_REQUEST_KIND, Payment, request_kind, FIELD_TEXT)                         \
	X(PAYMENT_F_DETAILS, Payment, details, FIELD_JSONB)                                  \
	X(PAYMENT_F_CREATED_AT, Payment, created_at, FIELD_TIME)                             \
	X(PAYMENT_F_EXPIRES_AT, Payment, expires_at, FIELD_TIME)                             \
	X(PAYMENT_F_COMPLETED_AT, Payment, completed_at, FIELD_TIME)                         \
	X(PAYMENT_F_CAPTURE, Payment, capture, FIELD_TEXT)                                   \
	X(PAYMENT_F_AUTHORIZED_AMOUNT, Payment, authorized_amount, FIELD_AMOUNT)             \
	X(PAYMENT_F_CAPTURE_AMOUNT, Payment, capture_amount, FIELD_AMOUNT)                   \
	X(PAYMENT_F_CAPTURE_ID, Payment, capture_id, FIELD_UUID)                             \
	X(PAYMENT_F_CAPTURE_BEFORE, Payment, capture_before, FIELD_TIME)

enum
{
	PAYMENT_COLUMNS(COLUMN_NUMBER) N_PAYMENT_FIELDS
};

enum
{
	PAYMENT_BY_ID,
	PAYMENT_BY_KEY,
	PAYMENT_BY_CHANNEL_TXN,
	PAYMENT_THAT_COUNTS /* the order's live or successful one */
};

extern bool payguard_payment_brought_money(const Payment *payment);
extern bool payguard_payment_was_received(const Payment *payment);
extern bool payguard_payment_is_revived(const Payment *payment);
extern int payguard_payment_compare(const void *a, const void *b);
extern About payguard_payment_about(const Payment *payment);
extern void payguard_alert_payment(const char *kind, const char *severity,
								   const Payment *payment, Jsonb *details);
extern void payguard_payment_change(const Order *order, Payment *payment,
									PaymentStatus to, FieldSet also, Jsonb *details);
extern void payguard_payment_must_exist(const pg_uuid_t *payment_id, Payment *payment);
extern void payguard_payment_lock(const pg_uuid_t *payment_id, Order *order,
								  Payment *payment);
extern void payguard_payment_must_be_there(const pg_uuid_t *payment_id, Payment *payment);
extern bool payguard_payment_reread(const pg_uuid_t *payment_id, Payment *payment);
extern bool payguard_payment_withdraw_charge(const Payment *payment);
extern bool payguard_payment_withdraw_capture(const Payment *payment);
extern bool payguard_payment_capture_is_sent(const Payment *payment);
extern int64 payguard_payment_asked(const Payment *payment);
extern TimestampTz payguard_payment_next_query(const Payment *payment, TimestampTz now);
extern void payguard_payment_end_tasks(const Payment *payment);
extern void payguard_channel_of(const Payment *payment, Channel *channel);
extern pg_uuid_t *payguard_payment_same_charge(const Payment *payment);
extern bool payguard_payment_may_be_asked(const Payment *payment);
extern bool payguard_payment_find(const pg_uuid_t *payment_id, Payment *payment);
extern bool payguard_payment_that_counts(const text *order_id, Payment *payment);
extern const Table payguard_archived_payments;
extern const Table payguard_payments;

#endif
