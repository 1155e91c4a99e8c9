"""`images` and `links` of PagerDuty: templates beside our own links; what comes out as no address is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog

from receiver.destinations import Sender
from receiver.model import Wanted
from tests.contract.examples import ROUTING_KEY, sender, wanted
from tests.contract.test_digest_goldens import DIGESTS
from tests.contract.vendor_schemas import check_pagerduty

GRAPH = "https://graphs.example.com"
OURS = ["Story", "Runbook"]


def pager(folder: Path, images: Any = (), links: Any = (), **common: Any) -> Sender:
    raw = {"routing_key_file": ROUTING_KEY, "images": images, "links": links}
    return sender("pagerduty", raw, folder, **common)


def event(one: Sender, state: Wanted) -> dict[str, Any]:
    """Return the event that is sent, which is as PagerDuty describes it."""
    step = one.plan(state)
    assert step is not None
    check_pagerduty({"routing_key": ROUTING_KEY, **step.body})
    return dict(step.body)


def texts(body: dict[str, Any]) -> list[str]:
    return [each["text"] for each in body.get("links", [])]


def test_without_them_an_event_has_our_links_and_no_images(tmp_path: Path) -> None:
    body = event(pager(tmp_path), wanted())
    assert texts(body) == OURS
    assert "images" not in body


def test_they_are_templates_over_the_story_and_come_after_our_own(tmp_path: Path) -> None:
    images = [{"src": GRAPH + "/{{ name }}.png", "href": GRAPH + "/d/{{ name }}", "alt": "load of {{ name }}"}]
    links = [{"href": GRAPH + "/d?ns={{ namespace | urlencode }}&a=1", "text": "Graphs of {{ alert_labels.cluster }}"}]
    body = event(pager(tmp_path, images, links), wanted())
    assert body["images"] == [
        {"src": f"{GRAPH}/pay-w17-03.png", "href": f"{GRAPH}/d/pay-w17-03", "alt": "load of pay-w17-03"}
    ]
    assert texts(body) == [*OURS, "Graphs of ocp-prod-2"]
    assert body["links"][-1]["href"] == f"{GRAPH}/d?ns=payments-prod&a=1"


def test_a_link_without_a_text_shows_its_address_and_ours_are_not_repeated(tmp_path: Path) -> None:
    ours = event(pager(tmp_path), wanted())["links"][1]["href"]
    links = [{"href": ours, "text": "again"}, {"href": GRAPH}, {"href": GRAPH, "text": "twice"}]
    assert texts(event(pager(tmp_path, links=links), wanted())) == [*OURS, GRAPH]


@pytest.mark.parametrize(
    "source",
    [
        "{{ annotations.dashboard }}",  # no such annotation
        "{% if name == 'other' %}https://x.example{% endif %}",  # empty
        "{{ name }}",  # no address
        "{{ 'http' }}://[broken",
        "https://x.example/{{ 'a b' }}",  # a blank
        "https://x.example/{{ 'a' * 3000 }}",  # too long
        "{{ 1 // 0 }}",  # breaks when it is run
        "{{ 'javascript:alert(1)' }}",
        "{{ 'mailto:x@example.com' }}",
    ],
)
def test_an_address_that_comes_out_as_none_leaves_its_entry_out(source: str, tmp_path: Path) -> None:
    images = [{"src": source, "alt": "x"}, {"src": GRAPH, "href": source}]
    body = event(pager(tmp_path, images, [{"href": source, "text": "x"}]), wanted())
    assert texts(body) == OURS
    assert body["images"] == [{"src": GRAPH}]


def test_images_come_from_https_only_and_links_may_be_http(tmp_path: Path) -> None:
    source = "{{ 'http' }}://x.example/a.png"
    body = event(pager(tmp_path, [{"src": source}], [{"href": source, "text": "plain"}]), wanted())
    assert "images" not in body
    assert texts(body) == [*OURS, "plain"]


def test_a_text_that_breaks_leaves_its_entry_with_its_address(tmp_path: Path) -> None:
    broken = "{{ 1 // 0 }}"
    with structlog.testing.capture_logs() as logs:
        body = event(pager(tmp_path, [{"src": GRAPH, "alt": broken}], [{"href": GRAPH, "text": broken}]), wanted())
    assert body["images"] == [{"src": GRAPH}]
    assert texts(body) == [*OURS, GRAPH]
    assert {(one["event"], one["template"]) for one in logs} == {("pagerduty.left_out", broken)}


def test_minimal_content_gives_templates_no_name(tmp_path: Path) -> None:
    links = [{"href": GRAPH + "/{{ name }}{{ alert_labels.cluster }}", "text": "{{ namespace }}"}, {"href": GRAPH}]
    body = event(pager(tmp_path, links=links, content="minimal"), wanted())
    assert "pay-w17-03" not in str(body["links"])
    assert texts(body)[-1] == GRAPH


def test_the_plain_form_has_none_of_them(tmp_path: Path) -> None:
    body = event(pager(tmp_path, [{"src": GRAPH}], [{"href": GRAPH, "text": "mine"}]), wanted(plain=True))
    assert "images" not in body
    assert "mine" not in texts(body)


@pytest.mark.parametrize("digest", DIGESTS)
def test_a_storm_has_them_too(digest: str, tmp_path: Path) -> None:
    one = pager(tmp_path, [{"src": GRAPH}], [{"href": GRAPH, "text": "mine"}])
    if one.plan(DIGESTS[digest]) is None:
        return  # over, and nothing was told
    body = event(one, DIGESTS[digest])
    assert body["images"] == [{"src": GRAPH}]
    assert texts(body)[-1] == "mine"


def test_what_was_sent_once_is_not_sent_again_for_them(tmp_path: Path) -> None:
    one = pager(tmp_path, [{"src": GRAPH + "/{{ name }}"}], [{"href": GRAPH, "text": "x"}])
    step = one.plan(wanted())
    assert step is not None
    assert one.plan(wanted(root=step.extra["receipt"])) is None
