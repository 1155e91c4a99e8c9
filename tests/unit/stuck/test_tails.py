"""Which ends of logs are kept of a Plan, and that they come back as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from receiver.stuck import changed
from receiver.stuck.tails import ALL_BYTES, LOGS, TAIL_BYTES, TAILS, Tail, chosen, cut, from_json, size_of, to_json
from tests.unit.stuck.build import VM_ID, at, done, plan, vm

TAIL = Tail(VM_ID, "payments", "virt-launcher-app", "compute", "Running", at(0), "all is well\n")


def tail(number: int, **fields: Any) -> Tail:
    return replace(TAIL, vm=f"vm-{number}", pod=f"pod-{number}", at=at(number), **fields)


def of(*vms: dict[str, Any], old: tuple[Tail, ...] = (), new: tuple[Tail, ...] = ()) -> list[str]:
    return [one.pod for one in chosen(old, new, plan(*vms), at(999))]


def test_the_end_of_a_log_begins_with_a_line() -> None:
    lines = [f"line {number} of the log, with an umlaut: ä" for number in range(1_000)]
    end = cut("\n".join(lines))
    assert len(end.encode()) <= TAIL_BYTES
    assert end.splitlines() == lines[-len(end.splitlines()) :]
    assert cut("short") == "short"
    assert cut("x" * 9_999) == "x" * TAIL_BYTES


def test_of_a_pod_the_newest_counts_and_one_that_is_gone_stays() -> None:
    later = replace(TAIL, at=at(60), text="an error\n")
    assert chosen([TAIL, tail(1)], [later], plan(), at(61)) == (later, tail(1))
    assert chosen([later], [TAIL], plan(), at(61)) == (later,)


def test_what_a_vm_said_that_has_ended_well_is_dropped_and_what_a_failed_one_said_comes_first() -> None:
    bad = done("b", "Failed") | {"id": "vm-2"}
    good = done("a") | {"id": "vm-1"}
    every = tuple(tail(number) for number in range(1, 9))
    assert of(good, bad, old=every) == ["pod-2", "pod-8", "pod-7", "pod-6"]
    assert len(every) > TAILS
    assert of(vm(), new=(*every[:2], replace(every[0], pod="waits", phase="Scheduled")))[0] == "waits"


def test_they_never_take_more_than_their_share() -> None:
    # Every quote costs two bytes in JSON.
    every = [tail(number, text='"' * TAIL_BYTES) for number in range(TAILS)]
    kept = chosen([], every, plan(), at(9))
    assert kept
    assert size_of(kept) <= ALL_BYTES + 100
    assert len(json.dumps({LOGS: to_json(kept)}, separators=(",", ":"))) <= size_of(kept) + 2


def test_they_come_back_as_they_were_and_a_snapshot_of_before_there_were_any_has_none() -> None:
    kept = {"pods": [{"name": "a"}], LOGS: to_json([tail(2), TAIL])}
    assert from_json(json.loads(json.dumps(kept))) == (tail(2), TAIL)
    assert from_json({"pods": [{"name": "a"}], "left_out": 3}) == from_json(None) == ()
    assert size_of(()) == 0


def test_a_log_that_says_the_same_when_it_is_read_again_is_no_change() -> None:
    first, again = ({LOGS: to_json([replace(TAIL, at=at(second))])} for second in (0, 120))
    assert not changed(first, again)
    assert changed(first, {LOGS: to_json([replace(TAIL, text="more\n")])})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(("vm", "namespace", "name", "container", "phase", "at", "text"))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(KEYS, JSON, max_size=7), max_size=3) | JSON)
def test_any_json_in_their_place_raises_nothing(kept: Any) -> None:
    assert isinstance(from_json({LOGS: kept}), tuple)


@pytest.mark.parametrize("broken", [{"at": "yesterday"}, {"text": 7}, {"text": ""}, {"vm": None}, {"name": ""}])
def test_an_entry_that_is_no_log_counts_as_absent(broken: dict[str, Any]) -> None:
    (entry,) = to_json([TAIL])
    assert from_json({LOGS: [{**entry, **broken}]}) == ()
