"""`mtv-receiver` and `python -m receiver`."""

from __future__ import annotations

import typer

from receiver.cli.serve import serve

app = typer.Typer(
    name="mtv-receiver",
    help="Alertmanager webhook receiver and notification router for VM migrations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(serve)


@app.callback()
def _commands() -> None:
    """Keep `serve` a command of its own while there is only one."""


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
