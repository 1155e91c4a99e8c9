"""What watches the pages sees what it is there for, and leaves the rest of this process alone."""

from __future__ import annotations

import asyncio

import pytest
from playwright.sync_api import Page

from tests.browser.chromium import Desk, Variant, Visitor, axe, keyboard_walk, overflow, reachable

PATH = "/runbooks/MTVPlanFailed"
# Through the object model: a policy may forbid style attributes.
ADD = """([html, css]) => {
  const main = document.querySelector("main")
  main.insertAdjacentHTML("beforeend", html)
  main.lastElementChild.style.cssText = css
}"""


def add(page: Page, html: str, css: str = "") -> None:
    """Put an element at the end of what a page says."""
    page.evaluate(ADD, [html, css])


def sees(visit: Visitor, page: Page, words: str) -> bool:
    """Await a complaint with these words; no complaint fails this test from now on."""
    found = False
    for _ in range(100):
        found = any(words in one for one in visit.wrong)
        if found:
            break
        page.wait_for_timeout(50)
    visit.wrong.clear()
    return found


@pytest.mark.parametrize("javascript", [True, False])
def test_a_violation_of_the_policy_is_seen(visit: Visitor, javascript: bool) -> None:
    page = visit(PATH, Variant(javascript=javascript))
    add(page, "<img alt='' src='http://127.0.0.1:9/nowhere.png'>")
    assert sees(visit, page, "Content Security Policy")
    page.close()
    visit.wrong.clear()


def test_an_error_on_the_console_and_an_uncaught_one_are_seen(visit: Visitor) -> None:
    page = visit(PATH)
    page.evaluate("console.error('a complaint')")
    assert sees(visit, page, "a complaint")
    page.evaluate("setTimeout(() => { throw new Error('nobody catches this') })")
    assert sees(visit, page, "nobody catches this")


def test_a_request_to_another_origin_is_seen(visit: Visitor) -> None:
    page = visit(PATH)
    page.goto(visit.site.url.replace("127.0.0.1", "localhost") + PATH)
    assert sees(visit, page, "another origin")
    page.close()
    visit.wrong.clear()


def test_a_page_that_is_not_there_may_be_expected(visit: Visitor) -> None:
    assert visit("/stories/nothing", status=404).locator("h1").count() == 1


def test_what_is_too_wide_is_seen(visit: Visitor) -> None:
    page = visit(PATH, Variant(size="phone"))
    assert overflow(page) == 0
    add(page, "<div>wide</div>", "width: 2000px")
    assert overflow(page) > 0


def test_axe_finds_what_cannot_be_read(visit: Visitor) -> None:
    page = visit(PATH, bypass_csp=True)
    add(page, "<p>pale</p>", "color: #bbb; background: #fff")
    add(page, "<button></button>")
    found = " ".join(axe(page))
    assert "color-contrast" in found
    assert "button-name" in found


def test_a_keyboard_sees_what_it_cannot_reach_and_a_focus_that_is_not_shown(visit: Visitor) -> None:
    page = visit(PATH)
    add(page, "<button>plain</button>", "outline: none")
    add(page, "<button tabindex='-1'>out of reach</button>")
    walked = {one.name: one.outlined for one in keyboard_walk(page)}
    assert walked["plain"] is False
    assert "out of reach" not in walked
    assert "button plain" in reachable(page).values()


@pytest.mark.anyio
async def test_other_tests_of_this_process_have_their_own_loop(desk: Desk) -> None:
    assert await asyncio.to_thread(desk.run, lambda: "the browser answers") == "the browser answers"
