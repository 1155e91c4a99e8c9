"""Senders to the fake GitHub and GitLab, and the stories that they are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2

from receiver.destinations import Sender
from receiver.keeping import pack
from receiver.model import Change, Outcome, StoryState, Wanted
from tests.contract.examples import EVIDENCE, FIXED, moved, sender, story, wanted
from tests.fakes.github import Issue as GitHubIssue
from tests.fakes.gitlab import Issue as GitLabIssue
from tests.fakes.vendors import FakeVendors

TOKEN = "planted-forge-token"
KINDS = ("github", "gitlab")


@dataclass(frozen=True, slots=True)
class Made:
    """Builds senders that speak to one forge, and looks at what is there."""

    vendors: FakeVendors
    folder: Path
    clients: list[httpx2.AsyncClient]
    kind: str

    def __call__(self, raw: Mapping[str, Any] = MappingProxyType({}), **common: Any) -> Sender:
        """Return the sender; `raw` are further settings, `common` what every kind has."""
        given: dict[str, Any] = {"token_file": TOKEN}
        if self.kind == "github":
            given |= {"api_url": f"{self.vendors.base_url}/github/api/v3", "repo": "acme/migrations"}
        else:
            given |= {"url": f"{self.vendors.base_url}/gitlab", "project": "acme/migrations"}
        return sender(self.kind, {**given, **raw}, self.folder, clients=self.clients, **common)

    @property
    def site(self) -> Any:
        return self.vendors.github if self.kind == "github" else self.vendors.gitlab

    @property
    def issue(self) -> GitHubIssue | GitLabIssue:
        """The only issue that there is."""
        (found,) = self.site.issues()
        made: GitHubIssue | GitLabIssue = found
        return made

    @property
    def text(self) -> str:
        found = self.issue
        return str(found.body if isinstance(found, GitHubIssue) else found.description)

    def write(self, text: str | None) -> None:
        """Edit the issue's text as a person does."""
        found = self.issue
        if isinstance(found, GitHubIssue):
            found.body = text
        else:
            found.description = text

    def number(self) -> int:
        found = self.issue
        return found.number if isinstance(found, GitHubIssue) else found.iid

    def requests(self) -> list[str]:
        return [each.operation for each in self.vendors.seen(self.kind)]  # type: ignore[arg-type]


def ended(state: Wanted, outcome: Outcome = Outcome.FIXED) -> Wanted:
    return moved(state, Change.RESOLVED, key="resolved", **{**FIXED, "outcome": outcome})


def again(state: Wanted, **changes: Any) -> Wanted:
    return moved(
        state, Change.REOPENED, key="reopened-1", state=StoryState.FIRING, outcome=None, closed=None, **changes
    )


def logs(count: int, lines: int = 200, mark: str = "could not read key") -> Wanted:
    """Return a story with this many kept logs."""
    text = "\n".join(f"{at:05} virt-v2v: {mark} {'x' * 60}" for at in range(lines))
    kept = [replace(EVIDENCE.logs[0], vm=f"pay-win-app{at:02}", kept=pack(text)) for at in range(count)]
    return wanted(story(evidence=replace(EVIDENCE, logs=tuple(kept))))
