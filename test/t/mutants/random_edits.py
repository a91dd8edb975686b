#!/usr/bin/python3
"""The edits of which make torture-random makes its mutants: what is edited, what is not, and that
src has some of each kind. They are drawn, built and tried by test/mutants/random_mutants.py."""
import glob
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "..", "..", d) for d in ("lib", "mutants")]

import edits
from tap import Tap

SOURCE = """
#define LIMIT 7
static const int table[] = {1, 2};
static bool follow(Row *row);

/* follow if (a < b) does nothing */
static bool
follow(Row *row)
{
	int n = 0;

	Assert(row->n < 3);
	if (row->a && !lock_row(row))
		return false;
	payguard_store_refresh();
	foreach (cell, rows)
		row->a = lfirst(cell);
	if (n == 5)
		elog(ERROR, "%d is not %d", n, 1 + 1);
	if (payguard_store_lock(row))
		ereport(ERROR, (errcode(A == B), errmsg("no %s", n > 1 ? "a" : "b")));
	pfree(row);
	return n <= 1;
}
"""

EXPECTED = """
10 off by one: 0 made 1
13 condition: negated
13 condition: made false
13 condition: made true
13 condition: a side of && made true
13 condition: a side of && made true
13 condition: && made ||
14 condition: false made true
15 refresh: dropped
17 statement: dropped
20 condition: negated
20 condition: made false
20 condition: made true
20 lock: payguard_store_lock() made payguard_store_find()
21 statement: dropped
23 condition: negated
23 comparison: <= made <
23 off by one: 1 made 0
23 off by one: 1 made 2
"""

LOCKS = """
void
f(void)
{
	lock_row(row);
	table_open(oid, RowExclusiveLock);
	for (int i = 0; i < n; i++)
		*n = a ? b : c;
}
"""

EXPECTED_LOCKS = """
5 lock: dropped
6 lock: RowExclusiveLock made AccessShareLock
6 statement: dropped
7 comparison: < made <=
7 off by one: 0 made 1
8 condition: of ?: negated
8 statement: dropped
"""

tap = Tap()
ok = tap.ok


def listed(text):
    return [f"{e.lines[0]} {e.kind}: {e.what}" for e in edits.edits("x.c", text)]


def compare(text, expected, name):
    got, wanted = sorted(listed(text)), sorted(expected.strip().split("\n"))
    ok(got == wanted, name, "not expected:", *sorted(set(got) - set(wanted)), "missing:", *sorted(set(wanted) - set(got)))


compare(SOURCE, EXPECTED, "conditions, statements, comparisons, a refresh; no message, no Assert, no declaration")
compare(LOCKS, EXPECTED_LOCKS, "locks, loops, ?:")

src = os.path.join(HERE, "..", "..", "..", "src")
wrong, kinds = [], {}
for path in sorted(glob.glob(f"{src}/*.c") + glob.glob(f"{src}/*/*.c")):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    made = edits.edits(path, text)
    for edit in made:
        kinds[edit.kind] = kinds.get(edit.kind, 0) + 1
    if made != edits.edits(path, text):
        wrong.append(f"{path}: others each time")
    wrong += [f"{path}:{edit.lines[0]}: {edit.what}" for edit in made if edit.apply(text) == text]
ok(set(kinds) == set(edits.KINDS), f"src has some of each kind: {kinds}")
ok(not wrong, "each changes its file, and they are the same each time", *wrong)
sys.exit(tap.done())
