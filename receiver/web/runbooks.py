"""`/runbooks/{alert}`: our own runbooks and those that people keep in ConfigMaps, as plain pages that print well.

Markdown is untrusted: HTML in it is shown as text, images are left out, and only http, https and mailto make links.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from html import escape
from typing import Protocol

from markdown_it import MarkdownIt
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from receiver.config.model import Config
from receiver.enrichers.overrides import MAX_VALUE, Overrides, own_namespace
from receiver.enrichers.shelf import own_pages
from receiver.guard import page as guarded
from receiver.kube import Cluster
from receiver.kube.kinds import is_name
from receiver.web.story_page import POLICY

_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.4rem;line-height:1.3;overflow-wrap:anywhere}h2{font-size:1.1rem;margin-top:1.8rem}
pre{overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere;padding:.7rem;border:1px solid #8886;border-radius:6px}
table{border-collapse:collapse}
td,th{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #8884}
.small{opacity:.75;font-size:.9rem}
"""
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class Serving(Protocol):
    """What these pages need of the service."""

    config: Config
    clusters: Mapping[str, Cluster]


def routes(service: Serving) -> list[Route]:
    """Return the pages' routes."""
    overrides = Overrides(own_namespace())

    async def one(request: Request) -> Response:
        name = request.path_params["alert"]
        cluster = service.clusters.get(request.query_params.get("cluster", ""))
        namespace = request.query_params.get("namespace", "")
        if cluster is not None and is_name(namespace):
            book = await overrides.of(cluster)
            override = book.find(name, (namespace,))
            if override is not None and not override.is_link:
                said = f"Kept in ConfigMap {override.source} of cluster {cluster.name}."
                return HTMLResponse(page(name, to_html(override.value), said), 200, HEADERS)
        path = own_pages().get(name)
        if path is None:
            body = "<h1>No runbook of this name</h1>" + _list()
            return HTMLResponse(page("No such runbook", body, ""), 404, HEADERS)
        text = await asyncio.to_thread(path.read_text, encoding="utf-8")
        alias = f"The alert {name} was renamed {path.stem}." if path.stem != name else ""
        return HTMLResponse(page(name, to_html(text), alias), 200, HEADERS)

    async def every(_: Request) -> Response:
        return HTMLResponse(page("Runbooks", f"<h1>Runbooks</h1>{_list()}", ""), 200, HEADERS)

    table = {"/runbooks/": every, "/runbooks/{alert}": one}
    return [Route(path, guarded(service, handler, HEADERS)) for path, handler in table.items()]


def to_html(markdown: str) -> str:
    """Return Markdown as HTML that can do nothing: no tags of its own, no images, no scripts behind links."""
    reader = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")
    return str(reader.render(markdown[:MAX_VALUE]))


def page(title: str, body: str, small: str) -> str:
    """Return a whole page; `body` is HTML, the rest is text."""
    note = f'<p class="small">{escape(small)}</p>' if small else ""
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)} · mtv-receiver</title><style>{_STYLE}</style><main>{note}{body}</main></html>"
    )


def _list() -> str:
    items = "".join(f'<li><a href="/runbooks/{escape(name)}">{escape(name)}</a></li>' for name in sorted(own_pages()))
    return f"<ul>{items}</ul>"
