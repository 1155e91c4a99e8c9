"""Every metric, declared once; all series exist from the start and no label value comes from an alert."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from receiver.model import AttemptOutcome, Change, DeliveryState

PREFIX = "mtv_receiver"
OWN_ALERTS = ("MTVVMFailed", "MTVPlanStuck", "MTVPlanNotReady", "MTVPlanCapacityShort", "MTVPlanFailedUnalerted")
SILENCE_ALERTS = ("MTVReceiverNoHeartbeat", "MTVReceiverNoWebhook")
PRUNED = ("inbox", "evidence", "snapshots", "stories", "presses", "audit")
REJECTED = ("not an object", "no status", "no labels", "other")


class Metrics:
    """The service's own figures, in a registry of their own."""

    def __init__(self, kinds: Iterable[str], clusters: Iterable[str] = (), sockets: Iterable[str] = ()) -> None:
        self.registry = CollectorRegistry()
        self.kinds = tuple(kinds)
        r = self.registry
        self.webhooks = Counter(f"{PREFIX}_webhooks", "Webhook requests by HTTP status.", ["code"], registry=r)
        self.unauthorized = Counter(
            f"{PREFIX}_unauthorized", "Requests answered 401, by what guards the address.", ["guard"], registry=r
        )
        self.alerts = Counter(f"{PREFIX}_alerts_accepted", "Alerts committed to the inbox.", registry=r)
        self.rejected = Counter(f"{PREFIX}_alerts_rejected", "Alerts that could not be used.", ["reason"], registry=r)
        self.poison = Counter(f"{PREFIX}_inbox_poison", "Inbox entries that our own code broke on.", registry=r)
        self.inbox = Gauge(f"{PREFIX}_inbox_backlog", "Inbox entries not yet worked off.", registry=r)
        self.inbox_oldest = Gauge(
            f"{PREFIX}_inbox_oldest_seconds", "How long the oldest inbox entry has waited; 0: none does.", registry=r
        )
        self.changes = Counter(
            f"{PREFIX}_story_changes", "Revisions of stories by kind of change.", ["change"], registry=r
        )
        self.stories = Gauge(f"{PREFIX}_stories_open", "Stories that are not closed.", registry=r)
        self.failed_plans = Gauge(
            f"{PREFIX}_failed_plans", "Plans that failed within the last day, by known cause.", ["cause"], registry=r
        )
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
        self.delivery_oldest = Gauge(
            f"{PREFIX}_delivery_oldest_seconds",
            "How long people have waited for what a destination of this kind was not shown yet; 0: for nothing.",
            ["kind"],
            registry=r,
        )
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
        self.slack_sockets = Gauge(
            f"{PREFIX}_slack_socket_connected",
            "1 while the connection by which Slack's buttons come stands, by the first destination with its token.",
            ["destination"],
            registry=r,
        )
        self.own_alerts = Counter(
            f"{PREFIX}_own_alerts", "Alerts of our own that were raised, by name.", ["alertname"], registry=r
        )
        self.own_silenced = Counter(
            f"{PREFIX}_own_alerts_silenced",
            "Alerts of our own that a silence of Alertmanager kept back, by name.",
            ["alertname"],
            registry=r,
        )
        self.views = Counter(
            f"{PREFIX}_watch_views",
            "Times that the objects of a migration that runs were listed, by cluster of its plan.",
            ["cluster"],
            registry=r,
        )
        self.snapshots = Gauge(
            f"{PREFIX}_snapshots_bytes",
            "What is kept of migrations that run, in the replica that prunes; 0 in others.",
            registry=r,
        )
        self.watch_bytes = Counter(
            f"{PREFIX}_watch_plan_bytes",
            "Bytes of whole Plans that were read because they execute or are not ready.",
            ["cluster"],
            registry=r,
        )
        self.reconciled_at = Gauge(
            f"{PREFIX}_reconcile_last_success_timestamp_seconds",
            "When an Alertmanager and all of its peers last said what they hold.",
            ["alertmanager"],
            registry=r,
        )
        self.reconcile_failures = Counter(
            f"{PREFIX}_reconcile_failures",
            "Rounds in which not every peer of an Alertmanager answered.",
            ["alertmanager"],
            registry=r,
        )
        self.reconciled = Counter(
            f"{PREFIX}_reconciled_alerts",
            "Alerts that no webhook told: opened, closed, or listed on the first day.",
            ["alertmanager", "what"],
            registry=r,
        )
        self.last_webhook = Gauge(
            f"{PREFIX}_last_webhook_timestamp_seconds", "When the last webhook was committed; 0: never.", registry=r
        )
        self.webhook_at: float | None = None
        """The same, of this process."""
        self.last_heartbeat = Gauge(
            f"{PREFIX}_heartbeat_last_timestamp_seconds", "When the heartbeat alert was last heard.", registry=r
        )
        self.silent = Gauge(
            f"{PREFIX}_silence_firing", "1 while an alert about silence of ours fires.", ["alertname"], registry=r
        )
        self.pings = Counter(
            f"{PREFIX}_heartbeat_pings", "Calls to heartbeat.ping_url_file by outcome.", ["outcome"], registry=r
        )
        self.config_loaded = Gauge(
            f"{PREFIX}_config_last_reload_successful",
            "1 if the configuration in the file is the one in force.",
            registry=r,
        )
        self.config_loaded_at = Gauge(
            f"{PREFIX}_config_last_reload_success_timestamp_seconds",
            "When a configuration was last put in force.",
            registry=r,
        )
        self.store_bytes = Gauge(f"{PREFIX}_store_bytes", "What the database has taken from the disk.", registry=r)
        self.store_used = Gauge(
            f"{PREFIX}_store_used_bytes",
            "What of it is in use at most, in the replica that prunes; 0 in others.",
            registry=r,
        )
        self.store_limit = Gauge(f"{PREFIX}_store_max_bytes", "storage.max_bytes.", registry=r)
        self.store_written = Gauge(
            f"{PREFIX}_store_written_timestamp_seconds",
            "When upkeep, twice a minute, last wrote to the database; 0: never.",
            registry=r,
        )
        self.pruned = Counter(f"{PREFIX}_pruned", "Rows that were forgotten, by kind.", ["kind"], registry=r)
        self.times_corrected = Counter(
            f"{PREFIX}_times_corrected", "Stored times that a clock which was wrong had left ahead.", registry=r
        )
        for pruned in PRUNED:
            self.pruned.labels(pruned)
        for alert in SILENCE_ALERTS:
            self.silent.labels(alert)
        for outcome in ("ok", "failed"):
            self.pings.labels(outcome)
        for code in ("200", "400", "401", "405", "413", "503"):
            self.webhooks.labels(code)
        for guard in ("page", "webhook", "signed"):
            self.unauthorized.labels(guard)
        for reason in REJECTED:
            self.rejected.labels(reason)
        for change in Change:
            self.changes.labels(change.value)
        for where in (
            "inbox",
            "deliver",
            "digest",
            "gather",
            "follow",
            "watch",
            "waits",
            "shortages",
            "reconcile",
            "heartbeat",
            "doctor",
            "handover",
            "self_service",
            "silences",
            "retention",
            "search",
            "web",
            "live",
        ):
            self.bugs.labels(where)
        for kind in self.kinds:
            self.attempt_seconds.labels(kind)
            self.delivery_oldest.labels(kind)
            self.fallbacks.labels(kind)
            for outcome in AttemptOutcome:
                self.attempts.labels(kind, outcome.value)
            for state in DeliveryState:
                self.deliveries.labels(kind, state.value)
        for name in OWN_ALERTS:
            self.own_alerts.labels(name)
            self.own_silenced.labels(name)
        for socket in sockets:
            self.slack_sockets.labels(socket).set(0)
        for cluster in clusters:
            self.clusters.labels(cluster).set(0)
            self.watch_bytes.labels(cluster)
            self.views.labels(cluster)

    def heard_webhook(self, at: float) -> None:
        """Note that a webhook was committed."""
        self.webhook_at = at
        self.last_webhook.set(at)

    def forget_cluster(self, name: str) -> None:
        """A cluster left the configuration: what was last known of its watch is no longer true."""
        for series in (self.clusters, self.watch_bytes, self.views):
            with contextlib.suppress(KeyError):
                series.remove(name)

    def forget_alertmanager(self, name: str) -> None:
        """An Alertmanager left the configuration: nobody looks at it any more, which is no failure."""
        for series in (self.reconciled_at, self.reconcile_failures):
            with contextlib.suppress(KeyError):
                series.remove(name)
        for what in ("opened", "listed", "closed"):
            with contextlib.suppress(KeyError):
                self.reconciled.remove(name, what)
