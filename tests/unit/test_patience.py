"""A storm of look-ups at a source that answers nobody does not wait its full time; a slow source keeps it."""

from __future__ import annotations

import asyncio

import pytest

from receiver.patience import STORM, STORM_S, Patience

pytestmark = pytest.mark.anyio


async def ask(patience: Patience, answer: asyncio.Event) -> float | None:
    """Return after how many seconds of the loop's clock patience ended; None when an answer came."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with patience.bound():
            await answer.wait()
    except TimeoutError:
        return loop.time() - began
    return None


async def test_few_wait_their_whole_time_for_a_silent_source() -> None:
    patience = Patience(2 * STORM_S)
    waited = await asyncio.gather(*(ask(patience, asyncio.Event()) for _ in range(STORM - 1)))
    assert all(one is not None and one >= 2 * STORM_S for one in waited)


async def test_a_storm_gives_up_together_long_before_its_time() -> None:
    patience = Patience(3600.0)
    async with asyncio.timeout(30):
        waited = await asyncio.gather(*(ask(patience, asyncio.Event()) for _ in range(STORM)))
    assert all(one is not None and one >= STORM_S * 0.99 for one in waited)


async def test_one_whose_own_time_is_up_at_the_same_moment_gives_up_like_the_others() -> None:
    patience = Patience(STORM_S)
    waited = await asyncio.gather(*(ask(patience, asyncio.Event()) for _ in range(2 * STORM)))
    assert all(one is not None for one in waited)


async def test_a_source_that_answers_some_is_waited_for_by_all() -> None:
    patience = Patience(3600.0)
    loop = asyncio.get_running_loop()
    answers = [asyncio.Event() for _ in range(2 * STORM)]
    # One answer each third of the time after which a silent source is given up, for longer than that time in all.
    for number, answer in enumerate(answers):
        loop.call_later(STORM_S / 3 * (number // 4 + 1), answer.set)
    waited = await asyncio.gather(*(ask(patience, answer) for answer in answers))
    assert waited == [None] * len(answers)
