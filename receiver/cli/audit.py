"""`audit`: what was decided, sent, pressed and put in force."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from receiver.cli.common import Exit
from receiver.cli.database import with_store
from receiver.cli.output import JSON_OPTION, console, fail, table
from receiver.config.durations import parse_duration
from receiver.store import audit as lines
from receiver.store.audit import Entry, Kind
from receiver.store.codec import moment
from receiver.store.engine import Store
from receiver.views import audit_json

PAGE = 1000
LOOK_EVERY_S = 1.0
Emit = Callable[[list[Entry]], None]


def audit(
    since: Annotated[str, typer.Option(help="How far back, such as 12h or 7d.")] = "12h",
    kind: Annotated[list[Kind] | None, typer.Option(help="Only lines of this kind; may be repeated.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show what was decided, sent, pressed and put in force, oldest first; --json prints JSON lines."""
    try:
        within_s = parse_duration(since)
    except ValueError as error:
        fail(Exit.USAGE, f"--since {since}: {error}", "write such as 12h")
    emit = print_json_lines if as_json else partial(print_table, console())
    wait = partial(asyncio.sleep, LOOK_EVERY_S) if follow else None
    with suppress(KeyboardInterrupt):
        shown = with_store(lambda store: show(store, within_s, [one.value for one in kind or ()], emit, wait))
        if not shown and not as_json:
            console().print(f"nothing within {since}")


async def show(
    store: Store, within_s: float, kinds: list[str], emit: Emit, wait: Callable[[], Awaitable[None]] | None
) -> int:
    """Show lines page by page and return how many; with `wait` go on after it, for ever."""
    after, shown = 0, 0
    while True:
        read = partial(lines.page, within_s=within_s, kinds=kinds, after=after, limit=PAGE)
        found = await store.browse(read)
        if found:
            emit(found)
            after, shown = found[-1].id, shown + len(found)
        if len(found) == PAGE:
            continue
        if wait is None:
            return shown
        await wait()


def print_json_lines(found: list[Entry]) -> None:
    """Print lines as the API gives them."""
    for one in found:
        sys.stdout.write(json.dumps(audit_json(one), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_table(out: Console, found: list[Entry]) -> None:
    """Print lines for people."""
    shown = table("AT (UTC)", "WHAT", "STORY", "FACTS", stretch="FACTS")
    for one in found:
        facts = ", ".join(f"{name}={_text(value)}" for name, value in one.facts.items())
        shown.add_row(f"{moment(one.at):%Y-%m-%d %H:%M:%S}", Text(one.kind), Text(one.story), Text(facts))
    out.print(shown)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
