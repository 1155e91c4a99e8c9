"""An answer of the capacity engine in sentences: amounts as people read them, "probably" where it is one."""

from __future__ import annotations

import re
from typing import Final

from receiver.capacity import Answer, Line, Proof, Scope, Shortage, Unknown, Verdict
from receiver.capacity.quantity import is_cpu

PLACEMENT: Final = "placement"
_CLASS: Final = ".storageclass.storage.k8s.io/"
_BYTES: Final = re.compile(r"(requests\.|limits\.)?(memory|storage|ephemeral-storage|hugepages-\w+)(/vmi)?")
_UNITS: Final = (("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))
_SHORTER: Final = (
    ("allocatable less requests of ", ""),
    (" against the node with the most free", ", the largest VM"),
    ("CSIStorageCapacity, summed over its segments", "CSI capacity"),
)
"""The engine's words for how a number came about, and what is enough of them in a narrow column."""
_SWITCH_TO_TIB: Final = 10
"""From so many TiB on; below, GiB compare better with what quotas and nodes say."""


def amount(resource: str, count: int) -> str:
    """Return `32.37 GiB`, `1.415 CPU`, or a plain number of things."""
    if is_cpu(resource):
        return f"{count / 1000:,.3f}".rstrip("0").rstrip(".") + " CPU"
    if not _BYTES.fullmatch(resource.rpartition(_CLASS)[2]):
        return f"{count:,}"
    for unit, size in _UNITS:
        if count >= size * (_SWITCH_TO_TIB if unit == "TiB" else 1):
            return f"{count / size:,.2f} {unit}"
    return f"{count:,} B"


def thing(resource: str) -> str:
    """Return the name of a resource for people; a quota key keeps its own spelling where it is short."""
    name, found, key = resource.partition(_CLASS)
    if found:
        return f"{thing(key)} (class {name})"
    return {"cpu": "CPU", "persistentvolumeclaims": "claims"}.get(resource, resource)


def owner(scope: Scope, name: str) -> str:
    """Return what sets a limit: `quota payments/q`, `node west-w1`, or all nodes together."""
    match scope:
        case Scope.NODE:
            return f"node {name}" if name else "one node"
        case Scope.CLUSTER:
            return "all nodes"
        case Scope.PLACEMENT:
            return "placement rules"
        case Scope.STORAGE_CLASS:
            return f"class {name}"
        case Scope.QUOTA:
            return f"quota {name}"
        case Scope.LIMIT:
            return f"LimitRange {name}"


def sentence(short: Shortage, cluster: str) -> str:
    """Say what does not suffice, without a verdict before it."""
    who = "the plan" if short.vm == "plan" else short.vm
    what = thing(short.resource)
    need, missing = much(short.resource, short.need, what), amount(short.resource, short.missing)
    have = amount(short.resource, short.have or 0)
    after = f" {short.why}" if short.proof in (Proof.RESERVED, Proof.HEADROOM) and short.why else ""
    match short.scope:
        case Scope.PLACEMENT:
            return f"no node of {cluster} may take {who}: {short.why or short.proof}"
        case Scope.NODE if short.proof is Proof.HEADROOM:
            place = f"the best ({short.owner}) then has {have}{after}"
            return f"with headroom kept, {who} needs {need} on one node, {place}, {missing} missing"
        case Scope.NODE:
            beside = " beside the others" if short.proof in (Proof.PACKING, Proof.EXHAUSTIVE) else ""
            place = f"the best ({short.owner}) has {have}{after}"
            return f"{who} needs {need} on one node{beside}, {place}, {missing} missing"
        case Scope.CLUSTER:
            return f"{who} needs {need}, all nodes that may take it together have {have}{after}, {missing} missing"
        case Scope.STORAGE_CLASS if short.proof is Proof.MISSING:
            needed = amount(short.resource, short.need)
            return f"class {short.owner} does not exist on {cluster}, {who} needs {needed} of it"
        case Scope.STORAGE_CLASS:
            why = f" ({short.why})" if short.why else ""
            return f"{who} needs {need} of class {short.owner}, it has {have}, {missing} missing{why}"
        case Scope.QUOTA if short.peak is not None:
            peak, whole = (amount(short.resource, count) for count in (short.peak, short.need))
            room = much(short.resource, short.have or 0, what)
            return f"quota {short.owner} leaves {room}, the plan needs {whole}, and {peak} while volumes are filled"
        case Scope.QUOTA:
            return f"the plan needs {need}, quota {short.owner} leaves {have}, {missing} missing"
        case Scope.LIMIT:
            return f"LimitRange {short.owner} refuses {who}: {what} {short.why} ({_against(short)})"


def headline(answer: Answer, vms: int) -> str:
    """Say the verdict in one line, the worst first. `vms` is how many VMs of the plan have still to move."""
    cluster = answer.cluster
    if not vms:
        return f"Nothing left to check: every VM of the plan is on {cluster} already"
    match answer.verdict:
        case Verdict.SHORT:
            found = sorted(answer.shortages, key=lambda each: -each.share)
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            certain = any(each.certain for each in found)
            first = next(each for each in found if each.certain or not certain)
            return f"{'Short' if certain else 'Probably short'}: {sentence(first, cluster)}{more}"
        case Verdict.AT_RISK:
            found = sorted(answer.risks, key=lambda each: -each.share)
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            first = next((each for each in found if each.proof is Proof.RESERVED), found[0])
            return f"{_risky(first).capitalize()}: {sentence(first, cluster)}{more}"
        case Verdict.FITS:
            subject = "1 VM finds" if vms == 1 else f"all {vms:,} VMs find"
            known = "Fits as far as known" if open_parts(answer) else "Fits"
            return f"{known}: {subject} room on {cluster}{left(answer)}{_but(answer)}"
        case Verdict.UNKNOWN:
            why = open_question(answer.unknown[0]) if answer.unknown else "nothing could be judged"
            return f"Not known whether it fits into {cluster}: {why}"


def open_parts(answer: Answer) -> list[str]:
    """Return what of an answer could not be judged: compute, storage, quota, and rules of placement."""
    placement = [PLACEMENT] if any(each.resource == PLACEMENT for each in answer.unknown) else []
    return [*(part.name for part in answer.parts if part.verdict is Verdict.UNKNOWN), *placement]


def left(answer: Answer) -> str:
    """Return `, which leaves 50.6 % of memory free`, or nothing."""
    shares = [f"{share:.1f} % of {thing(key)}" for key, share in sorted(answer.remaining.items()) if share >= 0]
    return f", which leaves {_and(shares)} free" if shares else ""


def reason(answer: Answer) -> str:
    """Say in one line why another cluster would do, or not."""
    match answer.verdict:
        case Verdict.SHORT:
            found = sorted(answer.shortages, key=lambda each: (not each.certain, -each.share))
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            return f"{'' if found[0].certain else 'probably '}short: {sentence(found[0], answer.cluster)}{more}"
        case Verdict.AT_RISK:
            found = sorted(answer.risks, key=lambda each: -each.share)
            first = next((each for each in found if each.proof is Proof.RESERVED), found[0])
            return f"{_risky(first)}: {sentence(first, answer.cluster)}"
        case Verdict.FITS:
            return f"fits{' as far as known' if open_parts(answer) else ''}{left(answer)}{_but(answer)}"
        case Verdict.UNKNOWN:
            return f"not known: {open_question(answer.unknown[0])}" if answer.unknown else "not known"


def _risky(first: Shortage) -> str:
    """What only other plans take is not "just": it is short now, and may not be when they have ended."""
    return "probably short while other plans run" if first.proof is Proof.RESERVED else "fits only just"


def open_question(one: Unknown) -> str:
    """Say what is not known, and the right that would tell."""
    about = f" of {one.subject}" if one.subject else ""
    need = f" (needs {amount(one.resource, one.need)})" if one.need else ""
    grant = f"; grant {one.right}" if one.right else ""
    return f"{thing(one.resource)}{about}{need}: {one.why}{grant}"


def how(line: Line) -> str:
    """Say in a few words how numbers came about; estimates are called so."""
    told = line.how
    for long, short in _SHORTER:
        told = told.replace(long, short)
    peak = ""
    if line.peak is not None and line.peak > line.need:
        peak = f"; peak {amount(line.resource, line.peak)}"
    return f"{told}{'' if line.certain else ', estimated'}{peak}"


def age(seconds: float) -> str:
    """Return `just now`, `40 s ago` or `7 min ago`."""
    if seconds < 2:
        return "just now"
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"


def _but(answer: Answer) -> str:
    parts = open_parts(answer)
    return f"; not known: {_and(parts)}" if parts else ""


def much(resource: str, count: int, what: str) -> str:
    """Return `32.37 GiB memory`, or `1.415 CPU`: `what` is said once."""
    told = amount(resource, count)
    return told if told.endswith(what) else f"{told} {what}"


def _against(short: Shortage) -> str:
    need, have = amount(short.resource, short.need), amount(short.resource, short.have or 0)
    if "minimum" in short.why:
        return f"asks for {have}, at least {need}"
    return f"needs {need}, at most {have}"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
