#!/usr/bin/python3
"""Write decide.pml, the part of the model that comes from the code.

    generate.py DECISIONS.csv TRANSITIONS.csv [BUG] >decide.pml

The files are what psql --csv says of payguard.decisions() and payguard.state_transitions().
With the name of a bug, the decisions are spoiled first, so that it can be seen whether the
model's checks would notice.
"""
import csv
import sys

# The facts that a decision depends on, in the order in which the generated code asks.
FACTS = ["payment_status", "channel_status", "other_txn", "money", "late_success",
         "order_status", "closing_as", "in_time", "revived", "fresh", "revivable", "reverses",
         "repeatable"]
# What has to be possible together; of the others it is not asked where one value or all lead to the same, since the
# list of decisions would be too long for Spin.
TOGETHER = ["payment_status", "order_status", "closing_as"]
PREFIXES = {"payment_status": "PAYMENT_", "channel_status": "REPORT_", "money": "MONEY_",
            "late_success": "LATE_", "order_status": "ORDER_", "closing_as": "ORDER_"}
FLAGS = ["supersede", "refund", "excess", "second_charge", "another", "reverse", "fill_in", "query",
         "close", "capture"]
LIVE = ("pending", "processing", "authorized", "capturing", "unknown", "closing")


def read_csv(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


# --- bugs -------------------------------------------------------------------------------------

def facts_of(row):
    return tuple(row[fact] for fact in FACTS)


def copy_result(rows, row, **facts):
    """Give a row the result of the row with the same facts, but for those named. rows: by their facts."""
    other = rows[facts_of(dict(row, **facts))]
    row.update({name: other[name] for name in other if name not in FACTS})


def change_nothing(row):
    row.update(order_becomes=row["order_status"], payment_becomes=row["payment_status"], alert="",
               **{flag: "f" for flag in FLAGS})


def is_late_success(row):
    return row["payment_status"] == "failed" and row["channel_status"] == "succeeded"


def unknown_is_failure(rows, row):
    if row["payment_status"] in LIVE and row["channel_status"] == "unknown":
        copy_result(rows, row, channel_status="failed")


def not_found_is_failure(rows, row):
    if row["payment_status"] in LIVE and row["channel_status"] == "not_found":
        copy_result(rows, row, channel_status="failed")


def late_success_ignored(rows, row):
    if is_late_success(row):
        change_nothing(row)


def first_money_dropped(rows, row):
    if is_late_success(row) and row["supersede"] == "t":
        change_nothing(row)


def first_money_does_not_supersede(rows, row):
    if is_late_success(row):
        row["supersede"] = "f"


def late_failure_undoes_success(rows, row):
    if row["payment_status"] == "succeeded" and row["channel_status"] == "failed" and row["reverses"] == "f":
        change_nothing(row)
        row.update(payment_becomes="failed", order_becomes="unpaid")


def surplus_without_refund(rows, row):
    if row["payment_status"] in LIVE + ("superseded",):
        row["refund"] = "f"


def wrong_amount_pays(rows, row):
    if row["payment_status"] in LIVE:
        copy_result(rows, row, money="fits")


def superseded_success_counts(rows, row):
    if row["payment_status"] == "superseded" and row["channel_status"] == "succeeded":
        row.update(payment_becomes="succeeded", refund="f")


def second_charge_ignored(rows, row):
    if row["second_charge"] == "t":
        change_nothing(row)


def closing_as_forgotten(rows, row):
    if row["order_becomes"] in ("cancelled", "expired") and row["order_status"] == "paying":
        row["order_becomes"] = "unpaid"


def close_not_repeated(rows, row):
    if row["payment_status"] == "closing":
        row["close"] = "f"


def superseded_not_closed(rows, row):
    if row["payment_status"] == "superseded":
        row["close"] = "f"


def cancelled_order_paid(rows, row):
    if is_late_success(row) and row["order_status"] == "cancelled" and row["money"] == "fits":
        row.update(order_becomes="paid", payment_becomes="succeeded", refund="f")


def late_success_always_accepted(rows, row):
    if is_late_success(row):
        copy_result(rows, row, late_success="accept")


def cancelling_order_paid(rows, row):
    if row["payment_status"] in LIVE and row["closing_as"] == "cancelled":
        copy_result(rows, row, closing_as="expired")


def excess_kept(rows, row):
    row["excess"] = "f"


def message_revives(rows, row):
    if row["payment_status"] == "failed" and row["order_status"] == "unpaid" and \
            row["channel_status"] in ("pending", "processing", "authorized") and row["fresh"] == "f":
        copy_result(rows, row, fresh="t", revivable="t")


def message_takes_back(rows, row):
    if row["payment_status"] in ("processing", "succeeded") and row["fresh"] == "f" and (
            row["reverses"] == "t" or row["channel_status"] == "pending") and \
            (row["payment_status"], row["channel_status"]) != ("succeeded", "pending"):
        copy_result(rows, row, fresh="t")


def failure_after_success_ignored(rows, row):
    if row["reverses"] == "t":
        change_nothing(row)


def returned_pays_again(rows, row):
    if row["payment_status"] == "returned" and row["channel_status"] == "succeeded" and \
            row["order_status"] == "unpaid":
        row.update(payment_becomes="succeeded", order_becomes="paid")


def is_reserved(row):
    return row["payment_status"] in LIVE and row["channel_status"] == "authorized"


def authorized_is_success(rows, row):
    if is_reserved(row):
        copy_result(rows, row, channel_status="succeeded", fresh="f", repeatable="f")


def message_ends_capture(rows, row):
    if is_reserved(row) and row["payment_status"] == "capturing" and row["fresh"] == "f":
        copy_result(rows, row, fresh="t")


def capture_repeated_anywhere(rows, row):
    if is_reserved(row) and row["fresh"] == "t" and row["closing_as"] == "":
        copy_result(rows, row, repeatable="t")


def capture_never_fails(rows, row):
    if row["payment_status"] == "capturing" and row["channel_status"] in ("failed", "closed"):
        copy_result(rows, row, channel_status="unknown")


def cancelled_while_captured_forgotten(rows, row):
    if is_reserved(row) and row["payment_status"] == "capturing" and row["fresh"] == "t":
        copy_result(rows, row, closing_as="")


BUGS = {bug.__name__: bug for bug in (
    unknown_is_failure, not_found_is_failure, late_success_ignored, first_money_dropped,
    first_money_does_not_supersede, late_failure_undoes_success, surplus_without_refund,
    wrong_amount_pays, superseded_success_counts, second_charge_ignored, closing_as_forgotten,
    close_not_repeated, superseded_not_closed, cancelled_order_paid,
    late_success_always_accepted, cancelling_order_paid, excess_kept, message_revives, message_takes_back,
    failure_after_success_ignored, returned_pays_again, authorized_is_success, message_ends_capture,
    capture_repeated_anywhere, capture_never_fails, cancelled_while_captured_forgotten)}


def spoil(rows, bug):
    """Return the decisions with a bug, which has to change some of them."""
    spoilt = [dict(row) for row in rows]
    known = {facts_of(row): row for row in rows}
    for row in spoilt:
        BUGS[bug](known, row)
    if spoilt == rows:
        raise SystemExit("the bug %s changes nothing" % bug)
    return spoilt


# --- Promela ----------------------------------------------------------------------------------

def constant(fact, value):
    """Return the name that the model has for a value of a fact."""
    if fact in PREFIXES:
        return PREFIXES[fact] + (value.upper() or "NONE")
    return {"t": "true", "f": "false"}[value]


def variable(fact):
    return "f_" + fact


def result(row):
    """Return the statements that set what follows, where it is more than nothing."""
    statements = []
    if row["payment_becomes"] != row["payment_status"]:
        statements.append("d_payment = " + constant("payment_status", row["payment_becomes"]))
    if row["order_becomes"] != row["order_status"]:
        statements.append("d_order = " + constant("order_status", row["order_becomes"]))
    statements += ["d_%s = true" % flag for flag in FLAGS if row[flag] == "t"]
    if row["alert"] == "contradiction":
        statements.append("d_contradiction = true")
    return tuple(statements)


def values_of(rows, fact):
    return list(dict.fromkeys(row[fact] for row in rows))


def tree(rows, facts):
    """Return a decision tree: ("do", statements), or ("ask", fact, [(values, subtree)])."""
    if not facts:
        results = {result(row) for row in rows}
        if len(results) != 1:
            raise SystemExit("decisions() is not a function of its facts: %s" % rows[0])
        return ("do", results.pop())
    fact, rest = facts[0], facts[1:]
    branches = []
    for value in values_of(rows, fact):
        subtree = tree([row for row in rows if row[fact] == value], rest)
        for values, known in branches:
            if known == subtree:
                values.append(value)
                break
        else:
            branches.append(([value], subtree))
    if len(branches) == 1:
        return branches[0][1]
    return ("ask", fact, branches)


def print_tree(node, depth, out, path, leaves):
    pad = "\t" * depth
    if node[0] == "do":
        out.append(pad + ("REACHED(%d)" if node[1] else "REACHED_ONLY(%d)") % len(leaves))
        leaves.append(", ".join(path))
        out.extend(pad + statement + ";" for statement in node[1])
        return
    out.append(pad + "if")
    for values, subtree in node[2]:
        condition = " || ".join("%s == %s" % (variable(node[1]), constant(node[1], value))
                                for value in values)
        out.append(pad + ":: %s ->" % condition)
        asked = "%s %s" % (node[1], "/".join(value or "none" for value in values))
        print_tree(subtree, depth + 1, out, path + [asked], leaves)
    out.append(pad + "fi;")


def print_names(prefix, names, out):
    for number, name in enumerate(names):
        out.append("#define %s%s %d" % (prefix, name.upper() or "NONE", number))
    out.append("")


def print_moves(machine, prefix, moves, out):
    out.append("/* what may follow what, by the %s machine */" % machine)
    out.append("#define %s_MAY(from, to) ( \\" % machine.upper())
    for move in moves:
        if move["machine"] == machine:
            out.append("\t((from) == %s%s && (to) == %s%s) || \\" % (
                prefix, (move["from_status"] or "none").upper(), prefix,
                move["to_status"].upper()))
    out.append("\tfalse)")
    out.append("")


def print_possible(rows, out):
    """Which states are possible together, as the code says."""
    out.append("#define POSSIBLE_FACTS ( \\")
    for facts in dict.fromkeys(tuple(row[fact] for fact in TOGETHER) for row in rows):
        out.append("\t(%s) || \\" % " && ".join("%s == %s" % (variable(fact), constant(fact, value))
                                             for fact, value in zip(TOGETHER, facts)))
    out.append("\tfalse)")


def states_of(machine, moves):
    names = dict.fromkeys([""])
    for move in moves:
        if move["machine"] == machine:
            names[move["from_status"]] = names[move["to_status"]] = None
    return list(names)


# With -DCOVERAGE a search tells at its end which decisions it has come to.
COVERAGE = """\
#ifdef COVERAGE
c_decl {
\tstatic char decision_reached[LEAVES];

\t__attribute__((destructor)) static void
\ttell_reached(void)
\t{
\t\tfor (int i = 0; i < LEAVES; i++)
\t\t\tif (decision_reached[i])
\t\t\t\tprintf("reached decision %d\\n", i);
\t}
}
#define REACHED(n) c_code { decision_reached[n] = 1; };
#define REACHED_ONLY(n) REACHED(n)
#else
#define REACHED(n)
#define REACHED_ONLY(n) skip;
#endif
"""


def generate(decisions, moves):
    """Return the text of decide.pml, and its decisions in words."""
    out = ["/*",
           " * Generated from payguard.decisions() and payguard.state_transitions().",
           " */"]
    # the model has no policies, so that nothing is held
    decisions = [row for row in decisions if row["late_success"] != "hold"]
    domains = {fact: values_of(decisions, fact) for fact in FACTS}
    print_names("ORDER_", states_of("order", moves), out)
    print_names("PAYMENT_", states_of("payment", moves), out)
    print_names("REPORT_", [""] + domains["channel_status"], out)
    print_names("LATE_", domains["late_success"], out)
    print_names("MONEY_", domains["money"], out)
    print_moves("order", "ORDER_", moves, out)
    print_moves("payment", "PAYMENT_", moves, out)
    print_possible(decisions, out)
    out += ["", "/* the facts */"]
    out += ["hidden byte %s;" % variable(fact) for fact in FACTS]
    out += ["/* what follows */", "hidden byte d_payment;", "hidden byte d_order;"]
    out += ["hidden byte d_%s;" % flag for flag in FLAGS + ["contradiction"]]
    out += ["", "inline decide()", "{",
            "\tassert(POSSIBLE_FACTS);", "\td_payment = %s;" % variable("payment_status"),
            "\td_order = %s;" % variable("order_status")]
    out += ["\td_%s = false;" % flag for flag in FLAGS + ["contradiction"]]
    leaves = []
    print_tree(tree(decisions, FACTS), 1, out, [], leaves)
    out += ["}", ""]
    at = out.index("inline decide()")
    out[at:at] = COVERAGE.replace("LEAVES", str(len(leaves))).split("\n")
    return "\n".join(out), leaves


def main():
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    decisions = read_csv(sys.argv[1])
    if len(sys.argv) == 4:
        decisions = spoil(decisions, sys.argv[3])
    sys.stdout.write(generate(decisions, read_csv(sys.argv[2]))[0])


if __name__ == "__main__":
    main()
