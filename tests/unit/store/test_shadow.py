"""The end of shadow mode in the store, and what its report is made of."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from receiver import report
from receiver.model import DeliveryState
from receiver.store import audit, deliveries, shadow
from receiver.store.audit import Kind, Note
from receiver.store.deliveries import AUDIBLE_CHANGE, NEW_ROOT, DeliveryRow
from receiver.store.engine import NOW, Conn, Store
from receiver.store.schema import attempts, entries
from receiver.store.schema import deliveries as table
from receiver.store.schema import stories as story_table
from tests.unit.store.kept import HERE, add_story, close

pytestmark = pytest.mark.anyio
ONLY = '{"shadow":{"revision":1,"shown":1}}'


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


async def shadowed(conn: Conn, name: str, *, over: bool = False, **values: Any) -> None:
    """Add a story that was only written down."""
    await add_story(conn, name)
    if over:
        await close(conn, name, 60.0)
    given = {"state": "shadow", "root": ONLY, "started": True, "due": None, "delivered": 1, "fallen_back": True}
    await conn.execute(update(table).where(table.c.story == name).values(**{**given, "firing": not over, **values}))
    waiting = {"delivery": f"d-{name}", "key": "waits", "revision": 2, "at": NOW, "change": "worse", "text": "x"}
    await conn.execute(insert(entries).values(**waiting, state="pending"))


async def row_of(store: Store, name: str) -> DeliveryRow:
    row = await store.read(lambda conn: deliveries.one(conn, f"d-{name}"))
    assert row is not None
    return row


async def end_all(store: Store) -> int:
    told = 0
    while ids := await store.read(lambda conn: shadow.left(conn, HERE)):
        told += await store.write(lambda conn, ids=ids: shadow.end(conn, ids))
    return told


async def test_an_open_failure_becomes_a_first_message_that_is_due_now(store: Store) -> None:
    await store.write(lambda conn: shadowed(conn, "s", created=1.0, told_at=1.0, tries=2, error="x", plain=True))
    before = await row_of(store, "s")
    assert await end_all(store) == 1
    row = await row_of(store, "s")
    assert (row.state, row.root, row.started, row.delivered) == (DeliveryState.PENDING, None, False, 0)
    assert (row.priority, row.tries, row.error, row.plain, row.told_at) == (NEW_ROOT, 0, "", False, None)
    assert (row.fallen_back, row.fence) == (False, before.fence + 1)
    assert row.due is not None
    assert row.created > 1.0, "it is not late: it begins now"
    assert row.desired > row.delivered
    waiting = await store.read(lambda conn: conn.execute(select(entries.c.state).where(entries.c.key == "waits")))
    assert waiting.scalars().all() == ["skipped"], "the first message says it"
    assert await end_all(store) == 0, "once"


async def test_what_is_over_stays_untold_and_begins_anew_when_it_fails_again(store: Store) -> None:
    await store.write(lambda conn: shadowed(conn, "s", over=True))
    assert await end_all(store) == 0
    row = await row_of(store, "s")
    assert (row.state, row.root, row.started, row.due) == (DeliveryState.SKIPPED, None, False, None)
    await store.write(lambda conn: deliveries.set_firing(conn, ["d-s"], True))
    row = await row_of(store, "s")
    assert (row.state, row.priority) == (DeliveryState.PENDING, NEW_ROOT)


async def test_what_stopped_firing_here_while_its_story_goes_on_stays_untold(store: Store) -> None:
    await store.write(lambda conn: shadowed(conn, "s", firing=False))
    assert await end_all(store) == 0
    assert (await row_of(store, "s")).state is DeliveryState.SKIPPED


@pytest.mark.parametrize("over", [False, True])
async def test_a_real_root_is_brought_up_to_date_whether_it_is_over_or_not(store: Store, over: bool) -> None:
    root = {"ts": "1.2", "revision": 1, "shadow": {"revision": 1, "shown": 4}}
    await store.write(lambda conn: shadowed(conn, "s", over=over, root=json.dumps(root)))
    assert await end_all(store) == 1
    row = await row_of(store, "s")
    assert json.loads(row.root or "") == {"ts": "1.2", "revision": 1}
    assert (row.state, row.started, row.priority) == (DeliveryState.PENDING, True, AUDIBLE_CHANGE)
    assert row.due is not None
    assert row.audible > row.delivered


async def test_a_real_root_is_noticeable_only_where_something_audible_came_since_people_were_told(store: Store) -> None:
    """What a person closed meanwhile is not begun anew by what nobody was to notice."""
    root = json.dumps({"id": "7", "shadow": {"revision": 1, "shown": 4}})
    for name, told_at in (("quiet", NOW + 60), ("loud", NOW - 60)):
        await store.write(lambda conn, name=name, at=told_at: shadowed(conn, name, root=root, told_at=at, delivered=4))
    assert await end_all(store) == 2
    quiet, loud = await row_of(store, "quiet"), await row_of(store, "loud")
    assert (quiet.delivered, quiet.audible > quiet.delivered) == (4, False)
    assert (loud.delivered, loud.audible > loud.delivered) == (0, True)
    assert quiet.due is not None, "what it shows is brought up to date all the same"


async def test_many_go_in_small_transactions_and_others_stay(store: Store) -> None:
    async def fill(conn: Conn) -> None:
        for number in range(shadow.AT_ONCE + 5):
            await shadowed(conn, f"s{number}")
        await shadowed(conn, "elsewhere", destination="pagerduty:other")

    await store.write(fill)
    assert await store.read(shadow.destinations) == ("pagerduty:other", HERE)
    assert len(await store.read(lambda conn: shadow.left(conn, HERE))) == shadow.AT_ONCE
    assert await end_all(store) == shadow.AT_ONCE + 5
    assert await store.read(shadow.destinations) == ("pagerduty:other",)
    assert (await row_of(store, "elsewhere")).state is DeliveryState.SHADOW


# --- the report ---


async def tried(conn: Conn, name: str, *ops: str, ago_s: float = 10.0, outcome: str = "shadow") -> None:
    given = {"delivery": f"d-{name}", "part": "root", "fence": 1, "outcome": outcome}
    for op in ops:
        await conn.execute(insert(attempts).values(**given, op=op, started=NOW - ago_s))


async def came(conn: Conn, *fingerprints: str) -> None:
    facts = {"receiver": "mtv", "status": "firing", "alerts": len(fingerprints), "fingerprints": list(fingerprints)}
    await audit.notes(conn, [Note(Kind.RECEIVED, "", facts)])


async def test_the_numbers_of_a_report(store: Store) -> None:
    one, two = "1".zfill(16), "2".zfill(16)

    async def fill(conn: Conn) -> None:
        for name in ("1", "2", "3", "4"):
            await shadowed(conn, name)
        await conn.execute(update(table).where(table.c.story == "2").values(receiver="b", label="b/slack"))
        await conn.execute(update(story_table).where(story_table.c.id == "4").values(test=True))
        await tried(conn, "1", "shadow create", "shadow update", "shadow reply", "shadow close", ago_s=20.0)
        await tried(conn, "1", "shadow reply", ago_s=90_000.0)
        await tried(conn, "2", "shadow create")
        await tried(conn, "2", "update", outcome="ok")
        await tried(conn, "3", "create", outcome="ok")
        await tried(conn, "4", "shadow create")

    await store.write(fill)
    for held in ((one, two), (one,), (one, "f" * 16)):
        await store.write(lambda conn, held=held: came(conn, *held))
    await store.write(lambda conn: audit.note(conn, Kind.START))
    found = await store.browse(lambda conn: report.read(conn, 3_600.0))
    assert found.summary == (
        "Alertmanager sent 3 notifications with 5 alerts; "
        "mtv-receiver would have sent 2 messages, 1 reply (and 2 quiet edits)"
    )
    assert [(one.receiver, one.stories, one.counts) for one in found.receivers] == [
        ("b", 1, report.Counts(1, 0, 0)),
        ("r", 1, report.Counts(1, 1, 2)),
    ]
    assert {of.id: (of.notifications, [each.label for each in of.told]) for of in found.stories} == {
        "1": (3, ["r/slack"]),
        "2": (1, ["b/slack"]),
    }
    assert not found.cut


async def test_a_storm_counts_what_came_for_all_of_its_members(store: Store) -> None:
    async def fill(conn: Conn) -> None:
        for name in ("1", "2", "9"):
            await shadowed(conn, name)
        await conn.execute(update(story_table).where(story_table.c.id == "9").values(kind="digest"))
        members = table.c.story.in_(["1", "2"])
        await conn.execute(update(table).where(members).values(digest="9", state="digest"))
        await tried(conn, "9", "shadow create")

    await store.write(fill)
    await store.write(lambda conn: came(conn, "1".zfill(16)))
    await store.write(lambda conn: came(conn, "2".zfill(16)))
    await store.write(lambda conn: came(conn, "1".zfill(16), "2".zfill(16)))
    (of,) = (await store.browse(lambda conn: report.read(conn, 3_600.0))).stories
    assert (of.id, of.notifications) == ("9", 3)


async def test_nothing_is_said_in_one_line(store: Store) -> None:
    found = await store.browse(lambda conn: report.read(conn, 604_800.0))
    assert found.empty
    assert found.summary.startswith("Nothing in 7 d")
