"""What a call of Slack's Web API was given, and how Slack refuses it."""

from __future__ import annotations


class SlackError(Exception):
    """An application error: becomes `{"ok": false, "error": code}` with status 200."""

    def __init__(self, code: str, *messages: str) -> None:
        super().__init__(code)
        self.code = code
        self.messages = messages


def stamp(value: object, default: float) -> float:
    """Return a `ts` as seconds; `default` where there is none."""
    if value in {None, ""}:
        return default
    try:
        return float(str(value))
    except ValueError:
        raise SlackError("invalid_ts_latest" if default else "invalid_ts_oldest") from None


def flag(value: object) -> bool:
    """Tell whether a form or JSON value says yes."""
    return value is True or str(value).lower() in {"1", "true"}
