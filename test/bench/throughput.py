#!/usr/bin/python3
"""Payments per second, beside other ways of paying: `make bench`.

The ways of one table run in one pgbench, chosen anew for each transaction, so that whatever
disturbs the machine disturbs all of them; a round is a few seconds, and figures are medians over
the rounds, with the smallest and the largest. What asks for one hot order, and batches, run alone,
one after another in each round.

PAYGUARD_ORDERS (1000000), PAYGUARD_ROUNDS (5), PAYGUARD_SECONDS (4, of a round), PAYGUARD_PARTS.
"""
import os
import statistics

from common import (APP, FIRST, HOT, L1, L1E, NEXT, ORM, Server, latencies, say, spread, table, tps,
                    transactions)

ORDERS = int(os.environ.get("PAYGUARD_ORDERS") or 1000000)
ROUNDS = int(os.environ.get("PAYGUARD_ROUNDS") or 5)
SECONDS = int(os.environ.get("PAYGUARD_SECONDS") or 4)
PARTS = (os.environ.get("PAYGUARD_PARTS") or "processor_time new_orders hot_order batches").split()
REGIONS = 8
BATCHED = 1000003       # orders for the batches, a prime

PAY = "SELECT payguard.pay_order(:id, :k);\n"
# Each begins by a setting, which is not counted: all of them meet a session that is awake.
WAYS = {name: "SET application_name = 'bench';\n" + way for name, way in {
    "L1": L1, "L1e": L1E, "APP": APP, "ORM": ORM, "PL": "SELECT bench.pay_order(:id, :k);\n",
    "pay_order": PAY}.items()}
BATCH = r"""\set i :i + :batch
SELECT count(*) FROM payguard.pay_orders((SELECT array_agg((id, id, NULL, NULL, NULL, NULL)::payguard.pay_request)
 FROM (SELECT (%d + (:base::bigint + :i::bigint + n) * 7919 %% %d)::text AS id FROM generate_series(1, :batch::int) n) s));
""" % (FIRST + ORDERS, BATCHED)


class Bench:
    def __init__(self, server):
        self.server = server
        self.used = [0] * REGIONS   # of each client's orders
        self.batched = 0

    def run(self, scripts, clients, commit, base, *defines, seconds=SECONDS):
        return self.server.pgbench(scripts, base, ORDERS // REGIONS, ORDERS, f"-c synchronous_commit={commit}", None,
                                   "-c", str(clients), "-j", str(min(clients, 2)), "-T", str(seconds), "-r", *defines)

    def run_new(self, scripts, clients, commit, **options):
        """A run on orders that nobody has paid: each client has a region of its own."""
        if clients == 1:
            region = self.used.index(min(self.used))
            report = self.run(scripts, 1, commit, region * (ORDERS // REGIONS) + self.used[region], **options)
            self.used[region] += transactions(report) + 1
        else:
            used = max(self.used)
            report = self.run(scripts, clients, commit, used, **options)
            # some get further than others
            self.used = [used + int(transactions(report) / clients * 1.6) + 50] * REGIONS
        return report

    def new_orders(self):
        rows = []
        for commit in ("off", "on"):
            for clients in (1, 8):
                rounds = []
                for _ in range(ROUNDS):
                    report = self.run_new([NEXT + way for way in WAYS.values()], clients, commit)
                    rounds.append(latencies(report))
                for number, name in enumerate(WAYS):
                    own = [r[number] for r in rounds]
                    rows.append([commit, clients, name, f"{clients * 1000 / statistics.median(own):,.0f}"] +
                                [spread([r[list(WAYS).index(other)] / r[number] for r in rounds])
                                 for other in ("L1", "L1e", "APP")])
        say("\nNew orders: payments per second if only this way ran, and × the others' throughput\n")
        table(["synchronous_commit", "clients", "way", "per second", "× L1", "× L1e", "× APP"], rows)

    def processor_time(self, times=1000):
        """What a payment takes of the server's processors, which others on the machine hardly change."""
        rows = []
        ways = {name: way.split("\n", 1)[1] for name, way in WAYS.items()}
        found = {name: [] for name in ways}
        region, share = self.used.index(min(self.used)), ORDERS // REGIONS
        for _ in range(ROUNDS):
            for name, way in ways.items():
                before = self.server.processor_time()
                self.server.pgbench([NEXT + way], region * share + self.used[region], share, ORDERS,
                                    "-c synchronous_commit=off", None,
                                    "-c", "1", "-t", str(times))
                self.used[region] += times
                # counted in ticks of 10 ms
                spent = max(self.server.processor_time() - before, 0.005)
                found[name].append(spent / times * 1e6)
        for name in ways:
            rows.append([name, spread(found[name], 0)] +
                        [spread([b / a for a, b in zip(found[name], found[other])]) for other in ("L1", "L1e", "APP")])
        say("\nNew orders, 1 client, synchronous_commit off: processor time of the backend, and × the others' payments in that time\n")
        table(["way", "µs", "× L1", "× L1e", "× APP"], rows)

    def hot_order(self):
        ways = {name: ("", HOT[name]) for name in ("replay", "refusal")}
        ways["lock-first replay"] = ("", HOT["lock-first replay"])
        ways["lock-first refusal"] = ("", HOT["lock-first refusal"])
        rows = []
        for clients in (8, 32):
            found = {name: [] for name in ways}
            for _ in range(ROUNDS):
                for name, (_, script) in ways.items():
                    report = self.server.pgbench(
                        [script], 0, 0, ORDERS, "-c synchronous_commit=off", None,
                        "-c", str(clients), "-j", "2", "-T", str(max(1, SECONDS // 2)))
                    found[name].append(tps(report))
            for name in ways:
                beside = found["lock-first " + name.replace("lock-first ", "")]
                rows.append([clients, name, spread(found[name], 0),
                             spread([a / b for a, b in zip(found[name], beside)])])
        say("\nOne hot order that is paid: answers per second (synchronous_commit off)\n")
        table(["clients", "way", "per second", "× lock-first"], rows)

    def batches(self):
        rows = []
        for commit in ("off", "on"):
            found = {size: [] for size in (0, 1, 10, 100)}
            for _ in range(ROUNDS):
                for size in found:
                    if size == 0:
                        report = self.run_new([NEXT + PAY], 1, commit, seconds=max(1, SECONDS // 2))
                        found[size].append(tps(report))
                        continue
                    report = self.run([BATCH], 1, commit, self.batched, "-D", f"batch={size}",
                                      seconds=max(1, SECONDS // 2))
                    self.batched += (transactions(report) + 1) * size
                    found[size].append(tps(report) * size)
            for size in found:
                rows.append([commit, f"pay_orders of {size}" if size else "pay_order", spread(found[size], 0),
                             spread([a / b for a, b in zip(found[size], found[0])])])
        say("\nBatches, 1 client: payments per second\n")
        table(["synchronous_commit", "call", "per second", "× pay_order"], rows)
        paid, = self.server.sql(f"SELECT count(*) FROM payguard.orders WHERE order_id >= '{FIRST + ORDERS}' AND status = 'paid'")[0]
        say(f"\n({paid:,} of {BATCHED:,} orders for batches were paid, {self.batched:,} asked for.)")


def main():
    with Server(fsync="on") as server:
        server.load(ORDERS)
        server.add_orders(ORDERS, ORDERS + BATCHED, ["payguard"])
        server.tidy()
        bench = Bench(server)
        for part in PARTS:
            getattr(bench, part)()
        found = server.sql("SELECT invariant, problem FROM payguard.verify() LIMIT 3")
        say("\nverify():", found or "nothing")


if __name__ == "__main__":
    main()
