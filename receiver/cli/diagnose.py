"""`diagnose`: what an alert's first message would say, in the terminal and without any alert."""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from receiver import build
from receiver.cli.asked import (
    Asked,
    ConfigOption,
    MustGatherOption,
    PlanArgument,
    answering,
    choose,
    config_or_default,
    opened,
    plan_named,
)
from receiver.cli.common import Exit
from receiver.cli.output import JSON_OPTION, console, print_json
from receiver.cli.paint import paint
from receiver.clock import SystemClock
from receiver.config.model import Config
from receiver.diagnose import Diagnosis
from receiver.diagnose import diagnose as diagnose_plan
from receiver.enrichers.redact import Redactor
from receiver.kube.mustgather import MustGather
from receiver.store.codec import EVIDENCE

app = typer.Typer(no_args_is_help=True, help="Say what failed, why, and what to do, without any alert.")


@app.callback()
def _commands() -> None:
    """Say what failed, why, and what to do, without any alert."""


@app.command()
def plan(
    which: PlanArgument,
    must_gather: MustGatherOption = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="NAME", help="A cluster of the configuration; else its default one.")
    ] = None,
    config: ConfigOption = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show a migration plan's last run: who is down, why, what to do now, and what the logs say.

    Asks the must-gather, else the configured cluster, else the one that kubectl would ask. Exits 1 if the plan failed.
    """
    namespace, name = plan_named(which, "mig-team-a/erp-wave1")
    loaded = config_or_default(config)
    asked = choose(loaded, must_gather, cluster)
    found = asyncio.run(_run(loaded, asked, namespace, name, SystemClock().now()))
    if as_json:
        print_json({**found.json(), "asked": asked.what, "unread": _unread(asked), "evidence": _evidence(found)})
    else:
        show(console(), found, asked)
    if not found.good:
        raise typer.Exit(Exit.NO)


async def _run(config: Config, asked: Asked, namespace: str, name: str, now: datetime) -> Diagnosis:
    async with opened(config, asked) as clusters:
        words = build.renderer(config, _broken)
        with answering(asked):
            return await diagnose_plan(
                config,
                asked.cluster,
                namespace,
                name,
                now=now,
                redactor=Redactor(config.redaction_patterns),
                words=words,
                clusters=clusters,
            )


def _broken(why: str) -> None:
    sys.stderr.write(f"shown in the plain form: {why}\n")


def show(out: Console, found: Diagnosis, asked: Asked) -> None:
    """Print the message, and whom it comes from."""
    paint(out, found.message, {one.url for one in (*found.evidence.commands, *found.evidence.steps)})
    out.print()
    read = f"Read from {asked.what}"
    if count := len(_unread(asked)):
        read += f" ({count:,} {'file' if count == 1 else 'files'} without anything to read, see --json)"
    out.print(Text(read, "dim"), soft_wrap=True)


def _unread(asked: Asked) -> list[dict[str, str]]:
    """Return the files of a must-gather that could not be used, each with the reason."""
    found = asked.cluster.problems if isinstance(asked.cluster, MustGather) else ()
    return [{"file": one.path, "why": one.text} for one in found]


def _evidence(found: Diagnosis) -> dict[str, Any]:
    """Return the evidence as JSON, without the packed logs: their decisive lines are there."""
    made: dict[str, Any] = EVIDENCE.dump_python(found.evidence, mode="json")
    for log in made["logs"]:
        log.pop("kept", None)
    return made
