"""A storm as people read it: 60 of 200 VMs in 31 plans. UPDATE_GOLDEN=1 rewrites; read the difference."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from receiver.digest_rules import Member, all_clear, member_of, sum_up
from receiver.ids import keys
from receiver.model import (
    Cause,
    Change,
    Digest,
    Entry,
    Evidence,
    Identity,
    Impact,
    Outcome,
    PlanPhase,
    Reason,
    Story,
    StoryState,
    TimelineEntry,
    VMCounts,
    VMFailure,
    Wanted,
)
from receiver.rendering.text import message_text
from tests.contract.examples import renderer
from tests.contract.test_sender_bodies import check_event, check_slack, senders

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "digests"
BEGUN = datetime(2026, 11, 21, 2, 14, tzinfo=UTC)
FULL = Cause(
    "storage-full", "The storage class nfs-gold has no space left.", "33 of 33 logs", "storage",
    ("Extend the backend of nfs-gold, or free space there.", "Hold plans that have not begun."), "https://docs.example.com/full",
)  # fmt: skip
LOGIN = Cause("vcenter-login", "vCenter vcenter-a refuses the login of the provider.", "", "vSphere",
              ("Put the right password into the provider's secret.",))  # fmt: skip
LOCKED = Cause("guest-bitlocker", "The disk is BitLocker-encrypted.", "", "Windows guest team", ("Decrypt it.",))


def failing(number: int, namespace: str, cause: Cause | None, failed: int, down: int, **changes: object) -> Member:
    """Return one plan of the wave: so many of its VMs failed, the first of these are down."""
    failures = tuple(
        VMFailure(f"vm-{number}-{at}", f"{namespace}-app{number}{at}", "DiskTransfer",
                  power_before="On" if at < down else "Off", power_now="off", target_exists=False)
        for at in range(failed)
    )  # fmt: skip
    evidence = Evidence(
        run=f"run-{number}",
        phase=PlanPhase.FAILED,
        counts=VMCounts(total=6, failed=failed, succeeded=6 - failed),
        failures=failures,
        impact=Impact.DOWN if down else Impact.NONE,
        cause=cause,
        unrecognised="" if cause else "virt-v2v: error: no route to the boot loader",
        complete=True,
    )
    identity = Identity(
        f"plan/{number}", "plan", "ocp-prod-2", str(number), f"mig-{namespace}", f"w17-{number:02}",
        target_namespace=namespace,
    )  # fmt: skip
    state = str(changes.get("state", "firing"))
    return member_of(f"01K9STORY{number:02}", state, "", "critical", f"run-{number}", identity, evidence)


def wave(**changes: object) -> list[Member]:
    return [
        *(failing(n, "payments-prod", FULL, 2, 1, **changes) for n in range(1, 13)),
        *(failing(n, "cards-prod", LOGIN, 3, 2, **changes) for n in range(13, 20)),
        *(failing(n, "treasury-prod", LOCKED, 1, 0, **changes) for n in range(20, 26)),
        failing(26, "treasury-prod", None, 1, 0, **changes),
    ]


def unread(number: int) -> Member:
    return member_of(f"01K9STORY{number:02}", "firing", f"w17-{number:02}", "critical", "", None, None)


def story(digest: Digest, state: StoryState = StoryState.FIRING) -> Story:
    over = state is StoryState.RESOLVED
    text = all_clear(digest)
    closed = BEGUN + timedelta(hours=3, minutes=33)
    return Story(
        id="01K9ZQ4T7MABCDEFGHJKMNPQRS",
        subject="digest/01K9ZQ4T7MABCDEFGHJKMNPQRS",
        kind="digest",
        state=state,
        revision=2,
        severity="critical",
        title="26 failures at once",
        opened=BEGUN,
        updated=closed,
        closed=closed if over else None,
        outcome=Outcome.FIXED if over else None,
        note=text if over else "",
        timeline=(TimelineEntry(2, closed, Change.RESOLVED, text, "resolved"),) if over else (),
        digest=digest,
    )


def wanted(digest: Digest, state: StoryState = StoryState.FIRING) -> Wanted:
    one = story(digest, state)
    return Wanted(
        story=one,
        keys=keys(one.id, one.subject, "slack"),
        firing=one.open,
        reasons=(Reason("", "more than 3 new failures in 10 min for platform/slack"),),
        audible=True,
        external_url="https://mtv.example.com",
    )


DIGESTS = {
    "wave": wanted(sum_up(wave(), since=BEGUN)),
    "first-seconds": wanted(sum_up([unread(n) for n in range(57)], since=BEGUN)),
    "one-cause": wanted(sum_up(wave()[:12], topic="storage-full", since=BEGUN, storm=False)),
    "over": wanted(sum_up(wave(state="fixed"), since=BEGUN, storm=False), StoryState.RESOLVED),
}


@pytest.mark.parametrize("name", DIGESTS)
@pytest.mark.parametrize("content", ["full", "minimal"])
def test_digests_read_as_their_golden_files(name: str, content: str, tmp_path: Path) -> None:
    shown = DIGESTS[name]
    kind = "jira" if name == "one-cause" else "slack"
    entry = Entry("worse-3", Change.WORSE, BEGUN + timedelta(hours=1), "10 more VMs down, 26 in all", 3)
    words = renderer()
    said = [message_text(words.root(shown, kind, content)), message_text(words.entry(entry, shown, kind, content))]
    pager = senders(tmp_path)["pagerduty"].plan(shown)
    if pager is not None and content == "full":
        said.append(json.dumps(pager.body, indent=1, ensure_ascii=False))
    text = "\n\n————\n\n".join(said) + "\n"
    path = GOLDEN / f"{name}.{content}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", DIGESTS)
def test_what_is_sent_of_digests_keeps_to_the_vendors_limits(name: str, tmp_path: Path) -> None:
    made = senders(tmp_path)
    slack, pager = made["slack"].plan(DIGESTS[name]), made["pagerduty"].plan(DIGESTS[name])
    assert slack is not None
    check_slack(slack.body)
    if pager is not None:
        check_event(pager.body)


def test_minimal_digests_name_no_plan_namespace_or_cause(tmp_path: Path) -> None:
    shown = replace(DIGESTS["wave"])
    message = message_text(renderer().root(shown, "slack", "minimal"))
    for secret in ("w17-", "payments-prod", "BitLocker", "nfs-gold", "bitlocker", "storage"):
        assert secret not in message, message
