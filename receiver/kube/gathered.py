"""The files of a must-gather: which of them may hold a kind, and what is in them.

Two layouts are read. Forklift's gather: ``namespaces/<ns>/crs/<plural>.<group>/<name>.yaml`` (full),
``namespaces/<ns>/crs/<singular>/<name>.yaml`` (targeted), ``namespaces/<ns>/logs/<pod>/{current,previous}.log``.
``oc adm inspect``: ``namespaces/<ns>/core/pods.yaml``, ``namespaces/<ns>/<group>/<plural>/<name>.yaml``,
``namespaces/<ns>/pods/<pod>/<container>/<container>/logs/{current,previous}.log``. The scripts write error texts into
the same files, so a file counts only for what it holds, never for its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from receiver.kube.archive import MAX_MEMBERS, Report
from receiver.kube.kinds import KINDS, Kind

MAX_FILE = 64 * 1024 * 1024  # bytes of one YAML file
UNKNOWN_LABELS = {"mtv-receiver.io/known-from": "log folder"}
# What the gather's scripts leave in a log file when they got no log.
NO_LOG = ("unable to retrieve container logs", "Error from server", "error: ", "Error: ")
NO_LOG_MAX = 2_048  # bytes; a real log may begin with such words, but is longer

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):  # type: ignore[misc]
    """YAML as Kubernetes means it: a time is a text, and so is a number with colons."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


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

    def objects(self, kind: Kind, namespace: str | None) -> tuple[dict[str, Any], ...]:
        """Return the objects of a kind, each once; ``namespace`` None means all."""
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
                    place = str(metadata.get("namespace", "")) if kind.namespaced else ""
                    if namespace is None or not kind.namespaced or place == namespace:
                        found.setdefault((place, str(metadata["name"])), obj)
        if kind.kind == "Pod":
            for place, name in self._logged_pods(namespace):
                found.setdefault((place, name), _bare_pod(place, name))
        return tuple(found[key] for key in sorted(found))

    def log_file(self, namespace: str, pod: str, container: str, *, previous: bool) -> Path | None:
        """Return the file of a log: the container's own, else the pod's with all containers in one."""
        name = "previous.log" if previous else "current.log"
        for root in self._roots:
            space = root / "namespaces" / namespace
            if container:
                own = space / "pods" / pod / container / container / "logs" / name
                candidates = [own]
            else:
                candidates = sorted((space / "pods" / pod).glob(f"*/*/logs/{name}"))
            for path in (*candidates, space / "logs" / pod / name):
                if path.is_file() and not path.is_symlink():
                    return path
        return None

    def read_log(self, path: Path, *, tail_lines: int, limit_bytes: int) -> str | None:
        """Return the end of a log file; None where the file holds only the gather's own error text."""
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - limit_bytes))
            body = file.read(limit_bytes)
        text = body.decode("utf-8", errors="replace")
        if size <= NO_LOG_MAX and text.startswith(NO_LOG):
            self._report(self._short(path), f"holds no log: {_line(text)}")
            return None
        return "".join(text.splitlines(keepends=True)[-tail_lines:]) if tail_lines > 0 else ""

    def _logged_pods(self, namespace: str | None) -> Iterator[tuple[str, str]]:
        for root in self._roots:
            for folder in ("logs", "pods"):
                for path in sorted(root.glob(f"namespaces/{namespace or '*'}/{folder}/*")):
                    if path.is_dir() and not path.is_symlink():
                        yield path.parent.parent.name, path.name

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
                    stem, dot, suffix = name.rpartition(".")
                    if not dot or suffix not in {"yaml", "yml", "json"} or seen > MAX_MEMBERS:
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
        if path.is_symlink():
            self._report(self._short(path), "link, not read")
            return
        try:
            if path.stat().st_size > MAX_FILE:
                self._report(self._short(path), f"larger than {MAX_FILE} B, not read")
                return
            text = path.read_bytes().decode("utf-8", errors="replace")
            documents = list(yaml.load_all(text, Loader=_Loader))
        except OSError as error:
            self._report(self._short(path), f"cannot be read: {error.strerror}")
            return
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            self._report(self._short(path), f"no YAML: {_line(str(error))}")
            return
        found = False
        for document in documents:
            items = document.get("items") if isinstance(document, dict) else None
            for obj in items if isinstance(items, list) else [document]:
                if _is_object(obj, document):
                    found = True
                    yield obj
        if not found and not _is_empty_list(documents):
            self._report(self._short(path), f"holds no object: {_line(text)}")

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


def _is_empty_list(documents: list[Any]) -> bool:
    return any(isinstance(document, dict) and document.get("items", 0) in (None, []) for document in documents)


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _bare_pod(namespace: str, name: str) -> dict[str, Any]:
    """A pod of which only a log is left: labels, phase and containers are unknown."""
    metadata = {"name": name, "namespace": namespace, "annotations": dict(UNKNOWN_LABELS)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}


def _line(text: str) -> str:
    return " ".join(text[:400].split())[:120]
