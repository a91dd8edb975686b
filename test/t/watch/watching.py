#!/usr/bin/python3
# What takes a server with shared_preload_libraries, or several sessions: counters, NOTIFY
# payguard_alerts, maintain() many times at once, WARNINGs of nobody.

import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
sys.dont_write_bytecode = True

import psycopg2

import cluster
from tap import Tap

CLIENTS, CALLS = 16, 50


def value(cursor, sql, *values):
    cursor.execute(sql, values)
    return cursor.fetchone()[0]


def counted(cursor):
    cursor.execute("SELECT coalesce(reason, counter), value FROM payguard.stat_counters WHERE value > 0")
    return dict(cursor.fetchall())


def in_parallel(server, work):
    """Runs work(cursor) in CLIENTS connections at once; → the errors."""
    errors = []

    def run():
        try:
            work(server.connect().cursor())
        except psycopg2.Error as error:
            errors.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def counters(server):
    cursor = server.connect().cursor()
    cursor.execute("CREATE DATABASE other")
    other = server.connect("other").cursor()
    for each in (cursor, other):
        each.execute("CREATE EXTENSION payguard SCHEMA pg_catalog; SELECT payguard.create_order('a', 1, 'EUR')")
        each.execute("SELECT payguard.pay_order('a', 'a')")
    yield "each counter is there from the first call on", \
        value(cursor, "SELECT count(*) FROM payguard.stat_counters WHERE value = 0") > 20

    def repeat(client):
        for _ in range(CALLS):
            client.execute("SELECT payguard.pay_order('a', 'a')")
            client.execute("SELECT payguard.try_pay_order('a', 'b')")
            try:
                client.execute("SELECT payguard.pay_order('a', 'c')")
            except psycopg2.Error as error:
                assert error.pgcode == "PY101"

    errors = in_parallel(server, repeat)
    yield "all at once: no error", not errors
    yield "every replay and refusal is counted", \
        counted(cursor) == {"replays": CLIENTS * CALLS, "order_already_paid": 2 * CLIENTS * CALLS}
    cursor.execute("EXPLAIN (ANALYZE, WAL) SELECT payguard.pay_order('a', 'a')")
    plan = str(cursor.fetchall())
    cursor.execute("BEGIN; SELECT payguard.try_pay_order('a', 'b')")
    yield "counting writes no WAL and takes no xid", "actual" in plan and "WAL" not in plan and value(
        cursor, "SELECT pg_current_xact_id_if_assigned() IS NULL")
    cursor.execute("COMMIT")
    cursor.execute("SELECT payguard.reset_counters()")
    in_parallel(server, repeat)
    yield "of this database only", counted(other) == {}
    cursor.execute("BEGIN; SELECT payguard.pay_order('a', 'a'); ROLLBACK")
    yield "what was answered counts, whatever becomes of its transaction", \
        counted(cursor)["replays"] == CLIENTS * CALLS + 1
    cursor.execute("SELECT outcome FROM payguard.pay_orders(ARRAY[('a','a',NULL,NULL,NULL,NULL),"
                   "('a','d',NULL,NULL,NULL,NULL),('x','e',NULL,NULL,NULL,NULL)]::payguard.pay_request[])")
    yield "each answer of a batch counts", counted(cursor) == {
        "replays": CLIENTS * CALLS + 2, "order_already_paid": 2 * CLIENTS * CALLS + 1, "order_not_found": 1}
    other.execute("SELECT payguard.try_pay_order('a', 'b')")
    since = value(cursor, "SELECT max(since) FROM payguard.stat_counters")
    cursor.execute("SELECT payguard.reset_counters()")
    yield "reset: from 0 again, since now", counted(cursor) == {} and value(
        cursor, "SELECT max(since) > %s AND max(since) <= clock_timestamp() FROM payguard.stat_counters", since)
    yield "and the other database's go on", counted(other) == {"order_already_paid": 1}
    cursor.execute("SELECT payguard.try_pay_order('a', 'b') FROM generate_series(1, 3)")
    cursor.execute("SELECT count(*) FROM payguard.maintain()")
    cursor.execute("SELECT counter, reason, value FROM payguard.counter_samples WHERE value > 0")
    yield "maintain() samples them", cursor.fetchall() == [("refusals", "order_already_paid", 3)]
    yield "blocked: what would have been a second payment", value(
        cursor, "SELECT blocked FROM payguard.payment_rates(split_by => 'all')") == 3
    other.connection.close()
    # the slots of databases that are gone are taken over
    for number in range(70):
        cursor.execute(f"CREATE DATABASE d{number} TEMPLATE other")
        each = server.connect(f"d{number}").cursor()
        each.execute("SELECT payguard.try_pay_order('a', 'b')")
        good = counted(each) == {"order_already_paid": 1}
        each.connection.close()
        cursor.execute(f"DROP DATABASE d{number}")
        if not good:
            break
    yield "more databases than slots, one after the other", good
    cursor.execute("DROP DATABASE other")
    server.crash()
    server.start()
    yield "a crash: from 0 again", counted(server.connect().cursor()) == {}


def watching(server):
    listener = server.connect()
    listener.cursor().execute("LISTEN payguard_alerts")
    cursor = server.connect().cursor()

    def notified():
        listener.cursor().execute("SELECT 1")
        listener.poll()
        seen = [notice.payload for notice in listener.notifies]
        listener.notifies.clear()
        return seen

    cursor.execute("""
        SELECT payguard.register_channel('card', alert_after => '1 ms', first_query_after => '1 h');
        SELECT payguard.create_order('w-' || n, 1, 'EUR', expires_at => CASE WHEN n > 100 THEN
          clock_timestamp() + interval '10 s' END) FROM generate_series(1, 300) n;
        SELECT payguard.pay_order('w-1', 'w-1');
        SELECT payguard.record_payment('w-1', 'card', 'w-1', 1, 'EUR');
        SELECT payguard.start_payment('w-' || n, 'w-' || n, 'card') FROM generate_series(2, 100) n""")
    yield "an alert's transaction notifies nobody: it may be prepared", notified() == []
    errors = in_parallel(server, lambda client: client.execute("SELECT count(*) FROM payguard.maintain()"))
    yield "maintain() sixteen times at once: no error", not errors
    yield "and no duty failed", value(
        cursor, "SELECT count(*) FROM payguard.maintenance WHERE problem IS NOT NULL") == 0
    yield "one alert a cause", value(
        cursor, "SELECT count(*) FROM payguard.alerts WHERE kind = 'payment_open_too_long'") == 99
    seen = notified()
    yield "each was told once, by its id", len(seen) == len(set(seen)) == value(
        cursor, "SELECT count(*) FROM payguard.alerts WHERE notified_at IS NOT NULL") and value(
            cursor, "SELECT count(*) FROM payguard.alerts WHERE notified_at IS NULL") == 0
    yield "and nothing of the order", '"order' not in "".join(seen)
    while value(cursor, "SELECT sum(done) FROM payguard.maintain() WHERE duty = 'count_events'"):
        pass
    yield "every event was counted once", value(
        cursor, "SELECT sum(n) FROM payguard.totals WHERE subject = 'events' AND bucket = '-infinity'") == value(
            cursor, "SELECT count(*) FROM payguard.events")
    # somebody else writes an event whenever some were counted
    cursor.execute(f"""
        CREATE EXTENSION dblink;
        CREATE SEQUENCE meanwhile;
        CREATE FUNCTION write_meanwhile() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
          PERFORM * FROM public.dblink('{server.dsn}', format('SELECT (payguard.create_order(''m-%s'', 1, ''EUR'')).version',
                                       nextval('public.meanwhile'))) AS t (version bigint);
          RETURN NULL; END $$;
        CREATE TRIGGER write_meanwhile AFTER UPDATE ON payguard.totals FOR EACH ROW
          WHEN (NEW.subject = 'events' AND NEW.bucket = '-infinity') EXECUTE FUNCTION write_meanwhile();
        SELECT payguard.create_order('m-0', 1, 'EUR')""")
    counted = value(cursor, "SELECT payguard.count_events(1)")
    yield "counting ends while others go on to write", 0 < counted < 10 and value(
        cursor, "SELECT last_value FROM meanwhile") < 10
    cursor.execute("DROP TRIGGER write_meanwhile ON payguard.totals; DROP FUNCTION write_meanwhile")
    value(cursor, "SELECT pg_sleep(greatest(0, extract(epoch FROM max(expires_at) - clock_timestamp())))"
          " FROM payguard.orders")
    errors = in_parallel(server, lambda client: client.execute("SELECT count(*) FROM payguard.maintain(30)"))
    cursor.execute("SELECT count(*) FROM payguard.maintain()")
    yield "deadlines at once: each order expired once", not errors and value(
        cursor, "SELECT count(*) = 200 AND bool_and(version = 2) FROM payguard.orders WHERE status = 'expired'")
    # a suspected duplicate is none any more when it is refunded, or was not paid
    cursor.execute("""
        SELECT payguard.set_policy('XXX', 0, duplicate_window => '1 h', on_duplicate => 'flag');
        SELECT payguard.create_order('d-' || n, 5, 'XXX', 'customer') FROM generate_series(1, 4) n;
        SELECT payguard.pay_order('d-1', 'd-1'); SELECT payguard.pay_order('d-2', 'd-2');
        SELECT payguard.start_payment('d-3', 'd-3', 'card'); SELECT payguard.pay_order('d-4', 'd-4');
        SELECT payguard.refund_order('d-2', 'd-2/refund', reason => 'ordered twice');
        SELECT payguard.settle_payment(payment_id, 'failed', 'no money') FROM payguard.payments WHERE order_id = 'd-3'""")
    cursor.execute("SELECT count(*) FROM payguard.maintain()")
    cursor.execute("SELECT order_id, resolved_by FROM payguard.alerts WHERE kind = 'suspected_duplicate' ORDER BY 1")
    yield "a suspected duplicate that was refunded, or not paid, is closed", cursor.fetchall() == [
        ("d-2", "maintain"), ("d-3", "maintain"), ("d-4", None)]
    # a prepared transaction that was forgotten
    cursor.execute("BEGIN; SELECT payguard.create_order('p', 1, 'EUR'); PREPARE TRANSACTION 'forgotten'")
    yield "a prepared transaction's age is a metric", value(
        cursor, "SELECT value > 0 FROM payguard.metrics WHERE name = 'payguard_prepared_transaction_oldest_seconds'")
    yield "it holds no consumer back", value(cursor, "SELECT count(*) FROM payguard.read_events('x')") > 0
    cursor.execute("ROLLBACK PREPARED 'forgotten'")
    cursor.execute("SELECT * FROM payguard.verify()")
    yield "the database is sound", not cursor.fetchall()


# how many minutes ago (a bucket has five), what, how many; the period is an hour
TOTALS = [
    (0, "a", "EUR", "started", 12), (0, "a", "EUR", "succeeded", 5), (60, "a", "EUR", "succeeded", 1),
    (5, "a", "USD", "failed", 2), (5, "a", "EUR", "surplus", 2),
    (65, "a", "EUR", "succeeded", 9), (120, "a", "EUR", "succeeded", 9), (120, "a", "USD", "failed", 2),
    (125, "a", "EUR", "failed", 1000),
    (0, "b", "USD", "failed", 1), (30, "b", "USD", "started", 1),
]
RATES = {  # started, succeeded, failed, duplicates; of success, failure, duplicates; and of these before
    "channel": [("a", 12, 6, 2, 2, .75, .25, .25, .9, .1, 0), ("b", 1, 0, 1, 0, 0, 1, None, None, None, None)],
    "currency": [("EUR", 12, 6, 0, 2, 1, 0, .25, 1, 0, 0), ("USD", 1, 0, 3, 0, 0, 1, None, 0, 1, None)],
    "all": [("all", 13, 6, 3, 2, .6667, .3333, .25, .9, .1, 0)],
}
# minutes ago, reason, value, minutes since the counters began
SAMPLES = [
    (500, "order_already_paid", 70, 1000), (65, "order_already_paid", 90, 1000),
    (60, "order_already_paid", 100, 1000), (55, "order_already_paid", 150, 1000),  # 50 more
    (20, "order_already_paid", 7, 22), (15, "order_already_paid", 9, 22),  # a restart: 9 more
    (10, "payment_in_progress", 4, 1000),  # nobody knows since when
    (60, "version_conflict", 0, 1000), (10, "version_conflict", 30, 1000),  # is no duplicate
    (30, "", 1000, 2000), (25, "", 1003, 2000),  # 3 replays
]


def rates(server):
    server.connect().cursor().execute("CREATE DATABASE rates")
    cursor = server.connect("rates").cursor()
    cursor.execute("CREATE EXTENSION payguard SCHEMA pg_catalog")
    found, now = {}, None
    while now is None or now != value(cursor, "SELECT payguard.bucket_of(clock_timestamp())"):
        now = value(cursor, "SELECT payguard.bucket_of(clock_timestamp())")
        cursor.execute("BEGIN")
        for ago, channel, currency, status, n in TOTALS:
            cursor.execute("INSERT INTO payguard.totals VALUES (%s - %s * interval '1 min', 'payments', %s, %s, %s, %s)",
                           (now, ago, channel, currency, status, n))
        for ago, reason, counted_then, since in SAMPLES:
            cursor.execute("INSERT INTO payguard.counter_samples VALUES (%s - %s * interval '1 min', %s, %s, %s,"
                           " %s - %s * interval '1 min')",
                           (now, ago, "refusals" if reason else "replays", reason, counted_then, now, since))
        for split in RATES:
            cursor.execute("SELECT split, started, succeeded, failed, duplicates, success_rate::float8, failure_rate::float8,"
                           " duplicate_rate::float8, baseline_success_rate::float8, baseline_failure_rate::float8,"
                           " baseline_duplicate_rate::float8 FROM payguard.payment_rates('1 hour', %s)", (split,))
            found[split] = cursor.fetchall()
        blocked = value(cursor, "SELECT blocked FROM payguard.payment_rates('1 hour', 'all')")
        cursor.execute("ROLLBACK")
    for split, expected in RATES.items():
        yield f"rates by {split}, beside the hour before", found[split] == expected
    yield "blocked calls of the hour, over a restart of the counters", blocked == 50 + 9 + 3


def main():
    tap = Tap()
    with cluster.Cluster() as server:
        for part in (counters, watching, rates):
            tap.each(part(server))
    sys.exit(tap.done())


main()
