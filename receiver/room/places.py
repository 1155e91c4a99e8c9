"""Which clusters a plan connects: its Providers, and the configured clusters that they stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from receiver.capacity import Unread
from receiver.config.model import Config
from receiver.kube import Cluster, Obj
from receiver.room.reading import one

OPENSHIFT: Final = "openshift"
ACM_SUFFIX: Final = "-mtv"
"""ACM makes a Provider `<managed cluster>-mtv` for each of its clusters."""


@dataclass(frozen=True, slots=True)
class End:
    """One end of a plan. `cluster` is None for another kind of provider, or where nobody can tell; `why` then says it.

    `provider` is "namespace/name", `kind` its type such as vsphere, empty if it could not be read.
    """

    provider: str
    kind: str = ""
    cluster: Cluster | None = None
    why: Unread | None = None
    obj: Obj | None = None

    @property
    def name(self) -> str:
        """The cluster's name in the configuration, else the name of the provider."""
        if self.cluster is not None:
            return self.cluster.name
        return short_name(self.provider)


def short_name(provider: str) -> str:
    """Return what a cluster is called of which only the Provider is known ("namespace/name")."""
    return provider.rpartition("/")[2].removesuffix(ACM_SUFFIX)


def by_provider(config: Config, clusters: Mapping[str, Cluster]) -> dict[str, Cluster]:
    """Return the clusters that Providers ("namespace/name") stand for."""
    return {
        provider: clusters[each.name]
        for each in config.clusters
        if each.name in clusters
        for provider in each.providers
    }


def strangers(providers: Iterable[Mapping[str, Any]], known: Mapping[str, Cluster]) -> list[str]:
    """Return the Providers ("namespace/name") of clusters that the configuration does not name, by name."""
    found = set()
    for each in providers:
        spec, metadata = _mapping(each.get("spec")), _mapping(each.get("metadata"))
        # Without an address it is the cluster in which Forklift runs.
        if spec.get("type") == OPENSHIFT and spec.get("url"):
            found.add(f"{metadata.get('namespace') or ''}/{metadata.get('name') or ''}")
    return sorted(found - known.keys())


async def end_of(home: Cluster, plan: Mapping[str, Any], side: str, known: Mapping[str, Cluster]) -> End:
    """Return where a plan's VMs come from ("source") or go to ("destination")."""
    ref = _mapping(_mapping(_mapping(plan.get("spec")).get("provider")).get(side))
    name = str(ref.get("name") or "")
    namespace = str(ref.get("namespace") or _mapping(plan.get("metadata")).get("namespace") or "")
    provider = f"{namespace}/{name}"
    if not name:
        return End(provider, why=Unread(f"{side} provider", "the plan names none"))
    found = await one(home, "Provider", namespace, name)
    obj = None if isinstance(found, Unread) else found
    spec = _mapping(_mapping(obj).get("spec"))
    kind = str(spec.get("type") or "")
    if other := known.get(provider):
        return End(provider, kind or OPENSHIFT, other, None, obj)
    if isinstance(found, Unread):
        return End(provider, why=found)
    if obj is None:
        return End(provider, why=Unread(f"{side} provider {provider}", "it does not exist"))
    if kind != OPENSHIFT:
        return End(provider, kind, obj=obj)
    if not spec.get("url"):
        return End(provider, kind, home, None, obj)
    why = f"not configured: list {provider} in `providers` of a cluster"
    return End(provider, kind, None, Unread(f"cluster of {provider}", why), obj)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
