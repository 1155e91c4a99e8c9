"""What is a few seconds old is not found out again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from receiver.clock import SystemClock
from receiver.web import lately
from receiver.web.lately import FRESH_S, Lately

pytestmark = pytest.mark.anyio


class At(SystemClock):
    seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


async def test_an_answer_counts_for_a_while_for_who_asks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = At(), list[str]()
    kept: Lately[str, int] = Lately(clock)

    def ask(what: str) -> Callable[[], Awaitable[int]]:
        async def answer() -> int:
            asked.append(what)
            return len(asked)

        return answer

    assert [await kept.of("a", ask("a")), await kept.of("b", ask("b")), await kept.of("a", ask("a"))] == [1, 2, 1]
    clock.seconds += FRESH_S
    assert await kept.of("a", ask("a")) == 3
    kept.forget()
    assert await kept.of("a", ask("a")) == 4
    monkeypatch.setattr(lately, "MOST_KEPT", 1)
    await kept.of("c", ask("c"))
    await kept.of("c", ask("c"))
    assert asked[-2:] == ["c", "c"], "what is kept is bounded"
    assert await kept.of("a", ask("a")) == 4
