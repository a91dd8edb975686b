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
from flask import Flask, abort, current_app, flash, g, redirect, render_template, request, send_from_directory, session, url_for
from flask_babel import Babel, get_locale, gettext
from flask_wtf.csrf import CSRFError, CSRFProtect
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

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
csrf = CSRFProtect()
babel = Babel()


def create_app(environ=os.environ):
    """The application, by the settings of its environment."""
    app = Flask(__name__)
    tls = environ.get("PAYGUARD_CONSOLE_TLS") == "1"
    catalogs = compiled_catalogs()
    app.config.update(
        SECRET_KEY=environ.get("PAYGUARD_CONSOLE_KEY") or secrets.token_hex(32),
        SESSION_COOKIE_NAME="payguard", SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Lax", SESSION_COOKIE_SECURE=tls,
        MAX_CONTENT_LENGTH=10 * 1024 * 1024, WTF_CSRF_TIME_LIMIT=None, SHOP=environ.get("PAYGUARD_CONSOLE_SHOP", ""),
        BABEL_TRANSLATION_DIRECTORIES=catalogs.name)
    app.catalogs = catalogs     # the folder is removed with the application
    if tls:
        # one proxy stands in front, and says who asks
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1)
    app.desks = db.Desks(environ.get("PAYGUARD_CONSOLE_DSN", ""), int(environ.get("PAYGUARD_CONSOLE_IDLE") or 900))
    app.attempts = db.Attempts(300)
    app.runbooks = runbooks.load()
    csrf.init_app(app)
    babel.init_app(app)
    babel.localeselector(language)
    app.jinja_env.globals.update(
        tell=words.tell, money=words.money, when=words.when, at=words.at, age=words.age, exactly=words.exactly, word=words.word, clock=words.clock,
        seconds=words.seconds, sentences=words.sentences, with_wrong_person=cases.with_wrong_person, languages=LANGUAGES, locale=get_locale)
    for rule, view, methods in PAGES:
        app.add_url_rule(rule, view.__name__, view, methods=methods)
    app.before_request(take_desk)
    app.after_request(add_headers)
    app.register_error_handler(HTTPException, show_problem)
    app.register_error_handler(CSRFError, show_foreign)
    app.register_error_handler(db.NoAccess, show_no_access)
    app.register_error_handler(cases.Refused, show_refused)
    app.register_error_handler(psycopg.Error, show_database_error)
    return app


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
    g.desk = current_app.desks.find(session.get("desk", ""), counts="auto" not in request.args)
    if g.desk is None and request.endpoint not in ("sign_in", "vendor", "static", "choose_language", None):
        if request.method == "POST":
            refuse("nobody is signed in")
        if session.pop("desk", None):
            flash(gettext("You were signed out, since nothing was clicked for a while. Nothing was done since."))
        back = {"GET": request.full_path.rstrip("?"), "POST": "/" if request.endpoint == "sign_out" else request.path}
        return redirect(url_for("sign_in", then=back.get(request.method, "/")))
    return None


def add_headers(response):
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint in ("vendor", "static"):
        response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def refuse(why):
    """A line of the log: who was refused what. What was typed is not in it."""
    desk = g.get("desk")
    current_app.logger.warning("refused: role=%r address=%s %s %r: %s", desk.role if desk else None, request.remote_addr,
                               request.method, request.path, why)


def page(template, status=200, **values):
    return render_template(template, desk=g.get("desk"), now=datetime.datetime.now(datetime.timezone.utc), **values), status


def problem(sentence, status, back=None):
    return page("problem.html", status, sentence=sentence, back=back)


def show_problem(error):
    if error.code == 404:
        return problem(gettext("There is no such page."), 404)
    if error.code == 413:
        return problem(gettext("This file is too large: 10 MB at most."), 413)
    if request.method == "POST":
        refuse(error.name)
    return problem(gettext("This cannot be done."), error.code or 500)


def show_foreign(error):
    refuse(f"not sent by a page of this console: {error.description}")
    return problem(gettext("This did not come from a page of this console, or you have signed in anew since. Nothing was done."), 403)


def show_no_access(_):
    """Who lost the access is signed out with it."""
    refuse("the role has no access any more")
    sign_off()
    return problem(gettext("Your role has no access to payguard any more. You are signed out."), 403)


def show_refused(refused):
    refuse(refused.why)
    back = url_for("case", case_id=request.view_args["case_id"]) if "case_id" in (request.view_args or {}) else None
    return problem(gettext(refused.why), refused.status, back)


def show_database_error(error):
    """What the database refuses is shown in its words; a connection that is gone means to sign in anew."""
    state = error.sqlstate
    # what the database says may name what was typed
    refuse(f"the database answers {state or type(error).__name__}")
    if g.get("desk") and g.desk.connection.closed:
        sign_off()
        return problem(gettext("The connection to the database is gone. Sign in again."), 503)
    back = url_for("case", case_id=request.view_args["case_id"]) if "case_id" in (request.view_args or {}) else None
    if state == "42501":
        return problem(gettext("Your role does not have the right to do this."), 403, back)
    if state == "PY602":
        return problem(gettext("You asked for it yourself: a second person decides."), 403, back)
    if state in ("40001", "40P01", "55P03", "57014"):
        return problem(gettext("Somebody else is working on it, or it takes too long. Nothing was done. Try again."), 409, back)
    message = error.diag.message_primary if state and (state.startswith("PY") or state[:2] in ("22", "23")) else ""
    return problem(gettext("The database has refused this. Nothing was done.") + (f" ({message})" if message else ""),
                   409 if message else 500, back)


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
        refuse("too many attempts to sign in")
        return page("sign_in.html", 429, then=then, problem=gettext("Too many attempts. Wait five minutes."))
    try:
        name = current_app.desks.open(role, request.form.get("password", ""))
    except db.SignInFailed as failure:
        current_app.attempts.failed_again(tries)
        refuse(f"sign-in: {failure}")
        return page("sign_in.html", 403, then=then, problem=gettext(str(failure)))
    current_app.attempts.forget(("both", role, address))
    sign_off()      # a session that was there is another person's
    session["desk"] = name
    current_app.logger.info("signed in: role=%r address=%s", role, address)
    # to a page of this console alone
    return redirect(then if re.match(r"/(?![/\\])", then) and "\\" not in then else "/")


def sign_off():
    current_app.desks.close(session.get("desk", ""))
    session.clear()
    g.desk = None


def sign_out():
    sign_off()
    return redirect(url_for("sign_in"))


def choose_language(code):
    """Sets the language's cookie, and goes back to the page that asked."""
    asked = urllib.parse.urlsplit(request.referrer or "")
    back = asked.path if asked.netloc == request.host and re.match(r"/(?![/\\])", asked.path) else "/"
    response = redirect(back + (f"?{asked.query}" if back != "/" and asked.query else ""))
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


def inbox():
    show, kind = request.args.get("show", "open"), request.args.get("kind", "")
    number = max(0, request.args.get("page", 0, type=int))
    midnight = datetime.datetime.now(words.zone()).replace(hour=0, minute=0, second=0, microsecond=0)
    with g.desk.transaction() as desk:
        if show not in (*cases.FILTERS, "resolved") or show == "waiting" and not desk.may["approvals"]:
            show = "open"
        found, more = cases.resolved(desk, midnight, number) if show == "resolved" else cases.inbox(desk, show, kind, number)
        return page("inbox.html", counts=cases.counts(desk, midnight), kinds=cases.kinds(desk), found=found, more=more,
                    show=show, kind=kind, number=number)


def case(case_id):
    with g.desk.transaction() as desk:
        found = cases.find(desk, case_id) or abort(404)
        order = cases.order(desk, found["order_id"]) if found["order_id"] else None
        return page("case.html", case=found, order=order, line=timeline.draw(order), runbook=current_runbook(found["kind"]))


def current_runbook(kind):
    return current_app.runbooks.get(kind)


def action(case_id, name):
    """Shows what an action causes, and does it when it is confirmed."""
    with g.desk.transaction(writes=request.method == "POST") as desk:
        found, wanted = cases.offered(desk, case_id, name)
        seen = cases.seen(found, wanted)
        inputs = {field: typed(request.form, field) for field in wanted["input"]}
        if request.method != "POST" or not all(inputs.values()):
            return page("action.html", 200 if request.method != "POST" else 400, case=found, action=wanted, seen=seen, inputs=inputs,
                        missing=request.method == "POST", runbook=current_runbook(found["kind"]))
        if request.form.get("seen") != seen:
            raise cases.Refused("Something has changed since you saw it. Nothing was done; look at it again.", 409)
        answers = cases.act(desk, wanted, inputs)
    outcomes = [answer.get("outcome") for answer in answers]
    if "approval_required" in outcomes:
        flash(gettext("A second person was asked. Nothing happens to the money until then."))
    else:
        flash(gettext("Done:") + " " + words.tell(wanted["label"], found["facts"]).striptags())
    for answer in answers:
        if answer.get("outcome") == "recorded" and answer.get("message"):
            flash(answer["message"])
    return redirect(url_for("case", case_id=case_id))


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
    g.desk.upload = {"name": file.filename, "channel": typed(request.form, "channel"), "header": header, "lines": lines}
    return redirect(url_for("columns"))


def columns():
    """Asks which column is which, and loads the file with one transaction."""
    upload = g.desk.upload
    if upload is None:
        return redirect(url_for("statements"))
    shown = {"upload": upload, "fields": files.FIELDS, "needed": files.NEEDED}
    if request.method != "POST":
        with g.desk.transaction():
            return page("columns.html", chosen=files.guess(upload["header"], upload["lines"]), **shown)
    try:
        with g.desk.transaction(writes=True) as desk:
            loaded, found, new = files.load(desk, upload, request.form)
    except cases.Refused as refused:
        refuse("a statement that cannot be loaded")
        return page("columns.html", 400, chosen=request.form, problem=refused.why, **shown)
    g.desk.upload = None
    flash(gettext("%(loaded)s lines were loaded. Differences: %(found)s; new ones: %(new)s.", loaded=loaded, found=found, new=new))
    return redirect(url_for("statements"))


PERIODS = {"hour": "1 hour", "day": "1 day", "fortnight": "14 days"}


def overview():
    """How payments went, and whether everything runs."""
    period = request.args.get("period") if request.args.get("period") in PERIODS else "day"
    with g.desk.transaction() as desk:
        if not desk.may["overview"]:
            raise cases.Refused("Your role does not have the right to do this.", 403)
        rates = desk.rows("SELECT * FROM payguard.payment_rates(%s, 'channel') ORDER BY split", PERIODS[period])
        blocked = desk.row("SELECT sum(blocked)::bigint AS blocked FROM payguard.payment_rates(%s, 'all')", PERIODS[period])["blocked"]
        metrics = desk.rows("SELECT name, labels, value FROM payguard.metrics WHERE name NOT LIKE '%%\_total'")
        return page("overview.html", period=period, rates=rates, blocked=blocked, tiles=tiles(metrics), percent=percent)


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
    ("/case/<int:case_id>", case, ["GET"]),
    ("/case/<int:case_id>/<name>", action, ["GET", "POST"]),
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
    waitress.serve(app, listen=os.environ.get("PAYGUARD_CONSOLE_LISTEN") or "127.0.0.1:8080", threads=8, ident=None,
                   max_request_body_size=11 * 1024 * 1024)


if __name__ == "__main__":
    main()
