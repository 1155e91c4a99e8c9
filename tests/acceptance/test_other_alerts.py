"""Alerts that are not of a Plan: told at once, then with what the cluster says about the objects that they name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import alert, routes_yaml, running
from tests.acceptance.plans import cluster, top
from tests.fakes.vendors import FakeVendors
from tests.platform_alerts import SECRET, crash_loop, fresh, thrashing

pytestmark = pytest.mark.anyio


def shown(message: Any) -> str:
    """Return everything that a Slack message shows, as text."""
    return f"{message.text}\n{json.dumps(message.blocks, ensure_ascii=False)}"


async def test_a_pod_in_a_crash_loop_is_told_with_its_state_events_and_log_and_without_secrets(tmp_path: Path) -> None:
    scenario = crash_loop()
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        for one in fresh(scenario.objects):
            await api.apply(one)
        for (namespace, pod, container, previous), text in scenario.logs.items():
            api.set_log(namespace, pod, container, text, previous=previous)
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            await service.post(alert(scenario.labels, annotations=scenario.annotations))
            await vendors.until(lambda v: any("CrashLoopBackOff" in shown(root) for root in v.slack_roots()))
            await service.idle()
            (root,) = vendors.slack_roots()
            assert len(vendors.incidents()) == 1
            assert scenario.labels["pod"] in root.text
            assert "out of memory" in shown(root)
            assert "BackOff (x80)" in shown(root)
            assert not any(SECRET in str(request) for request in vendors.requests)


async def test_an_alert_pages_while_the_api_server_hangs_and_says_later_what_was_not_read(tmp_path: Path) -> None:
    scenario = thrashing()
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        for one in fresh(scenario.objects):
            await api.apply(one)
        config = routes_yaml(vendors, tmp_path, top=top(evidence_wait="100ms", evidence_timeout="300ms"))
        async with running(config, vendors) as service:
            api.hang()
            await service.post(alert(scenario.labels, annotations=scenario.annotations))
            await vendors.until(lambda v: v.incidents() and v.slack_roots())
            await vendors.until(lambda v: any("timeout" in shown(root) for root in v.slack_roots()))
            api.release()
            await vendors.until(lambda v: any("argocd-controller" in shown(root) for root in v.slack_roots()))
            await service.idle()
            assert len(vendors.slack_roots()) == 1
