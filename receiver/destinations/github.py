"""GitHub Issues, of github.com or an Enterprise Server: the settings, the calls, and what its answers mean.

The story's side (what to do next, words, look-ups) is `forges`. GitHub has no way to attach a file by its API: a log
becomes a folded comment.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

import httpx2
from pydantic import field_validator

from receiver.config.durations import Duration
from receiver.config.model import DestinationConfig, Secret
from receiver.config.settings import Names, Settings, Url
from receiver.destinations import markdown
from receiver.destinations.forges import (
    PAGE,
    PAGES,
    ForgeSender,
    Issue,
    decoded,
    error_body,
    meaning,
    moment,
)
from receiver.destinations.logfiles import LogFile
from receiver.destinations.markdown import Flavor
from receiver.errors import DeliveryError, DestinationRefused, Gone
from receiver.http import header_secret, raise_for_transport
from receiver.rendering import Renderer
from receiver.rendering.fields import Templated, check_all, is_template

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
        fixed = [label for label in check_all(value) if not is_template(label)]
        if any(not label.strip() or "," in label or len(label) > MAX_LABEL for label in fixed):
            raise ValueError(f"a label is empty, has a comma or more than {MAX_LABEL} characters; shorten it")
        return value


class GitHubForge:
    """One repository; see `forges.Forge`."""

    flavor: ClassVar[Flavor] = Flavor.GITHUB
    max_title: ClassVar[int] = MAX_TITLE
    max_text: ClassVar[int] = MAX_TEXT
    max_label: ClassVar[int] = MAX_LABEL

    def __init__(self, settings: GitHubSettings, http: httpx2.AsyncClient) -> None:
        self._settings = settings
        self._http = http
        self._repo = f"{settings.api_url.rstrip('/')}/repos/{settings.repo}"
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

    async def create(self, body: Mapping[str, Any]) -> Issue:
        return self._issue(await self._call("POST", "/issues", body=body))

    async def issue(self, number: str) -> Issue:
        return self._issue(await self._about(number, "GET", ""))

    async def write(self, number: str, text: str) -> None:
        await self._about(number, "PATCH", "", {"body": text})

    async def move(self, number: str, *, closed: bool) -> None:
        state, reason = ("closed", "completed") if closed else ("open", "reopened")
        await self._about(number, "PATCH", "", {"state": state, "state_reason": reason})

    async def comment(self, number: str, text: str) -> str:
        return str((await self._about(number, "POST", "/comments", {"body": text})).get("id", ""))

    async def attach(self, number: str, file: LogFile, mark: str, label: str) -> str:
        return await self.comment(number, markdown.log(file.name, file.text, mark, label, self.flavor, LOG_BYTES))

    async def issues(self, since: datetime, label: str) -> AsyncIterator[Issue]:
        asked = {"state": "all", "sort": "created", "direction": "desc", **({"labels": label} if label else {})}
        async for each in self._pages("/issues", since, asked):
            if "pull_request" not in each:
                yield self._issue(each)

    async def comments(self, number: str, since: datetime) -> AsyncIterator[tuple[str, str]]:
        async for each in self._pages(f"/issues/{number}/comments", since, {}):
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

    async def _about(
        self, number: str, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """Call about one issue. Raises Gone only where the repository itself is still there for us."""
        try:
            return await self._call(method, f"/issues/{number}{path}", body=body, missing=Gone)
        except Gone:
            await self._call("GET", "")  # 404 also is what an account hears that has lost its rights
            raise

    async def _pages(self, path: str, since: datetime, asked: Mapping[str, str]) -> AsyncIterator[Mapping[str, Any]]:
        for page in range(1, PAGES + 1):
            params = {**asked, "since": since.strftime("%Y-%m-%dT%H:%M:%SZ"), "per_page": str(PAGE), "page": str(page)}
            answer = await self._request("GET", path, None, params, DestinationRefused)
            found = [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else []
            for each in found:
                yield each
            if len(found) < PAGE:
                return

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        missing: type[DeliveryError] = DestinationRefused,
    ) -> Mapping[str, Any]:
        answer = await self._request(method, path, body, None, missing)
        return answer if isinstance(answer, dict) else {}

    async def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        params: Mapping[str, str] | None,
        missing: type[DeliveryError],
    ) -> Any:
        headers = {
            "Authorization": f"Bearer {header_secret(self._settings.token)}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION,
        }
        try:
            response = await self._http.request(
                method, f"{self._repo}{path}", json=body, params=params, headers=headers
            )
        except httpx2.HTTPError as error:
            raise_for_transport(error)
        if failed := meaning(response, _said(response), _limited_s(response), missing):
            raise failed
        return decoded(response, "GitHub's")

    def _issue(self, found: Mapping[str, Any]) -> Issue:
        reason = str(found.get("state_reason") or "")
        labels = [str(each.get("name") if isinstance(each, dict) else each) for each in found.get("labels") or []]
        declined = reason if reason in NEVER_MIND else _first(labels, self._settings.wont_fix_labels)
        text = found.get("body")
        return Issue(
            id=str(found.get("number", "")),
            url=str(found.get("html_url", "")),
            text=text if isinstance(text, str) else None,
            open=found.get("state") != "closed",
            closed=moment(found.get("closed_at")),
            resolution=declined,
        )


def _first(labels: Sequence[str], wanted: Sequence[str]) -> str:
    known = {each.casefold() for each in wanted}
    return next((each for each in labels if each.casefold() in known), "")


def _limited_s(response: httpx2.Response) -> float | None:
    """Return how long to wait where 403 or 429 mean "too much", not "not allowed"; None for anything else."""
    if response.status_code not in (403, 429):
        return None
    if response.headers.get("X-RateLimit-Remaining") == "0":
        return _until_reset_s(response)
    said = str(error_body(response).get("message", "")).lower()
    if response.status_code == 429 or "Retry-After" in response.headers or "rate limit" in said or "abuse" in said:
        return SECONDARY_S
    return None


def _until_reset_s(response: httpx2.Response) -> float:
    """Return the wait until `X-RateLimit-Reset` by the answer's own clock: at most an hour, the longest that it is."""
    try:
        now = parsedate_to_datetime(response.headers.get("Date", "")).timestamp()
        wait_s = float(response.headers["X-RateLimit-Reset"]) - now
    except (KeyError, TypeError, ValueError):
        return SECONDARY_S
    return min(max(wait_s, 1.0), 3_600.0)


def _said(response: httpx2.Response) -> str:
    """Return GitHub's message and what it says of single fields."""
    answer = error_body(response)
    told = [str(answer.get("message") or "")]
    for each in answer.get("errors") or []:
        if isinstance(each, dict):
            told.append(str(each.get("message") or " ".join(str(each.get(key, "")) for key in ("field", "code"))))
        else:
            told.append(str(each))
    return "; ".join(each.strip() for each in told if each.strip())


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
