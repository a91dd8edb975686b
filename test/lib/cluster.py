"""A throwaway PostgreSQL cluster with payguard, on a unix socket alone."""

import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import psycopg2

SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{socket}'
fsync = off
max_connections = 100
max_prepared_transactions = 10
shared_buffers = 256MB
shared_preload_libraries = 'payguard'
deadlock_timeout = 200ms
"""


def log_path(folder):
    """Where the server in this folder logs. PAYGUARD_LOGS is a folder of whoever looks at the logs of all
    servers, which are gone with their folders otherwise."""
    logs = os.environ.get("PAYGUARD_LOGS")
    program = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    if not logs:
        return os.path.join(folder, "server.log")
    return os.path.join(logs, f"{program}.{'.'.join(folder.split(os.sep)[-2:])}.log")


def refused_actions(cursor):
    """What the cases offer and would be refused: rows of actions.sql. Each action is tried and undone."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "actions.sql"), encoding="utf-8") as file:
        cursor.execute("".join(line for line in file if not line.startswith("\\")))
    cursor.execute("SELECT * FROM pg_temp.refused_actions()")
    return cursor.fetchall()


class Cluster:
    """As a context manager: initdb and pg_ctl are looked for in PATH. SIGTERM ends it, too.

    settings: lines of postgresql.conf; initdb: further options; environment: of the server."""

    def __init__(self, *settings, initdb=(), environment=None):
        self.settings, self.initdb, self.environment = settings, initdb, environment
        self.folder = tempfile.mkdtemp(prefix="payguard-sim.")
        self.data = os.path.join(self.folder, "data")
        self.log = log_path(self.folder)
        self.dsn = f"host={self.folder} port=5432 user=postgres dbname=postgres"

    def __enter__(self):
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8",
                     "--locale=C.UTF-8", "--no-sync", *self.initdb)
            with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as conf:
                conf.write(SETTINGS.format(socket=self.folder))
                conf.writelines(setting + "\n" for setting in self.settings)
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_):
        if os.path.exists(os.path.join(self.data, "postmaster.pid")):
            subprocess.run(["pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop"],
                           stdout=subprocess.DEVNULL, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self):
        self.run("pg_ctl", "-D", self.data, "-l", self.log, "-w", "start",
                 environment=self.environment)

    def connect(self, database="postgres", role="postgres", autocommit=True):
        connection = psycopg2.connect(host=self.folder, port=5432, user=role, dbname=database)
        connection.autocommit = autocommit
        return connection

    def crash(self):
        """Stops the server as if the machine had failed."""
        self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")

    @staticmethod
    def run(*command, environment=None):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, check=False, env=os.environ | (environment or {}))
        if done.returncode != 0:
            raise RuntimeError(f"{command[0]} failed:\n{done.stdout}")


LIBRARY = "/usr/lib/*/faketime/libfaketime.so.1"


class Clock:
    """What the server takes for the time: so many seconds from now, or one that stands still."""

    def __init__(self, folder):
        self.path = os.path.join(folder, "clock")
        self.set(0)
        self.environment = {
            "LD_PRELOAD": glob.glob(LIBRARY)[0], "FAKETIME_TIMESTAMP_FILE": self.path, "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1"}

    def set(self, offset):
        """offset: seconds, or a time as text, at which the clock stands."""
        # never without content, whoever reads it meanwhile
        with open(self.path + ".new", "w", encoding="ascii") as file:
            file.write(f"{offset:+d}\n" if isinstance(offset, int) else offset + "\n")
        os.rename(self.path + ".new", self.path)
