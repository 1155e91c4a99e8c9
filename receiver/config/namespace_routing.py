"""What `namespace_routing:` lets owners of a namespace choose: who else is told of what happens in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from receiver.config.model import DestinationConfig
    from receiver.routing.matchers import Glob

CHANNEL: Final = re.compile(r"#[\w.-]{1,80}|[CG][A-Z0-9]{8,20}")
"""What Slack takes for a channel: a name of at most 80 letters, digits, hyphens and underscores, or an id."""


@dataclass(frozen=True, slots=True)
class NamespaceRouting:
    """Who may be chosen, and how a chosen Slack channel is reached."""

    position: str
    annotation_prefix: str = "mtv-receiver.io"
    receivers: tuple[Glob, ...] = ()
    slack_channels: tuple[Glob, ...] = ()
    slack: DestinationConfig | None = None
    """A destination with a bot token: chosen channels are posted to just as its own is."""
    slack_identity: str = ""
    """What the identity of every such channel begins with."""

    def may_name(self, receiver: str) -> bool:
        """May a namespace choose this receiver?"""
        return any(glob.matches(receiver) for glob in self.receivers)

    def may_post(self, channel: str) -> bool:
        """May a namespace choose this channel?"""
        return bool(CHANNEL.fullmatch(channel)) and any(glob.matches(channel) for glob in self.slack_channels)

    def at_channel(self, channel: str, configured: Mapping[str, DestinationConfig]) -> DestinationConfig | None:
        """Return the destination of a chosen channel, the configured one where there is one; None: it may not be."""
        if self.slack is None or not self.may_post(channel):
            return None
        there = next((one for one in configured.values() if self._is_at(one, channel)), None)
        if there is not None:
            return there  # under a name of its own it may have another identity
        identity = f"{self.slack_identity}{channel}"
        settings = self.slack.settings.model_copy(update={"channel": channel, "mention": ""})
        return replace(
            self.slack, identity=identity, receiver=channel, name="", position=self.position, settings=settings
        )

    def _is_at(self, one: DestinationConfig, channel: str) -> bool:
        """Does a configured destination post to this channel of the same Slack?"""
        if self.slack is None or one.kind != self.slack.kind or one.settings.app_token is None:
            return False
        same = urlsplit(one.settings.app_url).netloc == urlsplit(self.slack.settings.app_url).netloc
        return bool(same and one.settings.channel == channel)

    def destination(self, identity: str) -> DestinationConfig | None:
        """Return the destination that an identity stands for, where a namespace may have chosen it."""
        if not self.slack_identity or not identity.startswith(self.slack_identity):
            return None
        return self.at_channel(identity.removeprefix(self.slack_identity), {})
