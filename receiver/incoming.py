"""An alert that was looked up, and what it is to the stories that there are."""

from __future__ import annotations

from dataclasses import dataclass, replace

from receiver.model import Alert, Identity, Outcome, PlanState
from receiver.routing.tree import Routed
from receiver.store.drafts import AlertRow, Draft


@dataclass(frozen=True, slots=True)
class Incoming:
    """One inbox entry with everything that was looked up for it."""

    seq: int
    source: str
    alert: Alert
    role: str
    identity: Identity
    plan: PlanState
    routed: Routed
    late_copy: bool = False
    """Its Alertmanager says that it is gone: record only."""


def names_of(identity: Identity) -> set[str]:
    """Return the key of a subject and its alias, where it has one."""
    return {name for name in (identity.subject, identity.alias) if name}


def put(draft: Draft, one: Incoming) -> None:
    """Let a story hold the newest word on an alert."""
    old = draft.alerts.get(one.alert.fingerprint)
    if one.late_copy and old is not None:
        draft.alerts[one.alert.fingerprint] = replace(old, seq=one.seq, dirty=True)  # it stays resolved
        return
    same = old is not None and (old.firing, old.alert.starts_at) == (one.alert.firing, one.alert.starts_at)
    changed_at = old.changed_at if old is not None and same else draft.now
    source = one.source or (old.source if old is not None else "")  # a look at its Alertmanager may have told
    row = AlertRow(one.alert, one.role, one.seq, source, changed_at, dirty=True, heard_at=draft.now)
    draft.alerts[one.alert.fingerprint] = row


def told_already(last: Draft | None, one: Incoming) -> bool:
    """Is this the failure (or success) that the last story already ended with?"""
    if last is None:
        return False
    old = last.alerts.get(one.alert.fingerprint)
    if old is not None and old.firing and old.alert.starts_at == one.alert.starts_at:
        return True  # it never resolved: the Plan closed the story, and Alertmanager only repeats itself
    if one.role == "success":
        newest = max((row.alert.starts_at for row in last.failures), default=None)
        known = any(row.role == "success" for row in last.alerts.values())
        return last.outcome is Outcome.FIXED and not known and newest is not None and newest < one.alert.starts_at
    return any(row.role == "success" and row.alert.starts_at >= one.alert.starts_at for row in last.alerts.values())


def title_of(one: Incoming) -> str:
    """Return what a story is called that is about no Plan."""
    annotations = one.alert.annotations
    return annotations.get("summary") or one.alert.name or one.identity.name or "an alert without a name"
