"""`capacity plan` against API servers: what a person reads, what a pipeline gets, and what a missing right makes of it.

UPDATE_GOLDEN=1 rewrites the golden files; read the difference.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from receiver.__main__ import app
from receiver.kube.rights import ONLY_ROOM, RIGHTS
from receiver.room import supply
from tests.fleet import DATA, PLAN, S4, Fleet, fleet, load
from tests.trees import plant

pytestmark = [pytest.mark.anyio, pytest.mark.past_proxy("asks API servers by clients of its own")]

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "capacity"
SCENARIOS: dict[str, Mapping[str, str]] = {
    "s1-fits": {"west": "s1-fits.yaml"},
    "s2-fragmented-memory": {"west": "s2-fragmented-memory.yaml"},
    "s3-storage-short": {"west": "s3-storage-short.yaml"},
    "s4-quota-short": S4,
    "s5-observed-pending": {"west": "s2-fragmented-memory.yaml"},
}
EXPECTED: dict[str, Any] = json.loads((DATA / "expected.json").read_text())


async def asked(which: Fleet | Path, *words: object, columns: int = 100, plan: str = PLAN) -> Result:
    """Return what `capacity plan` says; it has an event loop of its own."""
    where = ["--must-gather", str(which)] if isinstance(which, Path) else ["-c", str(which.config)]
    line = ["capacity", "plan", plan, *where, *(str(word) for word in words)]
    return await asyncio.to_thread(CliRunner().invoke, app, line, env={"COLUMNS": str(columns)})


async def judged(which: Fleet | Path, *words: object, plan: str = PLAN) -> dict[str, Any]:
    result = await asked(which, "--json", *words, plan=plan)
    assert result.exit_code in (0, 1), result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def golden(name: str, text: str) -> None:
    """Compare with a golden file, the moment of reading left out."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "<now>", text)
    text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    file = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    assert text == file.read_text()


# --- what a person reads ---


@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_reads_as_its_golden_files(name: str, tmp_path: Path) -> None:
    observed = name.startswith("s5")
    async with fleet(tmp_path, SCENARIOS[name], executing=observed) as clusters:
        if observed:
            await load(clusters["west"], "s5-observed-pending.yaml")
        wide, phone = await asked(clusters), await asked(clusters, columns=44)
    assert wide.exit_code == phone.exit_code == (0 if name == "s1-fits" else 1)
    for result, columns in ((wide, 100), (phone, 44)):
        # Only a name that is longer than the terminal may stick out.
        assert [
            line for line in result.stdout.splitlines() if len(line.rstrip()) > columns and " " in line.strip()
        ] == []
    golden(f"{name}.txt", wide.stdout)
    golden(f"{name}.phone.txt", phone.stdout)


async def test_the_first_line_says_what_is_missing_where_and_how_much(tmp_path: Path) -> None:
    async with fleet(tmp_path, SCENARIOS["s2-fragmented-memory"]) as clusters:
        text = " ".join((await asked(clusters)).stdout.split())
    assert text.startswith(
        "Short: pay-db-01 needs 32.37 GiB memory on one node, the best (west-w1) has 28.00 GiB, 4.37 GiB missing"
    )


# --- what a pipeline gets ---


@pytest.mark.parametrize(("name", "file"), [(name, files["west"]) for name, files in SCENARIOS.items()][:4])
async def test_the_figures_are_those_that_were_worked_by_hand(name: str, file: str, tmp_path: Path) -> None:
    async with fleet(tmp_path, SCENARIOS[name]) as clusters:
        found = await judged(clusters)
    want = EXPECTED[file]
    assert found["verdict"] == want["verdict"]
    assert [one["missing"] for one in found["shortages"]] == [one["missing_bytes"] for one in want["shortages"]]
    assert len(found["unknown"]) == len(want.get("unknown", []))
    assert {one["name"]: one["memory"] for one in found["vms"]} == {
        vm: need["memory_bytes"] for vm, need in EXPECTED["demand"].items()
    }
    assert {one["origin"] for one in found["vms"]} == {"source pod"}
    assert found["age"] < 10


async def test_other_clusters_are_ranked_with_reasons_and_those_left_out_are_named(tmp_path: Path) -> None:
    async with fleet(tmp_path, S4) as clusters:
        found = await judged(clusters)
    assert [(one["cluster"], one["verdict"]) for one in found["others"]] == [("south", "fits"), ("north", "short")]
    assert "50.6 % of memory" in found["others"][0]["reason"]
    assert {one["cluster"]: one["reason"] for one in found["left_out"]} == {
        **EXPECTED["ranking_left_out"],
        "hub": "it has no KubeVirt",
    }


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        ("s1-fits", (), 0),
        ("s1-fits", ("--strict",), 0),
        ("s3-storage-short", (), 1),
        ("s2-fragmented-memory", ("--json",), 1),
    ],
)
async def test_the_exit_code_is_what_a_pipeline_branches_on(
    name: str, words: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    async with fleet(tmp_path, SCENARIOS[name]) as clusters:
        assert (await asked(clusters, *words)).exit_code == code


async def test_strict_takes_what_is_not_known_for_a_no(tmp_path: Path) -> None:
    async with fleet(tmp_path) as clusters:
        clusters["west"].forbidden = {("list", "pods")}
        nodes = [(await asked(clusters, *words)).exit_code for words in ((), ("--strict",))]
        clusters["west"].forbidden = {("list", "resourcequotas")}
        beside = [(await asked(clusters, *words)).exit_code for words in ((), ("--strict",))]
    assert nodes == beside == [0, 1]


async def test_a_plan_that_does_not_exist_and_a_cluster_that_is_away(tmp_path: Path) -> None:
    async with fleet(tmp_path) as clusters:
        other = await asked(clusters, plan="mtv-integrations/cross-cluster-migration-k7x3")
        wrong = await asked(clusters, plan="no-slash")
        await clusters["hub"].down()
        away = await asked(clusters)
    assert (other.exit_code, wrong.exit_code, away.exit_code) == (2, 2, 3)
    assert "did you mean mtv-integrations/cross-cluster-migration-k7x2?" in other.stderr
    assert away.stderr.count("\n") == 1
    assert "hub" in away.stderr


async def test_a_target_that_is_away_is_not_known_and_the_plan_is_still_described(tmp_path: Path) -> None:
    async with fleet(tmp_path) as clusters:
        await clusters["west"].down()
        found = await judged(clusters)
    assert found["verdict"] == "unknown"
    assert set(found["parts"].values()) == {"unknown"}
    assert [one["memory"] for one in found["vms"]] == [need["memory_bytes"] for need in EXPECTED["demand"].values()]
    assert any("west cannot be reached" in one["why"] for one in found["unknown"])


# --- a right that is missing ---

SOURCE = {"datavolumes.cdi.kubevirt.io", "virtualmachines.subresources.kubevirt.io/expand-spec"}
HUB = {
    "storagemaps.forklift.konveyor.io", "providers.forklift.konveyor.io",
    "managedclusters.cluster.open-cluster-management.io",
}  # fmt: skip
PART = {
    "nodes": "compute", "resourcequotas": "quota", "limitranges": "quota", "csidrivers": "storage",
    "csistoragecapacities": "storage", "storagemaps": "storage", "cdiconfigs": "storage", "datavolumes": "storage",
    "appliedclusterresourcequotas": "quota", "applicationawareresourcequotas": "quota",
    "applicationawareclusterresourcequotas": "quota", "virtualmachines": "compute",
}  # fmt: skip
REFUSED = [(one.verb, one.name.partition(" ")[2]) for one in RIGHTS if one.optional == ONLY_ROOM]
MORE = [
    ("west", "list", "pods", "compute"),
    ("west", "list", "storageclasses.storage.k8s.io", "storage"),
    ("east", "list", "pods", ""),
    ("east", "list", "datavolumes.cdi.kubevirt.io", "storage"),
    ("east", "list", "virtualmachineinstances.kubevirt.io", ""),
    ("east", "list", "persistentvolumeclaims", "storage"),
    ("east", "get", "nodes", ""),
    ("east", "list", "kubevirts.kubevirt.io", ""),
    ("hub", "list", "plans.forklift.konveyor.io", ""),
]


@pytest.mark.parametrize(
    ("server", "verb", "resource", "part"),
    [
        (
            "east" if name in SOURCE else "hub" if name in HUB else "west",
            verb,
            name,
            PART.get(name.partition(".")[0], ""),
        )
        for verb, name in REFUSED
    ]
    + MORE,
)
async def test_a_right_that_is_missing_is_named_and_its_part_neither_fits_nor_is_short(
    server: str, verb: str, resource: str, part: str, tmp_path: Path
) -> None:
    async with fleet(tmp_path) as clusters:
        if resource == "storageprofiles.cdi.kubevirt.io":  # of no use where the map says the mode
            storage_map = next(one for one in clusters["hub"].objects.values() if one["kind"] == "StorageMap")
            del storage_map["spec"]["map"][0]["destination"]["volumeMode"]
            part = "storage"
        if resource.endswith("expand-spec"):
            for kind, name in (("VirtualMachineInstance", "pay-web-01"), ("Pod", "virt-launcher-pay-web-01-abcde")):
                await clusters["east"].delete(kind, "payments", name)
        clusters[server].forbidden = {(verb, resource)}
        found = await judged(clusters)
    rights = [one["right"] for one in found["unknown"]]
    assert any(right.startswith(f"{verb} {resource}") for right in rights), found["unknown"]
    if part:
        assert found["parts"][part] == "unknown", found["parts"]
    assert found["verdict"] == ("unknown" if part == "compute" else "fits")
    if part and part != "compute":
        assert found["headline"].startswith("Fits as far as known: ")
        assert part in found["headline"].partition("; not known: ")[2]


async def test_without_rights_at_the_target_nothing_is_claimed(tmp_path: Path) -> None:
    async with fleet(tmp_path, SCENARIOS["s2-fragmented-memory"]) as clusters:
        clusters["west"].rotate_token("another")
        found = await judged(clusters)
    assert found["verdict"] == "unknown"
    assert found["shortages"] == []


# --- lists that do not hold still ---


async def test_a_list_that_expires_is_read_from_the_start_and_no_pod_is_counted_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with fleet(tmp_path) as clusters:
        want = await judged(clusters)
        monkeypatch.setattr(supply, "POD_PAGE", 2)
        monkeypatch.setattr(supply, "NODE_PAGE", 2)
        clusters["west"].asked.clear()
        clusters["west"].expire_continue = 1
        got = await judged(clusters)
        pages = [one for one in clusters["west"].asked if one.resource == "pods" and "/namespaces/" not in one.path]
        clusters["west"].expire_continue = 1_000
        given_up = await judged(clusters)
    assert [one["free"] for one in got["resources"]] == [one["free"] for one in want["resources"]]
    assert len(pages) > 3
    assert {one.query["limit"] for one in pages} == {"2"}
    assert given_up["parts"]["compute"] == "unknown"


# --- what is there already ---


async def test_receivers_and_volumes_that_are_there_are_not_counted_twice(tmp_path: Path) -> None:
    async with fleet(tmp_path, executing=True) as clusters:
        west = clusters["west"]
        source = yaml.safe_load_all((DATA / "00-source-vms.yaml").read_text())
        pod = next(one for one in source if one["kind"] == "Pod" and "pay-db-01" in one["metadata"]["name"])
        before = await judged(clusters)
        await west.apply({**pod, "metadata": {**pod["metadata"], "name": "receiver"},
                          "spec": {**pod["spec"], "nodeName": "west-w1"}})  # fmt: skip
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {"phase": "Bound"}}
        await west.apply({**claim, "metadata": {"name": "pay-db-01-data", "namespace": "payments"}})
        bound = await judged(clusters)
        await west.delete("Pod", "payments", "receiver")
        waiting = {key: value for key, value in pod["spec"].items() if key != "nodeName"}
        await west.apply({**pod, "metadata": {**pod["metadata"], "name": "receiver"}, "spec": waiting,
                          "status": {"phase": "Pending"}})  # fmt: skip
        pending = await judged(clusters)

    def need(found: dict[str, Any], resource: str, scope: str) -> int:
        rows = {(one["resource"], one["scope"]): int(one["need"]) for one in reversed(found["resources"])}
        return rows[resource, scope]

    db, data = EXPECTED["demand"]["pay-db-01"]["memory_bytes"], 400 * 1024**3
    assert need(bound, "memory", "cluster") == need(before, "memory", "cluster") - db
    assert need(bound, "requests.memory", "quota") == need(before, "requests.memory", "quota") - db
    assert need(bound, "storage", "storage_class") == need(before, "storage", "storage_class") - data
    assert need(bound, "requests.storage", "quota") == need(before, "requests.storage", "quota") - data
    assert "1 VM has its receiver on a node already" in bound["notes"]
    # One that waits uses quota, but no node yet.
    assert need(pending, "memory", "cluster") == need(before, "memory", "cluster")
    assert need(pending, "requests.memory", "quota") == need(before, "requests.memory", "quota") - db


# --- a must-gather ---


async def test_a_must_gather_tells_what_it_holds_and_never_sums_up_nodes(tmp_path: Path) -> None:
    objects = [
        one
        for file in ("00-source-vms.yaml", "01-cclm-plan.yaml", "s3-storage-short.yaml")
        for one in yaml.safe_load_all((DATA / file).read_text())
        if one and one["kind"] not in ("Secret", "Namespace")
    ]
    for one in objects:
        one["metadata"].setdefault("namespace", "payments")
        if one["kind"] == "Provider":  # the hub itself
            one["spec"]["url"] = ""
        if one["kind"] == "Plan":
            one["spec"]["targetNamespace"] = "payments-new"
            one["status"].pop("migration")
    gather = plant(tmp_path / "gather", objects, {}, "inspect")
    found = await judged(gather)
    assert found["parts"] == {"compute": "unknown", "storage": "short", "quota": "unknown"}
    assert [one["missing"] for one in found["shortages"]] == [21 * 1024**3]
    assert [one["memory"] for one in found["vms"]] == [need["memory_bytes"] for need in EXPECTED["demand"].values()]
    whys = " ".join(one["why"] for one in found["unknown"])
    assert "a must-gather holds those of some namespaces only" in whys
    assert found["others"] == []


def test_the_page_shows_what_the_command_prints() -> None:
    page = (Path(__file__).parents[2] / "docs" / "capacity.md").read_text()
    said = "\n".join(file.read_text() for file in sorted(GOLDEN.iterdir()))
    shown = re.findall(r"```console\n\$ [^\n]*\n(.*?)```", page, re.DOTALL)
    assert len(shown) == len(SCENARIOS)
    for block in shown:
        for part in re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "<now>", block).split("…\n"):
            assert part.strip("\n") in said, part


def test_every_golden_file_belongs_to_a_scenario() -> None:
    names = {f"{name}{form}.txt" for name in SCENARIOS for form in ("", ".phone")}
    assert {file.name for file in GOLDEN.iterdir()} == names
