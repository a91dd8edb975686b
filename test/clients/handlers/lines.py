"""A request a line, each in a thread of its own; and the channel, over HTTP."""
import json
import os
import sys
import threading
import urllib.request
import uuid


def ask(path):
    with urllib.request.urlopen(os.environ["SHOP_CHANNEL"] + path, timeout=6) as answer:
        status, transaction, amount, currency = answer.read().decode().split(" ")
    if status != "succeeded":
        return status, None, None, None
    return status, transaction, int(amount), currency


def charge(number, amount, currency):
    number, amount, currency = json.loads(json.dumps([number, amount, currency]))     # as a channel sends it
    return ask(f"/charge/{number}/{amount}/{currency}")


def query(number):
    return ask(f"/query/{json.loads(json.dumps(number))}")


def typed(order, key):
    """As a framework gives them: <int:order_id> an int, a form's UUIDField a UUID."""
    return int(order) if order.isdigit() else order, uuid.UUID(key) if len(key) == 36 and key.count("-") == 4 else key


def serve(checkout, webhook, inside=None):
    def answer(number, verb, first, second):
        try:
            status, state = webhook(first, bytes.fromhex(second)) if verb == "webhook" else \
                {"checkout": checkout, "inside": inside}[verb](*typed(first, second))
        except Exception as error:
            status, state = 500, " ".join(str(error).split())
        print(number, status, state, flush=True)

    threads = []
    for line in sys.stdin:
        threads.append(threading.Thread(target=answer, args=line.rstrip("\n").split(" ")))
        threads[-1].start()
    for thread in threads:
        thread.join()
