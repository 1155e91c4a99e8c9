"""What one VM asks of the target, and what could be read of it at its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from receiver.capacity.placement import Placement
from receiver.capacity.vector import Vector

COMPUTE: Final = "compute"
"""Name of the container in which the guest runs."""


class Origin(StrEnum):
    """Where the numbers of a need come from, the most trustworthy first."""

    SOURCE_POD = "source pod"
    VMI = "formula from the VMI"
    VM = "formula from the VM, estimated"
    INVENTORY = "estimated from the inventory"
    NONE = "not known"


@dataclass(frozen=True, slots=True)
class Container:
    """Requests and limits of one container of the receiver pod: LimitRanges and limit quotas look at these."""

    name: str
    requests: Vector
    limits: Vector


@dataclass(frozen=True, slots=True)
class VmNeed:
    """What one VM asks of the target. `requests` counts its pod whole, one of `pods` included; None if not known.

    `vcpus` and `guest_memory` (bytes) are what the guest sees. `disks` are elsewhere, by the VM's name.
    `why` says what is missing if `requests` is None.
    """

    name: str
    namespace: str = ""
    requests: Vector | None = None
    origin: Origin = Origin.NONE
    placement: Placement = Placement()  # noqa: RUF009 - immutable
    containers: tuple[Container, ...] = ()
    vcpus: int = 0
    guest_memory: int = 0
    priority_class: str = ""
    notes: tuple[str, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class SourceVm:
    """What could be read of one VM at its source. Everything but the name may be missing.

    `pods` are its virt-launcher pods in any phase; `instancetype` is the object that the VM names; `node` is where it
    runs now. `live` tells that the plan migrates it while it runs.
    """

    name: str
    namespace: str = ""
    pods: tuple[Mapping[str, Any], ...] = ()
    vmi: Mapping[str, Any] | None = None
    vm: Mapping[str, Any] | None = None
    instancetype: Mapping[str, Any] | None = None
    node: Mapping[str, Any] | None = None
    live: bool = True
