"""The holes of a cluster: what each node has left. Pods stream through and leave only sums behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from receiver.capacity.placement import Placement, label_prefixes, refusal
from receiver.capacity.pods import Pod, holds_room, read_pod, sum_requests
from receiver.capacity.reading import dig, named, records
from receiver.capacity.vector import Vector, add_into, read_vector

UNREADABLE: Final = "its free room could not be read"


@dataclass(frozen=True, slots=True)
class Hole:
    """What one node has: `allocatable` in all, and `free` of requests, which may be negative.

    `unreadable` tells that the free room is not known, because the node or a pod on it could not be read.
    """

    name: str
    allocatable: Vector
    free: Vector
    node: Mapping[str, Any]
    unreadable: bool = False


@dataclass(frozen=True, slots=True)
class Competing:
    """Pods that wait for a node and may take the room first: how many, and what they ask for together."""

    pods: int = 0
    requests: Vector = Vector()  # noqa: RUF009 - immutable


@dataclass(frozen=True, slots=True)
class Eligibility:
    """The nodes that may take a VM, by name, and why each other one may not.

    `doubtful` might take it as well, but nobody knows what they have left.
    """

    nodes: tuple[str, ...]
    excluded: tuple[tuple[str, str], ...] = ()
    doubtful: tuple[str, ...] = ()

    def reasons(self) -> tuple[tuple[str, int], ...]:
        """Return how many nodes each reason excludes, the most frequent first."""
        counted = Counter(reason for _, reason in self.excluded)
        return tuple(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


@dataclass(frozen=True, slots=True)
class Holes:
    """All nodes of a cluster by name, at one moment, and what competes for them."""

    holes: tuple[Hole, ...]
    competing: Competing = Competing()
    prefixes: frozenset[str] = frozenset()

    def eligible(self, rules: Placement) -> Eligibility:
        """Judge every node for a VM's rules."""
        fine, excluded, doubtful = [], [], []
        for hole in self.holes:
            if reason := refusal(hole.node, rules, self.prefixes):
                excluded.append((hole.name, reason))
            elif hole.unreadable:
                doubtful.append(hole.name)
            else:
                fine.append(hole.name)
        return Eligibility(tuple(fine), tuple(excluded), tuple(doubtful))


class NodeSums:
    """Builds `Holes` from nodes and then any number of pods, of which nothing but sums per node is kept."""

    def __init__(self, nodes: Iterable[object]) -> None:
        self._nodes: dict[str, Mapping[str, Any]] = {
            name: item for item in records(list(nodes)) if (name := named(item)[1])
        }
        self._used: dict[str, dict[str, int]] = {name: {} for name in self._nodes}
        self._unreadable: set[str] = set()
        self._waiting: dict[str, int] = {}
        self._waiting_pods = 0

    def add(self, pod: Pod | Mapping[str, Any]) -> None:
        """Count a pod. One that is being deleted counts, one that has finished does not."""
        if not isinstance(pod, Pod):
            pod = read_pod(pod)
        if not holds_room(pod):
            return
        requests, readable = sum_requests(pod)
        name = pod.spec.node_name
        if not name:
            self._waiting_pods += 1
            add_into(self._waiting, requests)
            return
        used = self._used.get(name)
        if used is None:
            return  # of a node that came or went between the two lists
        add_into(used, requests)
        if not readable:
            self._unreadable.add(name)

    def holes(self) -> Holes:
        """Return what is left on each node now. More pods may be added afterwards."""
        found = []
        for name, node in sorted(self._nodes.items()):
            allocatable, readable = read_vector(dig(node, "status", "allocatable"))
            readable = readable and {"cpu", "memory", "pods"} <= allocatable.keys() and name not in self._unreadable
            total = Vector(allocatable)
            found.append(Hole(name, total, total - self._used[name], node, unreadable=not readable))
        waiting = {key: count for key, count in self._waiting.items() if key != "pods"}
        return Holes(
            tuple(found), Competing(self._waiting_pods, Vector(waiting)), label_prefixes(tuple(self._nodes.values()))
        )
