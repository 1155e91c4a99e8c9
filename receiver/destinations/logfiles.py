"""The logs that are kept with a story, as files for those who read on: uploads in Slack, attachments of tickets."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from receiver.keeping import unpack
from receiver.model import LogExcerpt, Wanted

MAX_FILES = 10
"""Of one run: logs of VMs that failed alike say the same."""
_NAME = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class LogFile:
    """The redacted end of one log. `part` names the step that uploads it; a file name is of one log of one run."""

    part: str
    name: str
    packed: str

    @property
    def text(self) -> str:
        return unpack(self.packed)


def logfiles(wanted: Wanted, content: str) -> tuple[LogFile, ...]:
    """Return the files of a story's run once its evidence is complete; nothing below full content."""
    evidence = wanted.story.evidence
    if content != "full" or evidence is None or not evidence.complete:
        return ()
    found: dict[str, LogFile] = {}
    for log in evidence.logs:
        if log.kept:
            name = _file_name(log, evidence.run_number)
            digest = hashlib.sha256(name.encode()).hexdigest()[:8]
            found.setdefault(name, LogFile(f"file-{digest}-{evidence.run or 'plan'}", name, log.kept))
    return tuple(found.values())[:MAX_FILES]


def _file_name(log: LogExcerpt, run_number: int) -> str:
    """Return such as `pay-win-app04-virt-v2v.log`, with `-run2` from the second run on."""
    words = [log.vm or log.pod, log.container, "previous" if log.previous else ""]
    words.append(f"run{run_number}" if run_number > 1 else "")
    return _NAME.sub("-", "-".join(word for word in words if word)).strip("-.")[:120] + ".log"
