"""The VMs that a Plan names, what it wishes for them at the target, and the form in which their need is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from receiver.capacity import Disk, Profile, StorageRules, Unknown, Unread, VmNeed
from receiver.capacity.reading import dig, mapping, records, strings, text
from receiver.kube import Obj

Instancetypes = Mapping[str, Obj | Unread | None]
"""Instance types of a target by name, None for one that is not there."""
NO_INSTANCETYPES: Final[Instancetypes] = {}


@dataclass(frozen=True, slots=True)
class Wanted:
    """One VM as a plan names it."""

    name: str
    namespace: str
    id: str
    target: str
    """Its name at the target."""
    instancetype: str = ""
    """The instance type that the plan gives it, whatever size it has now."""
    shared: bool = True
    """Whether disks that it shares with others are copied."""

    @property
    def key(self) -> str:
        """Its name, or its id where the plan has no name yet."""
        return self.name or self.id


@dataclass(frozen=True, slots=True)
class Wishes:
    """Where a Plan wants its VMs to run: `spec.targetNodeSelector` and `spec.targetAffinity`."""

    selector: Mapping[str, str] = field(default_factory=dict)
    affinity: Mapping[str, Any] | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """Return the names of those that are set."""
        named = (("spec.targetNodeSelector", self.selector), ("spec.targetAffinity", self.affinity))
        return tuple(name for name, value in named if value)


@dataclass(frozen=True, slots=True)
class Demand:
    """What was read of the VMs of a plan, before anything is known of where they go."""

    unknown: tuple[Unknown, ...] = ()
    notes: tuple[str, ...] = ()

    def needs(self, target: Profile, instancetypes: Instancetypes = NO_INSTANCETYPES) -> dict[Wanted, VmNeed]:
        """Return what each VM asks of a cluster with this KubeVirt and these instance types."""
        raise NotImplementedError

    def disks(self, rules: StorageRules) -> dict[Wanted, tuple[Disk, ...]]:
        """Return the volumes of each VM there."""
        raise NotImplementedError


def vms_of(plan: Mapping[str, Any]) -> tuple[Wanted, ...]:
    """Return the VMs of a plan in its order, each once.

    An entry may have only an id, or only a name. Once the plan runs, its status has both.
    """
    by_id: dict[str, Mapping[str, Any]] = {}
    by_name: dict[tuple[str, str], Mapping[str, Any]] = {}
    for each in records(dig(plan, "status", "migration", "vms")):
        by_id.setdefault(text(each.get("id")), each)
        by_name.setdefault((text(each.get("namespace")), text(each.get("name"))), each)
    copied = dig(plan, "spec", "migrateSharedDisks") is not False
    found: dict[Wanted, None] = {}
    for each in records(dig(plan, "spec", "vms")):
        name, namespace, uid = (text(each.get(part)) for part in ("name", "namespace", "id"))
        resolved = (by_id.get(uid) if uid else by_name.get((namespace, name))) or {}
        name = name or text(resolved.get("name"))
        if not name and not uid:
            continue
        shared = each.get("migrateSharedDisks")
        found[
            Wanted(
                name,
                namespace or text(resolved.get("namespace")),
                uid or text(resolved.get("id")),
                text(each.get("targetName")) or name,
                text(each.get("instanceType")),
                shared if isinstance(shared, bool) else copied,
            )
        ] = None
    return tuple(found)


def wishes_of(plan: Mapping[str, Any]) -> Wishes:
    """Return where a plan wants its VMs to run."""
    selector, affinity = (dig(plan, "spec", part) for part in ("targetNodeSelector", "targetAffinity"))
    return Wishes(dict(strings(selector)), mapping(affinity) if isinstance(affinity, dict) else None)
