"""What the book keeps of namespaces whose owners write what they like."""

from __future__ import annotations

import json
from typing import Any

import pytest

from receiver.kube.namespaces import (
    CONFIGMAPS_MAX,
    KEYS_MAX,
    LABEL_MAX,
    MARKS_MAX,
    VALUE_MAX,
    NamespaceBook,
    NamespaceRow,
    selector,
)

PREFIX = "mtv-receiver.io"
ROUTING = f"{PREFIX}/routing"


def named(**metadata: Any) -> dict[str, Any]:
    return {"metadata": metadata}


def wishing(data: Any, labels: Any = None) -> dict[str, Any]:
    return {"metadata": {"labels": {ROUTING: "true"} if labels is None else labels}, "data": data}


@pytest.fixture
def book() -> NamespaceBook:
    return NamespaceBook()


def row_of(book: NamespaceBook, name: str = "shop") -> NamespaceRow:
    row = book.of(name)
    assert row is not None
    return row


def test_a_namespace_and_the_configmaps_in_it_are_one_row(book: NamespaceBook) -> None:
    assert book.put_namespace("shop", named(labels={"team": "a"}, annotations={f"{PREFIX}/receiver": "team-a"}), PREFIX)
    assert book.put_configmap("shop", "routing", wishing({"slack_channel": "#mig-shop"}), PREFIX)
    row = NamespaceRow("shop", {"team": "a"}, {f"{PREFIX}/receiver": "team-a"}, {"slack_channel": "#mig-shop"})
    assert book.of("shop") == row
    assert book.rows() == (row,)
    assert book.of("other") is None


def test_a_configmap_is_known_before_its_namespace_is(book: NamespaceBook) -> None:
    assert book.put_configmap("shop", "routing", wishing({"receiver": "team-a"}), PREFIX)
    assert row_of(book) == NamespaceRow("shop", {}, {}, {"receiver": "team-a"})
    assert book.put_namespace("shop", named(labels={"team": "a"}), PREFIX)
    assert book.put_namespace("shop", None, PREFIX)
    assert row_of(book).wishes == {"receiver": "team-a"}
    assert book.put_configmap("shop", "routing", None, PREFIX)
    assert book.rows() == ()
    assert book.configmap_names() == ()


def test_what_is_the_same_is_no_news(book: NamespaceBook) -> None:
    same = named(labels={"team": "a"}, resourceVersion="1", managedFields=[{}])
    assert book.put_namespace("shop", same, PREFIX)
    assert not book.put_namespace("shop", {**same, "metadata": {**same["metadata"], "resourceVersion": "2"}}, PREFIX)
    assert not book.put_namespace("other", None, PREFIX)
    assert not book.put_configmap("shop", "empty", wishing({}), PREFIX)
    assert not book.put_configmap("shop", "empty", None, PREFIX)
    assert not book.put_configmap("other", "none", None, PREFIX)


def test_of_several_configmaps_all_count_in_the_order_of_their_names_whichever_came_first(book: NamespaceBook) -> None:
    book.put_configmap("shop", "b", wishing({"receiver": "of-b", "only_b": "1"}), PREFIX)
    book.put_configmap("shop", "a", wishing({"receiver": "of-a", "only_a": "1"}), PREFIX)
    assert row_of(book).wishes == {"receiver": "of-a,of-b", "only_a": "1", "only_b": "1"}
    book.put_configmap("shop", "b", None, PREFIX)
    assert row_of(book).wishes == {"receiver": "of-a", "only_a": "1"}


@pytest.mark.parametrize(
    "labels", [{}, {ROUTING: "false"}, {ROUTING: True}, [ROUTING], "true", {"other/routing": "true"}]
)
def test_a_configmap_without_the_label_does_not_count(book: NamespaceBook, labels: Any) -> None:
    book.put_configmap("shop", "a", wishing({"receiver": "x"}), PREFIX)
    assert book.put_configmap("shop", "a", wishing({"receiver": "x"}, labels), PREFIX)
    assert book.of("shop") is None


@pytest.mark.parametrize("odd", [None, [], "text", 7, True, [["a", "b"]], {"a": {"b": "c"}}, {"a": None}, {"a": ["b"]}])
def test_odd_values_leave_a_row_without_them(book: NamespaceBook, odd: Any) -> None:
    book.put_namespace("shop", named(labels=odd, annotations=odd), PREFIX)
    book.put_configmap("shop", "a", wishing(odd), PREFIX)
    assert row_of(book) == NamespaceRow("shop", {}, {}, {})
    book.put_namespace("shop", {"metadata": odd}, PREFIX)
    book.put_configmap("shop", "a", {"metadata": odd, "data": odd}, PREFIX)
    assert row_of(book) == NamespaceRow("shop", {}, {}, {})


def test_values_that_are_texts_stay_where_others_beside_them_are_not(book: NamespaceBook) -> None:
    pairs = {"a": "x", "b": 1, "c": None, "d": ["x"], "": "no key", "e f": "no key", "ü": "no key", "g\n": "no key"}
    book.put_namespace("shop", named(labels=pairs, annotations=pairs), PREFIX)
    assert (row_of(book).labels, row_of(book).annotations) == ({"a": "x"}, {"a": "x"})


def test_everything_huge_is_cut(book: NamespaceBook) -> None:
    huge = {f"k{number:05}": "v" * 100_000 for number in range(500)} | {"k" * 1_000: "long key"}
    book.put_namespace("shop", named(labels=huge, annotations=huge), PREFIX)
    for number in range(200):
        book.put_configmap(
            "shop", f"c{number:03}", wishing({f"{number:03}{key}": v for key, v in huge.items()}), PREFIX
        )
    row = row_of(book)
    assert (len(row.labels), len(row.annotations), len(row.wishes)) == (MARKS_MAX, MARKS_MAX, KEYS_MAX)
    assert {len(value) for value in row.labels.values()} == {LABEL_MAX}
    assert {len(value) for value in (*row.annotations.values(), *row.wishes.values())} == {VALUE_MAX}
    assert len(json.dumps([row.labels, row.annotations, row.wishes])) < 200_000
    assert book.configmap_names() == tuple(("shop", f"c{number:03}") for number in range(CONFIGMAPS_MAX))


def test_of_too_many_configmaps_the_first_by_name_count_in_whatever_order_they_come(book: NamespaceBook) -> None:
    for number in reversed(range(CONFIGMAPS_MAX + 5)):
        book.put_configmap("shop", f"c{number:03}", wishing({"receiver": str(number)}), PREFIX)
    assert row_of(book).wishes == {"receiver": ",".join(map(str, range(CONFIGMAPS_MAX)))}


def test_annotations_of_our_own_find_room_before_all_others(book: NamespaceBook) -> None:
    crowd = {f"a{number:03}": "x" for number in range(MARKS_MAX * 2)} | {f"{PREFIX}/receiver": "team-a"}
    book.put_namespace("shop", named(annotations=crowd, labels=crowd), PREFIX)
    assert row_of(book).annotations[f"{PREFIX}/receiver"] == "team-a"
    assert row_of(book).labels[f"{PREFIX}/receiver"] == "team-a"
    assert len(row_of(book).annotations) == MARKS_MAX


def test_what_kubectl_applied_last_is_left_out(book: NamespaceBook) -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"}
    book.put_namespace("shop", named(annotations=annotations), PREFIX)
    assert row_of(book).annotations == {"a": "b"}


def test_every_value_can_be_stored_and_sent(book: NamespaceBook) -> None:
    odd = {"half": json.loads('"a\\ud800b"'), "nul": "a\0b", "whole": "\U0001f600", "cut": "\U0001f600" * 2_000}
    book.put_namespace("shop", named(annotations=odd), PREFIX)
    kept = row_of(book).annotations
    assert kept["half"] == kept["nul"] == "a\ufffdb"
    assert kept["whole"] == "\U0001f600"
    assert all(value.encode() and "\0" not in value for value in kept.values())


def test_a_problem_of_one_watch_is_the_problem_of_the_book_and_two_are_both_said(book: NamespaceBook) -> None:
    assert (book.synced, book.problem) == (False, None)
    book.namespaces.synced = True
    book.configmaps.problem = "forbidden: needs list configmaps"
    assert (book.synced, book.problem) == (False, "forbidden: needs list configmaps")
    book.namespaces.problem = "needs list namespaces"
    assert book.problem == "needs list namespaces; forbidden: needs list configmaps"
    book.namespaces.problem = book.configmaps.problem = "cluster local does not answer"
    assert book.problem == "cluster local does not answer"
    book.configmaps.synced = True
    book.configmaps.skipped, book.namespaces.skipped = 1, 2
    assert (book.synced, book.skipped) == (True, 3)


def test_configmaps_are_chosen_by_a_label_of_the_prefix() -> None:
    assert selector("example.com") == "example.com/routing=true"
