"""What users hand over: every layout and form of a must-gather, and every way in which one can be broken."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from receiver.kube import ClusterError, archive, documents
from receiver.kube.archive import Room, unpack
from receiver.kube.kinds import KINDS
from receiver.kube.mustgather import MustGather
from tests.trees import Layout, objects_of, plant, tarred, write, zipped
from tests.unit.kube.helpers import DATA, ERP_UID, EXAMPLE

pytestmark = pytest.mark.anyio

WIN01 = "erp-wave1-vm-1402-d8f6k"
PLAN = {
    "apiVersion": "forklift.konveyor.io/v1beta1",
    "kind": "Plan",
    "metadata": {"name": "a", "namespace": "team", "uid": "u1", "resourceVersion": "7"},
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a-vm-1-x", "namespace": "team", "labels": {"plan": "u1"}},
}
LOGS = {("team", "a-vm-1-x", "virt-v2v", "current"): "now\n", ("team", "a-vm-1-x", "virt-v2v", "previous"): "before\n"}


def plan_file(root: Path, name: str = "a.yaml") -> Path:
    return root / "namespaces" / "team" / "crs" / "plans.forklift.konveyor.io" / name


async def names(gather: MustGather, kind: str = "Plan") -> list[str]:
    return [obj["metadata"]["name"] for obj in await gather.list(kind, None)]


async def refused(path: Path) -> str:
    """Return why a path is no must-gather: one line with a cure."""
    gather = MustGather("t", path)
    with pytest.raises(ClusterError) as caught:
        await gather.load()
    await gather.aclose()
    assert caught.value.reason in {"bad answer", "not found"}
    assert "; " in caught.value.message
    return caught.value.message


# --- layouts ---


@pytest.mark.parametrize("layout", ["full", "targeted", "inspect"])
async def test_plan_logs_and_pod_are_found_in_each_layout(tmp_path: Path, layout: Layout) -> None:
    gather = MustGather("t", plant(tmp_path, [PLAN, POD], LOGS, layout))
    assert await names(gather) == ["a"]
    assert await names(gather, "Pod") == ["a-vm-1-x"]
    assert await gather.log("team", "a-vm-1-x", "virt-v2v") == "now\n"
    assert await gather.log("team", "a-vm-1-x", "virt-v2v", previous=True) == "before\n"
    assert await gather.holds("Pod", "team") == (layout != "full")
    assert not await gather.holds("Event", "team")
    assert gather.problems == ()


@pytest.mark.parametrize("layout", ["full", "targeted", "inspect"])
async def test_every_example_object_is_read_as_it_was_written(tmp_path: Path, layout: Layout) -> None:
    objects = [
        obj for obj in objects_of(*sorted(DATA.glob("*.yaml"))) if obj["kind"] in ("Plan", "Provider", "Migration")
    ]
    gather = MustGather("t", plant(tmp_path, objects, {}, layout))
    for obj in objects:
        found = await gather.get(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])
        assert found is not None
        assert found["spec"] == obj["spec"]


async def test_an_empty_list_says_that_there_was_nothing(tmp_path: Path) -> None:
    write(tmp_path / "namespaces" / "team" / "core" / "events.yaml", "apiVersion: v1\nkind: EventList\nitems: []\n")
    gather = MustGather("t", tmp_path)
    assert await gather.holds("Event", "team")
    assert not await gather.holds("Event", "other")


async def test_the_controller_is_found_by_its_log_folder_alone(tmp_path: Path) -> None:
    pod = "forklift-controller-7d9c6b5f8d-x2k4m"
    gather = MustGather("t", plant(tmp_path, [], {("openshift-mtv", pod, "main", "current"): "{}\n"}, "full"))
    found = await gather.list("Pod", "openshift-mtv", label_selector="app=forklift,control-plane=controller-manager")
    assert [one["metadata"]["name"] for one in found] == [pod]


async def test_two_images_in_one_folder_are_read_together_and_the_newer_object_counts(tmp_path: Path) -> None:
    outer = tmp_path / "must-gather.local.1"
    newer = {**PLAN, "metadata": {**PLAN["metadata"], "resourceVersion": "12"}}  # type: ignore[dict-item]
    plant(outer / "cnv-sha256-1", [PLAN, POD], {}, "inspect")
    tarred(plant(tmp_path / "mtv", [newer], LOGS, "full"), outer / "mtv-sha256-2" / "must-gather.tar.gz")
    gather = MustGather("t", outer)
    (plan,) = await gather.list("Plan", "team")
    assert plan["metadata"]["resourceVersion"] == "12"
    assert await names(gather, "Pod") == ["a-vm-1-x"]
    assert await gather.log("team", "a-vm-1-x", "virt-v2v") == "now\n"
    await gather.aclose()


async def test_an_archive_beside_its_unpacked_tree_is_not_unpacked_again(tmp_path: Path) -> None:
    plant(tmp_path / "image" / "must-gather", [PLAN], {}, "full")
    write(tmp_path / "image" / "must-gather.tar.gz", "cut off")
    gather = MustGather("t", tmp_path)
    assert await names(gather) == ["a"]
    assert gather.problems == ()


async def test_a_broken_archive_beside_a_good_tree_is_told_and_does_not_matter(tmp_path: Path) -> None:
    plant(tmp_path / "a-image", [PLAN], {}, "full")
    write(tmp_path / "b-image" / "must-gather.tar.gz", "cut off")
    gather = MustGather("t", tmp_path)
    assert await names(gather) == ["a"]
    assert [problem.path for problem in gather.problems] == ["must-gather.tar.gz"]
    await gather.aclose()


@pytest.mark.parametrize("name", ["x.tar", "x.tgz", "x.tar.gz", "x.tar.xz", "x.zip", "0010-case.gz", "no suffix"])
@pytest.mark.parametrize("inside", ["must-gather", ".", "case/must-gather.local.1/image-sha256-1"])
async def test_an_archive_may_have_any_name_and_compression(tmp_path: Path, name: str, inside: str) -> None:
    mode: Any = {"x.tar": "w", "x.tar.xz": "w:xz"}.get(name, "w:gz")
    file = tmp_path / name
    packed = zipped(EXAMPLE, file, inside) if name.endswith(".zip") else tarred(EXAMPLE, file, inside, mode)
    gather = MustGather("t", packed)
    (plan,) = await gather.find_plans("erp-wave1")
    assert plan["metadata"]["uid"] == ERP_UID
    await gather.aclose()


async def test_the_outer_folder_packed_again_is_opened_to_the_inner_archive(tmp_path: Path) -> None:
    outer = tmp_path / "must-gather.local.1"
    tarred(EXAMPLE, outer / "image-sha256-1" / "must-gather.tar.gz")
    write(outer / "event-filter.html", "<html></html>")
    gather = MustGather("t", zipped(outer, tmp_path / "case.zip", "case"))
    assert await names(gather) == ["erp-wave1"]
    await gather.aclose()


@pytest.mark.parametrize("inside", ["namespaces", "cluster-scoped-resources"])
async def test_one_folder_too_deep_is_understood(tmp_path: Path, inside: str) -> None:
    plant(tmp_path, [PLAN], {}, "full")
    (tmp_path / inside).mkdir(exist_ok=True)
    assert await names(MustGather("t", tmp_path / inside)) == ["a"]


async def test_gzipped_logs_and_objects_are_read(tmp_path: Path) -> None:
    logs = tmp_path / "namespaces" / "team" / "pods" / "p" / "virt-v2v" / "virt-v2v" / "logs"
    logs.mkdir(parents=True)
    (logs / "current.log.gz").write_bytes(gzip.compress(b"line\n" * 500_000 + b"the end\n"))
    plan_file(tmp_path).parent.mkdir(parents=True)
    plan_file(tmp_path, "a.yaml.gz").write_bytes(gzip.compress(yaml.safe_dump(PLAN).encode()))
    gather = MustGather("t", tmp_path)
    assert await gather.log("team", "p", "virt-v2v", tail_lines=2, limit_bytes=1_000) == "line\nthe end\n"
    assert await names(gather) == ["a"]


async def test_a_log_that_was_taken_without_checking_the_certificate_is_better_than_none(tmp_path: Path) -> None:
    logs = tmp_path / "namespaces" / "team" / "pods" / "p" / "c" / "c" / "logs"
    write(logs / "current.log", "")
    write(logs / "current.insecure.log", "here\n")
    assert await MustGather("t", tmp_path).log("team", "p", "c") == "here\n"


async def test_an_error_text_in_one_image_does_not_hide_the_log_of_another(tmp_path: Path) -> None:
    key = ("team", "p", "c", "current")
    plant(tmp_path / "1", [], {key: 'Error from server (NotFound): pods "p" not found\n'}, "inspect")
    plant(tmp_path / "2", [], {key: "the log\n"}, "full")
    assert await MustGather("t", tmp_path).log("team", "p", "c") == "the log\n"


async def test_json_with_tabs_a_list_and_a_file_of_several_documents_are_read(tmp_path: Path) -> None:
    def named(name: str) -> dict[str, Any]:
        return {**PLAN, "metadata": {"name": name, "namespace": "team", "uid": name}}

    write(plan_file(tmp_path, "a.json"), json.dumps(named("a"), indent="\t"))
    write(plan_file(tmp_path, "b.json"), json.dumps({"apiVersion": "v1", "kind": "List", "items": [named("b")]}))
    write(plan_file(tmp_path, "c.yml"), f"{yaml.safe_dump(named('c'))}---\n{yaml.safe_dump(named('d'))}---\n")
    gather = MustGather("t", tmp_path)
    assert await names(gather) == ["a", "b", "c", "d"]
    assert gather.problems == ()


@pytest.mark.parametrize(
    "said",
    [
        "Warning: forklift.konveyor.io/v1beta1 Plan is deprecated\n",
        'W0914 08:30:01.123456   12 warnings.go:70] unknown field "spec.x"\n',
        "Error from server (Timeout): the server was unable to return a response\n",
    ],
)
@pytest.mark.parametrize("where", ["before", "after"])
async def test_what_oc_says_beside_an_object_does_not_cost_the_object(tmp_path: Path, said: str, where: str) -> None:
    text = yaml.safe_dump(PLAN)
    write(plan_file(tmp_path), said + text if where == "before" else text + said)
    assert await names(MustGather("t", tmp_path)) == ["a"]


# --- broken things ---


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", "holds no object"),
        ("a: &a [*a]\n", "aliases"),
        ("a: &a [1]\nb: *a\n", "aliases"),
        ("kind: Plan\nmetadata: {name: !!binary aGk=}\n", "of type bytes"),
        ("1: x\n", "a key is no text"),
        ("[" * 5_000, "no YAML"),
        ("{" * 100_000, "no YAML"),
        ('{"a":' * 100_000, "no YAML"),
        ("kind: Plan\nx: " + "9" * 6_000, "no YAML"),
    ],
)
async def test_a_file_that_no_api_server_printed_is_skipped_and_told(tmp_path: Path, text: str, why: str) -> None:
    write(plan_file(tmp_path, "bad.yaml"), text)
    write(plan_file(tmp_path), yaml.safe_dump(PLAN))
    gather = MustGather("t", tmp_path)
    assert await names(gather) == ["a"]
    (problem,) = gather.problems
    assert why in problem.text
    assert len(problem.text) < 200


async def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_FILE", 1_000)
    write(plan_file(tmp_path, "a.yaml"), yaml.safe_dump(PLAN) + "# " + "x" * 1_000)
    plan_file(tmp_path, "b.yaml.gz").write_bytes(gzip.compress(b"# " + b"x" * 5_000))
    gather = MustGather("t", tmp_path)
    assert await names(gather) == []
    assert [problem.text for problem in gather.problems] == ["larger than 1000 B, not read"] * 2


async def test_a_pipe_in_the_tree_is_not_waited_for(tmp_path: Path) -> None:
    write(plan_file(tmp_path), yaml.safe_dump(PLAN))
    os.mkfifo(plan_file(tmp_path, "pipe.yaml"))
    gather = MustGather("t", tmp_path)
    assert await names(gather) == ["a"]
    assert [problem.text for problem in gather.problems] == ["no file, not read"]


async def test_a_folder_that_links_out_of_the_tree_is_not_entered(tmp_path: Path) -> None:
    write(tmp_path / "outside" / "p" / "current.log", "planted\n")
    space = tmp_path / "tree" / "namespaces" / "team"
    space.mkdir(parents=True)
    (space / "logs").symlink_to(tmp_path / "outside")
    gather = MustGather("t", tmp_path / "tree")
    with pytest.raises(ClusterError, match="no log"):
        await gather.log("team", "p", "c")
    assert await gather.list("Pod", None) == ()


async def test_escape_codes_of_a_file_do_not_reach_a_terminal(tmp_path: Path) -> None:
    write(plan_file(tmp_path), "\x1b]0;owned\x07text\n")
    gather = MustGather("t", tmp_path)
    assert await names(gather) == []
    assert gather.problems[0].text.isprintable()


# --- archives that are not to be trusted ---


def tar_of(file: Path, *members: tuple[str, bytes]) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    return file


async def test_a_zip_that_reaches_outside_itself_is_refused(tmp_path: Path) -> None:
    for name in ("../planted.yaml", "x\\..\\..\\planted.yaml", "/planted.yaml"):
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
            packed.writestr(name, "text")
        assert "outside the archive" in await refused(tmp_path / "x.zip")
    assert not list(tmp_path.parent.rglob("planted.yaml"))


async def test_a_zip_that_unpacks_to_more_than_there_is_room_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("namespaces/team/crs/plan/a.yaml", "x" * 3_000_000)
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(ClusterError, match="unpack it yourself"):
        unpack(tmp_path / "x.zip", into, lambda *_: None, Room(size=1_000_000))
    assert sum(path.stat().st_size for path in into.rglob("*") if path.is_file()) <= 1_000_000


async def test_more_files_than_there_is_room_for_are_refused(tmp_path: Path) -> None:
    file = tar_of(tmp_path / "x.tar.gz", *((f"namespaces/{at}.yaml", b"x") for at in range(20)))
    with pytest.raises(ClusterError, match="unpack it yourself"):
        unpack(file, tmp_path, lambda *_: None, Room(files=10))


async def test_what_nobody_reads_takes_no_room(tmp_path: Path) -> None:
    file = tar_of(
        tmp_path / "x.tar.gz", ("audit_logs/big.log.gz", b"x" * 100_000), ("namespaces/t/crs/plan/a.yaml", b"x")
    )
    room = Room(size=10)
    unpack(file, tmp_path / "into", lambda *_: None, room)
    assert room.size == 9
    assert not (tmp_path / "into" / "audit_logs").exists()


async def test_members_that_cannot_be_written_are_told_and_the_others_are_there(tmp_path: Path) -> None:
    body = yaml.safe_dump(PLAN).encode()
    folder = "namespaces/team/crs/plan"
    file = tar_of(
        tmp_path / "x.tar.gz",
        (f"{folder}/a.yaml", body),
        (f"{folder}/a.yaml/b.yaml", body),  # a file as a folder
        (f"{folder}/{'n' * 300}.yaml", body),
        (f"{folder}/{'d/' * 40}c.yaml", body),
    )
    gather = MustGather("t", file)
    assert await names(gather) == ["a"]
    assert len(gather.problems) == 3
    await gather.aclose()


async def test_a_folder_full_of_archives_is_refused_by_name(tmp_path: Path) -> None:
    for at in range(archive.MAX_ARCHIVES + 1):
        write(tmp_path / f"{at}.zip", "")
    assert "name the one of the must-gather" in await refused(tmp_path)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("missing", "does not exist; give the folder"),
        ("text", "is no archive; give the folder"),
        ("cut", "cut off or damaged"),
        ("cut zip", "cannot be unpacked|cut off or damaged"),
        ("empty folder", "holds no must-gather"),
        ("encrypted", "unpack it yourself"),
    ],
)
async def test_what_is_no_must_gather_says_in_one_line_what_helps(tmp_path: Path, what: str, says: str) -> None:
    path = tmp_path / "x"
    match what:
        case "text":
            path.write_text("hello")
        case "cut":
            whole = tarred(EXAMPLE, tmp_path / "whole").read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        case "cut zip":
            whole = zipped(EXAMPLE, tmp_path / "whole").read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
        case "empty folder":
            path.mkdir()
        case "encrypted":
            whole = zipped(EXAMPLE, tmp_path / "whole").read_bytes()
            path.write_bytes(_marked_as_encrypted(whole))
    message = await refused(path)
    assert any(one in message for one in says.split("|"))


def _marked_as_encrypted(body: bytes) -> bytes:
    """Set the flag of a password in every header of a zip."""
    changed = bytearray(body)
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = changed.find(mark)
        while start >= 0:
            changed[start + at] |= 1
            start = changed.find(mark, start + 4)
    return bytes(changed)


# --- anything at all ---

ERROR_TEXTS = (
    b"",
    b"Error from server (NotFound): gone\n",
    b"<html></html>",
    b"\x00\xff\xfe",
    b"- [",
    b"kind: List\nitems: 7",
)
DAMAGE = st.one_of(st.sampled_from(ERROR_TEXTS), st.binary(max_size=200), st.integers(0, 4_000).map(lambda size: size))


async def read_everything(gather: MustGather) -> None:
    """Ask for everything; only ClusterErrors may come of it."""
    try:
        await gather.load()
        for kind in KINDS:
            await gather.list(kind, None)
            await gather.holds(kind, "erp-prod")
        for pod in (WIN01, "erp-wave1-vm-1401-q4zrm"):
            await gather.log("erp-prod", pod, "virt-v2v", tail_lines=10)
    except ClusterError:
        pass
    finally:
        await gather.aclose()


def hurt(tree: Path, damage: dict[int, bytes | int]) -> None:
    """Cut files, or put something else into them."""
    files = sorted(path for path in tree.rglob("*") if path.is_file())
    for at, how in damage.items():
        file = files[at % len(files)]
        file.write_bytes(file.read_bytes()[:how] if isinstance(how, int) else how)


SLOW_OK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW_OK
@given(damage=st.dictionaries(st.integers(0, 30), DAMAGE, max_size=8))
async def test_whatever_the_files_hold_nothing_but_a_cluster_error_is_raised(damage: dict[int, bytes | int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(shutil.copytree(EXAMPLE, Path(folder) / "tree"))
        hurt(tree, damage)
        await read_everything(MustGather("t", tree))


@SLOW_OK
@given(zip_=st.booleans(), changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=4)), max_size=6))
async def test_whatever_an_archive_holds_nothing_but_a_cluster_error_is_raised(
    zip_: bool, changes: list[tuple[float, bytes]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x"
        body = bytearray((zipped(EXAMPLE, file) if zip_ else tarred(EXAMPLE, file, mode="w")).read_bytes())
        for where, new in changes:
            at = int(where * (len(body) - len(new)))
            body[at : at + len(new)] = new
        file.write_bytes(bytes(body))
        await read_everything(MustGather("t", file))
        assert os.listdir(folder) == ["x"]  # noqa: PTH208
