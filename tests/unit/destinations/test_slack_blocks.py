"""Slack's markup: nothing from a cluster becomes a mention, a link or a broken block."""

from __future__ import annotations

import pytest

from receiver.destinations import slack_blocks
from receiver.model import Link
from receiver.rendering import Code, Message, Paragraph, Span, Steps, Table


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span("a & b < c > d"), "a &amp; b &lt; c &gt; d"),
        (Span("<!channel> <@U1>"), "&lt;!channel&gt; &lt;@U1&gt;"),
        (Span("bold", "b"), "*bold*"),
        (Span(" bold ", "b"), " *bold* "),
        (Span("a*b", "b"), "*a∗b*"),
        (Span("oc get `x`", "c"), "`oc get ˋxˋ`"),
        (Span("two\nlines", "b"), "two\nlines"),
        (Span("", "b"), ""),
        (Span("Runbook", "", "https://x.example/a?b=1&c=2"), "<https://x.example/a?b=1&amp;c=2|Runbook>"),
        (Span("a|b>c", "", "https://x.example"), "<https://x.example|a¦b&gt;c>"),
        (Span("click", "", "javascript:alert(1)"), "click"),
        (Span("click", "", "https://x.example/>|<!channel>"), "click"),
    ],
)
def test_a_span_in_slacks_markup(span: Span, expected: str) -> None:
    assert slack_blocks.mrkdwn((span,)) == expected


def message(*blocks: object, title: str = "3 of 20 failed", links: tuple[Link, ...] = ()) -> Message:
    return Message("push", title, "🔴", "#d00000", blocks, links)  # type: ignore[arg-type]


def test_the_state_stands_in_the_header_and_in_the_push_once() -> None:
    assert slack_blocks.root_blocks(message())[0]["text"]["text"] == "🔴 3 of 20 failed"
    assert slack_blocks.root_blocks(message(title="🔴 marked"))[0]["text"]["text"] == "🔴 marked"
    assert slack_blocks.push(message()) == "🔴 push"


def test_a_push_is_one_line_without_mentions() -> None:
    said = Message("two\nlines <!here>", "t", "🔴", "#d00000", ())
    assert slack_blocks.push(said) == "🔴 two lines &lt;!here&gt;"


def test_a_code_block_cannot_be_ended_from_inside() -> None:
    blocks = slack_blocks.root_blocks(message(Code(("a ``` b", "<!channel>"), "pod · container")))
    assert blocks[1]["text"]["text"] == "*pod · container*\n```\na ˋˋˋ b\n&lt;!channel&gt;\n```"


def test_tables_are_aligned_code() -> None:
    blocks = slack_blocks.root_blocks(message(Table(("vm", "was"), (("pay-win-app04", "On"), ("x", "Off")))))
    assert blocks[1]["text"]["text"] == "```\nvm             was\npay-win-app04  On\nx              Off\n```"


def test_numbered_steps_keep_their_numbers() -> None:
    steps = Steps(((Span("power on"),), (Span("re-run"),)))
    assert slack_blocks.root_blocks(message(steps))[1]["text"]["text"] == "1. power on\n2. re-run"


def test_links_are_text_and_only_web_links() -> None:
    links = (
        Link("Story", "https://x.example/s"),
        Link("bad", "file:///etc/passwd"),
        Link("Run|book", "https://y.example"),
    )
    assert slack_blocks.root_blocks(message(links=links))[-1]["text"]["text"] == (
        "<https://x.example/s|Story> · <https://y.example|Run¦book>"
    )


def test_a_text_of_many_ampersands_is_cut_after_escaping_and_never_inside_an_entity() -> None:
    text = slack_blocks.root_blocks(message(Paragraph((Span("&" * 2_000),))))[1]["text"]["text"]
    assert len(text) <= 3_000
    assert text.rstrip("…").replace("&amp;", "") == ""


def test_the_plain_form_has_no_blocks_and_all_the_words() -> None:
    shown = slack_blocks.content(message(Paragraph((Span("what <b> to do"),)), Code(("log",))), root=True, plain=True)
    assert shown == {"text": "🔴 3 of 20 failed\nwhat &lt;b&gt; to do\nlog", "blocks": []}
