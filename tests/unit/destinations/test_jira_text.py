"""Jira's two forms of rich text, and how people's own text survives our rewriting."""

from __future__ import annotations

from typing import Any

import pytest

from receiver.destinations import jira_adf, jira_wiki
from receiver.rendering import Code, Message, Paragraph, Span, Steps, Table

STORY = "01K9ZQ4T7M"


def message(text: str = "now") -> Message:
    return Message("push", "title", "🔴", "#d00000", (Paragraph((Span(text),)),))


def paragraph(text: str) -> dict[str, Any]:
    return {"type": "paragraph", "content": [{"type": "text", "text": text}]}


def test_our_section_is_replaced_and_text_around_it_kept() -> None:
    before = jira_adf.document([paragraph("above"), *jira_adf.section(message("old"), STORY), paragraph("below")])
    spliced = jira_adf.splice(before, jira_adf.section(message("new"), STORY), STORY)
    expected = [paragraph("above"), *jira_adf.section(message("new"), STORY), paragraph("below")]
    assert spliced == jira_adf.document(expected)


def test_marks_that_jira_gave_other_attributes_are_still_found() -> None:
    section = jira_adf.section(message("old"), STORY)
    stored = [{**node, "attrs": {"localId": str(at)}} for at, node in enumerate(section)]
    spliced = jira_adf.splice(jira_adf.document(stored), jira_adf.section(message("new"), STORY), STORY)
    assert spliced == jira_adf.document(jira_adf.section(message("new"), STORY))


@pytest.mark.parametrize(
    "description",
    [
        None,
        "a string",
        jira_adf.document([paragraph("all a person's")]),
        jira_adf.document(jira_adf.section(message(), STORY)[:-2]),
    ],
)
def test_without_both_marks_nothing_is_touched(description: Any) -> None:
    assert jira_adf.splice(description, jira_adf.section(message(), STORY), STORY) is None


def test_a_section_that_another_story_wrote_is_ours_since_a_ticket_may_pass_to_the_next_one() -> None:
    theirs, ours = jira_adf.section(message("old"), "01K9AAAAAA"), jira_adf.section(message("new"), STORY)
    people = paragraph("all a person's")
    assert jira_adf.splice(jira_adf.document([*theirs, people]), ours, STORY) == jira_adf.document([*ours, people])
    before, after = jira_wiki.section(message("old"), "01K9AAAAAA"), jira_wiki.section(message("new"), STORY)
    assert jira_wiki.splice(f"{before}\nbelow", after, STORY) == f"{after}\nbelow"


def test_of_two_sections_the_one_with_our_own_mark_is_ours() -> None:
    ours, quoted = jira_adf.section(message("old"), STORY), jira_adf.section(message("quoted"), "01K9AAAAAA")
    new = jira_adf.section(message("new"), STORY)
    spliced = jira_adf.splice(jira_adf.document([*ours, *quoted]), new, STORY)
    assert spliced == jira_adf.document([*new, *quoted])


def test_wiki_text_around_our_section_is_kept_whatever_the_line_ends() -> None:
    before = "above\n" + jira_wiki.section(message("old"), STORY) + "\nbelow"
    spliced = jira_wiki.splice(before.replace("\n", "\r\n"), jira_wiki.section(message("new"), STORY), STORY)
    assert spliced == "above\n" + jira_wiki.section(message("new"), STORY) + "\nbelow"
    assert jira_wiki.splice("all a person's", "ours", STORY) is None
    assert jira_wiki.splice(None, "ours", STORY) is None


def test_empty_texts_make_no_empty_text_nodes() -> None:
    empty = Message("", "t", "", "", (Paragraph((Span(""),)), Code(("", " ")), Table((), ()), Steps(())))
    assert jira_adf.blocks(empty) == []


def test_line_breaks_become_hard_breaks() -> None:
    assert jira_adf.blocks(message("one\ntwo"))[0]["content"] == [
        {"type": "text", "text": "one"},
        {"type": "hardBreak"},
        {"type": "text", "text": "two"},
    ]


def test_short_rows_are_filled_so_that_a_table_is_square() -> None:
    table = Message("", "t", "", "", (Table(("a", "b"), (("1",), ("1", "2"))),))
    assert [len(row["content"]) for row in jira_adf.blocks(table)[0]["content"]] == [2, 2, 2]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pay-win-app04", "pay-win-app04"),
        ("-off C:", "\\-off C:"),
        ("{code}", "\\{code\\}"),
        ("[~admin]", "\\[\\~admin\\]"),
        ("C:\\temp", "C:&#92;temp"),
        ("a & b", "a &amp; b"),
        ("# no list", "\\# no list"),
        ("*b* _i_ |c|", "\\*b\\* \\_i\\_ \\|c\\|"),
    ],
)
def test_wiki_markup_from_a_cluster_is_only_text(text: str, expected: str) -> None:
    assert jira_wiki.escape(text) == expected


def test_a_log_cannot_end_its_own_block() -> None:
    log = Message("", "t", "", "", (Code(("before {noformat} after",), "pod"),))
    assert jira_wiki.body(log) == "*pod*\n{noformat}\nbefore { noformat} after\n{noformat}"


def test_a_wiki_link_needs_a_web_address() -> None:
    good = Message("", "t", "", "", (Paragraph((Span("x", "", "https://x.example/a"),)),))
    bad = Message("", "t", "", "", (Paragraph((Span("x", "", "javascript:alert(1)"),)),))
    assert jira_wiki.body(good) == "[x|https://x.example/a]"
    assert jira_wiki.body(bad) == "x"
