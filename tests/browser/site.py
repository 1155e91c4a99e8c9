"""The service with a whole night in it, in a process of its own: no other test's loop, clock or patch reaches it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY_WITHIN_S = 150.0
ENDS_WITHIN_S = 30.0


@dataclass(frozen=True)
class Site:
    """Where the service answers, and its stories."""

    url: str
    stories: Mapping[str, str]
    """Name → id; `tests.browser.night` says what each of them is about."""


@contextmanager
def serving(folder: Path) -> Iterator[Site]:
    """Run the night until the end of the block; raises AssertionError with its log when it does not come about."""
    ready, log = folder / "site.json", folder / "site.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.browser.night", str(folder)],
            stdin=subprocess.PIPE, stdout=output, stderr=output, cwd=Path(__file__).parents[2],
        )  # fmt: skip
    assert process.stdin is not None
    try:
        end = time.monotonic() + READY_WITHIN_S
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"the site did not come about: {log.read_text()[-5000:]}")
            time.sleep(0.1)
        yield Site(**json.loads(ready.read_text()))
    finally:
        process.stdin.close()  # what it waits for
        try:
            process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
