"""Which other cluster would do? An order with reasons, never a decision."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from receiver.capacity.findings import Verdict
from receiver.capacity.reading import condition, named, records
from receiver.capacity.verdict import Answer

MOST: Final = 3
_AVAILABLE: Final = "ManagedClusterConditionAvailable"
_ORDER: Final = {Verdict.FITS: 0, Verdict.AT_RISK: 1, Verdict.UNKNOWN: 2, Verdict.SHORT: 3}


@dataclass(frozen=True, slots=True)
class Ranked:
    """One cluster in the order, with its answer and the reason for its place, for people."""

    cluster: str
    verdict: Verdict
    reason: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Ranking:
    """At most three clusters, the best first. `none_fits` tells that every one of them is short.

    `left_out` are clusters that were not compared, each with its reason.
    """

    clusters: tuple[Ranked, ...]
    left_out: tuple[tuple[str, str], ...] = ()
    none_fits: bool = False


def candidates(
    managed_clusters: Iterable[object], source: str, with_provider: frozenset[str] | None = None
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return the clusters that are worth a look, and those left out with the reason.

    What ManagedClusters say of their size is not read: it counts control planes and subtracts nothing that runs.
    `with_provider` are the clusters that Forklift knows as a target; None if that is not known.
    """
    good, out = [], []
    for item in sorted(records(list(managed_clusters)), key=named):
        name, available = named(item)[1], condition(item, _AVAILABLE)
        if not name:
            continue
        if name == source:
            out.append((name, "source of the plan"))
        elif available != "True":
            out.append((name, f"{_AVAILABLE} is {available or 'missing'}"))
        elif with_provider is not None and name not in with_provider:
            out.append((name, "no migration provider leads to it"))
        else:
            good.append(name)
    return tuple(good), tuple(out)


def rank(answers: Iterable[Answer], left_out: Iterable[tuple[str, str]] = ()) -> Ranking:
    """Order clusters by verdict, number of unknowns, what stays free of the scarcest resource, and name.

    If every one is short, the one with the smallest shortage comes first.
    """
    found = list(answers)
    none_fits = bool(found) and all(each.verdict is Verdict.SHORT for each in found)

    def place(answer: Answer) -> tuple[int, float, int, float, str]:
        smallest = shortage_size(answer) if none_fits else 0.0
        scarcest = min(answer.remaining.values(), default=0.0)
        return _ORDER[answer.verdict], smallest, len(answer.unknown), -scarcest, answer.cluster

    ordered = sorted(found, key=place)[:MOST]
    ranked = tuple(Ranked(each.cluster, each.verdict, reason_of(each), each) for each in ordered)
    return Ranking(ranked, tuple(left_out), none_fits)


def shortage_size(answer: Answer) -> float:
    """Return the largest missing share of a need, 0 to 1: how far a cluster is from taking the plan."""
    return max((each.share for each in answer.shortages), default=0.0)


def reason_of(answer: Answer) -> str:
    """Return in one line why a cluster stands where it does. Amounts are not formatted here, only named."""
    worst = max(answer.shortages, key=lambda each: each.share, default=None)
    if worst is not None:
        certain = "" if worst.certain else "probably "
        return f"{certain}short of {worst.resource} ({worst.owner or worst.scope}): {worst.why or worst.proof}"
    if answer.risks:
        names = ", ".join(sorted({each.resource for each in answer.risks}))
        return f"fits only just: {names}"
    if answer.verdict is Verdict.UNKNOWN:
        return "its nodes could not be judged"
    left = ", ".join(f"{share:.0f} % of {key}" for key, share in sorted(answer.remaining.items()))
    return f"leaves {left} free" if left else "fits"
