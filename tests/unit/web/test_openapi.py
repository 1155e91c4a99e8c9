"""The OpenAPI document says what the application has: all of it, and nothing else."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.applications import Starlette
from starlette.routing import Route

from receiver.app import build_app
from receiver.config.listening import ProxyHeader
from receiver.config.load import load
from receiver.config.model import Auth, Config, Secret, Web
from receiver.destinations.registry import ALL
from receiver.guard import Rule, rule_of
from receiver.store.engine import sqlite_url
from receiver.web.openapi import document
from receiver.web.openapi_operations import OPERATIONS
from receiver.web.openapi_route import PATH
from receiver.web.openapi_schemas import SCHEMAS
from receiver.web.pages import deliveries
from receiver.web.pages.stories import KEYS
from tests.fakes.server import serve

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[3]
SECRET = Secret(file=ROOT / "README.md")


def config() -> Config:
    return load(ROOT / "examples/sandbox/routes.yaml", ALL)


def application(folder: Path) -> Starlette:
    return build_app(config(), sqlite_url(folder / "test.db"), on_fatal=pytest.fail)


def listed(described: dict[str, Any]) -> set[tuple[str, str]]:
    return {(path, method.upper()) for path, methods in described["paths"].items() for method in methods}


async def test_it_holds_every_address_and_method_that_is_taken_and_no_other(tmp_path: Path) -> None:
    app = application(tmp_path)
    taken: set[tuple[str, str]] = set()
    async with serve(Starlette(routes=app.routes)) as url, httpx2.AsyncClient(base_url=url, timeout=30) as http:
        for route in app.routes:
            assert isinstance(route, Route)
            for method in (route.methods or set()) - {"HEAD"}:
                answer = await http.request(method, re.sub(r"\{\w+\}", "x", route.path))
                if answer.status_code != 405:
                    taken.add((route.path, method))
        described = (await http.get(PATH)).json()
    assert listed(described) == taken
    assert set(OPERATIONS) == taken, "something is described that is no route"
    assert described == document(app.routes, config())


async def test_it_is_openapi(tmp_path: Path) -> None:
    described = document(application(tmp_path).routes, config())
    assert described["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(described).validate()
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
    names = [one["operationId"] for methods in described["paths"].values() for one in methods.values()]
    assert len(set(names)) == len(names)


async def test_every_form_is_used_and_every_form_that_is_used_is_there(tmp_path: Path) -> None:
    described = document(application(tmp_path).routes, config())
    used = re.findall(r"'\$ref': '#/components/schemas/(\w+)'", str(described))
    assert set(used) == set(SCHEMAS)


def read_in_queries() -> set[str]:
    """Return the names of query parameters that the code asks for."""
    found: set[str] = {*KEYS, *deliveries.KEYS}  # asked for in a loop
    for path in (ROOT / "receiver/web").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("get", "getlist")
                and re.search(r"query(_params)?$", ast.unparse(node.func.value))
                and isinstance(node.args[0], ast.Constant)
            ):
                found.add(str(node.args[0].value))
    return found


async def test_its_query_parameters_are_those_that_are_read() -> None:
    told = {str(one["name"]) for operation in OPERATIONS.values() for one in operation.query}
    assert told == read_in_queries()


async def test_what_a_path_holds_is_a_parameter_of_it(tmp_path: Path) -> None:
    described = document(application(tmp_path).routes, config())
    for path, methods in described["paths"].items():
        for operation in methods.values():
            held = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
            assert held == re.findall(r"\{(\w+)\}", path)


PROXY = ProxyHeader("X-Forwarded-User", (ip_network("127.0.0.1"),))


@pytest.mark.parametrize(
    ("web", "pages", "webhooks"),
    [
        (Web(), set(), set()),
        (Web(page_auth=Auth(bearer=(SECRET,))), {"pageBearer"}, set()),
        (
            Web(
                page_auth=Auth(basic=(("ana", SECRET),), proxy=PROXY),
                webhook_auth=Auth(bearer=(SECRET,), basic=(("am", SECRET),)),
            ),
            {"pageBasic", "pageProxy"},
            {"webhookBearer", "webhookBasic"},
        ),
    ],
)
async def test_it_says_how_to_sign_in_as_each_address_asks(
    tmp_path: Path, web: Web, pages: set[str], webhooks: set[str]
) -> None:
    app = application(tmp_path)
    described = document(app.routes, replace(config(), web=web))
    OpenAPIV31SpecValidator(described).validate()
    known = described["components"]["securitySchemes"]
    wanted = {Rule.PAGE: pages, Rule.WEBHOOK: webhooks, Rule.OPEN: set()}
    assert set(known) == pages | webhooks | {"slackSignature", "pagerdutySignature"}
    for route in app.routes:
        assert isinstance(route, Route)
        rule = rule_of(route.endpoint)
        for operation in described["paths"][route.path].values():
            ways = {name for one in operation["security"] for name in one}
            assert ways == wanted[rule] if rule in wanted else len(ways) == 1, route.path
            assert ways <= set(known)
            assert ("401" in operation["responses"]) is (rule is not Rule.OPEN), route.path
    if "pageProxy" in pages:
        assert known["pageProxy"]["name"] == PROXY.header
