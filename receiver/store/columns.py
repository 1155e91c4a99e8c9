"""What the story list chooses and shows by, taken from identity and evidence when a story is written.

So that a page of stories reads a few columns of each row, and no JSON.
"""

from __future__ import annotations

from typing import Any

from receiver.model import Evidence, Identity, Impact
from receiver.wire import clean


def of(identity: Identity | None, evidence: Evidence | None, run: str) -> dict[str, Any]:
    """Return the columns of a story that is at this run; evidence of another run counts as none."""
    if evidence is not None and run and evidence.run and evidence.run != run:
        evidence = None
    cause = evidence.cause if evidence is not None else None
    cluster, namespace = identity.owner if identity is not None else ("", "")
    return {
        "namespace": clean(namespace),
        "cluster": clean(cluster),
        "cause": clean(cause.id) if cause is not None else "",
        "cause_text": clean(cause.sentence) if cause is not None else "",
        "impact": evidence.impact.value if evidence is not None else Impact.UNKNOWN.value,
        "failed": evidence.counts.failed if evidence is not None else 0,
        "total": evidence.counts.total if evidence is not None else 0,
    }
