"""Which deliveries may need somebody: few among many, and so with an index of their own."""

from __future__ import annotations

from typing import Final

from sqlalchemy import ColumnElement, literal_column, or_

from receiver.model import DeliveryState
from receiver.store.schema import deliveries

STATES: Final = (DeliveryState.PARKED, DeliveryState.DEAD, DeliveryState.RETRYING, DeliveryState.PENDING)
"""As people are shown them, what nothing is wrong with left out; a delivered one that lags counts as pending."""

# In words that the index `deliveries_needing` knows: to SQLite no others say the same. All that lags has a time.
NEEDING: Final[ColumnElement[bool]] = or_(
    deliveries.c.due.is_not(None),
    deliveries.c.state.in_([literal_column(f"'{one}'") for one in sorted(state.value for state in STATES)]),
)
