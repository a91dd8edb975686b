/*
 * event.h
 *		Events on record: one for each change.
 */
#ifndef PAYGUARD_RECORDS_EVENT_H
#define PAYGUARD_RECORDS_EVENT_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#include "store/table.h"
#include "records/about.h"

/* One change, append-only. */
typedef struct Event
{
	RowHeader header;
	int64 event_id;
	text *order_id;
	pg_uuid_t *payment_id;
	pg_uuid_t *refund_id;
	text *kind;
	text *from_status;
	text *to_status;
	int64 version;
	text *actor;
	TimestampTz at;
	Jsonb *details;
} Event;

#define EVENT_COLUMNS(X)                                                                 \
	X(EVENT_F_EVENT_ID, Event, event_id, FIELD_ID, .sequence = "events_event_id_seq")    \
	X(EVENT_F_ORDER_ID, Event, order_id, FIELD_TEXT)                                     \
	X(EVENT_F_PAYMENT_ID, Event, payment_id, FIELD_UUID)                                 \
	X(EVENT_F_REFUND_ID, Event, refund_id, FIELD_UUID)                                   \
	X(EVENT_F_KIND, Event, kind, FIELD_TEXT)                                             \
	X(EVENT_F_FROM_STATUS, Event, from_status, FIELD_TEXT)                               \
	X(EVENT_F_TO_STATUS, Event, to_status, FIELD_TEXT)                                   \
	X(EVENT_F_VERSION, Event, version, FIELD_ID)                                         \
	X(EVENT_F_ACTOR, Event, actor, FIELD_TEXT)                                           \
	X(EVENT_F_AT, Event, at, FIELD_TIME)                                                 \
	X(EVENT_F_DETAILS, Event, details, FIELD_JSONB)

enum
{
	EVENT_COLUMNS(COLUMN_NUMBER) EVENT_F_XID,
	N_EVENT_FIELDS
};

enum
{
	EVENT_BY_ID
};

extern void payguard_event_write(const char *kind, About about, const char *from_status,
								 const char *to_status, int64 version, Jsonb *details);
extern void payguard_event_first_of(const text *order_id, Event *event);
extern const Table payguard_events;

#endif
