"""Jira's settings, and the fields of a new ticket that they ask for."""

from __future__ import annotations

import re
from typing import Annotated, Any

import structlog
from pydantic import AfterValidator, Field, field_validator

from receiver.config.durations import Duration
from receiver.config.settings import Names, Settings, Url
from receiver.destinations.ticketing import cause_label
from receiver.fitting import one_line
from receiver.model import Wanted
from receiver.rendering import Message
from receiver.rendering.fields import Templated, check_all, fill, fill_all, is_template, values

log = structlog.get_logger(__name__)

MAX_SUMMARY = 255
MAX_LABEL = 255
OWN_FIELDS = ("project", "issuetype", "summary", "description", "labels")
"""What `fields` cannot set."""


class JiraSettings(Settings):
    """`jira_configs`: a project of Jira Cloud or Data Center. Sign-in is `http_config`.

    Texts of `summary`, `labels`, `priority`, `components` and `fields` may be templates.
    """

    api_url: Url
    """Cloud: https://x.atlassian.net/rest/api/3; Data Center: https://jira.example.com/rest/api/2."""
    project: str = Field(min_length=1)
    """Key of the project."""
    issue_type: str = "Bug"
    """Name of the issue type."""
    summary: Templated = ""
    """Summary of a new ticket; empty takes the message's own."""
    priority: Templated = ""
    """Name of a priority; empty leaves the project's default."""
    labels: Names = ()
    """Labels of every ticket, besides our own."""
    components: Names = ()
    """Names of components."""
    fields: Annotated[dict[str, Any], AfterValidator(check_all)] = Field(default_factory=dict)
    """Further fields of a new ticket as the API takes them, such as customfield_10010."""
    resolve_transition: str = ""
    """Name of the transition that closes; empty takes the one that leads to a done status."""
    reopen_transition: str = ""
    """Name of the transition that reopens; empty takes the one that leads back to a new or open status."""
    reopen_duration: Duration = 604_800.0
    """A ticket that was closed longer ago is left alone, and a new one is made."""
    wont_fix_resolution: Names = ()
    """A ticket closed with one of these resolutions is never reopened; comments are still added."""
    attach_logs: bool = True
    """Attach the logs that were read, redacted; only with `content: full`."""

    @property
    def default_lookup_grace_s(self) -> float:
        """Return 120 s for Cloud, whose search lags by seconds to minutes; Data Center's index is current."""
        return 120.0 if self.api_url.rstrip("/").endswith("/3") else 5.0

    @field_validator("api_url")
    @classmethod
    def _known_api(cls, value: str) -> str:
        if not re.search(r"/rest/api/[23]/?$", value):
            raise ValueError("does not end in /rest/api/3 (Cloud) or /rest/api/2 (Data Center); write the whole URL")
        return value

    @field_validator("labels")
    @classmethod
    def _no_blanks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        fixed = [label for label in check_all(value) if not is_template(label)]
        if any(not label or re.search(r"\s", label) or len(label) > MAX_LABEL for label in fixed):
            raise ValueError("a label is empty, too long or has blanks; write such as vm-migration")
        return value

    @field_validator("components")
    @classmethod
    def _templates(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_all(value))


def new_fields(settings: JiraSettings, wanted: Wanted, message: Message, content: str) -> dict[str, Any]:
    """Return the fields of a new ticket without its description; in plain form only what Jira demands."""
    known = values(wanted, "jira", content)
    fields: dict[str, Any] = fill_all(settings.fields, known, _broken)
    components = [name for each in settings.components if (name := fill(each, known, _broken))]
    if components and not wanted.plain:
        fields["components"] = [{"name": name} for name in components]
    labels = [wanted.keys.label, *(_label(fill(each, known, _broken)) for each in settings.labels)]
    if not wanted.plain:
        labels.append(cause_label(wanted, content))
        if priority := fill(settings.priority, known, _broken):
            fields["priority"] = {"name": priority}
    summary = "" if wanted.plain else fill(settings.summary, known, _broken)
    return {
        **fields,
        "project": {"key": settings.project},
        "issuetype": {"name": settings.issue_type},
        "summary": one_line(summary or message.summary or message.title, MAX_SUMMARY) or "VM migration failed",
        "labels": list(dict.fromkeys(label for label in labels if label)),
    }


def _label(text: str) -> str:
    return re.sub(r"\s+", "-", text.strip())[:MAX_LABEL]


def _broken(source: str, why: str) -> None:
    log.warning("ticket.field_left_out", template=source, why=why)
