"""A day of a shop, told to payguard as the shop and its channels would: payments, doubled ones, refunds, and what
nobody but a person can settle. make console shows it, and the console's test clicks through it.

ana and ben resolve cases, sue reads them; their passwords are their names. Amounts are in cents.
"""
import contextlib
import datetime
import os
import socket
import subprocess

from cluster import Clock, Cluster

CONSOLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "console", "app.py")
SETUP = """
    CREATE EXTENSION payguard SCHEMA pg_catalog;
    CREATE ROLE shop LOGIN;
    CREATE ROLE ana LOGIN PASSWORD 'ana';
    CREATE ROLE ben LOGIN PASSWORD 'ben';
    CREATE ROLE sue LOGIN PASSWORD 'sue';
    SELECT payguard.grant_access('shop', access) FROM unnest('{checkout,cashier,channel,refunds}'::text[]) access;
    SELECT payguard.grant_access(role, access) FROM unnest('{ana,ben}'::text[]) role, unnest('{operator,refunds}'::text[]) access;
    SELECT payguard.grant_access('sue', 'support');
    SELECT payguard.register_channel(name, first_query_after => '1 day', alert_after => '2 h') FROM unnest('{card,paypal,transfer,wallet}'::text[]) name;
    SELECT payguard.register_channel('sepa', first_query_after => '1 day', alert_after => '10 days', reopen_on => '{}');
    SELECT payguard.set_policy('EUR', 50000, approve_refund => true);
    SELECT payguard.set_policy('EUR', 500000, approve_payment => true);
    SELECT payguard.set_policy('EUR', 1, duplicate_window => '10 min', on_duplicate => 'flag');
    SELECT payguard.resolve_alert(alert_id, 'as agreed') FROM payguard.alerts WHERE kind = 'policy_changed'
"""
PASSWORDS = """
local all postgres,shop trust
local all all scram-sha-256
"""
HOUR = 3600
START = -27 * HOUR


class Shop:
    """The day, by the server's clock."""

    def __init__(self, server, clock):
        self.root = server.connect().cursor()
        self.clock = clock
        self.offset = START
        self.root.execute(SETUP)
        self.shop = server.connect(role="shop").cursor()
        self.orders = 2000

    def wait(self, seconds):
        """The clock goes on."""
        self.offset = min(0, self.offset + seconds)
        self.clock.set(self.offset)

    def one(self, sql, *values):
        self.shop.execute(sql, values)
        return self.shop.fetchone()[0]

    def new_order(self, amount, customer=None, order=None):
        self.orders += 1
        order = order or f"{self.orders}"
        return self.one("SELECT order_id FROM payguard.create_order(%s, %s, 'EUR', %s)", order, amount,
                        customer or f"customer-{self.orders * 7 % 500 + 100}")

    def start(self, order, channel, key="1"):
        return self.one("SELECT payment_id::text FROM payguard.start_payment(%s, %s, %s)", order, f"{order}/{key}", channel)

    def report(self, payment, status, txn=None, amount=None, code=None, message=None):
        return self.one("SELECT outcome FROM payguard.report_payment(%s, %s, %s, %s, %s, code => %s, message => %s)", payment, status, txn,
                        amount, "EUR" if amount else None, code, message)

    def notify(self, channel, payment, txn, amount, body="{}"):
        return self.one("SELECT result FROM payguard.record_notification(%s, %s, %s, payment_id => %s, channel_status => 'succeeded',"
                        " channel_txn_id => %s, amount => %s, currency => 'EUR')", channel, body, f"evt_{txn}", payment, txn, amount)

    def paid(self, amount, channel="card", customer=None, order=None, txn=None):
        """An order that is paid: (order, payment)."""
        order = self.new_order(amount, customer, order)
        payment = self.start(order, channel)
        self.wait(9)
        self.notify(channel, payment, txn or f"{channel[:2]}_{order}", amount)
        return order, payment

    def maintain(self):
        self.root.execute("SELECT count(*) FROM payguard.maintain()")
        self.root.execute("SELECT payguard.run_verify()")

    def work(self, channel, status="succeeded", kinds="{refund}", amount=True):
        """A worker does what is due at a channel."""
        self.shop.execute("SELECT payguard.complete_task(task_id, lease_token, %s, 'done-' || task_id, CASE WHEN %s THEN amount END,"
                          " CASE WHEN %s THEN currency END) FROM payguard.claim_tasks('worker', 10, kinds => %s, channels => %s)",
                          (status, amount, amount, kinds, [channel]))

    # What a clerk has to look at; each answers its order.

    def paid_again(self, amount=4250, order="1042"):
        """By card, and by PayPal as well: the customer had the page open twice."""
        order = self.new_order(amount, "customer-4711", order)
        card = self.start(order, "card")
        self.wait(75)
        self.report(card, "failed", code="timeout", message="the page was left")
        paypal = self.start(order, "paypal", "2")
        self.wait(120)
        self.notify("card", card, f"ch_{order}", amount)
        self.wait(310)
        self.notify("paypal", paypal, f"PP-{order}", amount)
        return order

    def second_name(self, order="1030"):
        """One charge under two numbers: of its authorisation, and of its capture."""
        order, payment = self.paid(2990, order=order, txn=f"auth_{order}")
        self.wait(40)
        self.report(payment, "succeeded", f"capt_{order}", 2990)
        return order

    def short_transfer(self, order="1017"):
        order = self.new_order(10000, "customer-815", order)
        payment = self.start(order, "transfer")
        self.wait(2 * HOUR)
        self.report(payment, "succeeded", f"tr_{order}", 9985)
        return order

    def dead_task(self, order="1033"):
        """A refund that no worker could send: the channel does not answer."""
        order, _ = self.paid(1590, "wallet", order=order)
        self.wait(600)
        self.one("SELECT outcome FROM payguard.refund_order(%s, %s, 1590, 'sent back by the customer')", order, f"{order}/return")
        for _ in range(10):
            self.wait(5)
            self.shop.execute("SELECT payguard.retry_task(task_id, lease_token, 'connection refused by api.wallet.example', '1 us')"
                              " FROM payguard.claim_tasks('worker', 1, kinds => '{refund}', channels => '{wallet}')")
        self.maintain()
        return order

    def returned_debit(self, order="998"):
        order, _ = self.paid(8900, "sepa", "customer-42", order=order, txn=f"dd_{order}")
        self.wait(3 * HOUR)
        self.one("SELECT outcome FROM payguard.record_reversal('sepa', %s, %s, 'bank_return', 8900, 'EUR')", f"ret_{order}", f"dd_{order}")
        return order

    def large_paid_again(self, order="1050"):
        """As paid_again; so large that a second person decides."""
        return self.paid_again(62000, order)

    def ordered_twice(self, order="1061"):
        self.paid(54900, customer="customer-77", order=order)
        self.wait(150)
        order, _ = self.paid(54900, customer="customer-77", order=f"{int(order) + 1}")
        return order

    def large_order(self, order="1070"):
        return self.new_order(1249900, "customer-5", order)

    def no_answer(self, order="1055"):
        order = self.new_order(3700, "customer-31", order)
        payment = self.start(order, "paypal")
        self.wait(45)
        self.report(payment, "unknown", message="504 Gateway Timeout")
        return order

    def failed_refund(self, order="1044"):
        order, _ = self.paid(2100, order=order)
        self.wait(900)
        refund = self.one("SELECT refund_id::text FROM payguard.refund_order(%s, %s, 2100, 'arrived broken')", order, f"{order}/return")
        self.wait(60)
        self.one("SELECT outcome FROM payguard.report_refund(%s, 'failed', code => 'card_expired', message => 'the card has expired')", refund)
        return order

    def no_message(self, order="1075"):
        """Its money came, says the channel's statement; its message never did."""
        return self.new_order(3500, "customer-19", order)

    def unknown_message(self):
        self.one("SELECT result FROM payguard.record_notification('paypal', %s, 'WH-9', channel_status => 'succeeded', channel_txn_id => 'PP-9',"
                 " amount => 1200, currency => 'EUR')", b'{"event": "capture"}')

    def usual(self, count):
        """Orders that nobody has to look at."""
        for _ in range(count):
            self.wait(240)
            number = self.orders
            if number % 13 == 0:
                order = self.new_order(1000 + number * 37 % 9000)
                self.report(self.start(order, "card"), "failed", code="declined", message="insufficient funds")
                self.wait(50)
                self.report(self.start(order, "paypal", "2"), "succeeded", f"PP-{order}", 1000 + number * 37 % 9000)
            else:
                self.paid(1000 + number * 37 % 9000, ("card", "card", "paypal", "sepa")[number % 4])

    def day(self):
        """All of it, in its order."""
        self.wait(0)
        self.no_message()
        self.returned_debit()
        self.usual(25)
        self.short_transfer()
        self.usual(40)
        self.maintain()
        self.large_order()
        self.usual(20)
        self.dead_task()
        self.usual(30)
        self.failed_refund()
        self.no_answer()
        self.usual(30)
        self.second_name()
        self.ordered_twice()
        self.usual(15)
        self.maintain()
        self.unknown_message()
        self.large_paid_again()
        self.wait(HOUR)
        self.settled()
        self.wait(max(0, -self.offset - 1500))
        self.paid_again()
        self.wait(-self.offset)
        self.maintain()

    def settled(self):
        """Two cases that are over: one by itself, one by a person."""
        self.paid_again(1900, "1080")
        self.work("paypal")
        order = self.new_order(2500, "customer-8", "1081")
        payment = self.start(order, "card")
        self.report(payment, "failed", code="declined", message="insufficient funds")
        self.wait(200)
        self.report(payment, "succeeded", f"ch_{order}", 2500)
        self.maintain()
        self.root.execute("SET SESSION AUTHORIZATION ben;"
                          "SELECT payguard.resolve_alert(case_id, 'called the customer: the order is on its way')"
                          " FROM payguard.cases WHERE kind = 'late_success' AND order_id = '1081';"
                          "RESET SESSION AUTHORIZATION")


STATEMENT = """Date;Type;Transaction;Our order;Gross;Currency;Fee
{before};charge;ch_1075;1075;35,00;EUR;0,80
{today};charge;ch_1042;1042;42,50;EUR;0,90
"""


def statement():
    """What the card channel's statement has: one charge of which no message told for a day, and one that is known."""
    now = datetime.datetime.now(datetime.timezone.utc)
    return STATEMENT.format(before=f"{now - datetime.timedelta(hours=26):%Y-%m-%d %H:%M}", today=f"{now:%Y-%m-%d %H:%M}")


@contextlib.contextmanager
def lived_through(part=Shop.day):
    """A server on which the shop has had its day, or a part of it, by a clock of its own; it runs on by the machine's.
    Everybody but the superuser and the shop has a password there."""
    server = Cluster()
    clock = Clock(server.folder)
    clock.set(START)
    server.environment = clock.environment
    with server:
        part(Shop(server, clock))
        server.run("pg_ctl", "-D", server.data, "-m", "fast", "-w", "stop", environment=server.environment)
        server.environment = None
        with open(os.path.join(server.data, "pg_hba.conf"), "w", encoding="utf-8") as hba:
            hba.write(PASSWORDS)
        server.start()
        yield server


@contextlib.contextmanager
def served(server, **settings):
    """The console on a free port of the loopback; → its address, and where its log is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    log = os.path.join(server.folder, "console.log")
    with open(log, "w", encoding="utf-8") as output:
        console = subprocess.Popen(["/usr/bin/python3", CONSOLE], stderr=output, env=os.environ | {
            "PAYGUARD_CONSOLE_DSN": f"host={server.folder} port=5432 dbname=postgres", "PAYGUARD_CONSOLE_LISTEN": address,
            "PAYGUARD_CONSOLE_SHOP": "demo shop"} | settings)
    try:
        yield f"http://{address}", log
    finally:
        console.terminate()
        console.wait()
