"""What a VM under way waits for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from receiver.model.shown import Link, ObjectEvent


@dataclass(frozen=True, slots=True)
class Wait:
    """One VM that waits, and why. Empty strings and None are "not known"; every text is redacted."""

    vm: str
    cause: str
    """Id of the known cause, such as live-quota."""
    sentence: str
    """What is seen, not what is supposed."""
    since: datetime | None = None
    ends_at: datetime | None = None
    """When KubeVirt gives up, and the VM's migration fails."""
    ends_by_itself: bool = False
    """False: nothing has a limit here, it waits until somebody cures it."""
    owner: str = ""
    """Who can cure it, as people say it."""
    lacks: tuple[str, ...] = ()
    """Such as "requests.memory: needs 16.34 GiB, free 12.00 of 64 GiB, short by 4.34 GiB"."""
    keeps: tuple[str, ...] = ()
    """What it keeps from others, a clause each, such as "keeps 1 of 20 migration slots of provider x busy"."""
    evidence: tuple[ObjectEvent, ...] = ()
    phase: str = ""
    """The VM's phase of the plan's itinerary, such as WaitForTargetVMI."""
    vm_id: str = ""
    cluster: str = ""
    """Name of the cluster that it waits in: the target's."""
    cures: tuple[Link, ...] = ()
    """What ends it well, one of them is enough: `text` says what, `url` is a command or empty."""
