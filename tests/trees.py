"""Must-gather trees made of objects and logs, in the layouts that users hand over."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from receiver.kube.kinds import KINDS

Obj = dict[str, Any]
Layout = Literal["full", "targeted", "inspect"]
Logs = Mapping[tuple[str, str, str, str], str]
"""(namespace, pod, container, "current" or "previous") → text."""

# The full gather of Forklift takes every CR of CRDs that are called forklift or kubevirt, and no objects of the core.
GATHERED_CRS = ("forklift", "kubevirt")


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def objects_of(*files: Path) -> list[Obj]:
    """Return all objects of YAML files, those of lists too."""
    found: list[Obj] = []
    for file in files:
        for document in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            if document:
                found += document.get("items", [document])
    return found


def plant(root: Path, objects: Iterable[Obj], logs: Logs, layout: Layout) -> Path:
    """Write a tree below `root` as one of the gathers would leave it, and return `root`."""
    lists: dict[Path, list[Obj]] = {}
    for obj in objects:
        kind, metadata = KINDS[obj["kind"]], obj["metadata"]
        space = root / "namespaces" / metadata.get("namespace", "") if kind.namespaced else root
        group = kind.group or "core"
        if layout == "inspect":
            if kind.group.endswith(GATHERED_CRS) or "forklift" in kind.group:
                write(space / group / kind.plural / f"{metadata['name']}.yaml", yaml.safe_dump(obj))
            else:
                lists.setdefault(space / group / f"{kind.plural}.yaml", []).append(obj)
        elif layout == "targeted":
            write(space / "crs" / kind.kind.lower() / f"{metadata['name']}.yaml", yaml.safe_dump(obj))
        elif any(word in kind.group for word in GATHERED_CRS):
            folder = f"crs/{kind.resource}" if kind.namespaced else f"cluster-scoped-resources/{kind.resource}"
            write(space / folder / f"{metadata['name']}.yaml", yaml.safe_dump(obj))
    for path, items in lists.items():
        write(path, yaml.safe_dump({"apiVersion": "v1", "kind": f"{items[0]['kind']}List", "items": items}))
    for (namespace, pod, container, which), text in logs.items():
        space = root / "namespaces" / namespace
        if layout == "inspect":
            write(space / "pods" / pod / container / container / "logs" / f"{which}.log", text)
        else:
            write(space / "logs" / pod / f"{which}.log", text)
    return root


def tarred(tree: Path, archive: Path, inside: str = "must-gather", mode: Literal["w", "w:gz", "w:xz"] = "w:gz") -> Path:
    """Pack a tree; the compression is what `mode` says, whatever the archive is called."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, mode) as tar:
        tar.add(tree, arcname=inside)
    return archive


def zipped(tree: Path, archive: Path, inside: str = "must-gather") -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(tree.rglob("*")):
            if path.is_file():
                packed.write(path, f"{inside}/{path.relative_to(tree)}")
    return archive
