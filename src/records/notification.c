/*
 * notification.c
 *		Messages on record: what a channel sent, and what became of it.
 *
 * A report that came by a call and could not be applied is kept as a message too, made of its arguments.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "rules/machine.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/alert.h"
#include "records/notification.h"
#include "records/payment.h"
#include "records/report.h"

static const Field notification_fields[] = {NOTIFICATION_COLUMNS(COLUMN_FIELD)};

static const Key notification_keys[] = {
	[NOTIFICATION_BY_EVENT] = {.fields = {NOTIFICATION_F_CHANNEL, NOTIFICATION_F_EVENT_ID,
										  -1},
							   .index = "pkey",
							   .archived = true},
	[NOTIFICATION_UNMATCHED] = {.fields = {NOTIFICATION_F_CHANNEL,
										   NOTIFICATION_F_CHANNEL_TXN_ID, -1},
								.index = "unmatched",
								.partial = true,
								.shared = true},
};
static const Table archived_notifications =
	TABLE("archived_notifications", Notification, notification_fields, notification_keys);
const Table payguard_notifications =
	ARCHIVED_TABLE("notifications", Notification, notification_fields, notification_keys,
				   archived_notifications);

static const RowQuery unmatched_of_txn = {
	"channel " OP_EQ " $1 AND channel_txn_id " OP_EQ " $2 "
	"AND result " OP_EQ " 'unmatched' ORDER BY received_at",
	{TEXTOID, TEXTOID, InvalidOid}};

static void fill_notification(Notification *notification, const Report *report);
static bytea *body_of_report(const text *order_id, const pg_uuid_t *payment_id,
							 const pg_uuid_t *refund_id, const Report *report);

/*
 * payguard_notification_keep keeps a report that was made by a call and could not be applied,
 * its arguments as JSON in the body. result: "unmatched" (alerted here) or "contradicting"
 * (alerted by the caller).
 */
void
payguard_notification_keep(const text *channel, const text *order_id,
						   const pg_uuid_t *payment_id, const pg_uuid_t *refund_id,
						   const Report *report, const char *result)
{
	Notification notification = {
		.channel = channel ? unconstify(text *, channel) : payguard_text(UNKNOWN_CHANNEL),
		.order_id = unconstify(text *, order_id),
		.payment_id = unconstify(pg_uuid_t *, payment_id),
		.refund_id = unconstify(pg_uuid_t *, refund_id),
		.body = body_of_report(order_id, payment_id, refund_id, report),
		.result = payguard_text(result),
		.received_at = GetCurrentTimestamp(),
	};

	notification.event_id = payguard_notification_hash(notification.body);
	fill_notification(&notification, report);
	payguard_store_insert_new(&payguard_notifications, NOTIFICATION_BY_EVENT,
							  &notification);
	if (strcmp(result, "unmatched") == 0)
		payguard_notification_alert_unmatched(&notification);
}

/*
 * payguard_notification_list_unmatched lists the messages that wait for a channel's transaction, or for a
 * reversal of its, the oldest first.
 */
int
payguard_notification_list_unmatched(const text *channel, const text *txn_id,
									 Notification **waiting)
{
	Datum values[2] = {PointerGetDatum(channel), PointerGetDatum(txn_id)};
	Notification like = {.channel = unconstify(text *, channel),
						 .channel_txn_id = unconstify(text *, txn_id)};

	if (!payguard_store_may_have(&payguard_notifications, NOTIFICATION_UNMATCHED, &like))
		return 0;
	return payguard_store_list(&payguard_notifications, &unmatched_of_txn, values,
							   (void **) waiting);
}

/*
 * payguard_notification_set_result notes what was done with a message that is kept.
 */
void
payguard_notification_set_result(Notification *notification, const Applied *applied)
{
	notification->result =
		payguard_text(applied->contradicts ? "contradicting" : "applied");
	payguard_store_update(&payguard_notifications,
						  FIELD(NOTIFICATION_F_RESULT) | FIELD(NOTIFICATION_F_ORDER_ID) |
							  FIELD(NOTIFICATION_F_PAYMENT_ID),
						  notification);
}

/*
 * payguard_notification_resolve_unmatched closes the alert of a message that has been matched.
 */
void
payguard_notification_resolve_unmatched(const Notification *notification)
{
	payguard_alert_resolve("unmatched_notification", notification->event_id,
						   payguard_text("It has been matched."));
}

/*
 * payguard_notification_alert_unmatched opens an alert: a message matches nothing that is known.
 */
void
payguard_notification_alert_unmatched(const Notification *notification)
{
	payguard_alert_open(
		"unmatched_notification", "warning", notification->event_id, ABOUT_NOTHING,
		payguard_json("channel", 't', notification->channel, "event_id", 't',
					  notification->event_id, "order_id", 't', notification->order_id,
					  "payment_id", 'u', notification->payment_id, "refund_id", 'u',
					  notification->refund_id, NULL));
}

static void
fill_notification(Notification *notification, const Report *report)
{
	notification->channel_status =
		payguard_text(payguard_channel_status_name(report->status));
	notification->channel_txn_id =
		report->reversal_kind ? report->reversal_of : report->txn_id;
	notification->reversal_kind = report->reversal_kind;
	notification->reversal_id = report->reversal_kind ? report->txn_id : NULL;
	notification->amount = report->amount;
	notification->currency = report->currency;
	notification->channel_time = report->channel_time;
	notification->capture_before =
		report->status == CHANNEL_AUTHORIZED ? report->capture_before : NO_TIME;
	notification->code = report->code;
	notification->message = report->message;
}

/*
 * payguard_notification_report makes a report of what a message said when it came.
 */
void
payguard_notification_report(const Notification *notification, Report *report)
{
	*report = (Report){
		.status = payguard_channel_status(payguard_str(notification->channel_status)),
		.txn_id = notification->reversal_kind ? notification->reversal_id
											  : notification->channel_txn_id,
		.reversal_kind = notification->reversal_kind,
		.reversal_of = notification->reversal_kind ? notification->channel_txn_id : NULL,
		.amount = notification->amount,
		.currency = notification->currency,
		.code = notification->code,
		.message = notification->message,
		.channel_time = notification->channel_time,
		.capture_before = notification->capture_before,
	};
}

/*
 * payguard_notification_hash returns the SHA-256 of a body, in hex: the id of a message that has none.
 * Nothing but memory can be missing for it, which PostgreSQL's sha256() would call an internal error.
 */
text *
payguard_notification_hash(const bytea *body)
{
	uint8 hash[PG_SHA256_DIGEST_LENGTH];
	char hex[2 * PG_SHA256_DIGEST_LENGTH + 1];
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (const uint8 *) VARDATA_ANY(body),
							 VARSIZE_ANY_EXHDR(body)) < 0 ||
		pg_cryptohash_final(context, hash, sizeof(hash)) < 0)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory"),
						errdetail("The SHA-256 of a message could not be made.")));
	pg_cryptohash_free(context);
	hex_encode((const char *) hash, sizeof(hash), hex);
	hex[2 * PG_SHA256_DIGEST_LENGTH] = '\0';
	return payguard_text(hex);
}

static bytea *
body_of_report(const text *order_id, const pg_uuid_t *payment_id,
			   const pg_uuid_t *refund_id, const Report *report)
{
	Jsonb *json = payguard_json(
		"order_id", 't', order_id, "payment_id", 'u', payment_id, "refund_id", 'u',
		refund_id, "channel_status", 's', payguard_channel_status_name(report->status),
		"channel_txn_id", 't', report->txn_id, "amount", 'i', report->amount, "currency",
		't', report->currency, "code", 't', report->code, "message", 't', report->message,
		"channel_time", 'd', report->channel_time, "note", 't', report->note,
		"reversal_kind", 't', report->reversal_kind, "reversal_of", 't',
		report->reversal_of, NULL);

	return (bytea *) payguard_text(JsonbToCString(NULL, &json->root, VARSIZE(json)));
}
