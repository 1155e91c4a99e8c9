"""The section `web:`: who may call, and how our own port is guarded."""

from __future__ import annotations

from receiver.config.listening import ListenLimits, ProxyHeader, ServerTLS
from receiver.config.model import Auth, Secret, Web
from receiver.config.positions import Path
from receiver.config.problems import Problems
from receiver.config.reader import Reader
from receiver.config.secret_files import warn_of_missing
from receiver.config.web_wire import AuthWire, PageAuthWire, TlsServerWire, WebWire


def read_web(raw: object, path: Path, reader: Reader) -> Web:
    """Return `web:`."""
    wire = reader.read(WebWire, reader.mapping(raw, path), path) or WebWire()
    for name in WebWire.secrets:
        if (secret := getattr(wire, name)) is not None:
            warn_of_missing(secret, (*path, f"{name}_file"), reader.problems, "nothing is believed here")
    return Web(
        external_url=(wire.external_url or "").rstrip("/"),
        max_body_bytes=wire.max_body_bytes,
        webhook_auth=read_auth(wire.webhook_auth, (*path, "webhook_auth"), reader.problems),
        page_auth=read_auth(wire.page_auth, (*path, "page_auth"), reader.problems),
        tls=_tls(wire.tls_server_config, (*path, "tls_server_config"), reader.problems),
        limits=ListenLimits(
            max_connections=wire.max_connections,
            header_timeout_s=wire.header_timeout,
            body_timeout_s=wire.body_timeout,
        ),
        slack_signing_secret=wire.slack_signing_secret,
        pagerduty_signing_secret=wire.pagerduty_signing_secret,
    )


def read_auth(wire: AuthWire | None, path: Path, problems: Problems) -> Auth:
    """Return who may call; an open one where nothing is written."""
    if wire is None:
        return Auth()

    def element(key: str, at: int, *more: str) -> Path:
        listed = (*path, key, at)
        return (*(listed if listed in problems.document.nodes else listed[:-1]), *more)

    bearer = [Secret(file=file) for file in wire.bearer_token_file]
    for at, secret in enumerate(bearer):
        warn_of_missing(secret, element("bearer_token_file", at), problems, "it lets nobody in")
    bearer += [Secret(env=name) for name in wire.bearer_token_env]
    for at, one in enumerate(wire.basic_auth):
        warn_of_missing(one.password, element("basic_auth", at, "password_file"), problems, "it lets nobody in")
    proxy = wire.proxy_header if isinstance(wire, PageAuthWire) else None
    return Auth(
        tuple(bearer),
        tuple((one.username, one.password) for one in wire.basic_auth),
        ProxyHeader(proxy.header.lower(), proxy.trusted_proxies) if proxy else None,
    )


def _tls(wire: TlsServerWire | None, path: Path, problems: Problems) -> ServerTLS | None:
    if wire is None:
        return None
    for key in ("cert_file", "key_file", "client_ca_file"):
        file = getattr(wire, key)
        if file is not None and not file.is_file():
            problems.warn((*path, key), f"there is no file {file}", "create or mount it: until then nothing starts")
    default = "NoClientCert" if wire.client_ca_file is None else "RequireAndVerifyClientCert"
    return ServerTLS(
        wire.cert_file, wire.key_file, wire.client_ca_file, wire.client_auth_type or default, wire.min_version
    )
