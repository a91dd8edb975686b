#!/usr/bin/python3
"""Stress: many clients pay, retry, cancel, change, revoke and batch the same few orders at once.

At each isolation level the clients keep a record of every answer they were given; at the end
the tables must agree with all of them, and verify() must find nothing.

PAYGUARD_SEED repeats a choice of calls (their timing stays random), PAYGUARD_SECONDS is how
long each part runs, PAYGUARD_CLIENTS how many clients there are; with PAYGUARD_STOP it ends with the first part
that fails.
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
sys.dont_write_bytecode = True

import psycopg2
import psycopg2.extensions

from cluster import Cluster
from tap import Tap, choose_seed

SEED = choose_seed()
SECONDS = float(os.environ.get("PAYGUARD_SECONDS") or 4)
CLIENTS = int(os.environ.get("PAYGUARD_CLIENTS") or 16)
ORDERS = 200    # in one generation
WINDOW = 6      # of them are in use at a moment, so that the clients meet
LEVELS = ["read committed", "repeatable read", "serializable"]

# What a call may be told by design; anything else is a defect.
EXPECTED = {"PY101", "PY102", "PY201", "PY301", "PY302", "PY303", "PY501", "40001"}
REFUSALS = {"order_already_paid", "order_closed", "version_conflict", "idempotency_key_reused",
            "idempotency_key_revoked", "payment_failed", "amount_mismatch"}


class Server(Cluster):
    def connect(self, level=None):
        connection = super().connect()
        if level:
            with connection.cursor() as cursor:
                cursor.execute(f"SET default_transaction_isolation = '{level}'")
                cursor.execute("SET lock_timeout = '30s'")
        return connection


class Record:
    """What the clients of one part were told, and what they found wrong with it."""

    def __init__(self, name):
        self.name = name
        self.lock = threading.Lock()
        self.paid = {}          # (order, key) -> payment_id, acknowledged
        self.revoked = set()    # keys
        self.told_paid = set()  # (order, key) that were told: paid by another call
        self.counts = {}
        self.wrong = {"deadlock": [], "sqlstate": [], "replay": [], "reuse": [], "revoked": [],
                      "outcome": []}

    def count(self, what):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + 1

    def complain(self, kind, text):
        with self.lock:
            self.wrong[kind].append(text)

    def acknowledge(self, order, key, payment_id, was_known):
        """A committed call was told that the order is paid by payment_id."""
        with self.lock:
            known = self.paid.setdefault((order, key), payment_id)
            if known != payment_id:
                self.wrong["replay"].append(f"{order} {key}: {payment_id}, before {known}")
            if key in self.revoked:
                self.wrong["revoked"].append(f"{order} {key}: paid and revoked")
        self.count("replayed" if was_known else "paid")

    def some_paid(self, rnd):
        with self.lock:
            if not self.paid:
                return None
            return rnd.choice(list(self.paid.items())[-40:])


class Client(threading.Thread):
    def __init__(self, cluster, level, record, stage, number):
        super().__init__(daemon=True)
        self.number = number
        self.cluster, self.level, self.record, self.stage = cluster, level, record, stage
        self.rnd = random.Random(f"{SEED} {record.name} {number}")
        self.crash = None

    def run(self):
        try:
            connection = self.cluster.connect(self.level)
            self.cursor = connection.cursor()
            while not self.stage.over():
                self.step()
            connection.close()
        except Exception as error:      # reported by the main thread
            self.crash = repr(error)

    def call(self, sql, *arguments):
        """Runs one call until it is not told to repeat itself. Returns (rows, None) or (None, SQLSTATE)."""
        while True:
            try:
                self.cursor.execute(sql, arguments)
                return self.cursor.fetchall(), None
            except psycopg2.Error as error:
                state = error.pgcode or "no SQLSTATE"
                self.record.count(state)
                if state == "40P01":
                    self.record.complain("deadlock", sql)
                elif state not in EXPECTED:
                    self.record.complain("sqlstate", f"{state}: {error}".strip())
                if state == "40001" and not self.stage.over():
                    continue
                return None, state

    def pick(self):
        return self.stage.order(self.rnd)

    def key(self, order):
        """Mostly one of few keys of the order, so that calls are repeated; some keys cross."""
        r = self.rnd.random()
        if r < 0.70:
            return f"{order}/{self.rnd.randrange(3)}"
        if r < 0.85:
            return f"{self.stage.generation}/x{self.rnd.randrange(ORDERS)}"
        return f"{order}/{self.rnd.randrange(10**12)}"

    def step(self):
        kind = self.rnd.choices(
            [self.pay, self.try_pay, self.repeat, self.reuse, self.cancel, self.update,
             self.revoke, self.batch, self.long_transaction],
            [30, 20, 12, 8, 3, 10, 3, 8, 6])[0]
        kind()

    def pay(self):
        order = self.pick()
        key = self.key(order)
        rows, state = self.call("SELECT outcome, payment_id, replayed FROM payguard.pay_order(%s, %s)",
                            order, key)
        if rows:
            self.answer(order, key, *rows[0])
        elif state == "PY101":
            self.record.told_paid.add((order, key))

    def try_pay(self):
        order = self.pick()
        key = self.key(order)
        rows, state = self.call(
            "SELECT outcome, payment_id, replayed FROM payguard.try_pay_order(%s, %s)", order, key)
        if rows:
            self.answer(order, key, *rows[0])
        elif state != "40001":
            self.record.complain("sqlstate", f"try_pay_order() raised {state}")

    def answer(self, order, key, outcome, payment_id, replayed):
        if outcome == "paid":
            self.record.acknowledge(order, key, payment_id, replayed)
        elif outcome in REFUSALS:
            self.record.count(outcome)
            if outcome == "order_already_paid":
                self.record.told_paid.add((order, key))
        else:
            self.record.complain("outcome", f"{order} {key}: {outcome}")

    def repeat(self):
        """The retry of an acknowledged call is answered with its payment."""
        known = self.record.some_paid(self.rnd)
        if not known:
            return
        (order, key), payment_id = known
        rows, state = self.call(
            "SELECT outcome, payment_id, replayed FROM payguard.pay_order(%s, %s)", order, key)
        if rows:
            if rows[0] != ("paid", payment_id, True):
                self.record.complain("replay", f"{order} {key}: {rows[0]}, not {payment_id}")
            self.record.count("replayed")
        elif state != "40001":
            self.record.complain("replay", f"{order} {key}: {state}, not {payment_id}")

    def reuse(self):
        """The key of an acknowledged call is refused to any other request."""
        known = self.record.some_paid(self.rnd)
        if not known:
            return
        (order, key), _ = known
        if self.rnd.random() < 0.5:
            rows, state = self.call("SELECT outcome FROM payguard.pay_order(%s, %s, 1)", order, key)
        else:
            other = self.pick()
            if other == order:
                return
            rows, state = self.call("SELECT outcome FROM payguard.pay_order(%s, %s)", other, key)
        if state not in ("PY301", "40001"):
            self.record.complain("reuse", f"{order} {key}: {rows or state}, not PY301")

    def cancel(self):
        if self.rnd.random() < 0.5:
            self.call("SELECT status FROM payguard.cancel_order(%s)", self.pick())

    def update(self):
        order = self.pick()
        rows, _ = self.call("SELECT version FROM payguard.orders WHERE order_id = %s", order)
        if rows:
            self.call("SELECT version FROM payguard.update_order(%s, %s, %s)",
                      order, rows[0][0], self.rnd.randrange(100, 10**6))

    def revoke(self):
        order = self.pick()
        key = self.key(order)
        rows, _ = self.call(
            "SELECT outcome, payment_id, replayed FROM payguard.revoke_key(%s, %s)", order, key)
        if not rows:
            return
        outcome, payment_id, _ = rows[0]
        if outcome == "paid":
            self.record.acknowledge(order, key, payment_id, True)
        elif outcome == "key_revoked":
            self.record.count("revoked")
            with self.record.lock:
                self.record.revoked.add(key)
                if (order, key) in self.record.paid:
                    self.record.wrong["revoked"].append(f"{order} {key}: paid, then revoked")
        else:
            self.record.complain("outcome", f"revoke_key: {outcome}")

    def batch(self):
        calls = []
        for _ in range(self.rnd.randrange(2, 7)):
            order = self.pick()
            calls.append((order, self.key(order), 1 if self.rnd.random() < 0.1 else None))
        self.pay_batch(calls)

    def pay_batch(self, calls):
        rows, _ = self.call(
            "SELECT order_id, outcome, payment_id, replayed FROM payguard.pay_orders(ARRAY["
            + ", ".join(["(%s, %s, %s, NULL, NULL, NULL)"] * len(calls))
            + "]::payguard.pay_request[])", *[value for call in calls for value in call])
        if rows is None:
            return
        if [row[0] for row in rows] != [call[0] for call in calls]:
            self.record.complain("outcome", f"{calls} was answered {rows}")
        for (order, key, _), row in zip(calls, rows):
            self.answer(order, key, *row[1:])

    def long_transaction(self):
        """Pays inside a transaction that does more, and that may not come to its end."""
        order = self.pick()
        key = self.key(order)
        answers = []
        ends_well = self.rnd.random() < 0.6
        try:
            self.cursor.execute("BEGIN")
            self.cursor.execute("SAVEPOINT s")
            self.cursor.execute("SELECT outcome, payment_id, replayed "
                                "FROM payguard.try_pay_order(%s, %s)", (order, key))
            if self.rnd.random() < 0.3:
                self.cursor.execute("ROLLBACK TO SAVEPOINT s")
            else:
                answers.append(self.cursor.fetchone())
            self.cursor.execute("SELECT outcome, payment_id, replayed "
                                "FROM payguard.try_pay_order(%s, %s)", (order, key))
            answers.append(self.cursor.fetchone())
            self.cursor.execute("COMMIT" if ends_well else "ROLLBACK")
        except psycopg2.Error as error:
            state = error.pgcode or "no SQLSTATE"
            self.record.count(state)
            self.cursor.execute("ROLLBACK")
            if state == "40P01":
                self.record.complain("deadlock", "a transaction that pays one order")
            elif state != "40001":
                self.record.complain("sqlstate", f"{state} from try_pay_order(): {error}".strip())
            return
        if len(answers) == 2 and answers[0][0] == "paid" and (
                answers[1] != ("paid", answers[0][1], True)):
            self.record.complain("replay", f"{order} {key}: {answers} in one transaction")
        if ends_well:
            for answer in answers:
                self.answer(order, key, *answer)


class BatchClient(Client):
    """Batches only, large ones: orders that others ask for too, in any order, or orders of its
    own with keys that cross those of others."""

    def step(self):
        stage, rnd = self.stage, self.rnd
        generation = stage.generation
        if rnd.random() < 0.5:
            orders = rnd.sample([f"{generation}/{i}" for i in range(40)], 10)
        else:
            orders = rnd.sample([f"{generation}/{40 + 20 * self.number + i}" for i in range(20)], 10)
        keys = [f"{generation}/b{i}" for i in rnd.sample(range(60), 10)]
        calls = list(zip(orders, keys, [None] * 10))
        # an order asked twice, the first time wrongly; a call asked twice; a key asked twice
        calls.insert(rnd.randrange(8), (orders[9], f"{generation}/w", 1))
        calls.append((orders[0], keys[0], None))
        calls.insert(5, (orders[8], keys[1], None))
        self.pay_batch(calls)


class Stage:
    """The orders that are in use: a window that moves over one generation after another."""

    def __init__(self, connection, name, seconds, generation_seconds):
        self.cursor = connection.cursor()
        self.name = name
        self.number = 0
        self.generation_seconds = generation_seconds
        self.next_generation()
        self.end = time.monotonic() + seconds

    def next_generation(self):
        name = f"{self.name}{self.number}"
        self.cursor.execute("SELECT count(payguard.create_order(%s || '/' || i, 100 + i, 'EUR')) "
                            "FROM generate_series(0, %s) i", (name, ORDERS - 1))
        self.number += 1
        self.generation, self.began = name, time.monotonic()

    def over(self):
        return time.monotonic() >= self.end

    def order(self, rnd):
        share = min((time.monotonic() - self.began) / self.generation_seconds, 1)
        return f"{self.generation}/{int(share * (ORDERS - WINDOW)) + rnd.randrange(WINDOW)}"

    def play(self):
        while not self.over():
            if time.monotonic() - self.began > self.generation_seconds:
                self.next_generation()
            time.sleep(0.01)


def run_part(cluster, tap, name, level, client_class, generation_seconds, nclients):
    connection = cluster.connect()
    record = Record(name)
    stage = Stage(connection, name.replace(" ", "-"), SECONDS, generation_seconds)
    clients = [client_class(cluster, level, record, stage, i) for i in range(nclients)]
    for client in clients:
        client.start()
    stage.play()
    for client in clients:
        client.join(60)
    crashes = [client.crash or "it hangs" for client in clients if client.crash or client.is_alive()]
    print("#", name, dict(sorted(record.counts.items())))
    tap.ok(not crashes, f"{name}: every client came to its end", *crashes[:5])

    for kind, text in [("deadlock", "no deadlock"),
                       ("sqlstate", "no error that a call does not promise"),
                       ("outcome", "no outcome that a call does not promise"),
                       ("replay", "a retry of an acknowledged call gets the same payment"),
                       ("reuse", "a key is refused to another request"),
                       ("revoked", "a key is never both paid and revoked")]:
        wrong = record.wrong[kind]
        tap.ok(not wrong, f"{name}: {text}", f"{len(wrong)} times", *wrong[:5])

    cursor = connection.cursor()
    cursor.execute("SELECT order_id, idempotency_key, payment_id FROM payguard.payments "
                   "WHERE status = 'succeeded'")
    found = {(order, key): payment_id for order, key, payment_id in cursor}
    lost = [f"{call}: {payment_id}, found {found.get(call)}"
            for call, payment_id in record.paid.items() if found.get(call) != payment_id]
    tap.ok(not lost, f"{name}: every acknowledged payment is there", *lost[:5])
    refused = [call for call in record.told_paid if call in found]
    tap.ok(not refused, f"{name}: no retry was told that another call paid", *refused[:5])
    cursor.execute("SELECT order_id, count(*) FROM payguard.payments WHERE status = 'succeeded' "
                   "GROUP BY order_id HAVING count(*) > 1")
    twice = cursor.fetchall()
    tap.ok(not twice, f"{name}: each order is paid at most once", *twice[:5])
    cursor.execute("SELECT invariant, object, problem FROM payguard.verify() LIMIT 20")
    violations = cursor.fetchall()
    tap.ok(not violations, f"{name}: verify() finds nothing", *violations[:5])
    tap.ok(record.counts.get("paid", 0) >= 20 and record.counts.get("replayed", 0) >= 5,
           f"{name}: payments were made and repeated")
    connection.close()


def main():
    tap = Tap()
    with Server("deadlock_timeout = '100ms'") as cluster:
        connection = cluster.connect()
        connection.cursor().execute("CREATE EXTENSION payguard SCHEMA pg_catalog")
        connection.close()
        parts = [(level, level, Client, 0.4, CLIENTS) for level in LEVELS]
        parts.append(("batches", "read committed", BatchClient, 0.05, CLIENTS // 2))
        for part in parts:
            if not (tap.failed and os.environ.get("PAYGUARD_STOP")):
                run_part(cluster, tap, *part)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
