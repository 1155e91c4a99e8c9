"""Alerts that are not of a Plan, from the cluster's answers to what a person reads. UPDATE_GOLDEN=1 rewrites."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.destinations import jira_adf, pagerduty_event, slack_blocks
from receiver.enrichers.others import gather_other
from receiver.enrichers.overrides import Overrides
from receiver.enrichers.redact import Redactor
from receiver.enrichers.shelf import Shelf
from receiver.model import Evidence, Identity, Story, StoryAlert, Wanted
from receiver.rendering.renderer import StoryRenderer
from receiver.rendering.templates import Templates
from receiver.rendering.text import message_text
from receiver.subjects import of_alert
from tests import stories
from tests.fakes.kubernetes import KubernetesApi, running
from tests.platform_alerts import NOW, SCENARIOS, SECRET, Scenario
from tests.unit.kube.helpers import cluster_for

pytestmark = pytest.mark.anyio
GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "others"


@pytest.fixture
async def api() -> AsyncIterator[KubernetesApi]:
    async with running(KubernetesApi()) as server:
        yield server


async def gathered(api: KubernetesApi, scenario: Scenario, folder: Path) -> tuple[Identity, Evidence]:
    for obj in scenario.objects:
        await api.apply(obj)
    for (namespace, pod, container, previous), text in scenario.logs.items():
        api.set_log(namespace, pod, container, text, previous=previous)
    api.also_served = scenario.served
    cluster = cluster_for(api, folder)
    identity = of_alert(scenario.alert, "ocp-prod-2")
    try:
        runbook = await Shelf({}, stories.EXTERNAL, Overrides()).runbook(cluster, identity, scenario.alert)
        evidence = await gather_other(
            cluster, scenario.alert, redactor=Redactor(), now=NOW, timeout_s=10.0, runbook=runbook
        )
    finally:
        await cluster.aclose()
    return identity, evidence


def story_of(scenario: Scenario, identity: Identity, evidence: Evidence) -> Story:
    alert = scenario.alert
    return stories.story(
        subject=identity.subject, kind=identity.kind, severity=alert.labels["severity"],
        title=alert.annotations["summary"], opened=alert.starts_at, updated=NOW, identity=identity, evidence=evidence,
        alerts=(StoryAlert(alert, "failure", 1),), run="", told=(), timeline=(),
    )  # fmt: skip


def wanted(story: Story) -> Wanted:
    return stories.wanted(story, reasons=(stories.Reason("routes.yaml:12", "severity matches"),))


def compare(name: str, shown: str) -> None:
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


def broken(what: str) -> None:
    raise AssertionError(what)


@pytest.mark.parametrize("name", SCENARIOS)
async def test_an_alert_reads_as_its_golden_files(name: str, api: KubernetesApi, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]()
    identity, evidence = await gathered(api, scenario, tmp_path)
    shown = wanted(story_of(scenario, identity, evidence))
    renderer = StoryRenderer(Templates(), broken)
    chat, ticket, page = (renderer.root(shown, kind) for kind in ("slack", "jira", "pagerduty"))
    text = f"push     {chat.mark} {chat.push}\nsummary  {chat.summary}\n\n{message_text(chat)}\n"
    compare(f"{name}.slack.txt", text)
    compare(f"{name}.slack.json", _pretty(slack_blocks.content(chat, root=True, plain=False)))
    compare(
        f"{name}.pagerduty.json", _pretty(pagerduty_event.trigger(shown, page, pagerduty_event.title(page), "full", ""))
    )
    compare(
        f"{name}.jira.json",
        _pretty({"summary": ticket.summary, "description": jira_adf.section(ticket, shown.story.id)}),
    )
    assert SECRET not in text + repr(evidence)


@pytest.mark.parametrize("content", ["summary", "minimal"])
async def test_less_content_shows_no_text_of_events_logs_or_conditions(
    content: str, api: KubernetesApi, tmp_path: Path
) -> None:
    scenario = SCENARIOS["pod-crash-loop"]()
    shown = wanted(story_of(scenario, *await gathered(api, scenario, tmp_path)))
    text = message_text(StoryRenderer(Templates(), broken).root(shown, "slack", content))
    assert "Back-off restarting" not in text
    assert "out of memory" not in text
    assert "unready status" not in text
    assert ("CrashLoopBackOff" in text) == (content == "summary")


def test_every_golden_file_belongs_to_a_scenario() -> None:
    kinds = ("slack.txt", "slack.json", "pagerduty.json", "jira.json")
    assert {file.name for file in GOLDEN.iterdir()} == {f"{name}.{kind}" for name in SCENARIOS for kind in kinds}


def _pretty(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"
