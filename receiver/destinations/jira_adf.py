"""A message in Jira Cloud's form: the Atlassian document format, as plain dicts.

Jira refuses empty text nodes, text outside a block, and marks inside a code block.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receiver import fitting
from receiver.destinations.ticketing import START, STARTS_WITH, end_mark, end_of
from receiver.model import Link
from receiver.rendering import Block, Code, Message, Paragraph, Small, Span, Steps, Table, Text

Node = dict[str, Any]


def section(message: Message, story: str) -> list[Node]:
    """Return our part of a description, between its two marks."""
    return [
        _paragraph((Span(START, "i"),)),
        *blocks(message),
        _paragraph((Span(end_mark(story), "i"),)),
        {"type": "rule"},
    ]


def document(content: Sequence[Node]) -> Node:
    """Return a whole document."""
    return {"version": 1, "type": "doc", "content": list(content)}


def comment(message: Message, mark: str) -> Node:
    """Return a comment: bold headline, message, and the mark by which it is found again."""
    head = f"{message.mark} {message.title}" if message.mark else message.title
    return document(
        [_paragraph((Span(fitting.one_line(head, 255), "b"),)), *blocks(message), _paragraph((Span(mark, "i"),))]
    )


def blocks(message: Message) -> list[Node]:
    """Return the nodes of a message's blocks and links."""
    made = [node for block in message.blocks for node in _nodes(block)]
    if message.links:
        made.append(_paragraph(_joined(message.links)))
    return made


def splice(description: Any, ours: Sequence[Node], story: str) -> Node | None:
    """Return the description with our section replaced, people's text kept; None when our marks are gone."""
    if not isinstance(description, Mapping):
        return None
    content: list[Any] = list(description.get("content") or [])
    texts = [flatten(node).strip() for node in content]
    start = next((at for at, text in enumerate(texts) if text.startswith(STARTS_WITH)), None)
    if start is None:
        return None
    end = end_of(texts, start, story)
    if end is None:
        return None
    if end + 1 < len(content) and content[end + 1].get("type") == "rule":
        end += 1
    return {**description, "content": [*content[:start], *ours, *content[end + 1 :]]}


def flatten(node: Any) -> str:
    """Return all text of a node, blocks on lines of their own."""
    if not isinstance(node, Mapping):
        return ""
    if node.get("type") == "text":
        return str(node.get("text", ""))
    inner = [flatten(child) for child in node.get("content") or []]
    inline = node.get("type") in {"paragraph", "heading", "codeBlock"}
    return ("" if inline else "\n").join(inner)


def _nodes(block: Block) -> list[Node]:
    match block:
        case Paragraph(text):
            return [_paragraph(text)] if fitting.plain(text).strip() else []
        case Small(text):
            small = tuple(Span(each.text, each.style or "i", each.url) for each in text)
            return [_paragraph(small)] if fitting.plain(text).strip() else []
        case Steps(items, numbered):
            listed = [{"type": "listItem", "content": [_paragraph(item)]} for item in items]
            return [{"type": "orderedList" if numbered else "bulletList", "content": listed}] if listed else []
        case Code(lines, caption):
            joined = "\n".join(lines)
            head = [_paragraph((Span(caption, "b"),))] if caption.strip() else []
            return (
                [*head, {"type": "codeBlock", "content": [{"type": "text", "text": joined}]}] if joined.strip() else []
            )
        case Table(header, rows):
            width = max((len(row) for row in (header, *rows)), default=0)
            titles = [_row(header, width, "tableHeader")] if any(header) else []
            table = [*titles, *(_row(row, width, "tableCell") for row in rows)]
            return [{"type": "table", "content": table}] if rows and width else []


def _row(cells: Sequence[str], width: int, kind: str) -> Node:
    padded = [*cells, *[""] * (width - len(cells))]
    return {"type": "tableRow", "content": [{"type": kind, "content": [_paragraph((Span(cell),))]} for cell in padded]}


def _joined(links: Sequence[Link]) -> Text:
    spans: list[Span] = []
    for link in links:
        spans += [Span(" · ")] if spans else []
        spans.append(Span(link.text, "", link.url))
    return tuple(spans)


def _paragraph(text: Text) -> Node:
    content: list[Node] = []
    for span in text:
        marks = _marks(span)
        for at, line in enumerate(fitting.clean(span.text).split("\n")):
            if at:
                content.append({"type": "hardBreak"})
            if line:
                content.append({"type": "text", "text": line, **({"marks": marks} if marks else {})})
    return {"type": "paragraph", "content": content}


def _marks(span: Span) -> list[Node]:
    style = {"b": "strong", "i": "em", "c": "code"}.get(span.style)
    marks: list[Node] = [{"type": style}] if style else []
    if span.url.startswith(("https://", "http://", "mailto:")):
        marks.append({"type": "link", "attrs": {"href": span.url}})
    return marks
