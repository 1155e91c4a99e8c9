"""The forms of secrets that `receiver.enrichers.redact` knows, as patterns that need no look at what surrounds them.

A pattern is RE2 over the bytes of a text and has one group, the part to hide; the order matters where one form stands
inside another. `harmless` says of a found value that it is none: a word of an error text, a path, a placeholder.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import re2

QUOTES = b"\"'\\[ \t\r\n"

_OPTIONS = re2.Options()
# Byte by byte: a secret's bounds are ASCII, and a class such as [^"] then costs one state instead of a dozen.
_OPTIONS.encoding = re2.Options.Encoding.LATIN1
# For the largest of the patterns; RE2 falls back to a slower machine when its states do not fit.
_OPTIONS.max_mem = 64 << 20

_NAME = (
    r"(?:pass(?:word|wd|phrase|code|wort)s?|kennwort|pwd|secrets?|token|api[_-]?key|access[_-]?key|secret[_-]?key"
    r"|private[_-]?key|account[_-]?key|shared[_-]?key|service[_-]?key|encryption[_-]?key|luks[_-]?key"
    r"|recovery[_-]?key|routing[_-]?key|integration[_-]?key|credentials?|session[_-]?id|vmware_soap_session"
    r"|vmware-api-session-id|sig(?:ning)?[_-]?secret|[_-]pass)"
)
# What may follow the name and still be the secret itself: `password2`, `secretValue`, `token_b64`. `secretName`,
# `tokenFile` and the like only say where it is.
_SUFFIX = r"(?:[_-]?(?:value|data|string|text|b64|base64|hash|id|key|base|old|new|[0-9]{1,3}))?"
_VALUE = (
    r"(?:\\+\"[^\"\\]*|\"(?:[^\"\\]|\\.)*|'[^']*|\[\"[^\"]*(?:\",\s*\"[^\"]*)*"
    r"|[^\s,;&\"'\\{}\[\])<>]+(?:\\?[^\s,;&\"'\\{}\[\])<>]+)*)"
)
_ARGUMENT = r"(?:\"[^\"\n]+|'[^'\n]+|[^\s\"'-][^\s\"']*)"
_KEY_KIND = r"[A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
# A line that a log reader put a time in front of.
_STAMP = r"(?:[ \t]*[0-9TZ:.+-]{10,40} (?:std(?:out|err) [FP] )?)?"

# Words that stand behind `token:` in an error text, and values that are no secret.
_WORDS = frozenset(
    (
        b"null nil none <nil> true false yes no not is was the a an access permission incorrect invalid "
        b"missing expired required failed cannot unable file unset empty unauthorized forbidden denied "
        b"unknown wrong malformed must should has have could authentication bearer basic redacted <redacted> "
        b"hidden <hidden> undefined optional rejected error err check please using from in and or for of to +file"
    ).split()
)


def _compile(pattern: str) -> Any:
    return re2.compile(pattern.encode("ascii"), _OPTIONS)


_PATH = _compile(r"^[+@]?(?:file:)?(?:/|\./|~/)(?:etc|var|run|tmp|home|mnt|opt|root|usr|proc|dev|data|secrets?)(?:/|$)")
_MASK = _compile(r"^[*.xX\-_]+$|^(?:\xe2\x80\xa2)+$|^[^A-Za-z0-9]{1,2}$")
# `$NAME`, `${NAME}`, `$(command)`, `{{ template }}`, `<your password>`; a file descriptor for nbdkit (`password=-4`).
_STAND_IN = _compile(r"^\$(?:[A-Z_][A-Z0-9_]*$|[{(])|^\{\{|^<[a-z][a-z _-]*>?$|^-[0-9]{1,2}$")
_TELLING = _compile(r"[0-9]|.[A-Z].*[a-z]|[a-z].*[A-Z]|=$")
_NUMBERS = _compile(r"^[0-9:]{1,11}$")
_PORT = _compile(r"^(?:[0-9]{1,5})?/")
_OBJECT_NAME = _compile(r"^[a-z0-9][a-z0-9./-]*$")
# Keys of Kubernetes objects whose value is a Secret's name.
REFERENCE = _compile(
    r"(?i)(?:pull|password|token|storage|tls|ssh|ca|luks|registry|provider|credentials?|cert(?:ificate)?)[_-]?secrets?$"
)

Harmless = Callable[[bytes], bool]


def plain(value: bytes) -> bool:
    """Tell whether a named value is no secret: a word of an error text, a path, a placeholder."""
    bare = value.strip(QUOTES)
    word = bare.strip(b".,:;\"'")
    return not word or word.lower() in _WORDS or any(one.search(bare) for one in (_MASK, _PATH, _STAND_IN))


def object_name(value: bytes) -> bool:
    """Tell whether a value can be the name of a Kubernetes object."""
    return bool(_OBJECT_NAME.search(value.strip(QUOTES)))


def _wordy(value: bytes) -> bool:
    """Tell whether a value is an ordinary word: no digit, no mixed case, not long."""
    return plain(value) or not (_TELLING.search(value) or len(value) >= 24)


def _short(value: bytes) -> bool:
    return len(value) < 8 or _wordy(value)


def _count(value: bytes) -> bool:
    """Tell whether a value of `-p`, `--user` or `pass=` is a port, an id or a count."""
    return bool(_NUMBERS.search(value.strip(QUOTES))) or plain(value)


def _count_or_word(value: bytes) -> bool:
    return _count(value) or _wordy(value)


def _port(value: bytes) -> bool:
    """Tell whether what stands behind a URL's host is its port and path, no password with a slash."""
    return bool(_PORT.search(value))


@dataclass(frozen=True, slots=True)
class Rule:
    """A form of secret."""

    pattern: Any
    harmless: Harmless | None = None
    by_key: bool = False
    """The pattern begins with the secret's name, which may say that the value is only another object's name."""


def _rule(pattern: str, harmless: Harmless | None = None, *, by_key: bool = False) -> Rule:
    return Rule(_compile(pattern), harmless, by_key)


RULES: tuple[Rule, ...] = (
    # Private keys: whole, begun and cut off, or cut off in front (a log tail starts anywhere).
    _rule(rf"-----BEGIN {_KEY_KIND}((?:[^-]|-[^-]|--[^-]|---[^-]|----[^-])*)-----END {_KEY_KIND}"),
    _rule(
        rf"-----BEGIN {_KEY_KIND}((?:(?:\s|\\+[rn])+{_STAMP}"
        r"(?:(?:Proc-Type|DEK-Info|Version|Comment): [^\n\\]*|[A-Za-z0-9+/=]{4,}))+)"
    ),
    _rule(
        r"((?:[A-Za-z0-9+/=]{16,}(?:(?:\s|\\+[rn])+[0-9TZ:.-]{0,40})+)+[A-Za-z0-9+/=]*\s*)"
        rf"-----END {_KEY_KIND}"
    ),
    _rule(r"Private-Lines: [0-9]+\s*\n((?:[A-Za-z0-9+/=]{16,}\s*\n)*[A-Za-z0-9+/=]{8,})"),
    # The same in base64, as a Secret or a kubeconfig holds it (certificates and public keys begin otherwise).
    _rule(r"(LS0tLS1CRUdJTi(?:BQUklW|BSU0Eg|BFQyBQ|BPUEVO|BFTkNS|BEU0Eg)[A-Za-z0-9+/]+={0,2})"),
    # Tokens with a form of their own.
    _rule(r"(\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)*)"),
    _rule(
        r"(\b(?:sha256~[A-Za-z0-9_-]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}\b|gh[pousr]_[A-Za-z0-9]{20,}"
        r"|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeoprs][.-][A-Za-z0-9.-]{10,}"
        r"|xapp-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|[sr]k_live_[A-Za-z0-9]{16,}"
        r"|hv[sb]\.[A-Za-z0-9_-]{20,}|ATATT[A-Za-z0-9_=-]{20,}|npm_[A-Za-z0-9]{30,}|hf_[A-Za-z0-9]{30,}"
        r"|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|sk-(?:proj|ant|svcacct)-[A-Za-z0-9_-]{20,}"
        r"|dop_v1_[0-9a-f]{40,}|pypi-[A-Za-z0-9_-]{40,}|AGE-SECRET-KEY-1[A-Z0-9]{40,}|AQ[A-Za-z0-9+/]{30,40}=="
        r"|[0-9]{6}(?:-[0-9]{6}){7}\b|[A-Z0-9]{5}(?:-[A-Z0-9]{5}){4}\b))"  # BitLocker recovery, Windows product key
    ),
    _rule(r"(\$(?:1|2[aby]|5|6|7|y|gy)\$[./A-Za-z0-9$=,]{16,})"),  # password hashes
    _rule(r"\{SSHA[0-9]*\}([0-9A-Fa-f]{8,})"),
    _rule(r"\bcst-VCT-([0-9A-Za-z-]{10,})"),  # vCenter's session ticket
    # In URLs and connection strings; the user name stays.
    _rule(r"hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]+)"),
    _rule(r"webhook\.office\.com/webhookb2/([^\s\"'<>]+)"),
    _rule(r"discord(?:app)?\.com/api/webhooks/[0-9]+/([\w-]+)"),
    _rule(r"api\.telegram\.org/bot([0-9]+:[\w-]+)"),
    _rule(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:\"'<>\[]*:([^\s/\"'<>]+)@"),
    _rule(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:\"'<>\[]*:([^\s/@\"'<>]*/[^\s@\"'<>]+)@", _port),
    # What was cut before it came here ends with an ellipsis, and lacks what a whole one is known by.
    _rule(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/@:\"'<>\[]*:([^\s/@\"'<>]+)\xe2\x80\xa6", _count),
    _rule(r"\b((?:sha256~|AKIA|ASIA|eyJ|gh[pousr]_|github_pat_|glpat-|xox[a-z]-|ATATT)[\w.~=-]+)\xe2\x80\xa6"),
    _rule(r"\bGOVC_URL=[^\s:/]+:([^\s:/]+)@"),
    _rule(r"\b[\w.-]+:([^\s:@/]+)@(?:tcp|unix)\("),
    _rule(r"(?i)\bSharedAccessSignature=([^;\s\"']+)"),
    _rule(
        r"(?i)[?&](?:sig|signature|x-(?:amz|goog)-(?:signature|security-token|credential))=([^&\s\"'<>]+)"
    ),
    _rule(r"(?i)[?&](?:key|code|auth)=([^&\s\"'<>]+)", _short),
    # Headers.
    _rule(r"(?i)\bauthorization\\*[\"']?\s*[:=]\s*\[?\\*[\"']?digest\s+([^\r\n]+)"),
    _rule(
        r"(?i)\bauthorization\\*[\"']?\s*[:=]\s*\[?\\*[\"']?"
        r"(?:(?:bearer|basic|token|negotiate|apikey|splunk|aws4-hmac-sha256)\s+)?"
        r"([^\s\"'\\\]]+(?:, ?[A-Za-z]+=[^\s\"'\\\]]+)*)",
        plain,
    ),
    _rule(
        r"(?i)\b(?:set-)?cookie(?::[ \t]*([^\[\s\"'][^\r\n\"']*(?:\"[^\r\n\"]*\"[^\r\n\"']*)*))", plain
    ),
    _rule(r"(?i)\b(?:set-)?cookie(?:\\*[\"']\s*:\s*\[?\\*[\"']|:\[)([^\r\n\"'\]\\]+)", plain),
    _rule(r"(?i)\bcookie=([^\s\"']+)", plain),
    _rule(r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{8,})", _wordy),
    _rule(r"(?i)\bbasic\s+([A-Za-z0-9+/]{8,}={0,2})", _wordy),
    _rule(r"(?i)[\"']auth[\"']\s*:\s*[\"']([A-Za-z0-9+/=]{8,})", _wordy),
    _rule(r"(?i)\.?dockerc(?:onfigjson|fg)\\*[\"']?\s*[:=][ \t]*\\*[\"']?([^\s\"'\\]+)", plain),
    # XML, whole, cut off or escaped.
    _rule(rf"(?i)<(?:\w+:)?\w*{_NAME}{_SUFFIX}(?:\s[^<>]*)?>(?:<value>)?([^<\s][^<]*)", plain),
    _rule(rf"(?i)&lt;\w*{_NAME}{_SUFFIX}&gt;([^&\s][^&\n]*)", plain),
    # Command lines of tools whose options have no telling name.
    _rule(r"\bsshpass\s+-p[ =]*(\"[^\"]+|'[^']+|[^\s\"']+)"),
    _rule(r"\bmysql\w*\b[^\n|;]*?\s-p(\"[^\"]+|'[^']+|[^\s\"']+)", _count),
    _rule(rf"\b(?:ldap|net)\w+\b[^\n|;]*?\s-[wW]\s*({_ARGUMENT})", _count),
    _rule(rf"(?:\s-u[ =]?\S+|\slogin)\s[^\n|;&]*?-p[ =]({_ARGUMENT})", _count),
    _rule(rf"\s-U\s+\S+\s[^\n|;&]*?-P\s+({_ARGUMENT})", _count),
    _rule(r"\s(?:-u|--user)[ =]+'[^\s:']+:([^'\n]+)'", _count),
    _rule(r"\s(?:-u|--user)[ =]+[\"']?[^\s:\"']+:([^\s\"']+)", _count),
    _rule(r"\bcurl\b[^\n|;]*?\s-u[^\s:\"'=]+:([^\s\"']+)"),
    _rule(r"\becho\s+(?:-n\s+)?(\"[^\"\n]+|'[^'\n]+|[^\s\"'|]+)[\"']?\s*\|\s*(?:sudo|cryptsetup|chpasswd|passwd)\b"),
    _rule(r"\s-pass(?:in|out)?\s+pass:(\S+)"),
    _rule(r"(?i)\bConvertTo-SecureString\s+(?:-String\s+)?[\"']([^\"'\n]+)"),
    # virt-v2v, nbdkit, libguestfs.
    _rule(rf"[\s']-ip['\"]?[ =]+({_ARGUMENT})", plain),
    _rule(r"--key['\"]?[ =]+['\"]?[^\s:'\"]+:key:([^\s'\"]+)"),
    _rule(r"\bkey=\w*(?:password|passphrase|cookie|secret)\w*, value=([^\r\n]+)", plain),
    _rule(r"\b(?:cryptsetup_open|luks_(?:open(?:_ro)?|format\w*|add_key|kill_slot)) \"[^\"\n]*\" \"([^\"\n]+)"),
    _rule(r"(?i)\bpassphrase for [^\s:]+:[ \t]+(\S[^\r\n]*)", plain),
    # Sentences and statements.
    _rule(r"(?i)\b(?:password|passphrase|passwd|pwd)\s+(?:is\s+)?(?:\"([^\"\n]+)\")", plain),
    _rule(r"(?i)\b(?:password|passphrase|passwd|pwd)\s+(?:is\s+)?(?:'([^'\n]+)')", plain),
    _rule(r"(?i)\b(?:password|passphrase) is ([^\s\"']{6,})", _wordy),
    _rule(r"(?i)\blogin\s+\S+\s+password\s+(\S+)", plain),
    _rule(r"(?i)\bidentified by\s+[\"']([^\"']+)"),
    # By the name in front: options, whole quoted arguments, variables of a container, lists, then `name: value`.
    _rule(rf"(?i)\s--?[\w-]*{_NAME}\s+(\"[^\"]*|'[^']*|[^\s\"'-][^\s\"']*)", plain),
    _rule(rf"(?i)[\"']--?[\w-]*{_NAME}\\*[\"']\s*,?\s*\\*[\"']([^\"'\\]+)", plain),
    _rule(rf"(?i)'[\w.-]*{_NAME}=([^'\n]+)'", plain),
    _rule(
        rf"(?i)\bname\\*[\"']?\s*:\s*\\*[\"']?[\w.-]*{_NAME}{_SUFFIX}\\*[\"']?\s*,?\s*\\*[\"']?"
        rf"value\\*[\"']?\s*:[ \t]*({_VALUE})",
        plain,
    ),
    _rule(r"(?i)\b\w*(?:passwords|passphrases|tokens):[ \t]*\n((?:[ \t]*- [^\s:]+[ \t]*\n)*[ \t]*- [^\s:]+)"),
    _rule(r"(?i)\bpassphrase:[ \t]+([^\s\"'{}|>][^\r\n\"'{}]*)", plain),  # may hold blanks
    _rule(r"(?i)\bpass=([^\s,;&\"']+)", _count),
    _rule(r"(?i)\bpass:[ \t]*([^\s,;&\"']+)", _count_or_word),
    _rule(r"(?i)\botp\\*[\"']?\s*[:=]\s*\\*[\"']?([0-9]{4,10})\b"),
    _rule(
        rf"(?i)[\w.-]*{_NAME}{_SUFFIX}\\*[\"']?\]?(?:\s*[:=]>?[ \t]*|\s+=>\s+)(?:[|>][+-]?[ \t]*\n[ \t]+)?"
        rf"({_VALUE})",
        plain,
        by_key=True,
    ),
)  # fmt: skip

# A Secret as `kubectl get secret -o yaml` or `-o json` prints it: every value of it is hidden, whatever its key.
IS_SECRET = _compile(r"\bkind\\*[\"']?:\s*\\*[\"']?Secret\b")
SECRET_YAML = _compile(r"(?:^|\n)[ \t]*(?:string[dD]|d)ata:[ \t]*\r?\n([ \t]+[^\s:]+:[^\n]*(?:\n[ \t]+[^\n]*)*)")
SECRET_JSON = _compile(r"\\*\"(?:string[dD]|d)ata\\*\"\s*:\s*\{([^{}]*)\}")
YAML_VALUE = _compile(r"^[ \t]+[^\s:]+:[ \t]+([^\r\n]+)|^[ \t]+([^\s:]+)[ \t]*$")
JSON_VALUE = _compile(r"\\*\"[^\"]*\"\s*:\s*\\*\"([^\"\\]+)")
