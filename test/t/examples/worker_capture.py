#!/usr/bin/python3
# examples/worker with a channel that reserves money: it is captured once, under the capture's own key, and given up.

import datetime
import http.server
import json
import os
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
sys.dont_write_bytecode = True

import cluster
from tap import Tap

WORKER = os.path.join(HERE, "..", "..", "..", "examples", "worker", "worker.py")
UNTIL = "2099-03-15T21:49:58+00:00"


class Bank(http.server.BaseHTTPRequestHandler):
    """What was asked, and what is answered to each kind of task."""

    asked = []
    answers = {}

    def do_POST(self):
        kind = self.path.rsplit("/", 1)[1]
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Bank.asked.append((kind, request["amount"], request["txn"], request["capture"],
                           self.headers["Idempotency-Key"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(Bank.answers[kind]).encode())

    def log_message(self, *_):
        pass


def checks(server):
    cursor = server.connect().cursor()

    def value(sql, *values):
        cursor.execute(sql, values)
        return cursor.fetchone()[0]

    def work(**answers):
        """The worker does what is due. → what it asked the channel"""
        Bank.asked, Bank.answers = [], answers
        done = subprocess.run([sys.executable, WORKER, "--once", server.dsn.replace("user=postgres", "user=worker"),
                               f"bank=http://127.0.0.1:{bank.server_port}/v1"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            print("#", done.stdout)
        return Bank.asked

    def stands(order):
        cursor.execute("SELECT o.status, p.status, p.authorized_amount, p.received_amount, p.capture_before"
                       " FROM payguard.orders o JOIN payguard.payments p USING (order_id) WHERE order_id = %s", [order])
        return cursor.fetchone()

    bank = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Bank)
    threading.Thread(target=bank.serve_forever, daemon=True).start()
    cursor.execute("CREATE EXTENSION payguard SCHEMA pg_catalog")
    cursor.execute("CREATE ROLE worker LOGIN")
    cursor.execute("SELECT payguard.grant_access('worker', 'channel'), payguard.register_channel('bank')")
    reserved = {"status": "authorized", "txn": "a-1", "amount": 50000, "currency": "EUR", "capture_before": UNTIL}
    until = datetime.datetime.fromisoformat(UNTIL)

    value("SELECT payguard.create_order('a', 50000, 'EUR')")
    payment = value("SELECT payment_id::text FROM payguard.request_payment('a', 'a', 'bank', capture => 'manual')")
    asked = work(charge=reserved)
    yield "a charge that reserves", asked == [("charge", 50000, None, "manual", payment)], asked
    yield "is authorized, until when the channel says", stands("a") == ("paying", "authorized", 50000, None, until), stands("a")
    value("SELECT payguard.update_order('a', (SELECT version FROM payguard.orders WHERE order_id = 'a'), 30000)")
    key = value("SELECT payguard.capture_payment(%s); SELECT capture_id::text FROM payguard.payments", payment)
    asked = work(capture={"status": "authorized", "txn": "a-1", "code": "refused"})
    yield "a capture has its own key, and what the order asks now", asked == [("capture", 30000, "a-1", "manual", key)], asked
    yield "that was refused: the money is reserved as before", stands("a") == ("paying", "authorized", 50000, None, until), stands("a")
    value("SELECT payguard.capture_payment(%s)", payment)
    asked = work(capture={"status": "succeeded", "txn": "a-1", "amount": 30000, "currency": "EUR"})
    yield "the next capture is another request", [ask[:3] for ask in asked] == [("capture", 30000, "a-1")] and asked[0][4] != key, asked
    yield "and pays the order", stands("a") == ("paid", "succeeded", 50000, 30000, until), stands("a")

    value("SELECT payguard.create_order('b', 50000, 'EUR')")
    payment = value("SELECT payment_id::text FROM payguard.request_payment('b', 'b', 'bank', capture => 'manual')")
    work(charge=dict(reserved, txn="b-1", capture_before="soon"))
    yield "a time that cannot be read: unknown", stands("b")[1] == "unknown", stands("b")
    value("SELECT payguard.query_payment(%s)", payment)
    asked = work(query=dict(reserved, txn="b-1"))
    yield "a query finds the money reserved", asked[0][0] == "query" and stands("b")[1:3] == ("authorized", 50000), asked, stands("b")
    value("SELECT payguard.close_payment(%s)", payment)
    asked = work(close={"status": "closed"})
    yield "it is given up, under its transaction", asked == [("close", 50000, "b-1", "manual", payment)], asked
    yield "and the order can be paid another way", stands("b")[:2] == ("unpaid", "failed"), stands("b")
    cursor.execute("SELECT * FROM payguard.verify()")
    found = cursor.fetchall()
    yield "verify() finds nothing", found == [], found


def main():
    tap = Tap()
    with cluster.Cluster() as server:
        tap.each(checks(server))
    sys.exit(tap.done())


main()
