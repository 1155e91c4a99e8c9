"""The certificate of our own port, as it is on disk now: a new file counts for the next connection.

Kubernetes replaces all files of a mounted Secret at once, people one after the other. What does not fit together yet is
tried again once a file changes; until then the last one that did is used.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import structlog

from receiver.config.listening import ServerTLS

log = structlog.get_logger(__name__)

_MINIMUM: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_CLIENTS: Final = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_Stamp = tuple[tuple[int, int, int], ...]


class CertificateError(Exception):
    """The files cannot be used; the message says which and what helps."""


class Certificates:
    """Gives the context for our port. Connections that stand keep what they were opened with."""

    def __init__(self, tls: ServerTLS) -> None:
        """Raise CertificateError where the files cannot be used now."""
        self._tls = tls
        self._stamp = self._stamps()
        self._current = self._made()
        self.context = self._made()
        """For the server; each handshake is handed to a context of the files as they are then."""
        self.context.sni_callback = self._hand_over

    def _hand_over(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Called at the begin of every handshake, also without a server name."""
        self._look()
        connection.context = self._current

    def _look(self) -> None:
        try:
            stamp = self._stamps()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._current = self._made()
        except CertificateError as error:
            log.error("tls.not_reloaded", error=str(error))
        else:
            log.info("tls.reloaded", cert_file=str(self._tls.cert_file))

    def _made(self) -> ssl.SSLContext:
        tls = self._tls
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _MINIMUM[tls.min_version]
        context.verify_mode = _CLIENTS[tls.client_auth_type]
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(tls.cert_file, tls.key_file, password=_no_password)
            if tls.client_ca_file is not None:
                context.load_verify_locations(tls.client_ca_file)
        except (ssl.SSLError, OSError, ValueError) as error:
            why = getattr(error, "reason", None) or getattr(error, "strerror", None) or "encrypted, or no PEM text"
            files = " and ".join(str(file) for file in self._files())
            what = f"no usable certificate and key in {files} ({str(why).lower().replace('_', ' ')})"
            raise CertificateError(f"{what}; each must hold PEM text, and the key belong to the certificate") from None
        return context

    def _stamps(self) -> _Stamp:
        found = []
        for file in self._files():
            try:
                status = file.stat()
            except OSError as error:
                raise CertificateError(f"{file} cannot be read ({error.strerror}); create or mount it") from None
            found.append((status.st_mtime_ns, status.st_ino, status.st_size))
        return tuple(found)

    def _files(self) -> tuple[Path, ...]:
        files = (self._tls.cert_file, self._tls.key_file, self._tls.client_ca_file)
        return tuple(file for file in files if file is not None)


def _no_password() -> str:
    raise ValueError("encrypted")  # without this, OpenSSL would ask on the terminal
