"""Clusters: one interface over a live API server and over a must-gather.

Everything that asks a cluster knows only the names of this module. Objects are plain dictionaries as the API prints
them, with ``apiVersion`` and ``kind`` always set and without ``managedFields`` and kubectl's copy of the last
configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, Protocol, runtime_checkable

from receiver.kube.namespaces import NamespaceBook, NamespaceRow
from receiver.kube.plans import PlanEvent, PlanIndex, PlanRow

__all__ = [
    "Cluster",
    "ClusterError",
    "FollowsNamespaces",
    "NamespaceBook",
    "NamespaceRow",
    "Obj",
    "PlanEvent",
    "PlanIndex",
    "PlanRow",
    "Reason",
    "Reviews",
    "Tells",
]

Obj = dict[str, Any]

Reason = Literal["unreachable", "timeout", "forbidden", "unauthorized", "not found", "gone", "bad answer"]


class ClusterError(Exception):
    """A cluster did not give what was asked; ``message`` is one line a person can act on.

    ``unreachable``: no connection, or the server says it is overloaded or starting (429, 502, 503, 504).
    ``timeout``: no complete answer in time. ``unauthorized``: the credentials are missing or refused (401).
    ``forbidden``: a right is missing, named in the message (403). ``not found``: the kind is not served, or a log or
    container does not exist; a missing *object* is no error but None. ``gone``: the list changed too much while it
    was paged (410). ``bad answer``: anything that cannot be understood or is larger than we accept.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        self.reason: Reason = reason
        self.message = " ".join(message.split())
        super().__init__(self.message)


class Cluster(Protocol):
    """A source of Kubernetes objects and logs. Every call may raise ClusterError; none changes anything."""

    @property
    def name(self) -> str:
        """The cluster's name in the configuration."""

    async def find_plans(self, name: str) -> tuple[Obj, ...]:
        """Return the whole Plans of that name in all namespaces; the caller compares UIDs. One LIST."""

    async def get_plan(self, namespace: str, name: str) -> Obj | None:
        """Return the whole Plan, or None if there is none; never older than the watch knows it."""

    async def get(self, kind: str, namespace: str | None, name: str) -> Obj | None:
        """Return one object, or None if there is none. ``kind`` is one of ``kinds.KINDS``, else ValueError."""

    async def list(
        self,
        kind: str,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> tuple[Obj, ...]:
        """Return all objects that match; ``namespace`` None means all namespaces, ``limit`` is objects per page.

        More than 20,000 objects raise ``bad answer``: half a list would be read as a whole one.
        """

    async def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool = False,
        tail_lines: int = 400,
        limit_bytes: int = 262_144,
        since_seconds: int | None = None,
    ) -> str:
        """Return the end of a log: at most ``tail_lines`` lines and ``limit_bytes`` bytes.

        ``container`` may be empty where the pod has only one. Bytes that are no UTF-8 are replaced. A pod, container
        or previous run that does not exist raises ``not found``.
        """

    def plans(self) -> PlanIndex:
        """Return what the watch knows now: always the same object, kept up to date by ``watch``."""

    async def watch(self, on_event: Callable[[PlanEvent], None]) -> None:
        """Follow all Plans for ever, until cancelled; never raises of itself. At most one watch per cluster.

        ``on_event`` is called in the event loop and must not block; an exception in it is logged, not fatal.
        """

    async def version(self) -> str:
        """Return the server's version; the cheapest way to ask whether the cluster answers."""

    async def aclose(self) -> None:
        """Close connections and remove temporary files."""


@runtime_checkable
class Reviews(Protocol):
    """A cluster that can say what somebody may; a must-gather cannot."""

    async def subject_access_review(
        self, user: str, groups: Iterable[str], *, verb: str, group: str, resource: str, namespace: str
    ) -> bool:
        """Tell whether the cluster lets a user of these groups do this in a namespace. Raises ClusterError."""


@runtime_checkable
class FollowsNamespaces(Protocol):
    """A cluster whose namespaces can be followed."""

    def namespaces(self) -> NamespaceBook:
        """Return what is known now: always the same object, kept up to date by ``follow_namespaces``."""

    async def follow_namespaces(self, prefix: str, on_change: Callable[[str], None]) -> None:
        """Follow all Namespaces, and the ConfigMaps with the label ``<prefix>/routing=true``, until cancelled.

        Never raises of itself; at most one at a time per cluster. ``on_change`` is called in the event loop with the
        name of a namespace whose row is another one now, or is gone; it must not block, and an exception in it is
        logged, not fatal. After a list it is called only for those that differ.
        """


@runtime_checkable
class Tells(Protocol):
    """A cluster in which something can be said."""

    async def tell(self, namespace: str, name: str, reason: str, message: str) -> bool:
        """Make a Warning Event about a namespace in it; False where there is one of that name. Raises ClusterError.

        ``name`` is the Event's own: whoever says the same thing twice, or in two replicas, gives the same name, and it
        is said once (for an hour: so long a cluster keeps Events). ``reason`` is a word such as RoutingRefused. Both
        come from our code: ValueError for what cannot be one. ``message`` may hold anything, and is cut.
        """
