from __future__ import annotations

import pytest

from receiver.kube.selectors import field_test, label_test

OBJ = {
    "metadata": {"name": "a", "labels": {"plan": "u1", "vmID": "vm-1", "kubevirt.io/x": "y"}},
    "status": {"phase": "Failed"},
}


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        ("", True), ("plan=u1", True), ("plan==u1", True), ("plan = u1", True), ("plan=u2", False), ("plan!=u2", True),
        ("plan!=u1", False), ("other!=x", True), ("plan", True), ("other", False), ("!other", True), ("!plan", False),
        ("vmID in (vm-1, vm-2)", True), ("vmID in (vm-2)", False), ("vmID notin (vm-2,vm-3)", True),
        ("vmID notin (vm-1)", False), ("plan=u1,vmID in (vm-0,vm-1)", True), ("plan=u1,vmID=vm-2", False),
        ("kubevirt.io/x=y", True), ("kubevirt.io/x", True), ("other=", False),
    ],
)  # fmt: skip
def test_label_selectors_mean_what_they_mean_to_a_server(selector: str, matches: bool) -> None:
    assert label_test(selector)(OBJ) is matches


@pytest.mark.parametrize("selector", ["a b", "(x)", "a in x", "=b"])
def test_a_label_selector_that_is_none_is_a_value_error(selector: str) -> None:
    with pytest.raises(ValueError, match="not a label selector"):
        label_test(selector)


@pytest.mark.parametrize(
    ("selector", "matches"),
    [("", True), ("metadata.name=a", True), ("metadata.name=b", False), ("status.phase!=Running", True),
     ("status.phase=Failed,metadata.name=a", True), ("spec.nodeName=", True), ("spec.nodeName=x", False)],
)  # fmt: skip
def test_field_selectors_follow_the_path(selector: str, matches: bool) -> None:
    assert field_test(selector)(OBJ) is matches


def test_an_object_of_wrong_types_has_no_labels_and_no_fields() -> None:
    assert not label_test("plan")({"metadata": {"labels": ["plan"]}})
    assert not field_test("metadata.name=a")({"metadata": "a"})
