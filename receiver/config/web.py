"""The section `web:`: who may call, and how our own port is guarded."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.config.listening import ListenLimits, ProxyHeader, ServerTLS, Visibility
from receiver.config.matching import check_names
from receiver.config.model import Auth, ClusterConfig, Secret, Web
from receiver.config.positions import Path
from receiver.config.problems import Problems
from receiver.config.reader import Reader
from receiver.config.secret_files import warn_of_missing
from receiver.config.web_wire import AuthWire, PageAuthWire, TlsServerWire, VisibilityWire, WebWire


def read_web(raw: object, path: Path, reader: Reader) -> Web:
    """Return `web:`."""
    wire = reader.read(WebWire, reader.mapping(raw, path), path) or WebWire()
    for name in WebWire.secrets:
        if (secret := getattr(wire, name)) is not None:
            warn_of_missing(secret, (*path, f"{name}_file"), reader.problems, "nothing is believed here")
    page_auth = read_auth(wire.page_auth, (*path, "page_auth"), reader.problems)
    return Web(
        external_url=(wire.external_url or "").rstrip("/"),
        max_body_bytes=wire.max_body_bytes,
        webhook_auth=read_auth(wire.webhook_auth, (*path, "webhook_auth"), reader.problems),
        page_auth=page_auth,
        visibility=_visibility(wire.visibility, page_auth.proxy, (*path, "visibility"), reader.problems),
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


def _visibility(
    wire: VisibilityWire | None, proxy: ProxyHeader | None, path: Path, problems: Problems
) -> Visibility | None:
    if wire is None:
        return None
    groups = (wire.groups_header or "").lower()
    if proxy is None:
        what = "nobody can be asked about: without web.page_auth.proxy_header we know no user of a cluster"
        problems.add(path, what, "add page_auth.proxy_header, or remove visibility", on_key=True)
    elif groups == proxy.header:
        what = f"{wire.groups_header} is the header of the user, too"
        problems.add((*path, "groups_header"), what, "name the header of the groups, such as X-Forwarded-Groups")
    if wire.admin_groups and not groups:
        what = "nobody is in a group: visibility.groups_header is not set"
        problems.add((*path, "admin_groups"), what, "add groups_header, if the proxy replaces it; or name admin_users")
    if not wire.admin_groups and not wire.admin_users:
        what = "names no admin: only page_auth's bearer tokens see stories without a namespace, and may reload"
        problems.warn(path, what, "add admin_groups or admin_users")
    return Visibility(
        groups_header=groups,
        admin_groups=frozenset(wire.admin_groups),
        admin_users=frozenset(wire.admin_users),
        cluster=wire.cluster or "",
        fresh_s=wire.fresh,
    )


def check_visibility(
    visibility: Visibility | None, path: Path, clusters: Iterable[ClusterConfig], problems: Problems
) -> None:
    """Note what keeps `web.visibility` from asking anybody."""
    if visibility is None:
        return
    known = {one.name: one for one in clusters}
    live = [name for name, one in known.items() if one.must_gather is None]
    named = visibility.cluster
    if named and named not in known:
        check_names([named], known, "cluster", (*path, "cluster"), problems)
    elif named and named not in live:
        what = f"{named} is a must-gather, which cannot be asked who may see what"
        problems.add((*path, "cluster"), what, "name a cluster with an API server")
    elif not live:
        what = "nobody can be asked: clusters names none with an API server"
        problems.add(path, what, "add a cluster, or remove visibility", on_key=True)


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
