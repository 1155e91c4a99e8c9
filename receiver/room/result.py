"""What is said of a Plan's room, and its public form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from receiver.capacity import Answer, Line, Ranking, Shortage, Unknown, Verdict, VmNeed
from receiver.room.words import headline, open_question, reason, sentence


@dataclass(frozen=True, slots=True)
class PlanCapacity:
    """What is said of a Plan. `answer` is about the target, `ranking` about other clusters.

    `unknown` is all that could not be judged of the target, `notes` what people should know besides. `ages` are the
    seconds since the nodes of a cluster were read. `vms` have still to move, of `total`.
    """

    plan: str
    namespace: str
    source: str
    at: datetime
    answer: Answer
    ranking: Ranking
    unknown: tuple[Unknown, ...]
    notes: tuple[str, ...]
    ages: Mapping[str, float]
    vms: tuple[VmNeed, ...]
    total: int

    @property
    def verdict(self) -> Verdict:
        """The target's."""
        return self.answer.verdict

    @property
    def headline(self) -> str:
        """The verdict in one line of plain words."""
        if self.verdict is Verdict.UNKNOWN and self.unknown and self.vms:
            return f"Not known whether it fits into {self.answer.cluster}: {open_question(self.unknown[0])}"
        return headline(self.answer, len(self.vms))

    def json(self) -> dict[str, Any]:
        """Return the public form. CPU in millicores, memory and storage in bytes, ages in seconds."""
        answer = self.answer
        node = {**answer.compute.best.where, **answer.compute.likely.where}
        return {
            "plan": self.plan,
            "cluster": answer.cluster,
            "namespace": self.namespace,
            "source": self.source,
            "at": self.at.isoformat(),
            "age": self._age(answer.cluster),
            "verdict": self.verdict.value,
            "headline": self.headline,
            "parts": {part.name: part.verdict.value for part in answer.parts},
            "shortages": [_short(each, answer.cluster) for each in answer.shortages],
            "risks": [_short(each, answer.cluster) for each in answer.risks],
            "unknown": [{**asdict(each), "text": open_question(each)} for each in self.unknown],
            "resources": [_line(each) for each in answer.lines],
            "vms": [_vm(each, node.get(each.name)) for each in self.vms],
            "vms_total": self.total,
            "remaining_percent": {key: round(share, 1) for key, share in sorted(answer.remaining.items())},
            "in_flight": None if answer.in_flight is None else asdict(answer.in_flight),
            "others": [
                {
                    "cluster": each.cluster,
                    "verdict": each.verdict.value,
                    "reason": reason(each.answer),
                    "age": self._age(each.cluster),
                }
                for each in self.ranking.clusters
            ],
            "none_fits": self.ranking.none_fits,
            "left_out": [{"cluster": name, "reason": why} for name, why in self.ranking.left_out],
            "notes": list(self.notes),
        }

    def _age(self, cluster: str) -> float | None:
        found = self.ages.get(cluster)
        return None if found is None else round(found, 1)


def _short(each: Shortage, cluster: str) -> dict[str, Any]:
    return {
        "resource": each.resource,
        "scope": each.scope.value,
        "vm": each.vm,
        "need": each.need,
        "have": each.have,
        "peak": each.peak,
        "missing": each.missing,
        "owner": each.owner,
        "proof": each.proof.value,
        "certain": each.certain,
        "source": each.source,
        "text": sentence(each, cluster),
    }


def _line(each: Line) -> dict[str, Any]:
    return {**asdict(each), "scope": each.scope.value, "short_by": each.short_by}


def _vm(need: VmNeed, node: str | None) -> dict[str, Any]:
    requests = need.requests
    return {
        "name": need.name,
        "namespace": need.namespace,
        "cpu": None if requests is None else requests.amount("cpu"),
        "memory": None if requests is None else requests.amount("memory"),
        "origin": need.origin.value,
        "node": node,
        "why": need.why,
    }
