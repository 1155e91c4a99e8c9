"""A store with an open story, and what people may do with it: what the tests of actions share."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from receiver.actions import API, COMMAND_LINE, Actions, Actor
from receiver.alertmanagers import Alertmanagers
from receiver.clock import SystemClock
from receiver.fingerprint import fingerprint
from receiver.incoming import Incoming
from receiver.model import Alert, AlertStatus, PlanPhase, PlanState
from receiver.store import presses, reading
from receiver.store.presses import Press
from tests.fakes.alertmanager import AlertmanagerApi
from tests.unit.recording import RECEIVERS, STARTED, Desk, desk, uid

ANA, BOB = Actor("Ana Costa", API), Actor("Bob", COMMAND_LINE)
ALLOW = "actions: {allow: [ana@example.com, S0123ABCDEF, '@on-call'], silence_limit: 2}"
OF_PLAN = {"plan": "7c1e0b52"}
FAILED_LABELS = {"alertname": "MigrationFailed", **OF_PLAN, "phase": "ImageConversion", "severity": "critical"}
OWN = {"alertname": "MTVVMFailed", **OF_PLAN}


@dataclass
class Hands:
    """A store with an open story, and what people may do with it."""

    desk: Desk
    actions: Actions
    alertmanager: AlertmanagerApi
    story: str = ""

    async def opens(self, to: str = "payments, oncall", **labels: str) -> str:
        """Open the plan's story at these receivers and let it be shown there."""
        await self.fires(to, labels or FAILED_LABELS)
        self.story = (await self.desk.stories())[-1].id
        await self.desk.shown(self.story, '{"ts":"1","channel":"C1"}')
        return self.story

    async def fires(
        self,
        to: str,
        labels: Mapping[str, str] = FAILED_LABELS,
        *,
        status: AlertStatus = AlertStatus.FIRING,
        source: str = "main",
        started: datetime = STARTED,
        state: PlanState | None = None,
    ) -> None:
        """Let an alert fire, or resolve: then its plan has succeeded, if nothing else is said of it."""
        labels = {"to": to, **labels}
        ends = started + timedelta(hours=1) if status is AlertStatus.RESOLVED else None
        alert = Alert(fingerprint(labels), status, labels, {}, started, ends)
        state = state or PlanState(PlanPhase.SUCCEEDED if ends else PlanPhase.FAILED)
        one = Incoming(self.desk.numbers(), source, alert, "failure", uid(), state, self.desk.route(alert))
        await self.desk.record(one)

    async def whole(self) -> reading.Whole:
        found = await self.desk.store.read(lambda conn: reading.whole(conn, self.story))
        assert found is not None
        return found

    async def pressed(self) -> tuple[Press, ...]:
        return await self.desk.store.read(lambda conn: presses.of_story(conn, self.story))

    async def said(self) -> list[tuple[str, str]]:
        return [(one.change.value, one.text) for one in (await self.whole()).story.timeline]


@contextlib.asynccontextmanager
async def hands(folder: Path, top: str = ALLOW, *, alertmanager: bool = True) -> AsyncIterator[Hands]:
    async with AlertmanagerApi().running() as api:
        at = f"alertmanagers: [{{name: main, url: '{api.url}'}}]\n" if alertmanager else ""
        async with desk(folder, top=f"clusters: []\n{at}{top}", receivers=RECEIVERS) as one:
            asked = Alertmanagers(one.config.alertmanagers)
            made = Hands(one, Actions(one.store, one.config, one.teller, asked, SystemClock()), api)
            yield made
            await asked.aclose()
