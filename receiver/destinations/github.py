"""GitHub Issues, of github.com or an Enterprise Server: the settings, the calls, and what its answers mean.

The story's side (what to do next, words, look-ups) is `forges`. GitHub has no way to attach a file by its API: a log
becomes a folded comment.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import httpx2
from pydantic import field_validator

from receiver.config.durations import Duration
from receiver.config.model import DestinationConfig, Secret
from receiver.config.settings import Names, Settings, Url
from receiver.destinations import markdown
from receiver.destinations.forge_calls import (
    ForgeCalls,
    Issue,
    error_body,
    first_of,
    label_names,
    moment,
    until_reset_s,
)
from receiver.destinations.forges import ForgeSender
from receiver.destinations.logfiles import LogFile
from receiver.destinations.markdown import Flavor
from receiver.errors import DestinationRefused
from receiver.http import header_secret
from receiver.rendering import Renderer
from receiver.rendering.fields import Templated, check_all

MAX_TITLE = 256
MAX_TEXT = 65_536
"""Of an issue's text and of a comment."""
LOG_BYTES = 60_000
MAX_LABEL = 50
VERSION = "2022-11-28"
SECONDARY_S = 60.0
"""How long GitHub asks to wait at least where it names no time."""
NEVER_MIND = ("not_planned", "duplicate")
"""Reasons with which people close what they do not want again; ours is always `completed`."""


class GitHubSettings(Settings):
    """`github_configs`: a repository whose issues are enabled."""

    secrets = ("token",)

    api_url: Url = "https://api.github.com"
    """Of an Enterprise Server: https://HOST/api/v3."""
    repo: str
    """`owner/name`."""
    token: Secret
    """Fine-grained or installation token that may read and write issues; only push access may set labels."""
    title: Templated = ""
    """Title of a new issue, which may be a template; empty takes the message's own."""
    labels: Names = ()
    """Labels of every issue, besides `mtv-receiver`; may be templates. GitHub makes those that are not there."""
    assignees: Names = ()
    """Accounts that every new issue is assigned to; may be templates."""
    attach_logs: bool = True
    """Add the logs that were read, redacted, as folded comments; only with `content: full`."""
    reopen_duration: Duration = 604_800.0
    """An issue that was closed longer ago is left alone, and a new one is made."""
    wont_fix_labels: Names = ("wontfix",)
    """A closed issue with one of these is never reopened, like one that was closed as not planned or duplicate."""

    default_rate_limit: ClassVar[tuple[float, int]] = (60.0, 20)
    """Requests a minute, and how many at once: GitHub takes about 80 a minute that create content, and bans an
    integration that goes on past its limits."""
    default_lookup_grace_s: ClassVar[float] = 15.0

    @field_validator("api_url")
    @classmethod
    def _an_api(cls, value: str) -> str:
        parts = urlsplit(value)
        if not re.fullmatch(r"|.*/api/v3", parts.path.rstrip("/")) or parts.hostname in (
            "github.com",
            "www.github.com",
        ):
            raise ValueError(
                "not the API; write https://api.github.com, or https://HOST/api/v3 of an Enterprise Server"
            )
        return value

    @field_validator("repo")
    @classmethod
    def _owner_and_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", value):
            raise ValueError("not a repository; write OWNER/NAME, without the host")
        return value

    @field_validator("assignees")
    @classmethod
    def _templates(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_all(value))

    @field_validator("labels", "wont_fix_labels")
    @classmethod
    def _names_of_labels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return label_names(value, MAX_LABEL, "shorten it")


class GitHubForge(ForgeCalls):
    """One repository; see `forges.Forge`."""

    flavor: ClassVar[Flavor] = Flavor.GITHUB
    max_title: ClassVar[int] = MAX_TITLE
    max_text: ClassVar[int] = MAX_TEXT
    max_label: ClassVar[int] = MAX_LABEL
    whose: ClassVar[str] = "GitHub's"
    comments_path: ClassVar[str] = "/comments"

    def __init__(self, settings: GitHubSettings, http: httpx2.AsyncClient) -> None:
        super().__init__(http, f"{settings.api_url.rstrip('/')}/repos/{settings.repo}")
        self._settings = settings
        self.wont_fix: tuple[str, ...] = (*NEVER_MIND, *settings.wont_fix_labels)
        self.reopen_s = settings.reopen_duration
        self.title, self.labels, self.assignees = settings.title, settings.labels, settings.assignees
        self.attach_logs = settings.attach_logs

    def new(self, title: str, text: str, labels: Sequence[str], assignees: Sequence[str]) -> dict[str, Any]:
        people = {"assignees": list(assignees)} if assignees else {}
        return {"title": title, "body": text, "labels": list(labels), **people}

    def listed(self, label: str) -> str:
        parts = urlsplit(self._settings.api_url)
        host = (parts.hostname or "").removeprefix("api.") if not parts.path.rstrip("/") else parts.netloc
        asked = quote(f'is:issue label:"{label}"')
        return f"{parts.scheme}://{host}/{self._settings.repo}/issues?q={asked}"

    async def write(self, number: str, text: str) -> None:
        await self._about(number, "PATCH", "", {"body": text})

    async def move(self, number: str, *, closed: bool) -> None:
        state, reason = ("closed", "completed") if closed else ("open", "reopened")
        await self._about(number, "PATCH", "", {"state": state, "state_reason": reason})

    async def attach(self, number: str, file: LogFile, mark: str, label: str) -> str:
        return await self.comment(number, markdown.log(file.name, file.text, mark, label, self.flavor, LOG_BYTES))

    async def issues(self, since: datetime, label: str) -> AsyncIterator[Issue]:
        asked = {"state": "all", "sort": "created", "direction": "desc", **({"labels": label} if label else {})}
        async for each in self._pages("/issues", {**asked, "since": _stamp(since)}):
            if "pull_request" not in each:
                yield self._issue(each)

    async def comments(self, number: str, since: datetime) -> AsyncIterator[tuple[str, str]]:
        async for each in self._pages(f"/issues/{number}/comments", {"since": _stamp(since)}):
            yield str(each.get("id", "")), str(each.get("body") or "")

    async def probe(self) -> None:
        """Ask whether the repository is there for this account and has issues."""
        repository = await self._call("GET", "")
        if repository.get("has_issues") is False:
            raise DestinationRefused(f"issues are switched off in {self._settings.repo}; switch them on")
        if repository.get("archived"):
            raise DestinationRefused(f"{self._settings.repo} is archived: nobody can write to it")

    async def shortcomings(self) -> tuple[str, ...]:
        """Return what is amiss although issues can be made."""
        repository = await self._call("GET", "")
        found = []
        rights = repository.get("permissions")
        if isinstance(rights, dict) and not rights.get("push") and not rights.get("triage"):
            found.append("the account may not set labels and assignees: GitHub drops them without a word")
        if repository.get("private") is False:
            found.append(f"{self._settings.repo} is public: everybody reads names of VMs and log lines (see content)")
        return tuple(found)

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {header_secret(self._settings.token)}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION,
        }

    def _limited_s(self, response: httpx2.Response) -> float | None:
        """Return how long to wait where 403 or 429 mean "too much", not "not allowed"; None for anything else."""
        if response.status_code not in (403, 429):
            return None
        if response.headers.get("X-RateLimit-Remaining") == "0":
            return until_reset_s(response, "X-RateLimit-Reset", SECONDARY_S)
        said = str(error_body(response).get("message", "")).lower()
        if response.status_code == 429 or "Retry-After" in response.headers or "rate limit" in said or "abuse" in said:
            return SECONDARY_S
        return None

    def _said(self, response: httpx2.Response) -> str:
        """Return GitHub's message and what it says of single fields."""
        answer = error_body(response)
        told = [str(answer.get("message") or "")]
        for each in answer.get("errors") or []:
            if isinstance(each, dict):
                told.append(str(each.get("message") or " ".join(str(each.get(key, "")) for key in ("field", "code"))))
            else:
                told.append(str(each))
        return "; ".join(each.strip() for each in told if each.strip())

    def _issue(self, found: Mapping[str, Any]) -> Issue:
        reason = str(found.get("state_reason") or "")
        labels = [str(each.get("name") if isinstance(each, dict) else each) for each in found.get("labels") or []]
        declined = reason if reason in NEVER_MIND else first_of(labels, self._settings.wont_fix_labels)
        text = found.get("body")
        return Issue(
            id=str(found.get("number", "")),
            url=str(found.get("html_url", "")),
            text=text if isinstance(text, str) else None,
            open=found.get("state") != "closed",
            closed=moment(found.get("closed_at")),
            resolution=declined,
        )


def _stamp(since: datetime) -> str:
    return since.strftime("%Y-%m-%dT%H:%M:%SZ")


class GitHubSender(ForgeSender):
    """One repository."""

    kind: ClassVar[str] = "github"


class GitHub:
    """The kind; see `receiver.destinations.Kind`."""

    kind: ClassVar[str] = "github"
    config_key: ClassVar[str] = "github_configs"
    settings: ClassVar[type[Any]] = GitHubSettings

    def target(self, settings: GitHubSettings) -> str:
        return f"{settings.api_url.rstrip('/')} {settings.repo}"

    def build(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> GitHubSender:
        return GitHubSender(config, GitHubForge(config.settings, http), renderer)
