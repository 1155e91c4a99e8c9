"""Kubernetes events of named objects: the ones that matter first, equal ones once, never more than asked for.

Events live about an hour and repeat themselves; recorders of today count in `series`, older ones in `count`. Both kinds
are stored once and read here by the core API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from receiver.enrichers.reading import dig, mapping, moment, number, text
from receiver.enrichers.redact import Redactor
from receiver.kube import Cluster
from receiver.kube.kinds import is_name
from receiver.model import ObjectEvent

ASKED_BY_NAME = 4
"""So many names cost a request each; for more of them the namespace is listed once."""
OLDEST = timedelta(hours=24)
PAGE = 500
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


async def events_of(
    cluster: Cluster,
    namespace: str,
    *,
    names: Collection[str] = (),
    uids: Collection[str] = (),
    now: datetime,
    limit: int = 8,
) -> tuple[ObjectEvent, ...]:
    """Return the events of the objects of these names or UIDs: warnings before others, the newest first.

    Events of cluster-scoped objects live in the namespace `default`. Texts are as the cluster wrote them: redact them
    (`redacted`) before they are kept. Raises ClusterError.
    """
    wanted = [name for name in dict.fromkeys(names) if is_name(name)]
    if not is_name(namespace) or not (wanted or uids):
        return ()
    if not uids and len(wanted) <= ASKED_BY_NAME:
        answers = await asyncio.gather(
            *(
                cluster.list("Event", namespace, field_selector=f"involvedObject.name={name}", limit=PAGE)
                for name in wanted
            )
        )
        found = [event for answer in answers for event in answer]
    else:
        found = list(await cluster.list("Event", namespace, limit=PAGE))
    return newest(found, names=set(wanted), uids=set(uids), now=now, limit=limit)


def newest(
    events: Iterable[Mapping[str, Any]], *, names: Collection[str], uids: Collection[str], now: datetime, limit: int
) -> tuple[ObjectEvent, ...]:
    """Return the events of these objects out of those that were listed, equal ones as one."""
    merged: dict[tuple[str, str, str, str], ObjectEvent] = {}
    for raw in events:
        about = mapping(raw.get("involvedObject")) or mapping(raw.get("regarding"))
        if about.get("name") not in names and about.get("uid") not in uids:
            continue
        event = read_event(raw)
        if event.last is not None and event.last < now - OLDEST:
            continue
        key = (event.kind, event.name, event.reason, event.message)
        known = merged.get(key)
        if known is None:
            merged[key] = event
        else:
            last = max(known.last or _LONG_AGO, event.last or _LONG_AGO)
            merged[key] = replace(known, count=known.count + event.count, last=None if last == _LONG_AGO else last)
    # Warnings say what is wrong; the rest fills what room is left.
    ordered = sorted(merged.values(), key=lambda one: (one.warning, one.last or _LONG_AGO), reverse=True)
    return tuple(ordered[:limit])


def read_event(raw: Mapping[str, Any]) -> ObjectEvent:
    """Read an event of either API; what has the wrong type is not known."""
    about = mapping(raw.get("involvedObject")) or mapping(raw.get("regarding"))
    times = (
        dig(raw, "series", "lastObservedTime"),
        raw.get("lastTimestamp"),
        raw.get("deprecatedLastTimestamp"),
        raw.get("eventTime"),
        raw.get("firstTimestamp"),
        dig(raw, "metadata", "creationTimestamp"),
    )
    counts = (dig(raw, "series", "count"), raw.get("count"), raw.get("deprecatedCount"))
    return ObjectEvent(
        reason=text(raw.get("reason"), 100),
        message=text(raw.get("message") or raw.get("note")),
        kind=text(about.get("kind"), 100),
        name=text(about.get("name"), 253),
        count=max(1, int(next((many for one in counts if (many := number(one))), 1))),
        last=next((at for one in times if (at := moment(one))), None),
        warning=raw.get("type") == "Warning",
        namespace=text(about.get("namespace"), 253),
    )


def redacted(events: Iterable[ObjectEvent], redactor: Redactor) -> tuple[tuple[ObjectEvent, ...], int]:
    """Return the events without secrets, and how many were hidden."""
    shown: list[ObjectEvent] = []
    hidden = 0
    for event in events:
        message, count = redactor.text(event.message)
        hidden += count
        shown.append(replace(event, message=message))
    return tuple(shown), hidden
