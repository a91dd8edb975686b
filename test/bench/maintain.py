#!/usr/bin/python3
"""What maintain() and the metrics read, by the number of orders, with 100 things due.

    maintain.py [--orders N]... [--check]

Fills throwaway clusters with paid orders by INSERT, makes 100 things due with payguard's
functions, and prints the buffers that each call touches (EXPLAIN (ANALYZE, BUFFERS), hits and
reads). --check: the status is 1 unless the last size needs at most half as much again as the first
one. initdb and pg_ctl are looked for in PATH.
"""
import argparse
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
sys.dont_write_bytecode = True

import psycopg2

import cluster

# each is older than the one behind it, so that ids ascend as they would have
FILL = """
    INSERT INTO payguard.orders
    SELECT 'order-' || g, 'customer-' || g %% 100000, 1000, 'EUR', 'paid', NULL, 2, id, 0, at, at, NULL
    FROM paid(%(from)s, %(to)s);
    INSERT INTO payguard.payments (payment_id, order_id, idempotency_key, channel, amount, currency,
      received_amount, received_currency, amount_verified, status, order_version, request_kind, created_at, completed_at)
    SELECT id, 'order-' || g, 'key-' || g, 'internal', 1000, 'EUR', 1000, 'EUR', true, 'succeeded', 2, 'pay', at, at
    FROM paid(%(from)s, %(to)s);
    INSERT INTO payguard.events (at, order_id, payment_id, kind, from_status, to_status, version, actor)
    SELECT at, 'order-' || g, CASE n WHEN 2 THEN id END, CASE n WHEN 1 THEN 'order.created' ELSE 'order.paid' END,
      CASE n WHEN 2 THEN 'unpaid' END, CASE n WHEN 1 THEN 'unpaid' ELSE 'paid' END, n, 'postgres'
    FROM paid(%(from)s, %(to)s), generate_series(1, 2) n;
"""

SETUP = """
    CREATE EXTENSION payguard;
    CREATE FUNCTION paid(a bigint, b bigint, OUT g bigint, OUT at timestamptz, OUT id uuid) RETURNS SETOF record
    LANGUAGE sql AS $$
      SELECT g, t.at, overlay(payguard.first_id_at(t.at)::text
        PLACING '7' || substr(h, 1, 3) || '-8' || substr(h, 4, 3) || '-' || substr(h, 7, 12) FROM 15)::uuid
      FROM generate_series(a, b) g, LATERAL (SELECT now() - interval '1 year' + g * interval '2 s', md5(g::text)) t (at, h)
    $$;
"""

# 25 orders to expire, 25 attempts and 25 refunds that take too long, 15 messages that match by
# now, 10 leases that are over
DUE = """
    SELECT payguard.register_channel('card', alert_after => '1 ms', first_query_after => '1 h');
    SELECT payguard.create_order('due-' || n, 1000, 'EUR',
      expires_at => CASE WHEN n <= 25 THEN clock_timestamp() + interval '1 s' END) FROM generate_series(1, 85) n;
    SELECT payguard.start_payment('due-' || n, 'due-' || n, 'card') FROM generate_series(26, 50) n;
    SELECT payguard.record_payment('due-' || n, 'card', 'due-' || n, 1000, 'EUR') FROM generate_series(51, 75) n;
    SELECT payguard.refund_order('due-' || n, 'refund-' || n, reason => 'due') FROM generate_series(51, 75) n;
    SELECT payguard.request_payment('due-' || n, 'due-' || n, 'card') FROM generate_series(76, 85) n;
    SELECT count(*) FROM payguard.claim_tasks('worker', 10, '1 ms', kinds => '{charge}');
    SELECT payguard.record_payment('late-' || n, 'card', 'late-' || n, 1000, 'EUR') FROM generate_series(1, 15) n;
    SELECT payguard.create_order('late-' || n, 1000, 'EUR') FROM generate_series(1, 15) n;
    SELECT pg_sleep(1.1);
"""

CALLS = (("maintain(), 100 things due", "SELECT * FROM payguard.maintain()"),
         ("maintain(), nothing due", "SELECT * FROM payguard.maintain()"),
         ("metrics", "SELECT * FROM payguard.metrics"),
         ("payment_rates('1 day')", "SELECT * FROM payguard.payment_rates('1 day')"))


def measure(orders):
    """→ {call: buffers}, and what maintain() did."""
    with cluster.Cluster("autovacuum = off", "max_wal_size = 4GB") as server:
        connection = psycopg2.connect(server.dsn)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(SETUP)
        step = 500_000
        for begin in range(1, orders + 1, step):
            cursor.execute(FILL, {"from": begin, "to": min(begin + step - 1, orders)})
        # the totals are up to date
        cursor.execute("INSERT INTO payguard.consumers SELECT 'payguard.totals', 1, m, m, m, '{}', '{}', '{}',"
                       " system_identifier, now() FROM pg_control_system(), (SELECT max(event_id) FROM payguard.events) e (m)")
        cursor.execute("VACUUM ANALYZE")
        # a new connection's catalog look-ups, and the counting of what DUE does, are not the question
        cursor.execute("SELECT count(*) FROM payguard.maintain()")
        for statement in DUE.split(";\n"):
            cursor.execute(statement) if statement.strip() else None
        cursor.execute("SELECT payguard.count_events(1000)")
        buffers = {}
        for name, sql in CALLS:
            for _ in range(2 if name == "metrics" else 1):  # its plan is made once
                cursor.execute("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) " + sql)
                plan = "\n".join(row[0] for row in cursor.fetchall())
            line = re.search(r"Buffers: shared(.*)", plan.split("Planning")[0]).group(1)
            buffers[name] = sum(int(n) for n in re.findall(r"(?:hit|read)=(\d+)", line))
        cursor.execute("SELECT kind, count(*) FROM payguard.alerts GROUP BY 1 ORDER BY 1")
        alerts = dict(cursor.fetchall())
        cursor.execute("SELECT count(*) FROM payguard.orders WHERE status = 'expired'")
        alerts["expired orders"] = cursor.fetchone()[0]
        return buffers, alerts


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=int, action="append")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    sizes = options.orders or [100_000, 10_000_000]
    results = []
    for orders in sizes:
        buffers, done = measure(orders)
        results.append(buffers)
        print(f"{orders} orders: {done}", flush=True)
        for name, count in buffers.items():
            print(f"  {name}: {count} buffers", flush=True)
    if options.check:
        sys.exit(0 if all(results[-1][name] <= 1.5 * results[0][name] + 50 for name in results[0]) else 1)


if __name__ == "__main__":
    main()
