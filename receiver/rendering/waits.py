"""Words for VMs that wait: the headline of a story about nothing else, why, whether it ends by itself, what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any

from receiver.limits import truncate
from receiver.model import Evidence, Identity, PlanPhase, Room, StoryState, Wait, Wanted
from receiver.rendering import do_now, words
from receiver.rendering.context import Command, Do, Waiting
from receiver.rendering.markup import clean
from receiver.rendering.view import MAX_NAME, View, page

STUCK, NOT_READY = "MTVPlanStuck", "MTVPlanNotReady"
"""Our own watch's alerts for a run in which nothing moves, and for a plan that cannot run: nothing has failed."""

_CHAT_ROWS, _TICKET_ROWS = 4, 12
_MAX_OPTIONS = 4
_MAX_CANCELED = 20
"""VMs in one command."""
_MAX_WORDS = 84
_MAX_ROOMS = 2
_MAX_STEP = 400
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_ID = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")

# For the headline: what one VM does, and what several do. An unknown id is told by its own words.
_PHRASES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "live-unschedulable": ("fits on no node", "fit on no node"),
        "volume-unbound": ("waits for its volume", "wait for their volumes"),
        "volume-no-fit": ("gets its volume on no node", "get their volumes on no node"),
        "storage-full": ("waits, storage is full", "wait, storage is full"),
        "provisioning-failed": ("gets no volume", "get no volumes"),
        "provisioner-waits": ("waits for the storage provisioner", "wait for the storage provisioner"),
        "data-volume-waits": ("waits for its volume", "wait for their volumes"),
        "live-quota": ("refused by quota", "refused by quota"),
        "quota": ("refused a volume by quota", "refused volumes by quota"),
        "live-quota-gate": ("held back by quota", "held back by quota"),
        "live-scheduling-gate": ("held back by a scheduling gate", "held back by scheduling gates"),
        "live-scheduler-error": ("not placed, scheduler error", "not placed, scheduler error"),
        "live-pod-security": ("refused by Pod Security", "refused by Pod Security"),
        "live-pod-refused": ("refused by the API server", "refused by the API server"),
        "image-pull": ("waits for an image", "wait for an image"),
        "live-no-sync": ("waits, the clusters do not connect", "wait, the clusters do not connect"),
        "vm-name-taken": ("waits, its name is taken", "wait, their names are taken"),
    }
)


def is_stuck(wanted: Wanted, evidence: Evidence | None) -> bool:
    """Whether the story only tells of VMs that wait: nothing has failed, as far as is known."""
    firing = _firing(wanted)
    if not firing or not firing <= {STUCK, NOT_READY} or wanted.story.state is not StoryState.FIRING:
        return False
    return evidence is None or not (evidence.failures or evidence.counts.failed or evidence.phase is PlanPhase.FAILED)


def _firing(wanted: Wanted) -> set[str]:
    return {one.alert.name for one in wanted.story.alerts if one.alert.firing and one.role == "failure"}


def waits_parts(view: View) -> dict[str, Any]:
    """Return what a template may say of VMs that wait."""
    evidence = view.evidence
    stuck = is_stuck(view.wanted, evidence)
    made: dict[str, Any] = {"stuck": stuck}
    if evidence is None or view.stale:
        return made
    made |= _room(view, evidence.room)
    if not evidence.waits:
        if stuck and NOT_READY in _firing(view.wanted) and evidence.plan_reasons and view.content == "full":
            made["stuck_words"] = view.text(evidence.plan_reasons[0].rstrip("."), _MAX_WORDS)
        return made
    groups = _groups(evidence)
    most = _TICKET_ROWS if view.ticket else _CHAT_ROWS
    made["waits"] = tuple(_row(view, evidence, group) for group in groups[:most])
    made["more_waits"] = sum(len(group) for group in groups[most:])
    if stuck:
        made["stuck_words"] = _headline(view, groups)
        named = evidence.cause is not None and evidence.cause.id == groups[0][0].cause
        if named:
            made["do_now"] = view.steps(options(view.identity, evidence, do_now.elsewhere(evidence.room)))
            made["do_one"] = len(groups) == 1
            made["commands"] = ()
    return made


def options(identity: Identity | None, evidence: Evidence, elsewhere: Sequence[Do] = ()) -> tuple[Do, ...]:
    """Return what ends the waits, the best first; where all VMs wait for the same, any of the steps is enough.

    `elsewhere` are other clusters that the plan would fit into, as somebody found who has looked.
    """
    groups = _groups(evidence)
    made: dict[tuple[str, str], Do] = {}
    for group in groups:
        who = f"{words.names([clean(one.vm) for one in group])}: " if len(groups) > 1 else ""
        for cure in group[0].cures:
            command = clean(cure.url)
            made.setdefault((cure.text, command), Do(truncate(f"{who}{clean(cure.text)}", _MAX_STEP), command))
    cancel = _cancel(identity, evidence)
    return (*tuple(made.values())[:_MAX_OPTIONS], *elsewhere, *((cancel,) if cancel else ()))


def _room(view: View, room: Room | None) -> dict[str, Any]:
    """Return what is said of the room for a Plan: where there is enough, it explains nothing."""
    if room is None or room.verdict == "fits" or view.content == "minimal":
        return {}
    return {
        "room": view.text(room.text, _MAX_STEP),
        "rooms": tuple(view.text(one, _MAX_STEP) for one in room.others[:_MAX_ROOMS]),
        "room_story": page(view.wanted, room.story) if room.story else "",
    }


def lines(evidence: Evidence) -> tuple[str, ...]:
    """Return the waits as lines of plain text, for a destination that has no templates for them."""
    made = []
    for group in _groups(evidence):
        first = group[0]
        since = f" since {words.when(first.since)}" if first.since else ""
        lacks = f" {'; '.join(first.lacks)}." if first.lacks else ""
        seen = f" Seen {words.when(evidence.kept_at)}." if _is_over(evidence, first) else ""
        ends = "" if seen else f" Ends by itself: {_ends(first, evidence.read_at, None)}"
        names = words.names([clean(one.vm) for one in group])
        made.append(clean(f"{names}{since}: {words.sentence(first.sentence)}{lacks}{ends}{seen}"))
    return tuple(made)


def _groups(evidence: Evidence) -> list[list[Wait]]:
    """Return the waits, equal ones together, that of the story's cause first."""
    found: dict[tuple[bool, str, str], list[Wait]] = {}
    for one in evidence.waits:
        found.setdefault((_is_over(evidence, one), one.cause, one.sentence), []).append(one)
    main = evidence.cause.id if evidence.cause else ""
    return sorted(found.values(), key=lambda group: group[0].cause != main)


def _is_over(evidence: Evidence, one: Wait) -> bool:
    """Whether the VM has failed since: then its wait is what was seen last."""
    return evidence.kept_at is not None and any(one.vm_id == vm.id for vm in evidence.failures)


def _row(view: View, evidence: Evidence, group: Sequence[Wait]) -> Waiting:
    first = group[0]
    over = _is_over(evidence, first)
    since = min((one.since for one in group if one.since), default=None)
    lacks = list(dict.fromkeys(lack for one in group for lack in one.lacks))
    shown = "; ".join(view.text(lack, 160) for lack in lacks[:3])
    said = words.sentence(view.text(first.sentence, 300))[:-1]
    is_cause = evidence.cause is not None and evidence.cause.sentence == first.sentence
    return Waiting(
        names=words.names([view.text(one.vm, MAX_NAME) for one in group]),
        count=len(group),
        id=view.text(first.cause, 60),
        cause=said,
        told=is_cause,
        lacks=shown,
        since=words.when(since, view.day),
        ends="" if over else _ends(first, evidence.read_at, view),
        seen=words.when(evidence.kept_at, view.day) if over else "",
        owner=view.text(first.owner, 80),
    )


def _ends(one: Wait, read_at: datetime | None, view: View | None) -> str:
    if not one.ends_by_itself:
        return "No. Nothing has a time limit here: it waits until somebody acts."
    if one.ends_at is None:
        return "Only badly: KubeVirt gives up after a while, and then the VM's migration fails."
    at = words.when(one.ends_at, view.day if view else None)
    if read_at is not None and one.ends_at <= read_at:
        return f"Only badly: the VM's migration should have failed at {at}."
    return f"Only badly: at {at} the VM's migration fails."


def _headline(view: View, groups: Sequence[Sequence[Wait]]) -> str:
    """Return such as "pay-app-01 refused by quota on west, 2 more wait"."""
    first, others = groups[0], sum(len(group) for group in groups[1:])
    one, many = _PHRASES.get(first[0].cause, ("waits", "wait"))
    who = view.text(first[0].vm, 40) if len(first) == 1 else words.count(len(first), "VM")
    said = f"{who} {one if len(first) == 1 else many}"
    tail = f", {others:,} more {'waits' if others == 1 else 'wait'}" if others else ""
    of = "of" if said.endswith("no node") else "on"
    place = f" {of} {view.text(first[0].cluster, 40)}" if first[0].cluster else ""
    whole = f"{said}{place}{tail}"
    return whole if len(whole) <= _MAX_WORDS else truncate(f"{said}{tail}", _MAX_WORDS)


def _cancel(identity: Identity | None, evidence: Evidence) -> Do | None:
    """Return the step that takes the VMs that wait out of the run."""
    vms = {one.vm_id: one for one in evidence.waits if one.vm_id and not _is_over(evidence, one)}
    if not vms:
        return None
    names = words.names([clean(one.vm) for one in vms.values()])
    it = len(vms) == 1
    if evidence.mode in ("live", "warm"):
        then = f"{'it stays' if it else 'they stay'} on the source"
    else:
        then = f"MTV powers {'its source' if it else 'their sources'} on again if {'it was' if it else 'they were'} On"
    rest = max(evidence.counts.running + evidence.counts.waiting - len(vms), 0)
    others = f", {words.count(rest, 'other VM')} {'goes' if rest == 1 else 'go'} on" if rest else ""
    elsewhere = bool(identity and identity.cluster and any(one.cluster != identity.cluster for one in vms.values()))
    place = f" (in cluster {clean(identity.cluster)})" if identity and elsewhere else ""
    give_up = "Give up" if len(_groups(evidence)) == 1 else "Or give up"
    text = f"{give_up} for now: cancel {names} in this run{place}; {then}{others}"
    return Do(truncate(text, _MAX_STEP), _cancel_command(identity, evidence, tuple(vms)))


def _cancel_command(identity: Identity | None, evidence: Evidence, ids: Sequence[str]) -> str:
    space, run = identity.namespace if identity else "", evidence.run_name
    if not _NAME.fullmatch(space) or not _NAME.fullmatch(run) or len(ids) > _MAX_CANCELED:
        return ""
    if not all(_ID.fullmatch(one) for one in ids):
        return ""
    # With blanks, at which a mail may break it: JSON and the shell's quotes bear that.
    patch = json.dumps({"spec": {"cancel": [{"id": one} for one in ids]}}, separators=(", ", ":"))
    return f"oc -n {space} patch migrations.forklift.konveyor.io {run} --type=merge -p '{patch}'"


def commands(shown: Sequence[Command], stuck: bool) -> tuple[Command, ...]:
    """Return the commands below a message. A plan that runs cannot be run again."""
    return tuple(one for one in shown if not (stuck and one.caption.lower().startswith("run again")))
