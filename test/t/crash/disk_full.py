#!/usr/bin/python3
"""A full disk, under load: that of pg_wal, and that of the data directory.

An answer is 53100 or a lost connection (without room for WAL the server panics), and nothing of a
call that was answered with an error is there. When there is room again, and the server has been
restarted as after a power cut: nothing that was acknowledged is lost, what was not answered is
repeated with the same key and paid once, verify() finds nothing and amcheck neither.

The small disk is a tmpfs in a mount namespace of this process's own, so no root is needed where
users may make namespaces; it goes with the process. PAYGUARD_CYCLES (2) of each disk, PAYGUARD_SEED.
"""
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
from cluster import Cluster  # noqa: E402
from load import Load, check, check_pages  # noqa: E402
from tap import Tap, choose_seed, skip  # noqa: E402

NAMESPACE = ["unshare", "--user", "--map-current-user", "--mount", "--keep-caps"]
DISK_FULL = "53100"
# what a client may be told when the server has panicked
GONE = ("57P01", "57P02", "57P03", None)


class Disk:
    """A tmpfs at path, which a ballast fills."""

    def __init__(self, path, size):
        self.path, self.ballast = path, os.path.join(path, "ballast")
        os.mkdir(path)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", path], check=True)

    def fill(self, leave):
        """Leaves that many bytes, at most."""
        with open(self.ballast, "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1 << 16))
            except OSError:
                pass
            file.truncate(max(0, os.path.getsize(self.ballast) - leave))

    def empty(self):
        os.unlink(self.ballast)

    def unmount(self):
        subprocess.run(["umount", "--lazy", self.path], check=True)


class Worker(threading.Thread):
    """Claims what is due and answers that the channel has done it."""

    def __init__(self, server, stop):
        super().__init__(daemon=True)
        self.cursor = server.connect().cursor()
        self.stop, self.done, self.refused, self.wrong = stop, 0, 0, []

    def run(self):
        while not self.stop.is_set():
            try:
                self.step()
            except psycopg2.Error as error:
                if error.pgcode == DISK_FULL and not self.cursor.connection.closed:
                    self.refused += 1
                    continue
                if error.pgcode not in GONE + (DISK_FULL,):
                    self.wrong.append(f"{error.pgcode}: {error}".strip())
                return

    def step(self):
        self.cursor.execute("SELECT task_id, lease_token, COALESCE('r' || refund_id, 't' || payment_id), amount, currency"
                            " FROM payguard.claim_tasks('worker', 5, '1 s')")
        for task in self.cursor.fetchall():
            self.cursor.execute("SELECT outcome FROM payguard.complete_task(%s, %s, 'succeeded', %s, %s, %s)", task)
            self.done += 1
        self.cursor.execute("SELECT duty, problem FROM payguard.maintain(50) WHERE problem IS NOT NULL")
        for duty, problem in self.cursor.fetchall():
            if "No space left on device" not in problem:
                self.wrong.append(f"{duty}: {problem}")


def cycle(tap, server, disk, name, seed):
    """Fills the disk under load, and looks at what is left."""
    rnd = random.Random(seed)
    stop = threading.Event()
    load = Load(server.connect, seed, name, clients=4, survives=(DISK_FULL,)).start()
    worker = Worker(server, stop)
    worker.start()
    time.sleep(rnd.uniform(0.3, 0.6))
    disk.fill(rnd.choice([0, 10_000, 100_000]))
    # where only WAL has no room the server is to panic, sooner or later
    patience = time.time() + (10 if name.startswith("pg_wal") else rnd.uniform(0.8, 1.2))
    while time.time() < patience and any(c.is_alive() for c in load.clients):
        time.sleep(0.05)
    alive = [c for c in load.clients if c.is_alive()]
    if alive:
        # a checkpoint has to write as well
        try:
            server.connect().cursor().execute("CHECKPOINT")
        except psycopg2.Error:
            pass
    disk.empty()
    time.sleep(0.3)
    load.stop.set()
    stop.set()
    hangs = load.join()
    worker.join(60)
    if os.path.exists(os.path.join(server.data, "postmaster.pid")):
        try:
            server.crash()
        except RuntimeError:
            pass        # it was on its way down
    server.start()
    connection = server.connect()
    notes = load.notes
    wrong, again = check(connection, notes)
    wrong += hangs + worker.wrong + check_pages(connection)
    tap.ok(not wrong and notes.paid, f"{name} is full: nothing that was told is lost, nothing is done by halves",
           wrong)
    print(f"# {name}: {len(notes.paid) + len(notes.open) + len(notes.refunded)} answers kept,"
          f" {len(notes.refused) + worker.refused} refused, {again} repeated,"
          f" {'the server lived on' if alive else 'the server panicked'}")
    return len(notes.refused) + worker.refused, bool(alive)


def fill_disk(tap, which, seed, cycles):
    # fsync is off: the machine does not fail, only its disk
    server = Cluster("max_wal_size = 32MB", "min_wal_size = 2MB", "max_prepared_transactions = 1000", "log_line_prefix = '%e %p '",
                     "restart_after_crash = on", initdb=["--wal-segsize=1"])
    path = os.path.join(server.folder, "disk")
    disk = Disk(path, "40m" if which == "pg_wal" else "160m")
    if which == "pg_wal":
        server.initdb += ["-X", os.path.join(path, "wal")]
    else:
        server.data = os.path.join(path, "data")
        server.initdb += ["-X", os.path.join(server.folder, "wal")]
    try:
        with server:
            cursor = server.connect().cursor()
            cursor.execute("CREATE EXTENSION payguard")
            cursor.execute("CREATE EXTENSION amcheck")
            cursor.execute("SELECT payguard.register_channel('card', first_query_after := '0 s')")
            done = [cycle(tap, server, disk, f"{which} {n}", seed + n) for n in range(cycles)]
            with open(server.log, encoding="utf-8", errors="replace") as log:
                lines = log.readlines()
            internal = [line.strip() for line in lines if line.startswith("XX000")]
            tap.ok(not internal, f"{which}: no internal error in the server's log", internal)
            full = [line for line in lines if line.startswith(DISK_FULL)]
            tap.ok(full, f"{which}: the disk was full")
            if which == "pg_wal":
                tap.ok(any("PANIC" in line for line in full) and not any(alive for _, alive in done),
                       "pg_wal: the server panicked each time")
            else:
                tap.ok(all(alive for _, alive in done) and sum(refused for refused, _ in done),
                       "data: calls were refused, and the server lived on")
    finally:
        disk.unmount()
        shutil.rmtree(server.folder, ignore_errors=True)


def may_mount():
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", folder], check=False,
                              stderr=subprocess.DEVNULL).returncode == 0


def main():
    if "PAYGUARD_NAMESPACE" not in os.environ:
        if not may_mount():
            skip("needs root, or a system where users may make namespaces, to mount a small disk")
        os.environ["PAYGUARD_NAMESPACE"] = "1"
        os.execvp(NAMESPACE[0], [*NAMESPACE, sys.executable, os.path.abspath(__file__)])
    seed = choose_seed()
    cycles = int(os.environ.get("PAYGUARD_CYCLES") or 2)
    tap = Tap()
    for which in ("pg_wal", "data"):
        fill_disk(tap, which, seed, cycles)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
