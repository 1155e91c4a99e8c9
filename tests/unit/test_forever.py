"""How a worker goes on for ever: what ends it, what costs it one look, and what is said of that."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from sqlalchemy.exc import IntegrityError, OperationalError

from receiver import indexing
from receiver.clock import SystemClock
from receiver.config.model import AlertmanagerConfig
from receiver.forever import for_ever
from receiver.metrics import Metrics
from receiver.reconcile import Reconciler
from receiver.silence_notes import SilenceNotes
from receiver.store.engine import StoreBusyError, StoreClosedError

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
OF_STORE = [
    StoreBusyError(),
    OperationalError("SELECT 1", {}, sqlite3.OperationalError("no such table: jobs")),
]
OF_OURS = [
    ZeroDivisionError(),
    StoreClosedError(),
    IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed")),
]


class EnoughError(BaseException):
    """Ends what would go on for ever; no Exception, so nothing takes it for a bug."""


class Naps(SystemClock):
    """Sleeps no time at all, and remembers for how long it should have."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if len(self.slept) == self.most:
            raise EnoughError
        await asyncio.sleep(0)


class Worker:
    """Fails with what it is given, one error for each look, and then does well."""

    def __init__(self, *errors: BaseException) -> None:
        self.looks = 0
        self._errors = iter(errors)

    async def look(self) -> None:
        self.looks += 1
        for error in self._errors:
            raise error


def counted(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("mtv_receiver_bugs_total", {"where": "search"})


async def ran(
    worker: Worker, metrics: Metrics, every_s: float | Callable[[], float] = 5.0, *, raises: bool = True, times: int = 3
) -> tuple[Naps, list[Any]]:
    """Let a worker look so many times; return its rests and what was logged."""
    clock = Naps(times)
    with structlog.testing.capture_logs() as logs, pytest.raises(EnoughError):
        await for_ever(worker.look, every_s, name="search", clock=clock, metrics=metrics, raises=raises, peer="am-1")
    assert worker.looks == times
    return clock, logs


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("error", OF_OURS, ids=repr)
async def test_a_bug_is_counted_and_logged_and_costs_one_look(error: Exception, raises: bool) -> None:
    metrics = Metrics([])
    clock, logs = await ran(Worker(error), metrics, raises=raises)
    assert counted(metrics) == 1
    (line,) = logs
    assert (line["event"], line["log_level"], line["peer"]) == ("search.bug", "error", "am-1")
    assert line["exc_info"], "its traceback"
    assert clock.slept == [5.0, 5.0, 5.0], "it rests after a bug as after any look"


@pytest.mark.parametrize("error", OF_STORE, ids=repr)
async def test_an_error_of_the_store_is_left_to_who_supervises(error: Exception) -> None:
    metrics = Metrics([])
    worker, clock = Worker(error), Naps(3)
    with structlog.testing.capture_logs() as logs, pytest.raises(type(error)) as raised:
        await for_ever(worker.look, 5.0, name="search", clock=clock, metrics=metrics)
    assert raised.value is error
    assert (worker.looks, clock.slept, logs, counted(metrics)) == (1, [], [], 0)


@pytest.mark.parametrize("error", OF_STORE, ids=repr)
async def test_among_others_an_error_of_the_store_is_logged_and_is_no_bug(error: Exception) -> None:
    metrics = Metrics([])
    clock, logs = await ran(Worker(error), metrics, raises=False)
    said = {"event": "search.store_failed", "log_level": "error", "peer": "am-1", "error": type(error).__name__}
    assert logs == [said]
    assert counted(metrics) == 0
    assert clock.slept == [5.0, 5.0, 5.0]


@pytest.mark.parametrize("raises", [True, False])
@pytest.mark.parametrize("resting", [False, True])
async def test_cancellation_ends_it_while_it_works_and_while_it_rests(resting: bool, raises: bool) -> None:
    metrics = Metrics([])
    there = asyncio.Event()

    async def work() -> None:
        there.set()
        if not resting:
            await asyncio.Event().wait()

    again = for_ever(work, 3600.0, name="search", clock=SystemClock(), metrics=metrics, raises=raises)
    with structlog.testing.capture_logs() as logs:
        task = asyncio.create_task(again)
        await there.wait()
        task.cancel()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
    assert task.cancelled()
    assert (logs, counted(metrics)) == ([], 0)


async def test_a_rest_that_is_a_function_is_asked_anew_each_time() -> None:
    worker = Worker(ZeroDivisionError())
    clock, _ = await ran(worker, Metrics([]), lambda: float(worker.looks), times=4)
    assert clock.slept == [1.0, 2.0, 3.0, 4.0], "after the look, and after a bug, too"


async def test_the_search_looks_again_at_once_while_stories_are_left_but_not_after_a_bug() -> None:
    found = iter([indexing.STORIES_AT_ONCE, indexing.STORIES_AT_ONCE, 0, indexing.STORIES_AT_ONCE, None])

    class Search(indexing.Indexer):
        async def look(self) -> int:
            count = next(found)
            if count is None:
                raise ZeroDivisionError
            return count

    clock = Naps(5)
    nothing: Any = None
    with pytest.raises(EnoughError):
        await Search(nothing, clock, Metrics([]), owner="me").run()
    rest_s = indexing.EVERY_S
    assert clock.slept == [0.0, 0.0, rest_s, 0.0, rest_s]


async def test_the_first_round_at_an_alertmanager_is_early_whatever_came_of_it() -> None:
    seen: list[bool] = []

    class Rounds(Reconciler):
        async def round(self, config: AlertmanagerConfig, *, early: bool = False) -> None:
            seen.append(early)
            raise StoreBusyError

    nothing: Any = SimpleNamespace(shared=True, alertmanagers=[])
    one = Rounds(
        nothing, nothing, nothing, nothing, {}, nothing, Naps(3), Metrics([]), owner="me", on_alert=lambda: None
    )
    with structlog.testing.capture_logs() as logs, pytest.raises(EnoughError):
        await one._again_and_again(AlertmanagerConfig("main", "https://am.example.com"))
    assert seen == [True, False, False]
    assert [(line["event"], line["alertmanager"]) for line in logs] == [("reconcile.store_failed", "main")] * 3


async def test_a_bug_in_what_says_that_silences_end_is_counted() -> None:
    class Notes(SilenceNotes):
        async def round(self) -> None:
            raise ZeroDivisionError

    metrics = Metrics([])
    nothing: Any = None
    with structlog.testing.capture_logs() as logs, pytest.raises(EnoughError):
        await Notes(nothing, nothing, Naps(2), metrics, on_change=lambda: None).run()
    assert [line["event"] for line in logs] == ["silences.bug"] * 2
    assert metrics.registry.get_sample_value("mtv_receiver_bugs_total", {"where": "silences"}) == 2


def test_wherever_a_bug_may_be_counted_the_series_is_there_from_the_start() -> None:
    known = {
        sample.labels["where"]
        for family in Metrics([]).registry.collect()
        for sample in family.samples
        if sample.name == "mtv_receiver_bugs_total"
    }
    used: set[str] = set()
    for path in (ROOT / "receiver").rglob("*.py"):
        text = path.read_text()
        used |= set(re.findall(r'\bbugs\.labels\("(\w+)"\)', text))
        used |= set(re.findall(r'(?:\bfor_ever\(|\(for_ever,)[^#]*?\bname="(\w+)"', text))
    assert used == known
    runbook = (ROOT / "docs/runbooks/MTVReceiverBugs.md").read_text()
    (listed,) = re.findall(r"what is concerned: ([^.]+)\.", runbook)
    assert set(re.split(r",\s+", listed)) == known
