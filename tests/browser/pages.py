"""The web pages, one line each: tests judge all of them, and `make screenshots` takes their pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.browser.site import Site


@dataclass(frozen=True)
class Page:
    """A page by its name in tests and pictures, and where it stands on a site."""

    name: str
    path: Callable[[Site], str]

    def __str__(self) -> str:
        return self.name


PAGES = (
    Page("stories", lambda _: "/"),
    Page("story", lambda site: f"/stories/{site.stories['open']}"),
    Page("story-fixed", lambda site: f"/stories/{site.stories['fixed']}"),
    Page("story-stuck", lambda site: f"/stories/{site.stories['stuck']}"),
    Page("story-hostile", lambda site: f"/stories/{site.stories['parked']}"),
    Page("story-storm", lambda site: f"/stories/{site.stories['storm']}"),
    Page("log", lambda site: f"/stories/{site.stories['open']}/logs/1?find=error"),
    Page("handover", lambda _: "/handover?since=12h"),
    Page("routes", lambda _: "/routes"),
    Page("deliveries", lambda _: "/deliveries"),
    Page("deliveries-all", lambda _: "/deliveries?state=all"),
    Page("deliveries-retry", lambda _: "/deliveries/retry?state=dead"),
    Page("status", lambda _: "/status"),
    Page("runbooks", lambda _: "/runbooks/"),
    Page("runbook", lambda _: "/runbooks/MTVPlanFailed"),
)
