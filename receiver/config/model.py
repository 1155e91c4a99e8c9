"""The parsed configuration: frozen, resolved, defaults filled in. Nothing here reads files.

Durations are seconds as floats (`…_s`); a secret is where to read it, never its content.
"""

from __future__ import annotations

import os
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from receiver.config import files as watched
from receiver.config.handover import HandoverPost
from receiver.config.known_errors import KnownError
from receiver.config.listening import ListenLimits, ProxyHeader, ServerTLS, Visibility
from receiver.config.namespace_routing import NamespaceRouting
from receiver.config.storage import Storage
from receiver.routing.intervals import TimeInterval
from receiver.routing.matchers import Glob, Matcher


class SecretError(Exception):
    """A secret cannot be read now; the message names the file or variable and the cure, never the content."""


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret is: a file (read at use and stripped, so rotation needs no reload) or an environment variable."""

    file: Path | None = None
    env: str | None = None

    def read(self) -> str:
        """Return the content. Raises SecretError."""
        if self.file is not None:
            try:
                text = self.file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
                raise SecretError(f"secret file {self.file} cannot be read ({reason}); create it or mount it") from None
        else:
            text = os.environ.get(self.env or "", "").strip()
        if not text:
            where = f"secret file {self.file} is empty" if self.file else f"environment variable {self.env} is not set"
            raise SecretError(f"{where}; put the secret there")
        return text

    @property
    def place(self) -> str:
        """Where it is, as part of a destination's identity."""
        return f"file:{self.file}" if self.file is not None else f"env:{self.env}"

    def __repr__(self) -> str:
        return f"<secret {self.place}>"


@dataclass(frozen=True, slots=True)
class TLS:
    """Alertmanager's `tls_config`, the parts a client needs."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""
    insecure_skip_verify: bool = False


@dataclass(frozen=True, slots=True)
class HttpConfig:
    """Alertmanager's `http_config`: how to reach and sign in at an HTTP peer."""

    username: str = ""
    password: Secret | None = None
    authorization_type: str = "Bearer"
    credentials: Secret | None = None
    proxy_url: str = ""
    no_proxy: str = ""
    proxy_from_environment: bool = False
    tls: TLS = TLS()


@dataclass(frozen=True, slots=True)
class Manners:
    """How hard a destination may be asked."""

    timeout_s: float = 10.0
    max_in_flight: int = 4
    retry_min_s: float = 1.0
    retry_max_s: float = 300.0
    lookup_grace_s: float = 5.0
    rate_per_minute: float | None = None
    rate_burst: int = 1


@dataclass(frozen=True, slots=True)
class DestinationConfig:
    """One entry of a `*_configs` list. `settings` is the kind's own typed settings object."""

    kind: str
    identity: str
    """`kind:target`, or `kind:name:<name>` where `name:` is given; never a secret's content."""
    receiver: str
    position: str
    """`routes.yaml:23`"""
    settings: Any
    name: str = ""
    send_resolved: bool = True
    content: str = "full"
    http: HttpConfig = HttpConfig()
    manners: Manners = Manners()
    templates_dir: Path | None = None
    """Templates that count here before those of `Config.templates_dir`."""
    interactive: bool = False
    """What people press there reaches us."""
    shadow: bool = False
    """Everything is done but send."""

    @property
    def label(self) -> str:
        """`payments/slack`: how people are told of this destination."""
        return f"{self.receiver}/{self.name or self.kind}"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Alertmanager's receiver: a named set of destinations."""

    name: str
    destinations: tuple[DestinationConfig, ...]
    fallback: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """One node of the routing tree, inherited values filled in."""

    receivers: tuple[str, ...]
    matchers: tuple[Matcher, ...] = ()
    namespaces: tuple[Glob, ...] = ()
    continue_: bool = False
    routes: tuple[Route, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    notify_success: bool = False
    path: str = "route"
    """Such as `route.routes[1].routes[0]`."""
    position: str = ""
    """`routes.yaml:41`"""


@dataclass(frozen=True, slots=True)
class SubjectRule:
    """Which alerts are about a Plan, and which of their labels say which Plan."""

    matchers: tuple[Matcher, ...]
    role: str = "failure"
    """`failure` or `success`."""
    uid_label: str = "plan"
    name_label: str = "plan_name"
    namespace_label: str = "namespace"


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One cluster to ask: kubeconfig, must-gather directory, or (neither) the pod's service account."""

    name: str
    matchers: tuple[Matcher, ...] = ()
    kubeconfig_file: Path | None = None
    must_gather: Path | None = None
    providers: tuple[str, ...] = ()
    http: HttpConfig = HttpConfig()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """`heartbeat:` of routes.yaml: an alert that must keep coming."""

    matchers: tuple[Matcher, ...]
    interval_s: float = 300.0
    receiver: str = ""
    """Who is told when it stops; empty: the root receiver."""
    ping_url: Secret | None = None
    """Is called while all is well, for somebody outside who notices when it is not."""
    webhook_silence_s: float | None = None
    """So long no webhook at all may come; None: for ever."""
    http: HttpConfig = HttpConfig()


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """A Prometheus, or a Thanos that asks for it."""

    url: str
    http: HttpConfig = HttpConfig()


@dataclass(frozen=True, slots=True)
class DoctorRules:
    """`doctor:` of routes.yaml: the way from a failed plan to us."""

    prometheus: PrometheusConfig | None = None
    every_s: float | None = None
    """How often the service looks by itself; None: never."""
    receiver: str = ""
    """Who is told that the chain is broken; empty: the root receiver."""


@dataclass(frozen=True, slots=True)
class Auth:
    """Who may call: any of these. All empty: everybody who reaches the port."""

    bearer: tuple[Secret, ...] = ()
    basic: tuple[tuple[str, Secret], ...] = ()
    proxy: ProxyHeader | None = None

    @property
    def open(self) -> bool:
        return not self.bearer and not self.basic and self.proxy is None


@dataclass(frozen=True, slots=True)
class AlertmanagerConfig:
    """An Alertmanager (and its peers) that may be asked whether an alert is still there."""

    name: str
    url: str
    peers: tuple[str, ...] = ()
    receiver: str = "mtv-receiver"
    grace_s: float = 120.0
    http: HttpConfig = HttpConfig()
    webhook_auth: Auth = Auth()
    """Open: `web.webhook_auth` counts."""


@dataclass(frozen=True, slots=True)
class Global:
    """`global:` of routes.yaml."""

    resolve_delay_s: float = 30.0
    reopen_within_s: float = 86_400.0
    identify_timeout_s: float = 1.0
    evidence_wait_s: float = 2.0
    evidence_timeout_s: float = 10.0
    fallback_after_s: float = 900.0
    confirm_after_s: float = 60.0
    digest_after: int = 3
    digest_window_s: float = 600.0
    remind_after_s: float = 1_800.0
    """0: never."""
    shared_namespaces: tuple[str, ...] = ("openshift-mtv", "konveyor-forklift", "mtv-integrations")


CAPACITY_SHORT = "MTVPlanCapacityShort"
OWN_ALERTS = ("MTVVMFailed", "MTVPlanStuck", "MTVPlanNotReady", CAPACITY_SHORT, "MTVPlanFailedUnalerted")
"""What this version raises by itself: see `receiver.watch_rules`, `receiver.waits_rules` and `receiver.shortages`."""


@dataclass(frozen=True, slots=True)
class Watch:
    """`watch:` of routes.yaml: what no alert tells."""

    alerts: tuple[str, ...] = OWN_ALERTS
    """Names of those that are raised."""
    stuck_after_s: float = 600.0
    """So long a VM may wait for something that will not end by itself."""
    unalerted_after_s: float = 180.0
    """So long a Plan may be Failed before it counts as one that no alert follows."""


@dataclass(frozen=True, slots=True)
class Web:
    """`web:` of routes.yaml."""

    external_url: str = ""
    max_body_bytes: int = 16_777_216
    webhook_auth: Auth = Auth()
    page_auth: Auth = Auth()
    visibility: Visibility | None = None
    """None: whoever signs in sees everything."""
    tls: ServerTLS | None = None
    limits: ListenLimits = field(default_factory=ListenLimits)
    slack_signing_secret: Secret | None = None
    pagerduty_signing_secret: Secret | None = None


@dataclass(frozen=True, slots=True)
class ActionRules:
    """`actions:` of routes.yaml: what people may do with a story from where it is shown."""

    allow: tuple[str, ...] = ()
    """Who may press in Slack: e-mail addresses, ids (`S…`) or handles (`@…`) of user groups. Empty: nobody."""
    silence_limit: int = 5
    """A silence that would hit more than so many alerts of other stories is refused."""


@dataclass(frozen=True, slots=True)
class Config:
    """A whole routes.yaml, valid."""

    path: Path
    route: Route
    receivers: Mapping[str, Receiver]
    global_: Global = Global()
    web: Web = Web()
    watch: Watch = Watch()
    heartbeat: Heartbeat | None = None
    handover: HandoverPost | None = None
    doctor: DoctorRules = DoctorRules()
    namespace_routing: NamespaceRouting | None = None
    actions: ActionRules = ActionRules()
    alertmanagers: tuple[AlertmanagerConfig, ...] = ()
    clusters: tuple[ClusterConfig, ...] = ()
    subjects: tuple[SubjectRule, ...] = ()
    time_intervals: Mapping[str, tuple[TimeInterval, ...]] = field(default_factory=dict)
    templates_dir: Path | None = None
    redaction_patterns: tuple[str, ...] = ()
    runbooks: Mapping[str, str] = field(default_factory=dict)
    causes: tuple[KnownError, ...] = ()
    """Of `causes_files`: they are looked for before those that are shipped."""
    storage: Storage = field(default_factory=Storage)
    hash: str = ""
    """Short hash of all that was read: which configuration this is, in logs and in the audit."""
    files: tuple[Path, ...] = ()
    """All that was read, and the folders of templates."""
    included: tuple[Path, ...] = ()
    """Those of `files` that `include` led to."""
    globs: tuple[str, ...] = ()
    """Globs of `include`: another file may come."""

    def mark(self) -> str:
        """Return what changes when a file does that this was read from; a missing one counts as changed."""
        return watched.mark(self.files, self.path.absolute().parent, self.globs)

    @property
    def shadowed(self) -> tuple[str, ...]:
        """Return the receivers that are told nothing: they are in shadow mode."""
        return tuple(name for name, one in self.receivers.items() if any(each.shadow for each in one.destinations))

    @property
    def shadow_notice(self) -> str:
        """Return who is told nothing, in a sentence without its full stop; empty where shadow mode is off."""
        named = self.shadowed
        if not named:
            return ""
        told = any(not each.shadow for one in self.receivers.values() for each in one.destinations)
        return f"Shadow: nothing is sent to {', '.join(named) if told else 'anybody'}"

    def default_cluster(self, usable: Container[str]) -> str:
        """Return the cluster that takes every alert that no other does, else the only one; empty where neither is."""
        known = [one for one in self.clusters if one.name in usable]
        return next((one.name for one in known if not one.matchers), known[0].name if len(known) == 1 else "")

    @property
    def destinations(self) -> tuple[DestinationConfig, ...]:
        """Every destination once by identity, in file order."""
        seen: dict[str, DestinationConfig] = {}
        for receiver in self.receivers.values():
            for destination in receiver.destinations:
                seen.setdefault(destination.identity, destination)
        return tuple(seen.values())

    def destination(self, identity: str) -> DestinationConfig | None:
        """Return the destination of an identity: a configured one, or a Slack channel that namespaces may choose."""
        configured = next((one for one in self.destinations if one.identity == identity), None)
        if configured is not None or self.namespace_routing is None:
            return configured
        return self.namespace_routing.destination(identity)
