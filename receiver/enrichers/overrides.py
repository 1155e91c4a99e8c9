"""Runbooks that people keep in ConfigMaps: label `mtv-receiver.io/runbooks: "true"`, a key per alert or cause.

    data:
      KubePodCrashLooping: https://wiki.example.com/crash
      cause.guest-bitlocker: https://wiki.example.com/bitlocker?host={{ labels.node }}
      MTVPlanFailed: |
        # What we do here
        …
      _rules.yaml: |
        - match: "Ceph.*"
          runbook: https://wiki.example.com/ceph

A value is one URL or Markdown. A team's own namespace is asked before the service's. One list for all namespaces,
asked again after a minute; what cannot be read leaves what was read before.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import re2
import yaml

from receiver.enrichers.reading import dig, mapping, strings
from receiver.kube import Cluster, ClusterError
from receiver.kube.account import ACCOUNT
from receiver.kube.kinds import is_name

LABEL = "mtv-receiver.io/runbooks"
RULES = "_rules.yaml"
CAUSE = "cause."
KEPT_S = 60.0
TIMEOUT_S = 2.0
MAX_VALUE = 65_536
"""Characters of one runbook; a ConfigMap holds at most 1 MiB."""
MAX_RULES = 200
MAX_PATTERN = 200

_LABEL = re.compile(r"\{\{\s*labels\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


@dataclass(frozen=True, slots=True)
class Override:
    """One runbook out of a ConfigMap."""

    namespace: str
    source: str
    """`namespace/name` of the ConfigMap."""
    value: str
    name: str = ""
    """Alert name, or `cause.` and the id of a cause; empty for a rule."""
    pattern: Any = None
    """Compiled RE2 that the whole alert name must match."""

    @property
    def is_link(self) -> bool:
        return len(self.value.split()) == 1 and self.value.startswith(("http://", "https://"))


@dataclass(frozen=True, slots=True)
class Book:
    """The overrides of one cluster."""

    overrides: tuple[Override, ...] = ()
    problem: str = ""
    """Why they could not be read the last time; empty where they could, or where nobody keeps any."""

    def find(self, name: str, namespaces: Sequence[str]) -> Override | None:
        """Return the runbook of an alert (or `cause.<id>`): by its exact name first, then by the first rule.

        Namespaces are asked in this order; ConfigMaps elsewhere do not count.
        """
        for exact in (True, False):
            for namespace in namespaces:
                for one in self.overrides:
                    if one.namespace != namespace:
                        continue
                    if one.name == name if exact else one.pattern is not None and one.pattern.fullmatch(name):
                        return one
        return None


@dataclass(slots=True)
class _Kept:
    book: Book = field(default_factory=Book)
    read_at: float | None = None
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class Overrides:
    """The books of all clusters, each read at most once a minute."""

    def __init__(self, own_namespace: str = "") -> None:
        """`own_namespace` is the service's own, for what concerns everybody."""
        self.own_namespace = own_namespace
        self._kept: dict[str, _Kept] = {}

    async def of(self, cluster: Cluster) -> Book:
        """Return a cluster's overrides. Never raises, and never takes longer than two seconds."""
        kept = self._kept.setdefault(cluster.name, _Kept())
        async with kept.reading:
            now = asyncio.get_running_loop().time()
            if kept.read_at is None or now - kept.read_at > KEPT_S:
                kept.book = await self._read(cluster, kept.book)
                kept.read_at = asyncio.get_running_loop().time()
        return kept.book

    async def _read(self, cluster: Cluster, before: Book) -> Book:
        why = ""
        for namespace in dict.fromkeys((None, self.own_namespace or None)):
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    found = await cluster.list("ConfigMap", namespace, label_selector=f"{LABEL}=true")
            except TimeoutError:
                return Book(before.overrides, "timeout")
            except ClusterError as error:
                why = why or error.reason
                if error.reason != "forbidden":
                    break
            else:
                return Book(tuple(one for obj in found for one in read_overrides(obj)), why)
        return Book(before.overrides, why)


def read_overrides(config_map: Mapping[str, Any]) -> tuple[Override, ...]:
    """Return the runbooks of one ConfigMap; what cannot be used is left out."""
    namespace = str(dig(config_map, "metadata", "namespace") or "")
    source = f"{namespace}/{dig(config_map, 'metadata', 'name')}"
    data = strings(config_map.get("data"))
    found = [
        Override(namespace, source, value.strip()[:MAX_VALUE], name=key)
        for key, value in data.items()
        if key != RULES and value.strip()
    ]
    return (*found, *_rules(namespace, source, data.get(RULES, "")))


def _rules(namespace: str, source: str, text: str) -> tuple[Override, ...]:
    if not text or len(text) > MAX_VALUE:
        return ()
    try:
        rules = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        return ()
    found = []
    for rule in rules[:MAX_RULES] if isinstance(rules, list) else ():
        match, value = mapping(rule).get("match"), mapping(rule).get("runbook")
        if not isinstance(match, str) or not isinstance(value, str) or not value.strip() or len(match) > MAX_PATTERN:
            continue
        try:
            pattern = re2.compile(match)
        except re2.error:
            continue
        found.append(Override(namespace, source, value.strip()[:MAX_VALUE], pattern=pattern))
    return tuple(found)


def filled(url: str, labels: Mapping[str, str]) -> str:
    """Return a link with `{{ labels.x }}` filled in, each value encoded; an unknown label stays as it is written."""
    return _LABEL.sub(lambda match: quote(labels[match[1]], safe="") if match[1] in labels else match[0], url)


def own_namespace(folder: Path = ACCOUNT) -> str:
    """Return the namespace that the pod runs in; empty outside a pod."""
    try:
        name = (folder / "namespace").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return name if is_name(name) else ""
