"""`/stories/{id}`: where "Details" leads: impact, cause and the decisive line first, then all that is known."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from receiver.actions import PAGE, Actions, Actor
from receiver.guard import Guarding
from receiver.guard import page as guarded
from receiver.model import Story, StoryState, VMCounts, Wanted
from receiver.rendering import Renderer
from receiver.rendering.build import build
from receiver.store import attempts, presses, reading
from receiver.store.attempts import Attempt
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import Conn, Store
from receiver.store.presses import Press
from receiver.web.pages import story_parts as parts
from receiver.web.pages.site import HEADERS, Served, Site
from receiver.web.pages.storm_parts import storm_of
from receiver.web.viewers import is_shown, viewer_of
from receiver.wire import clean

SOMEBODY: Final = "somebody at the page"
NEW_S: Final = 60.0
"""What somebody has just pressed is answered at the top of the page for so long."""
MAX_FORM: Final = 16_384
MAX_FOUND: Final = 500
SILENCES: Final = (("1", "1 hour"), ("4", "4 hours"), ("12", "12 hours"), ("24", "1 day"), ("72", "3 days"))
CSV_HEAD: Final = (
    *(
        "vm",
        "id",
        "step",
        "phase",
        "failed_at",
        "power_before",
        "power_now",
        "off_since",
        "guest",
        "progress",
        "reason",
    ),
)
_FORMULA: Final = re.compile(r"^\s*[=+\-@]")


class Shown(Guarding, Served, Protocol):
    """What is shown: `receiver.service.Service`."""

    store: Store | None
    words: Renderer | None
    actions: Actions | None


@dataclass(frozen=True, slots=True)
class Held:
    """A story with all that is stored about it."""

    story: Story
    told: tuple[tuple[DeliveryRow, tuple[Attempt, ...]], ...]
    pressed: tuple[Press, ...]
    silenced: tuple[float, str] | None


Work = Callable[[Actions, str, Actor, Mapping[str, str]], Awaitable[object]]


def routes(service: Shown, site: Site) -> list[Route]:
    """Return the addresses."""
    pages = StoryPages(service, site)
    return [
        Route("/stories/{id}", guarded(service, pages.story, HEADERS)),
        Route("/stories/{id}/vms.csv", guarded(service, pages.vms, HEADERS)),
        Route("/stories/{id}/logs/{number}", guarded(service, pages.log, HEADERS)),
        Route("/stories/{id}/logs/{number}/raw", guarded(service, pages.raw, HEADERS)),
        *(
            Route(f"/stories/{{id}}/{name}", guarded(service, pages.acting(work), HEADERS), methods=["POST"])
            for name, work in {"acknowledge": _acknowledge, "silence": _silence, "move": _move}.items()
        ),
    ]


class StoryPages:
    """A story, its logs and its VMs."""

    def __init__(self, service: Shown, site: Site) -> None:
        self._service = service
        self._site = site

    async def story(self, request: Request) -> Response:
        """The page."""
        held = await self._held(request)
        if isinstance(held, Response):
            return held
        return self._site.page(request, "story.html", **self._values(held))

    async def log(self, request: Request) -> Response:
        """One log, all that is kept of it, with what is looked for marked."""
        held = await self._held(request)
        if isinstance(held, Response):
            return held
        found = self._log(held.story, request)
        if found is None:
            return self._missing(request, "No log of this number is kept")
        wanted = clean(request.query_params.get("find", ""))[:200].casefold()
        marked = [at for at, line in enumerate(found.lines) if wanted and wanted in line.casefold()]
        return self._site.page(
            request, "log.html", story=held.story, log=found, number=request.path_params["number"],
            find=wanted, marked=frozenset(marked[:MAX_FOUND]), hits=len(marked), places=marked[:20],
        )  # fmt: skip

    async def raw(self, request: Request) -> Response:
        """The same as a file."""
        held = await self._held(request)
        if isinstance(held, Response):
            return held
        found = self._log(held.story, request)
        if found is None:
            return self._missing(request, "No log of this number is kept")
        name = {"Content-Disposition": f'attachment; filename="{found.file}"'}
        return PlainTextResponse("\n".join(found.lines) + "\n", headers={**HEADERS, **name})

    async def vms(self, request: Request) -> Response:
        """The failed VMs as a file for spreadsheets."""
        held = await self._held(request)
        if isinstance(held, Response):
            return held
        name = {"Content-Disposition": f'attachment; filename="{held.story.id}-vms.csv"'}
        return Response(vms_csv(held.story), media_type="text/csv", headers={**HEADERS, **name})

    def acting(self, work: Work) -> Callable[[Request], Awaitable[Response]]:
        """Return what takes a form of the page and leads back to the page."""

        async def act(request: Request) -> Response:
            actions = self._service.actions
            if actions is None:
                return self._site.page(request, "error.html", 503, said="Not ready yet", cure="Try again in a moment.")
            fields = await form(request)
            if fields is None:
                return self._site.page(request, "error.html", 400, said="The form could not be read", cure="Go back.")
            held = await self._held(request)
            if isinstance(held, Response):
                return held
            await work(actions, held.story.id, Actor(request.state.user or SOMEBODY, PAGE), fields)
            return RedirectResponse(self._site.url(f"/stories/{held.story.id}"), 303, HEADERS)

        return act

    async def _held(self, request: Request) -> Held | Response:
        store = self._service.store
        if store is None:
            return self._site.page(request, "error.html", 503, said="Not ready yet", cure="Try again in a moment.")
        held = await store.browse(lambda conn: _read(conn, clean(request.path_params["id"])))
        if held is None or not await is_shown(viewer_of(request), store, held.story.id):
            return self._missing(request, "No story has this id")
        return held

    def _missing(self, request: Request, said: str) -> Response:
        cure = "It may have been forgotten after its time (storage.retention), or never was."
        return self._site.page(request, "error.html", 404, said=said, cure=cure)

    def _log(self, story: Story, request: Request) -> parts.WholeLog | None:
        number = request.path_params["number"]
        known = number.isascii() and number.isdecimal() and len(number) < 6
        return parts.whole_log(story.evidence, int(number)) if story.evidence and known else None

    def _values(self, held: Held) -> dict[str, Any]:
        story, config = held.story, self._service.config
        told = parts.told_to(held.told)
        first = held.told[0][0] if held.told else None
        message = context = None
        if self._service.words is not None and first is not None:
            wanted = Wanted(
                story, first.keys, firing=story.open, reasons=first.reasons, external_url=config.web.external_url
            )
            message = self._service.words.root(wanted, "slack")
            context = build(wanted, "page", "full")
        evidence, now = story.evidence, self._service.clock.now()
        storm = storm_of(story.digest) if story.digest else None
        counts = evidence.counts if evidence else storm.counts if storm else VMCounts()
        pressed = held.pressed[-1] if held.pressed else None
        answered = pressed is not None and now.timestamp() - pressed.at < NEW_S and pressed.via == PAGE
        return {
            "story": story,
            "evidence": evidence,
            "title": message.title if message else story.title,
            "context": context,
            "stale": bool(context and context.stale),
            "storm": storm,
            "later": parts.later_run(story),
            "impact": (storm.impact if storm and story.open else story.impact).value,
            "bar": parts.parts_of(counts),
            "total": counts.total,
            "pipeline": parts.pipeline_of(evidence) if evidence else (),
            "vms": parts.vms_of(evidence) if evidence else (),
            "logs": parts.logs_of(evidence) if evidence else (),
            "max_logs": parts.MAX_LOGS,
            "told": told,
            "timeline": parts.timeline_of(story, told, held.pressed),
            "facts": parts.named(story),
            "answer": pressed if answered else None,
            "silenced": held.silenced,
            "silences": SILENCES,
            "can_silence": bool(config.alertmanagers),
            "receivers": sorted(name for name, one in config.receivers.items() if one.destinations),
            "open": story.state is not StoryState.RESOLVED,
        }


async def _read(conn: Conn, story: str) -> Held | None:
    found = await reading.whole(conn, story)
    if found is None:
        return None
    told = [(row, await attempts.of_delivery(conn, row.id)) for row in found.deliveries]
    pressed = await presses.of_story(conn, story)
    return Held(found.story, tuple(told), pressed, await presses.silenced_until(conn, story))


async def _acknowledge(actions: Actions, story: str, who: Actor, fields: Mapping[str, str]) -> object:
    return await actions.acknowledge(story, who, fields.get("note", ""))


async def _silence(actions: Actions, story: str, who: Actor, fields: Mapping[str, str]) -> object:
    known = {value for value, _ in SILENCES}
    return await actions.silence(story, float(fields["hours"]) if fields.get("hours") in known else 0.0, who)


async def _move(actions: Actions, story: str, who: Actor, fields: Mapping[str, str]) -> object:
    return await actions.move(story, fields.get("to", ""), who)


async def form(request: Request, most: int = MAX_FORM) -> dict[str, str] | None:
    """Return the fields of a form that was posted; None where that is none, or has more than `most` bytes."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return None
    raw = b""
    try:
        async for chunk in request.stream():
            raw += chunk
            if len(raw) > most:
                return None
        fields = parse_qs(raw.decode(), keep_blank_values=True, max_num_fields=50)
    except (ClientDisconnect, ValueError):
        return None
    return {clean(name): clean(values[-1]) for name, values in fields.items()}


def vms_csv(story: Story) -> str:
    """Return the failed VMs, a line each. What a spreadsheet would take for a formula gets a quote before it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CSV_HEAD)
    for vm in parts.vms_of(story.evidence) if story.evidence else ():
        cells = (
            vm.name, vm.id, vm.step, vm.phase, _iso(vm.failed_at), vm.power_before, vm.power_now, _iso(vm.off_since),
            vm.guest, vm.progress, "; ".join(vm.reasons),
        )  # fmt: skip
        writer.writerow([f"'{one}" if _FORMULA.match(one) else one for one in cells])
    return out.getvalue()


def _iso(at: Any) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z") if at is not None else ""
