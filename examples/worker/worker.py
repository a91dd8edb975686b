#!/usr/bin/python3
"""A worker for payguard's queue: claims tasks, calls channels over HTTP, hands in the answers.

    worker.py [options] DSN CHANNEL=URL...

It POSTs each task to URL/kind and expects {"status", "txn", "amount", "currency", "code"} back.
A real channel speaks another language: call_channel() is the function to replace.

The main thread alone talks to the database, one statement a transaction; threads alone talk to
the channels. Kill it whenever you like: what it held is claimed again when its lease is over.
"""

import argparse
import concurrent.futures
import http.client
import json
import logging
import os
import queue
import select
import signal
import socket
import threading
import time
import urllib.parse

import psycopg2
import psycopg2.extras

CLAIM = "SELECT * FROM payguard.claim_tasks(%s, %s, %s * interval '1 s', channels => %s)"
EXTEND = "SELECT payguard.extend_lease(%s, %s, %s * interval '1 s')"
RETRY = "SELECT payguard.retry_task(%s, %s, %s)"
COMPLETE = """
    SELECT order_id, outcome, message FROM payguard.complete_tasks(ARRAY(
      SELECT answer FROM jsonb_populate_recordset(NULL::payguard.task_answer, %s) answer))"""
# until when reserved money can be taken is for complete_task() alone
COMPLETE_ONE = """
    SELECT t.order_id, t.outcome, t.message
    FROM jsonb_to_recordset(%s) a(task_id bigint, lease_token uuid, channel_status text, channel_txn_id text,
           amount bigint, currency text, code text, capture_before timestamptz),
         payguard.complete_task(a.task_id, a.lease_token, a.channel_status, a.channel_txn_id, a.amount,
           a.currency, a.code, capture_before => a.capture_before) t"""
GONE = ("PY404", "PY701")  # the task has ended, the lease is over

SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 2  # seconds between looks at an empty queue

log = logging.getLogger("worker")


class NotSent(Exception):
    """It is certain that nothing has reached the channel."""


def call_channel(url, task, timeout):
    """Asks a channel to do a task; returns its answer in payguard's words, or raises NotSent."""
    address = urllib.parse.urlsplit(url)
    kind_of = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    connection = kind_of[address.scheme](address.netloc, timeout=timeout)
    # a connection for each call: on one kept open, nobody can tell whether a request got through
    try:
        connection.connect()
    except OSError as error:
        raise NotSent(f"{address.netloc}: {error}") from error
    # from here on the channel may have done it, whatever goes wrong: that is "unknown"
    try:
        connection.request("POST", f"{address.path}/{task['kind']}", json.dumps({
            "payment_id": task["payment_id"],
            "refund_id": task["refund_id"],
            "order_id": task["order_id"],
            "txn": task["channel_txn_id"],
            "amount": task["amount"],
            "currency": task["currency"],
            "expires_at": task["expires_at"],
            "capture": task["capture"],
            "capture_id": task["capture_id"],
        }, default=str), {
            "Content-Type": "application/json",
            "Idempotency-Key": task["capture_id"] if task["kind"] == "capture"
                               else task["refund_id"] or task["payment_id"],
        })
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            return {"channel_status": "unknown", "code": f"http {response.status}"}
        said = json.loads(body)
        return {
            "channel_status": said["status"],
            "channel_txn_id": said.get("txn"),
            "amount": said.get("amount"),
            "currency": said.get("currency"),
            "code": said.get("code"),
            "capture_before": said.get("capture_before"),
        }
    except Exception as error:
        return {"channel_status": "unknown", "code": type(error).__name__}
    finally:
        connection.close()


class Worker:
    """Holds at most as many tasks as it has threads, so that none waits while its lease runs."""

    def __init__(self, options):
        self.dsn = options.dsn
        self.urls = dict(channel.split("=", 1) for channel in options.channel)
        self.threads = options.threads
        self.timeout = options.timeout
        self.lease = options.lease
        self.once = options.once
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self.database = None
        self.pool = concurrent.futures.ThreadPoolExecutor(self.threads)
        self.held = {}  # lease token → task
        self.events = queue.SimpleQueue()  # (task, answer) of a thread, or None: look at the queue
        self.pause = SHORTEST_PAUSE
        self.stopping = False

    def run(self):
        """Works until SIGTERM, or once until nothing is due, and then until what it holds is done."""
        while self.held or not self.stopping:
            if not self.stopping:
                self.claim()
            if self.held or not self.stopping:
                self.hand_in(self.wait())
            self.extend()

    def stop(self, *_):
        self.stopping = True
        self.events.put(None)

    def claim(self):
        free = self.threads - len(self.held)
        if free == 0:
            return
        tasks = self.ask(CLAIM, self.name, free, self.lease, list(self.urls))
        for task in tasks:
            task["extend_at"] = time.monotonic() + self.lease / 2
            self.held[task["lease_token"]] = task
            self.pool.submit(self.do, task)
        self.pause = SHORTEST_PAUSE if tasks else min(2 * self.pause, LONGEST_PAUSE)
        if self.once and not self.held:
            self.stopping = True

    def do(self, task):
        """One task, in a thread of its own."""
        try:
            self.events.put((task, call_channel(self.urls[task["channel"]], task, self.timeout)))
        except NotSent as error:
            self.events.put((task, error))

    def wait(self):
        """Sleeps until there are answers or it is time to look again; returns the answers."""
        try:
            events = [self.events.get(timeout=min(self.pause, self.lease / 4))]
        except queue.Empty:
            return []
        while not self.events.empty():
            events.append(self.events.get())
        if None in events:
            self.pause = SHORTEST_PAUSE
        return [event for event in events if event is not None]

    def hand_in(self, events):
        """Acknowledges tasks. Done twice, after a lost connection, it counts once."""
        answers = []
        for task, answer in events:
            if isinstance(answer, NotSent):
                log.warning("not sent: %s", answer)
                self.ask(RETRY, task["task_id"], task["lease_token"], str(answer))
            else:
                answers.append({"task_id": task["task_id"], "lease_token": task["lease_token"],
                                **answer})
        one_by_one = [answer for answer in answers if answer.get("capture_before")]
        batch = [answer for answer in answers if answer not in one_by_one]
        for sql, group in [(COMPLETE, batch)] + [(COMPLETE_ONE, [answer]) for answer in one_by_one]:
            if group:
                self.complete(sql, group)
        for task, _ in events:
            del self.held[task["lease_token"]]

    def complete(self, sql, answers):
        try:
            results = self.ask(sql, json.dumps(answers, default=str))
        except psycopg2.DataError as error:
            # what the channel said is no answer: that must not cost the others theirs
            log.error("malformed answer among %s: %s", answers, error)
            for answer in answers:
                if len(answers) == 1:
                    answer = {"task_id": answer["task_id"], "lease_token": answer["lease_token"],
                              "channel_status": "unknown", "code": "malformed"}
                self.complete(sql, [answer])
            return
        for result in results:
            log.info("order %(order_id)s: %(outcome)s: %(message)s", result)

    def extend(self):
        """Keeps the leases of slow calls."""
        now = time.monotonic()
        for task in self.held.values():
            if task["extend_at"] <= now:
                self.ask(EXTEND, task["task_id"], task["lease_token"], self.lease)
                task["extend_at"] = now + self.lease / 2

    def ask(self, sql, *values):
        """Runs a statement in a transaction of its own, again where the database was away."""
        while True:
            try:
                if self.database is None:
                    self.database = psycopg2.connect(
                        self.dsn, cursor_factory=psycopg2.extras.RealDictCursor)
                    self.database.autocommit = True
                with self.database.cursor() as cursor:
                    cursor.execute(sql, values)
                    return cursor.fetchall()
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                if self.stopping:
                    raise  # the leases will run out
                log.warning("the database: %s", error)
                self.database = None
                time.sleep(SHORTEST_PAUSE)
            except psycopg2.DatabaseError as error:
                if error.pgcode not in GONE:
                    raise
                log.info("%s", error)
                return []

    def listen(self, dsn):
        """Looks at the queue when payguard notifies of a task. Runs in a thread of its own."""
        connection = psycopg2.connect(dsn)
        connection.autocommit = True
        connection.cursor().execute("LISTEN payguard_tasks")
        while True:
            select.select([connection], [], [])
            connection.poll()
            if connection.notifies:
                connection.notifies.clear()
                self.events.put(None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dsn", help="libpq connection string; may be PgBouncer's")
    parser.add_argument("channel", nargs="+", help="NAME=URL")
    parser.add_argument("--threads", type=int, default=8, help="calls at a time (8)")
    parser.add_argument("--timeout", type=float, default=10, help="seconds to wait for a channel (10)")
    parser.add_argument("--lease", type=float, default=30, help="seconds to hold a task (30)")
    parser.add_argument("--listen", metavar="DSN", help="the server itself, for LISTEN payguard_tasks")
    parser.add_argument("--once", action="store_true", help="do what is due, and end: for cron")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    worker = Worker(options)
    signal.signal(signal.SIGTERM, worker.stop)
    signal.signal(signal.SIGINT, worker.stop)
    if options.listen:
        threading.Thread(target=worker.listen, args=[options.listen], daemon=True).start()
    worker.run()


if __name__ == "__main__":
    main()
