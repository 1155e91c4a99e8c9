"""Who is called: the markup of a mention, and the user group behind a handle."""

from __future__ import annotations

import copy
import re
from typing import Any

import structlog

from receiver.destinations import Step
from receiver.destinations.slack_blocks import mention_at
from receiver.destinations.slack_directory import Directory
from receiver.errors import DeliveryError

log = structlog.get_logger(__name__)

HANDLE = re.compile(r"@[a-z0-9][a-z0-9._-]{0,79}", re.IGNORECASE)
_GROUP = re.compile(r"S[A-Z0-9]{6,30}")
_USER = re.compile(r"[UW][A-Z0-9]{6,30}")
_EVERYBODY = ("@here", "@channel")


def markup(mention: str) -> str:
    """Return a mention in Slack's markup; a group's handle stands for itself until `called` knows its id.

    Empty for what is no mention.
    """
    if mention in _EVERYBODY:
        return f"<!{mention[1:]}>"
    if _GROUP.fullmatch(mention):
        return f"<!subteam^{mention}>"
    if _USER.fullmatch(mention):
        return f"<@{mention}>"
    return mention if HANDLE.fullmatch(mention) else ""


async def called(step: Step, people: Directory) -> dict[str, Any]:
    """Return the step's body with the id of the group that it calls by a handle; one that nobody finds stays text."""
    body, mention = dict(step.body), str(step.extra.get("mention", ""))
    if not mention.startswith("@"):
        return body
    try:
        group = await people.group_id(mention)
        why = "no user group has this handle"
    except DeliveryError as error:
        group, why = "", error.reason
    if not _GROUP.fullmatch(group):
        log.warning("slack.mention_unknown", mention=mention, error=why)
        return body
    body["text"] = _swapped(body["text"], mention, group)
    if body["blocks"]:
        body["blocks"] = blocks = copy.deepcopy(body["blocks"])
        text = blocks[mention_at(blocks, root=step.part == "root")]["text"]
        text["text"] = _swapped(text["text"], mention, group)
    return body


def _swapped(text: str, mention: str, group: str) -> str:
    return f"{text.removesuffix(mention)}<!subteam^{group}>"
