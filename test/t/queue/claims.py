#!/usr/bin/python3
"""The queue under load: what is enqueued late is claimed soon, and dead rows do not slow claims.

A backend's claims go on where its last one ended. So a task that becomes visible behind that
point (its enqueuer committed late), or comes back (it was retried), must still be found within
2 s; and with 10 000 finished tasks whose rows an old snapshot holds at the head of the index,
what one claim reads must stay small on the average.

PAYGUARD_DEAD is how many tasks are finished under the old snapshot.
"""
import os
import sys
import threading
import time
from contextlib import closing

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
sys.dont_write_bytecode = True

from cluster import Cluster
from tap import Tap, wait_for

DEAD = int(os.environ.get("PAYGUARD_DEAD") or 10000)
SOON = 2.0          # seconds
LATE = 10.0         # how long the late enqueuer keeps its transaction open
TUPLES = DEAD / 5   # index entries that a claim may read, on the average


def enqueue(cursor, order):
    cursor.execute("SELECT payguard.create_order(%s, 100, 'EUR')", (order,))
    cursor.execute("SELECT payguard.request_payment(%s, %s, 'card')", (order, order))


CLAIM = "SELECT task_id, lease_token, order_id FROM payguard.claim_tasks('w', %s)"
FINISH = ("SELECT payguard.complete_task(%s, %s, 'succeeded', %s, 100, 'EUR')")


class Worker(threading.Thread):
    """One session that claims and completes for ever. What `retry` names is sent back once."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.claimed, self.retry, self.retried = cluster, {}, {}, {}
        self.stop = threading.Event()
        self.crash = None

    def run(self):
        try:
            with closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                while not self.stop.is_set():
                    cursor.execute(CLAIM, (5,))
                    for task, token, order in cursor.fetchall():
                        if order in self.retry and order not in self.retried:
                            cursor.execute("SELECT payguard.retry_task(%s, %s, 'busy', %s)",
                                           (task, token, self.retry[order]))
                            self.retried[order] = time.monotonic()
                            continue
                        self.claimed.setdefault(order, []).append(time.monotonic())
                        cursor.execute(FINISH, (task, token, order))
        except Exception as error:      # reported by the main thread
            self.crash = repr(error)


class Shop(threading.Thread):
    """Enqueues all the time."""

    def __init__(self, cluster, name):
        super().__init__(daemon=True)
        self.cluster, self.name_, self.made = cluster, name, 0
        self.stop = threading.Event()
        self.crash = None

    def run(self):
        try:
            with closing(self.cluster.connect()) as connection, connection.cursor() as cursor:
                while not self.stop.is_set():
                    enqueue(cursor, f"{self.name_}-{self.made}")
                    self.made += 1
                    time.sleep(0.005)
        except Exception as error:
            self.crash = repr(error)


def late(tap, cluster):
    """A transaction enqueues and sleeps; another task is retried with a delay."""
    worker, shop = Worker(cluster), Shop(cluster, "shop")
    worker.retry = {"retried": "3 s"}
    worker.start()
    shop.start()
    with closing(cluster.connect(autocommit=False)) as connection, connection.cursor() as cursor, \
            closing(cluster.connect()) as other, other.cursor() as sender:
        enqueue(cursor, "late")
        enqueue(sender, "retried")
        cursor.execute("SELECT pg_sleep(%s)", (LATE,))
        connection.commit()
        committed = time.monotonic()
    found = wait_for(lambda: "late" in worker.claimed, 10)
    took = worker.claimed["late"][0] - committed if found else None
    tap.note(f"claimed {took:.3f} s after the commit" if found else "never claimed")
    tap.ok(found and took < SOON, "a task that was enqueued 10 s before its commit is claimed soon", took)
    found = "retried" in worker.retried and wait_for(lambda: "retried" in worker.claimed, 10)
    took = worker.claimed["retried"][0] - worker.retried["retried"] - 3 if found else None
    tap.note(f"claimed {took:.3f} s after it was due again" if found else f"never claimed: {worker.retried}, {worker.claimed.get('retried')}")
    tap.ok(found and -0.1 < took < SOON, "a task that was retried with a delay is claimed soon", took)
    shop.stop.set()
    shop.join()
    everything = wait_for(lambda: len(worker.claimed) >= shop.made + 2, 30)
    worker.stop.set()
    worker.join()
    tap.note(f"{shop.made} others were enqueued meanwhile")
    tap.ok(everything, "all were claimed", f"{len(worker.claimed)} of {shop.made + 2}")
    tap.ok(all(len(times) == 1 for times in worker.claimed.values()), "each of them once")
    tap.ok(worker.crash is None and shop.crash is None, "no error", worker.crash, shop.crash)


def read_so_far(cursor):
    """Index entries that claims have read; the session's numbers are sent first."""
    cursor.execute("SELECT pg_stat_force_next_flush()")
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute("SELECT idx_tup_read FROM pg_stat_user_indexes"
                   " WHERE schemaname = 'payguard' AND indexrelname = 'tasks_due'")
    entries = cursor.fetchone()[0]
    cursor.execute("SELECT sum(idx_blks_hit + idx_blks_read) FROM pg_statio_user_indexes"
                   " WHERE schemaname = 'payguard' AND indexrelname = 'tasks_due'")
    return int(entries), int(cursor.fetchone()[0])


def claims_per_second(tap, cluster, name, seconds=2):
    """One session claims one task at a time and completes it. Returns claims, entries and
    buffers of the index for each."""
    with closing(cluster.connect()) as connection, connection.cursor() as cursor:
        for n in range(int(seconds * 300)):
            enqueue(cursor, f"{name}-{n}")
        entries, blocks = read_so_far(cursor)
        began, n, busy = time.monotonic(), 0, 0.0
        while time.monotonic() - began < seconds:
            start = time.monotonic()
            cursor.execute(CLAIM, (1,))
            busy += time.monotonic() - start
            rows = cursor.fetchall()
            n += 1
            if not rows:
                break
            for task, token, order in rows:
                cursor.execute(FINISH, (task, token, order))
        after, after_blocks = read_so_far(cursor)
    tap.note(f"{name}: {n} claims, {n / busy:.0f} claims/s, "
             f"{(after - entries) / n:.0f} index entries and {(after_blocks - blocks) / n:.0f} buffers of tasks_due each")
    return n, (after - entries) / n, (after_blocks - blocks) / n


def dead_rows(tap, cluster):
    """Finished tasks whose rows an old snapshot keeps at the head of the index."""
    before, _, _ = claims_per_second(tap, cluster, "before")
    with closing(cluster.connect(autocommit=False)) as old, old.cursor() as snapshot, \
            closing(cluster.connect()) as connection, connection.cursor() as cursor:
        old.set_session(isolation_level="REPEATABLE READ")
        snapshot.execute("SELECT count(*) FROM payguard.orders")
        done = 0
        while done < DEAD:
            cursor.execute("SELECT count(payguard.request_payment(o.order_id, o.order_id, 'card')) FROM"
                           " generate_series(1, 500) n CROSS JOIN LATERAL payguard.create_order('dead-' || (%s + n)::text, 100, 'EUR') o", (done,))
            cursor.execute("SELECT count(*) FROM payguard.complete_tasks(ARRAY(SELECT (task_id, lease_token, 'failed',"
                           " NULL, NULL, NULL, NULL, NULL)::payguard.task_answer FROM payguard.claim_tasks('w', 1000)))")
            done += 500
        cursor.execute("SELECT count(*) FROM payguard.tasks WHERE order_id LIKE 'dead-%'")
        tap.ok(cursor.fetchone()[0] == 0, f"{DEAD} tasks are finished under an old snapshot")
        after, entries, blocks = claims_per_second(tap, cluster, "with dead rows")
        old.rollback()
    tap.ok(entries < TUPLES, "what a claim reads does not grow with the dead rows", f"{entries:.0f} index entries each")
    tap.ok(blocks < TUPLES, "nor do its buffers", f"{blocks:.0f} buffers each")
    tap.ok(after > 0 and before > 0, "claims go on")


def main():
    tap = Tap()
    with Cluster("autovacuum_naptime = '1s'") as cluster:
        with closing(cluster.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION payguard")
            cursor.execute("SELECT payguard.register_channel('card', first_query_after := '1 hour')")
        late(tap, cluster)
        dead_rows(tap, cluster)
        with closing(cluster.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT * FROM payguard.verify()")
            found = cursor.fetchall()
            tap.ok(not found, "verify() finds nothing", *found[:10])
    return tap.done()


sys.exit(main())
