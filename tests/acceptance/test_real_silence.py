"""A silence made from a story, at the real Alertmanager."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.chain import Chain, chain
from tests.acceptance.harness import PLAN_UID

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def asks(it: Chain, path: str) -> list[dict[str, Any]]:
    """Return what Alertmanager says at a path of its API."""
    found: list[dict[str, Any]] = (await it.service.http.get(f"{it.programs[0].url}/api/v2/{path}")).json()
    return found


async def test_a_silenced_plan_stays_silent_when_it_fails_in_another_phase(tmp_path: Path) -> None:
    async with chain(tmp_path) as it:
        await it.fails("ConvertGuest", run=1)
        await it.until_told(1, "firing")
        (story,) = await it.service.until(it.service.stories)
        url = f"{it.service.url}/api/v1/stories/{story['id']}"
        answer = await it.service.http.post(f"{url}/silence", json={"hours": 4, "by": "Ana Costa"})
        assert answer.json()["done"] is True, answer.text

        (silence,) = await asks(it, "silences")
        assert silence["status"]["state"] == "active"
        assert silence["createdBy"] == "Ana Costa"
        assert story["id"] in silence["comment"]
        matchers = {one["name"]: one["value"] for one in silence["matchers"]}
        assert matchers == {"alertname": "MigrationFailed", "plan": PLAN_UID}

        it.exporter.show("Failed", "ConvertGuest,CopyDisks")

        async def new_phase() -> dict[str, Any] | None:
            found = await asks(it, "alerts")
            return next((one for one in found if one["labels"].get("phase") == "ConvertGuest,CopyDisks"), None)

        alert = await it.service.until(new_phase, 20)
        assert (alert["status"]["state"], alert["status"]["silencedBy"]) == ("suppressed", [silence["id"]])
        assert not it.told("firing", phase="ConvertGuest,CopyDisks")

        again = await it.service.http.post(f"{url}/silence", json={"hours": 4, "by": "Bob"})
        assert "by Ana Costa" in again.json()["text"]
        assert len(await asks(it, "silences")) == 1
        (story,) = await it.service.stories()
        assert [one["change"] for one in story["timeline"]].count("silenced") == 1
