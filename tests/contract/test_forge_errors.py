"""What the refusals of GitHub and GitLab mean: what is tried again, what is looked for, what is given up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from receiver.destinations import Sender, Step
from receiver.errors import DeliveryError, DestinationRefused, Gone, Refused, Transient, Unknown
from tests.contract.examples import sender, wanted
from tests.contract.forge_making import logs

pytestmark = pytest.mark.anyio

KINDS = ("github", "gitlab")
RAW: Mapping[str, Mapping[str, str]] = {
    "github": {"repo": "acme/migrations", "token_file": "planted"},
    "gitlab": {"project": "acme/migrations", "token_file": "planted"},
}
DATE = {"date": "Sat, 21 Nov 2026 03:00:00 GMT"}
RESET = "1795230090"  # 90 s after DATE
LONG = {"message": "Validation Failed", "errors": [{"message": "body is too long (maximum is 65536 characters)"}]}
NO_ACCESS = {"message": "Resource not accessible by personal access token"}
SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}

ANSWERS: tuple[tuple[str, int, Any, Mapping[str, str], type[DeliveryError]], ...] = (
    ("github", 401, {"message": "Bad credentials"}, {}, DestinationRefused),
    ("github", 403, NO_ACCESS, {}, DestinationRefused),
    ("github", 403, NO_ACCESS, {"x-ratelimit-remaining": "4711"}, DestinationRefused),
    ("github", 403, SECONDARY, {}, Transient),
    ("github", 403, {"message": "wait"}, {"retry-after": "30"}, Transient),
    ("github", 403, {"message": "API rate limit exceeded"}, {"x-ratelimit-remaining": "0"}, Transient),
    ("github", 429, SECONDARY, {}, Transient),
    ("github", 404, {"message": "Not Found"}, {}, DestinationRefused),
    ("github", 410, {"message": "Issues has been disabled in this repository."}, {}, DestinationRefused),
    ("github", 301, {"message": "Moved Permanently"}, {"location": "https://x"}, DestinationRefused),
    ("github", 422, LONG, {}, Refused),
    ("github", 413, "too large", {}, Refused),
    ("github", 500, {}, {}, Unknown),
    ("github", 502, "<html>Bad Gateway</html>", {}, Unknown),
    ("github", 503, "maintenance", {}, Unknown),
    ("github", 503, {}, {"retry-after": "7"}, Transient),
    ("github", 200, "<html>sign in</html>", {}, Unknown),
    ("gitlab", 401, {"message": "401 Unauthorized"}, {}, DestinationRefused),
    ("gitlab", 403, {"message": "403 Forbidden"}, {}, DestinationRefused),
    ("gitlab", 404, {"message": "404 Project Not Found"}, {}, DestinationRefused),
    ("gitlab", 302, "", {"location": "https://sso"}, DestinationRefused),
    ("gitlab", 400, {"message": {"title": ["is too long (maximum is 255 characters)"]}}, {}, Refused),
    ("gitlab", 422, {"message": "unprocessable"}, {}, Refused),
    ("gitlab", 413, {"message": "413 Request Entity Too Large"}, {}, Refused),
    ("gitlab", 409, {"message": "conflict"}, {}, Transient),
    ("gitlab", 429, "Retry later", {}, Transient),
    ("gitlab", 403, "Retry later", {"retry-after": "60"}, Transient),
    ("gitlab", 503, {}, {"retry-after": "7"}, Transient),
    ("gitlab", 500, {"message": "500 Internal Server Error"}, {}, Unknown),
    ("gitlab", 502, "<html>GitLab is not responding</html>", {}, Unknown),
    ("gitlab", 200, "<html>sign in</html>", {}, Unknown),
)


def answer(status: int, body: Any, headers: Mapping[str, str]) -> httpx2.Response:
    if isinstance(body, str):
        return httpx2.Response(status, text=body, headers=dict(headers))
    return httpx2.Response(status, json=body, headers=dict(headers))


def make(kind: str, folder: Path, response: httpx2.Response | Exception) -> Sender:
    def handle(request: httpx2.Request) -> httpx2.Response:
        if isinstance(response, Exception):
            raise response
        return response

    return sender(kind, RAW[kind], folder, transport=httpx2.MockTransport(handle))


async def refuse(kind: str, folder: Path, response: httpx2.Response | Exception) -> DeliveryError:
    """Send a first message and return the error that it meets."""
    the_sender = make(kind, folder, response)
    step = the_sender.plan(wanted())
    assert step is not None
    with pytest.raises(DeliveryError) as raised:
        await the_sender.send(step, wanted())
    assert "planted" not in f"{raised.value.reason} {raised.value!r}"
    return raised.value


@pytest.mark.parametrize(("kind", "status", "body", "headers", "meaning"), ANSWERS)
async def test_an_answer_to_a_new_issue_means_one_thing(
    kind: str, status: int, body: Any, headers: Mapping[str, str], meaning: type[DeliveryError], tmp_path: Path
) -> None:
    error = await refuse(kind, tmp_path, answer(status, body, headers))
    assert type(error) is meaning, error.reason
    assert error.status == status


@pytest.mark.parametrize(
    ("kind", "status", "body", "headers", "wait_s"),
    [
        ("github", 403, SECONDARY, {}, 60),
        ("github", 403, SECONDARY, {"retry-after": "30"}, 30),
        ("github", 429, SECONDARY, {"retry-after": "0"}, 0),
        ("github", 403, {}, {**DATE, "x-ratelimit-remaining": "0", "x-ratelimit-reset": RESET}, 90),
        ("github", 429, {}, {**DATE, "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, 1),
        ("github", 429, {}, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, 60),
        ("gitlab", 429, "Retry later", {"retry-after": "41"}, 41),
        ("gitlab", 429, "Retry later", {**DATE, "ratelimit-reset": RESET}, 90),
        ("gitlab", 429, "Retry later", {}, 60),
    ],
)
async def test_the_wait_is_the_one_that_is_asked_for(
    kind: str, status: int, body: Any, headers: Mapping[str, str], wait_s: float, tmp_path: Path
) -> None:
    error = await refuse(kind, tmp_path, answer(status, body, headers))
    assert isinstance(error, Transient)
    assert error.retry_after_s == wait_s


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("github", LONG, "Validation Failed; body is too long (maximum is 65536 characters)"),
        (
            "github",
            {"message": "Validation Failed", "errors": [{"field": "assignees", "code": "invalid"}, "as text"]},
            "Validation Failed; assignees invalid; as text",
        ),
        ("gitlab", {"message": {"title": ["can't be blank", "is bad"]}}, "title: can't be blank, is bad"),
        ("gitlab", {"error": "title is missing"}, "title is missing"),
        ("gitlab", "no json", ""),
    ],
)
async def test_the_vendors_own_words_are_told(kind: str, body: Any, said: str, tmp_path: Path) -> None:
    error = await refuse(kind, tmp_path, answer(422, body, {}))
    assert error.reason == (f"HTTP 422: {said}" if said else "HTTP 422")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("broken", "meaning"),
    [
        (httpx2.ConnectError("refused"), Transient),
        (httpx2.ConnectTimeout("slow"), Transient),
        (httpx2.ReadTimeout("no answer"), Unknown),
        (httpx2.RemoteProtocolError("closed"), Unknown),
        (httpx2.WriteError("cut"), Unknown),
    ],
)
async def test_a_broken_connection_is_unknown_unless_nothing_was_sent(
    kind: str, broken: Exception, meaning: type[DeliveryError], tmp_path: Path
) -> None:
    assert type(await refuse(kind, tmp_path, broken)) is meaning


@pytest.mark.parametrize("kind", KINDS)
async def test_a_missing_token_parks_the_destination_and_sends_nothing(kind: str, tmp_path: Path) -> None:
    the_sender = make(kind, tmp_path, AssertionError("a request was sent"))
    (tmp_path / "token_file").unlink()
    step = the_sender.plan(wanted())
    assert step is not None
    with pytest.raises(DestinationRefused, match="cannot be read"):
        await the_sender.send(step, wanted())
    with pytest.raises(DestinationRefused, match="cannot be read"):
        await the_sender.probe()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("op", ["update", "comment", "resolve", "reopen", "look", "attach"])
@pytest.mark.parametrize("project", [200, 404])
async def test_a_missing_issue_is_gone_only_where_its_project_is_there(
    kind: str, op: str, project: int, tmp_path: Path
) -> None:
    def handle(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/uploads"):
            return httpx2.Response(201, json={"url": "/uploads/a/x.log"})
        status = 404 if "/issues/" in request.url.path else project
        return httpx2.Response(status, json={"message": "Not Found"})

    the_sender = sender(kind, RAW[kind], tmp_path, transport=httpx2.MockTransport(handle))
    state = wanted(root={"id": "7", "state": "open"})
    part, body = "root", {"section": "x", "body": "x"}
    if op == "attach":
        state = logs(1)
        root = {"id": "7", "state": "open", "revision": 9, "hash": ""}
        step = the_sender.plan(wanted(state.story, root=root))
        assert step is not None
        state = wanted(state.story, root={**root, "hash": step.hash})
        attach = the_sender.plan(state)
        assert attach is not None
        part = attach.part
    with pytest.raises(Gone if project == 200 else DestinationRefused):
        await the_sender.send(Step(part, op, body), state)
