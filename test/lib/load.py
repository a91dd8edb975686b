"""Clients that make payments, attempts, refunds and prepared transactions, and note what they were
told: the load for the crashes and the failovers. A note is made when the answer has arrived; what
was asked and not answered may have happened, and is asked again with the same key."""
import random
import threading
import time

import psycopg2


class Notes:
    """What all clients were told."""

    def __init__(self):
        self.lock = threading.Lock()
        self.paid = {}          # order -> (key, payment_id)
        self.open = {}          # order -> (key, payment_id), an attempt
        self.refunded = {}      # refund key -> (order, refund_id)
        self.prepared = {}      # gid -> order, acknowledged as prepared
        self.committed = {}     # gid -> order, acknowledged as committed
        self.asked = {}         # order -> key, a payment that was not answered
        self.refused = {}       # key of a call that was answered with an error -> the error's code
        self.wrong = []

    def note(self, table, name, value):
        with self.lock:
            known = table.setdefault(name, value)
            if known != value:
                self.wrong.append(f"{name}: told {value}, before {known}")


class Client(threading.Thread):
    def __init__(self, load, number):
        super().__init__(daemon=True)
        self.load, self.number = load, number
        self.rnd = random.Random(f"{load.seed} {number}")
        self.made = 0

    def run(self):
        try:
            connection = self.load.connect()
            self.cursor = connection.cursor()
            while not self.load.stop.is_set():
                self.asking = None
                try:
                    self.step()
                except psycopg2.Error as error:
                    if error.pgcode not in self.load.survives or connection.closed:
                        raise
                    self.refused(error)
        except psycopg2.Error as error:
            # the server is gone; an error of its own is another matter
            if error.pgcode and error.pgcode[:2] not in ("57", "40", "08") \
                    and error.pgcode not in ("25006", *self.load.survives):
                self.load.notes.wrong.append(f"{error.pgcode}: {error}".strip())

    def refused(self, error):
        """The server has said no and lives on: nothing of the call may be there."""
        self.cursor.execute("ROLLBACK")
        if self.asking:
            self.load.notes.refused[self.asking] = error.pgcode
            self.load.notes.asked.pop(self.asking.removeprefix("key-"), None)

    def row(self, sql, *args):
        self.cursor.execute(sql, args)
        return self.cursor.fetchone()

    def step(self):
        notes = self.load.notes
        self.made += 1
        order = f"{self.load.name}-{self.number}-{self.made}"
        key = "key-" + order
        self.row("SELECT payguard.create_order(%s, 100, 'EUR') IS NOT NULL", order)
        r = self.rnd.random()
        if r < 0.45:
            notes.asked[order] = self.asking = key
            outcome, payment = self.row(
                "SELECT outcome, payment_id FROM payguard.pay_order(%s, %s)", order, key)
            assert outcome == "paid"
            notes.note(notes.paid, order, (key, payment))
            if self.rnd.random() < 0.3:
                self.asking = "refund-" + order
                refund, = self.row("SELECT refund_id FROM payguard.refund_order(%s, %s, 40, 'back')",
                                   order, "refund-" + order)
                notes.note(notes.refunded, "refund-" + order, (order, refund))
        elif r < 0.65:
            self.asking = key
            payment, = self.row("SELECT payment_id FROM payguard.request_payment(%s, %s, 'card')",
                                order, key)
            notes.note(notes.open, order, (key, payment))
            self.asking = None
            if self.rnd.random() < 0.5:
                outcome, = self.row(
                    "SELECT outcome FROM payguard.report_payment(%s, 'succeeded', %s, 100, 'EUR')",
                    payment, "t" + payment)
                assert outcome == "paid"
                notes.note(notes.paid, order, (key, payment))
        elif r < 0.75:
            self.row("SELECT count(*) FROM payguard.claim_tasks('load', 2, '1 ms')")
        elif r < 0.9 and self.load.two_phase:
            self.prepare(order, key)
        else:
            # somebody else's key: a replay
            with notes.lock:
                known = list(notes.paid.items())[-20:]
            if known:
                order, (key, payment) = self.rnd.choice(known)
                found = self.row("SELECT outcome, payment_id, replayed FROM payguard.pay_order(%s, %s)"
                                 if self.load.is_internal(order) else
                                 "SELECT outcome, payment_id, replayed FROM"
                                 " payguard.request_payment(%s, %s, 'card')", order, key)
                if found != ("paid", payment, True):
                    notes.wrong.append(f"{order} was replayed as {found}, not {payment}")

    def prepare(self, order, key):
        notes = self.load.notes
        self.asking = key
        self.cursor.execute("BEGIN")
        self.row("SELECT outcome FROM payguard.pay_order(%s, %s)", order, key)
        self.cursor.execute("PREPARE TRANSACTION %s", (order,))
        self.asking = None
        notes.note(notes.prepared, order, order)
        # some are left, but not so many that the server has no room
        if self.rnd.random() < 0.8 or len(notes.prepared) - len(notes.committed) > 100:
            self.cursor.execute("COMMIT PREPARED %s", (order,))
            notes.note(notes.committed, order, order)


class Load:
    """A run of clients until stop is set or the server is gone. survives: the codes of errors after
    which a client goes on."""

    def __init__(self, connect, seed, name, clients=8, two_phase=True, notes=None, survives=()):
        self.connect, self.seed, self.name, self.two_phase = connect, seed, name, two_phase
        self.notes = notes or Notes()
        self.survives = survives
        self.stop = threading.Event()
        self.clients = [Client(self, number) for number in range(clients)]

    def is_internal(self, order):
        return order not in self.notes.open

    def start(self):
        """Starts the clients, and waits until one was told of a payment."""
        before = len(self.notes.paid)
        for client in self.clients:
            client.start()
        deadline = time.time() + 60
        while len(self.notes.paid) == before and time.time() < deadline:
            time.sleep(0.01)
        return self

    def join(self):
        for client in self.clients:
            client.join(60)
        return [f"client {c.number} hangs" for c in self.clients if c.is_alive()]


def check(connection, notes):
    """What is wrong with the tables, by what the clients were told; repeats what was not answered."""
    cursor = connection.cursor()
    wrong = list(notes.wrong)
    cursor.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()")
    waiting = [gid for gid, in cursor]
    for gid in waiting:
        cursor.execute("COMMIT PREPARED %s", (gid,))
    cursor.execute("SELECT order_id, status, payment_id FROM payguard.orders")
    orders = {order: (status, payment) for order, status, payment in cursor}
    cursor.execute("SELECT payment_id, order_id, idempotency_key, status FROM payguard.payments")
    payments = {payment: row for payment, *row in cursor}
    for order, (key, payment) in notes.paid.items():
        if orders.get(order, (None, None))[1] != payment or payments.get(payment) != [order, key, "succeeded"]:
            wrong.append(f"lost: {order} was paid by {payment}, is {orders.get(order)}")
    for order, (key, payment) in notes.open.items():
        if payments.get(payment, [None] * 3)[:2] != [order, key]:
            wrong.append(f"lost: the attempt {payment} of {order}")
    cursor.execute("SELECT idempotency_key, order_id, refund_id FROM payguard.refunds")
    refunds = {key: (order, refund) for key, order, refund in cursor}
    for key, told in notes.refunded.items():
        if refunds.get(key) != told:
            wrong.append(f"lost: the refund {key} of {told}, is {refunds.get(key)}")
    for gid in notes.prepared:
        if orders.get(gid, ("none",))[0] != "paid":
            wrong.append(f"lost: the prepared transaction {gid}")
    cursor.execute("SELECT idempotency_key FROM payguard.payments WHERE idempotency_key = ANY (%s) UNION ALL"
                   " SELECT idempotency_key FROM payguard.refunds WHERE idempotency_key = ANY (%s)",
                   [list(notes.refused)] * 2)
    wrong += [f"{key} was answered {notes.refused[key]}, and is there" for key, in cursor]
    repeated = 0
    for order, key in notes.asked.items():
        if order in notes.paid:
            continue
        repeated += 1
        cursor.execute("SELECT status FROM payguard.create_order(%s, 100, 'EUR')", (order,))
        cursor.execute("SELECT outcome, payment_id FROM payguard.pay_order(%s, %s)", (order, key))
        outcome, payment = cursor.fetchone()
        if outcome != "paid":
            wrong.append(f"{order} was repeated and answered {outcome}")
        notes.note(notes.paid, order, (key, payment))
    cursor.execute("SELECT order_id, count(*) FROM payguard.payments WHERE status = 'succeeded'"
                   " GROUP BY 1 HAVING count(*) > 1")
    wrong += [f"twice: {row}" for row in cursor]
    cursor.execute("SELECT invariant, object, problem FROM payguard.verify() LIMIT 5")
    wrong += [f"verify(): {row}" for row in cursor]
    return wrong, repeated


def check_pages(connection):
    """amcheck on every table and index of payguard."""
    cursor = connection.cursor()
    cursor.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
    cursor.execute("""
        SELECT c.oid::regclass::text, c.relkind FROM pg_class c
        WHERE c.relnamespace = 'payguard'::regnamespace AND c.relkind IN ('r', 'i') ORDER BY 1""")
    wrong = []
    for name, kind in cursor.fetchall():
        try:
            if kind == "i":
                cursor.execute("SELECT bt_index_parent_check(%s, true, true)", (name,))
            else:
                cursor.execute("SELECT blkno, offnum, msg FROM verify_heapam(%s)", (name,))
                wrong += [f"{name}: {row}" for row in cursor]
        except psycopg2.Error as error:
            wrong.append(f"{name}: {error}".strip())
    return wrong
