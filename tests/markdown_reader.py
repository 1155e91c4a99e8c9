"""An independent reader of Markdown (markdown-it), and what GitHub and GitLab would make of the text it shows."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt

READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])

# What GitHub and GitLab look for in the text that is shown, outside code: mentions, references, emoji, addresses.
TRAPS = tuple(
    re.compile(trap, re.IGNORECASE)
    for trap in (
        r"(?<![\w`])@[a-z0-9]", r"(?<!&)#\d", r"\bGH-\d", r"![0-9]", r"(?<!\w)\$\d", r"%[\w\"]", r"~[\w\"]", r"&\d",
        r":[+-]1:|:boom:", r"\bhttps?://", r"\bwww\.\w", r"\*iteration:", r"\[vulnerability:", r"::include",
    )
)  # fmt: skip


class Shown(HTMLParser):
    """Reads rendered HTML: the tags that there are, the text, and the text outside code."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.outside = ""
        self.comments: list[str] = []
        self._code = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name in ("href", "src")]
        self._code += tag == "code"
        self.text += "\n" if tag == "br" else ""

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag == "code"

    def handle_data(self, data: str) -> None:
        self.text += data
        self.outside += "\0" if self._code else data

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)


def shown(source: str) -> Shown:
    return Shown(READER.render(source))
