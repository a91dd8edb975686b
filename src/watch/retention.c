/*
 * retention.c
 *		Retention: settled orders move to tables of their own, and customers are forgotten.
 *
 * An order is archived with all its payments, refunds, events, messages and approvals, or not at
 * all. If the live tables do not have an id, a key or a transaction, the store looks for it in the
 * archive. So calls about archived orders are replayed and refused as before. Whatever wants to
 * change an order locks it first, and the lock brings an archived order back (records/order.c,
 * records/restore.c). Evidence and refunds then find everything where it was.
 *
 * Locking: archive_orders() takes the row locks of its orders FOR UPDATE and waits for none: an
 * order that somebody is working on, or referencing, is left for the next call. When it has the
 * locks, it looks once more whether the orders are settled. A restore deletes the archived order
 * first, so that the second of two restores waits for the first.
 *
 * An order is not archived while a transaction runs that may not see all of it. Otherwise such a
 * transaction could look for a key, an id or a transaction in vain, while its order comes and goes
 * to the archive, and then insert it a second time: the unique indexes of the live tables do not
 * cover the archive.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/array.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#include "base/argument.h"
#include "base/json.h"
#include "base/text.h"
#include "base/value.h"
#include "store/plan.h"
#include "records/about.h"
#include "records/actor.h"
#include "records/call.h"
#include "records/event.h"
#include "records/order.h"
#include "records/restore.h"

#define EVENTS_AT_ONCE 1000

/*
 * The statements of archive_orders() and erase_customer() rely on the search_path that these
 * functions set; those of a restore run in any function.
 */

/*
 * An order's payments: two partial indexes cover them, also those that the scripts before 1.2.0 have made. OFFSET 0
 * keeps look-ups look-ups.
 */
#define PAYMENTS_OF(order)                                                               \
	"(SELECT p.payment_id, p.status FROM payguard.payments p WHERE p.order_id " order    \
	" AND p.status NOT IN ('failed', 'superseded', 'surplus', 'returned')"               \
	" UNION ALL"                                                                         \
	" SELECT p.payment_id, p.status FROM payguard.payments p WHERE p.order_id " order    \
	" AND p.status = 'returned'"                                                         \
	" UNION ALL"                                                                         \
	" SELECT p.payment_id, p.status FROM payguard.payments p WHERE p.order_id " order    \
	" AND p.status IN ('failed', 'superseded', 'surplus')) p"

#define PAYMENTS_OF_O PAYMENTS_OF("= o.order_id")

/* Nothing about the order o is open: no money moves, nobody has to ask or to decide. */
#define IS_SETTLED                                                                       \
	"o.status IN ('paid', 'refunded', 'cancelled', 'expired')"                           \
	" AND NOT EXISTS (SELECT FROM " PAYMENTS_OF_O                                        \
	"  WHERE p.status NOT IN ('failed', 'succeeded', 'surplus', 'returned')"             \
	"  OR EXISTS (SELECT FROM payguard.tasks t"                                          \
	"   WHERE t.payment_id = p.payment_id AND t.refund_id IS NULL OFFSET 0)"             \
	"  OR EXISTS (SELECT FROM payguard.refunds r WHERE r.payment_id = p.payment_id"      \
	"   AND (r.status NOT IN ('succeeded', 'waived', 'reinstated', 'merged')"            \
	"    OR EXISTS (SELECT FROM payguard.tasks t"                                        \
	"     WHERE t.refund_id = r.refund_id OFFSET 0)) OFFSET 0) OFFSET 0)"                \
	" AND NOT EXISTS (SELECT FROM payguard.leases l"                                     \
	"  WHERE l.order_id = o.order_id OFFSET 0)"                                          \
	" AND NOT EXISTS (SELECT FROM payguard.approvals a"                                  \
	"  WHERE a.order_id = o.order_id AND a.status = 'open' OFFSET 0)"                    \
	" AND NOT EXISTS (SELECT FROM payguard.alerts a"                                     \
	"  WHERE a.order_id = o.order_id AND a.resolved_at IS NULL OFFSET 0)"                \
	" AND NOT EXISTS (SELECT FROM payguard.notifications n"                              \
	"  WHERE n.order_id = o.order_id AND (n.result = 'unmatched'"                        \
	"   OR n.result = 'unreadable' AND EXISTS (SELECT FROM payguard.alerts a"            \
	"    WHERE a.kind = 'unreadable_evidence' AND a.resolved_at IS NULL"                 \
	"    AND a.cause = n.channel || ' ' || n.code OFFSET 0)) OFFSET 0)"

static const Statement add_position = {
	"INSERT INTO payguard.archive_position VALUES ('orders', 0) ON CONFLICT DO NOTHING",
	{InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement lock_position = {
	"SELECT event_id FROM payguard.archive_position WHERE name = 'orders' FOR UPDATE",
	{InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement move_position = {
	"UPDATE ONLY payguard.archive_position SET event_id = $1 WHERE name = 'orders'",
	{INT8OID, InvalidOid},
	"archive_position",
	CMD_UPDATE};

/*
 * Two limits. Up to which event every consumer has read, but for transactions that were open then
 * (see consumer.c); it is 0 without payguard's own consumer, which counts the events. And since when
 * payments count for the policies that look for duplicates. $1 the system identifier.
 */
static const Statement read_limits = {
	"SELECT CASE WHEN bool_or(c.consumer = 'payguard.totals') THEN min("
	"  CASE WHEN c.system_identifier = $1 THEN GREATEST(c.last_event, c.low_event)"
	"   ELSE LEAST(c.last_event, (SELECT min(f) FROM unnest(c.open_floors) f)) END)"
	"  ELSE 0 END,"
	" (SELECT min(clock_timestamp() - p.duplicate_window) FROM payguard.policies p)"
	" FROM payguard.consumers c",
	{INT8OID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

/* $1 after which event, $2 up to which, $3 archive_orders()'s `before` */
static const Statement scan_events = {
	"SELECT e.event_id, e.at < $3 OR e.kind = 'order.imported', CASE WHEN e.kind IN "
	"('order.created', 'order.imported') THEN e.order_id END"
	" FROM payguard.events e WHERE e.event_id > $1 AND e.event_id <= $2"
	" ORDER BY e.event_id LIMIT " CppAsString2(EVENTS_AT_ONCE),
	{INT8OID, INT8OID, TIMESTAMPTZOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

/*
 * The next order that was imported: it may be old though its events are new. $1 after which event, $2 up to which.
 * If no order has ever been imported, no event is read.
 */
static const Statement next_imported = {
	"SELECT e.event_id FROM payguard.events e WHERE e.event_id > $1 AND e.event_id <= $2"
	" AND e.kind = 'order.imported' AND EXISTS (SELECT FROM payguard.totals t"
	"  WHERE t.bucket = '-infinity' AND t.subject = 'events' AND t.status = "
	"'order.imported')"
	" ORDER BY e.event_id LIMIT 1",
	{INT8OID, INT8OID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

/*
 * $1 orders, $2 before, $3 up to which event everybody has read, $4 the first xid that somebody
 * may not see, $5 the next xid: a later one is of the cluster that this was restored from
 */
static const Statement lock_settled = {
	"SELECT o.order_id FROM ONLY payguard.orders o WHERE o.order_id = ANY ($1)"
	" AND o.updated_at < $2 AND " IS_SETTLED
	" AND NOT EXISTS (SELECT FROM payguard.events e WHERE e.order_id = o.order_id"
	"  AND (e.at >= $2 AND e.kind <> 'order.imported' OR e.event_id > $3 OR e.xid >= $4 "
	"AND e.xid < $5"
	"   OR EXISTS (SELECT FROM payguard.consumers c WHERE e.xid = ANY (c.open_xids)"
	"    OR e.event_id > c.last_event AND e.xid = ANY (c.late_xids) OFFSET 0)) OFFSET 0)"
	" ORDER BY o.order_id FOR UPDATE OF o SKIP LOCKED",
	{TEXTARRAYOID, TIMESTAMPTZOID, INT8OID, XID8OID, XID8OID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement payments_of = {
	"SELECT p.payment_id FROM " PAYMENTS_OF("= ANY ($1)"),
	{TEXTARRAYOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement refunds_of = {
	"SELECT r.refund_id FROM payguard.refunds r WHERE r.payment_id = ANY ($1)",
	{UUIDARRAYOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

/* $1 orders, $2 their payments, $3 their refunds */
static const Statement without_referenced = {
	"SELECT o FROM unnest($1) o"
	" WHERE o <> ALL (ARRAY(SELECT payguard.referenced_orders($1, $2, $3)))",
	{TEXTARRAYOID, UUIDARRAYOID, UUIDARRAYOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

/* $1 orders, $2 their payments, $3 who archives */
#define ARCHIVING                                                                        \
	{                                                                                    \
		TEXTARRAYOID, UUIDARRAYOID, TEXTOID, InvalidOid                                  \
	}
#define ARCHIVE(table, condition)                                                        \
	{                                                                                    \
		"WITH gone AS (DELETE FROM ONLY payguard." table " t WHERE " condition           \
		" RETURNING t.*) INSERT INTO payguard.archived_" table " SELECT * FROM gone",    \
			ARCHIVING, table, CMD_DELETE                                                 \
	}
static const Statement archiving[] = {
	ARCHIVE("refunds", "t.payment_id = ANY ($2)"),
	ARCHIVE("refund_balances", "t.payment_id = ANY ($2)"),
	ARCHIVE("payments", "t.payment_id = ANY ($2)"),
	ARCHIVE("events", "t.order_id = ANY ($1)"),
	ARCHIVE("notifications", "t.order_id = ANY ($1)"),
	/* the approval of a finding stays with its alert */
	ARCHIVE("approvals", "t.order_id = ANY ($1) AND t.subject <> 'finding'"),
	ARCHIVE("orders", "t.order_id = ANY ($1)"),
	{"DELETE FROM ONLY payguard.deadlines WHERE order_id = ANY ($1)", ARCHIVING,
	 "deadlines", CMD_DELETE},
	{"INSERT INTO payguard.archived_events (event_id, xid, at, order_id, kind, actor)"
	 " SELECT nextval('payguard.events_event_id_seq'), pg_current_xact_id(),"
	 "  clock_timestamp(), o, 'order.archived', $3 FROM unnest($1) o",
	 ARCHIVING, NULL, CMD_UNKNOWN},
};

static const Statement orders_of_customer = {
	"SELECT o.order_id FROM payguard.every_order o WHERE o.customer_id = $1",
	{TEXTOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

static const Statement not_settled = {
	"SELECT o.order_id FROM ONLY payguard.orders o WHERE o.order_id = ANY ($1)"
	" AND NOT (" IS_SETTLED ") ORDER BY o.order_id",
	{TEXTARRAYOID, InvalidOid},
	NULL,
	CMD_UNKNOWN};

/* What people have written, and the customer himself. */
#define WITHOUT_PERSON                                                                   \
	"details - '{customer_id,reason,note,message}'::text[]"                              \
	" - CASE details ->> 'requested_by' WHEN $3 THEN 'requested_by' ELSE 'note' END"
#define WITHOUT_NAME(column)                                                             \
	column " = CASE " column " WHEN $3 THEN 'erased' ELSE " column " END"
#define WITHOUT_TEXT(column)                                                             \
	column " = CASE WHEN " column " IS NOT NULL THEN 'erased' END"

/* $1 orders, $2 their payments, $3 the customer */
#define ERASE(table, columns, condition)                                                 \
	{                                                                                    \
		"UPDATE ONLY payguard." table " SET " columns " WHERE " condition, ARCHIVING,    \
			table, CMD_UPDATE                                                            \
	}
static const Statement erasing[] = {
	ERASE("orders", "customer_id = NULL", "order_id = ANY ($1)"),
	/* that a charge is a second name of another one belongs to the money's trail */
	ERASE("payments",
		  "failure_message = NULL, details = CASE WHEN details ? 'second_charge_of' THEN"
		  " jsonb_build_object('second_charge_of', details -> 'second_charge_of') END",
		  "payment_id = ANY ($2)"),
	ERASE("refunds",
		  "failure_message = NULL, details = NULL, " WITHOUT_TEXT(
			  "reason") ", " WITHOUT_NAME("requested_by"),
		  "payment_id = ANY ($2)"),
	ERASE("events", "details = " WITHOUT_PERSON ", " WITHOUT_NAME("actor"),
		  "order_id = ANY ($1)"),
	ERASE("notifications", "body = '', message = NULL", "order_id = ANY ($1)"),
	ERASE("approvals", WITHOUT_TEXT("note") ", " WITHOUT_NAME("requested_by"),
		  "order_id = ANY ($1)"),
	ERASE("alerts",
		  "details = " WITHOUT_PERSON
		  ", " WITHOUT_TEXT("note") ", " WITHOUT_TEXT("acknowledged_note"),
		  "order_id = ANY ($1)"),
	{"DELETE FROM ONLY payguard.customers WHERE customer_id = $3", ARCHIVING, "customers",
	 CMD_DELETE},
};

/* What a call of archive_orders() knows. */
typedef struct Archival
{
	TimestampTz before;
	int max;
	int done;
	int64 read;			/* up to which event every consumer has read */
	Datum first_unseen; /* xid8: somebody may not see it, nor later ones */
	Datum next_xid;
} Archival;

static void check_isolation(const char *function);
static void read_limits_of(Archival *archival);
static int64 sweep(Archival *archival, int64 from, int64 upto);
static void archive(Archival *archival, Datum *orders, int n);
static Datum lock_orders(const Archival *archival, Datum orders);
static Datum list(const Statement *statement, Datum *values, Oid type);
static int length_of(Datum array);
static void refuse_open(Datum orders) pg_attribute_noreturn();
static int by_id(const void *a, const void *b);

PG_FUNCTION_INFO_V1(payguard_archive_orders);

/*
 * archive_orders(before, max := 1000) → int
 *
 * Moves settled orders that nothing has happened to since `before`, at most max of them, to the
 * archive and returns how many. It goes on where the last call stopped, through the events, where
 * each order has its first one. Errors: 22004, 22023; 0A000 in REPEATABLE READ and SERIALIZABLE;
 * 55000 where a foreign key references payguard's tables in a way that it cannot follow.
 */
Datum
payguard_archive_orders(PG_FUNCTION_ARGS)
{
	Archival archival = {
		.before = payguard_arg_time_or_null(ARG(0), "before"),
		.max = payguard_arg_max(ARG(1), "max"),
	};
	int64 start;
	int64 position;
	Datum value;
	bool isnull;

	if (PG_ARGISNULL(0))
		payguard_arg_missing("before");
	check_isolation("archive_orders()");
	payguard_request_begin("archive_orders()");
	payguard_store_execute(&add_position, NULL, NULL);
	payguard_store_execute(&lock_position, NULL, NULL);
	start = DatumGetInt64(payguard_store_result(0, 0, &isnull));
	read_limits_of(&archival);
	position = sweep(&archival, start, archival.read);
	if (position == 0 && start > 0)
		position = sweep(&archival, 0, Min(start, archival.read));
	value = Int64GetDatum(position);
	payguard_store_execute(&move_position, &value, NULL);
	if (archival.done > 0)
		payguard_event_write("orders.archived", ABOUT_NOTHING, NULL, NULL, NO_ID,
							 payguard_json("orders", 'i', (int64) archival.done, "before",
										   'd', archival.before, NULL));
	payguard_call_end();
	PG_RETURN_INT32(archival.done);
}

/*
 * check_isolation raises 0A000 unless the level is READ COMMITTED: the call has to see what others did before it locked
 * an order.
 */
static void
check_isolation(const char *function)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("%s needs the isolation level READ COMMITTED", function),
						errdetail("It has to see what other transactions did before it "
								  "locked the orders. Nothing has been written."),
						errhint("Call it in a READ COMMITTED transaction of its own.")));
}

static void
read_limits_of(Archival *archival)
{
	Datum cluster = Int64GetDatum((int64) GetSystemIdentifier());
	Relation orders;
	TransactionId horizon;
	uint64 next;
	TimestampTz since;
	bool isnull;

	payguard_store_execute(&read_limits, &cluster, NULL);
	archival->read = DatumGetInt64(payguard_store_result(0, 0, &isnull));
	if (isnull)
		archival->read = 0;
	since = DatumGetTimestampTz(payguard_store_result(0, 1, &isnull));
	if (!isnull && since < archival->before)
		archival->before = since;

	orders = table_open(get_relname_relid(payguard_orders.name,
										  get_namespace_oid(PAYGUARD_SCHEMA, false)),
						AccessShareLock);
	horizon = GetOldestNonRemovableTransactionId(orders);
	table_close(orders, NoLock);
	next = U64FromFullTransactionId(ReadNextFullTransactionId());
	archival->next_xid = FullTransactionIdGetDatum(FullTransactionIdFromU64(next));
	archival->first_unseen = FullTransactionIdGetDatum(
		FullTransactionIdFromU64(next - (uint32) ((uint32) next - horizon)));
}

/*
 * sweep looks for orders in the events after `from` up to `upto`, and archives those that are
 * settled, until there are enough. Returns where to go on. 0: it came to the end, which is `upto`,
 * or events that are all later than `before` with no imported order after them.
 */
static int64
sweep(Archival *archival, int64 from, int64 upto)
{
	Datum *orders = palloc(sizeof(Datum) * EVENTS_AT_ONCE);

	while (archival->done < archival->max)
	{
		Datum values[3] = {Int64GetDatum(from), Int64GetDatum(upto),
						   TimestampTzGetDatum(archival->before)};
		int n = payguard_store_execute(&scan_events, values, NULL);
		int wanted = archival->max - archival->done;
		int found = 0;
		bool old = false;
		bool isnull;

		for (int i = 0; i < n && found < wanted; i++)
		{
			Datum order_id = payguard_store_result(i, 2, &isnull);

			CHECK_FOR_INTERRUPTS();
			if (!isnull)
				orders[found++] = datumCopy(order_id, false, -1);
			from = DatumGetInt64(payguard_store_result(i, 0, &isnull));
			old |= DatumGetBool(payguard_store_result(i, 1, &isnull));
		}
		if (!old)
		{
			if (payguard_store_execute(&next_imported, values, NULL) == 0)
				return 0;
			from = DatumGetInt64(payguard_store_result(0, 0, &isnull)) - 1;
			continue;
		}
		archive(archival, orders, found);
		if (n < EVENTS_AT_ONCE && found < wanted)
			return 0;
	}
	return from;
}

/*
 * archive moves those of the orders that can be moved.
 */
static void
archive(Archival *archival, Datum *orders, int n)
{
	Datum values[3];

	if (n == 0)
		return;
	values[0] = lock_orders(archival, PointerGetDatum(construct_array(
										  orders, n, TEXTOID, -1, false, TYPALIGN_INT)));
	if (length_of(values[0]) == 0)
		return;
	values[1] = list(&payments_of, values, UUIDOID);
	values[2] = list(&refunds_of, values + 1, UUIDOID);
	values[0] = list(&without_referenced, values, TEXTOID);
	values[1] = list(&payments_of, values, UUIDOID);
	values[2] = PointerGetDatum(payguard_actor());
	payguard_archive_move(archiving, lengthof(archiving), values);
	archival->done += length_of(values[0]);
}

/*
 * lock_orders locks those of the orders that are settled, and looks once more when it has the locks:
 * until then others may have changed what belongs to the orders.
 */
static Datum
lock_orders(const Archival *archival, Datum orders)
{
	Datum values[5] = {orders, TimestampTzGetDatum(archival->before),
					   Int64GetDatum(archival->read), archival->first_unseen,
					   archival->next_xid};

	values[0] = list(&lock_settled, values, TEXTOID);
	return list(&lock_settled, values, TEXTOID);
}

/*
 * list runs a statement and returns the first column of its results as an array.
 */
static Datum
list(const Statement *statement, Datum *values, Oid type)
{
	int n = payguard_store_execute(statement, values, NULL);
	Datum *results = palloc(sizeof(Datum) * Max(n, 1));
	int16 length;
	bool by_value;
	char align;
	bool isnull;

	get_typlenbyvalalign(type, &length, &by_value, &align);
	for (int i = 0; i < n; i++)
		results[i] = payguard_store_result(i, 0, &isnull);
	return PointerGetDatum(construct_array(results, n, type, length, by_value, align));
}

static int
length_of(Datum array)
{
	ArrayType *a = DatumGetArrayTypeP(array);

	return ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
}

PG_FUNCTION_INFO_V1(payguard_erase_customer);

/*
 * erase_customer(customer_id) → int
 *
 * Removes what is personal from the customer's orders and all that belongs to them; archived ones
 * come back for that. Amounts, ids, states and times stay. Returns how many orders; 0 for a
 * customer who has none, or none any more. Errors: 22004, 22023; 55000 where one of the orders
 * is not settled; 0A000 in REPEATABLE READ and SERIALIZABLE.
 */
Datum
payguard_erase_customer(PG_FUNCTION_ARGS)
{
	Datum customer = PointerGetDatum(payguard_arg_id(ARG(0), "customer_id"));
	Datum values[3];
	Datum *orders;
	Datum open;
	int n;

	check_isolation("erase_customer()");
	payguard_request_begin("erase_customer()");
	values[0] = list(&orders_of_customer, &customer, TEXTOID);
	deconstruct_array(DatumGetArrayTypeP(values[0]), TEXTOID, -1, false, TYPALIGN_INT,
					  &orders, NULL, &n);
	qsort(orders, n, sizeof(Datum), by_id);
	for (int i = 0; i < n; i++)
	{
		Order order;

		CHECK_FOR_INTERRUPTS();
		payguard_order_lock_known(DatumGetTextPP(orders[i]), &order);
	}
	open = list(&not_settled, values, TEXTOID);
	if (length_of(open) > 0)
		refuse_open(open);

	values[1] = list(&payments_of, values, UUIDOID);
	values[2] = customer;
	payguard_archive_move(erasing, lengthof(erasing), values);
	for (int i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		payguard_event_write("order.erased",
							 (About){.order_id = DatumGetTextPP(orders[i])}, NULL, NULL,
							 NO_ID, NULL);
	}
	payguard_call_end();
	PG_RETURN_INT32(n);
}

/*
 * refuse_open raises 55000; the customer is not named, since messages end in the server's log.
 */
static void
refuse_open(Datum orders)
{
	int first = 1;
	bool isnull;
	Datum order_id =
		array_get_element(orders, 1, &first, -1, -1, false, TYPALIGN_INT, &isnull);

	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("the customer has orders that are not settled"),
		 errdetail(
			 "There are %d. The first is \"%s\": it is open, or it has an open payment, "
			 "refund, task, approval, message or alert. Nothing has been written.",
			 length_of(orders), payguard_str(DatumGetTextPP(order_id))),
		 errhint("Settle or cancel them first.")));
}

static int
by_id(const void *a, const void *b)
{
	return payguard_text_compare(DatumGetTextPP(*(const Datum *) a),
								 DatumGetTextPP(*(const Datum *) b));
}
