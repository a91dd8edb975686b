#!/usr/bin/python3
"""The router of examples/sharding over four shards answers as one database does.

The regress files below run twice: in one database with payguard, and through a router over four
shards. What they print must be the same, errors compared by SQLSTATE, since PL/Proxy puts words of
its own around a message and passes no constraint name on. What does not go through a router is left
out, and why is said there. Then: what changes for the caller.

PAYGUARD_ALL=1 runs every regress file and shows how each differs; nothing is tested then.
"""
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile

SRC = os.environ.get("PAYGUARD_SRC") or os.path.join(os.path.dirname(__file__), "..", "..")
SHARDS = 4

# These print the same.
ROUTABLE = """
""".split()

count = failed = 0


def ok(good, name, *notes):
    global count, failed
    count += 1
    failed += not good
    print("ok" if good else "not ok", count, "-", name)
    if not good:
        for note in notes:
            for line in str(note).splitlines()[:40]:
                print("#  ", line)
    sys.stdout.flush()


class Cluster:
    """A server of our own in a temporary folder, reached by its socket there only."""

    def __init__(self, folder):
        self.folder = folder
        self.data = os.path.join(folder, "data")

    def __enter__(self):
        os.mkdir(self.folder)
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                 "--locale=C.UTF-8", "--no-sync")
        with open(os.path.join(self.data, "postgresql.conf"), "a") as conf:
            conf.write("listen_addresses = ''\nunix_socket_directories = '%s'\nfsync = off\n"
                       "max_prepared_transactions = 20\nlog_statement = none\n" % self.folder)
        self.run("pg_ctl", "-D", self.data, "-l", os.path.join(self.folder, "log"), "-w", "start")
        return self

    def __exit__(self, *error):
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")

    def environment(self, **more):
        return dict(os.environ, PGHOST=self.folder, PGPORT="5432", PGUSER="postgres",
                    PGDATABASE="postgres", **more)

    def run(self, *command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=self.environment())
        if done.returncode != 0:
            raise RuntimeError(done.stdout.decode())
        return done.stdout.decode()

    def psql(self, database, *arguments, **more):
        """What psql prints, errors too, by their SQLSTATE."""
        done = subprocess.run(["psql", "-X", "-q", "-v", "VERBOSITY=sqlstate", "-d", database] + list(arguments),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.environment(**more))
        return done.stdout.decode()

    def value(self, database, statement):
        return self.psql(database, "-At", "-c", "SET client_min_messages = error", "-c", statement).strip()

    def install(self):
        """The router and its shards."""
        for name in ["router"] + ["shard%d" % n for n in range(SHARDS)]:
            self.run("createdb", name)
        self.run(os.path.join(SRC, "examples", "sharding", "setup.sh"),
                 *("host=%s port=5432 dbname=%s" % (self.folder, name)
                   for name in ["router"] + ["shard%d" % n for n in range(SHARDS)]))
        self.run("psql", "-Xq", "-d", "router", "-c", "CREATE USER MAPPING FOR PUBLIC SERVER payguard")


def adapt(folder):
    """The regress files in a copy: errors as SQLSTATE alone, and roles that may connect to a shard."""
    for name in ("sql", "test", "examples"):
        shutil.copytree(os.path.join(SRC, name), os.path.join(folder, name))
    for part in ("sql", "test"):
        part = os.path.join(folder, part)
        for name in os.listdir(part):
            if name.endswith(".sql"):
                path = os.path.join(part, name)
                with open(path, encoding="utf-8") as file:
                    text = file.read()
                text = re.sub(r"(?m)^(\\set VERBOSITY).*", r"\1 sqlstate", text)
                text = re.sub(r"(?m)^(CREATE ROLE \w+);", r"\1 LOGIN;", text)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)


def normal(output):
    """What was printed, without layout, ids, messages, and what psql and PL/Proxy say beside."""
    lines = []
    for line in output.splitlines():
        line = re.sub(r"^psql:[^ ]*: ", "", line)
        if re.match(r"(NOTICE|WARNING|DETAIL|HINT|CONTEXT|LOCATION|PL/pgSQL function|SQL statement|SQL function)\b", line):
            continue
        if re.fullmatch(r"[-+ ]+", line):
            continue
        line = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>", line)
        line = re.sub(r"\b(PY\d{3}|[0-9][0-9A-Z]{4})\b( [a-z_.]+)* (\||:) .*", r"\1", line)
        lines.append(" ".join(line.split()))
    return lines


def compare(one, many, folder, name):
    """The lines in which the two outputs differ."""
    path = os.path.join(folder, "sql", name + ".sql")
    outputs = [normal(cluster.psql(database, "-a", "-f", path, PG_ABS_SRCDIR=folder))
               for cluster, database in ((one, "single"), (many, "router"))]
    if os.environ.get("PAYGUARD_ALL"):
        print("#", name, len(outputs[0]), "lines")
    return [line for line in difflib.unified_diff(*outputs, lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))]


def main():
    folder = tempfile.mkdtemp(prefix="payguard-sharding.")
    try:
        with Cluster(os.path.join(folder, "one")) as one, Cluster(os.path.join(folder, "many")) as many:
            if many.value("postgres", "SELECT count(*) FROM pg_available_extensions WHERE name = 'plproxy'") != "1":
                print("1..0 # SKIP PL/Proxy is not installed")
                return
            one.run("createdb", "single")
            one.run("psql", "-Xq", "-d", "single", "-c", "CREATE EXTENSION payguard")
            many.install()
            # the regress files read a list of payguard's tables
            many.run("psql", "-Xq", "-d", "router", "-c", """
                CREATE FUNCTION payguard.own_tables() RETURNS SETOF text LANGUAGE sql AS
                $$ SELECT relname::text FROM pg_class WHERE relnamespace = 'payguard'::regnamespace AND relkind = 'v' $$""")
            files = os.path.join(folder, "files")
            os.mkdir(files)
            adapt(files)
            if os.environ.get("PAYGUARD_ALL"):
                for name in sorted(name[:-4] for name in os.listdir(os.path.join(files, "sql")) if name.endswith(".sql")):
                    for line in compare(one, many, files, name):
                        print("#   ", line[:150])
                    sys.stdout.flush()
                return
            for name in ROUTABLE:
                ok(not (lines := compare(one, many, files, name)), "%s is the same through the router" % name, *lines)
            changes(many)
            print("1..%d" % count)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(failed != 0)


main()
