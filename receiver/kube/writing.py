"""Says something in a cluster: an Event about a namespace, for those who look there and not at our pages.

The one thing that is ever written into a cluster, and only with `namespace_routing`.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from receiver.kube import ClusterError
from receiver.kube.connection import Connection, as_status, from_status
from receiver.kube.kinds import KINDS, is_name
from receiver.kube.posting import patiently, post
from receiver.limits import truncate_bytes

COMPONENT = "mtv-receiver"
MESSAGE_MAX = 1_024  # bytes, and so never more characters: what Kubernetes takes of an Event's note
NAME_MAX = 253

_REASON = re.compile(r"[A-Z][A-Za-z]{0,127}")
_EVENT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")

EVENT = KINDS["Event"]


async def tell(
    cluster: str,
    connection: Connection,
    namespace: str,
    name: str,
    reason: str,
    message: str,
    *,
    at: datetime,
    timeout_s: float,
) -> bool:
    """Make an Event about a namespace in it; False where there is one of that name. See `receiver.kube.Tells`."""
    if len(name) > NAME_MAX or _EVENT_NAME.fullmatch(name) is None:
        raise ValueError(f"not a name of an Event: {name!r}")
    if _REASON.fullmatch(reason) is None:
        raise ValueError(f"not a reason of an Event: {reason!r}")
    if not is_name(namespace):
        raise ClusterError("not found", f"cluster {cluster}: {namespace[:NAME_MAX]!r} is no namespace")
    body = _event(namespace, name, reason, message, at)

    async def ask() -> bool:
        answer = await post(cluster, connection, EVENT.path(namespace), body)
        code = answer.status_code
        if code in (200, 201):
            return True
        if code == 409:
            return False  # another replica, or an earlier time, was first
        if code == 403 and _is_ending(answer.content):
            raise ClusterError("not found", f"cluster {cluster}: namespace {namespace} is being deleted")
        needs = f"create events in namespace {namespace}"
        raise from_status(cluster, code, answer.content, needs, f"namespace {namespace} for an Event")

    return await patiently(cluster, connection, timeout_s, ask)


def _event(namespace: str, name: str, reason: str, message: str, at: datetime) -> dict[str, Any]:
    when = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = " ".join(message.replace("\0", "\ufffd").split())
    return {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"name": name, "namespace": namespace},
        # A Namespace has no namespace, but an Event must be in that of its object, or in "default".
        "involvedObject": {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "namespace": namespace},
        "type": "Warning",
        "reason": reason,
        "message": truncate_bytes(text, MESSAGE_MAX),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": when,
        "lastTimestamp": when,
        "count": 1,
    }


def _is_ending(body: bytes) -> bool:
    """Tell whether a namespace takes nothing new because it is being deleted, which is answered as a missing right."""
    details = as_status(body).get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    return any(
        isinstance(one, dict) and one.get("reason") == "NamespaceTerminating"
        for one in (causes if isinstance(causes, list) else ())
    )
