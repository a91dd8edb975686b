#!/usr/bin/python3
"""META.json, as make writes it, keeps PGXN's specification 1.0.0, and what it names is there."""
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "lib"))
from tap import Tap  # noqa: E402

SRC = os.environ.get("PAYGUARD_SRC") or os.path.join(HERE, "..", "..", "..")
os.chdir(SRC)
SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+)?")
LICENSES = {"postgresql", "apache_2_0", "bsd", "gpl_2", "gpl_3", "lgpl_2_1", "lgpl_3_0", "mit", "unrestricted"}
tap = Tap()
ok = tap.ok

subprocess.run(["make", "-s", "META.json"], check=True)
with open("META.json", encoding="utf-8") as file:
    meta = json.load(file)
with open("payguard.control", encoding="utf-8") as file:
    version = re.search(r"(?m)^default_version = '(.*)'", file.read()).group(1)

known = {"name", "version", "abstract", "maintainer", "license", "provides", "meta-spec", "description",
         "generated_by", "tags", "no_index", "prereqs", "release_status", "resources"}
ok(not {key for key in meta if key not in known and not key.lower().startswith("x_")}, "no key that the specification does not have")
for key in ("name", "version", "abstract", "maintainer", "license", "provides", "meta-spec"):
    ok(meta.get(key), "%s is there" % key)
ok(re.fullmatch(r"[^\s/\\\x00-\x1f]{2,}", meta["name"]), "the name is one")
ok(meta["version"] == version and SEMVER.fullmatch(version), "the version is the control file's, three numbers")
ok(meta["license"] in LICENSES, "the licence is one that is listed")
ok(meta["meta-spec"]["version"] == "1.0.0", "the specification is named")
for name, part in meta["provides"].items():
    ok(SEMVER.fullmatch(part["version"]) and os.path.exists(part["file"]), "%s: version and file" % name)
    ok(os.path.exists(part["docfile"]), "%s: its document" % name)
ok(all(isinstance(tag, str) and 0 < len(tag) < 256 and "/" not in tag for tag in meta["tags"]), "tags")
for phase, relations in meta["prereqs"].items():
    ok(phase in ("configure", "build", "test", "runtime", "develop")
       and all(SEMVER.fullmatch(v) for needs in relations.values() for v in needs.values()), "what it needs: %s" % phase)
sys.exit(tap.done())
