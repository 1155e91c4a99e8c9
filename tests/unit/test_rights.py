"""The role that is shipped, the table that it is made of, and the page that shows it."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from receiver.config.load import check
from receiver.destinations.registry import ALL
from receiver.kube.discovery import may_read
from receiver.kube.kinds import Kind
from receiver.kube.rights import NAMESPACES, RIGHTS, beside

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "deploy" / "rights"
Grant = tuple[str, str, str]  # verb, group, resource
TABLE = [(right.verb, right.group, right.resource) for right in RIGHTS]


def shipped(kind: str) -> dict[str, dict[str, Any]]:
    """Return the shipped objects of a kind by their names."""
    objects = yaml.safe_load_all((SHIPPED / "rbac.yaml").read_text())
    return {one["metadata"]["name"]: one for one in objects if one["kind"] == kind}


def grants(rule: dict[str, list[str]]) -> list[Grant]:
    assert set(rule) == {"apiGroups", "resources", "verbs"}
    return list(product(rule["verbs"], rule["apiGroups"], rule["resources"]))


def granted(role: dict[str, Any]) -> list[Grant]:
    return [grant for rule in role["rules"] for grant in grants(rule)]


def test_the_shipped_roles_grant_the_rights_of_the_table_each_once_and_no_other() -> None:
    assert sorted(grant for role in shipped("ClusterRole").values() for grant in granted(role)) == sorted(TABLE)
    assert len({(*grant, right.optional) for grant, right in zip(TABLE, RIGHTS, strict=True)}) == len(TABLE)


def test_what_a_cluster_may_do_without_has_a_role_of_its_own() -> None:
    roles = {name: granted(role) for name, role in shipped("ClusterRole").items()}
    assert roles.pop("mtv-receiver-logs") == [("get", "", "pods/log")]
    reasons: dict[str, list[Grant]] = {}
    for right in RIGHTS:
        if right.resource != "pods/log":
            reasons.setdefault(right.optional, []).append((right.verb, right.group, right.resource))
    assert sorted(roles.pop("mtv-receiver")) == sorted(reasons.pop(""))
    assert sorted(sorted(role) for role in roles.values()) == sorted(sorted(rows) for rows in reasons.values())


def test_the_role_only_reads_and_holds_no_secret_and_no_wildcard() -> None:
    assert {verb for verb, _, _ in TABLE} == {"get", "list", "watch"}
    assert not any("*" in part for grant in TABLE for part in grant)
    for _, group, resource in TABLE:
        assert may_read(Kind("", group, "v1", resource.partition("/")[0])), resource
        assert not re.search("secret|token|oauth|users", f"{group}{resource}"), resource


def test_each_role_is_bound_to_the_account_that_is_shipped() -> None:
    bindings, account = shipped("ClusterRoleBinding"), shipped("ServiceAccount")["mtv-receiver"]["metadata"]
    assert [one["roleRef"]["name"] for one in bindings.values()] == list(shipped("ClusterRole"))
    assert all(one["subjects"] == [{"kind": "ServiceAccount", **account}] for one in bindings.values())
    assert "rbac.yaml" in yaml.safe_load((SHIPPED / "kustomization.yaml").read_text())["resources"]


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


def test_the_page_about_clusters_lists_what_namespace_routing_takes() -> None:
    page = (ROOT / "docs" / "clusters.md").read_text()
    table = page[page.index("| With `namespace_routing`") :].partition("\n\n")[0]
    rows = re.findall(r"^\| ((?:get|list|watch|create) [^|]+) \| (.+?) \|$", table, re.MULTILINE)
    assert rows == [(one.name, one.needed_for) for one in NAMESPACES]


def test_options_take_rights_beside_the_table(tmp_path: Path) -> None:
    def taken(more: str) -> tuple[object, ...]:
        file = tmp_path / "routes.yaml"
        receivers = "receivers: [{name: a, pagerduty_configs: [{routing_key_env: K}]}]"
        file.write_text(f"{receivers}\nroute: {{receiver: a}}\n{more}\n")
        config, problems = check(file, ALL)
        assert config is not None, problems
        return beside(config, "local")

    assert taken("") == ()
    assert taken("namespace_routing: {allow: {receivers: [a]}}") == NAMESPACES
