"""What the tests of the webhook destination share: its senders and one endpoint."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import pytest

from receiver.destinations import Sender
from receiver.model import Wanted
from tests.contract.examples import sender, story, wanted
from tests.fakes.endpoint import Endpoint, endpoint

KEY = base64.b64encode(bytes(range(32))).decode()
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Made:
    """Builds senders that speak to this test's endpoint."""

    endpoint: Endpoint
    folder: Path
    clients: list[httpx2.AsyncClient]

    def __call__(self, raw: Mapping[str, Any] = NOTHING, **common: Any) -> Sender:
        given = {"url": f"{self.endpoint.url}/hook", **raw}
        return sender("webhook", given, self.folder, clients=self.clients, **common)


@pytest.fixture
async def make(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Made]:
    del anyio_backend
    async with endpoint() as started:
        made = Made(started, tmp_path, [])
        yield made
        for client in made.clients:
            await client.aclose()


def planned(folder: Path, of: Wanted, **common: Any) -> dict[str, Any]:
    step = sender("webhook", {"url": "https://hook.example.com/x"}, folder, **common).plan(of)
    assert step is not None
    return dict(step.body)


def early() -> Wanted:
    return wanted(story(evidence=None, revision=1))
