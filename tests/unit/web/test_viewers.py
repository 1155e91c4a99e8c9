"""Who may see what: asked of a cluster, once for all who wait, kept for a while, and never taken for granted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import pytest

from receiver.config.listening import Visibility
from receiver.config.model import ClusterConfig, Config, Route, Web
from receiver.guard import Caller
from receiver.kube import Cluster, ClusterError
from receiver.routing.matchers import parse_matchers
from receiver.store.engine import Store
from receiver.web import viewers
from receiver.web.viewers import AT_ONCE, SILENT_S, Pair, Viewers

pytestmark = pytest.mark.anyio

RULE = Visibility("x-groups", frozenset({"admins"}), frozenset({"root"}), fresh_s=60.0)
EAST = parse_matchers('cluster="east"')
ANA = Caller("Ana", "ana", frozenset({"team-a"}))


class Reviewer:
    """A cluster that says who may what."""

    def __init__(self, *allowed: tuple[str, str]) -> None:
        self.allowed = set(allowed)
        """(user or group, namespace)"""
        self.asked: list[tuple[str, frozenset[str], str]] = []
        self.fails = False
        self.gate = asyncio.Event()
        self.gate.set()
        self.at_once = self.most = 0

    async def subject_access_review(
        self, user: str, groups: Iterable[str], *, verb: str, group: str, resource: str, namespace: str
    ) -> bool:
        assert (verb, group, resource) == ("get", "forklift.konveyor.io", "plans")
        self.asked.append((user, frozenset(groups), namespace))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
        if self.fails:
            raise ClusterError("unreachable", "cluster x cannot be reached")
        return any((one, namespace) in self.allowed for one in (user, *groups))


@dataclass
class Service:
    clusters: Mapping[str, Cluster]
    config: Config
    now: float = 1000.0
    viewers: Viewers = field(init=False)

    def __post_init__(self) -> None:
        self.viewers = Viewers(self, lambda: self.now)

    async def sees(self, caller: Caller, *pairs: Pair) -> frozenset[Pair]:
        return await self.viewers.of(caller).allowed(pairs)


def service(rule: Visibility | None = RULE, **clusters: Any) -> Service:
    known = tuple(ClusterConfig(name, () if name == "local" else EAST) for name in clusters)
    config = Config(Path("routes.yaml"), Route(()), {}, web=Web(visibility=rule), clusters=known)
    return Service(cast(Mapping[str, Cluster], clusters), config)


A, B = ("local", "a"), ("local", "b")


async def test_without_the_option_everybody_sees_everything() -> None:
    local = Reviewer()
    one = service(None, local=local)
    viewer = one.viewers.of(ANA)
    assert viewer.sees_all
    assert viewer.admin
    assert await one.sees(ANA, A, ("", "")) == {A, ("", "")}
    assert local.asked == []


@pytest.mark.parametrize(
    "caller", [Caller(machine=True), Caller("R", "root"), Caller("Ana", "ana", frozenset({"x", "admins"}))]
)
async def test_admins_and_tokens_see_everything_and_nobody_is_asked(caller: Caller) -> None:
    local = Reviewer()
    one = service(local=local)
    assert one.viewers.of(caller).admin
    assert await one.sees(caller, A, ("", ""), ("gone", "x")) == {A, ("", ""), ("gone", "x")}
    assert local.asked == []


async def test_a_person_sees_what_the_cluster_allows_them_or_their_groups() -> None:
    local = Reviewer(("ana", "a"), ("team-a", "b"), ("eve", "c"))
    one = service(local=local)
    assert await one.sees(ANA, A, B, ("local", "c")) == {A, B}
    assert await one.sees(Caller("Ana", "ana"), A, B) == {A}
    assert not one.viewers.of(ANA).admin
    assert await one.viewers.of(ANA).may_see(*A)
    assert not await one.viewers.of(ANA).may_see("local", "c")


async def test_what_is_of_no_namespace_or_of_a_name_that_is_none_is_for_admins_and_nobody_is_asked() -> None:
    local = Reviewer(("ana", ""), ("ana", "*"))
    one = service(local=local)
    assert await one.sees(ANA, ("local", ""), ("", ""), ("local", "*"), ("local", "../a")) == frozenset()
    assert local.asked == []


async def test_a_name_that_no_cluster_can_know_sees_nothing() -> None:
    local = Reviewer(("", "a"), ("team-a", "a"))
    assert await service(local=local).sees(Caller("A", "", frozenset({"team-a"})), A) == frozenset()
    assert local.asked == []


async def test_no_admin_has_an_empty_name() -> None:
    rule = replace(RULE, admin_users=frozenset({""}), admin_groups=frozenset())
    assert not service(rule, local=Reviewer()).viewers.of(Caller("A", "")).admin


async def test_the_storys_own_cluster_is_asked_else_the_default_one_else_the_one_that_is_named() -> None:
    local, east = Reviewer(("ana", "a")), Reviewer(("ana", "e"))
    one = service(local=local, east=east)
    pairs = (("local", "a"), ("", "a"), ("east", "e"), ("east", "a"), ("local", "e"))
    assert await one.sees(ANA, *pairs) == {("local", "a"), ("", "a"), ("east", "e")}
    one = service(replace(RULE, cluster="east"), local=local, east=east)
    assert await one.sees(ANA, *pairs) == {("east", "e"), ("local", "e")}


async def test_an_answer_counts_for_a_while_and_no_longer() -> None:
    local = Reviewer(("ana", "a"))
    one = service(local=local)
    assert await one.sees(ANA, A) == {A}
    local.allowed.clear()
    one.now += 59.9
    assert await one.sees(ANA, A) == {A}
    assert len(local.asked) == 1
    one.now += 0.2
    assert await one.sees(ANA, A) == frozenset()
    assert len(local.asked) == 2
    assert await one.sees(replace(ANA, groups=frozenset()), A) == frozenset()
    assert len(local.asked) == 3, "other groups are another question"


async def test_many_who_ask_the_same_wait_for_one_answer_and_who_leaves_stops_nobody() -> None:
    local = Reviewer(("ana", "a"))
    local.gate.clear()
    one = service(local=local)
    asking = [asyncio.create_task(one.sees(ANA, A, A)) for _ in range(10)]
    await asyncio.sleep(0.01)
    asking[0].cancel()
    await asyncio.sleep(0)
    local.gate.set()
    assert await asyncio.gather(*asking[1:]) == [frozenset({A})] * 9
    assert len(local.asked) == 1


async def test_a_cluster_is_asked_so_many_questions_at_once_and_others_do_not_wait_for_it() -> None:
    local, east = Reviewer(), Reviewer(("ana", "e"))
    local.gate.clear()
    one = service(local=local, east=east)
    slow = asyncio.create_task(one.sees(ANA, *(("local", f"n{number}") for number in range(100))))
    await asyncio.sleep(0.01)
    assert await asyncio.wait_for(one.sees(ANA, ("east", "e")), 1) == {("east", "e")}
    local.gate.set()
    await slow
    assert local.most == AT_ONCE
    assert len(local.asked) == 100


async def test_a_cluster_that_does_not_answer_allows_nothing_which_is_said_and_is_not_asked_again_at_once() -> None:
    local, east = Reviewer(("ana", "a"), ("ana", "b")), Reviewer(("ana", "e"))
    one = service(local=local, east=east)
    assert await one.sees(ANA, A) == {A}
    local.fails = True
    one.now += 61
    assert await one.sees(ANA, A, B, ("east", "e")) == {("east", "e")}, "what was allowed before is not any more"
    said = ("cluster local does not answer: stories of its namespaces are not shown",)
    assert one.viewers.of(ANA).notes == said
    assert one.viewers.of(Caller(machine=True)).notes == ()
    asked = len(local.asked)
    local.fails = False
    one.now += SILENT_S - 1
    assert await one.sees(ANA, A) == frozenset()
    assert len(local.asked) == asked
    one.now += 2
    assert await one.sees(ANA, A) == {A}
    assert one.viewers.of(ANA).notes == ()


async def test_a_cluster_that_cannot_be_asked_or_is_gone_allows_nothing_and_that_is_said() -> None:
    one = service(local=Reviewer(), gathered=object())
    assert await one.sees(ANA, ("gathered", "a"), ("gone", "a")) == frozenset()
    assert [note.split()[1] for note in one.viewers.of(ANA).notes] == ["gathered", "gone"]


async def test_with_another_configuration_everything_is_asked_anew() -> None:
    local = Reviewer(("ana", "a"))
    one = service(local=local)
    assert await one.sees(ANA, A) == {A}
    local.allowed.clear()
    one.config = replace(one.config, hash="other")
    assert await one.sees(ANA, A) == frozenset()


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers, "MAX_KEPT", 3)
    local = Reviewer(("ana", "n0"))
    one = service(local=local)
    for number in range(5):
        await one.sees(ANA, ("local", f"n{number}"))
    await one.sees(ANA, ("local", "n4"))
    assert len(local.asked) == 5
    await one.sees(ANA, ("local", "n0"))
    assert len(local.asked) == 6


async def test_closing_ends_what_is_being_asked() -> None:
    local = Reviewer()
    local.gate.clear()
    one = service(local=local)
    waiting = asyncio.create_task(one.sees(ANA, A))
    await asyncio.sleep(0.01)
    await one.viewers.aclose()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert local.at_once == 0


async def test_who_asks_whose_stories_there_are_meanwhile_waits_for_one_answer() -> None:
    one = service(local=Reviewer())
    gate, asked = asyncio.Event(), list[int]()

    class Slow:
        async def browse(self, _fn: Any) -> frozenset[Pair]:
            asked.append(1)
            await gate.wait()
            if len(asked) == 2:
                raise OSError("the disk")
            return frozenset({A})

    store = cast(Store, Slow())
    asking = [asyncio.create_task(one.viewers.owners(store)) for _ in range(10)]
    await asyncio.sleep(0.01)
    asking[0].cancel()
    await asyncio.sleep(0)
    gate.set()
    assert await asyncio.gather(*asking[1:]) == [frozenset({A})] * 9
    assert len(asked) == 1
    one.now += viewers.OWNERS_FRESH_S
    with pytest.raises(OSError, match="the disk"):
        await one.viewers.owners(store)
    assert await one.viewers.owners(store) == {A}, "what failed is asked again"
    assert len(asked) == 3
