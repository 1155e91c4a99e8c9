"""What was not sent yet when something newer came: folded into it, unless people should notice it more."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.model import Change, PlanPhase, PlanState
from receiver.store import deliveries, schema
from receiver.store.engine import Conn
from tests.unit.recording import desk, uid

pytestmark = pytest.mark.anyio


async def states(folder: Path, *changes: Change) -> list[tuple[str, str]]:
    """Add an entry for each change to one delivery, none of them sent; return what became of them."""
    async with desk(folder) as one:
        await one.record(one.incoming("platform", uid(), plan=PlanState(PlanPhase.FAILED, run="r1")))
        (story,) = await one.stories()
        chat = (await one.deliveries(story.id))["platform/slack"]

        async def add(conn: Conn) -> None:
            for at, change in enumerate(changes, 2):
                await deliveries.add_entries(conn, [chat.id], f"{change.value}-{at}", change, "text", at, float(at))

        await one.store.write(add)
        rows = await one.rows(schema.entries, delivery=chat.id)
        return [(row.change, row.state) for row in sorted(rows, key=lambda row: row.revision)]


async def test_what_people_should_notice_is_not_hidden_in_what_they_need_not(tmp_path: Path) -> None:
    assert await states(tmp_path, Change.RERUN, Change.FAILED_AGAIN, Change.EVIDENCE) == [
        ("rerun", "folded"),
        ("failed-again", "pending"),
        ("evidence", "pending"),
    ]


async def test_what_people_should_notice_takes_everything_before_it_along(tmp_path: Path) -> None:
    assert await states(tmp_path, Change.FAILED_AGAIN, Change.EVIDENCE, Change.RESOLVED) == [
        ("failed-again", "folded"),
        ("evidence", "folded"),
        ("resolved", "pending"),
    ]
