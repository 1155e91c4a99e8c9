"""Subjects and the facts to route by, from what is known: an alert's labels, a Plan's columns, a whole Plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from receiver.enrichers.planstate import plan_phase, run_uid
from receiver.enrichers.vms import count_vms, run_vms
from receiver.kube import PlanRow
from receiver.model import CAPACITY, Alert, Identity, PlanPhase, PlanState


def of_alert(alert: Alert, cluster: str) -> Identity:
    """Return the subject of an alert that is not about a Plan: the object it names, or the alert itself."""
    labels = alert.labels
    namespace = labels.get("exported_namespace") or labels.get("namespace", "")
    kind, name = labels.get("kind", ""), labels.get("name", "")
    facts = {"owner_namespace": namespace, "cluster": cluster}
    is_object = bool(kind and name)
    if is_object:
        # Not `plan/…`: an alert that only names a Plan among other objects tells no failure of its migration.
        subject = f"{'object/plan' if kind.lower() == 'plan' else kind.lower()}/{cluster}/{namespace}/{name}"
        facts |= {"object_kind": kind, "object_name": name, "object_namespace": namespace}
    else:
        name, subject = alert.name, alert.fingerprint
    return Identity(
        subject=subject,
        kind="object" if is_object else "alert",
        cluster=cluster,
        namespace=namespace,
        name=name,
        owner_namespace=namespace,
        facts=_known(facts),
    )


def asked_for(cluster: str, uid: str, namespace: str, name: str) -> Identity:
    """Return what the labels of an alert say of a Plan; what they do not say is empty."""
    facts = {"plan_uid": uid, "plan_name": name, "plan_namespace": namespace, "owner_namespace": namespace}
    return Identity(
        subject=f"plan/{uid}" if uid else f"plan/{cluster}/{namespace}/{name}",
        kind="plan",
        cluster=cluster,
        uid=uid,
        namespace=namespace,
        name=name,
        owner_namespace=namespace,
        facts=_known({**facts, "cluster": cluster}),
        alias="" if uid and not namespace else f"plan/{cluster}/{namespace}/{name}",
    )


def of_row(asked: Identity, row: PlanRow, shared: tuple[str, ...]) -> Identity:
    """Fill in what the watch knows while the Plan itself cannot be read; `shared` namespaces have no owner."""
    owner = "" if row.namespace in shared else row.namespace
    facts = {"plan_uid": row.uid, "plan_name": row.name, "plan_namespace": row.namespace, "owner_namespace": owner}
    return replace(
        asked,
        subject=f"plan/{row.uid}",
        uid=row.uid,
        namespace=row.namespace,
        name=row.name,
        owner_namespace=owner,
        facts={**asked.facts, **_known(facts)},
        alias=f"plan/{asked.cluster}/{row.namespace}/{row.name}",
    )


def of_plan(cluster: str, asked: Identity, plan: Mapping[str, Any], facts: Mapping[str, str]) -> Identity:
    """Return what a whole Plan says; `facts` are those of it."""
    metadata = plan.get("metadata") or {}
    uid = str(metadata.get("uid") or asked.uid)
    namespace = str(metadata.get("namespace") or "")
    name = str(metadata.get("name") or asked.name)
    return Identity(
        subject=f"plan/{uid}" if uid else asked.subject,
        kind="plan",
        cluster=cluster,
        uid=uid,
        namespace=namespace,
        name=name,
        target_namespace=facts.get("target_namespace", ""),
        owner_namespace=facts.get("owner_namespace", ""),
        facts={**facts, "cluster": cluster},
        alias=f"plan/{cluster}/{namespace}/{name}",
    )


def room_for(plan: Identity, uid: str) -> Identity:
    """Return a subject of its own, routed as its Plan: that room lacks ends when there is room."""
    return replace(plan, subject=f"{CAPACITY}/{uid}", kind=CAPACITY, uid="", alias="", complete=True)


def phase_of_row(row: PlanRow) -> PlanPhase:
    """Return what the columns of the watch say; Canceled is none of them, so no answer is no answer."""
    if row.executing:
        return PlanPhase.EXECUTING
    if row.failed:
        return PlanPhase.FAILED
    return PlanPhase.SUCCEEDED if row.succeeded else PlanPhase.UNREADABLE


def state_of_plan(plan: dict[str, Any]) -> PlanState:
    """Return what a whole Plan says of its last run."""
    phase = plan_phase(plan)
    counts = count_vms(plan, run_vms(plan)) if phase is PlanPhase.SUCCEEDED else None
    return PlanState(phase, run_uid(plan), counts=counts)


def _known(facts: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in facts.items() if value}
