#!/usr/bin/python3
"""What one task costs the backend, in instructions (callgrind: a long run less a short one).

In batches of 100 and one at a time: claimed; answered "pending", which puts a query off; and charges
answered "succeeded", beside as many orders paid by pay_orders(). PAYGUARD_PROFILE=name prints where the instructions of one go.
"""
import os

from common import Server, say, table
from exact import Counter

BATCH = 100
TASKS = 12000
CLAIM = "SELECT task_id, lease_token, order_id, amount, details FROM payguard.claim_tasks('w', $1, kinds => $2)"
COMPLETE = "SELECT outcome FROM payguard.complete_task($1, $2, 'pending')"
PENDING = """SELECT outcome FROM payguard.complete_tasks(ARRAY(
 SELECT ROW(t, l, 'pending', NULL, NULL, NULL, NULL, NULL)::payguard.task_answer
 FROM unnest($1::bigint[], $2::uuid[]) a (t, l)))"""
SUCCEED = """SELECT outcome FROM payguard.complete_tasks(ARRAY(
 SELECT ROW(t, l, 'succeeded', x, 1000, 'EUR', NULL, NULL)::payguard.task_answer
 FROM unnest($1::bigint[], $2::uuid[], $3::text[]) a (t, l, x)))"""
PAY = """SELECT outcome FROM payguard.pay_orders(ARRAY(
 SELECT ROW(o, 'p' || o, 1000, 'EUR', NULL, 'internal')::payguard.pay_request FROM unnest($1::text[]) o))"""
PREPARE = [
    f"PREPARE claim (int, text[]) AS {CLAIM}", f"PREPARE complete (bigint, uuid) AS {COMPLETE}",
    f"PREPARE pending (bigint[], uuid[]) AS {PENDING}",
    f"PREPARE succeed (bigint[], uuid[], text[]) AS {SUCCEED}", f"PREPARE pay (text[]) AS {PAY}"]


def claim(cursor, n, kind):
    cursor.execute("EXECUTE claim (%s, %s)", (n, [kind]))
    return cursor.fetchall()


def claim_and_answer(cursor, times, size):
    for _ in range(times):
        tasks = claim(cursor, size, "query")
        if size == 1:
            cursor.execute("EXECUTE complete (%s, %s)", tasks[0][:2])
        else:
            cursor.execute("EXECUTE pending (%s, %s::uuid[])", ([t[0] for t in tasks], [t[1] for t in tasks]))
        assert len(cursor.fetchall()) == size


def succeed(cursor, times, size):
    for _ in range(times):
        tasks = HELD[:size]
        del HELD[:size]
        cursor.execute("EXECUTE succeed (%s, %s::uuid[], %s)",
                       ([t[0] for t in tasks], [t[1] for t in tasks], [f"t-{t[2]}" for t in tasks]))
        assert {row[0] for row in cursor.fetchall()} == {"paid"}


def pay(cursor, times, size):
    for _ in range(times):
        orders = UNPAID[:size]
        del UNPAID[:size]
        cursor.execute("EXECUTE pay (%s)", (orders,))
        assert {row[0] for row in cursor.fetchall()} == {"paid"}


HELD, UNPAID = [], []
# name → what is done, tasks at a time, times
WAYS = {
    "claim and put off, batches": (claim_and_answer, BATCH, (4, 12)),
    "claim and put off, one at a time": (claim_and_answer, 1, (20, 100)),
    "complete_tasks, succeeded": (succeed, BATCH, (4, 12)),
    "pay_orders": (pay, BATCH, (4, 12)),
}


def load(server, first, n):
    """Queries that are due, charges that are held, unpaid orders: n each."""
    connection = server.connect()
    cursor = connection.cursor()
    cursor.execute("SET synchronous_commit = off")
    for kind in "qcu":
        cursor.execute("SELECT count(payguard.create_order(%s || i, 1000, 'EUR')) FROM generate_series(%s, %s) i",
                       (kind, first, first + n - 1))
    cursor.execute("""SELECT count(payguard.query_payment((payguard.start_payment('q' || i, 'q' || i, 'shop',
        details => '{"a": 1000}')).payment_id)) FROM generate_series(%s, %s) i""", (first, first + n - 1))
    cursor.execute("SELECT count(payguard.request_payment('c' || i, 'c' || i, 'shop')) FROM generate_series(%s, %s) i",
                   (first, first + n - 1))
    cursor.execute(PREPARE[0])
    while len(HELD) < n:
        cursor.execute("SELECT task_id, lease_token, order_id FROM payguard.claim_tasks('w', 1000, '1 day', '{charge}')")
        HELD.extend(cursor.fetchall())
    UNPAID.extend(f"u{i}" for i in range(first, first + n))
    cursor.execute("VACUUM ANALYZE")
    connection.close()


class TaskCounter(Counter):
    def run(self, way, times, options):
        work, size, _ = way
        connection = self.server.connect()
        cursor = connection.cursor()
        for statement in PREPARE:
            cursor.execute(statement)
        work(cursor, times, size)
        connection.close()


def main():
    figures = {}
    with Server(full_page_writes="off", fsync="off") as server:
        server.sql("CREATE EXTENSION payguard")
        server.sql("SELECT payguard.register_channel('shop', first_query_after => '1 day', max_query_interval => '1 day')")
        load(server, 1, TASKS)
        server.stop()
        server.start_counting()
        counter = TaskCounter(server)
        for name, way in WAYS.items():
            counter.short, counter.long = way[2]
            figures[name] = counter.instructions(way, "", os.environ.get("PAYGUARD_PROFILE") == name) / way[1]
    table(["way", "instructions of a task"], [[name, f"{figure:,.0f}"] for name, figure in figures.items()])
    say()
    say("complete_tasks / pay_orders",
        f"{figures['complete_tasks, succeeded'] / figures['pay_orders']:.2f} instructions")


if __name__ == "__main__":
    main()
