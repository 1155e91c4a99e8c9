"""Names for things that we make: sortable by time, short enough to say on the phone."""

from __future__ import annotations

import hashlib
import uuid

from receiver.model import Keys

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
MAX_DEDUP_KEY = 255  # PagerDuty Events v2 "dedup_key"


def ulid(now_s: float, random: int) -> str:
    """Return 26 characters: 48 bits of milliseconds, then the lowest 80 bits of `random`."""
    value = (int(now_s * 1000) << 80) | (random & ((1 << 80) - 1))
    digits = []
    for _ in range(26):
        digits.append(_CROCKFORD[value & 31])
        value >>= 5
    return "".join(reversed(digits))


def short_hash(text: str) -> str:
    """Return 32 characters that differ where texts do."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def keys(story: str, subject: str, destination: str) -> Keys:
    """Return the lasting keys of one story at one destination; the story's id makes each story's keys its own.

    A reopened story keeps them; a new story of the same subject gets new ones. An empty `subject` stays inside.
    """
    digest = hashlib.sha256(f"{story}\n{destination}".encode()).hexdigest()
    dedup_key = f"mtvr1/{subject}/{story}"
    if not subject or len(dedup_key) > MAX_DEDUP_KEY or not dedup_key.isprintable():
        dedup_key = f"mtvr1/{digest}"
    return Keys(dedup_key=dedup_key, label=f"mtvr-{digest[:32]}", client_id=str(uuid.UUID(digest[:32])))
