"""Fixtures that every ring of tests shares."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.store.engine import sqlite_url
from receiver.store.upgrade import upgrade
from tests import databases
from tests.fakes import proxy
from tests.fakes.proxy import Behind
from tests.fakes.vendors import FakeVendors


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "acceptance tests: reach everything through a CONNECT proxy, by TLS of a private authority"
    parser.addoption("--through-proxy", action="store_true", help=text)
    text = "acceptance tests: where stories are kept"
    parser.addoption("--database", choices=["sqlite", "postgresql"], default="sqlite", help=text)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "past_proxy(reason): stays as it is with --through-proxy")
    config.addinivalue_line("markers", "sqlite_only(reason): skipped with --database postgresql")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first: else one of them is what everybody waits for at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[databases.Postgres]:
    """Return a PostgreSQL server that all tests of this process share; each takes a database of its own."""
    with databases.postgres_running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of a new database with the tables of this version: a test runs once on each kind."""
    if request.param == "sqlite":
        address = sqlite_url(tmp_path / "test.db")
        upgrade(address)
        return address
    server: databases.Postgres = request.getfixturevalue("postgres")
    return server.new()


@pytest.fixture(autouse=True)
def stories_in_postgresql(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --database postgresql: each folder of an acceptance test has a database of its own there."""
    if request.config.getoption("--database") == "postgresql" and "acceptance" in request.path.parts:
        if request.node.get_closest_marker("sqlite_only"):
            pytest.skip("about SQLite")
        monkeypatch.setattr(databases, "SERVER", request.getfixturevalue("postgres"))


@pytest.fixture(scope="session")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Behind]:
    """The proxy of all tests of this process, and the authority."""
    with Behind(tmp_path_factory.mktemp("authority")).running() as one:
        yield one


@pytest.fixture(autouse=True)
def through_proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """With --through-proxy: move every fake behind the proxy, and see to it that nobody comes another way."""
    acceptance = "acceptance" in request.path.parts
    if not request.config.getoption("--through-proxy") or not acceptance:
        yield
        return
    if request.node.get_closest_marker("past_proxy"):
        yield
        return
    way: Behind = request.getfixturevalue("behind")
    way.forget()
    accept, base_url = socket.socket.accept, FakeVendors.base_url.fget
    assert base_url is not None

    def noted(self: socket.socket) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = accept(self)
        if self.family == socket.AF_INET:
            way.accepted(self.getsockname()[1], address[1])
        return connection, address

    monkeypatch.setattr(socket.socket, "accept", noted)
    monkeypatch.setattr(FakeVendors, "base_url", property(lambda vendors: way.moved(base_url(vendors), "vendors")))
    monkeypatch.setattr(proxy, "BEHIND", way)
    yield
    assert not way.beside(), "somebody came past the proxy"
