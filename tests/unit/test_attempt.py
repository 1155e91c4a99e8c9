"""The attempt protocol with a destination of the test's own: what no vendor's fake brings about."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from receiver.attempt import Destination, Worker
from receiver.clock import SystemClock
from receiver.destinations import InStorm, Manner, Step
from receiver.errors import Refused, Unknown
from receiver.metrics import Metrics
from receiver.model import Change, Receipt, Wanted
from receiver.store import claims
from receiver.store.engine import NOW
from receiver.store.schema import deliveries
from receiver.verdict import End
from tests.unit.recording import Desk, desk, uid

pytestmark = pytest.mark.anyio

CHANNEL = "slack:slack.com #platform"


class Files:
    """A destination that shows a root and, beside it, two files."""

    kind: ClassVar[str] = "slack"
    manner: ClassVar[Manner] = Manner.CHAT
    entry_changes: ClassVar[frozenset[Change]] = frozenset()
    waits_for_evidence: ClassVar[bool] = False
    in_storm: ClassVar[InStorm] = InStorm.EACH

    def __init__(self, **errors: Exception) -> None:
        self.errors = errors
        """Raised once by the step of this name."""
        self.sent: list[str] = []
        self.there: dict[str, str] = {}

    def plan(self, wanted: Wanted) -> Step | None:
        root = wanted.root or {}
        if not root.get("id"):
            return Step("root", "create", {}, creates=True)
        for part in ("one", "two"):
            if part not in root.get("files", {}) and part not in root.get("skipped", {}):
                return Step(part, "upload", {}, creates=True, extra={"kept_in_root": True})
        return None

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        self.sent.append(step.part)
        if step.part == "root":
            return {"id": "7"}
        error = self.errors.pop(step.part, None)
        if not isinstance(error, Refused):
            self.there[step.part] = f"F-{step.part}"
        if error is not None:
            raise error
        return {"files": {step.part: self.there[step.part]}}

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        found = self.there.get(step.part)
        return {"files": {step.part: found}} if found else None

    def link(self, root: Receipt) -> str:
        return ""

    async def probe(self) -> None:
        return None


async def work_off(desk: Desk, sender: Files) -> Mapping[str, Any]:
    """Work the only delivery off until nothing is left; return its row."""
    (config,) = (one for one in desk.config.destinations if one.identity == CHANNEL)
    worker = Worker(desk.store, desk.config, SystemClock(), Metrics(["slack"]), lambda: 0.0)
    destination = Destination(config, sender, lambda: "", asyncio.Semaphore(1))
    (story,) = await desk.stories()
    for _ in range(6):
        (row,) = (await desk.deliveries(story.id)).values()
        await desk.set(deliveries, {"due": NOW if row.due is not None else None}, id=row.id)
        claimed = await desk.store.write(lambda conn: claims.claim(conn, "me", CHANNEL, 1))
        if not claimed:
            break
        assert await worker.work(claimed[0], destination, SystemClock().monotonic()) is not End.LOST
    (row,) = await desk.rows(deliveries)
    found: Mapping[str, Any] = row._mapping
    return found


async def test_what_a_file_gives_back_is_kept_in_the_roots_receipt_and_makes_no_entry(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.record(one.incoming("platform", uid()))
        row = await work_off(one, sender := Files())
        assert json.loads(row["root"]) == {"id": "7", "files": {"one": "F-one", "two": "F-two"}}
        assert row["state"] == "delivered"
        assert sender.sent == ["root", "one", "two"]
        assert await one.entries(row["id"]) == []


async def test_a_refused_file_is_left_out_and_the_next_one_is_sent(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.record(one.incoming("platform", uid()))
        row = await work_off(one, sender := Files(one=Refused("file_type_not_allowed")))
        root = json.loads(row["root"])
        assert (root["files"], root["skipped"]) == ({"two": "F-two"}, {"one": "file_type_not_allowed"})
        assert (row["state"], row["plain"]) == ("delivered", False)
        assert sender.sent == ["root", "one", "two"]


async def test_a_file_of_unknown_outcome_is_looked_for_and_adopted(tmp_path: Path) -> None:
    async with desk(tmp_path) as one:
        await one.record(one.incoming("platform", uid()))
        row = await work_off(one, sender := Files(one=Unknown("no answer")))
        assert json.loads(row["root"])["files"] == {"one": "F-one", "two": "F-two"}
        assert sender.sent == ["root", "one", "two"], "none was sent twice"
