#!/usr/bin/python3
# The example worker: behind PgBouncer in transaction mode, and killed at random over channels
# that time out. PAYGUARD_SEED and PAYGUARD_REQUESTS set the run; the long one is
# make torture-worker.

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", d) for d in ("lib", "sim")]
sys.dont_write_bytecode = True

import cluster
import workers
from tap import Tap, choose_seed

POOLER = """
[databases]
postgres = host={folder} port=5432
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {folder}
auth_type = trust
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 2
logfile = {folder}/pgbouncer.log
pidfile = {folder}/pgbouncer.pid
"""
POOLED = 200  # requests


class Pooler:
    """PgBouncer in front of a cluster, on a socket in the cluster's folder."""

    def __init__(self, folder):
        self.folder = folder
        self.dsn = f"host={folder} port=6432 user=worker dbname=postgres"

    def __enter__(self):
        with open(f"{self.folder}/pgbouncer.ini", "w", encoding="utf-8") as conf:
            conf.write(POOLER.format(folder=self.folder))
        with open(f"{self.folder}/users.txt", "w", encoding="utf-8") as users:
            users.write('"worker" ""\n')
        program = shutil.which("pgbouncer", path=os.environ["PATH"] + ":/usr/sbin")
        self.process = subprocess.Popen([program, "-q", f"{self.folder}/pgbouncer.ini"])
        deadline = time.monotonic() + 20
        while not os.path.exists(f"{self.folder}/.s.PGSQL.6432"):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("pgbouncer did not start")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def through_pooler(seed):
    """Three workers on two connections charge all requests, and stop when they are told to."""
    with cluster.Cluster() as server, Pooler(server.folder) as pooler:
        run = workers.Torture(server, seed, POOLED, workers=3, faults=0)
        run.start()
        try:
            for number in range(3):
                run.start_worker(number, pooler.dsn)
            asked = 0
            while asked < POOLED:
                asked = run.request(asked)
            run.settle()
            # one more while they stop: it is done, or left alone
            run.shop.rows(workers.CREATE, POOLED + 1, POOLED + 1)
            run.shop.rows(workers.REQUEST, POOLED + 1, POOLED + 1)
            for worker in run.workers:
                worker.send_signal(signal.SIGTERM)
            ends = [worker.wait(20) for worker in run.workers]
            sessions = run.database.rows(
                "SELECT count(*) AS n FROM pg_stat_activity WHERE usename = 'worker'")[0]["n"]
            states = run.database.rows(
                "SELECT count(*) FILTER (WHERE status IN ('succeeded', 'failed')) AS ended,"
                "       count(*) FILTER (WHERE status = 'succeeded') AS succeeded"
                " FROM payguard.payments WHERE order_id <> 'order-%s'" % (POOLED + 1))[0]
            yield "workers end when they are told to", ends == [0, 0, 0], ends
            yield "all requests have ended", states["ended"] == POOLED, states
            yield "most are paid", states["succeeded"] > POOLED / 2, states
            yield "through two connections", 0 < sessions <= 2, sessions
            leases = run.database.rows("SELECT * FROM payguard.leases")
            yield "nothing is held", not leases, leases
            problems = run.database.rows("SELECT * FROM payguard.verify()")
            yield "verify() finds nothing", not problems, problems
        finally:
            for process in run.workers + run.processes:
                process.kill()


def from_cron(seed):
    """A shop without a worker: its own charge had no answer; a run of the worker asks what is due, and ends.

    The seed is one whose channel takes the money.
    """
    with cluster.Cluster() as server:
        run = workers.Torture(server, seed, POOLED, workers=1, faults=0)
        run.start()
        try:
            def once():
                run.start_worker(0, None, "--once")
                return run.workers[0].wait(20)

            yield "nothing is due: it ends", once() == 0, ""
            run.shop.rows(workers.CREATE, 1, 1)
            payment = run.shop.rows("SELECT order_id, payment_id::text FROM payguard.start_payment('order-1', 'click', 'beta')")[0]
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{run.port}/beta/charge", json.dumps(
                {**payment, "amount": 101, "currency": "EUR"}).encode()), timeout=20).read()
            run.database.rows("SELECT outcome FROM payguard.report_payment(%s, 'unknown')", payment["payment_id"])
            time.sleep(0.1)
            due = run.database.rows("SELECT kind FROM payguard.tasks WHERE run_at <= clock_timestamp()")
            yield "the outcome is to be asked about", [task["kind"] for task in due] == ["query"], due
            ended = once()
            state = run.database.rows("SELECT status, (SELECT count(*) FROM payguard.tasks) AS tasks,"
                                      " (SELECT count(*) FROM payguard.leases) AS leases FROM payguard.orders")[0]
            yield "it asks, and ends: paid", (ended, state) == (0, {"status": "paid", "tasks": 0, "leases": 0}), (ended, state)
        finally:
            for process in run.workers + run.processes:
                process.kill()


def killed(seed):
    requests = int(os.environ.get("PAYGUARD_REQUESTS") or 500)
    with cluster.Cluster() as server:
        run = workers.Torture(server, seed, requests)
        run.run()
        for line in run.lines():
            print(f"# {line}")
        for name, problems in run.deviations.items():
            yield name, not problems, ""
        yield "workers were killed", run.counts["killed"] > 5, run.counts["killed"]
        yield "leases ran out", run.lost > 0, run.lost
        yield "letters were dead", run.counts["dead"] == 5, run.counts["dead"]


def main():
    seed = choose_seed()
    tap = Tap()
    for part, checks in (("pooled", through_pooler(seed)), ("cron", from_cron(2)), ("killed", killed(seed))):
        tap.each((f"{part}: {name}", passed, seen) for name, passed, seen in checks)
    sys.exit(tap.done())


main()
