"""Whole Plans that were read a moment ago, packed: who a failure is and why are asked one after the other.

A Plan of 500 VMs is 0.9 MB of JSON, several times that as objects, and a fiftieth packed.
"""

from __future__ import annotations

import json
import zlib
from collections import OrderedDict

from receiver.kube import Obj, PlanIndex

KEPT_BYTES = 16 * 1024 * 1024
"""Of all packed Plans together: some thousand of 20 VMs, some hundred of 500."""


class WholePlans:
    """Plans as the watch still knows them: the same resource version is the same Plan, however old the copy is."""

    def __init__(self, index: PlanIndex, kept_bytes: int = KEPT_BYTES) -> None:
        self._index = index
        self._kept_bytes = kept_bytes
        self._packed: OrderedDict[tuple[str, str], tuple[str, bytes]] = OrderedDict()
        self._size = 0

    def find(self, namespace: str, name: str) -> Obj | None:
        """Return the Plan if it is kept and the watch, up to date, knows no other version of it."""
        version, packed = self._packed.get((namespace, name), ("", b""))
        row = self._index.by_name(namespace, name)
        current = self._index.synced and self._index.problem is None and row is not None
        if not version or not current or row is None or row.resource_version != version:
            return None
        found: Obj = json.loads(zlib.decompress(packed))
        return found

    def keep(self, namespace: str, name: str, plan: Obj | None) -> None:
        """Keep what was just read, and forget the oldest beyond KEPT_BYTES."""
        _, old = self._packed.pop((namespace, name), ("", b""))
        self._size -= len(old)
        metadata = plan.get("metadata") if plan is not None else None
        version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
        if not isinstance(version, str) or not version:
            return
        packed = zlib.compress(json.dumps(plan, separators=(",", ":")).encode(), 1)
        self._packed[namespace, name] = (version, packed)
        self._size += len(packed)
        while self._size > self._kept_bytes:
            _, (_, oldest) = self._packed.popitem(last=False)
            self._size -= len(oldest)
