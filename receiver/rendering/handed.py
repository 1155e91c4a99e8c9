"""What a shift hands over, line by line."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from receiver.model.handed import HANDED, HANDOVER, Handed
from receiver.rendering.context import HandoverLine
from receiver.rendering.view import View, page

_FORM: TypeAdapter[Handed] = TypeAdapter(Handed)


def handed_parts(view: View) -> dict[str, Any]:
    """Return the lines of a handover; of any other story nothing."""
    if view.wanted.story.kind != HANDOVER or view.alert is None:
        return {}
    handed = _FORM.validate_json(view.alert.annotations.get(HANDED, '{"since":"12h","lines":[]}'))
    root = view.wanted.external_url.rstrip("/")
    lines = (
        HandoverLine(
            view.text(one.part, 100),
            view.text(one.name, 140),
            view.text(one.text, 320),
            page(view.wanted, one.story) if one.story and root else "",
        )
        for one in handed.lines
    )
    return {"handover": tuple(lines), "url": f"{root}/handover?since={handed.since}" if root else ""}
