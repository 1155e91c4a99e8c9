"""Model objects as JSON text and back. A row of an older version decodes with the defaults of today."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import TypeAdapter

from receiver.model import Ack, Alert, Digest, Evidence, Identity, Keys, Reason
from receiver.model.handed import Handed

T = TypeVar("T")

IDENTITY: TypeAdapter[Identity] = TypeAdapter(Identity)
EVIDENCE: TypeAdapter[Evidence] = TypeAdapter(Evidence)
ALERT: TypeAdapter[Alert] = TypeAdapter(Alert)
ACK: TypeAdapter[Ack] = TypeAdapter(Ack)
DIGEST: TypeAdapter[Digest] = TypeAdapter(Digest)
HANDED: TypeAdapter[Handed] = TypeAdapter(Handed)
KEYS: TypeAdapter[Keys] = TypeAdapter(Keys)
REASONS: TypeAdapter[tuple[Reason, ...]] = TypeAdapter(tuple[Reason, ...])


def dump(adapter: TypeAdapter[T], value: T) -> str:
    """Encode as JSON text."""
    return adapter.dump_json(value).decode()


def load(adapter: TypeAdapter[T], text: str) -> T:
    """Decode JSON text."""
    return adapter.validate_json(text)


def load_or_none(adapter: TypeAdapter[T], text: str | None) -> T | None:
    """Decode JSON text, or None for NULL."""
    return None if text is None else adapter.validate_json(text)


def dump_json(value: Any) -> str:
    """Encode plain JSON data, keys sorted so that equal data is equal text."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def moment(seconds: float) -> datetime:
    """Return the UTC time of a stored moment."""
    return datetime.fromtimestamp(seconds, UTC)


def moment_or_none(seconds: float | None) -> datetime | None:
    """Return the UTC time of a stored moment, or None for NULL."""
    return None if seconds is None else moment(seconds)
