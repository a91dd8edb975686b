"""Checkout and webhook with psycopg 3: "pool" is a psycopg_pool.ConnectionPool(..., kwargs={"autocommit": True})."""
import hashlib
import hmac
import json
import logging
import time

import psycopg

# What the page says where payguard refuses: by the CONSTRAINT of the error.
REFUSED = {
    "order_already_paid": (200, "paid"),
    "payment_in_progress": (409, "wait"),     # another click, with another key
    "payment_failed": (402, "failed"),        # this key is spent: the form gets a new one
    "order_id_reused": (409, "changed"),      # the row has another price than payguard: update_order()
    "amount_mismatch": (409, "changed"),      # the page shows another price: it is made anew
    "idempotency_key_reused": (400, "key"),   # it is the key of another order
    "order_closed": (410, "closed"),
    "order_not_found": (404, "not found"),
}
STATUS = {"paid": 200, "pending": 202, "authorized": 202, "capturing": 202, "closing": 202, "failed": 402}


def checkout(pool, channel, order_id, key):
    """Returns the HTTP status and a word for the page.

    channel.charge(number, amount, currency) takes money once for one number, channel.query(number) asks what became of it.
    Both return (status, transaction, amount, currency), the status in payguard's words, and need a time-out.
    """
    if not key:
        return 400, "key"
    try:
        call(pool, """SELECT o.status FROM shop_orders s, payguard.create_order(
            s.id::text, payguard.minor_units(s.total, s.currency), s.currency, s.customer::text) o
            WHERE s.id = %s""", order_id)
        payment, outcome, status, amount, currency = call(pool, """SELECT payment_id::text, outcome, payment_status, amount, currency
            FROM payguard.start_payment(%s::text, %s::text, 'card')""", order_id, key)
    except psycopg.Error as error:
        name = error.diag.constraint_name
        if name not in REFUSED:
            raise
        if name == "order_already_paid":
            follow(pool, order_id)     # a row that was left behind
        return REFUSED[name]
    if outcome == "pending":
        try:
            answer = channel.charge(payment, amount, currency) if status == "pending" else channel.query(payment)
        except Exception:
            logging.exception("payment %s: no answer of the channel", payment)
            answer = ("unknown", None, None, None)     # it may have been charged: never "failed"
        outcome, = call(pool, "SELECT outcome FROM payguard.report_payment(%s, %s, %s, %s, %s)", payment, *answer)
    follow(pool, order_id)
    return STATUS.get(outcome, 409), outcome


def webhook(pool, secret, body, signature):
    """body: the bytes as they came, since the signature is over them."""
    expected = hmac.new(secret, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), (signature or "").encode()):
        return 400, "signature"

    def record(message):
        values = [message.get(name) for name in ("id", "payment", "refund", "status", "transaction", "amount", "currency")]
        texts = [None if value is None else str(value) for value in values]     # PostgreSQL reads them: 26.03 is no bigint
        return call(pool, """SELECT result, order_id FROM payguard.record_notification('card', %s, %s, %s, %s,
            channel_status := %s, channel_txn_id := %s, amount := %s, currency := %s)""", body, *texts)

    try:
        result, order_id = record(json.loads(body))
    except (ValueError, AttributeError, psycopg.DataError):
        result, order_id = record({})     # it is kept as it came, and a person is told
    if order_id:
        follow(pool, order_id)
    return 200, result


def follow(pool, order_id):
    """The shop's own row comes second. It can be done again at any time."""
    call(pool, """UPDATE shop_orders SET status = 'paid'
        WHERE id = %(id)s AND status = 'new' AND (SELECT status FROM payguard.order_status(%(id)s::text)) = 'paid'""", id=order_id)


def call(pool, sql, *values, **named):
    """One statement, which is one transaction. It is repeated as it is, with the same key, where it was not done (40001,
    55P03), and where nobody knows since the connection was lost."""
    pause = 0.05
    while True:
        try:
            with pool.connection() as db:
                cursor = db.execute(sql, named or values)
                return cursor.fetchone() if cursor.description else None
        except psycopg.OperationalError as error:     # 40001 and 55P03 are such errors, too
            if pause > 1:
                raise
        time.sleep(pause)
        pause *= 2
