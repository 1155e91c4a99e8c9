"""A sandbox that behaves like Slack, PagerDuty and Jira, in memory, and shows on one page what they would show.

It stands alone: it imports nothing of the service and the service imports nothing of it. `python -m receiver.sandbox`
starts it; the service reaches it by HTTP, as it would reach the real ones:

    Slack       http://HOST:PORT/slack/api/
    PagerDuty   http://HOST:PORT/pagerduty/v2/enqueue
    Jira        http://HOST:PORT/jira/rest/api/3   (Cloud)   and   …/2   (Data Center)
    the page    http://HOST:PORT/                            everything as JSON: /state
"""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.routing import Mount

from receiver.sandbox.api import jira_routes, pagerduty_routes, slack_more_routes, slack_routes
from receiver.sandbox.page import page_routes
from receiver.sandbox.state import Sandbox

__all__ = ["Sandbox", "build_app"]


def build_app(state: Sandbox) -> Starlette:
    """Return the ASGI application that shows and changes `state`."""
    return Starlette(
        routes=[
            Mount("/slack/api", routes=slack_routes(state.slack)),
            *slack_more_routes(state.slack_more),
            Mount("/pagerduty", routes=pagerduty_routes(state.pagerduty)),
            Mount("/jira/rest/api/2", routes=jira_routes(state.jira, "2")),
            Mount("/jira/rest/api/3", routes=jira_routes(state.jira, "3")),
            *page_routes(state),
        ]
    )
