"""What people do on the pages with a real browser, what they hear without asking, and what a log cannot do to them."""

from __future__ import annotations

import json
import urllib.request

from tests.browser.chromium import Variant, Visitor


def test_news_of_a_story_come_to_the_open_list_and_to_its_open_page(visit: Visitor) -> None:
    story = visit.site.stories["autopilot"]
    listed, page = visit("/"), visit(f"/stories/{story}")
    listed.get_by_text("live", exact=True).wait_for()
    asked = urllib.request.Request(
        f"{visit.site.url}/api/v1/stories/{story}/acknowledge",
        json.dumps({"by": "Ana Costa"}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:
        assert json.load(answer)["done"] is True
    listed.locator(f"#story-{story}").get_by_text("taken by Ana Costa").wait_for()
    page.get_by_text("taken by Ana Costa").wait_for()


def test_who_types_a_note_is_not_disturbed_by_news(visit: Visitor) -> None:
    page = visit(f"/stories/{visit.site.stories['stuck']}")
    page.get_by_text("I take it", exact=True).first.click()
    page.get_by_label("Note for the others").fill("moving it to south")
    page.get_by_role("button", name="I take it").click()
    page.locator(".notice", has_text="has it now").wait_for()
    assert page.get_by_text("moving it to south").count() >= 1


def test_what_could_not_be_told_is_tried_again_from_the_page_without_scripts(visit: Visitor) -> None:
    page = visit("/deliveries?state=dead", Variant(javascript=False))
    page.get_by_role("button", name="Retry").first.click()
    page.locator("[role=status], .notice").first.wait_for()
    assert "retried=1" in page.url


def test_a_log_stays_text(visit: Visitor) -> None:
    story = visit.site.stories["parked"]
    for path in (f"/stories/{story}", f"/stories/{story}/logs/1"):
        page = visit(path)
        assert "owned" not in page.title()
        assert page.locator("main img, main script").count() == 0
        line = page.locator("ol.log li", has_text="<script>").first
        assert "<img src=x onerror=" in line.inner_text()
        assert page.locator("footer").count() == 1  # what the log closes is not ours


def test_a_line_of_a_log_can_be_linked(visit: Visitor) -> None:
    page = visit(f"/stories/{visit.site.stories['open']}/logs/1?find=error")
    page.locator("p[role=status] a").first.click()
    number = page.url.rpartition("#L")[2]
    assert page.locator("li:target").get_attribute("value") == number


def test_the_search_finds_a_story_by_a_vm(visit: Visitor) -> None:
    page = visit("/?state=all")
    page.locator("#search").fill("pay-win-app05")
    page.locator("#search").press("Enter")
    page.wait_for_url("**q=pay-win-app05**")
    assert page.locator(".story").count() == 1
