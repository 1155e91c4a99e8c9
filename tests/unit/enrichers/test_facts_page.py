"""The page of facts is the table of facts."""

from __future__ import annotations

from pathlib import Path

from receiver.enrichers.facts import FACTS, evidence_facts, facts_of, namespace_facts
from receiver.model import Cause, Evidence
from tests.unit.enrichers.cluster import plan_of

PAGE = Path(__file__).parents[3] / "docs" / "facts.md"


def test_the_page_repeats_the_table() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert rows == [f"| `{fact.name}` | {fact.meaning} | {fact.source} |" for fact in FACTS]


def test_every_fact_in_the_table_can_be_had_and_no_other_is_given() -> None:
    plan = plan_of("a-cold-vsphere-imageconversion.yaml")
    plan["metadata"] |= {"labels": {"x": "1"}, "annotations": {"x": "1"}}
    wished = {"receiver": "a", "slack-channel": "#b"}
    given = facts_of(plan, ()) | namespace_facts("p", {"x": "1"}, {"x": "1"}, wished)
    given |= evidence_facts(Evidence(cause=Cause("id", "sentence", owner="team")))
    assert {name.removesuffix("_x") for name in given} == {fact.name.removesuffix("_<x>") for fact in FACTS}
