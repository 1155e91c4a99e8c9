"""One round of an Alertmanager as the store judges it: what it opens, what it closes, and what it leaves alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select, update

from receiver.model import EARLIER, Alert, AlertStatus, Outcome, StoryState
from receiver.store import inbox, jobs, rounds, stories
from receiver.store.codec import ALERT, load
from receiver.store.drafts import AlertRow, Draft
from receiver.store.engine import Store
from receiver.store.rounds import Begun, Found, Seen
from receiver.store.schema import alerts
from receiver.store.schema import inbox as entries
from receiver.store.schema import jobs as jobs_table

pytestmark = pytest.mark.anyio

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
GONE = Seen(frozenset(), (), complete=True)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


def an_alert(name: str = "DiskFull", **more: Any) -> Alert:
    return Alert(f"{sum(name.encode()):016x}", AlertStatus.FIRING, {"alertname": name}, {}, AT, **more)


async def fires(
    store: Store, alert: Alert, source: str = "main", *, story: str = "s1", role: str = "failure", **more: Any
) -> None:
    """Let a story hold an alert, heard of an hour ago."""

    async def write(conn: Any) -> None:
        now = await stories.now_of(conn)
        draft = Draft(
            id=story, subject=more.pop("subject", story), kind="alert", severity="warning", title="t",
            opened=now, now=now, new=True, **more,
        )  # fmt: skip
        row = AlertRow(alert, role, int(story[1:]), source, now, dirty=True, heard_at=now - 3600)
        draft.alerts[alert.fingerprint] = row
        await stories.save(conn, draft, None, "", "")

    await store.write(write)


async def begin(store: Store, owner: str = "me", *, early: bool = True) -> Begun | None:
    return await store.write(lambda conn: rounds.begin(conn, "main", owner, early=early, first_within_s=600.0))


async def round_(store: Store, seen: Seen, grace_s: float = 0.0) -> Found:
    begun = await begin(store)
    assert begun is not None
    return await end(store, begun, seen, grace_s)


async def end(store: Store, begun: Begun, seen: Seen, grace_s: float = 0.0) -> Found:
    return await store.write(lambda conn: rounds.end(conn, begun, "main", seen, grace_s, 60.0))


async def told(store: Store) -> list[tuple[str, str, str]]:
    """Return source, name and status of what waits in the inbox."""

    async def read(conn: Any) -> list[Any]:
        rows = await conn.execute(select(entries.c.source, entries.c.payload).order_by(entries.c.seq))
        return [(row.source, load(ALERT, row.payload)) for row in rows]

    return [(source, one.name, one.status.value) for source, one in await store.read(read)]


def holding(*active: Alert, present: Sequence[Alert] = (), complete: bool = True, **more: Any) -> Seen:
    return Seen(frozenset(one.fingerprint for one in (*active, *present)), active, complete, **more)


async def test_two_replicas_one_round_a_minute(store: Store) -> None:
    first = await begin(store)
    assert first is not None
    assert await begin(store, "you") is None, "somebody is at it"
    await end(store, first, holding(an_alert()))
    assert await begin(store, "you", early=False) is None, "it is not due"
    assert not await store.read(lambda conn: rounds.is_due(conn, "main"))
    assert await begin(store, "you", early=True) is not None, "whoever starts looks at once"
    assert len(await told(store)) == 1


async def test_whoever_lost_the_round_writes_nothing(store: Store) -> None:
    begun = await begin(store)
    assert begun is not None
    await store.write(lambda conn: jobs.let_go(conn, "me"))
    await begin(store, "you")
    assert await end(store, begun, holding(an_alert())) == Found(lost=True)
    assert await told(store) == []


async def test_what_fires_here_already_is_not_opened_and_what_began_anew_is(store: Store) -> None:
    await fires(store, an_alert())
    assert (await round_(store, holding(an_alert()))).opened == ()
    later = replace(an_alert(), starts_at=datetime(2026, 11, 21, 9, tzinfo=UTC))
    assert (await round_(store, holding(later))).opened == (later.fingerprint,)
    assert await told(store) == [("main", "DiskFull", "firing")]


async def test_what_no_story_comes_of_is_put_into_the_inbox_once(store: Store) -> None:
    await round_(store, holding(an_alert()))
    await store.write(lambda conn: inbox.done(conn, [1]))
    assert (await round_(store, holding(an_alert()))).opened == ()
    assert (await round_(store, holding())).opened == ()
    assert (await round_(store, holding(an_alert()))).opened != (), "it was away meanwhile"


async def test_absent_from_two_complete_rounds_grace_apart(store: Store) -> None:
    alert = an_alert()
    await fires(store, alert)
    assert (await round_(store, replace(GONE, complete=False))).closed == ()
    assert (await round_(store, GONE)).closed == ()
    assert (await round_(store, GONE, grace_s=60)).closed == ()
    assert (await round_(store, replace(GONE, complete=False))).closed == ()
    assert (await round_(store, GONE)).closed == (alert.fingerprint,)
    assert await told(store) == [("main", "DiskFull", "resolved")]
    assert (await round_(store, GONE)).closed == (), "its end waits in the inbox"


async def test_what_was_there_in_between_begins_anew(store: Store) -> None:
    await fires(store, an_alert())
    await round_(store, GONE)
    await round_(store, holding(present=[an_alert()]))
    assert (await round_(store, GONE)).closed == ()


async def test_a_word_that_comes_during_the_round_is_newer(store: Store) -> None:
    alert = an_alert()
    await fires(store, alert)
    await round_(store, GONE)
    begun = await begin(store)
    assert begun is not None
    await store.write(lambda conn: inbox.add(conn, "main", [alert]))
    assert (await end(store, begun, GONE)).closed == (), "it waits in the inbox"

    begun = await begin(store)
    assert begun is not None
    await store.write(lambda conn: inbox.add(conn, "main", [alert]))
    await store.write(lambda conn: inbox.done(conn, [1, 2]))
    assert (await end(store, begun, GONE)).closed == (), "it was worked off meanwhile"
    assert (await round_(store, GONE)).closed == (alert.fingerprint,)


async def test_an_end_that_comes_during_the_round_is_newer_than_its_alert(store: Store) -> None:
    alert = an_alert()
    begun = await begin(store)
    assert begun is not None
    await store.write(lambda conn: inbox.add(conn, "main", [replace(alert, status=AlertStatus.RESOLVED)]))
    await store.write(lambda conn: inbox.done(conn, [1]))
    assert (await end(store, begun, holding(alert))).opened == ()
    assert (await round_(store, holding(alert))).opened == (alert.fingerprint,), "it is still there a minute later"


async def test_what_was_recorded_during_the_round_is_newer(store: Store) -> None:
    alert = an_alert()
    await fires(store, alert)
    await round_(store, GONE)
    begun = await begin(store)
    assert begun is not None

    async def heard(conn: Any) -> None:
        now = await stories.now_of(conn)
        await conn.execute(update(alerts).values(heard_at=now, absent_at=begun.at - 100))

    await store.write(heard)
    assert (await end(store, begun, GONE)).closed == ()


@pytest.mark.parametrize(
    ("source", "more"),
    [
        ("east", {}),
        ("", {}),
        ("main", {"subject": "inbox/7"}),
        ("main", {"test": True}),
        ("main", {"state": StoryState.RESOLVED, "outcome": Outcome.MERGED}),
    ],
)
async def test_what_did_not_come_from_there_is_never_closed(store: Store, source: str, more: dict[str, Any]) -> None:
    await fires(store, an_alert(), source, **more)
    for _ in range(3):
        assert (await round_(store, GONE)).closed == ()


async def test_what_came_without_a_name_is_whose_who_holds_it(store: Store) -> None:
    alert = an_alert()
    await fires(store, alert, "")
    await round_(store, holding(present=[alert]))
    await round_(store, GONE)
    assert (await round_(store, GONE)).closed == (alert.fingerprint,)


async def test_only_the_newest_word_on_an_alert_counts(store: Store) -> None:
    """An older story may hold it as firing for ever: its end was told to a newer one."""
    alert = an_alert()
    await fires(store, alert, story="s1", subject="a")
    await fires(store, replace(alert, status=AlertStatus.RESOLVED), story="s2", subject="b")
    for _ in range(3):
        assert (await round_(store, GONE)).closed == ()


async def test_an_alert_of_a_closed_story_ends_too(store: Store) -> None:
    """Else its next failure with the same start would count as told."""
    alert = an_alert()
    await fires(store, alert, state=StoryState.RESOLVED, outcome=Outcome.FIXED)
    await round_(store, GONE)
    assert (await round_(store, GONE)).closed == (alert.fingerprint,)


async def test_a_first_day_is_short_and_only_where_nobody_was_told_anything(store: Store) -> None:
    begun = await begin(store)
    assert begun is not None
    assert begun.first
    await store.write(lambda conn: rounds.fail(conn, begun, 0.0))
    again = await begin(store)
    assert again is not None
    assert again.first, "nobody answered yet"
    await fires(store, an_alert())
    other = await store.write(lambda conn: rounds.begin(conn, "east", "me", early=True, first_within_s=600.0))
    assert other is not None
    assert not other.first

    async def long_ago(conn: Any) -> None:
        state = dict(await jobs.state_of(conn, "reconcile/main"))
        await jobs.note(conn, "reconcile/main", {**state, "since": state["since"] - 601})

    await store.write(long_ago)
    late = await begin(store)
    assert late is not None
    assert not late.first


async def test_earlier_failures_are_one_list_of_their_own_source(store: Store) -> None:
    old, own, new = an_alert("Old"), an_alert("Own"), an_alert("New")
    found = await round_(store, holding(old, new, earlier=[old], list_=own))
    assert (found.opened, found.listed) == ((new.fingerprint,), 1)
    source = rounds.EARLIER_FROM + "main"
    assert await told(store) == [(source, "Own", "firing"), (source, "Old", "firing"), ("main", "New", "firing")]


async def test_a_list_ends_with_its_last_failure(store: Store) -> None:
    old, own = an_alert("Old"), an_alert("Own")
    await fires(store, own, rounds.EARLIER_FROM + "main")

    async def write(conn: Any) -> None:
        draft = await stories.load_draft(conn, "s1", await stories.now_of(conn))
        assert draft is not None
        draft.alerts[old.fingerprint] = AlertRow(old, EARLIER, 2, "main", draft.now, dirty=True, heard_at=draft.now)
        await stories.save(conn, draft, None, "", "")

    await store.write(write)
    listed = await store.read(lambda conn: rounds.listed(conn, [old.fingerprint, own.fingerprint]))
    assert {key: one.alert.name for key, one in listed.items()} == {old.fingerprint: "Old"}
    await round_(store, holding(old))
    assert await told(store) == []
    await fires(store, old, story="s3")
    await round_(store, holding(old))
    assert await told(store) == [(rounds.EARLIER_FROM + "main", "Own", "resolved")], "it has a story of its own now"


async def test_a_job_that_is_noted_twice_at_once_is_one_row(store: Store) -> None:
    await store.write(lambda conn: jobs.note(conn, "x", {"a": 1}))
    await store.write(lambda conn: jobs.note(conn, "x", {"a": 2}))
    assert await store.read(lambda conn: jobs.state_of(conn, "x")) == {"a": 2}
    rows = await store.read(lambda conn: _names(conn))
    assert rows == ["x"]


async def _names(conn: Any) -> list[str]:
    return list((await conn.execute(select(jobs_table.c.name))).scalars())
