"""Whose turn it is to be looked at, when that costs requests. Pure: time is an argument, seconds of a monotonic clock.

A look at the objects of a migration is some eight lists. So a Plan has one every VIEW_EVERY_S at most, and all Plans of
a cluster together VIEWS_PER_MINUTE: the one that has waited for longest is next. Live Plans go first, since KubeVirt
gives up after minutes and Forklift then deletes what tells why; of each four turns one is left to the others where they
wait, and these never take all of a minute's turns: a Plan that begins to migrate live need not wait for the next.

Plans that are not ready are read whole, once for each version, and once more when what keeps them is old enough to be
told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

VIEW_EVERY_S = 30.0
VIEWS_PER_MINUTE = 20
VIEWS_FOR_LIVE = 5
"""Of VIEWS_PER_MINUTE: so many are kept for Plans that migrate live."""
UNREADY_PER_MINUTE = 30
MINUTE_S = 60.0
FIRST_IN_A_ROW = 3
"""After so many turns of those that go first one is due to the others."""


@dataclass(slots=True)
class _Turn:
    due: float
    order: tuple[int, int]
    """Of those that are due, the smallest comes first; then who has waited for longest."""
    first: bool = False
    """Goes before all that do not."""


class Turns:
    """Turns by name: each when it is due, and never more than `per_minute` in any minute."""

    def __init__(self, per_minute: int, kept: int = 0) -> None:
        """`kept`: of `per_minute`, so many that only those take who go first."""
        self._per_minute = per_minute
        self._kept = kept
        self._turns: dict[str, _Turn] = {}
        self._taken: deque[tuple[float, bool]] = deque()
        """When, and by somebody who goes first?"""
        self._in_a_row = 0
        """Turns of those who go first, since the last of the others."""

    def __contains__(self, name: str) -> bool:
        return name in self._turns

    def __len__(self) -> int:
        return len(self._turns)

    def add(self, name: str, now: float, *, newest: int | None = None, first: bool = False) -> None:
        """Let somebody have a turn, unless they have one; with `newest` after all others, the highest number first."""
        turn = self._turns.setdefault(name, _Turn(now, (0, 0) if newest is None else (1, -newest)))
        turn.first = first

    def remove(self, name: str) -> None:
        self._turns.pop(name, None)

    def names(self) -> tuple[str, ...]:
        return tuple(self._turns)

    def next(self, now: float, may: Callable[[str], bool] = lambda _: True) -> str | None:
        """Return whose turn it is, and count it; None while nobody is due who `may`, or too many have just been."""
        while self._taken and now - self._taken[0][0] >= MINUTE_S:
            self._taken.popleft()
        if len(self._taken) >= self._per_minute:
            return None
        others_left = self._per_minute - self._kept - sum(not first for _, first in self._taken)
        others_now = self._in_a_row >= FIRST_IN_A_ROW
        due = sorted(
            (turn.first is others_now, turn.order, turn.due, name)
            for name, turn in self._turns.items()
            if turn.due <= now and (turn.first or others_left > 0)
        )
        name = next((name for *_, name in due if may(name)), None)
        if name is not None:
            first = self._turns[name].first
            self._taken.append((now, first))
            self._in_a_row = self._in_a_row + 1 if first else 0
        return name

    def again(self, name: str, at: float) -> None:
        """Give somebody who had a turn the next one, not before `at`."""
        if name in self._turns:
            self._turns[name] = _Turn(at, (0, 0), self._turns[name].first)
