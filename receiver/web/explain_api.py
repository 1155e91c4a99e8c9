"""`POST /api/v1/explain`: where alerts would go and what would be sent, as `mtv-receiver explain` says it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.attempt import Destination
from receiver.clock import Clock
from receiver.config.model import Config
from receiver.enrichers.autopilot import is_autopilots
from receiver.enrichers.redact import Redactor
from receiver.explain import explain
from receiver.explain_input import read_alerts
from receiver.guard import page
from receiver.kube import Cluster
from receiver.kube.kinds import KINDS
from receiver.model import Alert, Identity
from receiver.model.naming import Named, named_by
from receiver.web.viewers import Viewer, Viewers, viewer_of
from receiver.wire import UnusableBodyError

MAX_ALERTS = 100
"""Alerts in one request: each may cost the look-ups of a whole story."""
MAX_BYTES = 4 * 1024 * 1024


class Explaining(Protocol):
    """What explains: `receiver.service.Service`."""

    config: Config
    clock: Clock
    clusters: Mapping[str, Cluster]
    viewers: Viewers
    destinations: Mapping[str, Destination]
    """Empty until the service works."""


def routes(service: Explaining) -> list[Route]:
    """Return the address."""

    async def answer(request: Request) -> Response:
        raw = b""
        try:
            async for chunk in request.stream():
                raw += chunk
                if len(raw) > MAX_BYTES:
                    return _error(413, f"more than {MAX_BYTES} bytes")
        except ClientDisconnect:
            return _error(400, "the connection ended within the body")
        return await _explain(service, raw, viewer_of(request))

    return [Route("/api/v1/explain", page(service, answer), methods=["POST"])]


async def _explain(service: Explaining, raw: bytes, viewer: Viewer) -> Response:
    config, now = service.config, service.clock.now()
    try:
        body = await asyncio.to_thread(read_alerts, raw, now, MAX_ALERTS)
    except UnusableBodyError as error:
        return _error(400, str(error))
    if len(service.destinations) < len(config.destinations):
        return _error(503, "not ready")
    explained = await explain(
        config,
        body.alerts,
        clusters=service.clusters,
        now=now,
        redactor=Redactor(config.redaction_patterns),
        destinations=service.destinations,
        shown=partial(is_shown, viewer),
    )
    rejected = [{"index": one.index, "reason": one.detail} for one in body.rejected]
    return JSONResponse({"alerts": [one.json() for one in explained], "rejected": rejected})


async def is_shown(viewer: Viewer, identity: Identity, alert: Alert) -> bool:
    """May they see what clusters know of an alert's subject, and of all that its labels name?

    Whoever may post an alert could else have any pod's log read to them, or what runs on a node.
    """
    if viewer.sees_all:
        return True
    named = named_by(alert.labels) if identity.kind != "plan" else ()
    if identity.kind != "plan" and (is_autopilots(alert.labels) or not all(_of_a_namespace(one) for one in named)):
        return False  # the platform is looked at then, whatever namespace the alert gives itself
    wanted = {identity.owner, *((identity.cluster, one.namespace) for one in named)}
    return await viewer.allowed(wanted) == wanted


def _of_a_namespace(named: Named) -> bool:
    """Is it surely within its namespace? What only a cluster's discovery knows may be of the whole cluster."""
    kind = KINDS.get(named.kind)
    return kind is not None and kind.namespaced


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)
