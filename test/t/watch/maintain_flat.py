#!/usr/bin/python3
# What maintain() and the metrics read does not grow with the number of orders. The figures of
# large databases: test/bench/maintain.py.

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench"))
sys.dont_write_bytecode = True

import maintain


def main():
    (few, done), (many, _) = maintain.measure(500), maintain.measure(40_000)
    good = [sum(done.values()) == 100]
    print(f"{'ok' if good[0] else 'not ok'} 1 - 100 things were due: {done}")
    for number, name in enumerate(few, 2):
        good.append(many[name] <= 1.3 * few[name] + 50)
        print(f"{'ok' if good[-1] else 'not ok'} {number} - {name}: {few[name]} buffers of 500 orders,"
              f" {many[name]} of 40000")
    print(f"1..{len(good)}")
    sys.exit(0 if all(good) else 1)


main()
