"""What users hand over: every layout and form of a must-gather, and files that are broken."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from receiver.kube import ClusterError, documents
from receiver.kube.mustgather import MustGather
from tests.trees import Layout, objects_of, plant, tarred, write, zipped
from tests.unit.kube.gathers import LOGS, PLAN, POD, names, plan_file
from tests.unit.kube.helpers import DATA, ERP_UID, EXAMPLE

pytestmark = pytest.mark.anyio

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
