"""What the engine says: shortages, risks, what nobody knows, and a verdict made of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """Of a part or of a whole plan. UNKNOWN is only said where nothing that decides could be judged."""

    FITS = "fits"
    AT_RISK = "at_risk"
    SHORT = "short"
    UNKNOWN = "unknown"


class Scope(StrEnum):
    """What sets the limit."""

    NODE = "node"
    CLUSTER = "cluster"
    PLACEMENT = "placement"
    STORAGE_CLASS = "storage_class"
    QUOTA = "quota"
    LIMIT = "limit"


class Proof(StrEnum):
    """Why something is short. The first ones are certain; a heuristic can be wrong: say "probably"."""

    NO_NODE = "no node is large enough"
    NOT_ELIGIBLE = "no node may take it"
    SUM = "sum exceeds total"
    ONE = "a single object exceeds the limit"
    MISSING = "it does not exist"
    EXHAUSTIVE = "no arrangement exists"
    PACKING = "packing"
    HEADROOM = "packing with headroom"
    RESERVED = "other running plans come first"
    PEAK = "the peak exceeds it"


PROBABLE: Final = frozenset({Proof.PACKING, Proof.HEADROOM, Proof.RESERVED})
_WORST: Final = (Verdict.SHORT, Verdict.AT_RISK, Verdict.FITS)


@dataclass(frozen=True, slots=True)
class Shortage:
    """Something that does not suffice, or might not. Amounts: CPU in millicores, else bytes or a count.

    `vm` is "plan" where all VMs together are meant. `owner` is the object that sets the limit: a quota, a LimitRange, a
    storage class, or the node with the most room. `have` is None where there is nothing to compare with. `source`
    says where the numbers of the need come from; `why` is one line for people where numbers do not say it.
    """

    resource: str
    scope: Scope
    vm: str
    need: int
    have: int | None
    proof: Proof
    owner: str = ""
    source: str = ""
    why: str = ""
    peak: int | None = None

    @property
    def missing(self) -> int:
        """How much is missing, at the peak if there is one; all of it where there is nothing."""
        return max(0, (self.need if self.peak is None else self.peak) - (self.have or 0))

    @property
    def certain(self) -> bool:
        """False where the proof is a heuristic."""
        return self.proof not in PROBABLE

    @property
    def share(self) -> float:
        """The missing part of the need, from 0 to 1: makes shortages of different resources comparable."""
        whole = self.need if self.peak is None else self.peak
        return self.missing / whole if whole > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something that could not be judged. `right` is the missing right, such as "list pods", if that is the cause."""

    resource: str
    why: str
    subject: str = ""
    need: int | None = None
    right: str = ""


@dataclass(frozen=True, slots=True)
class Unread:
    """Stands for objects that could not be read. `why` such as "403" or "timed out"; `right` such as "list pods"."""

    what: str
    why: str
    right: str = ""

    def unknown(self, resource: str, subject: str = "", need: int | None = None) -> Unknown:
        """Say that a resource is not known because of this."""
        return Unknown(resource, f"{self.what} could not be read: {self.why}", subject, need, self.right)


@dataclass(frozen=True, slots=True)
class Line:
    """Need against free, of one resource in one scope: the table row of an answer.

    `free` is None if not known. `how` says how the numbers came about; `certain` is false for estimates.
    """

    resource: str
    scope: Scope
    owner: str
    need: int
    free: int | None
    how: str
    certain: bool = True
    peak: int | None = None

    @property
    def short_by(self) -> int:
        """How much is missing, 0 if it suffices or if that is not known."""
        return 0 if self.free is None else max(0, self.need - self.free)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an answer: compute, storage or quota. It only fits if nothing in it was left open."""

    name: str
    verdict: Verdict
    shortages: tuple[Shortage, ...] = ()
    risks: tuple[Shortage, ...] = ()
    unknown: tuple[Unknown, ...] = ()
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()


def part_of(
    name: str,
    shortages: Iterable[Shortage] = (),
    risks: Iterable[Shortage] = (),
    unknown: Iterable[Unknown] = (),
    lines: Iterable[Line] = (),
    notes: Iterable[str] = (),
    *,
    judged: bool = True,
) -> Part:
    """Return a part with the verdict that its findings give. `judged` is false if nothing could be compared at all."""
    short, risky = tuple(shortages), tuple(risks)
    verdict = Verdict.SHORT if short else Verdict.AT_RISK if risky else Verdict.FITS if judged else Verdict.UNKNOWN
    return Part(name, verdict, short, risky, tuple(unknown), tuple(lines), tuple(dict.fromkeys(notes)))


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the worst of what is known. UNKNOWN neither raises nor lowers: it stands only if there is nothing else."""
    found = set(verdicts)
    return next((verdict for verdict in _WORST if verdict in found), Verdict.UNKNOWN)
