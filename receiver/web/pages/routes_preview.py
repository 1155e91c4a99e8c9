"""What would be sent, drawn as people would see it. All texts are escaped here; nothing in them is believed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup, escape

from receiver.destinations import jira_adf
from receiver.explain import Shown
from receiver.rendering.markup import safe_url
from receiver.web.pages.runbooks import to_html

MAX_JSON: Final = 20_000
_PIECES: Final = re.compile(
    r"```(?P<block>.*?)```|`(?P<code>[^`\n]+)`|<(?P<url>[^<>|\s]+)\|(?P<text>[^<>]*)>|<(?P<call>[!@#][^<>]*)>"
    r"|(?<!\w)\*(?P<bold>[^*\n]+)\*(?!\w)|(?<!\w)_(?P<italic>[^_\n]+)_(?!\w)",
    re.DOTALL,
)
_ENTITIES: Final = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))
_FOLDED: Final = re.compile(r"</?details>|<summary>|</summary>|<!--.*?-->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Preview:
    """One message. `form` is slack, page, ticket, mail or json."""

    label: str
    kind: str
    form: str
    title: str = ""
    parts: tuple[tuple[str, Any], ...] = ()
    """What it says, in order: form → text, or rows."""
    raw: str = ""


def preview_of(shown: Shown) -> Preview | None:
    """Return what a destination would show; None where nothing would be sent."""
    body = shown.request
    if body is None:
        return None
    raw = json.dumps(body, indent=2, ensure_ascii=False, default=str)
    raw = raw if len(raw) <= MAX_JSON else f"{raw[:MAX_JSON]}\n… {len(raw) - MAX_JSON:,} characters left out"
    form, title, parts = _drawn(shown.kind, body)
    return Preview(shown.label, shown.kind, form, title, parts, raw)


Drawn = tuple[str, str, tuple[tuple[str, Any], ...]]


def _drawn(kind: str, body: Mapping[str, Any]) -> Drawn:
    match kind:
        case "slack":
            blocks = body.get("blocks") or [{"type": "section", "text": {"text": body.get("text", "")}}]
            return "slack", "", tuple(_slack(blocks))
        case "pagerduty" if isinstance(body.get("payload"), Mapping):
            return _page(body, body["payload"])
        case "jira" if isinstance(body.get("fields"), Mapping):
            fields = body["fields"]
            said = fields.get("description")
            drawn = _adf(said) if isinstance(said, Mapping) else _plain(said)
            return "ticket", str(fields.get("summary", "")), (("html", drawn),)
        case "github" | "gitlab":
            text = str(body.get("body") or body.get("description") or "")
            return "ticket", str(body.get("title", "")), (("html", to_html(_FOLDED.sub("", text))),)
        case "servicenow":
            return "ticket", str(body.get("short_description", "")), (("html", _plain(body.get("description"))),)
        case "email":
            to = ", ".join(map(str, body.get("to") or ()))
            parts = (("rows", (("From", str(body.get("from", ""))), ("To", to))), ("html", _plain(body.get("text"))))
            return "mail", str(body.get("subject", "")), parts
        case _:
            return "json", "", ()


def _plain(text: object) -> Markup:
    return Markup("<pre>{}</pre>").format(str(text or ""))


# --- Slack ---


def _slack(blocks: Iterable[Any]) -> Iterable[tuple[str, Any]]:
    for block in blocks:
        match block.get("type"):
            case "header":
                yield "header", block["text"]["text"]
            case "section" if "text" in block:
                yield "text", mrkdwn(block["text"].get("text", ""))
            case "context":
                yield "context", Markup(" ").join(mrkdwn(one.get("text", "")) for one in block.get("elements", ()))
            case "actions":
                yield "buttons", tuple(_button(one) for one in block.get("elements", ()))
            case "divider":
                yield "divider", ""
            case _:
                yield "text", escape(json.dumps(block, ensure_ascii=False))


def _button(element: Mapping[str, Any]) -> str:
    said = element.get("text") or element.get("placeholder") or {}
    return str(said.get("text", "…")) + (" ▾" if str(element.get("type", "")).endswith("select") else "")


def mrkdwn(text: str) -> Markup:
    """Return Slack's markup as HTML: bold, italic, code, links; calls of people as they are named."""
    made, at = Markup(), 0
    for found in _PIECES.finditer(text):
        made += _lines(text[at : found.start()]) + _piece(found)
        at = found.end()
    return made + _lines(text[at:])


def _piece(found: re.Match[str]) -> Markup:
    if (block := found["block"]) is not None:
        return Markup("<pre>{}</pre>").format(_said(block.strip("\n")))
    if (code := found["code"]) is not None:
        return Markup("<code>{}</code>").format(_said(code))
    if (url := found["url"]) is not None:
        return _link(_said(url), _said(found["text"]))
    if (call := found["call"]) is not None:
        name = call.rpartition("|")[2].lstrip("!@#").removeprefix("subteam^")
        return Markup('<b class="call">@{}</b>').format(_said(name))
    if (bold := found["bold"]) is not None:
        return Markup("<strong>{}</strong>").format(mrkdwn(bold))
    return Markup("<em>{}</em>").format(mrkdwn(found["italic"]))


def _link(url: str, text: str) -> Markup:
    if not safe_url(url):
        return escape(text)
    return Markup('<a href="{}" rel="noreferrer">{}</a>').format(url, text)


def _said(text: str) -> str:
    for entity, char in _ENTITIES:
        text = text.replace(entity, char)
    return text


def _lines(text: str) -> Markup:
    return Markup("<br>").join(_said(text).split("\n")) if text else Markup()


# --- PagerDuty ---


def _page(body: Mapping[str, Any], payload: Mapping[str, Any]) -> Drawn:
    details = payload.get("custom_details")
    rows = [("Severity", str(payload.get("severity", ""))), ("Source", str(payload.get("source", "")))]
    rows += [(name.title(), str(payload[name])) for name in ("component", "group", "class") if payload.get(name)]
    told = [(key, _value(value)) for key, value in details.items()] if isinstance(details, Mapping) else []
    links = tuple(_link(str(one.get("href", "")), str(one.get("text", ""))) for one in body.get("links") or ())
    return "page", str(payload.get("summary", "")), (("rows", tuple(rows)), ("rows", tuple(told)), ("links", links))


def _value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_value(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return "\n".join(str(_value(one)) for one in value)
    return str(value)


# --- Jira ---

_TAGS: Final = {
    "paragraph": "p", "bulletList": "ul", "orderedList": "ol", "listItem": "li", "codeBlock": "pre", "table": "table",
    "tableRow": "tr", "tableHeader": "th", "tableCell": "td", "blockquote": "blockquote", "heading": "p",
}  # fmt: skip
_MARKS: Final = {"strong": "strong", "em": "em", "code": "code"}


def _adf(node: Any, depth: int = 0) -> Markup:
    if not isinstance(node, Mapping) or depth > 20:
        return escape(jira_adf.flatten(node))
    kind = str(node.get("type", ""))
    if kind == "text":
        return _marked(str(node.get("text", "")), node.get("marks") or ())
    if kind in ("hardBreak", "rule"):
        return Markup("<br>") if kind == "hardBreak" else Markup("<hr>")
    inner = Markup().join(_adf(one, depth + 1) for one in node.get("content") or ())
    tag = _TAGS.get(kind)
    if tag == "table":
        wrapped = '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>{}</table></div>'
        return Markup(wrapped).format(inner)  # noqa: S704  # our own
    return Markup(f"<{tag}>{{}}</{tag}>").format(inner) if tag else inner  # noqa: S704  # one of our own tags


def _marked(text: str, marks: Iterable[Any]) -> Markup:
    made = escape(text)
    for mark in marks:
        name = mark.get("type")
        if name == "link":
            url = str((mark.get("attrs") or {}).get("href", ""))
            made = Markup('<a href="{}" rel="noreferrer">{}</a>').format(url, made) if safe_url(url) else made
        elif tag := _MARKS.get(str(name)):
            made = Markup(f"<{tag}>{{}}</{tag}>").format(made)  # noqa: S704  # one of our own tags
    return made
