"""A watch over plain objects of any kind: each is handed on as it comes, and once more when it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import structlog

from receiver.kube import ClusterError
from receiver.kube.api import JSON, Api, Query
from receiver.kube.followed import Followed
from receiver.kube.following import Following, WatchTimes
from receiver.kube.kinds import Kind, is_name
from receiver.kube.rows import entries_of, version_of

PAGE_MIN = 5  # objects: the largest that there can be, six bytes to a character, fit into one answer

# A server that knows no metadata-only answers gives whole objects.
METADATA_LIST = f"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,{JSON}"
METADATA = f"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,{JSON}"

log = structlog.get_logger(__name__)

Key = tuple[str, str]
"""Namespace (empty for what has none) and name."""

Put = Callable[[Key, dict[str, Any] | None], None]
"""Takes an object in; None: it is gone."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which objects, and how much of them."""

    kind: Kind
    label_selector: str = ""
    metadata_only: bool = False
    page: int = 500


class ObjectWatch(Following):
    """Hands on all objects that are wanted. `known` tells which ones `put` has, so that a list can take some away."""

    def __init__(
        self,
        api: Api,
        wanted: Wanted,
        state: Followed,
        times: WatchTimes,
        jitter: Callable[[], float],
        put: Put,
        known: Callable[[], Iterable[Key]],
    ) -> None:
        super().__init__(api, wanted.kind, state, times, jitter)
        self._wanted = wanted
        self._page = wanted.page
        self._put = put
        self._known = known

    async def _list(self) -> None:
        seen: set[Key] = set()
        complete, version = True, ""
        query = {"limit": str(self._page), **self._selected()}
        accept = METADATA_LIST if self._wanted.metadata_only else JSON
        pages = self._api.pages(self._kind, None, query, accept=accept, bulk=False)
        async with aclosing(pages) as reading:
            async for page in reading:
                entries = entries_of(page)
                if entries is None:
                    raise ClusterError("bad answer", f"cluster {self._api.cluster} sent no list of {self._name}")
                for entry in entries:
                    key = self._key(entry)
                    if key is None or not isinstance(entry, dict):
                        self._state.skipped += 1
                        complete = False  # whose name it is, nobody knows: nothing may be taken for deleted
                        continue
                    seen.add(key)
                    self._put(key, entry)
                version = version_of(page.get("metadata")) or version
        if not version:
            text = f"cluster {self._api.cluster}: the list of {self._name} has no resourceVersion"
            raise ClusterError("bad answer", text)
        if complete:
            for key in [one for one in self._known() if one not in seen]:
                self._put(key, None)
        if self._listed(version):
            log.info("kube.watch.synced", cluster=self._api.cluster, resource=self._name, objects=len(seen))

    def _asks(self) -> tuple[str, Query]:
        return METADATA if self._wanted.metadata_only else JSON, self._selected()

    def _changed(self, what: str, obj: dict[str, Any]) -> None:
        key = self._key(obj)
        if key is None:
            self._state.skipped += 1
        else:
            self._put(key, None if what == "DELETED" else obj)

    def _lost(self) -> None:
        log.warning("kube.watch.lost", cluster=self._api.cluster, resource=self._name, problem=self._state.problem)

    def _shrink(self) -> None:
        self._page = max(PAGE_MIN, self._page // 10)

    def _selected(self) -> Query:
        return {"labelSelector": self._wanted.label_selector} if self._wanted.label_selector else {}

    @property
    def _name(self) -> str:
        return self._kind.resource

    def _key(self, obj: object) -> Key | None:
        metadata = obj.get("metadata") if isinstance(obj, dict) else None
        if not isinstance(metadata, dict):
            return None
        name = metadata.get("name")
        namespace = metadata.get("namespace") if self._kind.namespaced else ""
        if not isinstance(name, str) or not is_name(name) or not isinstance(namespace, str):
            return None
        if self._kind.namespaced and not is_name(namespace):
            return None
        return namespace, name
