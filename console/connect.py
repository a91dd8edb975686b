"""A connection with a role and its password; where there is none, the SQLSTATE that tells why.

libpq has words of an error that ends a connection, in the server's language, and has its SQLSTATE only where it is asked
to write nothing else. psycopg has no call for that.
"""
import ctypes
import re
import select
import time

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

SECONDS = 10            # to connect, and to sign in
# a server that is gone without a word is noticed
ALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30000}
LIBPQ = ctypes.CDLL("libpq.so.5")
LIBPQ.PQsetErrorVerbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
WORDS, SQLSTATE_ALONE = 1, 3
EVENTS = {pq.PollingStatus.READING: select.POLLIN, pq.PollingStatus.WRITING: select.POLLOUT}


class NotConnected(Exception):
    """There is no connection; sqlstate: what the server said, or None where nobody answered."""

    def __init__(self, sqlstate):
        super().__init__(sqlstate or "no answer")
        self.sqlstate = sqlstate


def connect(dsn, role, password, **options):
    """A connection of psycopg, each statement a transaction of its own."""
    try:
        # without a password libpq would look for one in a file of the console's own, which passfile shuts off as well
        target = make_conninfo(dsn, user=role, password=password, passfile="/dev/null", application_name="payguard console", **ALIVE)
        libpq = pq.PGconn.connect_start(target.encode())
    except psycopg.Error:
        raise NotConnected(None) from None
    LIBPQ.PQsetErrorVerbosity(libpq.pgconn_ptr, SQLSTATE_ALONE)
    finish(libpq)
    LIBPQ.PQsetErrorVerbosity(libpq.pgconn_ptr, WORDS)
    libpq.nonblocking = 1
    connection = psycopg.Connection(libpq, **options)
    connection.autocommit = True
    return connection


def finish(libpq):
    """Waits until libpq is connected."""
    end = time.monotonic() + SECONDS
    state = pq.PollingStatus.WRITING
    while state != pq.PollingStatus.OK:
        if state not in EVENTS or libpq.status == pq.ConnStatus.BAD:
            told = re.findall(rb"(?m): +([0-9A-Z]{5})$", libpq.error_message)
            raise NotConnected(told[-1].decode() if told else None)
        waiting = select.poll()
        waiting.register(libpq.socket, EVENTS[state])
        if not waiting.poll(max(0, end - time.monotonic()) * 1000):
            libpq.finish()
            raise NotConnected(None)
        state = libpq.connect_poll()
