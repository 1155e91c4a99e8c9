"""`GET /api/v1/destinations`: how each destination does that the configuration names or the store remembers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.clock import Clock
from receiver.config.model import Config
from receiver.guard import page
from receiver.store import health
from receiver.store.codec import moment_or_none
from receiver.store.engine import Conn, Store
from receiver.store.health import Health, Known, Names, Standing
from receiver.store.owners import Owner
from receiver.views import iso
from receiver.web.lately import Lately
from receiver.web.viewers import Viewer, Viewers, sight, viewer_of

PATH: Final = "/api/v1/destinations"
_ORDER: Final = tuple(Standing)


class Served(Protocol):
    """Whose destinations they are: `receiver.service.Service`."""

    clock: Clock
    config: Config
    store: Store | None
    viewers: Viewers


Named = Lately[frozenset[Owner] | None, Names]
"""Where anything was ever to be told, by who looks: nearly always the same, and nothing is read for longer."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A destination and how it does."""

    identity: str
    names: tuple[str, ...]
    """Such as payments/slack; several where receivers share it."""
    kind: str
    configured: bool
    health: Health

    @property
    def name(self) -> str:
        return ", ".join(self.names) or self.identity

    @property
    def troubled(self) -> bool:
        """Is there anything that somebody may have to look after?"""
        of = self.health
        return bool(of.standing is not Standing.WORKING or of.waiting or of.parked or of.dead)

    @property
    def error_rate(self) -> float | None:
        """The share of the last hour's tries that went wrong; None: there were none."""
        return self.health.errors / self.health.tries if self.health.tries else None


@dataclass(frozen=True, slots=True)
class Table:
    """All of them, those in trouble first."""

    rows: tuple[Shown, ...]
    known: Known


async def table(config: Config, store: Store, viewer: Viewer, named: Named) -> Table:
    """Return what somebody may see of the destinations."""
    sees = await sight(viewer, store)

    async def read(conn: Conn) -> Known:
        return await health.read(conn, sees=sees, named=await named.of(sees, lambda: health.names(conn, sees)))

    known = await store.browse(read)
    return Table(join(config, known.of, everything=sees is None), known)


def join(config: Config, known: Mapping[str, Health], *, everything: bool) -> tuple[Shown, ...]:
    """Return the destinations of a configuration and of the store; without `everything` only those of the store."""
    named: dict[str, list[str]] = {}
    for receiver in config.receivers.values():
        for one in receiver.destinations:
            named.setdefault(one.identity, []).append(one.label)
    rows = []
    for identity in {*known, *(named if everything else ())}:
        of = known.get(identity, Health())
        names = tuple(named.get(identity, of.names))
        rows.append(Shown(identity, names, identity.partition(":")[0], identity in named, of))
    return tuple(sorted(rows, key=lambda one: (_ORDER.index(one.health.standing), not one.troubled, one.name)))


def routes(service: Served) -> list[Route]:
    """Return the address."""
    named = Named(service.clock)

    async def answer(request: Request) -> Response:
        if service.store is None:
            return JSONResponse({"error": "not ready"}, 503)
        viewer = viewer_of(request)
        found = await table(service.config, service.store, viewer, named)
        since = iso(moment_or_none(found.known.tries_since))
        notes = {"missing": list(viewer.notes)} if viewer.notes else {}
        return JSONResponse({"items": [_json(one) for one in found.rows], "tries_since": since, **notes})

    return [Route(PATH, page(service, answer))]


def _json(one: Shown) -> dict[str, Any]:
    of = one.health
    return {
        "identity": one.identity,
        "names": list(one.names),
        "kind": one.kind,
        "configured": one.configured,
        "state": of.standing.value,
        "reason": of.reason,
        "since": iso(moment_or_none(of.since)),
        "next": iso(moment_or_none(of.next_at)),
        "failures": of.failures,
        "waiting": of.waiting,
        "oldest": iso(moment_or_none(of.oldest)),
        "parked": of.parked,
        "dead": of.dead,
        "tries": of.tries,
        "errors": of.errors,
    }
