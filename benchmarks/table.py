"""Rows of figures with their goals, and how a command of this folder ends."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. `met` is None where there is no goal; `ratio` where noise of the machine cancels out."""

    what: str
    measured: str
    goal: str = ""
    met: bool | None = None
    ratio: bool = False


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Return `median (least to most)`."""
    if len(values) == 1:
        return form.format(values[0])
    low, middle, high = (form.format(one) for one in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})"


def show(title: str, rows: Sequence[Row]) -> None:
    """Print rows as one table."""
    table = Table(title=title, title_justify="left", show_lines=False)
    for name in ("what", "measured", "goal", ""):
        table.add_column(name, overflow="fold")
    marks = {None: "", True: "met", False: "MISSED"}
    for row in rows:
        table.add_row(row.what, row.measured, row.goal, marks[row.met])
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def arguments(doc: str | None) -> argparse.ArgumentParser:
    """Return a parser with what every command takes."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strict", action="store_true", help="end with 1 when a goal is missed")
    parser.add_argument("--rows", type=Path, help="write the figures there as JSON lines, too")
    return parser


def end(title: str, rows: Sequence[Row], given: argparse.Namespace) -> int:
    """Show the rows and return the exit code. Only what does not depend on the machine's speed counts for it."""
    show(title, rows)
    if given.rows is not None:
        with given.rows.open("a") as out:
            out.writelines(json.dumps(asdict(row)) + "\n" for row in rows)
    return int(given.strict and any(row.met is False and row.ratio for row in rows))
