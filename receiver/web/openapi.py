"""`GET /api/v1/openapi.json`: the HTTP API as OpenAPI 3.1, made of the routes that there are.

Paths, what they hold and who may call them come from the routes; the rest is in `openapi_operations` (the pages:
`openapi_pages`) and `openapi_schemas` (large areas: a module each). What these are made of is in `openapi_parts` and
`openapi_primitives`. HEAD, which every GET answers without a body, is not listed. A test compares document and service.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from starlette.routing import BaseRoute, Route

from receiver.config.model import Auth, Config
from receiver.guard import READING, Rule, for_admins, rule_of
from receiver.http import own_version
from receiver.web import pagerduty_hook
from receiver.web.openapi_operations import OPERATIONS
from receiver.web.openapi_parts import Operation, error
from receiver.web.openapi_primitives import TEXT, Schema
from receiver.web.openapi_schemas import SCHEMAS

VERSION: Final = "3.1.0"
_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_SIGNED: Final[dict[str, tuple[str, str]]] = {
    "/slack/interactive": ("slackSignature", "X-Slack-Signature"),
    "/pagerduty/webhook": ("pagerdutySignature", pagerduty_hook.HEADER),
}
_UNREADABLE: Final = error("The secret that guards this address cannot be read.")
_NOT_ALLOWED: Final = error("For admins only (web.visibility), or a browser says that another site sends it.")
_NOT_SIGNED_IN: Final = {
    Rule.PAGE: error("Not signed in: use what web.page_auth names."),
    Rule.WEBHOOK: error("Not signed in: use one of webhook_auth's secrets."),
    Rule.SIGNED: error("Not signed with the secret that we share."),
}


def document(every: Iterable[BaseRoute], config: Config) -> dict[str, Any]:
    """Return the document of an application's routes under a configuration."""
    schemes = _schemes(config)
    paths: dict[str, dict[str, Any]] = {}
    for route in every:
        if not isinstance(route, Route):
            continue
        for method in sorted(route.methods or ()):
            operation = OPERATIONS.get((route.path, method))
            if operation is not None:
                paths.setdefault(route.path, {})[method.lower()] = _operation(route, method, operation, schemes)
    return {
        "openapi": VERSION,
        "info": {"title": "mtv-receiver", "version": own_version()},
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {name: scheme for known in schemes.values() for name, scheme in known.items()},
        },
    }


def _operation(
    route: Route, method: str, operation: Operation, schemes: dict[tuple[Rule, str], dict[str, Schema]]
) -> dict[str, Any]:
    rule = rule_of(route.endpoint) or Rule.OPEN
    held = _PARAMETER.findall(route.path)
    answers = dict(operation.answers)
    if rule in _NOT_SIGNED_IN:
        answers[401] = _NOT_SIGNED_IN[rule]
        answers.setdefault(503, _UNREADABLE)
    if rule is Rule.PAGE and (method not in READING or for_admins(route.endpoint)):
        answers.setdefault(403, _NOT_ALLOWED)
    if held:
        answers.setdefault(404, error("Nothing is there: what the path holds has a slash in it."))
    parameters = [{"name": one, "in": "path", "required": True, "schema": {**TEXT, "minLength": 1}} for one in held]
    found: dict[str, Any] = {
        "operationId": _identifier(route.path, method),
        "summary": operation.summary,
        "parameters": [*parameters, *operation.query],
        "responses": {str(status): answers[status] for status in sorted(answers)},
        "security": [{name: []} for name in schemes.get((rule, route.path), schemes.get((rule, ""), {}))],
    }
    return {**found, "requestBody": operation.body} if operation.body is not None else found


def _identifier(path: str, method: str) -> str:
    words = [*re.findall(r"\w+", path), *(["index"] if path.endswith("/") else [])]
    return "_".join([method.lower(), *words])


def _schemes(config: Config) -> dict[tuple[Rule, str], dict[str, Schema]]:
    """Return the ways to sign in that are in force, by rule and, where it has its own, by path. None: everybody may."""
    auths = [config.web.webhook_auth, *(one.webhook_auth for one in config.alertmanagers)]
    hooks: dict[str, Schema] = {}
    for auth in auths:
        hooks |= _ways("webhook", auth)
    signed = {
        (Rule.SIGNED, path): {name: {"type": "apiKey", "in": "header", "name": header}}
        for path, (name, header) in _SIGNED.items()
    }
    return {(Rule.PAGE, ""): _ways("page", config.web.page_auth), (Rule.WEBHOOK, ""): hooks, **signed}


def _ways(who: str, auth: Auth) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    if auth.bearer:
        found[f"{who}Bearer"] = {"type": "http", "scheme": "bearer"}
    if auth.basic:
        found[f"{who}Basic"] = {"type": "http", "scheme": "basic"}
    if auth.proxy is not None:
        text = "Believed where a proxy that is trusted sends it."
        found[f"{who}Proxy"] = {"type": "apiKey", "in": "header", "name": auth.proxy.header, "description": text}
    return found
