"""`doctor:` of routes.yaml as it is written, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from receiver.config.durations import Duration
from receiver.config.http_settings import HttpWire, resolve_http
from receiver.config.matching import check_names
from receiver.config.model import DoctorRules, PrometheusConfig
from receiver.config.positions import Path
from receiver.config.reader import Reader
from receiver.config.settings import Settings, Url


class PrometheusWire(Settings):
    """A Prometheus, or a Thanos that asks for it."""

    url: Url
    http_config: HttpWire = HttpWire()


class DoctorWire(Settings):
    """Whom `doctor` asks on the way from a failed plan to us, and how often the service does so by itself."""

    prometheus: PrometheusWire | None = None
    every: Duration | None = Field(default=None, ge=60)
    """How often the service looks by itself; without it, only the command does."""
    receiver: str = ""
    """Who is told that the chain is broken; the root receiver where there is none."""


def read_doctor(raw: Any, path: Path, reader: Reader, receivers: Mapping[str, Any]) -> DoctorRules:
    """Return `doctor:`; `receivers` are those that exist."""
    wire = reader.read(DoctorWire, reader.mapping(raw, path), path) or DoctorWire()
    if wire.receiver:
        check_names([wire.receiver], receivers, "receiver", (*path, "receiver"), reader.problems)
    prometheus = None
    if wire.prometheus is not None:
        where = (*path, "prometheus", "http_config")
        http = resolve_http(wire.prometheus.http_config, where, reader.problems)
        prometheus = PrometheusConfig(wire.prometheus.url.rstrip("/"), http)
    return DoctorRules(prometheus, wire.every, wire.receiver)
