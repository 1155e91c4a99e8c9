"""Kills, cuts, stops, full disks and jumping clocks under load: what was accepted and is not told, what is told twice?

    python -m benchmarks.chaos [--kills 200] [--minutes 40] [--seed 1] [--only sqlite|postgresql] [--strict]

The kills are shared by one process on SQLite and three replicas on PostgreSQL, each `python -m receiver serve`, ended
by the numbers of the processes that this command started. Everything is on loopback and ends by itself.

A clock jumps by the stored times: all of them are moved by an hour in one transaction while replicas work. Only the
database's clock decides anything here, and to it that is the same as if it had been set. (libfaketime, the other way,
slows a Python process so much that it is not ready after half a minute.)
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from sqlalchemy import Float, create_engine, func, select, update
from sqlalchemy.exc import OperationalError

from benchmarks.cutter import Cutter
from benchmarks.table import Row, arguments, end
from benchmarks.world import World
from receiver.store.database import driver_url
from receiver.store.engine import sqlite_url
from receiver.store.postgres import DECIDING
from receiver.store.schema import metadata
from tests.acceptance.process import Process
from tests.databases import Postgres, postgres_running
from tests.fakes.processes import free_port
from tests.fakes.vendors import FakeVendors

LEASE_S = 60.0
"""So long what a killed replica had claimed rests on PostgreSQL."""
STOPPED_S = 70.0
JUMP_S = 3600
POST_EVERY_S = 0.12
POST_EVERY_ON_POSTGRESQL_S = 1.0
"""There a kill lets rest what the replica had claimed, for as long as its lease: what came meanwhile has to be sent
after the last fault, and one channel takes one message at a time."""
SETTLE_S = 200.0
FULL_DISK_S = 4.0
TRIES = 5
ORIGINS = frozenset({"starts_at", "ends_at"})
"""Times that an alert says, by a clock that is not ours."""
NO_TIMES = frozenset({"tokens", "held_s"})


def set_clock(url: str, seconds: float) -> None:
    """Do to a database what its clock does that is set by so many seconds: every moment lies that much earlier."""
    engine = create_engine(url, connect_args={"timeout": 20} if url.startswith("sqlite") else {})
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":  # as every transaction that decides: so none is met halfway
                connection.execute(select(func.pg_advisory_xact_lock(DECIDING)))
            for table in metadata.tables.values():
                names = [one.name for one in table.c if isinstance(one.type, Float)]
                moments = [name for name in names if name not in ORIGINS | NO_TIMES]
                if moments:
                    connection.execute(update(table).values({name: table.c[name] - seconds for name in moments}))
    finally:
        engine.dispose()


class Run:
    """One database under chaos."""

    def __init__(self, world: World, url: str, deadline: float) -> None:
        self.world = world
        self.did: Counter[str] = Counter()
        self._url = url
        self._deadline = deadline
        self.down = 0.0
        """Seconds that starting again took at most."""

    @property
    def may_double(self) -> int:
        """How often somebody was broken off who may have been sending where nothing can be looked up, one at a time.

        A kill breaks off one replica; a cut, a restart and a stop may break off all of them.
        """
        return sum(count * (1 if what == "kill -9" else len(self.world.replicas)) for what, count in self.did.items())

    @property
    def over(self) -> bool:
        return time.monotonic() > self._deadline

    async def kill(self) -> None:
        """Kill -9 a random replica somewhere in its work, and start it again."""
        one = self.world.chance.choice(self.world.replicas)
        await asyncio.sleep(self.world.chance.uniform(0.05, 0.8))
        await one.kill()
        self.did["kill -9"] += 1
        began = time.monotonic()
        await one.start()
        self.down = max(self.down, time.monotonic() - began)

    async def jump(self) -> None:
        """Set the database's clock by an hour, and back a moment later."""
        first = self.world.chance.choice([JUMP_S, -JUMP_S])
        for shift in (first, -first):
            for left in reversed(range(TRIES)):
                try:
                    await asyncio.to_thread(set_clock, self._url, shift)
                    break
                except OperationalError:  # a replica that was killed within a transaction may hold a row for a while
                    if not left:
                        raise
            await asyncio.sleep(3)
        self.did["clock jump of 1 h and back"] += 1

    async def fill_disk(self) -> None:
        """Let no write of the process go through for a while."""
        _, most = self.world.replicas[0].limit_files(64 * 1024)
        try:
            await asyncio.sleep(FULL_DISK_S)
        finally:
            self.world.replicas[0].limit_files(most)
        self.did["full disk"] += 1
        await self.world.replicas[0].until_answers("/-/ready")

    async def stop(self) -> None:
        """Stop a replica for longer than its lease."""
        one = self.world.chance.choice(self.world.replicas)
        one.signal(signal.SIGSTOP)
        try:
            await asyncio.sleep(STOPPED_S)
        finally:
            one.signal(signal.SIGCONT)
        self.did[f"SIGSTOP of {STOPPED_S:.0f} s"] += 1

    async def work(self, kills: int, others: list[tuple[int, Callable[[], Coroutine[Any, Any, None]]]]) -> None:
        """Kill so many times; `others` are (every how many kills, what to do)."""
        for number in range(1, kills + 1):
            if self.over:
                return
            await self.kill()
            for every, other in others:
                if number % every == 0:
                    await other()


async def on_sqlite(kills: int, deadline: float, chance: random.Random, *, stop: bool = True) -> tuple[Run, float]:
    """One process and a file."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        vendors = await stack.enter_async_context(FakeVendors())
        world = World(vendors, chance)
        run = Run(world, sqlite_url(folder / "data" / "mtv-receiver.db"), deadline)
        one = Process(world.config(folder), free_port())
        world.replicas.append(one)
        stack.push_async_callback(_end, one)
        await one.start()
        posting = asyncio.create_task(world.post_for_ever(POST_EVERY_S))
        stack.callback(posting.cancel)
        await run.work(kills, [(max(2, kills // 5), run.fill_disk), (max(3, kills // 4), run.jump)])
        if stop and not run.over:
            await run.stop()
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        took = await world.settled(SETTLE_S)
        return run, took


async def on_postgres(kills: int, deadline: float, chance: random.Random, *, stop: bool = True) -> tuple[Run, float]:
    """Three replicas and a server, with a proxy in between that cuts."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(postgres_running())
        url = server.new()
        vendors = await stack.enter_async_context(FakeVendors())
        cutter = await stack.enter_async_context(Cutter(server.port).running())
        world = World(vendors, chance)
        run = Run(world, driver_url(url), deadline)
        config = world.config(folder)
        for _ in range(3):
            one = Process(config, free_port())
            address = url.replace(str(server.port), str(cutter.port))
            one.more = {"MTV_RECEIVER_DATABASE_URL": address}
            world.replicas.append(one)
            stack.push_async_callback(_end, one)
        await asyncio.gather(*(one.start() for one in world.replicas))
        posting = asyncio.create_task(world.post_for_ever(POST_EVERY_ON_POSTGRESQL_S))
        stack.callback(posting.cancel)

        async def cut() -> None:
            run.did["connections cut"] += cutter.cut()

        async def restart() -> None:
            await _restart(server, chance)
            run.did["PostgreSQL restart"] += 1

        await run.work(kills, [(4, cut), (max(3, kills // 4), restart), (max(3, kills // 3), run.jump)])
        if stop and not run.over:
            await run.stop()
        posting.cancel()
        await asyncio.gather(posting, return_exceptions=True)
        took = await world.settled(SETTLE_S)
        return run, took


async def _restart(server: Postgres, chance: random.Random) -> None:
    await asyncio.to_thread(server.stop, chance.choice([signal.SIGINT, signal.SIGQUIT]))
    await asyncio.sleep(1.0)
    await asyncio.to_thread(server.start)


async def _end(one: Process) -> None:
    with_it = one._process
    if with_it is not None and with_it.returncode is None:
        one.signal(signal.SIGCONT)
        await one.kill()


def rows(name: str, run: Run, took: float) -> list[Row]:
    """Return what a run showed."""
    world, most = run.world, run.may_double
    faults = ", ".join(f"{count} × {what}" for what, count in run.did.items())
    answers = ", ".join(f"{count} × {what}" for what, count in world.answers.most_common())
    lost, twice = world.lost(), world.twice()
    blind = twice.pop("Slack without history")
    return [
        Row(f"{name}: faults", faults),
        Row(f"{name}: answers to the client", answers),
        Row(f"{name}: failures accepted, ends accepted", f"{len(world.accepted)}, {len(world.resolved)}"),
        Row(
            f"{name}: accepted and not told",
            ", ".join(f"{where}: {count}" for where, count in lost.items()),
            "0",
            not any(lost.values()),
            ratio=True,
        ),
        Row(f"{name}: ended and still open at the pager", str(world.unended()), "0", not world.unended(), ratio=True),
        Row(
            f"{name}: told twice",
            ", ".join(f"{where}: {count}" for where, count in twice.items()),
            "0",
            not any(twice.values()),
            ratio=True,
        ),
        Row(f"{name}: told twice, Slack without history", str(blind), f"<= {most}", blind <= most, ratio=True),
        Row(f"{name}: all told after the last fault", f"{took:.0f} s", f"<= {SETTLE_S:.0f} s", took < SETTLE_S),
        Row(f"{name}: longest start under load", f"{run.down:.1f} s"),
    ]


async def main(kills: int, minutes: float, seed: int, only: str) -> list[Row]:
    """Run both, one after the other."""
    deadline = time.monotonic() + minutes * 60
    found: list[Row] = []
    if only in ("", "sqlite"):
        run, took = await on_sqlite(kills if only else kills // 2, deadline, random.Random(seed))
        found += rows("SQLite, 1 process", run, took)
    if only in ("", "postgresql"):
        run, took = await on_postgres(kills if only else kills - kills // 2, deadline, random.Random(seed + 1))
        found += rows("PostgreSQL, 3 replicas", run, took)
    return found


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["sqlite", "postgresql"], default="")
    given = parser.parse_args()
    os.environ.pop("MTV_RECEIVER_DATABASE_URL", None)
    sys.exit(end("Chaos", asyncio.run(main(given.kills, given.minutes, given.seed, given.only)), given))
