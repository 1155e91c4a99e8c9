"""A message as Markdown for GitHub and GitLab, in which values from a cluster are only text.

Backslashes stop markup, but both also read the *rendered* text for mentions (`@team`), references (`#12`, `!12`,
`%milestone`, `~label`), emoji names and bare addresses. An invisible word joiner after the first character ends those.
GitLab carries out lines that begin with `/command`, in descriptions and in comments: no line of ours begins with one.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from enum import StrEnum

from receiver import fitting
from receiver.rendering import Block, Code, Message, Paragraph, Small, Span, Steps, Table, Text

FOLD_LINES = 12
"""Code of more lines is folded: a phone shows about thirty in all."""


class Flavor(StrEnum):
    """Whose Markdown."""

    GITHUB = "github"
    GITLAB = "gitlab"


_JOINER = "\u2060"
_REFERENCE = re.compile(
    r"[@#%~](?=[\w\"])"  # people and teams, issues, milestones, labels
    r"|[!$&^](?=\d)"  # merge requests, snippets, epics
    r"|\*(?=iteration:)|\[(?=\w+:)|[\[{](?=[+-])"  # GitLab's other references and its marks of changed text
    r"|\bGH-(?=\d)"
    r"|:(?=(?:100|1234|[\w+-]*[a-z+-][\w+-]*):)"  # emoji by name
    r"|:(?=//|:)|\bwww\.(?=\w)",  # addresses that nobody made a link, and GitLab's ::include
    re.IGNORECASE,
)
_SPECIAL = re.compile(r"[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "|": "&#124;"}
_LINE_START = re.compile(r"(?:[-+=/:#]|\d{1,9}[.)])")
_COMMAND = re.compile(r"^(\s*)/(?=\w+(?:\s|$))")
_TICKS = re.compile(r"`+")
_LONG_TICKS = re.compile(r"(`{20})(?=`)")
_NOT_IN_URL = re.compile(r"[\s<>()\[\]\\`|\"*]")


def section(message: Message, story: str, label: str, flavor: Flavor) -> str:
    """Return our part of an issue's text, between its two hidden marks."""
    head = f"{message.mark} {message.title}" if message.mark else message.title
    ours = "\n\n".join([f"### {escape(fitting.one_line(head, 255), flavor)}", body(message, flavor)])
    hint = "<sub>Written by mtv-receiver, rewritten on change: write below the line.</sub>"
    return f"{_begin(label)}\n{_without(ours, label)}\n\n{hint}\n\n---\n{_end(label, story)}\n"


def splice(text: object, ours: str, label: str) -> str | None:
    """Return the issue's text with our section replaced, people's text kept; None when our marks are gone."""
    if not isinstance(text, str):
        return None
    found = re.search(rf"{re.escape(_begin(label))}.*?<!-- end {re.escape(label)}[^\n]*?-->", text, re.DOTALL)
    return None if found is None else text[: found.start()] + ours.rstrip("\n") + text[found.end() :]


def is_ours(text: object, label: str) -> bool:
    """Tell whether an issue's text has our section: the proof that it was made for this story."""
    return isinstance(text, str) and _begin(label) in text


def comment(message: Message, mark: str, label: str, flavor: Flavor) -> str:
    """Return a comment: bold headline, message, and the hidden mark by which it is found again."""
    head = f"{message.mark} {message.title}" if message.mark else message.title
    ours = "\n\n".join([f"**{escape(fitting.one_line(head, 255), flavor)}**", body(message, flavor)])
    return f"{_without(ours, label)}\n\n{hidden(mark, label)}"


def log(name: str, text: str, mark: str, label: str, flavor: Flavor, most: int) -> str:
    """Return a comment of at most `most` characters and bytes with the end of a log, folded."""
    lines = fitting.clean(text).strip("\n").split("\n")
    kept = lines
    while True:
        gone = len(lines) - len(kept)
        cut = f", its last {len(kept):,} of {len(lines):,} lines" if gone else f", {len(lines):,} lines"
        made = _folded(f"{name}{cut}", _fenced(kept, flavor))
        made = f"{_without(made, label)}\n\n{hidden(mark, label)}"
        over = len(made.encode()) - most
        if over <= 0:
            return made
        if len(kept) == 1:
            return f"{_html(name)}: one line, too long to be shown\n\n{hidden(mark, label)}"
        while over > 0 and len(kept) > 1:
            over -= len(kept[0].encode()) + 1
            kept = kept[1:]


def hidden(mark: str, label: str) -> str:
    """Return a mark that only those see who edit; no text of ours can hold it, since `label` is taken out there."""
    return f"<!-- {label} {mark.replace('-->', '')} -->"


def body(message: Message, flavor: Flavor) -> str:
    """Return a message's blocks and links."""
    parts = [_block(block, flavor) for block in message.blocks]
    if message.links:
        parts.append(" · ".join(_span(Span(link.text, "", link.url), flavor) for link in message.links))
    return "\n\n".join(part for part in parts if part.strip())


def escape(text: str, flavor: Flavor) -> str:
    """Return `text` so that nothing in it is markup, HTML, a mention, a reference or a link. Lines stay lines."""

    def one(found: re.Match[str]) -> str:
        if found[0] == "$" and flavor is Flavor.GITHUB:
            return "<span>$</span>"  # a backslash there does not keep it from being mathematics
        return _ENTITIES.get(found[0], f"\\{found[0]}")

    return _SPECIAL.sub(one, defused(text))


def defused(text: str) -> str:
    """Return `text` without mentions, references and bare links: for titles, which are no Markdown but are read too."""
    return _REFERENCE.sub(lambda found: found[0] + _JOINER, fitting.clean(text))


def url_of(url: str) -> str:
    """Return an address as it may stand in a link's parentheses; empty where it is none."""
    if not url.startswith(("https://", "http://", "mailto:")):
        return ""
    return _NOT_IN_URL.sub(lambda found: f"%{ord(found[0]):02X}" if ord(found[0]) < 128 else "", fitting.clean(url))


def _begin(label: str) -> str:
    return f"<!-- begin {label} -->"


def _end(label: str, story: str) -> str:
    return f"<!-- end {label} story {story} -->"


def _without(ours: str, label: str) -> str:
    """No text of a cluster may look like one of our marks."""
    return ours.replace(label, f"{label[:5]}…")


def _block(block: Block, flavor: Flavor) -> str:
    match block:
        case Paragraph(text):
            return _lines(_inline(text, flavor))
        case Small(text):
            lines = [line for line in _lines(_inline(text, flavor)).split("\\\n") if line.strip()]
            return "\\\n".join(f"<sub>{line}</sub>" for line in lines)
        case Steps(items, numbered):
            made = [_lines(_inline(item, flavor)).replace("\\\n", " ") for item in items]
            return "\n".join(f"{f'{at}.' if numbered else '-'} {item}" for at, item in enumerate(made, 1))
        case Code(lines, caption):
            if not any(line.strip() for line in lines):
                return ""
            block_lines = [part for line in lines for part in line.split("\n")]
            if len(block_lines) > FOLD_LINES:
                return _folded(caption or f"{len(block_lines)} lines", _fenced(block_lines, flavor))
            head = f"**{escape(caption.strip(), flavor)}**\n" if caption.strip() else ""
            return head + _fenced(block_lines, flavor)
        case Table(header, rows):
            return _table(header, rows, flavor)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], flavor: Flavor) -> str:
    """Return a table without the columns that say nothing in any row: a phone shows three or four."""
    width = max((len(row) for row in (header, *rows)), default=0)
    padded = [[*row, *[""] * (width - len(row))] for row in (header, *rows)]
    told = [at for at in range(width) if any(row[at].strip() for row in padded[1:] or padded)]
    if not told:
        return ""
    lines = [_row([row[at] for at in told], flavor) for row in padded]
    return "\n".join([lines[0], f"|{' --- |' * len(told)}", *lines[1:]])


def _row(cells: Sequence[str], flavor: Flavor) -> str:
    shown = [escape(fitting.one_line(cell, fitting.CELL_CHARS), flavor) for cell in cells]
    return f"| {' | '.join(shown)} |"


def _fenced(lines: Sequence[str], flavor: Flavor) -> str:
    if flavor is Flavor.GITLAB:
        lines = [_COMMAND.sub(rf"\1{_JOINER}/", line) for line in lines]
    text = _LONG_TICKS.sub(rf"\1{_JOINER}", "\n".join(lines))
    fence = "`" * max(3, *(len(run) + 1 for run in ["", *_TICKS.findall(text)]))
    return f"{fence}\n{text}\n{fence}"


def _folded(summary: str, inside: str) -> str:
    return f"<details><summary>{_html(summary)}</summary>\n\n{inside}\n\n</details>"


def _html(text: str) -> str:
    return html.escape(defused(fitting.one_line(text, 255)), quote=False)


def _lines(composed: str) -> str:
    """Return running text whose lines begin no list, heading, rule, code or command; a line break stays one."""
    lines = (line.strip() for line in composed.split("\n"))
    return "\\\n".join(f"{_stopped(line)}" for line in lines if line)


def _stopped(line: str) -> str:
    r"""The last character of what would begin something gets a backslash: `\- `, `1\. `, `\/close`."""
    found = _LINE_START.match(line)
    if found is None:
        return line
    at = found.end() - 1
    return f"{line[:at]}\\{line[at:]}"


def _inline(text: Text, flavor: Flavor) -> str:
    spans = _merged(text)
    around = ["", *(span.text for span in spans), ""]
    return "".join(_span(span, flavor, around[at][-1:], around[at + 2][:1]) for at, span in enumerate(spans))


def _merged(text: Text) -> list[Span]:
    """Return the spans, neighbours of one style as one: `**a****b**` would be no two bold words."""
    spans: list[Span] = []
    for span in text:
        if spans and (spans[-1].style, spans[-1].url, "") == (span.style, span.url, span.url):
            spans[-1] = Span(spans[-1].text + span.text, span.style)
        elif span.text:
            spans.append(span)
    return spans


def _span(span: Span, flavor: Flavor, before: str = "", after: str = "") -> str:
    """Return one span between the characters `before` and `after`, on which the meaning of asterisks depends."""
    if url := url_of(span.url):
        label = fitting.one_line(span.text, 1_000)
        return f"<{url}>" if label in ("", url) else f"[{escape(label, flavor)}]({url})"
    inner = fitting.clean(span.text).strip()
    if not span.style or not inner:
        return escape(span.text, flavor)
    text = fitting.clean(span.text)
    head, tail = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
    match span.style:
        case "c":
            marked = _code_span(inner)
        case "b" if (inner[0].isalnum() or head or not before.strip()) and (
            inner[-1].isalnum() or tail or not after.strip()
        ):
            marked = f"**{escape(inner, flavor)}**"
        case style:
            tag = "b" if style == "b" else "em"
            marked = f"<{tag}>{escape(inner, flavor)}</{tag}>"
    return f"{head}{marked}{tail}"


def _code_span(text: str) -> str:
    text = _LONG_TICKS.sub(rf"\1{_JOINER}", text.replace("\n", " "))
    ticks = "`" * max(len(run) + 1 for run in ["", *_TICKS.findall(text)])
    pad = " " if len(ticks) > 1 else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"
