"""A storm at one destination, told as one: what it consists of and how it stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from receiver.model.evidence import Impact


@dataclass(frozen=True, slots=True)
class DigestRow:
    """One story of a digest."""

    story: str
    name: str
    namespace: str
    state: str
    """What became of it: firing, re-running, fixed, canceled, deleted, cleared, merged."""
    impact: Impact = Impact.UNKNOWN
    failed: int = 0
    total: int = 0
    down: int = 0
    """VMs that are down because of it."""
    cause: str = ""
    """Id of its known cause; empty where none was recognised."""
    step: str = ""
    plan: bool = True
    vm: str = ""
    """Name of a failed VM, one that is down first."""
    line: str = ""
    """Without a cause: what its log or plan says."""
    read: bool = False
    """Its evidence is there."""

    @property
    def open(self) -> bool:
        return self.state in ("firing", "re-running")


@dataclass(frozen=True, slots=True)
class DigestCause:
    """A known cause within a digest, with what can be done."""

    id: str
    sentence: str
    owner: str
    remedy: tuple[str, ...]
    link: str
    vms: int = 0
    plans: int = 0
    down: int = 0


@dataclass(frozen=True, slots=True)
class DigestPlace:
    """A namespace within a digest."""

    name: str
    plans: int
    failed: int
    down: int


@dataclass(frozen=True, slots=True)
class Digest:
    """The sum of a digest's stories. Numbers of VMs are of the present or last run of each plan."""

    topic: str = ""
    """The cause that this digest is about; empty where it takes all."""
    plans: int = 0
    open: int = 0
    """Stories that go on."""
    rerunning: int = 0
    fixed: int = 0
    unread: int = 0
    """Open stories whose evidence is not there yet."""
    at_risk: int = 0
    """Open stories in which nothing is down for sure, but may be."""
    failed: int = 0
    total: int = 0
    done: int = 0
    running: int = 0
    waiting: int = 0
    canceled: int = 0
    down: int = 0
    clusters: tuple[str, ...] = ()
    causes: tuple[DigestCause, ...] = ()
    """Of open stories; the one that takes most down first."""
    unrecognised: int = 0
    """VMs (or stories without any) whose failure is not recognised."""
    places: tuple[DigestPlace, ...] = ()
    """Namespaces with open stories; the one with most down first."""
    rows: tuple[DigestRow, ...] = ()
    """The first of its stories: down first, then open ones, then the rest."""
    severe: bool = False
    """One of its open stories is critical."""
    since: datetime | None = None
    storm: bool = True
    """New failures join it."""
    told_down: int = 0
    """How many were down when people were last noticeably told."""
    told_causes: tuple[str, ...] = field(default=())
    """Causes that people were told of."""
