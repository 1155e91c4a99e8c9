"""What the fake API server keeps: objects with their history, logs, and the open watches that hear of changes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import yaml

from tests.fakes.kubernetes_answers import (
    CLUSTER_SCOPED,
    PLAN_COLUMNS,
    Key,
    Obj,
    event_line,
    labels_match,
    metadata_of,
    resource_of,
    table_row,
)


@dataclass(eq=False)
class Watcher:
    """One open watch stream."""

    resource: str
    namespace: str | None
    table: bool
    selector: str = ""
    metadata_only: bool = False
    queue: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    told_columns: bool = False


class KubernetesStore:
    """Objects by resource, namespace and name; every change has a revision and reaches the watches."""

    def __init__(self) -> None:
        self.objects: dict[Key, Obj] = {}
        self.revision = 1000
        self.history: list[tuple[int, str, Obj]] = []  # revision, event type, object
        self._before: dict[int, Obj] = {}  # revision → the object that it changed or deleted
        self.compacted = 0
        """Watches from before this revision get 410."""
        self.logs: dict[tuple[str, str, str, bool], bytes] = {}
        self.watchers: list[Watcher] = []
        self.drop_columns: set[str] = set()
        """Columns that Tables lack."""
        self.replace: dict[str, Any] = {}
        """UID → what lists and watches tell instead of the object's row or object: lying types."""
        self._changed = asyncio.Condition()

    async def apply(self, obj: Obj) -> Obj:
        """Add or update an object and tell the watchers."""
        obj = json.loads(json.dumps(obj))
        metadata = obj.setdefault("metadata", {})
        if obj["kind"] not in CLUSTER_SCOPED:
            metadata.setdefault("namespace", "default")
        key = (resource_of(obj), metadata.get("namespace", ""), metadata["name"])
        metadata.setdefault("uid", str(uuid5(NAMESPACE_URL, "/".join(key))))
        old = self.objects.get(key)
        self.revision += 1
        metadata["resourceVersion"] = str(self.revision)
        self.objects[key] = obj
        if old is not None:
            self._before[self.revision] = old
        await self._tell("MODIFIED" if old is not None else "ADDED", obj)
        return obj

    async def delete(self, kind: str, namespace: str, name: str) -> None:
        """Remove an object and tell the watchers."""
        key = next(k for k, obj in self.objects.items() if obj["kind"] == kind and k[1:] == (namespace, name))
        old = self.objects.pop(key)
        self.revision += 1
        self._before[self.revision] = old
        obj: Obj = json.loads(json.dumps(old))
        obj["metadata"]["resourceVersion"] = str(self.revision)
        await self._tell("DELETED", obj)

    async def load_yaml(self, path: Path) -> None:
        """Apply every document of a file."""
        for document in yaml.safe_load_all(await asyncio.to_thread(path.read_text)):
            if document is not None:
                await self.apply(json.loads(json.dumps(document, default=str)))

    def set_log(self, namespace: str, pod: str, container: str, text: str | bytes, *, previous: bool = False) -> None:
        body = text.encode() if isinstance(text, str) else text
        self.logs[namespace, pod, container, previous] = body

    async def bookmark(self) -> None:
        """Send a bookmark to every watch."""
        for watcher in self.watchers:
            kind = next((o["kind"] for (r, _, _), o in self.objects.items() if r == watcher.resource), "Plan")
            kind = "PartialObjectMetadata" if watcher.metadata_only else kind
            stub = {
                "apiVersion": "v1", "kind": kind, "spec": {},
                "metadata": {"resourceVersion": str(self.revision), "creationTimestamp": None},
            }  # fmt: skip
            self._send(watcher, "BOOKMARK", stub)

    def compact(self) -> None:
        """Forget history: watches that begin before now get 410."""
        self.compacted = self.revision
        self.history.clear()

    def cut_watches(self, *, midline: bool = False) -> None:
        """End every watch stream now; ``midline`` leaves half an event behind."""
        for watcher in list(self.watchers):
            if midline:
                watcher.queue.put_nowait(b'{"type":"ADDED","object":{"kind":"Pl')
            watcher.queue.put_nowait(None)

    def send_raw(self, line: bytes) -> None:
        """Send any bytes on every watch."""
        for watcher in self.watchers:
            watcher.queue.put_nowait(line)

    async def _tell(self, event: str, obj: Obj) -> None:
        self.history.append((self.revision, event, json.loads(json.dumps(obj))))
        for watcher in self.watchers:
            self._offer(watcher, event, obj)
        await self._noticed()

    async def _noticed(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _offer(self, watcher: Watcher, event: str, obj: Obj) -> None:
        if resource_of(obj) != watcher.resource or watcher.namespace not in {None, obj["metadata"].get("namespace")}:
            return
        if watcher.selector:
            # What a change takes out of a selection is told as deleted, what it brings in as added.
            before = self._before.get(int(obj["metadata"]["resourceVersion"]))
            was = before is not None and labels_match(before, watcher.selector)
            holds = event != "DELETED" and labels_match(obj, watcher.selector)
            if not was and not holds:
                return
            event = "DELETED" if not holds else event if was else "ADDED"
        self._send(watcher, event, obj)

    def _send(self, watcher: Watcher, event: str, obj: Obj) -> None:
        told: Any = self._told(obj)
        if watcher.metadata_only and told is obj and event != "BOOKMARK":
            told = metadata_of(obj)
        if watcher.table:
            metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            told = self._table([obj], metadata, columns=not watcher.told_columns)
            watcher.told_columns = True
        watcher.queue.put_nowait(event_line({"type": event, "object": told}))

    def _told(self, obj: Obj) -> Any:
        return self.replace.get(obj["metadata"].get("uid", ""), obj)

    def _table(self, objects: list[Obj], metadata: Obj, *, columns: bool) -> Obj:
        titles = [title for title in ("Name", *PLAN_COLUMNS, "AGE") if title not in self.drop_columns]
        table: Obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "columnDefinitions": None}
        if columns:
            table["columnDefinitions"] = [
                {"name": title, "type": "string", "format": "", "description": "", "priority": 0} for title in titles
            ]
        table["rows"] = [self.replace.get(obj["metadata"].get("uid", ""), table_row(obj, titles)) for obj in objects]
        return table
