"""`include`: a file per team. What may be wrong in them is in tests/configs/include-*.yaml, warning-include-*.yaml."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from receiver.__main__ import app
from receiver.config.files import matching
from receiver.config.jsonschema import schema
from receiver.config.load import check, load
from receiver.config.model import Config
from receiver.config.positions import read_yaml
from receiver.config.settings import plain
from receiver.destinations.registry import ALL

MAIN = """\
include: routes.d/*.yaml
receivers:
  - name: platform
    pagerduty_configs: [{routing_key_env: PD_KEY}]
route:
  receiver: platform
  labels: {of: everybody}
  routes:
    - {receiver: platform, matchers: ['own="first"']}
"""
TEAM = """\
receivers:
  - name: NAME
    pagerduty_configs:
      - routing_key_file: NAME-key
routes:
  - namespaces: ['NAME-*']
    receiver: NAME
    mute_time_intervals: [NAME-nights]
time_intervals:
  - name: NAME-nights
    time_intervals: [{times: [{start_time: '22:00', end_time: '24:00'}]}]
runbooks: {NAMEFailed: 'https://wiki.example.com/NAME'}
"""

Write = Callable[..., Path]


def team(name: str) -> str:
    return TEAM.replace("NAME", name)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(main: str = MAIN, **files: str) -> Path:
        (tmp_path / "routes.d").mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / "routes.d" / f"{name}.yaml").write_text(text)
        file = tmp_path / "routes.yaml"
        file.write_text(main)
        return file

    return written


def good(file: Path) -> Config:
    config, problems = check(file, ALL)
    assert [str(one) for one in problems if not ("-key" in one.what and one.warning)] == []
    assert config is not None
    return config


def test_files_are_joined_in_their_order_and_everything_knows_its_own_line(write: Write) -> None:
    config = good(write(payments=team("payments"), erp=team("erp")))
    assert list(config.receivers) == ["platform", "erp", "payments"]
    assert [(one.receivers[0], one.position, one.path) for one in config.route.routes] == [
        ("platform", "routes.yaml:9", "route.routes[0]"),
        ("erp", "routes.d/erp.yaml:6", "route.routes[1]"),
        ("payments", "routes.d/payments.yaml:6", "route.routes[2]"),
    ]
    assert [one.position for one in config.destinations] == [
        "routes.yaml:4",
        "routes.d/erp.yaml:4",
        "routes.d/payments.yaml:4",
    ]
    assert config.route.routes[2].labels == {"of": "everybody"}
    assert list(config.time_intervals) == ["erp-nights", "payments-nights"]
    assert config.runbooks == {f"{name}Failed": f"https://wiki.example.com/{name}" for name in ("erp", "payments")}


def test_routes_yaml_may_leave_receivers_and_routes_to_the_teams(write: Write) -> None:
    config = good(write("include: routes.d/*.yaml\nroute: {receiver: erp}\n", erp=team("erp")))
    assert [one.position for one in config.route.routes] == ["routes.d/erp.yaml:6"]
    assert config.receivers["erp"].destinations


def test_paths_are_relative_to_the_file_that_names_them(write: Write, tmp_path: Path) -> None:
    config = good(write(erp=team("erp")))
    assert config.receivers["erp"].destinations[0].settings.routing_key.file == tmp_path / "routes.d/erp-key"
    problem = next(one for one in check(tmp_path / "routes.yaml", ALL)[1] if "erp-key" in one.what)
    assert str(problem).startswith(
        f"{tmp_path}/routes.d/erp.yaml:4:9: receivers[0].pagerduty_configs[0].routing_key_file"
    )


def test_names_are_as_people_wrote_them(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = MAIN.replace("routes.d/*.yaml", "['../teams/erp.yaml', './routes.d/payments.yaml']")
    file = write(text, payments=team("payments"))
    (tmp_path / "routes.d").rename(tmp_path / "teams")
    folder = tmp_path / "config"
    (folder / "routes.d").mkdir(parents=True)
    (tmp_path / "teams/payments.yaml").rename(folder / "routes.d/payments.yaml")
    (tmp_path / "teams/erp.yaml").write_text(team("erp"))
    file.rename(folder / "routes.yaml")
    monkeypatch.chdir(tmp_path)
    config, problems = check(Path("config/routes.yaml"), ALL)
    assert config is not None
    assert [one.position for one in config.route.routes[1:]] == ["../teams/erp.yaml:6", "routes.d/payments.yaml:6"]
    assert {one.file for one in problems} == {"config/../teams/erp.yaml", "config/routes.d/payments.yaml"}


def test_several_globs_keep_their_order_and_a_file_counts_once(write: Write) -> None:
    text = MAIN.replace("routes.d/*.yaml", "[routes.d/payments.yaml, 'routes.d/*.yaml']")
    config = good(write(text, erp=team("erp"), payments=team("payments")))
    assert list(config.receivers) == ["platform", "payments", "erp"]


def test_hidden_files_folders_and_what_kubernetes_keeps_are_not_meant(tmp_path: Path) -> None:
    for name in ("..2026_11_21/erp.yaml", "erp.yaml", ".erp.yaml", "folder.yaml/x.yaml", "erp.yaml~", ".#erp.yaml"):
        file = tmp_path / "routes.d" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
    (tmp_path / "routes.d/..data").symlink_to("..2026_11_21")
    (tmp_path / "routes.d/payments.yaml").symlink_to("..data/erp.yaml")
    assert matching(tmp_path, "routes.d/*.yaml") == ("routes.d/erp.yaml", "routes.d/payments.yaml")
    assert matching(tmp_path, "routes.d/.*.yaml") == ()
    assert matching(tmp_path, "routes.d/.?*/*.yaml") == ()
    assert matching(tmp_path, "routes.d/*/*.yaml") == ("routes.d/folder.yaml/x.yaml",)
    assert matching(tmp_path, "routes.d/..data/*.yaml") == ("routes.d/..data/erp.yaml",)
    assert matching(tmp_path, f"{tmp_path}/routes.d/e*.yaml") == (f"{tmp_path}/routes.d/erp.yaml",)


def test_a_link_to_nothing_is_a_problem(write: Write, tmp_path: Path) -> None:
    file = write()
    (tmp_path / "routes.d/erp.yaml").symlink_to("gone.yaml")
    assert [(one.line, one.column, one.what) for one in check(file, ALL)[1]] == [
        (1, 10, "there is no file routes.d/erp.yaml")
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_a_problem(write: Write, tmp_path: Path) -> None:
    file = write(erp=team("erp"))
    (tmp_path / "routes.d/erp.yaml").chmod(0)
    assert [one.what for one in check(file, ALL)[1]] == ["routes.d/erp.yaml cannot be read (Permission denied)"]


def test_a_pipe_is_not_waited_for(write: Write, tmp_path: Path) -> None:
    file = write()
    os.mkfifo(tmp_path / "routes.d/erp.yaml")
    assert [one.what for one in check(file, ALL)[1]] == ["routes.d/erp.yaml is no file"]


def test_one_bad_file_of_many_leaves_no_configuration_at_all(write: Write) -> None:
    file = write(erp=team("erp"), payments=team("payments").replace("namespaces", "namespace"))
    config, problems = check(file, ALL)
    assert config is None
    assert [one.key for one in problems if not one.warning] == ["routes[0].namespace"]


# --- the page ---

PAGE = Path(__file__).parents[3] / "docs/teams.md"
BAD = """\
receivers:
  - name: payments
    pagerduty_configs:
      - routing_key_file: ../secrets/pagerduty-payments
routes:
  - namespace: ['shop-*']
    receiver: payments
global: {digest_after: 0}
"""


def test_the_page_shows_what_check_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, block in re.findall(r"```yaml\n# (\S+)\n(.*?)```", text, re.DOTALL):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"# {name}\n{block}")
    (tmp_path / "secrets").mkdir()
    for name in ("slack-app-token", "pagerduty-payments"):
        (tmp_path / "secrets" / name).write_text("x")
    first, second = re.findall(r"\$ mtv-receiver check routes.yaml\n(.*?)```", text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(app, ["check", "routes.yaml"]).stdout == first
    place = load(Path("routes.yaml"), ALL).route.routes[0].position
    assert f"`{place}`" in text
    (tmp_path / "routes.d/shop.yaml").write_text(BAD)
    result = CliRunner().invoke(app, ["check", "routes.yaml"])
    assert (result.exit_code, result.stdout) == (1, second)


# --- changes ---


def test_a_new_a_changed_and_a_removed_file_are_seen(write: Write, tmp_path: Path) -> None:
    config = load(write(erp=team("erp")), ALL)
    assert config.included == (tmp_path / "routes.d/erp.yaml",)
    assert set(config.included) < set(config.files)
    marks = [config.mark()]
    new = tmp_path / "routes.d/payments.yaml"
    for change in (
        lambda: new.write_text("not right yet"),
        lambda: new.write_text(team("payments")),  # of a file that was refused
        lambda: (tmp_path / "routes.d/erp.yaml").write_text("# nothing"),
        new.unlink,
    ):
        change()
        marks.append(config.mark())
    assert len(set(marks)) == len(marks)


def test_what_else_lies_in_the_folder_is_not_looked_at(write: Write, tmp_path: Path) -> None:
    config = load(write(erp=team("erp")), ALL)
    before = config.mark()
    (tmp_path / "routes.d/.erp.yaml.swp").write_text("")
    (tmp_path / "routes.d/notes.txt").write_text("")
    assert config.mark() == before


def test_the_hash_is_that_of_all_files_that_were_read(write: Write, tmp_path: Path) -> None:
    (tmp_path / "own/firing").mkdir(parents=True)
    (tmp_path / "of-erp/firing").mkdir(parents=True)
    cause = "id: vpn-down\n  patterns: [vpn]\n  sentence: No VPN.\n  remedy: [Call.]\n  owner: us\n  example: vpn"
    texts = {
        "causes.yaml": f"- {cause}\n",
        "own/firing/title.j2": "one",
        "of-erp/firing/title.j2": "two",
        "routes.d/erp.yaml": team("erp").replace("erp-key", "erp-key\n        template: ../of-erp"),
    }
    file = write(f"{MAIN}causes_files: [causes.yaml]\ntemplates: own\n")
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    seen = {load(file, ALL).hash}
    for name, text in texts.items():
        (tmp_path / name).write_text(
            text.replace("vpn-down", "vpn-gone").replace("o", "0", 1) if "j2" in name else text + "\n"
        )
        seen.add(load(file, ALL).hash)
    assert len(seen) == 1 + len(texts)
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    assert load(file, ALL).hash in seen, "the same files are the same configuration"
    (tmp_path / "routes.d/erp.yaml").rename(tmp_path / "routes.d/other.yaml")
    assert load(file, ALL).hash not in seen, "reasons name another file"


def test_the_hash_of_templates_that_kubernetes_mounts_is_that_of_their_content(write: Write, tmp_path: Path) -> None:
    seen = set()
    for version in ("..2026_11_21", "..2026_11_22"):
        folder = tmp_path / version / "own"
        (folder / version / "firing").mkdir(parents=True)
        (folder / version / "firing/title.j2").write_text("one")
        (folder / "..data").symlink_to(version)
        (folder / "firing").symlink_to("..data/firing")
        (tmp_path / "own").unlink(missing_ok=True)
        (tmp_path / "own").symlink_to(folder)
        seen.add(load(write(f"{MAIN}templates: own\n"), ALL).hash)
    assert len(seen) == 1


# --- the schema ---


def test_the_schema_takes_an_included_file_and_nothing_that_is_not_for_it(write: Write) -> None:
    found = schema(ALL, included=True)
    jsonschema.Draft202012Validator.check_schema(found)
    validator = jsonschema.Draft202012Validator(found)
    one = plain(read_yaml(team("erp").encode()).value)
    assert [error.message for error in validator.iter_errors(one)] == []
    for wrong in ("global", "route", "include", "web"):
        assert not validator.is_valid({**one, wrong: {}})
    assert not validator.is_valid({"routes": [{"receivr": "erp"}]})


def test_the_schema_of_routes_yaml_wants_receivers_unless_files_are_included() -> None:
    validator = jsonschema.Draft202012Validator(schema(ALL))
    assert validator.is_valid({"route": {"receiver": "a"}, "include": "routes.d/*.yaml"})
    assert validator.is_valid({"route": {"receiver": "a"}, "include": ["a.yaml"]})
    assert not validator.is_valid({"route": {"receiver": "a"}})
