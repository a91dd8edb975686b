#!/usr/bin/python3
# Logical decoding gives what a payment writes as one transaction, by wal2json and by pgoutput;
# what is replayed, refused or rolled back does not come at all; versions come in their order.

import json
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
sys.dont_write_bytecode = True

import cluster
from tap import Tap, skip


class PgOutput:
    """Reads pgoutput's messages, protocol 1, as far as inserts and updates go."""

    def __init__(self):
        self.relations = {}

    def message(self, data):
        kind, data = data[:1], data[1:]
        if kind == b"R":
            oid, rest = struct.unpack("!I", data[:4])[0], data[4:]
            schema, rest = rest.split(b"\0", 1)
            table, rest = rest.split(b"\0", 1)
            n, rest = struct.unpack("!H", rest[1:3])[0], rest[3:]
            columns = []
            for _ in range(n):
                name, rest = rest[1:].split(b"\0", 1)
                columns.append(name.decode())
                rest = rest[8:]
            self.relations[oid] = (f"{schema.decode()}.{table.decode()}", columns)
            return None
        if kind in (b"I", b"U"):
            table, columns = self.relations[struct.unpack("!I", data[:4])[0]]
            assert data[4:5] == b"N", "an old row"
            n, rest = struct.unpack("!H", data[5:7])[0], data[7:]
            row = {}
            for name in columns[:n]:
                if rest[:1] == b"t":
                    length = struct.unpack("!I", rest[1:5])[0]
                    row[name] = rest[5:5 + length].decode()
                    rest = rest[5 + length:]
                else:
                    row[name], rest = None, rest[1:]
            return ("insert" if kind == b"I" else "update", table, row)
        return {b"B": "begin", b"C": "commit"}.get(kind, kind.decode())


def wal2json(cursor, **options):
    """→ the transactions, each a list of (what, table, row)."""
    flat = [part for option in options.items() for part in option]
    cursor.execute("SELECT data FROM pg_logical_slot_get_changes('json', NULL, NULL, 'format-version', '1'"
                   + ", %s" * len(flat) + ")", flat)
    return [[(change["kind"], f"{change['schema']}.{change['table']}",
              dict(zip(change["columnnames"], change["columnvalues"])))
             for change in json.loads(data)["change"]] for (data,) in cursor.fetchall()]


def pgoutput(cursor, reader):
    cursor.execute("SELECT data FROM pg_logical_slot_get_binary_changes('binary', NULL, NULL,"
                   " 'proto_version', '1', 'publication_names', 'money')")
    transactions = []
    for (data,) in cursor.fetchall():
        message = reader.message(bytes(data))
        if message == "begin":
            transactions.append([])
        elif isinstance(message, tuple):
            transactions[-1].append(message)
    return transactions


def shape(transaction):
    return sorted(f"{what} {table}" for what, table, _ in transaction)


PAYMENT = ["insert payguard.events", "insert payguard.payments", "update payguard.orders"]


def checks(server):
    cursor, older, younger = server.connect().cursor(), server.connect().cursor(), server.connect().cursor()
    reader = PgOutput()
    cursor.execute("SELECT FROM pg_settings WHERE name = 'output_plugin_libraries'")
    if cursor.fetchall():  # newer minor releases ask for it
        cursor.execute("ALTER SYSTEM SET output_plugin_libraries = 'pgoutput', 'wal2json'")
        cursor.execute("SELECT pg_reload_conf()")
        cursor = server.connect().cursor()
    cursor.execute("CREATE EXTENSION payguard SCHEMA pg_catalog")
    cursor.execute("SELECT payguard.create_order('o-' || n, 500, 'EUR') FROM generate_series(1, 3) n")
    cursor.execute("CREATE PUBLICATION money FOR TABLE payguard.orders, payguard.payments, payguard.events")
    cursor.execute("SELECT pg_create_logical_replication_slot('json', 'wal2json')")
    cursor.execute("SELECT pg_create_logical_replication_slot('binary', 'pgoutput')")

    cursor.execute("SELECT payment_id::text FROM payguard.pay_order('o-1', 'k-1')")
    payment_id = cursor.fetchone()[0]
    cursor.execute("SELECT payguard.pay_order('o-1', 'k-1')")
    cursor.execute("SELECT payguard.try_pay_order('o-1', 'k-2')")
    cursor.execute("BEGIN; SELECT payguard.pay_order('o-2', 'k-3'); ROLLBACK")
    by_json, by_pgoutput = wal2json(cursor), pgoutput(cursor, reader)
    for name, transactions in (("wal2json", by_json), ("pgoutput", by_pgoutput)):
        paid = [transaction for transaction in transactions if transaction]
        yield f"{name}: a payment is one transaction of three changes", [shape(one) for one in paid] == [PAYMENT]
        rows = {table: row for one in paid for _, table, row in one}
        yield f"{name}: its rows", (
            rows["payguard.payments"]["payment_id"] == payment_id
            and rows["payguard.payments"]["idempotency_key"] == "k-1"
            and str(rows["payguard.payments"]["received_amount"]) == "500"
            and rows["payguard.orders"]["status"] == "paid" and str(rows["payguard.orders"]["version"]) == "2"
            and rows["payguard.orders"]["payment_id"] == payment_id
            and rows["payguard.events"]["kind"] == "order.paid" and str(rows["payguard.events"]["version"]) == "2")

    # the older transaction makes the later version; a prepared one comes when it is committed
    older.execute("BEGIN; SELECT pg_current_xact_id()")
    younger.execute("SELECT payguard.update_order('o-2', 1, 600)")
    older.execute("SELECT payguard.pay_order('o-2', 'k-4'); COMMIT")
    cursor.execute("BEGIN; SELECT payguard.pay_order('o-3', 'k-5'); PREPARE TRANSACTION 'p'")
    before = wal2json(cursor, **{"add-tables": "payguard.events"})
    versions = [str(row["version"]) for one in before for _, _, row in one]
    yield "wal2json, events alone: versions in their order, whatever the xids", versions == ["2", "3"]
    cursor.execute("COMMIT PREPARED 'p'")
    after = wal2json(cursor, **{"add-tables": "payguard.events"})
    yield "a prepared payment comes with its commit", [
        row["order_id"] for one in after for _, _, row in one] == ["o-3"]
    same = [(row["order_id"], str(row["version"])) for one in pgoutput(cursor, reader)
            for _, table, row in one if table == "payguard.events"]
    yield "pgoutput: the same", same == [("o-2", "2"), ("o-2", "3"), ("o-3", "2")]

    # positions of consumers, samples and totals are no news of money
    cursor.execute("SELECT count(*) FROM payguard.maintain()")
    cursor.execute("SELECT count(*) FROM payguard.read_events('x')")
    yield "maintain() and readers write nothing that is published", not [
        one for one in pgoutput(cursor, reader) if one]


def main():
    if not os.path.exists(os.path.join(subprocess.run(
            ["pg_config", "--pkglibdir"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip(), "wal2json.so")):
        skip("wal2json is not installed")
    tap = Tap()
    with cluster.Cluster("wal_level = logical") as server:
        tap.each(checks(server))
    sys.exit(tap.done())


main()
