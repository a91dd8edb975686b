#!/usr/bin/python3
# NOTIFY payguard_tasks: only where it is asked for, at commit, for tasks that are due at once;
# a worker that listens starts then.

import os
import sys
import time

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", d) for d in ("lib", "sim")]
sys.dont_write_bytecode = True

import psycopg2

import cluster
import workers
from tap import Tap

REQUEST = """SELECT payguard.create_order('{0}', 100, 'EUR');
             SELECT payguard.request_payment('{0}', '{0}', '{1}')"""
START = """SELECT payguard.create_order('{0}', 100, 'EUR');
           SELECT payguard.start_payment('{0}', '{0}', 'alpha')"""
ON = "SET LOCAL payguard.notify_tasks = on;"


def connect(server, role):
    connection = psycopg2.connect(server.dsn, options=f"-c role={role}")
    connection.autocommit = True
    return connection


def checks(server, run):
    listener = connect(server, "worker")
    listener.cursor().execute("LISTEN payguard_tasks")
    shop = connect(server, "shop").cursor()

    def notified():
        listener.cursor().execute("SELECT 1")
        listener.poll()
        seen = [(notice.channel, notice.payload) for notice in listener.notifies]
        listener.notifies.clear()
        return seen

    once = [("payguard_tasks", "")]
    shop.execute("BEGIN;" + REQUEST.format("a", "nowhere") + "; PREPARE TRANSACTION 'a'")
    shop.execute("COMMIT PREPARED 'a'")
    yield "off by default: nobody is notified, a transaction can be prepared", notified() == []
    shop.execute("BEGIN;" + ON + REQUEST.format("b", "nowhere"))
    yield "nobody is notified before the commit", notified() == []
    shop.execute(REQUEST.format("c", "nowhere") + "; COMMIT")
    yield "a transaction with two tasks notifies once", notified() == once
    shop.execute("BEGIN;" + ON + REQUEST.format("d", "nowhere") + "; ROLLBACK")
    yield "not of what is rolled back", notified() == []
    shop.execute("BEGIN;" + ON + START.format("d") + "; COMMIT")
    yield "not of a task that is due later", notified() == []
    shop.execute("BEGIN;" + ON + REQUEST.format("e", "nowhere"))
    try:
        shop.execute("PREPARE TRANSACTION 'e'")
        refused = ""
    except psycopg2.Error as error:
        refused = error.pgcode
        shop.execute("ROLLBACK")
    yield "a transaction that notifies cannot be prepared", refused == "0A000"
    yield from listening(server, run, shop)


def listening(server, run, shop):
    run.start_worker(0, None, "--listen", server.dsn.replace("user=postgres", "user=worker"))
    claims = "SELECT count(*) AS n FROM payguard.tasks WHERE kind = 'charge' AND tries > 0"
    while not run.database.rows(claims)[0]["n"]:
        time.sleep(0.1)
    waits = []
    for n in range(3):
        time.sleep(2.5)  # it has nothing to do, and looks every two seconds
        began = time.monotonic()
        shop.execute("BEGIN;" + ON + REQUEST.format(f"listen-{n}", "alpha") + "; COMMIT")
        paid = f"SELECT FROM payguard.orders WHERE order_id = 'listen-{n}' AND status <> 'paying'"
        while not run.database.rows(paid) and time.monotonic() < began + 10:
            time.sleep(0.01)
        waits.append(time.monotonic() - began)
    print("# notified workers ended tasks after", " ".join(f"{wait:.2f} s" for wait in waits))
    yield "a worker that listens does not wait for its next look", sorted(waits)[1] < 0.4


def main():
    tap = Tap()
    with cluster.Cluster() as server:
        run = workers.Torture(server, 1, 0, workers=1, faults=0)
        run.start()
        run.database.rows("SELECT payguard.register_channel('nowhere',"
                          " first_query_after => '1 h', max_query_interval => '1 h')")
        run.database.rows("SELECT payguard.register_channel('alpha',"
                          " first_query_after => '1 h', max_query_interval => '1 h')")
        try:
            tap.each(checks(server, run))
        finally:
            for process in run.workers + run.processes:
                if process is not None:
                    process.kill()
    sys.exit(tap.done())


main()
