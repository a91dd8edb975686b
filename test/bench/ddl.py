#!/usr/bin/python3
"""What DDL that is none of payguard's costs in a database that has it: `make bench-ddl`.

A session makes and drops a temporary table 300 times: in a database without the extension, in one
with it, and in one with 20 guarded tables besides. They take turns, so that what disturbs the machine
disturbs all of them; the time is the median of the rounds, the processor time their sum, the
instructions are callgrind's, for one table more.

PAYGUARD_ROUNDS (9), PAYGUARD_TABLES (300).
"""
import os
import statistics
import time

from common import Server, spread, table
from exact import Counter

ROUNDS = int(os.environ.get("PAYGUARD_ROUNDS") or 9)
TABLES = int(os.environ.get("PAYGUARD_TABLES") or 300)
# database → what is in it
DATABASES = {"without": [], "extension": ["CREATE EXTENSION payguard"], "guards": ["CREATE EXTENSION payguard"] + [
    sql for n in range(20) for sql in (
        f"CREATE TABLE orders{n} (id bigint PRIMARY KEY, status text NOT NULL, version bigint NOT NULL)",
        f"""SELECT payguard.guard_table('orders{n}', 'status', '{{"unpaid": ["paid"]}}', 'version')""")]}


def make_and_drop(server, database, times):
    """Seconds, from the first table to the last, and of the backend's processor time."""
    connection = server.connect(database)
    cursor = connection.cursor()
    cursor.execute("CREATE TEMP TABLE first (a int)")   # the schema of temporary tables
    used = processor_time(connection)
    began = time.perf_counter()
    for _ in range(times):
        cursor.execute("CREATE TEMP TABLE t (a int, b text)")
        cursor.execute("DROP TABLE t")
    took = time.perf_counter() - began
    used = processor_time(connection) - used
    connection.close()
    return took, used


def processor_time(connection):
    with open(f"/proc/{connection.get_backend_pid()}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class DdlCounter(Counter):
    """A script is a database."""

    def run(self, script, times, options):
        make_and_drop(self.server, script, times)


def main():
    with Server(fsync="off") as server:
        for database, statements in DATABASES.items():
            server.sql(f"CREATE DATABASE {database}")
            for statement in statements:
                server.sql(statement, database=database)
        found = {database: [] for database in DATABASES}
        for _ in range(ROUNDS):
            for database in DATABASES:
                found[database].append(make_and_drop(server, database, TABLES))
        server.stop()
        server.start_counting()
        counter = DdlCounter(server)
        counter.short, counter.long = 4, 12
        instructions = {database: counter.instructions(database, "") for database in DATABASES}
    rows = []
    for database in DATABASES:
        times, base = [took for took, _ in found[database]], [took for took, _ in found["without"]]
        used, used_base = (sum(used for _, used in found[name]) for name in (database, "without"))
        rows.append([database, spread(times, 3), f"{statistics.median(times) / statistics.median(base):.2f}",
                     f"{used / ROUNDS:.3f}", f"{used / used_base:.2f}", f"{instructions[database]:,.0f}",
                     f"{instructions[database] / instructions['without']:.2f}"])
    table(["database", f"seconds for {TABLES} CREATE + DROP TEMP TABLE", "×", "processor time", "×",
           "instructions of one", "×"], rows)


if __name__ == "__main__":
    main()
