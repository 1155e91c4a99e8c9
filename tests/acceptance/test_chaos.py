"""A short run of `benchmarks.chaos`: nothing accepted is lost, nothing is twice where that can be helped."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from benchmarks import chaos
from benchmarks.chaos import Run

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KILLS = 4
KILLING_S = 25.0
"""After that no further kill begins: the lease of what a killed replica had claimed is still to come."""


@pytest.mark.parametrize("on", [chaos.on_sqlite, chaos.on_postgres], ids=["sqlite", "postgresql-3-replicas"])
async def test_kills_cuts_and_jumping_clocks_lose_nothing_and_double_nothing(
    on: Callable[..., Coroutine[Any, Any, tuple[Run, float]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chaos, "POST_EVERY_ON_POSTGRESQL_S", chaos.POST_EVERY_S)  # few kills leave little behind
    run, _ = await on(KILLS, time.monotonic() + KILLING_S, random.Random(7), stop=False)
    world = run.world
    twice = world.twice()
    assert run.did["kill -9"] >= 2, "the machine was too slow to prove anything"
    assert len(world.accepted) >= 8, "the machine was too slow to prove anything"
    assert not any(world.lost().values()), world.lost()
    assert not world.unended()
    assert twice.pop("Slack without history") <= run.may_double
    assert not any(twice.values()), twice
