"""What was read of a run's logs stays with its evidence when the pods are gone: nobody can read it again."""

from __future__ import annotations

from dataclasses import replace

from receiver.model import Evidence


def carry(before: Evidence | None, now: Evidence) -> Evidence:
    """Return the new evidence with the earlier logs of the same run for failed VMs of which there is none now.

    The cause that was recognised in them stays with them, unless another one is recognised now. What was found of the
    room stays where nobody looked again.
    """
    if before is None or not before.run or before.run != now.run:
        return now
    now = replace(now, room=now.room or before.room)
    failed = {name for one in now.failures for name in (one.name, one.id) if name}
    # What was read before the failure gives way to what was read after it.
    read = {one.vm for one in now.logs if one.seen_at is None}
    kept = tuple(one for one in before.logs if one.vm in failed and one.vm not in read)
    if not kept:
        return now
    whose = {one.vm for one in kept}
    told = {f"logs of {vm}" for vm in whose}
    logs = tuple(one for one in now.logs if one.seen_at is None or one.vm not in whose)
    now = replace(now, logs=(*logs, *kept), missing=tuple(one for one in now.missing if one.what not in told))
    if now.cause is not None:
        return now
    if before.cause is not None:
        return replace(now, cause=before.cause, unrecognised="", signature="")
    return replace(now, unrecognised=before.unrecognised, signature=before.signature) if before.unrecognised else now
