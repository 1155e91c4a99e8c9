"""The part of a context that a digest fills: sums, causes, places, and the first of its stories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.model import Digest, DigestRow, Impact
from receiver.rendering import words
from receiver.rendering.context import Bar, Place, StormCause, StormRow
from receiver.rendering.markup import safe_url
from receiver.rendering.view import MAX_NAME, View, page

_BAR = 12
"""Characters of the longest bar: with name and number it fits a phone."""
_CHAT_ROWS, _TICKET_ROWS = 8, 40
_MAX_PLACES = 6
_MAX_STRANGE = 4
_MAX_STEPS = 2
_STATES = {"firing": "failed", "re-running": "re-running", "cleared": "alert gone"}


def storm_parts(view: View) -> dict[str, Any]:
    """Return what replaces a single story's parts; nothing where the story is none that stands for a storm."""
    digest = view.wanted.story.digest
    if digest is None:
        return {}
    impact = Impact.DOWN if digest.down else Impact.UNKNOWN if digest.unread or digest.at_risk else Impact.NONE
    rows = digest.rows[: _TICKET_ROWS if view.ticket else _CHAT_ROWS]
    strange = [row for row in digest.rows if row.open and row.read and not row.cause]
    return {
        "where": words.names([view.text(one, MAX_NAME) for one in digest.clusters]),
        "cluster": view.text(digest.clusters[0], MAX_NAME) if len(digest.clusters) == 1 else "",
        "impact": impact.value,
        "impact_words": _impact_words(digest),
        "failed": digest.failed,
        "total": digest.total,
        "done": digest.done,
        "running": digest.running,
        "waiting": digest.waiting,
        "canceled": digest.canceled,
        "failed_of": f"{words.of(digest.failed, digest.total)} failed" if digest.failed else "",
        "plans": digest.plans,
        "plans_open": digest.open,
        "plans_fixed": digest.fixed,
        "plans_unread": digest.unread,
        "plans_words": _kinds(digest, digest.plans),
        "storm": digest.storm,
        "since": words.when(digest.since, view.day),
        "down_count": digest.down,
        "bars": _bars(digest),
        "causes": tuple(_cause(view, digest, at) for at in range(len(digest.causes))),
        "topic": view.text(digest.topic, 60),
        "not_recognised": digest.unrecognised,
        "strange": tuple(_row(view, row) for row in strange[:_MAX_STRANGE]),
        "places": tuple(
            Place(view.text(one.name, MAX_NAME) or "namespace unknown", one.plans, one.failed, one.down)
            for one in digest.places[:_MAX_PLACES]
        ),
        "more_places": max(len(digest.places) - _MAX_PLACES, 0),
        "members": tuple(_row(view, row) for row in rows),
        "more_members": digest.plans - len(rows),
        "do_now": (),
        "details": (),
    }


def _impact_words(digest: Digest) -> str:
    if digest.down:
        return f"{words.count(digest.down, 'VM')} down"
    if digest.unread:
        return "Impact not known yet"
    return "VMs at risk" if digest.at_risk else "No VM down"


def _kinds(digest: Digest, number: int) -> str:
    return words.count(number, "plan" if all(row.plan for row in digest.rows) else "failure")


def _bars(digest: Digest) -> tuple[Bar, ...]:
    numbers: Mapping[str, int] = {
        "done": digest.done,
        "failed": digest.failed,
        "running": digest.running,
        "waiting": digest.waiting,
        "canceled": digest.canceled,
    }
    most = max(numbers.values())
    return tuple(
        Bar(name, number, "█" * max(1, round(number / most * _BAR))) for name, number in numbers.items() if number
    )


def _cause(view: View, digest: Digest, at: int) -> StormCause:
    one = digest.causes[at]
    return StormCause(
        id=view.text(one.id, 60),
        cause=words.sentence(view.text(one.sentence, 300))[:-1],
        owner=view.text(one.owner, 80),
        steps=tuple(view.text(step, 300) for step in one.remedy[: None if view.ticket else _MAX_STEPS]),
        link=one.link if safe_url(one.link) else "",
        vms=one.vms,
        plans=one.plans,
        down=one.down,
    )


def _row(view: View, row: DigestRow) -> StormRow:
    url = page(view.wanted, row.story) if view.wanted.external_url else ""
    return StormRow(
        name=view.text(row.name, MAX_NAME),
        namespace=view.text(row.namespace, MAX_NAME),
        state=_STATES.get(row.state, row.state),
        failed_of=f"{row.failed:,} of {row.total:,}" if row.failed else "",
        down=row.down,
        step=view.text(row.step, 40),
        vm=view.text(row.vm, MAX_NAME),
        cause=view.text(row.cause, 60),
        line=view.text(row.line, 160) if view.content == "full" else "",
        url=url,
    )
