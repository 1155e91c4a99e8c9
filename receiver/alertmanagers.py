"""Asks Alertmanager what it holds, and silences there what people want silenced.

Only Alertmanager knows whether an alert is still there: so a late copy of an old body is told from a comeback.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

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


SILENCE_TIMEOUT_S = 5.0
"""A person waits for the answer."""
MAX_SAID = 200


class UnusableAnswerError(Exception):
    """An answer that says nothing about alerts; the message says why and holds nothing of it."""


class NotSilencedError(Exception):
    """No silence is known to be made; the message says why, in a sentence for the person who wanted it."""


class Alertmanagers:
    """The configured Alertmanagers. Answers of peers are united."""

    def __init__(self, configs: Sequence[AlertmanagerConfig]) -> None:
        self._configs = tuple(configs)
        self._clients: Mapping[str, httpx2.AsyncClient] = {
            config.name: build_client(config.http, ASK_TIMEOUT_S) for config in configs
        }

    def of(self, source: str) -> AlertmanagerConfig | None:
        """Return the Alertmanager that an alert came from: the one of that name, else the only one there is."""
        named = next((config for config in self._configs if config.name == source), None)
        return named or (self._configs[0] if len(self._configs) == 1 else None)

    async def holds(self, source: str, alert: Alert) -> bool | None:
        """Return whether any peer still holds this very alert; None when no peer does and not all could be asked."""
        config = self.of(source)
        if config is None:
            return None
        urls = [(config, url) for url in (config.url, *config.peers)]
        answers = await asyncio.gather(*(self._ask(config, url, alert) for config, url in urls))
        if any(answers):
            return True
        return None if None in answers else False

    async def _ask(self, config: AlertmanagerConfig, url: str, alert: Alert) -> bool | None:
        held = await self._held(config, url, _narrow(alert.labels), ASK_TIMEOUT_S)
        if held is None:
            return None
        wanted = alert.fingerprint
        return any(one.get("fingerprint") == wanted or _same(one.get("labels"), wanted) for one in held)

    async def _held(
        self, config: AlertmanagerConfig, url: str, narrow: Sequence[tuple[str, str]], timeout_s: float
    ) -> list[dict[str, Any]] | None:
        """Return the alerts with these labels that a peer holds; None when it cannot be asked."""
        filters = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in narrow]
        try:
            held, _ = await self.get(config, url, "alerts", timeout_s, filters)
        except Exception as error:  # whatever a peer does, it only means that it cannot be asked
            why = str(error) if isinstance(error, UnusableAnswerError) else type(error).__name__
            log.warning("alertmanager.unreadable", alertmanager=config.name, error=why)
            return None
        return [one for one in held if isinstance(one, dict)] if isinstance(held, list) else None

    async def get(
        self, config: AlertmanagerConfig, url: str, what: str, timeout_s: float, filters: Sequence[str] = ()
    ) -> tuple[Any, httpx2.Headers]:
        """Return what a peer says to `GET /api/v2/…`, and its headers. Raises whatever a peer can do wrong."""
        async with (
            asyncio.timeout(timeout_s),
            self._clients[config.name].stream(
                "GET", f"{url.rstrip('/')}/api/v2/{what}", params={"filter": list(filters)}, timeout=timeout_s
            ) as response,
        ):
            return json.loads(await _answer(response)), response.headers

    async def hit(self, config: AlertmanagerConfig, matchers: Mapping[str, str]) -> dict[str, dict[str, str]]:
        """Return the active alerts that a silence with these matchers would hit: fingerprint to labels.

        Answers of peers are united. Raises NotSilencedError when no peer answers.
        """
        peers = (config.url, *config.peers)
        narrow = _narrow(matchers)
        answers = await asyncio.gather(*(self._held(config, url, narrow, SILENCE_TIMEOUT_S) for url in peers))
        if all(answer is None for answer in answers):
            raise NotSilencedError(f"Alertmanager {config.name} does not answer, so nothing was silenced; try again")
        found: dict[str, dict[str, str]] = {}
        for one in (one for answer in answers for one in answer or ()):
            labels = one.get("labels")
            status = one.get("status")
            active = not isinstance(status, dict) or status.get("state") == "active"
            if active and isinstance(labels, dict) and matchers.items() <= labels.items():
                found[fingerprint(labels)] = labels
        return found

    async def silence(
        self, config: AlertmanagerConfig, matchers: Mapping[str, str], *, now: datetime, until: datetime, by: str,
        comment: str,
    ) -> str:  # fmt: skip
        """Make a silence and return its id. One peer is enough, since they tell each other. Raises NotSilencedError."""
        body = {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True}
                for name, value in sorted(matchers.items())
            ],
            "startsAt": now.isoformat(),
            "endsAt": until.isoformat(),
            "createdBy": by,
            "comment": comment,
        }
        why = ""
        for url in (config.url, *config.peers):
            try:
                async with asyncio.timeout(SILENCE_TIMEOUT_S):
                    response = await self._clients[config.name].post(
                        f"{url.rstrip('/')}/api/v2/silences", json=body, timeout=SILENCE_TIMEOUT_S
                    )
            except (httpx2.HTTPError, TimeoutError) as error:
                why = f"does not answer ({type(error).__name__})"
                continue
            made = _silence_id(response)
            if made:
                return made
            why = f"refuses the silence (HTTP {response.status_code}: {response.text[:MAX_SAID]})"
            if response.status_code < 500:
                break
        log.warning("alertmanager.not_silenced", alertmanager=config.name, error=why)
        raise NotSilencedError(f"Alertmanager {config.name} {why}")

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


def _silence_id(response: httpx2.Response) -> str:
    try:
        answer = response.json() if response.status_code == 200 else None
    except ValueError:
        return ""
    return str(answer.get("silenceID") or "") if isinstance(answer, dict) else ""


def _narrow(labels: Mapping[str, str]) -> list[tuple[str, str]]:
    """Labels that narrow the answer down without running into quoting differences between versions."""
    return [(name, labels[name]) for name in ("alertname", "plan") if labels.get(name)]


def _same(labels: object, wanted: str) -> bool:
    return isinstance(labels, dict) and fingerprint({str(k): str(v) for k, v in labels.items()}) == wanted
