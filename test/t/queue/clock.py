#!/usr/bin/python3
"""The clock is set back and forward while the server runs: leases, deadlines, ids, events, maintain().

The server's clock is libfaketime's, which reads its offset from a file. What is expected: a clock
that is set forward ends leases, and then the channel is asked, never charged again blindly; one that
is set back ends none, and keeps nothing waiting that was put off in the wrong future. PAYGUARD_SEED.
"""
import os
import random
import sys
import threading
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
from cluster import Clock, Cluster  # noqa: E402
from tap import Tap, choose_seed  # noqa: E402

HOUR, DAY = 3600, 86400
YEAR = 365 * DAY


class Session:
    def __init__(self, server):
        self.connection = psycopg2.connect(server.dsn)
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        # what loops or waits is an error, in real time
        self.cursor.execute("SET statement_timeout = '60 s'")

    def row(self, sql, *args):
        self.cursor.execute(sql, args or None)
        return self.cursor.fetchone()

    def rows(self, sql, *args):
        self.cursor.execute(sql, args or None)
        return self.cursor.fetchall()

    def code(self, sql, *args):
        """The SQLSTATE of a call that is to fail."""
        try:
            return self.row(sql, *args)
        except psycopg2.Error as error:
            return error.pgcode

    def claim(self, worker, lease="30 s", most=10):
        return self.rows("SELECT kind, order_id, task_id, lease_token, payment_id FROM"
                         " payguard.claim_tasks(%s, %s, %s) ORDER BY order_id", worker, most, lease)

    def answer(self, task, status="succeeded"):
        return self.row("SELECT outcome FROM payguard.complete_task(%s, %s, %s, %s, 100, 'EUR')",
                        task[2], task[3], status, "t" + task[4])[0]

    def request(self, order, expires="NULL"):
        self.row(f"SELECT payguard.create_order(%s, 100, 'EUR', NULL, {expires})", order)
        return self.row("SELECT payment_id FROM payguard.request_payment(%s, %s, 'card')", order, "key-" + order)[0]

    def status(self, order):
        return self.row("SELECT status FROM payguard.orders WHERE order_id = %s", order)[0]

    def problems(self):
        return self.rows("SELECT duty, problem FROM payguard.maintain() WHERE problem IS NOT NULL")


def sound(tap, session, when):
    wrong = session.rows("SELECT * FROM payguard.verify() LIMIT 5")
    wrong += session.rows("SELECT order_id, count(*) FROM payguard.payments WHERE status = 'succeeded'"
                          " GROUP BY 1 HAVING count(*) > 1")
    wrong += session.rows("SELECT order_id, version FROM (SELECT order_id, version,"
                          " lag(version) OVER (PARTITION BY order_id ORDER BY event_id) AS before"
                          " FROM payguard.events WHERE version IS NOT NULL) e WHERE version <> before + 1")
    tap.ok(not wrong, f"{when}: nothing is paid twice, events are in the order of versions, verify() finds nothing",
           wrong)


def leases(tap, clock, a, b):
    """Two workers, of which one holds a charge."""
    a.request("back")
    held, = a.claim("a")
    clock.set(-HOUR)
    tap.equal(b.claim("b"), [], "set back by an hour: the task is still the first worker's")
    tap.equal(b.problems(), [], "maintain() goes on, an hour ago")
    tap.equal(b.claim("b"), [], "and takes no lease away")
    tap.equal(a.answer(held), "paid", "whose answer is taken")
    clock.set(0)
    tap.equal(a.answer(held), "paid", "and taken again, when the clock is right")

    a.request("forward")
    held, = a.claim("a")
    clock.set(HOUR)
    asked = b.claim("b") + b.claim("b")             # the first one makes the query due
    tap.equal([task[:2] for task in asked], [("query", "forward")],
              "set forward by an hour: the lease is over, and the channel is asked, not charged again")
    tap.equal(a.answer(held), "lease_lost", "the first worker's answer counts without its lease")
    tap.equal(a.status("forward"), "paid", "and pays")
    clock.set(0)
    tap.ok(b.answer(asked[0]) in ("paid", "lease_lost"), "the second worker's answer says the same")
    sound(tap, a, "two workers")


def deadlines(tap, clock, a):
    """Orders near their deadline: what the clock says while the order is locked decides."""
    pay = "SELECT outcome FROM payguard.pay_order(%s, %s)"
    for order in ("due", "refused", "open", "slow"):
        a.row("SELECT payguard.create_order(%s, 100, 'EUR', NULL, clock_timestamp() + '1 h')", order)
    start = "SELECT payment_id FROM payguard.start_payment(%s, %s, 'card')"
    opened, = a.row(start, "open", "key-open")
    slow, = a.row(start, "slow", "key-slow")
    clock.set(2 * HOUR)
    tap.equal(a.code(pay, "refused", "key-refused"), "PY102", "past its deadline an order is refused")
    clock.set(0)
    tap.equal(a.code(pay, "refused", "key-refused"), ("paid",), "the clock is set back: it is paid")
    clock.set(2 * HOUR)
    tap.equal(a.problems(), [], "maintain() goes on, in two hours")
    tap.equal(a.status("due"), "expired", "an order expires")
    tap.equal(a.row("SELECT outcome FROM payguard.report_payment(%s, 'succeeded', 'late', 100, 'EUR')", opened),
              ("paid",), "an attempt that was open when its order was to expire, and succeeded, pays")
    clock.set(-DAY)
    tap.equal(a.problems(), [], "maintain() goes on, a day ago")
    tap.equal((a.status("due"), a.code(pay, "due", "key-due")), ("expired", "PY102"),
              "what has expired stays so, and is refused")
    tap.equal(a.code(pay, "refused", "key-refused"), ("paid",), "and what was paid is replayed")
    clock.set(0)
    tap.equal(a.row("SELECT outcome FROM payguard.report_payment(%s, 'failed')", slow), ("failed",),
              "an attempt that ends without money")
    tap.equal(a.status("slow"), "expired", "lets its order expire as it was to")
    sound(tap, a, "deadlines")


def wrong_future(tap, clock, a, b):
    """A year ahead for a while: what was put off then is not left for a year."""
    before = a.request("before")
    taken, = [task for task in a.claim("a", most=1000) if task[1] == "before"]
    a.answer(taken, "pending")                      # its query is due in a moment
    clock.set(YEAR)
    b.claim("b")                                    # b looks at the queue in the future
    a.request("during")
    a.row("SELECT payguard.create_order('surplus', 100, 'EUR')")
    a.row("SELECT payguard.pay_order('surplus', 'key-surplus')")
    a.row("SELECT payguard.record_payment('surplus', 'card', 'again', 100, 'EUR')")
    for task in a.claim("a", "1 day", 100):         # among them the query of "before"
        if task[0] == "query":
            a.answer(task, "pending")
    clock.set(0)
    tap.equal(a.problems() + b.problems(), [], "maintain() goes on when a year ahead was wrong")
    waiting = a.rows("SELECT order_id, kind, run_at FROM payguard.tasks WHERE run_at > clock_timestamp() + '1 day'")
    tap.equal(waiting, [], "no task waits for a year")
    tap.equal(a.rows("SELECT order_id, leased_until FROM payguard.leases WHERE leased_until >"
                     " clock_timestamp() + '1 day'"), [], "and no lease is held for a year")
    found = {(task[1], task[0]) for session in (a, b) for task in session.claim("c", "1 ms", 100)}
    deadline = time.time() + 30
    wanted = {("before", "query"), ("during", "query"), ("surplus", "query_refund")}
    while not wanted <= found and time.time() < deadline:
        time.sleep(0.1)
        found |= {(task[1], task[0]) for session in (a, b) for task in session.claim("c", "1 ms", 100)}
    tap.ok(wanted <= found, "each open attempt and refund is asked about", [found])
    tap.ok(("during", "charge") not in found and ("surplus", "refund") not in found,
           "what a worker may have done is not done again", [found])
    tap.equal(a.rows("SELECT order_id FROM payguard.alerts WHERE kind = 'payment_open_too_long'"
                     " AND resolved_at IS NULL AND order_id IN ('during')"), [("during",)],
              "an attempt that seems to be of the future is told of as one that is open too long")
    tap.equal(a.row("SELECT outcome FROM payguard.report_payment(%s, 'succeeded', 'tbefore', 100, 'EUR')", before),
              ("paid",), "and is paid when the channel says so")
    sound(tap, a, "a wrong future")


def ids(tap, clock, a):
    clock.set("2026-01-01 00:00:00")
    many, different = a.row("SELECT count(*), count(DISTINCT payguard.new_order_id()) FROM generate_series(1, 50000)")
    tap.equal(different, many, "ids are unique while the clock stands still")
    a.row("SELECT count(payguard.create_order('still-' || i, 1, 'EUR')) FROM generate_series(1, 500) i")
    tap.equal(a.row("SELECT count(payguard.pay_order('still-' || i, 'still-' || i)) FROM generate_series(1, 500) i"),
              (500,), "and orders are paid")
    tap.equal(a.problems(), [], "maintain() goes on while the clock stands still")
    clock.set(0)
    sound(tap, a, "a clock that stands still")


class Worker(threading.Thread):
    """Claims and answers; a claim may outlive its lease. The channel counts what it is told to charge."""

    def __init__(self, server, number, seed, channel, stop):
        super().__init__(daemon=True)
        self.session = Session(server)
        self.number, self.channel, self.stop = number, channel, stop
        self.rnd = random.Random(f"{seed} {number}")
        self.wrong = []
        # the server's own time-outs go by the clock
        self.session.cursor.execute("SET statement_timeout = 0")

    def run(self):
        try:
            while not self.stop.is_set():
                for task in self.session.claim(f"w{self.number}", f"{self.rnd.choice([1, 50, 30000])} ms", 3):
                    self.work(task)
                if self.rnd.random() < 0.1:
                    self.wrong += self.session.problems()
        except psycopg2.Error as error:
            self.wrong.append(f"{error.pgcode}: {error}".strip())

    def work(self, task):
        kind, order, task_id, _, payment = task
        time.sleep(self.rnd.choice([0, 0, 0.01, 0.05]))
        with self.channel["lock"]:
            if kind == "charge":
                self.channel["charged"].setdefault(order, []).append(payment)
            status = "succeeded" if payment in self.channel["charged"].get(order, []) else "not_found"
        if kind == "close" and status == "not_found":
            status = "closed"
        if self.rnd.random() < 0.2:
            status = "unknown"
        outcome = self.session.answer(task, status)
        if outcome not in ("lease_lost", "recorded"):
            with self.channel["lock"]:
                self.channel["acknowledged"].setdefault((task_id, task[3]), []).append(self.number)


def jumping(tap, clock, server, a, seed):
    """Workers and payers while the clock jumps about."""
    rnd = random.Random(seed)
    channel = {"lock": threading.Lock(), "charged": {}, "acknowledged": {}}
    stop = threading.Event()
    workers = [Worker(server, n, seed, channel, stop) for n in range(3)]
    for worker in workers:
        worker.start()
    wrong = []
    for n in range(25):
        clock.set(rnd.choice([0, 0, 1, -1, 4, -4, 40, -40, HOUR, -HOUR, 2 * DAY, -2 * DAY, YEAR]))
        for i in range(4):
            order = f"jump-{n}-{i}"
            try:
                a.request(order, rnd.choice(["NULL", "clock_timestamp() + '30 s'", "clock_timestamp() + '1 h'"]))
            except psycopg2.Error as error:
                if error.pgcode != "PY102":         # the clock moved between the two calls
                    wrong.append(f"{error.pgcode}: {error}".strip())
        time.sleep(rnd.uniform(0.02, 0.1))
    clock.set(0)
    # now everything has to come to its end: a channel's answer is never far
    deadline = time.time() + 60
    open_ones = None
    while time.time() < deadline:
        wrong += a.problems()
        open_ones = a.rows("SELECT p.order_id, p.status, t.kind, t.run_at, l.leased_until, clock_timestamp()"
                           " FROM payguard.payments p LEFT JOIN payguard.tasks t USING (payment_id)"
                           " LEFT JOIN payguard.leases l ON l.order_id = p.order_id"
                           " WHERE p.order_id LIKE 'jump-%%' AND p.status IN ('pending', 'unknown', 'closing')"
                           " AND p.payment_id = ANY (%s::uuid[])",
                           [p for ps in channel["charged"].values() for p in ps])
        if not open_ones:
            break
        for payment, in a.rows("SELECT DISTINCT payment_id FROM payguard.payments WHERE status IN"
                               " ('unknown', 'closing') AND order_id LIKE 'jump-%'"):
            a.row("SELECT outcome FROM payguard.query_payment(%s)", payment)
        time.sleep(0.2)
    stop.set()
    for worker in workers:
        worker.join(60)
        wrong += worker.wrong + ([f"worker {worker.number} hangs"] if worker.is_alive() else [])
    tap.ok(not wrong, "workers, payers and maintain() go on while the clock jumps", wrong)
    tap.ok(not open_ones, "and every charge that was made comes to its end", open_ones)
    # a worker's answer can have been lost, and a query have come before the charge: the channel tells by itself
    for payments in channel["charged"].values():
        a.row("SELECT outcome FROM payguard.report_payment(%s, 'succeeded', %s, 100, 'EUR')",
              payments[0], "t" + payments[0])
    charged = [(order, payments) for order, payments in channel["charged"].items() if len(set(payments)) > 1]
    tap.ok(not charged and len(channel["charged"]) > 20, "no order is charged under two names", charged)
    twice = [(task, who) for task, who in channel["acknowledged"].items() if len(who) > 1]
    tap.ok(not twice, "no lease is two workers'", twice)
    unpaid = a.rows("SELECT p.order_id, p.status FROM payguard.payments p WHERE p.payment_id = ANY (%s::uuid[])"
                    " AND p.status NOT IN ('succeeded', 'surplus')",
                    [p for ps in channel["charged"].values() for p in ps])
    tap.equal(unpaid, [], "what the channel has charged is paid, or surplus")
    sound(tap, a, "a clock that jumps")


def main():
    seed = choose_seed()
    tap = Tap()
    server = Cluster("max_wal_size = 1GB")
    clock = Clock(server.folder)
    server.environment = clock.environment
    with server:
        a, b = Session(server), Session(server)
        clock.set(DAY)
        ahead, = a.row("SELECT extract(epoch FROM clock_timestamp())")
        clock.set(0)
        tap.ok(abs(float(ahead) - time.time() - DAY) < 60, "the server's clock can be set")
        a.cursor.execute("CREATE EXTENSION payguard")
        a.row("SELECT payguard.register_channel('card', first_query_after := '1 s')")
        leases(tap, clock, a, b)
        deadlines(tap, clock, a)
        ids(tap, clock, a)
        jumping(tap, clock, server, a, seed)
        wrong_future(tap, clock, a, b)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
