"""P1 and P2 against kill -9, SIGSTOP, SIGTERM and a second process: nothing accepted is missing, nothing is twice."""

from __future__ import annotations

import asyncio
import json
import random
import signal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.harness import alert, body, failed, pagerduty, routes_yaml, running, slack
from tests.acceptance.process import Process, free_port, process
from tests.fakes.faults import slow
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

FAST = """
global: {resolve_delay: 500ms, digest_after: 0, confirm_after: 1s}
clusters: []
"""


def plan(number: int) -> dict[str, Any]:
    return alert(failed(f"00000000-0000-0000-0000-{number:012d}", f"plan-{number}"))


async def post_all(url: str, numbers: list[int], accepted: set[int]) -> None:
    """Post one webhook each; remember those that were answered 200."""
    async with httpx2.AsyncClient(timeout=5) as http:

        async def one(number: int) -> None:
            try:
                response = await http.post(f"{url}/webhook", json=body(plan(number)))
            except httpx2.HTTPError:
                return
            if response.status_code == 200:
                accepted.add(number)

        await asyncio.gather(*(one(number) for number in numbers))


def told(vendors: FakeVendors) -> list[int]:
    """Return the plan numbers of all Slack roots."""
    return sorted(
        int(json.dumps(message.blocks).partition("plan-")[2].split(" ")[0].split('"')[0].split("\\")[0].split("*")[0])
        for message in vendors.slack_roots()
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_kill_9_in_a_burst_of_300_webhooks_loses_nothing_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    manners = ", max_in_flight: 16, lookup_grace: 500ms, retry: {min: 100ms, max: 500ms}"
    receivers = f"- name: platform\n  {slack('#platform', manners)}\n  {pagerduty(', max_in_flight: 16')}\n"
    async with FakeVendors() as vendors:
        vendors.fail("slack", slow(0.05), on="chat.postMessage", always=True)
        config = routes_yaml(vendors, tmp_path, top=FAST, receivers=receivers)
        accepted: set[int] = set()
        async with process(config) as service:
            for lot in range(3):
                numbers = list(range(lot * 100, lot * 100 + 100))
                posting = asyncio.create_task(post_all(service.url, numbers, accepted))
                goal = len(vendors.requests) + chance.randrange(20, 120)
                await vendors.until(lambda v, goal=goal: len(v.requests) >= goal, timeout=20)
                await service.kill()
                await posting
                await service.start()
            wanted = sorted(accepted)
            assert wanted, "nothing was accepted: the test would prove nothing"
            await vendors.until(lambda v: set(told(v)) >= accepted, timeout=60)
            await vendors.until(lambda v: len(v.incidents_open()) >= len(accepted), timeout=60)
            await vendors.settle(quiet_s=3.0, timeout=60)
        # A webhook whose answer was cut may be on disk too: at most once each.
        assert set(wanted) <= set(told(vendors))
        assert len(told(vendors)) == len(set(told(vendors))), "a story has two Slack messages"
        assert len(vendors.incidents()) == len(told(vendors))


@pytest.mark.slow
async def test_a_process_stopped_in_a_send_for_longer_than_its_lease_makes_nothing_twice(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {slack('#platform', ', lookup_grace: 500ms')}\n  {pagerduty()}\n"
    async with FakeVendors() as vendors:
        vendors.fail("slack", slow(1.0), on="chat.postMessage")
        config = routes_yaml(vendors, tmp_path, top=FAST, receivers=receivers)
        async with process(config) as service:
            accepted: set[int] = set()
            await post_all(service.url, [1], accepted)
            await vendors.until(lambda v: v.seen("slack", "chat.postMessage"))
            service.signal(signal.SIGSTOP)
            await asyncio.sleep(90)  # longer than the lease of 60 s: this is the condition itself
            service.signal(signal.SIGCONT)
            await vendors.until(lambda v: len(v.slack_roots()) == 1 and len(v.incidents()) == 1, timeout=30)
            await post_all(service.url, [2], accepted)
            await vendors.until(lambda v: len(v.slack_roots()) == 2, timeout=30)
            await vendors.settle(quiet_s=3.0, timeout=60)
        assert told(vendors) == [1, 2]
        assert len(vendors.incidents()) == 2


async def test_sigterm_keeps_what_is_not_sent_and_the_next_start_sends_it(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=FAST, receivers=f"- name: platform\n  {slack('#platform')}\n")
        async with process(config) as service:
            async with vendors.away():
                accepted: set[int] = set()
                await post_all(service.url, list(range(20)), accepted)
                service.signal(signal.SIGTERM)
                assert await service.ended() == 0
            await service.start()
            await vendors.until(lambda v: len(v.slack_roots()) == 20, timeout=30)
        assert told(vendors) == sorted(accepted)


async def test_a_second_process_on_the_same_file_waits_until_the_first_is_gone(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=FAST, receivers=f"- name: platform\n  {slack('#platform')}\n")
        async with process(config) as first:
            second = Process(config, free_port())
            await second.start(ready=False)
            try:
                async with httpx2.AsyncClient() as http:
                    ready = await http.get(second.url + "/-/ready")
                    assert ready.status_code == 503
                    assert "held by another process" in ready.text
                    refused = await http.post(second.url + "/webhook", json=body(plan(1)))
                    assert refused.status_code == 503
                await first.kill()
                await second.until_answers("/-/ready")
            finally:
                await second.kill()


async def test_a_dead_worker_ends_the_process_with_1(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=FAST, receivers=f"- name: platform\n  {slack('#platform')}\n")
        async with process(config) as service:
            database = tmp_path / "data" / "mtv-receiver.db"
            import sqlite3

            with sqlite3.connect(database, timeout=10) as conn:
                conn.execute("DROP TABLE inbox")
            assert await service.ended() == 1


async def test_what_was_told_before_a_restart_is_known_after_it(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=FAST)
        async with running(config, vendors) as service:
            await service.post(plan(1))
            await service.idle()
        async with running(config, vendors) as service:
            await service.post(plan(1))
            await service.post({**plan(1), "status": "resolved", "endsAt": "2026-11-21T10:00:00Z"})
            await service.until_state("resolved")
            await service.idle()
        assert len(vendors.slack_roots()) == len(vendors.incidents_resolved()) == len(vendors.jira_issues()) == 1


async def test_a_full_disk_is_said_and_lived_through_and_nothing_accepted_is_lost(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {pagerduty()}\n"
    accepted: set[int] = set()
    secret, said = "Fa4eDiskPw77", ""
    async with (
        FakeVendors() as vendors,
        process(routes_yaml(vendors, tmp_path, top=FAST, receivers=receivers)) as service,
    ):
        _, most = service.limit_files(64 * 1024)
        number, refused = 0, False
        async with httpx2.AsyncClient(timeout=10) as http:
            async with asyncio.timeout(60):
                while not refused:
                    number += 1
                    answer = await http.post(f"{service.url}/webhook", json=body(plan(number)))
                    refused = answer.status_code == 503
                    if not refused:
                        accepted.add(number)
                assert "cannot be stored" in answer.json()["error"]
                # So large that SQLite fails while it inserts, where the error would hold what it inserts.
                large = {"summary": f"password: {secret} " + "x" * 4_000_000, "z": secret}
                told = {**plan(number), "annotations": large, "generatorURL": f"http://p/?token={secret}"}
                said += answer.text + (await http.post(f"{service.url}/webhook", json=body(told))).text
                while (ready := await http.get(f"{service.url}/-/ready")).status_code != 503:
                    await asyncio.sleep(0.05)
                said += ready.text
            service.limit_files(most)
            await service.until_answers("/-/ready")
            await post_all(service.url, [number, number + 1], accepted)
        assert {number, number + 1} <= accepted
        await vendors.until(lambda v: len(v.incidents()) >= len(accepted), timeout=90)
        assert len(vendors.incidents()) == len(accepted)
        log = service.log.read_text()
        assert "webhook.not_stored" in log
        assert secret not in said + log
