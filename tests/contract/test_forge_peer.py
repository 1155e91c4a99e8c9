"""The life of an issue at a GitHub that others wrote: the emulator of npm package `emulate`, version 0.12.2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver.destinations import Sender
from receiver.errors import DestinationRefused
from receiver.model import Change
from tests.contract.examples import deliver, moved, sender
from tests.contract.forge_making import again, ended, logs
from tests.contract.peers import emulate

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TOKEN = "planted-forge-token"
SEED = f"""
tokens: {{{TOKEN}: {{login: admin, scopes: [repo]}}}}
github:
  users: [{{login: admin}}, {{login: octocat}}]
  repos: [{{owner: admin, name: migrations, auto_init: true}}]
"""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of an emulator with one repository."""
    with emulate("github", SEED, tmp_path_factory.mktemp("peer")) as url:
        yield url


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
