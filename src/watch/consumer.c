/*
 * consumer.c
 *		Readers of the events: each gets every event at least once, none is left out, and those
 *		of one order come in the order of its versions.
 *
 * Neither event_id nor xid says in which order transactions commit: one may take an event_id and
 * commit long after others with later ids. So a reader gets windows, as in PgQ. A window lies
 * between two moments. A moment is
 *
 *	high_event: the last event that could be seen,
 *	open_xids: the transactions that had begun and not ended,
 *
 * A window has the events that are seen at its end and were not seen at its beginning. These are
 * the events after the former high_event, except those of open transactions; and earlier events of
 * transactions that were open at the beginning and have ended since (late_xids). Late events come
 * first; both parts come by event_id.
 *
 * Why that keeps versions in order: a transaction that makes an order's version 3 has waited for
 * the order's row, so version 2 is committed before version 3 has an event_id. A moment that sees
 * version 3 sees version 2. A transaction that stays open, or prepared, holds back its own events
 * only.
 *
 * A transaction that begins after some moment takes event_ids after that moment's high_event. That
 * is the transaction's floor: its late events are looked for from there.
 *
 * After a restore into another cluster the table has xids of both clusters. The reader's position
 * holds the system identifier of its cluster. If that is another one than ours, the reader's window
 * was opened in the former cluster, and all its events are of that cluster's transactions. The
 * window is read to its end as it would have been there. Then a window of late events follows: the
 * transactions that were open at the former's end have ended, committed before the dump or lost.
 * From then on xids are taken for those of this cluster. An unread event of the former cluster may
 * by chance have the xid of a transaction that is open now; it waits for the end of that one.
 *
 * Locking: the consumer's row; orders are not locked.
 */
#include "postgres.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "nodes/execnodes.h"
#include "utils/datum.h"
#include "utils/xid8.h"

#include "base/argument.h"
#include "base/text.h"
#include "store/durable.h"
#include "store/plan.h"
#include "records/call.h"
#include "watch/consumer.h"

#define OWN_CONSUMERS "payguard."
#define FAR_ON                                                                           \
	"1000000" /* windows, more than a former cluster has given since its dump */
#define EVENT_COLUMNS                                                                    \
	"e.event_id, e.at, e.order_id, e.payment_id, e.refund_id, e.kind, e.from_status,"    \
	" e.to_status, e.version, e.actor, e.details"

/* A consumer's row, as far as reading needs it. */
typedef struct Position
{
	int64 window_id;
	int64 low_event;
	int64 high_event;
	int64 last_event;
	Datum late_xids;
	Datum open_xids;
} Position;

/* Events that are read: rows of a function's result, or their ids alone. */
typedef struct Events
{
	ReturnSetInfo *rsinfo;
	Datum *ids;
	int n;
} Events;

static const Statement add_consumer = {
	"INSERT INTO payguard.consumers (consumer, window_id, low_event, high_event, "
	"last_event,"
	" late_xids, open_xids, open_floors, system_identifier, opened_at)"
	" VALUES ($1, 0, 0, 0, 0, '{}', '{}', '{}', $2, pg_catalog.clock_timestamp())"
	" ON CONFLICT (consumer) DO NOTHING",
	{TEXTOID, INT8OID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

/* It begins after an event that is older than all transactions that are open. */
static const Statement begin_consumer = {
	"INSERT INTO payguard.consumers (consumer, window_id, low_event, high_event, "
	"last_event,"
	" late_xids, open_xids, open_floors, system_identifier, opened_at)"
	" SELECT $1, 0, f.event, f.event, f.event, '{}', '{}', '{}', $2,"
	"  pg_catalog.clock_timestamp()"
	" FROM (SELECT COALESCE((SELECT e.event_id FROM payguard.events e WHERE e.at " OP_LT
	"  ((SELECT pg_catalog.min(a.xact_start) FROM pg_catalog.pg_stat_activity "
	"a) " OP_MINUS " '1 min'::pg_catalog.interval)"
	"  AND NOT EXISTS (SELECT FROM pg_catalog.pg_prepared_xacts)"
	"  ORDER BY e.event_id DESC LIMIT 1), 0)) f (event)"
	" ON CONFLICT (consumer) DO NOTHING",
	{TEXTOID, INT8OID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement consumer_is_free = {
	"SELECT FROM payguard.consumers WHERE consumer " OP_EQ " $1 FOR UPDATE SKIP LOCKED",
	{TEXTOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement consumer_has_begun = {
	"SELECT FROM payguard.consumers WHERE consumer " OP_EQ " $1",
	{TEXTOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement lock_consumer = {
	"SELECT window_id, low_event, high_event, last_event, late_xids, open_xids,"
	" system_identifier " OP_EQ " $2 FROM payguard.consumers"
	" WHERE consumer " OP_EQ " $1 FOR UPDATE",
	{TEXTOID, INT8OID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement last_visible_event = {
	"SELECT e.event_id FROM payguard.events e WHERE e.xid " OP_NE " $1"
	" ORDER BY e.event_id DESC LIMIT 1",
	{XID8OID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

/*
 * $1 consumer, $2 high_event, $3 the first xid that no transaction had when high_event was
 * read, $4 our own xid. A transaction is open if our snapshot, which is younger, does not show it
 * as ended. Our own transaction counts as open, too, if it has written events.
 */
static const Statement open_window = {
	"WITH c AS (SELECT * FROM payguard.consumers WHERE consumer " OP_EQ " $1),"
	" s (snapshot) AS (SELECT pg_catalog.pg_current_snapshot()),"
	" o (xid) AS ("
	"  SELECT x FROM s, pg_catalog.pg_snapshot_xip(s.snapshot) x WHERE x " OP_LT " $3"
	"  UNION SELECT g::pg_catalog.text::pg_catalog.xid8"
	"   FROM s, pg_catalog.generate_series("
	"   pg_catalog.pg_snapshot_xmax(s.snapshot)::pg_catalog.text::pg_catalog.int8,"
	"   $3::pg_catalog.text::pg_catalog.int8 " OP_MINUS " 1) g"
	"   WHERE g::pg_catalog.text::pg_catalog.xid8 " OP_NE " $4"
	"  UNION SELECT $4 FROM c WHERE $4 " OP_EQ " ANY (c.open_xids) OR EXISTS ("
	"   SELECT FROM payguard.events e"
	"   WHERE e.event_id " OP_GT " c.high_event AND e.xid " OP_EQ " $4)),"
	" was (xid, floor) AS (SELECT w.xid, w.floor FROM c,"
	"  ROWS FROM (pg_catalog.unnest(c.open_xids), pg_catalog.unnest(c.open_floors))"
	"   w (xid, floor)),"
	" late (xids, floor) AS ("
	"  SELECT COALESCE(pg_catalog.array_agg(was.xid), '{}'), pg_catalog.min(was.floor)"
	"  FROM was WHERE NOT EXISTS (SELECT FROM o WHERE o.xid " OP_EQ " was.xid)),"
	" still (xids, floors) AS ("
	"  SELECT COALESCE(pg_catalog.array_agg(o.xid), '{}'),"
	"   COALESCE(pg_catalog.array_agg(COALESCE(was.floor, c.high_event)), '{}')"
	"  FROM c CROSS JOIN o LEFT JOIN was ON was.xid " OP_EQ " o.xid)"
	" UPDATE ONLY payguard.consumers u SET window_id = u.window_id " OP_PLUS " 1,"
	"  low_event = u.high_event, high_event = GREATEST(u.high_event, $2),"
	"  last_event = LEAST(u.high_event, late.floor), late_xids = late.xids,"
	"  open_xids = still.xids, open_floors = still.floors,"
	"  opened_at = pg_catalog.clock_timestamp()"
	" FROM late, still WHERE u.consumer " OP_EQ " $1"
	"  AND ($2 " OP_GT " u.high_event OR late.floor IS NOT NULL)"
	" RETURNING u.window_id, u.low_event, u.high_event, u.last_event, u.late_xids, "
	"u.open_xids",
	{TEXTOID, INT8OID, XID8OID, XID8OID, InvalidOid},
	"consumers",
	CMD_UPDATE};

/*
 * $1 consumer, $2 system identifier. The new window gets a number that the former cluster cannot
 * have given, so that a commit_events() that was meant for a window there changes nothing.
 */
static const Statement leave_cluster = {
	"UPDATE ONLY payguard.consumers c SET system_identifier = $2,"
	" window_id = c.window_id " OP_PLUS " " FAR_ON ", low_event = c.high_event,"
	" last_event = LEAST(c.high_event, ("
	"  SELECT pg_catalog.min(f) FROM pg_catalog.unnest(c.open_floors) f)),"
	" late_xids = c.open_xids, open_xids = '{}', open_floors = '{}',"
	" opened_at = pg_catalog.clock_timestamp() WHERE c.consumer " OP_EQ " $1"
	" RETURNING c.window_id, c.low_event, c.high_event, c.last_event, c.late_xids, "
	"c.open_xids",
	{TEXTOID, INT8OID, InvalidOid},
	"consumers",
	CMD_UPDATE};

/* $1 window_id, $2 behind which event, $3 up to which, $4 of these transactions, $5 how many */
static const Statement late_events = {
	"SELECT $1, " EVENT_COLUMNS " FROM payguard.events e"
	" WHERE e.event_id " OP_GT " $2 AND e.event_id " OP_LE " $3"
	" AND e.xid " OP_EQ " ANY ($4) ORDER BY e.event_id LIMIT $5",
	{INT8OID, INT8OID, INT8OID, XID8ARRAYOID, INT8OID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

/* $4: not of these transactions */
static const Statement events_between = {
	"SELECT $1, " EVENT_COLUMNS " FROM payguard.events e"
	" WHERE e.event_id " OP_GT " $2 AND e.event_id " OP_LE " $3"
	" AND e.xid " OP_NE " ALL ($4) ORDER BY e.event_id LIMIT $5",
	{INT8OID, INT8OID, INT8OID, XID8ARRAYOID, INT8OID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement move_consumer = {
	"UPDATE ONLY payguard.consumers SET last_event = $2,"
	" committed_at = pg_catalog.clock_timestamp() WHERE consumer " OP_EQ " $1",
	{TEXTOID, INT8OID, InvalidOid},
	"consumers",
	CMD_UPDATE};

static const Statement delete_consumer = {
	"DELETE FROM ONLY payguard.consumers WHERE consumer " OP_EQ " $1 RETURNING 1",
	{TEXTOID, InvalidOid},
	"consumers",
	CMD_DELETE};

static text *consumer_argument(Datum value, bool isnull);
static void read_next(const text *consumer, int max, Events *events);
static bool lock_position(const text *consumer, Position *position, bool *same_cluster);
static void read_position(Position *position);
static bool open_next(const text *consumer, Position *position);
static void read_window(const Position *position, int max, Events *events);
static void add_events(const Statement *statement, const Position *position, int64 after,
					   int64 upto, Datum xids, int max, Events *events);

PG_FUNCTION_INFO_V1(payguard_read_events);

/*
 * read_events(consumer, max := 1000) → SETOF (window_id, event)
 *
 * The next events for a consumer: the same ones until commit_events() says that it is done with
 * them. The first call registers the consumer, which begins with the oldest event there is.
 * Errors: 22004, 22023.
 */
Datum
payguard_read_events(PG_FUNCTION_ARGS)
{
	text *consumer = consumer_argument(ARG(0));
	int max = payguard_arg_max_rows(ARG(1), "max");
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Events events = {.rsinfo = rsinfo};

	InitMaterializedSRF(fcinfo, 0);
	payguard_request_begin("read_events()");
	read_next(consumer, max, &events);
	/* what a reader does about an event must not outlive it; the position was locked later */
	if (events.n > 0)
		payguard_store_make_all_durable();
	payguard_call_end();
	return (Datum) 0;
}

/*
 * payguard_consumer_begin registers a consumer of our own that begins with what happens from now on, and with what was
 * written shortly before. One that is there already stays where it is. The store is open.
 *
 * An event that is not committed yet has a time after the beginning of its transaction. Its id is taken from a sequence
 * at about that time: a minute is more than a process needs from the one to the other.
 */
void
payguard_consumer_begin(const text *consumer)
{
	Datum who[2] = {PointerGetDatum(consumer),
					Int64GetDatum((int64) GetSystemIdentifier())};

	payguard_store_execute(&begin_consumer, who, NULL);
}

/*
 * payguard_consumer_is_free locks the position of a consumer of our own, unless another call holds it: false. One
 * that has not begun is free.
 */
bool
payguard_consumer_is_free(const text *consumer)
{
	Datum who = PointerGetDatum(consumer);

	return payguard_store_execute(&consumer_is_free, &who, NULL) > 0 ||
		   payguard_store_execute(&consumer_has_begun, &who, NULL) == 0;
}

/*
 * payguard_consumer_read returns the ids of the next events of a consumer of our own, at most
 * max of them, and their number. The store is open.
 */
int
payguard_consumer_read(const text *consumer, int max, Datum **ids)
{
	Events events = {.ids = palloc(sizeof(Datum) * max)};

	read_next(consumer, max, &events);
	*ids = events.ids;
	return events.n;
}

/*
 * consumer_argument reads the name of a consumer, which is not one of ours.
 */
static text *
consumer_argument(Datum value, bool isnull)
{
	text *consumer = payguard_arg_id(value, isnull, "consumer");

	if (strncmp(payguard_str(consumer), OWN_CONSUMERS, strlen(OWN_CONSUMERS)) == 0)
		payguard_arg_bad(
			"consumer", "Names that begin with \"" OWN_CONSUMERS "\" are payguard's own.",
			"Choose another name.");
	return consumer;
}

/*
 * read_next reads the rest of a consumer's window, or the next window where there is none.
 */
static void
read_next(const text *consumer, int max, Events *events)
{
	Datum who[2] = {PointerGetDatum(consumer),
					Int64GetDatum((int64) GetSystemIdentifier())};
	Position position;
	bool same_cluster;

	payguard_store_execute(&add_consumer, who, NULL);
	if (!lock_position(consumer, &position, &same_cluster))
		elog(ERROR, "payguard: consumer \"%s\" has vanished", payguard_str(consumer));
	read_window(&position, max, events);
	if (events->n == 0 && !same_cluster)
	{
		payguard_store_execute(&leave_cluster, who, NULL);
		read_position(&position);
		read_window(&position, max, events);
	}
	if (events->n == 0 && open_next(consumer, &position))
		read_window(&position, max, events);
}

/*
 * lock_position locks and reads a consumer's row; false: there is none.
 */
static bool
lock_position(const text *consumer, Position *position, bool *same_cluster)
{
	Datum who[2] = {PointerGetDatum(consumer),
					Int64GetDatum((int64) GetSystemIdentifier())};
	bool isnull;

	if (payguard_store_execute(&lock_consumer, who, NULL) == 0)
		return false;
	read_position(position);
	*same_cluster = DatumGetBool(payguard_store_result(0, 6, &isnull));
	return true;
}

/*
 * read_position takes a position from the first row of the last statement's results.
 */
static void
read_position(Position *position)
{
	bool isnull;

	position->window_id = DatumGetInt64(payguard_store_result(0, 0, &isnull));
	position->low_event = DatumGetInt64(payguard_store_result(0, 1, &isnull));
	position->high_event = DatumGetInt64(payguard_store_result(0, 2, &isnull));
	position->last_event = DatumGetInt64(payguard_store_result(0, 3, &isnull));
	position->late_xids = datumCopy(payguard_store_result(0, 4, &isnull), false, -1);
	position->open_xids = datumCopy(payguard_store_result(0, 5, &isnull), false, -1);
}

/*
 * open_next opens the next window; false: nothing new can be in it.
 */
static bool
open_next(const text *consumer, Position *position)
{
	FullTransactionId own = GetTopFullTransactionId();
	Datum not_own = FullTransactionIdGetDatum(own);
	Datum values[4] = {PointerGetDatum(consumer), Int64GetDatum(position->high_event), 0,
					   not_own};
	bool isnull;

	/* the order matters: high_event, then the next xid, then the snapshot of open_window */
	if (payguard_store_execute(&last_visible_event, &not_own, NULL) > 0)
		values[1] = payguard_store_result(0, 0, &isnull);
	values[2] = FullTransactionIdGetDatum(ReadNextFullTransactionId());
	if (payguard_store_execute(&open_window, values, NULL) == 0)
		return false;
	read_position(position);
	return true;
}

/*
 * read_window reads the events of a window that the reader has not got yet.
 */
static void
read_window(const Position *position, int max, Events *events)
{
	if (position->last_event < position->low_event)
		add_events(&late_events, position, position->last_event, position->low_event,
				   position->late_xids, max, events);
	if (events->n < max)
		add_events(&events_between, position,
				   Max(position->last_event, position->low_event), position->high_event,
				   position->open_xids, max - events->n, events);
}

static void
add_events(const Statement *statement, const Position *position, int64 after, int64 upto,
		   Datum xids, int max, Events *events)
{
	Datum values[5] = {Int64GetDatum(position->window_id), Int64GetDatum(after),
					   Int64GetDatum(upto), xids, Int64GetDatum(max)};
	bool isnull;
	int n;

	if (after >= upto)
		return;
	n = payguard_store_execute(statement, values, NULL);
	Assert(n <= max);
	if (events->rsinfo)
		payguard_store_put_results(events->rsinfo->setResult, events->rsinfo->setDesc);
	else
		for (int i = 0; i < n; i++)
			events->ids[events->n + i] = payguard_store_result(i, 1, &isnull);
	events->n += n;
}

/*
 * payguard_consumer_move notes how far a consumer has got in its window.
 */
void
payguard_consumer_move(const text *consumer, int64 event_id)
{
	Datum values[2] = {PointerGetDatum(consumer), Int64GetDatum(event_id)};

	payguard_store_execute(&move_consumer, values, NULL);
}

PG_FUNCTION_INFO_V1(payguard_commit_events);

/*
 * commit_events(consumer, window_id, event_id) → boolean
 *
 * The consumer is done with the events up to this one, in the order in which read_events() gave
 * them. false: it has got further already. Errors: 22004; 22023 for a consumer, a window or an
 * event that read_events() did not give.
 */
Datum
payguard_commit_events(PG_FUNCTION_ARGS)
{
	text *consumer = consumer_argument(ARG(0));
	int64 window_id;
	int64 event_id;
	Position position;
	bool same_cluster; /* not used: what was dumped is the same window everywhere */
	bool moves = false;

	if (PG_ARGISNULL(1))
		payguard_arg_missing("window_id");
	if (PG_ARGISNULL(2))
		payguard_arg_missing("event_id");
	window_id = PG_GETARG_INT64(1);
	event_id = PG_GETARG_INT64(2);
	payguard_request_begin("commit_events()");
	if (!lock_position(consumer, &position, &same_cluster))
		payguard_arg_bad("consumer", "There is no such consumer.",
						 "Read with payguard.read_events() first.");
	if (window_id > position.window_id)
		payguard_arg_bad("window_id", "The consumer has no such window.",
						 "Give window_id and event_id of the last event that was read.");
	if (window_id == position.window_id && event_id > position.high_event)
		payguard_arg_bad("event_id", "It is behind the end of the window.",
						 "Give window_id and event_id of the last event that was read.");
	if (window_id == position.window_id && event_id > position.last_event)
	{
		payguard_consumer_move(consumer, event_id);
		moves = true;
	}
	payguard_call_end();
	PG_RETURN_BOOL(moves);
}

PG_FUNCTION_INFO_V1(payguard_drop_consumer);

/*
 * drop_consumer(consumer) → boolean: forgets a consumer; false: there was none. Errors: 22004,
 * 22023.
 */
Datum
payguard_drop_consumer(PG_FUNCTION_ARGS)
{
	Datum consumer = PointerGetDatum(consumer_argument(ARG(0)));
	bool dropped;

	payguard_request_begin("drop_consumer()");
	dropped = payguard_store_execute(&delete_consumer, &consumer, NULL) > 0;
	payguard_call_end();
	PG_RETURN_BOOL(dropped);
}
