"""A private certificate authority, made when a test asks for it. Needs the command `openssl`."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.servers import need

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, PEM files."""

    cert: Path
    key: Path

    def server_context(self, *, clients_of: Path | None = None) -> ssl.SSLContext:
        """Return the server's side; with `clients_of` (a CA file) clients must show a certificate of that CA."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert, self.key)
        if clients_of is not None:
            context.load_verify_locations(clients_of)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority:
    """Signs certificates; `ca_file` is what others trust it by."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder, self._name = folder, name
        self.ca_file = folder / f"{name}.pem"
        self._key = folder / f"{name}.key"
        usage = ("-addext", "keyUsage=critical,keyCertSign")
        _req("-subj", f"/CN={name}", "-keyout", str(self._key), "-out", str(self.ca_file), *usage)

    def issue(self, *names: str) -> Certificate:
        """Return a certificate for these host names (or for a client of the first name)."""
        stem = f"{self._name}-{names[0]}"
        made = Certificate(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        alternatives = ",".join(f"DNS:{name}" for name in names)
        _req(
            *("-subj", f"/CN={names[0]}", "-keyout", str(made.key), "-out", str(made.cert)),
            *("-CA", str(self.ca_file), "-CAkey", str(self._key)),
            *("-addext", "basicConstraints=critical,CA:FALSE", "-addext", f"subjectAltName={alternatives}"),
        )
        return made


def _req(*options: str) -> None:
    openssl = need("openssl", "openssl")
    subprocess.run([openssl, "req", "-x509", *KEY, *options], check=True, capture_output=True)
