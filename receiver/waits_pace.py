"""Whose turn it is to be looked at, when that costs requests. Pure: time is an argument, seconds of a monotonic clock.

A look at the objects of a migration is some eight lists. So a Plan has one every VIEW_EVERY_S at most, and all Plans of
a cluster together VIEWS_PER_MINUTE: the one that has waited for longest is next. Plans that are not ready are read
whole, once for each version, and once more when what keeps them is old enough to be told.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

VIEW_EVERY_S = 30.0
VIEWS_PER_MINUTE = 20
UNREADY_PER_MINUTE = 30
MINUTE_S = 60.0


@dataclass(slots=True)
class _Turn:
    due: float
    order: tuple[int, int]
    """Of those that are due, the smallest comes first; then who has waited for longest."""


class Turns:
    """Turns by name: each when it is due, and never more than `per_minute` in any minute."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._turns: dict[str, _Turn] = {}
        self._taken: deque[float] = deque()

    def __contains__(self, name: str) -> bool:
        return name in self._turns

    def __len__(self) -> int:
        return len(self._turns)

    def add(self, name: str, now: float, *, newest: int | None = None) -> None:
        """Let somebody have a turn, unless they have one; with `newest` after all others, the highest number first."""
        self._turns.setdefault(name, _Turn(now, (0, 0) if newest is None else (1, -newest)))

    def remove(self, name: str) -> None:
        self._turns.pop(name, None)

    def names(self) -> tuple[str, ...]:
        return tuple(self._turns)

    def next(self, now: float, may: Callable[[str], bool] = lambda _: True) -> str | None:
        """Return whose turn it is, and count it; None while nobody is due who `may`, or too many have just been."""
        while self._taken and now - self._taken[0] >= MINUTE_S:
            self._taken.popleft()
        if len(self._taken) >= self._per_minute:
            return None
        due = sorted((turn.order, turn.due, name) for name, turn in self._turns.items() if turn.due <= now)
        name = next((name for _, _, name in due if may(name)), None)
        if name is not None:
            self._taken.append(now)
        return name

    def again(self, name: str, at: float) -> None:
        """Give somebody who had a turn the next one, not before `at`."""
        if name in self._turns:
            self._turns[name] = _Turn(at, (0, 0))
