"""When silence is told, when it ends, and when the outside is called: pure rules."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from receiver.config.model import Heartbeat
from receiver.heartbeat import NO_HEARTBEAT, NO_WEBHOOK, all_is_well, judge, late_after_s
from receiver.model import Alert, AlertStatus
from receiver.store import heartbeats, inbox, jobs
from receiver.store.engine import Store
from receiver.store.heartbeats import Standing

pytestmark = pytest.mark.anyio

EACH = Heartbeat((), interval_s=300.0)
NOW = Standing(now=10_000.0, since=0.0, heard=9_990.0, webhook=9_990.0, oldest=None, firing={})


def said(config: Heartbeat, now: Standing) -> list[tuple[str, str]]:
    return [(one.name, one.status.value) for one in judge(config, now)]


def fired(name: str) -> dict[str, Alert]:
    (alert,) = judge(replace(EACH, webhook_silence_s=None), replace(NOW, heard=None))
    return {name: replace(alert, labels={"alertname": name})}


@pytest.mark.parametrize(("interval", "late"), [(300, 390), (60, 90), (2, 3), (3600, 3690)])
def test_a_heartbeat_may_be_late_by_half_of_its_interval_and_by_90_seconds_at_most(
    interval: float, late: float
) -> None:
    assert late_after_s(Heartbeat((), interval_s=interval)) == late


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"heard": 10_000 - 389.0}, []),
        ({"heard": 10_000 - 391.0}, [(NO_HEARTBEAT, "firing")]),
        ({"heard": None}, [(NO_HEARTBEAT, "firing")]),
        ({"heard": None, "oldest": 9_999.0}, []),  # what waits in the inbox may be the heartbeat
        ({"heard": None, "since": 9_900.0}, []),
        ({"heard": 1.0, "since": 9_900.0}, []),  # nobody was listening until a moment ago
        ({"heard": 1.0, "firing": fired(NO_HEARTBEAT)}, []),
        ({"firing": fired(NO_HEARTBEAT)}, [(NO_HEARTBEAT, "resolved")]),
        ({"heard": 1.0, "since": 9_900.0, "firing": fired(NO_HEARTBEAT)}, []),  # a restart is no heartbeat
        ({"webhook": 1.0}, []),
    ],
)
def test_the_heartbeat(change: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    assert said(EACH, replace(NOW, **change)) == expected


def test_no_webhook_at_all_counts_only_where_it_is_asked_for() -> None:
    asked = replace(EACH, webhook_silence_s=86_400.0)
    late = replace(NOW, now=100_000.0, heard=99_999.0, webhook=1.0)
    assert said(asked, late) == [(NO_WEBHOOK, "firing")]
    assert said(EACH, late) == []
    assert said(EACH, replace(late, firing=fired(NO_WEBHOOK))) == [(NO_WEBHOOK, "resolved")]


@pytest.mark.parametrize(
    ("change", "well"),
    [
        ({}, True),
        ({"heard": None}, False),
        ({"heard": 9_000.0}, False),
        ({"oldest": 9_990.0}, True),
        ({"oldest": 10_000 - 121.0}, False),
    ],
)
def test_when_all_is_well(change: dict[str, Any], well: bool) -> None:
    assert all_is_well(EACH, replace(NOW, **change)) is well


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


async def judging(store: Store, owner: str = "me", every_s: float = 0.0, deaf_s: float = 60.0) -> Standing | None:
    return await store.write(lambda conn: heartbeats.judging(conn, owner, every_s, deaf_s))


async def test_who_was_deaf_begins_anew(store: Store) -> None:
    first = await judging(store)
    assert first is not None
    second = await judging(store)
    assert second is not None
    assert second.since == first.since
    third = await judging(store, deaf_s=-1.0)
    assert third is not None
    assert third.since > first.since


async def test_one_replica_judges_and_one_calls(store: Store) -> None:
    assert await judging(store, every_s=60.0) is not None
    assert await judging(store, "you", every_s=60.0) is None
    job = await store.write(lambda conn: heartbeats.ping_due(conn, "me"))
    assert job is not None
    assert await store.write(lambda conn: heartbeats.ping_due(conn, "you")) is None
    await store.write(lambda conn: heartbeats.pinged(conn, job, 60.0, {}))
    assert await store.write(lambda conn: heartbeats.ping_due(conn, "you")) is None


async def test_what_was_heard_never_goes_back(store: Store) -> None:
    for at in (5.0, 9.0, 7.0):
        await store.write(partial(heartbeats.heard, at=at))
    assert await store.read(lambda conn: jobs.state_of(conn, "heartbeat")) == {"at": 9.0}


async def test_an_alert_that_waits_in_the_inbox_fires_already(store: Store) -> None:
    (alert,) = judge(EACH, replace(NOW, heard=None))
    await store.write(lambda conn: heartbeats.say(conn, [alert]))
    now = await judging(store)
    assert now is not None
    assert now.firing == {NO_HEARTBEAT: alert}
    assert now.oldest is not None
    await store.write(lambda conn: heartbeats.say(conn, [replace(alert, status=AlertStatus.RESOLVED)]))
    now = await judging(store)
    assert now is not None
    assert now.firing == {}
    await store.write(lambda conn: inbox.done(conn, [1, 2]))
    now = await judging(store)
    assert now is not None
    assert now.oldest is None
