"""The watch over all Namespaces and over the ConfigMaps that say where news of their namespace should go.

Of Namespaces only the metadata is asked for. The two are followed side by side: what one may not read, or a large
ConfigMap, holds up nothing of the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from receiver.kube.api import Api
from receiver.kube.following import WatchTimes
from receiver.kube.kinds import KINDS
from receiver.kube.namespaces import NamespaceBook, selector
from receiver.kube.objectwatch import Key, ObjectWatch, Wanted

CONFIGMAP_PAGE = 50  # objects of up to 1 MiB

log = structlog.get_logger(__name__)


class NamespaceWatch:
    """Keeps one book true to one cluster."""

    def __init__(self, api: Api, book: NamespaceBook, times: WatchTimes, jitter: Callable[[], float]) -> None:
        self._api = api
        self._book = book
        self._times = times
        self._jitter = jitter

    async def follow(self, prefix: str, on_change: Callable[[str], None]) -> None:
        """Follow until cancelled."""
        book = self._book
        book.namespaces.synced = book.configmaps.synced = False  # another prefix may have been followed before

        def tell(name: str, is_news: bool) -> None:
            if is_news:
                try:
                    on_change(name)
                except Exception:  # a listener's bug must not end the watch; listeners count their own
                    log.exception("kube.watch.listener_failed", cluster=self._api.cluster, namespace=name)

        def put_namespace(key: Key, obj: dict[str, Any] | None) -> None:
            tell(key[1], book.put_namespace(key[1], obj, prefix))

        def put_configmap(key: Key, obj: dict[str, Any] | None) -> None:
            tell(key[0], book.put_configmap(*key, obj, prefix))

        namespaces = ObjectWatch(
            self._api,
            Wanted(KINDS["Namespace"], metadata_only=True),
            book.namespaces,
            self._times,
            self._jitter,
            put_namespace,
            lambda: (("", name) for name in book.namespace_names()),
        )
        configmaps = ObjectWatch(
            self._api,
            Wanted(KINDS["ConfigMap"], selector(prefix), page=CONFIGMAP_PAGE),
            book.configmaps,
            self._times,
            self._jitter,
            put_configmap,
            book.configmap_names,
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(namespaces.run(), name=f"namespaces of {self._api.cluster}")
            group.create_task(configmaps.run(), name=f"routing ConfigMaps of {self._api.cluster}")
