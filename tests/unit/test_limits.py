"""Cutting never exceeds the limit and never goes through a character."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.limits import MARKER, truncate, truncate_bytes

ANY = st.text(st.characters(), max_size=120)
WRITABLE = st.text(st.characters(exclude_categories=["Cs"]), max_size=120)


@given(ANY, st.integers(-3, 130))
def test_characters_are_never_more_than_the_limit(text: str, limit: int) -> None:
    cut = truncate(text, limit)

    assert len(cut) <= max(limit, 0)
    assert cut == text if len(text) <= limit else text.startswith(cut.removesuffix(MARKER))


@given(ANY, st.integers(-3, 300))
def test_bytes_are_never_more_than_the_limit_and_always_utf8(text: str, limit: int) -> None:
    assert len(truncate_bytes(text, limit).encode()) <= max(limit, 0)


@given(WRITABLE, st.integers(0, 300))
def test_text_that_fits_is_not_touched_and_cut_text_is_a_beginning(text: str, limit: int) -> None:
    cut = truncate_bytes(text, limit)

    assert cut == text if len(text.encode()) <= limit else text.startswith(cut.removesuffix(MARKER))


@given(ANY, st.integers(3, 100))
def test_whatever_was_cut_says_so(text: str, limit: int) -> None:
    assert len(text) <= limit or truncate(text, limit).endswith(MARKER)


@pytest.mark.parametrize(
    ("text", "limit", "cut"),
    [
        ("abcdef", 4, "abc…"),
        ("abc  def", 6, "abc…"),
        ("e\u0301e\u0301e\u0301", 4, "e\u0301…"),
        ("ab👩‍👩‍👧cd", 6, "ab…"),
        ("👍🏽👍🏽", 3, "👍🏽…"),
        ("abc", 0, ""),
    ],
)
def test_letters_keep_their_marks_and_emoji_their_parts(text: str, limit: int, cut: str) -> None:
    assert truncate(text, limit) == cut


@pytest.mark.parametrize(
    ("limit", "cut"), [(12, "äöüäöü"), (11, "äöüä…"), (4, "…"), (3, "…"), (2, "ä"), (1, ""), (0, "")]
)
def test_bytes_are_counted_not_characters(limit: int, cut: str) -> None:
    assert truncate_bytes("äöüäöü", limit) == cut


def test_a_lone_surrogate_is_made_writable() -> None:
    assert truncate_bytes("a\ud800b", 10) == "a\ufffdb"


def test_a_letter_under_a_heap_of_marks_is_cut_all_the_same() -> None:
    assert len(truncate("a" + "\u0301" * 500, 100)) <= 100
