"""`http_config`: as it is written, and resolved."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from receiver.config.model import TLS, HttpConfig, Secret
from receiver.config.positions import Path
from receiver.config.problems import Problems
from receiver.config.secret_files import warn_of_missing
from receiver.config.settings import PathFromFile, Settings, Url


class BasicAuthWire(Settings):
    """User name and password."""

    secrets = ("password",)

    username: str = Field(min_length=1)
    password: Secret


class AuthorizationWire(Settings):
    """An `Authorization: TYPE CREDENTIALS` header."""

    secrets = ("credentials",)

    type: str = Field(default="Bearer", pattern=r"^[A-Za-z0-9-]+$")
    credentials: Secret

    @model_validator(mode="after")
    def _not_basic(self) -> Self:
        if self.type.lower() == "basic":
            raise ValueError('the type cannot be "Basic"; write basic_auth with username and password_file')
        return self


class TLSWire(Settings):
    """How to trust the peer and be trusted by it."""

    ca_file: PathFromFile | None = None
    cert_file: PathFromFile | None = None
    key_file: PathFromFile | None = None
    server_name: str = ""
    insecure_skip_verify: bool = False

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file belong together; give both or none")
        return self


class TransportWire(Settings):
    """How to reach an HTTP peer."""

    proxy_url: Url | None = None
    no_proxy: str = ""
    """Hosts, domains, addresses and networks that are reached without the proxy, comma-separated."""
    proxy_from_environment: bool = False
    tls_config: TLSWire = TLSWire()
    follow_redirects: bool = False
    enable_http2: bool = False

    @model_validator(mode="after")
    def _one_proxy(self) -> Self:
        if self.proxy_url and self.proxy_from_environment:
            raise ValueError("proxy_url and proxy_from_environment exclude each other; keep one")
        if self.no_proxy and not self.proxy_url:
            raise ValueError("no_proxy without proxy_url has no effect; add proxy_url or remove it")
        return self


class HttpWire(TransportWire):
    """How to reach an HTTP peer and sign in there."""

    basic_auth: BasicAuthWire | None = None
    authorization: AuthorizationWire | None = None

    @model_validator(mode="after")
    def _one_sign_in(self) -> Self:
        if self.basic_auth and self.authorization:
            raise ValueError("basic_auth and authorization exclude each other; keep one")
        return self


def resolve_http(wire: TransportWire, path: Path, problems: Problems) -> HttpConfig:
    """Return the resolved form, and warn of what is accepted for Alertmanager's sake only."""
    if wire.follow_redirects:
        problems.warn((*path, "follow_redirects"), "no effect", "remove it: redirects are never followed")
    if wire.enable_http2:
        problems.warn((*path, "enable_http2"), "no effect", "remove it: HTTP/1.1 is used")
    tls = wire.tls_config
    if tls.insecure_skip_verify:
        what = "anybody on the way can read and change what is sent"
        problems.warn((*path, "tls_config", "insecure_skip_verify"), what, "trust the peer's CA by ca_file instead")
    for name, file in (("ca_file", tls.ca_file), ("cert_file", tls.cert_file), ("key_file", tls.key_file)):
        if file is not None and not file.is_file():
            problems.warn((*path, "tls_config", name), f"there is no file {file}", "create or mount it before serving")
    basic, authorization = (wire.basic_auth, wire.authorization) if isinstance(wire, HttpWire) else (None, None)
    if basic:
        warn_of_missing(basic.password, (*path, "basic_auth", "password_file"), problems)
    if authorization:
        warn_of_missing(authorization.credentials, (*path, "authorization", "credentials_file"), problems)
    return HttpConfig(
        username=basic.username if basic else "",
        password=basic.password if basic else None,
        authorization_type=authorization.type if authorization else "Bearer",
        credentials=authorization.credentials if authorization else None,
        proxy_url=wire.proxy_url or "",
        no_proxy=wire.no_proxy,
        proxy_from_environment=wire.proxy_from_environment,
        tls=TLS(tls.ca_file, tls.cert_file, tls.key_file, tls.server_name, tls.insecure_skip_verify),
    )
