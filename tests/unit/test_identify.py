"""What an alert is about, asked of a cluster in memory: found, absent, silent, refusing."""

from __future__ import annotations

import asyncio

import pytest

from receiver.config.model import ClusterConfig
from receiver.identify import FAILED_CLUSTER_REST_S, PLAN_FRESH_S
from receiver.kube import ClusterError, PlanRow, Reason
from receiver.model import Alert, PlanPhase
from receiver.routing.matchers import parse_matchers
from tests.unit.identifying import UID, Clock, MemoryCluster, alert, brief, forklift, identifier, plan, row

pytestmark = pytest.mark.anyio

# --- who it is ---


@pytest.mark.parametrize("one", [forklift(), brief()], ids=["by UID", "by namespace and name"])
async def test_both_forms_of_an_alert_lead_to_the_same_subject(one: Alert) -> None:
    cluster = MemoryCluster()
    cluster.objects = [plan(), plan("other", namespace="mig-team-b")]
    found = await identifier(cluster).identify(one)
    assert found.identity.subject == f"plan/{UID}"
    assert found.identity.alias == "plan/local/mig-team-a/erp-wave1"
    assert found.identity.complete
    assert (found.plan.phase, found.plan.run) == (PlanPhase.FAILED, "run-1")
    assert found.identity.facts["plan_provider"] == "vcenter-a"


async def test_forklifts_own_namespace_label_is_never_the_plans() -> None:
    found = await identifier().identify(forklift())
    assert found.identity.owner_namespace == ""
    assert found.identity.subject == f"plan/{UID}"
    assert "namespace unknown" in found.identity.missing[0]


async def test_a_namespace_label_counts_only_without_uid_and_outside_shared_namespaces() -> None:
    asked = identifier()
    assert (await asked.identify(brief())).identity.owner_namespace == "mig-team-a"
    assert (await asked.identify(brief(namespace="openshift-mtv"))).identity.owner_namespace == ""


async def test_a_plan_in_a_shared_namespace_is_owned_by_its_target_namespace() -> None:
    cluster = MemoryCluster()
    cluster.objects = [plan(namespace="openshift-mtv")]
    found = await identifier(cluster).identify(forklift())
    assert (found.identity.namespace, found.identity.owner_namespace) == ("openshift-mtv", "erp-prod")


async def test_two_plans_of_one_name_are_not_guessed_between() -> None:
    cluster = MemoryCluster()
    cluster.objects = [plan(), plan("other", namespace="mig-team-b")]
    found = await identifier(cluster).identify(brief(namespace="openshift-mtv"))
    assert not found.identity.complete
    assert found.identity.owner_namespace == ""
    assert "mig-team-a, mig-team-b" in found.identity.missing[0]


async def test_an_alert_about_another_object_names_it_and_any_other_alert_is_its_own_subject() -> None:
    asked = identifier()
    node = (await asked.identify(alert("NodeDown", kind="Node", name="worker-1"))).identity
    assert node.subject == "node/local//worker-1"
    other = (await asked.identify(alert("SomethingElse", exported_namespace="shop"))).identity
    assert (other.subject, other.owner_namespace) == ("fingerprint", "shop")


async def test_an_alert_is_asked_about_at_the_cluster_that_its_labels_choose() -> None:
    east, local = MemoryCluster("east"), MemoryCluster()
    east.objects = [plan()]
    configured = (ClusterConfig("local"), ClusterConfig("east", parse_matchers('cluster="ocp-east"')))
    asked = identifier(local, east, configured=configured)
    assert (await asked.identify(forklift(cluster="ocp-east"))).identity.facts["cluster"] == "east"
    assert not local.asked
    await asked.identify(forklift())
    assert local.asked["list"] == 1


async def test_secrets_in_annotations_of_a_plan_are_hidden_before_they_become_facts() -> None:
    cluster = MemoryCluster()
    cluster.objects = [plan(annotations={"note": "password=hunter2"})]
    asked = identifier(cluster, redact=lambda text: (text.replace("hunter2", "***"), 1))
    assert (await asked.identify(forklift())).identity.facts["plan_annotation_note"] == "password=***"


# --- what is asked ---


async def test_a_plan_that_the_watch_knows_is_read_once_per_version() -> None:
    cluster = MemoryCluster()
    cluster.objects = [plan()]
    cluster.follows(row())
    asked = identifier(cluster)
    for _ in range(3):
        assert (await asked.identify(forklift())).identity.complete
    assert cluster.asked == {"get": 1}
    cluster.objects = [plan(version="2", condition="Executing")]
    cluster.index.put(row(version="2", executing=True))
    assert (await asked.identify(forklift())).plan.phase is PlanPhase.EXECUTING
    assert cluster.asked == {"get": 2}


async def test_a_plan_without_a_known_version_is_read_again_after_a_while() -> None:
    cluster, clock = MemoryCluster(), Clock()
    cluster.objects = [plan()]
    cluster.follows(row(version=""))
    asked = identifier(cluster, clock=clock)
    for _ in range(3):
        await asked.identify(forklift())
    assert cluster.asked["get"] == 1
    clock.seconds += PLAN_FRESH_S
    await asked.identify(forklift())
    assert cluster.asked["get"] == 2


@pytest.mark.parametrize("known", [False, True], ids=["list", "get"])
async def test_alerts_that_come_together_share_one_request(known: bool) -> None:
    cluster = MemoryCluster()
    cluster.objects = [plan()]
    if known:
        cluster.follows(row())
    asked = identifier(cluster)
    found = await asyncio.gather(*(asked.identify(forklift(phase=str(number))) for number in range(20)))
    assert all(one.identity.complete for one in found)
    assert cluster.asked.total() == 1


# --- what is not there ---


async def test_a_plan_that_the_watch_saw_go_is_gone_and_nobody_is_asked() -> None:
    cluster = MemoryCluster()
    cluster.follows(row())
    cluster.index.remove(UID)
    found = await identifier(cluster).identify(forklift())
    assert found.plan.phase is PlanPhase.GONE
    assert not cluster.asked


async def test_a_plan_that_was_known_and_is_absent_from_a_synced_watch_is_gone() -> None:
    cluster = MemoryCluster()
    cluster.follows()
    _, state = await identifier(cluster).look_up("local", UID, "mig-team-a", "erp-wave1")
    assert state.phase is PlanPhase.GONE


@pytest.mark.parametrize("synced", [False, True])
async def test_a_plan_that_was_never_seen_is_not_called_deleted(synced: bool) -> None:
    cluster = MemoryCluster()
    cluster.index.synced = synced
    found = await identifier(cluster).identify(forklift())
    assert found.plan.phase is PlanPhase.UNREADABLE
    assert not found.identity.complete, "what a story knows already must stay"
    assert "not in cluster local" in found.identity.missing[0]


async def test_another_plan_under_the_same_name_is_never_taken_for_the_one_asked_for() -> None:
    cluster = MemoryCluster()
    cluster.objects = [plan("recreated")]
    cluster.follows(row())
    found = await identifier(cluster).identify(forklift())
    assert found.identity.subject == f"plan/{UID}"
    assert found.plan.phase is not PlanPhase.FAILED


async def test_a_uid_alone_waits_for_the_watch() -> None:
    cluster = MemoryCluster()
    cluster.objects = [plan()]
    asked = identifier(cluster)
    early = await asked.identify(alert(plan=UID))
    assert not early.identity.complete
    assert not cluster.asked
    cluster.follows(row())
    assert (await asked.identify(alert(plan=UID))).identity.name == "erp-wave1"


# --- who does not answer ---


async def test_a_silent_cluster_costs_one_time_out_and_is_then_left_alone() -> None:
    cluster, clock = MemoryCluster(), Clock()
    cluster.silent = True
    asked = identifier(cluster, clock=clock, timeout_s=0.01)
    found = await asked.identify(forklift())
    assert found.identity.missing == ("namespace unknown: cluster local does not answer",)
    assert not found.identity.complete
    for number in range(50):
        await asked.identify(forklift(phase=str(number)))
    assert cluster.asked["list"] == 1
    await asked.aclose()


async def test_the_rest_of_a_cluster_ends_however_often_it_is_asked_for_meanwhile() -> None:
    cluster, clock = MemoryCluster(), Clock()
    cluster.objects = [plan()]
    cluster.fails = ClusterError("unreachable", "connection refused")
    asked = identifier(cluster, clock=clock)
    await asked.identify(forklift())
    cluster.fails = None
    while clock.seconds < 100 + FAILED_CLUSTER_REST_S - 1:
        clock.seconds += 1
        assert not (await asked.identify(forklift())).identity.complete
    clock.seconds += 1
    assert asked.rests_s("local") == 0
    assert (await asked.identify(forklift())).identity.complete


@pytest.mark.parametrize("reason", ["unreachable", "timeout"])
async def test_a_probe_renews_the_rest_until_the_cluster_answers(reason: Reason) -> None:
    cluster, clock = MemoryCluster(), Clock()
    cluster.objects = [plan()]
    cluster.fails = ClusterError(reason, "no answer")
    asked = identifier(cluster, clock=clock)
    await asked.identify(forklift())
    clock.seconds += FAILED_CLUSTER_REST_S - 1
    assert not await asked.probe(cluster)
    assert asked.rests_s("local") == FAILED_CLUSTER_REST_S
    cluster.fails = None
    assert await asked.probe(cluster)
    assert (await asked.identify(forklift())).identity.complete


async def test_a_refusal_is_an_answer_and_is_told_in_the_clusters_words() -> None:
    cluster = MemoryCluster()
    cluster.fails = ClusterError("forbidden", "list plans.forklift.konveyor.io is forbidden")
    asked = identifier(cluster)
    found = await asked.identify(forklift())
    assert found.identity.missing == ("namespace unknown: list plans.forklift.konveyor.io is forbidden",)
    assert asked.rests_s("local") == 0


@pytest.mark.parametrize(
    ("known", "phase"),
    [
        (row(failed=True), PlanPhase.FAILED),
        (row(failed=True, executing=True), PlanPhase.EXECUTING),
        (row(succeeded=True), PlanPhase.SUCCEEDED),
        (row(), PlanPhase.UNREADABLE),
    ],
)
async def test_while_a_cluster_rests_a_watch_that_goes_on_tells_state_and_namespace(
    known: PlanRow, phase: PlanPhase
) -> None:
    cluster = MemoryCluster()
    cluster.fails = ClusterError("timeout", "no answer")
    cluster.follows(known)
    found = await identifier(cluster).identify(forklift())
    assert found.identity.owner_namespace == "mig-team-a"
    assert not found.identity.complete
    assert found.plan.phase is phase


async def test_a_watch_that_is_cut_off_tells_the_namespace_but_no_state() -> None:
    cluster = MemoryCluster()
    cluster.fails = ClusterError("unreachable", "connection refused")
    cluster.follows(row(failed=True))
    cluster.index.problem = "connection refused"
    found = await identifier(cluster).identify(forklift())
    assert found.identity.owner_namespace == "mig-team-a"
    assert found.plan.phase is PlanPhase.UNREADABLE
