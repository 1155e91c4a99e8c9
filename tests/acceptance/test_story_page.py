"""Where "Details" leads: the story's page, its logs, its VMs as a file, what people do there, and live news of it."""

from __future__ import annotations

import asyncio
import copy
import csv
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.acceptance.harness import PLAN_UID, Running, alert, failed, routes_yaml, running, slack
from tests.acceptance.plans import POD, cluster, load_example, plan, top, watched
from tests.fakes.kubernetes import KubernetesApi
from tests.fakes.vendors import FakeVendors

pytestmark = pytest.mark.anyio

TEAMS = f"- name: platform\n  {slack('#platform')}\n- name: network\n  {slack('#network')}\n"
HOSTILE = (
    "virt-v2v: error: <script>alert(1)</script><img src=x onerror=alert(1)>\n"
    "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07 \x1b[31mred\x1b[0m \u202egnp.exe\u202c\n"
    f"{'x' * 50_000}\n"
    "virt-v2v: could not read key from user\n"
)


@asynccontextmanager
async def failing(folder: Path, log: str = "") -> AsyncIterator[tuple[Running, dict[str, Any], KubernetesApi]]:
    """Run the service with one failed plan whose evidence has been read."""
    async with cluster(folder) as api, FakeVendors() as vendors:
        await load_example(api)
        if log:
            api.set_log(*POD, log)
        async with running(routes_yaml(vendors, folder, top=top(), receivers=TEAMS), vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            await service.until_state("firing")
            await service.idle()
            (story,) = await service.stories()
            yield service, story, api


async def got(service: Running, path: str, status: int = 200) -> httpx2.Response:
    answer = await service.http.get(service.url + path)
    assert answer.status_code == status, answer.text[:500]
    return answer


async def test_a_page_says_impact_cause_decisive_line_and_what_to_do_and_who_was_told(tmp_path: Path) -> None:
    async with failing(tmp_path) as (service, story, _):
        page = (await got(service, f"/stories/{story['id']}")).text
        assert page.index("Impact") < page.index("Why") < page.index("Decisive line") < page.index("Do now")
        assert "windows-fast-startup" in page
        assert 'class="decisive" value="' in page
        assert "platform/slack" in page
        assert "MTVPlanFailed fires" in page or "MigrationFailed fires" in page
        policy = (await got(service, f"/stories/{story['id']}")).headers["content-security-policy"]
        assert "unsafe" not in policy
        await got(service, "/stories/01JUNKNOWN", 404)
        evidence = (await got(service, f"/api/v1/stories/{story['id']}/evidence")).json()["evidence"]
        assert evidence["cause"]["id"] == "windows-fast-startup"
        (log, *_) = evidence["logs"]
        raw = await got(service, log["raw"])
        assert "virt-v2v" in raw.text
        assert "attachment" in raw.headers["content-disposition"]


async def test_a_log_has_a_page_on_which_words_are_found_and_lines_can_be_linked(tmp_path: Path) -> None:
    async with failing(tmp_path) as (service, story, _):
        page = (await got(service, f"/stories/{story['id']}/logs/1?find=Fast+restart")).text
        places = re.findall(r'<a href="#(L\d+)">\d+</a>', page)
        assert places
        for place in places:
            line = next(one for one in re.findall(r"<li[^>]*>.*?</li>", page, re.DOTALL) if f'id="{place}"' in one)
            assert "fast restart" in line.lower()
        for number in ("0", "99", "-1", "x", "1" * 5_000):
            await got(service, f"/stories/{story['id']}/logs/{number}", 404)


async def test_a_hostile_log_is_text_everywhere(tmp_path: Path) -> None:
    async with failing(tmp_path, HOSTILE) as (service, story, _):
        for path in ("", "/logs/1", "/logs/1?find=<script>", "/logs/1/raw"):
            answer = await got(service, f"/stories/{story['id']}{path}")
            assert len(answer.content) < 300_000
            assert "\x1b" not in answer.text
            assert "\u202e" not in answer.text
            if not path.endswith("raw"):
                assert "<script>alert" not in answer.text
                assert "<img src=x" not in answer.text
                assert "&lt;script&gt;" in answer.text
            else:
                assert answer.headers["x-content-type-options"] == "nosniff"


async def test_five_hundred_vms_are_a_small_page_and_a_whole_spreadsheet(tmp_path: Path) -> None:
    async with cluster(tmp_path) as api, FakeVendors() as vendors:
        await load_example(api)
        large = plan()
        (bad,) = [vm for vm in large["status"]["migration"]["vms"] if "error" in vm]
        large["status"]["migration"]["vms"] = [
            {**copy.deepcopy(bad), "id": f"vm-{number}", "name": f"erp-win{number:03}"} for number in range(500)
        ]
        await api.apply(large)
        api.set_log(*POD, "\n".join(f"line {n} of a long log {'y' * 80}" for n in range(10_000)))
        async with running(routes_yaml(vendors, tmp_path, top=top(), receivers=TEAMS), vendors) as service:
            await watched(api, service)
            await service.post(alert(failed()))
            await service.until_state("firing")
            await service.idle()
            (story,) = await service.stories()
            page = await got(service, f"/stories/{story['id']}")
            assert len(page.content) <= 300_000
            assert "erp-win499" in page.text
            rows = list(csv.DictReader(io.StringIO((await got(service, f"/stories/{story['id']}/vms.csv")).text)))
            assert len(rows) == 500
            assert rows[0]["step"] == "ImageConversion"


async def test_people_take_silence_and_move_a_story_at_its_page(tmp_path: Path) -> None:
    async with failing(tmp_path) as (service, story, _):
        here = f"/stories/{story['id']}"

        async def press(name: str, status: int = 303, origin: str = "", **fields: str) -> httpx2.Response:
            headers = {"Origin": origin} if origin else {}
            answer = await service.http.post(f"{service.url}{here}/{name}", data=fields, headers=headers)
            assert answer.status_code == status, answer.text
            return answer

        answer = await press("acknowledge", note="calling the <b>Windows</b> team", origin=service.url)
        assert answer.headers["location"] == here
        page = (await got(service, here)).text
        assert "has it now" in page
        assert "calling the &lt;b&gt;Windows&lt;/b&gt; team" in page
        assert (await service.stories())[0]["ack"]["via"] == "page"
        await press("silence", hours="4")
        assert "Alertmanager" in (await got(service, here)).text  # there is none here, and it is said
        await press("silence", hours="nonsense")
        await press("move", to="network")
        assert any(one["receiver"] == "network" for one in await service.deliveries())
        await press("acknowledge", 403, origin="https://evil.example")
        refused = await service.http.post(f"{service.url}{here}/acknowledge", json={"note": "x"})
        assert refused.status_code == 400
        asked = (await got(service, f"/api/v1/stories/{story['id']}/presses")).json()["items"]
        assert [one["action"] for one in asked] == ["acknowledge", "silence", "silence", "move"]


class Events:
    """What an open page hears."""

    def __init__(self, service: Running, query: str = "", **headers: str) -> None:
        self._url, self._http = f"{service.url}/events{query}", service.http
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def __aenter__(self) -> Events:
        self._task = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _listen(self) -> None:
        async with self._http.stream("GET", self._url, headers=self._headers, timeout=60) as answer:
            assert answer.status_code == 200
            kind = ""
            async for line in answer.aiter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    self.heard.append((kind, json.loads(line.removeprefix("data: "))))
                    self._news.set()

    async def until(self, fits: Any) -> dict[str, Any]:
        """Await an event."""
        async with asyncio.timeout(20):
            while True:
                found = next((data for kind, data in self.heard if fits(kind, data)), None)
                if found is not None:
                    return found
                self._news.clear()
                await self._news.wait()


async def test_an_open_list_and_an_open_page_hear_of_a_change(tmp_path: Path) -> None:
    async with failing(tmp_path) as (service, story, _):
        id_ = story["id"]
        async with (
            Events(service) as every,
            Events(service, f"?story={id_}") as one,
            Events(service, "?state=resolved") as closed,
            Events(service, '?matcher=severity%3D"none"') as unsure,
        ):
            await every.until(lambda kind, data: data.get("id") == id_)
            answer = await service.http.post(f"{service.url}/api/v1/stories/{id_}/acknowledge", json={"by": "Ana"})
            assert answer.status_code == 200
            said = await every.until(lambda kind, data: "taken by Ana" in data.get("html", ""))
            assert said["html"].strip().startswith(f'<li class="story" id="story-{id_}"')
            heard = await one.until(lambda kind, data: data.get("revision", 0) > story["revision"])
            assert "html" not in heard
            gone = await closed.until(lambda kind, data: data["revision"] > story["revision"])
            assert gone["html"] == ""  # an open story does not belong there
            assert (await unsure.until(lambda kind, data: data["revision"] > story["revision"]))["known"] is True
        await got(service, "/events?story=01JUNKNOWN", 404)
        await got(service, "/events?matcher=a%3D~%22%28%22", 400)


async def test_who_was_away_for_too_long_loads_its_page_again(tmp_path: Path) -> None:
    async with failing(tmp_path) as (service, _, _), Events(service, Last_Event_ID="1000.5") as late:
        await late.until(lambda kind, data: kind == "reload")


async def test_a_listener_does_not_keep_the_service_from_ending(tmp_path: Path) -> None:
    async with failing(tmp_path) as (service, _, _):
        listening = Events(service)
        await listening.__aenter__()
        await listening.until(lambda kind, data: kind == "story")
    async with asyncio.timeout(5):  # the service has ended meanwhile
        await asyncio.gather(listening._task, return_exceptions=True)  # type: ignore[arg-type]


async def test_the_list_is_filtered_by_its_address_and_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    async with failing(tmp_path) as (service, story, _):
        await service.post(alert(failed("00000000-0000-4000-8000-000000000002", "other")))
        await service.idle()

        async def listed(query: str, status: int = 200) -> set[str]:
            page = (await got(service, f"/{query}", status)).text
            return set(re.findall(r'id="story-(\w+)"', page))

        assert len(await listed("")) == 2
        assert await listed("?cause=windows-fast-startup") == {story["id"]}
        assert await listed("?matcher=plan_name%3D~%22erp.*%22") == {story["id"]}
        assert await listed(f"?matcher=plan%3D%22{PLAN_UID}%22&state=firing") == {story["id"]}
        assert await listed("?state=resolved") == set()
        assert len(await listed("?state=all")) == 2
        page = (await got(service, "/?matcher=a%3D~%22%28%22", 400)).text
        assert 'role="alert"' in page
        await got(service, "/?cursor=nonsense", 400)
