"""`POST /api/v1/deliveries/retry`: what could not be told is told once the cause is gone, and exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from receiver.store import retrying
from receiver.store.engine import Conn
from tests.acceptance.faulty import QUICK, TOP, all_told, config, plan
from tests.acceptance.harness import Running, pagerduty, running, slack
from tests.fakes import faults
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

RECEIVERS = f"- name: platform\n  {slack('#team', QUICK)}\n  {pagerduty(QUICK)}\n"


async def retry(service: Running, **body: Any) -> tuple[int, dict[str, Any]]:
    response = await service.http.post(f"{service.url}/api/v1/deliveries/retry", json=body)
    return response.status_code, response.json()


async def test_dead_letters_are_counted_tried_again_by_filter_and_told_once(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        rule = vendors.fail("slack", faults.slack_error("invalid_blocks"), on="chat.postMessage", always=True)
        async with running(config(vendors, tmp_path, RECEIVERS), vendors) as service:
            await service.post(plan(1), plan(2))

            async def dead() -> bool:
                return len(await service.deliveries(state="dead")) == 2

            await service.until(dead)
            rule.cancel()
            asked = len(vendors.seen("slack"))
            status, counted = await retry(service, destination="platform/slack", since="1h", dry_run=True)
            assert (status, len(counted["items"]), counted["dry_run"]) == (200, 2, True)
            assert await retry(service, destination="platform/pagerduty") == (200, {"items": [], "dry_run": False})
            await vendors.settle()
            assert len(vendors.seen("slack")) == asked
            status, freed = await retry(service, state="dead", receiver="platform")
            assert (status, sorted(freed["items"])) == (200, sorted(counted["items"]))
            await vendors.until(lambda v: len(v.slack_roots()) == 2)
            await all_told(service, "firing", 2)
            await vendors.settle()
            assert len(vendors.slack_roots()) == 2
            assert len(vendors.incidents()) == 2, "the pager heard nothing of it"


async def test_what_makes_no_sense_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with (
        FakeVendors() as vendors,
        running(config(vendors, tmp_path, RECEIVERS), vendors) as service,
    ):
        for body, status, words in (
            ({}, 400, "say which deliveries"),
            ({"ids": ["x"], "state": ["dead"]}, 400, "say which deliveries"),
            ({"state": ["lost"]}, 400, "lost"),
            ({"since": "yesterday"}, 400, "not a duration"),
            ({"states": ["dead"]}, 400, "'states' is not known here"),
            ({"ids": ["nothing"]}, 409, "no delivery has the id nothing"),
            ({"ids": [f"x{number}" for number in range(501)]}, 400, "more than 500 ids; send fewer at a time"),
            ({"ids": ["nothing"] * 501}, 409, "no delivery has the id nothing"),
            *(
                ({"state": [state]}, 400, f"what is {state} is not tried again; choose of parked, dead, retrying")
                for state in ("digest", "muted", "skipped", "delivered", "shadow", "pending")
            ),
            ({"state": ["dead", "digest"], "dry_run": True}, 400, "what is digest is not tried again"),
        ):
            got, answer = await retry(service, **body)
            assert got == status, body
            assert words in answer["error"]
        form = await service.http.post(f"{service.url}/api/v1/deliveries/retry", data={"state": "dead"})
        assert form.status_code == 400, "no foreign page may post a form"


async def test_what_is_told_by_a_digest_or_was_given_away_is_not_tried_again(tmp_path: Path) -> None:
    receivers = f"- name: platform\n  {slack('#team', QUICK)}\n- name: network\n  {slack('#net', QUICK)}\n"
    async with FakeVendors() as vendors:
        rule = vendors.fail("slack", faults.slack_error("invalid_blocks"), on="chat.postMessage", always=True)
        async with running(
            config(vendors, tmp_path, receivers, top=TOP.replace("digest_after: 0", "digest_after: 2")), vendors
        ) as service:
            await service.post(plan(1))

            async def dead() -> bool:
                return len(await service.deliveries(state="dead")) == 1

            await service.until(dead)
            (given,) = await service.deliveries(state="dead")
            move = f"{service.url}/api/v1/stories/{given['story']}/move"
            answer = await service.http.post(move, json={"to": "network", "by": "Ana"})
            assert answer.status_code == 200, answer.text
            await service.idle()
            status, said = await retry(service, ids=[given["id"]])
            assert (status, "was given to" in said["error"]) == (409, True), said
            assert given["id"] not in (await retry(service, state="dead", dry_run=True))[1]["items"]
            rule.cancel()
            await service.post(*(plan(number) for number in range(2, 9)))

            async def stormy() -> bool:
                return len(await service.deliveries(state="digest")) >= 3

            await service.until(stormy)
            await service.idle()
            members = await service.deliveries(state="digest")
            roots = len(vendors.slack_roots())
            status, said = await retry(service, ids=[one["id"] for one in members])
            assert (status, "is told by a digest" in said["error"]) == (409, True), said
            await vendors.settle()
            assert len(vendors.slack_roots()) == roots
            assert await service.deliveries(state="digest") == members


async def test_many_are_freed_a_few_at_a_time_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "AT_ONCE", 2)
    async with FakeVendors() as vendors:
        rule = vendors.fail("slack", faults.slack_error("invalid_blocks"), on="chat.postMessage", always=True)
        async with running(config(vendors, tmp_path, RECEIVERS), vendors) as service:
            await service.post(*(plan(number) for number in range(1, 6)))

            async def dead() -> bool:
                return len(await service.deliveries(state="dead")) == 5

            await service.until(dead)
            await service.idle()
            writes: list[int] = []
            really = retrying.retry

            async def counted(conn: Conn, ids: Sequence[str], by: str = "") -> Any:
                writes.append(len(ids))
                return await really(conn, ids, by)

            monkeypatch.setattr(retrying, "retry", counted)
            rule.cancel()
            first, *_ = (one["id"] for one in await service.deliveries(state="dead"))
            assert await retry(service, ids=[first, first.lower(), first]) == (
                200,
                {"items": [first], "dry_run": False},
            )
            status, said = await retry(service, state="dead")
            assert (status, len(said["items"]), len(set(said["items"]))) == (200, 4, 4)
            assert writes == [1, 2, 2]
            await vendors.until(lambda v: len(v.slack_roots()) == 5)
            await vendors.settle()
            assert len(vendors.slack_roots()) == 5
            lines = (await service.http.get(f"{service.url}/api/v1/audit", params={"kind": "retry"})).text.splitlines()
            assert len(lines) == 5, "each is written down once"
