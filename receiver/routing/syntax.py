"""Alertmanager's two parsers for matchers: UTF-8 (0.27 and later) and classic (all before).

They know the notation only. Which of the two counts, and what a matcher means, is in `matchers`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import re2

# Go's unicode.IsSpace. Python's str.isspace() differs: it has the separators U+001C to U+001F as well.
_WHITESPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007"
    "\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
_UNQUOTED = re.compile(f"[^{_WHITESPACE}{{}}!=~,\\\\\"'`]+")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_OPERATOR = re.compile(r"=~|=|!=|!~")
# Escapes of a double-quoted Go string (strconv.Unquote): one letter, or a number in octal or hex.
_ESCAPE = re.compile(
    r"""\\(?:(?P<letter>[abfnrtv\\"])|(?P<octal>[0-3][0-7]{2})|x(?P<byte>[0-9a-fA-F]{2})"""
    r"""|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8}))"""
)
_LETTERS: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
}
# The classic parser is this regular expression (alertmanager: pkg/labels/parse.go), so RE2 runs it here as well.
_CLASSIC = re2.compile(r"^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(=~|=|!=|!~)\s*((?s).*?)\s*$")


class MatcherError(ValueError):
    """A matcher or glob that cannot be used; the message is one line: what is wrong, and the cure.

    `position` is the 0-based character in the text where the trouble starts, as well as it is known.
    """

    def __init__(self, message: str, position: int = 0) -> None:
        super().__init__(message)
        self.position = position


@dataclass(frozen=True, slots=True)
class Parsed:
    """One matcher as it was written, unescaped. `position` is where its value starts."""

    name: str
    op: str
    value: str
    position: int


def quoted(text: str) -> str:
    r"""Return the text in double quotes with ``\``, ``"`` and newline escaped: both parsers read it the same."""
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return f'"{escaped}"'


# --- UTF-8 parser ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # "{", "}", ",", "operator", "quoted", "unquoted" or "end"
    text: str
    start: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else quoted(self.text)


class _Tokens:
    """The tokens of a text, one ahead. Scans only when asked, so the leftmost problem is the one reported."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._next: _Token | None = None
        self._position = 0

    def peek(self) -> _Token:
        if self._next is None:
            self._next = self._scan()
        return self._next

    def take(self) -> _Token:
        token = self.peek()
        self._position = token.start + len(token.text)
        self._next = None
        return token

    def _scan(self) -> _Token:
        start = self._position
        while start < len(self._text) and self._text[start] in _WHITESPACE:
            start += 1
        if start == len(self._text):
            return _Token("end", "", start)
        char = self._text[start]
        if char in "{},":
            return _Token(char, char, start)
        for kind, pattern in (("operator", _OPERATOR), ("quoted", _QUOTED), ("unquoted", _UNQUOTED)):
            if found := pattern.match(self._text, start):
                return _Token(kind, found.group(), start)
        if char == '"':
            raise MatcherError('a double quote is opened and never closed: add the missing "', start)
        raise MatcherError(
            f"unexpected {quoted(char)}: put names and values with such characters in double quotes", start
        )


def parse_utf8(text: str) -> tuple[Parsed, ...]:
    """Read comma-separated matchers as Alertmanager's UTF-8 parser does.

    Braces around the whole are optional but paired, one comma may trail, and a value is required.
    Raises MatcherError.
    """
    tokens = _Tokens(text)
    braced = tokens.peek().kind == "{"
    if braced:
        tokens.take()
    parsed: list[Parsed] = []
    while tokens.peek().kind not in ("}", "end"):
        parsed.append(_utf8_matcher(tokens))
        following = tokens.peek()
        if following.kind == ",":
            tokens.take()
        elif following.kind not in ("}", "end"):
            raise MatcherError(
                f"expected a comma, found {following}: separate matchers with commas, and put values with blanks or "
                "special characters in double quotes",
                following.start,
            )
    last = tokens.take()
    if braced and last.kind == "end":
        raise MatcherError("the brace at the start is never closed: add } at the end, or leave both out", last.start)
    if not braced and last.kind == "}":
        raise MatcherError("} without { at the start: leave it out, or put it in double quotes", last.start)
    if tokens.peek().kind != "end":
        raise MatcherError(f"expected the end after }}, found {tokens.peek()}: remove it", tokens.peek().start)
    return tuple(parsed)


def _utf8_matcher(tokens: _Tokens) -> Parsed:
    name = tokens.take()
    if name.kind not in ("quoted", "unquoted"):
        raise MatcherError(f'expected a label name, found {name}: write name="value"', name.start)
    operator = tokens.take()
    if operator.kind != "operator":
        raise MatcherError(
            f'expected =, !=, =~ or !~ after {name}, found {operator}: write name="value"',
            operator.start,
        )
    value = tokens.take()
    if value.kind not in ("quoted", "unquoted"):
        raise MatcherError(
            f'expected a value after {operator.text}, found {value}: put it in double quotes, "" for the empty value',
            value.start,
        )
    return Parsed(_unquoted(name), operator.text, _unquoted(value), value.start)


def _unquoted(token: _Token) -> str:
    if token.kind == "unquoted":
        return token.text
    inner = token.text[1:-1]
    content = bytearray()
    at = 0
    while at < len(inner):
        where = token.start + 1 + at
        if inner[at] == "\n":
            raise MatcherError("a line break inside double quotes: write \\n", where)
        if inner[at] != "\\":
            content += inner[at].encode()
            at += 1
            continue
        found = _ESCAPE.match(inner, at)
        if not found:
            raise MatcherError(
                f"unknown escape {inner[at : at + 2]}: write a backslash as two, \\{inner[at : at + 2]}", where
            )
        content += _escape(found, where)
        at = found.end()
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise MatcherError(
            "the escapes give no valid UTF-8 text: write the characters themselves, or \\u and four hex digits",
            token.start,
        ) from None


def _escape(found: re.Match[str], where: int) -> bytes:
    if letter := found["letter"]:
        return _LETTERS[letter].encode()
    if octal := found["octal"]:
        return bytes([int(octal, 8)])
    if byte := found["byte"]:
        return bytes([int(byte, 16)])
    code = int(found["short"] or found["long"], 16)
    try:
        return chr(code).encode()
    except (ValueError, OverflowError):  # a surrogate half, or beyond U+10FFFF
        raise MatcherError(f"{found.group()} is no character: write the character itself", where) from None


# --- classic parser -------------------------------------------------------------------------------------------------


def parse_classic(text: str) -> tuple[Parsed, ...]:
    """Read comma-separated matchers as Alertmanager's classic parser does.

    It forgives: one brace may be missing, a value may be empty or bare, an unknown escape is a literal backslash.
    Raises MatcherError.
    """
    start = 1 if text.startswith("{") else 0
    end = len(text) - 1 if text[start:].endswith("}") else len(text)
    pieces: list[Parsed] = []
    inside_quotes = escaped = False
    piece = start
    for at in range(start, end):
        char = text[at]
        if char == "," and not inside_quotes:
            pieces.append(parse_classic_one(text[piece:at], piece))
            piece = at + 1
        elif char == '"':
            if not escaped:
                inside_quotes = not inside_quotes
            escaped = False
        elif char == "\\":
            escaped = not escaped
        elif char != ",":  # a comma leaves a backslash before it in force; so does Alertmanager
            escaped = False
    last = text[piece:end].lstrip(_WHITESPACE)
    if last:  # else one trailing comma, which is fine
        pieces.append(parse_classic_one(last.rstrip(_WHITESPACE), end - len(last)))
    return tuple(pieces)


def parse_classic_one(text: str, offset: int = 0) -> Parsed:
    """Read one matcher as the classic parser does: a bare value may hold commas. Raises MatcherError.

    `offset` is where the text stands in the text that positions are counted in.
    """
    found = _CLASSIC.search(text)
    if not found:
        raise MatcherError('expected name, then =, !=, =~ or !~, then a value: write name="value"', offset)
    name, op, raw = found.groups()
    position = offset + found.start(3)
    wants_quote = raw.startswith('"')
    raw = raw[1:] if wants_quote else raw
    value: list[str] = []
    escaped = False
    for at, char in enumerate(raw):
        is_last = at == len(raw) - 1
        if escaped:
            escaped = False
            value.append({"n": "\n", '"': '"', "\\": "\\"}.get(char, "\\" + char))
        elif char == "\\" and not is_last:
            escaped = True
        elif char == '"':
            if not (wants_quote and is_last):
                raise MatcherError('a double quote inside the value: write it as \\"', position)
            wants_quote = False
        else:
            value.append(char)
    if wants_quote:
        raise MatcherError('a double quote is opened and never closed: add the missing "', position)
    return Parsed(name, op, "".join(value), position)
