#!/usr/bin/python3
"""Upgrades from each released version: ALTER EXTENSION UPDATE, under load and beside guarded tables, changes
no row, takes no privilege, and leaves what a fresh installation makes; dumps go from the old version to the new
one. (released: the new library with the old scripts.)

Where the catalogs differ, what is missing belongs into src/sql/update; functions and views get into
the update script by themselves.
"""
import difflib
import os
import subprocess
import sys
import tempfile

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
SRC = os.environ.get("PAYGUARD_SRC") or os.path.join(HERE, "..", "..", "..")
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "..", "..", d) for d in ("lib", "history")]
from cluster import Cluster  # noqa: E402
from history import check, read_tables  # noqa: E402
from play import play  # noqa: E402
from tap import Tap, choose_seed  # noqa: E402

RELEASED = ("1.0.0", "1.1.0")
CALLS = 2000        # half of them before the update, half after it
# These make databases of their own, with the version that is the default.
APART = {"install", "arguments_latin1", "evidence_order", "evidence_table", "retention", "erasure"}
LONG = {"channel_adyen", "channel_capture", "channel_examples", "channel_paypal", "queue_batch"}
# Since the updated catalog is equal to a fresh one's, a part of each subject is enough, unless
# PAYGUARD_LONG=1 (make torture-upgrade) is set.
SHORT = ("approvals", "consumers", "guard", "keys", "notifications", "pay_once", "privileges", "protection", "queue_head",
         "refunds", "settlement", "verify")
# They have more columns in a later version, so an update drops and makes them.
OTHER_RESULTS = ["decisions", "payment_rates"]
ACCESSES = ("checkout", "cashier", "channel", "operator", "consumer", "auditor", "owner", "delegate")

tap = Tap()
ok = tap.ok


class Database:
    """One database, seen by the superuser."""

    def __init__(self, server, name, version=None):
        self.server, self.name = server, name
        self.dsn = server.dsn.replace("dbname=postgres", f"dbname={name}")
        connection = psycopg2.connect(server.dsn)
        connection.autocommit = True
        connection.cursor().execute(f"CREATE DATABASE {name}")
        connection.close()
        self.cursor = self.connect().cursor()
        if version:
            self.run(f"CREATE EXTENSION payguard VERSION '{version}'")

    def drop(self):
        self.cursor.connection.close()
        connection = psycopg2.connect(self.server.dsn)
        connection.autocommit = True
        connection.cursor().execute(f"DROP DATABASE {self.name} WITH (FORCE)")
        connection.close()

    def connect(self, level=None):
        connection = psycopg2.connect(self.dsn)
        connection.autocommit = True
        if level:
            connection.cursor().execute(f"SET default_transaction_isolation = '{level}'")
        return connection

    def run(self, sql, *arguments):
        self.cursor.execute(sql, arguments or None)
        return self.cursor.fetchall() if self.cursor.description else []

    def code(self, sql):
        """The SQLSTATE of a statement that fails, or NULL."""
        try:
            self.cursor.execute(sql)
        except psycopg2.Error as error:
            return error.pgcode
        return None

    def catalog(self):
        with open(os.path.join(HERE, "catalog.sql"), encoding="utf-8") as file:
            cursor = self.connect().cursor()
            cursor.execute(file.read())
            return [row[0] for row in cursor]

    def columns(self):
        """Each table's columns, as SQL lists them."""
        return dict(self.run(
            "SELECT relname, string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid"
            " WHERE relkind = 'r' AND relnamespace = 'payguard'::regnamespace AND attnum > 0 AND NOT attisdropped GROUP BY 1"))

    def rows(self, columns):
        """All rows of some tables."""
        return {name: [row for row in self.run(f"SELECT {of_it} FROM payguard.{name} t ORDER BY t::text")
                       if row[0] != "internal"]         # the channel that each installation makes is not in a dump
                for name, of_it in columns.items()}

    def grant(self, kept=False):
        """Each access to a role of its own, and something that no access has. kept: what an update leaves to it."""
        for access in ACCESSES:
            # who was an operator before there were admins keeps what he had
            for name in ("admin", "refunds") if kept and access == "operator" else (access,):
                self.run("SELECT payguard.grant_access(%s, %s)", f"upgrade_{access}", name)
        self.run("GRANT SELECT ON payguard.orders TO upgrade_report")
        self.run("GRANT EXECUTE ON FUNCTION payguard.slot(text) TO upgrade_report")

    def prepare(self):
        """A session with a prepared call of each function, with as few arguments as it takes: their names, and the session."""
        cursor, names = self.connect().cursor(), []
        cursor.execute("SET plan_cache_mode = force_custom_plan")
        for number, (function, arguments) in enumerate(self.run(
                "SELECT proname, array_to_string(ARRAY(SELECT 'NULL::' || format_type(proargtypes[i], NULL)"
                " FROM generate_series(0, pronargs - pronargdefaults - 1) i), ', ') FROM pg_proc"
                " WHERE pronamespace = 'payguard'::regnamespace AND prokind = 'f' AND prorettype <> 'trigger'::regtype AND proname <> ALL (%s)",
                OTHER_RESULTS)):
            cursor.execute(f"PREPARE prepared_{number} AS SELECT payguard.{function}({arguments})")
            names.append((f"prepared_{number}", function))
        return cursor, names

    def regress(self, tests):
        """The regress files, on this database as it is, and not again; what they print when they fail."""
        folder = tempfile.mkdtemp(prefix="regress.", dir=self.server.folder)
        done = subprocess.run(
            [os.environ["PG_REGRESS"], "--use-existing", f"--dbname={self.name}", f"--inputdir={SRC}", f"--outputdir={folder}",
             f"--host={self.server.folder}", "--port=5432", "--user=postgres", *tests],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        self.drop()
        notes = [line for line in done.stdout.splitlines() if "not ok" in line or "FAILED" in line]
        differences = os.path.join(folder, "regression.diffs")
        if done.returncode and os.path.exists(differences):
            with open(differences, encoding="utf-8") as file:
                notes += file.read().splitlines()
        return done.returncode == 0, notes or [done.stdout]

    def dump_to(self, name):
        """A copy of this database, by way of a dump."""
        file = os.path.join(self.server.folder, f"{self.name}.dump")
        copy = Database(self.server, name)
        self.server.run("pg_dump", "-Fc", "-f", file, "-d", self.dsn)
        self.server.run("pg_restore", "--exit-on-error", "-d", copy.dsn, file)
        return copy


def difference(old, new):
    return [line for line in difflib.unified_diff(old, new, "updated", "fresh", n=0, lineterm="")
            if not line.startswith("@@")]


def tests_of(but):
    names = sorted(name[:-4] for name in os.listdir(os.path.join(SRC, "sql")) if name.endswith(".sql"))
    chosen = [name for name in names if name not in but]
    for name in but:
        assert name in names, name
    return chosen


SHOP = """
CREATE TABLE shop (id text PRIMARY KEY, status text NOT NULL, version bigint NOT NULL DEFAULT 1);
SELECT payguard.guard_table('shop', 'status', '{"new": ["paid"], "paid": []}', version_column := 'version',
                            order_id_column := 'id', paid_states := '{paid}');
INSERT INTO shop VALUES ('A-1', 'new'), ('A-2', 'new');
SELECT payguard.create_order(id, 100, 'EUR', 'Ann') FROM shop;
"""
PAY = "SELECT outcome, replayed FROM payguard.pay_order(%s, %s)"


def update(server, version, fresh, seed):
    old = Database(server, "old", version)
    old.grant()
    # the script from 1.0.0 to 1.1.0 locks one table after the other, so that calls beside it may fail with 40P01
    old.run(f"ALTER EXTENSION payguard UPDATE TO '{RELEASED[-1]}'")
    installed, = old.run("SELECT extversion FROM pg_extension WHERE extname = 'payguard'")[0]
    ok(installed == RELEASED[-1], f"{version} becomes {RELEASED[-1]}", [installed])
    before = old.catalog()

    def halfway():
        old.run("BEGIN")
        old.run("ALTER EXTENSION payguard UPDATE")
        old.run("ROLLBACK")
        ok(old.catalog() == before, "an update that is rolled back leaves nothing", difference(old.catalog(), before))
        old.run("ALTER EXTENSION payguard UPDATE")
    stage, wrong = play(old.connect, seed, "read committed", CALLS, 20, 6, halfway=halfway)
    ok(not wrong, f"{CALLS} calls, the update in between: no error that a call does not promise", wrong[:10])
    tables = read_tables(old.connect())
    not_explained, _ = check(tables, stage.used)
    ok(not not_explained, "every answer can be explained", sum(not_explained[:3], []))
    ok(old.run("SELECT * FROM payguard.verify()") == [], "verify() finds nothing", old.run("SELECT * FROM payguard.verify()"))
    ok(old.catalog() == fresh, "the catalog is that of a fresh installation", difference(old.catalog(), fresh))
    ok(old.run("SELECT * FROM payguard.maintain()") != [], "maintain() does its duties")
    old.drop()


def quiet_update(server, version, fresh):
    """Beside guarded tables: nothing but the catalog changes."""
    old = Database(server, "guarded", version)
    old.run("ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO upgrade_report")
    old.run("ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO upgrade_report")
    old.grant()
    old.run(SHOP)
    old.run("SELECT payguard.register_channel('card')")
    old.run("SELECT payguard.set_policy('EUR', 1000, approve_payment := true)")
    old.run("SELECT payguard.create_order('A-3', 5000, 'EUR')")
    old.run("SELECT payguard.record_notification('card', 'who knows')")
    early = {store: old.connect().cursor() for store in ("heap", "spi")}
    for store, cursor in early.items():
        cursor.execute(f"SET payguard.store = {store}")
        cursor.execute("SELECT payguard.create_order(%s, 1, 'EUR')", (store,))
        cursor.execute(PAY, (store, store))
        ok(cursor.fetchone() == ("paid", False), f"{store}: {version} pays")
    ok(old.run(PAY, "A-1", "key 1") == [("paid", False)] and old.run("UPDATE shop SET status = 'paid', version = version + 1 WHERE id = 'A-1'") == [],
       "the guard lets a paid order's row pass")
    old.run("INSERT INTO payguard.settlement_lines (channel, kind, channel_status, channel_txn_id, amount, currency, channel_time)"
            " VALUES ('card', 'payment', 'succeeded', 'ch_1', 1, 'EUR', now())")
    columns = old.columns()
    before = old.rows(columns)
    prepared, calls = old.prepare()
    old.run("BEGIN")
    old.run("SAVEPOINT as_migration_tools_do")
    old.run("ALTER EXTENSION payguard UPDATE")
    old.run("COMMIT")
    ok(old.rows(columns) == before, "no row is changed")
    new = {name: of_it for name, of_it in old.columns().items() if name not in columns}
    ok(not any(old.rows(new).values()), "what is new is empty")
    ok(old.catalog() == fresh, "the catalog is that of a fresh installation, whatever ALTER DEFAULT PRIVILEGES says",
       difference(old.catalog(), fresh))
    not_planned = []
    for name, function in calls:
        try:
            prepared.execute(f"EXPLAIN EXECUTE {name}")
        except psycopg2.Error as error:
            if error.pgcode.startswith("XX"):       # planning calls some of them, which may refuse NULL
                not_planned.append(f"{function}: {error}")
    ok(len(calls) > 80 and not not_planned, "calls that were prepared before it are planned", [len(calls), *not_planned])
    for store, cursor in early.items():
        cursor.execute(PAY, (store, store))
        ok(cursor.fetchone() == ("paid", True), f"{store}: a session from before replays")
        cursor.execute("SELECT payguard.create_order(%s, 1, 'EUR')", (store + " again",))
        cursor.execute(PAY, (store + " again", store + " again"))
        ok(cursor.fetchone() == ("paid", False), f"{store}: and pays")
    ok(old.code("UPDATE shop SET status = 'paid', version = version + 1 WHERE id = 'A-2'") == "23514", "the guard refuses a row whose order is not paid")
    ok(old.code("UPDATE shop SET status = 'new', version = version + 1 WHERE id = 'A-1'") == "23514", "and a move that is none")
    ok(old.code("UPDATE payguard.orders SET amount = 0") == "PY901", "payguard's tables are protected")
    ok(old.code("ALTER TABLE payguard.orders ADD COLUMN mine int") == "PY902", "from DDL too")
    ok(old.code("SELECT payguard.pay_order('A-3', 'key 3')") == "PY601", "the policy holds")
    ok(old.code(f"ALTER EXTENSION payguard UPDATE TO '{version}'") is not None, "there is no way back")
    ok(old.run("SELECT * FROM payguard.verify()") == [], "verify() finds nothing", old.run("SELECT * FROM payguard.verify()"))
    return old


def dumps(server, version, fresh, updated):
    """A dump carries what roles may do, and the old version's dump makes the new one."""
    copy = updated.dump_to("copy")
    ok(copy.catalog() == fresh, "a dump of the updated database restores the same catalog, grants included",
       difference(copy.catalog(), fresh))
    ok(copy.rows(copy.columns()) == updated.rows(updated.columns()), "and the same rows")
    old = Database(server, "still_old", version)
    old.grant()
    old.run(SHOP)
    old.run(PAY, "A-1", "key 1")
    restored = old.dump_to("restored")
    restored.run("SELECT payguard.renew_access()")
    ok(restored.catalog() == fresh, f"a dump of {version} becomes the new version; renew_access() grants what is new",
       difference(restored.catalog(), fresh))
    ok(restored.run(PAY, "A-1", "key 1") == [("paid", True)], "its keys replay")
    ok(restored.code("UPDATE shop SET status = 'paid', version = version + 1 WHERE id = 'A-2'") == "23514", "its guards hold")
    ok(restored.run("SELECT * FROM payguard.verify()") == [], "verify() finds nothing")
    for database in (updated, copy, old, restored):
        database.drop()


def new_behaviour(server, version):
    """An updated database does what a fresh one does."""
    database = Database(server, "contrib_regression", version)
    database.run("ALTER EXTENSION payguard UPDATE")
    tests = tests_of(APART | LONG) if os.environ.get("PAYGUARD_LONG") else SHORT
    good, notes = database.regress(tests)
    ok(good, f"{len(tests)} regress tests pass on a database updated from {version}", notes)


def main():
    seed = choose_seed()
    with Cluster("shared_preload_libraries = ''") as server:
        fresh = Database(server, "fresh")
        for access in ACCESSES:
            fresh.run(f"CREATE ROLE upgrade_{access}")
        fresh.run("CREATE ROLE upgrade_report")
        fresh.run("CREATE EXTENSION payguard")
        fresh.grant(kept=True)
        catalog = fresh.catalog()
        ok(len(catalog) > 1000, f"the catalog has {len(catalog)} facts")
        paths = fresh.run("SELECT source, target FROM pg_extension_update_paths('payguard') WHERE path IS NOT NULL")
        versions = [*RELEASED, *fresh.run("SELECT extversion FROM pg_extension WHERE extname = 'payguard'")[0]]
        ok(set(paths) == {(source, to) for i, source in enumerate(versions) for to in versions[i + 1:]},
           "each released version has a path to each later one, and there is no other", paths)
        for version in RELEASED:
            print(f"# from {version}")
            update(server, version, catalog, seed)
            dumps(server, version, catalog, quiet_update(server, version, catalog))
        for version in RELEASED if os.environ.get("PAYGUARD_LONG") else RELEASED[:1]:
            new_behaviour(server, version)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
