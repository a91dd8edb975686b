#!/usr/bin/python3
"""A shop's rows follow its orders: what a worker, a webhook, a clerk and time do to an order, the row of it shows after the
next sync_rows(). A row that is locked waits, one whose trigger fails has an alert, and neither holds up anybody: not the
other rows, not what a channel says. Clients that call in either order never deadlock with it.

PAYGUARD_SECONDS (5): for how long the clients call."""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
sys.dont_write_bytecode = True

import psycopg2

import cluster
from tap import Tap, choose_seed

SECONDS = float(os.environ.get("PAYGUARD_SECONDS") or 5)
SETUP = """
    CREATE EXTENSION payguard SCHEMA pg_catalog;
    CREATE ROLE shop LOGIN; CREATE ROLE cron LOGIN;
    SELECT payguard.grant_access('shop', access) FROM unnest('{checkout,cashier,channel,operator,refunds,owner}'::text[]) access;
    SELECT payguard.grant_access('cron', 'operator');
    SELECT payguard.register_channel('card', late_success => 'accept_expired', first_query_after => '0 s');
    CREATE SCHEMA shop AUTHORIZATION shop;
    SET SESSION AUTHORIZATION shop;
    CREATE TABLE shop.stock (id int PRIMARY KEY, n int NOT NULL);
    INSERT INTO shop.stock SELECT n, 1000000 FROM generate_series(0, 9) n;
    CREATE TABLE shop.orders (id text PRIMARY KEY, status text NOT NULL DEFAULT 'new', version bigint NOT NULL DEFAULT 0,
      total numeric NOT NULL DEFAULT 1, currency char(3) NOT NULL DEFAULT 'EUR', item int, note text);
    CREATE FUNCTION shop.take() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.note = 'closed' AND NEW.status <> OLD.status THEN
        RAISE EXCEPTION 'the warehouse is closed';
      END IF;
      -- found in the table's schema, whoever calls
      UPDATE stock SET n = n - 1 WHERE id = NEW.item AND NEW.status <> OLD.status;
      RETURN NEW;
    END
    $$;
    CREATE TRIGGER take BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.take();
    SELECT payguard.guard_table('shop.orders', 'status',
      '{"new": ["paid", "cancelled"], "paid": ["sent", "refunded", "new"], "sent": ["refunded"], "cancelled": ["paid"]}',
      version_column => 'version', initial => '{new}', order_id_column => 'id', paid_states => '{paid,sent}',
      closed_states => '{cancelled,refunded}', amount_column => 'total', currency_column => 'currency',
      follow => '{"unpaid": "new", "paid": "paid", "refunded": "refunded", "cancelled": "cancelled", "expired": "cancelled"}');
    RESET SESSION AUTHORIZATION;
"""
WORK = """
    SELECT count(*) FROM (SELECT task_id, lease_token FROM payguard.claim_tasks('worker', 100)) t
    CROSS JOIN LATERAL payguard.complete_task(t.task_id, t.lease_token, '{}', 'txn-' || t.task_id) c
"""


class Shop:
    """One session of the shop, and one of who calls maintain()."""

    def __init__(self, server):
        self.shop = server.connect(role="shop").cursor()
        self.cron = server.connect(role="cron").cursor()
        self.root = server.connect().cursor()
        self.n = 0

    def value(self, sql, *values):
        self.shop.execute(sql, values or None)
        return self.shop.fetchone()[0]

    def order(self, **more):
        """A new order and its row."""
        self.n += 1
        name = f"order-{self.n}"
        self.value("SELECT payguard.create_order(%s, 100, 'EUR', expires_at => clock_timestamp() + %s::interval)",
                   name, more.get("deadline", "1 h"))
        self.shop.execute("INSERT INTO shop.orders (id, note) VALUES (%s, %s)", (name, more.get("note")))
        return name

    def attempt(self, name):
        return self.value("SELECT payment_id FROM payguard.start_payment(%s, %s, 'card')", name, f"{name}/{time.monotonic()}")

    def row(self, name):
        return self.value("SELECT status FROM shop.orders WHERE id = %s", name)

    def sync(self):
        self.cron.execute("SELECT done, problem FROM payguard.maintain() WHERE duty = 'sync_rows'")
        return self.cron.fetchone()

    def alerts(self):
        self.root.execute("SELECT order_id FROM payguard.alerts WHERE kind = 'out_of_step' AND resolved_at IS NULL ORDER BY 1")
        return [name for name, in self.root]

    def sound(self):
        self.root.execute("SELECT * FROM payguard.verify()")
        return self.root.fetchall()


def life(shop):
    """Each way in which an order gets another status, and its row."""
    name = shop.order()
    shop.attempt(name)
    shop.value(WORK.format("succeeded"))
    yield "before sync_rows() the row is as it was", shop.row(name) == "new"
    yield "one row is moved", shop.sync() == (1, None)
    yield "paid by a worker", shop.row(name) == "paid"
    shop.root.execute("SELECT channel_txn_id FROM payguard.payments WHERE order_id = %s", (name,))
    txn = shop.root.fetchone()[0]
    shop.value("SELECT outcome FROM payguard.record_reversal('card', 'back of ' || %s, %s, 'bank_return', 100, 'EUR')", name, txn)
    shop.sync()
    yield "its money was taken back", shop.row(name) == "new"
    shop.value("SELECT outcome FROM payguard.pay_order(%s, 'once more')", name)
    shop.sync()
    yield "paid once more", shop.row(name) == "paid"
    shop.value("SELECT status FROM payguard.refund_order(%s, %s, reason => 'sent back')", name, name)
    shop.value(WORK.format("succeeded"))
    shop.sync()
    yield "refunded", shop.row(name) == "refunded"

    name = shop.order(deadline="1 s")
    late = shop.attempt(name)
    shop.value("SELECT outcome FROM payguard.report_payment(%s, 'failed')", late)
    time.sleep(1.1)
    shop.sync()
    shop.sync()
    yield "expired", shop.row(name) == "cancelled"
    shop.value("SELECT outcome FROM payguard.report_payment(%s, 'succeeded', %s)", late, f"late {name}")
    shop.sync()
    yield "paid late", shop.row(name) == "paid"

    name = shop.order()
    shop.value("SELECT status FROM payguard.cancel_order(%s)", name)
    shop.sync()
    yield "cancelled", shop.row(name) == "cancelled"

    name = shop.order()
    shop.value("SELECT outcome FROM payguard.pay_order(%s, %s)", name, name)
    yield "at once, for whoever asks", shop.value("SELECT payguard.sync_rows(%s)", name) == 1 and shop.row(name) == "paid"
    shop.shop.execute("UPDATE shop.orders SET status = 'sent', version = version + 1 WHERE id = %s", (name,))
    shop.sync()
    yield "what has gone on stays there", shop.row(name) == "sent"
    yield "there is no alert", shop.alerts() == []
    yield "verify()", shop.sound() == []


def trouble(server, shop):
    """A row that is locked, and one whose trigger fails."""
    held, closed, other = shop.order(), shop.order(note="closed"), shop.order()
    holder = server.connect(role="shop", autocommit=False).cursor()
    holder.execute("SELECT 1 FROM shop.orders WHERE id = %s FOR UPDATE", (held,))
    start = time.monotonic()
    for name in (held, closed, other):
        shop.value("SELECT outcome FROM payguard.report_payment(%s, 'succeeded', %s)", shop.attempt(name), f"txn {name}")
    first = shop.sync()
    yield "evidence and sync_rows() wait for nobody", time.monotonic() - start < 5
    yield "what is neither locked nor fails is moved", first == (1, None) and shop.row(other) == "paid"
    yield "what fails has an alert, what is locked has none", shop.alerts() == [closed]
    yield "nothing more happens", shop.sync() == (0, None)
    holder.connection.rollback()
    yield "the lock is gone: the row is right", shop.sync() == (1, None) and shop.row(held) == "paid"
    shop.shop.execute("UPDATE shop.orders SET note = NULL, version = version + 1 WHERE id = %s", (closed,))
    yield "the trigger is right: the row is", shop.sync() == (1, None) and shop.row(closed) == "paid"
    yield "and its alert is resolved", shop.alerts() == []

    # a table that somebody has locked, and a trigger that waits
    name = shop.order()
    holder.execute("LOCK TABLE shop.orders IN ACCESS EXCLUSIVE MODE")
    start = time.monotonic()
    shop.value("SELECT outcome FROM payguard.pay_order(%s, %s)", name, name)
    yield "a locked table is waited for by nobody", shop.sync() == (0, None) and time.monotonic() - start < 5
    holder.connection.rollback()
    shop.shop.execute("UPDATE shop.orders SET item = 1, version = version + 1 WHERE id = %s", (name,))
    holder.execute("SELECT 1 FROM shop.stock WHERE id = 1 FOR UPDATE")
    start = time.monotonic()
    yield "neither is a lock that a trigger needs", shop.sync() == (0, None) and time.monotonic() - start < 5
    holder.connection.rollback()
    yield "afterwards both are there", shop.sync() == (1, None) and shop.row(name) == "paid"
    yield "no alert", shop.alerts() == []


def client(server, number, seed, end, told):
    """Half of the clients call payguard first and then their row, the others the row first. Each kind has orders of its
    own, so that they do not deadlock with one another; sync_rows() moves the rows of all."""
    rnd = random.Random(seed + number)
    cursor = server.connect(role="shop", autocommit=False).cursor()
    first = number % 2 == 0
    calls = 0
    while time.monotonic() < end:
        name = f"both-{number % 2}-{rnd.randrange(30)}"
        pay = ("SELECT outcome FROM payguard.try_pay_order(%s, %s)", (name, f"{name}/{rnd.randrange(10**9)}"))
        back = ("SELECT payguard.refund_order(%s, %s, reason => 'x')", (name, f"{name}/{rnd.randrange(10**9)}"))
        row = ("UPDATE shop.orders SET note = %s, version = version + 1 WHERE id = %s", (str(rnd.random()), name))
        stock = ("SELECT n FROM shop.stock WHERE id = %s FOR UPDATE", (rnd.randrange(10),))
        call = back if rnd.random() < 0.2 else pay
        for statements in ([call, row] if first else [stock, row, call],
                           [("SELECT payguard.sync_rows(%s)", (name,))] if rnd.random() < 0.5 else [("SELECT payguard.sync_rows()", None)]):
            try:
                for sql, values in statements:
                    cursor.execute(sql, values)
                cursor.connection.commit()
                calls += 1
            except psycopg2.Error as error:
                cursor.connection.rollback()
                if not (error.pgcode or "").startswith("PY"):
                    told.append(f"{number}: {error.pgcode} {error}")
    told.append(calls)


def no_deadlock(server, shop, seed):
    for kind in range(2):
        for n in range(30):
            shop.value("SELECT payguard.create_order(%s, 100, 'EUR')", f"both-{kind}-{n}")
            shop.shop.execute("INSERT INTO shop.orders (id, item) VALUES (%s, %s)", (f"both-{kind}-{n}", n % 10))
    told, end = [], time.monotonic() + SECONDS
    threads = [threading.Thread(target=client, args=(server, n, seed, end, told), daemon=True) for n in range(8)]
    for thread in threads:
        thread.start()
    moved = 0
    while time.monotonic() < end:
        done, problem = shop.sync()
        moved += done or 0
        if problem:
            told.append(problem)
        # a channel reports money for these orders in transactions of its own
        name = f"both-{moved % 2}-{moved % 30}"
        shop.value("SELECT outcome FROM payguard.record_payment(%s, 'card', %s, 100, 'EUR')", name, f"{name} {time.monotonic()}")
    for thread in threads:
        thread.join(60)
    calls = [line for line in told if isinstance(line, int)]
    yield f"8 clients of both orders beside sync_rows() for {SECONDS:g} s: no deadlock", \
        len(calls) == 8 and len(told) == 8, [line for line in told if not isinstance(line, int)]
    for _ in range(3):
        shop.sync()
    shop.root.execute("""SELECT o.order_id, o.status, r.status FROM payguard.orders o JOIN shop.orders r ON r.id = o.order_id
        WHERE o.order_id LIKE 'both%' AND r.status <> CASE o.status WHEN 'unpaid' THEN 'new' WHEN 'expired' THEN 'cancelled' ELSE o.status END""")
    wrong = shop.root.fetchall()
    yield "each row is as its order is", wrong == [], wrong
    yield "no alert", shop.alerts() == [], shop.alerts()
    yield "verify()", shop.sound() == [], shop.sound()
    print(f"# {sum(calls)} transactions")


def main():
    tap, seed = Tap(), choose_seed()
    with cluster.Cluster() as server:
        server.connect().cursor().execute(SETUP)
        shop = Shop(server)
        tap.each(life(shop))
        tap.each(trouble(server, shop))
        tap.each(no_deadlock(server, shop, seed))
    return tap.done()


sys.exit(main())
