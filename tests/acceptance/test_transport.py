"""All through a CONNECT proxy, with TLS of a private authority: no name here leads anywhere without the proxy."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from receiver.cli.online import GOOD, REFUSED, UNASKED, Asked, ask_all
from receiver.config.load import load
from receiver.destinations.registry import ALL
from tests.acceptance.harness import Running, alert, body, failed, routes_yaml, running
from tests.acceptance.plans import cluster, load_example, plan, watched
from tests.fakes.alertmanager import AlertmanagerApi
from tests.fakes.authority import Authority
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.proxy import Proxy, tls_before
from tests.fakes.vendors import FakeVendors

pytestmark = [pytest.mark.anyio, pytest.mark.past_proxy("has a proxy of its own")]

SLACK, PAGERDUTY, JIRA, KUBE, MAIN = "slack.test", "events.pager.test", "jira.test", "api.kube.test", "am.test"
STARTED = "2026-11-21T08:29:50Z"


@dataclass
class Far:
    """What stands behind the proxy, and a configuration that leads there."""

    vendors: FakeVendors
    api: KubernetesApi
    main: AlertmanagerApi
    proxy: Proxy
    config: Path

    @property
    def ca_file(self) -> Path:
        return self.config.parent / "trusted.pem"

    async def hears(self, service: Running, status: str) -> None:
        """Let the webhook tell of the one alert."""
        await service.send(body(alert(failed(), status, starts_at=STARTED)), "/webhook/main")

    def asked_for(self, host: str) -> int:
        """Return how many tunnels to a host were asked for."""
        return sum(one.startswith(f"{host}:") for one in self.proxy.connects)


@contextlib.asynccontextmanager
async def far(folder: Path, *, client_certificate: bool = False) -> AsyncIterator[Far]:
    """Put vendors, an API server and an Alertmanager behind TLS and a proxy."""
    authority = Authority(folder)
    (folder / "trusted.pem").write_text(authority.ca_file.read_text())
    mine = authority.issue("mtv-receiver")
    async with contextlib.AsyncExitStack() as stack:
        vendors = await stack.enter_async_context(FakeVendors())
        vendors.sandbox.slack.base_url = f"https://{SLACK}/slack"  # where it says that files go
        api = await stack.enter_async_context(cluster(folder))
        main = await stack.enter_async_context(AlertmanagerApi().running())
        await load_example(api)
        await api.apply(plan())
        vendor_port = urlsplit(vendors.base_url).port or 0
        plain = dict.fromkeys((SLACK, PAGERDUTY, JIRA), vendor_port)
        plain |= {KUBE: api.port, MAIN: urlsplit(main.url).port or 0}
        hosts: dict[str, int] = {}
        for host, port in plain.items():
            clients = authority.ca_file if client_certificate else None
            context = authority.issue(host).server_context(clients_of=clients)
            hosts[host] = await stack.enter_async_context(tls_before(port, context))
        proxy = await stack.enter_async_context(Proxy(hosts).running())
        shown = f", cert_file: {mine.cert}, key_file: {mine.key}" if client_certificate else ""
        yield Far(vendors, api, main, proxy, _config(folder, vendors, proxy, shown))


def _config(folder: Path, vendors: FakeVendors, proxy: Proxy, shown: str) -> Path:
    way = f"proxy_url: '{proxy.url}', tls_config: {{ca_file: trusted.pem{shown}}}"
    top = f"""
global: {{resolve_delay: 200ms, evidence_timeout: 4s, fallback_after: 1h}}
alertmanagers: [{{name: main, url: 'https://{MAIN}', http_config: {{{way}}}}}]
clusters: [{{name: local, kubeconfig_file: kubeconfig, http_config: {{{way}}}}}]
"""
    basic = "basic_auth: {username: bot@example.com, password_file: jira-token}"
    quick = "retry: {min: 100ms, max: 300ms}"
    receivers = f"""
- name: platform
  slack_configs:
    - {{channel: '#platform', app_token_file: slack-token, app_url: '$SLACK', {quick}, http_config: {{{way}}}}}
  pagerduty_configs: [{{routing_key_file: routing-key, url: '$PAGERDUTY', {quick}, http_config: {{{way}}}}}]
  jira_configs: [{{api_url: '$JIRA', project: MIG, issue_type: Bug, {quick}, http_config: {{{basic}, {way}}}}}]
"""
    path = routes_yaml(vendors, folder, top=top, receivers=receivers)
    text = path.read_text()
    for name, host in (("slack", SLACK), ("pagerduty", PAGERDUTY), ("jira", JIRA)):
        text = text.replace(f"{vendors.base_url}/{name}", f"https://{host}/{name}")
    path.write_text(text)
    kubeconfig = yaml.safe_load((folder / "kubeconfig").read_text())
    kubeconfig["clusters"][0]["cluster"]["server"] = f"https://{KUBE}:6443"
    (folder / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    return path


@pytest.mark.parametrize("client_certificate", [False, True], ids=["private CA", "private CA and client certificate"])
async def test_the_main_job_is_done_wholly_through_the_proxy(tmp_path: Path, client_certificate: bool) -> None:
    async with (
        far(tmp_path, client_certificate=client_certificate) as it,
        running(it.config, it.vendors) as service,
    ):
        vendors = it.vendors
        await watched(it.api, service)
        await it.hears(service, "firing")
        await vendors.until(lambda v: v.slack_roots() and v.incidents_open() and v.jira_issues())
        await service.until_state("firing")
        await vendors.until(lambda v: "virt-v2v" in str(v.slack_roots()[0].blocks))  # a log, read through the proxy
        await it.api.apply(plan("Executing", runs=2))
        await it.hears(service, "resolved")
        await service.until_state("re-running")
        await it.api.apply(plan("Succeeded", runs=2))
        await service.until_state("resolved", outcome="fixed")
        await service.idle()
        assert (len(vendors.slack_roots()), len(vendors.incidents()), len(vendors.jira_issues())) == (1, 1, 1)
        assert (len(vendors.incidents_resolved()), len(vendors.jira_transitions())) == (1, 1)
        await it.hears(service, "firing")  # a late copy, or a comeback? Alertmanager is asked
        await service.idle()
        assert it.main.asked
        assert all(it.asked_for(host) for host in (SLACK, PAGERDUTY, JIRA, KUBE, MAIN))
        assert not it.proxy.others


async def test_check_online_asks_everything_through_the_proxy(tmp_path: Path) -> None:
    async with far(tmp_path) as it:
        answers = {one.what.partition(" at ")[0]: one for one in await ask_all(load(it.config, ALL))}
        reached = [answers[what].result for what in ("platform/slack", "platform/pagerduty", "platform/jira")]
        assert reached == [GOOD] * 3
        assert answers["cluster local"].result == GOOD
        # The fake knows no /status: that it answered at all is the proof.
        assert (answers["alertmanager main"].result, answers["alertmanager main"].detail) == (REFUSED, "HTTP 404")
        it.proxy.refuses = True
        answers = {one.what.partition(" at ")[0]: one for one in await ask_all(load(it.config, ALL))}
        assert {one.result for one in answers.values()} == {UNASKED}
        assert "the proxy refuses the connection" in answers["platform/slack"].detail
        assert "the proxy refuses" in answers["cluster local"].detail
        assert all(_one_line(one) for one in answers.values())


async def test_a_wrong_authority_is_one_clear_error_and_nothing_is_lost(tmp_path: Path) -> None:
    async with far(tmp_path) as it:
        right = it.ca_file.read_text()
        it.ca_file.write_text(Authority(tmp_path, "other").ca_file.read_text())
        async with running(it.config, it.vendors) as service:
            await it.hears(service, "firing")

            async def tried() -> bool:
                found = await service.deliveries()
                return len(found) == 3 and all(one["attempts"] and one["attempts"][-1]["error"] for one in found)

            await service.until(tried)
            for one in await service.deliveries():
                assert one["state"] in ("pending", "retrying"), one
                error = one["attempts"][-1]["error"]
                assert error.startswith("no connection (TLS: "), error
                assert "certificate" in error, error
                assert "\n" not in error
            assert not it.vendors.requests, "nothing is said to a peer that nobody vouches for"
            it.ca_file.write_text(right)
            await it.vendors.until(lambda v: v.slack_roots() and v.incidents_open() and v.jira_issues())
            await service.idle()
            assert (len(it.vendors.slack_roots()), len(it.vendors.incidents()), len(it.vendors.jira_issues())) == (
                1, 1, 1,
            )  # fmt: skip
            await it.vendors.until(lambda v: "virt-v2v" in str(v.slack_roots()[0].blocks))  # the cluster, too


def _one_line(one: Asked) -> bool:
    return "\n" not in one.detail
