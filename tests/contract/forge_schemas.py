"""What the vendors publish about requests, as a check of every request that a test made at a fake forge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from tests.contract import vendor_schemas
from tests.contract.vendor_schemas import MADE, check_gitlab
from tests.fakes.vendors import SeenRequest


def check(request: SeenRequest) -> None:
    """Raise where a request is not as its vendor documents it."""
    query = dict(parse_qsl(request.query))
    if request.vendor == "github":
        check_github(request.operation, request.json, query)
        assert request.headers["accept"] == "application/vnd.github+json"
        assert request.headers["x-github-api-version"] == "2022-11-28"
    else:
        check_gitlab(request.operation, request.json, query)
    assert request.headers["user-agent"].startswith("mtv-receiver/")


def check_github(operation: str, body: Any, query: Mapping[str, str]) -> None:
    """Where the vendor's types were fetched; where they must be and are not, `test_vendor_schemas` fails."""
    if (MADE / "github.json").exists():
        vendor_schemas.check_github(operation, body, query)
