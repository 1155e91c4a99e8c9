"""The one runbook of an alert: in order, overridden by ConfigMaps, never invented."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.enrichers.overrides import KEPT_S, Overrides, filled, read_overrides
from receiver.enrichers.shelf import ALIASES, Shelf, found_link, own_pages, with_cause_link
from receiver.kube import ClusterError
from receiver.model import Alert, AlertStatus, Cause, Evidence, Identity, Link
from tests.stories import at
from tests.unit.enrichers.cluster import MemoryCluster

pytestmark = pytest.mark.anyio
URL = "https://mtv.example.com"


def alert(name: str = "MTVPlanFailed", note: str = "", **labels: str) -> Alert:
    notes = {"runbook_url": note} if note else {}
    return Alert("f", AlertStatus.FIRING, {"alertname": name, **labels}, notes, at(8, 0))


def book(namespace: str, name: str = "books", **data: str) -> dict[str, Any]:
    labels = {"mtv-receiver.io/runbooks": "true"}
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "data": data,
    }  # fmt: skip


def identity(namespace: str = "team-a") -> Identity:
    return Identity("s", "alert", "memory", namespace=namespace, owner_namespace=namespace)


async def found(cluster: MemoryCluster, of: Alert, configured: dict[str, str] | None = None, own: str = "svc") -> str:
    link = await Shelf(configured or {}, URL, Overrides(own)).runbook(cluster, identity(), of)  # type: ignore[arg-type]
    return link.url if link else ""


async def test_a_teams_configmap_comes_before_the_services_then_routes_yaml_then_the_annotation() -> None:
    noted = alert(note="https://n.example.com")
    team, ours = (
        book("team-a", MTVPlanFailed="https://t.example.com"),
        book("svc", MTVPlanFailed="https://s.example.com"),
    )
    configured = {"MTVPlanFailed": "https://c.example.com"}
    assert await found(MemoryCluster([ours, team]), noted, configured) == "https://t.example.com"
    assert await found(MemoryCluster([ours]), noted, configured) == "https://s.example.com"
    assert await found(MemoryCluster([]), noted, configured) == "https://c.example.com"
    assert await found(MemoryCluster([]), noted) == "https://n.example.com"
    assert await found(MemoryCluster([]), alert()) == f"{URL}/runbooks/MTVPlanFailed"


async def test_another_teams_configmap_counts_for_nothing() -> None:
    other = book("team-b", MTVPlanFailed="https://evil.example.com")
    assert await found(MemoryCluster([other]), alert()) == f"{URL}/runbooks/MTVPlanFailed"


async def test_an_exact_name_comes_before_a_rule_and_rules_match_whole_names() -> None:
    rules = '- {match: "Ceph.*", runbook: "https://r.example.com"}\n- {match: "[", runbook: x}\n- 5\n'
    cluster = MemoryCluster([book("svc", **{"_rules.yaml": rules, "CephX": "https://x.example.com"})])
    assert await found(cluster, alert("CephX")) == "https://x.example.com"
    assert await found(cluster, alert("CephFull")) == "https://r.example.com"
    assert await found(cluster, alert("NotCephFull")) == ""


async def test_a_text_is_shown_on_our_own_page() -> None:
    cluster = MemoryCluster([book("team-a", Odd="# Call us")])
    assert await found(cluster, alert("Odd")) == f"{URL}/runbooks/Odd?cluster=memory&namespace=team-a"


@pytest.mark.parametrize("value", ["javascript:alert(1)", "https://u:p@x.example.com/", "https://"])
async def test_a_link_that_cannot_be_trusted_is_no_override(value: str) -> None:
    link = await Shelf({}, "", Overrides("svc")).runbook(MemoryCluster([book("svc", X=value)]), identity(), alert("X"))
    assert link is None


async def test_the_configmaps_are_read_once_a_minute_for_all_alerts() -> None:
    cluster, shelf = MemoryCluster([book("svc", X="https://x.example.com")]), Shelf({}, "", Overrides("svc"))
    for _ in range(50):
        assert await shelf.runbook(cluster, identity(), alert("X")) is not None
    assert len(cluster.asked) == 1


async def test_what_was_read_stays_when_it_cannot_be_read_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.enrichers.overrides.KEPT_S", -1.0)
    cluster, overrides = MemoryCluster([book("svc", X="https://x.example.com")]), Overrides("svc")
    assert (await overrides.of(cluster)).find("X", ["svc"])
    cluster.refuse["list", "ConfigMap"] = ClusterError("unreachable", "down")
    kept = await overrides.of(cluster)
    assert kept.find("X", ["svc"])
    assert kept.problem == "unreachable"
    assert KEPT_S == 60.0


@pytest.mark.parametrize(
    ("openshift", "url"),
    [
        (
            True,
            "https://github.com/openshift/runbooks/blob/master/alerts/openshift-virtualization-operator/CDINotReady.md",
        ),
        (False, "https://kubevirt.io/monitoring/runbooks/CDINotReady"),
    ],
)
def test_a_published_runbook_is_linked_for_alerts_of_kubevirt_only(openshift: bool, url: str) -> None:
    theirs = alert("CDINotReady", kubernetes_operator_part_of="kubevirt")
    assert found_link(theirs, {}, openshift=openshift) == Link("Runbook", url)
    assert found_link(alert("CDINotReady"), {}, openshift=openshift) is None
    unknown = alert("NobodyWroteThis", kubernetes_operator_part_of="kubevirt")
    assert found_link(unknown, {}, openshift=openshift) is None


def test_our_page_is_linked_only_where_people_can_reach_it() -> None:
    assert found_link(alert(), {}, "") is None
    assert found_link(alert(), {}, URL) == Link("Runbook", f"{URL}/runbooks/MTVPlanFailed")
    assert found_link(alert("Unheard"), {}, URL) is None


def test_autopilots_own_link_gives_way_to_our_page() -> None:
    dead = "https://github.com/kubevirt/virt-platform-autopilot/blob/main/docs/runbooks/VirtPlatformSyncFailed.md"
    ours = found_link(alert("VirtPlatformSyncFailed", dead), {}, URL)
    assert ours == Link("Runbook", f"{URL}/runbooks/VirtPlatformSyncFailed")
    assert found_link(alert("VirtPlatformSyncFailed", dead), {}) == Link("Runbook", dead)


def test_every_alias_has_a_page_and_every_page_its_four_parts() -> None:
    pages = own_pages()
    assert set(ALIASES) <= set(pages)
    assert {"MTVPlanFailed", "MigrationFailed", "MTVVMFailed", "MTVPlanStuck"} <= set(pages)
    for name, path in pages.items():
        text = path.read_text(encoding="utf-8")
        heads = [line for line in text.splitlines() if line.startswith("#")]
        wanted = [f"# {path.stem}", "## Meaning", "## Impact", "## Diagnosis", "## Mitigation"]
        assert [head for head in heads if head in wanted] == wanted, name


def test_a_runbook_may_hang_on_the_cause_and_then_comes_first() -> None:
    evidence = Evidence(cause=Cause("c", "s"), links=(Link("Runbook", "https://a.example.com"),))
    shown = with_cause_link(evidence, "https://c.example.com")
    assert [one.url for one in shown.links] == ["https://c.example.com", "https://a.example.com"]
    assert with_cause_link(evidence, "javascript:x") is evidence


async def test_a_configmap_may_keep_the_runbook_of_a_cause() -> None:
    cluster = MemoryCluster([book("team-a", **{"cause.guest-bitlocker": "https://b.example.com"})])
    evidence = Evidence(cause=Cause("guest-bitlocker", "s", link="https://docs.example.com"))
    shown = await Shelf({}, URL, Overrides()).for_cause(cluster, identity(), evidence, alert())
    assert [one.url for one in shown.links] == ["https://b.example.com"]


def test_labels_are_encoded_in_links_and_unknown_ones_stay() -> None:
    url = "https://x.example.com/?p={{ labels.pod }}&q={{labels.none}}"
    assert filled(url, {"pod": "a&b=c/d"}) == "https://x.example.com/?p=a%26b%3Dc%2Fd&q={{labels.none}}"


@pytest.mark.parametrize("data", [None, [], {"a": 5}, {"_rules.yaml": "{["}, {"_rules.yaml": "a: &a [*a]"}])
def test_a_configmap_that_cannot_be_read_gives_nothing(data: Any) -> None:
    assert read_overrides({"metadata": {"name": "n", "namespace": "s"}, "data": data}) == ()
