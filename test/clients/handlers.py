#!/usr/bin/python3
"""The handlers of examples/handlers in front of customers who click twice, a channel without answers, a network that loses
answers, and a database in which somebody else holds the lock.

Each handler runs in a program of its own, test/clients/handlers/app.*, which gets a request a line:
    NUMBER checkout ORDER KEY
    NUMBER inside ORDER KEY            the checkout within a transaction: Django, Rails, Spring
    NUMBER webhook SIGNATURE BODY-IN-HEX
and answers
    NUMBER STATUS STATE
`handlers.py NAME COMMAND...` tests one such program; without arguments it tests those that Debian's packages run.
"""
import hashlib
import hmac
import http.server
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.remove(HERE)     # it has a psycopg of its own
import psycopg2  # noqa: E402

sys.path.insert(0, HERE)
from tap import HOST, PORT, SRC, done, ok  # noqa: E402

APPS = {
    "psycopg": [sys.executable, HERE + "/handlers/app_psycopg.py"],
    "Django": [sys.executable, HERE + "/handlers/app_django.py"],
    "Rails": ["ruby", HERE + "/handlers/app_rails.rb"],
    "Spring": ["bash", HERE + "/handlers/app_spring.sh"],
}
IN_A_TRANSACTION = ("Django", "Rails", "Spring")     # the others' call() takes a connection of its own
SECRET = b"whsec"
LOCK_TIMEOUT = 0.2


class Lossy:
    """A way to the server that loses the first answer to each statement with a value lose-…, and the connection with it."""

    def __init__(self):
        self.lost = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            client = self.listener.accept()[0]
            server = socket.create_connection(("127.0.0.1", int(PORT)))
            losing = threading.Event()
            threading.Thread(target=self.ask, args=(client, server, losing), daemon=True).start()
            threading.Thread(target=self.answer, args=(client, server, losing), daemon=True).start()

    def ask(self, client, server, losing):
        try:
            while data := client.recv(65536):
                new = set(re.findall(rb"lose-[\w-]+", data)) - self.lost
                if new:
                    self.lost |= new
                    losing.set()
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    @staticmethod
    def answer(client, server, losing):
        try:
            while data := server.recv(65536):
                while losing.is_set() and b"Z\0\0\0\5" not in data[-6:]:     # the statement has been committed
                    data += server.recv(65536)
                if losing.is_set():
                    break
                client.sendall(data)
        except OSError:
            pass
        for end in (client, server):     # the other thread waits for it, so that closing is not enough
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()


class Channel(http.server.BaseHTTPRequestHandler):
    """GET /charge/NUMBER/AMOUNT/CURRENCY and /query/NUMBER; the answer: STATUS TRANSACTION AMOUNT CURRENCY."""

    mode = "fast"
    prefix = "txn"
    charges = []     # as asked
    taken = {}
    protocol_version = "HTTP/1.0"

    def do_GET(self):
        verb, number, *money = self.path[1:].split("/")
        mode = Channel.mode
        if verb == "charge":
            Channel.charges.append(number)
            if mode != "declines":
                Channel.taken.setdefault(number, money)
        if mode == "slow":
            time.sleep(0.3)
        if mode == "mute":
            self.rfile.read()     # nothing comes: whoever asks gives up
        if mode in ("mute", "drops"):
            return
        if number in Channel.taken:
            answer = " ".join(["authorized" if mode == "reserves" else "succeeded", f"{Channel.prefix}-{number}"] + Channel.taken[number])
        else:
            answer = "failed - - -" if verb == "charge" else "not_found - - -"
        try:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())
        except OSError:
            pass

    def log_message(self, *_):
        pass


class App:
    """A handler's program, asked by as many threads as one likes."""

    def __init__(self, command, port, channel):
        environment = dict(os.environ, SHOP_PORT=str(port), SHOP_CHANNEL=f"http://127.0.0.1:{channel}", SHOP_SECRET=SECRET.decode())
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", env=environment)
        self.numbers = itertools.count(1)
        self.waiting, self.answers, self.log = {}, {}, []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:     # the first comes when it has been compiled
            answer = re.fullmatch(r"(\d+) (\d{3}) (.*)\n", line)
            if answer is None:
                self.log.append(line.rstrip())     # what it, or a library, has to say
                continue
            number = int(answer[1])
            self.answers[number] = (int(answer[2]), answer[3])
            self.waiting[number].set()
        for number, event in list(self.waiting.items()):     # it has ended
            self.answers.setdefault(number, (0, "no answer"))
            event.set()

    def ask(self, *words):
        number = next(self.numbers)
        self.waiting[number] = threading.Event()
        self.process.stdin.write(" ".join([str(number), *words]) + "\n")
        self.process.stdin.flush()
        return number

    def wait(self, number):
        return self.answers[number] if self.waiting[number].wait(180) else (0, "no answer")

    def checkout(self, order, key, verb="checkout"):
        return self.wait(self.ask(verb, order, key))

    def webhook(self, body, signature=None):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return self.wait(self.ask("webhook", signature or hmac.new(SECRET, body, hashlib.sha256).hexdigest(), body.hex()))

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)


def connect(database):
    db = psycopg2.connect(host=HOST, port=PORT, user="postgres", dbname=database)
    db.autocommit = True
    return db


def prepare():
    """The database of examples/handlers; made by the first who comes."""
    with connect("postgres").cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = 'handlers'")
        if cursor.rowcount:
            return
        cursor.execute("CREATE DATABASE handlers")
    subprocess.run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", "handlers", "-f", SRC + "/examples/handlers/setup.sql"],
                   check=True, stdout=subprocess.DEVNULL)
    with connect("handlers").cursor() as cursor:
        cursor.execute(f"ALTER ROLE web SET lock_timeout = '{LOCK_TIMEOUT}s'")
        # the first two tries with such a key meet a conflict; a sequence is not rolled back
        cursor.execute("""
            CREATE SEQUENCE tries;
            CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
              IF nextval('public.tries') % 3 <> 0 THEN
                RAISE SQLSTATE '40001';
              END IF;
              RETURN NEW;
            END $$;
            CREATE TRIGGER conflict BEFORE INSERT ON payguard.payments FOR EACH ROW
            WHEN (NEW.idempotency_key LIKE 'conflict-%') EXECUTE FUNCTION conflict();
            CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
              RAISE 'the row cannot be changed now';
            END $$;
            GRANT USAGE ON SEQUENCE tries TO web;
            -- a shop whose orders and customers have numbers
            CREATE SCHEMA numbers;
            CREATE TABLE numbers.shop_orders (
              id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer bigint NOT NULL, total numeric(12, 2) NOT NULL,
              currency text NOT NULL DEFAULT 'EUR', status text NOT NULL DEFAULT 'new');
            GRANT USAGE ON SCHEMA numbers TO web;
            GRANT SELECT, INSERT, UPDATE (status) ON numbers.shop_orders TO web""")


def main(name, command):
    db = connect("handlers")
    serial = itertools.count(1)
    bank = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Channel)
    threading.Thread(target=bank.serve_forever, daemon=True).start()
    way = Lossy().port
    app = App(command, way, bank.server_port)

    def run(sql, *values):
        with db.cursor() as cursor:
            cursor.execute(sql, values)
            return cursor.fetchall() if cursor.description else None

    def value(sql, *values):
        return run(sql, *values)[0][0]

    def new(total="26.03"):
        order = f"{name}-{next(serial)}"
        run("INSERT INTO shop_orders VALUES (%s, 'anna', %s)", order, total)
        return order

    def made(order):
        return run("SELECT payment_id, idempotency_key, status FROM payguard.payments WHERE order_id = %s ORDER BY payment_id", order)

    def row(order):
        return value("SELECT status FROM shop_orders WHERE id = %s", order)

    def is_paid(order, key):
        """By one payment with that key, whose money was taken once, and the shop's row knows."""
        payments = made(order)
        return (len(payments) == 1 and payments[0][1:] == (key, "succeeded") and payments[0][0] in Channel.taken
                and row(order) == "paid")

    def test(good, what, *seen):
        ok(good, f"{name}: {what}" + ("" if good else f": {seen}"))
        if not good:
            print("\n".join("# " + line for line in app.log[-40:]))

    # a payment, and what comes after it; a first one loads what is needed, and may be too slow for its time-out
    order = new()
    app.checkout(order, order)
    order = new()
    answer = app.checkout(order, order)
    test(answer == (200, "paid") and is_paid(order, order), "paid", answer, made(order), row(order))
    test(Channel.taken[made(order)[0][0]] == ["2603", "EUR"], "26.03 are 2603 cents", Channel.taken)
    charges = len(Channel.charges)
    answers = [app.checkout(order, order), app.checkout(order, order + "-again")]
    test(answers == [(200, "paid")] * 2 and len(Channel.charges) == charges, "the key again, and another key: paid already", answers)
    left = new()
    run("SELECT payguard.create_order(%s, 2603, 'EUR', 'anna')", left)
    run("SELECT payguard.record_payment(%s, 'card', %s, 2603, 'EUR')", left, f"txn-{left}")
    answers = [row(left), app.checkout(left, left), row(left)]
    test(answers == ["new", (200, "paid"), "paid"], "a row that was left behind follows at the next checkout", answers)
    answers = [app.checkout("nothing", "nothing"), app.checkout(new(), order)]
    test(answers == [(404, "not found"), (400, "key")] and len(Channel.charges) == charges,
         "no such order; the key of another order", answers)
    order = new()
    answer = app.checkout(order, "")
    test(answer == (400, "key") and made(order) == [], "a form without a key", answer, made(order))
    run("SELECT payguard.create_order(%s, 2603, 'EUR', 'anna')", order)
    run("UPDATE shop_orders SET total = 31 WHERE id = %s", order)
    answers = [app.checkout(order, order)]
    run("SELECT payguard.update_order(%s, 1, 3100)", order)
    answers.append(app.checkout(order, order))
    test(answers == [(409, "changed"), (200, "paid")] and Channel.taken[made(order)[0][0]] == ["3100", "EUR"],
         "another price than payguard's: changed; update_order(), and it is paid", answers)
    closed = new()
    run("SELECT payguard.create_order(%s, 2603, 'EUR', 'anna')", closed)
    run("SELECT payguard.cancel_order(%s)", closed)
    answer = app.checkout(closed, closed)
    run("SELECT payguard.sync_rows(%s)", closed)
    test(answer == (410, "closed") and row(closed) == "cancelled", "a cancelled order, and its row", answer, row(closed))

    # a double click
    Channel.mode = "slow"
    order = new()
    answers = [app.wait(number) for number in [app.ask("checkout", order, order) for _ in range(2)]]
    test((200, "paid") in answers and all(a in ((200, "paid"), (202, "pending")) for a in answers) and is_paid(order, order),
         "a double click with one key", answers, made(order))
    order = new()
    answers = [app.wait(number) for number in [app.ask("checkout", order, order + tab) for tab in ("-1", "-2")]]
    test(sorted(answers) == [(200, "paid"), (409, "wait")] and len(made(order)) == 1, "two tabs at once", answers, made(order))
    Channel.mode = "fast"

    # lost answers: of start_payment(), of report_payment(), of record_notification()
    order = new()
    key = f"lose-{order}"
    answer = app.checkout(order, key)
    test(answer == (200, "paid") and is_paid(order, key), "the answer to start_payment() is lost", answer, made(order))
    order, Channel.prefix = new(), "lose"
    answer = app.checkout(order, order)
    Channel.prefix = "txn"
    test(answer == (200, "paid") and is_paid(order, order), "the answer to report_payment() is lost", answer, made(order))
    answer = app.webhook({"id": f"lose-event-{name}", "status": "succeeded", "transaction": f"nobody-{name}"})
    kept = value("SELECT count(*) FROM payguard.notifications WHERE event_id = %s", f"lose-event-{name}")
    test(answer[0] == 200 and kept == 1, "the answer to record_notification() is lost", answer, kept)

    # not done, and to be done again: a conflict, a lock that somebody holds
    order = new()
    key = f"conflict-{order}"
    before = value("SELECT last_value FROM tries")
    answer = app.checkout(order, key)
    test(answer == (200, "paid") and is_paid(order, key), "40001 twice", answer, made(order))
    test(value("SELECT last_value FROM tries") >= before + 2, "it was called again with the same key")
    order = new()
    run("SELECT payguard.create_order(%s, 2603, 'EUR', 'anna')", order)
    holder = connect("handlers")
    holder.autocommit = False
    holder.cursor().execute("SELECT FROM payguard.orders WHERE order_id = %s FOR UPDATE", (order,))
    number = app.ask("checkout", order, order)
    time.sleep(3 * LOCK_TIMEOUT)
    holder.rollback()
    answer = app.wait(number)
    test(answer == (200, "paid") and is_paid(order, order), "55P03: a lock that outlasts lock_timeout", answer, made(order))
    if name in IN_A_TRANSACTION:
        order = new()
        run("SELECT payguard.create_order(%s, 2603, 'EUR', 'anna')", order)
        holder.cursor().execute("SELECT FROM payguard.orders WHERE order_id = %s FOR UPDATE", (order,))
        number = app.ask("inside", order, order)
        time.sleep(3 * LOCK_TIMEOUT)     # who repeats it gets the lock then
        holder.rollback()
        answer = app.wait(number)
        test(answer[0] == 500 and "lock timeout" in answer[1], "55P03 inside of a transaction: told as it is, and not repeated", answer)
        answers = [app.checkout(order, order), app.checkout(order, order + "-again", "inside" if name != "Spring" else "checkout")]
        test(answers == [(200, "paid")] * 2, "a refusal inside of a transaction: the transaction goes on", answers)

    # no answer of the channel
    Channel.mode = "mute"
    order = new()
    answer = app.checkout(order, order)
    test(answer == (202, "pending") and made(order)[0][2] == "unknown" and row(order) == "new", "no answer of the channel: unknown", answer, made(order))
    test(any(made(order)[0][0] in line for line in app.log), "and it is logged, with the payment's number")
    Channel.mode = "fast"
    answer = app.checkout(order, order)
    test(answer == (200, "paid") and is_paid(order, order) and Channel.charges.count(made(order)[0][0]) == 1,
         "the same key again asks the channel, and does not charge anew", answer, made(order))
    Channel.mode = "declines"
    order = new()
    answers = [app.checkout(order, order), app.checkout(order, order)]
    Channel.mode = "fast"
    answers.append(app.checkout(order, order + "-2"))
    test(answers == [(402, "failed"), (402, "failed"), (200, "paid")], "declined; the key is spent; a new one pays", answers)

    Channel.mode = "reserves"
    order = new()
    answers = [app.checkout(order, order), app.checkout(order, order)]
    Channel.mode = "fast"
    payment = made(order)[0][0]
    test(answers == [(202, "authorized")] * 2 and row(order) == "new" and Channel.charges.count(payment) == 1,
         "reserved money is not taken yet: the row stays, and the key again does not charge", answers, row(order))
    run("SELECT payguard.capture_payment(%s)", payment)
    answers = [app.checkout(order, order), app.webhook({"id": f"capture-{order}", "payment": payment, "status": "succeeded",
                                                        "transaction": f"txn-{payment}", "amount": 2603, "currency": "EUR"})]
    test(answers == [(202, "capturing"), (200, "applied")] and is_paid(order, order), "the message of its capture pays", answers, made(order))

    # webhooks
    Channel.mode = "drops"
    order = new()
    app.checkout(order, order)
    Channel.mode = "fast"
    payment = made(order)[0][0]
    message = {"id": f"event-{order}", "payment": payment, "status": "succeeded", "transaction": f"txn-{payment}", "amount": 2603, "currency": "EUR"}
    answers = [app.webhook(message, signature) for signature in ("00" * 32, "none", "\u00e9" * 64)]
    test(answers == [(400, "signature")] * 3 and row(order) == "new", "a forged webhook", answers)
    answers = [app.webhook(dict(message, id=f"odd-{order}", amount=26.03)), app.webhook(dict(message, id=f"odd2-{order}", payment="none"))]
    test([status for status, _ in answers] == [200, 200] and made(order)[0][2] == "unknown", "a value that cannot be read: kept, and nothing follows", answers)
    run(f'CREATE TRIGGER broken BEFORE UPDATE ON shop_orders FOR EACH ROW WHEN (OLD.id = \'{order}\') EXECUTE FUNCTION broken()')
    answer = app.webhook(message)
    test(answer[0] == 500 and made(order)[0][2] == "succeeded" and row(order) == "new", "the shop's row fails: what the channel said stays", answer, made(order))
    run("DROP TRIGGER broken ON shop_orders")
    answers = [app.webhook(message), app.webhook(message)]
    test(answers == [(200, "duplicate")] * 2 and is_paid(order, order), "the webhook comes again: the row follows, and once is enough", answers, made(order))
    refund = value("SELECT refund_id FROM payguard.refund_order(%s, %s, reason := 'it came back')", order, f"return-{order}")
    answers = [app.webhook(dict(message, id=f"refund-{order}", refund=refund, transaction=f"re-{order}"))]
    run("SELECT payguard.sync_rows(%s)", order)
    answers += [row(order)] + run("SELECT kind FROM payguard.alerts WHERE order_id = %s", order)
    answers += run("SELECT status, channel_refund_id FROM payguard.refunds WHERE order_id = %s", order)
    test(answers == [(200, "applied"), "refunded", ("succeeded", f"re-{order}")], "a refund's webhook is one of the refund", answers)
    with open(SRC + "/test/clients/bodies.txt", encoding="utf-8") as file:
        bodies = [line.split(" ")[1] for line in file if not line.startswith("#")] + [b.hex() for b in (b"null", b"[1]", b'{"id": {"a": "\\u0000"}}')]
    answers = [app.webhook(bytes.fromhex(body)) for body in bodies]
    kept = {hexed for hexed, in run("SELECT encode(body, 'hex') FROM payguard.notifications WHERE channel = 'card'")}
    test({status for status, _ in answers} == {200} and kept >= set(bodies), "bodies of any bytes are kept as they came", answers, set(bodies) - kept)
    app.end()

    # numbers as ids
    run("ALTER ROLE web SET search_path = numbers")
    app = App(command, way, bank.server_port)
    order, other = (str(value("INSERT INTO numbers.shop_orders (customer, total) VALUES (7, 26.03) RETURNING id")) for _ in range(2))
    Channel.mode = "drops"
    app.checkout(order, f"number-{name}-{order}")
    Channel.mode = "fast"
    payment = made(order)[0][0]
    answers = [app.webhook({"id": f"number-{name}-{order}", "payment": payment, "status": "succeeded", "transaction": f"txn-{payment}",
                            "amount": 2603, "currency": "EUR"}), app.checkout(other, str(uuid.uuid4()))]
    seen = run("SELECT s.status, o.status, o.customer_id FROM numbers.shop_orders s JOIN payguard.orders o ON o.order_id = s.id::text"
               " WHERE s.id IN (%s, %s)", order, other)
    test(answers == [(200, "applied"), (200, "paid")] and seen == [("paid", "paid", "7")] * 2, "numbers as ids, and a UUID as key", answers, seen)
    app.end()
    run("ALTER ROLE web RESET search_path")
    test(run("SELECT * FROM payguard.verify()") == [], "verify() finds nothing")
    bank.shutdown()


prepare()
if len(sys.argv) > 2:
    main(sys.argv[1], sys.argv[2:])
else:
    for language, command in APPS.items():
        main(language, command)
done()
