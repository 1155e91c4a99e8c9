"""Does a migration plan fit into its target cluster? Pure functions over parsed Kubernetes objects.

Made to inform, never to block. The way: read each VM's need (`need_of`, `from_inventory`) and volumes
(`kubevirt_disks`, `foreign_disks`), reduce nodes and pods to holes (`NodeSums`, `decode_page`), ask `check`, and `rank`
the answers of several clusters. What could not be read is given as `Unread`, and is then neither "fits" nor "short".
"""

from receiver.capacity.compute import Compute
from receiver.capacity.demand import need_of
from receiver.capacity.disks import (
    POPULATED,
    Disk,
    StorageRules,
    foreign_disks,
    kubevirt_disks,
    rules_of,
    without_shared,
)
from receiver.capacity.findings import Line, Part, Proof, Scope, Shortage, Unknown, Unread, Verdict
from receiver.capacity.inflight import MAX_VM_INFLIGHT, Flow, InFlight, flow_of, in_flight
from receiver.capacity.inventory import SourceDisk, from_inventory, inventory_disks
from receiver.capacity.need import Container, Origin, SourceVm, VmNeed
from receiver.capacity.nodes import Competing, Eligibility, Hole, Holes, NodeSums
from receiver.capacity.overhead import Profile, profile_of
from receiver.capacity.packing import Packed
from receiver.capacity.placement import Placement, placement_of, planned
from receiver.capacity.pods import Pod, PodPage, decode_page, effective_requests
from receiver.capacity.quota import QuotaFacts
from receiver.capacity.ranking import Ranked, Ranking, candidates, rank
from receiver.capacity.storage import StorageFacts
from receiver.capacity.vector import Vector
from receiver.capacity.verdict import Answer, Question, check

__all__ = [
    "MAX_VM_INFLIGHT",
    "POPULATED",
    "Answer",
    "Competing",
    "Compute",
    "Container",
    "Disk",
    "Eligibility",
    "Flow",
    "Hole",
    "Holes",
    "InFlight",
    "Line",
    "NodeSums",
    "Origin",
    "Packed",
    "Part",
    "Placement",
    "Pod",
    "PodPage",
    "Profile",
    "Proof",
    "Question",
    "QuotaFacts",
    "Ranked",
    "Ranking",
    "Scope",
    "Shortage",
    "SourceDisk",
    "SourceVm",
    "StorageFacts",
    "StorageRules",
    "Unknown",
    "Unread",
    "Vector",
    "Verdict",
    "VmNeed",
    "candidates",
    "check",
    "decode_page",
    "effective_requests",
    "flow_of",
    "foreign_disks",
    "from_inventory",
    "in_flight",
    "inventory_disks",
    "kubevirt_disks",
    "need_of",
    "placement_of",
    "planned",
    "profile_of",
    "rank",
    "rules_of",
    "without_shared",
]
