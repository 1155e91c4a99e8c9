"""What people can press under an open story, and what a press says.

Each element carries the story's id and the delivery's lasting client id, nothing else: what a press means is decided
when it comes. Whose payload this is was proved before (signature, or our own connection to Slack); its shape was not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from receiver.fitting import one_line
from receiver.model import Link, Wanted

MAX_BUTTON = 75
"""Characters of a button's or an option's text."""
MAX_OPTIONS = 100
"""Options of a select."""
SILENCE_HOURS: Final = (1, 4, 24)
URL_BUTTONS: Final = ("Details", "Runbook")
_PREFIX: Final = "mtv_receiver_"
_KEY = re.compile(r"(?P<story>[0-9A-Z]{26}) (?P<client_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
_PERSON = re.compile(r"[UW][A-Z0-9]{2,30}")
_CHANNEL = re.compile(r"[CGD][A-Z0-9]{2,30}")


class Action(StrEnum):
    """What a person wants."""

    TAKE = "take"
    SILENCE = "silence"
    NOT_OURS = "not_ours"
    """Asks to whom the story is to be given."""
    GIVE = "give"
    """Says it."""


@dataclass(frozen=True, slots=True)
class Press:
    """One press of one person, well-formed."""

    action: Action
    story: str
    client_id: str
    """Which of the story's deliveries it was pressed under."""
    user: str
    """Slack's id of the person."""
    name: str
    channel: str
    thread_ts: str
    response_url: str
    """Where the person may be answered: what Slack said, not yet judged."""
    key: str
    """The same for what Slack sends twice."""
    hours: int = 0
    to: str = ""
    """Mark of the receiver's name, see `mark_of`."""


def buttons(wanted: Wanted, links: Sequence[Link]) -> list[dict[str, Any]]:
    """Return the elements of the actions block under an open story."""
    story = wanted.story
    if not story.open:
        return []
    value = f"{story.id} {wanted.keys.client_id}"
    take = _button(Action.TAKE, "I take over" if story.ack else "I take it", value)
    if not story.ack:
        take["style"] = "primary"
    made = [take]
    if story.kind != "digest":  # a storm is no one's alert, and everybody's
        made.append(_silence(value))
    if story.kind != "digest" and not wanted.moved:
        made.append(_button(Action.NOT_OURS, "Not ours", value))
    for name in URL_BUTTONS:
        url = next((each.url for each in links if each.text == name), "")
        if url:
            made.append({"type": "button", "action_id": f"{_PREFIX}{name.lower()}", "text": _text(name), "url": url})
    return made


def choice(press: Press, receivers: Sequence[str], question: str) -> list[dict[str, Any]]:
    """Return the blocks that ask to whom a story is to be given."""
    value = f"{press.story} {press.client_id}"
    options = [_option(name, f"{value} {mark_of(name)}") for name in receivers[:MAX_OPTIONS]]
    select = {
        "type": "static_select",
        "action_id": f"{_PREFIX}{Action.GIVE}",
        "placeholder": _text("Receiver"),
        "options": options,
    }
    return [
        {"type": "section", "text": {"type": "plain_text", "text": question, "emoji": False}},
        {"type": "actions", "elements": [select]},
    ]


def mark_of(receiver: str) -> str:
    """Return what stands for a receiver's name in an option: names may be longer than an option's value."""
    return hashlib.sha256(receiver.encode("utf-8", "replace")).hexdigest()[:16]


def parse(payload: object) -> Press | None:
    """Return the press that an interactive payload tells of; None for anything else, whatever it holds."""
    if not isinstance(payload, Mapping) or payload.get("type") != "block_actions":
        return None
    actions = payload.get("actions")
    if not isinstance(actions, list) or len(actions) != 1 or not isinstance(actions[0], Mapping):
        return None
    pressed = actions[0]
    action = _action(_string(pressed, "action_id"))
    chosen = pressed.get("selected_option")
    value = _string(chosen, "value") if isinstance(chosen, Mapping) else _string(pressed, "value")
    user, container, channel = (_mapping(payload, name) for name in ("user", "container", "channel"))
    key = _KEY.match(value)
    who = _string(user, "id")
    if action is None or key is None or not _PERSON.fullmatch(who):
        return None
    rest = value[key.end() :].strip()
    if action is Action.SILENCE and rest not in map(str, SILENCE_HOURS):
        return None
    if action is Action.GIVE and not re.fullmatch(r"[0-9a-f]{16}", rest):
        return None
    where = _string(channel, "id") or _string(container, "channel_id")
    return Press(
        action=action,
        story=key["story"],
        client_id=key["client_id"],
        user=who,
        name=one_line(_string(user, "name") or _string(user, "username") or who, 80),
        channel=where if _CHANNEL.fullmatch(where) else "",
        thread_ts=_stamp(_string(container, "thread_ts")),
        response_url=_string(payload, "response_url"),
        key=f"{who} {_string(pressed, 'action_id')} {value} {_string(pressed, 'action_ts')}"[:500],
        hours=int(rest) if action is Action.SILENCE else 0,
        to=rest if action is Action.GIVE else "",
    )


def _silence(value: str) -> dict[str, Any]:
    return {
        "type": "static_select",
        "action_id": f"{_PREFIX}{Action.SILENCE}",
        "placeholder": _text("Silence"),
        "options": [_option(f"Silence {hours} h", f"{value} {hours}") for hours in SILENCE_HOURS],
        "confirm": {
            "title": _text("Silence this plan's alert?"),
            "text": _text("Alertmanager then says nothing more of it. The message here stays."),
            "confirm": _text("Silence"),
            "deny": _text("No"),
        },
    }


def _button(action: Action, text: str, value: str) -> dict[str, Any]:
    return {"type": "button", "action_id": f"{_PREFIX}{action}", "text": _text(text), "value": value}


def _option(text: str, value: str) -> dict[str, Any]:
    return {"text": _text(text), "value": value}


def _text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": one_line(text, MAX_BUTTON) or "–", "emoji": False}


def _action(action_id: str) -> Action | None:
    name = action_id.removeprefix(_PREFIX)
    return Action(name) if action_id.startswith(_PREFIX) and name in set(Action) else None


def _mapping(source: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = source.get(name)
    return found if isinstance(found, Mapping) else {}


def _string(source: Mapping[str, Any], name: str) -> str:
    found = source.get(name)
    return found[:3_000].encode("utf-8", "replace").decode() if isinstance(found, str) else ""


def _stamp(value: str) -> str:
    return value if re.fullmatch(r"\d{1,12}\.\d{1,9}", value) else ""
