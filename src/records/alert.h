/*
 * alert.h
 *		Alerts on record: what a person must look at.
 */
#ifndef PAYGUARD_RECORDS_ALERT_H
#define PAYGUARD_RECORDS_ALERT_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "store/table.h"
#include "records/about.h"

/* One thing that a person must look at. */
typedef struct Alert
{
	RowHeader header;
	int64 alert_id;
	text *kind;
	text *severity;
	text *cause; /* the id of the payment, refund, task or message that it is about */
	text *order_id;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	int64 task_id;
	Jsonb *details;
	TimestampTz opened_at;
	TimestampTz acknowledged_at;
	text *acknowledged_by;
	text *acknowledged_note;
	TimestampTz resolved_at;
	text *resolved_by;
	text *note;
	TimestampTz notified_at; /* maintain() has sent its NOTIFY */
} Alert;

#define ALERT_COLUMNS(X)                                                                 \
	X(ALERT_F_ALERT_ID, Alert, alert_id, FIELD_ID, .sequence = "alerts_alert_id_seq")    \
	X(ALERT_F_KIND, Alert, kind, FIELD_TEXT)                                             \
	X(ALERT_F_SEVERITY, Alert, severity, FIELD_TEXT)                                     \
	X(ALERT_F_CAUSE, Alert, cause, FIELD_TEXT)                                           \
	X(ALERT_F_ORDER_ID, Alert, order_id, FIELD_TEXT)                                     \
	X(ALERT_F_PAYMENT_ID, Alert, payment_id, FIELD_UUID)                                 \
	X(ALERT_F_REFUND_ID, Alert, refund_id, FIELD_UUID)                                   \
	X(ALERT_F_TASK_ID, Alert, task_id, FIELD_ID)                                         \
	X(ALERT_F_DETAILS, Alert, details, FIELD_JSONB)                                      \
	X(ALERT_F_OPENED_AT, Alert, opened_at, FIELD_TIME)                                   \
	X(ALERT_F_ACKNOWLEDGED_AT, Alert, acknowledged_at, FIELD_TIME)                       \
	X(ALERT_F_ACKNOWLEDGED_BY, Alert, acknowledged_by, FIELD_TEXT)                       \
	X(ALERT_F_ACKNOWLEDGED_NOTE, Alert, acknowledged_note, FIELD_TEXT)                   \
	X(ALERT_F_RESOLVED_AT, Alert, resolved_at, FIELD_TIME)                               \
	X(ALERT_F_RESOLVED_BY, Alert, resolved_by, FIELD_TEXT)                               \
	X(ALERT_F_NOTE, Alert, note, FIELD_TEXT)                                             \
	X(ALERT_F_NOTIFIED_AT, Alert, notified_at, FIELD_TIME)

enum
{
	ALERT_COLUMNS(COLUMN_NUMBER) N_ALERT_FIELDS
};

enum
{
	ALERT_BY_ID,
	ALERT_OPEN
};

extern void payguard_alert_open(const char *kind, const char *severity, const text *cause,
								About about, Jsonb *details);
extern void payguard_alert_resolve(const char *kind, const text *cause, text *note);
extern void payguard_alert_end(Alert *alert, text *by, text *note);
extern const Table payguard_alerts;

#endif
