#!/usr/bin/python3
# examples/prometheus with the real exporter and the real Prometheus, beside a run of the
# simulation: what Prometheus has is what the tables and the simulation say, and alerts fire.

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(HERE, "..", "..", "..", "examples", "prometheus")
sys.path[:0] = [os.path.join(HERE, "..", "..", d) for d in ("lib", "sim")]
sys.dont_write_bytecode = True

import psycopg2

import books
import cluster
import simulate
from tap import Tap, skip, wait_for


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Monitoring:
    """The exporter and Prometheus, with the examples' configuration: other ports, more often."""

    def __init__(self, server):
        self.server = server
        self.folder = os.path.join(server.folder, "monitoring")
        self.exporter_port, self.port = free_port(), free_port()
        self.processes = []

    def configure(self, name, *changes):
        text = open(os.path.join(EXAMPLES, name), encoding="utf-8").read()
        for old, new in changes:
            assert old in text, (name, old)
            text = text.replace(old, new)
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def start(self):
        os.mkdir(self.folder)
        exporter = self.configure(
            "sql_exporter.yml", ("interval: 15s", "interval: 1s"),
            ("/shop?host=/var/run/postgresql", f"/postgres?host={self.server.folder}"))
        self.configure("payguard.rules.yml")
        prometheus = self.configure(
            "prometheus.yml", ("_interval: 15s", "_interval: 1s"), ("localhost:9237", f"127.0.0.1:{self.exporter_port}"))
        self.spawn("prometheus-sql-exporter", "-config.file", exporter,
                   "-web.listen-address", f"127.0.0.1:{self.exporter_port}")
        self.spawn("prometheus", f"--config.file={prometheus}", f"--storage.tsdb.path={self.folder}/data",
                   f"--web.listen-address=127.0.0.1:{self.port}")

    def spawn(self, *command):
        log = open(os.path.join(self.folder, os.path.basename(command[0]) + ".log"), "w", encoding="utf-8")
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait()

    def logs(self):
        for name in ("prometheus-sql-exporter.log", "prometheus.log"):
            with open(os.path.join(self.folder, name), encoding="utf-8") as log:
                for line in log.readlines()[-10:]:
                    print("#", name, line.strip())

    def ask(self, path, **arguments):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, query):
        """→ {(name, labels): value}"""
        try:
            found = self.ask("query", query=query)["result"]
        except OSError:
            return {}
        return {(one["metric"].pop("__name__"), json.dumps(
            {k: v for k, v in one["metric"].items() if k not in ("database", "instance", "job")}, sort_keys=True)):
                float(one["value"][1]) for one in found}

    def firing(self):
        return {alert["labels"]["alertname"] for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"}


def within(seconds, condition):
    return wait_for(condition, seconds, 0.3)


def recount(cursor):
    """→ {(name, labels): value}, from the tables."""
    cursor.execute("WITH " + re.search(r"recount.*?GROUP BY kind, severity\)", books.METRICS, re.S).group(0)
                   + " SELECT name, labels, value FROM recount")
    return {(name, json.dumps(labels, sort_keys=True)): float(value) for name, labels, value in cursor.fetchall()}


STUCK = """
    SELECT payguard.register_channel('slow', alert_after => '1 ms', first_query_after => '1 h');
    SELECT payguard.create_order('stuck-' || n, 5, 'EUR') FROM generate_series(1, 3) n;
    SELECT payguard.start_payment('stuck-1', 'stuck-1', 'slow');
    SELECT payguard.pay_order('stuck-2', 'stuck-2');
    SELECT payguard.record_payment('stuck-2', 'slow', 'stuck-2', 5, 'EUR');
"""
DEAD = """
    DO $$
    DECLARE t record;
    BEGIN
      FOR i IN 1 .. 10 LOOP
        SELECT task_id, lease_token INTO STRICT t FROM payguard.claim_tasks('w', 1, channels => '{slow}', kinds => '{refund}');
        PERFORM payguard.retry_task(t.task_id, t.lease_token, 'no connection', '1 us');
        PERFORM pg_sleep(0.3);
      END LOOP;
    END $$
"""
END = """
    SELECT payguard.settle_payment(payment_id, 'failed', 'the end') FROM payguard.payments WHERE order_id = 'stuck-1';
    SELECT payguard.settle_refund(refund_id, 'succeeded', 'the end') FROM payguard.refunds WHERE order_id = 'stuck-2';
    SELECT count(*) FROM payguard.maintain();
"""


def checks(server, monitoring):
    connection = psycopg2.connect(server.dsn)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute("CREATE EXTENSION payguard; CREATE ROLE payguard_exporter LOGIN")
    cursor.execute("SELECT payguard.grant_access('payguard_exporter', 'auditor')")
    for command in (["promtool", "check", "rules", "payguard.rules.yml"],
                    ["promtool", "test", "rules", "payguard.test.yml"],
                    ["promtool", "check", "config", "prometheus.yml"]):
        done = subprocess.run(command, cwd=EXAMPLES, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False)
        yield " ".join(command[:3]) + (done.stdout if done.returncode else ""), done.returncode == 0
    with open(os.path.join(EXAMPLES, "payguard.rules.yml"), encoding="utf-8") as file:
        rules = re.split(r"(?m)^ *- alert: ", file.read())[1:]
    bare = [rule.partition("\n")[0] for rule in rules if not re.search(r"(?m)^ *description: .", rule) or not re.search(r"(?m)^ *runbook(_url)?: .", rule)]
    yield f"each of {len(rules)} alerts says what it means, and where its runbook is {bare or ''}", len(rules) > 5 and not bare
    monitoring.start()
    simulation = simulate.Simulation(server.dsn, 1, 600, faults=0.3, clients=6)
    yield "the simulation deviates in nothing", simulation.run()
    for name, problems in simulation.deviations.items():
        for problem in problems[:5]:
            print("#", name, problem)

    cursor.execute("SELECT payguard.run_verify()")

    def agree():
        has = monitoring.values('{__name__=~"payguard_(payments|refunds|orders|events)_total|payguard_alerts_open"}')
        return all(has.get(key) == value for key, value in recount(cursor).items())

    good = within(30, agree)
    yield f"Prometheus has what the tables say, in {len(recount(cursor))} series", good
    if not good:
        has = monitoring.values('{__name__=~"payguard_.*"}')
        print("#", sorted(has)[:5], [(key, value, has.get(key)) for key, value in recount(cursor).items() if has.get(key) != value][:5])
    yield "and the replays that the simulation saw", within(
        15, lambda: monitoring.values("payguard_replays_total") == {
            ("payguard_replays_total", "{}"): float(simulation.counts["replays"])})
    refused = {name[8:]: n for name, n in simulation.counts.items() if name.startswith("refusal ") and name != "refusal paid"}
    yield "and the refusals, by reason", within(15, lambda: {
        json.loads(labels)["reason"]: n for (_, labels), n in monitoring.values("payguard_refusals_total > 0").items()} == refused)
    metrics = {name for name, _ in monitoring.values('{__name__=~"payguard_.*"}')}
    cursor.execute("SELECT DISTINCT name FROM payguard.metrics")
    yield "every metric of the view is collected", within(
        15, lambda: {row[0] for row in cursor.fetchall()} <= metrics)
    wanted = {"PayguardPaymentStuck", "PayguardSurplusMoney", "PayguardDeadTask", "PayguardRefundNotMade"}
    cursor.execute("SELECT payguard.resolve_alert(alert_id, 'the simulation is over') FROM payguard.alerts WHERE resolved_at IS NULL")
    yield "nothing is wrong: no alert fires", within(20, lambda: not monitoring.firing() & wanted)
    cursor.execute(STUCK)
    cursor.execute(DEAD)
    cursor.execute("SELECT count(*) FROM payguard.maintain()")
    yield "a stuck payment, surplus money, a dead task, a refund that is late: all fire", within(
        20, lambda: wanted <= monitoring.firing())
    with open(os.path.join(EXAMPLES, "dashboard.json"), encoding="utf-8") as file:
        dashboard = json.load(file)
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"] if "expr" in target]
    bad = []
    for expression in expressions:
        expression = expression.replace("$database", ".*")
        try:
            # of rates the time since the simulation is too short to say
            if "rate" not in expression and not monitoring.ask("query", query=expression)["result"]:
                bad.append(expression)
        except OSError as error:
            bad.append(f"{expression}: {error}")
    yield f"each of the dashboard's {len(expressions)} expressions has data", not bad
    for expression in bad:
        print("#", expression)
    yield "each panel says what it shows", all(panel.get("description") for panel in dashboard["panels"])
    queries = [target["rawSql"] for panel in dashboard["panels"] for target in panel["targets"] if "rawSql" in target]
    for query in queries:
        cursor.execute(query)
        yield "the table of cases has rows", cursor.rowcount > 0
    cursor.execute(END)
    yield "they end when their causes do", within(20, lambda: not monitoring.firing() & wanted)


def main():
    if not shutil.which("prometheus-sql-exporter") or not shutil.which("promtool"):
        skip("Prometheus and its exporter are not installed")
    tap = Tap()
    with cluster.Cluster() as server:
        monitoring = Monitoring(server)
        try:
            tap.each(checks(server, monitoring))
        finally:
            monitoring.stop()
            if tap.failed and os.path.isdir(monitoring.folder):
                monitoring.logs()
            shutil.rmtree(monitoring.folder, ignore_errors=True)
    sys.exit(tap.done())


main()
