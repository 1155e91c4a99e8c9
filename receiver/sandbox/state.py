"""What the sandbox holds: one workspace, one PagerDuty account, one Jira site."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any

from receiver.sandbox.jira import Jira
from receiver.sandbox.pagerduty import PagerDuty
from receiver.sandbox.slack import Slack
from receiver.sandbox.slack_more import More


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The three services; `zone` is the time zone that the page shows."""

    slack: Slack
    slack_more: More
    pagerduty: PagerDuty
    jira: Jira
    zone: tzinfo = UTC

    @classmethod
    def new(
        cls,
        now: Callable[[], float],
        *,
        slack_channels: Iterable[str] | None = None,
        jira_projects: Iterable[str] | None = None,
        zone: tzinfo = UTC,
    ) -> Sandbox:
        """Return an empty sandbox.

        `now` gives Unix seconds. `slack_channels` (without `#`) and `jira_projects` (keys) are those that exist; None
        means any.
        """
        slack = Slack(now, None if slack_channels is None else frozenset(slack_channels))
        more = More(slack)
        slack.more = more.methods()
        return cls(
            slack=slack,
            slack_more=more,
            pagerduty=PagerDuty(now),
            jira=Jira(now, None if jira_projects is None else frozenset(jira_projects)),
            zone=zone,
        )

    @property
    def version(self) -> int:
        """A number that grows with every visible change."""
        return self.slack.changes + self.pagerduty.changes + self.jira.changes

    def clear(self) -> None:
        """Forget everything that was sent."""
        self.slack.clear()
        self.slack_more.clear()
        self.pagerduty.clear()
        self.jira.clear()

    def snapshot(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "slack": self.slack.snapshot(),
            "pagerduty": self.pagerduty.snapshot(),
            "jira": self.jira.snapshot(),
        }
