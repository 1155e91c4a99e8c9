"""Reading webhook bodies: tolerant of what is odd, clear about what cannot be used."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.fingerprint import fingerprint
from receiver.metrics import REJECTED
from receiver.model import Alert, AlertStatus
from receiver.wire import UnusableBodyError, clean, parse_body
from tests.odd_bodies import ALL, ZERO, Odd, alert, body, document

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
CAPTURED = Path(__file__).parents[1] / "data" / "alertmanager"


def read(**changed: Any) -> Alert:
    """Read a body with one alert that has some keys changed."""
    return parse_body(body(alert(**changed)), NOW).alerts[0]


@pytest.mark.parametrize("odd", ALL, ids=lambda odd: odd.name)
def test_what_can_be_used_is_used_and_the_rest_is_named(odd: Odd) -> None:
    if odd.status == 400:
        with pytest.raises(UnusableBodyError) as caught:
            parse_body(odd.raw, NOW)
        told = str(caught.value)
        assert len(told) < 300
        assert "\n" not in told
    else:
        read_body = parse_body(odd.raw, NOW)
        assert len(read_body.alerts) == odd.accepted
        assert len(read_body.rejected) == len(odd.says)
        assert {one.reason for one in read_body.rejected} <= set(REJECTED)
        told = " | ".join(f"{one.index}: {one.detail}" for one in read_body.rejected)
    assert all(words in told for words in odd.says), told


@pytest.mark.parametrize("odd", [odd for odd in ALL if odd.status == 200], ids=lambda odd: odd.name)
def test_an_accepted_alert_holds_only_what_every_database_and_vendor_takes(odd: Odd) -> None:
    for one in parse_body(odd.raw, NOW).alerts:
        texts = [*one.labels, *one.labels.values(), *one.annotations, *one.annotations.values(), one.generator_url]
        joined = "".join(texts)
        assert "\0" not in joined
        assert joined.encode("utf-8").decode("utf-8") == joined
        assert all(one.labels.values())
        assert one.starts_at.tzinfo is UTC
        assert one.fingerprint == fingerprint(one.labels)


# --- repairs ---


@pytest.mark.parametrize("text", [..., None, "", "yesterday", 17, ZERO, "9999-12-31T23:59:59-14:00", "2026-13-01"])
def test_a_start_that_cannot_be_read_is_now(text: Any) -> None:
    assert read(startsAt=text).starts_at == NOW


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-21T08:00:00Z", datetime(2026, 11, 21, 8, tzinfo=UTC)),
        ("2026-11-21T08:00:00.123456789Z", datetime(2026, 11, 21, 8, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-21T08:00:00.5+01:00", datetime(2026, 11, 21, 7, 0, 0, 500000, tzinfo=UTC)),
        ("2026-11-21T08:00:00", datetime(2026, 11, 21, 8, tzinfo=UTC)),
        (" 2026-11-21T08:00:00Z\n", datetime(2026, 11, 21, 8, tzinfo=UTC)),
    ],
)
def test_a_start_is_read_in_any_zone_and_precision(text: str, expected: datetime) -> None:
    assert read(startsAt=text).starts_at == expected


@pytest.mark.parametrize("text", [..., None, ZERO, "soon"])
def test_a_resolved_alert_without_a_readable_end_has_none(text: Any) -> None:
    assert read(status="resolved", endsAt=text).ends_at is None


def test_a_firing_alert_has_no_end_whatever_is_said() -> None:
    assert read(endsAt="2026-11-21T09:00:00Z").ends_at is None


def test_the_fingerprint_is_computed_and_not_believed() -> None:
    assert read(fingerprint="ffffffffffffffff").fingerprint == fingerprint({"alertname": "Odd", "severity": "warning"})


def test_labels_that_are_no_text_become_text() -> None:
    labels = read(labels={"alertname": "Odd", "a": 1, "b": 1.5, "c": True, "d": None, "e": ["x"], "f": ""}).labels

    assert labels == {"alertname": "Odd", "a": "1", "b": "1.5", "c": "true"}


def test_the_last_of_two_equal_keys_counts() -> None:
    raw = body(alert()).replace(b'"severity": "warning"', b'"severity": "info", "severity": "critical"')

    assert parse_body(raw, NOW).alerts[0].labels["severity"] == "critical"


def test_an_unreadable_byte_is_replaced_and_not_dropped() -> None:
    raw = body(alert()).replace(b'"warning"', b'"w\xffx"')

    assert parse_body(raw, NOW).alerts[0].labels["severity"] == "w\ufffdx"


def test_a_whole_character_written_as_two_escapes_stays_whole() -> None:
    raw = body(alert()).replace(b'"warning"', b'"\\ud83d\\udca5"')

    assert parse_body(raw, NOW).alerts[0].labels["severity"] == "💥"


def test_status_is_that_of_the_alert_and_not_of_the_body() -> None:
    read_body = parse_body(body(alert(status="resolved"), alert(), status="firing"), NOW)

    assert [one.status for one in read_body.alerts] == [AlertStatus.RESOLVED, AlertStatus.FIRING]


@given(st.text(st.characters(codec=None)))  # surrogates included
def test_cleaned_text_can_be_written_and_cleaning_twice_changes_nothing(text: str) -> None:
    cleaned = clean(text)

    assert "\0" not in cleaned
    assert cleaned.encode("utf-8").decode("utf-8") == cleaned
    assert clean(cleaned) == cleaned


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    ),
    st.sampled_from(["alerts", "status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "version"]),
)
def test_whatever_json_stands_in_a_key_it_is_read_or_refused_in_words(value: Any, key: str) -> None:
    whole = document(alert(labels={"alertname": "Good"}))
    if key in ("alerts", "version"):
        whole[key] = value
    else:
        whole["alerts"].append(alert(**{key: value}))
    try:
        read_body = parse_body(json.dumps(whole).encode(), NOW)
    except UnusableBodyError:
        assert key in ("alerts", "version")
    else:
        assert len(read_body.alerts) + len(read_body.rejected) == len(whole["alerts"])


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    with suppress(UnusableBodyError):
        parse_body(raw, NOW)


# --- captured bodies ---


def captured() -> list[tuple[str, dict[str, Any]]]:
    """Return every captured body with where it stands."""
    found: list[tuple[str, dict[str, Any]]] = []
    for file in sorted(CAPTURED.glob("*.json")):
        whole = json.loads(file.read_text())
        if not isinstance(whole, dict):
            continue
        if "alerts" in whole:
            found.append((file.stem, whole))
        elif "request" in whole:
            found.append((file.stem, whole["request"]["body"]))
        found += [(f"{file.stem} {at}", one["body"]) for at, one in enumerate(whole.get("deliveries", ()))]
    return found


@pytest.mark.parametrize(("name", "whole"), captured(), ids=[name for name, _ in captured()])
def test_a_captured_body_is_read_whole(name: str, whole: dict[str, Any]) -> None:
    read_body = parse_body(json.dumps(whole).encode(), NOW)

    assert read_body.rejected == ()
    assert [one.labels for one in read_body.alerts] == [one["labels"] for one in whole["alerts"]]
    assert [one.status.value for one in read_body.alerts] == [one["status"] for one in whole["alerts"]]


def test_there_are_captured_bodies() -> None:
    assert len(captured()) >= 29
