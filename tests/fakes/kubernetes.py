"""An API server as far as we use one: real HTTP on loopback, objects that change, watches, logs, and ways to fail.

    async with running(KubernetesApi()) as api:
        await api.apply(plan)
        path = api.write_kubeconfig(tmp_path / "kubeconfig")

Faults are plain attributes and may be changed while it runs. It answers as the real one does where clients depend on
it: Status bodies, "404 page not found" for kinds that are not served, list items without kind, Tables whose watch
defines columns in its first event only, bookmarks, 410.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import uvicorn
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.fakes.kubernetes_answers import (
    PATH,
    Obj,
    Server,
    discovery,
    event_line,
    event_refusal,
    fields_match,
    labels_match,
    metadata_of,
    status_answer,
)
from tests.fakes.kubernetes_store import KubernetesStore, Watcher

REVIEWS = "selfsubjectaccessreviews.authorization.k8s.io"
SUBJECT_REVIEWS = "subjectaccessreviews.authorization.k8s.io"


@dataclass
class Asked:
    """One request, as it arrived."""

    verb: str
    resource: str
    path: str
    query: dict[str, str]
    accept: str
    token: str


class KubernetesApi(KubernetesStore):
    """The store behind HTTP, and its switches."""

    def __init__(self, *, token: str = "test-token") -> None:
        super().__init__()
        self.tokens = {token}
        # -- faults
        self.delay = 0.0
        """Seconds before every answer."""
        self.forbidden: set[tuple[str, str]] = set()
        """(verb, resource); "*" for every verb. pods/log is a resource."""
        self.unserved: set[str] = set()
        """Resources that answer "404 page not found"."""
        self.errors: dict[tuple[str, str], int] = {}
        """(verb, resource) → status code."""
        self.gone_as: Literal["http", "stream"] = "stream"
        self.expire_continue = 0
        """So many continue tokens are refused with 410."""
        self.ignore_table = False
        self.ignore_metadata_only = False
        """Whole objects come where only their metadata was asked for."""
        self.ending: set[str] = set()
        """Namespaces that are being deleted: nothing new is taken in them."""
        self.no_aggregated_discovery = False
        """As before Kubernetes 1.27."""
        self.also_served: list[tuple[str, str, str]] = []
        """(apiVersion, kind, "Namespaced" or "Cluster"): kinds without objects that discovery tells."""
        self.ignore_field_selectors = False
        self.ignore_log_limits = False
        self.silent_watches = False
        """Watches stay open and say nothing more: a half-open connection."""
        self.refuse_watches = False
        self._hanging: set[tuple[str, str]] = set()
        self.expanded: dict[tuple[str, str], Obj] = {}
        """(namespace, name) → a VirtualMachine with its instancetype worked in."""
        self.proxied: dict[str, Obj | Response] = {}
        """Whole path → what a service behind the proxy answers."""
        self.may: set[tuple[str, str, str, str]] = set()
        """(user or `group:NAME`, verb, resource, namespace): what SubjectAccessReviews allow; nothing else."""
        # -- records
        self.reviewed: list[Obj] = []
        """The `spec` of each SubjectAccessReview that was answered."""
        self.asked: list[Asked] = []
        self.calls: Counter[tuple[str, str]] = Counter()
        self.bytes_sent: Counter[tuple[str, str]] = Counter()
        self.most_in_flight = 0
        self._in_flight = 0
        self._released = asyncio.Event()
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self.port = 0
        self.app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST", "PUT", "DELETE"])])

    def rotate_token(self, token: str) -> None:
        """Accept only this token from now on."""
        self.tokens = {token}

    async def until(self, condition: Any) -> None:
        """Wait until ``condition()`` holds; looked at after every request and every new watch."""
        async with self._changed, asyncio.timeout(10):
            await self._changed.wait_for(condition)

    # -- running

    async def up(self) -> None:
        """Listen; after the first time always on the same port."""
        # Named as TCP: asyncio switches the delay of small answers off (40 ms each) only where the protocol is said.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._released = asyncio.Event()
        config = uvicorn.Config(self.app, log_config=None, lifespan="off", access_log=False)
        self._server = Server(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:
            await asyncio.sleep(0.005)

    async def down(self) -> None:
        """Close the port and every connection: clients are refused."""
        if self._server is None or self._serving is None:
            return
        for listener in self._server.servers:
            listener.close()
        self._released.set()
        self.cut_watches()
        for connection in list(self._server.server_state.connections):
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()
        self._server.should_exit = True
        await self._serving
        self._server = self._serving = None

    def hang(self, verb: str = "*", resource: str = "*") -> None:
        """Accept connections and requests, and never answer, or not this one, until ``release``."""
        self._hanging.add((verb, resource))

    def release(self) -> None:
        """End ``hang``; requests that hang still get their answers."""
        self._hanging.clear()
        self._released.set()
        self._released = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def write_kubeconfig(self, path: Path, *, token: str | None = None, token_file: Path | None = None) -> Path:
        """Write a kubeconfig for this server; with ``token_file`` the token is read from there."""
        user: Obj = {"tokenFile": str(token_file)} if token_file else {"token": token or next(iter(self.tokens))}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": "fake", "user": user}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        }
        path.write_text(yaml.safe_dump(config))
        return path

    # -- answers

    async def _answer(self, request: Request) -> Response:
        found = PATH.fullmatch(request.url.path)
        query = dict(request.query_params)
        group = (found["group"] or "") if found else ""
        resource = request.url.path if found is None else found["plural"] + (f".{group}" if group else "")
        if found and found["sub"]:
            resource = f"{resource}/{found['sub']}"
        watching = query.get("watch") in {"1", "true"}
        verb = "get" if found is None or found["name"] else "watch" if watching else "list"
        verb = "create" if request.method == "POST" else verb
        asked = Asked(
            verb, resource, request.url.path, query, request.headers.get("accept", ""),
            request.headers.get("authorization", "").removeprefix("Bearer "),
        )  # fmt: skip
        self.asked.append(asked)
        self.calls[verb, resource] += 1
        self._in_flight += verb != "watch"
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            await self._noticed()
            if self._hanging & {("*", "*"), (verb, resource)}:
                await self._released.wait()
            await asyncio.sleep(self.delay)
            refusal = self._refusal(asked)
            if refusal is None and resource == REVIEWS and verb == "create":
                refusal = self._review(await request.json())
            if refusal is None and resource == SUBJECT_REVIEWS and verb == "create":
                refusal = self._subject_review(await request.json())
            if refusal is None and resource == "events" and verb == "create" and found:
                refusal = await self._create_event(found["ns"] or "", await request.json())
            response = refusal or self._serve(asked, found)
        finally:
            self._in_flight -= verb != "watch"
        if not isinstance(response, StreamingResponse):
            self.bytes_sent[verb, resource] += len(response.body)
        return response

    def _refusal(self, asked: Asked) -> Response | None:
        if asked.token not in self.tokens:
            return status_answer(401, "Unauthorized", "Unauthorized")
        if {(asked.verb, asked.resource), ("*", asked.resource)} & self.forbidden:
            text = f'{asked.resource} is forbidden: User "fake" cannot {asked.verb} resource "{asked.resource}"'
            return status_answer(403, "Forbidden", text)
        if asked.resource in self.unserved:
            return PlainTextResponse("404 page not found\n", 404)
        if code := self.errors.get((asked.verb, asked.resource)):
            return status_answer(code, "InternalError", "the fake was told to fail")
        return None

    def _review(self, review: Obj) -> Response:
        """Answer a SelfSubjectAccessReview: allowed is what is not `forbidden`."""
        asked = review["spec"]["resourceAttributes"]
        resource = asked["resource"] + (f".{asked['group']}" if asked.get("group") else "")
        resource += f"/{asked['subresource']}" if asked.get("subresource") else ""
        allowed = not {(asked["verb"], resource), ("*", resource)} & self.forbidden
        return JSONResponse({**review, "status": {"allowed": allowed}}, 201)

    def _subject_review(self, review: Obj) -> Response:
        """Answer a SubjectAccessReview from the table `may`."""
        spec = review["spec"]
        self.reviewed.append(spec)
        asked = spec["resourceAttributes"]
        resource = asked["resource"] + (f".{asked['group']}" if asked.get("group") else "")
        subjects = [spec["user"], *(f"group:{group}" for group in spec.get("groups", ()))]
        allowed = any((one, asked["verb"], resource, asked["namespace"]) in self.may for one in subjects)
        return JSONResponse({**review, "status": {"allowed": allowed}}, 201)

    async def _create_event(self, namespace: str, event: Obj) -> Response:
        name = event["metadata"].get("name", "")
        if namespace in self.ending:
            text = f'events "{name}" is forbidden: unable to create new content in namespace {namespace}'
            causes = [
                {"reason": "NamespaceTerminating", "message": "is being terminated", "field": "metadata.namespace"}
            ]
            return status_answer(403, "Forbidden", text, details={"name": name, "kind": "events", "causes": causes})
        if ("namespaces", "", namespace) not in self.objects:
            return status_answer(404, "NotFound", f'namespaces "{namespace}" not found')
        if text := event_refusal(event, namespace):
            return status_answer(422, "Invalid", text)
        if ("events", namespace, name) in self.objects:
            return status_answer(409, "AlreadyExists", f'events "{name}" already exists')
        return JSONResponse(await self.apply(event), 201)

    def _serve(self, asked: Asked, found: re.Match[str] | None) -> Response:
        if asked.path == "/version":
            return JSONResponse({"major": "1", "minor": "33", "gitVersion": "v1.33.4"})
        if asked.path in ("/api", "/apis"):
            if "APIGroupDiscoveryList" not in asked.accept or self.no_aggregated_discovery:
                return JSONResponse({"kind": "APIGroupList", "apiVersion": "v1", "groups": []})
            return JSONResponse(discovery(self.objects.values(), self.also_served, core=asked.path == "/api"))
        if found is None and (proxied := self.proxied.get(asked.path)):
            return proxied if isinstance(proxied, Response) else JSONResponse(proxied)
        if found is None:
            return PlainTextResponse("404 page not found\n", 404)
        if found["sub"] == "expand-spec":
            vm = self.expanded.get((found["ns"] or "", found["name"]))
            return JSONResponse(vm) if vm else status_answer(404, "NotFound", "there is no such virtual machine")
        if found["sub"] == "log":
            return self._log(found["ns"], found["name"], asked.query)
        if found["name"]:
            obj = self.objects.get((asked.resource, found["ns"] or "", found["name"]))
            if obj is None:
                return status_answer(404, "NotFound", f'{asked.resource} "{found["name"]}" not found')
            return JSONResponse(obj)
        if asked.verb == "watch":
            return self._watch(asked, found["ns"])
        return self._list(asked, found["ns"])

    def _list(self, asked: Asked, namespace: str | None) -> Response:
        query = asked.query
        chosen = [
            obj
            for (resource, space, _), obj in sorted(self.objects.items())
            if resource == asked.resource
            and namespace in {None, space}
            and labels_match(obj, query.get("labelSelector", ""))
            and (self.ignore_field_selectors or fields_match(obj, query.get("fieldSelector", "")))
        ]
        start = int(query.get("continue", "0"))
        if start and self.expire_continue:
            self.expire_continue -= 1
            return status_answer(410, "Expired", "The provided continue parameter is too old")
        limit = int(query.get("limit", "0")) or len(chosen)
        page, rest = chosen[start : start + limit], chosen[start + limit :]
        metadata: Obj = {"resourceVersion": str(self.revision)}
        if rest:
            metadata |= {"continue": str(start + limit), "remainingItemCount": len(rest)}
        if self._wants_table(asked):
            return JSONResponse(self._table(page, metadata, columns=True))
        group_version = asked.path.removeprefix("/apis/").removeprefix("/api/").split("/namespaces/")[0]
        group_version = group_version.rpartition("/")[0] if "/" in group_version else group_version
        kind = chosen[0]["kind"] if chosen else asked.resource.split(".")[0].removesuffix("s").capitalize()
        items = [self._told(obj) for obj in page]
        if self._wants_metadata(asked):
            items = [metadata_of(obj) if item is obj else item for item, obj in zip(items, page, strict=True)]
            kind, group_version = "PartialObjectMetadata", "meta.k8s.io/v1"
        if group_version == "v1":  # typed lists leave the kind out of their items, custom resources do not
            items = [{k: v for k, v in item.items() if k not in {"kind", "apiVersion"}} for item in items]
        return JSONResponse(
            {"kind": f"{kind}List", "apiVersion": group_version, "metadata": metadata, "items": items or None}
        )

    def _watch(self, asked: Asked, namespace: str | None) -> Response:
        if self.refuse_watches:
            return status_answer(500, "InternalError", "no watches today")
        since = int(asked.query.get("resourceVersion") or 0)
        gone = since < self.compacted
        if gone and self.gone_as == "http":
            return status_answer(410, "Expired", f"too old resource version: {since} ({self.compacted})")
        watcher = Watcher(
            asked.resource,
            namespace,
            self._wants_table(asked),
            asked.query.get("labelSelector", ""),
            self._wants_metadata(asked),
        )
        if gone:
            status = json.loads(bytes(status_answer(410, "Expired", f"too old resource version: {since}").body))
            watcher.queue.put_nowait(event_line({"type": "ERROR", "object": status}))
            watcher.queue.put_nowait(None)
        else:
            for revision, event, obj in self.history:
                if revision > since:
                    self._offer(watcher, event, obj)
        self.watchers.append(watcher)
        seconds = float(asked.query.get("timeoutSeconds", "300"))
        return StreamingResponse(self._stream(watcher, seconds), media_type="application/json")

    async def _stream(self, watcher: Watcher, seconds: float) -> AsyncIterator[bytes]:
        try:
            await self._noticed()
            async with asyncio.timeout(None if self.silent_watches else seconds):
                while (line := await watcher.queue.get()) is not None:
                    if self.silent_watches:
                        await self._released.wait()
                    self.bytes_sent["watch", watcher.resource] += len(line)
                    yield line
        except TimeoutError:
            pass
        finally:
            self.watchers.remove(watcher)

    def _log(self, namespace: str, pod: str, query: dict[str, str]) -> Response:
        container, previous = query.get("container", ""), query.get("previous") == "true"
        theirs = {
            c: body for (ns, p, c, prev), body in self.logs.items() if (ns, p, prev) == (namespace, pod, previous)
        }
        known = ("pods", namespace, pod) in self.objects or any(key[:2] == (namespace, pod) for key in self.logs)
        if not known:
            return status_answer(404, "NotFound", f'pods "{pod}" not found')
        if not container and len(theirs) == 1:
            container = next(iter(theirs))
        if container not in theirs:
            what = "previous terminated container" if previous else "container"
            return status_answer(400, "BadRequest", f'{what} "{container}" in pod "{pod}" not found')
        body = theirs[container]
        if not self.ignore_log_limits:
            if "tailLines" in query:
                body = b"".join(body.splitlines(keepends=True)[-int(query["tailLines"]) :])
            if "limitBytes" in query:
                body = body[: int(query["limitBytes"])]
        return PlainTextResponse(body)

    def _wants_table(self, asked: Asked) -> bool:
        return not self.ignore_table and "as=Table" in asked.accept

    def _wants_metadata(self, asked: Asked) -> bool:
        return not self.ignore_metadata_only and "as=PartialObjectMetadata" in asked.accept


@asynccontextmanager
async def running(api: KubernetesApi) -> AsyncIterator[KubernetesApi]:
    """Serve on a free loopback port until the end of the block."""
    await api.up()
    try:
        yield api
    finally:
        await api.down()
