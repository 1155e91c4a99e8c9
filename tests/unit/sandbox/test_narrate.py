from __future__ import annotations

from receiver.sandbox import Sandbox
from receiver.sandbox.narrate import News, Shown, news, shown


def sandbox() -> Sandbox:
    return Sandbox.new(lambda: 1_700_000_000.0)


def post(state: Sandbox, **args: object) -> str:
    answer = state.slack.call("chat.postMessage", {"channel": "#a", **args}, "xoxb-token")
    assert answer["ok"], answer
    return str(answer["ts"])


def test_a_new_message_is_told_by_its_first_line_with_emoji() -> None:
    state = sandbox()
    post(state, text=":red_circle: VM down\nmore")
    assert news({}, shown(state.snapshot())) == [News(True, Shown("Slack #a", "🔴 VM down"))]


def test_only_what_reads_differently_is_news() -> None:
    state = sandbox()
    first = post(state, text="one")
    post(state, text="two")
    before = shown(state.snapshot())
    channel = next(iter(state.slack.channels))
    state.slack.call("chat.update", {"channel": channel, "ts": first, "text": "one, changed"}, "xoxb-token")
    assert news(before, shown(state.snapshot())) == [News(False, Shown("Slack #a", "one, changed"))]
    assert news(before, before) == []


def test_a_reply_is_told_as_one() -> None:
    state = sandbox()
    post(state, text="reply", thread_ts=post(state, text="root"))
    places = [item.shown.where for item in news({}, shown(state.snapshot()))]
    assert places == ["Slack #a", "Slack #a, in the thread"]


def test_impact_and_cause_of_a_message_are_told() -> None:
    def section(text: str) -> dict[str, object]:
        return {"type": "section", "text": {"type": "mrkdwn", "text": text}}

    state = sandbox()
    post(
        state, text="x", blocks=[section("*Impact:* one VM is off"), section("*Do now*"), section("*Cause* (1 log): y")]
    )
    told = [item.shown.text for item in news({}, shown(state.snapshot()))]
    assert told == ["x", "Impact: one VM is off", "Cause (1 log): y"]


def test_an_incident_is_told_again_when_it_is_resolved() -> None:
    state = sandbox()
    event = {"routing_key": "0" * 32, "dedup_key": "k", "event_action": "trigger"}
    payload = {"summary": "it burns", "source": "s", "severity": "critical"}
    status, _ = state.pagerduty.enqueue({**event, "payload": payload})
    assert status == 202
    before = shown(state.snapshot())
    assert [item.text for item in before.values()] == ["TRIGGERED  it burns"]
    state.pagerduty.enqueue({**event, "event_action": "resolve"})
    assert [item.shown.text for item in news(before, shown(state.snapshot()))] == ["RESOLVED  it burns"]
