"""`config schema`: the JSON schemas of routes.yaml and of what it includes."""

from __future__ import annotations

from typing import Annotated

import typer

from receiver.cli.output import print_json
from receiver.config.jsonschema import schema
from receiver.destinations.registry import ALL

app = typer.Typer(help="The configuration file.", no_args_is_help=True)


@app.callback()
def _config() -> None:
    """Keep `schema` a command of its own."""


@app.command("schema")
def config_schema(
    include: Annotated[bool, typer.Option("--include", help="Of a file that routes.yaml includes.")] = False,
) -> None:
    """Print the JSON schema of routes.yaml, or of a file that it includes, for editors."""
    print_json(schema(ALL, included=include))
