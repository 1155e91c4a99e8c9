"""`web:` of routes.yaml as it is written. Names are those of Prometheus' web configuration wherever it has the key."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from receiver.config.durations import Duration, Size
from receiver.config.http_settings import BasicAuthWire
from receiver.config.listening import ListenLimits, Network, Visibility
from receiver.config.model import Secret, Web
from receiver.config.settings import Names, PathFromFile, Settings, Url

_LIMITS: Final = ListenLimits()


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | Mapping) else value


def _known_clients(value: str) -> str:
    if value in ("RequestClientCert", "RequireAnyClientCert"):
        raise ValueError(
            f"{value} would ask for certificates that nobody checks; "
            "write RequireAndVerifyClientCert, or VerifyClientCertIfGiven"
        )
    return value


def _networks(values: tuple[object, ...]) -> tuple[Network, ...]:
    return tuple(_network(value) for value in values)


def _network(value: object) -> Network:
    try:
        network = ipaddress.ip_network(value if isinstance(value, str) else "")  # a number would be an address, too
    except ValueError:
        raise ValueError(f"{str(value)[:60]!r} is no address range; write such as 10.0.0.0/8, or 10.1.2.3") from None
    if network.prefixlen == 0:
        raise ValueError(f"{value} believes everybody; write the proxy's own addresses")
    return network


class ProxyHeaderWire(Settings):
    """A proxy in front of the pages that signs people in, and says who they are."""

    header: str = Field(pattern=r"^[A-Za-z0-9-]+$")
    """Such as X-Forwarded-User. The proxy must replace what a client sends under this name."""
    trusted_proxies: Annotated[
        tuple[Any, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str]), AfterValidator(_networks)
    ] = Field(min_length=1)
    """Addresses that the proxy connects from; the header counts from nobody else."""


class AuthWire(Settings):
    """Who may call: any of these, several at once while a secret is replaced."""

    bearer_token_file: Annotated[
        tuple[PathFromFile, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])
    ] = ()
    """One file, or several."""
    bearer_token_env: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], ...],
        BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    ] = ()
    basic_auth: Annotated[
        tuple[BasicAuthWire, ...],
        BeforeValidator(_listed, json_schema_input_type=BasicAuthWire | list[BasicAuthWire]),
    ] = ()
    """One user, or a list of several; a user may stand there twice with two passwords."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set or not any(getattr(self, name) for name in type(self).model_fields):
            raise ValueError("lets everybody in; give bearer_token_file or basic_auth, or remove it")
        return self


class PageAuthWire(AuthWire):
    """Who may see the pages."""

    proxy_header: ProxyHeaderWire | None = None


class VisibilityWire(Settings):
    """Who sees which stories. Without it whoever signs in sees all of them."""

    by: Literal["access_review"]
    """A SubjectAccessReview says whether a person may `get plans.forklift.konveyor.io` in the story's namespace."""
    groups_header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+$")
    """Such as X-Forwarded-Groups: groups, separated by commas. The proxy must replace what a client sends there."""
    admin_groups: Names = ()
    """They see everything, and may reload and read the audit."""
    admin_users: Names = ()
    cluster: str | None = Field(default=None, min_length=1)
    """The cluster that is asked, by its name in `clusters`; without it each story's own."""
    fresh: Duration = Field(default=Visibility().fresh_s, gt=0, le=3600)
    """How long an answer counts: so long a right that was taken away is still had."""


class TlsServerWire(Settings):
    """Prometheus' `tls_server_config`: the certificate of our own port, and those of clients."""

    cert_file: PathFromFile
    key_file: PathFromFile
    client_ca_file: PathFromFile | None = None
    """Whose certificates clients may show."""
    client_auth_type: Annotated[
        Literal[
            "NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert",
            "RequestClientCert", "RequireAnyClientCert",
        ],
        AfterValidator(_known_clients),
    ] | None = None  # fmt: skip
    """Without it: RequireAndVerifyClientCert where there is a `client_ca_file`, else NoClientCert."""
    min_version: Literal["TLS12", "TLS13"] = "TLS12"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wants = self.client_auth_type not in (None, "NoClientCert")
        if wants and self.client_ca_file is None:
            raise ValueError(f"{self.client_auth_type} without client_ca_file checks nothing; add client_ca_file: …")
        if self.client_ca_file is not None and self.client_auth_type == "NoClientCert":
            raise ValueError("client_ca_file is not used with NoClientCert; keep one of the two")
        return self


class WebWire(Settings):
    """The service's own HTTP side."""

    secrets = ("slack_signing_secret", "pagerduty_signing_secret")

    external_url: Url | None = None
    """Under which people reach the pages; links in messages begin with it."""
    max_body_bytes: Size = Field(default=Web().max_body_bytes, ge=1024)
    max_connections: int = Field(default=_LIMITS.max_connections, ge=8, le=100_000)
    header_timeout: Duration = Field(default=_LIMITS.header_timeout_s, gt=0, le=600)
    """How long a request's headers may take."""
    body_timeout: Duration = Field(default=_LIMITS.body_timeout_s, gt=0, le=3600)
    """How long a request's body may take."""
    tls_server_config: TlsServerWire | None = None
    webhook_auth: AuthWire | None = None
    page_auth: PageAuthWire | None = None
    visibility: VisibilityWire | None = None
    slack_signing_secret: Secret | None = None
    pagerduty_signing_secret: Secret | None = None
