"""What `/-/ready` says when a worker died: anybody may read it."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from receiver.clock import SystemClock
from receiver.config.load import check
from receiver.destinations.registry import ALL
from receiver.metrics import Metrics
from receiver.service import Service
from receiver.store.engine import sqlite_url

pytestmark = pytest.mark.anyio

REST = "receivers: [{name: team, pagerduty_configs: [{routing_key_env: KEY}]}]\nroute: {receiver: team}\nclusters: []\n"
SECRET = "Fa4eReadyPw77"


class Failing(Service):
    async def _run(self) -> None:
        error = IntegrityError("INSERT", {"body": SECRET}, Exception("no"))
        raise ExceptionGroup("workers", [error, ValueError(SECRET)])


async def test_why_a_worker_died_is_told_by_kind_only(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(REST)
    config, _ = check(tmp_path / "routes.yaml", ALL)
    assert config is not None
    died: list[str] = []
    service = Failing(
        config, sqlite_url(tmp_path / "x.db"), SystemClock(), Metrics([]), died.append, lambda: (None, ())
    )
    await service._guarded()
    assert died
    assert await service.ready() == "a worker died: IntegrityError, ValueError; see the log"
