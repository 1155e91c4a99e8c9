"""What the page of a storm says at a glance, made of the sums of its stories: it has no evidence of its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from receiver.digest_rules import all_clear, impact_of
from receiver.model import Digest, DigestCause, DigestRow, Impact, VMCounts
from receiver.rendering import words

NAMED: Final = 3
"""Stories that one step names."""
CAUSES: Final = 3
"""Causes whose cure stands among the steps; all causes stand under Why."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do now, and the stories that it is about."""

    text: str
    rows: tuple[DigestRow, ...] = ()
    more: int = 0
    """Stories that it is about besides these."""


@dataclass(frozen=True, slots=True)
class StormView:
    """How a storm stands."""

    impact: Impact
    text: str
    causes: tuple[DigestCause, ...]
    strange: tuple[DigestRow, ...]
    """Stories whose failure is not recognised, the first of them."""
    unrecognised: int
    """VMs of all of these."""
    unread: int
    """Stories that are still being read."""
    steps: tuple[Step, ...]
    counts: VMCounts


def storm_of(digest: Digest) -> StormView:
    """Return how a storm stands and what is sensible to do."""
    strange = [row for row in digest.rows if row.open and row.read and not row.cause]
    return StormView(
        impact=impact_of(digest),
        text=_impact_text(digest),
        causes=digest.causes,
        strange=tuple(strange[:NAMED]),
        unrecognised=digest.unrecognised,
        unread=digest.unread,
        steps=_steps(digest, strange),
        counts=VMCounts(
            total=digest.total, failed=digest.failed, succeeded=digest.done, running=digest.running,
            waiting=digest.waiting, canceled=digest.canceled,
        ),
    )  # fmt: skip


def _impact_text(digest: Digest) -> str:
    if not digest.open:
        return words.sentence(all_clear(digest))
    kind = "plan" if all(row.plan for row in digest.rows) else "failure"
    said = []
    if digest.down:
        where = sum(row.down > 0 for row in digest.rows)
        at_least = "at least " if where == len(digest.rows) < digest.plans else ""
        is_ = "is" if digest.down == 1 else "are"
        said.append(f"{words.count(digest.down, 'VM')} {is_} down, in {at_least}{words.of(where, digest.plans, kind)}.")
    elif not digest.unread:
        said.append("Nothing is down for sure." if digest.at_risk else "Nothing is down.")
    sure = max(digest.at_risk - digest.unread, 0)
    if sure:
        said.append(f"In {words.count(sure, kind)} {'more ' if digest.down else ''}something may be down.")
    if digest.unread:
        said.append(f"Not known yet: {words.of(digest.unread, digest.plans, kind)} {_still(digest.unread)} being read.")
    return " ".join(said)


def _still(number: int) -> str:
    return "is still" if number == 1 else "are still"


def _steps(digest: Digest, strange: Sequence[DigestRow]) -> tuple[Step, ...]:
    """Return what helps most people first: what is down, then what cures many at once, then what nobody knows yet."""
    found = []
    down = [row for row in digest.rows if row.open and row.down]
    if down:
        found.append(_about("Begin with what is down; each story says how to get its VMs back:", down))
    for cause in digest.causes[:CAUSES]:
        if cause.remedy:
            where = f"{words.count(cause.plans, 'plan')} at once" if cause.plans > 1 else cause.id
            whose = f" ({cause.owner})" if cause.owner else ""
            found.append(Step(f"For {where}{whose}: {' '.join(words.sentence(one) for one in cause.remedy)}"))
    if strange:
        found.append(_about("Read the decisive lines of what is not recognised:", strange))
    return tuple(found)


def _about(text: str, rows: Iterable[DigestRow]) -> Step:
    every = tuple(rows)
    return Step(text, every[:NAMED], max(len(every) - NAMED, 0))
