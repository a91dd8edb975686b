#!/usr/bin/python3
"""What a guard costs: instructions of the backend and bytes of WAL for an UPDATE of one row, and
of many, over the same UPDATE without a trigger; beside the same guard in PL/pgSQL.

Usage: guard.py [rows]
"""
import sys

from common import Server, table
from exact import Counter

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 and __name__ == "__main__" else 20000
BULK = 1000  # rows of one statement

GRAPH = '{"unpaid": ["paid"], "paid": ["unpaid", "refunded"]}'
COLUMNS = "id bigint PRIMARY KEY, customer text, amount bigint NOT NULL, status text NOT NULL, version bigint NOT NULL"

# The same guard in PL/pgSQL: with its graph in a table, as ours is not fixed in code either, and
# with all fixed in code.
PL = """
CREATE TABLE bench.transitions (from_status text, to_status text, PRIMARY KEY (from_status, to_status));
INSERT INTO bench.transitions VALUES ('unpaid', 'paid'), ('paid', 'unpaid'), ('paid', 'refunded');
CREATE FUNCTION bench.{name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.status IS DISTINCT FROM 'unpaid' THEN
      RAISE check_violation USING MESSAGE = 'initial';
    END IF;
  ELSIF TG_OP = 'DELETE' THEN
    RAISE check_violation USING MESSAGE = 'delete';
  ELSE
    IF NEW.status IS DISTINCT FROM OLD.status AND NOT ({legal}) THEN
      RAISE check_violation USING MESSAGE = format('%s to %s', OLD.status, NEW.status);
    END IF;
    IF NEW.version IS DISTINCT FROM OLD.version + 1 THEN
      RAISE serialization_failure USING MESSAGE = 'version';
    END IF;
    IF NEW.amount IS DISTINCT FROM OLD.amount THEN
      RAISE check_violation USING MESSAGE = 'amount';
    END IF;
  END IF;
  RETURN NULL;
END
$$;
"""
LEGAL = {
    "by_table": "EXISTS (SELECT FROM bench.transitions t WHERE t.from_status = OLD.status AND t.to_status = NEW.status)",
    "by_code": "CASE OLD.status WHEN 'unpaid' THEN NEW.status = 'paid' "
               "WHEN 'paid' THEN NEW.status IN ('unpaid', 'refunded') ELSE false END"}

WAYS = {"none": "without", "guard": "guarded", "PL/pgSQL, graph in a table": "by_table",
        "PL/pgSQL, graph in code": "by_code"}


def name_of(way):
    return f"bench.{WAYS[way]}"


def make_tables(server):
    server.sql("CREATE EXTENSION IF NOT EXISTS payguard")
    server.sql("CREATE SCHEMA IF NOT EXISTS bench")
    head, function = PL.split("CREATE FUNCTION")
    server.sql(head)
    for way in WAYS:
        server.sql(f"CREATE TABLE {name_of(way)} ({COLUMNS}) WITH (fillfactor = 50)")
        server.sql(f"INSERT INTO {name_of(way)} SELECT n, 'customer ' || n, 100, 'unpaid', 1 FROM generate_series(1, {ROWS}) n")
    server.sql("SELECT payguard.guard_table('bench.guarded', 'status', %s, 'version', initial := '{unpaid}', "
               "immutable_columns := '{amount}')", (GRAPH,))
    for name, legal in LEGAL.items():
        server.sql("CREATE FUNCTION" + function.replace("{name}", name + "_guard").replace("{legal}", legal))
        server.sql(f"CREATE TRIGGER guard AFTER INSERT OR UPDATE OR DELETE ON bench.{name} "
                   f"FOR EACH ROW EXECUTE FUNCTION bench.{name}_guard()")
    server.tidy()


def single(way):
    """One row after the other: from unpaid to paid, and back."""
    return (f"\\set i :i + 1\n\\set id 1 + (:base + :i) % {ROWS}\n"
            f"UPDATE {name_of(way)} SET status = CASE status WHEN 'unpaid' THEN 'paid' ELSE 'unpaid' END, "
            "version = version + 1 WHERE id = :id;\n")


def bulk(way):
    return (f"\\set i :i + 1\n\\set first 1 + {BULK} * ((:base + :i) % {ROWS // BULK})\n"
            f"UPDATE {name_of(way)} SET status = CASE status WHEN 'unpaid' THEN 'paid' ELSE 'unpaid' END, "
            f"version = version + 1 WHERE id BETWEEN :first AND :first + {BULK - 1};\n")


def measure():
    """(kind of update, way) → (instructions, WAL bytes), per row."""
    found = {}
    with Server(full_page_writes="off", fsync="off") as server:
        make_tables(server)
        scripts = [("one row", single, 1), (f"{BULK} rows", bulk, BULK)]
        counter = Counter(server)
        for kind, script, rows in scripts:
            for way in WAYS:
                counter.base = 1
                found[kind, way] = [counter.wal_and_buffers(script(way), "", 200 if rows == 1 else 10)[0] / rows]
        server.stop()
        server.start_counting()
        for kind, script, rows in scripts:
            for way in WAYS:
                counter.base = 1
                counter.short, counter.long = (100, 500) if rows == 1 else (1, 5)
                found[kind, way].insert(0, counter.instructions(script(way), "") / rows)
    return found


def main():
    found = measure()
    lines = []
    for (kind, way), (instructions, wal) in found.items():
        base = found[kind, "none"]
        lines.append([kind, way, f"{instructions:,.0f}", f"{100 * (instructions / base[0] - 1):+.1f} %", f"{wal:,.0f}",
                      f"{wal - base[1]:+,.0f}"])
    table(["UPDATE of", "trigger", "instructions a row", "over none", "WAL bytes a row", "over none"], lines)


if __name__ == "__main__":
    main()
