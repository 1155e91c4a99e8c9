"""Slack's Web API in memory: channels, messages, threads, metadata, and Slack's own refusals.

Slack answers HTTP 200 to nearly everything; what went wrong stands in `error`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from receiver.sandbox.blocks import BlockProblem, check_blocks, check_metadata
from receiver.sandbox.slack_args import SlackError, flag, stamp

MAX_POST_CHARS = 40_000  # chat.postMessage cuts the text there and warns
MAX_UPDATE_CHARS = 4_000  # chat.update refuses
MAX_ATTACHMENTS = 100
MAX_HISTORY = 999
BOT_USER = "U0SANDBOX1"
BOT_ID = "B0SANDBOX1"
TEAM_ID = "T0SANDBOX1"

_CHANNEL_ID = re.compile(r"^[CGD][A-Z0-9]{8,}$")

Args = Mapping[str, Any]


@dataclass(slots=True)
class Message:
    """One message of a channel; `thread_ts` is None for a root, the root's `ts` for a reply."""

    ts: str
    channel: str
    text: str
    blocks: list[dict[str, Any]]
    attachments: list[dict[str, Any]]
    metadata: dict[str, Any]
    username: str | None = None
    thread_ts: str | None = None
    reply_broadcast: bool = False
    edited_ts: str | None = None
    edits: int = 0
    reactions: list[str] = field(default_factory=list)
    files: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_root(self) -> bool:
        return self.thread_ts is None

    def wire(self, *, with_metadata: bool) -> dict[str, Any]:
        """Return the message as `conversations.history` shows it."""
        body: dict[str, Any] = {"type": "message", "user": BOT_USER, "bot_id": BOT_ID, "ts": self.ts, "text": self.text}
        if self.blocks:
            body["blocks"] = self.blocks
        if self.attachments:
            body["attachments"] = self.attachments
        if with_metadata and self.metadata:
            body["metadata"] = self.metadata
        if self.thread_ts:
            body["thread_ts"] = self.thread_ts
        if self.reply_broadcast:
            body["subtype"] = "thread_broadcast"
        if self.edited_ts:
            body["edited"] = {"user": BOT_USER, "ts": self.edited_ts}
        if self.files:
            body["files"] = self.files
        if self.reactions:
            body["reactions"] = [{"name": name, "count": 1, "users": [BOT_USER]} for name in self.reactions]
        return body


@dataclass(slots=True)
class Channel:
    """A channel by id and name (without the leading `#`), its messages in the order of their `ts`."""

    id: str
    name: str
    messages: dict[str, Message] = field(default_factory=dict)

    def roots(self) -> list[Message]:
        return [message for message in self.messages.values() if message.is_root]

    def replies(self, ts: str) -> list[Message]:
        return [message for message in self.messages.values() if message.thread_ts == ts]

    def wire(self, message: Message, *, with_metadata: bool) -> dict[str, Any]:
        """Return the message with what a thread adds to its root: `thread_ts` equal to `ts`, and a count."""
        body = message.wire(with_metadata=with_metadata)
        if message.is_root and (replies := self.replies(message.ts)):
            body |= {"thread_ts": message.ts, "reply_count": len(replies), "latest_reply": replies[-1].ts}
        return body


@dataclass(slots=True)
class Slack:
    """One workspace.

    `known_channels` are the names that exist; None means that any name does. A bearer token in `revoked` is answered
    with `invalid_auth`.
    """

    now: Callable[[], float]
    known_channels: frozenset[str] | None = None
    revoked: set[str] = field(default_factory=set)
    channels: dict[str, Channel] = field(default_factory=dict)
    base_url: str = "https://sandbox.slack.invalid"
    changes: int = 0
    more: dict[str, Callable[[Args], dict[str, Any]]] = field(default_factory=dict)
    """Methods that `slack_more` adds."""
    _last_us: int = 0

    def clear(self) -> None:
        """Forget all channels and messages; what is revoked stays revoked."""
        self.channels.clear()
        self.changes += 1

    def call(self, method: str, args: Args, token: str | None) -> dict[str, Any]:
        """Answer one Web API call as Slack would."""
        methods: dict[str, Callable[[Args], dict[str, Any]]] = {
            "auth.test": self._auth_test,
            "chat.delete": self._delete,
            "chat.getPermalink": self._permalink,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "reactions.add": self._react,
            **self.more,
        }
        if self.known_channels is not None:  # where any name will do, there is no list of them
            methods["conversations.list"] = self._list
        try:
            if method not in methods:
                raise SlackError("unknown_method")
            if not token:
                raise SlackError("not_authed")
            if token in self.revoked:
                raise SlackError("invalid_auth")
            return {"ok": True, **methods[method](args)}
        except SlackError as error:
            answer: dict[str, Any] = {"ok": False, "error": error.code}
            if error.messages:
                answer["errors"] = list(error.messages)
                answer["response_metadata"] = {"messages": [f"[ERROR] {message}" for message in error.messages]}
            return answer

    def channel(self, name_or_id: object, *, create: bool = False) -> Channel:
        """Return the channel, raising `channel_not_found`; `create` lets a known name come into being."""
        if not isinstance(name_or_id, str) or not name_or_id:
            raise SlackError("channel_not_found")
        if name_or_id in self.channels:
            return self.channels[name_or_id]
        name = name_or_id.removeprefix("#")
        for channel in self.channels.values():
            if channel.name == name:
                return channel
        known = self.known_channels is None or name in self.known_channels
        if not known:
            by_id = {channel_id(each): each for each in self.known_channels or ()}
            if name not in by_id:
                raise SlackError("channel_not_found")
            name = by_id[name]
        elif not create:
            raise SlackError("channel_not_found")
        made = Channel(id=name if _CHANNEL_ID.match(name) else channel_id(name), name=name)
        self.channels[made.id] = made
        return made

    def snapshot(self) -> dict[str, Any]:
        """Return all channels with all messages, for `/state`."""
        return {
            "channels": [
                {
                    "id": channel.id,
                    "name": channel.name,
                    "messages": [
                        {
                            **channel.wire(message, with_metadata=True),
                            "root": message.is_root,
                            "edits": message.edits,
                        }
                        for message in channel.messages.values()
                    ],
                }
                for channel in self.channels.values()
            ]
        }

    def _auth_test(self, args: Args) -> dict[str, Any]:
        del args
        names = {"team": "Sandbox", "user": "mtv-receiver", "url": f"{self.base_url}/"}
        return {**names, "team_id": TEAM_ID, "user_id": BOT_USER, "bot_id": BOT_ID}

    def _post(self, args: Args) -> dict[str, Any]:
        channel = self.channel(args.get("channel"), create=True)
        text, blocks, attachments = _content(args)
        if not (text or blocks or attachments):
            raise SlackError("no_text")
        thread_ts = args.get("thread_ts") or None
        if thread_ts is not None:
            root = channel.messages.get(str(thread_ts))
            if root is not None and not root.is_root:
                raise SlackError("cannot_reply_to_message")
            if root is None and not channel.replies(str(thread_ts)):
                # Slack does not refuse a reply to a deleted message that had no replies: it makes it a message of
                # its own, and only the missing `message.thread_ts` of the answer tells (slack-go/slack #1571).
                thread_ts = None
        message = Message(
            ts=self._next_ts(),
            channel=channel.id,
            text=(text or "")[:MAX_POST_CHARS],
            blocks=blocks or [],
            attachments=attachments or [],
            metadata=_metadata(args) or {},
            username=args.get("username"),
            thread_ts=thread_ts,
            reply_broadcast=thread_ts is not None and flag(args.get("reply_broadcast")),
        )
        channel.messages[message.ts] = message
        self.changes += 1
        answer: dict[str, Any] = {
            "channel": channel.id,
            "ts": message.ts,
            "message": channel.wire(message, with_metadata=True),
        }
        if text and len(text) > MAX_POST_CHARS:
            answer["warning"] = "message_truncated"
        return answer

    def share(self, channel: Channel, thread_ts: str, files: list[dict[str, Any]], comment: str = "") -> Message:
        """Let files stand in a thread."""
        if thread_ts and thread_ts not in channel.messages:
            raise SlackError("thread_not_found")
        message = Message(self._next_ts(), channel.id, comment, [], [], {}, thread_ts=thread_ts or None, files=files)
        channel.messages[message.ts] = message
        self.changes += 1
        return message

    def _update(self, args: Args) -> dict[str, Any]:
        channel = self.channel(args.get("channel"))
        message = self._message(channel, args.get("ts"))
        text, blocks, attachments = _content(args)
        if text is not None and len(text) > MAX_UPDATE_CHARS:
            raise SlackError("msg_too_long")
        after = (
            message.text if text is None else text,
            message.blocks if blocks is None else blocks,
            message.attachments if attachments is None else attachments,
        )
        if not any(after):
            raise SlackError("no_text")
        metadata = _metadata(args)
        if metadata is not None:  # left out = kept, {} = removed
            message.metadata = metadata
        message.text, message.blocks, message.attachments = after
        message.edited_ts = self._next_ts()
        message.edits += 1
        self.changes += 1
        return {
            "channel": channel.id,
            "ts": message.ts,
            "text": message.text,
            "message": channel.wire(message, with_metadata=True),
        }

    def _delete(self, args: Args) -> dict[str, Any]:
        channel = self.channel(args.get("channel"))
        message = self._message(channel, args.get("ts"))
        del channel.messages[message.ts]
        self.changes += 1
        return {"channel": channel.id, "ts": message.ts}

    def _list(self, args: Args) -> dict[str, Any]:
        del args
        names = {*(self.known_channels or ()), *(each.name for each in self.channels.values())}
        return {"channels": [{"id": channel_id(name), "name": name, "is_member": True} for name in sorted(names)]}

    def _history(self, args: Args) -> dict[str, Any]:
        channel = self.channel(args.get("channel"))
        found = [each for each in channel.messages.values() if each.is_root or each.reply_broadcast]
        return _page(channel, sorted(found, key=lambda each: each.ts, reverse=True), args)

    def _replies(self, args: Args) -> dict[str, Any]:
        channel = self.channel(args.get("channel"))
        asked = channel.messages.get(str(args.get("ts")))
        if asked is None:
            raise SlackError("thread_not_found")
        root = channel.messages.get(asked.thread_ts or asked.ts, asked)
        return _page(channel, [root, *channel.replies(root.ts)], args)

    def _permalink(self, args: Args) -> dict[str, Any]:
        channel = self.channel(args.get("channel"))
        message = self._message(channel, args.get("message_ts"))
        link = f"{self.base_url}/archives/{channel.id}/p{message.ts.replace('.', '')}"
        return {"channel": channel.id, "permalink": link}

    def _react(self, args: Args) -> dict[str, Any]:
        channel = self.channel(args.get("channel"))
        message = self._message(channel, args.get("timestamp"))
        name = args.get("name")
        if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9_+'-]+", name):
            raise SlackError("invalid_name")
        if name in message.reactions:
            raise SlackError("already_reacted")
        message.reactions.append(name)
        self.changes += 1
        return {}

    def _message(self, channel: Channel, ts: object) -> Message:
        if not isinstance(ts, str) or ts not in channel.messages:
            raise SlackError("message_not_found")
        return channel.messages[ts]

    def _next_ts(self) -> str:
        self._last_us = max(self._last_us + 1, int(self.now() * 1_000_000))
        return f"{self._last_us // 1_000_000}.{self._last_us % 1_000_000:06d}"


def channel_id(name: str) -> str:
    """Return the lasting id of a channel name: `C0` and nine letters and digits."""
    return "C0" + hashlib.sha256(name.encode()).hexdigest()[:9].upper()


def _content(
    args: Args,
) -> tuple[str | None, list[dict[str, Any]] | None, list[dict[str, Any]] | None]:
    text, blocks, attachments = args.get("text"), args.get("blocks"), args.get("attachments")
    if text is not None and not isinstance(text, str):
        raise SlackError("invalid_arguments", "text must be a string [json-pointer:/text]")
    try:
        if blocks is not None:
            check_blocks(blocks)
        if attachments is not None:
            if not isinstance(attachments, list) or not all(isinstance(each, dict) for each in attachments):
                raise SlackError("invalid_attachments")
            if len(attachments) > MAX_ATTACHMENTS:
                raise SlackError("too_many_attachments")
            for index, each in enumerate(attachments):
                if each.get("blocks") is not None:
                    check_blocks(each["blocks"], f"/attachments/{index}/blocks")
    except BlockProblem as problem:
        raise SlackError(problem.code, str(problem)) from None
    return text, blocks, attachments


def _metadata(args: Args) -> dict[str, Any] | None:
    metadata: dict[str, Any] | None = args.get("metadata")
    if metadata is None:
        return None
    try:
        check_metadata(metadata)
    except BlockProblem as problem:
        raise SlackError(problem.code, str(problem)) from None
    return metadata


def _page(channel: Channel, messages: list[Message], args: Args) -> dict[str, Any]:
    """Cut a list of messages by `oldest`, `latest`, `inclusive`, `limit` and `cursor`."""
    inclusive = flag(args.get("inclusive"))
    oldest, latest = stamp(args.get("oldest"), 0.0), stamp(args.get("latest"), float("inf"))
    found = [
        each
        for each in messages
        if oldest < float(each.ts) < latest or (inclusive and float(each.ts) in {oldest, latest})
    ]
    try:
        limit = min(int(args.get("limit") or 100), MAX_HISTORY)
        start = int(args.get("cursor") or 0)
    except ValueError:
        raise SlackError("invalid_cursor") from None
    page = found[start : start + limit]
    more = start + limit < len(found)
    with_metadata = flag(args.get("include_all_metadata"))
    answer: dict[str, Any] = {
        "messages": [channel.wire(each, with_metadata=with_metadata) for each in page],
        "has_more": more,
    }
    if more:
        answer["response_metadata"] = {"next_cursor": str(start + limit)}
    return answer
