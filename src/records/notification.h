/*
 * notification.h
 *		Messages on record.
 */
#ifndef PAYGUARD_RECORDS_NOTIFICATION_H
#define PAYGUARD_RECORDS_NOTIFICATION_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

#include "store/table.h"
#include "records/payment.h"
#include "records/report.h"

#define REINSTATEMENT "reinstatement" /* the reversal_kind of what undoes a reversal */
#define UNKNOWN_CHANNEL "(unknown)"	  /* of a report about a payment that is not known */

/* One message from a channel. */
typedef struct Notification
{
	RowHeader header;
	text *channel;
	text *event_id;
	bytea *body;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	text *channel_status;
	text *channel_txn_id;
	int64 amount;
	text *currency;
	TimestampTz channel_time;
	text *code;
	text *message;
	text *reversal_kind; /* it was a record_reversal() */
	text *reversal_id;
	text *result;
	text *order_id;
	TimestampTz received_at;
	TimestampTz capture_before;
} Notification;

#define NOTIFICATION_COLUMNS(X)                                                          \
	X(NOTIFICATION_F_CHANNEL, Notification, channel, FIELD_TEXT)                         \
	X(NOTIFICATION_F_EVENT_ID, Notification, event_id, FIELD_TEXT)                       \
	X(NOTIFICATION_F_BODY, Notification, body, FIELD_BYTEA)                              \
	X(NOTIFICATION_F_PAYMENT_ID, Notification, payment_id, FIELD_UUID)                   \
	X(NOTIFICATION_F_REFUND_ID, Notification, refund_id, FIELD_UUID)                     \
	X(NOTIFICATION_F_CHANNEL_STATUS, Notification, channel_status, FIELD_TEXT)           \
	X(NOTIFICATION_F_CHANNEL_TXN_ID, Notification, channel_txn_id, FIELD_TEXT)           \
	X(NOTIFICATION_F_AMOUNT, Notification, amount, FIELD_AMOUNT)                         \
	X(NOTIFICATION_F_CURRENCY, Notification, currency, FIELD_TEXT)                       \
	X(NOTIFICATION_F_CHANNEL_TIME, Notification, channel_time, FIELD_TIME)               \
	X(NOTIFICATION_F_CODE, Notification, code, FIELD_TEXT)                               \
	X(NOTIFICATION_F_MESSAGE, Notification, message, FIELD_TEXT)                         \
	X(NOTIFICATION_F_REVERSAL_KIND, Notification, reversal_kind, FIELD_TEXT)             \
	X(NOTIFICATION_F_REVERSAL_ID, Notification, reversal_id, FIELD_TEXT)                 \
	X(NOTIFICATION_F_RESULT, Notification, result, FIELD_TEXT)                           \
	X(NOTIFICATION_F_ORDER_ID, Notification, order_id, FIELD_TEXT)                       \
	X(NOTIFICATION_F_RECEIVED_AT, Notification, received_at, FIELD_TIME)                 \
	X(NOTIFICATION_F_CAPTURE_BEFORE, Notification, capture_before, FIELD_TIME)

enum
{
	NOTIFICATION_COLUMNS(COLUMN_NUMBER) N_NOTIFICATION_FIELDS
};

enum
{
	NOTIFICATION_BY_EVENT,
	NOTIFICATION_UNMATCHED /* messages that wait for a channel's transaction */
};

extern void payguard_notification_keep(const text *channel, const text *order_id,
									   const pg_uuid_t *payment_id,
									   const pg_uuid_t *refund_id, const Report *report,
									   const char *result);
extern int payguard_notification_list_unmatched(const text *channel, const text *txn_id,
												Notification **waiting);
extern void payguard_notification_set_result(Notification *notification,
											 const Applied *applied);
extern void payguard_notification_resolve_unmatched(const Notification *notification);
extern void payguard_notification_alert_unmatched(const Notification *notification);
extern void payguard_notification_report(const Notification *notification,
										 Report *report);
extern text *payguard_notification_hash(const bytea *body);
extern const Table payguard_notifications;

#endif
