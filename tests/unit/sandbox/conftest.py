"""The sandbox in memory, with a clock that the test sets, and a client that speaks to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest

from receiver.sandbox import Sandbox, build_app

START_S = 1_795_299_600.0


@dataclass
class Clock:
    now_s: float = START_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sandbox(clock: Clock) -> Sandbox:
    return Sandbox.new(clock)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=build_app(sandbox))
    headers = {"Authorization": "Bearer xoxb-example"}
    async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox", headers=headers) as made:
        yield made
