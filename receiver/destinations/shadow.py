"""Shadow mode: a sender that decides like the real one, and sends nothing.

What the root's receipt says of it (`receiver.model.shadow`) stands beside what a real root left there before shadow
mode was switched on, which is kept for when it is switched off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from receiver.destinations import InStorm, Manner, Sender, Step
from receiver.model import QUIET_WITHIN_S, Change, Receipt, Wanted
from receiver.model.shadow import SHADOW, only_shadow

CREATE: Final = "shadow create"
REPLY: Final = "shadow reply"
UPDATE: Final = "shadow update"
CLOSE: Final = "shadow close"


class Shadow:
    """Stands in for the sender of any kind."""

    def __init__(self, real: Sender, *, send_resolved: bool) -> None:
        self._real = real
        self._send_resolved = send_resolved
        self.kind = real.kind
        self.manner = real.manner
        self.entry_changes = real.entry_changes
        self.waits_for_evidence = real.waits_for_evidence
        self.in_storm = real.in_storm
        # Mails and events stay as they were sent: only further ones follow.
        self._edits = real.manner is not Manner.CHAT or real.in_storm is InStorm.BY_EDIT

    def plan(self, wanted: Wanted) -> Step | None:
        """Return what the real sender would do next, as far as that is known without its answers; see `Sender.plan`."""
        root = wanted.root
        if root is None or root.keys() <= {"started"}:
            step = self._render(wanted)
            return step and Step("root", CREATE, step.body, hash=step.hash)
        mark = _mark(root)
        for entry in wanted.entries:
            muted = entry.change is Change.RESOLVED and not self._send_resolved
            if entry.change in self.entry_changes and entry.revision > mark["revision"] and not muted:
                return Step(entry.key, REPLY, {"text": entry.text})
        if wanted.story.revision <= mark["shown"]:
            return None
        return self._edit(wanted, mark)

    def _edit(self, wanted: Wanted, mark: Mapping[str, Any]) -> Step | None:
        pager = self.manner is Manner.PAGER
        closes = not wanted.firing and not mark.get("closed") and self._send_resolved
        if not self._edits or (pager and not (closes or self._updates_pager(wanted, mark))):
            return None
        step = self._render(wanted)
        return Step("root", CLOSE if closes else UPDATE, step.body if step else {})

    def _updates_pager(self, wanted: Wanted, mark: Mapping[str, Any]) -> bool:
        """A pager gets all that is audible, and one quiet update soon after it."""
        if not wanted.firing:
            return False
        told = max((one.at for one in wanted.story.timeline if one.audible), default=wanted.story.opened)
        soon = wanted.story.updated - told <= timedelta(seconds=QUIET_WITHIN_S)
        return wanted.audible or (soon and not mark.get("quiet"))

    def _render(self, wanted: Wanted) -> Step | None:
        """Return the real first message of the story as it is now: what cannot be rendered shows in shadow, too."""
        return self._real.plan(replace(wanted, root=None))

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        """Return what would be shown; does no I/O."""
        if step.part != "root":
            return {SHADOW: True}
        root, shown = wanted.root or {}, wanted.story.revision
        if step.op == CREATE:
            return {**root, SHADOW: {"revision": shown, "shown": shown}}
        mark = {**_mark(root), "shown": shown}
        if self.manner is Manner.PAGER:
            mark["quiet"] = not wanted.audible
        if not wanted.firing:
            mark["closed"] = True
        else:
            mark.pop("closed", None)
        return {**root, SHADOW: mark}

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        """Return None: nothing was sent."""
        del step, wanted
        return None

    def link(self, root: Receipt) -> str:
        """Return where a root is that was there before; the empty string where there is none."""
        return "" if only_shadow(root) else self._real.link(root)

    async def probe(self) -> None:
        """Ask nobody."""


def _mark(root: Receipt) -> dict[str, Any]:
    """Return what would be shown; of a real root, what it shows."""
    found = root.get(SHADOW)
    if isinstance(found, Mapping):
        return dict(found)
    shows = root.get("revision", 0)
    revision = shows if isinstance(shows, int) else 0
    return {"revision": revision, "shown": revision}
