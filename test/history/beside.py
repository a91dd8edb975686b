"""What runs beside the players: who keeps house, and who reads the events.

Keeping house changes no answer, but for what may happen at any time (a deadline is over, a message
finds its money): so it is not part of the histories.
"""
import random
import threading
import time
import traceback

import psycopg2


class Beside(threading.Thread):
    """Does step() again and again while there are players; its connection is lost now and then, too."""

    def __init__(self, stage, name):
        super().__init__(daemon=True)
        self.stage, self.name = stage, name
        self.rnd = random.Random(name)
        self.wrong = []
        self.crash = None

    def open(self):
        connection = self.stage.connect()
        self.cursor = connection.cursor()
        self.stage.pids[self.name] = connection.get_backend_pid()

    def run(self):
        try:
            self.open()
            while self.stage.calls > 0:
                self.once()
                time.sleep(self.rnd.uniform(0.001, 0.005))
        except Exception:           # reported by the main thread
            self.crash = traceback.format_exc()

    def once(self):
        try:
            self.step()
        except psycopg2.Error as error:
            if error.pgcode not in (None, "57P01") and not self.cursor.connection.closed:
                self.wrong.append(f"{self.name}: {error.pgcode} {error}".strip())
            else:
                self.open()


class Keeper(Beside):
    """Lets maintain() do its duties, deals with alerts, and archives what is settled at once."""

    def step(self):
        self.rnd.choice([self.maintain, self.maintain, self.resolve, self.archive, self.archive])()

    def maintain(self):
        self.stage.count("maintain")
        self.cursor.execute("SELECT duty, problem FROM payguard.maintain() WHERE problem IS NOT NULL")
        self.wrong += [f"{self.name}: {row}" for row in self.cursor.fetchall()]

    def resolve(self):
        """What is open keeps its order from the archive; what still holds is opened again."""
        self.cursor.execute("SELECT alert_id FROM payguard.alerts WHERE resolved_at IS NULL"
                            " AND order_id IS NOT NULL AND kind <> 'approval_required' LIMIT 10")
        for alert_id, in self.cursor.fetchall():
            self.cursor.execute("SELECT payguard.resolve_alert(%s, 'seen')", (alert_id,))

    def archive(self):
        self.cursor.execute("SELECT payguard.archive_orders(pg_catalog.clock_timestamp(), 100)")
        self.stage.count("archived", self.cursor.fetchone()[0])


class Reader(Beside):
    """A consumer of events. steps: what it was told, for check.broken_reading()."""

    def __init__(self, stage, name):
        super().__init__(stage, name)
        self.steps = []

    def begin(self):
        """Registers it: from now on nothing is archived that it has not read."""
        self.open()
        self.step()

    def step(self):
        self.cursor.execute("SELECT window_id, event_id, order_id, version FROM payguard.read_events(%s, %s)",
                            (self.name, self.rnd.choice([1, 10, 100])))
        rows = self.cursor.fetchall()
        self.steps.append(("read", [row[1:] for row in rows]))
        if rows and self.rnd.random() < 0.7:
            self.commit(self.rnd.choice([rows[-1], rows[-1], self.rnd.choice(rows)]))

    def commit(self, row):
        self.steps.append(("perhaps", row[1]))
        self.cursor.execute("SELECT payguard.commit_events(%s, %s, %s)", (self.name, row[0], row[1]))
        if not self.cursor.fetchone()[0]:
            self.wrong.append(f"{self.name}: event {row[1]} of window {row[0]} cannot be committed")
        self.steps[-1] = ("commit", row[1])

    def finish(self):
        """Reads what is left, when nobody writes any more."""
        self.open()
        while True:
            self.cursor.execute("SELECT window_id, event_id, order_id, version FROM payguard.read_events(%s)",
                                (self.name,))
            rows = self.cursor.fetchall()
            self.steps.append(("read", [row[1:] for row in rows]))
            if not rows:
                return
            self.commit(rows[-1])
