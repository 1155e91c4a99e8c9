"""What is shipped around the code: lock files, Makefile, Dockerfile, the wheel's contents."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from receiver.fingerprint import fingerprint

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock")
PINNED = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ ;\\]+)", re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def project() -> dict[str, Any]:
    return tomllib.loads(read("pyproject.toml"))


def locked(name: str) -> dict[str, str]:
    return dict(PINNED.findall(read(name)))


def required(*lists: list[str]) -> set[str]:
    names = (re.match(r"[A-Za-z0-9._-]+", line) for entries in lists for line in entries)
    return {match[0].lower().replace("_", "-") for match in names if match}


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_names_no_host_and_no_path(name: str) -> None:
    text = read(name)
    assert "://" not in text
    assert not re.search(r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b", text, re.MULTILINE)
    assert "file:" not in text
    assert " @ " not in text


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_version_and_hashes(name: str) -> None:
    entries = re.split(r"\n(?=\S)", read(name).strip())
    without = [entry.splitlines()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry]
    assert without == []


def test_the_lock_files_hold_what_the_project_asks_for() -> None:
    settings = project()
    groups = settings["dependency-groups"]
    runtime, build = required(settings["project"]["dependencies"]), required(groups["build"])
    assert runtime - set(locked("requirements.lock")) == set()
    assert (runtime | build | required(groups["dev"])) - set(locked("requirements-dev.lock")) == set()
    assert (build | required(settings["build-system"]["requires"])) - set(locked("requirements-build.lock")) == set()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-build.lock"])
def test_tests_run_with_the_versions_that_are_shipped(name: str) -> None:
    dev = locked("requirements-dev.lock")
    assert {package: dev.get(package) for package in locked(name)} == locked(name)


def test_every_make_target_has_a_comment_and_is_declared_phony() -> None:
    makefile = read("Makefile")
    targets = re.findall(r"^([a-z]+):(.*)$", makefile, re.MULTILINE)
    assert {"help", "setup", "run", "demo", "test", "lint", "format", "check", "lock", "clean"} <= {
        n for n, _ in targets
    }
    assert [name for name, rest in targets if not re.search(r"## \S", rest)] == []
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == {name for name, _ in targets}


def test_the_image_runs_as_a_numeric_user_that_is_not_root_in_group_0() -> None:
    users = re.findall(r"^USER (.*)$", read("Dockerfile"), re.MULTILINE)
    assert users != []
    user, _, group = users[-1].partition(":")
    assert user.isdecimal()
    assert int(user) != 0
    assert group == "0"
    last_stage = read("Dockerfile").rpartition("\nFROM ")[2]
    assert "\nUSER " in last_stage


class Health(BaseHTTPRequestHandler):
    """Answers for a service that is healthy, or is not."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/-/healthy" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_health_check_of_the_image_asks_where_the_service_listens(host: str, status: int, code: int) -> None:
    check = re.search(r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", read("Dockerfile"), re.MULTILINE)
    assert check is not None
    words = json.loads(check[1])
    with HTTPServer((host, 0), type("Answer", (Health,), {"status": status})) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            # Nothing listens at the proxy: a check that went through it would fail.
            env = {"MTV_RECEIVER_LISTEN": f"{host}:{server.server_port}", "http_proxy": "http://127.0.0.1:9"}
            asked = subprocess.run([sys.executable, *words[1:]], env=env, timeout=30, capture_output=True, check=False)
        finally:
            server.shutdown()

    assert words[0] == "python"
    assert asked.returncode == code, asked.stderr


def test_no_base_image_is_whatever_is_newest() -> None:
    dockerfile = read("Dockerfile")
    arguments = dict(re.findall(r"^ARG (\w+)=(.*)$", dockerfile, re.MULTILINE))
    images = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert len(images) > 1
    for image in images:
        named = re.sub(r"\$\{(\w+)\}", lambda match: arguments[match[1]], image)
        assert re.search(r":[^:/]+$", named), f"{named} has no tag"
        assert not named.endswith(":latest")


def test_what_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    kept = {line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")}
    sources: list[str] = []
    for line in re.findall(r"^COPY (?!--from)(.*)$", read("Dockerfile"), re.MULTILINE):
        sources += line.split()[:-1]
    assert sources != []
    assert [name for name in sources if not (ROOT / name).exists()] == []
    assert set(sources) - kept == set()


def test_the_wheel_takes_the_shipped_configuration_the_templates_and_the_runbooks_along() -> None:
    wheel = project()["tool"]["hatch"]["build"]["targets"]["wheel"]
    for source, target in wheel["force-include"].items():
        assert (ROOT / source).exists()
        assert target.startswith("receiver/")
    assert set(wheel["force-include"]) == {"templates", "routes.yaml", "docs/runbooks"}


@pytest.mark.parametrize("script", [".ci/run", ".ci/servers"])
def test_a_script_is_executable_and_stops_at_the_first_error(script: str) -> None:
    assert (ROOT / script).stat().st_mode & 0o111
    assert "\nset -euo pipefail\n" in read(script)


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "alerts").glob("*.json")), ids=lambda path: path.name)
def test_an_example_alert_has_the_fingerprint_of_its_labels(path: Path) -> None:
    body = json.loads(path.read_text(encoding="utf-8"))
    assert body["version"] == "4"
    for alert in body["alerts"]:
        assert alert["fingerprint"] == fingerprint(alert["labels"])
        assert body["commonLabels"].items() <= alert["labels"].items()
