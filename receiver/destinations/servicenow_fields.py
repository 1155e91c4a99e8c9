"""ServiceNow's settings, and the columns of a new incident that they ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import structlog
from pydantic import AfterValidator, Field

from receiver.config.durations import Duration
from receiver.config.settings import Names, Settings, Url
from receiver.destinations.ticketing import cause_label
from receiver.fitting import one_line
from receiver.model import Wanted
from receiver.rendering import Message
from receiver.rendering.fields import Templated, check_all, fill, fill_all, values

log = structlog.get_logger(__name__)

MAX_SHORT = 160
MAX_CORRELATION = 100
DISPLAY = "mtv-receiver"


class StatesSettings(Settings):
    """Values of the column `state`: instances may change them."""

    reopened: str = "2"
    """What a resolved incident is set to when its story goes on (In Progress)."""
    resolved: str = "6"
    closed: str = "7"
    """For good: it cannot be reopened, a new incident is made."""
    canceled: str = "8"
    """By a person: never reopened, work notes are still added."""


class LevelsSettings(Settings):
    """A value of impact or urgency for each impact of a failure."""

    down: str = "1"
    at_risk: str = "2"
    none: str = "3"
    unknown: str = "2"


class ServiceNowSettings(Settings):
    """`servicenow_configs`: a table of an instance. Sign-in is `http_config`: basic, or a bearer token from a file.

    Texts of `short_description`, `caller`, `assignment_group` and `fields` may be templates.
    """

    instance_url: Url
    """Such as https://example.service-now.com"""
    table: str = Field(default="incident", pattern=r"^[a-z0-9_]+$")
    """incident, or a table that extends it."""
    short_description: Templated = ""
    """Of a new incident; empty takes the message's summary."""
    caller: Templated = ""
    """caller_id: sys_id, or what the instance takes for it, such as a user name."""
    assignment_group: Templated = ""
    """sys_id, or what the instance takes for it, such as the group's name."""
    impact: LevelsSettings = LevelsSettings()
    urgency: LevelsSettings = LevelsSettings()
    fields: Annotated[dict[str, Any], AfterValidator(check_all)] = Field(default_factory=dict)
    """Further columns of a new incident, such as category or cmdb_ci."""
    states: StatesSettings = StatesSettings()
    close_code: str = "Solution provided"
    """Of an incident that we resolve: one of the instance's choices."""
    notes: Literal["work_notes", "comments"] = "work_notes"
    """Where entries go: work_notes are internal, comments are seen by the caller."""
    description_chars: int = Field(default=4_000, ge=1_000, le=100_000)
    """Length of the column description: what is longer is cut by the instance."""
    reopen_duration: Duration = 604_800.0
    """An incident that was resolved longer ago is left alone, and a new one is made."""
    wont_fix_resolution: Names = ()
    """An incident resolved with one of these close codes is never reopened; work notes are still added."""
    attach_logs: bool = True
    """Attach the logs that were read, redacted; only with `content: full`."""


def new_columns(settings: ServiceNowSettings, wanted: Wanted, message: Message, content: str) -> dict[str, Any]:
    """Return the columns of a new incident without its description; in plain form only what we need."""
    known = values(wanted, "servicenow", content)
    columns: dict[str, Any] = fill_all(settings.fields, known, _broken)
    short = ""
    if not wanted.plain:
        short = fill(settings.short_description, known, _broken)
        impact = known["impact"]
        columns |= {"impact": getattr(settings.impact, impact), "urgency": getattr(settings.urgency, impact)}
    for column, source in (("caller_id", settings.caller), ("assignment_group", settings.assignment_group)):
        if value := fill(source, known, _broken):
            columns[column] = value
    display = " ".join(part for part in (DISPLAY, cause_label(wanted, content)) if part)
    return {
        **columns,
        "short_description": one_line(short or message.summary or message.title, MAX_SHORT) or "VM migration failed",
        "correlation_id": wanted.keys.label,
        "correlation_display": display[:MAX_CORRELATION],
    }


def is_ours(row: Mapping[str, Any], wanted: Wanted) -> bool:
    """Tell whether a found row is this story's: the instance ignores parts of a query that it does not understand."""
    return bool(row.get("sys_id")) and row.get("correlation_id") == wanted.keys.label


def _broken(source: str, why: str) -> None:
    log.warning("ticket.field_left_out", template=source, why=why)
