"""Enrichers: each learns one kind of evidence about a failed Plan, within its own budget of time and bytes.

An enricher is one file and one line in `registry.py`. It knows the names of this module and the cluster's interface,
and no other enricher. What it returns is redacted already. It raises nothing for what a cluster may do to it: what
could not be had becomes a `Missing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from receiver.enrichers.redact import Redactor
from receiver.kube import Cluster, ClusterError
from receiver.model import Evidence, Identity, Link, LogExcerpt, Missing, ObjectEvent, Wait

__all__ = ["Context", "Enricher", "Part", "Text", "missing"]


@dataclass(frozen=True, slots=True)
class Text:
    """One text in which a cause may be recognised: a log, a reason, or a condition of the Plan."""

    source: Literal["log", "reason", "event", "condition"]
    vm: str
    """Id or name of the VM; empty for the Plan's own."""
    text: str


@dataclass(frozen=True, slots=True)
class Context:
    """Everything an enricher may use."""

    cluster: Cluster
    identity: Identity
    plan: dict[str, Any] | None
    """The whole Plan, or None where it could not be read."""
    known: Evidence
    """What the Plan alone says, redacted."""
    redactor: Redactor
    now: datetime
    timeout_s: float
    """Time for this enricher, in seconds: its budget, or what is left of the total."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """The alert's own."""
    alertname: str = ""
    runbooks: Mapping[str, str] = field(default_factory=dict)
    """Configured runbook links by alert name."""
    must_gather_image: str = ""
    workload: Cluster | None = None
    """The cluster that the VMs go to, where it is another one; None: this one."""
    unreadable: Missing | None = None
    """Set where the VMs go to another cluster that is not configured: nothing there can be read."""
    controller_namespaces: tuple[str, ...] = ()
    """Where forklift-controller may run."""
    source: Cluster | None = None
    """The cluster that live VMs leave, where it is known and can be read."""
    kept: Mapping[str, Any] | None = None
    """What the run's objects showed when they were last seen (`receiver.stuck.snapshot`): Forklift deletes them."""
    kept_at: datetime | None = None
    """When that was."""

    @property
    def target(self) -> Cluster:
        """The cluster of the target namespace: pods, claims and target VMs are there."""
        return self.workload or self.cluster

    @property
    def run(self) -> str:
        """UID of the Migration that the evidence belongs to."""
        return self.known.run


@dataclass(frozen=True, slots=True)
class Part:
    """What one enricher adds to the evidence."""

    logs: tuple[LogExcerpt, ...] = ()
    links: tuple[Link, ...] = ()
    commands: tuple[Link, ...] = ()
    texts: tuple[Text, ...] = ()
    missing: tuple[Missing, ...] = ()
    hidden: int = 0
    events: tuple[ObjectEvent, ...] = ()
    waits: tuple[Wait, ...] = ()
    kept_at: datetime | None = None
    """Set where `waits` come from what was kept."""


class Enricher(Protocol):
    """One source of evidence."""

    @property
    def name(self) -> str:
        """What people call it in "… : timeout": `logs`."""

    @property
    def budget_s(self) -> float:
        """Seconds it may take, less if the total is used up."""

    async def gather(self, ctx: Context) -> Part:
        """Return what could be learnt. Ends within `ctx.timeout_s`, with what it has by then."""


def missing(what: str, error: ClusterError, right: str) -> Missing:
    """Return what a cluster's refusal means: `right` is what a cure would grant, as `get pods/log in namespace x`.

    Everything but "not found" passes: servers come back, and rights are granted while a story is open.
    """
    if error.reason == "forbidden":
        return Missing(what, "forbidden", f"needs {right}")
    if error.reason == "unauthorized":
        return Missing(what, "unauthorized", "renew the cluster's credentials")
    if error.reason == "not found":
        return Missing(what, "not found", passing=False)
    return Missing(what, f"{error.reason}: {error.message}" if error.message else error.reason, "asked again")
