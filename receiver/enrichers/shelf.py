"""Finds the one runbook of an alert, in a fixed order, and never invents a link.

1. An override: from a ConfigMap of the alert's namespace, then of ours, then `runbooks:` in routes.yaml.
2. The alert's annotation `runbook_url`.
3. A published runbook of KubeVirt and its operators, for the alerts that are known to have one.
4. Our own page, where `web.external_url` says how to reach it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlencode

from receiver.enrichers.overrides import CAUSE, Override, Overrides, filled
from receiver.enrichers.published import published
from receiver.enrichers.runbooks import usable
from receiver.kube import Cluster, ClusterError
from receiver.kube.discovery import Discovers
from receiver.model import Alert, Evidence, Identity, Link, Missing

DISCOVERY_TIMEOUT_S = 2.0
_AUTOPILOT_REPOSITORY = "https://github.com/kubevirt/virt-platform-autopilot/"
"""Where autopilot's annotation points; nobody could confirm that it is there, so our own page is preferred."""

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "MigrationFailed": "MTVPlanFailed",
        "VirtPlatformSyncFailed": "VirtPlatformAutopilotSyncFailed",
        "VirtPlatformThrashingDetected": "VirtPlatformAutopilotThrashingDetected",
        "VirtPlatformDependencyMissing": "VirtPlatformAutopilotDependencyMissing",
        "VirtPlatformTombstoneStuck": "VirtPlatformAutopilotTombstoneStuck",
        "VirtPlatformRenderFailed": "VirtPlatformAutopilotRenderFailed",
        "VirtPlatformLoggingStorageNotConfigured": "VirtPlatformAutopilotLoggingStorageNotConfigured",
        "VirtPlatformMachineConfigUpdateStaged": "VirtPlatformAutopilotMachineConfigUpdateStaged",
    }
)
"""Alerts that share a page: the old names of autopilot's, Forklift's two names of a failed plan."""


class Shelf:
    """Where runbooks are looked for."""

    def __init__(self, configured: Mapping[str, str], external_url: str, overrides: Overrides) -> None:
        self._configured = configured
        self._external_url = external_url.rstrip("/")
        self._overrides = overrides

    async def runbook(self, cluster: Cluster, identity: Identity, alert: Alert) -> Link | None:
        """Return the runbook of an alert, or None. Never raises; asks a cluster at most once a minute."""
        override = await self._override(cluster, identity, alert.name)
        if override is not None and (link := self._of(override, cluster, alert.name, alert.labels)):
            return link
        openshift = await _is_openshift(cluster, alert)
        return found_link(alert, self._configured, self._external_url, openshift=openshift)

    async def for_cause(self, cluster: Cluster, identity: Identity, evidence: Evidence, alert: Alert) -> Evidence:
        """Return evidence whose cause links to the runbook that people keep for it, where they keep one."""
        if evidence.cause is None:
            return evidence
        name = f"{CAUSE}{evidence.cause.id}"
        override = await self._override(cluster, identity, name)
        link = self._of(override, cluster, name, alert.labels) if override is not None else None
        url = link.url if link else self._configured.get(name, "") or evidence.cause.link
        return with_cause_link(evidence, url)

    async def _override(self, cluster: Cluster, identity: Identity, name: str) -> Override | None:
        book = await self._overrides.of(cluster)
        return book.find(name, namespaces(identity, self._overrides.own_namespace))

    def _of(self, override: Override, cluster: Cluster, name: str, labels: Mapping[str, str]) -> Link | None:
        if override.is_link:
            url = filled(override.value, labels)
            return Link("Runbook", url) if usable(url) else None
        if not self._external_url:
            return None  # a text without a page to show it on
        where = urlencode({"cluster": cluster.name, "namespace": override.namespace})
        return Link("Runbook", f"{self._external_url}/runbooks/{quote(name, safe='')}?{where}")


def found_link(
    alert: Alert, configured: Mapping[str, str], external_url: str = "", *, openshift: bool = False
) -> Link | None:
    """Return the runbook that needs no cluster to be found: everything of the order but ConfigMaps."""
    own = page_url(alert.name, external_url)
    noted = alert.annotations.get("runbook_url", "") or alert.annotations.get("runbook", "")
    if noted.startswith(_AUTOPILOT_REPOSITORY) and own:
        noted = own
    public = ""
    if alert.labels.get("kubernetes_operator_part_of") == "kubevirt":
        public = published(alert.name, openshift=openshift)
    for url in (configured.get(alert.name, ""), noted, public, own):
        if usable(url):
            return Link("Runbook", url)
    return None


def with_cause_link(evidence: Evidence, url: str) -> Evidence:
    """Return evidence with the cause's runbook before all other links."""
    if evidence.cause is None or not usable(url):
        return evidence
    link = Link("Runbook of this cause", url)
    return replace(evidence, links=(link, *(one for one in evidence.links if one.url != url)))


def no_runbook(alertname: str) -> Missing:
    """Say that there is none, and where one could be kept."""
    if alertname in own_pages():
        why, cure = f"this service has one for {alertname}, but not its own address", "set web.external_url"
        return Missing("runbook", why, cure, passing=False)
    about = f" for {alertname}" if alertname else ""
    return Missing("runbook", f"no runbook known{about}", "set runbook_url on its rule", passing=False)


def namespaces(identity: Identity, own: str) -> Sequence[str]:
    """Return whose ConfigMaps count for a subject, in order."""
    every = (identity.owner_namespace, identity.namespace, identity.target_namespace, own)
    return tuple(dict.fromkeys(name for name in every if name))


def shipped_runbooks() -> Path:
    """Return the folder of our own pages, in a checkout or in an installed package."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parent / "docs" / "runbooks"
    return checkout if checkout.is_dir() else package / "_shipped" / "runbooks"


@cache
def own_pages() -> Mapping[str, Path]:
    """Return our own pages by alert name, aliases included. Files of the program, so they are looked for once."""
    pages = {path.stem: path for path in sorted(shipped_runbooks().glob("*.md")) if path.stem != "README"}
    pages |= {alias: pages[name] for alias, name in ALIASES.items() if name in pages and alias not in pages}
    return MappingProxyType(pages)


def page_url(alertname: str, external_url: str) -> str:
    """Return the address of our own page about an alert; empty where there is none, or no address of ours."""
    if not external_url or alertname not in own_pages():
        return ""
    return f"{external_url.rstrip('/')}/runbooks/{quote(alertname, safe='')}"


async def _is_openshift(cluster: Cluster, alert: Alert) -> bool:
    """Ask only where it decides something: for KubeVirt's alerts without an annotation."""
    if alert.labels.get("kubernetes_operator_part_of") != "kubevirt" or alert.annotations.get("runbook_url"):
        return False
    if alert.labels.get("namespace", "").startswith("openshift-"):
        return True
    if not isinstance(cluster, Discovers):
        return False
    try:
        async with asyncio.timeout(DISCOVERY_TIMEOUT_S):
            kinds = await cluster.kinds_named("ClusterVersion")
    except (ClusterError, TimeoutError):
        return False
    return any(kind.group == "config.openshift.io" for kind in kinds)
