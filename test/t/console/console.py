#!/usr/bin/python3
"""The console in a browser: a clerk settles what a day of a shop has left, with clicks alone; and what must be refused is.

PAYGUARD_PICTURES is a folder for pictures of the pages; those of doc/console.md are of the day that make console shows.
"""
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
TREE = os.environ.get("PAYGUARD_SRC") or os.path.join(HERE, "..", "..", "..")
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "..", "..", folder) for folder in ("lib", "demo")]
from tap import Tap, skip, wait_for  # noqa: E402

if not shutil.which("chromedriver") or not os.path.exists("/usr/bin/chromium"):
    skip("chromium and its driver are not installed")

from babel.messages import pofile  # noqa: E402
from selenium import webdriver  # noqa: E402
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402

import shop  # noqa: E402
from desk import Books, Stranger, reachable  # noqa: E402

EVIL = "<script>window.hacked=1</script><img src=x onerror='window.hacked=1'>"
PICTURES = os.environ.get("PAYGUARD_PICTURES")
tap = Tap()


def scenes(day):
    """What is to be settled, and a shop whose numbers and notes are programs."""
    # whoever may make functions in public does not get them run by a clerk
    day.root.execute("CREATE FUNCTION public.unnest(oidvector) RETURNS SETOF oid LANGUAGE plpgsql AS $$ BEGIN RAISE 'planted'; END $$")
    day.no_message()
    day.returned_debit()
    day.short_transfer()
    day.dead_task()
    day.second_name()
    day.ordered_twice()
    day.large_order()
    day.usual(20)
    day.large_paid_again()
    day.wait(-day.offset - 1500)
    day.paid_again()
    order = day.new_order(1234, EVIL, EVIL)
    day.notify("card", day.start(order, "card"), EVIL, 1234, EVIL)
    day.one("SELECT outcome FROM payguard.refund_order(%s, 'evil', 1234, %s)", order, EVIL)
    day.root.execute("SELECT payguard.report_refund(refund_id, 'failed', code => 'no', message => %s)"
                     " FROM payguard.refunds WHERE order_id = %s", (EVIL, order))
    day.wait(-day.offset)
    day.maintain()


class Clerk:
    """A browser, and what a person does with it."""

    def __init__(self, address):
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1200,900", "--lang=en"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.address = address
        self.window(1200, 900)
        self.driver.get(address)

    def find(self, css):
        return self.driver.find_element(By.CSS_SELECTOR, css)

    def all(self, css):
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def text(self):
        return self.find("body").text

    def click(self, words, css="a, button, summary"):
        """What has these words on it. A page that has just refreshed itself is looked at once more."""
        try:
            self.click_once(words, css)
        except StaleElementReferenceException:
            self.click_once(words, css)

    def click_once(self, words, css):
        found = [element for element in self.all(css) if words in element.text]
        if not found:
            raise RuntimeError(f"nothing says \"{words}\" on:\n{self.text()}")
        page = self.find("html")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found[0])
        found[0].click()
        # a click on what leads nowhere else leaves the page
        with contextlib.suppress(Exception):
            wait_for(lambda: page.id != self.find("html").id, 0.5)

    def sign_in(self, role):
        if self.all("form[action='/sign-out']"):
            self.click("Sign out")
        for name in ("role", "password"):
            self.find(f"#{name}").send_keys(role)
        self.click("Sign in", "button")

    def act(self, case, label, note="looked into it", **inputs):
        """Opens a case of the inbox, presses a button and confirms it."""
        self.click("Inbox")
        self.click(case, "td.what a")
        self.click(label, ".actions .button")
        for name, value in inputs.items():
            self.find(f"#{name}").send_keys(value)
        if self.all("#note"):
            self.find("#note").send_keys(note)
        self.click(label, "form.sheet button")

    def inbox(self):
        self.click("Inbox")
        return self.text()

    def window(self, width, height):
        """As large a window, as a phone's may be."""
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
        wait_for(lambda: self.driver.execute_script("return [innerWidth, innerHeight]") == [width, height], 5)

    def picture(self, name, width=1200, most=4000):
        """The whole page, also what the window does not show, up to a height."""
        if PICTURES:
            self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
            # its height at this width, in a window that is no higher
            self.window(width, 600)
            self.window(width, min(most, self.driver.execute_script("return document.documentElement.scrollHeight")))
            path = os.path.join(PICTURES, f"{name}.png")
            self.driver.save_screenshot(path)
            # with a palette it is a quarter as large
            subprocess.run(["pngquant", "--force", "--output", path, "64", path], check=True)
            self.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": False})
            self.window(1200, 900)

    def hacked(self):
        return self.driver.execute_script("return window.hacked")


def settled(clerk, books, what, sentence):
    """A case is gone, and the books are sound."""
    books.work()
    wrong = books.rows("SELECT * FROM payguard.verify()")
    inbox = clerk.inbox()
    tap.ok(sentence not in inbox and not wrong, f"{what}: the case is gone, verify() finds nothing", wrong, inbox)


def clicks(clerk, books, server):
    """Each case of the day, settled by a person who knows no SQL."""
    clerk.sign_in("ana")
    tap.ok("Order 1042 was paid twice: by card (ch_1042) and by paypal (PP-1042)." in clerk.text(), "the inbox tells what happened", clerk.text())
    clerk.picture("inbox_tested")
    clerk.click("Order 1042 was paid twice")
    page = clerk.text()
    tap.ok(all(words in page for words in ("42.50 EUR go back by themselves", "Payment 1 · counts", "Payment 2 · not needed", "ch_1042", "PP-1042",
                                           "This order is paid. A second payment is being returned.", "the order did not need the money"))
           and len(clerk.all("svg .bar")) == 3, "a case shows the story, the payments, the drawing, what to tell, the runbook", page)
    clerk.picture("case_tested")
    clerk.act("Order 1042 was paid twice", "It was sent back outside", "sent back in PayPal's console")
    tap.ok("Done: It was sent back outside" in clerk.text() and "ana: sent back in PayPal's console" in clerk.text(), "what was done is said, and by whom", clerk.text())
    clerk.picture("done")
    settled(clerk, books, "an order paid again by another channel", "Order 1042 was paid twice")
    clerk.click("Resolved today")
    tap.ok("Order 1042 was paid twice" in clerk.text(), "it stays to be seen among those that are resolved", clerk.text())

    clerk.act("Order 1050 was paid twice", "Send 620.00 EUR back by paypal", "both were charged")
    settled(clerk, books, "a large one: a second person lets it go back", "Order 1050 was paid twice")
    clerk.act("Order 1062", "Send the money of order 1062 back", "ordered twice, says the customer")
    clerk.click("Second opinions")
    clerk.click("See the case")
    tap.ok("You asked for it yourself" in clerk.text() and not [b for b in clerk.all(".actions .button") if "Send" in b.text],
           "who asked for a refund has no button for it", clerk.text())
    clerk.picture("second_person")
    clerk.sign_in("ben")
    clerk.click("Second opinions")
    clerk.click("Decide")       # the oldest one is the large order
    clerk.click("Second opinions")
    row = [row for row in clerk.all("tbody tr") if "1062" in row.text][0]
    row.find_element(By.LINK_TEXT, "Decide").click()
    clerk.click("Send 549.00 EUR back by card", ".actions .button")
    tap.ok("ana asked for it; you are the second person" in clerk.text(), "the second person is told so", clerk.text())
    clerk.picture("confirm")
    clerk.find("#note").send_keys("agreed")
    clerk.click("Send 549.00 EUR back", "form.sheet button")
    settled(clerk, books, "a refund that one asked for and another approved", "549.00 EUR by card waits")
    clerk.act("Order 1070", "Let order 1070", "the customer is known")
    settled(clerk, books, "a large order allowed", "Order 1070")
    clerk.act("Order 1030", "Both payments are one and the same", "one line in the bank's statement")
    settled(clerk, books, "a second name of one charge", "Order 1030")
    clerk.act("Order 1017", "Accept 99.85 EUR as the whole price", "their bank took 15 cents")
    settled(clerk, books, "a short transfer accepted", "Order 1017")
    clerk.act("Order 1033: wallet could not be reached", "Have it tried again now")
    settled(clerk, books, "a dead task", "Order 1033")
    clerk.click("Order 998", "td.what a")
    told = clerk.find("#message").text
    clerk.click("中文")
    in_chinese = clerk.find("#message").text
    clerk.click("English")
    tap.ok(told == "The bank has taken money back that was paid for this order. Something about its payment has to be looked at. Please contact us."
           and in_chinese == "此订单的付款已被银行收回。它的付款情况需要核查。请联系我们。",
           "nobody tells its customer that an order is paid whose money the bank took back", told, in_chinese)
    clerk.act("Order 998", "Let order 998 be paid again", "the customer pays by card")
    settled(clerk, books, "a returned debit: the order is open again", "Order 998")
    tap.equal(books.rows("SELECT status FROM payguard.orders WHERE order_id = '998'"), [("unpaid",)], "the order can be paid again")
    statement(clerk, books, server)


def statement(clerk, books, server):
    """A file of a channel, uploaded; its difference accepted."""
    path = os.path.join(server.folder, "<b>statement.csv")
    with open(path, "w", encoding="utf-8") as file:
        file.write(shop.statement() + f"{EVIL};charge;{EVIL};;x;EUR;\n")
    clerk.click("Statements")

    def upload(name):
        clerk.find("#channel").send_keys("card")
        clerk.find("#file").send_keys(name)
        clerk.click("Go on to its columns", "button")
        tap.equal(Select(clerk.find("#mark")).first_selected_option.text, "a comma", "the file's way of writing amounts is seen")

    upload(path)
    tap.ok("ch_1075" in clerk.text() and EVIL in clerk.text() and not clerk.hacked(), "the file's first lines are shown, and nothing in them runs")
    before = books.written()
    clerk.click("Load and compare", "button")
    tap.ok("Line 4" in clerk.text() and EVIL in clerk.text() and not clerk.hacked() and books.written() == before,
           "a line that cannot be read is named, and nothing is loaded", clerk.text())
    with open(path, "w", encoding="utf-8") as file:
        file.write(shop.statement())
    clerk.click("Another file")
    upload(path)
    clerk.picture("columns")
    clerk.click("Load and compare", "button")
    tap.ok("2 lines were loaded" in clerk.text() and "35.00 EUR (ch_1075)" in clerk.text(), "the statement's difference is a case", clerk.text())
    clerk.picture("statements")
    clerk.act("35.00 EUR (ch_1075)", "The statement is right", "the console of the channel has it")
    settled(clerk, books, "a finding of a statement accepted", "ch_1075")


def nothing_runs(clerk):
    """What others wrote is shown as they wrote it."""
    clerk.find("#q").send_keys(EVIL + Keys.ENTER)
    wait_for(lambda: "/order" in clerk.driver.current_url, 5)
    for summary in clerk.all("summary"):
        summary.click()
    order = clerk.text()
    clerk.act("Order <script>", "I take it", EVIL)
    for summary in clerk.all("summary"):
        summary.click()
    case = clerk.text()
    tap.ok(order.count(EVIL) >= 5 and case.count(EVIL) >= 5 and not clerk.hacked(), "an order, a customer, a message and a note that are programs are shown, and do not run",
           order, case)
    clerk.click("中文")
    tap.ok("您可以做什么" in clerk.text() and "未能经 card 退回" in clerk.text() and not clerk.hacked(), "the same in Chinese", clerk.text())
    clerk.picture("case_zh")
    clerk.click("收件箱")
    clerk.picture("inbox_zh")
    clerk.click("English")


def keys(clerk):
    """The keyboard: / j k Enter Escape."""
    clerk.click("Inbox")
    body = clerk.find("body")
    body.send_keys("j")
    clerk.driver.switch_to.active_element.send_keys("j")
    second = clerk.all(".what a")[1]
    tap.ok(clerk.driver.switch_to.active_element == second, "j goes down")
    clerk.driver.switch_to.active_element.send_keys("k")
    tap.ok(clerk.driver.switch_to.active_element == clerk.all(".what a")[0], "k goes up")
    clerk.driver.switch_to.active_element.send_keys(Keys.ENTER)
    tap.ok(wait_for(lambda: "/case/" in clerk.driver.current_url, 5), "Enter opens")
    clerk.find("body").send_keys(Keys.ESCAPE)
    tap.ok(wait_for(lambda: "/case/" not in clerk.driver.current_url, 5), "Escape goes back")
    clerk.find("body").send_keys("/")
    tap.ok(clerk.driver.switch_to.active_element.get_attribute("id") == "q", "/ searches")


PHONE = {"/": "phone_inbox", "/order?id=1042": "phone_order"}


def narrow(clerk):
    """At 360 px, and with letters twice as large, nothing but drawings and wide tables is wider than the window."""
    wide = []
    clerk.inbox()
    case = clerk.find("td.what a").get_attribute("href")
    clerk.driver.get(case)
    pages = [case, clerk.find(".actions a.button").get_attribute("href")]
    for path in ("/", "/approvals", "/statements", "/overview", "/order?id=1042", "/order?" + urllib.parse.urlencode({"id": EVIL})):
        pages.append(clerk.address + path)
    for page in pages:
        for room in (600, 360):
            clerk.window(room, 740)
            clerk.driver.get(page)
            width = clerk.driver.execute_script("return document.documentElement.scrollWidth")
            if width > room:
                wide.append(f"{page}: {width} of {room}")
        path = page.removeprefix(clerk.address)
        if path in PHONE:
            clerk.picture(PHONE[path], 360)
    clerk.window(1200, 900)
    tap.ok(not wide, "pages fit into 360 px, and into a window of 1200 px at 200 %", *wide)
    clerk.driver.get(clerk.address + "/overview")
    tap.ok(wait_for(lambda: clerk.driver.execute_script("return document.querySelector('canvas').width") > 0, 5), "the overview draws its charts")
    clerk.picture("overview_tested")
    clerk.driver.get(clerk.address)


def refused(what, books, log, answer, status, words=None):
    """A request is refused with its status and a sentence, stands in the log, and has written nothing."""
    before, size = books.written(), os.path.getsize(log)
    got, page = answer()
    with open(log, encoding="utf-8") as file:
        file.seek(size)
        said = file.read()
    tap.ok(got == status and "refused: " in said and books.written() == before and "<h1>" in page and (words or "") in page,
           f"{what}: refused with {status}, in the log, nothing written", got, said, re.sub(r"<[^>]*>", "", page))


def attacks(address, log, books):
    """What does not come from a button of a page is refused."""
    ana, sue, nobody = Stranger(address), Stranger(address), Stranger(address)
    ana.sign_in("ana")
    sue.sign_in("sue")
    case = books.case("1080", "surplus_payment")
    path = f"/case/{case}/stop_refund"
    form = ana.token(path)
    note = {"note": "mine"}
    tap.ok(form.get("seen") and "csrf_token" in form, "an action has a page that asks")
    refused("without a token", books, log, lambda: ana.ask(path, {"seen": form["seen"]} | note), 403)
    refused("with another session's token", books, log, lambda: ana.ask(path, form | sue.token("/") | note), 403)
    refused("an action that is not offered", books, log, lambda: ana.ask(f"/case/{case}/accept_less", form | note), 409, "not offered")
    refused("an action that does not exist", books, log, lambda: ana.ask(f"/case/{case}/x%27%3Bdrop", form | note), 409)
    refused("a case whose number is too large", books, log, lambda: ana.ask(f"/case/{2**70}/take", form | note), 404)
    refused("a case that does not exist", books, log, lambda: ana.ask("/case/999999/take", form | note), 404)
    refused("by a role without the right", books, log, lambda: sue.ask(path, {"seen": form["seen"]} | sue.token("/") | note), 403, "right")
    refused("what has changed since it was seen", books, log, lambda: ana.ask(path, form | note | {"seen": "0" * 64}), 409, "changed")
    refused("nobody's request", books, log, lambda: nobody.ask(path, nobody.token("/sign-in") | note), 200)
    refused("sue's statement", books, log, lambda: sue.ask("/statements", sue.token("/") | {"channel": "card"}), 403)
    tap.ok([stranger.ask(path)[0] for path in ("/search?q=%00", "/search?q=%ff%27%3B--", "/order?id=%00", f"/case/{2**70}", "/?page=-1", "/?show=x&kind=%27",
                                               "/vendor/..%2fapp.py", "/static/../app.py")
            for stranger in (ana,)] == [200, 200, 404, 404, 200, 200, 404, 404], "strange questions are answered")
    tap.ok("What you can do" in sue.ask(f"/case/{case}")[1] and "/stop_refund" not in sue.ask(f"/case/{case}")[1], "support has no buttons")
    headers = sue.headers
    tap.ok("default-src 'self'" in headers["Content-Security-Policy"] and "frame-ancestors 'none'" in headers["Content-Security-Policy"]
           and "unsafe" not in headers["Content-Security-Policy"] and headers["X-Frame-Options"] == "DENY", "pages run no program of others, and are framed by nobody")
    cookie, = [cookie for cookie in sue.cookies if cookie.name == "payguard"]
    tap.ok(cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "Lax", "the cookie is the browser's alone")
    # a second person
    refund = books.rows("SELECT case_id FROM payguard.cases WHERE kind = 'late_success' AND order_id = '1090'")[0][0]
    done = ana.ask(f"/case/{refund}/refund_order", ana.token(f"/case/{refund}/refund_order") | note)
    waiting = books.case("1090", "approval_required")
    tap.ok(done[0] == 200, "a large refund is asked for", done)
    refused("who asked does not decide", books, log, lambda: ana.ask(f"/case/{waiting}/send_back", ana.token("/") | note), 403, "yourself")
    access(address, log, books, path)


def access(address, log, books, path):
    """Signing in, and losing the right to."""
    for role, password, what in (("ana", "wrong", "a wrong password"), ("ana", "", "no password"), ("nobody", "x", "an unknown role"),
                                 ("shop", "x", "a role that the server trusts"), ("postgres", "x", "the superuser, whom the server trusts"), ("ana' user=postgres", "ana", "a role that is a connection string")):
        refused(what, books, log, lambda: Stranger(address).sign_in(role, password), 403)
    books.rows("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    refused("a role without an access", books, log, lambda: Stranger(address).sign_in("guest"), 403, "grants the access")
    for _ in range(5):
        Stranger(address).sign_in("max", "guess")
    refused("the sixth guess", books, log, lambda: Stranger(address).sign_in("max", "guess"), 429)
    away = Stranger(address)
    away.ask("/sign-in", away.token("/sign-in") | {"role": "sue", "password": "sue", "then": "//evil.example/"})
    tap.ok(away.where.startswith(address), "signing in leads to a page of the console alone", away.where)
    ben, sue = Stranger(address), Stranger(address)
    ben.sign_in("ben")
    sue.sign_in("sue")
    form = ben.token(path)
    connections = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ben'"
    before = books.rows(connections)[0][0]
    books.rows("SELECT payguard.revoke_access('ben', access) FROM unnest('{operator,refunds}'::text[]) access")
    refused("a role whose access was revoked", books, log, lambda: ben.ask(path, form | {"note": "quick"}), 403, "any more")
    tap.ok("/sign-in" in ben.ask("/")[1] and wait_for(lambda: books.rows(connections)[0][0] < before, 5),
           "it is signed out, and its connection closed")
    books.rows("ALTER ROLE sue NOLOGIN")
    refused("a role that may not sign in any more", books, log, lambda: sue.ask("/"), 403, "any more")
    with open(log, encoding="utf-8") as file:
        text = file.read()
    tap.ok("guess" not in text and "mine" not in text and "Traceback" not in text, "the log has no password, no note and no failure of the console",
           [line for line in text.splitlines() if re.search("guess|mine|Traceback|Error", line)])


def idle(server, books):
    """A connection that nobody uses is closed; a page that refreshes itself does not keep it."""
    with shop.served(server, PAYGUARD_CONSOLE_IDLE="5", PGPASSWORD="ana") as (address, log):
        ana = Stranger(address)
        wait_for(lambda: reachable(address), 20)
        refused("no password, where libpq finds one in the environment", books, log, lambda: Stranger(address).sign_in("ana", ""), 403)
        ana.sign_in("ana")
        mine = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'ana' AND application_name = 'payguard console'"
        here = books.rows(mine)[0][0]

        def gone():
            ana.ask("/?auto=1")
            return books.rows(mine)[0][0] < here
        tap.ok(here and wait_for(gone, 30, 0.3) and "/sign-in" in ana.ask("/")[1], "an idle connection is closed, and one signs in again")


def catalogs():
    """Each text of the pages and each sentence of the database is in the catalog."""
    with open(os.path.join(TREE, "console", "translations", "zh", "LC_MESSAGES", "messages.po"), "rb") as file:
        catalog = pofile.read_po(file, locale="zh")
    sys.path.insert(0, os.path.join(TREE, "console"))
    import texts
    wanted = texts.of_pages() | texts.of_database()
    missing = sorted(text for text in wanted if not (catalog.get(text) and catalog.get(text).string))
    foreign = [text for text in wanted if catalog.get(text) and sorted(re.findall(r"\{\w+\}|%\(\w+\)s", text))
               != sorted(re.findall(r"\{\w+\}|%\(\w+\)s", catalog.get(text).string))]
    unused = sorted(message.id for message in catalog if message.id and message.id not in wanted)
    import runbooks
    import words
    known = runbooks.load()
    nameless = [kind for kind in known["en"] if kind not in words.WORDS]
    tap.ok(len(known["en"]) > 30 and not nameless and all(known[code].keys() == known["en"].keys() for code in known),
           "each kind of case has a name, and a runbook in each language", nameless)
    tap.ok(not missing and not foreign and not unused, f"the Chinese catalog has all {len(wanted)} texts, each with its facts",
           ["missing:", *missing, "other facts:", *foreign, "unused:", *unused])


def more_cases(server):
    """For attacks: an order whose refund is on its way, and a large one that succeeded late."""
    day = server.connect(role="shop").cursor()

    def one(sql, *values):
        day.execute(sql, values)
        return day.fetchone()[0]
    one("SELECT order_id FROM payguard.create_order('1080', 700, 'EUR')")
    one("SELECT outcome FROM payguard.record_payment('1080', 'card', 'ch_1080', 700, 'EUR')")
    one("SELECT outcome FROM payguard.record_payment('1080', 'paypal', 'PP-1080', 700, 'EUR')")
    one("SELECT order_id FROM payguard.create_order('1090', 70000, 'EUR')")
    payment = one("SELECT payment_id FROM payguard.start_payment('1090', '1090', 'card')")
    one("SELECT outcome FROM payguard.report_payment(%s, 'failed')", payment)
    one("SELECT outcome FROM payguard.report_payment(%s, 'succeeded', 'ch_1090', 70000, 'EUR')", payment)


def pictures():
    """Those of doc/console.md, and of what else a clerk meets first."""
    os.makedirs(PICTURES, exist_ok=True)
    with shop.lived_through() as server, shop.served(server) as (address, _):
        wait_for(lambda: reachable(address), 30, 0.2)
        clerk = Clerk(address)
        clerk.sign_in("ana")
        clerk.picture("inbox")
        clerk.picture("phone", 360, 1400)
        clerk.click("1042 was paid twice", "td.what a")
        clerk.picture("case")
        clerk.inbox()
        clerk.click("1017", "td.what a")
        clerk.click("Accept", ".actions .button")
        clerk.picture("action")
        clerk.click("Overview")
        clerk.picture("overview")
        for case in ("1030: card tells", "1017", "1033: wallet", "998", "1044"):
            clerk.inbox()
            clerk.click(f"Order {case}", "td.what a")
            clerk.picture("case_" + case.partition(":")[0])
        clerk.click("中文")
        clerk.picture("case_1044_zh")
        clerk.driver.quit()


def main():
    began = time.monotonic()
    if PICTURES:
        pictures()
    catalogs()
    with shop.lived_through(scenes) as server, shop.served(server) as (address, log):
        books = Books(server)
        if not wait_for(lambda: reachable(address), 30, 0.2):
            with open(log, encoding="utf-8") as file:
                raise RuntimeError(file.read())
        clerk = Clerk(address)
        try:
            clicks(clerk, books, server)
            nothing_runs(clerk)
            keys(clerk)
            narrow(clerk)
            said = [line["message"] for line in clerk.driver.get_log("browser") if "/statements/columns" not in line["message"]]
            tap.ok(not said, "the browser has nothing to complain about", said)
        finally:
            clerk.driver.quit()
        more_cases(server)
        attacks(address, log, books)
        idle(server, books)
        tap.equal(books.rows("SELECT * FROM payguard.verify()"), [], "verify() finds nothing")
    print(f"# all of it took {time.monotonic() - began:.0f} s")
    sys.exit(tap.done())


if __name__ == "__main__":
    main()
