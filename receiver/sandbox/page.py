"""The page that draws what Slack, PagerDuty and Jira would show, and the same as JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from receiver.sandbox import adf, mrkdwn
from receiver.sandbox.slack import Channel, Message
from receiver.sandbox.state import Sandbox

WEB = Path(__file__).parent / "web"
MOST_DRAWN = 40  # newest messages of a channel, incidents and issues; a page of 1,000 helps nobody
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_STATIC = {"page.css": "text/css", "page.js": "text/javascript"}
_COLOURS = {"good": "#2eb67d", "warning": "#ecb22e", "danger": "#e01e5a"}


@dataclass(frozen=True, slots=True)
class Thread:
    """A root and its replies; `root` is None when a person deleted it."""

    key: str
    root: Message | None
    replies: list[Message]


def page_routes(state: Sandbox) -> list[BaseRoute]:
    """Return the page, its parts, `/state` and `/reset`."""
    env = _environment(state)

    async def page(request: Request) -> Response:
        del request
        return HTMLResponse(env.get_template("page.html").render(_context(state)), headers=HEADERS)

    async def fragment(request: Request) -> Response:
        """Answer 204 while nothing has changed since version `seen`."""
        headers = {**HEADERS, "X-Version": str(state.version)}
        if request.query_params.get("seen") == str(state.version):
            return Response(status_code=204, headers=headers)
        return HTMLResponse(env.get_template("board.html").render(_context(state)), headers=headers)

    async def snapshot(request: Request) -> Response:
        del request
        return JSONResponse(state.snapshot())

    async def reset(request: Request) -> Response:
        del request
        state.clear()
        return RedirectResponse("/", status_code=303)

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in _STATIC:
            return Response(status_code=404)
        return Response((WEB / name).read_bytes(), media_type=_STATIC[name], headers=HEADERS)

    return [
        Route("/", page, methods=["GET"]),
        Route("/fragment", fragment, methods=["GET"]),
        Route("/state", snapshot, methods=["GET"]),
        Route("/reset", reset, methods=["POST"]),
        Route("/static/{name}", static, methods=["GET"]),
    ]


def _environment(state: Sandbox) -> jinja2.Environment:
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WEB),
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def clock(at: float | str) -> str:
        return datetime.fromtimestamp(float(at), state.zone).strftime("%H:%M:%S")

    def draw_mrkdwn(text: object) -> Markup:
        return mrkdwn.to_html(str(text or ""), state.zone)

    env.filters.update(
        adf=adf.to_html,
        clock=clock,
        emoji=lambda text: mrkdwn.emoji(str(text or "")),
        mrkdwn=draw_mrkdwn,
        colour=_colour,
        safe_url=_safe_url,
    )
    env.tests["columns"] = _is_table
    return env


def _context(state: Sandbox) -> dict[str, Any]:
    incidents = list(reversed(state.pagerduty.incidents))
    issues = sorted(state.jira.issues.values(), key=lambda issue: issue.created_at, reverse=True)
    return {
        "version": state.version,
        "most": MOST_DRAWN,
        "channels": [(channel, _threads(channel)) for channel in state.slack.channels.values()],
        "incidents": incidents,
        "open_incidents": sum(incident.open for incident in incidents),
        "issues": issues,
        "open_issues": sum(issue.category != "done" for issue in issues),
        "zone": datetime.fromtimestamp(0, state.zone).tzname() or "",
    }


def _threads(channel: Channel) -> list[Thread]:
    """Return the channel's threads, oldest first, those of deleted roots included."""
    replies: dict[str, list[Message]] = {}
    roots: dict[str, Message | None] = {}
    for message in channel.messages.values():
        if message.thread_ts is None:
            roots[message.ts] = message
        else:
            roots.setdefault(message.thread_ts, channel.messages.get(message.thread_ts))
            replies.setdefault(message.thread_ts, []).append(message)
    return [Thread(f"{channel.id}-{ts}", roots[ts], replies.get(ts, [])) for ts in sorted(roots)]


def _colour(value: object) -> str:
    text = str(value or "")
    if re.fullmatch(r"#?[0-9a-fA-F]{6}|#?[0-9a-fA-F]{3}", text):
        return "#" + text.lstrip("#")
    return _COLOURS.get(text, "#8d8d8d")


def _safe_url(value: object) -> str:
    text = str(value or "")
    return text if text.startswith(("https://", "http://")) else "#"


def _is_table(value: object) -> bool:
    """Tell whether a custom detail is a list of flat objects, to be drawn as rows."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(each, dict) and len(each) <= MOST_DRAWN for each in value)
    )
