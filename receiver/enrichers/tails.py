"""Reads the ends of the logs of receiver pods while their live migrations run.

When such a migration fails, Forklift deletes the pod in the next reconcile, and its log tells why. So it is read while
it is there: when its pod or KubeVirt's migration came into another state, and again every AGAIN_S while it runs, since
an error changes no state at first. A look reads AT_ONCE logs at most; a refusal or a log that is not there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from receiver.enrichers.pods import name_of, vm_of
from receiver.enrichers.reading import dig, records, strings, text
from receiver.kube import Cluster, ClusterError
from receiver.stuck import View
from receiver.stuck.tails import Tail

CONTAINER: Final = "compute"
AT_ONCE: Final = 4
TAIL_LINES: Final = 100
READ_BYTES: Final = 32_768
"""Of one log: more than is kept, since a tail that does not fit costs another request."""
TIMEOUT_S: Final = 5.0
AGAIN_S: Final = 120.0
REFUSED_REST_S: Final = 300.0
"""After "forbidden" no log of the run is asked for so long: rights do not come faster."""

_JOB_UID = "kubevirt.io/migrationJobUID"
_STARTED = ("running", "terminated")


@dataclass(frozen=True, slots=True)
class _Pod:
    namespace: str
    name: str
    phase: str
    state: str
    """Of the container: running, terminated, or empty."""

    @property
    def started(self) -> bool:
        return bool(self.state) or self.phase in ("Running", "Failed")


@dataclass(frozen=True, slots=True)
class _Due:
    vm: str
    phase: str
    pod: _Pod
    state: tuple[str, ...]
    rank: tuple[bool, float]


@dataclass(slots=True)
class Tails:
    """The receiver pods of one run, and when the log of each was read in which state."""

    _pods: dict[str, _Pod] = field(default_factory=dict)
    """By the UID of KubeVirt's migration, as last seen: the pods of one that has failed are not listed any more."""
    _read: dict[str, tuple[tuple[str, ...], float]] = field(default_factory=dict)
    _rest_until: float = float("-inf")

    async def read(self, cluster: Cluster, view: View, now: float, at: datetime) -> tuple[Tail, ...]:
        """Return the logs that are due, raw; `now` is monotonic. Raises nothing that a cluster could cause."""
        due = self._due(view, now) if now >= self._rest_until else ()
        found = await asyncio.gather(*(self._one(cluster, one, now, at) for one in due))
        return tuple(one for one in found if one is not None)

    def _due(self, view: View, now: float) -> tuple[_Due, ...]:
        there = {job: _pod(pod) for pod in view.pods if (job := _job(pod))}
        jobs = {text(dig(one, "metadata", "uid"), 100): one for one in view.target_migrations}
        self._pods = {job: pod for job, pod in {**self._pods, **there}.items() if job in jobs}
        self._read = {job: read for job, read in self._read.items() if job in jobs}
        found: list[_Due] = []
        for job, pod in self._pods.items():
            vm, phase = vm_of(jobs[job]), text(dig(jobs[job], "status", "phase"), 100)
            if not vm or not pod.started or phase == "Succeeded":
                continue
            state = (phase, pod.phase, pod.state)
            before, read_at = self._read.get(job, ((), float("-inf")))
            if state != before or (job in there and now - read_at >= AGAIN_S):
                failed = phase == "Failed" or pod.phase == "Failed"
                found.append(_Due(vm, phase, pod, state, (not failed, read_at)))
                if len(found) > AT_ONCE:
                    found.sort(key=lambda one: one.rank)
                    found.pop()
        by_pod = {pod: job for job, pod in self._pods.items()}
        for one in found:
            self._read[by_pod[one.pod]] = one.state, now
        return tuple(found)

    async def _one(self, cluster: Cluster, due: _Due, now: float, at: datetime) -> Tail | None:
        pod = due.pod
        try:
            async with asyncio.timeout(TIMEOUT_S):
                said = await cluster.log(
                    pod.namespace, pod.name, CONTAINER, tail_lines=TAIL_LINES, limit_bytes=READ_BYTES
                )
        except TimeoutError:
            return None
        except ClusterError as error:
            if error.reason == "forbidden":
                self._rest_until = now + REFUSED_REST_S
            return None
        return Tail(due.vm, pod.namespace, pod.name, CONTAINER, due.phase, at, said) if said else None


def _job(pod: Mapping[str, Any]) -> str:
    labels = strings(dig(pod, "metadata", "labels"))
    return labels.get(_JOB_UID, "") if labels.get("kubevirt.io") == "virt-launcher" else ""


def _pod(pod: Mapping[str, Any]) -> _Pod:
    states = [one for one in records(dig(pod, "status", "containerStatuses")) if one.get("name") == CONTAINER]
    state = next((key for key in _STARTED for one in states if isinstance(dig(one, "state", key), dict)), "")
    namespace, phase = text(dig(pod, "metadata", "namespace"), 253), text(dig(pod, "status", "phase"), 100)
    return _Pod(namespace, name_of(pod), phase, state)
