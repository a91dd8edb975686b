"""The checker: is a history linearizable, family by family, and do the tables keep the promises?

A history is a list of operations, each with the real time of its call and of its answer. It is
linearizable if the operations can be put into an order that respects real time (what was answered
before another was called comes first) and in which the model gives every answer that was given,
and ends with what the tables hold. An operation whose answer was lost may have happened at any
later time, or never.

The search goes depth first over (operations done, state), and remembers where it has been. An
operation that changes nothing and fits is done at once: it can only get worse later, unless its
answer does not tell whether it changed something (is_silent).
"""
from model import LIVE, SALE_PAID, TRACKED, Model, Refused, outcomes

FOREVER = float("inf")
MAX_STEPS = 5_000_000
SILENT = ("complete_task", "complete_tasks", "record_notification")
REPORTS = ("report_payment", "settle_payment", "report_refund", "settle_refund")


class Op:
    """One call, or one transaction of several: they happen together or not at all.

    steps: (method, arguments, answer) each; an answer is a dict, a list of dicts, a Refused,
    or None where it was lost. ends: whether the transaction was committed.
    """

    def __init__(self, called, answered, steps, commits=True):
        self.called, self.answered, self.steps, self.commits = called, answered, steps, commits

    @property
    def lost(self):
        return self.answered == FOREVER

    def __repr__(self):
        text = "; ".join(f"{m}{tuple(a)} -> {'lost' if r is None else r if not isinstance(r, Refused) else r.code}"
                         for m, a, r in self.steps)
        return f"[{self.called:.6f} {self.answered:.6f}] {text}" + ("" if self.commits else " (rolled back)")


def fits(predicted, answer):
    """Is an answer the predicted one, in every field that the model predicts?"""
    if answer is None:
        return True
    if isinstance(predicted, Refused) or isinstance(answer, Refused):
        return isinstance(predicted, Refused) and isinstance(answer, Refused) and \
            predicted.code == answer.code
    if isinstance(predicted, list):
        return len(predicted) == len(answer) and all(map(fits, predicted, answer))
    for field, value in predicted.items():
        if field not in answer:
            return False
        if isinstance(value, tuple):        # the model leaves it open
            if answer[field] not in value:
                return False
        elif answer[field] != value and not str(value).startswith("new "):
            return False
    return True


def same_time(state, answer):
    """A payment's time of completion is told alike until its state changes; False: it is not.

    The first answer that tells it is remembered in the state.
    """
    # (the time that an acknowledgement tells may be a refund's)
    for row in answer if isinstance(answer, list) else [answer]:
        if not isinstance(row, dict) or not row.get("completed_at") or not row.get("payment_status"):
            continue
        what = ("completed", row["payment_id"])
        if what in state and state[what] != row["completed_at"]:
            return False
        state[what] = row["completed_at"]
    return True


def follow(world, state, op, now):
    """All states in which an operation that gave these answers can have left a state."""
    states = [state]
    world.free = not op.commits
    for method, args, answer in op.steps:
        world.told = answer
        after = []
        for before in states:
            for predicted, new in outcomes(world, before, method, args, now):
                if fits(predicted, answer):
                    if new is before and isinstance(answer, dict):
                        new = dict(before)
                    if not isinstance(answer, (dict, list)) or method.startswith("complete") or \
                            same_time(new, answer):
                        after.append(new)
        states = after
    world.free = False
    if not op.commits and states:
        return [state]
    return states


def matches(world, state, now):
    """What maintain() may do at any time: a message that waits finds its money."""
    for what, row in list(state.items()):
        if what[0] == "notice" and world.may_match(what[1], row, now[1]) and Model(world, state).subject_of(row):
            for _, new in outcomes(world, state, "match_notice", (what[1],), (0.0, now[1])):
                yield new


def passing_time(world, state, now):
    """What may happen by itself: a lease or an order's deadline is over."""
    for what, row in list(state.items()):
        method = {"lease": "lose_lease", "order": "expire_order"}.get(what[0])
        if method is None:
            continue
        until = row.until if method == "lose_lease" else row.deadline
        if until is not None and until <= now[1]:
            for _, new in outcomes(world, state, method, (what[1],), (now[1], now[1])):
                yield new


def is_silent(op):
    """May an operation change something that its answer does not tell? A report of what is known already
    ends the task to do it."""
    return any(method in SILENT or (method in REPORTS and args[1] in ("pending", "processing", "authorized", "unknown"))
               for method, args, _ in op.steps)


class Search:
    """One family's history. ends: a function that says whether a state may be the last one."""

    def __init__(self, world, ops, ends):
        self.world, self.ends = world, ends
        self.ops = sorted(ops, key=lambda op: op.called)
        self.best = 0           # the longest order found, and why it did not go on
        self.stuck = (0, {})
        self.steps = 0

    def run(self):
        """True: it is linearizable; False: it is not; None: not decided in MAX_STEPS."""
        seen = set()
        definite = sum(not op.lost for op in self.ops)
        if not definite and self.ends({}):
            return True
        stack = [self.branches(0, 0, {}, 0, 0.0)]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                continue
            mask, first, state, done, latest = node
            self.steps += 1
            if self.steps > MAX_STEPS:
                return None
            if done == definite and self.ends(state):
                return True
            known = (mask, hash(frozenset(state.items())))
            if known in seen:
                continue
            seen.add(known)
            if done > self.best:
                self.best, self.stuck = done, (mask, state)
            stack.append(self.branches(mask, first, state, done, latest))
        return False

    def branches(self, mask, first, state, done, latest):
        ops = self.ops
        while first < len(ops) and mask >> first & 1:
            first += 1
        # those that nothing which is still to be done was answered before
        soonest = FOREVER
        candidates = []
        for i in range(first, len(ops)):
            if ops[i].called > soonest:
                break
            if not mask >> i & 1:
                candidates.append(i)
                soonest = min(soonest, ops[i].answered)
        candidates = [i for i in candidates if ops[i].called <= soonest]
        candidates.sort(key=lambda i: ops[i].answered)
        choices = []
        for i in candidates:
            op = ops[i]
            for new in follow(self.world, state, op, (op.called, op.answered)):
                node = (mask | 1 << i, first, new, done + (not op.lost), max(latest, op.called))
                if new == state and not op.lost and not is_silent(op):
                    yield node
                    return
                choices.append(node)
        for new in matches(self.world, state, (latest, soonest)):
            yield (mask, first, new, done, latest)
        yield from choices
        for new in passing_time(self.world, state, (latest, soonest)):
            yield (mask, first, new, done, latest)

    def why(self):
        """What could not be explained, for a person."""
        mask, state = self.stuck
        left = [op for i, op in enumerate(self.ops) if not mask >> i & 1]
        lines = [f"{self.best} operations are in order, then none of these fits:"]
        soonest = min((op.answered for op in left), default=FOREVER)
        for op in left[:20]:
            if op.called <= soonest:
                lines.append("  " + repr(op))
                if not op.lost:
                    lines += self.predictions(op, state)
        if not [op for op in left if not op.lost]:
            lines.append("  the last state is not what the tables hold")
            lines += ["    " + line for line in getattr(self.ends, "differences", lambda s: [])(state)]
        lines.append("  where the state is:")
        lines += [f"    {row}" for what, row in state.items()
                  if what[0] in ("order", "payment", "refund", "balance", "task", "lease")]
        return lines


    def predictions(self, op, state):
        """What the model says to each step, as long as it agrees."""
        lines = []
        for method, args, answer in op.steps:
            self.world.free, self.world.told = not op.commits, answer
            said = list(outcomes(self.world, state, method, args, (op.called, op.answered)))
            self.world.free = False
            lines.append("    the model: " + (" or ".join(
                p.code if isinstance(p, Refused) else repr(p) for p, _ in said) or
                f"impossible: {self.world.impossible}"))
            fitting = [new for p, new in said if fits(p, answer)]
            if not fitting:
                break
            state = fitting[0]
        return lines


class Tables:
    """The tables as they are at the end: lists of dicts."""

    NAMES = ("orders", "payments", "refunds", "refund_balances", "tasks", "events", "notifications",
             "alerts", "approvals", "sales")

    def __init__(self, rows):
        for name in self.NAMES:
            setattr(self, name, rows.get(name, []))

    def of_family(self, orders):
        """An end that a state has to agree with."""
        wanted = {}
        payments = set()
        for o in self.orders:
            if o["order_id"] in orders:
                wanted[("order", o["order_id"])] = (
                    o["status"], o["closing_as"], o["version"], o["payment_id"], o["refunded_amount"],
                    o["amount"], o["currency"])
        for p in self.payments:
            if p["order_id"] in orders:
                payments.add(p["payment_id"])
                wanted[("payment", p["payment_id"])] = (
                    p["order_id"], p["idempotency_key"], p["status"], p["amount"], p["received_amount"],
                    p["received_currency"], p["amount_verified"], p["channel_txn_id"],
                    p["failure_code"], p["order_version"], p["request_kind"], p.get("capture"), p.get("authorized_amount"),
                    p.get("capture_amount"), p.get("capture_before") and int(p["capture_before"].timestamp()))
        for r in self.refunds:
            if r["order_id"] in orders:
                wanted[("refund", r["refund_id"])] = (
                    r["payment_id"], r["idempotency_key"], r["status"], r["amount"], r["currency"],
                    r["returned_amount"], r["origin"], r["channel_refund_id"], r["amount_verified"])
        for b in self.refund_balances:
            if b["payment_id"] in payments:
                wanted[("balance", b["payment_id"])] = (
                    b["received"], b["refunding"], b["refunded"], b["excess"])
        for t in self.tasks:
            if t["order_id"] in orders and t["kind"] in TRACKED:
                wanted[("task", t["refund_id"] or t["payment_id"], t["kind"])] = (
                    t["sent"], t["again"], t["tries"])
        for a in self.approvals:
            if a["order_id"] in orders and a["subject"] == "order" and a["status"] != "void":
                wanted[("opinion", a["order_id"])] = (a["status"], a["amount"], a["currency"])
            if a["order_id"] in orders and a["subject"] == "refund" and a["status"] != "void":
                wanted[("approval", a["refund_id"])] = a["status"]
        for s in self.sales:
            if s["order_id"] in orders:
                wanted[("sale", s["id"])] = (s["id"], s["order_id"], s["status"], s["version"])
        return End(wanted)


class End:
    """Says whether a state is the one that the tables hold."""

    def __init__(self, wanted):
        self.wanted = wanted

    @staticmethod
    def shape(what, row):
        if what[0] == "order":
            return (row.status, row.closing, row.version, row.payment, row.refunded, row.amount,
                    row.currency)
        if what[0] == "payment":
            return (row.order, row.key, row.status, row.amount, row.received, row.received_currency,
                    row.verified, row.txn, row.code, row.version, row.kind, row.capture, row.authorized,
                    row.taking, row.before)
        if what[0] == "refund":
            return (row.payment, row.key, row.status, row.amount, row.currency, row.returned,
                    row.origin, row.txn, row.verified)
        if what[0] in ("balance", "opinion", "sale"):
            return tuple(row)
        if what[0] == "task":
            return (row.sent, row.again, row.tries)
        if what[0] == "approval":
            return row
        return None

    def found(self, state):
        found = {}
        for what, row in state.items():
            shape = self.shape(what, row)
            if shape is not None:
                found[what] = shape
        return found

    def __call__(self, state):
        return self.found(state) == self.wanted

    def differences(self, state):
        found = self.found(state)
        return [f"{what}: the model has {found.get(what)}, the tables {self.wanted.get(what)}"
                for what in sorted(set(found) | set(self.wanted), key=str)
                if found.get(what) != self.wanted.get(what)]


ORDER_MOVES = {
    None: {"unpaid"}, "unpaid": {"paying", "paid", "cancelled", "expired"},
    "paying": {"unpaid", "paid", "cancelled", "expired"}, "paid": {"refunded", "unpaid"}, "refunded": {"paid", "unpaid"},
    "cancelled": {"paid"}, "expired": {"paid"}}


def broken_promises(tables):
    """I1 to I7 and I9 to I11 on the tables alone, without payguard's own verify()."""
    wrong = []
    orders = {o["order_id"]: o for o in tables.orders}
    payments = {p["payment_id"]: p for p in tables.payments}
    counting, keys, refund_totals = {}, {}, {}
    for p in tables.payments:
        if p["status"] not in ("failed", "superseded", "surplus", "returned"):
            counting.setdefault(p["order_id"], []).append(p)
        if p["idempotency_key"] is not None:
            keys.setdefault(p["idempotency_key"], []).append(p)
    for order_id, several in counting.items():
        if len(several) > 1:
            wrong.append(f"I1 order {order_id} has {len(several)} payments that count")
    for key, several in keys.items():
        if len(several) > 1:
            wrong.append(f"I2 key {key} has {len(several)} payments")
    for r in tables.refunds:
        totals = refund_totals.setdefault(r["payment_id"], {"all": 0, "open": 0, "made": 0})
        if r["status"] in ("reinstated", "merged") or (r["status"] == "failed" and r["origin"] == "channel"):
            continue
        totals["all"] += r["returned_amount"] if r["status"] == "succeeded" else r["amount"]
        if r["status"] in ("awaiting_approval", "pending", "unknown"):
            totals["open"] += r["amount"]
        if r["status"] == "succeeded":
            totals["made"] += r["returned_amount"]
    nothing = {"all": 0, "open": 0, "made": 0}
    for p in tables.payments:
        received = p["received_amount"] or 0
        if p["status"] == "surplus" and refund_totals.get(p["payment_id"], nothing)["all"] < received:
            wrong.append(f"I3 payment {p['payment_id']} is surplus without a refund of it all")
        if p["status"] == "returned" and refund_totals.get(p["payment_id"], nothing)["made"] < received:
            wrong.append(f"I3 payment {p['payment_id']} is returned, and not all of it went back")
        order = orders.get(p["order_id"])
        if p["status"] == "succeeded" and order and p["received_currency"] == order["currency"] and \
                refund_totals.get(p["payment_id"], nothing)["all"] < received - order["amount"]:
            wrong.append(f"I3 payment {p['payment_id']} brought more than its order asks, and has no refund of it")
        if p["status"] not in ("succeeded", "surplus", "returned") and received > 0:
            wrong.append(f"I3 payment {p['payment_id']} is {p['status']} and brought {received}")
        if p["status"] == "succeeded" and \
                orders.get(p["order_id"], {}).get("payment_id") != p["payment_id"]:
            wrong.append(f"I3 payment {p['payment_id']} succeeded and pays nothing")
    due = {t["payment_id"] for t in tables.tasks if t["refund_id"] is None}
    due_refunds = {t["refund_id"] for t in tables.tasks}
    for p in tables.payments:
        if p["status"] in LIVE + ("superseded",) and p["payment_id"] not in due:
            wrong.append(f"I4 payment {p['payment_id']} is {p['status']} and nobody asks")
    for r in tables.refunds:
        if r["status"] in ("pending", "unknown") and r["refund_id"] not in due_refunds:
            wrong.append(f"I4 refund {r['refund_id']} is {r['status']} and nobody asks")
    wrong += broken_histories(tables, orders)
    balances = {b["payment_id"]: b for b in tables.refund_balances}
    for payment_id, totals in refund_totals.items():
        b = balances.get(payment_id)
        if b is None or b["refunding"] != totals["open"] or \
                b["refunded"] + b["excess"] != totals["made"]:
            wrong.append(f"I6 payment {payment_id}: balance {b}, refunds {totals}")
    for b in balances.values():
        if b["refunding"] + b["refunded"] > b["received"] or min(b["refunding"], b["refunded"]) < 0:
            wrong.append(f"I6 payment {b['payment_id']}: more goes back than came: {b}")
    for n in tables.notifications:
        if n["result"] in ("unmatched", "contradicting", "unreadable") and not any(
                a["cause"] == n["event_id"] or (n["order_id"] and a["order_id"] == n["order_id"])
                if n["result"] != "unreadable" else a["cause"] == f"{n['channel']} {n['code']}"
                for a in tables.alerts):
            wrong.append(f"I9 message {n['event_id']} is {n['result']} and nobody was told")
    for o in tables.orders:
        p = payments.get(o["payment_id"])
        paid = o["status"] in ("paid", "refunded")
        if paid != (p is not None and p["status"] == "succeeded" and p["order_id"] == o["order_id"]):
            wrong.append(f"I10 order {o['order_id']} is {o['status']}, its payment {p and p['status']}")
        live = any(c["status"] in LIVE for c in counting.get(o["order_id"], []))
        if (o["status"] == "paying") != live:
            wrong.append(f"I10 order {o['order_id']} is {o['status']}, with"
                         f"{'' if live else 'out'} a live payment")
    wrong += broken_captures(tables, orders, payments)
    for s in tables.sales:
        order = orders.get(s["order_id"], {})
        if s["status"] in SALE_PAID and order.get("status") not in ("paid", "refunded") and not order.get("returned_payment_id"):
            wrong.append(f"guard: sale {s['id']} is {s['status']}, its order is not paid")
    return wrong


def broken_captures(tables, orders, payments):
    """I11: the channel is asked for no more than it has reserved, and than the order asks for."""
    wrong = []
    for p in tables.payments:
        taking, reserved = p.get("capture_amount"), p.get("authorized_amount")
        if taking is not None and taking > (reserved or 0):
            wrong.append(f"I11 payment {p['payment_id']} asks for {taking} of {reserved}")
        if (taking is None) != (p.get("capture_id") is None):
            wrong.append(f"I11 payment {p['payment_id']} asks for {taking} as {p['capture_id']}")
        if p["status"] == "authorized" and (reserved is None or taking is not None):
            wrong.append(f"I11 payment {p['payment_id']} has {reserved} reserved, and asks for {taking}")
        if p["status"] == "capturing" and taking != orders[p["order_id"]]["amount"]:
            wrong.append(f"I11 payment {p['payment_id']} asks for {taking}, not for what its order does")
    for t in tables.tasks:
        if t["kind"] == "capture" and not t["sent"] and payments[t["payment_id"]]["status"] != "capturing":
            wrong.append(f"I11 payment {t['payment_id']} is {payments[t['payment_id']]['status']}, and is to be captured")
    return wrong


def broken_histories(tables, orders):
    """I5 and I7: versions grow by one along the graph, and the last event is what the row says."""
    wrong = []
    last = {}
    told = set()
    for e in sorted(tables.events, key=lambda e: e["event_id"]):
        told.update((e["payment_id"], e["refund_id"]))
        if e["version"] is None:
            continue
        before = last.get(e["order_id"], (None, 0))
        if e["version"] != before[1] + 1:
            wrong.append(f"I5 order {e['order_id']}: version {e['version']} after {before[1]}")
        if e["from_status"] != before[0] or (
                e["from_status"] != e["to_status"] and e["to_status"] not in ORDER_MOVES[before[0]]):
            wrong.append(f"I5 order {e['order_id']}: {e['from_status']} to {e['to_status']}, was {before[0]}")
        last[e["order_id"]] = (e["to_status"], e["version"])
    for o in orders.values():
        if last.get(o["order_id"]) != (o["status"], o["version"]):
            wrong.append(f"I7 order {o['order_id']} is {o['status']} {o['version']}, "
                         f"its last event says {last.get(o['order_id'])}")
    for p in tables.payments:
        if p["payment_id"] not in told:
            wrong.append(f"I7 payment {p['payment_id']} has no event")
    for r in tables.refunds:
        if r["refund_id"] not in told:
            wrong.append(f"I7 refund {r['refund_id']} has no event")
    return wrong


def broken_reading(steps, events):
    """What a reader of events was told against the promise: each event, none again that it has
    committed, the same ones until then, those of an order in the order of its versions.

    steps: ("read", [(event, order, version) ...]), ("commit", event), or ("perhaps", event) where
    the answer was lost. events: the ids of all that it is to be given.
    """
    wrong = []
    told, given, done, last = set(), [], set(), {}
    perhaps = None

    def commit(event):
        if event not in given:
            wrong.append(f"reader: event {event} is committed, {given} were given")
            return
        at = given.index(event) + 1
        done.update(given[:at])
        del given[:at]

    for what, about in steps:
        if what == "perhaps":
            perhaps = about
        elif what == "commit":
            commit(about)
        else:
            ids = [event for event, _, _ in about]
            if perhaps is not None and ids and ids[0] != given[0]:
                commit(perhaps)
            perhaps = None if ids else perhaps
            n = min(len(ids), len(given))
            if ids[:n] != given[:n]:
                wrong.append(f"reader: {ids[:n]} instead of {given[:n]}, which was not committed")
            given += ids[n:]
            wrong += [f"reader: event {event} again after it was committed" for event in ids if event in done]
            for event, order, version in about:
                if event not in told and version is not None:
                    if version != last.get(order, 0) + 1:
                        wrong.append(f"reader: order {order}: version {version} after {last.get(order, 0)}")
                    last[order] = version
                told.add(event)
    missing, unknown = set(events) - told, told - set(events)
    if missing or unknown:
        wrong.append(f"reader: left out {sorted(missing)[:9]}, not there {sorted(unknown)[:9]}")
    return wrong
