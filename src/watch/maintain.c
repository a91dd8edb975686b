/*
 * maintain.c
 *		The duties of maintain() that write: alerts, totals, samples, what is forgotten.
 *
 * Each is one statement, or a few, on many rows. What one call does is bounded, and what it costs
 * depends on what is due: attempts that are open too long are found by the tasks that each open
 * attempt has, whose index is in order of payment_id, which is in order of time.
 *
 * Locking: alerts and positions only, and those of others are skipped; no order.
 *
 * The functions pin search_path (78_maintain.sql), so operators need not be qualified here.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"

#include "base/argument.h"
#include "base/text.h"
#include "store/each.h"
#include "store/plan.h"
#include "records/call.h"
#include "watch/consumer.h"

#define TOTALS_CONSUMER                                                                  \
	"payguard.totals"		/* counts the events, as any consumer reads them */
#define EVENTS_PER_UNIT 200 /* of max: counting one is cheap */
#define EVENTS_AT_ONCE 10000

/* An open alert's cause is gone, and maintain() resolves it. $1: how many at most. */
#define CLOSE(kind, gone, why)                                                           \
	{                                                                                    \
		"WITH gone AS MATERIALIZED (SELECT a.alert_id FROM payguard.alerts a"            \
		" WHERE a.kind = '" kind "' AND a.resolved_at IS NULL AND " gone                 \
		" ORDER BY a.cause LIMIT $1 FOR UPDATE OF a SKIP LOCKED)"                        \
		" UPDATE ONLY payguard.alerts SET resolved_at = clock_timestamp(),"              \
		" resolved_by = 'maintain', note = '" why "'"                                    \
		" WHERE alert_id = ANY (ARRAY(SELECT alert_id FROM gone)) RETURNING 1",          \
			{INT8OID, InvalidOid}, "alerts", CMD_UPDATE                                  \
	}

/* A cause is there, and an alert is opened where none is open. $1: how many at most. */
#define RAISE(kind, columns, values, from)                                               \
	{                                                                                    \
		"INSERT INTO payguard.alerts (kind, opened_at, cause, severity, details" columns \
		") SELECT '" kind "', clock_timestamp(), " values " FROM " from                  \
		" ORDER BY 3 LIMIT $1"                                                           \
		" ON CONFLICT (kind, cause) WHERE resolved_at IS NULL DO NOTHING RETURNING 1",   \
			{INT8OID, InvalidOid}, NULL, CMD_UNKNOWN                                     \
	}

#define NOT_YET(kind, cause)                                                             \
	"NOT EXISTS (SELECT FROM payguard.alerts a WHERE a.kind = '" kind                    \
	"' AND a.cause = " cause " AND a.resolved_at IS NULL)"

#define OPEN_PAYMENT "('{pending,processing,capturing,unknown,closing,superseded}')"
#define SHORTEST_PATIENCE                                                                \
	"payguard.first_id_at(clock_timestamp()"                                             \
	" - (SELECT min(c.alert_after) FROM payguard.channels c))"

/* Also what seems to be of the future, made while the clock was ahead: its time would never come. */
#define IS_OLD(id)                                                                       \
	"(" id " < " SHORTEST_PATIENCE " OR " id                                             \
	" > payguard.first_id_at(clock_timestamp() + interval '1 day'))"
#define HAS_WAITED(row)                                                                  \
	"(" row ".created_at + c.alert_after <= clock_timestamp()"                           \
	" OR " row ".created_at > clock_timestamp() + interval '1 day')"

/*
 * What the channel is processing takes longer; a capture waits since it was asked for, which its id tells. The scripts
 * before 1.2.0 have no columns for that.
 */
#define PAYMENT_HAS_WAITED                                                               \
	"(" HAS_WAITED("p") " AND (p.status <> 'processing' OR p.created_at + COALESCE("     \
						"(to_jsonb(c) ->> 'processing_alert_after')::interval,"          \
						" c.alert_after) <= clock_timestamp())"                          \
						" AND (p.status <> 'capturing' OR"                               \
						" (to_jsonb(p) ->> 'capture_id')::uuid"                          \
						" < payguard.first_id_at(clock_timestamp() - c.alert_after)))"

static const Statement raise_payment = RAISE(
	"payment_open_too_long", ", order_id, payment_id",
	"p.payment_id::text, CASE WHEN p.status IN ('pending', 'processing') THEN 'warning'"
	" ELSE 'critical' END,"
	" jsonb_build_object('channel', p.channel, 'status', p.status,"
	" 'since', p.created_at), p.order_id, p.payment_id",
	"(SELECT DISTINCT t.payment_id FROM payguard.tasks t"
	"  WHERE t.refund_id IS NULL AND " IS_OLD(
		"t.payment_id") ") t"
						" JOIN payguard.payments p ON p.payment_id = t.payment_id"
						" JOIN payguard.channels c ON c.name = p.channel"
						" WHERE p.status = ANY " OPEN_PAYMENT " AND " PAYMENT_HAS_WAITED
						" AND " NOT_YET("payment_open_too_long", "p.payment_id::text"));

/* An attempt that was pending has become worse: whoever was told is told again. */
static const Statement escalate_payment = {
	"WITH worse AS MATERIALIZED (SELECT a.alert_id, p.status FROM payguard.alerts a"
	" JOIN payguard.payments p ON p.payment_id = a.payment_id"
	" WHERE a.kind = 'payment_open_too_long' AND a.resolved_at IS NULL"
	" AND a.severity = 'warning' AND p.status IN ('unknown', 'closing', 'superseded')"
	" ORDER BY a.cause LIMIT $1 FOR UPDATE OF a SKIP LOCKED)"
	" UPDATE ONLY payguard.alerts a SET severity = 'critical', notified_at = NULL,"
	" details = a.details || jsonb_build_object('became', w.status)"
	" FROM worse w WHERE a.alert_id = w.alert_id RETURNING 1",
	{INT8OID, InvalidOid},
	"alerts",
	CMD_UPDATE};

/* Until when reserved money can be taken. The scripts before 1.2.0 have no column for that. */
#define CAPTURE_BEFORE "(to_jsonb(p) ->> 'capture_before')::timestamptz"
#define IS_RESERVED "p.status IN ('authorized', 'capturing')"

static const Statement raise_expiring = RAISE(
	"authorization_expiring", ", order_id, payment_id",
	"p.payment_id::text, CASE WHEN " CAPTURE_BEFORE " > clock_timestamp() THEN 'warning'"
	" ELSE 'critical' END,"
	" jsonb_build_object('channel', p.channel, 'status', p.status,"
	" 'capture_before', " CAPTURE_BEFORE "), p.order_id, p.payment_id",
	"(SELECT DISTINCT t.payment_id FROM payguard.tasks t"
	"  WHERE t.refund_id IS NULL AND " IS_OLD(
		"t.payment_id") ") t"
						" JOIN payguard.payments p ON p.payment_id = t.payment_id"
						" WHERE " IS_RESERVED " AND " CAPTURE_BEFORE
						" <= clock_timestamp() + interval '1 day'"
						" AND " NOT_YET("authorization_expiring", "p.payment_id::text"));

static const Statement escalate_expiring = {
	"WITH over AS MATERIALIZED (SELECT a.alert_id FROM payguard.alerts a"
	" JOIN payguard.payments p ON p.payment_id = a.payment_id"
	" WHERE a.kind = 'authorization_expiring' AND a.resolved_at IS NULL"
	" AND a.severity = 'warning' AND " IS_RESERVED " AND " CAPTURE_BEFORE
	" <= clock_timestamp()"
	" ORDER BY a.cause LIMIT $1 FOR UPDATE OF a SKIP LOCKED)"
	" UPDATE ONLY payguard.alerts a SET severity = 'critical', notified_at = NULL"
	" FROM over o WHERE a.alert_id = o.alert_id RETURNING 1",
	{INT8OID, InvalidOid},
	"alerts",
	CMD_UPDATE};

static const Statement raise_refund =
	RAISE("refund_not_made", ", order_id, payment_id, refund_id",
		  "r.refund_id::text, 'warning',"
		  " jsonb_build_object('channel', r.channel, 'status', r.status,"
		  " 'since', r.created_at), r.order_id, r.payment_id, r.refund_id",
		  "(SELECT DISTINCT t.refund_id FROM payguard.tasks t"
		  "  WHERE t.refund_id IS NOT NULL AND " IS_OLD(
			  "t.refund_id") ") t"
							 " JOIN payguard.refunds r ON r.refund_id = t.refund_id"
							 " JOIN payguard.channels c ON c.name = r.channel"
							 " WHERE r.status IN ('pending', 'unknown')"
							 " AND " HAS_WAITED("r") " AND " NOT_YET(
								 "refund_not_made", "r.refund_id::text"));

static const Statement raise_dead_task =
	RAISE("dead_task", ", order_id, payment_id, refund_id, task_id",
		  "t.task_id::text, 'critical',"
		  " jsonb_build_object('kind', t.kind, 'error', t.last_error),"
		  " t.order_id, t.payment_id, t.refund_id, t.task_id",
		  "payguard.tasks t WHERE t.dead_at IS NOT NULL"
		  " AND " NOT_YET("dead_task", "t.task_id::text"));

static const Statement raise_success_rate =
	RAISE("success_rate_low", "",
		  "r.channel, 'critical', jsonb_build_object('success_rate', r.success_rate,"
		  " 'baseline', r.baseline, 'ended', r.ended)",
		  "payguard.low_success_rates() r");

static const Statement raise_consumer_lag =
	RAISE("consumer_lag", "",
		  "l.consumer, 'warning', jsonb_build_object('events', l.events,"
		  " 'seconds', round(extract(epoch FROM l.age)))",
		  "payguard.consumer_lags() l WHERE l.age > '15 min'");

static const Statement raise_prepared = RAISE(
	"prepared_transaction", "",
	"x.database || '/' || x.gid, 'warning',"
	" jsonb_build_object('database', x.database, 'gid', x.gid, 'prepared', x.prepared)",
	"pg_prepared_xacts x WHERE x.prepared < clock_timestamp() - interval '15 min'");

static const Statement raise_maintenance =
	RAISE("maintenance_failed", "",
		  "m.duty, 'critical', jsonb_build_object('duty', m.duty, 'problem', m.problem)",
		  "payguard.maintenance m WHERE m.problem IS NOT NULL");

static const Statement *const raising[] = {
	&escalate_payment, &raise_payment,	   &escalate_expiring,	&raise_expiring,
	&raise_refund,	   &raise_dead_task,   &raise_success_rate, &raise_consumer_lag,
	&raise_prepared,   &raise_maintenance,
};

static const Statement close_payment =
	CLOSE("payment_open_too_long",
		  "NOT EXISTS (SELECT FROM payguard.payments p WHERE p.payment_id = a.payment_id"
		  " AND p.status = ANY " OPEN_PAYMENT ")",
		  "The payment has ended.");

/* Prolonged, or ended. */
static const Statement close_expiring =
	CLOSE("authorization_expiring",
		  "NOT EXISTS (SELECT FROM payguard.payments p WHERE p.payment_id = a.payment_id"
		  " AND " IS_RESERVED " AND " CAPTURE_BEFORE
		  " <= clock_timestamp() + interval '1 day')",
		  "The money is taken or given up, or reserved for longer.");

static const Statement close_refund =
	CLOSE("refund_not_made",
		  "NOT EXISTS (SELECT FROM payguard.refunds r WHERE r.refund_id = a.refund_id"
		  " AND r.status IN ('pending', 'unknown'))",
		  "The refund has ended.");

static const Statement close_refund_failed =
	CLOSE("refund_failed",
		  "NOT EXISTS (SELECT FROM payguard.refunds r WHERE r.refund_id = a.refund_id"
		  " AND r.status = 'failed')",
		  "The refund is no longer failed.");

#define MONEY_IS_GONE                                                                    \
	"NOT EXISTS (SELECT FROM payguard.payments p WHERE p.payment_id = a.payment_id"      \
	" AND p.status = 'surplus' AND p.received_amount > (SELECT"                          \
	"  COALESCE(sum(CASE r.status WHEN 'succeeded' THEN r.returned_amount"               \
	"   WHEN 'waived' THEN r.amount END), 0)"                                            \
	"  FROM payguard.refunds r WHERE r.payment_id = p.payment_id))"

static const Statement close_surplus =
	CLOSE("surplus_payment", MONEY_IS_GONE,
		  "The money has gone back, or somebody decided about it.");

/* Its refund is made only after a person has found out that it was a second charge. */
static const Statement close_second_charge =
	CLOSE("second_charge", MONEY_IS_GONE,
		  "The money has gone back, or somebody decided about it.");

/* What an order did not need of the payment that paid it. */
static const Statement close_overpaid =
	CLOSE("overpaid",
		  "NOT EXISTS (SELECT FROM payguard.refunds r WHERE r.payment_id = a.payment_id"
		  " AND r.origin = 'surplus'"
		  " AND r.status IN ('awaiting_approval', 'pending', 'unknown', 'failed'))",
		  "The excess has gone back, or somebody decided about it.");

static const Statement close_alive =
	CLOSE("attempt_alive",
		  "NOT EXISTS (SELECT FROM payguard.tasks t WHERE t.payment_id = a.payment_id"
		  " AND t.refund_id IS NULL)",
		  "The channel has ended it, or taken its money.");

static const Statement close_duplicate =
	CLOSE("suspected_duplicate",
		  "NOT EXISTS (SELECT FROM payguard.payments p"
		  " JOIN payguard.orders o ON o.order_id = p.order_id"
		  " WHERE p.payment_id = a.payment_id AND p.status <> 'failed'"
		  " AND o.status <> 'refunded')",
		  "The payment failed, or its order is refunded.");

static const Statement close_dead_task =
	CLOSE("dead_task",
		  "NOT EXISTS (SELECT FROM payguard.tasks t WHERE t.task_id = a.task_id"
		  " AND t.dead_at IS NOT NULL)",
		  "The task is due again, or has ended.");

static const Statement close_success_rate = CLOSE(
	"success_rate_low",
	"NOT EXISTS (SELECT FROM payguard.low_success_rates() r WHERE r.channel = a.cause)",
	"The rate is no longer low.");

static const Statement close_consumer_lag =
	CLOSE("consumer_lag",
		  "NOT EXISTS (SELECT FROM payguard.consumer_lags() l"
		  " WHERE l.consumer = a.cause AND l.age > '15 min')",
		  "The consumer has caught up, or is dropped.");

static const Statement close_prepared =
	CLOSE("prepared_transaction",
		  "NOT EXISTS (SELECT FROM pg_prepared_xacts x"
		  " WHERE x.database || '/' || x.gid = a.cause)",
		  "The transaction has ended.");

static const Statement close_maintenance =
	CLOSE("maintenance_failed",
		  "NOT EXISTS (SELECT FROM payguard.maintenance m"
		  " WHERE m.duty = a.cause AND m.problem IS NOT NULL)",
		  "The duty was done.");

static const Statement *const closing[] = {
	&close_payment,		  &close_refund,	&close_refund_failed, &close_surplus,
	&close_second_charge, &close_duplicate, &close_dead_task,	  &close_success_rate,
	&close_consumer_lag,  &close_prepared,	&close_maintenance,	  &close_overpaid,
	&close_alive,		  &close_expiring,
};

/* Any role may LISTEN, so a NOTIFY says no more than that and what to look up. */
static const Statement notify_alerts = {
	"WITH new AS MATERIALIZED (SELECT a.alert_id, a.kind, a.severity, a.resolved_at"
	" FROM payguard.alerts a WHERE a.notified_at IS NULL ORDER BY a.alert_id LIMIT $1"
	" FOR UPDATE OF a SKIP LOCKED),"
	" told AS MATERIALIZED (SELECT alert_id,"
	"  pg_notify('payguard_alerts', jsonb_build_object("
	"   'alert_id', alert_id, 'kind', kind, 'severity', severity)::text)"
	"  FROM new WHERE resolved_at IS NULL)"
	" UPDATE ONLY payguard.alerts SET notified_at = clock_timestamp()"
	" WHERE alert_id = ANY (ARRAY(SELECT alert_id FROM new))"
	" AND (SELECT count(*) FROM told) >= 0 RETURNING 1",
	{INT8OID, InvalidOid},
	"alerts",
	CMD_UPDATE};

static const Statement newest_event = {
	"SELECT coalesce(pg_catalog.max(event_id), 0) FROM ONLY payguard.events",
	{InvalidOid},
	NULL,
	CMD_UNKNOWN};

/*
 * A payment's states are counted as it enters them. What pay_order() paid never was anything
 * else, and its order's event is all there is. An attempt that is revived was begun before.
 */
static const Statement add_totals = {
	"WITH e AS MATERIALIZED (SELECT * FROM payguard.events WHERE event_id = ANY ($1)),"
	" entered (subject, channel, currency, status, at) AS ("
	"  SELECT 'events', '', '', e.kind, e.at FROM e"
	"  UNION ALL SELECT 'orders', '', '', e.to_status, e.at FROM e"
	"   WHERE e.version IS NOT NULL AND e.from_status IS DISTINCT FROM e.to_status"
	"    AND e.kind <> 'order.imported'"
	"  UNION ALL SELECT 'payments', p.channel, p.currency,"
	"    CASE e.kind WHEN 'order.paying' THEN 'started'"
	"     WHEN 'order.paid' THEN 'succeeded'"
	"    ELSE e.to_status END, e.at"
	"   FROM e JOIN payguard.payments p ON p.payment_id = e.payment_id"
	"   WHERE e.refund_id IS NULL AND (e.kind = 'order.paying' AND e.version = "
	"p.order_version"
	"    OR e.kind = 'order.paid' AND p.request_kind = 'pay'"
	"    OR e.kind LIKE 'payment.%' AND e.kind <> 'payment.revoked'"
	"       AND e.from_status IS DISTINCT FROM e.to_status)"
	"  UNION ALL SELECT 'surplus', p.channel, p.currency, e.details ->> 'because', e.at"
	"   FROM e JOIN payguard.payments p ON p.payment_id = e.payment_id"
	"   WHERE e.kind = 'payment.surplus' AND e.details ->> 'because' IS NOT NULL"
	"  UNION ALL SELECT 'refunds', r.channel, r.currency, e.to_status, e.at"
	"   FROM e JOIN payguard.refunds r ON r.refund_id = e.refund_id"
	"   WHERE e.kind LIKE 'refund.%' AND e.from_status IS DISTINCT FROM e.to_status)"
	" INSERT INTO payguard.totals AS t (bucket, subject, channel, currency, status, n)"
	" SELECT b.bucket, n.subject, n.channel, n.currency, n.status, count(*)"
	" FROM entered n"
	" CROSS JOIN LATERAL (VALUES ('-infinity'), (payguard.bucket_of(n.at))) b (bucket)"
	" GROUP BY 1, 2, 3, 4, 5"
	" ON CONFLICT (bucket, subject, channel, currency, status)"
	" DO UPDATE SET n = t.n + excluded.n",
	{INT8ARRAYOID, InvalidOid},
	"totals",
	CMD_UPDATE};

static const Statement sample = {
	"INSERT INTO payguard.counter_samples (sampled_at, counter, reason, value, since)"
	" SELECT payguard.bucket_of(clock_timestamp()), c.counter, COALESCE(c.reason, ''),"
	" c.value, c.since FROM payguard.read_counters() c"
	" ON CONFLICT DO NOTHING RETURNING 1",
	{INT8OID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement forget_samples = {
	"WITH old AS MATERIALIZED (SELECT s.sampled_at, s.counter, s.reason"
	" FROM payguard.counter_samples s"
	" WHERE s.sampled_at < clock_timestamp() - interval '35 days'"
	" ORDER BY 1, 2, 3 LIMIT $1 FOR UPDATE SKIP LOCKED)"
	" DELETE FROM ONLY payguard.counter_samples s USING old"
	" WHERE (s.sampled_at, s.counter, s.reason)"
	" = (old.sampled_at, old.counter, old.reason) RETURNING 1",
	{INT8OID, InvalidOid},
	"counter_samples",
	CMD_DELETE};

static const Statement forget_totals = {
	"WITH old AS MATERIALIZED ("
	" SELECT t.bucket, t.subject, t.channel, t.currency, t.status"
	" FROM payguard.totals t WHERE t.bucket > '-infinity'"
	" AND t.bucket < clock_timestamp() - interval '35 days'"
	" ORDER BY 1, 2, 3, 4, 5 LIMIT $1 FOR UPDATE SKIP LOCKED)"
	" DELETE FROM ONLY payguard.totals t USING old"
	" WHERE (t.bucket, t.subject, t.channel, t.currency, t.status)"
	" = (old.bucket, old.subject, old.channel, old.currency, old.status) RETURNING 1",
	{INT8OID, InvalidOid},
	"totals",
	CMD_DELETE};

/* They were claimed in about the order of their ids: the first ones are looked at. */
static const Statement forget_tasks = {
	"WITH old AS MATERIALIZED (SELECT f.task_id FROM (SELECT task_id, finished_at"
	"  FROM payguard.finished_tasks ORDER BY task_id LIMIT $1) f"
	" WHERE f.finished_at < clock_timestamp() - interval '7 days')"
	" DELETE FROM ONLY payguard.finished_tasks"
	" WHERE task_id = ANY (ARRAY(SELECT task_id FROM old)) RETURNING 1",
	{INT8OID, InvalidOid},
	"finished_tasks",
	CMD_DELETE};

static const Statement *const forgetting[] = {&forget_samples, &forget_totals,
											  &forget_tasks};

static const Statement add_duty = {
	"INSERT INTO payguard.maintenance (duty, ran_at) VALUES ($1, clock_timestamp())"
	" ON CONFLICT DO NOTHING",
	{TEXTOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement update_duty = {
	"WITH free AS MATERIALIZED (SELECT duty FROM payguard.maintenance WHERE duty = $1"
	" FOR UPDATE SKIP LOCKED)"
	" UPDATE ONLY payguard.maintenance SET problem = $2,"
	" ran_at = CASE WHEN $2 IS NULL THEN clock_timestamp() ELSE ran_at END"
	" WHERE duty = (SELECT duty FROM free)",
	{TEXTOID, TEXTOID, InvalidOid},
	"maintenance",
	CMD_UPDATE};

static int64 execute_all(const Statement *const *statements, int n, Datum value);
static int64 execute_one(const Statement *statement, Datum value);
static int64 count_until(int64 most, int64 newest);
static int64 count_window(int max, int64 *last);

PG_FUNCTION_INFO_V1(payguard_raise_alerts);

/*
 * raise_alerts(max) → bigint: opens alerts for what is due, at most max of each kind; returns
 * how many. Errors: 22004, 22023.
 */
Datum
payguard_raise_alerts(PG_FUNCTION_ARGS)
{
	int max = payguard_arg_max(ARG(0), "max");
	int64 done;

	payguard_request_begin("raise_alerts()");
	done = execute_all(raising, lengthof(raising), Int64GetDatum(max));
	payguard_call_end();
	PG_RETURN_INT64(done);
}

PG_FUNCTION_INFO_V1(payguard_close_alerts);

/*
 * close_alerts(max) → bigint: resolves alerts whose cause is gone, at most max of each kind;
 * returns how many. Errors: 22004, 22023.
 */
Datum
payguard_close_alerts(PG_FUNCTION_ARGS)
{
	int max = payguard_arg_max(ARG(0), "max");
	int64 done;

	payguard_request_begin("close_alerts()");
	done = execute_all(closing, lengthof(closing), Int64GetDatum(max));
	payguard_call_end();
	PG_RETURN_INT64(done);
}

PG_FUNCTION_INFO_V1(payguard_notify_alerts);

/*
 * notify_alerts(max) → bigint: sends NOTIFY payguard_alerts for the alerts of which nobody was
 * told; returns how many. Errors: 22004, 22023.
 */
Datum
payguard_notify_alerts(PG_FUNCTION_ARGS)
{
	int max = payguard_arg_max(ARG(0), "max");
	int64 done;

	payguard_request_begin("notify_alerts()");
	done = execute_one(&notify_alerts, Int64GetDatum(max));
	payguard_call_end();
	PG_RETURN_INT64(done);
}

PG_FUNCTION_INFO_V1(payguard_sample_counters);

/*
 * sample_counters(max) → bigint: writes the counters down, once in five minutes; returns how
 * many rows. Errors: 22004, 22023.
 */
Datum
payguard_sample_counters(PG_FUNCTION_ARGS)
{
	int max = payguard_arg_max(ARG(0), "max");
	int64 done;

	payguard_request_begin("sample_counters()");
	done = execute_one(&sample, Int64GetDatum(max));
	payguard_call_end();
	PG_RETURN_INT64(done);
}

PG_FUNCTION_INFO_V1(payguard_forget_old);

/*
 * forget_old(max) → bigint: removes samples, buckets of totals and notes of finished tasks that
 * are old, at most max of each; returns how many. Errors: 22004, 22023.
 */
Datum
payguard_forget_old(PG_FUNCTION_ARGS)
{
	int max = payguard_arg_max(ARG(0), "max");
	int64 done;

	payguard_request_begin("forget_old()");
	done = execute_all(forgetting, lengthof(forgetting), Int64GetDatum(max));
	payguard_call_end();
	PG_RETURN_INT64(done);
}

static int64
execute_all(const Statement *const *statements, int n, Datum value)
{
	int64 done = 0;

	for (int i = 0; i < n; i++)
		done += execute_one(statements[i], value);
	return done;
}

static int64
execute_one(const Statement *statement, Datum value)
{
	return payguard_store_execute(statement, &value, NULL);
}

PG_FUNCTION_INFO_V1(payguard_count_events);

/*
 * count_events(max) → bigint: adds new events to the totals, each once; returns how many. Where
 * another call is at it, nothing is done. It ends when it has come to what was written after it
 * began: otherwise it would go on for as long as somebody writes. Errors: 22004, 22023.
 */
Datum
payguard_count_events(PG_FUNCTION_ARGS)
{
	int64 most = (int64) payguard_arg_max(ARG(0), "max") * EVENTS_PER_UNIT;
	int64 done = 0;

	payguard_request_begin("count_events()");
	if (payguard_consumer_is_free(payguard_text(TOTALS_CONSUMER)))
	{
		bool isnull;

		payguard_store_execute(&newest_event, NULL, NULL);
		done = count_until(most, DatumGetInt64(payguard_store_result(0, 0, &isnull)));
	}
	payguard_call_end();
	PG_RETURN_INT64(done);
}

/*
 * count_until counts the events of one window after another, most of them at most, until one window
 * ends with an event that is newer than `newest`, or nothing is left.
 */
static int64
count_until(int64 most, int64 newest)
{
	int64 done = 0;

	while (done < most)
	{
		int max = (int) Min(most - done, EVENTS_AT_ONCE);
		int64 last = 0;
		int64 n = count_window(max, &last);

		CHECK_FOR_INTERRUPTS();
		done += n;
		if (n == 0 || (n < max && last > newest))
			break;
	}
	return done;
}

/*
 * count_window counts the next events; they end where their window does. last: the last of them.
 */
static int64
count_window(int max, int64 *last)
{
	text *consumer = payguard_text(TOTALS_CONSUMER);
	Datum *ids;
	Datum array;
	int n = payguard_consumer_read(consumer, max, &ids);

	if (n == 0)
		return 0;
	array = PointerGetDatum(construct_array(ids, n, INT8OID, sizeof(int64),
											FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	payguard_store_execute(&add_totals, &array, NULL);
	*last = DatumGetInt64(ids[n - 1]);
	payguard_consumer_move(consumer, *last);
	return n;
}

PG_FUNCTION_INFO_V1(payguard_note_duty);

/*
 * note_duty(duty, problem): what became of one of maintain()'s duties; problem: NULL where it
 * was done.
 */
Datum
payguard_note_duty(PG_FUNCTION_ARGS)
{
	Datum values[2] = {PointerGetDatum(payguard_arg_id(ARG(0), "duty")), (Datum) 0};
	char nulls[] = {' ', 'n'};
	const char *left = payguard_each_left();
	const char *problem = PG_ARGISNULL(1) ? left : payguard_str(PG_GETARG_TEXT_PP(1));

	if (problem)
	{
		values[1] = PointerGetDatum(payguard_clean_text(problem));
		nulls[1] = ' ';
	}
	payguard_request_begin("note_duty()");
	payguard_store_execute(&add_duty, values, NULL);
	payguard_store_execute(&update_duty, values, nulls);
	payguard_call_end();
	PG_RETURN_VOID();
}
