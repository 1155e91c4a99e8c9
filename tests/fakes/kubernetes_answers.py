"""The pieces of the fake API server that keep no state: names, rows, Status bodies, selectors."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.responses import JSONResponse, Response

Obj = dict[str, Any]
Key = tuple[str, str, str]  # resource, namespace, name

_IRREGULAR = {
    "StorageClass": "storageclasses",
    "PriorityClass": "priorityclasses",
    "CSIStorageCapacity": "csistoragecapacities",
}
CLUSTER_SCOPED = {
    "Namespace", "Node", "PersistentVolume", "StorageClass", "CSIDriver", "PriorityClass", "StorageProfile", "CDI",
    "VirtualMachineClusterInstancetype", "VirtualMachineClusterPreference", "ManagedCluster",
    "MachineConfig", "MachineConfigPool", "ClusterVersion", "UIPlugin", "CDIConfig", "ClusterResourceQuota",
    "ApplicationAwareClusterResourceQuota",
}  # fmt: skip
PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<ns>[^/]+)(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+))?(?:/(?P<sub>log|expand-spec))?"
)
PLAN_COLUMNS = ("READY", "EXECUTING", "SUCCEEDED", "FAILED")


def resource_of(obj: Obj) -> str:
    kind, version = obj["kind"], obj["apiVersion"]
    group = version.rpartition("/")[0]
    plural = _IRREGULAR.get(kind, kind.lower() + "s")
    return f"{plural}.{group}" if group else plural


class Server(uvicorn.Server):
    """uvicorn without signal handlers and without waiting for clients that never leave."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.force_exit = True
        await super().shutdown(sockets)


def table_row(obj: Obj, titles: list[str]) -> Obj:
    held = {condition["type"].upper(): condition["status"] for condition in obj.get("status", {}).get("conditions", ())}
    age = obj["metadata"].get("creationTimestamp")
    cells: list[Any] = [
        obj["metadata"].get("name", "") if t == "Name" else age if t == "AGE" else held.get(t) for t in titles
    ]
    return {"cells": cells, "object": metadata_of(obj)}


def metadata_of(obj: Obj) -> Obj:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def event_line(event: Obj) -> bytes:
    return json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def discovery(objects: Iterable[Obj], also: Iterable[tuple[str, str, str]], *, core: bool) -> Obj:
    """Aggregated discovery of the kinds that there are objects of, and of ``also``: (apiVersion, kind, scope)."""
    found: dict[str, dict[str, dict[str, Obj]]] = {}
    served = [(o["apiVersion"], o["kind"], "Cluster" if o["kind"] in CLUSTER_SCOPED else "Namespaced") for o in objects]
    for api_version, kind, scope in (*served, *also):
        group, _, version = api_version.rpartition("/")
        if (group == "") == core:
            plural = resource_of({"apiVersion": api_version, "kind": kind}).split(".")[0]
            entry = {"resource": plural, "responseKind": {"group": "", "version": "", "kind": kind}, "scope": scope}
            found.setdefault(group, {}).setdefault(version, {})[plural] = entry
    items = [
        {
            "metadata": {"name": group, "creationTimestamp": None},
            "versions": [{"version": v, "resources": list(resources.values())} for v, resources in versions.items()],
        }
        for group, versions in found.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def event_refusal(event: Obj, namespace: str) -> str:
    """Return what the real server says against an Event that is made in a namespace; empty where it takes it."""
    name = event["metadata"].get("name", "")
    if len(name) > 253 or re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name) is None:
        return f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of …'
    if event["metadata"].get("namespace", namespace) != namespace:
        return "the namespace of the provided object does not match the namespace sent on the request"
    if event["involvedObject"].get("namespace", "") != namespace:
        return "involvedObject.namespace: Invalid value: does not match event.namespace"
    return ""


def status_answer(code: int, reason: str, message: str, **more: Any) -> Response:
    body = {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code, **more,
    }  # fmt: skip
    return JSONResponse(body, code)


def labels_match(obj: Obj, selector: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    for part in filter(None, re.split(r",(?![^(]*\))", selector)):
        if found := re.fullmatch(r"\s*(\S+) in \(([^)]*)\)\s*", part):
            if labels.get(found[1]) not in {value.strip() for value in found[2].split(",")}:
                return False
        elif "!=" in part:
            key, _, value = part.partition("!=")
            if labels.get(key.strip()) == value.strip():
                return False
        elif "=" in part:
            key, _, value = part.replace("==", "=").partition("=")
            if labels.get(key.strip()) != value.strip():
                return False
        elif (part.strip().lstrip("!") in labels) == part.strip().startswith("!"):
            return False
    return True


def fields_match(obj: Obj, selector: str) -> bool:
    for part in filter(None, selector.split(",")):
        path, _, value = part.replace("==", "=").partition("=")
        unequal = path.endswith("!")
        found: Any = obj
        for key in path.rstrip("!").split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if (str(found or "") == value) == unequal:
            return False
    return True
