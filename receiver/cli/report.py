"""`report --shadow`: what would have been told to whom, beside what Alertmanager sent."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver.cli.common import Exit
from receiver.cli.database import with_store
from receiver.cli.output import JSON_OPTION, console, fail, print_json, table
from receiver.rendering import words
from receiver.report import USUAL, Counts, OfStory, Report, read, read_since, replies, report_json

MOST_STORIES = 200
"""Shown; JSON has all."""
WIDE_S = 90
"""Columns from which on a story is one row; below it is a few lines."""


def report(
    shadow: Annotated[bool, typer.Option("--shadow", help="What shadow mode has written down.")] = False,
    since: Annotated[str, typer.Option(help="How far back, such as 7d.")] = USUAL,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show what would have been told to whom in shadow mode, beside what Alertmanager sent."""
    if not shadow:
        fail(Exit.USAGE, "only --shadow exists today", "mtv-receiver report --shadow")
    try:
        since_s = read_since(since)
    except ValueError as error:
        what, _, cure = str(error).partition("; ")
        fail(Exit.USAGE, f"--since {since}: {what}", cure)
    found = with_store(lambda store: store.browse(partial(read, since_s=since_s)))
    if as_json:
        print_json(report_json(found))
    else:
        _print(console(), found)


def _print(out: Console, found: Report) -> None:
    out.print(Text(f"{found.summary}.", "bold"))
    if found.receivers:
        out.print()
        out.print(_receivers(found))
    if found.stories:
        out.print()
        out.print(_stories(found) if out.width >= WIDE_S else _lines(found))
    if len(found.stories) > MOST_STORIES:
        out.print(f"and {len(found.stories) - MOST_STORIES:,} older ones: --json has all")


def _receivers(found: Report) -> Table:
    shown = table("RECEIVER", "STORIES", "MESSAGES", "REPLIES", "EDITS")
    for name in ("STORIES", "MESSAGES", "REPLIES", "EDITS"):
        next(one for one in shown.columns if one.header == name).justify = "right"
    shown.columns[0].no_wrap = False
    for one in found.receivers:
        numbers = (one.stories, one.counts.messages, one.counts.replies, one.counts.edits)
        shown.add_row(Text(one.receiver), *(f"{number:,}" for number in numbers))
    return shown


def _stories(found: Report) -> Table:
    shown = table("WHEN (UTC)", "STORY", "WOULD BE TOLD", "ALERTMANAGER", stretch="STORY")
    shown.columns[2].overflow, shown.columns[2].no_wrap, shown.columns[2].ratio = "fold", False, 1
    shown.columns[3].justify = "right"
    for one in found.stories[:MOST_STORIES]:
        told = Text("\n").join(Text.assemble(each.label, (f"  {_said(each.counts)}", "dim")) for each in one.told)
        shown.add_row(_when(found, one), Text(one.title), told, f"{one.notifications:,}")
    return shown


def _lines(found: Report) -> Text:
    lines: list[Text] = []
    for one in found.stories[:MOST_STORIES]:
        lines.append(Text(one.title, "bold"))
        lines.append(Text(f"  {_when(found, one)} UTC · Alertmanager: {_times(one.notifications)}"))
        lines += [Text(f"  {each.label}: {_said(each.counts)}") for each in one.told]
    return Text("\n").join(lines)


def _times(number: int) -> str:
    return words.count(number, "notification")


def _said(counts: Counts) -> str:
    named = (
        words.count(counts.messages, "message") if counts.messages else "",
        replies(counts.replies) if counts.replies else "",
        words.count(counts.edits, "edit") if counts.edits else "",
    )
    return ", ".join(one for one in named if one)


def _when(found: Report, one: OfStory) -> str:
    return words.when(one.opened, found.now.date()).removesuffix(" UTC")
