"""The files that a configuration is read from: which a glob means, and what shows that one of them has changed."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path


def is_glob(name: str) -> bool:
    """Whether a name stands for all files that it matches, however many."""
    return glob.has_magic(name)


def is_folder(path: Path) -> bool:
    """Whether there is a folder, as far as this user may know."""
    try:
        return path.is_dir()
    except OSError:
        return False


def matching(folder: Path, pattern: str) -> tuple[str, ...]:
    """Return what a glob means, as names below `folder` and in their order.

    Folders are not among them, nor what a wildcard finds behind a leading dot: hidden files, and `..data`, where
    Kubernetes keeps what it mounts.
    """
    parts = Path(pattern).parts
    plain = next((at for at, part in enumerate(parts) if is_glob(part)), len(parts))
    found = glob.glob(pattern, root_dir=folder)  # noqa: PTH207  # Path.glob takes no absolute ones
    shown = (one for one in found if not any(part.startswith(".") for part in Path(one).parts[plain:]))
    return tuple(sorted(one for one in shown if not is_folder(folder / one)))


def templates_in(folder: Path) -> list[Path]:
    """Return the template files of a folder, in order."""
    return sorted(folder.rglob("*.j2")) if folder.is_dir() else []


def mark(files: Sequence[Path], folder: Path, globs: Sequence[str]) -> str:
    """Return what changes when a file does, when a folder gets a template, or when a glob means other files."""
    found = [folder / name for pattern in globs for name in matching(folder, pattern)]
    seen = [each for one in files for each in (one, *templates_in(one))]
    return " ".join([*map(_mark, seen), *(f"{one}:{_mark(one)}" for one in found)])


def _mark(file: Path) -> str:
    """A mounted ConfigMap changes by a link that is exchanged: another file then, perhaps of the same time and size."""
    try:
        stat = file.stat()
    except OSError:
        return "-"
    return f"{stat.st_ino}:{stat.st_mtime_ns}:{stat.st_size}"
