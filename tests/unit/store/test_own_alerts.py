"""Our own alerts as the store holds them: what a restart goes on with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from receiver.config.model import OWN_ALERTS, ClusterConfig
from receiver.kube import PlanRow
from receiver.model import Alert, AlertStatus, Impact
from receiver.store import inbox, own_alerts
from receiver.store.engine import Store
from receiver.watch_rules import Failing, Standing, judge

pytestmark = pytest.mark.anyio

AT = datetime(2026, 9, 14, 8, 30, tzinfo=UTC)
ROW = PlanRow("uid-1", "mig", "wave-1", {}, {}, True, True, False, False, None, "7")


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


def raised() -> Alert:
    failing = Failing("run-1", 1, 2, ("erp-win01",), "ImageConversion", Impact.DOWN)
    (alert,) = judge(Standing((), ROW, failing, read=True), ClusterConfig("local"), AT, OWN_ALERTS)
    return alert


async def test_an_alert_that_waits_in_the_inbox_when_the_process_dies_is_known_to_the_next_one(store: Store) -> None:
    """Else nobody would ever resolve it."""
    alert = raised()
    await store.write(lambda conn: own_alerts.say(conn, [alert]))
    assert await store.browse(own_alerts.firing) == (alert,)
    await store.write(lambda conn: inbox.add(conn, "somebody else", [replace(alert, fingerprint="f")]))
    assert await store.browse(own_alerts.firing) == (alert,)


async def test_the_newest_word_counts(store: Store) -> None:
    alert = raised()
    await store.write(lambda conn: own_alerts.say(conn, [alert]))
    await store.write(lambda conn: own_alerts.say(conn, [replace(alert, status=AlertStatus.RESOLVED, ends_at=AT)]))
    assert await store.browse(own_alerts.firing) == ()


async def test_a_new_store_was_never_told_anything(store: Store) -> None:
    assert not await store.browse(own_alerts.ever_told)
