"""Who sees which stories: with `web.visibility`, whom a cluster lets `get plans.forklift.konveyor.io` in the namespace.

An answer counts for `fresh`. A cluster that does not answer allows nothing; that is said, and it is asked again after
SILENT_S only, so that nobody waits for it with every page.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol

import structlog
from starlette.requests import Request

from receiver.config.listening import Visibility
from receiver.config.model import Config
from receiver.guard import Caller
from receiver.kube import Cluster, ClusterError, Reviews
from receiver.kube.kinds import KINDS, is_name
from receiver.store import owners
from receiver.store.engine import Store

log = structlog.get_logger(__name__)

AT_ONCE: Final = 8
"""Questions to one cluster at the same time."""
SILENT_S: Final = 10.0
"""So long a cluster that did not answer is not asked again."""
OWNERS_FRESH_S: Final = 2.0
MAX_KEPT: Final = 10_000
"""Answers that are kept, at some hundred bytes each."""
_PLAN: Final = KINDS["Plan"]

Pair = tuple[str, str]
"""Cluster and namespace that something belongs to; what is not known is the empty string."""


def viewer_of(request: Request) -> Viewer:
    """Return who signed in, behind `guard.page`."""
    viewer: Viewer = request.state.viewer
    return viewer


class Asked(Protocol):
    """Whose clusters are asked: `receiver.service.Service`."""

    config: Config
    clusters: Mapping[str, Cluster]


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who signed in, and what they may see."""

    name: str
    """As it is shown and recorded; empty: a token, or everybody may."""
    user: str
    """As clusters know them; empty: they know nobody of that name."""
    groups: frozenset[str]
    admin: bool
    """Sees everything, and may do what concerns all."""
    viewers: Viewers = field(repr=False, compare=False)

    @property
    def sees_all(self) -> bool:
        """Is nothing hidden?"""
        return self.admin

    @property
    def notes(self) -> tuple[str, ...]:
        """What may be missing from what they see, each a sentence for people."""
        return () if self.sees_all else self.viewers.notes()

    async def may_see(self, cluster: str, namespace: str) -> bool:
        """Tell whether what belongs to this namespace is shown to them."""
        return bool(await self.allowed([(cluster, namespace)]))

    async def allowed(self, pairs: Iterable[Pair]) -> frozenset[Pair]:
        """Return those of these pairs whose stories are shown to them."""
        wanted = frozenset(pairs)
        return wanted if self.sees_all else await self.viewers.allowed(self, wanted)


async def sight(viewer: Viewer, store: Store) -> frozenset[Pair] | None:
    """Return the owners whose stories are shown to somebody, of those that there are now; None: all, without asking."""
    return None if viewer.sees_all else await viewer.allowed(await viewer.viewers.owners(store))


async def shown(viewer: Viewer, store: Store, stories: Iterable[str]) -> frozenset[str]:
    """Return those of some stories, by id, that there are and are shown to somebody; all to who sees everything."""
    ids = frozenset(stories)
    if viewer.sees_all:
        return ids
    found = await store.browse(lambda conn: owners.of_stories(conn, ids))
    allowed = await viewer.allowed(found.values())
    return frozenset(one for one, owner in found.items() if owner in allowed)


async def is_shown(viewer: Viewer, store: Store, story: str) -> bool:
    """Tell whether a story is shown to somebody; to who sees everything also one that there is not."""
    return bool(await shown(viewer, store, [story]))


@dataclass(frozen=True, slots=True)
class _Question:
    cluster: str
    """The one that is asked."""
    user: str
    groups: frozenset[str]
    namespace: str


class Viewers:
    """Knows for each who signed in what they may see. `now` is in seconds and never goes back."""

    def __init__(self, service: Asked, now: Callable[[], float] = time.monotonic) -> None:
        self._service = service
        self._now = now
        self._config: Config | None = None
        self._owners: tuple[frozenset[Pair], float] | None = None
        self._owning: asyncio.Task[frozenset[Pair]] | None = None
        self._tasks: set[asyncio.Task[bool]] = set()
        self._forget()

    def _forget(self) -> None:
        self._kept: OrderedDict[_Question, tuple[bool, float]] = OrderedDict()
        self._running: dict[_Question, asyncio.Task[bool]] = {}
        self._silent: dict[str, float] = {}
        self._places: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))

    async def aclose(self) -> None:
        """End what is being asked."""
        tasks = [*self._tasks, *((self._owning,) if self._owning is not None else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def of(self, caller: Caller) -> Viewer:
        """Return what somebody who signed in may.

        A token sees everything: it belongs to a script, which no cluster knows as a user, and whoever gave it to that
        could see everything.
        """
        rule = self._service.config.web.visibility
        return Viewer(caller.name, caller.user, caller.groups, rule is None or _is_admin(caller, rule), self)

    async def owners(self, store: Store) -> frozenset[Pair]:
        """Return whose stories there are, as of at most OWNERS_FRESH_S ago; who asks meanwhile waits for one answer."""
        kept = self._owners
        if kept is not None and self._now() - kept[1] < OWNERS_FRESH_S:
            return kept[0]
        if self._owning is None or self._owning.done():
            self._owning = asyncio.create_task(self._find_owners(store), name="owners")
            self._owning.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._owning)

    async def _find_owners(self, store: Store) -> frozenset[Pair]:
        began = self._now()
        found = await store.browse(owners.every)
        self._owners = (found, began)
        return found

    def notes(self) -> tuple[str, ...]:
        """Return which clusters did not answer lately, each a sentence for people."""
        now = self._now()
        silent = sorted(name for name, until in self._silent.items() if until > now)
        return tuple(f"cluster {name} does not answer: stories of its namespaces are not shown" for name in silent)

    async def allowed(self, viewer: Viewer, pairs: Iterable[Pair]) -> frozenset[Pair]:
        """Return those of these pairs whose namespace a cluster lets somebody read Plans in."""
        config = self._service.config
        rule = config.web.visibility
        if rule is None:
            return frozenset(pairs)
        if config is not self._config:  # the same name may be another cluster now
            self._config = config
            self._forget()
        known = [pair for pair in pairs if viewer.user and is_name(pair[1])]  # of no namespace: for admins only
        default = config.default_cluster({name for name, one in self._service.clusters.items() if _can_say(one)})
        asking = [
            self._may(
                _Question(rule.cluster or cluster or default, viewer.user, viewer.groups, namespace), rule.fresh_s
            )
            for cluster, namespace in known
        ]
        answers = await asyncio.gather(*asking)
        return frozenset(pair for pair, answer in zip(known, answers, strict=True) if answer)

    async def _may(self, question: _Question, fresh_s: float) -> bool:
        kept = self._kept.get(question)
        if kept is not None and self._now() - kept[1] < fresh_s:
            self._kept.move_to_end(question)
            return kept[0]
        task = self._running.get(question)
        if task is None:
            task = asyncio.create_task(self._ask(question), name="access review")
            self._running[question] = task
            self._tasks.add(task)
            task.add_done_callback(partial(_done, self._running, question))
            task.add_done_callback(self._tasks.discard)
        # Who stops waiting stops nobody else.
        return await asyncio.shield(task)

    async def _ask(self, question: _Question) -> bool:
        kept, silent = self._kept, self._silent
        name = question.cluster
        async with self._places[name]:
            began = self._now()
            if silent.get(name, 0.0) > began:
                return False
            try:
                allowed = await self._review(question)
            except ClusterError as error:
                silent[name] = self._now() + SILENT_S
                log.warning("visibility.not_answered", cluster=name, why=error.message)
                return False
        silent.pop(name, None)
        kept[question] = (allowed, began)
        kept.move_to_end(question)
        while len(kept) > MAX_KEPT:
            kept.popitem(last=False)
        return allowed

    async def _review(self, question: _Question) -> bool:
        cluster: object = self._service.clusters.get(question.cluster)
        if not isinstance(cluster, Reviews):
            raise ClusterError("not found", f"cluster {question.cluster or 'unknown'}: there is no API server to ask")
        return await cluster.subject_access_review(
            question.user,
            question.groups,
            verb="get",
            group=_PLAN.group,
            resource=_PLAN.plural,
            namespace=question.namespace,
        )


def _done(running: dict[_Question, asyncio.Task[bool]], question: _Question, task: asyncio.Task[bool]) -> None:
    del running[question]
    if not task.cancelled():
        task.exception()  # whoever waited has it; nobody waiting is no error


def _can_say(cluster: Cluster) -> bool:
    return isinstance(cluster, Reviews)


def _is_admin(caller: Caller, rule: Visibility) -> bool:
    by_name = bool(caller.user) and caller.user in rule.admin_users
    return caller.machine or by_name or not caller.groups.isdisjoint(rule.admin_groups)
