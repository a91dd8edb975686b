#!/usr/bin/python3
"""What the console's pages take beside many orders and many open cases, and the plans of their queries.

    console.py [--orders N] [--cases N] [--plans FILE]

Fills a throwaway cluster with paid orders by INSERT, opens cases with payguard's functions, ten closed ones for each, and
asks the console for its pages as a browser would: milliseconds, the median of nine and the longest; and how long that kept the
processor busy, in the console and in the server, which counts where others work on the same machine. --plans: EXPLAIN (ANALYZE,
BUFFERS) of every statement of one more round, nested ones too. initdb and pg_ctl are looked for in PATH.
"""
import argparse
import os
import statistics
import sys
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(HERE, "..", "lib"), os.path.join(HERE, "..", "demo")]
import cluster  # noqa: E402
import maintain  # noqa: E402
import shop  # noqa: E402
from desk import Books, Stranger, reachable  # noqa: E402
from tap import wait_for  # noqa: E402

ROUNDS = 9
# a quarter each: paid twice, too little paid, a large refund that waits, a debit that was taken back; %(n)s of each
CASES = """
    SELECT payguard.register_channel(name, first_query_after => '1 day', alert_after => '10 days', reopen_on => '{}') FROM unnest('{card,paypal,sepa}'::text[]) name;
    SELECT payguard.set_policy('EUR', 50000, approve_refund => true);
    SELECT count(payguard.create_order('case-' || n, CASE n %% 4 WHEN 2 THEN 60000 ELSE 1000 END, 'EUR', 'customer-' || n)) FROM generate_series(1, 4 * %(n)s) n;
    SELECT count(payguard.record_payment('case-' || n, CASE n %% 4 WHEN 3 THEN 'sepa' ELSE 'card' END, 'ch_' || n, CASE n %% 4 WHEN 1 THEN 900 WHEN 2 THEN 60000 ELSE 1000 END, 'EUR')) FROM generate_series(1, 4 * %(n)s) n;
    SELECT count(payguard.record_payment('case-' || n, 'paypal', 'PP_' || n, 1000, 'EUR')) FROM generate_series(4, 4 * %(n)s, 4) n;
    SELECT count(payguard.refund_order('case-' || n, 'back-' || n, reason => 'goods returned')) FROM generate_series(2, 4 * %(n)s, 4) n;
    SELECT count(payguard.record_reversal('sepa', 'r_' || n, 'ch_' || n, 'bank_return', 1000, 'EUR')) FROM generate_series(3, 4 * %(n)s, 4) n;
    INSERT INTO payguard.alerts (kind, severity, cause, order_id, opened_at, resolved_at, resolved_by, note)
    SELECT 'late_success', 'warning', 'old-' || n, 'order-' || n, now() - interval '30 days', now() - n * interval '20 s', 'ana', 'called the customer'
    FROM generate_series(1, 40 * %(n)s) n;
    SELECT count(payguard.count_events(1000000));
    CREATE ROLE ana LOGIN PASSWORD 'ana';
    SELECT payguard.grant_access('ana', 'operator');
    SELECT count(*) FROM payguard.maintain()
"""
EXPLAIN = """
    ALTER ROLE ana SET session_preload_libraries = 'auto_explain';
    ALTER ROLE ana SET auto_explain.log_min_duration = 0;
    ALTER ROLE ana SET auto_explain.log_nested_statements = on;
    ALTER ROLE ana SET auto_explain.log_analyze = on;
    ALTER ROLE ana SET auto_explain.log_buffers = on;
    ALTER ROLE ana SET auto_explain.log_timing = off
"""


def execute(cursor, statements):
    for statement in statements.split(";\n"):
        cursor.execute(statement)


def fill(server, orders, cases):
    cursor = server.connect().cursor()
    cursor.execute(maintain.SETUP)
    for begin in range(1, orders + 1, 500_000):
        cursor.execute(maintain.FILL, {"from": begin, "to": min(begin + 499_999, orders)})
    cursor.execute("INSERT INTO payguard.consumers SELECT 'payguard.totals', 1, m, m, m, '{}', '{}', '{}',"
                   " system_identifier, now() FROM pg_control_system(), (SELECT max(event_id) FROM payguard.events) e (m)")
    execute(cursor, CASES % {"n": cases // 4})
    cursor.execute("VACUUM ANALYZE")


def pages(books, orders):
    """(what, its address)"""
    kinds = books.rows("SELECT kind, min(case_id) FROM payguard.cases GROUP BY 1 ORDER BY 1")
    opened = books.rows("SELECT count(*) FROM payguard.cases")[0][0]
    yield from (("the inbox", "/"), (f"the inbox, page {opened // 100}", f"/?page={opened // 100}"), ("the inbox, one kind", f"/?kind={kinds[-1][0]}"),
                ("the inbox, waiting for a second person", "/?show=waiting"), ("resolved today", "/?show=resolved"))
    yield from ((f"a case, {kind}", f"/case/{case}") for kind, case in kinds)
    yield from (("an order", f"/order?id=order-{orders // 2}"), ("second opinions", "/approvals"), ("statements", "/statements"), ("the overview of a fortnight", "/overview?period=fortnight"))
    yield from ((f"a search, {what}", "/search?" + urllib.parse.urlencode({"q": text})) for what, text in (
        ("order", f"order-{orders // 3}"), ("customer", "customer-77"), ("transaction", "PP_4"), ("key", f"key-{orders // 4}"), ("nothing is found", "nobody")))


def spent(processes):
    """Milliseconds of the processor that these have had."""
    ticks = 0
    for number in processes:
        with open(f"/proc/{number}/stat", encoding="utf-8") as file:
            ticks += sum(map(int, file.read().rpartition(")")[2].split()[11:13]))
    return 1000 * ticks / os.sysconf("SC_CLK_TCK")


def processes_of(books):
    """The console, which is our child, and the server's process of its connection."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="utf-8") as file:
        children = [int(number) for number in file.read().split()]
    consoles = []
    for number in children:
        with open(f"/proc/{number}/cmdline", encoding="utf-8") as file:
            consoles += [number] if "app.py" in file.read() else []
    return consoles + [pid for pid, in books.rows("SELECT pid FROM pg_stat_activity WHERE usename = 'ana'")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--orders", type=int, default=1_000_000)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--plans")
    options = parser.parse_args()
    with cluster.Cluster("max_wal_size = 8GB", "shared_buffers = 512MB") as server:
        fill(server, options.orders, options.cases)
        books = Books(server)
        with open(os.path.join(server.data, "pg_hba.conf"), "w", encoding="utf-8") as hba:
            hba.write(shop.PASSWORDS)
        books.rows("SELECT pg_reload_conf()")
        print(books.rows("SELECT count(*), (SELECT count(*) FROM payguard.cases), (SELECT count(*) FROM payguard.past_cases) FROM payguard.orders")[0],
              "orders, open cases, closed cases")
        with shop.served(server) as (address, _):
            wait_for(lambda: reachable(address), 60, 0.5)
            ana = Stranger(address)
            ana.sign_in("ana")
            asked, processes = list(pages(books, options.orders)), processes_of(books)
            for what, path in asked:
                took, busy = [], spent(processes)
                for _ in range(ROUNDS):
                    began = time.monotonic()
                    status, page = ana.ask(path)
                    took.append(1000 * (time.monotonic() - began))
                    assert status == 200 and "Sign out" in page, (what, status, page)
                print(f"{what}: {statistics.median(took):.0f} ms ({max(took):.0f}), processor {(spent(processes) - busy) / ROUNDS:.0f} ms", flush=True)
            if options.plans:
                execute(books.cursor, EXPLAIN)
                size = os.path.getsize(server.log)
                ana.sign_in("ana")
                for _, path in asked:
                    ana.ask(path)
                with open(server.log, encoding="utf-8") as log, open(options.plans, "w", encoding="utf-8") as plans:
                    log.seek(size)
                    plans.write(log.read())


if __name__ == "__main__":
    main()
