"""One Plan, looked at without any alert: the same evidence and the same words as in the first message about it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from receiver.config.model import Config
from receiver.enrichers.facts import evidence_facts, facts_of
from receiver.enrichers.redact import Redactor
from receiver.explain_evidence import Reader
from receiver.kube import Cluster, ClusterError, Obj
from receiver.kube.mustgather import MustGather
from receiver.model import (
    Alert,
    AlertStatus,
    Evidence,
    Identity,
    Impact,
    Keys,
    PlanPhase,
    Story,
    StoryState,
    Wanted,
)
from receiver.rendering import Block, Code, Message, Paragraph, Renderer, Small, Span, Steps, waits
from receiver.rendering.build import build
from receiver.rendering.context import Context

ALERT = "MTVPlanFailed"
"""The alert that would tell of it: runbooks hang on its name."""
PATIENCE_S = 30.0
"""A person who asks waits longer than a story."""
SUGGESTED = 5
_CHAT = "slack"
_KEPT = "; what was read of them is kept with this story"


class UnknownPlanError(Exception):
    """There is no such Plan; the text says in one line which there are."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What became of a Plan's last run."""

    identity: Identity
    evidence: Evidence
    good: bool
    """Nothing failed, is down, or blocks the Plan."""
    message: Message

    def json(self) -> dict[str, Any]:
        """Return the public form, without the evidence itself."""
        evidence = self.evidence
        return {
            "plan": f"{self.identity.namespace}/{self.identity.name}",
            "cluster": self.identity.cluster,
            "good": self.good,
            "state": evidence.phase.value,
            "headline": self.message.title,
            "impact": evidence.impact.value,
            "facts": dict(self.identity.facts),
            "missing": [": ".join(filter(None, (one.what, one.why))) for one in evidence.missing],
        }


async def diagnose(
    config: Config,
    cluster: Cluster,
    namespace: str,
    name: str,
    *,
    now: datetime,
    redactor: Redactor,
    words: Renderer,
    clusters: Mapping[str, Cluster] | None = None,
) -> Diagnosis:
    """Return what a cluster says about a Plan. ClusterError where it could not be asked, UnknownPlanError for none.

    `clusters` are others that a destination Provider may point to.
    """
    plan = await known_plan(cluster, namespace, name)
    identity = _identity(config, cluster.name, plan, redactor)
    alert = Alert("", AlertStatus.FIRING, {"alertname": ALERT, "namespace": namespace}, {}, now)
    patience = max(PATIENCE_S, config.global_.evidence_timeout_s)
    reader = Reader(config, {**(clusters or {}), cluster.name: cluster}, redactor, timeout_s=patience)
    evidence = await reader.read(cluster, identity, alert, now)
    # That an alert without a runbook has none is nothing to tell where no alert is.
    evidence = replace(evidence, missing=tuple(one for one in evidence.missing if one.what != "runbook"))
    if isinstance(cluster, MustGather):  # whoever reads a must-gather needs none
        commands = tuple(one for one in evidence.commands if "must-gather" not in one.url)
        evidence = replace(evidence, commands=commands)
    identity = replace(identity, facts={**identity.facts, **evidence_facts(evidence)})
    good = is_good(evidence)
    if good:
        message = _fine(identity, evidence, build(_wanted(config, identity, evidence, now), _CHAT, "full"))
    else:
        message = _without_story(words.root(_wanted(config, identity, evidence, now), _CHAT))
    return Diagnosis(identity, evidence, good, message)


async def known_plan(cluster: Cluster, namespace: str, name: str) -> Obj:
    """Return a Plan. ClusterError where the cluster could not be asked, UnknownPlanError where there is none."""
    plan = await cluster.get_plan(namespace, name)
    if plan is None:
        raise UnknownPlanError(await _instead(cluster, namespace, name))
    return plan


def is_good(evidence: Evidence) -> bool:
    """Tell whether a Plan is as it should be: nothing failed, blocks it, or was left off by an earlier run."""
    if evidence.phase in (PlanPhase.FAILED, PlanPhase.UNREADABLE):
        return False
    if evidence.phase is PlanPhase.SUCCEEDED:
        return not evidence.failures
    blocked = bool(evidence.plan_reasons) and evidence.phase is not PlanPhase.EXECUTING
    return not (evidence.failures or evidence.standing or blocked)


def _identity(config: Config, cluster: str, plan: dict[str, Any], redactor: Redactor) -> Identity:
    read = facts_of(plan, config.global_.shared_namespaces)
    facts = {key: redactor.text(value)[0] if "annotation" in key else value for key, value in read.items()}
    uid = facts.get("plan_uid", "")
    return Identity(
        subject=f"plan/{uid}",
        kind="plan",
        cluster=cluster,
        uid=uid,
        namespace=facts.get("plan_namespace", ""),
        name=facts.get("plan_name", ""),
        target_namespace=facts.get("target_namespace", ""),
        owner_namespace=facts.get("owner_namespace", ""),
        facts={**facts, "cluster": cluster},
    )


def _wanted(config: Config, identity: Identity, evidence: Evidence, now: datetime) -> Wanted:
    """Return the story as an alert at the end of the run would have opened it, told to nobody."""
    opened = evidence.ended or evidence.started or now
    story = Story(
        id="diagnosis",
        subject=identity.subject,
        kind="plan",
        state=StoryState.FIRING,
        revision=1,
        severity="critical" if evidence.impact is Impact.DOWN else "warning",
        title=f"Migration plan {identity.name}",
        opened=opened,
        updated=opened,
        identity=identity,
        evidence=evidence,
        run=evidence.run,
    )
    return Wanted(story=story, keys=Keys("", "", ""), firing=True)


def _without_story(message: Message) -> Message:
    """Take back what is only true where a story keeps what was read."""

    def told(block: Block) -> Block:
        if not isinstance(block, Steps):
            return block
        items = (tuple(replace(span, text=span.text.replace(_KEPT, "")) for span in item) for item in block.items)
        return replace(block, items=tuple(items))

    return replace(message, blocks=tuple(told(block) for block in message.blocks))


def _fine(identity: Identity, evidence: Evidence, context: Context) -> Message:
    """Return the words for a Plan of which no message would ever be sent; of one that runs, what hints at a hang."""
    counts = evidence.counts
    mark, color, state = {
        PlanPhase.SUCCEEDED: ("🟢", "#2eb67d", "Succeeded"),
        PlanPhase.EXECUTING: ("🔵", "#1d6fd1", "Running"),
        PlanPhase.CANCELED: ("⚪", "#9a9a9a", "Canceled"),
    }.get(evidence.phase, ("⚪", "#9a9a9a", "Not run" if not evidence.run else evidence.phase.value))
    numbers = (
        (counts.succeeded, "done"),
        (counts.running, "running"),
        (counts.waiting, "waiting"),
        (counts.canceled, "canceled"),
    )
    stand = ", ".join(f"{number:,} {word}" for number, word in numbers if number)
    vms = f"{counts.total:,} {'VM' if counts.total == 1 else 'VMs'}" if counts.total else ""
    title = " · ".join(filter(None, (state, f"{vms}: {stand}" if vms and stand else vms, identity.name)))
    place = f"{identity.target_namespace or identity.namespace} on {identity.cluster}"
    times = [
        f"{word} {at:%d %b %Y %H:%M} UTC"
        for word, at in (("started", evidence.started), ("ended", evidence.ended))
        if at is not None
    ]
    mode = f"{evidence.mode} migration" if evidence.mode else ""
    source = f"{mode} from {evidence.source_provider}" if mode and evidence.source_provider else mode
    blocks: list[Block] = [Small((Span(" · ".join(filter(None, (place, *times, source)))),))]
    blocks += [Paragraph((Span(reason),)) for reason in evidence.plan_reasons[:3]]
    if evidence.phase is PlanPhase.EXECUTING:
        blocks += [Paragraph((Span(line),)) for line in waits.lines(evidence)]
        blocks += [Code(log.lines, log.caption) for log in context.logs]
        blocks += [Code(context.events, "Events")] if context.events else []
        blocks += [Small((Span(f"Not known: {'; '.join(context.unknown)}"),))] if context.unknown else []
    return Message(push=title, title=title, mark=mark, color=color, blocks=tuple(blocks), summary=title)


async def _instead(cluster: Cluster, namespace: str, name: str) -> str:
    """Say which Plans there are, those first that may be meant."""
    known = await _plans(cluster, namespace, name)
    asked = f"{namespace}/{name}"
    if isinstance(cluster, MustGather):
        held = [one for one in cluster.problems if f"/{namespace}/" in one.path and one.path.endswith(f"/{name}.yaml")]
        why = f"plan {asked} is not in the must-gather"
        if held:  # the targeted gather looks for the Plan in its target namespace
            why += f" ({held[0].path} {held[0].text}); give a full gather, it has every plan"
            return f"{why}; {_there_are(known)}" if known else why
    else:
        why = f"cluster {cluster.name} has no plan {asked}"
    if not known:
        return f"{why}, and no other plan that could be meant; name it as NAMESPACE/NAME"
    same = [one for one in known if one.rpartition("/")[2] == name]
    close = same or difflib.get_close_matches(asked, known, 1, cutoff=0.75)
    return f"{why}; did you mean {close[0]}?" if close else f"{why}; {_there_are(known)}"


def _there_are(known: list[str]) -> str:
    more = f" and {len(known) - SUGGESTED:,} more" if len(known) > SUGGESTED else ""
    return f"there {'is' if len(known) == 1 else 'are'} {', '.join(known[:SUGGESTED])}{more}"


async def _plans(cluster: Cluster, namespace: str, name: str) -> list[str]:
    """Return the Plans that may be meant: of a live cluster only those of the name or the namespace."""
    found: set[str] = set()
    for ask in (cluster.find_plans(name), cluster.list("Plan", None if isinstance(cluster, MustGather) else namespace)):
        try:
            plans = await ask
        except ClusterError:
            continue
        found |= {f"{one['metadata'].get('namespace', '')}/{one['metadata'].get('name', '')}" for one in plans}
    return sorted(found)
