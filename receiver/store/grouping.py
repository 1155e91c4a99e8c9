"""Many callers, one set operation: what is asked for at the same time is answered by one function call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from receiver.store.engine import Conn, StoreBusyError, Write, is_passing

A = TypeVar("A")
R = TypeVar("R")

SetOperation = Callable[[Conn, Sequence[A]], Awaitable[Sequence[R]]]
"""Answers items in their order, and may be run twice (see `receiver.store.engine`)."""


class Grouped(Generic[A, R]):
    """A set operation that is called item by item; whatever waits when it is run is run together.

    `run` is `Store.write` or `Store.read`. An operation that fails for several items is run for each of them alone, so
    that one broken item fails alone.
    """

    def __init__(
        self,
        run: Callable[[Write[Sequence[R]]], Awaitable[Sequence[R]]],
        operation: SetOperation[A, R],
        most: int | None = None,
    ) -> None:
        """With `most`, StoreBusyError is raised at once where so many items wait.

        And a disk or a server that fails then does so for all of them: none is tried alone, nobody waits for that.
        """
        self._run = run
        self._operation = operation
        self._most = most
        self._waiting: list[tuple[A, asyncio.Future[R]]] = []
        self._flushes: set[asyncio.Task[None]] = set()

    async def __call__(self, item: A) -> R:
        """Return the answer for `item`, together with whoever else asks. Raises what the operation raises for it."""
        if self._most is not None and len(self._waiting) >= self._most:
            raise StoreBusyError(f"{self._most} writes are waiting for the disk")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._waiting) == 1:
            task = asyncio.create_task(self._flush())
            self._flushes.add(task)
            task.add_done_callback(self._flushes.discard)
        return await future

    async def _flush(self) -> None:
        taken: list[tuple[A, asyncio.Future[R]]] = []

        async def together(conn: Conn) -> Sequence[R]:
            if not taken:  # only now: whoever came while the disk was busy is in the same group
                taken.extend(self._waiting)
                self._waiting.clear()
            return await self._operation(conn, [item for item, _ in taken])

        try:
            answers = await self._run(together)
        except Exception as error:
            if not taken:  # it was never begun
                taken.extend(self._waiting)
                self._waiting.clear()
            if len(taken) == 1 or (self._most is not None and is_passing(error)):
                for _, future in taken:
                    _set(future, error)
                return
            for item, future in taken:
                await self._alone(item, future)
        else:
            for (_, future), answer in zip(taken, answers, strict=True):
                if not future.done():
                    future.set_result(answer)

    async def _alone(self, item: A, future: asyncio.Future[R]) -> None:
        async def alone(conn: Conn) -> Sequence[R]:
            return await self._operation(conn, [item])

        try:
            (answer,) = await self._run(alone)
        except Exception as error:
            _set(future, error)
        else:
            if not future.done():
                future.set_result(answer)


def _set(future: asyncio.Future[R], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
