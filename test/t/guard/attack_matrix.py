#!/usr/bin/python3
"""The attack matrix: ways of writing around a guard, on payguard's own orders and on a guarded
table of the application, as five roles. Each way first succeeds on a twin, the same table with
triggers of the same names that do nothing. Then it is refused, harmless or found by verify().

The table is printed: for each way the first role that succeeded on the twin, and what each role
got: the SQLSTATE, "harmless" (nothing changed) or "found". ATTACKS="name,name" runs only these."""
import io
import os
import sys
import time

import psycopg2

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
sys.dont_write_bytecode = True

import cluster  # noqa: E402
from tap import Tap  # noqa: E402

ROLES = ("public", "checkout", "operator", "owner", "superuser")
COLUMNS = "order_id, amount, currency, status, version, refunded_amount, created_at, updated_at"
PAID = "'{id}', 5, 'EUR', 'paid', 1, 0, now(), now()"
UNDO = "status = 'unpaid', version = version + 1"
LINE = "p3\t\\N\t5\tEUR\tpaid\t\\N\t1\t\\N\t0\t2026-01-01\t2026-01-01\t\\N\t\\N\n"

SETUP = """
CREATE ROLE dba SUPERUSER LOGIN; CREATE ROLE root SUPERUSER LOGIN;
CREATE ROLE twin_dba SUPERUSER LOGIN; CREATE ROLE twin_shopper LOGIN;
CREATE ROLE nobody LOGIN; CREATE ROLE web LOGIN; CREATE ROLE staff LOGIN; CREATE ROLE shopper LOGIN;
"""

TABLES = """
CREATE SCHEMA play; GRANT ALL ON SCHEMA play TO PUBLIC;
SET ROLE dba;
CREATE EXTENSION payguard;
SELECT payguard.grant_access('web', 'checkout'), payguard.grant_access('staff', 'operator'),
       payguard.grant_access('shopper', 'owner');
SELECT payguard.create_order(o, 5, 'EUR', 'c-' || o) FROM unnest('{p1,p2,u1,u2,c1}'::text[]) o;
SELECT payguard.pay_order(o, o) FROM unnest('{p1,p2}'::text[]) o;
SELECT payguard.cancel_order('c1');
RESET ROLE;
CREATE SCHEMA shop AUTHORIZATION shopper;
GRANT USAGE ON SCHEMA shop TO PUBLIC;
CREATE TABLE shop.orders (LIKE payguard.orders INCLUDING ALL);
INSERT INTO shop.orders SELECT * FROM payguard.orders;
ALTER TABLE shop.orders OWNER TO shopper;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON shop.orders TO PUBLIC;
SET SESSION AUTHORIZATION shopper;
SELECT payguard.guard_table('shop.orders', 'status',
  '{"unpaid": ["paid", "cancelled"], "paid": ["refunded"], "cancelled": []}', version_column := 'version',
  initial := '{unpaid}', immutable_columns := '{amount,currency}', once := '{customer_id}', allow_delete := '{cancelled}',
  order_id_column := 'order_id', paid_states := '{paid}', success_states := '{paid,refunded}',
  amount_column := 'amount', currency_column := 'currency', closed_states := '{cancelled,refunded}',
  follow := '{"paid": "paid", "cancelled": "cancelled"}');
RESET SESSION AUTHORIZATION;
"""

# In another database, where payguard guards nothing: the twins, with triggers that do nothing,
# under the names of the real ones.
TWIN = """
SET SESSION AUTHORIZATION {owner};
CREATE TABLE {s}.orders (LIKE payguard.orders INCLUDING ALL);
INSERT INTO {s}.orders (order_id, customer_id, amount, currency, status, version, refunded_amount, created_at, updated_at)
VALUES ('p1', 'c-p1', 5, 'EUR', 'paid', 2, 0, now(), now()), ('p2', 'c-p2', 5, 'EUR', 'paid', 2, 0, now(), now()),
  ('u1', 'c-u1', 5, 'EUR', 'unpaid', 1, 0, now(), now()), ('u2', 'c-u2', 5, 'EUR', 'unpaid', 1, 0, now(), now()),
  ('c1', 'c-c1', 5, 'EUR', 'cancelled', 2, 0, now(), now());
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {s}.orders TO PUBLIC;
CREATE FUNCTION {s}.guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER {trigger} AFTER INSERT OR UPDATE OR DELETE ON {s}.orders FOR EACH ROW EXECUTE FUNCTION {s}.guard();
CREATE TRIGGER {trigger}_truncate BEFORE TRUNCATE ON {s}.orders EXECUTE FUNCTION {s}.guard();
CREATE UNIQUE INDEX orders_payguard_once ON {s}.orders (customer_id) WHERE status = 'paid';
RESET SESSION AUTHORIZATION;
CREATE TABLE kept.{s} AS SELECT * FROM {s}.orders;
"""

HELPER = "CREATE FUNCTION play.noop() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RETURN NEW; END $f$"
PARENT = ("CREATE TABLE play.parent (order_id text COLLATE \"C\" PRIMARY KEY)",
          "INSERT INTO play.parent SELECT order_id FROM {T}")
U = "UPDATE {T} SET " + UNDO + " WHERE order_id = 'p1'"

# name, statements. {T} table, {S} its schema, {F} the trigger's function, {G} the trigger,
# {I} a unique index, {O} the owner. A statement that begins with COPY gets LINE.
ATTACKS = [
    ("update", U),
    ("update only", "UPDATE ONLY {T} SET " + UNDO + " WHERE order_id = 'p1'"),
    ("update the amount", "UPDATE {T} SET amount = 0, version = version + 1 WHERE order_id = 'p1'"),
    ("update the id", "UPDATE {T} SET order_id = 'x', version = version + 1 WHERE order_id = 'p1'"),
    ("update to paid", "UPDATE {T} SET status = 'paid', version = version + 1 WHERE order_id = 'u1'"),
    ("update to cancelled", "UPDATE {T} SET status = 'cancelled', version = version + 1 WHERE order_id = 'u1'"),
    ("update to refunded", "UPDATE {T} SET status = 'refunded', version = version + 1 WHERE order_id = 'p1'"),
    ("update to an unknown status", "UPDATE {T} SET status = 'x', version = version + 1 WHERE order_id = 'u1'"),
    ("update without the version", "UPDATE {T} SET customer_id = 'x' WHERE order_id = 'u1'"),
    ("update with a stale version", "UPDATE {T} SET customer_id = 'x', version = 1 WHERE order_id = 'p1'"),
    ("update with a join", "UPDATE {T} t SET status = 'unpaid', version = t.version + 1 FROM {T} u WHERE t.order_id = u.order_id AND u.order_id = 'p1'"),
    ("update by a row", "UPDATE {T} SET (status, version) = (SELECT 'unpaid', 99) WHERE order_id = 'p1'"),
    ("update in a CTE", "WITH w AS (UPDATE {T} SET " + UNDO + " WHERE order_id = 'p1' RETURNING 1) SELECT count(*) FROM w"),
    ("update through a cursor", "BEGIN", "DECLARE c CURSOR FOR SELECT * FROM {T} WHERE order_id = 'p1' FOR UPDATE", "FETCH c",
     "UPDATE {T} SET " + UNDO + " WHERE CURRENT OF c", "COMMIT"),
    ("update under EXPLAIN ANALYZE", "EXPLAIN ANALYZE " + U),
    ("update by EXECUTE", "PREPARE p AS " + U, "EXECUTE p"),
    ("update in two steps", "BEGIN", "UPDATE {T} SET status = 'refunded', version = version + 1 WHERE order_id = 'p1'", U, "COMMIT"),
    ("update in DO", "DO $d$ BEGIN " + U + "; END $d$"),
    ("update in an SQL function", "CREATE FUNCTION play.f() RETURNS void LANGUAGE sql AS $f$ " + U + " $f$", "SELECT play.f()"),
    ("update in a SECURITY DEFINER function",
     "CREATE FUNCTION play.f() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS $f$ BEGIN " + U + "; END $f$", "SELECT play.f()"),
    ("update in a procedure that commits",
     "CREATE PROCEDURE play.f() LANGUAGE plpgsql AS $f$ BEGIN COMMIT; " + U + "; COMMIT; END $f$", "CALL play.f()"),
    ("update that swallows the error",
     "DO $d$ BEGIN BEGIN " + U + "; EXCEPTION WHEN OTHERS THEN NULL; END; END $d$"),
    ("update behind a savepoint", "BEGIN", "SAVEPOINT a", U, "RELEASE a", "COMMIT"),
    ("update in a rolled back savepoint, then again", "BEGIN", "SAVEPOINT a", "SELECT 1 FROM {T}", "ROLLBACK TO a", U, "COMMIT"),
    ("update with two-phase commit", "BEGIN", U, "PREPARE TRANSACTION 'attack'", "COMMIT PREPARED 'attack'"),
    ("update with deferred constraints", "BEGIN", "SET CONSTRAINTS ALL DEFERRED", U, "COMMIT"),
    ("update in SERIALIZABLE", "BEGIN ISOLATION LEVEL SERIALIZABLE", U, "COMMIT"),
    ("update with search_path in the way", "CREATE FUNCTION play.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz'",
     "SET search_path = play, pg_catalog", U),
    ("delete", "DELETE FROM {T} WHERE order_id = 'p1'"),
    ("delete with a join", "DELETE FROM {T} t USING {T} u WHERE t.order_id = u.order_id AND u.order_id = 'p1'"),
    ("delete in a CTE, insert again", "WITH w AS (DELETE FROM {T} WHERE order_id = 'p1' RETURNING *) SELECT count(*) FROM w",
     "INSERT INTO {T} (" + COLUMNS + ") VALUES ('p1', 5, 'EUR', 'unpaid', 1, 0, now(), now())"),
    ("truncate", "TRUNCATE {T}"),
    ("truncate cascade", "TRUNCATE {T} CASCADE"),
    ("truncate only, restart", "TRUNCATE ONLY {T} RESTART IDENTITY"),
    ("insert a paid row", "INSERT INTO {T} (" + COLUMNS + ") VALUES (" + PAID.format(id="p3") + ")"),
    ("insert of a select", "INSERT INTO {T} (" + COLUMNS + ") SELECT 'p3', amount, currency, status, version, 0, now(), now() FROM {T} WHERE order_id = 'p1'"),
    ("upsert", "INSERT INTO {T} (" + COLUMNS + ") VALUES ('p1', 5, 'EUR', 'unpaid', 9, 0, now(), now()) ON CONFLICT (order_id) DO UPDATE SET status = 'unpaid', version = {N}.version + 1"),
    ("COPY", "COPY {T} FROM STDIN"),
    ("MERGE update", "MERGE INTO {T} t USING (VALUES ('p1')) v (id) ON t.order_id = v.id WHEN MATCHED THEN UPDATE SET " + UNDO),
    ("MERGE delete", "MERGE INTO {T} t USING (VALUES ('p1')) v (id) ON t.order_id = v.id WHEN MATCHED THEN DELETE"),
    ("MERGE insert", "MERGE INTO {T} t USING (VALUES ('p3')) v (id) ON t.order_id = v.id WHEN NOT MATCHED THEN INSERT (" + COLUMNS + ") VALUES (" + PAID.format(id="p3") + ")"),
    ("view", "CREATE VIEW play.v AS SELECT * FROM {T}", "UPDATE play.v SET " + UNDO + " WHERE order_id = 'p1'"),
    ("view, delete", "CREATE VIEW play.v AS SELECT * FROM {T}", "DELETE FROM play.v WHERE order_id = 'p1'"),
    ("view, insert", "CREATE VIEW play.v AS SELECT * FROM {T}", "INSERT INTO play.v (" + COLUMNS + ") VALUES (" + PAID.format(id="p3") + ")"),
    ("view with an INSTEAD OF trigger", "CREATE VIEW play.v AS SELECT * FROM {T}",
     "CREATE FUNCTION play.f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN " + U + "; RETURN NEW; END $f$",
     "CREATE TRIGGER t INSTEAD OF UPDATE ON play.v FOR EACH ROW EXECUTE FUNCTION play.f()", "UPDATE play.v SET amount = 1"),
    ("rule of another table", "CREATE TABLE play.other (a int)", "CREATE RULE r AS ON INSERT TO play.other DO ALSO " + U, "INSERT INTO play.other VALUES (1)"),
    ("trigger of another table", "CREATE TABLE play.other (a int)",
     "CREATE FUNCTION play.f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN " + U + "; RETURN NEW; END $f$",
     "CREATE TRIGGER t AFTER INSERT ON play.other FOR EACH ROW EXECUTE FUNCTION play.f()", "INSERT INTO play.other VALUES (1)"),
    ("rule that does it instead", "CREATE RULE r AS ON DELETE TO {T} DO INSTEAD " + U, "DELETE FROM {T} WHERE order_id = 'c1'"),
    ("rule that does nothing instead", "CREATE RULE r AS ON INSERT TO {T} DO INSTEAD " + U,
     "INSERT INTO {T} (" + COLUMNS + ") VALUES ('n1', 5, 'EUR', 'unpaid', 1, 0, now(), now())"),
    ("BEFORE trigger that bends the row",
     "CREATE FUNCTION play.f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.status := 'paid'; RETURN NEW; END $f$",
     "CREATE TRIGGER zzz BEFORE INSERT ON {T} FOR EACH ROW EXECUTE FUNCTION play.f()",
     "INSERT INTO {T} (" + COLUMNS + ") VALUES ('n1', 5, 'EUR', 'unpaid', 1, 0, now(), now())"),
    ("AFTER trigger that updates again",
     "CREATE FUNCTION play.f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN IF pg_trigger_depth() = 1 THEN " + U + "; END IF; RETURN NEW; END $f$",
     "CREATE TRIGGER zzz AFTER INSERT ON {T} FOR EACH ROW EXECUTE FUNCTION play.f()",
     "INSERT INTO {T} (" + COLUMNS + ") VALUES ('n1', 5, 'EUR', 'unpaid', 1, 0, now(), now())"),
    ("replica role, update", "SET session_replication_role = replica", U),
    ("replica role, delete", "SET session_replication_role = replica", "DELETE FROM {T} WHERE order_id = 'p1'"),
    ("replica role, insert", "SET session_replication_role = replica", "INSERT INTO {T} (" + COLUMNS + ") VALUES (" + PAID.format(id="p3") + ")"),
    ("replica role, truncate", "SET session_replication_role = replica", "TRUNCATE {T}"),
    ("replica role, COPY", "SET session_replication_role = replica", "COPY {T} FROM STDIN"),
    ("replica role, disable the trigger", "SET session_replication_role = replica", "ALTER TABLE {T} DISABLE TRIGGER ALL", U),
    ("foreign key, ON DELETE CASCADE", *PARENT, "ALTER TABLE {T} ADD FOREIGN KEY (order_id) REFERENCES play.parent ON DELETE CASCADE",
     "DELETE FROM play.parent WHERE order_id = 'p1'"),
    ("foreign key, ON UPDATE CASCADE", *PARENT, "ALTER TABLE {T} ADD FOREIGN KEY (order_id) REFERENCES play.parent ON UPDATE CASCADE",
     "UPDATE play.parent SET order_id = 'x' WHERE order_id = 'p1'"),
    ("disable all triggers", "ALTER TABLE {T} DISABLE TRIGGER ALL", U),
    ("disable user triggers", "ALTER TABLE {T} DISABLE TRIGGER USER", U),
    ("disable the trigger", "ALTER TABLE {T} DISABLE TRIGGER {G}", U),
    ("fire in replica role alone", "ALTER TABLE {T} ENABLE REPLICA TRIGGER {G}", U),
    ("disable the trigger against truncate", "ALTER TABLE {T} DISABLE TRIGGER {G}_truncate", "TRUNCATE {T}"),
    ("disable it inside of a default", "CREATE FUNCTION play.f() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN CREATE TABLE IF NOT EXISTS play.x (); RETURN 1; END $f$",
     "ALTER TABLE {T} DISABLE TRIGGER ALL, ADD COLUMN more int DEFAULT play.f()", U),
    ("disable it in a transaction", "BEGIN", "ALTER TABLE {T} DISABLE TRIGGER ALL", U, "ALTER TABLE {T} ENABLE TRIGGER ALL", "COMMIT"),
    ("drop the trigger", "DROP TRIGGER {G} ON {T}", U),
    ("replace the trigger", HELPER, "CREATE OR REPLACE TRIGGER {G} BEFORE INSERT ON {T} FOR EACH ROW EXECUTE FUNCTION play.noop()", U),
    ("rename and drop the trigger", "ALTER TRIGGER {G} ON {T} RENAME TO x", "DROP TRIGGER x ON {T}", U),
    ("replace the function", "CREATE OR REPLACE FUNCTION {F}() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN RETURN NULL; END $f$", U),
    ("drop the function", "DROP FUNCTION {F}() CASCADE", U),
    ("let the trigger go with an extension", "ALTER TRIGGER {G} ON {T} DEPENDS ON EXTENSION plpgsql", U),
    ("ALTER COLUMN TYPE USING", "ALTER TABLE {T} ALTER status TYPE varchar(20) USING CASE WHEN order_id = 'p1' THEN 'unpaid' ELSE status END"),
    ("drop and add the column", "ALTER TABLE {T} DROP COLUMN status CASCADE, ADD COLUMN status text DEFAULT 'unpaid'"),
    ("swap columns", "ALTER TABLE {T} RENAME status TO old", "ALTER TABLE {T} ADD COLUMN status text DEFAULT 'unpaid'", "UPDATE {T} SET old = 'unpaid', version = version + 1 WHERE order_id = 'p1'"),
    ("swap tables", "CREATE TABLE play.copy AS SELECT * FROM {T}", "ALTER TABLE {T} RENAME TO old", "ALTER TABLE play.copy SET SCHEMA {S}",
     "ALTER TABLE {S}.copy RENAME TO {N}", U),
    ("move it to another schema", "ALTER TABLE {T} SET SCHEMA play", "UPDATE play.{N} SET " + UNDO + " WHERE order_id = 'p1'"),
    ("drop the table", "DROP TABLE {T} CASCADE"),
    ("drop the schema", "DROP SCHEMA {S} CASCADE"),
    ("drop what the owner owns", "DROP OWNED BY {O} CASCADE"),
    ("set unlogged", "ALTER TABLE {T} SET UNLOGGED", U),
    ("a child, and its rows", "CREATE TABLE play.child () INHERITS ({T})", "INSERT INTO play.child (" + COLUMNS + ") VALUES (" + PAID.format(id="p3") + ")"),
    ("a child of CREATE SCHEMA", "CREATE SCHEMA attack CREATE TABLE child () INHERITS ({T})", "INSERT INTO attack.child (" + COLUMNS + ") VALUES (" + PAID.format(id="p3") + ")"),
    ("an existing table as child", "CREATE TABLE play.child (LIKE {T} INCLUDING ALL)", "INSERT INTO play.child (" + COLUMNS + ") VALUES (" + PAID.format(id="p3") + ")",
     "ALTER TABLE play.child INHERIT {T}"),
    ("a parent, and its update", "CREATE TABLE play.parent (LIKE {T})", "ALTER TABLE {T} INHERIT play.parent", "UPDATE play.parent SET " + UNDO + " WHERE order_id = 'p1'"),
    ("partition of another table", "CREATE TABLE play.parent (LIKE {T}) PARTITION BY LIST (order_id)", "ALTER TABLE play.parent ATTACH PARTITION {T} DEFAULT",
     "UPDATE play.parent SET " + UNDO + " WHERE order_id = 'p1'"),
    ("truncate by a parent", "CREATE TABLE play.parent (LIKE {T})", "ALTER TABLE {T} INHERIT play.parent", "TRUNCATE play.parent"),
    ("drop the unique index", "DROP INDEX {I}", "UPDATE {T} SET status = 'unpaid', version = version + 1 WHERE order_id = 'p1'"),
    ("drop the unique index concurrently", "DROP INDEX CONCURRENTLY {I}", U),
    ("row security in the way", "ALTER TABLE {T} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY", "CREATE POLICY p ON {T} USING (true)", U),
    ("drop the extension", "DROP EXTENSION payguard CASCADE", U),
    ("drop another extension", "ALTER TRIGGER {G} ON {T} DEPENDS ON EXTENSION plpgsql", "DROP EXTENSION plpgsql CASCADE", U),
    ("own setting for the way out", "SET payguard.allow_unsafe_ddl = on", "DROP TRIGGER {G} ON {T}", U),
    ("disable the event triggers", "ALTER EVENT TRIGGER payguard_ddl_end DISABLE", "ALTER EVENT TRIGGER payguard_ddl_start DISABLE", "ALTER TABLE {T} DISABLE TRIGGER ALL", U),
    ("edit pg_trigger", "UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = '{T}'::regclass", U),
    ("delete from pg_trigger", "DELETE FROM pg_depend WHERE classid = 'pg_trigger'::regclass AND objid IN (SELECT oid FROM pg_trigger WHERE tgrelid = '{T}'::regclass)",
     "DELETE FROM pg_trigger WHERE tgrelid = '{T}'::regclass", "UPDATE pg_class SET relhastriggers = false WHERE oid = '{T}'::regclass", U),
    ("edit pg_proc", "UPDATE pg_proc SET prosrc = 'BEGIN RETURN NULL; END', probin = NULL, prolang = (SELECT oid FROM pg_language WHERE lanname = 'plpgsql') WHERE oid = '{F}()'::regprocedure", U),
    ("logical replication", "SUBSCRIBE"),
]


class Matrix:
    """A cluster with a template database, and one that is made anew whenever it has changed."""

    def __init__(self, server):
        self.server = server
        self.tap = Tap()
        self.admin = None  # of the database that is attacked
        self.admins = {}
        self.marks = {}
        self.oids = {}
        self.connect("postgres", "postgres", SETUP)
        for database in ("template", "twins", "source"):
            self.connect("postgres", "postgres", f"CREATE DATABASE {database}")
        self.connect("template", "postgres", TABLES)
        self.connect("twins", "postgres", """
          CREATE SCHEMA play; GRANT ALL ON SCHEMA play TO PUBLIC; CREATE EXTENSION payguard; CREATE SCHEMA kept;
          CREATE SCHEMA twin_shop AUTHORIZATION twin_shopper; CREATE SCHEMA twin_own AUTHORIZATION twin_dba;
          GRANT USAGE ON SCHEMA twin_shop, twin_own TO PUBLIC; GRANT USAGE ON SCHEMA payguard TO PUBLIC;
          GRANT SELECT ON payguard.orders TO PUBLIC""")
        for schema, owner, trigger in (("twin_shop", "twin_shopper", "payguard_guard"),
                                       ("twin_own", "twin_dba", "payguard_protect")):
            self.connect("twins", "postgres", TWIN.format(s=schema, owner=owner, trigger=trigger))
        self.connect("source", "postgres", "CREATE SCHEMA play")
        self.renew("template")
        self.renew("twins")

    def connect(self, database, user, script=None):
        connection = psycopg2.connect(host=self.server.folder, port=5432, user=user, dbname=database)
        connection.autocommit = True
        if script is None:
            return connection
        try:
            with connection.cursor() as cursor:
                cursor.execute(script)
        finally:
            connection.close()
        return None

    def renew(self, template):
        """Makes the database that is attacked anew."""
        name = f"attacked_{template}"
        if template in self.admins:
            self.admins[template].close()
        self.connect("postgres", "postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.connect("postgres", "postgres", f"CREATE DATABASE {name} TEMPLATE {template}")
        self.admin = self.admins[template] = self.connect(name, "postgres")
        for table in ("twin_own.orders", "twin_shop.orders") if template == "twins" else ("payguard.orders", "shop.orders"):
            self.oids[table] = self.rows(f"SELECT '{table}'::regclass::oid")[0][0]
        self.marks[template] = self.fingerprint()

    def clean(self, template):
        """Takes away what an attack has left in its own schema; what is left then needs renew()."""
        left = self.rows("""SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'play'::regnamespace)
                                OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'play'::regnamespace)""")[0][0]
        if not left and self.fingerprint() == self.marks[template]:
            return
        with self.admin.cursor() as cursor:
            cursor.execute("SET payguard.allow_unsafe_ddl = on; DROP SCHEMA IF EXISTS play CASCADE; "
                           "CREATE SCHEMA play; GRANT ALL ON SCHEMA play TO PUBLIC; RESET payguard.allow_unsafe_ddl")
        if self.fingerprint() != self.marks[template]:
            self.renew(template)

    def rows(self, query):
        with self.admin.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def fingerprint(self):
        """All that an attack may leave behind outside of its own schema, but for rows."""
        return self.rows("""
          WITH c AS (SELECT * FROM pg_class WHERE relnamespace <> ALL ('{play,pg_toast}'::regnamespace[]))
          SELECT md5(string_agg(x, ' ' ORDER BY x)) FROM (
            SELECT concat(oid, relname, relnamespace, relowner, relpersistence, relrowsecurity, relnatts, relhastriggers) FROM c
            UNION ALL SELECT concat(t.oid, tgname, tgenabled, tgfoid, tgtype) FROM pg_trigger t JOIN c ON c.oid = tgrelid
            UNION ALL SELECT concat(oid, proname, prosrc, pronamespace) FROM pg_proc WHERE pronamespace <> 'play'::regnamespace
            UNION ALL SELECT concat(oid, evtname, evtenabled) FROM pg_event_trigger
            UNION ALL SELECT concat(attrelid, attnum, attname, atttypid) FROM pg_attribute JOIN c ON c.oid = attrelid
            UNION ALL SELECT concat(r.oid, rulename) FROM pg_rewrite r JOIN c ON c.oid = ev_class
            UNION ALL SELECT concat(inhrelid, inhparent) FROM pg_inherits JOIN c ON c.oid IN (inhrelid, inhparent)
            UNION ALL SELECT concat(oid, polname) FROM pg_policy
            UNION ALL SELECT concat(classid, objid, refobjid, deptype) FROM pg_depend WHERE deptype = 'x'
            UNION ALL SELECT concat(oid, extname) FROM pg_extension) t (x)""")[0][0]

    def facts(self, table):
        """The rows of a table, whatever it is called by now, and of those below and of its name."""
        found = self.rows(f"SELECT oid::regclass::text FROM pg_class WHERE oid = {self.oids[table]}")
        if not found:
            return "dropped"
        columns = [r[0] for r in self.rows(
            f"SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = {self.oids[table]} "
            "AND attnum IN (1, 2, 3, 5, 7) AND NOT attisdropped ORDER BY attnum")]
        if len(columns) != 5:
            return "columns dropped"
        rows = [self.rows(f"SELECT {', '.join(columns)} FROM {found[0][0]} ORDER BY 1")]
        if self.rows(f"SELECT to_regclass('{table}')::oid")[0][0] not in (None, self.oids[table]):
            rows.append(self.rows(f"SELECT * FROM (SELECT order_id, status FROM {table}) t ORDER BY 1"))
        return str(rows)

    def attack(self, statements, table, role):
        """Runs the statements; the SQLSTATE of the first that fails, or None."""
        own = table in ("payguard.orders", "twin_own.orders")
        twin = table.startswith("twin")
        schema, name = table.split(".")
        owner = ("twin_" if twin else "") + ("dba" if own else "shopper")
        user = {"public": "nobody", "checkout": "web", "operator": "staff", "owner": owner, "superuser": "root"}[role]
        values = {
            "T": table, "S": schema, "N": name, "O": owner,
            "F": f"{schema}.guard" if twin else "payguard.deny_direct_write" if own else "payguard.guard",
            "G": "payguard_protect" if own else "payguard_guard",
            "I": "payguard.payments_that_count" if own and not twin else f"{schema}.orders_payguard_once"}
        connection = self.connect("attacked_twins" if twin else "attacked_template", user)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    if statement == "SUBSCRIBE":
                        return self.subscribe(cursor, table)
                    # the application's format has braces nowhere else
                    for key, value in values.items():
                        statement = statement.replace("{" + key + "}", value)
                    if statement.startswith("COPY"):
                        cursor.copy_expert(statement, io.StringIO(LINE))
                    else:
                        cursor.execute(statement)
        except psycopg2.Error as error:
            return error.pgcode or "lost"
        finally:
            connection.close()
        return None

    def subscribe(self, cursor, table):
        """A source with the same table, unguarded, whose change is applied here."""
        schema, name = table.split(".")
        source = self.connect("source", "postgres")
        with source.cursor() as there:
            there.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}; "
                          f"CREATE TABLE {table} (order_id text PRIMARY KEY, status text, version bigint); "
                          f"INSERT INTO {table} VALUES ('p1', 'paid', 2); "
                          f"DROP PUBLICATION IF EXISTS p; CREATE PUBLICATION p FOR TABLE {table}")
            there.execute("SELECT pg_create_logical_replication_slot('attack', 'pgoutput')")
        try:
            cursor.execute(f"CREATE SUBSCRIPTION s CONNECTION 'host={self.server.folder} port=5432 user=postgres dbname=source' "
                           "PUBLICATION p WITH (create_slot = false, slot_name = attack, copy_data = false)")
            with source.cursor() as there:
                there.execute(f"UPDATE {table} SET status = 'unpaid', version = 3 WHERE order_id = 'p1'")
            stop = time.monotonic() + 30
            while time.monotonic() < stop:
                if self.rows(f"SELECT status FROM {table} WHERE order_id = 'p1'") == [("unpaid",)]:
                    return None
                if self.rows("SELECT sum(apply_error_count) FROM pg_stat_subscription_stats")[0][0]:
                    return "stopped"
                time.sleep(0.05)
            return "lost"
        finally:
            self.unsubscribe(source)

    def unsubscribe(self, source):
        with self.admin.cursor() as here:
            here.execute("SELECT count(*) FROM pg_subscription WHERE subname = 's'")
            if here.fetchone()[0]:
                here.execute("ALTER SUBSCRIPTION s DISABLE")
                here.execute("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
                here.execute("DROP SUBSCRIPTION s")
        with source.cursor() as there:
            for _ in range(100):
                there.execute("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'attack' AND active")
                if there.fetchone()[0] == 0:
                    break
                time.sleep(0.1)
            there.execute("SELECT pg_drop_replication_slot('attack')")
        source.close()

    def outcome(self, statements, table, role):
        """What became of an attack: (word, what changed)."""
        template = "twins" if table.startswith("twin") else "template"
        self.admin = self.admins[template]
        before = self.facts(table)
        code = self.attack(statements, table, role)
        after = self.facts(table)
        changed = before != after
        found = []
        if template == "template" and (changed or code is None or self.fingerprint() != self.marks[template]):
            found = self.rows("SELECT object, problem FROM payguard.verify()")
        if template == "twins" and changed and after.startswith("["):
            schema = table.split(".")[0]
            with self.admin.cursor() as cursor:
                cursor.execute("SET session_replication_role = replica")
                try:
                    cursor.execute(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept.{schema}")
                except psycopg2.Error:
                    self.renew(template)
                    return code, changed, found
                cursor.execute("RESET session_replication_role")
        if found or (changed and (template == "template" or not after.startswith("["))):
            self.renew(template)
        else:
            self.clean(template)
        return code, changed, found

    def run(self, name, statements):
        line = [f"{name:46}"]
        for twin, table in (("twin_own.orders", "payguard.orders"), ("twin_shop.orders", "shop.orders")):
            able = ""
            for role in ROLES:
                code, changed, _ = self.outcome(statements, twin, role)
                if code is None and changed:
                    able = role
                    break
            line.append(f"{able:9}")
            problem = "" if able else "no role succeeds on the twin"
            for role in ROLES:
                code, changed, found = self.outcome(statements, table, role)
                word = "found" if found else "GOT THROUGH" if changed else code or "harmless"
                if word == "GOT THROUGH":
                    problem += f" as {role} it gets through;"
                line.append(f"{word:9}")
            self.tap.ok(not problem, f"{name}, {table}", problem)
        return " ".join(line)


def main():
    chosen = os.environ.get("ATTACKS", "").split(",") if os.environ.get("ATTACKS") else None
    with cluster.Cluster() as server:
        with open(os.path.join(server.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
            conf.write("wal_level = logical\nallow_system_table_mods = on\nwal_retrieve_retry_interval = 100ms\n")
        server.run("pg_ctl", "-D", server.data, "-l", server.log, "-w", "restart")
        matrix = Matrix(server)
        table = [matrix.run(name, statements) for name, *statements in ATTACKS
                 if chosen is None or name in chosen]
        matrix.tap.ok(chosen is not None or len(table) >= 60, f"{len(table)} ways")
        head = " ".join(f"{r:9}" for r in ROLES)
        print(f"# {'':46} {'own tables':59} guarded table")
        print(f"# {'way':46} {'twin':9} {head} {'twin':9} {head}")
        for row in table:
            print("# " + row)
        return matrix.tap.done()


sys.exit(main())
