#!/usr/bin/python3
"""Histories of the whole API, explained by a model; the short form of make torture-history."""
import os
import sys

script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "history", "history.py")
os.execv(sys.executable, [sys.executable, script] + sys.argv[1:])
