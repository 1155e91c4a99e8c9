"""The objects of a must-gather: which files may hold a kind, and what is in them.

Two layouts are read. Forklift's gather: ``namespaces/<ns>/crs/<plural>.<group>/<name>.yaml`` (full),
``namespaces/<ns>/crs/<singular>/<name>.yaml`` (targeted), ``namespaces/<ns>/logs/<pod>/{current,previous}.log``.
``oc adm inspect``: ``namespaces/<ns>/core/pods.yaml``, ``namespaces/<ns>/<group>/<plural>/<name>.yaml``,
``namespaces/<ns>/pods/<pod>/<container>/<container>/logs/{current,previous}.log``. The scripts write error texts into
the same files, so a file counts only for what it holds, never for its name.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from receiver.kube.archive import MAX_MEMBERS, Report
from receiver.kube.documents import UnreadableError, read_documents
from receiver.kube.gatheredlogs import log_files, logged_pods, read_log
from receiver.kube.kinds import KINDS, Kind

SUFFIXES = ("yaml", "yml", "json")
UNKNOWN_LABELS = {"mtv-receiver.io/known-from": "log folder"}
# The gather of Forklift keeps the controller's log and no Pod object: its name is all there is to find it by.
CONTROLLER = "forklift-controller-"
CONTROLLER_LABELS = {"app": "forklift", "control-plane": "controller-manager"}


def _hints(kind: Kind) -> frozenset[str]:
    return frozenset({kind.plural, kind.resource, kind.kind.lower()})


KIND_HINTS: Mapping[str, frozenset[str]] = {name: _hints(kind) for name, kind in KINDS.items()}


class Gathered:
    """The trees of one must-gather. Reads files when asked, each once; blocking, so call it in a thread."""

    def __init__(self, roots: tuple[Path, ...], report: Report) -> None:
        self._roots = roots
        self._report = report
        self._files: dict[str, list[tuple[Path, str | None]]] | None = None  # hint → files with their namespace
        self._parsed: dict[Path, tuple[dict[str, Any], ...]] = {}
        self._one_at_a_time = threading.Lock()  # so that nobody reads a file that another is reading

    def objects(self, kind: Kind, namespace: str | None) -> tuple[dict[str, Any], ...]:
        """Return the objects of a kind, each once and as it was last; ``namespace`` None means all."""
        with self._one_at_a_time:
            found = self._objects(kind, namespace)
        if kind.kind == "Pod":
            for place, name in logged_pods(self._roots, namespace):
                found.setdefault((place, name), _bare_pod(place, name))
        return tuple(found[key] for key in sorted(found))

    def holds(self, kind: Kind, namespace: str | None) -> bool:
        """Tell whether the gather took objects of a kind from a place, even if there were none."""
        with self._one_at_a_time:
            if self._objects(kind, namespace):
                return True
            files = self._scan()
            return any(
                namespace in (None, space) and self._is_list(path)
                for hint in KIND_HINTS[kind.kind]
                for path, space in files.get(hint, ())
            )

    def log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int, limit_bytes: int
    ) -> str | None:
        """Return the end of the first file that holds this log; None where none does."""
        for path in log_files(self._roots, namespace, pod, container, previous=previous):
            text = read_log(path, self._short(path), self._report, tail_lines=tail_lines, limit_bytes=limit_bytes)
            if text is not None:
                return text
        return None

    def _objects(self, kind: Kind, namespace: str | None) -> dict[tuple[str, str], dict[str, Any]]:
        files = self._scan()
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for hint in sorted(KIND_HINTS[kind.kind]):
            for path, space in files.get(hint, ()):
                for obj in self._read(path):
                    if obj["kind"] != kind.kind or _group(obj["apiVersion"]) != kind.group:
                        continue
                    metadata = obj["metadata"]
                    if kind.namespaced and space is not None:
                        metadata.setdefault("namespace", space)
                    key = (str(metadata.get("namespace", "")) if kind.namespaced else "", str(metadata["name"]))
                    if namespace is not None and kind.namespaced and key[0] != namespace:
                        continue
                    if key not in found or _revision(obj) > _revision(found[key]):
                        found[key] = obj
        return found

    def _scan(self) -> Mapping[str, list[tuple[Path, str | None]]]:
        if self._files is not None:
            return self._files
        files: dict[str, list[tuple[Path, str | None]]] = {}
        wanted = frozenset().union(*KIND_HINTS.values())
        seen = 0
        for root in self._roots:
            for folder, folders, names in os.walk(root):  # follows no links to folders
                folders.sort()
                inside = Path(folder).relative_to(root).parts
                space = inside[1] if len(inside) > 1 and inside[0] == "namespaces" else None
                for name in sorted(names):
                    seen += 1
                    stem, _, suffix = name.removesuffix(".gz").rpartition(".")
                    if not stem or suffix not in SUFFIXES or seen > MAX_MEMBERS:
                        continue
                    # The last parts of the path may name the kind, but never a namespace that is called like one.
                    parts = inside[2:] if space is not None else inside[1:]
                    # namespaces/<ns>/<ns>.yaml is oc adm inspect's place for the Namespace object.
                    own = {"namespaces"} if space is not None and len(inside) == 2 and stem == space else set()
                    for hint in ({stem, *parts} & wanted) | own:
                        files.setdefault(hint, []).append((Path(folder) / name, space))
        if seen > MAX_MEMBERS:
            self._report(".", f"more than {MAX_MEMBERS} files: the rest was not looked at")
        self._files = files
        return files

    def _read(self, path: Path) -> tuple[dict[str, Any], ...]:
        if path not in self._parsed:
            self._parsed[path] = tuple(self._parse(path))
        return self._parsed[path]

    def _parse(self, path: Path) -> Iterator[dict[str, Any]]:
        try:
            documents, begins = read_documents(path)
        except UnreadableError as error:
            self._report(self._short(path), str(error))
            return
        found = False
        for document in documents:
            items = document.get("items") if isinstance(document, dict) else None
            for obj in items if isinstance(items, list) else [document]:
                if _is_object(obj, document):
                    found = True
                    yield obj
        if not found and not _has_empty_list(documents):
            self._report(self._short(path), f"holds no object: {begins}")

    def _is_list(self, path: Path) -> bool:
        """Tell whether a file was read as a list: then what is not in it was not there."""
        try:
            documents, _ = read_documents(path)
        except UnreadableError:
            return False
        return any(isinstance(one, dict) and isinstance(one.get("items", 0), list | None) for one in documents)

    def _short(self, path: Path) -> str:
        for root in self._roots:
            if path.is_relative_to(root):
                return str(path.relative_to(root))
        return path.name


def _is_object(obj: Any, document: Any) -> bool:
    """Tell whether this is a Kubernetes object; items of a typed list get their kind from the list."""
    if not isinstance(obj, dict):
        return False
    if isinstance(document, dict) and obj is not document and "kind" not in obj:
        kind, version = document.get("kind"), document.get("apiVersion")
        if isinstance(kind, str) and isinstance(version, str) and kind.endswith("List") and kind != "List":
            obj["kind"], obj["apiVersion"] = kind.removesuffix("List"), version
    metadata = obj.get("metadata")
    named = isinstance(metadata, dict) and isinstance(metadata.get("name"), str) and bool(metadata["name"])
    return named and isinstance(obj.get("kind"), str) and isinstance(obj.get("apiVersion"), str)


def _has_empty_list(documents: list[Any]) -> bool:
    return any(isinstance(document, dict) and document.get("items", 0) in (None, []) for document in documents)


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _revision(obj: Mapping[str, Any]) -> int:
    """Several images may have gathered one object at different times."""
    version = obj["metadata"].get("resourceVersion")
    return int(version) if isinstance(version, str) and version.isdecimal() and len(version) < 20 else 0


def _bare_pod(namespace: str, name: str) -> dict[str, Any]:
    """A pod of which only a log is left: labels, phase and containers are unknown."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace, "annotations": dict(UNKNOWN_LABELS)}
    if name.startswith(CONTROLLER):
        metadata["labels"] = dict(CONTROLLER_LABELS)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
