"""What forklift-controller logged about this Plan and its VMs: errors that never reach the Plan's status.

A reconcile that returns an error leaves the status as it was and is repeated every three seconds, so only the log says
why nothing happens. The log is the same for all Plans: it is asked for in one form, so that one answer serves a storm.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from receiver.enrichers import Context, Part, Text, missing
from receiver.enrichers.lines import clean, cut
from receiver.enrichers.pods import name_of
from receiver.enrichers.reading import dig, mapping, moment, text
from receiver.kube import Cluster, ClusterError
from receiver.model import LogExcerpt, Missing

CONTROLLER_NAMESPACES = ("openshift-mtv", "konveyor-forklift")
PODS = "app=forklift,control-plane=controller-manager"
CONTAINER = "main"
# About ten lines per running VM every three seconds: 20 VMs fill this in a minute, an idle controller in an hour.
TAIL_LINES = 5_000
LIMIT_BYTES = 2_097_152
SINCE_SECONDS = 3_600
SHOWN = 8


@dataclass(slots=True)
class _Said:
    """One message of the controller, and how often it came."""

    at: str
    words: str
    times: int = 1

    def shown(self) -> str:
        return f"{self.at} {cut(self.words)}" + (f" (repeated {self.times:,} times)" if self.times > 1 else "")


class Controller:
    """The enricher."""

    name = "controller log"
    budget_s = 6.0

    async def gather(self, ctx: Context) -> Part:
        if ctx.plan is None or not ctx.controller_namespaces:
            return Part()
        logs, refused = await read_logs(ctx.cluster, ctx.controller_namespaces, self.name)
        excerpts, texts, hidden = [], [], 0
        for namespace, pod, raw in logs:
            shown, count = ctx.redactor.text("\n".join(errors_of(raw, ctx)))
            hidden += count
            if shown:
                lines = tuple(shown.split("\n"))
                excerpts.append(LogExcerpt("", namespace, pod, CONTAINER, lines, read_lines=raw.count("\n")))
                texts.append(Text("log", "", shown))
        # A namespace that may not be read says nothing once the controller was found in another.
        said = refused if not excerpts else ()
        return Part(logs=tuple(excerpts), texts=tuple(texts), missing=said, hidden=hidden)


async def read_logs(
    cluster: Cluster, namespaces: Sequence[str], what: str
) -> tuple[list[tuple[str, str, str]], tuple[Missing, ...]]:
    """Return (namespace, pod, end of its log) of each controller, and the refusals, of which `what` says what for."""
    refused: list[Missing] = []

    async def pods(namespace: str) -> list[tuple[str, str]]:
        try:
            found = await cluster.list("Pod", namespace, label_selector=PODS)
        except ClusterError as error:
            if error.reason != "not found":
                refused.append(missing(what, error, f"list pods in namespace {namespace}"))
            return []
        running = [pod for pod in found if dig(pod, "status", "phase") in ("Running", None)]
        return [(namespace, name_of(pod)) for pod in running[:2] if name_of(pod)]

    places = [place for one in await asyncio.gather(*(pods(each) for each in namespaces)) for place in one]
    logs = []
    for namespace, pod in places:
        try:
            raw = await cluster.log(
                namespace, pod, CONTAINER,
                tail_lines=TAIL_LINES, limit_bytes=LIMIT_BYTES, since_seconds=SINCE_SECONDS,
            )  # fmt: skip
        except ClusterError as error:
            refused.append(missing(what, error, f"get pods/log in namespace {namespace}"))
            continue
        logs.append((namespace, pod, raw))
    return logs, tuple(dict.fromkeys(refused))


def errors_of(log: str, ctx: Context) -> tuple[str, ...]:
    """Return the errors that the controller logged about this Plan's run, equal ones once, the last ones of them."""
    namespace, name = text(dig(ctx.plan, "metadata", "namespace")), text(dig(ctx.plan, "metadata", "name"))
    vms = {failure.id for failure in ctx.known.failures if failure.id}
    said: dict[str, _Said] = {}
    for record in _records(log, (name, *vms)):
        if text(record.get("level")) not in ("error", "fatal", "panic", "dpanic"):
            continue
        if not _about(record, namespace, name, vms) or _before(record, ctx.known.started):
            continue
        words = _words(record)
        if known := said.get(words):
            known.times += 1
        else:
            said[words] = _Said(text(record.get("ts"), 40), words)
    return tuple(one.shown() for one in list(said.values())[-SHOWN:])


def _records(log: str, needles: Iterable[str]) -> Iterable[Mapping[str, Any]]:
    """Yield the JSON lines that can be about one of the names; all others are not even parsed."""
    wanted = [needle for needle in needles if needle]
    for line in log.split("\n"):
        if '"error"' not in line and '"fatal"' not in line and '"panic"' not in line:
            continue
        if not line.startswith("{") or not any(needle in line for needle in wanted):
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(record, dict):
            yield record


def _about(record: Mapping[str, Any], namespace: str, name: str, vms: set[str]) -> bool:
    """Tell whether a line is about this Plan. The same VM ids stand in several Plans, so a Plan's name decides."""
    plan = record.get("plan")
    if isinstance(plan, dict):
        return plan.get("namespace") == namespace and plan.get("name") == name
    if isinstance(plan, str):
        return plan == f"{namespace}/{name}"
    migration = record.get("migration")
    if isinstance(migration, str):
        return migration.startswith(f"{namespace}/{name}-")
    if isinstance(migration, dict):
        return migration.get("namespace") == namespace and text(migration.get("name")).startswith(f"{name}-")
    about = text(record.get("vm"))
    return any(f"id:{vm} " in f"{about} " for vm in vms)


def _before(record: Mapping[str, Any], started: datetime | None) -> bool:
    """A line of an earlier run is no evidence of this one. The controller writes UTC without a zone."""
    at = moment(record.get("ts"))
    return at is not None and started is not None and at < started


def _words(record: Mapping[str, Any]) -> str:
    """Return what a person needs of a line: who, what, why, which VM; never the stack."""
    logger = text(record.get("logger"), 100).partition("|")[0]
    parts = [f"{logger}: {text(record.get('msg'), 300)}" if logger else text(record.get("msg"), 300)]
    error = record.get("error")
    if why := text(error) or text(mapping(error).get("message")):
        parts.append(why)
    if vm := text(record.get("vm"), 200).strip():
        parts.append(f"({vm})")
    return " ".join(clean(" ".join(parts)).split())
