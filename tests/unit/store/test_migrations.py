"""Schemas of released versions go forward with what they hold, and what comes later harms no older replica."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, Connection, Float, Integer, MetaData, Table, Text, create_engine, inspect, select
from sqlalchemy.dialects.postgresql import TSVECTOR

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
    "get_bind", "fill_stories", "make_searchable",  # of `receiver.store.backfill`: new columns and a new table alone
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
    of_kind: tuple[tuple[type[Any], Any], ...] = (
        (Boolean, True), (Integer, 7), (Float, 7.5), (Text, "x"), (TSVECTOR, "'x'")
    )  # fmt: skip
    return {
        column.name: next(value for kind, value in of_kind if isinstance(column.type, kind)) for column in table.columns
    }


def tables(found: MetaData) -> list[Table]:
    """Return the tables that are ours to fill: neither Alembic's, nor what SQLite's search keeps for itself."""
    return [one for one in found.sorted_tables if one.name != "alembic_version" and not one.name.startswith("search_")]


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_released_schema_holds_is_still_there_after_the_upgrade(empty: str, version: str) -> None:
    engine = create_engine(driver_url(empty))
    with engine.begin() as conn:
        bring_to(conn, version)
    before = MetaData()
    before.reflect(engine)
    with engine.begin() as conn:
        for table in tables(before):
            conn.execute(table.insert().values(**a_row(table)))
    upgrade(empty)
    with engine.connect() as conn:
        for table in tables(before):
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


def test_the_story_list_is_filled_from_what_0004_stored(empty: str) -> None:
    identity = {"cluster": "east", "owner_namespace": "", "target_namespace": "pay", "namespace": "openshift-mtv"}
    failed: dict[str, Any] = {
        "run": "r1", "impact": "down", "cause": {"id": "no-space", "sentence": "the disk\x00 is full"},
        "counts": {"failed": 2, "total": 5},
    }  # fmt: skip
    nothing = ("", "", "", "", "unknown", 0, 0)
    whole = ("pay", "east", "no-space", "the disk is full", "down", 2, 5)
    odd = {"impact": ["down"], "cause": "x", "counts": {"failed": "2", "total": 2**70}}
    cases: dict[str, tuple[str, Any, Any, tuple[Any, ...]]] = {
        "whole": ("r1", identity, failed, whole),
        "no-run": ("", identity, failed, whole),
        "earlier-run": ("r2", identity, failed, ("pay", "east", *nothing[2:])),
        "owner": ("", {**identity, "owner_namespace": "shop"}, None, ("shop", "east", *nothing[2:])),
        "plan": ("", {"namespace": "here"}, None, ("here", *nothing[1:])),
        "nothing": ("", None, None, nothing),
        "malformed": ("", "{", "[" * 100_000, nothing),
        "a-list": ("", [], [1], nothing),
        "odd": ("", {"cluster": 7, "owner_namespace": None}, odd, nothing),
        "unknown-impact": ("", None, {"impact": "huge"}, nothing),
    }
    engine = create_engine(driver_url(empty))
    with engine.begin() as conn:
        bring_to(conn, "0004")
    before = MetaData()
    before.reflect(engine)
    stories = before.tables["stories"]

    def stored(value: Any) -> Any:
        return value if value is None or isinstance(value, str) else json.dumps(value)

    with engine.begin() as conn:
        rows = [
            {
                **a_row(stories),
                "id": name,
                "subject": name,
                "run": run,
                "identity": stored(who),
                "evidence": stored(why),
            }
            for name, (run, who, why, _) in cases.items()
        ]
        many = [{**a_row(stories), "id": f"z{number:04}", "subject": f"z{number}"} for number in range(450)]
        conn.execute(stories.insert(), rows + many)
    upgrade(empty)
    after = MetaData()
    after.reflect(engine, only=["stories"])
    c = after.tables["stories"].c
    shown = (c.namespace, c.cluster, c.cause, c.cause_text, c.impact, c.failed, c.total)
    with engine.connect() as conn:
        found = {row.id: tuple(row)[1:] for row in conn.execute(select(c.id, *shown).where(c.id.in_(list(cases))))}
        assert found == {name: wanted for name, (*_, wanted) in cases.items()}
        assert set(conn.execute(select(c.indexed)).scalars()) == {-1}
    engine.dispose()
