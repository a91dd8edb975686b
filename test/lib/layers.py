#!/usr/bin/python3
"""The floor plan of src/, held.

    layers.py [FOLDER]    prints what breaks a rule; the status is not 0 then
    layers.py --graph     prints the arrows among the folders, and how large files and functions are

An arrow is an #include: no file may declare another's function by hand. CONTRIBUTING.md has the rules.
"""
import collections
import os
import re
import sys

BELOW = {"rules": "", "base": "rules", "store": "rules base", "records": "rules base store"}
BELOW["money"] = BELOW["records"] + " records"
BELOW["watch"] = BELOW["money"]
BELOW["guard"] = BELOW["watch"] + " watch"
BELOW["evidence"] = BELOW["money"] + " money"
BELOW["requests"] = BELOW["queue"] = BELOW["evidence"] + " evidence"
LONGEST_FUNCTION, LONGEST_FILE = 70, 800


def functions(text):
    """The functions of a file: name, number of lines from its name to its last brace."""
    for found in re.finditer(r"^(\w+)\([^;{}]*\)\n\{\n.*?^\}", text, re.M | re.S):
        yield found.group(1), found.group(0).count("\n") + 1


def arrows(files):
    """File to the files that it includes, without their ends."""
    return {name: {head for head, folder in re.findall(r'^#include "((\w+)/\w+)\.h"', text, re.M) if folder in BELOW}
            - {os.path.splitext(name)[0]} for name, text in files.items()}


def circles(graph):
    """Files that include each other, in a circle: what is left when files that lead nowhere are taken away."""
    graph = {name: set(targets) for name, targets in graph.items()}
    while True:
        ends = [name for name, targets in graph.items() if not targets & graph.keys()]
        if not ends:
            return sorted(graph)
        for name in ends:
            del graph[name]


def broken(files):
    """Each rule that is broken, in a line."""
    graph = arrows(files)
    modules = collections.defaultdict(set)
    for name, targets in graph.items():
        folder = os.path.dirname(name)
        modules[os.path.splitext(name)[0]] |= targets
        for target in sorted(targets):
            if folder and os.path.dirname(target) not in BELOW[folder].split() + [folder]:
                yield f"{name} includes {target}.h, which lies above it"
    circle = circles(modules)
    if circle:
        yield "a circle of includes: " + " ".join(circle)
    names = collections.Counter(os.path.basename(name) for name in files)
    for name in (n for n in names if names[n] > 1):
        yield f"{names[name]} files are called {name}"
    for name, text in files.items():
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        if name.endswith(".c") and re.search(r"^extern (?!PGDLLEXPORT)", code, re.M):
            yield f"{name} declares by hand what a header should"
        if name.startswith("evidence/") and re.search(r"payguard_(refuse|raise)\(", code):
            yield f"{name} refuses: evidence of money is never refused"
        if "PG_VERSION_NUM" in code and name != "base/compat.h":
            yield f"{name} asks for the server's version: base/compat.h does"
        if text.count("\n") > LONGEST_FILE:
            yield f"{name} has {text.count(chr(10))} lines, more than {LONGEST_FILE}"
        for function, lines in functions(text):
            if lines > LONGEST_FUNCTION:
                yield f"{name}: {function}() has {lines} lines, more than {LONGEST_FUNCTION}"


def graph(files):
    """The arrows among folders, and sizes."""
    among = collections.Counter()
    for name, targets in arrows(files).items():
        for target in targets:
            among[os.path.dirname(name) or "payguard.c", os.path.dirname(target)] += 1
    for folder in list(BELOW) + ["payguard.c"]:
        print(f"{folder:10}", ", ".join(f"{to} {n}" for (at, to), n in sorted(among.items()) if at == folder))
    sizes = sorted((text.count("\n"), name) for name, text in files.items())
    every = sorted((lines, function, name) for name, text in files.items() for function, lines in functions(text))
    print(f"{len(files)} files, the longest {sizes[-1][1]} ({sizes[-1][0]} lines); {len(every)} functions of"
          f" {sum(e[0] for e in every) / len(every):.0f} lines on the average, the longest {every[-1][1]}()"
          f" ({every[-1][0]}); {len(BELOW)} folders")


def main():
    """As the head of this file says."""
    given = [a for a in sys.argv[1:] if a != "--graph"]
    top = os.path.join(given[0] if given else os.path.join(os.path.dirname(__file__), "..", ".."), "src")
    files = {}
    for folder, _, names in os.walk(top):
        for name in names:
            if name.endswith((".c", ".h")):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8") as file:
                    files[os.path.relpath(path, top)] = file.read()
    if "--graph" in sys.argv:
        graph(files)
    problems = list(broken(files))
    print(*problems, sep="\n", end="\n" if problems else "")
    sys.exit(bool(problems))


main()
