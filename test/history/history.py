#!/usr/bin/python3
"""Histories: clients call the whole API at once, and a checker decides whether what they were told
can be explained by one call after the other. See README.md.

  PAYGUARD_SEED     repeats the choice of calls (their timing stays random)
  PAYGUARD_CALLS    how many at each isolation level (20000), in rounds of 20000 at most
  PAYGUARD_CLIENTS  how many clients (16)
"""
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

import psycopg2
import psycopg2.extensions

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib")]
from check import Search, Tables, broken_promises, broken_reading  # noqa: E402
from cluster import Cluster, refused_actions  # noqa: E402
from illegal import check_the_checker  # noqa: E402
from model import Channel, SALE_MOVES, SALE_PAID, World  # noqa: E402
from play import SQL, play  # noqa: E402
from statement import check_statement  # noqa: E402
from tap import Tap, choose_seed  # noqa: E402

# what a level's calls must have had, however they were drawn
REACHED = {name for name in SQL if " " not in name} | {
    "claimed charge", "claimed capture", "claimed query", "claimed close", "claimed refund", "claimed query_refund", "PY503", "captured",
    "pay", "pay_orders", "complete_tasks", "decide_order", "decide_refund", "transaction", "lost operations", "maintain",
    "PY101", "PY103", "PY301"}
LEVELS = ["read committed", "repeatable read", "serializable"]
HOT_SETS = [200, 20, 2]     # orders in use at once; the calls are shared between them
ROUND = 20000
WORKERS = 2


# a shop's own table, written by the clients with statements of their own
SALES = """
    CREATE TABLE public.sales (id text PRIMARY KEY, order_id text NOT NULL, status text NOT NULL, version bigint NOT NULL);
    SELECT payguard.guard_table('public.sales', 'status', %s, version_column => 'version',
        immutable_columns => '{id}', once => '{order_id}', allow_delete => '{void}',
        order_id_column => 'order_id', paid_states => %s);
"""


def read_tables(connection):
    """What is archived and what is not."""
    rows = {}
    cursor = connection.cursor()
    for name in Tables.NAMES:
        source = "payguard." + (name if name in ("tasks", "alerts") else "every_" + name[:-1])
        if name == "sales":
            cursor.execute("SELECT pg_catalog.to_regclass('public.sales')")
            source, = cursor.fetchone()
            if source is None:
                continue
        cursor.execute(f"SELECT * FROM {source}")
        columns = [column[0] for column in cursor.description]
        rows[name] = [dict(zip(columns, row)) for row in cursor]
    return Tables(rows)


def world_of(tables, families):
    """The ids that the server gave, and the settings of the channels."""
    world = World()
    for p in tables.payments:
        if p["idempotency_key"] is not None:
            world.payment_of_key[p["idempotency_key"]] = p["payment_id"]
        elif p["channel_txn_id"] is not None:
            world.payment_of_txn[(p["channel"], p["channel_txn_id"])] = p["payment_id"]
        world.made_at[p["payment_id"]] = p["created_at"].timestamp()
        world.order_version[p["payment_id"]] = p["order_version"]
    merged = {e["refund_id"]: e["details"]["channel_refund_id"] for e in tables.events if e["kind"] == "refund.merged"}
    surplus = {}
    for r in sorted(tables.refunds, key=lambda r: (r["created_at"], r["refund_id"])):
        world.made_at[r["refund_id"]] = r["created_at"].timestamp()
        if r["origin"] == "surplus":
            number = surplus.setdefault(r["payment_id"], 0)
            world.surplus_refunds[(r["payment_id"], number)] = r["refund_id"]
            surplus[r["payment_id"]] += 1
        elif r["origin"] == "channel":
            world.refund_of_txn[(r["channel"], r["channel_refund_id"] or merged[r["refund_id"]])] = r["refund_id"]
        else:
            world.refund_of_key[r["idempotency_key"]] = r["refund_id"]
    for n in tables.notifications:
        time = n["channel_time"] and int(n["channel_time"].timestamp())
        names = [n["event_id"]]
        if n["reversal_kind"] == "reinstatement":
            names = [(n["channel"], n["reversal_id"], "undone", time)]
        elif n["reversal_kind"]:
            names.append((n["channel"], n["reversal_id"], n["channel_txn_id"], n["reversal_kind"], n["amount"], time))
        if n["order_id"] is not None:
            names.append((n["channel"], n["order_id"], n["channel_txn_id"], n["amount"]))
        for name in names:
            world.received[name], world.results[name] = n["received_at"], n["result"]
    for family in families:
        world.channels[family.channel] = family.settings
        if family.settings.mixed:
            world.channels["internal"] = Channel(internal=True, mixed=True)
        if family.policy:
            world.policies[family.currency] = family.policy
        for task_id, _, _, kind, row in family.tasks:
            world.tasks[task_id] = (kind, row["order_id"], row["payment_id"], row["refund_id"])
    return world


CHECKED = None      # (world, tables, families), for the processes that check


def check_family(number):
    world, tables, families = CHECKED
    family = families[number]
    search = Search(world, family.ops, tables.of_family(family.orders))
    verdict = search.run()
    if verdict is True:
        return number, True, [], search.steps
    return number, verdict, [family.name + ": " + ("not linearizable" if verdict is False else "not decided")
                             ] + search.why() + notes_of(tables, family), search.steps


def notes_of(tables, family):
    """What the tables say of a family, and its operations, where PAYGUARD_KEEP names a folder."""
    lines = []
    if os.environ.get("PAYGUARD_KEEP"):
        lines.append("  its operations:")
        lines += ["    " + repr(op) for op in sorted(family.ops, key=lambda op: op.called)]
        lines.append("  its events:")
        lines += [f"    {e}" for e in sorted(tables.events, key=lambda e: e["event_id"])
                  if e["order_id"] in family.orders]
        lines.append("  its messages:")
        lines += [f"    {n}" for n in tables.notifications
                  if n["order_id"] in family.orders or n["channel"] == family.channel]
    return lines


def check(tables, families):
    """What is wrong with the histories, family by family."""
    global CHECKED
    CHECKED = (world_of(tables, families), tables, families)
    wrong, steps = [], 0
    # what there is to check is theirs by fork
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("fork")) as pool:
        for _, verdict, notes, n in pool.map(check_family, range(len(families)), chunksize=8):
            steps += n
            if verdict is not True:
                wrong.append(notes)
    return wrong, steps


def matched_later(connection, name):
    """What came in the same moment as its money, and was not matched with it, is matched later."""
    cursor = connection.cursor()
    for _ in range(100):
        cursor.execute("SELECT payguard.match_notifications(100000)")
        if cursor.fetchone()[0] == 0:
            break
    cursor.execute("SELECT n.event_id FROM payguard.notifications n JOIN payguard.every_payment p"
                   " ON (p.channel, p.channel_txn_id) = (n.channel, n.channel_txn_id)"
                   " WHERE n.result = 'unmatched' AND n.payment_id IS NULL AND n.refund_id IS NULL"
                   " AND (n.order_id IS NULL OR n.order_id = p.order_id)"
                   " AND n.reversal_kind IS DISTINCT FROM 'reinstatement'"
                   " AND (n.reversal_kind IS NULL OR p.status IN ('succeeded', 'surplus', 'returned'))")
    waiting = cursor.fetchall()
    broken = broken_promises(read_tables(connection))
    return (not waiting and not broken, f"{name}: messages that missed their money find it later",
            waiting[:5] + broken[:5])


def run_part(tap, server, level, hot, calls, clients, seed):
    name = f"{level}, {hot} orders, seed {seed}"
    database = f"h{level.split()[0]}{hot}"
    admin = psycopg2.connect(server.dsn)
    admin.autocommit = True
    admin.cursor().execute(f"CREATE DATABASE {database}")

    def connect(isolation=None):
        connection = psycopg2.connect(server.dsn.replace("dbname=postgres", f"dbname={database}"))
        connection.autocommit = True
        if isolation:
            connection.cursor().execute(f"SET default_transaction_isolation = '{isolation}'")
        return connection

    connection = connect()
    connection.cursor().execute("CREATE EXTENSION payguard")
    connection.cursor().execute(SALES, (json.dumps(SALE_MOVES), list(SALE_PAID)))
    began = time.time()
    stage, wrong = play(connect, seed, level, calls, hot, clients, whole=True)
    played = time.time() - began
    tap.ok(not wrong, f"{name}: no error that a call does not promise, no deadlock", wrong[:10])
    tables = read_tables(connection)
    not_explained, steps = check(tables, stage.used)
    ops = sum(len(family.ops) for family in stage.used)
    tap.ok(not not_explained, f"{name}: every answer can be explained, order by order",
           [f"{len(not_explained)} families"] + sum(not_explained[:3], []))
    broken = broken_promises(tables)
    tap.ok(not broken, f"{name}: the tables keep the promises", broken[:10])
    # an order's last event is made in the archive, and stays there
    missed = broken_reading(stage.reader.steps, [e["event_id"] for e in tables.events if e["kind"] != "order.archived"])
    tap.ok(not missed, f"{name}: the reader of events was given each, once it had committed it never again",
           missed[:10])
    cursor = connection.cursor()
    cursor.execute("SELECT invariant, object, problem FROM payguard.verify() LIMIT 10")
    violations = cursor.fetchall()
    tap.ok(not violations, f"{name}: verify() finds nothing", violations)
    # a deadline that passes between a case and its action is no one's fault
    cursor.execute("SELECT pg_sleep(greatest(0, extract(epoch FROM max(expires_at) - clock_timestamp()))) FROM payguard.orders")
    refused = refused_actions(cursor)
    tap.ok(not refused, f"{name}: no action that a case offers is refused", refused[:10])
    tap.ok(*matched_later(connection, name))
    differences = check_statement(cursor)
    tap.ok(not differences, f"{name}: a statement that agrees has no finding, one that differs has its own",
           differences[:10])
    print(f"# {name}: {ops} operations of {len(stage.used)} families in {played:.1f} s, checked in "
          f"{time.time() - began - played:.1f} s with {steps} steps")
    print("#  ", dict(sorted(stage.counts.items())))
    connection.close()
    stage.cursor.connection.close()
    admin.cursor().execute(f"DROP DATABASE {database} WITH (FORCE)")
    admin.close()
    return stage.counts | {"lost operations": sum(op.lost for family in stage.used for op in family.ops)}


def check_reached(tap, level, counts):
    """Each call was made, refused for the usual reasons, and lost now and then."""
    missing = sorted(what for what in REACHED if not counts.get(what))
    tap.ok(not missing, f"{level}: every call was made, and {counts.get('lost operations')} answers were lost", missing)


def main():
    seed = choose_seed()
    calls = int(os.environ.get("PAYGUARD_CALLS") or ROUND)
    clients = int(os.environ.get("PAYGUARD_CLIENTS") or 16)
    tap = Tap()
    check_the_checker(tap)
    counts = {level: {} for level in LEVELS}
    left = calls
    with Cluster() as server:
        while left > 0:
            for level in LEVELS:
                for hot in HOT_SETS:
                    part = run_part(tap, server, level, hot, min(left, ROUND) // len(HOT_SETS), clients, seed)
                    counts[level] = {what: counts[level].get(what, 0) + part.get(what, 0) for what in counts[level] | part}
            left -= ROUND
            seed += 1
    if calls >= ROUND:
        for level in LEVELS:
            check_reached(tap, level, counts[level])
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
