"""The part of JQL that programs use to find their own tickets.

Comparisons with `=`, `!=`, `~`, `in`, `not in`, `is [not] EMPTY` and `>=`-like ones on dates, joined by AND, OR, NOT
and parentheses; ORDER BY is read and ignored (results come newest first).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

FIELDS = frozenset(
    {"project", "labels", "key", "issuekey", "id", "status", "statuscategory", "resolution", "issuetype", "summary"}
    | {"text", "priority", "created", "updated", "resolutiondate", "resolved"}
)
_DATES = frozenset({"created", "updated", "resolutiondate", "resolved"})
_UNIT_S = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_TOKEN = re.compile(
    r"""\s*(?:"(?P<dq>(?:[^"\\]|\\.)*)"|'(?P<sq>(?:[^'\\]|\\.)*)'|(?P<op>>=|<=|!=|!~|[=~<>(),])|(?P<word>[^\s=!~<>(),"']+))"""
)

# One issue as JQL sees it: lower-case field name -> texts, or Unix seconds for a date; empty = EMPTY.
Row = Mapping[str, tuple[Any, ...]]
Test = Callable[[Row], bool]


class JqlError(ValueError):
    """The query cannot be read; the text is what Jira would put into `errorMessages`."""


@dataclass(frozen=True, slots=True)
class Query:
    """A compiled query; `bounded` is False when nothing narrows the search (Jira Cloud refuses that)."""

    test: Test
    bounded: bool


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    quoted: bool = False

    def is_word(self, *words: str) -> bool:
        return not self.quoted and self.text.lower() in words


def parse(jql: str, now_s: float) -> Query:
    """Compile `jql`; relative dates such as `-7d` count from `now_s`. Raises `JqlError`."""
    body = re.split(r"(?i)\border\s+by\b", jql, maxsplit=1)[0]
    parser = _Parser(_tokens(body), now_s)
    if not parser.tokens:
        return Query(lambda row: True, bounded=False)
    test = parser.either()
    if parser.tokens:
        raise JqlError(f"Error in the JQL Query: Expecting either 'OR' or 'AND' but got '{parser.tokens[0].text}'.")
    return Query(test, bounded=True)


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise JqlError(f"Error in the JQL Query: The character '{text[position]}' is a reserved JQL character.")
        position = match.end()
        quoted = match["dq"] if match["dq"] is not None else match["sq"]
        if quoted is not None:
            tokens.append(_Token(re.sub(r"\\(.)", r"\1", quoted), quoted=True))
        else:
            tokens.append(_Token(match["op"] or match["word"]))
    return tokens


class _Parser:
    """Recursive descent over the tokens: either -> both -> unary -> comparison."""

    def __init__(self, tokens: list[_Token], now_s: float) -> None:
        self.tokens = tokens
        self.now_s = now_s

    def either(self) -> Test:
        tests = [self.both()]
        while self._take_word("or"):
            tests.append(self.both())
        return tests[0] if len(tests) == 1 else lambda row: any(test(row) for test in tests)

    def both(self) -> Test:
        tests = [self.unary()]
        while self._take_word("and"):
            tests.append(self.unary())
        return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)

    def unary(self) -> Test:
        if self._take_word("not"):
            test = self.unary()
            return lambda row: not test(row)
        if self._take_word("("):
            test = self.either()
            self._expect(")")
            return test
        return self.comparison()

    def comparison(self) -> Test:
        name = self._next().text.lower()
        if name not in FIELDS:
            raise JqlError(f"Field '{name}' does not exist or you do not have permission to view it.")
        if self._take_word("is"):
            negate = self._take_word("not")
            if not self._take_word("empty", "null"):
                raise JqlError("The operator 'is' only supports the values EMPTY and NULL.")
            return lambda row: bool(row.get(name)) is negate
        if self._take_word("not"):
            self._expect("in")
            wanted = self._list()
            return lambda row: bool(row.get(name)) and not _any_equal(row[name], wanted)
        if self._take_word("in"):
            wanted = self._list()
            return lambda row: _any_equal(row.get(name, ()), wanted)
        return self._operator(name, self._next().text, self._next())

    def _operator(self, name: str, operator: str, value: _Token) -> Test:
        if name in _DATES:
            limit = self._moment(value.text)
            compare: dict[str, Callable[[float], bool]] = {
                ">=": lambda at: at >= limit,
                ">": lambda at: at > limit,
                "<=": lambda at: at <= limit,
                "<": lambda at: at < limit,
            }
            if operator not in compare:
                raise JqlError(f"The operator '{operator}' is not supported by the '{name}' field.")
            return lambda row: any(compare[operator](at) for at in row.get(name, ()))
        if name == "resolution" and operator == "=" and value.is_word("unresolved", "empty"):
            return lambda row: not row.get(name)
        wanted = [value.text]
        match operator:
            case "=":
                return lambda row: _any_equal(row.get(name, ()), wanted)
            case "!=":
                return lambda row: bool(row.get(name)) and not _any_equal(row[name], wanted)
            case "~":
                return lambda row: any(value.text.lower() in str(each).lower() for each in row.get(name, ()))
            case other:
                raise JqlError(f"The operator '{other}' is not supported by the '{name}' field.")

    def _moment(self, text: str) -> float:
        match = re.fullmatch(r"-(\d+)([mhdw])", text)
        if match is None:
            raise JqlError(f"Date value '{text}' is invalid. Use a relative one such as -7d.")
        return self.now_s - int(match[1]) * _UNIT_S[match[2]]

    def _list(self) -> list[str]:
        self._expect("(")
        values = [self._next().text]
        while self._take_word(","):
            values.append(self._next().text)
        self._expect(")")
        return values

    def _next(self) -> _Token:
        if not self.tokens:
            raise JqlError("Error in the JQL Query: the query ends too early.")
        return self.tokens.pop(0)

    def _take_word(self, *words: str) -> bool:
        if self.tokens and self.tokens[0].is_word(*words):
            self.tokens.pop(0)
            return True
        return False

    def _expect(self, word: str) -> None:
        if not self._take_word(word):
            got = self.tokens[0].text if self.tokens else "the end"
            raise JqlError(f"Error in the JQL Query: Expecting '{word}' but got '{got}'.")


def _any_equal(values: tuple[Any, ...], wanted: list[str]) -> bool:
    lowered = {text.lower() for text in wanted}
    return any(str(value).lower() in lowered for value in values)
