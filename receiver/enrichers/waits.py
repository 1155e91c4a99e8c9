"""What VMs wait for: of a Plan that executes as it is now, of VMs that failed as it was last seen.

When a live VM fails, Forklift deletes its objects in the next reconcile, before any alert is sent: what is told of it
then comes from what our watch kept while it ran.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from receiver.enrichers import Context, Part
from receiver.enrichers.causes import Causes
from receiver.enrichers.cures import cures_of, owner_of
from receiver.enrichers.events import redacted
from receiver.enrichers.impact import impact_of, with_power
from receiver.enrichers.planstate import plan_phase
from receiver.enrichers.reading import text
from receiver.enrichers.redact import Redactor
from receiver.enrichers.view import read_view
from receiver.enrichers.vms import read_failure, run_vms, state_of
from receiver.model import Cause, Evidence, Impact, Link, Missing, PlanPhase, Wait
from receiver.stuck import Block, find_blocks, restored

MOST = 50
"""Waits that are told."""
_NAMES = 3


class Waits:
    """The enricher."""

    name = "waits"
    budget_s = 6.0

    async def gather(self, ctx: Context) -> Part:
        if ctx.plan is None:
            return Part()
        lacking: tuple[Missing, ...] = ()
        blocks: list[Block] = []
        if any(state_of(vm) == "running" for vm in run_vms(ctx.plan)) and plan_phase(ctx.plan) is PlanPhase.EXECUTING:
            if ctx.unreadable is not None:
                lacking = (replace(ctx.unreadable, what="what VMs wait for"),)
            else:
                view, lacking = await read_view(
                    ctx.cluster,
                    ctx.target,
                    ctx.plan,
                    ctx.now,
                    source=ctx.source,
                    timeout_s=ctx.timeout_s,
                    controller_namespaces=ctx.controller_namespaces,
                )
                blocks += find_blocks(view)
        kept: tuple[Block, ...] = ()
        if ctx.kept is not None and ctx.kept_at is not None and ctx.known.failures:
            failed = {failure.id for failure in ctx.known.failures} - {""}
            seen = find_blocks(restored(ctx.kept, ctx.plan, ctx.kept_at))
            kept = tuple(one for one in seen if one.vm_id in failed)
        told = [one for one in (*blocks, *kept) if not one.information][:MOST]
        cluster = ctx.known.target_provider if ctx.unreadable is not None else ctx.target.name
        waits, hidden = _redacted(waits_of(told, cluster), ctx.redactor)
        return Part(waits=waits, kept_at=ctx.kept_at if kept else None, missing=lacking, hidden=hidden)


def waits_of(blocks: Sequence[Block], cluster: str) -> tuple[Wait, ...]:
    """Return blocks as evidence holds them. `cluster` is the target's name."""
    return tuple(
        Wait(
            vm=one.vm,
            cause=one.kind.value,
            sentence=one.cause,
            since=one.since,
            ends_at=one.deadline,
            ends_by_itself=one.ends_by_itself,
            owner=owner_of(one.owner),
            lacks=tuple(lack.words for lack in one.shortages),
            keeps=one.blocks,
            evidence=one.evidence,
            phase=one.phase,
            vm_id=one.vm_id,
            cluster=cluster,
            cures=cures_of(one, blocks, cluster),
        )
        for one in blocks
    )


def cause_of(waits: Sequence[Wait], causes: Causes, kept: bool) -> Cause | None:
    """Return what most VMs wait for as the story's cause; of two equally frequent the first in plan order.

    What the table of known causes says of that id (owner, remedy, link) counts; the sentence is what was seen.
    """
    if not waits:
        return None
    kinds = [one.cause for one in waits]
    first = next(one for one in waits if one.cause == max(dict.fromkeys(kinds), key=kinds.count))
    row = next((row for row in causes.rows if row.id == first.cause), None)
    own = tuple(f"{cure.text}{': `' + cure.url + '`' if cure.url else '.'}" for cure in first.cures)
    return Cause(
        id=first.cause,
        sentence=first.sentence,
        certainty="when last seen" if kept else "",
        owner=row.owner if row else first.owner,
        remedy=row.remedy if row else own,
        link=row.link if row else "",
    )


def impact_with(evidence: Evidence, plan: dict[str, object], waits: Sequence[Wait]) -> tuple[Impact, str]:
    """Return the impact of a run in which no VM has failed and some wait: theirs is the only one there is.

    A VM whose source was switched off stays off while it waits. That was planned, its length was not: at risk.
    """
    if not waits or evidence.failures or evidence.standing or evidence.impact is not Impact.NONE:
        return evidence.impact, evidence.impact_text
    ids = {one.vm_id for one in waits}
    named = list(dict.fromkeys(one.vm for one in waits))
    place = f" on {evidence.source_provider}" if evidence.source_provider else " on the source"
    off = []
    for vm in run_vms(plan):
        one = read_failure(vm)
        one = with_power(replace(one, phase=one.phase or text(vm.get("phase"), 100)), vm, evidence.mode)
        if one.id in ids and impact_of(one, evidence.mode) is Impact.DOWN:
            off.append(one)
    keeps = _kept_from_others(waits)
    done = evidence.counts.succeeded
    tail = [
        *keeps,
        *([f"{done:,} of {evidence.counts.total:,} VMs {'is' if done == 1 else 'are'} done."] if done else []),
    ]
    if off:
        names = _listed([one.name for one in off])
        were, has, stays = ("was", "has", "stays") if len(off) == 1 else ("were", "have", "stay")
        since = min((one.off_since for one in off if one.off_since), default=None)
        when = f" since {since:%H:%M} UTC" if since else ""
        them = "it waits" if len(off) == 1 else "they wait"
        said = f"{names} {were} On, {has} been off for the migration{when}, and {stays} off while {them}."
        return Impact.AT_RISK, " ".join((said, *tail))
    if evidence.mode not in ("live", "warm"):
        return evidence.impact, " ".join((evidence.impact_text, *keeps))
    runs = "runs" if len(named) == 1 else "run"
    return Impact.NONE, " ".join((f"None yet: {_listed(named)} still {runs}{place}.", *tail))


def _kept_from_others(waits: Iterable[Wait]) -> list[str]:
    clauses = [clause for one in waits for clause in one.keeps]
    said = []
    # That results of VMs that are done are held back says nothing here: none has failed.
    for clause in (one for one in dict.fromkeys(clauses) if not one.startswith("hides ")):
        who = "It" if clauses.count(clause) == 1 else "Each"
        said.append(f"{who} {clause}.")
    return said


def _listed(names: Sequence[str]) -> str:
    if len(names) > _NAMES:
        return f"{', '.join(names[:_NAMES])} and {len(names) - _NAMES:,} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _redacted(waits: Sequence[Wait], redactor: Redactor) -> tuple[tuple[Wait, ...], int]:
    """Return the waits without secrets. A command of which something had to be hidden would not work: it is dropped."""
    hidden = 0

    def hide(said: str) -> str:
        nonlocal hidden
        shown, count = redactor.text(said)
        hidden += count
        return shown

    made = []
    for one in waits:
        signs, count = redacted(one.evidence, redactor)
        hidden += count
        cures = tuple(Link(hide(cure.text), cure.url if not redactor.text(cure.url)[1] else "") for cure in one.cures)
        made.append(
            replace(
                one,
                vm=hide(one.vm),
                sentence=hide(one.sentence),
                lacks=tuple(hide(lack) for lack in one.lacks),
                evidence=signs,
                cures=cures,
            )
        )
    return tuple(made), hidden
