"""What people do on the pages with a real browser, what they hear without asking, and what a log cannot do to them."""

from __future__ import annotations

import json
import urllib.request

from tests.browser.chromium import Variant, Visitor


def acknowledge(visit: Visitor, story: str, by: str) -> None:
    asked = urllib.request.Request(
        f"{visit.site.url}/api/v1/stories/{story}/acknowledge",
        json.dumps({"by": by}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:
        assert json.load(answer)["done"] is True


def test_news_of_a_story_come_to_the_open_list_and_to_its_open_page(visit: Visitor) -> None:
    story = visit.site.stories["autopilot"]
    listed, page = visit("/"), visit(f"/stories/{story}")
    listed.get_by_text("live", exact=True).wait_for()
    acknowledge(visit, story, "Ana Costa")
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


def test_an_open_page_catches_up_once_its_reader_no_longer_types(visit: Visitor) -> None:
    story = visit.site.stories["open"]
    page = visit(f"/stories/{story}")
    page.get_by_text("I take it", exact=True).first.click()
    note = page.get_by_label("Note for the others")
    note.focus()
    acknowledge(visit, story, "Bo Lind")
    page.get_by_text("There is news").wait_for()
    assert page.get_by_text("taken by Bo Lind").count() == 0, "nothing changes under who types"
    note.blur()
    page.get_by_text("taken by Bo Lind").wait_for()
    assert page.get_by_text("There is news").count() == 0

    note.evaluate("one => { one.closest('details').setAttribute('open', '') }")
    note.fill("not sent yet")
    note.blur()
    acknowledge(visit, story, "Cy Moss")
    link = page.get_by_role("link", name="reload to see it")
    link.wait_for()
    page.wait_for_timeout(1_500)
    assert note.input_value() == "not sent yet"
    link.click()
    page.get_by_text("taken by Cy Moss").wait_for()


def test_what_is_older_than_the_first_line_does_not_come_as_new(visit: Visitor) -> None:
    listed = visit("/")
    listed.get_by_text("live", exact=True).wait_for()
    ids = listed.eval_on_selector_all(".stories > .story", "rows => rows.map((one) => one.id)")
    first, last = ids[0], ids[-1]
    listed.evaluate("id => document.getElementById(id).remove()", last)  # as if it stood on a later page
    acknowledge(visit, last.removeprefix("story-"), "Di Park")
    acknowledge(visit, first.removeprefix("story-"), "Di Park")
    listed.locator(f"#{first}").get_by_text("taken by Di Park").wait_for()
    listed.wait_for_timeout(1_500)
    assert listed.locator(f"#{last}").count() == 0
    assert listed.eval_on_selector(".stories > .story", "one => one.id") == first
    listed.evaluate("id => document.getElementById(id).remove()", first)
    acknowledge(visit, first.removeprefix("story-"), "Ed Roe")
    listed.locator(f"#{first}.new").wait_for()
    assert listed.eval_on_selector(".stories > .story", "one => one.id") == first


STREAM = """
  window.streams = [];
  window.EventSource = class extends EventTarget {
    constructor(address) { super(); window.streams.push(this); }
    close() {}
  };
"""
NEWS = "() => window.streams[0].dispatchEvent(new MessageEvent('reload', {data: '{}'}))"


def test_a_page_is_not_loaded_again_under_who_types(visit: Visitor) -> None:
    page = visit("/")
    page.add_init_script(STREAM)
    page.reload()
    page.evaluate("window.mark = 1")
    search = page.locator("#search")
    search.focus()
    page.evaluate(NEWS)
    page.get_by_role("link", name="reload to see it").wait_for()
    search.fill("pay-win")
    search.blur()
    page.wait_for_timeout(1_500)
    assert page.evaluate("window.mark") == 1, "what was not sent would be lost"
    assert search.input_value() == "pay-win"
    with page.expect_event("load"):
        search.fill("")
        search.blur()
    assert page.evaluate("window.mark") is None

    with page.expect_event("load"):
        page.evaluate(NEWS)
