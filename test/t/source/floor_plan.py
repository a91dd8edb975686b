#!/usr/bin/python3
"""test/lib/layers.py finds each breach of the floor plan of src/, and none in src/ as it is."""
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
from tap import Tap  # noqa: E402

SRC = os.environ.get("PAYGUARD_SRC") or os.path.join(HERE, "..", "..", "..")
LAYERS = os.path.join(HERE, "..", "..", "lib", "layers.py")
# what is planted: a name, a file, what is added to its end, and what must be said of it
PLANTED = [
    ("an arrow up", "store/rows.c", '#include "records/order.h"\n', "store/rows.c includes records/order.h"),
    ("a folder beside", "watch/maintain.c", '#include "guard/own.h"\n', "watch/maintain.c includes guard/own.h"),
    ("a circle", "records/event.h", '#include "records/order.h"\n', "a circle of includes:"),
    ("a call up, declared by hand", "base/text.c", "extern bool payguard_order_find(void);\n", "base/text.c declares by hand"),
    ("two files of one name", "watch/order.c", "\n", "2 files are called order.c"),
    ("a refusal of evidence", "evidence/received.c", "void f(void)\n{\n\tpayguard_raise(NULL);\n}\n", "evidence/received.c refuses"),
    ("a look at the server's version", "watch/maintain.c", "#if PG_VERSION_NUM >= 170000\n#endif\n", "watch/maintain.c asks"),
    ("a long function", "base/id.c", "int\nlonger(void)\n{\n" + "\t;\n" * 70 + "}\n", "longer() has 73 lines"),
    ("a long file", "base/id.c", "\n" * 800, "base/id.c has"),
]
tap = Tap()


def run(tree):
    """What layers.py says of a tree, and its status."""
    done = subprocess.run([sys.executable, LAYERS, tree], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout, done.returncode


said, status = run(SRC)
tap.ok(status == 0 and not said, "src/ keeps its floor plan", said)
for name, file, text, wanted in PLANTED:
    with tempfile.TemporaryDirectory() as tree:
        shutil.copytree(os.path.join(SRC, "src"), os.path.join(tree, "src"), ignore=shutil.ignore_patterns("sql", "*.o", "*.bc"))
        with open(os.path.join(tree, "src", file), "a", encoding="utf-8") as source:
            source.write(text)
        said, status = run(tree)
        tap.ok(status == 1 and wanted in said, f"{name} is found", said)
sys.exit(tap.done())
