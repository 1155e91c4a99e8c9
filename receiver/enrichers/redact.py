"""Hides secrets in text that leaves the cluster: logs, reasons, messages, annotations.

Two ways to know a secret: by its own form (a private key, a token with a known prefix) or by the name in front of it
(`password:`, `--token`, `Authorization:`). Too much hidden costs a reader a word, too little costs a password; what
must survive is what people search by: UIDs, digests, thumbprints, MAC addresses, WWNs, names and paths of secrets.

All patterns are RE2: time grows with the length of the text, whatever the text and whatever a user configured. Lines
stay lines: a secret of several lines leaves empty ones behind, so that line numbers still mean something.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import re2

from receiver.enrichers.redact_rules import (
    IS_SECRET,
    JSON_VALUE,
    QUOTES,
    REFERENCE,
    RULES,
    SECRET_JSON,
    SECRET_YAML,
    YAML_VALUE,
    Rule,
    object_name,
)
from receiver.model import Alert

HIDDEN = "‹hidden›"

_HIDDEN = HIDDEN.encode()
# Finds in one text. A log has some dozens; a text with more is a dump of credentials or made to keep us busy, and what
# follows in it is hidden line by line. Bounds the time: 5 MB of nothing but passwords take less than a second.
MAX_FINDS = 10_000

REMEMBERED = 4_096
"""Values of alerts whose redaction is remembered: most labels of an alert are those of every other."""

_Span = tuple[int, int]


class Redactor:
    """Replaces secrets by `‹hidden›`. `patterns` are the user's own, in RE2 syntax.

    The whole match of a user's pattern is hidden, or its first group where it has one. A pattern that RE2 does not
    take raises ValueError.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._again = lru_cache(REMEMBERED)(self._hide)
        self._own = []
        options = re2.Options()
        options.log_errors = False
        for pattern in patterns:
            try:
                self._own.append(re2.compile(pattern.encode(), options))
            except (re2.error, UnicodeEncodeError) as error:
                said = error.args[0] if error.args else error
                said = said.decode(errors="replace") if isinstance(said, bytes) else said
                raise ValueError(f"pattern {pattern!r} cannot be used: {said}; use RE2 syntax") from None

    def text(self, text: str) -> tuple[str, int]:
        """Return the text without secrets, and how many were hidden. Hiding twice changes nothing."""
        # A lone half of a surrogate pair can come out of JSON: it passes through.
        work = _Work(text.encode("utf-8", "surrogatepass"))
        for rule in RULES:
            work.rule(rule)
        work.kubernetes_secrets()
        for pattern in self._own:
            work.own(pattern)
        return (work.data.decode("utf-8", "surrogatepass"), work.hidden) if work.hidden else (text, 0)

    def _hide(self, text: str) -> str:
        return self.text(text)[0]

    def alert(self, alert: Alert) -> Alert:
        """Return the alert without secrets, for all that is kept or shown.

        It keeps its fingerprint, which Alertmanager computed from the labels as they were; routes match those too.
        """
        return replace(
            alert,
            labels={name: self._again(value) for name, value in alert.labels.items()},
            annotations={name: self._again(value) for name, value in alert.annotations.items()},
            generator_url=self._again(alert.generator_url),
        )


class _Work:
    """A text on its way through the rules."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.hidden = 0
        self._left = MAX_FINDS

    def rule(self, rule: Rule) -> None:
        spans: list[_Span] = []
        for match in self._finds(rule.pattern):
            begin, end = match.span(1)
            secret = self.data[begin:end]
            if _HIDDEN in secret or (rule.harmless is not None and rule.harmless(secret)):
                continue
            if rule.by_key and object_name(secret):
                key = self.data[match.start() : begin].rstrip(b" :=\"'")
                if REFERENCE.search(key):
                    continue
            spans.append((begin + len(secret) - len(secret.lstrip(QUOTES)), end))
        self._hide(spans)

    def own(self, pattern: Any) -> None:
        spans: list[_Span] = []
        for match in self._finds(pattern):
            begin, end = match.span(1 if pattern.groups and match.span(1)[0] >= 0 else 0)
            if begin < end and not _meets(self.data, begin, end):
                spans.append((begin, end))
        self._hide(spans)

    def kubernetes_secrets(self) -> None:
        """Hide every value of a Secret that somebody printed."""
        if not IS_SECRET.search(self.data):
            return
        blocks = [match.span(1) for match in self._finds(SECRET_JSON)]
        self._hide([span for block in blocks for span in self._values(block[0], self.data[slice(*block)])])
        spans: list[_Span] = []
        for match in self._finds(SECRET_YAML):
            at, depth = match.start(1), 0
            for line in match[1].splitlines(keepends=True):
                indent = len(line) - len(line.lstrip(b" \t"))
                depth = depth or indent
                if indent < depth:
                    break
                found = YAML_VALUE.search(line.rstrip(b"\r\n"))
                if found is not None:
                    group = 1 if found[1] is not None else 2
                    spans.append((at + found.start(group), at + found.end(group)))
                at += len(line)
        self._hide([span for span in spans if _HIDDEN not in self.data[slice(*span)]])

    def _values(self, at: int, block: bytes) -> Iterable[_Span]:
        for found in JSON_VALUE.finditer(block):
            if _HIDDEN not in found[1]:
                yield at + found.start(1), at + found.end(1)

    def _finds(self, pattern: Any) -> Iterable[Any]:
        """Yield matches as long as there may be more; then hide what is left of the text."""
        cut = None
        for match in pattern.finditer(self.data):
            if self._left <= 0:
                cut = match.start()
                break
            self._left -= 1
            yield match
        if cut is not None:
            lines = self.data[cut:].split(b"\n")
            self.data = self.data[:cut] + b"\n".join(_HIDDEN if line.strip() else line for line in lines)
            self.hidden += 1

    def _hide(self, spans: Sequence[_Span]) -> None:
        if not spans:
            return
        pieces, at = [], 0
        for begin, end in spans:
            pieces += [self.data[at:begin], _HIDDEN, b"\n" * self.data.count(b"\n", begin, end)]
            at = end
        pieces.append(self.data[at:])
        self.data = b"".join(pieces)
        self.hidden += len(spans)


def _meets(data: bytes, begin: int, end: int) -> bool:
    """Tell whether a span touches something hidden: a user's pattern may match inside of `‹hidden›` itself."""
    width = len(_HIDDEN)
    return _HIDDEN in data[max(begin - width + 1, 0) : end + width - 1]
