"""Judges of the links before Alertmanager: cluster, rights, plan, metric, rule, alert, and what Prometheus sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from receiver.doctor.chain import (
    Before,
    ClusterSeen,
    Finding,
    PrometheusSeen,
    Rule,
    Seen,
    State,
    Unread,
    broken,
    cause,
    good,
    skipped,
    unasked,
)
from receiver.doctor.cluster import FORKLIFT_IN, SCRAPED
from receiver.doctor.prometheus import METRIC, is_about
from receiver.enrichers.reading import moment, strings
from receiver.rendering.words import count, names, when

RULES = "forklift-alerting-rules"
"""The PrometheusRule that Forklift's operator makes."""
ROLE = "mtv-receiver-doctor"
"""Grants what tells why Forklift is not scraped."""


def unread(one: Unread) -> Finding:
    """Say of what could not be read why, and what helps."""
    return skipped(one.why, one.cure) if one.absent else unasked(one.why, one.cure)


def cluster(seen: Seen, before: Before) -> Finding:
    """Does the cluster answer?"""
    if isinstance(seen.cluster, Unread):
        return unread(seen.cluster)
    return good(f"{seen.cluster.name} answers, {seen.cluster.version}")


def rights(seen: Seen, before: Before) -> Finding:
    """May we read what stories are made of?"""
    if isinstance(seen.cluster, Unread):
        return skipped("the cluster was not asked")
    if lacking := seen.cluster.missing:
        rules = "; ".join(one.rule for one in lacking)
        first = names([one.name for one in lacking])
        return broken(f"forbidden: {first} (for: {lacking[0].needed_for})", f"add to its ClusterRole: {rules}")
    if seen.cluster.rights is not None:
        return unread(seen.cluster.rights)
    return good("all that every cluster needs")


def plan(seen: Seen, before: Before) -> Finding:
    """Is there a plan that failed?"""
    one = seen.plan
    if one is not None and one.failed and one.uid:
        return good(f"{one} failed {when(one.failed_at, seen.now.date())}".rstrip())
    if one is not None and not one.failed:
        return skipped(f"{one} is {one.phase}: nothing is to be told of it", "name another by --plan, or leave it out")
    if isinstance(seen.cluster, Unread):
        return skipped("the cluster was not asked" + (f"; {one} is followed by its name" if one else ""))
    if seen.cluster.rights is not None and not seen.cluster.counted and not seen.cluster.rights.absent:
        return unread(seen.cluster.rights)
    return skipped(f"none of {count(seen.cluster.counted, 'plan')} has failed; the rest is checked without one")


# --- Prometheus ---


def metric(seen: Seen, before: Before) -> Finding:
    """Is what Forklift publishes of plans scraped?"""
    told = seen.prometheus
    if isinstance(told, Unread):
        return unread(told)
    down = [one for one in told.targets or () if not one.up]
    if down and len(down) == len(told.targets or ()):
        space = down[0].namespace or FORKLIFT_IN[0]
        what = f"Forklift's target {down[0].url} is down: {down[0].error or 'no answer'}"
        cure = f"oc -n {space} get pods,endpoints; oc -n {space} rollout restart deployment/forklift-controller"
        return broken(what, cure)
    if not told.series and not told.targets:
        return _unscraped(seen, told)
    one = seen.plan
    if one is None or not one.failed:
        return good(f"{METRIC}: {len(told.series):,} series, target up" if told.targets else f"{METRIC} is there")
    if mine := [labels for labels in told.series if _is_of(labels, one.uid, one.name)]:
        if any(labels.get("status") == "Failed" for labels in mine):
            return good(f'{METRIC}{{status="Failed"}} of {one} is there')
        if not seen.young:
            return broken(f"{METRIC} says {mine[0].get('status', 'nothing')} of {one}, not Failed", _logs(told))
    if seen.young:
        return skipped(f"{METRIC} has nothing of {one} yet, which failed a moment ago", "ask again in two minutes")
    what = f"Forklift publishes no {METRIC} of {one}: it leaves out plans whose providers it cannot read"
    return broken(what, f"oc get providers -A; {_logs(told)}")


def _is_of(labels: Mapping[str, str], uid: str, name: str) -> bool:
    return labels.get("plan") == uid if uid else labels.get("plan_name") == name


def _logs(told: PrometheusSeen) -> str:
    space = next((labels["namespace"] for labels in told.series if labels.get("namespace")), FORKLIFT_IN[0])
    return f"oc -n {space} logs deployment/forklift-controller -c main --since=10m"


def _unscraped(seen: Seen, told: PrometheusSeen) -> Finding:
    """Prometheus has neither series nor target: why, as far as the cluster tells."""
    what = f"no {METRIC} in Prometheus, and no target of Forklift"
    cures = ["oc get servicemonitors -A | grep forklift"]
    spaces: list[str] = []
    if isinstance(seen.cluster, ClusterSeen):
        spaces = list(seen.cluster.labelled)
        for space, labelled in seen.cluster.labelled.items():
            if not labelled:
                why = f"{what}: namespace {space} is not labelled {SCRAPED}=true"
                return broken(why, f"oc label namespace {space} {SCRAPED}=true")
            if seen.cluster.monitors.get(space) == 0:
                why = f"{what}: namespace {space} has no ServiceMonitor"
                return broken(why, f"oc -n {space} rollout restart deployment/forklift-operator (it makes it)")
        if unread := next(iter(seen.cluster.unread.values()), ""):
            what += f"; why is not known: {unread}"
            cures.insert(0, f"give the account the ClusterRole {ROLE} of deploy/rights")
    if told.targets is None and (seen.plan is None or not seen.plan.failed):
        return skipped(f"no {METRIC}: without plans that ran there is none")
    # A label that was read is there: above, one that is not was named.
    cures.append(
        f"oc -n {spaces[0]} get endpoints forklift-metrics"
        if spaces
        else f"oc label namespace {FORKLIFT_IN[0]} {SCRAPED}=true"
    )
    return broken(what, "; ".join(cures))


def rule(seen: Seen, before: Before) -> Finding:
    """Is there a rule that makes an alert of it, and does it work?"""
    told = seen.prometheus
    if isinstance(told, Unread):
        return skipped(f"{told.why if told.absent else 'Prometheus was not asked'}")
    if told.rules is None:
        return skipped(f"{told.url} does not tell its rules", "name a Prometheus, or a Thanos with rules")
    if not told.rules:
        cure = f"oc get prometheusrules -A | grep {RULES}; where it is missing, add a rule MigrationFailed: "
        cure += f'{METRIC}{{status="Failed"}}'
        return broken("no rule is loaded that tells of failed plans (MigrationFailed or MTVPlanFailed)", cure)
    if wrong := [one for one in told.rules if one.error]:
        return broken(f"the rule {wrong[0].name} fails: {wrong[0].error}", f"correct its expression: {wrong[0].query}")
    return good(f"{names([one.name for one in told.rules])} loaded")


def alert(seen: Seen, before: Before) -> Finding:
    """Does the rule fire for the plan?"""
    told, one = seen.prometheus, seen.plan
    if isinstance(told, Unread) or not told.rules:
        return skipped(f"follows from {title}" if (title := cause(before, "metric", "rule")) else "no rules were read")
    if one is None or not one.failed:
        firing = sum(len(each.alerts) for each in told.rules)
        return skipped(f"no plan to look for; {count(firing, 'alert')} of these rules")
    for each, raised in _of_plan(told, seen):
        since = when(moment(raised.get("activeAt")), seen.now.date())
        if raised.get("state") == "pending":
            return good(f"{each.name} of {one} is pending since {since}: it fires when its `for` is over")
        return good(f"{each.name} of {one} fires since {since}")
    if title := cause(before, "metric", "rule"):
        return skipped(f"follows from {title}")
    if seen.young or before["metric"].state is State.SKIPPED:
        return skipped("does not fire yet", "ask again in two minutes")
    first = told.rules[0]
    return broken(f"{first.name} does not fire for {one}", f"compare its expression with the metric: {first.query}")


def _of_plan(told: PrometheusSeen, seen: Seen) -> list[tuple[Rule, Mapping[str, Any]]]:
    one = seen.plan
    return [
        (each, raised)
        for each in told.rules or ()
        for raised in each.alerts
        if one is not None
        and is_about(
            {**strings(raised.get("labels")), "alertname": each.name}, one.uid, one.namespace, one.name, seen.subjects
        )
    ]


def is_pending(seen: Seen) -> bool:
    """Does the alert wait in Prometheus for its `for` to be over?"""
    if isinstance(seen.prometheus, Unread):
        return False
    states = {raised.get("state") for _, raised in _of_plan(seen.prometheus, seen)}
    return states == {"pending"}


def sending(seen: Seen, before: Before) -> Finding:
    """Does Prometheus send its alerts to an Alertmanager?"""
    told = seen.prometheus
    if isinstance(told, Unread):
        return skipped(f"{told.why if told.absent else 'Prometheus was not asked'}")
    if told.sends_to is None:
        return skipped(f"{told.url} does not tell whom it sends to: a Thanos has no Alertmanagers")
    if not told.sends_to:
        dropped = f" ({told.dropped} found, and dropped by relabelling)" if told.dropped else ""
        cure = "name one in prometheus.yml: alerting.alertmanagers; on OpenShift: "
        cure += "oc -n openshift-monitoring get pods -l app.kubernetes.io/name=alertmanager"
        return broken(f"Prometheus is not connected to any Alertmanager{dropped}", cure)
    at = names(list(told.sends_to))
    if told.send_errors >= 1 and seen.alert is None:
        what = f"{told.send_errors:.0f} alerts could not be sent to {at} within 5 minutes"
        return broken(what, "correct alerting.alertmanagers in prometheus.yml, or let that Alertmanager answer")
    return good(f"to {at}")
