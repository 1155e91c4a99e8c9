"""Slack's Web API: one call, and what its answer means.

Slack answers 200 to nearly everything and says in `error` what went wrong. The classes follow the method reference of
chat.postMessage and chat.update; slack_sdk's own client is not used because it repeats a POST by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx2

from receiver.config.model import Secret
from receiver.errors import DestinationRefused, Gone, Refused, Transient, Unknown
from receiver.fitting import one_line
from receiver.http import header_secret, raise_for_transport, retry_after_s

_TOKEN = frozenset(
    [
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "missing_scope",
        "not_allowed_token_type",
        "access_denied",
        "accesslimited",
        "no_permission",
        "org_login_required",
        "two_factor_setup_required",
        "ekm_access_denied",
        "team_not_found",
        "app_access_restricted",
        "unknown_method",
    ]
)
_CHANNEL = frozenset(
    [
        "channel_not_found",
        "not_in_channel",
        "is_archived",
        "is_inactive",
        "restricted_action",
        "messages_tab_disabled",
        "as_user_not_supported",
    ]
)
_GONE = frozenset(
    [
        "message_not_found",
        "edit_window_closed",
        "cant_update_message",
        "thread_not_found",
        "cannot_reply_to_message",
        "invalid_thread_ts",
    ]
)
_LATER = frozenset(
    [
        "ratelimited",
        "rate_limited",
        "message_limit_exceeded",
        "service_unavailable",
        "team_added_to_org",
        "external_channel_migrating",
        "request_timeout",
    ]
)
# The reference says of these that a part may have been done.
_PERHAPS = frozenset({"internal_error", "fatal_error"})


class SlackApi:
    """One workspace's API under one bot token."""

    def __init__(self, http: httpx2.AsyncClient, url: str, token: Secret) -> None:
        self._http = http
        self.url = url.rstrip("/")
        self._token = token

    async def call(self, method: str, args: Mapping[str, Any], *, form: bool = False) -> dict[str, Any]:
        """Call a method and return its answer. Raises DeliveryError.

        `form`: the method takes no JSON (conversations.replies).
        """
        body: dict[str, Any] = {"data": {key: _form(value) for key, value in args.items()}} if form else {"json": args}
        return _checked(method, await self._post(method, body))

    async def scopes(self) -> frozenset[str] | None:
        """Return the scopes that the token has; None where the server does not say. Raises DeliveryError."""
        response = await self._post("auth.test", {"json": {}})
        _checked("auth.test", response)
        told = response.headers.get("X-OAuth-Scopes")
        return None if told is None else frozenset(scope.strip() for scope in told.split(",") if scope.strip())

    async def _post(self, method: str, body: Mapping[str, Any]) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {header_secret(self._token)}"}
        try:
            return await self._http.post(f"{self.url}/{method}", headers=headers, **body)
        except httpx2.HTTPError as error:
            raise_for_transport(error)


def belongs(url: str, api_url: str) -> bool:
    """Is a URL that Slack handed out of Slack's own hosts, such as hooks.slack.com beside slack.com?"""
    try:
        there, ours = urlsplit(url), urlsplit(api_url)
    except ValueError:
        return False
    host, home = there.hostname or "", ours.hostname or ""
    near = host == home or host.endswith(f".{home}")
    return there.scheme == ours.scheme and near and not there.username


def _form(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _checked(method: str, response: httpx2.Response) -> dict[str, Any]:
    status = response.status_code
    if status == 429:
        raise Transient(f"{method}: rate limited", status=status, retry_after_s=retry_after_s(response))
    if status >= 500:
        raise Unknown(f"{method}: HTTP {status}", status=status)
    try:
        answer = response.json()
    except ValueError:
        answer = None
    if isinstance(answer, dict) and answer.get("ok") is True:
        return answer
    if isinstance(answer, dict) and isinstance(answer.get("error"), str):
        _raise(method, answer, response)
    if 200 <= status < 300:
        raise Unknown(f"{method}: the answer is not Slack's (HTTP {status}, no JSON)", status=status)
    if status == 413:
        raise Refused(f"{method}: HTTP 413, too large", status=status)
    raise DestinationRefused(f"{method}: HTTP {status}, not an answer of Slack; check app_url and proxy", status=status)


def _raise(method: str, answer: Mapping[str, Any], response: httpx2.Response) -> NoReturn:
    code, status = one_line(str(answer["error"]), 80), response.status_code
    reason = code
    if code == "missing_scope" and answer.get("needed"):
        reason = f"{method}: missing scope {one_line(str(answer['needed']), 100)}"
    if code in _LATER:
        raise Transient(reason, status=status, retry_after_s=retry_after_s(response))
    if code in _PERHAPS:
        raise Unknown(reason, status=status)
    if code in _GONE:
        raise Gone(reason, status=status)
    # restricted_action_thread_locked is about one thread, the others of its family about the channel.
    if code in _TOKEN | _CHANNEL or (code.startswith("restricted_action") and "thread" not in code):
        raise DestinationRefused(reason, status=status)
    raise Refused(f"{reason}{_details(answer)}", status=status)


def _details(answer: Mapping[str, Any]) -> str:
    told = answer.get("errors") or (answer.get("response_metadata") or {}).get("messages")
    return f": {one_line('; '.join(map(str, told)), 300)}" if isinstance(told, list) and told else ""
