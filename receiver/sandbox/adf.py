"""Atlassian document format: what Jira Cloud refuses, and how a document is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from markupsafe import Markup, escape

Node = Mapping[str, Any]

_INLINE = frozenset({"text", "hardBreak", "emoji", "mention", "status", "date", "inlineCard"})
_BLOCK = frozenset(
    {"paragraph", "heading", "bulletList", "orderedList", "taskList", "codeBlock", "panel", "table", "rule"}
    | {"blockquote", "expand", "nestedExpand", "mediaSingle", "mediaGroup", "decisionList"}
)
# parent type -> the only types its children may have
_CHILDREN: dict[str, frozenset[str]] = {
    "doc": _BLOCK - {"nestedExpand"},
    "paragraph": _INLINE,
    "heading": _INLINE,
    "codeBlock": frozenset({"text"}),
    "bulletList": frozenset({"listItem"}),
    "orderedList": frozenset({"listItem"}),
    "listItem": frozenset({"paragraph", "bulletList", "orderedList", "codeBlock", "mediaSingle"}),
    "taskList": frozenset({"taskItem", "taskList"}),
    "taskItem": _INLINE,
    "panel": frozenset({"paragraph", "heading", "bulletList", "orderedList", "taskList", "codeBlock", "rule"}),
    "blockquote": frozenset({"paragraph", "bulletList", "orderedList", "codeBlock"}),
    "expand": _BLOCK - {"expand"},
    "nestedExpand": frozenset({"paragraph", "heading", "bulletList", "orderedList", "codeBlock", "panel"}),
    "table": frozenset({"tableRow"}),
    "tableRow": frozenset({"tableCell", "tableHeader"}),
    "tableCell": _BLOCK - {"table", "expand"},
    "tableHeader": _BLOCK - {"table", "expand"},
}
_NEVER_EMPTY = frozenset(
    {"doc", "bulletList", "orderedList", "listItem", "taskList", "panel", "table", "tableRow", "blockquote", "expand"}
)
_PANELS = frozenset({"info", "note", "warning", "error", "success", "tip", "custom"})
_MARKS = frozenset({"strong", "em", "code", "link", "strike", "underline", "textColor", "subsup", "backgroundColor"})


def problem(document: object) -> str | None:
    """Return why Jira Cloud would refuse `document`, None when it would take it."""
    if not isinstance(document, dict) or document.get("type") != "doc" or document.get("version") != 1:
        return "Operation value must be an Atlassian Document (see the Atlassian Document Format)"
    try:
        _check(document, "doc")
    except ValueError as error:
        return f"INVALID_INPUT: {error}"
    return None


def _check(node: Node, path: str) -> None:
    kind = str(node.get("type"))
    if kind == "text":
        _check_text(node, path)
        return
    content = node.get("content", [])
    if not isinstance(content, list):
        raise ValueError(f"{path}: content must be a list")
    if kind in _NEVER_EMPTY and not content and kind != "doc":
        raise ValueError(f"{path}: must not be empty")
    if kind == "panel" and node.get("attrs", {}).get("panelType") not in _PANELS:
        raise ValueError(f"{path}: unknown panelType")
    if kind == "heading" and node.get("attrs", {}).get("level") not in range(1, 7):
        raise ValueError(f"{path}: level must be 1 to 6")
    if kind == "taskItem" and node.get("attrs", {}).get("state") not in {"TODO", "DONE"}:
        raise ValueError(f"{path}: state must be TODO or DONE")
    for index, child in enumerate(content):
        place = f"{path}/{index}"
        if not isinstance(child, dict):
            raise ValueError(f"{place}: must be an object")
        if child.get("type") not in _CHILDREN.get(kind, frozenset()):
            raise ValueError(f"{place}: {child.get('type')} is not allowed in {kind}")
        if kind == "codeBlock" and child.get("marks"):
            raise ValueError(f"{place}: marks are not allowed in codeBlock")
        _check(child, place)


def _check_text(node: Node, path: str) -> None:
    if not isinstance(node.get("text"), str) or not node["text"]:
        raise ValueError(f"{path}: text must not be empty")
    for mark in node.get("marks") or []:
        if not isinstance(mark, dict) or mark.get("type") not in _MARKS:
            raise ValueError(f"{path}: unknown mark")
        if mark["type"] == "link" and not isinstance(mark.get("attrs", {}).get("href"), str):
            raise ValueError(f"{path}: link without href")


def plain_text(node: object) -> str:
    """Return the words of a document, one block a line."""
    if not isinstance(node, dict):
        return ""
    if node.get("type") == "text":
        return str(node.get("text", ""))
    inner = "".join(plain_text(child) for child in node.get("content") or [])
    return inner + ("\n" if node.get("type") in {"paragraph", "heading", "codeBlock", "taskItem"} else "")


def to_html(node: object) -> Markup:
    """Draw a document (or a part of it) as HTML; everything in it is escaped."""
    if not isinstance(node, dict):
        return Markup("")
    kind = str(node.get("type"))
    if kind == "text":
        return _text(node)
    attrs: Mapping[str, Any] = node.get("attrs") or {}
    inner = Markup("").join(to_html(child) for child in node.get("content") or [])
    draw: dict[str, Callable[[], Markup]] = {
        "doc": lambda: inner,
        "paragraph": lambda: Markup("<p>{}</p>").format(inner),
        "heading": lambda: Markup("<h{0} class='adf-h'>{1}</h{0}>").format(
            min(int(attrs.get("level", 3)) + 3, 6), inner
        ),
        "hardBreak": lambda: Markup("<br>"),
        "rule": lambda: Markup("<hr>"),
        "bulletList": lambda: Markup("<ul>{}</ul>").format(inner),
        "orderedList": lambda: Markup("<ol start='{}'>{}</ol>").format(int(attrs.get("order", 1)), inner),
        "listItem": lambda: Markup("<li>{}</li>").format(inner),
        "taskList": lambda: Markup("<ul class='tasks'>{}</ul>").format(inner),
        "taskItem": lambda: Markup("<li class='{}'><span class='box'></span><span>{}</span></li>").format(
            "done" if attrs.get("state") == "DONE" else "todo", inner
        ),
        "codeBlock": lambda: Markup("<pre><code>{}</code></pre>").format(inner),
        "panel": lambda: Markup("<div class='panel {}'>{}</div>").format(attrs.get("panelType", "info"), inner),
        "blockquote": lambda: Markup("<blockquote>{}</blockquote>").format(inner),
        "expand": lambda: Markup("<details class='expand'><summary>{}</summary>{}</details>").format(
            attrs.get("title") or "Details", inner
        ),
        "table": lambda: Markup("<div class='scroll'><table>{}</table></div>").format(inner),
        "tableRow": lambda: Markup("<tr>{}</tr>").format(inner),
        "tableCell": lambda: Markup("<td>{}</td>").format(inner),
        "tableHeader": lambda: Markup("<th>{}</th>").format(inner),
        "emoji": lambda: escape(attrs.get("text") or attrs.get("shortName") or ""),
        "mention": lambda: Markup("<span class='mention'>{}</span>").format(attrs.get("text") or "@someone"),
        "status": lambda: Markup("<span class='lozenge {}'>{}</span>").format(
            attrs.get("color", "neutral"), attrs.get("text", "")
        ),
        "inlineCard": lambda: link(str(attrs.get("url", "")), escape(attrs.get("url", ""))),
    }
    draw["nestedExpand"] = draw["expand"]
    return draw.get(kind, lambda: inner)()


def _text(node: Node) -> Markup:
    drawn = escape(str(node.get("text", "")))
    tags = {"strong": "b", "em": "i", "code": "code", "strike": "s", "underline": "u"}
    for mark in node.get("marks") or []:
        kind = mark.get("type")
        if kind in tags:
            drawn = Markup("<{0}>{1}</{0}>").format(Markup(tags[kind]), drawn)  # noqa: S704  # a constant of the table above
        elif kind == "link":
            drawn = link(str(mark.get("attrs", {}).get("href", "")), drawn)
    return drawn


def link(url: str, label: Markup) -> Markup:
    """Return a link, or only its label when `url` is none that a browser should open."""
    if not url.startswith(("https://", "http://", "mailto:")):
        return label
    return Markup('<a href="{}" target="_blank" rel="noopener noreferrer">{}</a>').format(url, label)
