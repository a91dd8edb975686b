#!/usr/bin/python3
"""Whether a payment costs the same when there are many: `make bench-growth`.

Nine of ten orders are paid, beyond 10^6 one of ten, with their payments and events. For each number of orders: buffers,
WAL and instructions of a payment; then the same while a transaction holds a snapshot that is so
many payments old.

PAYGUARD_SIZES ("100000 1000000 10000000"), PAYGUARD_OLD (50000, payments while the snapshot is held).
"""
import os

from common import FIRST, SCRIPTS, Server, say, table
from exact import Counter

SIZES = [int(size) for size in (os.environ.get("PAYGUARD_SIZES") or "100000 1000000 10000000").split()]
OLD = int(os.environ.get("PAYGUARD_OLD") or 50000)
STEP = 500000


def grow(server, first, last, channel="internal"):
    """Orders from first to before last. Those whose number does not end in 0 are paid; beyond
    10^6 those whose number ends in 1. Keys are multiples of 20, and so are a channel's transactions."""
    kind, txn = ("pay", "NULL") if channel == "internal" else ("record", f"(4 * {FIRST} + 20 * (n::bigint * 7907 % 10000019))::text")
    paid_ones = "n % 10 <> 0" if first < 10**6 else "n % 10 = 1"
    for begin in range(first, last, STEP):
        numbers = (begin, min(begin + STEP, last) - 1)
        paid = """lpad(to_hex(1700000000000 + n), 12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0')
          || '8' || substr(md5(n::text), 1, 15)"""
        server.sql(f"""INSERT INTO payguard.orders (order_id, customer_id, amount, currency, status, version, payment_id,
              refunded_amount, created_at, updated_at)
            SELECT ({FIRST} + n)::text, (n / 10)::text, 100, 'EUR', CASE WHEN {paid_ones} THEN 'paid' ELSE 'unpaid' END,
              CASE WHEN {paid_ones} THEN 2 ELSE 1 END, CASE WHEN {paid_ones} THEN ({paid})::uuid END, 0, now(), now()
            FROM generate_series({numbers[0]}, {numbers[1]}) n""")
        server.sql(f"""INSERT INTO payguard.payments (payment_id, order_id, idempotency_key, channel, amount, currency,
              received_amount, received_currency, amount_verified, status, order_version, request_kind, created_at, completed_at, channel_txn_id)
            SELECT ({paid})::uuid, ({FIRST} + n)::text, (3 * {FIRST} + 20 * (n::bigint * 7919 % 10000019))::text, '{channel}', 100, 'EUR',
              100, 'EUR', true, 'succeeded', 2, '{kind}', now(), now(), {txn}
            FROM generate_series({numbers[0]}, {numbers[1]}) n WHERE {paid_ones}""")
        server.sql(f"""INSERT INTO payguard.events (at, order_id, payment_id, kind, from_status, to_status, version, actor)
            SELECT now(), ({FIRST} + n)::text, CASE WHEN v = 2 THEN ({paid})::uuid END,
              CASE v WHEN 1 THEN 'order.created' ELSE 'order.paid' END, CASE v WHEN 2 THEN 'unpaid' END,
              CASE v WHEN 1 THEN 'unpaid' ELSE 'paid' END, v, 'bench'
            FROM generate_series({numbers[0]}, {numbers[1]}) n, generate_series(1, 2) v
            WHERE {paid_ones}""")


def script_of(counter, first, last):
    """Pays the unpaid orders from first on."""
    counter.orders = (last - first) // 10
    return SCRIPTS["pay_order"].replace(" + :n\n", f" + {first} + :n * 10\n")


def measure(server, counter, first, last):
    script = script_of(counter, first, last)
    name = f"{last:,}"
    wal, buffers = counter.wal_and_buffers(script, "")
    server.stop()
    server.start_counting()
    instructions = counter.instructions(script, "")
    server.stop()
    server.start()
    say(f"{name}: {instructions:,.0f} instructions, {buffers:.1f} buffers, {wal:,.0f} bytes of WAL")
    return [name, instructions, buffers, wal]


def beside_a_snapshot(server, counter, first, last):
    """The same beside a transaction whose snapshot is older than OLD payments."""
    script = script_of(counter, first, last)
    reader = server.connect()
    reader.autocommit = False
    cursor = reader.cursor()
    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    cursor.execute("SELECT count(*) FROM payguard.channels")
    counter.run(script, OLD, "-c synchronous_commit=off")
    wal, buffers = counter.wal_and_buffers(script, "")
    reader.rollback()
    reader.close()
    say(f"beside a snapshot {OLD:,} payments old: {buffers:.1f} buffers, {wal:,.0f} bytes of WAL")
    return [f"{last:,}, beside an old snapshot", None, buffers, wal]


def main():
    rows = []
    with Server(full_page_writes="off", fsync="off", max_wal_size="'2GB'") as server:
        server.sql("CREATE EXTENSION payguard")
        counter = Counter(server)
        before = 0
        for size in SIZES:
            grow(server, before, size)
            server.tidy()
            rows.append(measure(server, counter, before, size))
            if size == SIZES[min(1, len(SIZES) - 1)]:
                rows.append(beside_a_snapshot(server, counter, before, size))
            before = size
    first = rows[0]
    say()
    table(["orders", "instructions", "×", "buffers", "×", "WAL bytes"],
          [[row[0], *([f"{row[1]:,.0f}", f"{row[1] / first[1]:.2f}"] if row[1] else ["-", "-"]), f"{row[2]:.1f}",
            f"{row[2] / first[2]:.2f}", f"{row[3]:,.0f}"] for row in rows])


if __name__ == "__main__":
    main()
