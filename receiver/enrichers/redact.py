"""Hides secrets in text that leaves the cluster: logs, reasons, messages, annotations.

Two ways to know a secret: by its own form (a private key, a token with a known prefix) or by the name in front of it
(`password:`, `--token`, `Authorization:`). Too much hidden costs a reader a word, too little costs a password; what
must survive is what people search by: UIDs, digests, thumbprints, MAC addresses, WWNs, names and paths of secrets.

All patterns are RE2: time grows with the length of the text, whatever the text and whatever a user configured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import re2

HIDDEN = "‹hidden›"

_WORD = (
    r"(?:pass(?:word|wd|phrase|code)s?|pwd|secrets?|token|api[_-]?key|access[_-]?key|secret[_-]?key|private[_-]?key"
    r"|account[_-]?key|shared[_-]?key|encryption[_-]?key|luks[_-]?key|recovery[_-]?key|routing[_-]?key|integration[_-]?key"
    r"|credentials?|session[_-]?id|vmware_soap_session|vmware-api-session-id|sig(?:ning)?[_-]?secret)"
)
# What may follow the word and still be the secret itself: `password2`, `secretValue`, `token_b64`. `secretName`,
# `tokenFile` and the like only say where it is.
_SUFFIX = r"(?:[_-]?(?:value|data|string|text|b64|base64|hash|id|key|base|old|new|[0-9]{1,3}))?"
_VALUE = (
    r"(?:\\+\"[^\"\\]*|\"(?:[^\"\\]|\\.)*|'[^']*|\[\"[^\"]*|[^\s,;&\"'\\{}\[\])<>]+(?:\\?[^\s,;&\"'\\{}\[\])<>]+)*)"
)

# Words that stand behind `token:` in an error text, and values that are no secret.
_HARMLESS = frozenset(
    (  # noqa: SIM905
        "null nil none <nil> true false yes no not is was the a an access permission incorrect invalid "
        "missing expired required failed cannot unable file unset empty unauthorized forbidden denied "
        "unknown wrong malformed must should has have could authentication bearer basic redacted <redacted> "
        "hidden <hidden> undefined optional rejected error err "
    ).split()
)
_PATH = re2.compile(
    r"^[+@]?(?:file:)?(?:/|\./|~/)(?:etc|var|run|tmp|home|mnt|opt|root|usr|proc|dev|data|secrets?)(?:/|$)"
)
_MASK = re2.compile(r"^[*•.xX\-_]+$")
_DIGIT = re2.compile(r"[0-9]")
_UPPER = re2.compile(r"[A-Z]")
_LOWER = re2.compile(r"[a-z]")
_REFERENCE = re2.compile(r"(?i)pull[_-]?secrets?$")
_QUOTES = "\"'\\[ "


def _plain(value: str) -> bool:
    """Tell whether a named value is no secret: a word of an error text, a path, or already hidden."""
    bare = value.strip(_QUOTES + ".,:;")
    return (
        not bare
        or bare.lower() in _HARMLESS
        or HIDDEN in value
        or bool(_MASK.search(bare))
        or bool(_PATH.search(value.strip(_QUOTES)))
    )


def _wordy(value: str) -> bool:
    """Tell whether a value behind `Bearer` or `Basic` is an ordinary word."""
    mixed = _UPPER.search(value[1:]) and _LOWER.search(value)
    return _plain(value) or not (_DIGIT.search(value) or mixed or len(value) >= 24 or value.endswith("="))


def _opening(value: str) -> str:
    """Return the quotes that open a value, to be kept."""
    return value[: len(value) - len(value.lstrip(_QUOTES))]


class _Rule:
    """A pattern with the named groups `keep` (optional), `secret`, `end` (optional)."""

    def __init__(self, pattern: str, harmless: Callable[[str], bool] | None = None) -> None:
        self.pattern = re2.compile(pattern)
        self.harmless = harmless

    def apply(self, text: str) -> tuple[str, int]:
        hidden = 0

        def replace(match: Any) -> str:
            nonlocal hidden
            groups = match.groupdict()
            keep, secret, end = groups.get("keep") or "", groups["secret"] or "", groups.get("end") or ""
            if HIDDEN in secret or (
                self.harmless is not None and (self.harmless(secret) or _REFERENCE.search(keep.rstrip(" :=\"'")))
            ):
                return str(match[0])
            hidden += 1
            return f"{keep}{_opening(secret)}{HIDDEN}{end}"

        return str(self.pattern.sub(replace, text)), hidden


_RULES: tuple[_Rule, ...] = (
    # Private keys: whole, begun and cut off, or cut off in front (a log tail starts anywhere).
    _Rule(
        r"(?P<keep>-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)"
        r"(?P<secret>(?:[^-]|-[^-]|--[^-]|---[^-]|----[^-])*)(?P<end>-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)"
    ),
    _Rule(r"(?P<keep>-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)(?P<secret>(?:\s|\\n|[A-Za-z0-9+/=]{16,})+)"),
    _Rule(
        r"(?P<secret>(?:[A-Za-z0-9+/=]{16,}(?:\s|\\n)+)+[A-Za-z0-9+/=]*\s*)"
        r"(?P<end>-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)"
    ),
    # Tokens with a form of their own.
    _Rule(r"(?P<secret>\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*)"),
    _Rule(r"(?P<secret>\bsha256~[A-Za-z0-9_-]{16,})"),
    _Rule(r"(?P<secret>\b(?:AKIA|ASIA)[0-9A-Z]{16}\b)"),
    _Rule(
        r"(?P<secret>\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
        r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,}|[sr]k_live_[A-Za-z0-9]{16,}"
        r"|hvs\.[A-Za-z0-9_-]{20,}|ATATT[A-Za-z0-9_=-]{20,}|npm_[A-Za-z0-9]{30,}))"
    ),
    _Rule(r"(?P<keep>hooks\.slack\.com/(?:services|workflows|triggers)/)(?P<secret>[A-Za-z0-9/_-]+)"),
    _Rule(r"(?P<secret>\b[0-9]{6}(?:-[0-9]{6}){7}\b)"),  # BitLocker recovery key
    # In URLs and connection strings; the user name stays.
    _Rule(r"(?P<keep>[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:\"'<>]*:)(?P<secret>[^\s/\"'<>]+)(?P<end>@)"),
    _Rule(r"(?P<keep>\b[\w.-]+:)(?P<secret>[^\s:@/]+)(?P<end>@(?:tcp|unix)\()"),
    _Rule(r"(?i)(?P<keep>[?&](?:sig|signature|key|code|auth|x-amz-signature|x-amz-security-token|x-amz-credential)=)(?P<secret>[^&\s\"'<>]+)"),
    # Headers.
    _Rule(
        r"(?i)(?P<keep>\bauthorization\\*[\"']?\s*[:=]\s*\[?\\*[\"']?(?:(?:bearer|basic|token|negotiate|digest|apikey|splunk|aws4-hmac-sha256)\s+)?)"
        r"(?P<secret>[^\s\"'\\\]]+(?:, ?[A-Za-z]+=[^\s\"'\\\]]+)*)",
        _plain,
    ),
    _Rule(r"(?i)(?P<keep>\b(?:set-)?cookie:\s*)(?P<secret>(?:[^\r\n\"']|\"[^\r\n\"]*\")+)"),
    _Rule(r"(?i)(?P<keep>\bbearer\s+)(?P<secret>[A-Za-z0-9._~+/=-]{8,})", _wordy),
    _Rule(r"(?i)(?P<keep>\bbasic\s+)(?P<secret>[A-Za-z0-9+/]{8,}={0,2})", _wordy),
    # By the name in front: XML, command line, netrc, SQL, then every `name: value` form.
    _Rule(rf"(?i)(?P<keep><(?:\w+:)?\w*{_WORD}{_SUFFIX}(?:\s[^<>]*)?>)(?P<secret>[^<]+)(?P<end></)", _plain),
    _Rule(rf"(?i)(?P<keep>\s--?[\w-]*{_WORD}\s+)(?P<secret>\"[^\"]*|'[^']*|[^\s\"'-][^\s\"']*)", _plain),
    _Rule(r"(?P<keep>(?:\s-u|\s--user)[ =]+[\"']?[^\s:\"']+:)(?P<secret>[^\s\"']+)"),
    _Rule(r"(?P<keep>--key\s+[^\s:]+:key:)(?P<secret>\S+)"),
    _Rule(r"(?i)(?P<keep>\bpassphrase:[ \t]+)(?P<secret>[^\s\"'{}][^\r\n\"'{}]*)", _plain),  # may hold blanks
    _Rule(r"(?i)(?P<keep>\blogin\s+\S+\s+password\s+)(?P<secret>\S+)"),
    _Rule(r"(?i)(?P<keep>\bidentified by\s+[\"'])(?P<secret>[^\"']+)"),
    _Rule(
        rf"(?i)(?P<keep>[\w.-]*{_WORD}{_SUFFIX}\\*[\"']?\]?(?:\s*[:=]>?\s*|\s+=>\s+)(?:[|>][+-]?\s*\n\s+)?)(?P<secret>{_VALUE})",
        _plain,
    ),
)  # fmt: skip


class Redactor:
    """Replaces secrets by `‹hidden›`. `patterns` are the user's own, in RE2 syntax.

    The whole match of a user's pattern is hidden, or its first group where it has one. A pattern that RE2 does not
    take raises ValueError.
    """

    def __init__(self, patterns: Sequence[str] = ()) -> None:
        self._own = []
        options = re2.Options()
        options.log_errors = False
        for pattern in patterns:
            try:
                self._own.append(re2.compile(pattern, options))
            except re2.error as error:
                raise ValueError(f"pattern {pattern!r} cannot be used: {error}; use RE2 syntax") from None

    def text(self, text: str) -> tuple[str, int]:
        """Return the text without secrets, and how many were hidden. Hiding twice changes nothing."""
        total = 0
        for rule in _RULES:
            text, hidden = rule.apply(text)
            total += hidden
        for pattern in self._own:
            text, hidden = _hide_own(pattern, text)
            total += hidden
        return text, total


def _hide_own(pattern: Any, text: str) -> tuple[str, int]:
    hidden = 0

    def replace(match: Any) -> str:
        nonlocal hidden
        group = 1 if match.re.groups and match[1] is not None else 0
        if not match[group] or HIDDEN in match[group]:
            return str(match[0])
        hidden += 1
        begin, end = match.start(group) - match.start(), match.end(group) - match.start()
        return f"{match[0][:begin]}{HIDDEN}{match[0][end:]}"

    return str(pattern.sub(replace, text)), hidden
