#!/usr/bin/python3
"""psycopg 3: plain SQL, errors by class and by diag. Bodies of messages, by psycopg 2 as well."""
import sys

# this file's folder comes first, and has its own psycopg
HERE = sys.path.pop(0)
import psycopg  # noqa: E402
import psycopg2  # noqa: E402

sys.path.insert(0, HERE)
from tap import DSN, LATEST, RECORD, bodies, done, ok, raises  # noqa: E402

ID = 100
db = psycopg.connect(DSN, autocommit=True)


def status():
    with psycopg.connect(DSN) as other:
        return other.execute("SELECT status, version FROM shop_orders WHERE id = %s", (ID,)).fetchone()


def move(to, version):
    return db.execute("UPDATE shop_orders SET status = %s, version = version + 1 WHERE id = %s AND version = %s",
                      (to, ID, version)).rowcount


ok(move("paid", 1) == 1 and status() == ("paid", 2), "a legal transition saves")
raises(psycopg.errors.CheckViolation, lambda: move("unpaid", 2), "an illegal one",
       lambda e: e.diag.constraint_name == "payguard_transition" and e.diag.column_name == "status"
       and 'from "paid" to "unpaid"' in e.diag.message_detail and isinstance(e, psycopg.IntegrityError))
ok(move("refunded", 1) == 0, "a stale object: no row")
raises(psycopg.errors.SerializationFailure,
       lambda: db.execute("UPDATE shop_orders SET status = 'refunded' WHERE id = %s", (ID,)), "the version forgotten",
       lambda e: e.diag.constraint_name == "payguard_version")
raises(psycopg.errors.CheckViolation, lambda: db.execute("DELETE FROM shop_orders WHERE id = %s", (ID,)), "delete")
ok(status() == ("paid", 2), "nothing of all that was written")

db.execute("SELECT payguard.create_order('psycopg', 5, 'EUR')")
outcome = db.execute("SELECT outcome, replayed FROM payguard.pay_order('psycopg', 'psycopg')").fetchone()
ok(outcome == ("paid", False), "pay_order()")
raises(psycopg.Error, lambda: db.execute("SELECT payguard.pay_order('psycopg', 'another')"), "a second payment",
       lambda e: e.sqlstate == "PY101" and "paid it at" in e.diag.message_detail
       and e.diag.constraint_name == "order_already_paid")

bodies("psycopg 3", lambda channel, body: db.execute(RECORD, (channel, body)).fetchone()[0],
       lambda channel: db.execute(LATEST, (channel,)).fetchone()[0], psycopg.DataError)

old = psycopg2.connect(DSN)
old.autocommit = True


def one(sql, *values):
    with old.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


bodies("psycopg 2", lambda channel, body: one(RECORD, channel, body), lambda channel: one(LATEST, channel), ValueError)
done()
