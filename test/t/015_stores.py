#!/usr/bin/python3
"""The two stores do the same: random calls go to both, and all that can be seen is compared.

Two databases of one server differ in payguard.store alone. Each call's result or error (every
field of it), what waits and what it gets afterwards, the rows of every table, what users' triggers
saw, and what logical decoding makes of it must be equal, ids and times aside, at each isolation
level and with all kinds of objects that users may put on our tables.

At last orders are paid while indexes and triggers come and go, and no index may miss a row.

PAYGUARD_SEED repeats a choice of calls, PAYGUARD_CALLS is their number in each part, PAYGUARD_SECONDS
how long the last part runs, PAYGUARD_PARTS="nothing;storm" chooses.
"""
import json
import os
import random
import re
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "sim"))
sys.dont_write_bytecode = True

import psycopg2
import psycopg2.extensions

from cluster import Cluster

SEED = int(os.environ.get("PAYGUARD_SEED") or random.SystemRandom().randrange(10**9))
CALLS = int(os.environ.get("PAYGUARD_CALLS") or 100)
SECONDS = float(os.environ.get("PAYGUARD_SECONDS") or 4)
STORES = ["spi", "heap"]
LEVELS = ["read committed", "repeatable read", "serializable"]

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\w{3} \w{3} +\d+ \d\d:\d\d:\d\d(\.\d+)? \d{4} \w+"
                  r"|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?[+-]\d\d(:\d\d)?")

HASH = re.compile(r"\b[0-9a-f]{64}\b")     # of a message, whose text names ids
BYTES = re.compile(r"\\\\x(7b[0-9a-f]+)")

# What users may put on our tables: on some of it the heap store gives way.
OBJECTS = {
    "nothing": "",
    "AFTER ROW triggers": """
        CREATE TRIGGER t_all AFTER INSERT OR UPDATE OR DELETE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION app.see();
        CREATE TRIGGER t_of AFTER UPDATE OF status ON payguard.orders FOR EACH ROW EXECUTE FUNCTION app.see();
        CREATE TRIGGER t_of_amount AFTER UPDATE OF amount, expires_at ON payguard.orders FOR EACH ROW EXECUTE FUNCTION app.see();
        CREATE TRIGGER t_when AFTER UPDATE ON payguard.orders FOR EACH ROW
          WHEN (OLD.status IS DISTINCT FROM NEW.status AND NEW.version > 2) EXECUTE FUNCTION app.see();
        CREATE TRIGGER t_pay AFTER INSERT OR UPDATE OF status, received_amount ON payguard.payments FOR EACH ROW EXECUTE FUNCTION app.see();
        CREATE TRIGGER t_event AFTER INSERT ON payguard.events FOR EACH ROW EXECUTE FUNCTION app.see();
        CREATE CONSTRAINT TRIGGER t_late AFTER INSERT OR UPDATE ON payguard.orders DEFERRABLE INITIALLY DEFERRED
          FOR EACH ROW EXECUTE FUNCTION app.see();
        CREATE TRIGGER t_off AFTER UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION app.see();
        ALTER TABLE payguard.orders DISABLE TRIGGER t_off;
        CREATE TRIGGER t_raise AFTER INSERT ON payguard.payments FOR EACH ROW WHEN (NEW.amount = 103) EXECUTE FUNCTION app.refuse();
        CREATE TRIGGER t_raise_event AFTER INSERT ON payguard.events FOR EACH ROW
          WHEN (NEW.kind = 'order.cancelled' AND NEW.version = 3) EXECUTE FUNCTION app.refuse()""",
    "foreign keys": """
        CREATE TABLE app.child (order_id text COLLATE "C" REFERENCES payguard.orders, payment_id uuid REFERENCES payguard.payments);
        CREATE TRIGGER t_child AFTER INSERT ON payguard.orders FOR EACH ROW EXECUTE FUNCTION app.make_child();
        CREATE TRIGGER t_child AFTER INSERT ON payguard.payments FOR EACH ROW EXECUTE FUNCTION app.make_child()""",
    "unique indexes": """
        CREATE UNIQUE INDEX one_amount ON payguard.payments (customer(order_id), amount) WHERE status = 'succeeded';
        CREATE UNIQUE INDEX again ON payguard.payments (idempotency_key);
        CREATE INDEX plain ON payguard.orders (customer_id)""",
    "plain indexes": """
        CREATE UNIQUE INDEX one_amount ON payguard.payments (amount, created_at) WHERE status = 'succeeded';
        CREATE UNIQUE INDEX again ON payguard.payments (idempotency_key);
        CREATE UNIQUE INDEX one_of_both ON payguard.payments (amount) WHERE amount = 104;
        CREATE INDEX plain ON payguard.orders (customer_id);
        CREATE INDEX status ON payguard.orders (status) WHERE version > 2""",
    "BEFORE ROW triggers": """
        CREATE TRIGGER t_before BEFORE INSERT OR UPDATE ON payguard.orders FOR EACH ROW EXECUTE FUNCTION app.see();
        CREATE TRIGGER t_swallow BEFORE INSERT ON payguard.payments FOR EACH ROW WHEN (NEW.amount = 103) EXECUTE FUNCTION app.swallow();
        CREATE TRIGGER t_alter BEFORE UPDATE ON payguard.orders FOR EACH ROW WHEN (NEW.amount = 102) EXECUTE FUNCTION app.alter()""",
    "statement triggers": """
        CREATE TRIGGER s_orders AFTER UPDATE ON payguard.orders REFERENCING OLD TABLE AS o NEW TABLE AS n
          FOR EACH STATEMENT EXECUTE FUNCTION app.count_rows();
        CREATE TRIGGER s_payments BEFORE INSERT ON payguard.payments FOR EACH STATEMENT EXECUTE FUNCTION app.see_statement();
        CREATE TRIGGER s_events AFTER INSERT ON payguard.events FOR EACH STATEMENT EXECUTE FUNCTION app.see_statement()""",
    "row security": """
        CREATE POLICY p ON payguard.orders USING (true);
        SET payguard.allow_unsafe_ddl = on;
        ALTER TABLE payguard.orders ENABLE ROW LEVEL SECURITY;
        RESET payguard.allow_unsafe_ddl""",
    "triggers that call payguard": """
        CREATE TRIGGER t_pay_next AFTER UPDATE OF status ON payguard.orders FOR EACH ROW
          WHEN (NEW.status = 'paid') EXECUTE FUNCTION app.pay_next();
        CREATE TRIGGER t_again AFTER INSERT ON payguard.payments FOR EACH ROW EXECUTE FUNCTION app.pay_again()""",
}

HELPERS = """
CREATE EXTENSION payguard;
SELECT payguard.register_channel('card'), payguard.register_channel('bank', late_success := 'accept_expired');
CREATE SCHEMA app;
CREATE TABLE app.seen (n serial, what text, depth int, old jsonb, new jsonb);
CREATE FUNCTION app.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO app.seen (what, depth, old, new) VALUES (concat_ws(' ', TG_NAME, TG_WHEN, TG_OP, TG_TABLE_NAME), pg_trigger_depth(),
    CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) - 'xid' END, CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) - 'xid' END);
  RETURN NEW; END $$;
CREATE FUNCTION app.see_statement() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO app.seen (what) VALUES (concat_ws(' ', TG_NAME, TG_WHEN, TG_OP, TG_TABLE_NAME)); RETURN NULL; END $$;
CREATE FUNCTION app.count_rows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  INSERT INTO app.seen (what, old, new) SELECT TG_NAME, to_jsonb(o), to_jsonb(n) FROM o FULL JOIN n USING (order_id); RETURN NULL; END $$;
CREATE FUNCTION app.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  RAISE EXCEPTION 'not this one' USING ERRCODE = '22012', DETAIL = TG_NAME, CONSTRAINT = 'app_rule'; END $$;
CREATE FUNCTION app.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE FUNCTION app.alter() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.amount := 7; RETURN NEW; END $$;
CREATE FUNCTION app.make_child() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF TG_TABLE_NAME = 'orders' THEN INSERT INTO app.child VALUES (NEW.order_id);
  ELSE INSERT INTO app.child VALUES (NEW.order_id, NEW.payment_id); END IF; RETURN NULL; END $$;
CREATE FUNCTION public.customer(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT left($1, 3) $$;
CREATE FUNCTION app.pay_next() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF pg_trigger_depth() < 3 THEN
    PERFORM payguard.create_order(NEW.order_id || '+', 1, 'EUR');
    PERFORM payguard.try_pay_order(NEW.order_id || '+', 'next ' || NEW.order_id || NEW.version);
  END IF;
  RETURN NULL; END $$;
CREATE FUNCTION app.pay_again() RETURNS trigger LANGUAGE plpgsql AS $$ DECLARE r payguard.payment_result; BEGIN
  IF NEW.idempotency_key IS NOT NULL AND pg_trigger_depth() < 3 THEN
    r := payguard.try_pay_order(NEW.order_id, NEW.idempotency_key);
    INSERT INTO app.seen (what) VALUES (concat_ws(' ', 'inside:', r.outcome, r.order_status, r.replayed));
  END IF;
  RETURN NULL; END $$;
"""


class Tap:
    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, *notes):
        self.count += 1
        self.failed += not good
        print(("ok" if good else "not ok"), self.count, "-", name)
        if not good:
            for note in notes:
                print("#  ", str(note).replace("\n", "\n#    "))
        sys.stdout.flush()


class Side:
    """One store: a database, two sessions, and the ids that it has given out."""

    def __init__(self, cluster, store, part):
        self.store = store
        self.database = f"{store}_{part}"
        self.cluster = cluster
        admin = cluster.connect()
        admin.cursor().execute(f"CREATE DATABASE {self.database}")
        admin.cursor().execute(f"ALTER DATABASE {self.database} SET payguard.store = {store}")
        admin.close()
        self.names = {}     # uuid → its name
        self.ids = []       # the uuids, by number
        self.admin = self.connect()
        self.execute(self.admin, HELPERS)
        self.sessions = [self.connect(), self.connect()]

    def connect(self):
        connection = self.cluster.connect(self.database)
        connection.cursor().execute("LOAD 'payguard'")
        return connection

    def execute(self, connection, sql, values=None):
        """The rows, or the error; ids and times by their names."""
        cursor = connection.cursor()
        try:
            cursor.execute(sql.replace("{store}", self.store), values)
            return self.masked([list(row) for row in cursor.fetchall()] if cursor.description else "done")
        except psycopg2.Error as error:
            d = error.diag
            return self.masked(["error", error.pgcode, d.message_primary, d.message_detail, d.message_hint,
                                d.schema_name, d.table_name, d.column_name, d.constraint_name])

    def masked(self, value):
        text = BYTES.sub(lambda found: json.dumps(bytes.fromhex(found.group(1)).decode())[1:-1],
                         json.dumps(value, default=str))
        return json.loads(HASH.sub("<hash>", TIME.sub("<time>", UUID.sub(self.name, text))))

    def name(self, match):
        uuid = match.group(0)
        if uuid not in self.names:
            self.names[uuid] = f"<id {len(self.names)}>"
            self.ids.append(uuid)
        return self.names[uuid]

    def tables(self):
        """Every row of every table. Events come first, by their number, and give the ids their names. The
        number itself is a sequence's: what fails may or may not have drawn one."""
        found = {"events": self.execute(self.admin, """SELECT to_jsonb(t) - 'xid' - 'event_id',
            dense_rank() OVER (ORDER BY xid) FROM payguard.events t ORDER BY event_id""")}
        for (table,) in self.execute(self.admin, "SELECT * FROM payguard.own_tables() t (name) ORDER BY name"):
            if table != "events":
                rows = self.execute(self.admin, f"SELECT to_jsonb(t) - 'lease_token' FROM payguard.{table} t")
                found[table] = sorted(rows, key=json.dumps)
        found["seen"] = self.execute(self.admin, "SELECT what, depth, old, new FROM app.seen ORDER BY n")
        return found


class Part:
    """One kind of users' objects, on both sides."""

    def __init__(self, cluster, tap, number, name):
        self.tap, self.name = tap, name
        self.rnd = random.Random(f"{SEED} {name}")
        self.sides = [Side(cluster, store, number) for store in STORES]
        self.wrong = []
        self.kinds = {}
        for side in self.sides:
            for statement in OBJECTS[name].split(";\n"):
                if statement.strip():
                    answer = side.execute(side.admin, statement)
                    if answer[:1] == ["error"]:
                        raise RuntimeError(f"{statement}: {answer}")
            side.execute(side.admin, f"SELECT pg_create_logical_replication_slot('{side.database}', 'test_decoding')")

    def both(self, session, sql, values=()):
        """Runs a call in a session of both sides, and compares."""
        answers = [side.execute(side.sessions[session], sql, self.values(side, values)) for side in self.sides]
        self.compare(sql, values, answers)
        return answers[0]

    def compare(self, sql, values, answers):
        answer = answers[0]
        kind = answer[1] if answer[:1] == ["error"] else "answered"
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if answers[0] != answers[1]:
            self.wrong.append(f"{sql} {values}\n{STORES[0]}: {answers[0]}\n{STORES[1]}: {answers[1]}")

    @staticmethod
    def values(side, values):
        """A number of an id stands for the side's own."""
        return [side.ids[v[1]] if isinstance(v, tuple) else v for v in values]

    def order(self):
        return f"o{self.rnd.randrange(self.first, self.first + 6)}"

    def key(self, order):
        r = self.rnd.random()
        return (f"{order}/{self.rnd.randrange(3)}" if r < 0.8 else f"x{self.rnd.randrange(6)}")

    def id(self):
        ids = min(len(side.ids) for side in self.sides)
        return ("id", self.rnd.randrange(max(0, ids - 12), ids)) if ids else "01890000-0000-7000-8000-000000000000"

    first = 0

    def call(self):
        """A random call: SQL and its arguments."""
        rnd = self.rnd
        self.first += rnd.random() < 0.15
        order = self.order()
        maybe = lambda value, chance=0.3: value if rnd.random() < chance else None
        amount = 100 + int(order[1:]) % 5
        channel = rnd.choice(["card", "card", "bank", "none", "internal"])
        status = rnd.choice(["succeeded", "succeeded", "failed", "closed", "pending", "unknown", "not_found"])
        if rnd.random() < 0.2:
            return ("SELECT * FROM payguard.create_order(%s, %s, 'EUR', %s)", [order, amount, "c" + order])
        return rnd.choice([
            ("SELECT * FROM payguard.create_order(%s, %s, 'EUR', %s, '2100-01-01 UTC')", [order, amount, "c" + order]),
            ("SELECT * FROM payguard.pay_order(%s, %s, %s, %s, %s)",
             [order, self.key(order), maybe(amount), maybe("EUR"), maybe(rnd.randrange(1, 4), 0.1)]),
            ("SELECT * FROM payguard.pay_order(%s, %s)", [order, self.key(order)]),
            ("SELECT * FROM payguard.try_pay_order(%s, %s, %s)", [order, self.key(order), maybe(rnd.randrange(99, 106), 0.1)]),
            ("SELECT * FROM payguard.pay_orders(ARRAY[" + ", ".join(["(%s, %s, NULL, NULL, NULL, NULL)"] * 4)
             + "]::payguard.pay_request[])", [v for _ in range(4) for o in [self.order()] for v in (o, self.key(o))]),
            ("SELECT count(*) FROM (SELECT payguard.try_pay_order(o, o || '/' || k) FROM unnest(%s) o, generate_series(1, 2) k) s",
             [[self.order(), self.order()]]),
            ("SELECT * FROM payguard.start_payment(%s, %s, %s)", [order, self.key(order), channel]),
            ("SELECT * FROM payguard.request_payment(%s, %s, %s, details := '{\"a\": [1, 2]}')", [order, self.key(order), channel]),
            ("SELECT * FROM payguard.close_payment(%s)", [self.id()]),
            ("SELECT * FROM payguard.report_payment(%s, %s, %s, %s, %s)",
             [self.id(), status, maybe(f"t{rnd.randrange(self.first, self.first + 8)}", 0.6), *(maybe([amount, "EUR"], 0.5) or [None, None])]),
            ("SELECT * FROM payguard.record_payment(%s, %s, %s, %s, 'EUR')",
             [order, channel, f"t{rnd.randrange(self.first, self.first + 8)}", amount]),
            ("SELECT * FROM payguard.cancel_order(%s, %s)", [order, maybe(rnd.randrange(1, 4))]),
            ("SELECT * FROM payguard.update_order(%s, %s, %s)", [order, rnd.randrange(1, 4), 100 + rnd.randrange(5)]),
            ("SELECT * FROM payguard.revoke_key(%s, %s)", [order, self.key(order)]),
            ("SELECT * FROM payguard.order_status(%s)", [order]),
            ("SELECT * FROM payguard.refund_order(%s, %s, %s, 'returned')", [order, "r" + self.key(order), maybe(rnd.randrange(1, 60))]),
            ("SELECT * FROM payguard.report_refund(%s, %s)", [self.id(), status]),
        ])

    def transaction(self):
        """Several calls in one transaction, some of them taken back."""
        rnd = self.rnd
        self.both(0, f"BEGIN ISOLATION LEVEL {rnd.choice(LEVELS)}" + (" READ ONLY" if rnd.random() < 0.1 else ""))
        for n in range(rnd.randrange(1, 5)):
            self.both(0, f"SAVEPOINT s{n}")
            answer = self.both(0, *self.call())
            if answer[:1] == ["error"] or rnd.random() < 0.3:
                self.both(0, f"ROLLBACK TO s{n}")
            elif rnd.random() < 0.3:
                self.both(0, f"RELEASE s{n}")
        if rnd.random() < 0.1:
            self.both(0, "PREPARE TRANSACTION '{store}'")
            self.both(0, rnd.choice(["COMMIT", "ROLLBACK"]) + " PREPARED '{store}'")
        else:
            self.both(0, rnd.choice(["COMMIT", "COMMIT", "COMMIT", "ROLLBACK"]))

    def race(self):
        """A call that may have to wait for another transaction: whether it does, and what it gets."""
        rnd = self.rnd
        levels = [rnd.choice(LEVELS), rnd.choice(LEVELS)]
        first, second = self.call(), self.call()
        if rnd.random() < 0.6:      # the same order, if not the same call
            order = self.order()
            first, second = ([sql, [order if str(v).startswith("o") and "/" not in str(v) else v for v in values]]
                             for sql, values in (first, second))
        early = rnd.random() < 0.5
        self.both(1, f"BEGIN ISOLATION LEVEL {levels[1]}")
        if early:
            self.both(1, "SELECT count(*) FROM payguard.orders")
        self.both(0, f"BEGIN ISOLATION LEVEL {levels[0]}")
        self.both(0, *first)
        waiting = [Waiting(side, second[0], self.values(side, second[1])) for side in self.sides]
        self.compare("waits: " + second[0], second[1], [["waits"] if w.waits() else ["does not wait"] for w in waiting])
        self.both(0, rnd.choice(["COMMIT", "COMMIT", "ROLLBACK"]))
        self.compare(*second, [w.answer() for w in waiting])
        self.both(1, "COMMIT")

    def run(self):
        for n in range(CALLS):
            r = self.rnd.random()
            if r < 0.6:
                self.both(0, *self.call())
            elif r < 0.8:
                self.transaction()
            else:
                self.race()
            if len(self.wrong) > 5:
                break
        self.tap.ok(not self.wrong, f"{self.name}: every answer is the same", f"PAYGUARD_SEED={SEED}", *self.wrong[:3])
        print("#", self.name, dict(sorted(self.kinds.items())))
        tables = [side.tables() for side in self.sides]
        different = [f"{name}: {row} in {STORES[i]} alone" for name in tables[0] for i in (0, 1)
                     for row in tables[i].get(name, []) if row not in tables[1 - i].get(name, [])]
        self.tap.ok(tables[0] == tables[1], f"{self.name}: every table holds the same", f"PAYGUARD_SEED={SEED}", *different[:4])
        self.tap.ok(len(tables[0]["events"]) > CALLS / 8 and (self.name not in SEEING or tables[0]["seen"]),
                    f"{self.name}: there was something to compare", len(tables[0]["events"]), len(tables[0]["seen"]))
        decoded = [self.decoded(side) for side in self.sides]
        self.tap.ok(decoded[0] == decoded[1], f"{self.name}: logical decoding shows the same",
                    *[f"{a} / {b}" for a, b in zip(*decoded) if a != b][:3])
        for side in self.sides:
            found = [problem for problem in side.execute(side.admin, "SELECT invariant, problem FROM payguard.verify()")]
            self.tap.ok(self.name in BROKEN or not found, f"{self.name}: verify() finds nothing in {side.store}", *found[:3])

    def decoded(self, side):
        rows = side.execute(side.admin, f"""SELECT data FROM pg_logical_slot_get_changes('{side.database}', NULL, NULL,
            'include-xids', 'off', 'skip-empty-xacts', 'on')""")
        return [re.sub(r"event_id\[bigint\]:\d+|xid\[xid8\]:'\d+'|lease_token\[uuid\]:'[^']+'", "", row[0]) for row in rows]

    def close(self):
        for side in self.sides:
            side.execute(side.admin, f"SELECT pg_drop_replication_slot('{side.database}')")
            for connection in side.sessions + [side.admin]:
                connection.close()


# where triggers write down what they see, and where a guard of ours is not as it was
SEEING = ["AFTER ROW triggers", "BEFORE ROW triggers", "statement triggers", "triggers that call payguard"]
BROKEN = []


class Waiting(threading.Thread):
    """A call in the second session of a side, which may wait for the first."""

    def __init__(self, side, sql, values):
        super().__init__(daemon=True)
        self.side, self.sql, self.values_ = side, sql, values
        self.result = None
        self.start()

    def run(self):
        self.result = self.side.execute(self.side.sessions[1], self.sql, self.values_)

    def waits(self):
        """Until it is done, or stands in a queue for a lock."""
        pid = self.side.sessions[1].get_backend_pid()
        cursor = self.side.admin.cursor()
        while self.is_alive():
            cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", (pid,))
            if cursor.fetchone()[0] and self.is_alive():
                return True
            time.sleep(0.001)
        return False

    def answer(self):
        self.join(60)
        return ["it hangs"] if self.is_alive() else self.result


def pay_all(side, number, end, wrong):
    """Makes and pays orders, some by another client too, until the time is over."""
    connection = side.connect()
    cursor = connection.cursor()
    rnd = random.Random(f"{SEED} {number}")
    n = 0
    while time.monotonic() < end:
        n += 1
        order = f"s{rnd.randrange(2) * number}/{n}"
        try:
            cursor.execute("SELECT payguard.create_order(%s, 1, 'EUR')", (order,))
            cursor.execute("SELECT outcome, replayed FROM payguard.try_pay_order(%s, %s)", (order, order))
            if cursor.fetchone()[0] != "paid":
                wrong.append(order)
        except psycopg2.Error as error:
            wrong.append(f"{order}: {error}")
    connection.close()


def storm(cluster, tap):
    """Orders are paid while indexes and triggers come and go: no index may miss a row."""
    side = Side(cluster, "heap", "storm")
    cursor = side.admin.cursor()
    cursor.execute("CREATE EXTENSION amcheck")
    wrong, end = [], time.monotonic() + SECONDS
    threads = [threading.Thread(target=pay_all, args=(side, n, end, wrong), daemon=True) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    rounds = 0
    try:
        while time.monotonic() < end:
            rounds += 1
            for statement in ("CREATE INDEX CONCURRENTLY c1 ON payguard.payments (created_at)",
                              "CREATE UNIQUE INDEX CONCURRENTLY c2 ON payguard.payments (idempotency_key)",
                              "CREATE TRIGGER t BEFORE INSERT ON payguard.payments FOR EACH ROW EXECUTE FUNCTION app.see()",
                              "REINDEX INDEX CONCURRENTLY payguard.payments_idempotency_key",
                              "CREATE INDEX c3 ON payguard.orders (status)",
                              "DROP TRIGGER t ON payguard.payments",
                              "CREATE TRIGGER t AFTER UPDATE ON payguard.orders FOR EACH STATEMENT EXECUTE FUNCTION app.see_statement()",
                              "VACUUM ANALYZE payguard.orders",
                              "DROP INDEX payguard.c2",
                              "REINDEX TABLE CONCURRENTLY payguard.events",
                              "DROP TRIGGER t ON payguard.orders",
                              "DROP INDEX CONCURRENTLY payguard.c1",
                              "DROP INDEX payguard.c3"):
                cursor.execute(statement)
    except psycopg2.Error as error:
        wrong.append(f"{statement}: {error}")
    for thread in threads:
        thread.join(60)
    tap.ok(not wrong, "a storm of DDL: every order is paid", *wrong[:3])
    cursor.execute("SELECT count(*) FROM payguard.payments")
    payments = cursor.fetchone()[0]
    tap.ok(rounds > 0 and payments > 50, f"a storm of DDL: there was one", rounds, payments)
    print(f"# {payments} payments, {rounds} rounds")
    cursor.execute("""SELECT c.relname, bt_index_check(c.oid, true) FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
        WHERE c.relnamespace = 'payguard'::regnamespace AND i.indisvalid""")
    tap.ok(cursor.rowcount > 10, "a storm of DDL: every index has every row")
    cursor.execute("SELECT invariant, problem FROM payguard.verify()")
    found = cursor.fetchall()
    tap.ok(not found, "a storm of DDL: verify() finds nothing", *found[:3])


def main():
    tap = Tap()
    print(f"# PAYGUARD_SEED={SEED}")
    chosen = os.environ.get("PAYGUARD_PARTS")
    with Cluster("wal_level = logical", "autovacuum = off", "max_replication_slots = 40") as cluster:
        for number, name in enumerate(OBJECTS):
            if chosen and name not in chosen.split(";"):
                continue
            part = Part(cluster, tap, number, name)
            part.run()
            part.close()
        if not chosen or "storm" in chosen:
            storm(cluster, tap)
    print(f"1..{tap.count}")
    sys.exit(tap.failed != 0)


if __name__ == "__main__":
    main()
