"""Recognises known errors in the evidence. The tables are `causes/*.yaml`; patterns are RE2, compiled once.

A cause is never a guess: it says which of how many texts held the pattern, and where none did there is no cause.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files

import re2

from receiver.config.causes_files import read_causes
from receiver.config.known_errors import KnownError, flat, options
from receiver.enrichers import Text
from receiver.model import Cause

TABLES = ("guest", "vsphere", "storage", "offload", "plan")
"""In the order in which they win."""

# The nearer to what happened, the earlier; a log is the program's own word.
_SOURCES = (("log", "logs"), ("reason", "VMs"), ("event", "events"), ("condition", "conditions of the plan"))
# Distinct texts looked at: of 2,000 VMs nearly all say the same.
_DISTINCT = 300
# The automaton of all patterns is built while it is used; RE2's default is too small for some hundred of them.
_AUTOMATON_BYTES = 64 << 20
# Whose log it is, by lines that only this program writes. A log that none of these knows may be anybody's.
_PROGRAMS = tuple(
    (program, re2.compile(pattern))
    for program, pattern in (
        ("virt-v2v", r"(?m)^(?:virt-v2v|libguestfs: |Building command: virt-v2v|Failed to execute virt-v2v)"),
        ("controller", r'(?m)^\{"level":"'),
        ("hook", r"(?m)^(?:PLAY|TASK) \[|^PLAY RECAP|^fatal: \["),
        (
            "importer",
            r"(?m)^[IWEF][0-9]{4} .*\b(?:importer|data-processor|vddk-datasource_\w+|nbdkit|qemu)\.go:"
            r"|^Unable to process data",
        ),
        ("populator", r"(?m)^[IWEF][0-9]{4} .*populator\.go:"),
    )
)


class Causes:
    """A table of known errors, in the order in which they win."""

    def __init__(self, rows: Sequence[KnownError]) -> None:
        self.rows = tuple(rows)
        chosen = options()
        chosen.max_mem = _AUTOMATON_BYTES
        # One automaton for all patterns: a text is read once, however many rows there are.
        self._set = re2.Set.SearchSet(chosen)
        self._patterns: list[frozenset[int]] = [
            frozenset(self._set.Add(pattern) for pattern in row.patterns) for row in self.rows
        ]
        self._set.Compile()

    def row_of(self, source: str, said: str) -> KnownError | None:
        """Return the first row whose patterns all meet in this one text of that source."""
        met = frozenset(self._set.Match(flat(said)) or ())
        program = program_of(said) if source == "log" and met else ""
        for row, wanted in zip(self.rows, self._patterns, strict=True):
            if wanted <= met and row.shows_in(source, program):
                return row
        return None

    def recognise(self, evidence: Iterable[Text]) -> Cause | None:
        """Return the error that most VMs show, with its certainty; of two equally frequent the earlier row.

        Logs outweigh reasons, and reasons events and the Plan's conditions: they are nearer to what happened. "2 of 3
        logs" counts VMs whose logs were read, "2 of 3 VMs" those that gave a reason.
        """
        said = list(evidence)
        verdicts: dict[tuple[str, str], KnownError | None] = {}
        order = {row.id: index for index, row in enumerate(self.rows)}
        for source, noun in _SOURCES:
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
                holder = one.vm if source in ("log", "reason") else str(index)
                by_vm.setdefault(holder, set()).update((row.id,) if row else ())
            frequent = Counter(cause for causes in by_vm.values() for cause in causes)
            if frequent:
                best = min(frequent, key=lambda cause: (-frequent[cause], order[cause]))
                return _cause(self.rows[order[best]], f"{frequent[best]:,} of {len(by_vm):,} {noun}")
        return None


def _cause(row: KnownError, certainty: str) -> Cause:
    singular = {"1 of 1 logs": "1 of 1 log", "1 of 1 VMs": "1 of 1 VM", "1 of 1 events": "1 event"}
    certainty = singular.get(certainty, certainty.replace("1 of 1 conditions", "condition"))
    return Cause(row.id, row.sentence, certainty, row.owner, row.remedy, row.link)


def program_of(log: str) -> str:
    """Return whose log it is: virt-v2v, importer, populator, hook, controller; empty where nobody can tell."""
    return next((program for program, pattern in _PROGRAMS if pattern.search(log)), "")


@cache
def shipped() -> Causes:
    """Return the tables that come with this package."""
    found: dict[str, tuple[KnownError, str]] = {}
    for name in TABLES:
        file = f"{name}.yaml"
        content = files("receiver.enrichers").joinpath("causes", file).read_bytes()
        if problems := read_causes(file, content, found, examples=False):  # tests look at these
            raise ValueError("\n".join(map(str, problems)))
    return Causes([row for row, _ in found.values()])


def causes_with(own: Sequence[KnownError]) -> Causes:
    """Return the shipped table with a user's own rows before it; a row of the same id takes the shipped one's place."""
    if not own:
        return shipped()
    taken = {row.id for row in own}
    return Causes((*own, *(row for row in shipped().rows if row.id not in taken)))


def recognise(evidence: Iterable[Text]) -> Cause | None:
    """Return the known error that most VMs show, by the shipped table; None where none is recognised."""
    return shipped().recognise(evidence)


def page(rows: Iterable[KnownError]) -> str:
    """Return the table of docs/causes.md: id and what it means, who repairs it, what to do."""
    lines = ["| Id | What it means | Owner | What to do |", "| --- | --- | --- | --- |"]
    for row in rows:
        name = f"[`{row.id}`]({row.link})" if row.link else f"`{row.id}`"
        steps = " ".join(row.remedy) if len(row.remedy) == 1 else " ".join(_numbered(row.remedy))
        lines.append(f"| {name} | {_cell(row.sentence)} | {_cell(row.owner)} | {_cell(steps)} |")
    return "\n".join(lines)


def _numbered(steps: Sequence[str]) -> Iterable[str]:
    return (f"{number}. {step}" for number, step in enumerate(steps, 1))


def _cell(said: str) -> str:
    return said.replace("|", "\\|")
