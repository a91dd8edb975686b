#!/usr/bin/python3
# examples/pg_cron.sql with the real pg_cron: maintain() and the tasks run every minute, verify() works.

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
sys.dont_write_bytecode = True

import psycopg2

import cluster
from tap import Tap, skip, wait_for


def checks(server):
    connection = psycopg2.connect(server.dsn)
    connection.autocommit = True
    cursor = connection.cursor()

    def rows(sql):
        cursor.execute(sql)
        return cursor.fetchall()

    cursor.execute("CREATE EXTENSION payguard SCHEMA pg_catalog")
    done = subprocess.run(["psql", "-qXtA", "-v", "ON_ERROR_STOP=1", "-d", server.dsn, "-f",
                           os.path.join(HERE, "..", "..", "..", "examples", "pg_cron.sql")],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    yield "the example runs" + (done.stdout if done.returncode else ""), done.returncode == 0
    cursor.execute("SELECT payguard.create_order('a', 1, 'EUR', expires_at => clock_timestamp() + interval '1 s')")
    # a charge whose answer was lost: the channel has a driver, which knows
    cursor.execute("CREATE FUNCTION driver(payguard.task) RETURNS payguard.channel_reply LANGUAGE sql AS $$"
                   " SELECT ROW('succeeded', 'ch_1', ($1).amount, ($1).currency, NULL, NULL)::payguard.channel_reply $$")
    cursor.execute("SELECT payguard.register_channel('direct', driver => 'driver', first_query_after => '1 s')")
    cursor.execute("SELECT payguard.create_order('b', 5, 'EUR')")
    payment = rows("SELECT payment_id::text FROM payguard.start_payment('b', 'click', 'direct')")[0][0]
    cursor.execute("SELECT outcome FROM payguard.report_payment(%s, 'unknown')", [payment])
    # the nightly ones at once, to see that they work
    cursor.execute("UPDATE cron.job SET schedule = '* * * * *'")
    wait_for(lambda: rows("SELECT status FROM payguard.orders ORDER BY order_id") == [("expired",), ("paid",)]
             and len(rows("SELECT DISTINCT jobid FROM cron.job_run_details WHERE status = 'succeeded'")) >= 4, 150, 0.5)
    yield "an order expired by itself", rows("SELECT status FROM payguard.orders WHERE order_id = 'a'") == [("expired",)]
    yield "a lost answer was asked for by itself", rows(
        "SELECT actor FROM payguard.events WHERE kind = 'order.paid'") == [("payguard_tasks",)]
    yield "by the role of the example", rows(
        "SELECT actor FROM payguard.events WHERE kind = 'order.expired'") == [("payguard_maintenance",)]
    yield "every duty was done", rows(
        "SELECT count(*) > 8, count(problem) FROM payguard.maintenance") == [(True, 0)]
    runs = rows("SELECT jobname, status, return_message FROM cron.job_run_details"
                " JOIN cron.job USING (jobid) WHERE status NOT IN ('starting', 'running')")
    for run in runs:
        print("#", run)
    yield "each job has succeeded", {run[0] for run in runs if run[1] == "succeeded"} == {
        "payguard maintain", "payguard tasks", "payguard verify", "forget cron runs"}
    yield "and none failed", not [run for run in runs if run[1] == "failed"]
    # what is broken opens an alert
    cursor.execute("SET session_replication_role = replica")
    cursor.execute("INSERT INTO payguard.orders VALUES ('broken', NULL, -1, 'EUR', 'unpaid', NULL, 1, NULL, 0, now(), now(), NULL)")
    cursor.execute("SELECT command FROM cron.job WHERE jobname = 'payguard verify'")
    cursor.execute(cursor.fetchone()[0])
    cursor.execute("SELECT details ->> 'violations' FROM payguard.alerts WHERE kind = 'verify_failed' AND resolved_at IS NULL")
    found = cursor.fetchone()
    yield "verify's job alerts where something is broken", found is not None and int(found[0]) > 0
    cursor.execute("SELECT value FROM payguard.metrics WHERE name = 'payguard_verify_violations'")
    yield "and a metric tells it", cursor.fetchone() == (float(found[0]),)


def main():
    share = subprocess.run(["pg_config", "--sharedir"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    if not os.path.exists(os.path.join(share, "extension", "pg_cron.control")):
        skip("pg_cron is not installed")
    tap = Tap()
    with cluster.Cluster("shared_preload_libraries = 'pg_cron, payguard'",
                         "cron.database_name = 'postgres'", "cron.use_background_workers = on") as server:
        tap.each(checks(server))
    sys.exit(tap.done())


main()
