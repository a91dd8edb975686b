#!/usr/bin/python3
"""The library serves the scripts of each released version: the version's own regress files pass with them.

test/released has the files as they were at the release: those of the newest version, and from there a difference
to the version before. What the new library answers otherwise is meant where test/released/VERSION.meant says so,
with the reason.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
SRC = os.environ.get("PAYGUARD_SRC") or os.path.join(HERE, "..", "..", "..")
RELEASED = os.path.join(SRC, "test", "released")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
from cluster import Cluster  # noqa: E402
from tap import Tap  # noqa: E402

NEWEST = "1.1.0"
BEFORE = ["1.0.0"]   # each has a difference to the version behind it
# What its own files cannot tell of an old version.
LEFT_OUT = {"install": "what the newest version's scripts make", "queue_batch": "a matter of time, and long"}
# Every combination of what may be said of a payment; others call the same functions. PAYGUARD_LONG=1 (make torture-upgrade)
# runs them too.
LONG = {"channel_examples", "evidence_arguments", "evidence_order", "evidence_table"}

tap = Tap()
ok = tap.ok


def read(*path):
    with open(os.path.join(*path), encoding="utf-8") as file:
        return file.read()


def write(text, *path):
    with open(os.path.join(*path), "w", encoding="utf-8") as file:
        file.write(text)


def apply(difference, folder):
    """Applies what `diff -U0` says to the files below a folder; lines that begin with # are a reader's."""
    for part in re.split(r"^(?=diff )", difference, flags=re.M)[1:]:
        name = re.match(r"diff \S+ \S*?((?:sql|expected|test)/\S+)", part).group(1)
        if re.search("^deleted file", part, re.M):
            os.remove(os.path.join(folder, name))
            continue
        lines = read(folder, name).splitlines(keepends=True)
        hunks = re.split(r"^@@ -(\d+)(?:,(\d+))? \+\S+ @@.*\n", part, flags=re.M)[1:]
        for i in reversed(range(0, len(hunks), 3)):
            start, length = int(hunks[i]), int(hunks[i + 1] or 1)
            body = [line for line in hunks[i + 2].splitlines(keepends=True) if line[0] in "+-"]
            old = [line[1:] for line in body if line[0] == "-"]
            start -= length > 0   # of nothing, the line behind which it stands
            assert lines[start:start + length] == old, f"{name}: line {start + 1} is another one"
            lines[start:start + length] = [line[1:] for line in body if line[0] == "+"]
        write("".join(lines), folder, name)


def files_of(version, folder):
    """Puts a version's files there; what they install is that version."""
    shutil.copytree(os.path.join(RELEASED, NEWEST), folder)
    for earlier in BEFORE if version != NEWEST else []:
        apply(read(RELEASED, earlier + ".diff"), folder)
        if earlier == version:
            break
    meant = os.path.join(RELEASED, version + ".meant")
    if os.path.exists(meant):
        apply(read(meant), folder)
    for place, _, names in os.walk(folder):
        for name in names:
            text = read(place, name)
            write(re.sub(r"^(CREATE EXTENSION payguard);", rf"\1 VERSION '{version}';", text, flags=re.M), place, name)


class Run(threading.Thread):
    """A version's regress files, on a server of their own."""

    def __init__(self, server, version):
        super().__init__()
        self.server, self.version = server, version
        self.folder = tempfile.mkdtemp(prefix="released.", dir=server.folder)
        files_of(version, os.path.join(self.folder, "files"))
        names = sorted(name[:-4] for name in os.listdir(os.path.join(self.folder, "files", "sql")))
        chosen = os.environ.get("PAYGUARD_FILES", "").split()
        left_out = {*LEFT_OUT, *LONG} if not os.environ.get("PAYGUARD_LONG") else LEFT_OUT
        self.names = [name for name in names if name in chosen or not chosen and name not in left_out]

    def run(self):
        connection = psycopg2.connect(self.server.dsn)
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE contrib_regression")
        connection.close()
        connection = psycopg2.connect(self.server.dsn.replace("dbname=postgres", "dbname=contrib_regression"))
        connection.autocommit = True
        connection.cursor().execute(f"CREATE EXTENSION payguard VERSION '{self.version}'")
        connection.close()
        done = subprocess.run(
            [os.environ["PG_REGRESS"], "--use-existing", "--dbname=contrib_regression", f"--inputdir={self.folder}/files",
             f"--outputdir={self.folder}", f"--host={self.server.folder}", "--port=5432", "--user=postgres", *self.names],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            env={**os.environ, "PG_REGRESS_DIFF_OPTS": "-U0"})
        self.good, self.notes = done.returncode == 0, done.stdout.splitlines()
        differences = os.path.join(self.folder, "regression.diffs")
        if not self.good and os.path.exists(differences):
            self.notes = read(differences).splitlines()


def main():
    versions = re.findall(r"payguard--([^-]*)\.sql$", "\n".join(os.listdir(os.path.join(SRC, "src", "sql", "frozen"))), re.M)
    ok(sorted(versions) == sorted([NEWEST, *BEFORE]), "each released version has its files", versions)
    with Cluster("shared_preload_libraries = ''") as one, Cluster("shared_preload_libraries = ''") as other:
        servers = [one, other]
        runs = [Run(server, version) for server, version in zip(servers, [NEWEST, *BEFORE])]
        for run in runs:
            run.start()
        for run in runs:
            run.join()
            ok(run.good, f"{len(run.names)} regress files of {run.version} pass with its scripts", run.notes)
        for server in servers:
            log = read(server.log)
            bad = [line for line in log.splitlines() if re.search("PANIC|TRAP|was terminated by signal", line)]
            ok(not bad, "no backend has crashed", bad)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
