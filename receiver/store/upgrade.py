"""Bring a database to the schema of this version (Alembic), and say what it is at."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine

from receiver.store.postgres import driver_url

if TYPE_CHECKING:
    from types import TracebackType

_HERE = Path(__file__).parent
MIGRATING = 0x6D74_7602
"""Key of PostgreSQL's lock under which the schema is changed."""


class NewerSchemaError(Exception):
    """The database was written by a newer version; run that version, or restore a backup."""


class LockedError(Exception):
    """Another `serve` holds this database file."""


def upgrade(url: str) -> str:
    """Migrate forward to this version's schema and return its revision. Raises NewerSchemaError."""
    config = AlembicConfig()
    config.set_main_option("script_location", str(_HERE / "migrations"))
    script = ScriptDirectory.from_config(config)
    if url.startswith("sqlite"):
        # The file holds what alerts say: nobody else on the machine reads it. SQLite's own side files take its mode.
        os.close(os.open(url.partition(":///")[2], os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    engine = create_engine(driver_url(url))
    try:
        if engine.dialect.name == "sqlite":
            with engine.connect() as conn:
                conn.exec_driver_sql("PRAGMA busy_timeout=5000")
                conn.exec_driver_sql("PRAGMA journal_mode=WAL")
        with engine.begin() as conn:
            if engine.dialect.name == "postgresql":
                # Replicas that start together: one migrates, the others find it done.
                conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATING})")
            known = {revision.revision for revision in script.walk_revisions()}
            current = _current(conn)
            if current is not None and current not in known:
                raise NewerSchemaError(
                    f"the database has schema {current}, unknown to this version; run the version that wrote it"
                )
            config.attributes["connection"] = conn
            command.upgrade(config, "head")
            return _current(conn) or ""
    finally:
        engine.dispose()


def _current(conn: Connection) -> str | None:
    return MigrationContext.configure(conn).get_current_revision()


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
