"""`/events`: a page that listens again hears what it missed, and is told to load again only where that is not known."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver.web import live
from tests.acceptance.faulty import QUICK, config, plan
from tests.acceptance.harness import Running, running, slack
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

RECEIVERS = f"- name: platform\n  {slack('#team', QUICK)}\n"


async def listen(service: Running, last: str = "", until: int = 0, wait_s: float = 8.0) -> tuple[str, list[Any]]:
    """Listen until so many stories were told and it is said how far that is; return that, and what was said."""
    said: list[Any] = []
    headers = {"Last-Event-ID": last} if last else {}
    async with asyncio.timeout(wait_s), service.http.stream("GET", f"{service.url}/events", headers=headers) as answer:
        assert answer.status_code == 200
        return await _read(answer, said, until)


async def _read(answer: httpx2.Response, said: list[Any], until: int) -> tuple[str, list[Any]]:
    kind = ""
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            said.append(json.loads(value) if kind == "story" else kind)
        elif name == "id" and len({one["id"] for one in said if isinstance(one, dict)}) >= until:
            return value, said
    raise AssertionError("the stream ended")


async def test_who_listens_again_hears_what_it_missed_and_need_not_load_its_page_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LATE_S", 0.5)
    async with FakeVendors() as vendors, running(config(vendors, tmp_path, RECEIVERS), vendors) as service:
        listening = asyncio.create_task(listen(service, until=1))
        await asyncio.sleep(1.5)
        await service.post(plan(1))
        await service.idle()
        last, said = await listening
        assert "reload" not in said
        first = (await service.stories())[0]
        assert said[0]["id"] == first["id"]
        assert abs(said[0]["opened"] - _seconds(first["opened"])) < 0.01
        await service.post(plan(2))
        await service.idle()
        (missed,) = {one["id"] for one in await service.stories()} - {first["id"]}
        await asyncio.sleep(2.5)  # as long as a browser waits, and more than a look
        last, said = await listen(service, last, until=1)
        assert "reload" not in said
        assert missed in {one["id"] for one in said}
        await asyncio.sleep(2.5)
        assert (await listen(service, last))[1] == [], "nothing was missed"


async def test_where_it_is_not_known_what_was_missed_the_page_is_to_be_loaded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeVendors() as vendors, running(config(vendors, tmp_path, RECEIVERS), vendors) as service:
        now, _ = await listen(service)
        assert float(now) > 1e9, "it is said at once how far is known: a connection may end before anything happens"
        for last in ("1000000000.5", "x", "nan", str(float(now) - live.KEPT_S - 10)):
            async with service.http.stream("GET", f"{service.url}/events", headers={"Last-Event-ID": last}) as answer:
                async for line in answer.aiter_lines():
                    if line == "event: reload":
                        break
        await service.post(plan(1))
        await service.idle()
        monkeypatch.setattr(live, "MOST_KEPT", 0)
        await service.post(plan(2))
        await service.idle()
        await asyncio.sleep(1.5)
        async with service.http.stream("GET", f"{service.url}/events", headers={"Last-Event-ID": now}) as answer:
            async for line in answer.aiter_lines():
                if line == "event: reload":
                    break


async def test_looks_end_some_time_after_the_last_has_left_and_begin_far_enough_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "LINGERS_S", 0.5)
    looks: list[float | None] = []
    look = live.Live._look

    async def counted(self: live.Live, store: Any) -> None:
        looks.append(self._since)
        await look(self, store)

    monkeypatch.setattr(live.Live, "_look", counted)
    async with FakeVendors() as vendors, running(config(vendors, tmp_path, RECEIVERS), vendors) as service:
        last, _ = await listen(service)
        await asyncio.sleep(2.5)
        ended = len(looks)
        await service.post(plan(1))
        await service.idle()
        await asyncio.sleep(1.5)
        assert len(looks) == ended, "nobody listens"
        _, said = await listen(service, last, until=1)
        assert "reload" not in said, "as another replica, or this one after a restart, would say it"
        assert looks[ended] is None


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
