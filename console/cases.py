"""Cases: what a person must look at, and what is done about them, as payguard.cases tells and offers it."""
import hashlib
import json

from psycopg import sql

PAGE = 50
# where money is with somebody whose it is not: until its refund is settled, and where the bank or the channel has taken it
OWED = ("surplus_payment", "second_charge", "overpaid", "amount_mismatch", "refund_failed", "refund_not_made")
TAKEN = ("refund_mismatch", "refund_exceeds_payment", "refund_not_approved", "chargeback", "bank_return")
OF_APPROVALS = """(order_id IN (SELECT a.order_id FROM payguard.approvals a WHERE a.status = 'open')
                OR case_id IN (SELECT a.alert_id FROM payguard.approvals a WHERE a.status = 'open'))"""
FILTERS = {"open": "true", "mine": "taken_by = session_user", "free": "taken_by IS NULL", "waiting": OF_APPROVALS}


class Refused(Exception):
    """What was asked for is not done: why, as a sentence, and the status of HTTP."""

    def __init__(self, why, status):
        super().__init__(why)
        self.why, self.status = why, status


def counts(desk, midnight):
    """How many cases the inbox has: open, mine, waiting for a second person, resolved since midnight."""
    found = desk.row("SELECT count(*) AS open, count(*) FILTER (WHERE taken_by = session_user) AS mine FROM payguard.cases")
    if desk.may["approvals"]:
        found["waiting"] = desk.value(f"SELECT count(*) FROM payguard.cases WHERE {OF_APPROVALS}")
    found["resolved"] = desk.value("SELECT count(*) FROM payguard.past_cases WHERE resolved_at >= %s", midnight)
    return found


def nightly(desk):
    """When the nightly check ran last; None where it never did. What it finds is a case."""
    return desk.value("""SELECT max(clock_timestamp() - value * interval '1 s') FROM payguard.metrics
                         WHERE name = 'payguard_maintenance_age_seconds' AND labels ->> 'duty' = 'verify'""")


def kinds(desk):
    return [row["kind"] for row in desk.rows("SELECT DISTINCT kind FROM payguard.cases ORDER BY kind")]


def inbox(desk, show, kind, page):
    """A page of open cases, the worst first, and whether there are more."""
    order_by = "ORDER BY array_position('{critical,warning}', severity), since, case_id"
    # a story is made for the rows that are shown, not for those that a later page skips
    rows = desk.rows(f"""
        SELECT case_id, severity, kind, since, order_id, taken_by, taken_at, story FROM payguard.cases
        WHERE case_id = ANY (ARRAY(SELECT case_id FROM payguard.cases WHERE {FILTERS[show]} AND (%s = '' OR kind = %s)
                                   {order_by} LIMIT %s OFFSET %s)) {order_by}""", kind, kind, PAGE + 1, page * PAGE)
    return rows[:PAGE], len(rows) > PAGE


def resolved(desk, since, page):
    rows = desk.rows("""
        SELECT case_id, severity, kind, since, order_id, resolved_at, resolved_by, note, story FROM payguard.past_cases
        WHERE resolved_at >= %s ORDER BY resolved_at DESC, case_id LIMIT %s OFFSET %s""", since, PAGE + 1, page * PAGE)
    return rows[:PAGE], len(rows) > PAGE


def find(desk, case_id):
    """The case, open or closed; a closed one has no actions."""
    case = desk.row("""
        SELECT case_id, severity, kind, since, order_id, payment_id::text, refund_id::text, task_id, taken_by, taken_at,
               taken_note, story, actions FROM payguard.cases WHERE case_id = %s""", case_id)
    if case is None:
        case = desk.row("""
            SELECT case_id, severity, kind, since, order_id, payment_id::text, refund_id::text, task_id, taken_by, taken_at,
                   taken_note, story, '[]'::jsonb AS actions, resolved_at, resolved_by, note
            FROM payguard.past_cases WHERE case_id = %s""", case_id)
    if case is None:
        return None
    case["facts"] = case["story"]["facts"]
    # an alert of a payment or a refund alone names no order
    case["order_id"] = case["order_id"] or case["facts"].get("order")
    return case


def of_order(desk, order_id):
    """The cases of an order, those that are closed too."""
    return desk.rows("""
        SELECT case_id, severity, since, NULL AS resolved_at, NULL AS resolved_by, NULL AS note, story
        FROM payguard.cases WHERE order_id = %s
        UNION ALL
        SELECT case_id, severity, since, resolved_at, resolved_by, note, story FROM payguard.past_cases WHERE order_id = %s
        ORDER BY since, case_id LIMIT 100""", order_id, order_id)


def order(desk, order_id):
    """An order with its payments and refunds, its history, and what its customer may be told; or None."""
    found = [row for row in desk.rows("SELECT * FROM payguard.find_orders(%s)", order_id) if row["order_id"] == order_id]
    if not found:
        return None
    return found[0] | {
        "price": desk.value("SELECT payguard.money(%s, %s)", found[0]["amount"], found[0]["currency"]),
        "history": desk.rows("""SELECT at, kind, from_status, to_status, version, payment_id::text, refund_id::text, actor, details
                                FROM payguard.order_timeline(%s)""", order_id),
        "message": desk.value("SELECT message FROM payguard.order_status(%s)", order_id)}


def deeds(order):
    """What people have done about an order, with their notes."""
    return [row for row in (order or {}).get("history", ()) if row["actor"] and "note" in (row["details"] or {})]


def with_wrong_person(case):
    return case["kind"] in TAKEN or case["kind"] in OWED and case["story"]["refund_status"] not in ("succeeded", "waived")


def seen(case, order):
    """What a person has been shown of a case: its story, who has it, what may be done, its order's payments and history.
    Where that is another one by now, nothing is done."""
    return hashlib.sha256(json.dumps([case, order], sort_keys=True, default=str).encode()).hexdigest()


def offered(desk, case, name):
    """The action as the database offers it at this moment to this person; None where it offers it to nobody."""
    for action in case["actions"]:
        if action["action"] == name:
            if action["asked_by"] == desk.role:
                raise Refused("You asked for it yourself: a second person decides.", 403)
            return action
    others = desk.value("SELECT coalesce(payguard.case_actions(%s), '[]')", case["case_id"])
    if any(action["action"] == name for action in others):
        raise Refused("Your role does not have the right to do this.", 403)
    return None


def act(desk, action, inputs):
    """Makes the calls of an action, within the transaction that found it. → what each answered"""
    return [make(desk, call, inputs) for call in action["calls"]]


def make(desk, call, inputs):
    """One call, with the types of the very function that cases names."""
    function = desk.row("""
        SELECT n.nspname, p.proname, p.proargnames AS names, ARRAY(SELECT t::regtype::text FROM unnest(p.proargtypes) t) AS types
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid = %s::regprocedure""", call["function"])
    types = dict(zip(function["names"], function["types"]))
    values = {name: inputs["note" if name == "reason" else name] if value is None else value
              for name, value in call["arguments"].items()}
    arguments = sql.SQL(", ").join(sql.SQL("{} => {}::{}").format(sql.Identifier(name), sql.Placeholder(), sql.SQL(types[name]))
                                   for name in values)
    query = sql.SQL("SELECT * FROM {}({})").format(sql.Identifier(function["nspname"], function["proname"]), arguments)
    return desk.row(query, *values.values())


def approvals(desk):
    """What waits for a second person, with its case."""
    return desk.rows("""
        SELECT a.subject, a.order_id, a.requested_by, a.requested_at, a.note, payguard.money(a.amount, a.currency) AS money, (
          SELECT x.alert_id FROM payguard.alerts x
          WHERE x.resolved_at IS NULL AND (x.alert_id = a.alert_id OR x.order_id = a.order_id AND CASE a.subject
            WHEN 'order' THEN x.kind = 'approval_required' AND x.refund_id IS NULL
            WHEN 'refund' THEN x.refund_id = a.refund_id
              OR x.kind IN ('surplus_payment', 'overpaid', 'second_charge', 'amount_mismatch') END)
          ORDER BY x.kind = 'approval_required' DESC, x.alert_id LIMIT 1) AS case_id
        FROM (SELECT * FROM payguard.approvals WHERE status = 'open' ORDER BY requested_at, approval_id LIMIT 200) a
        ORDER BY a.requested_at, a.approval_id""")
