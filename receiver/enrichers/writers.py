"""Who else writes an object: what `metadata.managedFields` tells about an edit war. Pure; names fields, never values.

Limits, said with every answer as "likely": a plain update takes fields over, so the loser's entry may be gone; a time
belongs to a manager, not to a field. The proof is in the API server's audit log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from receiver.enrichers.reading import dig, mapping, moment, records, text

AUTOPILOT = "virt-platform-autopilot"
PAUSED = "platform.kubevirt.io/reconcile-paused"
BEFORE_PAUSE = timedelta(minutes=15)
MAX_PATHS = 400
MAX_DEPTH = 12

_KNOWN: Mapping[str, str] = MappingProxyType(
    {
        "argocd-controller": "Argo CD",
        "argocd-application-controller": "Argo CD",
        "kustomize-controller": "Flux",
        "helm-controller": "Flux",
        "kubectl-edit": "a person with kubectl edit",
        "kubectl-patch": "a person or script with kubectl patch",
        "kubectl-annotate": "a person or script with kubectl annotate",
        "kubectl-label": "a person or script with kubectl label",
        "kubectl-client-side-apply": "a person or pipeline with kubectl apply",
        "kubectl": "a person or pipeline with kubectl",
        "oc": "a person or pipeline with oc",
        "Mozilla": "a person in the web console",
        "hyperconverged-cluster-operator": "the HyperConverged operator",
        "manager": "an operator whose program is called manager",
    }
)

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Writer:
    """Somebody else who wrote the object."""

    manager: str
    at: datetime | None
    paths: tuple[str, ...]
    """JSON pointers of the fields that both write; empty where it only wrote shortly before the pause."""

    @property
    def who(self) -> str:
        """The manager's name, with what it usually is."""
        usual = _KNOWN.get(self.manager, "")
        return f"{self.manager} ({usual})" if usual else self.manager


def paused_at(obj: Mapping[str, Any]) -> datetime | None:
    """Return when autopilot paused the object: the time of the entry that owns nothing but the annotation."""
    return next((moment(entry.get("time")) for entry in _entries(obj) if _only_pause(entry)), None)


def writers(obj: Mapping[str, Any]) -> tuple[Writer, ...]:
    """Return who else likely writes what autopilot writes, the surest and newest first."""
    entries = [entry for entry in _entries(obj) if entry.get("subresource") != "status" and not _only_pause(entry)]
    ours = [path for entry in entries if _is_autopilot(entry) for path in _leaves(entry)]
    pause = paused_at(obj)
    found: list[tuple[bool, datetime, Writer]] = []
    for entry in entries:
        manager = text(entry.get("manager"), 100)
        if _is_autopilot(entry) or not manager:
            continue
        at = moment(entry.get("time"))
        shared = sorted({_pointer(path) for path in _leaves(entry) if any(_meets(path, own) for own in ours)})
        near = pause is not None and at is not None and pause - BEFORE_PAUSE <= at <= pause + BEFORE_PAUSE
        if shared or near:
            found.append((bool(shared), at or datetime.min.replace(tzinfo=UTC), Writer(manager, at, tuple(shared))))
    found.sort(key=lambda one: one[:2], reverse=True)
    return tuple(writer for _, _, writer in found)


def _entries(obj: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    return records(dig(obj, "metadata", "managedFields"))


def _is_autopilot(entry: Mapping[str, Any]) -> bool:
    return entry.get("manager") == AUTOPILOT


def _only_pause(entry: Mapping[str, Any]) -> bool:
    # Autopilot writes its pause with a plain update, which appears under its program's name, `manager`.
    return list(_leaves(entry)) == [("metadata", "annotations", PAUSED)]


def _leaves(entry: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the paths of the fields that an entry owns, list items by their keys left out."""
    count = 0
    stack: list[tuple[Path, Mapping[str, Any]]] = [((), mapping(entry.get("fieldsV1")))]
    while stack and count < MAX_PATHS:
        path, below = stack.pop()
        named = [(key, mapping(value)) for key, value in below.items() if isinstance(key, str) and key != "."]
        inner = [(key, value) for key, value in named if key.startswith(("f:", "k:", "v:"))]
        if (not inner or len(path) >= MAX_DEPTH) and path:
            count += 1
            yield path
            continue
        for key, value in reversed(inner):
            # Items of lists have no place that a pointer could name: the list stands for them.
            if key.startswith("f:"):
                stack.append(((*path, key[2:]), value))
            else:
                count += 1
                yield path


def _meets(one: Path, other: Path) -> bool:
    """The same field, or one is part of the other. Annotations and labels of both sides are no quarrel as a whole."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter] and one[:1] != ("status",)


def _pointer(path: Path) -> str:
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)
