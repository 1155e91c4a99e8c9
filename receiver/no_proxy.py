"""Which hosts are reached past the proxy."""

from __future__ import annotations

import ipaddress
import re


def bypasses(host: str, port: int | None, no_proxy: str) -> bool:
    """Judge `no_proxy` as Go does, and so Alertmanager: hosts with their subdomains, `.domain`, addresses, networks.

    This machine is never reached through a proxy.
    """
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for entry in filter(None, (part.strip().lower() for part in no_proxy.split(","))):
        name, _, wanted_port = entry.rpartition(":") if re.fullmatch(r"[^:]+:\d+", entry) else (entry, "", "")
        if wanted_port and wanted_port != str(port or ""):
            continue
        if name == "*" or _covers(name, host.lower(), address):
            return True
    return False


def _covers(name: str, host: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if address is not None:
        try:
            return address in ipaddress.ip_network(name.strip("[]"), strict=False)
        except ValueError:
            return False
    domain = name.removeprefix("*")
    return host == domain or host.endswith(domain if domain.startswith(".") else f".{domain}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
