"""Asks Alertmanager whether an alert is still there: only so is a late copy of an old body told from a comeback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence

import httpx2
import structlog

from receiver.config.model import AlertmanagerConfig
from receiver.fingerprint import fingerprint
from receiver.http import build_client
from receiver.model import Alert

log = structlog.get_logger(__name__)

ASK_TIMEOUT_S = 1.0
MAX_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer, after decoding; what is longer is not read to its end."""


class UnusableAnswerError(Exception):
    """An answer that says nothing about alerts; the message says why and holds nothing of it."""


class Alertmanagers:
    """The configured Alertmanagers. Answers of peers are united."""

    def __init__(self, configs: Sequence[AlertmanagerConfig]) -> None:
        self._configs = tuple(configs)
        self._clients: Mapping[str, httpx2.AsyncClient] = {
            config.name: build_client(config.http, ASK_TIMEOUT_S) for config in configs
        }

    async def holds(self, source: str, alert: Alert) -> bool | None:
        """Return whether any peer still holds this very alert; None when no peer does and not all could be asked."""
        named = [config for config in self._configs if config.name == source]
        configs = named or (list(self._configs) if len(self._configs) == 1 else [])
        urls = [(config, url) for config in configs for url in (config.url, *config.peers)]
        if not urls:
            return None
        answers = await asyncio.gather(*(self._ask(config, url, alert) for config, url in urls))
        if any(answers):
            return True
        return None if None in answers else False

    async def _ask(self, config: AlertmanagerConfig, url: str, alert: Alert) -> bool | None:
        filters = {"filter": [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in _narrow(alert)]}
        try:
            async with (
                asyncio.timeout(ASK_TIMEOUT_S),
                self._clients[config.name].stream(
                    "GET", f"{url.rstrip('/')}/api/v2/alerts", params=filters
                ) as response,
            ):
                held = json.loads(await _answer(response))
        except Exception as error:  # whatever a peer does, it only means that it cannot be asked
            why = str(error) if isinstance(error, UnusableAnswerError) else type(error).__name__
            log.warning("alertmanager.unreadable", alertmanager=config.name, error=why)
            return None
        if not isinstance(held, list):
            return None
        wanted = alert.fingerprint
        return any(
            isinstance(one, dict) and (one.get("fingerprint") == wanted or _same(one.get("labels"), wanted))
            for one in held
        )

    async def aclose(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()


async def _answer(response: httpx2.Response) -> bytes:
    if response.status_code != 200:
        raise UnusableAnswerError(f"HTTP {response.status_code}")
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER:
            raise UnusableAnswerError(f"the answer is longer than {MAX_ANSWER} bytes")
    return bytes(body)


def _narrow(alert: Alert) -> list[tuple[str, str]]:
    """Labels that narrow the answer down without running into quoting differences between versions."""
    return [(name, alert.labels[name]) for name in ("alertname", "plan") if alert.labels.get(name)]


def _same(labels: object, wanted: str) -> bool:
    return isinstance(labels, dict) and fingerprint({str(k): str(v) for k, v in labels.items()}) == wanted
