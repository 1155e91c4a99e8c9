"""The search: which words stand in a story, and which stories hold the words that people look for.

Text is split into words here, alike for what is kept and for what is looked for: letters and digits, without case and
accents. So both databases find the same, whatever their own parsers make of `vm-01`, of paths and of numbers, and
nothing that people type is ever read as the language of a database.

What goes in is what is stored, which was redacted before: evidence by `receiver.enrichers`, alerts by `receiver.inbox`.
Of alerts only the names go in, no annotation.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    Text,
    and_,
    bindparam,
    func,
    insert,
    literal,
    literal_column,
    select,
    true,
    update,
)
from sqlalchemy import text as sql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from receiver.keeping import unpack
from receiver.model import Evidence
from receiver.store.codec import ALERT, EVIDENCE, IDENTITY, load, load_or_none
from receiver.store.engine import Conn
from receiver.store.schema import alerts, search, stories

TEXT_CHARACTERS: Final = 65_536
"""Of one story; what says most comes first, the ends of logs last."""
MOST_HITS: Final = 1_000
WORD_CHARACTERS: Final = 64
"""Longer words are cut, in stories and in what is looked for."""
QUERY_CHARACTERS: Final = 1_000
QUERY_TERMS: Final = 16
PREFIX_CHARACTERS: Final = 2
"""A shorter word is looked for as it is: what begins with one letter is nearly everything."""
_POSITIONS: Final = 255
_LAST_POSITION: Final = 16_383
"""What a tsvector holds of one word, and how far it counts."""
_WORD: Final = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Return the words of a text, in its order."""
    text = text.casefold()
    if not text.isascii():
        apart = unicodedata.normalize("NFKD", text)
        text = "".join(one for one in apart if not unicodedata.combining(one)).casefold()
    return [word[:WORD_CHARACTERS] for word in _WORD.findall(text)]


# --- what is looked for ---


@dataclass(frozen=True, slots=True)
class Term:
    """Words that follow on each other; with `prefix` the last one may go on."""

    words: tuple[str, ...]
    prefix: bool


def terms_of(text: str) -> tuple[Term, ...]:
    """Read what people look for: every word must begin a word of the story, "words in quotes" must stand there so."""
    found: list[Term] = []
    parts = text[:QUERY_CHARACTERS].split('"')
    for at, part in enumerate(parts):
        quoted = at % 2 == 1 and at < len(parts) - 1  # the last quote may still be open
        for piece in (part,) if quoted else part.split():
            words = tuple(words_of(piece))
            found += [Term(words, not quoted and len(words[-1]) >= PREFIX_CHARACTERS)] if words else []
    return tuple(dict.fromkeys(found))[:QUERY_TERMS]


class _Hits(FunctionElement[str]):
    """The newest stories that hold the words: those of SQLite's query, or those of PostgreSQL's.

    Its last part is what else they must fulfil, by columns of `stories`: that name means the table within the query.
    """

    type = Text()
    inherit_cache = True


@compiles(_Hits, "sqlite")
def _hits_of_sqlite(element: _Hits, compiler: SQLCompiler, **more: Any) -> str:
    query, _, most, only = (compiler.process(one, **more) for one in element.clauses)
    # Chosen by indexes of `stories` first, and compared by number: then no row of what else holds the words is read.
    # The plus keeps SQLite from asking for the words once for each of them.
    chosen = (
        " AND +search_fts.rowid IN (SELECT sought.id FROM stories JOIN search AS sought ON sought.story = stories.id"  # noqa: S608  # bound values
        f" WHERE {only})"
    )
    return (
        "(SELECT found.story FROM search_fts JOIN search AS found ON found.id = search_fts.rowid"  # noqa: S608  # bound values
        f" WHERE search_fts MATCH {query}{chosen if _narrows(element) else ''}"
        f" ORDER BY search_fts.rowid DESC LIMIT {most})"
    )


@compiles(_Hits, "postgresql")
def _hits_of_postgresql(element: _Hits, compiler: SQLCompiler, **more: Any) -> str:
    _, query, most, only = (compiler.process(one, **more) for one in element.clauses)
    return (
        "(SELECT found.story FROM search AS found JOIN stories ON stories.id = found.story"  # noqa: S608  # bound values
        f" WHERE found.words @@ CAST({query} AS tsquery){f' AND {only}' if _narrows(element) else ''}"
        f" ORDER BY stories.opened DESC, stories.id DESC LIMIT {most})"
    )


def _narrows(element: _Hits) -> bool:
    *_, only = element.clauses
    return only is not _ANY


_ANY: Final = true()


def holds(text: str, only: Sequence[ColumnElement[bool]] = ()) -> ColumnElement[bool] | None:
    """Return the condition that a story is one of the newest that hold these words; None: there is no word in it.

    `only` are conditions on `stories`: the newest of those that fulfil them.
    """
    return _holds(text, only, MOST_HITS)


async def is_cut(conn: Conn, text: str, only: Sequence[ColumnElement[bool]] = ()) -> bool:
    """Tell whether more stories hold these words than `holds` lets through."""
    condition = _holds(text, only, MOST_HITS + 1)
    if condition is None:
        return False
    counted = select(func.count()).select_from(stories).where(condition)
    return int((await conn.execute(counted)).scalar_one()) > MOST_HITS


def _holds(text: str, only: Sequence[ColumnElement[bool]], most: int) -> ColumnElement[bool] | None:
    terms = terms_of(text)
    if not terms:
        return None
    of_sqlite = " AND ".join(f'"{" ".join(term.words)}"{" *" if term.prefix else ""}' for term in terms)
    of_postgresql = " & ".join(_tsquery(term) for term in terms)
    narrowed = and_(*only).self_group() if only else _ANY
    hits = _Hits(literal(of_sqlite, Text), literal(of_postgresql, Text), literal_column(str(most)), narrowed)
    condition: ColumnElement[bool] = stories.c.id.op("IN", return_type=Boolean())(hits)
    return condition


def _tsquery(term: Term) -> str:
    phrase = " <-> ".join(f"'{word}'" for word in term.words)
    return f"({phrase}:*)" if term.prefix else f"({phrase})"


# --- what is kept ---


@dataclass(frozen=True, slots=True)
class Raw:
    """A story that the search does not know as it is now, as it is stored."""

    story: str
    revision: int
    title: str
    identity: str | None
    evidence: str | None
    alerts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """What is to be kept of a story."""

    story: str
    revision: int
    words: str


_UNKNOWN = (
    select(stories.c.id, stories.c.revision, stories.c.title, stories.c.identity, stories.c.evidence)
    .where(stories.c.indexed < stories.c.revision)
    .order_by(stories.c.opened)
    .limit(bindparam("b_limit", type_=Integer))
)
_ALERTS = select(alerts.c.story, alerts.c.payload).where(alerts.c.story.in_(bindparam("ids", expanding=True)))


async def unknown(conn: Conn, limit: int) -> list[Raw]:
    """Return stories that changed since they were last put into the search, oldest first."""
    rows = (await conn.execute(_UNKNOWN, {"b_limit": limit})).all()
    heard: dict[str, list[str]] = defaultdict(list)
    if rows:
        for one in await conn.execute(_ALERTS, {"ids": [row.id for row in rows]}):
            heard[one.story].append(one.payload)
    return [Raw(row.id, row.revision, row.title, row.identity, row.evidence, tuple(heard[row.id])) for row in rows]


def make(raw: Raw, *, tsvector: bool) -> Made:
    """Return what is to be kept of a story, in the form of PostgreSQL or as plain words."""
    words = words_of(text_of(raw))
    return Made(raw.story, raw.revision, _tsvector(words) if tsvector else " ".join(words))


def _tsvector(words: Sequence[str]) -> str:
    """Return the words with their places: a cast reads this, so that no parser of the server has a say in it."""
    places: dict[str, list[int]] = defaultdict(list)
    for at, word in enumerate(words, 1):
        if len(known := places[word]) < _POSITIONS:
            known.append(min(at, _LAST_POSITION))
    return " ".join(f"'{word}':{','.join(map(str, dict.fromkeys(known)))}" for word, known in places.items())


def text_of(raw: Raw) -> str:
    """Return the text of a story, each line once, at most TEXT_CHARACTERS."""
    lines: list[str] = []
    seen: set[str] = set()
    left = TEXT_CHARACTERS
    for line in _lines(raw):
        if line in seen or not line:
            continue
        seen.add(line)
        lines.append(line[:left])
        left -= len(lines[-1]) + 1
        if left <= 0:
            break
    return "\n".join(lines)[:TEXT_CHARACTERS]


def _lines(raw: Raw) -> Iterator[str]:
    yield raw.title
    # What an older or a newer version wrote, or a person, may not be readable: the rest of the story is found still.
    with contextlib.suppress(ValidationError):
        if identity := load_or_none(IDENTITY, raw.identity):
            yield from (identity.name, identity.owner_namespace, identity.target_namespace, identity.namespace)
    for payload in raw.alerts:
        with contextlib.suppress(ValidationError):
            yield load(ALERT, payload).name
    with contextlib.suppress(ValidationError):
        if evidence := load_or_none(EVIDENCE, raw.evidence):
            yield from _of_evidence(evidence)


def _of_evidence(evidence: Evidence) -> Iterator[str]:
    if evidence.cause is not None:
        yield from (evidence.cause.id, evidence.cause.sentence)
    for vm in (*evidence.failures, *evidence.standing):
        yield from (vm.name, vm.id, *vm.reasons)
    yield from evidence.plan_reasons
    for wait in evidence.waits:
        yield from (wait.vm, wait.vm_id, wait.cause, wait.sentence)
    yield from evidence.findings
    yield evidence.unrecognised
    for log in evidence.logs:
        yield from (log.pod, *log.lines)
    for event in (*evidence.events, *(one for wait in evidence.waits for one in wait.evidence)):
        yield from (event.name, event.reason, event.message)
    for log in evidence.logs:
        yield from unpack(log.kept).splitlines()


class _Words(FunctionElement[str]):
    type = Text()
    inherit_cache = True


@compiles(_Words, "sqlite")
def _words_of_sqlite(element: _Words, compiler: SQLCompiler, **more: Any) -> str:
    return compiler.process(element.clauses, **more)


@compiles(_Words, "postgresql")
def _words_of_postgresql(element: _Words, compiler: SQLCompiler, **more: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **more)} AS tsvector)"


_NEW_WORDS = _Words(bindparam("b_words", type_=Text))
_KNOWN = (
    select(stories.c.id, search.c.story)
    .join(search, search.c.story == stories.c.id, isouter=True)
    .where(stories.c.id.in_(bindparam("ids", expanding=True)))
)
_ADD = insert(search).values(story=bindparam("b_story"), words=_NEW_WORDS)
# Most revisions change no word: then the index is left alone.
_CHANGE = (
    update(search).where(search.c.story == bindparam("b_story"), search.c.words != _NEW_WORDS).values(words=_NEW_WORDS)
)
_DONE = update(stories).where(stories.c.id == bindparam("b_story")).values(indexed=bindparam("b_revision"))


async def put(conn: Conn, made: Iterable[Made]) -> None:
    """Keep the words of stories; one that changed since they were read stays unknown, one that is gone is left out."""
    by_id = {one.story: one for one in made}
    rows = (await conn.execute(_KNOWN, {"ids": list(by_id)})).all()
    new = [by_id[row.id] for row in rows if row.story is None]
    old = [by_id[row.id] for row in rows if row.story is not None]
    for statement, some in ((_ADD, new), (_CHANGE, old)):
        if some:
            await conn.execute(statement, [{"b_story": one.story, "b_words": one.words} for one in some])
    if rows:
        done = [{"b_story": one.story, "b_revision": one.revision} for one in (*new, *old)]
        await conn.execute(_DONE, done)


# --- what is forgotten ---


_CHANGES = sql("SELECT total_changes()")
_TIDY = sql("INSERT INTO search_fts(search_fts, rank) VALUES ('merge', :pages)")
PAGES_AT_ONCE: Final = 200
_WORTH: Final = 2
"""Changes that a step makes at least where there was something to do, as SQLite's manual says."""


async def tidy(conn: Conn, *, begin: bool) -> bool:
    """SQLite: let go of a little of what the search keeps of words that are gone; False: there is nothing more.

    FTS5 notes what is gone beside what is there, until it merges them. PostgreSQL sees to it by itself.
    """
    before = (await conn.execute(_CHANGES)).scalar_one()
    await conn.execute(_TIDY, {"pages": -PAGES_AT_ONCE if begin else PAGES_AT_ONCE})
    changed = int((await conn.execute(_CHANGES)).scalar_one()) - int(before)
    return changed >= _WORTH
