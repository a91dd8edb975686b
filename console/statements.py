"""A channel's statement: read from a file, its columns named by a person, loaded and compared with what is known."""
import csv
import datetime
import io
import re

from psycopg import errors

import cases
import words

MOST = 50000        # lines of a file
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


def wrong(sentence, **values):
    raise cases.Refused(words.gettext(sentence, **values), 400)


def read(data):
    """(header, lines) of a file of CSV."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    head = text[:text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t|", key=head.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True) if any(row)]
    except csv.Error:
        wrong("This is no file of CSV.")
    if len(rows) < 2 or "\0" in text:
        wrong("This file has no lines below its header.")
    if len(rows) > MOST:
        wrong("This file has too many lines: %(most)s at most.", most=MOST)
    return rows[0], rows[1:]


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


def moment(text, order):
    """A time of a statement, in the viewer's zone unless it says its own."""
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
    return at.replace(tzinfo=words.zone()) if at and at.tzinfo is None else at


def line(row, columns, form):
    """The values of INSERT for a line of the file; a field's name where that is wrong."""
    def cell(field):
        place = columns.get(field)
        return row[place].strip() if place is not None and place < len(row) else ""

    major, mark = form.get("unit") != "minor", form.get("mark", ".")
    kind = KINDS.get(cell("kind").lower().replace(" ", "_") or "payment")
    state = STATES.get(cell("channel_status").lower() or "succeeded")
    amount, currency = number(cell("amount"), mark), (cell("currency") or form.get("fixed_currency", "").strip()).upper()
    fee = number(cell("fee"), mark) if cell("fee") else None
    at = moment(cell("channel_time"), form.get("dates", "iso") if form.get("dates") in DATES else "iso")
    unread = [field for field, bad in (
        ("kind", not kind), ("channel_status", not state), ("amount", amount is None), ("currency", not re.fullmatch("[A-Z]{3}", currency)),
        ("channel_time", at is None), ("fee", cell("fee") and fee is None)) if bad]
    if unread:
        return None, unread[0], cell(unread[0])
    # some channels write what went back with a minus
    amount = amount.lstrip("+-") if kind != "payment" else amount
    return (kind, state, cell("channel_txn_id") or None, cell("channel_refund_id") or None, cell("order_id") or None,
            major, amount, currency, amount, currency, at, major, fee, currency, fee, cell("payout_id") or None), None, None


def load(desk, upload, form):
    """Writes the lines and compares. → how many lines, how many differences, and how many of these are new"""
    columns = {field: int(form[field]) for field in FIELDS if form.get(field, "").isdigit()}
    lines = []
    for place, row in enumerate(upload["lines"], 2):
        values, field, text = line(row, columns, form)
        if field:
            wrong("Line %(line)s: \"%(text)s\" cannot be read as %(field)s. Nothing was loaded.", line=place, text=text,
                   field=words.word(field))
        lines.append((upload["channel"], *values))
    with desk.connection.cursor() as cursor:
        for place, values in enumerate(lines, 2):
            try:
                cursor.execute(INSERT, values)
            except (errors.DataError, errors.IntegrityError, errors.InternalError) as error:
                wrong("Line %(line)s: %(problem)s. Nothing was loaded.", line=place, problem=error.diag.message_primary)
    times = [values[11] for values in lines]
    begin = moment(form.get("begin", ""), "iso") or min(times)
    end = moment(form.get("end", ""), "iso") or max(times) + datetime.timedelta(seconds=1)
    found = desk.row("SELECT count(*) AS found, count(*) FILTER (WHERE is_new) AS new FROM payguard.reconcile(%s, %s, %s)",
                     upload["channel"], begin, end)
    return len(lines), found["found"], found["new"]


def findings(desk):
    """The differences that nobody has resolved."""
    return desk.rows("""SELECT case_id, severity, kind, since, order_id, taken_by, story FROM payguard.cases
                        WHERE starts_with(kind, 'settlement_') ORDER BY since DESC, case_id LIMIT 200""")


def channels(desk):
    return [row["split"] for row in desk.rows("SELECT split FROM payguard.payment_rates('17 days', 'channel') ORDER BY split")]
