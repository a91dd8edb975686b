#!/usr/bin/python3
"""The promises hold in every order of events, in the model of test/model.

Its decisions are read from a server with this very payguard. Then the model is spoiled, one bug
after another: each has to be found, by the promise that is there to find it.
"""
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "..", "..", "model")
sys.dont_write_bytecode = True
sys.path[:0] = [MODEL, os.path.join(HERE, "..", "..", "lib")]
import generate  # noqa: E402  (it lies beside the model)
from cluster import Cluster  # noqa: E402
from tap import Tap  # noqa: E402

WORKERS = 2
MEMORY_MB = 1500
CPU_SECONDS = 100  # not the clock's: other tests may want the processors too

# What is searched in full, in worlds that are small enough for it: name, -D for the model, -D for the search, options of the search.
# The short ones are compiled with -O1: -O2 takes longer than it saves.
SAFETY = ["-DSAFETY"]
ENDLESS = ["-DNP"]  # non-progress cycles: the model makes progress until the world is quiet
TWO = ["-DATTEMPTS=2"]
GOES_ON = TWO + ["-DLEAN=true", "-DGOES_ON=true"]
RETURNS = TWO + ["-DLEAN=true", "-DRETURNS=true"]
CAPTURES = ["-DATTEMPTS=1", "-DLEAN=true", "-DCAPTURES=true"]
SEARCHES = [
    ("two attempts: every promise holds, every end is settled", TWO + ["-DCOVERAGE"], SAFETY, []),
    ("two attempts: left alone, an order is settled in finitely many steps", TWO, ENDLESS, ["-l"]),
    ("channels that go on after a failure: every promise holds", GOES_ON + ["-DCOVERAGE"], SAFETY, []),
    ("money that is taken back: every promise holds", RETURNS + ["-DCOVERAGE"], SAFETY, []),
    ("money that is reserved, then captured: every promise holds, every end is settled",
     CAPTURES + ["-DCOVERAGE"], SAFETY, []),
    ("money that is reserved, then captured: finitely many steps", CAPTURES, ENDLESS, ["-l"]),
    ("three attempts: every promise holds, every end is settled",
     ["-DATTEMPTS=3", "-DLEAN=true"], SAFETY, []),
]
# make torture-model
if os.environ.get("PAYGUARD_LONG"):
    SEARCHES += [
        ("channels that go on after a failure: finitely many steps", GOES_ON, ENDLESS, ["-l"]),
        ("money that is taken back: finitely many steps", RETURNS, ENDLESS, ["-l"]),
    ]

# Decisions that no order of events comes to: who ends an order also closes its attempt, but for one that is being
# captured, whose order does not expire; what is recorded without an attempt is told when it comes, and its channel accepts it late; where late money goes back nothing is revived; what
# is processed has the right amount, and its channel accepts it; what is returned was charged once; and the channel
# that takes too much accepts nothing for an expired order.
OUT_OF_REACH = re.compile(r"payment_status (pending|processing|authorized|unknown)\b.*closing_as (cancelled|expired)"
                          r"|payment_status capturing\b.*closing_as expired"
                          r"|payment_status none\b.*(in_time t|late_success (accept_expired|refund)\b)"
                          r"|late_success refund\b.*revived t|order_status unpaid, fresh t, revivable f"
                          r"|payment_status processing\b.*(money (more|less)|late_success refund\b)"
                          r"|payment_status failed\b.*money more, late_success accept_expired\b"
                          r"|payment_status returned\b.*other_txn t")

# Which promise finds which bug: first the decisions spoiled by generate.py, then those of the
# model itself.
FOUND_BY = {
    "unknown_is_failure": "NOTHING_IS_GUESSED",
    "not_found_is_failure": "NOTHING_IS_GUESSED",
    "late_success_ignored": "MONEY_IS_ACCOUNTED_FOR",
    "first_money_dropped": "MONEY_IS_ACCOUNTED_FOR",
    "first_money_does_not_supersede": "PAID_ONCE",
    "late_failure_undoes_success": "LEGAL_MOVE_OF_PAYMENT",
    "surplus_without_refund": "MONEY_IS_ACCOUNTED_FOR",
    "wrong_amount_pays": "ONLY_THE_RIGHT_AMOUNT_PAYS",
    "superseded_success_counts": "LEGAL_MOVE_OF_PAYMENT",
    "second_charge_ignored": "MONEY_IS_ACCOUNTED_FOR",
    "closing_as_forgotten": "NOT_ASKED_TO_PAY_AFTER_ITS_END",
    "close_not_repeated": "SETTLED_ATTEMPT",
    "superseded_not_closed": "SETTLED_ATTEMPT",
    "cancelled_order_paid": "CANCELLED_FOR_GOOD",
    "late_success_always_accepted": "LATE_MONEY_AS_THE_CHANNEL_SAYS",
    "cancelling_order_paid": "CANCELLED_FOR_GOOD",
    "excess_kept": "EXCESS_GOES_BACK",
    "message_revives": "A_MESSAGE_TAKES_NOTHING_BACK",
    "message_takes_back": "A_MESSAGE_TAKES_NOTHING_BACK",
    "failure_after_success_ignored": "SETTLED_IN_THE_END",
    "returned_pays_again": "RETURNED_MONEY_PAYS_NOTHING",
    "authorized_is_success": "MONEY_IS_ACCOUNTED_FOR",
    "message_ends_capture": "A_MESSAGE_TAKES_NOTHING_BACK",
    "capture_repeated_anywhere": "CAPTURED_ONCE",
    "capture_never_fails": "SETTLED_IN_THE_END",
    "cancelled_while_captured_forgotten": "CAPTURED_ONLY_WHEN_WANTED",
    "BUG_CAPTURED_BLINDLY": "NEVER_CAPTURED_AFTER_A_VOID",
    "BUG_CAPTURED_UNCHECKED": "NEVER_BEYOND_THE_AUTHORIZATION",
    "BUG_RAISED_UNCHECKED": "NEVER_BEYOND_THE_AUTHORIZATION",
    "BUG_CAPTURE_GIVEN_UP_AFTER_CLAIM": "NEVER_CAPTURED_AFTER_A_VOID",
    "BUG_CAPTURE_NOT_WITHDRAWN": "CAPTURED_ONLY_WHEN_WANTED",
    "BUG_LOST_CAPTURE_NOT_ASKED": "SETTLED_ATTEMPT",
    "BUG_PART_IS_LESS": "WHAT_WAS_CAPTURED_PAYS",
    "BUG_REPEATED_BEYOND": "NEVER_BEYOND_THE_AUTHORIZATION",
    "BUG_PART_NOT_REVIVED": "RESERVED_MONEY_IS_KEPT",
    "BUG_REQUEUED_CHARGE_SENT_AGAIN": "SENT_AGAIN_ONLY_WHEN_NOT_KNOWN",
    "BUG_REQUEUED_CAPTURE_SENT_AGAIN": "NEVER_CAPTURED_AFTER_A_VOID",
    "BUG_CHARGED_WHILE_PROCESSING": "CHARGED_ONLY_WHEN_WANTED",
    "BUG_RETURNED_STAYS_PAID": "ORDER_SAYS_WHAT_PAYMENTS_SAY",
    "BUG_REVERSAL_NOT_KEPT": "RETURNED_MONEY_PAYS_NOTHING",
    "BUG_KEY_RELEASED": "ANSWERED_BEFORE_THE_NEXT",
    "BUG_CLOSING_IS_FREE": "ANSWERED_BEFORE_THE_NEXT",
    "BUG_NO_QUERY": "SETTLED_ATTEMPT",
    "BUG_EARLIER_CHARGE_FORGOTTEN": "NOTHING_IS_GUESSED",
    "BUG_WITHDRAWN_AFTER_CLAIM": "NOTHING_IS_GUESSED",
    "BUG_CANCELLED_AT_ONCE": "NOTHING_IS_GUESSED",
    "BUG_CHANNEL_NEVER_ANSWERS": "SETTLED_IN_THE_END",
}

# Where not two attempts with everything but these.
WORLDS = {
    "message_revives": GOES_ON,
    "message_takes_back": GOES_ON,
    "BUG_CHARGED_WHILE_PROCESSING": GOES_ON,
    "failure_after_success_ignored": RETURNS,
    "returned_pays_again": RETURNS,
    "BUG_RETURNED_STAYS_PAID": RETURNS,
    "BUG_REVERSAL_NOT_KEPT": RETURNS,
    "authorized_is_success": CAPTURES,
    "message_ends_capture": CAPTURES,
    "capture_repeated_anywhere": CAPTURES + ["-DPART_LAPSES=false"],     # else it also asks for too much
    "capture_never_fails": CAPTURES,
    "cancelled_while_captured_forgotten": CAPTURES,
    "BUG_CAPTURED_BLINDLY": CAPTURES,
    "BUG_CAPTURED_UNCHECKED": CAPTURES,
    "BUG_RAISED_UNCHECKED": CAPTURES,
    "BUG_CAPTURE_GIVEN_UP_AFTER_CLAIM": CAPTURES,
    "BUG_CAPTURE_NOT_WITHDRAWN": CAPTURES,
    "BUG_LOST_CAPTURE_NOT_ASKED": CAPTURES,
    "BUG_PART_IS_LESS": CAPTURES,
    "BUG_REPEATED_BEYOND": CAPTURES,
    "BUG_PART_NOT_REVIVED": CAPTURES,
    "BUG_REQUEUED_CAPTURE_SENT_AGAIN": CAPTURES,
}


class Results(Tap):
    def check(self, good, name, notes=""):
        """With its notes in any case."""
        self.ok(good, name)
        self.note(notes)


def run(command, cwd=None):
    """Run a command and return what it printed; a failure of it ends the test."""
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True)
    if done.returncode != 0:
        raise SystemExit("Bail out! %s failed:\n%s" % (" ".join(command), done.stdout))
    return done.stdout


def limit_cpu():
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


def read_tables(work):
    """Have a throwaway server say what the code decides; return decisions and moves."""
    with Cluster() as server:
        psql = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", server.dsn]
        run(psql + ["-c", "CREATE EXTENSION payguard"])
        tables = []
        for function in ("decisions", "state_transitions"):
            path = os.path.join(work, function + ".csv")
            run(psql + ["--csv", "-o", path, "-c", "SELECT * FROM payguard.%s()" % function])
            tables.append(generate.read_csv(path))
        return tables


class Search:
    """One exhaustive search of the model, in a folder of its own."""

    def __init__(self, work, name, decide, defines):
        self.folder = os.path.join(work, re.sub(r"\W+", "_", name))
        self.defines = defines
        os.mkdir(self.folder)
        shutil.copy(os.path.join(MODEL, "payguard.pml"), self.folder)
        with open(os.path.join(self.folder, "decide.pml"), "w") as file:
            file.write(decide)

    def run(self, optimise, compile_defines, options):
        run(["spin", "-a"] + self.defines + ["payguard.pml"], self.folder)
        run(["gcc", optimise, "-w", "-DCOLLAPSE", "-DMEMLIM=%d" % MEMORY_MB] + compile_defines +
            ["-o", "pan", "pan.c"], self.folder)
        began = time.time()
        done = subprocess.run(["./pan", "-m100000", "-w20"] + options, cwd=self.folder,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True, preexec_fn=limit_cpu)
        self.seconds = time.time() - began
        self.output = done.stdout

    def number(self, pattern):
        found = re.search(pattern, self.output)
        return float(found.group(1)) if found else -1

    def errors(self):
        return self.number(r"errors: (\d+)")

    def is_complete(self):
        return self.errors() == 0 and "not completed" not in self.output and \
            "max search depth too small" not in self.output

    def figures(self):
        return "%d states, depth %d, %d MB, %.1f s" % (
            self.number(r"(\d+) states, stored"), self.number(r"depth reached (\d+)"),
            self.number(r"([\d.]+)\s+total actual memory"), self.seconds)

    def broken_promise(self):
        """Return the promise that the trail ends with, as the model names it."""
        trail = subprocess.run(["spin", "-t"] + self.defines + ["payguard.pml"],
                               cwd=self.folder, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, universal_newlines=True).stdout
        failed = re.search(r"payguard\.pml:(\d+), Error: assertion violated", trail)
        if not failed:
            return None
        with open(os.path.join(self.folder, "payguard.pml")) as file:
            line = file.readlines()[int(failed.group(1)) - 1]
        named = re.search(r"assert\((\w+)", line)
        return named.group(1) if named else line.strip()

    def trail(self):
        """Return what changed, step by step."""
        text = subprocess.run(["spin", "-t", "-p", "-g"] + self.defines + ["payguard.pml"],
                              cwd=self.folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, universal_newlines=True).stdout
        last, changes = {}, []
        for name, value in re.findall(r"^\t\t((?![fd]_)\S+) = (\d+)$", text, re.M):
            if last.get(name, "0") != value:
                changes.append("%s = %s" % (name, value))
            last[name] = value
        return "\n".join(changes)


def search_all(tap, pool, work, decide, leaves):
    def search(case):
        name, defines, compile_defines, options = case
        found = Search(work, name, decide, defines)
        found.run("-O2" if "-DATTEMPTS=3" in defines else "-O1", compile_defines, options)
        return found

    reached = set()
    for case, found in zip(SEARCHES, pool.map(search, SEARCHES)):
        good = found.is_complete()
        tap.check(good, case[0], found.figures())
        if not good:
            tap.check(False, "the promise broken: %s" % found.broken_promise(),
                      found.output + found.trail())
        if "-DCOVERAGE" in case[1]:
            reached |= {int(n) for n in re.findall(r"reached decision (\d+)", found.output)}
    missed = [leaf for n, leaf in enumerate(leaves) if n not in reached]
    tap.check(reached and all(OUT_OF_REACH.search(leaf) for leaf in missed),
              "they come to every decision that can be come to",
              "\n".join(["%d of %d; not to:" % (len(reached), len(leaves))] + missed))


def seed_bugs(tap, pool, work, decisions, moves):
    def search(bug):
        defines = list(WORLDS.get(bug, TWO))
        rows = decisions
        if bug in generate.BUGS:
            rows = generate.spoil(decisions, bug)
        else:
            defines.append("-D%s=true" % bug)
        found = Search(work, bug, generate.generate(rows, moves)[0], defines)
        if FOUND_BY[bug] == "SETTLED_IN_THE_END":
            found.run("-O1", ENDLESS, ["-l"])
            cycle = "non-progress cycle" in found.output
            return "SETTLED_IN_THE_END" if cycle else None, found.figures()
        found.run("-O0", SAFETY, [])
        return found.broken_promise() if found.errors() > 0 else None, found.figures()

    with open(os.path.join(MODEL, "payguard.pml")) as file:
        flags = set(re.findall(r"#ifndef (BUG_\w+)", file.read()))
    tap.check(set(FOUND_BY) == set(generate.BUGS) | flags, "every bug is seeded")
    for bug, (promise, figures) in zip(FOUND_BY, pool.map(search, FOUND_BY)):
        tap.check(promise == FOUND_BY[bug],
                  "bug %s is found by %s" % (bug, FOUND_BY[bug]),
                  figures if promise == FOUND_BY[bug] else "%s; found by %s" % (figures, promise))


def main():
    tap = Results()
    began = time.time()
    work = tempfile.mkdtemp(prefix="payguard.model.")
    try:
        decisions, moves = read_tables(work)
        with ThreadPoolExecutor(WORKERS) as pool:
            search_all(tap, pool, work, *generate.generate(decisions, moves))
            seed_bugs(tap, pool, work, decisions, moves)
        print("# %d decisions, %d moves; %.0f s in all" % (len(decisions), len(moves),
                                                         time.time() - began))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
