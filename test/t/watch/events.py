#!/usr/bin/python3
"""Readers of events beside 16 writers: nothing is left out, versions ascend.

The writers' transactions take their time before they commit, are rolled back, prepared and
decided later, use savepoints, and get xids long before they write. In the middle the server
crashes; at the end its dump is read by another cluster, where the readers go on.

PAYGUARD_SEED sets the run, PAYGUARD_SECONDS how long each of its two halves is.
"""
import collections
import os
import random
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
sys.dont_write_bytecode = True

import psycopg2

import cluster
from tap import Tap, choose_seed

SEED = choose_seed()
SECONDS = float(os.environ.get("PAYGUARD_SECONDS") or 6)
WRITERS = 16
ORDERS = 40  # few, so that writers meet

SETUP = """
    CREATE EXTENSION payguard SCHEMA pg_catalog;
    CREATE ROLE app LOGIN;
    CREATE ROLE reader LOGIN;
    SELECT payguard.grant_access('app', access) FROM unnest('{checkout,cashier,channel,admin,refunds}'::text[]) access;
    SELECT payguard.grant_access('reader', 'consumer');
    SELECT payguard.register_channel('card', first_query_after => '1 h');
    SELECT payguard.create_order('order-' || n, 1000, 'EUR') FROM generate_series(1, %s) n
"""


class Crash:
    """Comes when a transaction is prepared that nobody will decide before it: as soon as it is near, no
    writer decides any more, and the next one that is prepared is there when it comes."""

    def __init__(self):
        self._near, self._met = threading.Event(), threading.Event()

    def near(self):
        return self._near.is_set()

    def prepared(self):
        if self.near():
            self._met.set()

    def await_prepared(self):
        self._near.set()
        return self._met.wait(60)


class Writer(threading.Thread):
    """Changes orders until it is stopped, or the server is gone."""

    def __init__(self, server, number, stop, crash, counts):
        super().__init__(daemon=True)
        self.server = server
        self.number = number
        self.stop = stop
        self.crash = crash
        self.counts = counts
        self.random = random.Random(f"{SEED}/{number}/{time.time()}")
        self.prepared = []

    def run(self):
        try:
            self.connection = self.server.connect(role="app")
            self.cursor = self.connection.cursor()
            while not self.stop.is_set():
                self.transaction()
            for gid in self.prepared:
                self.decide(gid)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            pass

    def transaction(self):
        how = self.random.choices(("commit", "rollback", "prepare", "savepoint"), (70, 10, 10, 10))[0]
        self.cursor.execute("BEGIN")
        self.cursor.execute("SET LOCAL lock_timeout = '200 ms'")
        if self.random.random() < 0.3:  # an xid that is older than the change
            self.cursor.execute("SELECT pg_current_xact_id()")
            time.sleep(self.random.uniform(0, 0.1))
        try:
            for _ in range(self.random.choice((1, 1, 2))):
                if how == "savepoint":
                    self.cursor.execute("SAVEPOINT s")
                self.change()
                if how == "savepoint" and self.random.random() < 0.5:
                    self.cursor.execute("ROLLBACK TO s")
            time.sleep(self.random.choice((0, 0, 0.002, 0.02, 0.2)))  # before it commits
            if how == "prepare":
                gid = f"{self.number}-{self.random.random()}"
                self.cursor.execute("PREPARE TRANSACTION %s", (gid,))
                self.prepared.append(gid)
                self.crash.prepared()
            else:
                self.cursor.execute("ROLLBACK" if how == "rollback" else "COMMIT")
            self.counts[how] += 1
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            if self.connection.closed or not error.pgcode or error.pgcode.startswith("57"):
                raise
            self.refused(error)
        except psycopg2.Error as error:
            self.refused(error)
        if self.crash.near():
            return
        if len(self.prepared) > 2 or (self.prepared and self.random.random() < 0.3):
            self.decide(self.prepared.pop(0))

    def refused(self, error):
        self.counts[error.pgcode] += 1
        self.cursor.execute("ROLLBACK")

    def decide(self, gid):
        self.cursor.execute(("COMMIT" if self.random.random() < 0.7 else "ROLLBACK")
                            + " PREPARED %s", (gid,))
        self.counts["decided"] += 1

    def change(self):
        order = f"order-{self.random.randint(1, ORDERS)}"
        what = self.random.random()
        if what < 0.5:
            self.cursor.execute(
                "SELECT version FROM payguard.update_order(%s, (payguard.order_status(%s)).version, %s)",
                (order, order, self.random.randint(1, 5000)))
        elif what < 0.75:
            self.cursor.execute("SELECT payment_id::text FROM payguard.start_payment(%s, %s, 'card')",
                                (order, f"{order}-{self.random.random()}"))
            payment = self.cursor.fetchone()[0]
            self.cursor.execute("SELECT payguard.report_payment(%s, 'failed')", (payment,))
        else:
            self.cursor.execute("SELECT payguard.create_order(%s, 5, 'EUR')",
                                (f"new-{self.number}-{self.random.random()}",))


class Reader(threading.Thread):
    """A consumer. It keeps what it was given; seen is what it will not be given again."""

    def __init__(self, server, name, most, stop, forgets=0.0, pause=0.0):
        super().__init__(daemon=True)
        self.server = server
        self.name = name
        self.most = most
        self.stop = stop
        self.forgets = forgets
        self.pause = pause
        self.random = random.Random(f"{SEED}/{name}")
        self.given = []      # (event_id, order_id, version), in the order of the first time
        self.ids = set()
        self.repeated = 0
        self.errors = []

    def again(self, server, stop):
        """The same consumer in another thread, or on another server."""
        other = Reader(server, self.name, self.most, stop, self.forgets, self.pause)
        other.given, other.ids, other.repeated = self.given, self.ids, self.repeated
        return other

    def run(self):
        try:
            connection = self.server.connect(role="reader")
            cursor = connection.cursor()
            while True:
                stopping = self.stop.is_set()
                if not self.read(cursor) and stopping:
                    break
                time.sleep(self.pause)
        except (psycopg2.OperationalError, psycopg2.InterfaceError):
            pass  # the crash
        except psycopg2.Error as error:
            self.errors.append(str(error))

    def read(self, cursor):
        cursor.execute("SELECT window_id, event_id, order_id, version"
                       " FROM payguard.read_events(%s, %s)", (self.name, self.most))
        rows = cursor.fetchall()
        for _, event_id, order_id, version in rows:
            if event_id in self.ids:
                self.repeated += 1
            else:
                self.ids.add(event_id)
                self.given.append((event_id, order_id, version))
        if rows and self.random.random() >= self.forgets:
            window_id, event_id = self.random.choice(rows)[:2] if self.forgets else rows[-1][:2]
            cursor.execute("SELECT payguard.commit_events(%s, %s, %s)",
                           (self.name, window_id, event_id))
        elif not rows:
            time.sleep(0.01)
        return rows

    def descents(self):
        """→ the orders whose versions did not come one after the other."""
        last = collections.Counter()
        bad = []
        for _, order_id, version in self.given:
            if version is not None:
                if version != last[order_id] + 1:
                    bad.append((order_id, last[order_id], version))
                last[order_id] = version
        return bad


def half(server, readers, counts, crash):
    """Writers and readers for a while; → the readers, when all is read or the server is gone."""
    stop_writing, stop_reading, near = threading.Event(), threading.Event(), Crash()
    readers = [reader.again(server, stop_reading) for reader in readers]
    writers = [Writer(server, number, stop_writing, near, counts) for number in range(WRITERS)]
    for thread in writers + readers:
        thread.start()
    time.sleep(SECONDS)
    if crash:
        near.await_prepared()
        server.crash()
    stop_writing.set()
    for writer in writers:
        writer.join()
    stop_reading.set()
    for reader in readers:
        reader.join()
    return readers


def compare(server, readers, when):
    cursor = server.connect().cursor()
    cursor.execute("SELECT event_id FROM payguard.events")
    events = {row[0] for row in cursor.fetchall()}
    for reader in readers:
        yield (f"{when}: {reader.name} got every event", not events - reader.ids,
               f"{len(events - reader.ids)} of {len(events)} are missing: {sorted(events - reader.ids)[:10]}")
        yield (f"{when}: {reader.name} got nothing else", not reader.ids - events,
               f"{sorted(reader.ids - events)[:10]}")
        yield (f"{when}: versions ascend for {reader.name}", not reader.descents(),
               reader.descents()[:5])
        yield f"{when}: {reader.name} met no error", not reader.errors, reader.errors
    print(f"# {when}: {len(events)} events; " + ", ".join(
        f"{reader.name} got {len(reader.given)}, {reader.repeated} again" for reader in readers))


def checks():
    counts = collections.Counter()
    readers = [Reader(None, "steady", 1000, None), Reader(None, "small", 7, None),
               Reader(None, "forgetful", 50, None, forgets=0.5)]
    lost = Reader(None, "lost", 100, None)
    with cluster.Cluster() as server, cluster.Cluster() as other:
        cursor = server.connect().cursor()
        cursor.execute(SETUP, (ORDERS,))
        first = Reader(server, "lost", 20, threading.Event())
        first.read(server.connect(role="reader").cursor())
        lost.given, lost.ids, lost.repeated = first.given, first.ids, first.repeated

        readers = half(server, readers, counts, crash=True)
        server.start()
        cursor = server.connect().cursor()
        cursor.execute("SELECT gid FROM pg_prepared_xacts")
        left = cursor.fetchall()
        for (gid,) in left:
            cursor.execute("COMMIT PREPARED %s", (gid,))
        readers = half(server, readers, counts, crash=False)
        print(f"# writers: {dict(counts)}; {len(left)} transactions were prepared when the server crashed")
        yield "transactions were prepared when the server crashed", left, ""
        yield from compare(server, readers, "after a crash")
        yield from compare(server, half_of_one(server, lost), "a consumer that was lost")
        yield "the forgetful one was given events again", readers[2].repeated > 0, ""

        # read and counted while a transaction is open, that ends before the dump
        app = server.connect(role="app").cursor()
        app.execute("BEGIN; SELECT payguard.create_order('open-' || n, 5, 'EUR') FROM generate_series(1, 3) n;"
                    " PREPARE TRANSACTION 'open'")
        cursor.execute("SELECT payguard.create_order('closed-' || n, 5, 'EUR') FROM generate_series(1, 50) n")
        count_all(cursor)
        readers[0] = half_of_one(server, readers[0])[0]
        app.execute("COMMIT PREPARED 'open'")
        # events that nobody has read, in a dump; one consumer stands in the middle of a window
        cursor.execute("SELECT payguard.create_order('unread-' || n, 5, 'EUR') FROM generate_series(1, 50) n")
        readers[1].read(server.connect(role="reader").cursor())
        dump = subprocess.run(["pg_dump", "-d", server.dsn], stdout=subprocess.PIPE, check=True)
        roles = other.connect().cursor()
        roles.execute("CREATE ROLE app LOGIN")
        roles.execute("CREATE ROLE reader LOGIN")
        # xids of another cluster, lower and higher ones
        subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", other.dsn], input=dump.stdout,
                       stdout=subprocess.DEVNULL, check=True)
        repeated = readers[0].repeated
        readers = half(other, readers, counts, crash=False)
        yield from compare(other, readers, "restored")
        yield "restored: what was committed is not given again", readers[0].repeated == repeated, \
            readers[0].repeated - repeated
        cursor = other.connect().cursor()
        count_all(cursor)
        cursor.execute("SELECT (SELECT sum(n) FROM payguard.totals WHERE subject = 'events' AND bucket = '-infinity'),"
                       " (SELECT count(*) FROM payguard.events)")
        counted, events = cursor.fetchone()
        yield "restored: each event is in the totals once", counted == events, f"{counted} of {events}"
        cursor.execute("SELECT * FROM payguard.verify()")
        yield "restored: the database is sound", not cursor.fetchall(), ""


def count_all(cursor):
    """maintain()'s part that adds the events to the totals, until nothing is left."""
    cursor.execute("SELECT payguard.count_events(1000)")
    while cursor.fetchone()[0]:
        cursor.execute("SELECT payguard.count_events(1000)")


def half_of_one(server, reader):
    stop = threading.Event()
    stop.set()
    reader = reader.again(server, stop)
    reader.start()
    reader.join()
    return [reader]


def main():
    tap = Tap()
    tap.each(checks())
    sys.exit(tap.done())


main()
