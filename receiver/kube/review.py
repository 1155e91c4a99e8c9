"""Asks an API server who may do what.

Reviews change nothing, but they are POSTs, so they stand apart from the code that reads. A SelfSubjectAccessReview
(which of our own rights are missing) needs no right, and is made by `check --online` and for who looks at the status
page. A SubjectAccessReview (what somebody else may) needs one, and is made by the service only with `web.visibility`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx2

from receiver.config.model import HttpConfig
from receiver.http import DIRECT
from receiver.kube import ClusterError
from receiver.kube.connection import Connection, from_status, kubeconfig, service_account
from receiver.kube.posting import patiently, post
from receiver.kube.rights import RIGHTS, Right

API = "/apis/authorization.k8s.io/v1"
CONNECT_S = 3.0


async def missing_rights(
    cluster: str,
    kubeconfig_file: Path | None,
    *,
    timeout_s: float = 20.0,
    rights: Iterable[Right] = RIGHTS,
    http: HttpConfig = DIRECT,
) -> tuple[Right, ...]:
    """Return the rights that the credentials lack in all namespaces, in the order of the table.

    Without `kubeconfig_file` the pod's service account is asked about. `timeout_s` is for all questions together.
    Raises ClusterError. A right that is granted in some namespaces only counts as missing: Plans may be anywhere.
    """
    source = kubeconfig(kubeconfig_file) if kubeconfig_file else service_account()
    times = httpx2.Timeout(timeout_s, connect=CONNECT_S)
    connection = Connection(cluster, source, timeout=times, trust_env=False, http=http)
    try:
        async with asyncio.timeout(timeout_s):
            # One after the other: nobody hurries, and the server has better things to do.
            return tuple([right for right in rights if not await _allowed(cluster, connection, right)])
    except TimeoutError:
        raise ClusterError("timeout", f"cluster {cluster} did not say within {timeout_s:g} s") from None
    finally:
        await connection.aclose()


async def subject_access_review(  # every argument is one part of the question
    cluster: str,
    connection: Connection,
    user: str,
    groups: Iterable[str],
    *,
    verb: str,
    group: str,
    resource: str,
    namespace: str,
    timeout_s: float,
) -> bool:
    """Tell whether a cluster lets a user of these groups do this in a namespace. Raises ClusterError."""
    attributes = {"verb": verb, "group": group, "resource": resource, "namespace": namespace}
    spec = {"user": user, "groups": sorted(groups), "resourceAttributes": attributes}
    return await patiently(
        cluster, connection, timeout_s, lambda: _ask(cluster, connection, "SubjectAccessReview", spec)
    )


async def _allowed(cluster: str, connection: Connection, right: Right) -> bool:
    resource, _, sub = right.resource.partition("/")
    attributes = {"verb": right.verb, "group": right.group, "resource": resource, "subresource": sub}
    return await _ask(cluster, connection, "SelfSubjectAccessReview", {"resourceAttributes": attributes})


async def _ask(cluster: str, connection: Connection, kind: str, spec: Mapping[str, Any]) -> bool:
    plural = f"{kind.lower()}s"
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": dict(spec)}
    what = "answer about rights"
    response = await post(cluster, connection, f"{API}/{plural}", review)
    if response.status_code not in (200, 201):
        needs = f"create {plural}.authorization.k8s.io"
        raise from_status(cluster, response.status_code, response.content, needs, what)
    status = _status(response.content)
    allowed, denied = status.get("allowed"), status.get("denied", False)
    if not isinstance(allowed, bool):
        raise ClusterError("bad answer", f"cluster {cluster} gave no {what}")
    return allowed and denied is False


def _status(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    status = answer.get("status") if isinstance(answer, dict) else None
    return status if isinstance(status, dict) else {}
