"""What the benchmarks share: a server of their own, the tables in it, the scripts.

Ids and keys are 19 digits, as text: every way of paying gets them as they are.
"""
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
FIRST = 10**18          # the number of order 0

# A pgbench script begins by taking the next order, in an order that is random and the same for
# every script: `i` counts on over all scripts of one client.
NEXT = r"""\set i :i + 1
\set n 1 + permute(:base + :client_id * :share + :i, :orders - 1, 42)
\set id 1000000000000000000 + :n
\set k random(1000000000000000000, 2000000000000000000)
"""

L1 = """WITH o AS (UPDATE bench.lean_orders SET status = 'paid', version = version + 1, updated_at = clock_timestamp()
 WHERE order_id = :id AND status = 'unpaid' RETURNING order_id, amount, currency, updated_at)
INSERT INTO bench.lean_payments (order_id, idempotency_key, amount, currency, created_at)
SELECT order_id, :k, amount, currency, updated_at FROM o;
"""

L1E = """WITH id AS MATERIALIZED (SELECT gen_random_uuid() AS id), o AS (
 UPDATE bench.orders SET status = 'paid', version = version + 1, payment_id = id.id, updated_at = clock_timestamp()
 FROM id WHERE order_id = :id AND status = 'unpaid'
 RETURNING order_id, amount, currency, version, payment_id, updated_at),
p AS (INSERT INTO bench.payments (payment_id, order_id, idempotency_key, channel, amount, currency,
  received_amount, received_currency, amount_verified, status, order_version, request_kind, created_at, completed_at)
 SELECT payment_id, order_id, :k, 'internal', amount, currency, amount, currency, true, 'succeeded', version, 'pay',
  updated_at, updated_at FROM o)
INSERT INTO bench.events (at, order_id, payment_id, kind, from_status, to_status, version, actor)
SELECT updated_at, order_id, payment_id, 'order.paid', 'unpaid', 'paid', version, session_user FROM o;
"""

APP = """BEGIN;
SELECT order_id, amount, currency, status, version FROM bench.lean_orders WHERE order_id = :id FOR UPDATE;
INSERT INTO bench.lean_payments (order_id, idempotency_key, amount, currency, created_at)
 VALUES (:id, :k, 100, 'EUR', now());
UPDATE bench.lean_orders SET status = 'paid', version = version + 1, updated_at = now() WHERE order_id = :id;
COMMIT;
"""

# What an ORM sends: the row read with all of its columns, the version checked in the UPDATE, the
# new row read back.
ORM = """BEGIN;
SELECT order_id, customer_id, amount, currency, status, closing_as, version, payment_id, refunded_amount,
 created_at, updated_at, expires_at FROM bench.lean_orders WHERE order_id = :id;
UPDATE bench.lean_orders SET status = 'paid', version = 2, updated_at = now() WHERE order_id = :id AND version = 1;
INSERT INTO bench.lean_payments (order_id, idempotency_key, amount, currency, created_at)
 VALUES (:id, :k, 100, 'EUR', now()) RETURNING payment_id, created_at;
COMMIT;
"""

SCRIPTS = {
    "L1": NEXT + L1,
    "L1e": NEXT + L1E,
    "APP": NEXT + APP,
    "ORM": NEXT + ORM,
    "PL": NEXT + "SELECT bench.pay_order(:id, :k);\n",
    "pay_order": NEXT + "SELECT payguard.pay_order(:id, :k);\n",
}

# Everybody asks for the order FIRST, which the key FIRST has paid.
HOT = {
    "replay": "SELECT payguard.pay_order('1000000000000000000', '1000000000000000000');\n",
    "refusal": r"\set k random(1000000000000000001, 2000000000000000000)" +
               "\nSELECT payguard.try_pay_order('1000000000000000000', :k);\n",
    "lock-first replay": "SELECT bench.pay_lock_first('1000000000000000000', '1000000000000000000');\n",
    "lock-first refusal": r"\set k random(1000000000000000001, 2000000000000000000)" +
                          "\nSELECT bench.pay_lock_first('1000000000000000000', :k);\n",
}


def say(*words):
    print(*words)
    sys.stdout.flush()


class Server:
    """A server in a temporary folder, reached by its socket there only.

    programs: the folder of the server's programs, where it is not the first one in PATH.
    """

    def __init__(self, programs=None, **settings):
        self.programs = programs
        self.folder = tempfile.mkdtemp(prefix="payguard-bench.")
        self.data = os.path.join(self.folder, "data")
        self.settings = dict({
            "listen_addresses": "''", "unix_socket_directories": f"'{self.folder}'",
            "shared_buffers": "'512MB'", "max_connections": "100", "autovacuum": "off",
            "checkpoint_timeout": "'1h'", "max_wal_size": "'8GB'", "jit": "off",
            "log_min_messages": "error"}, **settings)
        self.process = None

    def run(self, *command, env=None):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=dict(os.environ, **(env or {})))
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]}: {done.stdout}")
        return done.stdout

    def __enter__(self):
        self.run(self.program("initdb"), "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                 "--locale=C.UTF-8", "--no-sync")
        self.set(**self.settings)
        self.start()
        return self

    def __exit__(self, *error):
        try:
            self.stop("immediate")
        finally:
            if os.environ.get("PAYGUARD_KEEP"):
                say("kept:", self.folder)
            else:
                shutil.rmtree(self.folder, ignore_errors=True)

    def program(self, name):
        return shutil.which(name, path=self.programs)

    def set(self, **settings):
        """Settings from the next start on."""
        with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
            for name, value in settings.items():
                conf.write(f"{name} = {value}\n")

    def start(self):
        self.run(self.program("pg_ctl"), "-D", self.data, "-l", os.path.join(self.folder, "log"), "-w", "start")

    def stop(self, mode="fast"):
        if self.process:
            self.process.terminate()
            self.process.wait(120)
            self.process = None
        elif os.path.exists(os.path.join(self.data, "postmaster.pid")):
            self.run(self.program("pg_ctl"), "-D", self.data, "-m", mode, "-w", "stop")

    def start_counting(self):
        """Starts it under callgrind: each backend leaves callgrind.PID at its end."""
        self.process = subprocess.Popen(
            ["valgrind", "-q", "--tool=callgrind", "--trace-children=yes",
             f"--callgrind-out-file={self.folder}/callgrind.%p",
             self.program("postgres"), "-D", self.data,
             # how often these are sent depends on the time, which runs slowly here
             "-c", "track_counts=off", "-c", "track_activities=off"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.time() + 120
        while True:
            try:
                connection = self.connect()
                break
            except psycopg2.OperationalError:
                if time.time() > deadline:
                    raise
                time.sleep(0.5)
        time.sleep(2)
        backend = connection.get_backend_pid()
        self.others = self.children() - {backend}
        connection.close()

    def children(self):
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return {int(pid) for pid in file.read().split()}

    def wait_for_backends(self):
        """Until every backend has ended, and has written what callgrind counted."""
        deadline = time.time() + 120
        while self.children() - self.others:
            if time.time() > deadline:
                raise RuntimeError("a backend does not end")
            time.sleep(0.1)

    def connect(self, database="postgres"):
        connection = psycopg2.connect(host=self.folder, user="postgres", dbname=database)
        connection.autocommit = True
        return connection

    def processor_time(self):
        """Seconds that the backends which have ended took, their start included."""
        with open(os.path.join(self.data, "postmaster.pid")) as file:
            pid = file.readline().strip()
        self.wait_until_alone()
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")

    def wait_until_alone(self):
        """The last backend may not have ended yet, nor have written what it counted."""
        for _ in range(100):
            if self.sql("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")[0][0] == 1:
                break
            time.sleep(0.02)
        time.sleep(0.05)

    def sql(self, query, values=None, database="postgres"):
        connection = self.connect(database)
        try:
            cursor = connection.cursor()
            cursor.execute(query, values)
            return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def pgbench(self, scripts, base=0, share=0, orders=1, options="", env=None, *arguments):
        """Runs scripts (texts) and returns what pgbench prints."""
        files = []
        for number, script in enumerate(scripts):
            path = os.path.join(self.folder, f"script{number}.sql")
            with open(path, "w") as file:
                file.write(script)
            files += ["-f", path]
        return self.run("pgbench", "-n", "-M", "prepared", "-h", self.folder, "-U", "postgres",
                        "-D", "i=0", "-D", f"base={base}", "-D", f"share={share}",
                        "-D", f"orders={orders}", *arguments, *files, "postgres",
                        env=dict(env or {}, PGOPTIONS=options))

    def load(self, orders):
        """Makes payguard, the twins and so many unpaid orders in each; order 0 is paid."""
        with open(os.path.join(HERE, "twins.sql")) as file:
            twins = file.read()
        self.sql("CREATE EXTENSION payguard")
        self.sql(twins)
        self.add_orders(0, orders)
        self.sql(f"SELECT payguard.pay_order('{FIRST}', '{FIRST}')")
        self.sql(f"SELECT bench.pay_order('{FIRST}', '{FIRST}')")
        self.tidy()

    def add_orders(self, first, last, schemas=("payguard", "bench")):
        for schema, table, events in (("payguard", "orders", True), ("bench", "orders", True),
                                      ("bench", "lean_orders", False)):
            if schema not in schemas:
                continue
            self.sql(f"""INSERT INTO {schema}.{table} (order_id, customer_id, amount, currency, status, version,
                refunded_amount, created_at, updated_at)
                SELECT ({FIRST} + n)::text, (n / 10)::text, 100 + n %% 1000, 'EUR', 'unpaid', 1, 0, now(), now()
                FROM generate_series(%s, %s) n""", (first, last - 1))
            if events:
                self.sql(f"""INSERT INTO {schema}.events (at, order_id, kind, to_status, version, actor, details)
                    SELECT created_at, order_id, 'order.created', 'unpaid', 1, 'bench',
                      jsonb_build_object('amount', amount, 'currency', currency, 'customer_id', customer_id)
                    FROM {schema}.{table} WHERE order_id >= %s""", (str(FIRST + first),))

    def tidy(self):
        self.sql("VACUUM (ANALYZE, FREEZE)")
        self.sql("CHECKPOINT")


def latencies(report):
    """For each script the milliseconds of a transaction: its statements, SET aside."""
    found = []
    for part in report.split("SQL script ")[1:]:
        total = 0.0
        for line in part.split("statement latencies")[1].split("\n"):
            match = re.match(r"\s+([0-9.]+)\s+(?:\d+\s+)?(\S.*)", line)
            if match and not match.group(2).startswith(("\\", "SET ")):
                total += float(match.group(1))
        found.append(total)
    return found


def transactions(report):
    return int(re.search(r"number of transactions actually processed: (\d+)", report).group(1))


def tps(report):
    return float(re.search(r"tps = ([0-9.]+)", report).group(1))


def spread(values, digits=2):
    """The median, and from where to where."""
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def table(heads, rows):
    """Prints rows as a Markdown table."""
    widths = [max(len(str(row[i])) for row in [heads] + rows) for i in range(len(heads))]
    def line(row):
        return "| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |"
    say(line(heads))
    say("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for row in rows:
        say(line(row))
