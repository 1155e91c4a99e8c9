"""Migrations, run by Alembic. Imported only where there is something to migrate: see `receiver.store.upgrade`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

_FOLDER = Path(__file__).parent / "migrations"


def known() -> frozenset[str]:
    """Return every revision that this version knows."""
    return frozenset(one.revision for one in ScriptDirectory(str(_FOLDER)).walk_revisions())


def run(conn: Connection) -> None:
    """Bring a database to the newest revision within the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    config.attributes["connection"] = conn
    command.upgrade(config, "head")
