"""An order's history as a drawing: attempts and refunds as bars, messages and turns as marks. The template draws it.

The axis is not to scale: a second and a day are both to be seen, so that a gap gets room by its logarithm.
"""
import datetime
import math

import words

WIDTH, LEFT, RIGHT, ROW, TOP = 920, 130, 24, 34, 30
LABEL = 62          # the least room between two labels of the axis
# where a bar ends, and the mark there
ENDS = {"succeeded": "good", "failed": "bad", "closed": "bad", "surplus": "back", "returned": "back", "waived": "good",
        "reinstated": "good", "merged": "good"}
OPEN = {"pending", "processing", "authorized", "capturing", "unknown", "closing", "superseded", "awaiting_approval"}


def draw(order):
    """What the template draws: lanes with bars and marks, and the labels of the axis; or None."""
    if not order or not order["history"]:
        return None
    now = datetime.datetime.now(datetime.timezone.utc)
    history = order["history"]
    place, ticks, width = axis(sorted({row["at"].replace(microsecond=0) for row in history}), now)
    lanes = [lane(payment["channel"], payment["channel_txn_id"], "payment",
                  [row for row in history if row["payment_id"] == payment["payment_id"] and not row["refund_id"]],
                  payment["created_at"], payment["status"], place) for payment in order["payments"]]
    for payment in order["payments"]:
        for refund in payment["refunds"]:
            lanes.append(lane("refund", refund["channel"], "reversal" if refund["reversal_kind"] else "refund",
                              [row for row in history if row["refund_id"] == refund["refund_id"]],
                              refund["created_at"], refund["status"], place))
    lanes.append(order_lane(history, place))
    for number, drawn in enumerate(lanes):
        drawn["y"] = TOP + ROW * number
    return {"lanes": lanes, "ticks": ticks, "width": width, "left": LEFT, "height": TOP + ROW * len(lanes) + 6, "row": ROW}


def axis(moments, now):
    """(where a time is, the labels, the width)"""
    stops = [0.0]
    for before, after in zip(moments, moments[1:] + [now]):
        stops.append(stops[-1] + 1 + math.log1p(max(0, (after - before).total_seconds())))
    scale = (WIDTH - LEFT - RIGHT) / max(stops[-1], 1)

    def place(at):
        at = words.moment(at).replace(microsecond=0)
        if at > moments[-1]:
            return WIDTH - RIGHT
        number = max((n for n, other in enumerate(moments) if other <= at), default=0)
        return round(LEFT + stops[number] * scale, 1)

    ticks = []
    for at in moments:
        if not ticks or place(at) - ticks[-1]["x"] >= LABEL:
            day = at.astimezone(words.zone()).date()
            shown = words.day_and_time(at) if not ticks or day != ticks[-1]["day"] else words.clock(at)
            # the first label, and one of another day, are longer
            if ticks and shown != words.clock(at) and place(at) - ticks[-1]["x"] < LABEL * 1.6:
                continue
            ticks.append({"x": place(at), "text": shown, "day": day})
            if len(ticks) == 1:
                ticks[0]["long"] = True
        # the first one takes more room
        if len(ticks) > 1 and ticks[0].get("long") and ticks[1]["x"] - ticks[0]["x"] < LABEL * 1.6:
            ticks.pop(1)
    return place, ticks, WIDTH


def lane(name, detail, of, rows, began, status, place):
    """A payment or a refund: a bar from its beginning to its last turn, with a mark for each thing that happened."""
    start = place(began)
    turns = [row for row in rows if row["kind"].split(".")[0] in ("payment", "refund") and row["to_status"]]
    last = turns[-1]["at"] if turns else words.moment(began)
    is_open = status in OPEN
    end = WIDTH - RIGHT if is_open else place(last)
    marks = [mark(row, of, place) for row in rows
             if row["kind"].startswith(("payment.", "refund.", "notification.")) and row["kind"] != "payment.updated"]
    return {"name": name, "detail": detail, "of": of, "x": start, "width": max(end - start, 3), "open": is_open,
            "status": words.word(status, "refund" if of != "payment" else None), "marks": marks}


def mark(row, of, place):
    kind, _, what = row["kind"].partition(".")
    if kind == "notification":
        shape, text = "report", words.gettext("message of the channel")
    else:
        shape = "reversal" if of == "reversal" else ENDS.get(row["to_status"], "turn")
        text = words.word(row["to_status"] or what, "refund" if of != "payment" else None)
    return {"x": place(row["at"]), "shape": shape, "title": f"{words.exactly(row['at'])}: {text} ({row['actor']})"}


def order_lane(history, place):
    """The order's states, one behind another."""
    turns = [row for row in history if row["kind"].startswith("order.") and row["to_status"]]
    segments = []
    for row, after in zip(turns, turns[1:] + [None]):
        end = place(after["at"]) if after else WIDTH - RIGHT
        start = place(row["at"])
        if end > start:
            segments.append({"x": start, "width": end - start, "status": row["to_status"], "text": words.word(row["to_status"]),
                             "fits": end - start > 9 * len(words.word(row["to_status"]))})
    return {"name": "order", "detail": "", "of": "order", "segments": segments, "marks": []}
