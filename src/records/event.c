/*
 * event.c
 *		The history: one row for each change, written in the transaction of the change.
 *
 * event_id comes from a sequence (CACHE 1) while the order's row is locked, so that the events
 * of one order ascend in the order of its versions.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/text.h"
#include "base/value.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/actor.h"
#include "records/assert.h"
#include "records/event.h"

static const Field event_fields[] = {
	EVENT_COLUMNS(COLUMN_FIELD)[EVENT_F_XID] = {"xid", FIELD_XID, 0, NULL, NULL},
};

static const Key event_keys[] = {
	[EVENT_BY_ID] = {.fields = {EVENT_F_EVENT_ID, -1}, .index = "pkey"},
};
static const Table archived_events =
	TABLE("archived_events", Event, event_fields, event_keys);
const Table payguard_events =
	ARCHIVED_TABLE("events", Event, event_fields, event_keys, archived_events);

/* How an order came to be: made here, or imported. */
static const RowQuery first = {
	"order_id " OP_EQ " $1 AND kind " OP_EQ " ANY "
	"('{order.created,order.imported}'::pg_catalog.text[]) ORDER BY event_id LIMIT 1",
	{TEXTOID, InvalidOid}};

/*
 * payguard_event_first_of reads the event that an order began with, also that of an archived one.
 */
void
payguard_event_first_of(const text *order_id, Event *event)
{
	Datum id = PointerGetDatum(order_id);
	Event *events;

	if (payguard_store_list(&payguard_events, &first, &id, (void **) &events) == 0 &&
		(payguard_store_is_empty(payguard_events.archive) ||
		 payguard_store_list(payguard_events.archive, &first, &id, (void **) &events) ==
			 0))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("order \"%s\" has no first event", payguard_str(order_id)),
						errhint("Run payguard.verify().")));
	*event = events[0];
}

/*
 * payguard_event_write records one change. version: the order's new one, where the change is one of
 * the order; otherwise NO_ID. A transaction has its xid before its first event_id (consumer.c relies
 * on it).
 */
void
payguard_event_write(const char *kind, About about, const char *from_status,
					 const char *to_status, int64 version, Jsonb *details)
{
	Event event = {
		.order_id = about.order_id,
		.payment_id = about.payment_id,
		.refund_id = about.refund_id,
		.kind = payguard_text(kind),
		.from_status = from_status ? payguard_text(from_status) : NULL,
		.to_status = to_status ? payguard_text(to_status) : NULL,
		.version = version,
		.actor = payguard_actor(),
		.at = GetCurrentTimestamp(),
		.details = details,
	};

	/* versions and event ids rise together only while nobody else can change the order */
	Assert(version == NO_ID || payguard_order_is_locked(about.order_id));
	GetTopTransactionId();
	payguard_store_insert(&payguard_events, &event);
}
