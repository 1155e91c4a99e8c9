"""Every metric, declared once; all series exist from the start and no label value comes from an alert."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from receiver.model import AttemptOutcome, Change, DeliveryState

PREFIX = "mtv_receiver"
OWN_ALERTS = ("MTVVMFailed", "MTVPlanFailedUnalerted")
REJECTED = ("not an object", "no status", "no labels", "other")


class Metrics:
    """The service's own figures, in a registry of their own."""

    def __init__(self, kinds: Iterable[str], clusters: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self.kinds = tuple(kinds)
        r = self.registry
        self.webhooks = Counter(f"{PREFIX}_webhooks", "Webhook requests by HTTP status.", ["code"], registry=r)
        self.alerts = Counter(f"{PREFIX}_alerts_accepted", "Alerts committed to the inbox.", registry=r)
        self.rejected = Counter(f"{PREFIX}_alerts_rejected", "Alerts that could not be used.", ["reason"], registry=r)
        self.poison = Counter(f"{PREFIX}_inbox_poison", "Inbox entries that our own code broke on.", registry=r)
        self.inbox = Gauge(f"{PREFIX}_inbox_backlog", "Inbox entries not yet worked off.", registry=r)
        self.changes = Counter(
            f"{PREFIX}_story_changes", "Revisions of stories by kind of change.", ["change"], registry=r
        )
        self.stories = Gauge(f"{PREFIX}_stories_open", "Stories that are not closed.", registry=r)
        self.attempts = Counter(
            f"{PREFIX}_attempts", "Tries at destinations by kind and outcome.", ["kind", "outcome"], registry=r
        )
        self.attempt_seconds = Histogram(
            f"{PREFIX}_attempt_seconds",
            "How long tries at destinations took.",
            ["kind"],
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=r,
        )
        self.deliveries = Gauge(f"{PREFIX}_deliveries", "Deliveries by kind and state.", ["kind", "state"], registry=r)
        self.parked = Gauge(f"{PREFIX}_destinations_parked", "Destinations that refuse everything.", registry=r)
        self.fallbacks = Counter(f"{PREFIX}_fallbacks", "Stories told to a fallback.", ["kind"], registry=r)
        self.unrecognised = Counter(
            f"{PREFIX}_unrecognised", "Failures whose evidence is complete and holds no known error.", registry=r
        )
        self.bugs = Counter(f"{PREFIX}_bugs", "Exceptions that nobody expected.", ["where"], registry=r)
        self.templates_broken = Counter(
            f"{PREFIX}_templates_broken",
            "Messages sent in the plain built-in form because a template broke.",
            registry=r,
        )
        self.clusters = Gauge(
            f"{PREFIX}_cluster_synced",
            "1 while the Plan watch of a configured cluster is in sync.",
            ["cluster"],
            registry=r,
        )
        self.own_alerts = Counter(
            f"{PREFIX}_own_alerts", "Alerts of our own that were raised, by name.", ["alertname"], registry=r
        )
        self.watch_bytes = Counter(
            f"{PREFIX}_watch_plan_bytes",
            "Bytes of whole Plans that were read because they execute.",
            ["cluster"],
            registry=r,
        )
        self.config_loaded = Gauge(
            f"{PREFIX}_config_last_reload_successful",
            "1 if the configuration in the file is the one in force.",
            registry=r,
        )
        for code in ("200", "400", "401", "405", "413", "503"):
            self.webhooks.labels(code)
        for reason in REJECTED:
            self.rejected.labels(reason)
        for change in Change:
            self.changes.labels(change.value)
        for where in ("inbox", "deliver", "digest", "gather", "follow", "watch", "web"):
            self.bugs.labels(where)
        for kind in self.kinds:
            self.attempt_seconds.labels(kind)
            self.fallbacks.labels(kind)
            for outcome in AttemptOutcome:
                self.attempts.labels(kind, outcome.value)
            for state in DeliveryState:
                self.deliveries.labels(kind, state.value)
        for name in OWN_ALERTS:
            self.own_alerts.labels(name)
        for cluster in clusters:
            self.clusters.labels(cluster).set(0)
            self.watch_bytes.labels(cluster)
