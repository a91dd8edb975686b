#!/usr/bin/python3
"""Guards, where it takes a server of its own: reading a large table takes the memory of one row, and
an owner of the extension who has lost SUPERUSER is told."""

import os
import resource
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
sys.dont_write_bytecode = True

import psycopg2

import cluster
from tap import Tap

ROWS = 200_000
ROOM = 6 << 20  # bytes; a hundred bytes for each row would be three times as much
GRAPH = "'{\"new\": [\"paid\"], \"paid\": []}'"


def value(cursor, sql, *values):
    cursor.execute(sql, values or None)
    return cursor.fetchone()[0]


def state(cursor, sql):
    """The SQLSTATE and the message of a statement that fails."""
    try:
        cursor.execute(sql)
    except psycopg2.Error as error:
        return error.pgcode, error.diag.message_primary
    return None, None


def data_of(pid):
    """The bytes of memory of its own that a process has."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))


def limited(server, warm_up, sql):
    """What a statement answers in a session that may take no more than ROOM after the warm-up."""
    cursor = server.connect("shop").cursor()
    cursor.execute("SET work_mem = '1MB'")
    value(cursor, warm_up)
    pid = value(cursor, "SELECT pg_backend_pid()")
    _, hard = resource.prlimit(pid, resource.RLIMIT_DATA)
    resource.prlimit(pid, resource.RLIMIT_DATA, (data_of(pid) + ROOM, hard))
    try:
        return value(cursor, sql)
    except psycopg2.Error as error:
        return error.pgcode


def memory(server):
    server.connect().cursor().execute("CREATE DATABASE shop")
    cursor = server.connect("shop").cursor()
    cursor.execute("CREATE EXTENSION payguard; SELECT payguard.create_order('o', 1, 'EUR'); SELECT payguard.pay_order('o', 'k')")
    paid = "order_id_column := 'ref', paid_states := '{paid}'"
    for name, rows in (("small", 2), ("large", ROWS)):
        cursor.execute(f"CREATE TABLE {name} (id int, ref text, status text)")
        cursor.execute(f"INSERT INTO {name} SELECT n, 'o', 'paid' FROM generate_series(1, {rows}) n")
    put_on = f"SELECT count(*) FROM payguard.guard_table('%s', 'status', {GRAPH}, {paid}%s)"
    take_off = "SELECT payguard.unguard_table('%s')"
    yield "guard_table() reads rows in the memory of one", limited(server, put_on % ("small", ""), put_on % ("large", "")) == 0
    for name in ("small", "large"):
        value(cursor, take_off % name)
        value(cursor, put_on % (name, ", once := '{id}', not_valid := true"))
    rows = "SELECT coalesce(payguard.guard_bad_rows('%s'), 'none')"
    yield "guard_bad_rows() too, and sorts what once is about", limited(server, rows % "small", rows % "large") == "none"
    yield "the limit is one", limited(server, rows % "small", "SELECT count(a) FROM (SELECT array_agg(ref || id) FROM large) a (a)") == "53200"
    cursor.execute("SET session_replication_role = replica; INSERT INTO large SELECT n / 2, 'lost', 'paid' FROM generate_series(2, %s) n", (ROWS,))
    told = limited(server, rows % "small", rows % "large")
    yield "and counts the bad ones", told == \
        f"{ROWS - 1} rows in a paid state whose order is not paid (lost) and " \
        f"{ROWS * 3 // 2 - 1} rows in success states that share their values of once (1, 2, 3, 4, 5)" or told


def demoted(server):
    dba = server.connect().cursor()
    dba.execute("CREATE ROLE chief SUPERUSER LOGIN")
    dba.execute("CREATE ROLE shop_owner LOGIN")
    dba.execute("CREATE DATABASE demoted")
    server.connect("demoted", "chief").cursor().execute("CREATE EXTENSION payguard")
    cursor = server.connect("demoted").cursor()
    cursor.execute("SELECT payguard.grant_access('shop_owner', 'owner');"
                   "CREATE TABLE a (id int, status text); CREATE TABLE b (LIKE a); CREATE TABLE own (LIKE a);"
                   "ALTER TABLE a OWNER TO shop_owner; ALTER TABLE b OWNER TO shop_owner; ALTER TABLE own OWNER TO chief")
    owner = server.connect("demoted", "shop_owner").cursor()
    owner.execute(f"SELECT payguard.guard_table('a', 'status', {GRAPH})")
    problems = "SELECT coalesce(string_agg(concat_ws(' ', object, problem), ', '), 'none') FROM payguard.verify()"
    yield "verify() finds nothing first", value(cursor, problems) == "none"
    dba.execute("ALTER ROLE chief NOSUPERUSER")
    yield "then it tells of the owner", value(cursor, problems) == "extension payguard has the owner chief, who is no superuser"
    said = ("55000", 'payguard\'s owner, role "chief", is no superuser')
    yield "guard_table() of everybody else says so", state(owner, f"SELECT payguard.guard_table('b', 'status', {GRAPH})") == said
    yield "unguard_table() too", state(owner, "SELECT payguard.unguard_table('a')") == said
    yield "his own tables he can guard", \
        state(server.connect("demoted", "chief").cursor(), f"SELECT payguard.guard_table('own', 'status', {GRAPH})") == (None, None)
    yield "the guard that is there holds", state(owner, "INSERT INTO a VALUES (1, 'lost')")[0] == "23514"
    yield "and orders are paid", value(cursor, "SELECT (payguard.create_order('o', 1, 'EUR')).status") == "unpaid" and \
        value(cursor, "SELECT outcome FROM payguard.pay_order('o', 'k')") == "paid"
    dba.execute("ALTER ROLE chief SUPERUSER")
    yield "all is well again", state(owner, "SELECT payguard.unguard_table('a')") == (None, None) and \
        value(cursor, problems) == "none"


def main():
    tap = Tap()
    with cluster.Cluster("shared_buffers = 32MB") as server:
        for part in (memory, demoted):
            tap.each((name, passed is True, passed) for name, passed in part(server))
    sys.exit(tap.done())


main()
