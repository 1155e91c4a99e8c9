"""`POST /api/v1/stories/{id}/acknowledge|silence|move`: what people do with a story, from scripts and tools."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.actions import API, Actions, Actor, Answer
from receiver.config.model import Config
from receiver.guard import page
from receiver.store.engine import Store
from receiver.web.viewers import Viewers, is_shown, viewer_of
from receiver.wire import clean

MAX_BYTES = 64 * 1024
SOMEBODY = "somebody with the page token"


class Acting(Protocol):
    """What acts: `receiver.service.Service`."""

    config: Config
    actions: Actions | None
    store: Store | None
    viewers: Viewers


class BadRequestError(ValueError):
    """A body that makes no sense; the message says why and what helps."""


Act = Callable[[Actions, str, Actor], Awaitable[Answer]]


def routes(service: Acting) -> list[Route]:
    """Return the addresses. A body of another type than JSON is refused, so that no foreign page can post a form."""

    def taking(name: str, read: Callable[[Mapping[str, Any]], Act]) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            if service.actions is None or service.store is None:
                return refused(503, "not ready")
            story = clean(request.path_params["id"])
            try:
                body = await json_body(request)
                act, actor = read(body), _actor(request, body)
            except BadRequestError as error:
                return refused(400, str(error))
            if await is_shown(viewer_of(request), service.store, story.upper()):
                said = await act(service.actions, story, actor)
            else:  # as where there is none; who tried is written down
                said = await service.actions.unknown(story, name, actor)
            return JSONResponse({"done": said.done, "text": said.text}, 200 if said.done else 409)

        return page(service, answer)

    table = {"acknowledge": _acknowledge, "silence": _silence, "move": _move}
    return [Route(f"/api/v1/stories/{{id}}/{name}", taking(name, one), methods=["POST"]) for name, one in table.items()]


def _acknowledge(body: Mapping[str, Any]) -> Act:
    _only(body, "by", "note")
    note = body.get("note", "")
    if not isinstance(note, str):
        raise BadRequestError("note is no text")
    return lambda actions, story, who: actions.acknowledge(story, who, note)


def _silence(body: Mapping[str, Any]) -> Act:
    _only(body, "by", "hours")
    hours = body.get("hours")
    if isinstance(hours, bool) or not isinstance(hours, int | float):
        raise BadRequestError('hours is missing; send for example {"hours": 4}')
    return lambda actions, story, who: actions.silence(story, float(hours), who)


def _move(body: Mapping[str, Any]) -> Act:
    _only(body, "by", "to", "from")
    to, giver = body.get("to"), body.get("from", "")
    if not isinstance(to, str) or not to or not isinstance(giver, str):
        raise BadRequestError('to is missing; send for example {"to": "network"}')
    return lambda actions, story, who: actions.move(story, to, who, giver=giver)


def _only(body: Mapping[str, Any], *known: str) -> None:
    if unknown := sorted(set(body) - set(known)):
        raise BadRequestError(f"{unknown[0][:40]!r} is not known here; there are {', '.join(known)}")


async def json_body(request: Request) -> Mapping[str, Any]:
    """Return the JSON object that was sent; an empty body is an empty one. Raises BadRequestError."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise BadRequestError("send JSON with Content-Type: application/json")
    raw = b""
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > MAX_BYTES:
                raise BadRequestError(f"more than {MAX_BYTES} bytes")
    except ClientDisconnect:
        raise BadRequestError("the connection ended within the body") from None
    try:
        body = _cleaned(json.loads(raw or b"{}", parse_int=_number, parse_constant=_refuse))
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise BadRequestError("the body is no JSON object")
    return body


def _cleaned(item: Any) -> Any:
    """Return what was sent with texts that every database takes."""
    match item:
        case str():
            return clean(item)
        case list():
            return [_cleaned(one) for one in item]
        case dict():
            return {clean(key): _cleaned(one) for key, one in item.items()}
        case _:
            return item


def _number(digits: str) -> int | float:
    """Read a number; one with so many digits is none that anybody means, and Python refuses some of them."""
    return int(digits) if len(digits) < 300 else float(digits)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _actor(request: Request, body: Mapping[str, Any]) -> Actor:
    """Return who acts: the user who signed in, else who the body says."""
    return Actor(who(request, body.get("by", "")), API)


def who(request: Request, says: Any = "") -> str:
    """Return the name of who signed in, else the one that they say themselves, else SOMEBODY."""
    name = viewer_of(request).name or says
    return name if isinstance(name, str) and name.strip() else SOMEBODY


def refused(status: int, text: str) -> Response:
    """Return an error as every address of the API says it."""
    return JSONResponse({"error": text}, status_code=status)
