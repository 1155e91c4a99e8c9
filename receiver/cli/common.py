"""What the commands share: exit codes, where things are, loading the configuration."""

from __future__ import annotations

import os
import sys
from enum import IntEnum
from pathlib import Path

import typer

from receiver.config.load import check
from receiver.config.model import Config
from receiver.config.problems import Problem
from receiver.destinations.registry import ALL
from receiver.store.engine import sqlite_url


class Exit(IntEnum):
    """0 good; 1 the answer is no, or problems were found; 2 wrong usage; 3 could not be asked."""

    GOOD = 0
    NO = 1
    USAGE = 2
    UNASKED = 3


CONFIG_OPTION = typer.Option(
    "routes.yaml", "--config", "-c", envvar="MTV_RECEIVER_CONFIG", help="The configuration file."
)


def problem_line(problem: Problem) -> str:
    """Return a problem of the configuration as a line; a warning says that it is one."""
    return problem.printed


def load_or_exit(path: Path) -> Config:
    """Return the configuration, or print every problem (the same lines as `check`) and exit 1."""
    config, problems = check(path, ALL)
    for problem in problems:
        sys.stderr.write(f"{problem_line(problem)}\n")
    if config is None:
        raise typer.Exit(Exit.NO)
    return config


def database_url(*, create: bool) -> str:
    """Return where the database is: MTV_RECEIVER_DATABASE_URL, else SQLite in MTV_RECEIVER_DATA (default ./data)."""
    url = os.environ.get("MTV_RECEIVER_DATABASE_URL", "")
    if url:
        return url
    folder = Path(os.environ.get("MTV_RECEIVER_DATA", "data"))
    if create:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return sqlite_url(folder / "mtv-receiver.db")
