#!/usr/bin/python3
"""sqlsmith's random statements, as a role that has the accesses checkout, channel and auditor and owns
a guarded table: no crash, no internal error, nothing that verify() finds.

PAYGUARD_SECONDS (600), PAYGUARD_SEED.
"""
import os
import random
import re
import subprocess
import sys

import psycopg2

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "sim"))
from cluster import Cluster  # noqa: E402

MAKE = """
CREATE EXTENSION payguard;
SELECT payguard.register_channel('card');
SELECT count(payguard.create_order('order-' || i, 100, 'EUR', 'c')) FROM generate_series(1, 50) i;
SELECT count(payguard.pay_order('order-' || i, 'key-' || i)) FROM generate_series(1, 20) i;
SELECT count(payguard.request_payment('order-' || i, 'key-' || i, 'card')) FROM generate_series(21, 40) i;
CREATE ROLE smith LOGIN;
SELECT payguard.grant_access('smith', access) FROM unnest('{checkout,channel,auditor}'::text[]) access;
CREATE TABLE shop_orders (id int PRIMARY KEY, status text NOT NULL, version int NOT NULL DEFAULT 1, amount int);
INSERT INTO shop_orders SELECT i, 'new', 1, i FROM generate_series(1, 100) i;
ALTER TABLE shop_orders OWNER TO smith;
SELECT payguard.guard_table('shop_orders', 'status', '{"new": ["paid", "cancelled"], "paid": ["refunded"]}',
                            'version', '{new}');
"""


def main():
    seed = int(os.environ.get("PAYGUARD_SEED") or random.SystemRandom().randrange(10**9))
    seconds = int(os.environ.get("PAYGUARD_SECONDS") or 600)
    print(f"PAYGUARD_SEED={seed}")
    with Cluster() as server:
        connection = psycopg2.connect(server.dsn)
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(MAKE)
        statements = 0
        # with the catalogs, and without: then our functions and tables come up more often
        for more in ([], ["--exclude-catalog"]):
            dsn = server.dsn.replace("user=postgres", "user=smith")
            try:
                done = subprocess.run(["sqlsmith", f"--target={dsn}", f"--seed={seed}", "--verbose"] + more,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds / 2,
                                      check=False)
                print("sqlsmith ended:", done.stdout.decode(errors="replace")[-500:])
            except subprocess.TimeoutExpired as expired:
                statements += len(re.findall(r"[.eSCt]", "".join(
                    re.findall(r"^[.eSCt]+$", expired.stdout.decode(errors="replace"), re.M))))
        cursor.execute("SELECT count(*) FROM payguard.verify()")
        violations = cursor.fetchone()[0]
        with open(server.log, encoding="utf-8", errors="replace") as file:
            log = file.read()
        bad = re.findall(r"^.*(?:was terminated by signal|PANIC|TRAP:|payguard: ).*$", log, re.M)
        print(f"{statements} statements, {len(bad)} crashes or internal errors, {violations} violations")
        for line in bad[:20]:
            print(line)
    return 1 if bad or violations or not statements else 0


if __name__ == "__main__":
    sys.exit(main())
