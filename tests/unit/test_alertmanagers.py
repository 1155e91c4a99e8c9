"""Asking Alertmanager: an answer is read in pieces, and no further than we would use it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from receiver.alertmanagers import MAX_ANSWER, Alertmanagers
from receiver.config.model import AlertmanagerConfig
from receiver.fingerprint import fingerprint
from receiver.http import warm_up
from receiver.model import Alert, AlertStatus
from tests.fakes.server import serve

pytestmark = pytest.mark.anyio

LABELS = {"alertname": "MigrationFailed", "plan": "p"}
ALERT = Alert(fingerprint(LABELS), AlertStatus.FIRING, LABELS, {}, datetime(2026, 11, 21, tzinfo=UTC))
HELD = json.dumps([{"labels": LABELS}]).encode()
PIECE = b" " * 65_536


class Peer:
    """An Alertmanager that sends blanks, which JSON allows, before or after what it holds."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces
        self.sent = 0

    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        for _ in range(self.pieces):
            if await request.is_disconnected():
                return
            self.sent += len(PIECE)
            yield PIECE
        yield HELD

    async def _alerts(self, request: Request) -> StreamingResponse:
        return StreamingResponse(self._body(request), media_type="application/json")

    @asynccontextmanager
    async def asked(self) -> AsyncIterator[Alertmanagers]:
        async with serve(Starlette(routes=[Route("/api/v2/alerts", self._alerts)])) as url:
            warm_up(tls=True)  # as the service does: the first client of a process takes its time
            asking = Alertmanagers([AlertmanagerConfig("main", url)])
            yield asking
            await asking.aclose()


async def test_an_answer_in_many_pieces_is_read_whole() -> None:
    async with Peer(pieces=16).asked() as asking:
        assert await asking.holds("main", ALERT) is True


async def test_an_answer_beyond_the_limit_is_left_unread_and_is_no_answer() -> None:
    peer = Peer(pieces=10 * MAX_ANSWER // len(PIECE))
    async with peer.asked() as asking:
        assert await asking.holds("main", ALERT) is None

    assert peer.sent < 2 * MAX_ANSWER, "what was not read was not sent, but for what the sockets hold"
