"""What all pages share: their frame, their files, and the headers that keep anything else from running in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from receiver.clock import Clock
from receiver.config.model import Config
from receiver.guard import open_to_all
from receiver.http import own_version
from receiver.rendering import words
from receiver.rendering.markup import safe_url
from receiver.web.pages.answers import answered

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NAVIGATION: Final = (
    ("/", "Stories"),
    ("/deliveries", "Deliveries"),
    ("/routes", "Routes"),
    ("/handover", "Handover"),
    ("/status", "Status"),
    ("/runbooks/", "Runbooks"),
)
FOR_ADMINS: Final = frozenset({"/status"})
"""Who may not see them is not led there."""
_WEB: Final = Path(__file__).resolve().parents[1]
_TYPES: Final = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_A_YEAR: Final = "public, max-age=31536000, immutable"


class Served(Protocol):
    """What pages need of `receiver.service.Service`."""

    config: Config
    clock: Clock


class Site:
    """The frame of the pages."""

    def __init__(self, service: Served) -> None:
        self._service = service

    def routes(self) -> list[Route]:
        """Return the addresses of what pages load: open to all, as it says nothing about any failure."""
        return [Route("/static/{name}", open_to_all(self._static))]

    def page(self, request: Request, template: str, status: int = 200, /, **values: Any) -> Response:
        """Return a page: the `template` of `web/html/` with these values."""
        user = getattr(request.state, "user", "")
        text = self._templates.get_template(template).render(
            {
                "path": request.url.path,
                "user": user,
                "navigation": self._navigation(request),
                "now": self._service.clock.now(),
                "shadow": self._service.config.shadow_notice,
                **values,
            }
        )
        return HTMLResponse(text, status, HEADERS)

    def _navigation(self, request: Request) -> Sequence[tuple[str, str]]:
        """Return the pages that somebody may see; of who did not sign in nothing is known."""
        viewer = getattr(request.state, "viewer", None)
        admin = viewer.admin if viewer is not None else self._service.config.web.visibility is None
        return [one for one in NAVIGATION if admin or one[0] not in FOR_ADMINS]

    def fragment(self, template: str, macro: str, *values: Any) -> str:
        """Return a piece of a page: what a macro of a template makes of these values."""
        return str(getattr(self._templates.get_template(template).module, macro)(*values))

    def url(self, path: str, **query: Any) -> str:
        """Return the address of a page of ours, below the path of `web.external_url`; empty parameters are left out."""
        root = urlsplit(self._service.config.web.external_url).path.rstrip("/")
        said = {key: one for key, one in query.items() if one not in ("", None, [], ())}
        return f"{root}{path}" + (f"?{urlencode(said, doseq=True)}" if said else "")

    def absolute(self, path: str) -> str:
        """Return the address for others; without `web.external_url` only its path."""
        return f"{self._service.config.web.external_url.rstrip('/')}{path}"

    @cached_property
    def _templates(self) -> Environment:
        made = Environment(
            loader=FileSystemLoader(_WEB / "html"),
            autoescape=True,
            auto_reload=False,  # else the disk is asked for every piece of every page
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        made.globals |= {
            "url": self.url,
            "static": lambda name: self.url(f"/static/{name}", v=self._files[name][1]),
            "version": own_version(),
            "when": when,
            "duration": words.duration,
            "count": words.count,
        }
        made.filters |= {
            "safe_url": safe_url,
            "codes": codes,
            "answered": answered,
            "number": lambda number: f"{number:,}",
        }
        return made

    @cached_property
    def _files(self) -> Mapping[str, tuple[bytes, str]]:
        """What pages load, by name, with a mark of its content: a new version has a new address."""
        found = {}
        for path in sorted((_WEB / "static").iterdir()):
            if path.suffix in _TYPES:
                content = path.read_bytes()
                found[path.name] = (content, hashlib.sha256(content).hexdigest()[:12])
        return found

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self._files:
            return Response(status_code=404)
        content, mark = self._files[name]
        headers = {"X-Content-Type-Options": "nosniff", "ETag": f'"{mark}"'}
        headers["Cache-Control"] = _A_YEAR if request.query_params.get("v") == mark else "no-cache"
        return Response(content, media_type=_TYPES[Path(name).suffix], headers=headers)


def when(at: datetime | float | None, seconds: bool = False) -> Markup:
    """Return a time in UTC, as logs and messages have it; scripts shorten it. Empty for None."""
    if at is None:
        return Markup()
    moment = (datetime.fromtimestamp(at, UTC) if isinstance(at, float | int) else at).astimezone(UTC)
    iso = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    clock, mark = (f"{moment:%H:%M:%S}", " data-seconds") if seconds else (f"{moment:%H:%M}", "")
    # Nothing of a time needs to be escaped, and a list has a hundred of them.
    return Markup(f'<time datetime="{iso}"{mark}>{moment.day} {moment:%b} {clock} UTC</time>')  # noqa: S704


def codes(text: str) -> Markup:
    """Return text in which what stands between backticks is code."""
    parts = str(text).split("`")
    if len(parts) % 2 == 0:  # the last one has no partner
        parts[-2:] = ["`".join(parts[-2:])]
    return Markup().join(Markup("<code>{}</code>").format(part) if at % 2 else part for at, part in enumerate(parts))
