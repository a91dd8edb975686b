#!/usr/bin/python3
"""The documents and the database say the same, in both directions.

What doc/generate.py writes into the documents is what it would write now: the pictures of the states, the signatures,
who may call a function, the columns and the list of functions. Each function, error, alert, setting, table and column
has its place in the reference, and the reference has none that is not there. Whatever a document calls payguard.NAME
is there. A figure that was measured stands in a section that says when, and by which command.
"""
import glob
import os
import re
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
SRC = os.environ.get("PAYGUARD_SRC") or os.path.join(HERE, "..", "..", "..")
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
sys.path.insert(0, os.path.join(SRC, "doc"))
import generate  # noqa: E402
from cluster import Cluster  # noqa: E402
from tap import Tap  # noqa: E402

tap = Tap()
ok = tap.ok
MEASURED = (r"\d (?:ms|µs|seconds of processor|buffers|instructions|bytes of WAL|payments (?:a|per) second)\b"
            r"|\d ?(?:MB|GB|kB) of (?:memory|WAL|disk)|\d(?:\.\d+)? ?× the (?:instructions|WAL|time)")
SETTING = r"'[^'\n]*'|after \d+ ms"       # a duration that somebody chose
FIGURES_ELSEWHERE = ("doc/benchmark.md", "doc/testing.md", "doc/design.md", "CHANGELOG.md")     # whole pages of figures


def read(name):
    with open(os.path.join(SRC, name), encoding="utf-8") as file:
        return file.read()


def pages(*patterns):
    return {name: read(name) for pattern in patterns for name in sorted(glob.glob(pattern, recursive=True))}


def section(text, heading):
    """The text below a heading, down to the next one of its kind."""
    marks = re.search(rf"(?m)^(#+) {re.escape(heading)}$", text)
    if not marks:
        return ""
    rest = text[marks.end():]
    end = re.search(rf"(?m)^#{{1,{len(marks.group(1))}}} ", rest)
    return rest[:end.start()] if end else rest


def firsts(text):
    """The words in code in the first cells of the rows of tables."""
    found = []
    for row in re.findall(r"(?m)^\|(.*?)(?<!\\)\|", text):
        found += re.findall(r"`([^`]+)`", row)
    return found


def firsts_of_all(text):
    """The words in code in the last cells of the rows of tables."""
    return {word for row in re.findall(r"(?m)^\|.*\|(.*)\|$", text) for word in re.findall(r"`(\w+)`", row)}


def same(what, documented, known):
    documented, known = set(documented), set(known)
    ok(documented == known, "%s: %d" % (what, len(known)),
       "not documented: %s" % sorted(known - documented), "documented, and not there: %s" % sorted(documented - known))


def generated(facts):
    """What is generated is up to date."""
    for name, text in sorted(generate.files(facts, os.path.join(SRC, "doc")).items()):
        path = os.path.join("doc", name)
        ok(os.path.exists(path) and read(path) == text, "%s is as doc/generate.py writes it" % path)
    ways = facts["machines"]["payment"]
    probe = dict(facts, machines={"payment": ways + [("pending", "lost")]})
    page = "[p](pictures/states_payment.svg)\n\n| state | meaning | may become |\n|---|---|---|\n| `pending` | kept | |\n"
    changed = generate.made("concepts.md", page, probe)
    ok("| `pending` | kept |" in changed and "| `lost` |  | – |" in changed
       and "lost</text>" in generate.states.svg("payment", probe["machines"]["payment"]),
       "a state more comes into table and picture, and what was written stays")
    ok("| `order_id` | text | mine |" in generate.made("tables.md", "### orders\n\n| column | type | meaning |\n|---|---|---|\n"
                                                    "| `order_id` | uuid | mine |\n| `gone` | text | x |\n", facts),
       "a column that has changed, and one that is gone, are written anew")


def told(facts):
    """Each state has its meaning; the ways that the README shows are ways."""
    text = read("doc/concepts.md") + read("doc/zh/concepts.md")
    missing = re.findall(r"(?m)^\| `(\w+)` \| *\|", text)
    ok(not missing, "each state has a meaning", *missing)
    shown = 0
    wrong = []
    for line in re.findall(r"(?m)^(\w+: .*→.*)$", re.sub(r"\n {8,}(?=\w)", "  ", read("README.md"))):
        machine, _, chains = line.partition(":")
        for chain in re.split(r"  +|\(.*?\)", chains):
            steps = [step.strip() for step in chain.split("→") if step.strip()]
            for way in zip(steps, steps[1:]):
                shown += 1
                if way not in [tuple(w) for w in facts["machines"][machine]]:
                    wrong.append("%s: %s" % (machine, " → ".join(way)))
    ok(shown > 5 and not wrong, "README.md shows ways that there are: %d" % shown, *wrong)


def named():
    """README.md leads to each page."""
    there = [name for name in pages("doc/*.md", "doc/zh/*.md", "examples/*/README.md") if name != "README.md"]
    missing = [name for name in there if "(%s" % name not in read("README.md")]
    ok(not missing, "README.md leads to each page: %d" % len(there), *missing)


def codes(text, errors):
    """The error codes that a text names, alone or as PY101 to PY103."""
    found = set(re.findall(r"PY\d+", text))
    for low, high in re.findall(r"(PY\d+) to (PY\d+)", text):
        found |= {code for code, _ in errors if low <= code <= high}
    return found


def errors_of_functions(facts, text, errors):
    """What the comment of a function says that it raises, its section says too."""
    lost = []
    for heading, body in re.findall(r"(?ms)^### (\w+(?:, \w+)*)$(.*?)(?=^##|\Z)", text):
        for function in facts["functions"]:
            if function["name"] in heading.split(", "):
                missing = codes((function["comment"] or "").partition("Errors: ")[2], errors) - codes(body, errors)
                lost += ["%s: %s" % (function["name"], code) for code in sorted(missing)]
    ok(not lost, "errors that a function's comment names are in its section", *lost)


def reference(facts):
    """The reference has what there is, and nothing else."""
    text = read("doc/reference.md")
    public = {f["name"] for f in facts["functions"] if generate.is_public(f)}
    headed = {name for name in generate.headings(text) if name in {f["name"] for f in facts["functions"]}}
    ok(not public - headed, "functions with a section in doc/reference.md: %d" % len(headed), *sorted(public - headed))
    lost = {name for name in generate.headings(text) if name not in headed and name not in facts["columns"]}
    ok(not lost, "each section of doc/reference.md is about a function or a type that is there", *sorted(lost))
    same("functions by task", firsts_of_all(section(text, "Functions by task")), headed)
    same("accesses in doc/reference.md", firsts(section(text, "grant_access, revoke_access")),
         {name for f in facts["functions"] for name in f["access"] or ()})
    with_example = [heading for heading in re.findall(r"(?m)^### (\w+(?:, \w+)*)$", text)
                    if set(heading.split(", ")) & public and "```sql" not in section(text, heading)]
    ok(not with_example, "each of them has an example", *with_example)
    errors = re.findall(r'X\(\w+, "(PY\w+)", "(\w+)"', read("src/base/refusal.h"))
    errors_of_functions(facts, text, errors)
    rows = re.findall(r"(?m)^\| (PY\w+) \| `(\w+)` \|", section(text, "Errors"))
    same("errors in doc/reference.md", rows, errors)
    rows = set(re.findall(r"(?m)^\| (PY\w+) \| `(\w+)` \|", read("README.md")))
    ok(rows and rows <= set(errors), "errors in README.md are errors", *sorted(rows - set(errors)))
    named = {code for page in pages("*.md", "doc/**/*.md", "examples/**/*.md").values() for code in re.findall(r"\bPY\d\d\d\b", page)}
    lost = named - {code for code, _ in errors}
    ok(not lost, "every error that a document names is one", *sorted(lost))
    same("settings in doc/reference.md", [n for n in firsts(section(text, "Settings")) if n.startswith("payguard.")], facts["settings"])
    kinds = firsts(section(text, "Kinds of alerts"))
    findings = {kind for kind in firsts(section(text, "reconcile"))}
    same("runbooks in doc/operations.md, beside the kinds in doc/reference.md",
         re.findall(r"(?m)^### (\w+)$", section(read("doc/operations.md"), "Alerts")),
         [k for k in kinds if k != "settlement_"] + ["settlement_" + f for f in findings])
    listed = set(re.findall(r"\]\(#(\w+)\)", section(read("doc/operations.md"), "Alerts").split("\n### ")[0]))
    lost = [k for k in kinds if k not in listed and not k.startswith("settlement_")]
    ok(not lost, "the list of runbooks by what they are about has each kind", *lost)
    ok(set(facts["alerts"]) <= set(kinds), "alerts that the decision table opens have their place", *sorted(set(facts["alerts"]) - set(kinds)))
    opened = {kind for name in glob.glob("src/**/*.[c]", recursive=True)
              for kind in re.findall(r'payguard_alert_\w+\((?:[^;]*?)"(\w+)",\s*"(?:warning|critical)"', read(name))}
    ok(opened <= set(kinds), "alerts that the source opens have their place: %d" % len(opened), *sorted(opened - set(kinds)))
    source = "".join(pages("src/**/*.[ch]", "src/sql/*.sql").values())
    lost = [kind for kind in kinds if kind != "settlement_" and not re.search("[\"']%s[\"']" % kind, source)]
    ok(not lost, "alerts in doc/reference.md are in the source", *lost)
    events(section(text, "Events"), source, facts)


def events(text, source, facts):
    """Kinds of events that are documented can be written, and those that the source names are documented."""
    told = set(re.findall(r"`([a-z]+\.[a-z_]+)`", text))
    written = set(re.findall(r"[\"']((?:orders?|payment|channel|policy|guard)\.[a-z_]+)[\"']", source)) - {"payment.updated"}
    written -= {"%s.%s" % (table, column) for table, columns in facts["columns"].items() for column, *_ in columns}
    states = {"order": ("order",), "payment": ("payment",), "refund": ("refund",)}
    made = {"%s.%s" % (prefix, end) for prefix in re.findall(r'"([a-z]+)\.%s"', source) for end in
            re.findall(r'"([a-z_]+)"', source) + [end for m in states.get(prefix, ()) for _, end in facts["machines"][m]]}
    ok(written <= told, "events that the source writes have their place: %d" % len(written), *sorted(written - told))
    ok(told <= written | made, "events in doc/reference.md are written: %d" % len(told), *sorted(told - written - made))


def tables(facts):
    """Each table, view and type has its columns in the reference, or on the page of tables."""
    headed = [name for page in ("doc/reference.md", "doc/tables.md") for name in
              re.findall(r"(?m)^### (\w+)\n(?:(?!#)(?!\| column).*\n)*\| column \| type \|", read(page))]
    twins = [name for name in facts["columns"] if re.match("archived_|every_", name)]
    known = [name for name in facts["columns"] if name not in twins and name != "case_subject"]
    for name in twins:
        base = [table for table in facts["columns"] if re.fullmatch(table.rstrip("s") + "s?", name.split("_", 1)[1])]
        if not base or [c[0] for c in facts["columns"][name]] != [c[0] for c in facts["columns"][base[0]]]:
            ok(False, "%s has the columns of its twin" % name, str(base))
    ok(len(headed) == len(set(headed)), "no table of columns is there twice")
    same("tables, views and types", headed, known)
    offered = set(re.findall(r"(?m)^ +\([\d.]+, '(\w+)',", read("src/sql/79_case.sql")))
    same("actions of cases", set(re.findall(r"`(\w+)`", re.search(r"(?m)^\| `action` \| (.*) \|$", read("doc/tables.md")).group(1))), offered)
    empty = [row for page in ("doc/reference.md", "doc/tables.md") for row in re.findall(r"(?m)^\| `\w+` \| [^|]+ \|  \|$", read(page))]
    ok(not empty, "each column has a meaning", *empty)


def names(facts, database):
    """Whatever a document calls payguard.NAME, or NAME(), is there."""
    known = {f["name"] for f in facts["functions"]} | set(facts["columns"]) | {s.split(".")[1] for s in facts["settings"]}
    words = set(database("SELECT string_agg(DISTINCT proname, ' ') FROM pg_proc").split())
    wrong = []
    for name, text in pages("README.md", "SECURITY.md", "doc/*.md", "doc/zh/*.md", "examples/**/*.md").items():
        for found in re.findall(r"(?<![\w./@-])payguard\.([a-z]\w+)(?![\w.]*\.(?:rules|test|rb|conf))", text):
            if found not in known and found not in ("so", "control", "service", "rules", "test", "org"):
                wrong.append("%s: payguard.%s" % (name, found))
        for found in re.findall(r"`([a-z]\w+)\(\)`", text):
            if name not in ("doc/design.md", "doc/locks.md", "doc/testing.md", "doc/benchmark.md") and found not in known | words | OF_OTHERS:
                if not re.search(rf"\b{found}\b", "".join(SOURCES)):
                    wrong.append("%s: %s()" % (name, found))
    ok(not wrong, "what documents call payguard.… is there", *sorted(set(wrong)))


SOURCES = []
OF_OTHERS = {"run_maintenance"}           # pg_partman's


def figures(documents):
    """Sections with a measured figure, and without its date or its command."""
    for name, text in documents.items():
        for part in re.split(r"(?m)^(?=#+ )", re.sub(r"(?ms)^```.*?^```", "", text)):
            found = None if "On paper" in part else re.search(MEASURED, re.sub(SETTING, "", part))
            if found and not (re.search(r"20\d\d-\d\d-\d\d|\d+ \w+ 20\d\d", part) and re.search(r"`(?:[A-Z_]+=\S+ )*(?:make |test/)[^`]*`|`bench", part)):
                yield "%s, %s: %s" % (name, part.splitlines()[0], found.group(0))


def counted():
    """The counts in doc/testing.md, which has their date, are not far off."""
    mutants = len(re.findall(r"(?m)^mutant ", read("test/mutants/list.sh")))
    there = {"regress": len(glob.glob("sql/*.sql")), "isolation": len(glob.glob("test/specs/*.spec")), "mutants": mutants,
             "TAP": len(glob.glob("test/t/*/*.p[ly]")), "pgTAP": len(glob.glob("test/tap/*.sql"))}
    told = {kind: int(n) for kind, n in re.findall(r"(?m)^\| (\w+): [^|]*\| (\d+) \|", read("doc/testing.md"))}
    ok(set(told) == set(there) and all(abs(told[kind] - there[kind]) * 10 <= there[kind] for kind in there), "doc/testing.md counts the tests", "told: %s" % told, "there: %s" % there)


def measured():
    documents = {name: text for name, text in pages("*.md", "doc/**/*.md", "examples/**/*.md").items() if name not in FIGURES_ELSEWHERE}
    lost = list(figures(documents))
    ok(not lost, "figures stand where their date and their command stand", *lost)
    probe = "## a\nIt takes 12 ms.\n## b\nIt takes 12 ms (2026-01-02, `make bench`).\n## c\nIt takes 12 ms (2026-01-02).\n"
    ok(len(list(figures({"x": probe}))) == 2, "a figure without them is found")


def main():
    os.chdir(SRC)
    with Cluster() as server:
        cursor = server.connect().cursor()
        cursor.execute("CREATE EXTENSION payguard SCHEMA pg_catalog")

        def database(query):
            cursor.execute("SET search_path = pg_catalog")
            cursor.execute(query)
            answer = cursor.fetchone()[0]
            return answer if isinstance(answer, str) else generate.json.dumps(answer)
        cursor.execute("LOAD 'payguard'")
        facts = generate.facts_of(database)
        SOURCES.extend(read(name) for name in glob.glob("examples/**/*.*", recursive=True) + glob.glob("test/t/**/*.py", recursive=True))
        generated(facts)
        told(facts)
        reference(facts)
        tables(facts)
        names(facts, database)
    named()
    counted()
    measured()
    sys.exit(tap.done())


main()
