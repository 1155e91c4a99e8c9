"""`stories`: what the service knows, from its database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from receiver.cli.acting import BY_OPTION, act, actor
from receiver.cli.common import CONFIG_OPTION, Exit
from receiver.cli.database import with_store
from receiver.cli.output import JSON_OPTION, WIDE, console, fail, moment, pairs, print_json, table
from receiver.model import DeliveryState, Story, StoryState
from receiver.rendering import words
from receiver.store import listing, presses, reading
from receiver.store.codec import moment_or_none
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import Conn
from receiver.store.listing import shown_state
from receiver.store.presses import Press
from receiver.views import story_json

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
    states = [one.value for one in state or ()]
    found = with_store(lambda store: store.browse(lambda conn: listing.stories_page(conn, state=states, limit=limit)))
    if as_json:
        print_json({"items": [story_json(one.story, [row.id for row in one.deliveries]) for one in found]})
        return
    out = console()
    if not found:
        out.print("no stories")
        return
    wide = out.width >= WIDE
    shown = table(
        "ID", "OPENED (UTC)", "STATE", *(("SEVERITY", "IMPACT", "TOLD") if wide else ()), "TITLE", stretch="TITLE"
    )
    for one in found:
        story, rows = one.story, one.deliveries
        told = sum(row.state is DeliveryState.DELIVERED for row in rows)
        more = (story.severity, story.impact.value, f"{told} of {len(rows)}") if wide else ()
        shown.add_row(
            Text(story.id), moment(story.opened), _state(story), *(Text(text) for text in more), Text(story.title)
        )
    out.print(shown)


@app.command("show")
def show_story(
    story_id: Annotated[str, typer.Argument(metavar="ID")],
    as_json: bool = JSON_OPTION,
) -> None:
    """Show one story: its alerts, what happened, and who was told."""

    async def read(conn: Conn) -> tuple[reading.Whole | None, tuple[Press, ...]]:
        return await reading.whole(conn, story_id.upper()), await presses.of_story(conn, story_id.upper())

    found, asked = with_store(lambda store: store.browse(read))
    if found is None:
        fail(Exit.NO, f"no story has the id {story_id}", "see `mtv-receiver stories list`")
    if as_json:
        print_json(story_json(found.story, [row.id for row in found.deliveries]))
        return
    _print(found.story, found.deliveries, asked)


@app.command("acknowledge")
def acknowledge_story(
    story_id: Annotated[str, typer.Argument(metavar="ID")],
    by: str = BY_OPTION,
    note: Annotated[str, typer.Option(help="What others are to know, such as what you do about it.")] = "",
    config: Path = CONFIG_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Say that you take care of a story; everybody who is told of it sees that."""
    act(config, lambda actions: actions.acknowledge(story_id, actor(by), note), as_json=as_json)


@app.command("silence")
def silence_story(
    story_id: Annotated[str, typer.Argument(metavar="ID")],
    hours: Annotated[float, typer.Option(help="For how long.")],
    by: str = BY_OPTION,
    config: Path = CONFIG_OPTION,
    as_json: bool = JSON_OPTION,
) -> None:
    """Silence a story's alerts in Alertmanager."""
    act(config, lambda actions: actions.silence(story_id, hours, actor(by)), as_json=as_json)


def _print(story: Story, rows: Sequence[DeliveryRow], asked: Sequence[Press]) -> None:
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
                ("taken by", _taken(story)),
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
        error = f"moved to {row.moved}" if row.moved else row.error
        told.add_row(Text(row.id), Text(row.label), shown_state(row).value, Text(error))
    pressed = table("ASKED (UTC)", "BY", "WHAT", "ANSWER", stretch="ANSWER")
    for press in asked:
        who = f"{press.by} ({press.via})"
        pressed.add_row(moment(moment_or_none(press.at)), Text(who), Text(press.action), Text(press.text))
    for part in (alerts, timeline, told, pressed):
        if part.row_count:
            out.print()
            out.print(part)


def _taken(story: Story) -> str:
    ack = story.ack
    return f"{ack.by}, {words.when(ack.at, story.opened.date())} ({ack.via})" if ack else ""


def _state(story: Story) -> Text:
    word = story.outcome.value if story.outcome else story.state.value
    return Text(word, _STYLES[story.state])
