"""Evidence for the commands that answer a person: read as the service reads it, and honest about a must-gather.

A cluster that has no events says so by an empty list; a must-gather has an empty list, too, where its script took none.
What is read from files says therefore what those files do not hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from receiver.config.model import Config
from receiver.enrichers.causes import causes_with
from receiver.enrichers.controller import CONTROLLER_NAMESPACES
from receiver.enrichers.evidence import Settings, gather_plan
from receiver.enrichers.others import gather_other
from receiver.enrichers.overrides import Overrides, own_namespace
from receiver.enrichers.redact import Redactor
from receiver.enrichers.shelf import Shelf
from receiver.kube import Cluster
from receiver.kube.mustgather import MustGather
from receiver.model import Alert, Evidence, Identity, Missing
from receiver.model.naming import named_by

NOT_GATHERED = "not in the must-gather"
# How the enrichers say that a cluster has no such thing, or has it no more.
_ABSENT = ("not found", "there is none", "this cluster does not have it", "no pod is left")
_READ_AHEAD = ("Pod", "Event", "PersistentVolumeClaim", "Job", "Migration", "Conversion", "Provider")


class Reader:
    """Reads the evidence of one alert after the other; nothing is shared between them but what is configured."""

    def __init__(
        self, config: Config, clusters: Mapping[str, Cluster], redactor: Redactor, *, timeout_s: float
    ) -> None:
        self._clusters = clusters
        self._redactor = redactor
        self._timeout_s = timeout_s
        self._shelf = Shelf(config.runbooks, config.web.external_url, Overrides(own_namespace()))
        self._settings = Settings(
            runbooks=config.runbooks,
            causes=causes_with(config.causes),
            controller_namespaces=tuple(dict.fromkeys((*CONTROLLER_NAMESPACES, *config.global_.shared_namespaces))),
        )
        self._destinations = {
            provider: clusters[one.name]
            for one in config.clusters
            for provider in one.providers
            if one.name in clusters
        }

    async def read(self, cluster: Cluster, identity: Identity, alert: Alert, now: datetime) -> Evidence:
        """Return what a cluster says about an alert's subject; nothing raises, what was not had stands in `missing`."""
        places = _places(identity, alert)
        if isinstance(cluster, MustGather):
            await _read_ahead(cluster, (*places, *self._settings.controller_namespaces))
        runbook = await self._shelf.runbook(cluster, identity, alert)
        if identity.kind != "plan":
            evidence = await gather_other(
                cluster, alert, redactor=self._redactor, now=now, timeout_s=self._timeout_s, runbook=runbook
            )
        else:
            evidence = await gather_plan(
                cluster,
                identity,
                alert.annotations,
                redactor=self._redactor,
                now=now,
                timeout_s=self._timeout_s,
                alertname=alert.name,
                settings=replace(self._settings, runbooks={alert.name: runbook.url} if runbook else {}),
                destinations=self._destinations,
            )
            evidence = await self._shelf.for_cause(cluster, identity, evidence, alert)
        if isinstance(cluster, MustGather):
            lacking = await _not_taken(cluster, identity, evidence, places)
            evidence = replace(evidence, missing=(*_as_gathered(evidence), *lacking))
        # Nobody asks again after a command has ended.
        missing = tuple(replace(one, cure="") if one.cure == "asked again" else one for one in evidence.missing)
        return replace(evidence, missing=missing)


def _places(identity: Identity, alert: Alert) -> tuple[str, ...]:
    """Return the namespaces whose events and pods matter, each once."""
    if identity.kind == "plan":
        names = [identity.namespace, identity.target_namespace]
    else:
        names = [one.namespace for one in named_by(alert.labels)]
    return tuple(dict.fromkeys(name for name in names if name))


async def _read_ahead(gather: MustGather, places: tuple[str, ...]) -> None:
    """Read the files before the clock of the evidence runs: large lists take seconds, once."""
    for place in dict.fromkeys(places):
        for kind in _READ_AHEAD:
            await gather.list(kind, place)


def _as_gathered(evidence: Evidence) -> tuple[Missing, ...]:
    return tuple(
        replace(one, why=NOT_GATHERED, cure="", passing=False) if one.why.startswith(_ABSENT) else one
        for one in evidence.missing
    )


async def _not_taken(
    gather: MustGather, identity: Identity, evidence: Evidence, places: tuple[str, ...]
) -> tuple[Missing, ...]:
    """Say which evidence the gather's script did not take, where it would matter."""
    if not (evidence.failures or evidence.plan_reasons or evidence.counts.running or evidence.objects):
        return ()
    of_pods = places[-1:] if identity.kind == "plan" else places  # a Plan's pods run where its VMs go
    lacking: list[Missing] = []
    for kind, what, where in (("Event", "events", places), ("Pod", "state of the pods", of_pods)):
        without = [place for place in where if not await gather.holds(kind, place)]
        if without:
            lacking.append(Missing(f"{what} in {' and '.join(without)}", NOT_GATHERED, passing=False))
    return tuple(lacking)
