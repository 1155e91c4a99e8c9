"""From an API server's answers to PlanRows: Tables, plain objects, and whatever else comes.

Nothing here trusts a type: what cannot be read is counted and left out, never guessed and never fatal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from receiver.kube.kinds import LAST_APPLIED
from receiver.kube.plans import PlanRow

# Columns of the Plan CRD, found by name: their places differ between releases.
NEEDED = ("READY", "EXECUTING", "SUCCEEDED", "FAILED")

Columns = Mapping[str, int]


class UnreadableError(Exception):
    """An entry that is no Plan row; ``uid`` where at least that much could be read."""

    def __init__(self, uid: str | None) -> None:
        super().__init__(uid)
        self.uid = uid


@dataclass(frozen=True, slots=True)
class Listing:
    """One page or one whole list of Plans."""

    rows: tuple[PlanRow, ...]
    unreadable: frozenset[str]
    """UIDs of entries that could not be read otherwise."""
    nameless: int
    """Entries without even a UID."""
    columns: Columns
    """Of a Table; empty for plain objects."""


def columns_of(table: Mapping[str, Any]) -> Columns:
    """Return the place of each needed column; empty if the Table does not define all of them."""
    definitions = table.get("columnDefinitions")
    found: dict[str, int] = {}
    for place, definition in enumerate(definitions if isinstance(definitions, list) else ()):
        title = definition.get("name") if isinstance(definition, dict) else None
        if isinstance(title, str) and title.upper() in NEEDED:
            found.setdefault(title.upper(), place)
    return found if len(found) == len(NEEDED) else {}


def from_table_row(row: object, columns: Columns) -> PlanRow:
    """Read one row of a Table with ``includeObject=Metadata``."""
    obj = row.get("object") if isinstance(row, dict) else None
    metadata, uid = _metadata(obj)
    cells = row.get("cells") if isinstance(row, dict) else None
    if not isinstance(cells, list) or len(cells) <= max(columns.values()):
        raise UnreadableError(uid)
    states = {title: cells[place] for title, place in columns.items()}
    # A condition that does not hold is removed, which prints as an empty cell, null, or "<none>".
    if not all(cell is None or isinstance(cell, str | bool) for cell in states.values()):
        raise UnreadableError(uid)
    return _row(metadata, uid, {title: str(cell) == "True" for title, cell in states.items()}, canceled=None)


def from_object(obj: object) -> PlanRow:
    """Read a whole Plan."""
    metadata, uid = _metadata(obj)
    status = obj.get("status") if isinstance(obj, dict) else None
    if status is None:
        status = {}
    conditions = status.get("conditions", []) if isinstance(status, dict) else None
    if conditions is None:
        conditions = []
    if not isinstance(conditions, list):
        raise UnreadableError(uid)
    held: set[str] = set()
    for condition in conditions:
        if not isinstance(condition, dict) or not isinstance(condition.get("type"), str):
            raise UnreadableError(uid)
        if str(condition.get("status")) == "True":
            held.add(condition["type"].upper())
    return _row(metadata, uid, {title: title in held for title in NEEDED}, canceled="CANCELED" in held)


def read_entries(entries: Iterable[object], columns: Columns) -> Listing:
    """Read the rows of a Table (``columns`` not empty) or the items of a plain list."""
    rows: list[PlanRow] = []
    unreadable: set[str] = set()
    nameless = 0
    for entry in entries:
        try:
            rows.append(from_table_row(entry, columns) if columns else from_object(entry))
        except UnreadableError as unread:
            if unread.uid is None:
                nameless += 1
            else:
                unreadable.add(unread.uid)
    return Listing(tuple(rows), frozenset(unreadable), nameless, columns)


def _row(metadata: Mapping[str, Any], uid: str, states: Mapping[str, bool], *, canceled: bool | None) -> PlanRow:
    return PlanRow(
        uid=uid,
        namespace=metadata["namespace"],
        name=metadata["name"],
        labels=_strings(metadata.get("labels")),
        annotations=_strings(metadata.get("annotations")),
        ready=states["READY"],
        executing=states["EXECUTING"],
        succeeded=states["SUCCEEDED"],
        failed=states["FAILED"],
        canceled=canceled,
        resource_version=version_of(metadata),
        generation=_generation(metadata.get("generation")),
    )


def _metadata(obj: object) -> tuple[Mapping[str, Any], str]:
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    uid = metadata.get("uid") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(uid, str) or not uid:
        raise UnreadableError(None)
    if not all(isinstance(metadata.get(key), str) and metadata[key] for key in ("namespace", "name")):
        raise UnreadableError(uid)
    return metadata, uid


def _generation(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _strings(pairs: object) -> Mapping[str, str]:
    if not isinstance(pairs, dict):
        return {}
    return {
        key: value
        for key, value in pairs.items()
        if isinstance(key, str) and isinstance(value, str) and key != LAST_APPLIED
    }


def version_of(metadata: object) -> str:
    """Return the resource version, or an empty string."""
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return version if isinstance(version, str) else ""


def entries_of(answer: Mapping[str, Any]) -> Sequence[object] | None:
    """Return the rows of a Table or the items of a list; None if the answer is neither."""
    entries = answer.get("rows" if answer.get("kind") == "Table" else "items")
    # Go prints an empty list as null.
    if entries is None and ("items" in answer or "rows" in answer or answer.get("kind") in {"Table", "PlanList"}):
        return ()
    return entries if isinstance(entries, list) else None
