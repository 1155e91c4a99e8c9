"""PagerDuty Events API v2: one incident per story, triggered at once, resolved with it, taken with it.

Every event carries the story's dedup key, so repeating one changes nothing; only the order matters, since a resolve for
an incident that is not open is accepted and dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx2
from pydantic import Field

from receiver.config.durations import Duration
from receiver.config.model import DestinationConfig, Secret
from receiver.config.settings import Names, Settings, Url
from receiver.destinations import InStorm, Manner, Step
from receiver.destinations.hearing import Heard
from receiver.destinations.pagerduty_event import title, trigger
from receiver.destinations.pagerduty_incidents import ask
from receiver.destinations.pagerduty_links import MAX_ENTRIES, PagerDutyImage, PagerDutyLink, filled
from receiver.errors import DeliveryError, DestinationRefused, Refused, Transient, Unknown
from receiver.fitting import one_line, payload_hash
from receiver.http import raise_for_transport, read_secret, retry_after_s
from receiver.model import QUIET_WITHIN_S, Change, Receipt, Story, StoryState, Wanted
from receiver.rendering import Renderer, words

PROBE_KEY = "mtvr1/probe"
CLOSED = "closed"
"""State of a root whose incident a person resolved."""
VIA = "PagerDuty"


class PagerDutySettings(Settings):
    """`pagerduty_configs`: an Events API v2 integration of a service."""

    secrets = ("routing_key", "api_token")
    without: ClassVar[Mapping[str, str]] = {
        "api_token": "acknowledgements made in PagerDuty are not seen; pages go out all the same"
    }

    routing_key: Secret
    """Integration key of the service, 32 characters."""
    url: Url = "https://events.pagerduty.com/v2/enqueue"
    """Where events go; https://events.eu.pagerduty.com/v2/enqueue for an account in the EU."""
    api_token: Secret | None = None
    """Token of the REST API, read-only is enough: to see who acknowledges where PagerDuty cannot send us webhooks."""
    api_url: Url = "https://api.pagerduty.com"
    """Where the REST API is; https://api.eu.pagerduty.com for an account in the EU."""
    poll_every: Duration = Field(default=30.0, ge=1)
    """How often it is asked, while an incident of ours is open that nobody has acknowledged."""
    service_ids: Names = ()
    """Services whose incidents are looked through; all that the token sees, where there is none."""
    images: tuple[PagerDutyImage, ...] = Field(default=(), max_length=MAX_ENTRIES)
    """Pictures in the incident; texts may be templates."""
    links: tuple[PagerDutyLink, ...] = Field(default=(), max_length=MAX_ENTRIES)
    """Links beside our own; texts may be templates."""


class PagerDutySender:
    """One integration key."""

    kind: ClassVar[str] = "pagerduty"
    manner: ClassVar[Manner] = Manner.PAGER
    waits_for_evidence: ClassVar[bool] = False
    in_storm: ClassVar[InStorm] = InStorm.ANEW
    entry_changes: ClassVar[frozenset[Change]] = frozenset()

    def __init__(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> None:
        self._config = config
        self._settings: PagerDutySettings = config.settings
        self._http = http
        self._renderer = renderer

    def plan(self, wanted: Wanted) -> Step | None:
        """Return trigger, update or resolve; see `Sender.plan`.

        A root receipt without `state` means that a first trigger was sent and never answered.
        """
        root = wanted.root
        closed = root is not None and root.get("state") == CLOSED
        if closed and not (wanted.firing and wanted.audible):
            return None  # what a person resolved is over, until there is news
        if not wanted.firing:
            may_be_open = root is not None and (wanted.confirm or root.get("state") != "resolved")
            return self._resolve(wanted, root or {}) if may_be_open and self._config.send_resolved else None
        step = self._trigger(wanted, root or {})
        if root is None or root.get("state") != "triggered":
            return step
        if wanted.confirm:
            return step
        quiet = wanted.quiet_allowed and _worth_it(wanted.story)
        if step.hash != root.get("hash") and (wanted.audible or quiet):
            return step
        return self._acknowledge(wanted, root)

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        del wanted
        await self._enqueue(step.body)
        return dict(step.extra["receipt"])

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        """Return None: no step creates, since each can be repeated."""
        del step, wanted
        return None

    def link(self, root: Receipt) -> str:
        """Return nothing: the Events API gives no address of the incident."""
        del root
        return ""

    async def probe(self) -> None:
        """Resolve a key that was never triggered: accepted and dropped, unless the routing key is refused."""
        await self._enqueue({"event_action": "resolve", "dedup_key": PROBE_KEY})

    def _trigger(self, wanted: Wanted, root: Receipt) -> Step:
        message = self._renderer.root(wanted, self.kind, self._config.content)
        # The title is what people know the incident by, so it stays as it was first sent.
        name = root.get("title") or title(message)
        fresh = root.get("state") != "triggered"
        late = root.get("late", "")
        if fresh:
            late = f"sent {words.duration(wanted.late_s)} late" if wanted.late_s else ""
        settings, content = self._settings, self._config.content
        images, links = filled(settings.images, settings.links, wanted, content)
        body = trigger(wanted, message, name, content, late, images, links)
        receipt = {
            "state": "triggered",
            "hash": payload_hash(body),
            "dedup_key": wanted.keys.dedup_key,
            "title": name,
            "quiet": 0 if fresh or wanted.audible else int(root.get("quiet", 0)) + (not wanted.confirm),
            **({"late": late} if late else {}),
            # A trigger leaves an acknowledged incident as it is; one that it opens is nobody's yet.
            **({"acked": root["acked"]} if not fresh and root.get("acked") else {}),
        }
        op = "trigger" if fresh else "update"
        return Step("root", op, body, hash=receipt["hash"], extra={"receipt": receipt})

    def _acknowledge(self, wanted: Wanted, root: Receipt) -> Step | None:
        """Say that somebody took the story elsewhere; what was acknowledged in PagerDuty it knows itself."""
        ack = wanted.story.ack
        if ack is None or ack.via == VIA or root.get("acked") == (key := f"{ack.at.isoformat()} {ack.via}"):
            return None
        body = {"event_action": "acknowledge", "dedup_key": wanted.keys.dedup_key}
        return Step(
            "root", "acknowledge", body, hash=str(root.get("hash", "")), extra={"receipt": {**root, "acked": key}}
        )

    def _resolve(self, wanted: Wanted, root: Receipt) -> Step:
        body = {"event_action": "resolve", "dedup_key": wanted.keys.dedup_key}
        receipt = {**root, "state": "resolved", "hash": payload_hash(body), "dedup_key": wanted.keys.dedup_key}
        return Step("root", "resolve", body, hash=receipt["hash"], extra={"receipt": receipt})

    @property
    def ask_every_s(self) -> float | None:
        """See `receiver.destinations.hearing.Hears`."""
        return None if self._settings.api_token is None else self._settings.poll_every

    async def hear(self, keys: Mapping[str, datetime]) -> tuple[Heard, ...]:
        """See `receiver.destinations.hearing.Hears`."""
        if self._settings.api_token is None:
            return ()
        token = read_secret(self._settings.api_token)
        return await ask(self._http, self._settings.api_url, token, keys, self._settings.service_ids)

    async def shortcomings(self) -> tuple[str, ...]:
        """Return what keeps us from seeing acknowledgements, where a REST token was given."""
        try:
            await self.hear({PROBE_KEY: datetime.fromtimestamp(0, UTC)})
        except DeliveryError as error:
            return (f"acknowledgements in PagerDuty are not seen: {error.reason}",)
        return ()

    async def _enqueue(self, event: Any) -> None:
        body = {"routing_key": read_secret(self._settings.routing_key), **event}
        try:
            response = await self._http.post(self._settings.url, json=body)
        except httpx2.HTTPError as error:
            raise_for_transport(error)
        _check(response)


def _worth_it(story: Story) -> bool:
    """Say whether the one quiet update may be spent now.

    It is kept for complete evidence, or the last that comes while it is still allowed; a re-run is worth it at once.
    """
    if story.digest is not None:
        return not story.digest.unread
    if story.state is StoryState.RERUNNING or story.more_evidence_at is None:
        return True
    if story.evidence is not None and story.evidence.complete:
        return True
    told = max((each.at for each in story.timeline if each.audible), default=story.opened)
    return story.more_evidence_at > told + timedelta(seconds=QUIET_WITHIN_S)


def _check(response: httpx2.Response) -> None:
    """Raise what an answer means (PagerDuty, "Events API v2 overview")."""
    status = response.status_code
    if status == 202:
        return
    text = _said(response)
    reason = f"HTTP {status}" + (f": {text}" if text else "")
    if status == 429:
        raise Transient(reason, status=status, retry_after_s=retry_after_s(response))
    if status >= 500 or 200 <= status < 300:
        raise Unknown(reason, status=status)
    if status in (400, 413) and "routing" not in text.lower():
        raise Refused(reason, status=status)
    raise DestinationRefused(reason, status=status)


def _said(response: httpx2.Response) -> str:
    try:
        answer = response.json()
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    errors = answer.get("errors")
    said = "; ".join(str(each) for each in errors) if isinstance(errors, list) and errors else answer.get("message", "")
    return one_line(str(said), 300)


class PagerDuty:
    """The kind; see `receiver.destinations.Kind`."""

    kind: ClassVar[str] = "pagerduty"
    config_key: ClassVar[str] = "pagerduty_configs"
    settings: ClassVar[type[Any]] = PagerDutySettings

    def target(self, settings: PagerDutySettings) -> str:
        return f"{settings.url} {settings.routing_key.place}"

    def build(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> PagerDutySender:
        return PagerDutySender(config, http, renderer)
