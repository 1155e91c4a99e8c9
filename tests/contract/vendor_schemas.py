"""Every request against what its vendor publishes. `.ci/schemas` makes the schemas; nothing of them is committed.

A request that no schema speaks of is an error: what a new call looks like is said here before it can be sent.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from jsonschema import Draft4Validator, Draft7Validator, Draft202012Validator, ValidationError, validators

from tests.fakes.vendors import SeenRequest

ROOT = Path(__file__).parents[2]
OURS = ROOT / "tests" / "schemas"
GITLAB: dict[str, Any] = json.loads((ROOT / "tests" / "data" / "schemas" / "gitlab-issues.json").read_text())
MADE = ROOT / ".cache" / "schemas"
NEEDED = ("slack", "github", "jira", "jira-dc", "adf")

SCHEMAS = {
    "slack": "npm @slack/web-api and @slack/types",
    "pagerduty": "our own words on what the vendor describes, lengths included: it is in no registry",
    "jira": "npm jira.js and @atlaskit/adf-schema; for Data Center the generated types in npm @atlassian-dc-mcp/jira",
    "servicenow": "a table of our own: the vendor publishes none",
    "github": "npm @octokit/openapi-types",
    "gitlab": "names of attributes in PyPI python-gitlab",
}
WITHOUT = {
    "email": "a standard of its own: read back by Python's parser in test_email",
    "webhook": "our own form: its published schema is checked in test_webhook",
}
"""Kinds whose requests no vendor describes, and what stands in its place."""

_UNPUBLISHED = frozenset({("chat.postMessage", "client_msg_id")})
"""Arguments that Slack takes and does not publish: this one only lowers the odds of a double post."""
_GITHUB = {
    "POST issues": "create", "PATCH issues/*": "update", "POST issues/*/comments": "comment",
    "GET issues": "issues", "GET issues/*/comments": "comments",
}  # fmt: skip
_JIRA = {
    "POST issue": "issue", "PUT issue/*": "issue", "POST issue/*/transitions": "issue",
    "POST issue/*/comment": "comment", "POST search/jql": "search",
}  # fmt: skip
_JIRA_DC = {
    "POST issue": "issue", "PUT issue/*": "issue", "POST issue/*/transitions": "issue",
    "POST issue/*/comment": "comment", "POST search": "search",
}  # fmt: skip
_READS = frozenset(
    {
        "GET issue/*", "GET issue/*/transitions", "GET issue/*/comment", "POST issue/*/attachments", "GET myself",
        "GET project/*", "GET repo", "GET issues/*", "GET incident", "GET incident/*",
    }
)  # fmt: skip


def needed() -> None:
    """Skip the test where the schemas could not be made; fail it where they must be there."""
    missing = [name for name in NEEDED if not (MADE / f"{name}.json").exists()]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"no schema of {', '.join(missing)}: `make schemas`, which needs npm")
    if missing:
        pytest.skip("the vendors' schemas are not here: `make schemas`, which needs npm")


def _any_of(validator: Any, schemas: list[Any], instance: Any, schema: Any) -> Iterator[ValidationError]:
    """Judge as jsonschema does, but leave each alternative at its first error: documents are nested unions."""
    del schema
    firsts = []
    for each in schemas:
        first = next(validator.descend(instance, each), None)
        if first is None:
            return
        firsts.append(first)
    yield ValidationError(f"none of {len(schemas)} forms fits", context=firsts)


_Generated: Any = validators.extend(Draft7Validator, {"anyOf": _any_of})  # type: ignore[no-untyped-call]
_Document: Any = validators.extend(Draft4Validator, {"anyOf": _any_of})  # type: ignore[no-untyped-call]


@cache
def _made(name: str) -> Any:
    return json.loads((MADE / f"{name}.json").read_text(encoding="utf-8"))


@cache
def _validator(vendor: str, name: str = "") -> Any:
    if vendor in {"slack", "github", "jira-dc"}:
        return _Generated(_made(vendor)[name])
    if vendor == "jira":
        return Draft202012Validator(_made("jira")[name])
    if vendor == "adf":
        return _Document(_made("adf"))
    return Draft202012Validator(json.loads((OURS / f"{vendor}.json").read_text(encoding="utf-8")))


def check(request: SeenRequest) -> None:
    """Raise where a request is not as its vendor publishes it."""
    match request.vendor:
        case "slack":
            if request.operation != "upload":  # the bytes of a file, to the address that the method before it gave
                check_slack(request.operation, request.json if request.json is not None else _form(request))
        case "pagerduty":
            check_pagerduty(request.json)
        case "jira":
            cloud = "/rest/api/3/" in request.path
            check_jira(request.operation, request.json, cloud=cloud)
            if request.operation == "POST issue/*/attachments":
                assert request.headers["x-atlassian-token"] == "no-check"
        case "github":
            check_github(request.operation, request.json, dict(parse_qsl(request.query)))
        case "gitlab":
            check_gitlab(request.operation, request.json, dict(parse_qsl(request.query)))
        case "servicenow":
            check_servicenow(request.operation, request.json, dict(parse_qsl(request.query)))
        case _:
            raise AssertionError(f"no schema speaks of {request}")


def _form(request: SeenRequest) -> dict[str, Any]:
    """Return the arguments of a form, or of a query, typed as they read: Slack takes `5` for a number."""
    given = dict(parse_qsl(request.raw.decode() or request.query, strict_parsing=bool(request.raw or request.query)))
    return {name: _typed(value) for name, value in given.items() if name != "token"}


def _typed(value: str) -> Any:
    return json.loads(value) if value in {"true", "false"} or (value.isdecimal() and len(value) < 10) else value


def check_slack(method: str, body: Mapping[str, Any]) -> None:
    """Each block by itself: messages share most of theirs, and each is validated once."""
    for block in body.get("blocks", ()):
        _check_part("slack", "block", json.dumps(block))
    bare = {name: value for name, value in body.items() if (method, name) not in _UNPUBLISHED}
    bare |= {"blocks": []} if body.get("blocks") else {}
    _validator("slack", method.replace(".", "_")).validate(bare)


def check_pagerduty(body: Any) -> None:
    _validator("pagerduty").validate(body)
    assert len(json.dumps(body).encode()) <= 512_000


def check_jira(operation: str, body: Any, *, cloud: bool) -> None:
    if not cloud:
        check_jira_dc(operation, body)
        return
    name = _JIRA.get(operation, "")
    if not name:
        assert operation in _READS, operation
        return
    shape = _validator("jira", name)
    assert body.keys() <= shape.schema["properties"].keys(), "Jira ignores what it does not know"
    text = (body.get("fields") or {}).get("description") if name == "issue" else body.get("body")
    if text is not None:
        check_document(text)
    shape.validate(body)


def check_jira_dc(operation: str, body: Any) -> None:
    """Data Center's API 2, as its own description has it: another search, and texts that are plain.

    That description says too little in two places, where the API takes more than it says: a field may be a list
    (labels, components), a property any JSON. There, what is more than it says is checked by its form here.
    """
    name = _JIRA_DC.get(operation, "")
    if not name:
        assert operation in _READS, operation
        return
    said = dict(body)
    if name == "issue" and "fields" in said:
        lists = {key: value for key, value in said["fields"].items() if isinstance(value, list)}
        assert lists.keys() <= {"labels", "components"}, lists.keys()
        assert all(isinstance(each, str) and not re.search(r"\s", each) for each in lists.get("labels", ()))
        assert all(isinstance(each["name"], str) for each in lists.get("components", ()))
        said["fields"] = {key: value for key, value in said["fields"].items() if key not in lists}
        texts = [said["fields"].get(key) for key in ("summary", "description")]
        assert all(text is None or isinstance(text, str) for text in texts), "plain text, not a document"
    if isinstance(said.get("properties"), list):
        said["properties"] = [{**each, "value": json.dumps(each["value"])} for each in said["properties"]]
    _validator("jira-dc", name).validate(said)


def check_document(document: Any) -> None:
    """Each part of an Atlassian document by itself, as `check_slack` does with blocks."""
    parts = document.get("content") or []
    for part in parts:
        _check_part("adf", "", json.dumps(part))
    _validator("adf").validate({**document, "content": []})


@cache
def _check_part(vendor: str, name: str, text: str) -> None:
    part = json.loads(text)
    if vendor == "adf":
        _validator("adf").validate({"version": 1, "type": "doc", "content": [part]})
    else:
        _validator(vendor, name).validate(part)


def check_github(operation: str, body: Any, query: Mapping[str, str]) -> None:
    if operation not in _GITHUB:
        assert operation in _READS, operation
        return
    given = {name: _typed(value) for name, value in query.items()} if operation.startswith("GET") else body
    _validator("github", _GITHUB[operation]).validate(given)
    assert len(str((body or {}).get("body") or "")) <= 65_536


def check_servicenow(operation: str, body: Any, query: Mapping[str, str]) -> None:
    if operation in {"POST incident", "PATCH incident/*"}:
        _validator("servicenow").validate(body)
    else:
        assert operation.partition(" ")[2].startswith("attachment") or operation in _READS, operation
    names = {"table_name", "table_sys_id", "file_name", "sysparm_query", "sysparm_fields", "sysparm_limit",
             "sysparm_exclude_reference_link", "sysparm_display_value"}  # fmt: skip
    assert query.keys() <= names


def check_gitlab(operation: str, body: Any, query: Mapping[str, str]) -> None:
    match operation:
        case "POST issues" | "PUT issues/*" | "POST issues/*/notes":
            known = GITLAB[{"POST issues": "create", "PUT issues/*": "update"}.get(operation, "note")]
            assert set(known.get("required", ())) <= body.keys() <= {*known.get("required", ()), *known["optional"]}
            assert body.get("state_event") in (None, "close", "reopen")
        case "GET issues":
            assert query.keys() <= {*GITLAB["list"], "page", "per_page"}
        case _:
            assert operation in {"GET project", "GET issues/*", "GET issues/*/notes", "POST uploads"}, operation
