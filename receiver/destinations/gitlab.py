"""GitLab Issues, of gitlab.com or one's own: the settings, the calls, and what its answers mean.

The story's side (what to do next, words, look-ups) is `forges`. A log is uploaded to the project and linked from a
comment; an upload that no comment links to is seen by nobody.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import quote

import httpx2
from pydantic import Field, field_validator

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
from receiver.errors import DestinationRefused, Refused, Transient, Unknown
from receiver.http import header_secret
from receiver.rendering import Renderer
from receiver.rendering.fields import Templated

MAX_TITLE = 255
MAX_LABEL = 255
MAX_TEXT = 1_000_000
"""Of a comment; an issue's text may be a little longer."""
NEWEST_FIRST = {"order_by": "created_at", "sort": "desc"}
LIMITED_S = 60.0
"""How long to wait where GitLab names no time: its limits are per minute."""


class GitLabSettings(Settings):
    """`gitlab_configs`: a project whose issues are enabled."""

    secrets = ("token",)

    url: Url = "https://gitlab.com"
    """Of the whole GitLab, as people open it."""
    project: str = Field(min_length=1)
    """Number, or whole path such as `platform/migrations`."""
    token: Secret
    """Project or group access token of the role Reporter or above, with the scope `api`."""
    title: Templated = ""
    """Title of a new issue, which may be a template; empty takes the message's own."""
    labels: Names = ()
    """Labels of every issue, besides `mtv-receiver`; may be templates. GitLab makes those that are not there."""
    attach_logs: bool = True
    """Upload the logs that were read, redacted, and link them from comments; only with `content: full`."""
    confidential: bool = False
    """New issues are seen by members of the project alone."""
    reopen_duration: Duration = 604_800.0
    """An issue that was closed longer ago is left alone, and a new one is made."""
    wont_fix_labels: Names = ("wontfix",)
    """A closed issue with one of these is never reopened, like one that was moved away or is a duplicate."""

    default_lookup_grace_s: ClassVar[float] = 15.0

    @field_validator("project")
    @classmethod
    def _path_or_number(cls, value: str) -> str:
        if not re.fullmatch(r"\d+|[\w.-]+(?:/[\w.-]+)+", value):
            raise ValueError("not a project; write its number or its whole path such as group/name, without the host")
        return value

    @field_validator("labels", "wont_fix_labels")
    @classmethod
    def _names_of_labels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return label_names(value, MAX_LABEL, "write one name each")


class GitLabForge(ForgeCalls):
    """One project; see `forges.Forge`."""

    flavor: ClassVar[Flavor] = Flavor.GITLAB
    max_title: ClassVar[int] = MAX_TITLE
    max_text: ClassVar[int] = MAX_TEXT
    max_label: ClassVar[int] = MAX_LABEL
    whose: ClassVar[str] = "GitLab's"
    comments_path: ClassVar[str] = "/notes"

    def __init__(self, settings: GitLabSettings, http: httpx2.AsyncClient) -> None:
        super().__init__(http, f"{_site(settings)}/api/v4/projects/{quote(settings.project, safe='')}")
        self._settings = settings
        self.wont_fix: tuple[str, ...] = ("moved", "duplicate", *settings.wont_fix_labels)
        self.reopen_s = settings.reopen_duration
        self.title, self.labels = settings.title, settings.labels
        self.assignees: tuple[str, ...] = ()
        self.attach_logs = settings.attach_logs

    def new(self, title: str, text: str, labels: Sequence[str], assignees: Sequence[str]) -> dict[str, Any]:
        del assignees  # GitLab takes numbers of accounts, which nobody knows by heart
        confidential = {"confidential": True} if self._settings.confidential else {}
        return {"title": title, "description": text, "labels": ",".join(labels), **confidential}

    def listed(self, label: str) -> str:
        if self._settings.project.isdigit():
            return ""  # a number is no address
        asked = f"state=all&label_name%5B%5D={quote(label, safe='')}"
        return f"{_site(self._settings)}/{self._settings.project}/-/issues/?{asked}"

    async def write(self, number: str, text: str) -> None:
        await self._about(number, "PUT", "", {"description": text})

    async def move(self, number: str, *, closed: bool) -> None:
        await self._about(number, "PUT", "", {"state_event": "close" if closed else "reopen"})

    async def attach(self, number: str, file: LogFile, mark: str, label: str) -> str:
        path = await self._upload(file)
        link = f"Log: [{markdown.escape(file.name, self.flavor)}]({path})"
        return await self.comment(number, f"{link}\n\n{markdown.hidden(mark, label)}")

    async def _upload(self, file: LogFile) -> str:
        """Return the file's path. What an upload did is seen by nobody: it is never unknown, and parks nothing."""
        files = {"file": (file.name, file.text.encode(), "text/plain")}
        try:
            made = await self._call("POST", "/uploads", files=files)
        except Unknown as error:
            raise Transient(error.reason, status=error.status) from None
        except DestinationRefused as error:
            raise Refused(error.reason, status=error.status) from None
        path = str(made.get("url", ""))
        if not re.fullmatch(r"/[\w./-]+", path):
            raise Refused("GitLab's answer to an upload names no place of the file")
        return path

    async def issues(self, since: datetime, label: str) -> AsyncIterator[Issue]:
        made_since = since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        asked = {"created_after": made_since, "scope": "all", **({"labels": label} if label else {})}
        async for each in self._pages("/issues", {**asked, **NEWEST_FIRST}):
            yield self._issue(each)

    async def comments(self, number: str, since: datetime) -> AsyncIterator[tuple[str, str]]:
        async for each in self._pages(f"/issues/{number}/notes", NEWEST_FIRST):
            made = moment(each.get("created_at"))
            if made is not None and made < since:
                return
            yield str(each.get("id", "")), str(each.get("body") or "")

    async def probe(self) -> None:
        """Ask whether the project is there for this account and has issues."""
        project = await self._call("GET", "")
        if project.get("issues_access_level") == "disabled" or project.get("issues_enabled") is False:
            raise DestinationRefused(f"issues are switched off in {self._settings.project}; switch them on")
        if project.get("archived"):
            raise DestinationRefused(f"{self._settings.project} is archived: nobody can write to it")

    async def shortcomings(self) -> tuple[str, ...]:
        """Return what is amiss although issues can be made."""
        project = await self._call("GET", "")
        if project.get("visibility") == "public" and not self._settings.confidential:
            words = "everybody reads names of VMs and log lines (see confidential and content)"
            return (f"{self._settings.project} is public: {words}",)
        return ()

    def _headers(self) -> dict[str, str]:
        return {"PRIVATE-TOKEN": header_secret(self._settings.token)}

    def _limited_s(self, response: httpx2.Response) -> float | None:
        return until_reset_s(response, "RateLimit-Reset", LIMITED_S) if response.status_code == 429 else None

    def _said(self, response: httpx2.Response) -> str:
        """Return GitLab's words: `message` is a text or a mapping of fields, other errors are in `error`."""
        answer = error_body(response)
        message = answer.get("message") or answer.get("error_description") or answer.get("error")
        if isinstance(message, dict):
            return "; ".join(
                f"{field}: {', '.join(map(str, told)) if isinstance(told, list) else told}"
                for field, told in message.items()
            )
        return str(message or "")

    def _issue(self, found: Mapping[str, Any]) -> Issue:
        labels = [str(each) for each in found.get("labels") or []]
        links = found.get("_links")
        duplicate = isinstance(links, dict) and links.get("closed_as_duplicate_of")
        ended = "moved" if found.get("moved_to_id") else "duplicate" if duplicate else ""
        text = found.get("description")
        return Issue(
            id=str(found.get("iid", "")),
            url=str(found.get("web_url", "")),
            text=text if isinstance(text, str) else None,
            open=found.get("state") != "closed",
            closed=moment(found.get("closed_at")),
            resolution=ended or first_of(labels, self._settings.wont_fix_labels),
        )


def _site(settings: GitLabSettings) -> str:
    return settings.url.rstrip("/").removesuffix("/api/v4")


class GitLabSender(ForgeSender):
    """One project."""

    kind: ClassVar[str] = "gitlab"


class GitLab:
    """The kind; see `receiver.destinations.Kind`."""

    kind: ClassVar[str] = "gitlab"
    config_key: ClassVar[str] = "gitlab_configs"
    settings: ClassVar[type[Any]] = GitLabSettings

    def target(self, settings: GitLabSettings) -> str:
        return f"{_site(settings)} {settings.project}"

    def build(self, config: DestinationConfig, http: httpx2.AsyncClient, renderer: Renderer) -> GitLabSender:
        return GitLabSender(config, GitLabForge(config.settings, http), renderer)
