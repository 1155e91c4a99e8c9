"""For what cannot be edited: has the evidence of this run been told, or does it deserve telling?"""

from __future__ import annotations

from receiver.model import Change, Wanted
from receiver.rendering.view import stale


def complete_run(wanted: Wanted) -> str:
    """Return a name of the run whose evidence is complete, empty where it is not; another failure is another name."""
    story, evidence = wanted.story, wanted.story.evidence
    if evidence is None or not evidence.complete or stale(wanted, evidence):
        return ""
    again = sum(line.change in (Change.REOPENED, Change.FAILED_AGAIN) for line in story.timeline)
    return f"{evidence.run or 'read'} {again}"


def untold_run(wanted: Wanted) -> str:
    """Return such a name while the story goes on here and nobody was told that evidence, nor refused it."""
    root, run = wanted.root or {}, complete_run(wanted)
    told = run == root.get("complete") or part_of(run) in root.get("skipped", {})
    return run if run and wanted.story.open and wanted.firing and not told else ""


def part_of(run: str) -> str:
    """Return the name of the step that tells the evidence of a run; the root's receipt keeps what comes of it."""
    return f"evidence-{run}"
