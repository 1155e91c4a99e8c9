"""One look at a cluster for an alert that is not of a Plan: what is asked, what came, and what could not be had.

Everything that goes in is redacted here, once. No call raises for what a cluster does: a refusal becomes a `Missing`
with the right that would cure it. What stands here when the time is over is what the story shows.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from receiver.enrichers import missing
from receiver.enrichers.conditions import state_of
from receiver.enrichers.events import events_of, redacted
from receiver.enrichers.lines import clean, decisive_lines
from receiver.enrichers.redact import Redactor
from receiver.kube import Cluster, ClusterError, Obj
from receiver.kube.kinds import is_name, kind_of, where
from receiver.model import Evidence, Link, LogExcerpt, Missing, ObjectEvent, ObjectState

MAX_EVENTS = 8
MAX_LOGS = 3
TAIL_LINES = 200
LIMIT_BYTES = 65_536


@dataclass(slots=True)
class Look:
    """What was learnt so far."""

    cluster: Cluster
    redactor: Redactor
    now: datetime
    objects: list[ObjectState] = field(default_factory=list)
    events: list[ObjectEvent] = field(default_factory=list)
    logs: list[LogExcerpt] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    steps: list[Link] = field(default_factory=list)
    commands: list[Link] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    hidden: int = 0

    async def get(self, kind: str, namespace: str | None, name: str, *, absent: bool = True) -> Obj | None:
        """Return an object of a kind that we know; with `absent`, that there is none is said."""
        entry = kind_of(kind)
        try:
            found = await self.cluster.get(kind, namespace, name)
        except ClusterError as error:
            self.refused(_called(kind, namespace, name), error, f"get {entry.resource}{where(entry, namespace)}")
            return None
        if found is None and absent:
            self.absent(kind, namespace if entry.namespaced else None, name)
        return found

    async def list(self, kind: str, namespace: str | None, **query: Any) -> tuple[Obj, ...] | None:
        """Return the objects that match; None where they could not be read, which is said."""
        entry = kind_of(kind)
        try:
            return await self.cluster.list(kind, namespace, **query)
        except ClusterError as error:
            self.refused(entry.plural, error, f"list {entry.resource}{where(entry, namespace)}")
            return None

    async def look_at_events(self, namespace: str, names: Iterable[str]) -> tuple[ObjectEvent, ...]:
        """Add and return the events of these objects, redacted."""
        try:
            raw = await events_of(self.cluster, namespace, names=tuple(names), now=self.now, limit=MAX_EVENTS)
        except ClusterError as error:
            self.refused("events", error, f"list events in namespace {namespace}")
            return ()
        events, hidden = redacted(raw, self.redactor)
        self.hidden += hidden
        self.events += events
        return events

    async def look_at_log(self, namespace: str, pod: str, container: str, *, previous: bool) -> None:
        """Add the decisive lines of a log: of the run before its restart where there was one."""
        what = f"log of {pod}"
        raw = ""
        try:
            raw = await self._log(namespace, pod, container, previous)
        except ClusterError as error:
            if not (previous and error.reason == "not found"):
                self.refused(what, error, f"get pods/log in namespace {namespace}")
                return
            previous = False
            try:
                raw = await self._log(namespace, pod, container, previous)
            except ClusterError as second:
                self.refused(what, second, f"get pods/log in namespace {namespace}")
                return
        self.keep_log(namespace, pod, container, raw, previous=previous)

    async def _log(self, namespace: str, pod: str, container: str, previous: bool) -> str:
        return await self.cluster.log(
            namespace, pod, container, previous=previous, tail_lines=TAIL_LINES, limit_bytes=LIMIT_BYTES
        )

    def keep_log(self, namespace: str, pod: str, container: str, raw: str, *, previous: bool = False) -> None:
        """Redact a log before anything is cut from it, and keep what says most."""
        whole = self.hide(clean(raw))
        first, lines = decisive_lines(whole)
        if lines and len(self.logs) < MAX_LOGS:
            read = len(whole.splitlines())
            self.logs.append(LogExcerpt("", namespace, pod, container, lines, first, previous, read))

    def show(self, obj: Mapping[str, Any]) -> ObjectState:
        """Add and return an object's state and bad conditions, redacted."""
        state = state_of(obj, self.now)
        shown = replace(state, state=self.hide(state.state), bad=tuple(self.hide(one) for one in state.bad))
        self.objects.append(shown)
        return shown

    def find(self, sentence: str) -> None:
        """Add a conclusion."""
        self.findings.append(self.hide(sentence))

    def hide(self, said: str) -> str:
        """Return a text without secrets, and count them."""
        shown, hidden = self.redactor.text(said)
        self.hidden += hidden
        return shown

    def do(self, step: str, *words: str) -> None:
        """Add a step, with its command where every name in it is one that a cluster would take."""
        self.steps.append(Link(self.hide(step), command(*words)))

    def run(self, caption: str, *words: str, then: str = "") -> None:
        """Add a command to copy; `then` is the rest of the line, already fit for a shell."""
        made = command(*words)
        if made:
            self.commands.append(Link(caption, f"{made} {then}".rstrip()))

    def absent(self, kind: str, namespace: str | None, name: str) -> None:
        """Say that an object is not there."""
        self.missing.append(Missing(_called(kind, namespace, name), "there is none (any more)", passing=False))

    def refused(self, what: str, error: ClusterError, right: str) -> None:
        """Say what could not be read, why, and what would cure it; the same refusal once."""
        said = missing(what, error, right)
        if error.reason == "not found":
            said = replace(said, why="this cluster does not have it")
        said = replace(said, why=self.hide(said.why))
        if said not in self.missing:
            self.missing.append(said)

    def evidence(self, links: Iterable[Link], lacking: Iterable[Missing]) -> Evidence:
        """Return everything as evidence."""
        lacks = (*self.missing, *lacking)
        return Evidence(
            objects=tuple(self.objects),
            events=tuple(self.events[:MAX_EVENTS]),
            findings=tuple(self.findings),
            steps=tuple(self.steps),
            logs=tuple(self.logs),
            commands=tuple(self.commands),
            links=tuple(links),
            missing=lacks,
            hidden=self.hidden,
            read_at=self.now,
            complete=not any(one.passing for one in lacks),
        )


def command(*words: str) -> str:
    """Return a command line, each word quoted for a shell; empty without words, or where a word is empty or odd.

    A word from a label may hold anything: what no name, flag or value of ours looks like gives no command at all.
    """
    if not words or any(not word or not word.isprintable() or len(word) > 500 for word in words):
        return ""
    return shlex.join(words)


def place(namespace: str | None) -> tuple[str, ...]:
    """Return the words that name a namespace."""
    return ("-n", namespace) if namespace else ()


def safe(*names: str) -> bool:
    """Tell whether these can all be names of objects."""
    return all(is_name(name) for name in names)


def _called(kind: str, namespace: str | None, name: str) -> str:
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"
