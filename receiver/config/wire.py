"""routes.yaml as it is written: one typed model per section. What the parts mean together is judged elsewhere.

Key names are Alertmanager's wherever it has the key. Defaults are those of the resolved types in `model`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from receiver.config.doctor_wire import DoctorWire
from receiver.config.durations import Duration
from receiver.config.handover_wire import HandoverWire
from receiver.config.http_settings import HttpWire, TransportWire
from receiver.config.model import (
    ActionRules,
    AlertmanagerConfig,
    Global,
    Heartbeat,
    Manners,
    Secret,
    SubjectRule,
    Watch,
)
from receiver.config.namespace_routing_wire import NamespaceRoutingWire
from receiver.config.settings import LinkUrl, Names, PathFromFile, Settings, Url
from receiver.config.storage_wire import StorageWire
from receiver.config.web_wire import AuthWire, WebWire

_GLOBAL: Final = Global()
_MANNERS: Final = Manners()
_SUBJECT: Final = SubjectRule(())
_WATCH: Final = Watch()
_HEARTBEAT: Final = Heartbeat(())
_ALERTMANAGER: Final = AlertmanagerConfig("", "")

LONGEST_SEND_S: Final = 20.0
"""A send starts only while this much of its claim is left, so no send may take longer."""


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


def _name(pattern: str, what: str) -> Any:
    return Field(pattern=pattern, description=what)


# --- receivers ----------------------------------------------------------------------------------------------------


class RateLimitWire(Settings):
    """At most so many requests."""

    per_minute: float = Field(gt=0, le=60_000)
    burst: int = Field(default=1, ge=1, le=1000)


class RetryWire(Settings):
    """Back-off between tries."""

    min: Duration = Field(default=_MANNERS.retry_min_s, gt=0)
    max: Duration = Field(default=_MANNERS.retry_max_s, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError("min is longer than max; exchange them")
        return self


class EntryWire(Settings):
    """What every entry of a `*_configs` list may say, whatever its kind."""

    name: str = ""
    """Identity of the destination where its target alone is not enough, or may change."""
    send_resolved: bool = True
    http_config: HttpWire = HttpWire()
    timeout: Duration = Field(default=_MANNERS.timeout_s, gt=0, le=LONGEST_SEND_S)
    """Of one request as a whole."""
    rate_limit: RateLimitWire | None = None
    max_in_flight: int = Field(default=_MANNERS.max_in_flight, ge=1, le=100)
    """How many requests may be under way at once."""
    retry: RetryWire = RetryWire()
    lookup_grace: Duration | None = None
    """How long a thing just made may stay invisible to the destination's own search."""
    content: Literal["full", "summary", "minimal"] = "full"
    """How much the message says: minimal keeps names and evidence inside."""
    template: PathFromFile | None = None
    """Directory with templates that replace built-in ones here alone."""


class ReceiverWire(Settings):
    """A named set of destinations; its `*_configs` lists are read by kind."""

    name: str = Field(min_length=1)
    fallback: str = ""
    """The receiver that is told when this one cannot be."""
    shadow: bool | None = None
    """Do everything but send: `mtv-receiver report --shadow` shows what would have been told."""


# --- route --------------------------------------------------------------------------------------------------------


class RouteWire(Settings):
    """One node of the routing tree."""

    receiver: Names = ()
    """A name, or a list of names; inherited from the route around it when absent."""
    matchers: Names = ()
    """Alertmanager's, on labels and facts; all must match."""
    namespaces: Names = ()
    """Globs on the owner namespace: the plan's, or its target namespace where the plan lives in a shared one."""
    continue_: bool = Field(default=False, alias="continue")
    """Go on to the routes beside it after it matched."""
    routes: tuple[Any, ...] = ()
    """Routes below; the first that matches takes the alert."""
    labels: dict[str, str] = Field(default_factory=dict)
    mute_time_intervals: Names = ()
    """A first message waits until none of these holds."""
    active_time_intervals: Names = ()
    """A first message waits until one of these holds."""
    notify_success: bool = False
    """Open a story for a success, too."""
    group_by: Any = None
    """Accepted, without effect: a story is one subject, and storms become digests."""
    group_wait: Any = None
    """Accepted, without effect: a story is one subject, and storms become digests."""
    group_interval: Any = None
    """Accepted, without effect: a story is one subject, and storms become digests."""
    repeat_interval: Any = None
    """Accepted, without effect: a story is one subject, and storms become digests."""
    match: Any = None
    match_re: Any = None


class NamedIntervalsWire(Settings):
    """Time intervals under a name."""

    name: str = Field(min_length=1)
    time_intervals: tuple[dict[str, Any], ...] = ()


# --- the other sections -------------------------------------------------------------------------------------------


class GlobalWire(Settings):
    """Times and limits of the whole service."""

    resolve_delay: Duration = _GLOBAL.resolve_delay_s
    """How long a canceled, deleted or unreadable plan waits before its story closes."""
    reopen_within: Duration = _GLOBAL.reopen_within_s
    """An alert that comes again so soon after its story closed reopens it."""
    identify_timeout: Duration = Field(default=_GLOBAL.identify_timeout_s, gt=0, le=10)
    """How long a cluster may take to say which plan an alert is about."""
    evidence_wait: Duration = Field(default=_GLOBAL.evidence_wait_s, le=60)
    """How long the first chat message waits for evidence; pages never do."""
    evidence_timeout: Duration = Field(default=_GLOBAL.evidence_timeout_s, gt=0, le=300)
    """How long reading evidence may take; tickets and mail wait for it."""
    fallback_after: Duration = Field(default=_GLOBAL.fallback_after_s, gt=0)
    """After so long without success somebody else is told: `fallback`, else the root receiver."""
    confirm_after: Duration = _GLOBAL.confirm_after_s
    """After an unknown answer and the next success, the present state is sent once more."""
    digest_after: int = Field(default=_GLOBAL.digest_after, ge=0)
    """New messages per `digest_window` at a destination; more are told as one. 0 = never."""
    digest_window: Duration = Field(default=_GLOBAL.digest_window_s, gt=0)
    """See `digest_after`."""
    remind_after: Duration = _GLOBAL.remind_after_s
    """A failure that has VMs down and that nobody acknowledged is called out again; 0 = never."""
    shared_namespaces: Names = _GLOBAL.shared_namespaces
    """Namespaces in which plans of many teams live: they say nothing about the owner."""


class ActionsWire(Settings):
    """What people may do with a story from where it is shown."""

    allow: Names = ()
    """Who may press in Slack: e-mail addresses, ids (S…) or handles (@…) of user groups."""
    silence_limit: int = Field(default=ActionRules().silence_limit, ge=0, le=1000)
    """A silence that would hit more than so many alerts of other stories is refused."""


class AlertmanagerWire(Settings):
    """An Alertmanager that may be asked."""

    name: str = _name(r"^[A-Za-z0-9_.-]+$", "Stands in the path of its webhook: /webhook/NAME")
    url: Url
    peers: tuple[Url, ...] = ()
    receiver: str = _ALERTMANAGER.receiver
    """What this service is called in that Alertmanager's configuration."""
    grace: Duration = Field(default=_ALERTMANAGER.grace_s, gt=0)
    webhook_auth: AuthWire | None = None
    """Who may post to /webhook/NAME, in place of `web.webhook_auth`."""
    http_config: HttpWire = HttpWire()


class ClusterWire(Settings):
    """A cluster to ask about plans."""

    name: str = Field(min_length=1)
    matchers: Names = ()
    kubeconfig_file: PathFromFile | None = None
    must_gather: PathFromFile | None = None
    providers: tuple[Annotated[str, Field(pattern=r"^[a-z0-9.-]+/[a-z0-9.-]+$")], ...] = ()
    http_config: TransportWire = TransportWire()
    """The way to the API server; who asks is said by kubeconfig or service account."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.kubeconfig_file and self.must_gather:
            raise ValueError("kubeconfig_file and must_gather exclude each other; keep one")
        return self


class SubjectWire(Settings):
    """Which alerts are about a plan."""

    matchers: Names = Field(min_length=1)
    role: Literal["failure", "success"] = "failure"
    uid_label: str = _SUBJECT.uid_label
    name_label: str = _SUBJECT.name_label
    namespace_label: str = _SUBJECT.namespace_label


class HeartbeatWire(Settings):
    """An alert that must keep coming."""

    secrets = ("ping_url",)

    matchers: Names = Field(min_length=1)
    interval: Duration = Field(default=_HEARTBEAT.interval_s, gt=0)
    """How often it comes at the latest: the repeat_interval of its route in Alertmanager."""
    receiver: str = ""
    """Who is told when it stops; the root receiver where there is none."""
    ping_url: Secret | None = None
    """Is called at most each minute while all is well."""
    webhook_silence: Duration | None = Field(default=None, gt=0)
    """The receiver is told when no webhook at all came for so long."""
    http_config: TransportWire = TransportWire()
    """The way to ping_url."""


class WatchWire(Settings):
    """What no alert tells."""

    stuck_after: Duration = Field(default=_WATCH.stuck_after_s, gt=0)
    unalerted_after: Duration = Field(default=_WATCH.unalerted_after_s, gt=0)
    alerts: Names = _WATCH.alerts


class RedactionWire(Settings):
    """What else must never leave."""

    patterns: Names = ()


class RestWire(Settings):
    """Top-level keys that are values, not sections."""

    shadow: bool = False
    """Do everything but send, for every receiver: `mtv-receiver report --shadow` shows what would have been told."""
    causes_files: tuple[PathFromFile, ...] = ()
    templates: PathFromFile | None = None
    """Directory with templates that replace built-in ones."""
    runbooks: dict[str, LinkUrl] = Field(default_factory=dict)
    """Alert name to the URL of its runbook."""


class IncludeWire(Settings):
    """The files that belong to this one."""

    include: Names = ()
    """Files and globs such as routes.d/*.yaml: what teams own (receivers, routes, runbooks, time_intervals)."""


class IncludedFile(Settings):
    """A file that `include` names: what one team owns."""

    receivers: tuple[ReceiverWire, ...] = ()
    routes: tuple[RouteWire, ...] = ()
    """Are appended to the routes of the root route."""
    runbooks: dict[str, LinkUrl] = Field(default_factory=dict)
    """Alert name to the URL of its runbook."""
    time_intervals: tuple[NamedIntervalsWire, ...] = ()


class RoutesFile(RestWire, IncludeWire):
    """The configuration of mtv-receiver."""

    global_: GlobalWire = Field(default=GlobalWire(), alias="global")
    web: WebWire = WebWire()
    alertmanagers: tuple[AlertmanagerWire, ...] = ()
    clusters: tuple[ClusterWire, ...] = ()
    subjects: tuple[SubjectWire, ...] = ()
    storage: StorageWire = StorageWire()
    heartbeat: HeartbeatWire | None = None
    handover: HandoverWire | None = None
    doctor: DoctorWire = DoctorWire()
    watch: WatchWire = WatchWire()
    actions: ActionsWire = ActionsWire()
    redaction: RedactionWire = RedactionWire()
    receivers: tuple[ReceiverWire, ...]
    route: RouteWire
    namespace_routing: NamespaceRoutingWire | None = None
    time_intervals: tuple[NamedIntervalsWire, ...] = ()
