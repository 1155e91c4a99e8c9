"""The composition root: which address does what, and the life of the service around them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from receiver.clock import Clock, SystemClock
from receiver.config.load import check
from receiver.config.model import Config
from receiver.config.problems import Problem
from receiver.destinations.registry import ALL
from receiver.guard import CountRefusals, Rule, declared, page
from receiver.http import silence_url_logs
from receiver.ingest import Webhook
from receiver.metrics import Metrics
from receiver.service import Service
from receiver.slack_socket import lines
from receiver.web import (
    actions_api,
    audit_api,
    destinations_api,
    evidence_api,
    explain_api,
    openapi_route,
    pagerduty_hook,
    pages,
    retry_api,
    slack,
    status_api,
)
from receiver.web.api import Api
from receiver.web.capacity_api import CapacityApi
from receiver.web.live import Live
from receiver.web.operation import Operation
from receiver.web.pages.site import Site

_EVERY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def build_app(
    config: Config,
    database_url: str,
    *,
    on_fatal: Callable[[str], None],
    clock: Clock | None = None,
    veto: Callable[[Config], str] = lambda _: "",
) -> Starlette:
    """Return the application; its lifespan runs the workers. `on_fatal` is told when one of them died.

    `veto` says why a configuration that is good in itself cannot be put in force in this process.
    """
    silence_url_logs()

    def reread() -> tuple[Config | None, tuple[Problem, ...]]:
        found, problems = check(config.path, ALL)
        why = veto(found) if found is not None else ""
        if not why:
            return found, problems
        return None, (*problems, Problem(str(config.path), 1, 1, "", why, "or restart with what it needs"))

    clock = clock or SystemClock()
    sockets = [line.config.label for line in lines(config.destinations)]
    metrics = Metrics((kind.kind for kind in ALL), (cluster.name for cluster in config.clusters), sockets)
    service = Service(config, database_url, clock, metrics, on_fatal, reread)
    webhook = Webhook(service, metrics)
    site = Site(service)
    operation = Operation(service, site)
    api = Api(service)
    capacity = CapacityApi(service)
    live = Live(service, site)

    @partial(declared, Rule.WEBHOOK)
    async def take(request: Request) -> Response:
        return await webhook(request)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with service.running():
            try:
                yield
            finally:
                await live.aclose()
                await capacity.aclose()
                await service.viewers.aclose()
                await service.forget_room()

    app = Starlette(
        routes=[
            Route("/webhook", take, methods=_EVERY_METHOD),
            Route("/webhook/", take, methods=_EVERY_METHOD),
            Route("/webhook/{alertmanager}", take, methods=_EVERY_METHOD),
            Route("/-/healthy", operation.healthy),
            Route("/-/ready", operation.ready),
            Route("/-/reload", page(service, operation.reload, admins=True), methods=["POST", "PUT"]),
            Route("/metrics", operation.metrics),
            *api.routes(),
            *actions_api.routes(service),
            *retry_api.routes(service),
            *destinations_api.routes(service),
            *status_api.routes(service),
            *audit_api.routes(service),
            *evidence_api.routes(service),
            *slack.routes(service),
            *explain_api.routes(service),
            *capacity.routes(),
            *pagerduty_hook.routes(service),
            *pages.routes(service, site),
            *live.routes(),
            *openapi_route.routes(service),
        ],
        lifespan=lifespan,
        exception_handlers={404: operation.not_found, 405: operation.not_allowed, 500: operation.bug},
    )
    app.add_middleware(CountRefusals, counter=metrics.unauthorized)
    app.state.reload = service.reload
    app.state.refused = operation.refused
    app.router.redirect_slashes = False  # Alertmanager repeats a redirected POST as an empty GET
    return app
