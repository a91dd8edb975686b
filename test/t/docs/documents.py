#!/usr/bin/python3
"""Every SQL block of the documents runs, and answers what the document says.

The blocks of one document are one psql session in a database of its own. A comment line that begins
with "-- ERROR:" announces the error of the statement before it; comment lines that begin with two
spaces and have values are rows of its result (a first line of column names is optional). In the
README ids are shortened: '01a2...' is the last payment, '5f0c...' the last task's lease. Statements
with parameters are prepared.
The runbooks of doc/operations.md are run by a test of their own, with a case for each; those of doc/zh are the same.

A block in another language is a part of a file that a test runs, word for word: the function that a page shows is
the one that works. A block in a language of which that cannot be said fails.

What a document says of the source stands: a file of src or a folder's file by its name, a function as
folder/file.c:function, and in doc/locks.md the specs and mutants that hold what it says.
"""
import fnmatch
import glob
import os
import re
import subprocess
import sys
import tempfile
import textwrap

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
from cluster import Cluster  # noqa: E402
from tap import Tap  # noqa: E402

SRC = os.environ.get("PAYGUARD_SRC") or os.path.join(os.path.dirname(__file__), "..", "..", "..")
ELSEWHERE = ("doc/operations.md", "doc/zh/runbooks.md")
LOADED = {                                    # before the blocks of a page
    "examples/channels/README.md": ("common", "adyen", "alipay", "paypal", "stripe", "wechatpay"),
    "examples/handlers/README.md": ("setup",),
}
NOT_CODE = ("",)                              # a block without a language is what a terminal shows
QUOTED = {"java": "java", "javascript": "*js", "python": "py", "ruby": "rb"}
EXAMPLES = ("handlers", "spring", "testing", "worker")     # whose files tests run
TESTS = ("test/clients/**/*", "test/sim/*.py", "test/t/**/*.py")
OF_POSTGRESQL = ("execReplication.c", "nodeLockRows.c", "xact.c")     # what comments of src refer to

tap = Tap()
ok = tap.ok


def words(line):
    """A row without its layout."""
    return " | ".join(cell.strip() for cell in line.split("|"))


def steps(text):
    """(statements, errors announced, rows announced) of each block, cut behind each announcement."""
    for block in re.findall(r"(?ms)^```sql\n(.*?)^```", text):
        code, errors, rows = [], [], []
        for line in block.splitlines():
            error = re.match(r"-- ERROR: +(.*)", line)
            row = re.match(r"--  +(\S.*)", line)
            if error:
                errors.append(error.group(1))
            elif row and not errors:     # behind an error comes its detail
                rows.append(words(row.group(1)))
            elif line.startswith("--"):
                pass
            else:
                if errors or rows:
                    yield "\n".join(code), errors, rows
                    code, errors, rows = [], [], []
                code.append(line)
        yield "\n".join(code), errors, rows


def script(document):
    """The whole session, its steps divided by echoes."""
    out = []
    for number, (code, _, _) in enumerate(document):
        code = code.replace("complete_task(1, '5f0c...'", "complete_task((SELECT task_id FROM payguard.leases ORDER BY leased_until DESC LIMIT 1), "
                            "(SELECT lease_token FROM payguard.leases ORDER BY leased_until DESC LIMIT 1)")
        code = code.replace("'01a2...'", "(SELECT payment_id FROM payguard.payments ORDER BY payment_id DESC LIMIT 1)")
        if "$1" in code:    # as a driver sends it
            code = "".join("PREPARE s%d_%d AS %s;\n" % (number, n, statement)
                           for n, statement in enumerate(re.split(r";\n*", code)) if statement.strip())
        out.append("\\echo @step %d\n%s\n" % (number, code))
    return "".join(out)


def run(environment, name, text):
    database = re.sub(r"\W", "_", name)
    subprocess.run(["createdb", database], env=environment, check=True)
    subprocess.run(["psql", "-Xq", "-d", database, "-c", "CREATE EXTENSION payguard SCHEMA pg_catalog"], env=environment, check=True)
    for file in LOADED.get(name, ()):
        subprocess.run(["psql", "-Xq", "-d", database, "-v", "ON_ERROR_STOP=1", "-f", os.path.join(os.path.dirname(name), file + ".sql")],
                       env=environment, check=True)
    document = list(steps(text))
    done = subprocess.run(["psql", "-X", "-d", database, "-f", "-"], input=script(document).encode(), env=environment,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = re.split(r"(?m)^@step \d+\n", done.stdout.decode())[1:]
    for number, ((code, errors, rows), answer) in enumerate(zip(document, output), 1):
        raised = [re.sub(r'"[0-9a-f-]{36}"', '"01a2..."', error)
                  for error in re.findall(r"(?:ERROR|FATAL|error): +(.*)", answer)]
        printed = [words(line) for line in answer.splitlines()]
        good = raised == errors and all(row in printed for row in rows)
        ok(good, "%s, step %d" % (name, number), "announced: %s %s" % (errors, rows), code, answer)
    ok(len(output) == len(document), "%s: %d steps ran" % (name, len(document)))


def lines_of(text):
    """The lines without the indentation that all of them have."""
    return [line.rstrip() for line in textwrap.dedent(text).strip("\n").split("\n")]


def is_part(block, file):
    """Whether the lines of a block stand in a file one after another, indented as a whole or not."""
    block, lines = lines_of(block), file.split("\n")
    return any(lines_of("\n".join(lines[n:n + len(block)])) == block for n in range(len(lines) - len(block) + 1))


def unquoted(text, examples):
    """The first lines of blocks that are neither SQL nor a part of an example."""
    for language, block in re.findall(r"(?ms)^ *```([^\n`]*)\n(.*?)^ *```", text):
        if language == "sql" or language in NOT_CODE:
            continue
        files = [file for name, file in examples.items() if fnmatch.fnmatch(name, "*." + QUOTED.get(language, "?NONE?"))]
        if not any(is_part(block, file) for file in files):
            yield "%s: %s" % (language, lines_of(block)[0])


def read(*patterns):
    """The files that fit, by name."""
    found = {}
    for name in {name for pattern in patterns for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)}:
        with open(name, encoding="utf-8") as file:
            found[name] = file.read()
    return found


def other_languages(documents):
    """What is shown in other languages stands in files that are run."""
    examples = read(*("examples/%s/**/*" % folder for folder in EXAMPLES))
    tests = read(*TESTS).values()
    for folder in EXAMPLES:
        ok(any(re.search("examples[/\"', ]+%s\\b" % folder, test) for test in tests), "a test runs examples/%s" % folder)
    missing = ["%s: %s" % (name, block) for name, text in documents.items() for block in unquoted(text, examples)]
    ok(not missing, "blocks in other languages are parts of examples that are run", *missing)
    probe = {"a.py": "def f():\n    if x:\n        g()\n    return 1\n"}
    blocks = {"    if x:\n        g()\n": True, "if x:\n    g()\n": True, "if x:\n    h()\n": False, "if x:\nreturn 1\n": False}
    ok(all(not list(unquoted("```python\n%s```\n" % block, probe)) == good for block, good in blocks.items())
       and list(unquoted("```ruby\nif x:\n```\n", probe)) and list(unquoted("```perl\nx\n```\n", probe)),
       "a block that is none, or in a language that nobody runs, is found")


def anchors(text):
    """What a link may name behind its #: each heading, as GitHub makes its id."""
    headings = re.findall(r"(?m)^#+ +(.*)", re.sub(r"(?ms)^```.*?^```", "", text))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(documents):
    """The links of documents to files, folders and headings that are not there."""
    for name, text in documents.items():
        for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"(?ms)^```.*?^```", "", text)):
            path, _, anchor = link.partition("#")
            target = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
            if "://" not in link and (not os.path.exists(target) or anchor and anchor not in anchors(documents.get(target, ""))):
                yield "%s: %s" % (name, link)


def links(documents):
    """Every link within the project leads somewhere."""
    dead = sorted(dead_links(documents))
    ok(not dead, "links lead to what is there", *dead)
    named = [(name, page, anchor) for name, text in read("examples/**/*.yml", "console/**/*.html").items()
             for page, anchor in re.findall(r"\b((?:doc/)?\w+\.md)#([\w-]+)", text)]
    lost = ["%s: %s#%s" % found for found in named if found[2] not in anchors(documents.get(found[1], ""))]
    ok(len(named) > 5 and not lost, "alert rules lead to runbooks that are there: %d" % len(named), *lost)
    probe = {"README.md": "[a](doc/none.md) [b](#b-c) [c](#d) [d](doc)\n## B, c\n"}
    ok(list(dead_links(probe)) == ["README.md: doc/none.md", "README.md: #d"], "a link that leads nowhere is found")


def pictures(documents):
    """Every picture is shown by a page. Whoever reads the README sees the console's inbox."""
    shown = {(name, os.path.normpath(os.path.join(os.path.dirname(name), path)))
             for name, text in documents.items() for path in re.findall(r"!\[[^\]]+\]\(([^)\s]+)\)", text)}
    there = {path for ending in ("png", "svg") for path in glob.glob("doc/pictures/*." + ending)}
    unseen = sorted(there - {path for _, path in shown})
    ok(len(there) >= 8 and not unseen and ("README.md", "doc/pictures/inbox.png") in shown, "each of %d pictures is shown" % len(there), *unseen)


def installed():
    """make install has the pages where pg_config --docdir says, and what they link to is there with them."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(["make", "-s", "DESTDIR=" + folder, "install-pages"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        docdir = subprocess.run(["pg_config", "--docdir"], check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout.strip()
        here = os.getcwd()
        os.chdir(folder + docdir + "/payguard" if done.returncode == 0 else folder)
        pages = read("*.md", "doc/**/*.md", "examples/**/*.md")
        dead = [link for link in dead_links(pages) if "](" not in link and not re.search(r"CONTRIBUTING\.md: |: (\.\./)*test/", link)]
        os.chdir(here)
        ok(done.returncode == 0 and len(pages) > 20 and not dead, "%d pages are installed, with what they link to" % len(pages),
           done.stdout.decode(), *dead)
        # what a message or a comment of the database calls a page: in C a literal, in SQL one too
        texts = "".join(re.sub(r"(?s)/\*.*?\*/", "", text) for text in read("src/**/*.[ch]").values()) + "".join(
            re.sub(r"(?m)^ *--.*", "", text) for text in read("src/sql/*.sql").values())
        named = re.findall(r"[\w/]*doc/\w+\.md", texts)
        lost = [name for name in named if not os.path.isfile(folder + docdir + "/" + name)]
        ok(named and not lost, "messages name pages where they are installed: %d" % len(named), *lost)


def sources():
    """Each C file of src, by its folder and name and by its name alone: the functions in it."""
    found = {}
    for path in glob.glob("src/**/*.[ch]", recursive=True):
        with open(path, encoding="utf-8") as file:
            functions = set(re.findall(r"(?m)^(\w+)\(", file.read()))
        found[os.path.relpath(path, "src")] = found[os.path.basename(path)] = functions
    return found


def gone(text, known, elsewhere=()):
    """The files and functions of src that a text names, and that are not there."""
    for name, function in re.findall(r"(?<![\w./])(?:src/)?((?:[a-z]+/)?[a-z]\w*\.[ch])\b(?::(\w+))?", text):
        if name not in known:
            if name not in elsewhere:
                yield name
        elif function and function not in known[name]:
            yield f"{name}:{function}"


def names_of_source():
    """Documents and comments name files and functions that are there."""
    known = sources()
    names = glob.glob("*.md") + [n for f in ("doc", "test", "examples") for n in glob.glob(f + "/**/*.md", recursive=True)]
    missing = set()
    for name in names:
        with open(name, encoding="utf-8") as file:
            missing |= {"%s: %s" % (name, lost) for lost in gone(file.read(), known)}
    ok(not missing, "%d documents name files and functions of src that are there" % len(names), *sorted(missing))
    missing = set()
    for name in glob.glob("src/**/*.[ch]", recursive=True):
        with open(name, encoding="utf-8") as file:
            comments = "\n".join(re.findall(r"/\*.*?\*/", file.read(), re.S))
        missing |= {"%s: %s" % (name, lost) for lost in gone(comments, known, OF_POSTGRESQL)}
    ok(not missing, "comments of src name files that are there", *sorted(missing))
    lost = ["evidence.c", "records/queue.c", "requests/pay_round.c:lock_somebody", "store/pay_round.c"]
    ok(list(gone("`%s`, `src/base/id.c` and `id.c`" % "`, `".join(lost), known)) == lost, "a name that is gone is found")


def names_of_locks():
    """The page about locks names specs and mutants that are there, each mutant with a spec that kills it."""
    with open("doc/locks.md", encoding="utf-8") as file:
        rows = [re.split(r" *\| *", line)[1:-1] for line in file.read().splitlines() if re.match(r"\| .*\|$", line)]
    with open("test/mutants/list.sh", encoding="utf-8") as file:
        killers = dict(re.findall(r'(?m)^mutant (\w+) \S+ "isolation (\w+)"', file.read()))
    wrong, held, specs, mutants = [], 0, None, None
    for row in rows:
        if "spec" in row:
            specs, mutants = row.index("spec"), row.index("mutant")
        elif "how" in row:
            specs = None
        elif specs is not None:
            named = re.findall(r"`(\w+)`", row[specs])
            held += len(named)
            wrong += [spec for spec in named if not os.path.exists("test/specs/%s.spec" % spec)]
            wrong += [mutant for mutant in re.findall(r"`(\w+)`", row[mutants]) if killers.get(mutant) not in named]
    ok(not wrong and held > 20, "doc/locks.md names specs, and mutants that these kill: %d" % held, *wrong)


def main():
    os.chdir(SRC)
    names_of_source()
    names_of_locks()
    documents = read("*.md", "doc/**/*.md", "examples/**/*.md", "test/**/*.md")
    other_languages(documents)
    links(documents)
    pictures(documents)
    installed()
    names = ["README.md"] + sorted(glob.glob("doc/**/*.md", recursive=True) + glob.glob("examples/*/README.md"))
    with Cluster() as server:
        environment = dict(os.environ, PGHOST=server.folder, PGPORT="5432", PGUSER="postgres", PGDATABASE="postgres")
        for name in names:
            with open(name, encoding="utf-8") as file:
                text = file.read()
            if "```sql" in text and name not in ELSEWHERE:
                run(environment, name, text)
    sys.exit(tap.done())


main()
