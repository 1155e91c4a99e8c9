"""What a story holds of an alert after another word on it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from receiver.incoming import Incoming, put
from receiver.model import Alert, AlertStatus, Identity, PlanPhase, PlanState
from receiver.routing.tree import Routed
from receiver.store.drafts import Draft

ALERT = Alert("f", AlertStatus.FIRING, {"alertname": "DiskFull"}, {}, datetime(2026, 11, 21, tzinfo=UTC))
WORD = Incoming(
    1, "main", ALERT, "failure", Identity("s", "alert"), PlanState(PlanPhase.NO_PLAN), Routed((), (), {}, False)
)


@pytest.mark.parametrize(("then", "source"), [("", "main"), ("east", "east")])
def test_a_word_without_a_name_leaves_where_an_alert_came_from(then: str, source: str) -> None:
    draft = Draft("id", "s", "alert", "warning", "t", opened=1.0, now=1.0)
    put(draft, WORD)
    draft.now = 2.0
    put(draft, replace(WORD, seq=2, source=then))
    row = draft.alerts["f"]
    assert (row.source, row.heard_at, row.changed_at) == (source, 2.0, 1.0)
