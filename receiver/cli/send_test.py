"""`send-test`: a story marked [TEST] goes the way of every story, and ends.

Where a service holds the database, it delivers: the same claims, attempts and ledger as for a real failure. Else this
command delivers by itself, with the same code over a database of its own that is gone afterwards: what waits in the
service's database for better times is none of its business.
"""

from __future__ import annotations

import asyncio
import json
import random
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.text import Text

from receiver import build
from receiver.attempt import Destination
from receiver.cli.common import CONFIG_OPTION, Exit, database_url, load_or_exit
from receiver.cli.database import file_of, with_store
from receiver.cli.output import JSON_OPTION, console, fail, print_json
from receiver.cli.scenarios import OVER, STORM_AFTER, Act, Played, Scenario, play, play_storm
from receiver.clock import SystemClock
from receiver.config.model import Config
from receiver.deliver import Deliverer
from receiver.destinations.registry import ALL
from receiver.digests import Admission, Digester, Rehearsal
from receiver.incoming import Incoming
from receiver.metrics import Metrics
from receiver.model import AlertStatus, DeliveryState, Reason
from receiver.record import Recorder
from receiver.routing.tree import Routed, Target
from receiver.store import deliveries, digests, stories
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import Conn, Store, sqlite_url
from receiver.store.upgrade import FileLock, LockedError, upgrade
from receiver.telling import Teller

SOURCE = "test"
"""Of an alert that a story marked as a test is made of."""
LOOK_EVERY_S = 0.1
_SHADOW = "nothing is sent, as it is in shadow mode"
_REFUSED = (DeliveryState.PARKED, DeliveryState.DEAD)
_SHOWN = (DeliveryState.DELIVERED, DeliveryState.SHADOW)
"""What goes on: for real, or as if it did."""
_DRAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Shown:
    """How one destination took the test."""

    label: str
    state: str
    url: str
    error: str

    @property
    def exit(self) -> Exit:
        """0 delivered; 1 it refuses; 3 it has not answered."""
        if self.state in {one.value for one in (*_SHOWN, DeliveryState.SKIPPED)}:
            return Exit.GOOD
        return Exit.NO if self.state in {one.value for one in _REFUSED} else Exit.UNASKED


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the test."""

    story: str
    served: bool
    shown: tuple[Shown, ...]
    ended: bool

    def json(self, receiver: str, scenario: Scenario) -> dict[str, Any]:
        """Return the result for programs."""
        told = [{"label": one.label, "state": one.state, "url": one.url, "error": one.error} for one in self.shown]
        return {
            "receiver": receiver,
            "scenario": scenario.value,
            "story": self.story,
            "served": self.served,
            "ended": self.ended,
            "destinations": told,
        }


def send_test(
    receiver: Annotated[str, typer.Argument(help="The receiver of the configuration that is told.")],
    scenario: Annotated[Scenario, typer.Option(help="What is played.")] = Scenario.BITLOCKER,
    config: Path = CONFIG_OPTION,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the story open; end it later by --end.")] = False,
    end: Annotated[str, typer.Option(metavar="STORY", help="End a story that --keep left open.")] = "",
    wait: Annotated[
        float, typer.Option(min=1, max=600, help="Seconds to wait for the destinations at each step.")
    ] = 30,
    as_json: bool = JSON_OPTION,
) -> None:
    """Tell a receiver of a made-up failure, marked [TEST], the way a real one goes, and end it.

    PagerDuty gets it with severity info. Nobody is mentioned or reminded, and no fallback is told.
    """
    loaded = load_or_exit(config)
    found = loaded.receivers.get(receiver)
    if found is None:
        fail(Exit.USAGE, f"no receiver is called {receiver}", f"there are {', '.join(sorted(loaded.receivers))}")
    if not found.destinations:
        fail(Exit.NO, f"the receiver {receiver} has no destination", "give it one")
    served = _is_served()
    if scenario is Scenario.STORM and not end and not loaded.global_.digest_after:
        fail(Exit.NO, "storms are told one by one here (digest_after: 0)", "set global.digest_after to see one")
    if (keep or end) and not served:
        fail(
            Exit.UNASKED, "no service holds the database", "start `mtv-receiver serve`: only it can go on with a story"
        )
    told: Callable[[str], None] = (lambda _: None) if as_json else _say
    hidden = any(one.shadow for one in found.destinations)
    told(f"[TEST] {end or scenario.value} → {receiver} · {_SHADOW if hidden else _how(served)}")
    work = _Work(loaded, receiver, scenario, keep=keep, end=end.upper(), wait_s=wait, told=told)
    outcome = with_store(work.served) if served else asyncio.run(work.alone())
    if as_json:
        print_json(outcome.json(receiver, scenario))
    else:
        _print(outcome, keep=keep, wait_s=wait)
    worst = max((one.exit for one in outcome.shown), key=(Exit.GOOD, Exit.UNASKED, Exit.NO).index, default=Exit.GOOD)
    if worst is not Exit.GOOD:
        raise typer.Exit(worst)


def _is_served() -> bool:
    """Whether somebody else delivers what is in the database; of a PostgreSQL one it is taken for granted."""
    file = file_of(database_url(create=False))
    if file is None:
        return True
    if not file.is_file():
        return False
    lock = FileLock(file)
    try:
        lock.acquire()
    except LockedError:
        return True
    lock.release()
    return False


class _Work:
    """One test, from its failure to its end."""

    def __init__(
        self,
        config: Config,
        receiver: str,
        scenario: Scenario,
        *,
        keep: bool,
        end: str,
        wait_s: float,
        told: Callable[[str], None],
    ) -> None:
        # A person waits at the terminal: an end needs no second look here.
        self._config = replace(config, global_=replace(config.global_, resolve_delay_s=0.0))
        self._receiver = receiver
        self._scenario = scenario
        self._keep, self._end = keep, end
        self._wait_s = wait_s
        self._told = told
        self._mark = secrets.token_hex(6)

    async def served(self, store: Store) -> Outcome:
        """Leave the delivering to the service that holds the database."""
        async with self._destinations() as made:
            return await self._run(store, made, served=True)

    async def alone(self) -> Outcome:
        """Deliver by ourselves, over a database that is gone afterwards."""
        with tempfile.TemporaryDirectory(prefix="mtv-receiver-test-") as folder:
            url = sqlite_url(Path(folder) / "test.db")
            await asyncio.to_thread(upgrade, url)
            async with Store.open(url) as store, self._destinations() as made:
                teller = self._teller(made)
                clock, metrics, owner = SystemClock(), Metrics([kind.kind for kind in ALL]), secrets.token_hex(8)
                deliverer = Deliverer(
                    store, self._config, made, teller, clock, metrics,
                    jitter=random.random, owner=owner, admission=Admission(self._config, _random80),
                )  # fmt: skip
                digester = Digester(store, self._config, clock, metrics, owner=owner, on_change=deliverer.wake)
                running = [asyncio.create_task(each.run()) for each in (deliverer, digester)]
                try:
                    return await self._run(store, made, served=False)
                finally:
                    await deliverer.drain(_DRAIN_S)
                    for task in running:
                        task.cancel()
                    await asyncio.gather(*running, return_exceptions=True)

    @asynccontextmanager
    async def _destinations(self) -> AsyncIterator[dict[str, Destination]]:
        async with build.destinations(self._config, build.renderer(self._config, lambda _: None)) as made:
            yield made

    def _teller(self, made: dict[str, Destination]) -> Teller:
        return Teller(self._config, {key: one.sender for key, one in made.items()}, _random80)

    async def _run(self, store: Store, made: dict[str, Destination], *, served: bool) -> Outcome:
        recorder = Recorder(self._config, self._teller(made), _random80)
        if self._end:
            mine = await store.write(lambda conn: _all_of_test(conn, self._end))
        elif self._scenario is Scenario.STORM:
            mine = await self._storm(store, recorder, made)
        else:
            mine = await self._one(store, recorder)
        before = await self._caught_up(store, mine)
        if self._keep:
            return Outcome(mine[0], served, self._shown(before, before, made), ended=False)
        await store.write(lambda conn: self._go_on(conn, recorder, mine, OVER))
        after = await self._caught_up(store, mine)
        return Outcome(mine[0], served, self._shown(before, after, made), ended=True)

    async def _one(self, store: Store, recorder: Recorder) -> list[str]:
        """Play what happens to one failure."""
        played = play(self._scenario, SystemClock().now(), self._mark)
        mine = [await store.write(lambda conn: self._begin(conn, recorder, played))]
        rows = await self._caught_up(store, mine)
        for act in played.acts:
            if any(row.state in _SHOWN for row in rows):
                self._told(f"  {act.what}")
                await store.write(partial(self._go_on, recorder=recorder, mine=mine, act=act))
                rows = await self._caught_up(store, mine)
        return mine

    async def _storm(self, store: Store, recorder: Recorder, made: dict[str, Destination]) -> list[str]:
        """Play failures that are too many to be told one by one. Who comes is admitted before anybody could tell it."""
        storm = play_storm(SystemClock().now(), self._mark)
        limited = replace(self._config, global_=replace(self._config.global_, digest_after=STORM_AFTER))
        admission = Admission(limited, _random80)
        mine: list[str] = []

        async def come(conn: Conn, coming: Sequence[Played]) -> list[str]:
            came = [await self._begin(conn, recorder, each) for each in coming]
            test = Rehearsal(f"test-{self._mark}", frozenset(came))
            for one in self._config.receivers[self._receiver].destinations:
                if (there := made[one.identity]) and admission.concerns(there.sender):
                    await admission.admit(conn, there.config, there.sender, test)
            return came

        mine += await store.write(lambda conn: come(conn, storm.first))
        rows = await self._caught_up(store, mine)
        if any(row.state in _SHOWN for row in rows):
            self._told("  a fourth plan fails and joins")
            mine += await store.write(lambda conn: come(conn, (storm.joins,)))
            await self._caught_up(store, mine)
            if not self._keep:
                self._told(f"  {storm.ends.what}")
                await store.write(partial(self._go_on, recorder=recorder, mine=mine, act=storm.ends))
        return mine

    async def _begin(self, conn: Conn, recorder: Recorder, played: Played) -> str:
        recorded = await recorder.record(conn, [self._incoming(played)])
        (story,) = recorded.stories
        routed = self._routed()
        await recorder.gathered(conn, story, played.evidence, lambda draft, alert: routed, None, None)
        return story

    async def _go_on(self, conn: Conn, recorder: Recorder, mine: Sequence[str], act: Act) -> None:
        for story in mine:
            draft = await stories.load_draft(conn, story, await stories.now_of(conn))
            if draft is None or not draft.open:
                continue
            for row in draft.alerts.values():
                if act.resolves and row.firing:
                    row.alert = replace(row.alert, status=AlertStatus.RESOLVED, ends_at=SystemClock().now())
                    row.dirty = True
            await stories.save(conn, draft, None, "", "")
            await recorder.plan_changed(conn, story, act.plan)

    def _incoming(self, played: Played) -> Incoming:
        return Incoming(1, SOURCE, played.alert, "failure", played.identity, played.plan, self._routed())

    def _routed(self) -> Routed:
        reason = Reason("", "somebody sent a test")
        targets = (Target(one, (reason,), ()) for one in self._config.receivers[self._receiver].destinations)
        return Routed(tuple(targets), (), {}, notify_success=False)

    async def _caught_up(self, store: Store, mine: Sequence[str]) -> list[DeliveryRow]:
        """Wait until every destination shows the stories as they are, refuses them, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                while True:
                    rows, current = await store.read(lambda conn: _rows(conn, mine))
                    if current and all(_at_rest(row) for row in rows):
                        return rows
                    await asyncio.sleep(LOOK_EVERY_S)
        return (await store.read(lambda conn: _rows(conn, mine)))[0]

    def _shown(
        self, before: Sequence[DeliveryRow], after: Sequence[DeliveryRow], made: dict[str, Destination]
    ) -> tuple[Shown, ...]:
        """What was wrong before the end counts: what nobody was told of needs no end."""
        first = {row.id: row for row in before}
        found = []
        for last in after:
            row = first.get(last.id, last)
            row = last if row.state in _SHOWN else row
            sender = made[row.destination].sender if row.destination in made else None
            url = sender.link(json.loads(last.root)) if sender and last.root else ""
            found.append(Shown(row.label, row.state.value, url, row.error))
        return tuple(dict.fromkeys(found))  # of a storm an endpoint is told every story


async def _all_of_test(conn: Conn, story: str) -> list[str]:
    """Return the stories that came with one; a storm has several."""
    draft = await stories.load_draft(conn, story, await stories.now_of(conn))
    if draft is None:
        _no(f"no story has the id {story}", "see `mtv-receiver stories list`")
    if not draft.test:
        _no(f"story {story} is no test", "it ends when its failure is over")
    told = (story,) if draft.kind == digests.KIND else await digests.telling_of(conn, [story])
    members = [row.story for digest in told for row in await digests.members(conn, digest)]
    return list(dict.fromkeys(members)) or [story]


async def _rows(conn: Conn, mine: Sequence[str]) -> tuple[list[DeliveryRow], bool]:
    """Return what tells of the stories, and whether all that a digest tells is as it is now."""
    told = await digests.telling_of(conn, mine)
    rows = [row for story in (*told, *mine) for row in await deliveries.of_story(conn, story)]
    current = all([await digests.up_to_date(conn, digest) for digest in told])
    return [row for row in rows if row.state is not DeliveryState.DIGEST], current


def _no(what: str, cure: str) -> NoReturn:
    fail(Exit.NO, what, cure)


def _at_rest(row: DeliveryRow) -> bool:
    if row.state in _SHOWN:
        return row.due is None or (row.unknown_part is None and row.delivered >= row.desired)
    return row.state in (*_REFUSED, DeliveryState.SKIPPED)


def _random80() -> int:
    return secrets.randbits(80)


# --- telling ---


def _say(line: str) -> None:
    console().print(line, soft_wrap=True)


def _how(served: bool) -> str:
    return "sent by the service that runs" if served else "sent from here, as no service runs"


def _print(outcome: Outcome, *, keep: bool, wait_s: float) -> None:
    out = console()
    for one in outcome.shown:
        mark, style = {Exit.GOOD: ("✓", "green"), Exit.NO: ("✗", "red")}.get(one.exit, ("✗", "yellow"))
        nothing = "nothing was sent" if one.state == DeliveryState.SHADOW else ""
        said = " · ".join(part for part in (one.state, nothing, one.error, one.url) if part)
        out.print(Text.assemble((mark, style), f" {one.label}: {said}"), soft_wrap=True)
        if one.exit is Exit.UNASKED and not one.error:
            out.print(f"  not within {wait_s:g} s: {_why_not(outcome.served)}", soft_wrap=True)
    if outcome.ended:
        out.print(f"story {outcome.story} has ended", soft_wrap=True)
    elif keep:
        out.print(f"story {outcome.story} stays open: end it with --end {outcome.story}", soft_wrap=True)


def _why_not(served: bool) -> str:
    if served:
        return "does a service run, with a configuration that has this destination?"
    return "check its address, the proxy and the firewall between"
