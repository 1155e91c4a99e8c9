"""How our own port is guarded: types of the parsed configuration that hold no secret. See `receiver.config.model`."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """A header in which a proxy says who signed in there; believed from these addresses only."""

    header: str
    trusted: tuple[Network, ...]


@dataclass(frozen=True, slots=True)
class Visibility:
    """Who sees which stories: whom a cluster lets `get plans.forklift.konveyor.io` in a story's namespace."""

    groups_header: str = ""
    """In which a trusted proxy names the groups of who signed in, by commas; in lower case. Empty: no groups."""
    admin_groups: frozenset[str] = frozenset()
    admin_users: frozenset[str] = frozenset()
    """Who sees everything, and may do what concerns all."""
    cluster: str = ""
    """The cluster that is asked; empty: the story's own, else the default one."""
    fresh_s: float = 60.0
    """How long an answer counts."""


@dataclass(frozen=True, slots=True)
class ServerTLS:
    """Prometheus' `tls_server_config`, the parts that we need."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    client_auth_type: str = "NoClientCert"
    min_version: str = "TLS12"

    @property
    def only_known_clients(self) -> bool:
        """Is whoever shows no certificate of ours refused?"""
        return self.client_auth_type == "RequireAndVerifyClientCert"


@dataclass(frozen=True, slots=True)
class ListenLimits:
    """How much of us one who is connected may take."""

    max_connections: int = 512
    header_timeout_s: float = 10.0
    """From the first byte of a request, or the connection's begin, to the end of its headers."""
    body_timeout_s: float = 60.0
    """From there to the end of its body."""
    idle_timeout_s: float = 305.0
    """Between two requests: Alertmanager keeps an idle connection for 5 minutes."""
    max_header_bytes: int = 65_536
