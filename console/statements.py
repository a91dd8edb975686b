"""A channel's statement: read from a file, its columns named by a person, loaded and compared with what is known."""
import csv
import datetime
import functools
import io
import re
import zoneinfo

from psycopg import errors

import cases
import words

MOST, WIDEST = 50000, 100       # lines of a file, and columns
YEARS = range(1990, 2200)       # what a statement can be about
# what a line may have, and the words of a header that mean it; the first four are needed
FIELDS = {
    "channel_txn_id": "transaction charge payment txn reference",
    "amount": "gross amount total value",
    "currency": "currency ccy",
    "channel_time": "date time created booked",
    "kind": "type kind category",
    "channel_status": "status state",
    "channel_refund_id": "refund reversal dispute",
    "order_id": "order merchant invoice",
    "fee": "fee commission",
    "payout_id": "payout transfer settlement",
}
NEEDED = ("channel_txn_id", "amount", "channel_time")
KINDS = {"charge": "payment", "sale": "payment", "capture": "payment", "payment": "payment", "refund": "refund",
         "chargeback": "chargeback", "dispute": "chargeback", "return": "bank_return", "bank_return": "bank_return"}
STATES = {"succeeded": "succeeded", "success": "succeeded", "paid": "succeeded", "completed": "succeeded", "captured": "succeeded",
          "failed": "failed", "declined": "failed", "closed": "closed", "cancelled": "closed", "canceled": "closed", "pending": "pending"}
DATES = {"iso": None, "dmy": ("%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y"), "mdy": ("%m/%d/%Y", "%m-%d-%Y")}
INSERT = """
    INSERT INTO payguard.settlement_lines (channel, kind, channel_status, channel_txn_id, channel_refund_id, order_id, amount,
      currency, channel_time, fee, payout_id)
    VALUES (%s, %s, %s, %s, %s, %s, CASE WHEN %s THEN payguard.minor_units(%s::numeric, %s) ELSE %s::numeric::bigint END, %s, %s,
      CASE WHEN %s THEN payguard.minor_units(%s::numeric, %s) ELSE %s::numeric::bigint END, %s)"""


class Unreadable(cases.Refused):
    """A file, or what was said of it, that cannot be read: why, as a sentence."""


def wrong(sentence, **values):
    raise Unreadable(words.gettext(sentence, **values), 400)


def read(data):
    """(header, lines) of a file of CSV."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    head = text[:text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t|", key=head.count)
    rows = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True):
            if any(row):
                rows.append(row)
            if len(rows) > MOST:
                wrong("This file has too many lines: %(most)s at most.", most=MOST)
    except csv.Error:
        wrong("This is no file of CSV.")
    if len(rows) < 2 or "\0" in text:
        wrong("This file has no lines below its header.")
    if len(rows[0]) > WIDEST:
        wrong("This file has too many columns: %(most)s at most.", most=WIDEST)
    return rows[0], rows[1:]


@functools.cache
def zones():
    return sorted(zoneinfo.available_timezones())


def guess(header, lines):
    """Which column is which field, as far as its name tells, and how amounts and days are written there."""
    found = {}
    for field, meaning in FIELDS.items():
        for number, name in enumerate(header):
            if number not in found.values() and any(part in name.lower() for part in meaning.split()):
                found[field] = number
                break
    amounts, days = ([row[found[field]] for row in lines[:100] if field in found and found[field] < len(row)]
                     for field in ("amount", "channel_time"))
    return {**found, "mark": "," if any(re.search(r",\d{1,2}$", text.strip()) for text in amounts) else ".",
            "dates": "dmy" if any(re.match(r"\d{1,2}\.", text.strip()) for text in days) else "iso"}


def number(text, mark):
    """An amount as PostgreSQL reads it; mark: what stands before the cents. What stands between thousands stands before
    three digits."""
    between = "." if mark == "," else ","
    plain = re.sub(r"[\s']", "", text)
    if not re.fullmatch(rf"[+-]?(\d+|\d{{1,3}}(\{between}\d{{3}})+)(\{mark}\d+)?", plain, re.ASCII):
        return None
    return plain.replace(between, "").replace(mark, ".")


def moment(text, order, zone):
    """A time of a statement, in that zone unless it says its own."""
    text = text.strip()
    at = None
    if order == "iso":
        try:
            at = datetime.datetime.fromisoformat(text)
        except ValueError:
            return None
    for day in DATES[order] or ():
        for clock in ("", " %H:%M", " %H:%M:%S"):
            try:
                at = at or datetime.datetime.strptime(text, day + clock)
            except ValueError:
                pass
    if at is None or at.year not in YEARS:
        return None
    return at.replace(tzinfo=zone) if at.tzinfo is None else at


class Mapping:
    """What a person has said of a file: which column is which, and how things are written there."""

    def __init__(self, form):
        def chosen(name, known):
            return form.get(name) if form.get(name) in known else known[0]

        self.columns = {field: int(form[field]) for field in FIELDS if re.fullmatch("[0-9]{1,3}", form.get(field, ""))}
        self.major = chosen("unit", ("major", "minor")) == "major"
        self.mark, self.dates = chosen("mark", (".", ",")), chosen("dates", tuple(DATES))
        self.no_state = chosen("no_state", ("", "left_out", "succeeded"))
        self.currency = form.get("fixed_currency", "").strip()
        self.zone = words.zone_named(form.get("zone", "").strip() or words.zone().key)
        if self.zone is None:
            wrong("There is no such time zone. Say one as Europe/Paris or UTC.")
        self.begin, self.end = self.day(form, "begin"), self.day(form, "end")

    def day(self, form, name):
        text = form.get(name, "").strip()
        at = moment(text, "iso", self.zone) if text else None
        if text and at is None:
            wrong("The days between which the statement lies cannot be read.")
        return at


def line(row, mapping):
    """The values of INSERT for a line of the file, or None where it is left out; and the field that is wrong, and its text."""
    def cell(field):
        place = mapping.columns.get(field)
        return row[place].replace("\0", "").strip() if place is not None and place < len(row) else ""

    def meaning(field, known, without):
        # what is not in the file is said of all lines; an empty cell says nothing
        return known.get(cell(field).lower().replace(" ", "_")) if field in mapping.columns else without

    kind, state = meaning("kind", KINDS, "payment"), meaning("channel_status", STATES, "succeeded")
    if "channel_status" in mapping.columns and not cell("channel_status"):
        if mapping.no_state == "left_out":
            return None, None, None
        state = mapping.no_state or None
    amount, currency = number(cell("amount"), mapping.mark), (cell("currency") or mapping.currency).upper()
    fee = number(cell("fee"), mapping.mark) if cell("fee") else None
    at = moment(cell("channel_time"), mapping.dates, mapping.zone)
    unread = [field for field, bad in (
        ("kind", not kind), ("channel_status", not state), ("amount", amount is None), ("currency", not re.fullmatch("[A-Z]{3}", currency)),
        ("channel_time", at is None), ("fee", cell("fee") and fee is None)) if bad]
    if unread:
        return None, unread[0], cell(unread[0])
    # some channels write what went back with a minus
    amount = amount.lstrip("+-") if kind != "payment" else amount
    return (kind, state, cell("channel_txn_id") or None, cell("channel_refund_id") or None, cell("order_id") or None,
            mapping.major, amount, currency, amount, currency, at, mapping.major, fee, currency, fee, cell("payout_id") or None), None, None


def load(desk, upload, form):
    """Writes the lines and compares. → how many lines, how many were left out, how many differences, how many of these new"""
    mapping = Mapping(form)
    lines = []
    for place, row in enumerate(upload["lines"], 2):
        values, field, text = line(row, mapping)
        if field and not text:
            wrong("Line %(line)s has nothing as %(field)s. Nothing was loaded.", line=place, field=words.word(field))
        if field:
            wrong("Line %(line)s: \"%(text)s\" cannot be read as %(field)s. Nothing was loaded.", line=place, text=text[:200],
                  field=words.word(field))
        if values:
            lines.append((place, (upload["channel"], *values)))
    if not lines:
        wrong("Every line of this file would be left out. Nothing was loaded.")
    with desk.connection.cursor() as cursor:
        for place, values in lines:
            try:
                cursor.execute(INSERT, values)
            except (errors.DataError, errors.IntegrityError, errors.InternalError) as error:
                wrong("Line %(line)s: %(problem)s. Nothing was loaded.", line=place, problem=error.diag.message_primary)
    times = [values[11] for _, values in lines]
    begin, end = mapping.begin or min(times), mapping.end or max(times) + datetime.timedelta(seconds=1)
    if begin >= end:
        wrong("The days between which the statement lies cannot be read.")
    found = desk.row("SELECT count(*) AS found, count(*) FILTER (WHERE is_new) AS new FROM payguard.reconcile(%s, %s, %s)",
                     upload["channel"], begin, end)
    return {"lines": len(lines), "left_out": len(upload["lines"]) - len(lines), **found}


def findings(desk):
    """The differences that nobody has resolved."""
    return desk.rows("""SELECT case_id, severity, kind, since, order_id, taken_by, story FROM payguard.cases
                        WHERE starts_with(kind, 'settlement_') ORDER BY since DESC, case_id LIMIT 200""")


def channels(desk):
    return [row["split"] for row in desk.rows("SELECT split FROM payguard.payment_rates('17 days', 'channel') ORDER BY split")]
