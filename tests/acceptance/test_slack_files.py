"""Whole logs stand as files in the thread: once each, whatever happens on the way, and never at a message's cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.sandbox.slack import Message
from tests.acceptance.faulty import CHANNEL
from tests.acceptance.harness import Running, alert, failed, routes_yaml, running, slack
from tests.acceptance.plans import POD, cluster, load_example, plan, top
from tests.fakes import faults
from tests.fakes.faults import Fault
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

QUICK = ", timeout: 1s, lookup_grace: 1s, retry: {min: 50ms, max: 200ms}"
NAME = "erp-win01-virt-v2v.log"
STEPS = ("files.getUploadURLExternal", "upload", "files.completeUploadExternal")
FAULTS = {
    "rate limited": faults.rate_limited(1),
    "500 after": faults.server_error_after(),
    "cut before": faults.cut(),
    "cut, then done": faults.cut_then_done(0.4),
    "hangs": faults.hang(),
    "hangs, then done": faults.hang_then_done(0.4),
}


def _matters(step: str, fault: str) -> bool:
    """What the first two steps may have done is nothing to see; of the last, every fault is another story."""
    return step == STEPS[-1] or fault in ("500 after", "hangs")


def configured(vendors: FakeVendors, folder: Path, extra: str = "", **more: str) -> Path:
    vendors.sandbox.slack.channel("team", create=True)
    receivers = f"- name: platform\n  {slack(CHANNEL, QUICK + extra)}\n"
    return routes_yaml(vendors, folder, top=top(evidence_wait="1s", confirm_after="500ms", **more), receivers=receivers)


def with_files(vendors: FakeVendors) -> list[Message]:
    return [one for one in vendors.slack_messages("team") if one.files]


async def failure(api: KubernetesApi, service: Running) -> None:
    await load_example(api)
    await service.post(alert(failed()))


async def state(service: Running) -> str:
    (delivery,) = await service.deliveries()
    return str(delivery["state"])


async def test_the_whole_log_stands_in_the_thread_redacted_and_no_log_twice(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        async with running(configured(vendors, tmp_path), vendors) as service:
            await load_example(api)
            text = "".join(f"line {number}\n" for number in range(900))
            api.set_log(*POD, f"{text}password: hunter2\nvirt-v2v: error: inspection could not detect the guest\n")
            await service.post(alert(failed()))
            await vendors.until(with_files, 30.0)
            await service.idle(30.0)
            (root,) = vendors.slack_roots("team")
            assert [(one.thread_ts, one.files[0]["name"]) for one in with_files(vendors)] == [(root.ts, NAME)]
            (upload,) = vendors.sandbox.slack_more.uploads.values()
            content = (upload.content or b"").decode()
            assert "line 0\n" in content
            assert "virt-v2v: error" in content
            assert "hunter2" not in content
            await service.post(alert(failed()))
            await service.idle(30.0)
        async with running(tmp_path / "routes.yaml", vendors) as service:
            await api.apply(plan("Executing", runs=2))
            await service.until_state("re-running")
            await service.idle(30.0)
            assert len(with_files(vendors)) == 1


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        pytest.param(step, FAULTS[name], id=f"{step}: {name}")
        for step in STEPS
        for name in FAULTS
        if _matters(step, name)
    ],
)
async def test_a_file_comes_once_in_spite_of_every_fault(tmp_path: Path, step: str, fault: Fault) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        rule = vendors.fail("slack", fault, on=step)
        async with running(configured(vendors, tmp_path), vendors) as service:
            await failure(api, service)
            await vendors.until(with_files, 30.0)
            await service.idle(30.0)
            await vendors.settle(1.0, 30.0)
            assert not rule.remaining
            assert [one.files[0]["name"] for one in with_files(vendors)] == [NAME]
            assert len(vendors.slack_roots("team")) == 1
            assert await state(service) == "delivered"


@pytest.mark.parametrize("step", STEPS)
async def test_an_upload_that_was_under_way_at_a_crash_is_looked_for_at_the_next_start(
    tmp_path: Path, step: str
) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        rule = vendors.fail("slack", faults.cut_after(), faults.hang(), on=step, always=True)
        config = configured(vendors, tmp_path)
        async with running(config, vendors) as service:
            await failure(api, service)
            await vendors.until(lambda _: rule.used)
        rule.cancel()
        async with running(config, vendors) as service:
            await vendors.until(with_files, 30.0)
            await service.idle(30.0)
            assert [one.files[0]["name"] for one in with_files(vendors)] == [NAME]


async def test_without_the_scope_the_file_is_left_out_and_nothing_is_parked(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        rule = vendors.fail("slack", faults.slack_error("missing_scope"), on="files.*", always=True)
        async with running(configured(vendors, tmp_path), vendors) as service:
            await failure(api, service)
            await vendors.until(lambda _: rule.used)
            await service.idle(30.0)
            assert await state(service) == "delivered"
            await service.post(alert(failed(), "resolved"))
            await api.apply(plan("Succeeded"))
            await service.until_state("resolved")
            await service.idle(30.0)
            assert rule.used == 1, "it is not tried again with every change"
            assert not with_files(vendors)
            assert "fixed" in vendors.slack_roots("team")[0].text.lower()


async def test_a_file_server_that_nobody_reaches_costs_the_file_alone(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        rule = vendors.fail("slack", faults.cut(), on="upload", always=True)
        config = configured(vendors, tmp_path, fallback_after="10m")
        async with running(config, vendors) as service:
            await failure(api, service)
            await vendors.until(lambda _: rule.used >= 3)
            await service.until(lambda: _is(service, "delivered"))
            assert rule.used <= 10
            assert not with_files(vendors)


async def _is(service: Running, wanted: str) -> bool:
    return await state(service) == wanted


@pytest.mark.parametrize("content", ["summary", "minimal"])
async def test_below_full_content_no_byte_of_a_log_is_uploaded(tmp_path: Path, content: str) -> None:
    async with (
        FakeVendors() as vendors,
        cluster(tmp_path) as api,
        running(configured(vendors, tmp_path, f", content: {content}"), vendors) as service,
    ):
        await failure(api, service)
        await vendors.until(lambda v: v.slack_roots("team"))
        await service.idle(30.0)
        await vendors.settle()
        assert not vendors.seen("slack", "files.*")
        assert not vendors.seen("slack", "upload")
