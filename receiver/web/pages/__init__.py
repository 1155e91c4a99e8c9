"""The pages: one module each, with its template in `web/html/`. What they show is under `/api/v1/` as JSON, too."""

from __future__ import annotations

from typing import Protocol

from starlette.routing import Route

from receiver.web.pages import deliveries, handover, runbooks, status, stories, story
from receiver.web.pages import routes as routing
from receiver.web.pages.site import Site


class Paged(
    stories.Listed,
    story.Shown,
    deliveries.Listed,
    status.Watched,
    handover.Handing,
    runbooks.Serving,
    routing.Routing,
    Protocol,
):
    """What all the pages together need: `receiver.service.Service`."""


def routes(service: Paged, site: Site) -> list[Route]:
    """Return the addresses of all pages, and of what they load."""
    parts = (stories, story, handover, deliveries, routing, runbooks, status)
    return [*site.routes(), *(route for part in parts for route in part.routes(service, site))]
