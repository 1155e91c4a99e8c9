"""What owners of namespaces ask for, for people to look at, and the Event that says it to them where it is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from receiver.clock import Clock
from receiver.config.model import Config
from receiver.config.namespace_routing import NamespaceRouting
from receiver.enrichers.facts import namespace_facts
from receiver.forever import for_ever
from receiver.kube import Cluster, ClusterError, FollowsNamespaces, NamespaceRow, Tells
from receiver.metrics import Metrics
from receiver.routing.wishes import Wish, wishes

log = structlog.get_logger(__name__)

REASON: Final = "RoutingRefused"
LOOK_EVERY_S: Final = 2.0
REST_S: Final = 60.0
"""Between two tries for one namespace: whoever changes an annotation all the time makes no flood of Events."""
AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """What one namespace asks for."""

    cluster: str
    namespace: str
    wish: Wish


def asked(config: Config, clusters: Mapping[str, Cluster]) -> tuple[Asked, ...]:
    """Return what is asked for now, as far as the watches know."""
    return tuple(_asked(config, clusters))


def _asked(config: Config, clusters: Mapping[str, Cluster]) -> Iterator[Asked]:
    rules = config.namespace_routing
    if rules is None:
        return
    for name, cluster in clusters.items():
        if isinstance(cluster, FollowsNamespaces):
            for row in sorted(cluster.namespaces().rows(), key=lambda one: one.name):
                yield from (Asked(name, row.name, wish) for wish in _wishes(row, rules, config))


def unread(config: Config, clusters: Mapping[str, Cluster]) -> tuple[str, ...]:
    """Return why what namespaces ask for is not known, a sentence for each cluster where that is so."""
    if config.namespace_routing is None:
        return ()
    found = []
    for name, cluster in clusters.items():
        if not isinstance(cluster, FollowsNamespaces):
            continue
        book = cluster.namespaces()
        if book.problem is not None or not book.synced:
            found.append(f"{name}: {book.problem or 'its namespaces are not read yet'}")
    return tuple(found)


def _wishes(row: NamespaceRow, rules: NamespaceRouting, config: Config) -> tuple[Wish, ...]:
    return wishes(namespace_facts(rules.annotation_prefix, row.labels, row.annotations, row.wishes), config)


class Refusals:
    """Runs until cancelled: says to a namespace, by an Event in it, what of its wishes is refused."""

    def __init__(self, config: Config, clusters: Mapping[str, Cluster], clock: Clock, metrics: Metrics) -> None:
        self._config = config
        self._clusters = clusters
        self._clock = clock
        self._metrics = metrics
        self._changed: dict[tuple[str, str], None] = {}
        self._told: dict[tuple[str, str], tuple[float, frozenset[Wish]]] = {}

    def changed(self, cluster: str, namespace: str) -> None:
        """Look at a namespace again."""
        self._changed[cluster, namespace] = None

    async def run(self) -> None:
        """Work for ever. What is known of namespaces already was judged by another configuration."""
        for name, cluster in self._clusters.items():
            if isinstance(cluster, FollowsNamespaces):
                self._changed |= dict.fromkeys((name, row.name) for row in cluster.namespaces().rows())
        await for_ever(self.look, LOOK_EVERY_S, name="self_service", clock=self._clock, metrics=self._metrics)

    async def look(self) -> None:
        """Tell what is new."""
        now = self._clock.monotonic()
        due = [one for one in self._changed if one not in self._told or now - self._told[one][0] >= REST_S]
        for cluster, namespace in due[:AT_ONCE]:
            del self._changed[cluster, namespace]
            await self._judge(cluster, namespace, now)

    async def _judge(self, cluster_name: str, namespace: str, now: float) -> None:
        rules, cluster = self._config.namespace_routing, self._clusters[cluster_name]
        if rules is None or not isinstance(cluster, FollowsNamespaces):
            return
        row = cluster.namespaces().of(namespace)
        wanted = _wishes(row, rules, self._config) if row is not None else ()
        refused = frozenset(wish for wish in wanted if wish.refused)
        key = (cluster_name, namespace)
        before = self._told.pop(key, (0.0, frozenset[Wish]()))[1]
        told = set(refused & before)
        for wish in sorted(refused - before, key=lambda one: (one.key, one.value)):
            said = f"{wish.text} is not told of migrations in this namespace: {wish.refused}"
            log.warning("self_service.refused", cluster=cluster_name, namespace=namespace, asked=wish.text, why=said)
            if not isinstance(cluster, Tells) or await self._tell(cluster, namespace, wish, said):
                told.add(wish)
        if refused:
            self._told[key] = (now, frozenset(told))

    async def _tell(self, cluster: Tells, namespace: str, wish: Wish, said: str) -> bool:
        mark = hashlib.sha256(f"{wish.key}\n{wish.value}\n{wish.refused}".encode("utf-8", "replace")).hexdigest()[:16]
        try:
            await cluster.tell(namespace, f"mtv-receiver-routing-{mark}", REASON, said)
        except ClusterError as error:
            log.warning("self_service.not_said", namespace=namespace, error=error.message)
            return False
        return True
