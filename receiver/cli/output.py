"""How commands speak: results to stdout, one line with the cure to stderr when something is wrong."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from receiver.cli.common import Exit

JSON_OPTION = typer.Option(False, "--json", help="Print JSON.")
WIDE = 110
"""From so many columns on, tables show what is nice to know, too."""


def console() -> Console:
    """Return a console for results: as wide as the terminal, or as COLUMNS says, else 80."""
    return Console(highlight=False, markup=False, emoji=False)


def print_json(value: Any) -> None:
    """Print a result as JSON."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def fail(code: Exit, what: str, cure: str) -> NoReturn:
    """Say in one line what is wrong and what helps, and exit."""
    line = " ".join(f"{what}; {cure}".split())
    sys.stderr.write(f"{line}\n")
    raise typer.Exit(code)


def table(*headers: str, stretch: str = "") -> Table:
    """Return a table without lines. Only the column `stretch` may wrap; the others keep their width."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for header in headers:
        grows = header == stretch
        made.add_column(header, overflow="fold", no_wrap=not grows, ratio=1 if grows else None)
    return made


def pairs(rows: list[tuple[str, str]]) -> Table:
    """Return names beside their values; values wrap beside their name."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value:
            made.add_row(name, Text(value))
    return made


def moment(at: datetime | None) -> str:
    """Return `2026-11-21 10:48` in UTC, or the empty string."""
    return f"{at:%Y-%m-%d %H:%M}" if at else ""
