"""Endings at the kinds that cannot edit, mail and webhook: which one is one more message, and which none."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.harness import alert, failed, routes_yaml, running
from tests.acceptance.plans import cluster, plan, top, watched
from tests.contract.test_endings import FIRST, TABLE, Case, Ending, known
from tests.fakes.endpoint import Endpoint, endpoint
from tests.fakes.smtp import TLS_FILES, MailServer, mail_server
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio
OPS = "ops@example.com"
END: Mapping[str, list[str]] = {"mail": ["resolved"], "webhook": ["resolved"]}
TOLD: Mapping[str, Mapping[str, list[str]]] = {
    "Executing": {"mail": [], "webhook": ["rerun"]},
    "still Failed": {"mail": [], "webhook": []},
}
"""What the endings that end nothing are told as; every other one is told once."""


@dataclass
class Anew:
    """A failed plan that was told by mail and to an endpoint."""

    case: Case
    mails: MailServer
    hook: Endpoint

    async def told(self) -> dict[str, list[str]]:
        await self.case.service.idle()
        return {
            "mail": [str(one["X-MTV-Change"]) for one in self.mails.inbox(OPS)],
            "webhook": [one["event"]["change"] for one in self.hook.taken],
        }


@contextlib.asynccontextmanager
async def failing(folder: Path, ending: Ending) -> AsyncIterator[Anew]:
    """Fail a plan and await that both have been told, evidence included."""
    async with (
        FakeVendors() as vendors,
        mail_server() as mails,
        endpoint() as hook,
        cluster(folder, up=ending.cluster != "away") as api,
    ):
        if ending.cluster == "with the plan":
            await api.apply(plan("Failed"))
        trust = {"ca_file": str(TLS_FILES / "ca.pem"), "server_name": "peer.test"}
        mail = {"to": OPS, "from": "mtv@example.com", "smarthost": mails.smarthost, "tls_config": trust}
        receivers = (
            f"- name: platform\n  email_configs: [{json.dumps(mail)}]\n  webhook_configs: [{{url: '{hook.url}'}}]\n"
        )
        times = top(resolve_delay=ending.resolve_delay)
        config = routes_yaml(vendors, folder, top=times, receivers=receivers)
        async with running(config, vendors) as service:
            if ending.cluster != "away":
                await watched(api, service)
            await service.post(alert(failed(), starts_at=FIRST))
            await service.until(lambda: known(service, with_evidence=ending.cluster == "with the plan"))
            anew = Anew(Case(api, vendors, service, "slack"), mails, hook)
            told = await anew.told()
            assert told["mail"] == ["fired"]
            assert told["webhook"][0] == "fired"
            yield anew


@pytest.mark.parametrize("name", TABLE)
async def test_an_ending_is_told_once_or_not_at_all(tmp_path: Path, name: str) -> None:
    ending = TABLE[name]
    async with failing(tmp_path, ending) as anew:
        before = await anew.told()
        await ending.happens(anew.case)
        await anew.case.service.until_state(ending.state, outcome=ending.outcome)
        after = await anew.told()
        for kind, more in TOLD.get(name, END).items():
            assert after[kind] == before[kind] + more, kind
        if ending.outcome is not None:
            assert list(anew.hook.taken)[-1]["story"]["outcome"] == ending.outcome
            assert anew.mails.inbox(OPS)[-1]["X-MTV-State"] == ending.outcome
