"""What a watch knows of namespaces: rows, and the book of them.

Everything in a row was written by whoever may edit a namespace: nothing of it is trusted, and each namespace has room
for so much and no more, so that one of them costs the others nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from receiver.kube.followed import Followed
from receiver.kube.kinds import LAST_APPLIED
from receiver.limits import truncate

VALUE_MAX = 1_024  # characters of an annotation, or of a value in a ConfigMap
LABEL_MAX = 63  # characters of a label's value: Kubernetes' own limit
MARKS_MAX = 100  # labels of a namespace, and as many annotations
KEYS_MAX = 20  # keys of the ConfigMaps of a namespace together
CONFIGMAPS_MAX = 20  # of one namespace

# Keys of labels, annotations and ConfigMaps as Kubernetes allows them: a prefix of 253, a slash, and 63.
_KEY = re.compile(r"[A-Za-z0-9._/-]{1,317}")


@dataclass(frozen=True, slots=True)
class NamespaceRow:
    """What is known of a namespace. Labels and annotations are empty while only ConfigMaps in it are known."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    """Without kubectl's copy of the last configuration."""
    wishes: Mapping[str, str]
    """What the labelled ConfigMaps in it hold; where several have the same key, their values with commas between."""


@dataclass(frozen=True, slots=True)
class _Marks:
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


_NO_MARKS = _Marks({}, {})


class NamespaceBook:
    """The namespaces of a cluster by name. Read by everyone, changed only by the watch that owns it."""

    def __init__(self) -> None:
        self.namespaces = Followed()
        """How the watch over Namespaces is getting on."""
        self.configmaps = Followed()
        """How the watch over ConfigMaps is getting on; neither waits for the other."""
        self._marks: dict[str, _Marks] = {}
        self._wishes: dict[str, dict[str, Mapping[str, str]]] = {}  # namespace → ConfigMap → its data
        self._rows: dict[str, NamespaceRow] = {}

    @property
    def synced(self) -> bool:
        """Whether both Namespaces and ConfigMaps are complete and current. What is known may be used before."""
        return self.namespaces.synced and self.configmaps.synced

    @property
    def problem(self) -> str | None:
        """Why a watch does not work now, such as a missing right; both reasons where neither works."""
        problems = dict.fromkeys(one.problem for one in (self.namespaces, self.configmaps) if one.problem)
        return "; ".join(problems) or None

    @property
    def skipped(self) -> int:
        """Objects or events that could not be read, since the start."""
        return self.namespaces.skipped + self.configmaps.skipped

    def of(self, name: str) -> NamespaceRow | None:
        """Return what is known of a namespace; None if nothing is."""
        return self._rows.get(name)

    def rows(self) -> tuple[NamespaceRow, ...]:
        """Return every namespace known, in no order."""
        return tuple(self._rows.values())

    def namespace_names(self) -> tuple[str, ...]:
        """Return the namespaces whose own object is known."""
        return tuple(self._marks)

    def configmap_names(self) -> tuple[tuple[str, str], ...]:
        """Return the ConfigMaps that count, as (namespace, name)."""
        return tuple((space, name) for space, held in self._wishes.items() for name in held)

    def put_namespace(self, name: str, obj: Mapping[str, Any] | None, prefix: str) -> bool:
        """Take in a Namespace, None where it is gone; tell whether its row is another one now.

        Annotations that begin with ``prefix/`` find room before all others.
        """
        if obj is None:
            self._marks.pop(name, None)
        else:
            metadata = _mapping(obj.get("metadata"))
            self._marks[name] = _Marks(
                texts(metadata.get("labels"), LABEL_MAX, MARKS_MAX, first=f"{prefix}/"),
                texts(metadata.get("annotations"), VALUE_MAX, MARKS_MAX, first=f"{prefix}/"),
            )
        return self._settle(name)

    def put_configmap(self, namespace: str, name: str, obj: Mapping[str, Any] | None, prefix: str) -> bool:
        """Take in a ConfigMap, None where it is gone; tell whether the row of its namespace is another one now.

        One without the label counts as gone. Beyond CONFIGMAPS_MAX in a namespace the first by name count.
        """
        held = self._wishes.get(namespace, {})
        labels = _mapping(_mapping(obj.get("metadata")).get("labels")) if obj is not None else {}
        if obj is None or labels.get(f"{prefix}/routing") != "true":
            held.pop(name, None)
        else:
            held[name] = texts(obj.get("data"), VALUE_MAX, KEYS_MAX)
            if len(held) > CONFIGMAPS_MAX:
                del held[max(held)]
        if held:
            self._wishes[namespace] = held
        else:
            self._wishes.pop(namespace, None)
        return self._settle(namespace)

    def _settle(self, name: str) -> bool:
        before = self._rows.get(name)
        marks, held = self._marks.get(name), self._wishes.get(name)
        if marks is None and held is None:
            self._rows.pop(name, None)
            return before is not None
        known = marks or _NO_MARKS
        row = NamespaceRow(name, known.labels, known.annotations, _merged(held or {}))
        if row == before:
            return False
        self._rows[name] = row
        return True


def selector(prefix: str) -> str:
    """Return the label selector of the ConfigMaps that count."""
    return f"{prefix}/routing=true"


def texts(pairs: object, longest: int, most: int, *, first: str = "") -> dict[str, str]:
    """Return the pairs that are texts, cut to size: of too many those whose key begins with ``first``, then by name.

    NUL and halves of surrogate pairs, which no database and no destination takes, come as U+FFFD.
    """
    kept = [
        (key, value)
        for key, value in _mapping(pairs).items()
        if isinstance(key, str) and isinstance(value, str) and key != LAST_APPLIED and _KEY.fullmatch(key)
    ]
    kept.sort(key=lambda pair: (not pair[0].startswith(first), pair[0]))
    return {key: _text(value, longest) for key, value in kept[:most]}


def _text(value: str, longest: int) -> str:
    value = truncate(value, longest)
    if value.isascii() and "\0" not in value:
        return value
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def _merged(held: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    together: dict[str, list[str]] = {}
    for name in sorted(held):
        for key, value in held[name].items():
            together.setdefault(key, []).append(value)
    return {key: ",".join(together[key]) for key in _first(together)}


def _first(keys: Iterable[str]) -> list[str]:
    return sorted(keys)[:KEYS_MAX]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
