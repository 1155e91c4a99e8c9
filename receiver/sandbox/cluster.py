"""A small API server for the demo: the objects and logs of a must-gather, with a Plan that changes its state.

It answers what the service asks: single objects, lists and watches with selectors, logs, `/version`, and it takes
Events. Lists come whole and as plain objects, never as Tables or metadata alone, which every client of Kubernetes must
be able to take.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

Obj = dict[str, Any]
Key = tuple[str, str, str]  # resource, namespace, name

WATCH_SECONDS = 300.0  # what a watch lasts when its client does not say
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?=\.\d+Z|Z)")
_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v[^/]+"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?P<log>/log)?)?"
)


class SampleCluster:
    """Objects by resource, namespace and name; every change has a revision and reaches the watches."""

    def __init__(self) -> None:
        self._objects: dict[Key, Obj] = {}
        self._logs: dict[tuple[str, str], bytes] = {}
        self._history: list[tuple[int, str, Key, Obj]] = []  # revision, event, whose, what it was then
        self._changed = asyncio.Event()

    @classmethod
    def from_must_gather(cls, folder: Path, shift: timedelta) -> SampleCluster:
        """Read all objects and logs below `folder`; every time in them is moved by `shift` (whole seconds)."""
        cluster = cls()
        for path in sorted(folder.rglob("*.yaml")):
            document = yaml.safe_load(shifted(path.read_text(encoding="utf-8"), shift))
            for obj in document.get("items", [document]):
                cluster.put(obj)
        for path in sorted(folder.glob("namespaces/*/logs/*/current.log")):
            text = shifted(path.read_text(encoding="utf-8"), shift)
            cluster._logs[path.parts[-4], path.parts[-2]] = text.encode()
        return cluster

    def put(self, obj: Obj) -> None:
        """Add or replace an object and tell the watches."""
        key = _key(obj)
        event = "MODIFIED" if key in self._objects else "ADDED"
        revision = len(self._history) + 1
        stored: Obj = json.loads(json.dumps(obj))
        stored["metadata"]["resourceVersion"] = str(revision)
        self._objects[key] = stored
        self._history.append((revision, event, key, stored))
        self._changed.set()
        self._changed = asyncio.Event()

    def get(self, resource: str, namespace: str, name: str) -> Obj:
        """Return a copy of an object; `resource` as in `plans.forklift.konveyor.io`. KeyError if there is none."""
        copy: Obj = json.loads(json.dumps(self._objects[resource, namespace, name]))
        return copy

    def app(self) -> Starlette:
        """Return the application to serve."""
        return Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST"])])

    async def _answer(self, request: Request) -> Response:
        if request.url.path == "/version":
            return JSONResponse({"gitVersion": "v1.33.0-sample"})
        found = _PATH.fullmatch(request.url.path)
        if found is None:
            return PlainTextResponse("404 page not found\n", 404)
        query = request.query_params
        resource = found["plural"] + (f".{found['group']}" if found["group"] else "")
        namespace, name = found["namespace"], found["name"]
        if request.method == "POST":
            return self._create(resource, namespace or "", await request.json())
        if found["log"]:
            return self._log(namespace or "", name, dict(query))
        if name:
            obj = self._objects.get((resource, namespace or "", name))
            return _refusal(404, "NotFound", f'{resource} "{name}" not found') if obj is None else JSONResponse(obj)
        if query.get("watch") == "true":
            seconds = float(query.get("timeoutSeconds", WATCH_SECONDS))
            since, selector = int(query.get("resourceVersion") or 0), query.get("labelSelector", "")
            lines = self._watch(resource, namespace, selector, since, seconds)
            return StreamingResponse(lines, media_type="application/json")
        items = [
            obj
            for (kind, space, _), obj in sorted(self._objects.items())
            if kind == resource
            and namespace in {None, space}
            and _labels_match(obj, query.get("labelSelector", ""))
            and _fields_match(obj, query.get("fieldSelector", ""))
        ]
        metadata = {"resourceVersion": str(len(self._history))}
        return JSONResponse({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items})

    def _create(self, resource: str, namespace: str, obj: Obj) -> Response:
        if resource != "events":
            return _refusal(405, "MethodNotAllowed", "the sample cluster takes Events only")
        name = obj["metadata"]["name"]
        if (resource, namespace, name) in self._objects:
            return _refusal(409, "AlreadyExists", f'{resource} "{name}" already exists')
        self.put({**obj, "metadata": {**obj["metadata"], "namespace": namespace}})
        return JSONResponse(self.get(resource, namespace, name), 201)

    async def _watch(
        self, resource: str, namespace: str | None, selector: str, since: int, seconds: float
    ) -> AsyncIterator[bytes]:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    changed = self._changed
                    for _, event, (kind, space, _), obj in self._history[since:]:
                        if kind == resource and namespace in {None, space}:
                            event = event if _labels_match(obj, selector) else "DELETED"
                            yield json.dumps({"type": event, "object": obj}).encode() + b"\n"
                    since = len(self._history)
                    await changed.wait()

    def _log(self, namespace: str, pod: str, query: dict[str, str]) -> Response:
        body = self._logs.get((namespace, pod))
        if body is None:
            return _refusal(404, "NotFound", f'pods "{pod}" not found')
        if query.get("previous") == "true":
            return _refusal(400, "BadRequest", f'previous terminated container in pod "{pod}" not found')
        if "tailLines" in query:
            body = b"".join(body.splitlines(keepends=True)[-int(query["tailLines"]) :])
        return PlainTextResponse(body[: int(query.get("limitBytes", len(body)))])


def kubeconfig(port: int) -> str:
    """Return a kubeconfig for a cluster that is served on 127.0.0.1."""
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "sample",
            "clusters": [{"name": "sample", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "sample", "user": {}}],
            "contexts": [{"name": "sample", "context": {"cluster": "sample", "user": "sample"}}],
        }
    )


def shifted(text: str, shift: timedelta) -> str:
    """Return a text with every time of the form 2026-09-14T08:29:44Z moved by `shift`."""

    def move(found: re.Match[str]) -> str:
        at = datetime.strptime(found[0], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
        return (at + shift).strftime("%Y-%m-%dT%H:%M:%S")

    return _TIME.sub(move, text)


def _key(obj: Obj) -> Key:
    group = obj["apiVersion"].rpartition("/")[0]
    plural = obj["kind"].lower() + "s"  # true for every kind of the sample
    metadata = obj["metadata"]
    return f"{plural}.{group}" if group else plural, metadata.get("namespace", ""), metadata["name"]


def _refusal(code: int, reason: str, message: str) -> Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return JSONResponse({**status, "message": message}, code)


def _labels_match(obj: Obj, selector: str) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return all(key in labels and (not values or labels[key] in values) for key, values in _terms(selector))


def _terms(selector: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Read `a=b,c in (d,e),f`: the forms that the service uses. No values: any will do."""
    for term in filter(None, re.split(r",(?![^(]*\))", selector)):
        if found := re.fullmatch(r"(\S+) in \(([^)]*)\)", term.strip()):
            yield found[1], frozenset(found[2].split(","))
        elif "=" not in term:
            yield term.strip(), frozenset()
        else:
            key, _, value = term.partition("=")
            yield key, frozenset({value.removeprefix("=")})


def _fields_match(obj: Obj, selector: str) -> bool:
    for term in filter(None, selector.split(",")):
        path, _, wanted = term.partition("=")
        found: Any = obj
        for key in path.split("."):
            found = found.get(key) if isinstance(found, dict) else None
        if str(found or "") != wanted:
            return False
    return True
