"""The kinds of destinations, one line each."""

from __future__ import annotations

from typing import Final

from receiver.destinations import Kind
from receiver.destinations.jira import Jira
from receiver.destinations.pagerduty import PagerDuty
from receiver.destinations.slack import Slack

ALL: Final[tuple[Kind, ...]] = (
    Slack(),
    PagerDuty(),
    Jira(),
)
