"""The signed-in HTTP client of one API server, and how its failures become ClusterErrors.

lightkube reads the kubeconfig or the service account, makes the TLS context and signs requests (a token file is read
again after a 401). Rotated certificates and rewritten kubeconfig files are its gap: this module builds a new client
when the files behind a refused call have changed.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx2
from lightkube.config.client_adapter import AsyncClient, ConnectionParams, verify_cluster
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError

from receiver.config.model import TLS, HttpConfig
from receiver.http import DIRECT, Transport, tls_files
from receiver.kube import ClusterError, Reason
from receiver.kube.account import ACCOUNT

_LIMITS = httpx2.Limits(max_connections=100, max_keepalive_connections=20)
MESSAGE_MAX = 300  # characters of a server's own text in a message


@dataclass(frozen=True, slots=True)
class Source:
    """Where the address and the credentials of a cluster come from."""

    what: str
    """For messages: "kubeconfig /etc/east.yaml"."""
    load: Callable[[], SingleConfig]
    files: tuple[Path, ...]
    """When one of these changes, a new client is worth a try."""


def kubeconfig(path: Path, context: str | None = None) -> Source:
    """Return a source that reads a kubeconfig file; nothing is read before the first call."""

    def load() -> SingleConfig:
        config = KubeConfig.from_file(path).get(context)
        if config is None:
            raise ConfigError("no current context")
        user = config.user or User()
        if user.token_file is not None:
            user.token_file = str(config.abs_file(user.token_file))
        return config._replace(user=user)

    return Source(f"kubeconfig {path}", load, (path,))


def service_account(folder: Path = ACCOUNT) -> Source:
    """Return a source for the account that Kubernetes mounts into every pod."""

    def load() -> SingleConfig:
        config = KubeConfig.from_service_account(folder).get()
        if config is None:
            raise ConfigError("no current context")
        return config

    return Source(f"service account {folder}", load, (folder / "ca.crt",))


class _Lease:
    """A client and the calls that use it; it is closed when it is retired and the last call has ended."""

    def __init__(self, client: httpx2.AsyncClient, digest: str) -> None:
        self.client = client
        self.digest = digest
        self.users = 0
        self.retired = False

    async def leave(self) -> None:
        self.users -= 1
        await self.close_if_idle()

    async def close_if_idle(self) -> None:
        if self.retired and self.users == 0:
            await self.client.aclose()


class Connection:
    """One cluster's client, made at the first call and made anew when its files have changed."""

    def __init__(
        self,
        cluster: str,
        source: Source,
        *,
        timeout: httpx2.Timeout,
        trust_env: bool,
        http: HttpConfig = DIRECT,
    ) -> None:
        """``http`` says the way there; with a default one ``trust_env`` takes the proxies of the environment."""
        self._cluster = cluster
        self._http = http
        self._source = source
        self._timeout = timeout
        self._trust_env = trust_env
        self._lease: _Lease | None = None
        self._making = asyncio.Lock()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx2.AsyncClient]:
        """Lend the client for one call."""
        async with self._making:
            if self._lease is None:
                self._lease = await asyncio.to_thread(self._make)
            lease = self._lease
            lease.users += 1
        try:
            yield lease.client
        finally:
            await asyncio.shield(lease.leave())

    async def renew(self) -> bool:
        """Retire the client if its files have changed since it was made; tell whether another try is worth it."""
        async with self._making:
            if self._lease is None or await asyncio.to_thread(self._digest) == self._lease.digest:
                return False
            retired, self._lease = self._lease, None
        retired.retired = True
        await retired.close_if_idle()
        return True

    async def aclose(self) -> None:
        async with self._making:
            lease, self._lease = self._lease, None
        if lease is not None:
            lease.retired = True
            await lease.close_if_idle()

    def _make(self) -> _Lease:
        digest = self._digest()
        self._look_for_files()
        try:
            config = _with_tls(self._source.load(), self._http.tls)
            # The service account's token file is read once more by lightkube at each 401.
            params = ConnectionParams(timeout=self._timeout, trust_env=self._trust_env)
            if self._http != DIRECT:
                context = verify_cluster(config.cluster, config.user or User(), config.abs_file, trust_env=False)
                params.transport = cast(
                    Any, Transport(self._http, _LIMITS, context)
                )  # lightkube names only the blocking kind
            return _Lease(AsyncClient(config, params), digest)
        except (ConfigError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
            # The error's own text may quote the file, and so a token: only its kind is told.
            raise ClusterError(
                "unauthorized", f"cluster {self._cluster}: {self._source.what} cannot be used ({_short(error)})"
            ) from None
        except Exception as error:  # yaml and msgspec have trees of their own
            raise ClusterError(
                "unauthorized", f"cluster {self._cluster}: {self._source.what} cannot be read ({_short(error)})"
            ) from None

    def _look_for_files(self) -> None:
        for name, file in tls_files(self._http.tls):
            if not file.is_file():
                text = f"cluster {self._cluster}: there is no {name} {file}; create or mount it"
                raise ClusterError("unauthorized", text)

    def _digest(self) -> str:
        digest = hashlib.sha256()
        for path in (*self._source.files, *(file for _, file in tls_files(self._http.tls))):
            try:
                digest.update(path.read_bytes())
            except OSError:
                digest.update(b"unreadable")
        return digest.hexdigest()


def _with_tls(config: SingleConfig, tls: TLS) -> SingleConfig:
    """Return what kubeconfig or service account say, with what `tls_config` says instead."""
    cluster, user = copy.copy(config.cluster), copy.copy(config.user or User())
    if tls.insecure_skip_verify:
        cluster.insecure, cluster.certificate_auth, cluster.certificate_auth_data = True, None, None
    elif tls.ca_file is not None:
        cluster.insecure, cluster.certificate_auth, cluster.certificate_auth_data = False, str(tls.ca_file), None
    if tls.cert_file is not None:
        user.client_cert, user.client_cert_data = str(tls.cert_file), None
        user.client_key, user.client_key_data = str(tls.key_file), None
    return config._replace(cluster=cluster, user=user)


def _short(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    if isinstance(error, ConfigError):
        return "file not found" if "not found" in str(error) else "not a usable configuration"
    return type(error).__name__


def from_http_error(cluster: str, error: httpx2.HTTPError | httpx2.InvalidURL) -> ClusterError:
    """Name a failure of the connection."""
    text = " ".join(str(error).split())[:MESSAGE_MAX] or type(error).__name__
    if isinstance(error, httpx2.TimeoutException):
        return ClusterError("timeout", f"cluster {cluster} does not answer ({type(error).__name__})")
    if isinstance(error, httpx2.ProxyError):
        return ClusterError("unreachable", f"cluster {cluster} cannot be reached: the proxy refuses ({text})")
    if isinstance(error, httpx2.TransportError):
        return ClusterError("unreachable", f"cluster {cluster} cannot be reached ({text})")
    return ClusterError("bad answer", f"cluster {cluster} sent what cannot be read ({text})")


def from_status(cluster: str, code: int, body: bytes, needs: str, what: str) -> ClusterError:
    """Name a refused call. ``needs`` is the right it takes ("get pods/log in namespace x"), ``what`` its object."""
    said = status_message(body)
    told = f": {said}" if said else ""
    if code == 401:
        return ClusterError("unauthorized", f"cluster {cluster} refuses the credentials (401)")
    if code == 403:
        return ClusterError("forbidden", f"forbidden on cluster {cluster}: needs {needs}")
    if code == 404:
        return ClusterError("not found", f"cluster {cluster} has no {what}{told}")
    if code == 410:
        return ClusterError("gone", f"cluster {cluster}: the list of {what} is too old{told}")
    reason: Reason = "unreachable" if code in {429, 502, 503, 504} else "bad answer"
    return ClusterError(reason, f"cluster {cluster} answers {code} for {what}{told}")


def status_message(body: bytes) -> str:
    """Return the message of a Kubernetes Status, one short line; empty if the body is something else."""
    message = as_status(body).get("message")
    return " ".join(message.split())[:MESSAGE_MAX] if isinstance(message, str) else ""


def as_status(body: bytes) -> Mapping[str, Any]:
    """Return the body as a Kubernetes Status; empty if it is something else."""
    try:
        status = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return status if isinstance(status, dict) and status.get("kind") == "Status" else {}
