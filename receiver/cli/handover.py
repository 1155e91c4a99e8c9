"""`handover`: what the next shift must know."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver import handover_words as said
from receiver.cli.common import Exit, load_or_exit
from receiver.cli.database import with_store
from receiver.cli.output import JSON_OPTION, WIDE, console, fail, print_json, table
from receiver.handover import USUAL, Handover, OpenStory, outcome_words, read, read_since
from receiver.limits import truncate
from receiver.rendering import words

_STYLES = {
    "VM down": "red",
    "impact not known": "yellow",
    "at risk": "yellow",
    "nothing down": "",
    "re-running": "blue",
}
_OUTCOMES = {"fixed": "green"}
MAX_NAME = 28
"""A column that keeps its width must leave room for the others."""
_CONFIG = typer.Option(
    "--config", "-c", envvar="MTV_RECEIVER_CONFIG", help="The configuration file: its web.external_url makes links."
)


def handover(
    since: Annotated[str, typer.Option(help="How long the shift was, such as 8h.")] = USUAL,
    as_json: bool = JSON_OPTION,
    config: Annotated[Path | None, _CONFIG] = None,
) -> None:
    """Show what the next shift must know: open, by whom, silenced until, stuck, undelivered."""
    try:
        since_s = read_since(since)
    except ValueError as error:
        what, _, cure = str(error).partition("; ")
        fail(Exit.USAGE, f"--since {since}: {what}", cure)
    url = load_or_exit(config).web.external_url if config is not None else ""
    found = with_store(lambda store: store.browse(partial(read, since_s=since_s)))
    if as_json:
        print_json(said.handover_json(found, url))
    else:
        _print(found, url)


def _print(found: Handover, url: str) -> None:
    out = console()
    length = words.duration(found.since_s)
    out.print(Text(f"{found.summary}.", "bold"), soft_wrap=True)
    _part(out, "OPEN", _open(found, found.open.items, out, storms=True), found.open.more)
    _part(out, "STUCK", _open(found, found.stuck.items, out), found.stuck.more)
    _part(out, "NOT TOLD", _untold(found), found.dead.more + found.waiting.more)
    _part(out, f"SILENCES THAT END WITHIN {length}", _ending(found), found.ending.more)
    ended = outcome_words(found.outcomes)
    _part(out, f"ENDED IN {length}: {ended}", _ended(found), found.ended.more)
    _part(out, f"DONE IN {length}", _done(found), found.done.more)
    if url:
        out.print()
        out.print(Text(f"{url.rstrip('/')}/handover"), soft_wrap=True)


def _part(out: Console, title: str, rows: Table, more: int) -> None:
    if not rows.row_count:
        return
    out.print()
    out.print(Text(title, "bold"))
    out.print(rows)
    if more > 0:
        out.print(f"and {more:,} more")


def _open(found: Handover, items: tuple[OpenStory, ...], out: Console, *, storms: bool = False) -> Table:
    wide = out.width >= WIDE
    since_head = ("SINCE (UTC)",) if wide else ()
    shown = table("STATE", "FAILED", *since_head, "WHO HAS IT", "WHAT AND WHY", stretch="WHAT AND WHY")
    for storm in found.storms if storms else ():
        since = (_time(found, storm.since),) if wide else ()
        number = f"{storm.members:,} open"
        shown.add_row(Text("storm", "red"), number, *since, _who(said.who(storm, found.now), out), Text(storm.title))
    for one in items:
        word = said.standing(one)
        since = (_time(found, one.since),) if wide else ()
        what = Text.assemble((one.title, "bold"), f" · {place}" if (place := said.where(one)) else "")
        for line in (one.cause, said.silenced(one, found.now)):
            if line:
                what.append("\n" + words.sentence(line).replace("`", ""))
        if wide:
            what.append(f"\n{one.id}", "dim")
        shown.add_row(
            Text(word, _STYLES.get(word, "")), said.failed_of(one), *since, _who(said.who(one, found.now), out), what
        )
    return shown


def _untold(found: Handover) -> Table:
    shown = table("TO", "STATE", "SINCE (UTC)", "WHAT AND WHY", stretch="WHAT AND WHY")
    for one in (*found.dead.items, *found.waiting.items):
        what = f"{said.what_waits(one)}: {one.why or 'no answer'}"
        if one.stood_in:
            what += f" ({said.STOOD_IN})"
        style = "yellow" if one.state == "retrying" else "red"
        shown.add_row(Text(truncate(one.to, MAX_NAME)), Text(one.state, style), _time(found, one.since), Text(what))
    return shown


def _ending(found: Handover) -> Table:
    shown = table("UNTIL (UTC)", "BY", "WHAT", stretch="WHAT")
    for one in found.ending.items:
        shown.add_row(_time(found, one.until), Text(truncate(one.by, MAX_NAME)), Text(one.title))
    return shown


def _ended(found: Handover) -> Table:
    shown = table("OUTCOME", "AT (UTC)", "AFTER", "WHAT", stretch="WHAT")
    for one in found.ended.items:
        what = Text.assemble(one.title, f" · {place}" if (place := said.where(one)) else "")
        if one.rerun and one.outcome == "fixed":
            what.append(", by a new run")
        outcome = Text(one.outcome, _OUTCOMES.get(one.outcome, ""))
        shown.add_row(outcome, _time(found, one.closed), said.lasted(one), what)
    return shown


def _done(found: Handover) -> Table:
    shown = table("AT (UTC)", "BY", "WHAT", stretch="WHAT")
    for one in found.done.items:
        by = Text(f"{truncate(one.by, MAX_NAME)} ({one.via})")
        shown.add_row(_time(found, one.at), by, Text(f"{one.title}: {said.did(one)}"))
    return shown


def _time(found: Handover, at: datetime) -> str:
    return words.when(at, found.now.date()).removesuffix(" UTC")


def _who(text: str, out: Console) -> Text:
    """Return who has it, not wider than leaves room for what it is."""
    return Text(truncate(text, max(24, out.width // 4)), "yellow" if text.startswith("nobody, for ") else "")
