"""What the watch knows of Plans: rows, the index over them, and the events that change it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Literal

from receiver.kube.followed import Followed

# UIDs of deleted Plans that are remembered: about 1 MB at most, and far more than a cluster deletes in a story's life.
DELETED_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What the watch knows of a Plan; the whole object is fetched only when a story needs it.

    ``canceled`` is no printed column: None means it is not known from a Table. Labels and annotations are without
    kubectl's copy of the last configuration.
    """

    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    ready: bool
    executing: bool
    succeeded: bool
    failed: bool
    canceled: bool | None
    resource_version: str
    generation: int = 0
    """Of its specification; 0 where it is not known."""


@dataclass(frozen=True, slots=True)
class PlanEvent:
    """A change of the index. ``row`` is None for ``synced`` and ``lost``; ``before`` is set for ``changed`` only.

    ``synced``: the index is complete. ``lost``: the connection has been away for so long that it may be stale.
    """

    kind: Literal["added", "changed", "deleted", "synced", "lost"]
    row: PlanRow | None = None
    before: PlanRow | None = None


class PlanIndex(Followed):
    """All Plans of a cluster by UID and by name. Read by everyone, changed only by the watch that owns it."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, PlanRow] = {}
        self._uids: dict[str, dict[str, str]] = {}  # name → namespace → uid
        self._deleted: OrderedDict[str, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self) -> tuple[PlanRow, ...]:
        """Return every Plan known."""
        return tuple(self._rows.values())

    def by_uid(self, uid: str) -> PlanRow | None:
        return self._rows.get(uid)

    def by_name(self, namespace: str, name: str) -> PlanRow | None:
        uid = self._uids.get(name, {}).get(namespace)
        return None if uid is None else self._rows[uid]

    def named(self, name: str) -> tuple[PlanRow, ...]:
        """Return the Plans of that name in all namespaces."""
        return tuple(self._rows[uid] for uid in self._uids.get(name, {}).values())

    def was_deleted(self, uid: str) -> bool:
        """Tell whether this process has seen the Plan and then seen it go. A UID never comes back.

        False for a Plan that was deleted before the process started: it was never seen.
        """
        return uid in self._deleted

    def put(self, row: PlanRow) -> tuple[PlanEvent, ...]:
        """Take a row in; a Plan of the same name with another UID must have gone unnoticed."""
        before = self._rows.get(row.uid)
        if before == row:
            return ()
        events: list[PlanEvent] = []
        namesake = self.by_name(row.namespace, row.name)
        if namesake is not None and namesake.uid != row.uid:
            events.extend(self.remove(namesake.uid))
        self._rows[row.uid] = row
        self._uids.setdefault(row.name, {})[row.namespace] = row.uid
        self._deleted.pop(row.uid, None)
        events.append(PlanEvent("added", row) if before is None else PlanEvent("changed", row, before))
        return tuple(events)

    def remove(self, uid: str, last: PlanRow | None = None) -> tuple[PlanEvent, ...]:
        """Take a Plan out; ``last`` is its final state where the server told it."""
        row = self._rows.pop(uid, None)
        if row is None:
            return ()
        spaces = self._uids[row.name]
        del spaces[row.namespace]
        if not spaces:
            del self._uids[row.name]
        self._deleted[uid] = None
        if len(self._deleted) > DELETED_KEPT:
            self._deleted.popitem(last=False)
        return (PlanEvent("deleted", last or row),)

    def replace(self, rows: Iterable[PlanRow], *, unreadable: Set[str], complete: bool) -> tuple[PlanEvent, ...]:
        """Compare with a whole list: what is missing there was deleted while nobody looked.

        ``unreadable`` are UIDs that are in the list but could not be read: their old rows stay. With ``complete``
        False some entry had not even a UID, and so nothing may be taken for deleted.
        """
        events: list[PlanEvent] = []
        seen = set(unreadable)
        for row in rows:
            seen.add(row.uid)
            events.extend(self.put(row))
        if complete:
            for uid in [uid for uid in self._rows if uid not in seen]:
                events.extend(self.remove(uid))
        return tuple(events)
