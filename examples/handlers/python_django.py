"""Checkout and webhook as Django views. They use the default database in autocommit, as Django does by itself.

In the settings: SHOP_CHANNEL, the dotted path of a module that calls the channel ("shop.bank"), and SHOP_WEBHOOK_SECRET,
the secret of the webhook's signature as bytes (b"…").
"""
import hashlib
import hmac
import json
import logging
import time
from importlib import import_module

from django.conf import settings
from django.db import DataError, Error, InterfaceError, OperationalError, connection, transaction
from django.http import JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

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


@require_POST
@transaction.non_atomic_requests     # the channel is not called inside a transaction, whatever ATOMIC_REQUESTS says
def checkout(request, order_id):
    """The module settings.SHOP_CHANNEL has charge(number, amount, currency), which takes money once for one number, and
    query(number). Both return (status, transaction, amount, currency), the status in payguard's words, and need a time-out."""
    channel, key = import_module(settings.SHOP_CHANNEL), request.POST.get("key")
    if not key:
        return JsonResponse({"state": "key"}, status=400)
    try:
        call("""SELECT o.status FROM shop_orders s, payguard.create_order(
            s.id::text, payguard.minor_units(s.total, s.currency), s.currency, s.customer::text) o
            WHERE s.id = %s""", order_id)
        payment, outcome, status, amount, currency = call("""SELECT payment_id::text, outcome, payment_status, amount, currency
            FROM payguard.start_payment(%s::text, %s::text, 'card')""", order_id, key)
    except Error as error:
        name = error.__cause__.diag.constraint_name
        if name not in REFUSED:
            raise
        if name == "order_already_paid":
            follow(order_id)     # a row that was left behind
        status, state = REFUSED[name]
        return JsonResponse({"state": state}, status=status)
    if outcome == "pending":
        try:
            answer = channel.charge(payment, amount, currency) if status == "pending" else channel.query(payment)
        except Exception:
            logging.exception("payment %s: no answer of the channel", payment)
            answer = ("unknown", None, None, None)     # it may have been charged: never "failed"
        outcome, = call("SELECT outcome FROM payguard.report_payment(%s, %s, %s, %s, %s)", payment, *answer)
    follow(order_id)
    return JsonResponse({"state": outcome}, status=STATUS.get(outcome, 409))


@csrf_exempt
@require_POST
@transaction.non_atomic_requests
def webhook(request):
    """request.body: the bytes as they came, since the signature is over them."""
    body = request.body
    expected = hmac.new(settings.SHOP_WEBHOOK_SECRET, body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), request.headers.get("Signature", "").encode()):
        return JsonResponse({"state": "signature"}, status=400)

    def record(message):
        values = [message.get(name) for name in ("id", "payment", "refund", "status", "transaction", "amount", "currency")]
        texts = [None if value is None else str(value) for value in values]     # PostgreSQL reads them: 26.03 is no bigint
        return call("""SELECT result, order_id FROM payguard.record_notification('card', %s, %s, %s, %s,
            channel_status := %s, channel_txn_id := %s, amount := %s, currency := %s)""", body, *texts)

    try:
        result, order_id = record(json.loads(body))
    except (ValueError, AttributeError, DataError):
        result, order_id = record({})     # it is kept as it came, and a person is told
    if order_id:
        follow(order_id)
    return JsonResponse({"state": result})


def follow(order_id):
    """The shop's own row comes second. It can be done again at any time."""
    call("""UPDATE shop_orders SET status = 'paid'
        WHERE id = %s AND status = 'new' AND (SELECT status FROM payguard.order_status(%s::text)) = 'paid'""", order_id, order_id)


def call(sql, *values):
    """One statement, which is one transaction. It is repeated as it is, with the same key, where it was not done (40001,
    55P03), and where nobody knows since the connection was lost.

    Inside of atomic() (a TestCase, too) nothing is repeated: the whole block is to be. There it is a savepoint, so that the
    block may go on behind a refusal."""
    if connection.in_atomic_block:
        with transaction.atomic():
            return execute(sql, values)
    pause = 0.05
    while True:
        try:
            return execute(sql, values)
        except (OperationalError, InterfaceError):     # 40001 and 55P03 are such errors, too
            connection.close_if_unusable_or_obsolete()
            if pause > 1:
                raise
        time.sleep(pause)
        pause *= 2


def execute(sql, values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone() if cursor.description else None
