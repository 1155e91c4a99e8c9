"""Every page of the table in a real browser: light and dark, on a desk, on a phone, by keyboard, without scripts."""

from __future__ import annotations

import re

import playwright.sync_api as browser
import pytest

from tests.browser.chromium import VARIANTS, Variant, Visitor, axe, keyboard_walk, overflow, reachable
from tests.browser.pages import PAGES, Page

# What scripts may add: times as the reader's clock has them, something to press or to type into, how things go.
COMFORT = "time, button, label, input, select, textarea, noscript, [role=status], [data-live-status]"
every_page = pytest.mark.parametrize("page", PAGES, ids=str)


def text(shown: browser.Page) -> str:
    """Return what a page says, without what scripts may add and without numbers: "12 s ago" is soon "13 s ago"."""
    shown.evaluate("which => document.querySelectorAll(which).forEach(one => one.remove())", COMFORT)
    return " ".join(re.sub(r"\d+", "0", shown.locator("main").inner_text()).split())


@every_page
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_page_has_its_landmarks_and_fits(visit: Visitor, page: Page, variant: Variant) -> None:
    shown = visit(page.path(visit.site), variant)
    assert shown.locator("html").get_attribute("lang")
    assert shown.title().strip()
    assert shown.locator("h1").count() == 1
    assert shown.locator("main").count() == 1
    assert shown.locator("main h1").is_visible()
    assert overflow(shown) == 0


@every_page
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_page_can_be_read_by_everybody(visit: Visitor, page: Page, variant: Variant) -> None:
    found = axe(visit(page.path(visit.site), variant, bypass_csp=True))
    assert not found, "\n".join(found)


@every_page
def test_a_page_says_the_same_without_scripts(visit: Visitor, page: Page) -> None:
    said = []
    for javascript in (True, False):
        shown = visit(page.path(visit.site), Variant(javascript=javascript))
        said.append((shown.locator("h1").inner_text(), text(shown)))
    assert said[0] == said[1]
    assert all(said[0])


@every_page
def test_a_keyboard_reaches_everything_and_shows_where_it_is(visit: Visitor, page: Page) -> None:
    shown = visit(page.path(visit.site))
    walked = keyboard_walk(shown)
    assert [one for one in walked if not (one.outlined and one.shown)] == []
    reached = {one.number for one in walked}
    assert [name for number, name in reachable(shown).items() if number not in reached] == []
