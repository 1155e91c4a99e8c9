"""One story at every point of its life, and senders for it: what the sender tests share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx2

from receiver.config.model import DestinationConfig, HttpConfig, Secret
from receiver.destinations import Kind, Sender, Step
from receiver.destinations.registry import ALL
from receiver.http import build_client
from receiver.ids import keys
from receiver.model import (
    Alert,
    AlertStatus,
    Cause,
    Change,
    Entry,
    Evidence,
    Identity,
    Impact,
    Link,
    LogExcerpt,
    Missing,
    Outcome,
    PlanPhase,
    Reason,
    Receipt,
    Story,
    StoryAlert,
    StoryState,
    TimelineEntry,
    VMCounts,
    VMFailure,
    Wanted,
)
from receiver.rendering import Message, Paragraph, Renderer, Span
from receiver.rendering.renderer import StoryRenderer
from receiver.rendering.templates import Templates
from receiver.verdict import merged

OPENED = datetime(2025, 11, 22, 21, 19, 40, tzinfo=UTC)
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
TOKEN = "xoxb-planted-token"
KINDS: Mapping[str, Kind] = {kind.kind: kind for kind in ALL}

EVIDENCE = Evidence(
    run="run-1",
    run_name="pay-w17-03-7k2qp",
    run_number=1,
    phase=PlanPhase.FAILED,
    started=OPENED - timedelta(minutes=19),
    ended=OPENED + timedelta(hours=3),
    mode="cold",
    source_provider="vcenter-a",
    target_provider="host",
    counts=VMCounts(total=20, failed=3, succeeded=17),
    failures=tuple(
        VMFailure(
            id=f"vm-22{at}",
            name=f"pay-win-app0{at}",
            step="ImageConversion",
            phase="ConvertGuest",
            reasons=("virt-v2v: could not read key from user",),
            failed_at=OPENED,
            power_before="On",
            power_now="off",
            target_exists=False,
        )
        for at in (4, 5, 6)
    ),
    impact=Impact.DOWN,
    impact_text="pay-win-app04 and pay-win-app05 were On and are off since 22:06 UTC.",
    logs=(
        LogExcerpt(
            vm="pay-win-app04",
            namespace="payments-prod",
            pod="pay-w17-03-vm-224",
            container="virt-v2v",
            lines=('vfs_type "/dev/sda4"', 'vfs_type = "BitLocker"', "virt-v2v: could not read key from user"),
            first_line=18_204,
        ),
    ),
    cause=Cause(
        id="guest-bitlocker",
        sentence="the system disk is BitLocker-encrypted and the plan has no key for it",
        certainty="3 of 3 logs",
        owner="Windows guest team",
        remedy=("Power on both VMs in vCenter.", "In each guest `manage-bde -off C:`.", "Re-run the plan."),
    ),
    links=(Link("Runbook", "https://runbooks.example.com/bitlocker"),),
    missing=(Missing("logs of pay-win-app06", "forbidden", "needs get pods/log in payments-prod"),),
    read_at=OPENED + timedelta(seconds=9),
    complete=True,
)


def story(**changes: Any) -> Story:
    """Return a story of a failed plan, all evidence read."""
    alert = Alert(
        fingerprint="0123456789abcdef",
        status=AlertStatus.FIRING,
        labels={"alertname": "MTVPlanFailed", "severity": "critical", "plan": "7c1e0b52", "cluster": "ocp-prod-2"},
        annotations={"summary": "Migration plan failed"},
        starts_at=OPENED,
    )
    identity = Identity(
        subject="plan/7c1e0b52",
        kind="plan",
        cluster="ocp-prod-2",
        uid="7c1e0b52",
        namespace="mig-payments",
        name="pay-w17-03",
        target_namespace="payments-prod",
        owner_namespace="mig-payments",
    )
    made = Story(
        id="01K9ZQ4T7MABCDEFGHJKMNPQRS",
        subject="plan/7c1e0b52",
        kind="plan",
        state=StoryState.FIRING,
        revision=2,
        severity="critical",
        title="pay-w17-03",
        opened=OPENED,
        updated=OPENED,
        identity=identity,
        evidence=EVIDENCE,
        alerts=(StoryAlert(alert),),
        timeline=(TimelineEntry(1, OPENED, Change.FIRED, "the plan failed"),),
        run="run-1",
    )
    return replace(made, **changes)


def wanted(the_story: Story | None = None, **changes: Any) -> Wanted:
    """Return what a delivery of this story wants first: nothing sent yet, an audible change waiting."""
    the_story = the_story or story()
    made = Wanted(
        story=the_story,
        keys=keys(the_story.id, the_story.subject, "example"),
        firing=the_story.open,
        reasons=(Reason("routes.yaml:41", "target namespace payments-prod matches payments-*"),),
        audible=True,
        external_url="https://mtv.example.com",
    )
    return replace(made, **changes)


def moved(
    before: Wanted, change: Change, *, key: str = "", text: str = "", quiet_allowed: bool = False, **changes: Any
) -> Wanted:
    """Return the same delivery one revision later; `changes` are the story's."""
    revision = before.story.revision + 1
    at = before.story.updated + timedelta(minutes=30)
    text = text or f"what {change.value} means"
    line = TimelineEntry(revision, at, change, text, key)
    after = replace(
        before.story, **{"revision": revision, "updated": at, "timeline": (*before.story.timeline, line), **changes}
    )
    entries = (Entry(key, change, at, text, revision),) if key else ()
    return replace(
        before,
        story=after,
        firing=after.open,
        audible=line.audible,
        quiet_allowed=quiet_allowed,
        entries=before.entries + entries,
    )


def quiet_alerts(the_story: Story) -> tuple[StoryAlert, ...]:
    """Return the story's alerts as they are when none fires any more."""
    return tuple(
        replace(each, alert=replace(each.alert, status=AlertStatus.RESOLVED, ends_at=OPENED + timedelta(hours=1)))
        for each in the_story.alerts
    )


FIXED: dict[str, Any] = {"state": StoryState.RESOLVED, "outcome": Outcome.FIXED, "closed": OPENED + timedelta(hours=7)}


@dataclass(frozen=True, slots=True)
class FixedRenderer:
    """Returns the same messages for every story, so that tests can plan on exact ones."""

    message: Message

    def warm_up(self) -> Iterator[None]:
        return iter(())

    def in_folder(self, folder: Path | None) -> FixedRenderer:
        del folder
        return self

    def root(self, wanted: Wanted, kind: str, content: str = "full") -> Message:
        del wanted, kind, content
        return self.message

    def entry(self, entry: Entry, wanted: Wanted, kind: str, content: str = "full") -> Message:
        del wanted, kind, content
        return Message(entry.text, entry.text, "🔵", "#1264a3", (Paragraph((Span(entry.text),)),))


@cache
def renderer() -> Renderer:
    """Return the shipped messages; a broken one fails the test."""

    def broken(what: str) -> None:
        raise AssertionError(what)

    return StoryRenderer(Templates(), broken)


def secret(folder: Path, name: str, content: str) -> Secret:
    """Return a secret in a file of its own."""
    file = folder / name
    file.write_text(content)
    return Secret(file=file)


def sender(
    kind: str,
    raw: Mapping[str, Any],
    folder: Path,
    *,
    clients: list[httpx2.AsyncClient] | None = None,
    transport: httpx2.AsyncBaseTransport | None = None,
    texts: Renderer | None = None,
    http: HttpConfig = HttpConfig(),  # noqa: B008 - frozen
    **common: Any,
) -> Sender:
    """Return a sender as the configuration would build it; secrets are written as `x_file: CONTENT`.

    Its client is added to `clients`, for the test to close.
    """
    given = {key: value for key, value in raw.items() if not key.endswith("_file")}
    for key, content in raw.items():
        if key.endswith("_file"):
            given[key] = secret(folder, key, content).file
    settings = KINDS[kind].settings.model_validate(given, context={"base": folder})
    config = DestinationConfig(
        kind=kind,
        identity=f"{kind}:{KINDS[kind].target(settings)}",
        receiver="payments",
        position="routes.yaml:9",
        settings=settings,
        **common,
    )
    client = build_client(http, 5.0, transport=transport)
    if clients is not None:
        clients.append(client)
    return KINDS[kind].build(config, client, texts or renderer())


async def deliver(the_sender: Sender, state: Wanted) -> tuple[list[str], Wanted]:
    """Carry out every step as the engine does; return their names and what the delivery then holds."""
    done: list[str] = []
    while (step := the_sender.plan(state)) is not None:
        assert len(done) < 10, f"no end: {done}"
        receipt = await the_sender.send(step, state)
        done.append(step.op)
        state = after(state, step, receipt)
    return done, replace(state, entries=(), audible=False)


def after(state: Wanted, step: Step, receipt: Receipt) -> Wanted:
    """Return the delivery with a step's receipt recorded."""
    if step.part == "root":
        return replace(state, root=receipt, confirm=False)
    if step.kept_in_root:
        return replace(state, root=merged(state.root or {}, receipt))
    return replace(state, entries=tuple(entry for entry in state.entries if entry.key != step.part))
