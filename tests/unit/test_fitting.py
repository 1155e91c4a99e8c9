"""Cutting messages down: what goes first, and that nothing goes silently."""

from __future__ import annotations

from typing import Any

import pytest

from receiver import fitting
from receiver.rendering import Block, Code, Message, Paragraph, Small, Span, Steps, Table


def message(*blocks: Block) -> Message:
    return Message("push", "title", "🔴", "#d00000", blocks)


def size(candidate: Message) -> int:
    return len(repr(candidate.blocks))


def texts(candidate: Message) -> str:
    return repr(candidate.blocks)


def test_a_message_that_fits_is_unchanged() -> None:
    small = message(Paragraph((Span("all is well"),)), Code(("one", "two"), "log"))
    assert fitting.fit(small, size, 10_000) == small


def test_logs_are_cut_before_anything_else_and_say_how_much_is_missing() -> None:
    told = Paragraph((Span("what to do " * 40),))
    fitted = fitting.fit(message(told, Code(tuple(f"line {at}" for at in range(100)))), size, 1_000)
    assert fitted.blocks[0] == told
    code = fitted.blocks[1]
    assert isinstance(code, Code)
    assert code.lines[0] == "line 0"
    assert code.lines[-1] == f"… {100 - (len(code.lines) - 1)} lines left out"


def test_rows_and_items_are_cut_next_and_counted() -> None:
    table = Table(("vm",), tuple((f"vm {at}",) for at in range(200)))
    steps = Steps(tuple((Span(f"step {at}"),) for at in range(50)))
    fitted = fitting.fit(message(table, steps), size, 1_500)
    assert size(fitted) <= 1_500
    assert texts(fitted).count(" more'") == 2


def test_parts_are_left_out_from_the_end_when_nothing_else_helps() -> None:
    many = message(*(Paragraph((Span(f"part {at} " + "x" * 190),)) for at in range(100)))
    fitted = fitting.fit(many, size, 5_000)
    assert size(fitted) <= 5_000
    assert "part 0 " in texts(fitted)
    assert isinstance(fitted.blocks[-1], Small)
    assert "the rest is left out" in texts(fitted)


def test_more_blocks_than_a_destination_takes_are_left_out_with_a_note() -> None:
    many = message(*(Paragraph((Span(f"part {at}"),)) for at in range(100)))
    fitted = fitting.fit(many, size, 1_000_000, most_blocks=10)
    assert len(fitted.blocks) == 10
    assert "part 8" in texts(fitted)
    assert "the rest is left out" in texts(fitted)


def test_one_endless_line_is_cut() -> None:
    fitted = fitting.fit(message(Code(("x" * 100_000,))), size, 1_000)
    assert size(fitted) <= 1_000


def test_a_carriage_return_and_hidden_directions_do_not_survive() -> None:
    assert fitting.clean("a\r\nb\rc\u202ed\x00e\tf") == "a\nb\ncde\tf"
    assert fitting.clean("lone \ud800 half").encode()


def test_equal_payloads_have_equal_hashes_whatever_their_order() -> None:
    assert fitting.payload_hash({"a": 1, "b": [2]}) == fitting.payload_hash({"b": [2], "a": 1})
    assert fitting.payload_hash({"a": 1}) != fitting.payload_hash({"a": 2})


def test_columns_are_aligned_and_short_rows_stay_short() -> None:
    lines = fitting.columns(("vm", "step"), (("a-long-name", "DiskTransfer"), ("b",)))
    assert lines == ("vm           step", "a-long-name  DiskTransfer", "b")


@pytest.mark.parametrize("empty", [Code(()), Table((), ()), Steps(()), Paragraph(()), Small(())])
def test_empty_blocks_do_no_harm(empty: Any) -> None:
    assert size(fitting.fit(message(empty), size, 10)) > 0
