"""What VMs wait for, as evidence: live, after a failure, as the story's cause; and what would end it."""

from __future__ import annotations

import copy
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.enrichers.causes import shipped
from receiver.enrichers.cures import cures_of, raised
from receiver.enrichers.evidence import Settings, gather_plan
from receiver.enrichers.redact import Redactor
from receiver.enrichers.waits import Waits, cause_of, waits_of
from receiver.kube import Cluster, ClusterError
from receiver.kube.sharing import SharedCluster
from receiver.model import Evidence, Impact, Wait
from receiver.store.codec import EVIDENCE, dump, dump_json, load
from receiver.stuck import Block, Kind, Owner, Shortage
from tests.contract.failures import Failure
from tests.contract.waiting import SEEN, live, live_failed
from tests.unit.enrichers.cluster import MemoryCluster
from tests.unit.enrichers.test_evidence import identity_of

pytestmark = pytest.mark.anyio
ONLY = Settings(enrichers=(Waits(),))
WEST = "mtv-integrations/west-mtv"
GIB = 1 << 30


async def gathered(failure: Failure, target: MemoryCluster | None = None, **more: Any) -> Evidence:
    hub = MemoryCluster([failure.plan])
    west = target or MemoryCluster([one for one in failure.objects if one["kind"] != "Plan"])
    west.name = "west"
    given: dict[str, Any] = {"settings": ONLY, "now": failure.now, "timeout_s": 5.0, "redactor": Redactor(), **more}
    clusters: dict[str, Cluster] = {WEST: west}
    return await gather_plan(hub, identity_of(hub), {}, destinations=clusters, **given)


async def test_a_wait_is_the_storys_cause_in_its_own_words() -> None:
    found = await gathered(live("pay-app-01"))
    (one,) = found.waits
    assert (one.vm, one.cause, one.cluster, one.owner) == ("pay-app-01", "live-quota", "west", "quota owner")
    assert one.lacks == ("requests.memory: needs 16.34 GiB, free 12.00 of 64 GiB, short by 4.34 GiB",)
    assert (one.ends_by_itself, one.ends_at, found.kept_at) == (False, None, None)
    assert found.cause is not None
    assert found.cause.sentence == "ResourceQuota payments/payments-quota refuses the receiver pod."
    assert found.cause.remedy == next(row.remedy for row in shipped().rows if row.id == "live-quota")
    assert found.complete


async def test_nothing_is_down_while_a_live_vm_waits() -> None:
    found = await gathered(live("pay-app-01", "pay-db-01"))
    assert found.impact is Impact.NONE
    assert found.impact_text == (
        "None yet: pay-app-01 and pay-db-01 still run on east-mtv. Each keeps 1 of 20 migration slots of provider "
        "east-mtv busy. 1 of 3 VMs is done."
    )


async def test_a_cold_vm_that_waits_is_off_meanwhile() -> None:
    failure = live("pay-web-01")
    failure.plan["spec"]["type"] = "cold"
    for vm in failure.plan["status"]["migration"]["vms"]:
        vm["restorePowerState"] = "On"
        vm["pipeline"][0] |= {"completed": "2026-09-01T07:50:00Z"}
    found = await gathered(failure)
    assert found.impact is Impact.AT_RISK
    assert found.impact_text.startswith(
        "pay-web-01 was On, has been off for the migration since 07:50 UTC, and stays off while it waits."
    )


async def kept_of(failure: Failure, uid: str, run: str) -> Any:
    assert (uid, run) == (failure.plan["metadata"]["uid"], "9d1d5f60-2f6e-4b52-8b0a-7a1f4c9be001")
    return failure.kept


async def test_what_a_failed_vm_waited_for_is_told_as_it_was_last_seen() -> None:
    failure = live_failed()
    found = await gathered(failure, kept=lambda uid, run: kept_of(failure, uid, run))
    (one,) = found.waits
    assert (one.vm, one.cause, found.kept_at) == ("pay-db-01", "live-unschedulable", SEEN)
    assert one.lacks == ("memory: needs 32.34 GiB",)
    assert found.cause is not None
    assert (found.cause.id, found.cause.certainty) == ("live-unschedulable", "when last seen")


async def test_of_a_failed_plan_nothing_is_asked_and_without_a_snapshot_nothing_told() -> None:
    failure, west = live_failed(), MemoryCluster([])
    found = await gathered(failure, west)
    assert (found.waits, found.kept_at, west.asked) == ((), None, [])


async def test_a_reason_of_a_failed_vm_is_nearer_than_what_it_waited_for() -> None:
    failure = live_failed()
    for vm in failure.plan["status"]["migration"]["vms"]:
        if "error" in vm:
            vm["error"]["reasons"] = ["VM name 'a' already exists in the target namespace"]
    found = await gathered(failure, kept=lambda uid, run: kept_of(failure, uid, run))
    assert found.waits
    assert found.cause is not None
    assert found.cause.id == "vm-name-taken"


async def test_a_broken_snapshot_is_none() -> None:
    failure = live_failed()
    failure.kept = ({"pods": [{"asks": {"cpu": "1/0", "memory": "1e9999999"}, "waits": [[1]]}], "events": 5}, SEEN)
    found = await gathered(failure, kept=lambda uid, run: kept_of(failure, uid, run))
    assert found.waits == ()


async def test_secrets_in_a_wait_are_hidden_and_a_command_is_whole_or_not_there() -> None:
    failure = live("pay-app-01")
    for one in failure.objects:
        if one["kind"] == "Event":
            one["message"] += ", password=Tr0ub4dor&3"
    found = await gathered(failure)
    assert "Tr0ub4dor" not in dump(EVIDENCE, found)
    assert found.hidden


async def test_a_command_with_a_secret_in_it_is_not_shown() -> None:
    class Planted(Redactor):
        def text(self, text: str) -> tuple[str, int]:
            return text.replace("payments-quota", "hidden"), text.count("payments-quota")

    (one,) = (await gathered(live("pay-app-01"), redactor=Planted())).waits
    assert "payments-quota" not in repr(one)
    assert [cure.url for cure in one.cures] == [""]


async def test_what_many_stories_share_of_a_cluster_tells_the_same() -> None:
    failure = live("pay-app-01", "pay-db-01", "pay-web-01")
    west = MemoryCluster([one for one in failure.objects if one["kind"] != "Plan"])
    west.name = "west"
    shared = SharedCluster(west)
    hub = MemoryCluster([failure.plan])
    found = await gather_plan(
        hub, identity_of(hub), {}, redactor=Redactor(), now=SEEN, timeout_s=5.0, settings=ONLY,
        destinations={WEST: shared.for_one_waiting(0)},
    )  # fmt: skip
    await shared.aclose()
    assert found.waits == (await gathered(failure)).waits
    assert len(found.waits) == 3


async def test_a_refusal_is_missing_and_a_destination_that_is_not_configured_too() -> None:
    failure, west = live("pay-app-01"), MemoryCluster([])
    west.refuse["list", "Pod"] = ClusterError("forbidden", "no")
    found = await gathered(failure, west)
    assert any("list pods" in one.cure for one in found.missing)
    provider = {
        "kind": "Provider", "metadata": {"name": "west-mtv", "namespace": "mtv-integrations"}, "spec": {"url": "https://x"},
    }  # fmt: skip
    hub = MemoryCluster([failure.plan, provider])
    found = await gather_plan(
        hub, identity_of(hub), {}, redactor=Redactor(), now=SEEN, timeout_s=5.0, settings=ONLY
    )  # fmt: skip
    assert [one.what for one in found.missing] == ["what VMs wait for"]


async def test_a_turn_that_has_not_come_is_no_wait() -> None:
    failure = live("pay-app-01")
    vm = next(one for one in failure.plan["status"]["migration"]["vms"] if one["name"] == "pay-db-01")
    vm.pop("completed")
    vm["conditions"] = [{"type": "Pending", "status": "True", "message": "in-flight limit reached (max 20)"}]
    assert [one.vm for one in (await gathered(failure)).waits] == ["pay-app-01"]


def test_rows_of_before_there_were_waits_still_decode() -> None:
    old = asdict(Evidence(run="run-1"))
    del old["waits"], old["kept_at"]
    found = load(
        EVIDENCE, dump_json({key: value for key, value in old.items() if value is not None and key != "counts"})
    )
    assert (found.run, found.waits, found.kept_at) == ("run-1", (), None)
    new = Evidence(waits=(Wait("a", "quota", "b."),), kept_at=SEEN)
    assert load(EVIDENCE, dump(EVIDENCE, new)) == new


def block(kind: Kind = Kind.QUOTA_POD, scope: str = "ns/q", vm: str = "a", **more: Any) -> Block:
    return Block(vm=vm, vm_id=vm, kind=kind, phase="", cause="It waits.", owner=Owner.QUOTA, scope=scope, **more)


def lack(resource: str = "requests.memory", unit: Any = "B", **more: int) -> Shortage:
    return Shortage(resource, unit, **more)


@pytest.mark.parametrize(
    ("shortage", "expected"),
    [
        (lack(need=17_542_024_896, used=52 * GIB, limit=64 * GIB), {"requests.memory": ("64Gi", "69Gi")}),
        (lack(need=12 * GIB, used=60 * GIB, limit=64 * GIB), {"requests.memory": ("64Gi", "72Gi")}),
        (lack("requests.cpu", "m", need=800, used=3_500, limit=4_000), {"requests.cpu": ("4", "5")}),
        (lack("pods", "", need=1, used=50, limit=50), {"pods": ("50", "51")}),
        (lack(need=300 << 20, used=500 << 20, limit=700_000_000), {"requests.memory": ("700000000", "800Mi")}),
        (lack(need=1, used=1), {}),
        (lack(need=GIB, used=10 * GIB, limit=64 * GIB), {}),
        (lack("a b", need=2 * GIB, used=GIB, limit=GIB), {}),
    ],
)
def test_a_quota_is_raised_to_the_next_whole_value(shortage: Shortage, expected: Any) -> None:
    assert raised([block(shortages=(shortage,))]) == expected


def test_a_quota_that_refuses_several_vms_has_to_fit_them_all() -> None:
    one = block(shortages=(lack(need=10 * GIB, used=50 * GIB, limit=56 * GIB),))
    other = block(vm="b", shortages=(lack(need=20 * GIB, used=52 * GIB, limit=56 * GIB),))
    elsewhere = block(vm="c", scope="ns/other", shortages=(lack(need=GIB, used=GIB, limit=GIB),))
    (cure,) = cures_of(one, [one, other, elsewhere], "west")
    assert cure.url == (
        'oc -n ns patch resourcequota q --type=merge -p \'{"spec":{"hard":{"requests.memory":"82Gi"}}}\''
    )
    assert cure.text.endswith("from 56Gi to 82Gi or more; the 2 VMs then go on by themselves")


@pytest.mark.parametrize("scope", ["ns/q;rm -rf", "$(x)/q", "", "q"])
def test_no_command_is_made_of_a_name_that_is_none(scope: str) -> None:
    one = block(scope=scope, shortages=(lack(need=GIB, used=GIB, limit=GIB),))
    assert [cure.url for cure in cures_of(one, [one], "west")] == [""]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_has_a_cure(kind: Kind) -> None:
    one = block(kind)
    (cure,) = cures_of(one, [one], "west")
    assert cure.text
    assert "{" not in cure.text
    assert not cure.text.endswith(".")


def test_what_most_vms_wait_for_is_the_cause_and_its_remedy_is_there_for_every_kind() -> None:
    many = [block(Kind.NO_SYNC, vm="a"), block(vm="b"), block(vm="c")]
    waits = waits_of(many, "west")
    found = cause_of(waits, shipped(), kept=False)
    assert found is not None
    assert found.id == "live-quota"
    for kind in Kind:
        own = cause_of(waits_of([replace(many[0], kind=kind)], "west"), shipped(), kept=False)
        assert own is not None
        assert own.remedy
    assert cause_of((), shipped(), kept=True) is None


def test_times_of_a_wait_are_those_of_its_objects() -> None:
    since, ends = datetime(2026, 9, 1, 8, tzinfo=UTC), datetime(2026, 9, 1, 8, 5, tzinfo=UTC)
    (one,) = waits_of([block(since=since, deadline=ends, ends_by_itself=True)], "west")
    assert (one.since, one.ends_at, one.ends_by_itself) == (since, ends, True)


async def test_a_plan_is_left_as_it_was_given() -> None:
    failure = live_failed()
    before = copy.deepcopy(failure.plan)
    await gathered(failure, kept=lambda uid, run: kept_of(failure, uid, run))
    assert failure.plan == before
