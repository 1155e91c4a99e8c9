"""YAML with positions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.config.positions import Place, YamlError, read_yaml
from receiver.config.settings import plain

TEXT = b"""\
route:
  receiver: platform
  routes:
    - matchers: [plain=x, 'it''s=x', "a\\tb=x"]
      continue: no
"""


def test_everything_knows_its_line_and_column() -> None:
    document = read_yaml(TEXT)
    assert document.place(("route", "receiver")) == Place(2, 13)
    assert document.key_place(("route", "receiver")) == Place(2, 3)
    assert document.place(("route", "routes", 0, "continue")) == Place(5, 17)


def test_lists_and_mappings_are_found_by_their_key_and_elements_where_they_start() -> None:
    document = read_yaml(TEXT)
    assert document.place(("route", "routes")) == Place(3, 3)
    assert document.place(("route", "routes", 0)) == Place(4, 7)


def test_what_is_not_there_is_at_what_is_around_it() -> None:
    document = read_yaml(TEXT)
    assert document.place(("route", "routes", 0, "receiver"), 3) == Place(4, 7)
    assert document.place(("storage",)) == Place(1, 1)


def test_a_character_inside_a_scalar_is_found_where_that_can_be_told() -> None:
    document = read_yaml(TEXT)
    matchers = ("route", "routes", 0, "matchers")
    assert document.place((*matchers, 0), 5) == Place(4, 23)  # plain
    assert document.place((*matchers, 1), 4) == Place(4, 33)  # one quote written as two before it
    assert document.place((*matchers, 2), 2) == Place(4, 38)  # an escape inside: its start


def test_scalars_keep_their_text_and_know_their_type() -> None:
    value = read_yaml(b"[no, 1:30, 010, 5, 1.5, true, null, 'true', 2026-01-02, 1e3]").value
    assert [str(item) for item in value if item is not None] == [
        *["no", "1:30", "010", "5", "1.5", "true", "true", "2026-01-02", "1e3"]
    ]
    assert plain(value) == ["no", "1:30", "010", 5, 1.5, True, None, "true", "2026-01-02", "1e3"]


def test_a_duplicate_key_keeps_its_first_value_and_both_places() -> None:
    document = read_yaml(b"a: 1\nb: {c: 1, c: 2}\na: 3\n")
    assert plain(document.value) == {"a": 1, "b": {"c": 1}}
    assert document.duplicates == [(("b", "c"), Place(2, 11), Place(2, 5)), (("a",), Place(3, 1), Place(1, 1))]


def test_merged_keys_give_way_to_written_ones_and_to_earlier_mappings() -> None:
    text = b"x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz: {<<: [*x, *y], a: 0}\n"
    assert plain(read_yaml(text).value)["z"] == {"a": 0, "b": 1, "c": 2}


def test_a_mapping_that_merges_itself_is_refused() -> None:
    with pytest.raises(YamlError, match="an alias to what it stands in"):
        read_yaml(b"a: &a\n  <<: *a\n")


def test_brackets_without_end_are_refused_and_not_a_crash() -> None:
    with pytest.raises(YamlError, match=r"nested too deeply|not YAML"):
        read_yaml(b"[" * 100_000)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=60), st.text(alphabet="ab:-[]{}&*!|>'\"#,<? \n\t%@0~\\", max_size=60).map(str.encode))
)
def test_any_bytes_are_data_or_a_problem(content: bytes) -> None:
    try:
        read_yaml(content)
    except YamlError as error:
        problem = error
    else:
        return
    assert problem.what
    assert problem.cure
    assert problem.place.line >= 1
    assert problem.place.column >= 1
