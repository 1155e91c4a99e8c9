"""Does one Plan fit where it goes, and which other cluster would do? Reads, asks `receiver.capacity`, never raises.

Made to inform. Numbers of the target are at most a minute old, those of other clusters up to ten, and it is said.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from receiver.capacity import (
    Ranking,
    Unknown,
    Unread,
    VmNeed,
    candidates,
    flow_of,
    in_flight,
    rank,
)
from receiver.capacity.reading import dig, mapping, named, records, text
from receiver.config.model import Config
from receiver.kube import Cluster, Obj
from receiver.kube.mustgather import MustGather
from receiver.room.judge import Asked, Judged, judge
from receiver.room.naming import with_names
from receiver.room.places import End, by_provider, end_of, short_name, strangers
from receiver.room.reading import objects, one
from receiver.room.result import PlanCapacity
from receiver.room.source import read_demand
from receiver.room.supply import STALE_S, Supplied, Supply
from receiver.room.target import Target, read_target, unreachable
from receiver.room.wanted import Wanted, vms_of

MOST_OTHERS: Final = 8
"""Other clusters that are read, by name; the further ones are named as not compared."""
OTHERS_AT_A_TIME: Final = 3
_HUB: Final = "local-cluster"
_NOT_HERE: Final = "not configured here"
_NO_PROVIDER: Final = "no migration provider leads to it"


async def plan_capacity(
    config: Config,
    home: Cluster,
    plan: Obj,
    *,
    clusters: Mapping[str, Cluster],
    supply: Supply,
    now: datetime,
    others: bool = True,
) -> PlanCapacity:
    """Judge a Plan of the cluster `home` against its target, and other configured clusters unless `others` is off.

    `clusters` are those of the configuration by name. Nothing that a cluster does raises.
    """
    known = {**clusters, home.name: home}
    providers = by_provider(config, known)
    running = supply.running
    source, target, storage_map, beside, managed, listed = await asyncio.gather(
        end_of(home, plan, "source", providers),
        end_of(home, plan, "destination", providers),
        _storage_map(home, plan),
        running.beside(home, plan, now),
        objects(home, "ManagedCluster", optional=True) if others else _none(),
        objects(home, "Provider", optional=True) if others else _none(),
    )
    namespace = text(dig(plan, "spec", "targetNamespace")) or text(dig(plan, "metadata", "namespace"))
    done = _done(plan)
    vms, nameless = await with_names(source, vms_of(plan))
    pending = tuple(each for each in vms if (each.id or each.name) not in done)
    demand, facts, supplied = await asyncio.gather(
        read_demand(home, source, plan, pending), _facts(target, namespace, pending), _supplied(target, supply)
    )
    asked = Asked(
        text(dig(plan, "metadata", "uid")), bool(records(dig(plan, "status", "migration", "vms"))), pending,
        demand, storage_map,
    )  # fmt: skip
    more = [*nameless]
    reserved: tuple[VmNeed, ...] = ()
    flight = None
    if isinstance(beside, Unread):
        more.append(beside.unknown("other running plans", home.name))
    else:
        plans, late = beside
        flight = in_flight((flow_of(plan), *(each.flow for each in plans)), plan)
        if target.cluster is not None:
            reserved, unasked = await running.held(home, plans, target.cluster, providers, facts.kubevirt.profile, now)
            late += unasked
        if late:
            told = f"{late:,} of them {'was' if late == 1 else 'were'} not looked at: too many, or no answer in time"
            more.append(Unknown("other running plans", told, home.name))
    # In a thread: 5,000 nodes take half a second that webhooks must not wait for.
    judged = await asyncio.to_thread(judge, asked, target.name, facts, supplied, own=True, reserved=reserved)
    answer = replace(judged.answer, in_flight=flight)
    ages = {} if judged.age_s is None else {answer.cluster: judged.age_s}
    ranking = Ranking(())
    if others:
        ranking, unknown, other_ages = await _others(
            config, home, asked, source, target,
            clusters=known, supply=supply, managed=managed, listed=listed, namespace=namespace,
        )  # fmt: skip
        more += unknown
        ages |= other_ages
    notes = [*judged.notes, *answer.notes]
    if reserved:
        count = len(reserved)
        notes.append(f"room is held back for {count:,} {'VM' if count == 1 else 'VMs'} of other running plans")
    return PlanCapacity(
        plan="/".join(named(plan)),
        namespace=namespace,
        source=source.name,
        at=now,
        answer=answer,
        ranking=ranking,
        unknown=tuple(dict.fromkeys((*answer.unknown, *judged.unknown, *more))),
        notes=tuple(dict.fromkeys(notes)),
        ages=ages,
        vms=judged.vms,
        total=len(vms),
    )


def _done(plan: Obj) -> set[str]:
    """Return the ids of the VMs that have arrived; the name of one without an id."""
    found = set()
    for each in records(dig(plan, "status", "migration", "vms")):
        ended = text(each.get("completed")) and not each.get("error")
        stopped = any(
            one.get("type") in ("Canceled", "Failed") and one.get("status") == "True"
            for one in records(each.get("conditions"))
        )
        if ended and not stopped:
            found.add(text(each.get("id")) or text(each.get("name")))
    return found


async def _none() -> tuple[Obj, ...]:
    return ()


async def _storage_map(home: Cluster, plan: Obj) -> Obj | Unread | None:
    ref = mapping(dig(plan, "spec", "map", "storage"))
    name = text(ref.get("name"))
    if not name:
        return None
    return await one(home, "StorageMap", text(ref.get("namespace")) or text(dig(plan, "metadata", "namespace")), name)


async def _facts(target: End, namespace: str, vms: Sequence[Wanted]) -> Target:
    if target.cluster is None:
        return unreachable(namespace, target.why or Unread("target cluster", "its provider is not KubeVirt"))
    return await read_target(target.cluster, namespace, [each.instancetype for each in vms])


async def _supplied(target: End, supply: Supply) -> Supplied:
    if target.cluster is None:
        return Supplied(target.why or Unread("target cluster", "its provider is not KubeVirt"))
    return await supply.of(target.cluster)


async def _others(
    config: Config,
    home: Cluster,
    asked: Asked,
    source: End,
    target: End,
    *,
    clusters: Mapping[str, Cluster],
    supply: Supply,
    managed: tuple[Obj, ...] | Unread,
    listed: tuple[Obj, ...] | Unread,
    namespace: str,
) -> tuple[Ranking, list[Unknown], dict[str, float]]:
    """Judge the other clusters that a Provider leads to. Providers and ACM say besides which more there are."""
    unknown: list[Unknown] = []
    left_out: dict[str, str] = {}
    known: tuple[str, ...] = ()
    if isinstance(managed, Unread):
        unknown.append(managed.unknown("other clusters", home.name))
    else:
        spokes = [each for each in managed if dig(each, "metadata", "labels", _HUB) != "true"]
        known, skipped = candidates(spokes, source.name)
        left_out |= dict(skipped)
    with_provider = {each.name for each in config.clusters if each.providers} | {home.name}
    for name in known:
        if name not in clusters and name != target.name:
            left_out[name] = f"{_NOT_HERE}: name it in `clusters`, with its Provider"
    chosen: list[Cluster] = []
    for name, cluster in sorted(clusters.items()):
        ends = {end.cluster.name for end in (source, target) if end.cluster is not None}
        if name in ends or name in left_out or isinstance(cluster, MustGather):
            continue
        if name not in with_provider:
            left_out[name] = f"{_NO_PROVIDER}: list one in its `providers`"
        elif len(chosen) == MOST_OTHERS:
            left_out[name] = f"not compared: {MOST_OTHERS} others were"
        else:
            chosen.append(cluster)
    if isinstance(listed, Unread):
        unknown.append(listed.unknown("other clusters", home.name))
    else:
        for provider in strangers(listed, by_provider(config, clusters)):
            if provider in (source.provider, target.provider):
                continue
            # Another cluster may have the name already, by the Provider that is listed.
            name = provider if (name := short_name(provider)) in clusters and name in with_provider else name
            # ACM may have said why it would not do anyway.
            if left_out.get(name, _NOT_HERE).startswith((_NOT_HERE, _NO_PROVIDER)):
                left_out[name] = f"{_NOT_HERE}: list {provider} in `providers` of a cluster"
    left_out.pop(target.name, None)
    gate = asyncio.Semaphore(OTHERS_AT_A_TIME)

    async def of_one(cluster: Cluster) -> Judged | None:
        async with gate:
            facts, supplied = await asyncio.gather(
                read_target(cluster, namespace, [each.instancetype for each in asked.pending]),
                supply.of(cluster, stale_s=STALE_S),
            )
        if not facts.kubevirt.installed:
            left_out[cluster.name] = "it has no KubeVirt"
            return None
        return await asyncio.to_thread(judge, asked, cluster.name, facts, supplied, own=False)

    judged = [found for found in await asyncio.gather(*(of_one(each) for each in chosen)) if found is not None]
    ages = {each.answer.cluster: each.age_s for each in judged if each.age_s is not None}
    return rank([each.answer for each in judged], sorted(left_out.items())), unknown, ages
