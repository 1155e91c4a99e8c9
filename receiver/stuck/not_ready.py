"""What keeps a Plan from being Ready, or from going on: its blocking conditions that persist."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.stuck.objects import dig, moment, records, text

PERSISTS_S = 300
"""Seconds: Forklift, too, gives a blocker so long during a run (`controller_blocker_grace_period_minutes`, 5)."""
MAX_LINES = 20

# Error blocks as Critical does; both keep a Plan from being Ready.
_BLOCKING = ("Critical", "Error")
_OVER = ("Archived", "Succeeded")
_ITEMS = 5


@dataclass(frozen=True, slots=True)
class NotReady:
    """One condition."""

    type: str
    """Such as SourceProviderNotReady."""
    message: str
    since: datetime | None
    reason: str = ""
    items: tuple[str, ...] = ()
    """What it is about, such as VMs: the first of them."""
    items_total: int = 0

    @property
    def line(self) -> str:
        """Such as "VMNotFound: VM not found. (web-01, web-02 and 3 more)"."""
        more = self.items_total - len(self.items)
        listed = ", ".join(self.items) + (f" and {more:,} more" if more > 0 else "")
        said = f"{self.type}: {self.message}" if self.message else self.type
        return f"{said} ({listed})" if listed else said


def not_ready(plan: Mapping[str, Any], now: datetime, older_than_s: float = PERSISTS_S) -> tuple[NotReady, ...]:
    """Return the blocking conditions that have stood for so long, the oldest first; none of a Plan that is over.

    One without a time is taken for old: Forklift always writes it, so it was lost on the way.
    """
    conditions = records(dig(plan, "status", "conditions"))
    standing = [one for one in conditions if one.get("status") == "True"]
    if any(one.get("type") in _OVER for one in standing):
        return ()
    found = []
    for one in standing:
        kind, since = text(one.get("type"), 100), moment(one.get("lastTransitionTime"))
        if one.get("category") not in _BLOCKING or not kind:
            continue
        if since is not None and (now - since).total_seconds() < older_than_s:
            continue
        listed = one.get("items")
        items = [text(item, 253) for item in listed if text(item, 253)] if isinstance(listed, list) else []
        shown = tuple(items[:_ITEMS])
        message, reason = text(one.get("message"), 600), text(one.get("reason"), 100)
        found.append(NotReady(kind, message, since, reason, shown, len(items)))
    return tuple(sorted(found, key=lambda one: (one.since is not None, _stamp(one), one.type))[:MAX_LINES])


def _stamp(one: NotReady) -> str:
    return one.since.isoformat() if one.since is not None else ""
