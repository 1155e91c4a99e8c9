"""`check`: everything that is wrong with configuration and templates, before it hurts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.text import Text

from receiver import build
from receiver.attempt import Destination
from receiver.cli.common import Exit, problem_line
from receiver.cli.output import JSON_OPTION, console, print_json, table
from receiver.config.load import check as check_config
from receiver.config.model import ClusterConfig, Config, SecretError
from receiver.config.problems import Problem
from receiver.destinations.registry import ALL
from receiver.errors import DeliveryError, Transient, Unknown
from receiver.kube import ClusterError
from receiver.rendering.templates import Templates

_FILE = typer.Argument(metavar="[FILE]", envvar="MTV_RECEIVER_CONFIG", help="The configuration file.")
_PROBE_PLAN = "mtv-receiver-check"
"""A plan of this name is looked for to see whether plans may be listed."""
GOOD, REFUSED, UNASKED, SKIPPED = "good", "refused", "not asked", "skipped"
_STYLES = {GOOD: "green", REFUSED: "red", UNASKED: "yellow", SKIPPED: ""}


@dataclass(frozen=True, slots=True)
class Asked:
    """What one destination or cluster answered."""

    what: str
    result: str
    detail: str


def check(
    file: Annotated[Path, _FILE] = Path("routes.yaml"),
    online: Annotated[
        bool, typer.Option("--online", help="Also ask every destination and cluster, without posting.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as problems.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Print all problems of configuration and templates, each with its place and its cure."""
    config, found = check_config(file, ALL)
    problems = sorted([*found, *_template_problems(file, config)])
    asked = asyncio.run(_ask_all(config)) if online and config is not None else ()
    if as_json:
        print_json(_as_json(problems, asked))
    else:
        _print(console(), file, config, problems, asked)
    if any(strict or not problem.warning for problem in problems) or any(one.result == REFUSED for one in asked):
        raise typer.Exit(Exit.NO)
    if any(one.result == UNASKED for one in asked):
        raise typer.Exit(Exit.UNASKED)


def _template_problems(file: Path, config: Config | None) -> Iterator[Problem]:
    folder = config.templates_dir if config else _templates_of(file)
    if folder is not None and not folder.is_dir():
        return  # said already, at the key
    for one in Templates(folder).problems:
        yield Problem(one.file, one.line, 1, "templates", one.what, one.cure or "correct the template")


def _templates_of(file: Path) -> Path | None:
    """Return the folder that a broken configuration names, so that all problems show at once."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return None
    name = document.get("templates") if isinstance(document, dict) else None
    return file.absolute().parent / name if isinstance(name, str) and name else None


# --- asking ---


async def _ask_all(config: Config) -> tuple[Asked, ...]:
    words = build.renderer(config, lambda _: None)
    async with build.destinations(config, words) as destinations:
        asking = [_probe(one) for one in destinations.values()] + [_ask_cluster(one) for one in config.clusters]
        return tuple(await asyncio.gather(*asking))


async def _probe(destination: Destination) -> Asked:
    label, limit = destination.config.label, destination.config.manners.timeout_s
    try:
        async with asyncio.timeout(limit):
            await destination.sender.probe()
    except TimeoutError:
        return Asked(label, UNASKED, f"no answer within {limit:g} s")
    except (Transient, Unknown) as error:
        return Asked(label, UNASKED, error.reason)
    except DeliveryError as error:
        return Asked(label, REFUSED, error.reason)
    except SecretError as error:
        return Asked(label, REFUSED, str(error))
    return Asked(label, GOOD, "")


async def _ask_cluster(config: ClusterConfig) -> Asked:
    what = f"cluster {config.name}"
    cluster = build.cluster(config)
    if cluster is None:
        return Asked(what, SKIPPED, "not in a pod, and no kubeconfig_file: there is nobody to ask")
    try:
        version = await cluster.version()
        await cluster.find_plans(_PROBE_PLAN)
    except ClusterError as error:
        away = error.reason in ("unreachable", "timeout")
        return Asked(what, UNASKED if away else REFUSED, error.message)
    finally:
        await cluster.aclose()
    return Asked(what, GOOD, version)


# --- telling ---


def _print(
    out: Console, file: Path, config: Config | None, problems: Sequence[Problem], asked: Sequence[Asked]
) -> None:
    for problem in problems:
        out.print(problem_line(problem), soft_wrap=True)
    warnings = sum(problem.warning for problem in problems)
    counts = [(len(problems) - warnings, "problem"), (warnings, "warning")]
    said = ", ".join(f"{n} {word}{'s' if n > 1 else ''}" for n, word in counts if n)
    if config is not None:
        had = f"{len(config.receivers)} receivers, {len(config.destinations)} destinations"
        said = f"good ({had})" + (f", {said}" if said else "") if len(problems) == warnings else said
    out.print(f"{file}: {said}", soft_wrap=True)
    if asked:
        shown = table("ASKED", "ANSWER", "DETAIL", stretch="DETAIL")
        for one in asked:
            shown.add_row(Text(one.what), Text(one.result, _STYLES[one.result]), Text(one.detail))
        out.print()
        out.print(shown)


def _as_json(problems: Sequence[Problem], asked: Sequence[Asked]) -> dict[str, Any]:
    return {
        "problems": [
            {
                "file": one.file,
                "line": one.line,
                "column": one.column,
                "key": one.key,
                "what": one.what,
                "cure": one.cure,
                "warning": one.warning,
            }
            for one in problems
        ],
        "asked": [{"what": one.what, "result": one.result, "detail": one.detail} for one in asked],
    }
