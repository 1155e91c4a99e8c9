"""The index of the documentation names every page once, and every link in it and in the README leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]


def test_the_index_names_every_page_once() -> None:
    named = LINK.findall((DOCS / "README.md").read_text(encoding="utf-8"))
    pages = [one.name for one in DOCS.glob("*.md") if one.name != "README.md"]
    assert sorted(one for one in named if "/" not in one) == sorted(pages)


@pytest.mark.parametrize("page", PAGES, ids=[str(one.relative_to(ROOT)) for one in PAGES])
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = [one for one in LINK.findall(page.read_text(encoding="utf-8")) if "…" not in one]
    # Runbooks are served as pages, too: there they link to each other by name.
    assert [one for one in links if not any((page.parent / f"{one}{end}").exists() for end in ("", ".md"))] == []
