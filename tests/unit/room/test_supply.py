"""The room of clusters, kept for a while: one reading at a time, old numbers where they only suggest, bounded waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from receiver.capacity import Holes, Unread
from receiver.kube import ClusterError
from receiver.room import supply
from receiver.room.supply import FAILED_S, FRESH_S, KEPT, STALE_S, Supply, read_supply

pytestmark = pytest.mark.anyio

GIB = 1024**3


def node(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"kubevirt.io/schedulable": "true"}},
        "spec": {},
        "status": {
            "allocatable": {"cpu": "8", "memory": "64Gi", "pods": "250"},
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": "False"}],
            "images": [{"names": ["x" * 1000]}],
        },
    }


def pod(where: str | None, memory: str = "1Gi") -> dict[str, Any]:
    spec: dict[str, Any] = {"containers": [{"name": "c", "resources": {"requests": {"memory": memory}}}]}
    return {"metadata": {"name": "p"}, "spec": {**spec, **({"nodeName": where} if where else {})}}


class Server:
    """A cluster of pages; `answers` may raise or lie."""

    def __init__(self, name: str = "west", pods: int = 3) -> None:
        self.name = name
        self.pods = [pod("n1") for _ in range(pods)]
        self.requests: list[tuple[str, str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.lie: Callable[[str, str], bytes | None] = lambda kind, token: None

    async def raw_page(self, kind: str, *, token: str = "", field_selector: str = "", limit: int = 500) -> bytes:
        self.requests.append((kind, token, field_selector))
        await self.gate.wait()
        if (lie := self.lie(kind, token)) is not None:
            return lie
        if kind == "Node":
            items = [node("n1"), node("n2")]
        else:
            items = self.pods if field_selector.startswith("spec.nodeName!=") else [pod(None, "2Gi")]
        start = int(token or "0")
        rest = len(items) > start + limit
        return json.dumps(
            {"metadata": {"continue": str(start + limit)} if rest else {}, "items": items[start : start + limit]}
        ).encode()

    async def expand_spec(self, namespace: str, name: str) -> None:
        raise NotImplementedError

    async def proxied(self, namespace: str, service: str, path: str) -> dict[str, Any]:
        raise NotImplementedError

    @property
    def readings(self) -> int:
        return sum(kind == "Node" and not token for kind, token, _ in self.requests)


class Time:
    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


def kept(wait_s: float = 5.0, read_s: float = 5.0) -> tuple[Supply, Time]:
    time = Time()
    return Supply(time, wait_s=wait_s, read_s=read_s), time  # type: ignore[arg-type]  # only its monotonic clock is read


def free(found: Holes | Unread, name: str = "n1") -> int:
    assert isinstance(found, Holes), found
    return next(hole.free["memory"] for hole in found.holes if hole.name == name)


async def ask(room: Supply, server: Server, **more: Any) -> Any:
    return await room.of(server, **more)  # type: ignore[arg-type]  # no more of a cluster is used


async def test_what_is_free_is_what_the_pods_leave_and_those_without_a_node_are_told_apart() -> None:
    found = (await read_supply(Server())).holes  # type: ignore[arg-type]
    assert free(found) == 61 * GIB
    assert free(found, "n2") == 64 * GIB
    assert isinstance(found, Holes)
    assert (found.competing.pods, found.competing.requests["memory"]) == (1, 2 * GIB)


async def test_of_a_node_only_what_decides_is_kept() -> None:
    found = (await read_supply(Server())).holes  # type: ignore[arg-type]
    assert isinstance(found, Holes)
    assert "images" not in found.holes[0].node["status"]
    assert found.holes[0].node["status"]["conditions"] == [{"type": "Ready", "status": "True"}]


async def test_many_who_ask_at_once_cost_one_reading() -> None:
    room, _ = kept()
    server = Server()
    found = await asyncio.gather(*(ask(room, server) for _ in range(20)))
    assert server.readings == 1
    assert {free(one.holes) for one in found} == {61 * GIB}


async def test_numbers_are_fresh_for_a_minute_and_then_read_again() -> None:
    room, time = kept()
    server = Server()
    await ask(room, server)
    time.at += FRESH_S
    assert (await ask(room, server)).age_s == FRESH_S
    assert server.readings == 1
    time.at += 1
    assert (await ask(room, server)).age_s == 0
    assert server.readings == 2


async def test_a_reading_that_takes_longer_than_a_minute_is_fresh_when_it_has_ended() -> None:
    room, time = kept(wait_s=0.01)
    server = Server()
    server.gate.clear()
    assert isinstance((await ask(room, server)).holes, Unread)
    time.at += 2 * FRESH_S
    server.gate.set()
    async with asyncio.timeout(5):
        while not isinstance((found := await ask(room, server)).holes, Holes):
            await asyncio.sleep(0)
    assert found.age_s == 2 * FRESH_S, "its age counts from when the reading began"
    time.at += FRESH_S
    await ask(room, server)
    assert server.readings == 1


async def test_old_numbers_suggest_at_once_and_are_read_anew_meanwhile() -> None:
    room, time = kept()
    server = Server()
    await ask(room, server)
    server.pods.append(pod("n1", "10Gi"))
    time.at += FRESH_S + 1
    old = await ask(room, server, stale_s=STALE_S)
    assert (old.age_s, free(old.holes)) == (FRESH_S + 1, 61 * GIB)
    while server.readings < 2 or room._known["west"].task is not None:
        await asyncio.sleep(0.01)
    assert free((await ask(room, server, stale_s=STALE_S)).holes) == 51 * GIB


async def test_numbers_of_more_than_ten_minutes_suggest_nothing() -> None:
    room, time = kept()
    server = Server()
    await ask(room, server)
    server.lie = _refuse
    time.at += STALE_S + 1
    assert isinstance((await ask(room, server, stale_s=STALE_S)).holes, Unread)


async def test_a_cluster_that_refuses_is_said_with_the_right_and_left_alone_for_a_while() -> None:
    room, time = kept()
    server = Server()
    server.lie = _refuse
    found = [(await ask(room, server)).holes for _ in range(3)]
    assert found == [Unread("nodes", "forbidden", "list nodes")] * 3
    assert len(server.requests) == 1
    time.at += FAILED_S + 1
    server.lie = lambda kind, token: None
    assert free((await ask(room, server)).holes) == 61 * GIB


async def test_the_plans_own_target_is_never_judged_by_old_numbers() -> None:
    room, time = kept()
    server = Server()
    await ask(room, server)
    server.lie = _refuse
    time.at += FRESH_S + 1
    assert isinstance((await ask(room, server)).holes, Unread)
    assert free((await ask(room, server, stale_s=STALE_S)).holes) == 61 * GIB


async def test_a_question_waits_its_time_and_the_reading_serves_the_next() -> None:
    room, _ = kept(wait_s=0.05)
    server = Server()
    server.gate.clear()
    assert (await ask(room, server)).holes == Unread("pods", "timed out after 0.05 s")
    server.gate.set()
    await asyncio.sleep(0.2)
    assert free((await ask(room, server)).holes) == 61 * GIB
    assert server.readings == 1


async def test_a_reading_without_end_is_given_up() -> None:
    room, _ = kept(wait_s=5.0, read_s=0.05)
    server = Server()
    server.gate.clear()
    assert (await ask(room, server)).holes == Unread("pods", "timed out")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html>", "not a list of pods in JSON"),
        (b"[]", "not a list of pods in JSON"),
        (b'{"items": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"items": [1, 2]}', "2 of them make no sense"),
        (b'{"items": [], "metadata": {"continue": "again"}}', "the list has no end"),
    ],
)
async def test_pages_that_make_no_sense_are_not_read_as_empty_nodes(body: bytes, says: str) -> None:
    server = Server()
    server.lie = lambda kind, token: body if kind == "Pod" else None
    found = (await read_supply(server)).holes  # type: ignore[arg-type]
    assert isinstance(found, Unread)
    assert (found.what, found.right) == ("pods", "")
    assert found.why.endswith(says)


async def test_our_own_error_in_a_reading_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(cluster: object) -> None:
        raise KeyError("secret of a cluster")

    monkeypatch.setattr(supply, "read_supply", broken)
    room, _ = kept()
    assert (await ask(room, Server())).holes == Unread("pods", "our own error (KeyError)")


async def test_a_list_that_expired_begins_anew_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supply, "POD_PAGE", 2)
    server, expired = Server(pods=5), [ClusterError("gone", "too old")]

    def gone(kind: str, token: str) -> bytes | None:
        if kind == "Pod" and token == "4" and expired:
            raise expired.pop()
        return None

    server.lie = gone
    assert free((await read_supply(server)).holes) == 59 * GIB  # type: ignore[arg-type]
    assert [token for kind, token, which in server.requests if kind == "Pod" and "!=,status" in which] == [
        "", "2", "4", "", "2", "4",
    ]  # fmt: skip


async def test_pods_that_wait_and_cannot_be_read_cost_a_note_only() -> None:
    server = Server()
    asked = []

    def second(kind: str, token: str) -> bytes | None:
        asked.append(kind)
        if asked.count("Pod") == 2:
            raise ClusterError("timeout", "slow")
        return None

    server.lie = second
    found = await read_supply(server)  # type: ignore[arg-type]
    assert free(found.holes) == 61 * GIB
    assert "wait for a node could not all be read" in found.note


async def test_another_cluster_of_the_same_name_is_read_for_itself_and_few_are_kept() -> None:
    room, _ = kept()
    await ask(room, Server(pods=3))
    assert free((await ask(room, Server(pods=4))).holes) == 60 * GIB
    for number in range(KEPT + 5):
        await ask(room, Server(f"c{number}"))
    assert len(room._known) == KEPT
    await room.aclose()


def _refuse(kind: str, token: str) -> bytes | None:
    raise ClusterError("forbidden", f"needs list {kind}")
