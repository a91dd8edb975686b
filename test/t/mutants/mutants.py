#!/usr/bin/python3
"""Mutants: the tests must fail where a safeguard is missing. See test/mutants/mutants.sh; all of them are
killed by make torture-mutants."""
import os
import sys

script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "mutants", "mutants.sh")
os.execvp("bash", ["bash", script] + (sys.argv[1:] or ["short"]))
