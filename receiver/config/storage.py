"""`storage:` of routes.yaml: how long and how much is kept."""

from __future__ import annotations

from dataclasses import dataclass

AUDIT_BYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class Kept:
    """How long and how much of one thing is kept."""

    retention_s: float | None = None
    """None: as long as closed stories."""
    max_bytes: int | None = None
    """None: as much as the whole database may hold."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How long and how much is kept."""

    retention_s: float = 2_592_000.0
    """Closed stories, what people pressed."""
    max_bytes: int = 2 * 1024**3
    """Of the whole database."""
    evidence: Kept = Kept()
    """Of closed stories."""
    audit: Kept = Kept(max_bytes=AUDIT_BYTES)
