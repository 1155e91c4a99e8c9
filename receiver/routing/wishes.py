"""Whom the owners of a namespace want to be told, within what `namespace_routing.allow` lets them choose. Pure.

What they write is theirs: it adds destinations and takes none away, and what is refused is said and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from receiver.config.model import Config, DestinationConfig
from receiver.config.namespace_routing import CHANNEL, NamespaceRouting

RECEIVER: Final = "receiver"
CHANNEL_KEY: Final = "slack-channel"
KEYS: Final = (RECEIVER, CHANNEL_KEY)
"""What stands behind the prefix of an annotation, and in a ConfigMap."""
FACTS: Final = {RECEIVER: "namespace_receiver", CHANNEL_KEY: "namespace_slack_channel"}
MOST: Final = 5
"""So many of each a namespace may choose."""
SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Wish:
    """One thing that a namespace asks for."""

    key: str
    value: str
    refused: str = ""
    """Why it is not granted; empty: it is."""
    destinations: tuple[DestinationConfig, ...] = ()
    receiver: str = ""
    """The receiver that stands for it."""

    @property
    def text(self) -> str:
        """`receiver team-payments`: what is asked for, for people; what cannot be printed of it is marked."""
        shown = "".join(one if one.isprintable() else "\ufffd" for one in self.value[:SHOWN])
        return f"{self.key} {shown}{'…' if len(self.value) > SHOWN else ''}"


def asked_for(prefix: str, annotations: Mapping[str, str], data: Mapping[str, str]) -> dict[str, str]:
    """Return the facts that a namespace's annotations and its ConfigMaps make of its wishes."""
    found = {}
    for key, fact in FACTS.items():
        values = [*_values(annotations.get(f"{prefix}/{key}", "")), *_values(data.get(key, ""))]
        if values:
            found[fact] = ",".join(dict.fromkeys(values))
    return found


def wishes(facts: Mapping[str, str], config: Config) -> tuple[Wish, ...]:
    """Judge what a namespace asks for."""
    rules = config.namespace_routing
    return tuple(_judged(facts, rules, config)) if rules is not None else ()


def _judged(facts: Mapping[str, str], rules: NamespaceRouting, config: Config) -> Iterator[Wish]:
    for key, judge in ((RECEIVER, _receiver), (CHANNEL_KEY, _channel)):
        values = _values(facts.get(FACTS[key], ""))
        yield from (judge(value, rules, config) for value in values[:MOST])
        yield from (Wish(key, value, f"a namespace may name {MOST} of each") for value in values[MOST : MOST + 1])


def _receiver(name: str, rules: NamespaceRouting, config: Config) -> Wish:
    if not rules.may_name(name):
        return Wish(RECEIVER, name, "namespace_routing.allow.receivers does not allow it")
    if name not in config.receivers:
        return Wish(RECEIVER, name, "there is no receiver of this name")
    return Wish(RECEIVER, name, "", config.receivers[name].destinations, name)


def _channel(name: str, rules: NamespaceRouting, config: Config) -> Wish:
    if not CHANNEL.fullmatch(name):
        return Wish(CHANNEL_KEY, name, "Slack has no such channels: write #name or the channel's id")
    known = {one.identity: one for one in config.destinations}
    found = rules.at_channel(name, known)
    if found is None:
        return Wish(CHANNEL_KEY, name, "namespace_routing.allow.slack_channels does not allow it")
    return Wish(CHANNEL_KEY, name, "", (found,), found.receiver)


def _values(text: str) -> list[str]:
    return list(dict.fromkeys(one for each in text.split(",") if (one := each.strip())))
