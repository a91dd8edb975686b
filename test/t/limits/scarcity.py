#!/usr/bin/python3
"""Bad input and scarcity: random arguments to every function, each function cut short at every
moment, deadlocks and ended backends, counters and sequences at their end, too little memory. No
crash, no internal error, no partial effect: verify() finds nothing, and the call works when it is
made again.

PAYGUARD_CALLS (6000) random calls, PAYGUARD_SEED.
"""
import os
import random
import re
import sys
import threading
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
from cluster import Cluster  # noqa: E402
from tap import Tap, choose_seed  # noqa: E402

MAX = 2**63 - 1
TEXTS = ["", "a", "x" * 255, "x" * 256, "x" * 5000, "a\tb", "\u0085", "é" * 127, "é" * 128, "NULL", "'", '"',
         "order-1", "order-2", "order-3", "key-1", "key-2", "card", "internal", "T1", "EUR", "USD", "eur",
         "EURO", "refund", "chargeback", "succeeded", "failed", "pending", "not_found", "closed", "accept",
         "charge", "flag", "hold", "channel", "note", "100%", "\U0001f4b6"]
VALUES = {
    "text": TEXTS, "name": ["checkout", "postgres", "nobody", ""],
    "bigint": [0, 1, 2, 3, 99, 100, 101, -1, MAX, -MAX - 1, MAX - 1],
    "integer": [0, 1, 10, -1, 2**31 - 1, -2**31],
    "boolean": [True, False],
    "interval": ["0", "1 ms", "1 day", "-1 day", "178000000 years", "-178000000 years", "1 mon"],
    "timestamp with time zone": ["infinity", "-infinity", "2020-01-01", "2200-01-01", "294276-12-31",
                                 "4713-01-01 BC", "now"],
    "jsonb": ["{}", "[]", "null", '{"a": [1, {"b": null}]}', '"x"', "1e1000",
              '{"second_charge_of": "x", "amount": "many"}'],
    "bytea": [b"", b"\x00\xff", b"x" * 3000],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "text[]": [[], ["charge"], ["card", None], ["nonsense"]],
}
# what bad input may be told; everything else is a defect
ALLOWED = ("PY", "22", "40001", "42501", "55P03", "0A000", "25001", "2D000", "3F000", "42704", "42P01")
# and what a function says that it answers
PROMISED = {("payguard.erase_customer", "55000")}


def functions(cursor):
    """(name, argument types) of what roles may call; procedures and drops are left out."""
    cursor.execute("""
        SELECT p.oid::regproc::text, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes) t)
        FROM pg_proc p
        WHERE p.pronamespace = 'payguard'::regnamespace AND p.prokind = 'f'
          AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
          AND p.proname NOT IN ('apply_access', 'guard_table', 'unguard_table', 'start_driver_timer', 'set_policy')
        ORDER BY 1""")
    return cursor.fetchall()


def value(rnd, kind, ids):
    r = rnd.random()
    if r < 0.12:
        return None
    if kind == "uuid" and ids and r < 0.9:
        return rnd.choice(ids)
    if kind in VALUES:
        return rnd.choice(VALUES[kind])
    if kind == "payguard.pay_request[]":
        return "{" + ",".join(f'"(order-{rnd.randrange(5)},key-{rnd.randrange(9)},{rnd.choice(["", "100", "-1"])},,,)"'
                              for _ in range(rnd.randrange(4))) + "}"
    if kind == "payguard.task_answer[]":
        return "{" + ",".join(f'"({rnd.randrange(9)},00000000-0000-0000-0000-000000000000,succeeded,,,,,)"'
                              for _ in range(rnd.randrange(4))) + "}"
    return None


def random_calls(tap, server, seed, calls):
    rnd = random.Random(seed)
    connection = server.connect()
    cursor = connection.cursor()
    callable_ones = functions(cursor)
    wrong, counts, ids = [], {}, []
    for n in range(calls):
        # each without any argument first
        bare = n < len(callable_ones)
        name, kinds = callable_ones[n] if bare else rnd.choice(callable_ones)
        if n % 100 == 0:
            cursor.execute("SELECT payment_id::text FROM payguard.payments UNION ALL"
                           " SELECT refund_id::text FROM payguard.refunds")
            ids = [row[0] for row in cursor]
        arguments = [None if bare else value(rnd, kind, ids) for kind in kinds]
        # most calls should get further than the first check
        for i, kind in enumerate(kinds):
            if kind == "text" and not bare and rnd.random() < 0.5:
                arguments[i] = rnd.choice(["order-1", "order-2", "key-1", "card", "EUR", "succeeded"])
        sql = f"SELECT * FROM {name}(" + ", ".join(f"%s::{kind}" for kind in kinds) + ") LIMIT 50"
        try:
            cursor.execute(sql, arguments)
            counts["answered"] = counts.get("answered", 0) + 1
        except psycopg2.Error as error:
            code = error.pgcode or "lost"
            counts[code[:2]] = counts.get(code[:2], 0) + 1
            if not code.startswith(ALLOWED) and (name, code) not in PROMISED:
                wrong.append(f"{code} from {name}{tuple(arguments)}: {error}".strip()[:400])
            elif code.startswith("22") and not error.diag.message_hint and code not in ("22P02", "22007", "22008"):
                counts["without a hint"] = counts.get("without a hint", 0) + 1
            if connection.closed:
                wrong.append(f"the server is gone after {name}{tuple(arguments)}")
                break
    print("# ", counts)
    tap.ok(not wrong, f"{calls} random calls of {len(callable_ones)} functions: no internal error, no crash",
           wrong)
    tap.ok(counts.get("answered", 0) > calls // 20 and counts.get("PY", 0) > calls // 50,
           "some were answered, and some refused")


def sound(tap, server, after):
    cursor = server.connect().cursor()
    cursor.execute("SELECT * FROM payguard.verify() LIMIT 5")
    violations = cursor.fetchall()
    tap.ok(not violations, f"verify() finds nothing after {after}", violations)


# what writes nothing that could be there by halves, and what needs a driver or a dead task
NOT_IN_THE_TOUR = {
    "admin_access", "allowed_actions", "as_note", "broken_guards", "broken_rows", "call_driver", "case_actions", "case_story", "case_told", "channel_drivers", "consumer_lags", "current_actor", "decisions",
    "find_orders", "guard_bad_rows", "guard_problems", "guard_settings", "guard_triggers", "lost_guards", "major_text", "major_units", "minor_units", "money", "new_order_id", "not_in_dumps", "order_status",
    "order_timeline", "payment_curve", "payment_rates", "read_counters", "refunds_access", "requeue_task", "reset", "reset_counters", "run_tasks", "session_role",
    "state_transitions", "step_of", "support_access", "tell", "verify"}
# AFTER ROW triggers that sleep make each row that is written a moment at which the call can be cut short
NAP = """
    CREATE FUNCTION public.nap() RETURNS trigger LANGUAGE plpgsql AS
      $$ BEGIN PERFORM pg_catalog.pg_sleep(0.0008); RETURN NULL; END $$;
    DO $$ DECLARE t text; BEGIN
      FOR t IN SELECT payguard.own_tables() LOOP
        EXECUTE format('CREATE TRIGGER nap AFTER INSERT OR UPDATE OR DELETE ON payguard.%I'
                       ' FOR EACH ROW EXECUTE FUNCTION public.nap()', t);
      END LOOP; END $$"""


def tour(n):
    """Calls of every function that writes; all of them must work, whatever came of the last try."""
    def order(suffix):
        return f"tour-{n}-{suffix}"

    def payment(key):
        return f"(SELECT payment_id FROM payguard.every_payment WHERE idempotency_key = '{order(key)}')"

    def by_txn(txn):
        return f"(SELECT payment_id FROM payguard.every_payment WHERE channel_txn_id = '{order(txn)}')"

    def refund(key):
        return f"(SELECT refund_id FROM payguard.every_refund WHERE idempotency_key = '{order(key)}')"

    def create(suffix, currency="EUR"):
        return f"SELECT payguard.create_order('{order(suffix)}', 100, '{currency}', '{order('me')}')"

    def request(suffix):
        return f"SELECT payguard.request_payment('{order(suffix)}', '{order(suffix)}', 'card')"

    def paid(suffix, txn):
        return f"SELECT payguard.record_payment('{order(suffix)}', 'card', '{order(txn)}', 100, 'EUR')"

    def refused(key):
        return [f"SELECT payguard.refund_order('{order('paid')}', '{order(key)}', 5, 'x')",
                f"SELECT payguard.report_refund({refund(key)}, 'failed')"]

    def leased(suffix, call):
        return f"SELECT {call} FROM payguard.leases l WHERE l.order_id = '{order(suffix)}'"

    def boss(call):
        return f"WITH s AS MATERIALIZED (SELECT set_config('payguard.actor', 'boss', true) AS a) SELECT {call} FROM s" \
               " WHERE a = 'boss'"

    def pay(function, suffix):
        return f"SELECT payguard.{function}('{order(suffix)}', '{order(suffix)}')"

    own = f"A{chr(ord('A') + n // 26 % 26)}{chr(ord('A') + n % 26)}"
    batch = f"ARRAY[('{order('batch')}', '{order('batch')}', NULL, NULL, NULL, NULL)]::payguard.pay_request[]"
    requests = f"ARRAY[('{order('renewed')}', '{order('renewed')}', 'card', NULL, NULL, NULL, NULL, NULL, NULL)]::payguard.payment_request[]"
    claim = "SELECT count(*) FROM payguard.claim_tasks('tour', 50, '1 min', '{charge}', '{card}')"
    finding = "(SELECT alert_id FROM payguard.alerts WHERE kind = 'settlement_missing_locally'" \
              f" AND details::text ~ '{order('line')}')"
    alert = f"(SELECT min(alert_id) FROM payguard.alerts WHERE order_id = '{order('told')}')"
    return [
        f"SELECT payguard.register_channel('tour-{n}')",
        f"SELECT payguard.set_policy('TST', {n}, approve_payment := true, approve_refund := true)",
        f"SELECT payguard.import_order('{order('old')}', 100, 'EUR', 'refunded', '{order('me')}', '2024-01-01', '2024-01-01', 'card',"
        f" '{order('old')}', channel_refund_id := '{order('old')}')",
        *map(create, ("plain", "try", "batch", "renewed", "gone", "spent", "closed", "held", "started", "queued", "lost", "done", "many", "asked", "told", "paid",
                      "settled", "message", "surplus", "second", "line", "out")),
        f"SELECT payguard.update_order('{order('plain')}', 1, 90)", pay("pay_order", "plain"), pay("try_pay_order", "try"),
        f"SELECT count(*) FROM payguard.pay_orders({batch})",
        f"SELECT count(*) FROM payguard.request_payments({requests})",
        f"SELECT payguard.cancel_order('{order('gone')}')",
        f"SELECT payguard.revoke_key('{order('spent')}', '{order('spent')}')",
        f"SELECT payguard.start_payment('{order('closed')}', '{order('closed')}', 'card')",
        f"SELECT payguard.close_payment({payment('closed')})",
        f"SELECT payguard.start_payment('{order('held')}', '{order('held')}', 'card')",
        f"SELECT payguard.report_payment({payment('held')}, 'authorized')",
        f"SELECT payguard.capture_payment({payment('held')})",
        f"SELECT payguard.try_start_payment('{order('started')}', '{order('started')}', 'card')",
        f"SELECT payguard.try_request_payment('{order('queued')}', '{order('queued')}', 'card')",
        *map(request, ("lost", "done", "many")), claim,
        leased("lost", "payguard.extend_lease(l.task_id, l.lease_token, '2 min')"),
        leased("lost", "payguard.retry_task(l.task_id, l.lease_token, 'no way out')"),
        leased("done", f"payguard.complete_task(l.task_id, l.lease_token, 'succeeded', '{order('done')}', 100, 'EUR')"),
        leased("many", "(SELECT count(*) FROM payguard.complete_tasks(ARRAY[(l.task_id, l.lease_token, 'succeeded',"
                       f" '{order('many')}', 100, 'EUR', NULL, NULL)]::payguard.task_answer[]))"),
        *map(request, ("asked", "told", "settled", "message")),
        f"SELECT payguard.query_payment({payment('asked')})",
        f"SELECT payguard.report_payment({payment('told')}, 'succeeded', '{order('told')}', 100, 'EUR')",
        f"SELECT payguard.settle_payment({payment('settled')}, 'failed', 'seen')",
        f"SELECT payguard.record_notification('card', '{order('message')}', channel_status := 'succeeded',"
        f" payment_id := {payment('message')}, channel_txn_id := '{order('message')}', amount := 100, currency := 'EUR')",
        paid("paid", "paid"),
        f"SELECT payguard.record_reversal('card', '{order('back')}', '{order('told')}', 'chargeback', 5, 'EUR')",
        f"SELECT payguard.cancel_order('{order('surplus')}')", paid("surplus", "surplus"),
        f"SELECT payguard.accept_surplus({by_txn('surplus')}, 'theirs')",
        paid("second", "second"), paid("second", "again"),
        f"SELECT payguard.dismiss_surplus({by_txn('again')}, {by_txn('second')}, 'the same')",
        f"SELECT payguard.refund_payment({by_txn('second')}, '{order('part')}', 20, 'x')",
        *refused("retry"), f"SELECT payguard.retry_refund({refund('retry')}, 'once more')",
        *refused("waive"), f"SELECT payguard.waive_refund({refund('waive')}, 'theirs')",
        f"SELECT payguard.settle_refund({refund('retry')}, 'succeeded', 'seen')",
        create("asks", own), f"SELECT payguard.set_policy('{own}', 1, approve_payment := true)",
        f"SELECT payguard.request_approval('{order('asks')}', 'please')",
        create("high", "TST"), boss(f"payguard.approve_order('{order('high')}', 'fine')"), pay("pay_order", "high"),
        f"SELECT payguard.refund_order('{order('high')}', '{order('yes')}', 5, 'x')",
        boss(f"payguard.approve_refund({refund('yes')}, 'fine')"),
        f"SELECT payguard.refund_order('{order('high')}', '{order('no')}', 5, 'x')",
        boss(f"payguard.reject_refund({refund('no')}, 'no')"),
        create("higher", "TST"), boss(f"payguard.reject_order('{order('higher')}', 'no')"),
        f"INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount, currency, order_id, channel_time)"
        f" VALUES ('card', '{order('line')}', 100, 'EUR', '{order('line')}', now() - interval '2 h')",
        "SELECT count(*) FROM payguard.reconcile('card', now() - interval '1 day', now(), '1 h')",
        f"SELECT payguard.resolve_finding({finding}, 'accept', 'it is there')",
        f"SELECT payguard.acknowledge_alert({alert}, 'seen')", f"SELECT payguard.resolve_alert({alert}, 'done')",
        f"SELECT payguard.reopen_order('{order('told')}', 'pay again')",
        f"SELECT payguard.record_reinstatement('card', '{order('back')}')",
        f"WITH r AS MATERIALIZED (SELECT * FROM payguard.read_events('tour-{n}', 5)) SELECT payguard.commit_events("
        f"'tour-{n}', max(window_id), max(event_id)) FROM r",
        f"SELECT payguard.drop_consumer('tour-{n}')",
        f"SELECT payguard.create_order('{order('late')}', 1, 'EUR', NULL, clock_timestamp() + '1 s')",
        "SELECT payguard.expire_orders(100)", "SELECT payguard.match_notifications(100)",
        "SELECT count(*) FROM payguard.maintain(100)", "SELECT payguard.archive_orders(clock_timestamp(), 5)",
        f"SELECT payguard.create_order('{order('erased')}', 1, 'EUR', '{order('she')}')",
        f"SELECT payguard.cancel_order('{order('erased')}')", f"SELECT payguard.erase_customer('{order('she')}')",
        f"CREATE TABLE IF NOT EXISTS shop_{n} (id int PRIMARY KEY, status text NOT NULL)",
        f"SELECT count(*) FROM payguard.guard_table('shop_{n}', 'status', '{{\"new\": [\"done\"], \"done\": []}}')",
        f"SELECT payguard.unguard_table('shop_{n}')",
        "SELECT payguard.sync_rows(max := 5)", "SELECT payguard.run_verify()",
    ]


def called(sql):
    return set(re.findall(r"payguard\.(\w+)\(", sql))


def cut_short(tap, server):
    """statement_timeout from 1 to 50 ms across every function that writes, while others hold the orders' locks
    now and then."""
    cursor = server.connect().cursor()
    cursor.execute("SELECT DISTINCT p.proname FROM payguard.access_functions() f"
                   " JOIN pg_proc p ON p.oid = f.function::regprocedure")
    missing = {name for name, in cursor} - NOT_IN_THE_TOUR - set().union(*map(called, tour(0)))
    tap.ok(not missing, "the tour calls each function that some access may call and that writes", [missing])
    cursor.execute(NAP)
    stop = threading.Event()

    def disturb():
        other = server.connect().cursor()
        while not stop.is_set():
            other.execute("BEGIN; SELECT count(*) FROM (SELECT 1 FROM payguard.orders WHERE order_id LIKE 'tour-%'"
                          " AND order_id !~ '(lost|done|many)$'"       # a claim would leave them out
                          " ORDER BY updated_at DESC LIMIT 3 FOR UPDATE SKIP LOCKED) o;"
                          " SELECT pg_sleep(0.004); COMMIT")

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    cuts, made = {}, 0
    wrong = []
    # (these may have had nothing to do)
    wanted = set().union(*map(called, tour(0))) - {"archive_orders", "expire_orders", "match_notifications", "sync_rows"}
    limits = [1, 1, 2, 4, 7, 12, 25, 50]
    for n, limit in enumerate(limits + [1] * 16):       # more of them where one was too fast by chance
        if n >= len(limits) and wanted <= set(cuts):
            break
        for sql in tour(n):
            for attempt in range(20):
                try:
                    # (a time-out of the call before may arrive as late as here)
                    cursor.execute(f"SET statement_timeout = {limit + attempt if attempt < 5 else 0}")
                    cursor.execute(sql)
                    made += 1
                    if cursor.rowcount == 0:
                        wrong.append(f"nothing is called by {sql}")
                    break
                except psycopg2.Error as error:
                    if error.pgcode != "57014":
                        wrong.append(f"{error.pgcode}: {error} of {sql}".strip())
                        break
                    for function in called(sql):
                        cuts[function] = cuts.get(function, 0) + 1
    cursor.execute("SET statement_timeout = 0")
    stop.set()
    thread.join(10)
    cursor.execute("DROP FUNCTION public.nap() CASCADE")
    tap.ok(not wrong and made, f"{sum(cuts.values())} calls cut short by statement_timeout, all work when made again"
           f" ({made})", wrong)
    tap.ok(wanted <= set(cuts), f"each of {len(cuts)} functions was cut short", [wanted - set(cuts)])


class Stormer(threading.Thread):
    """Transactions that write about several orders, in any order: they run into each other. Each writes
    payments under names of its own, so that it shows what of it is there."""

    def __init__(self, server, number, seed, stop):
        super().__init__(daemon=True)
        self.server, self.number, self.stop = server, number, stop
        self.rnd = random.Random(f"{seed} {number}")
        self.done, self.not_done, self.wrong = [], [], []
        self.pid, self.deadlocks, self.lost, self.ended = None, 0, 0, False

    def run(self):
        n = 0
        while not self.stop.is_set():
            connection = psycopg2.connect(self.server.dsn + " options='-c deadlock_timeout=10ms'")
            connection.autocommit = True
            cursor = connection.cursor()
            self.pid = connection.get_backend_pid()
            while not self.stop.is_set() and not connection.closed:
                n += 1
                self.transaction(cursor, [f"storm-{self.number}-{n}-{i}" for i in range(3)])
        self.ended = True

    def transaction(self, cursor, names):
        committing = False
        try:
            cursor.execute("BEGIN")
            for name, order in zip(names, self.rnd.sample(range(5), 3)):
                cursor.execute("SELECT outcome FROM payguard.record_payment(%s, 'card', %s, 100, 'EUR')",
                               (f"storm-{order}", name))
                if self.rnd.random() < 0.3:
                    cursor.execute("SELECT count(*) FROM payguard.claim_tasks('storm', 2, '1 ms')")
            committing = True
            cursor.execute("COMMIT")
            self.done.append(names)
        except psycopg2.Error as error:
            if error.pgcode not in ("40P01", "57P01", None):
                self.wrong.append(f"{error.pgcode}: {error}".strip())
            self.deadlocks += error.pgcode == "40P01"
            if not committing:
                self.not_done.append(names)
            self.roll_back(cursor)

    def roll_back(self, cursor):
        try:
            cursor.execute("ROLLBACK")
        except psycopg2.Error:
            self.lost += 1
            cursor.connection.close()


def enough(stormers):
    return sum(s.deadlocks for s in stormers) > 10 and sum(s.lost for s in stormers) > 5 and \
        sum(len(s.done) for s in stormers) > 10


def storm(tap, server, seed):
    """Deadlocks one after another, and backends ended at random: a transaction is there, or nothing of it."""
    cursor = server.connect().cursor()
    cursor.execute("SELECT count(payguard.create_order('storm-' || i, 100, 'EUR')) FROM generate_series(0, 4) i")
    stop = threading.Event()
    rnd = random.Random(seed)
    stormers = [Stormer(server, n, seed, stop) for n in range(8)]
    for stormer in stormers:
        stormer.start()
    began = time.time()
    while time.time() < began + 5 or (time.time() < began + 60 and not enough(stormers)):
        time.sleep(rnd.uniform(0.05, 0.2))
        cursor.execute("SELECT pg_terminate_backend(%s)", (rnd.choice(stormers).pid,))
    stop.set()
    hangs = []
    for stormer in stormers:
        stormer.join(60)
        hangs += [f"client {stormer.number} hangs"] if stormer.is_alive() else []
        hangs += [] if stormer.ended else [f"client {stormer.number} did not come to its end"]
    cursor.execute("SELECT channel_txn_id FROM payguard.every_payment WHERE channel_txn_id LIKE 'storm-%'")
    there = {name for name, in cursor}
    wrong = hangs + sum((s.wrong for s in stormers), [])
    wrong += [f"{names} were committed, and are not there" for s in stormers for names in s.done
              if not there.issuperset(names)]
    wrong += [f"something of {names} is there" for s in stormers for names in s.not_done if there & set(names)]
    deadlocks, lost = sum(s.deadlocks for s in stormers), sum(s.lost for s in stormers)
    done = sum(len(s.done) for s in stormers)
    tap.ok(not wrong, f"{deadlocks} deadlocks, {lost} backends ended, {done} transactions done: whole, or nothing of them",
           wrong)
    tap.ok(enough(stormers), "there were deadlocks, and backends were ended")


def at_the_end(tap, server):
    """The version and the sequences at their maximum: a clear error, and nothing written."""
    cursor = server.connect().cursor()
    order = "last"
    cursor.execute("INSERT INTO payguard.orders (order_id, amount, currency, status, version, refunded_amount,"
                   " created_at, updated_at) VALUES (%s, 1, 'EUR', 'unpaid', %s, 0, now(), now())",
                   (order, MAX))
    for call in ("try_pay_order(%s, %s)", "start_payment(%s, %s, 'card')"):
        try:
            cursor.execute(f"SELECT outcome, version FROM payguard.{call}", (order, order))
            tap.ok(False, f"no version after the last: {call}", [cursor.fetchone()])
        except psycopg2.Error as error:
            tap.ok(error.pgcode == "22003", f"no version after the last: {call}", [error])
    cursor.execute("SELECT status, version FROM payguard.orders WHERE order_id = %s", (order,))
    row = cursor.fetchone()
    tap.ok(row == ("unpaid", MAX), "and the order is as it was", [row])
    cursor.execute("SELECT count(*) FROM payguard.payments WHERE order_id = %s", (order,))
    tap.ok(cursor.fetchone() == (0,), "and has no payment")
    cursor.execute("SET payguard.allow_unsafe_ddl = on")
    cursor.execute("SELECT count(payguard.create_order(o, 1, 'EUR')) FROM unnest('{events,tasks,alerts}'::text[]) o")
    cursor.execute("SELECT payguard.set_policy('END', 0, approve_payment := true)")
    calls = {
        "events_event_id_seq": "SELECT payguard.pay_order('events', 'events')",
        "tasks_task_id_seq": "SELECT payguard.request_payment('tasks', 'tasks', 'card')",
        "approvals_approval_id_seq": "SELECT payguard.create_order('approvals', 1, 'END')",
        "alerts_alert_id_seq": "SELECT payguard.record_payment('alerts', 'card', 'alerts', 2, 'EUR')",
        "settlement_lines_line_id_seq": "INSERT INTO payguard.settlement_lines (channel, channel_txn_id, amount,"
                                        " currency, channel_time) VALUES ('card', 'lines', 1, 'EUR', now())"}
    cursor.execute("SELECT array_agg(sequencename::text) FROM pg_sequences WHERE schemaname = 'payguard'")
    all_of_them, = cursor.fetchone()
    tap.ok(set(all_of_them) == set(calls), "each sequence is tried", [all_of_them])
    rows = "SELECT (SELECT count(*) FROM payguard.orders), (SELECT count(*) FROM payguard.payments)," \
           " (SELECT count(*) FROM payguard.events), (SELECT count(*) FROM payguard.settlement_lines)"
    for sequence, sql in calls.items():
        cursor.execute(f"SELECT last_value FROM payguard.{sequence}")
        before = cursor.fetchone()[0]
        cursor.execute(rows)
        there = cursor.fetchone()
        cursor.execute(f"SELECT setval('payguard.{sequence}', {MAX})")
        try:
            cursor.execute(sql)
            tap.ok(False, f"{sequence} is at its end")
        except psycopg2.Error as error:
            tap.ok(error.pgcode == "2200H", f"{sequence} is at its end", [error])
        cursor.execute(f"SELECT setval('payguard.{sequence}', {before})")
        cursor.execute(rows)
        now = cursor.fetchone()
        tap.ok(now == there, "and nothing is written", [there, now])
        try:
            cursor.execute(sql)
            tap.ok(True, "where it goes on, the call works")
        except psycopg2.Error as error:
            tap.ok(False, "where it goes on, the call works", [error])
    cursor.execute("SET payguard.allow_unsafe_ddl = off")


def little_memory(tap, server):
    """A backend that may not grow: out of memory is an error like any other."""
    cursor = server.connect().cursor()
    pid = cursor.connection.get_backend_pid()
    cursor.execute("SELECT payguard.order_status('order-1')")
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        size = int(file.read().split()[0]) * 4096
    failed, wrong = 0, []
    for spare in (1 << 20, 2 << 20, 4 << 20, 8 << 20, 16 << 20):
        os.system(f"prlimit --pid {pid} --as={size + spare}:")
        for n in (10, 1000, 20000):
            try:
                cursor.execute("SELECT count(*) FROM payguard.pay_orders(ARRAY(SELECT ROW('order-' || i, 'many-' || i,"
                               f" NULL, NULL, NULL, NULL)::payguard.pay_request FROM generate_series(1, {n}) i))")
            except psycopg2.Error as error:
                failed += 1
                if error.pgcode not in ("53200", "54000"):
                    wrong.append(f"{error.pgcode}: {error}".strip())
                if cursor.connection.closed:
                    cursor = server.connect().cursor()
                    pid = cursor.connection.get_backend_pid()
    os.system(f"prlimit --pid {pid} --as=unlimited:")
    tap.ok(failed and not wrong, f"out of memory {failed} times: an error, and the session goes on", wrong)
    cursor.execute("SELECT count(*) FROM payguard.pay_orders(ARRAY(SELECT ROW('order-' || i, 'many-' || i,"
                   " NULL, NULL, NULL, NULL)::payguard.pay_request FROM generate_series(1, 20000) i))")
    tap.ok(cursor.fetchone() == (20000,), "and with memory it works")


def main():
    seed = choose_seed()
    calls = int(os.environ.get("PAYGUARD_CALLS") or 6000)
    tap = Tap()
    with Cluster() as server:
        cursor = server.connect().cursor()
        cursor.execute("CREATE EXTENSION payguard")
        cursor.execute("SELECT payguard.register_channel('card', first_query_after := '0 s')")
        cursor.execute("SELECT count(payguard.create_order('order-' || i, 100, 'EUR')) FROM generate_series(1, 9) i")
        cut_short(tap, server)
        sound(tap, server, "calls that were cut short")
        storm(tap, server, seed)
        sound(tap, server, "a storm of deadlocks")
        random_calls(tap, server, seed, calls)
        sound(tap, server, "random calls")
        little_memory(tap, server)
        sound(tap, server, "too little memory")
        at_the_end(tap, server)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
