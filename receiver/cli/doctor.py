"""`doctor`: where is the way from a failed plan to the people broken, and what mends it?"""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from receiver import build
from receiver.cli.asked import kubeconfig_file, plan_named
from receiver.cli.common import CONFIG_OPTION, Exit, load_or_exit
from receiver.cli.database import with_store
from receiver.cli.output import JSON_OPTION, console, fail, print_json, table
from receiver.clock import SystemClock
from receiver.config.model import ClusterConfig, Config, PrometheusConfig
from receiver.config.settings import check_link
from receiver.doctor import look, ours
from receiver.doctor.chain import Finding, Ours, Outside, Seen, State, Unread
from receiver.doctor.cluster import NoSuchPlanError, Rights
from receiver.doctor.links import headline, judge, worst
from receiver.kube import Cluster
from receiver.kube.api import Limits
from receiver.kube.client import LiveCluster
from receiver.kube.review import missing_rights
from receiver.kube.rights import NAMESPACES, RIGHTS

_MARKS: Final = {
    State.GOOD: ("✓", "green"),
    State.BROKEN: ("✗", "red"),
    State.UNASKED: ("?", "yellow"),
    State.SKIPPED: ("–", "dim"),
}
_NEEDED: Final = tuple(one for one in RIGHTS if not one.optional)
_PLAN = typer.Option(metavar="NAMESPACE/NAME", help="Follow this plan; else the one that failed last.")
_CLUSTER = typer.Option(
    metavar="NAME", help="The cluster of the configuration where the plan is; else its default one."
)


def doctor(
    config: Path = CONFIG_OPTION,
    prometheus: Annotated[
        str, typer.Option(metavar="URL", help="Prometheus or Thanos; else doctor.prometheus of the configuration.")
    ] = "",
    plan: Annotated[str, _PLAN] = "",
    cluster: Annotated[str, _CLUSTER] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Walk from a failed plan to the messages about it, and name the first broken link and its cure.

    Exits 0 if the chain is whole, 1 if a link is broken, 2 on wrong usage, 3 if somebody could not be asked.
    """
    loaded = load_or_exit(config)
    which = plan_named(plan, "mtv-integrations/wave-1") if plan else None
    metrics = _prometheus(loaded, prometheus)
    asked, rights = _cluster(loaded, cluster)
    try:
        others = asyncio.run(_outside(loaded, asked, rights, metrics, which))
    except NoSuchPlanError as error:
        fail(Exit.USAGE, str(error), "see `oc get plans.forklift.konveyor.io -A`")
    seen = look.together(others, _ours(others))
    found = judge(seen)
    if as_json:
        print_json(_as_json(found, seen))
    else:
        _print(console(), found, seen)
    first = worst(found)
    if first is not None:
        raise typer.Exit(Exit.NO if first.state is State.BROKEN else Exit.UNASKED)


# --- whom to ask ---


def _prometheus(config: Config, url: str) -> PrometheusConfig | None:
    named = config.doctor.prometheus
    if not url:
        return named
    try:
        check_link(url)
    except ValueError as error:
        what, _, cure = str(error).partition("; ")
        fail(Exit.USAGE, f"--prometheus: {what}", cure)
    return replace(named, url=url.rstrip("/")) if named is not None else PrometheusConfig(url.rstrip("/"))


def _cluster(config: Config, name: str) -> tuple[Cluster | None, Rights | None]:
    """Return the cluster and how to ask for our rights there; outside a pod kubectl's stands in for the pod's own."""
    known = {one.name: one for one in config.clusters}
    if name and name not in known:
        fail(Exit.USAGE, f"--cluster: no cluster is called {name}", f"there are {', '.join(known) or 'none'}")
    if not known:
        return None, None
    one = known[name or config.default_cluster(known) or next(iter(known))]
    asked = build.cluster(one)
    if asked is None:
        file = kubeconfig_file(os.environ, Path.home())
        if file is None:
            return None, None
        one = replace(one, kubeconfig_file=file)
        asked = LiveCluster.from_kubeconfig(one.name, file, limits=Limits(trust_env=True))
    return asked, None if one.must_gather else _rights(one, config)


def _rights(one: ClusterConfig, config: Config) -> Rights:
    needed = (*_NEEDED, *(NAMESPACES if config.namespace_routing is not None else ()))
    return partial(missing_rights, one.name, one.kubeconfig_file, rights=needed, http=one.http)


async def _outside(
    config: Config,
    asked: Cluster | None,
    rights: Rights | None,
    metrics: PrometheusConfig | None,
    which: tuple[str, str] | None,
) -> Outside:
    try:
        return await look.outside(config, asked, rights, metrics, which, SystemClock().now())
    finally:
        if asked is not None:
            await asked.aclose()


def _ours(others: Outside) -> Ours | Unread:
    """Return what our store knows, or the line with which it says why it cannot be used."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return with_store(lambda store: store.browse(partial(ours.read, outside=others)))
    except typer.Exit:
        what, _, cure = said.getvalue().strip().partition("; ")
        return Unread(what, cure)


# --- telling ---


def _print(out: Console, found: tuple[Finding, ...], seen: Seen) -> None:
    first = worst(found)
    style = "bold green" if first is None else "bold red" if first.state is State.BROKEN else "bold yellow"
    out.print(Text(_line(headline(found, seen)), style), soft_wrap=not out.is_terminal)
    if first is not None and first.cure:
        out.print(Text(f"Cure: {_line(first.cure)}"), soft_wrap=True)
    out.print()
    (_table if out.is_terminal else _lines)(out, found)


def _table(out: Console, found: tuple[Finding, ...]) -> None:
    shown = table("", "LINK", "SEEN", stretch="SEEN")
    first = worst(found)
    for one in found:
        mark, style = _MARKS[one.state]
        seen = Text(_line(one.seen), "dim" if one.state is State.SKIPPED else "")
        if one.cure and one is not first:
            seen.append(f"\n→ {_line(one.cure)}", "dim")
        shown.add_row(Text(mark, style), Text(one.title, style if one.state is State.BROKEN else ""), seen)
    out.print(shown)


def _lines(out: Console, found: tuple[Finding, ...]) -> None:
    """One line per link, whole, for logs and pipes."""
    for one in found:
        line = f"{_MARKS[one.state][0]} {one.title}: {_line(one.seen)}" + (f"; {_line(one.cure)}" if one.cure else "")
        out.print(Text(line), soft_wrap=True)


def _line(text: str) -> str:
    """Return a text of others as one printable line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _as_json(found: tuple[Finding, ...], seen: Seen) -> dict[str, Any]:
    first = worst(found)
    return {
        "answer": headline(found, seen),
        "broken": first.id if first is not None and first.state is State.BROKEN else None,
        "plan": str(seen.plan) if seen.plan is not None else None,
        "links": [{**asdict(one), "state": one.state.value} for one in found],
    }
