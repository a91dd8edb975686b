#!/usr/bin/python3
"""Failover under load: the primary is killed with kill -9, its synchronous standby takes over, and the
clients repeat what was not answered with the same keys: nothing is lost, and nothing is paid twice.

The standby lags for a moment, in two of three cycles until the primary is gone. Meanwhile somebody pays
who does not wait for it (synchronous_commit = local) and loses payments; who repeats these keys, and
does wait, is told of no payment that is lost.

The last cycle is the control: the same with an asynchronous standby that lags. What is lost there
is counted, and has to be more than nothing: otherwise the test would show nothing.

PAYGUARD_CYCLES (3), PAYGUARD_SEED.
"""
import os
import random
import shutil
import signal
import sys
import threading
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
from cluster import Cluster, log_path  # noqa: E402
from load import Load, check  # noqa: E402
from tap import Tap, choose_seed, wait_for  # noqa: E402

SETTINGS = """
max_prepared_transactions = 1000
wal_keep_size = '256MB'
wal_sender_timeout = 0
wal_receiver_timeout = 0
synchronous_standby_names = ''
"""


class Server:
    """One of the pair: a data folder under the cluster's, on a port of its own."""

    def __init__(self, cluster, number):
        self.cluster, self.number = cluster, number
        self.data = os.path.join(cluster.folder, f"data{number}")
        self.log = log_path(self.data)
        self.port = 6000 + number

    def connect(self):
        connection = psycopg2.connect(host=self.cluster.folder, port=self.port, user="postgres",
                                      dbname="postgres")
        connection.autocommit = True
        return connection

    def query(self, sql):
        cursor = self.connect().cursor()
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None

    def start(self):
        self.cluster.run("pg_ctl", "-D", self.data, "-l", self.log, "-o", f"-p {self.port}", "-w", "start")

    def stop(self):
        self.cluster.run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")

    def kill(self):
        with open(os.path.join(self.data, "postmaster.pid"), encoding="ascii") as file:
            pid = int(file.readline())
        children = os.popen(f"ps -o pid= --ppid {pid}").read().split()
        for each in [pid] + [int(child) for child in children]:
            try:
                os.kill(each, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def follower(self):
        """A standby of this server."""
        other = Server(self.cluster, self.number + 1)
        self.cluster.run("pg_basebackup", "-h", self.cluster.folder, "-p", str(self.port), "-U", "postgres",
                         "-D", other.data, "-R", "-X", "stream", "--checkpoint=fast", "--no-sync")
        other.start()
        return other

    def wait_for_standby(self, state):
        if not wait_for(lambda: self.query("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
                                           f" AND sync_state = '{state}'") == (1,), 60, 0.05):
            raise RuntimeError(f"the standby does not become {state}")

    def promote(self):
        self.cluster.run("pg_ctl", "-D", self.data, "-w", "promote")


class Hasty(threading.Thread):
    """Pays, and does not wait for the standby: what it is told may be lost."""

    def __init__(self, primary, name):
        super().__init__(daemon=True)
        self.primary, self.name, self.paid = primary, name, []

    def run(self):
        try:
            cursor = self.primary.connect().cursor()
            cursor.execute("SET synchronous_commit = local")
            while True:
                order = f"{self.name}-hasty-{len(self.paid)}"
                cursor.execute("SELECT payguard.create_order(%s, 100, 'EUR') IS NOT NULL", (order,))
                cursor.execute("SELECT payment_id FROM payguard.pay_order(%s, %s)", (order, order))
                self.paid.append((order, cursor.fetchone()[0]))
                time.sleep(0.002)
        except psycopg2.OperationalError:
            pass        # the primary is gone


class Repeater(threading.Thread):
    """Repeats the hasty one's newest call, and waits for the standby: what it is told is noted."""

    def __init__(self, hasty, notes):
        super().__init__(daemon=True)
        self.hasty, self.notes, self.told = hasty, notes, 0

    def run(self):
        try:
            cursor = self.hasty.primary.connect().cursor()
            while True:
                if not self.hasty.paid:
                    time.sleep(0.001)
                    continue
                order, payment = self.hasty.paid[-1]
                cursor.execute("SELECT outcome, payment_id, replayed FROM payguard.pay_order(%s, %s)", (order, order))
                if cursor.fetchone() != ("paid", payment, True):
                    self.notes.wrong.append(f"{order} was not replayed")
                self.notes.note(self.notes.paid, order, (order, payment))
                self.told += 1
        except psycopg2.OperationalError:
            pass


def fail_over(primary, seed, name, synchronous, lags=True):
    """One cycle: returns the new primary, what is wrong there, how many calls were repeated, the notes, and
    how many payments were lost whose payer had not waited. lags: until the primary is gone."""
    primary.query("ALTER SYSTEM SET synchronous_standby_names = ''")
    primary.query("SELECT pg_reload_conf()")
    standby = primary.follower()
    if synchronous:
        primary.query("ALTER SYSTEM SET synchronous_standby_names = '*'")
        primary.query("SELECT pg_reload_conf()")
    primary.wait_for_standby("sync" if synchronous else "async")
    load = Load(primary.connect, seed, name).start()
    hasty = Hasty(primary, name)
    repeater = Repeater(hasty, load.notes)
    if synchronous:
        hasty.start()
        repeater.start()
    rnd = random.Random(seed)
    time.sleep(rnd.uniform(0.3, 0.9))
    receiver, = standby.query("SELECT pid FROM pg_stat_wal_receiver")
    # the standby lags for a moment: who is answered meanwhile?
    os.kill(receiver, signal.SIGSTOP)
    time.sleep(rnd.uniform(0.05, 0.3))
    if not lags:
        os.kill(receiver, signal.SIGCONT)
        time.sleep(rnd.uniform(0, 0.1))
    primary.kill()
    load.stop.set()
    hangs = load.join()
    try:
        os.kill(receiver, signal.SIGCONT)
    except ProcessLookupError:
        pass
    standby.promote()
    standby.query("ALTER SYSTEM SET synchronous_standby_names = ''")
    standby.query("SELECT pg_reload_conf()")
    cursor = standby.connect().cursor()
    cursor.execute("SELECT payment_id FROM payguard.payments")
    there = {payment for payment, in cursor}
    lost = sum(payment not in there for _, payment in hasty.paid)
    wrong, repeated = check(standby.connect(), load.notes)
    if synchronous and not repeater.told:
        wrong.append("nobody was told of a payment whose payer had not waited")
    # a hundred cycles would need 16 GB otherwise
    shutil.rmtree(primary.data, ignore_errors=True)
    return standby, hangs + wrong, repeated, load.notes, lost


def main():
    seed = choose_seed()
    cycles = int(os.environ.get("PAYGUARD_CYCLES") or 3)
    told = repeated = unsafe = 0
    tap = Tap()
    with Cluster() as cluster:
        cluster.run("pg_ctl", "-D", cluster.data, "-m", "fast", "-w", "stop")
        primary = Server(cluster, 0)
        os.rename(cluster.data, primary.data)
        with open(os.path.join(primary.data, "postgresql.conf"), "a", encoding="ascii") as conf:
            conf.write(SETTINGS)
        primary.start()
        try:
            primary.query("CREATE EXTENSION payguard")
            primary.query("SELECT payguard.register_channel('card') IS NOT NULL")
            cycle = 0
            # a few more where the standby was never behind when it took over
            while cycle < cycles or (not unsafe and cycle < cycles + 12):
                primary, wrong, again, notes, lost = fail_over(primary, seed + cycle, f"s{cycle}", True, cycle % 3 != 1)
                cycle += 1
                unsafe += lost
                told += len(notes.paid) + len(notes.refunded) + len(notes.open)
                repeated += again
                tap.ok(not wrong and notes.paid, "a synchronous standby takes over: nothing that was told is lost", wrong)
            tap.ok(unsafe, f"the standby lagged: {unsafe} payments are lost of those who did not wait for it")
            tap.ok(repeated, f"{repeated} calls that were not answered were repeated")
            primary, wrong, _, notes, _ = fail_over(primary, seed + cycles, "a", False)
            lost = [line for line in wrong if line.startswith("lost")]
            tap.ok(lost and all(line.startswith(("lost", "a-")) for line in wrong),
                   "an asynchronous one that lags loses answers, and nothing worse",
                   [line for line in wrong if not line.startswith("lost")])
            print(f"# {cycle} cycles: {told} answers kept, {repeated} calls without an answer repeated; "
                  f"the asynchronous standby lost {len(lost)} of "
                  f"{len(notes.paid) + len(notes.refunded) + len(notes.open)}")
        finally:
            primary.stop()
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
