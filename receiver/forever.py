"""How a worker goes on for ever: look, rest, look again. A bug of ours costs one look and is counted.

What the store fails with is no bug. It leaves a worker that somebody supervises, who begins it anew (`receiver.work`);
among workers of one TaskGroup it would end the others as well, so there it is said, and the next look tries again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog

from receiver.clock import Clock
from receiver.metrics import Metrics
from receiver.store.engine import is_of_store

log = structlog.get_logger(__name__)


async def for_ever(
    work: Callable[[], Awaitable[object]],
    every_s: float | Callable[[], float],
    *,
    name: str,
    clock: Clock,
    metrics: Metrics,
    raises: bool = True,
    **about: object,
) -> None:
    """Work until cancelled, with a rest of so many seconds after each time; a function is asked anew for each rest.

    `name` is where the bug is, in `mtv_receiver_bugs_total` and in the log (`<name>.bug`); `about` stands beside it in
    the log. `raises`: an error of the store ends this; else it is logged as `<name>.store_failed`.
    """
    while True:
        try:
            await work()
        except Exception as error:
            if not is_of_store(error):
                metrics.bugs.labels(name).inc()
                log.exception(f"{name}.bug", **about)
            elif raises:
                raise
            else:
                log.error(f"{name}.store_failed", **about, error=type(error).__name__)
        await clock.sleep(every_s() if callable(every_s) else every_s)
