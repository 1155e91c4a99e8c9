"""Facts that routes can match, under names of their own: an alert's own labels are never changed.

The table `FACTS` is the documentation, too: docs/facts.md repeats it and a test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from receiver.enrichers.planstate import plan_mode, provider
from receiver.enrichers.reading import dig, strings, text
from receiver.model import Evidence
from receiver.routing.wishes import asked_for

# A label value has 63 characters at most; an annotation can hold a whole document, and no route matches on that.
VALUE_LIMIT = 1_000
# Labels or annotations taken per object: more would only make a story heavy.
ENTRIES_LIMIT = 100

# Characters of a namespace's annotations together: looking through them for secrets takes time, and they are not ours.
NAMESPACE_LIMIT = 8_000

OF_NAMESPACES = "namespace_"
"""What the facts of an owner namespace begin with."""

_OTHER = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, slots=True)
class Fact:
    """One name that routes can match; `<x>` stands for the rest of the name."""

    name: str
    meaning: str
    source: str


FACTS: tuple[Fact, ...] = (
    Fact("plan_uid", "UID of the Plan", "Plan `metadata.uid`"),
    Fact("plan_name", "name of the Plan", "Plan `metadata.name`"),
    Fact("plan_namespace", "namespace that the Plan lives in", "Plan `metadata.namespace`"),
    Fact("target_namespace", "namespace that the VMs go to", "Plan `spec.targetNamespace`"),
    Fact(
        "owner_namespace",
        "namespace whose owners are told: the Plan's, or its target namespace where the Plan lives in a shared one",
        "the two above and `shared_namespaces`",
    ),
    Fact("plan_provider", "name of the source Provider", "Plan `spec.provider.source.name`"),
    Fact("plan_target_provider", "name of the destination Provider", "Plan `spec.provider.destination.name`"),
    Fact("plan_mode", "cold, warm, live or conversion", "Plan `spec.type`, else `spec.warm`"),
    Fact("plan_label_<x>", "label of the Plan; characters outside a-z, A-Z, 0-9 and _ become _", "Plan labels"),
    Fact("plan_annotation_<x>", "annotation of the Plan, named like a label", "Plan annotations"),
    Fact("namespace_label_<x>", "label of the owner namespace, named like a Plan's", "Namespace labels"),
    Fact("namespace_annotation_<x>", "annotation of the owner namespace, named like a label", "Namespace annotations"),
    Fact("namespace_receiver", "receivers that the owner namespace asks for", "its annotation and ConfigMaps"),
    Fact("namespace_slack_channel", "Slack channels that it asks for", "its annotation and ConfigMaps"),
    Fact("impact", "down, at_risk, none or unknown", "evidence"),
    Fact("cause", "id of the known error, empty if none was recognised", "evidence"),
    Fact("cause_owner", "who usually repairs that error", "evidence"),
)


def facts_of(plan: dict[str, Any], shared_namespaces: Collection[str]) -> dict[str, str]:
    """Return the identity facts of a Plan.

    What is not known is left out: to a matcher that is the empty string. Two labels that become the same name: the
    first in alphabetical order counts, so the answer does not depend on the order in an object.
    """
    namespace, target = text(dig(plan, "metadata", "namespace")), text(dig(plan, "spec", "targetNamespace"))
    owner = target if namespace in shared_namespaces and target else namespace
    facts = {
        "plan_uid": text(dig(plan, "metadata", "uid")),
        "plan_name": text(dig(plan, "metadata", "name")),
        "plan_namespace": namespace,
        "target_namespace": target,
        "owner_namespace": owner,
        "plan_provider": provider(plan, "source"),
        "plan_target_provider": provider(plan, "destination"),
        "plan_mode": plan_mode(plan) if isinstance(dig(plan, "spec"), dict) else "",
    }
    facts |= _named("plan_label_", dig(plan, "metadata", "labels"))
    facts |= _named("plan_annotation_", dig(plan, "metadata", "annotations"))
    return {name: value for name, value in facts.items() if value}


def namespace_facts(
    prefix: str, labels: Mapping[str, str], annotations: Mapping[str, str], data: Mapping[str, str]
) -> dict[str, str]:
    """Return the facts of an owner namespace: what it is labelled, and what it asks for in annotations and ConfigMaps.

    `prefix` is `namespace_routing.annotation_prefix`.
    """
    named = {**_named("namespace_label_", labels), **_named("namespace_annotation_", _within(annotations))}
    wanted = {name: text(value, VALUE_LIMIT) for name, value in asked_for(prefix, annotations, data).items()}
    return {name: value for name, value in {**named, **wanted}.items() if value}


def _within(annotations: Mapping[str, str]) -> dict[str, str]:
    """Return annotations in order, as many as are small enough together."""
    kept, left = {}, NAMESPACE_LIMIT
    for key, value in sorted(annotations.items()):
        left -= len(value)
        if left < 0:
            break
        kept[key] = value
    return kept


def evidence_facts(evidence: Evidence) -> dict[str, str]:
    """Return the facts that come with evidence: impact, cause, cause_owner."""
    facts = {
        "impact": evidence.impact.value,
        "cause": evidence.cause.id if evidence.cause else "",
        "cause_owner": evidence.cause.owner if evidence.cause else "",
    }
    return {name: value for name, value in facts.items() if value}


def _named(prefix: str, entries: object) -> Mapping[str, str]:
    named: dict[str, str] = {}
    for key, value in sorted(strings(entries).items())[:ENTRIES_LIMIT]:
        named.setdefault(prefix + _OTHER.sub("_", key[:300]), text(value, VALUE_LIMIT))
    return named
