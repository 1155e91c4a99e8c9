"""Reading of a cluster where every refusal is an answer too: `Unread`, with the right that would help."""

from __future__ import annotations

from receiver.capacity import Unread
from receiver.kube import Cluster, ClusterError, Obj
from receiver.kube.kinds import kind_of, where
from receiver.kube.mustgather import MustGather

NOT_GATHERED = "not in the must-gather"


def unread(what: str, error: ClusterError, right: str) -> Unread:
    """Return what stands for objects that a cluster did not give."""
    match error.reason:
        case "forbidden":
            return Unread(what, "forbidden", right)
        case "timeout":
            return Unread(what, "timed out")
        case _:
            return Unread(what, error.message)


async def objects(
    cluster: Cluster,
    kind: str,
    namespace: str | None = None,
    *,
    label_selector: str = "",
    limit: int = 500,
    optional: bool = False,
) -> tuple[Obj, ...] | Unread:
    """Return all objects of a kind. `optional` kinds are not served everywhere: then there are none."""
    entry = kind_of(kind)
    try:
        if isinstance(cluster, MustGather) and not await cluster.holds(kind, namespace):
            return Unread(entry.resource, NOT_GATHERED)
        return await cluster.list(kind, namespace, label_selector=label_selector, limit=limit)
    except ClusterError as error:
        if optional and error.reason == "not found":
            return ()
        return unread(entry.resource, error, f"list {entry.resource}{where(entry, namespace)}")


async def one(cluster: Cluster, kind: str, namespace: str | None, name: str) -> Obj | Unread | None:
    """Return one object, None if there is none."""
    entry = kind_of(kind)
    try:
        found = await cluster.get(kind, namespace, name)
        if found is None and isinstance(cluster, MustGather):
            return Unread(f"{entry.resource} {name}", NOT_GATHERED)
        return found
    except ClusterError as error:
        if error.reason == "not found":  # the kind is not served
            return None
        return unread(f"{entry.resource} {name}", error, f"get {entry.resource}{where(entry, namespace)}")
