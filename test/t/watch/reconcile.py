#!/usr/bin/python3
# The channels' statements, made from the simulator's books, with seeded differences of every type,
# some of them in the grace: reconcile() finds exactly those, a second run adds nothing, and when all
# are resolved the books agree to the cent. PAYGUARD_SEED and PAYGUARD_ORDERS set the run.

import collections
import csv
import datetime
import io
import os
import random
import sys

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", d) for d in ("lib", "sim")]
sys.dont_write_bytecode = True

import psycopg2

import actors
import books
import cluster
import simulate
from tap import Tap, choose_seed

COLUMNS = ("channel", "kind", "channel_status", "channel_txn_id", "channel_refund_id",
           "payment_id", "order_id", "refund_id", "amount", "currency", "channel_time")
EACH = 3  # differences of each sort
HOUR = datetime.timedelta(hours=1)
FINDINGS = {"missing_at_channel", "missing_locally", "amount_mismatch", "currency_mismatch",
            "status_mismatch", "duplicate_success", "late_success", "txn_reused",
            "refund_mismatch"}


class Statement:
    """The settled books of a simulation, and the differences that are seeded on top of them."""

    def __init__(self, simulation, chance):
        self.database = simulation.database
        self.books = simulation.books
        self.chance = chance
        self.numbers = iter(range(1, 1_000_000))
        self.expected = collections.Counter()  # (finding, id)
        self.in_grace = collections.Counter()  # found only when the grace is over
        self.plan = {}  # (finding, id) → how it is resolved
        # what is older than `limit` is to be missed, the rest is in the grace
        self.limit = self.value("SELECT clock_timestamp() AS v")
        self.lines = [self.charge_line(name, charge) for name, book in self.books.items()
                      for charge in book["charges"]]
        self.lines += [self.refund_line(name, refund) for name, book in self.books.items()
                       for refund in book["refunds"]
                       # what was undone before anybody told of it nobody has heard of; sql/taken_back.sql lists such lines
                       if refund["state"] not in ("pending", "reinstated")]

    def value(self, sql, *values):
        return self.database.rows(sql, *values)[0]["v"]

    def new_id(self, prefix):
        return f"{prefix}-{next(self.numbers):05}"

    def charge_line(self, name, charge, **other):
        line = {"channel": name, "kind": "payment", "channel_status": "succeeded",
                "channel_txn_id": charge["txn"], "channel_refund_id": None,
                "payment_id": charge["payment_id"], "order_id": charge["order_id"],
                "refund_id": None, "amount": charge["amount"], "currency": charge["currency"],
                "channel_time": self.limit - HOUR}
        return dict(line, **other)

    def refund_line(self, name, refund, **other):
        kind = "refund" if refund["kind"] == "asked" else refund["kind"]
        line = {"channel": name, "kind": kind, "channel_status": refund["state"],
                "channel_txn_id": refund["txn"],
                "channel_refund_id": refund["channel_refund_id"], "payment_id": None,
                "order_id": None, "refund_id": refund["refund_id"],
                "amount": refund["amount"], "currency": refund["currency"],
                "channel_time": self.limit - HOUR}
        return dict(line, **other)

    # what the shop does, all of it after the limit

    def order(self, amount=1000, currency="EUR"):
        order_id = self.new_id("extra")
        self.call("create_order(%s, %s, %s)", order_id, amount, currency)
        return order_id

    def attempt(self, name, **order):
        order_id = self.order(**order)
        started = self.call("start_payment(%s, %s, %s)", order_id, order_id, name)
        return order_id, started["payment_id"]

    def paid(self, name, amount=1000):
        """An order that was paid through a channel, as its books have it too."""
        order_id, payment_id = self.attempt(name, amount=amount)
        txn = self.new_id("txn")
        self.call("report_payment(%s, 'succeeded', %s, %s, 'EUR')", payment_id, txn, amount)
        charge = {"txn": txn, "payment_id": payment_id, "order_id": order_id, "amount": amount,
                  "currency": "EUR"}
        self.books[name]["charges"].append(charge)
        return charge

    def call(self, call, *values):
        return self.database.rows(f"SELECT * FROM payguard.{call}", *values)[0]

    # the differences; each adds its lines, and says what is to be found and how it is resolved

    def expect(self, finding, identity, action, in_grace=False):
        (self.in_grace if in_grace else self.expected)[finding, identity] += 1
        self.plan[finding, identity] = action

    def lose(self, name, known, key, lines):
        """The statement lacks a line of the simulation's own."""
        known = {row["id"] for row in self.database.rows(known)}
        line = self.chance.choice([line for line in lines
                                   if line["channel"] == name and line[key] in known])
        self.lines.remove(line)
        self.expect("missing_at_channel", line[key], "waive")

    def lost_line(self, name):
        self.lose(name, "SELECT channel_txn_id AS id FROM payguard.payments"
                  " WHERE status IN ('succeeded', 'surplus') AND order_id LIKE 'order-%%'",
                  "channel_txn_id", [line for line in self.lines if line["kind"] == "payment"])

    def lost_refund_line(self, name):
        self.lose(name, "SELECT channel_refund_id AS id FROM payguard.refunds"
                  " WHERE status = 'succeeded' AND order_id LIKE 'order-%%'",
                  "channel_refund_id", [line for line in self.lines if line["kind"] != "payment"])

    def lost_line_in_grace(self, name):
        self.expect("missing_at_channel", self.paid(name)["txn"], "waive", in_grace=True)

    def console_charge(self, name, **other):
        charge = {"txn": self.new_id("txn"), "payment_id": None, "order_id": self.order(),
                  "amount": 1000, "currency": "EUR"}
        self.books[name]["charges"].append(charge)
        self.lines.append(self.charge_line(name, charge, **other))
        return charge

    def unknown_charge(self, name):
        charge = self.console_charge(name)
        self.expect("missing_locally", charge["txn"], self.chance.choice(("accept", "refund")))

    def unknown_charge_in_grace(self, name):
        charge = self.console_charge(name, channel_time=self.limit + HOUR)
        self.expect("missing_locally", charge["txn"], "accept", in_grace=True)

    def console_reversal(self, name, **other):
        charge = self.paid(name)
        self.lines.append(self.charge_line(name, charge))
        refund = {"refund_id": None, "channel_refund_id": self.new_id("back"),
                  "txn": charge["txn"], "amount": 400, "currency": "EUR", "state": "succeeded",
                  "kind": self.chance.choice(("refund", "chargeback", "bank_return"))}
        self.books[name]["refunds"].append(refund)
        self.lines.append(self.refund_line(name, refund, **other))
        return refund["channel_refund_id"]

    def unknown_reversal(self, name):
        self.expect("missing_locally", self.console_reversal(name), "accept")

    def unknown_reversal_in_grace(self, name):
        refund_id = self.console_reversal(name, channel_time=self.limit + HOUR)
        self.expect("missing_locally", refund_id, "accept", in_grace=True)

    def other_amount(self, name):
        """The channel's webhook told another amount than its books."""
        charge = self.paid(name)
        charge["amount"] = self.chance.choice((990, 1010))
        self.lines.append(self.charge_line(name, charge))
        self.expect("amount_mismatch", charge["txn"], "accept")

    def misprinted_amount(self, name):
        charge = self.paid(name)
        self.lines.append(self.charge_line(name, charge, amount=1))
        self.expect("amount_mismatch", charge["txn"], "waive")

    def other_currency(self, name):
        charge = self.paid(name)
        charge["currency"] = "CHF"
        self.lines.append(self.charge_line(name, charge))
        self.expect("currency_mismatch", charge["txn"], "accept")

    def unheard_success(self, name):
        order_id, payment_id = self.attempt(name)
        txn = self.new_id("txn")
        if self.chance.random() < 0.5:
            self.call("report_payment(%s, 'pending', %s)", payment_id, txn)
        charge = {"txn": txn, "payment_id": payment_id, "order_id": order_id, "amount": 1000,
                  "currency": "EUR"}
        self.books[name]["charges"].append(charge)
        self.lines.append(self.charge_line(name, charge))
        self.expect("status_mismatch", txn, "accept")

    def unheard_failure(self, name):
        order_id, payment_id = self.attempt(name)
        charge = {"txn": self.new_id("txn"), "payment_id": payment_id, "order_id": order_id,
                  "amount": 1000, "currency": "EUR"}
        self.lines.append(self.charge_line(name, charge, channel_status="failed"))
        self.expect("status_mismatch", charge["txn"], "accept")

    def misprinted_failure(self, name):
        charge = self.paid(name)
        self.lines.append(self.charge_line(name, charge, channel_status="failed"))
        self.expect("status_mismatch", charge["txn"], "waive")

    def unheard_second_charge(self, name):
        charge = self.paid(name)
        self.lines.append(self.charge_line(name, charge))
        second = dict(charge, txn=self.new_id("txn"))
        if self.chance.random() < 0.3:
            second["payment_id"] = None  # made by hand at the channel's console
        self.books[name]["charges"].append(second)
        self.lines.append(self.charge_line(name, second))
        self.expect("duplicate_success", second["txn"],
                    self.chance.choice(("accept", "refund")))

    def unheard_late_success(self, name):
        order_id, payment_id = self.attempt(name)
        self.call("report_payment(%s, 'failed')", payment_id)
        charge = {"txn": self.new_id("txn"), "payment_id": payment_id, "order_id": order_id,
                  "amount": 1000, "currency": "EUR"}
        self.books[name]["charges"].append(charge)
        self.lines.append(self.charge_line(name, charge))
        self.expect("late_success", charge["txn"], self.chance.choice(("accept", "refund")))

    def misprinted_order(self, name):
        charge = self.paid(name)
        self.lines.append(self.charge_line(name, charge, order_id=self.order(),
                                           payment_id=None))
        self.expect("txn_reused", charge["txn"], "waive")

    def made_refund(self, name, state="succeeded"):
        charge = self.paid(name)
        self.lines.append(self.charge_line(name, charge))
        asked = self.call("refund_order(%s, %s, 400, 'returned')", charge["order_id"],
                          self.new_id("refund"))
        refund = {"refund_id": asked["refund_id"], "channel_refund_id": self.new_id("back"),
                  "txn": charge["txn"], "amount": 400, "currency": "EUR", "state": state,
                  "kind": "asked"}
        self.books[name]["refunds"].append(refund)
        self.call("report_refund(%s, 'succeeded', %s, 400, 'EUR')", refund["refund_id"],
                  refund["channel_refund_id"])
        return refund

    def other_refund_amount(self, name):
        refund = self.made_refund(name)
        refund["amount"] = 390
        self.lines.append(self.refund_line(name, refund))
        self.expect("refund_mismatch", refund["channel_refund_id"], "accept")

    def refund_that_came_back(self, name):
        refund = self.made_refund(name, "failed")
        self.lines.append(self.refund_line(name, refund))
        self.expect("refund_mismatch", refund["channel_refund_id"], "accept")

    def misprinted_refund(self, name):
        refund = self.made_refund(name)
        self.lines.append(self.refund_line(name, refund, amount=1))
        self.expect("refund_mismatch", refund["channel_refund_id"], "waive")

    def seed(self):
        for difference in (self.lost_line, self.lost_refund_line, self.lost_line_in_grace,
                           self.unknown_charge, self.unknown_charge_in_grace,
                           self.unknown_reversal, self.unknown_reversal_in_grace,
                           self.other_amount, self.misprinted_amount, self.other_currency,
                           self.unheard_success, self.unheard_failure, self.misprinted_failure,
                           self.unheard_second_charge, self.unheard_late_success,
                           self.misprinted_order, self.other_refund_amount,
                           self.refund_that_came_back, self.misprinted_refund):
            for _ in range(EACH):
                for name in sorted(self.books):
                    difference(name)


def load(connection, lines):
    """COPYs a statement, as CSV, as an operator."""
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(lines)
    file.seek(0)
    connection.cursor().copy_expert(
        f"COPY payguard.settlement_lines ({', '.join(COLUMNS)}) FROM STDIN WITH CSV HEADER", file)


def reconcile(clerk, statement, grace):
    """→ the findings of all channels; the period ends a day after the statement's limit"""
    return [row for name in sorted(statement.books) for row in clerk.rows(
        "SELECT *, coalesce(details ->> 'channel_refund_id', details ->> 'channel_txn_id') AS id"
        " FROM payguard.reconcile(%s, '-infinity', %s, %s)", name,
        statement.limit + datetime.timedelta(days=1), grace)]


def compare(expected, rows):
    """→ what was found and not expected, and the other way round, as lines of text."""
    found = collections.Counter((row["finding"], row["id"]) for row in rows)
    return ([f"not found: {what}" for what in (expected - found).elements()]
            + [f"found, and not seeded: {what}" for what in (found - expected).elements()])


def resolve(clerk, statement, rows):
    """Resolves findings as it was planned; → what was refused, as lines of text"""
    refused = []
    for row in rows:
        action = statement.plan.get((row["finding"], row["id"]))
        if action is None:
            continue    # compare() tells of it
        try:
            clerk.rows("SELECT * FROM payguard.resolve_finding(%s, %s, 'looked into it')",
                       row["alert_id"], action)
        except psycopg2.Error as error:
            refused.append(f"{action} of {row['finding']} {row['id']}: {error}")
    return refused


def settle_refunds(statement, boss):
    """What waits to go back does, at the channels too; what came back is not owed any more."""
    for row in statement.database.rows(
            "SELECT r.refund_id::text, r.channel, r.amount, r.currency, r.status,"
            " p.channel_txn_id AS txn"
            " FROM payguard.refunds r JOIN payguard.payments p USING (payment_id)"
            " WHERE r.status NOT IN ('succeeded', 'waived', 'reinstated', 'merged')"):
        if row["status"] == "failed":
            statement.call("waive_refund(%s, 'the customer keeps it')", row["refund_id"])
            continue
        if row["status"] == "awaiting_approval":
            boss.rows("SELECT payguard.approve_refund(%s, 'it was paid twice')",
                      row["refund_id"])
        refund = {"refund_id": row["refund_id"], "channel_refund_id": statement.new_id("back"),
                  "txn": row["txn"], "amount": row["amount"], "currency": row["currency"],
                  "state": "succeeded", "kind": "asked"}
        statement.books[row["channel"]]["refunds"].append(refund)
        statement.call("report_refund(%s, 'succeeded', %s, %s, %s)", row["refund_id"],
                       refund["channel_refund_id"], row["amount"], row["currency"])


def main():
    seed = choose_seed()
    orders = int(os.environ.get("PAYGUARD_ORDERS") or 400)
    checks = {}
    with cluster.Cluster() as server:
        simulation = simulate.Simulation(server.dsn, seed, orders, faults=0.3, clients=4)
        checks["the simulation is sound"] = [] if simulation.run() else [
            f"{name}: {line}" for name, lines in simulation.deviations.items() for line in lines]
        check_statement(checks, server, simulation, random.Random(seed))
    tap = Tap()
    tap.each((name, not problems, problems) for name, problems in checks.items())
    sys.exit(tap.done())


def check_statement(checks, server, simulation, chance):
    database = simulation.database
    for role in ("clerk", "boss"):
        database.rows(f"CREATE ROLE {role} LOGIN;"
                      f" SELECT payguard.grant_access('{role}', access) FROM unnest('{{operator,refunds}}'::text[]) access")
    clerk, boss = (actors.Database(server.dsn.replace("user=postgres", f"user={role}"),
                                   collections.Counter(), None) for role in ("clerk", "boss"))

    # the books as they are: whatever the channels did, there is nothing to find
    statement = Statement(simulation, chance)
    clerk.cursor.execute("BEGIN")
    load(clerk.connection, statement.lines)
    checks["a statement of the settled books has no difference"] = compare(
        collections.Counter(), reconcile(clerk, statement, "0 s"))
    clerk.cursor.execute("ROLLBACK")

    statement.seed()
    load(clerk.connection, statement.lines)
    found = reconcile(clerk, statement, "1 day")
    checks["every difference is found, and no other"] = compare(statement.expected, found)
    checks["each type was seeded"] = sorted(
        FINDINGS - {finding for finding, _ in statement.expected})
    print(f"# {len(statement.lines)} lines; found: "
          + ", ".join(f"{finding} {times}" for finding, times in sorted(
              collections.Counter(row["finding"] for row in found).items())), flush=True)

    load(clerk.connection, statement.lines)  # the same statement once more
    again = reconcile(clerk, statement, "1 day")
    alerts = database.rows("SELECT count(*) AS n FROM payguard.alerts"
                           " WHERE kind LIKE 'settlement%%'")[0]["n"]
    checks["a second run adds nothing"] = compare(statement.expected, again) + [
        str(row) for row in again if row["is_new"]] + (
        [] if alerts == len(found) else [f"{alerts} alerts of {len(found)} findings"])

    checks["every finding can be resolved"] = resolve(clerk, statement, found)
    late = reconcile(clerk, statement, "0 s")
    checks["what was in the grace is found when that is over"] = compare(statement.in_grace, late)
    checks["it can be resolved, too"] = resolve(clerk, statement, late)
    checks["nothing is left to find"] = compare(collections.Counter(),
                                                reconcile(clerk, statement, "0 s"))

    settle_refunds(statement, boss)
    comparison = books.Comparison(database, statement.books)
    checks["the books agree to the cent"] = comparison.differences() + [
        f"{what}: {at_channels} at the channels, {in_payguard} in payguard"
        for what, at_channels, in_payguard in comparison.totals() if at_channels != in_payguard]
    for name, sql in books.ORACLES.items():
        checks[f"afterwards {name}"] = [str(row) for row in database.rows(sql)]


main()
