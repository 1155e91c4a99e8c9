"""Which resource a kind is: what an API server serves, read from its discovery documents and never guessed.

An alert says `kind="MetalLB"` and nothing of groups or plurals. One aggregated request (Kubernetes 1.27 and later)
tells all of them; the answer is kept for ten minutes and asked anew once where a kind is not in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from receiver.kube import ClusterError, Obj
from receiver.kube.kinds import Kind

if TYPE_CHECKING:
    from receiver.kube.api import Api

KEPT_S = 600.0
MISS_AGAIN_S = 60.0
"""A kind that was not served is asked for again after so long: operators get installed while a story is open."""

AGGREGATED = ",".join(
    [
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
        "application/json",
    ]
)

_NEVER_GROUPS = frozenset({"oauth.openshift.io", "user.openshift.io", "authentication.k8s.io"})


@runtime_checkable
class Discovers(Protocol):
    """A cluster that can say what it serves; files of a must-gather cannot. Every call may raise ClusterError."""

    async def kinds_named(self, kind: str) -> tuple[Kind, ...]:
        """Return every served kind of that name, one per group, in its preferred version; empty: not served."""

    async def read(self, kind: Kind, namespace: str | None, name: str) -> Obj | None:
        """Return one object with its `managedFields`, or None. Secrets, tokens and users are `forbidden` always."""


def may_read(kind: Kind) -> bool:
    """Tell whether we ever read objects of a kind, whatever our rights are."""
    return not (kind.group in _NEVER_GROUPS or (kind.group == "" and kind.plural == "secrets"))


class Discovery:
    """What one API server serves, kept for a while. One request at a time, whoever asks."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._kinds: Mapping[str, tuple[Kind, ...]] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def named(self, kind: str) -> tuple[Kind, ...]:
        """Return every served kind of that name. Raises ClusterError."""
        async with self._reading:
            now = asyncio.get_running_loop().time()
            age = None if self._read_at is None else now - self._read_at
            if age is None or age > KEPT_S or (kind not in self._kinds and age > MISS_AGAIN_S):
                core = await self._api.json("/api", accept=AGGREGATED)
                groups = await self._api.json("/apis", accept=AGGREGATED)
                found: dict[str, dict[str, Kind]] = {}
                for one in (*_served(core), *_served(groups)):
                    found.setdefault(one.kind, {}).setdefault(one.group, one)
                if not found:
                    text = f"cluster {self._api.cluster} has no aggregated discovery (Kubernetes before 1.27)"
                    raise ClusterError("bad answer", text)
                self._kinds = {name: tuple(by_group.values()) for name, by_group in found.items()}
                self._read_at = now
        return self._kinds.get(kind, ())


def _served(answer: Mapping[str, Any]) -> Iterator[Kind]:
    """Yield what a discovery document lists, preferred versions first. What has a wrong type is left out."""
    for item in _mappings(answer.get("items")):
        metadata = item.get("metadata")
        group = str(metadata.get("name") or "") if isinstance(metadata, dict) else ""
        for version in _mappings(item.get("versions")):
            for resource in _mappings(version.get("resources")):
                response = resource.get("responseKind")
                kind = response.get("kind") if isinstance(response, dict) else None
                plural, served = resource.get("resource"), version.get("version")
                if isinstance(kind, str) and isinstance(plural, str) and isinstance(served, str):
                    yield Kind(kind, group, served, plural, resource.get("scope") != "Cluster")


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else iter(())
