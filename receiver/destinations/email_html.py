"""A message as HTML that mail programs show well: inline styles, one column, legible on a phone and on dark screens.

Nothing is loaded from anywhere, and every text is escaped. Where a background is set, so is the colour of its text: a
mail program that turns colours around then turns both.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from receiver.fitting import clean
from receiver.model import Link
from receiver.rendering import Block, Code, Message, Paragraph, Small, Span, Steps, Table, Text
from receiver.rendering.markup import safe_url

_FONT = "font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_MONO = "font-family:ui-monospace,SFMono-Regular,Consolas,'Liberation Mono',monospace"
_BOX = "background:#f4f4f5;color:#18181b;border-radius:6px"
_BORDER = "border:1px solid #a1a1aa"
_HEAD = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="supported-color-schemes" content="light dark">
<title>{title}</title></head>
<body style="margin:0;padding:0">
<div style="display:none;max-height:0;overflow:hidden">{preview}</div>
<div style="max-width:680px;margin:0 auto;padding:12px;{font};font-size:16px;line-height:1.45;overflow-wrap:anywhere">
"""


def html(message: Message, news: Sequence[Block], footer: str) -> str:
    """Return the whole page: headline, news of this mail, the story, links, and why one gets it."""
    head = _HEAD.format(title=_text(message.title), preview=_text(f"{message.mark} {message.push}"), font=_FONT)
    title = _text(f"{message.mark} {message.title}".strip())
    band = f"border-left:6px solid {escape(message.color, quote=True)};padding:2px 0 2px 12px"
    parts = [head, f'<h1 style="margin:0 0 12px;font-size:20px;line-height:1.3;{band}">{title}</h1>']
    if news:
        inner = "\n".join(_block(block) for block in news)
        parts.append(f'<div style="{_BOX};padding:4px 12px;margin:0 0 12px">\n{inner}\n</div>')
    parts += [_block(block) for block in message.blocks]
    parts += [_buttons(message.links)] if message.links else []
    parts.append(f'<p style="margin:16px 0 0;font-size:13px;opacity:.75">{_text(footer)}</p>')
    return "\n".join([*parts, "</div></body></html>"]) + "\n"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f'<p style="margin:0 0 12px">{_spans(text)}</p>'
        case Small(text):
            return f'<p style="margin:0 0 8px;font-size:13px;opacity:.75">{_spans(text)}</p>'
        case Steps(items, numbered):
            tag = "ol" if numbered else "ul"
            rows = "".join(f'<li style="margin:0 0 6px">{_spans(item)}</li>' for item in items)
            return f'<{tag} style="margin:0 0 12px;padding-left:24px">{rows}</{tag}>'
        case Code(lines, caption):
            said = f'<p style="margin:0 0 2px;font-size:13px;opacity:.75">{_text(caption)}</p>' if caption else ""
            code = _text("\n".join(lines))
            style = f"margin:0 0 12px;padding:8px 10px;{_BOX};{_MONO};font-size:13px;line-height:1.4"
            return f'{said}<pre style="{style};white-space:pre-wrap;overflow-wrap:anywhere">{code}</pre>'
        case Table(header, rows):
            return _table(header, rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cell = f"padding:3px 8px;{_BORDER};text-align:left;vertical-align:top"
    head = "".join(f'<th style="{cell}">{_text(one)}</th>' for one in header)
    lines = [f"<tr>{head}</tr>"] if any(header) else []
    for row in rows:
        rest = f' colspan="{len(header) - len(row) + 1}"' if row and len(row) < len(header) else ""
        cells = [f'<td style="{cell}">{_text(one)}</td>' for one in row[:-1]]
        cells += [f'<td{rest} style="{cell}">{_text(row[-1])}</td>'] if row else []
        lines.append(f"<tr>{''.join(cells)}</tr>")
    if not lines:
        return ""
    style = "border-collapse:collapse;font-size:13px;line-height:1.35"
    return f'<div style="overflow-x:auto;margin:0 0 12px"><table style="{style}">{"".join(lines)}</table></div>'


def _buttons(links: Sequence[Link]) -> str:
    style = f"display:inline-block;margin:4px 8px 4px 0;padding:7px 14px;border-radius:6px;{_BORDER}"
    made = [_link(link.url, _text(link.text), f"{style};text-decoration:none") for link in links]
    return f'<p style="margin:12px 0">{"".join(made)}</p>'


def _link(url: str, inner: str, style: str = "") -> str:
    target = safe_url(url)
    styled = f' style="{style}"' if style else ""
    return f'<a href="{escape(target, quote=True)}"{styled}>{inner}</a>' if target else inner


def _spans(text: Text) -> str:
    return "".join(_span(span) for span in text)


def _span(span: Span) -> str:
    inner = _text(span.text)
    match span.style:
        case "b":
            inner = f"<strong>{inner}</strong>"
        case "i":
            inner = f"<em>{inner}</em>"
        case "c":
            inner = f'<code style="{_BOX};padding:1px 4px;{_MONO};font-size:.88em">{inner}</code>'
    return _link(span.url, inner) if span.url else inner


def _text(text: str) -> str:
    return escape(clean(text), quote=True)
