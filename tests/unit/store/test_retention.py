"""What is forgotten and what never is: by age, by size, a few rows at a time, once for all replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from receiver.clock import SystemClock
from receiver.config.load import load
from receiver.config.model import Config
from receiver.config.storage import Kept, Storage
from receiver.destinations.registry import ALL
from receiver.metrics import PRUNED, Metrics
from receiver.model import Alert, AlertStatus
from receiver.retention import Retention, reopened_within_s
from receiver.store import inbox, retention, sizes
from receiver.store.engine import NOW, Conn, Store
from receiver.store.schema import alerts, attempts, audit, deliveries, entries, metadata, presses, revisions, stories
from receiver.store.schema import inbox as inbox_table
from tests.stories import at
from tests.unit.store.kept import DAY, add_closed, add_story, change, close, column

pytestmark = pytest.mark.anyio

ROUTES = """
clusters: []
receivers:
  - name: platform
    slack_configs: [{channel: '#here', app_token_env: SLACK}]
route: {receiver: platform}
"""
TICKETS = """
    jira_configs:
      - {api_url: 'https://jira.example.com/rest/api/2', project: MIG, issue_type: Bug, reopen_duration: 12d}
"""
MUCH, PAGE = 20_000, 4_096


class AtOnce(SystemClock):
    """Nobody waits."""

    async def sleep(self, seconds: float) -> None:
        return None


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return load(tmp_path / "routes.yaml", ALL)


async def look(store: Store, config: Config, storage: Storage, owner: str = "me") -> dict[str, int]:
    """Do all that there is to do; return how much of each kind was forgotten, and was the metric's word for it."""
    metrics = Metrics(["slack"])
    await Retention(store, replace(config, storage=storage), AtOnce(), metrics, owner=owner).look()
    seen = {kind: metrics.registry.get_sample_value("mtv_receiver_pruned_total", {"kind": kind}) for kind in PRUNED}
    return {kind: int(count) for kind, count in seen.items() if count}


async def add_inbox(store: Store, *rows: tuple[int, str, float]) -> None:
    async def write(conn: Conn) -> None:
        for seq, state, age in rows:
            done_at = None if state == "new" else NOW - age
            values = {"seq": seq, "received_at": NOW - age, "payload": "{}", "state": state, "done_at": done_at}
            await conn.execute(insert(inbox_table).values(**values))

    await store.write(write)


async def with_evidence(store: Store) -> list[str]:
    return await column(store, stories.c.id, stories.c.evidence.is_not(None))


# --- by age ---


async def test_what_was_worked_off_a_day_ago_is_forgotten(store: Store, config: Config) -> None:
    await add_inbox(store, (1, "done", 90_000), (2, "poison", 90_000), (3, "done", 80_000), (4, "new", 90_000))
    assert await look(store, config, Storage()) == {"inbox": 2}
    assert await column(store, inbox_table.c.seq) == [3, 4]


async def test_what_overtook_an_entry_that_still_waits_is_kept(store: Store, config: Config) -> None:
    await add_inbox(store, (1, "done", 90_000), (2, "new", 95_000), (3, "done", 90_000))
    assert await look(store, config, Storage()) == {"inbox": 1}
    assert await column(store, inbox_table.c.seq) == [2, 3]


async def test_a_story_goes_with_all_that_hangs_on_it_and_an_open_one_stays(store: Store, config: Config) -> None:
    await store.write(lambda conn: add_closed(conn, "old", 31 * DAY))
    await store.write(lambda conn: add_closed(conn, "new", 29 * DAY))
    await store.write(lambda conn: add_story(conn, "open"))
    await change(store, stories, {"opened": NOW - 300 * DAY, "closed": NOW - 200 * DAY}, stories.c.id == "open")
    assert await look(store, config, Storage()) == {"stories": 1}
    for child in (alerts.c.story, revisions.c.story, deliveries.c.story):
        assert await column(store, child) == ["new", "open"]
    for child in (attempts.c.delivery, entries.c.delivery):
        assert await column(store, child) == ["d-new", "d-open"]


async def test_a_story_that_may_be_reopened_is_kept_whatever_the_retention(store: Store, tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES.replace("route:", TICKETS.lstrip("\n") + "route:"))
    config = load(tmp_path / "routes.yaml", ALL)
    assert reopened_within_s(config) == 12 * DAY
    await store.write(lambda conn: add_closed(conn, "may-come-back", 11 * DAY))
    await store.write(lambda conn: add_closed(conn, "over", 13 * DAY))
    assert await look(store, config, Storage(retention_s=DAY)) == {"stories": 1}
    assert await column(store, stories.c.id) == ["may-come-back"]
    assert await column(store, deliveries.c.root) == ['{"id":"7"}']


async def test_a_story_whose_alert_alertmanager_still_holds_is_kept(store: Store, config: Config) -> None:
    for name in ("held", "lost"):
        await store.write(partial(add_closed, name=name, ago_s=40 * DAY))
    await change(store, alerts, {"status": "firing", "heard_at": NOW - 60}, alerts.c.story == "held")
    await change(store, alerts, {"status": "firing", "heard_at": NOW - 39 * DAY}, alerts.c.story == "lost")
    await look(store, config, Storage())
    assert await column(store, stories.c.id) == ["held"], "the other one was not heard of for too long"


async def test_evidence_presses_and_audit_have_their_own_ages(store: Store, config: Config) -> None:
    async def write(conn: Conn) -> None:
        await add_closed(conn, "older", 15 * DAY, MUCH)
        await add_closed(conn, "newer", 13 * DAY, MUCH)
        for age in (29 * DAY, 31 * DAY):
            said: dict[str, Any] = {"story": "s", "action": "silence", "by": "ana", "via": "slack", "done": True}
            await conn.execute(insert(presses).values(at=NOW - age, text="ok", **said))
        for age in (89 * DAY, 91 * DAY):
            await conn.execute(insert(audit).values(at=NOW - age, kind="story", text="{}"))

    await store.write(write)
    kept = Storage(evidence=Kept(14 * DAY), audit=Kept(90 * DAY))
    assert await look(store, config, kept) == {"evidence": 1, "presses": 1, "audit": 1}
    assert await with_evidence(store) == ["newer"]
    assert await column(store, stories.c.id) == ["newer", "older"]
    assert len(await column(store, audit.c.id, audit.c.at < NOW - 80 * DAY)) == 1


async def test_a_step_is_small_and_the_next_ones_follow(store: Store, config: Config) -> None:
    count = 2 * retention.STORIES_AT_ONCE + 5
    for number in range(count):
        await store.write(partial(add_closed, name=f"s{number:02}", ago_s=40 * DAY + number))
    first = await store.write(lambda conn: retention.stories_older(conn, 30 * DAY, DAY))
    assert first.rows == retention.STORIES_AT_ONCE
    left = await column(store, stories.c.id)
    assert left == [f"s{number:02}" for number in range(count - retention.STORIES_AT_ONCE)], "the oldest went first"
    assert await look(store, config, Storage()) == {"stories": len(left)}


# --- by size ---


async def filled(store: Store) -> int:
    """Fill a store with ten closed stories, s0 the newest, one that waits, one open; return what is in use."""
    for number in range(10):
        await store.write(partial(add_closed, name=f"s{number}", ago_s=(2 + number) * DAY, evidence_bytes=MUCH))
    await store.write(lambda conn: add_closed(conn, "waits", 20 * DAY, MUCH))
    await change(store, deliveries, {"due": NOW, "state": "retrying"}, deliveries.c.story == "waits")
    await store.write(lambda conn: add_story(conn, "open"))
    return await store.browse(sizes.in_use)


async def test_over_the_limit_evidence_of_the_oldest_closed_stories_goes_and_no_more_than_needed(
    store: Store, config: Config
) -> None:
    used = await filled(store)
    limit = int((used - 1.5 * MUCH) / 0.95)  # room for all but the evidence of two
    assert await look(store, config, Storage(max_bytes=limit - MUCH)) == {"evidence": 3}
    assert await with_evidence(store) == [*(f"s{number}" for number in range(7)), "waits"]
    assert len(await column(store, stories.c.id)) == 12
    assert await look(store, config, Storage(max_bytes=limit - MUCH)) == {}, "there is room now"


async def test_where_that_is_not_enough_the_oldest_closed_stories_go_and_what_is_open_or_waits_never_does(
    store: Store, config: Config
) -> None:
    await filled(store)
    await store.write(lambda conn: add_closed(conn, "lately", 0.5 * DAY, MUCH))
    await add_inbox(store, (1, "done", 4_000), (2, "done", 3_000), (3, "new", 5_000))
    assert await look(store, config, Storage(max_bytes=1)) == {"evidence": 11, "stories": 10, "inbox": 1}
    assert await column(store, stories.c.id) == ["lately", "open", "waits"]
    assert await with_evidence(store) == ["waits"]
    assert await column(store, inbox_table.c.seq) == [2, 3]
    alert = Alert("f" * 16, AlertStatus.FIRING, {"alertname": "A"}, {}, at(8, 0))
    await store.write(lambda conn: inbox.add(conn, "main", [alert]))  # what comes is taken all the same
    assert len(await column(store, inbox_table.c.seq)) == 3


async def test_evidence_and_audit_have_limits_of_their_own(store: Store, config: Config) -> None:
    await filled(store)
    before = await column(store, audit.c.id)

    async def write(conn: Conn) -> None:
        rows = [{"kind": "story", "at": 0.0, "text": "x" * 400} for _ in range(3 * retention.ROWS_AT_ONCE)]
        await conn.execute(insert(audit), rows)
        await conn.execute(audit.update().values(at=NOW))

    await store.write(write)
    evidence, stream = await store.browse(sizes.evidence), await store.browse(sizes.of_audit)
    kept = Storage(evidence=Kept(max_bytes=evidence - MUCH), audit=Kept(max_bytes=stream // 2))
    gone = await look(store, config, kept)
    assert gone.keys() == {"evidence", "audit"}
    assert await store.browse(sizes.evidence) <= evidence - MUCH
    assert 0.3 * stream < await store.browse(sizes.of_audit) <= 0.5 * stream
    assert not set(before) & set(await column(store, audit.c.id)), "the oldest went first"
    assert "s0" in await with_evidence(store)


async def test_sizes_grow_with_what_is_stored_and_what_is_deleted_counts_no_more(store: Store) -> None:
    before = await store.browse(sizes.in_use)
    await filled(store)
    full, file = await store.browse(sizes.in_use), await store.browse(sizes.allocated)
    assert full - before >= 11 * (MUCH - PAGE)
    assert file >= full
    for number in range(10):
        await store.write(partial(close, name=f"s{number}", ago_s=DAY))
    assert await store.browse(sizes.in_use) <= full - 10 * (MUCH - PAGE)
    assert await store.browse(sizes.allocated) >= file, "it is used again, not given back"


def test_every_table_is_measured_or_forgotten() -> None:
    """A new table: say in `receiver.store.retention` how it stays small, then add it here."""
    with_stories = {
        "stories",
        "revisions",
        "alerts",
        "deliveries",
        "delivery_alerts",
        "entries",
        "attempts",
        "silences",
        "search",
    }
    a_row_each = {"destinations", "jobs", "pulse"}  # of a configuration: they do not grow
    assert set(metadata.tables) == with_stories | a_row_each | {"digests", "inbox", "presses", "snapshots", "audit"}


# --- replicas ---


async def test_two_replicas_share_one_turn(store: Store, config: Config) -> None:
    if not store.shared:
        pytest.skip("one process a file")
    assert await look(store, config, Storage(), owner="first") == {}
    await store.write(lambda conn: add_closed(conn, "old", 40 * DAY))
    assert await look(store, config, Storage(), owner="second") == {}
    assert await look(store, config, Storage(), owner="first") == {"stories": 1}
