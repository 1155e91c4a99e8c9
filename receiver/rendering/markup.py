"""The small markup that templates write, and the escaping that keeps values from writing any.

A printed value passes `escape`: characters that mean something to the markup become private-use characters, and a mark
before the value keeps it from looking like the start of a list or a table. `parse` sees only the template's own markup
and turns the private-use characters back at the very end.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from receiver.rendering import Block, Code, Paragraph, Small, Span, Steps, Table, Text

_START = "\ue0ff"
_SPECIAL = "*_`[]()|~<>\\#"
_ESCAPE = {ord(char): chr(0xE100 + ord(char)) for char in _SPECIAL}
_UNESCAPE: dict[int, str | None] = {0xE100 + ord(char): char for char in _SPECIAL} | {ord(_START): None}

# What a value must not bring along: our private-use characters and halves of surrogate pairs ...
_FOREIGN = re.compile("[\ue0ff-\ue17f\ud800-\udfff]")
# ... marks that reorder or hide text (a name could read as another), tags, byte order marks ...
_HIDDEN = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
# ... and control characters, line separators included.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")

_INLINE = re.compile(r"\*\*(?P<bold>.+?)\*\*|`(?P<code>[^`]+)`|\[(?P<text>[^\]]*)\]\((?P<url>[^)]*)\)")
_ITEM = re.compile(r"(?:(?P<number>\d{1,3})\.|-) +(?P<text>.*)")
_RULE = re.compile(r"\|[\s|:-]+\|?\s*")
_CODE_SPAN = re.compile(r"`([^`]+)`")


class Marked(str):
    """Text that is escaped already."""

    __slots__ = ()


def clean(text: object) -> str:
    """Return a value as one line of harmless text: no control, reordering, invisible or broken characters."""
    line = _FOREIGN.sub("\ufffd", str(text))
    return _CONTROL.sub(" ", _HIDDEN.sub("", line)).strip()


def escape(value: object) -> str:
    """Return a value so that the parser sees no markup in it. None is the empty string; safe to apply twice."""
    if isinstance(value, Marked):
        return value
    text = _CONTROL.sub(" ", "" if value is None else str(value)).translate(_ESCAPE)
    return Marked(text if not text or text.startswith(_START) else _START + text)


def code_spans(value: object) -> Marked:
    """Escape a value but let `code` between backticks be code: a style, which can do no harm."""
    text = str(value)
    parts, last = [], 0
    for match in _CODE_SPAN.finditer(text):
        parts += [escape(text[last : match.start()]), "`", escape(match[1]), "`"]
        last = match.end()
    return Marked(_START + "".join([*parts, escape(text[last:])]) if text else "")


def line(source: str) -> str:
    """Return rendered markup as one line of plain text, for headlines."""
    return " ".join("".join(span.text for span in inline(" ".join(source.split()))).split())


def inline(source: str) -> Text:
    """Parse bold, code and links."""
    spans: list[Span] = []
    last = 0
    for match in _INLINE.finditer(source):
        spans += _span(source[last : match.start()])
        if match["bold"] is not None:
            spans += [Span(span.text, span.style or "b", span.url) for span in inline(match["bold"])]
        elif match["code"] is not None:
            spans += _span(match["code"], "c")
        else:
            spans += _link(match["text"], match["url"])
        last = match.end()
    return (*spans, *_span(source[last:]))


def parse(source: str) -> tuple[Block, ...]:
    """Parse markup into blocks. Total: what is not markup is text."""
    parser = _Parser()
    for raw in source.split("\n"):
        parser.feed(raw)
    parser.close()
    return tuple(parser.blocks)


def safe_url(url: str) -> str:
    """Return the URL if it is an http(s) or mailto link without blanks, else the empty string."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if re.search(r"[\s<>\"|\\^`{}]", url):
        return ""
    web = parts.scheme in {"http", "https"} and bool(parts.netloc)
    return url if web or (parts.scheme == "mailto" and parts.path) else ""


class _Parser:
    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.text: list[str] = []
        self.items: list[str] = []
        self.numbered = True
        self.rows: list[tuple[str, ...]] = []
        self.fence: list[str] | None = None
        self.caption = ""

    def feed(self, raw: str) -> None:
        if self.fence is not None:
            if raw.strip() == "```":
                self._end_fence()
            else:
                self.fence.append(_plain(raw.rstrip()))
            return
        stripped = raw.strip()
        item = _ITEM.fullmatch(stripped)
        if stripped.startswith("```"):
            self.close()
            self.fence, self.caption = [], _plain(stripped[3:].strip())
        elif not stripped:
            self._end_text()
            self._end_rows()
        elif stripped == "~":  # small print of which nothing came
            self.close()
        elif stripped.startswith("~ "):
            self.close()
            self.blocks.append(Small(inline(stripped[2:].strip())))
        elif stripped.startswith("|"):
            self._end_text()
            self._end_items()
            if not _RULE.fullmatch(stripped):
                self.rows.append(tuple(_plain(cell.strip()) for cell in stripped.strip("|").split("|")))
        elif item:
            self._end_text()
            self._end_rows()
            if self.items and self.numbered != (item["number"] is not None):
                self._end_items()
            self.numbered = item["number"] is not None
            self.items.append(item["text"])
        elif self.items and raw.startswith("  "):
            self.items[-1] += " " + stripped
        else:
            self._end_items()
            self._end_rows()
            self.text.append(stripped)

    def close(self) -> None:
        if self.fence is not None:
            self._end_fence()
        self._end_text()
        self._end_items()
        self._end_rows()

    def _end_fence(self) -> None:
        if self.fence:
            self.blocks.append(Code(tuple(self.fence), self.caption))
        self.fence = None

    def _end_text(self) -> None:
        if self.text:
            self.blocks.append(Paragraph(inline(" ".join(self.text))))
        self.text = []

    def _end_items(self) -> None:
        if self.items:
            self.blocks.append(Steps(tuple(inline(item) for item in self.items), self.numbered))
        self.items = []

    def _end_rows(self) -> None:
        if self.rows:
            width = len(self.rows[0])
            rows = tuple((*row, *[""] * width)[:width] for row in self.rows[1:])
            self.blocks.append(Table(self.rows[0], rows))
        self.rows = []


def _plain(source: str) -> str:
    return source.translate(_UNESCAPE)


def _span(source: str, style: str = "") -> list[Span]:
    text = _plain(source)
    return [Span(text, style)] if text else []


def _link(text: str, url: str) -> list[Span]:
    target = safe_url(_plain(url))
    label = _plain(text)
    if not target:
        return [Span(label)] if label else []
    return [Span(label or target, "", target)]
