"""The handlers for psycopg as a program; test/clients/handlers.py says what it is asked."""
import os
import sys

import lines

sys.path.insert(0, os.environ["PAYGUARD_SRC"] + "/examples/handlers")
import psycopg_pool  # noqa: E402
import python_psycopg  # noqa: E402

pool = psycopg_pool.ConnectionPool(f"host=127.0.0.1 port={os.environ['SHOP_PORT']} user=web dbname=handlers",
                                   min_size=2, max_size=4, kwargs={"autocommit": True})
lines.serve(lambda order, key: python_psycopg.checkout(pool, lines, order, key),
            lambda signature, body: python_psycopg.webhook(pool, os.environ["SHOP_SECRET"].encode(), body, signature))
pool.close()
