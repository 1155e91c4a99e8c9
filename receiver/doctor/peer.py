"""One HTTP peer that is asked a few questions: Prometheus or Alertmanager."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx2

from receiver.config.model import HttpConfig
from receiver.errors import DeliveryError
from receiver.http import build_client, raise_for_transport

ANSWER_S: Final = 10.0
MAX_ANSWER: Final = 32 * 1024 * 1024
"""Bytes: all targets of a large cluster are some megabytes."""
REACH: Final = "check its address, the proxy and the firewall between"
_CURES: Final = {
    401: "give it credentials: http_config.authorization.credentials_file",
    403: "let the account read it, such as by the ClusterRole cluster-monitoring-view",
}


class NotToldError(Exception):
    """A peer did not give what was asked; the message holds nothing of what it sent."""

    def __init__(self, why: str, cure: str = REACH, status: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.cure = cure
        self.status = status


class Peer:
    """Asks one address; see `asking`."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self.url = url.rstrip("/")
        self._client = client

    async def text(self, path: str, params: Mapping[str, str] | None = None) -> str:
        """Return an answer. Raises NotToldError."""
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                self._client.stream("GET", self.url + path, params=dict(params or {})) as response,
            ):
                if response.status_code != 200:
                    cure = _CURES.get(response.status_code, "correct its url or http_config")
                    raise NotToldError(f"HTTP {response.status_code}", cure, response.status_code)
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER:
                        raise NotToldError(f"the answer is longer than {MAX_ANSWER} bytes", "ask somebody smaller")
        except TimeoutError:
            raise NotToldError(f"no answer within {ANSWER_S:g} s") from None
        except httpx2.InvalidURL:
            raise NotToldError("its address is no URL", "correct its url") from None
        except httpx2.HTTPError as error:
            raise NotToldError(_why(error)) from None
        except DeliveryError as error:  # a secret or a certificate
            what, _, cure = error.reason.partition("; ")
            raise NotToldError(what, cure) from None
        return body.decode("utf-8", errors="replace")

    async def json(self, path: str, params: Mapping[str, str] | None = None) -> Any:
        """Return an answer that is JSON. Raises NotToldError."""
        try:
            return json.loads(await self.text(path, params))
        except (ValueError, RecursionError):
            raise NotToldError("the answer is not JSON", "correct its url") from None


def _why(error: httpx2.HTTPError) -> str:
    try:
        raise_for_transport(error)
    except DeliveryError as said:
        return said.reason


@asynccontextmanager
async def asking(url: str, http: HttpConfig) -> AsyncIterator[Peer]:
    """Give somebody to ask until the end of the block."""
    client = build_client(http, ANSWER_S)
    try:
        yield Peer(url, client)
    finally:
        await client.aclose()
