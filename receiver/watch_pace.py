"""When to look into Plans that execute: which one is read next, whole. Pure: time is an argument.

Nothing small tells that a VM of a running Plan has failed: the Plan's and the Migration's rows carry no VM, Forklift
sends no event for it, and the whole Plan (0.9 MB for 500 VMs) changes every three seconds. So there are two ways:

*A hint.* The pod of a failed conversion is never restarted and stays as `Failed`. One list of the failed pods of
Plans that execute, chosen by the server, every HINTS_EVERY_S: a few hundred bytes where nothing failed. A Plan with
such a pod is read at once.

*A slow look.* Other failures (a snapshot, an importer that is restarted for ever, a hook, another cluster) leave no
such pod. Each Plan is read from time to time, no more than BYTES_PER_S of a cluster's Plans together: a Plan of 20 VMs
every 15 s, twenty of 500 VMs every 5 minutes.
"""

from __future__ import annotations

from dataclasses import dataclass

BYTES_PER_S = 60_000
"""Of whole Plans, per cluster, on the average: twenty Plans of 500 VMs cost 3.6 MB a minute, their rows 0.6 MB."""
EVERY_S = 15.0
"""A Plan is read at most so often, and for the first time so long after its start: nothing fails sooner."""
HINTS_EVERY_S = 3.0
"""How often failed pods are asked for: the beat in which Forklift looks at its Plans."""
HINTED_AT_ONCE = 50
"""UIDs in one question, which becomes a URL of some 2 KB; of more Plans each has its turn."""
SETTLE_S = 2.0
"""From a failed pod to the first look: Forklift writes the failure into the Plan within its beat."""
SUSPECT_S = 45.0
"""So long a Plan with a failed pod is looked at whatever is left of the budget, every EVERY_S: three times."""
REST_S = 60.0
"""From one hint of a Plan to the next: a pod that failed for nothing would give hints for ever."""


@dataclass(slots=True)
class _Executing:
    since: float
    read_at: float | None = None
    version: str = ""
    asked_at: float = float("-inf")
    hinted_at: float = float("-inf")

    def suspect(self, now: float) -> bool:
        return self.hinted_at + SETTLE_S <= now < self.hinted_at + SUSPECT_S

    def due(self, now: float) -> bool:
        if self.read_at is None:
            return self.suspect(now) or now - self.since >= EVERY_S
        return now - self.read_at >= EVERY_S


class Pace:
    """The Plans of one cluster that execute, by UID. All times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._plans: dict[str, _Executing] = {}
        self._versions: dict[str, str] = {}
        self._free_at = float("-inf")
        self._hints_at = float("-inf")

    def executes(self, uid: str, version: str, now: float) -> None:
        """Note that a Plan executes, and which version of it is the newest."""
        self._plans.setdefault(uid, _Executing(now))
        self._versions[uid] = version

    def ended(self, uid: str) -> None:
        """Note that a Plan executes no longer."""
        self._plans.pop(uid, None)
        self._versions.pop(uid, None)

    def to_hint(self, now: float, known: frozenset[str]) -> tuple[str, ...]:
        """Return the Plans whose failed pods are to be asked for now; `known` to have failed VMs need no hint."""
        if now - self._hints_at < HINTS_EVERY_S:
            return ()
        free = [uid for uid, plan in self._plans.items() if uid not in known and now - plan.hinted_at >= REST_S]
        asked = sorted(free, key=lambda uid: self._plans[uid].asked_at)[:HINTED_AT_ONCE]
        for uid in asked:
            self._plans[uid].asked_at = now
        if asked:
            self._hints_at = now
        return tuple(asked)

    def hinted(self, uid: str, now: float) -> None:
        """Note that a pod of a Plan has failed."""
        if uid in self._plans:
            self._plans[uid].hinted_at = now

    def next(self, now: float) -> str | None:
        """Return the Plan to read now: one with a failed pod, one that was never read, or else not for longest.

        What was never read may be a live migration, whose objects tell what it waits for only for some minutes.
        """
        due = [
            (not plan.suspect(now), plan.read_at is not None, plan.since if plan.read_at is None else plan.read_at, uid)
            for uid, plan in self._plans.items()
            if plan.due(now) and not (plan.version and plan.version == self._versions[uid])
        ]
        calm, _, _, uid = min(due, default=(True, True, 0.0, ""))
        return uid if uid and (not calm or now >= self._free_at) else None

    def known(self, uid: str, version: str) -> bool:
        """Was this very version read already? To have it again costs nothing."""
        plan = self._plans.get(uid)
        return plan is not None and bool(version) and plan.version == version

    def may_read(self, uid: str, now: float) -> bool:
        """May a Plan that executes be read now, out of its turn, without costing more than it may?"""
        plan = self._plans.get(uid)
        if plan is None:
            return False
        rested = plan.read_at is None or now - plan.read_at >= EVERY_S
        return self.known(uid, self._versions[uid]) or (rested and now >= self._free_at)

    def was_read(self, uid: str, now: float, size: int, version: str) -> None:
        """Count a Plan that was read, of so many bytes; a reading that failed counts 0 and has no version."""
        self._free_at = max(self._free_at, now) + size / BYTES_PER_S
        if plan := self._plans.get(uid):
            plan.read_at, plan.version = now, version
