"""Failed migrations from the cluster's answers to what people read. UPDATE_GOLDEN=1 rewrites; read the difference."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.enrichers.evidence import gather_plan
from receiver.enrichers.redact import Redactor
from receiver.fingerprint import fingerprint
from receiver.kube.client import LiveCluster
from receiver.model import (
    Alert,
    AlertStatus,
    Change,
    Evidence,
    Identity,
    Impact,
    Story,
    StoryAlert,
    StoryState,
    TimelineEntry,
    Wanted,
)
from receiver.rendering.text import message_text
from tests.contract.catalogue import CATALOGUE
from tests.contract.examples import renderer, wanted
from tests.contract.failures import Failure
from tests.contract.mails import check_html
from tests.contract.test_sender_bodies import check_event, check_slack, senders
from tests.contract.test_ticket_bodies import check_incident
from tests.fakes.kubernetes import KubernetesApi, running
from tests.unit.kube.helpers import cluster_for

pytestmark = pytest.mark.anyio
GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "plans"
KINDS = ("slack.txt", "slack.json", "pagerduty.json", "jira.json", "servicenow.txt", "mail.txt")
# Three bars of a lock screen; a headline of Slack is cut by nobody, but read at a glance.
PUSH, TITLE = 104, 120
# A phone shows about 44 columns of a code block before it wraps: a table may be wider by one long name only.
TABLE = 64
IMPACTS = {
    Impact.DOWN: r"VMs? down\b", Impact.AT_RISK: r"at risk", Impact.NONE: r"No VM down",
    Impact.UNKNOWN: r"(?i)not known",
}  # fmt: skip
SEVERITIES = {Impact.DOWN: "critical", Impact.AT_RISK: "error", Impact.NONE: "warning", Impact.UNKNOWN: "info"}


@dataclass(frozen=True)
class Told:
    """What each kind of destination is sent for one failure."""

    evidence: Evidence
    wanted: Wanted
    slack: dict[str, Any]
    pagerduty: dict[str, Any]
    jira: dict[str, Any]
    servicenow: dict[str, Any]
    text: str
    mail: str
    html: str

    @property
    def shown(self) -> str:
        """Everything of the Slack message below its headline."""
        blocks = self.slack["blocks"]
        return "\n".join(
            part["text"] for block in blocks[1:] for part in ([block["text"]] if "text" in block else block["elements"])
        )


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    async with running(KubernetesApi()) as server:
        yield server


async def told(api: KubernetesApi, failure: Failure, folder: Path) -> Told:
    metadata, spec = failure.plan["metadata"], failure.plan["spec"]
    for obj in failure.objects:
        if not (failure.deleted and obj["kind"] == "Plan"):
            await api.apply(obj)
    for (namespace, pod, container, previous), text in failure.logs.items():
        api.set_log(namespace, pod, container, text, previous=previous)
    api.forbidden = failure.forbidden
    identity = Identity(
        subject=f"plan/{metadata['uid']}", kind="plan", cluster="ocp-prod-2", uid=metadata["uid"],
        namespace=metadata["namespace"], name=metadata["name"], target_namespace=spec["targetNamespace"],
    )  # fmt: skip
    opened = failure.now or opened_of(failure.plan)
    # "info" is what no impact is mapped to: what PagerDuty says comes from the impact alone.
    labels = {
        "alertname": failure.alertname,
        "severity": "info",
        "plan": metadata["uid"],
        "plan_name": metadata["name"],
    }
    notes = {"runbook_url": "https://runbooks.example.com/mtv"}
    cluster = cluster_for(api, folder)
    west = LiveCluster.from_kubeconfig(failure.target, folder / "kubeconfig") if failure.target else None
    to = spec["provider"]["destination"]

    async def kept(plan: str, run: str) -> tuple[dict[str, Any], datetime] | None:
        return failure.kept if plan == metadata["uid"] and run else None

    try:
        evidence = await gather_plan(
            cluster, identity, notes, redactor=Redactor(), now=opened, timeout_s=10.0, alertname=failure.alertname,
            destinations={f"{to['namespace']}/{to['name']}": west} if west else {}, kept=kept,
        )  # fmt: skip
    finally:
        await cluster.aclose()
        if west is not None:
            await west.aclose()
    evidence = replace(evidence, room=failure.room)
    story = Story(
        id="01K9ZQ4T7MABCDEFGHJKMNPQRS", subject=identity.subject, kind="plan", severity="info",
        state=StoryState.FIRING,
        opened=opened, updated=opened,
        identity=identity, evidence=evidence, run=evidence.run, revision=2, title=metadata["name"],
        alerts=(StoryAlert(Alert(fingerprint(labels), AlertStatus.FIRING, labels, notes, opened)),),
        timeline=(TimelineEntry(1, opened, Change.FIRED, "the plan failed"),),
    )  # fmt: skip
    return _sent(wanted(story), evidence, folder)


def _sent(state: Wanted, evidence: Evidence, folder: Path) -> Told:
    made = senders(folder)
    bodies: dict[str, dict[str, Any]] = {}
    for kind, name in (("slack", "slack"), ("pagerduty", "pagerduty"), ("cloud", "jira"), ("servicenow", "servicenow")):
        step = made[kind].plan(state)
        assert step is not None
        bodies[name] = dict(step.body)
    message = renderer().root(state, "slack")
    text = f"push     {message.mark} {message.push}\nsummary  {message.summary}\n\n{message_text(message, 80)}\n"
    mail = made["email"].plan(state)
    assert mail is not None
    shown = f"subject  {mail.body['subject']}\n\n{mail.body['text']}"
    return Told(
        evidence=evidence, wanted=state, text=text, mail=shown, html=mail.body["html"],
        slack=bodies["slack"], pagerduty=bodies["pagerduty"], jira=bodies["jira"], servicenow=bodies["servicenow"],
    )  # fmt: skip


def opened_of(plan: dict[str, Any]) -> datetime:
    migration = plan["status"].get("migration", {})
    ended = migration.get("completed")
    when = datetime.strptime(ended or migration["started"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return when if ended else when + timedelta(minutes=40)


def compare(name: str, shown: str) -> None:
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


def pretty(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, default=str) + "\n"


@pytest.mark.parametrize("name", CATALOGUE)
async def test_a_failure_reads_as_its_golden_files_and_answers_the_four_questions(
    name: str, api: KubernetesApi, tmp_path: Path
) -> None:
    failure = CATALOGUE[name]()
    found = await told(api, failure, tmp_path)
    compare(f"{name}.slack.txt", found.text)
    compare(f"{name}.slack.json", pretty(found.slack))
    compare(f"{name}.pagerduty.json", pretty(found.pagerduty))
    compare(f"{name}.jira.json", pretty(found.jira))
    compare(f"{name}.servicenow.txt", "\n".join(f"{key}: {value}" for key, value in found.servicenow.items()) + "\n")
    compare(f"{name}.mail.txt", found.mail)
    check_slack(found.slack)
    check_event(found.pagerduty)
    check_incident(found.servicenow)
    first_line(found, failure)
    mail(found, failure)
    first_screen(found)
    power(found)
    incident(found)
    widths(found)


def first_line(found: Told, failure: Failure) -> None:
    """Impact first, then how many failed, then which plan; on the lock screen too."""
    evidence, title, push = found.evidence, found.slack["blocks"][0]["text"]["text"], found.slack["text"]
    name = failure.plan["metadata"]["name"]
    if failure.alertname == "MTVPlanStuck":
        stuck(found, failure)
        return
    for line in (title, push):
        assert re.search(IMPACTS[evidence.impact], line), line
        assert name in line
        if evidence.counts.failed:
            assert f"{evidence.counts.failed} of {evidence.counts.total} VM" in line
            assert line.index("failed") > 0
    if evidence.impact is not Impact.UNKNOWN:
        assert re.match(rf"\W*(?:\d+ )?(?:{IMPACTS[evidence.impact]}|VMs? at risk)", title)
    assert len(push) <= PUSH
    assert len(title) <= TITLE
    down = [vm.name for vm in (*evidence.failures, *evidence.standing) if vm.down_run or vm.power_now == "off"]
    if evidence.impact is Impact.DOWN:
        assert any(one in found.shown for one in down)


def stuck(found: Told, failure: Failure) -> None:
    """Who waits for what, where; which plan in the headline; nothing sounds as if it had failed."""
    title, push = found.slack["blocks"][0]["text"]["text"], found.slack["text"]
    for line in (title, push):
        assert "tuck: " in line
        assert found.evidence.waits[0].vm in line or "VMs" in line or len(found.evidence.waits) > 1
        assert "failed" not in line
    assert failure.plan["metadata"]["name"] in title
    assert len(push) <= PUSH
    assert len(title) <= TITLE
    assert "Ends by itself?" in found.shown


def mail(found: Told, failure: Failure) -> None:
    """The subject is the first line; text and page say the same, and the text fits any mail program."""
    subject = found.mail.partition("\n")[0].removeprefix("subject").strip()
    assert re.search(IMPACTS[found.evidence.impact], subject) or "tuck: " in subject, subject
    assert failure.plan["metadata"]["name"] in subject
    assert len(subject) <= TITLE
    shown = check_html(found.html).said
    for word in ("Impact", "Cause", "Do now", *(vm.name for vm in found.evidence.failures[:3])):
        assert (word in shown) == (word in found.mail)
    assert "Do now" in found.mail
    prose = [line for line in found.mail.splitlines()[1:] if not line.startswith("    ") and "://" not in line]
    assert [line for line in prose if len(line) > 100] == []


def first_screen(found: Told) -> None:
    """Why and what to do stand before tables, logs and commands, within what a screen or two of a phone shows."""
    top = found.shown[: found.shown.index("```")] if "```" in found.shown else found.shown
    top = top.replace("*", "")
    assert "Impact" in top
    assert re.search(r"^Cause", top, re.MULTILINE), top
    assert "Do now" in top
    steps = re.findall(r"^\d\. (.+)$", top, re.MULTILINE)
    assert steps
    assert len(top) <= 2_200, len(top)


def power(found: Told) -> None:
    """Powering a source on is advised without a condition only where no target VM exists."""
    evidence = found.evidence
    down = [vm for vm in (*evidence.failures, *evidence.standing) if vm.power_before == "On" and vm.power_now == "off"]
    safe = [vm for vm in down if vm.target_exists is False]
    steps = [step for step in found.shown.splitlines() if re.match(r"\d\. ", step)]
    plainly = [step for step in steps if "Power on" in step and "no target VM exists" in step]
    assert bool(plainly) == bool(safe)
    for vm in down:
        if vm.target_exists is not False:
            assert not any(vm.name in step for step in plainly)
            assert any("target" in step and vm.name in step for step in steps)
    if not down:
        assert not any("power on" in step.lower() and "never" not in step for step in steps)


def incident(found: Told) -> None:
    payload = found.pagerduty["payload"]
    assert payload["severity"] == SEVERITIES[found.evidence.impact]
    lead = {
        Impact.DOWN: "VM DOWN",
        Impact.AT_RISK: "VM AT RISK",
        Impact.NONE: "No VM down",
        Impact.UNKNOWN: "Impact not known",
    }
    assert payload["summary"].startswith(lead[found.evidence.impact])
    assert payload["custom_details"]["1_impact"]
    assert payload["custom_details"]["2_do_now"]


def widths(found: Told) -> None:
    for block in re.findall(r"```\n(.*?)\n```", found.shown, re.DOTALL):
        first = block.splitlines()[0]
        if first.startswith(("failed VM", "VM ")):
            assert max(map(len, block.splitlines())) <= TABLE, block


async def test_an_unknown_impact_leaves_the_severity_to_the_alert(api: KubernetesApi, tmp_path: Path) -> None:
    found = await told(api, CATALOGUE["plan-deleted"](), tmp_path)
    story = replace(found.wanted.story, severity="critical")
    assert (
        _sent(replace(found.wanted, story=story), found.evidence, tmp_path).pagerduty["payload"]["severity"]
        == "critical"
    )


async def test_an_unrecognised_failure_carries_its_line_and_signature(api: KubernetesApi, tmp_path: Path) -> None:
    found = (await told(api, CATALOGUE["not-recognised"](), tmp_path)).evidence
    assert found.unrecognised == "virt-v2v: error: could not decode the boot loader table at sector 4711"
    assert found.signature == "virt-v2v: error: could not decode the boot loader table at sector N"


async def test_a_recognised_failure_carries_neither(api: KubernetesApi, tmp_path: Path) -> None:
    found = (await told(api, CATALOGUE["vcenter-login"](), tmp_path)).evidence
    assert (found.unrecognised, found.signature) == ("", "")


async def test_vms_that_only_an_earlier_run_left_off_are_named_on_the_first_screen(
    api: KubernetesApi, tmp_path: Path
) -> None:
    found = await told(api, CATALOGUE["standing-from-run-1"](), tmp_path)
    assert "2 VMs down" in found.slack["blocks"][0]["text"]["text"]
    assert re.search(r"^1\. .*power on pay-app01 and pay-app02", found.shown, re.MULTILINE | re.IGNORECASE)
    assert "off since run 1" in found.shown
    assert found.pagerduty["payload"]["custom_details"]["4_off_before"] == [
        "pay-app01: off since run 1", "pay-app02: off since run 1",
    ]  # fmt: skip


def test_every_golden_file_belongs_to_a_failure() -> None:
    assert {file.name for file in GOLDEN.iterdir()} == {f"{name}.{kind}" for name in CATALOGUE for kind in KINDS}
