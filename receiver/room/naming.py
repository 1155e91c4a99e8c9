"""Names of VMs of which a Plan has only the ids: a UID names no object, so the source is looked through once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from receiver.capacity import Unknown, Unread
from receiver.capacity.reading import NAME, dig, mapping, named, records, text
from receiver.kube import Cluster, ClusterError
from receiver.kube.kinds import kind_of, where
from receiver.kube.streams import Streams
from receiver.room.places import End
from receiver.room.reading import objects, unread
from receiver.room.wanted import Wanted

PAGE: Final = 250
MAX_PAGES: Final = 80
"""With 250 a page: 20,000 VMs, as many as a list may have elsewhere."""
LOOKED_S: Final = 10.0
_RUNNING: Final = "VirtualMachineInstance"
_ALL: Final = "VirtualMachine"

Place = tuple[str, str]  # namespace, name


async def with_names(source: End, vms: Sequence[Wanted]) -> tuple[tuple[Wanted, ...], tuple[Unknown, ...]]:
    """Return the VMs with the names that their ids have in the source cluster, and what of them is not known."""
    wanted = {each.id for each in vms if each.id and not (each.name and each.namespace)}
    cluster = source.cluster
    if cluster is None or not wanted:
        return tuple(vms), ()
    places: dict[str, Place] = {}
    problem: Unread | None = None
    try:
        async with asyncio.timeout(LOOKED_S):
            # Those that run first: that is the right we have, and most of them do.
            for kind in (_RUNNING, _ALL):
                if wanted - places.keys():
                    problem = await _look(cluster, kind, wanted, places)
    except TimeoutError:
        problem = Unread("VMs by their ids", "timed out")
    missing = wanted - places.keys()
    unknown: list[Unknown] = []
    if missing and problem is not None:
        unknown.append(problem.unknown("VMs", source.name))
    elif missing:
        unknown += [Unknown("VMs", f"no VM of {source.name} has this id", each) for each in sorted(missing)]
    return tuple(_named(each, places.get(each.id)) for each in vms), tuple(unknown)


def _named(vm: Wanted, place: Place | None) -> Wanted:
    if place is None or (vm.name and vm.namespace):
        return vm
    name = vm.name or place[1]
    return replace(vm, namespace=vm.namespace or place[0], name=name, target=vm.target or name)


async def _look(cluster: Cluster, kind: str, wanted: set[str], places: dict[str, Place]) -> Unread | None:
    """Fill in where the wanted VMs are; a page at a time, of which nothing but their names is kept."""
    if not isinstance(cluster, Streams):
        found = await objects(cluster, kind)
        if isinstance(found, Unread):
            return found
        places |= _picked(found, wanted)
        return None
    entry, token = kind_of(kind), ""
    try:
        for _ in range(MAX_PAGES):
            body = await cluster.raw_page(kind, token=token, limit=PAGE)
            token, picked = await asyncio.to_thread(_read, body, wanted)
            places |= picked
            if not token or wanted <= places.keys():
                return None
    except ClusterError as error:
        return unread(entry.resource, error, f"list {entry.resource}{where(entry, None)}")
    except (ValueError, RecursionError):
        return Unread(entry.resource, "not a list in JSON")
    return Unread(entry.resource, f"more than {PAGE * MAX_PAGES:,}")


def _read(body: bytes, wanted: set[str]) -> tuple[str, dict[str, Place]]:
    page = mapping(json.loads(body))
    token = dig(page, "metadata", "continue")
    return token if isinstance(token, str) else "", _picked(page.get("items"), wanted)


def _picked(items: object, wanted: set[str]) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for item in records(items):
        for uid in _ids(item) & wanted:
            found[uid] = named(item)
    return found


def _ids(item: Mapping[str, Any]) -> set[str]:
    """A VMI has the name of its VM, and another UID."""
    owners = [each for each in records(dig(item, "metadata", "ownerReferences")) if each.get("kind") == _ALL]
    return {text(dig(item, "metadata", "uid"))[:NAME], *(text(each.get("uid"))[:NAME] for each in owners)} - {""}
