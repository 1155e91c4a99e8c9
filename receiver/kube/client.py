"""A live cluster: what the interface promises, made of GET requests and watches, and of POSTs where options ask."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2

from receiver.clock import SystemClock
from receiver.config.model import HttpConfig
from receiver.http import DIRECT
from receiver.kube import ClusterError, NamespaceBook, Obj, PlanEvent, PlanIndex, review, writing
from receiver.kube.account import ACCOUNT
from receiver.kube.api import MAX_OBJECTS, Api, Limits
from receiver.kube.connection import Connection, Source, kubeconfig, service_account
from receiver.kube.discovery import Discovery, may_read
from receiver.kube.kinds import KINDS, Kind, is_name, kind_of, slim, where
from receiver.kube.namespacewatch import NamespaceWatch
from receiver.kube.watch import PlanWatch, WatchTimes
from receiver.kube.whole import WholePlans

PLAN = KINDS["Plan"]
REVIEW_S = 3.0  # somebody waits for a page
TELL_S = 10.0
WHOLE_PLANS = 25  # a page: up to 0.9 MB each
EXPAND_SPEC = "/apis/subresources.kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{name}/expand-spec"

# A log is asked for with fewer and fewer lines until it fits: limitBytes keeps the *first* bytes of the tail, and the
# error stands at its end.
TAIL_SHARES = (1, 4, 32)
"""Divisors of the lines asked for; after these only the last line: one line before it may be megabytes long."""


class LiveCluster:
    """A cluster behind an API server. Nothing is read or connected before the first call."""

    def __init__(
        self,
        name: str,
        source: Source,
        *,
        limits: Limits | None = None,
        times: WatchTimes | None = None,
        http: HttpConfig = DIRECT,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """``http`` is the way there: proxy, authorities; what it leaves out is as ``source`` says.

        ``jitter`` gives numbers from 0 to 1 that spread the reconnects of several clusters and replicas.
        """
        limits = limits or Limits()
        timeout = httpx2.Timeout(limits.request_timeout, connect=limits.connect_timeout)
        self._name = name
        self._connection = Connection(name, source, timeout=timeout, trust_env=limits.trust_env, http=http)
        self._api = Api(name, self._connection, limits)
        self._discovery = Discovery(self._api)
        self._index = PlanIndex()
        self._whole = WholePlans(self._index)
        times = times or WatchTimes()
        self._watch = PlanWatch(self._api, self._index, times, jitter)
        self._namespaces = NamespaceBook()
        self._namespace_watch = NamespaceWatch(self._api, self._namespaces, times, jitter)

    @classmethod
    def from_kubeconfig(cls, name: str, path: Path, *, context: str | None = None, **options: Any) -> LiveCluster:
        """Make a cluster from a kubeconfig file; ``options`` as for the constructor."""
        return cls(name, kubeconfig(path, context), **options)

    @classmethod
    def from_service_account(cls, name: str, folder: Path = ACCOUNT, **options: Any) -> LiveCluster:
        """Make a cluster from the pod's own service account; ``options`` as for the constructor."""
        return cls(name, service_account(folder), **options)

    @property
    def name(self) -> str:
        return self._name

    async def find_plans(self, name: str) -> tuple[Obj, ...]:
        if not is_name(name):
            return ()
        query = {"fieldSelector": f"metadata.name={name}", "limit": str(WHOLE_PLANS)}
        return await self._collect(PLAN, None, query, bulk=False, wanted=name)

    async def get_plan(self, namespace: str, name: str) -> Obj | None:
        if (known := self._whole.find(namespace, name)) is not None:
            return known
        found = await self.get("Plan", namespace, name)
        self._whole.keep(namespace, name, found)
        return found

    async def get(self, kind: str, namespace: str | None, name: str) -> Obj | None:
        entry = kind_of(kind)
        if not is_name(name) or (entry.namespaced and not is_name(namespace)):
            return None  # no object can have such a name, and no path must be made of it
        found = await self._api.object(entry, namespace, name)
        return None if found is None else slim(found, entry)

    async def list(
        self,
        kind: str,
        namespace: str | None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 500,
    ) -> tuple[Obj, ...]:
        entry = kind_of(kind)
        if namespace is not None and not is_name(namespace):
            return ()
        query = {"limit": str(limit)}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        return await self._collect(entry, namespace, query)

    async def log(
        self,
        namespace: str,
        pod: str,
        container: str,
        *,
        previous: bool = False,
        tail_lines: int = 400,
        limit_bytes: int = 262_144,
        since_seconds: int | None = None,
    ) -> str:
        if not is_name(namespace) or not is_name(pod) or (container and not is_name(container)):
            raise ClusterError("not found", f"cluster {self._name}: {namespace}/{pod}/{container} is no container")
        query = {"limitBytes": str(limit_bytes)}
        if container:
            query["container"] = container
        if previous:
            query["previous"] = "true"
        if since_seconds is not None:
            query["sinceSeconds"] = str(since_seconds)
        body = b""
        for lines in dict.fromkeys((*(max(1, tail_lines // share) for share in TAIL_SHARES), 1)):
            body = await self._api.text(
                f"{KINDS['Pod'].path(namespace, pod)}/log",
                {**query, "tailLines": str(lines)},
                needs=f"get pods/log{where(KINDS['Pod'], namespace)}",
                what=f"log of {namespace}/{pod}" + (f" ({container})" if container else ""),
                limit_bytes=limit_bytes,
            )
            if len(body) < limit_bytes:
                break
        return body.decode("utf-8", errors="replace")

    async def kinds_named(self, kind: str) -> tuple[Kind, ...]:
        """Return every served kind of that name; see `receiver.kube.discovery`."""
        return await self._discovery.named(kind)

    async def read(self, kind: Kind, namespace: str | None, name: str) -> Obj | None:
        """Return one object of a discovered kind with its managedFields, or None. Never a Secret."""
        if not may_read(kind):
            raise ClusterError("forbidden", f"cluster {self._name}: {kind.resource} are never read")
        if not is_name(name) or (kind.namespaced and not is_name(namespace)):
            return None
        found = await self._api.object(kind, namespace, name)
        return None if found is None else slim(found, kind, managed_fields=True)

    async def raw_page(self, kind: str, *, token: str = "", field_selector: str = "", limit: int = 500) -> bytes:
        """Return one page of all objects of a kind, as it was sent; see `receiver.kube.streams`."""
        query = {"limit": str(limit)}
        if field_selector:
            query["fieldSelector"] = field_selector
        if token:
            query["continue"] = token
        return await self._api.page(kind_of(kind), None, query)

    async def expand_spec(self, namespace: str, name: str) -> Obj | None:
        """Return a VirtualMachine with its instancetype worked in, or None; see `receiver.kube.streams`."""
        if not is_name(namespace) or not is_name(name):
            return None
        needs = f"get virtualmachines.subresources.kubevirt.io/expand-spec in namespace {namespace}"
        what = f"expanded virtual machine {namespace}/{name}"
        try:
            return await self._api.json(EXPAND_SPEC.format(namespace=namespace, name=name), needs=needs, what=what)
        except ClusterError as error:
            if error.reason == "not found":
                return None
            raise

    async def proxied(self, namespace: str, service: str, path: str) -> Obj:
        """Return a JSON document of a service behind the API server's proxy; see `receiver.kube.streams`."""
        if not is_name(namespace):
            raise ClusterError("not found", f"cluster {self._name}: {namespace!r} is no namespace")
        needs = f"get services/proxy ({service}) in namespace {namespace}"
        url = f"{KINDS['Service'].path(namespace, service)}/proxy/{path}"
        return await self._api.json(url, needs=needs, what=f"{service} in namespace {namespace}")

    async def subject_access_review(
        self, user: str, groups: Iterable[str], *, verb: str, group: str, resource: str, namespace: str
    ) -> bool:
        """Tell what somebody may; see `receiver.kube.review`."""
        return await review.subject_access_review(
            self._name,
            self._connection,
            user,
            groups,
            verb=verb,
            group=group,
            resource=resource,
            namespace=namespace,
            timeout_s=REVIEW_S,
        )

    async def tell(self, namespace: str, name: str, reason: str, message: str) -> bool:
        """Make an Event about a namespace; see `receiver.kube.Tells`."""
        at = SystemClock().now()
        return await writing.tell(
            self._name, self._connection, namespace, name, reason, message, at=at, timeout_s=TELL_S
        )

    def namespaces(self) -> NamespaceBook:
        return self._namespaces

    async def follow_namespaces(self, prefix: str, on_change: Callable[[str], None]) -> None:
        await self._namespace_watch.follow(prefix, on_change)

    def plans(self) -> PlanIndex:
        return self._index

    async def watch(self, on_event: Callable[[PlanEvent], None]) -> None:
        await self._watch.follow(on_event)

    async def version(self) -> str:
        answer = await self._api.json("/version")
        return str(answer.get("gitVersion", "unknown"))

    async def aclose(self) -> None:
        await self._connection.aclose()

    async def _collect(
        self, kind: Kind, namespace: str | None, query: dict[str, str], *, bulk: bool = True, wanted: str | None = None
    ) -> tuple[Obj, ...]:
        try:
            return await self._once(self._api.pages(kind, namespace, query, bulk=bulk), kind, wanted)
        except ClusterError as error:
            if error.reason != "gone":
                raise
        # The list changed too much between two pages: from the start, once.
        return await self._once(self._api.pages(kind, namespace, query, bulk=bulk), kind, wanted)

    async def _once(self, pages: AsyncGenerator[Obj, None], kind: Kind, wanted: str | None) -> tuple[Obj, ...]:
        """Read all pages; ``wanted`` keeps objects of that name only, for servers that ignore field selectors."""
        found: list[Obj] = []
        async with aclosing(pages) as reading:
            async for page in reading:
                items = page.get("items", ())
                if not isinstance(items, list | None):
                    raise ClusterError("bad answer", f"cluster {self._name} sent no list of {kind.resource}")
                for item in items or ():
                    metadata = item.get("metadata") if isinstance(item, dict) else None
                    if isinstance(metadata, dict) and wanted in {None, metadata.get("name")}:
                        found.append(slim(item, kind))
                if len(found) > MAX_OBJECTS:
                    text = f"cluster {self._name}: more than {MAX_OBJECTS} {kind.resource}, use a narrower selector"
                    raise ClusterError("bad answer", text)
        return tuple(found)
