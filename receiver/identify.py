"""What an alert is about: its subject, and enough identity to route by. One answer within `identify_timeout`.

A Plan is known by the UID in Forklift's alert, or by namespace and name (the form of the brief). The watch usually
knows it; else one LIST over all namespaces asks. A cluster that failed a look-up is left alone for a while, so that a
hanging API server costs a storm of alerts one time-out and not one each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from receiver import subjects
from receiver.clock import Clock
from receiver.config.model import CAPACITY_SHORT, ClusterConfig, Config, SubjectRule
from receiver.enrichers.facts import OF_NAMESPACES, facts_of, namespace_facts
from receiver.kube import Cluster, ClusterError, FollowsNamespaces, NamespaceRow, PlanRow
from receiver.model import Alert, Identity, PlanPhase, PlanState
from receiver.patience import Patience

T = TypeVar("T")

FAILED_CLUSTER_REST_S = 10.0
"""No look-ups at a cluster that failed so recently."""
NO_ANSWER = ("unreachable", "timeout")
PROBE_NAME = "mtv-receiver-probe"
"""A Plan that nobody has: the list is empty, whatever the cluster holds."""
PLAN_FRESH_S = 15.0
"""A whole Plan is fetched at most this often."""
MAX_CACHED_PLANS = 500


@dataclass(frozen=True, slots=True)
class Identified:
    """An alert's subject, what its alert is to it, and the state of its Plan."""

    identity: Identity
    role: str
    plan: PlanState


@dataclass(frozen=True, slots=True)
class _Cached:
    read_at: float
    resource_version: str
    identity: Identity
    state: PlanState


class Identifier:
    """Looks subjects up in the configured clusters."""

    def __init__(
        self, config: Config, clusters: Mapping[str, Cluster], clock: Clock, redact: Callable[[str], tuple[str, int]]
    ) -> None:
        """`redact` hides secrets in what people write into annotations."""
        self._config = config
        self._redact = redact
        self._clusters = clusters
        self._clock = clock
        self._patience = {name: Patience(config.global_.identify_timeout_s) for name in clusters}
        self._failed_at: dict[str, float] = {}
        self._plans: dict[tuple[str, str, str], _Cached] = {}
        self._asking: dict[tuple[str, ...], asyncio.Task[Any]] = {}
        self._namespaces: dict[tuple[str, str], tuple[NamespaceRow, Mapping[str, str]]] = {}

    async def identify(self, alert: Alert) -> Identified:
        """Return the best answer that can be had in time. Never raises for what a cluster does."""
        rule = self._rule(alert)
        cluster = self._cluster_of(alert)
        name = cluster.name if cluster else alert.labels.get("cluster", "")
        if rule is None:
            return Identified(
                self.with_namespace(subjects.of_alert(alert, name)), "failure", PlanState(PlanPhase.NO_PLAN)
            )
        uid = alert.labels.get(rule.uid_label, "")
        plan_name = alert.labels.get(rule.name_label, "")
        if not uid and not plan_name:
            return Identified(
                self.with_namespace(subjects.of_alert(alert, name)), rule.role, PlanState(PlanPhase.NO_PLAN)
            )
        namespace = "" if uid else alert.labels.get(rule.namespace_label, "")
        if namespace in self._config.global_.shared_namespaces:
            namespace = ""
        identity, plan = await self.look_up(name, uid, namespace, plan_name)
        if alert.name == CAPACITY_SHORT:
            return Identified(subjects.room_for(identity, uid), rule.role, PlanState(PlanPhase.NO_PLAN))
        return Identified(identity, rule.role, plan)

    async def look_up(self, cluster_name: str, uid: str, namespace: str, name: str) -> tuple[Identity, PlanState]:
        """Find a Plan by UID, or by name within a namespace where one is known."""
        identity, state = await self._found(cluster_name, uid, namespace, name)
        return self.with_namespace(identity), state

    def again(self, stored: Identity, found: Identity) -> Identity:
        """Return what an open story is to be routed by: a look-up that says less than is known takes nothing away."""
        if not found.complete and stored.complete:
            found = stored
        if self._knows_namespaces(found.cluster) or stored.owner_namespace != found.owner_namespace:
            return found
        kept = {name: value for name, value in stored.facts.items() if name.startswith(OF_NAMESPACES)}
        return replace(found, facts={**kept, **found.facts})

    def _knows_namespaces(self, name: str) -> bool:
        cluster = self._clusters.get(name)
        if cluster is None or not isinstance(cluster, FollowsNamespaces):
            return self._config.namespace_routing is None
        return self._config.namespace_routing is None or cluster.namespaces().synced

    def with_namespace(self, identity: Identity) -> Identity:
        """Return an identity with what the watch knows of its owner namespace now; nobody is asked for it."""
        rules, cluster = self._config.namespace_routing, self._clusters.get(identity.cluster)
        if rules is None or cluster is None or not isinstance(cluster, FollowsNamespaces):
            return identity
        row = cluster.namespaces().of(identity.owner_namespace)
        if row is None:
            return identity
        key = (identity.cluster, row.name)
        known = self._namespaces.get(key)
        if known is None or known[0] is not row:  # looking for secrets in what may be long is done once for each change
            read = namespace_facts(rules.annotation_prefix, row.labels, row.annotations, row.wishes)
            known = self._namespaces[key] = (row, self._redacted(read))
        return replace(identity, facts={**identity.facts, **known[1]})

    def _redacted(self, facts: Mapping[str, str]) -> dict[str, str]:
        return {key: self._redact(value)[0] if "annotation" in key else value for key, value in facts.items()}

    async def _found(self, cluster_name: str, uid: str, namespace: str, name: str) -> tuple[Identity, PlanState]:
        asked = subjects.asked_for(cluster_name, uid, namespace, name)
        cluster = self._clusters.get(cluster_name)
        if cluster is None:
            why = (
                "no cluster is configured" if not self._clusters else f"cluster {cluster_name or '?'} is not configured"
            )
            missing = () if namespace else (f"namespace unknown: {why}",)
            return replace(asked, missing=missing), PlanState(PlanPhase.NO_PLAN, why=why)
        try:
            async with self._patience[cluster.name].bound():
                return await self._look_up(cluster, asked)
        except TimeoutError:
            why = f"cluster {cluster.name} does not answer"
            self._rest(cluster.name)
        except ClusterError as error:
            why = error.message
            if error.reason in NO_ANSWER:
                why = f"cluster {cluster.name} does not answer"
                self._rest(cluster.name)
        row = self._row(cluster, asked)
        state = PlanState(PlanPhase.UNREADABLE, why=why)
        if row is not None:
            asked = subjects.of_row(asked, row, self._config.global_.shared_namespaces)
            follows = cluster.plans().synced and cluster.plans().problem is None
            state = replace(state, phase=subjects.phase_of_row(row)) if follows else state
        prefix = "plan not read" if asked.owner_namespace else "namespace unknown"
        return replace(asked, complete=False, missing=(f"{prefix}: {why}",)), state

    async def _look_up(self, cluster: Cluster, asked: Identity) -> tuple[Identity, PlanState]:
        row, index = self._row(cluster, asked), cluster.plans()
        if row is None and index.synced and self._was_there(cluster, asked):
            return self._absent(cluster, asked)
        if self.rests_s(cluster.name):
            raise ClusterError("unreachable", f"cluster {cluster.name} did not answer a moment ago")
        if row is not None:
            return await self._read(cluster, asked, row) or self._absent(cluster, asked)
        if not asked.name and not index.synced:
            raise ClusterError("bad answer", f"cluster {cluster.name} is not read yet, and a UID cannot be asked for")
        plan = self._pick(await self._find(cluster, asked.name), asked)
        if plan is None:
            return self._absent(cluster, asked)
        return self._known(cluster.name, asked, plan), subjects.state_of_plan(plan)

    async def state_of(self, cluster_name: str, row: PlanRow) -> PlanState:
        """Return the state of a Plan that the watch just saw; it is fetched only where the columns do not tell."""
        if row.executing:
            return PlanState(PlanPhase.EXECUTING)
        _, state = await self.look_up(cluster_name, row.uid, row.namespace, row.name)
        return PlanState(PlanPhase.SUCCEEDED) if row.succeeded and state.phase is PlanPhase.UNREADABLE else state

    def _row(self, cluster: Cluster, asked: Identity) -> PlanRow | None:
        index = cluster.plans()
        if asked.uid:
            return index.by_uid(asked.uid)
        if asked.namespace:
            return index.by_name(asked.namespace, asked.name)
        named = index.named(asked.name)
        return named[0] if len(named) == 1 else None

    def _pick(self, plans: tuple[dict[str, Any], ...], asked: Identity) -> dict[str, Any] | None:
        def fits(plan: dict[str, Any]) -> bool:
            metadata = plan.get("metadata") or {}
            if metadata.get("name") != asked.name and not asked.uid:
                return False
            if asked.uid:
                return bool(metadata.get("uid") == asked.uid)
            return not asked.namespace or metadata.get("namespace") == asked.namespace

        found = [plan for plan in plans if fits(plan)]
        if len(found) > 1:
            places = ", ".join(sorted(str(plan["metadata"].get("namespace")) for plan in found))
            raise ClusterError("bad answer", f"{len(found)} plans are named {asked.name}: in {places}")
        return found[0] if found else None

    def _was_there(self, cluster: Cluster, asked: Identity) -> bool:
        """Only a look-up knows UID and namespace; any other Plan that is not here may live in a cluster of its own."""
        return bool(asked.uid and asked.namespace) or cluster.plans().was_deleted(asked.uid)

    def _absent(self, cluster: Cluster, asked: Identity) -> tuple[Identity, PlanState]:
        """Return an identity that says no more than was asked: what a story knows already stays."""
        why = f"plan {asked.name or asked.uid} is not in cluster {cluster.name}: it was deleted, or lives elsewhere"
        gone = cluster.plans().synced and self._was_there(cluster, asked)
        missing = (why,) if asked.namespace else (f"namespace unknown: {why}",)
        state = PlanState(PlanPhase.GONE if gone else PlanPhase.UNREADABLE, why=why)
        return replace(asked, complete=False, missing=missing), state

    def _known(self, cluster: str, asked: Identity, plan: dict[str, Any]) -> Identity:
        facts = self._redacted(facts_of(plan, self._config.global_.shared_namespaces))
        return subjects.of_plan(cluster, asked, plan, facts)

    async def _read(self, cluster: Cluster, asked: Identity, row: PlanRow) -> tuple[Identity, PlanState] | None:
        """Return what a whole Plan says, at most PLAN_FRESH_S old, never older than the watch knows; None: it is gone.

        Raises ClusterError. A Plan of 500 VMs is close to a megabyte, so only what is needed of it is kept.
        """
        key = (cluster.name, row.namespace, row.name)
        cached = self._plans.get(key)
        now = self._clock.monotonic()
        if cached is not None:
            same = cached.resource_version == row.resource_version
            fresh = same if row.resource_version else now - cached.read_at < PLAN_FRESH_S
            if fresh:
                return (cached.identity, cached.state) if asked.uid in ("", cached.identity.uid) else None
        plan = await self._once(("get", *key), lambda: cluster.get_plan(row.namespace, row.name))
        self._plans.pop(key, None)
        metadata = (plan or {}).get("metadata") or {}
        if plan is None or (asked.uid and metadata.get("uid") != asked.uid):
            return None  # deleted, or another Plan has its name now
        identity, state = self._known(cluster.name, asked, plan), subjects.state_of_plan(plan)
        if metadata.get("uid") and metadata.get("name"):
            self._plans[key] = _Cached(now, str(metadata.get("resourceVersion") or ""), identity, state)
            while len(self._plans) > MAX_CACHED_PLANS:
                self._plans.pop(next(iter(self._plans)))
        return identity, state

    async def _find(self, cluster: Cluster, name: str) -> tuple[dict[str, Any], ...]:
        if not name:
            return ()
        return await self._once(("find", cluster.name, name), lambda: cluster.find_plans(name))

    async def _once(self, key: tuple[str, ...], ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """One request serves everybody who asks for the same at the same time."""
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(ask(), name=" ".join(key))
            task.add_done_callback(lambda done: self._asked_done(key, done))
        answer: T = await asyncio.shield(task)
        return answer

    def _asked_done(self, key: tuple[str, ...], task: asyncio.Task[Any]) -> None:
        self._asking.pop(key, None)
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody waiting is no error

    async def aclose(self) -> None:
        """End look-ups that outlived their askers."""
        tasks = tuple(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _rest(self, cluster: str) -> None:
        # A look-up that was refused only because of the rest is no news: the rest must end.
        if not self.rests_s(cluster):
            self._failed_at[cluster] = self._clock.monotonic()

    def rests_s(self, cluster: str) -> float:
        """Return for how many seconds more a cluster is left alone because it failed a look-up; 0: it may be asked."""
        failed_at = self._failed_at.get(cluster)
        if failed_at is None:
            return 0.0
        return max(0.0, failed_at + FAILED_CLUSTER_REST_S - self._clock.monotonic())

    def answered(self, cluster: str) -> None:
        """Note that a cluster answers again: its rest is over."""
        self._failed_at.pop(cluster, None)

    async def probe(self, cluster: Cluster) -> bool:
        """Ask a cluster the question of a look-up; True: it answers.

        No answer renews the rest.
        """
        try:
            async with asyncio.timeout(self._config.global_.identify_timeout_s):
                await cluster.find_plans(PROBE_NAME)
        except (ClusterError, TimeoutError) as error:
            if isinstance(error, TimeoutError) or error.reason in NO_ANSWER:
                self._failed_at[cluster.name] = self._clock.monotonic()
                return False
        self.answered(cluster.name)
        return True

    def cluster(self, name: str) -> Cluster | None:
        """Return a configured cluster by name."""
        return self._clusters.get(name)

    def _rule(self, alert: Alert) -> SubjectRule | None:
        return next(
            (rule for rule in self._config.subjects if all(one.matches(alert.labels) for one in rule.matchers)), None
        )

    def _cluster_of(self, alert: Alert) -> ClusterConfig | None:
        default = None
        for cluster in self._config.clusters:
            if not cluster.matchers:
                default = cluster
            elif all(matcher.matches(alert.labels) for matcher in cluster.matchers):
                return cluster
        return default
