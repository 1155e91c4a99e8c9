"""Matchers on labels, and globs on namespaces.

Matchers are read in Alertmanager's default mode ("fallback"), so that what people paste means the same here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import re2

from receiver.routing.syntax import MatcherError, Parsed, parse_classic, parse_classic_one, parse_utf8, quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "Glob",
    "Matcher",
    "MatcherError",
    "parse_glob",
    "parse_matcher",
    "parse_matchers",
    "parse_matchers_with_warning",
]

_OPERATORS: Final = ("=", "!=", "=~", "!~")
_CLASSIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LOOK_AROUND = re.compile(r"\(\?<?[=!]")
_BACK_REFERENCE = re.compile(r"\\[1-9]|\(\?P=|\\k")


class _RegexError(MatcherError):
    """The notation is right, the regular expression in it is not."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label, as Alertmanager judges it.

    `op` is ``=``, ``!=``, ``=~`` or ``!~``; the regular expressions are RE2, linear in the length of the value, and
    must match the whole of it; a dot matches no newline. Raises MatcherError when it cannot be built.
    """

    name: str
    op: str
    value: str
    _regex: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.op not in _OPERATORS:
            raise MatcherError(f"unknown operator {quoted(self.op)}: use one of {' '.join(_OPERATORS)}")
        if not self.name:
            raise MatcherError('empty label name: write name="value"')
        regex = _compile_anchored(self.value) if self.op in ("=~", "!~") else None
        object.__setattr__(self, "_regex", regex)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Judge a label set. A label that is not there counts as the empty string."""
        value = labels.get(self.name, "")
        match self.op:
            case "=":
                return value == self.value
            case "!=":
                return value != self.value
            case "=~":
                return _finds(self._regex, value)
            case _:
                return not _finds(self._regex, value)

    def __str__(self) -> str:
        name = self.name if _CLASSIC_NAME.fullmatch(self.name) else quoted(self.name)
        return f"{name}{self.op}{quoted(self.value)}"


def parse_matcher(text: str) -> Matcher:
    """Read exactly one matcher, without braces. Raises MatcherError."""
    if text.startswith("{") or text.endswith("}"):
        raise MatcherError("a brace around a single matcher: leave it out", 0 if text[0] == "{" else len(text) - 1)
    matchers, _ = _parse(text, _one_utf8, lambda single: (parse_classic_one(single),))
    return matchers[0]


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Read comma-separated matchers; braces around them are optional. Raises MatcherError.

    An empty text is no matcher at all, which matches everything: so it is in Alertmanager.
    """
    return parse_matchers_with_warning(text)[0]


def parse_matchers_with_warning(text: str) -> tuple[tuple[Matcher, ...], str | None]:
    """Like `parse_matchers`, with one line for the admin where Alertmanager logs a warning, else None.

    The UTF-8 parser decides, unless it fails or the classic parser reads something else: then the classic one does.
    """
    return _parse(text, parse_utf8, parse_classic)


def _one_utf8(text: str) -> tuple[Parsed, ...]:
    parsed = parse_utf8(text)
    if len(parsed) != 1:
        raise MatcherError(f"expected one matcher, found {len(parsed)}: write each on its own")
    return parsed


def _parse(
    text: str,
    utf8_parser: Callable[[str], tuple[Parsed, ...]],
    classic_parser: Callable[[str], tuple[Parsed, ...]],
) -> tuple[tuple[Matcher, ...], str | None]:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise MatcherError("not valid Unicode text: remove the lone surrogate", error.start) from None
    utf8 = _attempt(utf8_parser, text)
    classic = _attempt(classic_parser, text)
    if isinstance(utf8, MatcherError):
        if isinstance(classic, MatcherError):
            # Alertmanager reports the classic error. Ours names the position, unless only the pattern is to blame.
            raise classic if isinstance(classic, _RegexError) else utf8
        return classic, (
            f"Alertmanager's UTF-8 parser refuses this ({utf8}), its classic parser decides: write {_listed(classic)}"
        )
    if isinstance(classic, MatcherError) or classic == utf8:
        return utf8, None
    return classic, (
        f"Alertmanager's two parsers read this differently, the classic one decides: write {_listed(classic)}"
    )


def _attempt(parser: Callable[[str], tuple[Parsed, ...]], text: str) -> tuple[Matcher, ...] | MatcherError:
    try:
        return tuple(_built(parsed) for parsed in parser(text))
    except MatcherError as error:
        return error


def _built(parsed: Parsed) -> Matcher:
    try:
        return Matcher(parsed.name, parsed.op, parsed.value)
    except MatcherError as error:
        error.position = parsed.position
        raise


def _listed(matchers: tuple[Matcher, ...]) -> str:
    return ",".join(map(str, matchers)) or "{}"


def _compile_anchored(value: str) -> Any:
    try:
        # The same text Alertmanager compiles. As bytes: RE2 then skips the translation of offsets we do not need.
        return re2.compile(f"^(?:{value})$".encode(), _options())
    except UnicodeEncodeError:
        raise MatcherError("not valid Unicode text: remove the lone surrogate") from None
    except re2.error as error:
        if _LOOK_AROUND.search(value):
            cure = "RE2 has no look-around, use a second matcher with != or !~ for what must not match"
        elif _BACK_REFERENCE.search(value):
            cure = "RE2 has no back-references, write the alternatives out as a|b"
        else:
            cure = "correct it (RE2 syntax), or compare plain text with = instead"
        # RE2 quotes the end of our anchored text; the admin should see only what was written.
        detail = error.args[0].decode("utf-8", "replace").removesuffix(")$").replace("\n", "\\n")
        raise _RegexError(f"not a regular expression ({detail}): {cure}") from None


def _options(*, dot_matches_newline: bool = False) -> Any:
    options = re2.Options()
    options.log_errors = False  # else RE2 writes to standard error by itself
    options.dot_nl = dot_matches_newline
    return options


def _finds(regex: Any, value: str) -> bool:
    # A lone surrogate cannot be encoded. It must not make routing fail, so it reads as "?".
    return regex.search(value.encode("utf-8", "replace")) is not None


@dataclass(frozen=True, slots=True)
class Glob:
    """A shell pattern for whole names: ``*`` any text, ``?`` one character, ``[a-z]`` and ``[!a-z]`` one of a set.

    Case counts, and so does every other character, the backslash included. Judging takes time linear in the length
    of the value. Raises MatcherError when the pattern cannot be read.
    """

    pattern: str
    _regex: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_regex", _compile_glob(self.pattern))

    def matches(self, value: str) -> bool:
        """Judge a name. The empty string, which stands for "not known", matches no glob, not even ``*``."""
        return value != "" and _finds(self._regex, value)

    def __str__(self) -> str:
        return self.pattern


def parse_glob(text: str) -> Glob:
    """Read one glob, such as an entry of `namespaces:`. Raises MatcherError."""
    return Glob(text)


def _compile_glob(pattern: str) -> Any:
    if not pattern:
        raise MatcherError("an empty glob matches nothing: write a name, or * for every known one")
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "[":
            part, at = _glob_set(pattern, at)
        else:
            part = {"*": ".*", "?": "."}.get(char) or _code(char)
            at += 1
        parts.append(part)
    try:
        return re2.compile(f"^(?:{''.join(parts)})$".encode(), _options(dot_matches_newline=True))
    except re2.error:  # every character is escaped, so only size is left to fail
        raise MatcherError("the glob is too long: write a shorter one, or several") from None


def _glob_set(pattern: str, start: int) -> tuple[str, int]:
    """Translate the set that opens at `start`; return it with the index behind it."""
    negated = pattern[start + 1 : start + 2] in ("!", "^")
    first = start + 1 + negated
    end = pattern.find("]", first + 1)  # a ] at the first place is a member
    if end < 0:
        raise MatcherError("[ without ]: close the set, or write [[] for the character itself", start)
    parts: list[str] = []
    at = first
    while at < end:
        if at + 2 < end and pattern[at + 1] == "-":
            low, high = pattern[at], pattern[at + 2]
            if low > high:
                raise MatcherError(f"the range {low}-{high} is empty: write {high}-{low}", at)
            parts.append(f"{_code(low)}-{_code(high)}")
            at += 3
        else:
            parts.append(_code(pattern[at]))
            at += 1
    return f"[{'^' if negated else ''}{''.join(parts)}]", end + 1


def _code(char: str) -> str:
    return f"\\x{{{ord(char):x}}}"
