#!/usr/bin/python3
"""Every runbook of doc/operations.md, executed: each way that it offers ends its alert.

A runbook is a section below "## Alerts", named by the alert's kind. Its first block of SQL looks,
each further one is a way to end it. Here each way gets an alert of its own, made as it comes
about in life, and is executed as an operator by psql's rules for variables.
"""
import glob
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.path.join(HERE, "..", "..", "..")
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
sys.dont_write_bytecode = True

import psycopg2

import cluster
from tap import Tap

SETUP = """
    CREATE EXTENSION payguard SCHEMA pg_catalog;
    CREATE ROLE shop LOGIN;
    CREATE ROLE oncall LOGIN;
    SELECT payguard.grant_access('shop', access) FROM unnest('{checkout,cashier,channel,operator,refunds}'::text[]) access;
    SELECT payguard.grant_access('oncall', access) FROM unnest('{operator,refunds,channel,checkout}'::text[]) access;
    SELECT payguard.register_channel('card', first_query_after => '1 h');
    SELECT payguard.register_channel('slow', alert_after => '1 ms', first_query_after => '1 h');
    SELECT payguard.set_policy('XTS', 1000, approve_payment => true);
    SELECT payguard.set_policy('CHF', 0, duplicate_window => '1 h', on_duplicate => 'flag')
"""


class Life:
    """Makes what alerts are about, as the shop."""

    def __init__(self, server):
        self.root = self.connect(server, "postgres")
        self.shop = self.connect(server, "shop")
        self.oncall = self.connect(server, "oncall")
        self.n = 0
        self.order = None
        self.repairs = "SELECT"  # what was wrong outside of payguard, and is put right

    @staticmethod
    def connect(server, role):
        return server.connect(role=role).cursor()

    def one(self, sql, *values, cursor=None):
        cursor = cursor or self.shop
        cursor.execute(sql, values)
        return cursor.fetchone()[0]

    def new_order(self, amount=500, currency="EUR", customer=None):
        self.n += 1
        self.order = f"order-{self.n}"
        self.one("SELECT order_id FROM payguard.create_order(%s, %s, %s, %s)", self.order, amount, currency, customer)

    def start(self, channel="card", key="1"):
        return self.one("SELECT payment_id::text FROM payguard.start_payment(%s, %s, %s)",
                        self.order, f"{self.order}/{key}", channel)

    def report(self, payment, status, txn=None, amount=None, currency=None):
        return self.one("SELECT outcome FROM payguard.report_payment(%s, %s, %s, %s, %s)",
                        payment, status, txn, amount, currency)

    def paid(self, channel="card"):
        """An order that was paid through a channel; → its payment"""
        self.new_order()
        payment = self.start(channel)
        self.report(payment, "succeeded", f"{self.order}/txn", 500, "EUR")
        return payment

    def refund(self, channel="card", amount=500):
        self.paid(channel)
        return self.one("SELECT refund_id::text FROM payguard.refund_order(%s, %s, %s, 'asked for')",
                        self.order, f"{self.order}/refund", amount)

    def maintain(self):
        self.one("SELECT pg_sleep(0.005)")
        self.one("SELECT count(*) FROM payguard.maintain()", cursor=self.root)
        self.one("SELECT count(*) FROM payguard.reconcile('card', grace => '0 s')", cursor=self.root)

    # one method a kind; way: which of the runbook's ways it is for, from 0

    def payment_open_too_long(self, way):
        self.new_order()
        self.report(self.start("slow"), "unknown")

    def surplus_payment(self, way):
        self.new_order()
        if way == 1:
            self.one("SELECT status FROM payguard.cancel_order(%s)", self.order)
        else:
            self.one("SELECT outcome FROM payguard.pay_order(%s, %s)", self.order, self.order)
        self.one("SELECT outcome FROM payguard.record_payment(%s, 'card', %s, 500, 'EUR')", self.order, f"{self.order}/txn")

    def overpaid(self, way):
        self.new_order()
        # so much more that somebody may have mixed up units: the refund waits
        self.report(self.start(), "succeeded", f"{self.order}/txn", 50000 if way == 1 else 600, "EUR")

    def second_charge(self, way):
        self.report(self.paid(), "succeeded", f"{self.order}/other", 500, "EUR")

    def amount_mismatch(self, way):
        self.new_order()
        self.report(self.start(), "succeeded", f"{self.order}/txn", 400, "EUR")
        return {"amount": 400}

    def late_success(self, way):
        self.new_order()
        payment = self.start()
        self.report(payment, "failed")
        self.report(payment, "succeeded", f"{self.order}/txn", 500, "EUR")

    def attempt_superseded(self, way):
        self.new_order()
        payment = self.start()
        self.report(payment, "failed")
        self.start(key="2")
        self.report(payment, "succeeded", f"{self.order}/txn", 500, "EUR")

    def attempt_alive(self, way):
        channel = f"alive-{way}"
        self.one("SELECT name FROM payguard.register_channel(%s, first_query_after => '1 us')", channel, cursor=self.root)
        self.new_order()
        payment = self.start(channel)
        self.report(payment, "failed")
        self.one("SELECT outcome FROM payguard.pay_order(%s, %s)", self.order, self.order)
        # a message may be old: the channel is asked, and says the same
        self.report(payment, "processing")
        self.one("SELECT pg_sleep(0.005)")
        self.one("SELECT payguard.complete_task(task_id, lease_token, 'processing')"
                 " FROM payguard.claim_tasks('w', 1, kinds => '{query}', channels => %s)", [channel])

    def reserved(self, reserved=500, until=None):
        self.new_order()
        payment = self.start("slow")
        self.one("SELECT outcome FROM payguard.report_payment(%s, 'authorized', %s, %s, 'EUR', capture_before => now() + %s::interval)",
                 payment, f"{self.order}/txn", reserved, until)
        return payment

    def authorized_less(self, way):
        self.reserved(400)

    def authorization_expiring(self, way):
        self.reserved(until="1 h")

    def capture_failed(self, way):
        payment = self.reserved()
        self.one("SELECT outcome FROM payguard.capture_payment(%s)", payment)
        self.report(payment, "failed")

    def suspected_duplicate(self, way):
        for _ in range(2):
            self.new_order(currency="CHF", customer=f"customer-{way}")
            self.one("SELECT outcome FROM payguard.pay_order(%s, %s)", self.order, self.order)

    def approval_required(self, way):
        self.new_order(amount=5000, currency="XTS")

    def policy_changed(self, way):
        self.one("SELECT payguard.set_policy('XXX', %s, approve_payment => true)", 1000 + self.n, cursor=self.root)

    def contradiction(self, way):
        self.report(self.paid(), "failed")

    def txn_reused(self, way):
        self.paid()
        txn = f"{self.order}/txn"
        self.new_order()
        self.report(self.start(), "succeeded", txn, 500, "EUR")

    def unmatched_notification(self, way):
        self.new_order()
        txn = f"{self.order}/unknown"
        self.one("SELECT result FROM payguard.record_notification('card', %s, channel_status => 'succeeded',"
                 " channel_txn_id => %s, amount => 500, currency => 'EUR')", txn.encode(), txn)
        return {"known_order": self.order, "channel": "card", "txn": txn}

    def unreadable_evidence(self, way):
        self.new_order()
        payment = self.start()
        if way == 1:
            self.one("SELECT outcome FROM payguard.report_payment(%s, %s)", payment, "captured")
        else:
            self.one("SELECT result FROM payguard.record_notification('card', 'the body', %s, %s, channel_status => 'captured')",
                     f"{self.order}/event", payment)
        return {"channel": "card", "event_id": f"{self.order}/event", "payment_id": payment, "txn": f"{self.order}/txn",
                "code": f"{'report_payment' if way == 1 else 'record_notification'}(channel_status)"}

    def archived_evidence(self, way):
        payment = self.paid()
        # what would keep the order where it is
        self.root.execute("SELECT payguard.drop_consumer(consumer) FROM payguard.consumers WHERE consumer !~ '^payguard'")
        self.root.execute("SELECT payguard.set_policy('CHF', 0)")
        for _ in range(1000):  # an autovacuum worker's snapshot may be in the way
            self.one("SELECT payguard.count_events(10000)", cursor=self.root)
            self.one("SELECT payguard.archive_orders(clock_timestamp(), 10000)", cursor=self.root)
            if self.one("SELECT count(*) FROM payguard.archived_orders WHERE order_id = %s", self.order, cursor=self.root):
                break
            self.one("SELECT pg_sleep(0.02)")
        self.report(payment, "succeeded", f"{self.order}/other", 500, "EUR")

    def refund_failed(self, way):
        self.one("SELECT outcome FROM payguard.report_refund(%s, 'failed')", self.refund())

    def refund_not_made(self, way):
        self.refund("slow")

    def refund_mismatch(self, way):
        self.one("SELECT outcome FROM payguard.report_refund(%s, 'succeeded', NULL, 400, 'EUR')", self.refund())

    def refund_exceeds_payment(self, way):
        self.reverse("refund", 600)

    def refund_not_approved(self, way):
        self.one("SELECT outcome FROM payguard.waive_refund(%s, 'not wanted')", self.refund())
        self.one("SELECT a.outcome FROM payguard.refunds r, payguard.report_refund(r.refund_id, 'succeeded') a"
                 " WHERE r.order_id = %s", self.order, cursor=self.root)

    def chargeback(self, way):
        self.reverse("chargeback", 500 if way == 0 else 200)

    def bank_return(self, way):
        self.reverse("bank_return", 500 if way == 0 else 200)

    def reverse(self, kind, amount):
        self.paid()
        self.one("SELECT outcome FROM payguard.record_reversal('card', %s, %s, %s, %s, 'EUR')",
                 f"{self.order}/reversal", f"{self.order}/txn", kind, amount)

    def dead_task(self, way):
        self.one("SELECT name FROM payguard.register_channel(%s)", f"dead-{way}", cursor=self.root)
        self.refund(f"dead-{way}")
        for _ in range(10):
            self.shop.execute("SELECT task_id, lease_token::text FROM payguard.claim_tasks('w', 1, channels => %s)", ([f"dead-{way}"],))
            self.one("SELECT payguard.retry_task(%s, %s, 'no route to host', '1 us')", *self.shop.fetchone())
            self.one("SELECT pg_sleep(0.3)")

    def success_rate_low(self, way):
        self.root.execute("""
            INSERT INTO payguard.totals
            SELECT payguard.bucket_of(now() - age), 'payments', 'flaky', 'EUR', status, n
            FROM (VALUES (interval '5 h', 'succeeded', 95), ('5 h', 'failed', 5), ('10 min', 'succeeded', 30),
                         ('10 min', 'failed', 20)) t (age, status, n)""")

    def consumer_lag(self, way):
        self.root.execute("SELECT payguard.commit_events('sleeper', max(window_id), max(event_id))"
                          " FROM payguard.read_events('sleeper', 100000)")
        self.root.execute("INSERT INTO payguard.events (at, kind, actor)"
                          " VALUES (now() - interval '1 h', 'channel.registered', 'test')")

    def prepared_transaction(self, way):
        self.new_order()
        self.root.execute("BEGIN; SELECT payguard.pay_order(%s, 'forgotten'); PREPARE TRANSACTION 'forgotten'", (self.order,))
        # a quarter of an hour later
        self.root.execute("""
            INSERT INTO payguard.alerts (kind, severity, cause, details, opened_at)
            SELECT 'prepared_transaction', 'warning', database || '/' || gid, jsonb_build_object('gid', gid), now()
            FROM pg_prepared_xacts""")
        return {"gid": "forgotten"}

    # the channel's statement: what is told in it beside what is known

    def line(self, txn, amount=500, currency="EUR", status="succeeded", order=None, payment=None, refund=None):
        self.oncall.execute(
            "INSERT INTO payguard.settlement_lines (channel, kind, channel_status, channel_txn_id, channel_refund_id,"
            " order_id, payment_id, amount, currency, channel_time)"
            " VALUES ('card', %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())",
            ("refund" if refund else "payment", status, txn, refund, order, payment, amount, currency))

    def settled(self):
        """A paid order; → its transaction, which the statement has to tell"""
        self.paid()
        return f"{self.order}/txn"

    def settlement_missing_locally(self, way):
        self.new_order()
        txn = f"{self.order}/txn"
        self.line(txn, order=None if way == 2 else self.order)
        return {"known_order": self.order, "channel": "card", "txn": txn}

    def settlement_missing_at_channel(self, way):
        return {"channel": "card", "txn": self.settled()}

    def settlement_amount_mismatch(self, way):
        self.line(self.settled(), amount=400)

    def settlement_currency_mismatch(self, way):
        self.line(self.settled(), currency="USD")

    def settlement_status_mismatch(self, way):
        if way == 0:
            self.new_order()
            txn = f"{self.order}/txn"
            self.line(txn, payment=self.start())
        else:
            txn = self.settled()
            self.line(txn, status="failed")
        return {"channel": "card", "txn": txn}

    def settlement_duplicate_success(self, way):
        txn = self.settled()
        self.line(txn)
        self.line(txn + "/2", order=self.order)

    def settlement_late_success(self, way):
        self.new_order()
        payment = self.start()
        self.report(payment, "failed")
        self.line(f"{self.order}/txn", payment=payment)

    def settlement_txn_reused(self, way):
        self.line(self.settled(), order="somebody-else")

    def settlement_refund_mismatch(self, way):
        refund = self.refund()
        self.report_refund(refund)
        self.line(f"{self.order}/txn")
        self.line(f"{self.order}/txn", amount=400, refund=f"{self.order}/back")

    def report_refund(self, refund):
        self.one("SELECT outcome FROM payguard.report_refund(%s, 'succeeded', %s, 500, 'EUR')", refund, f"{self.order}/back")

    def out_of_step(self, way):
        self.root.execute("""
            CREATE TABLE public.rows (id text PRIMARY KEY, status text NOT NULL DEFAULT 'new');
            CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'closed'; END $$;
            CREATE TRIGGER fail BEFORE UPDATE ON public.rows FOR EACH ROW EXECUTE FUNCTION public.fail();
            SELECT count(*) FROM payguard.guard_table('public.rows', 'status', '{"new": ["paid"]}', order_id_column := 'id',
              follow := '{"paid": "paid"}')""")
        self.new_order()
        self.root.execute("INSERT INTO public.rows VALUES (%s)", (self.order,))
        self.one("SELECT outcome FROM payguard.pay_order(%s, %s)", self.order, self.order)
        self.repairs = "DROP TRIGGER fail ON public.rows; DROP FUNCTION public.fail()"

    def verify_failed(self, way):
        self.new_order()
        by_hand = ("SET payguard.allow_unsafe_ddl = on; ALTER TABLE payguard.orders DISABLE TRIGGER payguard_protect;"
                   " UPDATE payguard.orders SET version = {} WHERE order_id = '{}';"
                   " ALTER TABLE payguard.orders ENABLE ALWAYS TRIGGER payguard_protect; RESET payguard.allow_unsafe_ddl")
        self.root.execute(by_hand.format(7, self.order))
        self.one("SELECT payguard.run_verify()")
        self.repairs = by_hand.format(1, self.order)

    def maintenance_failed(self, way):
        self.root.execute("""
            CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'full'; END $$;
            CREATE TRIGGER fail BEFORE INSERT ON payguard.totals EXECUTE FUNCTION public.fail()""")
        self.new_order()
        self.repairs = "DROP TRIGGER fail ON payguard.totals; DROP FUNCTION public.fail()"


def runbooks(page="operations.md", heading="Alerts"):
    """→ {kind: [blocks of SQL]}"""
    with open(os.path.join(TREE, "doc", page), encoding="utf-8") as file:
        alerts = file.read().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    sections = re.split(r"\n### (.+)\n", alerts)[1:]
    return {name: re.findall(r"```sql\n(.*?)```", text, re.S)
            for name, text in zip(sections[::2], sections[1::2])}


# The ways that give money back in the books alone: it never came, or it has gone already.
NO_MONEY = {("contradiction", 2), ("settlement_txn_reused", 2)}

# What opens an alert, and which of its arguments is the kind.
OPENERS = {"payguard_alert_open": 0, "payguard_alert_payment": 0, "payguard_alert_refund": 0, "payguard_alert_task": 0,
           "payguard_alert_order": 0, "payguard_received_alert": 1, "payguard_returned_contradict": 2, "contradict": 2,
           "take_as_surplus": 1, "RAISE": 0}
# What returns a kind of alert, a literal in each of its branches.
NAMERS = {"payguard_refund_reversal_alert"}
LITERAL = r'"(\w+)"'


# in which a kind is not named three times
ODD = """
void
follow(const Order *order, const char *mood)
{
	payguard_alert_order("late", "warning", order, NULL);
	payguard_alert_order(guess(order), "warning", order, NULL);
	payguard_alert_order(mood, "warning", order, NULL);
	decision.alert = is_early(order, 1) ? "early" : mood;
	payguard_received_alert(payment, decision.alert, NULL);
}
"""


def arguments(text, start):
    """→ the arguments of the call whose bracket opens before start"""
    depth, parts, quoted, last = 1, [""], False, ""
    for letter in text[start:]:
        if letter == '"' and last != "\\":
            quoted = not quoted
        if not quoted:
            depth += (letter == "(") - (letter == ")")
        if depth == 0:
            break
        if letter == "," and depth == 1 and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
        last = letter
    return [part.strip() for part in parts]


def kinds_in(text):
    """→ the kinds of alerts that a C file names, and what it names that is none.

    A kind is a literal. What is none is an argument of a function that is itself in OPENERS, the alert of a decision,
    to which nothing but literals are assigned, or comes from one of the NAMERS."""
    found, strange = set(), []
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    functions = [(match.start(), match[1], match[2]) for match in re.finditer(r"(?m)^(\w+)\(([^;{]*)\)\n\{", text)]
    passed_on = {name: arguments(parameters + ")", 0)[OPENERS[name]].split()[-1].strip("*")
                 for _, name, parameters in functions if name in OPENERS}

    def judge(place, named):
        inside = max((f for f in functions if f[0] < place), default=(0, None, ""))[1]
        if re.fullmatch(LITERAL, named):
            found.add(named.strip('"'))
        elif named not in ("decision.alert", "decision->alert", "NULL") and named != passed_on.get(inside) \
                and not any(named.startswith(name + "(") for name in NAMERS):
            strange.append(named)

    for call in re.finditer(r"\b(%s)\(" % "|".join(OPENERS), text):
        before = text[:call.start()].rpartition("\n")[2]
        if before[:1].isspace() or "=" in before:   # otherwise it is declared or defined there
            judge(call.start(), arguments(text, call.end())[OPENERS[call[1]]])
    for match in re.finditer(r"(?:->|\.)alert = ([^;]*);", text):
        for named in re.sub(r"^[^?]*\?", "", match[1]).split(":"):
            judge(match.start(), named.strip())
    for _, name, _ in (f for f in functions if f[1] in NAMERS):
        body = text.split("\n%s(" % name)[1].split("\n}\n")[0]
        for named in re.findall(r"(?:return|\?|:)\s+([^\s?;]+)(?=\s*(?:;|:))", body):
            judge(0, named)
    return found, strange


def kinds():
    """→ the kinds of alerts that the sources name, and what they name that is none."""
    found, strange = set(), []
    for path in glob.glob(os.path.join(TREE, "src", "*", "*.c")):
        with open(path, encoding="utf-8") as file:
            some, others = kinds_in(file.read())
        found |= some
        strange += [f"{os.path.basename(path)}: {other}" for other in others]
    for path in glob.glob(os.path.join(TREE, "src", "sql", "*.sql")):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        for kind in re.findall(r"INSERT INTO payguard\.alerts \(kind,[^)]*\)\s*(?:SELECT |VALUES \()([^,]+),", text):
            if re.fullmatch(r"'\w+'", kind):
                found.add(kind.strip("'"))
            elif kind == "'settlement_' || d.finding":
                differences = text.split("FUNCTION payguard.settlement_differences(")[1].split("$$")[1]
                found.update("settlement_" + finding for finding in
                             re.findall(r"(?:THEN|ELSE|\n    SELECT) '(\w+)'", differences))
            else:
                strange.append(kind)
    return found, strange


def documented():
    """→ the kinds that doc/reference.md lists"""
    with open(os.path.join(TREE, "doc", "reference.md"), encoding="utf-8") as file:
        text = file.read()
    rows = re.findall(r"\n\| (`[^|]*`[^|]*) \| [^|]*(?:warning|critical)[^|]* \|", text)
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    findings = text.split("| finding | meaning |")[1].split("\n\n")[0]
    if "settlement_" in listed:
        listed.remove("settlement_")
        listed.update("settlement_" + name for row in findings.split("\n")
                      for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else ""))
    return listed


def with_variables(sql, variables):
    """Puts values in as psql does: :name, :'name'. A variable that is not known stays."""
    sql = re.sub(r":'(\w+)'", lambda m: psycopg2.extensions.adapt(str(variables[m[1]])).getquoted().decode()
                 if variables.get(m[1]) is not None else m[0], sql)
    return re.sub(r"(?<![:\w]):(\w+)", lambda m: str(variables[m[1]])
                  if variables.get(m[1]) is not None else m[0], sql)


def statements(block):
    return [statement.strip() for statement in block.split(";\n") if statement.strip()]


def checks(server):
    root = Life.connect(server, "postgres")
    root.execute(SETUP)
    life = Life(server)
    books = runbooks()
    named, strange = kinds()
    yield "every kind of alert has a runbook, and no other", named == set(books), sorted(named ^ set(books))
    yield "what opens alerts names their kinds", not strange, strange
    odd = kinds_in(ODD)
    yield "a kind that is not named is found", odd == ({"late", "early"}, ["guess(order)", "mood", "mood"]), odd
    chinese = runbooks(os.path.join("zh", "runbooks.md"), "告警")
    other = sorted(kind for kind in {*books, *chinese} if books.get(kind) != chinese.get(kind))
    yield "the Chinese runbooks have the same statements", not other, other
    yield "every kind is in the reference", named == documented(), sorted(named ^ documented())
    yield "the test can make each of them", all(hasattr(life, name) for name in books), ""
    for kind, blocks in books.items():
        yield f"{kind}: it looks, and has a way", len(blocks) > 1, ""
        for way, block in enumerate(blocks[1:]):
            known = life.one("SELECT coalesce(max(alert_id), 0) FROM payguard.alerts", cursor=root)
            more = getattr(life, kind)(way) or {}
            life.maintain()
            root.execute("SELECT alert_id, order_id, payment_id, refund_id, task_id, cause FROM payguard.alerts"
                         " WHERE kind = %s AND alert_id > %s AND resolved_at IS NULL", (kind, known))
            opened = root.fetchall()
            yield f"{kind} {way + 1}: one alert is opened", len(opened) == 1, opened
            if len(opened) != 1:
                continue
            variables = dict(zip(("alert_id", "order_id", "payment_id", "refund_id", "task_id", "cause"), opened[0]), **more)
            if variables["payment_id"] and not variables["refund_id"]:
                root.execute("SELECT refund_id FROM payguard.refunds WHERE payment_id = %s", (variables["payment_id"],))
                variables["refund_id"] = (root.fetchone() or [None])[0]
                variables["same_as"] = life.one("SELECT details ->> 'second_charge_of' FROM payguard.payments"
                                                " WHERE payment_id = %s", variables["payment_id"], cursor=root)
            root.execute(life.repairs)
            life.repairs = "SELECT"
            by = root if kind == "prepared_transaction" else life.oncall
            problem = ""
            for statement in statements(blocks[0]) + statements(block):
                # numbers of the example, that every payment here would share
                statement = statement.replace("ch_", f"{life.order}/ch_")
                try:
                    by.execute(with_variables(statement, variables))
                    if by.description and not by.fetchall():
                        problem = f"no row: {statement}"
                except psycopg2.Error as error:
                    problem = f"{error}{statement}"
                if problem:
                    break
            yield f"{kind} {way + 1}: an operator can do what the runbook says", not problem, problem
            if "channel := 'internal'" in block or (kind, way + 1) in NO_MONEY:
                root.execute("SELECT kind, refund_id FROM payguard.tasks WHERE order_id = %s AND kind IN ('refund', 'charge', 'capture')",
                             (variables["order_id"],))
                yield f"{kind} {way + 1}: no channel is asked to send money", not root.rowcount, root.fetchall()
            life.maintain()
            root.execute("SELECT resolved_at IS NOT NULL OR acknowledged_at IS NOT NULL FROM payguard.alerts"
                         " WHERE alert_id = %s", (variables["alert_id"],))
            yield f"{kind} {way + 1}: the alert has ended", root.fetchone()[0], ""
            again = life.one("SELECT count(*) FROM payguard.alerts WHERE kind = %s AND cause = %s AND alert_id > %s",
                             kind, variables["cause"], variables["alert_id"], cursor=root)
            yield f"{kind} {way + 1}: and is not opened again", again == 0, again
    root.execute("SELECT * FROM payguard.verify()")
    yield "the database is sound", not root.rowcount, root.fetchall()


def main():
    tap = Tap()
    with cluster.Cluster() as server:
        tap.each(checks(server))
    sys.exit(tap.done())


main()
