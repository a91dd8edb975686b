"""Two payment channels behind one HTTP server, each with books of its own.

A channel charges once for one payment_id, however often it is asked. Apart from that it does
what channels do: it times out before and after charging, answers failed and charges later,
charges twice, charges another amount, names one charge in two ways, settles slowly, goes on with
what it has called failed, gives money back on its own, takes that back, announces a refund that it
was asked for as if it were its own, and repeats, delays, reorders and loses its webhooks. Where it is to
reserve money it reserves less, lets it lapse or a part of it, takes it at once; a capture it refuses, makes late, or takes
all instead of a part. A capture_id is decided once; beta captures as often as it is asked, up to 115 percent
of what was reserved. What it does is drawn from a seeded
generator. Its books say what really happened: every charge, every refund, and what captures it was asked for.

    /<channel>/charge         payment_id, order_id, amount, currency, capture
    /<channel>/capture        payment_id, capture_id, amount
    /<channel>/query          payment_id
    /<channel>/close          payment_id
    /<channel>/told           payment_id: the answer that it is closed has got through
    /<channel>/refund         refund_id, txn, amount, currency
    /<channel>/query_refund   refund_id
    /<channel>/name           txn → the name under which the charge is in the books
    /calm                     no more faults
    /books                    charges, refunds, names, faults and what is still to come
    /log                      (order, begin, end) of every call, where calls are slow
"""

import asyncio
import collections
import math
import random
import signal
import time
from datetime import datetime, timezone

import wire

NAMES = ("alpha", "beta")

# What may go wrong with a charge, and how often relative to the others.
CHARGE_FAULTS = {
    "timeout_before_charging": 5,
    "timeout_after_charging": 8,
    "late_success": 5,
    "wrong_amount": 2,
    "wrong_currency": 1,
    "not_found_yet": 4,
    "settles_slowly": 5,
    "goes_on": 3,
    "chargeback": 2,
    "bank_return": 3,
    "dispute_won": 3,
    "second_charge": 3,
    "second_name": 2,
    "console_refund": 2,
    "given_back_unseen": 2,
    "console_charge": 2,
    "amount_left_out": 3,
    "spurious_failure": 2,
    "authorized_first": 3,
}
# ... with money that is to be reserved, and with a capture of it
AUTHORIZE_FAULTS = {
    "timeout_before_charging": 5,
    "timeout_after_charging": 8,
    "not_found_yet": 4,
    "settles_slowly": 5,
    "late_authorization": 4,
    "authorized_less": 8,
    "lapses": 8,
    "part_lapses": 6,
    "taken_at_once": 3,
    "console_charge": 3,
}
CAPTURE_FAULTS = {
    "timeout_before": 4,
    "timeout_after": 6,
    "capture_late": 4,
    "capture_refused": 5,
    "capture_settles": 4,
    "capture_fails": 2,
    "captures_all": 3,
    "amount_left_out": 3,
    "chargeback": 1,
}
FAULTS = {"charge": CHARGE_FAULTS, "authorize": AUTHORIZE_FAULTS, "capture": CAPTURE_FAULTS}
ANSWER_FAULTS = {"timeout_before": 2, "timeout_after": 2, "not_found_yet": 1, "says_unknown": 1}
REFUND_FAULTS = {
    "timeout_before": 2,
    "timeout_after": 2,
    "refund_fails_later": 2,
    "refund_succeeds_later": 2,
    "refund_declined": 1,
    "echo": 2,
    "echo_and_no_answer": 2,
}
WEBHOOK_FAULTS = {
    "duplicate_webhook": 4,
    "late_webhook": 3,
    "reordered_webhook": 3,
    "lost_webhook": 3,
    "webhook_without_payment_id": 2,
    "webhook_without_amount": 2,
    "webhook_without_status": 1,
}
SILENCE = 2  # seconds; how long a slow channel leaves a caller waiting


class Channel:
    """One channel: its books, its faults, its webhooks."""

    def __init__(self, name, seed, fault_rate, pusher, kinds):
        self.name = name
        self.random = random.Random(f"{seed}/{name}")
        self.fault_rate = fault_rate
        self.kinds = kinds
        self.pusher = pusher  # None: it sends no webhooks
        self.trades = {}  # by payment_id
        self.charges = {}  # by transaction
        self.refunds = {}  # by refund_id, or by their own id where the channel began them
        self.names = {}  # second name → transaction
        self.faults = collections.Counter()
        self.calls = collections.Counter()
        self.scheduled = 0
        self.last_id = 0
        self.last_time = 0  # the channel's clock

    # faults and time

    def fault(self, kinds):
        """Draws a fault, or None."""
        if self.random.random() >= self.fault_rate:
            return None
        kind = self.random.choices(list(kinds), kinds.values())[0]
        self.faults[kind] += 1
        return kind

    def later(self, low, high, action, *args):
        def run():
            self.scheduled -= 1
            action(*args)

        self.scheduled += 1
        asyncio.get_running_loop().call_later(self.random.uniform(low, high), run)

    def new_id(self, prefix):
        self.last_id += 1
        return f"{self.name}-{prefix}{self.last_id:06}"

    def tick(self):
        """The channel's time, in seconds."""
        self.last_time += 1
        return self.last_time

    # webhooks

    def webhook(self, message, about=None):
        """Pushes a message, or does not; about: the line in the books that it tells of."""
        if self.pusher is None:
            return
        message = dict(message, channel=self.name, event_id=self.new_id("event"))
        fault = self.fault(WEBHOOK_FAULTS)
        delay = self.random.uniform(0, 0.005)
        if fault == "lost_webhook":
            return
        if fault == "late_webhook":
            delay = self.random.uniform(0.1, 0.5)
        elif fault == "reordered_webhook":
            delay = self.random.uniform(0.01, 0.06)
        elif fault == "webhook_without_payment_id" and message.get("txn"):
            message.pop("payment_id", None)
        elif fault == "webhook_without_amount":
            # that less is reserved than was asked for is always said
            if message["about"] == "payment" and message.get("payment_id") and not message.get("less"):
                message.pop("amount", None)
                message.pop("currency", None)
        elif fault == "webhook_without_status" and message["about"] == "payment":
            if message.get("payment_id"):
                message.pop("status", None)
        elif fault == "duplicate_webhook":
            for _ in range(self.random.randint(1, 3)):
                self.pusher.push(message, self.random.choice((0, 0.001, 0.1)))
        if about and message["about"] == "reinstatement":
            about["told_back"] = True
        elif about and (message["about"] != "payment"
                      or ("payment_id" in message and "status" in message)):
            about["told"] = True
        self.pusher.push(message, delay)

    def payment_webhook(self, trade, status, charge=None, txn=None):
        message = {"about": "payment", "payment_id": trade["payment_id"],
                   "order_id": trade["order_id"], "status": status}
        if status == "authorized":
            message.update(self.reserved(trade))
        if charge:
            message.update(txn=txn or charge["txn"], amount=charge["amount"],
                           currency=charge["currency"])
        self.webhook(message, charge)

    def refund_webhook(self, refund):
        if refund["kind"] == "asked" and not refund.get("echo"):
            self.webhook({"about": "refund", "refund_id": refund["refund_id"],
                          "status": refund["state"], "txn": refund["channel_refund_id"],
                          "amount": refund["amount"], "currency": refund["currency"]},
                         refund)
        else:
            self.webhook({"about": "reversal",
                          "kind": "refund" if refund["kind"] == "asked" else refund["kind"],
                          "reversal_id": refund["channel_refund_id"], "txn": refund["txn"],
                          "amount": refund["amount"], "currency": refund["currency"],
                          "time": refund.get("time")}, refund)

    # money in

    def take(self, trade, amount=None, currency=None, silent=False):
        """Takes the customer's money."""
        # alpha calls it as it has called the authorization
        named = self.name == "alpha" and trade["authorization"] not in self.charges
        charge = {"txn": named and trade["authorization"] or self.new_id("txn"), "payment_id": trade["payment_id"],
                  "order_id": trade["order_id"],
                  "amount": trade["amount"] if amount is None else amount,
                  "currency": currency or trade["currency"]}
        self.charges[charge["txn"]] = charge
        trade["charges"].append(charge)
        trade["state"] = "charged"
        if not silent:
            self.payment_webhook(trade, "succeeded", charge)
        return charge

    def succeed(self, trade):
        """Takes the money, or reserves it where it is to be captured."""
        if trade["manual"]:
            self.reserve(trade)
        else:
            self.take(trade)

    def succeed_later(self, trade, while_state):
        if trade["state"] == while_state:
            self.succeed(trade)

    def process(self, trade, while_state):
        """The customer has done it all, and the channel settles."""
        if trade["state"] != while_state:
            return
        trade["state"] = "processing"
        self.payment_webhook(trade, "processing")
        self.later(0.02, 0.4, self.settle, trade)

    def settle(self, trade):
        """It may be the customer's turn once more, before it succeeds or fails."""
        if trade["state"] != "processing":
            return
        if self.random.random() < 0.2:
            trade["state"] = "pending"
            self.payment_webhook(trade, "pending")
            self.later(0.01, 0.15, self.complete, trade)
        elif self.random.random() < 0.8:
            self.succeed(trade)
        else:
            trade["state"] = "failed"
            self.payment_webhook(trade, "failed")

    def complete(self, trade):
        """A customer completes, or leaves, what was pending."""
        if trade["state"] != "pending":
            return
        if self.random.random() < 0.2:
            self.process(trade, "pending")
        elif self.random.random() < 0.8:
            self.succeed(trade)
        else:
            trade["state"] = "failed"
            self.payment_webhook(trade, "failed")

    def second_charge(self, trade):
        amount = trade["amount"] + self.random.choice((0, 0, 7))
        self.take(trade, amount)

    def second_name(self, trade):
        charge = trade["charges"][0]
        name = charge["txn"] + "-b"
        self.names[name] = charge["txn"]
        self.payment_webhook(trade, "succeeded", charge, name)

    def console_charge(self, trade):
        """Somebody at the shop charges by hand, without an attempt."""
        charge = {"txn": self.new_id("txn"), "payment_id": None, "order_id": trade["order_id"],
                  "amount": trade["amount"], "currency": trade["currency"]}
        self.charges[charge["txn"]] = charge
        self.webhook({"about": "console", "order_id": trade["order_id"], "txn": charge["txn"],
                      "amount": charge["amount"], "currency": charge["currency"]}, charge)

    def answer(self, trade):
        """What the channel says of a trade."""
        if trade["state"] == "charged":
            charges = [{key: charge[key] for key in ("txn", "amount", "currency")}
                       for charge in trade["charges"]]
            return dict(charges[0], status="succeeded", more=charges[1:])
        if trade["state"] == "hidden":
            return {"status": "not_found"}
        if trade["state"] == "authorized":
            return dict(self.reserved(trade), status="authorized")
        return {"status": trade["state"]}

    def open(self, request, state):
        trade = {key: request[key] for key in ("payment_id", "order_id", "amount", "currency")}
        trade.update(state=state, charges=[], manual=request.get("capture") == "manual", captures={},
                     authorization=None, authorized=0, most=0, voided=False, told=math.inf)
        self.trades[trade["payment_id"]] = trade
        return trade

    def charge(self, request):
        trade = self.trades.get(request["payment_id"]) or self.open(request, "new")
        if trade["state"] != "new":
            return self.answer(trade)
        if trade["manual"]:
            return self.authorize(trade)
        fault = self.fault(self.kinds["charge"])
        if fault == "timeout_before_charging":
            return None
        if fault == "late_success":
            trade["state"] = "failed"
            self.payment_webhook(trade, "failed")
            self.later(0.02, 0.4, self.take, trade)
            return self.answer(trade)
        if fault == "settles_slowly":
            self.process(trade, "new")
            return self.answer(trade)
        if fault == "goes_on":
            trade["state"] = "failed"
            self.payment_webhook(trade, "failed")
            self.later(0.02, 0.3, self.process, trade, "failed")
            return self.answer(trade)
        if fault == "authorized_first":
            self.reserve(trade)
            self.later(0.02, 0.3, self.succeed_later, trade, "authorized")
            return self.answer(trade)
        if fault == "not_found_yet":
            trade["state"] = "hidden"
            self.later(0.02, 0.5, self.succeed_later, trade, "hidden")
            return {"status": "pending"}
        if fault == "wrong_amount":
            self.take(trade, max(1, trade["amount"] + self.random.choice((-3, 5, 100))))
            return self.answer(trade)
        if fault == "wrong_currency":
            self.take(trade, None, "CHF")
            return self.answer(trade)
        if fault is None and self.random.random() < 0.1:
            trade["state"] = "failed"
            self.payment_webhook(trade, "failed")
            return dict(self.answer(trade), code="declined")
        if fault is None and self.random.random() < 0.1:
            trade["state"] = "pending"
            self.later(0.01, 0.15, self.complete, trade)
            return self.answer(trade)
        if fault == "given_back_unseen":
            charge = self.take(trade, silent=True)
            self.later(0, 0.01, self.give_back, charge,
                       self.random.choice(("chargeback", "refund")))
            return None
        charge = self.take(trade)
        if fault == "timeout_after_charging":
            return None
        if fault == "second_charge":
            self.later(0, 0.1, self.second_charge, trade)
        elif fault == "second_name":
            self.later(0, 0.1, self.second_name, trade)
        elif fault == "console_charge":
            self.later(0, 0.1, self.console_charge, trade)
        elif fault in ("chargeback", "bank_return"):
            self.later(0.01, 0.2, self.give_back, charge, fault)
        elif fault == "dispute_won":
            self.later(0.01, 0.2, self.give_back, charge,
                       self.random.choice(("chargeback", "bank_return")), True)
        elif fault == "console_refund":
            self.later(0.01, 0.2, self.give_back, charge, "refund")
        elif fault == "spurious_failure":
            self.payment_webhook(trade, "failed")
        elif fault == "amount_left_out":
            return {"status": "succeeded", "txn": charge["txn"], "more": []}
        return self.answer(trade)

    def query(self, request):
        fault = self.fault(ANSWER_FAULTS)
        if fault in ("timeout_before", "timeout_after"):
            return None
        trade = self.trades.get(request["payment_id"])
        if fault == "says_unknown":
            return {"status": "unknown"}
        if fault == "not_found_yet" or trade is None or trade["state"] == "new":
            return {"status": "not_found"}
        return self.answer(trade)

    def close(self, request):
        fault = self.fault(ANSWER_FAULTS)
        if fault == "timeout_before":
            return None
        trade = self.trades.get(request["payment_id"])
        if trade is None:
            # beta knows nothing of it, and will charge when it is asked later
            if self.name == "beta":
                return {"status": "not_found"}
            return self.answer(self.open(request, "closed"))
        if trade["state"] == "authorized" and fault == "says_unknown":
            return self.answer(trade)
        if trade["state"] in ("new", "pending", "authorized"):
            trade["voided"] = trade["state"] == "authorized"
            trade["state"] = "closed"
            self.payment_webhook(trade, "closed")
        if fault == "timeout_after":
            return None
        return self.answer(trade)

    # money that is reserved, and taken later

    def reserved(self, trade):
        return {"txn": trade["authorization"], "amount": trade["authorized"], "currency": trade["currency"],
                "capture_before": trade["capture_before"], "less": trade["authorized"] < trade["amount"]}

    def reserve(self, trade, amount=None, lapses_in=None):
        trade["authorization"] = self.new_id("txn")
        trade["authorized"] = trade["most"] = amount or trade["amount"]
        trade["capture_before"] = datetime.fromtimestamp(time.time() + (lapses_in or 3600), timezone.utc).isoformat()
        trade["state"] = "authorized"
        self.payment_webhook(trade, "authorized")
        if lapses_in:
            self.later(lapses_in, lapses_in, self.lapse, trade)

    def lapse(self, trade):
        """The shop has not come for the money in time."""
        if trade["state"] == "authorized":
            trade["state"] = "closed"
            self.payment_webhook(trade, "closed")

    def lapse_in_part(self, trade):
        """It holds less by now, and says so when it is asked, or by a webhook that may get lost."""
        if trade["state"] == "authorized":
            trade["authorized"] = max(1, trade["authorized"] // 2)
            self.payment_webhook(trade, "authorized")

    def authorize(self, trade):
        """A charge whose money is to be captured."""
        fault = self.fault(self.kinds["authorize"])
        if fault == "timeout_before_charging":
            return None
        if fault == "not_found_yet":
            trade["state"] = "hidden"
            self.later(0.02, 0.5, self.succeed_later, trade, "hidden")
            return {"status": "pending"}
        if fault == "settles_slowly":
            self.process(trade, "new")
            return self.answer(trade)
        if fault == "late_authorization":
            trade["state"] = "failed"
            self.payment_webhook(trade, "failed")
            self.later(0.02, 0.3, self.succeed_later, trade, "failed")
            return self.answer(trade)
        if fault == "taken_at_once":
            self.take(trade)
            return self.answer(trade)
        if fault is None and self.random.random() < 0.1:
            trade["state"] = "failed"
            self.payment_webhook(trade, "failed")
            return dict(self.answer(trade), code="declined")
        if fault is None and self.random.random() < 0.1:
            trade["state"] = "pending"
            self.later(0.01, 0.15, self.complete, trade)
            return self.answer(trade)
        self.reserve(trade, max(1, trade["amount"] * 2 // 3) if fault == "authorized_less" else None,
                     self.random.uniform(0.05, 0.5) if fault == "lapses" else None)
        if fault == "console_charge":
            self.later(0, 0.2, self.console_charge, trade)
        if fault == "part_lapses":
            self.later(0.02, 0.3, self.lapse_in_part, trade)
        return None if fault == "timeout_after_charging" else self.answer(trade)

    def capture(self, request):
        """A capture_id is decided once; what is still to be decided is decided by whatever comes first."""
        trade = self.trades[request["payment_id"]]
        capture = trade["captures"].setdefault(request["capture_id"], {
            "amount": request["amount"], "requests": [], "decided": False,
            "after_void": made_at(request["capture_id"]) > trade["told"]})
        capture["requests"].append(request["amount"])
        fault = None if capture["decided"] else self.fault(self.kinds["capture"])
        if fault == "timeout_before":
            return None
        if fault == "capture_late":
            self.later(0.02, 0.4, self.decide_capture, trade, capture)
            return None
        self.decide_capture(trade, capture, fault)
        if fault == "timeout_after":
            return None
        answer = self.answer(trade)
        if fault == "amount_left_out" and answer["status"] == "succeeded" and answer["amount"] == capture["amount"]:
            return {"status": "succeeded", "txn": answer["txn"]}
        return answer

    def decide_capture(self, trade, capture, fault=None):
        if capture["decided"]:
            return
        capture["decided"] = True
        if fault == "capture_refused":
            return
        if fault == "capture_settles" and trade["state"] == "authorized":
            trade["state"] = "processing"
            self.later(0.02, 0.3, self.settle_capture, trade, capture)
        elif fault == "capture_fails" and trade["state"] == "authorized":
            trade["state"] = "failed"
            self.payment_webhook(trade, "failed")
        else:
            self.make_capture(trade, capture, fault)

    def settle_capture(self, trade, capture):
        """It is made, or is not, and the money stays reserved."""
        trade["state"] = "authorized"
        if self.random.random() < 0.7:
            self.make_capture(trade, capture)
        else:
            self.payment_webhook(trade, "authorized")

    def make_capture(self, trade, capture, fault=None):
        left = trade["authorized"]
        if self.name == "beta":
            left = left * 115 // 100 - sum(charge["amount"] for charge in trade["charges"])
        elif trade["state"] == "charged":
            left = 0
        if trade["state"] not in ("authorized", "charged") or capture["amount"] > left:
            return
        if fault == "captures_all":
            self.take(trade, max(trade["authorized"], capture["amount"]))
            return
        charge = self.take(trade, capture["amount"])
        if fault == "chargeback":
            self.later(0.01, 0.2, self.give_back, charge, fault)

    def told(self, request):
        """The shop knows that its money is given up."""
        self.trades[request["payment_id"]]["told"] = time.time()
        return {}

    # money back

    def room(self, charge):
        """What of a charge may still go back."""
        return charge["amount"] - sum(
            refund["amount"] for refund in self.refunds.values()
            if refund["txn"] == charge["txn"] and refund["state"] not in ("failed", "reinstated"))

    def give_back(self, charge, kind, won=False):
        """A refund at the console of a part, or a chargeback or bank return of all. won: the shop gets it again."""
        amount = max(1, charge["amount"] // 2) if kind == "refund" else charge["amount"]
        if kind == "refund" and amount > self.room(charge):
            return
        reversal = {"refund_id": None, "channel_refund_id": self.new_id("reversal"),
                    "txn": charge["txn"], "amount": amount, "currency": charge["currency"],
                    "state": "succeeded", "kind": kind, "time": self.tick()}
        self.refunds[reversal["channel_refund_id"]] = reversal
        self.refund_webhook(reversal)
        if won:
            self.later(0.005, 0.3, self.reinstate, reversal)

    def reinstate(self, reversal):
        """The shop gets the money again; now and then it loses it once more."""
        reversal.update(state="reinstated", back=self.tick())
        self.webhook({"about": "reinstatement", "reversal_id": reversal["channel_refund_id"],
                      "time": reversal["back"]}, reversal)
        if self.random.random() < 0.3:
            self.later(0.005, 0.2, self.lose_again, reversal)

    def lose_again(self, reversal):
        reversal.update(state="succeeded", time=self.tick(), told=False, told_back=False)
        self.refund_webhook(reversal)
        if self.random.random() < 0.3:
            self.later(0.005, 0.2, self.reinstate, reversal)

    def refund_state(self, refund, state, while_state):
        if refund["state"] != while_state:
            return
        if state == "succeeded" and while_state == "failed":
            if refund["amount"] > self.room(self.charges[refund["txn"]]):
                return
        refund["state"] = state
        self.refund_webhook(refund)

    def refund_answer(self, refund):
        return {"status": refund["state"], "txn": refund["channel_refund_id"],
                "amount": refund["amount"], "currency": refund["currency"]}

    def refund(self, request):
        txn = self.names.get(request["txn"], request["txn"])
        charge = self.charges.get(txn)
        refund = self.refunds.get(request["refund_id"])
        if refund and refund["state"] != "failed":
            return self.refund_answer(refund)
        fault = self.fault(REFUND_FAULTS)
        if fault == "timeout_before":
            return None
        if charge is None:
            return {"status": "failed", "code": "no_such_charge"}
        if request["currency"] != charge["currency"] or request["amount"] > self.room(charge):
            return {"status": "failed", "code": "not_that_much_left"}
        if refund is None:
            refund = {"refund_id": request["refund_id"],
                      "channel_refund_id": self.new_id("refund"), "txn": txn,
                      "amount": request["amount"], "currency": request["currency"],
                      "kind": "asked"}
            self.refunds[request["refund_id"]] = refund
        refund["state"] = "succeeded"
        refund["echo"] = fault in ("echo", "echo_and_no_answer")
        if fault in ("refund_declined", "refund_succeeds_later"):
            refund["state"] = "failed"
            if fault == "refund_succeeds_later":
                self.later(0.02, 0.2, self.refund_state, refund, "succeeded", "failed")
        elif fault is None and self.random.random() < 0.2:
            refund["state"] = "pending"
            self.later(0.01, 0.1, self.refund_state, refund, "succeeded", "pending")
        else:
            self.refund_webhook(refund)
        if fault == "refund_fails_later":
            self.later(0.02, 0.2, self.refund_state, refund, "failed", "succeeded")
        if fault in ("timeout_after", "echo_and_no_answer"):
            return None
        return self.refund_answer(refund)

    def query_refund(self, request):
        fault = self.fault(ANSWER_FAULTS)
        if fault in ("timeout_before", "timeout_after"):
            return None
        refund = self.refunds.get(request["refund_id"])
        if fault == "says_unknown":
            return {"status": "unknown"}
        if fault == "not_found_yet" or refund is None:
            return {"status": "not_found"}
        return self.refund_answer(refund)

    def name_of(self, request):
        return {"txn": self.names.get(request["txn"], request["txn"])}

    def books(self):
        return {"charges": list(self.charges.values()), "refunds": list(self.refunds.values()),
                "names": self.names, "faults": self.faults, "calls": self.calls,
                "reserved": [{key: trade[key] for key in ("payment_id", "order_id", "authorized", "most", "captures")}
                             for trade in self.trades.values() if trade["captures"]],
                "voided": sum(trade["voided"] for trade in self.trades.values())}


def made_at(capture_id):
    """When the shop asked for a capture: an id of version 7 begins with the time."""
    return int(capture_id.replace("-", "")[:12], 16) / 1000


async def run(seed, fault_rate, webhook_port, report, kinds, slow):
    pusher = wire.Pusher(webhook_port, "/webhook") if webhook_port else None
    channels = {name: Channel(name, seed, fault_rate, pusher, kinds) for name in NAMES}
    calls = {"charge": Channel.charge, "capture": Channel.capture, "query": Channel.query, "close": Channel.close,
             "told": Channel.told, "refund": Channel.refund, "query_refund": Channel.query_refund,
             "name": Channel.name_of}
    log = []

    async def call_slowly(channel, kind, request):
        begin = time.monotonic()
        await asyncio.sleep(channel.random.uniform(0, slow))
        answer = calls[kind](channel, request)
        log.append((request["order_id"], begin, time.monotonic()))
        if answer is None and channel.random.random() < 0.3:
            await asyncio.sleep(SILENCE)  # otherwise it hangs up
        return answer

    async def handle(path, request):
        _, first, *rest = path.split("/")
        if first == "calm":
            for channel in channels.values():
                channel.fault_rate = 0
            return {}
        if first == "to_come":
            return {"to_come": (pusher.undelivered if pusher else 0)
                    + sum(channel.scheduled for channel in channels.values())}
        if first == "books":
            return {name: channel.books() for name, channel in channels.items()}
        if first == "log":
            return log
        channel = channels[first]
        channel.calls[rest[0]] += 1
        if slow:
            return await call_slowly(channel, rest[0], request)
        return calls[rest[0]](channel, request)

    server, port = await wire.serve(handle)
    report.send(port)
    async with server:
        await server.serve_forever()


def main(seed, fault_rate, webhook_port, report, kinds=None, slow=0):
    """The channels' process; its port goes to `report`.

    kinds: of faults, as FAULTS; slow: seconds that a call takes at most
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    asyncio.run(run(seed, fault_rate, webhook_port, report, kinds or FAULTS, slow))
