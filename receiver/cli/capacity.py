"""`capacity`: does a plan fit where it goes, and which other cluster would do? A hint; nothing is blocked by it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver.capacity import Vector, Verdict
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
from receiver.clock import SystemClock
from receiver.config.model import Config
from receiver.diagnose import known_plan
from receiver.plan_capacity import plan_capacity
from receiver.room.result import PlanCapacity
from receiver.room.supply import Supply
from receiver.room.words import age, amount, how, open_question, owner, reason, sentence, thing

WAIT_S: Final = 60.0
"""A person waits longer for a large cluster than a story does."""
NARROW: Final = 76
"""Below so many columns a table would break: each line of it stands by itself."""
MOST_VMS: Final = 10
_STYLES: Final = {
    Verdict.FITS: "bold green",
    Verdict.AT_RISK: "bold yellow",
    Verdict.SHORT: "bold red",
    Verdict.UNKNOWN: "bold",
}

app = typer.Typer(no_args_is_help=True, help="Say whether a plan fits into its target cluster.")


@app.callback()
def _commands() -> None:
    """Say whether a plan fits into its target cluster."""


@app.command()
def plan(
    which: PlanArgument,
    must_gather: MustGatherOption = None,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The cluster of the configuration where the plan is; else its default one."),
    ] = None,
    config: ConfigOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit 1 also where it fits only just, or is not known.")
    ] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show what a plan needs, what its target has free, and which other cluster would do.

    Exits 0 if it fits, 1 if it is short, 2 if there is no such plan, 3 if the cluster could not be asked.
    """
    namespace, name = plan_named(which, "mtv-integrations/wave-1")
    loaded = config_or_default(config)
    asked = choose(loaded, must_gather, cluster)
    found = asyncio.run(_run(loaded, asked, namespace, name))
    if as_json:
        print_json({**found.json(), "asked": asked.what})
    else:
        show(console(), found, asked)
    doubtful = found.verdict in (Verdict.AT_RISK, Verdict.UNKNOWN) or bool(found.unknown)
    if found.verdict is Verdict.SHORT or (strict and doubtful):
        raise typer.Exit(Exit.NO)


async def _run(config: Config, asked: Asked, namespace: str, name: str) -> PlanCapacity:
    clock = SystemClock()
    async with opened(config, asked) as clusters, aclosing(Supply(clock, wait_s=WAIT_S)) as supply:
        with answering(asked):
            found = await known_plan(asked.cluster, namespace, name)
        return await plan_capacity(config, asked.cluster, found, clusters=clusters, supply=supply, now=clock.now())


def show(out: Console, found: PlanCapacity, asked: Asked) -> None:
    """Print the verdict, the figures behind it, other clusters, and what is not known."""
    answer = found.answer
    _say(out, found.headline, style=_STYLES[found.verdict])
    where = f"from {found.source} to {answer.cluster}, namespace {found.namespace}"
    count = f"{len(found.vms):,} of {found.total:,} VMs still to move" if len(found.vms) < found.total else (
        f"{found.total:,} {'VM' if found.total == 1 else 'VMs'}"
    )  # fmt: skip
    _say(out, f"{found.plan} · {where} · {count}", style="dim")
    rest = [sentence(each, answer.cluster) for each in answer.shortages]
    _list(out, "Short", [each for each in rest if each not in found.headline])
    rest = [sentence(each, answer.cluster) for each in answer.risks]
    _list(out, "Might not suffice", [each for each in rest if each not in found.headline])
    if answer.lines:
        out.print()
        _figures(out, found)
    _vms(out, found)
    ranked = [f"{each.cluster}: {reason(each.answer)}{_aged(found, each.cluster)}" for each in found.ranking.clusters]
    _list(out, "Other clusters" + (": none fits" if found.ranking.none_fits else ""), ranked)
    _list(out, "Not compared", [f"{name}: {why}" for name, why in found.ranking.left_out])
    _list(out, "Not known", [open_question(each) for each in found.unknown])
    flight = answer.in_flight
    notes = [*found.notes]
    if flight is not None and flight.moving + flight.waiting:
        full = "; no slot is free, the next VM waits" if flight.full else ""
        notes.append(
            f"{flight.moving:,} of {flight.limit:,} migration slots of the source are in use by "
            f"{len(flight.plans):,} {'plan' if len(flight.plans) == 1 else 'plans'}{full}"
        )
    _list(out, "Notes", notes)
    out.print()
    read = found.at - timedelta(seconds=found.ages.get(answer.cluster, 0.0))
    _say(out, f"Read from {asked.what} at {read:%Y-%m-%d %H:%M:%S} UTC. A hint: nothing is blocked by it.", style="dim")


def _figures(out: Console, found: PlanCapacity) -> None:
    """Print need against free, by resource: a table where there is room for one."""
    rows = [
        (
            thing(each.resource),
            owner(each.scope, each.owner.removeprefix(f"{found.namespace}/")),
            amount(each.resource, each.need),
            "not known" if each.free is None else amount(each.resource, each.free),
            amount(each.resource, each.short_by) if each.short_by else "",
            how(each),
        )
        for each in found.answer.lines
    ]
    if out.width < NARROW:
        for name, limit, need, free, short, why in rows:
            missing = f", short by {short}" if short else ""
            _say(out, f"{name} ({limit}): need {need}, free {free}{missing}", "- ", "  ", "red" if short else "")
            if why:
                _say(out, why, "  ", "  ", "dim")
        return
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in ("resource", "limited by"):
        made.add_column(header, overflow="fold")
    for header in ("need", "free", "short by"):
        made.add_column(header, justify="right", no_wrap=True)
    made.add_column("how", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row), style="red" if row[4] else "")
    out.print(made)


def _vms(out: Console, found: PlanCapacity) -> None:
    """Print what each VM needs, the largest first, where the numbers come from, and where it would land."""
    where = {**found.answer.compute.best.where, **found.answer.compute.likely.where}
    known = sorted(
        (vm for vm in found.vms if vm.requests is not None),
        key=lambda vm: (-(vm.requests.amount("memory") if vm.requests else 0), vm.name),
    )
    rows = []
    for vm in known[:MOST_VMS]:
        asks = vm.requests or Vector()
        need = f"{amount('memory', asks.amount('memory'))} memory, {amount('cpu', asks.amount('cpu'))}"
        place = f", would land on {where[vm.name]}" if vm.name in where else ""
        rows.append(f"{vm.name}: {need} ({vm.origin}){place}")
    if len(known) > MOST_VMS:
        rows.append(f"and {len(known) - MOST_VMS:,} more, see --json")
    _list(out, "VMs", rows)


def _aged(found: PlanCapacity, cluster: str) -> str:
    seconds = found.ages.get(cluster)
    return f" (read {age(seconds)})" if seconds is not None and seconds >= 2 else ""


def _list(out: Console, title: str, lines: list[str]) -> None:
    if lines:
        out.print()
        _say(out, title, style="bold")
        for line in lines:
            _say(out, line, "- ", "  ")


def _say(out: Console, text: str, first: str = "", then: str = "", style: str = "") -> None:
    """Print running text within the width of the terminal, its lines indented."""
    lead = first
    plain = "".join(char if char.isprintable() else " " for char in text)
    for line in Text(plain, style).wrap(out, max(out.width - len(then or first), 20)):
        line.rstrip()
        out.print(Text(lead).append_text(line), soft_wrap=True)
        lead = then
