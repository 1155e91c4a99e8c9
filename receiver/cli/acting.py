"""What people do with a story from the command line, beside a service that runs or not."""

from __future__ import annotations

import getpass
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from secrets import randbits

import typer

from receiver import build
from receiver.actions import COMMAND_LINE, Actions, Actor, Answer
from receiver.alertmanagers import Alertmanagers
from receiver.chosen import Senders
from receiver.cli.common import Exit, problem_line
from receiver.cli.database import with_store
from receiver.cli.output import console, print_json
from receiver.clock import SystemClock
from receiver.config.load import check
from receiver.destinations.registry import ALL
from receiver.store.engine import Store
from receiver.telling import Teller

BY_OPTION = typer.Option("", "--by", metavar="NAME", help="Who you are, as people know you; else your user name.")


def actor(by: str) -> Actor:
    """Return who acts: `by`, else the user of this machine."""
    name = by.strip()
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):  # a container's user may have no name
            name = "somebody"
    return Actor(name, COMMAND_LINE)


def act(config: Path, work: Callable[[Actions], Awaitable[Answer]], *, as_json: bool) -> None:
    """Do it, print what came of it, and exit 1 where it was refused. A running service notices within seconds."""
    loaded, problems = check(config, ALL)
    if loaded is None:  # warnings are for `check`: they would be in the way here
        typer.echo("\n".join(problem_line(one) for one in problems if not one.warning), err=True)
        raise typer.Exit(Exit.NO)

    async def run(store: Store) -> Answer:
        async with AsyncExitStack() as stack:
            alertmanagers = Alertmanagers(loaded.alertmanagers)
            stack.push_async_callback(alertmanagers.aclose)
            made = await stack.enter_async_context(build.destinations(loaded, build.renderer(loaded, lambda _: None)))
            teller = Teller(loaded, Senders(made), lambda: randbits(80))
            return await work(Actions(store, loaded, teller, alertmanagers, SystemClock()))

    answer = with_store(run)
    if as_json:
        print_json({"done": answer.done, "text": answer.text})
    elif answer.done:
        console().print(answer.text, soft_wrap=True)
    else:
        typer.echo(answer.text, err=True)
    if not answer.done:
        raise typer.Exit(Exit.NO)
