"""The reference model: what each call must answer, and what it changes.

Written from doc/reference.md and doc/design.md, not from the C code, and without a database: a
state is a flat dict of tuples, so that copying it is cheap and two states can be compared. One
state is about one family: a few orders that share keys and transactions, and a channel of their own.

Ids that the server makes are taken from the tables at the end (class World): a call that makes a
payment which is not there cannot have happened.

What it leaves open: which of the due tasks a claim gets (any that could be claimed); whether a
query or a request to close is due (verify() checks that); alerts.
"""
from typing import NamedTuple, Optional

LIVE = ("pending", "processing", "authorized", "capturing", "unknown", "closing")
HOLDS = ("processing", "authorized", "capturing")     # the customer has done it all: a deadline does not matter
TRACKED = ("charge", "capture", "refund")       # the tasks that the model follows
OUTCOMES = {"pending": "pending", "processing": "pending", "authorized": "authorized", "capturing": "capturing",
            "unknown": "pending", "closing": "closing", "superseded": "superseded", "failed": "failed", "succeeded": "paid", "surplus": "surplus", "returned": "returned"}
RESERVED = ("awaiting_approval", "pending", "unknown")
REOPENS = ("bank_return",)          # the kinds of reversals after which an order is to be paid again by itself
NAMES = {"PY101": "order_already_paid", "PY102": "order_closed", "PY103": "payment_in_progress",
         "PY201": "version_conflict", "PY301": "idempotency_key_reused",
         "PY302": "idempotency_key_revoked", "PY303": "payment_failed", "PY401": "order_not_found",
         "PY405": "channel_not_found", "PY406": "channel_not_internal", "PY501": "amount_mismatch",
         "PY502": "currency_mismatch", "PY601": "approval_required", "PY104": "suspected_duplicate"}
MAX_TRIES = 10
GARBLED = "done?"       # a channel status that nobody knows: such evidence is kept, and changes nothing


class Order(NamedTuple):
    id: str
    amount: int
    currency: str
    made: tuple                 # amount, currency and customer that it was created with
    status: str = "unpaid"
    closing: Optional[str] = None
    version: int = 1
    payment: Optional[str] = None
    refunded: int = 0
    deadline: Optional[float] = None
    returned: Optional[str] = None      # the payment whose money was taken back


class Payment(NamedTuple):
    id: str
    order: str
    key: Optional[str]
    channel: str
    kind: str
    amount: int
    currency: str
    status: str
    version: int
    received: Optional[int] = None
    received_currency: Optional[str] = None
    verified: bool = False
    txn: Optional[str] = None
    code: Optional[str] = None
    second_of: Optional[str] = None
    capture: Optional[str] = None       # as asked: automatic, manual
    authorized: Optional[int] = None    # what the channel has reserved
    taking: Optional[int] = None        # what it was asked to take of that
    before: Optional[int] = None        # until when it can be taken, as the channel has it

    @property
    def asked(self):
        """What the channel was asked to take."""
        return self.amount if self.taking is None else self.taking


class Refund(NamedTuple):
    id: str
    payment: str
    order: str
    key: Optional[str]
    channel: str
    amount: int
    currency: str
    origin: str
    status: str
    reversal: Optional[str] = None
    txn: Optional[str] = None
    returned: Optional[int] = None
    verified: bool = False
    time: Optional[int] = None          # of a reversal, as the channel has it
    undone: Optional[int] = None        # when it was undone, as the channel has it
    born: tuple = (0.0, 0.0)            # when the call that made it began and ended
    asked: tuple = (0.0, 0.0)           # of one that waits: when it was asked for


class Balance(NamedTuple):
    received: int
    refunding: int = 0
    refunded: int = 0
    excess: int = 0


class Task(NamedTuple):
    """An open charge, capture or refund task. due: changes whenever it is made due anew."""
    id: Optional[int] = None
    sent: bool = False
    again: bool = False
    tries: int = 0
    due: int = 0
    dead: bool = False


class Lease(NamedTuple):
    task: int
    token: str
    until: float
    due: Optional[int]
    asked: Optional[Payment] = None     # what a query or a request to close asks about, as it was when it was claimed


class Notice(NamedTuple):
    """A message that is kept, and what it is about as long as that is not known."""
    result: str
    channel: Optional[str] = None
    txn: Optional[str] = None
    report: Optional[tuple] = None
    order: Optional[str] = None         # whose money it is, where it says so
    reversal: Optional[str] = None
    payment: Optional[str] = None
    refund: Optional[str] = None
    until: float = 0.0                  # before that it was answered


class Report(NamedTuple):
    status: str
    txn: Optional[str] = None
    amount: Optional[int] = None
    currency: Optional[str] = None
    code: Optional[str] = None
    time: Optional[int] = None          # the channel's, of a reversal
    before: Optional[int] = None        # until when reserved money can be taken


class Sale(NamedTuple):
    """A row of a shop's own table, which is guarded."""
    id: str
    order: str
    status: str
    version: int = 1


SALE_MOVES = {"new": ("paid", "void"), "paid": ("sent",), "sent": ("back",), "void": (), "back": ()}
SALE_PAID = ("paid", "sent")        # one row of an order is in one of them


class Channel(NamedTuple):
    internal: bool = False
    late: str = "accept"
    not_found_is_final: bool = False
    idempotent: bool = True
    mixed: bool = False                 # scripts that know no "returned" and "merged", and then newer ones


class Policy(NamedTuple):
    """What is needed from an amount of a currency on."""
    currency: str
    min_amount: int
    approve: bool = False
    version: bool = False
    duplicate: Optional[str] = None     # flag, hold or refuse
    refund: bool = False                # a second person for what goes back, all of a payment's together


class Opinion(NamedTuple):
    """A second person's, about an order with this amount and currency."""
    status: str                         # open, approved, rejected
    amount: int
    currency: str


class World:
    """What the tables say at the end about ids that the server made."""

    def __init__(self):
        self.payment_of_key = {}
        self.payment_of_txn = {}     # (channel, txn) of money recorded without an attempt
        self.refund_of_key = {}
        self.refund_of_txn = {}      # (channel, reversal id)
        self.surplus_refunds = {}    # (payment, n) -> the nth refund of its surplus money
        self.made_at = {}            # of a payment or refund
        self.order_version = {}      # of a payment
        self.results = {}            # message -> what has become of it
        self.received = {}           # message -> when it came
        self.tasks = {}              # task -> (kind, order, payment, refund), from claims
        self.channels = {"internal": Channel(internal=True)}
        self.policies = {}           # of a currency
        self.impossible = None       # why the last call cannot have happened
        # of a call that was rolled back nothing is in the tables: what its answer told
        self.free, self.told = False, None

    def may_match(self, what, notice, latest):
        """May a message that waits have found its money by then? What that made tells its time."""
        if notice.result != "unmatched" or self.results.get(what) == "unmatched":
            return False
        made = None
        if notice.reversal:
            made = self.refund_of_txn.get((notice.channel, notice.report.txn))
        elif notice.order:
            made = self.payment_of_txn.get((notice.channel, notice.txn))
        return self.made_at.get(made, 0.0) <= latest


class Refused(Exception):
    """The call raises this SQLSTATE and changes nothing."""

    def __init__(self, code):
        Exception.__init__(self, code)
        self.code = code


class Impossible(Exception):
    """What would have been written is not there."""


class Applied:
    def __init__(self):
        self.changed = self.contradicts = False


class Model:
    """One state, and the calls on it.

    now: (earliest, latest) time at which the call can have looked at the clock. choices: how to
    decide what the model leaves open, the first time, the second time ...; False after that.
    """

    def __init__(self, world, state, now=(0.0, 0.0), choices=()):
        self.world, self.s, self.now, self.choices = world, state, now, choices
        self.asked = 0

    def choose(self):
        self.asked += 1
        return self.asked <= len(self.choices) and self.choices[self.asked - 1]

    def fresh(self, known, what, kind="payment"):
        """The id that the server gave to a new row."""
        if self.world.free:
            told = self.world.told.get(kind + "_id") if isinstance(self.world.told, dict) else None
            return told if told and (kind, told) not in self.s else f"new {len(self.s)}"
        if what not in known:
            raise Impossible(f"the tables have no {kind} of {what}")
        return known[what]

    # -- rows

    def order(self, order_id):
        return self.s.get(("order", order_id))

    def payment(self, payment_id):
        return self.s.get(("payment", payment_id))

    def refund(self, refund_id):
        return self.s.get(("refund", refund_id))

    def put(self, row, **changes):
        before, row = row, row._replace(**changes)
        self.s[(type(row).__name__.lower(), row.id)] = row
        if isinstance(row, Payment):
            if before.txn not in (None, row.txn):
                del self.s[("txn", row.channel, before.txn)]
            if row.key is not None:
                self.s[("key", row.key)] = row.id
            if row.txn is not None:
                self.s[("txn", row.channel, row.txn)] = row.id
            if "status" in changes:
                self.s.pop(("completed", row.id), None)
        elif isinstance(row, Refund):
            if row.status == "awaiting_approval":
                self.s.setdefault(("approval", row.id), "open")
            elif self.s.get(("approval", row.id)) == "open":
                del self.s[("approval", row.id)]        # nobody needs to decide any more
            if before.txn not in (None, row.txn) and ("refund txn", row.channel, before.txn) in self.s:
                del self.s[("refund txn", row.channel, before.txn)]
            if row.key is not None:
                self.s[("refund key", row.key)] = row.id
            if row.txn is not None:
                self.s[("refund txn", row.channel, row.txn)] = row.id
        return row

    def change_order(self, order_id, **changes):
        order = self.order(order_id)
        if changes.get("status") == "refunded":
            self.s[("went back", order_id)] = self.now[1]
        if order.status in ("paying", "paid") and changes.get("status", "paid") not in ("paying", "paid"):
            self.s[("let go", order_id)] = self.now[1]
        if changes.get("status", "unpaid") not in ("unpaid", "paying"):
            self.forget_question(order_id)
        return self.put(order, version=order.version + 1, **changes)

    def that_counts(self, order_id):
        for what, row in self.s.items():
            if what[0] == "payment" and row.order == order_id and (
                    row.status in LIVE or row.status == "succeeded"):
                return row
        return None

    def passed(self, deadline):
        """Has this time passed when the call looks at the clock?"""
        if deadline is None or deadline > self.now[1]:
            return False
        if deadline <= self.now[0]:
            return True
        return self.choose()

    # -- orders

    def row_of(self, order_id):
        o = self.order(order_id)
        return {"order_id": o.id, "status": o.status, "version": o.version, "amount": o.amount,
                "currency": o.currency, "closing_as": o.closing, "payment_id": o.payment,
                "refunded_amount": o.refunded}

    def create_order(self, order_id, amount, currency, customer=None, deadline=None):
        known = self.order(order_id)
        if known is None:
            if self.passed(deadline):
                raise Refused("22023")
            self.put(Order(order_id, amount, currency, (amount, currency, customer),
                           deadline=deadline))
            self.ask_for_opinion(order_id)
        elif amount not in (known.made[0], known.amount) or currency not in (known.made[1], known.currency) \
                or customer != known.made[2]:
            raise Refused("PY304")
        return self.row_of(order_id)

    def check_payable(self, order):
        if order.status in ("paid", "refunded"):
            raise Refused("PY101")
        if order.status in ("cancelled", "expired"):
            raise Refused("PY102")
        if order.status == "paying":
            raise Refused("PY103")
        if self.passed(order.deadline):
            raise Refused("PY102")

    def update_order(self, order_id, version, amount=None, currency=None):
        order = self.order(order_id)
        if order is None:
            raise Refused("PY401")
        reserved = self.that_counts(order_id) if order.status == "paying" else None
        if reserved is None or reserved.status != "authorized":
            self.check_payable(order)
        if version != order.version:
            raise Refused("PY201")
        if order.status == "paying":
            if currency not in (None, order.currency):
                raise Refused("PY103")
            if amount is not None and amount > order.amount and amount > min(reserved.authorized, reserved.amount):
                raise Refused("PY503")
        changes = {}
        if amount not in (None, order.amount):
            changes["amount"] = amount
        if currency not in (None, order.currency):
            changes["currency"] = currency
        if changes:
            self.change_order(order_id, **changes)
            if order.status == "unpaid":
                self.ask_for_opinion(order_id)
        return self.row_of(order_id)

    def cancel_order(self, order_id, version=None):
        order = self.order(order_id)
        if order is None:
            raise Refused("PY401")
        if order.status != "cancelled" and order.closing != "cancelled":
            if order.status in ("paid", "refunded"):
                raise Refused("PY101")
            if order.status == "expired":
                raise Refused("PY102")
            if version not in (None, order.version):
                raise Refused("PY201")
            self.end_order(order_id, "cancelled")
        return self.row_of(order_id)

    def end_order(self, order_id, how):
        if self.order(order_id).status == "unpaid":
            self.change_order(order_id, status=how)
        else:
            self.change_order(order_id, closing=how)
            self.close(self.that_counts(order_id).id)

    def forget_question(self, order_id):
        """Nobody needs to decide any more."""
        if self.opinion(order_id) is not None and self.opinion(order_id).status == "open":
            del self.s[("opinion", order_id)]

    def expire_order(self, order_id):
        """Time passes: expire_orders() has come to this order."""
        order = self.order(order_id)
        if not self.passed(order.deadline) or ("dealt with", order_id) in self.s:
            raise Impossible()
        if order.status == "paying" and self.that_counts(order_id).status in HOLDS:
            raise Impossible()      # it is looked at again when that has ended
        self.s[("dealt with", order_id)] = True
        if order.status == "unpaid" or (order.status == "paying" and order.closing is None):
            self.end_order(order_id, "expired")
        return {}

    def order_status(self, order_id):
        order = self.order(order_id)
        if order is None:
            raise Refused("PY401")
        answer = {"order_id": order.id, "status": order.status, "amount": order.amount,
                  "currency": order.currency, "refunded_amount": order.refunded,
                  "version": order.version}
        if order.status != "unpaid" or self.passed(order.deadline):
            answer["can_pay"] = False
        if order.status not in ("unpaid", "paying") or order.closing:
            answer["can_cancel"] = False
        if order.status == "paying" and order.closing is None and \
                self.that_counts(order_id).status in ("authorized", "capturing"):
            answer["advice"] = ("authorized", "contact_support")
        return answer

    # -- second opinions

    def policy(self, order):
        policy = self.world.policies.get(order.currency)
        if policy is None or order.amount < policy.min_amount:
            return Policy(order.currency, 0)
        return policy

    def opinion(self, order_id):
        return self.s.get(("opinion", order_id))

    def set_opinion(self, order, status):
        self.s[("opinion", order.id)] = Opinion(status, order.amount, order.currency)

    def ask_for_opinion(self, order_id):
        """The order is new, or has changed: what somebody has said of another amount is void."""
        order = self.order(order_id)
        opinion = self.s.pop(("opinion", order_id), None)
        if opinion is not None and opinion.status != "rejected" and (opinion.amount, opinion.currency) == (order.amount, order.currency):
            self.s[("opinion", order_id)] = opinion     # it was lowered while its money was reserved, and is raised again
            return
        policy = self.policy(order)
        # who makes an order waits for no customer, as evidence does not
        if policy.approve or (policy.duplicate == "hold" and self.twin(order, evidence=True)):
            self.set_opinion(order, "open")

    def note_twin(self, order_id, evidence):
        """The order is paid or being paid: others may see it late. evidence: it waited for nobody."""
        if self.order(order_id).made[2]:
            self.s[("came", order_id)] = (self.now[1], evidence)

    def twin(self, order, evidence=False):
        """Another order of the customer over the same, that was paid or is being paid.

        Requests wait for each other, and so see each other; evidence does not: it may miss one that comes
        in the same moment, and see one that is let go.
        """
        for what, row in list(self.s.items()):
            if what[0] != "order" or row.id == order.id or not row.made[2] or \
                    (row.made[2], row.amount, row.currency) != (order.made[2], order.amount, order.currency):
                continue
            if row.status in ("paying", "paid"):
                until, by_evidence = self.s.get(("came", row.id), (0.0, False))
                if until <= self.now[0] or not (evidence or by_evidence) or not self.misses():
                    return True
            elif evidence and self.s.get(("let go", row.id), 0.0) > self.now[0] and self.misses():
                return True
        return False

    def check_policy(self, order, version, evidence=False):
        policy, opinion = self.policy(order), self.opinion(order.id)
        if policy.version and version is None:
            raise Refused("PY201")
        approved = opinion is not None and opinion.status == "approved" and opinion.amount >= order.amount
        if (policy.approve and not approved) or (opinion is not None and opinion.status == "rejected"):
            raise Refused("PY601")
        if policy.duplicate == "refuse" and self.twin(order, evidence):
            raise Refused("PY104")
        if policy.duplicate == "hold" and not approved and self.twin(order, evidence):
            raise Refused("PY601")

    def is_held(self, order):
        """Money that came for this order does not pay it by itself."""
        try:
            self.check_policy(order, order.version, evidence=True)
        except Refused:
            return True
        return False

    def decide_order(self, order_id, decision, boss, version=None):
        """boss: somebody else than who has asked decides."""
        order = self.order(order_id)
        if order is None:
            raise Refused("PY401")
        self.check_payable(order)
        # what changes while the call waits is refused in any case
        if version not in (None, order.version) or self.choose():
            raise Refused("PY201")
        opinion = self.opinion(order_id)
        policy = self.policy(order)
        if decision == "rejected" and not (opinion and opinion.status == "rejected"):
            # what a policy does not ask for is no reason to hold the order back
            twin = policy.duplicate in ("hold", "refuse") and self.twin(order)
            if not (policy.approve or twin or
                    (opinion and (policy.version or policy.duplicate or policy.refund))):
                raise Refused("PY105")
        if not boss:
            raise Refused("PY602")
        if opinion is not None and opinion.status == "rejected" and decision == "approved":
            raise Refused("PY105")
        if opinion is None:
            self.set_opinion(order, decision)
        else:
            self.s[("opinion", order_id)] = opinion._replace(status=decision)
        return self.answer_of_opinion(order_id)

    def answer_of_opinion(self, order_id):
        """It tells the amount that was asked about: the order may have been lowered since."""
        opinion = self.opinion(order_id)
        return {"order_id": order_id, "subject": "order", "status": opinion.status, "amount": opinion.amount,
                "currency": opinion.currency}

    def request_approval(self, order_id):
        order = self.order(order_id)
        if order is None:
            raise Refused("PY401")
        self.check_payable(order)
        opinion = self.opinion(order_id)
        if opinion is None:
            try:
                self.check_policy(order, order.version, evidence=True)
            except Refused as refused:
                if refused.code != "PY601":
                    raise
            else:
                raise Refused("PY105")
            self.set_opinion(order, "open")
        elif opinion.status == "rejected":
            raise Refused("PY105")
        return self.answer_of_opinion(order_id)

    # -- requests to pay

    def result(self, payment_id, replayed, version=None):
        p = self.payment(payment_id)
        outcome = "key_revoked" if p.status == "failed" and p.code == "revoked" else OUTCOMES[p.status]
        return {"outcome": outcome, "order_id": p.order, "payment_id": p.id,
                "order_status": self.order(p.order).status, "payment_status": p.status,
                "version": p.version if version is None else version, "amount": p.amount,
                "currency": p.currency, "replayed": replayed}

    def pay(self, kind, order_id, key, amount=None, currency=None, version=None,
            channel="internal", capture=None):
        known = self.s.get(("key", key))
        if known is not None:
            self.check_known(self.payment(known), kind, order_id, amount, currency, channel, capture)
            return self.result(known, True)
        settings = self.world.channels.get(channel)
        if settings is None:
            raise Refused("PY405")
        if settings.internal and kind != "pay":
            raise Refused("22023")
        if not settings.internal and kind == "pay":
            raise Refused("PY406")
        order = self.order(order_id)
        if order is None:
            raise Refused("PY401")
        self.check_payable(order)
        if version not in (None, order.version):
            raise Refused("PY201")
        if currency not in (None, order.currency):
            raise Refused("PY502")
        if amount not in (None, order.amount):
            raise Refused("PY501")
        self.check_policy(order, version)
        payment_id = self.fresh(self.world.payment_of_key, key)
        if kind == "pay":
            self.put(Payment(payment_id, order_id, key, channel, kind, order.amount, order.currency,
                             "succeeded", order.version + 1, order.amount, order.currency, True))
            self.change_order(order_id, status="paid", payment=payment_id)
        else:
            self.put(Payment(payment_id, order_id, key, channel, kind, order.amount, order.currency,
                             "pending", order.version + 1, capture=capture))
            self.change_order(order_id, status="paying")
            if kind == "request":
                self.s[("task", payment_id, "charge")] = Task()
        self.note_twin(order_id, False)
        return self.result(payment_id, False)

    def check_known(self, p, kind, order_id, amount, currency, channel, capture):
        if p.code == "revoked" and p.status == "failed" and p.order == order_id:
            raise Refused("PY302")
        if (p.order, p.kind, p.channel, p.capture) != (order_id, kind, channel, capture) or \
                amount not in (None, p.amount) or currency not in (None, p.currency):
            raise Refused("PY301")
        if p.status == "failed":
            raise Refused("PY303")

    def try_pay(self, order_id, key, *more):
        try:
            return self.pay("pay", order_id, key, *more)
        except Refused as refused:
            if refused.code not in NAMES:
                raise
            order = self.order(order_id)
            answer = {"outcome": NAMES[refused.code], "order_id": order_id, "replayed": False,
                      "order_status": order and order.status, "version": order and order.version,
                      "amount": order and order.amount}
            if refused.code == "PY101":
                answer["payment_id"] = order.payment
            return answer

    def pay_orders(self, calls):
        return [self.try_pay(*call) for call in calls]

    def revoke_key(self, order_id, key):
        known = self.s.get(("key", key))
        if known is None:
            order = self.order(order_id)
            if order is None:
                raise Refused("PY401")
            known = self.fresh(self.world.payment_of_key, key)
            self.put(Payment(known, order_id, key, "internal", "revoke", order.amount, order.currency,
                             "failed", order.version, code="revoked"))
            return self.result(known, False)
        if self.payment(known).order != order_id:
            raise Refused("PY301")
        return self.result(known, True)

    # -- attempts

    def withdraw_charge(self, payment_id):
        """True: the channel knows nothing of it."""
        task = self.s.get(("task", payment_id, "charge"))
        if task is None or task.sent:
            return False
        self.end_task(payment_id, "charge")
        return not task.again

    def end_tasks(self, payment_id):
        self.end_task(payment_id, "charge")
        self.end_task(payment_id, "capture")

    def end_task(self, subject, kind, token=None, outcome=None):
        task = self.s.pop(("task", subject, kind), None)
        if task is not None and task.id is not None:
            self.s[("ended", task.id)] = (token, outcome)

    def capture_is_sent(self, p):
        """Its money may be taken: a worker has the capture, or has had it."""
        task = self.s.get(("task", p.id, "capture"))
        return p.status == "capturing" and (task is None or task.sent)

    def close(self, payment_id):
        p = self.payment(payment_id)
        if self.withdraw_charge(payment_id):
            self.evidence(payment_id, Report("failed", code="not_sent"), Applied())
        elif p.status != "closing" and not self.capture_is_sent(p):
            self.end_task(payment_id, "capture")
            self.put(p, status="closing")

    def must_exist(self, payment_id):
        p = self.payment(payment_id)
        if p is None:
            raise Refused("PY402")
        return p

    def close_payment(self, payment_id):
        p = self.must_exist(payment_id)
        if (p.status not in LIVE and p.status != "superseded") or self.capture_is_sent(p):
            raise Refused("PY105")
        replayed = p.status in ("closing", "superseded")
        if not replayed:
            self.close(payment_id)
        return self.result(payment_id, replayed, self.order(p.order).version)

    def capture_payment(self, payment_id):
        p = self.must_exist(payment_id)
        order = self.order(p.order)
        if p.status == "capturing" or (p.status in ("succeeded", "surplus", "returned") and p.taking is not None):
            return self.result(payment_id, True, order.version)
        if p.status != "authorized":
            raise Refused("PY105")
        if order.amount > p.authorized:
            raise Refused("PY503")
        self.put(p, status="capturing", taking=order.amount)
        self.s[("captures", payment_id)] = self.s.get(("captures", payment_id), ()) + (None,)
        self.make_due(payment_id, "capture")
        return self.result(payment_id, False, order.version)

    def query_payment(self, payment_id):
        p = self.must_exist(payment_id)
        ask = p.status in LIVE or p.status == "superseded" or (
            p.status == "succeeded" and not p.verified)
        return self.result(payment_id, not ask, self.order(p.order).version)

    # -- evidence

    def report_payment(self, payment_id, *report):
        if report[0] == GARBLED:
            return {"outcome": "recorded", "payment_id": payment_id, "replayed": False}
        p = self.payment(payment_id)
        if p is None:
            self.keep((payment_id, report), Notice("unmatched", report=self.read(*report), payment=payment_id))
            return {"outcome": "recorded", "payment_id": payment_id, "replayed": False}
        return self.result_of_evidence(payment_id, self.evidence(payment_id, self.read(*report)))

    @staticmethod
    def read(status, txn=None, amount=None, currency=None, code=None, before=None):
        return Report(status, txn, amount, currency, code, before=before)

    def settle_payment(self, payment_id, *report):
        if report[0] == GARBLED:    # an operator's word is refused
            raise Refused("22023")
        self.must_exist(payment_id)
        return self.result_of_evidence(payment_id, self.evidence(payment_id, Report(*report), fresh=True, queried=True))

    def result_of_evidence(self, payment_id, applied):
        p = self.payment(payment_id)
        answer = self.result(payment_id, not applied.changed and not applied.contradicts,
                             self.order(p.order).version)
        if applied.contradicts:
            answer["outcome"] = "recorded"
        return answer

    def evidence(self, payment_id, report, applied=None, fresh=False, queried=False):
        """Apply what a channel says of a payment: the table of doc/design.md.

        fresh: whoever says it has asked since the payment changed. queried: and for nothing else than that.
        """
        applied = applied or Applied()
        p = self.payment(payment_id)
        settings = self.world.channels[p.channel]
        if p.status == "failed" and p.code == "same_charge" and p.second_of:
            if report.status == "succeeded" and report.txn not in (None, p.txn):
                self.evidence(p.second_of, report, applied)
            return applied
        if report.status == "not_found" and settings.not_found_is_final and p.status not in HOLDS:
            report = report._replace(status="closed", code=report.code or "not_found")
        if report.txn not in (None, p.txn):
            other = self.payment(self.s.get(("txn", p.channel, report.txn)))
            if other is not None:
                self.known_elsewhere(p, other, report, applied, fresh, queried)
                return applied
        if p.status in LIVE:
            self.about_live(p, report, settings, applied, fresh, queried)
        elif p.status == "superseded":
            self.about_superseded(p, report, applied)
        elif p.status == "failed":
            if report.status == "succeeded":
                self.late_success(p, report, settings, applied)
            elif report.status in ("pending", "processing", "authorized") and fresh and \
                    self.is_revivable(p, settings, report):
                self.revive(p, report, applied)
        elif p.status == "returned":
            if report.status == "succeeded" and report.txn and p.txn and report.txn != p.txn:
                money = report._replace(currency=report.currency or p.currency,
                                        amount=p.amount if report.amount is None else report.amount)
                applied.changed = self.apply_record(p.order, p.channel, money, report.amount is None)[1].changed
        elif report.status == "succeeded":
            if report.txn and p.txn and report.txn != p.txn:
                self.second_charge(p, report, applied)
            else:
                self.fill_in(p.id, report, applied)
        elif report.status in ("failed", "closed"):
            applied.contradicts = True
        return applied

    def known_elsewhere(self, p, other, report, applied, fresh, queried):
        if other.second_of == p.id and other.status == "failed" and other.code == "same_charge":
            self.evidence(p.id, report._replace(txn=p.txn), applied, fresh, queried)
        elif other.second_of == p.id or p.status == "returned" and other.key is None and other.order == p.order:
            self.evidence(other.id, report, applied)
        elif report.status == "succeeded" and other.key is None and other.second_of is None and \
                other.order == p.order and (p.status in LIVE or p.status == "superseded") and \
                report.amount in (None, other.received):
            was_live = p.status in LIVE
            self.put(p, status="failed", code="same_charge", second_of=other.id)
            self.end_tasks(p.id)
            if was_live:
                self.without_money(p.order)
            applied.changed = True
        else:
            applied.contradicts = True

    def money(self, order, asked, report):
        """What came, beside what the attempt (None: there is none) and the order ask for: fits, more, less or other."""
        of_attempt = order.amount if asked is None else asked.asked
        amount = of_attempt if report.amount is None else report.amount
        currency = report.currency or (asked or order).currency
        if currency != (asked or order).currency or currency != order.currency:
            return "other"
        # of what is reserved, and was not asked for yet, the order may need a part alone
        may_be_less = asked is not None and asked.authorized is not None and asked.taking is None
        if (amount < of_attempt and not may_be_less) or amount < order.amount or \
                (report.amount is None and amount != order.amount):
            return "less"
        return "more" if amount > order.amount else "fits"

    def is_revivable(self, p, settings, report):
        order = self.order(p.order)
        if report.status == "authorized" and p.authorized is not None:      # a part of that will do
            fits = order.amount <= p.amount and order.currency == p.currency
        else:
            fits = self.money(order, p, Report("succeeded")) == "fits"
        return order.status == "unpaid" and not self.passed(order.deadline) and settings.late != "refund" and \
            fits and p.code not in ("revoked", "same_charge") and not self.is_held(order)

    def revive(self, p, report, applied):
        """The channel goes on with what it had said to have failed."""
        reserved = self.reserved(p, report, True) if report.status == "authorized" else {}
        self.put(p, status=report.status, code="revived", txn=report.txn or p.txn, **reserved)
        self.change_order(p.order, status="paying")
        self.note_twin(p.order, True)
        applied.changed = True
        self.match_notices(p.id, report.txn not in (None, p.txn))

    def without_money(self, order_id):
        self.change_order(order_id, status=self.order(order_id).closing or "unpaid", closing=None)

    def reserved(self, p, report, fresh):
        """What changes by the channel's word that it has reserved money; of a capture, that it was not made."""
        other = report.currency not in (None, p.currency)
        believed = fresh or p.status != "authorized"        # of one authorization the first word counts
        amount = 0 if other else p.authorized if report.amount is None else report.amount
        if amount is None:
            amount = p.amount
        changes = {}
        if p.authorized is None or amount < p.authorized or (amount != p.authorized and believed):
            changes["authorized"] = amount
        if report.before is not None and report.before != p.before and \
                (p.before is None or p.before < report.before or believed):
            changes["before"] = report.before
        if p.taking is not None:
            changes["taking"] = None
        return changes

    def about_reserved(self, p, report, settings, applied, fresh, queried):
        """The channel holds the money of a live attempt, and has not taken it."""
        order = self.order(p.order)
        believed = fresh and not (queried and ("task", p.id, "capture") in self.s)
        changes = {"txn": report.txn} if report.txn not in (None, p.txn) else {}
        covers = (report.amount is None or report.amount >= (p.taking or 0)) and report.currency in (None, p.currency)
        if p.status == "capturing" and believed and order.closing is None and queried and settings.idempotent and covers:
            self.make_due(p.id, "capture", again=True)
        elif p.status != "closing" and (p.status != "capturing" or believed):
            if order.closing is not None:
                changes["status"] = "closing"
            else:
                changes.update(self.reserved(p, report, fresh))
                if p.status != "authorized":
                    changes["status"] = "authorized"
        if not changes:
            return
        self.put(p, **changes)
        if "status" in changes:
            self.end_task(p.id, "charge" if p.status != "capturing" else "capture")
        applied.changed = True
        self.match_notices(p.id, "txn" in changes)

    def about_live(self, p, report, settings, applied, fresh, queried):
        if report.status == "authorized":
            self.about_reserved(p, report, settings, applied, fresh, queried)
            return
        if report.status == "succeeded":
            self.live_success(p, report, settings)
        elif report.status in ("failed", "closed"):
            self.put(p, status="failed", code=report.code or report.status,
                     txn=report.txn or p.txn)
            self.end_tasks(p.id)
            self.without_money(p.order)
        else:
            to = p.status
            if (p.status, report.status) in (("pending", "unknown"), ("unknown", "pending"), ("pending", "processing"),
                                             ("unknown", "processing")) or \
                    ((p.status, report.status) == ("processing", "pending") and fresh):
                to = report.status
            if to == p.status and report.txn in (None, p.txn):
                return
            if to != p.status:
                self.put(p, status=to, txn=report.txn or p.txn)
                if to == "processing":
                    self.end_task(p.id, "charge")       # the channel has it
            else:
                self.put(p, txn=report.txn)
        applied.changed = True
        self.match_notices(p.id, report.txn not in (None, p.txn) or report.status == "succeeded")

    def live_success(self, p, report, settings):
        order = self.order(p.order)
        enough = self.money(order, p, report) in ("fits", "more")
        late = p.code == "revived"
        pays = enough and order.closing != "cancelled" and not (late and settings.late == "refund")
        held = pays and late and self.is_held(order)
        if pays and not held:
            self.take_money(p, "succeeded", report)
            self.change_order(p.order, status="paid", closing=None, payment=p.id)
            if late:
                self.note_twin(p.order, True)
            self.give_excess_back(p.id)
        else:
            self.take_money(p, "surplus", report)
            self.without_money(p.order)
            self.open_surplus_refund(p.id, "pending" if enough and not held else "awaiting_approval")

    def about_superseded(self, p, report, applied):
        if report.status == "succeeded":
            enough = self.money(self.order(p.order), p, report) in ("fits", "more")
            self.take_money(p, "surplus", report)
            self.open_surplus_refund(p.id, "pending" if enough else "awaiting_approval")
        elif report.status in ("failed", "closed"):
            self.put(p, status="failed", code=report.code or report.status,
                     txn=report.txn or p.txn)
            self.end_tasks(p.id)
        elif report.txn in (None, p.txn):
            return
        else:
            self.put(p, txn=report.txn)
        applied.changed = True
        self.match_notices(p.id, report.txn not in (None, p.txn) or report.status == "succeeded")

    def late_success(self, p, report, settings, applied):
        order = self.order(p.order)
        enough = self.money(order, p, report) in ("fits", "more")
        pays = enough and settings.late != "refund" and self.wants_late(order, settings.late)
        held = pays and self.is_held(order)
        pays = pays and not held
        if pays and order.status == "paying":
            self.supersede(p.order)
        self.take_money(p, "succeeded" if pays else "surplus", report)
        if pays:
            self.change_order(p.order, status="paid", closing=None, payment=p.id)
            self.note_twin(p.order, True)
            self.give_excess_back(p.id)
        else:
            self.open_surplus_refund(p.id, "pending" if enough and not held else "awaiting_approval")
        applied.changed = True
        self.match_notices(p.id, True)

    @staticmethod
    def wants_late(order, late):
        """Late money, or money without an attempt, may pay the order."""
        return order.status == "unpaid" or (order.status == "paying" and order.closing != "cancelled") or \
            (order.status == "expired" and late == "accept_expired")

    def supersede(self, order_id):
        other = self.that_counts(order_id)
        if self.withdraw_charge(other.id):
            self.put(other, status="failed", code="not_sent")
        else:
            if not self.capture_is_sent(other):
                self.end_task(other.id, "capture")
            self.put(other, status="superseded")

    def take_money(self, p, status, report):
        self.put(p, status=status, received=p.asked if report.amount is None else report.amount,
                 received_currency=report.currency or p.currency,
                 verified=report.amount is not None, txn=report.txn or p.txn, code=None)
        self.end_tasks(p.id)

    def second_charge(self, p, report, applied):
        self.record(p.order, p.channel, report, "surplus", second_of=p.id)
        second = self.s[("txn", p.channel, report.txn)]
        self.open_surplus_refund(second, "awaiting_approval")
        applied.changed = True

    def record(self, order_id, channel, report, status, second_of=None):
        order = self.order(order_id)
        payment_id = self.fresh(self.world.payment_of_txn, (channel, report.txn))
        if self.world.order_version.get(payment_id, order.version) != order.version:
            raise Impossible("recorded at another version")
        self.put(Payment(payment_id, order_id, None, channel, "record", order.amount,
                         order.currency, status, order.version,
                         order.amount if report.amount is None else report.amount,
                         report.currency or order.currency, report.amount is not None, report.txn,
                         second_of=second_of))
        return payment_id

    def fill_in(self, payment_id, report, applied):
        p = self.payment(payment_id)
        other = (report.amount not in (None, p.received) or
                 report.currency not in (None, p.received_currency))
        if other and p.verified:
            applied.contradicts = True
            return
        changes = {}
        if report.txn not in (None, p.txn):
            changes["txn"] = report.txn
        if report.amount is not None and not p.verified:
            changes.update(verified=True, received=report.amount)
        if report.currency not in (None, p.received_currency):
            changes["received_currency"] = report.currency
        if not changes:
            return
        self.put(p, **changes)
        applied.changed = True
        if other:
            self.correct_received(payment_id)
        self.match_notices(payment_id, "txn" in changes)

    def record_payment(self, order_id, channel, txn, amount, currency):
        if self.order(order_id) is not None and channel in self.world.channels:
            payment_id, applied = self.apply_record(order_id, channel,
                                                    Report("succeeded", txn, amount, currency))
            if self.payment(payment_id).order == order_id:
                return self.result_of_evidence(payment_id, applied)
        else:
            self.keep((channel, order_id, txn, amount),
                      Notice("unmatched", channel, txn, Report("succeeded", txn, amount, currency),
                             order_id))
        return {"outcome": "recorded", "order_id": order_id, "payment_id": None, "replayed": False}

    def apply_record(self, order_id, channel, report, assumed=False):
        applied = Applied()
        known = self.s.get(("txn", channel, report.txn))
        if known is not None:
            if self.payment(known).order == order_id:
                self.evidence(known, report, applied)
            else:
                applied.contradicts = True
            return known, applied
        order = self.order(order_id)
        enough = self.money(order, None, report) in ("fits", "more")
        pays = enough and self.wants_late(order, self.world.channels[channel].late)
        held = pays and self.is_held(order)
        pays = pays and not held
        if pays and order.status == "paying":
            self.supersede(order_id)
        payment_id = self.record(order_id, channel, report, "succeeded" if pays else "surplus")
        if assumed:
            self.put(self.payment(payment_id), verified=False)
        applied.changed = True
        if pays:
            self.change_order(order_id, status="paid", closing=None, payment=payment_id)
            self.note_twin(order_id, True)
            self.give_excess_back(payment_id)
        else:
            self.open_surplus_refund(payment_id, "pending" if enough and not held else "awaiting_approval")
        self.match_notices(payment_id, True)
        return payment_id, applied

    def accept_surplus(self, payment_id):
        p = self.must_exist(payment_id)
        if p.status != "surplus":
            raise Refused("PY105")
        order = self.order(p.order)
        if order.status in ("paid", "refunded"):
            if not self.is_all_back(order.payment) or not self.knows_returns(self.payment(order.payment)):
                raise Refused("PY101")
            self.waive_rest(order.payment)
            self.take_back(self.payment(order.payment))
            order = self.order(p.order)
        if order.status == "paying":
            raise Refused("PY103")
        if not p.verified:
            raise Refused("PY105")
        if p.received_currency != order.currency:
            raise Refused("PY502")
        if p.received < order.amount:
            raise Refused("PY501")
        self.check_policy(order, order.version)
        if not self.keep_excess(p, order):
            raise Refused("PY105")
        self.put(p, status="succeeded")
        self.change_order(p.order, status="paid", closing=None, payment=payment_id)
        self.note_twin(p.order, True)
        return self.result(payment_id, False, self.order(p.order).version)

    def keep_excess(self, p, order):
        """Of the refunds of surplus money, which pays its order now, what is more than that is left."""
        excess = p.received - order.amount
        r = self.unbegun_of_surplus(p) if excess > 0 else None
        if r is not None:
            self.lock_balance(p.id)
            self.add_refunding(p.id, excess - r.amount)
            if r.status == "awaiting_approval":
                self.s[("approval", r.id)] = "open"
            self.put(r, amount=excess)
            return True
        if not self.waive_unbegun(p.id):
            return False
        if excess > 0:
            self.insert_surplus(p.id, excess, "awaiting_approval")
        return True

    def is_all_back(self, payment_id):
        p, b = self.payment(payment_id), self.lock_balance(payment_id)
        return p.received > 0 and b.refunded + b.excess >= p.received

    def knows_returns(self, p):
        return not self.world.channels[p.channel].mixed or self.choose()

    def take_back(self, p):
        """All that has paid an order is back: it is to be paid again."""
        self.put(p, status="returned")
        self.change_order(p.order, status="unpaid", payment=None, refunded=0, deadline=None, returned=p.id)

    def reopen_order(self, order_id):
        order = self.order(order_id)
        if order is None:
            raise Refused("PY401")
        if order.status == "unpaid" and order.returned:
            return self.row_of(order_id)
        if order.status not in ("paid", "refunded") or not any(
                r.status == "succeeded" and r.origin == "channel" and r.reversal != "refund"
                for r in self.refunds_of(order.payment)):
            raise Refused("PY105")
        p = self.payment(order.payment)
        b = self.lock_balance(p.id)
        if b.refunded + b.excess >= p.received:
            self.waive_rest(p.id)
            self.take_back(p)
        else:
            self.put(p, status="surplus")
            self.change_order(order_id, status="unpaid", payment=None, refunded=0, deadline=None, returned=p.id)
            self.hold_unbegun(p.id)
            self.refund_what_is_here(p.id)
        return self.row_of(order_id)

    def dismiss_surplus(self, payment_id, same_as):
        same = self.must_exist(same_as)
        p = self.must_exist(payment_id)
        if p.status != "surplus":
            raise Refused("PY105")
        if payment_id == same_as or (same.order, same.channel) != (p.order, p.channel) or \
                same.status not in ("succeeded", "surplus"):
            raise Refused("22023")
        if not self.waive_unbegun(payment_id):
            raise Refused("PY105")
        self.put(p, status="failed", code="same_charge", received=0, second_of=same_as)
        self.correct_received(payment_id)
        if not same.verified:
            report = Report("succeeded")
            if p.verified:
                report = Report("succeeded", None, p.received, p.received_currency)
            self.fill_in(same_as, report, Applied())
        return self.result(payment_id, False, self.order(p.order).version)

    # -- refunds

    def refunds_of(self, payment_id):
        return [row for what, row in self.s.items() if what[0] == "refund" and row.payment == payment_id]

    def lock_balance(self, payment_id):
        received = self.payment(payment_id).received or 0
        b = self.s.get(("balance", payment_id)) or Balance(received)
        return self.put_balance(payment_id, b)

    def put_balance(self, payment_id, b):
        received = max(self.payment(payment_id).received or 0, b.refunding + b.refunded)
        fits = min(b.excess, received - b.refunding - b.refunded)
        b = b._replace(received=received, refunded=b.refunded + fits, excess=b.excess - fits)
        self.s[("balance", payment_id)] = b
        return b

    def add_refunding(self, payment_id, by):
        b = self.s[("balance", payment_id)]
        self.put_balance(payment_id, b._replace(refunding=b.refunding + by))

    def not_needed(self, p):
        """What of a payment its order does not need."""
        return p.received if p.status == "surplus" else p.received - self.paid_amount(p)

    def paid_amount(self, p):
        order = self.order(p.order)
        if order.payment != p.id:
            return p.received
        return min(p.received, order.amount) if p.received_currency == order.currency else p.received

    @staticmethod
    def is_undone(r):
        return r.status in ("reinstated", "merged") or (r.status == "failed" and r.origin == "channel")

    @staticmethod
    def is_of_surplus(p, r):
        return p.status == "surplus" or r.origin == "surplus"

    def give_excess_back(self, payment_id):
        p = self.payment(payment_id)
        excess = self.not_needed(p)
        if excess > 0:
            self.open_surplus_refund(payment_id, "awaiting_approval" if excess > self.order(p.order).amount else "pending")

    def open_surplus_refund(self, payment_id, status):
        p = self.payment(payment_id)
        rest = self.not_needed(p)
        if rest == 0:
            return
        b = self.lock_balance(payment_id)
        for other in self.refunds_of(payment_id):
            if self.is_of_surplus(p, other) and not self.is_undone(other):
                rest -= other.returned if other.status == "succeeded" else other.amount
        rest = min(rest, b.received - b.refunding - b.refunded)
        if rest > 0:
            self.insert_surplus(payment_id, rest, status)

    def refund_what_is_here(self, payment_id):
        b = self.lock_balance(payment_id)
        p = self.payment(payment_id)
        rest = p.received - b.refunding - b.refunded - self.kept_for_order(p)
        rest -= sum(r.amount for r in self.refunds_of(payment_id)
                    if r.status == "failed" and self.is_of_surplus(p, r) and not self.is_undone(r))
        if rest > 0:
            self.insert_surplus(payment_id, rest, "awaiting_approval")

    def kept_for_order(self, p):
        """What of a payment's money stays, as what has paid its order."""
        if p.status == "surplus" or self.order(p.order).payment != p.id:
            return 0
        kept = self.paid_amount(p)
        for r in self.refunds_of(p.id):
            if self.counts_for_order(r):
                kept -= r.returned if r.status == "succeeded" else r.amount if r.status in RESERVED else 0
        return max(kept, 0)

    def insert_surplus(self, payment_id, amount, status):
        if self.world.channels[self.payment(payment_id).channel].internal:
            status = "awaiting_approval"        # nobody has handed it back yet
        number = sum(r.origin == "surplus" for r in self.refunds_of(payment_id))
        refund_id = self.fresh(self.world.surplus_refunds, (payment_id, number), "refund")
        self.insert_refund(refund_id, payment_id, None, amount, status, "surplus")

    def insert_refund(self, refund_id, payment_id, key, amount, status, origin, reversal=None,
                      txn=None, currency=None, time=None):
        p = self.payment(payment_id)
        b = self.lock_balance(payment_id)
        currency = currency or p.received_currency or p.currency
        if status == "pending" and self.needs_second(currency, b.refunding + b.refunded + amount):
            status = "awaiting_approval"
        if self.world.channels[p.channel].internal and status == "pending":
            status = "succeeded"
        self.put(Refund(refund_id, payment_id, p.order, key, p.channel, amount,
                        currency, origin, status, reversal, txn,
                        amount if status == "succeeded" else None, status == "succeeded", time,
                        born=self.now, asked=self.now))
        if status == "succeeded":
            self.count_returned(refund_id, amount)
        else:
            self.add_refunding(payment_id, amount)
        if status == "pending":
            self.s[("task", refund_id, "refund")] = Task()

    def needs_second(self, currency, going_back):
        policy = self.world.policies.get(currency)
        return policy is not None and policy.refund and going_back >= policy.min_amount

    def counts_for_order(self, r):
        return self.order(r.order).payment == r.payment and r.reversal in (None, "refund") and r.origin != "surplus"

    def count_returned(self, refund_id, amount, reserved=0):
        r = self.refund(refund_id)
        b = self.s[("balance", r.payment)]
        b = b._replace(refunding=b.refunding - reserved)
        going = b.refunding + b.refunded
        counted = min(amount, max((self.payment(r.payment).received or 0) - going, 0))
        self.put_balance(r.payment, b._replace(refunded=b.refunded + counted,
                                               excess=b.excess + amount - counted))
        if amount > counted:
            self.hold_unbegun(r.payment)
        if self.counts_for_order(r):
            self.change_refunded(r, amount)

    def ask_again(self, r):
        self.end_task(r.id, "refund")
        self.s[("approval", r.id)] = "open"
        self.put(r, status="awaiting_approval", asked=self.now)

    def uncount_returned(self, r):
        b = self.s[("balance", r.payment)]
        total = sum(other.returned for other in self.refunds_of(r.payment)
                    if other.status == "succeeded" and other.id != r.id)
        refunded = min(b.refunded, total)
        self.put_balance(r.payment, b._replace(refunded=refunded, excess=total - refunded))
        if self.counts_for_order(r):
            self.change_refunded(r, -r.returned)

    def change_refunded(self, r, by):
        order = self.order(r.order)
        refunded = order.refunded + by
        full = refunded >= self.paid_amount(self.payment(r.payment))
        self.change_order(r.order, refunded=refunded, status="refunded" if full else "paid")

    def correct_received(self, payment_id):
        p = self.payment(payment_id)
        b = self.s.get(("balance", payment_id))
        too_much = b is not None and self.put_balance(payment_id, b).received > p.received
        order = self.order(p.order)
        if p.status in ("surplus", "succeeded"):
            if self.correct_unbegun(p) and too_much:
                too_much = self.lock_balance(payment_id).received > p.received
            self.open_surplus_refund(payment_id, "awaiting_approval")
        if order.payment == payment_id:
            full = 0 < order.refunded and order.refunded >= self.paid_amount(p)
            to = "refunded" if full else "paid"
            if to != order.status:
                self.change_order(p.order, status=to)
        if too_much:
            self.hold_unbegun(payment_id)

    def hold_unbegun(self, payment_id):
        for r in self.refunds_of(payment_id):
            if r.status == "pending" and not self.has_begun(r):
                self.ask_again(r)

    def unbegun_of_surplus(self, p):
        """The one refund of money that the order does not need, if nobody has begun it."""
        refunds = [r for r in self.refunds_of(p.id) if self.is_of_surplus(p, r) and not self.is_undone(r)]
        if len(refunds) != 1 or refunds[0].origin != "surplus" or refunds[0].status not in RESERVED or \
                self.has_begun(refunds[0]):
            return None
        return refunds[0]

    def correct_unbegun(self, p):
        r, amount = self.unbegun_of_surplus(p), self.not_needed(p)
        if r is None:
            return False
        if amount == 0:
            if p.status == "surplus":
                return False
            self.lock_balance(p.id)
            self.add_refunding(p.id, -r.amount)
            self.put(r, status="waived")
            self.end_task(r.id, "refund")
            return True
        b = self.lock_balance(p.id)
        b = self.put_balance(p.id, b._replace(refunding=b.refunding + amount - r.amount))
        if r.status == "pending" and (p.status != "surplus" or
                                      ("approval", r.id) in self.s or  # another amount was approved
                                      self.needs_second(p.received_currency, b.refunding + b.refunded)):
            self.ask_again(r)
        self.put(self.refund(r.id), amount=amount, currency=p.received_currency)
        return True

    def has_begun(self, r):
        if r.status in ("awaiting_approval", "waived") or self.is_undone(r):
            return False
        if r.status == "pending":
            task = self.s.get(("task", r.id, "refund"))
            return task is None or task.sent or task.again
        return True

    def waive_unbegun(self, payment_id):
        refunds = self.refunds_of(payment_id)
        if any(self.has_begun(r) for r in refunds):
            return False
        if refunds:
            self.lock_balance(payment_id)
        for r in refunds:
            if r.status in ("awaiting_approval", "pending", "unknown"):
                self.add_refunding(payment_id, -r.amount)
                self.put(r, status="waived")
                self.end_task(r.id, "refund")
        return True

    def waive_rest(self, payment_id):
        for r in self.refunds_of(payment_id):
            if r.status in RESERVED and not self.has_begun(r):
                self.lock_balance(payment_id)
                self.add_refunding(payment_id, -r.amount)
                self.put(r, status="waived")
                self.end_task(r.id, "refund")

    def refund_answer(self, refund_id, replayed, recorded=False):
        r = self.refund(refund_id)
        return {"outcome": "recorded" if recorded else r.status, "refund_id": r.id,
                "payment_id": r.payment, "order_id": r.order, "status": r.status,
                "amount": r.amount, "currency": r.currency, "replayed": replayed}

    def known_refund(self, key, amount, order_id=None, payment_id=None):
        known = self.refund(self.s.get(("refund key", key)))
        if known is None:
            return None
        if order_id not in (None, known.order) or payment_id not in (None, known.payment) or \
                amount not in (None, known.amount):
            raise Refused("PY301")
        return self.refund_answer(known.id, True)

    def refund_order(self, order_id, key, amount=None):
        order = self.order(order_id)
        replay = self.known_refund(key, amount, order_id, order and order.payment)
        if replay:
            return replay
        if order is None:
            raise Refused("PY401")
        if order.payment is None:
            raise Refused("PY402")
        return self.request_refund(order.payment, key, amount)

    def refund_payment(self, payment_id, key, amount=None):
        self.must_exist(payment_id)
        return self.known_refund(key, amount, None, payment_id) or \
            self.request_refund(payment_id, key, amount)

    def request_refund(self, payment_id, key, amount):
        b = self.lock_balance(payment_id)
        rest = b.received - b.refunding - b.refunded
        amount = rest if amount is None else amount
        if not 0 < amount <= rest:
            raise Refused("PY504")
        refund_id = self.fresh(self.world.refund_of_key, key, "refund")
        self.insert_refund(refund_id, payment_id, key, amount, "pending", "request")
        return self.refund_answer(refund_id, False)

    def report_refund(self, refund_id, *report):
        if report[0] == GARBLED:
            return {"outcome": "recorded", "refund_id": refund_id, "replayed": False}
        if self.refund(refund_id) is None:
            self.keep((refund_id, report), Notice("unmatched", report=Report(*report), refund=refund_id))
            return {"outcome": "recorded", "refund_id": refund_id, "replayed": False}
        return self.answer_to_report(refund_id, self.refund_evidence(refund_id, Report(*report)))

    def answer_to_report(self, refund_id, applied):
        return self.refund_answer(refund_id, not applied.changed and not applied.contradicts,
                                  applied.contradicts)

    def settle_refund(self, refund_id, status, txn=None):
        if self.refund(refund_id) is None:
            raise Refused("PY403")
        return self.answer_to_report(refund_id, self.refund_evidence(refund_id, Report(status, txn)))

    def refund_evidence(self, refund_id, report):
        applied = Applied()
        r = self.refund(refund_id)
        if r.status in ("reinstated", "merged"):
            applied.contradicts = report.status in (("succeeded",) if r.status == "reinstated" else ("failed", "closed"))
            return applied
        echo = None
        known = self.refund(self.s.get(("refund txn", r.channel, report.txn), refund_id)) if report.txn else r
        if known.id != refund_id:
            if r.reversal is not None or not self.may_be_echo(r, known):
                applied.contradicts = True
                return applied
            echo = known
        elif report.txn is None and report.status == "succeeded" and r.reversal is None and r.txn is None and \
                r.status != "succeeded":
            amount = r.amount if report.amount is None else report.amount
            fitting = [other for other in self.refunds_of(r.payment)
                       if other.returned == amount and self.came_later(other, r) and self.may_be_echo(r, other)]
            if len(fitting) > 1:
                applied.contradicts = True
                return applied
            echo = fitting[0] if fitting else None
        if report.txn not in (None, r.txn) and (r.reversal or r.status == "succeeded" and r.txn is not None):
            applied.contradicts = True
            return applied
        if echo is not None:
            self.merge(r, echo, applied)
            r = self.refund(refund_id)
        if report.status == "succeeded":
            self.refund_made(r, report, applied)
            self.note_here_again(refund_id, applied)
        elif report.status in ("failed", "closed"):
            self.refund_not_made(r, report, applied)
            self.note_here_again(refund_id, applied)
        elif r.status in ("pending", "unknown"):
            to = "pending" if report.status == "processing" else report.status
            changes = {}
            if to in ("pending", "unknown") and to != r.status:
                changes["status"] = to
            if report.txn is not None and r.txn is None:
                changes["txn"] = report.txn
            if report.status != "not_found":
                self.end_task(refund_id, "refund")
            if changes:
                self.put(r, **changes)
                applied.changed = True
        return applied

    def may_be_echo(self, r, other):
        """The channel has told of it on its own, and may have meant ours."""
        return other.payment == r.payment and other.status == "succeeded" and other.reversal == "refund" and \
            self.knows_returns(self.payment(r.payment))

    def came_later(self, reversal, r):
        """Was the reversal recorded after the refund was asked for? The tables tell."""
        made = self.world.made_at
        return made.get(reversal.id, 0.0) >= made.get(r.id, 0.0)

    def was_asked_since(self, asked, born):
        if asked == born or asked[0] > born[1]:
            return True
        return asked[1] >= born[0] and self.choose()

    def merge(self, r, echo, applied):
        """Ours has succeeded, with what was told there, which is taken back."""
        self.lock_balance(r.payment)
        self.uncount_returned(echo)
        told = Report("succeeded", echo.txn, echo.returned, echo.currency)
        del self.s[("refund txn", echo.channel, echo.txn)]
        self.put(echo, status="merged", txn=None, returned=None)
        r = self.refund(r.id)
        if r.status == "awaiting_approval" and self.was_asked_since(r.asked, echo.born):
            # as long as the two were taken for two, too much seemed to go back
            r = self.put(r, status="pending")
        self.refund_made(r, told, applied)

    def refund_made(self, r, report, applied):
        amount = r.amount if report.amount is None else report.amount
        if r.status == "succeeded":
            self.fill_in_refund(r, report, applied)
            return
        if r.reversal and self.takes_rest(self.payment(r.payment), amount, r.currency):
            self.waive_rest(r.payment)
        self.put(r, status="succeeded", returned=amount, txn=report.txn or r.txn,
                 verified=report.amount is not None)
        self.end_task(r.id, "refund")
        applied.changed = True
        self.lock_balance(r.payment)
        self.count_returned(
            r.id, amount, r.amount if r.status in ("awaiting_approval", "pending", "unknown") else 0)
        self.refund_rest(r, amount)

    def refund_rest(self, r, returned):
        if self.payment(r.payment).status in ("succeeded", "surplus") and returned < r.amount:
            self.open_surplus_refund(r.payment, "awaiting_approval")

    def fill_in_refund(self, r, report, applied):
        other = report.amount not in (None, r.returned)
        if other and r.verified:
            applied.contradicts = True
            return
        changes = {}
        if report.txn is not None and r.txn is None:
            changes["txn"] = report.txn
        if report.amount is not None and not r.verified:
            changes["verified"] = True
        if other:
            self.lock_balance(r.payment)
            self.uncount_returned(r)
            changes["returned"] = report.amount
            self.count_returned(r.id, report.amount)
        if changes:
            self.put(self.refund(r.id), **changes)
            applied.changed = True
        if other:
            self.refund_rest(r, report.amount)

    def refund_not_made(self, r, report, applied):
        if r.status in ("failed", "waived"):
            return
        if r.status == "awaiting_approval":
            applied.contradicts = True
            return
        self.lock_balance(r.payment)
        if r.status == "succeeded":
            self.uncount_returned(r)
        else:
            self.add_refunding(r.payment, -r.amount)
        self.put(r, status="failed", returned=None, verified=False)
        self.end_task(r.id, "refund")
        applied.changed = True
        if self.payment(r.payment).status == "surplus" and r.reversal is None:
            self.open_surplus_refund(r.payment, "awaiting_approval")

    def note_here_again(self, refund_id, applied):
        """Money that had gone back is here again: of a reversal that pays its order again, of a refund it is owed."""
        r = self.refund(refund_id)
        p = self.payment(r.payment)
        if not applied.changed:
            return
        if r.reversal:
            if r.status == "failed" or p.status == "returned":
                self.is_here_again(p)
        elif p.status == "returned" and self.here(p) > 0:
            self.put(p, status="surplus")
            self.open_surplus_refund(p.id, "awaiting_approval")

    def here(self, p):
        b = self.lock_balance(p.id)
        return max(p.received - b.refunded - b.excess, 0)

    def is_here_again(self, p):
        if self.here(p) == 0:
            return
        if p.status == "returned":
            self.pay_again(p)
        elif p.status == "surplus":
            self.refund_what_is_here(p.id)

    def record_reversal(self, channel, reversal_id, txn, kind, amount, currency, time=None):
        p = self.charge(channel, txn)
        report = Report("succeeded", reversal_id, amount, currency, time=time)
        if p is None or self.misses():
            self.keep((channel, reversal_id, txn, kind, amount, time), Notice("unmatched", channel, txn, report, None, kind))
            return {"outcome": "recorded", "replayed": False, "amount": amount}
        refund_id, applied = self.reverse(p.id, kind, report)
        return self.answer_to_report(refund_id, applied)

    def record_reinstatement(self, channel, reversal_id, time=None):
        report = Report("succeeded", reversal_id, time=time)
        known = self.s.get(("refund txn", channel, reversal_id))
        if known is None or self.misses():
            self.keep((channel, reversal_id, "undone", time),
                      Notice("unmatched", channel, reversal_id, report, None, "reinstatement"))
            return {"outcome": "recorded", "replayed": False}
        return self.answer_to_report(known, self.reinstate(known, report))

    def reinstate(self, refund_id, report):
        applied = Applied()
        r = self.refund(refund_id)
        if r.reversal is None:
            applied.contradicts = True
            return applied
        if r.status == "reinstated" and report.time is not None and (r.undone is None or report.time > r.undone):
            self.put(r, undone=report.time)
            applied.changed = True
        if r.status != "succeeded" or (report.time is not None and r.time is not None and report.time < r.time):
            return applied
        if r.undone is not None and report.time is None:
            applied.contradicts = True
            return applied
        self.lock_balance(r.payment)
        self.uncount_returned(r)
        self.put(r, status="reinstated", returned=None, undone=report.time)
        applied.changed = True
        self.is_here_again(self.payment(r.payment))
        return applied

    def pay_again(self, p):
        """The money of a returned payment is here again: the first money wins."""
        order = self.order(p.order)
        enough = self.money(order, None, Report("succeeded", None, self.here(p), p.received_currency)) in ("fits", "more")
        pays = enough and self.wants_late(order, "accept") and not self.is_held(order)
        if not pays:
            self.put(p, status="surplus")
            self.refund_what_is_here(p.id)
            return
        if order.status == "paying":
            self.supersede(p.order)
        self.put(p, status="succeeded")
        self.change_order(p.order, status="paid", closing=None, payment=p.id)
        self.note_twin(p.order, True)
        if self.not_needed(self.payment(p.id)) > 0:
            self.refund_what_is_here(p.id)

    def charge(self, channel, txn):
        """The payment whose money came by a transaction."""
        p = self.payment(self.s.get(("txn", channel, txn)))
        while p is not None and p.status == "failed" and p.code == "same_charge" and p.second_of:
            p = self.payment(p.second_of)
        return p if p is not None and p.status in ("succeeded", "surplus", "returned") else None

    def reverse(self, payment_id, kind, report):
        p = self.payment(payment_id)
        applied = Applied()
        known = self.s.get(("refund txn", p.channel, report.txn))
        if known is not None:
            if self.refund(known).payment != payment_id:
                applied.contradicts = True
            elif self.refund(known).status == "reinstated":
                self.reverse_again(known, report, applied)
            elif self.refund(known).status == "failed" and self.refund(known).reversal not in (None, "refund") and self.knows_returns(p) and \
                    (report.time is None or self.refund(known).time is None or report.time <= self.refund(known).time):
                applied.contradicts = report.time is None or self.refund(known).time is None
            else:
                applied = self.refund_evidence(known, report)
                r = self.refund(known)
                if not applied.contradicts and r.reversal and r.status == "succeeded" and report.time is not None and \
                        (r.time is None or report.time > r.time):
                    self.put(r, time=report.time)
                    applied.changed = True
            return known, applied
        if kind == "refund":
            unnamed = [r for r in self.refunds_of(payment_id) if r.status == "succeeded" and r.reversal is None and
                       r.txn is None and r.returned == report.amount and r.channel == p.channel]
            if unnamed and self.knows_returns(p):
                if len(unnamed) == 1:
                    return unnamed[0].id, self.refund_evidence(unnamed[0].id, report)
                applied.contradicts = True
                return unnamed[-1].id, applied
        effect = self.effect(p, kind, report)
        if effect is not None:
            self.waive_rest(payment_id)
        refund_id = self.fresh(self.world.refund_of_txn, (p.channel, report.txn), "refund")
        self.insert_refund(refund_id, payment_id, None, report.amount, "succeeded", "channel", kind,
                           report.txn, report.currency, report.time)
        if effect == "reopens":
            self.take_back(self.payment(payment_id))
        applied.changed = True
        self.match_reinstatements(refund_id)
        return refund_id, applied

    def effect(self, p, kind, report):
        """What a reversal does beside being counted: its order is to be paid again, or surplus is settled."""
        if self.takes_rest(p, report.amount, report.currency):
            return "settles"
        b = self.lock_balance(p.id)
        if any(self.has_begun(r) for r in self.refunds_of(p.id)) or b.refunded or b.excess or \
                report.amount < p.received or report.currency != p.received_currency:
            return None
        order = self.order(p.order)
        if order.status == "paid" and order.payment == p.id and kind in REOPENS and self.knows_returns(p):
            return "reopens"
        return None

    def takes_rest(self, p, amount, currency):
        """Nothing of surplus money is here when this is back, too."""
        if p.status != "surplus" or currency != p.received_currency or \
                any(self.has_begun(r) and r.status != "succeeded" for r in self.refunds_of(p.id)):
            return False
        b = self.lock_balance(p.id)
        gone = b.refunded + b.excess
        return gone < p.received <= gone + amount

    def reverse_again(self, refund_id, report, applied):
        r = self.refund(refund_id)
        if report.time is not None and (report.time == r.time or (r.undone is not None and report.time <= r.undone)):
            return
        if report.time is None or r.undone is None:
            applied.contradicts = True
            return
        p = self.payment(r.payment)
        effect = self.effect(p, r.reversal, report)
        if effect is not None:
            self.waive_rest(p.id)
        self.put(r, status="succeeded", returned=report.amount, verified=True, time=report.time)
        self.lock_balance(p.id)
        self.count_returned(refund_id, report.amount)
        if effect == "reopens":
            self.take_back(self.payment(p.id))
        applied.changed = True

    def match_reinstatements(self, refund_id):
        """What undoes a reversal came before it."""
        r = self.refund(refund_id)
        for what, notice in list(self.s.items()):
            if what[0] == "notice" and notice.result == "unmatched" and notice.reversal == "reinstatement" and \
                    (notice.channel, notice.txn) == (r.channel, r.txn):
                if notice.until > self.now[0] and self.misses():
                    continue
                applied = self.reinstate(refund_id, notice.report)
                self.s[what] = Notice("contradicting" if applied.contradicts else "applied")

    def retry_refund(self, refund_id, boss):
        r = self.refund(refund_id)
        if r is None:
            raise Refused("PY403")
        if r.status != "failed" or r.origin == "channel":
            raise Refused("PY105")
        b = self.lock_balance(r.payment)
        if not 0 < r.amount <= b.received - b.refunding - b.refunded:
            raise Refused("PY504")
        if self.needs_second(r.currency, b.refunding + b.refunded + r.amount) and not boss and \
                self.s.get(("approval", refund_id)) != "approved":
            raise Refused("PY602")
        self.add_refunding(r.payment, r.amount)
        self.put(r, status="pending")
        self.make_due(refund_id, "refund")
        return self.refund_answer(refund_id, False)

    def waive_refund(self, refund_id):
        r = self.refund(refund_id)
        if r is None:
            raise Refused("PY403")
        if r.status == "waived":
            return self.refund_answer(refund_id, True)
        if r.status in ("reinstated", "merged") or (r.status != "failed" and self.has_begun(r)):
            raise Refused("PY105")
        if r.status in ("awaiting_approval", "pending", "unknown"):
            self.lock_balance(r.payment)
            self.add_refunding(r.payment, -r.amount)
        self.put(r, status="waived")
        self.end_task(refund_id, "refund")
        return self.refund_answer(refund_id, False)

    def decide_refund(self, refund_id, decision, boss):
        r = self.refund(refund_id)
        if r is None:
            raise Refused("PY403")
        known = self.s.get(("approval", refund_id))
        if r.status != "awaiting_approval" and known != decision:
            raise Refused("PY105")
        if not boss:
            raise Refused("PY602")
        if known == decision:
            return self.refund_answer(refund_id, True)
        self.s[("approval", refund_id)] = decision
        if decision == "rejected":
            self.lock_balance(r.payment)
            self.add_refunding(r.payment, -r.amount)
            self.put(r, status="waived")
        elif self.world.channels[r.channel].internal:
            self.put(r, status="succeeded", returned=r.amount, verified=True)
            self.lock_balance(r.payment)
            self.count_returned(refund_id, r.amount, r.amount)
        else:
            self.put(r, status="pending")
            self.make_due(refund_id, "refund")
        return self.refund_answer(refund_id, False)

    # -- messages

    def misses(self):
        """A message and the money that it is about may come in the same moment and not see each
        other: the message waits then until it is matched later (the end is checked for that)."""
        return self.choose()

    def keep(self, what, notice):
        self.s.setdefault(("notice", what), notice._replace(until=self.now[1]))

    def find_subject(self, channel, payment_id, refund_id, txn):
        """The kind and id of what a message is about; None: it is not known."""
        if refund_id is not None:
            return ("refund", refund_id) if self.refund(refund_id) else None
        if payment_id is not None:
            return ("payment", payment_id) if self.payment(payment_id) else None
        if txn is None:
            return None
        known = self.s.get(("txn", channel, txn))
        return ("payment", known) if known else None

    def record_notification(self, channel, event, payment_id, refund_id, *report):
        """The arguments of one event never change, so a message repeated brings nothing new."""
        if report[0] == GARBLED:
            return {"result": "unreadable", "outcome": "recorded"}
        report = self.read(*report)
        known = self.s.get(("notice", event))
        subject = self.find_subject(channel, payment_id, refund_id, report.txn)
        if subject is not None and self.misses():
            subject = None
        if known is not None and (known.result != "unmatched" or subject is None):
            return {"result": "duplicate", "replayed": True}
        if subject is None:
            self.keep(event, Notice("unmatched", channel,
                                    report.txn if payment_id is None and refund_id is None else None,
                                    report, payment=None if refund_id else payment_id, refund=refund_id))
            return {"result": "unmatched", "outcome": "recorded", "replayed": False}
        applied = self.apply_message(channel, subject, report)
        about = self.payment(subject[1]) if subject[0] == "payment" else self.refund(subject[1])
        self.s[("notice", event)] = Notice("contradicting" if applied.contradicts else "applied")
        answer = {"result": "applied", "replayed": not known and not applied.changed and
                  not applied.contradicts, "order_id": about.order}
        if applied.contradicts:
            answer["result"] = "contradicting"
        return answer

    def apply_message(self, channel, subject, report):
        """channel: None where a report has none."""
        applied = Applied()
        about = self.payment(subject[1]) if subject[0] == "payment" else self.refund(subject[1])
        if channel not in (None, about.channel):
            applied.contradicts = True
        elif report.status is None:
            applied.changed = True
        elif subject[0] == "payment":
            self.evidence(subject[1], report, applied)
        else:
            applied = self.refund_evidence(subject[1], report)
        return applied

    def match_notices(self, payment_id, known_now):
        """The messages that waited for this payment's transaction."""
        p = self.payment(payment_id)
        if not known_now or p.txn is None:
            return
        waiting = [what[1] for what, notice in self.s.items() if what[0] == "notice" and
                   (notice.result, notice.channel, notice.txn) == ("unmatched", p.channel, p.txn) and
                   notice.order in (None, p.order)]
        received = self.world.received
        if len(waiting) > 1 and not all(what in received for what in waiting):
            raise Impossible("a message that was not kept")
        for what in sorted(waiting, key=received.get):
            notice = self.s[("notice", what)]
            if notice.result != "unmatched" or (notice.until > self.now[0] and self.misses()):
                continue        # a message before it has matched it, too
            if notice.reversal == "reinstatement" or (
                    notice.reversal and self.payment(payment_id).status not in ("succeeded", "surplus", "returned")):
                continue
            self.s[("notice", what)] = Notice("applied")
            if notice.report.status is None:
                continue
            if notice.reversal:
                _, applied = self.reverse(payment_id, notice.reversal, notice.report)
            else:
                applied = self.evidence(payment_id, notice.report)
            if applied.contradicts:
                self.s[("notice", what)] = Notice("contradicting")

    def subject_of(self, notice):
        """The kind and id of what a waiting message is about; None: it is still not known."""
        if notice.order:
            return ("order", notice.order) if self.order(notice.order) else None
        if notice.reversal == "reinstatement":
            known = self.s.get(("refund txn", notice.channel, notice.txn))
            return ("reversal", known) if known else None
        if notice.reversal:
            charge = self.charge(notice.channel, notice.txn)
            return ("charge", charge.id) if charge else None
        return self.find_subject(notice.channel, notice.payment, notice.refund, notice.txn)

    def match_notice(self, what):
        """Time passes: match_notifications() has come to a message that waits."""
        notice = self.s[("notice", what)]
        kind, known = self.subject_of(notice)
        if kind == "order":
            _, applied = self.apply_record(known, notice.channel, notice.report)
        elif kind == "reversal":
            applied = self.reinstate(known, notice.report)
        elif kind == "charge":
            _, applied = self.reverse(known, notice.reversal, notice.report)
        else:
            applied = self.apply_message(notice.channel, (kind, known), notice.report)
        self.s[("notice", what)] = Notice("contradicting" if applied.contradicts else "applied")
        return {}

    # -- the queue

    def make_due(self, subject, kind, again=False):
        task = self.s.get(("task", subject, kind))
        self.s[("task", subject, kind)] = \
            task._replace(due=task.due + 1, dead=False) if task else Task(again=again)

    def claim_tasks(self, rows):
        """Any tasks that could be claimed: which, the answer tells."""
        for row in rows:
            lease = self.s.get(("lease", row["order_id"]))
            if lease is not None:
                raise Impossible()
            subject = row["refund_id"] or row["payment_id"]
            due = None
            if row["kind"] in TRACKED:
                task = self.s.get(("task", subject, row["kind"]))
                if task is None or task.dead or task.id not in (None, row["task_id"]) or \
                        ("ended", row["task_id"]) in self.s:
                    raise Impossible()
                task = task._replace(id=row["task_id"], sent=True, tries=task.tries + 1)
                if row["tries"] != task.tries:
                    raise Impossible()
                self.s[("task", subject, row["kind"])] = task
                due = task.due
            about = self.refund(row["refund_id"]) if row["refund_id"] else \
                self.payment(row["payment_id"])
            amount = about and (about.asked if row["kind"] == "capture" else about.amount)
            if about is None or (about.order, about.channel, amount, about.currency) != (
                    row["order_id"], row["channel"], row["amount"], row["currency"]):
                raise Impossible()
            if row["kind"] == "capture":
                self.claim_capture(about, row["capture_id"])
            if row["kind"] == "charge" and (self.order(about.order).closing or
                                            about.status not in ("pending", "unknown")):
                raise Impossible()
            self.s[("lease", row["order_id"])] = Lease(row["task_id"], row["lease_token"], row["leased_until"], due,
                                                       about if row["kind"] in ("query", "close") else None)
        return rows

    def claim_capture(self, p, capture_id):
        """A capture has the same id as long as its outcome is not known, and each its own."""
        if p.status != "capturing" or self.order(p.order).closing or p.taking > p.authorized:
            raise Impossible()
        *before, last = self.s[("captures", p.id)]
        if capture_id in before or last not in (None, capture_id):
            raise Impossible()
        self.s[("captures", p.id)] = (*before, capture_id)

    def lose_lease(self, order_id):
        """Time passes: a worker has not answered."""
        lease = self.s.get(("lease", order_id))
        if lease is None or not self.passed(lease.until):
            raise Impossible()
        del self.s[("lease", order_id)]
        kind, _, payment_id, refund_id = self.world.tasks[lease.task]
        task = self.s.get(("task", refund_id or payment_id, kind))
        if task is not None and task.id == lease.task:
            self.end_task(refund_id or payment_id, kind)
            if kind == "charge":
                self.evidence(payment_id, Report("unknown"))
            elif kind == "refund":
                self.refund_evidence(refund_id, Report("unknown"))
        return {}

    def holds(self, order_id, task_id, token):
        lease = self.s.get(("lease", order_id))
        return lease is not None and (lease.task, lease.token) == (task_id, token) and \
            not self.passed(lease.until)

    def complete_task(self, task_id, token, *report):
        if task_id not in self.world.tasks:
            return {"outcome": "recorded", "replayed": False}
        garbled = report[0] == GARBLED
        report = Report("unknown") if garbled else self.read(*report)
        kind, order_id, payment_id, refund_id = self.world.tasks[task_id]
        subject = refund_id or payment_id
        held = self.holds(order_id, task_id, token)
        ended = self.s.get(("ended", task_id))
        repeated = bool(ended and ended[0] == token)
        if refund_id:
            applied = self.refund_evidence(refund_id, report)
            r = self.refund(refund_id)
            if kind == "query_refund" and report.status == "not_found" and \
                    self.world.channels[r.channel].idempotent and r.status in ("pending", "unknown"):
                self.make_due(refund_id, "refund", again=True)
            answer = {"outcome": r.status, "payment_id": payment_id, "amount": r.amount}
        else:
            applied = self.evidence(payment_id, report, fresh=held and self.asks_anew(task_id, report),
                                    queried=kind == "query")
            if kind == "query" and report.status == "not_found":
                self.charge_again(payment_id)
            answer = {"outcome": self.result(payment_id, False)["outcome"],
                      "payment_id": payment_id,
                      "payment_status": self.payment(payment_id).status}
        if garbled:
            applied.contradicts = True
        if applied.contradicts:
            answer["outcome"] = "recorded"
        order = self.order(order_id)
        answer.update(order_id=order_id, order_status=order.status, version=order.version)
        if held:
            lease = self.s.pop(("lease", order_id))
            task = self.s.get(("task", subject, kind))
            if kind not in TRACKED:
                self.s[("ended", task_id)] = (token, answer["outcome"], "perhaps")
            elif task is None or task.id != task_id:    # the next one, after a retry
                self.s[("ended", task_id)] = (token, answer["outcome"])
            elif task.due == lease.due or kind in ("charge", "capture"):   # what was sent is not sent again
                self.end_task(subject, kind, token, answer["outcome"])
        if repeated:
            answer["outcome"] = ended[1]
            if len(ended) == 3:
                answer["outcome"] = (ended[1], "lease_lost", "recorded")
                return answer
        elif not held and not applied.contradicts:
            answer["outcome"] = "lease_lost"
        answer["replayed"] = repeated or (not applied.changed and not applied.contradicts and
                                          not held)
        return answer

    def asks_anew(self, task_id, report):
        """May what a worker says, which holds a task, take back what is known?"""
        kind, order_id, payment_id, _ = self.world.tasks[task_id]
        lease, p = self.s[("lease", order_id)], self.payment(payment_id)
        if kind in TRACKED:
            task = self.s.get(("task", payment_id, kind))
            return kind == "capture" and task is not None and (task.id, task.due) == (task_id, lease.due)
        # one that something else has made due since, or ended, is not taken for fresh either
        states = {"pending": ("failed", "processing"), "processing": ("failed", "processing"),
                  "authorized": ("failed", "authorized", "capturing")}
        return lease.asked == p and p.status in states.get(report.status, ()) and self.choose()

    def complete_tasks(self, answers):
        return [self.complete_task(*answer) for answer in answers]

    def may_charge(self, p):
        return self.order(p.order).closing is None and p.status in ("pending", "unknown") and p.code != "revived"

    def charge_again(self, payment_id):
        p = self.payment(payment_id)
        if self.world.channels[p.channel].idempotent and self.may_charge(p) and p.kind == "request":
            self.make_due(payment_id, "charge", again=True)

    def lock_leased(self, task_id, token):
        if task_id not in self.world.tasks:
            raise Refused("PY404")
        subject = self.world.tasks[task_id]
        if not self.holds(subject[1], task_id, token):
            raise Refused("PY701")
        task = self.s.get(("task", subject[3] or subject[2], subject[0]))
        if subject[0] not in TRACKED:
            if self.choose():
                raise Refused("PY701")          # something has ended it
        elif task is None or task.id != task_id:
            raise Refused("PY701")
        return subject

    def retry_task(self, task_id, token):
        kind, order_id, payment_id, refund_id = self.lock_leased(task_id, token)
        subject = refund_id or payment_id
        task = self.s.get(("task", subject, kind))
        del self.s[("lease", order_id)]
        if kind == "charge" and not (self.may_charge(self.payment(payment_id)) and
                                     (task.again or task.tries < MAX_TRIES)):
            if task.again:
                self.end_task(payment_id, "charge")
            else:
                self.evidence(payment_id, Report("failed", code="not_sent"))
        elif kind == "capture" and not (self.order(order_id).closing is None and
                                        self.payment(payment_id).status == "capturing"):
            self.end_task(payment_id, "capture")
            if self.payment(payment_id).status == "capturing":
                self.put(self.payment(payment_id), status="closing")
        elif kind in TRACKED:
            self.s[("task", subject, kind)] = task._replace(
                sent=False, due=task.due + 1, dead=kind != "charge" and task.tries >= MAX_TRIES)
        return {"task_id": task_id}

    def requeue_task(self, task_id):
        kind, _, payment_id, refund_id = self.world.tasks[task_id]
        what = ("task", refund_id or payment_id, kind)
        task = self.s.get(what)
        if task is None or task.id != task_id:
            raise Refused("PY404")
        self.s[what] = task._replace(due=task.due + 1, dead=False, tries=min(task.tries, 1))
        return {"task_id": task_id}

    def extend_lease(self, task_id, token):
        order_id = self.lock_leased(task_id, token)[1]
        lease = self.s[("lease", order_id)]
        self.s[("lease", order_id)] = lease._replace(until=float("inf"))    # by an hour
        return {}

    # -- a guarded table

    def sale_row(self, row):
        return {"status": row.status, "version": row.version} if row else {"status": None}

    def check_once(self, sale_id, order_id):
        if any(what[0] == "sale" and row.id != sale_id and row.order == order_id and row.status in SALE_PAID
               for what, row in self.s.items()):
            raise Refused("sales_payguard_once")

    def sale_insert(self, sale_id, order_id, status):
        if ("sale", sale_id) in self.s:
            if status in SALE_PAID and self.choose():
                self.check_once(sale_id, order_id)      # which one is told first is nobody's business
            raise Refused("sales_pkey")
        if status in SALE_PAID:
            self.check_once(sale_id, order_id)
        if status != "new":
            raise Refused("payguard_initial")
        return self.sale_row(self.put(Sale(sale_id, order_id, status)))

    def sale_update(self, step, status, sale_id):
        row = self.s.get(("sale", sale_id))
        if row is None:
            return self.sale_row(row)
        enters = status in SALE_PAID and row.status not in SALE_PAID
        if enters:
            self.check_once(sale_id, row.order)
        order = self.order(row.order)
        paid = order is not None and (order.status == "paid" or (
            # it locks no order: who refunds it in the same moment may be seen by others before this row
            order.status == "refunded" and self.s.get(("went back", order.id), 0.0) > self.now[0] and self.misses()))
        broken = [name for name, is_broken in [
            ("payguard_transition", status not in (row.status, *SALE_MOVES[row.status])),
            ("payguard_version", step != 1),
            ("payguard_unpaid", enters and not paid)] if is_broken]
        for name in broken:         # which one is told first is nobody's business
            if name == broken[-1] or self.choose():
                raise Refused(name)
        return self.sale_row(self.put(row, status=status, version=row.version + 1))

    def sale_delete(self, sale_id):
        row = self.s.get(("sale", sale_id))
        if row is not None:
            if row.status != "void":
                raise Refused("payguard_delete")
            del self.s[("sale", sale_id)]
        return self.sale_row(row)

    def sale_read(self, sale_id):
        return self.sale_row(self.s.get(("sale", sale_id)))

    # -- direct writes

    def attack(self, statement):
        raise Refused("PY901")


def outcomes(world, state, method, args, now):
    """Run a call on a copy of the state: yields (answer or Refused, new state), once for each way
    to decide what the model leaves open."""
    ways = [()]
    while ways:
        choices = ways.pop()
        copy = dict(state)
        model = Model(world, copy, now, choices)
        try:
            answer = getattr(model, method)(*args)
        except Refused as refused:
            answer, copy = refused, state
        except Impossible as impossible:
            answer = None
            world.impossible = str(impossible)
        ways += [choices + (False,) * n + (True,) for n in range(model.asked - len(choices))]
        if answer is not None:
            yield answer, copy
