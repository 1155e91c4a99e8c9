"""Our markup: what templates write becomes blocks, what values hold stays text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.rendering import Block, Code, Paragraph, Small, Span, Steps, Table
from receiver.rendering.markup import clean, code_spans, escape, line, parse, safe_url

ANY_TEXT = st.text(st.characters(), max_size=200)


def test_every_kind_of_block_is_parsed() -> None:
    source = """
Some **bold** and `code`
on two lines, [a link](https://example.com/x).

1. first
2. second `x`
   goes on

- a bullet

```a caption
  kept   as it is
**not bold**
```
| VM | step |
|----|------|
| a | b |

~ small **print**
"""
    assert parse(source) == (
        Paragraph(
            (
                Span("Some "),
                Span("bold", "b"),
                Span(" and "),
                Span("code", "c"),
                Span(" on two lines, "),
                Span("a link", "", "https://example.com/x"),
                Span("."),
            )
        ),
        Steps(((Span("first"),), (Span("second "), Span("x", "c"), Span(" goes on")))),
        Steps(((Span("a bullet"),),), numbered=False),
        Code(("  kept   as it is", "**not bold**"), "a caption"),
        Table(("VM", "step"), (("a", "b"),)),
        Small((Span("small "), Span("print", "b"))),
    )


def test_steps_with_blank_lines_between_them_are_one_list() -> None:
    assert parse("1. a\n\n1. b\n") == (Steps(((Span("a"),), (Span("b"),))),)


def test_a_row_with_other_than_the_headers_cells_is_made_to_fit() -> None:
    assert parse("| a | b |\n| 1 |\n| 1 | 2 | 3 |") == (Table(("a", "b"), (("1", ""), ("1", "2"))),)


def test_code_that_is_never_closed_ends_with_the_text() -> None:
    assert parse("```x\nline") == (Code(("line",), "x"),)


@given(ANY_TEXT)
def test_an_escaped_value_is_one_paragraph_of_its_own_text(value: str) -> None:
    blocks: tuple[Block, ...] = parse(escape(clean(value)))

    assert blocks == ((Paragraph((Span(clean(value)),)),) if clean(value) else ())


@given(ANY_TEXT)
def test_a_value_inside_styles_lists_tables_links_and_code_stays_inside(value: str) -> None:
    kept = escape(clean(value) or "x")
    text = clean(value) or "x"
    source = f"1. **{kept}**\n\n```{kept}\n{kept}\n```\n| {kept} | b |\n\n~ `{kept}` [{kept}](https://e.example.com)\n"

    assert parse(source) == (
        Steps(((Span(text, "b"),),)),
        Code((text,), text),
        Table((text, "b"), ()),
        Small((Span(text, "c"), Span(" "), Span(text, "", "https://e.example.com"))),
    )


@given(ANY_TEXT)
def test_escaping_twice_is_escaping_once(value: str) -> None:
    assert escape(str(escape(value))) == escape(value)


@given(st.text(st.characters(), max_size=300))
def test_parsing_takes_any_text(source: str) -> None:
    parse(source)
    line(source)


@given(ANY_TEXT)
def test_clean_text_is_one_line_that_utf8_can_hold(value: str) -> None:
    text = clean(value)

    assert text.encode().decode() == text
    assert (
        not any(ord(char) < 32 or char in "\u202a\u202e\u2066\u200f\u200b\ufeff\x7f" for char in text) if text else True
    )
    assert clean(text) == text


def test_clean_text_keeps_letters_of_every_script_and_emoji() -> None:
    text = "Größe Ωμέγα 日本語 עברית عربى 👩‍👩‍👧 नमस्ते"
    assert clean(text) == text


def test_code_spans_keep_code_and_nothing_else() -> None:
    assert parse(code_spans("run `rm -rf *` **now** `")) == (
        Paragraph((Span("run "), Span("rm -rf *", "c"), Span(" **now** `"))),
    )


@pytest.mark.parametrize(
    "url",
    ["javascript:alert", "data:text/html,x", "http://", "https://a b", "//x", "file:///etc", "http://[", "x", ""],
)
def test_only_web_and_mail_links_are_links(url: str) -> None:
    assert safe_url(url) == ""
    assert parse(f"[text]({url})") in ((Paragraph((Span("text"),)),), (Paragraph((Span(f"[text]({url})"),)),))


def test_a_headline_loses_its_markup_and_line_breaks() -> None:
    assert line("\n**a** `b`\n\n  [c](https://x.example.com)  ") == "a b c"
