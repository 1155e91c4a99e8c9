"""All links, in the order in which an alert passes them, and what they come to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from receiver.doctor import downstream, upstream
from receiver.doctor.chain import Before, Finding, Seen, State
from receiver.model import DeliveryState
from receiver.rendering.words import names


@dataclass(frozen=True, slots=True)
class Link:
    """One step of the way."""

    id: str
    title: str
    judge: Callable[[Seen, Before], Finding]


LINKS: Final = (
    Link("cluster", "Cluster", upstream.cluster),
    Link("rights", "Rights", upstream.rights),
    Link("plan", "Failed plan", upstream.plan),
    Link("metric", "Metric", upstream.metric),
    Link("rule", "Rule", upstream.rule),
    Link("alert", "Alert", upstream.alert),
    Link("sending", "Prometheus", upstream.sending),
    Link("alertmanager", "Alertmanager", downstream.alertmanager),
    Link("webhook", "Webhook", downstream.webhook),
    Link("story", "Story", downstream.story),
    Link("destinations", "Destinations", downstream.destinations),
)


def judge(seen: Seen) -> tuple[Finding, ...]:
    """Return what is found of every link."""
    found: dict[str, Finding] = {}
    for link in LINKS:
        found[link.id] = replace(link.judge(seen, found), id=link.id, title=link.title)
    return tuple(found.values())


def worst(found: Sequence[Finding]) -> Finding | None:
    """Return the first link that is broken, else the first whom nobody could ask; None: the chain is whole."""
    for state in (State.BROKEN, State.UNASKED):
        if first := next((one for one in found if one.state is state), None):
            return first
    return None


def headline(found: Sequence[Finding], seen: Seen) -> str:
    """Return the answer in one line."""
    first = worst(found)
    if first is not None:
        return f"{'Broken' if first.state is State.BROKEN else 'Not known'} at {first.title}: {first.seen}"
    if seen.plan is None or not seen.plan.failed:
        return "Whole as far as it can be seen: no plan has failed, so there is no alert to follow"
    told = [one.label for one in getattr(seen.ours, "deliveries", ()) if one.state is DeliveryState.DELIVERED]
    if not told:
        return f"Whole as far as it was looked at: nothing is broken on the way of {seen.plan}"
    return f"Whole: {seen.plan} failed, and {names(sorted(told))} {'was' if len(told) == 1 else 'were'} told"
