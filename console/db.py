"""Who is signed in: a connection of each person's own role, closed when it is idle.

No role and no password is kept: a session's cookie names a desk, and the desk has the connection. Each request holds
its desk's lock, so that a connection serves one request at a time.
"""
import contextlib
import secrets
import threading
import time

import psycopg
from psycopg.rows import dict_row
from psycopg.types.datetime import TimestamptzLoader

import words
from connect import NotConnected, connect

MOST_DESKS = 100        # at once: each is a connection of the server
MOST_OF_ONE = 3         # of one role: beyond them the one that was used longest ago ends
MOST_AT_ONCE = 3        # requests of a desk: one is served, the others wait
LONGEST_WAIT = 5        # seconds for the request before
MOST_SIGNING_IN = 4     # at once, so that a server that does not answer leaves room for those who are signed in
# the names of the console's own statements are PostgreSQL's: nobody's schema stands in front of them
SETTINGS = """
    SET search_path = pg_catalog, pg_temp;
    SET statement_timeout = '15 s';
    SET lock_timeout = '5 s';
    SET idle_in_transaction_session_timeout = '30 s';
    SET jit = off;
    SET DateStyle = 'ISO';
    SET TimeZone = 'UTC'
"""
# what a person needs to see cases at all; asked anew with each request, since both can be taken away meanwhile
MAY = """
    SELECT r.rolcanlogin AND coalesce(r.rolvaliduntil > now(), true)
       AND has_schema_privilege('payguard', 'USAGE') AND to_regclass('payguard.cases') IS NOT NULL
       AND has_table_privilege(to_regclass('payguard.cases')::oid, 'SELECT') AS cases,
       has_schema_privilege('payguard', 'USAGE') AND to_regclass('payguard.approvals') IS NOT NULL
       AND has_table_privilege(to_regclass('payguard.approvals')::oid, 'SELECT') AS approvals,
       has_schema_privilege('payguard', 'USAGE') AND to_regclass('payguard.settlement_lines') IS NOT NULL
       AND has_any_column_privilege(to_regclass('payguard.settlement_lines')::oid, 'INSERT') AS statements,
       has_schema_privilege('payguard', 'USAGE') AND to_regclass('payguard.metrics') IS NOT NULL
       AND has_table_privilege(to_regclass('payguard.metrics')::oid, 'SELECT') AS overview
    FROM pg_roles r WHERE r.rolname = session_user
"""


class SignInFailed(Exception):
    """The database does not let this person in: why, as a sentence, and whether it was a guess, of which there may be so many."""

    def __init__(self, why, guess=False):
        super().__init__(why)
        self.guess = guess


def without_access():
    return SignInFailed("This role may not read payguard's cases. An administrator grants the access support or operator.")


class NoAccess(Exception):
    """The person's role may not read cases, or not any more."""


class Busy(Exception):
    """The person's other requests are not done yet."""


class Times(TimestamptzLoader):
    """Any time that PostgreSQL has; Python knows none behind the year 9999, and no infinity."""

    def load(self, data):
        try:
            return super().load(data)
        except (psycopg.DataError, OverflowError):
            return words.moment(bytes(data).decode())


class Desk:
    """One person who is signed in."""

    def __init__(self, connection, role):
        self.connection, self.role = connection, role
        self.lock = threading.Lock()
        self.places = threading.BoundedSemaphore(MOST_AT_ONCE)
        self.used_at = time.monotonic()
        self.may = {}
        self.upload = None      # a statement whose columns are being mapped
        self.ended = False

    @contextlib.contextmanager
    def alone(self):
        """The connection's turn."""
        if not self.places.acquire(blocking=False):
            raise Busy
        try:
            if not self.lock.acquire(timeout=LONGEST_WAIT):
                raise Busy
            try:
                yield
            finally:
                self.lock.release()
                self.close_if_ended()
        finally:
            self.places.release()

    @contextlib.contextmanager
    def transaction(self, writes=False, one_view=False):
        """A transaction, in which self.rows() and the others work; read-only unless it is to write. one_view: what is
        written follows from what was read, or nothing is written (40001)."""
        with self.alone():
            self.connection.read_only = not writes
            self.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ if one_view else None
            with self.connection.transaction():
                self.may = self.row(MAY) or {"cases": False}
                if not self.may["cases"]:
                    raise NoAccess
                yield self

    def end(self):
        """Closes the connection, after the request that has it."""
        self.ended = True
        self.close_if_ended()

    def close_if_ended(self):
        if self.ended and self.lock.acquire(blocking=False):
            self.connection.close()
            self.lock.release()

    def rows(self, sql, *values):
        return self.connection.execute(sql, values or None).fetchall()

    def row(self, sql, *values):
        return self.connection.execute(sql, values or None).fetchone()

    def value(self, sql, *values):
        return next(iter(self.row(sql, *values).values()))


class Desks:
    """All people who are signed in, by what their cookies name."""

    def __init__(self, dsn, idle):
        self.dsn, self.idle = dsn, idle
        self.desks = {}
        self.ended = {}         # the last that ended, and why
        self.lock = threading.Lock()
        self.signing_in = threading.BoundedSemaphore(MOST_SIGNING_IN)
        threading.Thread(target=self.watch, daemon=True).start()

    def open(self, role, password):
        """Signs a person in. → what names the desk"""
        if not role or not password or "\0" in role + password or len(role) > 63 or len(password) > 1000:
            raise SignInFailed("Name or password is wrong.", guess=True)
        if not self.signing_in.acquire(timeout=LONGEST_WAIT):
            raise SignInFailed("Too many people sign in at this moment. Try again.")
        try:
            desk = self.sign_in(role, password)
        finally:
            self.signing_in.release()
        name = secrets.token_urlsafe(32)
        with self.lock:
            same = sorted((other for other, of in self.desks.items() if of.role == desk.role), key=lambda other: self.desks[other].used_at)
            for other in same[:max(0, len(same) - MOST_OF_ONE + 1)]:
                self.end(other, "elsewhere")
            full = len(self.desks) >= MOST_DESKS
            if not full:
                self.desks[name] = desk
        if full:
            desk.end()
            raise SignInFailed("Too many people are signed in. Try again in a few minutes.")
        return name

    def sign_in(self, role, password):
        """A desk whose connection the server gave for the password, and whose role may read cases."""
        try:
            connection = connect(self.dsn, role, password, row_factory=dict_row)
        except NotConnected as failure:
            if failure.sqlstate in ("28P01", "28000"):
                raise SignInFailed("Name or password is wrong.", guess=True) from None
            if failure.sqlstate == "42501":
                raise without_access() from None
            raise SignInFailed("The database cannot be reached, or takes no more connections.") from None
        # a server that trusts this machine lets in whoever names a role
        if not connection.pgconn.used_password:
            connection.close()
            raise SignInFailed("The database did not ask for the password, so that nobody can sign in here. pg_hba.conf has to.", guess=True)
        connection.adapters.register_loader("timestamptz", Times)
        desk = Desk(connection, role)
        try:
            connection.execute(SETTINGS)
            with desk.transaction():
                desk.role = desk.value("SELECT session_user::text")
        except NoAccess:
            connection.close()
            raise without_access() from None
        except psycopg.Error:
            connection.close()
            raise SignInFailed("The database cannot be reached, or takes no more connections.") from None
        return desk

    def find(self, name, counts=True):
        """The desk of that name, or None. What refreshes itself does not count as use."""
        with self.lock:
            desk = self.desks.get(name)
            if desk and (desk.connection.closed or time.monotonic() - desk.used_at > self.idle):
                self.end(name, "gone" if desk.connection.closed else "idle")
                desk = None
            if desk and counts:
                desk.used_at = time.monotonic()
        return desk

    def close(self, name):
        with self.lock:
            self.end(name, None)

    def end(self, name, why):
        """Whoever calls it has the lock."""
        desk = self.desks.pop(name, None)
        if desk is None:
            return
        desk.end()
        if why:
            self.ended[name] = why
            while len(self.ended) > 10 * MOST_DESKS:
                del self.ended[next(iter(self.ended))]

    def why_ended(self, name):
        """idle, elsewhere, gone, or None where nobody knows any more."""
        with self.lock:
            return self.ended.pop(name, None)

    def watch(self):
        """Closes what is idle."""
        while True:
            time.sleep(min(self.idle, 15))
            for name in list(self.desks):
                self.find(name, counts=False)


class Attempts:
    """Failed attempts to sign in within so many seconds, by what they have in common: a role, an address, both."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.failed = {}
        self.lock = threading.Lock()

    def recent(self, who):
        now = time.monotonic()
        return [at for at in self.failed.get(who, ()) if now - at < self.seconds]

    def too_many(self, limits):
        """limits: how many each may have."""
        with self.lock:
            return any(len(self.recent(who)) >= most for who, most in limits.items())

    def failed_again(self, everybody):
        with self.lock:
            for who in everybody:
                self.failed[who] = self.recent(who) + [time.monotonic()]
            # what is over is forgotten
            for other in [name for name in self.failed if not self.recent(name)]:
                del self.failed[other]

    def forget(self, who):
        with self.lock:
            self.failed.pop(who, None)
