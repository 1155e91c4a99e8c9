"""How pages look and what they say where it matters: in narrow columns, on paper, of a storm, in another time zone."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

import playwright.sync_api as browser
import pytest

from tests.browser.chromium import VARIANTS, Variant, Visitor, keyboard_walk
from tests.browser.night import STORM

PHONE = Variant(size="phone")
BY_WIDTH = "all => all.map(one => one.getBoundingClientRect().width)"
# Of the words that stand in an element: in how many lines each of them is drawn.
LINES_OF_WORDS = """one => {
  const text = one.firstChild, range = document.createRange()
  return [...text.data.matchAll(/\\S+/g)].map(word => {
    range.setStart(text, word.index)
    range.setEnd(text, word.index + word[0].length)
    return new Set([...range.getClientRects()].map(line => Math.round(line.top))).size
  })
}"""


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_long_name_of_a_fact_leaves_room_for_its_value(visit: Visitor, variant: Variant) -> None:
    page = visit(f"/stories/{visit.site.stories['open']}", variant)
    assert page.get_by_text("namespace_annotation_mtv_receiver_io_slack_channel").is_visible()
    widths = page.locator(".facts dd").evaluate_all(BY_WIDTH)
    assert widths
    assert min(widths) >= 6 * 16


def test_the_page_of_a_storm_says_impact_cause_and_what_to_do(visit: Visitor) -> None:
    page = visit(f"/stories/{visit.site.stories['storm']}", PHONE)
    said = page.locator("main").inner_text()
    for wrong in ("impact not known", "Not known yet", "failures at once", "Facts that routes can match"):
        assert wrong not in said
    assert page.locator(".pill", has_text="VM down").first.is_visible()
    assert "6 VMs are down, in 6 of 6 plans." in said
    heads = page.locator(".glance h2").all_inner_texts()
    assert [one.lower() for one in heads] == ["impact", "why", "do now"]
    assert page.locator(".glance").get_by_text("windows-fast-startup").count() >= 1
    assert page.locator("#members th a").all_inner_texts() == [f"mig-shop/{one.name}" for one in STORM]
    first = page.locator(".glance ol a").first
    name = first.inner_text()
    first.click()
    assert name.partition("/")[2] in page.title()


def test_on_paper_a_table_has_its_head(visit: Visitor) -> None:
    page = visit(f"/stories/{visit.site.stories['open']}")
    page.set_viewport_size({"width": 700, "height": 1000})  # about what fits onto A4
    page.emulate_media(media="print")
    head = page.locator("#vm-table thead").bounding_box()
    assert head is not None
    assert head["height"] > 10
    assert (
        page.locator("#vm-table th[scope=row]").first.evaluate("one => getComputedStyle(one).display") == "table-cell"
    )


def test_on_a_phone_every_page_can_be_reached_and_where_one_is_is_seen(visit: Visitor) -> None:
    for path in ("/", "/runbooks/"):
        page = visit(path, PHONE)
        links = page.locator("nav[aria-label=Pages] a")
        assert links.count() == 6
        for link in links.all():
            box = link.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
        current = page.locator("nav a[aria-current]")
        assert current.count() == 1
        assert current.is_visible()


def test_all_times_of_a_page_are_in_one_zone_wherever_its_reader_is(visit: Visitor) -> None:
    path = f"/stories/{visit.site.stories['open']}"
    here, there = visit(path), visit(path, Variant(zone="Europe/Berlin"))
    assert here.locator("main time").all_inner_texts() == there.locator("main time").all_inner_texts()
    assert "UTC" in there.locator(".glance time").first.inner_text()
    assert "Europe/Berlin" in (there.locator("main time").first.get_attribute("title") or "")
    assert re.fullmatch(r"(\d+ \w+ )?\d\d:\d\d:\d\d", there.locator(".timeline time").first.inner_text())


def test_an_address_that_is_not_there_is_answered_with_a_page(visit: Visitor) -> None:
    page = visit("/nowhere", status=404)
    assert page.locator("h1").inner_text() == "Nothing is at /nowhere"
    page.get_by_role("link", name="All stories").click()
    page.locator(".stories").wait_for()


def test_sums_are_sorted_and_lead_to_what_they_count(visit: Visitor) -> None:
    page = visit("/?state=resolved")
    assert page.get_by_role("heading", name="Open, by cause").is_visible()
    for table in page.locator(".tally").all():
        sums = [int(one) for one in table.locator("b").all_inner_texts()]
        assert sums == sorted(sums, reverse=True)
    for name in ("not recognised", "windows-fast-startup"):
        row = page.locator(".tally a", has_text=name)
        number = int(row.locator("b").inner_text())
        row.click()
        plain = page.locator(".stories > .story").filter(has_not=page.locator(".pill", has_text="storm"))
        assert plain.count() == number, name
        page.go_back()


def test_the_header_finds_a_story_that_is_over(visit: Visitor) -> None:
    page = visit("/handover")
    page.locator("#search").fill("crm-wave2")
    page.locator("#search").press("Enter")
    page.wait_for_url("**q=crm-wave2**")
    assert page.locator(".story .name").all_inner_texts() == ["plan mig-erp/crm-wave2"]
    assert page.locator(".chip[aria-current]").inner_text() == "All"


def test_the_filter_form_keeps_what_it_has_no_field_for_and_stays_out_of_the_way(visit: Visitor) -> None:
    page = visit("/?severity=critical&namespace=mig-shop&namespace=mig-erp&cause=windows-fast-startup", PHONE)
    box = page.locator(".stories > .story").first.bounding_box()
    assert box is not None
    assert box["y"] < 500, "a form that stands open takes 600 px"
    page.locator("#filters > summary").click()
    page.get_by_role("textbox", name="Cause").fill("")
    page.get_by_role("button", name="Show").click()
    page.wait_for_function("!location.search.includes('windows')")
    said = [(key, value) for key, value in parse_qsl(urlsplit(page.url).query) if value]
    assert sorted(said) == [("namespace", "mig-erp"), ("namespace", "mig-shop"), ("severity", "critical")]


def test_a_hit_on_a_decisive_line_is_marked_as_both(visit: Visitor) -> None:
    page = visit(f"/stories/{visit.site.stories['open']}/logs/1?find=read+key")
    hit = page.locator("ol.log li.found")
    assert hit.count() == 1
    assert "decisive" in (hit.get_attribute("class") or "")
    assert (hit.text_content() or "").startswith("decisive: found: ")


@pytest.mark.parametrize("variant", [Variant(), PHONE], ids=str)
def test_the_names_of_steps_are_not_broken(visit: Visitor, variant: Variant) -> None:
    page = visit(f"/stories/{visit.site.stories['open']}", variant)
    for step in page.locator(".pipeline strong").all():
        assert step.evaluate(LINES_OF_WORDS) == [1]
    pipeline, table = page.locator(".pipeline").bounding_box(), page.locator("#vm-table").bounding_box()
    assert pipeline is not None
    assert table is not None
    assert table["y"] - pipeline["y"] - pipeline["height"] >= 8


@pytest.mark.parametrize("path", ["/deliveries", "/handover"])
def test_names_of_destinations_are_not_broken(visit: Visitor, path: str) -> None:
    page = visit(path)
    name = page.locator("#destinations, #untold").get_by_role("link", name="storage/slack")
    box = name.bounding_box()
    assert box is not None
    assert box["height"] < 30


def test_what_was_not_told_says_who_knows_it_and_leads_to_its_deliveries(visit: Visitor) -> None:
    page = visit("/handover")
    for destination in ("storage/slack", "network/slack"):
        row = page.locator("#untold tr", has_text=destination)
        assert "others were told in its place" in row.inner_text()
        assert "Slack answered" in row.inner_text()
    storm = page.locator("#open tr", has_text="told as one")
    assert "6 of 36" in storm.inner_text()
    assert "Windows Fast Startup" in storm.inner_text()
    page.get_by_role("link", name="storage/slack").click()
    assert page.locator(".ledger > .story").count() == 1


def test_the_list_says_who_was_not_told(visit: Visitor) -> None:
    page = visit("/")
    row = page.locator(f"#story-{visit.site.stories['parked']}")
    assert "told platform · not told storage" in row.inner_text()


def test_the_ledger_says_what_slack_answered_and_no_red_number_stands_beside_working(visit: Visitor) -> None:
    page = visit("/deliveries")
    assert page.get_by_text("Slack answered is_archived: the channel is archived").first.is_visible()
    row = page.locator("#in-trouble tr", has_text="network/slack")
    assert "refuses" in row.inner_text()
    assert "working" not in row.inner_text()


def test_a_wish_that_is_allowed_is_not_called_told(visit: Visitor) -> None:
    page = visit("/routes")
    asked = page.get_by_role("row", name=re.compile("mig-payments.*war-room"))
    assert asked.locator(".pill").inner_text() == "allowed"


def test_the_runs_of_a_plan_that_runs_again_are_both_there(visit: Visitor) -> None:
    page = visit(f"/stories/{visit.site.stories['rerunning']}")
    said = page.locator("#runs").inner_text()
    assert "goes on Run 2" in said
    assert "failed Run 1 (erp-wave1-run1)" in said


def test_the_timeline_is_english(visit: Visitor) -> None:
    page = visit(f"/stories/{visit.site.stories['open']}")
    said = page.locator("#timeline").inner_text()
    for words in ("payments/slack: message created", "payments/slack: log attached", "payments/jira: ticket created"):
        assert words in said


def test_a_log_ends_where_it_ends(visit: Visitor) -> None:
    page = visit(f"/stories/{visit.site.stories['open']}/logs/1", PHONE)
    whole: float = page.evaluate("document.documentElement.scrollHeight")
    footer = page.locator("footer").bounding_box()
    assert footer is not None
    assert whole - footer["y"] - footer["height"] < 100


def test_a_keyboard_reaches_everything_on_a_dark_phone(visit: Visitor) -> None:
    page: browser.Page = visit(f"/stories/{visit.site.stories['storm']}", Variant("dark", "phone"))
    walked = keyboard_walk(page)
    assert walked
    assert [one for one in walked if not (one.outlined and one.shown)] == []
