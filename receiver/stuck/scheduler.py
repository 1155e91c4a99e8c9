"""What the scheduler says when no node fits: "0/N nodes are available: …".

Its form (Kubernetes `pkg/scheduler/framework/types.go`, FitError): after the colon stands *either* the text of a check
that refused the pod before any node was looked at, *or* a list "<count> <reason>, <count> <reason>". Then may follow
"preemption: 0/N nodes are available: …", which counts the same nodes once more and is cut away first. The reasons are
sorted as strings. One node may count under several resources, so the counts may add up to more than N: they are never
subtracted from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from receiver.stuck.objects import text

MAX_REASONS = 50

_HEAD = re.compile(r"([0-9]{1,7})/([0-9]{1,7}) nodes are available:?")
_COUNTED = re.compile(r"([0-9]{1,7}) (\S.*)", re.DOTALL)
_INSUFFICIENT = re.compile(r"Insufficient (\S+)")
# Between the list and "preemption:" newer schedulers say that no resource claim could be freed.
_NO_CLAIMS = re.compile(r"no new claims to deallocate,?|still not schedulable,?")

# Class → how it begins or what it contains, in wordings of several releases; the first that meets wins.
_CLASSES: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("unbound-immediate", re.compile(r"unbound immediate PersistentVolumeClaims")),
    ("storage-space", re.compile(r"did not have enough free storage")),
    ("storage-none", re.compile(r"didn't find available persistent volumes to bind")),
    ("volume-count", re.compile(r"exceed max volume count")),
    ("volume-affinity", re.compile(r"volume node affinity conflict|didn't match PersistentVolume's node affinity")),
    ("cordoned", re.compile(r"node\(s\) were unschedulable")),
    ("taint", re.compile(r"node\(s\) had (?:untolerated )?taints?(?:\(s\))?\b")),
    ("spread", re.compile(r"pod topology spread constraints")),
    ("pod-affinity", re.compile(r"pod (?:anti-)?affinity")),
    ("affinity", re.compile(r"node affinity/selector|node selector|node affinity")),
)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why some nodes do not fit."""

    count: int
    """Nodes; 0 where the pod was refused before any was looked at."""
    kind: str
    """insufficient, too-many-pods, one of the classes above, or other."""
    words: str
    """As the scheduler wrote it, without the count."""
    resource: str = ""
    """For insufficient and too-many-pods: which."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The scheduler's message, read."""

    total: int
    """Nodes of the cluster."""
    reasons: tuple[Reason, ...] = ()

    @property
    def resources(self) -> tuple[str, ...]:
        """The resources that lack, each once, in the scheduler's order."""
        return tuple(dict.fromkeys(one.resource for one in self.reasons if one.resource))

    def nodes_short(self, resource: str) -> int:
        """Return how many nodes lack it."""
        return sum(one.count for one in self.reasons if one.resource == resource)

    def has(self, *kinds: str) -> bool:
        """Is there a reason of one of these classes?"""
        return any(one.kind in kinds for one in self.reasons)


def parse_verdict(message: str) -> Verdict | None:
    """Return what the message says, or None where it is no such message."""
    head = _HEAD.search(message[:20_000])
    if head is None:
        return None
    body = message[head.end() : 20_000].partition("preemption:")[0]
    body = _NO_CLAIMS.sub("", body).strip().rstrip(".,; ")
    total = int(head[2])
    if not body:
        return Verdict(total)
    parts = _parts(body)
    if _COUNTED.fullmatch(parts[0]) is None:
        return Verdict(total, (_reason(0, body),))
    found = (_COUNTED.fullmatch(part) for part in parts[:MAX_REASONS])
    return Verdict(total, tuple(_reason(int(one[1]), one[2]) for one in found if one is not None))


def _parts(body: str) -> list[str]:
    """Split at commas that are followed by a count. A taint's value stands in braces and may hold anything."""
    parts, start, depth = [], 0, 0
    for at, char in enumerate(body):
        depth += (char == "{") - (char == "}" and depth > 0)
        if char == "," and depth == 0 and re.match(r",\s+[0-9]{1,7} \S", body[at : at + 12]):
            parts.append(body[start:at].strip())
            start = at + 1
    parts.append(body[start:].strip())
    return parts


def _reason(count: int, words: str) -> Reason:
    shown = text(words, 500)
    if found := _INSUFFICIENT.match(words):
        return Reason(count, "insufficient", shown, text(found[1].rstrip(".,"), 253))
    if words.startswith("Too many pods"):
        return Reason(count, "too-many-pods", shown, "pods")
    kind = next((kind for kind, pattern in _CLASSES if pattern.search(words)), "other")
    return Reason(count, kind, shown)
