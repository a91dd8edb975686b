#!/usr/bin/python3
# What it costs to archive an order, to find an archived one and to bring it back does not grow with
# the number of orders, archived or not; nor does paying beside a full archive.

import os
import re
import sys

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", d) for d in ("lib", "bench")]
sys.dont_write_bytecode = True

import psycopg2

import cluster
import maintain
from tap import Tap

ARCHIVE = "SELECT payguard.archive_orders(now(), 100)"
CALLS = (
    ("archive_orders() of 100 beside a full archive", ARCHIVE),
    ("pay_order() of a live order", "SELECT outcome FROM payguard.pay_order('live', 'live')"),
    ("pay_order() of an archived one, replayed", "SELECT outcome FROM payguard.pay_order('order-7', 'key-7')"),
    ("try_pay_order() of an archived one, refused", "SELECT outcome FROM payguard.try_pay_order('order-7', 'other')"),
    ("order_status() of an archived one", "SELECT status FROM payguard.order_status('order-7')"),
    ("record_payment() for an archived one", "SELECT outcome FROM payguard.record_payment('order-8', 'card', 'late', 1000, 'EUR')"),
    ("erase_customer() of one archived order", "SELECT payguard.erase_customer('customer-9')"),
)


def buffers(cursor, sql):
    """→ the buffers that a statement touches."""
    cursor.execute("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF) " + sql)
    plan = "\n".join(row[0] for row in cursor.fetchall())
    line = re.search(r"Buffers: shared(.*)", plan.split("Planning")[0]).group(1)
    return sum(int(n) for n in re.findall(r"(?:hit|read)=(\d+)", line))


def measure(orders):
    """→ {call: buffers}, and how many orders are archived in the end."""
    with cluster.Cluster("autovacuum = off", "max_wal_size = 4GB") as server:
        connection = psycopg2.connect(server.dsn)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(maintain.SETUP)
        cursor.execute(maintain.FILL, {"from": 1, "to": orders})
        cursor.execute("SELECT payguard.register_channel('card')")
        cursor.execute("SELECT payguard.create_order('live', 1000, 'EUR')")
        cursor.execute("INSERT INTO payguard.consumers SELECT 'payguard.totals', 1, m, m, m, '{}', '{}', '{}',"
                       " system_identifier, now() FROM pg_control_system(), (SELECT max(event_id) FROM payguard.events) e (m)")
        cursor.execute("VACUUM ANALYZE")
        # a new connection's catalog look-ups are not the question
        cursor.execute("SELECT payguard.archive_orders(now(), 1)")
        result = {"archive_orders() of 100 beside an empty one": buffers(cursor, ARCHIVE)}
        cursor.execute("SELECT payguard.archive_orders(now(), %s)", (orders - 300,))
        cursor.execute("VACUUM ANALYZE")
        for name, sql in CALLS:
            cursor.execute("SELECT outcome FROM payguard.try_pay_order('order-1', 'none')")  # its plans are made
            result[name] = buffers(cursor, sql)
        cursor.execute("SELECT (SELECT count(*) FROM payguard.archived_orders), (SELECT count(*) FROM payguard.orders)")
        return result, cursor.fetchone()


def main():
    (few, places), (many, more) = measure(500), measure(40_000)
    tap = Tap()
    tap.ok(places == (399, 102) and more == (39_899, 102), f"archived and live: {places}, {more}")
    for name in few:
        tap.ok(many[name] <= 1.3 * few[name] + 50, f"{name}: {few[name]} buffers of 500 orders, {many[name]} of 40000")
    sys.exit(tap.done())


main()
