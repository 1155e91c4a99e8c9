"""The email destination in the running service, against a real mail server: one thread, nothing twice, nothing lost."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.acceptance.harness import Running, alert, failed, routes_yaml, running
from tests.acceptance.plans import cluster, plan, top, watched
from tests.fakes.smtp import CUT, CUT_AFTER, TLS_FILES, MailServer, mail_server
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio
FIRST = "2026-09-14T08:29:44Z"
OPS = "ops@example.com"


def entry(server: MailServer) -> str:
    made = {
        "to": f"{OPS}, dba@example.com", "from": "mtv@example.com", "smarthost": server.smarthost,
        "tls_config": {"ca_file": str(TLS_FILES / "ca.pem"), "server_name": "peer.test"},
        "retry": {"min": "20ms", "max": "50ms"},
    }  # fmt: skip
    return f"- name: platform\n  email_configs: [{json.dumps(made)}]\n"


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[MailServer, Running]]:
    """Run a service that tells by mail only, without any cluster."""
    async with FakeVendors() as vendors, mail_server() as server:
        times = "global: {resolve_delay: 100ms}\nclusters: []"
        config = routes_yaml(vendors, folder, top=times, receivers=entry(server))
        async with running(config, vendors) as service:
            yield server, service


def told(server: MailServer) -> list[str]:
    return [str(one["X-MTV-Change"]) for one in server.inbox(OPS)]


async def test_a_failure_its_repeats_and_its_end_are_two_mails_of_one_thread(tmp_path: Path) -> None:
    async with served(tmp_path) as (server, service):
        for _ in range(6):
            await service.post(alert(failed()))
        await service.idle()
        assert len(server.kept) == 1
        await service.post(alert(failed(), "resolved"))
        await service.until_state("resolved", outcome="cleared")
        await service.idle()
        first, end = (one.mail for one in server.kept)
        assert told(server) == ["fired", "resolved"]
        assert end["In-Reply-To"] == first["Message-ID"]
        assert end["Subject"] == f"Re: {first['Subject']}"


async def test_lost_answers_leave_each_mail_once_in_a_mailbox(tmp_path: Path) -> None:
    async with served(tmp_path) as (server, service):
        server.answer("data", CUT, CUT_AFTER, "451 4.3.0 later")
        await service.post(alert(failed()))
        await server.until(lambda one: len(one.kept) == 2)
        server.answer("data", CUT_AFTER)
        await service.post(alert(failed(), "resolved"))
        await service.until_state("resolved")
        await service.idle()
        assert len(server.kept) == 4
        assert told(server) == ["fired", "resolved"]


async def test_the_first_mail_waits_for_evidence_and_says_the_cause(tmp_path: Path) -> None:
    async with FakeVendors() as vendors, mail_server() as server, cluster(tmp_path) as api:
        await api.apply(plan("Failed"))
        config = routes_yaml(vendors, tmp_path, top=top(evidence_timeout="30s"), receivers=entry(server))
        async with running(config, vendors) as service:
            await watched(api, service)
            await service.post(alert(failed(), starts_at=FIRST))
            await server.until(lambda one: one.kept)
            await service.idle()
            mails = server.inbox(OPS)
            assert [str(one["X-MTV-Change"]) for one in mails] in (["fired"], ["fired", "evidence"])
            assert "VMs failed" in str(mails[0]["Subject"]), "evidence was there, though perhaps not all of it"
            body = mails[-1].get_body(("plain",))
            assert body is not None
            assert "Cause" in body.get_content()


async def test_an_account_that_is_refused_parks_the_destination(tmp_path: Path) -> None:
    async with served(tmp_path) as (server, service):
        server.answer("mail", *["550 5.7.1 not allowed"] * 3)
        await service.post(alert(failed()))

        async def parked() -> bool:
            return any(one["state"] == "parked" for one in await service.deliveries())

        await service.until(parked)
        assert server.kept == []
