"""Reads what the cluster knows: whether it answers, what we may there, which plan failed last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from receiver.doctor.chain import ClusterSeen, Plan, Unread
from receiver.enrichers.planstate import holds, plan_phase
from receiver.enrichers.reading import dig, moment, text
from receiver.kube import Cluster, ClusterError
from receiver.kube.rights import Right
from receiver.model import PlanPhase

FORKLIFT_IN: Final = ("openshift-mtv", "konveyor-forklift")
SCRAPED: Final = "openshift.io/cluster-monitoring"
PAGE: Final = 25
"""Whole plans: up to 0.9 MB each."""
REACH: Final = "check its address and the firewall between: kubectl get --raw /version with the same kubeconfig"
NOBODY: Final = Unread("no cluster to ask", "give clusters[].kubeconfig_file, or run it in the pod", absent=True)

Rights = Callable[[], Awaitable[tuple[Right, ...]]]
"""Tells which rights are missing. Raises ClusterError."""


class NoSuchPlanError(Exception):
    """The cluster has no plan of that name."""


async def read(
    cluster: Cluster | None, rights: Rights | None, which: tuple[str, str] | None
) -> tuple[ClusterSeen | Unread, Plan | None]:
    """Ask the cluster. Raises NoSuchPlanError; never for what the cluster does.

    A plan that is named but could not be read is followed by its name alone.
    """
    named = Plan(*which, cluster=cluster.name if cluster else "") if which is not None else None
    if cluster is None:
        return NOBODY, named
    try:
        version = await cluster.version()
    except ClusterError as error:
        return Unread(error.message, _cure(error)), named
    missing, why = await _missing(rights)
    plans: tuple[dict[str, Any], ...] = ()
    try:
        plans = await _plans(cluster, which)
    except ClusterError as error:
        why = why or Unread(error.message, _cure(error))
    else:
        if which is not None and not plans:
            raise NoSuchPlanError(f"cluster {cluster.name} has no plan {which[0]}/{which[1]}")
    labelled, monitors, unread = await _scraped(cluster)
    seen = ClusterSeen(cluster.name, version, missing, why, labelled, monitors, unread, len(plans))
    found = [_plan(one, cluster.name) for one in plans]
    if which is not None:
        return seen, found[0] if found else named
    failed = [one for one in found if one.failed]
    return seen, max(failed, key=lambda one: one.failed_at.timestamp() if one.failed_at else 0.0, default=None)


async def _missing(rights: Rights | None) -> tuple[tuple[Right, ...], Unread | None]:
    if rights is None:
        return (), Unread("a must-gather has none", absent=True)
    try:
        return tuple(one for one in await rights() if not one.optional), None
    except ClusterError as error:
        return (), Unread(error.message, _cure(error))


async def _plans(cluster: Cluster, which: tuple[str, str] | None) -> tuple[dict[str, Any], ...]:
    if which is not None:
        one = await cluster.get_plan(*which)
        return (one,) if one is not None else ()
    index = cluster.plans()
    if not index.synced:
        return await cluster.list("Plan", None, limit=PAGE)
    failed = [row for row in index.rows() if row.failed and not row.executing]  # the service's own watch knows
    newest = max(failed, key=lambda row: (len(row.resource_version), row.resource_version), default=None)
    one = await cluster.get_plan(newest.namespace, newest.name) if newest else None
    return (one,) if one is not None else ()


def _plan(one: Mapping[str, Any], cluster: str) -> Plan:
    phase = plan_phase(dict(one))
    condition = holds(dig(one, "status"), "Failed") or {}
    return Plan(
        namespace=text(dig(one, "metadata", "namespace")),
        name=text(dig(one, "metadata", "name")),
        uid=text(dig(one, "metadata", "uid")),
        failed=phase is PlanPhase.FAILED,
        phase=phase.value,
        failed_at=moment(condition.get("lastTransitionTime")) or moment(dig(one, "status", "migration", "completed")),
        cluster=cluster,
    )


async def _scraped(cluster: Cluster) -> tuple[dict[str, bool], dict[str, int], dict[str, str]]:
    """Return whether Forklift's namespaces are labelled and have a ServiceMonitor, and why that could not be read."""
    labelled: dict[str, bool] = {}
    monitors: dict[str, int] = {}
    unread: dict[str, str] = {}
    for namespace in FORKLIFT_IN:
        try:
            found = await cluster.get("Namespace", None, namespace)
            if found is None:
                continue
            labelled[namespace] = text(dig(found, "metadata", "labels", SCRAPED)) == "true"
            monitors[namespace] = len(await cluster.list("ServiceMonitor", namespace))
        except ClusterError as error:
            unread[namespace] = error.message
    return labelled, monitors, unread


def _cure(error: ClusterError) -> str:
    cures = {"unauthorized": "renew the credentials of this cluster", "forbidden": "give the account this right"}
    return REACH if error.reason in ("unreachable", "timeout") else cures.get(error.reason, "correct its address")
