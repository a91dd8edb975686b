"""The checker is checked: it must accept a small history made by hand, and reject each way to
spoil it. What is spoiled is what a broken payguard would answer, or leave in its tables.
"""
import copy

from check import FOREVER, Op, Search, Tables, broken_promises, broken_reading
from model import GARBLED, Channel, Policy, Refused, World

PAY, TRY = "pay", "try_pay"
TASKS = {7: "query", 8: "capture", 9: "capture"}


def answer(outcome="paid", payment="p1", order="a", status="paid", version=2, replayed=False, **more):
    return dict({"outcome": outcome, "order_id": order, "payment_id": payment, "order_status": status,
                 "payment_status": "succeeded", "version": version, "amount": 100, "currency": "EUR",
                 "completed_at": None, "replayed": replayed}, **more)


def order_row(status, version, payment=None, refunded=0):
    return {"order_id": "a", "status": status, "closing_as": None, "version": version,
            "payment_id": payment, "refunded_amount": refunded, "amount": 100, "currency": "EUR"}


def refusal(outcome, status="paid", version=2, payment=None):
    return answer(outcome, payment, status=status, version=version, payment_status=None)


def refund_row(refund, status, replayed=False, amount=60):
    return {"outcome": status, "refund_id": refund, "payment_id": "p1", "order_id": "a",
            "status": status, "amount": amount, "currency": "EUR", "replayed": replayed}


CREATE = ("create_order", ("a", 100, "EUR", None, None), order_row("unpaid", 1))


def create_until(deadline, reply):
    return "create_order", ("a", 100, "EUR", None, deadline), reply


def pay(key, reply, *more):
    return PAY, ("pay", "a", key) + more, reply


def start(key, payment, version=2):
    return PAY, ("start", "a", key, None, None, None, "card"), answer(
        "pending", payment, status="paying", version=version, payment_status="pending")


def report(payment, status, reply, txn=None, amount=None):
    return "report_payment", (payment, status, txn, amount), reply


def claim(task=7, amount=100, capture_id=None, until=99, tries=1):
    """A worker takes a task of p1: TASKS."""
    rows = [{"task_id": task, "lease_token": f"l{task}", "leased_until": until, "kind": TASKS[task], "tries": tries,
             "order_id": "a", "payment_id": "p1", "refund_id": None, "channel": "card", "amount": amount, "currency": "EUR",
             "capture_id": capture_id}]
    return "claim_tasks", (rows,), rows


def asked(says, found, task=7, outcome="pending"):
    """What the worker answers, and what the payment is then."""
    return "complete_task", (task, f"l{task}", says), answer(outcome, status="paying", payment_status=found)


def reserved(now="authorized", version=2):
    """What p1 is like while its money is reserved."""
    return answer(now, status="paying", version=version, payment_status=now)


def lower(version, amount, reply=None):
    return "update_order", ("a", version, amount), reply or dict(order_row("paying", version + 1), amount=amount)


def capture(reply):
    return "capture_payment", ("p1",), reply


def captured(task, says, reply, amount=None):
    """What the worker of a capture answers."""
    return "complete_task", (task, f"l{task}", says, "t1", amount), reply


def decide(decision, reply=None, boss=True):
    return "decide_order", ("a", decision, boss), reply or {
        "order_id": "a", "subject": "order", "status": decision, "amount": 100, "currency": "EUR"}


def decide_refund(refund, decision, reply, boss=True):
    return "decide_refund", (refund, decision, boss), reply


def sale(row, status, version):
    return {"id": row, "order_id": "a", "status": status, "version": version}


class Case:
    """A history: (called, answered, step ...) each, and the rows that it ends with.

    approval: the status of the order's; opinions: those of refunds; policy: what is asked for;
    amounts: what p1 has reserved, and was asked to take of that.
    """

    def __init__(self, ops, order, payments=(), refunds=(), balances=(), approval=None, policy=None, sales=(),
                 opinions=(), amounts=(None, None)):
        self.ops = [Op(called, answered, list(steps)) for called, answered, *steps in ops]
        self.order, self.payments, self.refunds = order, list(payments), list(refunds)
        self.balances, self.approval, self.policy, self.sales = list(balances), approval, policy, list(sales)
        self.opinions = dict(opinions)
        self.amounts = amounts

    def tables(self):
        payments = [dict({"payment_id": p, "order_id": "a", "idempotency_key": key, "status": status,
                          "channel": channel, "amount": 100, "received_amount": received,
                          "received_currency": received and "EUR", "amount_verified": bool(received),
                          "channel_txn_id": txn, "failure_code": code, "order_version": version,
                          "request_kind": kind,
                          **(dict(zip(("authorized_amount", "capture_amount"), self.amounts)) if p == "p1" else {})})
                    for p, key, kind, channel, status, version, received, txn, code in self.payments]
        refunds = [{"refund_id": r, "payment_id": "p1", "order_id": "a", "idempotency_key": key,
                    "status": status, "amount": amount, "currency": "EUR",
                    "returned_amount": amount if status == "succeeded" else None,
                    "origin": "request" if key else "surplus", "channel": "internal", "channel_refund_id": None,
                    "amount_verified": status == "succeeded"}
                   for r, key, status, amount in self.refunds]
        balances = [dict(zip(("payment_id", "received", "refunding", "refunded", "excess"), b))
                    for b in self.balances]
        approvals = [{"order_id": "a", "subject": "order", "status": self.approval, "amount": 100,
                      "currency": "EUR"}] if self.approval else []
        approvals += [{"order_id": "a", "subject": "refund", "refund_id": refund, "status": status}
                      for refund, status in self.opinions.items()]
        return Tables({"orders": [self.order], "payments": payments, "refunds": refunds,
                       "refund_balances": balances, "approvals": approvals, "sales": self.sales})

    def verdict(self):
        world = World()
        world.channels["card"] = Channel()
        world.tasks = {task: (kind, "a", "p1", None) for task, kind in TASKS.items()}
        if self.policy:
            world.policies["EUR"] = self.policy
        tables = self.tables()
        for p in tables.payments:
            if p["idempotency_key"]:
                world.payment_of_key[p["idempotency_key"]] = p["payment_id"]
            else:
                world.payment_of_txn[(p["channel"], p["channel_txn_id"])] = p["payment_id"]
        for r in tables.refunds:
            world.refund_of_key[r["idempotency_key"]] = r["refund_id"]
            world.surplus_refunds[(r["payment_id"], 0)] = r["refund_id"]
        return Search(world, self.ops, tables.of_family(["a"])).run()


def status(status, version):
    return "order_status", ("a",), dict(order_row(status, version), can_pay=status == "unpaid",
                                        can_cancel=status in ("unpaid", "paying"))


PAID = ("p1", "k1", "pay", "internal", "succeeded", 2, 100, None, None)
PAID_ROW = order_row("paid", 2, "p1")


def legal():
    """Histories that the checker has to accept, by name."""
    return {
        "paid, repeated, refused": Case(
            [(0, 1, CREATE), (2, 5, pay("k1", answer())), (6, 7, pay("k1", answer(replayed=True))),
             (6, 7, pay("k2", Refused("PY101")))], PAID_ROW, [PAID]),
        "two at once, one wins": Case(
            [(0, 1, CREATE), (2, 5, pay("k2", Refused("PY101"))), (2, 5, pay("k1", answer()))],
            PAID_ROW, [PAID]),
        "a lost answer that was done": Case(
            [(0, 1, CREATE), (2, FOREVER, pay("k1", None)), (3, 4, pay("k2", Refused("PY101")))],
            PAID_ROW, [PAID]),
        "a lost answer that was not done": Case(
            [(0, 1, CREATE), (2, FOREVER, pay("k2", None)), (3, 4, pay("k1", answer()))],
            PAID_ROW, [PAID]),
        "a deadline that passed while the order was made": Case(
            [(0, 4, create_until(3, Refused("22023"))), (5, 6, CREATE)], order_row("unpaid", 1)),
        "refunded in two parts": Case(
            [(0, 1, CREATE), (2, 3, pay("k1", answer())),
             (4, 5, ("refund_order", ("a", "r1", 60), refund_row("f1", "succeeded"))),
             (6, 7, ("refund_order", ("a", "r2", 60), Refused("PY504"))),
             (8, 9, ("refund_order", ("a", "r2", 40), refund_row("f2", "succeeded", amount=40)))],
            order_row("refunded", 4, "p1", 100), [PAID],
            [("f1", "r1", "succeeded", 60), ("f2", "r2", "succeeded", 40)], [("p1", 100, 0, 100, 0)]),
        "an attempt that fails, another that succeeds": Case(
            [(0, 1, CREATE), (2, 3, start("k1", "p1")),
             (4, 5, report("p1", "failed", answer("failed", status="unpaid", version=3,
                                                  payment_status="failed"))),
             (6, 7, start("k2", "p2", 4)),
             (8, 9, report("p2", "succeeded", answer(payment="p2", version=5), "t2", 100))],
            order_row("paid", 5, "p2"),
            [("p1", "k1", "start", "card", "failed", 2, None, None, "failed"),
             ("p2", "k2", "start", "card", "succeeded", 4, 100, "t2", None)]),
        "a message that waits, and finds its payment": Case(
            [(0, 1, CREATE), (2, 5, report("p1", "failed", {
                "outcome": "recorded", "payment_id": "p1", "replayed": False})),
             (2, 4, start("k1", "p1")), (6, 7, status("unpaid", 3))], order_row("unpaid", 3),
            [("p1", "k1", "start", "card", "failed", 2, None, None, "failed")]),
        "a report that cannot be read is kept, and changes nothing": Case(
            [(0, 1, CREATE), (2, 3, start("k1", "p1")),
             (4, 5, report("p1", GARBLED, {"outcome": "recorded", "payment_id": "p1", "replayed": False})),
             (6, 7, status("paying", 2))], order_row("paying", 2),
            [("p1", "k1", "start", "card", "pending", 2, None, None, None)]),
        "a worker asks again and again, and is believed": Case(
            [(0, 1, CREATE), (2, 3, start("k1", "p1")), (4, 5, claim()), (6, 7, asked("processing", "processing")),
             (8, 9, claim()), (10, 11, asked("pending", "pending"))],
            order_row("paying", 2), [("p1", "k1", "start", "card", "pending", 2, None, None, None)]),
        "reserved, lowered, captured": Case(
            [(0, 1, CREATE), (2, 3, start("k1", "p1")), (4, 5, report("p1", "authorized", reserved(), "t1", 100)),
             (6, 7, lower(2, 60)), (6.5, 7.5, lower(2, 101, Refused("PY201"))), (8, 9, lower(3, 101, Refused("PY503"))),
             (10, 11, capture(reserved("capturing", 3))), (12, 13, capture(dict(reserved("capturing", 3), replayed=True))),
             (14, 15, claim(8, 60, "c1")), (16, 17, ("close_payment", ("p1",), Refused("PY105"))),
             (18, 19, report("p1", "authorized", dict(reserved("capturing", 3), replayed=True), "t1", 100)),
             (20, 21, captured(8, "succeeded", answer(version=4), 60))],
            dict(order_row("paid", 4, "p1"), amount=60),
            [("p1", "k1", "start", "card", "succeeded", 2, 60, "t1", None)], amounts=(100, 60)),
        "a capture whose worker is lost is asked for again": Case(
            [(0, 1, CREATE), (2, 3, start("k1", "p1")), (4, 5, report("p1", "authorized", reserved(), "t1")),
             (6, 7, capture(reserved("capturing"))), (8, 9, claim(8, 100, "c1", until=10)), (12, 13, claim(7)),
             (14, 15, asked("authorized", "capturing", outcome="capturing")), (16, 17, claim(9, 100, "c1")),
             (18, 19, captured(9, "succeeded", answer(version=3), 100))],
            order_row("paid", 3, "p1"), [("p1", "k1", "start", "card", "succeeded", 2, 100, "t1", None)],
            amounts=(100, 100)),
        "a capture that is tried again while a worker has it": Case(
            [(0, 1, CREATE), (2, 3, start("k1", "p1")), (4, 5, report("p1", "authorized", reserved(), "t1")),
             (6, 7, capture(reserved("capturing"))), (8, 9, claim(8, 100, "c1")),
             (10, 11, ("requeue_task", (8,), {"task_id": 8})), (12, 13, captured(8, "unknown", reserved("capturing"))),
             (14, 15, claim(7)), (16, 17, asked("authorized", "capturing", outcome="capturing")),
             (18, 19, claim(9, 100, "c1")), (20, 21, captured(9, "succeeded", answer(version=3), 100))],
            order_row("paid", 3, "p1"), [("p1", "k1", "start", "card", "succeeded", 2, 100, "t1", None)],
            amounts=(100, 100)),
        "a failed attempt whose order asks for a part of what is reserved still": Case(
            [(0, 1, CREATE), (2, 3, start("k1", "p1")), (4, 5, report("p1", "authorized", reserved(), "t1", 100)),
             (6, 7, lower(2, 60)), (8, 9, report("p1", "failed", answer(
                 "failed", status="unpaid", version=4, payment_status="failed"))),
             (10, 11, ("settle_payment", ("p1", "authorized"), reserved(version=5)))],
            dict(order_row("paying", 5), amount=60),
            [("p1", "k1", "start", "card", "authorized", 2, None, "t1", "revived")], amounts=(100, None)),
        "a capture that is refused leaves the money reserved": Case(
            [(0, 1, CREATE), (2, 3, start("k1", "p1")), (4, 5, report("p1", "authorized", reserved(), "t1")),
             (6, 7, capture(reserved("capturing"))), (8, 9, claim(8, 100, "c1")),
             (10, 11, captured(8, "authorized", reserved())), (12, 13, capture(reserved("capturing"))),
             (14, 15, claim(9, 100, "c2")), (16, 17, captured(9, "authorized", reserved()))],
            order_row("paying", 2), [("p1", "k1", "start", "card", "authorized", 2, None, "t1", None)],
            amounts=(100, None)),
        "approved, then paid": Case(
            [(0, 1, CREATE), (2, 3, pay("k1", Refused("PY601"))), (4, 5, decide("approved", Refused("PY602"), False)),
             (4, 5, decide("approved")), (6, 7, pay("k1", answer()))],
            PAID_ROW, [PAID], approval="approved", policy=Policy("EUR", 100, approve=True)),
        "rejected": Case(
            [(0, 1, CREATE), (2, 3, decide("approved")), (4, 5, decide("rejected")), (6, 7, pay("k1", Refused("PY601")))],
            order_row("unpaid", 1), approval="rejected", policy=Policy("EUR", 100, approve=True)),
        "held back by a policy": Case(
            [(0, 1, CREATE), (2, 3, ("record_payment", ("a", "card", "t1", 100, "EUR"), answer(
                "surplus", status="unpaid", version=1, payment_status="surplus")))],
            order_row("unpaid", 1), [("p1", None, "record", "card", "surplus", 1, 100, "t1", None)],
            [("f1", None, "awaiting_approval", 100)], [("p1", 100, 100, 0, 0)], approval="open",
            policy=Policy("EUR", 100, approve=True), opinions={"f1": "open"}),
        "a second part that makes a refund large": Case(
            [(0, 1, CREATE), (2, 3, pay("k1", answer())),
             (4, 5, ("refund_order", ("a", "r1", 40), refund_row("f1", "succeeded", amount=40))),
             (6, 7, ("refund_order", ("a", "r2", 30), refund_row("f2", "awaiting_approval", amount=30))),
             (8, 9, decide_refund("f2", "approved", Refused("PY602"), False)),
             (8, 9, decide_refund("f2", "approved", refund_row("f2", "succeeded", amount=30)))],
            order_row("paid", 4, "p1", 70), [PAID],
            [("f1", "r1", "succeeded", 40), ("f2", "r2", "succeeded", 30)], [("p1", 100, 0, 70, 0)],
            policy=Policy("EUR", 60, refund=True), opinions={"f2": "approved"}),
        "a shop's row follows its order": Case(
            [(0, 1, CREATE), (2, 3, ("sale_insert", ("s1", "a", "new"), sale("s1", "new", 1))),
             (4, 5, ("sale_update", (1, "paid", "s1"), Refused("payguard_unpaid"))),
             (6, 7, pay("k1", answer()), ("sale_update", (1, "paid", "s1"), sale("s1", "paid", 2))),
             (8, 9, ("sale_update", (1, "new", "s1"), Refused("payguard_transition")))],
            PAID_ROW, [PAID], sales=[sale("s1", "paid", 2)]),
    }


def spoiled():
    """(name, history) of what the checker has to reject."""
    first, attempts = "paid, repeated, refused", "an attempt that fails, another that succeeds"
    refunds = "refunded in two parts"
    cases = []

    def spoil(name, base, change):
        case = copy.deepcopy(legal()[base])
        change(case)
        cases.append((name, case))

    def answers(case, n, reply):
        method, args, _ = case.ops[n].steps[0]
        case.ops[n].steps[0] = (method, args, reply)

    def edit(row, **columns):
        row.update(columns)

    late = "a deadline that passed while the order was made"

    # what is answered
    spoil("refused for a deadline that has not passed", late, lambda c: c.ops[0].steps.__setitem__(
        0, create_until(4.5, Refused("22023"))))
    spoil("made though its deadline has passed", late, lambda c: c.ops[1].steps.__setitem__(
        0, create_until(4.5, order_row("unpaid", 1))))
    spoil("the replay names another payment", first, lambda c: answers(c, 2, answer(payment="p9", replayed=True)))
    spoil("the replay says that it paid once more", first, lambda c: answers(c, 2, answer()))
    spoil("the replay has a newer version", first, lambda c: answers(c, 2, answer(version=3, replayed=True)))
    spoil("the replay has another time", first, lambda c: (
        answers(c, 1, answer(completed_at=1)), answers(c, 2, answer(completed_at=2, replayed=True))))
    spoil("a second key pays too", first, lambda c: answers(c, 3, answer(payment="p2", version=3)))
    spoil("the refusal has another code", first, lambda c: answers(c, 3, Refused("PY103")))
    spoil("a retry is told that another call paid", first, lambda c: answers(c, 2, Refused("PY101")))
    spoil("refused as paid before it was paid", first, lambda c: (
        setattr(c.ops[3], "called", 1.2), setattr(c.ops[3], "answered", 1.5)))
    spoil("paid before it was made", first, lambda c: (
        setattr(c.ops[1], "called", -2), setattr(c.ops[1], "answered", -1)))
    spoil("its version does not grow", first, lambda c: answers(c, 1, answer(version=1)))
    spoil("another amount is charged", first, lambda c: answers(c, 1, answer(amount=99)))
    spoil("a key with another amount is replayed", first, lambda c: c.ops[2].steps.__setitem__(
        0, pay("k1", answer(replayed=True), 99)))
    spoil("an amount that is not the order's is paid", first, lambda c: c.ops[1].steps.__setitem__(
        0, pay("k1", answer(), 99)))
    spoil("a stale version is accepted", first, lambda c: c.ops[1].steps.__setitem__(
        0, pay("k1", answer(), None, None, 7)))
    spoil("a payment is forgotten after it was acknowledged", first, lambda c: (
        c.order.update(order_row("unpaid", 1)), c.payments.clear()))
    spoil("a stale read after an acknowledged payment", first, lambda c: c.ops.append(
        Op(8, 9, [("order_status", ("a",), dict(order_row("unpaid", 1), can_pay=True))])))
    spoil("it may still be paid, says its page", first, lambda c: c.ops.append(
        Op(8, 9, [("order_status", ("a",), dict(order_row("paid", 2), can_pay=True, can_cancel=False))])))
    spoil("a paid order is cancelled", first, lambda c: c.ops.append(
        Op(8, 9, [("cancel_order", ("a",), order_row("cancelled", 3, "p1"))])))
    spoil("a used key is revoked", first, lambda c: c.ops.append(
        Op(8, 9, [("revoke_key", ("a", "k1"), answer("key_revoked", payment_status="failed"))])))
    spoil("a direct write goes through", first, lambda c: c.ops.append(
        Op(8, 9, [("attack", ("UPDATE payguard.orders SET status = 'unpaid'",), {})])))
    spoil("a rolled back payment is replayed", "a lost answer that was not done", lambda c: c.ops.append(
        Op(8, 9, [pay("k2", answer(payment="p2", replayed=True))])))
    spoil("two refunds exceed the payment", refunds, lambda c: answers(c, 3, refund_row("f3", "succeeded")))
    spoil("a refund is counted twice", refunds, lambda c: c.ops.append(
        Op(10, 11, [("refund_order", ("a", "r1", 60), refund_row("f1", "succeeded"))])))
    spoil("a second attempt beside a live one", attempts, lambda c: (
        setattr(c.ops[3], "called", 3.1), setattr(c.ops[3], "answered", 3.2)))
    spoil("a late failure undoes a success", attempts, lambda c: c.ops.append(
        Op(10, 11, [report("p2", "failed", answer("failed", "p2", status="unpaid", version=6,
                                                  payment_status="failed"))])))
    spoil("evidence is refused", attempts, lambda c: answers(c, 4, Refused("PY101")))
    spoil("unknown is taken for failed", attempts, lambda c: c.ops[2].steps.__setitem__(
        0, report("p1", "unknown", answer("failed", status="unpaid", version=3, payment_status="failed"))))
    again = "a worker asks again and again, and is believed"
    spoil("who has asked before the payment changed is believed", again, lambda c: c.ops.__setitem__(
        slice(3, 5), [Op(6, 7, [report("p1", "processing", answer("pending", status="paying", payment_status="processing"))])]))
    spoil("a message takes back what is known", again, lambda c: c.ops.__setitem__(
        slice(4, 6), [Op(8, 9, [report("p1", "pending", answer("pending", status="paying", payment_status="pending"))])]))
    # money that is reserved
    taken, lost = "reserved, lowered, captured", "a capture whose worker is lost is asked for again"
    refused = "a capture that is refused leaves the money reserved"
    hurried = "a capture that is tried again while a worker has it"
    part = "a failed attempt whose order asks for a part of what is reserved still"
    spoil("more is captured than the order asks for", taken, lambda c: c.ops[8].steps.__setitem__(
        0, claim(8, 100, "c1")))
    spoil("it asks for more than is reserved", taken, lambda c: c.ops[5].steps.__setitem__(0, lower(3, 101)))
    spoil("captured before it is reserved", taken, lambda c: (
        setattr(c.ops[6], "called", 3.2), setattr(c.ops[6], "answered", 3.5)))
    spoil("captured once more at the second call", taken, lambda c: answers(c, 7, reserved("capturing", 3)))
    spoil("closed while a worker has its capture", taken, lambda c: answers(c, 9, reserved("closing", 3)))
    spoil("a late message takes a capture back", taken, lambda c: answers(c, 10, reserved("authorized", 3)))
    spoil("nobody knows what was captured", taken, lambda c: setattr(c, "amounts", (100, None)))
    spoil("a capture is asked for again under another id", lost, lambda c: c.ops[7].steps.__setitem__(
        0, claim(9, 100, "c2")))
    spoil("a capture is asked for again, and nobody has asked", lost, lambda c: c.ops.__setitem__(slice(5, 7), []))
    spoil("a capture is asked for again, and less is reserved", lost, lambda c: c.ops[6].steps.__setitem__(
        0, ("complete_task", (7, "l7", "authorized", None, 60), c.ops[6].steps[0][2])))
    spoil("a capture is sent again, since somebody has it tried again", hurried, lambda c: c.ops.__setitem__(
        slice(7, 11), [Op(14, 15, [claim(8, 100, "c1", tries=2)]), Op(20, 21, [captured(8, "succeeded", answer(version=3), 100)])]))
    spoil("what is reserved still is given up", part, lambda c: (
        answers(c, 5, answer("failed", status="unpaid", version=4, payment_status="failed", replayed=True)),
        c.order.update(status="unpaid", version=4),
        c.payments.__setitem__(0, ("p1", "k1", "start", "card", "failed", 2, None, "t1", "failed"))))
    spoil("a worker's answer is not believed", refused, lambda c: answers(c, 5, reserved("capturing")))
    spoil("another capture under the first one's id", refused, lambda c: c.ops[7].steps.__setitem__(
        0, claim(9, 100, "c1")))
    # messages, second opinions, guarded rows
    waiting, approved, rejected = "a message that waits, and finds its payment", "approved, then paid", "rejected"
    held, shop = "held back by a policy", "a shop's row follows its order"
    large = "a second part that makes a refund large"
    spoil("a message that waited is seen before it came", waiting, lambda c: (
        setattr(c.ops[1], "called", 8), setattr(c.ops[1], "answered", 9)))
    spoil("a message that waited is applied as something else", waiting, lambda c: c.ops.__setitem__(
        3, Op(6, 7, [status("cancelled", 3)])))
    spoil("a message is seen, and forgotten again", waiting, lambda c: c.ops.append(Op(8, 9, [status("paying", 2)])))
    spoil("paid before the approval", approved, lambda c: (
        setattr(c.ops[4], "called", 1.2), setattr(c.ops[4], "answered", 1.5)))
    spoil("who has asked approves", approved, lambda c: answers(c, 2, decide("approved")[2]))
    spoil("it needs an approval, and is approved", approved, lambda c: answers(c, 4, Refused("PY601")))
    spoil("an approval is decided that nobody may give any more", approved, lambda c: c.ops.append(
        Op(8, 9, [decide("rejected")])))
    spoil("paid though a version is asked for", approved, lambda c: setattr(
        c, "policy", Policy("EUR", 100, approve=True, version=True)))
    spoil("rejected, and paid", rejected, lambda c: (
        answers(c, 3, answer()), c.order.update(PAID_ROW), c.payments.append(PAID)))
    spoil("rejected, and approved again", rejected, lambda c: c.ops.append(Op(8, 9, [decide("approved")])))
    spoil("rejected where nothing asks for it", rejected, lambda c: setattr(c, "policy", None))
    spoil("what was rejected counts as approved in the end", rejected, lambda c: setattr(c, "approval", "approved"))
    spoil("money that nobody approved pays", held, lambda c: (
        answers(c, 1, answer()), c.order.update(PAID_ROW)))
    spoil("money that nobody approved goes back by itself", held, lambda c: c.refunds.__setitem__(
        0, ("f1", None, "pending", 100)))
    spoil("a large refund is made in small parts", large, lambda c: answers(
        c, 3, refund_row("f2", "succeeded", amount=30)))
    spoil("who asked for a refund approves it", large, lambda c: answers(
        c, 4, refund_row("f2", "succeeded", amount=30)))
    spoil("a refund is made before it is approved", large, lambda c: c.ops.append(
        Op(7.2, 7.5, [("order_status", ("a",), dict(order_row("paid", 4, "p1", 70), can_pay=False))])))
    spoil("a small refund needs a second person", large, lambda c: answers(
        c, 2, refund_row("f1", "awaiting_approval", amount=40)))
    spoil("nobody knows who approved a refund", large, lambda c: c.opinions.clear())
    spoil("a row says paid before its order is", shop, lambda c: answers(c, 2, sale("s1", "paid", 2)))
    spoil("a row goes where no way leads", shop, lambda c: (
        answers(c, 4, sale("s1", "new", 3)), c.sales[0].update(status="new", version=3)))
    spoil("a paid row is refused though its order is paid", shop, lambda c: c.ops[3].steps.__setitem__(
        1, ("sale_update", (1, "paid", "s1"), Refused("payguard_unpaid"))))
    spoil("a row keeps its version", shop, lambda c: (
        c.ops[3].steps.__setitem__(1, ("sale_update", (0, "paid", "s1"), sale("s1", "paid", 1))),
        c.sales[0].update(version=1)))
    spoil("two rows of one order are paid", shop, lambda c: (
        c.ops.append(Op(10, 11, [("sale_insert", ("s2", "a", "new"), sale("s2", "new", 1))])),
        c.ops.append(Op(12, 13, [("sale_update", (1, "paid", "s2"), sale("s2", "paid", 2))])),
        c.sales.append(sale("s2", "paid", 2))))
    spoil("a paid row is deleted", shop, lambda c: (
        c.ops.append(Op(10, 11, [("sale_delete", ("s1",), sale("s1", "paid", 2))])), c.sales.clear()))
    spoil("a row is lost", shop, lambda c: c.sales.clear())
    # what is left in the tables
    spoil("the row has another version", first, lambda c: edit(c.order, version=3))
    spoil("the row names another payment", first, lambda c: edit(c.order, payment_id="p2"))
    spoil("a payment that nobody asked for", first, lambda c: c.payments.append(
        ("p2", "k2", "pay", "internal", "succeeded", 3, 100, None, None)))
    spoil("refunded money is not in the balance", refunds, lambda c: c.balances.__setitem__(
        0, ("p1", 100, 0, 60, 0)))
    spoil("the failure's reason is lost", attempts, lambda c: c.payments.__setitem__(
        0, ("p1", "k1", "start", "card", "failed", 2, None, None, None)))
    return cases


def sound_rows():
    """Tables that keep every promise."""
    event = {"refund_id": None, "payment_id": None, "order_id": "a"}
    other = dict(order_row("paying", 2), order_id="b", amount=60)
    return {
        "orders": [order_row("paid", 3, "p1"), other],
        "payments": [{"payment_id": "p1", "order_id": "a", "idempotency_key": "k1",
                      "status": "succeeded", "received_amount": 100, "received_currency": "EUR"},
                     {"payment_id": "p2", "order_id": "a", "idempotency_key": None,
                      "status": "surplus", "received_amount": 100, "received_currency": "EUR"},
                     {"payment_id": "p3", "order_id": "a", "idempotency_key": "k3",
                      "status": "superseded", "received_amount": None, "received_currency": None},
                     {"payment_id": "p4", "order_id": "b", "idempotency_key": "k4", "authorized_amount": 100,
                      "capture_amount": 60, "capture_id": "c4",
                      "status": "capturing", "received_amount": None, "received_currency": None},
                     {"payment_id": "p5", "order_id": "a", "idempotency_key": "k5", "authorized_amount": 100,
                      "status": "failed", "received_amount": None, "received_currency": None}],
        "refunds": [{"refund_id": "f1", "payment_id": "p2", "status": "pending", "amount": 100,
                     "returned_amount": None, "origin": "surplus"}],
        "refund_balances": [{"payment_id": "p2", "received": 100, "refunding": 100, "refunded": 0,
                             "excess": 0}],
        "tasks": [{"payment_id": "p2", "refund_id": "f1", "kind": "refund"},
                  {"payment_id": "p3", "refund_id": None, "kind": "close"},
                  {"payment_id": "p4", "refund_id": None, "kind": "capture", "sent": False}],
        "events": [dict(event, event_id=n, version=version, from_status=before, to_status=after, **more)
                   for n, version, before, after, more in [
                       (1, 1, None, "unpaid", {}), (2, 2, "unpaid", "paying", {"payment_id": "p3"}),
                       (3, 3, "paying", "paid", {"payment_id": "p1"}),
                       (4, None, None, "surplus", {"payment_id": "p2"}),
                       (5, None, None, "pending", {"payment_id": "p2", "refund_id": "f1"}),
                       (6, None, None, "failed", {"payment_id": "p5"}),
                       (7, 1, None, "unpaid", {"order_id": "b"}),
                       (8, 2, "unpaid", "paying", {"order_id": "b", "payment_id": "p4"})]],
        "notifications": [{"event_id": "n1", "result": "unmatched", "payment_id": None, "order_id": None,
                           "refund_id": None},
                          {"event_id": "n2", "result": "unreadable", "channel": "card", "code": "report_payment(amount)",
                           "payment_id": None, "order_id": None, "refund_id": None}],
        "alerts": [{"cause": "n1", "payment_id": None, "refund_id": None, "order_id": None},
                   {"cause": "card report_payment(amount)", "payment_id": None, "refund_id": None, "order_id": None}],
        "sales": [sale("s1", "paid", 2)],
    }


# promise, table, row, what is changed there; None: the row is missing
BROKEN_ROWS = [
    ("I1", "payments", 2, {"status": "pending"}),
    ("I2", "payments", 2, {"idempotency_key": "k1"}),
    ("I3", "refunds", 0, {"amount": 99}),
    ("I3", "payments", 2, {"received_amount": 5}),
    ("I3", "orders", 0, {"payment_id": None}),
    ("I3", "payments", 0, {"received_amount": 101}),
    ("I3", "payments", 1, {"status": "returned"}),
    ("I3", "refunds", 0, {"status": "reinstated"}),
    ("I3", "refunds", 0, {"status": "merged"}),
    ("I4", "tasks", 1, None),
    ("I4", "tasks", 0, None),
    ("I5", "events", 2, {"version": 4}),
    ("I5", "events", 1, {"to_status": "refunded"}),
    ("I6", "refund_balances", 0, {"refunding": 60}),
    ("I6", "refund_balances", 0, {"received": 60}),
    ("I7", "events", 2, None),
    ("I7", "events", 4, None),
    ("I9", "alerts", 0, None),
    ("I9", "alerts", 1, {"cause": "n2"}),
    ("I10", "orders", 0, {"status": "unpaid"}),
    ("guard:", "orders", 0, {"status": "unpaid"}),
    ("I10", "payments", 0, {"status": "failed"}),
    ("I11", "payments", 3, {"authorized_amount": 59}),
    ("I11", "payments", 3, {"capture_id": None}),
    ("I11", "payments", 3, {"status": "authorized"}),
    ("I11", "payments", 3, {"status": "closing"}),
    ("I11", "orders", 1, {"amount": 61}),
    ("I4", "tasks", 2, None),
]


# what a reader of these events is told: (event, order, version)
EVENTS = [(1, "a", 1), (2, "b", 1), (3, "a", 2), (4, None, None)]
READING = [("read", EVENTS[:2]), ("read", EVENTS[:1]), ("commit", 1), ("read", EVENTS[1:3]), ("perhaps", 2),
           ("read", EVENTS[2:]), ("commit", 4), ("read", [])]
# what is wrong, the step, what stands there instead
BROKEN_READINGS = [
    ("an event is left out", 5, ("read", EVENTS[3:])),
    ("the last event never comes", 5, ("read", EVENTS[2:3])),
    ("an event that was committed comes again", 7, ("read", EVENTS[3:])),
    ("what was not committed does not come again", 1, ("read", EVENTS[1:2])),
    ("an event that is not there", 7, ("read", [(5, "b", 2)])),
    ("version 2 of an order before its version 1", 0, ("read", [EVENTS[2], EVENTS[0]])),
]


def check_the_reading(tap):
    ids = [event for event, _, _ in EVENTS]
    for name, steps in [("each event, once", READING),
                        ("a commit that was lost", READING[:5] + [("read", EVENTS[1:])] + READING[6:])]:
        tap.ok(broken_reading(steps, ids) == [], f"accepted: a reader is given {name}", broken_reading(steps, ids))
    for name, at, instead in BROKEN_READINGS:
        steps = READING[:at] + [instead] + READING[at + 1:]
        tap.ok(broken_reading(steps, ids) != [], f"rejected: {name}")


def check_the_checker(tap):
    for name, case in legal().items():
        tap.ok(case.verdict() is True, f"accepted: {name}")
    for name, case in spoiled():
        tap.ok(case.verdict() is False, f"rejected: {name}")
    tap.ok(broken_promises(Tables(sound_rows())) == [], "sound tables are accepted",
           broken_promises(Tables(sound_rows())))
    for promise, table, row, change in BROKEN_ROWS:
        rows = sound_rows()
        if change is None:
            del rows[table][row]
        else:
            rows[table][row].update(change)
        found = broken_promises(Tables(rows))
        tap.ok(any(line.startswith(promise + " ") for line in found),
               f"{promise} is found broken: {table}[{row}] {change or 'missing'}", found)
    check_the_reading(tap)
