"""The players: clients that make random calls of the whole API, and note each with real time.

A family is what is checked together: two orders, or four, that share keys, and a channel of their own. So many
families are in use at once as the hot set has orders, half; a family that has had its calls is
replaced by a new one.
"""
import hashlib
import random
import threading
import time
import uuid

import psycopg2

from beside import Keeper, Reader
from check import FOREVER, Op
from model import GARBLED, NAMES, TRACKED, Channel, Policy, Refused

EPOCH = time.time() - time.monotonic()
STATUSES = ["succeeded"] * 8 + ["failed"] * 5 + ["closed"] * 2 + ["pending"] * 3 + ["unknown"] * 3 + \
    ["not_found"] * 2
STATUSES_OF_RESERVING = ["authorized"] * 12 + ["succeeded"] + ["pending", "unknown"] * 2 + [
    "processing", "not_found", "failed", "closed"]
CALLS_OF_A_FAMILY = 110
# what a channel takes back, by the number of the reversal; None: all of it
REVERSALS = [("refund", 10), ("chargeback", 17), ("bank_return", 24), ("refund", 31), ("chargeback", 38)]
NEWER_REVERSALS = REVERSALS + [("bank_return", None), ("bank_return", None), ("chargeback", None)]
SQL = {
    "create_order": "SELECT * FROM payguard.create_order(%s, %s, %s, %s, pg_catalog.to_timestamp(%s))",
    "update_order": "SELECT * FROM payguard.update_order(%s, %s, %s, %s)",
    "cancel_order": "SELECT * FROM payguard.cancel_order(%s, %s)",
    "order_status": "SELECT * FROM payguard.order_status(%s)",
    "pay pay": "SELECT * FROM payguard.pay_order(%s, %s, %s, %s, %s, %s)",
    "pay start": "SELECT * FROM payguard.start_payment(%s, %s, amount => %s, currency => %s, "
                 "expected_version => %s, channel => %s)",
    "pay request": "SELECT * FROM payguard.request_payment(%s, %s, amount => %s, currency => %s, "
                   "expected_version => %s, channel => %s)",
    "pay start capture": "SELECT * FROM payguard.start_payment(%s, %s, amount => %s, currency => %s, "
                         "expected_version => %s, channel => %s, capture => %s)",
    "pay request capture": "SELECT * FROM payguard.request_payment(%s, %s, amount => %s, currency => %s, "
                           "expected_version => %s, channel => %s, capture => %s)",
    "try_pay": "SELECT * FROM payguard.try_pay_order(%s, %s, %s, %s, %s)",
    "revoke_key": "SELECT * FROM payguard.revoke_key(%s, %s)",
    "close_payment": "SELECT * FROM payguard.close_payment(%s)",
    "capture_payment": "SELECT * FROM payguard.capture_payment(%s)",
    "query_payment": "SELECT * FROM payguard.query_payment(%s)",
    "report_payment": "SELECT * FROM payguard.report_payment(%s, %s, %s, %s, %s, %s)",
    "report_payment until": "SELECT * FROM payguard.report_payment(%s, %s, %s, %s, %s, %s,"
                            " capture_before => pg_catalog.to_timestamp(%s))",
    "settle_payment": "SELECT * FROM payguard.settle_payment(%s, %s, 'seen', %s, %s, %s)",
    "record_payment": "SELECT * FROM payguard.record_payment(%s, %s, %s, %s, %s)",
    "record_notification": "SELECT * FROM payguard.record_notification(%s, pg_catalog.convert_to(%s, 'UTF8'),"
                           " NULL, %s, %s, %s, %s, %s, %s)",
    "record_notification until": "SELECT * FROM payguard.record_notification(%s, pg_catalog.convert_to(%s, 'UTF8'),"
                                 " NULL, %s, %s, %s, %s, %s, %s,"
                                 " capture_before => pg_catalog.to_timestamp(%s))",
    "accept_surplus": "SELECT * FROM payguard.accept_surplus(%s, 'it is theirs')",
    "dismiss_surplus": "SELECT * FROM payguard.dismiss_surplus(%s, %s, 'the same')",
    "refund_order": "SELECT * FROM payguard.refund_order(%s, %s, %s, 'sent back')",
    "refund_payment": "SELECT * FROM payguard.refund_payment(%s, %s, %s, 'sent back')",
    "report_refund": "SELECT * FROM payguard.report_refund(%s, %s, %s, %s, %s)",
    "settle_refund": "SELECT * FROM payguard.settle_refund(%s, %s, 'seen')",
    "retry_refund": "SELECT * FROM payguard.retry_refund(%s, 'once more')",
    "waive_refund": "SELECT * FROM payguard.waive_refund(%s, 'they keep it')",
    "decide_order": "SELECT * FROM payguard.{}_order(%s, 'decided', %s)",
    "request_approval": "SELECT * FROM payguard.request_approval(%s, 'please')",
    "decide_refund": "SELECT * FROM payguard.{}_refund(%s, 'decided')",
    "record_reversal": "SELECT * FROM payguard.record_reversal(%s, %s, %s, %s, %s, %s)",
    "record_reversal at": "SELECT * FROM payguard.record_reversal(%s, %s, %s, %s, %s, %s, pg_catalog.to_timestamp(%s))",
    "record_reinstatement": "SELECT * FROM payguard.record_reinstatement(%s, %s, pg_catalog.to_timestamp(%s))",
    "reopen_order": "SELECT * FROM payguard.reopen_order(%s, 'to be paid again')",
    "complete_task": "SELECT * FROM payguard.complete_task(%s, %s, %s, %s, %s, %s)",
    "complete_task until": "SELECT * FROM payguard.complete_task(%s, %s, %s, %s, %s, %s, NULL,"
                           " capture_before => pg_catalog.to_timestamp(%s))",
    "retry_task": "SELECT payguard.retry_task(%s, %s, 'no way out', '1 ms') AS task_id",
    "requeue_task": "SELECT payguard.requeue_task(%s) AS task_id",
    "extend_lease": "SELECT payguard.extend_lease(%s, %s, '1 hour')",
    "claim_tasks": "SELECT * FROM payguard.claim_tasks('player', 3, %s, NULL, ARRAY[%s])",
    "sale_insert": "INSERT INTO public.sales VALUES (%s, %s, %s, 1) RETURNING status, version",
    "sale_update": "UPDATE public.sales SET version = version + %s, status = %s WHERE id = %s RETURNING status, version",
    "sale_delete": "DELETE FROM public.sales WHERE id = %s RETURNING status, version",
    "sale_read": "SELECT status, version FROM public.sales WHERE id = %s",
    "attack": "%s",
}
ATTACKS = ["UPDATE payguard.orders SET status = 'unpaid'",
           "UPDATE payguard.payments SET status = 'failed'",
           "DELETE FROM payguard.payments", "DELETE FROM payguard.events",
           "DELETE FROM payguard.refund_balances", "TRUNCATE payguard.tasks"]
ATTACKS_ON_THE_ARCHIVE = ["UPDATE payguard.archived_orders SET status = 'unpaid'",
                          "DELETE FROM payguard.archived_payments"]


def now():
    return EPOCH + time.monotonic()


class Family:
    def __init__(self, rnd, number, policies, whole=False):
        self.number = number
        self.name = f"f{number}"
        self.reserves = whole and rnd.random() < 0.4     # its channel reserves money
        self.orders = [f"{self.name}/{order}" for order in ("abcd" if self.reserves else "ab")]
        self.amounts = {order: rnd.randrange(50, 90) for order in self.orders}
        self.channel = f"c{number}"
        self.settings = Channel(late=rnd.choice(["accept", "accept", "accept_expired", "refund"]),
                                not_found_is_final=rnd.random() < 0.3,
                                idempotent=rnd.random() < 0.7, mixed=not whole)
        self.short_lease = rnd.random() < (0.25 if self.reserves else 0.12)
        self.deadlines = rnd.random() < 0.2
        self.calm = not self.reserves and rnd.random() < 0.25         # its orders are settled soon, and so archived
        self.currency, self.policy, self.customer = "EUR", None, None
        if policies and rnd.random() < 0.3:
            # a currency of its own, since policies are about currencies
            self.currency = "".join(chr(ord("A") + number // n % 26) for n in (676, 26, 1))
            self.policy = Policy(self.currency, rnd.choice([0, 40, 70]), rnd.random() < 0.6,
                                 rnd.random() < 0.3, rnd.choice([None, "flag", "hold", "refuse"]),
                                 rnd.random() < 0.5)
            if self.policy.duplicate:
                self.customer = self.name
                self.amounts = dict.fromkeys(self.orders, self.amounts[self.orders[0]])
        self.ops = []
        self.payments, self.refunds, self.tasks = [], [], []
        self.made = set()       # the orders that are known to be there
        self.known, self.versions = {}, {}      # what was told last: the status of a payment or an order; its version
        self.left = CALLS_OF_A_FAMILY

    def register(self, cursor):
        cursor.execute(
            "SELECT payguard.register_channel(%s, first_query_after => '0 s',"
            " max_query_interval => '1 ms', not_found_is_final_after => %s, late_success => %s,"
            " idempotent_charge => %s)",
            (self.channel, "0 s" if self.settings.not_found_is_final else "1 day", self.settings.late,
             self.settings.idempotent))
        if self.policy:
            policy = self.policy
            cursor.execute("SELECT payguard.set_policy(%s, %s, %s, %s, %s, %s, %s)",
                           (policy.currency, policy.min_amount, policy.approve, policy.refund, policy.version,
                            policy.duplicate and "1 day", policy.duplicate))


class Stage:
    """The families in use, and how many calls are still to be made."""

    def __init__(self, seed, calls, hot, connect, approves, waits=False, whole=False):
        self.rnd = random.Random(f"{seed} stage")
        self.connect = connect
        self.calls, self.hot, self.approves, self.whole = calls, hot, approves, whole
        self.waits, self.half = waits, calls // 2
        self.families, self.used = [], []
        self.lock = threading.Lock()
        self.cursor = connect().cursor()
        self.counts = {}
        self.reader = Reader(self, "reader")
        self.pids = {}          # of the connections that may be lost
        self.lost = 0

    def family(self, rnd):
        with self.lock:
            if self.calls <= 0:
                return None
            if not self.waits or self.calls > self.half:
                self.calls -= 1
            self.families = [f for f in self.families if f.left > 0]
            while len(self.families) < max(1, self.hot // 2):
                family = Family(self.rnd, len(self.used), self.approves, self.whole)
                family.register(self.cursor)
                # the calls in flight at the end of a family's life would be few: stagger them
                family.left = self.rnd.randrange(CALLS_OF_A_FAMILY // 2, CALLS_OF_A_FAMILY * 3 // 2)
                self.families.append(family)
                self.used.append(family)
            family = rnd.choice(self.families)
            family.left -= 1
            return family

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] = self.counts.get(what, 0) + number

    def lose_connections(self):
        """Ends one client's connection after the other, at random moments."""
        cursor = self.connect().cursor()
        while self.calls > 0:
            time.sleep(self.rnd.uniform(0.01, 0.08))
            pids = list(self.pids.values())
            if pids:
                cursor.execute("SELECT pg_terminate_backend(%s)", (self.rnd.choice(pids),))


class Lost(Exception):
    """The connection is gone: nobody knows what has become of the call."""


class Client(threading.Thread):
    def __init__(self, stage, seed, number, level):
        super().__init__(daemon=True)
        self.stage, self.number, self.level = stage, number, level
        self.name = f"client {number}"
        self.rnd = random.Random(f"{seed} {level} {number}")
        self.bodies = {}
        self.wrong = []
        self.crash = None

    def run(self):
        try:
            self.open()
            self.safe = self.stage.connect(self.level).cursor()
            if self.stage.approves:
                self.safe.execute("SET payguard.actor = 'the boss'")
            while True:
                family = self.stage.family(self.rnd)
                if family is None:
                    return
                self.step(family)
        except Exception as error:      # reported by the main thread
            import traceback
            self.crash = traceback.format_exc() or repr(error)

    def open(self):
        connection = self.stage.connect(self.level)
        self.cursor = connection.cursor()
        self.stage.pids[self.number] = connection.get_backend_pid()

    # -- calls

    def execute(self, cursor, sql, args):
        """The rows, as dicts, or a Refused."""
        try:
            cursor.execute(sql, args)
            if cursor.description is None:
                return []
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]
        except psycopg2.Error as error:
            code = error.pgcode
            if code is None or code == "57P01" or cursor.connection.closed:
                self.stage.count("connection lost")
                raise Lost() from error
            if error.diag.table_name == "sales":
                code = error.diag.constraint_name
                self.stage.count(code)
                return Refused(code)
            self.stage.count(code)
            if code == "40P01" or code.startswith("XX") or code in ("23505", "23514"):
                self.wrong.append(f"{code} from {sql} {args}: {error}".strip())
            elif code[:2] == "PY":
                # a request's refusal: its constraint is the stable name
                name = error.diag.constraint_name
                if not name or NAMES.get(code, name) != name:
                    self.wrong.append(f"{code} is called {name}")
            elif code not in ("40001", "22023"):
                self.wrong.append(f"{code} from {sql} {args}: {error}".strip())
            return Refused(code)

    def make(self, family, call):
        """Makes a call, and returns its answer."""
        method, args = call
        cursor = self.cursor
        if method == "pay":
            sql, values = SQL["pay " + args[0] + (" capture" if len(args) > 7 else "")], args[1:]
        elif method == "pay_orders":
            sql = ("SELECT * FROM payguard.pay_orders(ARRAY["
                   + ", ".join(["(%s, %s, %s, %s, %s, NULL)"] * len(args[0])) + "]::payguard.pay_request[])")
            values = [value for request in args[0] for value in request]
        elif method == "complete_tasks":
            sql = ("SELECT * FROM payguard.complete_tasks(ARRAY["
                   + ", ".join(["(%s, %s, %s, %s, %s, %s, NULL, NULL)"] * len(args[0]))
                   + "]::payguard.task_answer[])")
            values = [value for answer in args[0] for value in answer]
        elif method == "record_notification":
            channel, event, payment_id, refund_id, *report = args
            sql = SQL[method + (" until" if len(report) > 5 else "")]
            values = (channel, self.bodies[event], payment_id, refund_id, *report[:4], *report[5:])
        elif method == "record_reversal" and len(args) > 6:
            sql, values = SQL["record_reversal at"], args
        elif method == "report_payment" and len(args) > 6:
            sql, values = SQL["report_payment until"], args
        elif method == "complete_task" and len(args) > 6:
            sql, values = SQL["complete_task until"], args[:6] + args[7:]
        elif method == "attack":
            sql, values = args[0], ()
        elif method in ("decide_refund", "decide_order"):
            if args[2]:
                cursor = self.safe      # acts for somebody else than who asked
            sql = SQL[method].format({"approved": "approve", "rejected": "reject"}[args[1]])
            values = (args[0],) + args[3:]
        elif method == "retry_refund":
            if args[1]:
                cursor = self.safe
            sql, values = SQL[method], args[:1]
        elif method == "claim_tasks":
            cursor = self.safe      # a claim whose answer is lost would leave its task to nobody
            sql, values = SQL[method], ("20 ms" if family.short_lease else "1 hour", family.channel)
        else:
            sql, values = SQL[method], args
        rows = self.execute(cursor, sql, values)
        if isinstance(rows, Refused):
            return rows
        for row in rows:
            self.learn(family, row)
        if method == "claim_tasks":
            for row in rows:
                self.stage.count("claimed " + row["kind"])
                row["leased_until"] = row["leased_until"].timestamp()
                family.tasks.append((row["task_id"], row["lease_token"], row["refund_id"] or
                                     row["payment_id"], row["kind"], row))
        if method in ("pay_orders", "complete_tasks", "claim_tasks"):
            return rows
        return rows[0] if rows else {"status": None}

    def learn(self, family, row):
        if row.get("created_at") and row.get("order_id"):
            family.made.add(row["order_id"])
        if row.get("payment_id") and row.get("order_id") and \
                (row["payment_id"], row["order_id"]) not in family.payments:
            family.payments.append((row["payment_id"], row["order_id"]))
        if row.get("payment_status"):
            if (family.known.get(row["payment_id"]), row["payment_status"]) == ("capturing", "succeeded"):
                self.stage.count("captured")
            if (family.known.get(row["payment_id"]), row["payment_status"]) == ("failed", "authorized"):
                self.stage.count("reserved after all")
            family.known[row["payment_id"]] = row["payment_status"]
        if row.get("version") and row.get("order_id"):
            family.versions[row["order_id"]] = row["version"]
            family.known[row["order_id"]] = row.get("order_status") or row.get("status")
        if row.get("refund_id") and row["refund_id"] not in family.refunds:
            family.refunds.append(row["refund_id"])

    def step(self, family):
        rnd = self.rnd
        if rnd.random() < 0.06:
            self.look(family)
        elif rnd.random() < 0.05:
            self.transaction(family)
        else:
            self.single(family, self.some_call(family))

    def single(self, family, call):
        method, args = call
        self.stage.count(method)
        called = now()
        try:
            answer = self.make(family, call)
            answered = now()
        except Lost:
            answer, answered = None, FOREVER
            self.open()
        if isinstance(answer, Refused) and answer.code == "40001":
            return          # nothing has happened: the end of the history shows whether that is so
        if method == "claim_tasks":
            args = (answer,)
            if not answer:
                return
        steps = [(method, args, answer)]
        if method == "pay_orders" and self.level != "serializable":
            steps = self.by_order(args[0], answer, self.level == "repeatable read")
        for step in steps:
            family.ops.append(Op(called, answered, [step]))

    @staticmethod
    def by_order(requests, answer, old):
        """But for SERIALIZABLE a batch looks at an order that it does not pay at another moment than
        at those that it pays, so it is one call for each order. old: where the batch has paid it looks
        with an older snapshot at the key of another call."""
        steps = []
        for order in {request[0] for request in requests}:
            places = [i for i, request in enumerate(requests) if request[0] == order]
            if not isinstance(answer, list):
                groups = [places]
            elif any(answer[i]["outcome"] == "paid" and not answer[i]["replayed"] for i in places):
                groups = [[i for i in places if not old or answer[i]["outcome"] == "paid"]]
            else:       # some may come before, some after what the batch does with a key of theirs
                groups = [[i] for i in places]
            steps += [("pay_orders", ([requests[i] for i in group],),
                       answer if not isinstance(answer, list) else [answer[i] for i in group])
                      for group in groups]
        return steps

    def look(self, family):
        """Reads what no answer tells, and lets time pass."""
        payments, refunds = ("every_payment", "every_refund") if self.stage.whole else ("payments", "refunds")
        for sql in [f"SELECT payment_id, order_id FROM payguard.{payments} WHERE order_id OPERATOR(pg_catalog.=) ANY (%s)",
                    f"SELECT refund_id FROM payguard.{refunds} WHERE order_id OPERATOR(pg_catalog.=) ANY (%s)"]:
            rows = self.execute(self.safe, sql, (family.orders,))
            for row in rows if isinstance(rows, list) else []:
                self.learn(family, row)
        self.execute(self.safe, "SELECT payguard.expire_orders(100)", ())

    def transaction(self, family):
        """Several calls about one order in one transaction, which is rolled back now and then.

        In SERIALIZABLE they happen together. Otherwise a call that writes nothing looks at a moment
        of its own (REPEATABLE READ: that of the transaction's first call). In READ COMMITTED what
        comes after the first that writes happens together, since the order is locked; in REPEATABLE
        READ the transaction ends there.
        """
        rnd = self.rnd
        order = rnd.choice(family.orders)
        together = self.level == "serializable"
        began, steps, alone = None, [], []
        commits = rnd.random() < 0.7
        sent_commit = False
        self.stage.count("transaction")
        try:
            self.cursor.execute("BEGIN")
            if rnd.random() < 0.3:
                self.cursor.execute("SAVEPOINT s")
                began, answered, step = self.note(family, order)
                self.cursor.execute("ROLLBACK TO SAVEPOINT s")
                if not (isinstance(step[2], Refused) and step[2].code == "40001"):
                    alone.append(Op(began, answered, [step], commits=False))
            for _ in range(rnd.randrange(1, 4)):
                called, answered, step = self.note(family, order)
                answer = step[2]
                refused = isinstance(answer, Refused)
                if refused:
                    commits = False
                    if answer.code == "40001":
                        break
                if self.level != "read committed":
                    called = began = began or called
                kept = not refused and answer["outcome"] == "recorded"     # locks no order
                if kept and self.level == "repeatable read":
                    commits = False     # it looks at the beginning, and is there at the end
                wrote = not refused and not answer["replayed"] and (answer["order_id"] or kept) and \
                    answer["outcome"] not in NAMES.values()
                if steps or wrote or together:
                    began = began if steps or together else called
                    steps.append(step)
                else:
                    alone.append(Op(called, answered, [step], commits=False))
                if refused or kept or (wrote and self.level == "repeatable read"):
                    break
            if steps and commits and not kept and self.stage.whole and rnd.random() < 0.4:
                # a shop's own row follows its order
                step = self.sale_update(family, order)
                answer = self.make(family, step)
                # a row that is not there is not locked, and may come before the transaction ends
                if together or answer != {"status": None}:
                    steps.append((*step, answer))
                commits = not isinstance(answer, Refused)
                if not commits and answer.code == "40001":
                    alone = steps = []
            sent_commit = commits
            self.cursor.execute("COMMIT" if commits else "ROLLBACK")
            ended = now()
        except (Lost, psycopg2.Error) as error:
            code = getattr(error, "pgcode", None)
            if code not in ("40001", "57P01", None):
                self.wrong.append(f"{code} at the end of a transaction: {error}".strip())
            commits = sent_commit and code != "40001"
            ended = FOREVER if commits else now()
            if code == "40001":
                alone = steps = []      # SERIALIZABLE: nothing that it was told counts
            try:
                self.cursor.execute("ROLLBACK")
            except psycopg2.Error:
                self.open()
        family.ops.extend(alone)
        if steps:
            family.ops.append(Op(began, ended, steps, commits))

    def note(self, family, order):
        calls = [self.try_pay, self.attempt, self.report, self.report, self.refund_order]
        call = self.rnd.choice(calls + [self.capture] * family.reserves)(family, order)
        called = now()
        answer = self.make(family, call)
        return called, now(), (*call, answer)

    # -- what to call

    def some_call(self, family):
        rnd = self.rnd
        calls = {
            self.create: 5, self.update: 4, self.cancel: 2, self.status: 3, self.pay: 5,
            self.try_pay: 4, self.pay_orders: 3, self.attempt: 11, self.revoke: 2, self.close: 4,
            self.query: 2, self.report: 18, self.settle: 3, self.record: 5, self.notification: 8,
            self.accept: 3, self.dismiss: 3, self.refund_order: 5, self.refund_payment: 4,
            self.report_refund: 7, self.settle_refund: 2, self.retry_refund: 3, self.waive: 3,
            self.reversal: 3, self.claim: 9, self.complete: 12, self.complete_tasks: 2,
            self.retry_task: 3, self.extend: 1, self.attack: 1,
            self.decide: 6 if self.stage.approves else 0}
        if family.calm:
            calls = {self.create: 5, self.update: 2, self.cancel: 1, self.status: 3, self.pay: 8,
                     self.try_pay: 5, self.pay_orders: 3, self.attempt: 1, self.report: 2, self.revoke: 1,
                     self.record: 1, self.refund_order: 5, self.refund_payment: 1}
        if family.reserves:
            calls = {self.create: 6, self.update: 4, self.cancel: 1, self.status: 2, self.attempt: 8, self.close: 2,
                     self.query: 3, self.report: 6, self.settle: 1, self.record: 1, self.notification: 4, self.claim: 6,
                     self.complete: 6, self.complete_tasks: 2, self.retry_task: 2, self.extend: 1, self.capture: 4, self.requeue: 2,
                     self.refund_order: 2, self.report_refund: 2, self.pay: 1, self.decide: 2, self.accept: 1}
        if family.policy:
            calls[self.decide_order] = 6
            if self.stage.whole:
                calls[self.request_approval] = 3
        if self.stage.whole:
            calls.update({self.requeue: 2, self.reinstatement: 2, self.reopen: 1, self.sale_insert: 4, self.sale_update: 8, self.sale_delete: 1, self.sale_read: 2})
        if family.reserves and rnd.random() < 0.6:
            return self.with_reserved(family)
        make = rnd.choices(list(calls), list(calls.values()))[0]
        return make(family, rnd.choice(family.orders))

    def with_reserved(self, family):
        """What fits what was told last of an attempt, so that its money is reserved and captured now and then."""
        live = [p for p in family.payments if family.known.get(p[0]) in ("pending", "unknown", "authorized", "capturing")]
        lapsed = [p for p in family.payments if family.known.get(p[0]) == "failed"]
        open_orders = [order for order in family.orders if family.known.get(order, "unpaid") == "unpaid"]
        if open_orders and len(live) < 2:
            order = self.rnd.choice(open_orders)
            return self.attempt(family, order) if order in family.made else self.create(family, order)
        if lapsed and self.rnd.random() < 0.15:
            live = lapsed[-1:]          # whose money may be reserved still
        payment_id, order = self.rnd.choice(live) if live else self.some_payment(family)
        found = family.known.get(payment_id)
        if found == "capturing":
            held = [task for task in family.tasks[-6:] if task[2:4] == (payment_id, "capture")]
            asking = [task for task in family.tasks[-6:] if task[2:4] == (payment_id, "query")]
            says = self.rnd.choice(["authorized", "authorized", "succeeded", "unknown", "processing", "closed"])
            call, *args = self.rnd.choice(
                [("claim",)] * 3 + [("answer", task, says) for task in held[-1:]] * 4 + [("retry", task) for task in held[-1:]]
                + [("requeue", task) for task in held[-1:]] + [("answer", task, "authorized") for task in asking[-1:]] * 3
                + [("query",), ("report", "authorized"), ("close",), ("cancel",), ("capture",), ("record",)])
        elif found == "authorized":
            call, *args = self.rnd.choice([("capture",)] * 5 + [("lower",)] * 2 + [
                ("report", "authorized"), ("close",), ("cancel",), ("record",), ("query",), ("claim",), ("report", "failed")])
        elif found == "failed":
            asking = [task for task in family.tasks[-6:] if task[2:4] == (payment_id, "query")]
            call, *args = self.rnd.choice([("answer", task, "authorized") for task in asking[-1:]] * 3 + [
                ("report", "authorized"), ("claim",), ("claim",), ("lower",)])
        else:
            call, *args = "report", "authorized"
        txn = self.txn(family, payment_id)
        if call == "claim":
            return self.claim(family, order)
        if call == "answer":
            task, says = args
            less = self.rnd.choice([0, 0, 20]) if says == "authorized" else 0     # it has less reserved by now
            return "complete_task", (*task[:2], says, txn, task[4]["amount"] - less if self.rnd.random() < 0.6 else None, None)
        if call == "retry":
            return "retry_task", args[0][:2]
        if call == "requeue":
            return "requeue_task", args[0][:1]
        if call == "report":
            return "report_payment", (payment_id, args[0], txn, self.said_amount(family, order, args[0]), None, None,
                                      *self.until(args[0], ()))
        if call == "lower":
            amount = family.amounts[order] + self.rnd.randrange(-30, 5)
            return "update_order", (order, family.versions.get(order, 2), amount, None)
        if call == "cancel":
            return self.cancel(family, order)
        if call == "record":
            return self.record(family, order)
        return call + "_payment", (payment_id,)

    def key(self, family, order):
        r = self.rnd.random()
        if r < 0.55:
            return f"{order}/{self.rnd.randrange(4)}"
        if r < 0.70:
            return f"{family.name}/x{self.rnd.randrange(4)}"
        return f"{order}/{self.rnd.randrange(10**9)}"

    def amount(self, family, order, none, wrong=0.06):
        r = self.rnd.random()
        if r < none:
            return None
        return family.amounts[order] + (self.rnd.choice([-7, 3]) if r > 1 - wrong else 0)

    def currency(self, family, none):
        r = self.rnd.random()
        return None if r < none else family.currency if r < 0.99 else "USD"

    def version(self, family):
        often = family.policy is not None and family.policy.version
        return None if self.rnd.random() < (0.4 if often else 0.85) else self.rnd.randrange(1, 4 if often else 6)

    def txn(self, family, payment_id):
        r = self.rnd.random()
        if r < 0.25:
            return None
        if r < 0.80:
            return "t" + payment_id
        if r < 0.93:
            return "second" + payment_id
        return f"{family.name}/t{self.rnd.randrange(3)}"

    def some_payment(self, family, order=None):
        known = [p for p in family.payments[-8:] if order is None or p[1] == order]
        if not known or self.rnd.random() < 0.005:
            return str(uuid.UUID(int=self.rnd.getrandbits(128))), self.rnd.choice(family.orders)
        return self.rnd.choice(known)

    def some_refund(self, family):
        if not family.refunds or self.rnd.random() < 0.005:
            return str(uuid.UUID(int=self.rnd.getrandbits(128)))
        return self.rnd.choice(family.refunds[-5:])

    def create(self, family, order):
        deadline = now() + self.rnd.uniform(0.05, 0.6) if family.deadlines else None
        amount = family.amounts[order] + (self.rnd.random() < 0.05)
        return "create_order", (order, amount, family.currency, family.customer, deadline)

    def update(self, family, order):
        amount = family.amounts[order]
        amount = self.rnd.randrange(amount - 30, amount + 5) if family.reserves else amount + self.rnd.randrange(-1, 2)
        return "update_order", (order, self.rnd.randrange(1, 6), amount, self.currency(family, 0.8))

    def cancel(self, family, order):
        return "cancel_order", (order, self.version(family))

    def status(self, family, order):
        return "order_status", (order,)

    def pay(self, family, order):
        channel = "internal" if self.rnd.random() < 0.95 else self.rnd.choice(
            [family.channel, "no such channel"])
        return "pay", ("pay", order, self.key(family, order), self.amount(family, order, 0.6),
                       self.currency(family, 0.8), self.version(family), channel)

    def try_pay(self, family, order):
        return "try_pay", (order, self.key(family, order), self.amount(family, order, 0.6),
                           self.currency(family, 0.8), self.version(family))

    def pay_orders(self, family, order):
        return "pay_orders", ([self.try_pay(family, self.rnd.choice(family.orders))[1]
                               for _ in range(self.rnd.randrange(1, 5))],)

    def attempt(self, family, order):
        capture = (self.rnd.choice([None, "automatic", "manual", "manual", "manual"]),) if family.reserves else ()
        return "pay", (self.rnd.choice(["start", "request"]), order, self.key(family, order),
                       self.amount(family, order, 0.7, 0.03), self.currency(family, 0.8), self.version(family),
                       family.channel if self.rnd.random() < 0.98 else "internal", *capture)

    def capture(self, family, order):
        return "capture_payment", (self.some_payment(family, order)[0],)

    def revoke(self, family, order):
        return "revoke_key", (order, self.key(family, order))

    def close(self, family, order):
        return "close_payment", (self.some_payment(family)[0],)

    def query(self, family, order):
        return "query_payment", (self.some_payment(family)[0],)

    def says(self, family):
        """What a channel says; now and then nobody can read it."""
        return GARBLED if self.rnd.random() < 0.03 else self.status_of_channel(family)

    def report(self, family, order=None):
        payment_id, order = self.some_payment(family, order)
        status = self.says(family)
        return "report_payment", (payment_id, status, self.txn(family, payment_id), self.said_amount(family, order, status),
                                  self.currency(family, 0.5), None, *self.until(status, ()))

    def said_amount(self, family, order, status):
        """More or less may be reserved than was asked for."""
        if status == "authorized" and self.rnd.random() < 0.3:
            return family.amounts[order] + self.rnd.choice([-20, -5, 10])
        return self.amount(family, order, 0.3)

    def until(self, status, before):
        """The last arguments of evidence of reserved money: until when it can be taken. before: those before it."""
        if status != "authorized" or self.rnd.random() < 0.5:
            return ()
        return (*before, self.rnd.choice([1, 2, 4102444800, 4102444801]))

    def settle(self, family, order):
        _, args = self.report(family, order)
        return "settle_payment", args[:5]

    def record(self, family, order):
        if order not in family.made and self.rnd.random() < 0.9:
            return self.create(family, order)       # few messages that wait, each may find its order any time
        payment_id = self.some_payment(family)[0]
        return "record_payment", (order, family.channel, self.txn(family, payment_id) or "t" + payment_id,
                                  self.amount(family, order, 0), family.currency)

    def notification(self, family, order):
        """The text of a message tells its arguments, so one text never has two meanings."""
        rnd = self.rnd
        payment_id, refund_id = self.some_payment(family)[0], None
        txn = self.txn(family, payment_id)
        r = rnd.random()
        if r < 0.25 and txn:
            payment_id = None
        elif r < 0.45:
            payment_id, refund_id, txn = None, self.some_refund(family), None
        status = self.says(family) if rnd.random() < 0.92 else None
        amount = self.amount(family, order, 0.4) if status in ("succeeded", "authorized") and not refund_id else None
        until = self.until(status, (None,))
        text = f"{family.name} {payment_id} {refund_id} {status} {txn} {amount} {until} {rnd.randrange(2)}"
        event = hashlib.sha256(text.encode()).hexdigest()       # the text is the body, this its id
        self.bodies[event] = text
        return "record_notification", (family.channel, event, payment_id, refund_id, status, txn, amount,
                                       None, *until)

    def accept(self, family, order):
        return "accept_surplus", (self.some_payment(family)[0],)

    def dismiss(self, family, order):
        return "dismiss_surplus", (self.some_payment(family)[0], self.some_payment(family)[0])

    def boss(self, often):
        """Does somebody else call than who asks?"""
        return self.stage.approves and self.rnd.random() < often

    def refund_amount(self):
        return None if self.rnd.random() < 0.3 else self.rnd.randrange(1, 60)

    def refund_order(self, family, order):
        return "refund_order", (order, f"{family.name}/r{self.rnd.randrange(12)}", self.refund_amount())

    def refund_payment(self, family, order):
        return "refund_payment", (self.some_payment(family)[0],
                                  f"{family.name}/r{self.rnd.randrange(12)}", self.refund_amount())

    def report_refund(self, family, order):
        refund_id = self.some_refund(family)
        txn = None if self.rnd.random() < 0.4 else \
            "r" + (refund_id if self.rnd.random() < 0.9 else family.name)
        amount = None if self.rnd.random() < 0.8 else self.rnd.randrange(1, 60)
        return "report_refund", (refund_id, self.says(family), txn, amount, None)

    def settle_refund(self, family, order):
        return "settle_refund", (self.some_refund(family), self.status_of_channel(family))

    def retry_refund(self, family, order):
        return "retry_refund", (self.some_refund(family), self.boss(0.5))

    def waive(self, family, order):
        return "waive_refund", (self.some_refund(family),)

    def decide(self, family, order):
        return "decide_refund", (self.some_refund(family), self.rnd.choice(["approved", "rejected"]), self.boss(0.9))

    def decide_order(self, family, order):
        return "decide_order", (order, self.rnd.choice(["approved", "approved", "rejected"]),
                                self.boss(0.9), self.version(family))

    def request_approval(self, family, order):
        return "request_approval", (order,)

    def reversal(self, family, order):
        payment_id, order = self.some_payment(family)
        known = NEWER_REVERSALS if self.stage.whole else REVERSALS
        number = self.rnd.randrange(len(known))
        kind, amount = known[number]
        time = (self.time(),) if self.stage.whole else ()
        return "record_reversal", (family.channel, f"{family.name}/v{number}",
                                   self.txn(family, payment_id) or "t" + payment_id,
                                   kind, amount or family.amounts[order], family.currency, *time)

    def time(self):
        return None if self.rnd.random() < 0.4 else self.rnd.randrange(1, 6)

    def reinstatement(self, family, order):
        return "record_reinstatement", (family.channel, f"{family.name}/v{self.rnd.randrange(len(NEWER_REVERSALS))}",
                                        self.time())

    def reopen(self, family, order):
        return "reopen_order", (order,)

    def status_of_channel(self, family):
        """What a channel says; the older scripts have no word for "processing" and "authorized"."""
        if not self.stage.whole:
            return self.rnd.choice(STATUSES)
        if family.reserves:
            return self.rnd.choice(STATUSES_OF_RESERVING)
        return self.rnd.choice(STATUSES + ["processing"] * 2 + ["authorized"])

    def claim(self, family, order):
        return "claim_tasks", ()

    def task(self, family):
        if not family.tasks or self.rnd.random() < 0.01:
            return 10**9, str(uuid.UUID(int=self.rnd.getrandbits(128))), None, None
        task_id, token, subject, kind, _ = self.rnd.choice(family.tasks[-6:])
        if self.rnd.random() < 0.05:
            token = str(uuid.UUID(int=self.rnd.getrandbits(128)))
        return task_id, token, subject, kind

    def complete(self, family, order):
        task_id, token, subject, kind = self.task(family)
        order = self.rnd.choice(family.orders)
        status, txn, amount = self.says(family), None, None
        if subject and "refund" in kind:
            txn = None if self.rnd.random() < 0.4 else "r" + subject
        elif subject:
            order = dict(family.payments).get(subject, order)
            txn, amount = self.txn(family, subject), self.said_amount(family, order, status)
        return "complete_task", (task_id, token, status, txn, amount, None, *self.until(status, (None,)))

    def complete_tasks(self, family, order):
        return "complete_tasks", ([self.complete(family, order)[1][:6]
                                   for _ in range(self.rnd.randrange(1, 4))],)

    def retry_task(self, family, order):
        return "retry_task", self.task(family)[:2]

    def requeue(self, family, order):
        """Somebody does not wait for the worker, who may have it."""
        known = [task for task in family.tasks[-6:] if task[3] in TRACKED]
        return ("requeue_task", self.rnd.choice(known)[:1]) if known else self.claim(family, order)

    def extend(self, family, order):
        return "extend_lease", self.task(family)[:2]

    def sale(self, order):
        return f"{order}/{self.rnd.randrange(2)}"

    def sale_insert(self, family, order):
        return "sale_insert", (self.sale(order), order, "new" if self.rnd.random() < 0.9 else "paid")

    def sale_update(self, family, order):
        status = self.rnd.choice(["new", "paid", "paid", "paid", "sent", "sent", "back", "void"])
        return "sale_update", (1 if self.rnd.random() < 0.95 else self.rnd.choice([0, 2]), status, self.sale(order))

    def sale_delete(self, family, order):
        return "sale_delete", (self.sale(order),)

    def sale_read(self, family, order):
        return "sale_read", (self.sale(order),)

    def attack(self, family, order):
        return "attack", (self.rnd.choice(ATTACKS + (ATTACKS_ON_THE_ARCHIVE if self.stage.whole else [])),)


def play(connect, seed, level, calls, hot, clients, approves=True, halfway=None, whole=False):
    """Plays on an empty database; returns the families and what the clients found wrong.

    approves: whether the clients may act for others, and so decide about refunds.
    halfway: what is done after half of the calls, while the clients go on until it is done, and then
    for the other half.
    whole: with what needs the newest version of the scripts, all rights and the guarded table public.sales:
    the calls write it, too, and beside them orders are archived and a reader reads the events.
    """
    stage = Stage(f"{seed} {level} {hot}", calls, hot, connect, approves, bool(halfway), whole)
    players = [Client(stage, f"{seed} {hot}", number, level) for number in range(clients)]
    keepers = [Keeper(stage, f"keeper {n}") for n in range(2)] + [stage.reader] if whole else []
    chaos = threading.Thread(target=stage.lose_connections, daemon=True)
    if whole:
        stage.reader.begin()
    for thread in players + keepers + [chaos]:
        thread.start()
    wrong = []
    if halfway:
        while stage.calls > stage.half and any(player.is_alive() for player in players):
            time.sleep(0.01)
        try:
            halfway()
        finally:
            stage.waits = False
    for thread in players + keepers:
        thread.join(600)
        wrong += thread.wrong
        if thread.crash or thread.is_alive():
            wrong.append(thread.crash or f"{thread.name} hangs")
    chaos.join(10)
    if whole:
        stage.reader.finish()
    return stage, wrong
