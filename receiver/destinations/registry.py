"""The kinds of destinations, one line each."""

from __future__ import annotations

from typing import Final

from receiver.destinations import Kind
from receiver.destinations.email import Email
from receiver.destinations.github import GitHub
from receiver.destinations.gitlab import GitLab
from receiver.destinations.jira import Jira
from receiver.destinations.pagerduty import PagerDuty
from receiver.destinations.servicenow import ServiceNow
from receiver.destinations.slack import Slack
from receiver.destinations.webhook import Webhook

ALL: Final[tuple[Kind, ...]] = (
    Slack(),
    PagerDuty(),
    Jira(),
    ServiceNow(),
    GitHub(),
    GitLab(),
    Email(),
    Webhook(),
)
