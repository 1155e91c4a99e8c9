"""Events of an object: those that matter, once, and few."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from receiver.enrichers.events import events_of, read_event, redacted
from receiver.enrichers.redact import Redactor
from receiver.kube import ClusterError
from tests.unit.enrichers.cluster import MemoryCluster

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def event(name: str, reason: str, message: str = "m", minutes_ago: float = 5, **rest: Any) -> dict[str, Any]:
    at = (NOW - timedelta(minutes=minutes_ago)).isoformat().replace("+00:00", "Z")
    return {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": f"{name}{reason}{minutes_ago}", "namespace": "ns"},
        "involvedObject": {"kind": "Pod", "name": name, "uid": f"uid-{name}"}, "reason": reason, "message": message,
        "type": "Warning", "lastTimestamp": at, **rest,
    }  # fmt: skip


async def test_warnings_come_before_newer_normal_events_and_the_newest_first() -> None:
    cluster = MemoryCluster(
        [
            event("a", "Pulled", minutes_ago=1, type="Normal"),
            event("a", "Older", minutes_ago=9),
            event("a", "Newer", minutes_ago=2),
        ]
    )
    found = await events_of(cluster, "ns", names=["a"], now=NOW)
    assert [one.reason for one in found] == ["Newer", "Older", "Pulled"]


async def test_equal_events_are_one_with_their_number_and_latest_time() -> None:
    cluster = MemoryCluster(
        [event("a", "BackOff", minutes_ago=30, count=3), event("a", "BackOff", minutes_ago=4, count=2)]
    )
    (found,) = await events_of(cluster, "ns", names=["a"], now=NOW)
    assert (found.count, found.last) == (5, NOW - timedelta(minutes=4))


async def test_events_of_others_old_ones_and_those_beyond_the_limit_are_left_out() -> None:
    mine = [event("a", f"R{at}", minutes_ago=at + 1) for at in range(20)]
    cluster = MemoryCluster([*mine, event("b", "Other"), event("a", "Old", minutes_ago=60 * 25)])
    found = await events_of(cluster, "ns", names=["a"], now=NOW, limit=3)
    assert [one.reason for one in found] == ["R0", "R1", "R2"]
    assert all(one.reason != "Old" for one in await events_of(cluster, "ns", names=["a"], now=NOW, limit=99))


async def test_many_names_cost_one_list_of_the_namespace() -> None:
    cluster = MemoryCluster([event("a", "R"), event("z", "Other")])
    found = await events_of(cluster, "ns", names=[*"abcdefgh"], now=NOW)
    assert [one.name for one in found] == ["a"]
    assert cluster.asked == [("list", "Event", "ns", "")]


async def test_an_object_can_be_known_by_its_uid() -> None:
    cluster = MemoryCluster([event("a", "R"), event("b", "Other")])
    assert [one.name for one in await events_of(cluster, "ns", uids=["uid-a"], now=NOW)] == ["a"]


async def test_a_name_that_no_object_can_have_is_asked_for_nowhere() -> None:
    cluster = MemoryCluster([])
    assert await events_of(cluster, "ns", names=["a,involvedObject.name=b", ""], now=NOW) == ()
    assert cluster.asked == []


async def test_a_refusal_is_the_callers_to_tell() -> None:
    cluster = MemoryCluster([])
    cluster.refuse["list", "Event"] = ClusterError("forbidden", "no")
    with pytest.raises(ClusterError):
        await events_of(cluster, "ns", names=["a"], now=NOW)


def test_an_event_of_the_newer_api_counts_in_its_series() -> None:
    raw = {
        "regarding": {"kind": "Node", "name": "n"}, "note": "said", "reason": "R", "type": "Warning",
        "eventTime": "2026-11-21T08:00:00.000000Z",
        "series": {"count": 7, "lastObservedTime": "2026-11-21T08:20:00.000000Z"},
    }  # fmt: skip
    found = read_event(raw)
    assert (found.message, found.count, found.last) == ("said", 7, datetime(2026, 11, 21, 8, 20, tzinfo=UTC))


@pytest.mark.parametrize("wrong", [{"count": "x"}, {"message": 7}, {"lastTimestamp": 5}, {"involvedObject": []}])
def test_an_event_of_wrong_types_is_read_as_far_as_it_goes(wrong: dict[str, Any]) -> None:
    assert read_event({**event("a", "R"), **wrong}).reason == "R"


def test_messages_lose_their_secrets_and_say_how_many() -> None:
    shown, hidden = redacted([read_event(event("a", "R", "login failed, password=hunter2hunter2"))], Redactor())
    assert hidden == 1
    assert "hunter2" not in shown[0].message
