"""Small things that evidence is made of: a link or command, and what Kubernetes reported about an object."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Link:
    """A link that is known to exist: never an invented one."""

    text: str
    url: str


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """A Kubernetes event; equal ones are one, with their number."""

    reason: str
    message: str
    kind: str
    name: str
    count: int = 1
    last: datetime | None = None
    warning: bool = False
    namespace: str = ""
