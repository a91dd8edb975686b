#!/usr/bin/python3
"""Mutants: the stress test must fail where a safeguard is missing. See test/mutants.sh."""
import os
import sys

script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "mutants.sh")
os.execvp("bash", ["bash", script] + sys.argv[1:])
