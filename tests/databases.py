"""The two databases that the store is tested on: a SQLite file, and a real PostgreSQL that the tests start."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from receiver.store.engine import sqlite_url
from receiver.store.upgrade import upgrade
from tests.servers import need

_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_READY_S = 30.0


@dataclass
class Postgres:
    """A server of our own on loopback, with a template that holds the tables."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    _numbers: Iterator[int] = field(default_factory=count)

    def url(self, database: str) -> str:
        """Return the address of a database, as people write it."""
        return f"postgresql://mtv@127.0.0.1:{self.port}/{database}"

    def run(self, statement: str, database: str = "postgres") -> None:
        """Run a statement outside any transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]  # psycopg wants a literal; these are ours

    def new(self, template: str = "made") -> str:
        """Make a database, with the tables unless another template is named, and return its address."""
        name = f"t{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = {
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "100",
            "listen_addresses": "127.0.0.1",
        }
        command = [_program("postgres"), "-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder)]
        command += [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*_as_nobody_special(), *command], stdout=log, stderr=log)
        until = time.monotonic() + _READY_S
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=2).close()
            except psycopg.OperationalError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise AssertionError((self.folder / "log").read_text()[-2000:]) from None
                time.sleep(0.05)  # within an awaited condition: that it answers
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End the server and every connection to it: SIGINT at once and cleanly, SIGQUIT as after a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(_READY_S)
            self.process = None


def _program(name: str) -> str:
    for folder in _BINARIES:
        if (folder / name).is_file():
            return str(folder / name)
    return need(name, "postgresql")


def _as_nobody_special() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []


@contextlib.contextmanager
def postgres_running() -> Iterator[Postgres]:
    """Start a server in a folder of its own, and remove both at the end."""
    initdb = _program("initdb")
    folder = Path(tempfile.mkdtemp(prefix="mtv-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres", "postgres")
        made = [initdb, "-D", str(folder / "data"), "-U", "mtv", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run([*_as_nobody_special(), *made], check=True, capture_output=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server = Postgres(folder, port)
        server.start()
        try:
            server.run("CREATE DATABASE made")
            upgrade(server.url("made"))
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


SERVER: Postgres | None = None
"""With `--database postgresql`: where acceptance tests keep their stories."""
_of_folder: dict[Path, str] = {}


def database_of(folder: Path) -> str:
    """Return the address of the database that belongs to a test's folder, the same each time."""
    if SERVER is None:
        return sqlite_url(folder / "test.db")
    if folder not in _of_folder:
        _of_folder[folder] = SERVER.new()
    return _of_folder[folder]


def ask(folder: Path, query: str, *values: object) -> list[Any]:
    """Ask the database of a folder past the service, or change it; `?` stands for a value."""
    if SERVER is None:
        with contextlib.closing(sqlite3.connect(folder / "test.db", timeout=5)) as file, file:
            return file.execute(query, values).fetchall()
    with psycopg.connect(_of_folder[folder]) as connection:
        cursor = connection.execute(query.replace("%", "%%").replace("?", "%s"), values)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []
