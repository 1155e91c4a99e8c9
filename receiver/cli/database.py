"""The service's database, opened by a command beside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from receiver.cli.common import Exit, database_url
from receiver.cli.output import fail
from receiver.store.database import driver_url
from receiver.store.engine import Store, StoreBusyError
from receiver.store.upgrade import HEAD, schema_of

T = TypeVar("T")


def file_of(url: str) -> Path | None:
    """Return the file of a SQLite database, None for any other."""
    try:
        parsed = make_url(url)
    except SQLAlchemyError:
        fail(Exit.USAGE, "MTV_RECEIVER_DATABASE_URL is no database URL", "write for example sqlite:////data/mtv.db")
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None


def with_store(work: Callable[[Store], Awaitable[T]]) -> T:
    """Run `work` on the database, or say in one line why it cannot be asked and exit 3."""
    url = database_url(create=False)
    file = file_of(url)
    if file is not None and not file.is_file():
        cure = "start `mtv-receiver serve` once, or set MTV_RECEIVER_DATA to its folder"
        fail(Exit.UNASKED, f"there is no database at {file} yet", cure)
    name = str(file) if file else "the database"
    try:
        _check_schema(url, name)
        return asyncio.run(_work(url, work))
    except (SQLAlchemyError, OSError, ImportError, StoreBusyError) as error:
        fail(Exit.UNASKED, f"{name} cannot be used: {_said(error)}", "check that this user may read and write it")


async def _work(url: str, work: Callable[[Store], Awaitable[T]]) -> T:
    async with Store.open(url) as store:
        return await work(store)


def current_schema(url: str) -> str | None:
    """Return the revision that a database is at; None where it holds no tables of this service."""
    engine = create_engine(driver_url(url), hide_parameters=True)
    try:
        with engine.connect() as conn:
            return schema_of(conn)
    finally:
        engine.dispose()


def _check_schema(url: str, name: str) -> None:
    current = current_schema(url)
    if current == HEAD:
        return
    if current is None:
        fail(Exit.UNASKED, f"{name} holds no tables of this service", "run `mtv-receiver db upgrade`")
    from receiver.store import migrating

    if current not in migrating.known():
        fail(Exit.UNASKED, f"{name} has schema {current}, unknown to this version", "run the version that wrote it")
    fail(Exit.UNASKED, f"{name} has schema {current}, this version needs {HEAD}", "run `mtv-receiver db upgrade`")


def _said(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause) or type(cause).__name__
