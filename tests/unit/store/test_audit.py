"""The audit stream: what is noted, and in which order it is read."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from receiver.model import Reason
from receiver.store import audit, presses
from receiver.store.audit import Kind, Note
from receiver.store.engine import NOW, Conn, Store
from receiver.store.schema import audit as table
from tests.unit.recording import counted

pytestmark = pytest.mark.anyio


async def test_lines_come_in_the_order_in_which_they_were_written(url: str) -> None:
    async with Store.open(url) as store:

        async def write(conn: Conn) -> None:
            await audit.note(conn, Kind.START, config="abc", version="1", empty="", none=None)
            await audit.notes(conn, [Note(Kind.ATTEMPT, "S1", {"outcome": "ok"}), Note(Kind.DEAD, "S2", {"n": 0})])
            await audit.notes(conn, [])

        await store.write(write)
        found = await store.read(audit.page)
        assert [(one.kind, one.story, dict(one.facts)) for one in found] == [
            ("start", "", {"config": "abc", "version": "1"}),
            ("attempt", "S1", {"outcome": "ok"}),
            ("dead", "S2", {"n": 0}),
        ]
        assert found[0].at == pytest.approx(found[2].at, abs=60)

        async def second(conn: Conn) -> list[int]:
            first = await audit.page(conn, limit=2)
            return [one.id for one in first] + [one.id for one in await audit.page(conn, after=first[-1].id, limit=2)]

        assert await store.read(second) == [one.id for one in found]
        assert [one.story for one in await store.read(lambda conn: audit.page(conn, kinds=["attempt", "dead"]))] == [
            "S1",
            "S2",
        ]


async def test_since_leaves_out_what_is_older(url: str) -> None:
    async with Store.open(url) as store:
        await store.write(lambda conn: audit.note(conn, Kind.START, config="old"))
        await store.write(lambda conn: conn.execute(update(table).values(at=NOW - 7200.0)))
        await store.write(lambda conn: audit.note(conn, Kind.START, config="new"))
        (shown,) = await store.read(lambda conn: audit.page(conn, within_s=3600.0))
        assert shown.facts["config"] == "new"
        assert len(await store.read(audit.page)) == 2


async def test_facts_are_bounded(url: str) -> None:
    async with Store.open(url) as store:
        facts = {"text": "x" * 100_000, "many": ["y" * 1000] * 1000, "deep": {"text": "z" * 1000}}
        await store.write(lambda conn: audit.note(conn, Kind.STORY, "S", **facts))
        (one,) = await store.read(audit.page)
        assert (len(one.facts["text"]), len(one.facts["many"]), len(one.facts["many"][0])) == (500, 50, 500)
        assert len(one.facts["deep"]["text"]) == 500


async def test_all_that_a_transaction_notes_is_one_statement(url: str) -> None:
    why = (Reason("routes.yaml:4", 'severity="critical"'),)

    async def write(conn: Conn) -> None:
        for n in range(9):
            await audit.notes(conn, audit.routed("S", [(f"team-{n}/slack", why)]))

    async with Store.open(url) as store:
        with counted() as seen:
            await store.write(write)
        found = await store.read(audit.page)
    assert len([one for one in seen if "INSERT INTO audit" in one]) == 1
    assert [one.facts["destination"] for one in found] == [f"team-{n}/slack" for n in range(9)]
    assert found[0].facts["why"] == ['routes.yaml:4 severity="critical"']


async def test_a_press_is_noted_in_the_same_transaction(url: str) -> None:
    async with Store.open(url) as store:

        async def write(conn: Conn) -> None:
            await presses.record(conn, "S", "acknowledge", "Ana", "API", done=False, text="No.")
            raise RuntimeError("rolled back")

        with pytest.raises(RuntimeError):
            await store.write(write)
        assert await store.read(audit.page) == []
        await store.write(lambda conn: presses.record(conn, "S", "silence", "Ana", "API", done=True, text="Yes."))
        (one,) = await store.read(audit.page)
        assert (one.kind, one.story) == ("press", "S")
        assert one.facts == {"action": "silence", "by": "Ana", "via": "API", "done": True, "answer": "Yes."}
