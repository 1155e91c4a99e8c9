"""What no known error explains: the line to show, and a signature by which equal failures are counted.

A signature is the line without what differs from one VM to the next. There is no end to what a log may say, so the
tally keeps the most frequent only, and metrics carry no signature at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import re2

from receiver.enrichers.lines import decisive_lines
from receiver.model import Evidence

SIGNATURE_LIMIT: Final = 160
TALLY_LIMIT: Final = 200

# Words that only say that something failed: the wrapper's last line, or Forklift's pointer to a log. Never the cause.
_GENERIC = re2.compile(
    r"(?i)^(?:"
    r"Guest conversion failed\. See pod logs"
    r"|Guest conversion (?:failed|was canceled)\.?$"
    r"|conversion pod (?:failed|in unknown state)"
    r"|(?:Failed to execute virt-v2v command|Error executing v2v command)"
    r"|Conversion failed — discarding overlays"
    r"|VM customization failed: .*Migration will proceed"
    r"|populator pod failed for PVC"
    r"|Populator failed after few |VSphere xcopy populator failed"
    r"|Migration failed, check VMIM status"
    r"|Retry limit exceeded"
    r"|The VM migration has FAILED|The plan execution has FAILED\.$"
    r"|PLAY RECAP"
    r")"
)
_HEADERS = (
    re2.compile(r"^[IWEF][0-9]{4} [0-9:.]+\s+[0-9]+ [^\]]*\] "),
    re2.compile(r"^\[ *[0-9.]+\] "),
    re2.compile(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.,]+Z?\s*"),
    re2.compile(r" \(repeated [0-9]+ times\)$"),
    re2.compile(r"… \([0-9,]+ more characters\)$"),
    re2.compile(r"^Unable to process data: "),
)
# In this order: what a later pattern looks for may be part of what an earlier one takes.
_VARIABLE = tuple(
    (re2.compile(pattern), word)
    for pattern, word in (
        (r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|‹hidden›', "TEXT"),
        (r"[a-zA-Z][a-zA-Z0-9+.-]*://[^\s,;)\]]+", "URL"),
        (r"\[[^\]\s]+\] \S+\.vmdk|(?:^|\B)/[\w.@:+-]+(?:/[\w.@:+-]*)*", "PATH"),
        (r"(?i)\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "UID"),
        (r"(?i)\b(?:[0-9a-f]{2}[:-]){5,}[0-9a-f]{2}\b|\bnaa\.[0-9a-f]+\b|\b[0-9a-f]{16,}\b", "HEX"),
        (r"\b[0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:[.,][0-9]+)?Z?\b", "TIME"),
        (r"\b[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?::[0-9]+)?\b|\b[0-9a-fA-F]*:(?:[0-9a-fA-F]*:){1,6}[0-9a-fA-F]+\b", "IP"),
        (r"\b[a-zA-Z0-9_-]+(?:\.[a-zA-Z0-9_-]*[a-zA-Z][a-zA-Z0-9_-]*)+(?::[0-9]+)?\b", "NAME"),
        (r"\b[a-zA-Z0-9]+(?:[-_][a-zA-Z0-9]+)*[-_][a-zA-Z0-9]*[0-9][a-zA-Z0-9]*(?:[-_][a-zA-Z0-9]+)*\b", "NAME"),
        (r"\b[a-zA-Z]+[0-9]+[a-zA-Z0-9]*(?:[-_][a-zA-Z0-9]+)*\b|\b[a-z]+(?:-[a-z]+)+\b", "NAME"),
        (r"[0-9]+(?:[.,][0-9]+)*", "N"),
    )
)
_PROGRAM = re2.compile(r"^(virt-v2v[a-z-]*: (?:error: |warning: )?)(.*)$")


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """The line that says most, as it stands in the evidence (redacted), and what it has in common with others."""

    line: str
    signature: str
    read: bool = True
    """False: no log could be read, and all that is left only says that something failed."""


def unrecognised(evidence: Evidence) -> Unrecognised | None:
    """Return what to show of a failure that nobody has named; None where there is a cause, or nothing that failed.

    A log outweighs a reason, and a reason the Plan's conditions. Words that only say that something failed come last.
    """
    if evidence.cause is not None:
        return None
    logs = [line for excerpt in evidence.logs for line in excerpt.lines]
    reasons = [reason for failure in evidence.failures for reason in failure.reasons]
    said = (logs, reasons, evidence.plan_reasons)
    for texts in ([text for text in some if not _GENERIC.search(_bare(text))] for some in said):
        if texts:
            line = decisive_lines("\n".join(texts), 1)[1][0]
            return Unrecognised(line, signature(line))
    generic = next((text for some in said for text in some if text.strip()), "")
    return Unrecognised(generic, signature(generic), bool(logs)) if generic else None


def newly_unrecognised(before: Evidence | None, now: Evidence) -> Unrecognised | None:
    """Return what is to be counted: once per run, when all is read, and not where no log could be read at all."""
    counted = before is not None and before.complete and before.run == now.run
    found = unrecognised(now) if now.complete and not counted else None
    return found if found is not None and found.read else None


def signature(line: str) -> str:
    """Return the line without numbers, UIDs, addresses, names, paths and quoted text; at most 160 characters."""
    head, rest = "", _bare(line[: 4 * SIGNATURE_LIMIT])
    if found := _PROGRAM.search(rest):
        head, rest = str(found[1]), str(found[2])
    for pattern, word in _VARIABLE:
        rest = str(pattern.sub(word, rest))
    return f"{head}{rest}"[:SIGNATURE_LIMIT].strip()


def _bare(line: str) -> str:
    text = line.strip()
    for header in _HEADERS:
        text = str(header.sub("", text))
    return text


class Tally:
    """The most frequent signatures, in bounded memory.

    A new one takes the place of the rarest when the tally is full, and inherits its count: so a count may be too high,
    never too low, and what is frequent cannot be pushed out by a stream of different lines.
    """

    def __init__(self, limit: int = TALLY_LIMIT) -> None:
        self._limit = limit
        self._counts: dict[str, int] = {}

    def add(self, seen: str) -> int:
        """Count a signature; return how often it was seen, at most."""
        inherited = 0
        if seen not in self._counts and len(self._counts) >= self._limit:
            rarest = min(self._counts, key=lambda one: self._counts[one])
            inherited = self._counts.pop(rarest)
        self._counts[seen] = self._counts.get(seen, inherited) + 1
        return self._counts[seen]

    def top(self, number: int) -> tuple[tuple[str, int], ...]:
        """Return the most frequent, with their counts, the most frequent first."""
        return tuple(sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:number])
