"""What a digest says of its stories, and when people should notice. Pure: stories in, sums and sentences out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from receiver.model import (
    Cause,
    Digest,
    DigestCause,
    DigestPlace,
    DigestRow,
    Evidence,
    Identity,
    Impact,
    PlanPhase,
    StoryState,
    VMCounts,
)
from receiver.rendering import words
from receiver.rendering.view import down_vms

MAX_ROWS = 60
"""Stories that are listed by name; more stand in the sums."""
MAX_CAUSES = 12
MAX_PLACES = 20
MORE_DOWN = 10
"""So many more VMs down are news."""
SETTLING_S = 60.0
"""In the first minute a storm's causes come in one by one with its evidence: the root tells them, no entry."""
NOT_RECOGNISED = "not recognised"
"""The topic of a ticket for failures without a known cause."""


@dataclass(frozen=True, slots=True)
class Member:
    """A story of a digest, as the sums need it."""

    row: DigestRow
    counts: VMCounts
    cause: Cause | None
    cluster: str
    severe: bool
    place: str = ""
    """The namespace that is hit: where its VMs go to. Its row is called by the Plan's own, as it is everywhere."""


def member_of(
    story: str,
    state: str,
    title: str,
    severity: str,
    run: str,
    identity: Identity | None,
    evidence: Evidence | None,
) -> Member:
    """Reduce a story. `state` is its state, or its outcome where it is over."""
    current = evidence if evidence is not None and not (evidence.run and run and evidence.run != run) else None
    if state == StoryState.RERUNNING.value and current is not None and current.phase is PlanPhase.FAILED:
        current = None  # of the run before
    over = state not in (StoryState.FIRING.value, StoryState.RERUNNING.value)
    plan = identity is not None and identity.kind == "plan"
    place = (identity.target_namespace or identity.owner_namespace or identity.namespace) if identity else ""
    counts = _counts(state, over, current, evidence)
    down = down_vms(current) if not over else ()
    cause = current.cause if current and not over else None
    first = (*down, *(current.failures if current else ()))
    row = DigestRow(
        story=story,
        name=(identity.name if identity else "") or title,
        namespace=(identity.namespace if plan and identity else "") or place,
        state=state,
        impact=current.impact if current and not over else Impact.UNKNOWN,
        failed=counts.failed,
        total=counts.total,
        down=len(down),
        cause=cause.id if cause else "",
        step=first[0].step or first[0].phase if first else "",
        plan=plan,
        vm=first[0].name or first[0].id if first else "",
        line=current.unrecognised if current and cause is None and not over else "",
        read=current is not None,
    )
    cluster = identity.cluster if identity else ""
    return Member(row, counts, cause, cluster, severity.lower() == "critical", place)


def _counts(state: str, over: bool, current: Evidence | None, last: Evidence | None) -> VMCounts:
    """A plan's VMs as they stand; one that is over has none that fail or run."""
    seen = current or last
    if seen is None:
        return VMCounts()
    counts = seen.counts
    total = max(counts.total, counts.failed, len(seen.failures))
    if state == "fixed":
        return VMCounts(total=total, succeeded=total - counts.canceled, canceled=counts.canceled)
    if over:
        return VMCounts(total=total, succeeded=counts.succeeded, canceled=total - counts.succeeded)
    if current is None:  # a new run, of which nothing was read yet: what had failed is tried again
        return VMCounts(total=total, succeeded=counts.succeeded, running=total - counts.succeeded)
    return replace(counts, total=total, failed=max(counts.failed, len(current.failures)))


def topic_of(cause: str) -> str:
    """Return the topic of the ticket that tells of a failure."""
    return cause or NOT_RECOGNISED


def sum_up(
    members: Sequence[Member],
    *,
    topic: str = "",
    since: datetime | None = None,
    storm: bool = True,
    before: Digest | None = None,
) -> Digest:
    """Return the sums. What people were told of is taken over from `before`; see `news`."""
    rows = [one.row for one in members]
    live = [one for one in members if one.row.open]
    causes = _causes(live)
    down = sum(one.row.down for one in live)
    return Digest(
        topic=topic,
        plans=len(rows),
        open=len(live),
        rerunning=sum(one.row.state == StoryState.RERUNNING.value for one in live),
        fixed=sum(row.state == "fixed" for row in rows),
        unread=sum(not one.row.read and one.row.state == StoryState.FIRING.value for one in live),
        at_risk=sum(one.row.impact in (Impact.AT_RISK, Impact.UNKNOWN) for one in live),
        failed=sum(one.counts.failed for one in members),
        total=sum(one.counts.total for one in members),
        done=sum(one.counts.succeeded for one in members),
        running=sum(one.counts.running for one in members),
        waiting=sum(one.counts.waiting for one in members),
        canceled=sum(one.counts.canceled for one in members),
        down=down,
        clusters=tuple(sorted({one.cluster for one in members if one.cluster})),
        causes=causes[:MAX_CAUSES],
        unrecognised=sum(max(one.row.failed, 1) for one in live if one.cause is None and one.row.read),
        places=_places(live),
        rows=tuple(sorted(rows, key=_urgency)[:MAX_ROWS]),
        severe=any(one.severe for one in live),
        since=since,
        storm=storm,
        told_down=before.told_down if before else down,
        told_causes=before.told_causes if before else tuple(one.id for one in causes),
    )


def impact_of(digest: Digest) -> Impact:
    """Return the worst that is known of any of its stories."""
    if digest.down:
        return Impact.DOWN
    if digest.unread:
        return Impact.UNKNOWN
    return Impact.AT_RISK if digest.at_risk else Impact.NONE


def _urgency(row: DigestRow) -> tuple[int, bool, int, str]:
    return -row.down, not row.open, -row.failed, row.name


def _causes(live: Iterable[Member]) -> tuple[DigestCause, ...]:
    known: dict[str, DigestCause] = {}
    for one in live:
        cause = one.cause
        if cause is None:
            continue
        sums = known.get(cause.id) or DigestCause(cause.id, cause.sentence, cause.owner, cause.remedy, cause.link)
        known[cause.id] = replace(
            sums, vms=sums.vms + max(one.row.failed, 1), plans=sums.plans + 1, down=sums.down + one.row.down
        )
    return tuple(sorted(known.values(), key=lambda one: (-one.down, -one.vms, one.id)))


def _places(live: Iterable[Member]) -> tuple[DigestPlace, ...]:
    plans: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    down: Counter[str] = Counter()
    for one in live:
        name = one.place
        plans[name] += 1
        failed[name] += one.row.failed
        down[name] += one.row.down
    found = [DigestPlace(name, plans[name], failed[name], down[name]) for name in plans]
    return tuple(sorted(found, key=lambda one: (-one.down, -one.failed, -one.plans, one.name))[:MAX_PLACES])


def news(now: Digest, age_s: float) -> str:
    """Return what people should notice since they were last told, in a sentence; empty for nothing."""
    if age_s < SETTLING_S:
        return ""
    said = []
    if now.down >= now.told_down + MORE_DOWN:
        said.append(f"{now.down - now.told_down} more VMs down, {now.down} in all")
    fresh = [one for one in now.causes if one.id not in now.told_causes]
    if fresh:
        owners = (f" (owner {one.owner})" if one.owner else "" for one in fresh)
        listed = (
            f"{words.count(one.vms, 'VM')}: {one.sentence.rstrip('.')}{who}"
            for one, who in zip(fresh, owners, strict=True)
        )
        said.append(f"new {'cause' if len(fresh) == 1 else 'causes'}: {'; '.join(listed)}")
    return "; ".join(said)


def told(now: Digest) -> Digest:
    """Return the digest as one whose present state people were told of."""
    causes = dict.fromkeys((*now.told_causes, *(one.id for one in now.causes)))
    return replace(now, told_down=now.down, told_causes=tuple(causes))


def settled(now: Digest) -> Digest:
    """Return a young digest: its root tells everything so far, and nothing of it is news later."""
    return told(now)


def all_clear(now: Digest) -> str:
    """Return how a storm ended, in a sentence."""
    what = "plans" if all(row.plan for row in now.rows) else "failures"
    fixed = f"{now.fixed:,} of {now.plans:,} {what} fixed"
    rest = now.plans - now.fixed
    return fixed + (f", {rest:,} ended otherwise (canceled, deleted or no longer alerting)" if rest else "")
