"""The few requests of ours that are no GET: bounded in time, and made once more with credentials that were renewed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx2
from lightkube.core.exceptions import ConfigError

from receiver.kube import ClusterError
from receiver.kube.connection import Connection, from_http_error

T = TypeVar("T")


async def post(cluster: str, connection: Connection, path: str, body: Mapping[str, Any]) -> httpx2.Response:
    """Return the answer, whatever it says. Raises ClusterError where there is none."""
    try:
        async with connection.client() as client:
            return await client.post(path, json=dict(body))
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise from_http_error(cluster, error) from None
    except (ConfigError, OSError, ValueError, LookupError) as error:
        text = f"cluster {cluster}: the credentials cannot be read ({type(error).__name__})"
        raise ClusterError("unauthorized", text) from None


async def patiently(cluster: str, connection: Connection, timeout_s: float, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask, and once more where the files behind a refused call have changed; `timeout_s` is for both together."""
    try:
        async with asyncio.timeout(timeout_s):
            try:
                return await ask()
            except ClusterError as error:
                if error.reason not in {"unauthorized", "unreachable"} or not await connection.renew():
                    raise
            return await ask()
    except TimeoutError:
        raise ClusterError("timeout", f"cluster {cluster} did not say within {timeout_s:g} s") from None
