"""`config schema`, `config reference`: what routes.yaml may hold, for editors and for people."""

from __future__ import annotations

from typing import Annotated

import typer

from receiver.cli.output import print_json
from receiver.config.jsonschema import schema
from receiver.config.reference import reference
from receiver.destinations.registry import ALL

app = typer.Typer(help="The configuration file.", no_args_is_help=True)


@app.command("schema")
def config_schema(
    include: Annotated[bool, typer.Option("--include", help="Of a file that routes.yaml includes.")] = False,
) -> None:
    """Print the JSON schema of routes.yaml, or of a file that it includes, for editors."""
    print_json(schema(ALL, included=include))


@app.command("reference")
def config_reference() -> None:
    """Print every key of routes.yaml with its type, default and meaning, as Markdown."""
    typer.echo(reference(schema(ALL)), nl=False)
