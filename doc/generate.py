#!/usr/bin/python3
"""Writes into the documents what the database knows: pictures, states, signatures, columns, lists of functions.

    python3 doc/generate.py        # psql finds a database that has payguard by PGHOST, PGDATABASE and so on

What a person has written stays: the meaning of a state or a column, and all text around. The places are:

- doc/pictures/states_MACHINE.svg, the whole file;
- a table whose head begins with "| state |", behind the picture of its machine;
- a table whose head begins with "| column | type |", below a heading that is the name of a table, view or type;
- the block and the line "Access:" below a heading of doc/reference.md that has names of functions;
- the list below "Functions from A to Z" and the table below "Parts of other functions" of doc/reference.md.
"""
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "pictures"))
import states  # noqa: E402

PAGES = ("concepts.md", "reference.md", "tables.md", "zh/concepts.md")
WIDTH = 118
INNER = ("access_functions", "call_driver", "channel_drivers", "consumer_lags", "guard_settings", "guard_triggers", "money",
         "major_text", "read_counters", "session_role", "tell")      # granted, since a function or view of others needs them
FACTS = r"""
WITH routine AS (
  SELECT p.*, p.oid::regprocedure::text AS name_and_types FROM pg_proc p
  WHERE pronamespace = 'payguard'::regnamespace AND coalesce(obj_description(oid, 'pg_proc'), '') !~ '^The arguments of '
)
SELECT jsonb_build_object(
  'ways', (SELECT jsonb_agg(jsonb_build_array(machine, from_status, to_status) ORDER BY n)
           FROM payguard.state_transitions() WITH ORDINALITY AS w (machine, from_status, to_status, n)),
  'functions', (SELECT jsonb_agg(jsonb_build_object(
      'name', proname, 'arguments', pg_get_function_arguments(oid), 'result', pg_get_function_result(oid),
      'kind', prokind, 'trigger', prorettype IN ('trigger'::regtype, 'event_trigger'::regtype),
      'comment', obj_description(oid, 'pg_proc'),
      'access', (SELECT jsonb_agg(DISTINCT access) FROM payguard.access_functions() f WHERE f.function::regprocedure = routine.oid))
      ORDER BY proname COLLATE "C", pronargs, name_and_types COLLATE "C") FROM routine),
  'columns', (SELECT jsonb_object_agg(relname, columns) FROM (
      SELECT relname, jsonb_agg(jsonb_build_array(attname, format_type(atttypid, atttypmod), coalesce(col_description(c.oid, attnum), ''))
                                ORDER BY attnum) AS columns
      FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid
      WHERE relnamespace = 'payguard'::regnamespace AND relkind IN ('r', 'v', 'c') AND attnum > 0 AND NOT attisdropped
      GROUP BY relname) x),
  'settings', (SELECT jsonb_agg(name ORDER BY name) FROM pg_settings WHERE name LIKE 'payguard.%'),
  'alerts', (SELECT jsonb_agg(DISTINCT alert) FROM payguard.decisions() WHERE alert IS NOT NULL))
"""
SHORT = (("timestamp with time zone", "timestamptz"), ("character varying", "varchar"), ("payguard.", ""))


def facts_of(database):
    """What the database knows; database: a function that answers a query by one text."""
    facts = json.loads(database(FACTS))
    machines = {}
    for machine, start, end in facts.pop("ways"):
        machines.setdefault(machine, []).append((start or states.NEW, end))
    return dict(facts, machines=machines)


def by_psql(query):
    done = subprocess.run(["psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", "SET search_path = pg_catalog", "-c", query],
                          check=True, stdout=subprocess.PIPE, universal_newlines=True)
    return done.stdout


def short(text):
    for long_name, name in SHORT:
        text = text.replace(long_name, name)
    return text


def default(text):
    """An argument as people write it: DEFAULT and the cast of a default go."""
    text = re.sub(r" DEFAULT (.*)", r" = \1", short(text))
    return re.sub(r"::[\w ]+(\[\])?", "", text)


def wrapped(head, parts, tail):
    """head(parts), broken behind a comma where a line is full."""
    lines, line = [], head
    for n, part in enumerate(parts):
        part += tail if n == len(parts) - 1 else ", "
        if len(line + part.rstrip()) > WIDTH:
            lines.append(line.rstrip())
            line = "    "
        line += part
    return lines + [line if parts else head + tail]


def signature(function):
    """The lines of one function's signature."""
    arguments = [default(re.sub("^(IN|OUT) ", "", a)) for a in re.split(r", (?=(?:IN |OUT )?\w+ )", function["arguments"])
                 if a and not a.startswith("OUT ")]
    result = function["result"] or ""
    out = [short(re.sub("^OUT ", "", a)) for a in function["arguments"].split(", ") if a.startswith("OUT ")]
    if function["kind"] == "p":
        return wrapped("CALL " + function["name"] + "(", arguments, ")")
    if result.startswith("TABLE"):
        out = short(result)[6:-1].split(", ")
    lines = wrapped(function["name"] + "(", arguments, ")")
    if out:
        return lines[:-1] + wrapped(lines[-1] + " → TABLE (", out, ")")
    lines[-1] += " → " + short(result)
    return lines


def access(functions):
    """Who may call these functions, as a line."""
    names = {name for function in functions for name in function["access"] or ()}
    names |= {"admin"} if "operator" in names else set()
    return "Access: " + (", ".join(f"`{name}`" for name in sorted(names)) or "superuser") + "."


def is_public(function):
    """Whether people call it: an access has it, and it is no part of others."""
    return function["access"] and function["name"] not in INNER and not re.match("Part of |Marks the access ", function["comment"])


def signatures(text, facts):
    """Below each heading with names of functions: their signatures, and who may call them."""
    def section(found):
        names = re.split(r",\s*", found.group(1))
        functions = [f for name in names for f in facts["functions"] if f["name"] == name]
        if not functions:
            return found.group(0)
        lines = [line for f in functions for line in signature(f)]
        groups = {access([f]) for f in functions}
        told = groups.pop() if len(groups) == 1 else "Access: " + "; ".join(
            f"`{name}` {access([f for f in functions if f['name'] == name])[8:-1]}" for name in names) + "."
        return f"### {found.group(1)}\n\n```\n" + "\n".join(lines) + f"\n```\n\n{told}\n"
    return re.sub(r"(?ms)^### (\w+(?:, \w+)*)\n(?:\n```\n[^`]*```\n\nAccess: [^\n]*\n)?", section, text)


def headings(text):
    """{name of a function: the anchor of the heading that has it}."""
    found = {}
    for heading in re.findall(r"(?m)^### (\w+(?:, \w+)*)$", text):
        for name in heading.split(", "):
            found.setdefault(name, heading.replace(",", "").replace(" ", "-"))
    return found


def a_to_z(text, facts):
    """The list of the functions that have a section, and the table of those that have none."""
    anchors = headings(text)
    names = sorted({f["name"] for f in facts["functions"] if f["name"] in anchors})
    lines = " ·\n".join(f"[{name}](#{anchors[name]})" for name in names)
    rest = "".join(f"| `{f['name']}` | {f['comment'].replace('|', chr(92) + '|')} |\n" for f in facts["functions"] if f["name"] not in anchors)
    text = re.sub(r"(?s)(\n#+ Functions from A to Z\n\n).*?(?=\n\n|\Z)", lambda found: found.group(1) + lines, text)
    return re.sub(r"(?s)(\n## Parts of other functions\n\n[^|]*?\n)(\n\|.*)?\Z",
                  lambda found: found.group(1) + "\n| function | comment |\n|---|---|\n" + rest, text)


def cells(line):
    """The cells of a row of a table; a bar in code is written \\|."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def columns(text, facts):
    """The tables of columns, with types; what was written about a column stays, else its comment is taken."""
    def filled(found):
        name, before, head, body = found.groups()
        if name not in facts["columns"]:
            return found.group(0)
        written = {cells(row)[0].strip("`"): cells(row)[2] for row in body.splitlines()}
        rows = [f"| `{column}` | {short(kind)} | {written.get(column) or comment.replace('|', chr(92) + '|')} |\n"
                for column, kind, comment in facts["columns"][name]]
        return f"### {name}\n{before}{head}" + "".join(rows)
    return re.sub(r"(?m)^### (\w+)\n((?:(?!#)(?!\| column \|).*\n)*)(\| column \| type \|.*\n\|[-|]+\n)((?:\|.*\n)*)", filled, text)


def machine_tables(text, facts):
    """The tables of states behind the pictures; what was written about a state stays."""
    for machine, ways in facts["machines"].items():
        def filled(found, ways=ways):
            meanings = {cells(row)[0].strip("`"): cells(row)[1] for row in found.group(2).splitlines()}
            rows = []
            for state in states.states_of(ways)[1:]:
                ends = ", ".join(f"`{end}`" for start, end in ways if start == state)
                rows.append(f"| `{state}` | {meanings.get(state, '')} | {ends or '–'} |\n")
            return found.group(1) + "".join(rows)
        text = re.sub(rf"(states_{machine}\.svg\)\n\n\|.*\n\|[-|]+\n)((?:\|.*\n)*)", filled, text)
    return text


def made(name, text, facts):
    """A page as it has to be."""
    text = columns(machine_tables(text, facts), facts)
    return a_to_z(signatures(text, facts), facts) if name == "reference.md" else text


def files(facts, folder=HERE):
    """{file: what has to be in it}."""
    out = {os.path.join("pictures", f"states_{machine}.svg"): states.svg(machine, ways) for machine, ways in facts["machines"].items()}
    for name in PAGES:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                out[name] = made(name, file.read(), facts)
    return out


def main():
    for name, text in files(facts_of(by_psql)).items():
        with open(os.path.join(HERE, name), "w", encoding="utf-8") as file:
            file.write(text)


if __name__ == "__main__":
    main()
