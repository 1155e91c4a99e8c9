"""`mtv-receiver` and `python -m receiver`."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typer.main import get_group

from receiver.logs import set_up

COMMANDS: Final = {
    "serve": "serve",
    "check": "check",
    "explain": "explain",
    "send-test": "send_test",
    "audit": "audit",
    "diagnose": "diagnose",
    "capacity": "capacity",
    "handover": "handover",
    "report": "report",
    "doctor": "doctor",
    "stories": "stories",
    "deliveries": "deliveries",
    "db": "db",
    "config": "config",
}
"""Command → module of `receiver.cli`: a group as `app`, or a function of the module's name. Imported when asked for."""


_FORM: Final[dict[str, Any]] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": None,
}


@contextmanager
def _without_collector() -> Iterator[None]:
    """Import without looking for garbage: what is imported stays, and to go through it costs a fifth of the start.

    Nor is it looked through later, when an alert waits for the processor.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _Commands(TyperGroup):
    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            # Typer repeats how its own checker calls the kind of mistake.
            error.message = error.message.removeprefix("Value error, ")
            raise

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        with _without_collector():
            module = import_module(f"receiver.cli.{COMMANDS[cmd_name]}")
        one = typer.Typer(callback=_root, **_FORM)
        if group := getattr(module, "app", None):
            one.add_typer(group, name=cmd_name)
        else:
            one.command(cmd_name)(getattr(module, COMMANDS[cmd_name]))
        return get_group(one).commands[cmd_name]


def _root() -> None:
    """Alertmanager webhook receiver and notification router for VM migrations."""


app = typer.Typer(cls=_Commands, name="mtv-receiver", callback=_root, no_args_is_help=True, **_FORM)


def main() -> None:
    """Run the command line; whatever is logged on the way goes to stderr."""
    set_up(os.environ.get("MTV_RECEIVER_LOG_FORMAT", "text"), "WARNING")
    app()


if __name__ == "__main__":
    main()
