"""`serve`: the service."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import structlog
import typer
import uvicorn

from receiver.app import build_app
from receiver.cli.common import CONFIG_OPTION, Exit, database_url, load_or_exit
from receiver.config.model import Config
from receiver.logs import set_up

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 5
SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while another waits: the store's thread asks for it at every statement."""


class Server(uvicorn.Server):
    """uvicorn's server, which ends with our exit code and not by raising the signal again."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop cleanly on SIGTERM and SIGINT."""
        old = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)


def serve(
    config: Path = CONFIG_OPTION,
    listen: str = typer.Option("127.0.0.1:9095", envvar="MTV_RECEIVER_LISTEN", help="HOST:PORT to listen on."),
    insecure: bool = typer.Option(False, help="Listen beyond loopback without authentication."),
) -> None:
    """Receive webhooks and deliver, until SIGTERM."""
    set_up(os.environ.get("MTV_RECEIVER_LOG_FORMAT", "text"))
    sys.setswitchinterval(SWITCH_S)
    host, port = address(listen)
    loaded = load_or_exit(config)
    if not insecure:
        refuse_open_door(loaded, host)
    dead: list[str] = []

    def on_fatal(why: str) -> None:
        dead.append(why)
        server.should_exit = True

    app = build_app(loaded, database_url(create=True), on_fatal=on_fatal)
    server = Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_TIMEOUT_S,
            timeout_keep_alive=305,  # Alertmanager keeps an idle connection for 5 minutes
        )
    )
    try:
        server.run()
    except SystemExit:
        raise typer.Exit(Exit.NO) from None
    if dead or not server.started:
        raise typer.Exit(Exit.NO)


def address(listen: str) -> tuple[str, int]:
    """Split HOST:PORT; exits 2 when it is none."""
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65_535:
        sys.stderr.write(f"--listen {listen}: not HOST:PORT; write for example 127.0.0.1:9095\n")
        raise typer.Exit(Exit.USAGE)
    return host.strip("[]"), int(port)


def refuse_open_door(config: Config, host: str) -> None:
    """Exit 1 rather than listen beyond loopback where anybody may post or read."""
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    missing = [
        name
        for name, auth in (("webhook_auth", config.web.webhook_auth), ("page_auth", config.web.page_auth))
        if auth.open
    ]
    if not loopback and missing:
        names = " and ".join(f"web.{name}" for name in missing)
        sys.stderr.write(
            f"{config.path}: {names} not set, so {host} would be open to all; set it, or give --insecure\n"
        )
        raise typer.Exit(Exit.NO)
