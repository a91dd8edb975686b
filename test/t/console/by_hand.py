#!/usr/bin/python3
"""The console, asked by hand: forms that are stale, files that say too little, people who sign in too often, a server that
does not answer, and whatever else may be sent."""
import contextlib
import importlib.util
import os
import re
import socket
import struct
import sys
import threading
import time
import urllib.parse

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "..", "..", folder) for folder in ("lib", "demo")]
from tap import Tap, skip, wait_for  # noqa: E402

if not all(map(importlib.util.find_spec, ("flask", "flask_wtf", "flask_babel", "psycopg", "waitress"))):
    skip("what the console needs is not installed")

import shop  # noqa: E402
from desk import Books, Stranger, reachable, words_of  # noqa: E402

tap = Tap()
HEADER = "Date;Type;Transaction;Our order;Gross;Currency;State\n"
# which column of HEADER is which
COLUMNS = {"channel_time": "0", "kind": "1", "channel_txn_id": "2", "order_id": "3", "amount": "4", "currency": "5", "channel_status": "6", "mark": ","}


def scenes(day):
    """Orders that were paid twice, one after another."""
    for number in range(7):
        day.paid_again(1000 + number, f"{1101 + number}")
    day.large_order()
    order = day.new_order(70000, "customer-1", "1110")
    payment = day.start(order, "card")
    day.report(payment, "failed")
    day.report(payment, "succeeded", "ch_1110", 70000)
    day.wait(-day.offset)
    day.maintain()


@contextlib.contextmanager
def console(server, **settings):
    with shop.served(server, **settings) as (address, log):
        if not wait_for(lambda: reachable(address), 30, 0.2):
            with open(log, encoding="utf-8") as file:
                raise RuntimeError(file.read())
        yield address, log


def signed_in(address, role):
    person = Stranger(address)
    person.sign_in(role)
    return person


def as_role(server, role):
    """A connection beside the console, with a transaction that is open."""
    return psycopg2.connect(host=server.folder, port=5432, user=role, password=role, dbname="postgres")


# Whoever was faster, and what has changed since a page was shown.

def stale(address, books):
    """What changed in what a person reads stops the action that is confirmed, and is shown."""
    ana, ben = signed_in(address, "ana"), signed_in(address, "ben")
    case = books.case("1101", "surplus_payment")
    path = f"/case/{case}/was_sent_back"
    form = ana.token(path) | {"note": "as agreed on the phone"}
    ben.ask(f"/case/{case}/take", ben.token(f"/case/{case}/take") | {"note": "ben looks into it"})
    before = books.written()
    status, page = ana.ask(path, form)
    tap.ok(status == 409 and "Something has changed" in page and "ben: ben looks into it" in words_of(page) and "as agreed on the phone" in page
           and books.written() == before, "somebody has taken the case since: nothing is done, the page shows who, and the note is kept", status, words_of(page))
    form = dict(re.findall(r'name="(csrf_token|seen)" value="([^"]*)"', page)) | {"note": "as agreed on the phone"}
    payment = books.rows("SELECT payment_id::text FROM payguard.payments WHERE order_id = '1101' AND status = 'surplus'")[0][0]
    books.rows("SELECT payguard.record_reversal('paypal', 'part-1101', channel_txn_id, 'refund', 200, 'EUR') FROM payguard.payments"
               " WHERE payment_id = %s", payment)
    before = books.written()
    status, page = ana.ask(path, form)
    tap.ok(status == 409 and "2.00" in words_of(page) and books.written() == before,
           "a part went back since: nothing is done, and the page shows it", status, words_of(page))
    # an old page of the case leads to the action as it is now, and says so
    shown = re.search(rf'"(/case/{case}/[a-z_]+\?seen=\w+)"', ana.ask(f"/case/{case}")[1])[1]
    tap.ok("Something has changed" not in ana.ask(shown)[1], "a page that is not stale says nothing of the kind")
    books.rows("SELECT payguard.record_notification('paypal', 'x'::text, 'x-1101', payment_id := %s, channel_status := 'failed')", payment)
    tap.ok("Something has changed" in ana.ask(shown)[1], "a page of the case that is stale says so where an action is chosen")
    path = f"/case/{books.case('1106', 'surplus_payment')}/take"
    status, page = ana.ask(path, ana.token(path) | {"note": " "})
    tap.ok(status == 400 and "Fill in every field" in page, "without a note nothing is done")


def faster(server, address, books):
    """Where somebody else was faster it says so, and never that it is done."""
    ana, ben = signed_in(address, "ana"), signed_in(address, "ben")
    case = books.case("1102", "surplus_payment")
    path = f"/case/{case}/was_sent_back"
    form, ours = ana.token(path) | {"note": "mine"}, ben.token(path) | {"note": "it was ben"}
    done = words_of(ben.ask(path, ours)[1])
    tap.ok("Done: It was sent back outside" in done, "whoever was faster has done it", done)
    status, page = ana.ask(path, form)
    said = words_of(page)
    tap.ok(status == 409 and "Done:" not in said and "Nothing was done by you" in said and "Last here was ben: it was ben" in said,
           "the other one is told who has done it, with his note", status, said)
    case = books.case("1103", "surplus_payment")
    form, ours = ana.token(f"/case/{case}/take") | {"note": "mine"}, ben.token(f"/case/{case}/take") | {"note": "it is ben's"}
    ben.ask(f"/case/{case}/take", ours)
    status, page = ana.ask(f"/case/{case}/take", form)
    tap.ok(status == 409 and "ben has taken this case" in words_of(page), "a case that somebody has taken is not taken from him", status, words_of(page))
    # at the very same moment: the other transaction has done it, and ends while the console waits for it
    for order, call, what in (("1104", "SELECT payguard.settle_refund(%s, 'succeeded', 'the other one')", "the same"),
                              ("1105", "SELECT payguard.waive_refund(%s, 'the other one')", "something else")):
        refund = books.rows("SELECT refund_id::text FROM payguard.refunds WHERE order_id = %s", order)[0][0]
        case = books.case(order, "surplus_payment")
        path = f"/case/{case}/was_sent_back"
        form = ana.token(path) | {"note": "mine"}
        other = as_role(server, "ben")
        other.cursor().execute(call, (refund,))
        got = []
        waits = threading.Thread(target=lambda: got.append(ana.ask(path, form)))     # noqa: B023
        waits.start()
        blocked = wait_for(lambda: books.rows("SELECT count(*) FROM pg_stat_activity WHERE usename = 'ana' AND wait_event_type = 'Lock'")[0][0], 4)
        other.commit()
        other.close()
        waits.join()
        status, page = got[0]
        said = words_of(page)
        notes = books.rows("SELECT count(*) FROM payguard.events WHERE order_id = %s AND details ->> 'note' = 'mine'", order)[0][0]
        tap.ok(blocked and status == 409 and "Done:" not in said and "Nothing was done by you" in said and "the other one" in said and not notes,
               f"{what}, at the same moment: who was faster is told, and nothing else was done", blocked, status, said, notes)
    # a refund that a policy holds: nobody says that it is done
    path = f"/case/{books.case('1110', 'late_success')}/refund_order"
    said = words_of(ana.ask(path, ana.token(path) | {"note": "the customer does not want it"})[1])
    tap.ok("A second person was asked" in said and "Done:" not in said, "what waits for a second person is not done", said)


# Statements.

def uploaded(person, text, channel="card"):
    """What the form of the columns has."""
    person.ask("/statements", person.token("/statements") | {"channel": channel}, file=("statement.csv", text))
    return person.token("/statements/columns") | COLUMNS


def statements(address, books):
    """What a person says of a file is said of that file, and an empty cell is no money."""
    ana = signed_in(address, "ana")
    first = uploaded(ana, HEADER + "2026-11-01 10:00;charge;tab-1;;1,00;EUR;paid\n")
    second = uploaded(ana, HEADER + "2026-11-01 10:00;charge;tab-2;;999,00;EUR;paid\n")
    before = books.written()
    status, page = ana.ask("/statements/columns", first)
    tap.ok(status == 409 and "about another file" in page and books.written() == before, "a form about a file that was replaced loads nothing", status, words_of(page))
    status, page = ana.ask("/statements/columns", {name: value for name, value in second.items() if name != "upload"})
    tap.ok(status == 409 and books.written() == before, "a form that names no file loads nothing", status, words_of(page))
    status, page = ana.ask("/statements/columns", second)
    lines = books.rows("SELECT channel_txn_id FROM payguard.settlement_lines WHERE channel_txn_id LIKE 'tab-%'")
    tap.ok(status == 200 and lines == [("tab-2",)], "the form of the file that is there loads it", status, lines, words_of(page))
    status, page = ana.ask("/statements/columns", second)
    tap.ok(status == 409 and books.rows("SELECT count(*) FROM payguard.settlement_lines WHERE channel_txn_id LIKE 'tab-%'") == [(1,)],
           "the same form once more loads nothing", status, words_of(page))

    def refused(text, sentence, what, **said):
        status, page = None, ""
        before = books.written()
        form = uploaded(ana, text)
        status, page = ana.ask("/statements/columns", form | said)
        tap.ok(status == 400 and sentence in words_of(page) and books.written() == before, f"{what}: nothing is loaded, and it is said why", status, words_of(page))
    charge = "2026-11-01 10:00;charge;{};;1,00;EUR;{}\n"
    refused(HEADER + charge.format("e-1", "paid") + charge.format("e-2", ""), "Line 3 has nothing as state", "a line with an empty state")
    refused(HEADER + charge.format("e-1", "") + charge.format("e-2", "later"), "Line 3: \"later\" cannot be read", "a state that nobody knows", no_state="left_out")
    refused(HEADER + charge.format("e-1", ""), "Every line of this file would be left out", "nothing but empty states", no_state="left_out")
    refused(HEADER + "2026-11-01 10:00;;e-1;;1,00;EUR;paid\n", "Line 2 has nothing as kind", "a line with an empty kind")
    refused(HEADER + "2026-11-01 10:00;charge;e-1;;;EUR;paid\n", "Line 2 has nothing as amount", "a line with an empty amount")
    refused(HEADER + charge.format("e-1", "paid"), "no such time zone", "a zone that is none", zone="Mars/Olympus")
    refused(HEADER + "9999-12-31 23:59:59;charge;e-1;;1,00;EUR;paid\n", "cannot be read as time", "a time of the year 9999")
    for day in ("9999-12-31", "0001-01-01", "tomorrow", "²", "2026-02-30"):
        refused(HEADER + charge.format("e-1", "paid"), "The days between which", f"a statement that begins on {day}", begin=day)
    refused(HEADER + charge.format("e-1", "paid"), "The days between which", "a statement that ends before it begins", begin="2026-11-30", end="2026-11-01")
    for column in ("²", "٣", "99", "-1", "9" * 5000, ""):
        refused(HEADER + charge.format("e-1", "paid"), "cannot be read" if column == "²²" else "has nothing as amount", f"a column {column[:9]!r}", amount=column)
    status, page = ana.ask("/statements", ana.token("/statements") | {"channel": "card"}, file=("x", ";".join("x" * 101) + "\n" + "1;2\n"))
    tap.ok(status == 400 and "too many columns" in page, "a file of 101 columns is refused", status, words_of(page))
    status, page = ana.ask("/statements", ana.token("/statements") | {"channel": "card"}, file=("x", "a;b\n" * 50002))
    tap.ok(status == 400 and "too many lines" in page, "a file of too many lines is refused", status, words_of(page))

    said = words_of(ana.ask("/statements/columns", uploaded(ana, HEADER + charge.format("s-1", "") + charge.format("s-2", "paid")) | {"no_state": "left_out"})[1])
    lines = books.rows("SELECT channel_txn_id, channel_status FROM payguard.settlement_lines WHERE channel_txn_id LIKE 's-%'")
    tap.ok(lines == [("s-2", "succeeded")] and "1 lines were loaded" in said and "1 lines without a state were left out" in said,
           "lines without a state are left out where a person says so, and it says how many", lines, said)
    ana.ask("/statements/columns", uploaded(ana, HEADER + charge.format("s-3", "")) | {"no_state": "succeeded"})
    tap.equal(books.rows("SELECT channel_status FROM payguard.settlement_lines WHERE channel_txn_id = 's-3'"), [("succeeded",)], "or have succeeded, where a person says that")
    zones(address, books, charge)


def zones(address, books, charge):
    """A time without a zone is of the zone that the person says."""
    ana = signed_in(address, "ana")
    page = ""
    for txn, cookie, said, hour in (("z-1", None, None, 10), ("z-2", None, "Asia/Tokyo", 1), ("z-3", "America/New_York", None, 15), ("z-4", "America/New_York", "UTC", 10),
                                    ("z-5", "../../etc/passwd", None, 10)):
        headers = {"Cookie": "; ".join([f"{c.name}={c.value}" for c in ana.cookies] + ([f"zone={cookie}"] if cookie else []))}
        form = uploaded(ana, HEADER + charge.format(txn, "paid")) | ({"zone": said} if said else {})
        page = ana.ask("/statements/columns", headers=headers)[1]
        default = cookie if cookie == "America/New_York" else "UTC"
        status = ana.ask("/statements/columns", form, headers=headers)[0]
        at = books.rows("SELECT extract(hour FROM channel_time AT TIME ZONE 'UTC')::int FROM payguard.settlement_lines WHERE channel_txn_id = %s", txn)
        tap.ok(status == 200 and f"unless you say another one: {default}" in page and at == [(hour,)],
               f"ten o'clock, with the browser in {cookie} and {said} said, is {hour} in UTC; the page tells what it takes otherwise", status, at, words_of(page))
    form = uploaded(ana, HEADER + "2026-11-01T10:00:00+05:00;charge;z-6;;1,00;EUR;paid\n") | {"zone": "Asia/Tokyo"}
    ana.ask("/statements/columns", form)
    tap.equal(books.rows("SELECT extract(hour FROM channel_time AT TIME ZONE 'UTC')::int FROM payguard.settlement_lines WHERE channel_txn_id = 'z-6'"), [(5,)],
              "a time with a zone keeps it")


# How often, and how much.

def sessions(server, address, books, log):
    """A person has so many connections and no more; whoever has none any more is told why."""
    mine = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'sue' AND application_name = 'payguard console'"
    first = signed_in(address, "sue")
    most = 0
    for _ in range(12):
        last = signed_in(address, "sue")
        most = max(most, books.rows(mine)[0][0])
    tap.ok(most <= 4 and wait_for(lambda: books.rows(mine)[0][0] == 3, 5), "twelve times signed in, a person has three connections", most, books.rows(mine))
    page = words_of(first.ask("/")[1])
    tap.ok("signed in at 3 other places" in page and last.ask("/")[0] == 200 and "Inbox" in last.ask("/")[1], "the first one is told why it is signed out, the last one goes on", page)
    # one person's requests wait for one another, so long and not longer, and nobody else waits for them
    blocker = server.connect(autocommit=False)
    blocker.cursor().execute("LOCK TABLE payguard.alerts IN ACCESS EXCLUSIVE MODE")
    answers = []
    begun = time.monotonic()
    threads = [threading.Thread(target=lambda: answers.append((last.ask("/"), time.monotonic() - begun))) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_for(lambda: len(answers) >= 3, 4)
    quick = [took for (status, page), took in answers if status == 503 and "still being made" in page]
    asked_at = time.monotonic()
    status = Stranger(address).ask("/sign-in")[0]
    others = time.monotonic() - asked_at
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    blocker.rollback()
    blocker.close()
    tap.ok(len(quick) >= 3 and max(quick) < 4 and status == 200 and others < 3 and took < 16, "of six requests that wait three are refused at once, the others in time, and nobody else waits",
           quick, status, others, took, [(answer[0], words_of(answer[1])[-120:]) for answer, _ in answers])
    tap.ok(last.ask("/")[0] == 200, "and the person goes on")


def processor_time(log):
    """Seconds that the console has taken so far: the process whose log it is."""
    for number in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{number}/fd/2") == log and "app.py" in open(f"/proc/{number}/cmdline", encoding="utf-8").read():
                fields = open(f"/proc/{number}/stat", encoding="utf-8").read().rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    raise RuntimeError("no console")


def large(address, books, log):
    """What is larger than any page sends is refused, and costs next to nothing."""
    ana, nobody = signed_in(address, "ana"), Stranger(address)
    case = books.case("1106", "surplus_payment")
    fields = b"&".join(b"f%d=" % n for n in range(1000000))
    parts = "".join(f'--edge\r\nContent-Disposition: form-data; name="f{n}"\r\n\r\n\r\n' for n in range(100000)).encode() + b"--edge--\r\n"
    many, of_parts = {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": "multipart/form-data; boundary=edge"}
    before, spent = books.written(), processor_time(log)
    answers = {}
    for who, person in (("somebody signed in", ana), ("nobody", nobody)):
        for path in ("/sign-in", f"/case/{case}/take", "/statements", "/statements/columns", "/sign-out"):
            answers[f"{who}, {path}, fields"] = person.ask(path, body=fields, headers=many)[0]
            answers[f"{who}, {path}, parts"] = person.ask(path, body=parts, headers=of_parts)[0]
    spent = processor_time(log) - spent
    wrong = {what: status for what, status in answers.items() if status != 413 and not (what.startswith("nobody") and "/sign-in" not in what and status == 200)}
    tap.ok(not wrong and books.written() == before, "a form of a million fields, or of a hundred thousand parts, is too large everywhere", wrong)
    tap.ok(spent < 4, "twenty of them cost the processor less than a second each", spent)
    for path in ("/search?" + "&" * 8200, "/?kind=" + "x" * 9000, "/" + "x" * 9000):
        tap.equal(ana.ask(path)[0], 414, f"an address of {len(path)} characters is too long")


# A server that does not answer, in whatever language.

class Pretender(threading.Thread):
    """Speaks as a PostgreSQL server would, in Chinese: asks for the password where it is to, and ends with an error."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.asks, self.sqlstate, self.message = True, "28P01", "用户密码认证失败"
        self.start()

    def run(self):
        while True:
            client, _ = self.listener.accept()
            with client, contextlib.suppress(OSError):
                self.serve(client)

    def serve(self, client):
        while True:
            size, code = struct.unpack("!ii", client.recv(8, socket.MSG_WAITALL))
            client.recv(size - 8, socket.MSG_WAITALL) if size > 8 else b""
            if code == 196608:
                break
            client.sendall(b"N")       # neither TLS nor GSS
        if self.asks:
            client.sendall(b"R" + struct.pack("!ii", 8, 3))
            client.recv(4096)
        fields = b"".join(kind + text.encode() + b"\0" for kind, text in ((b"S", "致命错误"), (b"V", "FATAL"), (b"C", self.sqlstate), (b"M", self.message)))
        client.sendall(b"E" + struct.pack("!i", len(fields) + 5) + fields + b"\0")
        client.recv(1)


def outage(server):
    """An outage is no wrong password. A wrong password is one in any language of the server."""
    pretender = Pretender()
    with console(server, PAYGUARD_CONSOLE_DSN=f"host=127.0.0.1 port={pretender.port} dbname=postgres") as (address, log):
        def said(role="ana"):
            size = os.path.getsize(log)
            status, page = Stranger(address).sign_in(role, "secret!")
            with open(log, encoding="utf-8") as file:
                file.seek(size)
                return status, re.search(r'class="problem" role="alert">([^<]*)', page)[1], file.read()
        for asks, sqlstate, what in ((False, "57P03", "a server that is starting"), (True, "53300", "a server that is full"), (False, "53300", "a server that is full at once"),
                                     (True, "3D000", "a database that is not there"), (True, "XX000", "a defect")):
            pretender.asks, pretender.sqlstate, pretender.message = asks, sqlstate, "数据库现在不行"
            answers = [said() for _ in range(7)]
            tap.ok(all(status == 403 and "cannot be reached" in sentence for status, sentence, _ in answers), f"{what}: it says so, seven times", answers)
        tap.ok("role='ana'" in answers[-1][2] and "secret" not in answers[-1][2], "the log has the role that was tried, and no password", answers[-1][2])
        pretender.asks, pretender.sqlstate = True, "42501"
        tap.ok("may not read" in said()[1], "a database that the role may not connect to: it says so", said())
        pretender.sqlstate = "28P01"
        answers = [said("max") for _ in range(6)]
        tap.ok([status for status, _, _ in answers] == [403] * 5 + [429] and "is wrong" in answers[0][1] and "role='max'" in answers[5][2],
               "wrong passwords are counted in Chinese, too, and all of them logged with their role", answers)
    with console(server, PAYGUARD_CONSOLE_DSN="host=127.0.0.1 port=1 dbname=postgres") as (address, log):
        answers = [Stranger(address).sign_in("ana") for _ in range(7)]
        tap.ok(all(status == 403 and "cannot be reached" in page for status, page in answers), "no server at all: it says so, seven times")


# Whatever may be sent.

NASTY = ["", "0", "-1", "²", "٣", "1e9", "NaN", "9" * 19, "9" * 5000, str(2**63 - 1), str(2**63), "\0", "a\0b", "\r\nX: y", "%", "%s", "{order}", "{}", "'", "\"", "\\", "../../etc/passwd", "//evil.example/",
         "/\\evil", "http://[", "http://[::1", "javascript:1", "<script>", "ü", "\u202e", "\ud800", "\U0001f4a9" * 40, "x" * 300, "9999-12-31", "0001-01-01", "9999-12-31T23:59:59Z", "infinity", "true", "null", "[]", " ", "\t"]
WORST = ["", "²", "9" * 5000, "\0", "%s", "\ud800", "9999-12-31", "x" * 300]
QUERIES = {"/": ["show", "kind", "page", "auto"], "/search": ["q"], "/order": ["id"], "/overview": ["period"], "/approvals": ["x"], "/statements": ["x"], "/statements/columns": ["x"],
           "/sign-in": ["then"], "/case/{case}": ["x"], "/case/{case}/take": ["seen"]}
PATHS = ["/case/{}", "/case/{}/take", "/case/1/{}", "/language/{}", "/vendor/{}", "/static/{}", "/{}"]
FORMS = {"/sign-in": ["role", "password", "then"], "/case/{case}/take": ["note", "seen"], "/case/{case}/was_sent_back": ["note"], "/statements/columns": list(COLUMNS) + ["upload", "zone", "begin", "end", "unit", "dates",
         "fixed_currency", "no_state", "fee", "channel_refund_id", "payout_id"], "/statements": ["channel", "file"]}
HEADERS = ["Referer", "Accept-Language", "Cookie", "Content-Type", "If-Modified-Since", "If-None-Match", "Range", "Host", "X-Forwarded-For", "Origin", "X-CSRFToken"]


def nasty(server, books, address, log):
    """Each route with each of them, in its address, its query, its form and its headers: never a failure of the console."""
    ana = signed_in(address, "ana")
    # times that no calendar of the console has
    books.rows("SELECT payguard.create_order('late', 100, 'EUR', 'customer-9')")
    books.rows("SELECT payguard.record_payment('late', 'card', 'late', 100, 'EUR', channel_time := '200000-01-01')")
    books.rows("SELECT payguard.create_order('last', 100, 'EUR', 'customer-9', expires_at := '9999-12-31 23:59:59+00')")
    case, failures, asked = books.case("1107", "surplus_payment"), [], 0

    def ask(path, what, quoted=True, **more):
        nonlocal asked
        asked += 1
        path = path if quoted else urllib.parse.quote(path, safe="/?=&")
        try:
            status, page = ana.ask(path, **more)
        except (OSError, ValueError, UnicodeError) as error:
            # the client itself refuses to send it, or waitress to take it
            return None if "Remote end closed" not in str(error) else failures.append(f"{what}: {error}")
        if status >= 500:
            failures.append(f"{what}: {status} {words_of(page)[-100:]}")
        return status

    def quote(text):
        return urllib.parse.quote(text.encode("utf-8", "surrogatepass"), safe="")

    for text in NASTY:
        for path in PATHS:
            ask(path.format(quote(text)), f"{path} {text[:20]!r}")
        for path, names in QUERIES.items():
            for name in names:
                ask(f"{path.format(case=case)}?{name}={quote(text)}", f"{path}?{name}={text[:20]!r}")
    for order in ("late", "last"):
        for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
            cookies = "; ".join([f"{c.name}={c.value}" for c in ana.cookies] + [f"zone={zone}"])
            ask(f"/order?id={order}", f"order {order} in {zone}", headers={"Cookie": cookies})
    token = {"csrf_token": ana.token("/")["csrf_token"]}
    session = "; ".join(f"{c.name}={c.value}" for c in ana.cookies)
    for path, names in FORMS.items():
        # a file whose columns can be asked about; a case that is as it was seen
        known = uploaded(ana, HEADER + "2026-11-01 10:00;charge;n-1;;x;EUR;paid\n") if path == "/statements/columns" else \
            ana.token(path.format(case=case)) | {"note": ""} if "case" in path else {}
        for text, what in [(text, names) for text in NASTY] + [(text, [name]) for text in WORST for name in names]:
            form = known | {name: text for name in what if len(what) == 1 or name not in ("upload", "seen")} | token
            body = "&".join(f"{quote(key)}={quote(value)}" for key, value in form.items()).encode()
            ask(path.format(case=case), f"POST {path} {what} = {text[:20]!r}", body=body)
    for name in HEADERS:
        for text in NASTY if name in ("Referer", "Host", "Cookie") else WORST:
            value = text.encode("utf-8", "surrogatepass").decode("latin-1")
            headers = {name: value} | ({} if name == "Cookie" else {"Cookie": session})
            if name == "Cookie":
                headers = {"Cookie": f"{session}; zone={value}; language={value}"}
            ask("/language/en" if name == "Referer" else "/static/console.css" if name in ("If-Modified-Since", "If-None-Match", "Range") else f"/case/{case}",
                f"{name}: {text[:20]!r}", headers=headers)
    for kind in ("multipart/form-data", "multipart/form-data; boundary=²", "multipart/form-data; boundary=edge; charset=x", "application/json", "text/plain; charset=none"):
        for body in (b"", b"--edge", b"--edge\r\nContent-Disposition: form-data; name=file; filename*=none''x\r\nContent-Type: text/plain; charset=none\r\n\r\nx\r\n--edge--\r\n",
                     b"--edge\r\nContent-Disposition: form-data; name=channel\r\nContent-Type: text/plain; charset=none\r\n\r\nx\r\n--edge--\r\n"):
            for path in ("/statements", "/sign-in", f"/case/{case}/take"):
                ask(path, f"POST {path} {kind} {body[:60]!r}", body=body, headers={"Content-Type": kind.encode().decode("latin-1")})
    for text in ("", "x", "a;b", "a;b\n", "a;b\n1;2\n", "\n" * 5000, "a,b\n\"", "\0;\0\n1;2\n", "a;b\n" + "²;²\n", ";" * 99 + "\n" + ";" * 99 + "x\n", "ä" * 200000 + "\n1\n", "a\r1\r2\r"):
        ask("/statements", f"file {text[:20]!r}", form=token | {"channel": "card"}, file=("x", text))
        ask("/statements/columns", f"columns of {text[:20]!r}")
    with open(log, encoding="utf-8") as file:
        traces = [line for line in file if "Traceback" in line or "Error" in line and "refused:" not in line]
    tap.ok(not failures and not traces, f"{asked} nasty requests: none makes the console fail", failures[:30], traces[:30])
    tap.ok(ana.ask("/")[0] == 200 and not books.rows("SELECT * FROM payguard.verify()"), "and it goes on")


def languages(address, books):
    """What is to be done is told in the reader's language, and what is in English only says so."""
    ana = signed_in(address, "ana")
    case = books.case("1107", "surplus_payment")
    ana.ask("/language/zh")
    page = ana.ask(f"/case/{case}")[1]
    told = words_of(re.search(r'(?s)<section class="runbook">(.*?)</section>', page)[1])
    tap.ok("订单" in told and "order" not in told, "the runbook of a case is in Chinese on a Chinese page", told)
    tap.ok("数据库管理员" in re.search(r'(?s)<details class="engineers">.*', page)[0], "its SQL is said to be a database administrator's")


def overview(address):
    """Without a program in the browser the figures over time are a table."""
    ana = signed_in(address, "ana")
    for period, steps in (("hour", 12), ("day", 24), ("fortnight", 14)):
        page = ana.ask(f"/overview?period={period}")[1]
        table = re.search(r'(?s)<table id="curve">(.*?)</table>', page)[1]
        rows = re.findall(r"(?s)<tr><th scope=\"row\">.*?</tr>", table)
        cells = [re.findall(r'<td class="number">([^<]*)</td>', row) for row in rows]
        tap.ok(len(rows) == steps and all(len(row) == 8 for row in cells) and page.count('data-table="curve"') == 4,
               f"over the last {period}: {steps} steps with four figures, beside those of the period before", len(rows), cells[:2])
        if period == "fortnight":
            tap.ok(sum(int(row[0]) for row in cells) >= 7, "what was paid is among them", cells)


def behind_proxy(server):
    """Behind a proxy that speaks TLS cookies are for HTTPS alone, and the proxy says who asks. Without it nobody is believed."""
    forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    for tls in ("1", ""):
        with console(server, PAYGUARD_CONSOLE_TLS=tls) as (address, log):
            person = Stranger(address)
            token = person.token("/sign-in")["csrf_token"]
            cookie = person.headers["Set-Cookie"]
            tap.ok("HttpOnly" in cookie and "SameSite=Lax" in cookie and ("Secure" in cookie) == bool(tls),
                   f"a cookie {'is for HTTPS alone' if tls else 'of the loopback needs no HTTPS'}", cookie)
            sent = forwarded | {"Cookie": cookie.partition(";")[0]}
            answers = [person.ask("/sign-in", {"csrf_token": token, "role": "ana", "password": "wrong"}, headers=sent | {"Referer": referer})[0]
                       for referer in ("https://evil.example/", address.replace("http:", "https:") + "/sign-in")]
            with open(log, encoding="utf-8") as file:
                text = file.read()
            tap.ok(answers == [403, 403] and ("not sent by a page of this console" in text) == bool(tls)
                   and text.count("sign-in: Name or password is wrong") == (1 if tls else 2)
                   and ("address=203.0.113.9" in text) == bool(tls) and ("address=127.0.0.1" in text) == (not tls),
                   f"with TLS {'on' if tls else 'off'}: whom the log names, and which pages may sign in", answers, text)


def viewers_zone(address, books):
    """Times are of the zone that the viewer's browser has named, and of UTC where it named none."""
    ana = signed_in(address, "ana")
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in ana.cookies)
    for zone in ("Asia/Tokyo", "America/New_York", None):
        page = ana.ask("/order?id=1101", headers={"Cookie": cookies + (f"; zone={zone}" if zone else "")})[1]
        begun = books.rows("SELECT to_char(min(created_at) AT TIME ZONE %s, 'HH24:MI:SS') FROM payguard.payments WHERE order_id = '1101'", zone or "UTC")[0][0]
        tap.ok(re.search(rf", {begun}(</time>| <span)", page), f"a payment that began at {begun} of {zone or 'UTC'} is shown so", words_of(page))


def nothing_to_do(address, books):
    """An inbox without a case says when it was looked at, and when the nightly check ran."""
    ana = signed_in(address, "ana")
    said = words_of(ana.ask("/?kind=overpaid")[1])
    tap.ok("There are none of this kind. Last checked" in said, "no case of a kind: that is said", said)
    books.rows("SELECT count(payguard.resolve_alert(alert_id, 'all of it is settled')) FROM payguard.alerts WHERE resolved_at IS NULL")
    said = words_of(ana.ask("/")[1])
    tap.ok("No open cases. Last checked" in said and re.search(r"The nightly check has left nothing open. It ran \d+ \w+ ago", said), "an empty inbox says when the nightly check ran", said)
    tap.ok("The nightly check" not in words_of(signed_in(address, "sue").ask("/")[1]), "not to whom may not read its figures")


def main():
    began = time.monotonic()
    with shop.lived_through(scenes) as server:
        books = Books(server)
        with console(server) as (address, log):
            stale(address, books)
            faster(server, address, books)
            statements(address, books)
            overview(address)
            languages(address, books)
            sessions(server, address, books, log)
            large(address, books, log)
            nasty(server, books, address, log)
        with console(server) as (address, _):
            viewers_zone(address, books)
            nothing_to_do(address, books)
        outage(server)
        behind_proxy(server)
    print(f"# all of it took {time.monotonic() - began:.0f} s")
    sys.exit(tap.done())


if __name__ == "__main__":
    main()
