"""docs/reliability.md names tests; each must be there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROMISES = [f"P{number}" for number in range(1, 9)]


def rows() -> dict[str, set[str]]:
    """Return the tests that each promise names."""
    text = (ROOT / "docs" / "reliability.md").read_text()
    lines = (line.split("|") for line in text.splitlines() if re.match(r"\| P\d:", line))
    return {cells[1].strip()[:2]: set(re.findall(r"`(test_\w+)`", cells[2])) for cells in lines}


def test_every_promise_names_tests_that_exist() -> None:
    known = {
        node.name
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    named = rows()
    assert list(named) == PROMISES
    assert all(named.values())
    assert {test for tests in named.values() for test in tests} - known == set()
