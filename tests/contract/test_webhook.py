"""The webhook destination: its stable form, its ids and signatures, and what an endpoint's answers mean."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from receiver.config.model import Secret
from receiver.destinations import Sender
from receiver.destinations.webhook_body import KEYS, MAX_BYTES, encode
from receiver.destinations.webhook_signature import signature, signing_key
from receiver.errors import DeliveryError, DestinationRefused, Refused, Transient, Unknown
from receiver.model import Ack, Change, StoryState, Wanted
from tests.contract.examples import EVIDENCE, FIXED, KINDS, OPENED, after, deliver, moved, sender, story, wanted
from tests.contract.test_sender_bodies import HOSTILE, hostile_story, state
from tests.fakes.endpoint import Endpoint, endpoint

pytestmark = pytest.mark.anyio
__all__ = ["state"]

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "webhook"
KEY = base64.b64encode(bytes(range(32))).decode()
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Made:
    """Builds senders that speak to this test's endpoint."""

    endpoint: Endpoint
    folder: Path
    clients: list[httpx2.AsyncClient]

    def __call__(self, raw: Mapping[str, Any] = NOTHING, **common: Any) -> Sender:
        given = {"url": f"{self.endpoint.url}/hook", **raw}
        return sender("webhook", given, self.folder, clients=self.clients, **common)


@pytest.fixture
async def make(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Made]:
    del anyio_backend
    async with endpoint() as started:
        made = Made(started, tmp_path, [])
        yield made
        for client in made.clients:
            await client.aclose()


def planned(folder: Path, of: Wanted, **common: Any) -> dict[str, Any]:
    step = sender("webhook", {"url": "https://hook.example.com/x"}, folder, **common).plan(of)
    assert step is not None
    return dict(step.body)


# --- the form -------------------------------------------------------------------------------------------------------


def early() -> Wanted:
    return wanted(story(evidence=None, revision=1))


def taken(of: Wanted) -> Wanted:
    return moved(of, Change.ACKNOWLEDGED, key="acknowledged-3", ack=Ack("Ana Costa", "Slack", OPENED))


FORMS = {
    "fired": (wanted(), "full"),
    "fired-early": (early(), "full"),
    "summary": (wanted(), "summary"),
    "minimal": (wanted(), "minimal"),
    "re-running": (replace(moved(wanted(), Change.RERUN, key="rerun-1", state=StoryState.RERUNNING, run="run-2"),
                           root={"revision": 2}), "full"),
    "acknowledged": (replace(taken(wanted()), root={"revision": 2}), "full"),
    "resolved": (replace(moved(wanted(), Change.RESOLVED, key="resolved", **FIXED), root={"revision": 2}), "full"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_the_form_is_the_documented_one(name: str, tmp_path: Path) -> None:
    of, content = FORMS[name]
    shown = json.dumps(planned(tmp_path, of, content=content), ensure_ascii=False, indent=1) + "\n"
    file = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN") == "1":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


def test_every_golden_form_has_its_test() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(FORMS)


@pytest.mark.parametrize("content", ["full", "summary", "minimal"])
def test_no_key_is_ever_missing_or_new_whatever_is_known(content: str, state: Wanted, tmp_path: Path) -> None:
    made, whole = planned(tmp_path, state, content=content), planned(tmp_path, wanted())
    assert tuple(made) == KEYS
    for part in ("event", "story", "impact", "counts", "where", "evidence"):
        assert list(made[part]) == list(whole[part])
    assert len(encode(made)) <= MAX_BYTES
    json.loads(encode(made))


def test_a_body_that_is_too_large_is_cut_and_says_so(tmp_path: Path) -> None:
    made = planned(tmp_path, hostile_story())
    assert made["cut"] is True
    assert made["vms"]
    assert made["vms_left_out"] == 300 - len(made["vms"])
    assert len(encode(made)) <= MAX_BYTES
    assert planned(tmp_path, wanted())["cut"] is False


def test_no_control_or_direction_character_and_no_lone_surrogate_is_sent(tmp_path: Path) -> None:
    trap = "a\x00b\x1b[31m\u202ec\ud800"
    assert all(char in HOSTILE for char in "\x00\x1b\u202e\ud800")
    for of in (hostile_story(), wanted(story(evidence=replace(EVIDENCE, impact_text=trap), title=trap, note=trap))):
        text = encode(planned(tmp_path, of)).decode("utf-8")
        assert not [char for char in ("\\u0000", "\\u001b", "\u202e", "\ud800") if char in text]


@pytest.mark.parametrize("content", ["summary", "minimal"])
def test_a_content_level_keeps_inside_what_it_forbids(content: str, tmp_path: Path) -> None:
    of = wanted(story(evidence=replace(EVIDENCE, impact_text="10.1.2.3 is off", unrecognised="at 10.1.2.3")))
    text = encode(planned(tmp_path, of, content=content)).decode()
    inside = ["could not read key", "10.1.2.3"]
    inside += ["pay-win-app04", "bitlocker", "BitLocker", "Windows guest"] * (content == "minimal")
    assert [word for word in inside if word in text] == []
    assert '"failed":3' in text
    assert "https://mtv.example.com/stories/" in text


def test_evidence_of_an_earlier_run_is_not_given_as_the_reason_of_this_one(tmp_path: Path) -> None:
    made = planned(tmp_path, wanted(story(run="run-2")))
    assert (made["cause"], made["vms"], made["impact"]["state"]) == (None, [], "unknown")


# --- events and their ids -------------------------------------------------------------------------------------------


def told(endpoint: Endpoint) -> list[str]:
    return [one.json["event"]["change"] for one in endpoint.posts]


async def test_each_audible_change_a_rerun_and_an_acknowledgement_is_one_request(make: Made) -> None:
    hook = make()
    _, now = await deliver(hook, wanted())
    for change, key, changes in (
        (Change.ALERTS, "", {"severity": "info"}),
        (Change.TOLD, "", {}),
        (Change.WORSE, "worse-4", {}),
        (Change.ACKNOWLEDGED, "acknowledged-5", {}),
        (Change.RERUN, "rerun-1", {"state": StoryState.RERUNNING}),
        (Change.FAILED_AGAIN, "failed-again-1", {"state": StoryState.FIRING}),
        (Change.RESOLVED, "resolved", FIXED),
        (Change.REOPENED, "reopened-1", {"state": StoryState.FIRING, "outcome": None, "closed": None}),
    ):
        key = key if change in hook.entry_changes else ""
        _, now = await deliver(hook, moved(now, change, key=key, **changes))
    assert told(make.endpoint) == [
        "fired", "worse", "acknowledged", "rerun", "failed-again", "evidence", "resolved", "reopened", "evidence",
    ]  # fmt: skip
    assert len({one.headers["webhook-id"] for one in make.endpoint.posts}) == 9
    assert {one.json["story"]["id"] for one in make.endpoint.posts} == {now.story.id}


async def test_evidence_that_comes_later_is_told_once_when_it_is_complete(make: Made) -> None:
    hook = make()
    _, now = await deliver(hook, early())
    _, now = await deliver(hook, moved(now, Change.EVIDENCE, evidence=replace(EVIDENCE, complete=False)))
    assert told(make.endpoint) == ["fired"]
    _, now = await deliver(hook, moved(now, Change.EVIDENCE, evidence=EVIDENCE))
    _, now = await deliver(hook, moved(now, Change.EVIDENCE, evidence=replace(EVIDENCE, hidden=7)))
    assert told(make.endpoint) == ["fired", "evidence"]
    assert make.endpoint.posts[-1].json["cause"]["id"] == "guest-bitlocker"


async def test_evidence_of_an_earlier_run_is_no_event_of_this_one(make: Made) -> None:
    hook = make()
    _, now = await deliver(hook, early())
    rerun = moved(now, Change.RERUN, key="rerun-1", state=StoryState.RERUNNING, run="run-2", evidence=EVIDENCE)
    _, now = await deliver(hook, rerun)
    assert told(make.endpoint) == ["fired", "rerun"]


@pytest.mark.parametrize("state_of", ["firing", "re-running"])
async def test_an_equal_story_costs_no_request(make: Made, state_of: str) -> None:
    hook = make()
    _, now = await deliver(hook, wanted(story(state=StoryState(state_of))))
    before = len(make.endpoint.came)
    later = replace(now, story=replace(now.story, revision=9), audible=True, confirm=True)
    assert (await deliver(hook, later))[0] == []
    assert len(make.endpoint.came) == before


async def test_without_send_resolved_nobody_hears_of_the_end(make: Made) -> None:
    hook = make(send_resolved=False)
    _, now = await deliver(hook, wanted())
    assert (await deliver(hook, moved(now, Change.RESOLVED, key="resolved", **FIXED)))[0] == []
    closed = moved(wanted(), Change.RESOLVED, **FIXED)
    assert (await deliver(hook, closed))[0] == []


async def test_a_story_that_ended_before_it_was_told_is_one_request_in_its_final_form(make: Made) -> None:
    steps, _ = await deliver(make(), moved(wanted(), Change.RESOLVED, **FIXED))
    assert steps == ["fired"]
    assert make.endpoint.posts[0].json["story"]["state"] == "resolved"


async def test_a_repeat_after_a_lost_answer_has_the_same_id_and_loses_nothing_that_came_meanwhile(make: Made) -> None:
    hook = make()
    first = early()
    step = hook.plan(first)
    assert step is not None
    make.endpoint.answer(502)
    with pytest.raises(Unknown):
        await hook.send(step, first)
    changed = moved(moved(first, Change.EVIDENCE, key="evidence", evidence=EVIDENCE), Change.WORSE, key="worse-3")
    await deliver(hook, changed)
    ids = [one.headers["webhook-id"] for one in make.endpoint.posts]
    assert ids[0] == ids[1]
    kept = list(make.endpoint.taken)
    assert [one["event"]["change"] for one in kept] == ["fired", "worse", "evidence"]
    assert kept[0]["cause"] is None, "the receiver kept the first try, which knew no cause"
    assert kept[-1]["cause"]["id"] == "guest-bitlocker"
    assert [one["story"]["revision"] for one in kept] == [1, 3, 3]


async def test_the_id_of_an_entry_is_the_same_for_each_try_and_its_time_is_that_of_the_try(make: Made) -> None:
    hook = make({"signing_secret_file": f"whsec_{KEY}"})
    _, now = await deliver(hook, wanted())
    worse = moved(now, Change.WORSE, key="worse-3")
    step = hook.plan(worse)
    assert step is not None
    make.endpoint.answer(500)
    with pytest.raises(Unknown):
        await hook.send(step, worse)
    quiet = moved(worse, Change.ALERTS, severity="info")
    again = hook.plan(quiet)
    assert again is not None
    await hook.send(again, quiet)
    one, other = make.endpoint.posts[-2:]
    assert one.headers["webhook-id"] == other.headers["webhook-id"] == other.headers["idempotency-key"]
    assert one.json["story"]["severity"] != other.json["story"]["severity"]


# --- signature ------------------------------------------------------------------------------------------------------


def test_a_signature_is_that_of_the_published_example(tmp_path: Path) -> None:
    """The example of the Standard Webhooks libraries."""
    (tmp_path / "key").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    made = signature(
        signing_key(Secret(file=tmp_path / "key")),
        "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", b'{"test": 2432232314}',
    )  # fmt: skip
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_the_exact_bytes_that_are_sent_are_signed_with_time_and_id(make: Made) -> None:
    await deliver(make({"signing_secret_file": f"whsec_{KEY}"}), hostile_story())
    (came,) = make.endpoint.posts
    name, at = came.headers["webhook-id"], came.headers["webhook-timestamp"]
    assert came.headers["webhook-signature"] == signature(bytes(range(32)), name, at, came.raw)
    assert at.isdecimal()


async def test_without_a_secret_there_is_an_id_and_no_signature(make: Made) -> None:
    await deliver(make(), wanted())
    assert "webhook-signature" not in make.endpoint.posts[0].headers
    assert make.endpoint.posts[0].headers["webhook-id"] == make.endpoint.posts[0].json["event"]["id"]


@pytest.mark.parametrize("content", ["whsec_", "whsec_%%%", "whsec_" + base64.b64encode(b"short").decode()])
async def test_a_signing_secret_that_is_none_parks_before_anything_is_sent(make: Made, content: str) -> None:
    with pytest.raises(DestinationRefused, match="signing_secret_file holds no signing secret") as raised:
        await deliver(make({"signing_secret_file": content}), wanted())
    assert KEY not in str(raised.value)
    assert make.endpoint.came == []


# --- method, headers, body ------------------------------------------------------------------------------------------


async def test_method_headers_and_secret_headers_are_sent(make: Made) -> None:
    (make.folder / "api-key").write_text("planted-key\n")
    raw = {"method": "PUT", "headers": {"X-Team": "payments"}, "header_files": {"X-Api-Key": "api-key"}}
    await deliver(make(raw), wanted())
    (came,) = make.endpoint.posts
    assert (came.method, came.headers["x-team"], came.headers["x-api-key"]) == ("PUT", "payments", "planted-key")
    assert came.headers["content-type"] == "application/json"
    assert came.headers["user-agent"].startswith("mtv-receiver/")


async def test_a_body_of_ones_own_is_sent_with_its_content_type(make: Made) -> None:
    text = '{"text": {{ story.title | tojson }}, "vms": {{ vms | map(attribute="name") | list | tojson }}}'
    await deliver(make({"body": text, "content_type": "application/vnd.example+json"}), hostile_story())
    (came,) = make.endpoint.posts
    assert came.headers["content-type"] == "application/vnd.example+json"
    assert came.json["vms"]
    assert set(came.json) == {"text", "vms"}


@pytest.mark.parametrize("text", ["{{ cause.nope }}", "{{ 'x' * 9 }}", "{% for n in range(99999) %}long{% endfor %}"])
async def test_a_body_that_breaks_when_it_is_used_is_sent_in_the_documented_form(make: Made, text: str) -> None:
    await deliver(make({"body": text}), wanted())
    assert make.endpoint.posts[0].json["version"] == 1


@pytest.mark.parametrize(
    ("raw", "cure"),
    [
        ({}, "give either url or url_file"),
        ({"url": "https://a.example", "url_file": "x"}, "give either"),
        ({"url": "https://a.example", "body": "{{ nope }}"}, "no variable is called nope"),
        ({"url": "https://a.example", "body": "{{ story"}, "body template does not work"),
        ({"url": "https://a.example", "headers": {"Host": "b"}}, "is a header of ours"),
        ({"url": "https://a.example", "headers": {"webhook-id": "b"}}, "is a header of ours"),
        ({"url": "https://a.example", "headers": {"X-A": "b\nX-B: c"}}, "no header may carry"),
        ({"url": "https://a.example", "header_files": {"bad name": "f"}}, "is a header of ours"),
        ({"url": "https://user:pw@a.example"}, "would show up in logs"),
        ({"url": "https://a.example", "method": "GET"}, "POST"),
    ],
)
def test_what_cannot_work_is_refused_with_a_cure(raw: dict[str, Any], cure: str) -> None:
    with pytest.raises(ValidationError, match=cure):
        KINDS["webhook"].settings.model_validate(raw, context={"base": Path("conf")})


def test_a_destination_is_known_by_its_url_or_the_file_that_holds_it() -> None:
    kind = KINDS["webhook"]

    def target(**raw: str) -> str:
        return kind.target(kind.settings.model_validate(raw, context={"base": Path("conf")}))

    assert target(url="https://a.example/x") == "https://a.example/x"
    assert target(url_file="hook") == "file:conf/hook"


# --- answers --------------------------------------------------------------------------------------------------------


async def refused(make: Made, status: int, body: bytes = b"no", **headers: str) -> DeliveryError:
    hook = make()
    step = hook.plan(wanted())
    assert step is not None
    make.endpoint.answer(status, body, **headers)
    with pytest.raises(DeliveryError) as raised:
        await hook.send(step, wanted())
    return raised.value


@pytest.mark.parametrize(
    ("status", "meaning"),
    [
        *((status, Refused) for status in (400, 409, 413, 415, 422)),
        *((status, DestinationRefused) for status in (301, 302, 307, 308, 401, 402, 403, 404, 405, 410, 421)),
        (429, Transient),
        *((status, Unknown) for status in (408, 500, 502, 503, 504)),
    ],
)
async def test_an_answer_means_one_thing(make: Made, status: int, meaning: type[DeliveryError]) -> None:
    error = await refused(make, status, b"first line\nsecond", location=f"{make.endpoint.url}/elsewhere")
    assert type(error) is meaning
    assert (error.status, error.reason) == (status, f"HTTP {status}: first line second")
    assert len(make.endpoint.came) == 1, "a redirect is never followed"


@pytest.mark.parametrize("status", [429, 503])
async def test_the_wait_that_an_endpoint_asks_for_is_kept(make: Made, status: int) -> None:
    error = await refused(make, status, retry_after="17")
    assert isinstance(error, Transient)
    assert error.retry_after_s == 17


async def test_only_the_beginning_of_an_answer_is_read(tmp_path: Path) -> None:
    read: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            assert len(read) < 200, "it goes on reading"
            read.append(1)
            yield b"x" * 4_096

    transport = httpx2.MockTransport(lambda request: httpx2.Response(422, content=endless()))
    hook = sender("webhook", {"url": "https://a.example"}, tmp_path, transport=transport)
    with pytest.raises(Refused) as raised:
        await deliver(hook, wanted())
    assert len(raised.value.reason) <= 120


@pytest.mark.parametrize(
    ("broken", "meaning"),
    [(httpx2.ConnectError("no"), Transient), (httpx2.ReadTimeout("no"), Unknown), (httpx2.WriteError("no"), Unknown)],
)
async def test_a_broken_connection_is_unknown_unless_nothing_was_sent(
    broken: Exception, meaning: type[DeliveryError], tmp_path: Path
) -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        raise broken

    url = "https://hook.example.com/planted-path"
    hook = sender("webhook", {"url_file": url}, tmp_path, transport=httpx2.MockTransport(handle))
    with pytest.raises(DeliveryError) as raised:
        await deliver(hook, wanted())
    assert type(raised.value) is meaning
    assert "planted" not in raised.value.reason


@pytest.mark.parametrize("content", ["not a url", "ftp://a.example/planted"])
async def test_a_file_that_holds_no_url_is_named_without_its_content(content: str, tmp_path: Path) -> None:
    hook = sender("webhook", {"url_file": content}, tmp_path)
    with pytest.raises(DestinationRefused) as raised:
        await deliver(hook, wanted())
    assert "planted" not in raised.value.reason
    assert "URL" in raised.value.reason


async def test_a_refused_story_or_event_is_offered_with_the_least_that_is_one(make: Made) -> None:
    _, now = await deliver(make(), replace(wanted(), plain=True))
    worse = moved(replace(now, plain=False), Change.WORSE, key="worse-3")
    await deliver(make(), replace(worse, entries=tuple(replace(one, plain=True) for one in worse.entries)))
    assert len(make.endpoint.posts) == 2
    for made in (one.json for one in make.endpoint.posts):
        assert tuple(made) == KEYS
        assert (made["cause"], made["vms"], made["counts"]["failed"]) == (None, [], 3)


@pytest.mark.parametrize(
    ("status", "good"), [(204, True), (200, True), (405, True), (403, True), (401, False), (404, False)]
)
async def test_a_probe_posts_nothing_and_finds_what_surely_speaks_against_sending(
    status: int, good: bool, tmp_path: Path
) -> None:
    seen: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(status)

    hook = sender("webhook", {"url": "https://a.example"}, tmp_path, transport=httpx2.MockTransport(handle))
    if good:
        await hook.probe()
    else:
        with pytest.raises(DestinationRefused):
            await hook.probe()
    assert [(one.method, one.content) for one in seen] == [("OPTIONS", b"")]


async def test_a_missing_secret_parks_and_sends_nothing(make: Made) -> None:
    (make.folder / "api-key").write_text("x")
    hook = make({"header_files": {"X-Api-Key": "api-key"}})
    (make.folder / "api-key").unlink()
    with pytest.raises(DestinationRefused, match="cannot be read"):
        await deliver(hook, wanted())
    with pytest.raises(DestinationRefused, match="cannot be read"):
        await hook.probe()
    assert make.endpoint.came == []


async def test_nothing_is_looked_up_because_every_event_can_be_repeated(make: Made) -> None:
    hook = make()
    step = hook.plan(wanted())
    assert step is not None
    assert not step.creates
    assert await hook.find(step, wanted()) is None
    assert after(wanted(), step, await hook.send(step, wanted())).root is not None
