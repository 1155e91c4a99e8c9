"""Recognises known errors in the evidence. The table is `causes.yaml`; patterns are RE2, compiled once.

A cause is never a guess: it says which of how many texts held the pattern, and where none did there is no cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import re2
import yaml

from receiver.enrichers import Text
from receiver.enrichers.reading import records, text, texts
from receiver.model import Cause

_SOURCES = ("log", "reason", "condition")
# Distinct texts looked at: of 2,000 VMs nearly all say the same.
_DISTINCT = 300


@dataclass(frozen=True, slots=True)
class Row:
    """One known error."""

    id: str
    sentence: str
    remedy: tuple[str, ...]
    owner: str
    where: frozenset[str]
    patterns: tuple[str, ...]
    example: str
    link: str = ""


class Causes:
    """A table of known errors, in the order in which they win."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = tuple(rows)
        # One automaton for all patterns: a text is read once, however many rows there are.
        self._set = re2.Set.SearchSet()
        self._patterns: list[frozenset[int]] = [
            frozenset(self._set.Add(f"(?is){pattern}") for pattern in row.patterns) for row in self.rows
        ]
        self._set.Compile()

    def row_of(self, source: str, said: str) -> Row | None:
        """Return the first row whose patterns all meet in this one text."""
        met = frozenset(self._set.Match(" ".join(said.split())) or ())
        for row, wanted in zip(self.rows, self._patterns, strict=True):
            if wanted <= met and source in row.where:
                return row
        return None

    def recognise(self, evidence: Iterable[Text]) -> Cause | None:
        """Return the error that most VMs show, with its certainty; of two equally frequent the earlier row.

        Logs outweigh reasons, and reasons the Plan's conditions: they are nearer to what happened. "2 of 3 logs"
        counts VMs whose logs were read, "2 of 3 VMs" those that gave a reason.
        """
        said = list(evidence)
        verdicts: dict[tuple[str, str], Row | None] = {}
        order = {row.id: index for index, row in enumerate(self.rows)}
        for source, noun in (("log", "logs"), ("reason", "VMs"), ("condition", "conditions of the plan")):
            by_vm: dict[str, set[str]] = {}
            for index, one in enumerate(said):
                if one.source != source:
                    continue
                key = (source, one.text)
                if key not in verdicts:
                    if len(verdicts) >= _DISTINCT:
                        continue
                    verdicts[key] = self.row_of(source, one.text)
                row = verdicts[key]
                holder = one.vm if source != "condition" else str(index)
                by_vm.setdefault(holder, set()).update((row.id,) if row else ())
            frequent = Counter(cause for causes in by_vm.values() for cause in causes)
            if frequent:
                best = min(frequent, key=lambda cause: (-frequent[cause], order[cause]))
                return _cause(self.rows[order[best]], f"{frequent[best]:,} of {len(by_vm):,} {noun}")
        return None


def _cause(row: Row, certainty: str) -> Cause:
    singular = {"1 of 1 logs": "1 of 1 log", "1 of 1 VMs": "1 of 1 VM"}
    certainty = singular.get(certainty, certainty.replace("1 of 1 conditions", "condition"))
    return Cause(row.id, row.sentence, certainty, row.owner, row.remedy, row.link)


def read_rows(raw: object) -> tuple[Row, ...]:
    """Read a table. ValueError names the row that is wrong."""
    if not isinstance(raw, list):
        raise ValueError("not a list of causes")
    rows: dict[str, Row] = {}
    for index, entry in enumerate(records(raw)):
        row = _row(entry, index)
        if row.id in rows:
            raise ValueError(f"cause {row.id!r} stands twice")
        rows[row.id] = row
    if len(rows) != len(raw):
        raise ValueError("a cause is no mapping")
    return tuple(rows.values())


def _row(entry: Mapping[str, Any], index: int) -> Row:
    row = Row(
        id=text(entry.get("id")),
        sentence=text(entry.get("sentence")),
        remedy=texts(entry.get("remedy")),
        owner=text(entry.get("owner")),
        where=frozenset(texts(entry.get("where")) or _SOURCES),
        patterns=texts(entry.get("patterns")),
        example=str(entry.get("example") or ""),
        link=text(entry.get("link")),
    )
    name = row.id or f"number {index + 1}"
    if not (row.id and row.sentence and row.patterns):
        raise ValueError(f"cause {name}: id, sentence and patterns are required")
    if unknown := row.where - frozenset(_SOURCES):
        raise ValueError(f"cause {name}: where: {', '.join(sorted(unknown))} is none of {', '.join(_SOURCES)}")
    options = re2.Options()
    options.log_errors = False
    for pattern in row.patterns:
        try:
            re2.compile(f"(?is){pattern}", options)
        except re2.error as error:
            raise ValueError(f"cause {name}: pattern {pattern!r}: {error}; use RE2 syntax") from None
    return row


@cache
def shipped() -> Causes:
    """Return the table that comes with this package."""
    raw = files("receiver.enrichers").joinpath("causes.yaml").read_text(encoding="utf-8")
    return Causes(read_rows(yaml.safe_load(raw)))


def recognise(evidence: Iterable[Text]) -> Cause | None:
    """Return the known error that most VMs show, by the shipped table; None where none is recognised."""
    return shipped().recognise(evidence)
