"""The role that is shipped, the table that it is made of, and the page that shows it."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from receiver.kube.discovery import may_read
from receiver.kube.kinds import Kind
from receiver.kube.rights import RIGHTS

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "base"
Grant = tuple[str, str, str]  # verb, group, resource
TABLE = [(right.verb, right.group, right.resource) for right in RIGHTS]


def shipped(kind: str) -> dict[str, Any]:
    (found,) = (one for one in yaml.safe_load_all((BASE / "rbac.yaml").read_text()) if one["kind"] == kind)
    assert isinstance(found, dict)
    return found


def grants(rule: dict[str, list[str]]) -> list[Grant]:
    assert set(rule) == {"apiGroups", "resources", "verbs"}
    return list(product(rule["verbs"], rule["apiGroups"], rule["resources"]))


def test_the_shipped_role_grants_the_rights_of_the_table_each_once_and_no_other() -> None:
    granted = [grant for rule in shipped("ClusterRole")["rules"] for grant in grants(rule)]
    assert sorted(granted) == sorted(TABLE)
    assert len(set(TABLE)) == len(TABLE)


def test_the_role_only_reads_and_holds_no_secret_and_no_wildcard() -> None:
    assert {verb for verb, _, _ in TABLE} == {"get", "list", "watch"}
    assert not any("*" in part for grant in TABLE for part in grant)
    for _, group, resource in TABLE:
        assert may_read(Kind("", group, "v1", resource.partition("/")[0])), resource
        assert not re.search("secret|token|oauth|users", f"{group}{resource}"), resource


def test_the_binding_gives_the_role_to_the_account_that_is_shipped() -> None:
    binding, account = shipped("ClusterRoleBinding"), shipped("ServiceAccount")["metadata"]
    assert binding["roleRef"]["name"] == shipped("ClusterRole")["metadata"]["name"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", **account}]
    assert yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"] == ["rbac.yaml"]


def test_the_rule_of_a_right_is_a_line_that_can_be_put_into_a_role() -> None:
    for right in RIGHTS:
        assert "\n" not in right.rule
        (rule,) = yaml.safe_load(right.rule)
        assert grants(rule) == [(right.verb, right.group, right.resource)]


def test_a_right_is_called_as_messages_call_it() -> None:
    named = {right.name for right in RIGHTS}
    assert {"list plans.forklift.konveyor.io", "get pods/log", "get nodes"} <= named


def test_the_page_about_clusters_lists_every_right_with_what_it_is_for() -> None:
    page = (ROOT / "docs" / "clusters.md").read_text()
    rows = re.findall(r"^\| `((?:get|list|watch) [^`]+)` \| (.+?) \|$", page, re.MULTILINE)
    wanted = [(one.name, one.needed_for + (f" ({one.optional})" if one.optional else "")) for one in RIGHTS]
    assert rows == wanted
