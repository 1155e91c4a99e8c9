"""Where mail is handed over. What speaks SMTP to it, `email_smtp`, is loaded with the first mail."""

from __future__ import annotations

from dataclasses import dataclass

from receiver.config.model import TLS, Secret

IMPLICIT_TLS_PORT = 465


@dataclass(frozen=True, slots=True)
class Server:
    """Where mail is handed over, and how."""

    host: str
    port: int
    hello: str
    require_tls: bool
    implicit_tls: bool
    tls: TLS
    username: str
    password: Secret | None
    timeout_s: float
