"""What an incident says of a storm: one for all of its failures."""

from __future__ import annotations

from typing import Any

from receiver.model import Digest
from receiver.rendering import words

MAX_LISTED = 25
_STATES = {"firing": "failed", "cleared": "alert gone"}


def severity(digest: Digest) -> str:
    """Return the severity that the worst of its failures deserves."""
    if digest.down or (digest.severe and digest.unread):
        return "critical"
    return "error" if digest.unread or digest.at_risk else "warning"


def details(digest: Digest, content: str) -> dict[str, Any]:
    """Return custom_details of a digest; `minimal` has numbers only."""
    numbers = (
        (digest.running, "running"), (digest.waiting, "waiting"), (digest.done, "done"), (digest.canceled, "canceled")
    )  # fmt: skip
    rest = ", ".join(f"{number:,} {word}" for number, word in numbers if number)
    said = [
        f"{words.of(digest.open, digest.plans, 'plan')} not fixed yet",
        f"{words.of(digest.failed, digest.total)} failed" if digest.total else "",
        f"{digest.down:,} down" if digest.down else "",
        rest,
        f"nothing read yet of {digest.unread:,}" if digest.unread else "",
    ]
    found: dict[str, Any] = {"1_now": "; ".join(filter(None, said))}
    if content == "minimal":
        return found
    first = next((one for one in digest.causes if one.remedy), None)
    if first is not None:
        found["2_do_first"] = f"{first.owner}: {first.remedy[0]}".removeprefix(": ")
    found["3_causes"] = [
        f"{words.count(one.vms, 'VM')} in {words.count(one.plans, 'plan')}: {one.id}: {one.sentence}"
        + (f" Owner: {one.owner}." if one.owner else "")
        for one in digest.causes
    ]
    if digest.unrecognised:
        found["3_not_recognised"] = words.count(digest.unrecognised, "VM")
    found["4_down_by_namespace"] = {one.name or "unknown": one.down for one in digest.places if one.down}
    found["5_members"] = [
        f"{row.namespace or 'namespace unknown'}/{row.name}: "
        + (
            f"{words.of(row.failed, row.total)} failed"
            if row.open and row.failed
            else _STATES.get(row.state, row.state)
        )
        + (f", {row.down:,} down" if row.down else "")
        for row in digest.rows[:MAX_LISTED]
    ]
    if digest.plans > MAX_LISTED:
        found["5_members"].append(f"and {digest.plans - MAX_LISTED:,} more")
    return found
