"""`deliveries`: what was told where, and another try for what could not be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from receiver.cli.common import Exit
from receiver.cli.database import with_store
from receiver.cli.output import JSON_OPTION, WIDE, console, fail, pairs, print_json, table
from receiver.model import DeliveryState
from receiver.store import attempts, deliveries, listing, parking
from receiver.store.attempts import Attempt
from receiver.store.codec import moment_or_none
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import Conn, Store
from receiver.views import delivery_json

app = typer.Typer(help="Deliveries: what each destination shows of a story.", no_args_is_help=True)

MAX_LIMIT = 500
_STYLES = {"delivered": "green", "parked": "red", "dead": "red", "retrying": "yellow", "pending": "yellow"}
_STUCK = (DeliveryState.PARKED, DeliveryState.DEAD, DeliveryState.RETRYING)
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

    async def work(store: Store) -> Found:
        async def read(conn: Conn) -> Found:
            return await listing.deliveries_page(conn, story=story.upper(), state=_values(state), limit=limit)

        return await store.browse(read)

    found = with_store(work)
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


@app.command("show")
def show_delivery(delivery: Annotated[str, _ID], as_json: bool = JSON_OPTION) -> None:
    """Show one delivery with every attempt."""

    async def work(store: Store) -> tuple[DeliveryRow | None, tuple[Attempt, ...]]:
        async def read(conn: Conn) -> tuple[DeliveryRow | None, tuple[Attempt, ...]]:
            row = await deliveries.one(conn, delivery.upper())
            return row, await attempts.of_delivery(conn, row.id) if row else ()

        return await store.browse(read)

    row, tries = with_store(work)
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
                ("state", data["state"]),
                ("error", row.error),
                ("in place of", row.fallback_for),
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


@app.command("retry")
def retry_deliveries(
    delivery: Annotated[list[str] | None, typer.Argument(metavar="[ID]…")] = None,
    every: Annotated[bool, typer.Option("--all", help="All parked, dead and retrying ones.")] = False,
    state: Annotated[list[DeliveryState] | None, typer.Option(help="With --all: only those in this state.")] = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Let deliveries be tried again now: parked ones, dead letters, and those that wait between tries."""
    ids = [one.upper() for one in delivery or ()]
    if bool(ids) == every or (state and not every):
        fail(Exit.USAGE, "say which deliveries", "give ids, or --all, or --all --state dead")
    wanted = _values(state) or [one.value for one in _STUCK]

    async def work(store: Store) -> list[DeliveryRow]:
        return await store.write(lambda conn: _retry(conn, ids, wanted))

    rows = with_store(work)
    if as_json:
        print_json({"items": [row.id for row in rows]})
        return
    for row in rows:
        console().print(f"{row.id} {row.label}: is tried again now", soft_wrap=True)
    if not rows:
        console().print(f"no delivery is {' or '.join(wanted)}")


async def _retry(conn: Conn, ids: Sequence[str], states: Sequence[str]) -> list[DeliveryRow]:
    """Free some by id, or all in these states. One unknown id, and nothing is changed."""
    rows: list[DeliveryRow] = []
    if not ids:
        while page := await listing.delivery_rows(conn, state=states, before=_last(rows), limit=MAX_LIMIT):
            rows += page
    for one in ids:
        row = await deliveries.one(conn, one)
        if row is None:
            _unknown(one)
        if row.state is DeliveryState.DELIVERED and row.due is None:
            fail(Exit.NO, f"{row.id} {row.label} is delivered", "there is nothing to try again")
        rows.append(row)
    for row in rows:
        await parking.retry(conn, row.id)
    return rows


def _last(rows: Sequence[DeliveryRow]) -> tuple[float, str] | None:
    return (rows[-1].created, rows[-1].id) if rows else None


def _values(states: Sequence[DeliveryState] | None) -> list[str]:
    return [one.value for one in states or ()]


def _unknown(delivery: str) -> NoReturn:
    fail(Exit.NO, f"no delivery has the id {delivery}", "see `mtv-receiver deliveries list`")


def _state(row: DeliveryRow) -> Text:
    word = listing.shown_state(row).value
    return Text(word, _STYLES.get(word, ""))
