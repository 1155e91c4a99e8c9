"""`deliveries`: what was told where, and another try for what could not be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from receiver.cli.acting import BY_OPTION, act, actor
from receiver.cli.common import CONFIG_OPTION, Exit
from receiver.cli.database import with_store
from receiver.cli.output import JSON_OPTION, WIDE, console, fail, pairs, print_json, table
from receiver.config.durations import parse_duration
from receiver.model import DeliveryState
from receiver.store import attempts, deliveries, listing, retrying
from receiver.store.attempts import Attempt
from receiver.store.codec import moment_or_none
from receiver.store.condition import conditions
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import Conn, Store
from receiver.store.retrying import STUCK, Choice, NotRetryableError, Pick
from receiver.views import delivery_json

app = typer.Typer(help="Deliveries: what each destination shows of a story.", no_args_is_help=True)

MAX_LIMIT = 500
_STYLES = {
    "delivered": "green",
    "shadow": "blue",
    "parked": "red",
    "dead": "red",
    "retrying": "yellow",
    "pending": "yellow",
}
Found = list[tuple[DeliveryRow, tuple[Attempt, ...]]]

_ID = typer.Argument(metavar="ID")
_STATE = typer.Option(help="Only deliveries in this state; may be repeated.")


@app.command("list")
def list_deliveries(
    state: Annotated[list[DeliveryState] | None, _STATE] = None,
    story: Annotated[str, typer.Option(metavar="ID", help="Only those of this story.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="How many, newest first.")] = 50,
    as_json: bool = JSON_OPTION,
) -> None:
    """List deliveries, newest first."""

    async def work(store: Store) -> tuple[Found, dict[str, str]]:
        async def read(conn: Conn) -> tuple[Found, dict[str, str]]:
            page = await listing.deliveries_page(conn, story=story.upper(), state=_values(state), limit=limit)
            return page, await conditions(conn)

        return await store.browse(read)

    found, now = with_store(work)
    if as_json:
        print_json({"items": [delivery_json(row, tries) for row, tries in found]})
        return
    out = console()
    if not found:
        out.print("no deliveries")
        return
    wide = out.width >= WIDE
    shown = table("ID", "TO", "STATE", *(("TRIES", "STORY") if wide else ()), "ERROR", stretch="ERROR")
    for row, tries in found:
        more = (str(len(tries)), row.story) if wide else ()
        shown.add_row(Text(row.id), Text(row.label), _state(row), *more, Text(row.error))
    out.print(shown)
    for label, words in sorted({(row.label, now[row.destination]) for row, _ in found if row.destination in now}):
        out.print(Text(f"{label} is {words}"))


@app.command("show")
def show_delivery(delivery: Annotated[str, _ID], as_json: bool = JSON_OPTION) -> None:
    """Show one delivery with every attempt."""

    async def work(store: Store) -> tuple[DeliveryRow | None, tuple[Attempt, ...], dict[str, str]]:
        async def read(conn: Conn) -> tuple[DeliveryRow | None, tuple[Attempt, ...], dict[str, str]]:
            row = await deliveries.one(conn, delivery.upper())
            return row, await attempts.of_delivery(conn, row.id) if row else (), await conditions(conn)

        return await store.browse(read)

    row, tries, now = with_store(work)
    if row is None:
        _unknown(delivery)
    if as_json:
        print_json(delivery_json(row, tries))
        return
    data = delivery_json(row, tries)
    receipt = json.loads(row.root) if row.root else {}
    out = console()
    out.print(Text(row.label, "bold"))
    out.print(
        pairs(
            [
                ("id", row.id),
                ("story", row.story),
                ("destination", row.destination),
                ("which is", now.get(row.destination, "")),
                ("state", data["state"]),
                ("error", row.error),
                ("in place of", row.fallback_for),
                ("moved to", row.moved),
                ("reasons", "\n".join(data["reasons"])),
                ("revision", f"{row.delivered} delivered, {row.desired} wanted"),
                ("receipt", "\n".join(f"{name}={value}" for name, value in sorted(receipt.items()))),
            ]
        )
    )
    if tries:
        shown = table("STARTED (UTC)", "WHAT", "OUTCOME", "HTTP", "ERROR", stretch="ERROR")
        for one in tries:
            started = moment_or_none(one.started)
            what = one.op if one.part == "root" else f"{one.op} {one.part}"
            status = str(one.status or "")
            shown.add_row(f"{started:%Y-%m-%d %H:%M:%S}", Text(what), one.outcome or "unknown", status, Text(one.error))
        out.print()
        out.print(shown)


@app.command("move")
def move_story(
    story: Annotated[str, typer.Argument(metavar="STORY")],
    to: Annotated[str, typer.Option(metavar="RECEIVER", help="Who is to have it.")],
    giver: Annotated[
        str, typer.Option("--from", metavar="RECEIVER", help="Who gives it away; else all who have it.")
    ] = "",
    by: str = BY_OPTION,
    config: Path = CONFIG_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Give a story to another receiver: it is told in full there, and nothing fires where it was."""
    act(config, lambda actions: actions.move(story, to, actor(by), giver=giver), as_json=as_json)


@app.command("retry")
def retry_deliveries(
    delivery: Annotated[list[str] | None, typer.Argument(metavar="[ID]…")] = None,
    every: Annotated[bool, typer.Option("--all", help="All parked, dead and retrying ones.")] = False,
    state: Annotated[list[DeliveryState] | None, typer.Option(help="All in this state; may be repeated.")] = None,
    destination: Annotated[
        str, typer.Option(metavar="NAME", help="All of this destination, such as payments/slack.")
    ] = "",
    receiver: Annotated[str, typer.Option(metavar="NAME", help="All of this receiver.")] = "",
    since: Annotated[str, typer.Option(metavar="DURATION", help="Made within so long, such as 2h.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which, and how many.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Let deliveries be tried again now: parked ones, dead letters, and those that wait between tries.

    Filters narrow each other down. Without --state they mean what is parked, dead or waits between tries; nothing
    else can be tried again.
    """
    ids = list(delivery or ())
    filtered = bool(every or state or destination or receiver or since)
    if bool(ids) == filtered:
        fail(Exit.USAGE, "say which deliveries", "give ids, or --all, or filters such as --state dead --since 2h")
    try:
        within_s = parse_duration(since) if since else None
    except ValueError as error:
        what, _, cure = str(error).partition("; ")
        fail(Exit.USAGE, f"--since: {what}", cure)
    choice = Choice(tuple(state or STUCK), destination, receiver, within_s)
    try:
        retrying.check(choice.states)
    except NotRetryableError as error:
        fail(Exit.USAGE, f"--state: {error}", error.cure)

    async def read(conn: Conn) -> list[Pick]:
        return await (retrying.named(conn, ids) if ids else retrying.chosen(conn, choice))

    async def work(store: Store) -> list[Pick]:
        picks = await store.browse(read)
        return picks if dry_run else await retrying.retry_all(store, picks, actor("").name)

    try:
        rows = with_store(work)
    except NotRetryableError as error:
        fail(Exit.NO, str(error), error.cure)
    if as_json:
        print_json({"items": [row.id for row in rows], "dry_run": dry_run})
        return
    said = "would be tried again" if dry_run else "is tried again now"
    for row in rows:
        console().print(f"{row.id} {row.label}: {said}", soft_wrap=True)
    if not rows:
        words = " or ".join(one.value for one in choice.states)
        console().print(f"no delivery is {words}" if every or state else "no delivery fits")
    elif dry_run:
        console().print(f"{len(rows):,} in all; nothing was changed")


def _values(states: Sequence[DeliveryState] | None) -> list[str]:
    return [one.value for one in states or ()]


def _unknown(delivery: str) -> NoReturn:
    fail(Exit.NO, f"no delivery has the id {delivery}", "see `mtv-receiver deliveries list`")


def _state(row: DeliveryRow) -> Text:
    word = listing.shown_state(row).value
    return Text(word, _STYLES.get(word, ""))
