"""`/runbooks/{alert}`: our own runbooks and those that people keep in ConfigMaps.

Markdown is untrusted: HTML in it is shown as text, images are left out, and only http, https and mailto make links.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.enrichers.overrides import MAX_VALUE, Overrides, own_namespace
from receiver.enrichers.shelf import own_pages
from receiver.guard import Guarding
from receiver.guard import page as guarded
from receiver.kube import Cluster
from receiver.kube.kinds import is_name
from receiver.web.pages.site import HEADERS, Served, Site
from receiver.web.viewers import viewer_of


class Serving(Guarding, Served, Protocol):
    """What these pages need of the service."""

    clusters: Mapping[str, Cluster]


def routes(service: Serving, site: Site) -> list[Route]:
    """Return the pages' addresses."""
    overrides = Overrides(own_namespace())

    async def one(request: Request) -> Response:
        name = request.path_params["alert"]
        cluster = service.clusters.get(request.query_params.get("cluster", ""))
        namespace = request.query_params.get("namespace", "")
        if cluster is not None and is_name(namespace) and await viewer_of(request).may_see(cluster.name, namespace):
            book = await overrides.of(cluster)
            override = book.find(name, (namespace,))
            if override is not None and not override.is_link:
                said = f"Kept in ConfigMap {override.source} of cluster {cluster.name}."
                return site.page(request, "runbook.html", name=name, body=to_html(override.value), said=said)
        path = own_pages().get(name)
        if path is None:
            said = "No runbook of this name"
            return site.page(request, "runbooks.html", 404, title=said, names=sorted(own_pages()))
        text = await asyncio.to_thread(path.read_text, encoding="utf-8")
        alias = f"The alert {name} was renamed {path.stem}." if path.stem != name else ""
        return site.page(request, "runbook.html", name=name, body=to_html(text), said=alias)

    async def every(request: Request) -> Response:
        return site.page(request, "runbooks.html", title="Runbooks", names=sorted(own_pages()))

    table = {"/runbooks/": every, "/runbooks/{alert}": one}
    return [Route(path, guarded(service, handler, HEADERS)) for path, handler in table.items()]


def to_html(markdown: str) -> Markup:
    """Return Markdown as HTML that can do nothing: no tags of its own, no images, no scripts behind links."""
    reader = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")
    return Markup(reader.render(markdown[:MAX_VALUE]))  # noqa: S704  # what it escapes is all that is not its own
