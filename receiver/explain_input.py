"""The forms in which people have alerts at hand: a webhook body, one alert, or Alertmanager's list of alerts."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any

from receiver.wire import Body, UnusableBodyError, parse_body

_FORMS = "a webhook body, one alert, or the answer of /api/v2/alerts"


def read_alerts(raw: bytes, now: datetime, at_most: float = math.inf) -> Body:
    """Return the alerts of any of the three forms, which may be so many. Raises UnusableBodyError.

    A body with `alerts` or `version` is read as a webhook, with the same tolerance and the same complaints. In the two
    other forms a missing status means firing, and Alertmanager's own state decides where there is one: its `endsAt` is
    only the time at which an alert will have ended if nobody repeats it.
    """
    try:
        text = raw.decode("utf-8", errors="replace").removeprefix("\ufeff")
        document = json.loads(text, parse_int=_number)
    except RecursionError:
        raise UnusableBodyError("nested too deeply") from None
    except ValueError as error:
        where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise UnusableBodyError(f"no JSON{where}; give {_FORMS}") from None
    if isinstance(document, dict) and ("alerts" in document or "version" in document):
        _refuse_many(document.get("alerts"), at_most)
        return parse_body(raw, now)
    if isinstance(document, dict) and "labels" in document:
        document = [document]
    if not isinstance(document, list):
        raise UnusableBodyError(f"none of the known forms; give {_FORMS}")
    _refuse_many(document, at_most)
    items = [_as_webhook(item, now) for item in document]
    return parse_body(json.dumps({"version": "4", "alerts": items}).encode(), now)


def _refuse_many(alerts: Any, at_most: float) -> None:
    """Refuse before anything is made of them: that costs many times what their text does."""
    if isinstance(alerts, list) and len(alerts) > at_most:
        raise UnusableBodyError(f"{len(alerts)} alerts, at most {at_most:g}: give fewer, or use the command `explain`")


def _as_webhook(item: Any, now: datetime) -> Any:
    """Return an alert in the webhook's form; what is none is left for the reader to complain of."""
    if not isinstance(item, dict):
        return item
    status = item.get("status")
    if isinstance(status, dict):
        return {**item, "status": "firing"}  # active, suppressed, unprocessed: the API only lists what has not ended
    return {**item, "status": "firing"} if status is None else item


def _number(digits: str) -> int | float:
    """Python refuses to read integers of more than 4,300 digits; nobody needs them exactly."""
    return int(digits) if len(digits) < 400 else float(digits)
