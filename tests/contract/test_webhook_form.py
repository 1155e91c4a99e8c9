"""What a webhook sends: its stable form, method, headers, and a body of one's own."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from receiver.destinations.webhook_body import KEYS, MAX_BYTES, encode
from receiver.model import Ack, Change, StoryState, Wanted
from tests.contract.examples import EVIDENCE, FIXED, KINDS, OPENED, deliver, moved, story, wanted
from tests.contract.hooks import Made, early, make, planned
from tests.contract.test_sender_bodies import HOSTILE, hostile_story, state

pytestmark = pytest.mark.anyio
__all__ = ["make", "state"]

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "webhook"


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
