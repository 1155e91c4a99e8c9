"""Other plans that run: what moves from the same source, and what room their receivers hold back at a target.

A whole Plan of 500 VMs takes megabytes, and each costs a request: of each only a few figures are kept, for a minute,
and every check that shares the supply shares them. What does not come in time is counted, and said.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from receiver.capacity import Flow, Profile, Unread, VmNeed, flow_of
from receiver.capacity.reading import condition, dig, mapping, named, records, text
from receiver.kube import Cluster, ClusterError, Obj
from receiver.kube.kinds import kind_of, where
from receiver.kube.mustgather import MustGather
from receiver.kube.streams import Streams
from receiver.room.naming import with_names
from receiver.room.places import end_of
from receiver.room.reading import objects, one, unread
from receiver.room.source import read_demand, vm_name
from receiver.room.target import LAUNCHERS, instancetypes_of
from receiver.room.wanted import vms_of

MOST_RESERVED: Final = 40
"""Other running plans, and receivers of theirs, that are looked at: twice Forklift's default of VMs in flight."""
FRESH: Final = timedelta(seconds=60)
WAIT_S: Final = 10.0
"""So long may one check spend on other plans. What was read until then helps the next one."""
MAX_KEPT: Final = 1_000
"""Plans of all clusters of which something is kept, a few KB each."""
PAGE: Final = 25
MAX_PAGES: Final = 1_000
_SPEC: Final = ("targetNamespace", "type", "warm", "targetNodeSelector", "targetAffinity", "migrateSharedDisks")
_VM: Final = ("id", "name", "namespace", "targetName", "instanceType", "migrateSharedDisks")

Name = tuple[str, str]  # namespace, name


@dataclass(frozen=True, slots=True)
class Running:
    """What is kept of a Plan that executes. `plan` has of its VMs only those that have begun and not ended."""

    flow: Flow
    plan: Obj


@dataclass(slots=True)
class _Home:
    """What is known of one cluster with plans. `listed` is when all of them were read at once."""

    cluster: Cluster
    plans: OrderedDict[Name, tuple[datetime, Running | None]] = field(default_factory=OrderedDict)
    needs: OrderedDict[tuple[str, Name], tuple[datetime, tuple[VmNeed, ...]]] = field(default_factory=OrderedDict)
    listed: datetime | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class RunningPlans:
    """What all checks know of other running plans."""

    def __init__(self) -> None:
        self._homes: dict[str, _Home] = {}

    async def beside(self, home: Cluster, plan: Obj, now: datetime) -> tuple[tuple[Running, ...], int] | Unread:
        """Return the other plans that execute, as far as they came in time, and how many did not."""
        known = self._home(home)
        index = home.plans()
        by_list = not index.synced or isinstance(home, MustGather)
        names = [(row.namespace, row.name) for row in index.rows() if row.executing] if not by_list else []
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S), known.lock:
                if by_list:
                    return await _listed(known, plan, now)
                for name in [each for each in names if each != named(plan)][:MOST_RESERVED]:
                    if not _fresh(known.plans.get(name), now):
                        found = await one(home, "Plan", *name)
                        kept = reduced(found) if isinstance(found, dict) else None
                        _keep(known.plans, name, (now, kept))
                        if isinstance(found, Unread):
                            known.plans.pop(name)
        if by_list:
            return Unread(kind_of("Plan").resource, "timed out")
        others = [each for each in names if each != named(plan)]
        read = [known.plans[name] for name in others if _fresh(known.plans.get(name), now)]
        return tuple(each for _, each in read if each is not None), len(others) - len(read)

    async def held(
        self,
        home: Cluster,
        others: Sequence[Running],
        cluster: Cluster,
        providers: Mapping[str, Cluster],
        profile: Profile,
        now: datetime,
    ) -> tuple[tuple[VmNeed, ...], int]:
        """Return the receivers of other plans to this cluster that have no pod yet, and how many plans were not asked.

        `profile` is that of the cluster.
        """
        known, keys = self._home(home), [(cluster.name, each.flow.plan) for each in others]
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S), known.lock:
                for key, other in zip(keys, others, strict=True):
                    if not _fresh(known.needs.get(key), now):
                        _keep(known.needs, key, (now, await _needs(home, other.plan, cluster, providers, profile)))
        read = [known.needs[key] for key in keys if _fresh(known.needs.get(key), now)]
        needs = [need for _, found in read for need in found]
        return tuple(needs[:MOST_RESERVED]), len(keys) - len(read)

    def _home(self, home: Cluster) -> _Home:
        known = self._homes.get(home.name)
        if known is None or known.cluster is not home:  # a reload may have given the name to another one
            known = self._homes[home.name] = _Home(home)
        return known


def reduced(plan: Mapping[str, Any]) -> Running | None:
    """Return the few figures that are needed of a Plan, None if it does not execute."""
    if condition(plan, "Executing") != "True":
        return None
    begun = [
        {part: text(each.get(part)) for part in ("id", "name", "namespace")}
        for each in records(dig(plan, "status", "migration", "vms"))
        if text(each.get("started")) and not text(each.get("completed"))
    ][:MOST_RESERVED]
    ids, names = ({each[part] for each in begun} - {""} for part in ("id", "name"))
    spec = mapping(plan.get("spec"))
    vms = [
        {part: each[part] for part in _VM if part in each}
        for each in records(spec.get("vms"))
        if text(each.get("id")) in ids or (not text(each.get("id")) and text(each.get("name")) in names)
    ]
    provider = {
        side: {part: text(dig(spec, "provider", side, part)) for part in ("namespace", "name")}
        for side in ("source", "destination")
    }
    space, name = named(plan)
    return Running(
        flow_of(plan),
        {
            "metadata": {"namespace": space, "name": name},
            "spec": {
                **{part: spec[part] for part in _SPEC if part in spec},
                "provider": provider,
                "vms": vms[:MOST_RESERVED],
            },
            "status": {"migration": {"vms": begun}},
        },
    )


async def _needs(
    home: Cluster, other: Obj, cluster: Cluster, providers: Mapping[str, Cluster], profile: Profile
) -> tuple[VmNeed, ...]:
    end = await end_of(home, other, "destination", providers)
    if end.cluster is None or end.cluster.name != cluster.name or not (wanted := vms_of(other)):
        return ()
    source = await end_of(home, other, "source", providers)
    wanted, _ = await with_names(source, wanted)
    space = text(dig(other, "spec", "targetNamespace")) or named(other)[0]
    pods = await objects(cluster, "Pod", space, label_selector=LAUNCHERS)
    there = set() if isinstance(pods, Unread) else {vm_name(pod) for pod in pods}
    if not (wanted := tuple(each for each in wanted if each.target not in there)):
        return ()
    demand = await read_demand(home, source, other, wanted)
    sizes = await instancetypes_of(cluster, space, [each.instancetype for each in wanted])
    return tuple(need for need in demand.needs(profile, sizes).values() if need.requests is not None)


async def _listed(known: _Home, plan: Obj, now: datetime) -> tuple[tuple[Running, ...], int] | Unread:
    """Read all Plans, where no watch tells which of them execute."""
    if known.listed is None or not timedelta() <= now - known.listed <= FRESH:
        if isinstance(refusal := await _list(known, now), Unread):
            return refusal
        known.listed = now
    others = [each for name, (_, each) in known.plans.items() if each is not None and name != named(plan)]
    return tuple(others[:MOST_RESERVED]), max(0, len(others) - MOST_RESERVED)


async def _list(known: _Home, now: datetime) -> Unread | None:
    cluster, entry = known.cluster, kind_of("Plan")
    known.plans.clear()
    if not isinstance(cluster, Streams):
        found = await objects(cluster, "Plan")
        if isinstance(found, Unread):
            return found
        _take(known, found, now)
        return None
    token = ""
    try:
        for _ in range(MAX_PAGES):
            body = await cluster.raw_page("Plan", token=token, limit=PAGE)
            # A thread: one page takes milliseconds that webhooks must not wait for.
            token, plans = await asyncio.to_thread(_read, body)
            for each in plans:
                _keep(known.plans, each.flow.plan, (now, each))
            if not token:
                return None
    except ClusterError as error:
        return unread(entry.resource, error, f"list {entry.resource}{where(entry, None)}")
    except (ValueError, RecursionError):
        return Unread(entry.resource, "not a list in JSON")
    return Unread(entry.resource, "the list has no end")


def _take(known: _Home, plans: Iterable[Obj], now: datetime) -> None:
    for plan in plans:
        if (found := reduced(plan)) is not None:
            _keep(known.plans, found.flow.plan, (now, found))


def _read(body: bytes) -> tuple[str, list[Running]]:
    page = mapping(json.loads(body))
    token = dig(page, "metadata", "continue")
    found = [reduced(item) for item in records(page.get("items"))]
    return token if isinstance(token, str) else "", [each for each in found if each is not None]


def _fresh(kept: tuple[datetime, object] | None, now: datetime) -> bool:
    # A clock that was set back makes nothing fresh for longer.
    return kept is not None and timedelta() <= now - kept[0] <= FRESH


def _keep(kept: OrderedDict[Any, Any], key: object, value: object) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > MAX_KEPT:
        kept.popitem(last=False)
