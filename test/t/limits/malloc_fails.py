#!/usr/bin/python3
"""Allocations fail: in each of payguard's calls one allocation after another, in a session that has
made the call before and in one that is new. The answer is 53200 and nothing else, nothing of the call is
there, and the same session makes the call when it is made again. (The server ends a session, with FATAL
and 53200, where it cannot allocate the settings of a function: so a lost session is an answer, too.)

malloc_fails.c is preloaded into the server, and fails in the session under test alone.
PAYGUARD_FAILURES (12) of each call, at most, spread over its allocations; PAYGUARD_SEED.
"""
import mmap
import os
import random
import struct
import subprocess
import sys
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
from cluster import Cluster  # noqa: E402
from tap import Tap, choose_seed  # noqa: E402

OUT_OF_MEMORY = "53200"
LOST = "lost"


class Malloc:
    """What the preloaded library is told, by the file that it has mapped."""

    def __init__(self, folder):
        self.environment = {"PAYGUARD_MALLOC": os.path.join(folder, "malloc"),
                            "LD_PRELOAD": os.path.join(folder, "malloc_fails.so")}
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-fno-builtin", "-Wall", "-Werror", "-o",
                        self.environment["LD_PRELOAD"], os.path.join(HERE, "malloc_fails.c")], check=True)
        with open(self.environment["PAYGUARD_MALLOC"], "w+b") as file:
            file.write(bytes(mmap.PAGESIZE))
            file.flush()
            self.map = mmap.mmap(file.fileno(), mmap.PAGESIZE)

    def arm(self, pid, after, every=0):
        self.map[0:16] = struct.pack("iiii", 0, after, every, 0)
        self.map[0:4] = struct.pack("i", pid)

    def disarm(self):
        """Returns how many allocations have failed, and how many were made before the next one."""
        self.map[0:4] = struct.pack("i", 0)
        _, left, _, failed = struct.unpack("iiii", self.map[0:16])
        return failed, left


def calls(n):
    """(how it is prepared, the call) of calls that write something."""
    o, k = f"o{n}", f"k{n}"
    order = f"SELECT payguard.create_order('{o}', 100, 'EUR', 'me', clock_timestamp() + '1 h')"
    start = f"SELECT payguard.request_payment('{o}', '{k}', 'card')"
    paid = f"SELECT payguard.record_payment('{o}', 'card', 't{n}', 100, 'EUR')"
    payment = f"(SELECT payment_id FROM payguard.payments WHERE order_id = '{o}' ORDER BY payment_id LIMIT 1)"
    refund = f"(SELECT refund_id FROM payguard.refunds WHERE order_id = '{o}')"
    back = f"SELECT payguard.refund_order('{o}', 'r{n}', 40, 'back')"
    # a session remembers where it went on, with the channels that it asked for: each time other ones
    claim = "SELECT count(*) FROM payguard.claim_tasks('w', 3, '1 min', NULL, ARRAY(SELECT repeat('c', 200) || random()" \
            " FROM generate_series(1, 50)) || '{card}')"
    complete = "SELECT outcome FROM payguard.leases l CROSS JOIN LATERAL payguard.complete_task(l.task_id," \
               f" l.lease_token, 'succeeded', 't{n}', 100, 'EUR') WHERE l.order_id = '{o}'"
    guarded = f"SELECT payguard.unguard_table('shop'); SELECT payguard.guard_table('shop', 'status'," \
              " '{\"new\": [\"done\"], \"done\": []}', 'version')"
    return [
        ([], order),
        ([order], f"SELECT payguard.update_order('{o}', 1, 50)"),
        ([order], f"SELECT payguard.cancel_order('{o}')"),
        ([order], f"SELECT payguard.pay_order('{o}', '{k}')"),
        ([order], f"SELECT count(*) FROM payguard.pay_orders(ARRAY[('{o}', '{k}', NULL, NULL, NULL, NULL),"
                  f" ('none', '{k}n', NULL, NULL, NULL, NULL)]::payguard.pay_request[])"),
        ([order], start),
        ([order], f"SELECT payguard.revoke_key('{o}', '{k}')"),
        ([order, start], f"SELECT payguard.close_payment({payment})"),
        ([order, start, f"SELECT payguard.report_payment({payment}, 'authorized')"], f"SELECT payguard.capture_payment({payment})"),
        ([order, start], claim),
        ([order, start, claim], complete),
        ([order, start], f"SELECT payguard.report_payment({payment}, 'succeeded', 't{n}', 100, 'EUR')"),
        ([order, start], f"SELECT payguard.report_payment({payment}, 'failed')"),
        ([order, start], f"SELECT payguard.record_notification('card', 'n{n}', channel_status := 'succeeded',"
                         f" channel_txn_id := 't{n}')"),
        ([order], paid),
        ([order, paid], f"SELECT payguard.record_payment('{o}', 'card', 'u{n}', 100, 'EUR')"),
        ([order, paid], back),
        ([order, paid, back], f"SELECT payguard.report_refund({refund}, 'succeeded', 'b{n}')"),
        ([order, paid], f"SELECT payguard.record_reversal('card', 't{n}', 'x{n}', 'chargeback', 100, 'EUR')"),
        ([order, paid], "SELECT count(*) FROM payguard.maintain(10)"),
        ([f"INSERT INTO shop VALUES ({n}, 'new', 1)"], f"UPDATE shop SET status = 'done', version = 2 WHERE id = {n}"),
        ([], guarded),
    ]


CONTENT = "SELECT md5(string_agg(t, '|' ORDER BY t)) FROM (" + " UNION ALL ".join(
    f"SELECT '{name}' || t::text AS t FROM {name} t" for name in (
        "payguard.orders", "payguard.payments", "payguard.refunds", "payguard.refund_balances", "payguard.events",
        "payguard.tasks", "payguard.leases", "payguard.finished_tasks", "payguard.notifications", "payguard.alerts",
        "payguard.deadlines", "payguard.approvals", "shop", "payguard.guards")) + ") c"


class Test:
    n = 0       # calls that were prepared: each has an order of its own

    def __init__(self, server, malloc):
        self.server, self.malloc = server, malloc
        self.watcher = server.connect().cursor()
        self.wrong, self.failures, self.answered, self.lost = [], 0, 0, 0
        self.open()

    def open(self):
        """A session that has made no call yet."""
        deadline = time.time() + 60
        while True:
            try:
                self.cursor = self.server.connect().cursor()
                if self.watcher.connection.closed:
                    self.watcher = self.server.connect().cursor()
                break
            except psycopg2.OperationalError:
                # it has crashed, which the log will tell
                if time.time() > deadline:
                    raise
                time.sleep(0.1)
        self.pid = self.cursor.connection.get_backend_pid()

    def content(self):
        self.watcher.execute(CONTENT)
        return self.watcher.fetchone()

    def armed(self, sql, after, every=0):
        """Makes a call of which an allocation fails. Returns the error's code, how many failed and were left."""
        code = None
        self.malloc.arm(self.pid, after, every)
        try:
            self.cursor.execute(sql)
        except psycopg2.Error as error:
            code = error.pgcode or LOST
            if code not in (OUT_OF_MEMORY, LOST):
                self.wrong.append(f"{code} from {sql}, {after} allocations later: {error}".strip())
        failed, left = self.malloc.disarm()
        if self.cursor.connection.closed:
            self.lost += 1
            self.open()
        return code, failed, left

    def prepared(self, number):
        """Does what the call needs, in another session, and returns the call."""
        Test.n += 1
        before, sql = calls(Test.n)[number]
        for each in before:
            self.watcher.execute(each)
        return sql

    def sweep(self, number, most, rnd, fresh):
        """Fails one allocation of the call after another; those in between are left out where there are many."""
        sql = self.prepared(number)
        if fresh:
            self.open()
        # how many there are: the call is rolled back. The first one fills the session's caches
        for _ in range(1 if fresh else 2):
            self.cursor.execute("BEGIN")
            _, _, left = self.armed(sql, 1_000_000)
            self.cursor.execute("ROLLBACK")
        there = 1_000_000 - left
        points = range(there) if there <= most else sorted(rnd.sample(range(there), most))
        before = self.content()
        for after in points:
            if fresh:
                self.open()
            code, failed, _ = self.armed(sql, after)
            self.failures += failed
            if code is None:
                # a cache went without, or there were fewer this time
                self.answered += 1
                sql = self.prepared(number)
                before = self.content()
            elif self.content() != before:
                self.wrong.append(f"something of {sql} is there although its allocation {after} failed")
        try:
            self.cursor.execute(sql)
        except psycopg2.Error as error:
            self.wrong.append(f"{sql} made again: {error}".strip())
        return there

    def random(self, rnd, n):
        """Random calls, of which one allocation in so many fails."""
        for _ in range(n):
            sql = self.prepared(rnd.randrange(len(calls(0))))
            if rnd.random() < 0.1:
                self.open()
            every = rnd.choice([1, 3, 10, 50])
            before = self.content()
            code, failed, _ = self.armed(sql, rnd.randrange(every), every)
            self.failures += failed
            if code is None:
                self.answered += 1
            elif self.content() != before:
                self.wrong.append(f"something of {sql} is there although it was out of memory")


def main():
    seed = choose_seed()
    most = int(os.environ.get("PAYGUARD_FAILURES") or 12)
    rnd = random.Random(seed)
    tap = Tap()
    # PL/pgSQL does not get over a failure while it is loaded
    server = Cluster("jit = off", "autovacuum = off", "log_line_prefix = '%e %p '",
                     "shared_preload_libraries = 'payguard, plpgsql'")
    malloc = Malloc(server.folder)
    server.environment = malloc.environment
    with server:
        cursor = server.connect().cursor()
        cursor.execute("CREATE EXTENSION payguard")
        cursor.execute("SELECT payguard.register_channel('card', first_query_after := '0 s')")
        cursor.execute("CREATE TABLE shop (id bigint PRIMARY KEY, status text NOT NULL, version bigint NOT NULL)")
        cursor.execute("SELECT payguard.guard_table('shop', 'status', '{\"new\": [\"done\"], \"done\": []}', 'version')")
        test = Test(server, malloc)
        for fresh in (False, True):
            there = [test.sweep(number, most // 3 if fresh else most, rnd, fresh) for number in range(len(calls(0)))]
            tap.ok(not test.wrong and test.failures > most,
                   f"each allocation of a {'new' if fresh else 'used'} session's calls fails: 53200, and"
                   " nothing is there", test.wrong)
            print(f"# {sum(there)} allocations, {test.failures} failed, {test.lost} sessions ended,"
                  f" {test.answered} calls were answered all the same")
            test.wrong = []
        test.random(rnd, 8 * most)
        tap.ok(not test.wrong, "random calls without memory", test.wrong)
        cursor.execute("SELECT * FROM payguard.verify() LIMIT 5")
        violations = cursor.fetchall()
        tap.ok(not violations, "verify() finds nothing", violations)
        with open(server.log, encoding="utf-8", errors="replace") as log:
            bad = [line.strip() for line in log if "PANIC" in line or "terminated by signal" in line
                   or line.startswith("XX000") or "FATAL" in line and not line.startswith(OUT_OF_MEMORY)]
        tap.ok(not bad, "no crash, no panic, no internal error", bad)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
