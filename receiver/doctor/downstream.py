"""Judges of the links from Alertmanager on: who holds the alert, our webhook, the story, and who was told."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from receiver.doctor.chain import (
    AlertmanagerSeen,
    Before,
    Finding,
    HeldAlert,
    Ours,
    Seen,
    State,
    Unread,
    broken,
    cause,
    good,
    skipped,
)
from receiver.doctor.upstream import is_pending, unread
from receiver.model import DeliveryState
from receiver.rendering.words import count, duration, names, when
from receiver.store.codec import moment
from receiver.store.deliveries import DeliveryRow
from receiver.store.listing import shown_state

UPSTREAM: Final = ("metric", "rule", "alert", "sending")
PATIENT_S: Final = 300.0
"""So long a group, a webhook and a delivery may take before it is asked where they are."""


def alertmanager(seen: Seen, before: Before) -> Finding:
    """Does Alertmanager hold the alert, and does it tell us?"""
    if isinstance(seen.alertmanagers, Unread):
        return unread(seen.alertmanagers)
    at = seen.at
    if at is None:
        return skipped("no Alertmanager answered")
    if at.receivers and at.receiver not in at.receivers:
        what = f"{at.name} has no receiver {at.receiver} (it has {names(sorted(at.receivers))})"
        return broken(what, "add it to alertmanager.yml, or correct alertmanagers[].receiver")
    if seen.alert is None:
        return _not_held(seen, at, before)
    return (
        _unrouted(seen.alert, at)
        or _quiet(seen.alert, at, seen.now)
        or good(f"{at.name} holds {seen.alert.alert.name}, {seen.alert.state}, for {at.receiver}")
    )


def _not_held(seen: Seen, at: AlertmanagerSeen, before: Before) -> Finding:
    if seen.plan is None or not seen.plan.failed:
        ours = [one.alert.name for one in at.held if at.receiver in one.receivers]
        also = f"; {names(sorted(set(ours)))} of it for {at.receiver}" if ours else ""
        return skipped(f"{at.name} holds {count(len(at.held), 'alert')}, none about a failed plan{also}")
    what = f"{at.name} holds no alert of {seen.plan}"
    if title := cause(before, *UPSTREAM):
        return skipped(f"{what}: follows from {title}")
    if is_pending(seen) or seen.young:
        return skipped(f"{what} yet", "ask again in two minutes")
    if isinstance(seen.prometheus, Unread):
        return broken(what, "see where it stops: doctor --prometheus URL")
    cure = f"let Prometheus send to {at.url}: alerting.alertmanagers in prometheus.yml, or correct alertmanagers[].url"
    return broken(f"{what}, though it fires in Prometheus", cure)


def _unrouted(held: HeldAlert, at: AlertmanagerSeen) -> Finding | None:
    if at.receiver in held.receivers or not held.receivers:
        return None
    labels = held.alert.labels
    matcher = f'app="{labels["app"]}"' if "app" in labels else f'alertname="{held.alert.name}"'
    route = f"{{matchers: ['{matcher}'], receiver: {at.receiver}, continue: true}}"
    what = f"the alert is routed to {names(list(held.receivers))}, not to {at.receiver}"
    return broken(what, f"add to route.routes of alertmanager.yml, first: {route}")


def _quiet(held: HeldAlert, at: AlertmanagerSeen, now: datetime) -> Finding | None:
    if held.silenced_by:
        one = at.silences.get(held.silenced_by[0])
        until = f" until {when(one.until, now.date())}" if one and one.until else ""
        by = f' by {one.by or "nobody"}: "{one.comment}"' if one else ""
        return broken(
            f"the alert is silenced{until}{by}",
            f"amtool silence expire {held.silenced_by[0]} --alertmanager.url={at.url}, or wait for its end",
            meant=True,
        )
    if held.inhibited_by:
        known = {one.alert.fingerprint: one.alert.name for one in at.held}
        by = names([known.get(one, one) for one in held.inhibited_by])
        cure = f"end {by}, or narrow the inhibit_rules of alertmanager.yml: target_matchers must not match "
        return broken(f"the alert is inhibited by {by}", f'{cure}alertname="{held.alert.name}"', meant=True)
    if held.muted_by:
        intervals = names(list(held.muted_by))
        cure = "take it out of mute_time_intervals of its route, or wait for its end"
        return broken(f"the alert is muted by the time interval {intervals}", cure, meant=True)
    return None


# --- ours ---


def webhook(seen: Seen, before: Before) -> Finding:
    """Did we take what Alertmanager sent?"""
    ours = seen.ours
    if isinstance(ours, Unread):
        return unread(ours)
    last = f"the last webhook came {duration(ours.now - ours.webhook)} ago" if ours.webhook else "no webhook ever came"
    if ours.waiting and ours.oldest_s > PATIENT_S:
        what = f"{count(ours.waiting, 'alert')} wait in the inbox, the first for {duration(ours.oldest_s)}"
        return broken(what, "see docs/runbooks/MTVReceiverInboxStuck.md: does `mtv-receiver serve` run?")
    at, held = seen.at, seen.alert
    if at is None or held is None or before["alertmanager"].state is not State.GOOD:
        return good(last) if ours.webhook else skipped(last)
    began = held.alert.starts_at.timestamp()
    if at.up_since is not None:
        began = max(began, at.up_since.timestamp())
    if ours.webhook is not None and ours.webhook >= began:
        return good(last)
    if ours.known and not at.failed:
        return good(f"the alert came; {last}" if ours.webhook else "the alert came")
    if at.failed:
        what = f"{at.name} cannot reach us: {at.failed:.0f} of {at.sent:.0f} webhook requests failed, and {last}"
        return broken(what, _lead_here(at))
    since = duration(ours.now - began)
    if ours.now - began < PATIENT_S:
        return skipped(f"{last}; the alert is there for {since}, and its group waits group_wait", "ask again soon")
    return broken(f"{last}, though {at.name} holds the alert for {since}", _lead_here(at))


def _lead_here(at: AlertmanagerSeen) -> str:
    return (
        f"let webhook_configs[].url of the receiver {at.receiver} in alertmanager.yml lead here: "
        f"http://HOST:9095/webhook/{at.name}; why it fails is in Alertmanager's log: grep notify"
    )


def story(seen: Seen, before: Before) -> Finding:
    """Is there a story of the plan?"""
    ours = seen.ours
    if isinstance(ours, Unread):
        return skipped("our store was not asked")
    one = ours.story
    if one is not None:
        ended = f" ({one.outcome})" if one.outcome else ""
        return good(f"{one.id} is {one.state}{ended}, opened {when(moment(one.opened), seen.now.date())}")
    if seen.plan is None or not seen.plan.failed:
        return skipped("no failed plan, no story to look for")
    if title := cause(before, *UPSTREAM, "alertmanager", "webhook"):
        return skipped(f"none of {seen.plan}: follows from {title}")
    if seen.young or before["webhook"].state is not State.GOOD:
        return skipped(f"none of {seen.plan} yet")
    cure = "does `mtv-receiver serve` use this database and this cluster? mtv-receiver audit --since 1h"
    return broken(f"there is no story of {seen.plan}, though its alert came", cure)


def destinations(seen: Seen, before: Before) -> Finding:
    """Was everybody told?"""
    ours = seen.ours
    if isinstance(ours, Unread):
        return skipped("our store was not asked")
    stuck = [one for one in ours.deliveries if _is_stuck(one, ours)]
    if stuck:
        one = stuck[0]
        more = f"; {len(stuck) - 1} more" if len(stuck) > 1 else ""
        cure = f"mtv-receiver check --online says what it lacks; then: mtv-receiver deliveries retry {one.id}"
        return broken(f"{one.label} is {shown_state(one).value}: {one.error or 'no answer'}{more}", cure)
    if ours.refusing:
        who, why = ours.refusing[0]
        return broken(f"{who} is {why}", "mtv-receiver check --online says what it lacks")
    if ours.deliveries:
        states: dict[str, list[str]] = {}
        for each in ours.deliveries:
            states.setdefault(shown_state(each).value, []).append(each.label)
        return good("; ".join(f"{state}: {names(sorted(labels))}" for state, labels in states.items()))
    if ours.story is not None:
        return broken(f"nobody is told of {ours.story.id}", "does the root route name a receiver? mtv-receiver explain")
    return skipped("nothing was to be told; none is parked or away")


def _is_stuck(one: DeliveryRow, ours: Ours) -> bool:
    state = shown_state(one)
    waits = state in (DeliveryState.RETRYING, DeliveryState.PENDING)
    late = one.waiting_since is not None and ours.now - one.waiting_since > PATIENT_S
    return state in (DeliveryState.PARKED, DeliveryState.DEAD) or (waits and late)
