#!/usr/bin/python3
"""An attacker with a role of his own and everything that a role can plant: operators, functions and
types with the names of PostgreSQL's own, first on the search_path, before the extension is made and
while it works; temporary tables with the names of ours; SQL in names; our settings.

Whatever is planted raises "caught": none of it may ever run.
"""
import os
import sys

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "..", "..", d) for d in ("lib", "history")]
from cluster import Cluster  # noqa: E402
from play import play  # noqa: E402
from tap import Tap, choose_seed  # noqa: E402

# functions and operators over these types are planted
TYPES = "{text,int4,int8,bool,uuid,timestamptz,interval,jsonb,bytea,name,oid,numeric,text[],xid8,xid}"
PLANT = f"""
CREATE SCHEMA hostile AUTHORIZATION attacker;
SET ROLE attacker;
DO $plant$
DECLARE
  o record;
BEGIN
  FOR o IN
    SELECT p.proname, pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments,
           pg_catalog.format_type(p.prorettype, NULL) AS result
    FROM pg_catalog.pg_proc p
    WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND p.provariadic = 0
      AND NOT p.proretset AND p.pronargs BETWEEN 0 AND 3
      AND (p.prorettype || p.proargtypes::oid[]) <@ '{TYPES}'::regtype[]::oid[]
      AND p.proargmodes IS NULL
  LOOP
    EXECUTE pg_catalog.format(
      'CREATE FUNCTION hostile.%I(%s) RETURNS %s LANGUAGE plpgsql AS '
      '$f$ BEGIN RAISE EXCEPTION ''caught: %s by %%'', current_user; END $f$',
      o.proname, o.arguments, o.result, pg_catalog.replace(o.proname, '''', ''''''));
  END LOOP;
  FOR o IN
    SELECT DISTINCT ON (p.oprname, p.oprleft, p.oprright) p.oprname, p.oprleft::regtype AS l,
           p.oprright::regtype AS r, p.oprresult::regtype AS result,
           pg_catalog.row_number() OVER () AS n
    FROM pg_catalog.pg_operator p
    WHERE p.oprnamespace = 'pg_catalog'::regnamespace AND p.oprleft <> 0
      AND ARRAY[p.oprleft, p.oprright, p.oprresult] <@ '{TYPES}'::regtype[]::oid[]
  LOOP
    EXECUTE pg_catalog.format(
      'CREATE FUNCTION hostile.op_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS '
      '$f$ BEGIN RAISE EXCEPTION ''caught: operator %s by %%'', current_user; END $f$',
      o.n, o.l, o.r, o.result, pg_catalog.replace(o.oprname, '%', '%%'));
    EXECUTE pg_catalog.format(
      'CREATE OPERATOR hostile.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = hostile.op_%s)',
      o.oprname, o.l, o.r, o.n);
  END LOOP;
END $plant$;
CREATE DOMAIN hostile.text AS int;
CREATE DOMAIN hostile.regclass AS int;
CREATE DOMAIN hostile.jsonb AS int;
CREATE DOMAIN hostile.uuid AS int;
CREATE TABLE hostile.pg_class (oid int);
CREATE TABLE hostile.pg_trigger (oid int);
RESET ROLE;
"""
PATH = "SET search_path = hostile, pg_temp, pg_catalog"
NAMES = ["'; DROP TABLE payguard.orders; --", '"', "$1", "%s %n", "\\", "a'b\"c", "{1,2}", "(a,b)",
         "NULL", "日本語", "\u202eevil", "' OR ''='"]


# casts of types of his own, which note who runs them
CASTS = """
SET search_path = pg_catalog, pg_temp;
CREATE TABLE hostile.casts (cast_to text, by_user name);
CREATE TYPE hostile.state AS ENUM ('new', 'paid');
CREATE TYPE hostile.name AS (name text);
"""
CAST = """
CREATE FUNCTION hostile.cast_{n}({a}) RETURNS {b} LANGUAGE plpgsql AS $f$ BEGIN
  INSERT INTO hostile.casts VALUES ('{b}', current_user);
  RETURN {value};
END $f$;
CREATE CAST ({a} AS {b}) WITH FUNCTION hostile.cast_{n}({a}) AS IMPLICIT;
"""


def casts(tap, dba, cursor):
    """Casts run with the rights of who makes the call, and none of them in what payguard does with a table."""
    cursor.execute(CASTS)
    for n, (a, b, value) in enumerate((("hostile.state", "text", "'new'"), ("text", "hostile.state", "'new'"),
                                       ("hostile.name", "text", "'cast'"), ("hostile.name", "int8", "5"),
                                       ("hostile.name", "jsonb", "'{}'"))):
        cursor.execute(CAST.format(n=n, a=a, b=b, value=value))
    cursor.execute("SELECT (payguard.create_order('(cast)'::hostile.name, ROW('x')::hostile.name, 'EUR')).order_id")
    cursor.execute("SELECT cast_to, by_user FROM hostile.casts ORDER BY 1")
    seen = cursor.fetchall()
    tap.ok(seen == [("bigint", "attacker"), ("text", "attacker")] or seen == [("int8", "attacker"), ("text", "attacker")],
           "casts of arguments run, with the caller's rights", [seen])
    cursor.execute("TRUNCATE hostile.casts")
    cursor.execute("CREATE TABLE hostile.shop (id int PRIMARY KEY, status hostile.state NOT NULL, order_id hostile.name)")
    cursor.execute("INSERT INTO hostile.shop VALUES (1, 'new'::hostile.state, '(cast)')")
    cursor.execute("SELECT count(*) FROM payguard.guard_table('hostile.shop', 'status', '{\"new\": [\"paid\"], \"paid\": []}',"
                   " order_id_column := 'order_id', paid_states := '{paid}')")
    good, notes = refused(cursor, "UPDATE hostile.shop SET status = 'paid'::hostile.state", "23514")
    tap.ok(good, "a guard on a status and an order that have casts holds", notes)
    for sql in ("SELECT * FROM payguard.verify()", "SELECT * FROM payguard.guards", "SELECT * FROM payguard.maintain()",
                "SELECT payguard.guard_bad_rows('hostile.shop')", "SELECT * FROM payguard.metrics"):
        dba.execute(sql)
    dba.execute("SELECT cast_to, by_user FROM hostile.casts")
    seen = dba.fetchall()
    tap.ok(not seen, "no cast runs in what payguard does with the table", [seen])


def leaks(tap, dba, connect):
    """Who knows a key or a transaction of somebody else's order is told nothing of that order."""
    dba.execute("SELECT payguard.register_channel('secret', first_query_after := '1 h')")
    dba.execute("SELECT payguard.create_order('SECRET-order', 31337, 'EUR', 'SECRET-customer')")
    dba.execute("SELECT payment_id FROM payguard.start_payment('SECRET-order', 'their-key', 'secret',"
                " details := '{\"card\": \"SECRET-card\"}')")
    payment, = dba.fetchone()
    dba.execute("SELECT payguard.report_payment(%s, 'succeeded', 'their-txn', 31337, 'EUR', message := 'SECRET-message')",
                (payment,))
    dba.execute("SELECT payguard.refund_order('SECRET-order', 'their-refund', 1337, 'SECRET-reason',"
                " '{\"to\": \"SECRET-iban\"}')")
    dba.execute("SELECT refund_id FROM payguard.refunds WHERE order_id = 'SECRET-order'")
    refund, = dba.fetchone()
    dba.execute("SELECT payguard.create_order('held', 31338, 'EUR', 'SECRET-customer')")
    cursor = connect("read committed").cursor()
    cursor.execute("SET search_path = pg_catalog, pg_temp")
    cursor.execute("SELECT payguard.create_order('mine', 5, 'EUR', 'me')")
    cursor.execute("SELECT payguard.create_order('paid', 5, 'EUR', 'me')")
    cursor.execute("SELECT payguard.pay_order('paid', 'paid')")
    cursor.execute("SELECT payguard.create_order('open', 5, 'EUR', 'me')")
    cursor.execute("SELECT payment_id FROM payguard.start_payment('open', 'open', 'secret')")
    mine, = cursor.fetchone()
    told, errors = [], 0
    for sql in ("payguard.pay_order('mine', 'their-key')", "payguard.pay_order('paid', 'their-key')",
                "payguard.pay_order('mine', 'their-key', channel := 'secret')",
                "payguard.pay_order('none', 'their-key')", "payguard.pay_order('mine', 'their-key', 1, 'USD', 9)",
                "payguard.try_pay_order('mine', 'their-key')",
                "payguard.pay_orders(ARRAY[('mine', 'their-key', NULL, NULL, NULL, NULL)]::payguard.pay_request[])",
                "payguard.start_payment('mine', 'their-key', 'secret')",
                "payguard.request_payment('mine', 'their-key', 'secret')",
                "payguard.revoke_key('mine', 'their-key')", "payguard.revoke_key('none', 'their-key')",
                "payguard.refund_order('paid', 'their-refund', 1, 'x')",
                "payguard.create_order('SECRET-order', 5, 'EUR', 'me')",
                "payguard.create_order('held', 5, 'USD')",
                "payguard.record_payment('mine', 'secret', 'their-txn', 5, 'EUR')",
                f"payguard.report_payment('{mine}', 'succeeded', 'their-txn', 5, 'EUR')",
                "payguard.record_notification('secret', 'x', channel_status := 'succeeded', channel_txn_id := 'their-txn',"
                f" payment_id := '{mine}')"):
        try:
            cursor.execute(f"SELECT * FROM {sql}")
            text = str(cursor.fetchall())
        except psycopg2.Error as error:
            errors += 1
            d = error.diag
            text = " ".join(map(str, (d.message_primary, d.message_detail, d.message_hint, d.context, d.table_name)))
        said = text.replace("SECRET-order", "") if "SECRET-order" in sql else text
        if any(secret in said for secret in ("SECRET", "31337", "31338", "1337", payment, refund)):
            told.append(f"{sql}: {text}")
    tap.ok(not told and errors > 8, f"{errors} refusals tell nothing of another customer's order", told)


def refused(cursor, sql, code):
    """The call fails with this SQLSTATE, or with that of our own guards; otherwise what happens."""
    try:
        cursor.execute(sql)
    except psycopg2.Error as error:
        return error.pgcode in (code, "PY902"), [f"{error.pgcode}: {error}"]
    return False, ["it is allowed"]


def main():
    tap = Tap()
    seed = choose_seed()
    with Cluster() as server:

        def connect(level=None):
            """With a level as the attacker, his schema first; otherwise as the DBA."""
            dsn = server.dsn if level is None else server.dsn.replace("user=postgres", "user=attacker")
            connection = psycopg2.connect(dsn)
            connection.autocommit = True
            if level is not None:
                cursor = connection.cursor()
                cursor.execute("SELECT pg_catalog.set_config('default_transaction_isolation', %s, false)",
                               (level,))
                cursor.execute(PATH)
                for name in ("orders", "payments", "events", "refunds", "tasks", "pg_proc"):
                    cursor.execute(f"CREATE TEMP TABLE {name} (order_id pg_catalog.text)")
                for name in ("text", "jsonb", "uuid", "regclass", "timestamptz", "interval"):
                    cursor.execute(f"CREATE DOMAIN pg_temp.{name} AS pg_catalog.int4")
            return connection

        dba = connect().cursor()
        dba.execute("CREATE ROLE attacker LOGIN")
        dba.execute(PLANT)
        dba.execute("SELECT count(*) FROM pg_proc WHERE pronamespace = 'hostile'::regnamespace")
        planted = dba.fetchone()[0]
        tap.ok(planted > 900, f"{planted} functions and operators are planted")
        for trap in ("SELECT lower('X'::pg_catalog.text)", "SELECT 1::pg_catalog.int8 = 2::pg_catalog.int8"):
            good, notes = refused(connect("read committed").cursor(), trap, "P0001")
            tap.ok(good, f"and catch who steps on them: {trap}", notes)
        dba.execute("SET search_path = hostile, pg_catalog")
        for statement in ("CREATE EXTENSION payguard", "DROP EXTENSION payguard",
                          "CREATE EXTENSION payguard VERSION '1.0.0'", "ALTER EXTENSION payguard UPDATE"):
            try:
                dba.execute(statement)
                tap.ok(True, f"{statement}: nothing planted runs meanwhile")
            except psycopg2.Error as error:
                tap.ok(False, f"{statement}: nothing planted runs meanwhile", [error])
                raise
        dba.execute("RESET search_path")
        for access in ("checkout", "cashier", "channel", "support", "refunds", "admin", "auditor", "consumer", "owner"):
            dba.execute("SELECT payguard.grant_access('attacker', %s)", (access,))

        stage, wrong = play(connect, seed, "read committed", 2500, 20, 6, approves=False)
        # direct writes are refused for want of the privilege here, before the guards are asked
        wrong = [line for line in wrong if not line.startswith("42501")]
        tap.ok(not wrong, "2500 calls with all that planted: none of it runs", wrong)
        cursor = connect("read committed").cursor()
        for call in ("payguard.verify()", "payguard.broken_guards()", "payguard.metrics",
                     "payguard.payment_rates()", "payguard.payment_curve()", "payguard.dead_tasks", "payguard.guards",
                     "payguard.stat_counters", "payguard.role_access()", "payguard.maintain()",
                     "payguard.reconcile('internal', '2020-01-01', '2040-01-01')",
                     "payguard.read_events('c', 10)", "payguard.order_timeline('f0/a')"):
            try:
                cursor.execute(f"SELECT * FROM {call}")
                tap.ok(True, f"nor by {call}")
            except psycopg2.Error as error:
                tap.ok(error.pgcode in ("42501", "PY401"), f"nor by {call}", [error])
        dba.execute("SELECT * FROM payguard.verify()")
        violations = dba.fetchall()
        tap.ok(not violations, "verify() finds nothing", violations)

        for name in NAMES:
            try:
                cursor.execute("SELECT (payguard.create_order(%s, 5, 'EUR', %s)).order_id", (name, name))
                cursor.execute("SELECT outcome, order_id FROM payguard.try_pay_order(%s, %s)", (name, name))
                found = cursor.fetchone()
                cursor.execute("SELECT outcome FROM payguard.refund_order(%s, %s, NULL, %s)",
                               (name, name, name))
                tap.ok(found == ("paid", name), f"an order may be called {name}", [found])
            except psycopg2.Error as error:
                tap.ok(False, f"an order may be called {name}", [error])

        casts(tap, dba, connect("read committed").cursor())
        leaks(tap, dba, connect)

        for sql in ("SET payguard.allow_unsafe_ddl = on", "SET payguard.store = spi",
                    "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION payguard.check_ddl_end()",
                    "ALTER EVENT TRIGGER payguard_ddl_end DISABLE", "ALTER TABLE payguard.orders ADD x int4",
                    "CREATE FUNCTION payguard.mine() RETURNS int4 LANGUAGE sql AS 'SELECT 1'",
                    "SELECT payguard.grant_access('attacker', 'delegate')",
                    "UPDATE payguard.orders SET status = 'paid'", "TRUNCATE payguard.events",
                    "INSERT INTO payguard.payments DEFAULT VALUES",
                    "SELECT pg_catalog.setval('payguard.events_event_id_seq', 1)",
                    "DROP EXTENSION payguard", "SET ROLE postgres", "SET SESSION AUTHORIZATION postgres"):
            good, notes = refused(cursor, sql, "42501")
            tap.ok(good, f"refused: {sql}", notes)
        cursor.execute("SET payguard.actor = 'the boss'")
        good, notes = refused(cursor, "SELECT payguard.create_order('actor', 1, 'EUR')", "42501")
        tap.ok(good, "who is no delegate acts for nobody else", notes)
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
