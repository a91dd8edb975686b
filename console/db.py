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

MOST_DESKS = 100        # at once: each is a connection of the server
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
    """The database does not let this person in: why, as a sentence."""


class NoAccess(Exception):
    """The person's role may not read cases, or not any more."""


class Desk:
    """One person who is signed in."""

    def __init__(self, connection, role):
        self.connection, self.role = connection, role
        self.lock = threading.Lock()
        self.used_at = time.monotonic()
        self.may = {}
        self.upload = None      # a statement whose columns are being mapped

    @contextlib.contextmanager
    def transaction(self, writes=False):
        """A transaction, in which self.rows() and the others work; read-only unless it is to write."""
        with self.lock:
            self.connection.read_only = not writes
            with self.connection.transaction():
                self.may = self.row(MAY) or {"cases": False}
                if not self.may["cases"]:
                    raise NoAccess
                yield self

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
        self.lock = threading.Lock()
        threading.Thread(target=self.watch, daemon=True).start()

    def open(self, role, password):
        """Signs a person in. → what names the desk"""
        # without a password libpq would look for one in a file of the console's own, which passfile shuts off as well
        if not role or not password or "\0" in role + password or len(role) > 63 or len(password) > 1000:
            raise SignInFailed("Name or password is wrong.")
        if len(self.desks) >= MOST_DESKS:
            raise SignInFailed("Too many people are signed in. Try again in a few minutes.")
        try:
            connection = psycopg.connect(self.dsn, user=role, password=password, passfile="/dev/null", autocommit=True,
                                         connect_timeout=10, application_name="payguard console", row_factory=dict_row)
        except psycopg.OperationalError as error:
            # libpq's message may bear what was typed; its kind is enough
            if any(words in str(error) for words in ("authentication failed", "does not exist", "not permitted to log in")):
                raise SignInFailed("Name or password is wrong.") from None
            raise SignInFailed("The database cannot be reached, or takes no more connections.") from None
        # a server that trusts this machine lets in whoever names a role
        if not connection.pgconn.used_password:
            connection.close()
            raise SignInFailed("The database did not ask for the password, so that nobody can sign in here. pg_hba.conf has to.")
        desk = Desk(connection, role)
        try:
            connection.execute(SETTINGS)
            with desk.transaction():
                desk.role = desk.value("SELECT session_user::text")
        except NoAccess:
            connection.close()
            raise SignInFailed("This role may not read payguard's cases. An administrator grants the access support or operator.") from None
        name = secrets.token_urlsafe(32)
        with self.lock:
            self.desks[name] = desk
        return name

    def find(self, name, counts=True):
        """The desk of that name, or None. What refreshes itself does not count as use."""
        with self.lock:
            desk = self.desks.get(name)
            if desk and (desk.connection.closed or time.monotonic() - desk.used_at > self.idle):
                self.desks.pop(name)
                desk.connection.close()
                desk = None
            if desk and counts:
                desk.used_at = time.monotonic()
        return desk

    def close(self, name):
        with self.lock:
            desk = self.desks.pop(name, None)
        if desk:
            desk.connection.close()

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
