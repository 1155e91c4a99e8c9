"""What the pages of destinations claim is proved: each kind has its page, its row, and tests that exist."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from receiver.destinations.registry import ALL

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "destinations"
SCHEMAS = ROOT / "tests" / "schemas"
KINDS = [kind.kind for kind in ALL]
CELLS = ["create", "update", "resolve", "reopen", "double safety", "limits", "acknowledgement", "attachments"]
PROOF = re.compile(r"`([a-z_/]+\.py)::(test_\w+)`")
NAMED = re.compile(r"`[^`\s]*?(test_[a-z0-9_]+)(?:\[[^`]*\])?`")


def page() -> str:
    return (PAGES / "README.md").read_text(encoding="utf-8")


def rows(text: str) -> list[list[str]]:
    """Return the cells of the first table in a text, without its two lines of head."""
    lines = [line for line in f"\n{text}".split("\n\n|", 1)[1].split("\n\n", 1)[0].splitlines() if "|" in line]
    return [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in lines[2:]]


@cache
def defined_in(file: Path) -> frozenset[str]:
    return frozenset(re.findall(r"def (test_\w+)\(", file.read_text(encoding="utf-8")))


@cache
def all_tests() -> frozenset[str]:
    return frozenset().union(*(defined_in(file) for file in (ROOT / "tests").rglob("test_*.py")))


@pytest.mark.parametrize("kind", KINDS)
def test_a_registered_kind_has_a_page_a_column_and_a_proof_of_each_cell(kind: str) -> None:
    assert (PAGES / f"{kind}.md").is_file()
    overview = page().partition("\n## ")[0]
    assert f"({kind}.md)" in overview
    proofs = rows(page().partition(f"\n### {kind}\n")[2])
    assert [row[0] for row in proofs] == CELLS
    for cell, what, proof in proofs:
        assert what
        named = PROOF.findall(proof)
        assert named, cell
        for file, test in named:
            assert test in defined_in(ROOT / "tests" / file), f"{kind}, {cell}: {file} has no {test}"


def test_the_overview_has_a_word_for_each_cell_of_each_kind() -> None:
    found = rows(page().partition("\n## ")[0])
    assert [row[0] for row in found] == CELLS
    assert all(len(row) == len(KINDS) + 1 and all(row) for row in found)


@pytest.mark.parametrize("name", sorted(file.name for file in PAGES.glob("*.md")))
def test_every_test_that_a_page_names_exists(name: str) -> None:
    text = (PAGES / name).read_text(encoding="utf-8")
    files = {file.stem for file in (ROOT / "tests").rglob("test_*.py")}
    assert set(NAMED.findall(text)) <= all_tests() | files


# --- the vendors' schemas ---


def released() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SCHEMAS / "released.json").read_text(encoding="utf-8"))
    return found


def test_no_copy_of_what_a_vendor_publishes_is_older_than_a_year() -> None:
    known = released()
    oldest = datetime.now(UTC).date() - timedelta(days=365)
    old = [name for name, one in (known["npm"] | known["read"]).items() if date.fromisoformat(one["released"]) < oldest]
    assert old == [], "compare with the newest release; then pin it, or write the date of the comparison"


def test_what_is_pinned_has_its_date_and_is_exactly_what_is_locked() -> None:
    asked = json.loads((SCHEMAS / "package.json").read_text(encoding="utf-8"))["dependencies"]
    lock = json.loads((SCHEMAS / "package-lock.json").read_text(encoding="utf-8"))
    known = released()
    assert set(asked) == {*known["npm"], *known["tools"]}
    for name, version in asked.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
        assert known["npm"].get(name, {"version": version})["version"] == version


def test_the_lock_names_no_registry_and_every_package_has_its_hash() -> None:
    lock = json.loads((SCHEMAS / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert [name for name, one in packages.items() if "resolved" in one or "integrity" not in one] == []
