"""Says before a Plan starts, or while it begins, that its target lacks room: MTVPlanCapacityShort. It never blocks.

A Plan is judged when it becomes ready, when it is edited and when it starts, and then again only while it was found
short or too little of it could be read: until it fits or has ended. What was found is told through `receiver.watch`,
which raises and ends the alert.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from receiver.capacity import Proof, Scope, Shortage, Verdict
from receiver.clock import Clock
from receiver.config.model import CAPACITY_SHORT, ClusterConfig, Config
from receiver.enrichers.planstate import holds, plan_phase, run_uid
from receiver.forever import for_ever
from receiver.kube import Cluster, PlanRow
from receiver.metrics import Metrics
from receiver.model import PlanPhase
from receiver.plan_capacity import plan_capacity
from receiver.room.result import PlanCapacity
from receiver.room.supply import Supply
from receiver.room.words import much, owner, reason, sentence, thing
from receiver.waits_pace import Turns
from receiver.watch_rules import Notice
from receiver.watching import Voice, live

TICK_S: Final = 1.0
PER_MINUTE: Final = 6
"""Plans of a cluster that are judged in a minute: each asks several clusters for a dozen lists."""
AGAIN_S: Final = 300.0
"""How often a Plan is judged again that was short."""
SOON_S: Final = 30.0
"""So soon at first a Plan is judged again of which too little could be read: what took too long to wait for, such as
the pods of a large cluster, has been read by then. After that each time twice as late."""
LATEST_S: Final = 3600.0
LAST: Final = -1
"""The place of who is judged again: after those that nobody has judged yet."""
BEGUN_S: Final = 15.0
"""A Plan that runs is read within what reading such Plans may cost (`receiver.watch_pace`), as late as by the watch."""
MOST_SAID: Final = 5
_OF_A_VM: Final = (Scope.NODE, Scope.PLACEMENT)
"""The owner of these is the node that comes closest, which changes with every pod."""


@dataclass(slots=True)
class _Watched:
    config: ClusterConfig
    cluster: Cluster
    turns: Turns = field(default_factory=lambda: Turns(PER_MINUTE))
    judged: dict[str, str] = field(default_factory=dict)
    """UID → what a Plan was that needs no other look: its generation and its run."""
    seen: dict[str, tuple[bool, int]] = field(default_factory=dict)
    """Of the Plans that could start or have begun: UID → does it run, and which generation is it?"""
    unknown: dict[str, int] = field(default_factory=dict)
    """UID → how often in a row too little could be read."""
    synced: bool = False


class Shortages:
    """Runs until cancelled."""

    def __init__(
        self,
        config: Config,
        clusters: Mapping[str, Cluster],
        clock: Clock,
        metrics: Metrics,
        supply: Supply,
        voice: Voice,
    ) -> None:
        self._config = config
        self._clusters = clusters
        self._clock = clock
        self._metrics = metrics
        self._supply = supply
        self._voice = voice
        self._watched = [_Watched(one, cluster) for one, cluster in live(config, clusters)]

    async def run(self) -> None:
        """Work for ever."""
        again = partial(for_ever, name="shortages", clock=self._clock, metrics=self._metrics, raises=False)
        async with asyncio.TaskGroup() as all_of_them:
            all_of_them.create_task(asyncio.Event().wait())  # a worker never ends, not even without clusters
            for one in self._watched if CAPACITY_SHORT in self._config.watch.alerts else ():
                all_of_them.create_task(again(partial(self._round, one), TICK_S))

    async def _round(self, one: _Watched) -> None:
        index = one.cluster.plans()
        if not index.synced or index.problem is not None or not await self._voice.ours():
            return
        now = self._clock.monotonic()
        self._sort(one, index.rows(), now)
        uid = one.turns.next(now, lambda uid: not one.seen[uid][0] or self._voice.may_read(one.config.name, uid))
        if uid is not None:
            await self._judge(one, uid)

    def _sort(self, one: _Watched, rows: tuple[PlanRow, ...], now: float) -> None:
        """Take in which Plans have become ready or begun; those of before our start come last, the newest first."""
        told = partial(self._voice.told, name=CAPACITY_SHORT)
        wanted = {row.uid: row for row in rows if may_lack(row) or told(row.uid)}
        for uid in [uid for uid in one.seen if uid not in wanted]:
            del one.seen[uid]
            one.judged.pop(uid, None)
            one.unknown.pop(uid, None)
            one.turns.remove(uid)
        for uid, row in wanted.items():
            if one.seen.get(uid) != (row.executing, row.generation):
                version = int(row.resource_version) if row.resource_version.isdecimal() else 0
                one.turns.remove(uid)
                one.unknown.pop(uid, None)
                due = now + BEGUN_S if row.executing else now
                one.turns.add(uid, due, newest=None if one.synced or row.executing else version)
                one.seen[uid] = (row.executing, row.generation)
        one.synced = True

    async def _judge(self, one: _Watched, uid: str) -> None:
        self._again(one, uid, AGAIN_S)
        plan = await self._voice.read(one.config.name, uid)
        told = self._voice.told(uid, CAPACITY_SHORT)
        if plan is None:
            return
        generation = plan["metadata"].get("generation") or 0
        state = f"{generation}/{run_uid(plan)}"
        if not told and one.judged.get(uid) == state:
            one.turns.remove(uid)
            return
        if _is_over(plan):
            if told:
                await self._voice.tell(one.config.name, uid, {CAPACITY_SHORT: None})
            one.judged[uid] = state
            one.turns.remove(uid)
            return
        found = await plan_capacity(
            self._config, one.cluster, plan, clusters=self._clusters, supply=self._supply, now=self._clock.now()
        )
        if found.verdict is Verdict.UNKNOWN:
            one.judged.pop(uid, None)
            times = one.unknown[uid] = one.unknown.get(uid, 0) + 1
            self._again(one, uid, min(AGAIN_S if told else LATEST_S, SOON_S * 2.0 ** min(times - 1, 10)))
            return
        one.unknown.pop(uid, None)
        short = found.verdict is Verdict.SHORT
        if short or told:
            at = one.config.name if one.config.matchers else ""
            said = notice(found, generation, cluster=at) if short else None
            await self._voice.tell(one.config.name, uid, {CAPACITY_SHORT: said})
            one.judged.pop(uid, None)
        if not short:
            one.judged[uid] = state
            one.turns.remove(uid)

    def _again(self, one: _Watched, uid: str, in_s: float) -> None:
        one.turns.remove(uid)
        one.turns.add(uid, self._clock.monotonic() + in_s, newest=LAST)


def _is_over(plan: dict[str, Any]) -> bool:
    """Will a Plan not start by itself any more? The columns of the watch do not tell that it was canceled."""
    return plan_phase(plan) is PlanPhase.CANCELED or holds(plan.get("status"), "Archived") is not None


def may_lack(row: PlanRow) -> bool:
    """Is this a Plan that could start now, or that has begun?"""
    return row.executing or (row.ready and not (row.failed or row.succeeded))


def notice(found: PlanCapacity, generation: int = 0, cluster: str = "") -> Notice:
    """Say what is short, and which cluster would do: once per generation of the Plan and kind of result.

    `cluster`: where the Plan is, if that is not the cluster that commands ask by themselves.
    """
    target = found.answer.cluster
    short = sorted(found.answer.shortages, key=lambda each: (not each.certain, -each.share))
    said = [f"{_first_up(sentence(each, target))}{'' if each.certain else ', probably'}." for each in short[:MOST_SAID]]
    if len(short) > MOST_SAID:
        said.append(f"And {len(short) - MOST_SAID:,} more.")
    others = "; ".join(f"{each.cluster} {reason(each.answer)}" for each in found.ranking.clusters)
    if others:
        said.append(f"{'No other cluster fits' if found.ranking.none_fits else 'Other clusters'}: {others}.")
    command = f"mtv-receiver capacity plan {found.plan}{f' --cluster {cluster}' if cluster else ''}"
    said.append(f"Nothing is blocked by this. All figures: {command}")
    name = found.plan.rpartition("/")[2]
    headline = f"{_lack(short[0], target)}: plan {name} does not fit"
    return Notice(headline, "\n".join(said), f"generation {generation}: {_result(found)}")


def _result(found: PlanCapacity) -> str:
    """Return what is short and which clusters would do, without figures: those move with every pod."""
    short = sorted(
        {
            f"{thing(each.resource)} {each.scope.value} {each.vm if each.scope in _OF_A_VM else each.owner}"
            f"{'' if each.certain else ' probably'}"
            for each in found.answer.shortages
        }
    )
    fits = sorted(one.cluster for one in found.ranking.clusters if one.verdict is Verdict.FITS)
    return "; ".join(one.strip() for one in (*short, *(f"{name} fits" for name in fits)))


def _lack(short: Shortage, cluster: str) -> str:
    """Say in a headline's words what is missing."""
    if short.scope is Scope.PLACEMENT:
        return f"No node of {cluster} may take {short.vm}"
    if short.proof is Proof.MISSING:
        return f"{cluster} has no storage class {short.owner}"
    where = f"on one node for {short.vm}" if short.scope is Scope.NODE else f"({owner(short.scope, short.owner)})"
    lacks = "lacks" if short.certain else "probably lacks"
    return f"{cluster} {lacks} {much(short.resource, short.missing, thing(short.resource))} {where}"


def _first_up(text: str) -> str:
    """Begin a sentence. A name that it begins with stays as it is written."""
    return text[:1].upper() + text[1:] if text.startswith(("the ", "with ", "no ")) else text
