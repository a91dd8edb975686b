#!/usr/bin/python3
"""Random mutants: what do the tests not notice?

PAYGUARD_MUTANTS (60) edits of the C source are drawn by PAYGUARD_SEED, as test/mutants/edits.py makes them. One that
does not compile, or whose object code is that of the original, is not counted. Against each of the others the
tests run until one fails: regress, isolation, and the short forms of some of test/t. Survivors are printed with their
diffs, for a person to judge: it may be that no test could tell them from the original.

First all of these tests run on the source as it is, built so that the lines which each of them runs are known: only
tests that run the edited statement can notice it, and those that run most of its file come first. A test that
fails there is left out. Each test that kills is then tried on the source as it is once more, built as the mutants are.

TESTS="refunds refund_refund" are all that run. PAYGUARD_JOBS (2) run side by side, each with a copy of the server. PAYGUARD_FILES="src/records/refund.c" draws from these files
alone. PAYGUARD_LINES is a file that keeps which lines the tests run, for another seed on the same tree. The mutants are the same for a seed and a tree; which test kills one first is not.

Run by test/run torture-random, which installs payguard into a private copy of the server.
"""
import bisect
import glob
import hashlib
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import edits

TREE = os.environ["PAYGUARD_SRC"]       # built, without anything that is not its own
PGXS = os.environ["PAYGUARD_PGXS"]
PG_CONFIG = os.environ["PAYGUARD_PG_CONFIG"]    # of the server's headers
ROOT = os.environ["PAYGUARD_ROOT"]      # the private copy of the server
COUNT = int(os.environ.get("PAYGUARD_MUTANTS") or 60)
SEED = int(os.environ.get("PAYGUARD_SEED") or random.SystemRandom().randrange(10**9))
JOBS = int(os.environ.get("PAYGUARD_JOBS") or 2)
FILES = os.environ.get("PAYGUARD_FILES", "").split()
LINES = os.environ.get("PAYGUARD_LINES")
TESTS = os.environ.get("TESTS", "").split()

# Conditions would be most of all edits.
WEIGHTS = {"condition": 30, "statement": 25, "comparison": 20, "off by one": 10, "lock": 8, "refresh": 7}

# Of test/t: what is quick, and asks what regress and isolation do not.
TAP = {
    "concurrency/stress.py": {"PAYGUARD_SECONDS": "2", "PAYGUARD_STOP": "1"},
    "concurrency/history.py": {"PAYGUARD_CALLS": "3000"},
    "queue/claims.py": {"PAYGUARD_DEAD": "4000"},
    "queue/notify.py": {},
    "guard/guard_moves.pl": {},
}

SETTINGS = """
listen_addresses = ''
fsync = off
max_prepared_transactions = 20
max_wal_size = 128MB
lc_messages = 'C'
lc_monetary = 'C'
lc_numeric = 'C'
lc_time = 'C'
"""

# as pg_regress has it
ENVIRONMENT = {"PG_ABS_SRCDIR": TREE, "PG_ABS_BUILDDIR": TREE, "LC_MESSAGES": "C", "PGTZ": "PST8PDT", "PGDATESTYLE": "Postgres, MDY",
               "PGOPTIONS": "-c intervalstyle=postgres_verbose", "PGUSER": "postgres"}


@dataclass
class Test:
    suite: str
    name: str
    seconds: float = 0.0                         # on the source as it is
    lines: dict = field(default_factory=dict)    # file -> sorted numbers of the lines that it runs
    harmless: bool = None                        # passes on the source as it is, built as a mutant

    def __str__(self):
        return f"{self.suite} {self.name}"

    def known_as(self):
        """What TESTS calls it."""
        return os.path.splitext(os.path.basename(self.name))[0] if self.suite == "tap" else self.name

    def runs(self, file, first, last):
        numbers = self.lines.get(file, [])
        i = bisect.bisect_left(numbers, first)
        return i < len(numbers) and numbers[i] <= last


@dataclass
class Mutant:
    edit: edits.Edit
    library: str
    killer: str = None
    note: str = ""


class Failed(Exception):
    pass


def run(command, limit=600, **options):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          check=False, timeout=limit, stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}:\n{done.stdout}")
    return done.stdout


def make(folder, *arguments):
    return run(["make", "-s", "-C", folder, "with_llvm=no", f"PG_CONFIG={PG_CONFIG}", *arguments])


def sources(folder):
    found = glob.glob("src/*.c", root_dir=folder) + glob.glob("src/*/*.c", root_dir=folder)
    return sorted(file for file in found if not FILES or file in FILES)


class Place:
    """A copy of the server, a copy of the source to build mutants in, and a cluster for one test at a time."""

    def __init__(self, folder, number, template):
        self.folder = os.path.join(folder, str(number))
        self.template = template
        self.data = os.path.join(self.folder, "data")
        self.tmp = os.path.join(self.folder, "tmp")
        self.source = os.path.join(self.folder, "src")
        self.environment = {}
        os.makedirs(self.tmp)
        self.bin = copy_server(os.path.join(self.folder, "root"))
        self.lib = run([os.path.join(self.bin, "pg_config"), "--pkglibdir"]).strip()
        shutil.copytree(TREE, self.source, symlinks=True)

    def env(self, more=()):
        # a mutant may crash: its servers' logs are nobody's
        keep = {k: v for k, v in os.environ.items() if not k.startswith("PG") and k != "PAYGUARD_LOGS"}
        return keep | {"PATH": f"{self.bin}:{os.environ['PATH']}", "TMPDIR": self.tmp, "PGHOST": self.tmp,
                       "PGPORT": "5432"} | ENVIRONMENT | self.environment | dict(more)

    def install(self, library):
        """For backends that start from now on: the old file stays to those that have it."""
        new = os.path.join(self.lib, "payguard.new")
        shutil.copyfile(library, new)
        os.chmod(new, 0o755)
        os.rename(new, os.path.join(self.lib, "payguard.so"))

    def start(self):
        self.stop("immediate")
        shutil.rmtree(self.data, ignore_errors=True)
        run(["cp", "-a", self.template, self.data])
        run(["pg_ctl", "-D", self.data, "-l", os.path.join(self.folder, "server.log"), "-w", "-o", f"-k {self.tmp}",
             "start"], env=self.env(), limit=60)

    def stop(self, mode):
        if os.path.exists(os.path.join(self.data, "postmaster.pid")):
            try:
                run(["pg_ctl", "-D", self.data, "-m", mode, "-t", "20", "-w", "stop"], env=self.env(), limit=60)
            except Failed:
                end_servers(self.data)

    def sql(self, *statements):
        arguments = [a for s in statements for a in ("-c", s)]
        run(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", "postgres", *arguments], env=self.env(), limit=60)

    def build(self, edit, number, folder):
        """The library of a mutant; None: it does not compile, or is the original."""
        target, library = edit.file[:-2] + ".o", os.path.join(folder, f"{number}.so")
        changing = [edit.file, target, "payguard.so"]
        before = code_of(os.path.join(TREE, target))
        try:
            with open(os.path.join(TREE, edit.file), encoding="utf-8") as f:
                text = edit.apply(f.read())
            with open(os.path.join(self.source, edit.file), "w", encoding="utf-8") as f:
                f.write(text)
            make(self.source, target)
            if code_of(os.path.join(self.source, target)) == before:
                return None
            make(self.source, "payguard.so")
            shutil.copyfile(os.path.join(self.source, "payguard.so"), library)
            return library
        except Failed:
            return None
        finally:
            # with their times, so that nothing else is made again
            for file in changing:
                shutil.copy2(os.path.join(TREE, file), os.path.join(self.source, file))

    def fails(self, test, limit):
        """Runs a test; what it says if it fails."""
        out = os.path.join(self.folder, "out")
        began = time.time()
        try:
            return self.run_tap(test, out, limit) if test.suite == "tap" else self.run_diff(test, out, limit)
        except Failed as e:
            return str(e)
        except subprocess.TimeoutExpired:
            return "the server does not answer"
        finally:
            test.seconds = test.seconds or time.time() - began

    def run_diff(self, test, out, limit):
        """regress, isolation: as pg_regress runs them, in a database of its own."""
        if test.suite == "regress":
            database, script, expected = "contrib_regression", f"sql/{test.name}.sql", "expected"
            command = ["psql", "-X", "-a", "-q", "-d", database, "-v", "HIDE_TABLEAM=on", "-v",
                       "HIDE_TOAST_COMPRESSION=on"]
        else:
            database, script, expected = "isolation_regression", f"test/specs/{test.name}.spec", "test/expected"
            command = [f"{PGXS}/src/test/isolation/isolationtester", f"dbname={database}"]
        self.sql(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)", f"CREATE DATABASE {database} TEMPLATE payguard")
        with open(os.path.join(TREE, script), encoding="utf-8") as f, open(out, "w", encoding="utf-8") as to:
            ended = wait_for(subprocess.Popen(command, stdin=f, stdout=to, stderr=to, start_new_session=True,
                                              cwd=self.tmp, env=self.env({"PGAPPNAME": f"{test.suite}/{test.name}"})),
                             limit)
        if ended is None:
            return f"not done after {limit:.0f} s"
        with open(out, encoding="utf-8", errors="replace") as f:
            got = f.read().splitlines()
        first = None
        for path in glob.glob(f"{TREE}/{expected}/{test.name}.out") + glob.glob(f"{TREE}/{expected}/{test.name}_?.out"):
            with open(path, encoding="utf-8") as f:
                wanted = f.read().splitlines()
            if wanted == got:
                return None
            first = first or next((g for w, g in zip(wanted, got) if w != g), got[-1] if got else "nothing")
        return first

    def run_tap(self, test, out, limit):
        work = os.path.join(self.tmp, "tap")
        os.makedirs(work, exist_ok=True)
        more = {"PERL5LIB": f"{PGXS}/src/test/perl", "PG_REGRESS": f"{PGXS}/src/test/regress/pg_regress",
                "PG_TEST_INITDB_EXTRA_OPTS": "--no-sync", "TESTDIR": work, "TESTDATADIR": f"{work}/data",
                "TESTLOGDIR": f"{work}/log", "PYTHONDONTWRITEBYTECODE": "1"} | TAP[test.name]
        env = {k: v for k, v in self.env(more).items() if k not in ENVIRONMENT or k == "LC_MESSAGES"}
        del env["PGHOST"], env["PGPORT"]
        with open(out, "w", encoding="utf-8") as to:
            ended = wait_for(subprocess.Popen(
                ["perl" if test.name.endswith(".pl") else "/usr/bin/python3", f"{TREE}/test/t/{test.name}"],
                stdin=subprocess.DEVNULL, stdout=to, stderr=to, start_new_session=True, cwd=work, env=env), limit)
        end_servers(work, self.tmp)
        shutil.rmtree(work, ignore_errors=True)
        if ended is None:
            return f"not done after {limit:.0f} s"
        with open(out, encoding="utf-8", errors="replace") as f:
            told = [line.strip() for line in f if line.strip()] or [""]
        bad = [line for line in told if line.startswith("not ok") and "# TODO" not in line]
        return bad[0] if bad else f"the test could not go on: {told[-1]}" if ended else None

    def measure(self, test, folder, library):
        """Runs a test with the library that counts lines; what it says if it fails."""
        counts = os.path.join(self.folder, "counts")
        shutil.rmtree(counts, ignore_errors=True)
        os.makedirs(counts)
        self.environment = {"GCOV_PREFIX": counts, "GCOV_PREFIX_STRIP": str(folder.count("/"))}
        try:
            self.install(library)
            self.start()
            bad = self.fails(test, 600)
            self.stop("fast")    # backends write their counts when they end
        finally:
            self.environment = {}
        for file in sorted(glob.glob("**/*.c", root_dir=folder, recursive=True)):
            if os.path.exists(os.path.join(counts, file[:-2] + ".gcda")):
                shutil.copyfile(os.path.join(folder, file[:-2] + ".gcno"), os.path.join(counts, file[:-2] + ".gcno"))
                told = run(["gcov", "--json-format", "--stdout", file[:-2] + ".gcda"], cwd=counts)
                for part in json.loads(told)["files"]:
                    if part["file"] == file:
                        test.lines[file] = sorted({n["line_number"] for n in part["lines"] if n["count"]})
        return bad


def copy_server(root):
    """Another copy of the server, of links; the folder of its programs."""
    here = os.path.dirname(shutil.which("pg_config"))
    for option in ("--bindir", "--pkglibdir", "--sharedir"):
        path = run([os.path.join(here, "pg_config"), option]).strip()
        to = root + path.removeprefix(ROOT)
        os.makedirs(to, exist_ok=True)
        run(["cp", "-a", "-l", path + "/.", to])
    return root + here.removeprefix(ROOT)


def tree_id():
    """What the lines that tests run depend on."""
    told = hashlib.sha256()
    for folder in ("src", "sql", "expected", "test"):
        for path, folders, files in os.walk(os.path.join(TREE, folder)):
            folders.sort()
            for file in sorted(files):
                if not file.endswith((".o", ".pyc")):
                    with open(os.path.join(path, file), "rb") as f:
                        told.update(f"{path}/{file} ".removeprefix(TREE).encode() + f.read())
    return told.hexdigest()


def code_of(path):
    """What an object file holds, without its lines' numbers."""
    with tempfile.NamedTemporaryFile(suffix=".o") as f:
        run(["strip", "--strip-debug", "-o", f.name, path])
        return f.read()


def wait_for(process, limit):
    """The status of a process that leads a group, which is ended after a time; None: it was."""
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


def end_servers(*folders):
    """Those whose data directories are under a folder."""
    for folder in folders:
        for path, _, files in os.walk(folder):
            if "postmaster.pid" in files:
                with open(os.path.join(path, "postmaster.pid"), encoding="utf-8") as f:
                    pid = int(f.readline())
                try:
                    os.kill(pid, signal.SIGQUIT)
                except ProcessLookupError:
                    pass
    for folder in folders:
        for path in glob.glob(os.path.join(folder, "payguard-sim.*")):
            shutil.rmtree(path, ignore_errors=True)


class Torture:
    def __init__(self, folder):
        self.folder = folder
        self.places = queue.Queue()
        self.lock = threading.Lock()
        self.done = 0
        self.tests = [Test("regress", n[:-4]) for n in sorted(os.listdir(f"{TREE}/sql")) if n.endswith(".sql")]
        self.tests += [Test("isolation", n[:-5]) for n in sorted(os.listdir(f"{TREE}/test/specs"))]
        self.tests += [Test("tap", n) for n in TAP if os.path.exists(f"{TREE}/test/t/{n}")]
        if TESTS:
            self.tests = [t for t in self.tests if t.known_as() in TESTS]
        self.original = os.path.join(TREE, "payguard.so")
        self.texts = {}
        for file in sources(TREE):
            with open(os.path.join(TREE, file), encoding="utf-8") as f:
                self.texts[file] = f.read()

    def prepare(self):
        template = os.path.join(self.folder, "template")
        run(["initdb", "-D", template, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"])
        with open(os.path.join(template, "postgresql.conf"), "a", encoding="utf-8") as f:
            f.write(SETTINGS)
        places = [Place(self.folder, n, template) for n in range(JOBS)]
        places[0].start()
        places[0].sql("CREATE DATABASE payguard TEMPLATE template0")
        run(["psql", "-qX", "-d", "payguard", "-c", "CREATE EXTENSION payguard"], env=places[0].env())
        places[0].stop("fast")
        shutil.rmtree(template)
        os.rename(places[0].data, template)
        for place in places:
            self.places.put(place)

    def everywhere(self, work, items):
        """work(place, item) for each item, in the places; their answers in order."""
        def one(item):
            place = self.places.get()
            try:
                return work(place, item)
            finally:
                self.places.put(place)
        with ThreadPoolExecutor(JOBS) as pool:
            yield from pool.map(one, items)

    def measure(self):
        """All tests on the source as it is; those that fail are left out."""
        known = {}
        if LINES and os.path.exists(LINES):
            with open(LINES, encoding="utf-8") as f:
                known = json.load(f)
        if known.get("tree") == tree_id():
            self.tests = [t for t in self.tests if str(t) in known["tests"]]
            for test in self.tests:
                test.seconds, test.lines = known["tests"][str(test)]
            return
        self.measure_all()
        if LINES:
            with open(LINES, "w", encoding="utf-8") as f:
                json.dump({"tree": tree_id(), "tests": {str(t): (t.seconds, t.lines) for t in self.tests}}, f)

    def measure_all(self):
        folder = os.path.join(self.folder, "counting")
        shutil.copytree(TREE, folder, symlinks=True)
        make(folder, "clean")
        make(folder, "-j2", "COPT=--coverage -O0", "SHLIB_LINK=--coverage", "payguard.so")
        library = os.path.join(folder, "payguard.so")
        # the long ones first, so that no place waits for the other at the end
        order = sorted(self.tests, key=lambda t: t.suite, reverse=True)
        for test, bad in zip(order, self.everywhere(lambda p, t: p.measure(t, folder, library), order)):
            if bad:
                self.tests.remove(test)
                say(f"{test} fails on the source as it is, and is left out: {bad}")

    def draw(self):
        """Edits in a random order, without end where there are enough."""
        chance = random.Random(SEED)
        kinds = {kind: [] for kind in edits.KINDS}
        for file, text in self.texts.items():
            for edit in edits.edits(file, text):
                kinds[edit.kind].append(edit)
        for found in kinds.values():
            chance.shuffle(found)
        say("edits: " + ", ".join(f"{len(found)} {kind}" for kind, found in kinds.items()))
        while any(kinds.values()):
            left = [kind for kind in kinds if kinds[kind]]
            yield kinds[chance.choices(left, [WEIGHTS[kind] for kind in left])[0]].pop()

    def build(self):
        """The mutants that count: the first ones drawn that compile to something else."""
        drawn, mutants, tried = self.draw(), [], 0
        while len(mutants) < COUNT:
            batch = [(tried + i, edit) for i, edit in zip(range(COUNT - len(mutants)), drawn)]
            if not batch:
                break
            tried += len(batch)
            libraries = self.everywhere(lambda place, item: place.build(item[1], item[0], self.folder), batch)
            mutants += [Mutant(edit, library) for (_, edit), library in zip(batch, libraries) if library]
        say(f"{tried} drawn, {len(mutants)} of them compile to something else")
        return mutants

    def tests_for(self, edit):
        """Those that run the edited statement: what kills soonest, first."""
        able = [t for t in self.tests if t.runs(edit.file, *edit.lines)]
        suites = ["regress", "isolation", "tap"]
        return sorted(able, key=lambda t: (suites.index(t.suite), -len(t.lines[edit.file]) / (t.seconds + 0.5)))

    def harmless(self, place, test, mutant):
        """Whether a test that has just failed passes on the source as it is, in the same place."""
        if test.harmless is None:
            place.install(self.original)
            place.start()
            bad = place.fails(test, limit_of(test))
            with self.lock:
                test.harmless = bad is None
            if bad:
                say(f"{test} fails on the source as it is, too: it is no killer: {bad}")
            place.install(mutant.library)
            place.start()
        return test.harmless

    def kill(self, place, mutant):
        tests, began = self.tests_for(mutant.edit), time.time()
        place.install(mutant.library)
        place.start()
        for test in tests:
            if test.harmless is False:
                continue
            bad = place.fails(test, limit_of(test))
            if bad and self.harmless(place, test, mutant):
                mutant.killer, mutant.note = str(test), bad
                break
        else:
            mutant.note = f"{len(tests)} tests run it" if tests else "no test runs it"
        with self.lock:
            self.done += 1
            say(f"{self.done:3} {time.time() - began:4.0f} s  {place_of(mutant.edit)}: {mutant.edit.what}: "
                + (f"killed by {mutant.killer}: {mutant.note[:60]}" if mutant.killer else f"SURVIVES, {mutant.note}"))
        return mutant

    def run(self):
        say(f"PAYGUARD_SEED={SEED} PAYGUARD_MUTANTS={COUNT}")
        began = time.time()
        self.prepare()
        self.measure()
        say(f"{len(self.tests)} tests pass on the source as it is: {time.time() - began:.0f} s")
        mutants = self.build()
        say(f"built: {time.time() - began:.0f} s")
        list(self.everywhere(self.kill, mutants))
        survivors = [m for m in mutants if not m.killer]
        for mutant in survivors:
            say("", f"{place_of(mutant.edit)}: {mutant.edit.kind}: {mutant.edit.what}; {mutant.note}",
                *edits.same_line_diff(mutant.edit, self.texts[mutant.edit.file]))
        say("", f"{len(mutants)} mutants, {len(mutants) - len(survivors)} killed, {len(survivors)} survive: "
            f"{time.time() - began:.0f} s")
        return 0 if mutants and len(survivors) < len(mutants) else 1

    def end(self):
        while not self.places.empty():
            place = self.places.get()
            place.stop("immediate")
            end_servers(place.tmp)


def limit_of(test):
    """Seconds after which a test hangs; the machine may have become busier meanwhile."""
    return 60 + 5 * test.seconds


def place_of(edit):
    return f"{edit.file}:{edit.lines[0]} {edit.function}()"


def say(*lines):
    print(*lines, sep="\n", flush=True)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="mutants.") as folder:
        torture = Torture(folder)
        try:
            return torture.run()
        finally:
            torture.end()


if __name__ == "__main__":
    sys.exit(main())
