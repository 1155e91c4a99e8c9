"""What Kubernetes reported about an object, of the core API or of events.k8s.io."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from receiver.model import ObjectEvent
from receiver.stuck.objects import (
    Obj,
    dig,
    earliest,
    mapping,
    moment,
    name_of,
    namespace_of,
    records,
    text,
    uid_of,
    whole,
)
from receiver.stuck.view import View

_MESSAGE = 600


def sign_of(obj: Obj, kind: str, reason: str, message: str) -> ObjectEvent:
    """Return a condition of an object as evidence beside events."""
    return ObjectEvent(reason, message, kind, name_of(obj), warning=True, namespace=namespace_of(obj))


class Events:
    """The events of a view, by the object that they are about."""

    def __init__(self, view: View) -> None:
        self._by_object: dict[tuple[str, str], list[Obj]] = {}
        for event in records(view.events):
            about = _subject(event)
            self._by_object.setdefault((text(about.get("kind"), 100), text(about.get("name"), 253)), []).append(event)

    def of(
        self, obj: Obj, kind: str, since: datetime | None = None, name: str = "", namespace: str = ""
    ) -> tuple[ObjectEvent, ...]:
        """Return what was reported about an object after `since`, the newest last.

        Events outlive their run by an hour or more, so what came before this run is no evidence of it. An object that
        was not read is found by `name` and `namespace`.
        """
        found = [
            ObjectEvent(
                reason=text(event.get("reason"), 100),
                message=text(event.get("message"), _MESSAGE) or text(event.get("note"), _MESSAGE),
                kind=kind,
                name=name_of(obj) or name,
                count=_count(event),
                last=_last(event),
                warning=event.get("type") == "Warning",
                namespace=_place(event),
            )
            for event in self._about(obj, kind, since, name, namespace)
        ]
        return tuple(sorted(found, key=lambda one: one.last.isoformat() if one.last else ""))

    def first(
        self, obj: Obj, kind: str, reason: str, since: datetime | None = None, name: str = "", namespace: str = ""
    ) -> datetime | None:
        """Return when what was reported for that reason began; not before `since`, in which it only went on."""
        times = [
            moment(event.get("firstTimestamp")) or moment(event.get("eventTime")) or _last(event)
            for event in self._about(obj, kind, since, name, namespace)
            if event.get("reason") == reason
        ]
        began = earliest(*times)
        return max(began, since) if began is not None and since is not None else began

    def _about(self, obj: Obj, kind: str, since: datetime | None, name: str, namespace: str) -> Iterator[Obj]:
        uid, where = uid_of(obj), namespace_of(obj) or namespace
        for event in self._by_object.get((kind, name_of(obj) or name), ()):
            other, place, last = text(_subject(event).get("uid"), 100), _place(event), _last(event)
            is_other = (uid and other and uid != other) or (where and place and where != place)
            if not is_other and (since is None or last is None or last >= since):
                yield event


def _subject(event: Obj) -> Obj:
    return mapping(event.get("involvedObject")) or mapping(event.get("regarding"))


def _place(event: Obj) -> str:
    return text(_subject(event).get("namespace"), 253) or namespace_of(event)


def _last(event: Obj) -> datetime | None:
    series = mapping(event.get("series"))
    return (
        moment(event.get("lastTimestamp"))
        or moment(series.get("lastObservedTime"))
        or moment(event.get("deprecatedLastTimestamp"))
        or moment(event.get("eventTime"))
        or moment(event.get("firstTimestamp"))
    )


def _count(event: Obj) -> int:
    return whole(event.get("count")) or whole(dig(event, "series", "count")) or 1
