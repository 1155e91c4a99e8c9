"""What the page of a story is made of: numbers of log lines, logs alike, the timeline, the spreadsheet."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from receiver.keeping import pack
from receiver.model import (
    Change,
    Evidence,
    LogExcerpt,
    Outcome,
    PlanPhase,
    Reason,
    Story,
    StoryState,
    TimelineEntry,
    VMCounts,
    VMFailure,
)
from receiver.store.attempts import Attempt
from receiver.store.presses import Press
from receiver.web.pages.site import codes
from receiver.web.pages.story import vms_csv
from receiver.web.pages.story_parts import (
    Tellings,
    later_run,
    logs_of,
    parts_of,
    pipeline_of,
    timeline_of,
    vms_of,
    whole_log,
)
from tests.unit.test_verdict import row as delivery_row

AT = datetime(2026, 11, 21, 21, 19, 40, tzinfo=UTC)
WRAPPED = [
    "virt-v2v: error: filesystem was mounted read-only, even though we asked for it ",
    "to be mounted read-write. Possible causes include Fast Startup.",
]
LINES = ["one", "two", *WRAPPED, "five", "Error executing v2v command: exit status 1"]
LOG = LogExcerpt(
    "app-01", "target", "pod-1", "virt-v2v",
    (f"{WRAPPED[0]}{WRAPPED[1]}", "Error executing v2v command: exit status 1 (repeated 3 times)"),
    read_lines=106, kept=pack("\n".join(LINES)),
)  # fmt: skip


def story(evidence: Evidence | None = None, *changes: TimelineEntry) -> Story:
    return Story(
        id="01K", subject="plan/u", kind="plan", state=StoryState.FIRING, revision=1, severity="critical",
        title="plan a/b", opened=AT, updated=AT, evidence=evidence, timeline=changes,
    )  # fmt: skip


def test_decisive_lines_have_the_numbers_that_they_have_in_the_log_also_where_they_were_wrapped() -> None:
    (log,) = logs_of(Evidence(logs=(LOG,)))
    assert log.numbers == (103, 106)
    assert log.glance[0].startswith("virt-v2v: error")
    whole = whole_log(Evidence(logs=(LOG,)), 1)
    assert whole is not None
    assert (whole.first, whole.decisive) == (101, {2, 3, 5})
    assert whole.file == "app-01-virt-v2v.log"


def test_a_line_that_was_cut_is_found_by_its_beginning() -> None:
    long = "fatal: " + "x" * 500
    cut = replace(LOG, lines=(f"{long[:300]}… (207 more characters)",), kept=pack(f"a\n{long}\nb"), read_lines=3)
    (log,) = logs_of(Evidence(logs=(cut,)))
    assert log.numbers == (2,)


def test_without_the_kept_log_no_number_is_invented() -> None:
    (log,) = logs_of(Evidence(logs=(replace(LOG, kept=""),)))
    assert log.numbers == ()
    whole = whole_log(Evidence(logs=(replace(LOG, kept=""),)), 1)
    assert whole is not None
    assert len(whole.lines) == 2


@pytest.mark.parametrize("number", [0, 2, 99])
def test_there_is_no_log_of_another_number(number: int) -> None:
    assert whole_log(Evidence(logs=(LOG,)), number) is None


def test_logs_that_say_the_same_are_one_with_links_to_the_others() -> None:
    other, third = replace(LOG, vm="app-02"), replace(LOG, vm="app-03", lines=("something else",))
    first, last = logs_of(Evidence(logs=(LOG, other, third)))
    assert first.like == ((2, "app-02 · virt-v2v"),)
    assert (last.number, last.like) == (3, ())


def test_a_terminals_colours_and_reordering_marks_are_gone() -> None:
    evil = replace(LOG, lines=("\x1b[31mred\x1b[0m \u202egnp.exe",), kept=pack("\x1b[31mred\x1b[0m \u202egnp.exe"))
    whole = whole_log(Evidence(logs=(evil,)), 1)
    assert whole is not None
    assert whole.lines == ("red gnp.exe",)


def test_the_pipeline_is_drawn_with_the_steps_of_its_kind_and_where_vms_failed() -> None:
    failures = (VMFailure("1", "a", step="DiskTransferV2v"), VMFailure("2", "b", step="DiskTransferV2v"))
    steps = pipeline_of(Evidence(mode="cold", failures=failures))
    assert [(one.name, one.failed) for one in steps] == [
        ("Initialize", 0), ("DiskTransfer", 0), ("ImageConversion", 0), ("DiskTransferV2v", 2),
        ("VirtualMachineCreation", 0),
    ]  # fmt: skip
    assert [one.name for one in pipeline_of(Evidence(mode="live", failures=(VMFailure("1", "a", step="Odd"),)))] == [
        "PrepareTarget", "Synchronization", "Odd",
    ]  # fmt: skip
    assert pipeline_of(Evidence()) == ()


def test_shares_of_a_bar_are_those_that_there_are() -> None:
    counts = VMCounts(total=20, failed=3, succeeded=17)
    assert [(one.name, one.number) for one in parts_of(counts)] == [("failed", 3), ("done", 17)]


def test_vms_that_are_down_come_first() -> None:
    off = VMFailure("1", "off", power_before="Off", power_now="off")
    down = VMFailure("2", "down", power_before="On", power_now="off")
    assert [one.name for one in vms_of(Evidence(failures=(off, down)))] == ["down", "off"]


def test_the_spreadsheet_runs_no_formula() -> None:
    vm = VMFailure("vm-1", "=cmd()", reasons=("+1", 'a "quoted", text\nin lines'))
    _, line = vms_csv(story(Evidence(failures=(vm,)))).split("\r\n", 1)
    assert line.startswith("'=cmd(),vm-1,")
    assert '\'+1; a ""quoted' in line


def test_the_timeline_holds_changes_routes_tries_and_presses_newest_first() -> None:
    seconds = AT.timestamp()
    row = delivery_row(label="payments/slack", created=seconds + 1, reasons=(Reason("matches", "routes.yaml:3"),))
    tries = (Attempt("root", "create", seconds + 2, seconds + 3, "ok", 200, ""),)
    told = Tellings(row, "delivered", "", "", tries)
    press = Press(seconds + 9, "01K", "silence", "Ana", "Slack", False, "No Alertmanager.")
    found = timeline_of(story(None, TimelineEntry(1, AT, Change.FIRED, "X fires")), (told,), (press,))
    assert [one.kind for one in found] == ["pressed", "told", "routed", "changed"]
    assert found[1].text == "payments/slack: message created (HTTP 200)"
    assert (found[0].tone, found[3].tone) == ("warn", "bad")


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("run `a <b>` now", "run <code>a &lt;b&gt;</code> now"),
        ("a ` alone", "a ` alone"),
        ("`x` and ` alone", "<code>x</code> and ` alone"),
        ("<script>", "&lt;script&gt;"),
    ],
)
def test_code_between_backticks_is_a_style_and_nothing_else(text: str, html: str) -> None:
    assert str(codes(text)) == html


def test_a_log_that_was_kept_before_its_pod_was_deleted_says_since_when() -> None:
    at = datetime(2026, 9, 1, 8, 4, tzinfo=UTC)
    one = LogExcerpt("app", "payments", "virt-launcher-app", "compute", ("error: x",), seen_at=at)
    assert [log.title for log in logs_of(Evidence(logs=(one,)))] == ["app · compute (kept at 1 Sep 2026 08:04 UTC)"]


def test_the_run_that_goes_on_is_one_of_the_runs() -> None:
    known = Evidence(phase=PlanPhase.FAILED, run_number=1)
    failing = story(known, TimelineEntry(2, AT, Change.RERUN, "a new run started"))
    assert later_run(failing) is None
    again = later_run(replace(failing, state=StoryState.RERUNNING))
    assert again is not None
    assert (again.name, again.state, again.at) == ("Run 2", "goes on", AT)
    well = later_run(replace(failing, state=StoryState.RESOLVED, outcome=Outcome.FIXED))
    assert well is not None
    assert well.state == "went well"
    assert (
        later_run(replace(failing, state=StoryState.RERUNNING, evidence=replace(known, phase=PlanPhase.EXECUTING)))
        is None
    )
