"""The search: which words are found in which story, for how long, and whatever people type."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import delete, func, text, update

from receiver.config.load import load
from receiver.config.model import Config
from receiver.config.storage import Storage
from receiver.destinations.registry import ALL
from receiver.indexing import STORIES_AT_ONCE, Indexer
from receiver.keeping import KEPT_CHARACTERS
from receiver.metrics import Metrics
from receiver.model import Change, ObjectEvent, StoryState
from receiver.retention import Retention
from receiver.routing.matchers import parse_matchers
from receiver.store import overview, retention, search, sizes, stories
from receiver.store.engine import Conn, Store
from receiver.store.filters import OPEN, Filter
from receiver.store.schema import search as table
from receiver.store.schema import stories as story_table
from receiver.store.search import Made, Raw, terms_of, text_of, words_of
from tests.unit.store.kept import DAY, close, column
from tests.unit.store.listed import AtOnce, add, evidence, index
from tests.unit.store.test_retention import ROUTES

pytestmark = pytest.mark.anyio

LOG = "\n".join(["starting", "nbdkit: error: connection refused by 10.0.0.7", "disk full on /dev/sdb"])


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with Store.open(url) as opened:
        yield opened


async def found(store: Store, words: str) -> list[str]:
    page = await store.browse(lambda conn: overview.overview(conn, Filter(text=words)))
    return sorted(row.id for row in page.rows)


async def two(conn: Conn) -> None:
    known = evidence("no-space", log=LOG, lines=("virt-v2v: cannot find /dev/sdb",), vm="erp-db-01")
    known = replace(known, events=(ObjectEvent("FailedMount", "volume pvc-77 is gone", "Pod", "importer-x"),))
    await add(conn, "one", title="Plan wave-1 failed", namespace="pay-prod", known=known)
    await add(conn, "two", title="Plan wave-2 failed", namespace="shop", labels={"alertname": "Naïve Straße"})


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("wave", ["one", "two"]),
        ("WAVE-1", ["one"]),
        ("wave 2", ["two"]),
        ("pay-pr", ["one"]),
        ("pay prod shop", []),
        ("openshift", ["one", "two"]),
        ("erp-db", ["one"]),
        ("vm-4711", ["one"]),
        ("conversion failed", ["one"]),
        ('"failed conversion"', []),
        ('"conversion failed"', ["one"]),
        ('"conversion fail"', []),
        ('"conversion fail', ["one"]),
        ("no-space", ["one"]),
        ("known", ["one"]),
        ("/dev/sdb", ["one"]),
        ("nbdkit refused", ["one"]),
        ("10.0.0.7", ["one"]),
        ('"refused by 10.0.0.7"', ["one"]),
        ("FailedMount pvc-77", ["one"]),
        ("importer", ["one"]),
        ("migrationfailed", ["one"]),
        ("naive strasse", ["two"]),
        ("NAÏVE", ["two"]),
        ("annotated", []),
        ("nowhere", []),
        ("", ["one", "two"]),
        ('"', ["one", "two"]),
        (" *: ", ["one", "two"]),
    ],
)
async def test_every_word_begins_a_word_of_the_story_and_quoted_ones_stand_together(
    store: Store, words: str, wanted: list[str]
) -> None:
    await store.write(two)
    assert await index(store) == 2
    assert await found(store, words) == wanted


HOSTILE = [
    '"', '""', '"a', "*", "a*", "-a", "a OR b", "a NEAR b", "NEAR(a b, 5)", "words:a", "{words}:a", "^a", "a + b", "(",
    ")", "a AND", "NOT a", "'", "''", "a' OR '1'='1", "a & b", "a | !b", "a <-> b", "a:*", "\\", "a\\'", "\x00",
    "a\x00b", "\ud800", "%", "_", ";--", "𝔘𝔫𝔦", "ß" * 200, "a" * 10_000, "a " * 5_000, '"' * 10_000, "é" * 10_000,
    "\u0301" * 10_000, "１２３", "٣", "ﬁ", "$1", ":x", "?", "%(x)s",
]  # fmt: skip


@pytest.mark.parametrize("words", HOSTILE, ids=range(len(HOSTILE)))
async def test_nothing_that_people_type_is_an_error(store: Store, words: str) -> None:
    await store.write(lambda conn: add(conn, "one", title=f"x {words[:500]!r} y"))
    await index(store)
    await found(store, words)
    await store.browse(lambda conn: overview.counts(conn, Filter(text=words)))


async def test_random_text_is_found_by_its_own_words_on_both_databases(store: Store) -> None:
    dice = random.Random(7)
    alphabet = "aZ09-_./:'\"\\ \t\x01éßÅ字한ي𝔘٣²½﷽İı€"
    titles = ["".join(dice.choices(alphabet, k=dice.randrange(1, 40))) for _ in range(60)]

    async def fill(conn: Conn) -> None:
        for number, title in enumerate(titles):
            await add(conn, f"s{number:02}", title=title)

    await store.write(fill)
    assert await index(store) == len(titles)
    for number, title in enumerate(titles):
        for word in words_of(title)[:3]:
            assert f"s{number:02}" in await found(store, f'"{word}"'), (title, word)


def test_words_are_folded_cut_and_bounded() -> None:
    assert words_of("Straße NAÏVE vm-01_x") == ["strasse", "naive", "vm", "01", "x"]
    assert words_of("a" * 100) == ["a" * search.WORD_CHARACTERS]
    assert len(terms_of("a " * 5_000)) == 1
    assert len(terms_of(" ".join(f"w{n}" for n in range(1_000)))) == search.QUERY_TERMS
    assert [(one.words, one.prefix) for one in terms_of('ab c "d ef" gh')] == [
        (("ab",), True), (("c",), False), (("d", "ef"), False), (("gh",), True)
    ]  # fmt: skip


def test_the_text_of_a_story_is_bounded_holds_each_line_once_and_survives_what_nobody_can_read() -> None:
    assert text_of(Raw("s", 1, "title", "x", '{"failures": 7}', ("[]", "{"))) == "title"
    many = "\n".join(f"line {number} of a long log" for number in range(5_000))[-KEPT_CHARACTERS:]
    from receiver.store.codec import EVIDENCE, dump

    said = text_of(Raw("s", 1, "title", None, dump(EVIDENCE, evidence(log=many, lines=("decisive", "decisive"))), ()))
    assert len(said) <= search.TEXT_CHARACTERS
    assert said.count("decisive") == 1
    assert said.index("conversion failed") < said.index("decisive") < said.index("of a long log")


async def test_a_story_is_indexed_again_when_it_changed_and_not_before(store: Store) -> None:
    draft = await store.write(lambda conn: add(conn, "one", title="before"))
    assert await index(store) == 1
    assert await index(store) == 0
    draft.title = "afterwards"

    async def save(conn: Conn) -> None:
        await stories.save(conn, draft, Change.EVIDENCE, "more", "")

    await store.write(save)
    assert await found(store, "before") == ["one"]
    assert await index(store) == 1
    assert await found(store, "before") == []
    assert await found(store, "after") == ["one"]
    assert await column(store, table.c.story) == ["one"]


async def test_what_changed_while_it_was_read_stays_to_be_indexed_and_what_is_gone_is_left_out(store: Store) -> None:
    await store.write(lambda conn: add(conn, "one"))
    made = [Made("one", 0, ""), Made("gone", 1, "")]
    await store.write(partial(search.put, made=made))
    assert [one.story for one in await store.browse(lambda conn: search.unknown(conn, 9))] == ["one"]
    assert await column(store, table.c.story) == ["one"]


async def test_a_batch_is_bounded_and_the_oldest_come_first(store: Store) -> None:
    async def fill(conn: Conn) -> None:
        for number in range(STORIES_AT_ONCE + 5):
            await add(conn, f"s{number:02}", opened=1_000.0 - number, known=evidence(log="word " * 9_000))

    await store.write(fill)
    indexer = Indexer(store, AtOnce(), Metrics([]), owner="me")
    assert await indexer.look() == STORIES_AT_ONCE
    left = await store.browse(lambda conn: search.unknown(conn, 99))
    assert {one.story for one in left} == {f"s{number:02}" for number in range(5)}
    assert await indexer.look() == 5


async def test_a_story_that_cannot_be_written_holds_up_no_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("good", "bad", "fine"):
        await store.write(partial(add, name=name))
    really = search.put

    async def put(conn: Conn, made: list[Made]) -> None:
        if any(one.story == "bad" and one.words for one in made):
            raise ValueError("cannot")
        await really(conn, made)

    monkeypatch.setattr(search, "put", put)
    assert await index(store) == 3
    assert await found(store, "mtv") == ["fine", "good"]


async def test_replicas_take_turns(store: Store) -> None:
    if not store.shared:
        pytest.skip("one process a file")
    await store.write(lambda conn: add(conn, "one"))
    first, second = (Indexer(store, AtOnce(), Metrics([]), owner=name) for name in "ab")
    assert await first.look() == 1
    await store.write(lambda conn: add(conn, "two"))
    assert await second.look() == 0
    assert await first.look() == 1


async def test_at_most_the_newest_thousand_are_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fill(conn: Conn) -> None:
        for number in range(search.MOST_HITS + 5):
            await add(conn, f"s{number:04}", opened=float(number))

    await store.write(fill)
    await index(store)
    counted = await store.browse(lambda conn: overview.counts(conn, Filter(text="migrationfailed")))
    assert counted.counted == search.MOST_HITS
    assert await found(store, "s0004") == ["s0004"], "each word by itself is looked for everywhere"


async def test_the_newest_hits_are_those_of_the_filter_and_it_is_said_where_they_are_not_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MOST_HITS", 50)

    async def fill(conn: Conn) -> None:
        for number in range(search.MOST_HITS + 20):
            state = StoryState.FIRING if number < 5 else StoryState.RESOLVED
            whose, receivers = ("payments", ("db",)) if number < 5 else ("shop", ())
            await add(
                conn, f"s{number:04}", opened=float(number), title="timeout", namespace=whose, cluster="east",
                state=state, receivers=receivers, severity="critical" if number < 5 else "warning",
            )  # fmt: skip

    await store.write(fill)
    await index(store)
    oldest = [f"s{number:04}" for number in range(5)]
    for wanted in (
        Filter(states=("firing",)), Filter(states=OPEN), Filter(namespaces=("payments",)), Filter(receivers=("db",)),
        Filter(severities=("critical",)), Filter(sees=frozenset({("east", "payments"), ("west", "x")})),
        Filter(states=("firing", "resolved"), namespaces=("payments",)),
    ):  # fmt: skip
        page = await store.browse(partial(overview.overview, wanted=replace(wanted, text="timeout")))
        assert (sorted(row.id for row in page.rows), page.scanned_all) == (oldest, True), wanted
    nobody = Filter(text="timeout", sees=frozenset())
    assert (await store.browse(partial(overview.overview, wanted=nobody))).rows == ()

    seen: list[str] = []
    behind, whole = None, True
    while True:
        page = await store.browse(partial(overview.overview, wanted=Filter(text="timeout"), before=behind, limit=20))
        seen += [row.id for row in page.rows]
        whole, behind = page.scanned_all, page.next
        if behind is None:
            break
    assert (len(seen), whole) == (search.MOST_HITS, False), "what is not looked at is not passed over in silence"
    closed = Filter(text="timeout", states=("resolved",), matchers=tuple(parse_matchers('severity="critical"')))
    page = await store.browse(partial(overview.overview, wanted=closed))
    assert (page.rows, page.next, page.scanned_all) == ((), None, False)


async def test_exactly_as_many_as_are_looked_at_are_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_HITS", 3)

    async def fill(conn: Conn) -> None:
        for number in range(3):
            await add(conn, f"s{number}", title="timeout")

    await store.write(fill)
    await index(store)
    for more in (False, True):
        if more:
            await store.write(lambda conn: add(conn, "s3", title="timeout"))
            await index(store)
        page = await store.browse(lambda conn: overview.overview(conn, Filter(text="timeout")))
        sums = await store.browse(lambda conn: overview.counts(conn, Filter(text="timeout")))
        assert (len(page.rows), page.scanned_all, sums.counted, sums.capped) == (3, not more, 3, more)


# --- what is forgotten ---


@pytest.fixture
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    file = tmp_path_factory.mktemp("config") / "routes.yaml"
    file.write_text(ROUTES)
    return load(file, ALL)


def long_log(seed: int) -> str:
    dice = random.Random(seed)
    return "\n".join(f"{dice.randrange(16**12):x} {dice.randrange(16**12):x}" for _ in range(2_000))


async def look(store: Store, config: Config, storage: Storage) -> None:
    await Retention(store, replace(config, storage=storage), AtOnce(), Metrics(["slack"]), owner="me").look()


async def closed_ones(store: Store, count: int) -> None:
    for number in range(count):
        log = long_log(number)
        await store.write(partial(add, name=f"s{number}", title=f"plan{number}x", known=evidence(log=log)))
        await index(store)
        kept = await column(store, story_table.c.evidence, story_table.c.id == f"s{number}")
        await store.write(partial(close, name=f"s{number}", ago_s=(2 + number) * DAY))

        async def restore(conn: Conn, kept: str = kept[0], name: str = f"s{number}") -> None:
            await conn.execute(update(story_table).where(story_table.c.id == name).values(evidence=kept))

        await store.write(restore)


async def test_words_go_with_their_story(store: Store) -> None:
    await store.write(two)
    await index(store)
    await store.write(lambda conn: conn.execute(delete(story_table).where(story_table.c.id == "one")))
    assert await found(store, "erp") == []
    assert await found(store, "wave") == ["two"]
    assert await column(store, table.c.story) == ["two"]


async def test_words_of_evidence_go_with_it_and_the_rest_is_found_still(store: Store) -> None:
    await closed_ones(store, 2)
    word = words_of(long_log(1))[0]
    assert await found(store, word) == ["s1"]
    gone = await store.write(lambda conn: retention.evidence_older(conn, 2.5 * DAY))
    assert gone.rows == 1
    assert await found(store, word) == []
    await index(store)
    assert await found(store, word) == []
    assert await found(store, "plan1x") == ["s1"]
    assert await found(store, words_of(long_log(0))[0]) == ["s0"]


async def test_the_search_counts_against_the_limit_and_shrinks_below_it(store: Store, config: Config) -> None:
    empty = await store.browse(sizes.in_use)
    await closed_ones(store, 12)
    words = sum(await column(store, func.length(text("words")) if not store.shared else text("pg_column_size(words)"),
                             table.c.id.is_not(None)))  # fmt: skip
    used = await store.browse(sizes.in_use)
    assert used - empty > words > 12 * 30_000
    await look(store, config, Storage(max_bytes=int(used * 0.6)))
    left = await store.browse(sizes.in_use)
    assert left <= used * 0.6
    assert left >= used * 0.3, "no more was forgotten than needed"
    assert len(await column(store, story_table.c.id)) == 12, "evidence was enough"
    assert await found(store, words_of(long_log(0))[0]) == ["s0"], "the newest stays"
    assert await found(store, words_of(long_log(11))[0]) == []
    await look(store, config, Storage(max_bytes=1))
    assert await column(store, table.c.story) == []


async def test_nothing_is_left_of_words_that_are_gone(store: Store) -> None:
    if store.shared:
        pytest.skip("PostgreSQL's autovacuum sees to it")
    await closed_ones(store, 4)
    full = await store.browse(sizes.in_use)
    await store.write(lambda conn: conn.execute(delete(story_table)))
    begin = True
    while await store.write(partial(search.tidy, begin=begin)):
        begin = False
    rows = "SELECT count(*) FROM search_fts_data WHERE id > 10"
    assert await store.read(lambda conn: _one(conn, rows)) == 0
    assert await store.browse(sizes.in_use) < full * 0.5


async def _one(conn: Conn, query: str) -> int:
    return int((await conn.execute(text(query))).scalar_one())


async def test_the_index_of_what_is_to_be_done_makes_looking_cheap(store: Store) -> None:
    if store.shared:
        pytest.skip("a planner takes what it likes for an empty table")
    plan = "EXPLAIN QUERY PLAN SELECT id FROM stories WHERE indexed < revision ORDER BY opened LIMIT 5"
    rows = await store.read(lambda conn: _plan(conn, plan))
    assert "stories_unindexed" in rows


async def _plan(conn: Conn, query: str) -> str:
    return " ".join(str(row) for row in (await conn.execute(text(query))).all())
