"""`explain`: what would become of alerts, offline."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from receiver import build
from receiver.cli.common import CONFIG_OPTION, Exit
from receiver.cli.output import JSON_OPTION, console, fail, pairs, print_json, table
from receiver.clock import SystemClock
from receiver.config.load import ConfigError, load
from receiver.config.model import ClusterConfig, Config
from receiver.destinations.registry import ALL
from receiver.enrichers.redact import Redactor
from receiver.explain import MUTED, TOLD, Explained, Shown
from receiver.explain import explain as explain_alerts
from receiver.explain_input import read_alerts
from receiver.kube import Cluster, ClusterError
from receiver.kube.mustgather import MustGather
from receiver.model import Alert
from receiver.rendering import Renderer
from receiver.rendering.text import message_text
from receiver.wire import UnusableBodyError

_MARKS = {TOLD: ("✓", "green"), MUTED: ("◷", "yellow")}


def explain(
    files: Annotated[list[Path], typer.Argument(metavar="FILE…", help="JSON files; - reads standard input.")],
    config: Path = CONFIG_OPTION,
    must_gather: Annotated[
        Path | None, typer.Option(metavar="DIR|TAR", help="Take plans, events and logs from a must-gather.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Judge as of this time (RFC 3339) instead of now.")
    ] = None,
    expect: Annotated[
        str | None, typer.Option(metavar="RECEIVER,…", help="Exit 1 unless every alert goes to exactly these.")
    ] = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show which routes match alerts and why, and the first message at each destination. Sends nothing.

    FILE is a webhook body, one alert, or the answer of Alertmanager's /api/v2/alerts.
    """
    now = _time(at) if at is not None else SystemClock().now()
    alerts = [alert for file in files for alert in _read(file, now)]
    loaded = _config(config)
    wanted = _wanted(expect, loaded) if expect is not None else None
    if must_gather is not None:
        loaded = _over(loaded, must_gather)
    words: list[Renderer] = []
    result = asyncio.run(_run(loaded, alerts, now, words))
    if as_json:
        print_json({"alerts": [one.json() for one in result]})
    else:
        _print(console(), result, words[0])
    if wanted is not None:
        _compare(result, wanted)


async def _run(config: Config, alerts: Sequence[Alert], now: datetime, words: list[Renderer]) -> tuple[Explained, ...]:
    async with AsyncExitStack() as stack:
        words.append(build.renderer(config, _broken))
        destinations = await stack.enter_async_context(build.destinations(config, words[0], real=True))
        clusters = build.clusters(config)
        for cluster in clusters.values():
            stack.push_async_callback(cluster.aclose)
        await _load(clusters)
        return await explain_alerts(
            config,
            alerts,
            clusters=clusters,
            now=now,
            redactor=Redactor(config.redaction_patterns),
            destinations=destinations,
        )


def _broken(why: str) -> None:
    sys.stderr.write(f"shown in the plain form: {why}\n")


async def _load(clusters: Mapping[str, Cluster]) -> None:
    """Read must-gathers now: one that is none is a mistake of the command, not a cluster that is away."""
    for cluster in clusters.values():
        if isinstance(cluster, MustGather):
            try:
                await cluster.load()
            except ClusterError as error:
                what, _, cure = error.message.partition("; ")
                fail(Exit.UNASKED, what, cure or "name the folder or archive that `oc adm must-gather` left")


def _config(file: Path) -> Config:
    """Return the configuration. Its warnings are for `check`: missing secrets do not matter here."""
    try:
        return load(file, ALL)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(Exit.NO) from None


def _over(config: Config, must_gather: Path) -> Config:
    """Let a must-gather stand in for every cluster, under the clusters' own names."""
    clusters = tuple(replace(one, kubeconfig_file=None, must_gather=must_gather) for one in config.clusters)
    if all(one.matchers for one in clusters):
        clusters += (ClusterConfig("must-gather", must_gather=must_gather),)
    return replace(config, clusters=clusters)


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        fail(Exit.USAGE, f"--at {text}: no time with a zone", "write for example 2026-09-14T08:30:00Z")
    return moment.astimezone(UTC)


def _read(file: Path, now: datetime) -> tuple[Alert, ...]:
    name = "standard input" if str(file) == "-" else str(file)
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        fail(Exit.USAGE, f"{name}: cannot be read ({error.strerror})", "name a file with alerts")
    try:
        body = read_alerts(raw, now)
    except UnusableBodyError as error:
        fail(Exit.USAGE, f"{name}: {error}", "see `mtv-receiver explain --help`")
    for one in body.rejected:
        sys.stderr.write(f"{name}: alerts[{one.index}] left out: {one.detail}\n")
    return body.alerts


def _wanted(expect: str, config: Config) -> set[str]:
    wanted = {name.strip() for name in expect.split(",") if name.strip()}
    unknown = sorted(wanted - set(config.receivers))
    if unknown:
        known = ", ".join(config.receivers)
        fail(Exit.USAGE, f"--expect: no receiver is called {', '.join(unknown)}", f"there are {known}")
    return wanted


def _compare(result: Sequence[Explained], wanted: set[str]) -> None:
    wrong = [one for one in result if set(one.receivers) != wanted]
    for one in wrong:
        got = ", ".join(sorted(one.receivers)) or "nobody"
        name = f"{one.alert.name or 'an alert'} {one.alert.fingerprint}"
        sys.stderr.write(f"{name}: expected {', '.join(sorted(wanted)) or 'nobody'}, got {got}\n")
    if wrong:
        raise typer.Exit(Exit.NO)


# --- for people ---


def _print(out: Console, result: Sequence[Explained], words: Renderer) -> None:
    if not result:
        out.print("no alerts in it: nobody would be told")
    for at, one in enumerate(result):
        if at:
            out.print()
        _print_alert(out, one, words)


def _print_alert(out: Console, one: Explained, words: Renderer) -> None:
    alert = one.alert
    out.print(Text.assemble((alert.name or "an alert without a name", "bold"), f"  {alert.status.value}"))
    out.print(
        pairs(
            [
                ("fingerprint", alert.fingerprint),
                ("subject", one.identity.identity.subject),
                ("facts", "\n".join(f"{name}={value}" for name, value in sorted(one.facts.items()))),
                ("missing", "\n".join(one.missing)),
            ]
        )
    )
    out.print()
    routes = table("", "ROUTE", "WHY", "AT", stretch="WHY")
    for verdict in one.verdicts:
        mark, style = ("✓", "green") if verdict.matched else ("✗", "red")
        routes.add_row(Text(mark, style), Text(verdict.path), Text(verdict.reason), Text(verdict.position))
    out.print(routes)
    out.print()
    told = table("", "DESTINATION", "STATE", "WHY", stretch="WHY")
    for shown in one.destinations:
        mark, style = _MARKS.get(shown.state, ("✗", "red"))
        told.add_row(Text(mark, style), Text(shown.label), Text(shown.state), Text(shown.reason))
    out.print(told)
    for labels, text in _messages(one.destinations, words, out.width).items():
        out.print()
        out.print(Rule(Text(labels), align="left", characters="─", style="dim"))
        out.print(Text(text), soft_wrap=True)


def _messages(destinations: Sequence[Shown], words: Renderer, width: int) -> dict[str, str]:
    """Return the messages by the destinations that show them; equal ones are printed once."""
    labels: dict[str, list[str]] = {}
    for one in destinations:
        if one.request is not None:
            text = message_text(words.in_folder(one.templates_dir).root(one.wanted, one.kind, one.content), width)
            labels.setdefault(text, []).append(one.label)
    return {", ".join(names): text for text, names in labels.items()}
