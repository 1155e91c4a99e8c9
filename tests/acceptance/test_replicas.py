"""Several processes on one PostgreSQL: each story is told once, whoever took the webhook and whoever dies."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx2
import psycopg
import pytest

from tests.acceptance.harness import body, pagerduty, routes_yaml, slack
from tests.acceptance.plans import CLUSTER, cluster
from tests.acceptance.process import Process, free_port, process
from tests.acceptance.test_survival import FAST, plan, post_all, told
from tests.acceptance.test_waits import refuse
from tests.databases import Postgres
from tests.fakes.faults import slow
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

MANNERS = ", max_in_flight: 8, lookup_grace: 500ms, retry: {min: 100ms, max: 500ms}"
RECEIVERS = f"- name: platform\n  {slack('#platform', MANNERS)}\n  {pagerduty(', max_in_flight: 8')}\n"


@contextlib.asynccontextmanager
async def replicas(config: Path, address: str, number: int) -> AsyncIterator[list[Process]]:
    async with contextlib.AsyncExitStack() as stack:
        starting = [stack.enter_async_context(process(config, address)) for _ in range(number)]
        yield [await one for one in starting]


async def everything(vendors: FakeVendors, numbers: Sequence[int]) -> None:
    wanted = sorted(numbers)
    await vendors.until(lambda v: told(v) == wanted and len(v.incidents()) == len(wanted), timeout=150)
    await vendors.settle(quiet_s=2.0, timeout=60)
    assert told(vendors) == wanted, "each once at Slack"
    assert len(vendors.incidents()) == len(wanted)


@pytest.mark.slow
async def test_twins_and_repeats_at_three_replicas_make_one_message_and_one_incident(
    tmp_path: Path, postgres: Postgres
) -> None:
    chance = random.Random(3)
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=FAST, receivers=RECEIVERS)
        async with replicas(config, postgres.new(template="template0"), 3) as services:
            accepted: set[int] = set()
            # Each alert comes from both Alertmanagers of a pair, to any two replicas, and is repeated.
            lots = [(one.url, chance.sample(range(60), 60)) for one in services for _ in range(2)]
            await asyncio.gather(*(post_all(url, numbers, accepted) for url, numbers in lots))
            assert accepted == set(range(60))
            await everything(vendors, range(60))


@pytest.mark.slow
async def test_kill_9_of_a_replica_with_work_in_hand_loses_nothing_and_doubles_nothing(
    tmp_path: Path, postgres: Postgres
) -> None:
    async with FakeVendors() as vendors:
        vendors.fail("slack", slow(0.2), on="chat.postMessage", always=True)
        config = routes_yaml(vendors, tmp_path, top=FAST, receivers=RECEIVERS)
        async with replicas(config, postgres.new(template="template0"), 2) as (one, other):
            accepted: set[int] = set()
            await post_all(one.url, list(range(40)), accepted)
            await vendors.until(lambda v: v.slack_roots())
            await one.kill()
            assert len(told(vendors)) < 40, "it died too late to prove anything"
            await post_all(other.url, list(range(40, 50)), accepted)
            await everything(vendors, sorted(accepted))


@pytest.mark.slow
async def test_a_plan_that_stands_still_is_told_once_and_looked_at_by_one_of_three(
    tmp_path: Path, postgres: Postgres
) -> None:
    """With the real pace: the first look at a Plan comes 15 s after it was first seen to run."""
    async with FakeVendors() as vendors, cluster(tmp_path) as api:
        await refuse(api)
        config = routes_yaml(vendors, tmp_path, top=FAST.replace("clusters: []", CLUSTER), receivers=RECEIVERS)
        async with replicas(config, postgres.new(template="template0"), 3):
            await vendors.until(lambda v: v.incidents(), timeout=60)
            await vendors.settle(quiet_s=5.0, timeout=60)
            assert len(vendors.incidents()) == len(vendors.slack_roots()) == 1
            looks = [one for one in api.asked if one.resource.startswith("datavolumes") and one.verb == "list"]
            assert len(looks) <= 3, "by the watch, and by the evidence of the story"


async def test_a_replica_that_stops_hands_its_work_over_at_once(tmp_path: Path, postgres: Postgres) -> None:
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=FAST, receivers=RECEIVERS)
        async with replicas(config, postgres.new(template="template0"), 2) as (one, other):
            async with vendors.away():
                accepted: set[int] = set()
                await post_all(one.url, list(range(10)), accepted)
                one.signal(signal.SIGTERM)
                assert await one.ended() == 0
            await other.until_answers("/-/ready")
            await vendors.until(lambda v: set(told(v)) == accepted, timeout=30)  # under the lease of 60 s
            await everything(vendors, sorted(accepted))


async def test_a_server_that_restarts_is_lived_through_by_all_replicas(tmp_path: Path, postgres: Postgres) -> None:
    from tests.databases import postgres_running

    with postgres_running() as server:
        async with FakeVendors() as vendors:
            config = routes_yaml(vendors, tmp_path, top=FAST, receivers=RECEIVERS)
            async with replicas(config, server.new(), 2) as (one, other):
                accepted: set[int] = set()
                await post_all(one.url, [1, 2, 3], accepted)
                await asyncio.to_thread(server.stop, signal.SIGQUIT)
                async with httpx2.AsyncClient(timeout=10) as http:
                    refused = await http.post(f"{other.url}/webhook", json=body(plan(4)))
                    assert refused.status_code == 503
                    assert (await http.get(f"{other.url}/-/ready")).status_code == 503
                    assert (await http.get(f"{other.url}/-/healthy")).status_code == 200, "no reason to restart it"
                await asyncio.to_thread(server.start)
                for each in (one, other):
                    await each.until_answers("/-/ready")
                await post_all(other.url, [4, 5], accepted)
                await everything(vendors, [1, 2, 3, 4, 5])


async def test_a_replica_of_an_older_version_refuses_a_newer_schema_in_one_clear_line(
    tmp_path: Path, postgres: Postgres
) -> None:
    address = postgres.new()
    with psycopg.connect(address) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    async with FakeVendors() as vendors:
        config = routes_yaml(vendors, tmp_path, top=FAST, receivers=RECEIVERS)
        one = Process(config, free_port(), address)
        await one.start(ready=False)
        assert await one.ended() == 1
        lines = [line for line in one.log.read_text().splitlines() if "9999" in line]
        assert any("the database has schema 9999, unknown to this version" in line for line in lines), lines
