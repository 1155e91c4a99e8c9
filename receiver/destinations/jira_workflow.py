"""Which transition closes or reopens a ticket: workflows differ, and their names are translated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from receiver.model import Outcome

# Where several transitions lead to a done status, the one that sounds like success is taken, never "Won't do".
_CLOSING = ("done", "resolve", "resolved", "resolve issue", "close", "closed", "close issue", "fixed", "complete")
_OPENING = ("reopen", "re-open", "reopen issue", "reopened", "to do", "open", "backlog")
_FIXED = ("fixed", "done", "resolved", "complete")
_NOT_FIXED = ("done", "resolved", "complete", "canceled", "cancelled", "obsolete")


def choose(transitions: Sequence[Mapping[str, Any]], name: str, *, closes: bool) -> Mapping[str, Any] | None:
    """Return the transition called `name`; without a name the best that leads to (or from) a done status."""
    if name:
        return next((each for each in transitions if _name(each) == name.casefold()), None)
    fitting = [each for each in transitions if (_category(each) == "done") is closes and each.get("id")]
    preferred = _CLOSING if closes else _OPENING
    ranks = {word: rank for rank, word in enumerate(preferred)}

    def rank(each: Mapping[str, Any]) -> tuple[int, bool]:
        return ranks.get(_name(each), len(ranks)), _category(each) != "new"

    return min(fitting, key=rank, default=None)


def resolution_fields(transition: Mapping[str, Any], outcome: Outcome | None) -> dict[str, Any]:
    """Return the resolution for the transition's screen, where it has one; {} leaves it to the workflow.

    "Fixed" only for a story that was fixed.
    """
    field = (transition.get("fields") or {}).get("resolution")
    if not isinstance(field, Mapping):
        return {}
    names = [str(each.get("name")) for each in field.get("allowedValues") or [] if isinstance(each, Mapping)]
    for wanted in _FIXED if outcome is Outcome.FIXED else _NOT_FIXED:
        for name in names:
            if name.casefold() == wanted:
                return {"resolution": {"name": name}}
    return {"resolution": {"name": names[0]}} if names and field.get("required") else {}


def _name(transition: Mapping[str, Any]) -> str:
    return str(transition.get("name", "")).casefold()


def _category(transition: Mapping[str, Any]) -> str:
    return str(((transition.get("to") or {}).get("statusCategory") or {}).get("key", ""))
