"""`/api/v1/stories` lets through what its query says, and says what is wrong with a query."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver import indexing
from tests.acceptance.harness import alert, failed, routes_yaml, running, slack
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

RECEIVERS = f"- name: platform\n  {slack('#platform')}\n"
TOP = "global: {evidence_wait: 100ms, evidence_timeout: 1s}\nclusters: []"


async def test_stories_are_chosen_by_the_query_and_the_search_knows_them_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "EVERY_S", 0.1)
    async with (
        FakeVendors() as vendors,
        running(routes_yaml(vendors, tmp_path, top=TOP, receivers=RECEIVERS), vendors) as service,
    ):
        for number, phase in enumerate(("ConvertGuest", "CopyDisks")):
            uid = f"00000000-0000-4000-8000-00000000000{number}"
            await service.post(alert(failed(uid, f"wave-{number}", phase=phase)))
        await service.idle()

        async def ask(status: int = 200, **params: str) -> list[str]:
            answer = await service.http.get(f"{service.url}/api/v1/stories", params=params)
            assert answer.status_code == status, answer.text
            if status == 400:
                return [answer.json()["error"]]
            return sorted(one["labels"]["plan_name"] for one in answer.json()["items"])

        assert await ask() == ["wave-0", "wave-1"]
        assert await ask(matcher='{phase=~"Convert.*"}') == ["wave-0"]
        assert await ask(receiver="platform", severity="critical", state="firing") == ["wave-0", "wave-1"]
        assert await ask(impact="down") == []
        assert await ask(400, state="open") == ["state must be one of firing, re-running, resolved"]
        assert (await ask(400, matcher="{a"))[0].startswith("matcher: ")

        async def is_found() -> bool:
            return await ask(q="wave-0 migrationfailed") == ["wave-0"]

        await service.until(is_found)
        assert await ask(q='"') == ["wave-0", "wave-1"]
        first = (await service.http.get(f"{service.url}/api/v1/stories", params={"limit": 1})).json()
        second = await service.http.get(f"{service.url}/api/v1/stories", params={"limit": 1, "cursor": first["next"]})
        names = [one["labels"]["plan_name"] for one in (*first["items"], *second.json()["items"])]
        assert sorted(names) == ["wave-0", "wave-1"]
        assert second.json()["next"] is None
