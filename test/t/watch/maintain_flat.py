#!/usr/bin/python3
# What maintain() and the metrics read does not grow with the number of orders. The figures of
# large databases: test/bench/maintain.py.

import os
import sys

sys.path[:0] = [os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", d) for d in ("lib", "bench")]
sys.dont_write_bytecode = True

import maintain
from tap import Tap


def main():
    (few, done), (many, _) = maintain.measure(500), maintain.measure(40_000)
    tap = Tap()
    tap.ok(sum(done.values()) == 100, f"100 things were due: {done}")
    for name in few:
        tap.ok(many[name] <= 1.3 * few[name] + 50, f"{name}: {few[name]} buffers of 500 orders, {many[name]} of 40000")
    sys.exit(tap.done())


main()
