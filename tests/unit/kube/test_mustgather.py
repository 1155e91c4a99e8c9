from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from receiver.kube import ClusterError
from receiver.kube.mustgather import MustGather
from tests.unit.kube.helpers import ERP_UID, EXAMPLE, watching

pytestmark = pytest.mark.anyio

WIN01 = "erp-wave1-vm-1402-d8f6k"
PLAN_YAML = (
    "apiVersion: forklift.konveyor.io/v1beta1\nkind: Plan\nmetadata: {{name: {name}, namespace: {ns}, uid: {uid}}}\n"
)


@pytest.fixture
async def sample() -> AsyncIterator[MustGather]:
    gather = MustGather("sample", EXAMPLE)
    yield gather
    await gather.aclose()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def files_below(folder: Path, name: str) -> list[Path]:
    return list(folder.rglob(name))


def packed(tree: Path, archive: Path, inside: str = "must-gather") -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tree, arcname=inside)
    return archive


async def test_the_shipped_example_shows_a_failed_plan_with_everything_around_it(sample: MustGather) -> None:
    (found,) = await sample.find_plans("erp-wave1")
    assert found["metadata"]["uid"] == ERP_UID
    assert await sample.get_plan("mig-team-a", "erp-wave1") == found
    assert isinstance(found["metadata"]["creationTimestamp"], str)
    pods = await sample.list("Pod", "erp-prod", label_selector=f"plan={ERP_UID},vmID=vm-1402")
    assert [pod["metadata"]["name"] for pod in pods] == [WIN01]
    assert pods[0]["kind"] == "Pod"
    (event,) = await sample.list("Event", "mig-team-a", field_selector="involvedObject.name=erp-wave1")
    assert event["reason"] == "Failed"
    for kind, namespace, name in (
        ("Migration", "mig-team-a", "erp-wave1-7k2qp"),
        ("Conversion", "mig-team-a", "erp-wave1-vm-1402-x9k2d"),
        ("Provider", "openshift-mtv", "vcenter-a"),
        ("NetworkMap", "mig-team-a", "vcenter-a-net"),
        ("StorageMap", "mig-team-a", "vcenter-a-sto"),
        ("Namespace", None, "mig-team-a"),
    ):
        assert await sample.get(kind, namespace, name) is not None, kind
    assert "virt-v2v: error: filesystem was mounted read-only" in await sample.log("erp-prod", WIN01, "virt-v2v")
    (controller,) = await sample.list("Pod", "openshift-mtv", label_selector="app=forklift")
    log = await sample.log("openshift-mtv", controller["metadata"]["name"], "main")
    assert "Migration [FAILED]" in log


async def test_a_log_that_holds_only_the_gathers_error_text_is_missing_and_told(sample: MustGather) -> None:
    with pytest.raises(ClusterError, match="no previous log") as caught:
        await sample.log("erp-prod", WIN01, "virt-v2v", previous=True)
    assert caught.value.reason == "not found"
    assert sample.problems[0].path == f"namespaces/erp-prod/logs/{WIN01}/previous.log"


async def test_watch_tells_the_plans_and_then_synced_and_goes_on(sample: MustGather) -> None:
    async with watching(sample) as watched:
        await watched.until(lambda: watched.told("synced") == 1)
    assert [event.kind for event in watched.events] == ["added", "synced"]
    row = sample.plans().by_uid(ERP_UID)
    assert row is not None
    assert (row.failed, row.executing, row.canceled) == (True, False, False)
    assert not sample.plans().was_deleted("another")


async def test_the_targeted_layout_with_singular_folders_is_read(tmp_path: Path) -> None:
    crs = tmp_path / "must-gather" / "namespaces" / "team" / "crs"
    write(crs / "plan" / "a.yaml", PLAN_YAML.format(name="a", ns="team", uid="u1"))
    write(
        crs / "virtualmachine" / "web.yaml",
        "apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {name: web, namespace: team}\n",
    )
    write(
        crs / "persistentvolumeclaim" / "disk.yaml",
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: disk, namespace: team}\n",
    )
    gather = MustGather("t", tmp_path)
    assert len(await gather.find_plans("a")) == 1
    assert await gather.get("VirtualMachine", "team", "web") is not None
    assert await gather.get("PersistentVolumeClaim", "team", "disk") is not None
    assert await gather.get("VirtualMachine", "other", "web") is None
    assert gather.problems == ()


async def test_the_layout_of_oc_adm_inspect_is_read(tmp_path: Path) -> None:
    space = tmp_path / "namespaces" / "team"
    write(
        space / "core" / "pods.yaml",
        "apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: p, namespace: team, labels: {plan: u1}}\n",
    )
    write(
        space / "batch" / "jobs.yaml",
        "apiVersion: v1\nkind: List\nitems:\n"
        "- apiVersion: batch/v1\n  kind: Job\n  metadata: {name: j, namespace: team}\n",
    )
    write(space / "core" / "events.yaml", "apiVersion: v1\nkind: EventList\nitems: []\n")
    write(space / "forklift.konveyor.io" / "plans" / "a.yaml", PLAN_YAML.format(name="a", ns="team", uid="u1"))
    write(
        tmp_path / "cluster-scoped-resources" / "core" / "nodes" / "w1.yaml",
        "apiVersion: v1\nkind: Node\nmetadata: {name: w1}\n",
    )
    for container, text in (("virt-v2v", "from virt-v2v\n"), ("other", "from other\n")):
        write(space / "pods" / "p" / container / container / "logs" / "current.log", text)
    gather = MustGather("t", tmp_path)
    assert [pod["metadata"]["name"] for pod in await gather.list("Pod", None, label_selector="plan=u1")] == ["p"]
    assert await gather.get("Job", "team", "j") is not None
    assert await gather.get("Node", None, "w1") is not None
    assert len(await gather.find_plans("a")) == 1
    assert await gather.list("Event", "team") == ()
    assert await gather.log("team", "p", "virt-v2v") == "from virt-v2v\n"
    assert await gather.log("team", "p", "other") == "from other\n"
    assert gather.problems == ()


async def test_a_pod_known_only_by_its_log_folder_has_name_and_namespace_and_no_labels(tmp_path: Path) -> None:
    write(tmp_path / "namespaces" / "team" / "logs" / "plan-vm-1-abcde" / "current.log", "text\n")
    gather = MustGather("t", tmp_path)
    (pod,) = await gather.list("Pod", "team")
    assert (pod["metadata"]["namespace"], pod["metadata"]["name"]) == ("team", "plan-vm-1-abcde")
    assert "labels" not in pod["metadata"]
    assert await gather.list("Pod", "team", label_selector="plan=x") == ()
    assert await gather.log("team", "plan-vm-1-abcde", "virt-v2v") == "text\n"
    assert await gather.log("team", "plan-vm-1-abcde", "") == "text\n"


@pytest.mark.parametrize(
    "text",
    [
        'Error from server (NotFound): plans.forklift.konveyor.io "bad" not found\n',
        "error: the server doesn't have a resource type\n",
        "a: [1, 2\n",
        "\tx: 1\n",
        "",
        "just words\n",
        "- 1\n- 2\n",
        "apiVersion: v1\nkind: Plan\n",
        "apiVersion: forklift.konveyor.io/v1beta1\nkind: Plan\nmetadata: {name: [bad], namespace: team}\n",
        "\x00\x01\x02",
        "!!python/object/apply:os.system [echo planted]\n",
    ],
)
async def test_a_file_without_an_object_is_skipped_and_told(tmp_path: Path, text: str) -> None:
    crs = tmp_path / "namespaces" / "team" / "crs" / "plans.forklift.konveyor.io"
    write(crs / "bad.yaml", text)
    write(crs / "good.yaml", PLAN_YAML.format(name="good", ns="team", uid="u1"))
    gather = MustGather("t", tmp_path)
    index = await gather.load()
    assert [row.name for row in index.rows()] == ["good"]
    (problem,) = gather.problems
    assert problem.path == "namespaces/team/crs/plans.forklift.konveyor.io/bad.yaml"
    assert problem.text.startswith(("holds no object", "no YAML"))


async def test_a_plan_of_wrong_types_is_counted_and_the_others_are_there(tmp_path: Path) -> None:
    crs = tmp_path / "namespaces" / "team" / "crs" / "plan"
    write(crs / "a.yaml", PLAN_YAML.format(name="a", ns="team", uid="u1") + "status: {conditions: 7}\n")
    write(crs / "b.yaml", PLAN_YAML.format(name="b", ns="team", uid="u2"))
    gather = MustGather("t", tmp_path)
    index = await gather.load()
    assert [row.name for row in index.rows()] == ["b"]
    assert index.skipped == 1


@pytest.mark.parametrize("form", ["tree", "outer folder", "archive", "archive in the outer folder", "outer archive"])
async def test_every_form_that_users_hand_over_is_found(tmp_path: Path, form: str) -> None:
    outer = tmp_path / "must-gather.local.123"
    image = outer / "registry-example-com-mtv-sha256-0a1b"
    if form == "tree":
        path = EXAMPLE
    elif form == "outer folder":
        shutil.copytree(EXAMPLE, image / "must-gather")
        path = outer
    elif form == "archive":
        path = packed(EXAMPLE, tmp_path / "x.tar.gz")
    else:
        packed(EXAMPLE, image / "must-gather.tar.gz")
        write(outer / "timestamp", "now")
        path = outer if form == "archive in the outer folder" else packed(outer, tmp_path / "outer.tgz", "outer")
    gather = MustGather("t", path)
    assert (await gather.find_plans("erp-wave1"))[0]["metadata"]["uid"] == ERP_UID
    assert "virt-v2v" in await gather.log("erp-prod", WIN01, "virt-v2v", tail_lines=5)
    await gather.aclose()


@pytest.mark.parametrize("name", ["../outside.yaml", "must-gather/../../outside.yaml", "/outside.yaml"])
async def test_an_archive_that_reaches_outside_itself_is_refused(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "deep" / "x.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 4
        tar.addfile(member, io.BytesIO(b"text"))
    gather = MustGather("t", archive)
    with pytest.raises(ClusterError, match="outside the archive") as caught:
        await gather.load()
    assert caught.value.reason == "bad answer"
    assert not files_below(tmp_path, "outside.yaml")
    await gather.aclose()


async def test_links_in_an_archive_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "secret.log", "planted\n")
    archive = tmp_path / "x.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(EXAMPLE, arcname="must-gather")
        link = tarfile.TarInfo("must-gather/namespaces/team/logs/p/current.log")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.log")
        tar.addfile(link)
    gather = MustGather("t", archive)
    with pytest.raises(ClusterError, match="no log"):
        await gather.log("team", "p", "c")
    assert [problem.text for problem in gather.problems] == ["link or device, not unpacked"]
    await gather.aclose()


async def test_links_in_a_tree_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "secret.yaml", PLAN_YAML.format(name="a", ns="team", uid="u1"))
    logs = tmp_path / "tree" / "namespaces" / "team" / "logs" / "p"
    logs.mkdir(parents=True)
    (logs / "current.log").symlink_to(tmp_path / "elsewhere" / "secret.yaml")
    plans = tmp_path / "tree" / "namespaces" / "team" / "crs" / "plan"
    plans.mkdir(parents=True)
    (plans / "a.yaml").symlink_to(tmp_path / "elsewhere" / "secret.yaml")
    gather = MustGather("t", tmp_path / "tree")
    with pytest.raises(ClusterError, match="no log"):
        await gather.log("team", "p", "c")
    assert await gather.find_plans("a") == ()
    assert gather.problems[0].text == "link, not read"


@pytest.mark.parametrize("what", ["missing", "empty folder", "no archive", "cut archive", "archive of something else"])
async def test_what_is_no_must_gather_says_so(tmp_path: Path, what: str) -> None:
    path = tmp_path / "x"
    if what == "empty folder":
        path.mkdir()
    elif what == "no archive":
        path.write_text("hello")
    elif what == "cut archive":
        whole = packed(EXAMPLE, tmp_path / "whole.tar.gz").read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif what == "archive of something else":
        write(tmp_path / "other" / "readme.yaml", "a: b")
        packed(tmp_path / "other", path)
    gather = MustGather("t", path)
    with pytest.raises(ClusterError) as caught:
        await gather.load()
    assert caught.value.reason in {"not found", "bad answer"}
    async with watching(gather) as watched:
        await watched.until(lambda: watched.told("lost") == 1)
    assert gather.plans().problem == caught.value.message
    await gather.aclose()


async def test_a_name_with_a_path_in_it_reads_no_file(tmp_path: Path) -> None:
    write(tmp_path / "outside" / "current.log", "planted\n")
    write(tmp_path / "tree" / "namespaces" / "team" / "logs" / "p" / "current.log", "text\n")
    gather = MustGather("t", tmp_path / "tree")
    with pytest.raises(ClusterError):
        await gather.log("team", "../../../../outside", "c")
    with pytest.raises(ClusterError):
        await gather.log("../../outside", "p", "c")
    assert await gather.list("Pod", "../..") == ()


async def test_a_large_log_is_read_from_its_end(tmp_path: Path) -> None:
    write(tmp_path / "namespaces" / "team" / "logs" / "p" / "current.log", "line\n" * 100_000 + "the end\n")
    gather = MustGather("t", tmp_path)
    text = await gather.log("team", "p", "c", tail_lines=3, limit_bytes=1_000)
    assert text == "line\nline\nthe end\n"
    assert len(await gather.log("team", "p", "c", tail_lines=10_000, limit_bytes=1_000)) == 1_000


async def test_a_temporary_folder_is_gone_after_closing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    gather = MustGather("t", packed(EXAMPLE, tmp_path / "x.tar.gz"))
    await gather.load()
    assert list((tmp_path / "temporary").iterdir())
    await gather.aclose()
    assert not list((tmp_path / "temporary").iterdir())
