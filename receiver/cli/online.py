"""`check --online`: asks every destination, cluster and Alertmanager, without posting or changing anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import httpx2

from receiver import build
from receiver.attempt import Destination
from receiver.config.model import AlertmanagerConfig, ClusterConfig, Config, SecretError
from receiver.destinations import Inspects
from receiver.errors import DeliveryError, Transient, Unknown
from receiver.http import build_client
from receiver.kube import ClusterError
from receiver.kube.review import missing_rights
from receiver.kube.rights import RIGHTS, Right, beside

GOOD, REFUSED, UNASKED, SKIPPED = "good", "refused", "not asked", "skipped"
ALERTMANAGER_S = 5.0

_REACH = "check its address, the proxy and the firewall between"
# What refusals say → what helps. The first that is found counts.
_CURES = (
    ("scope", "add the scope to the app and install it again"),
    ("not_in_channel", "invite the app into the channel: /invite @app"),
    ("channel", "correct the channel, best by its id, and invite the app there"),
    ("is_archived", "unarchive the channel or name another"),
    ("issue type", "correct issue_type"),
    ("STARTTLS", "use port 465 if the server has it, or let it offer STARTTLS"),
    ("the sender is refused", "let this account send under that address, or correct from"),
    ("HTTP 404", "correct the URL or the project, or let the account see it"),
    ("HTTP 403", "give the account this right"),
    ("", "renew its token or key, and look that it belongs to this address"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What one destination, cluster, right or Alertmanager answered."""

    what: str
    result: str
    """GOOD, REFUSED (a problem), UNASKED (it did not answer) or SKIPPED (there was nobody to ask)."""
    detail: str = ""
    cure: str = ""
    rule: str = ""
    """The rule of a ClusterRole that the cure is, one line of YAML."""


async def ask_all(config: Config) -> tuple[Asked, ...]:
    """Ask everything at the same time; the answers are in the order of the file's sections."""
    words = build.renderer(config, lambda _: None)
    async with build.destinations(config, words, real=True) as destinations:
        asking = [
            *(_destination(one) for one in destinations.values()),
            *(_cluster(one, _wanted(config, one)) for one in config.clusters),
            *(_alertmanager(one, url) for one in config.alertmanagers for url in (one.url, *one.peers)),
        ]
        return tuple(one for answers in await asyncio.gather(*asking) for one in answers)


# --- destinations ---


async def _destination(destination: Destination) -> list[Asked]:
    label, limit = destination.config.label, destination.config.manners.timeout_s
    try:
        async with asyncio.timeout(limit):
            await destination.sender.probe()
            lacks = await destination.sender.shortcomings() if isinstance(destination.sender, Inspects) else ()
    except TimeoutError:
        return [Asked(label, UNASKED, f"no answer within {limit:g} s", _REACH)]
    except (Transient, Unknown) as error:
        return [Asked(label, UNASKED, error.reason, _REACH)]
    except DeliveryError as error:
        return [Asked(label, REFUSED, error.reason, _cure(error.reason))]
    except SecretError as error:
        return [Asked(label, REFUSED, str(error))]
    return [_lacking(label, one) for one in lacks] or [Asked(label, GOOD)]


def _lacking(label: str, said: str) -> Asked:
    """Return what a destination lacks; one that says `what; cure` knows its cure."""
    what, _, cure = said.partition("; ")
    return Asked(label, REFUSED, what, cure or _cure(said))


def _cure(reason: str) -> str:
    return next(cure for words, cure in _CURES if words in reason)


# --- clusters ---


def _wanted(config: Config, cluster: ClusterConfig) -> tuple[Right, ...]:
    """Return the rights that are used in a cluster under this configuration."""
    needed = beside(config, cluster.name)
    names = {one.name for one in needed}
    return (*(one for one in RIGHTS if one.name not in names), *needed)


async def _cluster(config: ClusterConfig, wanted: tuple[Right, ...]) -> list[Asked]:
    what = f"cluster {config.name}"
    cluster = build.cluster(config)
    if cluster is None:
        return [Asked(what, SKIPPED, "not in a pod, and no kubeconfig_file: there is nobody to ask")]
    try:
        version = await cluster.version()
    except ClusterError as error:
        return [_failed(what, error)]
    finally:
        await cluster.aclose()
    return [Asked(what, GOOD, version), *(() if config.must_gather else await _rights(config, wanted))]


async def _rights(config: ClusterConfig, wanted: tuple[Right, ...]) -> list[Asked]:
    what = f"rights in cluster {config.name}"
    try:
        lacking = await missing_rights(config.name, config.kubeconfig_file, rights=wanted, http=config.http)
    except ClusterError as error:
        return [_failed(what, error)]
    if not lacking:
        return [Asked(what, GOOD, f"all {len({one.name for one in wanted})}")]
    needed = [_lacks(what, right) for right in lacking if not right.optional]
    return [*needed, *_optional(what, [right for right in lacking if right.optional])]


def _lacks(what: str, right: Right) -> Asked:
    rule = right.rule
    detail = f"forbidden, needs {right.name} (for: {right.needed_for})"
    return Asked(what, REFUSED, detail, f"add to its ClusterRole: {rule}", rule)


def _optional(what: str, rights: list[Right]) -> Iterator[Asked]:
    for why, group in groupby(rights, key=lambda right: right.optional):
        yield Asked(what, SKIPPED, f"not granted, and needed {why}: {', '.join(right.name for right in group)}")


def _failed(what: str, error: ClusterError) -> Asked:
    if error.reason in ("unreachable", "timeout"):
        return Asked(what, UNASKED, error.message, _REACH)
    cures = {"unauthorized": "renew the credentials of this cluster", "forbidden": "give the account this right"}
    return Asked(what, REFUSED, error.message, cures.get(error.reason, "correct the address or the folder"))


# --- Alertmanagers ---


async def _alertmanager(config: AlertmanagerConfig, url: str) -> list[Asked]:
    what = f"alertmanager {config.name} at {httpx2.URL(url).netloc.decode(errors='replace')}"
    client = build_client(config.http, ALERTMANAGER_S)
    try:
        async with asyncio.timeout(ALERTMANAGER_S):
            response = await client.get(f"{url.rstrip('/')}/api/v2/status")
    except (TimeoutError, httpx2.HTTPError) as error:
        return [Asked(what, UNASKED, f"no answer ({type(error).__name__})", _REACH)]
    except SecretError as error:
        return [Asked(what, REFUSED, str(error))]
    finally:
        await client.aclose()
    if response.status_code >= 500:
        return [Asked(what, UNASKED, f"HTTP {response.status_code}", "ask again when it runs well")]
    if response.status_code != 200:
        return [Asked(what, REFUSED, f"HTTP {response.status_code}", "correct url or http_config")]
    version = _version(response)
    if version is None:
        return [Asked(what, REFUSED, "the answer is no status of an Alertmanager", "correct url")]
    return [Asked(what, GOOD, version)]


def _version(response: httpx2.Response) -> str | None:
    try:
        answer = response.json()
    except ValueError:
        return None
    told = answer.get("versionInfo") if isinstance(answer, dict) else None
    return str(told.get("version", "unknown version")) if isinstance(told, dict) else None
