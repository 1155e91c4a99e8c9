"""Finds the few lines of a log that say why something failed. Pure; works on text that is already redacted.

A virt-v2v log has tens of thousands of debug lines and one error, wrapped at 76 columns; an importer's error is klog
with the wrapping texts below it; a hook's is Ansible's `fatal:`. Each line gets a score, the best ones are shown in
the order of the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import re2

LINE_LIMIT = 300
# Enough for every wrapped error text that virt-v2v has; beyond it the next lines are something else.
_WRAPPED_LINES = 10
_SCANNED = 200_000

_ANSI = re2.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re2.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x{9f}\x{200b}-\x{200f}\x{202a}-\x{202e}\x{2066}-\x{2069}]")

# Higher says more. 4: the program's own last word; 3: an error; 2: what explains it; 1: a hint or a symptom.
_SCORES = tuple(
    (score, re2.compile(pattern))
    for score, pattern in (
        (0, r"^virt-v2v monitoring:|(?i)\b(?:0 errors|no errors?|errors?=0|failed=0)\b"),
        (4, r"^virt-v2v[a-z-]*: error:"),
        (4, r"^F[0-9]{4} |Unable to process data|^(?i:fatal): \["),
        (3, r"^E[0-9]{4} |\"level\":\"(?:error|fatal|panic)\"|^(?:panic:|fatal error:)|^virt-v2v[a-z-]*: could not"),
        (2, r"^virt-v2v[a-z-]*: warning:"),
        (3, r"^virt-v2v[a-z-]*: "),
        (3, r"(?i)^(?:libguestfs|supermin|nbdkit|libvirt)[^ ]*: .*\berror\b|^Original error message:"),
        (2, r"vfs_type = \"(?:BitLocker|crypto_LUKS)\"|^nbdkit: .*error"),
        (2, r"(?i)no space left|quota exceeded|exceeded quota|permission denied|hibernat|unclean file system"),
        (1, r"^(?:Error executing|Failed to execute) |^PLAY RECAP"),
        (
            1,
            r"(?i)\b(?:error|fatal|fail(?:ed|ure)?|denied|refused|time(?:d )?out|cannot|unable to|unreachable=1)\b",
        ),
    )
)
# How far the work had come: virt-v2v's stages, an importer's or populator's percentages, the monitor's.
_PROGRESS = re2.compile(
    r"^\[ *[0-9]+\.[0-9]\] |prometheus\.go:[0-9]+\] [0-9.]+$|(?i)\bprogress\b.*[0-9]|\b[0-9]{1,3}(?:\.[0-9]+)? ?%"
)
_PROGRESS_SCANNED = 20_000
_NUMBERS = re2.compile(r"[0-9a-f]*[0-9][0-9a-f.:-]*")
_V2V = re2.compile(r"^virt-v2v[a-z-]*: ")
_KLOG = re2.compile(r"^[IWEF][0-9]{4} ")
_HEADER = re2.compile(
    r"^(?:[IWEF][0-9]{4} [0-9:.]+\s+[0-9]+ [^\]]*\] |[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]+Z?\s*|\[ *[0-9.]+\] )"
)
_DEBUG = re2.compile(
    r"^(?:libguestfs|guestfsd|nbdkit|supermin|commandrvf|command|libvirt|info|debug|mount|umount|rm|virt-v2v[a-z-]*): "
    r"|^(?:rm -rf|libguestfs:|guestfsd:|nbdkit:|commandrvf:|\[ *[0-9.]+\] )|^(?:Error executing|Failed to execute) "
)
_STACK = re2.compile(r"^\t|^[\w./-]+\.(?:\(\*?\w+\)\.)?\w+(?:\.func[0-9.]+)*(?:\(.*\))?$|^goroutine [0-9]+ ")


@dataclass(slots=True)
class _Entry:
    """One logical line: where it begins (from 0), its text, its score, and how often it came."""

    index: int
    text: str
    score: int
    times: int = 1

    def shown(self) -> str:
        return cut(self.text) + (f" (repeated {self.times} times)" if self.times > 1 else "")


def clean(text: str) -> str:
    """Return text without terminal colours, control and direction characters; of a line redrawn with CR the end."""
    plain = _ANSI.sub("", text).replace("\r\n", "\n")
    if "\r" in plain:
        plain = "\n".join(line.rstrip("\r").rsplit("\r", 1)[-1] for line in plain.split("\n"))
    return str(_CONTROL.sub("", plain))


def cut(line: str) -> str:
    """Return at most 300 characters of a line, and say how many were left out."""
    if len(line) <= LINE_LIMIT:
        return line
    return f"{line[:LINE_LIMIT]}… ({len(line) - LINE_LIMIT:,} more characters)"


def decisive_lines(text: str, limit: int = 12) -> tuple[int, tuple[str, ...]]:
    """Return the 1-based number of the first line shown, and at most `limit` lines in the order of the log.

    A log without anything that looks like an error gives its last lines: better than nothing, and nothing is claimed.
    An empty log gives `(0, ())`.
    """
    lines = clean(text).split("\n")[-_SCANNED:]
    offset = text.count("\n") + 1 - len(lines)
    entries = _folded(_entries(lines))
    chosen = sorted(entries, key=lambda entry: (-entry.score, -entry.index))[:limit]
    if not chosen:
        tail = [(index, line.rstrip()) for index, line in enumerate(lines) if line.strip()][-min(limit, 5) :]
        chosen = [_Entry(index, line, 0) for index, line in tail]
    else:
        best = chosen[0]
        more = [one for one in (_context(lines, best, entries), _progress(lines, best, entries)) if one]
        more = list({one.index: one for one in more}.values())
        # Progress and context stand in for the weakest lines, never for an error.
        while more and len(chosen) + len(more) > limit and chosen[-1].score <= 1:
            chosen.pop()
        chosen += more[: limit - len(chosen)]
    chosen.sort(key=lambda entry: entry.index)
    if not chosen:
        return 0, ()
    return max(0, offset) + chosen[0].index + 1, tuple(entry.shown() for entry in chosen)


def _entries(lines: list[str]) -> Iterator[_Entry]:
    """Yield the lines with a score; wrapped text is joined, the texts below a klog error count like the error."""
    index = 0
    below_error = 0
    while index < len(lines):
        line, at = lines[index], index
        index += 1
        if not line.strip():
            below_error = 0
            continue
        if below_error and not _KLOG.search(line):
            if not _STACK.search(line):
                yield _Entry(at, line.strip(), below_error)
            continue
        score = _score(line)
        below_error = score - 1 if score >= 3 and _KLOG.search(line) else 0
        if not score:
            continue
        joined = line
        if _V2V.search(line):
            while index < len(lines) and index - at < _WRAPPED_LINES and _continues(lines[index - 1], lines[index]):
                joined = f"{joined.rstrip()} {lines[index].strip()}"
                index += 1
        yield _Entry(at, joined.strip(), score)


def _score(line: str) -> int:
    head = line[:2_000]
    return next((score for score, pattern in _SCORES if pattern.search(head)), 0)


def _continues(line: str, following: str) -> bool:
    """virt-v2v leaves the blank at which it wraps; older releases trim it, so a full line counts, too."""
    return bool(following.strip()) and (line.endswith(" ") or len(line) >= 66) and not _DEBUG.search(following)


def _folded(entries: Iterator[_Entry]) -> list[_Entry]:
    """Put the same text, whatever its time stamp, into one entry at its first place."""
    seen: dict[str, _Entry] = {}
    for entry in entries:
        key = str(_HEADER.sub("", entry.text[:2_000]))
        if known := seen.get(key):
            known.times += 1
            known.score = max(known.score, entry.score)
        else:
            seen[key] = entry
    return list(seen.values())


def most_telling(lines: Sequence[str], limit: int) -> tuple[int, ...]:
    """Return the positions of the lines that say most, in their order."""
    best = sorted(range(len(lines)), key=lambda at: (-_score(lines[at]), -at))[:limit]
    return tuple(sorted(best))


def signature(lines: Sequence[str]) -> str:
    """Return what logs that fail alike have in common: their best line, without times, numbers and ids."""
    if not lines:
        return ""
    best = max(range(len(lines)), key=lambda index: (_score(lines[index]), index))
    return str(_NUMBERS.sub("#", str(_HEADER.sub("", lines[best].lower())[:LINE_LIMIT])))


def _progress(lines: list[str], best: _Entry, entries: list[_Entry]) -> _Entry | None:
    """Return the last line before the best one that tells how far the work had come, unless it is shown anyway."""
    shown = {entry.index for entry in entries}
    for index in range(best.index - 1, max(-1, best.index - _PROGRESS_SCANNED), -1):
        if _PROGRESS.search(lines[index][:2_000]):
            return None if index in shown else _Entry(index, lines[index].strip(), 0)
    return None


def _context(lines: list[str], best: _Entry, entries: list[_Entry]) -> _Entry | None:
    """Return the line before the best one, unless it is shown anyway or is a stack frame."""
    index = best.index - 1
    while index >= 0 and not lines[index].strip():
        index -= 1
    shown = {entry.index for entry in entries}
    if index < 0 or index in shown or _STACK.search(lines[index]):
        return None
    return _Entry(index, lines[index].strip(), 0)
