"""What a handover holds, in which order, for whom; and how it is said. UPDATE_GOLDEN=1 rewrites what it looks like."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import update

from receiver.cli import handover as command
from receiver.config.handover import HandoverPost
from receiver.handover import Handover, Some, read
from receiver.handover_words import handover_json, lines_of
from receiver.model import (
    Ack,
    Alert,
    AlertStatus,
    Cause,
    Evidence,
    Impact,
    Outcome,
    StoryAlert,
    StoryState,
    VMCounts,
    VMFailure,
)
from receiver.model.handed import HANDOVER
from receiver.rendering.renderer import StoryRenderer
from receiver.rendering.templates import Templates
from receiver.rendering.text import message_text
from receiver.shifts import alert_of
from receiver.store import presses, shift
from receiver.store.drafts import AlertRow
from receiver.store.engine import NOW, Conn, Store
from receiver.store.own_alerts import SOURCE as OWN
from receiver.store.presses import Silence
from receiver.store.schema import deliveries, destinations, stories
from receiver.store.stories import load_draft, save
from tests.stories import at, story, wanted
from tests.unit.handed import FULL
from tests.unit.store.listed import add

pytestmark = pytest.mark.anyio
GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "handover"
HOUR = 3_600.0


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


def known(impact: Impact, vms: int = 1) -> Evidence:
    failures = tuple(
        VMFailure(f"vm-{number}", f"db-{number}", power_before="On", power_now="off") for number in range(vms)
    )
    cause = Cause("no-space", "the disk is full")
    return Evidence(impact=impact, counts=VMCounts(total=9, failed=vms), failures=failures, cause=cause)


async def of(store: Store, since_s: float = 12 * HOUR, sees: frozenset[tuple[str, str]] | None = None) -> Handover:
    return await store.browse(partial(read, since_s=since_s, sees=sees))


async def taken(conn: Conn, name: str, by: str) -> None:
    draft = await load_draft(conn, name, await shift.now_of(conn))
    assert draft is not None
    draft.ack = Ack(by, "Slack", at(8, 0))
    await save(conn, draft, None, "", "")


async def set_story(conn: Conn, name: str, **values: object) -> None:
    await conn.execute(update(stories).where(stories.c.id == name).values(**values))


async def set_delivery(conn: Conn, story: str, **values: object) -> None:
    await conn.execute(update(deliveries).where(deliveries.c.story == story).values(**values))


# --- open ---


async def test_open_stories_come_worst_first_and_then_the_oldest(store: Store) -> None:
    async def write(conn: Conn) -> None:
        now = await shift.now_of(conn)
        for name, impact, age in (
            ("none", Impact.NONE, 900), ("unknown", Impact.UNKNOWN, 900), ("risk", Impact.AT_RISK, 900),
            ("young", Impact.DOWN, 60), ("old", Impact.DOWN, 600),
        ):  # fmt: skip
            await add(conn, name, opened=now - age, namespace="pay", cluster="east", known=known(impact, 2))
        await add(conn, "over", opened=now - 50, state=StoryState.RESOLVED)
        await add(conn, "test", opened=now - 50, test=True)
        await taken(conn, "old", "Ana")

    await store.write(write)
    found = await of(store)
    assert [one.id for one in found.open.items] == ["old", "young", "risk", "unknown", "none"]
    assert (found.number, found.down, found.vms_down, found.free) == (5, 2, 4, 4)
    assert [one.taken_by for one in found.open.items] == ["Ana", "", "", "", ""]
    first = found.open.items[0]
    assert (first.namespace, first.cluster, first.failed, first.total) == ("pay", "east", 2, 9)
    assert first.cause == "the disk is full"
    assert found.summary == "5 stories open, 4 VMs down in 2, nobody has 4"


async def test_who_may_not_see_a_namespace_hears_nothing_of_it(store: Store) -> None:
    async def write(conn: Conn) -> None:
        for name, namespace in (("mine", "pay"), ("other", "shop")):
            await add(conn, name, namespace=namespace, cluster="east", known=known(Impact.DOWN), receivers=("all",))
            await set_delivery(conn, name, state="dead", error=f"refused {name}")
            await presses.record(conn, name, "acknowledge", "Ana", "Slack", done=True, text=f"{name} taken")
            now = await shift.now_of(conn)
            await presses.add_silences(conn, [Silence(name, "main", name, now + HOUR, "Ana", warned=False)])
            over = f"{name}-over"
            await add(conn, over, namespace=namespace, cluster="east", state=StoryState.RESOLVED)
            await set_story(conn, over, closed=NOW, outcome="fixed")
        await conn.execute(destinations.insert().values(identity="slack:x", parked=True, reason="gone", since=1.0))

    await store.write(write)
    everything = await of(store)
    assert everything.number == everything.dead.total == everything.done.total == everything.ending.total == 2
    assert (everything.ended.total, everything.waiting.total) == (2, 1)
    mine = await of(store, sees=frozenset({("east", "pay")}))
    assert mine.number == mine.down == mine.vms_down == mine.free == 1
    assert mine.outcomes == {"fixed": 1}
    assert "other" not in json.dumps(handover_json(mine))
    assert mine.waiting.total == 0
    assert (await of(store, sees=frozenset())).summary == "Nothing is open, and everything was told"


async def test_silences_are_shown_and_told_of_that_end_within_the_next_shift(store: Store) -> None:
    async def write(conn: Conn) -> None:
        now = await shift.now_of(conn)
        for name, hours in (("soon", 2), ("late", 30), ("gone", -1)):
            await add(conn, name)
            await presses.add_silences(conn, [Silence(name, "main", name, now + hours * HOUR, "Ana", warned=True)])
        # What is silenced a second time ends with the later one, wherever that is.
        await presses.add_silences(conn, [Silence("more", "west", "soon", now + 3 * HOUR, "Bo", warned=False)])

    await store.write(write)
    found = await of(store)
    (ending,) = found.ending.items
    assert (ending.story, ending.by) == ("soon", "Bo")
    assert {one.id: one.silenced_by for one in found.open.items} == {"soon": "Bo", "late": "Ana", "gone": ""}


async def test_stuck_is_what_only_says_that_something_stands_still(store: Store) -> None:
    async def write(conn: Conn) -> None:
        for name, names in (
            ("stuck", ["MTVPlanStuck"]), ("both", ["MTVPlanNotReady", "MTVPlanCapacityShort"]),
            ("failed-too", ["MTVPlanStuck", "MTVPlanFailed"]), ("failed", ["MTVVMFailed"]),
        ):  # fmt: skip
            await add(conn, name, labels={"alertname": names[0]}, known=known(Impact.NONE))
            draft = await load_draft(conn, name, await shift.now_of(conn))
            assert draft is not None
            for number, label in enumerate(names):
                one = Alert(
                    f"f-{name}" if not number else f"{name}-{number}",
                    AlertStatus.FIRING,
                    {"alertname": label},
                    {},
                    at(8, 0),
                )
                draft.alerts[one.fingerprint] = AlertRow(one, "failure", 1, OWN, draft.now, dirty=True)
            await save(conn, draft, None, "", "")

    await store.write(write)
    found = await of(store)
    assert {one.id for one in found.stuck.items} == {"stuck", "both"}
    assert {one.id for one in found.open.items} == {"failed-too", "failed"}
    assert found.number == 4


async def test_a_storm_is_one_line_whoever_is_told_of_it(store: Store) -> None:
    async def write(conn: Conn) -> None:
        for name in ("a", "b", "alone"):
            await add(conn, name, receivers=("one", "two"))
        for digest in ("storm-1", "storm-2"):
            await add(conn, digest, kind="digest", title="2 failures at once")
        for receiver, digest in (("one", "storm-1"), ("two", "storm-2")):
            told = deliveries.c.story.in_(["a", "b"]), deliveries.c.receiver == receiver
            await conn.execute(update(deliveries).where(*told).values(digest=digest, state="digest"))

    await store.write(write)
    found = await of(store)
    assert [(one.title, one.members) for one in found.storms] == [("2 failures at once", 2)]
    assert [one.id for one in found.open.items] == ["alone"]
    assert found.number == 3
    assert found.summary == "3 stories open, nobody has any of them"


async def test_lists_are_bounded_and_counted_beyond(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift._found, "__defaults__", (2,))
    monkeypatch.setattr(shift, "MOST", 2)

    async def write(conn: Conn) -> None:
        for number in range(5):
            await add(conn, f"s{number}")
            await presses.record(conn, f"s{number}", "acknowledge", "Ana", "Slack", done=True, text="taken")
            await add(conn, f"over{number}", state=StoryState.RESOLVED)
            await set_story(conn, f"over{number}", closed=NOW, outcome="fixed")

    await store.write(write)
    found = await of(store)
    for part in (found.open, found.done, found.ended):
        assert (len(part.items), part.total, part.more) == (2, 5, 3)
    assert found.outcomes == {"fixed": 5}


# --- not told ---


async def test_dead_letters_parked_and_late_destinations(store: Store) -> None:
    async def write(conn: Conn) -> None:
        for name in ("dead", "parked", "late", "fresh", "told", "old"):
            await add(conn, name, receivers=(name,))
        await set_delivery(conn, "dead", state="dead", error="invalid_blocks", due=None)
        await set_delivery(conn, "parked", state="parked", waiting_since=NOW - 7200, destination="slack:archived")
        await set_delivery(conn, "late", state="retrying", waiting_since=NOW - 700, error="HTTP 503")
        await set_delivery(conn, "fresh", state="retrying", waiting_since=NOW - 100, error="HTTP 503")
        await set_delivery(conn, "told", state="delivered", due=None, waiting_since=NOW - 9000)
        await set_delivery(conn, "old", state="dead", error="long ago")
        await set_story(conn, "old", state="resolved", closed=NOW - 90_000, updated=NOW - 90_000, outcome="fixed")
        for identity in ("slack:archived", "slack:idle"):
            values = {"identity": identity, "parked": True, "reason": "is_archived", "since": NOW - 3600}
            await conn.execute(destinations.insert().values(**values))

    await store.write(write)
    found = await of(store)
    assert [(one.story, one.why, one.stood_in) for one in found.dead.items] == [("dead", "invalid_blocks", False)]
    waiting = {(one.state, one.to): (one.number, one.why) for one in found.waiting.items}
    assert waiting == {
        ("parked", "parked"): (1, "is_archived"),
        ("parked", "slack:idle"): (0, "is_archived"),
        ("retrying", "late"): (1, "HTTP 503"),
    }
    for one in found.waiting.items:
        if one.state == "parked":
            assert found.now - one.since == pytest.approx(timedelta(hours=1), abs=timedelta(seconds=5))
    assert found.summary.endswith("; 1 dead letter, 2 destinations parked, 1 destination late")


async def test_a_dead_letter_says_whether_somebody_else_was_told(store: Store) -> None:
    async def write(conn: Conn) -> None:
        await add(conn, "s", receivers=("network", "platform"))
        dead = deliveries.c.receiver == "network"
        await conn.execute(update(deliveries).where(dead).values(state="dead", error="no"))
        await conn.execute(update(deliveries).where(~dead).values(fallback_for="network: no", state="delivered"))

    await store.write(write)
    (dead,) = (await of(store)).dead.items
    assert (dead.to, dead.stood_in) == ("network", True)


# --- the time ---


async def test_what_ended_and_what_people_did_in_the_time(store: Store) -> None:
    async def write(conn: Conn) -> None:
        for name, outcome, ago in (
            ("f", "fixed", 100),
            ("c", "cleared", 200),
            ("m", "merged", 100),
            ("o", "fixed", 7200),
        ):
            await add(conn, name, state=StoryState.RESOLVED)
            values = {"outcome": outcome, "closed": NOW - ago, "opened": NOW - ago - 300, "reruns": int(name == "f")}
            await set_story(conn, name, **values)
        await add(conn, "shift", kind=HANDOVER, state=StoryState.RESOLVED)
        await set_story(conn, "shift", outcome="cleared", closed=NOW)
        await presses.record(conn, "f", "silence", "Ana", "Slack", done=True, text="silenced")
        await presses.record(conn, "f", "silence", "Mallory", "Slack", done=False, text="not allowed")

    await store.write(write)
    found = await of(store, HOUR)
    assert [(one.id, one.outcome, one.rerun) for one in found.ended.items] == [
        ("f", "fixed", True),
        ("c", "cleared", False),
    ]
    assert found.outcomes == {"fixed": 1, "cleared": 1}
    assert [(one.by, one.action) for one in found.done.items] == [("Ana", "silence")]


# --- words ---


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"number": 0, "dead": Some((), 2)}, "Nothing is open; 2 dead letters"),
        ({"number": 0}, "Nothing is open, and everything was told"),
        ({"number": 1, "down": 1, "vms_down": 2, "free": 1}, "1 story open, 2 VMs down, nobody has it"),
        ({"number": 3, "down": 1, "vms_down": 2, "free": 1}, "3 stories open, 2 VMs down in 1, nobody has 1"),
        ({"number": 2, "free": 2}, "2 stories open, nobody has any of them"),
        (
            {"number": 900, "down": 300, "vms_down": 1200, "vms_at_least": True},
            "900 stories open, at least 1,200 VMs down in 300",
        ),
    ],
)
def test_the_summary(change: dict[str, object], said: str) -> None:
    quiet = replace(FULL, number=0, down=0, free=0, vms_down=0, dead=Some(), waiting=Some(), storms=())
    assert replace(quiet, **change).summary == said  # type: ignore[arg-type]


def compare(name: str, shown: str) -> None:
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("columns", [80, 130])
def test_what_a_terminal_shows(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    command._print(FULL, "https://mtv.example.com/")
    shown = capsys.readouterr().out
    assert shown.splitlines()[0] == f"{FULL.summary}."
    assert max(map(len, shown.splitlines()[1:])) <= columns
    assert "\x1b" not in shown
    compare(f"terminal-{columns}.txt", "".join(f"{line.rstrip()}\n" for line in shown.splitlines()))


def test_what_a_message_says() -> None:
    def broken(what: str) -> None:
        raise AssertionError(what)

    alert = alert_of(FULL, FULL.now, HandoverPost((), "platform"))
    told = story(
        kind=HANDOVER, subject="handover/x", severity="info", title=FULL.summary, opened=FULL.now, closed=FULL.now,
        state=StoryState.RESOLVED, outcome=Outcome.CLEARED, alerts=(StoryAlert(alert, "success", 1),), evidence=None,
        identity=None, told=(), timeline=(), run="",
    )  # fmt: skip
    words = StoryRenderer(Templates(), broken)
    message = words.root(wanted(told, firing=False), "slack")
    assert message.push == FULL.summary
    compare("message.txt", message_text(message) + "\n")
    compare("lines.json", json.dumps([[one.part, one.name, one.text] for one in lines_of(FULL)], indent=1) + "\n")
    minimal = message_text(words.root(wanted(told, firing=False), "slack", "minimal"))
    assert "Shift handover" in minimal
    assert not re.search("pay-w17|Dana|31", minimal)
