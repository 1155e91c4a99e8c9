"""Gathers all evidence about one Plan: the Plan first, then every enricher at the same time, then the cause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from receiver.enrichers import Context, Enricher, Part, Text, missing
from receiver.enrichers.causes import Causes, shipped
from receiver.enrichers.controller import CONTROLLER_NAMESPACES
from receiver.enrichers.plan import read_plan, wants_earlier
from receiver.enrichers.planstate import provider
from receiver.enrichers.reading import dig, text
from receiver.enrichers.redact import Redactor
from receiver.enrichers.registry import ALL
from receiver.enrichers.runbooks import MUST_GATHER_IMAGE
from receiver.enrichers.runs import align
from receiver.enrichers.unrecognised import unrecognised
from receiver.enrichers.vms import groups_of
from receiver.enrichers.waits import cause_of, impact_with
from receiver.kube import Cluster, ClusterError
from receiver.model import Cause, Evidence, Identity, Missing, VMFailure, Wait

_log = structlog.get_logger(__name__)

# Kept of every total for putting the parts together; also what an enricher may be late by.
_RESERVE_S = 0.2
# Shares of the total for what comes before the enrichers, and beside them.
_PLAN_SHARE, _PROVIDER_SHARE, _RUNS_SHARE = 0.6, 0.15, 0.5
# A Migration of 500 VMs has about 0.9 MB, as a Plan.
_MIGRATIONS_A_PAGE = 25

ReadKept = Callable[[str, str], Awaitable[tuple[Mapping[str, Any], datetime] | None]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the configuration says about evidence."""

    must_gather_image: str = MUST_GATHER_IMAGE
    runbooks: Mapping[str, str] | None = None
    causes: Causes | None = None
    enrichers: Sequence[Enricher] = ALL
    controller_namespaces: tuple[str, ...] = CONTROLLER_NAMESPACES


async def gather_plan(
    cluster: Cluster,
    identity: Identity,
    alert_annotations: Mapping[str, str],
    *,
    redactor: Redactor,
    now: datetime,
    timeout_s: float,
    plan: dict[str, Any] | None = None,
    alertname: str = "",
    settings: Settings | None = None,
    destinations: Mapping[str, Cluster] | None = None,
    kept: ReadKept | None = None,
) -> Evidence:
    """Return what the cluster says about a Plan's last run, redacted, within `timeout_s` seconds.

    Raises nothing that a cluster or a Plan could cause: what could not be had stands in `missing`, and `complete` is
    False while any of it may pass. `plan` spares the fetch where the caller has the Plan already. A Plan of another
    UID than the identity's is not this one, and nothing of it is shown. `destinations` are the clusters that
    Providers ("namespace/name") stand for: a Plan's pods run where its destination Provider points. `kept` reads what
    a run (Plan UID, Migration UID) showed when it was last seen, and when that was.
    """
    settings = settings or Settings()
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    problem: Missing | None = None
    if plan is None:
        plan, problem = await _fetch(cluster, identity, timeout_s)
    if plan is not None and (other := _other(plan, identity)):
        plan, problem = None, other
    if problem is not None:
        problem = replace(problem, why=redactor.text(problem.why)[0])
    workload, unreadable, unsure = None, None, None
    if plan is not None:
        share_s = timeout_s * _PROVIDER_SHARE
        workload, unreadable, unsure = await destination_of(cluster, plan, destinations or {}, share_s)
    known, hidden = redacted(read_plan(plan), redactor) if plan is not None else (Evidence(), 0)
    seen = await kept(text(dig(plan, "metadata", "uid")), known.run) if kept and known.run and known.failures else None
    left = max(0.0, deadline - loop.time() - _RESERVE_S)
    context = Context(
        cluster=cluster,
        identity=identity,
        plan=plan,
        known=known,
        redactor=redactor,
        now=now,
        timeout_s=left,
        annotations=alert_annotations,
        alertname=alertname,
        runbooks=settings.runbooks or {},
        must_gather_image=settings.must_gather_image,
        workload=workload,
        unreadable=unreadable,
        controller_namespaces=settings.controller_namespaces,
        source=source_of(plan, destinations or {}) if plan is not None else None,
        kept=seen[0] if seen else None,
        kept_at=seen[1] if seen else None,
    )
    (whole, unread), parts = await asyncio.gather(
        _with_earlier(cluster, plan, left * _RUNS_SHARE),
        asyncio.gather(*(_run(enricher, context) for enricher in settings.enrichers)),
    )
    if whole is not None:
        known, hidden = redacted(whole, redactor)
    causes = settings.causes or shipped()
    said = [*texts_of(known), *(one for part in parts for one in part.texts)]
    first = tuple(one for one in (problem, unread, unsure) if one is not None)
    lacking = (*first, *(_hide(one, redactor) for part in parts for one in part.missing))
    waits = tuple(wait for part in parts for wait in part.waits)
    kept_at = next((part.kept_at for part in parts if part.kept_at is not None), None)
    impact, impact_text = impact_with(known, plan, waits) if plan is not None else (known.impact, known.impact_text)
    found = replace(
        known,
        logs=tuple(excerpt for part in parts for excerpt in part.logs),
        cause=_cause(causes, said, waits, kept_at is not None),
        links=tuple(link for part in parts for link in part.links),
        commands=tuple(command for part in parts for command in part.commands),
        events=tuple(event for part in parts for event in part.events),
        waits=waits,
        kept_at=kept_at,
        impact=impact,
        impact_text=redactor.text(impact_text)[0],
        missing=lacking,
        hidden=hidden + sum(part.hidden for part in parts),
        read_at=now,
        complete=not any(one.passing for one in lacking),
    )
    line = unrecognised(found)
    if line is None or not line.read:  # nothing but words that only say that something failed
        return found
    return replace(found, unrecognised=line.line, signature=line.signature)


def _cause(causes: Causes, said: Sequence[Text], waits: Sequence[Wait], kept: bool) -> Cause | None:
    """Return the known error, the nearest to what happened first.

    The VMs' own logs and reasons; then what VMs are seen to wait for, which events and conditions only echo; then
    those. The controller's lines tell of no VM: they count where nothing else is recognised.
    """
    of_vms = [one for one in said if one.vm or one.source != "log"]
    near = [one for one in of_vms if one.source in ("log", "reason")]
    return causes.recognise(near) or cause_of(waits, causes, kept) or causes.recognise(of_vms) or causes.recognise(said)


def texts_of(known: Evidence) -> tuple[Text, ...]:
    """Return what the Plan itself says, as texts in which a cause may be recognised."""
    reasons = [
        Text("reason", failure.id or failure.name, reason) for failure in known.failures for reason in failure.reasons
    ]
    return (*reasons, *(Text("condition", "", reason) for reason in known.plan_reasons))


def redacted(evidence: Evidence, redactor: Redactor) -> tuple[Evidence, int]:
    """Return the Plan's evidence without secrets, and how many were hidden. The same text is looked at once."""
    seen: dict[str, tuple[str, int]] = {}
    hidden = 0

    def hide(said: str) -> str:
        nonlocal hidden
        if said not in seen:
            seen[said] = redactor.text(said)
            hidden += seen[said][1]
        return seen[said][0]

    def failure(one: VMFailure) -> VMFailure:
        return replace(
            one,
            name=hide(one.name),
            step=hide(one.step),
            phase=hide(one.phase),
            guest=hide(one.guest),
            reasons=tuple(hide(reason) for reason in one.reasons),
            tasks=tuple(hide(task) for task in one.tasks),
        )

    failures = tuple(failure(one) for one in evidence.failures)
    return (
        replace(
            evidence,
            failures=failures,
            standing=tuple(failure(one) for one in evidence.standing),
            groups=groups_of(failures),
            plan_reasons=tuple(hide(reason) for reason in evidence.plan_reasons),
            impact_text=hide(evidence.impact_text),
        ),
        hidden,
    )


async def _fetch(
    cluster: Cluster, identity: Identity, timeout_s: float
) -> tuple[dict[str, Any] | None, Missing | None]:
    if not identity.namespace or not identity.name:
        return None, Missing("plan", "its namespace is not known", "asked again")
    what = f"plan {identity.namespace}/{identity.name}"
    try:
        async with asyncio.timeout(timeout_s * _PLAN_SHARE):
            plan = await cluster.get_plan(identity.namespace, identity.name)
    except TimeoutError:
        return None, Missing(what, "timeout", "asked again")
    except ClusterError as error:
        right = f"get plans.forklift.konveyor.io in namespace {identity.namespace}"
        return None, missing(what, error, right)
    if plan is None:
        return None, Missing(what, f"there is none in cluster {cluster.name}", passing=False)
    return plan, None


async def _with_earlier(
    cluster: Cluster, plan: dict[str, Any] | None, timeout_s: float
) -> tuple[Evidence | None, Missing | None]:
    """Return the Plan's evidence again, read with its earlier runs, where only they can tell the impact."""
    if plan is None or not wants_earlier(plan):
        return None, None
    namespace = text(dig(plan, "metadata", "namespace"))
    try:
        async with asyncio.timeout(timeout_s):
            migrations = await cluster.list("Migration", namespace, limit=_MIGRATIONS_A_PAGE)
    except TimeoutError:
        return None, Missing("earlier runs", "timeout", "asked again")
    except ClusterError as error:
        right = f"list migrations.forklift.konveyor.io in namespace {namespace}"
        return None, missing("earlier runs", error, right)
    return read_plan(plan, align(plan, migrations)), None


async def destination_of(
    cluster: Cluster, plan: dict[str, Any], destinations: Mapping[str, Cluster], timeout_s: float
) -> tuple[Cluster | None, Missing | None, Missing | None]:
    """Return the cluster that the VMs go to where it is another one; why nothing can be read there; or why we guess."""
    name = provider(plan, "destination")
    namespace = text(dig(plan, "spec", "provider", "destination", "namespace"))
    namespace = namespace or text(dig(plan, "metadata", "namespace"))
    if not name:
        return None, None, None
    if other := destinations.get(f"{namespace}/{name}"):
        return (None if other.name == cluster.name else other), None, None
    try:
        async with asyncio.timeout(timeout_s):
            found = await cluster.get("Provider", namespace, name)
    except TimeoutError:
        return None, None, None  # most Plans stay in their cluster; where this one does not, its pods are not found
    except ClusterError as error:
        right = f"get providers.forklift.konveyor.io in namespace {namespace}"
        said = missing(f"destination provider {name}", error, right) if error.reason == "forbidden" else None
        return None, None, said
    if not text(dig(found, "spec", "url")):
        return None, None, None
    why = f"the pods run on the destination cluster {name}"
    return None, Missing("logs", why, f"list {namespace}/{name} in `providers` of a cluster", passing=False), None


def source_of(plan: Mapping[str, Any], known: Mapping[str, Cluster]) -> Cluster | None:
    """Return the cluster that live VMs leave, by the Providers that the configuration names (`known`).

    A Provider that it does not name may be this very cluster, but also any other: then nothing is asked.
    """
    side = dig(plan, "spec", "provider", "source")
    namespace = text(dig(side, "namespace")) or text(dig(plan, "metadata", "namespace"))
    return known.get(f"{namespace}/{text(dig(side, 'name'))}")


def _other(plan: dict[str, Any], identity: Identity) -> Missing | None:
    uid = text(dig(plan, "metadata", "uid"))
    if not identity.uid or uid == identity.uid:
        return None
    what = f"plan {identity.namespace}/{identity.name}"
    return Missing(what, "deleted; the plan of that name is another one now", passing=False)


async def _run(enricher: Enricher, context: Context) -> Part:
    """Run one enricher inside its budget; its own bug costs its part and nothing else."""
    budget = min(enricher.budget_s, context.timeout_s)
    try:
        async with asyncio.timeout(budget + _RESERVE_S / 2):
            return await enricher.gather(replace(context, timeout_s=budget))
    except TimeoutError:
        return Part(missing=(Missing(enricher.name, "timeout", "asked again"),))
    except Exception as error:
        # The message of an unexpected error may quote evidence: only its kind is told.
        _log.exception("enricher failed", enricher=enricher.name, exc_info=False, error=type(error).__name__)
        return Part(missing=(Missing(enricher.name, f"our own error ({type(error).__name__})", passing=False),))


def _hide(one: Missing, redactor: Redactor) -> Missing:
    return replace(one, what=redactor.text(one.what)[0], why=redactor.text(one.why)[0])
