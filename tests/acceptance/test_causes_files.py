"""A user's own known errors in the running service, and what becomes of failures that nobody has named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.harness import alert, failed, routes_yaml, running
from tests.acceptance.plans import POD, cluster, load_example, plan, top
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

UNKNOWN = "The flux of erp-win01 is 17 gigawatts too low."
OWN = """
- id: flux-too-low
  patterns: ['flux of \\S+ is [0-9]+ gigawatts too low']
  sentence: The flux is too low.
  remedy: [Call the power station.]
  owner: power station
  example: The flux of web-1 is 9 gigawatts too low.
"""


def shown(root: Any) -> str:
    return f"{root.text}\n{json.dumps(root.blocks, ensure_ascii=False)}"


async def test_a_failure_that_nobody_has_named_is_counted_and_said_to_be_unknown(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await load_example(api)
        api.set_log(*POD, f"virt-v2v: error: {UNKNOWN}\n")
        async with running(routes_yaml(vendors, tmp_path, top=top()), vendors) as service:
            assert await service.metric("mtv_receiver_unrecognised_total") == 0
            await service.post(alert(failed()))
            await service.until(lambda: counted(service, 1))
            await service.idle()
            (root,) = vendors.slack_roots()
            assert "*Cause: not recognised.*" in shown(root)
            assert UNKNOWN in shown(root)


async def test_a_failure_that_a_users_file_names_is_told_by_its_sentence_and_owner(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(OWN)
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await api.apply(plan(reasons=[UNKNOWN]))
        config = routes_yaml(vendors, tmp_path, top=f"{top()}\ncauses_files: [own.yaml]")
        async with running(config, vendors) as service:
            await service.post(alert(failed()))
            await vendors.until(lambda v: any("The flux is too low" in shown(root) for root in v.slack_roots()))
            (root,) = vendors.slack_roots()
            assert "1 of 2 VMs failed: flux too low" in root.blocks[0]["text"]["text"], (
                "the id is the headline's word for it"
            )
            assert "power station" in shown(root)
            assert "Call the power station." in shown(root)
            await service.idle()
            assert await counted(service, 0)


async def counted(service: Any, number: int) -> bool:
    return bool(await service.metric("mtv_receiver_unrecognised_total") == number)
