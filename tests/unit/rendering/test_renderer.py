"""What every message promises, whatever the story."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from receiver.model import (
    Change,
    DeliveryState,
    Evidence,
    Impact,
    Missing,
    Outcome,
    Story,
    StoryState,
    Told,
    VMCounts,
)
from receiver.rendering import Code, Message, Paragraph, Small, Span, Steps, Table
from receiver.rendering.renderer import StoryRenderer
from receiver.rendering.templates import Templates
from receiver.rendering.text import message_text
from tests import other_stories, stories

EVERY: tuple[Callable[[], Story], ...] = (
    *(stories.story, other_stories.bitlocker, stories.not_recognised, stories.no_evidence, stories.logs_forbidden),
    *(stories.unknown_identity, stories.blocked_plan, stories.still_running, stories.alert_gone, stories.rerunning),
    *(stories.rerunning_read, stories.failed_again, stories.fixed, stories.fixed_unread, stories.canceled),
    *(stories.deleted, stories.cleared, stories.merged, other_stories.other_alert, other_stories.other_cleared),
    *(other_stories.many_vms, other_stories.hostile),
)
SHIPPED = Templates()


def fail(what: str) -> None:
    raise AssertionError(what)


class Broken:
    """Collects what a renderer says was broken."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, what: str) -> None:
        self.seen.append(what)


def strict() -> tuple[StoryRenderer, Broken]:
    broken = Broken()
    return StoryRenderer(SHIPPED, broken), broken


def root(story: Story, kind: str = "slack", content: str = "full", **changes: Any) -> Message:
    renderer, broken = strict()
    message = renderer.root(stories.wanted(story, **changes), kind, content)
    assert broken.seen == []
    return message


def texts(message: Message) -> list[str]:
    found = [message.title, message.push, message.summary, *(link.text for link in message.links)]
    for block in message.blocks:
        match block:
            case Paragraph(text) | Small(text):
                found += [span.text for span in text]
            case Steps(items):
                found += [span.text for item in items for span in item]
            case Code(lines, caption):
                found += [*lines, caption]
            case Table(header, rows):
                found += [cell for row in (header, *rows) for cell in row]
    return found


@pytest.mark.parametrize("content", ["full", "summary", "minimal"])
@pytest.mark.parametrize("kind", ["slack", "pagerduty", "jira"])
@pytest.mark.parametrize("make", EVERY, ids=lambda make: make.__name__)
def test_every_message_is_within_its_sizes_and_free_of_broken_characters(
    make: Callable[[], Story], kind: str, content: str
) -> None:
    message = root(make(), kind, content)

    assert 0 < len(message.title) <= 146
    assert 0 < len(message.push) <= 110
    assert 0 < len(message.summary) <= 200
    assert len(message.blocks) <= 30
    everything = texts(message)
    assert not [text for text in everything if any(ord(char) < 32 or 0xD800 <= ord(char) <= 0xDFFF for char in text)]
    assert not [text for text in everything if any(0xE000 <= ord(char) <= 0xF8FF for char in text)]
    if make is not other_stories.hostile:
        limit = 8_000 if kind == "slack" else 20_000
        assert len(json.dumps(asdict(message), ensure_ascii=False)) < limit


@pytest.mark.parametrize(
    "make", [make for make in EVERY if make is not other_stories.hostile], ids=lambda make: make.__name__
)
def test_a_lock_screen_line_of_an_ordinary_story_is_about_90_characters(make: Callable[[], Story]) -> None:
    assert len(root(make()).push) <= 92


def test_hostile_text_makes_no_link_no_style_and_no_block_of_its_own() -> None:
    tame = root(replace(other_stories.hostile("x"), previous="")).blocks
    wild = root(replace(other_stories.hostile(), previous="")).blocks

    # code spans between backticks are the one style that a text may carry, and it does no harm
    kinds = [type(block) for block in wild]
    assert kinds == [type(block) for block in tame]
    spans = [span for block in wild if isinstance(block, Paragraph | Small) for span in block.text]
    assert [span for span in spans if span.url] == []
    headings = {"Impact:", "Cause", "Do now", other_stories.HOSTILE}
    assert all(span.text in headings for span in spans if span.style == "b" and "channel" not in span.text)


def test_a_link_with_another_scheme_than_http_is_left_out() -> None:
    assert [link.url for link in root(other_stories.hostile()).links if "javascript" in link.url] == []
    assert "https://ok.example.com/" in [link.url for link in root(other_stories.hostile()).links]


def test_300_failed_vms_are_five_rows_and_a_count_of_the_rest() -> None:
    message = root(other_stories.many_vms())

    table = next(block for block in message.blocks if isinstance(block, Table))
    assert len(table.rows) == 5
    assert "and 295 more failed VMs" in message_text(message)
    assert message.title.startswith("300 VMs down · 300 of 305 VMs failed")


def test_an_error_of_5000_characters_is_cut_with_a_mark() -> None:
    evidence = stories.erp_evidence(cause=None, plan_reasons=("e" * 5_000,))

    text = message_text(root(stories.story(evidence=evidence)), width=100_000)

    assert "e" * 299 + "…" in text
    assert "e" * 301 not in text


@pytest.mark.parametrize(
    ("impact", "severity", "mark"),
    [
        (Impact.DOWN, "warning", "🔴"),
        (Impact.UNKNOWN, "critical", "🔴"),
        (Impact.UNKNOWN, "warning", "🟠"),
        (Impact.AT_RISK, "critical", "🟠"),
        (Impact.NONE, "critical", "🟠"),
    ],
)
def test_the_mark_follows_impact_and_only_without_it_severity(impact: Impact, severity: str, mark: str) -> None:
    assert root(stories.story(severity=severity, evidence=stories.erp_evidence(impact=impact))).mark == mark


@pytest.mark.parametrize(
    ("make", "mark"),
    [
        (stories.rerunning, "🔵"),
        (stories.fixed, "🟢"),
        (stories.canceled, "⚪"),
        (stories.deleted, "⚪"),
        (stories.cleared, "⚪"),
    ],
)
def test_the_mark_shows_how_a_story_goes_on_or_ended(make: Callable[[], Story], mark: str) -> None:
    assert root(make()).mark == mark


def test_a_ticket_does_not_change_with_a_quiet_note_or_with_who_is_told() -> None:
    before = root(stories.story(), "jira")

    gone = stories.alert_gone()
    told = stories.story(told=(Told("x", "slack", "y", DeliveryState.DELIVERED),))
    for later in (gone, told, replace(stories.story(), updated=stories.at(23, 0), revision=99)):
        assert root(later, "jira") == before
    assert root(stories.story(), "jira", late_s=4_000.0, reasons=()) == before


def test_a_chat_message_says_that_the_alert_is_gone_though_nothing_was_fixed() -> None:
    assert root(stories.alert_gone()).title == "VM down · alert gone, plan still failed · erp-wave1"


def test_equal_stories_are_equal_messages_whenever_they_are_rendered() -> None:
    assert root(stories.story()) == root(replace(stories.story(), updated=stories.at(8, 30) + timedelta(hours=9)))


def test_a_summary_does_not_change_when_counts_cause_and_steps_do() -> None:
    later = stories.erp_evidence(cause=None, counts=VMCounts(total=9, failed=4, succeeded=5), logs=())

    assert root(stories.story(evidence=later)).summary == root(stories.story()).summary


def test_the_evidence_of_another_run_is_never_the_reason_of_this_one() -> None:
    text = message_text(root(stories.failed_again()))

    assert "Fast Startup" not in text
    assert "virt-v2v" not in text
    assert "fast-startup" not in text


def test_a_rerun_never_tells_people_to_power_on_a_source() -> None:
    text = message_text(root(stories.rerunning()))

    assert "safe way back" not in text
    assert "Do not power on the source" in text


def test_powering_on_comes_first_and_only_with_a_check_where_a_target_vm_may_exist() -> None:
    unsure = replace(stories.erp_evidence().failures[0], target_exists=None)
    message = root(stories.story(evidence=stories.erp_evidence(failures=(unsure,))))

    steps = next(block for block in message.blocks if isinstance(block, Steps))
    assert "Only if no target VM runs: power on" in steps.items[0][0].text
    assert Span("oc get vm -n erp-prod", "c") in steps.items[0]


def test_no_command_is_made_of_a_name_that_a_shell_could_misread() -> None:
    story = stories.story(evidence=None, identity=stories.erp_identity(name="x; rm -rf ~"))

    assert [block for block in root(story).blocks if isinstance(block, Steps)] == []


def test_a_command_too_long_to_be_shown_whole_is_left_out() -> None:
    long = replace(stories.erp_evidence().commands[0], url="oc create " + "x" * 2_000)

    text = message_text(root(stories.story(evidence=stories.erp_evidence(commands=(long,)))))

    assert "oc create" not in text
    assert "command below" not in text


def test_what_is_unknown_is_said_with_its_cure() -> None:
    assert "Not known: logs: forbidden, needs get pods/log in ns erp-prod" in message_text(
        root(stories.logs_forbidden())
    )
    text = message_text(root(stories.unknown_identity()))
    assert "namespace unknown: cluster local does not answer" in text
    assert "erp-wave1" in text


def test_a_destination_that_refuses_is_named_as_not_told() -> None:
    told = (
        Told("payments", "slack", "x", DeliveryState.PARKED),
        Told("oncall", "pagerduty", "y", DeliveryState.RETRYING),
    )

    text = message_text(root(stories.story(told=told)))

    assert "Could not be told: payments/slack, oncall/pagerduty (trying again)" in text


def test_summary_content_holds_no_log_line_and_no_address() -> None:
    evidence = stories.erp_evidence(
        impact_text="host 10.1.2.3 and esx1.dc.example.com and https://vc.example.com/sdk refuse; fe80::1:2 too",
        missing=(Missing("logs", "forbidden at 10.1.2.3:6443", "needs plans.forklift.konveyor.io"),),
    )

    text = message_text(root(stories.story(evidence=evidence), content="summary"))

    assert "read-only" not in text
    for secret in ("10.1.2.3", "esx1", "vc.example.com", "fe80"):
        assert secret not in text
    assert "plans.forklift.konveyor.io" in text


def test_minimal_content_names_no_vm_and_no_cause() -> None:
    message = root(other_stories.bitlocker(), content="minimal")
    text = f"{message.push} {message.summary} {message_text(message)}"

    for said in ("pay-win", "itLocker", "vm-2214", "Windows", "oc create"):
        assert said not in text
    assert "3 of 20 VMs failed" in text
    assert "https://mtv.example.com/stories/01K9ZQ4T7M" in text


def test_a_test_message_says_so_wherever_it_is_seen() -> None:
    message = root(stories.story(test=True))

    assert [text[:6] for text in (message.title, message.push, message.summary)] == ["[TEST]"] * 3


def broken_templates(folder: Path, text: str) -> StoryRenderer:
    (folder / "firing").mkdir()
    (folder / "firing" / "body.j2").write_text(text, encoding="utf-8")
    return StoryRenderer(Templates(folder), fail)


@pytest.mark.parametrize(
    "text",
    [
        "{{ no_such_thing }}",
        "{{ vms[0].nothing }}",
        "{% if %}",
        "{{ name.__class__.__mro__ }}",
        "{{ 1 / 0 }}",
        "{% for a in range(90000) %}{{ name }}{% endfor %}",
        "{{ 'x' * 1000000000 }}",
        "{{ name | reReplaceAll('(', 'x') }}",
        "{% include 'not/there.j2' %}",
    ],
)
def test_a_broken_template_becomes_the_plain_message_and_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "firing").mkdir()
    (tmp_path / "firing" / "body.j2").write_text(text, encoding="utf-8")
    broken = Broken()

    message = StoryRenderer(Templates(tmp_path), broken).root(stories.wanted(), "slack")

    assert message.title == "Migration plan erp-wave1: failed · erp-prod on local"
    assert "1 of 2 VMs failed" in message_text(message)
    assert len(broken.seen) == 1
    assert "firing/body" in broken.seen[0]


def test_a_callback_that_fails_costs_no_message(tmp_path: Path) -> None:
    message = broken_templates(tmp_path, "{{ no_such_thing }}").root(stories.wanted(), "slack")

    assert message.title.startswith("Migration plan erp-wave1")


def test_an_empty_headline_counts_as_broken(tmp_path: Path) -> None:
    (tmp_path / "firing").mkdir()
    (tmp_path / "firing" / "title.j2").write_text("  \n", encoding="utf-8")
    broken = Broken()

    assert StoryRenderer(Templates(tmp_path), broken).root(stories.wanted(), "slack").title
    assert broken.seen == ["message for slack: the template's headline is empty"]


def test_even_a_story_that_is_no_story_becomes_words() -> None:
    broken = Broken()
    nonsense: Any = (None,)

    message = StoryRenderer(SHIPPED, broken).root(stories.wanted(stories.story(alerts=nonsense)), "slack")

    assert message.title == "Migration plan failed"
    assert len(broken.seen) == 1


def test_entries_not_sent_on_their_own_are_folded_into_the_next() -> None:
    renderer, broken = strict()
    entry = stories.entry(Change.WORSE, "severity is critical now", folded=("the alert is gone", "a new run started"))

    text = message_text(renderer.entry(entry, stories.wanted(), "slack"))

    assert "Before that: The alert is gone. A new run started." in text
    assert broken.seen == []


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("kind", ["slack", "pagerduty", "jira"])
def test_every_ending_has_words_as_root_and_as_entry(outcome: Outcome, kind: str) -> None:
    story = stories.ended(outcome, "over")
    renderer, broken = strict()

    message = renderer.root(stories.wanted(story), kind)
    entry = renderer.entry(stories.entry(Change.RESOLVED, "over"), stories.wanted(story), kind)

    assert message.title
    assert entry.title
    assert broken.seen == []


@pytest.mark.parametrize("change", list(Change))
@pytest.mark.parametrize("state", list(StoryState))
def test_every_change_has_words_in_every_state(change: Change, state: StoryState) -> None:
    story = stories.story(state=state, evidence=Evidence())
    renderer, broken = strict()

    assert renderer.entry(stories.entry(change, "it changed"), stories.wanted(story), "slack").title
    assert broken.seen == []
