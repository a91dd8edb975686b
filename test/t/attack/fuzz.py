#!/usr/bin/python3
"""sqlsmith's random statements, in two runs: as a web front end with the accesses that one has, and as
the owner of guarded tables, who has no access at all. No crash, no internal error, nothing that verify()
finds; and what was to be reached was reached, which the counts show.

PAYGUARD_SECONDS (10), of which each run has half; PAYGUARD_SEED: the choice of statements, not their
timing (a statement is given one second, and what failed is chosen less often from then on).
"""
import collections
import os
import re
import shutil
import subprocess
import sys
import time

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
SRC = os.environ.get("PAYGUARD_SRC") or os.path.join(HERE, "..", "..", "..")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
from cluster import Cluster  # noqa: E402
from tap import Tap, choose_seed, skip  # noqa: E402

SETTINGS = ("track_functions = all", "log_line_prefix = '%e %u '", "log_error_verbosity = verbose")
# delegate, since a front end speaks for its customers
MAKE = """
CREATE EXTENSION payguard;
SELECT payguard.register_channel('card', first_query_after := '1 h');
SELECT count(payguard.create_order('order-' || i, 100, 'EUR', 'c')) FROM generate_series(1, 60) i;
SELECT count(payguard.pay_order('order-' || i, 'key-' || i)) FROM generate_series(1, 20) i;
SELECT count(payguard.request_payment('order-' || i, 'key-' || i, 'card')) FROM generate_series(21, 40) i;
CREATE ROLE web LOGIN;
SELECT payguard.grant_access('web', access) FROM unnest('{checkout,delegate}'::text[]) access;
CREATE ROLE shop LOGIN;
"""
# sqlsmith chooses among 2900 functions and fills an argument with anything of its type, so that it seldom
# comes as far as the work of ours. So each has a view, which calls it in the caller's name: each scan with
# other values, of which few are wrong.
WEB = """
CREATE SCHEMA web;
GRANT USAGE ON SCHEMA web TO web;
CREATE TABLE web.carts AS
SELECT 'order-' || n AS order_id, 'key-' || i AS idempotency_key, CASE WHEN i % 9 > 0 THEN 'card' END AS channel,
       CASE WHEN i % 5 > 0 THEN 100::int8 END AS amount, CASE WHEN i % 12 > 0 THEN 'EUR' ELSE 'usd' END AS currency,
       CASE WHEN i % 3 > 0 THEN 1::int8 END AS expected_version,
       CASE WHEN i % 4 = 0 THEN now() + interval '1 day' END AS expires_at, p.payment_id,
       CASE WHEN i % 2 = 0 THEN 'c' END AS customer_id, 'late' AS reason, 'please' AS note, '{}'::jsonb AS details, (i % 7 + 1) AS max,
       CASE i % 3 WHEN 0 THEN 'manual' WHEN 1 THEN 'automatic' END AS capture,
       CASE WHEN i % 5 > 0 THEN ARRAY[('order-' || n, 'key-' || i, 'card', NULL, NULL, NULL, NULL, NULL, NULL)::payguard.payment_request] END AS requests
FROM (SELECT i, (i - 1) % 60 + 1 AS n FROM generate_series(1, 300) i) i LEFT JOIN payguard.payments p ON p.order_id = 'order-' || n;
CREATE TABLE web.notes AS SELECT order_id, amount, expires_at, reason AS note FROM web.carts LIMIT 10;
GRANT ALL ON web.notes TO web;
CREATE SEQUENCE web.turns;
GRANT USAGE ON SEQUENCE web.turns TO web;
CREATE FUNCTION web.turn() RETURNS int8 LANGUAGE sql
AS $$ SELECT abs(hashint8(nextval('web.turns'))::int8) % 300 $$;
DO $$
DECLARE
  f record;
BEGIN
  FOR f IN
    SELECT DISTINCT ON (p.proname) p.proname, (SELECT string_agg(format('(SELECT %I FROM web.carts OFFSET web.turn() LIMIT 1)', a), ', ' ORDER BY n)
                       FROM unnest(p.proargnames[:p.pronargs]) WITH ORDINALITY u (a, n)) AS arguments
    FROM pg_proc p
    WHERE p.pronamespace = 'payguard'::regnamespace AND has_function_privilege('web', p.oid, 'EXECUTE')
      AND p.prorettype <> 'trigger'::regtype
    ORDER BY p.proname, p.pronargs DESC
  LOOP
    EXECUTE format('CREATE VIEW web.%1$I AS SELECT answer, answer::text AS text FROM payguard.%1$I(%2$s) answer OFFSET 0',
                   f.proname, f.arguments);
    EXECUTE format('GRANT SELECT ON web.%I TO web', f.proname);
  END LOOP;
END $$;
"""
# sqlsmith knows no value of a polymorphic type, and half of its statements would end at an operator that
# has one. It is told that these types are of integers; in a schema that --exclude-catalog leaves out.
TYPES = """
CREATE VIEW information_schema.pg_type AS
SELECT coalesce(c.name, t.typname) AS typname, t.typnamespace, t.oid, t.typdelim, t.typrelid, t.typelem, t.typarray,
       CASE WHEN c.name IS NULL THEN t.typtype ELSE 'b' END AS typtype
FROM pg_catalog.pg_type t
LEFT JOIN (VALUES ('anyelement', 'int4'), ('anynonarray', 'int4'), ('anycompatible', 'int4'),
           ('anycompatiblenonarray', 'int4'), ('anycompatiblearray', '_int4'), ('anyrange', 'int4range'),
           ('anycompatiblerange', 'int4range'), ('anymultirange', 'int4multirange'),
           ('anycompatiblemultirange', 'int4multirange')) c (any_name, name) ON c.any_name = t.typname;
GRANT SELECT ON information_schema.pg_type TO PUBLIC;
ALTER ROLE web SET search_path = information_schema, pg_catalog;
ALTER ROLE shop SET search_path = information_schema, pg_catalog;
"""
# orders is guarded in every way, parcels so that many a change is legal
SHOP = """
CREATE SCHEMA shop AUTHORIZATION shop;
SET ROLE shop;
CREATE TYPE shop.status AS ENUM ('new', 'paid', 'cancelled', 'refunded');
CREATE TABLE shop.orders (id int8 GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  status shop.status NOT NULL DEFAULT 'new', version int8 NOT NULL DEFAULT 1, amount int8, order_id text);
INSERT INTO shop.orders (amount, order_id) SELECT 100, 'order-' || i FROM generate_series(1, 100) i;
CREATE TABLE shop.parcels (id int8 GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
  status shop.status NOT NULL DEFAULT 'new', note text);
INSERT INTO shop.parcels (note) SELECT 'parcel ' || i FROM generate_series(1, 100) i;
RESET ROLE;
SELECT payguard.guard_table('shop.orders', 'status', '{"new": ["paid", "cancelled"], "paid": ["refunded"]}',
  'version', '{new}', '{order_id}', '{order_id}', order_id_column := 'order_id', paid_states := '{paid}');
SELECT payguard.guard_table('shop.parcels', 'status', '{"new": ["paid", "cancelled"], "paid": ["refunded"]}',
  allow_delete := '{new}');
"""
# internal errors that PostgreSQL raises without payguard too: where in its source, and by what
KNOWN = {
    "intervaltypmodout, timestamp.c": "intervaltypmodout(27): of all integers it knows a few",
    "amvalidate, amapi.c": "amvalidate(0): it does not expect that there is no such operator class",
    "coerce_type, parse_coerce.c": "unknownin('a') = text 'b': nothing converts what is of type unknown",
}
INTERNAL = re.compile(r"XX\w{3} (\w*) (?:ERROR|FATAL|WARNING|LOG): ")
CRASH = re.compile(r"\w{5} \w* PANIC: |TRAP: |.*server process \(PID \d+\) (?:was|exited)|.*all server processes terminated")
CODES = re.compile(r"(\w{5}) (\w*) ERROR: ")


def smith(server, role, seed, seconds):
    """How many statements a run sent, in its time or until there are some; what sqlsmith said if it ended."""
    command = ["sqlsmith", f"--seed={seed}", "--verbose", "--exclude-catalog",
               f"--target=host={server.folder} port=5432 user={role} dbname=postgres"]
    said, sent, ended = "", 0, False
    with open(os.path.join(server.folder, role), "wb+") as out:
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=out) as process:
            try:
                for wait in [seconds] + [5] * 20:
                    try:
                        process.wait(wait)
                        ended = True
                    except subprocess.TimeoutExpired:
                        pass
                    out.seek(0)
                    said = out.read().decode(errors="replace")
                    sent = sum(map(len, re.findall(r"^[.eSCt]+$", said, re.M)))
                    if ended or sent >= 400:
                        break
            finally:
                process.kill()
    return sent, ["sqlsmith ended", said[-1000:]] if ended else []


def read_log(path):
    """Internal errors and crashes, those that are left out and how often, the errors of each role and SQLSTATE,
    and how many of the owner's were the guard's."""
    bad, known, codes, guard, latest = [], collections.Counter(), collections.Counter(), 0, {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            internal = INTERNAL.match(line)
            located = re.match(r"XX\w{3} (\w*) LOCATION:  (\w+), (\w+\.c)", line)
            if located and f"{located[2]}, {located[3]}" in KNOWN:
                known[latest.pop(located[1], line)] += 1
            elif located:
                bad.append(f"{latest.pop(located[1], line)} ({located[2]}, {located[3]})")
            elif internal:
                latest[internal[1]] = line.strip()
            elif CRASH.match(line):
                bad.append(line.strip())
            error = CODES.match(line)
            if error:
                codes[error[2], error[1]] += 1
                guard += error[2] == "shop" and ('constraint "payguard_' in line or "the version of a row" in line)
    return bad + list(latest.values()), known, codes, guard


def callable_by(cursor, role):
    """The functions that a role may call, as regprocedure writes them."""
    cursor.execute("SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace = 'payguard'::regnamespace"
                   " AND p.prorettype <> 'trigger'::regtype AND has_function_privilege(%s, p.oid, 'EXECUTE')", (role,))
    return {name for name, in cursor}


def written(accesses):
    """The functions of these accesses, as the regress test `privileges` lists them, which is what should be so;
    without the trigger functions, which everybody has."""
    with open(os.path.join(SRC, "expected", "privileges.out"), encoding="utf-8") as file:
        rows = re.findall(r"^ (payguard\.\w+\(.*\)) +\| ([a-z ]+)$", file.read(), re.M)
    return {name for name, roles in rows if accesses & set(roles.split()) and "nobody" not in roles.split()}


def checks(server, seed, seconds):
    """Name, whether it is so, and what to show where it is not. The long form must reach everything."""
    cursor, long = server.connect().cursor(), seconds >= 240

    def one(sql, *arguments):
        cursor.execute(sql, arguments)
        return cursor.fetchone()[0]

    def run(role):
        """Until its backend, which counts at its end, has ended as well."""
        result = smith(server, role, seed, seconds / 2)
        while one("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", role):
            time.sleep(0.1)
        return result

    for part in (MAKE, WEB, SHOP, TYPES):
        cursor.execute(part)
    started = one("SELECT pg_postmaster_start_time()")
    offered = callable_by(cursor, "web")
    wrong = offered ^ written({"checkout", "delegate"})
    yield f"a front end may call {len(offered)} functions, those of its accesses", offered and not wrong, sorted(wrong)
    none = callable_by(cursor, "shop")
    yield "the owner of the guarded tables may call none", not none, sorted(none)
    # what was made here does not count
    cursor.execute("SELECT pg_stat_force_next_flush()")
    cursor.execute("SELECT pg_stat_reset()")

    sent, ended = run("web")
    yield f"{sent} statements of a front end", sent >= 400 and not ended, ended
    cursor.execute("SELECT funcname, calls FROM pg_stat_user_functions WHERE schemaname = 'payguard' AND calls > 0"
                   " AND has_function_privilege('web', funcid, 'EXECUTE') ORDER BY 1")
    calls = cursor.fetchall()
    _, _, codes, _ = read_log(server.log)
    refused = sum(n for (role, code), n in codes.items() if role == "web" and code.startswith("PY"))
    yield (f"{len(calls)} functions answered {sum(n for _, n in calls)} times, and payguard refused {refused} calls",
           len(calls) >= (len(offered) if long else 3) and refused, calls)
    print("#   " + ", ".join(f"{name} {n}" for name, n in calls))

    cursor.execute("SELECT pg_stat_reset()")
    sent, ended = run("shop")
    yield f"{sent} statements of the owner of guarded tables", sent >= 400 and not ended, ended
    passed = one("SELECT coalesce(sum(calls), 0)::int8 FROM pg_stat_user_functions WHERE funcname = 'guard'")
    bad, known, codes, stopped = read_log(server.log)
    yield (f"the guard let {passed} changed rows pass and stopped {stopped} statements",
           passed >= 1000 and stopped >= 5 if long else passed + stopped, [])
    cursor.execute("SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables"
                   " WHERE schemaname = 'shop' ORDER BY 1")
    tables = cursor.fetchall()
    yield ("; ".join(f"{name}: {i} rows inserted, {u} updated, {d} deleted" for name, i, u, d in tables)
           + ", with what was rolled back", (all if long else any)(i + u + d > 0 for _, i, u, d in tables), tables)

    yield (f"{sum(codes.values())} errors, of {len(codes)} kinds: none is internal, no crash"
           + f"; {sum(known.values())} of PostgreSQL's own left out",
           not bad and one("SELECT pg_postmaster_start_time()") == started, bad)
    for message, n in known.items():
        print("#  ", n, message)
    cursor.execute("SELECT * FROM payguard.verify()")
    found = cursor.fetchall()
    yield "verify() finds nothing", not found, found


def main():
    if not shutil.which("sqlsmith"):
        skip("sqlsmith is not installed")
    seed = choose_seed()
    seconds = int(os.environ.get("PAYGUARD_SECONDS") or 10)
    tap = Tap()
    with Cluster(*SETTINGS) as server:
        try:
            for name, good, notes in checks(server, seed, seconds):
                tap.ok(good, name, notes)
        except psycopg2.Error as error:
            tap.ok(False, "the server is there at the end", [error] + read_log(server.log)[0])
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
