"""Reads what Prometheus knows of failed plans: metric, targets, rules, and whom it tells."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from receiver.config.model import PrometheusConfig, SubjectRule
from receiver.doctor.chain import PrometheusSeen, Rule, Target, Unread
from receiver.doctor.peer import NotToldError, Peer, asking
from receiver.enrichers.reading import dig, mapping, records, strings, text

METRIC: Final = "mtv_plan_alert_status"
"""What Forklift publishes of each plan that failed, succeeded or runs; it also feeds the alert."""
USUAL: Final = frozenset({"MigrationFailed", "MTVPlanFailed"})
NOBODY: Final = Unread("no Prometheus is named", "add --prometheus URL, or doctor.prometheus.url", absent=True)
_SEND_ERRORS: Final = "sum(increase(prometheus_notifications_errors_total[5m]))"


async def read(config: PrometheusConfig | None, subjects: Sequence[SubjectRule]) -> PrometheusSeen | Unread:
    """Ask it everything, one after the other. Never raises for what it does."""
    if config is None:
        return NOBODY
    try:
        async with asking(config.url, config.http) as peer:
            series = tuple(strings(one.get("metric")) for one in records(dig(await _query(peer, METRIC), "result")))
            targets = await _optional(peer, "targets", {"state": "active"})
            rules = await _optional(peer, "rules", {"type": "alert"})
            sends = await _optional(peer, "alertmanagers")
            errors = await _number(peer, _SEND_ERRORS)
    except NotToldError as error:
        return Unread(f"Prometheus at {config.url}: {error.why}", error.cure)
    return PrometheusSeen(
        url=config.url,
        series=series,
        targets=None if targets is None else tuple(_targets(targets)),
        rules=None if rules is None else tuple(_rules(rules, subjects)),
        sends_to=None if sends is None else tuple(text(one.get("url")) for one in _of(sends, "activeAlertmanagers")),
        dropped=len(_of(sends, "droppedAlertmanagers")),
        send_errors=errors,
    )


async def _query(peer: Peer, query: str) -> Mapping[str, Any]:
    answer = await peer.json("/api/v1/query", {"query": query})
    if dig(answer, "status") != "success":
        raise NotToldError("the answer is none of Prometheus", "correct its url")
    return mapping(dig(answer, "data"))


async def _optional(peer: Peer, what: str, params: Mapping[str, str] | None = None) -> Mapping[str, Any] | None:
    """Return what only some of them tell: a Thanos has no Alertmanagers, a proxy may hide the rest."""
    try:
        answer = await peer.json(f"/api/v1/{what}", params)
    except NotToldError as error:
        if error.status in (403, 404, 405):
            return None
        raise
    return mapping(dig(answer, "data"))


async def _number(peer: Peer, query: str) -> float:
    """Return what a query adds up to; 0 where Prometheus does not scrape itself."""
    for one in records((await _query(peer, query)).get("result")):
        value = one.get("value")
        try:
            found = float(value[1]) if isinstance(value, list) else 0.0
        except (ValueError, TypeError, IndexError):
            continue
        return found if math.isfinite(found) else 0.0
    return 0.0


def _of(answer: Mapping[str, Any] | None, key: str) -> tuple[Mapping[str, Any], ...]:
    return records((answer or {}).get(key))


def _targets(answer: Mapping[str, Any]) -> Iterator[Target]:
    for one in _of(answer, "activeTargets"):
        labels = strings(one.get("labels"))
        if any("forklift" in labels.get(name, "") for name in ("job", "service")):
            up = one.get("health") != "down"  # "unknown" is one that was not scraped yet
            yield Target(text(one.get("scrapeUrl")), up, text(one.get("lastError")), labels.get("namespace", ""))


def _rules(answer: Mapping[str, Any], subjects: Sequence[SubjectRule]) -> Iterator[Rule]:
    for group in _of(answer, "groups"):
        for one in records(group.get("rules")):
            name = text(one.get("name"))
            if one.get("type", "alerting") != "alerting" or not name:
                continue
            if name in USUAL or is_failure({**strings(one.get("labels")), "alertname": name}, subjects):
                error = text(one.get("lastError")) or "it failed" if one.get("health") == "err" else ""
                yield Rule(name, text(one.get("query")), error, records(one.get("alerts")))


def is_failure(labels: Mapping[str, str], subjects: Sequence[SubjectRule]) -> bool:
    """Does an alert with these labels say that a plan failed? The first rule that fits decides, as for a webhook."""
    rule = next((one for one in subjects if all(matcher.matches(labels) for matcher in one.matchers)), None)
    return rule is not None and rule.role == "failure"


def is_about(labels: Mapping[str, str], uid: str, namespace: str, name: str, subjects: Sequence[SubjectRule]) -> bool:
    """Does an alert say that this plan failed? The UID decides where both are known."""
    rule = next((one for one in subjects if all(matcher.matches(labels) for matcher in one.matchers)), None)
    if rule is None or rule.role != "failure":
        return False
    told = labels.get(rule.uid_label, "")
    if told and uid:
        return told == uid
    # Forklift's own label `namespace` is the namespace of Forklift, so only a rule without the UID names the plan's.
    return labels.get(rule.name_label) == name and (bool(told) or labels.get(rule.namespace_label) == namespace)
