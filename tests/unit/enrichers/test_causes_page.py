"""docs/causes.md holds the table of known errors, and the example and the answers of `check` in it are real."""

from __future__ import annotations

import os
import re
from pathlib import Path

from receiver.config.causes_files import read_causes
from receiver.config.known_errors import KnownError
from receiver.enrichers.causes import page, shipped

PAGE = Path(__file__).parents[3] / "docs" / "causes.md"
BEGIN, END = "<!-- table: begin -->\n", "\n<!-- table: end -->"


def test_the_page_repeats_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    shown, _, after = rest.partition(END)
    if os.environ.get("UPDATE_GOLDEN"):
        PAGE.write_text(f"{before}{BEGIN}{page(shipped().rows)}{END}{after}", encoding="utf-8")
        return
    assert shown == page(shipped().rows)


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_example_of_the_page_is_good() -> None:
    (good, _) = (block for block in _blocks("yaml") if block.startswith("- id"))
    found: dict[str, tuple[KnownError, str]] = {}
    assert read_causes("causes/site.yaml", good.encode(), found) == ()
    assert list(found) == ["site-firewall"]


def test_the_mistakes_of_the_page_are_answered_as_it_says() -> None:
    (_, bad) = (block for block in _blocks("yaml") if block.startswith("- id"))
    said = next(block for block in _blocks("text") if block.startswith("causes/site.yaml"))
    answered = [str(problem) for problem in read_causes("causes/site.yaml", bad.encode(), {})]
    assert said.splitlines()[: len(answered)] == answered
    assert said.splitlines()[len(answered) :] == [f"routes.yaml: {len(answered)} problems"]
