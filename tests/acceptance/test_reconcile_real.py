"""What a real Alertmanager never tells by webhook, found in its API: the traps that cost people alerts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from receiver import reconcile
from tests.acceptance.harness import Running, failed, routes_yaml, running
from tests.fakes.processes import Program, free_port, program
from tests.fakes.vendors import FakeVendors
from tests.servers import need

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DISK = {"alertname": "DiskFull", "severity": "warning", "namespace": "storage", "team": "mtv"}
NOBODY = "http://127.0.0.1:9/"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "EVERY_S", 0.2)
    monkeypatch.setattr(reconcile, "UP_S", 0.0)


@dataclass
class Alertmanager:
    """The real program on a port of its own, and what its users do with it."""

    folder: Path
    binary: str
    port: int = field(default_factory=free_port)
    webhook: str = NOBODY
    group_wait: str = "0s"
    began: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(minutes=10))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def running(self) -> contextlib.AbstractAsyncContextManager[Program]:
        """Run it with nothing in its memory."""
        timing = {"group_wait": self.group_wait, "group_interval": "1s", "repeat_interval": "4h", "group_by": ["..."]}
        document = {
            "route": {
                "receiver": "others", **timing,
                "routes": [{"receiver": "mtv-receiver", "matchers": ['team="mtv"']}],
            },
            "receivers": [
                {"name": "others", "webhook_configs": [{"url": NOBODY}]},
                {"name": "mtv-receiver", "webhook_configs": [{"url": self.webhook}]},
            ],
        }  # fmt: skip
        (self.folder / "alertmanager.yml").write_text(yaml.safe_dump(document))
        data = self.folder / f"data-{datetime.now(UTC).timestamp()}"
        command = [
            self.binary, "--config.file=alertmanager.yml", f"--storage.path={data}",
            f"--web.listen-address=127.0.0.1:{self.port}", "--cluster.listen-address=",
        ]  # fmt: skip
        return program("alertmanager", command, self.port, self.folder)

    async def _post(self, path: str, document: Any) -> Any:
        async with httpx2.AsyncClient(trust_env=False) as http:
            response = await http.post(f"{self.url}/api/v2/{path}", json=document)
        assert response.status_code == 200, response.text
        return response.json() if response.content else None

    async def fires(self, *labels: dict[str, str], starts: datetime | None = None) -> None:
        now = datetime.now(UTC)
        at = (starts or self.began).isoformat()
        ends = (now + timedelta(hours=1)).isoformat()
        await self._post("alerts", [{"labels": one, "startsAt": at, "endsAt": ends} for one in labels])

    async def resolves(self, labels: dict[str, str], starts: datetime | None = None) -> None:
        at = (starts or self.began).isoformat()
        await self._post("alerts", [{"labels": labels, "startsAt": at, "endsAt": datetime.now(UTC).isoformat()}])

    async def silences(self, name: str, value: str) -> str:
        now = datetime.now(UTC)
        made = await self._post(
            "silences",
            {
                "matchers": [{"name": name, "value": value, "isRegex": False}], "createdBy": "me", "comment": "x",
                "startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat(),
            },
        )  # fmt: skip
        return str(made["silenceID"])

    async def lifts(self, silence: str) -> None:
        async with httpx2.AsyncClient(trust_env=False) as http:
            response = await http.delete(f"{self.url}/api/v2/silence/{silence}")
        assert response.status_code == 200, response.text


@pytest.fixture
def real(tmp_path: Path) -> Alertmanager:
    return Alertmanager(tmp_path, need("prometheus-alertmanager", "prometheus-alertmanager"))


@contextlib.asynccontextmanager
async def service(real: Alertmanager, grace: str = "500ms") -> AsyncIterator[Running]:
    head = "global: {resolve_delay: 10ms, digest_after: 0}\nclusters: []\n"
    head += f"alertmanagers: [{{name: main, url: '{real.url}', grace: {grace}}}]"
    async with FakeVendors() as vendors, running(routes_yaml(vendors, real.folder, top=head), vendors) as one:
        yield one


LAST = 'mtv_receiver_reconcile_last_success_timestamp_seconds{alertmanager="main"}'


async def rounds(it: Running, count: int) -> None:
    """Await that so many rounds that begin from now on have ended."""
    for _ in range(count + 1):
        before = await it.metric(LAST)
        await it.until(partial(changed, it, before), 40)


async def changed(it: Running, before: float) -> bool:
    return await it.metric(LAST) > before


def having(it: Running, count: int, status: str = "firing") -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        found = await it.stories()
        return [one["alerts"][0]["status"] for one in found] == [status] * count

    return look


async def test_fifty_alerts_three_for_us_one_silenced_two_stories(real: Alertmanager) -> None:
    async with real.running():
        ours = [{**failed(f"{at}", f"wave{at}"), "team": "mtv"} for at in range(3)]
        await real.silences("plan_name", "wave1")
        await real.fires(*ours, *({"alertname": "Other", "number": str(at)} for at in range(47)))
        async with service(real) as it:
            await it.until(having(it, 2), 40)
            await rounds(it, 3)
            await it.idle()
            assert sorted(one["title"] for one in await it.stories()) == ["plan wave0", "plan wave2"]
            assert (len(it.vendors.slack_roots()), len(it.vendors.incidents())) == (2, 2)


async def test_trap_4_never_delivered_in_any_form(real: Alertmanager) -> None:
    async with real.running(), service(real) as it:
        await real.fires(DISK)
        await it.until(having(it, 1), 40)
        await real.resolves(DISK)
        await it.until_state("resolved", 40, "cleared")


async def test_traps_5_and_6_resolved_while_silenced_and_firing_again_after(real: Alertmanager) -> None:
    async with service(real) as it:
        real.webhook = f"{it.url}/webhook/main"
        async with real.running():
            await real.fires(DISK)
            await it.until(having(it, 1), 40)
            silence = await real.silences("team", "mtv")
            await rounds(it, 4)
            assert await having(it, 1)(), "silenced is not gone"
            await real.resolves(DISK)
            await it.until_state("resolved", 40, "cleared")
            await real.lifts(silence)
            await rounds(it, 3)
            assert (await it.stories())[0]["state"] == "resolved"
            await real.fires(DISK, starts=datetime.now(UTC))  # Alertmanager believes that it told us
            (story,) = [await it.until_state("firing", 40)]
            assert [one["change"] for one in story["timeline"] if one["change"] != "evidence"][-1] == "reopened"
            assert len(it.vendors.slack_roots()) == 1


async def test_trap_7_a_restart_forgets_without_a_word(real: Alertmanager) -> None:
    async with service(real) as it:
        real.webhook = f"{it.url}/webhook/main"
        async with real.running():
            await real.fires(DISK)
            await it.until(having(it, 1), 40)
            await rounds(it, 1)
        async with real.running():
            await it.until_state("resolved", 40, "cleared")


async def test_a_young_alertmanager_closes_nothing(real: Alertmanager, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has been up for seconds, and hears of its alerts again within minutes."""
    monkeypatch.setattr(reconcile, "UP_S", 300.0)
    async with service(real) as it:
        async with real.running():
            await real.fires(DISK)
            await it.until(having(it, 1), 40)
        async with real.running():
            await rounds(it, 8)
            assert await having(it, 1)()
            monkeypatch.setattr(reconcile, "UP_S", 0.0)
            await it.until_state("resolved", 40)


async def test_no_alertmanager_closes_nothing(real: Alertmanager) -> None:
    async with service(real) as it:
        async with real.running():
            await real.fires(DISK)
            await it.until(having(it, 1), 40)
        failures = 'mtv_receiver_reconcile_failures_total{alertmanager="main"}'

        async def failed_often() -> bool:
            return await it.metric(failures) >= 5

        await it.until(failed_often, 40)
        assert await having(it, 1)()


async def test_trap_10_the_same_start_fires_resolves_and_fires(real: Alertmanager) -> None:
    async with real.running(), service(real) as it:
        await real.fires(DISK)
        await it.until(having(it, 1), 40)
        await real.resolves(DISK)
        await it.until_state("resolved", 40)
        await real.fires(DISK)
        story = await it.until_state("firing", 40)
        assert len(await it.stories()) == 1
        assert story["alerts"][0]["startsAt"].startswith(real.began.strftime("%Y-%m-%dT%H:%M:%S"))


async def test_trap_17_what_fires_and_resolves_within_group_wait(real: Alertmanager) -> None:
    real.group_wait = "1h"
    real.began = datetime.now(UTC)  # group_wait holds for what is new only
    async with service(real) as it:
        real.webhook = f"{it.url}/webhook/main"
        async with real.running():
            await real.fires(DISK)
            await it.until(having(it, 1), 40)
            await real.resolves(DISK)
            await it.until_state("resolved", 40, "cleared")
            assert await it.metric('mtv_receiver_webhooks_total{code="200"}') == 0
