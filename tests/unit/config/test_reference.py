"""docs/configuration.md is what the code says: UPDATE_DOCS=1 writes it anew; read the difference."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from receiver.config.jsonschema import schema
from receiver.config.reference import reference, title
from receiver.destinations.registry import ALL

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
MADE = reference(schema(ALL))


def test_the_page_is_what_the_code_says() -> None:
    if os.environ.get("UPDATE_DOCS") == "1":
        PAGE.write_text(MADE)
    assert PAGE.read_text() == MADE


@pytest.mark.parametrize(
    "file", ["routes.yaml", *(f"deploy/{one}/common/routes.yaml" for one in ("openshift", "kubernetes"))]
)
def test_the_first_line_of_a_shipped_file_names_the_schema_for_editors(file: str) -> None:
    text = PAGE.parents[1].joinpath(file).read_text()
    assert text.partition("\n")[0] in MADE.splitlines()
    assert "config schema" in text
    assert ("docs/configuration.md" in text) == file.startswith("deploy/"), (
        "all that may stand there is only on that page"
    )


def test_every_part_that_a_key_names_has_a_heading_and_every_destination_is_there() -> None:
    headings = {
        "".join(char for char in one.lower() if char.isalnum() or char in "-_")
        for one in re.findall(r"^## (.+)$", MADE, re.MULTILINE)
    }
    links = set(re.findall(r"\]\(#([^)]*)\)", MADE))
    assert links <= headings
    for kind in ALL:
        assert f"## {kind.config_key}[]" in MADE


def test_a_default_is_the_one_that_is_in_force() -> None:
    row = next(line for line in MADE.splitlines() if line.startswith("| `evidence_timeout` |"))
    assert "| duration | `10s` |" in row


def test_parts_are_called_by_the_words_of_the_file() -> None:
    assert [title(one) for one in ("WebWire", "slack_entry", "HttpWire", "NamespaceRoutingWire")] == [
        "web", "slack_configs[]", "http", "namespace_routing",
    ]  # fmt: skip
