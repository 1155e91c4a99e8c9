"""`storage:` of routes.yaml as it is written."""

from __future__ import annotations

from typing import Final

from pydantic import Field

from receiver.config.durations import Duration, Size
from receiver.config.settings import Settings
from receiver.config.storage import Storage

_STORAGE: Final = Storage()


class KeptWire(Settings):
    """How long and how much of one thing is kept."""

    retention: Duration | None = Field(default=None, ge=86_400)
    """As long as closed stories where it is not given."""
    max_bytes: Size | None = Field(default=None, ge=1024**2)


class StorageWire(Settings):
    """How long and how much is kept."""

    retention: Duration = Field(default=_STORAGE.retention_s, ge=86_400)
    """Closed stories, and what people pressed."""
    max_bytes: Size = Field(default=_STORAGE.max_bytes, ge=16 * 1024**2)
    """Of the whole database: beyond it evidence of the oldest closed stories goes, then they themselves."""
    evidence: KeptWire = KeptWire()
    """Evidence of closed stories."""
    audit: KeptWire = KeptWire(max_bytes=_STORAGE.audit.max_bytes)
