#!/usr/bin/python3
"""The router of examples/sharding over four shards answers as one database does.

The regress files below run twice: in one database with payguard, and through a router over four
shards. What they print must be the same, errors compared by SQLSTATE, since PL/Proxy puts words of
its own around a message and passes no constraint name on. What does not go through a router is left
out, and why is said there. Then: what changes for the caller.

PAYGUARD_ALL="keys slots" shows how the two outputs of these differ, PAYGUARD_ALL=all those of every
file; nothing is tested then.
"""
import difflib
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
from cluster import Cluster  # noqa: E402
from tap import Tap, skip  # noqa: E402

SRC = os.environ.get("PAYGUARD_SRC") or os.path.join(os.path.dirname(__file__), "..", "..", "..")
SHARDS = 4

# What goes through the router, and the lines that differ, with their reason.
ROUTABLE = {
    "amount_left_out": (), "attempts": (), "charge_again": (), "decision_list": (), "doubled_payment": (),
    "order_life": (), "replay": (), "slots": (),
    # a key is unique in its shard: used for an order at another one it is a new key
    "keys": ("-PY301", "+PY401"),
    # one call is one transaction: the first call's payment is not rolled back; and tables are views
    "pay_once": ("-paid", "+order_already_paid", "-ERROR: 23505", "+ERROR: 55000", "-ERROR: 23505", "+ERROR: 55000"),
    # the other payment is at another shard, which does not know it
    "surplus": ("-a failed one | 22023", "+a failed one | PY402"),
    # a transaction id is unique in its shard: reconciliation finds one that two shards know
    "late_success": (
        "-recorded | | The channel's transaction belongs to a payment of another order.",
        "+paid | succeeded | The order is paid.", "-unpaid | late_success this, txn_reused! this",
        "+paid by new | new succeeded 1000 EUR | late_success this"),
}
# These are the same as well, and take minutes: PAYGUARD_LONG=1 (make torture-sharding) runs them too.
LONG = ("channel_adyen", "channel_capture", "channel_examples", "channel_paypal", "evidence_arguments", "evidence_order", "evidence_table")
# The others look at what is not at the router (privileges, protection, install, checks, verify, hot,
# drivers, arguments of functions it lacks), count across configuration or claims in one database
# (channels, expiry, queue*), or roll several calls back together (batch, savepoint, read_only,
# approvals, duplicates, hard_cases, notifications, refunds, reversal).

tap = Tap()
ok = tap.ok


class Server(Cluster):
    def __init__(self):
        super().__init__("shared_preload_libraries = ''", "max_prepared_transactions = 20")

    def reached(self, **more):
        """What leads a client there."""
        return dict(os.environ, PGHOST=self.folder, PGPORT="5432", PGUSER="postgres",
                    PGDATABASE="postgres", **more)

    def output(self, *command):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=self.reached())
        if done.returncode != 0:
            raise RuntimeError(done.stdout.decode())
        return done.stdout.decode()

    def psql(self, database, *arguments, **more):
        """What psql prints, errors too, by their SQLSTATE."""
        done = subprocess.run(["psql", "-X", "-q", "-v", "VERBOSITY=sqlstate", "-d", database] + list(arguments),
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=self.reached(**more))
        return done.stdout.decode()

    def value(self, database, statement):
        return self.psql(database, "-At", "-c", "SET client_min_messages = error", "-c", statement).strip()

    def install(self):
        """The router and its shards."""
        for name in ["router"] + ["shard%d" % n for n in range(SHARDS)]:
            self.output("createdb", name)
        self.output(os.path.join(SRC, "examples", "sharding", "setup.sh"),
                 *("host=%s port=5432 dbname=%s" % (self.folder, name)
                   for name in ["router"] + ["shard%d" % n for n in range(SHARDS)]))
        self.output("psql", "-Xq", "-d", "router", "-c", "CREATE USER MAPPING FOR PUBLIC SERVER payguard")


def adapt(folder):
    """The regress files in a copy: errors as SQLSTATE alone, and roles that may connect to a shard."""
    for name in ("sql", "test", "examples"):
        shutil.copytree(os.path.join(SRC, name), os.path.join(folder, name))
    for part in ("sql", os.path.join("test", "lib")):
        part = os.path.join(folder, part)
        for name in os.listdir(part):
            if name.endswith(".sql"):
                path = os.path.join(part, name)
                with open(path, encoding="utf-8") as file:
                    text = file.read()
                text = re.sub(r"(?m)^(\\set VERBOSITY).*", r"\1 sqlstate", text)
                text = re.sub(r"(?m)^(CREATE ROLE \w+);", r"\1 LOGIN;", text)
                # roles own things in databases that these do not see
                text = re.sub(r"(?m)^DROP (OWNED BY|ROLE) .*$", "", text)
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)


def normal(output):
    """What was printed, without layout, ids, messages, and what psql and PL/Proxy say beside."""
    lines = []
    for line in output.splitlines():
        line = re.sub(r"^psql:[^ ]*: ", "", line)
        if re.match(r"(NOTICE|WARNING|DETAIL|HINT|CONTEXT|LOCATION|PL/pgSQL function|SQL statement|SQL function)\b", line):
            continue
        if re.fullmatch(r"[-+ ]+", line):
            continue
        line = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<id>", line)
        line = re.sub(r"\b(PY\d{3}|[0-9][0-9A-Z]{4})\b( [a-z_.]+)* (\||:) .*", r"\1", line)
        lines.append(" ".join(line.split()))
    return lines


def compare(one, many, folder, name):
    """The lines in which the two outputs differ."""
    path = os.path.join(folder, "sql", name + ".sql")
    outputs = [normal(cluster.psql(database, "-a", "-f", path, PG_ABS_SRCDIR=folder))
               for cluster, database in ((one, "single"), (many, "router"))]
    if os.environ.get("PAYGUARD_ALL"):
        print("#", name, len(outputs[0]), "lines")
    return [line for line in difflib.unified_diff(*outputs, lineterm="", n=0) if not line.startswith(("---", "+++", "@@"))]


def orders_of_shards(many, count):
    """Order ids, `count` of each shard."""
    rows = many.value("router", """
        SELECT id FROM (SELECT 'shards-' || i AS id, row_number() OVER (PARTITION BY payguard_router.shard_of_order('shards-' || i) ORDER BY i) AS n
                        FROM generate_series(1, 200) i) s WHERE n <= %d""" % count).splitlines()
    return rows


def changes(many):
    """What is different for the caller, and what is not."""
    value = many.value
    orders = orders_of_shards(many, 3)
    ok(len(orders) == 3 * SHARDS, "orders are spread over %d shards" % SHARDS, orders)
    value("router", "SELECT payguard.register_channel('shards-card')")
    ok(value("router", "SELECT count(payguard.create_order(id, 100, 'EUR')) FROM unnest('{%s}'::text[]) id"
             % ",".join(orders)) == str(len(orders)), "each is made at its shard")
    ok([value("shard%d" % n, "SELECT count(*) FROM payguard.orders WHERE order_id ~ '^shards-'") for n in range(SHARDS)]
       == ["3"] * SHARDS, "and there alone")

    answer = value("router", """
        SELECT string_agg(r.order_id || ' ' || r.outcome || ' ' || r.replayed, ',' ORDER BY n) FROM payguard.pay_orders(ARRAY(
          SELECT (id, 'batch-' || id, NULL, NULL, NULL, NULL)::payguard.pay_request
          FROM unnest('{%s}'::text[]) WITH ORDINALITY u (id, i) ORDER BY i)) WITH ORDINALITY r
          (outcome, order_id, p, os, ps, v, a, c, t, replayed, m, n)""" % ",".join(orders[:8] + orders[:1] + ["shards-none"]))
    ok(answer == ",".join(["%s paid false" % id for id in orders[:8]] + [orders[0] + " paid true", "shards-none order_not_found false"]),
       "a batch is split, and answered in the order asked", answer)

    many.psql("router", "-c", "BEGIN; SELECT payguard.pay_order('%s', 'rolled-back'); ROLLBACK" % orders[8])
    ok(value("router", "SELECT outcome || replayed::text FROM payguard.pay_order('%s', 'rolled-back')" % orders[8])
       == "paidtrue", "one call is one transaction: a ROLLBACK at the router leaves it done, and the retry is a replay")

    error = many.psql("router", "-v", "VERBOSITY=verbose", "-c", "SELECT payguard.pay_order('%s', 'other')" % orders[0])
    ok("ERROR:  PY101:" in error and 'REMOTE ERROR: order "%s" is already paid' % orders[0] in error
       and "Remote detail: Payment" in error and "Remote hint: Do not pay" in error,
       "an error keeps its SQLSTATE, message, detail and hint", error)
    ok("CONSTRAINT" not in error, "and loses its constraint name", error)
    ok(value("router", "SELECT outcome FROM payguard.try_pay_order('%s', 'other')" % orders[0])
       == "order_already_paid", "which try_pay_order() gives as the outcome")

    for id in orders[9:]:
        value("router", "SELECT payguard.request_payment('%s', 'task-%s', 'shards-card')" % (id, id))
    claimed = value("router", "SELECT count(*) FROM payguard.claim_tasks('w', 2, channels := '{shards-card}')")
    ok(claimed == "2", "claim_tasks() gathers as many as asked", claimed)
    rest = value("router", "SELECT count(*) FROM payguard.claim_tasks('w', 10, channels := '{shards-card}')")
    ok(rest == "1", "and then the rest", rest)
    answer = value("router", """
        SELECT count(*) FILTER (WHERE outcome = 'paid') FROM payguard.complete_tasks((
          SELECT array_agg((task_id, lease_token, 'succeeded', 'txn-' || order_id, 100, 'EUR', NULL, NULL)::payguard.task_answer)
          FROM payguard.leases WHERE order_id ~ '^shards-'))""")
    ok(answer == "3", "answers find the shard of their task", answer)

    answer = value("router", """SELECT result || ' ' || order_id FROM payguard.record_notification('shards-card', 'x', 'event-1',
        channel_txn_id := 'txn-%s', channel_status := 'succeeded')""" % orders[9])
    ok(answer == "applied " + orders[9], "a message that names a transaction alone finds its shard", answer)
    answer = value("router", """SELECT result FROM payguard.record_notification('shards-card', 'y', 'event-2',
        channel_txn_id := 'txn-nobody', channel_status := 'succeeded')""")
    ok(answer == "unmatched" and value("router", "SELECT count(*) FROM payguard.alerts WHERE kind = 'unmatched_notification' AND details->>'channel' = 'shards-card'") == "1",
       "one that no shard knows is kept and alerted", answer)
    answer = [value("router", statement % orders[9]) for statement in (
        "SELECT status FROM payguard.record_reversal('shards-card', 'back-1', 'txn-%s', 'bank_return', 100, 'EUR')",
        "SELECT status FROM payguard.order_status('%s')",
        "SELECT status || ' ' || order_id FROM payguard.record_reinstatement('shards-card', 'back-1') -- %s",
        "SELECT status FROM payguard.order_status('%s')",
        "SELECT status FROM payguard.record_reversal('shards-card', 'back-2', 'txn-%s', 'chargeback', 40, 'EUR')",
        "SELECT status FROM payguard.reopen_order('%s', 'the customer pays again')")]
    ok(answer == ["succeeded", "unpaid", "reinstated " + orders[9], "paid", "succeeded", "unpaid"],
       "a reversal finds its shard by the transaction, and what undoes it by the reversal", answer)
    answer = value("router", "SELECT outcome FROM payguard.record_reinstatement('shards-card', 'back-nobody')")
    ok(answer == "recorded", "what undoes a reversal that no shard knows is kept", answer)
    answer = value("router", "SELECT outcome FROM payguard.report_payment(gen_random_uuid(), 'succeeded')")
    ok(answer == "recorded", "evidence about an id that payguard never made is kept too", answer)
    ok(value("router", "SELECT count(*) FROM payguard.verify()") == "0", "verify() asks every shard and finds nothing")

    lost = [id for id in orders if value("router", "SELECT payguard_router.shard_of_order('%s')" % id) == "3"][0]
    value("postgres", "ALTER DATABASE shard3 ALLOW_CONNECTIONS false")
    value("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'shard3'")
    error = many.psql("router", "-c", "SELECT payguard.order_status('%s')" % lost)
    other = [id for id in orders if value("router", "SELECT payguard_router.shard_of_order('%s')" % id) != "3"][0]
    ok("ERROR" in error and value("router", "SELECT (payguard.order_status('%s')).order_id" % other) == other,
       "with a shard gone the orders of the others are served", error, other)
    value("postgres", "ALTER DATABASE shard3 ALLOW_CONNECTIONS true")
    ok(value("router", "SELECT (payguard.order_status('%s')).order_id" % lost) == lost, "and when it is back, its own")


def messages(many):
    """The two forms of a body are one event, kept byte for byte."""
    value = many.value
    record = "SELECT result FROM payguard.record_notification('shards-post', %s);"
    with open(os.path.join(SRC, "test/clients/bodies.txt"), encoding="utf-8") as file:
        bodies = [line.split(" ")[:2] for line in file if not line.startswith("#")]
    calls = "".join(record % ("convert_from('\\x%s', 'UTF8')" if kind == "text" else "'\\x%s'::bytea") % code
                    + record % "'\\x%s'::bytea" % code for kind, code in bodies)
    answer = value("router", calls).split()
    ok(answer == ["unmatched", "duplicate"] * len(bodies), "a body as a text and as bytes is one event", answer)
    answer = value("router", "SET bytea_output = escape; " + calls).split()
    ok(answer == ["duplicate"] * 2 * len(bodies), "however the session prints bytes", answer)
    answer = value("router", "SELECT encode(body, 'hex') FROM payguard.notifications WHERE channel = 'shards-post' ORDER BY received_at")
    ok(answer.split() == [code for _, code in bodies], "and each is kept byte for byte", answer)
    answer = value("router", """SELECT string_agg(result, ' ' ORDER BY n)
        FROM generate_series(1, 8) n, payguard.record_notification('shards-post', 'body ' || n, 'event-1')""")
    ok(answer == "unmatched" + " duplicate" * 7, "an event id is one event, whatever its body", answer)


def main():
    folder = tempfile.mkdtemp(prefix="payguard-sharding.")
    try:
        with Server() as one, Server() as many:
            if many.value("postgres", "SELECT count(*) FROM pg_available_extensions WHERE name = 'plproxy'") != "1":
                skip("PL/Proxy is not installed")
            one.output("createdb", "single")
            one.output("psql", "-Xq", "-d", "single", "-c", "CREATE EXTENSION payguard")
            many.install()
            # the regress files read a list of payguard's tables
            many.output("psql", "-Xq", "-d", "router", "-c", """
                CREATE FUNCTION payguard.own_tables() RETURNS SETOF text LANGUAGE sql AS
                $$ SELECT unnest('%s'::text[]) $$""" % one.value("single", "SELECT array_agg(t) FROM payguard.own_tables() t"))
            files = os.path.join(folder, "files")
            os.mkdir(files)
            adapt(files)
            if os.environ.get("PAYGUARD_ALL"):
                names = os.environ["PAYGUARD_ALL"].split()
                if names == ["all"]:
                    names = sorted(name[:-4] for name in os.listdir(os.path.join(files, "sql")) if name.endswith(".sql"))
                for name in names:
                    for line in compare(one, many, files, name):
                        print("#   ", line[:150])
                    sys.stdout.flush()
                return
            if os.environ.get("PAYGUARD_LONG"):
                # what was tried there is not taken back: one call is one transaction
                ROUTABLE.update((name, ("-t", "+f") if name == "evidence_arguments" else ()) for name in LONG)
            for name, differences in ROUTABLE.items():
                found = compare(one, many, files, name)
                ok(sorted(found) == sorted(differences), "%s: %d known differences through the router" % (name, len(differences)), *found)
            messages(many)
            changes(many)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(tap.done())


main()
