"""Reads what an Alertmanager holds, where it routes it, what keeps it quiet, and whether its webhooks get through."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from receiver.config.model import AlertmanagerConfig, SubjectRule
from receiver.doctor.chain import AlertmanagerSeen, HeldAlert, Plan, Silence, Unread
from receiver.doctor.peer import NotToldError, Peer, asking
from receiver.doctor.prometheus import is_about, is_failure
from receiver.enrichers.reading import dig, mapping, moment, records, text, texts
from receiver.wire import read_held

NOBODY: Final = Unread("no Alertmanager is named", "add it: alertmanagers: [{name: main, url: …}]", absent=True)
_SAMPLE: Final = re.compile(
    r"^alertmanager_notification_requests(_failed)?_total\{([^}]*)\} ([0-9.eE+]+)$", re.MULTILINE
)


async def read(configs: Sequence[AlertmanagerConfig], now: datetime) -> tuple[AlertmanagerSeen, ...] | Unread:
    """Ask each by the first of its peers that answers. Unread where none does."""
    if not configs:
        return NOBODY
    found: list[AlertmanagerSeen] = []
    failure = NOBODY
    for config in configs:
        for url in (config.url, *config.peers):
            try:
                async with asking(url, config.http) as peer:
                    found.append(await _read(config, peer, now))
                break
            except NotToldError as error:
                failure = Unread(f"Alertmanager {config.name} at {url}: {error.why}", error.cure)
    return tuple(found) or failure


async def _read(config: AlertmanagerConfig, peer: Peer, now: datetime) -> AlertmanagerSeen:
    listed = await peer.json("/api/v2/alerts")
    if not isinstance(listed, list):
        raise NotToldError("the answer is no list of alerts", "correct its url")
    silences = [_silence(one) for one in records(await peer.json("/api/v2/silences"))]
    failed, sent = await _webhooks(peer, config.receiver)
    return AlertmanagerSeen(
        name=config.name,
        url=peer.url,
        receiver=config.receiver,
        held=tuple(_held(listed, now)),
        silences={one.id: one for one in silences},
        receivers=frozenset(text(one.get("name")) for one in records(await peer.json("/api/v2/receivers"))),
        up_since=moment(dig(await peer.json("/api/v2/status"), "uptime")),
        failed=failed,
        sent=sent,
    )


def _held(listed: Sequence[Any], now: datetime) -> Iterator[HeldAlert]:
    for one in listed:
        alert = read_held(one, now)
        if alert is None:
            continue
        status = mapping(one.get("status"))
        names = tuple(text(each.get("name")) for each in records(one.get("receivers")))
        by = (texts(status.get(key)) for key in ("silencedBy", "inhibitedBy", "mutedBy"))
        yield HeldAlert(alert, text(status.get("state")), names, *by)


def _silence(one: Any) -> Silence:
    return Silence(text(one.get("id")), text(one.get("createdBy")), text(one.get("comment")), moment(one.get("endsAt")))


async def _webhooks(peer: Peer, receiver: str) -> tuple[float | None, float]:
    """Return how many webhook requests failed, and how many there were; of our receiver's alone where it says so."""
    try:
        said = await peer.text("/metrics")
    except NotToldError:
        return None, 0.0
    failed = sent = 0.0
    for is_failed, labels, value in _SAMPLE.findall(said):
        named = re.search(r'receiver_name="([^"]*)"', labels)
        if 'integration="webhook"' not in labels or (named and named[1] != receiver):
            continue
        if is_failed:
            failed += float(value)
        else:
            sent += float(value)
    return failed, sent


def follow(
    seen: Sequence[AlertmanagerSeen], plan: Plan | None, subjects: Sequence[SubjectRule]
) -> tuple[HeldAlert | None, AlertmanagerSeen | None]:
    """Return the alert to follow and who holds it: the plan's, else any that says that a plan failed.

    Of several the one that is nearest to us: routed to us before others, active before those that are kept quiet.
    """
    found = [
        (one.receiver in held.receivers, held.state == "active", at, held)
        for at, one in enumerate(seen)
        for held in _about(one.held, plan, subjects)
    ]
    if not found:
        return None, seen[0] if seen else None
    _, _, at, held = max(found, key=lambda one: one[:2])
    return held, seen[at]


def _about(held: Iterable[HeldAlert], plan: Plan | None, subjects: Sequence[SubjectRule]) -> Iterator[HeldAlert]:
    for one in held:
        labels = one.alert.labels
        if plan is None:
            fits = is_failure(labels, subjects)
        else:
            fits = is_about(labels, plan.uid, plan.namespace, plan.name, subjects)
        if fits:
            yield one
