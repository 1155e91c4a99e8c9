"""`db upgrade`: bring the database to the schema of this version."""

from __future__ import annotations

from contextlib import nullcontext

import typer
from sqlalchemy.exc import SQLAlchemyError

from receiver.cli.common import Exit, database_url
from receiver.cli.database import current_schema, file_of
from receiver.cli.output import JSON_OPTION, console, fail, print_json
from receiver.store.upgrade import FileLock, LockedError, NewerSchemaError, upgrade

app = typer.Typer(help="The database.", no_args_is_help=True)


@app.callback()
def _db() -> None:
    """Keep `upgrade` a command of its own."""


@app.command("upgrade")
def db_upgrade(as_json: bool = JSON_OPTION) -> None:
    """Bring the database to the schema of this version. `serve` does the same when it starts."""
    url = database_url(create=True)
    file = file_of(url)
    name = str(file) if file else "the database"
    try:
        with FileLock(file) if file else nullcontext():
            before = current_schema(url)
            after = upgrade(url)
    except LockedError:
        cure = "nothing is to be done: it has upgraded it already; stop it first to use another version"
        fail(Exit.UNASKED, f"{name} is in use by a running `serve`", cure)
    except NewerSchemaError as error:
        fail(Exit.NO, f"{name}: {error}", "or restore a backup")
    except (SQLAlchemyError, OSError, ImportError) as error:
        said = getattr(error, "orig", None) or error
        fail(Exit.UNASKED, f"{name} cannot be used: {said}", "check that this user may write it")
    if as_json:
        print_json({"database": name, "before": before, "after": after})
    else:
        done = f"is at schema {after}" if before == after else f"upgraded from {before or 'nothing'} to {after}"
        console().print(f"{name}: {done}", soft_wrap=True)
