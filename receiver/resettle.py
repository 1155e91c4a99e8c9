"""A changed configuration and the stories that are open: they keep their destinations.

New routes hold for new and reopened stories, and for alerts that are new in an open one. What a new route would add to
an open story for an alert that it holds already is noted with the story, so that it is not told when that alert comes
again; what only becomes known later (a namespace, a cause) still adds destinations. A story whose destinations have all
left the configuration is told to the root receiver.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import structlog

from receiver.config.model import Config
from receiver.enrichers.facts import evidence_facts
from receiver.model import Reason
from receiver.routing.tree import Target, route
from receiver.store import deliveries, digests, jobs, parking, stories
from receiver.store.codec import dump_json
from receiver.store.deliveries import DeliveryRow
from receiver.store.drafts import Draft
from receiver.store.engine import Conn, Store
from receiver.telling import Teller

log = structlog.get_logger(__name__)

JOB = "routes"
AT_ONCE = 25
"""Stories in one transaction: bounds for how long everybody else waits."""


class Resettler:
    """Runs once for each configuration, before anything is routed by it."""

    def __init__(self, store: Store, config: Config, teller: Teller) -> None:
        self._store = store
        self._config = config
        self._teller = teller
        self._known = {one.identity for one in config.destinations}

    async def run(self) -> None:
        """Go through the open stories, unless that was done for this very configuration."""
        noted = await self._store.read(partial(jobs.state_of, name=JOB))
        if noted.get("hash") == self._config.hash:
            return
        self._known |= await self._store.browse(self._chosen)
        after = ""
        while some := await self._store.read(partial(stories.open_after, after=after, limit=AT_ONCE)):
            for homeless in await self._store.write(partial(self._settle_all, ids=some)):
                log.warning("routes.destinations_gone", story=homeless, told="the root receiver")
            after = some[-1]
        aside = await self._store.write(self._put_aside)
        if aside:
            log.warning("routes.put_aside", deliveries=aside, why=parking.GONE)
        await self._store.write(partial(jobs.note, name=JOB, state={"hash": self._config.hash}))

    async def _put_aside(self, conn: Conn) -> int:
        """Put aside what waits for destinations that are gone. What namespaces chose meanwhile is not gone."""
        known = self._known | await self._chosen(conn)
        aside = await parking.left(conn, known)
        await parking.returned(conn, known)
        return aside

    async def _chosen(self, conn: Conn) -> set[str]:
        """Return the Slack channels that namespaces chose once, and still may."""
        rules = self._config.namespace_routing
        if rules is None or not rules.slack_identity:
            return set()
        told = await parking.told_at(conn, rules.slack_identity)
        return {one for one in told if self._config.destination(one) is not None}

    async def _settle_all(self, conn: Conn, ids: tuple[str, ...]) -> list[str]:
        now = await stories.now_of(conn)
        homeless = []
        for story in ids:
            draft = await stories.load_draft(conn, story, now)
            if draft is not None and draft.open and draft.kind != digests.KIND and not await self._settle(conn, draft):
                homeless.append(story)
        return homeless

    async def _settle(self, conn: Conn, draft: Draft) -> bool:
        """Settle one story; False where it had lost all of its destinations."""
        rows = {row.destination: row for row in await deliveries.of_story(conn, draft.id)}
        facts = self._facts(draft)
        targets: dict[str, Target] = {}
        draft.not_told = {}
        for alert in (row.alert for row in draft.failures if row.firing):
            found = {one.config.identity: one for one in route(alert.labels, facts, self._config).targets}
            targets |= found
            if news := sorted(found.keys() - rows.keys()):
                draft.not_told[alert.fingerprint] = news
        for identity, target in targets.items():
            if identity in rows:
                await _same_reasons(conn, rows[identity], target)
        await stories.save(conn, draft, None, "", "")
        if not rows or any(key in self._known and not row.moved for key, row in rows.items()):
            return True
        reason = Reason(self._config.route.position, f"since {_labels(rows)} left the configuration")
        await self._teller.adopt(conn, draft, self._config.route.receivers, reason)
        return False

    def _facts(self, draft: Draft) -> Mapping[str, str]:
        facts = draft.identity.facts if draft.identity else {}
        of_plan = draft.identity is not None and draft.identity.kind == "plan"
        return {**facts, **(evidence_facts(draft.evidence) if of_plan and draft.evidence else {})}


async def _same_reasons(conn: Conn, row: DeliveryRow, target: Target) -> None:
    """Let a delivery name the lines of today's file, quietly: nothing has changed for those who are told."""
    given = tuple(reason for reason in row.reasons if reason.given)
    intervals = dump_json([{"mute": list(one.mute), "active": list(one.active)} for one in target.intervals])
    await deliveries.set_reasons(conn, row.id, (*target.reasons, *given), intervals)


def _labels(rows: Mapping[str, DeliveryRow]) -> str:
    return " and ".join(sorted({row.label for row in rows.values()}))
