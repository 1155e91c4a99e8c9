"""Senders of every kind over the wire, against vendors that behave like real ones, and the table of endings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import pytest

from receiver.config.model import HttpConfig
from receiver.destinations import Sender
from receiver.model import Change, Evidence, Outcome, StoryState, VMCounts
from tests.contract.examples import (
    EVIDENCE,
    FIXED,
    ROUTING_KEY,
    TOKEN,
    quiet_alerts,
    secret,
    sender,
    story,
)
from tests.fakes.vendors import FakeVendors

JIRA_TOKEN = "planted-jira-token"
KINDS = ("slack", "pagerduty", "jira", "jira-dc")


@pytest.fixture
async def vendors(anyio_backend: str) -> AsyncIterator[FakeVendors]:
    del anyio_backend
    async with FakeVendors(slack_channels=["payments"], jira_projects=["MIG"]) as started:
        yield started


@dataclass(frozen=True, slots=True)
class Made:
    """Builds senders that speak to the vendors of this test."""

    vendors: FakeVendors
    folder: Path
    clients: list[httpx2.AsyncClient]

    def __call__(self, name: str, raw: Mapping[str, Any] = MappingProxyType({}), **common: Any) -> Sender:
        """Return the sender; `raw` are further settings, `common` what every kind has."""
        http = HttpConfig()
        if name == "slack":
            given = {"channel": "#payments", "app_token_file": TOKEN, "app_url": self.vendors.slack_url}
        elif name == "pagerduty":
            given = {"routing_key_file": ROUTING_KEY, "url": self.vendors.pagerduty_url}
        else:
            url = self.vendors.jira_url if name == "jira" else self.vendors.jira_dc_url
            given = {"api_url": url, "project": "MIG"}
            http = HttpConfig(credentials=secret(self.folder, "jira-token", JIRA_TOKEN))
        kind = name.removesuffix("-dc")
        return sender(kind, {**given, **raw}, self.folder, clients=self.clients, http=http, **common)


@pytest.fixture
async def make(vendors: FakeVendors, tmp_path: Path) -> AsyncIterator[Made]:
    made = Made(vendors, tmp_path, [])
    yield made
    for client in made.clients:
        await client.aclose()


def ended(outcome: Outcome) -> dict[str, Any]:
    return {**FIXED, "outcome": outcome}


def reads_new_run() -> Evidence:
    return replace(EVIDENCE, run="run-2", run_number=2, counts=VMCounts(total=20, failed=0, succeeded=17, running=3))


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table of endings: what happens to the Plan, and which steps follow at each kind."""

    name: str
    change: Change
    key: str
    story: dict[str, Any]
    slack: list[str]
    pagerduty: list[str]
    jira: list[str]
    incident: str
    ticket: str


ALERT_GONE = {"note": "alert gone, plan still failed", "alerts": quiet_alerts(story())}

TABLE = (
    Row("succeeded", Change.RESOLVED, "resolved", ended(Outcome.FIXED),
        ["update", "reply"], ["resolve"], ["update", "comment", "resolve"], "resolved", "Done"),
    Row("executing", Change.RERUN, "rerun-1", {"state": StoryState.RERUNNING, "run": "run-2"},
        ["update", "reply"], ["update"], ["update", "comment"], "triggered", "To Do"),
    Row("alert gone, plan still failed", Change.ALERT_GONE, "", ALERT_GONE,
        ["update"], ["update"], [], "triggered", "To Do"),
    Row("canceled", Change.RESOLVED, "resolved", ended(Outcome.CANCELED),
        ["update", "reply"], ["resolve"], ["update", "comment", "resolve"], "resolved", "Done"),
    Row("deleted", Change.RESOLVED, "resolved", ended(Outcome.DELETED),
        ["update", "reply"], ["resolve"], ["update", "comment", "resolve"], "resolved", "Done"),
    Row("not readable, or no plan at all", Change.RESOLVED, "resolved", ended(Outcome.CLEARED),
        ["update", "reply"], ["resolve"], ["update", "comment", "resolve"], "resolved", "Done"),
)  # fmt: skip
