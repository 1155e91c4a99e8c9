"""Slack: one message per story, edited in place, its thread for what people should notice.

With a bot token (`app_token_file`). An incoming webhook (`api_url_file`) can neither edit nor reply: see
`slack_webhook`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

import httpx2
from pydantic import model_validator

from receiver.config.model import DestinationConfig, Secret
from receiver.config.settings import Settings, Url
from receiver.destinations import InStorm, Manner, Sender, Step
from receiver.destinations.slack_answer import answer
from receiver.destinations.slack_api import SlackApi
from receiver.destinations.slack_blocks import content
from receiver.destinations.slack_buttons import Press, buttons
from receiver.destinations.slack_directory import Directory
from receiver.destinations.slack_files import found_in, next_file, upload
from receiver.destinations.slack_mention import called, markup
from receiver.destinations.slack_webhook import SlackWebhookSender
from receiver.errors import DeliveryError, DestinationRefused, Gone, Refused
from receiver.fitting import payload_hash
from receiver.model import CALL_EVERY_S, Change, Entry, Receipt, Story, Wanted
from receiver.rendering import Renderer

EVENT_TYPE = "mtv_receiver_story"
ENTRY_CHANGES = frozenset(
    {
        Change.EVIDENCE,
        Change.RERUN,
        Change.WORSE,
        Change.FAILED_AGAIN,
        Change.REOPENED,
        Change.RESOLVED,
        Change.ACKNOWLEDGED,
        Change.MOVED,
        Change.SILENCED,
        Change.REMINDED,
        Change.AWAY,
    }
)
BROADCAST = frozenset({Change.WORSE, Change.FAILED_AGAIN, Change.REOPENED, Change.REMINDED, Change.AWAY})
CALLS = BROADCAST - {Change.AWAY}
POST = "chat:write"
"""The scope without which nothing works."""
CLOCK_SKEW_S = 7_200.0
"""The database may have been an hour ahead of Slack when a story was opened; what is looked for stands after it."""
PAGE = 200
MAX_PAGES = 10
"""A lost message was sent minutes ago: 2,000 newer ones in its channel are more than enough to look through."""

_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{8,}")


class SlackSettings(Settings):
    """`slack_configs`: a channel and the bot token of an app, or an incoming webhook."""

    secrets = ("app_token", "api_url", "socket_token")
    without: ClassVar[Mapping[str, str]] = {"socket_token": "buttons do nothing; messages go out all the same"}

    channel: str = ""
    """Channel to post to: its id (C0123456789, best) or #name."""
    app_token: Secret | None = None
    """Bot token of the app (xoxb-…)."""
    socket_token: Secret | None = None
    """App-level token (xapp-…, scope connections:write): buttons work through a connection that we open."""
    mention: str = ""
    """Who is called by a failure and when it gets worse: @group, @here, or the id of a user or user group."""
    app_url: Url = "https://slack.com/api/"
    """Where Slack's Web API is."""
    api_url: Secret | None = None
    """URL of an incoming webhook, instead of an app: each notice is a new message, none is edited."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.app_token is None) == (self.api_url is None):
            raise ValueError("needs a bot token or an incoming webhook; give either app_token_file or api_url_file")
        if self.app_token is not None and not self.channel.strip():
            raise ValueError("no channel to post to; write channel: '#name' or the channel's id")
        if self.api_url is not None and (self.socket_token or self.mention):
            key = "socket_token_file" if self.socket_token else "mention"
            raise ValueError(f"{key} needs an app; give app_token_file instead of api_url_file, or remove it")
        if self.mention and not markup(self.mention):
            raise ValueError(
                "mention is none that Slack knows; write '@group', '@here', or the id of a user (U…) or user group (S…)"
            )
        return self


class SlackSender:
    """One channel, under a bot token."""

    kind: ClassVar[str] = "slack"
    manner: ClassVar[Manner] = Manner.CHAT
    entry_changes: ClassVar[frozenset[Change]] = ENTRY_CHANGES
    waits_for_evidence: ClassVar[bool] = False
    in_storm: ClassVar[InStorm] = InStorm.BY_EDIT

    def __init__(self, config: DestinationConfig, token: Secret, http: httpx2.AsyncClient, renderer: Renderer) -> None:
        self._config = config
        self._settings: SlackSettings = config.settings
        self._http = http
        self._api = SlackApi(http, self._settings.app_url, token)
        self._renderer = renderer
        self._mention = markup(self._settings.mention)
        self._pressable = config.interactive or self._settings.socket_token is not None
        self.people = Directory(self._api)

    def plan(self, wanted: Wanted) -> Step | None:
        """Return create, update or reply; see `Sender.plan`.

        A root receipt with `gone` means that a person deleted the message: only an audible change makes a new one.
        """
        root = wanted.root or {}
        if root.get("ts") and not root.get("gone"):  # it goes on to say how late it was when it was posted
            wanted = replace(wanted, late_s=float(root.get("late_s", 0.0)))
        message = self._renderer.root(wanted, self.kind, self._config.content)
        pressable = buttons(wanted, message.links) if self._pressable and not wanted.plain else ()
        calls = self._mention if wanted.story.open and wanted.firing and not wanted.story.test else ""
        shown = content(message, root=True, plain=wanted.plain, mention=calls, buttons=pressable)
        if root.get("gone") or not root.get("ts"):
            return self._create(wanted, root, shown, calls) if wanted.audible or not root.get("gone") else None
        if payload_hash(shown) != root.get("hash") or wanted.confirm:
            body = {"channel": root["channel"], "ts": root["ts"], **shown}
            return Step("root", "update", body, hash=payload_hash(shown), extra={"mention": calls})
        entry = self._next_entry(wanted, root)
        return self._reply(entry, wanted, root) if entry else next_file(wanted, self._config.content, root)

    def _create(self, wanted: Wanted, root: Receipt, shown: Mapping[str, Any], calls: str) -> Step:
        # A message that takes a gone one's place is another thing to Slack and to our own look-up.
        part = f"root after {root['ts']}" if root.get("gone") and root.get("ts") else "root"
        body = self._post(wanted, part, shown)
        return Step("root", "create", body, creates=True, hash=payload_hash(shown), extra={"mention": calls})

    def _next_entry(self, wanted: Wanted, root: Receipt) -> Entry | None:
        for entry in wanted.entries:
            told_by_root = entry.revision <= int(root.get("revision", 0))
            muted = entry.change is Change.RESOLVED and not self._config.send_resolved
            if entry.change in self.entry_changes and not told_by_root and not muted:
                return entry
        return None

    def _reply(self, entry: Entry, wanted: Wanted, root: Receipt) -> Step:
        message = self._renderer.entry(entry, wanted, self.kind, self._config.content)
        loud = entry.change in BROADCAST and not _called_lately(entry, wanted.story)
        # What is over calls nobody any more, however late this comes.
        calls = self._mention if loud and entry.change in CALLS and wanted.story.open and not wanted.story.test else ""
        shown = content(message, root=False, plain=wanted.plain or entry.plain, mention=calls)
        body = self._post(wanted, f"{entry.key} {entry.revision}", shown)
        body |= {"channel": root["channel"], "thread_ts": root["ts"]}
        if loud:
            body["reply_broadcast"] = True
        return Step(entry.key, "reply", body, creates=True, hash=payload_hash(shown), extra={"mention": calls})

    def _post(self, wanted: Wanted, part: str, shown: Mapping[str, Any]) -> dict[str, Any]:
        client_id = str(uuid.uuid5(uuid.UUID(wanted.keys.client_id), part))
        payload = {"client_id": client_id, "part": part, "story": wanted.story.id, "revision": wanted.story.revision}
        payload |= {"late_s": wanted.late_s} if wanted.late_s else {}
        return {
            "channel": self._settings.channel,
            **shown,
            "unfurl_links": False,
            "unfurl_media": False,
            "client_msg_id": client_id,
            "metadata": {"event_type": EVENT_TYPE, "event_payload": payload},
        }

    async def send(self, step: Step, wanted: Wanted) -> Receipt:
        if step.op == "file":
            return await upload(self._api, self._http, step, wanted.tries)
        body = await called(step, self.people)
        if step.op == "update":
            answer = await self._api.call("chat.update", body)
            return {**(wanted.root or {}), "channel": answer.get("channel", step.body["channel"]), "hash": step.hash}
        answer = await self._api.call("chat.postMessage", body)
        receipt = {"channel": str(answer.get("channel", "")), "ts": str(answer.get("ts", "")), "hash": step.hash}
        if step.op == "reply":
            await self._check_thread(step, answer, receipt)
            return receipt
        payload = step.body["metadata"]["event_payload"]
        return {**receipt, **_posted(payload), **self._place(receipt)}

    async def _check_thread(self, step: Step, answer: Mapping[str, Any], receipt: Receipt) -> None:
        """Raise Gone when the reply became a message of its own: Slack does that when its root was deleted."""
        message = answer.get("message")
        if not isinstance(message, Mapping) or message.get("thread_ts") == step.body["thread_ts"]:
            return
        with suppress(DeliveryError):  # a stray line in the channel is worth less than the new root that follows
            await self._api.call("chat.delete", {"channel": receipt["channel"], "ts": receipt["ts"]})
        raise Gone("the message was deleted, so its thread is gone")

    async def find(self, step: Step, wanted: Wanted) -> Receipt | None:
        """Look through the channel (or the thread) for our metadata. Needs channels:history or groups:history."""
        if step.op == "file":
            return await self._find_file(step, wanted)
        client_id = step.body["metadata"]["event_payload"]["client_id"]
        entry = next((each for each in wanted.entries if each.key == step.part), None)
        oldest = (entry.at if entry else wanted.story.opened).timestamp() - CLOCK_SKEW_S
        args = {"oldest": f"{oldest:.6f}", "inclusive": True, "limit": PAGE, "include_all_metadata": True}
        if entry:
            channel = str(step.body["channel"])
            method, args = "conversations.replies", {**args, "channel": channel, "ts": step.body["thread_ts"]}
        else:
            channel, method = self._settings.channel, "conversations.history"
            args["channel"] = channel
        try:
            found = await self._search(method, args, client_id)
        except DestinationRefused as error:
            if error.reason != "channel_not_found" or _CHANNEL_ID.fullmatch(channel):
                raise
            # History takes ids only; posting also takes names.
            args["channel"] = channel = await self._channel_id(channel)
            found = await self._search(method, args, client_id)
        if found is None:
            return None
        payload = found["metadata"]["event_payload"]
        # Without a hash: what the found message shows is not known, so the current state is sent next.
        receipt = {"channel": channel, "ts": found["ts"], "hash": ""}
        return receipt if entry else {**receipt, **_posted(payload), **self._place(receipt)}

    async def _find_file(self, step: Step, wanted: Wanted) -> Receipt | None:
        oldest = wanted.story.opened.timestamp() - CLOCK_SKEW_S
        args = {"channel": step.body["channel_id"], "ts": step.body["thread_ts"], "limit": PAGE}
        async for message in self._messages("conversations.replies", {**args, "oldest": f"{oldest:.6f}"}):
            if found := found_in(message, step):
                return found
        return None

    async def _search(self, method: str, args: Mapping[str, Any], client_id: str) -> dict[str, Any] | None:
        async for message in self._messages(method, args):
            metadata = message.get("metadata") or {}
            payload = metadata.get("event_payload") or {}
            if metadata.get("event_type") == EVENT_TYPE and payload.get("client_id") == client_id:
                return message
        return None

    async def _messages(self, method: str, args: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        cursor = ""
        for _ in range(MAX_PAGES):
            asked = {**args, "cursor": cursor} if cursor else args
            answer = await self._api.call(method, asked, form=method == "conversations.replies")
            for message in answer.get("messages") or []:
                yield dict(message)
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return

    async def _channel_id(self, channel: str) -> str:
        if _CHANNEL_ID.fullmatch(channel):
            return channel
        name, cursor = channel.removeprefix("#"), ""
        for _ in range(MAX_PAGES):
            args = {"types": "public_channel,private_channel", "exclude_archived": True, "limit": 999}
            answer = await self._api.call(
                "conversations.list", {**args, **({"cursor": cursor} if cursor else {})}, form=True
            )
            for each in answer.get("channels") or []:
                if each.get("name") == name:
                    return str(each["id"])
            cursor = str((answer.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                break
        raise DestinationRefused(f"cannot look: no channel {channel} among those the app sees; write the channel's id")

    def _place(self, root: Receipt) -> Receipt:
        """Return the address of a root for its receipt: other destinations link to it."""
        url = self.link(root)
        return {"url": url} if url else {}

    def link(self, root: Receipt) -> str:
        """Return Slack's address of the message that works in any workspace; none for a server that is not Slack."""
        host = urlsplit(self._settings.app_url).hostname or ""
        if host != "slack.com" or not root.get("ts") or not root.get("channel"):
            return ""
        return f"https://slack.com/archives/{root['channel']}/p{str(root['ts']).replace('.', '')}"

    async def answer(self, press: Press, text: str, blocks: Sequence[Mapping[str, Any]] = ()) -> None:
        """Tell something to the person who pressed, and to nobody else. Raises DeliveryError."""
        await answer(self._api, self._http, press, text, blocks)

    async def probe(self) -> None:
        """Ask whether the token is good."""
        await self._api.call("auth.test", {})

    async def shortcomings(self) -> tuple[str, ...]:
        """Ask whether the app may post, and may read the channel, which looking for a lost message needs."""
        scopes = await self._api.scopes()
        lacks = ["missing scope chat:write: nothing can be posted"] if scopes is not None and POST not in scopes else []
        lacks += [
            f"missing scope {one}: {so}" for one, so in self._wishes() if scopes is not None and one not in scopes
        ]
        lacks += await self._socket()
        try:
            channel = await self._channel_id(self._settings.channel)
            await self._api.call("conversations.history", {"channel": channel, "limit": 1})
        except DestinationRefused as error:
            if error.reason != "unknown_method":  # a server that is not Slack
                lacks.append(f"a lost message cannot be looked for: {error.reason}")
        return tuple(lacks)

    def _wishes(self) -> Iterator[tuple[str, str]]:
        """Give the scopes that these settings need besides, each with what becomes of it without."""
        if self._config.content == "full":
            yield "files:write", "whole logs are not attached"
        if self._pressable:
            yield "users:read", "buttons know nobody by name or e-mail address"
            yield "users:read.email", "buttons refuse whom actions.allow names by e-mail address"
        if self._pressable or self._mention.startswith("@"):
            yield "usergroups:read", "a user group of actions.allow or mention is not found by its handle"

    async def _socket(self) -> list[str]:
        token = self._settings.socket_token
        if token is None:
            return []
        try:
            await SlackApi(self._http, self._settings.app_url, token).call("apps.connections.open", {}, form=True)
        except (DestinationRefused, Refused) as error:
            return [f"buttons do not work: apps.connections.open: {error.reason}"]
        return []


def _called_lately(entry: Entry, story: Story) -> bool:
    """Was everybody called a moment ago because it became worse? One that fails again and again calls once."""
    return entry.change is Change.FAILED_AGAIN and any(
        one.change in (Change.WORSE, Change.FAILED_AGAIN)
        and one.key
        and one.revision < entry.revision
        and (entry.at - one.at).total_seconds() < CALL_EVERY_S
        for one in story.timeline
    )


def _posted(payload: Mapping[str, Any]) -> Receipt:
    """Return what a root's receipt keeps of the metadata it was posted with."""
    late = {"late_s": float(payload["late_s"])} if payload.get("late_s") else {}
    return {"revision": int(payload.get("revision", 0)), **late}


class Slack:
    """The kind; see `receiver.destinations.Kind`."""

    kind: ClassVar[str] = "slack"
    config_key: ClassVar[str] = "slack_configs"
    settings: ClassVar[type[Any]] = SlackSettings

    def target(self, settings: SlackSettings) -> str:
        if settings.api_url is not None:
            return f"webhook {settings.api_url.place}"
        return f"{urlsplit(settings.app_url).netloc} {settings.channel}"

    def build(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> Sender:
        settings: SlackSettings = config.settings
        if settings.api_url is not None:
            return SlackWebhookSender(config, settings.api_url, http, renderer)
        assert settings.app_token is not None  # noqa: S101 - the settings' own validator
        return SlackSender(config, settings.app_token, http, renderer)
