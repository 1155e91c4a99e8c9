"""The sections beside receivers, routes and web: global, alertmanagers, clusters, subjects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from receiver.config.http_settings import resolve_http
from receiver.config.matching import check_names, read_matchers
from receiver.config.model import (
    OWN_ALERTS,
    ActionRules,
    AlertmanagerConfig,
    ClusterConfig,
    Global,
    Heartbeat,
    SubjectRule,
    Watch,
)
from receiver.config.positions import Path
from receiver.config.problems import Problems
from receiver.config.reader import Reader
from receiver.config.secret_files import warn_of_missing
from receiver.config.storage import AUDIT_BYTES, Kept, Storage
from receiver.config.storage_wire import StorageWire
from receiver.config.web import read_auth
from receiver.config.wire import (
    ActionsWire,
    AlertmanagerWire,
    ClusterWire,
    GlobalWire,
    HeartbeatWire,
    SubjectWire,
    WatchWire,
)
from receiver.routing.matchers import parse_matchers

_OWN_NAMES: Final = "|".join(OWN_ALERTS)
OWN_SUBJECT: Final = SubjectRule(parse_matchers(f'alertname=~"{_OWN_NAMES}"'), "failure")
"""Our own alerts always are about the Plan that they name, whatever `subjects:` says of others."""

DEFAULT_SUBJECTS: Final[tuple[SubjectRule, ...]] = (
    SubjectRule(parse_matchers(f'alertname=~"MTVPlanFailed|MigrationFailed|{_OWN_NAMES}"'), "failure"),
    SubjectRule(parse_matchers('alertname="MigrationSucceeded"'), "success"),
)
"""The rule that the shipped alerts have, Forklift's own alerts, and ours."""

DEFAULT_CLUSTERS: Final[tuple[ClusterConfig, ...]] = (ClusterConfig("local"),)
"""The cluster that the service itself runs in, if it does."""


_MAY_PRESS: Final = re.compile(r"[^@\s]+@[^@\s]+|@[^@\s]+|S[A-Z0-9]{6,}")


def read_global(raw: Any, path: Path, reader: Reader) -> Global:
    """Return `global:`."""
    wire = reader.read(GlobalWire, reader.mapping(raw, path), path) or GlobalWire()
    return Global(
        resolve_delay_s=wire.resolve_delay,
        reopen_within_s=wire.reopen_within,
        identify_timeout_s=wire.identify_timeout,
        evidence_wait_s=wire.evidence_wait,
        evidence_timeout_s=wire.evidence_timeout,
        fallback_after_s=wire.fallback_after,
        confirm_after_s=wire.confirm_after,
        digest_after=wire.digest_after,
        digest_window_s=wire.digest_window,
        remind_after_s=wire.remind_after,
        shared_namespaces=wire.shared_namespaces,
    )


def read_actions(raw: Any, path: Path, reader: Reader) -> ActionRules:
    """Return `actions:`."""
    wire = reader.read(ActionsWire, reader.mapping(raw, path), path) or ActionsWire()
    for at, name in enumerate(wire.allow):
        where = (*path, "allow", at)
        where = where if where in reader.problems.document.nodes else where[:-1]
        if not _MAY_PRESS.fullmatch(name):
            cure = "write an e-mail address, the id of a Slack user group (S0123456789), or its @handle"
            reader.problems.add(where, f"{name!r} names nobody in Slack", cure)
    return ActionRules(allow=wire.allow, silence_limit=wire.silence_limit)


def read_alertmanagers(raw: Any, path: Path, reader: Reader) -> tuple[AlertmanagerConfig, ...]:
    """Return `alertmanagers:`."""
    found: dict[str, AlertmanagerConfig] = {}
    for at, item in enumerate(reader.sequence(raw, path)):
        where = (*path, at)
        wire = reader.read(AlertmanagerWire, reader.mapping(item, where), where)
        if wire is None or _taken(wire.name, found, where, reader.problems):
            continue
        found[wire.name] = AlertmanagerConfig(
            name=wire.name,
            url=wire.url.rstrip("/"),
            peers=tuple(peer.rstrip("/") for peer in wire.peers),
            receiver=wire.receiver,
            grace_s=wire.grace,
            http=resolve_http(wire.http_config, (*where, "http_config"), reader.problems),
            webhook_auth=read_auth(wire.webhook_auth, (*where, "webhook_auth"), reader.problems),
        )
    return tuple(found.values())


def read_clusters(raw: Any, path: Path, reader: Reader) -> tuple[ClusterConfig, ...]:
    """Return `clusters:`; at most one has no matchers, and takes what no other does."""
    found: dict[str, ClusterConfig] = {}
    problems = reader.problems
    default = ""
    for at, item in enumerate(reader.sequence(raw, path)):
        where = (*path, at)
        wire = reader.read(ClusterWire, reader.mapping(item, where), where)
        if wire is None or _taken(wire.name, found, where, problems):
            continue
        matchers = read_matchers(wire.matchers, (*where, "matchers"), problems)
        if not wire.matchers:
            if default:
                what = f"two clusters without matchers: {default} takes every alert that no other does already"
                problems.add(where, what, f"""add matchers, such as ['cluster="{wire.name}"']""")
            default = default or wire.name
        if wire.must_gather is not None and not wire.must_gather.exists():
            problems.warn((*where, "must_gather"), f"there is no {wire.must_gather}", "unpack the must-gather there")
        if wire.kubeconfig_file is not None and not wire.kubeconfig_file.is_file():
            what = f"there is no file {wire.kubeconfig_file}"
            problems.warn((*where, "kubeconfig_file"), what, "create or mount it: until then nobody is asked")
        found[wire.name] = ClusterConfig(
            name=wire.name,
            matchers=matchers,
            kubeconfig_file=wire.kubeconfig_file,
            must_gather=wire.must_gather,
            providers=wire.providers,
            http=resolve_http(wire.http_config, (*where, "http_config"), problems),
        )
    return tuple(found.values())


def read_subjects(raw: Any, path: Path, reader: Reader) -> tuple[SubjectRule, ...]:
    """Return `subjects:`, which replace the default ones, all but our own alerts'."""
    rules: list[SubjectRule] = [OWN_SUBJECT]
    for at, item in enumerate(reader.sequence(raw, path)):
        where = (*path, at)
        wire = reader.read(SubjectWire, reader.mapping(item, where), where)
        if wire is None:
            continue
        matchers = read_matchers(wire.matchers, (*where, "matchers"), reader.problems)
        rules.append(SubjectRule(matchers, wire.role, wire.uid_label, wire.name_label, wire.namespace_label))
    return tuple(rules)


def read_watch(raw: Any, path: Path, reader: Reader) -> Watch:
    """Return `watch:`; `alerts: []` switches all of our own alerts off."""
    wire = reader.read(WatchWire, reader.mapping(raw, path), path) or WatchWire()
    good: list[str] = []
    for at, name in enumerate(wire.alerts):
        where = (*path, "alerts", at)
        where = where if where in reader.problems.document.nodes else where[:-1]
        if name not in OWN_ALERTS:
            cure = f"name one of {', '.join(OWN_ALERTS)}; others come from Alertmanager"
            reader.problems.add(where, f"{name!r} is no alert of our own", cure)
        else:
            good.append(name)
    return Watch(tuple(dict.fromkeys(good)), wire.stuck_after, wire.unalerted_after)


def read_heartbeat(raw: Any, path: Path, reader: Reader, receivers: Mapping[str, Any]) -> Heartbeat | None:
    """Return `heartbeat:`; `receivers` are those that exist."""
    wire = reader.read(HeartbeatWire, reader.mapping(raw, path), path)
    if wire is None:
        return None
    problems = reader.problems
    if wire.receiver:
        check_names([wire.receiver], receivers, "receiver", (*path, "receiver"), problems)
    if wire.ping_url is not None:
        warn_of_missing(wire.ping_url, (*path, "ping_url_file"), problems, "nobody is pinged")
    return Heartbeat(
        matchers=read_matchers(wire.matchers, (*path, "matchers"), problems),
        interval_s=wire.interval,
        receiver=wire.receiver,
        ping_url=wire.ping_url,
        webhook_silence_s=wire.webhook_silence,
        http=resolve_http(wire.http_config, (*path, "http_config"), problems),
    )


def read_storage(raw: Any, path: Path, reader: Reader) -> Storage:
    """Return `storage:`."""
    wire = reader.read(StorageWire, reader.mapping(raw, path), path) or StorageWire()
    return Storage(
        retention_s=wire.retention,
        max_bytes=wire.max_bytes,
        evidence=Kept(wire.evidence.retention, wire.evidence.max_bytes),
        audit=Kept(wire.audit.retention, wire.audit.max_bytes or AUDIT_BYTES),
    )


def plan_alert_names(rules: Sequence[SubjectRule]) -> frozenset[str]:
    """Return names of alerts about plans, as far as they are known: the usual ones, and what rules name outright."""
    usual = ("MTVPlanFailed", "MigrationFailed", "MigrationSucceeded", *OWN_ALERTS)
    named = (m.value for rule in rules for m in rule.matchers if m.name == "alertname" and m.op == "=")
    return frozenset((*usual, *named))


def _taken(name: str, found: Mapping[str, Any], path: Path, problems: Problems) -> bool:
    if name in found:
        problems.add((*path, "name"), f"the name {name!r} is taken", "rename one of the two")
    return name in found
