"""Finding and unpacking a must-gather: a tree, the folder around it, or an archive. Nothing leaves its place."""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from receiver.kube import ClusterError

ARCHIVE = "must-gather.tar.gz"
ROOT_MARKS = ("namespaces", "cluster-scoped-resources")
ROOT_DEPTH = 4  # folders between what a user hands over and the tree inside
MAX_MEMBERS = 200_000
MAX_UNPACKED = 4 * 1024**3  # bytes of all files; a large cluster's full gather has about 1 GB
WANTED = (".yaml", ".yml", ".json", ".log")

Report = Callable[[str, str], None]
"""Called with a path and what is wrong with it."""


def find_roots(folder: Path) -> tuple[Path, ...]:
    """Return the folders that hold a gather's tree: several if several images gathered."""
    level = [folder]
    for _ in range(ROOT_DEPTH):
        roots = tuple(place for place in level if any((place / mark).is_dir() for mark in ROOT_MARKS))
        if roots:
            return roots
        level = sorted(
            inner for place in level for inner in place.iterdir() if inner.is_dir() and not inner.is_symlink()
        )
    return ()


def find_archives(folder: Path) -> tuple[Path, ...]:
    """Return the archives that ``oc adm must-gather`` leaves below its output folder."""
    patterns = ("*/" * depth + ARCHIVE for depth in range(ROOT_DEPTH))
    return tuple(sorted(path for pattern in patterns for path in folder.glob(pattern) if path.is_file()))


def unpack(archive: Path, into: Path, report: Report) -> None:
    """Unpack the files we can read; ClusterError if it is no archive, too large, or reaches outside itself."""
    try:
        with tarfile.open(archive, mode="r:*") as tar:
            _unpack(tar, archive, into, report)
    except (tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        raise ClusterError(
            "bad answer", f"{archive.name} cannot be unpacked ({type(error).__name__}: {error})"
        ) from None


def _unpack(tar: tarfile.TarFile, archive: Path, into: Path, report: Report) -> None:
    size = 0
    for number, member in enumerate(tar):
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts:
            raise ClusterError("bad answer", f"{archive.name} is refused: {member.name!r} reaches outside the archive")
        size += member.size
        if number >= MAX_MEMBERS or size > MAX_UNPACKED:
            raise ClusterError(
                "bad answer", f"{archive.name} is refused: more than {MAX_MEMBERS} files or {MAX_UNPACKED} B"
            )
        if member.isdir() or (not path.name.endswith(WANTED) and path.name != ARCHIVE):
            continue
        if not member.isreg():
            report(member.name, "link or device, not unpacked")
            continue
        target = into.joinpath(*path.parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        source = tar.extractfile(member)
        if source is not None:
            with source, target.open("wb") as copy:
                while block := source.read(1 << 20):
                    copy.write(block)
