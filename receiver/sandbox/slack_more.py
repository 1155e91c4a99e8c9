"""What Slack knows beside messages: people, groups, files on their way, and what only one person is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from receiver.sandbox.blocks import BlockProblem, check_blocks
from receiver.sandbox.slack import TEAM_ID, Args, Slack
from receiver.sandbox.slack_args import SlackError

UPLOADS = "/slack/upload/v1"


@dataclass(slots=True)
class Upload:
    """A file that is not shown yet, or is."""

    id: str
    name: str
    length: int
    content: bytes | None = None
    shown: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """What one person was told."""

    user: str
    text: str
    blocks: list[dict[str, Any]]
    by: str
    """chat.postEphemeral, or response_url."""


@dataclass(slots=True)
class More:
    """See the module's text. `people` and `groups` are by id, in the form in which Slack tells of them."""

    slack: Slack
    people: dict[str, dict[str, Any]] = field(default_factory=dict)
    groups: dict[str, dict[str, Any]] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    said: list[Said] = field(default_factory=list)
    socket_url: str = ""
    """Where Socket Mode is served; empty: it is switched off."""

    def add_person(self, user: str, name: str, email: str, team: str = TEAM_ID) -> None:
        """Let somebody work here."""
        profile = {"display_name": name, "real_name": name, "email": email}
        self.people[user] = {"id": user, "team_id": team, "name": name, "profile": profile, "is_email_confirmed": True}

    def add_group(self, group: str, handle: str, *users: str) -> None:
        """Make a user group."""
        self.groups[group] = {"id": group, "handle": handle, "name": handle, "users": list(users)}

    def methods(self) -> dict[str, Callable[[Args], dict[str, Any]]]:
        """Return the methods by name."""
        return {
            "apps.connections.open": self._open_connection,
            "chat.postEphemeral": self._tell,
            "files.getUploadURLExternal": self._begin,
            "files.completeUploadExternal": self._complete,
            "usergroups.list": self._groups,
            "usergroups.users.list": self._members,
            "users.info": self._info,
        }

    def clear(self) -> None:
        """Forget files and answers."""
        self.uploads.clear()
        self.said.clear()

    def put(self, file: str, content: bytes) -> int:
        """Take the bytes of a file; return the HTTP status."""
        upload = self.uploads.get(file)
        if upload is None or upload.shown:
            return 404
        upload.content = content
        return 200

    def answer(self, user: str, body: Any) -> int:
        """Take what is sent to a `response_url`; return the HTTP status."""
        if not isinstance(body, Mapping) or not body.get("text"):
            return 400
        try:
            check_blocks(body.get("blocks", []))
        except BlockProblem:
            return 400
        self.said.append(Said(user, str(body["text"]), list(body.get("blocks", [])), "response_url"))
        self.slack.changes += 1
        return 200

    def _open_connection(self, args: Args) -> dict[str, Any]:
        del args
        if not self.socket_url:
            raise SlackError("forbidden_team")
        return {"url": self.socket_url}

    def _tell(self, args: Args) -> dict[str, Any]:
        self.slack.channel(args.get("channel"))
        user, text, blocks = str(args.get("user", "")), str(args.get("text", "")), args.get("blocks") or []
        if not text and not blocks:
            raise SlackError("no_text")
        try:
            check_blocks(blocks)
        except BlockProblem as problem:
            raise SlackError(problem.code, str(problem)) from None
        self.said.append(Said(user, text, blocks, "chat.postEphemeral"))
        self.slack.changes += 1
        return {"message_ts": "1.000001"}

    def _begin(self, args: Args) -> dict[str, Any]:
        name, length = args.get("filename"), str(args.get("length", ""))
        if not name or not length.isdigit() or not int(length):
            raise SlackError("invalid_arguments")
        file = f"F{len(self.uploads) + 1:010}"
        self.uploads[file] = Upload(file, str(name), int(length))
        return {"file_id": file, "upload_url": f"{UPLOADS}/{file}"}

    def _complete(self, args: Args) -> dict[str, Any]:
        listed = args.get("files")
        listed = json.loads(listed) if isinstance(listed, str) else listed
        if not isinstance(listed, list) or not listed:
            raise SlackError("invalid_arguments")
        files = []
        for each in listed:
            upload = self.uploads.get(str(each.get("id")))
            if upload is None or upload.shown or upload.content is None or len(upload.content) != upload.length:
                raise SlackError("file_not_found")
            files.append({"id": upload.id, "name": upload.name, "title": each.get("title") or upload.name})
        if args.get("channel_id"):
            channel = self.slack.channel(args["channel_id"])
            self.slack.share(channel, str(args.get("thread_ts") or ""), files, str(args.get("initial_comment") or ""))
        for file in files:
            self.uploads[file["id"]].shown = True
        return {"files": files}

    def _groups(self, args: Args) -> dict[str, Any]:
        del args
        return {
            "usergroups": [{name: group[name] for name in ("id", "handle", "name")} for group in self.groups.values()]
        }

    def _members(self, args: Args) -> dict[str, Any]:
        group = self.groups.get(str(args.get("usergroup")))
        if group is None:
            raise SlackError("no_such_subteam")
        return {"users": group["users"]}

    def _info(self, args: Args) -> dict[str, Any]:
        person = self.people.get(str(args.get("user")))
        if person is None:
            raise SlackError("user_not_found")
        return {"user": person}
