"""What is shown: sentences with their facts, money, times, in the language and the time zone of whoever looks."""
import datetime
import re
import zoneinfo

from babel.dates import format_datetime, format_timedelta
from flask import request
from flask_babel import get_locale, gettext
from markupsafe import Markup, escape

DAY = datetime.timedelta(days=1)
FIRST = datetime.datetime(1, 1, 3, tzinfo=datetime.timezone.utc)
LAST = datetime.datetime(9999, 12, 29, tzinfo=datetime.timezone.utc)


def zone():
    """The viewer's time zone: the cookie that console.js sets, or UTC."""
    return zone_named(request.cookies.get("zone") or "UTC") or zoneinfo.ZoneInfo("UTC")


def zone_named(name):
    """The time zone of that name, or None."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return None


def moment(at):
    """A time of the database: a datetime, or ISO text out of JSON. What no calendar here can show, infinity too, is the
    first or the last day that can be shown in every zone."""
    if isinstance(at, str):
        try:
            at = datetime.datetime.fromisoformat(at)
        except ValueError:
            at = FIRST if at.startswith("-") or at.endswith("BC") else LAST
    return min(max(at, FIRST), LAST)


def exactly(at):
    """2026-11-29 14:02:11, with the zone's name where the language has none for it."""
    return format_datetime(moment(at), "yyyy-MM-dd HH:mm:ss z", tzinfo=zone(), locale=get_locale())


def clock(at):
    return format_datetime(moment(at), "HH:mm:ss", tzinfo=zone(), locale=get_locale())


def minute(at):
    return format_datetime(moment(at), "HH:mm", tzinfo=zone(), locale=get_locale())


def day_and_time(at):
    """Within a sentence: 29 Nov, 14:02."""
    at = moment(at)
    same_year = at.astimezone(zone()).year == datetime.datetime.now(zone()).year
    pattern = gettext("d MMM, HH:mm") if same_year else gettext("d MMM yyyy, HH:mm")
    return format_datetime(at, pattern, tzinfo=zone(), locale=get_locale())


def stamped(at, text):
    """A text of a time as HTML, with the exact time on hover and in print."""
    return Markup('<time datetime="{}" title="{}">{}</time>').format(moment(at).isoformat(), exactly(at), text)


def ago(at):
    """12 minutes ago, of what was within a day; or None."""
    passed = datetime.datetime.now(datetime.timezone.utc) - moment(at)
    if datetime.timedelta(0) <= passed < DAY:
        return format_timedelta(-passed, add_direction=True, locale=get_locale(), threshold=1.2)
    return None


def when(at):
    """A time as HTML: relative up to a day."""
    return "" if at is None else stamped(at, ago(at) or day_and_time(at))


def at(time):
    """A time as HTML, for what is compared with a channel's console: 29 Nov, 14:02:11, and within a day how long ago."""
    if time is None:
        return ""
    exact = format_datetime(moment(time), gettext("d MMM, HH:mm:ss"), tzinfo=zone(), locale=get_locale())
    if ago(time) is None:
        return stamped(time, exact)
    return Markup('{} <span class="ago">({})</span>').format(exact, stamped(time, ago(time)))


def age(at):
    """How long something has been there: 12 minutes."""
    passed = datetime.datetime.now(datetime.timezone.utc) - moment(at)
    return stamped(at, format_timedelta(passed, locale=get_locale(), threshold=1.2))


def seconds(number):
    return format_timedelta(datetime.timedelta(seconds=min(float(number), 1e10)), locale=get_locale(), threshold=1.2)


def money(fact):
    """{"major": "42.50", "currency": "EUR"} as HTML."""
    if not fact:
        return ""
    return Markup('<span class="money">{}&nbsp;{}</span>').format(fact["major"], fact["currency"])


def of_fact(fact):
    if isinstance(fact, dict) and "major" in fact:
        return money(fact)
    if isinstance(fact, dict) and "at" in fact:
        return stamped(fact["at"], day_and_time(fact["at"]))
    return escape("?" if fact is None else fact)


def tell(sentence, facts):
    """A sentence of the database in the viewer's language, as HTML. Its names in braces become facts."""
    if not sentence:
        return ""
    # every second part stood in braces
    parts = re.split(r"[{}]", gettext(sentence))
    return Markup("").join(of_fact(facts.get(part)) if n % 2 else escape(part) for n, part in enumerate(parts))


def sentences(text):
    """Sentences of the database without facts, each in the viewer's language."""
    return ("" if str(get_locale()) == "zh" else " ").join(gettext(sentence) for sentence in re.split(r"(?<=\.) ", text or "") if sentence)


# Words of the database as a clerk reads them; texts.py has them in the catalogs.
WORDS = {
    "critical": "critical", "warning": "warning", "info": "for information",
    # orders, payments
    "unpaid": "not paid", "paying": "being paid", "paid": "paid", "cancelled": "cancelled", "expired": "expired", "refunded": "given back",
    "pending": "waiting", "authorized": "reserved", "capturing": "being taken", "unknown": "no answer yet", "closing": "being closed", "superseded": "being closed", "succeeded": "paid",
    "failed": "failed", "closed": "closed", "surplus": "not needed", "returned": "taken back",
    # refunds
    "refund.awaiting_approval": "waits for a second person", "refund.pending": "on its way back", "refund.unknown": "no answer yet",
    "refund.succeeded": "went back", "refund.failed": "did not go back", "refund.waived": "stays with us",
    "refund.reinstated": "came again", "refund.merged": "one with another refund", "reversal.succeeded": "taken back by the bank",
    "chargeback": "chargeback", "bank_return": "return by the bank", "refund": "refund",
    # what find_orders() found by
    "order": "order", "payment": "payment", "key": "key", "transaction": "transaction", "customer": "customer",
    # columns of a statement
    "channel_txn_id": "the channel's number of the payment", "amount": "amount", "currency": "currency", "channel_time": "time",
    "kind": "kind: payment, refund, chargeback, return", "channel_status": "state: succeeded, failed", "fee": "fee",
    "channel_refund_id": "the channel's number of the refund", "order_id": "our order", "payout_id": "the channel's transfer to us",
    # kinds of cases
    "surplus_payment": "paid twice, or too late", "overpaid": "paid too much", "second_charge": "charged twice", "amount_mismatch": "another amount",
    "late_success": "paid after a failure", "attempt_superseded": "paid while paying another way", "attempt_alive": "goes on after a failure",
    "authorized_less": "reserved less than asked for", "authorization_expiring": "reserved money is about to lapse", "capture_failed": "reserved money was not taken",
    "suspected_duplicate": "ordered twice?", "approval_required": "waits for a second person", "policy_changed": "a rule was changed",
    "contradiction": "the channel contradicts itself", "txn_reused": "one charge, two payments", "unmatched_notification": "message of something unknown",
    "unreadable_evidence": "message that cannot be read", "archived_evidence": "message of an archived order", "refund_failed": "a refund failed",
    "refund_not_made": "a refund waits too long", "refund_mismatch": "another refund than asked for", "refund_exceeds_payment": "more went back than came",
    "refund_not_approved": "a refund that nobody approved", "payment_open_too_long": "a payment without an outcome", "dead_task": "nobody tries any more",
    "success_rate_low": "payments fail more often", "consumer_lag": "a reader lags", "prepared_transaction": "a transaction that does not end",
    "maintenance_failed": "maintenance failed", "verify_failed": "the records contradict each other", "out_of_step": "a row of the shop lags", "settlement_missing_locally": "statement: unknown money",
    "settlement_missing_at_channel": "statement: money is missing", "settlement_amount_mismatch": "statement: another amount",
    "settlement_currency_mismatch": "statement: another currency", "settlement_status_mismatch": "statement: another outcome",
    "settlement_duplicate_success": "statement: a second charge", "settlement_late_success": "statement: paid after a failure",
    "settlement_txn_reused": "statement: another order", "settlement_refund_mismatch": "statement: another refund",
}


def word(name, of=None):
    """A word of the database as a clerk reads it; of: what it is said of, where its words differ."""
    known = WORDS.get(f"{of}.{name}") or WORDS.get(name)
    return gettext(known) if known else str(name or "").replace("_", " ")
