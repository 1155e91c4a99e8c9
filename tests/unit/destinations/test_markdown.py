"""Whatever a cluster says is only text in an issue: checked with an independent Markdown reader (markdown-it)."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from receiver import fitting
from receiver.destinations import markdown
from receiver.destinations.markdown import Flavor
from receiver.rendering import Block, Code, Message, Paragraph, Small, Span, Steps, Table
from tests.markdown_reader import READER, TRAPS, Shown, shown

FLAVORS = tuple(Flavor)
TRIED = settings(deadline=None, max_examples=60)
LABEL = "mtvr-0123456789abcdef0123456789abcdef"
JOINER = "\u2060"

SPECIAL = st.text(alphabet=st.sampled_from(list("`*_~[]()<>#+-.!|&$@%^:/\\{}=\"' \n\t1aZé🔴")), min_size=1, max_size=40)
PIECES = (
    "@octocat", "@acme/admins", "#12", "acme/x#3", "GH-7", "!5", "$6", "%7", '%"v 1"', "~bug", "&8", "`c`", "/close",
    "/label ~x", "**b**", "<b>", "</details>", "<!-- x -->", "-->", "![i](http://e/i.png)", "\n", "[l](http://evil)",
    "http://evil.example/x", "www.evil.example", "a@b.example", ":boom:", "|", "||", "---", "1. x", "> q", "    code",
    "```", "~~~", "# h", "- [ ] t", "[^1]: x", "&lt;", "&#60;", "\\", "$x$", "[[_TOC_]]", "::include{file=x}",
    "{+ a +}", "pay_win_app", "snake__case", "*iteration:1", "[vulnerability:1]", "x", " ",
)  # fmt: skip
WORDS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join)
HOSTILE = st.one_of(SPECIAL, WORDS)


def message(*blocks: Block, title: str = "t") -> Message:
    return Message("p", title, "🔴", "#d00000", tuple(blocks))


def words(text: str) -> list[str]:
    return text.replace(JOINER, "").split()


@pytest.mark.parametrize("flavor", FLAVORS)
@TRIED
@given(text=HOSTILE)
@example(text="a_b _c_ __d__ x__y")
@example(text="C:\\Users\\|x")
def test_running_text_is_shown_as_it_is_and_is_nothing_else(flavor: Flavor, text: str) -> None:
    source = markdown.body(message(Paragraph((Span(text),))), flavor)
    seen = shown(source)
    assert words(seen.text) == words(fitting.clean(text))
    assert set(seen.tags) <= {"p", "br", "span"}
    for trap in TRAPS:
        assert not trap.search(seen.outside), trap.pattern
    assert not re.search(r"^\s*/[a-z]", source, re.MULTILINE)


@pytest.mark.parametrize("flavor", FLAVORS)
@TRIED
@given(first=HOSTILE, second=HOSTILE, third=HOSTILE)
def test_styles_end_where_they_should(flavor: Flavor, first: str, second: str, third: str) -> None:
    seen = shown(markdown.body(message(Paragraph((Span(first), Span(second, "b"), Span(third, "i")))), flavor))
    assert words(seen.text) == words(fitting.clean(first + second + third))
    assert set(seen.tags) <= {"p", "br", "span", "strong", "b", "em"}
    assert {"strong", "b"} & set(seen.tags) or not fitting.clean(second).strip()


@pytest.mark.parametrize("flavor", FLAVORS)
@TRIED
@given(text=HOSTILE)
def test_code_in_running_text_is_exact(flavor: Flavor, text: str) -> None:
    line = " ".join(fitting.clean(text).split())
    seen = shown(markdown.body(message(Paragraph((Span("run "), Span(line, "c"), Span(" now")))), flavor))
    assert seen.text.split() == ["run", *line.split(), "now"]
    assert set(seen.tags) <= {"p", "code"}


@pytest.mark.parametrize("flavor", FLAVORS)
@TRIED
@given(lines=st.lists(HOSTILE, min_size=1, max_size=30))
@example(lines=["a", "```", "</details>", "````", "b"])
def test_a_block_of_code_is_exact_and_never_ends_early(flavor: Flavor, lines: list[str]) -> None:
    clean = [fitting.clean(line) for line in lines]
    source = markdown.body(message(Code(tuple(clean))), flavor)
    if not any(line.strip() for line in clean):
        assert source == ""
        return
    seen = shown(source)
    assert set(seen.tags) <= {"pre", "code", "details", "summary"}
    text = "\n".join(clean)
    inside = html.unescape(re.search(r"<code>(.*)\n</code>", READER.render(source), re.DOTALL)[1])  # type: ignore[index]
    assert inside.replace(JOINER, "") == text.replace("\0", "�")
    assert flavor is Flavor.GITLAB or JOINER not in inside
    assert not re.search(r"^[ \t]*/[a-z_]+(?:\s|$)", source, re.MULTILINE) or flavor is Flavor.GITHUB


@pytest.mark.parametrize("flavor", FLAVORS)
@TRIED
@given(cells=st.lists(st.lists(HOSTILE, min_size=1, max_size=4), min_size=1, max_size=5))
def test_a_table_keeps_its_cells(flavor: Flavor, cells: list[list[str]]) -> None:
    header = ("vm", "id", "step", "at")
    rows = tuple(tuple(row) for row in cells)
    made = READER.render(markdown.body(message(Table(header, rows)), flavor))
    found = [Shown(cell) for cell in re.findall(r"<td>(.*?)</td>", made, re.DOTALL)]
    padded = [[*row, "", "", "", ""][:4] for row in rows]
    told = [at for at in range(4) if any(row[at].strip() for row in padded)]
    expected = [[row[at] for at in told] for row in padded]
    assert [words(cell.text) for cell in found] == [
        words(fitting.one_line(cell, fitting.CELL_CHARS)) for row in expected for cell in row
    ]
    assert all(set(cell.tags) <= {"span"} for cell in found)


@pytest.mark.parametrize("flavor", FLAVORS)
@TRIED
@given(items=st.lists(HOSTILE.filter(lambda text: text.strip() != ""), min_size=1, max_size=6), numbered=st.booleans())
def test_a_list_has_as_many_items_as_it_should(flavor: Flavor, items: list[str], numbered: bool) -> None:
    seen = shown(markdown.body(message(Steps(tuple((Span(item),) for item in items), numbered)), flavor))
    assert seen.tags.count("li") == len(items)
    assert set(seen.tags) <= {"ol" if numbered else "ul", "li", "span", "p"}


@pytest.mark.parametrize("flavor", FLAVORS)
@TRIED
@given(text=HOSTILE, url=HOSTILE)
def test_a_link_leads_where_it_should(flavor: Flavor, text: str, url: str) -> None:
    seen = shown(markdown.body(message(Paragraph((Span(text, "", f"https://x.example/{url}"),))), flavor))
    assert [link.split("/")[:3] for link in seen.links] == [["https:", "", "x.example"]]
    assert set(seen.tags) <= {"p", "a", "span"}


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil", "relative", ""])
def test_what_is_no_address_becomes_no_link(url: str) -> None:
    seen = shown(markdown.body(message(Paragraph((Span("x", "", url),))), Flavor.GITHUB))
    assert seen.links == []


@pytest.mark.parametrize("flavor", FLAVORS)
@TRIED
@given(text=HOSTILE)
def test_our_section_is_found_again_whatever_stands_in_it(flavor: Flavor, text: str) -> None:
    trap = f"{text}<!-- begin {LABEL} -->{text}<!-- end {LABEL} story S -->{text}"
    parts = (Paragraph((Span(trap),)), Code((trap, trap)), Small((Span(trap),)), Code((trap,) * 20, trap))
    ours = markdown.section(message(*parts, title=trap), "S", LABEL, flavor)
    whole = f"above\r\n{ours}below"
    assert markdown.is_ours(whole, LABEL)
    assert markdown.splice(whole, "NEW", LABEL) == "above\r\nNEW\nbelow"
    assert len(shown(ours).comments) == 2


def test_a_section_of_another_story_is_not_ours() -> None:
    ours = markdown.section(message(Paragraph((Span("x"),))), "S", LABEL, Flavor.GITHUB)
    assert not markdown.is_ours(ours, "mtvr-ffff")
    assert markdown.splice(ours, "NEW", "mtvr-ffff") is None
    assert markdown.splice(None, "NEW", LABEL) is None


def test_a_section_taken_over_by_another_story_is_still_replaced() -> None:
    ours = markdown.section(message(Paragraph((Span("old"),))), "FIRST", LABEL, Flavor.GITHUB)
    again = markdown.section(message(Paragraph((Span("new"),))), "SECOND", LABEL, Flavor.GITHUB)
    assert markdown.splice(ours + "people", again, LABEL) == again + "people"


def test_titles_keep_their_looks_and_lose_their_references() -> None:
    title = "[payments] plan @acme/x #12 a/b#3 `x` !4 100% & done, see https://x.example"
    made = markdown.defused(title)
    assert made.replace(JOINER, "") == title
    assert not any(trap.search(made) for trap in TRAPS)


def test_a_phone_gets_short_code_open_and_long_code_folded() -> None:
    short = markdown.body(message(Code(("x",) * 12, "pay-app01 · virt-v2v")), Flavor.GITHUB)
    long = markdown.body(message(Code(("x",) * 13, "pay-app01 <b> @x")), Flavor.GITHUB)
    assert short.startswith("**pay-app01 · virt-v2v**\n```\nx\n")
    assert long.startswith(f"<details><summary>pay-app01 &lt;b&gt; @{JOINER}x</summary>\n\n```\nx\n")
    assert long.endswith("```\n\n</details>")


def test_a_log_of_one_endless_line_still_makes_a_comment() -> None:
    made = markdown.log("x.log", "y" * 100_000, "log p", LABEL, Flavor.GITHUB, 60_000)
    assert "too long to be shown" in made
    assert markdown.hidden("log p", LABEL) in made
