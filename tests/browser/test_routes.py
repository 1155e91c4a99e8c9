"""The tester of routes in a real browser: with and without scripts it is the same form."""

from __future__ import annotations

import pytest

from tests.browser.chromium import Variant, Visitor, axe, overflow

LABELS = 'alertname="MTVPlanFailed"\nseverity="critical"\nplan_name="<b>loud</b>"'


@pytest.mark.parametrize(
    "variant", [Variant(), Variant(javascript=False), Variant(scheme="dark", size="phone")], ids=str
)
def test_a_pasted_alert_lights_its_path(visit: Visitor, variant: Variant) -> None:
    page = visit("/routes", variant)
    page.get_by_label("Or paste").fill(LABELS)
    page.get_by_label("Owner namespace").fill("mig-payments")
    page.get_by_label("Why not this receiver?").select_option("billing")
    page.get_by_role("button", name="Try", exact=True).click()
    lit = page.locator(".node.lit")
    assert lit.count() == 2
    assert "→ payments" in lit.nth(1).inner_text()
    assert "namespace mig-payments matches none of mig-team-b" in page.locator("main").inner_text()
    assert page.locator(".message.slack .title").first.inner_text().endswith("impact not known")
    assert page.locator("main b", has_text="loud").count() == 0
    assert overflow(page) == 0


def test_the_answer_for_a_stored_alert_can_be_read_by_everybody(visit: Visitor) -> None:
    page = visit("/routes", bypass_csp=True)
    page.get_by_label("A stored alert").select_option(visit.site.stories["open"])
    page.get_by_role("button", name="Try", exact=True).click()
    assert "3 VMs down" in page.locator(".message.slack .title").first.inner_text()
    closed = page.locator("details.preview:not([open]) > summary")
    while closed.count():
        closed.first.click()
    found = axe(page)
    assert not found, "\n".join(found)
