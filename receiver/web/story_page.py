"""`/stories/{id}`: where the "Details" link leads. One page, readable without scripts and in print."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from receiver.model import Story, Wanted
from receiver.rendering import Block, Code, Message, Paragraph, Renderer, Small, Steps, Table, Text
from receiver.store import attempts, reading
from receiver.store.attempts import Attempt
from receiver.store.deliveries import DeliveryRow
from receiver.store.engine import Conn, Store
from receiver.store.listing import shown_state
from receiver.views import iso
from receiver.wire import clean

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STYLE = """
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:1.5rem auto;padding:0 1rem}
h1{font-size:1.4rem;line-height:1.3}h2{font-size:1.05rem;margin-top:2rem}
pre{overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere;padding:.7rem;border:1px solid #8886;border-radius:6px}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.3rem .6rem;border-bottom:1px solid #8884}
.small{opacity:.75;font-size:.9rem}.scroll{overflow-x:auto}
"""


def held(request: Request) -> str:
    """Return the id that an address holds, as a database takes it."""
    return clean(request.path_params["id"])


async def story_page(request: Request, store: Store, words: Renderer | None) -> Response:
    """Return the story as it is now, with its timeline and who was told."""

    async def read(conn: Conn) -> tuple[Story, list[tuple[DeliveryRow, tuple[Attempt, ...]]]] | None:
        found = await reading.whole(conn, held(request))
        if found is None:
            return None
        return found.story, [(row, await attempts.of_delivery(conn, row.id)) for row in found.deliveries]

    result = await store.browse(read)
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    if result is None:
        return HTMLResponse(_page("No such story", "<h1>No story has this id</h1>"), 404, headers)
    story, told = result
    message = None
    if words is not None and told:
        row = told[0][0]
        message = words.root(Wanted(story, row.keys, firing=story.open, reasons=row.reasons), "slack")
    return HTMLResponse(_page(story.title, _body(story, message, told)), 200, headers)


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)} · mtv-receiver</title><style>{_STYLE}</style><main>{body}</main></html>"
    )


def _body(story: Story, message: Message | None, told: Sequence[tuple[DeliveryRow, Sequence[Attempt]]]) -> str:
    title = f"{message.mark} {message.title}" if message else story.title
    parts = [f"<h1>{escape(title)}</h1>"]
    parts += [_block(block) for block in (message.blocks if message else ())]
    parts.append("<h2>What happened</h2>")
    parts.append(_table(("when", "what"), [(iso(one.at) or "", one.text) for one in story.timeline]))
    parts.append("<h2>Who was told</h2>")
    parts.append(
        _table(
            ("where", "state", "why", "tries"),
            [
                (
                    row.label,
                    _state(row),
                    "; ".join(f"{one.text} ({one.route})" if one.route else one.text for one in row.reasons),
                    ", ".join(f"{one.op} {one.outcome or 'no answer'}" for one in tries),
                )
                for row, tries in told
            ],
        )
    )
    facts = sorted((story.identity.facts if story.identity else {}).items())
    parts.append("<h2>What is known</h2>")
    parts.append(_table(("fact", "value"), facts))
    parts.append(f'<p class="small">Story {escape(story.id)} · revision {story.revision} · {escape(story.subject)}</p>')
    return "".join(parts)


def _state(row: DeliveryRow) -> str:
    if row.moved:
        return f"moved to {row.moved}"
    return f"{shown_state(row).value}{': ' + row.error if row.error else ''}"


def _block(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{_text(text)}</p>"
        case Small(text):
            return f'<p class="small">{_text(text)}</p>'
        case Steps(items, numbered):
            tag = "ol" if numbered else "ul"
            return f"<{tag}>{''.join(f'<li>{_text(item)}</li>' for item in items)}</{tag}>"
        case Code(lines, caption):
            head = f"<h2>{escape(caption)}</h2>" if caption else ""
            return f"{head}<pre>{escape(chr(10).join(lines))}</pre>"
        case Table(header, rows):
            return _table(header, rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _text(text: Text) -> str:
    tags = {"b": "strong", "i": "em", "c": "code"}
    shown = []
    for span in text:
        inner = escape(span.text)
        if span.style in tags:
            inner = f"<{tags[span.style]}>{inner}</{tags[span.style]}>"
        if span.url.startswith(("https://", "http://")):
            inner = f'<a href="{escape(span.url)}" rel="noreferrer">{inner}</a>'
        shown.append(inner)
    return "".join(shown)
