"""What a failed try means: rules, without a store or a destination."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from receiver.config.model import Manners
from receiver.destinations import Step
from receiver.errors import Refused, Transient, Unknown
from receiver.model import Change, DeliveryState, Entry, Keys, Wanted
from receiver.store.deliveries import DeliveryRow
from receiver.verdict import back_off_s, merged, verdict
from tests import stories

KEYS = Keys("dedup", "mtvr-1", "0b6c2f2e-1f5c-4f6e-9a57-3a4f0a0e4d11")
MANNERS = Manners(retry_min_s=1.0, retry_max_s=60.0)
ENTRY = Entry("worse-2", Change.WORSE, datetime(2026, 11, 21, 8, tzinfo=UTC), "another alert fires too", 2)
WANTED = Wanted(stories.failed_again(), KEYS, True, root={"ts": "1.2", "files": {"file-1": "F1"}}, entries=(ENTRY,))
FILE = Step("file-2", "upload", {}, creates=True, extra={"kept_in_root": True})


def row(**more: Any) -> DeliveryRow:
    """Return a delivery that was told once."""
    values: dict[str, Any] = dict.fromkeys(one.name for one in fields(DeliveryRow))
    return replace(DeliveryRow(**values), state=DeliveryState.PENDING, started=True, plain=False, tries=0, **more)


def test_a_refused_reply_becomes_plain_and_its_message_does_not() -> None:
    found = verdict(row(), Step(ENTRY.key, "reply", {}), Refused("invalid_blocks"), WANTED, MANNERS, 0.0)
    assert found.entry == {"plain": True}
    assert "plain" not in found.values


def test_a_reply_refused_in_its_plain_form_too_is_left_out() -> None:
    plain = replace(WANTED, entries=(replace(ENTRY, plain=True),))
    found = verdict(row(), Step(ENTRY.key, "reply", {}), Refused("invalid_blocks"), plain, MANNERS, 0.0)
    assert found.entry == {"state": "skipped"}
    assert found.values["state"] == DeliveryState.PENDING.value


def test_a_refused_file_is_noted_in_the_roots_receipt_and_hurts_nothing_else() -> None:
    found = verdict(row(unknown_part="file-2"), FILE, Refused("file_type_not_allowed"), WANTED, MANNERS, 0.0)
    assert json.loads(found.values["root"]) == {
        "ts": "1.2",
        "files": {"file-1": "F1"},
        "skipped": {"file-2": "file_type_not_allowed"},
    }
    assert found.values["state"] == DeliveryState.PENDING.value
    assert found.values["unknown_part"] is None
    assert found.entry is None


def test_what_a_file_step_gives_back_joins_the_roots_receipt() -> None:
    assert merged(WANTED.root or {}, {"files": {"file-2": "F2"}}) == {
        "ts": "1.2",
        "files": {"file-1": "F1", "file-2": "F2"},
    }


@pytest.mark.parametrize("tries", [0, 3, 30])
def test_back_off_grows_to_its_cap_and_is_spread_over_the_whole_of_it(tries: int) -> None:
    shortest, middle, longest = (back_off_s(tries, MANNERS, chance) for chance in (0.0, 0.5, 1.0))
    assert shortest == MANNERS.retry_min_s
    assert longest == min(MANNERS.retry_max_s, 2.0 ** (tries + 1))
    assert middle == pytest.approx((shortest + longest) / 2)


def test_what_an_earlier_try_did_stays_unknown_when_this_one_surely_did_nothing() -> None:
    create = Step("root", "create", {}, creates=True)
    waiting = row(unknown_part="root", unknown_at=5.0)
    lost = verdict(waiting, create, Transient("no connection"), WANTED, MANNERS, 0.0)
    assert (lost.values["unknown_part"], lost.values["unknown_at"]) == ("root", 5.0)
    unknown = verdict(row(), create, Unknown("no answer"), WANTED, MANNERS, 0.0)
    assert "unknown_part" not in unknown.values, "the mark that the try left when it began stays"
