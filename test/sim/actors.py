"""Those who use payguard at once: customers' clients, the webhook handler, workers, operators.

Each runs in processes of its own, with connections of its own, as the role that it would have
in production. Each counts what it did; the counts go to a queue at the end.
"""

import asyncio
import collections
import concurrent.futures
import hashlib
import json
import random
import signal
import threading
import time

import psycopg2
import psycopg2.extensions

import channel
import wire

RETRIED = ("40001", "40P01")

REPORT = ("SELECT * FROM payguard.report_payment(%s, %s, %s, %s, %s, %s,"
          " capture_before => %s)")


class Refused(Exception):
    """payguard refused a request; code: the SQLSTATE."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class Database:
    """A connection that counts outcomes, replays and errors."""

    def __init__(self, dsn, counts, role, isolation="read committed"):
        self.connection = psycopg2.connect(dsn, options=f"-c role={role}" if role else "")
        self.connection.autocommit = True
        self.cursor = self.connection.cursor()
        if isolation != "read committed":
            self.cursor.execute(f"SET default_transaction_isolation = '{isolation}'")
        self.counts = counts

    def rows(self, sql, *values):
        """Runs a query of the simulation's own."""
        self.cursor.execute(sql, values)
        names = [column.name for column in self.cursor.description]
        return [dict(zip(names, row)) for row in self.cursor.fetchall()]

    def request(self, sql, *values):
        """Asks payguard for something; raises Refused. 40001 and 40P01 are repeated."""
        return self.call(False, sql, values)

    def evidence(self, sql, *values):
        """Tells payguard something, which it must not refuse."""
        return self.call(True, sql, values)

    def call(self, is_evidence, sql, values):
        name = sql.split("payguard.")[1].split("(")[0]
        for _ in range(20):
            try:
                rows = self.rows(sql, *values)
            except psycopg2.Error as error:
                code = error.pgcode or "none"
                self.counts[f"sqlstate {code}"] += 1
                if code.startswith("PY"):
                    self.counts[f"refusal {error.diag.constraint_name}"] += 1
                if code in RETRIED:
                    continue
                if is_evidence or not code.startswith("PY"):
                    self.counts[f"unexpected {name} {code} {str(error).splitlines()[0]}"] += 1
                raise Refused(code) from error
            self.counts["calls"] += 1
            for row in rows:
                if row.get("outcome"):
                    self.counts[f"outcome {row['outcome']}"] += 1
                if row.get("replayed"):
                    self.counts["replays"] += 1
                elif name in ("try_pay_order", "pay_orders"):
                    self.counts[f"refusal {row['outcome']}"] += 1  # or "paid"
            return rows[0]
        raise Refused("40001")


def report_answer(database, payment_id, answer):
    """Reports what a channel answered about a payment, and the further charges that it names."""
    result = database.evidence(REPORT, payment_id, answer["status"], answer.get("txn"),
                               answer.get("amount"), answer.get("currency"),
                               answer.get("code"), answer.get("capture_before"))
    report_more(database, payment_id, answer)
    return result


def report_more(database, payment_id, answer):
    """Reports the further charges that an answer names."""
    for charge in answer.get("more", ()):
        database.evidence(REPORT, payment_id, "succeeded", charge["txn"], charge["amount"],
                          charge["currency"], None, None)


# customers


class Client:
    """One client: it makes orders and pays them, as customers do."""

    def __init__(self, number, dsn, port, seed, manual, counts):
        isolation = {6: "serializable", 7: "repeatable read"}.get(number % 8, "read committed")
        self.tabs = [Tab(dsn, port, counts, isolation) for _ in range(2)]
        self.second_tab = concurrent.futures.ThreadPoolExecutor(1)
        self.seed = seed
        self.manual = manual
        self.counts = counts

    def buy(self, number):
        """One order's life, as far as its customer makes it."""
        chance = random.Random(f"{self.seed}/{number}")
        tab = self.tabs[0]
        order_id = f"order-{number:06}"
        amount = chance.randint(1, 50_000)
        self.capture = "manual" if chance.random() < self.manual else None
        currency = chance.choice(("EUR", "USD"))
        expires_in = chance.choice((None,) * 9 + (chance.uniform(0.05, 0.4),))
        create = ("SELECT * FROM payguard.create_order(%s, %s, %s, %s,"
                  " clock_timestamp() + %s * interval '1 s')",
                  order_id, amount, currency, f"customer-{chance.randint(1, 5000)}", expires_in)
        self.counts["orders"] += 1
        tab.ask(*create)
        if chance.random() < 0.1 and expires_in is None:
            tab.ask(*create)
        if chance.random() < 0.02:
            tab.ask("SELECT * FROM payguard.create_order(%s, %s, %s)", order_id, amount + 1,
                    currency)
        if chance.random() < 0.04:
            for _ in range(2):
                tab.ask("SELECT * FROM payguard.pay_order(%s, %s)", order_id, f"{order_id}-w")
            return
        if chance.random() < 0.01:
            # a batch that others pay too, in an order of its own
            batch = [f"order-{max(0, number - back):06}" for back in (0, 1, 2, 8)]
            chance.shuffle(batch)
            tab.ask("SELECT * FROM payguard.pay_orders(ARRAY(SELECT (id, id || '-w', NULL, NULL,"
                    " NULL, NULL)::payguard.pay_request FROM unnest(%s) id))", batch)
        if chance.random() < 0.01:
            tab.ask("SELECT * FROM payguard.revoke_key(%s, %s)", order_id, f"{order_id}-1")
        if chance.random() < 0.02:
            tab.ask("SELECT * FROM payguard.cancel_order(%s)", order_id)
        for attempt in (1, 2, 3):
            name = chance.choice(channel.NAMES)
            self.attempt(chance, order_id, f"{order_id}-{attempt}", name)
            if chance.random() < 0.05:
                tab.ask("SELECT * FROM payguard.cancel_order(%s)", order_id)
            if not self.may_pay_again(chance, order_id):
                break
            if chance.random() < 0.05:
                status = tab.ask("SELECT * FROM payguard.order_status(%s)", order_id)
                tab.ask("SELECT * FROM payguard.update_order(%s, %s, %s)", order_id,
                        status["version"], amount + 11)
        self.after(chance, order_id, amount)

    def attempt(self, chance, order_id, key, name):
        """One attempt, in one browser tab or in two at once."""
        stall = 0.3 if chance.random() < 0.02 else 0
        expires_in = chance.choice((None, None, 0.1))
        vanish = chance.random() < 0.05
        other = None
        if chance.random() < 0.15:
            other_key, other_name = key, name
            if chance.random() < 0.4:
                other_key = key + "-other"
                other_name = channel.NAMES[1 - channel.NAMES.index(name)]
            other = self.second_tab.submit(self.tabs[1].pay, order_id, other_key, other_name,
                                           expires_in, self.capture)
        payment_id = self.tabs[0].pay(order_id, key, name, expires_in, self.capture, stall, vanish)
        if chance.random() < 0.1:
            self.tabs[0].pay(order_id, key, name, expires_in, self.capture)
        if payment_id and chance.random() < 0.15:
            self.tabs[0].return_page(payment_id, name)
        if other:
            other.result()

    def may_pay_again(self, chance, order_id):
        """Looks at the order's page: may, and will, the customer try once more?"""
        tab = self.tabs[0]
        for _ in range(chance.choice((1, 10, 30))):
            status = tab.ask("SELECT * FROM payguard.order_status(%s)", order_id)
            self.counts[f"advice {status['advice']}"] += 1
            if status["advice"] == "pay":
                return chance.random() < 0.8
            if status["advice"] not in ("wait", "resume"):
                return chance.random() < 0.03
            if chance.random() < 0.3 and tab.payment_id:
                tab.ask("SELECT * FROM payguard.close_payment(%s)", tab.payment_id)
            time.sleep(0.02)
        return chance.random() < 0.3

    def after(self, chance, order_id, amount):
        """Sometimes money is asked back."""
        if chance.random() >= 0.06:
            return
        part = chance.choice((None, max(1, amount // 3)))
        for n in (1, 1, 2):
            self.tabs[0].ask("SELECT * FROM payguard.refund_order(%s, %s, %s, %s)", order_id,
                             f"{order_id}-r{n}", part, "the customer sent it back")


class Tab:
    """A browser tab: a server process of the shop behind it, and a connection to the channels."""

    def __init__(self, dsn, port, counts, isolation):
        self.database = Database(dsn, counts, "shop", isolation)
        self.peer = wire.Peer(port)
        self.counts = counts
        self.payment_id = None

    def ask(self, sql, *values):
        try:
            return self.database.request(sql, *values)
        except Refused:
            return None

    def pay(self, order_id, key, name, expires_in, capture, stall=0, vanish=False):
        """Starts an attempt, calls its channel and reports the answer; → payment_id."""
        by_worker = hashlib.md5(key.encode()).digest()[0] < 40
        call = "request_payment" if by_worker else "start_payment"
        started = self.ask(f"SELECT * FROM payguard.{call}(%s, %s, %s,"
                           " expires_at => clock_timestamp() + %s * interval '1 s', capture => %s)",
                           order_id, key, name, expires_in, capture)
        if started is None:
            return None
        if by_worker:
            return started["payment_id"]
        self.payment_id = started["payment_id"]
        if vanish:
            return None
        time.sleep(stall)
        try:
            answer = self.peer.call(f"/{name}/charge", {
                "payment_id": started["payment_id"], "order_id": order_id,
                "amount": started["amount"], "currency": started["currency"], "capture": capture})
        except wire.NoAnswer:
            answer = {"status": "unknown"}
            self.counts["charges without an answer"] += 1
        report_answer(self.database, started["payment_id"], answer)
        return started["payment_id"]

    def return_page(self, payment_id, name):
        try:
            answer = self.peer.call(f"/{name}/query", {"payment_id": payment_id})
        except wire.NoAnswer:
            return
        report_answer(self.database, payment_id, answer)


def client(number, clients, orders, dsn, port, seed, manual, results):
    """A client's process: every clients-th order is its.

    manual: the share of orders whose money is reserved, and captured when the shop ships
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    counts = collections.Counter()
    try:
        customer = Client(number, dsn, port, seed, manual, counts)
        for order in range(number, orders, clients):
            customer.buy(order)
    except Exception as error:  # the run must end, and say why
        counts[f"unexpected client {error!r}"] += 1
    results.put(counts)


# webhooks


class Handler:
    """The shop's webhook handler: whatever payguard returns, it answers 200."""

    def __init__(self, dsn, threads=4):
        self.dsn = dsn
        self.counts = collections.Counter()
        self.local = threading.local()
        self.threads = concurrent.futures.ThreadPoolExecutor(threads)

    async def handle(self, path, request):
        if path == "/counts":
            return self.counts
        return await asyncio.get_running_loop().run_in_executor(self.threads, self.take, request)

    def take(self, message):
        if not hasattr(self.local, "database"):
            self.local.database = Database(self.dsn, self.counts, "webhook")
        try:
            self.record(self.local.database, message)
        except Refused:
            return wire.FAILED
        self.counts["webhooks"] += 1
        return {}

    def record(self, database, message):
        if message["about"] == "reversal":
            database.evidence("SELECT * FROM payguard.record_reversal(%s, %s, %s, %s, %s, %s,"
                              " to_timestamp(%s))",
                              message["channel"], message["reversal_id"], message["txn"],
                              message["kind"], message["amount"], message["currency"], message["time"])
            return
        if message["about"] == "reinstatement":
            database.evidence("SELECT * FROM payguard.record_reinstatement(%s, %s, to_timestamp(%s))",
                              message["channel"], message["reversal_id"], message["time"])
            return
        if message["about"] == "console":
            database.evidence("SELECT * FROM payguard.record_payment(%s, %s, %s, %s, %s)",
                              message["order_id"], message["channel"], message["txn"],
                              message["amount"], message["currency"])
            return
        body = json.dumps(message, sort_keys=True).encode()
        # every other message is known by the hash of its body alone
        event_id = message["event_id"] if hashlib.md5(body).digest()[0] & 1 else None
        database.evidence(
            "SELECT * FROM payguard.record_notification(%s, %s, %s, %s, %s, %s, %s, %s, %s,"
            " capture_before => %s)",
            message["channel"], body, event_id, message.get("payment_id"),
            message.get("refund_id"), message.get("status"), message.get("txn"),
            message.get("amount"), message.get("currency"), message.get("capture_before"))


def handler(dsn, report):
    """The webhook handler's process; its port goes to `report`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    async def run():
        server, port = await wire.serve(Handler(dsn).handle)
        report.send(port)
        async with server:
            await server.serve_forever()

    asyncio.run(run())


# workers


class Worker:
    """Does what is due outside. Now and then it dies, or answers after its lease is over."""

    LEASE = "400 ms"

    def __init__(self, number, dsn, port, seed, counts):
        self.name = f"worker-{number}"
        self.queue = Database(dsn, counts, "webhook")
        self.local = threading.local()
        self.dsn = dsn
        self.port = port
        self.random = random.Random(f"{seed}/{self.name}")
        self.counts = counts

    def due(self, most=32):
        """Claims tasks, with all that a channel needs."""
        return self.queue.rows(
            "SELECT task_id, lease_token::text, kind, order_id, payment_id::text,"
            "       refund_id::text, channel, amount, currency, channel_txn_id AS txn, capture,"
            "       capture_id::text, extract(epoch FROM leased_until)::float AS until"
            " FROM payguard.claim_tasks(%s, %s, %s)", self.name, most, self.LEASE)

    def done(self, database, task, answer):
        """Acknowledges a task with the channel's answer."""
        for _ in range(1 if self.random.random() < 0.95 else 2):
            database.evidence("SELECT * FROM payguard.complete_task(%s, %s, %s, %s, %s, %s, %s,"
                              " capture_before => %s)",
                              task["task_id"], task["lease_token"], answer["status"],
                              answer.get("txn"), answer.get("amount"), answer.get("currency"),
                              answer.get("code"), answer.get("capture_before"))
        if task["kind"] == "close" and answer["status"] == "closed":
            self.tell(task)
        report_more(database, task["payment_id"], answer)

    def tell(self, task):
        try:
            self.local.peer.call(f"/{task['channel']}/told", task)
        except wire.NoAnswer:
            pass

    def do(self, task):
        if not hasattr(self.local, "database"):
            self.local.database = Database(self.dsn, self.counts, "webhook")
            self.local.peer = wire.Peer(self.port)
        if task["kind"] == "capture" and task["until"] < time.time() + 0.1:
            self.counts["capture left to whoever claims it next"] += 1
            return
        try:
            answer = self.local.peer.call(f"/{task['channel']}/{task['kind']}", task)
        except wire.NoAnswer:
            answer = {"status": "unknown"}
        self.counts[f"task {task['kind']}"] += 1
        chance = self.random.random()
        if task["kind"] == "capture" and (chance < 0.04 or answer["status"] == "unknown"):
            self.counts["answers of captures that were lost"] += 1
        if chance < 0.02:
            self.counts["task left by a worker that died"] += 1
            return
        if chance < 0.04:
            time.sleep(0.5)
        try:
            self.done(self.local.database, task, answer)
        except Refused:
            pass


def worker(number, dsn, port, seed, stop, results):
    """A worker's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    counts = collections.Counter()
    try:
        loop = Worker(number, dsn, port, seed, counts)
        with concurrent.futures.ThreadPoolExecutor(4) as threads:
            while not stop.is_set():
                tasks = loop.due()
                for _ in threads.map(loop.do, tasks):
                    pass
                if not tasks:
                    time.sleep(0.01)
    except Exception as error:
        counts[f"unexpected worker {error!r}"] += 1
    results.put(counts)


# the warehouse


class Shipper:
    """Takes reserved money when it ships, or less where something is missing, or gives it up."""

    def __init__(self, number, dsn, seed, counts):
        self.database = Database(dsn, counts, "shop")
        self.reader = Database(dsn, counts, None)
        self.random = random.Random(f"{seed}/shipper {number}")
        self.counts = counts
        self.seen = set()  # captures that it has thought about once more

    def ask(self, sql, *values):
        try:
            return self.database.request(f"SELECT * FROM payguard.{sql}", *values)
        except Refused as refused:
            return {"refused": refused.code}

    def work(self):
        """One round."""
        for row in self.reader.rows(
                "SELECT p.payment_id::text, p.order_id, p.status, p.capture_id, p.authorized_amount AS reserved,"
                "       o.amount, o.version"
                " FROM payguard.payments p JOIN payguard.orders o USING (order_id)"
                " WHERE p.status IN ('authorized', 'capturing') AND p.capture = 'manual' LIMIT 50"):
            if row["status"] == "authorized":
                self.ship(row)
            elif row["capture_id"] not in self.seen:
                self.seen.add(row["capture_id"])
                self.hesitate(row)

    def ship(self, row):
        chance = self.random.random()
        if chance < 0.3:
            return
        if chance < 0.38:
            self.give_up(row)
            return
        if chance < 0.55 or row["reserved"] < row["amount"]:
            if self.random.random() < 0.8:
                self.change(row, self.random.randint(1, max(1, min(row["reserved"], row["amount"]))))
        elif chance < 0.6:
            self.change(row, row["amount"] + self.random.choice((1, 20_000)))
        for _ in range(self.random.choice((1, 1, 1, 2))):
            if self.ask("capture_payment(%s)", row["payment_id"]).get("replayed") is False:
                self.counts["shop captured"] += 1

    def hesitate(self, row):
        """A worker has the capture, or will have it soon."""
        chance = self.random.random()
        if chance < 0.1:
            self.give_up(row)
        elif chance < 0.15:
            self.change(row, max(1, row["amount"] // 2))
        elif chance < 0.25:
            self.ask("capture_payment(%s)", row["payment_id"])

    def give_up(self, row):
        if self.random.random() < 0.6:
            done = self.ask("close_payment(%s)", row["payment_id"])
        else:
            done = self.ask("cancel_order(%s)", row["order_id"])
        self.counts["shop gave up" if "refused" not in done else "shop came too late to give up"] += 1

    def change(self, row, amount):
        if "refused" not in self.ask("update_order(%s, %s, %s)", row["order_id"], row["version"], amount):
            self.counts["shop changed the order"] += 1


def shipper(number, dsn, seed, stop, results):
    """A shipper's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    counts = collections.Counter()
    try:
        person = Shipper(number, dsn, seed, counts)
        while not stop.is_set():
            person.work()
            time.sleep(0.02)
    except Exception as error:
        counts[f"unexpected shipper {error!r}"] += 1
    results.put(counts)


# operators


class Operator:
    """A person who decides what waits for one, and the scheduler of the routine work."""

    RETRIES = 3

    def __init__(self, number, dsn, port, seed, counts):
        self.database = Database(dsn, counts, "operator")
        self.reader = Database(dsn, counts, None)
        self.peer = wire.Peer(port)
        self.random = random.Random(f"{seed}/operator {number}")
        self.counts = counts
        self.retries = collections.Counter()

    def ask(self, sql, *values):
        try:
            return self.database.request(sql, *values)
        except Refused as refused:
            return refused.code

    def work(self):
        """One round."""
        failed = self.ask("SELECT string_agg(problem, '; ') AS problem FROM payguard.maintain(50)")
        if failed["problem"]:
            self.counts[f"unexpected in maintain: {failed['problem']}"] += 1
        for refund in self.refunds("awaiting_approval"):
            self.decide(refund)
        for refund in self.refunds("failed"):
            self.try_again(refund)
        if self.random.random() < 0.2:
            self.accept()
        if self.random.random() < 0.2:
            self.settle()
        if self.random.random() < 0.2:
            self.reopen()
        if self.random.random() < 0.1:
            self.hurry()

    def refunds(self, status):
        return self.reader.rows(
            "SELECT r.refund_id::text, r.payment_id::text, r.order_id, r.channel, r.amount,"
            "       r.currency, p.channel_txn_id AS txn"
            " FROM payguard.refunds r JOIN payguard.payments p USING (payment_id)"
            " WHERE r.status = %s LIMIT 20", status)

    def name_in_books(self, name, txn):
        return self.peer.call(f"/{name}/name", {"txn": txn})["txn"]

    def decide(self, refund):
        """Is this a second charge, or a second name of the first? The channel knows."""
        others = self.reader.rows(
            "SELECT payment_id::text, channel_txn_id FROM payguard.payments"
            " WHERE order_id = %s AND channel = %s AND payment_id <> %s"
            "   AND status IN ('succeeded', 'surplus') AND channel_txn_id IS NOT NULL",
            refund["order_id"], refund["channel"], refund["payment_id"])
        try:
            name = self.name_in_books(refund["channel"], refund["txn"])
            same = [other["payment_id"] for other in others
                    if self.name_in_books(refund["channel"], other["channel_txn_id"]) == name]
            if same:
                self.ask("SELECT * FROM payguard.dismiss_surplus(%s, %s, %s)",
                         refund["payment_id"], same[0], "the channel names it twice")
                self.counts["operator dismissed"] += 1
                return
            if self.random.random() < 0.1:
                self.ask("SELECT * FROM payguard.waive_refund(%s, %s)", refund["refund_id"],
                         "the customer agreed")
                self.counts["operator waived"] += 1
                return
            answer = self.peer.call(f"/{refund['channel']}/refund", {
                key: refund[key] for key in ("refund_id", "txn", "amount", "currency")})
        except wire.NoAnswer:
            return
        if answer["status"] == "succeeded":
            self.ask("SELECT * FROM payguard.settle_refund(%s, 'succeeded', %s, %s)",
                     refund["refund_id"], "made at the console", answer["txn"])
            self.counts["operator settled"] += 1
        elif answer.get("code") == "not_that_much_left":
            self.ask("SELECT * FROM payguard.waive_refund(%s, %s)", refund["refund_id"],
                     "it went back already")
            self.counts["operator waived"] += 1

    def try_again(self, refund):
        self.retries[refund["refund_id"]] += 1
        if self.retries[refund["refund_id"]] <= self.RETRIES:
            if self.ask("SELECT * FROM payguard.retry_refund(%s, %s)", refund["refund_id"],
                        "once more") != "PY504":
                self.counts["operator retried"] += 1
                return
        self.ask("SELECT * FROM payguard.waive_refund(%s, %s)", refund["refund_id"],
                 "the channel does not make it")
        self.counts["operator waived"] += 1

    def accept(self):
        """Surplus money of an order that is closed pays it after all."""
        for payment in self.reader.rows(
                "SELECT p.payment_id::text FROM payguard.payments p"
                " JOIN payguard.orders o USING (order_id)"
                " WHERE p.status = 'surplus' AND o.status IN ('expired', 'cancelled', 'unpaid')"
                "   AND EXISTS (SELECT FROM payguard.refunds r WHERE r.payment_id = p.payment_id"
                "               AND r.status = 'pending') LIMIT 1"):
            self.ask("SELECT * FROM payguard.accept_surplus(%s, %s)", payment["payment_id"],
                     "the customer wants it")
            self.counts["operator accepted"] += 1

    def reopen(self):
        """An order whose money the customer's bank has taken back is to be paid again."""
        for order in self.reader.rows(
                "SELECT r.order_id FROM payguard.refunds r JOIN payguard.orders o USING (order_id, payment_id)"
                " WHERE r.status = 'succeeded' AND r.reversal_kind = 'chargeback'"
                "   AND o.status = 'paid' LIMIT 1"):
            self.ask("SELECT * FROM payguard.reopen_order(%s, %s)", order["order_id"],
                     "the customer pays in another way")
            self.counts["operator reopened"] += 1

    def hurry(self):
        """A charge or a capture that seems to hang is tried again, though a worker has it."""
        for task in self.reader.rows(
                "SELECT t.task_id, t.kind FROM payguard.tasks t JOIN payguard.leases l USING (task_id)"
                " WHERE t.kind IN ('charge', 'capture') ORDER BY t.kind LIMIT 2"):
            if self.ask("SELECT payguard.requeue_task(%s) AS task_id", task["task_id"]) != "PY404":
                self.counts[f"operator hurried a {task['kind']}"] += 1

    def settle(self):
        """An attempt that stays open: a look into the channel's back office."""
        for payment in self.reader.rows(
                "SELECT payment_id::text, channel, status FROM payguard.payments"
                " WHERE status IN ('pending', 'processing', 'capturing', 'unknown', 'closing', 'superseded')"
                "   AND created_at < clock_timestamp() - interval '300 ms' LIMIT 1"):
            try:
                answer = self.peer.call(f"/{payment['channel']}/query", payment)
            except wire.NoAnswer:
                return
            if answer["status"] == "authorized" and payment["status"] != "capturing":
                return  # that settles nothing, and his word would outlive a void that is on its way
            self.ask("SELECT * FROM payguard.settle_payment(%s, %s, %s, %s, %s, %s)",
                     payment["payment_id"], answer["status"], "as the back office says",
                     answer.get("txn"), answer.get("amount"), answer.get("currency"))
            self.counts["operator settled an attempt"] += 1


def operator(number, dsn, port, seed, stop, results):
    """An operator's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    counts = collections.Counter()
    try:
        person = Operator(number, dsn, port, seed, counts)
        while not stop.is_set():
            person.work()
            time.sleep(0.03)
    except Exception as error:
        counts[f"unexpected operator {error!r}"] += 1
    results.put(counts)
