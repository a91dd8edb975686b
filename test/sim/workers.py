#!/usr/bin/python3
"""The example worker, killed at random, over charge requests against channels that time out.

    workers.py [--requests 10000] [--workers 8] [--faults 0.2] [--seed N]

Makes a throwaway cluster with initdb and pg_ctl from PATH. Most requests go to two channels that
charge once for a payment_id, take their time, hang up and fall silent; a few go to a port where
nobody listens. The money of every fourth is reserved first, and captured, now and then less of it, or given up. There are no webhooks: what payguard knows, it knows from its workers. The status
is 0 where no promise is broken.
"""

import argparse
import collections
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]

import actors
import books
import channel
import cluster
import wire

WORKER = os.path.join(HERE, "../../examples/worker/worker.py")
FAULTS = {
    "charge": {"timeout_before_charging": 5, "timeout_after_charging": 5, "not_found_yet": 3},
    "authorize": {"timeout_before_charging": 5, "timeout_after_charging": 5, "not_found_yet": 3, "authorized_less": 3},
    "capture": {"timeout_before": 5, "timeout_after": 5, "capture_refused": 3, "capture_late": 3, "capture_settles": 3},
}
SLOW = 0.03  # seconds that a call takes at most
LEASE = 3
BACKLOG = 60  # charges that wait while there are more requests to come

SETUP = """
    CREATE EXTENSION payguard;
    CREATE ROLE shop;
    CREATE ROLE operator;
    CREATE ROLE worker LOGIN;
    SELECT payguard.grant_access('shop', 'checkout');
    SELECT payguard.grant_access('operator', 'operator');
    SELECT payguard.grant_access('worker', 'channel');
    SELECT payguard.register_channel(name, first_query_after => '20 ms',
      max_query_interval => '100 ms') FROM unnest('{alpha,beta,nowhere}'::text[]) name"""

# One in a hundred at the channel that is not there.
CREATE = """
    SELECT count(payguard.create_order('order-' || n, 100 + n, 'EUR'))
    FROM generate_series(%s, %s) n"""
REQUEST = """
    SELECT count(payguard.request_payment('order-' || n, 'order-' || n,
             CASE WHEN mod(n, 100) = 0 THEN 'nowhere'
                  WHEN mod(n, 2) = 0 THEN 'alpha' ELSE 'beta' END,
             capture => CASE WHEN mod(n, 8) IN (1, 4) THEN 'manual' END))
    FROM generate_series(%s, %s) n"""
# Attempts that somebody wants closed at the channel that is not there.
START = "SELECT payment_id FROM payguard.start_payment(%s, %s, 'nowhere')"
CLOSE = "SELECT * FROM payguard.close_payment(%s)"

RESERVED = """
    SELECT p.payment_id::text, p.order_id, o.version, least(o.amount, p.authorized_amount) AS amount,
           o.amount > p.authorized_amount AS less
    FROM payguard.payments p JOIN payguard.orders o USING (order_id) WHERE p.status = 'authorized'"""

UNSETTLED = """
    SELECT 'task' AS what, kind, order_id, tries::text AS more FROM payguard.tasks
    WHERE dead_at IS NULL AND (channel <> 'nowhere' OR kind IN ('charge', 'close'))
    UNION ALL
    SELECT 'payment', status, order_id, NULL FROM payguard.payments
    WHERE status NOT IN ('succeeded', 'failed') AND channel <> 'nowhere'"""

ORACLES = {
    "every request has ended, or is asked about at the channel that is not there": """
        SELECT o.order_id, o.status, p.status FROM payguard.orders o
        LEFT JOIN payguard.payments p ON p.order_id = o.order_id
        WHERE CASE p.status WHEN 'succeeded' THEN o.status <> 'paid'
                            WHEN 'failed' THEN o.status <> 'unpaid'
              ELSE p.channel IS DISTINCT FROM 'nowhere' OR NOT EXISTS (
                SELECT FROM payguard.tasks t
                WHERE t.payment_id = p.payment_id AND t.kind = 'query' AND t.dead_at IS NULL) END""",
    "every other task has ended, or is a dead letter with its alert": """
        SELECT t.* FROM payguard.tasks t
        WHERE NOT (t.channel = 'nowhere' AND t.kind = 'query') AND NOT EXISTS (
          SELECT FROM payguard.alerts a
          WHERE a.kind = 'dead_task' AND a.task_id = t.task_id AND t.dead_at IS NOT NULL
            AND a.resolved_at IS NULL)""",
    "verify() finds nothing": "SELECT * FROM payguard.verify()",
}


class Torture:
    """One run on a database that has no payguard yet."""

    def __init__(self, server, seed, requests, workers=8, faults=0.2, patience=60):
        self.server = server
        self.seed = seed
        self.requests = requests
        self.faults = faults
        self.patience = patience  # seconds for all to settle
        self.random = random.Random(seed)
        self.workers = [None] * workers
        self.counts = collections.Counter()
        self.deviations = {}
        self.processes = []
        self.nobody = socket.socket()  # bound, but nobody listens: connections are refused
        self.nobody.bind(("127.0.0.1", 0))
        self.log = open(os.path.join(server.folder, "workers.log"), "w+", encoding="utf-8")

    def run(self):
        """→ whether nothing deviates."""
        began = time.monotonic()
        self.start()
        try:
            for number in range(len(self.workers)):
                self.start_worker(number)
            self.load()
            self.seconds = time.monotonic() - began
            unsettled = self.settle()
            self.end_workers()
            self.compare(unsettled)
        finally:
            for process in self.workers + self.processes:
                if process is not None:
                    process.kill()
        return not any(self.deviations.values())

    def start(self):
        """Sets up the database and the channels."""
        connection = psycopg2.connect(self.server.dsn)
        connection.autocommit = True
        connection.cursor().execute(SETUP)
        connection.close()
        self.database = actors.Database(self.server.dsn, self.counts, None)
        self.shop = actors.Database(self.server.dsn, self.counts, "shop")
        self.operator = actors.Database(self.server.dsn, self.counts, "operator")
        fork = multiprocessing.get_context("fork")
        here, there = fork.Pipe()
        self.processes.append(fork.Process(
            target=channel.main, args=(self.seed, self.faults, None, there, FAULTS, SLOW),
            daemon=True))
        self.processes[0].start()
        if not here.poll(20):
            raise RuntimeError("the channels did not start")
        self.port = here.recv()
        self.peer = wire.Peer(self.port, timeout=20)

    def start_worker(self, number, dsn=None, *options):
        urls = [f"{name}=http://127.0.0.1:{self.port}/{name}" for name in channel.NAMES]
        urls.append("nowhere=http://127.0.0.1:%d/nowhere" % self.nobody.getsockname()[1])
        self.workers[number] = subprocess.Popen(
            [sys.executable, WORKER, "--threads", "2", "--timeout", "1", "--lease", str(LEASE),
             *options, dsn or self.server.dsn.replace("user=postgres", "user=worker"), *urls],
            stderr=self.log)

    def load(self):
        """Asks for charges while workers are killed, and for three seconds more."""
        self.shop.rows(CREATE, -4, 0)
        for number in range(-4, 1):
            order_id = f"order-{number}"
            payment = self.shop.rows(START, order_id, order_id)[0]
            self.shop.rows(CLOSE, payment["payment_id"])
        asked = 0
        until = None
        kill_at = time.monotonic() + 1
        while until is None or time.monotonic() < until:
            self.ship()
            if asked < self.requests:
                asked = self.request(asked)
            elif until is None:
                until = time.monotonic() + 3
            if time.monotonic() > kill_at:
                self.kill(self.random.randrange(len(self.workers)))
                kill_at = time.monotonic() + self.random.uniform(0, 0.8)
            time.sleep(0.02)

    def request(self, asked, most=20):
        waiting = self.database.rows("SELECT count(*) AS n FROM payguard.tasks WHERE kind = 'charge'")
        if waiting[0]["n"] > BACKLOG:
            return asked
        last = min(asked + most, self.requests)
        self.shop.rows(CREATE, asked + 1, last)
        self.shop.rows(REQUEST, asked + 1, last)
        return last

    def ship(self):
        """Captures what is reserved, sometimes a part, or gives it up."""
        for row in self.database.rows(RESERVED):
            chance = self.random.random()
            if row["less"] or chance < 0.2:
                amount = max(1, row["amount"] // self.random.choice((1, 2)))
                self.ask("update_order(%s, %s, %s)", row["order_id"], row["version"], amount)
            self.ask("close_payment(%s)" if chance > 0.9 else "capture_payment(%s)", row["payment_id"])

    def ask(self, call, *values):
        try:
            self.shop.request(f"SELECT * FROM payguard.{call}", *values)
        except actors.Refused:  # it has changed meanwhile
            pass

    def kill(self, number):
        self.workers[number].kill()
        self.workers[number].wait()
        self.counts["killed"] += 1
        self.start_worker(number)

    def settle(self):
        """Waits until all is settled. → what is not in time, as lines of text"""
        deadline = time.monotonic() + self.patience
        while (rows := self.database.rows(UNSETTLED)) and time.monotonic() < deadline:
            self.ship()
            time.sleep(0.2)
        return [str(row) for row in rows]

    def end_workers(self):
        """SIGTERM: they end what they hold."""
        for worker in self.workers:
            worker.send_signal(signal.SIGTERM)
        self.deviations["workers end when they are told to"] = [
            f"status {status}" for worker in self.workers if (status := worker.wait(20)) != 0]
        self.workers = []
        self.log.seek(0)
        self.deviations["no worker has failed"] = [
            line.strip() for line in self.log if "Traceback" in line or " ERROR " in line]

    def compare(self, unsettled):
        self.deviations["all settles in time"] = unsettled
        self.books = self.peer.call("/books")
        charges = [charge for book in self.books.values() for charge in book["charges"]]
        times = collections.Counter(charge["order_id"] for charge in charges)
        self.deviations["each order is charged once at most"] = [
            f"{order_id}: {n} charges" for order_id, n in times.items() if n > 1]
        paid = {row["channel_txn_id"]: row for row in self.database.rows(
            "SELECT channel_txn_id, order_id, received_amount AS amount FROM payguard.payments"
            " WHERE status = 'succeeded'")}
        at_channels = {charge["txn"]: (charge["order_id"], charge["amount"]) for charge in charges}
        known = {txn: (row["order_id"], row["amount"]) for txn, row in paid.items()}
        self.deviations["the books agree"] = [
            f"{line}" for line in set(at_channels.items()) ^ set(known.items())]
        self.captures, wrong = books.Comparison(self.database, self.books).captures()
        self.deviations.update({f"nothing is {name}": trades for name, trades in wrong.items()})
        self.deviations["tasks of one order never run at the same time"] = self.overlaps()
        for name, sql in ORACLES.items():
            self.deviations[name] = [str(row) for row in self.database.rows(sql)]
        # what a worker held when it was killed runs out, and whoever claims next ends it
        deadline = time.monotonic() + 30
        while self.database.rows("SELECT FROM payguard.leases") and time.monotonic() < deadline:
            self.database.rows("SELECT * FROM payguard.claim_tasks('the end', 1, channels := '{no such channel}')")
            time.sleep(0.2)
        self.deviations["nothing is held at the end"] = [
            str(row) for row in self.database.rows("SELECT * FROM payguard.leases")]
        self.summarize(len(charges))
        self.give_up_nowhere()

    def overlaps(self):
        calls = collections.defaultdict(list)
        for order_id, begin, end in self.peer.call("/log"):
            calls[order_id].append((begin, end))
        problems = []
        for order_id, spans in calls.items():
            spans.sort()
            problems += [f"{order_id}: {later} begins before {earlier} has ended"
                         for earlier, later in zip(spans, spans[1:]) if later[0] < earlier[1]]
        return problems

    def summarize(self, charges):
        """The lines to print."""
        def listed(counter):
            return ", ".join(f"{name} {n}" for name, n in sorted(counter.items())) or "none"

        def grouped(sql):
            return listed({row["name"]: row["n"] for row in self.database.rows(
                f"SELECT {sql} GROUP BY 1")})

        calls, faults = collections.Counter(), collections.Counter()
        for book in self.books.values():
            calls.update(book["calls"])
            faults.update(book["faults"])
        self.lost = self.database.rows(
            "SELECT count(*) AS n FROM payguard.finished_tasks"
            " WHERE kind = 'charge' AND lease_token IS NULL")[0]["n"]
        self.summary = [
            f"seed {self.seed}: {self.requests} requests in {self.seconds:.0f} s, "
            f"{self.faults:.0%} faulty",
            f"workers killed {self.counts['killed']} times; charges whose lease ran out: {self.lost}",
            f"channels' calls: {listed(calls)}; charges made: {charges}",
            f"captures: {listed(self.captures)}",
            f"faults: {listed(faults)}",
            "payments: " + grouped("status || coalesce(' ' || failure_code, '') AS name, count(*)"
                                   " AS n FROM payguard.payments"),
            "tasks left: " + grouped("kind || ' at ' || channel ||"
                                     " CASE WHEN dead_at IS NULL THEN '' ELSE ', dead' END AS name,"
                                     " count(*) AS n FROM payguard.tasks"),
        ]

    def give_up_nowhere(self):
        """An operator closes what the channel that is not there will never answer."""
        self.counts["dead"] = len(self.database.rows("SELECT FROM payguard.dead_tasks"))
        self.operator.rows("SELECT payguard.settle_payment(payment_id, 'closed', 'it is gone')"
                           " FROM unnest(%s::uuid[]) payment_id",
                           [row["id"] for row in self.database.rows(
                               "SELECT payment_id::text AS id FROM payguard.payments"
                               " WHERE status NOT IN ('succeeded', 'failed')")])
        self.deviations["an operator's word ends the rest"] = [
            str(row) for row in self.database.rows(
                "SELECT kind, order_id FROM payguard.tasks UNION ALL"
                " SELECT kind, order_id FROM payguard.alerts"
                " WHERE kind = 'dead_task' AND resolved_at IS NULL UNION ALL"
                " SELECT invariant, object FROM payguard.verify()")]

    def lines(self):
        yield from self.summary
        for name, problems in self.deviations.items():
            for problem in problems[:10]:
                yield f"DEVIATION {name}: {problem}"
            if len(problems) > 10:
                yield f"DEVIATION {name}: and {len(problems) - 10} more"
        yield f"deviations: {sum(len(problems) for problems in self.deviations.values())}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=10000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--faults", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with cluster.Cluster() as server:
        torture = Torture(server, options.seed, options.requests, options.workers, options.faults)
        sound = torture.run()
        for line in torture.lines():
            print(line, flush=True)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
