#!/usr/bin/python3
"""Point-in-time recovery to a moment between two payments: the first is there and its key replays, the
second never happened and is paid anew by the same key; ids go on, and verify() finds nothing."""
import os
import sys

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
from cluster import Cluster  # noqa: E402
from tap import Tap  # noqa: E402

tap = Tap()
ok = tap.ok


def query(server, sql, *arguments, port=5432):
    connection = psycopg2.connect(host=server.folder, port=port, user="postgres", dbname="postgres")
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(sql, arguments)
    rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows


PAY = "SELECT outcome, replayed, payment_id FROM payguard.pay_order(%s, %s)"


def main():
    with Cluster() as server:
        archive, other = os.path.join(server.folder, "archive"), os.path.join(server.folder, "restored")
        os.mkdir(archive)
        with open(os.path.join(server.data, "postgresql.conf"), "a", encoding="ascii") as conf:
            conf.write(f"archive_mode = on\narchive_command = 'cp %p {archive}/%f'\n")
        server.run("pg_ctl", "-D", server.data, "-l", server.log, "-w", "restart")
        query(server, "CREATE EXTENSION payguard SCHEMA pg_catalog")
        query(server, "SELECT payguard.register_channel('card')")
        query(server, "SELECT count(payguard.create_order('order-' || i, 100, 'EUR')) FROM generate_series(1, 9) i")
        server.run("pg_basebackup", "-h", server.folder, "-U", "postgres", "-D", other, "--checkpoint=fast",
                   "--no-sync")
        first, = query(server, PAY, "order-1", "key-1")
        attempt, = query(server, "SELECT payment_id FROM payguard.request_payment('order-3', 'key-3', 'card')")
        query(server, "SELECT pg_create_restore_point('between')")
        query(server, PAY, "order-2", "key-2")
        query(server, "SELECT payguard.report_payment(%s, 'succeeded', 'T3', 100, 'EUR')", attempt[0])
        query(server, "SELECT pg_switch_wal()")
        server.run("pg_ctl", "-D", server.data, "-m", "fast", "-w", "stop")

        with open(os.path.join(other, "postgresql.conf"), "a", encoding="ascii") as conf:
            conf.write(f"archive_mode = off\nrestore_command = 'cp {archive}/%f %p'\n"
                       "recovery_target_name = 'between'\nrecovery_target_action = 'promote'\n")
        open(os.path.join(other, "recovery.signal"), "w", encoding="ascii").close()
        server.run("pg_ctl", "-D", other, "-l", server.log, "-o", "-p 6001", "-w", "start")
        try:
            while query(server, "SELECT pg_is_in_recovery()", port=6001) == [(True,)]:
                pass
            ok(query(server, "SELECT * FROM payguard.verify()", port=6001) == [], "verify() finds nothing")
            ok(query(server, PAY, "order-1", "key-1", port=6001) == [("paid", True, first[2])],
               "the payment before is replayed")
            row, = query(server, "SELECT status FROM payguard.order_status('order-2')", port=6001)
            ok(row == ("unpaid",), "the one after never happened", row)
            row, = query(server, PAY, "order-2", "key-2", port=6001)
            ok(row[:2] == ("paid", False), "and its key pays", row)
            row, = query(server, "SELECT status FROM payguard.payments WHERE payment_id = %s", attempt[0], port=6001)
            ok(row == ("pending",), "an attempt whose success came later is open", row)
            row, = query(server, "SELECT count(*) FROM payguard.claim_tasks('w')", port=6001)
            ok(row == (1,), "and its charge is still to be made, under the same payment_id", row)
            row, = query(server, "SELECT outcome FROM payguard.report_payment(%s, 'succeeded', 'T3', 100, 'EUR')",
                         attempt[0], port=6001)
            ok(row == ("paid",), "the channel's answer, once more, pays it", row)
            row, = query(server, "SELECT count(*) - count(DISTINCT event_id) FROM payguard.events", port=6001)
            ok(row == (0,), "event ids go on", row)
            ok(query(server, "SELECT * FROM payguard.verify()", port=6001) == [], "verify() in the end")
        finally:
            server.run("pg_ctl", "-D", other, "-m", "immediate", "stop")
    return tap.done()


if __name__ == "__main__":
    sys.exit(main())
