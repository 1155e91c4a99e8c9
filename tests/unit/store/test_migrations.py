"""Schemas of released versions go forward with what they hold, and what comes later harms no older replica."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Connection, Float, Integer, MetaData, Text, create_engine, inspect, select

from receiver.store import upgrade as upgrade_module
from receiver.store.database import driver_url
from receiver.store.engine import sqlite_url
from receiver.store.upgrade import upgrade
from tests.databases import Postgres

FOLDER = Path(upgrade_module.__file__).parent / "migrations"
VERSIONS = [one.revision for one in ScriptDirectory(str(FOLDER)).walk_revisions()][::-1]
ALLOWED = {
    "create_table", "create_index", "batch_alter_table", "add_column", "Column", "Text", "Float", "Integer", "Boolean",
    "text", "PrimaryKeyConstraint", "ForeignKeyConstraint", "NotImplementedError",
}  # fmt: skip


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of a database without tables."""
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "test.db")
    server: Postgres = request.getfixturevalue("postgres")
    return server.new(template="template0")


def bring_to(conn: Connection, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = conn
    command.upgrade(config, version)


def a_row(table: Any) -> dict[str, Any]:
    """Return a row that fills every column."""
    of_kind: tuple[tuple[type[Any], Any], ...] = ((Boolean, True), (Integer, 7), (Float, 7.5), (Text, "x"))
    return {
        column.name: next(value for kind, value in of_kind if isinstance(column.type, kind)) for column in table.columns
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_released_schema_holds_is_still_there_after_the_upgrade(empty: str, version: str) -> None:
    engine = create_engine(driver_url(empty))
    with engine.begin() as conn:
        bring_to(conn, version)
    before = MetaData()
    before.reflect(engine)
    with engine.begin() as conn:
        for table in before.sorted_tables:
            if table.name != "alembic_version":
                conn.execute(table.insert().values(**a_row(table)))
    upgrade(empty)
    with engine.connect() as conn:
        for table in before.sorted_tables:
            if table.name != "alembic_version":
                (row,) = conn.execute(select(table)).mappings()
                assert dict(row) == a_row(table), table.name
    engine.dispose()


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_a_migration_only_adds_what_an_older_replica_need_not_know(version: str) -> None:
    (file,) = (FOLDER / "versions").glob(f"{version}_*.py")
    tree = ast.parse(file.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "") for node in calls}
    assert names <= ALLOWED, f"{file.name} does more than add: {sorted(names - ALLOWED)}"
    for node in calls:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "add_column":
            (column,) = node.args
            assert isinstance(column, ast.Call)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in column.keywords}
            assert given.get("nullable") == "True" or "server_default" in given, ast.unparse(column)


def test_the_newest_schema_is_what_an_empty_database_gets(empty: str) -> None:
    assert upgrade(empty) == VERSIONS[-1]
    engine = create_engine(driver_url(empty))
    assert {"stories", "jobs", "audit"} <= set(inspect(engine).get_table_names())
    engine.dispose()
