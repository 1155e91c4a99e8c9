"""`/status`: what this process works with, and how its surroundings do; for admins where not all see everything."""

from __future__ import annotations

from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.guard import page as guarded
from receiver.web import status_api
from receiver.web.pages.site import HEADERS, Site

LATE_S = 180.0
"""An Alertmanager whose last complete round is older has missed at least two."""


class Watched(status_api.Served, Protocol):
    """What is shown: `receiver.service.Service`."""


def routes(service: Watched, site: Site) -> list[Route]:
    """Return the address."""
    status = status_api.Status(service)

    async def shown(request: Request) -> Response:
        found = await status.collect()
        return site.page(request, "status.html", status=found, at=status_api.moment, late_s=LATE_S)

    return [Route("/status", guarded(service, shown, HEADERS, admins=True))]
