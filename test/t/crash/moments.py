#!/usr/bin/python3
"""kill -9 at chosen moments: the postmaster, all processes, one backend, the walwriter, the checkpointer;
while somebody commits, prepares, commits what was prepared, vacuums, runs maintain(), makes the extension
or updates it. The statement of the moment is made to last, and is under way when the kill is sent.

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
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
from cluster import Cluster  # noqa: E402
from load import Load, check, check_pages  # noqa: E402
from tap import Tap, choose_seed  # noqa: E402

# what is killed, and while somebody else does what: 35 cycles have each pair once
VICTIMS = ["postmaster", "everybody", "backend", "walwriter", "checkpointer"]
MOMENTS = ["COMMIT", "PREPARE", "COMMIT PREPARED", "VACUUM", "maintain()", "CREATE EXTENSION", "ALTER EXTENSION"]
ROUND = 7           # cycles on one server: after each of them all that is there is looked at
OLD = "1.0.0"       # the version that ALTER EXTENSION begins with


class Doer(threading.Thread):
    """Does one thing again and again. asking: the statement that is not answered yet, [what, when]."""

    def __init__(self, server, moment, cycle, notes):
        super().__init__(daemon=True)
        self.moment, self.cycle, self.notes, self.done = moment, cycle, notes, 0
        self.asking, self.lasts = None, 0.01
        self.wrong, self.rolled_back, self.expired, self.paid = [], [], [], None
        self.database = "postgres"
        if moment.endswith("EXTENSION"):
            self.database = f"fresh{cycle}"
            server.connect().cursor().execute(f"CREATE DATABASE {self.database}")
        self.connection = server.connect(self.database)
        self.pid = self.connection.get_backend_pid()
        self.cursor = self.connection.cursor()
        # a commit waits that long (in us) before it flushes, and VACUUM (in ms) after a few pages
        self.cursor.execute("SET commit_delay = 15000; SET commit_siblings = 0;"
                            " SET vacuum_cost_delay = 2; SET vacuum_cost_limit = 20")

    def run(self):
        try:
            while True:
                self.done += 1
                self.do(f"do-{self.cycle}-{self.done}")
        except psycopg2.Error as error:
            if error.pgcode and error.pgcode[:2] != "57":
                self.wrong.append(f"{self.moment}: {error.pgcode} {error}".strip())

    def ask(self, what, sql, *args):
        self.asking = [what, time.monotonic()]
        self.cursor.execute(sql, args or None)
        if what == self.moment:
            self.lasts = time.monotonic() - self.asking[1]
        self.asking = None
        return self.cursor.fetchall() if self.cursor.description else None

    def do(self, name):
        if self.moment == "VACUUM":
            self.ask("VACUUM", "VACUUM (FREEZE) payguard.orders, payguard.payments, payguard.events, payguard.tasks")
        elif self.moment == "maintain()":
            self.ask("", "SELECT payguard.create_order(%s, 1, 'EUR', NULL, clock_timestamp() + '50 ms')", name)
            self.ask("", "SELECT pg_sleep(0.06)")
            self.wrong += self.ask("maintain()", "SELECT duty, problem FROM payguard.maintain()"
                                                 " WHERE problem IS NOT NULL")
            self.expired.append(name)
        elif self.moment == "CREATE EXTENSION":
            self.ask("CREATE EXTENSION", "CREATE EXTENSION payguard")
            self.ask("", "DROP EXTENSION payguard")
        elif self.moment == "ALTER EXTENSION":
            self.paid = None
            self.ask("", f"CREATE EXTENSION payguard VERSION '{OLD}'")
            self.ask("", "SELECT payguard.create_order('old', 1, 'EUR')")
            self.paid = self.ask("", "SELECT payment_id FROM payguard.pay_order('old', 'old')")[0][0]
            self.ask("ALTER EXTENSION", "ALTER EXTENSION payguard UPDATE")
            self.ask("", "SET payguard.allow_unsafe_ddl = on")
            self.ask("", "DROP EXTENSION payguard")
        else:
            self.pay(name)

    def pay(self, name):
        self.ask("", "BEGIN")
        self.ask("", "SELECT payguard.create_order(%s, 100, 'EUR')", name)
        payment = self.ask("", "SELECT payment_id FROM payguard.pay_order(%s, %s)", name, name)[0][0]
        if self.moment == "COMMIT":
            self.notes.asked[name] = name
            self.ask("COMMIT", "COMMIT")
        else:
            self.ask("PREPARE", "PREPARE TRANSACTION %s", name)
            self.notes.note(self.notes.prepared, name, name)
            if self.moment == "PREPARE":
                del self.notes.prepared[name]
                self.ask("", "ROLLBACK PREPARED %s", name)
                self.rolled_back.append(name)
                return
            self.ask("COMMIT PREPARED", "COMMIT PREPARED %s", name)
        self.notes.note(self.notes.paid, name, (name, payment))

    def wait_for_moment(self, deadline):
        """Until the statement of the moment is asked anew; None: that does not come."""
        before = self.asking
        while time.monotonic() < deadline and self.is_alive():
            asking = self.asking
            if asking and asking is not before and asking[0] == self.moment:
                return asking
            time.sleep(0.0005)
        return None

    def lost(self, cursor):
        """What the doer was told and is not so."""
        cursor.execute("SELECT order_id FROM payguard.orders WHERE order_id = ANY (%s)", (self.rolled_back,))
        wrong = [f"{order} was rolled back, and is there" for order, in cursor]
        cursor.execute("SELECT o FROM unnest(%s::text[]) o WHERE NOT EXISTS (SELECT FROM payguard.orders"
                       " WHERE order_id = o AND status = 'expired')", (self.expired,))
        return self.wrong + wrong + [f"{order} was expired, and is not" for order, in cursor]


def processes(parent):
    out = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,args="], stdout=subprocess.PIPE, text=True,
                         check=True).stdout
    rows = [line.split(None, 2) for line in out.splitlines()]
    return {int(row[0]): row[2] for row in rows if int(row[1]) == parent}


def kill(server, victim, doer, rnd):
    """Kills in the middle of the doer's statement, and starts the server where it does not do so by itself.
    Returns what went wrong, and whether the statement was not over when the kill came."""
    with open(os.path.join(server.data, "postmaster.pid"), encoding="ascii") as file:
        postmaster = int(file.readline())
    deadline = time.monotonic() + 60
    while True:
        children = processes(postmaster)
        if victim == "backend":
            targets = [doer.pid]
        elif victim == "postmaster":
            targets = [postmaster]
        elif victim == "everybody":
            targets = [postmaster] + list(children)
        else:
            targets = [pid for pid, args in children.items() if victim in args]
        asked = doer.wait_for_moment(deadline)
        if asked is None:
            return [f"{doer.moment} is not asked: nothing was killed"], False
        time.sleep(rnd.uniform(0, 0.8) * doer.lasts)
        if doer.asking is asked:
            break
    if not targets:
        return [f"there is no {victim}"], False
    kill_all(targets)
    met = doer.asking is asked
    if postmaster in targets:
        restart(server)
    return [], met


def kill_all(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def restart(server):
    """Starts it anew when nobody works in its folder any more: who does not notice the postmaster's end is
    killed, as the server's log asks for."""
    deadline = time.monotonic() + 20
    while True:
        left = working_in(server.data)
        if not left:
            break
        if time.monotonic() > deadline:
            kill_all(left)
        time.sleep(0.02)
    for name in ("data/postmaster.pid", ".s.PGSQL.5432.lock", ".s.PGSQL.5432"):
        if os.path.exists(os.path.join(server.folder, name)):
            os.unlink(os.path.join(server.folder, name))
    try:
        server.run("pg_ctl", "-D", server.data, "-l", server.log, "-w", "start")
    except RuntimeError:
        with open(server.log, encoding="utf-8") as file:
            print("# " + "# ".join(file.readlines()[-20:]))
        raise


def working_in(folder):
    pids = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/cwd") == folder:
                pids.append(int(pid))
        except OSError:
            pass        # it is gone, or somebody else's
    return pids


def wait_until_down(witness):
    """Until the postmaster has noticed that a child was killed, and has thrown everybody out. Whether it did."""
    deadline = time.time() + 20
    while time.time() < deadline:
        try:
            witness.cursor().execute("SELECT 1")
        except psycopg2.Error:
            return True
        time.sleep(0.01)
    return False


def wait_until_up(server):
    deadline = time.time() + 60
    while True:
        try:
            return server.connect()
        except psycopg2.OperationalError:
            if time.time() > deadline:
                raise
            time.sleep(0.02)


def check_extension(server, doer):
    """The extension of a database of its own: there in full or not at all, and an update loses nothing."""
    connection = server.connect(doer.database)
    cursor = connection.cursor()
    cursor.execute("SELECT (SELECT extversion FROM pg_extension WHERE extname = 'payguard'),"
                   " to_regnamespace('payguard') IS NOT NULL")
    version, schema = cursor.fetchone()
    wrong = [] if schema == (version is not None) else ["the schema is there without the extension, or not with it"]
    if version is None and doer.asking and doer.asking[0] == "ALTER EXTENSION":
        wrong.append("it is gone")
    # where the postmaster alone is killed, the doer goes on for a moment, and perhaps begins anew
    if doer.moment == "ALTER EXTENSION" and version and doer.paid:
        for statement in ("SELECT", "ALTER EXTENSION payguard UPDATE"):
            cursor.execute(statement)
            cursor.execute("SELECT outcome, payment_id, replayed FROM payguard.pay_order('old', 'old')")
            row = cursor.fetchone()
            if row != ("paid", doer.paid, True):
                wrong.append(f"version {version}, {statement}: the key is answered {row}, not {doer.paid}")
    else:
        if version:
            cursor.execute("SET payguard.allow_unsafe_ddl = on")
            cursor.execute("DROP EXTENSION payguard")
        cursor.execute("CREATE EXTENSION payguard")
    cursor.execute("SELECT * FROM payguard.verify()")
    wrong += cursor.fetchall() + check_pages(connection)
    connection.close()
    server.connect().cursor().execute(f"DROP DATABASE {doer.database}")
    return wrong


def play_round(tap, rnd, seed, cycles):
    """Some cycles on a server of their own: (answers that were kept, calls that were repeated, kills that met
    their statement)."""
    told = repeated = met = 0
    # without fsync a commit would not wait before it flushes
    with Cluster("fsync = on", "max_prepared_transactions = 1000", "wal_writer_delay = 1s",
                 "autovacuum_naptime = 1s") as server:
        cursor = server.connect().cursor()
        cursor.execute("CREATE EXTENSION payguard")
        cursor.execute("SELECT payguard.register_channel('card')")
        for cycle in cycles:
            moment, victim = MOMENTS[cycle % len(MOMENTS)], VICTIMS[cycle % len(VICTIMS)]
            load = Load(server.connect, seed + cycle, f"c{cycle}").start()
            doer = Doer(server, moment, cycle, load.notes)
            doer.start()
            time.sleep(rnd.uniform(0.15, 0.6))
            witness = server.connect()
            wrong, in_time = kill(server, victim, doer, rnd)
            met += in_time
            if not wait_until_down(witness):
                wrong.append(f"nobody noticed that the {victim} was killed")
            load.stop.set()
            wrong += load.join()
            doer.join(30)
            connection = wait_until_up(server)
            lost, again = check(connection, load.notes)
            wrong += lost + doer.lost(connection.cursor()) + check_pages(connection)
            told += len(load.notes.paid) + len(load.notes.refunded) + len(load.notes.open)
            repeated += again
            tap.ok(not wrong and load.notes.paid, f"{victim} is killed during {moment}: nothing that was told is lost",
                   wrong)
            if doer.database != "postgres":
                wrong = check_extension(server, doer)
                tap.ok(not wrong, f"{victim} is killed during {moment}: it is done, or not at all", wrong)
    return told, repeated, met


def main():
    seed = choose_seed()
    cycles = int(os.environ.get("PAYGUARD_CYCLES") or 10)
    rnd = random.Random(seed)
    tap = Tap()
    done = [play_round(tap, rnd, seed, range(first, min(first + ROUND, cycles))) for first in range(0, cycles, ROUND)]
    told, repeated, met = map(sum, zip(*done))
    tap.ok(repeated, f"{cycles} cycles: {told} answers kept, {repeated} calls without an answer repeated")
    tap.ok(met > cycles / 2, f"{met} kills met their statement, the others came when it was just over")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
