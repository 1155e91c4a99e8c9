"""`check`: everything that is wrong with configuration and templates, before it hurts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.text import Text

from receiver.cli.common import Exit, problem_line
from receiver.cli.online import GOOD, REFUSED, SKIPPED, UNASKED, Asked, ask_all
from receiver.cli.output import JSON_OPTION, console, print_json, table
from receiver.config.load import check as check_config
from receiver.config.model import Config
from receiver.config.problems import Problem
from receiver.destinations.registry import ALL
from receiver.rendering.templates import Templates

_FILE = typer.Argument(metavar="[FILE]", envvar="MTV_RECEIVER_CONFIG", help="The configuration file.")
_MARKS = {GOOD: ("✓", "green"), REFUSED: ("✗", "red"), UNASKED: ("?", "yellow"), SKIPPED: ("–", "")}


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
    asked = asyncio.run(ask_all(config)) if online and config is not None else ()
    if as_json:
        print_json(_as_json(problems, asked, config))
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
    own = {one.templates_dir for one in config.destinations if one.templates_dir} if config else set()
    found: dict[Problem, None] = {}
    for key, folders in (("templates", [folder]), *(("template", [one, folder]) for one in sorted(own))):
        for one in Templates(*folders).problems:
            cure = one.cure or "correct the template"
            found.setdefault(Problem(one.file, one.line, one.column, key, one.what, cure))
    seen: set[tuple[str, int, str]] = set()
    for problem in found:  # what both folders lead to is said once
        if (place := (problem.file, problem.line, problem.what)) not in seen:
            seen.add(place)
            yield problem


def _templates_of(file: Path) -> Path | None:
    """Return the folder that a broken configuration names, so that all problems show at once."""
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return None
    name = document.get("templates") if isinstance(document, dict) else None
    return file.absolute().parent / name if isinstance(name, str) and name else None


# --- telling ---


def _print(
    out: Console, file: Path, config: Config | None, problems: Sequence[Problem], asked: Sequence[Asked]
) -> None:
    for problem in problems:
        out.print(problem_line(problem), soft_wrap=True)
    warnings = sum(problem.warning for problem in problems)
    counts = [(len(problems) - warnings, "problem"), (warnings, "warning")]
    said = ", ".join(_counted(number, word) for number, word in counts if number)
    if config is not None:
        had = f"{_counted(len(config.receivers), 'receiver')}, {_counted(len(config.destinations), 'destination')}"
        had += f", {_counted(len(config.included), 'included file')}" if config.included else ""
        said = f"good ({had})" + (f", {said}" if said else "") if len(problems) == warnings else said
    out.print(f"{file}: {said}", soft_wrap=True)
    if config is not None and config.shadow_notice:
        out.print(f"{config.shadow_notice} (see `mtv-receiver report --shadow`)", soft_wrap=True)
    if asked:
        out.print()
        (_table if out.is_terminal else _lines)(out, asked)


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _table(out: Console, asked: Sequence[Asked]) -> None:
    """One row per thing; rules stand below, where a terminal does not break them."""
    shown = table("", "ASKED", "ANSWER", "DETAIL", stretch="DETAIL")
    for one in asked:
        mark, style = _MARKS[one.result]
        detail = f"{one.detail}; {'add its rule below' if one.rule else one.cure}" if one.cure else one.detail
        shown.add_row(Text(mark, style), Text(one.what), Text(one.result, style), Text(detail))
    out.print(shown)
    rules = dict.fromkeys(one.rule for one in asked if one.rule)
    if rules:
        out.print("\nAdd to the ClusterRole:")
        for rule in rules:
            out.print(f"  {rule}", soft_wrap=True)


def _lines(out: Console, asked: Sequence[Asked]) -> None:
    """One line per thing, whole, for logs and pipes."""
    for one in asked:
        said = (one.result, one.detail) if one.detail else (one.result,)
        line = f"{_MARKS[one.result][0]} {one.what}: {': '.join(said)}" + (f"; {one.cure}" if one.cure else "")
        out.print(line, soft_wrap=True)


def _as_json(problems: Sequence[Problem], asked: Sequence[Asked], config: Config | None) -> dict[str, Any]:
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
        "asked": [asdict(one) for one in asked],
        "shadow": list(config.shadowed) if config is not None else [],
    }
