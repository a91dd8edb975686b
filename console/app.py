#!/usr/bin/python3
"""payguard's console: where a clerk settles a doubled payment without SQL.

Pages are made here, of what the database tells; doc/console.md says how to run it. Rights, who did what and what may be
done are the database's: each person's queries run on a connection of that person's own role.
"""
import datetime
import os
import re
import secrets
import tempfile
import urllib.parse

import psycopg
from babel.messages import mofile, pofile
from flask import (Flask, Request, abort, current_app, flash, g, redirect, render_template, request, send_from_directory, session,
                   url_for)
from flask_babel import Babel, get_locale, gettext
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter, ValidationError

import cases
import db
import runbooks
import statements as files
import timeline
import words

HERE = os.path.dirname(os.path.abspath(__file__))
LANGUAGES = {"en": "English", "zh": "中文"}
# what Debian's packages bring, by the name that a page asks for
VENDOR = {
    "bootstrap-reboot.css": "/usr/share/javascript/bootstrap5/css/bootstrap-reboot.min.css",
    "bootstrap-grid.css": "/usr/share/javascript/bootstrap5/css/bootstrap-grid.min.css",
    "chart.js": "/usr/share/javascript/chart.js/chart.min.js",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# what a request may be as large as: a form, a file with its form, how many fields, and an address
FORM, FILE, FIELDS, ADDRESS = 64 * 1024, 10 * 1024 * 1024, 50, 8192
TRIES = 3               # of an action that somebody else crosses
csrf = CSRFProtect()
babel = Babel()


class Asked(Request):
    """A request that is no larger than what its page sends."""

    max_form_parts = FIELDS

    @property
    def max_content_length(self):
        return FILE if self.endpoint == "statements" else FORM

    @property
    def max_form_memory_size(self):
        # beside a file werkzeug counts the pieces in which it reads, of 64 KB each
        return 4 * FORM if self.endpoint == "statements" else FORM

    def _load_form_data(self):
        try:
            super()._load_form_data()
        except LookupError:
            # a part of a form may name its own encoding
            abort(400)


class CaseNumber(BaseConverter):
    """The number of a case, as PostgreSQL has it."""

    regex = "[0-9]{1,19}"

    def to_python(self, value):
        if int(value) >= 2**63:
            raise ValidationError
        return int(value)


def create_app(environ=os.environ):
    """The application, by the settings of its environment."""
    app = Flask(__name__)
    app.request_class = Asked
    app.url_map.converters["case"] = CaseNumber
    tls = environ.get("PAYGUARD_CONSOLE_TLS") == "1"
    catalogs = compiled_catalogs()
    app.config.update(
        SECRET_KEY=environ.get("PAYGUARD_CONSOLE_KEY") or secrets.token_hex(32),
        SESSION_COOKIE_NAME="payguard", SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Lax", SESSION_COOKIE_SECURE=tls,
        WTF_CSRF_TIME_LIMIT=None, SHOP=environ.get("PAYGUARD_CONSOLE_SHOP", ""),
        BABEL_TRANSLATION_DIRECTORIES=catalogs.name)
    app.catalogs = catalogs     # the folder is removed with the application
    if tls:
        # one proxy stands in front, and says who asks
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)
    app.wsgi_app = known_by_name(app.wsgi_app)
    app.desks = db.Desks(environ.get("PAYGUARD_CONSOLE_DSN", ""), int(environ.get("PAYGUARD_CONSOLE_IDLE") or 900))
    app.attempts = db.Attempts(300)
    app.runbooks = runbooks.load()
    # whoever is not signed in sends nothing that is read, but to the page where one signs in
    app.before_request(take_desk)
    csrf.init_app(app)
    babel.init_app(app)
    babel.localeselector(language)
    app.jinja_env.globals.update(
        tell=words.tell, money=words.money, when=words.when, at=words.at, age=words.age, exactly=words.exactly, word=words.word, clock=words.clock,
        seconds=words.seconds, sentences=words.sentences, with_wrong_person=cases.with_wrong_person, deeds=cases.deeds, languages=LANGUAGES, locale=get_locale)
    for rule, view, methods in PAGES:
        app.add_url_rule(rule, view.__name__, view, methods=methods)
    app.after_request(add_headers)
    app.register_error_handler(HTTPException, show_problem)
    app.register_error_handler(CSRFError, show_foreign)
    app.register_error_handler(db.NoAccess, show_no_access)
    app.register_error_handler(db.Busy, show_busy)
    app.register_error_handler(cases.Refused, show_refused)
    app.register_error_handler(psycopg.Error, show_database_error)
    return app


def known_by_name(application):
    """Refuses what is asked of a host that has no name, before anything is made of it."""
    def serve(environ, start):
        if re.fullmatch(r"[A-Za-z0-9._:\[\]-]{0,300}", environ.get("HTTP_HOST", "")):
            return application(environ, start)
        start("400 Bad Request", [("Content-Type", "text/plain")])
        return [b"This host has no name.\n"]
    return serve


def compiled_catalogs():
    """A folder of .mo files, made of the .po files."""
    folder = tempfile.TemporaryDirectory(prefix="payguard-console.")
    for name in os.listdir(os.path.join(HERE, "translations")):
        target = os.path.join(folder.name, name, "LC_MESSAGES")
        os.makedirs(target)
        with open(os.path.join(HERE, "translations", name, "LC_MESSAGES", "messages.po"), "rb") as file:
            catalog = pofile.read_po(file, locale=name)
        with open(os.path.join(target, "messages.mo"), "wb") as file:
            mofile.write_mo(file, catalog)
    return folder


def language():
    chosen = request.cookies.get("language")
    return chosen if chosen in LANGUAGES else request.accept_languages.best_match(list(LANGUAGES)) or "en"


# Before and after each request.

def take_desk():
    """Finds who asks. Only the sign-in page and what is static are for everybody."""
    g.desk = None
    if len(request.query_string) + len(request.path) > ADDRESS:
        abort(414)
    g.desk = current_app.desks.find(session.get("desk", ""), counts="auto" not in request.args)
    if g.desk is None and request.endpoint not in ("sign_in", "vendor", "static", "choose_language", None):
        if request.method == "POST":
            refuse("nobody is signed in")
        ended = session.pop("desk", None)
        if ended:
            flash(why_signed_out(current_app.desks.why_ended(ended)) + " " + gettext("Nothing was done since."))
        back = {"GET": request.full_path.rstrip("?"), "POST": "/" if request.endpoint == "sign_out" else request.path}
        return redirect(url_for("sign_in", then=back.get(request.method, "/")))
    return None


def why_signed_out(why):
    if why == "idle":
        return gettext("You were signed out, since nothing was clicked for a while.")
    if why == "elsewhere":
        return gettext("You were signed out, since your name has signed in at %(most)s other places. Was it you?", most=db.MOST_OF_ONE)
    return gettext("You were signed out, since the connection to the database has ended.")


def add_headers(response):
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint in ("vendor", "static"):
        response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def refuse(why, role=None):
    """A line of the log: who was refused what. Of what was typed only the role that somebody wants to be is in it."""
    desk = g.get("desk")
    current_app.logger.warning("refused: role=%r address=%s %s %r: %s", desk.role if desk else role, request.remote_addr,
                               request.method, request.path[:200], why)


def page(template, status=200, **values):
    return render_template(template, desk=g.get("desk"), now=datetime.datetime.now(datetime.timezone.utc), **values), status


def problem(sentence, status):
    """A sentence, and the way back: to the case that it is about, or to the file."""
    case_id = (request.view_args or {}).get("case_id")
    back = None
    if g.get("desk") and case_id is not None:
        back = url_for("case", case_id=case_id), gettext("Back to the case")
    elif g.get("desk") and request.endpoint in ("statements", "columns"):
        back = url_for(request.endpoint), gettext("Back to the file")
    return page("problem.html", status, sentence=sentence, back=back)


def show_problem(error):
    if request.method == "POST":
        refuse(error.name)
    if error.code == 404:
        return problem(gettext("There is no such page."), 404)
    if error.code in (413, 414):
        return problem(gettext("This is too large. A file has 10 MB at most."), error.code)
    return problem(gettext("This cannot be done."), error.code or 500)


def show_foreign(error):
    refuse(f"not sent by a page of this console: {error.description}")
    return problem(gettext("This did not come from a page of this console, or you have signed in anew since. Nothing was done."), 403)


def show_no_access(_):
    """Who lost the access is signed out with it."""
    refuse("the role has no access any more")
    sign_off()
    return problem(gettext("Your role has no access to payguard any more. You are signed out."), 403)


def show_busy(_):
    refuse("its other requests are not done yet")
    return problem(gettext("Another page of yours is still being made. Wait for it, and try again."), 503)


def show_refused(refused):
    refuse(refused.why)
    return problem(gettext(refused.why), refused.status)


def show_database_error(error):
    """What the database refuses is shown in its words; a connection that is gone means to sign in anew."""
    state = error.sqlstate
    # what the database says may name what was typed
    refuse(f"the database answers {state or type(error).__name__}")
    if g.get("desk") and g.desk.connection.closed:
        sign_off()
        return problem(gettext("The connection to the database is gone. Sign in again."), 503)
    if state == "42501":
        return problem(gettext("Your role does not have the right to do this."), 403)
    if state == "PY602":
        return problem(gettext("You asked for it yourself: a second person decides."), 403)
    if state in ("40001", "40P01", "55P03", "57014"):
        return problem(gettext("Somebody else is working on it, or it takes too long. Nothing was done. Try again."), 409)
    message = error.diag.message_primary if state and (state.startswith("PY") or state[:2] in ("22", "23")) else ""
    return problem(gettext("The database has refused this. Nothing was done.") + (f" ({message})" if message else ""),
                   409 if message else 500)


# Signing in and out.

def sign_in():
    """The role and its password; too many wrong ones of a role or from an address have to wait."""
    then = request.values.get("then", "/")
    if request.method != "POST":
        return page("sign_in.html", then=then) if g.desk is None else redirect(url_for("inbox"))
    role, address = request.form.get("role", "")[:64], request.remote_addr
    # of a role, of an address, and of both: who guesses at a role from elsewhere shuts out nobody at once
    tries = {("role", role): 30, ("address", address): 30, ("both", role, address): 5}
    if current_app.attempts.too_many(tries):
        refuse("too many attempts to sign in", role)
        return page("sign_in.html", 429, then=then, problem=gettext("Too many attempts. Wait five minutes."))
    try:
        name = current_app.desks.open(role, request.form.get("password", ""))
    except db.SignInFailed as failure:
        if failure.guess:
            current_app.attempts.failed_again(tries)
        refuse(f"sign-in: {failure}", role)
        return page("sign_in.html", 403, then=then, problem=gettext(str(failure)))
    current_app.attempts.forget(("both", role, address))
    sign_off()      # a session that was there is another person's
    session["desk"] = name
    current_app.logger.info("signed in: role=%r address=%s", role, address)
    return redirect(of_console(then))


def of_console(path):
    """A path of this console; / instead of one that leads elsewhere, or is none."""
    return path if re.fullmatch(r"/(?![/\\])[^\\\s\x00-\x1f\x7f]*", path) and len(path) <= ADDRESS else "/"


def sign_off():
    current_app.desks.close(session.get("desk", ""))
    session.clear()
    g.desk = None


def sign_out():
    sign_off()
    return redirect(url_for("sign_in"))


def choose_language(code):
    """Sets the language's cookie, and goes back to the page that asked."""
    try:
        asked = urllib.parse.urlsplit(request.referrer or "")
        back = of_console(asked.path + (f"?{asked.query}" if asked.query else "")) if asked.netloc == request.host else "/"
    except ValueError:
        back = "/"
    response = redirect(back)
    if code in LANGUAGES:
        response.set_cookie("language", code, max_age=31536000, httponly=True, samesite="Lax", secure=request.is_secure)
    return response


def vendor(name):
    path = VENDOR.get(name) or abort(404)
    return send_from_directory(os.path.dirname(path), os.path.basename(path))


# The pages.

def typed(form, field):
    """What somebody typed. A text of the database has no NUL."""
    return form.get(field, "").replace("\0", "").strip()


LAST_PAGE = 10**6       # of the inbox; nobody has so many


def inbox():
    show, kind = request.args.get("show", "open"), typed(request.args, "kind")
    number = min(max(0, request.args.get("page", 0, type=int)), LAST_PAGE)
    midnight = datetime.datetime.now(words.zone()).replace(hour=0, minute=0, second=0, microsecond=0)
    with g.desk.transaction() as desk:
        if show not in (*cases.FILTERS, "resolved") or show == "waiting" and not desk.may["approvals"]:
            show = "open"
        found, more = cases.resolved(desk, midnight, number) if show == "resolved" else cases.inbox(desk, show, kind, number)
        nightly = {"nightly": cases.nightly(desk)} if not found and show == "open" and desk.may["overview"] else {}
        return page("inbox.html", counts=cases.counts(desk, midnight), kinds=cases.kinds(desk), found=found, more=more,
                    show=show, kind=kind, number=number, **nightly)


def case(case_id):
    with g.desk.transaction() as desk:
        found, order = case_and_order(desk, case_id)
    return case_page(found, order)


def case_and_order(desk, case_id):
    found = cases.find(desk, case_id)
    if found is None:
        raise cases.Refused("There is no such case.", 404)
    return found, cases.order(desk, found["order_id"]) if found["order_id"] else None


def case_page(found, order, status=200, problem=None):
    return page("case.html", status, case=found, order=order, line=timeline.draw(order), seen=cases.seen(found, order),
                runbook=runbook_of(found), problem=problem)


def runbook_of(found):
    """(language, text, blocks of SQL) of the kind of a case: in the reader's language, or in English."""
    for code in (str(get_locale()), "en"):
        if found["kind"] in current_app.runbooks[code]:
            return code, *current_app.runbooks[code][found["kind"]]
    return None


def action(case_id, name):
    """Shows what an action causes, and does it when it is confirmed. Where somebody else does something of the case at the
    same moment nothing is done, and it is looked at anew."""
    for tried in range(1, TRIES + 1):
        try:
            return confirmed(case_id, name) if request.method == "POST" else asked(case_id, name)
        except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
            if tried == TRIES:
                raise
    raise AssertionError


def asked(case_id, name):
    with g.desk.transaction() as desk:
        found, order = case_and_order(desk, case_id)
        wanted = cases.offered(desk, found, name)
    if wanted is None:
        return not_offered(found, order)
    changed = request.args.get("seen", "") not in ("", cases.seen(found, order))
    return action_page(found, order, wanted, {field: "" for field in wanted["input"]}, changed=changed)


def confirmed(case_id, name):
    with g.desk.transaction(writes=True, one_view=True) as desk:
        found, order = case_and_order(desk, case_id)
        wanted = cases.offered(desk, found, name)
        if wanted is None:
            return not_offered(found, order)
        inputs = {field: typed(request.form, field) for field in wanted["input"]}
        if request.form.get("seen") != cases.seen(found, order):
            refuse("the case has changed since it was seen")
            return action_page(found, order, wanted, inputs, 409, changed=True)
        if not all(inputs.values()):
            return action_page(found, order, wanted, inputs, 400, missing=True)
        answers = cases.act(desk, wanted, inputs)
    tell_outcome(wanted, found, answers)
    return redirect(url_for("case", case_id=case_id))


def action_page(found, order, wanted, inputs, status=200, **problems):
    return page("action.html", status, case=found, order=order, action=wanted, seen=cases.seen(found, order), inputs=inputs,
                line=timeline.draw(order), runbook=runbook_of(found), **problems)


def not_offered(found, order):
    """The case as it is now, and who was faster."""
    refuse("not offered, or not any more")
    if found.get("resolved_at"):
        sentence = gettext("%(name)s has closed this case. Nothing was done by you.", name=found["resolved_by"])
    elif found["taken_by"] and request.view_args["name"] == "take":
        sentence = gettext("%(name)s has taken this case. Nothing was done by you.", name=found["taken_by"])
    else:
        sentence = gettext("This is not offered, or not any more. Nothing was done by you. The case is shown as it is now.")
        deeds = cases.deeds(order)
        if deeds:
            sentence += " " + gettext("Last here was %(name)s: %(note)s", name=deeds[-1]["actor"], note=deeds[-1]["details"]["note"])
    return case_page(found, order, 409, sentence)


def tell_outcome(wanted, found, answers):
    """What the calls have answered: done, not done yet, kept for somebody to look at, or done by somebody before."""
    outcomes = {answer.get("outcome") for answer in answers}
    if outcomes & {"approval_required", "awaiting_approval"}:
        flash(gettext("A second person was asked. Nothing happens to the money until then."))
    elif "recorded" in outcomes:
        flash(gettext("This contradicts what is known. Your word is kept for a person to look at, and nothing has changed:") + " "
              + " ".join(answer["message"] for answer in answers if answer.get("message")))
    elif answers and all(answer.get("replayed") for answer in answers):
        flash(gettext("It had been done before. Nothing was done by you."))
    else:
        flash(gettext("Done:") + " " + words.tell(wanted["label"], found["facts"]).striptags())


def search():
    wanted = typed(request.args, "q")[:300]
    with g.desk.transaction() as desk:
        found = desk.rows("""SELECT order_id, customer_id, status, found_by, created_at, payguard.money(amount, currency) AS price,
                             jsonb_array_length(payments) AS payments FROM payguard.find_orders(%s)""", wanted) if wanted else []
    if len(found) == 1:
        return redirect(url_for("order", id=found[0]["order_id"]))
    return page("search.html", wanted=wanted, found=found)


def order():
    with g.desk.transaction() as desk:
        found = cases.order(desk, typed(request.args, "id")) or abort(404)
        return page("order.html", order=found, line=timeline.draw(found), cases=cases.of_order(desk, found["order_id"]))


def approvals():
    with g.desk.transaction() as desk:
        if not desk.may["approvals"]:
            raise cases.Refused("Your role does not have the right to do this.", 403)
        return page("approvals.html", found=cases.approvals(desk))


def statements():
    """Takes a file, and shows which differences are open."""
    with g.desk.transaction() as desk:
        if not desk.may["statements"]:
            raise cases.Refused("Your role does not have the right to do this.", 403)
        if request.method != "POST":
            return page("statements.html", found=files.findings(desk), channels=files.channels(desk))
    file = request.files.get("file") or abort(400)
    header, lines = files.read(file.read())
    # a file is kept in memory alone, until it is loaded or another one comes
    g.desk.upload = {"id": secrets.token_urlsafe(8), "name": file.filename[:200], "channel": typed(request.form, "channel"),
                     "header": header, "lines": lines}
    return redirect(url_for("columns"))


def columns():
    """Asks which column is which, and loads the file with one transaction. What was said of another file is said of none."""
    if request.method == "POST":
        return load_statement()
    with g.desk.transaction() as desk:
        if not desk.may["statements"]:
            raise cases.Refused("Your role does not have the right to do this.", 403)
        upload = desk.upload
    return columns_page(upload, files.guess(upload["header"], upload["lines"])) if upload else redirect(url_for("statements"))


def columns_page(upload, chosen, status=200, problem=None):
    return page("columns.html", status, upload=upload, chosen=chosen, problem=problem, fields=files.FIELDS, needed=files.NEEDED,
                zones=files.zones(), mine=words.zone().key)


def load_statement():
    upload = None
    try:
        with g.desk.transaction(writes=True) as desk:
            upload = desk.upload
            if upload is None or request.form.get("upload") != upload["id"]:
                raise cases.Refused("This form was about another file than the one that was uploaded last. Nothing was loaded.", 409)
            loaded = files.load(desk, upload, request.form)
            desk.upload = None      # of several requests the first one has it
    except files.Unreadable as unread:
        refuse("a statement that cannot be loaded")
        return columns_page(upload, request.form, 400, unread.why)
    flash(gettext("%(lines)s lines were loaded. Differences: %(found)s; new ones: %(new)s.", **loaded))
    if loaded["left_out"]:
        flash(gettext("%(number)s lines without a state were left out.", number=loaded["left_out"]))
    return redirect(url_for("statements"))


# how long, in how many steps it is drawn, and how the beginning of a step is written
PERIODS = {"hour": ("1 hour", 12, words.minute), "day": ("1 day", 24, words.minute), "fortnight": ("14 days", 14, words.day_and_time)}


def overview():
    """How payments went, and whether everything runs."""
    period = request.args.get("period") if request.args.get("period") in PERIODS else "day"
    length, steps, written = PERIODS[period]
    with g.desk.transaction() as desk:
        if not desk.may["overview"]:
            raise cases.Refused("Your role does not have the right to do this.", 403)
        rates = desk.rows("SELECT * FROM payguard.payment_rates(%s, 'channel') ORDER BY split", length)
        blocked = desk.row("SELECT sum(blocked)::bigint AS blocked FROM payguard.payment_rates(%s, 'all')", length)["blocked"]
        curve = desk.rows("SELECT * FROM payguard.payment_curve(%s, %s)", length, steps)
        metrics = desk.rows(r"SELECT name, labels, value FROM payguard.metrics WHERE name NOT LIKE '%%\_total'")
        return page("overview.html", period=period, rates=rates, blocked=blocked, curve=curve, written=written, tiles=tiles(metrics), percent=percent)


def percent(rate):
    return "–" if rate is None else f"{100 * rate:.1f}"


def tiles(metrics):
    """(what, its figure, whether that needs somebody) of what must run."""
    def values(name, **labels):
        return [row["value"] for row in metrics if row["name"] == f"payguard_{name}" and labels.items() <= row["labels"].items()]

    oldest, open_since = sum(values("task_oldest_due_seconds")), sum(values("payment_oldest_open_seconds"))
    dead, lag = sum(values("tasks", state="dead")), max(values("consumer_lag_seconds"), default=0)
    verified = max(values("maintenance_age_seconds", duty="verify"), default=None)
    violations = int(sum(values("verify_violations")))
    age = max((row["value"] for row in metrics if row["name"] == "payguard_maintenance_age_seconds" and row["labels"].get("duty") != "verify"),
              default=None)
    return [
        (gettext("Tasks that are due"), int(sum(values("tasks", state="due"))), False),
        (gettext("The oldest of them waits for"), words.seconds(oldest), oldest > 300),
        (gettext("Tasks that nobody tries any more"), int(dead), dead > 0),
        (gettext("Oldest payment without an outcome"), words.seconds(open_since), open_since > 86400),
        (gettext("Messages of something unknown"), int(sum(values("notifications_unmatched"))), False),
        (gettext("Readers lag behind by"), words.seconds(lag), lag > 900),
        (gettext("Since maintain() ran last"), gettext("it never ran") if age is None else words.seconds(age), age is None or age > 300),
        (gettext("Since the nightly check"), gettext("it never ran") if verified is None else words.seconds(verified),
         verified is None or verified > 26 * 3600),
        (gettext("Records that contradict each other"), violations, violations > 0),
    ]


PAGES = [
    ("/", inbox, ["GET"]),
    ("/sign-in", sign_in, ["GET", "POST"]),
    ("/sign-out", sign_out, ["POST"]),
    ("/language/<code>", choose_language, ["GET"]),
    ("/vendor/<name>", vendor, ["GET"]),
    ("/case/<case:case_id>", case, ["GET"]),
    ("/case/<case:case_id>/<name>", action, ["GET", "POST"]),
    ("/search", search, ["GET"]),
    ("/order", order, ["GET"]),
    ("/approvals", approvals, ["GET"]),
    ("/statements", statements, ["GET", "POST"]),
    ("/statements/columns", columns, ["GET", "POST"]),
    ("/overview", overview, ["GET"]),
]


def main():
    """Serves it, on the loopback unless the settings say otherwise."""
    import logging
    import waitress
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    app = create_app()
    if not os.environ.get("PAYGUARD_CONSOLE_KEY"):
        app.logger.warning("PAYGUARD_CONSOLE_KEY is not set: whoever is signed in signs in again after a restart")
    # more than the requests of one person, who is signed in as often as may be
    waitress.serve(app, listen=os.environ.get("PAYGUARD_CONSOLE_LISTEN") or "127.0.0.1:8080", threads=16, ident=None,
                   max_request_body_size=FILE + FORM, max_request_header_size=2 * ADDRESS)


if __name__ == "__main__":
    main()
