"""Alerts of virt-platform-autopilot, by their old names (`VirtPlatform…`) and new ones (`VirtPlatformAutopilot…`).

Autopilot keeps objects of the platform as they should be, and pauses where somebody else keeps changing them. Its
events hang on the HyperConverged object, whatever they are about, and name the affected one in their message. The
alert's `namespace` may be the operator's own: the affected object's is `exported_namespace`, where there is one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from receiver.enrichers import autopilot_steps as steps
from receiver.enrichers.conditions import finalizers, since
from receiver.enrichers.events import newest, redacted
from receiver.enrichers.looking import MAX_EVENTS, Look, place, safe
from receiver.enrichers.objects import discovered
from receiver.enrichers.reading import dig, moment, strings, text
from receiver.enrichers.writers import PAUSED, Writer, paused_at, writers
from receiver.kube import ClusterError, Obj
from receiver.kube.discovery import Discovers
from receiver.kube.kinds import Kind
from receiver.model.naming import Named

OPERATOR = "virt-platform-autopilot"
PREFIX = "platform.kubevirt.io/"
LOG_SINCE_S = 3_600
LOG_LINES = 2_000
LOG_BYTES = 262_144
PODS = 2
USUAL_NAMESPACE = "openshift-cnv"

ALERT = re.compile(
    r"VirtPlatform(?:Autopilot)?(SyncFailed|ThrashingDetected|DependencyMissing|TombstoneStuck|RenderFailed"
    r"|LoggingStorageNotConfigured|MachineConfigUpdateStaged)"
)

# A kind may be served by several groups; autopilot manages it in this one.
GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "HyperConverged": "hco.kubevirt.io",
        "MachineConfig": "machineconfiguration.openshift.io",
        "MachineConfigPool": "machineconfiguration.openshift.io",
        "KubeletConfig": "machineconfiguration.openshift.io",
        "KubeDescheduler": "operator.openshift.io",
        "ForkliftController": "forklift.konveyor.io",
        "MetalLB": "metallb.io",
        "UIPlugin": "observability.openshift.io",
        "PrometheusRule": "monitoring.coreos.com",
        "ServiceMonitor": "monitoring.coreos.com",
        "PersesDashboard": "perses.dev",
        "LokiStack": "loki.grafana.com",
        "ClusterLogForwarder": "observability.openshift.io",
        "ServiceAccount": "",
        "Service": "",
        "ConfigMap": "",
        "ClusterRoleBinding": "rbac.authorization.k8s.io",
    }
)

_REASONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "SyncFailed": ("ApplyFailed", "RenderFailed", "InvalidPatch", "InvalidIgnoreFields", "Throttled"),
        "ThrashingDetected": ("ThrashingDetected", "Throttled", "DriftDetected", "DriftCorrected"),
        "DependencyMissing": ("CRDMissing", "AssetSkipped"),
        "TombstoneStuck": ("TombstoneFailed", "TombstoneSkipped"),
        "RenderFailed": ("RenderFailed", "AssetSkipped"),
        "LoggingStorageNotConfigured": ("RenderFailed", "AssetSkipped"),
        "MachineConfigUpdateStaged": (),
    }
)
_LOG_WORDS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "SyncFailed": re.compile(r"forbidden|admission|webhook|conflict|no matches for kind|fail|error", re.IGNORECASE),
        "ThrashingDetected": re.compile(r"throttl|edit war|drift", re.IGNORECASE),
        "DependencyMissing": re.compile(r"not found|CRD", re.IGNORECASE),
        "TombstoneStuck": re.compile(r"tombstone", re.IGNORECASE),
        "RenderFailed": re.compile(r"render|template", re.IGNORECASE),
        "LoggingStorageNotConfigured": re.compile(r"storage ?class|render", re.IGNORECASE),
    }
)


def is_autopilots(labels: Mapping[str, str]) -> str:
    """Return which of autopilot's alerts this is, such as `SyncFailed`; empty: none, or one that nobody knows yet."""
    found = ALERT.fullmatch(labels.get("alertname", ""))
    return found[1] if found else ""


async def look_at_autopilot(look: Look, what: str, labels: Mapping[str, str]) -> None:
    """Add what the cluster says about one of autopilot's alerts: the object first, then HyperConverged and the log."""
    named = Named(
        labels.get("kind", ""), labels.get("exported_namespace") or labels.get("namespace", ""), labels.get("name", "")
    )
    match what:
        case "SyncFailed" | "ThrashingDetected" | "TombstoneStuck":
            await _affected(look, what, named)
        case "DependencyMissing":
            await _dependency(look, labels)
        case "LoggingStorageNotConfigured":
            await _storage(look)
        case "MachineConfigUpdateStaged":
            await _staged(look, labels)
        case "RenderFailed":
            steps.render_failed(look, labels.get("asset", ""), labels.get("reason", ""))
    namespace = await _hyperconverged(look, what, labels, named)
    await _log(look, what, labels, namespace)
    steps.commands(look, namespace, labels.get("name", "") or labels.get("asset", ""))


async def _affected(look: Look, what: str, named: Named) -> None:
    if not safe(named.kind, named.name) or (named.namespace and not safe(named.namespace)):
        return
    kind, obj = await discovered(look, named, GROUPS)
    if kind is None:
        return
    at = place(named.namespace if kind.namespaced else "")
    if obj is None:
        if what == "TombstoneStuck":
            look.find(f"{named.kind} {named.name} is gone: the alert should clear by itself.")
        return
    look.show(obj)
    notes = strings(dig(obj, "metadata", "annotations"))
    who = writers(obj)
    if what == "TombstoneStuck":
        ours = strings(dig(obj, "metadata", "labels")).get(f"{PREFIX}managed-by") == OPERATOR
        steps.tombstone(look, kind, named.name, at, finalizers(obj), ours=ours, going=_going(look, obj))
    else:
        if paused := notes.get(PAUSED) == "true":
            look.find(
                f"Autopilot has paused this object{since(paused_at(obj), look.now)}: it corrects nothing on it now."
            )
        _writers(look, who, paused=paused)
        _odd(look, notes, obj)
        make = steps.thrashing if what == "ThrashingDetected" or paused else steps.sync_failed
        make(look, kind, named.name, at, who, paused=paused)
    look.run("Look at it, with who wrote which field", "oc", "get", kind.resource, named.name, *at, "-o", "yaml",
             "--show-managed-fields")  # fmt: skip


def _going(look: Look, obj: Obj) -> str:
    return since(moment(dig(obj, "metadata", "deletionTimestamp")), look.now)


def _writers(look: Look, who: tuple[Writer, ...], *, paused: bool) -> None:
    for writer in who[:2]:
        fields = ", ".join(f"`{path}`" for path in writer.paths[:3])
        more = f" and {len(writer.paths) - 3} more fields" if len(writer.paths) > 3 else ""
        wrote = f"writes {fields}{more}, as autopilot does" if fields else "wrote it shortly before the pause"
        last = since(writer.at, look.now).replace(" since ", ", last at ")
        look.find(f"Likely the other writer: **{writer.who}** {wrote}{last}.".replace("**", ""))
    if not who and paused:
        look.find("Nobody else appears in its managedFields: only the audit log can tell who changes it.")


def _odd(look: Look, notes: Mapping[str, str], obj: Obj) -> None:
    """Say what annotations change or break."""
    if notes.get(f"{PREFIX}mode") == "unmanaged":
        look.find("It is marked unmanaged: autopilot leaves it alone, so the alert should clear.")
    if (patch := notes.get(f"{PREFIX}patch")) is not None and not _is_json_patch(patch):
        look.find(f"Its annotation `{PREFIX}patch` is no RFC 6902 array, so autopilot refuses it (event InvalidPatch).")
    for dead in ("ignore", "force-reconcile"):
        if f"{PREFIX}{dead}" in notes:
            look.find(f"Its annotation `{PREFIX}{dead}` does nothing: autopilot reads no annotation of that name.")
    if going := _going(look, obj):
        held = finalizers(obj)
        look.find(f"It is being deleted{going}" + (f", held by the finalizer {', '.join(held[:3])}." if held else "."))


def _is_json_patch(value: str) -> bool:
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return False
    return isinstance(parsed, list) and all(isinstance(one, dict) and "op" in one and "path" in one for one in parsed)


async def _dependency(look: Look, labels: Mapping[str, str]) -> None:
    """Tell whether the cluster serves the kind that autopilot misses: discovery knows, no right is needed."""
    group, version, kind = (labels.get(key, "") for key in ("group", "version", "kind"))
    served: tuple[Kind, ...] | None = None
    if isinstance(look.cluster, Discovers) and kind:
        try:
            served = await look.cluster.kinds_named(kind)
        except ClusterError as error:
            look.refused(f"CRD of {kind}.{group}", error, "get /apis (the role system:discovery)")
    steps.dependency(look, group, version, kind, served)


async def _storage(look: Look) -> None:
    classes = await look.list("StorageClass", None)
    if classes is None:
        return
    defaults = [
        text(dig(one, "metadata", "name"))
        for one in classes
        if strings(dig(one, "metadata", "annotations")).get("storageclass.kubernetes.io/is-default-class") == "true"
    ]
    steps.storage(look, [text(dig(one, "metadata", "name")) for one in classes], defaults)


async def _staged(look: Look, labels: Mapping[str, str]) -> None:
    pool, config = labels.get("pool", ""), labels.get("machineconfig", "")
    if safe(pool):
        _, obj = await discovered(look, Named("MachineConfigPool", "", pool), GROUPS)
        if obj is not None:
            look.show(obj)
    steps.staged(look, pool, config)


async def _hyperconverged(look: Look, what: str, labels: Mapping[str, str], named: Named) -> str:
    """Add HyperConverged's conditions and the events that are about this alert; return its namespace."""
    found = await look.list("HyperConverged", None)
    if not found:
        own = labels.get("namespace", "")
        if found is not None:
            look.find("There is no HyperConverged object in this cluster: autopilot has nothing to work from.")
        return own if own.startswith("openshift-") or "hyperconverged" in own else USUAL_NAMESPACE
    hco = found[0]
    namespace, name = text(dig(hco, "metadata", "namespace")), text(dig(hco, "metadata", "name"))
    if (named.kind, named.name) != ("HyperConverged", name):
        state = look.show(hco)
        if not state.bad:
            look.objects.remove(state)  # nothing is wrong with it
    raw = await look.list("Event", namespace, field_selector=f"involvedObject.name={name}")
    about = [event for event in raw or () if _is_about(event, what, labels, named)]
    events, hidden = redacted(newest(about, names={name}, uids=(), now=look.now, limit=MAX_EVENTS), look.redactor)
    look.hidden += hidden
    look.events += events
    said = next((one for one in events if one.reason in _REASONS[what][:1] and one.warning), None)
    if said is not None and what in ("SyncFailed", "RenderFailed", "TombstoneStuck"):
        look.findings.insert(0, f"Autopilot says: {said.message}")
    return namespace


def _is_about(event: Mapping[str, Any], what: str, labels: Mapping[str, str], named: Named) -> bool:
    """Tell whether one of HyperConverged's events is about this alert: by its reason, and by the object in its message.

    ApplyFailed and its kind name the asset, which no label tells: they count where the message names the kind or name.
    """
    if text(event.get("reason")) not in _REASONS[what]:
        return False
    message = text(event.get("message")) or text(event.get("note"))
    if labels.get("asset"):
        return labels["asset"] in message
    if what == "DependencyMissing":
        return labels.get("kind", "") in message
    full = (f"{named.kind}/{named.namespace}/{named.name}", f"{named.kind}//{named.name}")
    return any(one in message for one in full) or (
        text(event.get("reason")) in ("ApplyFailed", "RenderFailed") and named.name in message
    )


async def _log(look: Look, what: str, labels: Mapping[str, str], namespace: str) -> None:
    """Add the lines of the operator's log that are about this alert."""
    words = _LOG_WORDS.get(what)
    subject = labels.get("asset") or labels.get("name") or labels.get("kind") or ""
    if words is None or not subject:
        return
    pods = await look.list("Pod", namespace, label_selector=f"app={OPERATOR}", limit=10)
    for pod in (pods or ())[:PODS]:
        name = text(dig(pod, "metadata", "name"))
        try:
            raw = await look.cluster.log(
                namespace, name, "", tail_lines=LOG_LINES, limit_bytes=LOG_BYTES, since_seconds=LOG_SINCE_S
            )
        except ClusterError as error:
            look.refused("autopilot's log", error, f"get pods/log in namespace {namespace}")
            continue
        lines = [line for line in raw.splitlines() if subject in line and words.search(line)]
        if lines:
            look.keep_log(namespace, name, "", "\n".join(lines[-50:]))
            return
