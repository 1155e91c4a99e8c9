"""Any HTTP endpoint: one request per event of a story, as JSON that stays as it is or in the user's own form.

Nothing can be looked up at a stranger's, so each event carries an id of its own that never changes (`webhook-id`): an
event whose answer was lost is sent again under the same id, and the receiver drops what it has already.
"""

from __future__ import annotations

import re
import uuid
from typing import Annotated, Any, ClassVar, Literal, Self

import httpx2
import structlog
from pydantic import AfterValidator, Field, model_validator

from receiver.clock import Clock, SystemClock
from receiver.config.model import DestinationConfig, Secret
from receiver.config.settings import SecretFile, Settings, Url
from receiver.destinations import InStorm, Manner, Step
from receiver.destinations.complete import complete_run, part_of, untold_run
from receiver.destinations.webhook_body import KEYS, body, encode
from receiver.destinations.webhook_signature import signature, signing_key
from receiver.errors import DestinationRefused, Refused, Transient, Unknown
from receiver.fitting import one_line, payload_hash
from receiver.http import header_secret, raise_for_transport, read_secret, retry_after_s
from receiver.model import AUDIBLE, Change, Entry, Receipt, Wanted
from receiver.rendering import Renderer
from receiver.rendering.bodies import BodyTemplate, TemplateError

log = structlog.get_logger(__name__)

MAX_ANSWER_BYTES = 65_536
"""More than that of an answer is not read: only its beginning is ever shown."""
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type"})
_THIS_MESSAGE = frozenset({400, 409, 413, 415, 422})
_Answer = tuple[int, str, float | None]
"""Status, the beginning of the text, and how long to wait."""


def _header_names(headers: dict[str, Any]) -> dict[str, Any]:
    for name, value in headers.items():
        ours = name.lower() in _OURS or name.lower().startswith("webhook-")
        if ours or not _NAME.fullmatch(name):
            raise ValueError(f"{name} is a header of ours, or none; use another name, or content_type")
        if isinstance(value, str) and not _VALUE.fullmatch(value):
            raise ValueError("holds a value that no header may carry; keep one line of ASCII")
    return headers


class WebhookSettings(Settings):
    """`webhook_configs`: an HTTP endpoint of one's own."""

    secrets = ("signing_secret",)

    url: Url | None = None
    """Where requests go."""
    url_file: SecretFile | None = None
    """The same, where the URL is a secret: the path of the file that holds it."""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    headers: Annotated[dict[str, str], AfterValidator(_header_names)] = Field(default_factory=dict)
    """Headers of every request."""
    header_files: Annotated[dict[str, SecretFile], AfterValidator(_header_names)] = Field(default_factory=dict)
    """Headers whose value is a secret: the paths of the files that hold them."""
    signing_secret: Secret | None = None
    """Signs each request after Standard Webhooks: `whsec_` and base64."""
    body: str = ""
    """Template of the body, instead of the JSON that is documented."""
    content_type: str = Field(default="application/json", pattern=r"^[\w.+-]+/[\w.+-]+(; *[\w-]+=[\w-]+)?$")

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("needs exactly one address; give either url or url_file")
        if self.body and (problem := BodyTemplate(self.body, KEYS).problem):
            raise ValueError(f"the body template does not work ({problem}); correct it")
        return self


class WebhookSender:
    """One endpoint."""

    kind: ClassVar[str] = "webhook"
    manner: ClassVar[Manner] = Manner.CHAT
    waits_for_evidence: ClassVar[bool] = False
    in_storm: ClassVar[InStorm] = InStorm.EACH
    entry_changes: ClassVar[frozenset[Change]] = (AUDIBLE - {Change.FIRED}) | {
        Change.RERUN,
        Change.ACKNOWLEDGED,
        Change.EVIDENCE,
    }

    def __init__(self, config: DestinationConfig, http: httpx2.AsyncClient, words: Renderer, clock: Clock) -> None:
        self._config = config
        self._settings: WebhookSettings = config.settings
        self._http = http
        self._renderer = words
        self._clock = clock
        self._template = BodyTemplate(self._settings.body, KEYS) if self._settings.body else None

    def plan(self, wanted: Wanted) -> Step | None:
        """Return the first event, the next one, or that evidence is complete; see `Sender.plan`."""
        story, root = wanted.story, wanted.root or {}
        muted = not self._config.send_resolved
        if "revision" not in root:
            if muted and not story.open:
                return None
            # Entries are kept only once something may have been sent: then the first event may be there without them.
            told = min((entry.revision for entry in wanted.entries), default=story.revision + 1) - 1
            line = next((one for one in story.timeline if one.change is Change.FIRED), None)
            first = Entry("fired", Change.FIRED, story.opened, line.text if line else "", told)
            return self._step("root", "fired", "root", first, wanted)
        for entry in wanted.entries:
            silent = entry.change is Change.EVIDENCE or (muted and entry.change is Change.RESOLVED)
            if entry.revision > int(root["revision"]) and not silent:
                return self._step(entry.key, entry.change.value, f"{entry.key} {entry.revision}", entry, wanted)
        if run := untold_run(wanted):
            said = Entry("evidence", Change.EVIDENCE, story.updated, "evidence is complete", int(root["revision"]))
            return self._step(part_of(run), "evidence", f"evidence {run}", said, wanted, kept_in_root=True)
        return None

    def _step(self, part: str, op: str, name: str, entry: Entry, wanted: Wanted, **extra: Any) -> Step:
        event = {
            "id": str(uuid.uuid5(uuid.UUID(wanted.keys.client_id), name)),
            "change": entry.change.value,
            "at": entry.at.isoformat().replace("+00:00", "Z"),
            "text": entry.text,
            "earlier": list(entry.folded[-20:]),
        }
        # A receiver that refuses the whole story is offered the least that is one.
        content = "minimal" if wanted.plain or entry.plain else self._config.content
        made = body(wanted, event, self._renderer.root(wanted, self.kind, content), content)
        return Step(part, op, made, hash=payload_hash(made), extra={"told": entry.revision, **extra})

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        data = self._written(step)
        headers = {"Content-Type": self._settings.content_type, **self._signed(step, data)}
        _check(await self._ask(self._settings.method, data, headers))
        if step.kept_in_root:
            return {"complete": complete_run(wanted)}
        if step.part != "root":
            return {"hash": step.hash}
        # With entries waiting, an earlier try may be there that lacked the evidence: it gets an event of its own.
        complete = "" if wanted.entries else complete_run(wanted)
        return {"hash": step.hash, "revision": step.extra["told"], "complete": complete}

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        """Return None: no step creates, since each can be repeated under its id."""
        del step, wanted
        return None

    def link(self, root: Receipt) -> str:
        """Return nothing: an endpoint shows people nothing that we know of."""
        del root
        return ""

    async def probe(self) -> None:
        """Ask what the endpoint allows, which posts nothing. Only what surely speaks against sending is an error."""
        if self._settings.signing_secret is not None:
            signing_key(self._settings.signing_secret)
        status, text, _ = await self._ask("OPTIONS", b"", {})
        if status in (401, 404, 407, 410):
            raise DestinationRefused(f"HTTP {status}: {text}".rstrip(": "), status=status)
        if status >= 500 and status != 501:
            raise Unknown(f"HTTP {status}: {text}".rstrip(": "), status=status)

    def _written(self, step: Step) -> bytes:
        if self._template is not None:
            try:
                return self._template.render(step.body).encode("utf-8", "replace")
            except TemplateError as error:
                log.warning("webhook.template", destination=self._config.label, error=one_line(str(error), 300))
        return encode(step.body)

    def _signed(self, step: Step, data: bytes) -> dict[str, str]:
        """Return the headers of Standard Webhooks; the time is that of this try."""
        name, at = str(step.body["event"]["id"]), str(int(self._clock.now().timestamp()))
        headers = {"webhook-id": name, "webhook-timestamp": at, "Idempotency-Key": name}
        if self._settings.signing_secret is None:
            return headers
        return headers | {"webhook-signature": signature(signing_key(self._settings.signing_secret), name, at, data)}

    async def _ask(self, method: str, data: bytes, headers: dict[str, str]) -> _Answer:
        given = self._settings
        url = read_secret(given.url_file) if given.url_file else given.url or ""
        headers |= given.headers | {name: header_secret(secret) for name, secret in given.header_files.items()}
        try:
            async with self._http.stream(method, url, content=data, headers=headers) as response:
                text = b""
                async for piece in response.aiter_bytes(4_096):
                    text += piece
                    if len(text) >= MAX_ANSWER_BYTES:
                        break
                said = one_line(text[:1_000].decode("utf-8", "replace"), 100)
                return response.status_code, said, retry_after_s(response)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            place = given.url_file.place if given.url_file else "url"
            raise DestinationRefused(f"{place} does not hold a URL") from None
        except httpx2.HTTPError as error:
            raise_for_transport(error)


def _check(answer: _Answer) -> None:
    status, text, wait_s = answer
    if 200 <= status < 300:
        return
    reason = f"HTTP {status}: {text}".rstrip(": ")
    if status == 429 or (status >= 500 and wait_s is not None):
        raise Transient(reason, status=status, retry_after_s=wait_s)
    if status >= 500 or status == 408:
        raise Unknown(reason, status=status)
    raise (Refused if status in _THIS_MESSAGE else DestinationRefused)(reason, status=status)


class Webhook:
    """The kind; see `receiver.destinations.Kind`."""

    kind: ClassVar[str] = "webhook"
    config_key: ClassVar[str] = "webhook_configs"
    settings: ClassVar[type[Any]] = WebhookSettings

    def target(self, settings: WebhookSettings) -> str:
        return settings.url_file.place if settings.url_file else settings.url or ""

    def build(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> WebhookSender:
        return WebhookSender(config, http, renderer, SystemClock())
