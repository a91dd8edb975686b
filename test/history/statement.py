"""Settlement: a channel's statement that says what payguard knows, archived orders included, has no
finding, and a line that says something else has just the one that it should have.
"""
CHANNELS = 10       # of those with the most payments

PAYMENTS = """
    INSERT INTO payguard.settlement_lines (channel, channel_txn_id, payment_id, amount, currency, channel_time)
    SELECT channel, coalesce(channel_txn_id, 'of ' || payment_id), payment_id, received_amount, received_currency, now()
    FROM payguard.every_payment
    WHERE channel = ANY (%(channels)s) AND status IN ('succeeded', 'surplus') AND received_amount > 0
"""
REFUNDS = """
    INSERT INTO payguard.settlement_lines (channel, kind, channel_txn_id, channel_refund_id, refund_id, amount, currency,
        channel_time)
    SELECT r.channel, coalesce(r.reversal_kind, 'refund'), p.channel_txn_id, coalesce(r.channel_refund_id, 'of ' || r.refund_id),
        r.refund_id, r.returned_amount, r.currency, now()
    FROM payguard.every_refund r JOIN payguard.every_payment p USING (payment_id)
    WHERE r.channel = ANY (%(channels)s) AND r.status = 'succeeded'
"""
# a payment's line that contradicts the first: another amount; a line of money that nobody knows
OTHER = """
    INSERT INTO payguard.settlement_lines (channel, channel_txn_id, payment_id, amount, currency, channel_time)
    SELECT channel, channel_txn_id, payment_id, received_amount + 1, received_currency, now()
    FROM payguard.every_payment WHERE payment_id = %(payment)s
    UNION ALL SELECT channel, 'nobody knows it', NULL, 7, 'EUR', now()
    FROM payguard.every_payment WHERE payment_id = %(payment)s
"""
RECONCILE = """
    SELECT r.finding, r.payment_id, r.is_new, r.alert_id, r.details FROM unnest(%(channels)s::text[]) c,
        payguard.reconcile(c, period_end => now() + interval '1 hour', grace => '0 s') r
    ORDER BY 1
"""


def check_statement(cursor):
    """What is wrong, as lines."""
    # not those that made a refund of a charge that was dismissed: it is no line's
    cursor.execute("SELECT channel FROM payguard.every_payment WHERE channel <> 'internal' AND received_amount > 0"
                   " AND channel NOT IN (SELECT r.channel FROM payguard.every_refund r"
                   " JOIN payguard.every_payment p USING (payment_id)"
                   " WHERE r.status = 'succeeded' AND p.status NOT IN ('succeeded', 'surplus'))"
                   " GROUP BY 1 ORDER BY count(*) DESC LIMIT %s", (CHANNELS,))
    values = {"channels": [channel for channel, in cursor.fetchall()]}
    cursor.execute(PAYMENTS, values)
    cursor.execute(REFUNDS, values)
    cursor.execute(RECONCILE, values)
    wrong = [f"found in a statement that agrees: {row}" for row in cursor.fetchall()]
    cursor.execute("SELECT payment_id FROM payguard.every_payment WHERE channel = ANY (%(channels)s)"
                   " AND status = 'succeeded' AND channel_txn_id IS NOT NULL LIMIT 1", values)
    payment = cursor.fetchone()
    if wrong or payment is None:
        return wrong
    values["payment"] = payment[0]
    cursor.execute(OTHER, values)
    for is_new in (True, False):
        cursor.execute(RECONCILE, values)
        found = cursor.fetchall()
        if [row[:3] for row in found] != [("amount_mismatch", payment[0], is_new), ("missing_locally", None, is_new)]:
            wrong.append(f"found in a statement that differs: {found}")
    for row in found:
        cursor.execute("SELECT payguard.resolve_finding(%s, 'waive', 'so be it')", (row[3],))
    cursor.execute(RECONCILE, values)
    return wrong + [f"found again: {row}" for row in cursor.fetchall()]
