"""Where logs are looked for, what is kept of them, and logs that nobody would write by hand."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from receiver.enrichers.evidence import gather_plan
from receiver.enrichers.lines import decisive_lines, signature
from receiver.enrichers.plan import read_plan
from receiver.enrichers.redact import Redactor
from receiver.keeping import KEPT_CHARACTERS, pack, unpack
from receiver.kube import Cluster
from receiver.model import Evidence, VMFailure
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.kubernetes import running as serving
from tests.unit.enrichers.cluster import MemoryCluster, log_text, objects, plan_of, pod
from tests.unit.enrichers.test_evidence import NOW, RUNBOOK, V2V_POD, cold, identity_of
from tests.unit.kube.helpers import DATA, cluster_for

pytestmark = pytest.mark.anyio


class East(MemoryCluster):
    name = "east"


async def gathered(cluster: MemoryCluster, **destinations: Cluster) -> Evidence:
    places = {name.replace("__", "/").replace("_", "-"): one for name, one in destinations.items()}
    return await gather_plan(
        cluster, identity_of(cluster), RUNBOOK, redactor=Redactor(), now=NOW, timeout_s=5.0, destinations=places
    )


def to_remote() -> tuple[MemoryCluster, East]:
    """Return the management cluster without pods, and the destination cluster with them."""
    home, east = cold(), East([])
    east.objs = [obj for obj in home.objs if obj["kind"] in ("Pod", "Event")]
    east.logs = home.logs
    home.objs = [obj for obj in home.objs if obj["kind"] not in ("Pod", "Event")]
    home.objs.append(
        {"kind": "Provider", "metadata": {"name": "host", "namespace": "openshift-mtv"}, "spec": {"url": "https://e"}}
    )
    home.logs = {}
    return home, east


async def test_pods_of_a_configured_destination_cluster_are_read_there() -> None:
    home, east = to_remote()
    evidence = await gathered(home, openshift_mtv__host=east)
    assert [excerpt.pod for excerpt in evidence.logs] == [V2V_POD]
    assert evidence.missing == ()
    assert ("get", "Provider") not in {asked[:2] for asked in home.asked}


async def test_the_target_namespace_of_this_cluster_is_not_taken_for_that_of_another() -> None:
    home, east = to_remote()
    home.objs += [copy.deepcopy(obj) for obj in east.objs]
    evidence = await gathered(home)
    assert evidence.logs == ()
    (missing,) = evidence.missing
    assert (missing.what, missing.why) == ("logs of erp-win01", "the pods run on the destination cluster host")
    assert missing.cure == "list openshift-mtv/host in `providers` of a cluster"


async def test_the_receiving_pod_of_a_live_migration_is_found_through_kubevirts_own_migration() -> None:
    cluster = MemoryCluster(objects("d2-live-cclm-failed.yaml"))
    plan = next(obj for obj in cluster.objs if obj["kind"] == "Plan")
    vm = plan["status"]["migration"]["vms"][0]
    labels = {"plan": plan["metadata"]["uid"], "vmID": vm["id"]}
    target = plan["spec"]["targetNamespace"]
    cluster.objs += [
        {
            "kind": "VirtualMachineInstanceMigration",
            "metadata": {"name": "forklift-x", "namespace": target, "uid": "vmim-1", "labels": labels},
            "status": {"migrationState": {"failureReason": "qemu: broken pipe"}},
        },
        pod("virt-launcher-x", target, {"kubevirt.io/migrationJobUID": "vmim-1"}, containerStatuses=[
            {"name": "compute", "state": {"terminated": {"exitCode": 1}}}
        ]),
        pod("virt-launcher-y", target, {"kubevirt.io/migrationJobUID": "vmim-2"}),
    ]  # fmt: skip
    cluster.logs[target, "virt-launcher-x", False] = '{"level":"error","msg":"target failed to start"}'
    evidence = await gathered(cluster)
    assert [(one.pod, one.container) for one in evidence.logs] == [
        ("forklift-x", "VirtualMachineInstanceMigration"),
        ("virt-launcher-x", "compute"),
    ]
    assert evidence.logs[0].lines == ("qemu: broken pipe",)


async def test_logs_that_fail_alike_count_together_and_their_ends_are_kept() -> None:
    cluster = cold()
    plan = next(obj for obj in cluster.objs if obj["kind"] == "Plan")
    vms = plan["status"]["migration"]["vms"]
    template = next(obj for obj in cluster.objs if obj["kind"] == "Pod" and obj["metadata"]["name"] == V2V_POD)
    for number in (1, 2):
        vms.append({**copy.deepcopy(vms[1]), "id": f"vm-9{number}", "name": f"v{number}"})
        one = copy.deepcopy(template)
        one["metadata"]["name"] = f"erp-wave1-vm-9{number}-x"
        one["metadata"]["labels"]["vmID"] = f"vm-9{number}"
        cluster.objs.append(one)
        text = log_text("a-virt-v2v-erp-win01.log")
        cluster.logs["erp-prod", f"erp-wave1-vm-9{number}-x", False] = f"{text}\npassword=PLANTED-{number}\n"
    evidence = await gathered(cluster)
    assert [one.alike for one in evidence.logs] == [3, 3, 3]
    assert [(one.count, one.vms) for one in evidence.groups] == [(3, ("erp-win01", "v1", "v2"))]
    kept = [unpack(one.kept) for one in evidence.logs]
    assert all("virt-v2v: error: filesystem was mounted read-only" in text for text in kept)
    assert not any("PLANTED" in text for text in kept)
    assert all(len(one.kept) < len(text) for one, text in zip(evidence.logs, kept, strict=True))


@pytest.mark.parametrize(
    "odd",
    [
        b"x" * 5_000_000 + b"\nvirt-v2v: error: disk is gone\n",
        b"\xff\xfe\x00 broken\nvirt-v2v: error: disk is gone\n",
        b"\x1b[31mvirt-v2v: error: disk is gone\x1b[0m\r\n",
        b"virt-v2v: error: disk is gone\n" + b"\xf0\x9f" * 200,
    ],
    ids=["a line of 5 MB", "no UTF-8", "colours", "half characters"],
)
async def test_odd_logs_give_their_error_through_a_real_api(tmp_path: Path, odd: bytes) -> None:
    async with serving(KubernetesApi()) as api:
        await api.load_yaml(DATA / "a-cold-vsphere-imageconversion.yaml")
        api.set_log("erp-prod", V2V_POD, "virt-v2v", odd)
        cluster = cluster_for(api, tmp_path)
        try:
            evidence = await gather_plan(
                cluster, identity_of(cold()), RUNBOOK, redactor=Redactor(), now=NOW, timeout_s=10.0
            )
        finally:
            await cluster.aclose()
    (excerpt,) = evidence.logs
    assert any("virt-v2v: error: disk is gone" in line for line in excerpt.lines)
    assert all(len(line) <= 340 and line.isprintable() for line in excerpt.lines)


@pytest.mark.parametrize("trouble", ["forbidden", "unserved", "500", "slow"])
async def test_a_server_in_trouble_costs_words_and_never_an_error(tmp_path: Path, trouble: str) -> None:
    async with serving(KubernetesApi()) as api:
        await api.load_yaml(DATA / "a-cold-vsphere-imageconversion.yaml")
        if trouble == "forbidden":
            api.forbidden |= {("list", "pods"), ("list", "events")}
        elif trouble == "unserved":
            api.unserved |= {"events", "pods", "providers.forklift.konveyor.io"}
        elif trouble == "500":
            api.errors |= {("list", "pods"): 500, ("list", "events"): 500}
        else:
            api.delay = 0.4
        cluster = cluster_for(api, tmp_path)
        try:
            evidence = await gather_plan(
                cluster, identity_of(cold()), RUNBOOK, redactor=Redactor(), now=NOW, timeout_s=1.5
            )
        finally:
            await cluster.aclose()
    assert evidence.failures[0].name == "erp-win01"
    assert evidence.missing
    assert evidence.complete == (trouble == "unserved")


def test_the_last_progress_before_the_error_is_kept() -> None:
    lines = [f"I0918 07:13:{one:02}.0 1 prometheus.go:78] {one}.00" for one in range(40)]
    text = "\n".join([*lines, "debug", "E0918 07:14:00.0 1 a.go:1] connection reset"])
    assert lines[-1] in decisive_lines(text)[1]
    stage = "[  81.3] Converting Windows Server 2019 to run on KVM"
    text = f"[  12.0] Opening the source\n{stage}\nlibguestfs: trace\nvirt-v2v: error: no"
    assert stage in decisive_lines(text)[1]


def test_any_line_of_virt_v2v_itself_is_shown_before_hints() -> None:
    hints = "\n".join(f"cannot open file number {number}" for number in range(100))
    text = f"virt-v2v-in-place: The guest has no drivers\n{hints}\nvirt-v2v: warning: something odd\n"
    lines = decisive_lines(text)[1]
    assert "virt-v2v-in-place: The guest has no drivers" in lines
    assert "virt-v2v: warning: something odd" in lines


def test_logs_alike_have_one_signature_whatever_their_numbers() -> None:
    one = ("E0918 07:14:00.0 1 a.go:1] disk 12 of vm-104 is gone",)
    other = ("E0919 11:00:09.1 7 a.go:1] disk 3 of vm-2 is gone",)
    assert signature(one) == signature(other) != signature(("E0918 07:14:00.0 1 a.go:1] login refused",))
    assert signature(()) == ""


@pytest.mark.parametrize("text", ["", "a\nb", "line\n" * 100_000, "é" * 100_000])
def test_what_is_packed_comes_back_from_the_beginning_of_a_line(text: str) -> None:
    back = unpack(pack(text))
    assert text.endswith(back)
    assert len(back) <= KEPT_CHARACTERS
    assert bool(back) == bool(text)


@pytest.mark.parametrize("broken", ["", "not base85 \n", "c$@", pack("x")[:-3]])
def test_what_was_never_packed_is_empty(broken: str) -> None:
    assert unpack(broken) in ("", "x")


def test_disks_tasks_and_precopies_are_told() -> None:
    (vm,) = _failures("c-disktransfer-out-of-space.yaml")
    assert vm.disks == ("50 GiB", "500 GiB")
    assert len(vm.tasks) == 2
    assert "failed" in vm.tasks[0]
    warm = _failures("b-warm-retry-limit-legacy.yaml")
    assert warm[0].precopies.startswith("28 precopies, the last ")


def _failures(name: str) -> tuple[VMFailure, ...]:
    return read_plan(plan_of(name)).failures
