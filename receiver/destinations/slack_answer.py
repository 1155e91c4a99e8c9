"""An answer that only the person sees who pressed a button."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2
import structlog

from receiver.destinations.slack_api import SlackApi, belongs
from receiver.destinations.slack_blocks import MAX_TEXT, cut_escaped, escape
from receiver.destinations.slack_buttons import Action, Press

log = structlog.get_logger(__name__)


async def answer(
    api: SlackApi, http: httpx2.AsyncClient, press: Press, text: str, blocks: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Tell the person, through the address that came with the press, else by name. Raises DeliveryError.

    A chosen receiver takes the place of the question.
    """
    said: dict[str, Any] = {"text": cut_escaped(escape(text), MAX_TEXT)}
    if blocks:
        said["blocks"] = list(blocks)
    if belongs(press.response_url, api.url) and _port(press.response_url) == _port(api.url):
        asked = {"response_type": "ephemeral", "replace_original": press.action is Action.GIVE}
        try:
            response = await http.post(press.response_url, json={**asked, **said})
            if response.status_code == 200:
                return
            why = f"HTTP {response.status_code}"
        except httpx2.HTTPError as error:
            why = type(error).__name__
        log.info("slack.response_url_failed", error=why)  # its host may be behind the firewall
    where = {
        "channel": press.channel,
        "user": press.user,
        **({"thread_ts": press.thread_ts} if press.thread_ts else {}),
    }
    await api.call("chat.postEphemeral", {**where, **said})


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return -1
