/*
 * unreadable.c
 *		Evidence that cannot be read is kept, and a person is told.
 *
 * A value that is malformed is no reason to refuse what a channel says: money may have moved. The call is kept
 * as a message, as it came, with result "unreadable"; its column code says which argument of which function could
 * not be read, its column message why. Nothing is applied. One alert is opened per channel, function and argument:
 * a mapping that is wrong is wrong for each message.
 *
 * Locking: none. No order is touched.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "base/argument.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/table.h"
#include "store/write.h"
#include "records/about.h"
#include "records/alert.h"
#include "records/notification.h"
#include "evidence/unreadable.h"

#define LONGEST_KEPT (1024 * 1024) /* bytes of one text argument */

static const char *value_as_json(char type, Datum value);
static const char *text_as_json(Datum value);

/*
 * payguard_unreadable_json writes down a call as it came: a JSON object of the function's name and the arguments
 * that are not NULL. A text that is longer than 1 MB is cut; bytes that are no text become \xNN.
 */
const char *
payguard_unreadable_json(const char *function, const Given *given, int n,
						 const NullableDatum *args)
{
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoString(&json, "{\"function\": ");
	escape_json(&json, function);
	for (int i = 0; i < n; i++)
	{
		if (args[i].isnull || given[i].type == '-')
			continue;
		appendStringInfoString(&json, ", ");
		escape_json(&json, given[i].name);
		appendStringInfoString(&json, ": ");
		appendStringInfoString(&json, value_as_json(given[i].type, args[i].value));
	}
	appendStringInfoChar(&json, '}');
	return json.data;
}

static const char *
value_as_json(char type, Datum value)
{
	StringInfoData json;

	switch (type)
	{
		case 't':
			return text_as_json(value);
		case 'i':
			return psprintf(INT64_FORMAT, DatumGetInt64(value));
		case 'u':
			return psprintf("\"%s\"", payguard_uuid_str(DatumGetUUIDP(value)));
		case 'd':
			initStringInfo(&json);
			escape_json(&json,
						DatumGetCString(DirectFunctionCall1(timestamptz_out, value)));
			return json.data;
		default:
			elog(ERROR, "payguard: no JSON is made of type %c", type);
	}
}

static const char *
text_as_json(Datum value)
{
	text *part = DatumGetTextPSlice(value, 0, LONGEST_KEPT);
	StringInfoData json;

	initStringInfo(&json);
	escape_json(&json, payguard_str(payguard_clean_text(payguard_str(part))));
	return json.data;
}

/*
 * payguard_unreadable_keep keeps a call as a message, under the SHA-256 of what it said, and opens the alert.
 * Returns a sentence for whoever called.
 *
 * json: as payguard_unreadable_json() wrote it. channel: NULL where it is not known. about: what the call is about,
 * as far as that is known.
 */
const char *
payguard_unreadable_keep(const Unreadable *bad, const char *function, const char *json,
						 const text *channel, About about)
{
	Notification notification = {
		.channel = channel ? unconstify(text *, channel) : payguard_text(UNKNOWN_CHANNEL),
		.body = (bytea *) payguard_utf8(json),
		.order_id = about.order_id,
		.payment_id = about.payment_id,
		.refund_id = about.refund_id,
		.amount = NO_AMOUNT,
		.channel_time = NO_TIME,
		.capture_before = NO_TIME,
		.received_at = GetCurrentTimestamp(),
	};

	notification.event_id = payguard_notification_hash(notification.body);
	payguard_unreadable_note(&notification, bad, function);
	payguard_store_insert_new(&payguard_notifications, NOTIFICATION_BY_EVENT,
							  &notification);
	payguard_unreadable_alert(&notification, bad);
	return payguard_unreadable_message(bad, "The call is kept for a person to look at.");
}

/*
 * payguard_unreadable_note notes in a message that it cannot be read, and why.
 */
void
payguard_unreadable_note(Notification *notification, const Unreadable *bad,
						 const char *function)
{
	notification->result = payguard_text("unreadable");
	notification->code = payguard_text(psprintf("%s(%s)", function, bad->name));
	notification->message = payguard_text(bad->problem);
}

/*
 * payguard_unreadable_alert opens the alert about a message that cannot be read.
 */
void
payguard_unreadable_alert(const Notification *notification, const Unreadable *bad)
{
	payguard_alert_open(
		"unreadable_evidence", "critical",
		payguard_text(psprintf("%s %s", payguard_str(notification->channel),
							   payguard_str(notification->code))),
		ABOUT_NOTHING,
		payguard_json("channel", 't', notification->channel, "code", 't',
					  notification->code, "argument", 's', bad->name, "problem", 's',
					  bad->problem, "event_id", 't', notification->event_id, NULL));
}

/*
 * payguard_unreadable_message says which argument cannot be read, and why. kept: what was done, a sentence.
 */
const char *
payguard_unreadable_message(const Unreadable *bad, const char *kept)
{
	return psprintf("%s cannot be read: %s %s", bad->name, bad->problem, kept);
}
