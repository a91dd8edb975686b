"""What the tests in Python share: results in TAP, the seed, waiting."""
import os
import random
import sys
import time


class Tap:
    """The results of one test."""

    def __init__(self):
        self.count = self.failed = 0

    def ok(self, good, name, *notes):
        """One result. The notes explain a failure: texts, or lists of what is wrong."""
        self.count += 1
        self.failed += not good
        print("ok" if good else "not ok", self.count, "-", name)
        if not good:
            self.note(*notes)
        sys.stdout.flush()

    def equal(self, got, wanted, name):
        self.ok(got == wanted, name, f"got {got}", f"not {wanted}")

    def each(self, checks):
        """The results that a generator yields: name, whether it is good, and notes if there are any."""
        for name, good, *notes in checks:
            self.ok(good, name, *notes)

    @staticmethod
    def note(*notes):
        """Comments, so many that a reader gets to their end."""
        lines = [line for note in notes for part in (note if isinstance(note, (list, set)) else [note])
                 for line in str(part).splitlines()]
        for line in lines[:NOTES]:
            print("#  ", line)
        if len(lines) > NOTES:
            print(f"#   and {len(lines) - NOTES} lines more")
        sys.stdout.flush()

    def done(self):
        """The plan. Returns the program's status."""
        print(f"1..{self.count}", flush=True)
        return 1 if self.failed or not self.count else 0


NOTES = 100


def skip(why):
    """Ends a test that cannot run here."""
    print(f"1..0 # SKIP {why}", flush=True)
    sys.exit(0)


def choose_seed():
    """What repeats a choice: PAYGUARD_SEED, or a new one, which is printed."""
    number = int(os.environ.get("PAYGUARD_SEED") or random.SystemRandom().randrange(10**9))
    print(f"# PAYGUARD_SEED={number}", flush=True)
    return number


def wait_for(condition, seconds, pause=0.01):
    """Whether it is so in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
    return True
