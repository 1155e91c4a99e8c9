"""`/routes`: the tree, and a tester: where would this alert go, by this configuration, at this time; why not there?

A pasted configuration is judged in a thread of its own, with nothing but what was pasted or is stored: no file, no
secret and no cluster is asked for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, NoReturn, Protocol

import httpx2
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.attempt import Destination
from receiver.chosen import Destinations
from receiver.config.model import Config, DestinationConfig
from receiver.config.pasted import check_pasted
from receiver.config.problems import Problem
from receiver.destinations.registry import ALL
from receiver.enrichers.redact import Redactor
from receiver.explain import NOTHING_KNOWN, Explained, explain
from receiver.guard import Guarding
from receiver.guard import page as guarded
from receiver.model import Identity
from receiver.rendering.renderer import StoryRenderer
from receiver.rendering.templates import Templates
from receiver.self_service import Asked, asked, unread
from receiver.store import reading
from receiver.store.engine import Store
from receiver.web import explain_api
from receiver.web.pages import routes_input as given
from receiver.web.pages.routes_preview import preview_of
from receiver.web.pages.routes_tree import ROOT, marks_of, tree_of, why_not
from receiver.web.pages.site import HEADERS, Served, Site
from receiver.web.pages.story import form
from receiver.web.viewers import Viewer, is_shown, sight, viewer_of
from receiver.wire import clean

PATH: Final = "/api/v1/routes"
MAX_FORM: Final = 1_048_576
WITHIN_S: Final = 25.0
"""Longer nobody waits for a page. Reading a large configuration, which cannot be broken off, takes some seconds."""
AT_ONCE: Final = 2
MAX_IN_HAND: Final = 6
"""Pasted configurations that are judged or wait for it: who comes later could not be answered WITHIN_S anyway."""
MAX_OPEN: Final = 60
"""A tree with more routes is shown folded, but for what alerts match."""
SHOWN_PREVIEWS: Final = 2
MAX_PREVIEWS: Final = 40
MOST_ASKED: Final = 200
"""Wishes of namespaces that are drawn; all of them stand in the JSON."""
KINDS: Final = {kind.kind: kind for kind in ALL}


class Routing(Guarding, Served, explain_api.Explaining, Protocol):
    """What is routed by: `receiver.service.Service`."""

    store: Store | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question."""

    config: Config | None
    """None: the pasted one cannot be used."""
    problems: tuple[Problem, ...] = ()
    explained: tuple[Explained, ...] = ()


def routes(service: Routing, site: Site) -> list[Route]:
    """Return the addresses."""
    tester = Tester(service, site)

    async def as_json(request: Request) -> Response:
        shown = await asked_of(service, viewer_of(request))
        tree = tree_of(service.config, service.clock.now())
        return JSONResponse({"route": tree.json(), "namespaces": [_asked_json(one) for one in shown]})

    return [
        Route("/routes", guarded(service, tester.empty, HEADERS)),
        Route("/routes", guarded(service, tester.tried, HEADERS), methods=["POST"]),
        Route(PATH, guarded(service, as_json)),
    ]


async def asked_of(service: Routing, viewer: Viewer) -> tuple[Asked, ...]:
    """Return what namespaces ask for, as far as it is shown to somebody: what is refused first."""
    found = asked(service.config, service.clusters)
    allowed = await viewer.allowed((one.cluster, one.namespace) for one in found)
    seen = (one for one in found if (one.cluster, one.namespace) in allowed)
    return tuple(sorted(seen, key=lambda one: not one.wish.refused))


def _asked_json(one: Asked) -> dict[str, str | bool]:
    wish = one.wish
    return {
        "cluster": one.cluster, "namespace": one.namespace, "asks_for": wish.text,
        "granted": not wish.refused, "refused": wish.refused,
    }  # fmt: skip


class Tester:
    """The page, empty or with an answer."""

    def __init__(self, service: Routing, site: Site) -> None:
        self._service = service
        self._site = site
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[Answer]] = set()

    async def empty(self, request: Request) -> Response:
        """The tree, and a form in which a stored story may be chosen already."""
        return await self._page(request, given.said_of({"story": clean(request.query_params.get("story", ""))}))

    async def tried(self, request: Request) -> Response:
        """The same with what would become of the alerts."""
        fields = await form(request, MAX_FORM)
        said = given.said_of(fields or {})
        if fields is None:
            wrong = f"The form could not be read, or holds more than {MAX_FORM // 1024} KiB."
            return await self._page(request, said, 400, wrong=wrong)
        try:
            question = await asyncio.to_thread(given.question_of, said, self._service.clock.now())
            if said["story"]:
                question = given.with_story(question, await self._stored(request, said["story"]))
        except given.UnusableError as error:
            return await self._page(request, said, 400, wrong=str(error))
        if not question.body.alerts and not question.config:
            return await self._page(request, said, 400, wrong="Choose a stored alert, or paste one.")
        if len(self._service.destinations) < len(self._service.config.destinations):
            return await self._page(request, said, 503, wrong="Not ready yet: try again in a moment.")
        if question.config and len(self._tasks) >= MAX_IN_HAND:
            wrong = f"{MAX_IN_HAND} pasted configurations are being tried already: try again in a moment."
            return await self._page(request, said, 503, wrong=wrong)
        try:
            async with asyncio.timeout(WITHIN_S):
                answer = await (self._pasted(question) if question.config else self._running(request, question))
        except TimeoutError:
            wrong = f"This took more than {WITHIN_S:g} seconds: give fewer alerts, or a smaller configuration."
            return await self._page(request, said, 503, wrong=wrong)
        return await self._page(request, said, answer=answer, question=question)

    async def _stored(self, request: Request, story: str) -> Any:
        store = self._service.store
        if store is not None and await is_shown(viewer_of(request), store, story):
            found = await store.browse(lambda conn: reading.whole(conn, story))
            if found is not None:
                return found.story
        raise given.UnusableError("This story is not stored any more: choose another one.")

    async def _running(self, request: Request, question: given.Question) -> Answer:
        service, config = self._service, self._service.config
        async with self._slots:
            explained = await explain(
                config,
                question.body.alerts,
                clusters=service.clusters,
                now=question.now,
                redactor=Redactor(config.redaction_patterns),
                destinations=service.destinations,
                shown=partial(explain_api.is_shown, viewer_of(request)),
                known=question.known or NOTHING_KNOWN,
                owner=question.said["owner"],
                until=time.monotonic() + WITHIN_S,
            )
        return Answer(config, (), explained)

    async def _pasted(self, question: given.Question) -> Answer:
        patterns = self._service.config.redaction_patterns
        until = time.monotonic() + WITHIN_S
        # Whoever stops waiting does not stop the thread: its place is free when it ends.
        task = asyncio.create_task(self._aside(partial(judged_apart, question, patterns, until)))
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def _aside(self, work: partial[Answer]) -> Answer:
        async with self._slots:
            return await asyncio.to_thread(work)

    def _done(self, task: asyncio.Task[Answer]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waited has it

    async def _page(
        self,
        request: Request,
        said: Mapping[str, str],
        status: int = 200,
        *,
        wrong: str = "",
        answer: Answer | None = None,
        question: given.Question | None = None,
    ) -> Response:
        service, viewer = self._service, viewer_of(request)
        config = answer.config if answer and answer.config else service.config
        explained = answer.explained if answer else ()
        tree = tree_of(config, question.now if question else service.clock.now())
        return self._site.page(
            request, "routes.html", status, said=said, wrong=wrong, answer=answer, tree=tree, root_says=ROOT,
            at=question.now if question else None, marks=marks_of(explained), folded=tree.size > MAX_OPEN,
            offered=await self._offered(viewer), receivers=sorted({*service.config.receivers, *config.receivers}),
            alerts=[_shown(one, config, said["why_not"]) for one in explained], shown_previews=SHOWN_PREVIEWS,
            asked=await asked_of(service, viewer), rules=service.config.namespace_routing,
            unread=unread(service.config, service.clusters), most_asked=MOST_ASKED,
            rejected=question.body.rejected if question else (), notes=viewer.notes, many=len(explained) > 1,
        )  # fmt: skip

    async def _offered(self, viewer: Viewer) -> tuple[given.Offered, ...]:
        store = self._service.store
        if store is None:
            return ()
        sees = await sight(viewer, store)
        return await store.browse(lambda conn: given.offered(conn, sees))


def _shown(one: Explained, config: Config, receiver: str) -> dict[str, Any]:
    """Return what the page says about one alert."""
    previews = [found for each in one.destinations[:MAX_PREVIEWS] if (found := preview_of(each)) is not None]
    return {
        "one": one,
        "name": one.alert.name or "an alert without a name",
        "subject": one.identity.identity.subject,
        "path": [each for each in one.verdicts if each.matched],
        "failed": [each for each in one.verdicts if not each.matched and each.path != "route"],
        "why_not": why_not(config, receiver, one) if receiver in config.receivers else (),
        "unknown": receiver if receiver and receiver not in config.receivers else "",
        "previews": previews,
    }


def judged_apart(question: given.Question, patterns: Sequence[str], until: float) -> Answer:
    """Judge by a pasted configuration, in a thread. Raises TimeoutError."""
    if time.monotonic() > until:
        raise TimeoutError("nobody waits for it any more")
    config, problems = check_pasted(question.config.encode("utf-8", "replace"), ALL)
    if config is None:
        return Answer(None, problems)
    return Answer(config, problems, asyncio.run(_explained(config, question, patterns, until)))


async def _explained(
    config: Config, question: given.Question, patterns: Sequence[str], until: float
) -> tuple[Explained, ...]:
    words = StoryRenderer(Templates(None), lambda _: None)
    async with httpx2.AsyncClient(transport=_NoTransport()) as client:

        def make(one: DestinationConfig) -> Destination:
            pressable = one.kind == "slack" and config.web.slack_signing_secret is not None
            sender = KINDS[one.kind].build(replace(one, templates_dir=None, interactive=pressable), client, words)
            return Destination(one, sender, str, asyncio.Semaphore(1))

        destinations = Destinations(config, {one.identity: make(one) for one in config.destinations}, make)
        return await explain(
            config,
            question.body.alerts,
            clusters={},
            now=question.now,
            redactor=Redactor((*patterns, *config.redaction_patterns)),
            destinations=destinations,
            shown=_nothing,
            known=question.known or NOTHING_KNOWN,
            owner=question.said["owner"],
            until=until,
        )


async def _nothing(_identity: Identity, _alert: object) -> bool:
    return False


class _NoTransport(httpx2.AsyncBaseTransport):
    """Sends nothing: planning a step asks nobody."""

    async def handle_async_request(self, request: httpx2.Request) -> NoReturn:
        raise httpx2.ConnectError("nothing is sent for a pasted configuration", request=request)
