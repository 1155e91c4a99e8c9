"""Bring a database to the schema of this version (Alembic), and say what it is at."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, create_engine, inspect

from receiver.store.database import driver_url

if TYPE_CHECKING:
    from types import TracebackType

HEAD = "0007"
"""The schema of this version: the newest of `migrations/versions`."""
MIGRATING = 0x6D74_7602
"""Key of PostgreSQL's lock under which the schema is changed."""


class NewerSchemaError(Exception):
    """The database was written by a newer version; run that version, or restore a backup."""


class LockedError(Exception):
    """Another `serve` holds this database file."""


def upgrade(url: str) -> str:
    """Migrate forward to this version's schema and return its revision. Raises NewerSchemaError."""
    if url.startswith("sqlite"):
        # The file holds what alerts say: nobody else on the machine reads it. SQLite's own side files take its mode.
        os.close(os.open(url.partition(":///")[2], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    engine = create_engine(driver_url(url), hide_parameters=True)
    try:
        if engine.dialect.name == "sqlite":
            with engine.connect() as conn:
                conn.exec_driver_sql("PRAGMA busy_timeout=5000")
                conn.exec_driver_sql("PRAGMA journal_mode=WAL")
        with engine.begin() as conn:
            if engine.dialect.name == "postgresql":
                # Replicas that start together: one migrates, the others find it done.
                conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATING})")
            current = schema_of(conn)
            if current != HEAD:
                from receiver.store import migrating  # Alembic: a fifth of the memory and time of a start without it

                if current is not None and current not in migrating.known():
                    raise NewerSchemaError(
                        f"the database has schema {current}, unknown to this version; run the version that wrote it"
                    )
                migrating.run(conn)
            return HEAD
    finally:
        engine.dispose()


def schema_of(conn: Connection) -> str | None:
    """Return the revision that a database is at; None where it holds no tables of this service."""
    if not inspect(conn).has_table("alembic_version"):
        return None
    found = conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one_or_none()
    return None if found is None else str(found)


class FileLock:
    """One `serve` per SQLite file: held while the process lives, freed by the kernel when it dies."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._fd: int | None = None

    def acquire(self) -> None:
        """Take the lock or raise LockedError at once."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise LockedError(f"{self._path} is held by another process") from None
        self._fd = fd

    def release(self) -> None:
        """Give it back; harmless when not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
