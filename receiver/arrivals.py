"""What is known of an alert by where it came from, before any route or Plan is asked.

Alerts about ourselves go where the configuration says, failures from before our time go into one list, and a heartbeat
is no story at all.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from receiver.config.model import Config
from receiver.fingerprint import fingerprint
from receiver.incoming import Incoming
from receiver.model import (
    EARLIER,
    EARLIER_PLAN,
    EARLIER_RUN,
    Alert,
    AlertStatus,
    Identity,
    PlanPhase,
    PlanState,
    Reason,
)
from receiver.model.handed import HANDOVER
from receiver.routing.tree import Intervals, Routed, Target
from receiver.store.chain import SOURCE as DOCTOR_FROM
from receiver.store.heartbeats import SOURCE as HEARTBEAT_FROM
from receiver.store.rounds import EARLIER_FROM, Listed
from receiver.store.shift import SOURCE as HANDOVER_FROM

EARLIER_ALERT = "MTVReceiverEarlierFailures"
ENDED = frozenset({PlanPhase.FAILED, PlanPhase.SUCCEEDED, PlanPhase.CANCELED, PlanPhase.READY, PlanPhase.GONE})
"""The Plan's migration is over."""
_OURS = (EARLIER_PLAN, EARLIER_RUN)
OURS = "mtv-receiver/"
"""How every source of our own begins."""
_NOBODY = Routed((), (), {}, notify_success=False)
_NO_PLAN = PlanState(PlanPhase.NO_PLAN)


class Arrivals:
    """Knows the sources that are our own."""

    def __init__(self, config: Config, chats: Collection[str] = ()) -> None:
        """`chats`: identities of the destinations that are neither pagers nor tickets."""
        self._config = config
        self._chats = frozenset(chats)

    def is_heartbeat(self, alert: Alert, source: str = "") -> bool:
        """Does this alert only say that alerts arrive? None of our own does, however wide the matchers are."""
        heartbeat = self._config.heartbeat
        if heartbeat is None or source.startswith(OURS):
            return False
        return all(one.matches(alert.labels) for one in heartbeat.matchers)

    def own(self, seq: int, source: str, alert: Alert) -> Incoming | None:
        """Return an alert of one of our own sources with all that is to be known of it; None for all others."""
        if source == HEARTBEAT_FROM:
            identity = Identity(subject=f"heartbeat/{alert.name}", kind="alert", name=alert.name)
            receiver = self._config.heartbeat.receiver if self._config.heartbeat else ""
            routed = self._told_to(
                [receiver] if receiver else self._config.route.receivers, "heartbeat.receiver names it"
            )
            return Incoming(seq, source, alert, "failure", identity, _NO_PLAN, routed)
        if source == DOCTOR_FROM:
            identity = Identity(subject=f"doctor/{alert.name}", kind="alert", name=alert.name)
            receiver = self._config.doctor.receiver
            routed = self._told_to([receiver] if receiver else self._config.route.receivers, "doctor.receiver names it")
            return Incoming(seq, source, alert, "failure", identity, _NO_PLAN, routed)
        if source == HANDOVER_FROM:
            return self._handover(seq, source, alert)
        if not source.startswith(EARLIER_FROM):
            return None
        name = source.removeprefix(EARLIER_FROM)
        if alert.name != EARLIER_ALERT:
            return Incoming(seq, name, alert, EARLIER, _list_of(name), _NO_PLAN, _NOBODY)
        routed = self._told_to(self._config.route.receivers, "it lists failures from before our time", self._chats)
        return Incoming(seq, source, alert, "failure", _list_of(name), _NO_PLAN, routed)

    def _handover(self, seq: int, source: str, alert: Alert) -> Incoming:
        """Return what is told as a success is: in its final form, to chats and mail, and no more of it ever."""
        identity = Identity(f"{HANDOVER}/{alert.labels.get('shift', '')}", HANDOVER, name=alert.name)
        config = self._config.handover
        routed = self._told_to([config.receiver] if config else [], "handover.receiver names it")
        return Incoming(seq, source, alert, "success", identity, _NO_PLAN, replace(routed, notify_success=True))

    def known(self, one: Incoming, listed: Mapping[str, Listed]) -> Incoming:
        """Leave an alert where it is listed, as long as it tells of the failure that is listed there."""
        there = listed.get(one.alert.fingerprint)
        if there is None or one.role != "failure":
            return one
        notes = {name: text for name, text in there.alert.annotations.items() if name in _OURS}
        run = notes.get(EARLIER_RUN, "")
        same_run = bool(run) and run == one.plan.run and one.plan.phase in ENDED
        if one.alert.starts_at != there.alert.starts_at and not same_run:
            return one
        alert = replace(one.alert, annotations={**one.alert.annotations, **notes})
        return replace(one, alert=alert, role=EARLIER, identity=_list_of(there.source), plan=_NO_PLAN, routed=_NOBODY)

    def _told_to(self, receivers: Sequence[str], why: str, only: Collection[str] | None = None) -> Routed:
        reason = Reason(self._config.route.position, why)
        found = {
            destination.identity: Target(destination, (reason,), (Intervals(),))
            for name in receivers
            if name in self._config.receivers
            for destination in self._config.receivers[name].destinations
            if only is None or destination.identity in only
        }
        return Routed(tuple(found.values()), (), {}, notify_success=False)


def _list_of(name: str) -> Identity:
    return Identity(subject=f"{EARLIER}/{name}", kind="alert", name=EARLIER_ALERT)


def listed(alert: Alert, identity: Identity, plan: PlanState) -> Alert:
    """Return an alert for the list of failures from before our time."""
    name = f"{identity.namespace}/{identity.name}" if identity.namespace else identity.name
    return replace(alert, annotations={**alert.annotations, EARLIER_PLAN: name, EARLIER_RUN: plan.run})


def list_of(alertmanager: str, count: int, at: datetime) -> Alert:
    """Return our own alert that stands for so many failures of before."""
    labels = {"alertname": EARLIER_ALERT, "severity": "warning", "alertmanager": alertmanager}
    summary = f"{count} failed migration{'s' if count != 1 else ''} from before mtv-receiver was here"
    text = (
        "Listed once, and nobody is paged: a failure of one of these plans that is new is told as usual. "
        "The list ends when the last of them is gone from Alertmanager."
    )
    return Alert(
        fingerprint(labels), AlertStatus.FIRING, labels, {"summary": summary, "description": text}, starts_at=at
    )
