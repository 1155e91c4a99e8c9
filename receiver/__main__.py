"""`mtv-receiver` and `python -m receiver`."""

from __future__ import annotations

import os

import typer

from receiver.cli import config, db, deliveries, diagnose, stories
from receiver.cli.audit import audit
from receiver.cli.check import check
from receiver.cli.explain import explain
from receiver.cli.send_test import send_test
from receiver.cli.serve import serve
from receiver.logs import set_up

app = typer.Typer(
    name="mtv-receiver",
    help="Alertmanager webhook receiver and notification router for VM migrations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(serve)
app.command()(check)
app.command()(explain)
app.command("send-test")(send_test)
app.command()(audit)
app.add_typer(diagnose.app, name="diagnose")
app.add_typer(stories.app, name="stories")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(db.app, name="db")
app.add_typer(config.app, name="config")


def main() -> None:
    """Run the command line; whatever is logged on the way goes to stderr."""
    set_up(os.environ.get("MTV_RECEIVER_LOG_FORMAT", "text"), "WARNING")
    app()


if __name__ == "__main__":
    main()
