from __future__ import annotations

from dataclasses import replace

from receiver.kube import PlanIndex, PlanRow
from receiver.kube.plans import DELETED_KEPT

ROW = PlanRow(
    uid="u1", namespace="team", name="a", labels={}, annotations={}, ready=True, executing=False, succeeded=False,
    failed=False, canceled=None, resource_version="1",
)  # fmt: skip


def test_the_same_row_twice_is_one_event() -> None:
    index = PlanIndex()
    assert [event.kind for event in index.put(ROW)] == ["added"]
    assert index.put(ROW) == ()


def test_plans_of_one_name_in_two_namespaces_are_both_named() -> None:
    index = PlanIndex()
    index.put(ROW)
    index.put(replace(ROW, uid="u2", namespace="other"))
    assert {row.uid for row in index.named("a")} == {"u1", "u2"}
    index.remove("u1")
    assert {row.uid for row in index.named("a")} == {"u2"}
    assert index.by_name("team", "a") is None
    index.remove("u2")
    assert index.named("a") == ()


def test_a_plan_never_seen_was_not_deleted() -> None:
    index = PlanIndex()
    assert index.remove("u1") == ()
    assert not index.was_deleted("u1")


def test_a_list_without_a_plan_deletes_it_unless_the_list_had_entries_nobody_could_read() -> None:
    index = PlanIndex()
    index.put(ROW)
    assert index.replace((), unreadable=frozenset(), complete=False) == ()
    assert index.replace((), unreadable=frozenset({"u1"}), complete=True) == ()
    (deleted,) = index.replace((), unreadable=frozenset(), complete=True)
    assert (deleted.kind, deleted.row) == ("deleted", ROW)
    assert index.was_deleted("u1")


def test_the_memory_of_deleted_plans_is_bounded() -> None:
    index = PlanIndex()
    for number in range(DELETED_KEPT + 1):
        index.put(replace(ROW, uid=str(number)))
        index.remove(str(number))
    assert not index.was_deleted("0")
    assert index.was_deleted(str(DELETED_KEPT))
