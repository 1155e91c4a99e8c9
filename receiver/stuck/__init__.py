"""Migrations that wait: which VM waits for what, since when, whether it ends by itself, who can cure it. Pure.

Objects in, values out: no cluster, no clock, no store. `blocks` classifies what a running Plan's objects show, `limits`
says when a VM that shows nothing has stood still for too long, `not_ready` reads what keeps a Plan from starting, and
`evidence` reduces the objects to what is worth keeping, since Forklift deletes them in the moment a live VM fails.
"""

from receiver.stuck.blocks import find_blocks
from receiver.stuck.evidence import changed, reduced, snapshot
from receiver.stuck.kinds import Block, Kind, Owner, Shortage
from receiver.stuck.limits import LIMIT_S, Mark, Stuck, from_json, marks_of, stuck, to_json
from receiver.stuck.not_ready import NotReady, not_ready
from receiver.stuck.quota_text import Refusal, parse_refusal
from receiver.stuck.restored import restored
from receiver.stuck.scheduler import Reason, Verdict, parse_verdict
from receiver.stuck.view import View

__all__ = [
    "LIMIT_S",
    "Block",
    "Kind",
    "Mark",
    "NotReady",
    "Owner",
    "Reason",
    "Refusal",
    "Shortage",
    "Stuck",
    "Verdict",
    "View",
    "changed",
    "find_blocks",
    "from_json",
    "marks_of",
    "not_ready",
    "parse_refusal",
    "parse_verdict",
    "reduced",
    "restored",
    "snapshot",
    "stuck",
    "to_json",
]
