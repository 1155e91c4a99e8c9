"""A handover in words and as JSON: what page, terminal and message say alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from receiver.handover import Done, Ended, Ending, Handover, OpenStory, Some, Storm, Untold, outcome_words
from receiver.limits import truncate
from receiver.model.handed import HandedLine
from receiver.rendering import words
from receiver.views import iso

IMPACTS: Final = {"down": "VM down", "at_risk": "at risk", "none": "nothing down", "unknown": "impact not known"}
MOST_LINES: Final = 15
"""Of one part of a message."""
MOST_TEXT: Final = 300
STOOD_IN: Final = "others were told in its place"


def where(one: OpenStory | Ended) -> str:
    """Return namespace and cluster, as far as they are known and the title does not say them."""
    namespace = one.namespace if f" {one.namespace}/" not in one.title else ""
    return " on ".join(part for part in (namespace, one.cluster) if part)


def standing(one: OpenStory) -> str:
    """Return how a story stands, in a word or two."""
    return "re-running" if one.state == "re-running" else IMPACTS.get(one.impact, one.impact)


def failed_of(one: OpenStory | Storm) -> str:
    """Return such as "3 of 20", or nothing where it is not known."""
    return f"{one.failed:,} of {one.total:,}" if one.total else f"{one.failed:,}" if one.failed else ""


def who(one: OpenStory | Storm, now: datetime) -> str:
    """Return who has a story, or for how long nobody has had it; of a storm who has stories of it."""
    if isinstance(one, Storm) and one.takers and not one.taken_by:
        had = sum(number for _, number in one.takers)
        left = f"; nobody {one.members - had:,}" if had < one.members else ""
        return ", ".join(f"{name} {number:,} of {one.members:,}" for name, number in one.takers[:3]) + left
    return one.taken_by or f"nobody, for {words.duration((now - one.since).total_seconds())}"


def silenced(one: OpenStory, now: datetime) -> str:
    """Return until when a story is silenced and by whom; nothing where it is not."""
    if one.silenced_until is None:
        return ""
    return f"silenced until {words.when(one.silenced_until, now.date())} by {one.silenced_by}"


def common_cause(one: Storm) -> str:
    """Return what most stories of a storm have in common; nothing where it is not known."""
    if not one.cause:
        return ""
    return words.sentence(one.cause) + ("" if one.alike == one.members else f" ({one.alike:,} of {one.members:,})")


def stood_in(one: Untold) -> str:
    """Return who else knows what was not told; nothing where nobody does."""
    if one.stood_in:
        return STOOD_IN
    return f"others were told of {one.elsewhere:,} of them" if one.elsewhere else ""


def lasted(one: Ended) -> str:
    """Return how long a story went on."""
    return words.duration((one.closed - one.opened).total_seconds())


def what_waits(one: Untold) -> str:
    """Return what is not told there."""
    if one.state == "dead":
        return one.title
    if not one.number:
        return "nothing waits there"
    return f"{words.count(one.number, 'message')} {'waits' if one.number == 1 else 'wait'}"


def did(one: Done) -> str:
    """Return what somebody did, as they were answered: a sentence of its own."""
    return words.sentence(one.text or one.action)


# --- the message ---


def lines_of(found: Handover) -> tuple[HandedLine, ...]:
    """Return what a message says below the summary: what needs somebody first, and of each only the first."""
    now = found.now
    stories = [_storm_line(one, now) for one in found.storms] + [_story_line(one, now) for one in found.open.items]
    number = len(found.storms) + found.open.total
    untold = [
        HandedLine("", one.to, _untold_text(one, now), one.story) for one in (*found.dead.items, *found.waiting.items)
    ]
    endings = [
        HandedLine("", one.title, f"until {words.when(one.until, now.date())} by {one.by}", one.story)
        for one in found.ending.items
    ]
    length = words.duration(found.since_s)
    ended = [HandedLine("", "", outcome_words(found.outcomes))] if found.outcomes else []
    return (
        *_part("Open", stories, number),
        *_part("Stuck", [_story_line(one, now) for one in found.stuck.items], found.stuck.total),
        *_part(f"Silences that end within {length}", endings, found.ending.total),
        *_part("Not told", untold, found.dead.total + found.waiting.total),
        *_part(f"Ended in the last {length}", ended, len(ended)),
    )


def _part(title: str, lines: Sequence[HandedLine], total: int) -> list[HandedLine]:
    shown = [replace(one, text=truncate(one.text, MOST_TEXT)) for one in lines[:MOST_LINES]]
    if total > len(shown):
        shown.append(HandedLine("", "", f"and {total - len(shown):,} more"))
    return [replace(one, part=title if not at else "") for at, one in enumerate(shown)]


def _storm_line(one: Storm, now: datetime) -> HandedLine:
    failed = f", {failed_of(one)} VMs failed" if one.failed else ""
    cause = common_cause(one)
    said = f"{one.members:,} open, told as one{failed}; {_has_it(one, now)}"
    return HandedLine("", one.title, f"{said}. {cause}" if cause else said, one.id)


def _story_line(one: OpenStory, now: datetime) -> HandedLine:
    failed = f", {failed_of(one)} failed" if one.failed else ""
    quiet = silenced(one, now)
    said = [f"{standing(one)}{failed}", _has_it(one, now), *([quiet] if quiet else [])]
    cause = f" {words.sentence(one.cause)}" if one.cause else ""
    return HandedLine("", one.title, f"{'; '.join(said)}.{cause}", one.id)


def _untold_text(one: Untold, now: datetime) -> str:
    others = stood_in(one)
    since = words.when(one.since, now.date())
    return f"{one.state} since {since}: {what_waits(one)}: {one.why or 'no answer'}{f' ({others})' if others else ''}"


def _has_it(one: OpenStory | Storm, now: datetime) -> str:
    return f"{one.taken_by} has it" if one.taken_by else who(one, now)


# --- JSON ---


def handover_json(found: Handover, external_url: str = "") -> dict[str, Any]:
    """Return the public form. `url` is null where no `web.external_url` is configured."""

    def url(story: str) -> str | None:
        return f"{external_url.rstrip('/')}/stories/{story}" if external_url and story else None

    def story(one: OpenStory) -> dict[str, Any]:
        return {
            "id": one.id,
            "url": url(one.id),
            "title": one.title,
            "namespace": one.namespace,
            "cluster": one.cluster,
            "state": one.state,
            "impact": one.impact,
            "severity": one.severity,
            "failed": one.failed,
            "total": one.total,
            "cause": one.cause,
            "since": iso(one.since),
            "taken_by": one.taken_by or None,
            "silenced_until": iso(one.silenced_until),
            "silenced_by": one.silenced_by or None,
        }

    def storm(one: Storm) -> dict[str, Any]:
        head = {"id": one.id, "url": url(one.id), "title": one.title, "members": one.members}
        sums = {"failed": one.failed, "total": one.total, "cause": one.cause, "with_that_cause": one.alike}
        return {**head, **sums, "since": iso(one.since), "taken_by": one.taken_by or None, "takers": dict(one.takers)}

    def untold(one: Untold) -> dict[str, Any]:
        return {
            "state": one.state,
            "to": one.to,
            "why": one.why,
            "since": iso(one.since),
            "number": one.number,
            "story": one.story or None,
            "title": one.title,
            "told_in_its_place": one.stood_in,
            "told_elsewhere": one.elsewhere,
        }

    def ended(one: Ended) -> dict[str, Any]:
        times = {"opened": iso(one.opened), "closed": iso(one.closed), "rerun": one.rerun}
        place = {"namespace": one.namespace, "cluster": one.cluster}
        return {"id": one.id, "url": url(one.id), "title": one.title, **place, "outcome": one.outcome, **times}

    def done(one: Done) -> dict[str, Any]:
        said = {"action": one.action, "by": one.by, "via": one.via, "text": one.text}
        return {"at": iso(one.at), "story": one.story, "title": one.title, **said}

    def ending(one: Ending) -> dict[str, Any]:
        return {"story": one.story, "title": one.title, "until": iso(one.until), "by": one.by}

    return {
        "summary": found.summary,
        "at": iso(found.now),
        "since_seconds": found.since_s,
        "numbers": {
            "open": found.number,
            "with_vms_down": found.down,
            "vms_down": found.vms_down,
            "vms_down_at_least": found.vms_at_least,
            "nobody_has": found.free,
            "outcomes": dict(found.outcomes),
        },
        "storms": [storm(one) for one in found.storms],
        "open": _some(found.open, [story(one) for one in found.open.items]),
        "stuck": _some(found.stuck, [story(one) for one in found.stuck.items]),
        "dead": _some(found.dead, [untold(one) for one in found.dead.items]),
        "waiting": _some(found.waiting, [untold(one) for one in found.waiting.items]),
        "ended": _some(found.ended, [ended(one) for one in found.ended.items]),
        "done": _some(found.done, [done(one) for one in found.done.items]),
        "silences_ending": _some(found.ending, [ending(one) for one in found.ending.items]),
    }


def _some(of: Some[Any], items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"items": list(items), "total": of.total}
