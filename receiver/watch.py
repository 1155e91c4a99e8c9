"""Raises what no alert tells: a VM that failed while its Plan still runs, a Plan that stands still or is not ready, and
a failed Plan that no alert follows.

Our own alerts enter the inbox like Alertmanager's, with the Plan's UID, and so join its story. They hold until an alert
of Alertmanager's fires in that story or the Plan leaves the state that they tell of. What fires is in the store: a
restart goes on with it. A Plan that cannot be read raises nothing and ends nothing. How a failed VM is found at little
cost: `receiver.watch_pace`; what is raised when: `receiver.watch_rules`; how a wait is found: `receiver.waits`.

A silence that is active at an Alertmanager keeps an alert of ours back: it is raised when the silence has ended, if it
is still true then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from receiver.clock import Clock
from receiver.config.model import ClusterConfig, Config
from receiver.enrichers.plan import read_plan
from receiver.enrichers.planstate import plan_phase
from receiver.forever import for_ever
from receiver.kube import Cluster, ClusterError, PlanEvent, PlanRow
from receiver.metrics import Metrics
from receiver.model import Alert, PlanPhase
from receiver.store import own_alerts
from receiver.store.engine import Conn, Store
from receiver.store.jobs import Turn
from receiver.watch_pace import Pace
from receiver.watch_rules import UNALERTED, VM_FAILED, Failing, Notices, Standing, failing_of, judge
from receiver.watching import live

log = structlog.get_logger(__name__)

TICK_S = 0.5
JUDGE_EVERY_S = 2.0
"""How often alerts that wait for Alertmanager's are judged when nothing happens."""
ALERT_SLACK_S = 60.0
"""An alert that came so shortly before the watch saw the Plan fail tells of the same failure."""
REFUSED_REST_S = 300.0
"""After "forbidden", failed pods are not asked for for so long: rights do not come faster."""
ASK_AGAIN_S = 10.0
"""How often Alertmanager is asked whether a silence that keeps alerts back still holds."""
MISSED_S = 3_600.0
"""A Plan that failed so long before we looked is no news."""
MISSED_MAX = 20
"""Plans that had failed before we looked of which we ask when: those that changed last."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """When we saw that a Plan had failed, monotonic, and how long before it had."""

    seen: float
    before_s: float = 0.0


@dataclass(slots=True)
class _Watched:
    """One cluster, and what is in hand of its Plans, by UID."""

    config: ClusterConfig
    cluster: Cluster
    pace: Pace = field(default_factory=Pace)
    failed: dict[str, _Failed] = field(default_factory=dict)
    """Plans that have become Failed, while nobody has told of it."""
    missed: dict[str, int] = field(default_factory=dict)
    """Plans that were Failed when we first saw them, with their version: perhaps since a restart of ours."""
    moved: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    """Became Failed: their evidence is wanted again."""
    hints_after: float = float("-inf")

    @property
    def current(self) -> bool:
        """Is the watch complete and at work? Else nothing is judged by it."""
        index = self.cluster.plans()
        return index.synced and index.problem is None


class OwnAlerts:
    """Runs until cancelled."""

    def __init__(
        self,
        store: Store,
        config: Config,
        clusters: Mapping[str, Cluster],
        clock: Clock,
        metrics: Metrics,
        redact: Callable[[str], tuple[str, int]],
        *,
        owner: str,
        silenced: Callable[[Mapping[str, str]], Awaitable[bool]],
        on_alert: Callable[[], None],
        on_change: Callable[[], None],
        on_plan: Callable[[str, dict[str, Any]], Awaitable[None]],
    ) -> None:
        """`silenced`: does a silence hold for these labels; `on_alert`: the inbox has something new.

        `on_change`: a story wants evidence; `on_plan`: a whole Plan of that cluster, which executes, was read.
        """
        self._store = store
        self._turn = Turn(store, "watch", owner, clock.monotonic)
        self._had_turn = False
        self._taking = asyncio.Lock()
        self._judging = asyncio.Lock()
        self._watch = config.watch
        self._clock = clock
        self._metrics = metrics
        self._redact = lambda text: redact(text)[0]
        self._on_alert = on_alert
        self._on_change = on_change
        self._on_plan = on_plan
        self._silenced = silenced
        self._watched = {one.name: _Watched(one, cluster) for one, cluster in live(config, clusters)}
        self._raised: dict[str, dict[str, Alert]] = {}
        """Our alerts that fire: Plan's UID → fingerprint → alert."""
        self._kept_back: dict[str, dict[str, Alert]] = {}
        """The same of those that a silence keeps back: nobody was told of them."""
        self._asked_at = float("-inf")

    def noticed(self, cluster: str, event: PlanEvent) -> None:
        """Take in what a Plan watch saw; never blocks."""
        one, row = self._watched.get(cluster), event.row
        if one is None or row is None:
            return
        now = self._clock.monotonic()
        one.moved.add(row.uid)
        if event.kind == "deleted" or not row.executing:
            one.pace.ended(row.uid)
        else:
            one.pace.executes(row.uid, row.resource_version, now)
        if event.kind == "deleted" or not _failed(row):
            one.failed.pop(row.uid, None)
            one.missed.pop(row.uid, None)
        elif event.before is None:
            one.missed[row.uid] = int(row.resource_version) if row.resource_version.isdecimal() else 0
        elif not _failed(event.before):
            one.failed[row.uid] = _Failed(now)
            one.ended.add(row.uid)

    async def run(self) -> None:
        """Work for ever."""
        again = partial(for_ever, name="watch", clock=self._clock, metrics=self._metrics, raises=False)
        async with asyncio.TaskGroup() as all_of_them:
            for one in self._watched.values():  # a cluster that hangs holds up no other
                all_of_them.create_task(again(partial(self._round, one), TICK_S))
            all_of_them.create_task(again(self._judge_waiting, JUDGE_EVERY_S))

    async def ours(self) -> bool:
        """Is it our turn to read Plans and to raise alerts? Then with all that whoever had it before has raised."""
        async with self._taking:
            had, self._had_turn = self._had_turn, await self._turn.ours()
            if self._had_turn and not had:
                raised: dict[str, dict[str, Alert]] = {}
                for alert in await self._store.browse(own_alerts.firing):
                    raised.setdefault(alert.labels.get("plan", ""), {})[alert.fingerprint] = alert
                self._raised, self._kept_back = raised, {}
            return self._had_turn

    def told(self, uid: str, name: str) -> bool:
        """Does an alert of that name fire for a Plan, or would it but for a silence?"""
        held = (*self._raised.get(uid, {}).values(), *self._kept_back.get(uid, {}).values())
        return any(alert.name == name for alert in held)

    async def tell(self, cluster: str, uid: str, notices: Notices) -> None:
        """Raise, say anew or end what tells that a Plan does not go on."""
        one = self._watched.get(cluster)
        if one is not None and one.current:
            await self._judge(one, uid, notices=notices)

    def may_read(self, cluster: str, uid: str) -> bool:
        """May a Plan that executes be read now, within what reading Plans may cost?"""
        return self._watched[cluster].pace.may_read(uid, self._clock.monotonic())

    async def read(self, cluster: str, uid: str) -> dict[str, Any] | None:
        """Return a whole Plan, and judge what failed in it where it executes; None where it cannot be read now."""
        one = self._watched[cluster]
        row = one.cluster.plans().by_uid(uid)
        return await self._take(one, row, self._clock.monotonic()) if row is not None else None

    async def _round(self, one: _Watched) -> None:
        if not one.current or not await self.ours():
            return
        while one.ended:
            await self._ended(one, one.ended.pop())
        while one.moved:
            uid = one.moved.pop()
            if uid in self._raised:
                await self._judge(one, uid)
        if one.missed:
            await self._missed(one)
        if VM_FAILED in self._watch.alerts:
            await self._hints(one)
        if self._watch.alerts:  # also where no alert needs it: what the Plans' objects say is kept (`receiver.waits`)
            await self._look(one)

    async def _ended(self, one: _Watched, uid: str) -> None:
        """Read the evidence of a story again that we opened while its Plan ran."""
        row = one.cluster.plans().by_uid(uid)
        if row is not None and uid in self._raised:
            alias = _alias(one, row)
            await self._store.write(lambda conn: own_alerts.want_evidence(conn, uid, alias))
            self._on_change()

    async def _missed(self, one: _Watched) -> None:
        """Take in Plans that failed while nobody looked: between the end of the last process and our start.

        On a store that never held a story we are new here: then no failure of before is news.
        """
        newest = sorted(one.missed, key=lambda uid: one.missed[uid], reverse=True)[:MISSED_MAX]
        one.missed.clear()
        if UNALERTED not in self._watch.alerts or not await self._store.browse(own_alerts.ever_told):
            return
        for uid in newest:
            row = one.cluster.plans().by_uid(uid)
            plan = await self._read(one, row) if row is not None else None
            ended = read_plan(plan).ended if plan is not None else None
            before_s = max(0.0, (self._clock.now() - ended).total_seconds()) if ended is not None else MISSED_S
            if before_s < MISSED_S:
                one.failed.setdefault(uid, _Failed(self._clock.monotonic(), before_s))

    async def _hints(self, one: _Watched) -> None:
        """Ask which of the Plans that execute have a failed pod."""
        now = self._clock.monotonic()
        known = frozenset(uid for uid in self._raised if self.told(uid, VM_FAILED))
        asked = one.pace.to_hint(now, known) if now >= one.hints_after else ()
        if not asked:
            return
        selector = f"plan in ({','.join(sorted(asked))})"
        try:
            pods = await one.cluster.list("Pod", None, label_selector=selector, field_selector="status.phase=Failed")
        except ClusterError as error:
            if error.reason in ("forbidden", "not found"):
                one.hints_after = now + REFUSED_REST_S
                log.warning("watch.no_hints", cluster=one.config.name, problem=error.message)
            return
        for pod in pods:
            labels = pod["metadata"].get("labels")
            uid = labels.get("plan") if isinstance(labels, dict) else None
            if isinstance(uid, str):
                one.pace.hinted(uid, now)

    async def _look(self, one: _Watched) -> None:
        """Read the Plan whose turn it is, and keep of it only what failed."""
        now = self._clock.monotonic()
        uid = one.pace.next(now)
        row = one.cluster.plans().by_uid(uid) if uid is not None else None
        if row is not None:
            await self._take(one, row, now)

    async def _take(self, one: _Watched, row: PlanRow, now: float) -> dict[str, Any] | None:
        plan = await self._read(one, row)
        metadata = plan["metadata"] if plan is not None else {}
        version = str(metadata.get("resourceVersion") or "")
        if not one.pace.known(row.uid, version):  # else it was kept, and nothing was asked for
            size = len(json.dumps(plan)) if plan is not None else 0
            self._metrics.watch_bytes.labels(one.config.name).inc(size)
            one.pace.was_read(row.uid, now, size, version)
        if plan is None or metadata.get("uid") != row.uid:
            return None
        # A Plan that has ended since is left to the watch, whose row comes in a moment: its VMs wait for nothing any
        # more, but an alert of ours must not end because the Plan failed.
        if row.executing and plan_phase(plan) is PlanPhase.EXECUTING:
            await self._judge(one, row.uid, failing_of(plan, self._redact), read=True)
            await self._on_plan(one.config.name, plan)
        return plan

    async def _read(self, one: _Watched, row: PlanRow) -> dict[str, Any] | None:
        try:
            return await one.cluster.get_plan(row.namespace, row.name)
        except ClusterError as error:
            log.info("watch.not_read", cluster=one.config.name, plan=f"{row.namespace}/{row.name}", why=error.message)
            return None

    async def _judge_waiting(self) -> None:
        """Judge what time or Alertmanager may have changed: alerts that fire, and failures that nobody told."""
        if not await self.ours():
            return
        now = self._clock.monotonic()
        for one in self._watched.values():
            # Counted from when we saw it: what came while we were away, Alertmanager is still sending.
            late = [uid for uid, it in one.failed.items() if now - it.seen >= self._watch.unalerted_after_s]
            for uid in late if one.current else ():
                await self._judge(one, uid, late_s=now - one.failed[uid].seen + one.failed[uid].before_s)
                one.failed.pop(uid, None)
        held_back = frozenset(self._kept_back) if now - self._asked_at >= ASK_AGAIN_S else frozenset()
        self._asked_at = now if held_back else self._asked_at
        for uid in (*self._raised, *(held_back - self._raised.keys())):
            home = next((one for one in self._watched.values() if one.cluster.plans().by_uid(uid)), None)
            if home is not None and home.current:
                await self._judge(home, uid)
            elif home is None and all(one.current for one in self._watched.values()):
                await self._judge(None, uid)

    async def _judge(
        self,
        one: _Watched | None,
        uid: str,
        failing: Failing | None = None,
        *,
        read: bool = False,
        late_s: float | None = None,
        notices: Notices | None = None,
    ) -> None:
        """Apply the rules to one Plan; `late_s`: it has been Failed for so long."""
        async with self._judging:
            row = one.cluster.plans().by_uid(uid) if one is not None else None
            alias = _alias(one, row) if one is not None and row is not None else ""
            taken_over = unalerted = False
            if row is not None and _failed(row):
                taken_over = await self._store.read(lambda conn: own_alerts.told_by_others(conn, uid, alias))
                if late_s is not None:
                    within_s = late_s + ALERT_SLACK_S
                    told = await self._store.read(lambda conn: own_alerts.told_by_others(conn, uid, alias, within_s))
                    unalerted = not told
            known = {**self._raised.get(uid, {}), **self._kept_back.get(uid, {})}
            standing = Standing(tuple(known.values()), row, failing, read, taken_over, unalerted, notices or {})
            config = one.config if one is not None else None
            said = judge(standing, config, self._clock.now(), self._watch.alerts)
            kept_back = self._kept_back.get(uid)
            said = await self._but_for_silences(uid, said)
            try:
                if said:
                    await self._say(uid, alias, said)
            except BaseException:
                if kept_back:  # it is not told yet
                    self._kept_back[uid] = kept_back
                raise

    async def _but_for_silences(self, uid: str, said: tuple[Alert, ...]) -> tuple[Alert, ...]:
        """Return what is to be told; what nobody was told of is kept back while a silence holds for it."""
        raised = self._raised.get(uid, {})
        before = self._kept_back.pop(uid, {})
        new = {**before, **{one.fingerprint: one for one in said if one.firing and one.fingerprint not in raised}}
        for one in said:
            if not one.firing:
                new.pop(one.fingerprint, None)
        to_tell = [one for one in said if one.fingerprint in raised]
        for alert in new.values():
            if not await self._silenced(alert.labels):
                to_tell.append(alert)
                continue
            self._kept_back.setdefault(uid, {})[alert.fingerprint] = alert
            if alert.fingerprint not in before:
                self._metrics.own_silenced.labels(alert.name).inc()
                log.info("watch.silenced", alert=alert.name, plan=uid)
        return tuple(to_tell)

    async def _say(self, uid: str, alias: str, said: tuple[Alert, ...]) -> None:
        async def write(conn: Conn) -> None:
            await own_alerts.say(conn, said)
            if any(alert.firing for alert in said):
                await own_alerts.want_evidence(conn, uid, alias)

        await self._store.write(write)
        held = self._raised.setdefault(uid, {})
        for alert in said:
            if alert.firing:
                if alert.fingerprint not in held:
                    self._metrics.own_alerts.labels(alert.name).inc()
                held[alert.fingerprint] = alert
            else:
                held.pop(alert.fingerprint, None)
            log.info("watch.alert", alert=alert.name, status=alert.status.value, plan=uid)
        if not held:
            del self._raised[uid]
        self._on_alert()
        self._on_change()


def _failed(row: PlanRow) -> bool:
    return row.failed and not row.executing


def _alias(one: _Watched, row: PlanRow) -> str:
    return f"plan/{one.config.name}/{row.namespace}/{row.name}"
