"""What each vendor's refusals mean: the table that decides between trying again, looking first, and giving up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver.destinations import Sender, Step
from receiver.destinations.logfiles import LogFile
from receiver.errors import DeliveryError, DestinationRefused, Gone, Refused, Transient, Unknown
from receiver.keeping import pack
from receiver.model import Change
from tests.contract.examples import FIXED, ROUTING_KEY, TOKEN, deliver, moved, sender, wanted

pytestmark = pytest.mark.anyio

HTML = (502, "<html><body>Bad Gateway</body></html>", "text/html")
WEBHOOK = "https://hooks.slack.com/services/T0/B0/planted"


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer; `body` is sent as JSON unless it is text."""

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> httpx2.Response:
        if isinstance(self.body, str):
            return httpx2.Response(self.status, text=self.body, headers=dict(self.headers))
        return httpx2.Response(self.status, json=self.body, headers=dict(self.headers))


def slack_error(code: str, **more: Any) -> Answer:
    return Answer(200, {"ok": False, "error": code, **more})


def snow(status: int, message: str, detail: str | None = None) -> Answer:
    return Answer(status, {"error": {"message": message, "detail": detail}, "status": "failure"})


def answering(answer: Answer) -> httpx2.MockTransport:
    return httpx2.MockTransport(lambda request: answer.response())


def raising(error: Exception) -> httpx2.MockTransport:
    def handle(request: httpx2.Request) -> httpx2.Response:
        raise error

    return httpx2.MockTransport(handle)


def make(name: str, folder: Path, transport: httpx2.AsyncBaseTransport) -> Sender:
    raw: dict[str, dict[str, Any]] = {
        "slack": {"channel": "C0123456789", "app_token_file": TOKEN},
        "webhook": {"api_url_file": WEBHOOK},
        "pagerduty": {"routing_key_file": ROUTING_KEY},
        "jira": {"api_url": "https://x.atlassian.net/rest/api/3", "project": "MIG"},
        "servicenow": {"instance_url": "https://x.service-now.com"},
    }
    kind = {"webhook": "slack"}.get(name, name)
    return sender(kind, raw[name], folder, transport=transport)


async def refuse(name: str, folder: Path, transport: httpx2.AsyncBaseTransport) -> DeliveryError:
    """Send a first message and return the error that it meets."""
    the_sender = make(name, folder, transport)
    step = the_sender.plan(wanted())
    assert step is not None
    with pytest.raises(DeliveryError) as raised:
        await the_sender.send(step, wanted())
    for planted in (TOKEN, ROUTING_KEY, WEBHOOK, "planted"):
        assert planted not in f"{raised.value.reason} {raised.value!r}"
    return raised.value


CREATES: tuple[tuple[str, Answer, type[DeliveryError]], ...] = (
    *(("slack", slack_error(code), DestinationRefused) for code in (
        "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope",
        "channel_not_found", "not_in_channel", "is_archived", "restricted_action",
        "restricted_action_read_only_channel", "team_not_found", "ekm_access_denied", "messages_tab_disabled",
    )),
    *(("slack", slack_error(code), Refused) for code in (
        "invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text",
        "too_many_attachments", "invalid_metadata_format", "metadata_too_large", "invalid_arg_name",
        "restricted_action_thread_locked", "a_code_of_next_year",
    )),
    *(("slack", slack_error(code), Transient) for code in (
        "ratelimited", "rate_limited", "message_limit_exceeded", "service_unavailable", "request_timeout",
    )),
    *(("slack", slack_error(code), Unknown) for code in ("internal_error", "fatal_error")),
    ("slack", Answer(429, {"ok": False, "error": "ratelimited"}), Transient),
    ("slack", Answer(500, "oops"), Unknown),
    ("slack", Answer(502, HTML[1]), Unknown),
    ("slack", Answer(503, {"ok": False, "error": "service_unavailable"}), Unknown),
    ("slack", Answer(200, "ok"), Unknown),
    ("slack", Answer(200, ["no", "object"]), Unknown),
    ("slack", Answer(302, "moved", {"location": "https://login.example.com"}), DestinationRefused),
    ("slack", Answer(403, "blocked by policy"), DestinationRefused),
    ("slack", Answer(404, "not found"), DestinationRefused),
    ("slack", Answer(407, "proxy sign-in"), DestinationRefused),
    ("slack", Answer(413, "too large"), Refused),
    ("webhook", Answer(400, "invalid_payload"), Refused),
    ("webhook", Answer(400, "invalid_blocks"), Refused),
    ("webhook", Answer(400, "user_not_found"), DestinationRefused),
    ("webhook", Answer(403, "action_prohibited"), DestinationRefused),
    ("webhook", Answer(403, "invalid_token"), DestinationRefused),
    ("webhook", Answer(404, "no_service"), DestinationRefused),
    ("webhook", Answer(410, "channel_is_archived"), DestinationRefused),
    ("webhook", Answer(500, "rollup_error"), Unknown),
    ("webhook", Answer(429, "rate_limited"), Transient),
    ("webhook", Answer(200, "<html>sign in</html>"), Unknown),
    ("pagerduty", Answer(400, {"status": "invalid event", "errors": ["'payload.severity' is invalid"]}), Refused),
    ("pagerduty", Answer(400, {"status": "invalid event", "errors": ["Invalid routing key"]}), DestinationRefused),
    ("pagerduty", Answer(400, "no json"), Refused),
    ("pagerduty", Answer(413, "too large"), Refused),
    ("pagerduty", Answer(401, {}), DestinationRefused),
    ("pagerduty", Answer(403, {"message": "forbidden"}), DestinationRefused),
    ("pagerduty", Answer(404, "nothing here"), DestinationRefused),
    ("pagerduty", Answer(301, ""), DestinationRefused),
    ("pagerduty", Answer(429, {"message": "too many"}), Transient),
    ("pagerduty", Answer(500, {}), Unknown),
    ("pagerduty", Answer(502, HTML[1]), Unknown),
    ("pagerduty", Answer(200, "a captive portal"), Unknown),
    ("jira", Answer(400, {"errorMessages": [], "errors": {"summary": "too long"}}), Refused),
    ("jira", Answer(400, {"errorMessages": ["Field 'priority' cannot be set."], "errors": {}}), Refused),
    ("jira", Answer(400, {"errors": {"project": "valid project is required"}}), DestinationRefused),
    ("jira", Answer(400, {"errors": {"issuetype": "Specify a valid issue type"}}), DestinationRefused),
    ("jira", Answer(401, {}), DestinationRefused),
    ("jira", Answer(403, "captcha"), DestinationRefused),
    ("jira", Answer(404, {"errorMessages": ["No project could be found"]}), DestinationRefused),
    ("jira", Answer(410, {"errorMessages": ["removed"]}), DestinationRefused),
    ("jira", Answer(302, ""), DestinationRefused),
    ("jira", Answer(413, ""), Refused),
    ("jira", Answer(409, {}), Transient),
    ("jira", Answer(429, {}), Transient),
    ("jira", Answer(503, {}, {"retry-after": "7"}), Transient),
    ("jira", Answer(503, "maintenance"), Unknown),
    ("jira", Answer(500, {}), Unknown),
    ("jira", Answer(502, HTML[1]), Unknown),
    ("jira", Answer(200, "<html>sign in</html>"), Unknown),
    ("servicenow", snow(400, "Exception while reading request"), Refused),
    ("servicenow", snow(400, "Invalid table incidents"), DestinationRefused),
    ("servicenow", snow(401, "User Not Authenticated"), DestinationRefused),
    ("servicenow", snow(403, "User Not Authorized", "no create"), DestinationRefused),
    ("servicenow", snow(403, "Operation Failed", "Data Policy Exception: mandatory: Change"), Refused),
    ("servicenow", snow(403, "Operation Failed", "aborted by Business Rule 'No changes'"), Refused),
    ("servicenow", snow(404, "No Record found"), DestinationRefused),
    ("servicenow", Answer(302, ""), DestinationRefused),
    ("servicenow", Answer(413, ""), Refused),
    ("servicenow", Answer(409, {}), Transient),
    ("servicenow", snow(429, "Rate limit exceeded"), Transient),
    ("servicenow", Answer(503, {}, {"retry-after": "7"}), Transient),
    ("servicenow", Answer(503, "maintenance"), Unknown),
    ("servicenow", Answer(500, {}), Unknown),
    ("servicenow", Answer(502, HTML[1]), Unknown),
    ("servicenow", Answer(200, "<html>Instance Hibernating</html>"), Unknown),
    ("servicenow", Answer(200, ["no", "object"]), Unknown),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "answer", "meaning"),
    CREATES,
    ids=lambda value: value.__name__ if isinstance(value, type) else str(getattr(value, "body", value))[:40],
)
async def test_an_answer_to_a_first_message_means_one_thing(
    name: str, answer: Answer, meaning: type[DeliveryError], tmp_path: Path
) -> None:
    error = await refuse(name, tmp_path, answering(answer))
    assert type(error) is meaning, error.reason
    assert error.status == answer.status
    assert error.reason


@pytest.mark.parametrize("name", ["slack", "webhook", "pagerduty", "jira", "servicenow"])
async def test_the_wait_that_a_vendor_asks_for_is_kept(name: str, tmp_path: Path) -> None:
    error = await refuse(name, tmp_path, answering(Answer(429, {}, {"retry-after": "17"})))
    assert isinstance(error, Transient)
    assert error.retry_after_s == 17


@pytest.mark.parametrize("name", ["slack", "webhook", "pagerduty", "jira", "servicenow"])
@pytest.mark.parametrize(
    ("broken", "meaning"),
    [
        (httpx2.ConnectError("refused"), Transient),
        (httpx2.ConnectTimeout("slow"), Transient),
        (httpx2.ReadTimeout("no answer"), Unknown),
        (httpx2.ReadError("cut"), Unknown),
        (httpx2.RemoteProtocolError("closed"), Unknown),
        (httpx2.WriteError("cut"), Unknown),
    ],
)
async def test_a_broken_connection_is_unknown_unless_nothing_was_sent(
    name: str, broken: Exception, meaning: type[DeliveryError], tmp_path: Path
) -> None:
    assert type(await refuse(name, tmp_path, raising(broken))) is meaning


@pytest.mark.parametrize("name", ["slack", "webhook", "pagerduty"])
async def test_a_missing_secret_parks_the_destination_and_sends_nothing(name: str, tmp_path: Path) -> None:
    sent: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        sent.append(request)
        return httpx2.Response(200)

    the_sender = make(name, tmp_path, httpx2.MockTransport(handle))
    remove_secrets(tmp_path)
    step = the_sender.plan(wanted())
    assert step is not None
    with pytest.raises(DestinationRefused, match="cannot be read"):
        await the_sender.send(step, wanted())
    with pytest.raises(DestinationRefused, match="cannot be read"):
        await the_sender.probe()
    assert not sent


def remove_secrets(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


async def test_jira_names_the_field_that_it_refuses(tmp_path: Path) -> None:
    body = {"errorMessages": ["general"], "errors": {"customfield_10010": "Change is required."}}
    error = await refuse("jira", tmp_path, answering(Answer(400, body)))
    assert error.reason == "HTTP 400: customfield_10010: Change is required.; general"


async def test_servicenow_is_quoted_in_its_own_words(tmp_path: Path) -> None:
    error = await refuse("servicenow", tmp_path, answering(snow(403, "Operation Failed", "mandatory: Change")))
    assert error.reason == "HTTP 403: Operation Failed; mandatory: Change"


@pytest.mark.parametrize("op", ["update", "comment", "resolve", "reopen", "attach"])
async def test_a_servicenow_incident_that_is_not_there_any_more_is_gone(op: str, tmp_path: Path) -> None:
    tickets = make("servicenow", tmp_path, answering(snow(404, "No Record found")))
    root = {"id": "1", "state": "open", "hash": "old", "revision": 1}
    entry = moved(wanted(), Change.WORSE, key="worse")
    file = LogFile("file-1", "a.log", pack("text"))
    steps = {
        "comment": Step("worse", "comment", {"work_notes": "x"}, creates=True),
        "attach": Step("file-1", "attach", {"file_name": "a.log"}, creates=True, extra={"file": file}),
        "update": Step("root", "update", {"description": "x"}),
    }
    step = steps.get(op, Step("root", op, {"state": "6"}))
    with pytest.raises(Gone):
        await tickets.send(step, replace(entry, root=root))


async def test_slack_names_the_scope_that_is_missing(tmp_path: Path) -> None:
    error = await refuse("slack", tmp_path, answering(slack_error("missing_scope", needed="chat:write")))
    assert error.reason == "chat.postMessage: missing scope chat:write"


async def test_slack_says_where_blocks_are_wrong(tmp_path: Path) -> None:
    where = {"messages": ["[ERROR] must be more than 0 characters [json-pointer:/blocks/1/text/text]"]}
    error = await refuse("slack", tmp_path, answering(slack_error("invalid_blocks", response_metadata=where)))
    assert "json-pointer:/blocks/1/text/text" in error.reason


@pytest.mark.parametrize(
    "code",
    ["message_not_found", "edit_window_closed", "cant_update_message", "thread_not_found", "cannot_reply_to_message"],
)
async def test_a_slack_message_that_cannot_be_changed_any_more_is_gone(code: str, tmp_path: Path) -> None:
    chat = make("slack", tmp_path, answering(slack_error(code)))
    state = wanted(root={"channel": "C0123456789", "ts": "1.2", "hash": "old", "revision": 1})
    step = chat.plan(state)
    assert step is not None
    assert step.op == "update"
    with pytest.raises(Gone):
        await chat.send(step, state)


@pytest.mark.parametrize("op", ["update", "comment", "resolve", "reopen"])
async def test_a_jira_ticket_that_is_not_there_any_more_is_gone(op: str, tmp_path: Path) -> None:
    tickets = make("jira", tmp_path, answering(Answer(404, {"errorMessages": ["Issue does not exist"]})))
    root = {"id": "10001", "state": "open", "hash": "old", "revision": 1}
    states = {
        "update": wanted(root=root),
        "reopen": wanted(root={**root, "state": "done"}),
        "comment": moved(wanted(), Change.WORSE, key="worse"),
        "resolve": moved(wanted(), Change.RESOLVED, **FIXED),
    }
    state = states[op]
    if state.root is None:
        state = replace(state, root={**root, "hash": current_hash(tickets, replace(state, root=root))})
    step = tickets.plan(state)
    assert step is not None
    assert step.op == op
    with pytest.raises(Gone):
        await tickets.send(step, state)


def current_hash(the_sender: Sender, state: Any) -> str:
    step = the_sender.plan(state)
    assert step is not None
    assert step.op == "update"
    return step.hash


async def test_a_workflow_without_a_way_to_done_is_told_with_the_transitions_it_offers(tmp_path: Path) -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/transitions"):
            offered = [{"id": "1", "name": "Start", "to": {"statusCategory": {"key": "indeterminate"}}}]
            return httpx2.Response(200, json={"transitions": offered})
        return httpx2.Response(200, json={"fields": {"status": {"statusCategory": {"key": "new"}}}})

    tickets = make("jira", tmp_path, httpx2.MockTransport(handle))
    with pytest.raises(Refused, match="offered: Start"):
        await tickets.send(Step("root", "resolve", {}), wanted(root={"id": "1"}))


async def test_slack_finds_its_channel_by_name_where_history_takes_only_ids(tmp_path: Path) -> None:
    calls: list[tuple[str, Mapping[str, Any]]] = []
    client_id = ""

    def handle(request: httpx2.Request) -> httpx2.Response:
        method = request.url.path.rsplit("/", 1)[-1]
        args = (
            json.loads(request.content)
            if "json" in request.headers["content-type"]
            else dict(httpx2.QueryParams(request.content.decode()))
        )
        calls.append((method, args))
        if method == "conversations.list":
            second = args.get("cursor") == "next"
            channels = (
                [{"id": "C0SECOND001", "name": "payments"}] if second else [{"id": "C0FIRST0001", "name": "other"}]
            )
            more = {} if second else {"response_metadata": {"next_cursor": "next"}}
            return httpx2.Response(200, json={"ok": True, "channels": channels, **more})
        if args["channel"] == "#payments":
            return httpx2.Response(200, json={"ok": False, "error": "channel_not_found"})
        metadata = {"event_type": "mtv_receiver_story", "event_payload": {"client_id": client_id, "revision": 2}}
        return httpx2.Response(200, json={"ok": True, "messages": [{"ts": "9.9"}, {"ts": "1.5", "metadata": metadata}]})

    raw = {"channel": "#payments", "app_token_file": TOKEN}
    chat = sender("slack", raw, tmp_path, transport=httpx2.MockTransport(handle))
    step = chat.plan(wanted())
    assert step is not None
    client_id = step.body["client_msg_id"]
    url = "https://slack.com/archives/C0SECOND001/p15"
    found = {"channel": "C0SECOND001", "ts": "1.5", "hash": "", "revision": 2, "url": url}
    assert await chat.find(step, wanted()) == found
    assert [method for method, _ in calls] == [
        "conversations.history", "conversations.list", "conversations.list", "conversations.history",
    ]  # fmt: skip


async def test_an_incoming_webhook_sends_a_new_message_for_each_audible_change_and_edits_nothing(
    tmp_path: Path,
) -> None:
    sent: list[Any] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        sent.append(json.loads(request.content))
        return httpx2.Response(200, text="ok")

    chat = make("webhook", tmp_path, httpx2.MockTransport(handle))
    steps, state = await deliver(chat, wanted())
    assert steps == ["create"]
    steps, state = await deliver(chat, moved(state, Change.EVIDENCE, key="evidence"))
    assert steps == []
    steps, state = await deliver(chat, moved(state, Change.RESOLVED, key="resolved", **FIXED))
    assert steps == ["create"]
    assert len(sent) == 2
    assert "client_msg_id" not in sent[0]
    assert make_text(sent[1]).startswith("🟢")


def make_text(body: Mapping[str, Any]) -> str:
    return str(body["blocks"][0]["text"]["text"])


@pytest.mark.parametrize(("answer", "alive"), [("no_text", True), ("invalid_payload", True), ("no_service", False)])
async def test_a_webhook_is_probed_without_posting(answer: str, alive: bool, tmp_path: Path) -> None:
    bodies: list[bytes] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        bodies.append(request.content)
        return httpx2.Response(400 if alive else 404, text=answer)

    chat = make("webhook", tmp_path, httpx2.MockTransport(handle))
    if alive:
        await chat.probe()
    else:
        with pytest.raises(DestinationRefused, match="no_service"):
            await chat.probe()
    assert bodies == [b"{}"]
