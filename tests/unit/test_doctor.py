"""The judges of `doctor`, pure, link by link; and when the service says by itself that the chain is broken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.arrivals import Arrivals
from receiver.clock import SystemClock
from receiver.config.load import check
from receiver.config.model import Config, DoctorRules, PrometheusConfig
from receiver.config.sections import DEFAULT_SUBJECTS
from receiver.destinations.registry import ALL
from receiver.doctor import alertmanager, rounds
from receiver.doctor import prometheus as prometheus_of
from receiver.doctor.chain import (
    AlertmanagerSeen,
    ClusterSeen,
    Finding,
    HeldAlert,
    Ours,
    Plan,
    PrometheusSeen,
    Rule,
    Seen,
    State,
    StorySeen,
    Target,
    Unread,
)
from receiver.doctor.links import LINKS, headline, judge, worst
from receiver.doctor.prometheus import NOBODY, is_about
from receiver.doctor.rounds import ALERT, ChainWatch, conclude
from receiver.fingerprint import fingerprint
from receiver.kube.rights import RIGHTS
from receiver.metrics import Metrics
from receiver.model import Alert, AlertStatus, DeliveryState, Keys
from receiver.store import chain, inbox
from receiver.store.chain import Noted
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import Store, sqlite_url
from receiver.store.upgrade import upgrade
from tests.fakes.authority import Authority

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
UID = "3f0c3d0e"
LABELS = {
    "alertname": "MigrationFailed",
    "app": "forklift",
    "plan": UID,
    "plan_name": "wave-1",
    "namespace": "openshift-mtv",
}
BEGAN = NOW - timedelta(hours=1)
HELD = HeldAlert(
    Alert(fingerprint(LABELS), AlertStatus.FIRING, LABELS, {}, starts_at=BEGAN), "active", ("mtv-receiver",)
)
PLAN = Plan("team-a", "wave-1", UID, failed_at=BEGAN, cluster="local")
RULE = Rule("MigrationFailed", "expr", alerts=({"labels": LABELS, "state": "firing", "activeAt": BEGAN.isoformat()},))
PROMETHEUS = PrometheusSeen(
    "http://prom", ({"plan": UID, "status": "Failed"},), (Target("http://t", up=True),), (RULE,), ("http://am",)
)
AM = AlertmanagerSeen("main", "http://am", "mtv-receiver", (HELD,), {}, frozenset({"mtv-receiver"}))
SILENT = replace(AM, held=())
TOLD = DeliveryRow(
    id="D1", story="S1", receiver="team", kind="slack", destination="slack:#team", label="team/slack",
    keys=Keys("", "", ""),
    reasons=(), intervals="[]", state=DeliveryState.DELIVERED, firing=True, desired=1, delivered=1, audible=1,
    root=None, started=True, plain=False, due=None, priority=0, waiting_since=None, tries=1, fence=1, unknown_part=None,
    unknown_at=None, confirm_at=None, told_at=None, fallback_for="", fallen_back=False, error="", created=0.0,
)  # fmt: skip
OURS = Ours(
    now=NOW.timestamp(), webhook=NOW.timestamp() - 60, known=True, story=StorySeen("S1", "firing", "", 0.0),
    deliveries=(TOLD,),
)  # fmt: skip
WHOLE = Seen(
    NOW, ClusterSeen("local", "v1.31", counted=3), PROMETHEUS, (AM,), DEFAULT_SUBJECTS, PLAN, HELD, AM, ours=OURS
)


def prometheus(**change: Any) -> dict[str, Any]:
    return {"prometheus": replace(PROMETHEUS, **change)}


def holder(held: HeldAlert | None = HELD, **change: Any) -> dict[str, Any]:
    at = replace(AM, **change) if held is not None else replace(SILENT, **change)
    return {"alertmanagers": (at,), "alert": held, "at": at}


def ours(**change: Any) -> dict[str, Any]:
    return {"ours": replace(OURS, **change)}


def bare(**labelled: Any) -> dict[str, Any]:
    return {**prometheus(series=(), targets=()), "cluster": ClusterSeen("local", "v1", **labelled)}


def test_a_whole_chain_is_good_link_by_link() -> None:
    found = judge(WHOLE)
    assert [one.id for one in found] == [one.id for one in LINKS]
    assert [one.state for one in found] == [State.GOOD] * len(LINKS), found
    assert headline(found, WHOLE) == "Whole: team-a/wave-1 failed, and team/slack was told"


NOT_SENT = {**holder(None), **ours(webhook=None, known=False, story=None, deliveries=())}
BROKEN: list[tuple[dict[str, Any], str, str, str]] = [
    ({"cluster": ClusterSeen("local", missing=RIGHTS[:1])}, "rights", "get plans", RIGHTS[0].rule),
    (prometheus(targets=(Target("http://t", up=False, error="refused"),)), "metric", "t is down: refused", "oc -n"),
    (bare(labelled={"openshift-mtv": False}), "metric", "not labelled", "oc label namespace openshift-mtv open"),
    (bare(labelled={"kf": True}, monitors={"kf": 0}), "metric", "kf has no ServiceMonitor", "oc -n kf"),
    (bare(unread={"openshift-mtv": "needs get namespaces"}), "metric", "needs get namespaces", "mtv-receiver-doctor"),
    (prometheus(series=({"plan": "other", "status": "Failed"},)), "metric", "cannot read", "oc get providers -A"),
    (prometheus(series=({"plan": UID, "status": "Executing"},)), "metric", "says Executing", "logs deployment/"),
    (prometheus(rules=()), "rule", "no rule is loaded", "prometheusrules"),
    (prometheus(rules=(replace(RULE, error="bad", alerts=()),)), "rule", "MigrationFailed fails: bad", "expr"),
    (prometheus(rules=(replace(RULE, alerts=()),)), "alert", "does not fire for team-a/wave-1", "expr"),
    ({**prometheus(sends_to=(), dropped=2), **NOT_SENT}, "sending", "2 found, and dropped", "alerting.alertmanagers"),
    ({**prometheus(send_errors=3.0), **NOT_SENT}, "sending", "3 alerts could not be sent", "alerting.alertmanagers"),
    (NOT_SENT, "alertmanager", "holds no alert of team-a/wave-1, though it fires", "alerting.alertmanagers"),
    ({**NOT_SENT, "prometheus": NOBODY}, "alertmanager", "holds no alert", "doctor --prometheus URL"),
    (holder(receivers=frozenset({"mail"})), "alertmanager", "no receiver mtv-receiver (it has mail)", "[].receiver"),
    (holder(replace(HELD, receivers=("mail",))), "alertmanager", "routed to mail", "app=\"forklift\""),
    (holder(replace(HELD, silenced_by=("s1",))), "alertmanager", "silenced", "amtool silence expire s1"),
    (holder(replace(HELD, inhibited_by=("f1",))), "alertmanager", "inhibited by f1", "inhibit_rules"),
    (holder(replace(HELD, muted_by=("nights",))), "alertmanager", "interval nights", "mute_time_intervals"),
    ({**holder(failed=7.0, sent=9.0), **ours(webhook=None, known=False)}, "webhook", "7 of 9 webhook", "/webhook/main"),
    (ours(webhook=None, known=False), "webhook", "no webhook ever came, though main holds", "webhook_configs[].url"),
    (ours(waiting=4, oldest_s=900.0), "webhook", "4 alerts wait in the inbox", "InboxStuck"),
    (ours(story=None, deliveries=()), "story", "no story of team-a/wave-1", "mtv-receiver audit"),
    (ours(deliveries=(replace(TOLD, state=DeliveryState.DEAD, error="gone"),)), "destinations", "dead: gone", "try D1"),
    (ours(deliveries=(replace(TOLD, state=DeliveryState.PARKED, error="no"),)), "destinations", "parked: no", "try D1"),
    (
        ours(deliveries=(replace(TOLD, state=DeliveryState.RETRYING, waiting_since=0.0),)),
        "destinations", "retrying: no answer", "retry D1",
    ),
    (ours(refusing=(("team/slack", "away: no connection"),)), "destinations", "team/slack is away", "check --online"),
    (ours(deliveries=()), "destinations", "nobody is told of S1", "root route"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "link", "seen", "cure"), BROKEN)
def test_what_is_broken_is_named_by_link_with_its_cure(change: dict[str, Any], link: str, seen: str, cure: str) -> None:
    found = judge(replace(WHOLE, **change))
    first = worst(found)
    assert first is not None
    assert (first.id, first.state) == (link, State.BROKEN)
    assert seen in first.seen
    assert cure in first.cure
    assert headline(found, WHOLE) == f"Broken at {first.title}: {first.seen}"
    assert all(one.cure for one in found if one.state in (State.BROKEN, State.UNASKED))


@pytest.mark.parametrize("read", [{"monitors": {"kf": 1}}, {"unread": {"kf": "needs list servicemonitors"}}])
def test_a_label_that_was_read_is_not_advised(read: dict[str, Any]) -> None:
    first = worst(judge(replace(WHOLE, **bare(labelled={"kf": True}, **read))))
    assert first is not None
    assert (first.id, first.state) == ("metric", State.BROKEN)
    assert "oc label" not in first.cure
    assert "oc -n kf get endpoints forklift-metrics" in first.cure


@pytest.mark.parametrize("change", [NOT_SENT, {**NOT_SENT, **prometheus(rules=(replace(RULE, alerts=()),), series=())}])
def test_a_failure_of_a_moment_ago_is_waited_for(change: dict[str, Any]) -> None:
    young = {"plan": replace(PLAN, failed_at=NOW - timedelta(seconds=20))}
    assert worst(judge(replace(WHOLE, **change, **young))) is None
    assert worst(judge(replace(WHOLE, **change))) is not None


def test_what_follows_from_a_broken_link_is_not_broken_itself() -> None:
    found = judge(replace(WHOLE, **{**prometheus(rules=()), **NOT_SENT}))
    assert [one.id for one in found if one.state is State.BROKEN] == ["rule"]
    assert [one.id for one in found if "follows from Rule" in one.seen] == ["alert", "alertmanager", "story"]


def test_who_does_not_answer_is_not_known_and_who_is_not_named_is_no_fault() -> None:
    away = judge(replace(WHOLE, prometheus=Unread("HTTP 502", "look there")))
    assert headline(away, WHOLE) == "Not known at Metric: HTTP 502"
    assert worst(judge(replace(WHOLE, prometheus=NOBODY))) is None
    both = judge(replace(WHOLE, cluster=Unread("no answer", "call"), **ours(deliveries=())))
    assert (first := worst(both)) is not None
    assert first.id == "destinations", "what is broken comes before who does not answer"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (LABELS, True),
        ({**LABELS, "plan": "other"}, False),
        ({**LABELS, "alertname": "MigrationSucceeded"}, False),
        ({**LABELS, "alertname": "Watchdog"}, False),
        ({"alertname": "MTVPlanFailed", "plan_name": "wave-1", "namespace": "team-a"}, True),
        ({"alertname": "MTVPlanFailed", "plan_name": "wave-1", "namespace": "team-b"}, False),
    ],
)
def test_which_alerts_are_about_a_plan(labels: dict[str, str], expected: bool) -> None:
    assert is_about(labels, UID, "team-a", "wave-1", DEFAULT_SUBJECTS) is expected


def test_of_several_alerts_the_one_that_is_nearest_to_us_is_followed() -> None:
    silenced, elsewhere = replace(HELD, state="suppressed"), replace(HELD, receivers=("mail",))
    held, at = alertmanager.follow([SILENT, replace(AM, held=(elsewhere, silenced, HELD))], PLAN, DEFAULT_SUBJECTS)
    assert held is HELD
    assert at is not None
    assert at.held


# --- as it is shipped ---


async def test_what_is_shipped_for_openshift_passes_the_proxy_before_prometheus(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    shipped = (Path(__file__).parents[2] / "deploy/openshift/common/routes.yaml").read_text(encoding="utf-8")
    (tmp_path / "token").write_text("mounted")

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Let in who shows the pod's token, one request for each connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        status = b"200 OK" if b"authorization: bearer mounted\r\n" in head.lower() else b"401 Unauthorized"
        body = b'{"status": "success", "data": {"result": []}}'
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body)
        await writer.drain()
        writer.close()

    context = authority.issue("localhost").server_context()
    async with await asyncio.start_server(proxy, "127.0.0.1", 0, ssl=context) as server:
        asked = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        text = shipped.replace("https://prometheus-k8s.openshift-monitoring.svc:9091", asked)
        account = "/var/run/secrets/kubernetes.io/serviceaccount"
        text = text.replace(f"{account}/token", str(tmp_path / "token"))
        text = text.replace(f"{account}/service-ca.crt", str(authority.ca_file))
        (tmp_path / "routes.yaml").write_text(text)
        config, _ = check(tmp_path / "routes.yaml", ALL)
        assert config is not None
        seen = await prometheus_of.read(config.doctor.prometheus, DEFAULT_SUBJECTS)
        assert isinstance(seen, PrometheusSeen), seen
        assert seen.url == asked
        (tmp_path / "token").write_text("another")
        assert isinstance(refused := await prometheus_of.read(config.doctor.prometheus, DEFAULT_SUBJECTS), Unread)
    assert "HTTP 401" in refused.why


# --- by itself ---

REST = "receivers: [{name: team, pagerduty_configs: [{routing_key_env: KEY}]}]\nroute: {receiver: team}\nclusters: []\n"
RED = Finding(State.BROKEN, "no rule", "add it", id="rule", title="Rule")
FIRES = Noted("rule", 2, "rule", 1.0)


@pytest.mark.parametrize(
    ("before", "found", "fires", "told"),
    [
        (Noted(), [RED], "", []),
        (Noted("rule", 1), [RED], "rule", ["firing"]),
        (Noted("metric", 1), [RED], "rule", ["firing"]),
        (Noted(), [replace(RED, id="metric")], "", []),
        (FIRES, [RED], "rule", []),
        (FIRES, [], "", ["resolved"]),
        (FIRES, [Finding(State.UNASKED, "no answer", id="metric")], "rule", []),
        (Noted("metric", 1, "rule", 1.0), [replace(RED, id="metric")], "metric", ["resolved", "firing"]),
        (FIRES, [replace(RED, id="metric")], "rule", []),
        (Noted("metric", 5, "rule", 1.0), [RED], "rule", []),
        (Noted("rule", 1), [replace(RED, meant=True)], "", []),
        (Noted("destinations", 1), [replace(RED, id="destinations")], "", []),
    ],
)
def test_only_what_stays_broken_is_told_and_it_ends(
    before: Noted, found: list[Finding], fires: str, told: list[str]
) -> None:
    after, alerts = conclude(before, found, 100.0)
    assert after.fires == fires
    assert [one.status.value for one in alerts] == told


UNASKED = Finding(State.UNASKED, "no answer", id="alertmanager")
ELSEWHERE = replace(RED, id="metric")


@pytest.mark.parametrize(
    ("looks", "told"),
    [
        ([[RED], [ELSEWHERE], [RED], [ELSEWHERE], [RED]], [2]),  # to and fro: told once
        ([[RED], [UNASKED], [RED], [UNASKED], [RED]], [3]),
        ([[ELSEWHERE], [UNASKED], [UNASKED], [RED]], [4]),
        ([[RED], [], [RED], [], [ELSEWHERE]], []),  # whole in between
        ([[UNASKED], [UNASKED], [RED]], []),
    ],
)
def test_a_chain_that_is_never_seen_whole_is_told(looks: list[list[Finding]], told: list[int]) -> None:
    noted, said = Noted(), []
    for number, found in enumerate(looks, 1):
        noted, alerts = conclude(noted, found, 100.0 + number)
        said += [number for _ in alerts]
    assert said == told


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    url = sqlite_url(tmp_path / "test.db")
    upgrade(url)
    async with Store.open(url) as made:
        yield made


async def test_two_looks_in_a_row_tell_it_once_and_taking_the_section_away_ends_it(
    store: Store, tmp_path: Path
) -> None:
    (tmp_path / "routes.yaml").write_text(REST)
    plain, _ = check(tmp_path / "routes.yaml", ALL)
    assert plain is not None
    nowhere = PrometheusConfig("http://127.0.0.1:9")
    asks = replace(plain, doctor=DoctorRules(nowhere, every_s=0.0))
    found: list[Finding] = [RED]

    class Watch(ChainWatch):
        async def _found(self) -> tuple[Finding, ...]:
            return tuple(found)

    def watch(config: Config) -> ChainWatch:
        return Watch(store, config, {}, SystemClock(), Metrics([]), owner="a", on_alert=lambda: None)

    async def said() -> list[Alert]:
        return [one.alert() for one in await store.write(lambda conn: inbox.claim(conn, "a", 10))]

    for _ in range(4):
        await watch(asks).look()
    (alert,) = await said()
    assert (alert.name, alert.status, alert.labels["link"]) == (ALERT, AlertStatus.FIRING, "rule")
    assert "no rule. Cure: add it" in alert.annotations["description"]
    incoming = Arrivals(asks).own(1, chain.SOURCE, alert)
    assert incoming is not None
    assert incoming.identity.subject == f"doctor/{ALERT}"
    await watch(plain).look()
    (over,) = [one for one in await said() if one.status is AlertStatus.RESOLVED]
    assert over.fingerprint == alert.fingerprint


async def test_a_look_of_its_own_asks_whom_the_configuration_names(store: Store, tmp_path: Path) -> None:
    text = "doctor: {every: 10m, prometheus: {url: 'http://127.0.0.1:9/'}}\n"
    (tmp_path / "routes.yaml").write_text(text + REST)
    config, problems = check(tmp_path / "routes.yaml", ALL)
    assert config is not None, problems
    assert config.doctor == DoctorRules(PrometheusConfig("http://127.0.0.1:9"), 600.0)
    found = await ChainWatch(store, config, {}, SystemClock(), Metrics([]), owner="a", on_alert=lambda: None)._found()
    states = {one.id: one.state for one in found}
    assert (states["metric"], states["cluster"]) == (State.UNASKED, State.SKIPPED)
    assert rounds.IN_A_ROW == 2


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ("{every: 10s}", "doctor.every"),
        ("{receiver: nobody}", "doctor.receiver"),
        ("{prometheus: {url: 'localhost:9090'}}", "doctor.prometheus.url"),
        ("{prometheus: {}}", "doctor.prometheus: url is missing"),
        ("{evry: 10m}", "doctor.evry"),
    ],
)
def test_what_is_wrong_with_the_section_is_said_at_its_key(tmp_path: Path, section: str, says: str) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(f"doctor: {section}\n{REST}")
    _, problems = check(file, ALL)
    assert any(says in one.printed for one in problems if not one.warning), [one.printed for one in problems]
