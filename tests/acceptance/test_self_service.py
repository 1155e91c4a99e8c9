"""Owners of a namespace choose who else is told, by an annotation or a ConfigMap: in seconds, within limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import Running, alert, failed, pagerduty, routes_yaml, running, slack
from tests.acceptance.plans import cluster, load_example, plan, top, watched
from tests.fakes.faults import slack_error
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

OWNER = "mig-team-a"
RECEIVERS = f"""
- name: platform
  {slack("#platform")}
- name: team-erp
  {pagerduty()}
"""
RULES = "namespace_routing: {allow: {receivers: ['team-*'], slack_channels: ['#mig-*']}}"


def namespace(**annotations: str) -> dict[str, Any]:
    written = {f"mtv-receiver.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    metadata = {"name": OWNER, "uid": "ns-1", "labels": {"team": "erp"}, "annotations": written}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def choice(**data: str) -> dict[str, Any]:
    metadata = {"name": "who-is-told", "namespace": OWNER, "uid": "cm-1", "labels": {"mtv-receiver.io/routing": "true"}}
    written = {key.replace("_", "-"): value for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": written}


async def followed(api: KubernetesApi, service: Running) -> None:
    await watched(api, service)
    await api.until(lambda: {"namespaces", "configmaps"} <= {one.resource for one in api.watchers})


async def test_an_annotation_and_a_configmap_are_told_besides_the_tree(tmp_path: Path) -> None:
    head = f"{top()}\n{RULES}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        await api.apply(plan("Failed"))
        await api.apply(namespace(receiver="team-erp"))
        await api.apply(choice(slack_channel="#mig-erp"))
        async with running(routes_yaml(vendors, tmp_path, top=head, receivers=RECEIVERS), vendors) as service:
            await followed(api, service)
            await service.post(alert(failed()))
            await vendors.until(lambda v: len(v.slack_roots()) == 2 and v.incidents(), timeout=20)
            assert len(vendors.slack_roots("#platform")) == len(vendors.slack_roots("#mig-erp")) == 1


async def test_a_choice_made_while_a_failure_is_open_is_in_force_in_seconds(tmp_path: Path) -> None:
    head = f"{top()}\n{RULES}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        await api.apply(plan("Failed"))
        await api.apply(namespace())
        async with running(routes_yaml(vendors, tmp_path, top=head, receivers=RECEIVERS), vendors) as service:
            await followed(api, service)
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.slack_roots(), timeout=20)
            assert not vendors.incidents()
            await api.apply(namespace(receiver="team-erp", slack_channel="#mig-erp"))
            await vendors.until(lambda v: len(v.slack_roots()) == 2 and v.incidents(), timeout=20)


async def test_a_channel_that_nobody_names_any_more_still_hears_the_end_after_a_restart(tmp_path: Path) -> None:
    head = f"{top()}\n{RULES}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        await api.apply(plan("Failed"))
        await api.apply(namespace(slack_channel="#mig-erp"))
        path = routes_yaml(vendors, tmp_path, top=head, receivers=RECEIVERS)
        async with running(path, vendors) as service:
            await followed(api, service)
            await service.post(alert(failed()))
            await vendors.until(lambda v: len(v.slack_roots()) == 2, timeout=20)
            await service.idle()
        await api.apply(namespace())
        path.write_text(path.read_text() + "\ntime_intervals: []\n")  # another configuration: routes are settled anew
        async with running(path, vendors) as service:
            await followed(api, service)
            await api.apply(plan("Succeeded"))
            await service.post(alert(failed(), "resolved"))
            await service.until_state("resolved")
            await service.idle()
            (chosen,) = vendors.slack_roots("#mig-erp")
            assert len(vendors.slack_roots()) == 2, "nobody was told anew"
            assert "fixed" in chosen.text.lower() or "succeeded" in chosen.text.lower(), chosen.text


async def test_what_is_refused_is_said_by_one_event_on_the_page_and_reaches_nobody(tmp_path: Path) -> None:
    head = f"{top()}\n{RULES}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        await api.apply(plan("Failed"))
        await api.apply(namespace(receiver="platform", slack_channel="#general"))
        async with running(routes_yaml(vendors, tmp_path, top=head, receivers=RECEIVERS), vendors) as service:
            await followed(api, service)
            await api.until(lambda: len(events(api)) == 2)
            said = {one["message"] for one in events(api)}
            assert said == {
                "receiver platform is not told of migrations in this namespace: "
                "namespace_routing.allow.receivers does not allow it",
                "slack-channel #general is not told of migrations in this namespace: "
                "namespace_routing.allow.slack_channels does not allow it",
            }
            assert {(one["involvedObject"]["kind"], one["type"], one["reason"]) for one in events(api)} == {
                ("Namespace", "Warning", "RoutingRefused")
            }
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.slack_roots(), timeout=20)
            await service.idle()
            assert len(vendors.slack_roots("#platform")) == len(vendors.slack_roots()) == 1
            assert not vendors.incidents()
            asked = (await service.http.get(f"{service.url}/api/v1/routes")).json()["namespaces"]
            assert [(one["namespace"], one["asks_for"], one["granted"]) for one in asked] == [
                (OWNER, "receiver platform", False),
                (OWNER, "slack-channel #general", False),
            ]
            page = (await service.http.get(f"{service.url}/routes")).text
            assert "namespace_routing.allow.receivers does not allow it" in page


async def test_without_the_right_to_read_namespaces_failures_are_told_as_ever(tmp_path: Path) -> None:
    """Never a wait: what the watch does not know changes nothing, and the page names the missing right."""
    head = f"{top()}\n{RULES}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        await api.apply(plan("Failed"))
        await api.apply(namespace(receiver="team-erp"))
        api.forbidden |= {("list", "namespaces"), ("list", "configmaps")}
        async with running(routes_yaml(vendors, tmp_path, top=head, receivers=RECEIVERS), vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.slack_roots(), timeout=20)

            async def named() -> bool:
                return "list namespaces" in (await service.http.get(f"{service.url}/routes")).text

            await service.until(named)


async def test_a_restart_that_cannot_read_namespaces_tells_nobody_who_was_not_to_be_told(tmp_path: Path) -> None:
    """What is stored of a namespace counts until it is read again: a route by its labels does not become the root's."""
    head = f"{top()}\n{RULES}"
    route = """{receiver: platform, routes: [{matchers: ['namespace_label_team="erp"'], receiver: team-erp}]}"""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        await api.apply(plan("Failed"))
        await api.apply(namespace())
        path = routes_yaml(vendors, tmp_path, top=head, receivers=RECEIVERS, route=route)
        async with running(path, vendors) as service:
            await followed(api, service)
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.incidents(), timeout=20)
            await service.idle()
            assert not vendors.slack_roots()
        api.forbidden |= {("list", "namespaces"), ("list", "configmaps")}
        lists = api.calls["list", "namespaces"]
        async with running(path, vendors) as service:
            await watched(api, service)
            await api.until(lambda: api.calls["list", "namespaces"] > lists)
            await api.apply(plan("Executing"))
            await service.until_state("re-running")
            await service.idle()
            assert not vendors.slack_roots()


async def test_a_story_that_is_about_no_plan_hears_a_later_choice_too(tmp_path: Path) -> None:
    head = f"{top()}\n{RULES}"
    labels = {"alertname": "KubePodCrashLooping", "namespace": OWNER, "severity": "warning"}
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(namespace())
        async with running(routes_yaml(vendors, tmp_path, top=head, receivers=RECEIVERS), vendors) as service:
            await followed(api, service)
            await service.post(alert(labels))
            await vendors.until(lambda v: v.slack_roots(), timeout=20)
            await api.apply(namespace(receiver="team-erp"))
            await vendors.until(lambda v: v.incidents(), timeout=20)


async def test_a_channel_that_there_is_not_calls_nobody_else(tmp_path: Path) -> None:
    """Those whom the routes name are told; the root receiver is not at the command of who edits a namespace."""
    head = f"{top()}\n{RULES}"
    route = "{receiver: platform, routes: [{matchers: ['app=~\".*\"'], receiver: team-erp}]}"
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        await api.apply(plan("Failed"))
        await api.apply(namespace(slack_channel="#mig-nope"))
        vendors.fail("slack", slack_error("channel_not_found"), on="chat.postMessage", always=True)
        path = routes_yaml(vendors, tmp_path, top=head, receivers=RECEIVERS, route=route)
        async with running(path, vendors) as service:
            await followed(api, service)
            await service.post(alert(failed()))
            await vendors.until(lambda v: v.incidents(), timeout=20)

            async def judged() -> bool:
                return "nobody is left" in (await service.http.get(f"{service.url}/api/v1/audit?kind=fallback")).text

            await service.until(judged, timeout=20)
            assert {one["receiver"] for one in await service.deliveries()} == {"team-erp", "#mig-nope"}


def events(api: KubernetesApi) -> list[dict[str, Any]]:
    made = (one for one in api.objects.values() if one.get("kind") == "Event")
    return [one for one in made if one.get("source", {}).get("component") == "mtv-receiver"]
