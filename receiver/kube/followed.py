"""How a watch is getting on: what everything that a watch keeps up to date can say of itself."""

from __future__ import annotations


class Followed:
    """Read by everyone, changed only by the watch that owns it."""

    def __init__(self) -> None:
        self.synced = False
        """Complete and current. False before the first list and while the connection is lost."""
        self.synced_once = False
        """Was complete at some time in this process."""
        self.problem: str | None = None
        """Why the watch does not work now, one line; None while it does."""
        self.skipped = 0
        """Objects or events that could not be read, since the start."""
        self.lists = 0
        """Complete lists read, since the start."""
        self.reconnects = 0
        """Watches that ended and were begun again, since the start."""
