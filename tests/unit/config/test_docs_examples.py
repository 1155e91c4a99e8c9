"""What the pages of destinations show as configuration is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from receiver.config.load import check
from receiver.destinations.registry import ALL
from receiver.kube.rights import REVIEW

PAGES = Path(__file__).parents[3] / "docs" / "destinations"
EXAMPLES = [
    (page.stem, at, block)
    for page in sorted(PAGES.glob("*.md"))
    for at, block in enumerate(re.findall(r"```yaml\n(receivers:.*?)```", page.read_text(encoding="utf-8"), re.DOTALL))
]


@pytest.mark.parametrize(("page", "number", "text"), EXAMPLES, ids=[f"{page}-{at}" for page, at, _ in EXAMPLES])
def test_the_example_of_a_page_is_a_configuration(page: str, number: int, text: str, tmp_path: Path) -> None:
    del page, number
    (name,) = set(re.findall(r"- name: (\S+)", text)[:1])
    file = tmp_path / "routes.yaml"
    file.write_text(f"{text}\nroute: {{receiver: {name}}}\n")
    config, problems = check(file, ALL)
    assert [str(problem) for problem in problems if not problem.warning] == []
    assert config is not None


@pytest.mark.parametrize("kind", ["jira", "servicenow"])
def test_a_page_names_every_key_of_its_settings_and_no_other(kind: str) -> None:
    settings = next(each.settings for each in ALL if each.kind == kind)
    text = (PAGES / f"{kind}.md").read_text(encoding="utf-8")
    table = text[text.index("| Key |") : text.index("\n\n", text.index("| Key |"))]
    named = {key for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", cell)}
    assert named == set(settings.model_fields)


@pytest.mark.parametrize("page", ["jira", "servicenow"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    known = {
        name
        for file in (PAGES.parents[1] / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text(encoding="utf-8"))
    }
    named = set(re.findall(r"\b(?<!/)(test_\w+)(?!\w|\.py)", text))
    assert named
    assert named - known == set()


SECURITY = (PAGES.parent / "security.md").read_text(encoding="utf-8")
VISIBLE = [block for block in re.findall(r"```yaml\n(web:.*?)```", SECURITY, re.DOTALL) if "visibility:" in block]


@pytest.mark.parametrize("text", VISIBLE, ids=["oauth2-proxy", "oauth-proxy"])
def test_the_examples_of_who_sees_what_are_configurations(text: str, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(
        f"{text}receivers: [{{name: a, pagerduty_configs: [{{routing_key_env: K}}]}}]\nroute: {{receiver: a}}\n"
    )
    config, problems = check(file, ALL)
    assert problems == ()
    assert config is not None
    assert config.web.visibility is not None


def test_the_right_that_visibility_needs_is_granted_as_the_page_says() -> None:
    (text,) = (block for block in re.findall(r"```yaml\n(.*?)```", SECURITY, re.DOTALL) if "ClusterRole" in block)
    role, binding = yaml.safe_load_all(text)
    assert role["rules"] == [yaml.safe_load(REVIEW.rule)[0]]
    shipped = list(yaml.safe_load_all((PAGES.parents[1] / "deploy/rights/rbac.yaml").read_text()))
    (account,) = (one["metadata"] for one in shipped if one["kind"] == "ServiceAccount")
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["name"], "namespace": account["namespace"]}
    ]
