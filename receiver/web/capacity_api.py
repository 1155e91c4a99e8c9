"""`GET /api/v1/capacity/plans/{namespace}/{name}`: what `mtv-receiver capacity plan` says, as JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.clock import Clock
from receiver.config.model import Config
from receiver.diagnose import UnknownPlanError, known_plan
from receiver.guard import page
from receiver.kube import Cluster, ClusterError
from receiver.kube.kinds import is_name
from receiver.web.viewers import Viewers, viewer_of

if TYPE_CHECKING:
    from receiver.room.supply import Supply

PATH: Final = "/api/v1/capacity/plans/{namespace}/{name}"
MAX_AT_A_TIME: Final = 8
"""Plans that are judged at the same time; each asks several clusters for a dozen lists."""
NOT_SHOWN: Final = "no such plan in a namespace that you may see"
BUSY: Final = "busy: other plans are being judged; ask again in some seconds"

Key = tuple[str, str, str]


class Judging(Protocol):
    """What judges: `receiver.service.Service`."""

    config: Config
    clock: Clock
    clusters: Mapping[str, Cluster]
    viewers: Viewers

    @property
    def supply(self) -> Supply: ...


class CapacityApi:
    """Judges plans, one computation of a plan at a time, whoever asks."""

    def __init__(self, service: Judging) -> None:
        self._service = service
        self._running: dict[Key, asyncio.Task[dict[str, Any]]] = {}

    def routes(self) -> list[Route]:
        """Return the address."""
        return [Route(PATH, page(self._service, self._answer))]

    async def aclose(self) -> None:
        """End what is being computed."""
        for task in self._running.values():
            task.cancel()
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _answer(self, request: Request) -> Response:
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        if not is_name(namespace) or not is_name(name):
            return _error(404, "no plan can have such a name")
        wanted = request.query_params.get("cluster") or self._service.config.default_cluster(self._service.clusters)
        if not wanted:
            return _error(503, "no cluster is configured")
        home = self._service.clusters.get(wanted)
        if home is None:
            if any(one.name == wanted for one in self._service.config.clusters):
                return _error(503, f"cluster {wanted} cannot be asked here")
            return _error(400, "cluster: none of the configuration has this name")
        viewer = viewer_of(request)
        if not await viewer.may_see(wanted, namespace):
            return _error(404, NOT_SHOWN)
        key = (wanted, namespace, name)
        if key not in self._running:
            if len(self._running) >= MAX_AT_A_TIME:
                return _error(503, BUSY)
            task = asyncio.create_task(self._judge(home, namespace, name), name=f"capacity of {namespace}/{name}")
            self._running[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        try:
            # Who stops waiting stops nobody else.
            return JSONResponse(await asyncio.shield(self._running[key]))
        except UnknownPlanError as error:
            # What it suggests instead may be in other namespaces.
            return _error(404, str(error) if viewer.sees_all else NOT_SHOWN)
        except ClusterError as error:
            return _error(503, error.message)

    def _done(self, key: Key, task: asyncio.Task[dict[str, Any]]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # whoever waited has it; nobody waiting is no error

    async def _judge(self, home: Cluster, namespace: str, name: str) -> dict[str, Any]:
        service = self._service
        plan = await known_plan(home, namespace, name)
        from receiver.plan_capacity import plan_capacity  # with the engine below, when somebody asks

        found = await plan_capacity(
            service.config, home, plan, clusters=service.clusters, supply=service.supply, now=service.clock.now()
        )
        return found.json()


def _error(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status_code=status)
