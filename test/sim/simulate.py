#!/usr/bin/python3
"""Customers, webhooks, workers and operators at once against channels that fail; at the end
the channels' books and payguard's must agree to the cent.

    simulate.py [--orders 20000] [--faults 0.3] [--manual 0.2] [--clients 8] [--seed N]... [--dsn DSN]

--manual: the share of orders whose money is reserved first, and captured when the shop ships.
Without --dsn a throwaway cluster is made with initdb and pg_ctl from PATH. The seed draws what
customers and channels do; how it interleaves is the machine's. The status is 0 where nothing
deviates.
"""

import argparse
import collections
import multiprocessing
import os
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

SETUP = """
    CREATE EXTENSION IF NOT EXISTS payguard;
    CREATE ROLE shop;
    CREATE ROLE webhook;
    CREATE ROLE operator;
    SELECT payguard.grant_access('shop', access) FROM unnest('{checkout,cashier,channel}'::text[]) access;
    SELECT payguard.grant_access('webhook', 'channel');
    SELECT payguard.grant_access('operator', 'operator');
    SELECT payguard.grant_access('shop', 'refunds');
    SELECT payguard.register_channel(name, first_query_after => '20 ms',
      max_query_interval => '100 ms', not_found_is_final_after => '200 ms',
      late_success => late)
    FROM (VALUES ('alpha', 'accept'), ('beta', 'accept_expired')) channel (name, late);
"""

UNSETTLED = """
    SELECT 'payment' AS what, payment_id::text AS id, order_id, status, amount_verified::text AS more
    FROM payguard.payments
    WHERE status IN ('pending', 'processing', 'authorized', 'capturing', 'unknown', 'closing', 'superseded')
       OR (status IN ('succeeded', 'surplus') AND NOT amount_verified)
    UNION ALL
    SELECT 'refund', refund_id::text, order_id, status, failure_code
    FROM payguard.refunds WHERE status NOT IN ('succeeded', 'waived', 'reinstated', 'merged')
    UNION ALL
    SELECT 'order', NULL, order_id, status, closing_as FROM payguard.orders
    WHERE status = 'paying'"""


class Simulation:
    """One run on a database that has no payguard yet."""

    def __init__(self, dsn, seed, orders, faults, clients, manual=0.2, patience=120):
        self.dsn = dsn
        self.seed = seed
        self.orders = orders
        self.faults = faults
        self.clients = clients
        self.manual = manual
        self.patience = patience  # seconds for all to settle
        self.fork = multiprocessing.get_context("fork")
        self.results = self.fork.Queue()
        self.stop = self.fork.Event()
        self.processes = []
        self.counts = collections.Counter()
        self.deviations = {}
        self.forgotten = []
        self.seconds = {}

    def run(self):
        """→ whether nothing deviates."""
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        connection.cursor().execute(SETUP)
        connection.close()
        began = time.monotonic()
        try:
            self.start()
            self.database = actors.Database(self.dsn, self.counts, None)
            self.load()
            self.seconds["load"] = time.monotonic() - began
            unsettled = self.drain()
            self.seconds["drain"] = time.monotonic() - began - self.seconds["load"]
            self.finish()
            self.compare(unsettled)
        finally:
            for process in self.processes:
                if process.is_alive():
                    process.kill()
        return not any(self.deviations.values())

    def start(self):
        self.webhook_port = self.serve(actors.handler, self.dsn)
        self.port = self.serve(channel.main, self.seed, self.faults, self.webhook_port)
        self.background = []
        for number in range(2):
            self.background.append(self.spawn(actors.worker, number, self.dsn, self.port,
                                              self.seed, self.stop, self.results))
            self.background.append(self.spawn(actors.shipper, number, self.dsn, self.seed, self.stop, self.results))
            self.background.append(self.spawn(actors.operator, number, self.dsn, self.port,
                                              self.seed, self.stop, self.results))

    def spawn(self, target, *arguments):
        process = self.fork.Process(target=target, args=arguments, daemon=True)
        process.start()
        self.processes.append(process)
        return process

    def serve(self, target, *arguments):
        """Starts a server's process; → its port."""
        here, there = self.fork.Pipe()
        self.spawn(target, *arguments, there)
        if not here.poll(20):
            raise RuntimeError("a server did not start")
        return here.recv()

    def load(self):
        clients = [self.spawn(actors.client, number, self.clients, self.orders, self.dsn,
                              self.port, self.seed, self.manual, self.results)
                   for number in range(self.clients)]
        self.collect(clients)

    def collect(self, processes):
        for _ in processes:
            self.counts.update(self.results.get(timeout=3600))
        for process in processes:
            process.join()

    def drain(self):
        """Waits until all is settled, and hands in what the channels' statements add.

        → what is not settled in time, as lines of text
        """
        peer = wire.Peer(self.port, timeout=10)
        peer.call("/calm")
        deadline = time.monotonic() + self.patience
        while time.monotonic() < deadline:
            if (peer.call("/to_come")["to_come"] == 0
                    and not self.database.rows(UNSETTLED)
                    and self.hand_in_statement(peer.call("/books")) == 0):
                return []
            time.sleep(0.2)
        unsettled = [str(row) for row in self.database.rows(UNSETTLED)]
        for _ in range(3):
            self.hand_in_statement(peer.call("/books"))
        return unsettled or ["the statement has news"]

    def hand_in_statement(self, statement):
        """Reports what only the statement tells: its webhook was lost. → how many lines"""
        comparison = books.Comparison(self.database, statement)
        lines = 0
        for charge in comparison.missing_charges():
            lines += 1
            self.note_statement("charge", charge)
            if charge["payment_id"] is None:
                self.tell("record_payment(%s, %s, %s, %s, %s)", charge["order_id"],
                          charge["channel"], charge["txn"], charge["amount"], charge["currency"])
            else:
                self.tell("report_payment(%s, 'succeeded', %s, %s, %s)", charge["payment_id"],
                          charge["txn"], charge["amount"], charge["currency"])
        if lines:
            return lines  # what waited for these charges is no news any more
        for refund in comparison.missing_refunds():
            lines += 1
            self.note_statement("refund" if refund["refund_id"] else "reversal", refund)
            if refund["refund_id"]:
                self.tell("report_refund(%s, 'succeeded', %s, %s, %s)", refund["refund_id"],
                          refund["channel_refund_id"], refund["amount"], refund["currency"])
            else:
                self.tell("record_reversal(%s, %s, %s, %s, %s, %s, to_timestamp(%s))",
                          refund["channel"], refund["channel_refund_id"], refund["txn"],
                          refund["kind"], refund["amount"], refund["currency"], refund["time"])
        for refund in comparison.reversals_undone():
            lines += 1
            self.counts["statement reinstatement"] += 1
            if refund.get("told_back"):
                self.forgotten.append(f"a webhook told that the shop has got back {refund}")
            self.tell("record_reinstatement(%s, %s, to_timestamp(%s))", refund["channel"],
                      refund["channel_refund_id"], refund["back"])
        for refund in comparison.refunds_that_failed():
            lines += 1
            self.counts["statement refund that failed"] += 1
            self.tell("report_refund(%s, 'failed')", refund["refund_id"])
        return lines

    def note_statement(self, what, line):
        self.counts[f"statement {what}"] += 1
        if line.get("told") and what != "refund":
            self.forgotten.append(f"a webhook told of {what} {line}")

    def tell(self, call, *values):
        try:
            self.database.evidence(f"SELECT * FROM payguard.{call}", *values)
        except actors.Refused:
            pass

    def finish(self):
        """Stops everybody; what they counted is added up."""
        self.books = wire.Peer(self.port, timeout=10).call("/books")
        self.counts.update(wire.Peer(self.webhook_port, timeout=10).call("/counts"))
        self.stop.set()
        self.collect(self.background)

    def compare(self, unsettled):
        self.comparison = books.Comparison(self.database, self.books)
        self.deviations["all settles in time"] = unsettled
        self.deviations["what a webhook told needs no statement"] = self.forgotten
        self.deviations["the books agree"] = self.comparison.differences()
        for name, sql in books.ORACLES.items():
            self.deviations[name] = [str(row) for row in self.database.rows(sql)]
        self.captures, wrong = self.comparison.captures()
        self.deviations.update({f"nothing is {name}": trades for name, trades in wrong.items()})
        self.captures["whose answer was lost"] = lost = self.counts["answers of captures that were lost"]
        self.deviations["a capture is sent once, unless its answer was lost"] = \
            [str(self.captures)] if self.captures["asked for again"] > lost else []
        self.deviations["the counters agree"] = books.counter_differences(self.database, self.counts)
        self.deviations["the metrics are a recount"] = books.metric_differences(self.database)
        self.deviations["no unexpected error"] = [
            f"{name}: {times}" for name, times in self.counts.items()
            if name.startswith("unexpected")]
        self.deviations["no deadlock"] = [
            f"{name}: {times}" for name, times in self.counts.items() if name.endswith(" 40P01")]

    def try_actions(self):
        """What the cases that are left offer is tried and undone. The counters have counted it."""
        connection = psycopg2.connect(self.dsn)
        refused = cluster.refused_actions(connection.cursor())
        connection.close()
        self.deviations["no action that a case offers is refused"] = [str(row) for row in refused]
        return not refused

    def summary(self):
        """The lines to print."""
        def listed(counter):
            return ", ".join(f"{name} {times}" for name, times in sorted(counter.items())) or "none"

        def counted(prefix):
            return listed({name[len(prefix):]: times for name, times in self.counts.items()
                           if name.startswith(prefix)})

        def states(table):
            return listed({row["status"]: row["n"] for row in self.database.rows(
                f"SELECT status, count(*) AS n FROM payguard.{table} GROUP BY status")})

        faults = collections.Counter()
        calls = collections.Counter()
        for book in self.books.values():
            faults.update(book["faults"])
            calls.update(book["calls"])
        alerts = self.database.rows("SELECT kind, count(*) AS n FROM payguard.alerts GROUP BY kind")
        unmatched = self.database.rows(
            "SELECT count(*) AS n FROM payguard.notifications WHERE result = 'unmatched'")
        yield (f"seed {self.seed}: {self.orders} orders, {self.manual:.0%} to be captured, {self.clients} clients, "
               f"{self.faults:.0%} faulty; load {self.seconds['load']:.0f} s, "
               f"drain {self.seconds['drain']:.0f} s")
        yield f"calls of payguard: {self.counts['calls']}, {self.counts['replays']} replays"
        yield f"counters: {listed(books.counters(self.database))}"
        yield f"outcomes: {counted('outcome ')}"
        yield f"refused: {counted('sqlstate ')}"
        yield f"channels' calls: {listed(calls)}; {self.counts['webhooks']} webhooks delivered"
        yield f"faults: {listed(faults)}"
        yield f"tasks: {counted('task ')}; operators: {counted('operator ')}"
        yield f"orders: {states('orders')}"
        yield f"payments: {states('payments')}"
        yield f"refunds: {states('refunds')}"
        yield f"alerts: {listed({row['kind']: row['n'] for row in alerts})}"
        yield f"captures: {listed(self.captures)}; the shop: {counted('shop ')}"
        yield f"orders charged more than once at the channels: {self.comparison.double_charges()}"
        yield (f"what only the statement told: {counted('statement ')}; "
               f"messages that match nothing: {unmatched[0]['n']}")
        for what, at_channels, in_payguard in self.comparison.totals():
            yield f"cents {what}: channels {listed(at_channels)}; payguard {listed(in_payguard)}"
        for name, problems in self.deviations.items():
            for problem in problems[:10]:
                yield f"DEVIATION {name}: {problem}"
            if len(problems) > 10:
                yield f"DEVIATION {name}: and {len(problems) - 10} more"
        yield f"deviations: {sum(len(problems) for problems in self.deviations.values())}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=int, default=20000)
    parser.add_argument("--faults", type=float, default=0.3)
    parser.add_argument("--manual", type=float, default=0.2)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--dsn")
    options = parser.parse_args()
    sound = True
    for seed in options.seed or [1]:
        arguments = (seed, options.orders, options.faults, options.clients, options.manual)
        if options.dsn:
            sound &= show(options.dsn, *arguments)
        else:
            with cluster.Cluster() as server:
                sound &= show(server.dsn, *arguments)
    sys.exit(0 if sound else 1)


def show(dsn, *arguments):
    simulation = Simulation(dsn, *arguments)
    sound = simulation.run() and simulation.try_actions()
    for line in simulation.summary():
        print(line, flush=True)
    return sound


if __name__ == "__main__":
    main()
