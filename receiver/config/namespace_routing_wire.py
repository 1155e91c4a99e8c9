"""`namespace_routing:` of routes.yaml as it is written, and what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from receiver.config.matching import check_names, read_globs
from receiver.config.model import DestinationConfig, Receiver
from receiver.config.namespace_routing import NamespaceRouting
from receiver.config.positions import Path
from receiver.config.reader import Reader
from receiver.config.settings import Names, Settings

if TYPE_CHECKING:
    from receiver.destinations import Kind

_PREFIX: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
"""A DNS subdomain, as the API server asks of what stands before the slash of an annotation."""


class AllowWire(Settings):
    """What namespaces may choose; without it, nothing."""

    receivers: Names = ()
    """Globs on names of receivers."""
    slack_channels: Names = ()
    """Globs on Slack channels (#name, or an id): those that the bot of slack_receiver may post to."""


class NamespaceRoutingWire(Settings):
    """Routing by annotations of namespaces: what their owners choose is told besides, never instead."""

    annotation_prefix: str = "mtv-receiver.io"
    """Before the slash of the annotations receiver and slack-channel, and of the label routing of ConfigMaps."""
    allow: AllowWire = AllowWire()
    slack_receiver: str = ""
    """Whose bot token posts to chosen channels; without it, the first slack_configs that has one."""


def read_namespace_routing(
    raw: Any, path: Path, reader: Reader, receivers: Mapping[str, Receiver], kinds: Sequence[Kind]
) -> NamespaceRouting | None:
    """Return `namespace_routing:`; `receivers` are those that exist."""
    wire = reader.read(NamespaceRoutingWire, reader.mapping(raw, path), path)
    if wire is None:
        return None
    problems = reader.problems
    if not _PREFIX.fullmatch(wire.annotation_prefix):
        what = f"{wire.annotation_prefix!r} cannot stand before the slash of an annotation"
        problems.add((*path, "annotation_prefix"), what, "write a DNS name such as mtv-receiver.io")
    allow = (*path, "allow")
    names = read_globs(wire.allow.receivers, (*allow, "receivers"), problems)
    channels = read_globs(wire.allow.slack_channels, (*allow, "slack_channels"), problems)
    for at, glob in enumerate(names if len(names) == len(wire.allow.receivers) else ()):
        if receivers and not any(glob.matches(one) for one in receivers):
            what = f"no receiver has a name like {glob}"
            problems.warn((*allow, "receivers", at), what, "add one, or remove it: no namespace can choose it")
    for at, written in enumerate(wire.allow.slack_channels):
        if written and not written.strip("#*"):
            what = "every owner of a namespace may post to every channel that the bot is in"
            problems.warn((*allow, "slack_channels", at), what, "write a narrower glob, such as '#mig-*'")
    if wire.slack_receiver:
        check_names([wire.slack_receiver], receivers, "receiver", (*path, "slack_receiver"), problems)
    slack = next(_bots(receivers, wire.slack_receiver), None)
    if channels and slack is None and wire.slack_receiver in ("", *receivers):
        where = f"receiver {wire.slack_receiver}" if wire.slack_receiver else "any receiver"
        what = f"no slack_configs of {where} has a bot token: nothing can post to a chosen channel"
        problems.add((*allow, "slack_channels"), what, "give one app_token_file, or remove this key")
    return NamespaceRouting(
        position=problems.position(path),
        annotation_prefix=wire.annotation_prefix,
        receivers=names,
        slack_channels=channels,
        slack=slack if channels else None,
        slack_identity=_identity(slack, kinds) if channels and slack is not None else "",
    )


def _bots(receivers: Mapping[str, Receiver], wanted: str) -> Iterator[DestinationConfig]:
    for receiver in receivers.values():
        for one in receiver.destinations:
            if one.kind == "slack" and one.settings.app_token is not None and wanted in ("", receiver.name):
                yield one


def _identity(slack: DestinationConfig, kinds: Sequence[Kind]) -> str:
    """Return what an identity that `receiver.config.receivers` makes begins with, before the channel."""
    kind = next(one for one in kinds if one.kind == slack.kind)
    return f"{kind.kind}:{kind.target(slack.settings)}".removesuffix(slack.settings.channel)
