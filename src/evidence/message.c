/*
 * message.c
 *		Messages from channels: kept verbatim, applied once.
 *
 * A message is kept under (channel, event_id), so that its repetition is known. One that
 * matches nothing known is kept as "unmatched" with the arguments that came with it, and tried
 * again when it is redelivered, when its transaction becomes known, and by
 * match_notifications(). One that cannot be read is kept as "unreadable", until it is delivered again in a form
 * that can be.
 *
 * Locking: the order's row lock, then the message's row. match_notifications() leaves orders for later that
 * somebody is working on.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "rules/decide.h"
#include "base/argument.h"
#include "base/count.h"
#include "base/text.h"
#include "base/value.h"
#include "store/durable.h"
#include "store/each.h"
#include "store/open.h"
#include "store/plan.h"
#include "store/rows.h"
#include "store/table.h"
#include "store/write.h"
#include "records/alert.h"
#include "records/call.h"
#include "records/channel.h"
#include "records/notification.h"
#include "records/order.h"
#include "records/payment.h"
#include "records/refund.h"
#include "records/report.h"
#include "records/result.h"
#include "records/task.h"
#include "evidence/apply.h"
#include "evidence/message.h"
#include "evidence/reinstatement.h"
#include "evidence/returned.h"
#include "evidence/reversal.h"
#include "evidence/unreadable.h"

#define N_NOTIFICATION_RESULT_COLUMNS 7

/*
 * The messages that would match by now. So those that never will do not hold up the others.
 */
#define MATCHABLE(orders, payments, refunds)                                             \
	{                                                                                    \
		"result " OP_EQ " 'unmatched' AND ("                                             \
		"EXISTS (SELECT FROM payguard." refunds " r"                                     \
		" WHERE r.refund_id " OP_EQ " notifications.refund_id) "                         \
		"OR refund_id IS NULL AND EXISTS (SELECT FROM payguard." payments " p"           \
		" WHERE p.payment_id " OP_EQ " notifications.payment_id) "                       \
		"OR refund_id IS NULL AND payment_id IS NULL AND order_id IS NULL"               \
		" AND EXISTS (SELECT FROM payguard." payments " p"                               \
		" WHERE p.channel " OP_EQ " notifications.channel"                               \
		" AND p.channel_txn_id " OP_EQ " notifications.channel_txn_id"                   \
		" AND (p.status " OP_EQ " ANY ('{succeeded,surplus,returned}')"                  \
		" OR p.failure_code " OP_EQ " 'same_charge'"                                     \
		" OR notifications.reversal_kind IS NULL)) "                                     \
		"OR reversal_kind " OP_EQ " 'reinstatement'"                                     \
		" AND EXISTS (SELECT FROM payguard." refunds " r"                                \
		" WHERE r.channel " OP_EQ " notifications.channel"                               \
		" AND r.channel_refund_id " OP_EQ " notifications.reversal_id) "                 \
		"OR refund_id IS NULL AND payment_id IS NULL"                                    \
		" AND EXISTS (SELECT FROM payguard." orders " o"                                 \
		" WHERE o.order_id " OP_EQ " notifications.order_id)"                            \
		" AND EXISTS (SELECT FROM payguard.channels c"                                   \
		" WHERE c.name " OP_EQ " notifications.channel)) "                               \
		"ORDER BY received_at LIMIT $1",                                                 \
		{                                                                                \
			INT8OID, InvalidOid                                                          \
		}                                                                                \
	}
static const RowQuery matchable = MATCHABLE("orders", "payments", "refunds");
static const RowQuery matchable_with_archive =
	MATCHABLE("every_order", "every_payment", "every_refund");

static const Given record_notification_given[] = {
	{"channel", 't'},		 {"body", '-'},			  {"event_id", 't'},
	{"payment_id", 'u'},	 {"refund_id", 'u'},	  {"channel_status", 't'},
	{"channel_txn_id", 't'}, {"amount", 'i'},		  {"currency", 't'},
	{"channel_time", 'd'},	 {"capture_before", 'd'},
};

typedef struct Match
{
	bool of_refund; /* a report about a refund of ours; a reversal is about a payment */
	Order order;
	Payment payment;
	Refund refund;
} Match;

static bool match_waiting(Order *order, Payment *payment);
static bool waits_for(const Notification *notification, const Order *order,
					  const Payment *payment);
static bytea *bytes_of(const text *body);
static Datum record_notification(FunctionCallInfo fcinfo, bytea *body);
static void read_notification(FunctionCallInfo fcinfo, Unreadable *bad,
							  Notification *notification);
static Datum keep_unreadable(FunctionCallInfo fcinfo, const Unreadable *bad,
							 Notification *notification);
static Datum known_again(FunctionCallInfo fcinfo, Notification *known,
						 const Notification *again);
static Datum duplicate(FunctionCallInfo fcinfo, const Notification *notification);
static bool deliver_again(Notification *known, const Notification *again,
						  Applied *applied);
static bool wait_readable(Notification *known, const Notification *again);
static FieldSet learn(Notification *known, const Notification *again);
static FieldSet learn_anew(Notification *known, const Notification *again);
static void match_one(EachItem *item);
static bool try_again(Notification *notification, bool wait, Applied *applied);
static bool find_match(const Notification *notification, Match *match);
static text *order_of(const Match *match);
static bool still_matches(const Notification *notification, Match *match);
static void apply(Notification *notification, Match *match, Applied *applied);
static Datum notification_result(FunctionCallInfo fcinfo,
								 const Notification *notification, const char *result,
								 bool replayed, const char *message);

/*
 * payguard_notification_match applies the messages that waited for what a report has made known: a
 * payment's channel transaction, or that it has brought money. Whoever has applied a report calls
 * it, in the same transaction. The caller holds the order's lock.
 *
 * payment: what the report was made about, and as a rule what it was applied to.
 */
void
payguard_notification_match(Order *order, Payment *payment, const Applied *applied)
{
	Payment other;

	if (applied->now_known == NULL)
		return;
	if (!payguard_uuid_equal(applied->now_known, payment->payment_id))
	{
		payguard_store_refresh(); /* to see what this call has written */
		payguard_payment_must_be_there(applied->now_known, &other);
		payment = &other;
	}
	if (payment->channel_txn_id == NULL)
		return;
	while (match_waiting(order, payment))
		;
}

/*
 * match_waiting applies the messages that wait for a payment's transaction, the oldest first. true:
 * one of them has made known what others may wait for, older ones too.
 */
static bool
match_waiting(Order *order, Payment *payment)
{
	Notification *waiting;
	int n;

	payguard_store_refresh(); /* to see what this call has written */
	n = payguard_notification_list_unmatched(payment->channel, payment->channel_txn_id,
											 &waiting);
	for (int i = 0; i < n; i++)
	{
		Applied applied = {0};
		Report report;
		Refund refund;

		CHECK_FOR_INTERRUPTS();
		/*
		 * One of another order is not locked: whoever applies it may wait for the transaction, which we have. And it
		 * may just have been delivered again, with more than it told before.
		 */
		if (!waits_for(&waiting[i], order, payment) ||
			!payguard_store_lock(&payguard_notifications, NOTIFICATION_BY_EVENT,
								 &waiting[i], &waiting[i]) ||
			!waits_for(&waiting[i], order, payment))
			continue;
		waiting[i].payment_id = payment->payment_id;
		waiting[i].order_id = order->order_id;
		payguard_notification_set_result(&waiting[i], &applied);
		payguard_notification_resolve_unmatched(&waiting[i]);
		if (waiting[i].channel_status == NULL)
			continue;
		payguard_notification_report(&waiting[i], &report);
		payguard_store_refresh(); /* and what the one before has: it may be the same reversal */
		if (report.reversal_kind)
			payguard_refund_reverse(order, payment, &report, &refund, &applied);
		else
			payguard_evidence_apply(order, payment, &report, &applied);
		if (applied.contradicts)
			payguard_notification_set_result(&waiting[i], &applied);
		Assert(applied.now_known == NULL ||
			   payguard_uuid_equal(applied.now_known, payment->payment_id));
		if (applied.now_known)
			return true;
	}
	return false;
}

/*
 * waits_for tells whether a message waits for the transaction of a payment, and names nothing else. What a message
 * names does not change.
 */
static bool
waits_for(const Notification *notification, const Order *order, const Payment *payment)
{
	return payguard_text_is(notification->result, "unmatched") &&
		   notification->payment_id == NULL && notification->refund_id == NULL &&
		   (notification->order_id == NULL ||
			payguard_text_equal(notification->order_id, order->order_id)) &&
		   !payguard_text_is(notification->reversal_kind, REINSTATEMENT) &&
		   (notification->reversal_kind == NULL ||
			payguard_payment_was_received(payment));
}

PG_FUNCTION_INFO_V1(payguard_record_notification);

/*
 * record_notification(channel, body, event_id, payment_id, refund_id, channel_status,
 *					   channel_txn_id, amount, currency, channel_time, capture_before) → notification_result
 *
 * The scripts before 1.2.0 have no capture_before.
 * Errors: 22004 without a channel or a body. A message that cannot be read is kept and alerted. One that says
 * nothing of a state (channel_status NULL) makes the channel be queried.
 */
Datum
payguard_record_notification(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		payguard_arg_missing("body");
	return record_notification(fcinfo, PG_GETARG_BYTEA_PP(1));
}

PG_FUNCTION_INFO_V1(payguard_record_notification_1_2);

/*
 * record_notification(channel, body text, ...) is the same for a body that the caller has as a text,
 * which is kept as it was sent: quotes, backslashes and \u included.
 */
Datum
payguard_record_notification_1_2(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(1))
		payguard_arg_missing("body");
	return record_notification(fcinfo, bytes_of(PG_GETARG_TEXT_PP(1)));
}

/*
 * bytes_of returns the bytes of a body that came as a text: in UTF-8, whatever the database's encoding
 * is, so that a body is one event in both forms. A text that is \x and hex digits alone is bytes, as a
 * bytea literal is.
 */
static bytea *
bytes_of(const text *body)
{
	const char *string = payguard_str(body);
	size_t length = strlen(string);

	if (length % 2 == 0 && strncmp(string, "\\x", 2) == 0 &&
		strspn(string + 2, "0123456789abcdefABCDEF") == length - 2)
		return DatumGetByteaP(DirectFunctionCall1(byteain, CStringGetDatum(string)));
	return (bytea *) payguard_utf8(string);
}

static Datum
record_notification(FunctionCallInfo fcinfo, bytea *body)
{
	Notification notification = {.body = body};
	Unreadable bad = {0};
	Notification known;
	Match match;
	Applied applied = {0};
	bool matched;

	read_notification(fcinfo, &bad, &notification);
	payguard_evidence_begin("record_notification()");
	if (bad.name)
		return keep_unreadable(fcinfo, &bad, &notification);
	if (payguard_store_find(&payguard_notifications, NOTIFICATION_BY_EVENT, &notification,
							&known))
		return known_again(fcinfo, &known, &notification);

	matched = find_match(&notification, &match);
	if (matched)
	{
		/* the order's lock first: it is what the message's application needs */
		payguard_order_lock(order_of(&match), &match.order);
		payguard_store_refresh();
		matched = still_matches(&notification, &match);
	}
	if (matched)
	{
		notification.order_id = match.order.order_id;
		notification.result = payguard_text("applied");
	}
	if (!payguard_store_insert_new(&payguard_notifications, NOTIFICATION_BY_EVENT,
								   &notification))
	{
		payguard_call_end();
		return duplicate(fcinfo, &notification);
	}
	if (matched)
	{
		apply(&notification, &match, &applied);
		if (applied.contradicts)
			payguard_notification_set_result(&notification, &applied);
	}
	else
		payguard_notification_alert_unmatched(&notification);
	payguard_call_end();
	return notification_result(fcinfo, &notification, NULL,
							   matched && !applied.changed && !applied.contradicts,
							   applied.contradicts);
}

/*
 * read_notification reads the arguments. A message without an event_id that can be read has the SHA-256 of its body
 * for one.
 */
static void
read_notification(FunctionCallInfo fcinfo, Unreadable *bad, Notification *notification)
{
	ChannelStatus status;

	notification->channel = payguard_read_id(bad, ARG(0), "channel");
	notification->event_id = payguard_read_id_or_null(bad, ARG(2), "event_id");
	notification->payment_id = PG_ARGISNULL(3) ? NULL : PG_GETARG_UUID_P(3);
	notification->refund_id = PG_ARGISNULL(4) ? NULL : PG_GETARG_UUID_P(4);
	if (!PG_ARGISNULL(5))
	{
		status = payguard_read_channel_status(bad, ARG(5), "channel_status");
		if (status != CHANNEL_NONE)
			notification->channel_status =
				payguard_text(payguard_channel_status_name(status));
	}
	notification->channel_txn_id =
		payguard_read_id_or_null(bad, ARG(6), "channel_txn_id");
	notification->amount = payguard_read_amount_or_null(bad, ARG(7), "amount");
	notification->currency = payguard_read_currency_or_null(bad, ARG(8), "currency");
	notification->channel_time = payguard_read_time_or_null(bad, ARG(9), "channel_time");
	notification->capture_before =
		PG_NARGS() > 10 ? payguard_read_time_or_null(bad, ARG(10), "capture_before")
						: NO_TIME;
	if (notification->event_id == NULL)
		notification->event_id = payguard_notification_hash(notification->body);
	notification->result = payguard_text("unmatched");
	notification->received_at = GetCurrentTimestamp();
}

/*
 * keep_unreadable keeps a message that cannot be read: its body verbatim, and what was said of it as JSON in
 * message. Where it is known in a form that could be read, that one counts.
 */
static Datum
keep_unreadable(FunctionCallInfo fcinfo, const Unreadable *bad,
				Notification *notification)
{
	Notification known;
	Match match;
	bool again;

	if (notification->channel == NULL)
		notification->channel = payguard_text(UNKNOWN_CHANNEL);
	again = payguard_store_find(&payguard_notifications, NOTIFICATION_BY_EVENT,
								notification, &known);
	if (again && !payguard_text_is(known.result, "unreadable"))
	{
		payguard_store_make_durable(&known);
		payguard_call_end();
		return duplicate(fcinfo, &known);
	}
	if (find_match(notification, &match))
		notification->order_id = order_of(&match);
	payguard_unreadable_note(notification, bad, "record_notification");
	notification->message = payguard_text(psprintf(
		"%s\n%s", bad->problem,
		payguard_unreadable_json(
			"record_notification", record_notification_given,
			Min(PG_NARGS(), (int) lengthof(record_notification_given)), fcinfo->args)));
	notification->channel_status = notification->channel_txn_id = NULL;
	notification->amount = NO_AMOUNT;
	notification->currency = NULL;
	notification->channel_time = notification->capture_before = NO_TIME;
	again = again || !payguard_store_insert_new(&payguard_notifications,
												NOTIFICATION_BY_EVENT, notification);
	payguard_unreadable_alert(notification, bad);
	payguard_call_end();
	return notification_result(
		fcinfo, notification, NULL, again,
		payguard_unreadable_message(bad, "The message is kept for a person to look at."));
}

/*
 * known_again answers a message that is known.
 */
static Datum
known_again(FunctionCallInfo fcinfo, Notification *known, const Notification *again)
{
	Applied applied = {0};
	bool news = deliver_again(known, again, &applied);

	payguard_call_end();
	return news ? notification_result(fcinfo, known, NULL, false, applied.contradicts)
				: duplicate(fcinfo, known);
}

static Datum
duplicate(FunctionCallInfo fcinfo, const Notification *notification)
{
	return notification_result(fcinfo, notification, "duplicate", true,
							   "This message was received before.");
}

/*
 * deliver_again tries to apply a known message that was delivered again: one that waits for a match, with what it tells
 * now, or one that could not be read before. false: nothing was applied, and it is a duplicate.
 */
static bool
deliver_again(Notification *known, const Notification *again, Applied *applied)
{
	if (payguard_text_is(known->result, "unmatched"))
	{
		FieldSet learned = learn(known, again);

		if (try_again(known, true, applied))
			return true;
		if (learned != 0)
			payguard_store_update(&payguard_notifications, learned, known);
	}
	else if (payguard_text_is(known->result, "unreadable"))
	{
		learn_anew(known, again);
		if (try_again(known, true, applied) || wait_readable(known, again))
			return true;
	}
	payguard_store_make_durable(known);
	return false;
}

/*
 * wait_readable keeps a message that could not be read before, and can be now, as unmatched, since it matches nothing
 * yet. false: somebody else was faster.
 */
static bool
wait_readable(Notification *known, const Notification *again)
{
	Notification now;
	Order order;

	if (!payguard_store_lock(&payguard_notifications, NOTIFICATION_BY_EVENT, known, &now))
	{
		/* it has gone to the archive with the order that it named then */
		if (!payguard_store_find(&payguard_notifications, NOTIFICATION_BY_EVENT, known,
								 &now) ||
			!payguard_order_lock(now.order_id, &order))
			elog(ERROR, "payguard: message \"%s\" has vanished",
				 payguard_str(known->event_id));
		if (!payguard_store_lock(&payguard_notifications, NOTIFICATION_BY_EVENT, known,
								 &now))
			elog(ERROR, "payguard: message \"%s\" has vanished",
				 payguard_str(known->event_id));
	}
	*known = now;
	if (!payguard_text_is(known->result, "unreadable"))
		return false;
	payguard_store_update(&payguard_notifications, learn_anew(known, again), known);
	payguard_notification_alert_unmatched(known);
	return true;
}

/*
 * learn takes over what came with a message when it was delivered once more, and was missing
 * before: its reader may have learned to read it.
 */
static FieldSet
learn(Notification *known, const Notification *again)
{
	FieldSet learned = 0;

#define LEARN(field, missing, f)                                                         \
	if (known->field == missing && again->field != missing)                              \
	{                                                                                    \
		known->field = again->field;                                                     \
		learned |= FIELD(f);                                                             \
	}
	LEARN(payment_id, NULL, NOTIFICATION_F_PAYMENT_ID);
	LEARN(refund_id, NULL, NOTIFICATION_F_REFUND_ID);
	LEARN(channel_status, NULL, NOTIFICATION_F_CHANNEL_STATUS);
	LEARN(channel_txn_id, NULL, NOTIFICATION_F_CHANNEL_TXN_ID);
	LEARN(amount, NO_AMOUNT, NOTIFICATION_F_AMOUNT);
	LEARN(currency, NULL, NOTIFICATION_F_CURRENCY);
	LEARN(channel_time, NO_TIME, NOTIFICATION_F_CHANNEL_TIME);
	LEARN(capture_before, NO_TIME, NOTIFICATION_F_CAPTURE_BEFORE);
#undef LEARN
	return learned;
}

/*
 * learn_anew takes over all that a message says that could not be read before. From then on it is an unmatched one.
 */
static FieldSet
learn_anew(Notification *known, const Notification *again)
{
	known->payment_id = again->payment_id;
	known->refund_id = again->refund_id;
	known->channel_status = again->channel_status;
	known->channel_txn_id = again->channel_txn_id;
	known->amount = again->amount;
	known->currency = again->currency;
	known->channel_time = again->channel_time;
	known->capture_before = again->capture_before;
	known->code = known->message = known->order_id = NULL;
	known->result = payguard_text("unmatched");
	return FIELD(NOTIFICATION_F_PAYMENT_ID) | FIELD(NOTIFICATION_F_REFUND_ID) |
		   FIELD(NOTIFICATION_F_CHANNEL_STATUS) | FIELD(NOTIFICATION_F_CHANNEL_TXN_ID) |
		   FIELD(NOTIFICATION_F_AMOUNT) | FIELD(NOTIFICATION_F_CURRENCY) |
		   FIELD(NOTIFICATION_F_CHANNEL_TIME) | FIELD(NOTIFICATION_F_CAPTURE_BEFORE) |
		   FIELD(NOTIFICATION_F_CODE) | FIELD(NOTIFICATION_F_MESSAGE) |
		   FIELD(NOTIFICATION_F_ORDER_ID) | FIELD(NOTIFICATION_F_RESULT);
}

PG_FUNCTION_INFO_V1(payguard_match_notifications);

/*
 * match_notifications(max) → int: tries unmatched messages again, the oldest first; returns
 * how many matched. Errors: 22004, 22023.
 */
Datum
payguard_match_notifications(PG_FUNCTION_ARGS)
{
	Datum limit = Int64GetDatum(payguard_arg_max_rows(ARG(0), "max"));
	Notification *waiting;
	EachItem *items;
	int matched;
	int n;

	payguard_evidence_begin("match_notifications()");
	n = payguard_store_list(&payguard_notifications,
							payguard_store_is_empty(&payguard_archived_orders)
								? &matchable
								: &matchable_with_archive,
							&limit, (void **) &waiting);
	items = palloc(sizeof(EachItem) * Max(n, 1));
	for (int i = 0; i < n; i++)
		items[i] = (EachItem){.id = waiting[i].event_id, .row = &waiting[i]};
	matched = payguard_each("message", items, n, match_one);
	payguard_call_end();
	PG_RETURN_INT32(matched);
}

static void
match_one(EachItem *item)
{
	Notification notification = *(const Notification *) item->row;
	Applied applied;

	item->done = try_again(&notification, false, &applied);
}

/*
 * try_again matches a message that is kept as unmatched, or as unreadable and can be read now; false: it still
 * matches nothing, or somebody else was faster. One that does not wait leaves orders alone that somebody is
 * working on: it may lock many of them.
 */
static bool
try_again(Notification *notification, bool wait, Applied *applied)
{
	Order like;
	Match match;
	Channel channel;
	Order order;
	Payment payment;
	Report report;
	Notification wanted = *notification;
	FieldSet learned;
	/* a record_payment(): it names its order, whoever has its transaction */
	bool of_order =
		notification->order_id && !notification->payment_id && !notification->refund_id;

	*applied = (Applied){0};
	if (of_order)
	{
		if (!payguard_channel_find(notification->channel, &channel))
			return false;
		like.order_id = notification->order_id;
	}
	else if (find_match(notification, &match))
		like.order_id = order_of(&match);
	else
		return false;
	if (wait ? !payguard_order_lock(like.order_id, &order)
			 : !payguard_order_lock_free(like.order_id, &order))
		return false;
	payguard_store_refresh();
	if (!payguard_store_lock(&payguard_notifications, NOTIFICATION_BY_EVENT, notification,
							 notification))
		return false;
	if (payguard_text_is(notification->result, "unreadable"))
		learned = learn_anew(notification, &wanted);
	else if (payguard_text_is(notification->result, "unmatched"))
		learned = learn(notification, &wanted);
	else
		return false;
	if (learned != 0)
		payguard_store_update(&payguard_notifications, learned, notification);
	match.order = order;
	if (!of_order && !still_matches(notification, &match))
		return false;
	notification->order_id = order.order_id;
	payguard_notification_set_result(notification, applied);
	if (of_order)
	{
		/* it was a record_payment(), and the order has come since */
		payguard_notification_report(notification, &report);
		payguard_record_apply(&order, &channel, &report, &payment, applied);
		payguard_notification_match(&order, &payment, applied);
		notification->payment_id = payment.payment_id;
	}
	else
		apply(notification, &match, applied);
	payguard_notification_set_result(notification, applied);
	payguard_notification_resolve_unmatched(notification);
	return true;
}

/*
 * find_match looks for what a message is about: a refund, a payment, or a transaction.
 */
static bool
find_match(const Notification *notification, Match *match)
{
	Refund refund_like = {.refund_id = notification->refund_id};
	Payment txn_like = {.channel = notification->channel,
						.channel_txn_id = notification->channel_txn_id};

	Refund reversal_like = {.channel = notification->channel,
							.channel_refund_id = notification->reversal_id};

	match->of_refund = true;
	if (payguard_text_is(notification->reversal_kind, REINSTATEMENT))
		return payguard_store_find(&payguard_refunds, REFUND_BY_CHANNEL_REFUND,
								   &reversal_like, &match->refund);
	match->of_refund = notification->refund_id != NULL;
	if (match->of_refund)
		return payguard_store_find(&payguard_refunds, REFUND_BY_ID, &refund_like,
								   &match->refund);
	if (notification->payment_id)
		return payguard_payment_find(notification->payment_id, &match->payment);
	if (notification->reversal_kind)
		return payguard_refund_find_reversed(
			notification->channel, notification->channel_txn_id, &match->payment);
	return notification->channel_txn_id &&
		   payguard_store_find(&payguard_payments, PAYMENT_BY_CHANNEL_TXN, &txn_like,
							   &match->payment);
}

static text *
order_of(const Match *match)
{
	return match->of_refund ? match->refund.order_id : match->payment.order_id;
}

/*
 * still_matches looks again for what a message is about, after its order was locked: the
 * transaction may belong to another order's payment by now. false: the message waits to be matched
 * later. What was found is read anew: in REPEATABLE READ and SERIALIZABLE a change since the snapshot
 * raises 40001.
 */
static bool
still_matches(const Notification *notification, Match *match)
{
	if (!find_match(notification, match) ||
		!payguard_text_equal(order_of(match), match->order.order_id))
		return false;
	if (match->of_refund)
		payguard_refund_must_be_there(match->refund.refund_id, &match->refund);
	else
		payguard_payment_must_be_there(match->payment.payment_id, &match->payment);
	return true;
}

/*
 * apply applies a message to what it is about, whose order is locked.
 */
static void
apply(Notification *notification, Match *match, Applied *applied)
{
	Report report;
	const text *of = match->of_refund ? match->refund.channel : match->payment.channel;

	*applied = (Applied){0};
	if (!payguard_text_equal(of, notification->channel) &&
		!payguard_text_is(notification->channel, UNKNOWN_CHANNEL))
	{
		payguard_alert_open("contradiction", "critical", notification->event_id,
							match->of_refund ? payguard_refund_about(&match->refund)
											 : payguard_payment_about(&match->payment),
							NULL);
		applied->contradicts =
			"The message comes from another channel than the payment's.";
		return;
	}
	if (notification->channel_status == NULL)
	{
		/* something has changed, and the channel leaves it to us to ask what */
		if (match->of_refund)
			payguard_task_schedule("query_refund", payguard_refund_about(&match->refund),
								   match->refund.channel, GetCurrentTimestamp());
		else
			payguard_task_schedule("query", payguard_payment_about(&match->payment),
								   match->payment.channel, GetCurrentTimestamp());
		applied->changed = true;
		return;
	}
	payguard_notification_report(notification, &report);
	if (payguard_text_is(report.reversal_kind, REINSTATEMENT))
	{
		payguard_payment_must_be_there(match->refund.payment_id, &match->payment);
		payguard_reinstate(&match->order, &match->payment, &report, &match->refund,
						   applied);
	}
	else if (match->of_refund)
		payguard_refund_report(&match->order, &report, &match->refund, applied);
	else if (report.reversal_kind)
		payguard_refund_reverse(&match->order, &match->payment, &report, &match->refund,
								applied);
	else
	{
		payguard_evidence_apply(&match->order, &match->payment, &report, applied);
		payguard_notification_match(&match->order, &match->payment, applied);
	}
	notification->payment_id =
		match->of_refund ? match->refund.payment_id : match->payment.payment_id;
}

static Datum
notification_result(FunctionCallInfo fcinfo, const Notification *notification,
					const char *result, bool replayed, const char *message)
{
	Datum values[N_NOTIFICATION_RESULT_COLUMNS] = {0};
	bool nulls[N_NOTIFICATION_RESULT_COLUMNS] = {false};
	const char *what = result ? result : payguard_str(notification->result);
	Payment payment;
	const char *state = "recorded";
	const char *about = "The message matches nothing that is known; it is kept.";
	int i = 0;

	payguard_store_begin(STORE_WRITE);
	if (notification->payment_id && strcmp(what, "contradicting") != 0 &&
		strcmp(what, "unmatched") != 0 && strcmp(what, "unreadable") != 0 &&
		payguard_payment_find(notification->payment_id, &payment))
		state = payguard_payment_outcome(&payment, &about);
	payguard_store_end(STORE_WRITE);

	if (replayed)
		payguard_count_replay();
	values[i++] = CStringGetTextDatum(what);
	values[i++] = CStringGetTextDatum(state);
	nulls[i] = notification->order_id == NULL;
	values[i++] = PointerGetDatum(notification->order_id);
	nulls[i] = notification->payment_id == NULL;
	values[i++] = UUIDPGetDatum(notification->payment_id);
	nulls[i] = notification->refund_id == NULL;
	values[i++] = UUIDPGetDatum(notification->refund_id);
	values[i++] = BoolGetDatum(replayed);
	values[i++] = CStringGetTextDatum(message ? message : about);
	Assert(i == N_NOTIFICATION_RESULT_COLUMNS);
	return HeapTupleGetDatum(
		heap_form_tuple(payguard_result_desc(fcinfo), values, nulls));
}
