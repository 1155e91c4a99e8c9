"""GitHub and GitLab under the running service: every fault on issues and comments; repeats; people; days later."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.acceptance.faulty import QUICK, TOP, all_told, config, plan, until_delivery
from tests.acceptance.harness import running
from tests.fakes import faults
from tests.fakes.faults import Fault, Reply
from tests.fakes.vendors import FakeVendors, Rule, SeenRequest, Vendor

pytestmark = pytest.mark.anyio

KINDS: tuple[Vendor, ...] = ("github", "gitlab")
SECONDARY = Reply.json(403, {"message": "You have exceeded a secondary rate limit."}, retry_after="1")
FAULTS: tuple[Fault, ...] = (
    faults.rate_limited(1),
    Fault("secondary rate limit", "no", reply=SECONDARY),
    faults.server_error(),
    faults.server_error_after(),
    faults.html_502(),
    faults.cut(),
    faults.cut_after(),
    faults.cut_then_done(0.4),
    faults.slow(1.4),
    faults.hang_then_done(0.4),
)


def forges(vendors: FakeVendors, folder: Path, extra: str = QUICK) -> str:
    """Return a receiver with one project at each, and write their token."""
    (folder / "forge-token").write_text("planted-forge-token")
    return f"""
- name: platform
  github_configs:
    - {{api_url: '{vendors.base_url}/github/api/v3', repo: acme/migrations, token_file: forge-token{extra}}}
  gitlab_configs:
    - {{url: '{vendors.base_url}/gitlab', project: acme/migrations, token_file: forge-token{extra}}}
"""


def about(number: int) -> Callable[[SeenRequest], object]:
    name = f"plan-{number:03d}".encode()
    return lambda one: name in one.raw


def numbered(vendors: FakeVendors, kind: Vendor, numbers: Sequence[int]) -> dict[int, list[tuple[bool, int, int]]]:
    """Return what there is of each plan: open, comments, and how often it was closed or opened."""
    forge = vendors.github if kind == "github" else vendors.gitlab
    return {
        number: [
            (one.open, len(one.comments if hasattr(one, "comments") else one.notes), len(one.moves))
            for one in forge.issues()
            if f"plan-{number:03d}" in one.title
        ]
        for number in numbers
    }


@pytest.mark.slow
async def test_each_fault_on_issues_comments_and_ends_makes_each_thing_exactly_once(tmp_path: Path) -> None:
    numbers = range(len(FAULTS))
    async with FakeVendors() as vendors:
        rules: list[Rule] = []
        for number, fault in enumerate(FAULTS):
            for kind, comment in (("github", "POST issues/*/comments"), ("gitlab", "POST issues/*/notes")):
                rules.append(vendors.fail(kind, fault, on="POST issues", when=about(number)))  # type: ignore[arg-type]
                rules.append(vendors.fail(kind, fault, on=comment, when=about(number)))  # type: ignore[arg-type]
        async with running(config(vendors, tmp_path, forges(vendors, tmp_path)), vendors) as service:
            await service.post(*map(plan, numbers))
            await all_told(service, "firing", len(numbers), 60)
            await vendors.settle(1.2, 30)
            for kind in KINDS:
                assert numbered(vendors, kind, numbers) == {number: [(True, 0, 0)] for number in numbers}
            closing: list[Rule] = []
            for kind, move in (("github", "PATCH issues/*"), ("gitlab", "PUT issues/*")):
                closing.append(vendors.fail(kind, *FAULTS, on=move))  # type: ignore[arg-type]
            await service.post(*(plan(number, "resolved") for number in numbers))
            await all_told(service, "resolved", len(numbers), 60)
            await vendors.settle(1.2, 30)
            for kind in KINDS:
                assert numbered(vendors, kind, numbers) == {number: [(False, 1, 1)] for number in numbers}
            assert [rule.used for rule in rules] == [1] * len(rules), "not every fault happened"
            assert [rule.remaining for rule in closing] == [0, 0]
        assert vendors.gitlab.commands == []


async def test_five_repeats_of_a_webhook_ask_the_forges_nothing(tmp_path: Path) -> None:
    async with (
        FakeVendors() as vendors,
        running(config(vendors, tmp_path, forges(vendors, tmp_path)), vendors) as service,
    ):
        await service.post(plan(1))
        await all_told(service, "firing", 1)
        await vendors.settle(1.2)
        seen = len(vendors.requests)
        for _ in range(5):
            await service.post(plan(1))
        await service.idle()
        await vendors.settle()
        assert len(vendors.requests) == seen


async def test_a_rate_limited_forge_waits_and_is_not_parked(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        limited = Fault("limited", "no", reply=SECONDARY)
        for kind in KINDS:
            vendors.fail(kind, limited if kind == "github" else faults.rate_limited(1), on="POST issues")
        async with running(config(vendors, tmp_path, forges(vendors, tmp_path)), vendors) as service:
            await service.post(plan(1))
            for kind in KINDS:
                await until_delivery(service, kind, "retrying")
            await all_told(service, "firing", 1)
            assert len(vendors.github.issues()) == len(vendors.gitlab.issues()) == 1


async def test_a_revoked_token_parks_the_forge_and_nothing_is_lost(tmp_path: Path) -> None:
    async with FakeVendors() as vendors:
        vendors.github.revoked.add("planted-forge-token")
        async with running(config(vendors, tmp_path, forges(vendors, tmp_path)), vendors) as service:
            await service.post(plan(1))
            await until_delivery(service, "github", "parked")
            await vendors.until(lambda v: v.gitlab.issues())
            (tmp_path / "forge-token").write_text("a-new-forge-token")
            await vendors.until(lambda v: v.github.issues(), 20)
            await all_told(service, "firing", 1)


async def test_a_plan_that_fails_days_later_opens_its_old_issue_again(tmp_path: Path) -> None:
    top = TOP.replace("resolve_delay: 0s", "resolve_delay: 0s, reopen_within: 1ms")
    async with (
        FakeVendors() as vendors,
        running(config(vendors, tmp_path, forges(vendors, tmp_path), top=top), vendors) as service,
    ):
        for day in (21, 23):
            again = {**plan(1), "startsAt": f"2026-11-{day}T08:00:00Z"}
            await service.post(again)
            await service.until_state("firing")
            await service.idle()
            await service.post({**plan(1, "resolved"), "startsAt": again["startsAt"]})
            await service.until_state("resolved")
            await service.idle()
        for kind in KINDS:
            assert numbered(vendors, kind, [1]) == {1: [(False, 3, 3)]}
        (issue,) = vendors.github.issues()
        assert (await service.stories())[0]["id"] in str(issue.body), "our section is the new story's"
        assert str(issue.body).count("<!-- begin ") == 1
