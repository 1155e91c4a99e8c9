"""Everything around the replicas in `benchmarks.chaos`: destinations, who posts, and what is counted at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.acceptance.harness import alert, body, failed, jira, pagerduty, routes_yaml, slack
from tests.acceptance.process import Process
from tests.fakes.faults import slack_error, slow
from tests.fakes.vendors import FakeVendors

LOOKED_UP = "#platform"
BLIND = "#blind"
"""A channel whose history may not be read: nothing can be looked up there."""
TOP = """
global: {resolve_delay: 500ms, digest_after: 0, confirm_after: 1s, fallback_after: 1h}
clusters: []
"""
ENDING = 4
"""Each of so many failures may end."""
_PLAN = re.compile(r"plan-(\d+)")


@dataclass
class World:
    """What was accepted, and what stands at the destinations."""

    vendors: FakeVendors
    chance: random.Random
    replicas: list[Process] = field(default_factory=list)
    accepted: dict[int, float] = field(default_factory=dict)
    """Plan numbers answered 200, and when, in `time.monotonic()`."""
    resolved: set[int] = field(default_factory=set)
    posted: int = 0
    answers: Counter[str] = field(default_factory=Counter)

    def config(self, folder: Path) -> Path:
        """Write a configuration with destinations of each manner of not doubling."""
        manners = ", max_in_flight: 8, lookup_grace: 500ms, retry: {min: 100ms, max: 1s}"
        receivers = (
            f"- name: platform\n  {slack(LOOKED_UP, manners)}\n  {pagerduty(', max_in_flight: 8')}\n"
            f"  {jira('MIG', manners)}\n"
            f"- name: blind\n  {slack(BLIND, manners.replace('in_flight: 8', 'in_flight: 1'))}\n"
        )
        route = "{receiver: platform, routes: [{receiver: platform, continue: true}, {receiver: blind}]}"
        self.vendors.fail("slack", slow(0.1), on="chat.postMessage", always=True)
        self.vendors.fail("jira", slow(0.1), on="POST issue", always=True)
        self.vendors.fail(
            "slack",
            slack_error("missing_scope"),
            on="conversations.*",
            when=lambda request: self._channel(request.json) == BLIND.strip("#"),
            always=True,
        )
        return routes_yaml(self.vendors, folder, top=TOP, receivers=receivers, route=route)

    def _channel(self, asked: Any) -> str:
        named = str(asked.get("channel", "")) if isinstance(asked, dict) else ""
        found = self.vendors.sandbox.slack.channels.get(named)
        return (found.name if found is not None else named).strip("#")

    # --- load ---

    async def post_for_ever(self, every_s: float) -> None:
        """Post failures, some of them twice and at another replica, and ends of some; remember what was accepted."""
        async with httpx2.AsyncClient(timeout=5, trust_env=False) as http:
            tasks: set[asyncio.Task[None]] = set()
            try:
                while True:
                    await asyncio.sleep(self.chance.expovariate(1 / every_s))
                    task = asyncio.create_task(self._post_one(http))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
            finally:
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _post_one(self, http: httpx2.AsyncClient) -> None:
        dice = self.chance.random()
        known = [number for number, at in self.accepted.items() if time.monotonic() - at > 3]
        # What ends is never repeated: a copy that a stopped replica commits a minute later would rightly reopen it.
        ending = [number for number in known if number % ENDING == 0 and number not in self.resolved]
        lasting = [number for number in known if number % ENDING]
        if ending and dice < 0.15:
            number = self.chance.choice(ending)
            self.resolved.add(number)
            await self._post(http, number, "resolved", tries=60)
        elif lasting and dice < 0.35:
            await self._post(http, self.chance.choice(lasting), "firing")
        else:
            self.posted += 1
            await self._post(http, self.posted, "firing")

    async def _post(self, http: httpx2.AsyncClient, number: int, status: str, tries: int = 1) -> None:
        told = alert(failed(f"00000000-0000-0000-0000-{number:012d}", f"plan-{number}"), status)
        for _ in range(tries):
            try:
                answer = await http.post(f"{self.chance.choice(self.replicas).url}/webhook", json=body(told))
            except httpx2.HTTPError as error:
                self.answers[type(error).__name__] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if answer.status_code == 200:
                    self.accepted.setdefault(number, time.monotonic())
                    return
            if tries > 1:
                await asyncio.sleep(0.5)

    # --- what came of it ---

    def roots(self, channel: str) -> Counter[int]:
        """Return how many messages each plan has in a channel."""
        return Counter(
            int(found[1])
            for message in self.vendors.slack_roots(channel)
            if (found := _PLAN.search(json.dumps(message.blocks)))
        )

    def incidents(self) -> Counter[int]:
        return Counter(int(_PLAN.search(json.dumps(one.payload))[1]) for one in self.vendors.incidents())  # type: ignore[index]

    def tickets(self) -> Counter[int]:
        return Counter(int(_PLAN.search(one.summary)[1]) for one in self.vendors.jira_issues())  # type: ignore[index]

    def shown(self) -> dict[str, Counter[int]]:
        """Return what stands at each destination."""
        return {
            "Slack with look-up": self.roots(LOOKED_UP),
            "PagerDuty": self.incidents(),
            "Jira": self.tickets(),
            "Slack without history": self.roots(BLIND),
        }

    def lost(self) -> dict[str, int]:
        """Return how many accepted failures each destination does not show.

        What ended before a pager or a ticket system heard of it is rightly told in chats alone.
        """
        chats = ("Slack with look-up", "Slack without history")
        return {
            name: len(self.accepted.keys() - found.keys() - (set() if name in chats else self.resolved))
            for name, found in self.shown().items()
        }

    def twice(self) -> dict[str, int]:
        """Return how many things too many there are."""
        return {name: found.total() - len(found) for name, found in self.shown().items()}

    def unended(self) -> int:
        """Return how many incidents are open whose end was accepted."""
        is_open = {int(_PLAN.search(json.dumps(one.payload))[1]) for one in self.vendors.incidents_open()}  # type: ignore[index]
        return len(is_open & self.resolved)

    async def settled(self, timeout_s: float) -> float:
        """Wait until everything accepted is shown everywhere, and nothing more comes; returns the seconds it took."""
        began = time.monotonic()
        while time.monotonic() < began + timeout_s and (any(self.lost().values()) or self.unended()):
            await asyncio.sleep(0.5)
        took = time.monotonic() - began
        with contextlib.suppress(AssertionError):  # what is still sent then (look-ups, edits) is counted as it stands
            await self.vendors.settle(quiet_s=4.0, timeout=60)
        return took
