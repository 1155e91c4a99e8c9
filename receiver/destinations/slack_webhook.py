"""Slack by incoming webhook, the reduced mode: no receipt comes back, so nothing can be edited, threaded or looked up.

The first notice waits for evidence, since it can never be completed; then each audible change is a new message.
"""

from __future__ import annotations

from typing import ClassVar

import httpx2

from receiver.config.model import DestinationConfig, Secret
from receiver.destinations import InStorm, Manner, Step
from receiver.destinations.slack_blocks import content, push
from receiver.errors import DestinationRefused, Refused, Transient, Unknown
from receiver.fitting import one_line, payload_hash
from receiver.http import raise_for_transport, read_secret, retry_after_s
from receiver.model import AUDIBLE, Change, Receipt, Wanted
from receiver.rendering import Renderer

# Slack's answer to a body that says nothing: the webhook is alive.
_ALIVE = ("no_text", "invalid_payload", "missing_text_or_fallback_or_attachments")
_MESSAGE = (
    "invalid_payload",
    "invalid_blocks",
    "no_text",
    "too_many_attachments",
    "msg_too_long",
    "msg_blocks_too_long",
)


class SlackWebhookSender:
    """One incoming webhook, whose URL is the secret."""

    kind: ClassVar[str] = "slack"
    manner: ClassVar[Manner] = Manner.CHAT
    entry_changes: ClassVar[frozenset[Change]] = AUDIBLE - {Change.FIRED}
    waits_for_evidence: ClassVar[bool] = True
    in_storm: ClassVar[InStorm] = InStorm.ANEW

    def __init__(self, config: DestinationConfig, url: Secret, http: httpx2.AsyncClient, renderer: Renderer) -> None:
        self._config = config
        self._url = url
        self._http = http
        self._renderer = renderer

    def plan(self, wanted: Wanted) -> Step | None:
        """Return the first notice, then one for each audible change; see `Sender.plan`."""
        message = self._renderer.root(wanted, self.kind, self._config.content)
        body = {**content(message, root=True, plain=wanted.plain), "unfurl_links": False, "unfurl_media": False}
        root = wanted.root or {}
        if "revision" not in root:
            return Step("root", "create", body, creates=True, hash=payload_hash(body))
        for entry in wanted.entries:
            muted = entry.change is Change.RESOLVED and not self._config.send_resolved
            if entry.change in self.entry_changes and entry.revision > int(root["revision"]) and not muted:
                said = push(self._renderer.entry(entry, wanted, self.kind, self._config.content))
                body = body if wanted.plain or entry.plain else {**body, "text": said}
                return Step(entry.key, "create", body, creates=True, hash=payload_hash(body))
        return None

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        status, text = await self._post(step.body)
        if status == 200 and text == "ok":
            return {"hash": step.hash, "revision": wanted.story.revision}
        reason = f"HTTP {status}: {text}"
        if 200 <= status < 300:
            raise Unknown(f"the answer is not Slack's (HTTP {status})", status=status)
        if status == 413 or (status == 400 and text.startswith(_MESSAGE)):
            raise Refused(reason, status=status)
        raise DestinationRefused(reason, status=status)

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        """Raise DestinationRefused: an incoming webhook cannot read its channel."""
        del step, wanted
        raise DestinationRefused("cannot look: an incoming webhook cannot read; use app_token_file")

    def link(self, root: Receipt) -> str:
        """Return nothing: an incoming webhook does not say where its message is."""
        del root
        return ""

    async def probe(self) -> None:
        """Send an empty body, which Slack refuses by another word when the webhook is gone."""
        status, text = await self._post({})
        if status != 200 and not text.startswith(_ALIVE):
            raise DestinationRefused(f"HTTP {status}: {text}", status=status)

    async def _post(self, body: object) -> tuple[int, str]:
        url = read_secret(self._url)
        try:
            response = await self._http.post(url, json=body)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise DestinationRefused(f"{self._url.place} does not hold a URL") from None
        except httpx2.HTTPError as error:
            raise_for_transport(error)
        status, text = response.status_code, one_line(response.text, 100)
        if status == 429:
            raise Transient("rate limited", status=status, retry_after_s=retry_after_s(response))
        if status >= 500:
            raise Unknown(f"HTTP {status}: {text}", status=status)
        return status, text
