"""Alerts into stories and deliveries on a real store, without anything that sends: what these tests share."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event, select, update
from sqlalchemy.engine import Engine

from receiver import build
from receiver.config.load import load
from receiver.config.model import Config
from receiver.destinations.registry import ALL
from receiver.fingerprint import fingerprint
from receiver.incoming import Incoming
from receiver.model import Alert, AlertStatus, Identity, PlanPhase, PlanState
from receiver.record import Recorded, Recorder
from receiver.routing.tree import Routed, route
from receiver.store import deliveries, schema
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import Conn, Store, sqlite_url
from receiver.store.upgrade import upgrade
from receiver.telling import Teller

STARTED = datetime(2026, 11, 21, 8, tzinfo=UTC)
UID, NAMED = "plan/7c1e0b52", "plan/local/mig/erp"
FAILED = PlanState(PlanPhase.FAILED)
NO_PLAN = PlanState(PlanPhase.NO_PLAN)

RECEIVERS = """
receivers:
  - name: platform
    slack_configs: [{channel: '#platform', app_token_file: secret}]
  - name: payments
    slack_configs: [{channel: '#payments', app_token_file: secret}]
    fallback: oncall
  - name: oncall
    pagerduty_configs: [{routing_key_file: secret}]
  - name: tickets
    jira_configs: [{api_url: 'https://jira.example.com/rest/api/2', project: MIG, issue_type: Bug, reopen_duration: 7d}]
route:
  receiver: platform
  routes:
    - {matchers: ['to=~".*payments.*"'], receiver: payments, continue: true}
    - {matchers: ['to=~".*oncall.*"'], receiver: oncall, continue: true}
    - {matchers: ['to=~".*tickets.*"'], receiver: tickets, continue: true}
    - {matchers: ['to=~".*platform.*"'], receiver: platform, continue: true}
"""


def uid(**more: Any) -> Identity:
    """Return a Plan that is known by its UID, and by its name."""
    return replace(Identity(UID, "plan", "local", "7c1e0b52", "mig", "erp", alias=NAMED), **more)


def named(**more: Any) -> Identity:
    """Return the same Plan where only its name is known."""
    return replace(Identity(NAMED, "plan", "local", "", "mig", "erp", complete=False, alias=NAMED), **more)


def bare(**more: Any) -> Identity:
    """Return the same Plan where only its UID is known."""
    return replace(Identity(UID, "plan", "local", "7c1e0b52", complete=False), **more)


@dataclass
class Desk:
    """A store, and a recorder that writes to it."""

    store: Store
    config: Config
    teller: Teller
    recorder: Recorder
    numbers: Callable[[], int] = field(default_factory=lambda: itertools.count(1).__next__)

    def incoming(
        self,
        to: str,
        identity: Identity,
        *,
        name: str = "MTVPlanFailed",
        status: AlertStatus = AlertStatus.FIRING,
        plan: PlanState = FAILED,
        severity: str = "critical",
        started: datetime = STARTED,
    ) -> Incoming:
        """Return an alert that is routed to the receivers named in `to`."""
        labels = {"alertname": name, "severity": severity, "to": to}
        ends = started + timedelta(hours=1) if status is AlertStatus.RESOLVED else None
        alert = Alert(fingerprint({**labels, "of": identity.subject}), status, labels, {}, started, ends)
        return Incoming(self.numbers(), "main", alert, "failure", identity, plan, self.route(alert))

    def route(self, alert: Alert) -> Routed:
        return route(alert.labels, {}, self.config)

    async def record(self, *batch: Incoming) -> Recorded:
        return await self.store.write(lambda conn: self.recorder.record(conn, batch))

    async def plan_changed(self, story: str, plan: PlanState) -> None:
        await self.store.write(lambda conn: self.recorder.plan_changed(conn, story, plan))

    async def rows(self, table: Any, **where: Any) -> list[Any]:
        """Return a table's rows."""
        query = select(table).where(*(table.c[name] == value for name, value in where.items()))

        async def read(conn: Conn) -> list[Any]:
            return list((await conn.execute(query)).all())

        return await self.store.read(read)

    async def stories(self, **where: Any) -> list[Any]:
        return sorted(await self.rows(schema.stories, **where), key=lambda row: (row.opened, row.id))

    async def deliveries(self, story: str) -> dict[str, DeliveryRow]:
        """Return a story's deliveries by their label."""
        return {row.label: row for row in await self.store.read(lambda conn: deliveries.of_story(conn, story))}

    async def entries(self, delivery: str) -> list[tuple[str, str]]:
        """Return key and state of a delivery's entries."""
        found = await self.rows(schema.entries, delivery=delivery)
        return [(row.key, row.state) for row in sorted(found, key=lambda row: row.revision)]

    async def set(self, table: Any, values: Mapping[str, Any], **where: Any) -> None:
        """Write into a table what the rest of the service would."""

        async def write(conn: Conn) -> None:
            await conn.execute(
                update(table).where(*(table.c[name] == value for name, value in where.items())).values(**values)
            )

        await self.store.write(write)

    async def shown(self, story: str, root: str = '{"ts":"1"}') -> None:
        """Let every delivery of a story show all that there is to show."""
        for row in (await self.deliveries(story)).values():
            done = {"state": "delivered", "due": None, "delivered": row.desired, "started": True}
            await self.set(schema.deliveries, {**done, "root": row.root or root}, id=row.id)
            await self.set(schema.entries, {"state": "delivered"}, delivery=row.id, state="pending")


@contextlib.asynccontextmanager
async def desk(folder: Path, *, top: str = "clusters: []", receivers: str = RECEIVERS) -> AsyncIterator[Desk]:
    """Open a store, and a recorder under this configuration."""
    (folder / "secret").write_text("x" * 32)
    (folder / "routes.yaml").write_text(f"{top}\n{receivers}")
    config = load(folder / "routes.yaml", ALL)
    url = sqlite_url(folder / "test.db")
    upgrade(url)
    ids = itertools.count()
    words = build.renderer(config, lambda what: None)
    async with build.destinations(config, words) as made, Store.open(url) as store:
        teller = Teller(config, {key: one.sender for key, one in made.items()}, ids.__next__)
        yield Desk(store, config, teller, Recorder(config, teller, ids.__next__))


@contextlib.contextmanager
def counted() -> Any:
    """Collect the statements that any engine carries out meanwhile."""
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, _args: Any, _context: Any, _many: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def work(statements: Sequence[str]) -> list[str]:
    """Return the statements without those of the transaction itself."""
    return [one for one in statements if not one.startswith(("BEGIN", "PRAGMA", "SAVEPOINT", "RELEASE"))]
