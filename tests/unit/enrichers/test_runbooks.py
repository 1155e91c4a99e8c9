"""Links that are known to exist, and commands that can be copied as they are."""

from __future__ import annotations

import json
import shlex

import pytest

from receiver.enrichers.runbooks import must_gather_command, rerun_command, runbook_link
from receiver.model import Link


def test_the_annotation_is_the_runbook() -> None:
    url = "https://runbooks.example.com/MTVPlanFailed.md"
    assert runbook_link("MTVPlanFailed", {"runbook_url": url}, {}) == Link("Runbook", url)


def test_a_configured_runbook_comes_before_the_annotation() -> None:
    found = runbook_link("A", {"runbook_url": "https://a.example.com"}, {"A": "https://b.example.com/A"})
    assert found == Link("Runbook", "https://b.example.com/A")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        "ftp://x.example.com/a",
        "https://",
        "https://x.example.com/\nevil",
        "https://x.example.com/\u202egpj",
        "https://x.example.com/a b",
        "https://x.example.com/<script>",
        "https://user:pw@x.example.com/",
        "https://[broken",
        "https://x.example.com/" + "a" * 2_000,
    ],
)
def test_a_link_that_cannot_be_trusted_is_no_link(url: str) -> None:
    assert runbook_link("A", {"runbook_url": url}, {}) is None


def test_run_again_is_one_shell_command_that_creates_a_migration() -> None:
    (command,) = rerun_command("mig-payments", "pay-w17-03")
    assert "deletes the failed pods" in command.text
    assert command.url.startswith("oc create -f - <<< ")
    migration = json.loads(shlex.split(command.url)[-1])
    assert migration["kind"] == "Migration"
    assert migration["metadata"] == {"generateName": "pay-w17-03-", "namespace": "mig-payments"}
    assert migration["spec"] == {"plan": {"name": "pay-w17-03", "namespace": "mig-payments"}}


def test_must_gather_names_the_plan_and_its_namespace() -> None:
    everything, targeted = must_gather_command("mig-payments", "pay-w17-03")
    assert everything.url == "oc adm must-gather --image=quay.io/kubev2v/forklift-must-gather:latest"
    assert targeted.url == everything.url + " -- NS=mig-payments PLAN=pay-w17-03 /usr/bin/targeted"


@pytest.mark.parametrize("name", ["", "a'; rm -rf /", "$(id)", "a b", "A", "x" * 300])
def test_a_name_that_kubernetes_would_not_take_gives_no_command(name: str) -> None:
    assert rerun_command("ns", name) == ()
    assert must_gather_command("ns", name) == ()
    assert must_gather_command(name, "plan") == ()


def test_an_image_that_is_none_gives_no_command() -> None:
    assert must_gather_command("ns", "plan", "x; reboot") == ()
