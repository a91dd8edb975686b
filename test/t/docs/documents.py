#!/usr/bin/python3
"""Every SQL block of the documents runs, and answers what the document says.

The blocks of one document are one psql session in a database of its own. A comment line that begins
with "-- ERROR:" announces the error of the statement before it; comment lines that begin with two
spaces and have values are rows of its result (a first line of column names is optional). In the
README ids are shortened: '01a2...' is the last payment, '5f0c...' the last task's lease. Statements
with parameters are prepared.
doc/operations.md is run by a test of its own, with a case for each runbook.
"""
import glob
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
from cluster import Cluster  # noqa: E402
from tap import Tap  # noqa: E402

SRC = os.environ.get("PAYGUARD_SRC") or os.path.join(os.path.dirname(__file__), "..", "..", "..")
ELSEWHERE = ("doc/operations.md",)

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
    if name == "examples/channels/README.md":
        for file in ("common", "alipay", "stripe", "wechatpay"):
            subprocess.run(["psql", "-Xq", "-d", database, "-v", "ON_ERROR_STOP=1", "-f", "examples/channels/%s.sql" % file],
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


def main():
    os.chdir(SRC)
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
