"""Makes what the configuration names: clusters, templates, senders. Shared by the service and the offline commands."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Final

import httpx2

from receiver.attempt import Destination
from receiver.chosen import Destinations
from receiver.config.model import ClusterConfig, Config, DestinationConfig, Secret
from receiver.config.receivers import secrets_of
from receiver.destinations import Kind, Sender
from receiver.destinations.registry import ALL
from receiver.destinations.shadow import Shadow
from receiver.http import build_client
from receiver.kube import Cluster
from receiver.kube.account import in_pod
from receiver.kube.mustgather import MustGather
from receiver.rendering import Renderer
from receiver.rendering.renderer import StoryRenderer
from receiver.rendering.templates import Templates

KINDS: dict[str, Kind] = {kind.kind: kind for kind in ALL}
CHOSEN: Final = "chosen by namespaces"
CHOSEN_CONNECTIONS: Final = 40


def cluster(config: ClusterConfig) -> Cluster | None:
    """Return a source of objects; None for the pod's own cluster outside a pod."""
    if config.must_gather is not None:
        return MustGather(config.name, config.must_gather)
    if config.kubeconfig_file is None and not in_pod():
        return None
    from receiver.kube.client import LiveCluster  # with its library: nobody pays for it who names no cluster

    if config.kubeconfig_file is not None:
        return LiveCluster.from_kubeconfig(config.name, config.kubeconfig_file, http=config.http)
    return LiveCluster.from_service_account(config.name, http=config.http)


def clusters(config: Config, kept: Mapping[str, Cluster] | None = None) -> dict[str, Cluster]:
    """Return all configured clusters that there are; those in `kept` are taken from there."""
    kept = kept or {}
    made = {one.name: kept.get(one.name) or cluster(one) for one in config.clusters}
    return {name: one for name, one in made.items() if one is not None}


def renderer(config: Config, on_broken: Callable[[str], None]) -> Renderer:
    """Return the words for stories."""
    return StoryRenderer(Templates(config.templates_dir), on_broken)


@asynccontextmanager
async def destinations(config: Config, words: Renderer, *, real: bool = False) -> Any:
    """Yield every destination of the configuration by identity; their clients are closed at the end.

    `real`: also those in shadow mode as they will be without it, to ask and to show, not to send.
    """
    made: dict[str, Destination] = {}
    clients: dict[str, httpx2.AsyncClient] = {}

    def make(one: DestinationConfig, client: httpx2.AsyncClient) -> Destination:
        one = replace(one, interactive=one.kind == "slack" and config.web.slack_signing_secret is not None)
        sender: Sender = KINDS[one.kind].build(one, client, words.in_folder(one.templates_dir))
        if one.shadow and not real:
            sender = Shadow(sender, send_resolved=one.send_resolved)
        return Destination(one, sender, partial(secret_mark, one), asyncio.Semaphore(one.manners.max_in_flight))

    def make_chosen(one: DestinationConfig) -> Destination:
        """All channels that namespaces chose share a client: there may be hundreds, and few are busy at a time."""
        if CHOSEN not in clients:
            clients[CHOSEN] = build_client(one.http, one.manners.timeout_s, max_connections=CHOSEN_CONNECTIONS)
        return make(one, clients[CHOSEN])

    try:
        for one in config.destinations:
            limits = one.manners
            clients[one.identity] = build_client(one.http, limits.timeout_s, max_connections=limits.max_in_flight + 2)
            made[one.identity] = make(one, clients[one.identity])
        yield Destinations(config, made, make_chosen)
    finally:
        for client in clients.values():
            await client.aclose()


def uses_tls(config: Config) -> bool:
    """May some destination be reached through TLS? One whose address stands in a secret may."""
    for one in config.destinations:
        urls = [value for _, value in one.settings if isinstance(value, str) and value.startswith("http")]
        if not urls or any(url.startswith("https:") for url in urls):
            return True
    return False


def secret_mark(config: DestinationConfig) -> str:
    """Return a mark that changes when one of a destination's secret files does: from times and sizes, never content."""
    marks = []
    for secret in _secrets(config):
        if secret.file is None:
            marks.append(secret.place)
            continue
        try:
            stat = secret.file.stat()
        except OSError:
            marks.append("missing")
        else:
            marks.append(f"{stat.st_mtime_ns}:{stat.st_size}:{stat.st_ino}")
    return hashlib.sha256("\n".join(marks).encode()).hexdigest()[:16]


def _secrets(config: DestinationConfig) -> Iterator[Secret]:
    for _, secret in secrets_of(config.settings):
        yield secret
    for value in (config.http.password, config.http.credentials):
        if value is not None:
            yield value
