"""The channels' books beside payguard's, to the cent."""

import collections

RECEIVED = """
    SELECT payment_id::text, order_id, channel, status, channel_txn_id AS txn,
           received_amount AS amount, received_currency AS currency
    FROM payguard.payments WHERE status IN ('succeeded', 'surplus', 'returned')"""
RETURNED = """
    SELECT r.refund_id::text, r.payment_id::text, r.channel, r.status, r.origin, r.reversal_kind,
           r.channel_refund_id, r.returned_amount AS amount, r.amount_verified, r.currency,
           p.channel_txn_id AS txn
    FROM payguard.refunds r JOIN payguard.payments p USING (payment_id)"""

# Each returns one row for each violation.
ORACLES = {
    "verify() finds nothing": "SELECT * FROM payguard.verify()",
    "an order is paid once at most": """
        SELECT order_id, count(*) FROM payguard.payments
        WHERE status NOT IN ('failed', 'surplus', 'superseded', 'returned')
        GROUP BY order_id HAVING count(*) > 1""",
    "no attempt is open": """
        SELECT payment_id, order_id, status FROM payguard.payments
        WHERE status IN ('pending', 'processing', 'authorized', 'capturing', 'unknown', 'closing', 'superseded')""",
    "no order is paying": """
        SELECT order_id, status, closing_as FROM payguard.orders WHERE status = 'paying'""",
    "the order's payment brought what the order asks, and what is more goes back": """
        SELECT o.order_id, o.amount, o.currency, p.received_amount, p.received_currency, r.settled
        FROM payguard.orders o LEFT JOIN payguard.payments p USING (payment_id)
        CROSS JOIN LATERAL (
          SELECT coalesce(sum(CASE WHEN r.status = 'succeeded' THEN r.returned_amount
                                   ELSE r.amount END), 0) AS settled
          FROM payguard.refunds r
          WHERE r.payment_id = p.payment_id AND r.status IN ('succeeded', 'waived')) r
        WHERE o.status IN ('paid', 'refunded')
          AND ((p.status, p.order_id, p.received_currency)
               IS DISTINCT FROM ('succeeded', o.order_id, o.currency)
               OR p.received_amount < o.amount OR r.settled < p.received_amount - o.amount)
          AND NOT EXISTS (SELECT FROM payguard.alerts a
                          WHERE a.payment_id = p.payment_id AND a.kind = 'amount_mismatch')""",
    "no order is unpaid with money of its own": """
        SELECT o.order_id, o.status FROM payguard.orders o JOIN payguard.payments p USING (order_id)
        WHERE o.status NOT IN ('paid', 'refunded') AND p.status = 'succeeded'""",
    "all surplus has gone back, or was waived": """
        SELECT p.payment_id, p.received_amount, r.settled
        FROM payguard.payments p
        CROSS JOIN LATERAL (
          SELECT coalesce(sum(CASE WHEN r.status = 'succeeded' THEN r.returned_amount
                                   ELSE r.amount END), 0) AS settled
          FROM payguard.refunds r
          WHERE r.payment_id = p.payment_id AND r.status IN ('succeeded', 'waived')) r
        WHERE p.status = 'surplus' AND r.settled < p.received_amount""",
    "what was returned is back": """
        SELECT p.payment_id, p.received_amount, b.refunded, b.excess
        FROM payguard.payments p LEFT JOIN payguard.refund_balances b USING (payment_id)
        WHERE p.status = 'returned'
          AND (b.refunded + b.excess < p.received_amount) IS NOT FALSE""",
    "no refund waits": """
        SELECT refund_id, payment_id, status FROM payguard.refunds
        WHERE status NOT IN ('succeeded', 'waived', 'reinstated', 'merged')""",
    "nothing goes back twice without an alert": """
        SELECT b.* FROM payguard.refund_balances b
        WHERE b.excess > 0 AND NOT EXISTS (
          SELECT FROM payguard.alerts a
          WHERE a.payment_id = b.payment_id AND a.kind = 'refund_exceeds_payment')""",
}


class Comparison:
    """What payguard does not know of the channels' books, and the other way round."""

    def __init__(self, database, books):
        self.books = books
        self.names = {name: txn for book in books.values() for name, txn in book["names"].items()}
        self.charges = {}
        self.refunds = {}
        for name, book in books.items():
            for charge in book["charges"]:
                self.charges[charge["txn"]] = dict(charge, channel=name)
            for refund in book["refunds"]:
                if refund["state"] == "succeeded":
                    self.refunds[refund["channel_refund_id"]] = dict(refund, channel=name)
        self.failed = [dict(refund, channel=name) for name, book in books.items()
                       for refund in book["refunds"] if refund["state"] == "failed"]
        self.undone = [dict(refund, channel=name) for name, book in books.items()
                       for refund in book["refunds"] if refund["state"] == "reinstated"]
        rows = database.rows(RECEIVED)
        self.received = [row for row in rows if row["channel"] != "internal"]
        self.internal = [row for row in rows if row["channel"] == "internal"]
        rows = database.rows(RETURNED)
        self.asked = {row["refund_id"]: row for row in rows}
        self.returned = [row for row in rows
                         if row["status"] == "succeeded" and row["channel"] != "internal"]

    def in_books(self, txn):
        return self.names.get(txn, txn)

    def missing_charges(self):
        known = {self.in_books(row["txn"]) for row in self.received}
        return [charge for txn, charge in self.charges.items() if txn not in known]

    def missing_refunds(self):
        """Those of another amount, too, where nobody has named it: a person has settled them."""
        known = {row["channel_refund_id"]: row for row in self.returned}
        return [refund for refund_id, refund in self.refunds.items() if refund_id not in known
                or not (known[refund_id]["amount_verified"] or known[refund_id]["amount"] == refund["amount"])]

    def reversals_undone(self):
        """payguard takes them for what they were, or has never heard of them."""
        known = {row["channel_refund_id"] for row in self.returned}
        return [refund for refund in self.undone if refund["channel_refund_id"] in known]

    def refunds_that_failed(self):
        """payguard takes them for made."""
        return [refund for refund in self.failed
                if self.asked.get(refund["refund_id"], {}).get("status") == "succeeded"]

    def differences(self):
        """Every difference, as a line of text."""
        lines = [f"payguard does not know charge {charge}" for charge in self.missing_charges()]
        lines += [f"payguard does not know refund {refund}" for refund in self.missing_refunds()]
        lines += [f"payguard does not know that {refund} was undone" for refund in self.reversals_undone()]
        lines += self.compare("payment", self.received, self.charges,
                              lambda row: self.in_books(row["txn"]))
        lines += self.compare("refund", self.returned, self.refunds,
                              lambda row: row["channel_refund_id"])
        for row in self.returned:
            refund = self.refunds.get(row["channel_refund_id"])
            if refund and self.in_books(row["txn"]) != refund["txn"]:
                lines.append(f"refund {row} is of another charge: {refund}")
        return lines

    def compare(self, what, rows, books, name_of):
        lines = []
        seen = collections.Counter(name_of(row) for row in rows)
        lines += [f"{times} {what}s are {name}" for name, times in seen.items() if times > 1]
        for row in rows:
            line = books.get(name_of(row))
            if line is None:
                lines.append(f"the channel does not know {what} {row}")
            elif any(line[key] != row[key] for key in ("channel", "amount", "currency")):
                lines.append(f"{what} {row} is not what the channel has: {line}")
            elif line.get("order_id") and row.get("order_id") != line["order_id"]:
                lines.append(f"{what} {row} is of another order: {line}")
        return lines

    def captures(self):
        """→ how often what happened with reserved money, and what must not have happened, both by name."""
        trades = [dict(trade, channel=name) for name, book in self.books.items() for trade in book["reserved"]]
        taken = collections.defaultdict(list)
        for charge in self.charges.values():
            taken[charge["payment_id"]].append(charge["amount"])
        for trade in trades:
            trade["taken"] = taken[trade["payment_id"]]
        asked = [capture for trade in trades for capture in trade["captures"].values()]
        counts = {
            "asked for": len(asked),
            "asked for again": sum(len(capture["requests"]) - 1 for capture in asked),
            "made": sum(len(trade["taken"]) for trade in trades),
            "of a part": sum(0 < sum(trade["taken"]) < trade["authorized"] for trade in trades),
            "of what lapsed in part": sum(trade["authorized"] < trade["most"] for trade in trades),
            "given up": sum(book["voided"] for book in self.books.values()),
        }
        return counts, {
            "captured twice": [trade for trade in trades if len(trade["taken"]) > 1],
            "captured beyond what was authorized": [
                trade for trade in trades if sum(trade["taken"]) > trade["most"]
                or any(capture["amount"] > trade["most"] for capture in trade["captures"].values())],
            "captured after a confirmed void": [
                trade for trade in trades if any(capture["after_void"] for capture in trade["captures"].values())],
            "asked for in two amounts under one id": [capture for capture in asked if len(set(capture["requests"])) > 1],
        }

    def double_charges(self):
        """Orders that a channel, or both together, charged more than once."""
        orders = collections.Counter(charge["order_id"] for charge in self.charges.values())
        return sum(1 for times in orders.values() if times > 1)

    def totals(self):
        """Cents by currency: (what, at the channels, in payguard)."""
        def total(rows):
            sums = collections.Counter()
            for row in rows:
                sums[row["currency"]] += row["amount"]
            return dict(sorted(sums.items()))

        return [("received", total(self.charges.values()), total(self.received)),
                ("returned", total(self.refunds.values()), total(self.returned))]


def counters(database):
    """→ what payguard has counted, by name: replays, and refusals by reason."""
    return {row["reason"] or row["counter"]: row["value"]
            for row in database.rows("SELECT * FROM payguard.stat_counters") if row["value"]}


def counter_differences(database, counts):
    """→ where payguard's counters are not what everybody together has seen, as lines of text.

    A serializable transaction may fail at its commit, when its answer has been counted.
    """
    counted = counters(database)
    names = set(counted) | {name[8:] for name in counts if name.startswith("refusal ")}
    differences = []
    for name in sorted(names - {"paid"}):
        seen = counts["replays" if name == "replays" else f"refusal {name}"]
        if not seen <= counted.get(name, 0) <= seen + counts["sqlstate 40001"]:
            differences.append(f"{name}: {counted.get(name, 0)} counted, {seen} seen")
    return differences


METRICS = """
    WITH recount (name, labels, value) AS (
      SELECT 'payguard_payments_total',
             jsonb_build_object('channel', p.channel, 'currency', p.currency, 'status', 'succeeded'), count(*)
      FROM payguard.payments p JOIN payguard.events e USING (payment_id)
      WHERE e.kind = 'payment.succeeded' AND e.from_status IS DISTINCT FROM e.to_status
         OR e.kind = 'order.paid' AND p.request_kind = 'pay'
      GROUP BY p.channel, p.currency
      UNION ALL
      SELECT 'payguard_payments_total',
             jsonb_build_object('channel', channel, 'currency', currency, 'status', 'started'), count(*)
      FROM payguard.payments WHERE request_kind IN ('start', 'request') GROUP BY channel, currency
      UNION ALL
      SELECT 'payguard_payments_total',
             jsonb_build_object('channel', p.channel, 'currency', p.currency, 'status', e.to_status), count(*)
      FROM payguard.payments p JOIN payguard.events e USING (payment_id)
      WHERE e.kind IN ('payment.failed', 'payment.surplus', 'payment.returned')
        AND e.from_status IS DISTINCT FROM e.to_status GROUP BY p.channel, p.currency, e.to_status
      UNION ALL
      SELECT 'payguard_refunds_total',
             jsonb_build_object('channel', r.channel, 'currency', r.currency, 'status', e.to_status), count(*)
      FROM payguard.refunds r JOIN payguard.events e USING (refund_id)
      WHERE starts_with(e.kind, 'refund.') AND e.from_status IS DISTINCT FROM e.to_status
      GROUP BY r.channel, r.currency, e.to_status
      UNION ALL
      SELECT 'payguard_orders_total', jsonb_build_object('status', 'cancelled'), count(*)
      FROM payguard.events WHERE kind = 'order.cancelled' HAVING count(*) > 0
      UNION ALL
      SELECT 'payguard_events_total', jsonb_build_object('kind', kind), count(*)
      FROM payguard.events GROUP BY kind
      UNION ALL
      SELECT 'payguard_alerts_open', jsonb_build_object('kind', kind, 'severity', severity), count(*)
      FROM payguard.alerts WHERE resolved_at IS NULL GROUP BY kind, severity)
    SELECT r.name, r.labels::text, r.value AS recount, m.value AS metric
    FROM recount r LEFT JOIN payguard.metrics m USING (name, labels)
    WHERE m.value IS DISTINCT FROM r.value"""


def metric_differences(database):
    """→ the metrics that are not what the tables say."""
    while database.rows("SELECT sum(done) AS n FROM payguard.maintain()"
                        " WHERE duty IN ('count_events', 'close_alerts')")[0]["n"]:
        pass
    return [str(row) for row in database.rows(METRICS)]
