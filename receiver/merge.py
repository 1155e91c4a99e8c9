"""Two open stories turn out to be about one subject: the older takes over what the younger knows and whom it told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from receiver.model import Change, Outcome, StoryState
from receiver.store import stories
from receiver.store.drafts import Draft
from receiver.store.engine import Conn
from receiver.story import is_worse, severer
from receiver.telling import Teller


async def merge(conn: Conn, teller: Teller, open_stories: Sequence[Draft], now: float) -> tuple[Draft, list[Draft]]:
    """Return the oldest, and the younger ones that it took over: those are closed, saved and told."""
    older, *younger = sorted(open_stories, key=lambda draft: (draft.opened, draft.id))
    for one in younger:
        _take_alerts(older, one)
        if one.new:  # nobody was told of it: there is nothing to close
            change = Change.WORSE if is_worse(one.severity, older.severity) else Change.ALERTS
            older.note_change(change, "; ".join(text for _, text in one.changes))
        else:
            await _close(conn, teller, one, older, now)
        older.severity = severer(older.severity, one.severity)
    return older, younger


def _take_alerts(older: Draft, one: Draft) -> None:
    for fingerprint, row in one.alerts.items():
        kept = older.alerts.get(fingerprint)
        if kept is None or kept.seq < row.seq:
            older.alerts[fingerprint] = replace(row, dirty=True)
    older.alias = older.alias or one.alias
    older.ack = older.ack or one.ack
    if one.identity is not None and one.identity.complete:
        older.identity = one.identity
        older.identify_due = None


async def _close(conn: Conn, teller: Teller, one: Draft, older: Draft, now: float) -> None:
    one.state, one.outcome, one.closed = StoryState.RESOLVED, Outcome.MERGED, now
    one.continued_in, one.close_at, one.gather_due, one.identify_due = older.id, None, None, None
    text = f"continued in story {older.id}"
    await stories.save(conn, one, Change.RESOLVED, text, "resolved")
    one.changes.clear()
    await teller.take_over(conn, one, older, text)
    # A destination that moves keeps what it showed under the younger story's numbers, even a try that is in the air
    # right now: the next revision, and each entry that can come again, must be above whatever either story used.
    older.revision = max(older.revision, one.revision)
    older.reruns += one.reruns
    older.reopens += one.reopens
    older.note_change(Change.ALERTS, f"took over story {one.id} of the same plan")
