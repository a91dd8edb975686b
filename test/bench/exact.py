#!/usr/bin/python3
"""What one payment costs, in figures that do not depend on the machine's mood.

Instructions of the backend (callgrind: the difference between a long and a short run), bytes of
WAL (full_page_writes = off), buffers looked at (pg_stat_database). PAYGUARD_BENCH="L1 L1e" runs only
these; PAYGUARD_PROFILE=name prints where the instructions of one go.
PAYGUARD_ORDERS is how many there are (100000; at least 60000).
"""
import glob
import os
import re

from common import HOT, SCRIPTS, Server, say, table

ORDERS = int(os.environ.get("PAYGUARD_ORDERS") or 100000)
SHORT, LONG = 100, 500


class Counter:
    """Runs scripts, each on orders that nobody has had before."""

    def __init__(self, server, orders=ORDERS):
        self.server = server
        self.orders = orders
        self.base = 1
        self.short, self.long = SHORT, LONG

    def run(self, script, times, options):
        self.server.pgbench([script], self.base, 0, self.orders, options, None, "-c", "1", "-t", str(times))
        self.base += times

    def callgrind_files(self):
        return glob.glob(os.path.join(self.server.folder, "callgrind.*"))

    def instructions(self, script, options, profile=None):
        totals = []
        for times in (self.short, self.long):
            self.server.wait_for_backends()
            for path in self.callgrind_files():
                os.unlink(path)
            self.run(script, times, options)
            totals.append(self.total())
        if profile:
            biggest = max(self.callgrind_files(), key=os.path.getsize)
            say(self.server.run("callgrind_annotate", "--threshold=95", biggest))
            say(self.server.run("callgrind_annotate", "--inclusive=yes", "--threshold=100", biggest))
        return (totals[1] - totals[0]) / (self.long - self.short)

    def total(self):
        """The instructions of the backends that were there, when all of them have ended."""
        self.server.wait_for_backends()
        total = 0
        for path in self.callgrind_files():
            with open(path) as file:
                total += int(re.search(r"^totals: (\d+)", file.read(), re.M).group(1))
        return total

    def wal_and_buffers(self, script, options, times=4000):
        self.run(script, 20, options)
        before = self.figures()
        self.run(script, times, options)
        return [(after - was) / times for was, after in zip(before, self.figures())]

    def figures(self):
        """WAL bytes and buffers looked at so far; looking counts a little itself."""
        self.server.wait_until_alone()
        return [float(x) for x in self.server.sql(
            "SELECT pg_current_wal_insert_lsn() - '0/0', blks_hit + blks_read FROM pg_stat_database"
            " WHERE datname = 'postgres'")[0]]


def ways():
    """name → (script, options)"""
    found = {name: (SCRIPTS[name], "") for name in ("L1", "L1e", "APP", "ORM", "PL")}
    found["pay_order"] = (SCRIPTS["pay_order"], "")
    for name in ("replay", "refusal"):
        found[name] = (HOT[name], "")
    chosen = os.environ.get("PAYGUARD_BENCH")
    return {name: way for name, way in found.items() if not chosen or name in chosen.split(";")}


def main():
    rows = {name: {} for name in ways()}
    with Server(full_page_writes="off", fsync="off") as server:
        server.load(ORDERS)
        counter = Counter(server)
        # no index is empty: how often a page is split would depend on who comes first
        for name in ("L1", "PL", "pay_order"):
            counter.run(SCRIPTS[name], 5000, "-c synchronous_commit=off")
        for name, (script, options) in ways().items():
            rows[name]["wal"], rows[name]["buffers"] = counter.wal_and_buffers(script, options)
        server.stop()
        server.start_counting()
        for name, (script, options) in ways().items():
            rows[name]["instructions"] = counter.instructions(
                script, options, os.environ.get("PAYGUARD_PROFILE") == name)
    lines = []
    for name, row in rows.items():
        ratios = [f"{row['instructions'] / rows[other]['instructions']:.2f}" if other in rows else "-"
                  for other in ("L1", "L1e")]
        lines.append([name, f"{row['instructions']:,.0f}", *ratios, f"{row['wal']:,.0f}",
                      f"{row['buffers']:.0f}"])
    table(["way", "instructions", "× L1", "× L1e", "WAL bytes", "buffers"], lines)


if __name__ == "__main__":
    main()
    # what a guard on an application's table costs; it uses this file's Counter
    import guard
    say()
    guard.main()
