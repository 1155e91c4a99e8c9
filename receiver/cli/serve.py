"""`serve`: the service."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import structlog
import typer
import uvicorn

from receiver.app import build_app
from receiver.cli.common import CONFIG_OPTION, Exit, database_url, load_or_exit
from receiver.config.model import Config
from receiver.logs import set_up
from receiver.tls import CertificateError
from receiver.web.connections import HandshakesInTime, configured

log = structlog.get_logger(__name__)

STOP_TIMEOUT_S = 5
SWITCH_S = 0.0005
"""How long a thread may keep the interpreter while another waits: the store's thread asks for it at every statement."""


class Server(HandshakesInTime, uvicorn.Server):
    """uvicorn's server, which ends with our exit code and not by raising the signal again."""

    on_hangup: Callable[[], None] = staticmethod(lambda: None)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop cleanly on SIGTERM and SIGINT; SIGHUP reads the configuration again."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.on_hangup)
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

    app = build_app(
        loaded,
        database_url(create=True),
        on_fatal=on_fatal,
        veto=lambda new: "" if insecure else open_door(replace(new, web=replace(new.web, tls=loaded.web.tls)), host),
    )
    try:
        listener = configured(app, loaded.web, host=host, port=port, timeout_graceful_shutdown=STOP_TIMEOUT_S)
    except CertificateError as error:
        sys.stderr.write(f"{loaded.path}: web.tls_server_config: {error}\n")
        raise typer.Exit(Exit.NO) from None
    server = Server(listener)
    reloading: set[asyncio.Task[object]] = set()

    def hangup() -> None:
        task = asyncio.get_running_loop().create_task(app.state.reload("SIGHUP"))
        reloading.add(task)
        task.add_done_callback(reloading.discard)

    server.on_hangup = hangup
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
    if why := open_door(config, host):
        sys.stderr.write(f"{config.path}: {why}; set it, or give --insecure\n")
        raise typer.Exit(Exit.NO)


def open_door(config: Config, host: str) -> str:
    """Return what leaves this address open to anybody, or nothing."""
    web = config.web
    if web.tls is not None and web.tls.only_known_clients:
        return ""
    missing = [name for name, auth in (("webhook_auth", web.webhook_auth), ("page_auth", web.page_auth)) if auth.open]
    if not missing or is_loopback(host):
        return ""
    return f"{' and '.join(f'web.{name}' for name in missing)} not set, so {host} would be open to all"


def is_loopback(host: str) -> bool:
    """Does a name or address stand for this machine alone? What cannot be resolved does not."""
    try:
        found = {str(address[4][0]) for address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(_is_loopback(address) for address in found)


def _is_loopback(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
