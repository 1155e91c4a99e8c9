"""Fixtures that every ring of tests shares."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first: else one of them is what everybody waits for at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
