"""The webhook destination: its events, their ids and signatures."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from receiver.config.model import Secret
from receiver.destinations.webhook_signature import signature, signing_key
from receiver.errors import DestinationRefused, Unknown
from receiver.model import Change, StoryState
from tests.contract.examples import EVIDENCE, FIXED, deliver, moved, story, wanted
from tests.contract.hooks import KEY, Made, early, make
from tests.contract.test_sender_bodies import hostile_story
from tests.fakes.endpoint import Endpoint

pytestmark = pytest.mark.anyio
__all__ = ["make"]

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
