"""Whether a Plan finds room where it goes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """What was computed of a Plan's target, and of other clusters. Made to inform: nothing follows from it."""

    cluster: str
    verdict: str
    """fits, at_risk, short or unknown."""
    text: str
    """One sentence, such as "Short: pay-db-01 needs 32.37 GiB memory on one node, …"."""
    others: tuple[str, ...] = ()
    """Of other clusters, a clause each, the best first: "south fits, which leaves 50.6 % of memory free"."""
    fitting: tuple[str, ...] = ()
    """Those of `others` into which the Plan fits."""
    story: str = ""
    """Id of the open story that tells of the shortage; empty where there is none."""
