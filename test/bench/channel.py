#!/usr/bin/python3
"""What an order costs whose money comes through a channel: `make bench-channel`.

Three ways of an order: made, started and reported; made, started and told of by a webhook with a body of
1.5 kB; made, requested, claimed by a worker and completed. And a worker's batches of a hundred. Each
beside an application that keeps the same facts by hand (hand.py has its statements).

Instructions, WAL and buffers of a call are the difference of two runs: one with the call, one that
ends before it. At each of PAYGUARD_SIZES, the number of orders that are there. Throughput is
measured at the last of them: the ways of one table run in one pgbench, chosen anew for each order, with 1, 8 and
32 clients. Bytes on disk are those of orders that went through the calls, vacuumed ten times on the way,
as autovacuum would, and at the end.

PAYGUARD_SIZES ("100000 1000000"; 10000000 needs 15 GB), PAYGUARD_PARTS ("disk wal instructions throughput"),
PAYGUARD_ROUNDS (5), PAYGUARD_SECONDS (3, of a round), PAYGUARD_SHORT=1 (small numbers).
PAYGUARD_BESIDE=folder is another checkout of payguard: it is built, and measured in turns with this one.
"""
import contextlib
import json
import os
import statistics

import growth
import hand
from common import FIRST, Server, latencies, say, spread, table, transactions
from exact import Counter

SHORT = bool(os.environ.get("PAYGUARD_SHORT"))
SIZES = [int(size) for size in (os.environ.get("PAYGUARD_SIZES") or ("20000" if SHORT else "100000 1000000")).split()]
PARTS = (os.environ.get("PAYGUARD_PARTS") or "disk wal instructions throughput").split()
ROUNDS = int(os.environ.get("PAYGUARD_ROUNDS") or (1 if SHORT else 5))
SECONDS = int(os.environ.get("PAYGUARD_SECONDS") or (1 if SHORT else 3))
CLIENTS = [1, 8] if SHORT else [1, 8, 32]
TIMES = 200 if SHORT else 2000              # orders of which WAL and buffers are counted
COUNTED = (5, 25) if SHORT else (20, 100)  # and instructions
DISK = 1000 if SHORT else 10000
BATCH = 100
WAITING = 1000          # attempts that wait while all is measured, and tasks that are due
REGION = 10000          # numbers of one client's orders, in one run
MOST_BATCHES = 60 if SHORT else 300     # of all clients, in one run; each has 20 of them at least
DUE = 2 * FIRST         # the number of the first order for batches

# A message of a channel, 1,500 bytes: the fields of a payment and what surrounds them.
BODY = json.dumps({
    "object": "event", "type": "payment.succeeded", "livemode": True, "pending_webhooks": 1,
    "data": {"amount": 100, "amount_received": 100, "currency": "eur", "status": "succeeded",
             "payment_method_options": {"card": {"network": None, "request_three_d_secure": "automatic"}},
             "metadata": {f"field_{n}": f"value {n * 7919 % 1000003}" for n in range(1, 200)}}})[:1500].replace("\\", " ")

# A client counts its orders. Those that are loaded have even keys and transactions in the same range.
NEXT = rf"""SET application_name = 'channel';
\set i :i + 1
\set n :base + :client_id * :share + :i
\set id {FIRST} + :n
\set c :n / 10
\set k {3 * FIRST} + 1 + 2 * permute(:n, 100000007, 7)
\set t {4 * FIRST} + 1 + 2 * permute(:n, 100000007, 8)
\set e {5 * FIRST} + permute(:n, 100000007, 9)
"""

PAYGUARD = {
    "create": "SELECT payguard.create_order(:id, 100, 'EUR', :c);\n",
    "start": "SELECT payment_id FROM payguard.start_payment(:id, :k, 'card') \\gset\n",
    "report": "SELECT payguard.report_payment(:payment_id, 'succeeded', :t, 100, 'EUR');\n",
    "webhook": "SELECT payguard.record_notification('card', :body::bytea, :e, :payment_id, NULL, 'succeeded', :t, 100, 'EUR');\n",
    "request": "SELECT payguard.request_payment(:id, :k, 'card');\n",
    "claim": "\\set claimed 0\nSELECT 1 AS claimed, task_id, lease_token, kind, tries, payment_id, order_id, amount, currency"
             " FROM payguard.claim_tasks('w', 1, '1 day') \\aset\n",
    "complete": "\\if :claimed\nSELECT payguard.complete_task(:task_id, :lease_token, 'succeeded', :t, 100, 'EUR');\n\\endif\n",
    "claim 100": """SELECT array_agg(ROW(task_id, lease_token, 'succeeded', 't' || order_id, amount, currency, NULL, NULL)
 ::payguard.task_answer) AS answers FROM payguard.claim_tasks('w', 100, '1 day') \\gset\n""",
    "complete 100": "SELECT count(*) FROM payguard.complete_tasks(:answers::payguard.task_answer[]);\n",
}
PAYGUARD["webhook again"] = PAYGUARD["webhook"]
APP = {
    "create": hand.APP_CREATE, "start": hand.APP_START, "report": hand.APP_REPORT, "webhook": hand.APP_MESSAGE,
    "webhook again": hand.AGAIN, "request": hand.APP_REQUEST, "claim": hand.CLAIM_ONE, "complete": hand.APP_COMPLETE,
    "claim 100": hand.CLAIM_MANY, "complete 100": hand.APP_COMPLETE_MANY,
}
ONE = dict(APP, **{
    "create": hand.ONE_CREATE, "start": hand.ONE_START, "report": hand.ONE_REPORT, "webhook": hand.ONE_MESSAGE,
    "request": hand.ONE_REQUEST, "complete": hand.ONE_COMPLETE, "complete 100": hand.ONE_COMPLETE_MANY,
})
HAND = {"APP": APP, "ONE": ONE}

FLOWS = {
    "create, start, report": ["create", "start", "report"],
    "create, start, webhook": ["create", "start", "webhook"],
    "create, request, claim, complete": ["create", "request", "claim", "complete"],
}
# What is measured call by call: the calls of a run; how many of them the run before it has, too; of how many
# orders the others are. A claim is measured with its answer: tasks that stay claimed would be in the way.
RUNS = [(["create"], 0, 1), (["create", "start"], 1, 1), (["create", "start", "report"], 2, 1),
        (["create", "start", "webhook"], 2, 1), (["create", "start", "webhook", "webhook again"], 3, 1),
        (["create", "request"], 1, 1), (["create", "request", "claim", "complete"], 2, 1),
        (["claim 100", "complete 100"], 0, BATCH)]


def script(way, calls):
    return NEXT + "".join(way[call] for call in calls)


def make(server):
    server.sql("CREATE EXTENSION payguard")
    server.sql("SELECT payguard.register_channel('card', first_query_after => '1 day', max_query_interval => '1 day',"
               " alert_after => '1 day')")
    server.sql(hand.TABLES)


class Store:
    """One server's orders, and how many there are of each kind."""

    def __init__(self, server):
        self.server = server
        self.size = 0
        self.due = 0            # attempts that were made for the queue
        self.base = 0

    def grow(self, size):
        """Orders up to size: nine of ten are paid (growth.grow), in both schemas."""
        growth.grow(self.server, self.size, size, "card")
        for first in range(self.size, size, growth.STEP):
            below = min(first + growth.STEP, size)
            between = f"order_id >= '{FIRST + first}' AND order_id < '{FIRST + below}'"
            # ids by hand are random ones
            self.server.sql(f"""INSERT INTO hand.orders SELECT order_id, customer_id, amount, currency, status, version,
                md5(payment_id::text)::uuid, 0, created_at, updated_at FROM payguard.orders WHERE {between}""")
            self.server.sql(f"""INSERT INTO hand.payments SELECT md5(payment_id::text)::uuid, order_id, idempotency_key, channel, amount,
                currency, received_amount, received_currency, status, channel_txn_id, NULL, created_at, completed_at
                FROM payguard.payments WHERE {between}""")
            self.server.sql(f"""INSERT INTO hand.events (at, order_id, payment_id, kind, from_status, to_status, version, actor)
                SELECT at, order_id, md5(payment_id::text)::uuid, kind, from_status, to_status, version, actor
                FROM payguard.events WHERE {between}""")
        if self.size == 0:
            self.enqueue(WAITING, WAITING, "query")
            self.enqueue(WAITING, WAITING, "charge")
        self.size = size
        self.base = size
        self.server.tidy()

    def enqueue(self, n, by_hand, kind="charge"):
        """So many attempts with a task for a worker, or for asking the channel tomorrow."""
        numbers = [f"generate_series({self.due}, {self.due + many - 1}) n" for many in (n, by_hand)]
        order, run_at = f"({DUE} + n)::text", "now()" if kind == "charge" else "now() + interval '1 day'"
        number = "lpad(to_hex(1800000000000 + n), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || substr(md5(n::text), 1, 15)"
        for schema, series, payment in (("payguard", numbers[0], f"({number})::uuid"), ("hand", numbers[1], "md5('q' || n)::uuid")):
            self.server.sql(f"""INSERT INTO {schema}.orders (order_id, customer_id, amount, currency, status, version, refunded_amount,
                created_at, updated_at) SELECT {order}, n::text, 100, 'EUR', 'paying', 2, 0, now(), now() FROM {series}""")
            more, values = ("", "") if schema == "hand" else (
                ", amount_verified, order_version, request_kind", f", false, 2, '{'request' if kind == 'charge' else 'start'}'")
            self.server.sql(f"""INSERT INTO {schema}.payments (payment_id, order_id, idempotency_key, channel, amount, currency, status,
                created_at{more}) SELECT {payment}, {order}, 'q' || n, 'card', 100, 'EUR', 'pending', now(){values} FROM {series}""")
            self.server.sql(f"""INSERT INTO {schema}.events (at, order_id, payment_id, kind, from_status, to_status, version, actor)
                SELECT now(), {order}, CASE WHEN v = 2 THEN {payment} END, CASE v WHEN 1 THEN 'order.created' ELSE 'order.paying' END,
                CASE v WHEN 2 THEN 'unpaid' END, CASE v WHEN 1 THEN 'unpaid' ELSE 'paying' END, v, 'bench'
                FROM {series}, generate_series(1, 2) v""")
            if schema == "hand":
                self.server.sql(f"""INSERT INTO hand.jobs (payment_id, kind, channel, run_at, tries, created_at)
                    SELECT {payment}, '{kind}', 'card', {run_at}, 0, now() FROM {series}""")
            else:
                self.server.sql(f"""INSERT INTO payguard.tasks (kind, order_id, payment_id, channel, run_at, tries, sent, again, created_at)
                    SELECT '{kind}', {order}, {payment}, 'card', {run_at}, 0, false, false, now() FROM {series}""")
        self.due += max(n, by_hand)

    def run(self, scripts, clients, commit, seconds=None, times=None):
        """One pgbench; each client has numbers of its own."""
        report = self.server.pgbench(
            scripts, self.base, REGION, 1, f"-c synchronous_commit={commit}", None, "-c", str(clients),
            "-j", str(min(clients, 2)), "-r", "-D", f"body={BODY}",
            *(["-T", str(seconds)] if seconds else ["-t", str(times)]))
        done = transactions(report)
        if clients > 1 and done / clients > REGION * 0.6:
            raise RuntimeError(f"{done} orders of {clients} clients: give REGION a larger number")
        self.base += clients * REGION if clients > 1 else done + 1
        return report

    def tidy_queue(self):
        self.server.sql("VACUUM payguard.tasks, payguard.leases, payguard.finished_tasks, hand.jobs")


class ChannelCounter(Counter):
    """Counts what a list of calls costs."""

    def __init__(self, store):
        super().__init__(store.server)
        self.store = store

    def run(self, script, times, options):
        self.store.run([script], 1, "on", times=times)

    def measure_wal(self, way, calls, rows):
        if "100" in calls[0]:
            self.store.enqueue(3100, 3100)
        self.store.tidy_queue()
        return self.wal_and_buffers(script(way, calls), "", TIMES if rows == 1 else 10)

    def measure_instructions(self, way, calls, rows):
        if "100" in calls[0]:
            self.store.enqueue(1500, 1500)
        self.short, self.long = COUNTED if rows == 1 else (3, 9)
        return [self.instructions(script(way, calls), "")]


def exact(stores, part):
    """The tables of "wal" or of "instructions", at the size that the stores have."""
    found, names = {}, []
    measures = ["bytes of WAL", "buffers"] if part == "wal" else ["instructions"]
    for tree, store in stores.items():
        # the application is the same on every server: it is counted on the first
        ways = {tree: PAYGUARD, **({} if names else HAND)}
        names += ways
        counter = ChannelCounter(store)
        if part == "instructions":
            store.server.stop()
            store.server.start_counting()
        for calls, _, rows in RUNS:
            for name, way in ways.items():
                found[tuple(calls), name] = (counter.measure_wal if part == "wal" else counter.measure_instructions)(way, calls, rows)
        if part == "instructions":
            store.server.stop()
            store.server.start()
    names.sort(key=lambda name: name in HAND)
    for number, measure in enumerate(measures):
        lines = []
        for calls, before, rows in RUNS:
            figures = [(found[tuple(calls), name][number] - (found[tuple(calls[:before]), name][number] if before else 0)) / rows
                       for name in names]
            lines.append(line_of(", ".join(calls[before:]) + (", for one" if rows > 1 else ""), figures))
        for flow, calls in FLOWS.items():
            lines.append(line_of(f"**{flow}**", [found[tuple(calls), name][number] for name in names]))
        say(f"\n{measure}, {stores['payguard'].size:,} orders\n")
        table(["call", *names, *(f"× {name}" for name in names[1:])], lines)


def line_of(label, figures):
    return [label, *(f"{figure:,.0f}" for figure in figures),
            *(f"{figures[0] / figure:.2f}" if min(figure, figures[0]) >= 1 else "-" for figure in figures[1:])]


def measure_throughput(stores, calls, clients, commit, rows=1, seconds=None, times=None):
    """{(server, way): [milliseconds of an order, in each round]}: the ways of one server in one pgbench, the
    servers in turns. times: so many batches of each client."""
    found = {}
    ways = {"payguard": PAYGUARD, **HAND}
    for number in range(ROUNDS):
        # another one is the first, each time
        for tree, store in list(stores.items())[::-1 if number % 2 else 1]:
            if times:
                store.enqueue(clients * times * BATCH // 2 + 1000, clients * times * BATCH)
            store.tidy_queue()
            took = [0]
            while not all(took):        # on a busy machine one way may not have had its turn
                took = latencies(store.run([script(way, calls) for way in ways.values()], clients, commit, seconds, times))
            for name, latency in zip(ways, took):
                found.setdefault((tree, name), []).append(latency / rows)
    return found


def throughput_lines(label, commit, clients, stores, found):
    lines = []
    for tree, name in found:
        own = found[tree, name]
        line = [label, commit, clients, name if name in HAND else tree, f"{clients * 1000 / statistics.median(own):,.0f}",
                *(spread([b / a for a, b in zip(own, found[tree, other])]) for other in HAND)]
        if "beside" in stores:
            line.append(spread([b / a for a, b in zip(own, found["beside", name])]))
        lines.append(line)
    return lines


def throughput(stores):
    lines = []
    for store in stores.values():
        store.server.stop()
        store.server.set(full_page_writes="on", fsync="on")
        store.server.start()
    for commit in ("off", "on"):
        for clients in CLIENTS:
            for flow, calls in FLOWS.items():
                found = measure_throughput(stores, calls, clients, commit, seconds=SECONDS)
                lines += throughput_lines(flow, commit, clients, stores, found)
            found = measure_throughput(stores, ["claim 100", "complete 100"], clients, commit, rows=BATCH,
                                       times=max(MOST_BATCHES // clients, 20))
            lines += throughput_lines("claim and complete 100", commit, clients, stores, found)
    say(f"\nOrders per second if only this way ran, and × the others; {stores['payguard'].size:,} orders were there\n")
    table(["way of an order", "synchronous_commit", "clients", "by", "per second", *(f"× {name}" for name in HAND),
           *(["× beside"] if "beside" in stores else [])], lines)
    for tree, store in stores.items():
        # what was loaded has no whole history
        found = store.server.sql(f"""SELECT * FROM payguard.verify() WHERE object COLLATE "C" NOT BETWEEN
            'order {FIRST}' AND 'order {FIRST + store.size}' LIMIT 3""")
        say(f"\nverify(), {tree}:", found or "nothing")


def sizes(server):
    """{(schema, table or index): (bytes, rows)}"""
    found = {}
    for schema, name, kind, size in server.sql(
            """SELECT n.nspname, c.relname, c.relkind, CASE c.relkind WHEN 'i' THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_index i ON i.indexrelid = c.oid
               WHERE n.nspname IN ('payguard', 'hand') AND c.relkind IN ('r', 'i')
               ORDER BY coalesce(i.indrelid, c.oid), c.relkind DESC, c.oid"""):
        found[schema, name] = (size, server.sql(f"SELECT count(*) FROM {schema}.{name}")[0][0] if kind == "r" else None)
    return found


def disk(trees):
    """Bytes of an order in each table and index, when DISK orders went through the calls."""
    found = {}      # (schema, relation) → {(flow, tree): (bytes, rows) of an order}
    for flow, calls in FLOWS.items():
        for tree, programs in trees.items():
            with Server(programs, fsync="off") as server:
                make(server)
                store = Store(server)
                before = sizes(server)
                for way in (PAYGUARD, APP):
                    for _ in range(10):
                        store.run([script(way, calls)], 1, "off", times=DISK // 10)
                        server.sql("VACUUM (ANALYZE)")
                for relation, (size, rows) in sizes(server).items():
                    was, had = before[relation]
                    found.setdefault(relation, {})[flow, tree] = (
                        (size - was) / DISK, f" ({(rows - had) / DISK:.0f})" if rows is not None else "")
    say(f"\nBytes on disk of an order, of {DISK:,} (and rows of an order, of a table)\n")
    columns = [(flow, tree) for flow in FLOWS for tree in trees]
    lines, sums = [], {}
    for schema in ("payguard", "hand"):
        of_schema = {name: sizes_of for (other, name), sizes_of in found.items() if other == schema}
        sums[schema] = [sum(sizes_of[column][0] for sizes_of in of_schema.values()) for column in columns]
        lines += [[schema, name, *("{:,.0f}{}".format(*sizes_of[column]) for column in columns)]
                  for name, sizes_of in of_schema.items() if any(size >= 1 for size, _ in sizes_of.values())]
        lines.append([schema, "**all**", *(f"{size:,.0f}" for size in sums[schema])])
    lines.append(["", "**payguard / hand**", *(f"{a / b:.2f}" for a, b in zip(sums["payguard"], sums["hand"]))])
    table(["", "table or index", *(flow + (f", {tree}" if len(trees) > 1 else "") for flow, tree in columns)], lines)


def main():
    trees = {"payguard": None}
    if os.environ.get("PAYGUARD_BESIDE_PROGRAMS"):
        trees["beside"] = os.environ["PAYGUARD_BESIDE_PROGRAMS"]
    if "disk" in PARTS:
        disk(trees)
    if not {"wal", "instructions", "throughput"} & set(PARTS):
        return
    with contextlib.ExitStack() as stack:
        stores = {tree: Store(stack.enter_context(Server(programs, full_page_writes="off", fsync="off", max_wal_size="'2GB'")))
                  for tree, programs in trees.items()}
        for store in stores.values():
            make(store.server)
        for size in SIZES:
            for store in stores.values():
                store.grow(size)
            for part in ("wal", "instructions"):
                if part in PARTS:
                    exact(stores, part)
        if "throughput" in PARTS:
            throughput(stores)


if __name__ == "__main__":
    main()
