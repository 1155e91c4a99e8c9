"""The nouns of a wait: its kind, who can end it, what lacks, and the block itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from receiver.model import ObjectEvent

GIB, MIB = 1 << 30, 1 << 20


class Kind(StrEnum):
    """What a VM waits for. The words are stable: routes and stored stories hold them.

    Those that the table of known causes has, too, are its ids: the same trouble has one name before and after it fails.
    """

    UNSCHEDULABLE = "live-unschedulable"
    VOLUME_UNBOUND = "volume-unbound"
    """The receiver pod waits for a volume of a class that binds at once."""
    VOLUME_NO_FIT = "volume-no-fit"
    """No node can get the volume that is bound when its pod is placed."""
    STORAGE_FULL = "storage-full"
    PROVISIONING_FAILED = "provisioning-failed"
    PROVISIONER_WAITS = "provisioner-waits"
    """The provisioner is absent or slow."""
    DATA_VOLUME_WAITS = "data-volume-waits"
    QUOTA_POD = "live-quota"
    QUOTA_CLAIM = "quota"
    QUOTA_GATE = "live-quota-gate"
    SCHEDULING_GATE = "live-scheduling-gate"
    SCHEDULER_ERROR = "live-scheduler-error"
    POD_SECURITY = "live-pod-security"
    POD_REFUSED = "live-pod-refused"
    IMAGE_PULL = "image-pull"
    NO_SYNC = "live-no-sync"
    """Source and target do not reach each other. Not a matter of capacity."""
    NAME_TAKEN = "vm-name-taken"
    IN_FLIGHT = "in-flight-limit"
    """Waits for its turn: information, no trouble."""


class Owner(StrEnum):
    """Who can cure it."""

    QUOTA = "quota"
    STORAGE = "storage class"
    NODES = "nodes"
    NETWORK = "network"
    SECURITY = "security"
    IMAGES = "images"
    PLAN = "plan"
    MIGRATION = "migration platform"


@dataclass(frozen=True, slots=True)
class Shortage:
    """What lacks of one resource, in whole units; None is "not known"."""

    resource: str
    """As the API writes it, such as memory or requests.memory."""
    unit: Literal["m", "B", ""]
    """Thousandths of a CPU, bytes, or pieces."""
    need: int | None = None
    used: int | None = None
    limit: int | None = None
    free: int | None = None
    short: int | None = None
    nodes: int | None = None
    """How many nodes lack it. One node may lack several resources: these numbers are never added or subtracted."""

    @property
    def words(self) -> str:
        """Such as "requests.memory: needs 16.34 GiB, free 12.00 of 64 GiB, short by 4.34 GiB"."""
        said = []
        if self.need is not None:
            said.append(f"needs {amount(self.need, self.unit)}")
        if self.free is not None and self.limit is not None:
            said.append(_free_of(self.free, self.limit, self.unit))
        if self.short is not None and self.short > 0:
            said.append(f"short by {amount(self.short, self.unit)}")
        return f"{self.resource}: {', '.join(said)}" if said else self.resource


@dataclass(frozen=True, slots=True)
class Block:
    """One VM that waits, and why."""

    vm: str
    vm_id: str
    """Empty where the Plan does not know the VM."""
    kind: Kind
    phase: str
    """The VM's phase of the Plan's itinerary, such as WaitForTargetVMI."""
    cause: str
    """One sentence that is certain: what is seen, not what is supposed."""
    owner: Owner
    since: datetime | None = None
    ends_by_itself: bool = False
    """True: KubeVirt gives up and the VM's migration fails. False: nothing has a limit here."""
    deadline: datetime | None = None
    """When that is; None: not by itself, or the pod's age is not known."""
    ends_after_s: int | None = None
    """The limit in seconds, counted from the pod's creation."""
    evidence: tuple[ObjectEvent, ...] = ()
    shortages: tuple[Shortage, ...] = ()
    blocks: tuple[str, ...] = ()
    """What this wait keeps from others, a clause each, such as "keeps 1 of 20 migration slots of provider x busy"."""
    scope: str = ""
    """The quota (namespace/name) or storage class that is meant."""
    code: str = ""
    """The word by which the source of the evidence names it, such as ResourceExhausted."""
    nodes_total: int | None = None
    also: tuple[Kind, ...] = ()
    """What else this VM waits for."""

    @property
    def information(self) -> bool:
        """True: nothing is wrong, and nobody needs to be told."""
        return self.kind is Kind.IN_FLIGHT


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the table that a VM's objects match; the fields are those of `Block`."""

    kind: Kind
    cause: str
    owner: Owner
    since: datetime | None = None
    ends: bool = False
    deadline: datetime | None = None
    after_s: int | None = None
    evidence: tuple[ObjectEvent, ...] = ()
    shortages: tuple[Shortage, ...] = field(default=())
    scope: str = ""
    code: str = ""
    nodes_total: int | None = None


def amount(value: int, unit: str) -> str:
    """Return an amount for people: "16.34 GiB", "512 MiB", "1.415 CPUs", "7"."""
    if unit == "B":
        if abs(value) >= GIB:
            return f"{_digits(value, GIB)} GiB"
        return f"{_digits(value, MIB)} MiB" if abs(value) >= MIB else f"{value:,} B"
    if unit == "m":
        cpus = f"{value // 1_000}" if value % 1_000 == 0 else f"{value / 1_000:.3f}".rstrip("0")
        return f"{cpus} CPU" if value == 1_000 else f"{cpus} CPUs"
    return f"{value:,}"


def _digits(value: int, unit: int) -> str:
    return f"{value // unit:,}" if value % unit == 0 else f"{value / unit:,.2f}"


def _free_of(free: int, limit: int, unit: str) -> str:
    if unit == "B" and min(free, limit) >= GIB:
        return f"free {free / GIB:,.2f} of {_digits(limit, GIB)} GiB"
    return f"free {amount(free, unit)} of {amount(limit, unit)}"
