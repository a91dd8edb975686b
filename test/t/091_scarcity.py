#!/usr/bin/python3
"""Bad input and scarcity: random arguments to every function, each function cut short at every
moment, counters and sequences at their end, too little memory. No crash, no internal error, no
partial effect: verify() finds nothing, and the call works when it is made again.

PAYGUARD_CALLS (6000) random calls, PAYGUARD_SEED.
"""
import os
import random
import sys
import threading
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "..", "sim")]
from cluster import Cluster  # noqa: E402

MAX = 2**63 - 1
TEXTS = ["", "a", "x" * 255, "x" * 256, "x" * 5000, "a\tb", "\u0085", "é" * 127, "é" * 128, "NULL", "'", '"',
         "order-1", "order-2", "order-3", "key-1", "key-2", "card", "internal", "T1", "EUR", "USD", "eur",
         "EURO", "refund", "chargeback", "succeeded", "failed", "pending", "not_found", "closed", "accept",
         "charge", "flag", "hold", "channel", "note", "100%", "\U0001f4b6"]
VALUES = {
    "text": TEXTS, "name": ["checkout", "postgres", "nobody", ""],
    "bigint": [0, 1, 2, 3, 99, 100, 101, -1, MAX, -MAX - 1, MAX - 1],
    "integer": [0, 1, 10, -1, 2**31 - 1, -2**31],
    "boolean": [True, False],
    "interval": ["0", "1 ms", "1 day", "-1 day", "178000000 years", "-178000000 years", "1 mon"],
    "timestamp with time zone": ["infinity", "-infinity", "2020-01-01", "2200-01-01", "294276-12-31",
                                 "4713-01-01 BC", "now"],
    "jsonb": ["{}", "[]", "null", '{"a": [1, {"b": null}]}', '"x"', "1e1000",
              '{"second_charge_of": "x", "amount": "many"}'],
    "bytea": [b"", b"\x00\xff", b"x" * 3000],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "text[]": [[], ["charge"], ["card", None], ["nonsense"]],
}
# what bad input may be told; everything else is a defect
ALLOWED = ("PY", "22", "40001", "42501", "55P03", "0A000", "25001", "2D000", "3F000", "42704", "42P01")
# and what a function says that it answers
PROMISED = {("payguard.erase_customer", "55000")}


class Tap:
    count = failed = 0

    def ok(self, good, name, notes=()):
        self.count += 1
        self.failed += not good
        print(("ok" if good else "not ok"), self.count, "-", name)
        for note in [] if good else list(notes)[:10]:
            print("#  ", note)
        sys.stdout.flush()


def connect(server):
    connection = psycopg2.connect(server.dsn)
    connection.autocommit = True
    return connection


def functions(cursor):
    """(name, argument types) of what roles may call; procedures and drops are left out."""
    cursor.execute("""
        SELECT p.oid::regproc::text, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) t)
        FROM pg_proc p
        WHERE p.pronamespace = 'payguard'::regnamespace AND p.prokind = 'f'
          AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
          AND p.proname NOT IN ('apply_access', 'guard_table', 'unguard_table', 'start_driver_timer', 'set_policy')
        ORDER BY 1""")
    return cursor.fetchall()


def value(rnd, kind, ids):
    r = rnd.random()
    if r < 0.12:
        return None
    if kind == "uuid" and ids and r < 0.9:
        return rnd.choice(ids)
    if kind in VALUES:
        return rnd.choice(VALUES[kind])
    if kind == "payguard.pay_request[]":
        return "{" + ",".join(f'"(order-{rnd.randrange(5)},key-{rnd.randrange(9)},{rnd.choice(["", "100", "-1"])},,,)"'
                              for _ in range(rnd.randrange(4))) + "}"
    if kind == "payguard.task_answer[]":
        return "{" + ",".join(f'"({rnd.randrange(9)},00000000-0000-0000-0000-000000000000,succeeded,,,,,)"'
                              for _ in range(rnd.randrange(4))) + "}"
    return None


def random_calls(tap, server, seed, calls):
    rnd = random.Random(seed)
    connection = connect(server)
    cursor = connection.cursor()
    callable_ones = functions(cursor)
    wrong, counts, ids = [], {}, []
    for n in range(calls):
        # each without any argument first
        bare = n < len(callable_ones)
        name, kinds = callable_ones[n] if bare else rnd.choice(callable_ones)
        if n % 100 == 0:
            cursor.execute("SELECT payment_id::text FROM payguard.payments UNION ALL"
                           " SELECT refund_id::text FROM payguard.refunds")
            ids = [row[0] for row in cursor]
        arguments = [None if bare else value(rnd, kind, ids) for kind in kinds]
        # most calls should get further than the first check
        for i, kind in enumerate(kinds):
            if kind == "text" and not bare and rnd.random() < 0.5:
                arguments[i] = rnd.choice(["order-1", "order-2", "key-1", "card", "EUR", "succeeded"])
        sql = f"SELECT * FROM {name}(" + ", ".join(f"%s::{kind}" for kind in kinds) + ") LIMIT 50"
        try:
            cursor.execute(sql, arguments)
            counts["answered"] = counts.get("answered", 0) + 1
        except psycopg2.Error as error:
            code = error.pgcode or "lost"
            counts[code[:2]] = counts.get(code[:2], 0) + 1
            if not code.startswith(ALLOWED) and (name, code) not in PROMISED:
                wrong.append(f"{code} from {name}{tuple(arguments)}: {error}".strip()[:400])
            elif code.startswith("22") and not error.diag.message_hint and code not in ("22P02", "22007", "22008"):
                counts["without a hint"] = counts.get("without a hint", 0) + 1
            if connection.closed:
                wrong.append(f"the server is gone after {name}{tuple(arguments)}")
                break
    print("# ", counts)
    tap.ok(not wrong, f"{calls} random calls of {len(callable_ones)} functions: no internal error, no crash",
           wrong)
    tap.ok(counts.get("answered", 0) > calls // 20 and counts.get("PY", 0) > calls // 50,
           "some were answered, and some refused")


def sound(tap, server, after):
    cursor = connect(server).cursor()
    cursor.execute("SELECT * FROM payguard.verify() LIMIT 5")
    violations = cursor.fetchall()
    tap.ok(not violations, f"verify() finds nothing after {after}", violations)


def tour(n):
    """Calls that must all work, each with what it may be told where it was cut short before."""
    o, c = f"tour-{n}", f"tour-{n}-c"
    payment = f"(SELECT payment_id FROM payguard.payments WHERE idempotency_key = '{c}')"
    refund = f"(SELECT refund_id FROM payguard.refunds WHERE idempotency_key = '{c}')"
    return [
        f"SELECT payguard.create_order('{o}', 100, 'EUR', 'me', clock_timestamp() + '1 hour')",
        f"SELECT payguard.pay_order('{o}', '{o}')",
        f"SELECT payguard.refund_order('{o}', '{o}', 10, 'x')",
        f"SELECT payguard.create_order('{c}', 100, 'EUR')",
        f"SELECT payguard.request_payment('{c}', '{c}', 'card')",
        f"SELECT count(*) FROM payguard.claim_tasks('tour', 5, '1 ms', NULL, '{{card}}')",
        f"SELECT payguard.report_payment({payment}, 'unknown', '{c}')",
        f"SELECT payguard.record_notification('card', '{c}', channel_status := 'succeeded', channel_txn_id := '{c}')",
        f"SELECT payguard.record_payment('{c}', 'card', '{c}-2', 100, 'EUR')",
        f"SELECT payguard.refund_payment({payment}, '{c}', 20, 'x')",
        f"SELECT payguard.report_refund({refund}, 'succeeded', '{c}')",
        f"SELECT payguard.record_reversal('card', '{c}', '{c}', 'chargeback', 5, 'EUR')",
        f"SELECT count(*) FROM payguard.pay_orders(ARRAY[('{o}', '{o}', NULL, NULL, NULL, NULL)]::payguard.pay_request[])",
        "SELECT count(*) FROM payguard.maintain(100)",
    ]


def cut_short(tap, server):
    """statement_timeout from 0.1 to 50 ms, while others hold the orders' locks now and then."""
    cursor = connect(server).cursor()
    stop = threading.Event()

    def disturb():
        other = connect(server).cursor()
        while not stop.is_set():
            other.execute("BEGIN; SELECT count(*) FROM (SELECT 1 FROM payguard.orders WHERE order_id LIKE 'tour-%'"
                          " ORDER BY updated_at DESC LIMIT 3 FOR UPDATE SKIP LOCKED) o;"
                          " SELECT pg_sleep(0.004); COMMIT")

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    cut = made = 0
    wrong = []
    for n, limit in enumerate([1, 1, 1, 2, 2, 3, 4, 5, 7, 10, 14, 20, 30, 50] * 3):
        for sql in tour(n):
            for attempt in range(200):
                try:
                    # (a time-out of the call before may arrive as late as here)
                    cursor.execute(f"SET statement_timeout = {limit if attempt < 5 else 0}")
                    cursor.execute(sql)
                    made += 1
                    break
                except psycopg2.Error as error:
                    if error.pgcode != "57014":
                        wrong.append(f"{error.pgcode}: {error}".strip())
                        break
                    cut += 1
    cursor.execute("SET statement_timeout = 0")
    stop.set()
    thread.join(10)
    tap.ok(not wrong and made, f"{cut} calls cut short by statement_timeout, all work when made again ({made})",
           wrong)
    tap.ok(cut > 20, "some were cut short")


def at_the_end(tap, server):
    """The version and the sequences at their maximum: a clear error, and nothing written."""
    cursor = connect(server).cursor()
    for store in ("spi", "heap"):
        cursor.execute(f"SET payguard.store = {store}")
        order = f"last-{store}"
        cursor.execute("INSERT INTO payguard.orders (order_id, amount, currency, status, version, refunded_amount,"
                       " created_at, updated_at) VALUES (%s, 1, 'EUR', 'unpaid', %s, 0, now(), now())",
                       (order, MAX))
        for call in ("try_pay_order(%s, %s)", "start_payment(%s, %s, 'card')"):
            try:
                cursor.execute(f"SELECT outcome, version FROM payguard.{call}", (order, order))
                tap.ok(False, f"{store}: no version after the last: {call}", [cursor.fetchone()])
            except psycopg2.Error as error:
                tap.ok(error.pgcode == "22003", f"{store}: no version after the last: {call}", [error])
        cursor.execute("SELECT status, version FROM payguard.orders WHERE order_id = %s", (order,))
        row = cursor.fetchone()
        tap.ok(row == ("unpaid", MAX), f"{store}: and the order is as it was", [row])
        cursor.execute("SELECT count(*) FROM payguard.payments WHERE order_id = %s", (order,))
        tap.ok(cursor.fetchone() == (0,), f"{store}: and has no payment")
    cursor.execute("RESET payguard.store")
    cursor.execute("SET payguard.allow_unsafe_ddl = on")
    cursor.execute("SELECT payguard.create_order('sequence', 1, 'EUR')")
    for sequence, sql in (("events_event_id_seq", "SELECT payguard.pay_order('sequence', 'sequence')"),
                          ("tasks_task_id_seq", "SELECT payguard.request_payment('sequence', 'sequence', 'card')")):
        cursor.execute(f"SELECT last_value FROM payguard.{sequence}")
        before = cursor.fetchone()[0]
        cursor.execute(f"SELECT setval('payguard.{sequence}', {MAX})")
        try:
            cursor.execute(sql)
            tap.ok(False, f"{sequence} is at its end")
        except psycopg2.Error as error:
            tap.ok(error.pgcode == "2200H", f"{sequence} is at its end", [error])
        cursor.execute(f"SELECT setval('payguard.{sequence}', {before})")
        cursor.execute("SELECT status, version FROM payguard.orders WHERE order_id = 'sequence'")
        row = cursor.fetchone()
        tap.ok(row == ("unpaid", 1), "and nothing is written", [row])
    cursor.execute("SET payguard.allow_unsafe_ddl = off")


def little_memory(tap, server):
    """A backend that may not grow: out of memory is an error like any other."""
    cursor = connect(server).cursor()
    pid = cursor.connection.get_backend_pid()
    cursor.execute("SELECT payguard.order_status('order-1')")
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * 4096
    failed, wrong = 0, []
    for spare in (1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20):
        os.system(f"prlimit --pid {pid} --as={size + spare}:")
        for n in (10, 1000, 20000):
            try:
                cursor.execute("SELECT count(*) FROM payguard.pay_orders(ARRAY(SELECT ROW('order-' || i, 'many-' || i,"
                               f" NULL, NULL, NULL, NULL)::payguard.pay_request FROM generate_series(1, {n}) i))")
            except psycopg2.Error as error:
                failed += 1
                if error.pgcode not in ("53200", "54000"):
                    wrong.append(f"{error.pgcode}: {error}".strip())
                if cursor.connection.closed:
                    cursor = connect(server).cursor()
                    pid = cursor.connection.get_backend_pid()
    os.system(f"prlimit --pid {pid} --as=unlimited:")
    tap.ok(failed and not wrong, f"out of memory {failed} times: an error, and the session goes on", wrong)
    cursor.execute("SELECT count(*) FROM payguard.pay_orders(ARRAY(SELECT ROW('order-' || i, 'many-' || i,"
                   " NULL, NULL, NULL, NULL)::payguard.pay_request FROM generate_series(1, 20000) i))")
    tap.ok(cursor.fetchone() == (20000,), "and with memory it works")


def main():
    seed = int(os.environ.get("PAYGUARD_SEED") or random.SystemRandom().randrange(10**9))
    calls = int(os.environ.get("PAYGUARD_CALLS") or 6000)
    tap = Tap()
    print(f"# PAYGUARD_SEED={seed}")
    with Cluster() as server:
        cursor = connect(server).cursor()
        cursor.execute("CREATE EXTENSION payguard")
        cursor.execute("SELECT payguard.register_channel('card', first_query_after := '0 s')")
        cursor.execute("SELECT count(payguard.create_order('order-' || i, 100, 'EUR')) FROM generate_series(1, 9) i")
        cut_short(tap, server)
        sound(tap, server, "calls that were cut short")
        random_calls(tap, server, seed, calls)
        sound(tap, server, "random calls")
        little_memory(tap, server)
        sound(tap, server, "too little memory")
        at_the_end(tap, server)
    print(f"1..{tap.count}")
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
