"""`stories`: what the service knows, from its database."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from receiver.cli.common import Exit
from receiver.cli.database import with_store
from receiver.cli.output import JSON_OPTION, WIDE, console, fail, moment, pairs, print_json, table
from receiver.model import DeliveryState, Story, StoryState
from receiver.store import deliveries, stories
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import Conn, Store
from receiver.views import delivery_json, story_json

app = typer.Typer(help="Stories: one per failure.", no_args_is_help=True)

MAX_LIMIT = 500
_STYLES = {StoryState.FIRING: "red", StoryState.RERUNNING: "yellow", StoryState.RESOLVED: "green"}


@app.command("list")
def list_stories(
    state: Annotated[list[StoryState] | None, typer.Option(help="Only stories in this state; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="How many, newest first.")] = 50,
    as_json: bool = JSON_OPTION,
) -> None:
    """List stories, newest first."""

    async def work(store: Store) -> list[tuple[Story, list[DeliveryRow]]]:
        async def read(conn: Conn) -> list[tuple[Story, list[DeliveryRow]]]:
            found = await stories.list_stories(conn, state=[one.value for one in state or ()], limit=limit)
            return [(one, await deliveries.of_story(conn, one.id)) for one in found]

        return await store.browse(read)

    found = with_store(work)
    if as_json:
        print_json({"items": [story_json(one, [row.id for row in rows]) for one, rows in found]})
        return
    out = console()
    if not found:
        out.print("no stories")
        return
    wide = out.width >= WIDE
    shown = table(
        "ID", "OPENED (UTC)", "STATE", *(("SEVERITY", "IMPACT", "TOLD") if wide else ()), "TITLE", stretch="TITLE"
    )
    for story, rows in found:
        told = sum(row.state is DeliveryState.DELIVERED for row in rows)
        more = (story.severity, story.impact.value, f"{told} of {len(rows)}") if wide else ()
        shown.add_row(
            Text(story.id), moment(story.opened), _state(story), *(Text(one) for one in more), Text(story.title)
        )
    out.print(shown)


@app.command("show")
def show_story(
    story_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: bool = JSON_OPTION,
) -> None:
    """Show one story: its alerts, what happened, and who was told."""

    async def work(store: Store) -> tuple[Story | None, list[DeliveryRow]]:
        async def read(conn: Conn) -> tuple[Story | None, list[DeliveryRow]]:
            return await stories.read_story(conn, story_id.upper()), await deliveries.of_story(conn, story_id.upper())

        return await store.browse(read)

    story, rows = with_store(work)
    if story is None:
        fail(Exit.NO, f"no story has the id {story_id}", "see `mtv-receiver stories list`")
    if as_json:
        print_json(story_json(story, [row.id for row in rows]))
        return
    _print(story, rows)


def _print(story: Story, rows: list[DeliveryRow]) -> None:
    out = console()
    out.print(Text(story.title, "bold"), soft_wrap=True)
    facts = dict(story.identity.facts) if story.identity else {}
    data = story_json(story, ())
    out.print(
        pairs(
            [
                ("id", story.id),
                ("subject", story.subject),
                ("state", str(_state(story))),
                ("severity", story.severity),
                ("impact", story.impact.value),
                ("cause", data["cause"] or ""),
                ("opened", moment(story.opened)),
                ("closed", moment(story.closed)),
                ("note", story.note),
                ("facts", "\n".join(f"{name}={value}" for name, value in sorted(facts.items()))),
                ("missing", "\n".join(data["missing"])),
                ("previous", story.previous),
                ("continued in", story.continued_in),
            ]
        )
    )
    alerts = table("ALERT", "STATUS", "SINCE (UTC)", "FINGERPRINT", stretch="ALERT")
    for one in story.alerts:
        name = one.alert.name or "an alert without a name"
        alerts.add_row(Text(name), one.alert.status.value, moment(one.alert.starts_at), Text(one.alert.fingerprint))
    timeline = table("AT (UTC)", "WHAT", stretch="WHAT")
    for entry in story.timeline:
        timeline.add_row(f"{entry.at:%Y-%m-%d %H:%M:%S}", Text(entry.text))
    told = table("DELIVERY", "TO", "STATE", "ERROR", stretch="ERROR")
    for row in rows:
        told.add_row(Text(row.id), Text(row.label), delivery_json(row, ())["state"], Text(row.error))
    for part in (alerts, timeline, told):
        if part.row_count:
            out.print()
            out.print(part)


def _state(story: Story) -> Text:
    word = story.outcome.value if story.outcome else story.state.value
    return Text(word, _STYLES[story.state])
