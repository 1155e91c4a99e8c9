"""The story list: what each filter lets through, pages, sums, changes, and that it stays light and bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from receiver.model import Ack, Change, Digest, Evidence, Identity, Impact, StoryState
from receiver.routing.matchers import parse_matchers
from receiver.store import columns, digests, filters, overview, reading, stories
from receiver.store.engine import NOW, Conn, Store
from receiver.store.filters import OPEN, Filter, parse
from receiver.store.schema import deliveries as delivery_table
from receiver.store.schema import stories as table
from receiver.store.stories import load_draft
from tests.stories import at
from tests.unit.store.listed import add, evidence, index
from tests.unit.store.test_listing import Counting

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


async def ids(store: Store, wanted: Filter, **more: Any) -> list[str]:
    page = await store.browse(lambda conn: overview.overview(conn, wanted, **more))
    return [row.id for row in page.rows]


async def three(conn: Conn) -> None:
    await add(
        conn, "a", opened=3.0, namespace="pay", cluster="east", known=evidence("no-space"), receivers=("db", "all"),
        labels={"vm": "erp-1", "severity": "critical"}, facts={"plan_provider": "vc1", "vm": "never"},
    )  # fmt: skip
    await add(
        conn, "b", opened=2.0, namespace="shop", cluster="east", known=evidence(impact=Impact.AT_RISK),
        receivers=("all",), facts={"plan_provider": "vc2"}, state=StoryState.RERUNNING, severity="warning",
    )  # fmt: skip
    await add(conn, "c", opened=1.0, namespace="pay", cluster="west", state=StoryState.RESOLVED, receivers=("db",))


CASES: list[tuple[list[tuple[str, str]], list[str]]] = [
    ([], ["a", "b", "c"]),
    ([("state", "firing")], ["a"]),
    ([("state", "firing"), ("state", "re-running")], ["a", "b"]),
    ([("state", "resolved")], ["c"]),
    ([("state", ""), ("namespace", " "), ("limit", "7"), ("cursor", "x")], ["a", "b", "c"]),
    ([("impact", "down")], ["a"]),
    ([("impact", "unknown"), ("impact", "at_risk")], ["b", "c"]),
    ([("namespace", "pay")], ["a", "c"]),
    ([("namespace", "pay"), ("cluster", "west")], ["c"]),
    ([("namespace", "pay"), ("namespace", "shop"), ("state", "firing")], ["a"]),
    ([("cause", "no-space")], ["a"]),
    ([("severity", "warning")], ["b"]),
    ([("receiver", "db")], ["a", "c"]),
    ([("receiver", "nobody"), ("receiver", "all")], ["a", "b"]),
    ([("q", "erp")], []),
    ([("q", "no-space")], ["a"]),
    ([("q", "conversion"), ("namespace", "shop")], ["b"]),
    ([("matcher", 'plan_provider="vc1"')], ["a"]),
    ([("matcher", '{namespace=~"pa.*", plan_provider="vc1"}')], ["a"]),
    ([("matcher", 'namespace="openshift-mtv"')], ["a", "b", "c"]),
    ([("matcher", 'namespace!="pay"')], ["b"]),
    ([("matcher", 'vm="erp-1"')], ["a"]),
    ([("matcher", 'vm="never"')], []),
    ([("matcher", 'vm=""')], ["b", "c"]),
    ([("matcher", "state=~resolved|firing")], ["a", "c"]),
    ([("matcher", "impact!=down"), ("matcher", "cluster=east")], ["b"]),
    ([("matcher", 'cause=""')], ["b", "c"]),
    ([("matcher", "severity=warning")], ["b"]),
    ([("matcher", "receiver=db")], ["a", "c"]),
    ([("matcher", "receiver!=db")], ["b"]),
    ([("matcher", "{}")], ["a", "b", "c"]),
    ([("matcher", "alertname=MigrationFailed"), ("state", "resolved")], ["c"]),
]


@pytest.mark.parametrize(("query", "wanted"), CASES, ids=[str(query) for query, _ in CASES])
async def test_every_field_must_hold_by_any_of_its_values(
    store: Store, query: list[tuple[str, str]], wanted: list[str]
) -> None:
    await store.write(three)
    await index(store)
    assert await ids(store, parse(query)) == wanted
    told, following = await store.browse(lambda conn: overview.ids(conn, parse(query), None, 50))
    assert (told, following) == (wanted, None)
    counted = await store.browse(lambda conn: overview.counts(conn, parse(query)))
    states = [value for name, value in query if name == "state" and value]
    assert counted.counted == len([one for one in wanted if one != "c"]) or states == ["resolved"]


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        (("state", "open"), "state must be one of firing, re-running, resolved"),
        (("impact", "high"), "impact must be one of down, at_risk, none, unknown"),
        (("matcher", "{a"), "matcher: "),
        (("matcher", "a=~("), "matcher: not a regular expression"),
        (("matcher", "a" * 5_000), "longer than 2000 characters"),
        (("matcher", ",".join(["a=b"] * 30)), "more than 20 matchers"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line_with_its_cure(pair: tuple[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")) as error:
        parse([pair])
    assert "\n" not in str(error.value)


def test_too_many_values_are_refused_and_odd_text_is_cleaned() -> None:
    with pytest.raises(ValueError, match="more than 100 namespaces"):
        parse([("namespace", f"n{number}") for number in range(101)])
    assert parse([("namespace", "p\x00ay"), ("namespace", "pay"), ("q", "a"), ("q", "b")]) == Filter(
        namespaces=("pay",), text="a b"
    )
    assert parse([("matcher", 'a="b",c!="d"')]).matchers == parse_matchers('a="b",c!="d"')
    assert parse([("sees", "x")], sees=frozenset({("c", "n")})).sees == frozenset({("c", "n")})


@pytest.mark.parametrize(
    ("sees", "wanted"),
    [
        (None, ["a", "b", "c"]),
        ([], []),
        ([("east", "pay")], ["a"]),
        ([("east", "pay"), ("west", "pay"), ("west", "shop")], ["a", "c"]),
        ([("", "")], []),
        ([("west", "shop")], []),
    ],
)
async def test_nobody_is_shown_what_they_may_not_see(
    store: Store, sees: list[tuple[str, str]] | None, wanted: list[str]
) -> None:
    await store.write(three)
    await index(store)
    may = None if sees is None else frozenset(sees)
    for one in (Filter(), Filter(text="migrationfailed"), parse([("matcher", 'alertname!=""')])):
        assert await ids(store, replace(one, sees=may)) == wanted
        counted = await store.browse(lambda conn, one=one: overview.counts(conn, replace(one, sees=may)))
        assert counted.counted == len(set(wanted) - {"c"})
    changed = await store.browse(lambda conn: overview.changed_since(conn, 0.0, sees=may))
    assert sorted(row.id for row in changed) == wanted


async def test_a_row_shows_what_the_story_says(store: Store) -> None:
    await store.write(three)

    async def take(conn: Conn) -> None:
        draft = await load_draft(conn, "a", await stories.now_of(conn))
        assert draft is not None
        draft.ack = Ack("ana", "Slack", at(9, 0))
        await stories.save(conn, draft, Change.ACKNOWLEDGED, "x", "")
        await conn.execute(update(delivery_table).where(delivery_table.c.id == "a-db").values(moved="#other"))

    await store.write(take)

    async def read(conn: Conn) -> tuple[overview.Overview, dict[str, reading.Whole]]:
        return await overview.overview(conn, Filter()), await reading.wholes(conn, "abc")

    page, wholes = await store.browse(read)
    assert page.next is None
    assert page.scanned_all
    for row in page.rows:
        story = wholes[row.id].story
        assert (row.title, row.kind, row.state, row.severity, row.subject, row.revision) == (
            story.title, story.kind, story.state, story.severity, story.subject, story.revision
        )  # fmt: skip
        assert row.impact == story.impact.value
        assert row.receivers == tuple(dict.fromkeys(one.receiver for one in story.told))
        assert row.ack_by == (story.ack.by if story.ack else "")
        assert story.identity is not None
        assert (row.cluster, row.namespace) == story.identity.owner
    first = page.rows[0]
    assert (first.failed, first.total, first.cause, first.cause_text) == (2, 5, "no-space", "no-space is known")
    assert (first.ack_by, first.receivers) == ("ana", ("all",))


def test_evidence_of_another_run_counts_as_none() -> None:
    identity = Identity("s", "plan", namespace="n", target_namespace="t")
    assert columns.of(identity, None, "") == {
        "namespace": "t", "cluster": "", "cause": "", "cause_text": "", "impact": "unknown", "failed": 0, "total": 0
    }  # fmt: skip
    known = evidence("no-space", run="r1")
    for run, impact in (("", "down"), ("r1", "down"), ("r2", "unknown")):
        assert columns.of(None, known, run)["impact"] == impact
    assert columns.of(None, replace(known, run=""), "r2")["impact"] == "down"
    assert columns.of(None, Evidence(), "")["impact"] == "unknown"


@pytest.mark.parametrize("query", [[], [("matcher", 'alertname!=""')], [("q", "migrationfailed")]])
async def test_pages_follow_on_each_other_even_among_stories_of_one_moment(
    store: Store, query: list[tuple[str, str]]
) -> None:
    async def fill(conn: Conn) -> None:
        for number in range(7):
            await add(conn, f"s{number}", opened=1_000.1 + number // 3)

    await store.write(fill)
    await index(store)

    async def read(conn: Conn) -> list[str]:
        seen: list[str] = []
        before = None
        for _ in range(9):
            page = await overview.overview(conn, parse(query), before, 2)
            seen += [row.id for row in page.rows]
            assert page.scanned_all
            if (before := page.next) is None:
                return seen
        raise AssertionError("it never ends")

    assert await store.browse(read) == [f"s{number}" for number in reversed(range(7))]


async def test_matchers_are_judged_on_so_many_stories_and_the_next_page_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview, "MOST_JUDGED", 6)
    monkeypatch.setattr(overview, "JUDGED_AT_ONCE", 4)

    async def fill(conn: Conn) -> None:
        for number in range(15):
            await add(conn, f"s{number:02}", opened=float(number), labels={"vm": "x" if number in (1, 2) else "y"})

    await store.write(fill)
    wanted = parse([("matcher", "vm=x")])

    async def read(conn: Conn) -> list[tuple[list[str], bool]]:
        pages: list[tuple[list[str], bool]] = []
        before = None
        while not pages or before is not None:
            page = await overview.overview(conn, wanted, before, 50)
            pages.append(([row.id for row in page.rows], page.scanned_all))
            before = page.next
        return pages

    assert await store.browse(read) == [([], False), ([], False), (["s02", "s01"], True)]
    counted = await store.browse(lambda conn: overview.counts(conn, wanted))
    assert (counted.counted, counted.capped) == (0, True)


async def test_sums_are_of_open_failures_and_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await store.write(three)
    await store.write(lambda conn: add(conn, "storm", kind=digests.KIND))
    counted = await store.browse(lambda conn: overview.counts(conn, Filter()))
    assert counted == overview.Counts(
        {"firing": 1, "re-running": 1}, {"no-space": 1, "": 1}, {"pay": 1, "shop": 1},
        {"down": 1, "at_risk": 1}, counted=2, capped=False,
    )  # fmt: skip
    monkeypatch.setattr(overview, "MOST_COUNTED", 1)
    counted = await store.browse(lambda conn: overview.counts(conn, Filter(states=OPEN)))
    assert (counted.counted, counted.capped, dict(counted.by_namespace)) == (1, True, {"pay": 1})


async def test_a_storm_is_a_line_as_long_as_it_goes_on_with_its_members(store: Store) -> None:
    await store.write(three)

    async def storm(conn: Conn) -> None:
        await add(conn, "storm", opened=9.0, kind=digests.KIND, receivers=("all",))
        await digests.add(conn, "storm", "slack:x #all", "", Digest())
        await digests.join(conn, "storm", ["a-all", "b-all"])

    await store.write(storm)
    assert await ids(store, Filter()) == ["storm", "a", "b", "c"]
    assert await ids(store, Filter(receivers=("all",))) == ["storm", "a", "b"]
    told, _ = await store.browse(lambda conn: overview.ids(conn, Filter(), None, 9))
    assert told == ["a", "b", "c"]
    members = await store.browse(lambda conn: overview.members(conn, "storm"))
    assert [row.id for row in members] == ["a", "b"]
    assert [row.id for row in await store.browse(lambda conn: overview.members(conn, "storm", 1))] == ["a"]
    few = await store.browse(lambda conn: overview.members(conn, "storm", sees=frozenset({("east", "shop")})))
    assert [row.id for row in few] == ["b"]
    assert await store.browse(lambda conn: overview.members(conn, "")) == ()
    over = {"state": "resolved", "closed": NOW}
    await store.write(lambda conn: conn.execute(update(table).where(table.c.id == "storm").values(**over)))
    assert await ids(store, Filter()) == ["a", "b", "c"]


async def test_what_changed_comes_in_the_order_of_its_change(store: Store) -> None:
    await store.write(three)
    times = {"a": 10.0, "b": 20.0, "c": 20.0}
    for name, when in times.items():
        await store.write(
            partial(_change, name=name, when=when),
        )

    async def since(at: float, **more: Any) -> list[str]:
        return [row.id for row in await store.browse(lambda conn: overview.changed_since(conn, at, **more))]

    assert await since(0.0) == ["a", "b", "c"]
    assert await since(20.0) == ["b", "c"]
    assert await since(20.0, after="b") == ["c"]
    assert await since(10.0, limit=2) == ["a", "b"]
    assert await since(20.1) == []


async def _change(conn: Conn, name: str, when: float) -> None:
    await conn.execute(update(table).where(table.c.id == name).values(updated=when))


async def test_a_larger_page_costs_no_more_queries_and_reads_no_evidence(store: Store) -> None:
    async def fill(conn: Conn) -> None:
        for number in range(40):
            await add(conn, f"s{number:02}", namespace="pay", known=evidence("x"), receivers=("r",))

    await store.write(fill)
    for query, most in ([], 2), ([("namespace", "pay"), ("state", "firing"), ("receiver", "r")], 2):
        for limit in (1, 40):

            async def cost(conn: Conn, query: Any = query, limit: int = limit) -> int:
                counting = Counting(conn)
                assert len((await overview.overview(counting, parse(query), None, limit)).rows) == limit
                return counting.asked

            assert await store.browse(cost) == most
    asked = str(select(*overview._LIGHT).where(*filters.conditions(Filter(states=OPEN))))
    assert "evidence" not in asked
    assert "identity" not in asked
