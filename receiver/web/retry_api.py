"""`POST /api/v1/deliveries/retry`: another try for what could not be told, as `deliveries retry` gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.config.durations import parse_duration
from receiver.config.model import Config
from receiver.guard import ADMINS_ONLY, page
from receiver.model import DeliveryState
from receiver.store import retrying
from receiver.store.engine import Conn, Store
from receiver.store.retrying import AT_ONCE, STUCK, Choice, NotRetryableError, Pick
from receiver.web.actions_api import BadRequestError, json_body, refused, who
from receiver.web.viewers import Viewers, sight, viewer_of

KEYS = ("ids", "state", "destination", "receiver", "since", "dry_run")


class Retrying(Protocol):
    """What is tried again: `receiver.service.Service`."""

    config: Config
    store: Store | None
    viewers: Viewers


def routes(service: Retrying) -> list[Route]:
    """Return the address."""

    async def answer(request: Request) -> Response:
        if service.store is None:
            return refused(503, "not ready")
        try:
            body = await json_body(request)
            ids, choice = _wanted(body)
            dry = body.get("dry_run") is True
            viewer = viewer_of(request)
            if choice is not None and not viewer.sees_all:
                return refused(403, f"a filter is {ADMINS_ONLY}; others name deliveries by ids")
            sees = await sight(viewer, service.store)

            async def read(conn: Conn) -> list[Pick]:
                return await (retrying.named(conn, ids, sees) if choice is None else retrying.chosen(conn, choice))

            picks = await service.store.browse(read)
            if not dry:
                picks = await retrying.retry_all(service.store, picks, who(request))
        except BadRequestError as error:
            return refused(400, str(error))
        except NotRetryableError as error:
            return refused(409, f"{error}; {error.cure}")
        return JSONResponse({"items": [one.id for one in picks], "dry_run": dry})

    return [Route("/api/v1/deliveries/retry", page(service, answer), methods=["POST"])]


def _wanted(body: Mapping[str, Any]) -> tuple[tuple[str, ...], Choice | None]:
    """Return which deliveries: ids, or a filter. Raises BadRequestError."""
    if unknown := sorted(set(body) - set(KEYS)):
        raise BadRequestError(f"{unknown[0][:40]!r} is not known here; there are {', '.join(KEYS)}")
    ids, choice = _ids(body), _choice(body)
    if not isinstance(body.get("dry_run", False), bool):
        raise BadRequestError("dry_run is neither true nor false")
    if bool(ids) == (choice is not None):
        raise BadRequestError('say which deliveries; send ids, or a filter such as {"state": ["dead"]}')
    return ids, choice


def _ids(body: Mapping[str, Any]) -> tuple[str, ...]:
    found = body.get("ids", [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise BadRequestError("ids is no list of ids")
    ids = tuple(dict.fromkeys(found))
    if len(ids) > AT_ONCE:
        raise BadRequestError(
            f'more than {AT_ONCE} ids; send fewer at a time, or a filter such as {{"state": ["dead"]}}'
        )
    return ids


def _choice(body: Mapping[str, Any]) -> Choice | None:
    if not set(body) & {"state", "destination", "receiver", "since"}:
        return None
    states = body.get("state", [one.value for one in STUCK])
    destination, receiver, since = (body.get(name, "") for name in ("destination", "receiver", "since"))
    try:
        wanted = tuple(DeliveryState(one) for one in ([states] if isinstance(states, str) else states))
        retrying.check(wanted)
        within_s = parse_duration(since) if since else None
    except NotRetryableError as error:
        raise BadRequestError(f"{error}; {error.cure}") from None
    except (ValueError, TypeError) as error:
        raise BadRequestError(str(error)) from None
    if not isinstance(destination, str) or not isinstance(receiver, str):
        raise BadRequestError("destination and receiver are texts, such as payments/slack and payments")
    return Choice(wanted or STUCK, destination, receiver, within_s)
