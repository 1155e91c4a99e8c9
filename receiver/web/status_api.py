"""`GET /api/v1/status`: what this process works with and how that does, from what is known already.

Each part is made on its own and within PART_S seconds; one that cannot be told says why, under `unknown`. Nothing of it
is a secret: configuration and messages go through the redactor, and secrets are where they are read, never what.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol, TypeVar

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.clock import Clock
from receiver.config import shown
from receiver.config.model import Config
from receiver.enrichers.redact import Redactor
from receiver.guard import page
from receiver.http import own_version
from receiver.kube import Cluster
from receiver.metrics import PREFIX, Metrics
from receiver.reconcile import EVERY_S
from receiver.store import heartbeats, rounds, standing
from receiver.store.codec import moment_or_none
from receiver.store.engine import Conn, Store
from receiver.views import iso
from receiver.web.lacking import Rights
from receiver.web.viewers import Viewers

log = structlog.get_logger(__name__)

PATH: Final = "/api/v1/status"
PART_S: Final = 5.0
MOST_FILES: Final = 200
MOST_PROBLEMS: Final = 50
T = TypeVar("T")


class Served(Protocol):
    """Whose status it is: `receiver.service.Service`."""

    config: Config
    store: Store | None
    clock: Clock
    metrics: Metrics
    viewers: Viewers
    clusters: Mapping[str, Cluster]
    reload_problems: Sequence[str]

    @property
    def database(self) -> str:
        """Where the store is, for people."""

    async def ready(self) -> str:
        """Return the empty string when the service is ready, else what is wrong."""


def routes(service: Served) -> list[Route]:
    """Return the address."""
    status = Status(service)

    async def answer(_: Request) -> Response:
        return JSONResponse(await status.collect())

    return [Route(PATH, page(service, answer, admins=True))]


class Status:
    """Collects it. What clusters are asked for is kept for a while."""

    def __init__(self, service: Served) -> None:
        self._service = service
        self._rights = Rights(service.clock)
        self._redactor: tuple[Config, Redactor] | None = None

    async def collect(self) -> dict[str, Any]:
        """Return the status as JSON has it."""
        service = self._service
        unknown: list[dict[str, str]] = []

        async def part(name: str, work: Callable[[], Awaitable[T]]) -> T | None:
            try:
                async with asyncio.timeout(PART_S):
                    return await work()
            except TimeoutError:
                why = f"no answer within {PART_S:g} s"
            except _NotReadyError:
                why = "not ready yet"
            except Exception as error:  # whatever it is, the other parts can be told
                log.warning("status.unknown", part=name, error=type(error).__name__, exc_info=error)
                why = f"{type(error).__name__}; the log has more"
            unknown.append({"what": name, "why": why})
            return None

        # One after the other: nobody hurries, and the database has better things to do.
        return {
            "ready": await part("readiness", service.ready),
            "versions": {
                "receiver": own_version(),
                "python": platform.python_version(),
                "database": await part("database version", self._database_version),
            },
            "configuration": await part("configuration", self._configuration),
            "clusters": await part("clusters", self._clusters) or [],
            "alertmanagers": await part("Alertmanagers", self._alertmanagers) or [],
            "heartbeat": await part("heartbeat", self._heartbeat),
            "store": await part("store", self._store),
            "replicas": await part("replicas", self._replicas),
            "unknown": unknown,
        }

    async def _browse(self, work: Callable[[Conn], Awaitable[T]]) -> T:
        if self._service.store is None:
            raise _NotReadyError
        return await self._service.store.browse(work)

    def _hide(self, text: str) -> str:
        config = self._service.config
        if self._redactor is None or self._redactor[0] is not config:
            self._redactor = (config, Redactor(config.redaction_patterns))
        return self._redactor[1].text(text)[0]

    def _figure(self, name: str, **labels: str) -> float | None:
        """Return a figure of this process; None where there is none yet."""
        return self._service.metrics.registry.get_sample_value(f"{PREFIX}_{name}", labels) or None

    async def _database_version(self) -> str:
        store = self._service.store
        shared = store is not None and store.shared
        found = await self._browse(lambda conn: standing.version(conn, shared=shared))
        return f"{'PostgreSQL' if shared else 'SQLite'} {found}"

    async def _configuration(self) -> dict[str, Any]:
        config = self._service.config
        text = await asyncio.to_thread(shown.effective, config, self._hide)
        return {
            "file": str(config.path),
            "hash": config.hash,
            "shadow": list(config.shadowed),
            "loaded": _iso(self._figure("config_last_reload_success_timestamp_seconds")),
            "problems": [self._hide(one) for one in self._service.reload_problems[:MOST_PROBLEMS]],
            "included": [str(one) for one in config.included[:MOST_FILES]],
            "files": len(config.files),
            "yaml": text,
        }

    async def _clusters(self) -> list[dict[str, Any]]:
        config = self._service.config
        lacking = await self._rights.of(config, self._service.clusters)
        found = []
        for one in config.clusters:
            cluster = self._service.clusters.get(one.name)
            plans = cluster.plans() if cluster is not None else None
            source = f"must-gather {one.must_gather}" if one.must_gather else ""
            source = source or (f"kubeconfig {one.kubeconfig_file}" if one.kubeconfig_file else "service account")
            rights = lacking.get(one.name)
            nobody = "not in a pod, and no kubeconfig_file: there is nobody to ask"
            found.append(
                {
                    "name": one.name,
                    "source": source,
                    "synced": plans is not None and plans.synced,
                    "problem": self._hide(plans.problem or "") if plans is not None else nobody,
                    "plans": len(plans) if plans is not None else None,
                    "lacking": list(rights.names) if rights is not None and not rights.why else None,
                    "lacking_unknown": self._hide(rights.why) if rights is not None else "",
                }
            )
        return found

    async def _alertmanagers(self) -> list[dict[str, Any]]:
        known = self._service.config.alertmanagers
        names = [rounds.job_of(one.name) for one in known]
        dues = await self._browse(lambda conn: standing.dues(conn, names)) if names else {}
        found = []
        for one in known:
            due = dues.get(rounds.job_of(one.name))
            complete = self._figure("reconcile_last_success_timestamp_seconds", alertmanager=one.name)
            found.append(
                {
                    "name": one.name,
                    "urls": [shown.address(url, self._hide) for url in (one.url, *one.peers)],
                    "last_round": _iso(due.due - EVERY_S) if due is not None and due.due is not None else None,
                    "last_complete": _iso(complete),
                    "failed_rounds": int(self._figure("reconcile_failures_total", alertmanager=one.name) or 0),
                }
            )
        return found

    async def _heartbeat(self) -> dict[str, Any]:
        async def read(conn: Conn) -> dict[str, Any]:
            return {
                "expected": self._service.config.heartbeat is not None,
                "heard": _iso(await heartbeats.last(conn, heartbeats.HEARD)),
                "webhook": _iso(await heartbeats.last(conn, heartbeats.WEBHOOK)),
                "firing": sorted(await heartbeats.firing(conn)),
                "ping_error": self._hide(await heartbeats.last_ping(conn) or ""),
            }

        return await self._browse(read)

    async def _store(self) -> dict[str, Any]:
        store = self._service.store
        held = await self._browse(standing.holdings)
        used = self._figure("store_used_bytes")
        return {
            "kind": "PostgreSQL" if store is not None and store.shared else "SQLite",
            "place": self._service.database,
            "bytes": held.bytes,
            "used": int(used) if used is not None else None,
            "limit": self._service.config.storage.max_bytes,
            "stories": dict(held.stories),
            "deliveries": dict(held.deliveries),
            "inbox": held.waiting,
            "inbox_oldest_s": round(held.oldest_s, 1),
        }

    async def _replicas(self) -> dict[str, Any]:
        store = self._service.store
        if store is not None and not store.shared:
            return {"shared": False, "holders": []}
        found = await self._browse(standing.holders)
        return {"shared": True, "holders": [{"owner": one.owner, "jobs": list(one.jobs)} for one in found]}


class _NotReadyError(Exception):
    """The store is not open yet, or not any more."""


def _iso(at: float | None) -> str | None:
    return iso(moment_or_none(at)) if at is not None else None


def moment(text: str | None) -> datetime | None:
    """Return a time of the status, for pages."""
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
