"""A message as a terminal shows it: the blocks that every destination gets, with colours where there are any."""

from __future__ import annotations

from collections.abc import Collection

from rich.console import Console
from rich.text import Text

from receiver.rendering import Block, Code, Message, Paragraph, Small, Span, Steps, Table
from receiver.rendering.text import table_lines

_STYLES = {"b": "bold", "i": "italic", "c": "cyan"}
_INDENT = 4
_NARROWEST = 20


def paint(out: Console, message: Message, commands: Collection[str] = ()) -> None:
    """Print a message. Everything fits the width, but `commands`: a command that is cut in two cannot be copied."""
    _wrapped(out, Text(f"{message.mark} {message.title}".strip(), f"bold {message.color}"))
    for block in message.blocks:
        out.print()
        _block(out, block, commands)
    for at, link in enumerate(message.links):
        if not at:
            out.print()
        out.print(Text(f"{link.text}: {link.url}"), soft_wrap=True)


def _block(out: Console, block: Block, commands: Collection[str]) -> None:
    match block:
        case Paragraph(text):
            _wrapped(out, _text(text))
        case Small(text):
            _wrapped(out, _text(text, "dim"))
        case Steps(items, numbered):
            for number, item in enumerate(items, 1):
                _step(out, f"{number}. " if numbered else "- ", item)
        case Code(lines, caption):
            if caption:
                _wrapped(out, Text(f"{caption}:", "bold"))
            for line in lines:
                if line in commands:
                    _command(out, line)
                else:
                    _wrapped(out, Text(line), " " * _INDENT, " " * (_INDENT + 2))
        case Table():
            for at, line in enumerate(table_lines(block, out.width)):
                out.print(Text(line, "" if at else "bold"), soft_wrap=True)


def _step(out: Console, lead: str, item: tuple[Span, ...]) -> None:
    """Print one step; a command at its end that would be cut stands on a line of its own."""
    spans, command = item, ""
    if item and item[-1].style == "c" and len(lead) + sum(len(span.text) for span in item) > out.width:
        spans, command = item[:-1], item[-1].text
    _wrapped(out, _text(spans), lead, " " * len(lead))
    if command:
        _command(out, command)


def _command(out: Console, command: str) -> None:
    out.print(Text(" " * _INDENT + command, "cyan"), soft_wrap=True)


def _wrapped(out: Console, text: Text, first: str = "", then: str = "") -> None:
    """Print running text with its lines indented, and without blanks at their ends."""
    lead = first
    for line in text.wrap(out, max(out.width - max(len(first), len(then)), _NARROWEST)):
        line.rstrip()
        out.print(Text(lead).append_text(line), soft_wrap=True)
        lead = then


def _text(spans: tuple[Span, ...], style: str = "") -> Text:
    made = Text(style=style)
    for span in spans:
        made.append(span.text, _STYLES.get(span.style, ""))
        if span.url not in ("", span.text):
            made.append(f" ({span.url})")
    return made
