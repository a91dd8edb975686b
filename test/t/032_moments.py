#!/usr/bin/python3
"""kill -9 at chosen moments: the postmaster, one backend, the walwriter, the checkpointer; while
somebody commits, prepares, commits what was prepared, vacuums, or creates the extension.

Afterwards nothing that was acknowledged is lost, what was not answered is repeated with the same key
and paid once, verify() finds nothing and amcheck neither. PAYGUARD_CYCLES (10), PAYGUARD_SEED.
"""
import os
import random
import signal
import subprocess
import sys
import threading
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "..", "crash"), os.path.join(HERE, "..", "sim")]
from cluster import Cluster  # noqa: E402
from load import Load, check, check_pages  # noqa: E402

# what is killed, and while somebody else does what
VICTIMS = ["postmaster", "everybody", "backend", "walwriter", "checkpointer"]
MOMENTS = ["COMMIT", "PREPARE", "COMMIT PREPARED", "VACUUM", "CREATE EXTENSION", "expire"]


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, notes=()):
        self.count += 1
        self.failed += not good
        print(("ok" if good else "not ok"), self.count, "-", name)
        for note in [] if good else list(notes)[:10]:
            print("#  ", note)
        sys.stdout.flush()


def connect(server, database="postgres"):
    connection = psycopg2.connect(server.dsn.replace("dbname=postgres", f"dbname={database}"))
    connection.autocommit = True
    return connection


class Doer(threading.Thread):
    """Does one thing again and again: its backend is the one to be killed."""

    def __init__(self, server, moment, cycle):
        super().__init__(daemon=True)
        self.moment, self.cycle, self.done = moment, cycle, 0
        self.database = "postgres"
        if moment == "CREATE EXTENSION":
            self.database = f"fresh{cycle}"
            connect(server).cursor().execute(f"CREATE DATABASE {self.database}")
        self.connection = connect(server, self.database)
        self.pid = self.connection.get_backend_pid()

    def run(self):
        cursor = self.connection.cursor()
        try:
            while True:
                self.done += 1
                self.do(cursor, f"do-{self.cycle}-{self.done}")
        except psycopg2.Error:
            pass        # it was killed

    def do(self, cursor, name):
        if self.moment == "VACUUM":
            cursor.execute("VACUUM (FREEZE) payguard.orders, payguard.payments, payguard.events,"
                           " payguard.tasks")
        elif self.moment == "CREATE EXTENSION":
            cursor.execute("CREATE EXTENSION payguard")
            cursor.execute("ALTER EXTENSION payguard UPDATE")
            cursor.execute("DROP EXTENSION payguard")
        elif self.moment == "expire":
            cursor.execute("SELECT payguard.create_order(%s, 1, 'EUR', NULL,"
                           " clock_timestamp() + '1 ms')", (name,))
            cursor.execute("SELECT payguard.expire_orders(10)")
        else:
            cursor.execute("BEGIN")
            cursor.execute("SELECT payguard.create_order(%s, 1, 'EUR')", (name,))
            cursor.execute("SELECT payguard.pay_order(%s, %s)", (name, name))
            if self.moment == "COMMIT":
                cursor.execute("COMMIT")
            else:
                cursor.execute("PREPARE TRANSACTION %s", (name,))
                cursor.execute(("COMMIT" if self.moment == "COMMIT PREPARED" else "ROLLBACK")
                               + " PREPARED %s", (name,))


def processes(parent):
    out = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], stdout=subprocess.PIPE, text=True,
                         check=True).stdout
    rows = [line.split(None, 2) for line in out.splitlines()]
    return {int(row[0]): row[2] for row in rows if int(row[1]) == parent}


def kill(server, victim, doer):
    """Kills, and starts the server where it does not do so by itself."""
    with open(os.path.join(server.data, "postmaster.pid"), encoding="ascii") as file:
        postmaster = int(file.readline())
    children = processes(postmaster)
    if victim == "backend":
        targets = [doer.pid]
    elif victim == "postmaster":
        targets = [postmaster]
    elif victim == "everybody":
        targets = [postmaster] + list(children)
    else:
        targets = [pid for pid, args in children.items() if victim in args]
    for pid in targets:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    if postmaster in targets:
        for pid in [postmaster] + list(children):
            while os.path.exists(f"/proc/{pid}") and "State:\tZ" not in status_of(pid):
                time.sleep(0.01)
        # a zombie that nobody has waited for yet would pass for a running server
        for name in ("data/postmaster.pid", ".s.PGSQL.5432.lock", ".s.PGSQL.5432"):
            if os.path.exists(os.path.join(server.folder, name)):
                os.unlink(os.path.join(server.folder, name))
        try:
            server.run("pg_ctl", "-D", server.data, "-l", server.log, "-w", "start")
        except RuntimeError:
            with open(server.log, encoding="utf-8") as file:
                print("# " + "# ".join(file.readlines()[-20:]))
            raise


def wait_until_down(witness):
    """Until the postmaster has noticed that a child was killed, and has thrown everybody out."""
    deadline = time.time() + 10
    while time.time() < deadline:
        try:
            witness.cursor().execute("SELECT 1")
        except psycopg2.Error:
            return
        time.sleep(0.01)


def wait_until_up(server):
    deadline = time.time() + 60
    while True:
        try:
            return connect(server)
        except psycopg2.OperationalError:
            if time.time() > deadline:
                raise
            time.sleep(0.02)


def status_of(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return file.read()
    except OSError:
        return "State:\tZ"


def main():
    seed = int(os.environ.get("PAYGUARD_SEED") or random.SystemRandom().randrange(10**9))
    cycles = int(os.environ.get("PAYGUARD_CYCLES") or 10)
    rnd = random.Random(seed)
    tap = Tap()
    print(f"# PAYGUARD_SEED={seed}")
    told = repeated = 0
    with Cluster() as server:
        with open(os.path.join(server.data, "postgresql.conf"), "a", encoding="ascii") as conf:
            conf.write("max_prepared_transactions = 1000\nwal_writer_delay = 1s\n"
                       "full_page_writes = on\nautovacuum_naptime = 1s\n")
        server.run("pg_ctl", "-D", server.data, "-l", server.log, "-w", "restart")
        cursor = connect(server).cursor()
        cursor.execute("CREATE EXTENSION payguard")
        cursor.execute("SELECT payguard.register_channel('card')")
        for cycle in range(cycles):
            moment, victim = MOMENTS[cycle % len(MOMENTS)], VICTIMS[cycle // 2 % len(VICTIMS)]
            load = Load(lambda: connect(server), seed + cycle, f"c{cycle}").start()
            doer = Doer(server, moment, cycle)
            doer.start()
            time.sleep(rnd.uniform(0.15, 0.6))
            witness = connect(server)
            kill(server, victim, doer)
            wait_until_down(witness)
            load.stop.set()
            hangs = load.join()
            doer.join(30)
            connection = wait_until_up(server)
            wrong, again = check(connection, load.notes)
            pages = check_pages(connection)
            told += len(load.notes.paid) + len(load.notes.refunded) + len(load.notes.open)
            repeated += again
            tap.ok(not hangs and not wrong and not pages and load.notes.paid,
                   f"{victim} is killed during {moment}: nothing that was told is lost",
                   hangs + wrong + pages)
            if moment == "CREATE EXTENSION":
                fresh = connect(server, doer.database).cursor()
                fresh.execute("SELECT count(*) FROM pg_extension WHERE extname = 'payguard'")
                there = fresh.fetchone()[0]
                if there:
                    fresh.execute("DROP EXTENSION payguard")
                fresh.execute("CREATE EXTENSION payguard")
                fresh.execute("SELECT count(*) FROM payguard.verify()")
                tap.ok(fresh.fetchone()[0] == 0, "and the extension is there in full, or not at all")
    print(f"# {cycles} cycles: {told} answers kept, {repeated} calls without an answer repeated")
    print(f"1..{tap.count}")
    return 1 if tap.failed else 0


if __name__ == "__main__":
    sys.exit(main())
