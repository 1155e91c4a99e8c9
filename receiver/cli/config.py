"""`config schema`: the JSON schema of routes.yaml."""

from __future__ import annotations

import typer

from receiver.cli.output import print_json
from receiver.config.jsonschema import schema
from receiver.destinations.registry import ALL

app = typer.Typer(help="The configuration file.", no_args_is_help=True)


@app.callback()
def _config() -> None:
    """Keep `schema` a command of its own."""


@app.command("schema")
def config_schema() -> None:
    """Print the JSON schema of routes.yaml, for editors."""
    print_json(schema(ALL))
