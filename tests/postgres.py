"""A real PostgreSQL from Debian's package, which refuses to run as root: then it runs as the user that the package brings."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psycopg

from sandbox.ports import free_port
from sandbox.server import Server

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
USER, PASSWORD = "dp", "s3cret-'word"


class PostgresFailed(Exception):
    """It could not be started; the text holds the tail of its output."""


class Postgres(Server):
    """One server with a user `dp`, whose password it asks for, and the database `ImportJobs`. Nothing of it is kept."""

    failure = PostgresFailed
    title = "postgres"
    poll_s = 0.02

    def __init__(self) -> None:
        # Not in pytest's folder, which only root may enter.
        super().__init__(Path(tempfile.mkdtemp(prefix="import-tracker-postgres-")), free_port())
        self._bin = PROGRAMS[-1].parent
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            self._as_user = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]
            os.chown(self.data, user.pw_uid, user.pw_gid)

    @property
    def access(self) -> str:
        """The database as libpq's keywords, as the original's README has them."""
        return rf"user={USER} dbname=ImportJobs sslmode=disable host=127.0.0.1 port={self.port} password='s3cret-\'word'"

    def _command(self) -> list[str]:
        cluster, password = self.data / "cluster", self.data / "password"
        if not cluster.exists():
            password.write_text(PASSWORD)
            password.chmod(0o644)
            init = [self._bin / "initdb", "-D", cluster, "-U", USER, "-A", "scram-sha-256", f"--pwfile={password}", "-E", "UTF8"]
            subprocess.run([*self._as_user, *map(str, init), "--no-locale", "--no-sync"], check=True, capture_output=True, cwd=self.data)
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.data, "fsync": "off"}
        settings = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        return [*self._as_user, str(self._bin / "postgres"), "-D", str(cluster), *settings]

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), self.connect("postgres") as connection:
            if not connection.execute("SELECT FROM pg_database WHERE datname = 'ImportJobs'").fetchall():
                connection.execute('CREATE DATABASE "ImportJobs"')
            return True
        return False

    def connect(self, name: str = "ImportJobs") -> "psycopg.Connection[tuple[object, ...]]":
        """A connection of the test's own; each statement is committed."""
        return psycopg.connect(self.access.replace("ImportJobs", name), autocommit=True, connect_timeout=2)

    def stop(self, timeout_s: float = 20.0) -> bool:
        """End it without waiting for its clients."""
        return self._end(signal.SIGINT, timeout_s)

    def remove(self) -> None:
        """End it and remove all that it held."""
        self._end(signal.SIGQUIT, 10.0)
        shutil.rmtree(self.data, ignore_errors=True)
