#!/usr/bin/python3
"""Limits: what an element of a batch takes of memory, that a batch is cancelled when its time is over, and
that a huge count takes memory for what there is, not for what there might be.

Memory is limited, not measured: a session that may take no more than so much goes on, or gets 53200."""

import os
import resource
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
sys.dont_write_bytecode = True

import psycopg2

import cluster
from tap import Tap

ELEMENTS = 20_000
PAID = 2048      # bytes of an element of pay_orders()
ANSWERED = 3584  # of complete_tasks()
MANY = 60_000    # calls with one key
AT_MOST = 100_000  # rows that a call finds for itself and keeps
HUGE = 2_147_483_647


def value(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchone()[0]


def answer(cursor, sql):
    """The first value, or the SQLSTATE of the error."""
    try:
        return value(cursor, sql)
    except psycopg2.Error as error:
        return error.pgcode


def data_of(pid):
    """The bytes of memory of its own that a process has."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))


def limited(server, room, warm_up, sql):
    """What a statement answers in a session that may take no more than `room` bytes after the warm-up."""
    cursor = server.connect().cursor()
    cursor.execute("SET work_mem = '1MB'")
    for each in warm_up:
        answer(cursor, each)
    pid = value(cursor, "SELECT pg_backend_pid()")
    _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    resource.prlimit(pid, resource.RLIMIT_DATA, (data_of(pid) + room, hard))
    return answer(cursor, sql)


def orders(cursor, name, n):
    cursor.execute(f"SELECT count(payguard.create_order('{name}' || i, 100, 'EUR')) FROM generate_series(1, {n}) i")


def pay(order, key, n=ELEMENTS):
    """Pays orders, and tells what came of them; order and key are expressions over i."""
    return "SELECT string_agg(outcome || ' ' || n, ', ' ORDER BY outcome) FROM (SELECT outcome, count(*) AS n FROM payguard.pay_orders(" \
        f"(SELECT array_agg(({order}, {key}, NULL, NULL, NULL, NULL)::payguard.pay_request) FROM generate_series(1, {n}) i)) GROUP BY 1) a"


def complete(n=ELEMENTS):
    """Answers the first n tasks that were claimed."""
    return "SELECT string_agg(outcome || ' ' || n, ', ' ORDER BY outcome) FROM (SELECT outcome, count(*) AS n FROM payguard.complete_tasks(" \
        "(SELECT array_agg((task_id, lease_token, 'succeeded', 'txn' || task_id, 100, 'EUR', NULL, NULL)::payguard.task_answer)" \
        f" FROM (SELECT * FROM claimed ORDER BY task_id LIMIT {n}) c)) GROUP BY 1) a"


def paid(server):
    cursor = server.connect().cursor()
    orders(cursor, "m", ELEMENTS + 1)
    room = ELEMENTS * PAID
    warm_up = ["BEGIN", pay("'m'", "'m'", 1), "ROLLBACK"]
    for what, order, key, told in (
            ("pays", "'m' || i", "'m' || i", f"paid {ELEMENTS}"),
            ("is replayed", "'m' || i", "'m' || i", f"paid {ELEMENTS}"),
            ("is refused, since its order is paid", "'m' || i", "'o' || i", f"order_already_paid {ELEMENTS}"),
            ("is refused, since there is no order", "'n' || i", "'n' || i", f"order_not_found {ELEMENTS}"),
            ("has the key and order of the others", f"'m{ELEMENTS + 1}'", f"'m{ELEMENTS + 1}'", f"paid {ELEMENTS}")):
        found = limited(server, room, warm_up, pay(order, key))
        yield f"an element of pay_orders() that {what} takes at most {PAID} bytes", found == told or found
    yield "the limit is one", limited(server, room, warm_up, f"SELECT count(a) FROM (SELECT array_agg(repeat('x', {2 * PAID}) || i)"
                                      f" FROM generate_series(1, {ELEMENTS}) i) a (a)") == "53200"


def answered(server):
    cursor = server.connect().cursor()
    orders(cursor, "t", ELEMENTS)
    cursor.execute("SELECT payguard.register_channel('card')")
    cursor.execute(f"SELECT count(payguard.request_payment('t' || i, 't' || i, 'card')) FROM generate_series(1, {ELEMENTS}) i")
    cursor.execute(f"CREATE TABLE claimed AS SELECT * FROM payguard.claim_tasks('worker', {ELEMENTS}, '1 h')")
    warm_up = ["BEGIN", complete(1), "ROLLBACK"]
    yield from cancelled(server, "complete_tasks()", complete())
    found = limited(server, ELEMENTS * ANSWERED, warm_up, complete())
    yield f"an element of complete_tasks() takes at most {ANSWERED} bytes", found == f"paid {ELEMENTS}" or found
    found = limited(server, ELEMENTS * ANSWERED, warm_up, complete())
    yield "one that is replayed, too", found == f"paid {ELEMENTS}" or found


def cancelled(server, what, sql):
    """A statement ends when its time is over, wherever it is then. (On a busy machine the last ones may be done by then.)"""
    cursor = server.connect(autocommit=False).cursor()
    begun = time.monotonic()
    answer(cursor, sql)
    took = time.monotonic() - begun
    cursor.connection.rollback()
    late = []
    for part in (0.1, 0.3, 0.5, 0.7):
        limit = int(1000 * took * part)
        cursor.execute(f"SET LOCAL statement_timeout = {limit}")
        begun = time.monotonic()
        found = answer(cursor, sql)
        late.append((found, round(time.monotonic() - begun - limit / 1000, 3)))
        cursor.connection.rollback()
    print(f"# {what} took {took:.2f} s; cancelled after its time by {[seconds for _, seconds in late]} s")
    yield f"{what} is cancelled", late[0][0] == "57014" and all(seconds < 5 for _, seconds in late) or late


def one_key(server):
    """Each call stands behind all that came before it."""
    cursor = server.connect().cursor()
    orders(cursor, "k", 1)
    yield from cancelled(server, f"a batch of {MANY} calls with one key", pay("'k1'", "'k1'", MANY))


CALLS = {
    "read_events": "SELECT count(*) FROM payguard.read_events('limits', {})",
    "claim_tasks": "SELECT count(*) FROM payguard.claim_tasks('limits', {})",
    "archive_orders": "SELECT payguard.archive_orders('2000-01-01', {})",
    "maintain": "SELECT count(*) FROM payguard.maintain({})",
    "run_tasks": "CALL payguard.run_tasks({})",
    "sync_rows": "SELECT payguard.sync_rows(max => {})",
}


def counts(server):
    cursor = server.connect().cursor()
    cursor.execute("SELECT DISTINCT proname FROM pg_proc WHERE pronamespace = 'payguard'::regnamespace"
                   " AND proargnames && '{max,max_tasks}' ORDER BY 1")
    names = [name for name, in cursor.fetchall()]
    wrong = []
    cursor.execute("CREATE DATABASE counts")
    for name in names:
        call = CALLS.get(name, f"SELECT payguard.{name}({{}})")
        found = limited_in_counts(server, call)
        if found == "53200":
            wrong.append(name)
    yield f"a huge count takes the memory of what there is: {', '.join(names)}", not wrong and len(names) > 10 or (wrong, names)
    cursor = server.connect("counts").cursor()
    cursor.execute(f"INSERT INTO payguard.events (at, kind, actor) SELECT now(), 'limits', 'limits' FROM generate_series(1, {AT_MOST + 10})")
    found = value(cursor, f"SELECT count(*) FROM payguard.read_events('reader', {HUGE})")
    yield f"a call keeps {AT_MOST} rows at most", found == AT_MOST or found


def limited_in_counts(server, call):
    """The call with a huge count, in a session that has made it with a small one."""
    cursor = server.connect("counts").cursor()
    cursor.execute("CREATE EXTENSION IF NOT EXISTS payguard")
    cursor.execute(call.format(1))
    pid = value(cursor, "SELECT pg_backend_pid()")
    _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    resource.prlimit(pid, resource.RLIMIT_DATA, (data_of(pid) + (8 << 20), hard))
    try:
        cursor.execute(call.format(HUGE))
    except psycopg2.Error as error:
        return error.pgcode
    return None


def main():
    tap = Tap()
    with cluster.Cluster("shared_buffers = 64MB", "autovacuum = off") as server:
        server.connect().cursor().execute("CREATE EXTENSION payguard")
        for part in (paid, answered, one_key, counts):
            tap.each((name, passed is True, passed) for name, passed in part(server))
    sys.exit(tap.done())


main()
