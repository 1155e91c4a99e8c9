"""PagerDuty and people: what is sent when somebody took a story, and what is not when somebody closed its incident."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver.destinations.hearing import Heard, What
from receiver.destinations.pagerduty import PagerDutySender
from receiver.errors import DestinationRefused, Transient, Unknown
from receiver.model import Ack, Change, Outcome, StoryState, Wanted
from tests.contract.examples import ROUTING_KEY, moved, sender, wanted

pytestmark = pytest.mark.anyio

T0 = datetime(2026, 11, 21, 2, 4, tzinfo=UTC)
KEY = "mtvr1/plan/7c1e/01K"


def pager(folder: Path, **raw: Any) -> PagerDutySender:
    made = sender("pagerduty", {"routing_key_file": ROUTING_KEY, **raw}, folder)
    assert isinstance(made, PagerDutySender)
    return made


def triggered(one: PagerDutySender) -> Wanted:
    """Return a delivery whose incident is open and shows everything."""
    state = wanted()
    step = one.plan(state)
    assert step is not None
    return replace(state, root=step.extra["receipt"], audible=False, quiet_allowed=False)


def taken(state: Wanted, via: str, at: datetime = T0) -> Wanted:
    return replace(state, story=replace(state.story, ack=Ack("Ana Costa", via, at)))


def ops(one: PagerDutySender, state: Wanted) -> list[str]:
    """Return everything that is sent until the delivery shows what it should."""
    done: list[str] = []
    while (step := one.plan(state)) is not None:
        assert len(done) < 5, done
        done.append(step.op)
        state = replace(state, root=step.extra["receipt"])
    return done


def test_an_acknowledgement_from_elsewhere_is_sent_once_and_one_from_pagerduty_never(tmp_path: Path) -> None:
    one = pager(tmp_path)
    state = triggered(one)
    assert ops(one, state) == []
    assert ops(one, taken(state, "Slack")) == ["acknowledge"]
    assert ops(one, taken(state, "PagerDuty")) == []
    step = one.plan(taken(state, "Slack"))
    assert step is not None
    assert step.body == {"event_action": "acknowledge", "dedup_key": state.keys.dedup_key}
    assert not step.creates  # repeating it changes nothing
    told = replace(taken(state, "Slack"), root=step.extra["receipt"])
    assert ops(one, told) == []
    assert ops(one, taken(told, "API", T0 + timedelta(hours=1))) == ["acknowledge"]


def test_what_is_taken_before_its_first_trigger_is_triggered_then_acknowledged(tmp_path: Path) -> None:
    assert ops(pager(tmp_path), taken(wanted(), "Slack")) == ["trigger", "acknowledge"]


def test_news_of_an_incident_that_is_taken_are_told_once_and_it_is_not_taken_again(tmp_path: Path) -> None:
    one = pager(tmp_path)
    state = taken(triggered(one), "Slack")
    step = one.plan(state)
    assert step is not None
    worse = moved(replace(state, root=step.extra["receipt"]), Change.WORSE)
    assert ops(one, worse) == ["update"]


def test_an_incident_that_comes_back_is_nobodys(tmp_path: Path) -> None:
    one = pager(tmp_path)
    state = taken(triggered(one), "Slack")
    step = one.plan(state)
    assert step is not None
    over = moved(replace(state, root=step.extra["receipt"]), Change.RESOLVED, state=StoryState.RESOLVED,
                 outcome=Outcome.FIXED)  # fmt: skip
    step = one.plan(over)
    assert step is not None
    assert step.op == "resolve"
    again = moved(replace(over, root=step.extra["receipt"]), Change.REOPENED, state=StoryState.FIRING, outcome=None,
                  ack=None)  # fmt: skip
    assert ops(one, again) == ["trigger"]


def test_what_a_person_resolved_stays_closed_until_there_is_news(tmp_path: Path) -> None:
    one = pager(tmp_path)
    state = triggered(one)
    closed = replace(state, root={**(state.root or {}), "state": "closed", "closed_by": "Ana Costa"})
    quiet = moved(closed, Change.RERUN, quiet_allowed=True, state=StoryState.RERUNNING)
    assert ops(one, quiet) == []
    assert ops(one, replace(closed, confirm=True)) == []
    assert ops(one, taken(closed, "Slack")) == []
    assert ops(one, moved(closed, Change.RESOLVED, state=StoryState.RESOLVED, outcome=Outcome.FIXED)) == []
    assert ops(one, moved(closed, Change.FAILED_AGAIN)) == ["trigger"]


def test_a_moved_story_is_resolved_in_pagerduty(tmp_path: Path) -> None:
    one = pager(tmp_path)
    assert ops(one, replace(triggered(one), firing=False, moved="network by Ana Costa (Slack)")) == ["resolve"]


# --- asking ---


def incident(key: str, status: str, at: str = "2026-11-21T02:04:00Z", who: str = "user_reference") -> dict[str, Any]:
    person = {"type": who, "summary": "Ana Costa"}
    acks = [{"at": at, "acknowledger": person}] if status == "acknowledged" else []
    return {
        "incident_key": key, "status": status, "created_at": "2026-11-21T02:00:00Z", "acknowledgements": acks,
        "last_status_change_at": at, "last_status_change_by": person,
    }  # fmt: skip


class Rest(httpx2.AsyncBaseTransport):
    """PagerDuty's REST API, which answers what it is told to."""

    def __init__(self, status: int, answer: Any) -> None:
        self._status, self._answer = status, answer
        self.asked: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(request)
        return httpx2.Response(self._status, json=self._answer, headers={"retry-after": "7"})


async def heard(folder: Path, rest: Rest, *keys: str) -> tuple[Heard, ...]:
    raw = {"routing_key_file": ROUTING_KEY, "api_token_file": "t0ken", "service_ids": ["PSVC"]}
    one = sender("pagerduty", raw, folder, transport=rest)
    assert isinstance(one, PagerDutySender)
    return await one.hear(dict.fromkeys(keys or (KEY,), T0))


async def test_one_question_tells_of_all_and_the_newest_incident_of_a_key_counts(tmp_path: Path) -> None:
    others = [incident("another-tool", "resolved"), incident("mtvr1/unasked", "resolved")]
    newest, older = incident(KEY, "acknowledged"), incident(KEY, "resolved")
    rest = Rest(200, {"incidents": [*others, newest, older, incident("mtvr1/b", "resolved"), "nonsense", {}]})
    found = await heard(tmp_path, rest, KEY, "mtvr1/b")
    assert found == (Heard(KEY, What.ACKNOWLEDGED, "Ana Costa", T0), Heard("mtvr1/b", What.RESOLVED, "Ana Costa", T0))
    (asked,) = rest.asked
    assert str(asked.url).startswith("https://api.pagerduty.com/incidents?")
    assert asked.headers["authorization"] == "Token token=t0ken"
    assert "t0ken" not in str(asked.url)
    parameters = asked.url.params
    assert parameters.get_list("statuses[]") == ["acknowledged", "resolved"]
    assert parameters.get_list("service_ids[]") == ["PSVC"]
    assert parameters["since"] == T0.isoformat()
    await heard(tmp_path, rest, KEY)
    assert rest.asked[-1].url.params["incident_key"] == KEY


async def test_what_an_integration_did_was_nobody(tmp_path: Path) -> None:
    rest = Rest(200, {"incidents": [incident(KEY, "resolved", who="service_reference")]})
    assert await heard(tmp_path, rest) == (Heard(KEY, What.RESOLVED, "", T0),)


@pytest.mark.parametrize(
    ("status", "error"), [(401, DestinationRefused), (403, DestinationRefused), (429, Transient), (503, Unknown)]
)
async def test_a_question_that_is_not_answered_raises_and_names_no_token(
    tmp_path: Path, status: int, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        await heard(tmp_path, Rest(status, {}))
    assert "t0ken" not in str(raised.value)


async def test_without_a_token_nothing_is_asked(tmp_path: Path) -> None:
    one = pager(tmp_path)
    assert one.ask_every_s is None
    assert await one.hear({KEY: T0}) == ()
    assert await one.shortcomings() == ()


async def test_a_token_that_is_refused_is_named_by_the_check(tmp_path: Path) -> None:
    raw = {"routing_key_file": ROUTING_KEY, "api_token_file": "t0ken"}
    one = sender("pagerduty", raw, tmp_path, transport=Rest(401, {}))
    assert isinstance(one, PagerDutySender)
    (missing,) = await one.shortcomings()
    assert missing == "acknowledgements in PagerDuty are not seen: HTTP 401: the REST token is refused"
